//! A node: the only place that spawns, sleeps, opens files and reads the clock.
//!
//! It gives the deterministic [`site::Site`] a thread, a disk, links to other sites and a Kafka front, and holds no rule
//! of its own.
//!
//! | file | what it does |
//! | --- | --- |
//! | `config`, `setup` | what the operator wrote, and what the parts are told |
//! | `serve`, `run` | opens, wires together, serves, closes |
//! | `engine`, `timepiece` | the thread that owns the site; what time it is |
//! | `carry` | carries out what the site asks for |
//! | `writer`, `files`, `room`, `hold` | disk threads, files, room on the disk, one process per directory |
//! | `descriptors` | how many files and sockets may be open |
//! | `certificates` | the site's certificates: read anew while it runs, looked at as they age |
//! | `doors` | where Kafka clients come in, and TLS for them |
//! | `front`, `views`, `readable` | the node as the Kafka front sees it |
//! | `operator` | the node as its operator sees it |

mod carry;
mod certificates;
pub mod config;
mod descriptors;
mod doors;
mod engine;
mod files;
mod front;
mod hold;
mod notary;
mod opening;
mod operator;
mod readable;
mod room;
mod run;
mod serve;
mod setup;
mod timepiece;
mod views;
mod writer;

pub use certificates::CertificateFiles;
pub use doors::{DoorError, DoorTls, Doors, Shown};
pub use files::Files;
pub use hold::HoldError;
pub use run::{Running, ServeError, Setup};
pub use serve::{bootstrap, join, serve};
pub use timepiece::WallClock;
pub use views::Fixed;

/// Exit code when the disk failed: restart, recover; nothing unacknowledged was promised.
pub const EXIT_DISK: i32 = 74;
