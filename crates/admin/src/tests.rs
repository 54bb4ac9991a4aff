//! Both doors over real sockets, asked by our own client and by plain bytes.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

use crate::client::{self, Address, AskError};
use crate::{
    Admin, AdminError, BlockerStatus, CertificateStatus, CertificatesNow, DigestQuery, Direction, EndedLink,
    Group, GroupPosition, Halt, JournalStatus, LogDigest, MembersNow, Metrics, PeerStatus, SOCKET_NAME,
    SiteStatus, SocketError, Turn, TurnKind, Unreplicated, bind, serve_http, serve_socket, serve_starting,
};

#[derive(Default)]
struct Pretend {
    ready: AtomicBool,
    stopped: AtomicBool,
}

fn a_status() -> SiteStatus {
    let journal = JournalStatus {
        journal: "us-east.0".to_owned(),
        site: "us-east".to_owned(),
        known: 12,
        held: 10,
        released: 7,
        lag_bytes: None,
        promise_lag_ms: 250,
        quarantined: false,
        fenced_at: None,
    };
    let peer = PeerStatus {
        site: "us-east".to_owned(),
        up: true,
        rtt_us: 69_500,
        lost_packets: 3,
        sent_packets: 1000,
        window_bytes: 1 << 20,
        sent_bytes: 2 << 20,
        received_bytes: 3 << 20,
        queued_bytes: 4,
    };
    SiteStatus {
        site: "eu-west".to_owned(),
        id: 1,
        version: "0.1.0".to_owned(),
        protocol: 2,
        cluster: "7d1f3a52-9c0e-4b6a-8f21-5be0c4d97a13".to_owned(),
        storage: "00ff".to_owned(),
        journal: Some("eu-west.0".to_owned()),
        halt: Halt::default(),
        epoch: 1,
        members: vec!["eu-west".to_owned(), "us-east".to_owned()],
        others_known: Vec::new(),
        witness: None,
        alive: vec!["eu-west".to_owned(), "us-east".to_owned()],
        stable_point_ms: 1_000,
        stable_lag_ms: 1_500,
        released: 40,
        unreleased: 3,
        blocker: Some(BlockerStatus {
            journal: "ap-southeast.0".to_owned(),
            site: "ap-southeast".to_owned(),
            why: "it has promised too little".to_owned(),
            since_ms: 1_000,
            for_ms: 2_000,
        }),
        journals: vec![journal],
        frontiers: BTreeMap::from([("us-east".to_owned(), BTreeMap::from([("us-east.0".to_owned(), 12)]))]),
        peers: vec![peer],
        wal_bytes: 4096,
        wal_bytes_max: 0,
        wal_kept_for: Vec::new(),
        copy: None,
        unreplicated: BTreeMap::from([(
            "orders".to_owned(),
            Unreplicated { bytes: 700, age_ms: 1_500, held_back: 2 },
        )]),
        passed_over: BTreeMap::from([("duplicate".to_owned(), 5)]),
        turns: vec![
            Turn {
                journal: "us-east.0".to_owned(),
                stamp: 7 << 22,
                time_ms: 7,
                what: TurnKind::Sealed { cut: 9 },
            },
            Turn { journal: "us-east.1".to_owned(), stamp: 8 << 22, time_ms: 8, what: TurnKind::Opened },
        ],
        given_up: Vec::new(),
        certificates: vec![CertificateStatus {
            name: "CN=eu-west".to_owned(),
            key: "sha256:00".to_owned(),
            from_ms: 1_000,
            until_ms: 4_000,
            due_ms: 3_000,
        }],
        alarms: vec!["the clock of ap-southeast is ahead".to_owned()],
    }
}

impl Admin for Pretend {
    fn healthy(&self) -> Result<(), String> {
        Ok(())
    }

    fn ready(&self) -> Result<(), String> {
        if self.ready.load(Ordering::Relaxed) { Ok(()) } else { Err("recovering".to_owned()) }
    }

    async fn status(&self) -> Result<SiteStatus, AdminError> {
        Ok(a_status())
    }

    async fn digests(&self, query: DigestQuery) -> Result<Vec<LogDigest>, AdminError> {
        let topic = query.topic.unwrap_or_default();
        if topic == "nope" {
            return Err(AdminError::Unknown(format!("there is no topic {topic}")));
        }
        let (partition, end) = (query.partition.unwrap_or(0), query.end.unwrap_or(9));
        let (topic_id, digest) = ("id".to_owned(), "ab".to_owned());
        let compacted = String::new();
        Ok(vec![LogDigest { topic, topic_id, partition, start: 0, end, digest, generation: 0, compacted }])
    }

    async fn groups(&self) -> Result<Vec<Group>, AdminError> {
        let position = GroupPosition { topic: "orders".to_owned(), partition: 3, offset: 17 };
        Ok(vec![Group { group: "billing".to_owned(), coordinator: None, positions: vec![position] }])
    }

    async fn accept_clock(&self) -> Result<u64, AdminError> {
        Ok(9_000)
    }

    async fn renew_certificates(&self) -> Result<CertificatesNow, AdminError> {
        let ended = EndedLink { site: "us-east".to_owned(), reason: "its key is denied".to_owned() };
        Ok(CertificatesNow { certificates: a_status().certificates, denied_keys: 1, ended: vec![ended] })
    }

    async fn fence(&self, site: String) -> Result<(), AdminError> {
        if site == "us-east" { Ok(()) } else { Err(AdminError::Unknown(format!("there is no site {site}"))) }
    }

    async fn give_up(&self, sites: Vec<String>, who: String) -> Result<(), AdminError> {
        Err(AdminError::Refused(format!("{who} may not give up {}", sites.join(" and "))))
    }

    async fn add(&self, site: String) -> Result<MembersNow, AdminError> {
        Ok(MembersNow { epoch: 2, members: vec!["eu-west".to_owned(), site] })
    }

    async fn remove(&self, site: String) -> Result<MembersNow, AdminError> {
        Err(AdminError::Refused(format!("{site} takes part in the order")))
    }

    fn stop(&self) -> Result<(), AdminError> {
        self.stopped.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// Both doors of one pretended site.
struct Doors {
    admin: Arc<Pretend>,
    metrics: Arc<Metrics>,
    folder: tempfile::TempDir,
    http: String,
    _closing: [oneshot::Sender<()>; 2],
}

async fn open() -> Doors {
    let (admin, metrics) = (Arc::new(Pretend::default()), Arc::new(Metrics::new("eu-west")));
    let folder = tempfile::tempdir().unwrap();
    let socket = bind(folder.path()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = listener.local_addr().unwrap().to_string();
    let (close_http, http_closed) = oneshot::channel::<()>();
    let (close_socket, socket_closed) = oneshot::channel::<()>();
    let (a, m) = (Arc::clone(&admin), Arc::clone(&metrics));
    tokio::spawn(async move { serve_http(listener, a, m, async { drop(http_closed.await) }).await });
    let (a, m) = (Arc::clone(&admin), Arc::clone(&metrics));
    tokio::spawn(async move { serve_socket(socket, a, m, async { drop(socket_closed.await) }).await });
    Doors { admin, metrics, folder, http, _closing: [close_http, close_socket] }
}

impl Doors {
    fn socket(&self) -> Address {
        Address::Socket(self.folder.path().join(SOCKET_NAME))
    }

    fn port(&self) -> Address {
        Address::Http(self.http.clone())
    }

    /// The whole answer to a GET, as text.
    async fn get(&self, path: &str) -> String {
        ask(&self.http, &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await
    }
}

/// All that is said to a request until the connection ends.
async fn ask(http: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(http).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn both_doors_answer_the_looks_alike() {
    let doors = open().await;
    for address in [doors.socket(), doors.port()] {
        assert_eq!(client::status(&address).await.unwrap(), a_status());
        assert_eq!(client::groups(&address).await.unwrap()[0].positions[0].offset, 17);
        let query = DigestQuery { topic: Some("a b".to_owned()), partition: Some(2), end: Some(5) };
        let digests = client::digests(&address, &query).await.unwrap();
        assert_eq!((digests[0].topic.as_str(), digests[0].partition, digests[0].end), ("a b", 2, 5));
        let digests = client::digests(&address, &DigestQuery::default()).await.unwrap();
        assert_eq!((digests[0].topic.as_str(), digests[0].end), ("", 9));
    }
}

#[tokio::test]
async fn only_the_socket_stops_a_site() {
    let doors = open().await;
    let refused = client::stop(&doors.port()).await.unwrap_err().to_string();
    assert_eq!(refused, format!("the site at {} refused: there is nothing at this path", doors.port()));
    assert!(!doors.admin.stopped.load(Ordering::Relaxed));
    client::stop(&doors.socket()).await.unwrap();
    assert!(doors.admin.stopped.load(Ordering::Relaxed));
}

#[tokio::test]
async fn only_the_socket_has_certificates_read_anew() {
    let doors = open().await;
    assert!(client::renew_certificates(&doors.port()).await.is_err());
    let now = client::renew_certificates(&doors.socket()).await.unwrap();
    assert_eq!((now.certificates, now.denied_keys), (a_status().certificates, 1));
    assert_eq!(now.ended[0].site, "us-east");
}

#[tokio::test]
async fn a_refusal_arrives_with_its_words() {
    let doors = open().await;
    let query = DigestQuery { topic: Some("nope".to_owned()), ..DigestQuery::default() };
    let error = client::digests(&doors.socket(), &query).await.unwrap_err();
    assert!(
        matches!(&error, AskError::Refused { reason, .. } if reason == "there is no topic nope"),
        "{error}"
    );
    assert!(doors.get("/v1/digests?partition=many").await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn health_and_readiness_are_different_things() {
    let doors = open().await;
    assert!(doors.get("/healthz").await.starts_with("HTTP/1.1 200 "));
    let unready = doors.get("/readyz").await;
    assert!(unready.starts_with("HTTP/1.1 503 ") && unready.ends_with("recovering\n"), "{unready}");
    doors.admin.ready.store(true, Ordering::Relaxed);
    assert!(doors.get("/readyz").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_site_that_starts_is_well_and_says_why_it_is_not_ready_and_keeps_no_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = listener.local_addr().unwrap().to_string();
    let (waits, why) = watch::channel("it is starting".to_owned());
    let serving = tokio::spawn(serve_starting(listener, why));
    let get = async |path: &str| ask(&http, &format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
    assert!(get("/healthz").await.starts_with("HTTP/1.1 200 "));
    assert!(get("/readyz").await.ends_with("\r\n\r\nit is starting\n"));
    waits.send_replace("the disk is full".to_owned());
    let unready = get("/readyz").await;
    assert!(unready.starts_with("HTTP/1.1 503 ") && unready.ends_with("the disk is full\n"), "{unready}");
    let error = client::status(&Address::Http(http.clone())).await.unwrap_err();
    assert!(matches!(&error, AskError::Refused { reason, .. } if reason == "the disk is full"), "{error}");
    drop(waits);
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn metrics_carry_what_was_counted_and_what_the_status_says() {
    let doors = open().await;
    doors.metrics.wal.written(1_000, 0.001);
    doors.metrics.kafka.answered("Produce", 0.002);
    doors.metrics.kafka.carried(Direction::In, 77);
    doors.metrics.kafka.connected(4);
    let text = doors.get("/metrics").await;
    for line in [
        "meridian_wal_write_seconds_count{site=\"eu-west\"} 1",
        "meridian_wal_written_bytes_total{site=\"eu-west\"} 1000",
        "meridian_kafka_requests_total{site=\"eu-west\",api=\"Produce\"} 1",
        "meridian_kafka_request_seconds_count{site=\"eu-west\",api=\"Produce\"} 1",
        "meridian_kafka_traffic_bytes_total{site=\"eu-west\",direction=\"In\"} 77",
        "meridian_kafka_connections{site=\"eu-west\"} 4",
        "meridian_writing{site=\"eu-west\"} 1",
        "meridian_sites_alive{site=\"eu-west\"} 2",
        "meridian_alarms{site=\"eu-west\"} 1",
        "meridian_stable_point_lag_seconds{site=\"eu-west\"} 1.5",
        "meridian_release_blocked_seconds{site=\"eu-west\"} 2.0",
        "meridian_released_entries_total{site=\"eu-west\"} 40",
        "meridian_unreplicated_bytes{site=\"eu-west\",topic=\"orders\"} 700",
        "meridian_unreplicated_age_seconds{site=\"eu-west\",topic=\"orders\"} 1.5",
        "meridian_held_back_writes{site=\"eu-west\",topic=\"orders\"} 2",
        "meridian_passed_over_entries_total{site=\"eu-west\",reason=\"duplicate\"} 5",
        "meridian_journal_lag_entries{site=\"eu-west\",journal=\"us-east.0\"} 2",
        "meridian_journal_unreleased_entries{site=\"eu-west\",journal=\"us-east.0\"} 3",
        "meridian_journal_promise_lag_seconds{site=\"eu-west\",journal=\"us-east.0\"} 0.25",
        "meridian_peer_rtt_seconds{site=\"eu-west\",peer=\"us-east\"} 0.0695",
        "meridian_peer_connection_sent_bytes{site=\"eu-west\",peer=\"us-east\"} 2097152",
        "meridian_certificate_due_timestamp_seconds{site=\"eu-west\",certificate=\"CN=eu-west\",key=\"sha256:00\"} 3.0",
        "meridian_certificate_until_timestamp_seconds{site=\"eu-west\",certificate=\"CN=eu-west\",key=\"sha256:00\"} 4.0",
        "# EOF",
    ] {
        assert!(text.lines().any(|said| said == line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn the_socket_is_its_owners_and_survives_a_crash() {
    let doors = open().await;
    let path = doors.folder.path().join(SOCKET_NAME);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    // The file of a process that died is still there; the next one replaces it.
    drop(bind(doors.folder.path()).unwrap());
    let error = client::status(&doors.socket()).await.unwrap_err().to_string();
    assert!(error.ends_with("is it running, and is this its address?"), "{error}");
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_is_refused_with_what_to_do() {
    let long = "x".repeat(120);
    let error = bind(Path::new(&long)).unwrap_err();
    assert!(matches!(error, SocketError::TooLong { bytes: 131, .. }), "{error}");
    assert!(error.to_string().ends_with("choose a data directory with a shorter path"));
}

#[tokio::test]
async fn silence_on_some_connections_does_not_lock_others_out() {
    let doors = open().await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(&doors.http).await.unwrap());
    }
    assert!(doors.get("/healthz").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn garbage_is_answered_or_dropped_and_the_door_stays_open() {
    let doors = open().await;
    for garbage in [&b"\0\0\0\x05hello"[..], b"GET\r\n\r\n", &[0xff; 4096]] {
        let mut stream = TcpStream::connect(&doors.http).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{}", answer.escape_ascii());
    }
    assert!(doors.get("/healthz").await.starts_with("HTTP/1.1 200 "));
}
