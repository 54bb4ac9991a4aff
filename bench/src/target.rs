//! Whom to drive: sites of a cluster of our own, or brokers that someone named.

use std::time::Duration;

use anyhow::Context as _;
use client::{Client, NewTopic, Options};

use crate::options::Running;

/// One site, and a client that lives beside it.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) client: Client,
}

/// Clients beside every site of a cluster.
pub(crate) async fn sites(running: &Running) -> anyhow::Result<Vec<Place>> {
    let mut places = Vec::new();
    for name in &running.cluster.plan().sites {
        places.push(connect(name, &running.cluster.kafka(name)?.to_string()).await?);
    }
    Ok(places)
}

/// Clients of brokers given as `host:port` or `name=host:port`; each becomes a place of its own.
pub(crate) async fn brokers(bootstrap: &[String]) -> anyhow::Result<Vec<Place>> {
    let mut places = Vec::new();
    for given in bootstrap {
        let (name, address) = given.split_once('=').unwrap_or((given, given));
        places.push(connect(name, address).await?);
    }
    Ok(places)
}

async fn connect(name: &str, address: &str) -> anyhow::Result<Place> {
    let options = Options {
        client_id: "bench".to_owned(),
        retry_pause: Duration::from_millis(50),
        in_flight_max: 1_024,
        ..Options::default()
    };
    let client = Client::connect(&[address.to_owned()], options).await;
    Ok(Place { name: name.to_owned(), client: client.with_context(|| format!("no broker at {address}"))? })
}

/// Creates a topic and waits until every place knows it. One that is there already is left as it is.
pub(crate) async fn topic(places: &[Place], topic: &NewTopic) -> anyhow::Result<()> {
    let first = places.first().context("there is nobody to drive")?;
    match first.client.create_topic(topic).await {
        Ok(_) => {}
        Err(error) if error.code() == Some(client::ResponseError::TopicAlreadyExists) => {}
        Err(error) => return Err(error.into()),
    }
    for place in places {
        place.client.partitions(&topic.name).await?;
    }
    Ok(())
}

/// A topic of that many partitions, and that many sites to hold what `acks=all` acknowledges.
pub(crate) fn new_topic(name: &str, partitions: i32, insync: Option<u16>) -> NewTopic {
    let settings = insync.map(|sites| ("min.insync.sites".to_owned(), sites.to_string()));
    NewTopic { name: name.to_owned(), partitions: Some(partitions), settings: settings.into_iter().collect() }
}
