//! What the front asks of the node behind it: one trait, and the plain values that cross it.
//!
//! No wire type of Kafka appears here, and no decision about storage is taken on this side of it: the front turns bytes
//! into these calls and their answers into bytes, and nothing else. Topics are named by id from here on, because a name
//! may be deleted and created again while a call is under way; the front resolves names through [`ClusterView`].
//!
//! Every call may be dropped half way (its client went away). What a dropped call had begun may still happen.

mod groups;
mod read;
mod topics;
mod view;
mod write;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

pub use groups::{
    Commit, CommitPartition, Committed, GroupDescription, GroupListing, GroupMember, GroupRefusal,
    GroupState, GroupWanted, Heartbeat, Join, JoinRefusal, Joined, JoinedMember, Leave, LeavingMember,
    Protocol, SyncGroup, Synced,
};
pub use read::{
    Aborted, FoundOffset, Isolation, KnownEnd, OffsetAt, OffsetQuery, Read, ReadData, ReadPartition,
    ReadRefusal,
};
pub use topics::{
    AlterTopic, CreatePartitions, CreateTopic, DeleteRecords, SettingChange, TopicRefusal,
    is_legal_topic_name,
};
pub use view::{ClusterView, HomeView, SettingKind, SettingSpec, SiteView, TopicView};
pub use write::{Acks, ProduceBatch, ProduceRefusal, Produced, ProducerId, ProducerIdRefusal};

/// An answered request, for who counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered {
    /// What was asked for, in Kafka's word.
    pub api: &'static str,
    /// Bytes of the request.
    pub request_bytes: usize,
    /// Bytes of the answer; none where the client expects none.
    pub answer_bytes: usize,
    /// From the request's last byte until its answer was made.
    pub elapsed: Duration,
}

/// A site's node as the front sees it.
///
/// Calls that wait return futures; an implementation writes them as `async fn`. What a future has to do before it first
/// waits happens in the order in which the front first polls: that is how records keep the order of their arrival.
pub trait Broker: Send + Sync + 'static {
    /// The cluster as this site knows it now. Cheap: called for every request.
    fn view(&self) -> Arc<ClusterView>;

    /// Appends one record batch and answers when it is as safe as `acks` asks.
    ///
    /// The front first polls these in the order the batches arrived and does not wait for one before it starts the
    /// next, so the batch must take its place at the first poll.
    fn produce(&self, batch: ProduceBatch) -> impl Future<Output = Result<Produced, ProduceRefusal>> + Send;

    /// A producer id that no site has ever given out.
    fn new_producer_id(&self) -> impl Future<Output = Result<ProducerId, ProducerIdRefusal>> + Send;

    /// Reads what is there now, without waiting for more: one answer per partition asked for, in the same order.
    fn read(&self, read: Read) -> impl Future<Output = Vec<Result<ReadData, ReadRefusal>>> + Send;

    /// Ends once the readable end of any of these partitions is no longer the one the caller knows.
    ///
    /// At once if that is so already. The front puts its own deadline around it.
    fn readable(&self, known: Vec<KnownEnd>) -> impl Future<Output = ()> + Send;

    /// Finds offsets, one answer per query, in the same order; `None` where no record is that young.
    fn offsets(
        &self,
        queries: Vec<OffsetQuery>,
    ) -> impl Future<Output = Vec<Result<Option<FoundOffset>, ReadRefusal>>> + Send;

    /// Creates a topic. When this ends well, [`Broker::view`] shows it.
    fn create_topic(
        &self,
        wanted: CreateTopic,
    ) -> impl Future<Output = Result<Arc<TopicView>, TopicRefusal>> + Send;

    /// Deletes a topic. When this ends well, [`Broker::view`] no longer shows it.
    fn delete_topic(&self, topic: uuid::Uuid) -> impl Future<Output = Result<(), TopicRefusal>> + Send;

    /// Raises a topic's number of partitions.
    fn create_partitions(
        &self,
        wanted: CreatePartitions,
    ) -> impl Future<Output = Result<(), TopicRefusal>> + Send;

    /// Changes a topic's settings.
    fn alter_topic(&self, wanted: AlterTopic) -> impl Future<Output = Result<(), TopicRefusal>> + Send;

    /// Moves a partition's log start up; answers where it is then.
    fn delete_records(&self, wanted: DeleteRecords)
    -> impl Future<Output = Result<i64, TopicRefusal>> + Send;

    /// Which site coordinates this group now; `None` while that is not known.
    fn coordinator(&self, group: &str) -> Option<i32>;

    /// A member joins, or joins again; answered when the group's next generation begins.
    fn join(&self, join: Join) -> impl Future<Output = Result<Joined, JoinRefusal>> + Send;

    /// A member asks for its assignment; the leader brings everyone's.
    fn sync(&self, sync: SyncGroup) -> impl Future<Output = Result<Synced, GroupRefusal>> + Send;

    /// A member is alive.
    fn heartbeat(&self, beat: Heartbeat) -> impl Future<Output = Result<(), GroupRefusal>> + Send;

    /// Members leave: one answer per member, in the same order, or a refusal for all.
    fn leave(
        &self,
        leave: Leave,
    ) -> impl Future<Output = Result<Vec<Result<(), GroupRefusal>>, GroupRefusal>> + Send;

    /// Records how far a group has come: one answer per partition, in the same order, or a refusal for all.
    fn commit(
        &self,
        commit: Commit,
    ) -> impl Future<Output = Result<Vec<Result<(), GroupRefusal>>, GroupRefusal>> + Send;

    /// How far a group has come, in the partitions asked for or in all it has committed. A group that nobody knows has
    /// committed nothing: that is no refusal.
    fn committed(
        &self,
        wanted: GroupWanted,
    ) -> impl Future<Output = Result<Vec<Committed>, GroupRefusal>> + Send;

    /// The groups that this site coordinates.
    fn list_groups(&self) -> impl Future<Output = Result<Vec<GroupListing>, GroupRefusal>> + Send;

    /// One group's members and state.
    fn describe_group(
        &self,
        group: String,
    ) -> impl Future<Output = Result<GroupDescription, GroupRefusal>> + Send;

    /// Forgets an empty group; where it had come to stays.
    fn delete_group(&self, group: String) -> impl Future<Output = Result<(), GroupRefusal>> + Send;

    /// A request was answered. Cheap: called for every request.
    fn answered(&self, _answered: Answered) {}

    /// So many connections are open now, through all doors. Cheap: called whenever one opens or ends.
    fn connected(&self, _connections: usize) {}
}
