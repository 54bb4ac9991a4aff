//! Configurations that are taken, and a table of those that are not with the sentence each gets.

use std::path::{Path, PathBuf};

use catalog::AckAll;

use super::{Config, ConfigError, LogFormat};

const PATH: &str = "eu-west.toml";

/// The smallest file that is taken.
const SMALL: &str = r#"
[site]
name = "eu-west"
id = 1
data_dir = "./data"

[cluster]
id = "7d1f3a52-9c0e-4b6a-8f21-5be0c4d97a13"
# Who is a member is agreed on.

[[members]]
name = "eu-west"
id = 1
peer = "127.0.0.1:7400"
kafka = "127.0.0.1"

[[members]]
name = "us-east"
id = 2
peer = "127.0.0.2:7400"
kafka = "127.0.0.2"

[[homes]]
name = "eu-west"
port = 9092
prefer = ["eu-west", "us-east"]

[listen]
kafka = "127.0.0.1"
peer = "127.0.0.1:7400"
http = "127.0.0.1:9644"

[tls]
ca = "certs/ca.pem"
cert = "certs/eu-west.pem"
key = "certs/eu-west.key"
"#;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new(PATH), text, [], [])
}

fn with_environment(name: &str, value: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new(PATH), SMALL, [(name.to_owned(), value.to_owned())], [])
}

fn with_flag(flag: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new(PATH), SMALL, [], [flag.to_owned()])
}

/// Every configuration file in `datacenters/`.
fn datacenters() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datacenters");
    let folders = [root.clone(), root.join("five")];
    let mut files: Vec<PathBuf> = folders
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()))
        .filter(|path| path.extension().is_some_and(|end| end == "toml") && !path.ends_with("rtt.toml"))
        .collect();
    files.sort();
    files
}

#[test]
fn every_datacenter_is_taken_and_each_set_agrees() {
    let files = datacenters();
    assert_eq!(files.len(), 8, "{files:?}");
    let configs: Vec<Config> = files.iter().map(|file| Config::load(file, [], []).unwrap()).collect();
    for config in &configs {
        assert_eq!(config.path.file_stem().unwrap().to_str(), Some(config.site.name.as_str()));
        let alike = configs.iter().filter(|other| other.shared.cluster == config.shared.cluster);
        let shared: Vec<_> = alike.map(|config| &config.shared).collect();
        assert_eq!(shared.len(), config.shared.members.len());
        assert!(shared.iter().all(|said| *said == shared[0]), "{}", config.path.display());
    }
}

#[test]
fn what_the_documented_file_calls_defaults_are_the_defaults() {
    let documented =
        datacenters().into_iter().find(|file| file.ends_with("datacenters/eu-west.toml")).unwrap();
    let documented = Config::load(&documented, [], []).unwrap();
    let small = parse(SMALL).unwrap();
    assert_eq!(small.limits, documented.limits);
    assert_eq!(small.clock_bound_ms, documented.clock_bound_ms);
    assert_eq!(small.journal, documented.journal);
    assert_eq!(small.peers, documented.peers);
    assert_eq!(small.topics, documented.topics);
    assert_eq!(small.log, documented.log);
    assert_eq!(small.tls.kafka, documented.tls.kafka);
}

#[test]
fn the_file_says_who_i_am_and_where_the_others_are() {
    let config = parse(&format!("{SMALL}\n[dial]\nus-east = \"127.0.0.1:7500\"\n")).unwrap();
    assert_eq!(config.own_member().kafka, "127.0.0.1");
    let others: Vec<_> = config.others().map(|(member, address)| (member.id, address)).collect();
    assert_eq!(others, [(2, "127.0.0.1:7500")]);
    assert_eq!(parse(SMALL).unwrap().others().next().unwrap().1, "127.0.0.2:7400");
}

#[test]
fn a_witness_is_a_site_without_clients() {
    let witness =
        "[[members]]\nname = \"third\"\nid = 3\npeer = \"127.0.0.3:7400\"\nwitness = true\n\n[[homes]]";
    let config = parse(&SMALL.replacen("[[homes]]", witness, 1)).unwrap();
    assert_eq!(config.witness().map(|member| (&*member.name, member.id)), Some(("third", 3)));
    assert!(parse(SMALL).unwrap().witness().is_none());
    let no_host = SMALL.replacen("[[homes]]", &witness.replace("true", "false"), 1);
    assert!(parse(&no_host).unwrap_err().to_string().contains("`members[2].kafka` is missing"));
}

#[test]
fn flags_beat_the_environment_and_both_beat_the_file() {
    let environment = [
        ("MERIDIAN_LISTEN__HTTP", "127.0.0.1:9700"),
        ("MERIDIAN_PEERS__SILENCE_MS", "2000"),
        ("MERIDIAN_DIAL__US_EAST", "127.0.0.1:7500"),
        ("MERIDIAN_TOPICS__AUTO_CREATE", "false"),
        ("MERIDIAN_MEMBERS__1__PEER", "us-east.example.com:7400"),
        ("MERIDIAN_CONFIG", "not for us"),
        ("PATH", "not for us"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let flags = [
        "peers.silence_ms=3000",
        "homes.0.prefer=us-east, eu-west",
        "topics.ack_all=released",
        "log.format=json",
    ];
    let config = Config::parse(Path::new(PATH), SMALL, environment, flags.map(str::to_owned)).unwrap();
    assert_eq!(config.listen.http, "127.0.0.1:9700".parse().unwrap());
    assert_eq!(config.peers.silence_ms, 3000);
    assert_eq!(config.peers.dial["us-east"], "127.0.0.1:7500");
    assert!(!config.topics.auto_create);
    assert_eq!(config.shared.members[1].peer, "us-east.example.com:7400");
    assert_eq!(config.shared.homes[0].prefer, ["us-east", "eu-west"]);
    assert_eq!(config.topics.ack_all, AckAll::Released);
    assert_eq!(config.log.format, LogFormat::Json);
}

/// A text of the small file, what is put in its place, and the whole message that this gives.
const WRONG: &[(&str, &str, &str)] = &[
    (
        "port = 9092",
        "port = ",
        "eu-west.toml:25: not TOML: string values must be quoted, expected literal string",
    ),
    ("data_dir", "datadir", "eu-west.toml:5: there is no key `site.datadir`; did you mean `data_dir`?"),
    ("[listen]", "[lisen]", "eu-west.toml:28: there is no key `lisen`; did you mean `listen`?"),
    (
        "port = 9092",
        "port = 9092\nzzz = 1",
        "eu-west.toml:26: there is no key `homes[0].zzz`; there are name, port, prefer",
    ),
    ("port = 9092", "prot = 9092", "eu-west.toml:25: there is no key `homes[0].prot`; did you mean `port`?"),
    ("data_dir = \"./data\"", "", "eu-west.toml:2: `site.data_dir` is missing"),
    ("kafka = \"127.0.0.2\"", "", "eu-west.toml:17: `members[1].kafka` is missing"),
    ("port = 9092", "port = 0", "eu-west.toml:25: `homes[0].port` must be a number from 1 to 65535, not 0"),
    (
        "port = 9092",
        "port = 1.5",
        "eu-west.toml:25: `homes[0].port` must be a number from 1 to 65535, not a number with a fraction",
    ),
    (
        "port = 9092",
        "port = \"1\"",
        "eu-west.toml:25: `homes[0].port` must be a number from 1 to 65535, not \"1\"",
    ),
    ("-5be0c4d97a13", "", "eu-west.toml:8: `cluster.id` must be a UUID, not \"7d1f3a52-9c0e-4b6a-8f21\""),
    (
        "name = \"eu-west\"\nid = 1\ndata",
        "name = \"EU\"\nid = 1\ndata",
        "eu-west.toml:3: `site.name` must be a name: 1 to 32 of a-z, 0-9 and '-', with a letter or digit at both ends, not \"EU\"",
    ),
    (
        "\"127.0.0.2:7400\"",
        "\"127.0.0.2\"",
        "eu-west.toml:20: `members[1].peer` must be a host and a port, such as eu-west.example.com:7400, not \"127.0.0.2\"",
    ),
    (
        "kafka = \"127.0.0.2\"",
        "kafka = \"127.0.0.2:9092\"",
        "eu-west.toml:21: `members[1].kafka` must be a host name or IP address, without a port, not \"127.0.0.2:9092\"",
    ),
    (
        "prefer = [\"eu-west\", \"us-east\"]",
        "prefer = [1]",
        "eu-west.toml:26: `homes[0].prefer` must be a list of texts, not 1",
    ),
    (
        "[listen]\nkafka = \"127.0.0.1\"",
        "[listen]\nkafka = \"localhost\"",
        "eu-west.toml:29: `listen.kafka` must be an IP address, not \"localhost\"",
    ),
    (
        "key = ",
        "kafka = \"yes\"\nkey = ",
        "eu-west.toml:36: `tls.kafka` must be \"off\" or \"on\", not \"yes\"",
    ),
    (
        "name = \"us-east\"\nid = 2",
        "name = \"eu-west\"\nid = 2",
        "eu-west.toml: two members are named eu-west; give each site a name of its own",
    ),
    (
        "id = 2",
        "id = 1",
        "eu-west.toml: members eu-west and us-east both have id 1; give each site an id of its own",
    ),
    (
        "127.0.0.2:7400",
        "127.0.0.1:7400",
        "eu-west.toml: members eu-west and us-east have the same peer address 127.0.0.1:7400",
    ),
    (
        "kafka = \"127.0.0.2\"",
        "kafka = \"127.0.0.1\"",
        "eu-west.toml: members eu-west and us-east have the same Kafka host 127.0.0.1; as all sites use the same ports, clients could not tell them apart",
    ),
    (
        "kafka = \"127.0.0.2\"",
        "witness = true",
        "eu-west.toml: home eu-west prefers us-east, a witness, which takes no clients",
    ),
    (
        "peer = \"127.0.0.2:7400\"",
        "peer = \"127.0.0.2:7400\"\nwitness = true\n\n[[members]]\nname = \"third\"\nid = 3\npeer = \"127.0.0.3:7400\"\nwitness = true",
        "eu-west.toml: us-east and third are both witnesses; one is enough",
    ),
    (
        "name = \"eu-west\"\nid = 1\ndata",
        "name = \"eu-east\"\nid = 1\ndata",
        "eu-west.toml: site.name is eu-east, which is none of the members: eu-west, us-east",
    ),
    (
        "id = 1\ndata",
        "id = 2\ndata",
        "eu-west.toml: site.id is 2, but the member named eu-west has id 1; make them agree",
    ),
    (
        "[listen]",
        "[[homes]]\nname = \"b\"\nport = 9092\nprefer = [\"us-east\"]\n[listen]",
        "eu-west.toml: homes eu-west and b both have port 9092; the port tells a client's home, so give each its own",
    ),
    (
        "[listen]",
        "[[homes]]\nname = \"eu-west\"\nport = 9093\nprefer = [\"us-east\"]\n[listen]",
        "eu-west.toml: two homes are named eu-west",
    ),
    (
        "prefer = [\"eu-west\", \"us-east\"]",
        "prefer = []",
        "eu-west.toml: home eu-west prefers no site; name at least one",
    ),
    (
        "prefer = [\"eu-west\", \"us-east\"]",
        "prefer = [\"us-west\"]",
        "eu-west.toml: home eu-west prefers us-west, which is not a member",
    ),
    (
        "prefer = [\"eu-west\", \"us-east\"]",
        "prefer = [\"us-east\", \"us-east\"]",
        "eu-west.toml: home eu-west names us-east twice in its preferences",
    ),
    (
        "[tls]",
        "[dial]\nus-west = \"a:1\"\n[tls]",
        "eu-west.toml: dial.us-west names no other member; only other sites are dialled",
    ),
    (
        "[listen]\nkafka = \"127.0.0.1\"",
        "[listen]\nkafka = \"0.0.0.0\"",
        "eu-west.toml: listen.kafka is 0.0.0.0, which others can reach, and tls.kafka is off; set tls.kafka = \"on\", or listen on a loopback address",
    ),
    (
        "9644",
        "9092",
        "eu-west.toml: listen.http is 127.0.0.1:9092, which is also the Kafka port of home eu-west; choose another",
    ),
    (
        "[tls]",
        "[limits]\nrequest_bytes_max = 100_000\n[tls]",
        "eu-west.toml: limits.request_bytes_max is 100000, too small for one batch of limits.batch_bytes_max = 1048588",
    ),
    (
        "[tls]",
        "[limits]\nbatch_bytes_max = 16_777_216\n[tls]",
        "eu-west.toml:34: `limits.batch_bytes_max` must be a number from 1024 to 15728640, not 16777216",
    ),
    (
        "[tls]",
        "[journal]\nsegment_bytes = 2_097_175\n[tls]",
        "eu-west.toml: journal.segment_bytes is 2097175, less than two batches of limits.batch_bytes_max = 1048588",
    ),
    (
        "[tls]",
        "[journal]\ncheckpoint_bytes = 1_048_587\n[tls]",
        "eu-west.toml: journal.checkpoint_bytes is 1048587, less than one batch of limits.batch_bytes_max = 1048588",
    ),
    (
        "[tls]",
        "[journal]\ngroup_bytes_max = 4_194_304\n[tls]",
        "eu-west.toml:34: there is no key `journal.group_bytes_max`; did you mean `wal_bytes_max`?",
    ),
    (
        "[tls]",
        "[peers]\nsilence_ms = 599\n[tls]",
        "eu-west.toml: peers.silence_ms is 599, less than 3 × 200: a site with no news says so every 200 ms, and a single lost pulse would count as a death; set at least 600",
    ),
    (
        "[tls]",
        "[peers]\nhome_after_ms = 200\n[tls]",
        "eu-west.toml: peers.home_after_ms is 200, shorter than peers.silence_ms = 1000; clients would be sent back and forth",
    ),
    (
        "[tls]",
        "[topics]\nmin_insync_sites = 3\n[tls]",
        "eu-west.toml: topics.min_insync_sites is 3, but there are only 2 members; nothing could be acknowledged",
    ),
    (
        "[[homes]]",
        "[homes]",
        "eu-west.toml:23: `homes` must be a list of tables, each under [[homes]], not a table",
    ),
];

#[test]
fn wrong_configurations_are_refused_with_these_words() {
    for (old, new, message) in WRONG {
        let text = SMALL.replacen(old, new, 1);
        assert_ne!(text, SMALL, "{old} is not in the small file");
        assert_eq!(parse(&text).unwrap_err().to_string(), *message, "{old} -> {new}");
    }
}

#[test]
fn wrong_overrides_are_refused_with_these_words() {
    let message = |outcome: Result<Config, ConfigError>| outcome.unwrap_err().to_string();
    assert_eq!(
        message(with_environment("MERIDIAN_LISTEN__HTPP", "127.0.0.1:9700")),
        "environment variable MERIDIAN_LISTEN__HTPP: there is no key `listen.htpp`; did you mean `http`?"
    );
    assert_eq!(
        message(with_environment("MERIDIAN_PEERS__SILENCE_MS", "often")),
        "environment variable MERIDIAN_PEERS__SILENCE_MS: `peers.silence_ms` must be a number from 1 to 86400000, not \"often\""
    );
    assert_eq!(
        message(with_flag("listen.http")),
        "--set listen.http: an override has the form section.key=value"
    );
    assert_eq!(
        message(with_flag("members.2.peer=a:1")),
        "--set members.2.peer: `2` is none of the 2 in the file, numbered 0 to 1"
    );
    assert_eq!(message(with_flag("site.name.x=a")), "--set site.name.x: there is nothing below that for `x`");
    assert_eq!(
        message(with_flag("topics.auto_create=maybe")),
        "--set topics.auto_create: `topics.auto_create` must be true or false, not \"maybe\""
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::load(Path::new("no/such.toml"), [], []).unwrap_err();
    assert!(error.to_string().starts_with("no/such.toml: cannot be read: "), "{error}");
}
