//! A small deterministic model of senders that share one bottleneck, to hold the arithmetic against its promises.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::path::Path;

const PACKET: u64 = 1_452;
const MBIT: u64 = 125_000;

/// One sender: paced as quinn paces, by 1.25 windows per smoothed round trip.
struct Flow {
    path: Path,
    rtt_us: u64,
    starts_us: u64,
    srtt_us: u64,
    in_flight: u64,
    next: u64,
    sent: BTreeMap<u64, u64>,
    tokens: f64,
    tokens_us: u64,
    delivered: u64,
    wake_queued: bool,
    loss: f64,
}

enum Happening {
    Wake,
    Ack(u64),
}

struct Link {
    rate: u64,
    queue_us_max: u64,
    free_at_us: u64,
    dice: u64,
}

impl Link {
    fn chance(&mut self) -> f64 {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.dice >> 11) as f64 / (1u64 << 53) as f64
    }

    /// When a packet entering now leaves, unless it is lost.
    fn pass(&mut self, now_us: u64, loss: f64) -> Option<u64> {
        let start = self.free_at_us.max(now_us * 1_000);
        if start - now_us * 1_000 > self.queue_us_max * 1_000 {
            return None;
        }
        self.free_at_us = start + PACKET * 1_000_000_000 / self.rate;
        (self.chance() >= loss).then_some(self.free_at_us / 1_000)
    }
}

struct Model {
    link: Link,
    flows: Vec<Flow>,
    queue: BinaryHeap<Reverse<(u64, u64, usize, u64)>>,
    order: u64,
}

impl Model {
    fn new(mbit: u64, queue_us_max: u64, flows: &[(u64, u64, f64)]) -> Self {
        let link = Link { rate: mbit * MBIT, queue_us_max, free_at_us: 0, dice: 7 };
        let flow = |(n, &(rtt_us, starts_us, loss)): (usize, &(u64, u64, f64))| Flow {
            path: Path::new(PACKET, 128 << 10, 16 << 20, 11 + n as u64 * 77_777),
            rtt_us,
            starts_us,
            srtt_us: 100_000,
            in_flight: 0,
            next: 0,
            sent: BTreeMap::new(),
            tokens: 0.0,
            tokens_us: 0,
            delivered: 0,
            wake_queued: false,
            loss,
        };
        let flows = flows.iter().enumerate().map(flow).collect();
        Self { link, flows, queue: BinaryHeap::new(), order: 0 }
    }

    fn push(&mut self, at_us: u64, flow: usize, what: &Happening) {
        self.order += 1;
        let code = match what {
            Happening::Wake => u64::MAX,
            Happening::Ack(number) => *number,
        };
        self.queue.push(Reverse((at_us, self.order, flow, code)));
    }

    /// Runs until then and returns what each flow delivered from `from_us` on, in Mbit/s.
    fn run(&mut self, from_us: u64, until_us: u64) -> Vec<f64> {
        if self.order == 0 {
            for n in 0..self.flows.len() {
                let at = self.flows[n].starts_us;
                self.push(at, n, &Happening::Wake);
            }
        }
        let mut marks: Vec<Option<u64>> = vec![None; self.flows.len()];
        while let Some(Reverse((now_us, _, n, code))) = self.queue.pop() {
            if now_us >= from_us {
                for (mark, flow) in marks.iter_mut().zip(&self.flows) {
                    mark.get_or_insert(flow.delivered);
                }
            }
            if now_us > until_us {
                break;
            }
            if code == u64::MAX {
                self.flows[n].wake_queued = false;
            } else {
                self.acked(now_us, n, code);
            }
            self.send(now_us, n);
        }
        let seconds = (until_us - from_us) as f64 / 1e6;
        let mbit = |(flow, mark): (&Flow, &Option<u64>)| {
            (flow.delivered - mark.unwrap_or(0)) as f64 / MBIT as f64 / seconds
        };
        self.flows.iter().zip(&marks).map(mbit).collect()
    }

    fn acked(&mut self, now_us: u64, n: usize, number: u64) {
        let flow = &mut self.flows[n];
        let Some(sent_us) = flow.sent.remove(&number) else { return };
        flow.in_flight -= PACKET;
        flow.delivered += PACKET;
        flow.srtt_us = (flow.srtt_us * 7 + (now_us - sent_us)) / 8;
        flow.path.acked(now_us, sent_us, PACKET, false);
        flow.path.acks_done(now_us, false);
        let gone: Vec<u64> = flow.sent.range(..number.saturating_sub(16)).map(|(n, _)| *n).collect();
        for lost in gone {
            flow.sent.remove(&lost);
            flow.in_flight -= PACKET;
            flow.path.lost(now_us, PACKET);
        }
    }

    fn send(&mut self, now_us: u64, n: usize) {
        let flow = &mut self.flows[n];
        let per_us = flow.path.window() as f64 * 1.25 / flow.srtt_us as f64;
        flow.tokens =
            (flow.tokens + (now_us - flow.tokens_us) as f64 * per_us).min((per_us * 2_000.0).max(14_520.0));
        flow.tokens_us = now_us;
        while self.flows[n].in_flight + PACKET < self.flows[n].path.window() {
            let flow = &mut self.flows[n];
            if flow.tokens < PACKET as f64 {
                if !flow.wake_queued {
                    flow.wake_queued = true;
                    let wait_us = 1 + ((PACKET as f64 * 8.0 - flow.tokens) / per_us) as u64;
                    self.push(now_us + wait_us, n, &Happening::Wake);
                }
                return;
            }
            flow.tokens -= PACKET as f64;
            flow.in_flight += PACKET;
            let number = flow.next;
            flow.next += 1;
            flow.sent.insert(number, now_us);
            let (loss, rtt_us) = (flow.loss, flow.rtt_us);
            if let Some(out_us) = self.link.pass(now_us, loss) {
                self.push(out_us + rtt_us, n, &Happening::Ack(number));
            }
        }
    }
}

/// The goodput of one link alone, in Mbit/s, from second 5 to 30.
fn alone(mbit: u64, rtt_ms: u64, loss: f64, queue_ms: u64) -> f64 {
    let mut model = Model::new(mbit, queue_ms * 1_000, &[(rtt_ms * 1_000, 0, loss)]);
    let got = model.run(5_000_000, 30_000_000)[0];
    println!("alone: {mbit} Mbit/s, {rtt_ms} ms, loss {loss}, queue {queue_ms} ms: {got:.1} Mbit/s");
    got
}

#[test]
fn one_percent_of_loss_at_150_ms_costs_little() {
    let clean = alone(200, 150, 0.0, 40);
    assert!(clean > 180.0, "{clean}");
    for (loss, share) in [(0.001, 0.95), (0.01, 0.9), (0.02, 0.85)] {
        let lossy = alone(200, 150, loss, 40);
        assert!(lossy > clean * share, "{lossy} of {clean} at loss {loss}");
    }
}

#[test]
fn the_path_is_filled_at_any_distance() {
    for rtt_ms in [1, 10, 80, 215, 300] {
        let got = alone(200, rtt_ms, 0.001, 40);
        assert!(got > 170.0, "{got} Mbit/s at {rtt_ms} ms");
    }
    for mbit in [10, 50, 400] {
        let got = alone(mbit, 80, 0.0, 60);
        assert!(got > mbit as f64 * 0.85, "{got} of {mbit} Mbit/s");
    }
}

#[test]
fn a_shallow_buffer_is_shared_with_little_loss() {
    let mut model = Model::new(200, 8_000, &[(150_000, 0, 0.0)]);
    let got = model.run(5_000_000, 30_000_000)[0];
    let sent = model.flows[0].next * PACKET;
    let lost = 1.0 - model.flows[0].delivered as f64 / sent as f64;
    println!("shallow: {got:.1} Mbit/s, lost {lost:.4}");
    assert!(got > 150.0 && lost < 0.04, "{got} Mbit/s with {lost} lost");
}

/// Two links share a bottleneck; returns their shares from second 15 to 45.
fn shared(a: (u64, u64, f64), b: (u64, u64, f64), queue_ms: u64) -> (f64, f64) {
    let mut model = Model::new(200, queue_ms * 1_000, &[a, b]);
    let got = model.run(15_000_000, 45_000_000);
    let sum = got[0] + got[1];
    println!(
        "shared {a:?} {b:?} queue {queue_ms} ms: {:.1} and {:.1} Mbit/s, {:.2}",
        got[0],
        got[1],
        got[0] / sum
    );
    (got[0] / sum, sum)
}

#[test]
fn links_that_share_a_bottleneck_get_fair_parts() {
    let cases = [
        ((150_000, 0, 0.0), (150_000, 5_000_000, 0.0), 40),
        ((150_000, 0, 0.01), (150_000, 5_000_000, 0.01), 40),
        ((80_000, 0, 0.0), (150_000, 5_000_000, 0.0), 40),
        ((150_000, 0, 0.0), (80_000, 5_000_000, 0.0), 40),
        ((20_000, 0, 0.0), (20_000, 5_000_000, 0.0), 40),
        ((80_000, 0, 0.0), (80_000, 3_000_000, 0.0), 150),
        ((80_000, 0, 0.005), (215_000, 3_000_000, 0.0), 100),
    ];
    let mut bad = Vec::new();
    for (a, b, queue_ms) in cases {
        let (share, sum) = shared(a, b, queue_ms);
        if !(0.3..=0.7).contains(&share) || sum < 160.0 {
            bad.push((a, b, queue_ms, share, sum));
        }
    }
    assert!(bad.is_empty(), "{bad:?}");
}

#[test]
fn a_path_that_narrows_is_followed_down_and_up() {
    let mut model = Model::new(200, 60_000, &[(100_000, 0, 0.0)]);
    model.run(0, 10_000_000);
    model.link.rate = 50 * MBIT;
    let narrow = model.run(15_000_000, 25_000_000)[0];
    model.link.rate = 200 * MBIT;
    let wide = model.run(30_000_000, 40_000_000)[0];
    println!("narrow {narrow:.1}, wide again {wide:.1}");
    assert!(narrow > 40.0 && wide > 160.0, "{narrow} then {wide}");
}

#[test]
fn heavy_loss_makes_the_window_small_and_it_stays_bounded() {
    let mut model = Model::new(200, 40_000, &[(100_000, 0, 0.0)]);
    model.run(0, 10_000_000);
    let before = model.flows[0].path.window();
    model.flows[0].loss = 0.2;
    model.run(10_000_000, 20_000_000);
    let after = model.flows[0].path.window();
    println!("window {before} then {after} under heavy loss");
    assert!(before <= 16 << 20 && after < before / 2, "{before} {after}");
}

#[test]
fn a_cut_starts_again_from_half_of_what_fitted_and_less_where_that_came_to_nothing() {
    let mut model = Model::new(200, 40_000, &[(100_000, 0, 0.0)]);
    model.run(0, 5_000_000);
    let path = &mut model.flows[0].path;
    let fitted = path.fits();
    path.cut(5_000_000);
    assert!(path.window() == fitted / 2 && path.fits() == fitted, "{} of {fitted}", path.window());
    let mut unlucky = path.clone();
    unlucky.acked(5_100_000, 5_000_000, PACKET, false);
    unlucky.cut(9_000_000);
    assert!(unlucky.window() == fitted / 4 && unlucky.fits() == fitted / 2, "{}", unlucky.window());
    let again = model.run(10_000_000, 15_000_000)[0];
    assert!(again > 160.0, "{again}");
}

#[test]
fn a_cut_of_an_unknown_path_starts_again_from_the_smallest_window() {
    let mut path = Path::new(PACKET, 128 << 10, 16 << 20, 3);
    path.cut(1_000_000);
    assert_eq!((path.window(), path.fits()), (16 * PACKET, 0));
}

#[test]
fn a_path_that_is_remembered_is_filled_sooner() {
    let first_second = |fitted| {
        let mut model = Model::new(200, 40_000, &[(150_000, 0, 0.0)]);
        model.flows[0].path.remember(fitted);
        model.run(0, 1_000_000)[0]
    };
    let (anew, again) = (first_second(0), first_second(3_750_000));
    println!("in the first second {anew:.1} Mbit/s anew, {again:.1} remembered");
    assert!(again > anew * 1.5, "{anew} {again}");
}

#[test]
fn what_is_remembered_of_a_path_that_became_narrow_is_soon_forgotten() {
    let mut model = Model::new(10, 40_000, &[(150_000, 0, 0.0)]);
    model.flows[0].path.remember(3_750_000);
    let got = model.run(3_000_000, 13_000_000)[0];
    let lost = 1.0 - model.flows[0].delivered as f64 / (model.flows[0].next * PACKET) as f64;
    println!("narrow: {got:.1} Mbit/s, lost {lost:.4}");
    assert!(got > 8.0 && model.flows[0].path.fits() < 400_000, "{got} {}", model.flows[0].path.fits());
}
