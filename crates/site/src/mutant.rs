//! Known bugs, on purpose: what the simulator's checkers are checked with.
//!
//! Without the cargo feature `mutants` there is no way to put one in, and the questions below answer themselves.

/// A bug that lies inside the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "mutants"),
    expect(dead_code, unreachable_pub, reason = "nobody can ask for a bug without the feature")
)]
pub enum Mutant {
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
    /// A ceiling counts as durable when it is asked for.
    CeilingNotAwaited,
    /// Stamps of others are taken in however far ahead they are, without moving the clock.
    DriftUnchecked,
    /// Each stamp is drawn twice.
    StampsRepeated,
    /// A promise does not wait for what is on its way to the disk.
    PromiseOverWaiting,
    /// With a majority of the sites silent, a majority of the rest is enough.
    QuorumOfTheLiving,
    /// What is taken in is said to be held.
    FrontierBeforeSync,
    /// Duplicates are looked for within each journal only.
    DuplicatesPerJournal,
    /// Which batches producers have written is forgotten at a restart.
    ProducersForgotten,
    /// Producer ids begin anew with every process.
    ProducerIdsReused,
    /// Positions of groups are forgotten at a restart.
    PositionsForgotten,
    /// The latest delta of a position replaces what is known.
    PositionsOverwritten,
    /// A commit is acknowledged before it is durable.
    CommitNotAwaited,
    /// A write is acknowledged before as many sites hold it as its topic asks for.
    HoldersNotAwaited,
    /// A write is acknowledged before it is readable, though its topic asks for that.
    ReleaseNotAwaited,
    /// A start asks nobody what is held of its journal.
    StartRuleSkipped,
    /// A data directory that was put back keeps its storage id.
    StorageKept,
    /// A data directory is used whoever it belongs to.
    OwnerUnchecked,
    /// A link that was given more than it has room for is given more as soon as it has any.
    CreditUnowed,
    /// A log that finds no room ends the process.
    LogsNotAwaited,
    /// The WAL is dropped without asking who still needs it.
    DroppedWhileNeeded,
    /// What only this site has is not bounded, though its topic asks for that.
    UnreplicatedUnbounded,
    /// Who has voted on a journal's end still reports all it holds of it.
    VoteNotFrozen,
    /// Who knows a journal's end reports what it holds beyond.
    ThawedAtEnd,
    /// Who promises a ballot says that it holds nothing.
    CutBelowReports,
    /// Who promises a ballot does not say what it has accepted.
    AcceptedForgotten,
    /// A ballot below the promised one is accepted.
    OlderBallotsAccepted,
    /// One promise less than a majority is enough for a ballot.
    MinorityPromises,
    /// However many have ended, one more is consented to.
    TooManyEnd,
    /// What lies beyond an end is never adopted.
    TailDropped,
    /// What lies beyond an end sorts like all else.
    BeyondEndSorted,
    /// Only the last open journal must stay.
    LastMayLeave,
    /// A wiped site votes as if it had never voted.
    WipedVotesAtOnce,
    /// An end is accepted without holding what lies in front of it.
    EndUnheld,
    /// One acceptance less than a majority decides.
    MinorityAccepts,
    /// Votes since the last checkpoint are forgotten at a restart.
    VotesForgotten,
    /// What lies beyond an end is adopted without asking who holds it.
    AdoptedUnheld,
    /// A wiped site votes before it holds what the others held.
    WipedVotesUnsynced,
    /// Whoever the members are, a majority of the founders releases.
    FoundersDecide,
    /// A majority of the members before a change releases what lies behind it.
    FormerMembersDecide,
    /// A site enters an epoch of members without having been told any votes.
    EntersUntold,
    /// A site votes in an epoch of members that it has not entered.
    VotesUnentered,
    /// Changes of the members are forgotten at a restart.
    MembersForgotten,
    /// Where members were given up, one of those who remain decides.
    OneOfTheRest,
    /// What operators have decided by force is forgotten at a restart.
    DecisionsForgotten,
    /// A site that knows that it was given up takes writes all the same.
    GivenUpWrites,
    /// Entries are taken in whoever has signed them.
    SignatureUnchecked,
    /// A pass of compaction leaves a step out, and with it the latest values of keys.
    CompactionLosesAStep,
    /// What stands in the WAL before the checkpoint is never looked at.
    LookbackSkipped,
    /// What is kept for a time goes by this machine's clock.
    RetainsByOwnClock,
    /// What is kept for a time goes seconds before that is over.
    RetainsTooShort,
    /// Records are deleted as soon as it is known that they are to be, not at the place of the order that says so.
    TrimsAtOnce,
    /// A low disk takes what clients write.
    LowTakesRecords,
    /// A low disk takes what other sites write.
    LowTakesReplicas,
    /// A low disk writes nothing any more.
    LowNotesNothing,
    /// A disk that was low once stays so.
    RoomUnheard,
    /// However much waits for the WAL, clients' writes are taken.
    QueueUnbounded,
    /// However many entries have no place in the order, clients' writes are taken.
    BacklogUnbounded,
    /// However long a topic's batches have been at this site only, more are taken.
    UnreplicatedForever,
    /// Entries of a new kind are written though not all members read them.
    WritesUnread,
    /// A journal in which a newer version wrote is taken no more.
    NewerQuarantined,
    /// What a newer version wrote is taken in unread.
    NewerTakenIn,
    /// The witness lets everybody go on who asks.
    WitnessVotesTwice,
    /// The witness counts as holding what it is in touch with.
    WitnessHolds,
    /// A witness on an empty directory votes as soon as anybody has told it something.
    WitnessVotesAtOnce,
    /// The witness tells what it has let happen before its note of that is durable.
    WitnessTellsEarly,
    /// What a site wrote in a later life is shown as soon as it is here, whatever is missing of those before.
    TailsPassedOver,
    /// A site that knows that its clock is behind takes what clients write.
    BehindWrites,
    /// A journal's number that was granted before is granted again, whichever data directory asks.
    GrantedAgain,
}

/// The bug that is in this machine, if one is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Switch {
    #[cfg(feature = "mutants")]
    pub(crate) mutant: Option<Mutant>,
}

impl Switch {
    /// Puts in a bug that lies in the order.
    #[cfg(feature = "mutants")]
    pub(crate) fn bend(self, order: &mut order::Order) {
        order.bend(self.has(Mutant::BeyondEndSorted), self.has(Mutant::LastMayLeave));
        match self.mutant {
            Some(Mutant::FoundersDecide) => order.let_decide(order::Deciders::Founders),
            Some(Mutant::FormerMembersDecide) => order.let_decide(order::Deciders::FormerMembers),
            Some(Mutant::MembersForgotten) => order.forget_members(),
            _ => {}
        }
    }

    /// There is none to put in.
    #[cfg(not(feature = "mutants"))]
    #[expect(clippy::unused_self, reason = "asked alike with and without the feature")]
    pub(crate) fn bend(self, _order: &mut order::Order) {}

    /// Whether this bug is in.
    #[cfg(feature = "mutants")]
    pub(crate) fn has(self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// No bug is ever in.
    #[cfg(not(feature = "mutants"))]
    #[expect(clippy::unused_self, reason = "asked alike with and without the feature")]
    pub(crate) fn has(self, _mutant: Mutant) -> bool {
        false
    }
}
