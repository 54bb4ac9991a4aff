//! Two sites and a witness: one goes on without the other by itself, never both, and who comes back is a member again.

use std::collections::{BTreeMap, BTreeSet};

use entry::{Incarnation, MemberEpoch, SiteId, TopicId};
use proptest::prelude::{Just, ProptestConfig, Strategy, prop_oneof, proptest};

use super::trio::Trio;
use super::{append, create};
use crate::wire::{AskWitness, GivenUp, Message};
use crate::{Answer, Event, Reading, Refusal, Request};

const TIMEOUT_MS: u64 = 3000;
const WITNESS: u16 = 3;

/// Two sites that have written, and a witness that votes.
fn founded() -> (Trio, TopicId) {
    let mut trio = Trio::witnessed(2, TIMEOUT_MS);
    trio.run_ms(1500);
    assert!(trio.site(WITNESS).identity().synced, "{:#?}", trio.said);
    let topic = create(&mut trio, &[]);
    write(&mut trio, 1, topic, "before");
    write(&mut trio, 2, topic, "before too");
    trio.run_ms(200);
    assert_eq!(equal_logs(&trio, topic).len(), 2);
    (trio, topic)
}

fn write(trio: &mut Trio, at: u16, topic: TopicId, value: &str) {
    let answer = trio.ask(at, append(topic, value));
    assert!(answer.is_ok(), "{answer:?} at site {at}: {:#?}", trio.said);
}

fn members(trio: &Trio, at: u16) -> Vec<u16> {
    trio.site(at).members().iter().map(|site| site.0).collect()
}

fn merged(trio: &Trio, at: u16, topic: TopicId) -> Vec<String> {
    trio.values(at, topic, Reading::Merged)
}

fn equal_logs(trio: &Trio, topic: TopicId) -> Vec<String> {
    assert_eq!(merged(trio, 1, topic), merged(trio, 2, topic), "{:#?}", trio.said);
    assert_eq!(trio.digest(1, topic), trio.digest(2, topic));
    merged(trio, 1, topic)
}

/// Both are members, write in a journal of the order, and what was written is there once, everywhere in the same place.
fn together_again(trio: &mut Trio, topic: TopicId, mut values: Vec<&str>) {
    trio.run_ms(8000);
    for site in [1, 2] {
        assert_eq!(members(trio, site), [1, 2], "{:#?} {:#?}", trio.status(site), trio.said);
        write(trio, site, topic, &format!("again {site}"));
    }
    trio.run_ms(500);
    values.extend(["again 1", "again 2"]);
    values.sort_unstable();
    let mut all = equal_logs(trio, topic);
    all.sort_unstable();
    assert_eq!(all, values);
    assert_eq!(merged(trio, WITNESS, topic), Vec::<String>::new(), "it holds nothing");
    assert!(trio.site(WITNESS).frontier().is_empty());
}

#[test]
fn when_one_of_two_dies_the_other_goes_on_by_itself_and_takes_it_back() {
    for died in [1, 2] {
        let (mut trio, topic) = founded();
        let stays = 3 - died;
        trio.cut(died);
        write(&mut trio, died, topic, "alone");
        trio.crash(died);
        trio.heal(died);
        write(&mut trio, stays, topic, "others");
        trio.run_ms(TIMEOUT_MS - 500);
        assert_eq!(members(&trio, stays), [1, 2], "not before the timeout");
        assert_eq!(merged(&trio, stays, topic), ["before", "before too"], "it takes both");
        trio.run_ms(4000);
        assert_eq!(members(&trio, stays), [stays], "{:#?} {:#?}", trio.status(stays), trio.said);
        assert_eq!(merged(&trio, stays, topic)[2..], ["others"]);
        write(&mut trio, stays, topic, "after");
        trio.run_ms(100);
        assert_eq!(merged(&trio, stays, topic)[2..], ["others", "after"]);
        let (record, stands) = trio.status(stays).given_up[0].clone();
        assert_eq!((record.site, record.witness, stands), (SiteId(died), Some(SiteId(WITNESS)), true));

        trio.start(died);
        together_again(&mut trio, topic, vec!["before", "before too", "alone", "others", "after"]);
        assert_eq!(trio.site(died).identity().incarnation, Some(Incarnation(1)));
        assert!(!trio.status(stays).given_up[0].1, "it stands no more");
    }
}

#[test]
fn of_two_that_lost_each_other_and_both_ask_one_goes_on() {
    let (mut trio, topic) = founded();
    trio.part(1, 2);
    write(&mut trio, 1, topic, "one");
    write(&mut trio, 2, topic, "two");
    trio.run_ms(3 * TIMEOUT_MS);
    let went_on: Vec<u16> = [1, 2].into_iter().filter(|site| members(&trio, *site) == [*site]).collect();
    assert_eq!(went_on.len(), 1, "{:#?}", trio.said);
    let (on, left) = (went_on[0], 3 - went_on[0]);
    assert_eq!(merged(&trio, on, topic).len(), 3);
    assert_eq!(merged(&trio, left, topic).len(), 2);
    assert!(trio.said.iter().any(|(by, said)| *by == left && said.contains("without this site")));
    write(&mut trio, left, topic, "still taken");
    trio.meet();
    together_again(&mut trio, topic, vec!["before", "before too", "one", "two", "still taken"]);
    assert!(trio.status(left).alarms.is_empty(), "{:#?}", trio.status(left).alarms);
}

#[test]
fn when_only_the_witness_is_lost_nothing_stops_and_without_it_nobody_goes_on() {
    let (mut trio, topic) = founded();
    trio.crash(WITNESS);
    write(&mut trio, 1, topic, "one");
    write(&mut trio, 2, topic, "two");
    trio.run_ms(200);
    assert_eq!(equal_logs(&trio, topic).len(), 4);
    trio.crash(2);
    write(&mut trio, 1, topic, "waits");
    trio.run_ms(3 * TIMEOUT_MS);
    assert_eq!(merged(&trio, 1, topic).len(), 4, "one of two is no quorum");
    let away =
        |trio: &Trio| trio.status(1).alarms.iter().any(|alarm| alarm.contains("no vote of the witness"));
    assert!(away(&trio), "{:#?}", trio.status(1).alarms);
    let refused = trio.ask(1, Request::Fence { site: SiteId(2) });
    assert!(matches!(refused, Err(Refusal::Fence(_))), "{refused:?}");
    trio.start(WITNESS);
    trio.run_ms(4000);
    assert_eq!(members(&trio, 1), [1], "it kept its disk, and votes: {:#?}", trio.said);
    assert!(!away(&trio));
    assert_eq!(merged(&trio, 1, topic).len(), 5);
}

#[test]
fn a_fence_by_hand_waits_for_no_timeout_and_needs_no_force() {
    let (mut trio, topic) = founded();
    trio.cut(2);
    let forced = Request::GiveUp { sites: vec![SiteId(2)], who: "eve".to_owned() };
    trio.run_ms(1100);
    let refused = trio.ask(1, forced);
    assert!(
        matches!(&refused, Err(Refusal::Fence(why)) if why.contains("the witness answers")),
        "{refused:?}"
    );
    assert_eq!(trio.ask(1, Request::Fence { site: SiteId(2) }), Ok(Answer::Fencing));
    write(&mut trio, 1, topic, "one");
    trio.run_ms(1700);
    assert_eq!(members(&trio, 1), [1], "{:#?}", trio.said);
    assert_eq!(merged(&trio, 1, topic).len(), 3);
    trio.heal(2);
    together_again(&mut trio, topic, vec!["before", "before too", "one"]);
}

/// The one that went on dies at once: the other does not go on, unless an operator says so.
#[test]
fn who_was_left_out_waits_for_the_one_that_went_on() {
    for crash_ms in [0, 1, 5, 1000] {
        let (mut trio, topic) = founded();
        trio.cut(2);
        write(&mut trio, 1, topic, "one");
        let mut waited = 0;
        while trio.status(WITNESS).given_up.is_empty() {
            trio.run_ms(1);
            waited += 1;
            assert!(waited < 3 * TIMEOUT_MS, "{:#?}", trio.said);
        }
        trio.run_ms(crash_ms);
        trio.crash(1);
        trio.heal(2);
        write(&mut trio, 2, topic, "two");
        trio.run_ms(3 * TIMEOUT_MS);
        assert_eq!(members(&trio, 2), [1, 2], "after {crash_ms} ms");
        assert_eq!(merged(&trio, 2, topic).len(), 2);
        let status = trio.status(2);
        assert!(status.alarms.iter().any(|alarm| alarm.contains("--forced")), "{:#?}", status.alarms);
        trio.start(1);
        together_again(&mut trio, topic, vec!["before", "before too", "one", "two"]);
    }
}

#[test]
fn where_the_one_that_went_on_is_lost_for_good_an_operator_decides_otherwise() {
    let (mut trio, topic) = founded();
    trio.part(1, 2);
    trio.run_ms(3 * TIMEOUT_MS);
    let on = if members(&trio, 1) == [1] { 1 } else { 2 };
    let left = 3 - on;
    write(&mut trio, on, topic, "lost");
    trio.run_ms(200);
    trio.crash(on);
    trio.run_ms(1100);
    trio.hangups = Some(Vec::new());
    let forced = Request::GiveUp { sites: vec![SiteId(on)], who: "eve".to_owned() };
    assert_eq!(trio.ask(left, forced), Ok(Answer::Fencing));
    write(&mut trio, left, topic, "otherwise");
    trio.run_ms(4000);
    assert_eq!((members(&trio, left), merged(&trio, left, topic).len()), (vec![left], 3), "{:#?}", trio.said);
    trio.meet();
    trio.start(on);
    trio.run_ms(2000);
    let apart = |(by, to, _): &(u16, u16, String)| (*by, *to) == (left, on) || (*by, *to) == (on, left);
    let hangups = trio.hangups.take().unwrap();
    assert!(hangups.iter().any(apart), "{hangups:#?}");
}

#[test]
fn a_witness_that_lost_its_disk_lets_nobody_go_on_before_both_have_told_it() {
    let (mut trio, topic) = founded();
    // It has let the first go on, who has not heard of it.
    trio.cut(2);
    while trio.status(WITNESS).given_up.is_empty() {
        trio.run_ms(1);
    }
    trio.crash(1);
    trio.crash(WITNESS);
    trio.wipe(WITNESS);
    trio.heal(2);
    trio.start_joining(WITNESS);
    write(&mut trio, 2, topic, "two");
    trio.run_ms(3 * TIMEOUT_MS);
    assert_eq!(members(&trio, 2), [1, 2], "{:#?}", trio.said);
    assert!(!trio.site(WITNESS).identity().synced);
    trio.start(1);
    trio.run_ms(8000);
    assert!(trio.site(WITNESS).identity().synced, "{:#?}", trio.said);
    together_again(&mut trio, topic, vec!["before", "before too", "two"]);
    // The new one decides like the old one.
    trio.crash(1);
    write(&mut trio, 2, topic, "on");
    trio.run_ms(TIMEOUT_MS + 3000);
    assert_eq!(merged(&trio, 2, topic).len(), 6, "{:#?}", trio.said);
}

#[test]
fn a_witness_keeps_its_word_across_restarts() {
    let (mut trio, topic) = founded();
    trio.cut(1);
    write(&mut trio, 2, topic, "two");
    trio.run_ms(TIMEOUT_MS + 3000);
    assert_eq!(members(&trio, 2), [2]);
    trio.crash(WITNESS);
    trio.crash(2);
    trio.heal(1);
    trio.start(WITNESS);
    trio.run_ms(3 * TIMEOUT_MS);
    assert_eq!((members(&trio, 1), merged(&trio, 1, topic).len()), (vec![1, 2], 2), "{:#?}", trio.said);
    trio.start(2);
    together_again(&mut trio, topic, vec!["before", "before too", "two"]);
}

/// What takes an operator where there is no witness.
#[test]
fn one_of_two_that_lost_its_disk_comes_back_by_itself() {
    let (mut trio, topic) = founded();
    trio.crash(2);
    trio.wipe(2);
    trio.start_joining(2);
    write(&mut trio, 1, topic, "one");
    trio.run_ms(TIMEOUT_MS + 3000);
    together_again(&mut trio, topic, vec!["before", "before too", "one"]);
    // And what it takes the witness's word for is what the other has told it.
    trio.crash(1);
    write(&mut trio, 2, topic, "on");
    trio.run_ms(TIMEOUT_MS + 3000);
    assert_eq!(merged(&trio, 2, topic).len(), 6, "{:#?}", trio.said);
}

#[test]
fn again_and_again_one_dies_and_comes_back() {
    let (mut trio, topic) = founded();
    let mut values = vec!["before".to_owned(), "before too".to_owned()];
    for round in 0..4 {
        let died = 1 + round % 2;
        trio.cut(died);
        for site in [1, 2] {
            let value = format!("round {round} at {site}");
            write(&mut trio, site, topic, &value);
            values.push(value);
        }
        trio.run_ms(TIMEOUT_MS + 3000);
        assert_eq!(members(&trio, 3 - died), [3 - died], "round {round}: {:#?}", trio.said);
        trio.heal(died);
        let all = values.iter().map(String::as_str).collect();
        together_again(&mut trio, topic, all);
        values.extend(["again 1".to_owned(), "again 2".to_owned()]);
    }
}

#[test]
fn a_clean_stop_of_one_stalls_the_other_for_the_timeout_only() {
    let (mut trio, topic) = founded();
    trio.stop(2);
    write(&mut trio, 1, topic, "one");
    trio.run_ms(TIMEOUT_MS + 3000);
    assert_eq!(merged(&trio, 1, topic).len(), 3, "{:#?}", trio.said);
    trio.start(2);
    together_again(&mut trio, topic, vec!["before", "before too", "one"]);
}

#[test]
fn the_witness_is_no_site_to_write_to_or_to_add() {
    let (mut trio, topic) = founded();
    let refused = trio.ask(WITNESS, append(topic, "there"));
    assert!(matches!(&refused, Err(Refusal::NotReady(why)) if why.contains("witness")), "{refused:?}");
    let refused = trio.ask(1, Request::AddSite { site: SiteId(WITNESS) });
    assert!(matches!(&refused, Err(Refusal::Members(why)) if why.contains("witness")), "{refused:?}");
    let refused = trio.ask(WITNESS, Request::Fence { site: SiteId(1) });
    assert!(matches!(&refused, Err(Refusal::Fence(why)) if why.contains("decides nothing")), "{refused:?}");
    let lacks = |trio: &Trio, site: u16| trio.status(site).witness.unwrap().lacks;
    assert_eq!([1, 2, 3].map(|site| lacks(&trio, site)), [None, None, None]);
    trio.crash(WITNESS);
    assert!(lacks(&trio, 1).is_some_and(|why| why.contains("cannot be reached")));
    trio.start(WITNESS);
    trio.run_ms(500);
    trio.stop(WITNESS);
    let began = trio.status(1).released;
    write(&mut trio, 1, topic, "on");
    trio.run_ms(300);
    assert!(trio.status(1).released > began);
}

#[test]
fn of_four_one_half_goes_on() {
    let mut trio = Trio::witnessed(4, TIMEOUT_MS);
    trio.run_ms(1500);
    let topic = create(&mut trio, &[]);
    for site in 1..=4 {
        write(&mut trio, site, topic, &format!("of {site}"));
    }
    trio.run_ms(200);
    trio.crash(3);
    trio.crash(4);
    write(&mut trio, 1, topic, "on");
    trio.run_ms(TIMEOUT_MS + 6000);
    assert_eq!((members(&trio, 1), members(&trio, 2)), (vec![1, 2], vec![1, 2]), "{:#?}", trio.said);
    assert_eq!(merged(&trio, 2, topic).last().map(String::as_str), Some("on"));
    trio.start(3);
    trio.start(4);
    trio.run_ms(10_000);
    for site in 1..=4 {
        assert_eq!(members(&trio, site), [1, 2, 3, 4], "{:#?} {:#?}", trio.status(site), trio.said);
        write(&mut trio, site, topic, &format!("again {site}"));
    }
    trio.run_ms(500);
    for site in 2..=4 {
        assert_eq!(trio.digest(site, topic), trio.digest(1, topic));
    }
    assert_eq!(merged(&trio, 4, topic).len(), 9);
}

/// The fourth is removed; the third asks for itself and the fourth as if it had not heard of it.
#[test]
fn who_asks_in_an_earlier_epoch_than_the_witness_heard_of_is_not_let_go_on() {
    const WITNESS: u16 = 5;
    let mut trio = Trio::witnessed(4, TIMEOUT_MS);
    trio.run_ms(1500);
    let record = |epoch| {
        move |site| GivenUp {
            site: SiteId(site),
            epoch: MemberEpoch(epoch),
            by: SiteId(3),
            at_ms: 0,
            who: "the witness".to_owned(),
            held: BTreeMap::new(),
            witness: Some(SiteId(WITNESS)),
        }
    };
    let asks = |trio: &mut Trio, members: u16, epoch: u32, lost: &[u16]| {
        let ask = AskWitness {
            storage: trio.site(WITNESS).identity().storage,
            members: (1..=members).map(|site| (SiteId(site), MemberEpoch::GENESIS)).collect(),
            decisions: lost.iter().copied().map(record(epoch)).collect(),
        };
        trio.push(WITNESS, Event::Message { from: SiteId(3), message: Message::AskWitness(ask) });
        trio.run_ms(5);
        trio.status(WITNESS).given_up.len()
    };
    trio.stop(4);
    assert_eq!(trio.ask(1, Request::RemoveSite { site: SiteId(4) }), Ok(Answer::Members));
    trio.run_ms(500);
    trio.crash(WITNESS);
    trio.isolate(WITNESS);
    trio.start(WITNESS);
    assert_eq!(trio.site(WITNESS).frozen().epoch, MemberEpoch(2), "it has noted what it heard");
    trio.heal(WITNESS);
    trio.run_ms(100);
    assert_eq!(asks(&mut trio, 4, 1, &[1, 2]), 0);
    assert_eq!(asks(&mut trio, 3, 2, &[1]), 1, "it lets go on who knows the members");
}

/// What it did after that, the other has and tells, though it is no member yet as the one that was put back sees it.
#[test]
fn one_that_was_alone_and_is_put_back_asks_whom_it_gave_up() {
    let (mut trio, topic) = founded();
    trio.crash(2);
    trio.run_ms(TIMEOUT_MS + 3000);
    assert_eq!(members(&trio, 1), [1]);
    let backup = trio.disk(1).clone();
    trio.start(2);
    together_again(&mut trio, topic, vec!["before", "before too"]);
    trio.crash(1);
    *trio.disk(1) = backup;
    trio.start(1);
    trio.run_ms(8000);
    assert!(trio.status(1).not_writing.is_none(), "{:#?}", trio.status(1));
    write(&mut trio, 1, topic, "goes on");
    together_again(&mut trio, topic, vec!["before", "before too", "again 1", "again 2", "goes on"]);
}

/// What happens to three sites.
#[derive(Debug, Clone)]
enum Blow {
    Crash(u16),
    Start(u16),
    Cut(u16),
    Part,
    Heal,
    /// The witness begins anew on an empty disk.
    Renew,
    Write(u16),
    Wait(u64),
}

fn blows() -> impl Strategy<Value = Blow> {
    prop_oneof![
        2 => (1_u16..=3).prop_map(Blow::Crash),
        2 => (1_u16..=3).prop_map(Blow::Start),
        1 => (1_u16..=3).prop_map(Blow::Cut),
        1 => Just(Blow::Part),
        2 => Just(Blow::Heal),
        1 => Just(Blow::Renew),
        4 => (1_u16..=2).prop_map(Blow::Write),
        4 => (0_u64..2500).prop_map(Blow::Wait),
        1 => (2500_u64..7000).prop_map(Blow::Wait),
    ]
}

struct Struck {
    trio: Trio,
    topic: TopicId,
    up: BTreeSet<u16>,
    cut: Option<u16>,
    acknowledged: Vec<String>,
    tried: Vec<String>,
}

impl Struck {
    fn strike(&mut self, blow: &Blow) {
        match *blow {
            Blow::Crash(site) => self.crash(site),
            Blow::Start(site) => self.start(site),
            Blow::Cut(site) if self.cut.is_none() => {
                self.trio.cut(site);
                self.cut = Some(site);
            }
            Blow::Part => self.trio.part(1, 2),
            Blow::Heal => self.heal(),
            Blow::Renew => {
                self.crash(WITNESS);
                self.trio.wipe(WITNESS);
                self.up.insert(WITNESS);
                self.trio.start_joining(WITNESS);
            }
            Blow::Write(site) if self.up.contains(&site) => self.write(site),
            Blow::Wait(ms) => self.trio.run_ms(ms),
            Blow::Cut(_) | Blow::Write(_) => {}
        }
    }

    fn crash(&mut self, site: u16) {
        if self.up.remove(&site) {
            self.trio.crash(site);
        }
    }

    fn start(&mut self, site: u16) {
        if self.up.insert(site) {
            self.trio.start(site);
        }
    }

    fn heal(&mut self) {
        self.trio.meet();
        if let Some(site) = self.cut.take() {
            self.trio.heal(site);
        }
    }

    fn write(&mut self, site: u16) {
        let value = format!("{} at {site}", self.tried.len());
        self.tried.push(value.clone());
        let ticket = self.trio.send(site, append(self.topic, &value));
        // Right after a start a write waits until the clock has passed all that was promised.
        for _ in 0..5000 {
            self.trio.run_ms(1);
            match self.trio.answer(ticket) {
                None => {}
                Some(Ok(_)) => return self.acknowledged.push(value),
                Some(Err(_)) => return,
            }
        }
        panic!("no answer: {:#?}", self.trio.status(site));
    }

    /// Whoever reads on, reads the same.
    fn look(&self) {
        if self.up.contains(&1) && self.up.contains(&2) {
            let (one, other) = (merged(&self.trio, 1, self.topic), merged(&self.trio, 2, self.topic));
            let both = one.len().min(other.len());
            assert_eq!(one[..both], other[..both], "{:#?}", self.trio.said);
        }
    }

    fn come_to_rest(&mut self) {
        self.heal();
        (1..=3).for_each(|site| self.start(site));
        let rested = |trio: &Trio| {
            [1, 2].iter().all(|site| {
                let status = trio.status(*site);
                members(trio, *site) == [1, 2] && status.not_writing.is_none() && status.unreleased == 0
            })
        };
        for _ in 0..60 {
            self.trio.run_ms(1000);
            if rested(&self.trio) && merged(&self.trio, 1, self.topic).len() >= self.acknowledged.len() {
                return;
            }
        }
        panic!("{:#?} {:#?} {:#?}", self.trio.status(1), self.trio.status(2), self.trio.said);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_there_is_one_history_and_nothing_is_lost(
        blows in proptest::collection::vec(blows(), 1..30),
    ) {
        let (trio, topic) = founded();
        let written = vec!["before".to_owned(), "before too".to_owned()];
        let (acknowledged, up) = (written.clone(), BTreeSet::from([1, 2, 3]));
        let mut struck = Struck { trio, topic, up, cut: None, acknowledged, tried: written };
        for blow in &blows {
            struck.strike(blow);
            struck.look();
        }
        struck.come_to_rest();
        struck.look();
        let read = equal_logs(&struck.trio, topic);
        let once: BTreeSet<&String> = read.iter().collect();
        assert_eq!(once.len(), read.len(), "nothing comes twice");
        assert!(struck.acknowledged.iter().all(|value| once.contains(value)), "{read:?}");
        assert!(read.iter().all(|value| struck.tried.contains(value)), "{read:?}");
    }
}
