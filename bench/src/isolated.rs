//! `bench isolated`: whether being cut off from all other sites shows in what a producer waits for. It should not.
//!
//! One cluster of three sites at a real cloud's distances; one of them is cut off and healed in turn while all three are
//! written to. The isolated site's turns are compared with its own turns before, so that everything else is the same.

use std::time::{Duration, Instant};

use clap::Args;
use client::Acks;
use launch::{Cluster, Network};
use tokio::task::JoinSet;
use wan::Matrix;

use crate::load::{Stream, drive};
use crate::machine::Facts;
use crate::options::Own;
use crate::pace::Rhythm;
use crate::quantiles::{Latencies, Summary, median};
use crate::report::{Bar, QUANTILE_COLUMNS, Report, Section, Table, Wish, quantile_cells};
use crate::target::{self, Place};

/// The last one is cut off.
const SITES: [&str; 3] = ["eu-west", "us-east", "ap-southeast"];
const TOPIC: &str = "bench";
/// How much slower a cut may make a local acknowledgement.
const RATIO_MAX: f64 = 1.2;

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Isolated {
    /// Turns of each kind
    #[arg(long, default_value_t = 5)]
    turns: usize,
    /// Seconds that are counted in each turn
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Seconds between a cut or a heal and the first record that counts: the others notice, or what was missed is sent
    #[arg(long, default_value_t = 5)]
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
    isolated: bool,
    acked: Latencies,
    refused: u64,
    /// What the first one was told that was refused.
    refusal: Option<String>,
}

impl Isolated {
    pub(crate) async fn run(self) -> anyhow::Result<Report> {
        let facts = Facts::gather(&std::env::temp_dir());
        let matrix = Matrix::parse(include_str!("../../datacenters/rtt.toml"))?;
        let (own, network) = (self.own.clone(), Network::Emulated { matrix, seed: 1, guests: Vec::new() });
        let running = tokio::task::spawn_blocking(move || own.start(&SITES, network)).await??;
        let places = target::sites(&running).await?;
        target::topic(&places, &target::new_topic(TOPIC, 1, None)).await?;
        let mut turns = Vec::new();
        for turn in 0..2 * self.turns {
            let isolated = turn % 2 == 1;
            cut(&running.cluster, isolated)?;
            turns.push(self.turn(&places, isolated).await?);
        }
        cut(&running.cluster, false)?;
        tokio::task::spawn_blocking(move || drop(running)).await?;
        Ok(self.report(facts, &turns))
    }

    async fn turn(&self, places: &[Place], isolated: bool) -> anyhow::Result<Turn> {
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
            let rhythm = Rhythm::spread(source, places.len(), self.rate, settle, during);
            loads.spawn(async move { (source, drive(stream, rhythm, Instant::now()).await) });
        }
        let mut turn = Turn { isolated, acked: Latencies::default(), refused: 0, refusal: None };
        while let Some(load) = loads.join_next().await {
            let (source, driven) = load?;
            let driven = driven?;
            if source + 1 == SITES.len() {
                turn.acked.absorb(&driven.acked);
                turn.refused += driven.refused;
                turn.refusal = turn.refusal.or(driven.first_refusal);
            }
        }
        Ok(turn)
    }

    fn report(&self, facts: Facts, turns: &[Turn]) -> Report {
        let mut table =
            Table::new(&[&["turn", "links"], &QUANTILE_COLUMNS[..], &["refused", "first refusal"]].concat());
        for (number, turn) in turns.iter().enumerate() {
            let links = if turn.isolated { "all cut" } else { "whole" };
            let first = vec![(number + 1).to_string().as_str().into(), links.into()];
            let refused = vec![turn.refused.into(), turn.refusal.as_deref().unwrap_or("-").into()];
            table.row([first, quantile_cells(&turn.acked.summary()), refused].concat());
        }
        let middle = |isolated: bool, of: Quantile| {
            let kind = turns.iter().filter(|turn| turn.isolated == isolated);
            median(&kind.map(|turn| of(&turn.acked.summary())).collect::<Vec<_>>())
        };
        let mut medians = Table::new(&["median of turns", "isolated ms", "before ms", "isolated / before"]);
        let quantiles: [(&str, Quantile); 3] =
            [("p50", |of| of.p50_ms), ("p90", |of| of.p90_ms), ("p99", |of| of.p99_ms)];
        for (name, of) in quantiles {
            let (isolated, before) = (middle(true, of), middle(false, of));
            medians.row(vec![name.into(), isolated.into(), before.into(), (isolated / before).into()]);
        }
        let ratio = middle(true, |of| of.p99_ms) / middle(false, |of| of.p99_ms);
        let bar = Bar::hold("local ack p99, cut off / before", Wish::AtMost(RATIO_MAX), ratio, "");
        let refused: u64 = turns.iter().map(|turn| turn.refused).sum();
        let none = Bar::hold("refused writes", Wish::AtMost(0.0), refused as f64, "");
        let sections = vec![
            Section { title: "Medians".to_owned(), table: medians, ..Section::default() },
            Section {
                title: "Turns".to_owned(),
                note: "All three sites write; shown is the one that is cut off, from due to the answer being here."
                    .to_owned(),
                table,
                ..Section::default()
            },
        ];
        let (rate, bytes) = (self.rate, self.record_bytes);
        Report {
            what: "isolated".to_owned(),
            title: format!(
                "A site cut off from all others, {rate} records of {bytes} bytes each second at each site"
            ),
            facts,
            durability: "acks=1: synced (fdatasync) at the site that acknowledged".to_owned(),
            bars: vec![bar, none],
            sections,
        }
    }
}

fn cut(cluster: &Cluster, cut: bool) -> anyhow::Result<()> {
    let isolated = SITES[SITES.len() - 1];
    match (cluster.emulator(), cut) {
        (Some(emulator), true) => Ok(emulator.cut_site(isolated)?),
        (Some(emulator), false) => Ok(emulator.heal_site(isolated)?),
        (None, _) => Ok(()),
    }
}
