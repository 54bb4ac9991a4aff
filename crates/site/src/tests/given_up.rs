//! An operator gives sites up that no majority could fence; what comes back comes in once, and two histories stay apart.

use entry::{Incarnation, MemberEpoch, SiteId, TopicId};

use super::trio::Trio;
use super::{append, create};
use crate::{Answer, Event, Reading, Refusal, Request, Ticket};

fn give_up(trio: &mut Trio, at: u16, sites: &[u16]) -> Result<Answer, Refusal> {
    let sites = sites.iter().map(|site| SiteId(*site)).collect();
    trio.ask(at, Request::GiveUp { sites, who: "eve".to_owned() })
}

fn refusal(trio: &mut Trio, at: u16, sites: &[u16]) -> String {
    let refused = give_up(trio, at, sites);
    let Err(Refusal::Fence(why)) = refused else { panic!("{refused:?}") };
    why
}

fn members(trio: &Trio, at: u16) -> Vec<u16> {
    trio.site(at).members().iter().map(|site| site.0).collect()
}

fn equal_logs(trio: &Trio, sites: &[u16], topic: TopicId) -> Vec<String> {
    let merged = trio.values(sites[0], topic, Reading::Merged);
    for site in sites {
        assert_eq!(trio.values(*site, topic, Reading::Merged), merged, "at site {site}: {:#?}", trio.said);
        assert_eq!(trio.digest(*site, topic), trio.digest(sites[0], topic), "at site {site}");
    }
    merged
}

/// Two sites that lost each other; each has written since.
fn apart() -> (Trio, TopicId) {
    let mut trio = Trio::founded_by_so_many(2);
    let topic = create(&mut trio, &[]);
    assert!(trio.ask(1, append(topic, "before")).is_ok());
    assert!(trio.ask(2, append(topic, "before too")).is_ok());
    trio.run_ms(100);
    trio.cut(2);
    assert!(trio.ask(2, append(topic, "alone")).is_ok());
    assert!(trio.ask(1, append(topic, "others")).is_ok());
    trio.run_ms(1500);
    (trio, topic)
}

#[test]
fn one_of_two_goes_on_and_what_the_other_wrote_comes_in_once_when_it_is_back() {
    let (mut trio, topic) = apart();
    assert_eq!(trio.values(1, topic, Reading::Merged), ["before", "before too"], "it takes both");
    assert_eq!(give_up(&mut trio, 1, &[2]), Ok(Answer::Fencing));
    trio.run_ms(4000);
    assert_eq!(members(&trio, 1), [1], "{:#?}", trio.status(1));
    assert_eq!(trio.values(1, topic, Reading::Merged), ["before", "before too", "others"]);
    assert!(trio.ask(1, append(topic, "after")).is_ok());
    assert!(trio.ask(2, append(topic, "alone still")).is_ok(), "it knows of nothing and takes writes");
    assert_eq!(trio.values(2, topic, Reading::Merged), ["before", "before too"], "and shows nothing new");

    trio.heal(2);
    trio.run_ms(3000);
    let refused = trio.ask(2, append(topic, "in the old journal"));
    assert!(matches!(&refused, Err(Refusal::NotReady(why)) if why.contains("gave it up")), "{refused:?}");
    let all = ["before", "before too", "others", "after", "alone", "alone still"];
    assert_eq!(equal_logs(&trio, &[1, 2], topic), all);

    assert_eq!(trio.ask(1, Request::AddSite { site: SiteId(2) }), Ok(Answer::Members));
    trio.run_ms(4000);
    assert_eq!((members(&trio, 1), members(&trio, 2)), (vec![1, 2], vec![1, 2]));
    assert_eq!(trio.site(2).identity().incarnation, Some(Incarnation(1)), "{:#?}", trio.status(2));
    assert!(trio.ask(2, append(topic, "again")).is_ok(), "{:#?}", trio.status(2));
    assert!(trio.ask(1, append(topic, "both")).is_ok());
    trio.run_ms(500);
    assert_eq!(equal_logs(&trio, &[1, 2], topic)[6..], ["again", "both"]);
    // It takes both again.
    trio.cut(2);
    assert!(trio.ask(1, append(topic, "waits")).is_ok());
    trio.run_ms(2000);
    assert_eq!(trio.values(1, topic, Reading::Merged).len(), 8);
}

#[test]
fn who_was_given_up_for_long_copies_what_it_missed_and_keeps_its_tail() {
    let (mut trio, topic) = apart();
    assert_eq!(give_up(&mut trio, 1, &[2]), Ok(Answer::Fencing));
    trio.run_ms(4000);
    for round in 0..80 {
        assert!(trio.ask(1, append(topic, &format!("{round} {}", "x".repeat(500)))).is_ok());
    }
    trio.run_ms(200);
    assert!(trio.site(1).pipeline.wal.oldest().segment > 1, "the test is about a WAL that was dropped");
    trio.heal(2);
    trio.run_ms(6000);
    assert_eq!(trio.restarts, 1, "it took a copy over");
    let merged = equal_logs(&trio, &[1, 2], topic);
    assert_eq!((merged.len(), merged.last().map(String::as_str)), (84, Some("alone")));
    assert_eq!(trio.ask(1, Request::AddSite { site: SiteId(2) }), Ok(Answer::Members));
    trio.run_ms(4000);
    assert!(trio.ask(2, append(topic, "again")).is_ok(), "{:#?}", trio.status(2));
    trio.run_ms(500);
    assert_eq!(equal_logs(&trio, &[1, 2], topic).len(), 85);
}

/// Nobody is left to open its journal.
#[test]
fn who_was_stopped_cleanly_goes_on_alone_too() {
    for (parted, crash_ms) in [(true, None), (false, None), (true, Some(300)), (true, Some(2500))] {
        let mut trio = Trio::founded_by_so_many(2);
        let topic = create(&mut trio, &[]);
        assert!(trio.ask(2, append(topic, "before")).is_ok());
        trio.run_ms(100);
        if parted {
            trio.stop(1);
            assert!(trio.ask(2, append(topic, "while it was away")).is_ok());
            trio.run_ms(100);
            trio.crash(2);
        } else {
            // It is lost in the moment of the other's leave.
            trio.push(1, Event::Stop);
            trio.step_once();
            trio.crash(2);
            trio.run_ms(4000);
            trio.crash(1);
        }
        trio.start(1);
        trio.run_ms(2500);
        assert!(trio.ask(1, append(topic, "alone")).is_ok());
        assert_eq!(give_up(&mut trio, 1, &[2]), Ok(Answer::Fencing), "{:#?}", trio.status(1));
        if let Some(ms) = crash_ms {
            trio.run_ms(ms);
            trio.crash(1);
            trio.start(1);
        }
        trio.run_ms(12_000);
        assert_eq!(members(&trio, 1), [1], "{parted} {crash_ms:?}: {:#?} {:#?}", trio.status(1), trio.said);
        assert_eq!(trio.values(1, topic, Reading::Merged).last().map(String::as_str), Some("alone"));
        trio.start(2);
        trio.run_ms(4000);
        assert_eq!(trio.ask(1, Request::AddSite { site: SiteId(2) }), Ok(Answer::Members));
        trio.run_ms(4000);
        assert!(trio.ask(2, append(topic, "again")).is_ok(), "{:#?}", trio.status(2));
        trio.run_ms(500);
        let merged = equal_logs(&trio, &[1, 2], topic);
        assert_eq!(merged.len(), if parted { 4 } else { 3 }, "{merged:?}");
        // A restart finds the same.
        for site in [1, 2] {
            trio.crash(site);
            trio.start(site);
            trio.run_ms(2000);
        }
        assert_eq!(equal_logs(&trio, &[1, 2], topic), merged);
    }
}

#[test]
fn a_decision_is_a_record_for_good_and_survives_a_death_at_any_moment() {
    for ms in [0, 1, 20, 400, 2000] {
        let (mut trio, topic) = apart();
        assert_eq!(give_up(&mut trio, 1, &[2]), Ok(Answer::Fencing));
        trio.run_ms(ms);
        trio.crash(1);
        trio.start(1);
        trio.run_ms(6000);
        let noted = trio.site(1).status(0).given_up;
        if noted.is_empty() {
            assert_eq!(ms, 0, "a decision was forgotten that had been noted");
            continue;
        }
        let (record, stands) = &noted[0];
        assert_eq!((record.site, record.by, record.epoch), (SiteId(2), SiteId(1), MemberEpoch(1)));
        assert_eq!((&*record.who, *stands, noted.len()), ("eve", true, 1));
        assert!(record.held.values().all(|next| *next > 0));
        assert_eq!(members(&trio, 1), [1], "after {ms} ms: {:#?}", trio.status(1));
        assert_eq!(trio.values(1, topic, Reading::Merged).last().map(String::as_str), Some("others"));
        trio.heal(2);
        trio.run_ms(3000);
        assert_eq!(trio.site(2).status(0).given_up, noted, "it is told");
        trio.crash(2);
        trio.start(2);
        trio.run_ms(3000);
        assert_eq!(trio.site(2).status(0).given_up, noted, "and keeps it");
        assert_eq!(equal_logs(&trio, &[1, 2], topic).last().map(String::as_str), Some("alone"));
    }
}

#[test]
fn who_answers_is_not_given_up_nor_who_can_be_fenced_without() {
    let mut trio = Trio::founded();
    create(&mut trio, &[]);
    assert!(refusal(&mut trio, 1, &[2, 3]).contains("answers"));
    assert!(refusal(&mut trio, 1, &[9]).contains("no member"));
    trio.cut(3);
    trio.run_ms(1500);
    assert!(refusal(&mut trio, 1, &[3]).contains("are a majority"));
    assert!(refusal(&mut trio, 1, &[1, 3]).contains("at itself"));
    assert!(refusal(&mut trio, 1, &[2, 3]).contains("site-2 answers"));
    trio.crash(2);
    trio.run_ms(1500);
    assert!(refusal(&mut trio, 1, &[1]).contains("at itself"));
    assert_eq!(give_up(&mut trio, 1, &[2, 3]), Ok(Answer::Fencing));
    assert!(trio.said.iter().any(|(_, said)| said.contains("given up by eve at site-1")), "{:#?}", trio.said);
}

#[test]
fn both_halves_that_were_forced_do_not_link_until_one_is_chosen() {
    let (mut trio, topic) = apart();
    assert_eq!(give_up(&mut trio, 1, &[2]), Ok(Answer::Fencing));
    assert_eq!(give_up(&mut trio, 2, &[1]), Ok(Answer::Fencing));
    trio.run_ms(4000);
    assert_eq!((members(&trio, 1), members(&trio, 2)), (vec![1], vec![2]));
    assert_eq!(trio.values(1, topic, Reading::Merged)[2..], ["others"]);
    assert_eq!(trio.values(2, topic, Reading::Merged)[2..], ["alone"]);
    trio.hangups = Some(Vec::new());
    trio.heal(2);
    trio.run_ms(1000);
    for site in [1, 2] {
        let said = &trio.said;
        assert!(said.iter().any(|(by, said)| *by == site && said.contains("cannot be one")), "{said:#?}");
        assert!(trio.ask(site, append(topic, "on its own")).is_ok(), "each serves its own");
    }
    trio.run_ms(1000);
    assert_eq!(trio.values(1, topic, Reading::Merged)[2..], ["others", "on its own"]);
    assert_eq!(trio.values(2, topic, Reading::Merged)[2..], ["alone", "on its own"]);

    // An operator chooses.
    trio.hangups = None;
    trio.crash(2);
    trio.wipe(2);
    trio.start_joining(2);
    trio.run_ms(3000);
    assert_eq!(trio.ask(1, Request::AddSite { site: SiteId(2) }), Ok(Answer::Members));
    trio.run_ms(4000);
    assert!(trio.ask(2, append(topic, "chosen")).is_ok(), "{:#?}", trio.status(2));
    trio.run_ms(500);
    assert_eq!(equal_logs(&trio, &[1, 2], topic)[2..], ["others", "on its own", "chosen"]);
}

#[test]
fn the_directory_of_a_site_that_was_added_with_another_one_counts_no_more() {
    let (mut trio, topic) = apart();
    assert_eq!(give_up(&mut trio, 1, &[2]), Ok(Answer::Fencing));
    trio.run_ms(4000);
    trio.crash(2);
    let old = std::mem::take(trio.disk(2));
    trio.heal(2);
    trio.start_joining(2);
    trio.run_ms(3000);
    assert_eq!(trio.ask(1, Request::AddSite { site: SiteId(2) }), Ok(Answer::Members));
    trio.run_ms(4000);
    assert!(trio.site(2).votes(), "{:#?}", trio.status(2));
    trio.crash(2);
    *trio.disk(2) = old;
    trio.start(2);
    trio.run_ms(6000);
    assert_eq!(members(&trio, 2), [1, 2], "it has read what became of it");
    assert!(!trio.site(2).votes() && !trio.site(2).identity().synced);
    assert!(trio.ask(1, append(topic, "waits")).is_ok());
    trio.run_ms(3000);
    assert!(!trio.values(1, topic, Reading::Merged).contains(&"waits".to_owned()), "only one of two counts");
}

#[test]
fn half_of_four_is_given_up_by_all_who_remain_and_by_no_fewer() {
    let mut trio = Trio::founded_by_so_many(4);
    let topic = create(&mut trio, &[]);
    for site in 1..=4 {
        assert!(trio.ask(site, append(topic, &format!("of {site}"))).is_ok());
    }
    trio.run_ms(100);
    trio.crash(3);
    trio.crash(4);
    trio.run_ms(1500);
    assert!(trio.ask(2, append(topic, "of two")).is_ok());
    assert_eq!(give_up(&mut trio, 1, &[3, 4]), Ok(Answer::Fencing));
    trio.crash(2);
    trio.run_ms(6000);
    assert_eq!(members(&trio, 1), [1, 2, 3, 4], "one of those who remain is not enough");
    assert_eq!(trio.values(1, topic, Reading::Merged).len(), 4);
    trio.start(2);
    trio.run_ms(8000);
    assert_eq!((members(&trio, 1), members(&trio, 2)), (vec![1, 2], vec![1, 2]), "{:#?}", trio.status(1));
    assert_eq!(trio.status(1).given_up, trio.status(2).given_up);
    assert_eq!(equal_logs(&trio, &[1, 2], topic).last().map(String::as_str), Some("of two"));
    trio.start(3);
    trio.run_ms(4000);
    assert_eq!(trio.ask(2, Request::AddSite { site: SiteId(3) }), Ok(Answer::Members));
    trio.run_ms(4000);
    trio.crash(1);
    assert!(trio.ask(3, append(topic, "three again")).is_ok(), "{:#?}", trio.status(3));
    assert!(give_up(&mut trio, 2, &[1]).is_err(), "two of three are a majority");
}

#[test]
fn two_operators_who_decide_the_same_at_once_make_no_two_histories() {
    let mut trio = Trio::founded_by_so_many(4);
    let topic = create(&mut trio, &[]);
    assert!(trio.ask(3, append(topic, "before")).is_ok());
    trio.run_ms(100);
    trio.crash(3);
    trio.crash(4);
    trio.run_ms(1500);
    for (site, who) in [(1, "eve"), (2, "adam")] {
        let request = Request::GiveUp { sites: vec![SiteId(3), SiteId(4)], who: who.to_owned() };
        trio.push(site, Event::Request { ticket: Ticket(u64::MAX), request });
    }
    trio.run_ms(8000);
    assert_eq!((members(&trio, 1), members(&trio, 2)), (vec![1, 2], vec![1, 2]), "{:#?}", trio.status(1));
    let by: Vec<String> = [1, 2].map(|site| trio.status(site).given_up[0].0.who.clone()).to_vec();
    assert_eq!(by, ["eve", "adam"], "the test is about two records of one decision");
    trio.hangups = Some(Vec::new());
    trio.start(3);
    trio.run_ms(4000);
    assert_eq!(trio.hangups.take(), Some(Vec::new()));
    assert_eq!(trio.ask(2, Request::AddSite { site: SiteId(3) }), Ok(Answer::Members));
    trio.run_ms(4000);
    assert!(trio.ask(3, append(topic, "again")).is_ok(), "{:#?}", trio.status(3));
    trio.run_ms(500);
    assert_eq!(equal_logs(&trio, &[1, 2, 3], topic), ["before", "again"]);
    assert!(trio.said.iter().all(|(_, said)| !said.contains("which answers here")), "{:#?}", trio.said);
}

/// Three sites; two of them die, the first goes on alone.
fn alone_of_three() -> (Trio, TopicId) {
    let mut trio = Trio::founded();
    let topic = create(&mut trio, &[]);
    for site in 1..=3 {
        assert!(trio.ask(site, append(topic, &format!("of {site}"))).is_ok());
    }
    trio.run_ms(100);
    trio.cut(3);
    assert!(trio.ask(3, append(topic, "of 3 alone")).is_ok());
    trio.crash(3);
    trio.heal(3);
    trio.crash(2);
    trio.run_ms(1500);
    assert!(trio.ask(1, append(topic, "of 1 alone")).is_ok());
    assert_eq!(give_up(&mut trio, 1, &[2, 3]), Ok(Answer::Fencing));
    trio.run_ms(8000);
    (trio, topic)
}

#[test]
fn a_lost_majority_is_given_up_and_comes_back_site_by_site() {
    let (mut trio, topic) = alone_of_three();
    assert_eq!(members(&trio, 1), [1], "{:#?}", trio.status(1));
    assert_eq!(trio.values(1, topic, Reading::Merged).last().map(String::as_str), Some("of 1 alone"));
    trio.start(3);
    trio.run_ms(4000);
    assert_eq!(trio.ask(1, Request::AddSite { site: SiteId(3) }), Ok(Answer::Members));
    trio.run_ms(4000);
    assert!(trio.ask(3, append(topic, "3 again")).is_ok(), "{:#?}", trio.status(3));
    trio.start(2);
    trio.run_ms(4000);
    assert_eq!(trio.ask(3, Request::AddSite { site: SiteId(2) }), Ok(Answer::Members));
    trio.run_ms(4000);
    assert!(trio.ask(2, append(topic, "2 again")).is_ok(), "{:#?}", trio.status(2));
    trio.run_ms(500);
    let merged = equal_logs(&trio, &[1, 2, 3], topic);
    assert_eq!(merged[3..], ["of 1 alone", "of 3 alone", "3 again", "2 again"]);
    assert_eq!(members(&trio, 2), [1, 2, 3]);
}

#[test]
fn a_majority_that_was_given_up_and_went_on_does_not_link() {
    let mut trio = Trio::fencing_after_ms(1000);
    let topic = create(&mut trio, &[]);
    trio.cut(1);
    assert!(trio.ask(2, append(topic, "of two")).is_ok());
    assert!(trio.ask(1, append(topic, "of one")).is_ok());
    trio.run_ms(4000);
    assert_eq!(trio.values(3, topic, Reading::Merged), ["of two"], "they have fenced the first");
    assert_eq!(give_up(&mut trio, 1, &[2, 3]), Ok(Answer::Fencing));
    trio.run_ms(8000);
    assert_eq!(trio.values(1, topic, Reading::Merged), ["of one"], "{:#?}", trio.status(1));
    trio.hangups = Some(Vec::new());
    trio.heal(1);
    trio.run_ms(2000);
    let hangups = trio.hangups.take().unwrap();
    for pair in [(1, 2), (2, 1), (1, 3), (3, 1)] {
        assert!(hangups.iter().any(|(by, to, _)| (*by, *to) == pair), "{pair:?}: {hangups:#?}");
    }
    assert!(hangups.iter().all(|(_, _, reason)| reason.contains("cannot be one")), "{hangups:#?}");
    assert_eq!(trio.values(3, topic, Reading::Merged), ["of two"]);
    assert_eq!(trio.values(1, topic, Reading::Merged), ["of one"]);
}

/// The operator was mistaken: they live, and one of those who remain hears them before it is told.
#[test]
fn a_majority_that_lives_and_was_given_up_learns_it_and_is_added_again() {
    let mut trio = Trio::founded_by_so_many(5);
    let topic = create(&mut trio, &[]);
    assert!(trio.ask(3, append(topic, "before")).is_ok());
    trio.run_ms(100);
    (3..=5).for_each(|site| trio.crash(site));
    trio.run_ms(1100);
    assert_eq!(give_up(&mut trio, 1, &[3, 4, 5]), Ok(Answer::Fencing));
    trio.part(1, 2);
    assert!(trio.status(2).given_up.is_empty(), "it was not told yet");
    (3..=5).for_each(|site| trio.start(site));
    trio.run_ms(1000);
    assert!(trio.said.iter().any(|(by, said)| *by == 2 && said.contains("waits")), "{:#?}", trio.said);
    trio.meet();
    trio.run_ms(8000);
    for site in 1..=5 {
        assert_eq!(members(&trio, site), [1, 2], "{:#?} {:#?}", trio.status(site), trio.said);
    }
    for site in 3..=5 {
        assert_eq!(trio.ask(1, Request::AddSite { site: SiteId(site) }), Ok(Answer::Members));
        trio.run_ms(4000);
    }
    for site in 1..=5 {
        assert!(trio.ask(site, append(topic, "again")).is_ok(), "{:#?}", trio.status(site));
    }
    trio.run_ms(500);
    assert_eq!(equal_logs(&trio, &[1, 2, 3, 4, 5], topic).len(), 6);
}

/// Three that are lost later had granted the fifth a number that nobody else heard of; then its disk is lost once more.
#[test]
fn a_number_that_only_the_lost_have_granted_is_granted_to_nobody_else() {
    let mut trio = Trio::founded_by_so_many(5);
    let topic = create(&mut trio, &[]);
    assert!(trio.ask(5, append(topic, "before")).is_ok());
    trio.run_ms(100);
    trio.crash(5);
    trio.cut(1);
    trio.wipe(5);
    trio.start_joining(5);
    trio.run_ms(3000);
    assert_eq!(trio.site(5).identity().incarnation, Some(Incarnation(1)), "{:#?}", trio.said);
    assert!(trio.ask(5, append(topic, "in its second life")).is_ok());
    trio.run_ms(100);
    (2..=5).for_each(|site| trio.crash(site));
    trio.heal(1);
    trio.run_ms(1100);
    assert_eq!(give_up(&mut trio, 1, &[2, 3, 4, 5]), Ok(Answer::Fencing));
    trio.run_ms(8000);
    assert_eq!(members(&trio, 1), [1], "{:#?} {:#?}", trio.status(1), trio.said);
    trio.wipe(5);
    trio.start_joining(5);
    trio.run_ms(3000);
    assert_eq!(trio.ask(1, Request::AddSite { site: SiteId(5) }), Ok(Answer::Members));
    trio.run_ms(4000);
    assert!(trio.ask(5, append(topic, "in its third life")).is_ok(), "{:#?}", trio.status(5));
    let third = trio.site(5).identity().incarnation;
    assert!(third > Some(Incarnation(1)), "{third:?} stands on the disks of those who were given up");
}
