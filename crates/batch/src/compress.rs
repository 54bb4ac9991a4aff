//! The four codecs, unpacked under limits: what a stranger compressed is read as a stream, and stops at the limit
//! before more is allocated.

use std::io::{Read, Write};

use bytes::Bytes;

use crate::header::Compression;
use crate::{RecordError, xerial};

/// Zstandard's window as a power of two: 8 MiB, what its own command-line tool's default levels stay within.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Below this the ratio says nothing: an almost empty stream still has a header.
const RATIO_FREE_BYTES: usize = 64 << 10;

/// How much may be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecompressLimits {
    /// In all.
    pub bytes_max: usize,
    /// For each compressed byte.
    pub ratio_max: usize,
}

impl Default for DecompressLimits {
    fn default() -> Self {
        DecompressLimits { bytes_max: 64 << 20, ratio_max: 1_000 }
    }
}

impl DecompressLimits {
    /// The limit for so many compressed bytes.
    pub(crate) fn bytes_max_for(self, packed_bytes: usize) -> usize {
        packed_bytes.saturating_mul(self.ratio_max).max(RATIO_FREE_BYTES).min(self.bytes_max)
    }
}

pub(crate) fn decompress(
    codec: Compression,
    packed: &Bytes,
    limits: DecompressLimits,
) -> Result<Bytes, RecordError> {
    let limit = limits.bytes_max_for(packed.len());
    let plain = match codec {
        Compression::None => return Ok(packed.clone()),
        Compression::Gzip => drain(flate2::read::MultiGzDecoder::new(&packed[..]), limit)?,
        Compression::Snappy => xerial::decompress(packed, limits)?,
        Compression::Lz4 => drain(lz4_flex::frame::FrameDecoder::new(&packed[..]), limit)?,
        Compression::Zstd => {
            let mut decoder =
                zstd::stream::read::Decoder::with_buffer(&packed[..]).map_err(|_| RecordError::Unpack)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|_| RecordError::Unpack)?;
            drain(decoder, limit)?
        }
    };
    Ok(Bytes::from(plain))
}

fn drain(stream: impl Read, limit: usize) -> Result<Vec<u8>, RecordError> {
    let mut plain = Vec::new();
    let mut capped = stream.take(limit as u64 + 1);
    capped.read_to_end(&mut plain).map_err(|_| RecordError::Unpack)?;
    if plain.len() > limit { Err(RecordError::UnpackedTooLarge { limit }) } else { Ok(plain) }
}

pub(crate) fn compress(codec: Compression, plain: Vec<u8>) -> Vec<u8> {
    let in_memory = "writing to memory does not fail";
    match codec {
        Compression::None => plain,
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(&plain).expect(in_memory);
            encoder.finish().expect(in_memory)
        }
        Compression::Snappy => xerial::compress(&plain),
        Compression::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(&plain).expect(in_memory);
            encoder.finish().expect(in_memory)
        }
        Compression::Zstd => zstd::stream::encode_all(&plain[..], 0).expect(in_memory),
    }
}
