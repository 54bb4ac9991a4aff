//! Frames on a stream: a big-endian `u32` length, then that many bytes.
//!
//! The length is looked at before anything is made ready for the body, and memory grows only as bytes really arrive.

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::MAX_FRAME_BYTES;

/// Bytes in front of each frame.
const PREFIX_BYTES: usize = 4;
/// How much is made ready for reading at a time, however long a frame claims to be.
const READ_BYTES: usize = 256 << 10;
/// Frames below this are copied out, so that a small one that is kept does not keep a large buffer alive.
const COPIED_BELOW_BYTES: usize = 8 << 10;

/// Why reading frames ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadFailure {
    /// The other end announced more than is allowed.
    #[error("the other site announced a frame of {0} bytes; at most {MAX_FRAME_BYTES} are allowed")]
    TooLarge(usize),
    /// The stream ended, between frames or inside one.
    #[error("the other site ended a lane")]
    Ended,
    /// The connection is gone.
    #[error("{0}")]
    Lost(#[from] std::io::Error),
}

/// The prefix that goes before a frame of this length.
pub(crate) fn prefix(length: usize) -> [u8; PREFIX_BYTES] {
    u32::try_from(length)
        .expect("frames above MAX_FRAME_BYTES are refused when they are queued")
        .to_be_bytes()
}

/// A stream that is read frame by frame.
pub(crate) struct FrameReader<R> {
    stream: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(stream: R) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }

    /// One byte: what a stream opens with.
    pub(crate) async fn mark(&mut self) -> Result<u8, ReadFailure> {
        self.fill(1).await?;
        Ok(self.buffer.split_to(1)[0])
    }

    /// The length of the next frame. Its body is not read yet, so that the caller can first see whether there is room.
    pub(crate) async fn length(&mut self) -> Result<usize, ReadFailure> {
        self.fill(PREFIX_BYTES).await?;
        let prefix = self.buffer.split_to(PREFIX_BYTES);
        let length = prefix.iter().fold(0_usize, |sum, byte| (sum << 8) | usize::from(*byte));
        if length > MAX_FRAME_BYTES { Err(ReadFailure::TooLarge(length)) } else { Ok(length) }
    }

    /// The body of the frame whose length was just read.
    pub(crate) async fn body(&mut self, length: usize) -> Result<Bytes, ReadFailure> {
        self.fill(length).await?;
        let body = self.buffer.split_to(length);
        Ok(if length < COPIED_BELOW_BYTES { Bytes::copy_from_slice(&body) } else { body.freeze() })
    }

    async fn fill(&mut self, least: usize) -> Result<(), ReadFailure> {
        while self.buffer.len() < least {
            let missing = least - self.buffer.len();
            self.buffer.reserve(missing.min(READ_BYTES));
            if !self.buffer.has_remaining_mut() || self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(ReadFailure::Ended);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{FrameReader, ReadFailure, prefix};
    use crate::MAX_FRAME_BYTES;

    async fn read(reader: &mut FrameReader<&[u8]>) -> Result<Vec<u8>, ReadFailure> {
        let length = reader.length().await?;
        Ok(reader.body(length).await?.to_vec())
    }

    #[tokio::test]
    async fn frames_of_all_sizes_come_back_in_order() {
        let frames: Vec<Vec<u8>> = [0, 1, 5, 8_191, 8_192, 300_000].map(|n| vec![n as u8; n]).into();
        let wire: Vec<u8> = frames.iter().flat_map(|f| [&prefix(f.len())[..], f].concat()).collect();
        let mut reader = FrameReader::new(&wire[..]);
        for frame in &frames {
            assert_eq!(&read(&mut reader).await.unwrap(), frame);
        }
        assert!(matches!(read(&mut reader).await, Err(ReadFailure::Ended)));
    }

    #[tokio::test]
    async fn the_largest_length_is_taken_and_one_more_is_not() {
        let (fits, larger) = (prefix(MAX_FRAME_BYTES), prefix(MAX_FRAME_BYTES + 1));
        assert_eq!(FrameReader::new(&fits[..]).length().await.unwrap(), MAX_FRAME_BYTES);
        assert!(matches!(FrameReader::new(&larger[..]).length().await, Err(ReadFailure::TooLarge(_))));
    }

    #[tokio::test]
    async fn a_claimed_length_alone_takes_no_memory() {
        let mut reader = FrameReader::new(&[1, 2, 3][..]);
        assert!(matches!(reader.body(MAX_FRAME_BYTES).await, Err(ReadFailure::Ended)));
        assert!(reader.buffer.capacity() < 1 << 20);
    }

    #[test]
    fn the_prefix_is_big_endian() {
        assert_eq!(prefix(0x0012_3456), [0x00, 0x12, 0x34, 0x56]);
    }
}
