//! A wall clock that jumped ahead: when it is believed again.
//!
//! The clock does not believe a wall that runs ahead of what has elapsed, since stamps taken from a wrong one could never
//! be taken back ([`clock::HybridClock`]). But the new time may be the right one: a clock that was behind was corrected.
//! The other sites know. Their promises follow their own clocks, so once as many of them as make a quorum with this one
//! promise what this wall shows, to within the bound, the jump is accepted. Promises that were dragged along by this
//! site cannot vouch for it: while it does not believe its wall it stamps nothing from it. Where nobody can be asked an
//! operator decides.

use clock::Now;
use entry::SiteId;

use crate::action::Action;
use crate::site::{Site, Step};

impl Site {
    /// How far the wall clock has jumped ahead, while it is not believed.
    #[must_use]
    pub fn clock_jump_ms(&self, now: Now) -> Option<u64> {
        self.clock.jump_ms(now)
    }

    /// Notices a jump, and believes it when enough others do.
    pub(crate) fn watch_clock(&mut self, step: &mut Step<'_>) {
        let Some(jump_ms) = self.clock.jump_ms(step.now) else {
            if let Some(text) = self.state.clock_jumped.take() {
                self.state.alarms.remove(&text);
                step.out.push(Action::ViewChanged);
            }
            return;
        };
        let agreeing = self.others().filter(|site| self.shows_our_time(*site, step.now)).count();
        if agreeing > 0 && agreeing + 1 >= self.quorum() {
            let text = format!(
                "the wall clock was set {jump_ms} ms ahead, and {agreeing} other site(s) show the same time: it is believed"
            );
            return self.believe_clock(text, step);
        }
        if self.state.clock_jumped.is_none() {
            let bound_ms = self.clock.bound_ms();
            let text = format!(
                "the wall clock was set {jump_ms} ms ahead, more than the bound of {bound_ms} ms, and too few other sites \
                 show the same time: writes wait until they do or it is set back; if it is right, say so with \
                 `meridian site accept-clock`"
            );
            self.state.clock_jumped = Some(text.clone());
            self.alarm(text, step);
            step.out.push(Action::ViewChanged);
        }
    }

    /// The operator says that the wall clock is right.
    pub(crate) fn accept_clock(&mut self, step: &mut Step<'_>) {
        if let Some(jump_ms) = self.clock.jump_ms(step.now) {
            let text =
                format!("the wall clock was set {jump_ms} ms ahead, and the operator says that it is right");
            self.believe_clock(text, step);
        }
    }

    fn believe_clock(&mut self, text: String, step: &mut Step<'_>) {
        self.clock.accept_jump(step.now);
        step.out.push(Action::Remark(text));
        if let Some(text) = self.state.clock_jumped.take() {
            self.state.alarms.remove(&text);
        }
        step.out.push(Action::ViewChanged);
    }

    /// Whether the latest promise of a site lies near what our wall clock shows.
    fn shows_our_time(&self, site: SiteId, now: Now) -> bool {
        let promises = self.peers.promises.iter().filter(|(journal, _)| journal.site == site);
        let latest = promises.map(|(_, (w, _))| w.unix_ms()).max();
        latest.is_some_and(|unix_ms| unix_ms.abs_diff(now.wall_ms) <= self.clock.bound_ms())
    }
}
