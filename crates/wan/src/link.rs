//! What a directed link does to packets, and what it has done so far.
//!
//! Lengths are counted as IP would carry them: payload plus the IPv4 and UDP headers, since that is what a link is paid
//! for and what a rate limits.

use serde::{Deserialize, Serialize};

/// IPv4 and UDP header bytes that every datagram costs on the wire.
pub const DATAGRAM_OVERHEAD_BYTES: u64 = 28;

/// The longest delay or jitter a link may have. Longer is a mistake in units.
const DELAY_MS_MAX: f64 = 60_000.0;

/// The behaviour of one direction between two sites.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Link {
    /// One-way delay.
    pub delay_ms: f64,
    /// Up to this much more, uniformly; packets never overtake each other because of it.
    pub jitter_ms: f64,
    /// Share of packets lost on the way, each independently, after they have used the rate.
    pub loss: f64,
    /// Share of packets held back by `reorder_ms`, so that later ones overtake them.
    pub reorder: f64,
    /// How much later a reordered packet arrives.
    pub reorder_ms: f64,
    /// Share of packets that arrive twice.
    pub duplicate: f64,
    /// Share of packets that arrive with one bit flipped.
    pub corrupt: f64,
    /// Rate in Mbit/s of IP bytes; 0 is unlimited.
    pub rate_mbit: f64,
    /// Queue in front of the rate, in KiB; what does not fit is dropped.
    pub queue_kib: u32,
    /// Longest IP packet that fits; longer ones vanish, as in a path that loses its too-big messages.
    pub mtu: u32,
}

impl Default for Link {
    /// A perfect link of an Ethernet's packet size. The queue is 40 ms at 200 Mbit/s, should a rate be set.
    fn default() -> Self {
        Self {
            delay_ms: 0.0,
            jitter_ms: 0.0,
            loss: 0.0,
            reorder: 0.0,
            reorder_ms: 5.0,
            duplicate: 0.0,
            corrupt: 0.0,
            rate_mbit: 0.0,
            queue_kib: 1_024,
            mtu: 1_500,
        }
    }
}

/// A link description that no link could follow.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("{field} = {value} is out of range: give {wanted}")]
pub struct BadLink {
    /// The field that is wrong.
    pub field: &'static str,
    /// What it said.
    pub value: f64,
    /// What it may say.
    pub wanted: &'static str,
}

impl Link {
    /// A link that only delays.
    pub fn delayed(delay_ms: f64) -> Self {
        Self { delay_ms, ..Self::default() }
    }

    /// Refuses what cannot be scheduled: negative or endless times, probabilities outside 0 to 1.
    ///
    /// # Errors
    /// Names the first field that is out of range.
    pub fn check(&self) -> Result<(), BadLink> {
        let times =
            [("delay_ms", self.delay_ms), ("jitter_ms", self.jitter_ms), ("reorder_ms", self.reorder_ms)];
        for (field, value) in times {
            within(field, value, DELAY_MS_MAX, "milliseconds from 0 to 60000")?;
        }
        let shares = [
            ("loss", self.loss),
            ("reorder", self.reorder),
            ("duplicate", self.duplicate),
            ("corrupt", self.corrupt),
        ];
        for (field, value) in shares {
            within(field, value, 1.0, "a share from 0 to 1")?;
        }
        within("rate_mbit", self.rate_mbit, 1_000_000.0, "Mbit/s, or 0 for unlimited")
    }

    /// The rate and queue of this link's own pipe.
    pub(crate) fn rate(&self) -> Rate {
        Rate { mbit: self.rate_mbit, queue_bytes: u64::from(self.queue_kib) * 1_024 }
    }
}

/// True for NaN as well: it is in no range.
fn within(field: &'static str, value: f64, most: f64, wanted: &'static str) -> Result<(), BadLink> {
    if (0.0..=most).contains(&value) { Ok(()) } else { Err(BadLink { field, value, wanted }) }
}

/// A rate and the queue in front of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    pub(crate) mbit: f64,
    pub(crate) queue_bytes: u64,
}

impl Rate {
    /// Nanoseconds to send one byte; `None` when unlimited.
    pub(crate) fn ns_per_byte(self) -> Option<f64> {
        (self.mbit > 0.0).then(|| 8_000.0 / self.mbit)
    }
}

/// Packets and their IP-level bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// How many.
    pub packets: u64,
    /// Their length on the wire, headers included.
    pub bytes: u64,
}

impl Count {
    pub(crate) fn add(&mut self, bytes: u64) {
        self.packets += 1;
        self.bytes += bytes;
    }
}

/// Packets that did not arrive, by cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Drops {
    /// Lost by chance.
    pub lost: u64,
    /// The queue in front of a rate was full.
    pub queue_full: u64,
    /// The link was cut.
    pub cut: u64,
    /// Longer than the link's MTU.
    pub too_big: u64,
}

/// Packets that arrived otherwise than sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Marks {
    /// Arrived twice.
    pub duplicated: u64,
    /// Held back so that others overtook them.
    pub reordered: u64,
    /// Arrived with a bit flipped.
    pub corrupted: u64,
}

/// What one directed link has carried since the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LinkStats {
    /// The sending site.
    pub from: String,
    /// The receiving site.
    pub to: String,
    /// What `from` sent into the link.
    pub offered: Count,
    /// What came out at `to`.
    pub delivered: Count,
    /// What did not.
    pub drops: Drops,
    /// What came out changed.
    pub marks: Marks,
    /// Longest backlog seen in front of a rate.
    pub queue_bytes_max: u64,
    /// Whether the link is cut now.
    pub cut: bool,
}

/// How much later than due the emulator let packets go: the emulator's own error, to be read beside any result.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Lateness {
    /// Packets measured.
    pub packets: u64,
    /// Median.
    pub p50_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// 99.9th percentile.
    pub p999_us: f64,
    /// The worst.
    pub max_us: f64,
}

#[cfg(test)]
mod tests {
    use super::{BadLink, Link};

    #[test]
    fn a_sane_link_passes_and_a_strange_one_is_named() {
        assert_eq!(Link::delayed(107.5).check(), Ok(()));
        let field = |link: Link| link.check().map_err(|BadLink { field, .. }| field);
        assert_eq!(field(Link { loss: 1.5, ..Link::default() }), Err("loss"));
        assert_eq!(field(Link { delay_ms: -1.0, ..Link::default() }), Err("delay_ms"));
        assert_eq!(field(Link { jitter_ms: f64::NAN, ..Link::default() }), Err("jitter_ms"));
        assert_eq!(field(Link { rate_mbit: f64::INFINITY, ..Link::default() }), Err("rate_mbit"));
    }
}
