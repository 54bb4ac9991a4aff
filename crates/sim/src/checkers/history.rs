//! I-01: one journal, one history: (journal, seq) names one chain hash, at every site and for all time.
//! I-50: what anybody holds of a journal, its owner wrote. I-15: nobody holds seq n + 1 of a journal before n. I-17: what comes twice changes nothing: no entry is written twice.

use entry::{Encoded, SiteId};
use site::wire::Message;

use super::truth::Truth;
use super::{Actor, Verdict, Violation, broken, ensure};

/// A site gives an entry to its disk.
pub(super) fn wrote(truth: &mut Truth, by: Actor, entry: &Encoded) -> Verdict {
    let (site, journal, seq) = (by.site, entry.head.journal, entry.head.seq);
    ensure(truth.known(entry).is_some() || journal.site == site, "I-50", || {
        format!("site {site} takes in entry {seq} of journal {journal}, which its owner never wrote")
    })?;
    same_history(truth, entry, Some(site))?;
    let next = truth.given(site, journal);
    let expected = *next;
    *next = seq + 1;
    ensure(seq >= expected, "I-17", || {
        format!("site {site} writes entry {seq} of journal {journal} again, {expected} comes next")
    })?;
    ensure(seq == expected, "I-15", || {
        format!("site {site} writes entry {seq} of journal {journal} before {expected}")
    })
}

/// An entry is on a site's platter. Says whether it was on none before.
pub(super) fn durable(truth: &mut Truth, by: Actor, entry: &Encoded) -> Result<bool, Violation> {
    let (site, journal, seq) = (by.site, entry.head.journal, entry.head.seq);
    same_history(truth, entry, Some(site))?;
    let expected = truth.held(site, journal);
    if seq < expected {
        return Ok(false);
    }
    if seq > expected {
        return broken(
            "I-15",
            format!("site {site} holds entry {seq} of journal {journal} without {expected}"),
        );
    }
    Ok(truth.add(site, entry))
}

/// A site sends entries: only what is on its own platter leaves it, and unaltered.
pub(super) fn sent(truth: &Truth, message: &Message) -> Verdict {
    let Message::Entries(vouched) = message else { return Ok(()) };
    let mut bytes = vouched.entries.clone();
    while !bytes.is_empty() {
        let Ok(entry) = Encoded::split_from(&mut bytes) else {
            return broken("I-01", "entries that do not read were sent");
        };
        let (journal, seq) = (entry.head.journal, entry.head.seq);
        ensure(truth.known(&entry).is_some(), "I-02", || {
            format!("entry {seq} of journal {journal} was sent before it was durable anywhere")
        })?;
        same_history(truth, &entry, None)?;
    }
    Ok(())
}

/// An entry that a site has, or that was sent, is the one that is known.
fn same_history(truth: &Truth, entry: &Encoded, at: Option<SiteId>) -> Verdict {
    let Some(known) = truth.known(entry) else { return Ok(()) };
    ensure(known.bytes == entry.bytes, "I-01", || {
        let (journal, seq, hash) = (entry.head.journal, entry.head.seq, entry.hash());
        let who = at.map_or("sent was".to_owned(), |site| format!("site {site} has"));
        format!("{who} entry {seq} of journal {journal} with hash {hash}, but it is {}", known.hash())
    })
}
