//! A wall clock that is behind: its site takes nothing from clients while it knows so.
//!
//! A client may write at one site and then here, and expects the later record behind the earlier one. Stamps see to that to
//! within the bound, where no clock is further behind than that: others' stamps, which drag a clock along, are not taken in
//! beyond it. The others' promises tell what their clocks show, and go on showing. What more of those tell that are heard,
//! with what has elapsed here in this process, is what counts: one clock that is wrong stops one site, and where it is one
//! word against another writing goes on. A site that is cut off learns nothing; what it knew before still stands.
//!
//! What this site itself has to say, and what it promises, goes on: it is in nobody's way but late.

use clock::Now;
use entry::SiteId;

use crate::action::Action;
use crate::site::{Site, Step};

/// A wall clock that is known to be behind.
#[derive(Debug)]
pub(crate) struct Behind {
    /// What is said about it.
    pub(crate) text: String,
    /// What the others showed last, and when.
    shown: Now,
}

impl Site {
    /// Notices that the wall clock is behind, and that it is no more.
    pub(crate) fn watch_behind(&mut self, step: &mut Step<'_>) {
        match self.shown_ahead(step.now) {
            Some(wall_ms) => {
                let shown = Now { wall_ms, ..step.now };
                match &mut self.state.clock_behind {
                    Some(behind) => behind.shown = shown,
                    None => self.fall_behind(shown, step),
                }
            }
            None => {
                if let Some(behind) = self.state.clock_behind.take() {
                    self.state.alarms.remove(&behind.text);
                    step.out.push(Action::ViewChanged);
                }
            }
        }
    }

    fn fall_behind(&mut self, shown: Now, step: &mut Step<'_>) {
        let (behind_ms, bound_ms) = (shown.wall_ms - step.now.wall_ms, self.clock.bound_ms());
        let text = format!(
            "the wall clock is {behind_ms} ms behind what other sites show, more than the bound of {bound_ms} ms: clients' \
             writes wait until it agrees with theirs; set it right, or theirs if they are wrong"
        );
        self.alarm(text.clone(), step);
        self.state.clock_behind = Some(Behind { text, shown });
        step.out.push(Action::ViewChanged);
    }

    /// What others show, if that is more than the bound ahead of the wall clock and more tell it than do not.
    fn shown_ahead(&self, now: Now) -> Option<u64> {
        let is_ahead = |shown_ms: &u64| *shown_ms > now.wall_ms.saturating_add(self.clock.bound_ms());
        let known = self.state.clock_behind.as_ref();
        let set_back = self.clock.was_set_back(now);
        let shown: Vec<u64> = self.others().filter_map(|site| self.shown_by(site, now)).collect();
        if shown.is_empty() {
            // Who is heard, and tells no time, may have found out that its own clock was the wrong one.
            let stands = known.filter(|_| set_back || self.state.alive.len() == 1);
            return stands.map(|behind| elapsed(behind.shown, now)).filter(is_ahead);
        }
        let ahead = shown.iter().filter(|shown_ms| is_ahead(shown_ms)).count();
        let set_back = usize::from(set_back);
        let (against, with) = (ahead + set_back, shown.len() - ahead + 1 - set_back);
        let tells = against > with || against == with && known.is_some();
        shown.into_iter().filter(is_ahead).min().filter(|_| tells)
    }

    /// What a site's clock shows, at least, going by its latest promise: nothing where that has not moved of late.
    fn shown_by(&self, site: SiteId, now: Now) -> Option<u64> {
        let promises = self.peers.promises.iter().filter(|(journal, _)| journal.site == site);
        let (journal, (w, _)) = promises.max_by_key(|(_, (w, _))| *w)?;
        let moved_us = *self.peers.moved_us.get(journal)?;
        let is_fresh = now.mono_us.saturating_sub(moved_us) <= self.config.alive_ms * 1000;
        is_fresh.then(|| elapsed(Now { mono_us: moved_us, wall_ms: w.unix_ms() }, now))
    }
}

/// What a clock shows now that showed `then`.
fn elapsed(then: Now, now: Now) -> u64 {
    then.wall_ms.saturating_add(now.mono_us.saturating_sub(then.mono_us) / 1000)
}
