//! Logs against a naive model: lists of batches in memory.

mod compaction;

use std::collections::BTreeMap;

use batch::{Builder, NewRecord};
use bytes::Bytes;
use clock::Stamp;
use disk::{Disk, FileName, MemoryDisk};
use entry::{Incarnation, JournalId, SiteId, TopicId, origin_base};
use proptest::prelude::{Just, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest};
use uuid::Uuid;

use crate::{At, Logs, LogsError, LogsState, OffsetError, OriginKey, Plan, TimeHit, names, read, verify};

/// Small enough that a few batches fill one.
const SEGMENT: u32 = 400;

fn at() -> At {
    (TopicId(Uuid::from_u128(1)), 0)
}

fn journal(site: u16, incarnation: u32) -> JournalId {
    JournalId { site: SiteId(site), incarnation: Incarnation(incarnation) }
}

fn key(journal: JournalId) -> OriginKey {
    OriginKey { topic: at().0, partition: at().1, journal }
}

/// A batch of some records, the last of which has the timestamp.
fn batch(records: u32, timestamp: i64, value: u8) -> Bytes {
    let mut builder = Builder::new();
    for back in (0..records).rev() {
        builder.push(&NewRecord::value(timestamp - i64::from(back), vec![value; 20]));
    }
    builder.build()
}

/// One step of the caller.
#[derive(Debug, Clone)]
enum Step {
    Origin(JournalId, Bytes),
    /// The journal's next batch that is not merged gets its place.
    Merge(JournalId),
    Publish,
    Checkpoint,
    /// The machine stops; of what was not synced, each file keeps as much as this says, and the rest is garbage or gone.
    Crash(u8),
}

/// A batch where it should be.
#[derive(Debug, Clone)]
struct Stands {
    offset: u64,
    records: u32,
    timestamp: i64,
    bytes: Vec<u8>,
}

#[derive(Debug, Clone, Default)]
struct Model {
    origins: BTreeMap<JournalId, Vec<Stands>>,
    merged_of: BTreeMap<JournalId, usize>,
    merged: Vec<Stands>,
    readable: usize,
}

/// The latest life that there can be: all are read.
fn last_of(site: u16) -> JournalId {
    journal(site, u32::MAX)
}

fn stands(list: &[Stands], start: u64, batch: &[u8]) -> Stands {
    let info = batch::parse(batch).unwrap().info();
    let offset = list.last().map_or(start, |last| last.offset + u64::from(last.records));
    let mut bytes = batch.to_vec();
    bytes[..8].copy_from_slice(&offset.to_be_bytes());
    bytes[12..16].fill(0);
    Stands { offset, records: info.records, timestamp: info.max_timestamp, bytes }
}

impl Model {
    fn next_to_merge(&self, journal: JournalId) -> Option<&Stands> {
        let merged = self.merged_of.get(&journal).copied().unwrap_or(0);
        self.origins.get(&journal)?.get(merged)
    }

    /// What a site wrote in its lives up to this one.
    fn lives(&self, latest: JournalId) -> Vec<Stands> {
        let lives = self.origins.range(JournalId::genesis(latest.site)..=latest);
        lives.flat_map(|(_, list)| list.clone()).collect()
    }
}

/// The real thing beside the model.
#[derive(Debug)]
struct Rig {
    disk: MemoryDisk,
    logs: Logs,
    model: Model,
    durable: LogsState,
    /// Files as they were when the last checkpoint was durable.
    synced: BTreeMap<FileName, Bytes>,
    since: Vec<Step>,
    model_then: Model,
}

impl Rig {
    fn new() -> Rig {
        Rig {
            disk: MemoryDisk::new(),
            logs: Logs::new().with_segment_bytes(SEGMENT),
            model: Model::default(),
            durable: LogsState::default(),
            synced: BTreeMap::new(),
            since: Vec::new(),
            model_then: Model::default(),
        }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Origin(journal, batch) => {
                let list = self.model.origins.entry(*journal).or_default();
                let stands = stands(list, origin_base(journal.incarnation), batch);
                let placed = self.logs.append_origin(&mut self.disk, key(*journal), batch).unwrap();
                assert_eq!((placed.origin_offset, placed.records), (stands.offset, stands.records));
                list.push(stands);
            }
            Step::Merge(journal) => {
                let Some(next) = self.model.next_to_merge(*journal).cloned() else { return };
                let merged = stands(&self.model.merged, 0, &next.bytes);
                let stamp = Stamp::from_raw(self.model.merged.len() as u64);
                let placed =
                    self.logs.append_merged(&mut self.disk, key(*journal), next.offset, stamp).unwrap();
                assert_eq!(placed, merged.offset);
                self.model.merged.push(merged);
                *self.model.merged_of.entry(*journal).or_default() += 1;
            }
            Step::Publish => {
                let grew = self.model.readable < self.model.merged.len();
                assert_eq!(self.logs.publish(), if grew { vec![at()] } else { vec![] });
                self.model.readable = self.model.merged.len();
            }
            Step::Checkpoint => return self.checkpoint(),
            Step::Crash(kept) => return self.crash(*kept),
        }
        self.since.push(step.clone());
    }

    fn checkpoint(&mut self) {
        let checkpoint = self.logs.checkpoint();
        for file in &checkpoint.sync {
            self.synced.insert(file.clone(), whole(&self.disk, file));
        }
        let bytes = postcard::to_stdvec(&checkpoint.state).unwrap();
        self.durable = postcard::from_bytes(&bytes).unwrap();
        self.logs.checkpointed(&mut self.disk).unwrap();
        self.since.clear();
        self.model_then = self.model.clone();
    }

    fn crash(&mut self, kept: u8) {
        for file in files(&self.disk) {
            let synced = self.synced.get(&file).map_or(0, Bytes::len);
            let bytes = self.disk.file_mut(&file).unwrap();
            let torn = synced + (bytes.len() - synced) * usize::from(kept) / 255;
            match kept % 3 {
                0 => bytes.truncate(torn),
                1 => bytes[torn..].fill(0xee),
                _ => bytes.extend([0; 1000]),
            }
        }
        self.logs = Logs::restore(&mut self.disk, &self.durable).unwrap().with_segment_bytes(SEGMENT);
        self.model = self.model_then.clone();
        for step in std::mem::take(&mut self.since) {
            self.run(&step);
        }
    }

    fn check(&self) {
        let readable = &self.model.merged[..self.model.readable];
        self.check_plans(readable, 0, |offset, max| self.logs.plan_merged(&self.disk, at(), offset, max));
        self.check_times(readable, |time| match time {
            Some(time) => self.logs.merged_by_time(&self.disk, at(), time),
            None => self.logs.merged_newest(&self.disk, at()),
        });
        for latest in (0..3).flat_map(|site| (0..3).map(move |life| journal(site, life))) {
            let list = self.model.lives(latest);
            // Nothing is gone: who began to read before a later life wrote goes on where that begins.
            assert_eq!(self.logs.origin_start(at().0, at().1, latest), 0);
            assert_eq!(self.logs.origin_end(at().0, at().1, latest), end(&list, 0));
            self.check_plans(&list, 0, |offset, max| {
                self.logs.plan_origin(&self.disk, at(), latest, offset, max)
            });
            self.check_times(&list, |time| match time {
                Some(time) => self.logs.origin_by_time(&self.disk, at(), latest, time),
                None => self.logs.origin_newest(&self.disk, at(), latest),
            });
        }
        assert_eq!(self.logs.merged_end(at().0, at().1), end(readable, 0));
    }

    fn check_plans(
        &self,
        list: &[Stands],
        start: u64,
        plan: impl Fn(u64, usize) -> Result<Plan, OffsetError>,
    ) {
        let end = end(list, start);
        assert_eq!(plan(end + 1, 1), Err(OffsetError::AboveEnd { offset: end + 1, end }));
        if let Some(below) = start.checked_sub(1) {
            assert_eq!(plan(below, 1), Err(OffsetError::BelowStart { offset: below, start }));
        }
        let before = list.first().map_or(end, |first| first.offset.min(start + 2));
        let inside = list.iter().flat_map(|batch| batch.offset..batch.offset + u64::from(batch.records));
        for offset in (start..before).chain(inside).chain([end]) {
            for max in [0, 250, 1 << 20] {
                let got = plan(offset, max).unwrap();
                let (bytes, next) = naive(list, offset, max);
                assert_eq!(got.next_offset, next);
                assert_eq!(read(&self.disk, &got.slices).unwrap(), bytes);
            }
        }
    }

    fn check_times(&self, list: &[Stands], find: impl Fn(Option<i64>) -> Result<Option<TimeHit>, LogsError>) {
        let hit = |batch: &Stands| TimeHit { offset: batch.offset, max_timestamp: batch.timestamp };
        for time in -1..60 {
            let first = list.iter().find(|batch| batch.timestamp >= time).map(hit);
            assert_eq!(find(Some(time)).unwrap(), first, "at {time}");
        }
        let newest = list.iter().map(|batch| batch.timestamp).max();
        let first = list.iter().find(|batch| Some(batch.timestamp) == newest).map(hit);
        assert_eq!(find(None).unwrap(), first);
    }
}

fn end(list: &[Stands], start: u64) -> u64 {
    list.last().map_or(start, |last| last.offset + u64::from(last.records))
}

fn naive(list: &[Stands], offset: u64, max: usize) -> (Vec<u8>, u64) {
    let (mut bytes, mut next) = (Vec::new(), offset);
    for batch in list.iter().filter(|batch| batch.offset + u64::from(batch.records) > offset) {
        if !bytes.is_empty() && bytes.len() + batch.bytes.len() > max {
            break;
        }
        bytes.extend(&batch.bytes);
        next = batch.offset + u64::from(batch.records);
    }
    (bytes, next)
}

fn files(disk: &MemoryDisk) -> Vec<FileName> {
    disk.list(&FileName::root()).unwrap()
}

fn whole(disk: &MemoryDisk, file: &FileName) -> Bytes {
    let len = disk.len(file).unwrap().unwrap();
    disk.read(file, 0, usize::try_from(len).unwrap()).unwrap()
}

fn everything(disk: &MemoryDisk) -> BTreeMap<FileName, Bytes> {
    files(disk).into_iter().map(|file| (file.clone(), whole(disk, &file))).collect()
}

fn journals() -> impl Strategy<Value = JournalId> {
    (0u16..3, 0u32..2).prop_map(|(site, incarnation)| journal(site, incarnation))
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let batches =
        (1u32..5, 0i64..50, any::<u8>()).prop_map(|(records, time, value)| batch(records, time, value));
    let step = prop_oneof![
        6 => (journals(), batches).prop_map(|(journal, batch)| Step::Origin(journal, batch)),
        6 => journals().prop_map(Step::Merge),
        2 => Just(Step::Publish),
        1 => Just(Step::Checkpoint),
        1 => any::<u8>().prop_map(Step::Crash),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(64))]

    #[test]
    fn logs_are_what_a_list_of_batches_would_be(steps in steps()) {
        let mut rig = Rig::new();
        steps.iter().for_each(|step| rig.run(step));
        rig.check();
    }

    #[test]
    fn a_crash_leaves_no_trace_in_any_file(steps in steps(), kept: u8) {
        let (mut calm, mut hit) = (Rig::new(), Rig::new());
        for step in &steps {
            hit.run(step);
            if !matches!(step, Step::Crash(_)) {
                calm.run(step);
            }
        }
        hit.run(&Step::Crash(kept));
        prop_assert_eq!(everything(&hit.disk), everything(&calm.disk));
        let digest = |rig: &Rig| rig.logs.digest(&rig.disk, at(), u64::MAX).unwrap();
        prop_assert_eq!(digest(&hit), digest(&calm));
    }

    #[test]
    fn digests_are_equal_exactly_as_far_as_logs_are(steps in steps(), other in 0usize..60) {
        let (mut one, mut two) = (Rig::new(), Rig::new());
        for (number, step) in steps.iter().enumerate() {
            one.run(step);
            match step {
                Step::Origin(journal, _) if number == other => two.run(&Step::Origin(*journal, batch(1, 99, 9))),
                step => two.run(step),
            }
        }
        let ends = |rig: &Rig| rig.model.merged.iter().map(|batch| batch.offset + u64::from(batch.records)).collect();
        let (ends, other_ends): (Vec<_>, Vec<_>) = (ends(&one), ends(&two));
        for (at_end, other_end) in ends.iter().zip(&other_ends) {
            let of = |rig: &Rig, upto| rig.logs.digest(&rig.disk, at(), upto).unwrap();
            let held = |rig: &Rig, upto| -> Vec<Vec<u8>> {
                let below = rig.model.merged.iter().take_while(|batch| batch.offset < upto);
                below.map(|batch| batch.bytes.clone()).collect()
            };
            let same = held(&one, *at_end) == held(&two, *other_end);
            prop_assert_eq!(of(&one, *at_end) == of(&two, *other_end), same);
        }
    }

    #[test]
    fn a_lost_or_damaged_segment_index_is_built_again(steps in steps(), damage: prop::sample::Index, byte: u8) {
        let mut rig = Rig::new();
        steps.iter().for_each(|step| rig.run(step));
        rig.run(&Step::Checkpoint);
        let before = everything(&rig.disk);
        for file in files(&rig.disk).iter().filter(|file| file.as_str().contains("/origin/")).filter(|file| file.as_str().ends_with(".index")) {
            let bytes = rig.disk.file_mut(file).unwrap();
            let hit = damage.index(bytes.len());
            bytes[hit] ^= byte | 1;
            if byte % 3 == 0 {
                bytes.truncate(hit);
            }
        }
        rig.logs = Logs::restore(&mut rig.disk, &rig.durable).unwrap().with_segment_bytes(SEGMENT);
        prop_assert_eq!(everything(&rig.disk), before);
        rig.check();
    }
}

#[test]
fn what_is_not_published_is_not_readable() {
    let mut rig = Rig::new();
    rig.run(&Step::Origin(journal(0, 0), batch(3, 1, 1)));
    rig.run(&Step::Merge(journal(0, 0)));
    let above = OffsetError::AboveEnd { offset: 1, end: 0 };
    assert_eq!(rig.logs.plan_merged(&rig.disk, at(), 1, 100), Err(above));
    assert_eq!(rig.logs.plan_merged(&rig.disk, at(), 0, 100), Ok(Plan::default()));
    rig.run(&Step::Publish);
    assert_eq!(rig.logs.plan_merged(&rig.disk, at(), 1, 100).unwrap().next_offset, 3);
}

#[test]
fn nothing_is_readable_where_nobody_wrote() {
    let (disk, logs) = (MemoryDisk::new(), Logs::new());
    assert_eq!(logs.plan_merged(&disk, at(), 0, 100), Ok(Plan::default()));
    let above = OffsetError::AboveEnd { offset: 5, end: 0 };
    assert_eq!(logs.plan_origin(&disk, at(), last_of(1), 5, 100), Err(above));
    assert_eq!(logs.merged_newest(&disk, at()), Ok(None));
}

#[test]
fn a_reader_goes_on_in_the_next_life_of_a_site() {
    let mut rig = Rig::new();
    rig.run(&Step::Origin(journal(1, 0), batch(2, 1, 1)));
    rig.run(&Step::Origin(journal(1, 1), batch(1, 2, 2)));
    let plan = rig.logs.plan_origin(&rig.disk, at(), last_of(1), 2, 100).unwrap();
    assert_eq!(plan.slices[0].base_offset, 1 << 40);
    assert_eq!(plan.next_offset, (1 << 40) + 1);
}

#[test]
fn segments_roll_by_content_alone() {
    let (mut one, mut other) = (Rig::new(), Rig::new());
    let batches: Vec<_> = (0..40).map(|n| batch(1 + n % 7, i64::from(n), n as u8)).collect();
    for batch in &batches {
        one.run(&Step::Origin(journal(0, 0), batch.clone()));
    }
    for (number, batch) in batches.iter().enumerate() {
        other.run(&Step::Origin(journal(0, 0), batch.clone()));
        other.run(&Step::Origin(journal(1, 0), batches[0].clone()));
        if number % 5 == 0 {
            other.run(&Step::Checkpoint);
            other.run(&Step::Crash(0));
        }
    }
    let of =
        |rig: &Rig| everything(&rig.disk).into_iter().filter(|(file, _)| file.as_str().contains("/0.0/"));
    let (one, other): (Vec<_>, Vec<_>) = (of(&one).collect(), of(&other).collect());
    assert!(one.len() > 10, "several segments were written");
    assert_eq!(one, other);
    let logs = one.iter().filter(|(file, _)| file.as_str().ends_with(".log"));
    assert!(logs.clone().all(|(_, bytes)| bytes.len() <= SEGMENT as usize));
    let all: usize = logs.map(|(_, bytes)| bytes.len()).sum();
    assert_eq!(all, batches.iter().map(Bytes::len).sum::<usize>());
}

#[test]
fn a_damaged_batch_is_not_served_and_its_file_is_named() {
    let mut rig = Rig::new();
    rig.run(&Step::Origin(journal(0, 0), batch(3, 1, 1)));
    let plan = rig.logs.plan_origin(&rig.disk, at(), last_of(0), 0, 100).unwrap();
    let file = plan.slices[0].file.clone();
    for place in 8..plan.slices[0].bytes as usize {
        let mut disk = rig.disk.clone();
        disk.file_mut(&file).unwrap()[place] ^= 1;
        let read = read(&disk, &plan.slices);
        if (12..16).contains(&place) {
            assert!(read.is_ok(), "the leader epoch is set anew");
        } else {
            assert!(matches!(read, Err(LogsError::Damaged { file: named, .. }) if named == file), "{place}");
        }
    }
}

#[test]
fn what_is_missing_or_damaged_keeps_no_log_from_being_taken_up() {
    let mut rig = Rig::new();
    for value in 1..=3 {
        rig.run(&Step::Origin(journal(0, 0), batch(3, 1, value)));
        rig.run(&Step::Merge(journal(0, 0)));
    }
    rig.run(&Step::Publish);
    rig.run(&Step::Checkpoint);
    let folder = names::folder(at().0, at().1);
    let (merged, segment) = (names::merged(&folder), names::segment(&folder, journal(0, 0), 0));
    let index = names::index(&folder, journal(0, 0), 0);
    let harms: [fn(&mut Vec<u8>); 4] = [
        |bytes| bytes.truncate(bytes.len() - 8),
        |bytes| bytes.truncate(1),
        |bytes| bytes[5] ^= 1,
        |bytes| *bytes.last_mut().unwrap() ^= 1,
    ];
    for hurt in [vec![&merged], vec![&segment], vec![&index], vec![&merged, &segment, &index]] {
        for harm in harms.into_iter().map(Some).chain([None]) {
            let mut disk = rig.disk.clone();
            for file in &hurt {
                match harm {
                    Some(harm) => harm(disk.file_mut(file).unwrap()),
                    None => disk.remove(file).unwrap(),
                }
            }
            let mut logs = Logs::restore(&mut disk, &rig.durable).unwrap();
            assert_eq!(logs.all_extents(), rig.logs.all_extents());
            // (An index is built again at once, unless its segment does not even say where batches begin.)
            for file in hurt.iter().filter(|file| ***file != index) {
                let proven = verify(&disk, file, logs.all_extents()[*file]).unwrap();
                assert!(!proven.damaged.is_empty(), "{file}");
            }
            // It goes on behind that, and what is taken back is as if it had never been gone.
            let placed = logs.append_origin(&mut disk, key(journal(1, 0)), &batch(2, 1, 9)).unwrap();
            logs.append_merged(&mut disk, key(journal(1, 0)), placed.origin_offset, Stamp::from_raw(9))
                .unwrap();
            for file in [&merged, &segment] {
                let good = rig.disk.clone().file_mut(file).unwrap().clone();
                disk.file_mut(file).unwrap()[..good.len()].copy_from_slice(&good);
            }
            logs.rebuild_index(&mut disk, &index).unwrap();
            logs.publish();
            let plan = logs.plan_merged(&disk, at(), 0, 10_000).unwrap();
            assert_eq!(plan.slices.len(), 4);
            read(&disk, &plan.slices).unwrap();
            assert_eq!(verify(&disk, &merged, logs.all_extents()[&merged]).unwrap().damaged, []);
        }
    }
}

#[test]
fn a_merged_log_that_says_otherwise_than_its_checkpoint_is_refused() {
    let mut rig = Rig::new();
    rig.run(&Step::Origin(journal(0, 0), batch(3, 1, 1)));
    rig.run(&Step::Merge(journal(0, 0)));
    rig.run(&Step::Publish);
    rig.run(&Step::Checkpoint);
    let merged = names::merged(&names::folder(at().0, at().1));
    let record = rig.disk.file_mut(&merged).unwrap();
    // Another batch's place, with a checksum that fits.
    record[7] ^= 1;
    let fields = record.len() - 4;
    let crc = crc32c::crc32c(&record[..fields]);
    record[fields..].copy_from_slice(&crc.to_be_bytes());
    assert!(matches!(Logs::restore(&mut rig.disk, &rig.durable), Err(LogsError::Damaged { .. })));
}

#[test]
fn what_cannot_be_appended_is_refused() {
    let mut rig = Rig::new();
    let whole = batch(3, 1, 1);
    let cut = rig.logs.append_origin(&mut rig.disk, key(journal(0, 0)), &whole[..whole.len() - 1]);
    assert!(matches!(cut, Err(LogsError::NotABatch(_))));
    rig.run(&Step::Origin(journal(0, 0), whole));
    for offset in [1, 3] {
        let merged = rig.logs.append_merged(&mut rig.disk, key(journal(0, 0)), offset, Stamp::from_raw(1));
        assert!(matches!(merged, Err(LogsError::NoSuchBatch { .. })), "{offset}");
    }
}

#[test]
fn a_file_stays_to_be_synced_until_the_checkpoint_is_durable() {
    let mut rig = Rig::new();
    rig.run(&Step::Origin(journal(0, 0), batch(1, 1, 1)));
    let first = rig.logs.checkpoint().sync;
    assert_eq!(first.len(), 2);
    rig.run(&Step::Origin(journal(1, 0), batch(1, 1, 1)));
    assert_eq!(rig.logs.checkpoint().sync.len(), 4);
    rig.logs.checkpointed(&mut rig.disk).unwrap();
    assert_eq!(rig.logs.checkpoint().sync, []);
}

#[test]
fn a_removed_topic_takes_its_files_along_once_no_kept_checkpoint_names_them() {
    let mut rig = Rig::new();
    rig.run(&Step::Origin(journal(0, 0), batch(1, 1, 1)));
    rig.run(&Step::Merge(journal(0, 0)));
    rig.run(&Step::Publish);
    rig.run(&Step::Checkpoint);
    let (older, there) = (rig.durable.clone(), files(&rig.disk));
    rig.logs.remove_topic(at().0);
    assert_eq!(rig.logs.partitions(at().0), []);
    let newer = rig.logs.checkpoint();
    assert_eq!(newer.sync, []);
    rig.logs.checkpointed(&mut rig.disk).unwrap();
    assert_eq!(files(&rig.disk), there, "the checkpoint before still names them");
    // A restart from the newer one keeps them too, and it from the older one finds them.
    rig.logs = Logs::restore(&mut rig.disk, &newer.state).unwrap();
    assert_eq!(files(&rig.disk), there);
    assert_eq!(Logs::restore(&mut rig.disk, &older).unwrap().merged_end(at().0, at().1), 1);
    rig.logs.checkpoint();
    rig.logs.checkpointed(&mut rig.disk).unwrap();
    assert_eq!(files(&rig.disk), []);
    assert_eq!(Logs::restore(&mut rig.disk, &newer.state).unwrap().partitions(at().0), []);
}

#[test]
fn what_is_too_far_back_for_memory_is_read_from_the_index_file() {
    let mut rig = Rig::new();
    rig.logs = Logs::new();
    for number in 0..1500 {
        rig.run(&Step::Origin(journal(0, 0), batch(2, number, number as u8)));
        rig.run(&Step::Merge(journal(0, 0)));
    }
    rig.run(&Step::Publish);
    let (list, digest) = (rig.model.merged.clone(), rig.logs.digest(&rig.disk, at(), 700).unwrap());
    rig.run(&Step::Checkpoint);
    rig.logs = Logs::restore(&mut rig.disk, &rig.durable).unwrap();
    assert_eq!(rig.logs.digest(&rig.disk, at(), 700).unwrap(), digest);
    for offset in (0..3000).step_by(97) {
        let merged = rig.logs.plan_merged(&rig.disk, at(), offset, 20_000).unwrap();
        let origin = rig.logs.plan_origin(&rig.disk, at(), last_of(0), offset, 20_000).unwrap();
        assert_eq!(merged, origin);
        let (bytes, next) = naive(&list, offset, 20_000);
        assert_eq!((read(&rig.disk, &merged.slices).unwrap().to_vec(), merged.next_offset), (bytes, next));
        let hit = rig.logs.merged_by_time(&rig.disk, at(), offset as i64 / 2).unwrap().unwrap();
        assert_eq!(hit.offset, offset / 2 * 2);
    }
}

#[test]
fn a_log_that_begins_inside_of_a_batch_is_found_by_time_from_there_on() {
    let mut rig = Rig::new();
    for number in 0..3 {
        rig.run(&Step::Origin(journal(0, 0), batch(4, 10 * (number + 1), 1)));
        rig.run(&Step::Merge(journal(0, 0)));
    }
    rig.run(&Step::Publish);
    assert!(rig.logs.trim(&rig.disk, at(), 6).unwrap());
    let found = |time| rig.logs.merged_by_time(&rig.disk, at(), time).unwrap().unwrap();
    assert_eq!(found(15), TimeHit { offset: 6, max_timestamp: 20 });
    assert_eq!(found(21), TimeHit { offset: 8, max_timestamp: 30 });
    assert!(rig.logs.trim(&rig.disk, at(), 11).unwrap());
    let newest = rig.logs.merged_newest(&rig.disk, at()).unwrap();
    assert_eq!(newest, Some(TimeHit { offset: 11, max_timestamp: 30 }));
}

/// Some time that stamps can tell.
const NOON_MS: u64 = 1_767_225_600_000;

#[test]
fn a_segment_goes_when_nothing_of_it_is_left_and_its_files_two_checkpoints_later() {
    let (mut disk, mut logs) = (MemoryDisk::new(), Logs::new().with_segment_bytes(SEGMENT));
    let owner = journal(1, 0);
    for number in 0..12 {
        let placed = logs.append_origin(&mut disk, key(owner), &batch(2, 100 + number, 1)).unwrap();
        logs.append_merged(
            &mut disk,
            key(owner),
            placed.origin_offset,
            Stamp::from_unix_ms(NOON_MS + number as u64),
        )
        .unwrap();
    }
    logs.publish();
    let folder = FileName::new("logs").unwrap();
    let segments = |disk: &MemoryDisk| {
        let all = disk.list(&folder).unwrap();
        all.into_iter().filter(|file| file.last().ends_with(".log")).count()
    };
    let before = segments(&disk);
    assert!(before >= 4, "{before}");
    let kept = crate::Kept { since: Some(Stamp::from_unix_ms(NOON_MS + 9)), bytes: None };
    assert!(logs.expire(&disk, at(), kept).unwrap());
    assert_eq!(logs.merged_start(at().0, at().1), 18);
    assert!(logs.origin_start(at().0, at().1, last_of(1)) > 0);
    assert!(!logs.expire(&disk, at(), kept).unwrap(), "twice is once");
    let old = logs.checkpoint().state;
    assert_eq!(segments(&disk), before, "a checkpoint that knows them may be started from");
    logs.checkpointed(&mut disk).unwrap();
    let _ = Logs::restore(&mut disk.clone(), &old).unwrap();
    assert_eq!(segments(&disk), before);
    logs.checkpoint();
    logs.checkpointed(&mut disk).unwrap();
    assert!(segments(&disk) < before);
    let state = logs.checkpoint().state;
    let again = Logs::restore(&mut disk, &state).unwrap();
    assert_eq!(again.merged_start(at().0, at().1), 18);
    let plan = again.plan_merged(&disk, at(), 18, 1 << 20).unwrap();
    assert_eq!(plan.next_offset, 24);
    read(&disk, &plan.slices).unwrap();
}
