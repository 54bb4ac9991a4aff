//! I-14: a frontier says what is on the platter: a site that says it holds n holds 0..n durably. Also of others.

use entry::{JournalId, Seq, SiteId};
use site::wire::Message;

use super::truth::Truth;
use super::{Actor, Verdict, ensure};

/// A site says where it, and those it hears, stand.
pub(super) fn sent(truth: &Truth, by: Actor, message: &Message) -> Verdict {
    match message {
        Message::Hello(hello) => {
            let said = hello.held.iter().map(|(journal, (next, _))| (*journal, *next));
            honest(truth, by, by.site, said)
        }
        Message::Pulse(pulse) => pulse.frontiers.iter().try_for_each(|(site, (_, said))| {
            honest(truth, by, *site, said.iter().map(|(journal, next)| (*journal, *next)))
        }),
        _ => Ok(()),
    }
}

fn honest(truth: &Truth, by: Actor, of: SiteId, mut said: impl Iterator<Item = (JournalId, Seq)>) -> Verdict {
    said.try_for_each(|(journal, next)| {
        let held = if of == by.site { truth.held(of, journal) } else { truth.ever_held(of, journal) };
        ensure(next <= held, "I-14", || {
            format!("site {} says that {of} holds journal {journal} up to {next}; it is {held}", by.site)
        })
    })
}
