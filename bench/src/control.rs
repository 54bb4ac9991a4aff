//! The control: bare datagrams over the same emulator, at the same time, under the same delays.
//!
//! What these take beyond the configured delay is the emulator's and the machine's part of every figure beside them.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use launch::Plan;
use wan::{Emulator, Link, Matrix, SiteEnd};

use crate::load::{Mark, age, since};
use crate::pace::Rhythm;
use crate::quantiles::Latencies;

const DATAGRAM_BYTES: usize = 1_200;
/// Room for an emulated millisecond's worth of anything.
const BUFFER_BYTES: usize = 2_048;
/// How often a reader looks whether it should end.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Sockets beside the sites, known to the emulator under names of their own.
#[derive(Debug)]
pub(crate) struct Ends {
    names: Vec<String>,
    sockets: Vec<UdpSocket>,
}

impl Ends {
    /// One socket beside each of so many sites.
    pub(crate) fn open(sites: usize) -> anyhow::Result<Self> {
        let names = (0..sites).map(|site| format!("control-{site}")).collect();
        let bind = |site| UdpSocket::bind((Plan::host(site), 0)).context("cannot open a control socket");
        Ok(Self { names, sockets: (0..sites).map(bind).collect::<Result<_, _>>()? })
    }

    /// How the emulator is told of them.
    pub(crate) fn guests(&self) -> anyhow::Result<Vec<SiteEnd>> {
        let end = |(name, socket): (&String, &UdpSocket)| -> anyhow::Result<SiteEnd> {
            Ok(SiteEnd { name: name.clone(), listen: socket.local_addr()? })
        };
        self.names.iter().zip(&self.sockets).map(end).collect()
    }

    /// Gives them the delays of the sites they stand beside, and starts sending at this rhythm over every pair.
    pub(crate) fn start(
        self,
        emulator: &Emulator,
        matrix: &Matrix,
        sites: &[&str],
        rhythm: Rhythm,
        zero: Instant,
    ) -> anyhow::Result<Control> {
        let mut ways = Vec::new();
        for (from, from_name) in self.names.iter().enumerate() {
            for (to, to_name) in self.names.iter().enumerate().filter(|(to, _)| *to != from) {
                emulator.set(
                    from_name,
                    to_name,
                    Link::delayed(matrix.one_way_ms(sites[from], sites[to])?),
                )?;
                ways.push((from, emulator.address(from_name, to_name)?));
            }
        }
        let stop = Arc::new(AtomicBool::new(false));
        let mut seen = Vec::new();
        let mut threads = Vec::new();
        for socket in &self.sockets {
            let by_source: Vec<Latencies> =
                std::iter::repeat_with(Latencies::default).take(self.names.len()).collect();
            let reader = Reader {
                socket: socket.try_clone()?,
                seen: by_source.clone(),
                stop: Arc::clone(&stop),
                zero,
            };
            seen.push(by_source);
            threads.push(std::thread::Builder::new().name("control".to_owned()).spawn(move || reader.run())?);
        }
        let send = move || send_all(&ways, rhythm, zero);
        threads.push(std::thread::Builder::new().name("control-send".to_owned()).spawn(send)?);
        Ok(Control { seen, stop, threads })
    }
}

/// A control that runs.
#[derive(Debug)]
pub(crate) struct Control {
    seen: Vec<Vec<Latencies>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<std::io::Result<()>>>,
}

impl Control {
    /// Ends it; the figures are by receiver, then by sender.
    pub(crate) fn finish(self) -> anyhow::Result<Vec<Vec<Latencies>>> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().map_err(|_| anyhow::anyhow!("a thread of the control panicked"))??;
        }
        Ok(self.seen)
    }
}

fn send_all(ways: &[(usize, SocketAddr)], rhythm: Rhythm, zero: Instant) -> std::io::Result<()> {
    // A sender's own socket for each way: the emulator tells flows apart by who dials.
    let sockets: Vec<UdpSocket> =
        ways.iter().map(|(from, _)| UdpSocket::bind((Plan::host(*from), 0))).collect::<Result<_, _>>()?;
    for beat in rhythm.beats(zero) {
        std::thread::sleep(beat.due.saturating_duration_since(Instant::now()));
        for ((from, gate), socket) in ways.iter().zip(&sockets) {
            let source = u16::try_from(*from).unwrap_or(u16::MAX);
            let counts = rhythm.counts(zero, beat);
            let mark = Mark { source, counts, due_ns: since(zero, Instant::now()) };
            socket.send_to(&mark.value(DATAGRAM_BYTES), gate)?;
        }
    }
    Ok(())
}

struct Reader {
    socket: UdpSocket,
    seen: Vec<Latencies>,
    stop: Arc<AtomicBool>,
    zero: Instant,
}

impl Reader {
    fn run(self) -> std::io::Result<()> {
        self.socket.set_read_timeout(Some(LOOK_EVERY))?;
        let mut buffer = [0; BUFFER_BYTES];
        while !self.stop.load(Ordering::Relaxed) {
            match self.socket.recv(&mut buffer) {
                Ok(bytes) => self.note(&buffer[..bytes], Instant::now()),
                Err(error) if is_timeout(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn note(&self, datagram: &[u8], at: Instant) {
        let mark = Mark::of(datagram).filter(|mark| mark.counts);
        if let Some(mark) = mark
            && let Some(seen) = self.seen.get(usize::from(mark.source))
        {
            seen.record(age(mark, self.zero, at));
        }
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}
