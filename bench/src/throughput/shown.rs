//! The figures of `bench throughput` as a report.

use std::time::Duration;

use super::memory::Load;
use super::read::Read;
use super::replicate::Replicated;
use super::{Limits, Measured, Parcel, Throughput, Used, Written};
use crate::machine::Facts;
use crate::report::{Bar, Cell, QUANTILE_COLUMNS, Report, Section, Table, Wish, quantile_cells};
use crate::usage::Usage;

/// The share of the lower limit that a site should reach.
const RATIO_MIN: f64 = 0.25;

pub(super) fn report(plan: &Throughput, facts: Facts, parcel: &Parcel, measured: &Measured) -> Report {
    let Measured { limits, written, read, replicated } = measured;
    let lower = mean(limits.disk).min(mean(limits.loopback));
    let name = "produce at one site / the lower of disk and loopback";
    let mut bars = vec![Bar::hold(name, Wish::AtLeast(RATIO_MIN), written.mb_s() / lower, "")];
    bars.extend(memory_bars(plan, parcel, measured));
    let mut sections = vec![
        limits_section(*limits),
        produce_section("Produce at one site", written, parcel, lower),
        acks_section(plan, written),
        read_section(read, parcel),
    ];
    if let Some(replicated) = replicated {
        sections.push(produce_section("Produce at one of three sites", &replicated.written, parcel, lower));
        sections.push(followers_section(replicated, parcel));
    }
    let (writers, window, bytes) = (plan.writers, plan.window, parcel.batch.len());
    let records = parcel.records;
    let durability = if plan.bootstrap.is_empty() {
        "acks=1: every acknowledgement after the fdatasync that covers it, at the site written to"
    } else {
        "whatever acks=1 means at the brokers named by --bootstrap"
    };
    Report {
        what: "throughput".to_owned(),
        title: format!(
            "Throughput, {writers} writers × {window} batches of {records} records, {bytes} bytes each"
        ),
        facts,
        durability: durability.to_owned(),
        bars,
        sections,
    }
}

/// Resident memory beside the documented budget under this load; nobody's budget but ours is known.
fn memory_bars(plan: &Throughput, parcel: &Parcel, measured: &Measured) -> Vec<Bar> {
    if !plan.bootstrap.is_empty() {
        return Vec::new();
    }
    let on_the_way_bytes = plan.writers * plan.window * parcel.batch.len();
    let hold = |name: String, load: Load, node: Used| {
        let budget_mb = load.budget_mb().round();
        Bar::hold(format!("memory: {name}"), Wish::AtMost(budget_mb), node.peak_mb.round(), "MB")
    };
    let entries_s = |written: &Written| written.mb_s() * 1e6 / parcel.batch.len() as f64;
    let mut bars = Vec::new();
    if let Some(node) = measured.written.node {
        let entries_s = entries_s(&measured.written);
        let load = Load { on_the_way_bytes, peers: 0, entries_s, release: Duration::ZERO };
        bars.push(hold("one site, writing".to_owned(), load, node));
    }
    if let Some(replicated) = &measured.replicated {
        let entries_s = entries_s(&replicated.written);
        let release =
            replicated.followers.iter().map(|follower| follower.behind + follower.merged_behind).max();
        let release = release.unwrap_or_default();
        let load = Load { on_the_way_bytes, peers: replicated.followers.len(), entries_s, release };
        if let Some(node) = replicated.written.node {
            bars.push(hold("one of three sites, written to".to_owned(), load, node));
        }
        let follows = Load { on_the_way_bytes: 0, ..load };
        bars.extend(
            replicated.followers.iter().map(|follower| hold(follower.name.clone(), follows, follower.used)),
        );
    }
    bars
}

fn mean((before, after): (f64, f64)) -> f64 {
    f64::midpoint(before, after)
}

fn limits_section(limits: Limits) -> Section {
    let mut table = Table::new(&["limit", "before MB/s", "after MB/s", "mean MB/s"]);
    let rows = [
        ("disk: one fdatasync per MiB, zero-filled file", limits.disk),
        ("loopback: one TCP connection into a checksumming sink", limits.loopback),
    ];
    for (name, limit) in rows {
        table.row(vec![name.into(), limit.0.into(), limit.1.into(), mean(limit).into()]);
    }
    let note = "The machine's own, in this run. MB are millions of bytes.".to_owned();
    Section { title: "Limits".to_owned(), note, table, plots: Vec::new() }
}

fn per_gb(cpu_s: f64, gb: f64) -> f64 {
    if gb > 0.0 { cpu_s / gb } else { f64::NAN }
}

/// What one core carries at this cost: MB/s and records/s.
fn per_core(cpu_s: f64, gb: f64, parcel: &Parcel) -> (f64, f64) {
    let mb_s = 1e3 / per_gb(cpu_s, gb);
    (mb_s, records_s(mb_s, parcel))
}

fn records_s(mb_s: f64, parcel: &Parcel) -> f64 {
    mb_s * 1e6 / parcel.batch.len() as f64 * parcel.records as f64
}

fn produce_section(title: &str, written: &Written, parcel: &Parcel, lower: f64) -> Section {
    let mut table = Table::new(&["figure", "value"]);
    let mut row = |name: &str, value: Cell| table.row(vec![name.into(), value]);
    let rate = written.mb_s();
    row("acknowledged MB/s", rate.into());
    row("records/s", records_s(rate, parcel).into());
    row("share of the lower limit", (rate / lower).into());
    if let Some(node) = &written.node {
        let Usage { cpu_s, written_bytes } = node.usage;
        row("site: CPU-s per GB", per_gb(cpu_s, written.gb()).into());
        let (mb_s, records_s) = per_core(cpu_s, written.gb(), parcel);
        row("site: MB/s per core used", mb_s.into());
        row("site: records/s per core used", records_s.into());
        row("site: bytes written per byte", (written_bytes as f64 / written.bytes as f64).into());
        row("site: most resident MB", node.peak_mb.into());
    }
    row("driver: CPU-s per GB", per_gb(written.driver.cpu_s, written.gb()).into());
    Section { title: title.to_owned(), note: String::new(), table, plots: Vec::new() }
}

fn acks_section(plan: &Throughput, written: &Written) -> Section {
    let mut table = Table::new(&QUANTILE_COLUMNS);
    table.row(quantile_cells(&written.acked.summary()));
    let depth = plan.writers * plan.window;
    let note = format!(
        "Time to an acknowledgement with {depth} batches on the way: a closed loop, so it is depth over rate."
    );
    Section { title: "Acknowledgements under that load".to_owned(), note, table, plots: Vec::new() }
}

fn read_section(read: &Read, parcel: &Parcel) -> Section {
    let mut table = Table::new(&["figure", "value"]);
    let gb = read.bytes as f64 / 1e9;
    table.row(vec!["read MB/s".into(), read.mb_s().into()]);
    table.row(vec!["records/s".into(), records_s(read.mb_s(), parcel).into()]);
    if let Some(node) = read.node {
        let (mb_s, records_s) = per_core(node.cpu_s, gb, parcel);
        table.row(vec!["site: CPU-s per GB".into(), per_gb(node.cpu_s, gb).into()]);
        table.row(vec!["site: MB/s per core used".into(), mb_s.into()]);
        table.row(vec!["site: records/s per core used".into(), records_s.into()]);
    }
    table.row(vec!["driver: CPU-s per GB".into(), per_gb(read.driver.cpu_s, gb).into()]);
    let note = format!("{gb:.2} GB of the merged log, one reader per partition, mostly from the page cache.");
    Section { title: "Fetch".to_owned(), note, table, plots: Vec::new() }
}

fn followers_section(replicated: &Replicated, parcel: &Parcel) -> Section {
    let columns = [
        "follower",
        "MB/s",
        "records/s",
        "records/s per core used",
        "behind ms",
        "merged behind ms",
        "CPU-s per GB",
        "bytes written per byte",
        "most resident MB",
    ];
    let mut table = Table::new(&columns);
    for follower in &replicated.followers {
        let took = follower.used.usage;
        // The account runs from before the first write to the last record: everything, warm-up included.
        let gb = replicated.bytes as f64 / 1e9;
        table.row(vec![
            follower.name.as_str().into(),
            follower.mb_s.into(),
            records_s(follower.mb_s, parcel).into(),
            per_core(took.cpu_s, gb, parcel).1.into(),
            (follower.behind.as_secs_f64() * 1e3).into(),
            (follower.merged_behind.as_secs_f64() * 1e3).into(),
            per_gb(took.cpu_s, gb).into(),
            (took.written_bytes as f64 / 1e9 / gb).into(),
            follower.used.peak_mb.into(),
        ]);
    }
    let note = "From the first write to the last record durable at the follower. Behind: how long after the last acknowledgement \
                that was; merged behind: how long after that its merged log showed all. No emulator in between; all on one machine.";
    Section { title: "Replicate".to_owned(), note: note.to_owned(), table, plots: Vec::new() }
}
