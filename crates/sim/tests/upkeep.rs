//! What sites go through beside faults: records that are deleted, low disks, floods, new versions.

use sim::swarm::Kind;
use sim::{Options, run};

/// Runs seeds in which these happen as well; the first of them must have.
fn check(seeds: std::ops::Range<u64>, also: &[Kind]) {
    let options = Options { also: also.to_vec(), ..Options::default() };
    let struck = |seed| {
        let report = run(seed, &options).unwrap_or_else(|failure| panic!("{failure}"));
        report.struck.get(&also[0]).copied().unwrap_or(0)
    };
    let struck: u64 = seeds.map(struck).sum();
    assert!(struck > 5, "{:?} struck {struck} times only", also[0]);
}

/// I-57 and I-40, with compaction in three seeds of ten.
#[test]
fn logs_begin_where_the_order_says() {
    check(0..15, &[Kind::Retain]);
    check(15..30, &[Kind::Retain, Kind::Kill, Kind::Isolate, Kind::Wipe]);
}

/// I-08, and that all goes on afterwards.
#[test]
fn a_low_disk_costs_nothing() {
    check(0..15, &[Kind::Low]);
    check(15..30, &[Kind::Low, Kind::Kill, Kind::Fence, Kind::Full]);
}

/// I-08: nothing ends for lack of room, and what is durable takes effect once when there is some.
#[test]
fn a_disk_that_others_fill_costs_nothing() {
    check(0..15, &[Kind::Crowd]);
    check(15..30, &[Kind::Crowd, Kind::Kill, Kind::Power, Kind::Stop, Kind::Wipe]);
}

/// I-48 and I-55.
#[test]
fn queues_are_bounded() {
    check(0..10, &[Kind::Flood, Kind::Stall]);
    check(10..20, &[Kind::Flood, Kind::Isolate]);
}

/// I-58: sites of two versions, and some that go back.
#[test]
fn what_is_new_waits_until_all_read_it() {
    check(0..15, &[Kind::Upgrade]);
    check(15..30, &[Kind::Upgrade, Kind::Isolate, Kind::Kill, Kind::Stop]);
}
