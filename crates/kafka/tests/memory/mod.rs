//! A broker that keeps everything in memory and believes every batch: what the front's tests talk to.

mod groups;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka::broker::{
    AlterTopic, Answered, Broker, ClusterView, Commit, Committed, CreatePartitions, CreateTopic,
    DeleteRecords, FoundOffset, GroupDescription, GroupListing, GroupRefusal, GroupWanted, Heartbeat,
    HomeView, Join, JoinRefusal, Joined, KnownEnd, Leave, OffsetAt, OffsetQuery, ProduceBatch,
    ProduceRefusal, Produced, ProducerId, ProducerIdRefusal, Read, ReadData, ReadRefusal, SettingChange,
    SettingKind, SettingSpec, SiteView, SyncGroup, Synced, TopicRefusal, TopicView,
};
use tokio::sync::watch;
use uuid::Uuid;

use groups::Groups;

/// A group that another site coordinates.
pub(crate) const ELSEWHERE: &str = "elsewhere";

/// A record batch begins with its base offset and its length, and its header takes this much.
const BATCH_HEADER_BYTES: usize = 61;

/// A batch as it is read.
#[derive(Clone)]
struct Stored {
    base: i64,
    next: i64,
    time_ms: i64,
    head: Bytes,
    rest: Bytes,
}

#[derive(Default)]
struct Log {
    batches: Vec<Stored>,
    start: i64,
    end: i64,
}

struct State {
    view: Arc<ClusterView>,
    logs: BTreeMap<(Uuid, u32), Log>,
    next_producer: i64,
    /// Batches in the order of their arrival, first record bytes only.
    arrivals: Vec<Bytes>,
    groups: Groups,
}

/// Everything in memory.
pub(crate) struct Memory {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
    /// While true, appends are taken but not answered.
    hold: watch::Sender<bool>,
    /// Answered requests and open connections, as the front tells of them.
    told: Mutex<(Vec<Answered>, usize)>,
}

impl Memory {
    /// A cluster of two sites of which this is the first; ports are those of its homes.
    pub(crate) fn new(homes: &[(&str, u16)]) -> Arc<Memory> {
        let mut view = ClusterView::empty("memory-cluster".into(), 1);
        for (id, name) in [(1, "eu-west"), (2, "us-east")] {
            view.sites.push(SiteView {
                id,
                name: name.into(),
                host: "127.0.0.1".into(),
                ports: BTreeMap::new(),
            });
        }
        for (name, port) in homes {
            let preference = if *name == "us-east" { vec![2, 1] } else { vec![1, 2] };
            view.homes.push(HomeView { name: (*name).into(), port: *port, preference });
        }
        view.topic_settings = Arc::new([
            setting("cleanup.policy", SettingKind::List, "delete", "What happens to old records."),
            setting("retention.ms", SettingKind::Long, "604800000", "How long records are kept."),
        ]);
        view.site_settings = Arc::new(BTreeMap::from([("site".into(), "eu-west".into())]));
        let state = State {
            view: Arc::new(view),
            logs: BTreeMap::new(),
            next_producer: 1 << 48,
            arrivals: Vec::new(),
            groups: Groups::default(),
        };
        Arc::new(Memory {
            state: Mutex::new(state),
            changed: watch::channel(0).0,
            hold: watch::channel(false).0,
            told: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds this")
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let outcome = change(&mut self.state());
        self.changed.send_modify(|count| *count += 1);
        outcome
    }

    /// Changes what the cluster looks like.
    pub(crate) fn edit_view(&self, edit: impl FnOnce(&mut ClusterView)) {
        self.change(|state| edit(Arc::make_mut(&mut state.view)));
    }

    /// So many more groups like this one: `name-0`, `name-1`, …
    pub(crate) fn copy_group(&self, name: &str, count: usize) {
        self.change(|state| state.groups.copy(name, count));
    }

    /// Answers to appends are held back from now on, or no longer.
    pub(crate) fn hold(&self, held: bool) {
        self.hold.send_replace(held);
    }

    /// Batches in the order in which they came.
    pub(crate) fn arrivals(&self) -> Vec<Bytes> {
        self.state().arrivals.clone()
    }

    /// Answered requests and open connections, as the front told of them.
    pub(crate) fn told(&self) -> (Vec<Answered>, usize) {
        self.told.lock().expect("no test panics while it holds this").clone()
    }

    /// Waits until `ready` says something.
    async fn until<T>(&self, mut ready: impl FnMut(&mut State) -> Option<T>) -> T {
        let mut changes = self.changed.subscribe();
        loop {
            changes.borrow_and_update();
            if let Some(value) = ready(&mut self.state()) {
                return value;
            }
            changes.changed().await.expect("the sender lives as long as self");
        }
    }
}

fn setting(key: &'static str, kind: SettingKind, default: &str, doc: &'static str) -> SettingSpec {
    SettingSpec { key, kind, default: default.into(), doc }
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// The last byte of a batch that is refused for the sake of its records.
pub(crate) const KEYLESS: u8 = 0xee;

fn store(log: &mut Log, records: &Bytes) -> Result<Produced, ProduceRefusal> {
    if records.len() < BATCH_HEADER_BYTES || records[16] != 2 {
        return Err(ProduceRefusal::Corrupt("no record batch".into()));
    }
    // Nothing is unpacked here: such a batch stands for one whose first and third record have no key.
    if records.last() == Some(&KEYLESS) {
        return Err(ProduceRefusal::Keyless { records: vec![0, 2] });
    }
    let base = log.end;
    let next = base + i64::from(i32_at(records, 23)) + 1;
    let mut head = BytesMut::from(&records[..16]);
    head[..8].copy_from_slice(&base.to_be_bytes());
    head[12..].fill(0);
    let time_ms = i64_at(records, 35);
    log.batches.push(Stored { base, next, time_ms, head: head.freeze(), rest: records.slice(16..) });
    log.end = next;
    Ok(Produced { base_offset: base, log_append_time_ms: None, log_start: log.start })
}

fn read_log(
    log: &Log,
    offset: i64,
    bytes_max: usize,
    left: &mut usize,
    first: &mut bool,
) -> Result<ReadData, ReadRefusal> {
    if offset < log.start {
        return Err(ReadRefusal::OutOfRange { offset, log_start: log.start });
    }
    let mut chunks = Vec::new();
    let mut room = bytes_max.min(*left);
    for batch in log.batches.iter().filter(|batch| batch.next > offset) {
        let size = batch.head.len() + batch.rest.len();
        if size > room && !*first {
            break;
        }
        *first = false;
        room = room.saturating_sub(size);
        *left = left.saturating_sub(size);
        chunks.extend([batch.head.clone(), batch.rest.clone()]);
    }
    let (high_watermark, last_stable) = (log.end, log.end);
    Ok(ReadData { chunks, high_watermark, last_stable, log_start: log.start, aborted: Vec::new() })
}

fn find_offset(log: &Log, at: OffsetAt) -> Option<FoundOffset> {
    let of = |batch: &Stored| FoundOffset { offset: batch.base, time_ms: Some(batch.time_ms) };
    match at {
        OffsetAt::Earliest => Some(FoundOffset { offset: log.start, time_ms: None }),
        OffsetAt::Latest => Some(FoundOffset { offset: log.end, time_ms: None }),
        OffsetAt::MaxTime => log.batches.iter().max_by_key(|batch| batch.time_ms).map(of),
        OffsetAt::TimeMs(time) => log.batches.iter().find(|batch| batch.time_ms >= time).map(of),
    }
}

impl State {
    fn create(&mut self, wanted: CreateTopic) -> Result<Arc<TopicView>, TopicRefusal> {
        if self.view.topics.contains_key(&wanted.name) {
            return Err(TopicRefusal::Exists(wanted.name));
        }
        let CreateTopic { name, partitions, settings, only_validate } = wanted;
        let id = Uuid::from_u128(u128::from(crc(&name)) << 64 | 0x8000_0000_0000_0001);
        let partitions = partitions.unwrap_or(self.view.default_partitions);
        let topic = Arc::new(TopicView { name, id, partitions, internal: false, read_only: false, settings });
        if !only_validate {
            Arc::make_mut(&mut self.view).add_topic(Arc::clone(&topic));
        }
        Ok(topic)
    }

    fn alter(&mut self, topic: Uuid, edit: impl FnOnce(&mut TopicView)) -> Result<(), TopicRefusal> {
        let mut changed = TopicView::clone(self.view.topics_by_id.get(&topic).ok_or(TopicRefusal::Unknown)?);
        edit(&mut changed);
        Arc::make_mut(&mut self.view).add_topic(Arc::new(changed));
        Ok(())
    }
}

fn crc(name: &str) -> u32 {
    name.bytes().fold(17, |sum: u32, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)))
}

impl Broker for Memory {
    fn view(&self) -> Arc<ClusterView> {
        Arc::clone(&self.state().view)
    }

    async fn produce(&self, batch: ProduceBatch) -> Result<Produced, ProduceRefusal> {
        let produced = self.change(|state| {
            state.arrivals.push(batch.records.clone());
            store(state.logs.entry((batch.topic, batch.partition)).or_default(), &batch.records)
        });
        let open = self.hold.subscribe().wait_for(|held| !held).await.is_ok();
        assert!(open, "the sender lives as long as self");
        produced
    }

    async fn new_producer_id(&self) -> Result<ProducerId, ProducerIdRefusal> {
        let id = self.change(|state| {
            state.next_producer += 1;
            state.next_producer
        });
        Ok(ProducerId { id, epoch: 0 })
    }

    async fn read(&self, read: Read) -> Vec<Result<ReadData, ReadRefusal>> {
        let mut state = self.state();
        let (mut left, mut first) = (read.bytes_max, true);
        let one = |wanted: &kafka::broker::ReadPartition| {
            let log = state.logs.entry((wanted.topic, wanted.partition)).or_default();
            read_log(log, wanted.offset, wanted.bytes_max, &mut left, &mut first)
        };
        read.partitions.iter().map(one).collect()
    }

    async fn readable(&self, known: Vec<KnownEnd>) {
        let moved = |state: &mut State, known: &KnownEnd| {
            state.logs.get(&(known.topic, known.partition)).map_or(0, |log| log.end) != known.end
        };
        self.until(|state| known.iter().any(|known| moved(state, known)).then_some(())).await;
    }

    async fn offsets(&self, queries: Vec<OffsetQuery>) -> Vec<Result<Option<FoundOffset>, ReadRefusal>> {
        let mut state = self.state();
        let mut one = |query: &OffsetQuery| {
            let log = state.logs.entry((query.topic, query.partition)).or_default();
            Ok(find_offset(log, query.at))
        };
        queries.iter().map(&mut one).collect()
    }

    async fn create_topic(&self, wanted: CreateTopic) -> Result<Arc<TopicView>, TopicRefusal> {
        self.change(|state| state.create(wanted))
    }

    async fn delete_topic(&self, topic: Uuid) -> Result<(), TopicRefusal> {
        self.change(|state| {
            let view = Arc::make_mut(&mut state.view);
            let gone = view.topics_by_id.remove(&topic).ok_or(TopicRefusal::Unknown)?;
            view.topics.remove(&gone.name);
            state.logs.retain(|(id, _), _| *id != topic);
            Ok(())
        })
    }

    async fn create_partitions(&self, wanted: CreatePartitions) -> Result<(), TopicRefusal> {
        self.change(|state| match wanted.only_validate {
            true => Ok(()),
            false => state.alter(wanted.topic, |topic| topic.partitions = wanted.total),
        })
    }

    async fn alter_topic(&self, wanted: AlterTopic) -> Result<(), TopicRefusal> {
        let AlterTopic { topic, changes, only_validate } = wanted;
        for key in changes.keys() {
            if !self.view().topic_settings.iter().any(|spec| spec.key == key) {
                return Err(TopicRefusal::BadSetting { key: key.clone(), reason: "no such setting".into() });
            }
        }
        if only_validate {
            return Ok(());
        }
        self.change(|state| {
            state.alter(topic, |topic| {
                for (key, change) in changes {
                    match change {
                        SettingChange::Set(value) => drop(topic.settings.insert(key, value)),
                        SettingChange::Reset => drop(topic.settings.remove(&key)),
                    }
                }
            })
        })
    }

    async fn delete_records(&self, wanted: DeleteRecords) -> Result<i64, TopicRefusal> {
        self.change(|state| {
            let log = state.logs.entry((wanted.topic, wanted.partition)).or_default();
            let before = wanted.before.unwrap_or(log.end);
            if before > log.end {
                return Err(TopicRefusal::BeyondEnd(before));
            }
            log.start = log.start.max(before);
            Ok(log.start)
        })
    }

    fn answered(&self, answered: Answered) {
        self.told.lock().expect("no test panics while it holds this").0.push(answered);
    }

    fn connected(&self, connections: usize) {
        self.told.lock().expect("no test panics while it holds this").1 = connections;
    }

    fn coordinator(&self, _group: &str) -> Option<i32> {
        Some(1)
    }

    async fn join(&self, join: Join) -> Result<Joined, JoinRefusal> {
        let member = self.change(|state| state.groups.join(&join))?;
        // A short round, so that members which join together are one generation.
        tokio::time::sleep(Duration::from_millis(100)).await;
        self.change(|state| state.groups.close_round(&join.group));
        let answer = self.until(|state| state.groups.joined(&join.group, &member)).await;
        answer.map_err(|why| JoinRefusal { why, member })
    }

    async fn sync(&self, sync: SyncGroup) -> Result<Synced, GroupRefusal> {
        self.change(|state| state.groups.assign(&sync))?;
        self.until(|state| state.groups.synced(&sync)).await
    }

    async fn heartbeat(&self, beat: Heartbeat) -> Result<(), GroupRefusal> {
        self.state().groups.heartbeat(&beat)
    }

    async fn leave(&self, leave: Leave) -> Result<Vec<Result<(), GroupRefusal>>, GroupRefusal> {
        Ok(self
            .change(|state| leave.members.iter().map(|who| state.groups.leave(&leave.group, who)).collect()))
    }

    async fn commit(&self, commit: Commit) -> Result<Vec<Result<(), GroupRefusal>>, GroupRefusal> {
        self.change(|state| state.groups.commit(commit))
    }

    async fn committed(&self, wanted: GroupWanted) -> Result<Vec<Committed>, GroupRefusal> {
        self.state().groups.committed(&wanted)
    }

    async fn list_groups(&self) -> Result<Vec<GroupListing>, GroupRefusal> {
        Ok(self.state().groups.list())
    }

    async fn describe_group(&self, group: String) -> Result<GroupDescription, GroupRefusal> {
        self.state().groups.describe(&group)
    }

    async fn delete_group(&self, group: String) -> Result<(), GroupRefusal> {
        self.change(|state| state.groups.delete(&group))
    }
}
