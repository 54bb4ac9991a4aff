//! The figures of `bench wan` as a report.

use super::{Cost, Point, Share, Wan};
use crate::machine::Facts;
use crate::report::{Axis, Bar, Line, Plot, Report, Section, Table, Wish};

/// The point that has a bar: its distance and loss, and the share of the goodput without loss that should be left.
const BAR_RTT_MS: f64 = 150.0;
const BAR_LOSS_PERCENT: f64 = 1.0;
const GOODPUT_LEFT_MIN: f64 = 0.8;
const WIRE_PER_BYTE_MAX: f64 = 1.06;

pub(super) fn report(plan: &Wan, facts: Facts, points: &[Point], shares: &[Share], costs: &[Cost]) -> Report {
    let mut bars = Vec::new();
    let mut sections = Vec::new();
    if !points.is_empty() {
        bars.extend(goodput_bar(points));
        sections.push(goodput(plan, points));
    }
    if !shares.is_empty() {
        bars.extend(shares.iter().map(share_bar));
        sections.push(share(plan, shares));
    }
    if !costs.is_empty() {
        let bar = |cost: &Cost| {
            let name = format!("IP bytes towards the receiver per replicated byte, at {:.1} MB/s", cost.mb_s);
            Bar::hold(name, Wish::AtMost(WIRE_PER_BYTE_MAX), cost.towards, "")
        };
        bars.extend(costs.iter().map(bar));
        sections.push(cost(costs));
    }
    Report {
        what: "wan".to_owned(),
        title: format!("Links between sites, {} Mbit/s where capped, batches of 64 KiB", plan.rate_mbit),
        facts,
        durability: "counted when it can be read at the follower, that is synced (fdatasync) there"
            .to_owned(),
        bars,
        sections,
    }
}

fn at(points: &[Point], rtt_ms: f64, loss_percent: f64) -> Option<&Point> {
    let same = |one: f64, other: f64| (one - other).abs() < 1e-9;
    points.iter().find(|point| same(point.rtt_ms, rtt_ms) && same(point.loss_percent, loss_percent))
}

fn goodput_bar(points: &[Point]) -> Option<Bar> {
    let (lossy, clean) = (at(points, BAR_RTT_MS, BAR_LOSS_PERCENT)?, at(points, BAR_RTT_MS, 0.0)?);
    let name = format!("goodput at {BAR_RTT_MS} ms and {BAR_LOSS_PERCENT} % loss / at no loss");
    Some(Bar::hold(name, Wish::AtLeast(GOODPUT_LEFT_MIN), lossy.mb_s / clean.mb_s, ""))
}

fn goodput(plan: &Wan, points: &[Point]) -> Section {
    let mut table = Table::new(&[
        "round trip ms",
        "loss %",
        "MB/s",
        "share of the rate",
        "of no loss",
        "wire bytes per byte",
        "queue drops",
    ]);
    let cap_mb_s = plan.rate_mbit / 8.0;
    for point in points {
        let clean = at(points, point.rtt_ms, 0.0).map(|clean| point.mb_s / clean.mb_s);
        table.row(vec![
            point.rtt_ms.into(),
            point.loss_percent.into(),
            point.mb_s.into(),
            (point.mb_s / cap_mb_s).into(),
            clean.into(),
            point.wire_per_byte.into(),
            point.queue_full.into(),
        ]);
    }
    let line = |loss_percent: &f64| {
        let same = points.iter().filter(|point| (point.loss_percent - loss_percent).abs() < 1e-9);
        let places = same.map(|point| (point.rtt_ms, point.mb_s)).collect();
        Line { name: format!("{loss_percent} % loss each way"), points: places }
    };
    let title = "Goodput of one link".to_owned();
    let lines = plan.loss_percent.iter().map(line).collect();
    let (x, y) = (Axis::of("round trip ms"), Axis::of("MB/s"));
    let plots = vec![Plot::Lines { title: title.clone(), x, y, lines }];
    let (rate, seconds, warm_up) = (plan.rate_mbit, plan.seconds, plan.warm_up_seconds);
    let note = format!(
        "{rate} Mbit/s each way ({cap_mb_s} MB/s), queue of 1 MiB, losses each for itself. {seconds} s, {warm_up} s after the start. \
         Growth of the origin log at the follower, in bytes of batches."
    );
    Section { title, note, table, plots }
}

/// The first link's share of both, in percent.
fn first_percent(share: &Share) -> f64 {
    100.0 * share.mb_s.0 / (share.mb_s.0 + share.mb_s.1)
}

fn share_bar(share: &Share) -> Bar {
    let (one, other) = share.rtt_ms;
    let name =
        format!("share of the first of two links through one bottleneck, {one} and {other} ms round trip");
    Bar::hold(name, Wish::Between(30.0, 70.0), first_percent(share), "%")
}

fn share(plan: &Wan, shares: &[Share]) -> Section {
    let mut table = Table::new(&["round trips ms", "first MB/s", "second MB/s", "first %", "both MB/s"]);
    for share in shares {
        let (one, other) = share.mb_s;
        let rtts = format!("{} and {}", share.rtt_ms.0, share.rtt_ms.1);
        table.row(vec![
            rtts.into(),
            one.into(),
            other.into(),
            first_percent(share).into(),
            (one + other).into(),
        ]);
    }
    let rate = plan.rate_mbit;
    let note = format!("One site feeds two through {rate} Mbit/s that both links share, queue of 1 MiB.");
    Section { title: "Two links, one bottleneck".to_owned(), note, table, plots: Vec::new() }
}

fn cost(costs: &[Cost]) -> Section {
    let columns =
        ["MB/s", "bytes towards per byte", "bytes back per byte", "packets/s towards", "packets/s back"];
    let mut table = Table::new(&columns);
    for cost in costs {
        let (towards, back) = cost.packets_s;
        let figures = [cost.mb_s, cost.towards, cost.back, towards, back];
        table.row(figures.map(Into::into).into());
    }
    let note = "IP-level bytes by the emulator's counters (28 bytes of headers for each datagram), heartbeats, promises and \
                acknowledgements included, for each byte of record batches; 80 ms round trip, no loss, no cap.";
    Section { title: "What a byte costs".to_owned(), note: note.to_owned(), table, plots: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::{Point, Share, first_percent, goodput_bar};

    fn point(rtt_ms: f64, loss_percent: f64, mb_s: f64) -> Point {
        Point { rtt_ms, loss_percent, mb_s, wire_per_byte: 1.0, queue_full: 0 }
    }

    #[test]
    fn the_bar_compares_the_same_distance_with_and_without_loss() {
        let points = [point(150.0, 0.0, 24.0), point(150.0, 1.0, 21.6), point(300.0, 1.0, 1.0)];
        let bar = goodput_bar(&points).unwrap();
        assert!(bar.met && bar.got == "0.900", "{bar:?}");
        assert!(goodput_bar(&points[1..]).is_none(), "nothing to compare with");
    }

    #[test]
    fn shares_are_of_both_together() {
        let share = Share { rtt_ms: (1.0, 1.0), mb_s: (6.0, 18.0) };
        assert!((first_percent(&share) - 25.0).abs() < 1e-9);
    }
}
