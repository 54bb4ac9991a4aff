//! Stopping in good order: the last thing a site says is that it leaves.
//!
//! From the parting's place in the merged order no promise of this site is required, so a rolling restart stalls nobody.
//! The process waits until a quorum holds the parting, but not for ever: a site that cannot tell anybody just stops, and
//! is then silent, as after a crash.

use entry::Body;

use crate::action::{Action, Refusal};
use crate::site::{Site, Step};

/// How long a stop waits for the others, in microseconds.
const WAIT_US: u64 = 3_000_000;

impl Site {
    /// The operator wants the site to stop.
    pub(crate) fn stop(&mut self, step: &mut Step<'_>) {
        if self.state.stopping_us.is_some() {
            return;
        }
        let heard = 1 + self.other_voters().filter(|site| self.peers.is_greeted(*site)).count();
        // A parting that nobody can give its place would stand in the way of going on without the others. And while they are
        // given up, each of those who remain may be the last to write in the order: they are only silent.
        let may_part = !self.state.start.waits_for_opening()
            && self.is_settled()
            && !self.gives_up()
            && heard >= self.quorum();
        let may_write = self.may_write().is_ok() && may_part;
        for (ticket, _) in std::mem::take(&mut self.desk.deferred) {
            step.out.push(Action::Reply { ticket, answer: Err(Refusal::Stopping) });
        }
        let parted = may_write
            && matches!(self.mint(step.now), Ok(Some(stamp)) if self.say(stamp, Body::Part).is_ok());
        self.state.stopping_us = Some(if parted { step.now.mono_us } else { 0 });
    }

    /// Says when the process may end.
    pub(crate) fn finish_stop(&mut self, step: &mut Step<'_>) {
        let (Some(since), Some(journal)) = (self.state.stopping_us, self.identity.journal()) else {
            if self.state.stopping_us.is_some() {
                self.stopped(step);
            }
            return;
        };
        let all = self.journals.next(journal);
        let durable = self.journals.durable(journal) == all;
        let told = |site: &entry::SiteId| self.peers.holds(*site, journal) >= all;
        let quorum = 1 + self.others().filter(told).count() >= self.quorum();
        let waited = step.now.mono_us.saturating_sub(since) >= WAIT_US;
        let all_told = self.peers.greeted().all(|site| told(&site) || self.config.witness == Some(site));
        if waited || (durable && quorum && all_told) {
            self.stopped(step);
        }
    }

    fn stopped(&self, step: &mut Step<'_>) {
        if self.pipeline.is_behind() {
            let text = "what the WAL holds and found no room in the logs is taken up by the next start";
            step.out.push(Action::Remark(text.to_owned()));
        }
        step.out.push(Action::Stopped);
    }
}
