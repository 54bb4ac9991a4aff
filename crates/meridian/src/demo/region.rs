//! One region as the story sees it: a client that lives there, and its site's status.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use admin::SiteStatus;
use admin::client::{self as ask, Address};
use anyhow::Context as _;
use batch::{Builder, NewRecord};
use client::{Acks, Client, Isolation, Options, Position};
use launch::Cluster;

/// The partition that everything is written to: with one, the table of the log is the whole order.
pub(crate) const PARTITION: i32 = 0;

/// A region.
pub(crate) struct Region {
    pub(crate) name: String,
    /// Where its clients begin.
    pub(crate) kafka: String,
    pub(crate) data: PathBuf,
    pub(crate) client: Client,
    admin: Address,
}

impl Region {
    /// A client of this region, and only of this region: the others' addresses are not named, so that what it does is done here.
    pub(crate) async fn enter(cluster: &Cluster, name: &str) -> anyhow::Result<Region> {
        let kafka = cluster.kafka(name)?.to_string();
        let options = Options { retry_for: Duration::from_secs(10), ..Options::default() };
        let client = Client::connect(std::slice::from_ref(&kafka), options).await;
        let data = cluster.plan().data(name);
        Ok(Region {
            name: name.to_owned(),
            client: client.with_context(|| format!("no client can reach {name} at {kafka}"))?,
            admin: Address::parse(&data.to_string_lossy()),
            data,
            kafka,
        })
    }

    pub(crate) async fn status(&self) -> anyhow::Result<SiteStatus> {
        Ok(ask::status(&self.admin).await?)
    }

    /// Writes one record here; gives the time until it was acknowledged.
    pub(crate) async fn write(&self, topic: &str, value: String) -> anyhow::Result<Duration> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut builder = Builder::new();
        builder.push(&NewRecord::value(i64::try_from(now.as_millis()).unwrap_or(0), value));
        let answer = self.client.produce(topic, PARTITION, builder.build(), Acks::All).await;
        let answer = answer.with_context(|| format!("cannot write in {}", self.name))?;
        Ok(answer.acked.duration_since(answer.sent))
    }

    /// How many records of a log are readable here.
    pub(crate) async fn end(&self, topic: &str) -> anyhow::Result<i64> {
        let latest =
            self.client.list_offset(topic, PARTITION, Position::Latest, Isolation::ReadUncommitted).await;
        Ok(latest.with_context(|| format!("cannot look at {topic} in {}", self.name))?.offset)
    }
}
