//! From what an operator wrote to what the parts of a node are told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use catalog::AckAll;
use entry::{ClusterId, SiteId};
use kafka::broker::HomeView;
use peer::{Identity, LinkConfig, PeerAddress, Tuning};
use site::{Limits, Member, SiteConfig};

use crate::certificates::CertificateFiles;
use crate::config::{Config, Topics};
use crate::doors::{self, DoorError, Doors};
use crate::run::{ServeError, Setup};
use crate::timepiece::WallClock;
use crate::views::Fixed;

/// How long a start waits to hear from all others before it writes on. To write on too early ends in a halted journal where
/// the directory was put back from a backup, so this is several times what links need to come up on a busy machine.
/// It is also more than one of them takes to find out that another process has our id, and to say so.
const START_WAIT_MS: u64 = 5_000;
/// What a lane's queue holds beyond the window of entries: room for framing.
const QUEUE_SLACK_BYTES: usize = 4 << 20;

/// What sites of this binary speak.
pub(crate) const PROTOCOL: u16 = site::wire::PROTOCOL - cfg!(feature = "before") as u16;

impl Setup {
    /// Puts a configuration into the parts' words; reads the certificates.
    ///
    /// # Errors
    /// [`ServeError`] if a certificate or key cannot be used.
    pub fn of(config: &Config) -> Result<Setup, ServeError> {
        let most = kafka::Limits::default();
        let certificates = CertificateFiles::of(config);
        let links = links(config, certificates.read()?);
        Ok(Setup {
            data: config.site.data_dir.clone(),
            site: machine(config),
            clients: clients(config),
            doors: doors(config)?,
            limits: kafka::Limits {
                connections_max: config.limits.connections,
                frame_bytes_max: config.limits.request_bytes_max,
                fetch_bytes_max: config.limits.fetch_bytes_max,
                in_flight_bytes_max: most.in_flight_bytes_max.max(config.limits.request_bytes_max),
                ..most
            },
            disk_free_bytes_min: config.limits.disk_free_bytes_min,
            certificates,
            links,
            http: config.listen.http,
            wall_clock: WallClock::Real,
        })
    }
}

fn machine(config: &Config) -> SiteConfig {
    let members = config.shared.members.iter();
    SiteConfig {
        cluster: ClusterId(config.shared.cluster),
        own: SiteId(config.site.id),
        members: members
            .map(|member| Member { site: SiteId(member.id), name: member.name.clone() })
            .collect(),
        witness: config.witness().map(|member| SiteId(member.id)),
        homes: config.shared.homes.iter().map(|home| (home.name.clone(), home.port)).collect(),
        protocol: PROTOCOL,
        clock_bound_ms: config.clock_bound_ms,
        start_wait_ms: START_WAIT_MS,
        alive_ms: config.peers.silence_ms,
        fence_timeout_ms: config.peers.fence_timeout_ms,
        limits: Limits {
            batch_bytes_max: config.limits.batch_bytes_max,
            waiting_bytes_max: config.limits.pending_bytes_max,
            unreleased_max: config.limits.unreleased_entries_max,
            peer_window_bytes: config.limits.peer_window_bytes,
            checkpoint_bytes: config.journal.checkpoint_bytes,
            wal_segment_bytes: config.journal.segment_bytes,
            wal_bytes_max: config.journal.wal_bytes_max,
            hot_bytes: config.journal.memory_bytes,
            copy_bytes_per_second: config.copies.bytes_per_second,
            look_bytes_per_second: config.copies.look_bytes_per_second,
            wal_segments_spare: config.journal.segments_spare,
            ..Limits::default()
        },
    }
}

fn doors(config: &Config) -> Result<Doors, DoorError> {
    // A witness takes no clients.
    let homes = config.shared.homes.iter().filter(|_| !config.own_member().witness);
    let addresses = homes.map(|home| (home.name.clone(), SocketAddr::new(config.listen.kafka, home.port)));
    let files = config.tls.kafka.then_some((&config.tls.cert, &config.tls.key));
    let tls = files.map(|(certificate, key)| doors::tls(certificate, key)).transpose()?;
    Ok(Doors { addresses: addresses.collect(), tls })
}

fn clients(config: &Config) -> Fixed {
    let ids: BTreeMap<&str, i32> =
        config.shared.members.iter().map(|member| (&*member.name, i32::from(member.id))).collect();
    let home = |home: &crate::config::Home| HomeView {
        name: home.name.clone(),
        port: home.port,
        preference: home.prefer.iter().filter_map(|name| ids.get(&**name).copied()).collect(),
    };
    let members = config.shared.members.iter();
    Fixed {
        cluster: config.shared.cluster.to_string(),
        own: SiteId(config.site.id),
        sites: members.map(|member| (SiteId(member.id), member.name.clone(), member.kafka.clone())).collect(),
        witness: config.witness().map(|member| SiteId(member.id)),
        homes: config.shared.homes.iter().map(home).collect(),
        auto_create: config.topics.auto_create,
        default_partitions: config.topics.partitions,
        default_settings: topic_settings(&config.topics),
        home_after: Duration::from_millis(config.peers.home_after_ms),
    }
}

/// What is given to a new topic: only what the catalog would not take for granted.
fn topic_settings(topics: &Topics) -> BTreeMap<String, String> {
    let moment = match topics.ack_all {
        AckAll::Durable => "durable",
        AckAll::Released => "released",
    };
    let wanted = [("min.insync.sites", topics.min_insync_sites.to_string()), ("ack.all", moment.to_owned())];
    let is_default = |name: &str, value: &str| {
        catalog::SETTINGS.iter().any(|setting| setting.name == name && setting.default == value)
    };
    wanted
        .into_iter()
        .filter(|(name, value)| !is_default(name, value))
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn links(config: &Config, identity: Identity) -> LinkConfig {
    let peer = |(member, address): (&crate::config::Member, &str)| PeerAddress {
        site: member.id,
        name: member.name.clone(),
        address: address.to_owned(),
    };
    let tuning = Tuning {
        connection_age: Duration::from_millis(config.peers.connection_age_ms),
        queue_bytes: config.limits.peer_window_bytes + QUEUE_SLACK_BYTES,
        ..Tuning::default()
    };
    LinkConfig { identity, listen: config.listen.peer, peers: config.others().map(peer).collect(), tuning }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use catalog::AckAll;

    use super::topic_settings;
    use crate::config::Topics;

    fn given(min_insync_sites: u16, ack_all: AckAll) -> BTreeMap<String, String> {
        topic_settings(&Topics { auto_create: true, partitions: 1, min_insync_sites, ack_all })
    }

    #[test]
    fn a_new_topic_gets_what_differs_from_the_catalogs_defaults_in_its_words() {
        assert_eq!(given(1, AckAll::Durable), BTreeMap::new());
        let both = [("ack.all", "released"), ("min.insync.sites", "2")];
        let both = both.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(given(2, AckAll::Released), BTreeMap::from(both.clone()));
        // They are settings that the catalog knows and takes.
        let settings = catalog::Settings::of(&BTreeMap::from(both));
        assert_eq!((settings.min_insync_sites, settings.ack_all), (2, AckAll::Released));
    }
}
