//! Produce and InitProducerId: writing, and the identity that makes writing exactly once.
//!
//! Batches are handed on as they came, one per partition, all started before the first is waited for.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;

use crate::api::{Call, Context};
use crate::broker::{Acks, Broker, ClusterView, ProduceBatch, ProduceRefusal, Produced};
use crate::errors::{ErrorCode, code_of};
use crate::wire::{Fault, Frame, Malformed, Reader, Writer};

/// What stands for an offset or a time that there is none of.
const NONE: i64 = -1;

struct ProduceRequest {
    transactional: bool,
    acks: i16,
    timeout_ms: i32,
    topics: Vec<Topic<Bytes>>,
}

struct Topic<T> {
    name: String,
    partitions: Vec<(i32, T)>,
}

impl ProduceRequest {
    fn read(r: &mut Reader) -> Result<ProduceRequest, Malformed> {
        let transactional = r.nullable_string()?.is_some();
        let (acks, timeout_ms) = (r.i16()?, r.i32()?);
        let topics = r.structs(2, |r| {
            let name = r.string()?;
            let partitions = r.structs(5, |r| Ok((r.i32()?, r.nullable_bytes()?.unwrap_or_default())))?;
            Ok(Topic { name, partitions })
        })?;
        Ok(ProduceRequest { transactional, acks, timeout_ms, topics })
    }
}

/// A partition's answer: refused with words for the client, or not.
type Answered = Result<Produced, Refused>;

struct Refused {
    error: ErrorCode,
    message: String,
    /// The records that are to blame, where not all are.
    records: Vec<u32>,
}

impl From<&Refused> for ErrorCode {
    fn from(refused: &Refused) -> ErrorCode {
        refused.error
    }
}

impl From<ProduceRefusal> for Refused {
    fn from(refusal: ProduceRefusal) -> Refused {
        let (error, message) = (ErrorCode::from(&refusal), refusal.to_string());
        let records = if let ProduceRefusal::Keyless { records } = refusal { records } else { Vec::new() };
        Refused { error, message, records }
    }
}

/// Versions 3–11; no answer at all to `acks=0`.
pub(super) async fn produce<B: Broker>(context: &Context<B>, mut call: Call) -> Result<Option<Frame>, Fault> {
    let request = ProduceRequest::read(&mut call.body)?;
    let silent = request.acks == 0;
    let answers = append_all(context, request).await;
    if silent {
        return Ok(None);
    }
    let mut writer = call.writer();
    write(&mut writer, call.version, &answers);
    writer.finish().map(Some)
}

async fn append_all<B: Broker>(context: &Context<B>, request: ProduceRequest) -> Vec<Topic<Answered>> {
    let view = context.broker.view();
    let terms = Terms::of(&request);
    let mut shape = Vec::with_capacity(request.topics.len());
    let mut appends = Vec::new();
    for topic in request.topics {
        let numbers: Vec<i32> = topic.partitions.iter().map(|(number, _)| *number).collect();
        for (number, records) in topic.partitions {
            let batch = terms.batch(&view, &topic.name, number, records);
            appends.push(Append::Running(Box::pin(append(context, batch))));
        }
        shape.push((topic.name, numbers));
    }
    let mut answered = all(appends).await.into_iter();
    let answers = shape.into_iter().map(|(name, numbers)| {
        let partitions = numbers.into_iter().zip(answered.by_ref()).collect();
        Topic { name, partitions }
    });
    answers.collect()
}

async fn append<B: Broker>(context: &Context<B>, batch: Result<ProduceBatch, Refused>) -> Answered {
    Ok(context.broker.produce(batch?).await?)
}

/// What a request asks of all its batches alike.
struct Terms {
    acks: Option<Acks>,
    timeout_ms: u32,
    transactional: bool,
}

impl Terms {
    fn of(request: &ProduceRequest) -> Terms {
        let acks = match request.acks {
            0 => Some(Acks::None),
            1 => Some(Acks::Local),
            -1 => Some(Acks::All),
            _ => None,
        };
        let timeout_ms = u32::try_from(request.timeout_ms).unwrap_or(0);
        Terms { acks, timeout_ms, transactional: request.transactional }
    }

    fn batch(
        &self,
        view: &ClusterView,
        name: &str,
        number: i32,
        records: Bytes,
    ) -> Result<ProduceBatch, Refused> {
        let Some(acks) = self.acks else {
            let message = "acks must be 0, 1 or -1 (all)".to_owned();
            return Err(Refused { error: ErrorCode::InvalidRequiredAcks, message, records: Vec::new() });
        };
        if self.transactional {
            return Err(ProduceRefusal::Transactional.into());
        }
        let topic = view.topic_with(name, number).ok_or(ProduceRefusal::UnknownTopic)?;
        if topic.read_only {
            return Err(ProduceRefusal::ReadOnly.into());
        }
        let partition = number.cast_unsigned();
        Ok(ProduceBatch { topic: topic.id, partition, records, acks, timeout_ms: self.timeout_ms })
    }
}

enum Append<F> {
    Running(Pin<Box<F>>),
    Done(Answered),
}

/// Drives all appends together, first polled in order; answers in the same order.
async fn all<F: Future<Output = Answered>>(mut appends: Vec<Append<F>>) -> Vec<Answered> {
    poll_fn(|context| {
        let mut pending = false;
        for append in &mut appends {
            if let Append::Running(running) = append {
                match running.as_mut().poll(context) {
                    Poll::Ready(answered) => *append = Append::Done(answered),
                    Poll::Pending => pending = true,
                }
            }
        }
        if pending { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    let done = |append| match append {
        Append::Done(answered) => answered,
        Append::Running(_) => unreachable!("the poll above ends when none runs"),
    };
    appends.into_iter().map(done).collect()
}

fn write(w: &mut Writer, version: i16, topics: &[Topic<Answered>]) {
    w.structs(topics, |w, topic| {
        w.string(&topic.name);
        w.structs(&topic.partitions, |w, (number, answered)| {
            w.i32(*number);
            write_partition(w, version, answered);
        });
    });
    w.i32(0); // throttle time
}

fn write_partition(w: &mut Writer, version: i16, answered: &Answered) {
    let produced = answered.as_ref().ok();
    w.i16(code_of(answered).number());
    w.i64(produced.map_or(NONE, |produced| produced.base_offset));
    w.i64(produced.and_then(|produced| produced.log_append_time_ms).unwrap_or(NONE));
    if version >= 5 {
        w.i64(produced.map_or(NONE, |produced| produced.log_start));
    }
    if version >= 8 {
        let refused = answered.as_ref().err();
        w.structs(refused.map_or(&[][..], |refused| &refused.records), |w, record| {
            w.i32(i32::try_from(*record).unwrap_or(i32::MAX));
            w.nullable_string(Some("it has no key"));
        });
        w.nullable_string(refused.map(|refused| refused.message.as_str()));
    }
}

/// Versions 0–5. An id once given is never given again, so what a client brings of an older one does not matter.
pub(super) async fn init_producer_id<B: Broker>(
    context: &Context<B>,
    mut call: Call,
) -> Result<Frame, Fault> {
    let transactional = call.body.nullable_string()?.is_some();
    let given = match transactional {
        true => Err(ErrorCode::from(&ProduceRefusal::Transactional)),
        false => context.broker.new_producer_id().await.map_err(|refusal| ErrorCode::from(&refusal)),
    };
    if transactional {
        tracing::info!(client_id = ?call.client_id, "a transactional producer was refused: transactions are not offered yet");
    }
    let mut w = call.writer();
    w.i32(0); // throttle time
    w.i16(given.as_ref().err().copied().unwrap_or(ErrorCode::None).number());
    w.i64(given.as_ref().map_or(NONE, |producer| producer.id));
    w.i16(given.as_ref().map_or(-1, |producer| producer.epoch));
    w.finish()
}
