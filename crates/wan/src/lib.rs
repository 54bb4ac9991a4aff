//! A wide-area network on one machine, in user space: no root, no kernel modules, the real binaries on real sockets.
//!
//! Every ordered pair of sites gets a *gate*: a UDP address that `from` dials instead of `to`'s own. What arrives
//! there is held back, thinned, duplicated or dropped as the pair's [`Link`] says and then sent on; the answers come
//! back the same way under the opposite link. Each direction has its own delay, loss, rate and cut, all of which can
//! be changed while traffic flows. TCP connections of far-away clients go through [`Emulator::proxy`].
//!
//! Why not the kernel's own emulator: it needs root and network namespaces, so the first command of the README would
//! not run for most people. The price is precision, so the price is measured: `wan accuracy` prints it, and
//! [`Emulator::lateness`] reports it for any run in which the emulator took part.
//!
//! The rules of a link (`fabric`) are plain arithmetic on times that are handed in, tested without a clock.
//! Threads and sockets around them are short.
//!
//! This crate knows nothing of what it carries, and refuses to learn: no protocol is parsed here.

mod accuracy;
mod command;
mod dice;
mod emulator;
mod fabric;
mod flight;
mod forward;
mod link;
mod matrix;
mod monotonic;
mod overrun;
mod pipe;
mod stream;
mod topology;
mod urgency;

pub use accuracy::{Accuracy, AccuracyError, AccuracyPlan, measure};
pub use command::{CommandError, Reply, obey};
pub use emulator::{Emulator, LinkError, StartError};
pub use link::{BadLink, Count, DATAGRAM_OVERHEAD_BYTES, Drops, Lateness, Link, LinkStats, Marks};
pub use matrix::{Matrix, MatrixError};
pub use topology::{LinkSpec, PipeSpec, SiteEnd, Topology, TopologyError};
pub use urgency::Urgency;
