//! The WAL against crashes, damage and its own past.

pub(crate) mod entries;
