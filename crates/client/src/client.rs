//! The client: connections by address, metadata by topic, and the patience to try again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kafka_protocol::messages::MetadataRequest;
use kafka_protocol::protocol::Request;

use crate::connection::Connection;
use crate::metadata;
use crate::{ClientError, Metadata, Options};

/// One place for a connection. Its own lock, so that a dead broker holds up only those who want that broker.
type Slot = Arc<tokio::sync::Mutex<Option<Connection>>>;

/// Brokers answer what comes on one connection in order, so a call that waits there holds up all behind it. Calls that wait
/// for different things therefore have connections of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// Short questions.
    Ask,
    /// Writing: waits for disks and other sites.
    Write,
    /// Reading: waits for something to read.
    Read,
    /// Membership in a group: waits for other members.
    Coordinate,
}

/// A client of one cluster; cheap to clone. Clones share their connections, see [`Client::apart`].
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    slots: Arc<Mutex<HashMap<(Lane, String), Slot>>>,
}

struct Shared {
    options: Options,
    bootstrap: Vec<String>,
    metadata: Mutex<Arc<Metadata>>,
}

/// How long a failing call has been at it.
pub(crate) struct Retry {
    until: Instant,
    pause: Duration,
}

impl Retry {
    /// Waits before the next try, or gives the error back if trying again is pointless or too late.
    pub(crate) async fn after(&mut self, error: ClientError) -> Result<(), ClientError> {
        if !error.is_retriable() || Instant::now() + self.pause >= self.until {
            return Err(error);
        }
        tracing::debug!(%error, "trying again");
        tokio::time::sleep(self.pause).await;
        Ok(())
    }
}

impl Client {
    /// Connects to the first of these addresses (`host:port`) that answers, and learns the brokers from it.
    pub async fn connect(bootstrap: &[String], options: Options) -> Result<Self, ClientError> {
        let shared = Shared { options, bootstrap: bootstrap.to_vec(), metadata: Mutex::default() };
        let client = Self { shared: Arc::new(shared), slots: Arc::default() };
        client.refresh(Some(&[])).await?;
        Ok(client)
    }

    /// The same client with connections of its own. Each of several readers at one broker wants that: a fetch that waits for
    /// records would hold up the others'.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), slots: Arc::default() }
    }

    /// The options it was made with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    /// What is known of the cluster without asking.
    #[must_use]
    pub fn metadata(&self) -> Arc<Metadata> {
        Arc::clone(&self.shared.metadata.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks for metadata of these topics, or of all with `None`. An unknown topic is created if the options want that and
    /// the brokers do it.
    pub async fn refresh(&self, topics: Option<&[&str]>) -> Result<Arc<Metadata>, ClientError> {
        let may_create =
            self.shared.options.creates_topics && topics.is_some_and(|topics| !topics.is_empty());
        self.ask_metadata(metadata::request(topics, may_create)).await
    }

    async fn ask_metadata(&self, request: MetadataRequest) -> Result<Arc<Metadata>, ClientError> {
        let response = self.call_any(&request).await?;
        let newer = Metadata::from(response);
        let everything = request.topics.is_none();
        let mut held = self.shared.metadata.lock().unwrap_or_else(PoisonError::into_inner);
        let mut merged = if everything { Metadata::default() } else { Metadata::clone(&held) };
        merged.absorb(newer);
        *held = Arc::new(merged);
        Ok(Arc::clone(&held))
    }

    /// Metadata that knows these topics, asking only if need be.
    pub(crate) async fn knowing(&self, topics: &[&str]) -> Result<Arc<Metadata>, ClientError> {
        let held = self.metadata();
        let known = |topic: &&str| held.topics.get(*topic).is_some_and(|topic| !topic.partitions.is_empty());
        if topics.iter().all(known) { Ok(held) } else { self.refresh(Some(topics)).await }
    }

    /// How many partitions a topic has. Waits for one that is just being created.
    pub async fn partitions(&self, topic: &str) -> Result<i32, ClientError> {
        let mut retry = self.retry();
        loop {
            let outcome = self.knowing(&[topic]).await;
            let counted = outcome.and_then(|metadata| {
                let known = metadata.topics.get(topic).map_or(0, |topic| topic.partitions.len());
                match i32::try_from(known).unwrap_or(i32::MAX) {
                    0 => Err(self.no_leader(&metadata, topic, 0)),
                    known => Ok(known),
                }
            });
            match counted {
                Ok(known) => return Ok(known),
                Err(error) => retry.after(error).await?,
            }
        }
    }

    pub(crate) fn retry(&self) -> Retry {
        let Options { retry_for, retry_pause, .. } = self.shared.options;
        Retry { until: Instant::now() + retry_for, pause: retry_pause }
    }

    /// After a failed try: look anew who leads. That this may fail too is left to the next try to find out.
    pub(crate) async fn look_again(&self, topics: &[&str]) {
        if let Err(error) = self.refresh(Some(topics)).await {
            tracing::debug!(%error, "metadata is not to be had now");
        }
    }

    /// A connection to this address, made if there is none.
    pub(crate) async fn connection(&self, lane: Lane, address: &str) -> Result<Connection, ClientError> {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry((lane, address.to_owned())).or_default())
        };
        let mut slot = slot.lock().await;
        if let Some(connection) = slot.as_ref().filter(|connection| connection.is_open()) {
            return Ok(connection.clone());
        }
        let connection = Connection::open(address, &self.shared.options).await?;
        *slot = Some(connection.clone());
        Ok(connection)
    }

    /// A connection to the leader of a partition.
    pub(crate) async fn leader(
        &self,
        lane: Lane,
        topic: &str,
        partition: i32,
    ) -> Result<Connection, ClientError> {
        let metadata = self.knowing(&[topic]).await?;
        match metadata.leader(topic, partition) {
            Some(broker) => self.connection(lane, &broker.address).await,
            None => Err(self.no_leader(&metadata, topic, partition)),
        }
    }

    fn no_leader(&self, metadata: &Metadata, topic: &str, partition: i32) -> ClientError {
        match metadata.topics.get(topic).and_then(|topic| topic.error) {
            Some(code) => ClientError::Refused { what: format!("look up topic {topic}"), code, detail: None },
            None => ClientError::NoLeader { topic: topic.to_owned(), partition },
        }
    }

    /// Asks whoever answers: the addresses given first (for the client's own region stands there), then the brokers known.
    pub(crate) async fn call_any<R: Request>(&self, request: &R) -> Result<R::Response, ClientError> {
        let metadata = self.metadata();
        let mut addresses = self.shared.bootstrap.clone();
        for broker in metadata.brokers.values() {
            if !addresses.contains(&broker.address) {
                addresses.push(broker.address.clone());
            }
        }
        let mut last = ClientError::Unreachable {
            address: "any broker".to_owned(),
            reason: "no bootstrap address was given".to_owned(),
        };
        for address in addresses {
            match self.call_at(&address, request).await {
                Ok(response) => return Ok(response),
                Err(error) if error.is_retriable() => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// Asks the controller, or whoever answers where none is known.
    pub(crate) async fn call_controller<R: Request>(&self, request: &R) -> Result<R::Response, ClientError> {
        let metadata = self.metadata();
        match metadata.brokers.get(&metadata.controller) {
            None => self.call_any(request).await,
            Some(broker) => match self.call_at(&broker.address, request).await {
                Err(ClientError::Unreachable { .. }) => self.call_any(request).await,
                other => other,
            },
        }
    }

    pub(crate) async fn call_at<R: Request>(
        &self,
        address: &str,
        request: &R,
    ) -> Result<R::Response, ClientError> {
        self.connection(Lane::Ask, address).await?.call(request).await
    }
}
