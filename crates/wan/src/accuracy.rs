//! How true the emulator is on this machine: the error of its delays, end to end and by its own account.
//!
//! Packets leave at a fixed rate whatever happens to the earlier ones; each carries the time it was handed to the
//! kernel. The error is how much later than sent plus delay the far end reads it, so it contains the emulator, two
//! passes of the loopback and the waking of the reader. The same run without an emulator (`direct`) shows how much of
//! that is the machine's. The emulator's own account (`emulator`) is the part between due and sent.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::emulator::{Emulator, LinkError, StartError};
use crate::forward::widen;
use crate::link::{Lateness, Link};
use crate::monotonic::{now_ns, ns_of_ms};
use crate::topology::{SiteEnd, Topology};
use crate::urgency::{Urgency, hurry};

/// A packet needs room for its time.
const PAYLOAD_BYTES_MIN: usize = 8;
const PAYLOAD_BYTES_MAX: usize = 1_472;
/// Errors are recorded up to here.
const ERROR_NS_MAX: u64 = 10_000_000_000;
/// How long the reader waits for stragglers before it believes them lost.
const READ_PATIENCE: Duration = Duration::from_millis(300);

/// What to measure.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct AccuracyPlan {
    /// Packets each second.
    pub packets_per_s: u32,
    /// For how long.
    pub seconds: u32,
    /// The link's one-way delay.
    pub delay_ms: f64,
    /// UDP payload of each packet.
    pub payload_bytes: usize,
    /// Leave the emulator out: the machine's own error.
    pub direct: bool,
}

/// What came out.
#[derive(Debug, Clone, Serialize)]
pub struct Accuracy {
    /// What was measured.
    pub plan: AccuracyPlan,
    /// Delay error from the sender's to the receiver's system call.
    pub error: Lateness,
    /// Packets that arrived before they were due: must be 0.
    pub early_packets: u64,
    /// Packets sent that never arrived: must be 0.
    pub missing_packets: u64,
    /// The emulator's own account.
    pub emulator: Option<Lateness>,
    /// Packets the kernel dropped at the emulator's sockets.
    pub overrun_packets: Option<u64>,
    /// How the kernel schedules this process's threads that asked for urgency, the emulator's among them.
    pub urgency: Urgency,
}

/// Why a measurement failed.
#[derive(Debug, thiserror::Error)]
pub enum AccuracyError {
    /// A plan that measures nothing.
    #[error("payload of {0} bytes: give {PAYLOAD_BYTES_MIN} to {PAYLOAD_BYTES_MAX}")]
    Payload(usize),
    /// No packets to send.
    #[error("give a rate and a duration above 0")]
    Nothing,
    /// The emulator did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The link is out of range.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A socket failed.
    #[error("measuring failed: {0}")]
    Socket(#[from] io::Error),
}

/// Runs one measurement; takes the plan's seconds and a little more.
///
/// # Errors
/// If the plan is empty or a socket fails.
pub fn measure(plan: AccuracyPlan) -> Result<Accuracy, AccuracyError> {
    if !(PAYLOAD_BYTES_MIN..=PAYLOAD_BYTES_MAX).contains(&plan.payload_bytes) {
        return Err(AccuracyError::Payload(plan.payload_bytes));
    }
    if plan.packets_per_s == 0 || plan.seconds == 0 {
        return Err(AccuracyError::Nothing);
    }
    let (sender, receiver) = (end()?, end()?);
    let emulator = if plan.direct { None } else { Some(between(&sender, &receiver, plan.delay_ms)?) };
    let target = match &emulator {
        Some(emulator) => emulator.address("near", "far")?,
        None => receiver.local_addr()?,
    };
    let delay_ns = if plan.direct { 0 } else { ns_of_ms(plan.delay_ms) };
    let all_sent = AtomicBool::new(false);
    // Both ends get threads of their own: urgency is inherited by whatever a thread starts, and the caller's is not ours.
    let (readings, sent) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| read_all(&receiver, delay_ns, &all_sent));
        let sending = scope.spawn(|| {
            let sent = send_all(&sender, target, plan);
            all_sent.store(true, Ordering::Release);
            sent
        });
        (ended(reader.join()), ended(sending.join()))
    });
    let (readings, (sent, urgency)) = (readings?, sent?);
    Ok(Accuracy {
        plan,
        error: readings.lateness(),
        early_packets: readings.early,
        missing_packets: sent.saturating_sub(readings.errors.len() + readings.early),
        emulator: emulator.as_ref().map(Emulator::lateness),
        overrun_packets: emulator.as_ref().and_then(Emulator::overrun_packets),
        urgency,
    })
}

fn ended<T>(joined: std::thread::Result<io::Result<T>>) -> io::Result<T> {
    joined.unwrap_or_else(|_| Err(io::Error::other("a measuring thread died")))
}

fn end() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    widen(&socket);
    Ok(socket)
}

fn between(near: &UdpSocket, far: &UdpSocket, delay_ms: f64) -> Result<Emulator, AccuracyError> {
    let site = |name: &str, socket: &UdpSocket| -> io::Result<SiteEnd> {
        Ok(SiteEnd { name: name.to_owned(), listen: socket.local_addr()? })
    };
    let sites = vec![site("near", near)?, site("far", far)?];
    let emulator = Emulator::start(&Topology { sites, ..Topology::default() })?;
    emulator.set("near", "far", Link::delayed(delay_ms))?;
    Ok(emulator)
}

/// Sends at the planned times; late ones follow at once, stamped with when they really went.
fn send_all(socket: &UdpSocket, target: SocketAddr, plan: AccuracyPlan) -> io::Result<(u64, Urgency)> {
    let urgency = hurry();
    let total = u64::from(plan.packets_per_s) * u64::from(plan.seconds);
    let gap_ns = 1_000_000_000 / u64::from(plan.packets_per_s);
    let mut payload = vec![0; plan.payload_bytes];
    let start_ns = now_ns();
    for number in 0..total {
        let wait_ns = (start_ns + number * gap_ns).saturating_sub(now_ns());
        if wait_ns > 0 {
            std::thread::sleep(Duration::from_nanos(wait_ns));
        }
        payload[..PAYLOAD_BYTES_MIN].copy_from_slice(&now_ns().to_le_bytes());
        socket.send_to(&payload, target)?;
    }
    Ok((total, urgency))
}

struct Readings {
    errors: Histogram<u64>,
    early: u64,
}

fn read_all(socket: &UdpSocket, delay_ns: u64, all_sent: &AtomicBool) -> io::Result<Readings> {
    hurry();
    let errors =
        Histogram::new_with_bounds(1, ERROR_NS_MAX, 3).expect("the bounds are constants and in order");
    let mut readings = Readings { errors, early: 0 };
    let patience = READ_PATIENCE + Duration::from_nanos(delay_ns);
    socket.set_read_timeout(Some(patience))?;
    let mut buffer = [0; PAYLOAD_BYTES_MAX];
    loop {
        match socket.recv(&mut buffer) {
            Ok(_) => readings.note(&buffer, delay_ns, now_ns()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if all_sent.load(Ordering::Acquire) {
                    return Ok(readings);
                }
            }
            Err(error) => return Err(error),
        }
    }
}

impl Readings {
    fn note(&mut self, buffer: &[u8; PAYLOAD_BYTES_MAX], delay_ns: u64, now: u64) {
        let mut stamp = [0; PAYLOAD_BYTES_MIN];
        stamp.copy_from_slice(&buffer[..PAYLOAD_BYTES_MIN]);
        match now.checked_sub(u64::from_le_bytes(stamp).saturating_add(delay_ns)) {
            Some(error_ns) => self.errors.saturating_record(error_ns.max(1)),
            None => self.early += 1,
        }
    }

    fn lateness(&self) -> Lateness {
        let at = |quantile| self.errors.value_at_quantile(quantile) as f64 / 1_000.0;
        Lateness {
            packets: self.errors.len(),
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: self.errors.max() as f64 / 1_000.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AccuracyError, AccuracyPlan, measure};

    const PLAN: AccuracyPlan =
        AccuracyPlan { packets_per_s: 500, seconds: 1, delay_ms: 5.0, payload_bytes: 200, direct: false };

    #[test]
    fn every_packet_is_read_and_none_early() {
        let accuracy = measure(PLAN).unwrap();
        assert_eq!(accuracy.error.packets, 500);
        assert_eq!((accuracy.early_packets, accuracy.missing_packets), (0, 0));
        assert_eq!(accuracy.emulator.unwrap().packets, 500);
    }

    #[test]
    fn empty_plans_are_refused() {
        let refused = |plan| measure(plan).unwrap_err();
        assert!(matches!(refused(AccuracyPlan { payload_bytes: 4, ..PLAN }), AccuracyError::Payload(4)));
        assert!(matches!(refused(AccuracyPlan { seconds: 0, ..PLAN }), AccuracyError::Nothing));
    }
}
