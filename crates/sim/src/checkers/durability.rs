//! I-02: no acknowledgement before the bytes are on as many platters as were asked for.
//! I-55: what one site took of a topic that no other ever held stays within the topic's bounds, in bytes and in time.
//! I-03: what was acknowledged is never lost: a restart finds at least what was durable.

use entry::{Body, JournalId, Seq};
use site::{Answer, Site};

use super::truth::Truth;
use super::{Actor, Asked, Verdict, broken, ensure};
use crate::submission::Submissions;

/// How far a stamp may be ahead of the site's clock, in milliseconds.
const AHEAD_MS: u64 = 500;

/// What was acknowledged.
#[derive(Debug, Default)]
pub(super) struct Durability {
    acknowledged: Vec<(JournalId, Seq)>,
}

/// A site has recovered: all that was on its platter is there.
pub(super) fn recovered(truth: &Truth, by: Actor, site: &Site) -> Verdict {
    let found = site.frontier();
    truth.frontier(by.site).iter().try_for_each(|(journal, held)| {
        let now = found.get(journal).copied().unwrap_or(0);
        ensure(now >= *held, "I-03", || {
            format!("site {} held journal {journal} up to {held} and recovers only {now}", by.site)
        })
    })
}

/// What a site has of a topic that no other ever held is at most what the topic allows, or one batch.
pub(super) fn only_here(
    truth: &Truth,
    submissions: &Submissions,
    by: Actor,
    entry: &entry::Encoded,
) -> Verdict {
    let Ok(Body::Batch(batch)) = entry.body() else { return Ok(()) };
    let Some(most) = submissions.bound_of(batch.topic) else { return Ok(()) };
    let (mut count, mut bytes, mut since) = (0, 0, entry.head.stamp);
    for batch in truth.only_at(by.site, batch.topic) {
        (count, bytes, since) = (count + 1, bytes + batch.bytes, since.min(batch.stamp));
    }
    let (site, topic) = (by.site, batch.topic);
    ensure(count <= 1 || most.bytes.is_none_or(|most| bytes <= most), "I-55", || {
        format!("only site {site} has {bytes} bytes of topic {topic}, of which it may have {most:?}")
    })?;
    // What a lost disk held nobody ever will.
    if truth.has_lost_disks() {
        return Ok(());
    }
    let age_ms = entry.head.stamp.unix_ms() - since.unix_ms();
    ensure(count <= 1 || most.ms.is_none_or(|most| age_ms <= most + AHEAD_MS), "I-55", || {
        format!(
            "only site {site} has had batches of topic {topic} for {age_ms} ms, and takes more; it may {most:?}"
        )
    })
}

impl Durability {
    /// A site acknowledges.
    pub(super) fn replied(
        &mut self,
        truth: &Truth,
        by: Actor,
        asked: &Asked,
        answer: &Answer,
        submissions: &Submissions,
    ) -> Verdict {
        let (Answer::Appended { stamp, .. }, Some(submission)) = (answer, asked.submission) else {
            return Ok(());
        };
        let site = by.site;
        if by.journal.is_none() {
            return broken("I-02", format!("site {site} acknowledges without a journal"));
        }
        let Some((journal, seq)) = truth.own_with(site, *stamp) else {
            return broken(
                "I-02",
                format!(
                    "site {site} acknowledges an entry of its own stamped {stamp} that is on no platter of it"
                ),
            );
        };
        let here = truth.held(site, journal) > seq;
        let holders = truth.rightly_counted(journal, seq);
        ensure(here && holders >= asked.sites, "I-02", || {
            format!(
                "site {site} acknowledges entry {seq} of {journal}: on its platter: {here}, on {holders} of {}",
                asked.sites
            )
        })?;
        ensure(submissions.is_at(submission, journal, seq), "I-02", || {
            format!(
                "site {site} acknowledges submission {submission} by entry {seq} of {journal}, another one"
            )
        })?;
        if asked.released {
            submissions.is_readable(submission)?;
        }
        self.acknowledged.push((journal, seq));
        Ok(())
    }

    /// In the end every site holds every acknowledged entry, unless all disks that held it were lost.
    pub(super) fn finish(&self, truth: &Truth) -> Verdict {
        self.acknowledged.iter().try_for_each(|(journal, seq)| {
            let holders = truth.holders(*journal, *seq);
            ensure(holders > 0 || truth.is_gone(*journal, *seq), "I-03", || {
                format!("entry {seq} of {journal} was acknowledged and is nowhere")
            })
        })
    }
}
