//! A server of two homes and a client that encodes and decodes with the `kafka-protocol` crate.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka::{Door, Front, Limits};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ProduceRequest, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::memory::Memory;

/// A front with the homes `eu-west` and `us-east`.
pub(crate) struct Server {
    pub(crate) memory: Arc<Memory>,
    pub(crate) front: Arc<Front<Memory>>,
    pub(crate) addresses: [SocketAddr; 2],
    pub(crate) stop: watch::Sender<bool>,
}

impl Server {
    pub(crate) async fn start() -> Server {
        Server::with(Limits::default()).await
    }

    pub(crate) async fn with(limits: Limits) -> Server {
        let (stop, stopping) = watch::channel(false);
        let mut listeners = Vec::new();
        for _ in 0..2 {
            listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
        }
        let addresses = [listeners[0].local_addr().unwrap(), listeners[1].local_addr().unwrap()];
        let homes = [("eu-west", addresses[0].port()), ("us-east", addresses[1].port())];
        let memory = Memory::new(&homes);
        let front = Front::new(Arc::clone(&memory), limits);
        for (listener, (home, _)) in listeners.into_iter().zip(homes) {
            let door = Door { listener, home: home.into(), tls: None };
            tokio::spawn(Arc::clone(&front).serve(door, stopping.clone()));
        }
        Server { memory, front, addresses, stop }
    }

    /// Waits until so many batches have arrived.
    pub(crate) async fn arrived(&self, count: usize) {
        while self.memory.arrivals().len() < count {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn client(&self) -> Client<TcpStream> {
        Client::over(TcpStream::connect(self.addresses[0]).await.unwrap())
    }

    pub(crate) async fn client_of_us_east(&self) -> Client<TcpStream> {
        Client::over(TcpStream::connect(self.addresses[1]).await.unwrap())
    }
}

/// One connection.
pub(crate) struct Client<S> {
    pub(crate) stream: S,
    pub(crate) id: &'static str,
    correlation: i32,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) fn over(stream: S) -> Client<S> {
        Client { stream, id: "test-client", correlation: 0 }
    }

    /// Sends a request; answers its correlation id.
    pub(crate) async fn send<R: Request>(&mut self, version: i16, request: &R) -> i32 {
        self.correlation += 1;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation)
            .with_client_id(Some(text(self.id)));
        let mut bytes = BytesMut::new();
        header.encode(&mut bytes, R::header_version(version)).unwrap();
        request.encode(&mut bytes, version).unwrap();
        self.send_bytes(&bytes).await;
        self.correlation
    }

    /// Sends a frame of these bytes.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        let mut frame = BytesMut::with_capacity(bytes.len() + 4);
        frame.put_i32(i32::try_from(bytes.len()).unwrap());
        frame.put_slice(bytes);
        self.stream.write_all(&frame).await.unwrap();
    }

    /// The next answer's bytes, without their length.
    pub(crate) async fn receive_bytes(&mut self) -> Bytes {
        let length = self.stream.read_i32().await.unwrap();
        let mut bytes = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut bytes).await.unwrap();
        bytes.into()
    }

    /// The next answer, which must be one to a request `R` and hold nothing more.
    pub(crate) async fn receive<R: Request>(&mut self, version: i16) -> (i32, R::Response) {
        let mut bytes = self.receive_bytes().await;
        let header = ResponseHeader::decode(&mut bytes, R::Response::header_version(version)).unwrap();
        let response = R::Response::decode(&mut bytes, version).unwrap();
        assert_eq!(bytes.remaining(), 0, "bytes behind the answer to API {} version {version}", R::KEY);
        (header.correlation_id, response)
    }

    pub(crate) async fn ask<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let asked = self.send(version, request).await;
        let (answered, response) = self.receive::<R>(version).await;
        assert_eq!(asked, answered);
        response
    }

    /// Whether the server has closed the connection (after what it still had to say).
    pub(crate) async fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        tokio::time::timeout(std::time::Duration::from_secs(20), self.stream.read_to_end(&mut rest))
            .await
            .is_ok()
    }
}

pub(crate) fn text(words: &str) -> StrBytes {
    StrBytes::from_string(words.into())
}

/// Something that looks like a record batch of so many records and bytes.
pub(crate) fn batch(records: i32, bytes: usize, fill: u8) -> Bytes {
    let mut batch = vec![fill; bytes.max(61)];
    batch[16] = 2;
    batch[23..27].copy_from_slice(&(records - 1).to_be_bytes());
    batch[35..43].copy_from_slice(&i64::from(fill).to_be_bytes());
    batch.into()
}

/// A request that produces one batch.
pub(crate) fn produce(topic: &str, partition: i32, records: Bytes, acks: i16) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(records));
    let topic = TopicProduceData::default().with_name(text(topic).into()).with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(acks).with_timeout_ms(1000).with_topic_data(vec![topic])
}
