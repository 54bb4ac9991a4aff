//! The classes of anomalies, and the words for them.

use std::fmt;

/// What beside data orders two calls of a cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Span {
    /// Nothing: data alone makes the cycle.
    Data,
    /// What a process had polled before it went on.
    Process,
    /// One call was over before the other began.
    Realtime,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// G1a: a value was read whose write certainly failed.
    AbortedRead,
    /// A value was read that nobody wrote.
    Unexpected,
    /// One offset has two values.
    InconsistentOffsets,
    /// An acknowledged value is missing below what was read.
    LostWrite,
    /// A batch stands where neither its own stamp nor a turn of its journal puts it.
    Misplaced,
    /// One site's final reads lack what another's have.
    LostOnSite,
    /// A merged log has a record that no origin log has.
    OriginMissing,
    /// A value stands at two offsets of a merged log.
    Duplicate,
    /// As above, but the client sent it twice: under another identity, after it had given up what it sent under the first.
    Resent,
    /// A value stands twice in origin logs: a retry that the merge passes over.
    OriginDuplicate,
    /// A consumer jumped over records between two polls.
    PollSkip,
    /// A consumer went back between two polls.
    NonmonotonicPoll,
    /// A consumer jumped over records within one poll.
    IntPollSkip,
    /// A consumer went back within one poll.
    IntNonmonotonicPoll,
    /// A producer's records stand in another order than it sent them, though one site took them.
    NonmonotonicSend,
    /// As above, but the records went to different sites, and lie no further apart than the sites' clocks may.
    SwappedSend,
    /// As above, but further apart, and the clock of the site that took the later record had been set behind so far.
    ShiftedSend,
    /// As above, but the earlier record came late: it lay beyond the end of its fenced site's journal, and was adopted.
    AdoptedLate,
    /// As above, but the earlier record came late: its journal came into the order after it was written.
    OpenedLate,
    /// As above, but the client had given the earlier record up and goes on under another identity: its request lay at a site
    /// that stood still.
    GivenUpLate,
    /// Records of one call stand in another order than they were sent.
    IntNonmonotonicSend,
    /// Others' records stand between those of one call.
    IntSendSkip,
    /// A transaction read its own writes before it was committed.
    PrecommittedRead,
    /// Acknowledged and never read by anybody, with nothing later read either.
    Unseen,
    /// Acknowledged and lost with a disk, before any other site can have had it.
    ExcusedLoss,
    /// Acknowledged and readable, and a group that read to the end never polled it.
    Unconsumed,
    /// Writes alone make a cycle: the logs contradict each other.
    G0(Span),
    /// Writes and reads make a cycle.
    G1c(Span),
    /// A cycle with one read that missed a later write.
    GSingle(Span),
    /// A cycle with several such reads.
    G2(Span),
}

impl Class {
    /// Every class, in the order of a report.
    #[must_use]
    pub fn all() -> Vec<Class> {
        use Class as C;
        let mut all = vec![
            C::AbortedRead,
            C::Unexpected,
            C::InconsistentOffsets,
            C::Misplaced,
            C::LostWrite,
            C::LostOnSite,
            C::Unseen,
            C::ExcusedLoss,
            C::OriginMissing,
            C::Duplicate,
            C::Resent,
            C::OriginDuplicate,
            C::PollSkip,
            C::NonmonotonicPoll,
            C::IntPollSkip,
            C::IntNonmonotonicPoll,
            C::NonmonotonicSend,
            C::SwappedSend,
            C::ShiftedSend,
            C::AdoptedLate,
            C::OpenedLate,
            C::GivenUpLate,
            C::IntNonmonotonicSend,
            C::IntSendSkip,
            C::PrecommittedRead,
            C::Unconsumed,
        ];
        for span in [Span::Data, Span::Process, Span::Realtime] {
            all.extend([C::G0(span), C::G1c(span), C::GSingle(span), C::G2(span)]);
        }
        all
    }

    /// The name that people who test queues know.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Class::AbortedRead => "G1a",
            Class::Unexpected => "unexpected",
            Class::InconsistentOffsets => "inconsistent-offsets",
            Class::Misplaced => "misplaced",
            Class::LostWrite => "lost-write",
            Class::LostOnSite => "lost-on-site",
            Class::OriginMissing => "origin-missing",
            Class::Duplicate => "duplicate",
            Class::Resent => "resent",
            Class::OriginDuplicate => "origin-duplicate",
            Class::PollSkip => "poll-skip",
            Class::NonmonotonicPoll => "nonmonotonic-poll",
            Class::IntPollSkip => "int-poll-skip",
            Class::IntNonmonotonicPoll => "int-nonmonotonic-poll",
            Class::NonmonotonicSend => "nonmonotonic-send",
            Class::SwappedSend => "swapped-send",
            Class::ShiftedSend => "shifted-send",
            Class::AdoptedLate => "adopted-late",
            Class::OpenedLate => "opened-late",
            Class::GivenUpLate => "given-up-late",
            Class::IntNonmonotonicSend => "int-nonmonotonic-send",
            Class::IntSendSkip => "int-send-skip",
            Class::PrecommittedRead => "precommitted-read",
            Class::Unseen => "unseen",
            Class::ExcusedLoss => "excused-loss",
            Class::Unconsumed => "unconsumed",
            Class::G0(_) => "G0",
            Class::G1c(_) => "G1c",
            Class::GSingle(_) => "G-single",
            Class::G2(_) => "G2",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = match self {
            Class::G0(span) | Class::G1c(span) | Class::GSingle(span) | Class::G2(span) => *span,
            _ => Span::Data,
        };
        let suffix = match span {
            Span::Data => "",
            Span::Process => "-process",
            Span::Realtime => "-realtime",
        };
        out.pad(&format!("{}{suffix}", self.name()))
    }
}
