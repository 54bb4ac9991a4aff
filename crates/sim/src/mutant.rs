//! Known bugs, one at a time, on purpose: what the checkers are checked with.
//!
//! Each stands for a mistake that a real system made. Most are made by the shell around the machine or on the wire, where no
//! hook is needed; those that lie inside the rules are switches of `site` behind its cargo feature `mutants`.

/// A bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// A WAL write is reported before it is carried out.
    AckBeforeSync,
    /// Syncs of the WAL say yes and do nothing.
    SyncLies,
    /// A sync that failed counts as done.
    SyncErrorIgnored,
    /// Promises on the wire say more than was promised.
    PromiseAhead,
    /// Frontiers on the wire say more than is held.
    FrontierAhead,
    /// The last commit of the WAL is wiped at a restart.
    WalTruncated,
    /// A restart finds the disk as it was some time before.
    DiskRolledBack,
    /// A bit of an entry's body is flipped on the wire.
    EntryAltered,
    /// Checkpoints are gone at a restart, the WAL before them too.
    CheckpointLost,
    /// A checkpoint is put in force without its files being synced.
    CheckpointUnsynced,
    /// The note of the durable ceiling is not read at a restart.
    CeilingForgotten,
    /// The note of what was released is not read at a restart.
    ReleaseForgotten,
    /// One site is enough for a quorum.
    QuorumOfOne,
    /// Nobody's promise is asked for.
    PromisesIgnored,
    /// Duplicates are not looked for in the merged order.
    DuplicatesKept,
    /// A rewind is joined like any other commit: the highest position wins.
    RewindsLost,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Mutant; 16] = [
        Mutant::AckBeforeSync,
        Mutant::SyncLies,
        Mutant::SyncErrorIgnored,
        Mutant::PromiseAhead,
        Mutant::FrontierAhead,
        Mutant::WalTruncated,
        Mutant::DiskRolledBack,
        Mutant::EntryAltered,
        Mutant::CheckpointLost,
        Mutant::CheckpointUnsynced,
        Mutant::CeilingForgotten,
        Mutant::ReleaseForgotten,
        Mutant::QuorumOfOne,
        Mutant::PromisesIgnored,
        Mutant::DuplicatesKept,
        Mutant::RewindsLost,
    ];

    /// The switch inside the machine, for a bug that lies there.
    pub(crate) fn inside(self) -> Option<site::Mutant> {
        match self {
            Mutant::CeilingForgotten => Some(site::Mutant::CeilingForgotten),
            Mutant::ReleaseForgotten => Some(site::Mutant::ReleaseForgotten),
            Mutant::QuorumOfOne => Some(site::Mutant::QuorumOfOne),
            Mutant::PromisesIgnored => Some(site::Mutant::PromisesIgnored),
            Mutant::DuplicatesKept => Some(site::Mutant::DuplicatesKept),
            Mutant::RewindsLost => Some(site::Mutant::RewindsLost),
            _ => None,
        }
    }
}
