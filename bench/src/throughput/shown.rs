//! The figures of `bench throughput` as a report.

use super::read::Read;
use super::replicate::Replicated;
use super::{Limits, Measured, Parcel, Throughput, Written};
use crate::machine::Facts;
use crate::report::{Bar, Cell, QUANTILE_COLUMNS, Report, Section, Table, Wish, quantile_cells};
use crate::usage::Usage;

/// The share of the lower limit that a site should reach.
const RATIO_MIN: f64 = 0.25;

pub(super) fn report(plan: &Throughput, facts: Facts, parcel: &Parcel, measured: &Measured) -> Report {
    let Measured { limits, written, read, replicated } = measured;
    let lower = mean(limits.disk).min(mean(limits.loopback));
    let name = "produce at one site / the lower of disk and loopback";
    let bars = vec![Bar::hold(name, Wish::AtLeast(RATIO_MIN), written.mb_s() / lower, "")];
    let mut sections = vec![
        limits_section(*limits),
        produce_section("Produce at one site", written, parcel, lower),
        acks_section(plan, written),
        read_section(read, parcel),
    ];
    if let Some(replicated) = replicated {
        sections.push(produce_section("Produce at one of three sites", &replicated.written, parcel, lower));
        sections.push(followers_section(replicated));
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

fn produce_section(title: &str, written: &Written, parcel: &Parcel, lower: f64) -> Section {
    let mut table = Table::new(&["figure", "value"]);
    let mut row = |name: &str, value: Cell| table.row(vec![name.into(), value]);
    let rate = written.mb_s();
    let records_s = rate * 1e6 / parcel.batch.len() as f64 * parcel.records as f64;
    row("acknowledged MB/s", rate.into());
    row("records/s", records_s.into());
    row("share of the lower limit", (rate / lower).into());
    if let Some(node) = &written.node {
        let Usage { cpu_s, written_bytes } = node.usage;
        row("site: CPU-s per GB", per_gb(cpu_s, written.gb()).into());
        row("site: records/s per core used", (records_s * written.took.as_secs_f64() / cpu_s).into());
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
    let records_s = read.mb_s() * 1e6 / parcel.batch.len() as f64 * parcel.records as f64;
    table.row(vec!["read MB/s".into(), read.mb_s().into()]);
    table.row(vec!["records/s".into(), records_s.into()]);
    if let Some(node) = read.node {
        table.row(vec!["site: CPU-s per GB".into(), per_gb(node.cpu_s, gb).into()]);
    }
    table.row(vec!["driver: CPU-s per GB".into(), per_gb(read.driver.cpu_s, gb).into()]);
    let note = format!("{gb:.2} GB of the merged log, one reader per partition, mostly from the page cache.");
    Section { title: "Fetch".to_owned(), note, table, plots: Vec::new() }
}

fn followers_section(replicated: &Replicated) -> Section {
    let columns = [
        "follower",
        "MB/s",
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
