//! Bugs on purpose, for the simulator.

use super::Order;
use crate::holders::{Deciders, Holders};
use crate::release::Release;

impl Order {
    /// Puts bugs in.
    pub fn bend(&mut self, sorts_beyond: bool, last_may_leave: bool) {
        (self.sorts_beyond, self.last_may_leave) = (sorts_beyond, last_may_leave);
    }

    /// Others than the members decide what is released.
    pub fn let_decide(&mut self, deciders: Deciders) {
        self.holders.deciders = Some(deciders);
    }

    /// Who has joined and left since the founders' time is forgotten.
    pub fn forget_members(&mut self) {
        self.holders.members.forget_changes();
    }

    /// Releases without asking for promises, or without asking for a quorum.
    pub fn release_carelessly(&mut self, max: usize, promises: bool, quorum: bool) -> Vec<Release> {
        self.release_where(max, |order, at, journal, stable| {
            (!promises || at <= stable) && (!quorum || order.is_held_enough(journal))
        })
    }

    /// How many sites may still end, so that one more must stay open; none if the last may leave.
    pub(super) fn kept_to_write(&self, holders: &Holders, away: usize) -> usize {
        if self.last_may_leave { 0 } else { holders.ended_max().saturating_sub(away) }
    }
}
