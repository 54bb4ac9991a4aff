//! One line of a client's diary, as it is written down: the only form that other programs need to know.
//!
//! A call is an `invoke` and, unless its process died before, one of `ok` (it happened), `fail` (it certainly did not) or
//! `info` (nobody knows). Both carry the same `call` number. A poll may be written as its completion alone, with `began_us`.
//! Sends name their values when they are invoked, since a process that dies says no more.

use serde::{Deserialize, Serialize};

/// What a line says of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It was asked for.
    Invoke,
    /// It happened.
    Ok,
    /// It certainly did not happen.
    Fail,
    /// It may have happened, or may yet.
    Info,
}

/// A topic partition, by the name a client uses.
pub type Place = (String, u32);

/// A record somewhere: topic, partition, offset if known (negative is unknown), value.
pub type Spot = (String, u32, Option<i64>, u64);

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// When, in Unix microseconds.
    pub at_us: u64,
    /// Who: one client in one life. After an `info` a client goes on as another process.
    pub process: u32,
    /// Where the client lives.
    pub site: String,
    /// The call, numbered by its process.
    pub call: u64,
    /// What is said of it.
    pub kind: Kind,
    /// When a call began whose invocation has no line of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_us: Option<u64>,
    /// Records sent. Completions need to name them only where an offset is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sent: Vec<Spot>,
    /// Records received.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub polled: Vec<Spot>,
    /// Partitions given to or taken from this consumer by its group since its last call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moved: Vec<Place>,
    /// The consumer chose these partitions, and starts them anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assigned: Option<Vec<Place>>,
    /// The consumer joined this group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Part of the final reads: after everything was healed, from the start to the end of a log, at one site.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub last: bool,
}
