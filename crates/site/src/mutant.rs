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
}

/// The bug that is in this machine, if one is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Switch {
    #[cfg(feature = "mutants")]
    pub(crate) mutant: Option<Mutant>,
}

impl Switch {
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
