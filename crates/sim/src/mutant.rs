//! Known bugs, one at a time, on purpose: what the checkers are checked with.
//!
//! Each stands for a mistake that a real system made. Most are made by the shell around the machine or on the wire, where no
//! hook is needed; those that lie inside the rules are switches of `site` behind its cargo feature `mutants`.
//!
//! One broken rule of the seal is left to its model, though `checkers/votes` looks for it: that a vote of a lost disk counts
//! beside that of who knows so (`GoneVotesCount`). It takes a ballot that stays open while a voter loses its disk and is back
//! among the voters, and another that accepts only then: a thousand seeds of three and five sites did not bring that about.

use std::fmt;

use crate::swarm::Kind;

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
    /// A recovery cuts the WAL in the middle, at the first commit that it does not like.
    WalCutInTheMiddle,
    /// A sync that failed is tried again, and then says yes.
    SyncRetried,
    /// A checkpoint says that it stands further on in the WAL than it does.
    CheckpointMisplaced,
    /// Now and then a write to a log is lost.
    WriteLost,
    /// Now and then a write to a log lands elsewhere.
    WriteMisdirected,
    /// One that lies inside the machine, and is named there.
    Inside(site::Mutant),
}

impl Mutant {
    /// All of them.
    pub const ALL: [Mutant; 89] = [
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
        Mutant::WalCutInTheMiddle,
        Mutant::SyncRetried,
        Mutant::CheckpointMisplaced,
        Mutant::WriteLost,
        Mutant::WriteMisdirected,
        Mutant::Inside(site::Mutant::CeilingNotAwaited),
        Mutant::Inside(site::Mutant::DriftUnchecked),
        Mutant::Inside(site::Mutant::StampsRepeated),
        Mutant::Inside(site::Mutant::PromiseOverWaiting),
        Mutant::Inside(site::Mutant::QuorumOfTheLiving),
        Mutant::Inside(site::Mutant::FrontierBeforeSync),
        Mutant::Inside(site::Mutant::DuplicatesPerJournal),
        Mutant::Inside(site::Mutant::ProducersForgotten),
        Mutant::Inside(site::Mutant::ProducerIdsReused),
        Mutant::Inside(site::Mutant::PositionsForgotten),
        Mutant::Inside(site::Mutant::PositionsOverwritten),
        Mutant::Inside(site::Mutant::CommitNotAwaited),
        Mutant::Inside(site::Mutant::HoldersNotAwaited),
        Mutant::Inside(site::Mutant::ReleaseNotAwaited),
        Mutant::Inside(site::Mutant::StartRuleSkipped),
        Mutant::Inside(site::Mutant::StorageKept),
        Mutant::Inside(site::Mutant::OwnerUnchecked),
        Mutant::Inside(site::Mutant::CreditUnowed),
        Mutant::Inside(site::Mutant::DroppedWhileNeeded),
        Mutant::Inside(site::Mutant::UnreplicatedUnbounded),
        Mutant::Inside(site::Mutant::VoteNotFrozen),
        Mutant::Inside(site::Mutant::ThawedAtEnd),
        Mutant::Inside(site::Mutant::CutBelowReports),
        Mutant::Inside(site::Mutant::AcceptedForgotten),
        Mutant::Inside(site::Mutant::OlderBallotsAccepted),
        Mutant::Inside(site::Mutant::MinorityPromises),
        Mutant::Inside(site::Mutant::TooManyEnd),
        Mutant::Inside(site::Mutant::TailDropped),
        Mutant::Inside(site::Mutant::BeyondEndSorted),
        Mutant::Inside(site::Mutant::LastMayLeave),
        Mutant::Inside(site::Mutant::WipedVotesAtOnce),
        Mutant::Inside(site::Mutant::EndUnheld),
        Mutant::Inside(site::Mutant::MinorityAccepts),
        Mutant::Inside(site::Mutant::VotesForgotten),
        Mutant::Inside(site::Mutant::AdoptedUnheld),
        Mutant::Inside(site::Mutant::WipedVotesUnsynced),
        Mutant::Inside(site::Mutant::FoundersDecide),
        Mutant::Inside(site::Mutant::FormerMembersDecide),
        Mutant::Inside(site::Mutant::EntersUntold),
        Mutant::Inside(site::Mutant::VotesUnentered),
        Mutant::Inside(site::Mutant::MembersForgotten),
        Mutant::Inside(site::Mutant::OneOfTheRest),
        Mutant::Inside(site::Mutant::DecisionsForgotten),
        Mutant::Inside(site::Mutant::GivenUpWrites),
        Mutant::Inside(site::Mutant::SignatureUnchecked),
        Mutant::Inside(site::Mutant::CompactionLosesAStep),
        Mutant::Inside(site::Mutant::LookbackSkipped),
        Mutant::Inside(site::Mutant::RetainsByOwnClock),
        Mutant::Inside(site::Mutant::RetainsTooShort),
        Mutant::Inside(site::Mutant::TrimsAtOnce),
        Mutant::Inside(site::Mutant::LowTakesRecords),
        Mutant::Inside(site::Mutant::LowTakesReplicas),
        Mutant::Inside(site::Mutant::LowNotesNothing),
        Mutant::Inside(site::Mutant::RoomUnheard),
        Mutant::Inside(site::Mutant::LogsNotAwaited),
        Mutant::Inside(site::Mutant::QueueUnbounded),
        Mutant::Inside(site::Mutant::BacklogUnbounded),
        Mutant::Inside(site::Mutant::UnreplicatedForever),
        Mutant::Inside(site::Mutant::WritesUnread),
        Mutant::Inside(site::Mutant::NewerQuarantined),
        Mutant::Inside(site::Mutant::NewerTakenIn),
        Mutant::Inside(site::Mutant::WitnessVotesTwice),
        Mutant::Inside(site::Mutant::WitnessHolds),
        Mutant::Inside(site::Mutant::WitnessVotesAtOnce),
        Mutant::Inside(site::Mutant::WitnessTellsEarly),
        Mutant::Inside(site::Mutant::TailsPassedOver),
        Mutant::Inside(site::Mutant::BehindWrites),
        Mutant::Inside(site::Mutant::GrantedAgain),
    ];

    /// The faults that a bug needs to show: without them it does no harm.
    #[must_use]
    pub fn needs(self) -> &'static [Kind] {
        use site::Mutant as Within;
        match self {
            Mutant::SyncErrorIgnored | Mutant::SyncRetried => &[Kind::SyncFails, Kind::Power],
            Mutant::WalTruncated | Mutant::DiskRolledBack | Mutant::WalCutInTheMiddle => &[Kind::Kill],
            Mutant::CheckpointLost | Mutant::CheckpointMisplaced => &[Kind::Kill, Kind::Kill],
            Mutant::CheckpointUnsynced => &[Kind::Power, Kind::PowerAll],
            Mutant::CeilingForgotten => &[Kind::Kill, Kind::Jump],
            Mutant::ReleaseForgotten | Mutant::DuplicatesKept => &[Kind::Kill, Kind::Isolate],
            Mutant::Inside(inside) => match inside {
                Within::CeilingNotAwaited => &[Kind::Stall, Kind::PowerAll, Kind::Jump],
                Within::DriftUnchecked => &[Kind::Jump],
                Within::QuorumOfTheLiving => &[Kind::Isolate, Kind::Split],
                Within::DuplicatesPerJournal => &[Kind::Kill, Kind::Isolate],
                Within::CommitNotAwaited => &[Kind::Power, Kind::PowerAll],
                Within::ProducersForgotten | Within::ProducerIdsReused | Within::PositionsForgotten => {
                    &[Kind::Kill]
                }
                Within::StartRuleSkipped | Within::StorageKept => &[Kind::Restore],
                Within::OwnerUnchecked => &[Kind::Clone],
                Within::DroppedWhileNeeded | Within::UnreplicatedUnbounded => &[Kind::Isolate, Kind::Split],
                Within::VoteNotFrozen
                | Within::ThawedAtEnd
                | Within::CutBelowReports
                | Within::AcceptedForgotten
                | Within::OlderBallotsAccepted
                | Within::MinorityPromises
                | Within::TooManyEnd
                | Within::TailDropped
                | Within::BeyondEndSorted
                | Within::EndUnheld
                | Within::MinorityAccepts
                | Within::AdoptedUnheld => &[Kind::Fence, Kind::Fence, Kind::Isolate, Kind::Split],
                Within::LastMayLeave => &[Kind::Fence, Kind::Stop, Kind::Isolate],
                Within::VotesForgotten => &[Kind::Fence, Kind::Fence, Kind::Kill, Kind::Isolate],
                Within::WipedVotesAtOnce | Within::WipedVotesUnsynced => {
                    &[Kind::Fence, Kind::Wipe, Kind::Isolate]
                }
                Within::FoundersDecide | Within::FormerMembersDecide => {
                    &[Kind::Add, Kind::Add, Kind::Remove, Kind::Isolate, Kind::Split]
                }
                Within::EntersUntold | Within::VotesUnentered => {
                    &[Kind::Add, Kind::Remove, Kind::Fence, Kind::Isolate]
                }
                Within::MembersForgotten => &[Kind::Add, Kind::Remove, Kind::Kill],
                Within::OneOfTheRest => &[Kind::Force, Kind::Isolate],
                Within::DecisionsForgotten | Within::GivenUpWrites => &[Kind::Force, Kind::Kill],
                Within::LookbackSkipped => &[Kind::Decay, Kind::Kill, Kind::Isolate],
                Within::RetainsByOwnClock | Within::RetainsTooShort | Within::TrimsAtOnce => {
                    &[Kind::Retain, Kind::Isolate]
                }
                Within::LowTakesRecords
                | Within::LowTakesReplicas
                | Within::LowNotesNothing
                | Within::RoomUnheard => &[Kind::Low],
                Within::LogsNotAwaited => &[Kind::Crowd],
                Within::QueueUnbounded => &[Kind::Flood, Kind::Stall],
                Within::BacklogUnbounded | Within::UnreplicatedForever => &[Kind::Flood, Kind::Isolate],
                Within::WritesUnread | Within::NewerQuarantined | Within::NewerTakenIn => &[Kind::Upgrade],
                Within::WitnessVotesTwice
                | Within::WitnessHolds
                | Within::WitnessVotesAtOnce
                | Within::WitnessTellsEarly => &[Kind::Witness, Kind::Witness],
                Within::TailsPassedOver => {
                    &[Kind::Fence, Kind::Fence, Kind::Fence, Kind::Isolate, Kind::Isolate]
                }
                Within::BehindWrites => &[Kind::Behind, Kind::Behind],
                Within::GrantedAgain => &[Kind::Wipe, Kind::Wipe],
                Within::SignatureUnchecked => &[Kind::Forge, Kind::Ring, Kind::Block],
                _ => &[],
            },
            _ => &[],
        }
    }

    /// How many sites it takes: where an adoption is released, its owner, its writer and the reader hold what it adopts; and
    /// where a half or more is given up, several must remain for one of them to be too few.
    #[must_use]
    pub fn sites(self) -> u16 {
        match self {
            Mutant::Inside(site::Mutant::AdoptedUnheld) => 7,
            Mutant::Inside(site::Mutant::OneOfTheRest) => 5,
            _ => 3,
        }
    }

    /// The bug of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Mutant> {
        Mutant::ALL.into_iter().find(|mutant| mutant.to_string() == name)
    }

    /// The switch inside the machine, for a bug that lies there.
    pub(crate) fn inside(self) -> Option<site::Mutant> {
        match self {
            Mutant::CeilingForgotten => Some(site::Mutant::CeilingForgotten),
            Mutant::ReleaseForgotten => Some(site::Mutant::ReleaseForgotten),
            Mutant::QuorumOfOne => Some(site::Mutant::QuorumOfOne),
            Mutant::PromisesIgnored => Some(site::Mutant::PromisesIgnored),
            Mutant::DuplicatesKept => Some(site::Mutant::DuplicatesKept),
            Mutant::RewindsLost => Some(site::Mutant::RewindsLost),
            Mutant::Inside(mutant) => Some(mutant),
            _ => None,
        }
    }
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mutant::Inside(inside) => write!(f, "{inside:?}"),
            outside => write!(f, "{outside:?}"),
        }
    }
}
