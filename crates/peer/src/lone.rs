//! What comes off the wire without a connection: the way in for a fuzzer, which has bytes and no peer.

use bytes::Bytes;

use crate::frame::{FrameReader, prefix};
use crate::hello::{HELLO_BYTES, Hello};
use crate::notary::split;
use crate::{Certificate, Fingerprint, Lane, SiteName};

/// The frames on a stream up to its end, or up to where it breaks a rule.
pub async fn frames(stream: &[u8]) -> Vec<Bytes> {
    let (mut reader, mut frames) = (FrameReader::new(stream), Vec::new());
    while let Ok(length) = reader.length().await {
        let Ok(body) = reader.body(length).await else { break };
        frames.push(body);
    }
    frames
}

/// These frames as they go on a stream.
#[must_use]
pub fn stream(frames: &[Bytes]) -> Vec<u8> {
    frames.iter().flat_map(|frame| [&prefix(frame.len())[..], frame].concat()).collect()
}

/// The lane that a stream of bulk opens with; `None` if it is none.
pub async fn lane(stream: &[u8]) -> Option<Lane> {
    Lane::bulk_from_mark(FrameReader::new(stream).mark().await.ok()?)
}

/// A greeting as it is written; `None` if the bytes are none.
#[must_use]
pub fn hello(bytes: &[u8]) -> Option<[u8; HELLO_BYTES]> {
    Hello::decode(*bytes.first_chunk()?).ok().map(Hello::encode)
}

/// What the certificates of a chain say, before anybody asks who stands behind them; `Err` says why they are none.
pub fn chain(bytes: &[u8]) -> Result<Vec<(Certificate, Fingerprint, Option<SiteName>)>, String> {
    let of = |der: &_| Ok((Certificate::of(der)?, Fingerprint::of(der)?, SiteName::of_certificate(der).ok()));
    split(bytes)?.iter().map(of).collect()
}
