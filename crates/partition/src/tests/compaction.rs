//! Compaction against a list of records in memory, and two sites that work at their own pace against each other.

use std::collections::BTreeMap;

use batch::{Builder, Compression, DecompressLimits, NewRecord, records};
use bytes::Bytes;
use clock::Stamp;
use disk::{Disk, FileName, MemoryDisk};
use proptest::prelude::{Strategy, any, prop, prop_oneof, proptest};

use super::{SEGMENT, at, journal, key};
use crate::{Logs, Pass, Terms, read, verify};

/// A record's key and value.
type Content = (Option<u8>, Option<u8>);

/// What happens in the merged order.
#[derive(Debug, Clone)]
enum Step {
    Write { site: u16, records: Vec<Content>, packed: bool },
    Mark { dirty_permille: u16, tombstones_ms: u64 },
    Trim(u64),
    Expire,
}

/// What one site does meanwhile.
#[derive(Debug, Clone, Copy)]
enum Pace {
    Work(usize),
    Restart,
}

struct Rig {
    disk: MemoryDisk,
    logs: Logs,
    pass: Option<Pass>,
    written: BTreeMap<u16, u64>,
    keys: usize,
    step_bytes: usize,
    now_ms: u64,
}

impl Rig {
    fn new(keys: usize, step_bytes: usize) -> Rig {
        let mut rig = Rig {
            disk: MemoryDisk::new(),
            logs: Logs::new(),
            pass: None,
            written: BTreeMap::new(),
            keys,
            step_bytes,
            now_ms: 0,
        };
        rig.logs = rig.sized(Logs::new());
        rig
    }

    fn sized(&self, logs: Logs) -> Logs {
        logs.with_segment_bytes(SEGMENT).with_bounds(self.keys, self.step_bytes)
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Write { site, records, packed } => {
                let next = self.written.entry(*site).or_default();
                let key = key(journal(*site, 0));
                self.logs.append_origin(&mut self.disk, key, &batch_of(records, *packed)).unwrap();
                let stamp = Stamp::from_unix_ms(self.now_ms);
                self.logs.append_merged(&mut self.disk, key, *next, stamp).unwrap();
                self.logs.publish();
                *next += records.len() as u64;
            }
            Step::Mark { dirty_permille, tombstones_ms } => {
                self.now_ms += 10;
                let terms = Terms { dirty_permille: *dirty_permille, tombstones_ms: *tombstones_ms };
                self.logs.mark(at(), self.now_ms, terms);
            }
            Step::Trim(before) => drop(self.logs.trim(&self.disk, at(), *before).unwrap()),
            Step::Expire => {
                let kept = crate::Kept { since: None, bytes: Some(600) };
                self.logs.expire(&self.disk, at(), kept).unwrap();
            }
        }
    }

    fn keep_pace(&mut self, pace: Pace) {
        match pace {
            Pace::Work(steps) => (0..steps).for_each(|_| self.work()),
            Pace::Restart => {
                let state = self.logs.checkpoint().state;
                self.logs.checkpointed(&mut self.disk).unwrap();
                // The pass under way is lost, what it wrote is not known.
                self.pass = None;
                let logs = Logs::restore(&mut self.disk, &state).unwrap();
                self.logs = self.sized(logs);
            }
        }
    }

    fn work(&mut self) {
        let Some(mut pass) = self.pass.take().or_else(|| self.logs.next_pass()) else { return };
        match self.logs.next_step(&self.disk, &mut pass).unwrap() {
            Some(work) => {
                let done = work.carry_out(&mut self.disk).unwrap();
                assert!(pass.step_done(done));
                self.pass = Some(pass);
            }
            None => self.logs.finish_pass(&mut self.disk, &pass).unwrap(),
        }
    }

    fn finish(&mut self) {
        for _ in 0..10_000 {
            self.work();
        }
        assert!(self.pass.is_none() && self.logs.next_pass().is_none());
    }

    /// What a reader finds from an offset on.
    fn read_from(&self, from: u64) -> BTreeMap<u64, Content> {
        let (topic, partition) = at();
        let end = self.logs.merged_end(topic, partition);
        let (mut offset, mut found) = (from, BTreeMap::new());
        while offset < end {
            let plan = self.logs.plan_merged(&self.disk, at(), offset, 300).unwrap();
            assert!(!plan.slices.is_empty(), "a reader at {offset} gets nowhere, the log ends at {end}");
            let mut bytes = read(&self.disk, &plan.slices).unwrap();
            for slice in &plan.slices {
                let batch = bytes.split_to(slice.bytes as usize);
                for record in records(&batch, DecompressLimits::default()).unwrap().map(Result::unwrap) {
                    let at = slice.base_offset + u64::from(record.offset_delta.cast_unsigned());
                    let byte = |bytes: Option<Bytes>| bytes.map(|bytes| bytes[0]);
                    found.insert(at, (byte(record.key), byte(record.value)));
                }
            }
            assert!(plan.next_offset > offset);
            offset = plan.next_offset;
        }
        found.retain(|at, _| *at >= from);
        found
    }

    /// The compacted files that count.
    fn compacted_files(&self) -> BTreeMap<FileName, Bytes> {
        let all = self.logs.all_extents().into_iter();
        let compacted = all.filter(|(file, _)| file.as_str().contains("/compacted/"));
        compacted
            .map(|(file, bytes)| {
                let proven = verify(&self.disk, &file, bytes).unwrap();
                assert!(proven.damaged.is_empty(), "{file}");
                let content = self.disk.read(&file, 0, usize::try_from(bytes).unwrap()).unwrap();
                (file, content)
            })
            .collect()
    }
}

fn batch_of(records: &[Content], packed: bool) -> Bytes {
    let codec = if packed { Compression::Lz4 } else { Compression::None };
    let mut builder = Builder::new().compression(codec);
    for (key, value) in records {
        let bytes = |byte: u8| Bytes::from(vec![byte; 5]);
        builder.push(&NewRecord { key: key.map(bytes), value: value.map(bytes), ..NewRecord::default() });
    }
    builder.build()
}

/// Holds what is left against all that was written.
fn check(rig: &Rig, written: &[Content], all_done: bool) {
    let (topic, partition) = at();
    let start = rig.logs.merged_start(topic, partition);
    let left = rig.read_from(start);
    let mut latest = BTreeMap::new();
    for (offset, (key, _)) in (0u64..).zip(written) {
        latest.insert(*key, offset);
    }
    for (offset, content) in (0u64..).zip(written).filter(|(offset, _)| *offset >= start) {
        let (key, value) = content;
        match left.get(&offset) {
            Some(there) => assert_eq!(there, content, "at {offset}"),
            None => {
                let superseded = key.is_some() && latest[key] > offset;
                assert!(superseded || (key.is_some() && value.is_none()), "{content:?} at {offset} is gone");
            }
        }
    }
    if all_done {
        rig.compacted_files();
    }
}

fn step() -> impl Strategy<Value = Step> {
    let content = (prop::option::weighted(0.95, 0u8..8), prop::option::weighted(0.8, any::<u8>()));
    let write = (1u16..4, prop::collection::vec(content, 1..6), any::<bool>());
    prop_oneof![
        12 => write.prop_map(|(site, records, packed)| Step::Write { site, records, packed }),
        4 => (prop_oneof![0u16..1, 0u16..1000], 0u64..60)
            .prop_map(|(dirty_permille, tombstones_ms)| Step::Mark { dirty_permille, tombstones_ms }),
        1 => (0u64..60).prop_map(Step::Trim),
        1 => (0u8..1).prop_map(|_| Step::Expire),
    ]
}

fn pace() -> impl Strategy<Value = Pace> {
    prop_oneof![4 => (0usize..9).prop_map(Pace::Work), 1 => (0u8..1).prop_map(|_| Pace::Restart)]
}

proptest! {
    #[test]
    fn only_what_is_superseded_goes_and_two_sites_make_the_same_of_it(
        steps in prop::collection::vec((step(), pace(), pace()), 1..60),
        keys in 2usize..20,
    ) {
        let (mut slow, mut quick) = (Rig::new(keys, 60), Rig::new(keys, 100_000));
        let mut written = Vec::new();
        for (step, one, other) in &steps {
            for (rig, pace) in [(&mut slow, one), (&mut quick, other)] {
                rig.take(step);
                rig.keep_pace(*pace);
            }
            if let Step::Write { records, .. } = step {
                written.extend(records.iter().copied());
            }
            check(&slow, &written, false);
            check(&quick, &written, false);
        }
        slow.finish();
        quick.finish();
        check(&slow, &written, true);
        check(&quick, &written, true);
        let (topic, partition) = at();
        assert_eq!(slow.logs.generation(topic, partition), quick.logs.generation(topic, partition));
        assert_eq!(slow.compacted_files(), quick.compacted_files());
        let start = slow.logs.merged_start(topic, partition);
        assert_eq!(slow.read_from(start), quick.read_from(start));
        let digest = |rig: &Rig| rig.logs.digest(&rig.disk, at(), u64::MAX).unwrap();
        assert_eq!(digest(&slow), digest(&quick));
    }
}

fn written(rig: &mut Rig, records: &[Content]) {
    rig.take(&Step::Write { site: 1, records: records.to_vec(), packed: false });
}

fn compact(rig: &mut Rig, tombstones_ms: u64) {
    rig.take(&Step::Mark { dirty_permille: 0, tombstones_ms });
    rig.finish();
}

#[test]
fn every_key_is_left_once_at_its_offset_and_tombstones_go_in_time() {
    let mut rig = Rig::new(100, 1000);
    written(&mut rig, &[(Some(1), Some(1)), (Some(2), Some(2)), (Some(1), Some(3))]);
    written(&mut rig, &[(Some(2), None)]);
    written(&mut rig, &[(Some(3), Some(4)), (None, Some(5))]);
    written(&mut rig, &[(Some(9), Some(9))]);
    compact(&mut rig, 15);
    // The tombstone stays in the first pass that covers it, whatever its age.
    let left = BTreeMap::from([
        (2, (Some(1), Some(3))),
        (3, (Some(2), None)),
        (4, (Some(3), Some(4))),
        (5, (None, Some(5))),
        (6, (Some(9), Some(9))),
    ]);
    assert_eq!(rig.read_from(0), left);
    assert_eq!(rig.read_from(3).len(), 4);
    written(&mut rig, &[(Some(8), Some(8))]);
    compact(&mut rig, 15);
    assert!(rig.read_from(0).contains_key(&3), "10 ms are not 15");
    written(&mut rig, &[(Some(8), Some(8))]);
    compact(&mut rig, 15);
    assert!(!rig.read_from(0).contains_key(&3));
    let (topic, partition) = at();
    assert_eq!(rig.logs.generation(topic, partition).0, 3);
}

#[test]
fn origin_segments_go_behind_a_pass_and_the_files_of_a_generation_behind_the_next() {
    let mut rig = Rig::new(100, 1000);
    for round in 0..30u8 {
        written(&mut rig, &[(Some(round % 3), Some(round)), (Some(3), Some(round))]);
    }
    let origins = |rig: &Rig| {
        let all = rig.disk.list(&FileName::root()).unwrap();
        all.iter().filter(|file| file.as_str().contains("/origin/") && file.last().ends_with(".log")).count()
    };
    let before = origins(&rig);
    assert!(before > 5);
    compact(&mut rig, 0);
    let first = rig.compacted_files();
    written(&mut rig, &[(Some(7), Some(7))]);
    compact(&mut rig, 0);
    for _ in 0..3 {
        rig.keep_pace(Pace::Restart);
    }
    assert_eq!(origins(&rig), 1, "of {before}");
    let there = rig.disk.list(&FileName::root()).unwrap();
    assert!(first.keys().all(|file| !there.contains(file)), "the first generation is gone");
    assert_eq!(rig.read_from(0).len(), 5);
}

#[test]
fn a_lost_index_of_a_generation_is_built_again() {
    let mut rig = Rig::new(100, 1000);
    for round in 0..30u8 {
        written(&mut rig, &[(Some(round % 7), Some(round)), (Some(round), Some(round))]);
    }
    compact(&mut rig, 0);
    let left = rig.read_from(0);
    let index = rig.compacted_files().into_keys().find(|file| file.last().ends_with(".index")).unwrap();
    rig.disk.remove(&index).unwrap();
    rig.keep_pace(Pace::Restart);
    assert_eq!(rig.read_from(0), left);
    rig.logs.rebuild_index(&mut rig.disk, &index).unwrap();
    assert_eq!(rig.read_from(0), left);
}
