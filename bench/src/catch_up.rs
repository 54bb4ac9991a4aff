//! `bench catch-up`: how long a site needs after a heal until it holds what was written meanwhile, against how much that is.
//!
//! Three sites, equally far from each other, every link with the same rate. One is cut off, so much is written at another, the
//! cut is healed, and the clock runs until the healed site's origin log shows the last record of it, noticing the heal and
//! coming back into touch included. Small backlogs are therefore dominated by that; the line's share is told for all, and
//! beside it what no site could be quicker than: half a round trip until the one that has the records can hear that the path is
//! back, half for the last of them to arrive, and their bytes at the line's rate. Before the first cut the links have carried
//! as much as shows them their paths, and before each heal the third site has followed: only the one that returns has
//! anything to take.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use launch::Network;
use wan::Matrix;

use crate::fill::Fill;
use crate::machine::Facts;
use crate::options::{Own, Running};
use crate::report::{Bar, Report, Section, Table, Wish};
use crate::target::{self, Place};

const SITES: [&str; 3] = ["writes", "follows", "returns"];
const TOPIC: &str = "bench";
/// Of the line's rate, headers and all.
const SHARE_MIN: f64 = 0.8;
const FILL: Fill = Fill { topic: TOPIC, partitions: 1, record_bytes: 1_024, batch_bytes: 512 << 10 };
const PATIENCE: Duration = Duration::from_secs(600);
/// What goes over the links before the first cut.
const WARM_BYTES: u64 = 100_000_000;

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct CatchUp {
    /// Backlogs, in MB
    #[arg(long, value_delimiter = ',', default_values_t = [10, 100, 1_000])]
    backlog_mb: Vec<u64>,
    /// Round trip between any two sites
    #[arg(long, default_value_t = 150.0)]
    rtt_ms: f64,
    /// Rate of every link, each way
    #[arg(long, default_value_t = 200.0)]
    rate_mbit: f64,
    #[command(flatten)]
    own: Own,
}

/// One backlog.
struct CaughtUp {
    bytes: u64,
    cut: Duration,
    held: Duration,
    merged: Duration,
}

impl CatchUp {
    pub(crate) async fn run(self) -> anyhow::Result<Report> {
        let facts = Facts::gather(&std::env::temp_dir());
        let matrix = Matrix::uniform(&SITES, self.rtt_ms);
        let (own, network) = (self.own.clone(), Network::Emulated { matrix, seed: 1, guests: Vec::new() });
        let running = tokio::task::spawn_blocking(move || own.start(&SITES, network)).await??;
        running.lay(&SITES, self.rtt_ms, self.rate_mbit)?;
        let places = target::sites(&running).await?;
        target::topic(&places, &target::new_topic(TOPIC, 1, None)).await?;
        warm(&places).await?;
        let mut rows = Vec::new();
        for megabytes in &self.backlog_mb {
            rows.push(one(&running, &places, megabytes * 1_000_000).await?);
        }
        tokio::task::spawn_blocking(move || drop(running)).await?;
        Ok(self.report(facts, &rows))
    }

    fn report(&self, facts: Facts, rows: &[CaughtUp]) -> Report {
        let mut table = Table::new(&[
            "backlog MB",
            "cut for s",
            "held after s",
            "readable in merged order after s",
            "no sooner than s",
            "Mbit/s",
            "of the line",
        ]);
        let mut bars = Vec::new();
        for row in rows {
            let mbit = row.bytes as f64 * 8.0 / 1e6 / row.held.as_secs_f64();
            let share = mbit / self.rate_mbit;
            let megabytes = row.bytes as f64 / 1e6;
            let soonest = self.rtt_ms / 1e3 + row.bytes as f64 * 8.0 / 1e6 / self.rate_mbit;
            let seconds = [row.cut.as_secs_f64(), row.held.as_secs_f64(), row.merged.as_secs_f64(), soonest];
            let mut cells = vec![megabytes.into()];
            cells.extend(seconds.map(Into::into));
            cells.extend([mbit.into(), share.into()]);
            table.row(cells);
            bars.push(Bar::hold(
                format!("share of the line, {megabytes:.0} MB"),
                Wish::AtLeast(SHARE_MIN),
                share,
                "",
            ));
        }
        let (rate, rtt) = (self.rate_mbit, self.rtt_ms);
        let note = "From the heal until the returning site's origin log shows the last record. No site could be sooner than \
                    one round trip and the bytes at the line's rate."
            .to_owned();
        Report {
            what: "catch-up".to_owned(),
            title: format!("A site returns after a cut, {rate} Mbit/s and {rtt} ms round trip"),
            facts,
            durability: "acks=1: synced (fdatasync) at the site that acknowledged".to_owned(),
            bars,
            sections: vec![Section { title: "Backlogs".to_owned(), note, table, ..Section::default() }],
        }
    }
}

/// The log of what the first site writes.
fn origin() -> String {
    format!("{}.{TOPIC}", SITES[0])
}

/// Has the links carry something, so that they know their paths, as those of sites that have been running for long do.
async fn warm(places: &[Place]) -> anyhow::Result<()> {
    FILL.write(&places[0], WARM_BYTES).await?;
    let ends = FILL.ends(&places[0], &origin()).await?;
    for place in &places[1..] {
        FILL.reaches(place, TOPIC, &ends, PATIENCE).await?;
    }
    Ok(())
}

async fn one(running: &Running, places: &[Place], bytes: u64) -> anyhow::Result<CaughtUp> {
    let emulator = running.cluster.emulator().context("the sites are joined by the emulator")?;
    let (writes, follows, returns) = (&places[0], &places[1], &places[2]);
    let origin = origin();
    returns.client.partitions(&origin).await?;
    emulator.cut_site(SITES[2])?;
    let began = Instant::now();
    let written = FILL.write(writes, bytes).await?;
    let ends = FILL.ends(writes, &origin).await?;
    FILL.reaches(follows, &origin, &ends, PATIENCE).await?;
    emulator.heal_site(SITES[2])?;
    let (healed, cut) = (Instant::now(), began.elapsed());
    FILL.reaches(returns, &origin, &ends, PATIENCE).await?;
    let held = healed.elapsed();
    // Only this site writes, so every record of its origin log has a place in the merged one.
    FILL.reaches(returns, TOPIC, &ends, PATIENCE).await?;
    Ok(CaughtUp { bytes: written, cut, held, merged: healed.elapsed() })
}
