//! The emulator through its sockets: what the rules promise must also hold for real datagrams and streams.
//!
//! Nothing here asserts an upper bound on time: a busy machine may be late, but never early, never out of order, and
//! never off in its counts.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use wan::{Emulator, Link, LinkStats, PipeSpec, SiteEnd, StartError, Topology};

const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough for anything in an undelayed emulator to arrive.
const SILENCE: Duration = Duration::from_millis(300);
/// Small datagrams that any kernel's default buffer holds while nobody reads.
const BURST: u32 = 200;

struct Pair {
    a: UdpSocket,
    b: UdpSocket,
    emulator: Emulator,
    b_from_a: SocketAddr,
}

fn pair(link: Link) -> Pair {
    let socket = || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    };
    let (a, b) = (socket(), socket());
    let site =
        |name: &str, socket: &UdpSocket| SiteEnd { name: name.into(), listen: socket.local_addr().unwrap() };
    let sites = vec![site("a", &a), site("b", &b)];
    let emulator = Emulator::start(&Topology { sites, seed: 3, ..Topology::default() }).unwrap();
    emulator.set("a", "b", link).unwrap();
    let b_from_a = emulator.address("a", "b").unwrap();
    Pair { a, b, emulator, b_from_a }
}

impl Pair {
    fn send(&self, numbers: std::ops::Range<u32>) {
        for number in numbers {
            self.a.send_to(&number.to_be_bytes(), self.b_from_a).unwrap();
        }
    }

    fn next(&self) -> (u32, SocketAddr) {
        let mut buffer = [0; 2_000];
        let (length, source) = self.b.recv_from(&mut buffer).unwrap();
        assert_eq!(length, 4);
        (u32::from_be_bytes(buffer[..4].try_into().unwrap()), source)
    }

    /// Everything that arrives until it has been silent for a while.
    fn drain(&self) -> Vec<u32> {
        self.b.set_read_timeout(Some(SILENCE)).unwrap();
        let mut buffer = [0; 2_000];
        let mut numbers = Vec::new();
        while self.b.recv(&mut buffer).is_ok() {
            numbers.push(u32::from_be_bytes(buffer[..4].try_into().unwrap()));
        }
        numbers
    }

    fn stats(&self, from: &str) -> LinkStats {
        self.emulator.stats().into_iter().find(|stats| stats.from == from).unwrap()
    }
}

#[test]
fn both_ways_have_their_own_delay_whoever_dials() {
    let pair = pair(Link::delayed(30.0));
    pair.emulator.set("b", "a", Link::delayed(20.0)).unwrap();
    let start = Instant::now();
    pair.send(0..1);
    let (number, answer_to) = pair.next();
    assert_eq!(number, 0);
    assert!(start.elapsed() >= Duration::from_millis(30), "early at b");
    pair.b.send_to(b"pong", answer_to).unwrap();
    let mut buffer = [0; 16];
    let (length, source) = pair.a.recv_from(&mut buffer).unwrap();
    assert_eq!(
        (&buffer[..length], source),
        (b"pong".as_slice(), pair.b_from_a),
        "answers come from the gate"
    );
    assert!(start.elapsed() >= Duration::from_millis(50), "early at a");

    let a_from_b = pair.emulator.address("b", "a").unwrap();
    pair.b.send_to(b"ping", a_from_b).unwrap();
    let (_, back) = pair.a.recv_from(&mut buffer).unwrap();
    pair.a.send_to(b"pong", back).unwrap();
    let (_, source) = pair.b.recv_from(&mut buffer).unwrap();
    assert_eq!(source, a_from_b);
    assert_eq!((pair.stats("a").delivered.packets, pair.stats("b").delivered.packets), (2, 2));
}

#[test]
fn order_holds_under_jitter_and_bytes_are_counted_as_ip() {
    let pair = pair(Link { jitter_ms: 5.0, ..Link::delayed(5.0) });
    pair.send(0..BURST);
    let numbers: Vec<u32> = (0..BURST).map(|_| pair.next().0).collect();
    assert_eq!(numbers, (0..BURST).collect::<Vec<_>>());
    let stats = pair.stats("a");
    assert_eq!((stats.offered.packets, stats.offered.bytes), (200, 200 * (4 + 28)));
    assert_eq!(stats.offered, stats.delivered);
    assert_eq!(pair.emulator.overrun_packets().unwrap_or(0), 0);
    assert!(pair.emulator.lateness().packets >= 200);
}

#[test]
fn what_is_lost_is_counted_and_the_rest_arrives_in_order() {
    let pair = pair(Link { loss: 0.2, ..Link::default() });
    let mut numbers = Vec::new();
    for round in 0..4 {
        pair.send(round * BURST..(round + 1) * BURST);
        numbers.extend(pair.drain());
    }
    let stats = pair.stats("a");
    assert!(numbers.is_sorted());
    assert_eq!(numbers.len() as u64, 800 - stats.drops.lost);
    assert!((100..220).contains(&stats.drops.lost), "20 % of 800 is about 160, not {}", stats.drops.lost);
}

#[test]
fn a_cut_is_a_black_hole_for_what_is_under_way_too_and_heals() {
    let pair = pair(Link::delayed(150.0));
    pair.send(0..10);
    pair.emulator.cut("a", "b").unwrap();
    pair.send(10..20);
    assert_eq!(pair.drain(), Vec::<u32>::new());
    assert_eq!(pair.stats("a").drops.cut, 20);
    pair.emulator.heal("a", "b").unwrap();
    pair.emulator.set("a", "b", Link::default()).unwrap();
    pair.send(20..30);
    assert_eq!(pair.drain(), (20..30).collect::<Vec<_>>());
}

#[test]
fn a_site_is_cut_off_and_healed_whole() {
    let pair = pair(Link::default());
    pair.emulator.cut_site("b").unwrap();
    pair.send(0..3);
    assert!(pair.drain().is_empty());
    assert!(pair.emulator.stats().iter().all(|stats| stats.cut));
    pair.emulator.heal_site("b").unwrap();
    pair.send(3..6);
    assert_eq!(pair.drain(), [3, 4, 5]);
}

#[test]
fn a_rate_takes_its_time_and_a_short_queue_drops_the_tail() {
    // 32 bytes of IP each at 0.0256 Mbit/s: 10 ms a packet, and a KiB of queue holds 32 of them.
    let pair = pair(Link { rate_mbit: 0.025_6, queue_kib: 1, ..Link::default() });
    let start = Instant::now();
    pair.send(0..100);
    let arrived: Vec<u32> = (0..32).map(|_| pair.next().0).collect();
    assert!(start.elapsed() >= Duration::from_millis(319), "faster than the rate");
    assert!(arrived.is_sorted());
    let stats = pair.stats("a");
    assert!(stats.drops.queue_full > 0);
    assert!((1_000..=1_024).contains(&stats.queue_bytes_max), "{}", stats.queue_bytes_max);
}

#[test]
fn duplicates_and_reordering_reach_the_sockets() {
    let pair = pair(Link { duplicate: 0.5, reorder: 0.3, reorder_ms: 40.0, ..Link::default() });
    pair.send(0..100);
    let mut numbers = pair.drain();
    let marks = pair.stats("a").marks;
    assert_eq!(numbers.len() as u64, 100 + marks.duplicated);
    assert!(marks.duplicated > 0 && marks.reordered > 0);
    assert!(!numbers.is_sorted());
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, (0..100).collect::<Vec<_>>(), "none is lost");
}

#[test]
fn two_flows_of_one_gate_do_not_mix() {
    let pair = pair(Link::default());
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    other.set_read_timeout(Some(PATIENCE)).unwrap();
    pair.send(1..2);
    let (_, to_a) = pair.next();
    other.send_to(&2_u32.to_be_bytes(), pair.b_from_a).unwrap();
    let (number, to_other) = pair.next();
    assert_eq!(number, 2);
    assert_ne!(to_a, to_other);
    pair.b.send_to(b"other", to_other).unwrap();
    pair.b.send_to(b"a", to_a).unwrap();
    let mut buffer = [0; 16];
    let length = other.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"other");
    let length = pair.a.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"a");
}

#[test]
fn contradictions_are_refused_at_the_start() {
    let site = |name: &str| SiteEnd { name: name.into(), listen: "127.0.0.1:9".parse().unwrap() };
    let start = |topology: Topology| Emulator::start(&topology).map(drop).unwrap_err();
    let lone = Topology { sites: vec![site("a")], ..Topology::default() };
    assert!(matches!(start(lone), StartError::Sites(1)));
    let twins = Topology { sites: vec![site("a"), site("a")], ..Topology::default() };
    assert!(matches!(start(twins), StartError::SameName(_)));
    let six = SiteEnd { name: "b".into(), listen: "[::1]:9".parse().unwrap() };
    let mixed = Topology { sites: vec![site("a"), six], ..Topology::default() };
    assert!(matches!(start(mixed), StartError::NotIpv4(_)));
    let pipes = vec![PipeSpec { rate_mbit: 1.0, queue_kib: 1, links: vec![("a".into(), "z".into())] }];
    let astray = Topology { sites: vec![site("a"), site("b")], pipes, ..Topology::default() };
    assert!(matches!(start(astray), StartError::Link(_)));
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let gates = taken.local_addr().ok();
    let blocked = Topology { sites: vec![site("a"), site("b")], gates, ..Topology::default() };
    assert!(matches!(start(blocked), StartError::Gate { .. }));
}

/// A server that sends back what it is sent, one connection after the other.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut buffer = [0; 65_536];
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                if stream.write_all(&buffer[..length]).is_err() {
                    break;
                }
            }
        }
    });
    address
}

#[test]
fn a_proxied_stream_is_whole_in_order_and_pays_for_its_handshake() {
    let pair = pair(Link::delayed(20.0));
    pair.emulator.set("b", "a", Link::delayed(30.0)).unwrap();
    let address = pair.emulator.proxy("a", "b", echo()).unwrap();
    let sent: Vec<u8> = (0..1_000_000_u32).map(|number| (number % 251) as u8).collect();
    let start = Instant::now();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let bytes = sent.clone();
    let writing = std::thread::spawn(move || {
        writer.write_all(&bytes).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut first = [0; 1];
    stream.read_exact(&mut first).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(100), "a handshake and a round trip");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    writing.join().unwrap();
    assert_eq!(first[0], sent[0]);
    assert!(rest == sent[1..], "the bytes came back changed");
    assert!(pair.stats("a").delivered.bytes > 1_000_000);
}

#[test]
fn a_proxied_stream_is_silent_while_cut_goes_on_when_healed_and_can_be_reset() {
    let pair = pair(Link::default());
    let address = pair.emulator.proxy("a", "b", echo()).unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let mut buffer = [0; 4];
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"one ").unwrap();
    stream.read_exact(&mut buffer).unwrap();
    pair.emulator.cut("b", "a").unwrap();
    stream.write_all(b"two ").unwrap();
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    let silent = stream.read(&mut buffer).unwrap_err();
    assert!(matches!(silent.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
    pair.emulator.heal("b", "a").unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"two ");
    pair.emulator.reset("a", "b").unwrap();
    assert_eq!(stream.read(&mut buffer).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_refused_target_is_a_reset() {
    let pair = pair(Link::default());
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let address = pair.emulator.proxy("a", "b", closed).unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(stream.read(&mut [0; 4]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}
