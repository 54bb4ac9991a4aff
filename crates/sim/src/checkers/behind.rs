//! I-59: a site that tells others of clocks that are further ahead of its own than the bound, of a majority without it, takes no
//! batch that sorts further in front of what its producer had been told to be written before than the bound.
//!
//! What a site knows of others' clocks is what it passes on: promises that rise. All times here are of its own wall clock, while
//! that runs on without a step.

use std::collections::{BTreeMap, BTreeSet};

use clock::Stamp;
use entry::{Body, Encoded, SiteId};
use site::wire::Message;

use super::truth::Truth;
use super::{Verdict, ensure};
use crate::submission::Submissions;

/// The bound that all sites are given, in milliseconds.
const BOUND_MS: u64 = 500;
/// A promise that has not risen for this long may be of a site that is gone, in milliseconds.
const RISEN_MS: u64 = 1_000;
/// A site in touch with others sends pulses more often than this, in milliseconds.
const PULSE_MS: u64 = 500;

/// What every process has said.
#[derive(Debug, Default)]
pub(super) struct Behind {
    said: BTreeMap<SiteId, Said>,
}

/// What one has said since its wall clock had a step, or it began.
#[derive(Debug, Default)]
struct Said {
    /// What the wall clock shows.
    wall_ms: u64,
    /// When it last sent a pulse.
    pulse_ms: u64,
    /// The latest promise of each other site, and when it was seen to rise.
    promises: BTreeMap<SiteId, (Stamp, Option<u64>)>,
    /// Since when it tells of a majority that is ahead.
    since_ms: Option<u64>,
}

impl Behind {
    /// A site's wall clock shows this.
    pub(super) fn shows(&mut self, site: SiteId, wall_ms: u64) {
        let said = self.said.entry(site).or_default();
        if !(said.wall_ms..=said.wall_ms + PULSE_MS).contains(&wall_ms) {
            *said = Said::default();
        }
        said.wall_ms = wall_ms;
    }

    /// A process is gone.
    pub(super) fn ended(&mut self, site: SiteId) {
        self.said.remove(&site);
    }

    /// A site sends a message; a pulse says what it has heard.
    pub(super) fn sent(&mut self, by: SiteId, message: &Message, members: &BTreeSet<SiteId>) {
        let (Message::Pulse(pulse), Some(said)) = (message, self.said.get_mut(&by)) else { return };
        let now_ms = said.wall_ms;
        let goes_on = now_ms - said.pulse_ms <= PULSE_MS;
        said.pulse_ms = now_ms;
        for (journal, (w, _)) in pulse.promises.iter().filter(|(journal, _)| journal.site != by) {
            let known = said.promises.entry(journal.site).or_insert((*w, None));
            if *w > known.0 {
                *known = (*w, goes_on.then_some(now_ms));
            }
        }
        let is_ahead = |(w, risen): &(Stamp, Option<u64>)| {
            w.unix_ms() > now_ms + BOUND_MS && risen.is_some_and(|risen| now_ms - risen <= RISEN_MS)
        };
        let ahead = members.iter().filter(|site| said.promises.get(site).is_some_and(is_ahead)).count();
        said.since_ms = (ahead > members.len() / 2).then(|| said.since_ms.unwrap_or(now_ms));
    }

    /// A site stamps a new entry. One that it may have stamped before it knew is let pass.
    pub(super) fn minted(
        &self,
        truth: &Truth,
        submissions: &Submissions,
        by: SiteId,
        entry: &Encoded,
    ) -> Verdict {
        let said = self.said.get(&by).filter(|said| said.wall_ms - said.pulse_ms <= PULSE_MS);
        let (Some(since_ms), Ok(Body::Batch(batch))) = (said.and_then(|said| said.since_ms), entry.body())
        else {
            return Ok(());
        };
        let stamp_ms = entry.head.stamp.unix_ms();
        let Some(before) = submissions.stamped_before(truth, &batch.records) else { return Ok(()) };
        let is_late = stamp_ms > since_ms + BOUND_MS && stamp_ms + BOUND_MS < before.unix_ms();
        ensure(!is_late, "I-59", || {
            format!(
                "site {by} knows that its clock is behind and stamps a batch {} ms before what its producer had written",
                before.unix_ms() - stamp_ms
            )
        })
    }
}
