//! The path's arithmetic as quinn wants it: a factory, and a controller that turns instants into microseconds.

use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use quinn::Connection;
use quinn_proto::RttEstimator;
use quinn_proto::congestion::{Controller, ControllerFactory};

use super::path::Path;

/// What may be under way before anything is known about a path: little enough for a slow one, and ten doublings short of
/// the largest window.
const WINDOW_FIRST_BYTES: u64 = 128 << 10;

/// Makes a controller for each connection.
#[derive(Debug)]
pub struct WanController {
    window_max_bytes: u64,
    seed: AtomicU64,
}

impl WanController {
    /// Controllers that never let more than `window_max_bytes` be under way. The seed keeps links that share a path
    /// from probing in step; any number does.
    pub fn new(window_max_bytes: u64, seed: u64) -> Self {
        Self { window_max_bytes, seed: AtomicU64::new(seed) }
    }
}

impl ControllerFactory for WanController {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let seed = self.seed.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        let path = Path::new(current_mtu.into(), WINDOW_FIRST_BYTES, self.window_max_bytes, seed);
        Box::new(PathController { path, zero: now, mtu: current_mtu.into(), told: Arc::default() })
    }
}

#[derive(Debug, Clone)]
struct PathController {
    path: Path,
    zero: Instant,
    mtu: u64,
    /// Shared with the copy that quinn hands out.
    told: Arc<Mutex<Told>>,
}

/// What a connection's session tells its controller.
#[derive(Debug, Default)]
struct Told {
    /// What fitted on the way to this peer before, until the controller knows.
    fitted: u64,
    /// What may be under way beyond the window until the next acknowledgement.
    beyond: u64,
    /// Whether the path is silent and is tried.
    silent: bool,
    /// When the other end was heard again after a silence.
    heard_again: Option<Instant>,
}

/// What was sent before a silence ended and is lost counts as lost to a cut for so long.
const CUT_TOLD: Duration = Duration::from_secs(2);

/// What fits on the way of a connection, in bytes, as far as it has come to know that; else 0.
pub(crate) fn fits(connection: &Connection) -> u64 {
    of(connection).map_or(0, |controller| controller.path.fits())
}

/// Tells a connection what fitted on the way to its peer before.
pub(crate) fn remember(connection: &Connection, fitted: u64) {
    if let Some(controller) = of(connection) {
        controller.told().fitted = fitted;
    }
}

/// Lets a connection that hears nothing send a packet, though its window is full of what got lost.
pub(crate) fn try_silent(connection: &Connection) {
    if let Some(controller) = of(connection) {
        controller.try_silent();
    }
}

/// The other end of a connection is heard again. Until it acknowledges something, its window seems full of what got lost.
pub(crate) fn heard_again(connection: &Connection) {
    if let Some(controller) = of(connection) {
        controller.heard_again(Instant::now());
    }
}

fn of(connection: &Connection) -> Option<Box<PathController>> {
    connection.congestion_state().into_any().downcast().ok()
}

impl PathController {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_silent(&self) {
        let mut told = self.told();
        told.silent = true;
        told.beyond += self.mtu;
    }

    /// Nothing is left to be done where the loss was seen first: it has ended the silence, and the window is open already.
    fn heard_again(&self, now: Instant) {
        let mut told = self.told();
        if std::mem::take(&mut told.silent) {
            told.beyond += self.path.resumed();
            told.heard_again = Some(now);
        }
    }

    /// Whether what was sent then was lost to a silence that has just ended. Asked once for each silence. Where the first
    /// that is heard is an acknowledgement, QUIC counts the loss before anybody is told that something was heard.
    fn lost_to_a_cut(&self, now: Instant, sent: Instant) -> bool {
        let mut told = self.told();
        let unheard = std::mem::take(&mut told.silent);
        let heard_again = told.heard_again.take();
        unheard || heard_again.is_some_and(|at| sent < at && now.saturating_duration_since(at) < CUT_TOLD)
    }

    fn us(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.zero).as_micros() as u64
    }
}

impl Controller for PathController {
    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, _rtt: &RttEstimator) {
        self.path.acked(self.us(now), self.us(sent), bytes, app_limited);
    }

    fn on_end_acks(&mut self, now: Instant, _in_flight: u64, app_limited: bool, _largest: Option<u64>) {
        let fitted = {
            let mut told = self.told();
            told.beyond = 0;
            std::mem::take(&mut told.fitted)
        };
        if fitted > 0 {
            self.path.remember(fitted);
        }
        self.path.acks_done(self.us(now), app_limited);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, persistent: bool, lost_bytes: u64) {
        if self.lost_to_a_cut(now, sent) || persistent {
            self.path.cut(self.us(now));
        } else {
            self.path.lost(self.us(now), lost_bytes);
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.mtu = new_mtu.into();
        self.path.mtu_changed(self.mtu);
    }

    fn window(&self) -> u64 {
        self.path.window() + self.told().beyond
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        WINDOW_FIRST_BYTES
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use quinn_proto::congestion::{Controller, ControllerFactory as _};

    use super::{PathController, WanController};

    const FITTED: u64 = 1_000_000;

    /// A controller of a path that is remembered, some time after it began.
    fn known() -> (PathController, Instant) {
        let zero = Instant::now();
        let made = Arc::new(WanController::new(16 << 20, 3)).build(zero, 1_200);
        let mut controller = *made.into_any().downcast::<PathController>().unwrap();
        controller.path.remember(FITTED);
        (controller, zero + Duration::from_secs(10))
    }

    fn loses(controller: &mut PathController, now: Instant) {
        controller.on_congestion_event(now, now - Duration::from_millis(400), false, FITTED);
    }

    #[test]
    fn what_a_silence_took_says_nothing_about_the_path_whichever_is_seen_first() {
        for told_first in [false, true] {
            let (mut controller, now) = known();
            controller.try_silent();
            if told_first {
                controller.heard_again(now);
            }
            loses(&mut controller, now);
            assert_eq!(controller.path.fits(), FITTED, "told first: {told_first}");
            // The silence has been counted: what is lost from here on is the path's doing.
            controller.heard_again(now);
            loses(&mut controller, now);
            assert_eq!(controller.path.fits(), FITTED / 2, "told first: {told_first}");
        }
    }

    #[test]
    fn a_silence_that_took_nothing_is_soon_forgotten() {
        let (mut controller, now) = known();
        controller.try_silent();
        controller.heard_again(now);
        loses(&mut controller, now + Duration::from_secs(3));
        assert_eq!(controller.path.fits(), FITTED / 2);
    }

    #[test]
    fn who_is_heard_again_is_sent_half_at_once_and_one_packet_for_each_try_before() {
        let (controller, now) = known();
        let before = controller.window();
        controller.try_silent();
        controller.try_silent();
        assert_eq!(controller.window(), before + 2 * 1_200);
        controller.heard_again(now);
        assert_eq!(controller.window(), before + 2 * 1_200 + FITTED / 2);
        controller.heard_again(now);
        assert_eq!(controller.window(), before + 2 * 1_200 + FITTED / 2);
    }
}
