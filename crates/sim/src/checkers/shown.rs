//! Histories of real sites that the checkers must flag, each by its number: what a site shows, holds and gives up.

use std::collections::BTreeMap;

use batch::{Builder, NewRecord};
use bytes::Bytes;
use clock::Stamp;
use crdt::Epoch;
use entry::{BatchBody, Body, ChainHash, Encoded, Entry, JournalId, MemberEpoch, SiteId, TopicId};
use site::{Acknowledge, Append, Commit, Grown, Reading, Request, Site};

use super::convergence::{equal, settled};
use super::histories::{actor, breaks};
use super::{Checkers, durability, progress, witness};
use crate::exhaust::pair::{Pair, WATCHED, config};

/// The merged log that is looked at.
pub(super) fn log() -> Grown {
    let topic = TopicId::derive(config(WATCHED).cluster, "orders", 0);
    Grown { topic, partition: 0, origin: None }
}

fn turns(pair: &mut Pair, until: impl Fn(&Site) -> bool) {
    let turn = (0..20_000).find(|_| {
        pair.turn();
        until(&pair.watched().site)
    });
    assert!(turn.is_some(), "it comes to that");
}

/// Two sites, of which the one that is looked at has shown these batches, one behind the other.
pub(super) fn shown(batches: &[&Bytes]) -> Pair {
    let (mut pair, Grown { topic, partition, .. }) = (Pair::new(), log());
    turns(&mut pair, Site::is_writing);
    let settings = BTreeMap::new();
    pair.ask(false, Request::CreateTopic { name: "orders".into(), partitions: 1, settings });
    turns(&mut pair, |site| site.topic(topic).is_some());
    for records in batches {
        let (records, acknowledge) = (Bytes::clone(records), Acknowledge::Local);
        let append = Append { topic, partition, records, acknowledge, patience_ms: 0 };
        pair.ask(false, Request::Append(append));
        pair.turn();
    }
    let end = batches.len() as u64;
    turns(&mut pair, |site| site.extent(topic, partition, Reading::Merged).end == end);
    turns(&mut pair, |site| site.released() == site.frontier().values().sum::<u64>());
    pair
}

/// The same with one batch, behind which a group stands.
fn committed(batch: &Bytes) -> Pair {
    let mut pair = shown(&[batch]);
    let positions = vec![(log().topic, 0, 1, String::new())];
    pair.ask(false, Request::Commit(Commit { group: "group".into(), positions }));
    turns(&mut pair, |site| site.groups().next().is_some());
    pair
}

/// Checkers that know of these batches, in the order of the watched site's journal, on both platters.
fn checkers(batches: u64) -> (Checkers, Vec<Bytes>) {
    let (mut checkers, at) = (Checkers::new(&[1, 2].map(SiteId), None), (log().topic, 0));
    let made: Vec<Bytes> = (0..batches).map(|_| checkers.submissions.make(at, 1, 0, None).1).collect();
    for (seq, records) in (0..).zip(&made) {
        let entry = entry(seq, records);
        for site in [1, 2] {
            checkers.truth.add(SiteId(site), &entry);
        }
        checkers.submissions.journaled(&entry);
    }
    (checkers, made)
}

fn entry(seq: u64, records: &Bytes) -> Encoded {
    let (journal, stamp) = (JournalId::genesis(WATCHED), Stamp::from_raw(10 + seq));
    let (epoch, previous) = (MemberEpoch::GENESIS, ChainHash::START);
    let body = Body::Batch(BatchBody { topic: log().topic, partition: 0, records: records.clone() });
    Entry { journal, seq, stamp, epoch, previous, body }.encode().unwrap()
}

/// A site shows what the watched one of a pair does.
fn reads(checkers: &mut Checkers, site: u16, pair: &Pair) -> &'static str {
    let node = pair.watched();
    breaks(checkers.readable(actor(site), &node.site, &node.disk, &[log()]))
}

#[test]
fn a_log_that_is_another_elsewhere_or_ends_earlier_than_it_did() {
    let (mut checkers, made) = checkers(2);
    let (both, one, other) = (shown(&[&made[0], &made[1]]), shown(&[&made[0]]), shown(&[&made[1]]));
    assert_eq!(reads(&mut checkers, 1, &one), "nothing");
    assert_eq!(reads(&mut checkers, 1, &both), "nothing");
    assert_eq!(reads(&mut checkers, 1, &one), "I-20");
    let node = one.watched();
    assert_eq!(breaks(checkers.read_again(actor(1), &node.site, &node.disk)), "I-20");
    assert_eq!(reads(&mut checkers, 2, &one), "nothing");
    assert_eq!(reads(&mut checkers, 3, &other), "I-18");
}

#[test]
fn a_batch_that_is_there_twice_or_whose_entry_nobody_holds() {
    let mut unheard = Builder::new();
    unheard.push(&NewRecord::value(0, Bytes::from_static(b"7")));
    let (_, made) = checkers(1);
    for second in [&made[0], &unheard.build()] {
        let (mut checkers, pair) = (checkers(1).0, shown(&[&made[0], second]));
        assert_eq!(reads(&mut checkers, 1, &pair), "I-19");
    }
}

#[test]
fn sites_that_come_to_different_things() {
    let (_, made) = checkers(2);
    let (one, other) = (shown(&[&made[0]]), shown(&[&made[1]]));
    let (both, nothing) = (shown(&[&made[0], &made[1]]), Pair::new());
    let agree = |a: &Pair, b: &Pair| {
        let sites = [a.watched(), b.watched()];
        (
            breaks(settled(&sites.map(|it| &it.site))),
            breaks(equal(&sites.map(|it| (&it.site, &it.disk as _)))),
        )
    };
    assert_eq!(agree(&one, &one), ("nothing", "nothing"));
    assert_eq!(agree(&nothing, &nothing).0, "I-16", "it takes no writes");
    assert_eq!(agree(&one, &nothing), ("I-16", "I-16"));
    assert_eq!(agree(&one, &both), ("I-16", "I-16"));
    assert_eq!(agree(&one, &other).1, "I-18");
    let ahead = committed(&made[0]);
    assert_eq!(agree(&one, &ahead).1, "I-16");
}

#[test]
fn a_commit_that_is_acknowledged_and_not_there() {
    let (_, made) = checkers(1);
    let (none, there) = (shown(&[&made[0]]), committed(&made[0]));
    let mut progress = progress::Progresses::default();
    let mut commits = |pair: &Pair, offset, stood| {
        let positions = vec![(log().topic, 0, offset, String::new())];
        let commit = Commit { group: "group".into(), positions };
        breaks(progress.committed(WATCHED, &pair.watched().site, &commit, &[stood]))
    };
    assert_eq!(commits(&none, 1, None), "I-36");
    assert_eq!(commits(&there, 2, None), "I-36");
    assert_eq!(commits(&there, 1, Some((Epoch::default(), 2))), "I-36", "it goes back in the same epoch");
    assert_eq!(commits(&there, 1, None), "nothing");
    let ends = |pair: &Pair| breaks(progress.finish(&[(&pair.watched().site, &pair.watched().disk)]));
    assert_eq!((ends(&there), ends(&none)), ("nothing", "I-36"));
}

#[test]
fn a_recovery_that_finds_less_than_was_on_the_platter() {
    let (checkers, _) = checkers(1);
    let recovers =
        |pair: &Pair| breaks(durability::recovered(&checkers.truth, actor(1), &pair.watched().site));
    assert_eq!(recovers(&shown(&[])), "nothing");
    assert_eq!(recovers(&Pair::new()), "I-03");
}

#[test]
fn a_witness_that_holds_what_others_wrote() {
    assert_eq!(breaks(witness::agrees(&shown(&[]).watched().site)), "I-14");
}
