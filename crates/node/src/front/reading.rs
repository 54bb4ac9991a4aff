//! Fetching: a plan from the machine, then bytes from files, beside the engine.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use clock::Now;
use disk::FileName;
use kafka::broker::{KnownEnd, Read, ReadData, ReadRefusal};
use partition::{LogsError, OffsetError, Plan};
use site::{Event, Extent, Grown, Reading, Site};

use crate::engine::Command;
use crate::files::Files;
use crate::front::Front;

/// What one partition's answer will be made of.
type Planned = Result<(Plan, Extent), ReadRefusal>;
/// The same, before it is asked how long a reader has stood there.
type Sought = Result<(Plan, Extent), Missed>;
/// A log and where to read it: topic, partition, which log, offset, bytes.
type Wanted = Option<(entry::TopicId, u32, Reading, i64, usize)>;

/// Why there is no plan.
enum Missed {
    /// The reader stands above the log's end; the refusal, should it have stood there for long.
    Above(Extent, ReadRefusal),
    /// It is refused.
    Refused(ReadRefusal),
}

impl Front {
    pub(crate) async fn read_logs(&self, read: Read) -> Vec<Result<ReadData, ReadRefusal>> {
        let view = self.views.current();
        let wanted: Vec<Wanted> = read
            .partitions
            .iter()
            .map(|at| {
                let (topic, reading) = view.log(at.topic)?;
                Some((topic, at.partition, reading, at.offset, at.bytes_max))
            })
            .collect();
        let asked = wanted.len();
        let Some(planned) = self.plan_patiently(wanted, read.bytes_max).await else {
            return vec![Err(ReadRefusal::NotReady("it is stopping".into())); asked];
        };
        if planned.iter().all(|planned| planned.as_ref().map_or(true, |(plan, _)| plan.slices.is_empty())) {
            return planned.into_iter().map(|planned| fill(planned, None, &mut |_| ())).collect();
        }
        let slices = planned.iter().flatten().flat_map(|(plan, _)| &plan.slices);
        let room = self.bounds.to_read(slices.map(|slice| slice.bytes as usize).sum()).await;
        let files = self.files.clone();
        let engine = self.engine.clone();
        let read = tokio::task::spawn_blocking(move || {
            let _room = room;
            let mut came_upon = |file| drop(engine.send(Command::Event(Event::Damaged(file))));
            planned.into_iter().map(|planned| fill(planned, Some(&files), &mut came_upon)).collect::<Vec<_>>()
        });
        read.await.unwrap_or_else(|_| vec![Err(ReadRefusal::NotReady("it is stopping".into())); asked])
    }

    /// Plans. A reader above a log's end gets nothing for a while: what it has read at another site may be on its way here,
    /// and even the news of it. `None` if the site is stopping.
    async fn plan_patiently(&self, wanted: Vec<Wanted>, bytes_max: usize) -> Option<Vec<Planned>> {
        let asked = wanted.clone();
        let planned =
            self.look(move |site, files, now| plan_all(site, files, now, &asked, bytes_max)).await.ok()?;
        let now = Instant::now();
        let answer = |(planned, wanted): (Sought, Wanted)| match (planned, wanted) {
            (Ok(planned), _) => Ok(planned),
            (Err(Missed::Above(extent, _)), Some((topic, partition, reading, offset, _)))
                if self.early.is_early((topic, partition, reading, offset), now) =>
            {
                Ok((Plan::default(), extent))
            }
            (Err(Missed::Above(_, refusal) | Missed::Refused(refusal)), _) => Err(refusal),
        };
        Some(planned.into_iter().zip(wanted).map(answer).collect())
    }

    /// Ends when one of these logs' ends is not the one the caller knows.
    pub(crate) async fn wait_for_more(&self, known: Vec<KnownEnd>) {
        let view = self.views.current();
        let logs: Vec<(Grown, u64)> = known
            .iter()
            .filter_map(|known| {
                let (topic, reading) = view.log(known.topic)?;
                let origin = if let Reading::Origin(site) = reading { Some(site) } else { None };
                Some((
                    Grown { topic, partition: known.partition, origin },
                    u64::try_from(known.end).unwrap_or(0),
                ))
            })
            .collect();
        let mut waits: Vec<Pin<Box<dyn Future<Output = ()> + Send>>> = Vec::with_capacity(logs.len());
        for (log, end) in &logs {
            let mut watching = self.readable.watch(*log, *end);
            let end = *end;
            waits.push(Box::pin(async move {
                if watching.wait_for(|now| *now != end).await.is_err() {
                    std::future::pending::<()>().await;
                }
            }));
        }
        let readable = Arc::clone(&self.readable);
        let moved = self.look(move |site, _, _| {
            logs.iter().fold(false, |moved, (log, end)| {
                let reading = log.origin.map_or(Reading::Merged, Reading::Origin);
                let now = site.extent(log.topic, log.partition, reading).end;
                readable.ends(*log, now);
                moved || now != *end
            })
        });
        if moved.await.unwrap_or(true) {
            return;
        }
        std::future::poll_fn(|context| {
            let ready = waits.iter_mut().any(|wait| wait.as_mut().poll(context).is_ready());
            if ready { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

fn plan_all(site: &Site, files: &Files, now: Now, wanted: &[Wanted], bytes_max: usize) -> Vec<Sought> {
    let mut room = bytes_max;
    let mut plans = Vec::with_capacity(wanted.len());
    for wanted in wanted {
        let planned = plan(site, files, now, *wanted, room);
        if let Ok((plan, _)) = &planned {
            room = room.saturating_sub(plan.slices.iter().map(|slice| slice.bytes as usize).sum());
        }
        plans.push(planned);
    }
    plans
}

fn plan(site: &Site, files: &Files, now: Now, wanted: Wanted, room: usize) -> Sought {
    let (topic, partition, reading, offset, bytes_max) =
        wanted.ok_or(Missed::Refused(ReadRefusal::UnknownTopic))?;
    if site.topic(topic).is_none_or(|topic| partition >= topic.partitions) {
        return Err(Missed::Refused(ReadRefusal::UnknownTopic));
    }
    let extent = site.extent(topic, partition, reading);
    let log_start = i64::try_from(extent.start).unwrap_or(i64::MAX);
    let out_of_range = ReadRefusal::OutOfRange { offset, log_start };
    let from = u64::try_from(offset).map_err(|_| Missed::Refused(out_of_range.clone()))?;
    if room == 0 {
        return Ok((Plan::default(), extent));
    }
    match site.plan(files, (topic, partition, reading), from, bytes_max.min(room)) {
        Ok(plan) => Ok((plan, extent)),
        // After a failover a client may have read further elsewhere than is readable here: early, not wrong.
        Err(OffsetError::AboveEnd { .. }) if site.expects_more(now.mono_us) => Ok((Plan::default(), extent)),
        Err(OffsetError::AboveEnd { .. }) => Err(Missed::Above(extent, out_of_range)),
        Err(OffsetError::BelowStart { .. }) => Err(Missed::Refused(out_of_range)),
        Err(OffsetError::Unreadable(error)) => Err(Missed::Refused(ReadRefusal::Damaged(error.to_string()))),
    }
}

/// Reads what was planned, up to what is damaged; damage is told on, so that it is repaired.
fn fill(
    planned: Planned,
    files: Option<&Files>,
    came_upon: &mut dyn FnMut(FileName),
) -> Result<ReadData, ReadRefusal> {
    let mut tell = |error: &LogsError| {
        if let LogsError::Damaged { file, .. } = error {
            came_upon(file.clone());
        }
    };
    let (plan, extent) = planned?;
    let chunks = match files {
        Some(files) if !plan.slices.is_empty() => {
            let read = partition::read_sound(files, &plan.slices).inspect_err(&mut tell);
            let (bytes, damage) = read.map_err(|error| ReadRefusal::Damaged(error.to_string()))?;
            damage.iter().for_each(tell);
            vec![bytes]
        }
        _ => Vec::new(),
    };
    let end = i64::try_from(extent.end).unwrap_or(i64::MAX);
    let log_start = i64::try_from(extent.start).unwrap_or(i64::MAX);
    Ok(ReadData { chunks, high_watermark: end, last_stable: end, log_start, aborted: Vec::new() })
}
