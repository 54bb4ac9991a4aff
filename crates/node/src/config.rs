//! What an operator tells a site: one TOML file, overridden by the environment, overridden by `--set`.
//!
//! Every key is documented in `datacenters/eu-west.toml`; this module is the same list as plain, typed values. Nothing here
//! acts on them. A file is taken whole or refused with one sentence that names the place, the key and what to write
//! instead: a site that runs on half of what its operator meant is worse than one that does not start. So unknown keys are
//! errors, and so are values that contradict each other.
//!
//! The way of a value: `tree` keeps where each one was said, `overrides` lays environment and flags over the file,
//! `read` gives types, `rules` looks at the whole.

mod error;
mod overrides;
mod read;
mod rules;
mod tree;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use catalog::AckAll;
use uuid::Uuid;

pub use error::{ConfigError, Place};

/// Everything one site is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The file it came from.
    pub path: PathBuf,
    /// Who this site is.
    pub site: Own,
    /// What all sites must say alike.
    pub shared: Shared,
    /// Where this site listens.
    pub listen: Listen,
    /// Certificates.
    pub tls: Tls,
    /// What may be asked of it at a time.
    pub limits: Limits,
    /// How far a remote site's clock may be ahead of ours, in milliseconds.
    pub clock_bound_ms: u64,
    /// The write-ahead log.
    pub journal: Journal,
    /// What other sites copy from here.
    pub copies: Copies,
    /// Links to the other sites.
    pub peers: Peers,
    /// What new topics are like.
    pub topics: Topics,
    /// What it says while it runs.
    pub log: Log,
}

/// `[site]`: who I am.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// Region name; the one in the certificate.
    pub name: String,
    /// Kafka broker id.
    pub id: u16,
    /// Everything this site keeps.
    pub data_dir: PathBuf,
}

/// `[cluster]`, `[[members]]` and `[[homes]]`: what two sites both say of it must be the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// The cluster's id.
    pub cluster: Uuid,
    /// All sites that are or may become members, this one included.
    pub members: Vec<Member>,
    /// The home regions of clients.
    pub homes: Vec<Home>,
}

/// One of `[[members]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its region name.
    pub name: String,
    /// Its Kafka broker id.
    pub id: u16,
    /// Where the others dial it: host and UDP port.
    pub peer: String,
    /// The host that Kafka clients are told.
    pub kafka: String,
    /// Whether it is the witness: it holds no data, takes no clients, and is never a member.
    pub witness: bool,
}

/// One of `[[homes]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// The region's name.
    pub name: String,
    /// The Kafka port of its clients, at every site.
    pub port: u16,
    /// Who serves them: names of members, the first living one.
    pub prefer: Vec<String>,
}

/// `[listen]`: addresses of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// For Kafka clients; the ports are the homes'.
    pub kafka: IpAddr,
    /// For the other sites, UDP.
    pub peer: SocketAddr,
    /// For `/healthz`, `/readyz` and `/metrics`.
    pub http: SocketAddr,
}

/// `[tls]`: the PEM files, who is kept out, and whether Kafka clients use them too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The authority that signs all sites' certificates.
    pub ca: PathBuf,
    /// This site's certificate.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Authorities that links trust no more, and whose sites' signatures still count.
    pub former_ca: Option<PathBuf>,
    /// Fingerprints of keys that let nobody in.
    pub denied: Option<PathBuf>,
    /// TLS for Kafka clients. Without it only loopback addresses are served.
    pub kafka: bool,
}

/// `[limits]`: each bounds something that clients or peers could otherwise let grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Kafka connections.
    pub connections: usize,
    /// Largest record batch.
    pub batch_bytes_max: usize,
    /// Largest Kafka request.
    pub request_bytes_max: usize,
    /// Largest answer to a fetch.
    pub fetch_bytes_max: usize,
    /// Accepted from clients and not yet durable.
    pub pending_bytes_max: usize,
    /// Entries held without a place in the merged order.
    pub unreleased_entries_max: usize,
    /// Sent to one peer and not yet durable there.
    pub peer_window_bytes: usize,
    /// With less free than this, writes are refused. A part of it is set aside in a file.
    pub disk_free_bytes_min: u64,
}

/// `[journal]`: the write-ahead log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    /// Size of a segment.
    pub segment_bytes: u64,
    /// Segments that are done with and kept for use again, at most.
    pub segments_spare: usize,
    /// A checkpoint is taken after this many bytes.
    pub checkpoint_bytes: u64,
    /// How large it may grow for the sake of sites that lack what it holds.
    pub wal_bytes_max: u64,
    /// Its latest entries, kept in memory for the other sites.
    pub memory_bytes: usize,
}

/// `[copies]`: what other sites take over from here as files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copies {
    /// How much they are given at most.
    pub bytes_per_second: u64,
    /// How much of its own files it looks at for damage.
    pub look_bytes_per_second: u64,
}

/// `[peers]` and `[dial]`: links to the other sites.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peers {
    /// A site silent for this long is taken for dead.
    pub silence_ms: u64,
    /// A site must be back for this long before its clients are sent home.
    pub home_after_ms: u64,
    /// A site silent for this long is fenced; 0 for never.
    pub fence_timeout_ms: u64,
    /// How old a connection to another site may become.
    pub connection_age_ms: u64,
    /// Where to dial a member when that is not its `peer` address, by name.
    pub dial: BTreeMap<String, String>,
}

/// `[topics]`: defaults of new topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// Create a topic when a client that allows it first names it.
    pub auto_create: bool,
    /// Partitions.
    pub partitions: u32,
    /// Sites that must hold a record before `acks=all` is answered.
    pub min_insync_sites: u16,
    /// When `acks=all` is answered.
    pub ack_all: AckAll,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// For machines, one object per line.
    Json,
}

/// `[log]`: what the site says while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// A level, or a filter such as `info,site=debug`.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

impl Config {
    /// Reads a file and lays over it what the environment says (`MERIDIAN_LISTEN__HTTP=…`), and over both what flags say
    /// (`listen.http=…`). Environment variables that are not of this form are not ours and are passed over.
    ///
    /// # Errors
    /// [`ConfigError`], which names the place and the key. Nothing is retried: the operator has to change something.
    pub fn load(
        path: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: impl IntoIterator<Item = String>,
    ) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            reason: source.to_string(),
        })?;
        Config::parse(path, &text, environment, flags)
    }

    /// As [`Config::load`], of a text that has been read already.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn parse(
        path: &Path,
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: impl IntoIterator<Item = String>,
    ) -> Result<Config, ConfigError> {
        let mut root = tree::parse(path, text)?;
        overrides::environment(&mut root, environment)?;
        overrides::flags(&mut root, flags)?;
        let config = read::config(path, &root)?;
        rules::check(&config)?;
        Ok(config)
    }

    /// The member that this site is.
    ///
    /// # Panics
    /// If the configuration was not made by [`Config::load`], which checks that there is one.
    #[must_use]
    pub fn own_member(&self) -> &Member {
        let own = self.shared.members.iter().find(|member| member.id == self.site.id);
        own.expect("a configuration whose own site is not a member is refused when it is loaded")
    }

    /// The witness, if there is one.
    #[must_use]
    pub fn witness(&self) -> Option<&Member> {
        self.shared.members.iter().find(|member| member.witness)
    }

    /// The members that hold data: all but the witness.
    pub fn with_data(&self) -> impl Iterator<Item = &Member> {
        self.shared.members.iter().filter(|member| !member.witness)
    }

    /// The other members, and where this site dials each.
    pub fn others(&self) -> impl Iterator<Item = (&Member, &str)> {
        let dial = |member: &Member| self.peers.dial.get(&member.name).map(String::as_str);
        let others = self.shared.members.iter().filter(|member| member.id != self.site.id);
        others.map(move |member| (member, dial(member).unwrap_or(&member.peer)))
    }
}
