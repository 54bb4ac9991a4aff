//! What only one site has of a topic stays within the topic's bound, and nothing that was acknowledged is lost by that.

use batch::{Builder, NewRecord};
use entry::{SiteId, TopicId};

use super::trio::Trio;
use super::{append, create, create_named};
use crate::{Acknowledge, Answer, Append, Event, Reading, Refusal, Request};

const BYTES: &str = "replication.max.unreplicated.bytes";
const MS: &str = "replication.max.unreplicated.ms";

/// Writes at a site until it is refused; returns what was acknowledged.
fn fill(trio: &mut Trio, id: u16, topic: TopicId) -> (Vec<String>, Refusal) {
    let mut acknowledged = Vec::new();
    for n in 0..100 {
        let text = format!("{n} at {id}");
        match trio.ask(id, append(topic, &text)) {
            Ok(_) => acknowledged.push(text),
            Err(refusal) => return (acknowledged, refusal),
        }
    }
    panic!("nothing was refused");
}

fn bytes_only_at(trio: &Trio, id: u16, topic: TopicId) -> u64 {
    trio.site(id).unreplicated()[&topic].bytes
}

#[test]
fn a_site_that_is_cut_off_takes_no_more_than_the_bound_and_goes_on_when_it_is_back() {
    let mut trio = Trio::founded();
    let topic = create(&mut trio, &[(BYTES, "1000")]);
    let other = create_named(&mut trio, "other");
    for n in 0..30 {
        assert!(trio.ask(3, append(topic, &format!("{n} in touch"))).is_ok(), "others hold what came before");
    }
    trio.run_ms(500);
    assert_eq!(bytes_only_at(&trio, 3, topic), 0);
    trio.cut(3);
    let (acknowledged, refusal) = fill(&mut trio, 3, topic);
    assert!(acknowledged.len() > 5, "{acknowledged:?}");
    assert!(matches!(refusal, Refusal::Unreplicated { bytes: 900..=1000, .. }), "{refusal}");
    assert!((900..=1000).contains(&bytes_only_at(&trio, 3, topic)));
    assert!(trio.ask(3, append(other, "not bounded")).is_ok());
    assert!(trio.ask(1, append(topic, "two are in touch")).is_ok());
    // A restart forgets nothing of it.
    for _ in 0..2 {
        trio.crash(3);
        trio.start(3);
        trio.run_ms(1500);
        let refused = trio.ask(3, append(topic, "too much"));
        assert!(matches!(refused, Err(Refusal::Unreplicated { bytes: 900..=1000, .. })), "{refused:?}");
    }
    trio.heal(3);
    trio.run_ms(1000);
    assert_eq!(bytes_only_at(&trio, 3, topic), 0);
    assert!(trio.ask(3, append(topic, "back")).is_ok());
    trio.run_ms(500);
    let merged = trio.values(1, topic, Reading::Merged);
    assert!(acknowledged.iter().all(|text| merged.contains(text)), "{merged:?}");
    assert!(!merged.contains(&"too much".to_owned()), "what was refused is nowhere");
    assert_eq!(merged, trio.values(3, topic, Reading::Merged));
    assert_eq!(merged.len(), 30 + acknowledged.len() + 2);
}

#[test]
fn what_is_only_here_for_too_long_lets_nothing_more_in() {
    let mut trio = Trio::founded();
    let topic = create(&mut trio, &[(MS, "300")]);
    trio.cut(3);
    assert!(trio.ask(3, append(topic, "first")).is_ok());
    assert!(trio.ask(3, append(topic, "young")).is_ok());
    trio.run_ms(400);
    let refused = trio.ask(3, append(topic, "late"));
    assert!(matches!(refused, Err(Refusal::Unreplicated { age_ms: 300.., .. })), "{refused:?}");
    trio.heal(3);
    assert!(
        trio.ask(3, append(topic, "back")).is_ok(),
        "what is held back goes on as soon as others hold more"
    );
    trio.run_ms(500);
    assert_eq!(trio.values(1, topic, Reading::Origin(SiteId(3))), ["first", "young", "back"]);
}

#[test]
fn a_bound_set_later_counts_what_was_written_before_it() {
    let mut trio = Trio::founded();
    let topic = create(&mut trio, &[]);
    trio.cut(3);
    for n in 0..2000 {
        trio.send(3, append(topic, &format!("{n}")));
    }
    trio.run_ms(100);
    let settings = std::collections::BTreeMap::from([(BYTES.to_owned(), Some("5000".to_owned()))]);
    assert!(trio.ask(3, Request::AlterTopic { name: "orders".into(), settings }).is_ok());
    let refused = trio.ask(3, append(topic, "more"));
    assert!(matches!(refused, Err(Refusal::Unreplicated { bytes: 140_000.., .. })), "{refused:?}");
}

fn numbered(topic: TopicId, sequence: i32) -> Request {
    let record = NewRecord::value(0, format!("{sequence}"));
    let records = Builder::new().producer(77, 0, sequence).record(&record).build();
    let acknowledge = Acknowledge::All;
    Request::Append(Append { topic, partition: 0, records, acknowledge, patience_ms: 1000 })
}

#[test]
fn a_producers_batches_keep_their_order_while_they_are_held_back_and_after_a_refusal() {
    let mut trio = Trio::founded();
    let topic = create(&mut trio, &[(BYTES, "200")]);
    trio.cut(3);
    assert!(trio.ask(3, numbered(topic, 0)).is_ok());
    assert!(trio.ask(3, numbered(topic, 1)).is_ok());
    let held: Vec<_> = (2..5).map(|sequence| trio.send(3, numbered(topic, sequence))).collect();
    trio.run_ms(500);
    assert!(held.iter().all(|ticket| trio.answer(*ticket).is_none()), "they wait");
    assert_eq!(trio.site(3).unreplicated()[&topic].held_back, 3);
    // Who gives one of them up gives up those behind it, or they would come before it.
    trio.push(3, Event::Forget(held[0]));
    trio.run_ms(600);
    let answers: Vec<_> = held[1..].iter().map(|ticket| trio.answer(*ticket)).collect();
    assert!(matches!(answers[0], Some(Err(Refusal::Unreplicated { .. }))), "{answers:?}");
    assert!(matches!(answers[1], Some(Err(Refusal::Unreplicated { .. }))), "{answers:?}");
    assert_eq!(trio.ask(3, numbered(topic, 3)), Err(Refusal::EarlierRefused));
    let again: Vec<_> = (2..5).map(|sequence| trio.send(3, numbered(topic, sequence))).collect();
    trio.run_ms(100);
    trio.heal(3);
    trio.run_ms(700);
    for ticket in again {
        let answer = trio.answer(ticket);
        assert!(matches!(answer, Some(Ok(Answer::Appended { .. }))), "{answer:?}");
    }
    assert_eq!(trio.values(1, topic, Reading::Merged), ["0", "1", "2", "3", "4"]);
}
