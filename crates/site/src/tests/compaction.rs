//! Compacted topics: the same generations everywhere, through restarts, copies and damage.

use std::collections::BTreeMap;

use batch::{Builder, NewRecord};
use disk::{Disk as _, FileName};
use entry::TopicId;

use super::create;
use super::trio::Trio;
use crate::{Acknowledge, Append, Limits, Reading, Request};

const COMPACTED: [(&str, &str); 2] = [("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0.1")];

fn keyed(topic: TopicId, key: usize, text: &str) -> Request {
    let record = NewRecord::keyed(0, format!("{key}"), text.to_owned());
    let records = Builder::new().record(&record).build();
    Request::Append(Append { topic, partition: 0, records, acknowledge: Acknowledge::All, patience_ms: 1000 })
}

/// Writes so many rounds of some keys at every site; returns the value each key ends with.
fn write(trio: &mut Trio, topic: TopicId, rounds: usize) -> BTreeMap<usize, String> {
    let mut latest = BTreeMap::new();
    for round in 0..rounds {
        for site in 1..=3 {
            for key in 0..5 {
                let text = format!("{key}: {round} from {site}");
                trio.ask(site, keyed(topic, key, &text)).unwrap();
                trio.run_ms(30);
                latest.insert(key, text);
            }
        }
    }
    trio.run_ms(200);
    latest
}

fn generations(trio: &Trio, topic: TopicId) -> Vec<(u64, [u8; 16])> {
    (1..=3).map(|id| trio.site(id).generation(topic, 0)).collect()
}

fn logs(trio: &Trio, topic: TopicId) -> Vec<Vec<String>> {
    (1..=3).map(|id| trio.values(id, topic, Reading::Merged)).collect()
}

#[test]
fn every_site_keeps_the_same_and_the_latest_of_every_key_also_where_nobody_writes() {
    let mut trio = Trio::founded();
    let topic = create(&mut trio, &COMPACTED);
    let latest = write(&mut trio, topic, 5);
    assert_eq!(logs(&trio, topic)[0].len(), 75);
    // Nobody writes, and still it is compacted.
    trio.run_ms(60_000);
    let made = generations(&trio, topic);
    assert!(made[0].0 > 0 && made == [made[0]; 3], "{made:?}");
    let kept = logs(&trio, topic);
    assert_eq!(kept, [kept[0].clone(), kept[0].clone(), kept[0].clone()]);
    assert!(kept[0].len() < 15, "{:?}", kept[0]);
    assert!(latest.values().all(|text| kept[0].contains(text)), "{:?}", kept[0]);
    assert_eq!(trio.digest(1, topic), trio.digest(3, topic));
    // Sites that were not there, or were stopped in the midst of a pass, make the same of it.
    trio.crash(2);
    let latest = write_at(&mut trio, topic, &[1, 3]);
    for _ in 0..10 {
        trio.start(2);
        trio.run_ms(1500);
        trio.crash(2);
    }
    trio.start(2);
    trio.run_ms(40_000);
    let again = generations(&trio, topic);
    assert!(again[0].0 > made[0].0 && again == [again[0]; 3], "{again:?}");
    let kept = logs(&trio, topic);
    assert_eq!(kept, [kept[0].clone(), kept[0].clone(), kept[0].clone()]);
    assert!(latest.iter().all(|text| kept[0].contains(text)), "{:?}", kept[0]);
}

fn write_at(trio: &mut Trio, topic: TopicId, sites: &[u16]) -> Vec<String> {
    let mut texts = Vec::new();
    for (key, site) in sites.iter().cycle().enumerate().take(20) {
        texts.push(format!("later {key} at {site}"));
        trio.ask(*site, keyed(topic, key % 10, &texts[key])).unwrap();
    }
    texts.split_off(10)
}

#[test]
fn a_copy_of_a_compacted_log_is_the_same_and_damage_in_one_is_repaired() {
    let mut trio = Trio::founded_with(
        Limits {
            checkpoint_bytes: 4000,
            wal_segment_bytes: 1 << 14,
            wal_bytes_max: 1 << 14,
            hot_bytes: 2000,
            ..Limits::default()
        },
        0,
    );
    let topic = create(&mut trio, &COMPACTED);
    for round in 0..60 {
        for site in 1..=3 {
            let text = format!("{round} from {site} {}", "x".repeat(400));
            trio.ask(site, keyed(topic, round % 7, &text)).unwrap();
        }
    }
    trio.run_ms(40_000);
    assert!(trio.site(1).generation(topic, 0).0 > 0);
    trio.crash(3);
    trio.wipe(3);
    trio.start_joining(3);
    trio.run_ms(40_000);
    let made = generations(&trio, topic);
    assert_eq!(made, [made[0]; 3]);
    let kept = logs(&trio, topic);
    assert_eq!(kept, [kept[0].clone(), kept[0].clone(), kept[0].clone()]);
    // One bit of it is flipped, found by a reader, and put right.
    let all = trio.disk(2).list(&FileName::new("logs").unwrap()).unwrap();
    let name = format!("/compacted/{:010}/", made[0].0);
    let file = all.into_iter().find(|it| it.as_str().contains(&name) && it.last().ends_with(".log")).unwrap();
    let before = trio.disk(2).read(&file, 0, 100).unwrap();
    let mut flipped = before.to_vec();
    flipped[90] ^= 1;
    trio.disk(2).write(&file, 0, &flipped).unwrap();
    trio.push(2, crate::Event::Damaged(file.clone()));
    trio.run_ms(2000);
    assert_eq!(trio.disk(2).read(&file, 0, 100).unwrap(), before);
    assert_eq!(logs(&trio, topic), kept);
}

#[test]
fn a_deleted_topic_leaves_nothing_compacted_behind() {
    let mut trio = Trio::founded();
    let topic = create(&mut trio, &COMPACTED);
    write(&mut trio, topic, 3);
    trio.run_ms(30_000);
    assert!(trio.files(1).iter().any(|file| file.contains("/compacted/")));
    trio.ask(1, Request::DeleteTopic { name: "orders".into() }).unwrap();
    trio.run_ms(500);
    let other = super::create_named(&mut trio, "other");
    for n in 0..200 {
        trio.ask(1, super::append(other, &format!("{n} {}", "fill ".repeat(60)))).unwrap();
    }
    trio.run_ms(500);
    for id in 1..=3 {
        assert!(!trio.files(id).iter().any(|file| file.contains("/compacted/")), "at site {id}");
    }
}
