//! The node as the Kafka front sees it.
//!
//! Writing goes to the engine as a request; reading is a look at the machine for a plan, then reading files beside it.
//! Nothing here decides anything: refusals are the machine's, put into the front's words.

mod early;
mod groups;
mod offsets;
mod reading;
mod topics;
mod writing;

use std::future::Future;
use std::sync::Arc;

use admin::{Direction, KafkaMetrics};
use clock::Now;
use kafka::broker::{
    AlterTopic, Answered, Broker, ClusterView, Commit, Committed, CreatePartitions, CreateTopic,
    DeleteRecords, FoundOffset, GroupDescription, GroupListing, GroupRefusal, GroupWanted, Heartbeat, Join,
    JoinRefusal, Joined, KnownEnd, Leave, OffsetQuery, ProduceBatch, ProduceRefusal, Produced, ProducerId,
    ProducerIdRefusal, Read, ReadData, ReadRefusal, SyncGroup, Synced, TopicRefusal, TopicView,
};
use site::{Request, Site};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use uuid::Uuid;

use crate::engine::{Command, Reply};
use crate::files::Files;
use crate::readable::Readable;
use crate::views::Views;

pub(crate) use early::Early;
pub(crate) use groups::Groups;

/// The node behind the Kafka front.
#[derive(Debug, Clone)]
pub(crate) struct Front {
    pub(crate) engine: UnboundedSender<Command>,
    pub(crate) files: Files,
    pub(crate) views: Arc<Views>,
    pub(crate) readable: Arc<Readable>,
    pub(crate) groups: Groups,
    pub(crate) early: Arc<Early>,
    pub(crate) metrics: KafkaMetrics,
    pub(crate) bounds: Bounds,
}

/// What requests may hold here, beside the budgets of the Kafka front: in KiB, since that is what a semaphore counts up to.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    /// Reads of logs that are under way: what they read, and a copy of it.
    reads: Arc<Semaphore>,
    /// Records on their way to the machine, whether or not anybody waits for the answer any more.
    inbox: Arc<Semaphore>,
}

/// What reads hold at most.
const READS_KIB: u32 = 256 << 10;
/// What each of them counts for at least: so that there are 64 at a time at most, each with a file that may be kept open by it alone.
const READ_KIB: u32 = 4 << 10;
/// What the inbox holds at most: as much as requests that wait for their answers.
const INBOX_KIB: u32 = 256 << 10;

impl Default for Bounds {
    fn default() -> Bounds {
        let room = |kib: u32| Arc::new(Semaphore::new(kib as usize));
        Bounds { reads: room(READS_KIB), inbox: room(INBOX_KIB) }
    }
}

impl Bounds {
    /// Waits until there is room to read so many bytes.
    pub(crate) async fn to_read(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let kib = kib(bytes.saturating_mul(2)).clamp(READ_KIB, READS_KIB);
        Arc::clone(&self.reads).acquire_many_owned(kib).await.ok()
    }

    /// Room for so many bytes on their way to the machine, if there is.
    pub(crate) fn to_write(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.inbox).try_acquire_many_owned(kib(bytes).min(INBOX_KIB)).ok()
    }
}

fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
}

/// The engine is gone: the process is ending.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gone;

impl Front {
    /// Asks the machine for something. The request has taken its place when this returns; the answer comes later.
    pub(crate) fn request(&self, request: Request) -> oneshot::Receiver<Reply> {
        self.request_within(request, None)
    }

    /// The same, with room in the inbox until the machine has it.
    pub(crate) fn request_within(
        &self,
        request: Request,
        room: Option<OwnedSemaphorePermit>,
    ) -> oneshot::Receiver<Reply> {
        let (answer, waiting) = oneshot::channel();
        // If the engine is gone, so is the sender in the command, and whoever waits learns it.
        let _ = self.engine.send(Command::Request(request, answer, room));
        waiting
    }

    /// Looks at the machine.
    pub(crate) fn look<T, L>(&self, look: L) -> impl Future<Output = Result<T, Gone>> + Send + use<T, L>
    where
        T: Send + 'static,
        L: FnOnce(&Site, &Files, Now) -> T + Send + 'static,
    {
        let (answer, waiting) = oneshot::channel();
        let boxed = Box::new(move |site: &Site, files: &Files, now: Now| {
            let _ = answer.send(look(site, files, now));
        });
        let _ = self.engine.send(Command::Look(boxed));
        async move { waiting.await.map_err(|_| Gone) }
    }
}

impl Broker for Front {
    fn view(&self) -> Arc<ClusterView> {
        Arc::clone(&self.views.current().cluster)
    }

    fn produce(&self, batch: ProduceBatch) -> impl Future<Output = Result<Produced, ProduceRefusal>> + Send {
        self.append(batch)
    }

    async fn new_producer_id(&self) -> Result<ProducerId, ProducerIdRefusal> {
        self.draw_producer_id().await
    }

    async fn read(&self, read: Read) -> Vec<Result<ReadData, ReadRefusal>> {
        self.read_logs(read).await
    }

    async fn readable(&self, known: Vec<KnownEnd>) {
        self.wait_for_more(known).await;
    }

    async fn offsets(&self, queries: Vec<OffsetQuery>) -> Vec<Result<Option<FoundOffset>, ReadRefusal>> {
        self.find_offsets(queries).await
    }

    async fn create_topic(&self, wanted: CreateTopic) -> Result<Arc<TopicView>, TopicRefusal> {
        self.make_topic(wanted).await
    }

    async fn delete_topic(&self, topic: Uuid) -> Result<(), TopicRefusal> {
        self.drop_topic(topic).await
    }

    async fn create_partitions(&self, wanted: CreatePartitions) -> Result<(), TopicRefusal> {
        self.grow_topic(wanted).await
    }

    async fn alter_topic(&self, wanted: AlterTopic) -> Result<(), TopicRefusal> {
        self.change_settings(wanted).await
    }

    async fn delete_records(&self, wanted: DeleteRecords) -> Result<i64, TopicRefusal> {
        self.cut_records(wanted).await
    }

    fn coordinator(&self, group: &str) -> Option<i32> {
        self.groups.coordinator(group)
    }

    async fn join(&self, join: Join) -> Result<Joined, JoinRefusal> {
        self.groups.join(join).await
    }

    async fn sync(&self, sync: SyncGroup) -> Result<Synced, GroupRefusal> {
        self.groups.sync(sync).await
    }

    async fn heartbeat(&self, beat: Heartbeat) -> Result<(), GroupRefusal> {
        self.groups.heartbeat(beat).await
    }

    async fn leave(&self, leave: Leave) -> Result<Vec<Result<(), GroupRefusal>>, GroupRefusal> {
        self.groups.leave(leave).await
    }

    async fn commit(&self, commit: Commit) -> Result<Vec<Result<(), GroupRefusal>>, GroupRefusal> {
        self.commit_progress(commit).await
    }

    async fn committed(&self, wanted: GroupWanted) -> Result<Vec<Committed>, GroupRefusal> {
        self.committed_progress(wanted).await
    }

    async fn list_groups(&self) -> Result<Vec<GroupListing>, GroupRefusal> {
        self.list_all_groups().await
    }

    async fn describe_group(&self, group: String) -> Result<GroupDescription, GroupRefusal> {
        self.groups.describe(group).await
    }

    async fn delete_group(&self, group: String) -> Result<(), GroupRefusal> {
        self.groups.delete(group).await
    }

    fn answered(&self, answered: Answered) {
        let Answered { api, request_bytes, answer_bytes, elapsed } = answered;
        self.metrics.answered(api, elapsed.as_secs_f64());
        self.metrics.carried(Direction::In, request_bytes as u64);
        self.metrics.carried(Direction::Out, answer_bytes as u64);
    }

    fn connected(&self, connections: usize) {
        self.metrics.connected(connections);
    }
}
