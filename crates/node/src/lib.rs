//! A node: the only place that spawns, sleeps, opens files and reads the clock.
//!
//! It gives the deterministic [`site::Site`] a thread, a disk, links to other sites and a Kafka front, and holds no rule
//! of its own.
//!
//! | file | what it does |
//! | --- | --- |
//! | `run` | opens, wires together, serves, closes |
//! | `engine` | the thread that owns the site |
//! | `carry` | carries out what the site asks for |
//! | `writer`, `files`, `hold` | disk threads, files, one process per directory |
//! | `front`, `views`, `readable` | the node as the Kafka front sees it |

mod carry;
mod engine;
mod files;
mod front;
mod hold;
mod readable;
mod run;
mod views;
mod writer;

pub use files::Files;
pub use hold::HoldError;
pub use run::{Running, ServeError, Setup, found, join, start};
pub use views::Fixed;

/// Exit code when the disk failed: restart, recover; nothing unacknowledged was promised.
pub const EXIT_DISK: i32 = 74;
