//! `consume`: records to standard output, alone or as a member of a group.

mod from;
mod show;

use clap::Args;
use client::{Client, FetchOptions, GroupConsumer, GroupOptions, Isolation, ReadRecord, read_records};
use tokio::sync::mpsc;

use self::from::From;
use self::show::Show;
use crate::commands::topic::{known, origin_of};
use crate::connect::Connect;
use crate::output::Output;
use crate::progress::Progress;

/// Answers that wait to be shown.
const ANSWERS_WAITING: usize = 16;

/// Read a topic to standard output, a record a line.
///
/// `orders` is the merged log: everything from every site, in one order, at the same offsets everywhere. `eu-west.orders` is
/// what that site wrote, readable sooner.
#[derive(Debug, Args)]
pub(crate) struct Consume {
    /// The topic's name
    topic: String,
    #[command(flatten)]
    connect: Connect,
    #[command(flatten)]
    output: Output,
    /// Where to start: beginning, end, an offset, @UNIX_MILLISECONDS, or a span back such as -10m; for a group, where it starts
    /// in partitions it has not read yet
    #[arg(long, default_value = "beginning", value_name = "PLACE", value_parser = From::parse, allow_hyphen_values = true)]
    from: From,
    /// Read as a member of this group, and keep its progress
    #[arg(long, value_name = "GROUP", conflicts_with = "partition")]
    group: Option<String>,
    /// Read this partition only
    #[arg(long, value_name = "N")]
    partition: Option<i32>,
    /// Stop after so many records
    #[arg(long, value_name = "N")]
    max: Option<u64>,
    /// Stop at what is the end now, instead of waiting for more
    #[arg(long, conflicts_with = "group")]
    to_end: bool,
}

/// What a partition brought.
struct Brought {
    partition: i32,
    records: Vec<ReadRecord>,
}

impl Consume {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let client = self.connect.client().await?;
        let metadata = client.refresh(None).await?;
        known(&metadata, &self.topic)?;
        let origin = origin_of(&metadata, &self.topic).map(str::to_owned);
        let show =
            Show::new(self.output.json, origin, self.max, Progress::of_output(self.max, "records read"));
        match self.group.clone() {
            Some(group) => self.in_group(client, &group, show).await,
            None => self.alone(client, show).await,
        }
    }

    /// One task per partition reads; this one shows.
    async fn alone(self, client: Client, mut show: Show) -> anyhow::Result<()> {
        let partitions = match self.partition {
            Some(partition) => partition..partition + 1,
            None => 0..client.partitions(&self.topic).await?,
        };
        let (brought, mut arriving) = mpsc::channel(ANSWERS_WAITING);
        for partition in partitions {
            let reader = Reader {
                client: client.apart(),
                topic: self.topic.clone(),
                partition,
                from: self.from,
                to_end: self.to_end,
            };
            let brought = brought.clone();
            tokio::spawn(async move {
                if let Err(error) = reader.read(&brought).await {
                    // Nobody listens only when enough has been shown.
                    let _ = brought.send(Err(error)).await;
                }
            });
        }
        drop(brought);
        while let Some(brought) = arriving.recv().await {
            let brought = brought?;
            if show.records(&self.topic, brought.partition, &brought.records)? < brought.records.len()
                || show.is_full()
            {
                break;
            }
        }
        Ok(())
    }

    /// Progress is kept after records were shown: a crash shows some twice, never none.
    async fn in_group(self, client: Client, group: &str, mut show: Show) -> anyhow::Result<()> {
        let options = GroupOptions { start: self.from.for_group()?, ..GroupOptions::default() };
        let mut member = GroupConsumer::new(&client, group, std::slice::from_ref(&self.topic), options);
        while !show.is_full() {
            let polled = tokio::select! {
                polled = member.poll() => polled?,
                _ = tokio::signal::ctrl_c() => break,
            };
            let mut all_shown = true;
            for one in polled {
                let records = read_records(&one.answer.batches, one.from.offset)?;
                all_shown &= show.records(&one.from.topic, one.from.partition, &records)? == records.len();
            }
            if all_shown {
                member.commit().await?;
            }
        }
        Ok(member.leave().await?)
    }
}

/// Reads one partition.
struct Reader {
    client: Client,
    topic: String,
    partition: i32,
    from: From,
    to_end: bool,
}

impl Reader {
    async fn read(self, brought: &mpsc::Sender<anyhow::Result<Brought>>) -> anyhow::Result<()> {
        let (topic, partition) = (self.topic.as_str(), self.partition);
        let mut offset = self.from.offset(&self.client, topic, partition).await?;
        let end =
            self.client.list_offset(topic, partition, client::Position::Latest, Isolation::default()).await?;
        loop {
            if self.to_end && offset >= end.offset {
                return Ok(());
            }
            let answer = self.client.fetch(topic, partition, offset, &FetchOptions::default()).await?;
            let records = read_records(&answer.batches, offset)?;
            // A batch of control records shows none, but is passed all the same.
            offset = client::log_end(&answer.batches).unwrap_or(offset).max(offset);
            if !records.is_empty() && brought.send(Ok(Brought { partition, records })).await.is_err() {
                return Ok(());
            }
        }
    }
}
