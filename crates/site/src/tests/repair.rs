//! Flipped bits in every kind of file, and what becomes of them.

use disk::FileName;
use entry::TopicId;

use super::trio::Trio;
use super::{append, create};
use crate::{Limits, Reading};

/// Sites that look at their files as fast as they can.
fn watchful() -> (Trio, TopicId) {
    let mut trio = Trio::founded_with(
        Limits {
            checkpoint_bytes: 4000,
            wal_segment_bytes: 1 << 16,
            message_bytes: 2000,
            look_bytes_per_second: 1 << 30,
            ..Limits::default()
        },
        0,
    );
    let topic = create(&mut trio, &[]);
    for round in 0..40 {
        for site in 1..=3 {
            let text = format!("{round} from {site} {}", "x".repeat(200));
            trio.ask(site, append(topic, &text)).unwrap();
        }
    }
    trio.run_ms(500);
    (trio, topic)
}

fn files(trio: &mut Trio, id: u16, folder: &str, suffix: &str) -> Vec<FileName> {
    use disk::Disk as _;
    let all = trio.disk(id).list(&FileName::new(folder).unwrap()).unwrap();
    all.into_iter().filter(|file| file.as_str().ends_with(suffix)).collect()
}

/// Flips a bit of a file at a site, and lets it come upon that.
fn flip(trio: &mut Trio, id: u16, file: &FileName, at: usize) -> Vec<u8> {
    let before = trio.disk(id).file_mut(file).unwrap().clone();
    trio.disk(id).file_mut(file).unwrap()[at] ^= 4;
    trio.came_upon_damage(id, file);
    before
}

#[test]
fn whatever_bit_of_a_segment_or_an_index_is_flipped_is_put_right_again() {
    let (mut trio, topic) = watchful();
    let good = trio.values(1, topic, Reading::Merged);
    let mut flipped = 0;
    for suffix in [".log", "merged.index", "0.index"] {
        for file in files(&mut trio, 1, "logs", suffix) {
            let len = trio.disk(1).file_mut(&file).unwrap().len();
            // Headers, bodies, ends.
            for at in (0..len).step_by(len / 23 + 1).chain([0, 5, 9, 13, 20, len - 1]) {
                let before = flip(&mut trio, 1, &file, at);
                trio.run_ms(20);
                assert!(trio.disk(1).file_mut(&file).unwrap() == &before, "{file} at {at}: {:#?}", trio.said);
                flipped += 1;
            }
        }
    }
    assert!(flipped > 150, "{flipped}");
    let counts = trio.site(1).repair_counts();
    assert_eq!((counts.damaged, counts.repaired), (flipped, flipped));
    assert_eq!(trio.values(1, topic, Reading::Merged), good);
}

#[test]
fn a_repair_that_finds_no_room_is_tried_again() {
    let (mut trio, _) = watchful();
    let file = files(&mut trio, 1, "logs", ".log").remove(0);
    trio.crowded = true;
    let before = flip(&mut trio, 1, &file, 100);
    trio.run_ms(20_000);
    assert!(trio.disk(1).file_mut(&file).unwrap() != &before);
    trio.crowded = false;
    trio.run_ms(20_000);
    assert!(trio.disk(1).file_mut(&file).unwrap() == &before, "{:#?}", trio.said);
}

#[test]
fn looking_finds_damage_that_nobody_has_read() {
    let (mut trio, _) = watchful();
    trio.crash(1);
    let file = files(&mut trio, 1, "logs", ".log").remove(0);
    let before = trio.disk(1).file_mut(&file).unwrap().clone();
    trio.disk(1).file_mut(&file).unwrap()[100] ^= 1;
    trio.start(1);
    trio.run_ms(3000);
    assert!(trio.disk(1).file_mut(&file).unwrap() == &before, "{:#?}", trio.said);
    assert!(trio.site(1).repair_counts().looked_bytes > 0);
}

/// (Its last records are read at a start: one that is damaged must not keep the site from starting.)
#[test]
fn a_site_starts_with_damaged_files_and_takes_back_what_is_missing() {
    let (mut trio, topic) = watchful();
    let good = trio.values(1, topic, Reading::Merged);
    let harms: [fn(&mut Vec<u8>); 3] =
        [|bytes| *bytes.last_mut().unwrap() ^= 1, |bytes| bytes.truncate(70), |bytes| bytes[..300].fill(0)];
    for (number, harm) in harms.into_iter().enumerate() {
        // Where neither a segment nor its index says where a batch was, it needs a copy.
        let all = if number == 0 { "" } else { "0.index" };
        for suffix in ["merged.index", ".log", all] {
            trio.crash(1);
            for file in files(&mut trio, 1, "logs", suffix) {
                harm(trio.disk(1).file_mut(&file).unwrap());
            }
            trio.start(1);
            trio.run_ms(5000);
            assert_eq!(trio.values(1, topic, Reading::Merged), good, "{:#?}", trio.said);
            for file in files(&mut trio, 1, "logs", "") {
                let elsewhere = trio.disk(2).file_mut(&file).unwrap().clone();
                assert!(trio.disk(1).file_mut(&file).unwrap() == &elsewhere, "{file}: {:#?}", trio.said);
            }
        }
    }
}

#[test]
fn what_no_site_has_whole_is_taken_in_parts() {
    let (mut trio, topic) = watchful();
    let good = trio.values(1, topic, Reading::Merged);
    for suffix in [".log", "merged.index"] {
        let file = files(&mut trio, 1, "logs", suffix).remove(0);
        let before = trio.disk(1).file_mut(&file).unwrap().clone();
        for id in 1..=3 {
            // Of every batch or record one site has it, or two: headers, bodies, and what lies behind.
            let bytes = trio.disk(id).file_mut(&file).unwrap();
            for (number, at) in (0..bytes.len()).step_by(bytes.len() / 30).enumerate() {
                bytes[at] ^= u8::from(number % 3 == usize::from(id) - 1) << 2;
            }
        }
        (1..=3).for_each(|id| trio.came_upon_damage(id, &file));
        trio.run_ms(30_000);
        for id in 1..=3 {
            assert!(trio.disk(id).file_mut(&file).unwrap() == &before, "{file} at {id}: {:#?}", trio.said);
        }
    }
    assert_eq!(trio.values(1, topic, Reading::Merged), good);
}

#[test]
fn a_damaged_checkpoint_is_followed_by_a_newer_one() {
    let (mut trio, topic) = watchful();
    trio.crash(1);
    let file = files(&mut trio, 1, "checkpoint", ".checkpoint").pop().unwrap();
    trio.disk(1).file_mut(&file).unwrap()[90] ^= 1;
    trio.start(1);
    trio.run_ms(3000);
    let newest = files(&mut trio, 1, "checkpoint", ".checkpoint").pop().unwrap();
    assert!(newest > file, "{:#?}", trio.said);
    trio.crash(1);
    trio.start(1);
    assert_eq!(trio.values(1, topic, Reading::Merged).len(), 120);
}

#[test]
fn what_nobody_has_any_more_is_named_and_the_rest_is_served() {
    let (mut trio, topic) = watchful();
    let file = files(&mut trio, 1, "logs", ".log").remove(0);
    for id in 1..=3 {
        trio.disk(id).file_mut(&file).unwrap()[400] ^= 1;
    }
    trio.came_upon_damage(1, &file);
    trio.run_ms(100);
    let alarms = trio.site(1).status(0).alarms;
    let lost = alarms.iter().find(|text| text.contains("no other site has")).unwrap();
    assert!(
        lost.contains(&format!("topic {topic}, partition 0, origin offsets 1..2, merged offsets ")),
        "{lost}"
    );
    let sound = trio.sound_values(1, topic);
    assert_eq!(sound, 119, "all but one are served");
}
