//! What must hold between values. Each rule gives the sentence that an operator reads when it does not.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::error::ConfigError;
use super::{Config, Home, Member};

/// Most members: every one is named in every frontier, so the number has to end somewhere.
const MEMBERS_MAX: usize = 64;
/// How often a site that has no news says that it is there, as the site machine does it.
const IDLE_PULSE_MS: u64 = 200;
/// Idle pulses that may be lost before a site is taken for dead.
const PULSES_LOST_MAX: u64 = 3;

type Rule = fn(&Config) -> Result<(), String>;

const RULES: &[Rule] = &[
    members_differ,
    own_site_is_a_member,
    one_witness,
    homes_differ,
    homes_prefer_members,
    dial_names_others,
    loopback_or_tls,
    http_has_its_own_port,
    sizes_fit,
    journal_sizes_fit,
    times_fit,
    enough_sites,
];

/// Holds every rule against the configuration; the first that is broken is reported.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    let broken = RULES.iter().find_map(|rule| rule(config).err());
    broken.map_or(Ok(()), |sentence| Err(ConfigError::Contradiction { path: config.path.clone(), sentence }))
}

fn holds(condition: bool, sentence: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(sentence()) }
}

/// The first two of these that share a key, as positions.
fn twice<K: Ord>(keys: impl Iterator<Item = K>) -> Option<(usize, usize)> {
    let mut seen = BTreeMap::new();
    keys.enumerate().find_map(|(at, key)| seen.insert(key, at).map(|before| (before, at)))
}

fn members_differ(config: &Config) -> Result<(), String> {
    let members: &[Member] = &config.shared.members;
    let count = members.len();
    holds(count <= MEMBERS_MAX, || format!("there are {count} members; at most {MEMBERS_MAX} are possible"))?;
    if let Some((_, at)) = twice(members.iter().map(|member| &member.name)) {
        return Err(format!("two members are named {}; give each site a name of its own", members[at].name));
    }
    if let Some((one, other)) = twice(members.iter().map(|member| member.id)) {
        let (one, other) = (&members[one], &members[other]);
        return Err(format!(
            "members {} and {} both have id {}; give each site an id of its own",
            one.name, other.name, one.id
        ));
    }
    if let Some((one, other)) = twice(members.iter().map(|member| &member.peer)) {
        let (one, other) = (&members[one], &members[other]);
        return Err(format!(
            "members {} and {} have the same peer address {}",
            one.name, other.name, one.peer
        ));
    }
    let hosts: Vec<&Member> = config.with_data().collect();
    if let Some((one, other)) = twice(hosts.iter().map(|member| &member.kafka)) {
        let (one, other) = (hosts[one], hosts[other]);
        return Err(format!(
            "members {} and {} have the same Kafka host {}; as all sites use the same ports, clients could not tell them apart",
            one.name, other.name, one.kafka
        ));
    }
    Ok(())
}

fn own_site_is_a_member(config: &Config) -> Result<(), String> {
    let (name, id) = (&config.site.name, config.site.id);
    let named = config.shared.members.iter().find(|member| &member.name == name);
    let Some(member) = named else {
        let names: Vec<&str> = config.shared.members.iter().map(|member| member.name.as_str()).collect();
        return Err(format!("site.name is {name}, which is none of the members: {}", names.join(", ")));
    };
    holds(member.id == id, || {
        format!("site.id is {id}, but the member named {name} has id {}; make them agree", member.id)
    })
}

fn one_witness(config: &Config) -> Result<(), String> {
    let members = &config.shared.members;
    let witnesses: Vec<&str> =
        members.iter().filter(|member| member.witness).map(|member| &*member.name).collect();
    holds(witnesses.len() <= 1, || format!("{} are both witnesses; one is enough", witnesses.join(" and ")))?;
    holds(config.with_data().next().is_some(), || {
        "the only member is a witness, which holds no data".to_owned()
    })?;
    let prefers = |home: &&Home| home.prefer.iter().any(|name| witnesses.contains(&&**name));
    match config.shared.homes.iter().find(prefers) {
        Some(home) => {
            Err(format!("home {} prefers {}, a witness, which takes no clients", home.name, witnesses[0]))
        }
        None => Ok(()),
    }
}

fn homes_differ(config: &Config) -> Result<(), String> {
    let homes: &[Home] = &config.shared.homes;
    if let Some((_, at)) = twice(homes.iter().map(|home| &home.name)) {
        return Err(format!("two homes are named {}", homes[at].name));
    }
    if let Some((one, other)) = twice(homes.iter().map(|home| home.port)) {
        let (one, other) = (&homes[one], &homes[other]);
        return Err(format!(
            "homes {} and {} both have port {}; the port tells a client's home, so give each its own",
            one.name, other.name, one.port
        ));
    }
    Ok(())
}

fn homes_prefer_members(config: &Config) -> Result<(), String> {
    for home in &config.shared.homes {
        holds(!home.prefer.is_empty(), || format!("home {} prefers no site; name at least one", home.name))?;
        if let Some((_, at)) = twice(home.prefer.iter()) {
            return Err(format!("home {} names {} twice in its preferences", home.name, home.prefer[at]));
        }
        let is_member = |name: &&String| config.shared.members.iter().any(|member| &member.name == *name);
        if let Some(stranger) = home.prefer.iter().find(|name| !is_member(name)) {
            return Err(format!("home {} prefers {stranger}, which is not a member", home.name));
        }
    }
    Ok(())
}

fn dial_names_others(config: &Config) -> Result<(), String> {
    for name in config.peers.dial.keys() {
        let is_other = config.others().any(|(member, _)| &member.name == name);
        holds(is_other, || format!("dial.{name} names no other member; only other sites are dialled"))?;
    }
    Ok(())
}

fn loopback_or_tls(config: &Config) -> Result<(), String> {
    let address = config.listen.kafka;
    holds(config.tls.kafka || address.is_loopback(), || {
        format!(
            "listen.kafka is {address}, which others can reach, and tls.kafka is off; \
             set tls.kafka = \"on\", or listen on a loopback address"
        )
    })
}

fn http_has_its_own_port(config: &Config) -> Result<(), String> {
    let http = config.listen.http;
    let same = |address: SocketAddr| {
        let everywhere = address.ip().is_unspecified() || http.ip().is_unspecified();
        address.port() == http.port() && (everywhere || address.ip() == http.ip())
    };
    let home = config.shared.homes.iter().find(|home| same(SocketAddr::new(config.listen.kafka, home.port)));
    home.map_or(Ok(()), |home| {
        Err(format!(
            "listen.http is {http}, which is also the Kafka port of home {}; choose another",
            home.name
        ))
    })
}

fn sizes_fit(config: &Config) -> Result<(), String> {
    let limits = &config.limits;
    let batch = limits.batch_bytes_max;
    let holders = [
        ("request_bytes_max", limits.request_bytes_max),
        ("fetch_bytes_max", limits.fetch_bytes_max),
        ("pending_bytes_max", limits.pending_bytes_max),
        ("peer_window_bytes", limits.peer_window_bytes),
    ];
    let too_small = holders.into_iter().find(|(_, bytes)| *bytes < batch);
    too_small.map_or(Ok(()), |(key, bytes)| {
        Err(format!("limits.{key} is {bytes}, too small for one batch of limits.batch_bytes_max = {batch}"))
    })
}

fn journal_sizes_fit(config: &Config) -> Result<(), String> {
    let (journal, batch) = (&config.journal, config.limits.batch_bytes_max as u64);
    holds(journal.segment_bytes >= 2 * batch, || {
        format!(
            "journal.segment_bytes is {}, less than two batches of limits.batch_bytes_max = {batch}",
            journal.segment_bytes
        )
    })?;
    holds(journal.checkpoint_bytes >= batch, || {
        format!(
            "journal.checkpoint_bytes is {}, less than one batch of limits.batch_bytes_max = {batch}",
            journal.checkpoint_bytes
        )
    })
}

fn times_fit(config: &Config) -> Result<(), String> {
    let peers = &config.peers;
    let least = PULSES_LOST_MAX * IDLE_PULSE_MS;
    holds(peers.silence_ms >= least, || {
        format!(
            "peers.silence_ms is {}, less than {PULSES_LOST_MAX} × {IDLE_PULSE_MS}: a site with no news says so \
             every {IDLE_PULSE_MS} ms, and a single lost pulse would count as a death; set at least {least}",
            peers.silence_ms
        )
    })?;
    holds(peers.home_after_ms >= peers.silence_ms, || {
        format!(
            "peers.home_after_ms is {}, shorter than peers.silence_ms = {}; clients would be sent back and forth",
            peers.home_after_ms, peers.silence_ms
        )
    })?;
    let fence_ms = peers.fence_timeout_ms;
    holds(fence_ms == 0 || fence_ms >= 2 * peers.silence_ms, || {
        format!(
            "peers.fence_timeout_ms is {fence_ms}, less than 2 × peers.silence_ms = {}: a site would be fenced for a \
             hiccup; set more, or 0 to fence by hand only",
            peers.silence_ms
        )
    })
}

fn enough_sites(config: &Config) -> Result<(), String> {
    let asked = usize::from(config.topics.min_insync_sites);
    let members = config.with_data().count();
    holds(asked <= members, || {
        format!(
            "topics.min_insync_sites is {asked}, but there are only {members} members; nothing could be acknowledged"
        )
    })
}
