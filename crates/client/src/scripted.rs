//! A broker for tests: a TCP server that answers each request as a closure says, byte for byte.

use std::sync::{Arc, Mutex};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, BrokerId, MetadataResponse, RequestHeader, ResponseHeader,
};
use kafka_protocol::protocol::{Decodable as _, Encodable as _, Request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::metadata::{text, topic_name};
use crate::wire::version_max;

/// A request as it came.
pub(crate) struct Asked {
    pub(crate) key: ApiKey,
    pub(crate) version: i16,
    pub(crate) correlation: i32,
    body: Bytes,
}

/// What the broker does about it.
pub(crate) enum Does {
    /// Writes these bytes: any number of answers, or nonsense.
    Writes(Vec<u8>),
    /// Closes the connection.
    Closes,
}

impl Asked {
    pub(crate) fn request<R: Request>(&self) -> R {
        assert_eq!(self.key as i16, R::KEY, "another request was expected");
        R::decode(&mut self.body.clone(), self.version).unwrap()
    }

    /// The bytes of an answer to this.
    pub(crate) fn answer<R: Request>(&self, response: &R::Response) -> Vec<u8> {
        use kafka_protocol::protocol::HeaderVersion as _;
        let mut frame = BytesMut::new();
        let header = ResponseHeader::default().with_correlation_id(self.correlation);
        header.encode(&mut frame, R::Response::header_version(self.version)).unwrap();
        response.encode(&mut frame, self.version).unwrap();
        let mut out = Vec::new();
        out.put_u32(u32::try_from(frame.len()).unwrap());
        out.extend_from_slice(&frame);
        out
    }
}

type Script = Arc<Mutex<dyn FnMut(&Asked) -> Does + Send>>;

/// A listening broker.
pub(crate) struct Broker {
    pub(crate) address: String,
    pub(crate) port: i32,
    listener: TcpListener,
}

impl Broker {
    pub(crate) async fn bind() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { address: address.to_string(), port: address.port().into(), listener }
    }

    /// Starts answering. ApiVersions is answered by itself; all else is the script's.
    pub(crate) fn start(self, script: impl FnMut(&Asked) -> Does + Send + 'static) {
        self.start_raw(with_versions(script));
    }

    /// Starts answering; everything is the script's.
    pub(crate) fn start_raw(self, script: impl FnMut(&Asked) -> Does + Send + 'static) {
        let script: Script = Arc::new(Mutex::new(script));
        tokio::spawn(async move {
            while let Ok((stream, _)) = self.listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&script)));
            }
        });
    }
}

async fn serve(mut stream: TcpStream, script: Script) {
    while let Ok(length) = stream.read_u32().await {
        let mut frame = vec![0; length as usize];
        if stream.read_exact(&mut frame).await.is_err() {
            return;
        }
        let asked = parse(Bytes::from(frame));
        let does = (script.lock().unwrap())(&asked);
        match does {
            Does::Writes(bytes) => {
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            Does::Closes => return,
        }
    }
}

fn parse(mut frame: Bytes) -> Asked {
    let key = ApiKey::try_from(frame.slice(..2).get_i16()).unwrap();
    let version = frame.slice(2..4).get_i16();
    let header = RequestHeader::decode(&mut frame, key.request_header_version(version)).unwrap();
    Asked { key, version, correlation: header.correlation_id, body: frame }
}

fn with_versions(mut script: impl FnMut(&Asked) -> Does) -> impl FnMut(&Asked) -> Does {
    move |asked| {
        if asked.key != ApiKey::ApiVersions {
            return script(asked);
        }
        let keys = (0..100).filter_map(|key| ApiKey::try_from(key).ok());
        let offered = keys.filter_map(|key| {
            let max_version = version_max(key)?;
            Some(ApiVersion::default().with_api_key(key as i16).with_max_version(max_version))
        });
        let response = ApiVersionsResponse::default().with_api_keys(offered.collect());
        Does::Writes(asked.answer::<kafka_protocol::messages::ApiVersionsRequest>(&response))
    }
}

/// Brokers at these ports of this machine, ids from 1; topic `t` with one partition, led by `leader`.
pub(crate) fn cluster(ports: &[i32], leader: i32) -> MetadataResponse {
    let broker = |(id, port): (i32, &i32)| {
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(id))
            .with_host(text("127.0.0.1"))
            .with_port(*port)
    };
    let partition = MetadataResponsePartition::default().with_leader_id(BrokerId(leader));
    let topic =
        MetadataResponseTopic::default().with_name(Some(topic_name("t"))).with_partitions(vec![partition]);
    MetadataResponse::default()
        .with_brokers((1..).zip(ports).map(broker).collect())
        .with_controller_id(BrokerId(1))
        .with_topics(vec![topic])
}

impl Asked {
    /// The same request as if it had come in another version, to answer in that version's form.
    pub(crate) fn of_version(asked: &Self, version: i16) -> Self {
        Self { key: asked.key, version, correlation: asked.correlation, body: asked.body.clone() }
    }
}
