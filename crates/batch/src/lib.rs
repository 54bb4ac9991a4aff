//! Kafka record batch v2 as bytes: view, validate, patch, build.
//!
//! A batch stays as its producer sent it, from the socket to the disk to the WAN to the consumer. So this room works on
//! bytes in place: it reads the 61-byte header ([`parse`]), checks what a client sends before anyone is told that it is
//! kept ([`validate`]), and changes what lies outside the checksum when a reader is given its offsets ([`placed`]).
//! Records are looked into only by our own tools ([`records`], [`Builder`]), and by whoever must; compressed ones are
//! unpacked under limits, since their size is whatever a stranger made it.
//!
//! It refuses the message formats before v2, and knows nothing of topics, offsets in use or time.

mod build;
mod compress;
mod error;
mod header;
mod patch;
mod records;
mod rewrite;
mod validate;
mod varint;
mod xerial;

pub use build::{Builder, NewRecord};
pub use compress::DecompressLimits;
pub use error::{BatchError, RecordError};
pub use header::{
    Attributes, BatchInfo, Compression, HEADER_BYTES, Header, TimestampType, parse, parse_kept,
};
pub use patch::{PLACED_BYTES, placed, set_append_time, set_base_offset, set_leader_epoch};
pub use records::{Record, RecordHeader, Records, records};
pub use rewrite::{Left, keyless, rewrite};
pub use validate::{Limits, validate};

#[cfg(test)]
mod tests;
