//! Fetch: reading, and waiting for something to read.
//!
//! No fetch sessions: the answer always says session 0, and a session begun elsewhere is unknown here, which makes the
//! client start over with a full request. Record bytes go out as the pieces they came in.

use bytes::Bytes;
use tokio::time::{Duration, Instant, sleep_until, timeout_at};
use uuid::Uuid;

use crate::api::{Call, Context};
use crate::broker::{
    Broker, ClusterView, Isolation, KnownEnd, Read, ReadData, ReadPartition, ReadRefusal, TopicView,
};
use crate::budget::Paid;
use crate::errors::ErrorCode;
use crate::wire::{Fault, Frame, Malformed, Reader, Writer};

/// Between two looks at a partition that has something, but less than the client waits for.
const REREAD_PAUSE: Duration = Duration::from_millis(10);

/// From this version on, topics are named by id.
const TOPIC_IDS_FROM: i16 = 13;

struct FetchRequest {
    wait: Duration,
    bytes_min: usize,
    bytes_max: usize,
    isolation: Isolation,
    session_epoch: i32,
    topics: Vec<Topic<Wanted>>,
}

struct Topic<T> {
    name: String,
    id: Uuid,
    partitions: Vec<T>,
}

struct Wanted {
    number: i32,
    offset: i64,
    bytes_max: i32,
}

impl FetchRequest {
    fn read(r: &mut Reader, version: i16) -> Result<FetchRequest, Malformed> {
        if version <= 14 {
            r.i32()?; // replica id: nobody replicates this way
        }
        let (wait_ms, bytes_min, bytes_max) = (r.i32()?, r.i32()?, r.i32()?);
        let isolation = isolation(r.i8()?);
        let session_epoch = if version >= 7 { (r.i32()?, r.i32()?).1 } else { -1 };
        let topics = r.structs(2, |r| {
            let (name, id) = topic_name(r, version)?;
            Ok(Topic { name, id, partitions: r.structs(16, |r| Wanted::read(r, version))? })
        })?;
        // What follows (topics to forget, rack, cluster id) concerns sessions and followers only.
        let wait = Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0));
        let bytes_min = usize::try_from(bytes_min).unwrap_or(0);
        let bytes_max = usize::try_from(bytes_max).unwrap_or(0);
        Ok(FetchRequest { wait, bytes_min, bytes_max, isolation, session_epoch, topics })
    }
}

impl Wanted {
    fn read(r: &mut Reader, version: i16) -> Result<Wanted, Malformed> {
        let number = r.i32()?;
        if version >= 9 {
            r.i32()?; // the leader epoch the client believes in: there is only one
        }
        let offset = r.i64()?;
        if version >= 12 {
            r.i32()?; // the epoch of the last record it has
        }
        if version >= 5 {
            r.i64()?; // a follower's log start
        }
        Ok(Wanted { number, offset, bytes_max: r.i32()? })
    }
}

fn topic_name(r: &mut Reader, version: i16) -> Result<(String, Uuid), Malformed> {
    match version >= TOPIC_IDS_FROM {
        true => Ok((String::new(), r.uuid()?)),
        false => Ok((r.string()?, Uuid::nil())),
    }
}

/// The isolation level of Fetch and ListOffsets.
pub(super) fn isolation(level: i8) -> Isolation {
    match level {
        1 => Isolation::Committed,
        _ => Isolation::Uncommitted,
    }
}

/// One partition's answer.
struct Answered {
    number: i32,
    read: Result<ReadData, ErrorCode>,
}

/// Versions 4–17.
pub(super) async fn fetch<B: Broker>(context: &Context<B>, mut call: Call) -> Result<Frame, Fault> {
    let request = FetchRequest::read(&mut call.body, call.version)?;
    let (error, (answers, paid)) = match request.session_epoch > 0 {
        true => (ErrorCode::FetchSessionIdNotFound, (Vec::new(), None)),
        false => (ErrorCode::None, read_all(context, request, call.version).await),
    };
    let mut writer = call.writer();
    write(&mut writer, call.version, error, &answers);
    let mut frame = writer.finish()?;
    frame.paid_for(paid);
    Ok(frame)
}

/// Reads, and waits and reads again until there is enough, a refusal to tell, or no time left. What is answered is paid
/// for: where the budget has too little left, what was read is let go, and read again when there is enough.
async fn read_all<B: Broker>(
    context: &Context<B>,
    request: FetchRequest,
    version: i16,
) -> (Vec<Topic<Answered>>, Option<Paid>) {
    let mut plan = Plan::of(&context.broker.view(), &request, context.limits.fetch_bytes_max, version);
    let deadline = Instant::now() + request.wait.min(context.limits.fetch_wait_max);
    let enough = request.bytes_min.min(plan.read.bytes_max);
    let mut paid = None;
    loop {
        let results = context.broker.read(plan.read.clone()).await;
        let waiting = paid.is_none() && !plan.has_refusal && enough > 0 && Instant::now() < deadline;
        let known = if waiting { plan.known_ends(&results, enough) } else { None };
        let Some(known) = known else {
            let bytes = bytes_of(&results);
            if paid.is_none() && bytes > 0 {
                paid = context.answers.try_pay(bytes);
            }
            if paid.is_some() || bytes == 0 {
                return (plan.answers(request.topics, results), paid);
            }
            drop(results);
            paid = Some(context.answers.pay(bytes).await);
            plan.read.bytes_max = bytes;
            continue;
        };
        drop(results);
        // Whether it moved or time is up: either way, read once more.
        let _ = timeout_at(deadline, context.broker.readable(known)).await;
        if enough > 1 {
            sleep_until(deadline.min(Instant::now() + REREAD_PAUSE)).await;
        }
    }
}

fn bytes_of(results: &[Result<ReadData, ReadRefusal>]) -> usize {
    let chunks = results.iter().flatten().flat_map(|data| &data.chunks);
    chunks.map(Bytes::len).sum()
}

/// A request with its topics looked up: what to read, and what is refused without reading.
struct Plan {
    read: Read,
    lookups: Vec<Result<(), ErrorCode>>,
    has_refusal: bool,
}

impl Plan {
    fn of(view: &ClusterView, request: &FetchRequest, bytes_max: usize, version: i16) -> Plan {
        let mut partitions = Vec::new();
        let mut lookups = Vec::new();
        for topic in &request.topics {
            let found = look_up(view, topic, version);
            for wanted in &topic.partitions {
                let lookup = found.and_then(|found| plan_partition(found, wanted));
                lookups.push(lookup.map(|partition| partitions.push(partition)));
            }
        }
        let has_refusal = lookups.iter().any(Result::is_err);
        let bytes_max = request.bytes_max.min(bytes_max);
        Plan { read: Read { partitions, bytes_max, isolation: request.isolation }, lookups, has_refusal }
    }

    /// The ends to wait behind, or `None` if the answer should go now.
    fn known_ends(&self, results: &[Result<ReadData, ReadRefusal>], enough: usize) -> Option<Vec<KnownEnd>> {
        let isolation = self.read.isolation;
        let mut known = Vec::with_capacity(results.len());
        for (wanted, result) in self.read.partitions.iter().zip(results) {
            let data = result.as_ref().ok()?;
            let end = match isolation {
                Isolation::Uncommitted => data.high_watermark,
                Isolation::Committed => data.last_stable,
            };
            known.push(KnownEnd { topic: wanted.topic, partition: wanted.partition, end, isolation });
        }
        (bytes_of(results) < enough).then_some(known)
    }

    fn answers(
        self,
        topics: Vec<Topic<Wanted>>,
        results: Vec<Result<ReadData, ReadRefusal>>,
    ) -> Vec<Topic<Answered>> {
        let mut results = results.into_iter();
        let mut lookups = self.lookups.into_iter();
        let mut next = |number: i32| {
            let read = match lookups.next() {
                Some(Err(error)) => Err(error),
                // A broker that answers for fewer partitions than it was asked for is taken to have lost them.
                _ => {
                    results.next().unwrap_or(Err(ReadRefusal::UnknownTopic)).map_err(|r| ErrorCode::from(&r))
                }
            };
            Answered { number, read }
        };
        let answer = |topic: Topic<Wanted>| {
            let partitions = topic.partitions.iter().map(|wanted| next(wanted.number)).collect();
            Topic { name: topic.name, id: topic.id, partitions }
        };
        topics.into_iter().map(answer).collect()
    }
}

fn look_up<'a>(
    view: &'a ClusterView,
    topic: &Topic<Wanted>,
    version: i16,
) -> Result<&'a TopicView, ErrorCode> {
    match version >= TOPIC_IDS_FROM {
        true => view.topics_by_id.get(&topic.id).map(AsRef::as_ref).ok_or(ErrorCode::UnknownTopicId),
        false => view.topics.get(&topic.name).map(AsRef::as_ref).ok_or(ErrorCode::UnknownTopicOrPartition),
    }
}

fn plan_partition(topic: &TopicView, wanted: &Wanted) -> Result<ReadPartition, ErrorCode> {
    if !topic.has(wanted.number) {
        return Err(ErrorCode::UnknownTopicOrPartition);
    }
    let partition = wanted.number.cast_unsigned();
    let bytes_max = usize::try_from(wanted.bytes_max).unwrap_or(0);
    Ok(ReadPartition { topic: topic.id, partition, offset: wanted.offset, bytes_max })
}

fn write(w: &mut Writer, version: i16, error: ErrorCode, topics: &[Topic<Answered>]) {
    w.i32(0); // throttle time
    if version >= 7 {
        w.i16(error.number());
        w.i32(0); // session id: none
    }
    w.structs(topics, |w, topic| {
        match version >= TOPIC_IDS_FROM {
            true => w.uuid(topic.id),
            false => w.string(&topic.name),
        }
        w.structs(&topic.partitions, |w, answered| write_partition(w, version, answered));
    });
}

fn write_partition(w: &mut Writer, version: i16, answered: &Answered) {
    let data = answered.read.as_ref().ok();
    w.i32(answered.number);
    w.i16(answered.read.as_ref().err().copied().unwrap_or(ErrorCode::None).number());
    w.i64(data.map_or(-1, |data| data.high_watermark));
    w.i64(data.map_or(-1, |data| data.last_stable));
    if version >= 5 {
        w.i64(data.map_or(-1, |data| data.log_start));
    }
    w.structs(data.map_or(&[], |data| data.aborted.as_slice()), |w, aborted| {
        w.i64(aborted.producer_id);
        w.i64(aborted.first_offset);
    });
    if version >= 11 {
        w.i32(-1); // a replica to read from instead: none is nearer than the home's own
    }
    w.chunks(data.map_or(&[], |data| data.chunks.as_slice()));
}
