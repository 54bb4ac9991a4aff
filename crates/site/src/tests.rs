//! Three sites in one test, with links that deliver at once: what the machine does when nothing goes wrong. (What it
//! does when things go wrong is the simulator's subject.)

mod behind;
mod compaction;
mod copy;
mod fencing;
mod given_up;
mod lookback;
mod members;
mod pressure;
mod relay;
mod repair;
mod retention;
mod trio;
mod unreplicated;
mod upgrade;
mod witness;

use batch::{Builder, NewRecord};
use bytes::Bytes;
use entry::{JournalId, SiteId, TopicId};

use crate::wire::Message;
use crate::{Acknowledge, Answer, Append, Commit, Event, Reading, Refusal, Request};
use trio::Trio;

fn batch(text: &str) -> Bytes {
    Builder::new()
        .record(&NewRecord { value: Some(Bytes::copy_from_slice(text.as_bytes())), ..NewRecord::default() })
        .build()
}

fn append(topic: TopicId, text: &str) -> Request {
    let (records, acknowledge) = (batch(text), Acknowledge::All);
    Request::Append(Append { topic, partition: 0, records, acknowledge, patience_ms: 1000 })
}

fn create_named(trio: &mut Trio, name: &str) -> TopicId {
    let request = Request::CreateTopic { name: name.into(), partitions: 1, settings: Default::default() };
    let answer = trio.ask(1, request);
    let Ok(Answer::Topic(topic)) = answer else { panic!("not created: {answer:?}") };
    trio.run_ms(100);
    topic
}

fn create(trio: &mut Trio, settings: &[(&str, &str)]) -> TopicId {
    let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let answer = trio.ask(1, Request::CreateTopic { name: "orders".into(), partitions: 2, settings });
    let Ok(Answer::Topic(topic)) = answer else { panic!("not created: {answer:?}") };
    trio.run_ms(100);
    topic
}

#[test]
fn every_site_ends_up_with_the_same_log() {
    let mut trio = Trio::founded();
    let topic = create(&mut trio, &[]);
    for round in 0..20 {
        for site in 1..=3 {
            let answer = trio.ask(site, append(topic, &format!("{round} from {site}")));
            assert!(matches!(answer, Ok(Answer::Appended { base_offset: None, .. })), "{answer:?}");
        }
    }
    trio.run_ms(200);
    let logs: Vec<_> = (1..=3).map(|site| trio.values(site, topic, Reading::Merged)).collect();
    assert_eq!(logs[0].len(), 60);
    assert_eq!(logs[0], logs[1]);
    assert_eq!(logs[0], logs[2]);
    let origin = trio.values(1, topic, Reading::Origin(SiteId(2)));
    assert_eq!(origin, (0..20).map(|round| format!("{round} from 2")).collect::<Vec<_>>());
    assert_eq!(trio.digest(1, topic), trio.digest(2, topic));
}

#[test]
fn an_acknowledgement_at_release_carries_the_offset() {
    let mut trio = Trio::founded();
    let topic = create(&mut trio, &[("ack.all", "released")]);
    let first = trio.ask(1, append(topic, "a"));
    let second = trio.ask(2, append(topic, "b"));
    assert!(matches!(first, Ok(Answer::Appended { base_offset: Some(0), .. })), "{first:?}");
    assert!(matches!(second, Ok(Answer::Appended { base_offset: Some(1), .. })), "{second:?}");
}

#[test]
fn an_acknowledgement_at_release_waits_for_as_many_sites_as_the_topic_says() {
    let mut trio = Trio::fencing_after_ms(500);
    let topic = create(&mut trio, &[("ack.all", "released"), ("min.insync.sites", "3")]);
    trio.cut(3);
    let ticket = trio.send(1, append(topic, "a"));
    trio.run_ms(3_000);
    assert_eq!(trio.values(1, topic, Reading::Merged), ["a"], "two are a majority, and the third is fenced");
    assert_eq!(trio.answer(ticket), None, "but not three");
    trio.heal(3);
    trio.run_ms(1_000);
    let answer = trio.answer(ticket);
    assert!(matches!(answer, Some(Ok(Answer::Appended { base_offset: Some(0), .. }))), "{answer:?}");
}

#[test]
fn a_cut_off_site_writes_on_and_is_not_read_until_it_is_back() {
    let mut trio = Trio::founded();
    let topic = create(&mut trio, &[]);
    trio.cut(3);
    assert!(trio.ask(3, append(topic, "alone")).is_ok());
    assert!(trio.ask(1, append(topic, "others")).is_ok());
    trio.run_ms(500);
    assert_eq!(trio.values(3, topic, Reading::Merged), Vec::<String>::new());
    assert_eq!(trio.values(3, topic, Reading::Origin(SiteId(3))), ["alone"]);
    trio.heal(3);
    trio.run_ms(500);
    let merged = trio.values(3, topic, Reading::Merged);
    assert_eq!(merged.len(), 2);
    assert_eq!(merged, trio.values(1, topic, Reading::Merged));
}

#[test]
fn a_restart_finds_everything_again_and_goes_on() {
    let mut trio = Trio::founded();
    let topic = create(&mut trio, &[]);
    for n in 0..5 {
        assert!(trio.ask(1, append(topic, &format!("{n}"))).is_ok());
    }
    trio.run_ms(100);
    let before = trio.values(1, topic, Reading::Merged);
    assert_eq!(before.len(), 5);
    trio.crash(1);
    trio.start(1);
    assert_eq!(trio.values(1, topic, Reading::Merged), before);
    trio.run_ms(2000);
    assert!(trio.ask(1, append(topic, "after")).is_ok());
    trio.run_ms(200);
    assert_eq!(trio.values(2, topic, Reading::Merged).len(), 6);
}

#[test]
fn a_site_that_parted_stalls_nobody_and_takes_part_again() {
    let mut trio = Trio::founded();
    let topic = create(&mut trio, &[]);
    trio.stop(3);
    assert!(trio.ask(1, append(topic, "while away")).is_ok());
    trio.run_ms(300);
    assert_eq!(trio.values(2, topic, Reading::Merged), ["while away"]);
    trio.start(3);
    trio.run_ms(2000);
    assert!(trio.ask(3, append(topic, "back")).is_ok());
    trio.run_ms(500);
    for site in 1..=3 {
        assert_eq!(trio.values(site, topic, Reading::Merged), ["while away", "back"], "at site {site}");
    }
}

#[test]
fn an_empty_directory_writes_after_a_quorum_granted_it_a_life() {
    let mut trio = Trio::founded();
    let topic = create(&mut trio, &[]);
    trio.crash(2);
    trio.wipe(2);
    trio.start_joining(2);
    let refused = trio.ask(2, append(topic, "too early"));
    assert!(matches!(refused, Err(Refusal::NotReady(_))), "{refused:?}");
    trio.run_ms(3000);
    let topics = trio.site(2).topics().count();
    let answer = trio.ask(2, append(topic, "in a new life"));
    assert!(answer.is_ok(), "{answer:?} with {topics} topics");
    trio.run_ms(300);
    assert_eq!(trio.values(1, topic, Reading::Origin(SiteId(2))), ["in a new life"]);
}

#[test]
fn progress_is_known_everywhere_and_rewinds_count() {
    let mut trio = Trio::founded();
    let topic = create(&mut trio, &[]);
    let commit = |offset| {
        Request::Commit(Commit { group: "g".into(), positions: vec![(topic, 0, offset, String::new())] })
    };
    assert_eq!(trio.ask(1, commit(7)), Ok(Answer::Committed));
    trio.run_ms(50);
    assert_eq!(trio.ask(2, commit(3)), Ok(Answer::Committed));
    trio.run_ms(50);
    for site in 1..=3 {
        let position = trio.site(site).position("g", topic, 0).expect("committed");
        assert_eq!(position.progress.committed(), 3, "at site {site}");
    }
}

#[test]
fn what_cannot_be_written_is_refused_in_words() {
    let mut trio = Trio::founded();
    let topic = create(&mut trio, &[]);
    let unknown = TopicId(uuid::Uuid::from_u128(1));
    assert_eq!(trio.ask(1, append(unknown, "x")), Err(Refusal::UnknownPartition));
    let mut damaged = batch("x").to_vec();
    damaged[30] ^= 1;
    let records = Bytes::from(damaged);
    let acknowledge = Acknowledge::Local;
    let request = Request::Append(Append { topic, partition: 0, records, acknowledge, patience_ms: 0 });
    assert!(matches!(trio.ask(1, request), Err(Refusal::BadBatch(_))));
    let twice = Request::CreateTopic { name: "orders".into(), partitions: 1, settings: Default::default() };
    assert!(matches!(trio.ask(1, twice), Err(Refusal::Catalog(_))));
    let reserved =
        Request::CreateTopic { name: "site-2.x".into(), partitions: 1, settings: Default::default() };
    assert!(matches!(trio.ask(1, reserved), Err(Refusal::Catalog(_))));
}

/// A peer says, again and again for so long, that another process is this site.
fn called_duplicate_for_ms(trio: &mut Trio, id: u16, by: u16, ms: u64) {
    for _ in 0..ms / 1000 {
        trio.push(id, Event::CalledDuplicate { by: SiteId(by), reason: "it answers from elsewhere".into() });
        trio.run_ms(1000);
    }
}

#[test]
fn a_site_that_is_called_a_duplicate_waits_and_then_halts_and_lets_go_of_its_links() {
    let mut trio = Trio::founded();
    let topic = create(&mut trio, &[]);
    called_duplicate_for_ms(&mut trio, 3, 1, 3000);
    let refused = trio.ask(3, append(topic, "in doubt")).unwrap_err();
    assert!(
        matches!(&refused, Refusal::NotReady(why) if why.contains("it answers from elsewhere")),
        "{refused}"
    );
    called_duplicate_for_ms(&mut trio, 3, 1, 7000);
    let refused = trio.ask(3, append(topic, "halted")).unwrap_err();
    assert!(
        matches!(&refused, Refusal::Halted(why) if why.contains("another process is this site")),
        "{refused}"
    );
    let status = trio.site(3).status(0);
    assert!(status.halted.is_some() && status.alarms.iter().any(|alarm| alarm.contains("halted")));
    trio.run_ms(2000);
    assert_eq!(trio.site(1).status(20_000_000).alive, [SiteId(1)], "its links are gone");
    assert!(trio.ask(1, append(topic, "elsewhere")).is_ok());
}

#[test]
fn a_refusal_on_account_of_the_process_before_passes() {
    let mut trio = Trio::founded();
    let topic = create(&mut trio, &[]);
    // A link that a peer still holds from before a restart: refused for some seconds, then let in.
    called_duplicate_for_ms(&mut trio, 3, 1, 6000);
    trio.push(3, Event::LinkDown { site: SiteId(1) });
    trio.push(3, Event::LinkUp { site: SiteId(1) });
    assert!(trio.ask(3, append(topic, "let in")).is_ok());
    // What was said before does not count any more; and what is not repeated is forgotten.
    called_duplicate_for_ms(&mut trio, 3, 1, 5000);
    assert!(trio.ask(3, append(topic, "in doubt")).is_err());
    trio.run_ms(11_000);
    assert!(trio.ask(3, append(topic, "forgotten")).is_ok());
    assert_eq!(trio.site(3).status(0).halted, None);
}

#[test]
fn a_clock_set_right_is_believed_when_the_others_show_the_same_time() {
    let mut trio = Trio::founded();
    let topic = create(&mut trio, &[]);
    // Site 3 is two seconds behind all others, and then set right.
    for id in 1..=2 {
        trio.crash(id);
        trio.set_ahead_ms(id, 2000);
        trio.start(id);
    }
    trio.run_ms(2000);
    assert!(trio.ask(1, append(topic, "ahead of site 3")).is_ok());
    trio.run_ms(500);
    assert!(trio.site(3).status(0).alarms.iter().any(|alarm| alarm.contains("held back")));
    trio.set_ahead_ms(3, 2000);
    trio.run_ms(3000);
    assert!(trio.ask(3, append(topic, "set right")).is_ok());
    trio.run_ms(500);
    assert_eq!(trio.values(3, topic, Reading::Merged), ["ahead of site 3", "set right"]);
}

#[test]
fn a_clock_set_wrong_is_believed_by_nobody_but_an_operator() {
    let mut trio = Trio::founded();
    let topic = create(&mut trio, &[]);
    trio.set_ahead_ms(3, 60_000);
    trio.run_ms(1000);
    let refused = trio.ask(3, append(topic, "from the future")).unwrap_err();
    assert!(matches!(&refused, Refusal::Clock(why) if why.contains("accept-clock")), "{refused}");
    assert_eq!(trio.site(3).status(0).alarms.len(), 1);
    trio.set_ahead_ms(3, 0);
    trio.run_ms(100);
    assert!(trio.ask(3, append(topic, "set back")).is_ok());
    assert_eq!(trio.site(3).status(0).alarms, Vec::<String>::new());
    for id in 1..=3 {
        trio.set_ahead_ms(id, 60_000);
    }
    trio.run_ms(1000);
    for id in 1..=3 {
        assert!(trio.ask(id, append(topic, "too early")).is_err(), "nobody vouches for anybody");
    }
    trio.push(2, Event::AcceptClock);
    trio.run_ms(4000);
    for id in 1..=3 {
        assert!(trio.ask(id, append(topic, "accepted")).is_ok(), "one who knows is enough for three sites");
    }
}

#[test]
fn the_files_of_a_deleted_topic_go_and_a_restart_does_not_miss_them() {
    let mut trio = Trio::founded();
    let (gone, kept) = (create(&mut trio, &[]), create_named(&mut trio, "kept"));
    assert!(trio.ask(2, append(gone, "to be deleted")).is_ok());
    trio.run_ms(200);
    assert!(trio.files(3).iter().any(|file| file.contains(&gone.to_string())));
    trio.cut(2);
    assert!(trio.ask(2, append(gone, "written before the deletion is known")).is_ok());
    assert!(trio.ask(1, Request::DeleteTopic { name: "orders".into() }).is_ok());
    trio.heal(2);
    trio.run_ms(500);
    for _ in 0..4 {
        trio.crash(3);
        trio.start(3);
        trio.run_ms(2000);
        for n in 0..20 {
            assert!(trio.ask(1, append(kept, &format!("{n} {}", "fill ".repeat(60)))).is_ok());
        }
        trio.run_ms(200);
    }
    for id in 1..=3 {
        assert!(!trio.files(id).iter().any(|file| file.contains(&gone.to_string())), "at site {id}");
        assert_eq!(trio.values(id, kept, Reading::Merged).len(), 80);
    }
}

#[test]
fn who_has_not_said_that_it_belongs_here_is_not_alive() {
    let mut trio = Trio::founded();
    trio.crash(3);
    trio.run_ms(2000);
    assert_eq!(trio.alive(1), [SiteId(1), SiteId(2)]);
    trio.push(1, Event::LinkUp { site: SiteId(3) });
    let stranger = Message::Enough(JournalId::genesis(SiteId(1)));
    trio.push(1, Event::Message { from: SiteId(3), message: stranger });
    trio.run_ms(5);
    assert_eq!(trio.alive(1), [SiteId(1), SiteId(2)], "clients would be sent to it");
}

#[test]
fn a_site_that_was_away_does_not_take_a_topic_for_new_before_it_knows_what_the_others_knew() {
    for wiped in [false, true] {
        let mut trio = Trio::founded();
        trio.run_ms(100);
        trio.crash(3);
        let topic = create(&mut trio, &[]);
        if wiped {
            trio.wipe(3);
            trio.start_joining(3);
        } else {
            trio.start(3);
        }
        assert!(!trio.site(3).knows_topics());
        while !trio.site(3).knows_topics() {
            trio.run_ms(1);
        }
        assert!(trio.site(3).topics().any(|known| known.id == topic), "wiped: {wiped}");
    }
}

#[test]
fn a_site_that_starts_alone_goes_by_the_topics_that_it_knows() {
    let mut trio = Trio::founded();
    trio.crash(3);
    trio.isolate(3);
    trio.start(3);
    trio.run_ms(10_000);
    assert!(trio.site(3).knows_topics());
}
