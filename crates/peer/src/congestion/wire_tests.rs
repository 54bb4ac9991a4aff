//! The controller inside real QUIC: pairs of quinn's own state machines over a modelled path, in virtual time.
//!
//! No socket and no waiting: half a minute on a 150 ms path takes a second or two. The settings are those that links use.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use quinn_proto::{Connection, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig, StreamId};

use crate::cert::{self, Pair};
use crate::{Identity, SiteName, Tuning, tls};

const IP_UDP_BYTES: u64 = 28;

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn identity(authority: &Pair, site: u16, name: &str) -> Identity {
    let folder = tempfile::tempdir().unwrap();
    cert::site_certificate(authority, site, name, &[]).unwrap().write(folder.path(), "site").unwrap();
    authority.write(folder.path(), "ca").unwrap();
    let path = |file: &str| folder.path().join(file);
    let own = SiteName { site, name: name.to_owned() };
    Identity::load(own, &path("site.pem"), &path("site.key"), &path("ca.pem")).unwrap()
}

/// One end of a connection, and what is on its way to it.
struct Side {
    endpoint: Endpoint,
    connection: Option<(ConnectionHandle, Connection)>,
    inbound: VecDeque<(u64, Vec<u8>)>,
    from: SocketAddr,
}

impl Side {
    /// When something happens here next. Timers are rounded up, so that they are due when they are looked at.
    fn next_us(&mut self, zero: Instant) -> u64 {
        let timer = self.connection.as_mut().and_then(|(_, connection)| connection.poll_timeout());
        let timer = timer.map(|at| at.saturating_duration_since(zero).as_micros() as u64 + 1);
        let arrival = self.inbound.front().map(|(at, _)| *at);
        timer.unwrap_or(u64::MAX).min(arrival.unwrap_or(u64::MAX))
    }

    fn take(&mut self, now_us: u64, zero: Instant) {
        let now = zero + Duration::from_micros(now_us);
        while self.inbound.front().is_some_and(|(at, _)| *at <= now_us) {
            let (_, bytes) = self.inbound.pop_front().unwrap();
            let mut answer = Vec::new();
            let data = BytesMut::from(&bytes[..]);
            match self.endpoint.handle(now, self.from, None, None, data, &mut answer) {
                Some(DatagramEvent::ConnectionEvent(_, event)) => {
                    self.connection.as_mut().unwrap().1.handle_event(event);
                }
                Some(DatagramEvent::NewConnection(incoming)) => {
                    let accepted = self.endpoint.accept(incoming, now, &mut answer, None);
                    self.connection = Some(accepted.map_err(|e| e.cause).unwrap());
                }
                Some(DatagramEvent::Response(_)) | None => {}
            }
        }
        let Some((handle, connection)) = &mut self.connection else { return };
        if connection.poll_timeout().is_some_and(|at| at <= now) {
            connection.handle_timeout(now);
        }
        while let Some(event) = connection.poll_endpoint_events() {
            if let Some(back) = self.endpoint.handle_event(*handle, event) {
                connection.handle_event(back);
            }
        }
        while connection.poll().is_some() {}
    }

    fn datagrams(&mut self, now_us: u64, zero: Instant) -> Vec<Vec<u8>> {
        let Some((_, connection)) = &mut self.connection else { return Vec::new() };
        let mut all = Vec::new();
        let mut buffer = Vec::new();
        while let Some(transmit) =
            connection.poll_transmit(zero + Duration::from_micros(now_us), 10, &mut buffer)
        {
            let each = transmit.segment_size.unwrap_or(transmit.size);
            all.extend(buffer[..transmit.size].chunks(each).map(<[u8]>::to_vec));
            buffer.clear();
        }
        all
    }
}

/// A sender and its receiver.
struct Link {
    sides: [Side; 2],
    stream: Option<StreamId>,
    one_way_us: u64,
    starts_us: u64,
    /// When there begins to be much to send.
    bulk_us: u64,
    beat_us: u64,
    received: u64,
}

impl Link {
    fn new(rtt_ms: u64, starts_us: u64, zero: Instant, number: u16) -> Self {
        let authority = cert::authority("test").unwrap();
        let ends = [(1, "eu"), (2, "us")].map(|(site, name)| identity(&authority, site, name));
        let settings =
            |n: usize| tls::configs(&ends[n], &Tuning::default(), u64::from(number) * 31 + 5).unwrap();
        let endpoint = |server| {
            Endpoint::new(Arc::new(EndpointConfig::default()), server, true, Some([number as u8; 32]))
        };
        let mut dialer = endpoint(None);
        let started = zero + Duration::from_micros(starts_us);
        let dialed = dialer.connect(started, settings(0).1, address(2), "us.site.meridian").unwrap();
        let side = |endpoint, connection, from| Side { endpoint, connection, inbound: VecDeque::new(), from };
        let listener = endpoint(Some(Arc::new(settings(1).0)));
        Self {
            sides: [side(dialer, Some(dialed), address(2)), side(listener, None, address(1))],
            stream: None,
            one_way_us: rtt_ms * 500,
            starts_us,
            bulk_us: 0,
            beat_us: 0,
            received: 0,
        }
    }

    /// Little, as heartbeats are, until there is much to send.
    fn write(&mut self, now_us: u64) {
        let Some((_, connection)) = &mut self.sides[0].connection else { return };
        if connection.is_handshaking() {
            return;
        }
        if self.stream.is_none() {
            self.stream = connection.streams().open(Dir::Uni);
        }
        let Some(stream) = self.stream else { return };
        if now_us < self.bulk_us {
            if now_us >= self.beat_us {
                self.beat_us = now_us + 10_000;
                let _ = connection.send_stream(stream).write(&[7; 40]);
            }
            return;
        }
        while connection.send_stream(stream).write(&[7; 64 << 10]).is_ok() {}
    }

    fn read(&mut self) {
        let (Some(stream), Some((_, connection))) = (self.stream, &mut self.sides[1].connection) else {
            return;
        };
        let mut receiving = connection.recv_stream(stream);
        let Ok(mut chunks) = receiving.read(true) else { return };
        while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
            self.received += chunk.bytes.len() as u64;
        }
        let _ = chunks.finalize();
    }
}

/// Links that share one bottleneck from dialer to listener; the way back only delays.
struct Bottleneck {
    ns_per_byte: u64,
    queue_ns_max: u64,
    loss: f64,
    free_at_ns: u64,
    dice: u64,
    dropped: u64,
    /// Meanwhile nothing passes, either way.
    cut_us: Range<u64>,
}

impl Bottleneck {
    fn new(mbit: u64, queue_ms: u64, loss: f64) -> Self {
        Self {
            ns_per_byte: 8_000 / mbit,
            queue_ns_max: queue_ms * 1_000_000,
            loss,
            free_at_ns: 0,
            dice: 9,
            dropped: 0,
            cut_us: 0..0,
        }
    }

    fn pass(&mut self, now_us: u64, bytes: usize) -> Option<u64> {
        let now_ns = now_us * 1_000;
        let start = self.free_at_ns.max(now_ns);
        if start - now_ns > self.queue_ns_max {
            self.dropped += 1;
            return None;
        }
        self.free_at_ns = start + (bytes as u64 + IP_UDP_BYTES) * self.ns_per_byte;
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let lost = ((self.dice >> 11) as f64 / (1_u64 << 53) as f64) < self.loss;
        (!lost && !self.cut_us.contains(&now_us)).then_some(self.free_at_ns / 1_000)
    }
}

/// Runs links over a bottleneck and returns what each received between the two moments, in Mbit/s.
fn run(bottleneck: &mut Bottleneck, flows: &[(u64, u64)], from_us: u64, until_us: u64) -> Vec<f64> {
    let zero = Instant::now();
    let link =
        |(n, &(rtt_ms, starts_us)): (usize, &(u64, u64))| Link::new(rtt_ms, starts_us, zero, n as u16 + 1);
    go(bottleneck, flows.iter().enumerate().map(link).collect(), zero, (from_us, until_us))
}

fn go(
    bottleneck: &mut Bottleneck,
    mut links: Vec<Link>,
    zero: Instant,
    (from_us, until_us): (u64, u64),
) -> Vec<f64> {
    let mut marks = vec![None; links.len()];
    let mut now_us = 0;
    while now_us < until_us {
        for link in links.iter_mut().filter(|link| link.starts_us <= now_us) {
            drive(link, bottleneck, now_us, zero);
        }
        if now_us >= from_us {
            for (mark, link) in marks.iter_mut().zip(&links) {
                mark.get_or_insert(link.received);
            }
        }
        let due = |link: &mut Link| {
            let next = link.sides.iter_mut().map(|side| side.next_us(zero)).min().unwrap_or(u64::MAX);
            let beat_us = if now_us < link.bulk_us { link.beat_us } else { u64::MAX };
            next.min(beat_us).max(link.starts_us)
        };
        now_us = links.iter_mut().map(due).min().unwrap_or(u64::MAX).max(now_us + 1);
    }
    let seconds = (until_us - from_us) as f64 / 1e6;
    let mbit = |(link, mark): (&Link, &Option<u64>)| {
        (link.received - mark.unwrap_or(0)) as f64 * 8.0 / 1e6 / seconds
    };
    links.iter().zip(&marks).map(mbit).collect()
}

fn drive(link: &mut Link, bottleneck: &mut Bottleneck, now_us: u64, zero: Instant) {
    for side in &mut link.sides {
        side.take(now_us, zero);
    }
    link.read();
    link.write(now_us);
    let one_way_us = link.one_way_us;
    for datagram in link.sides[0].datagrams(now_us, zero) {
        if let Some(out_us) = bottleneck.pass(now_us, datagram.len()) {
            link.sides[1].inbound.push_back((out_us + one_way_us, datagram));
        }
    }
    for datagram in link.sides[1].datagrams(now_us, zero) {
        if bottleneck.cut_us.contains(&now_us) {
            continue;
        }
        link.sides[0].inbound.push_back((now_us + one_way_us, datagram));
    }
}

#[test]
fn goodput_at_150_ms_with_one_percent_of_loss_is_near_that_without() {
    let mut goodput = Vec::new();
    for loss in [0.0, 0.01, 0.02] {
        let mut path = Bottleneck::new(200, 40, loss);
        let got = run(&mut path, &[(150, 0)], 4_000_000, 14_000_000)[0];
        println!(
            "quic: 200 Mbit/s, 150 ms, loss {loss}: {got:.1} Mbit/s, {} dropped by the queue",
            path.dropped
        );
        goodput.push(got);
    }
    assert!(goodput[0] > 160.0, "{goodput:?}");
    assert!(goodput[1] > goodput[0] * 0.9 && goodput[2] > goodput[0] * 0.8, "{goodput:?}");
}

#[test]
fn two_links_over_one_bottleneck_both_live() {
    for flows in [[(150, 0), (150, 3_000_000)], [(80, 0), (150, 3_000_000)], [(150, 0), (80, 3_000_000)]] {
        let mut path = Bottleneck::new(200, 40, 0.0);
        let got = run(&mut path, &flows, 12_000_000, 32_000_000);
        let share = got[0] / (got[0] + got[1]);
        println!("quic: {flows:?} share 200 Mbit/s: {:.1} and {:.1} Mbit/s, {share:.2}", got[0], got[1]);
        assert!((0.3..=0.7).contains(&share) && got[0] + got[1] > 150.0, "{got:?}");
    }
}

#[test]
fn a_link_that_was_cut_is_filled_again_soon() {
    // One so short that QUIC goes on where it was, one in which it takes the path for collapsed, and one of a path whose
    // rate was known. What was sent into them is lost, and QUIC tries again ever more rarely.
    let cuts = [(900_000..1_500_000, 1_000_000), (900_000..3_000_000, 1_000_000), (8_000_000..10_000_000, 0)];
    for (cut_us, bulk_us) in cuts {
        let from_us = cut_us.end + (cut_us.end - cut_us.start) + 2_000_000;
        let zero = Instant::now();
        let link = Link { bulk_us, ..Link::new(150, 0, zero, 1) };
        let mut path = Bottleneck { cut_us, ..Bottleneck::new(200, 40, 0.0) };
        let got = go(&mut path, vec![link], zero, (from_us, from_us + 3_000_000))[0];
        println!("quic: {got:.1} Mbit/s after a cut of {:?} us", path.cut_us);
        assert!(got > 160.0, "{got}");
    }
}
