//! Topic settings as data: which there are, what they may be, and what they are by default.
//!
//! Settings are stored as clients gave them and understood when the view is built, so that a site that is newer or older
//! can read what another one accepted: what it does not understand is at its default there.

use std::collections::BTreeMap;

use thiserror::Error;

/// What `acks=all` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckAll {
    /// Until the batch is durable here and at as many sites as `min.insync.sites` says.
    Durable,
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
    /// Whether only the latest record of every key is kept.
    pub compacts: bool,
    /// Whether records go when they are too old or too many.
    pub deletes: bool,
    /// How much of a compacted log must be new for it to be compacted again, in thousandths.
    pub dirty_permille: u16,
    /// How long tombstones of a compacted log stay after they were first compacted, in milliseconds.
    pub tombstones_ms: u64,
    /// How long records are kept at least, in milliseconds; `None`: for ever.
    pub retention_ms: Option<u64>,
    /// How many bytes of each partition are kept at least; `None`: all.
    pub retention_bytes: Option<u64>,
    /// How many bytes of the topic a site takes while no other site is known to hold them; `None`: any number.
    pub unreplicated_bytes_max: Option<u64>,
    /// How old the first of them may be for the site to take more, in milliseconds; `None`: of any age.
    pub unreplicated_ms_max: Option<u64>,
    /// Largest record batch, in bytes.
    pub max_message_bytes: usize,
    /// What timestamps say.
    pub timestamp_type: TimestampType,
}

/// What values a setting may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// A whole number in a range.
    Number { least: i64, most: i64 },
    /// One of these words.
    Word(&'static [&'static str]),
    /// A share, from 0 to 1.
    Share,
    /// Taken from clients that send it, and without effect here.
    Ignored,
}

/// One known setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Its name, as clients give it.
    pub name: &'static str,
    /// Its default, as clients see it.
    pub default: &'static str,
    /// What it may be.
    pub expected: &'static str,
    /// What it does, in a sentence.
    pub about: &'static str,
    shape: Shape,
}

/// Most sites a batch can be asked to be held by.
const SITES_MAX: i64 = 1000;
/// Largest batch a topic can be asked to take, in bytes; half of the largest journal entry.
const BATCH_BYTES_MAX: i64 = 8 << 20;

const FOREVER: Shape = Shape::Number { least: -1, most: i64::MAX };

/// The settings that have an effect, by name.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "ack.all",
        default: "durable",
        expected: "`durable` or `released`",
        about: "What acks=all waits for, beside min.insync.sites: durable here, or readable in the merged log.",
        shape: Shape::Word(&["durable", "released"]),
    },
    Setting {
        name: "cleanup.policy",
        default: "delete",
        expected: "`delete`, `compact` or `compact,delete`",
        about: "Whether old records go by age and size, or when a later one has their key, or both.",
        shape: Shape::Word(&["delete", "compact", "compact,delete", "delete,compact"]),
    },
    Setting {
        name: "delete.retention.ms",
        default: "86400000",
        expected: "a number of milliseconds",
        about: "How long a compacted topic keeps a tombstone after it was first compacted.",
        shape: Shape::Number { least: 0, most: i64::MAX },
    },
    Setting {
        name: "max.message.bytes",
        default: "1048588",
        expected: "a number of bytes from 1 to 8388608",
        about: "The largest record batch taken.",
        shape: Shape::Number { least: 1, most: BATCH_BYTES_MAX },
    },
    Setting {
        name: "message.timestamp.type",
        default: "CreateTime",
        expected: "`CreateTime` or `LogAppendTime`",
        about: "Whether a timestamp is the producer's or the time at which its site took the record in.",
        shape: Shape::Word(&["CreateTime", "LogAppendTime"]),
    },
    Setting {
        name: "min.cleanable.dirty.ratio",
        default: "0.5",
        expected: "a share from 0 to 1",
        about: "How much of a compacted log must be new for it to be compacted again.",
        shape: Shape::Share,
    },
    Setting {
        name: "min.insync.sites",
        default: "1",
        expected: "a number of sites from 1 to 1000",
        about: "How many sites hold a batch before acks=all is answered, the one written to included.",
        shape: Shape::Number { least: 1, most: SITES_MAX },
    },
    Setting {
        name: "replication.max.unreplicated.bytes",
        default: "-1",
        expected: "a number of bytes, or -1 for any number",
        about: "How much of the topic a site takes that no other site holds yet; more waits, then fails with a retriable error.",
        shape: FOREVER,
    },
    Setting {
        name: "replication.max.unreplicated.ms",
        default: "-1",
        expected: "a number of milliseconds, or -1 for any age",
        about: "How old what no other site holds yet may be for a site to take more; more waits, then fails with a retriable error.",
        shape: FOREVER,
    },
    Setting {
        name: "retention.bytes",
        default: "-1",
        expected: "a number of bytes, or -1 to keep all",
        about: "How many bytes of a partition are kept at least.",
        shape: FOREVER,
    },
    Setting {
        name: "retention.ms",
        default: "-1",
        expected: "a number of milliseconds, or -1 to keep records for ever",
        about: "How long records are kept at least.",
        shape: FOREVER,
    },
];

/// Settings that clients and tools commonly send, which have no effect here: a topic is created all the same.
const IGNORED: &[&str] = &[
    "file.delete.delay.ms",
    "flush.messages",
    "flush.ms",
    "follower.replication.throttled.replicas",
    "index.interval.bytes",
    "leader.replication.throttled.replicas",
    "max.compaction.lag.ms",
    "message.downconversion.enable",
    "message.format.version",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.difference.max.ms",
    "min.compaction.lag.ms",
    "preallocate",
    "segment.bytes",
    "segment.index.bytes",
    "segment.jitter.ms",
    "segment.ms",
    "unclean.leader.election.enable",
];

/// `producer` is what this system does anyway; anything else would have it rewrite batches.
const COMPRESSION: Setting = Setting {
    name: "compression.type",
    default: "producer",
    expected: "`producer`: batches are kept as their producers sent them",
    about: "How batches are kept.",
    shape: Shape::Word(&["producer"]),
};

/// Replicas are sites here; taking Kafka's name for it would promise what Kafka means by it.
const RENAMED: (&str, &str) = ("min.insync.replicas", "min.insync.sites");

/// How alike two names must be for one to be suggested for the other.
const ALIKE: f64 = 0.8;

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

impl Setting {
    fn takes(&self, value: &str) -> bool {
        match self.shape {
            Shape::Number { least, most } => {
                value.parse().is_ok_and(|number: i64| (least..=most).contains(&number))
            }
            Shape::Word(words) => words.contains(&value),
            Shape::Share => value.parse().is_ok_and(|share: f64| (0.0..=1.0).contains(&share)),
            Shape::Ignored => true,
        }
    }
}

fn known(name: &str) -> Option<Setting> {
    let ignored = |name| Setting { name, default: "", expected: "", about: "", shape: Shape::Ignored };
    SETTINGS
        .iter()
        .chain([&COMPRESSION])
        .find(|setting| setting.name == name)
        .copied()
        .or_else(|| IGNORED.iter().find(|known| **known == name).map(|name| ignored(name)))
}

/// Checks the name of a setting, and its value if one is given.
pub(crate) fn check_setting(name: &str, value: Option<&str>) -> Result<(), SettingError> {
    let Some(setting) = known(name) else {
        return Err(SettingError::Unknown { name: name.to_owned(), suggestion: suggestion(name) });
    };
    match value {
        Some(value) if !setting.takes(value) => {
            let (name, expected) = (setting.name, setting.expected);
            Err(SettingError::Value { name, value: value.to_owned(), expected })
        }
        _ => Ok(()),
    }
}

fn suggestion(name: &str) -> Option<&'static str> {
    if name == RENAMED.0 {
        return Some(RENAMED.1);
    }
    let names = SETTINGS.iter().map(|setting| setting.name).chain(IGNORED.iter().copied());
    let scored = names.map(|known| (strsim::jaro_winkler(name, known), known));
    scored.filter(|(score, _)| *score >= ALIKE).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}

impl Settings {
    /// Understands settings as they were given; what is not given, or not understood, is at its default.
    #[must_use]
    pub fn of(given: &BTreeMap<String, String>) -> Settings {
        let text = |name: &str| {
            let setting = known(name).expect("only settings of the table are asked for");
            given
                .get(name)
                .map(String::as_str)
                .filter(|value| setting.takes(value))
                .unwrap_or(setting.default)
        };
        let number =
            |name: &str| -> i64 { text(name).parse().expect("values and defaults of numbers are numbers") };
        let limit = |name: &str| u64::try_from(number(name)).ok();
        let policy = |wanted: &str| text("cleanup.policy").split(',').any(|word| word == wanted);
        let share: f64 = text("min.cleanable.dirty.ratio").parse().expect("values of shares are numbers");
        Settings {
            min_insync_sites: u16::try_from(number("min.insync.sites")).expect("the table's range fits"),
            ack_all: if text("ack.all") == "released" { AckAll::Released } else { AckAll::Durable },
            compacts: policy("compact"),
            deletes: policy("delete"),
            dirty_permille: (share * 1000.0).round() as u16,
            tombstones_ms: limit("delete.retention.ms").expect("the table's range fits"),
            retention_ms: limit("retention.ms"),
            retention_bytes: limit("retention.bytes"),
            unreplicated_bytes_max: limit("replication.max.unreplicated.bytes"),
            unreplicated_ms_max: limit("replication.max.unreplicated.ms"),
            max_message_bytes: usize::try_from(number("max.message.bytes")).expect("the table's range fits"),
            timestamp_type: match text("message.timestamp.type") {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AckAll, SETTINGS, SettingError, Settings, TimestampType, check_setting};
    use std::collections::BTreeMap;

    fn given(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn defaults_are_values_their_settings_take() {
        for setting in SETTINGS {
            assert_eq!(check_setting(setting.name, Some(setting.default)), Ok(()), "{}", setting.name);
        }
        let settings = Settings::of(&BTreeMap::new());
        assert_eq!((settings.min_insync_sites, settings.ack_all), (1, AckAll::Durable));
        assert_eq!((settings.retention_ms, settings.retention_bytes), (None, None));
        assert_eq!((settings.compacts, settings.deletes), (false, true));
        assert_eq!((settings.dirty_permille, settings.tombstones_ms), (500, 86_400_000));
        assert_eq!((settings.unreplicated_bytes_max, settings.unreplicated_ms_max), (None, None));
        assert_eq!(
            (settings.max_message_bytes, settings.timestamp_type),
            (1_048_588, TimestampType::CreateTime)
        );
    }

    #[test]
    fn what_is_given_counts_if_it_is_understood() {
        let settings = Settings::of(&given(&[
            ("min.insync.sites", "2"),
            ("ack.all", "released"),
            ("retention.ms", "60000"),
            ("max.message.bytes", "not a number"),
            ("replication.max.unreplicated.ms", "0"),
            ("cleanup.policy", "compact"),
            ("min.cleanable.dirty.ratio", "0.25"),
            ("from.the.future", "1"),
        ]));
        assert_eq!((settings.min_insync_sites, settings.ack_all), (2, AckAll::Released));
        assert_eq!((settings.retention_ms, settings.max_message_bytes), (Some(60_000), 1_048_588));
        assert_eq!(settings.unreplicated_ms_max, Some(0));
        assert_eq!((settings.compacts, settings.deletes, settings.dirty_permille), (true, false, 250));
    }

    #[test]
    fn bad_values_and_unknown_names_are_refused_with_a_hint() {
        for (name, value) in [
            ("min.insync.sites", "0"),
            ("ack.all", "maybe"),
            ("retention.ms", "-2"),
            ("replication.max.unreplicated.bytes", "some"),
            ("cleanup.policy", "compress"),
            ("min.cleanable.dirty.ratio", "1.5"),
            ("compression.type", "zstd"),
            ("max.message.bytes", "99999999999999999999"),
        ] {
            assert!(
                matches!(check_setting(name, Some(value)), Err(SettingError::Value { .. })),
                "{name}={value}"
            );
        }
        let hint = |name| match check_setting(name, None) {
            Err(SettingError::Unknown { suggestion, .. }) => suggestion,
            other => panic!("{other:?}"),
        };
        assert_eq!(hint("retention.mss"), Some("retention.ms"));
        assert_eq!(hint("min.insync.replicas"), Some("min.insync.sites"));
        assert_eq!(hint("xyz"), None);
    }

    #[test]
    fn what_kafka_clients_send_along_is_taken() {
        assert_eq!(check_setting("segment.bytes", Some("1073741824")), Ok(()));
        assert_eq!(check_setting("compression.type", Some("producer")), Ok(()));
    }
}
