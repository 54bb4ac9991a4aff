//! Small histories that the checkers must flag, each by its number: a checker that is never seen to fail proves nothing.
//!
//! (Others have theirs beside them; those that need a real site, in `shown`, and those that need a world, in `planted`.)

use std::collections::BTreeMap;

use bytes::Bytes;
use clock::Stamp;
use entry::{
    BatchBody, Body, ChainHash, Encoded, Entry, JournalId, MemberEpoch, Seq, SiteId, StorageId, TopicId,
};
use journal::Record;
use site::wire::{Message, Pulse, SignedHead, Vouched};
use site::{Acknowledge, Answer, Append, Request};
use uuid::Uuid;

use super::truth::Truth;
use super::{Actor, Asked, Checkers, Verdict};
use crate::clock::BASE_UNIX_MS;
use crate::submission::Alone;

const TOPIC: TopicId = TopicId(Uuid::nil());

/// Three sites, of which each writes its genesis journal.
struct History {
    checkers: Checkers,
    submitted: usize,
    bytes: Bytes,
}

pub(super) fn actor(site: u16) -> Actor {
    let site = SiteId(site);
    Actor { site, storage: StorageId(u128::from(site.0)), journal: Some(JournalId::genesis(site)) }
}

impl History {
    fn new() -> History {
        let mut checkers = Checkers::new(&[1, 2, 3].map(SiteId), None);
        let (submitted, bytes) = checkers.submissions.make((TOPIC, 0), 1, 0, Some((7, 0)));
        History { checkers, submitted, bytes }
    }

    /// An entry of a site's journal that holds the one submission.
    fn entry(&self, site: u16, seq: Seq, raw: u64) -> Record {
        let entry = Entry {
            journal: JournalId::genesis(SiteId(site)),
            seq,
            stamp: Stamp::from_raw(raw),
            epoch: MemberEpoch(1),
            previous: ChainHash([0; 32]),
            body: Body::Batch(BatchBody { topic: TOPIC, partition: 0, records: self.bytes.clone() }),
        };
        Record::Entry(entry.encode().unwrap())
    }

    /// A site writes it and it is durable there.
    fn held(&mut self, site: u16, record: &Record) -> Verdict {
        let records = std::slice::from_ref(record);
        self.checkers.wrote(actor(site), records)?;
        self.checkers.durable(actor(site), records)
    }

    fn acknowledged(&mut self, site: u16, raw: u64, sites: usize) -> Verdict {
        let append = Append {
            topic: TOPIC,
            partition: 0,
            records: self.bytes.clone(),
            acknowledge: Acknowledge::All,
            patience_ms: 0,
        };
        let asked = Asked {
            request: Request::Append(append),
            submission: Some(self.submitted),
            sites,
            released: false,
            stood: Vec::new(),
        };
        let answer = Answer::Appended { base_offset: None, stamp: Stamp::from_raw(raw) };
        let Checkers { durability, truth, submissions, .. } = &mut self.checkers;
        durability.replied(truth, actor(site), &asked, &answer, submissions)
    }
}

fn encoded(record: &Record) -> Encoded {
    super::truth::entry(record).unwrap().clone()
}

fn message(record: &Record) -> Message {
    let entry = encoded(record);
    let (certificate, signature) = (site::CertificateId([0; 32]), Bytes::new());
    let (next, hash, stamp) = (entry.head.seq + 1, entry.hash(), entry.head.stamp);
    let head = SignedHead { journal: entry.head.journal, next, hash, stamp, certificate, signature };
    Message::Entries(Vouched { head, entries: entry.bytes })
}

pub(crate) fn breaks(verdict: Verdict) -> &'static str {
    verdict.map_or_else(|violation| violation.invariant, |()| "nothing")
}

#[test]
fn one_seq_with_two_contents() {
    let mut history = History::new();
    let (one, other) = (history.entry(1, 0, 10), history.entry(1, 0, 11));
    history.held(1, &one).unwrap();
    assert_eq!(breaks(history.held(2, &other)), "I-01");
    let mut sent = message(&other);
    assert_eq!(breaks(history.checkers.sent(actor(1), &sent)), "I-01");
    if let Message::Entries(vouched) = &mut sent {
        vouched.entries = Bytes::from_static(b"?");
    }
    assert_eq!(breaks(history.checkers.sent(actor(1), &sent)), "I-01", "it does not read");
}

#[test]
fn an_entry_that_its_owner_never_wrote() {
    let mut history = History::new();
    let entry = history.entry(1, 0, 10);
    assert_eq!(breaks(history.held(2, &entry)), "I-50");
    history.held(1, &entry).unwrap();
    assert_eq!(breaks(history.held(2, &entry)), "nothing");
}

#[test]
fn a_gap_and_a_second_time() {
    let mut history = History::new();
    let (first, third) = (history.entry(1, 0, 10), history.entry(1, 2, 12));
    history.held(1, &first).unwrap();
    assert_eq!(breaks(history.held(1, &third)), "I-15");
    assert_eq!(breaks(history.checkers.durable(actor(1), std::slice::from_ref(&third))), "I-15");
    let mut history = History::new();
    history.held(1, &first).unwrap();
    assert_eq!(breaks(history.held(1, &first)), "I-17");
}

#[test]
fn an_acknowledgement_of_what_is_on_no_platter() {
    let mut history = History::new();
    let entry = history.entry(1, 0, 10);
    history.checkers.wrote(actor(1), std::slice::from_ref(&entry)).unwrap();
    assert_eq!(breaks(history.acknowledged(1, 10, 1)), "I-02");
    history.checkers.durable(actor(1), std::slice::from_ref(&entry)).unwrap();
    assert_eq!(breaks(history.acknowledged(1, 10, 1)), "nothing");
    assert_eq!(breaks(history.acknowledged(1, 10, 2)), "I-02");
    history.held(2, &entry).unwrap();
    assert_eq!(breaks(history.acknowledged(1, 10, 2)), "nothing");
    assert_eq!(breaks(history.checkers.durability.finish(&history.checkers.truth)), "nothing");
    assert_eq!(breaks(history.checkers.durability.finish(&Truth::default())), "I-03");
    history.submitted += 1;
    assert_eq!(breaks(history.acknowledged(1, 10, 2)), "I-02", "it is another submission's entry");
}

#[test]
fn a_note_that_does_not_read_and_a_copy_of_what_nobody_held() {
    let mut history = History::new();
    let note = Record::Note(Bytes::from_static(b"?"));
    assert_eq!(breaks(history.checkers.durable(actor(1), &[note])), "I-05");
    let copy = BTreeMap::from([(JournalId::genesis(SiteId(1)), 1)]);
    assert_eq!(breaks(history.checkers.took_over(SiteId(2), &copy)), "I-04");
    history.held(1, &history.entry(1, 0, 10)).unwrap();
    assert_eq!(breaks(history.checkers.took_over(SiteId(2), &copy)), "nothing");
}

#[test]
fn two_histories_whose_sites_talk() {
    let mut history = History::new();
    let talks = |history: &History| {
        breaks(history.checkers.keeps_apart(SiteId(1), SiteId(2), &Message::Pulse(Pulse::default())))
    };
    assert_eq!(talks(&history), "nothing");
    history.checkers.runs_apart(SiteId(1));
    assert_eq!(talks(&history), "I-33");
}

#[test]
fn more_in_one_place_than_the_topic_allows() {
    let mut history = History::new();
    let most = history.bytes.len() as u64;
    history.checkers.submissions.bound(TOPIC, Alone { bytes: Some(most), ms: None });
    let entries: Vec<Record> = (0..3).map(|seq| history.entry(1, seq, 10 + seq)).collect();
    history.held(1, &entries[0]).unwrap();
    history.held(2, &entries[0]).unwrap();
    history.held(1, &entries[1]).unwrap();
    assert_eq!(breaks(history.held(1, &entries[2])), "I-55");
}

#[test]
fn longer_in_one_place_than_the_topic_allows() {
    let mut history = History::new();
    history.checkers.submissions.bound(TOPIC, Alone { bytes: None, ms: Some(1_000) });
    let entry =
        |history: &History, seq, ms| history.entry(1, seq, Stamp::from_unix_ms(BASE_UNIX_MS + ms).raw());
    let entries = [(0, 1_000), (1, 2_500), (2, 2_501)].map(|(seq, ms)| entry(&history, seq, ms));
    assert_eq!(breaks(history.held(1, &entries[0])), "nothing");
    assert_eq!(breaks(history.held(1, &entries[1])), "nothing", "its clock may have been that far behind");
    assert_eq!(breaks(history.held(1, &entries[2])), "I-55");
}

/// Site 2 takes a batch at 10,000; its producer sends the next one to site 1, whose clock shows 6,000 and on, and which stamps it
/// at `stamp_ms` when it has said for `said_ms` what others promise: so far ahead, and rising so fast.
fn stamped_by_a_clock_behind(stamp_ms: u64, said_ms: u64, others: &[u64]) -> &'static str {
    let at = |ms| Stamp::from_unix_ms(BASE_UNIX_MS + ms);
    let (mut history, members) = (History::new(), [1, 2, 3].map(SiteId).into());
    let before = history.entry(2, 0, at(10_000).raw());
    history.held(2, &before).unwrap();
    history.checkers.submissions.acknowledge(history.submitted);
    (history.submitted, history.bytes) = history.checkers.submissions.make((TOPIC, 0), 1, 0, Some((7, 1)));
    for ms in (0..=said_ms).step_by(100) {
        history.checkers.shows(SiteId(1), BASE_UNIX_MS + 6_000 + ms);
        let promised = (2..)
            .zip(others)
            .map(|(site, rises)| (JournalId::genesis(SiteId(site)), (at(10_000 + rises * ms), 0)));
        let pulse = Pulse { promises: promised.collect(), ..Pulse::default() };
        history.checkers.behind.sent(SiteId(1), &Message::Pulse(pulse), &members);
    }
    let entry = history.entry(1, 0, at(stamp_ms).raw());
    breaks(history.checkers.wrote(actor(1), std::slice::from_ref(&entry)))
}

#[test]
fn a_batch_in_front_of_an_earlier_one_by_a_clock_that_is_known_to_be_behind() {
    assert_eq!(stamped_by_a_clock_behind(6_900, 900, &[1, 1]), "I-59");
    assert_eq!(
        stamped_by_a_clock_behind(6_600, 900, &[1, 1]),
        "nothing",
        "stamped before that was known, maybe"
    );
    assert_eq!(stamped_by_a_clock_behind(6_900, 900, &[1]), "nothing", "one word against another");
    assert_eq!(stamped_by_a_clock_behind(6_900, 900, &[1, 0]), "nothing", "one of them stands still");
    assert_eq!(stamped_by_a_clock_behind(9_500, 4_000, &[1, 1]), "nothing", "within the bound");
    assert_eq!(stamped_by_a_clock_behind(9_499, 4_000, &[1, 1]), "I-59");
}

#[test]
fn a_message_about_what_is_not_held() {
    let mut history = History::new();
    let entry = history.entry(1, 0, 10);
    let sent = message(&entry);
    assert_eq!(breaks(history.checkers.sent(actor(1), &sent)), "I-02");
    history.held(1, &entry).unwrap();
    let says = |next: Seq| {
        let mut pulse = Pulse::default();
        let held = BTreeMap::from([(JournalId::genesis(SiteId(1)), next)]);
        pulse.frontiers.insert(SiteId(1), (StorageId(1), held));
        Message::Pulse(pulse)
    };
    assert_eq!(breaks(history.checkers.sent(actor(1), &says(1))), "nothing");
    assert_eq!(breaks(history.checkers.sent(actor(1), &says(2))), "I-14");
}

#[test]
fn a_release_on_one_platter_and_one_out_of_order() {
    let mut history = History::new();
    let (one, two) = (history.entry(1, 0, 20), history.entry(2, 0, 10));
    history.held(1, &one).unwrap();
    let batch = |history: &History, site: u16| {
        history.checkers.truth.batches((TOPIC, 0, JournalId::genesis(SiteId(site))))[0]
    };
    let at = (TOPIC, 0);
    let release = |history: &mut History, site: u16| {
        let batch = batch(history, site);
        let Checkers { release, truth, .. } = &mut history.checkers;
        release.released(truth, at, JournalId::genesis(SiteId(site)), batch)
    };
    assert_eq!(breaks(release(&mut history, 1)), "I-21");
    history.held(2, &two).unwrap();
    history.held(3, &two).unwrap();
    history.held(3, &one).unwrap();
    assert_eq!(breaks(release(&mut history, 1)), "nothing");
    assert_eq!(breaks(release(&mut history, 2)), "I-23");
    let late = history.entry(2, 1, 15);
    assert_eq!(breaks(history.held(2, &late)), "I-21", "it sorts before what was released");
}

#[test]
fn a_batch_from_nowhere_twice_and_never() {
    let mut history = History::new();
    let journal = JournalId::genesis(SiteId(1));
    let entry = history.entry(1, 0, 10);
    let (number, bytes) = (history.submitted, history.bytes.clone());
    let submissions = &mut history.checkers.submissions;
    assert_eq!(breaks(submissions.placed(&bytes, (journal, 0), 0)), "I-04");
    submissions.journaled(&encoded(&entry));
    submissions.acknowledge(number);
    assert_eq!(breaks(submissions.finish(&Truth::default())), "I-03");
    assert_eq!(breaks(submissions.passed_over(journal, 0)), "I-03");
    assert_eq!(breaks(submissions.passed_over(journal, 1)), "I-04");
    assert_eq!(breaks(submissions.is_readable(number)), "I-02");
    assert_eq!(breaks(submissions.placed(&bytes, (journal, 0), 0)), "nothing");
    assert_eq!(breaks(submissions.finish(&Truth::default())), "nothing");
    assert_eq!(breaks(submissions.placed(&bytes, (journal, 0), 1)), "I-19");
}
