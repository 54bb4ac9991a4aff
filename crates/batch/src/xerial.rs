//! Snappy as Kafka's Java clients frame it: `\x82SNAPPY\0`, a version and the lowest compatible version (both i32 = 1),
//! then chunks, each with its length (i32) before it. Other clients send one bare Snappy block; both are read, the
//! framed form is written.

use crate::{DecompressLimits, RecordError};

const MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
const HEAD_BYTES: usize = 16;
/// How much goes into a chunk, as the Java library has it.
const CHUNK_BYTES: usize = 32 << 10;

pub(crate) fn compress(plain: &[u8]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&1i32.to_be_bytes());
    out.extend_from_slice(&1i32.to_be_bytes());
    for chunk in plain.chunks(CHUNK_BYTES) {
        let packed = snap::raw::Encoder::new().compress_vec(chunk).expect("a chunk is far below 4 GiB");
        out.extend_from_slice(&(packed.len() as u32).to_be_bytes());
        out.extend_from_slice(&packed);
    }
    out
}

pub(crate) fn decompress(packed: &[u8], limits: DecompressLimits) -> Result<Vec<u8>, RecordError> {
    let limit = limits.bytes_max_for(packed.len());
    let mut plain = Vec::new();
    if !packed.starts_with(&MAGIC) {
        append(&mut plain, packed, limit)?;
        return Ok(plain);
    }
    let mut rest = packed.get(HEAD_BYTES..).ok_or(RecordError::Unpack)?;
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<4>().ok_or(RecordError::Unpack)?;
        let length = u32::from_be_bytes(*length) as usize;
        append(&mut plain, after.get(..length).ok_or(RecordError::Unpack)?, limit)?;
        rest = &after[length..];
    }
    Ok(plain)
}

/// Unpacks one block, whose length is known before a byte is allocated for it.
fn append(plain: &mut Vec<u8>, block: &[u8], limit: usize) -> Result<(), RecordError> {
    let length = snap::raw::decompress_len(block).map_err(|_| RecordError::Unpack)?;
    let from = plain.len();
    if length > limit - from {
        return Err(RecordError::UnpackedTooLarge { limit });
    }
    plain.resize(from + length, 0);
    let written =
        snap::raw::Decoder::new().decompress(block, &mut plain[from..]).map_err(|_| RecordError::Unpack)?;
    if written == length { Ok(()) } else { Err(RecordError::Unpack) }
}
