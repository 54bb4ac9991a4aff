//! Where records live: origin-log segments, and the merged index over them.
//!
//! Record bytes are kept once. A site's own order of a partition (its *origin log*) is a row of segment files that hold
//! Kafka batches back to back; the order that all sites share (the *merged log*) is an index of fixed-size records that
//! point into those segments. Both are functions of content alone, so they are byte for byte the same at every site.
//!
//! ```text
//! logs/<topic id>/<partition>/merged.index
//! logs/<topic id>/<partition>/origin/<site>.<incarnation>/<first offset>.log
//! logs/<topic id>/<partition>/origin/<site>.<incarnation>/<first offset>.index
//! logs/<topic id>/<partition>/compacted/<generation>/<first offset>.log
//! logs/<topic id>/<partition>/compacted/<generation>/<first offset>.index
//! ```
//!
//! Everything here is buffered and synchronous, through an injected [`disk::Disk`]: what is acknowledged is in the WAL,
//! and what is here can be built again from the last checkpoint and the WAL behind it. What this room refuses to do:
//! decide what is released, know what an entry means, and serve bytes whose checksum is wrong.

mod compacted;
mod compacting;
mod error;
mod index;
mod leaving;
mod logs;
mod merged;
mod names;
mod origin;
mod partition;
mod pass;
mod places;
mod plan;
mod record;
mod retention;
mod rewriting;
mod row;
mod segment;
mod state;
mod verify;

#[cfg(test)]
mod tests;

pub use compacted::Terms;
pub use error::{LogsError, OffsetError};
pub use logs::{At, Logs, OriginKey};
pub use origin::Placed;
pub use pass::Pass;
pub use places::{Place, places};
pub use plan::{Plan, Slice, TimeHit, read, read_sound};
pub use retention::Kept;
pub use rewriting::{CompactDone, CompactWork, Rewrite, Rewritten};
pub use state::{Checkpoint, LogsState};
pub use verify::{Kind, Proven, verify};

/// A segment takes no batch that would make it longer than this, unless it is empty. Part of the format: where segments
/// roll must be the same at every site.
pub const SEGMENT_BYTES: u32 = 64 << 20;
