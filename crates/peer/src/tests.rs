//! Links over real loopback UDP: coming up, carrying, coming back, and refusing.

mod certificates;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::cert::{self, Pair};
use crate::{Event, Identity, Lane, LinkConfig, Links, MAX_FRAME_BYTES, PeerAddress, SendError, SiteName};
use crate::{StartError, Tuning};

/// Far longer than anything here takes; only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

fn free_address() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

pub(crate) fn identity(authority: &Pair, trusted: &Pair, site: u16, name: &str) -> Identity {
    let certificate = cert::site_certificate(authority, site, name, &cert::loopback_hosts()).unwrap();
    loaded(&certificate, trusted, SiteName { site, name: name.to_owned() })
}

/// What is loaded from files that hold this.
pub(crate) fn loaded(certificate: &Pair, trusted: &Pair, own: SiteName) -> Identity {
    let folder = tempfile::tempdir().unwrap();
    certificate.write(folder.path(), "site").unwrap();
    trusted.write(folder.path(), "ca").unwrap();
    let path = |file: &str| folder.path().join(file);
    Identity::load(own, &path("site.pem"), &path("site.key"), &path("ca.pem")).unwrap()
}

fn peer(site: u16, name: &str, address: SocketAddr) -> PeerAddress {
    PeerAddress { site, name: name.to_owned(), address: address.to_string() }
}

fn tuning() -> Tuning {
    Tuning { keep_alive: Duration::from_millis(100), idle: Duration::from_secs(2), ..Tuning::default() }
}

struct Node {
    links: Links,
    events: mpsc::Receiver<Event>,
}

impl Node {
    async fn start(identity: Identity, listen: SocketAddr, peers: Vec<PeerAddress>) -> Self {
        Self::start_with(tuning(), identity, listen, peers).await
    }

    async fn start_with(
        tuning: Tuning,
        identity: Identity,
        listen: SocketAddr,
        peers: Vec<PeerAddress>,
    ) -> Self {
        let config = LinkConfig { identity, listen, peers, tuning };
        let (sender, events) = mpsc::channel(config.event_capacity());
        // A socket closed a moment ago may still be held by the task that is ending.
        loop {
            match Links::start(config.clone(), sender.clone()).await {
                Ok(links) => return Self { links, events },
                Err(StartError::Bind { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(other) => panic!("{other}"),
            }
        }
    }

    async fn next(&mut self) -> Event {
        timeout(PATIENCE, self.events.recv()).await.expect("an event comes").expect("links live")
    }

    async fn up(&mut self) -> u64 {
        loop {
            if let Event::Up { generation, .. } = self.next().await {
                return generation;
            }
        }
    }

    async fn down(&mut self) -> (u64, String) {
        loop {
            if let Event::Down { generation, reason, .. } = self.next().await {
                return (generation, reason);
            }
        }
    }

    async fn refused(&mut self) -> String {
        loop {
            match self.next().await {
                Event::Refused { reason, .. } => return reason,
                Event::Up { site, .. } => panic!("site {site} came up"),
                _ => {}
            }
        }
    }

    /// Waits until a site calls this one a duplicate: which site.
    async fn called_duplicate(&mut self) -> u16 {
        loop {
            if let Event::CalledDuplicate { site, reason } = self.next().await {
                assert!(reason.contains("two processes claim this id"), "{reason}");
                return site;
            }
        }
    }

    async fn frame(&mut self) -> (Lane, Bytes) {
        loop {
            if let Event::Frame { lane, bytes, .. } = self.next().await {
                return (lane, bytes);
            }
        }
    }
}

/// Two sites that trust one authority and know each other.
struct Two {
    authority: Pair,
    at: [SocketAddr; 2],
    a: Node,
    b: Node,
}

impl Two {
    async fn start() -> Self {
        let authority = cert::authority("test").unwrap();
        let at = [free_address(), free_address()];
        let a =
            Node::start(identity(&authority, &authority, 1, "eu"), at[0], vec![peer(2, "us", at[1])]).await;
        let b =
            Node::start(identity(&authority, &authority, 2, "us"), at[1], vec![peer(1, "eu", at[0])]).await;
        Self { authority, at, a, b }
    }
}

fn pattern(lane: Lane, n: usize) -> Bytes {
    let length = [1, 40, 1_500, 70_000, 0][n % 5];
    let byte = (n * 3 + lane as usize) as u8;
    Bytes::from([&n.to_be_bytes()[..], &vec![byte; length]].concat())
}

/// Takes a hundred frames of each lane and the room for as many.
async fn takes_all(node: &mut Node) {
    let mut seen = [0; 3];
    let mut room = 0;
    let bulk: usize = Lane::BULK.iter().flat_map(|l| (0..100).map(|n| pattern(*l, n).len())).sum();
    while seen != [100; 3] || room < bulk {
        match node.next().await {
            Event::Frame { lane, bytes, .. } => {
                let n = &mut seen[lane.index()];
                assert_eq!(bytes, pattern(lane, *n));
                *n += 1;
            }
            Event::Room { bytes, lane, .. } => {
                assert_ne!(lane, Lane::Control);
                room += bytes;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(room, bulk);
}

#[tokio::test]
async fn frames_on_all_lanes_arrive_whole_and_in_order_both_ways() {
    let Two { mut a, mut b, .. } = Two::start().await;
    let (ga, gb) = (a.up().await, b.up().await);
    for n in 0..100 {
        for lane in Lane::ALL {
            a.links.send(2, ga, lane, pattern(lane, n)).unwrap();
            b.links.send(1, gb, lane, pattern(lane, n)).unwrap();
        }
    }
    tokio::join!(takes_all(&mut a), takes_all(&mut b));
    let stats = a.links.stats();
    assert!(stats[0].up && stats[0].site == 2 && stats[0].sent_bytes > 0 && stats[0].cwnd_bytes > 0);
    a.links.close().await;
    assert!(b.down().await.1.contains("stopping"));
    b.links.close().await;
}

#[tokio::test]
async fn pulses_and_control_pass_bulk_that_nobody_takes() {
    let Two { mut a, mut b, .. } = Two::start().await;
    let ga = a.up().await;
    b.up().await;
    for lane in Lane::BULK {
        while a.links.send(2, ga, lane, Bytes::from(vec![7; 1 << 20])).is_ok() {}
    }
    // Bulk is taken out of the channel and kept with its credit, until no more comes.
    let mut kept = Vec::new();
    while kept.len() < 8 {
        if let frame @ Event::Frame { .. } = b.next().await {
            kept.push(frame);
        }
    }
    a.links.send(2, ga, Lane::Control, Bytes::from_static(b"control")).unwrap();
    let mut wanted = vec![&b"control"[..], &b"pulse"[..]];
    while !wanted.is_empty() {
        a.links.send_pulse(2, ga, Bytes::from_static(b"pulse")).unwrap();
        let (lane, bytes) = b.frame().await;
        assert_eq!(lane, Lane::Control, "more bulk came than there is credit for");
        wanted.retain(|w| *w != bytes);
    }
    drop(kept);
    while b.frame().await.0 == Lane::Control {}
}

#[tokio::test]
async fn a_pulse_too_large_for_a_datagram_goes_by_the_control_lane() {
    let Two { mut a, mut b, .. } = Two::start().await;
    let ga = a.up().await;
    b.up().await;
    let large = Bytes::from(vec![3; 20_000]);
    a.links.send_pulse(2, ga, large.clone()).unwrap();
    assert_eq!(b.frame().await, (Lane::Control, large));
}

#[tokio::test]
async fn a_site_that_comes_back_is_linked_again_with_a_higher_generation() {
    let Two { authority, at, mut a, mut b } = Two::start().await;
    let first = a.up().await;
    b.up().await;
    b.links.close().await;
    assert_eq!(a.down().await.0, first);
    assert_eq!(a.links.send(2, first, Lane::Tail, Bytes::new()), Err(SendError::NotUp(2)));
    let mut b =
        Node::start(identity(&authority, &authority, 2, "us"), at[1], vec![peer(1, "eu", at[0])]).await;
    let second = a.up().await;
    assert!(second > first);
    b.up().await;
    assert_eq!(a.links.send(2, first, Lane::Tail, Bytes::new()), Err(SendError::Stale(second)));
    a.links.reset(2, "asked for by the test");
    assert!(b.down().await.1.contains("asked for by the test"));
    assert!(a.up().await > second);
}

/// Passes datagrams between whoever speaks to it and `to`, until it is cut.
struct Forwarder {
    at: SocketAddr,
    open: tokio::sync::watch::Sender<bool>,
    /// Datagrams that came while it was cut.
    lost: Arc<AtomicU64>,
}

impl Forwarder {
    async fn start(to: SocketAddr) -> Self {
        let front = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let back = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let at = front.local_addr().unwrap();
        let (open, state) = tokio::sync::watch::channel(true);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&lost);
        tokio::spawn(async move {
            let (mut there, mut here) = (vec![0; 65_536], vec![0; 65_536]);
            let mut dialer = None;
            while state.has_changed().is_ok() {
                tokio::select! {
                    got = front.recv_from(&mut there) => if let Ok((length, from)) = got {
                        dialer = Some(from);
                        if *state.borrow() {
                            let _ = back.send_to(&there[..length], to).await;
                        } else {
                            counted.fetch_add(1, Ordering::Relaxed);
                        }
                    },
                    got = back.recv_from(&mut here) => if let (Ok((length, _)), Some(dialer)) = (got, dialer)
                        && *state.borrow()
                    {
                        let _ = front.send_to(&here[..length], dialer).await;
                    },
                }
            }
        });
        Self { at, open, lost }
    }

    /// How many datagrams come in so long a time of a cut.
    async fn tries(&self, time: Duration) -> u64 {
        let before = self.lost.load(Ordering::Relaxed);
        tokio::time::sleep(time).await;
        self.lost.load(Ordering::Relaxed) - before
    }
}

/// Two sites with a forwarder between them: only the lower one knows a way to the other.
async fn apart(idle: Duration) -> (Pair, Forwarder, SocketAddr, Node, Node) {
    let authority = cert::authority("test").unwrap();
    let at = free_address();
    let far = identity(&authority, &authority, 2, "us");
    let tuning = Tuning { idle, ..tuning() };
    let b = Node::start_with(tuning.clone(), far, at, vec![peer(1, "eu", free_address())]).await;
    let between = Forwarder::start(at).await;
    let own = identity(&authority, &authority, 1, "eu");
    let a = Node::start_with(tuning, own, free_address(), vec![peer(2, "us", between.at)]).await;
    (authority, between, at, a, b)
}

#[tokio::test]
async fn a_silent_link_goes_down_at_both_ends_and_comes_back_when_the_path_does() {
    let (_, between, _, mut a, mut b) = apart(Duration::from_secs(2)).await;
    a.up().await;
    b.up().await;
    between.open.send_replace(false);
    assert!(a.down().await.1.contains("timed out"));
    assert!(b.down().await.1.contains("timed out"));
    let tried = between.tries(Duration::from_secs(3)).await;
    assert!(tried >= 8, "one dial after the other is four datagrams in that time; there were {tried}");
    between.open.send_replace(true);
    let generation = a.up().await;
    b.up().await;
    a.links.send(2, generation, Lane::CatchUp, Bytes::from_static(b"back")).unwrap();
    assert_eq!(b.frame().await.1, &b"back"[..]);
}

#[tokio::test]
async fn a_connection_that_outlives_a_cut_goes_on_at_once() {
    let (_, between, _, mut a, mut b) = apart(Duration::from_secs(30)).await;
    let generation = a.up().await;
    b.up().await;
    between.open.send_replace(false);
    // More than fits on any way: it fills the window, and all of it is lost.
    while a.links.send(2, generation, Lane::CatchUp, Bytes::from(vec![7; 1 << 20])).is_ok() {}
    tokio::time::sleep(Duration::from_secs(4)).await;
    let tried = between.tries(Duration::from_secs(1)).await;
    assert!(tried >= 6, "by itself QUIC tries the path once in seconds by now; here were {tried} datagrams");
    between.open.send_replace(true);
    assert_eq!(b.frame().await.0, Lane::CatchUp);
}

#[tokio::test]
async fn a_site_started_again_replaces_its_connection_that_fell_silent() {
    let (authority, between, at, mut a, mut b) = apart(Duration::from_secs(2)).await;
    a.up().await;
    let old = b.up().await;
    // To the other end a cut path looks like a killed process: no goodbye.
    between.open.send_replace(false);
    let again = identity(&authority, &authority, 1, "eu");
    let mut again = Node::start(again, free_address(), vec![peer(2, "us", at)]).await;
    assert_eq!(b.down().await.0, old);
    assert!(b.up().await > old);
    again.up().await;
}

#[tokio::test]
async fn certificates_of_another_authority_are_refused_at_both_ends() {
    let (ours, theirs) = (cert::authority("ours").unwrap(), cert::authority("theirs").unwrap());
    let at = [free_address(), free_address()];
    let mut a = Node::start(identity(&ours, &ours, 1, "eu"), at[0], vec![peer(2, "us", at[1])]).await;
    let mut b = Node::start(identity(&theirs, &theirs, 2, "us"), at[1], vec![peer(1, "eu", at[0])]).await;
    assert!(a.refused().await.contains("authority"));
    assert!(b.refused().await.contains("authority"));
}

#[tokio::test]
async fn only_the_dialing_side_of_another_authority_is_refused_too() {
    // The dialer trusts what it sees, but what it shows is not trusted.
    let (ours, theirs) = (cert::authority("ours").unwrap(), cert::authority("theirs").unwrap());
    let at = [free_address(), free_address()];
    let mut a = Node::start(identity(&theirs, &ours, 1, "eu"), at[0], vec![peer(2, "us", at[1])]).await;
    let mut b = Node::start(identity(&ours, &ours, 2, "us"), at[1], vec![peer(1, "eu", at[0])]).await;
    assert!(b.refused().await.contains("authority"));
    assert!(a.refused().await.contains("authority"));
}

#[tokio::test]
async fn a_site_with_another_name_or_id_than_configured_is_refused() {
    let authority = cert::authority("test").unwrap();
    for (site, name, configured) in [(2, "us", (2, "asia")), (3, "us", (2, "us"))] {
        let at = [free_address(), free_address()];
        let peers = vec![peer(configured.0, configured.1, at[1])];
        let mut a = Node::start(identity(&authority, &authority, 1, "eu"), at[0], peers).await;
        let listed = vec![peer(1, "eu", at[0])];
        let _b = Node::start(identity(&authority, &authority, site, name), at[1], listed).await;
        let reason = a.refused().await;
        assert!(reason.contains(name), "{reason}");
    }
}

#[tokio::test]
async fn a_stranger_and_a_second_holder_of_our_id_are_refused() {
    let authority = cert::authority("test").unwrap();
    let at = free_address();
    let mut b =
        Node::start(identity(&authority, &authority, 2, "us"), at, vec![peer(9, "far", free_address())])
            .await;
    let listed = || vec![peer(2, "us", at)];
    let mut stranger = Node::start(identity(&authority, &authority, 1, "eu"), free_address(), listed()).await;
    assert!(b.refused().await.contains("not among the sites"));
    assert!(stranger.refused().await.contains("not among the sites"));
    let twin = identity(&authority, &authority, 2, "twin");
    let twin = Node::start(twin, free_address(), vec![peer(1, "eu", free_address())]).await;
    twin.links.close().await;
    let other = vec![peer(1, "x", free_address())];
    let config = LinkConfig {
        identity: identity(&authority, &authority, 1, "eu"),
        listen: free_address(),
        peers: other,
        tuning: Tuning::default(),
    };
    let (sender, _events) = mpsc::channel(8);
    assert!(matches!(Links::start(config, sender).await, Err(StartError::DuplicateId(1))));
}

#[tokio::test]
async fn a_second_process_with_a_connected_site_s_id_is_refused_and_the_first_stays() {
    let Two { authority, at, mut a, mut b } = Two::start().await;
    let ga = a.up().await;
    let gb = b.up().await;
    let again = identity(&authority, &authority, 1, "eu");
    let mut twin = Node::start(again, free_address(), vec![peer(2, "us", at[1])]).await;
    assert!(twin.refused().await.contains("two processes claim this id"));
    assert!(b.refused().await.contains("two processes claim this id"));
    for _ in 0..2 {
        assert_eq!(twin.called_duplicate().await, 2, "each attempt says so");
    }
    twin.links.give_up("another process is this site");
    a.links.send(2, ga, Lane::Tail, Bytes::from_static(b"still here")).unwrap();
    assert_eq!(b.frame().await.1, &b"still here"[..]);
    assert_eq!(b.links.stats()[0].generation, gb);
}

#[tokio::test]
async fn garbage_on_the_port_changes_nothing() {
    let Two { at, mut a, mut b, .. } = Two::start().await;
    let ga = a.up().await;
    b.up().await;
    let noise = UdpSocket::bind("127.0.0.1:0").unwrap();
    for n in 0..2_000_u32 {
        let bytes: Vec<u8> =
            (0..n % 1_400).map(|i| (i.wrapping_mul(n) >> 3) as u8 | ((n % 2) as u8 * 0xC0)).collect();
        noise.send_to(&bytes, at[(n % 2) as usize]).unwrap();
    }
    a.links.send(2, ga, Lane::Tail, Bytes::from_static(b"hello")).unwrap();
    assert_eq!(b.frame().await, (Lane::Tail, Bytes::from_static(b"hello")));
}

#[tokio::test]
async fn an_oversized_frame_is_not_taken_and_a_full_queue_says_so() {
    let Two { mut a, mut b, .. } = Two::start().await;
    let ga = a.up().await;
    b.up().await;
    let large = Bytes::from(vec![0; MAX_FRAME_BYTES + 1]);
    assert_eq!(a.links.send(2, ga, Lane::Tail, large), Err(SendError::TooLarge(MAX_FRAME_BYTES + 1)));
    let largest = Bytes::from(vec![9; MAX_FRAME_BYTES]);
    a.links.send(2, ga, Lane::Tail, largest.clone()).unwrap();
    assert_eq!(b.frame().await.1, largest);
    let refused = (0..64).find_map(|_| a.links.send(2, ga, Lane::CatchUp, largest.clone()).err());
    assert!(matches!(refused, Some(SendError::Full { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_frame_that_claims_too_much_ends_the_link_with_a_reason() {
    let authority = cert::authority("test").unwrap();
    let at = free_address();
    let mut b =
        Node::start(identity(&authority, &authority, 2, "us"), at, vec![peer(1, "eu", free_address())]).await;
    let rogue = identity(&authority, &authority, 1, "eu");
    let (_, client) = crate::tls::configs(&rogue, &Tuning::default(), 1).unwrap();
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let connection = endpoint.connect_with(client, at, "us.site.meridian").unwrap().await.unwrap();
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    send.write_all(&crate::hello::Hello { site: 1, nonce: 5 }.encode()).await.unwrap();
    receive.read_exact(&mut [0; 16]).await.unwrap();
    b.up().await;
    let mut tail = connection.open_uni().await.unwrap();
    tail.write_all(&[b'1', 0xFF, 0xFF, 0xFF, 0xFF]).await.unwrap();
    assert!(b.down().await.1.contains("at most"));
    assert!(connection.closed().await.to_string().contains("at most"));
}

#[tokio::test]
async fn a_certificate_of_another_site_is_not_loaded() {
    let authority = cert::authority("test").unwrap();
    let folder = tempfile::tempdir().unwrap();
    cert::site_certificate(&authority, 4, "asia", &[]).unwrap().write(folder.path(), "site").unwrap();
    authority.write(folder.path(), "ca").unwrap();
    let path = |file: &str| folder.path().join(file);
    let own = SiteName { site: 5, name: "asia".to_owned() };
    let error = Identity::load(own, &path("site.pem"), &path("site.key"), &path("ca.pem")).unwrap_err();
    assert!(error.to_string().contains("asia (id 4)"), "{error}");
    let own = SiteName { site: 4, name: "asia".to_owned() };
    let error = Identity::load(own, &path("none.pem"), &path("site.key"), &path("ca.pem")).unwrap_err();
    assert!(error.to_string().contains("none.pem"), "{error}");
    assert!(cert::site_certificate(&authority, 4, "No Dots.", &[]).is_err());
    assert!(authority.write(folder.path(), "ca").is_err(), "a key was overwritten");
}
