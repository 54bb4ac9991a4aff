//! Topics and their settings: one Automerge document, and a typed view of it.
//!
//! Any site may create, alter, grow or delete a topic at any time, without asking. What they do is written down as
//! changes of one document, carried in journals, and joined by Automerge wherever they meet. Two traps of that join are
//! avoided by construction: every copy begins with the very same genesis change, and the birth of a topic is the very
//! same change wherever it happens ([`TopicId`](entry::TopicId) is derived from the name), so that no two copies of one
//! map can hide each other.
//!
//! What this room refuses to do: I/O, drawing random numbers (the actor of a process comes as an argument), and
//! deciding *when* a change counts. A site keeps one catalog at its merged position and one it admits writes by; both
//! are values of [`Catalog`].

mod backed;
mod catalog;
mod document;
mod error;
mod frame;
mod history;
mod name;
mod settings;
mod shape;
mod topic;

#[cfg(test)]
mod tests;

pub use catalog::{Actor, Catalog};
pub use error::{AlterError, ApplyError, CreateError, DeleteError, GrowError, LoadError, PartitionsError};
pub use name::{NAME_BYTES_MAX, NameError, check_name};
pub use settings::{AckAll, SETTINGS, Setting, SettingError, Settings, TimestampType};
pub use topic::{NewTopic, PARTITIONS_MAX, Topic};
