//! Kafka's primitive types, read from and written to bytes.
//!
//! Every message is read and written by hand from these (decision 0002): each count and length is held against what is
//! really there before anything is allocated, and record bytes pass through in both directions without being copied.

mod reader;
mod rope;

pub(crate) use reader::{Malformed, Reader};
pub(crate) use rope::{Frame, Writer};
