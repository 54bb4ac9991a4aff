//! `bench local-ack`: whether the distance to other sites shows in what a producer waits for. It should not.
//!
//! One cluster of three sites; the links between them are made long and short in turn while it runs, so that everything else
//! is the same and what else the machine does falls on both alike. Each turn is measured for itself; medians are compared.

use std::time::{Duration, Instant};

use clap::Args;
use client::Acks;
use launch::Network;
use tokio::task::JoinSet;
use wan::{Emulator, Link, Matrix};

use crate::load::{Stream, drive};
use crate::machine::Facts;
use crate::options::Own;
use crate::pace::Rhythm;
use crate::quantiles::{Latencies, Summary, median};
use crate::report::{
    Axis, Bar, Cell, Line, Plot, QUANTILE_COLUMNS, Report, Section, Table, Wish, quantile_cells,
};
use crate::target::{self, Place};

const SITES: [&str; 3] = ["a", "b", "c"];
const TOPIC: &str = "bench";
/// How much slower far sites may make a local acknowledgement.
const RATIO_MAX: f64 = 1.2;

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct LocalAck {
    /// Round trip of the far turns
    #[arg(long, default_value_t = 215.0)]
    far_ms: f64,
    /// Round trip of the near turns
    #[arg(long, default_value_t = 0.2)]
    near_ms: f64,
    /// Turns of each kind
    #[arg(long, default_value_t = 5)]
    turns: usize,
    /// Seconds that are counted in each turn
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Seconds between a change of the links and the first record that counts
    #[arg(long, default_value_t = 3)]
    settle_seconds: u64,
    /// Records each second at each site
    #[arg(long, default_value_t = 50.0)]
    rate: f64,
    /// Bytes of a record's value
    #[arg(long, default_value_t = 1_024)]
    record_bytes: usize,
    #[command(flatten)]
    own: Own,
}

/// One figure of a summary.
type Quantile = fn(&Summary) -> f64;

struct Turn {
    far: bool,
    acked: Latencies,
    refused: u64,
}

impl LocalAck {
    pub(crate) async fn run(self) -> anyhow::Result<Report> {
        let facts = Facts::gather(&std::env::temp_dir());
        let matrix = Matrix::uniform(&SITES, self.near_ms);
        let (own, network) = (self.own.clone(), Network::Emulated { matrix, seed: 1, guests: Vec::new() });
        let running = tokio::task::spawn_blocking(move || own.start(&SITES, network)).await??;
        let places = target::sites(&running).await?;
        target::topic(&places, &target::new_topic(TOPIC, 1, None)).await?;
        let mut turns = Vec::new();
        for turn in 0..2 * self.turns {
            let far = turn % 2 == 0;
            if let Some(emulator) = running.cluster.emulator() {
                set_all(emulator, if far { self.far_ms } else { self.near_ms })?;
            }
            turns.push(self.turn(&places, far).await?);
        }
        tokio::task::spawn_blocking(move || drop(running)).await?;
        Ok(self.report(facts, &turns))
    }

    async fn turn(&self, places: &[Place], far: bool) -> anyhow::Result<Turn> {
        let mut loads = JoinSet::new();
        for (source, place) in places.iter().enumerate() {
            let stream = Stream {
                client: place.client.clone(),
                topic: TOPIC.to_owned(),
                source: u16::try_from(source)?,
                acks: Acks::Leader,
                record_bytes: self.record_bytes,
            };
            let (settle, during) =
                (Duration::from_secs(self.settle_seconds), Duration::from_secs(self.seconds));
            loads.spawn(drive(
                stream,
                Rhythm::spread(source, places.len(), self.rate, settle, during),
                Instant::now(),
            ));
        }
        let mut turn = Turn { far, acked: Latencies::default(), refused: 0 };
        while let Some(driven) = loads.join_next().await {
            let driven = driven??;
            turn.acked.absorb(&driven.acked);
            turn.refused += driven.refused;
        }
        Ok(turn)
    }

    fn report(&self, facts: Facts, turns: &[Turn]) -> Report {
        let mut table =
            Table::new(&[&["turn", "round trip ms"], &QUANTILE_COLUMNS[..], &["refused"]].concat());
        for (number, turn) in turns.iter().enumerate() {
            let rtt_ms = if turn.far { self.far_ms } else { self.near_ms };
            let first = vec![Cell::Text((number + 1).to_string()), rtt_ms.into()];
            table.row([first, quantile_cells(&turn.acked.summary()), vec![turn.refused.into()]].concat());
        }
        let middle = |far: bool, of: Quantile| {
            let kind = turns.iter().filter(|turn| turn.far == far);
            median(&kind.map(|turn| of(&turn.acked.summary())).collect::<Vec<_>>())
        };
        let mut medians = Table::new(&["median of turns", "far ms", "near ms", "far / near"]);
        let quantiles: [(&str, Quantile); 3] = [
            ("p50", |summary| summary.p50_ms),
            ("p90", |summary| summary.p90_ms),
            ("p99", |summary| summary.p99_ms),
        ];
        for (name, of) in quantiles {
            let (far, near) = (middle(true, of), middle(false, of));
            medians.row(vec![name.into(), far.into(), near.into(), (far / near).into()]);
        }
        let p99 = |summary: &Summary| summary.p99_ms;
        let name = format!("local ack p99, {} ms round trip / {} ms", self.far_ms, self.near_ms);
        let bar = Bar::hold(name, Wish::AtMost(RATIO_MAX), middle(true, p99) / middle(false, p99), "");
        let sections = vec![
            Section { title: "Medians".to_owned(), table: medians, ..Section::default() },
            Section {
                title: "Turns".to_owned(),
                note: "All three sites write; from due to the answer being here.".to_owned(),
                table,
                plots: vec![self.picture(turns)],
            },
        ];
        let (rate, bytes) = (self.rate, self.record_bytes);
        Report {
            what: "local-ack".to_owned(),
            title: format!(
                "Local acknowledgement, three sites, {rate} records of {bytes} bytes each second at each"
            ),
            facts,
            durability: "acks=1: synced (fdatasync) at the site that acknowledged".to_owned(),
            bars: vec![bar],
            sections,
        }
    }

    fn picture(&self, turns: &[Turn]) -> Plot {
        let merged = |far: bool| {
            let all = Latencies::default();
            turns.iter().filter(|turn| turn.far == far).for_each(|turn| all.absorb(&turn.acked));
            all.curve()
        };
        let line =
            |far: bool, rtt_ms: f64| Line { name: format!("{rtt_ms} ms round trip"), points: merged(far) };
        let lines = vec![line(true, self.far_ms), line(false, self.near_ms)];
        Plot::Lines { title: "All turns".to_owned(), x: Axis::nines(), y: Axis::of("ms"), lines }
    }
}

fn set_all(emulator: &Emulator, rtt_ms: f64) -> anyhow::Result<()> {
    for from in SITES {
        for to in SITES.iter().filter(|to| **to != from) {
            emulator.set(from, to, Link::delayed(rtt_ms / 2.0))?;
        }
    }
    Ok(())
}
