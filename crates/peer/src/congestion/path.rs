//! The arithmetic of a path: from acknowledgements and losses to a window.
//!
//! Time goes in *rounds*: from a moment until a packet sent after it is acknowledged. A round yields a delivery rate, a
//! shortest round trip and a share of loss. The window is rate × shortest round trip × gain, plus a little slack for
//! acknowledgements that come in lumps. The gain cycles: one round above one to find new room, one below to
//! drain what that left in queues, some rounds at one. The round below one shows what the probe brought: if that is much,
//! another follows at once; if it is all that was asked for, the doubling starts anew.
//!
//! A path that was cut loses whatever is sent into it, and that says nothing about how much fits. So the first window's
//! loss ends no startup before a rate was measured, and after a cut the window goes back to half of what used to fit with
//! the first acknowledgement, and grows by all that is acknowledged until it is whole again. So does that of a new
//! connection to a peer whose path is remembered.
//!
//! Loss up to [`LOSS_TOLERATED`] changes nothing. More lowers the believed rate below what was delivered. A standing queue
//! lowers the gain. When the shortest round trip has not been seen again for [`RTT_TRUSTED_US`], the window halves for
//! two rounds to let queues run empty and measure it anew.

use super::recent::RecentMax;

/// Loss up to this share is taken for noise of the path, not for congestion.
const LOSS_TOLERATED: f64 = 0.03;
/// Fewer lost packets than this in a round say nothing about a share.
const LOST_PACKETS_MIN: u64 = 8;
/// While starting, this share of loss in a round means that the path is overrun.
const LOSS_STARTUP: f64 = 0.10;
/// The most that startup grows by in a round. What startup sends too much is lost in many small holes, and quinn gives a
/// connection up when a stream has more than 1024 of them; two rounds of this stay below.
const STARTUP_GROWTH_BYTES: u64 = 512 << 10;
/// Startup ends when even the quickest of so many acknowledgements in a row had to queue.
const QUEUED_ACKS: u32 = 32;
/// How long a shortest round trip is believed without having been seen again.
const RTT_TRUSTED_US: u64 = 10_000_000;
/// Rounds on fast paths last at least this long, so that a rate is measured over more than a burst.
const ROUND_US_MIN: u64 = 4_000;
/// A queue below this is not worth answering on any path.
const QUEUE_US_MIN: u64 = 10_000;
/// Slack for lumpy acknowledgements and timers.
const SLACK_US: u64 = 2_000;
/// The most and the least that a probe asks for beyond what is believed.
const PROBE_MAX: f64 = 0.5;
const PROBE_MIN: f64 = 0.05;
/// A probe that asks for this much or more tells that far more room may be left.
const PROBE_LARGE: f64 = 0.25;
/// A window of this size is probed by a quarter; larger ones by less, smaller ones by more.
const PROBE_BYTES: f64 = 1_048_576.0;
/// Slack that each link keeps in the path's queue, the same for all: it makes their rates equal where they share one.
const SLACK_BYTES: f64 = 65_536.0;
/// Slack never takes more of a slow path's time than this.
const SLACK_US_MAX: u64 = 20_000;
/// After a cut the window comes back to no more than this at once. Should the path have become narrow, the holes that this
/// leaves are still fewer than quinn bears.
const RESUMED_BYTES_MAX: u64 = 2 << 20;
/// The smallest window, in packets. Also what a path without any estimate may use after a collapse.
const WINDOW_PACKETS_MIN: u64 = 16;

/// What the path is being used for just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Doubling the window each round until the rate follows no more.
    Startup,
    /// Below one until the queue that startup or a probe built is gone; at most so many rounds more.
    Drain(u8),
    /// Above one for a round.
    Probe,
    /// At one, for so many rounds more.
    Cruise(u8),
    /// At a half for so many rounds more, to see the shortest round trip again.
    Settle(u8),
}

/// What one round has seen so far.
#[derive(Debug, Clone)]
struct Round {
    start_us: u64,
    delivered: u64,
    /// How much of it had been sent before the round began, and how long after that the last of it was acknowledged.
    before: u64,
    before_us: u64,
    lost: u64,
    rtt_us: u64,
    app_limited: bool,
    passed: bool,
    grown: u64,
    queued_acks: u32,
}

impl Round {
    fn new(start_us: u64) -> Self {
        Self {
            start_us,
            delivered: 0,
            before: 0,
            before_us: 0,
            lost: 0,
            rtt_us: u64::MAX,
            app_limited: false,
            passed: false,
            grown: 0,
            queued_acks: 0,
        }
    }

    /// The rate at which what was under way when the round began came through. After a probe a pause follows it, until
    /// the smaller window has room again; the round's whole length would count that in.
    fn rate_before(&self, rtt_us: u64) -> u64 {
        self.before.saturating_mul(1_000_000) / self.before_us.max(rtt_us).max(ROUND_US_MIN)
    }

    fn loss(&self) -> f64 {
        if self.lost == 0 { 0.0 } else { self.lost as f64 / (self.lost + self.delivered) as f64 }
    }
}

/// Everything believed about a path.
#[derive(Debug, Clone)]
pub(super) struct Path {
    mtu: u64,
    window: u64,
    window_max: u64,
    window_first: u64,
    phase: Phase,
    round: Round,
    rate: RecentMax,
    /// Whether a rate was measured while more could have been sent, and not while the path was cut.
    measured: bool,
    /// What fitted on the way before it was cut, or when it was used before; none where nothing is known.
    fitted: u64,
    /// Whether the window is still on its way back to that.
    resumes: bool,
    /// Whether more than a few bytes were sent on that way.
    tried: bool,
    rtt_us: u64,
    rtt_seen_us: u64,
    growth: Growth,
    probe: f64,
    dice: u64,
}

/// Whether the rate still follows: in startup from round to round, later from probe to probe.
#[derive(Debug, Clone, Default)]
struct Growth {
    rate: u64,
    flat_rounds: u8,
}

impl Path {
    pub(super) fn new(mtu: u64, window_first: u64, window_max: u64, seed: u64) -> Self {
        Self {
            mtu,
            window: window_first,
            window_max,
            window_first,
            phase: Phase::Startup,
            round: Round::new(0),
            rate: RecentMax::default(),
            measured: false,
            fitted: 0,
            resumes: false,
            tried: false,
            rtt_us: u64::MAX,
            rtt_seen_us: 0,
            growth: Growth::default(),
            probe: PROBE_MAX,
            dice: seed | 1,
        }
    }

    pub(super) fn window(&self) -> u64 {
        self.window
    }

    pub(super) fn mtu_changed(&mut self, mtu: u64) {
        self.mtu = mtu;
        self.set_window(self.window);
    }

    pub(super) fn acked(&mut self, now_us: u64, sent_us: u64, bytes: u64, app_limited: bool) {
        let rtt_us = now_us.saturating_sub(sent_us).max(1);
        self.round.delivered += bytes;
        self.round.rtt_us = self.round.rtt_us.min(rtt_us);
        if sent_us < self.round.start_us {
            self.round.before += bytes;
            self.round.before_us = now_us - self.round.start_us;
        } else {
            self.round.passed = true;
        }
        if rtt_us <= self.rtt_us.saturating_add(self.rtt_us / 32) {
            self.rtt_us = self.rtt_us.min(rtt_us);
            self.rtt_seen_us = now_us;
        }
        if self.phase == Phase::Startup && !app_limited {
            self.grow(now_us, rtt_us, bytes);
        }
    }

    fn grow(&mut self, now_us: u64, rtt_us: u64, bytes: u64) {
        let queued = rtt_us > self.rtt_us.saturating_add((self.rtt_us / 8).clamp(8_000, 16_000));
        self.round.queued_acks = if queued { self.round.queued_acks + 1 } else { 0 };
        if self.resumes {
            return self.resume(now_us, bytes);
        }
        if self.round.queued_acks >= QUEUED_ACKS && self.rate.get() > 0 {
            // The rate has not been seen whole yet; the drain round measures it.
            return self.enter(Phase::Drain(4), now_us);
        }
        let growth = bytes.min(STARTUP_GROWTH_BYTES - self.round.grown);
        self.round.grown += growth;
        self.set_window(self.window + growth);
    }

    /// On the way back to what used to fit. That is sent at once when it is tried again, and queues for a moment. Once it is
    /// reached, it is believed until shown otherwise: to look for more there and then would overrun the path.
    fn resume(&mut self, now_us: u64, bytes: u64) {
        self.tried = true;
        self.set_window(self.fitted.min(self.window + bytes));
        if self.window >= self.fitted.min(self.window_max) {
            self.resumes = false;
            let moving = self.fitted.saturating_sub(SLACK_BYTES as u64);
            self.rate.push(moving.saturating_mul(1_000_000) / self.rtt_us);
            self.phase = self.cruise();
            self.round = Round::new(now_us);
        }
    }

    pub(super) fn acks_done(&mut self, now_us: u64, app_limited: bool) {
        self.round.app_limited |= app_limited;
        let elapsed_us = now_us.saturating_sub(self.round.start_us);
        if self.round.passed && elapsed_us >= ROUND_US_MIN {
            let round = std::mem::replace(&mut self.round, Round::new(now_us));
            self.finish(now_us, elapsed_us, &round);
        }
    }

    pub(super) fn lost(&mut self, now_us: u64, bytes: u64) {
        self.round.lost += bytes;
        let overrun = self.round.lost > 4 * WINDOW_PACKETS_MIN * self.mtu && self.round.loss() > LOSS_STARTUP;
        let known = self.measured || self.fitted > 0;
        if self.phase == Phase::Startup && overrun && known {
            self.fitted /= 2;
            self.resumes = false;
            self.enter(Phase::Drain(4), now_us);
        }
    }

    /// Nothing got through for a long time, and now something did: what was believed is to be shown anew, except how short
    /// a round trip can be.
    pub(super) fn cut(&mut self, now_us: u64) {
        let fitted = if self.tried && !self.measured { self.fitted / 2 } else { self.fits() };
        self.rate = RecentMax::default();
        self.measured = false;
        self.growth = Growth::default();
        self.phase = Phase::Startup;
        self.round = Round::new(now_us);
        self.set_window(WINDOW_PACKETS_MIN * self.mtu);
        self.remember(fitted);
    }

    /// What is believed to fit on the way, in bytes; 0 where nothing is known.
    pub(super) fn fits(&self) -> u64 {
        if self.measured { self.fitting(1.0) } else { self.fitted }
    }

    /// What may be sent at once into a path that was cut.
    pub(super) fn resumed(&self) -> u64 {
        (self.fits() / 2).min(RESUMED_BYTES_MAX)
    }

    /// So much is known to have fitted before. It counts until a rate is measured.
    pub(super) fn remember(&mut self, fitted: u64) {
        self.fitted = fitted;
        self.resumes = fitted > self.window;
        self.tried = false;
        self.set_window(self.window.max(self.resumed()));
    }

    fn finish(&mut self, now_us: u64, elapsed_us: u64, round: &Round) {
        let rate = round.delivered.saturating_mul(1_000_000) / elapsed_us;
        let before = self.rate.get();
        if !round.app_limited || rate > before {
            self.rate.push(rate);
        }
        let queue_us = round.rtt_us.saturating_sub(self.rtt_us);
        self.measured |= !self.resumes && !round.app_limited && round.delivered >= self.window / 4;
        if self.phase == Phase::Startup {
            return self.finish_startup(now_us, rate, queue_us, round);
        }
        if round.loss() > LOSS_TOLERATED && round.lost > LOST_PACKETS_MIN * self.mtu {
            self.overrun(rate);
        }
        let next = self.after(now_us, queue_us, round);
        self.enter(next, now_us);
        if matches!(self.phase, Phase::Cruise(_)) && queue_us > self.queue_tolerated_us() {
            self.set_window(self.fitting(0.8));
        }
    }

    /// Too much was lost. Right after a probe that says only that the probe was too large; else the path carries less
    /// than was believed.
    fn overrun(&mut self, rate: u64) {
        if matches!(self.phase, Phase::Probe | Phase::Drain(_)) {
            self.probe = (self.probe / 2.0).max(PROBE_MIN);
        } else {
            self.rate.cap(rate - rate / 10);
        }
    }

    fn finish_startup(&mut self, now_us: u64, rate: u64, queue_us: u64, round: &Round) {
        let queues = queue_us > self.queue_tolerated_us();
        if self.resumes || round.app_limited || (!queues && round.delivered < self.window / 8) {
            return;
        }
        // Half of what the window grew by should show; the first rounds double it.
        let wanted = (round.grown as f64 / self.window as f64 / 2.0).min(0.25);
        if rate as f64 > self.growth.rate as f64 * (1.0 + wanted) {
            self.growth = Growth { rate, flat_rounds: 0 };
        } else {
            self.growth.flat_rounds += 1;
        }
        if self.growth.flat_rounds >= 3 || queues {
            self.enter(Phase::Drain(4), now_us);
        }
    }

    /// Which phase follows the round that has just ended.
    fn after(&mut self, now_us: u64, queue_us: u64, round: &Round) -> Phase {
        let empty = queue_us <= self.rtt_us / 16 + SLACK_US;
        let unhurt = round.loss() <= LOSS_TOLERATED && !round.app_limited;
        let rate = round.rate_before(self.rtt_us);
        let stale = now_us.saturating_sub(self.rtt_seen_us) > RTT_TRUSTED_US;
        match self.phase {
            Phase::Settle(0) => {
                self.rtt_us = round.rtt_us;
                self.rtt_seen_us = now_us;
                self.cruise()
            }
            Phase::Settle(left) => Phase::Settle(left - 1),
            _ if stale => Phase::Settle(1),
            Phase::Probe => Phase::Drain(1),
            Phase::Drain(_) if unhurt && empty && self.found_all(rate) => {
                self.rate.push(rate);
                self.growth = Growth { rate, flat_rounds: 0 };
                self.set_window(self.fitting(1.0));
                Phase::Startup
            }
            Phase::Drain(_) if unhurt && self.found_more(rate) => {
                self.rate.push(rate);
                self.probe = (self.probe * 2.0).min(PROBE_MAX);
                self.begin_probe()
            }
            Phase::Drain(left) if left > 0 && !empty => Phase::Drain(left - 1),
            Phase::Drain(_) => self.cruise(),
            Phase::Cruise(left) if left > 0 => Phase::Cruise(left - 1),
            Phase::Cruise(_) | Phase::Startup => self.begin_probe(),
        }
    }

    /// A probe is judged by what was believed when it began.
    fn begin_probe(&mut self) -> Phase {
        self.growth = Growth { rate: self.rate.get(), flat_rounds: 0 };
        Phase::Probe
    }

    /// Whether the last probe brought at least half of what it asked for.
    fn found_more(&self, rate: u64) -> bool {
        rate as f64 > self.growth.rate as f64 * (1.0 + self.probe_share() / 2.0)
    }

    /// Whether it brought about all of it, and that was much.
    fn found_all(&self, rate: u64) -> bool {
        let share = self.probe_share();
        share >= PROBE_LARGE && rate as f64 > self.growth.rate as f64 * (1.0 + share * 0.8)
    }

    /// How much above one a probe goes. Relatively more for a small window, so that links which share a path
    /// approach each other.
    fn probe_share(&self) -> f64 {
        let fits = self.fitting(1.0).max(1) as f64;
        ((PROBE_BYTES / fits).sqrt() / 4.0).clamp(PROBE_MIN, self.probe.max(PROBE_MIN))
    }

    /// Cruising lasts a few rounds, not equally many each time, so that links which share a path do not probe in step.
    fn cruise(&mut self) -> Phase {
        self.growth = Growth { rate: self.rate.get(), flat_rounds: 0 };
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Phase::Cruise(2 + (self.dice >> 62) as u8)
    }

    fn enter(&mut self, phase: Phase, _now_us: u64) {
        let gain = match phase {
            Phase::Startup => {
                self.phase = phase;
                return;
            }
            Phase::Drain(_) if self.phase == Phase::Probe => 1.0 - self.probe_share(),
            Phase::Drain(_) => 0.75,
            Phase::Probe => 1.0 + self.probe_share(),
            Phase::Cruise(_) => 1.0,
            Phase::Settle(_) => 0.5,
        };
        self.phase = phase;
        self.set_window(self.fitting(gain));
    }

    /// What fits on the way, times the gain.
    fn fitting(&self, gain: f64) -> u64 {
        if self.rtt_us == u64::MAX || self.rate.get() == 0 {
            return self.window_first;
        }
        let per_us = self.rate.get() as f64 / 1e6;
        let slack = SLACK_BYTES.clamp(per_us * SLACK_US as f64, per_us * SLACK_US_MAX.max(SLACK_US) as f64);
        (per_us * self.rtt_us as f64 * gain + slack) as u64 + 4 * self.mtu
    }

    fn queue_tolerated_us(&self) -> u64 {
        (self.rtt_us / 4).max(QUEUE_US_MIN)
    }

    fn set_window(&mut self, bytes: u64) {
        let least = WINDOW_PACKETS_MIN * self.mtu;
        self.window = bytes.clamp(least, self.window_max.max(least));
    }
}
