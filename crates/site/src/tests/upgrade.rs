//! One site after the other is restarted on the next version: nothing new is written before all read it.

use std::collections::BTreeSet;

use entry::{Encoded, Kind};

use super::trio::Trio;
use super::{append, create};
use crate::Reading;
use crate::wire::PROTOCOL;

/// Restarts a site on a version that speaks this protocol.
fn restart(trio: &mut Trio, id: u16, protocol: u16) {
    trio.crash(id);
    trio.protocols.insert(id, protocol);
    trio.start(id);
    trio.run_ms(3_000);
}

/// Three sites of the version before, and a topic of which they let records go.
fn of_old() -> (Trio, entry::TopicId) {
    let mut trio = Trio::founded();
    (1..=3).for_each(|id| restart(&mut trio, id, PROTOCOL - 1));
    let topic = create(&mut trio, &[("retention.ms", "5000")]);
    (trio, topic)
}

/// The kinds of what sites say while somebody's record expires and nobody writes.
fn said(trio: &mut Trio, topic: entry::TopicId) -> BTreeSet<Kind> {
    trio.run_ms(200);
    trio.forget_entries_sent();
    assert!(trio.ask(1, append(topic, "soon gone")).is_ok());
    trio.run_ms(45_000);
    let mut kinds = BTreeSet::new();
    let pairs = (1..=3).flat_map(|from| (1..=3).map(move |to| (from, to)));
    for vouched in pairs.flat_map(|(from, to)| trio.entries_sent(from, to)) {
        let mut bytes = vouched.entries;
        while !bytes.is_empty() {
            kinds.insert(Encoded::split_from(&mut bytes).unwrap().head.kind);
        }
    }
    kinds
}

#[test]
fn what_is_new_is_written_once_all_members_read_it() {
    let (mut trio, topic) = of_old();
    assert_eq!(said(&mut trio, topic), [Kind::Topic, Kind::Batch, Kind::Trim].into());
    restart(&mut trio, 1, PROTOCOL);
    restart(&mut trio, 2, PROTOCOL);
    assert!(!said(&mut trio, topic).contains(&Kind::Mark), "site 3 does not read it");
    restart(&mut trio, 3, PROTOCOL);
    let kinds = said(&mut trio, topic);
    assert!(kinds.contains(&Kind::Mark) && !kinds.contains(&Kind::Trim), "{kinds:?}");
    let starts = (1..=3).map(|id| trio.site(id).extent(topic, 0, Reading::Merged).start);
    assert_eq!(starts.collect::<Vec<_>>(), [3; 3], "all is gone everywhere");
}

#[test]
fn who_goes_back_to_the_version_before_waits_with_what_it_cannot_read() {
    let (mut trio, topic) = of_old();
    (1..=3).for_each(|id| restart(&mut trio, id, PROTOCOL));
    trio.stop(3);
    assert!(said(&mut trio, topic).contains(&Kind::Mark), "the others were told");
    trio.protocols.insert(3, PROTOCOL - 1);
    trio.start(3);
    trio.run_ms(3_000);
    let status = trio.status(3);
    assert!(status.alarms.iter().any(|text| text.contains("a newer version wrote")), "{:?}", status.alarms);
    assert_eq!(status.quarantined, Vec::new());
    assert!(trio.ask(3, append(topic, "it writes on")).is_ok());
    restart(&mut trio, 3, PROTOCOL);
    trio.run_ms(3_000);
    let end = |id| trio.site(id).extent(topic, 0, Reading::Merged).end;
    assert_eq!([end(1), end(2), end(3)], [2; 3], "nothing was lost");
    assert_eq!(trio.status(3).alarms, Vec::<String>::new());
    assert_eq!(trio.site(3).frontier(), trio.site(1).frontier());
}

#[test]
#[should_panic(
    expected = "entries of protocol 2, and this version speaks 1: start the version that wrote them"
)]
fn a_directory_that_holds_what_is_new_is_not_opened_by_the_version_before() {
    let (mut trio, topic) = of_old();
    (1..=3).for_each(|id| restart(&mut trio, id, PROTOCOL));
    assert!(said(&mut trio, topic).contains(&Kind::Mark));
    restart(&mut trio, 2, PROTOCOL - 1);
}
