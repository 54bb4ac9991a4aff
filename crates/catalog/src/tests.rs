//! Sites that change one catalog at the same time, in every order of arrival.

use std::collections::BTreeMap;

use automerge::legacy::{Key, ObjectId, OpId as LegacyOpId, OpType};
use automerge::{ActorId, ExpandedChange, ObjType};
use bytes::Bytes;
use entry::{ClusterId, TopicBody, TopicId};
use proptest::prelude::{Strategy, any, prop, proptest};
use uuid::Uuid;

use crate::{
    Actor, AlterError, ApplyError, Catalog, CreateError, DeleteError, GrowError, LoadError, NewTopic,
    PartitionsError, Topic, frame,
};

fn cluster() -> ClusterId {
    ClusterId(Uuid::from_u128(7))
}

fn site(number: u8) -> Catalog {
    Catalog::genesis(cluster(), Actor([number; 16]))
}

fn site_actor(number: u8) -> ActorId {
    ActorId::from([number; 16])
}

fn settings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn changed(pairs: &[(&str, Option<&str>)]) -> BTreeMap<String, Option<String>> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned))).collect()
}

fn new(name: impl Into<String>, partitions: u32, settings: &BTreeMap<String, String>) -> NewTopic {
    NewTopic { name: name.into(), partitions, settings: settings.clone() }
}

fn view(catalog: &Catalog) -> Vec<Topic> {
    catalog.ever().cloned().collect()
}

fn assert_equal(one: &Catalog, other: &Catalog) {
    assert_eq!(view(one), view(other));
    assert_eq!(one.digest(), other.digest());
}

#[test]
fn a_topic_lives_and_dies_and_its_name_lives_again() {
    let mut here = site(1);
    let (first, _) = here.create(&new("orders", 3, &settings(&[("retention.ms", "1000")])), &[]).unwrap();
    assert_eq!(
        here.create(&new("orders", 3, &settings(&[])), &[]),
        Err(CreateError::Exists("orders".into()))
    );
    here.grow("orders", 5).unwrap();
    here.alter("orders", &changed(&[("retention.ms", None), ("min.insync.sites", Some("2"))])).unwrap();
    let topic = here.by_name("orders").unwrap();
    assert_eq!((topic.id, topic.partitions, topic.settings.min_insync_sites), (first, 5, 2));
    assert_eq!(topic.given, settings(&[("min.insync.sites", "2")]));

    here.delete("orders").unwrap();
    assert_eq!((here.by_name("orders"), here.generation("orders")), (None, 1));
    assert!(here.topic(first).unwrap().deleted);
    let (second, _) = here.create(&new("orders", 1, &settings(&[])), &[]).unwrap();
    assert_eq!(here.by_name("orders").unwrap().id, second);
    assert_ne!(first, second);
    assert_eq!(here.live().count(), 1);
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let mut here = site(1);
    here.create(&new("orders", 3, &settings(&[])), &[]).unwrap();
    let before = here.digest();
    assert!(matches!(here.create(&new("a b", 3, &settings(&[])), &[]), Err(CreateError::BadName(_))));
    assert!(matches!(here.create(&new("a", 0, &settings(&[])), &[]), Err(CreateError::BadPartitions(_))));
    assert!(matches!(
        here.create(&new("a", 1, &settings(&[("a", "b")])), &[]),
        Err(CreateError::BadSetting(_))
    ));
    let not_more = PartitionsError::NotMore { held: 3, asked: 3 };
    assert_eq!(here.grow("orders", 3), Err(GrowError::BadPartitions(not_more)));
    assert_eq!(here.delete("b"), Err(DeleteError::Unknown("b".into())));
    assert!(matches!(here.alter("orders", &changed(&[("a", None)])), Err(AlterError::BadSetting(_))));
    assert_eq!(here.digest(), before);
}

#[test]
fn topics_are_listed_by_name() {
    let mut here = site(1);
    for name in ["c", "a", "b"] {
        here.create(&new(name, 1, &settings(&[])), &[]).unwrap();
    }
    here.delete("b").unwrap();
    assert_eq!(here.live().map(|topic| topic.name.as_str()).collect::<Vec<_>>(), ["a", "c"]);
}

#[test]
fn one_name_created_at_two_sites_is_one_topic() {
    let (mut here, mut there) = (site(1), site(2));
    let (id, from_here) = here.create(&new("orders", 3, &settings(&[("retention.ms", "1")])), &[]).unwrap();
    let (same, from_there) =
        there.create(&new("orders", 5, &settings(&[("retention.bytes", "2")])), &[]).unwrap();
    assert_eq!(id, same);
    assert_eq!(here.apply(&from_there), Ok(vec![id]));
    assert_eq!(there.apply(&from_here), Ok(vec![id]));
    assert_equal(&here, &there);
    let topic = here.by_name("orders").unwrap();
    assert_eq!(topic.partitions, 5);
    assert_eq!(topic.given, settings(&[("retention.bytes", "2"), ("retention.ms", "1")]));
}

#[test]
fn a_deletion_wins_over_what_was_changed_meanwhile() {
    let (mut here, mut there) = (site(1), site(2));
    let (id, created) = here.create(&new("orders", 1, &settings(&[])), &[]).unwrap();
    there.apply(&created).unwrap();
    let (_, deleted) = here.delete("orders").unwrap();
    let (_, grown) = there.grow("orders", 4).unwrap();
    let (_, altered) = there.alter("orders", &changed(&[("retention.ms", Some("5"))])).unwrap();
    there.apply(&deleted).unwrap();
    here.apply(&grown).unwrap();
    here.apply(&altered).unwrap();
    assert_equal(&here, &there);
    assert!(here.topic(id).unwrap().deleted);
    let again = (
        here.create(&new("orders", 1, &settings(&[])), &[]).unwrap().0,
        there.create(&new("orders", 1, &settings(&[])), &[]).unwrap().0,
    );
    assert_eq!(again.0, again.1);
}

#[test]
fn changes_apply_once_and_only_on_what_they_build_on() {
    let (mut here, mut there) = (site(1), site(2));
    let (id, created) = here.create(&new("orders", 1, &settings(&[])), &[]).unwrap();
    let (_, grown) = here.grow("orders", 2).unwrap();
    let before = there.digest();
    assert_eq!(there.apply(&grown), Err(ApplyError::NotYet { missing: 1 }));
    assert_eq!(there.digest(), before);
    assert_eq!(there.apply(&created), Ok(vec![id]));
    assert_eq!(there.apply(&grown), Ok(vec![id]));
    assert_eq!(there.apply(&created), Ok(vec![]));
    assert_equal(&here, &there);
}

#[test]
fn an_actor_used_twice_is_refused() {
    let (mut one, mut other, mut there) = (site(1), site(1), site(2));
    let (_, first) = one.create(&new("a", 1, &settings(&[])), &[]).unwrap();
    let (_, second) = other.create(&new("b", 2, &settings(&[])), &[]).unwrap();
    there.apply(&first).unwrap();
    assert!(matches!(there.apply(&second), Err(ApplyError::Refused(_))));
    assert_equal(&one, &there);
}

#[test]
fn a_forged_birth_is_refused() {
    let elsewhere = ClusterId(Uuid::from_u128(8));
    let (_, born) =
        Catalog::genesis(elsewhere, Actor([1; 16])).create(&new("orders", 1, &settings(&[])), &[]).unwrap();
    assert!(matches!(site(2).apply(&born), Err(ApplyError::Refused(_))));
}

/// What a forged change is told, behind the creation of a topic.
fn objection(forge: impl Fn(&mut ExpandedChange)) -> String {
    let (mut here, mut there) = (site(1), site(2));
    let (_, created) = here.create(&new("orders", 1, &settings(&[])), &[]).unwrap();
    let (_, grown) = here.grow("orders", 2).unwrap();
    there.apply(&created).unwrap();
    let before = there.digest();
    let mut change = frame::decode(&grown).unwrap()[0].decode();
    forge(&mut change);
    let told = there.apply(&frame::encode(&[change.into()])).unwrap_err().to_string();
    assert_eq!(there.digest(), before);
    there.apply(&grown).unwrap();
    told
}

#[test]
fn a_change_that_automerge_would_panic_over_is_refused() {
    for skipped in [1, 3, 4, u64::MAX] {
        let told = objection(|change| change.seq = skipped);
        assert!(told.contains("does not follow what its actor changed before"), "{told}");
    }
    let told = objection(|change| change.actor_id = site_actor(9));
    assert!(told.contains("does not follow what its actor changed before"), "{told}");
    for far in [100, u64::from(u32::MAX)] {
        let told = objection(|change| change.start_op = far.try_into().unwrap());
        assert!(told.contains("does not count on from the operations"), "{told}");
    }
    assert!(objection(|change| change.operations.clear()).contains("does not count on from the operations"));
    let stranger = ObjectId::Id(LegacyOpId(1, site_actor(9)));
    let told = objection(|change| change.operations[0].obj = stranger.clone());
    assert!(told.contains("names an actor that changed nothing"), "{told}");
}

#[test]
fn a_change_has_the_shape_of_one_that_a_site_makes() {
    let genesis = |number| ObjectId::Id(LegacyOpId(number, ActorId::from(*b"meridian genesis")));
    let told = objection(|change| {
        let ObjectId::Id(topic) = change.operations[0].obj.clone() else { unreachable!() };
        change.operations[0].obj = ObjectId::Id(LegacyOpId(59, topic.1));
    });
    assert!(told.contains("no such map"), "{told}");
    let id = TopicId::derive(cluster(), "orders", 0);
    let hide = |map| {
        objection(|change| {
            change.operations[0].obj = genesis(map);
            change.operations[0].key = Key::Map(id.to_string().into());
        })
    };
    assert!(hide(1).contains("born in one way only"));
    assert!(hide(2).contains("a deletion is for good"));
    assert!(hide(3).contains("no such map"));
    let told = objection(|change| change.operations[0].action = OpType::Make(ObjType::Map));
    assert!(told.contains("made by its birth alone"), "{told}");
    let unborn = ObjectId::Id(LegacyOpId(6, site_actor(1)));
    let told = objection(|change| change.operations[0].obj = unborn.clone());
    assert!(told.contains("not here yet"), "{told}");
}

#[test]
fn changes_come_behind_what_they_build_on() {
    let (_, created) = site(1).create(&new("orders", 1, &settings(&[])), &[]).unwrap();
    let mut changes = frame::decode(&created).unwrap();
    changes.reverse();
    let told = site(2).apply(&frame::encode(&changes)).unwrap_err().to_string();
    assert!(told.contains("stands before another that it builds on"), "{told}");
}

/// Two changes of one actor, the second of which builds on the birth alone: with numbers that were used, and behind them.
#[test]
fn a_second_change_beside_the_first_is_taken_only_with_numbers_of_its_own() {
    let mut here = site(1);
    let (_, created) = here.create(&new("orders", 1, &settings(&[])), &[]).unwrap();
    let (_, grown) = here.grow("orders", 2).unwrap();
    let [birth, put] = frame::decode(&created).unwrap().try_into().unwrap();
    let mut aside = frame::decode(&grown).unwrap()[0].decode();
    aside.deps = vec![birth.hash()];
    aside.start_op = put.start_op();
    let told = site(2).apply(&frame::encode(&[birth, put, aside.into()])).unwrap_err().to_string();
    assert!(told.contains("does not count on from the operations"), "{told}");
}

#[test]
fn a_long_time_without_a_change_is_nothing_to_a_later_one() {
    let (mut here, mut there) = (site(1), site(2));
    let (_, created) = here.create(&new("orders", 1, &settings(&[])), &[]).unwrap();
    there.apply(&created).unwrap();
    for partitions in 2..200 {
        here.apply(&there.grow("orders", partitions).unwrap().1).unwrap();
    }
    here.grow("orders", 200).unwrap();
    assert_equal(&Catalog::load(cluster(), &here.save(), Actor([9; 16])).unwrap(), &here);
}

#[test]
fn a_restated_topic_is_known_before_its_creation_comes() {
    let (mut here, mut there) = (site(1), site(2));
    let (id, created) = here.create(&new("orders", 3, &settings(&[("retention.ms", "9")])), &[]).unwrap();
    let restated = here.topic(id).unwrap().restated();
    there.restate(&restated);
    assert_eq!(view(&there), view(&here));
    let mut reloaded = Catalog::load(cluster(), &there.save(), Actor([3; 16])).unwrap();
    assert_equal(&reloaded, &there);
    reloaded.apply(&created).unwrap();
    assert_equal(&reloaded, &here);
    here.restate(&restated);
    assert_equal(&reloaded, &here);
}

#[test]
fn an_unsound_restatement_changes_nothing() {
    let mut here = site(1);
    let id = TopicId(Uuid::from_u128(5));
    let body = TopicBody { id, name: "a".into(), generation: 0, partitions: 1, settings: BTreeMap::new() };
    here.restate(&body);
    assert_equal(&here, &site(2));
}

#[test]
fn what_is_saved_is_loaded_and_goes_on() {
    let mut here = site(1);
    here.create(&new("orders", 3, &settings(&[("retention.ms", "9")])), &[]).unwrap();
    here.create(&new("gone", 3, &settings(&[])), &[]).unwrap();
    here.delete("gone").unwrap();
    let mut again = Catalog::load(cluster(), &here.save(), Actor([9; 16])).unwrap();
    assert_equal(&again, &here);
    let (_, grown) = again.grow("orders", 4).unwrap();
    here.apply(&grown).unwrap();
    assert_equal(&again, &here);
}

#[test]
fn a_damaged_save_is_refused() {
    let mut here = site(1);
    here.create(&new("orders", 3, &settings(&[])), &[]).unwrap();
    let saved = here.save();
    for at in 0..saved.len() {
        let mut damaged = saved.to_vec();
        damaged[at] ^= 1;
        assert!(Catalog::load(cluster(), &damaged, Actor([9; 16])).is_err(), "a flip at {at} was taken");
        assert!(Catalog::load(cluster(), &saved[..at], Actor([9; 16])).is_err(), "a cut at {at} was taken");
    }
    let mut newer = saved.to_vec();
    newer[0] = 9;
    assert_eq!(Catalog::load(cluster(), &newer, Actor([9; 16])).err(), Some(LoadError::Version(9)));
}

#[test]
fn a_damaged_frame_is_refused() {
    let (_, frame) = site(1).create(&new("orders", 3, &settings(&[("retention.ms", "9")])), &[]).unwrap();
    let mut there = site(2);
    for at in 0..frame.len() {
        for bit in 0..8 {
            let mut damaged = frame.to_vec();
            damaged[at] ^= 1 << bit;
            assert!(there.apply(&damaged.into()).is_err(), "a flip at {at} was taken");
        }
        assert!(there.apply(&frame.slice(..at)).is_err(), "a cut at {at} was taken");
    }
    assert!(there.apply(&[&frame[..], b"x"].concat().into()).is_err());
    assert_equal(&there, &site(2));
}

#[test]
fn a_thousand_topics_are_no_trouble() {
    let (mut here, mut there) = (site(1), site(2));
    let frames: Vec<_> = (0..1000)
        .map(|n| here.create(&new(format!("topic-{n}"), 1, &settings(&[])), &[]).unwrap().1)
        .collect();
    for frame in &frames {
        there.apply(frame).unwrap();
    }
    assert_equal(&here, &there);
    assert_equal(&Catalog::load(cluster(), &there.save(), Actor([3; 16])).unwrap(), &here);
}

/// What one site does next; what is refused is not done.
#[derive(Debug, Clone)]
enum Step {
    Create(u8, u32),
    Delete(u8),
    Grow(u8, u32),
    Alter(u8, u8),
    /// Everything from one other site that came so far.
    Hear(usize),
}

fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
    let step = (0usize..5, 0u8..3, 1u32..9, any::<u8>()).prop_map(|(kind, name, number, value)| match kind {
        0 => Step::Create(name, number),
        1 => Step::Delete(name),
        2 => Step::Grow(name, number),
        3 => Step::Alter(name, value),
        _ => Step::Hear(number as usize % 3),
    });
    prop::collection::vec((0usize..3, step), 1..30)
}

fn does(catalog: &mut Catalog, step: &Step) -> Option<Bytes> {
    let name = |number: &u8| format!("topic-{number}");
    let made = match step {
        Step::Create(topic, partitions) => {
            catalog.create(&new(name(topic), *partitions, &settings(&[])), &[]).ok()
        }
        Step::Delete(topic) => catalog.delete(&name(topic)).ok(),
        Step::Grow(topic, partitions) => catalog.grow(&name(topic), *partitions).ok(),
        Step::Alter(topic, value) => {
            let value = (value % 3 > 0).then(|| value.to_string());
            catalog.alter(&name(topic), &BTreeMap::from([("retention.ms".to_owned(), value)])).ok()
        }
        Step::Hear(_) => None,
    };
    made.map(|(_, frame)| frame)
}

/// Delivers all that is not delivered yet, holding back what builds on something that is not there.
fn deliver(catalog: &mut Catalog, mut frames: Vec<Bytes>) {
    while !frames.is_empty() {
        let before = frames.len();
        frames.retain(|frame| match catalog.apply(frame) {
            Ok(_) => false,
            Err(ApplyError::NotYet { .. }) => true,
            Err(other) => panic!("{other}"),
        });
        assert!(frames.len() < before, "nothing is lost, so something must fit");
    }
}

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(64))]

    #[test]
    fn sites_converge_whatever_they_do_and_in_whatever_order_it_arrives(
        steps in steps(),
        order in any::<prop::sample::Index>(),
    ) {
        let mut sites = [site(1), site(2), site(3)];
        let mut said: [Vec<Bytes>; 3] = Default::default();
        let mut seen: Vec<(TopicId, u32)> = Vec::new();
        for (at, step) in &steps {
            if let Step::Hear(from) = step {
                for frame in said[*from].clone() {
                    // What builds on a third site's changes waits until those are here.
                    let _ = sites[*at].apply(&frame);
                }
            } else if let Some(frame) = does(&mut sites[*at], step) {
                said[*at].push(frame);
            }
            seen.extend(sites[*at].ever().map(|topic| (topic.id, topic.partitions)));
        }
        let mut all: Vec<_> = said.concat();
        if !all.is_empty() {
            let turn = order.index(all.len());
            all.rotate_left(turn);
        }
        for (number, catalog) in sites.iter_mut().enumerate() {
            if number == 1 {
                all.reverse();
            }
            deliver(catalog, all.clone());
        }
        assert_equal(&sites[0], &sites[1]);
        assert_equal(&sites[0], &sites[2]);
        for (id, partitions) in seen {
            assert!(sites[0].topic(id).unwrap().partitions >= partitions, "partitions only grow");
        }
        for catalog in &sites {
            assert_equal(catalog, &Catalog::load(cluster(), &catalog.save(), Actor([9; 16])).unwrap());
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        let _ = site(1).apply(&bytes.clone().into());
        let _ = Catalog::load(cluster(), &bytes, Actor([1; 16]));
    }
}
