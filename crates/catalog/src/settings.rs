//! Topic settings as data: which there are, what they may be, and what they are by default.

use std::collections::BTreeMap;

use thiserror::Error;

/// What `acks=all` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckAll {
    /// Until the batch is durable here and at as many sites as `min.insync.sites` says.
    Local,
    /// Until it is readable in the merged log: the answer then carries its offset.
    Released,
}

/// What a record's timestamp says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    /// What the producer said.
    CreateTime,
    /// When the origin took it in.
    LogAppendTime,
}

/// All settings of a topic, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How many sites must hold a batch before `acks=all` is answered, this one included.
    pub min_insync_sites: u16,
    /// What `acks=all` waits for.
    pub ack_all: AckAll,
    /// How long records are kept at least, in milliseconds; `None`: for ever.
    pub retention_ms: Option<u64>,
    /// How many bytes of each partition are kept at least; `None`: all.
    pub retention_bytes: Option<u64>,
    /// Largest record batch, in bytes.
    pub max_message_bytes: usize,
    /// What timestamps say.
    pub timestamp_type: TimestampType,
}

/// One known setting.
#[derive(Debug)]
pub struct Setting {
    /// Its name, as clients give it.
    pub name: &'static str,
    /// Its default, as clients see it.
    pub default: &'static str,
    /// What it does, in a sentence.
    pub about: &'static str,
}

/// The known settings, by name.
pub const SETTINGS: &[Setting] = &[];

/// Why a setting is not acceptable.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SettingError {
    /// No setting has this name.
    #[error("there is no topic setting {name:?}{}", .suggestion.map(|known| format!("; was {known:?} meant?")).unwrap_or_default())]
    Unknown {
        /// What was given.
        name: String,
        /// A known one that reads alike.
        suggestion: Option<&'static str>,
    },
    /// The value is not one it may have.
    #[error("{name} cannot be {value:?}: it is {expected}")]
    Value {
        /// The setting.
        name: &'static str,
        /// What was given.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
}

impl Settings {
    /// Understands settings as they were given; what is not given, or not understood, is at its default.
    #[must_use]
    pub fn of(given: &BTreeMap<String, String>) -> Settings {
        let _ = given;
        unimplemented!()
    }
}
