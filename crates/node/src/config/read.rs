//! Gives the tree its types: every key, its default, and the range it must lie in.

mod section;
mod take;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use catalog::AckAll;
use site::SITE_ID_MAX;

use self::section::Section;
use self::take::{choice, flag, host, host_port, list, parsed, site_name, text, whole};
use super::error::ConfigError;
use super::tree::Node;
use super::{
    Config, Copies, Home, Journal, Limits, Listen, Log, LogFormat, Member, Own, Peers, Shared, Tls, Topics,
};

const SECTIONS: &[&str] = &[
    "site", "cluster", "members", "homes", "listen", "dial", "tls", "limits", "clock", "journal", "copies",
    "peers", "topics", "log",
];

/// Bytes in a MiB.
const MIB: i64 = 1 << 20;
/// Sizes that bound memory.
const MEMORY_BYTES: RangeInclusive<i64> = (64 << 10)..=(64 << 30);
/// A record batch travels in one journal entry, which ends at 16 MiB.
const BATCH_BYTES: RangeInclusive<i64> = 1024..=(15 * MIB);
/// Sizes on the disk.
const DISK_BYTES: RangeInclusive<i64> = MIB..=(1 << 40);
/// Times: from a millisecond to a day.
const MILLISECONDS: RangeInclusive<i64> = 1..=86_400_000;

/// Connections may become this old: from a second to a week.
const CONNECTION_AGE_MS: RangeInclusive<i64> = 1_000..=7 * 86_400_000;

/// The whole file.
pub(super) fn config(path: &Path, root: &Node) -> Result<Config, ConfigError> {
    let root = Section::root(root, SECTIONS)?;
    Ok(Config {
        path: path.to_owned(),
        site: own(&root.need_table("site", &["name", "id", "data_dir"])?)?,
        shared: shared(&root)?,
        listen: listen(&root.need_table("listen", &["kafka", "peer", "http"])?)?,
        tls: tls(&root.need_table("tls", &["ca", "cert", "key", "former_ca", "denied", "kafka"])?)?,
        limits: limits(&root)?,
        clock_bound_ms: root.table("clock", &["bound_ms"])?.or("bound_ms", 500, whole(MILLISECONDS))?,
        journal: journal(&root)?,
        copies: copies(&root)?,
        peers: peers(&root)?,
        topics: topics(&root)?,
        log: log(&root)?,
    })
}

fn own(site: &Section<'_>) -> Result<Own, ConfigError> {
    Ok(Own {
        name: site.need("name", site_name)?,
        id: site.need("id", whole(1..=i64::from(SITE_ID_MAX)))?,
        data_dir: site.need("data_dir", text).map(PathBuf::from)?,
    })
}

fn shared(root: &Section<'_>) -> Result<Shared, ConfigError> {
    let cluster = root.need_table("cluster", &["id"])?;
    let members = root.tables("members", &["name", "id", "peer", "kafka", "witness"])?;
    let homes = root.tables("homes", &["name", "port", "prefer"])?;
    Ok(Shared {
        cluster: cluster.need("id", parsed("a UUID"))?,
        members: members.iter().map(member).collect::<Result<_, _>>()?,
        homes: homes.iter().map(home).collect::<Result<_, _>>()?,
    })
}

fn member(member: &Section<'_>) -> Result<Member, ConfigError> {
    let witness = member.or("witness", false, flag)?;
    Ok(Member {
        name: member.need("name", site_name)?,
        id: member.need("id", whole(1..=i64::from(SITE_ID_MAX)))?,
        peer: member.need("peer", host_port)?,
        // Clients are not told of a witness.
        kafka: if witness { member.or("kafka", String::new(), host)? } else { member.need("kafka", host)? },
        witness,
    })
}

fn home(home: &Section<'_>) -> Result<Home, ConfigError> {
    Ok(Home {
        name: home.need("name", site_name)?,
        port: home.need("port", whole(1..=65_535))?,
        prefer: home.need("prefer", list)?,
    })
}

fn listen(listen: &Section<'_>) -> Result<Listen, ConfigError> {
    Ok(Listen {
        kafka: listen.need("kafka", parsed("an IP address"))?,
        peer: listen.need("peer", parsed("an IP address and port"))?,
        http: listen.need("http", parsed("an IP address and port"))?,
    })
}

fn tls(tls: &Section<'_>) -> Result<Tls, ConfigError> {
    let file = |key| tls.need(key, text).map(PathBuf::from);
    let maybe = |key| tls.get(key, text).map(|path| path.map(PathBuf::from));
    Ok(Tls {
        ca: file("ca")?,
        cert: file("cert")?,
        key: file("key")?,
        former_ca: maybe("former_ca")?,
        denied: maybe("denied")?,
        kafka: tls.or("kafka", false, choice(&[("off", false), ("on", true)]))?,
    })
}

fn limits(root: &Section<'_>) -> Result<Limits, ConfigError> {
    let limits = root.table(
        "limits",
        &[
            "connections",
            "batch_bytes_max",
            "request_bytes_max",
            "fetch_bytes_max",
            "pending_bytes_max",
            "unreleased_entries_max",
            "peer_window_bytes",
            "disk_free_bytes_min",
        ],
    )?;
    let memory = |key, default| limits.or(key, default, whole(MEMORY_BYTES));
    Ok(Limits {
        connections: limits.or("connections", 4096, whole(1..=1_000_000))?,
        batch_bytes_max: limits.or("batch_bytes_max", 1_048_588, whole(BATCH_BYTES))?,
        request_bytes_max: memory("request_bytes_max", 16 << 20)?,
        fetch_bytes_max: memory("fetch_bytes_max", 64 << 20)?,
        pending_bytes_max: memory("pending_bytes_max", 64 << 20)?,
        unreleased_entries_max: limits.or(
            "unreleased_entries_max",
            10_000_000,
            whole(1_000..=1_000_000_000),
        )?,
        peer_window_bytes: memory("peer_window_bytes", 32 << 20)?,
        disk_free_bytes_min: limits.or("disk_free_bytes_min", 256 << 20, whole(0..=*DISK_BYTES.end()))?,
    })
}

fn journal(root: &Section<'_>) -> Result<Journal, ConfigError> {
    let known = &["segment_bytes", "segments_spare", "checkpoint_bytes", "wal_bytes_max", "memory_bytes"];
    let journal = root.table("journal", known)?;
    Ok(Journal {
        segment_bytes: journal.or("segment_bytes", 64 << 20, whole(DISK_BYTES))?,
        segments_spare: journal.or("segments_spare", 8, whole(0..=1000))?,
        checkpoint_bytes: journal.or("checkpoint_bytes", 256 << 20, whole(DISK_BYTES))?,
        wal_bytes_max: journal.or("wal_bytes_max", 4 << 30, whole(DISK_BYTES))?,
        memory_bytes: journal.or("memory_bytes", 64 << 20, whole(0..=*MEMORY_BYTES.end()))?,
    })
}

fn copies(root: &Section<'_>) -> Result<Copies, ConfigError> {
    let copies = root.table("copies", &["bytes_per_second", "look_bytes_per_second"])?;
    Ok(Copies {
        bytes_per_second: copies.or("bytes_per_second", 64 << 20, whole(DISK_BYTES))?,
        look_bytes_per_second: copies.or("look_bytes_per_second", 8 << 20, whole(0..=*DISK_BYTES.end()))?,
    })
}

fn peers(root: &Section<'_>) -> Result<Peers, ConfigError> {
    let known = &["silence_ms", "home_after_ms", "fence_timeout_ms", "connection_age_ms"];
    let peers = root.table("peers", known)?;
    let time = |key, default| peers.or(key, default, whole(MILLISECONDS));
    let dial = root.named_table("dial")?;
    let entry = |name: &str| Ok((name.to_owned(), dial.need(name, host_port)?));
    Ok(Peers {
        silence_ms: time("silence_ms", 1_000)?,
        home_after_ms: time("home_after_ms", 10_000)?,
        fence_timeout_ms: peers.or("fence_timeout_ms", 10_000, whole(0..=86_400_000))?,
        connection_age_ms: peers.or("connection_age_ms", 86_400_000, whole(CONNECTION_AGE_MS))?,
        dial: dial.names().map(entry).collect::<Result<BTreeMap<_, _>, ConfigError>>()?,
    })
}

fn topics(root: &Section<'_>) -> Result<Topics, ConfigError> {
    let topics = root.table("topics", &["auto_create", "partitions", "min_insync_sites", "ack_all"])?;
    let moments = choice(&[("durable", AckAll::Durable), ("released", AckAll::Released)]);
    Ok(Topics {
        auto_create: topics.or("auto_create", true, flag)?,
        partitions: topics.or("partitions", 4, whole(1..=10_000))?,
        min_insync_sites: topics.or("min_insync_sites", 1, whole(1..=64))?,
        ack_all: topics.or("ack_all", AckAll::Durable, moments)?,
    })
}

fn log(root: &Section<'_>) -> Result<Log, ConfigError> {
    let log = root.table("log", &["level", "format"])?;
    let formats = choice(&[("pretty", LogFormat::Pretty), ("json", LogFormat::Json)]);
    Ok(Log {
        level: log.or("level", "info".to_owned(), text)?,
        format: log.or("format", LogFormat::Pretty, formats)?,
    })
}
