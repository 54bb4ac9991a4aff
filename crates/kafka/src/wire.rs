//! Kafka's primitive types, read from and written to bytes.
//!
//! Every message is read and written by hand from these (decision 0002): each count and length is held against what is
//! really there before anything is allocated, and record bytes pass through in both directions without being copied.

use crate::limits::ONE_ANSWER_BYTES_MAX;

mod reader;
mod rope;

pub(crate) use reader::{Malformed, Reader};
pub(crate) use rope::{Frame, Writer};

/// Why a request gets no answer, and its connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("{0}")]
    Malformed(#[from] Malformed),
    #[error("its answer would be larger than {ONE_ANSWER_BYTES_MAX} bytes: let it ask for less at once")]
    TooMuch,
}
