//! `bench join`: a site without data takes over what the others hold, and what that costs those who write there meanwhile.
//!
//! Three sites, every link with the same rate. The third loses its disk, the others fence it and go on, and so much is
//! written. Then it is started on an empty directory, while a light load goes on at the others, and the clock runs from the
//! start of its process until it holds all that was written before. Beside the load's latencies before and during the join
//! stands a control: the same load again, while threads burn as much CPU as the join took of this machine, and nothing else
//! happens. What is worse during the join than in the control is the join's doing, not the one machine's.

use std::time::{Duration, Instant};

use admin::client::{Address, status};
use anyhow::Context as _;
use clap::Args;
use client::Acks;
use launch::Network;
use tokio::sync::watch;
use tokio::task::JoinSet;
use wan::Matrix;

use crate::burn::Burn;
use crate::fill::Fill;
use crate::load::{Stream, drive_until};
use crate::machine::Facts;
use crate::options::{Own, Running};
use crate::pace::Rhythm;
use crate::quantiles::Latencies;
use crate::report::{Bar, QUANTILE_COLUMNS, Report, Section, Table, Wish, quantile_cells};
use crate::target::{self, Place};
use crate::usage::Usage;

const SITES: [&str; 3] = ["writes", "holds", "joins"];
const TOPIC: &str = "bench";
/// Where the light load goes.
const LOAD_TOPIC: &str = "load";
const FILL: Fill = Fill { topic: TOPIC, partitions: 4, record_bytes: 1_024, batch_bytes: 64 << 10 };
/// Of the line's rate, headers and all.
const SHARE_MIN: f64 = 0.8;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(1_800);
const POLL: Duration = Duration::from_millis(100);

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Join {
    /// How much the others hold, in MiB
    #[arg(long, default_value_t = 5_120)]
    held_mib: u64,
    /// Round trip between any two sites
    #[arg(long, default_value_t = 70.0)]
    rtt_ms: f64,
    /// Rate of every link, each way
    #[arg(long, default_value_t = 200.0)]
    rate_mbit: f64,
    /// Seconds of light load before the join, and of control behind it
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Records of 1 KiB each second at each of the two sites
    #[arg(long, default_value_t = 50.0)]
    rate: f64,
    #[command(flatten)]
    own: Own,
}

/// A time in which the two others were written to.
struct Phase {
    name: &'static str,
    during: Duration,
    acked: Latencies,
    refused: u64,
    /// Cores that all processes of this run used on average.
    cores: f64,
}

/// All that was measured.
struct Measured {
    bytes: u64,
    took: Duration,
    phases: [Phase; 3],
}

impl Join {
    pub(crate) async fn run(self) -> anyhow::Result<Report> {
        let facts = Facts::gather(&std::env::temp_dir());
        let matrix = Matrix::uniform(&SITES, self.rtt_ms);
        let (own, network) = (self.own.clone(), Network::Emulated { matrix, seed: 1, guests: Vec::new() });
        let mut running = tokio::task::spawn_blocking(move || own.start(&SITES, network)).await??;
        let places = target::sites(&running).await?[..2].to_vec();
        target::topic(&places, &target::new_topic(TOPIC, FILL.partitions, None)).await?;
        target::topic(&places, &target::new_topic(LOAD_TOPIC, 1, None)).await?;
        running = wiped(running).await?;
        let bytes = FILL.write(&places[0], self.held_mib << 20).await?;
        let ends = FILL.ends(&places[0], &format!("{}.{TOPIC}", SITES[0])).await?;
        FILL.reaches(&places[1], TOPIC, &ends, PATIENCE).await?;
        running.lay(&SITES, self.rtt_ms, self.rate_mbit)?;

        let seconds = Duration::from_secs(self.seconds);
        let before = self.phase("before", &running, &places, tokio::time::sleep(seconds)).await?;
        let wanted = held(&running, 0, SITES[0]).await?.context("it holds its own journal")?;
        let began = Instant::now();
        running = tokio::task::spawn_blocking(move || {
            running.cluster.start(SITES[2])?;
            anyhow::Ok(running)
        })
        .await??;
        let mut took = None;
        let join = async { took = Some(joined(&running, wanted, began).await) };
        let during = self.phase("during the join", &running, &places, join).await?;
        let took = took.context("the join has ended")??;
        running = wiped(running).await?;
        let burnt = (during.cores - before.cores).max(0.0);
        let burn = Burn::start(burnt)?;
        let control = self.phase("control", &running, &places, tokio::time::sleep(seconds)).await?;
        drop(burn);
        tokio::task::spawn_blocking(move || drop(running)).await?;
        Ok(self.report(facts, &Measured { bytes, took, phases: [before, during, control] }))
    }

    /// Writes to the two others for as long as this takes.
    async fn phase(
        &self,
        name: &'static str,
        running: &Running,
        places: &[Place],
        what: impl Future<Output = ()>,
    ) -> anyhow::Result<Phase> {
        let (began, before) = (Instant::now(), used(running));
        let mut loads = JoinSet::new();
        let (stop, over) = watch::channel(false);
        for (source, place) in places.iter().enumerate() {
            let stream = Stream {
                client: place.client.apart(),
                topic: LOAD_TOPIC.to_owned(),
                source: u16::try_from(source)?,
                acks: Acks::Leader,
                record_bytes: 1_024,
            };
            let rhythm = Rhythm::spread(source, places.len(), self.rate, Duration::ZERO, PATIENCE);
            let mut over = over.clone();
            let over = async move { drop(over.wait_for(|over| *over).await) };
            loads.spawn(drive_until(stream, rhythm, began, over));
        }
        what.await;
        stop.send_replace(true);
        let (acked, mut refused) = (Latencies::default(), 0);
        while let Some(driven) = loads.join_next().await {
            let driven = driven??;
            acked.absorb(&driven.acked);
            refused += driven.refused;
        }
        let during = began.elapsed();
        let cores = (used(running) - before) / during.as_secs_f64();
        Ok(Phase { name, during, acked, refused, cores })
    }

    fn report(&self, facts: Facts, measured: &Measured) -> Report {
        let Measured { bytes, took, phases } = measured;
        let mbit = *bytes as f64 * 8.0 / 1e6 / took.as_secs_f64();
        let share = mbit / self.rate_mbit;
        let mut figures = Table::new(&["figure", "value"]);
        figures.row(vec!["written before, MB".into(), (*bytes as f64 / 1e6).into()]);
        figures.row(vec!["held after s".into(), took.as_secs_f64().into()]);
        figures.row(vec!["Mbit/s".into(), mbit.into()]);
        figures.row(vec!["of the line".into(), share.into()]);
        let mut table =
            Table::new(&[&["phase", "s", "cores used"], &QUANTILE_COLUMNS[..], &["refused"]].concat());
        for phase in phases {
            let first = vec![phase.name.into(), phase.during.as_secs_f64().into(), phase.cores.into()];
            table.row([first, quantile_cells(&phase.acked.summary()), vec![phase.refused.into()]].concat());
        }
        let [before, during, control] = phases.each_ref().map(|phase| phase.acked.summary().p99_ms);
        let mut change = Table::new(&["ack p99", "ratio"]);
        change.row(vec!["during the join / before".into(), (during / before).into()]);
        change.row(vec!["control / before".into(), (control / before).into()]);
        change.row(vec!["during the join / control".into(), (during / control).into()]);
        let refused: u64 = phases.iter().map(|phase| phase.refused).sum();
        let sections = vec![
            Section { title: "The join".to_owned(), table: figures, ..Section::default() },
            Section {
                title: "What the others' producers waited for".to_owned(),
                note: "From due to the answer being here, at both other sites. Cores are those of all sites, the link emulator \
                       and the driver together; the control burns in idle threads what the join took more than before."
                    .to_owned(),
                table,
                ..Section::default()
            },
            Section { title: "Change".to_owned(), table: change, ..Section::default() },
        ];
        Report {
            what: "join".to_owned(),
            title: format!(
                "A site without data joins two that hold {} MiB, {} Mbit/s and {} ms round trip",
                self.held_mib, self.rate_mbit, self.rtt_ms
            ),
            facts,
            durability: "acks=1: synced (fdatasync) at the site that acknowledged".to_owned(),
            bars: vec![
                Bar::hold("share of the line", Wish::AtLeast(SHARE_MIN), share, ""),
                Bar::hold("refused writes", Wish::AtMost(0.0), refused as f64, ""),
            ],
            sections,
        }
    }
}

/// The third site stops and loses its disk.
async fn wiped(mut running: Running) -> anyhow::Result<Running> {
    let wiped = tokio::task::spawn_blocking(move || {
        running.cluster.wipe(SITES[2])?;
        anyhow::Ok(running)
    });
    wiped.await?
}

/// How much a site holds of another's journals, if it answers and knows of any: the next entry of the latest.
async fn held(running: &Running, at: usize, of: &str) -> anyhow::Result<Option<u64>> {
    let address = Address::Http(running.cluster.plan().http(at).to_string());
    let Ok(status) = status(&address).await else { return Ok(None) };
    Ok(status.journals.iter().rfind(|journal| journal.site == of).map(|journal| journal.held))
}

/// Waits until the third site holds so much of the first one's journal; says how long that took.
async fn joined(running: &Running, wanted: u64, began: Instant) -> anyhow::Result<Duration> {
    while held(running, 2, SITES[0]).await?.is_none_or(|held| held < wanted) {
        anyhow::ensure!(began.elapsed() < PATIENCE, "{} does not get on; see its log", SITES[2]);
        tokio::time::sleep(POLL).await;
    }
    Ok(began.elapsed())
}

/// CPU seconds of all sites and of this process, which emulates the links and drives the load.
fn used(running: &Running) -> f64 {
    let sites = SITES.iter().filter_map(|site| running.cluster.process_id(site));
    sites.map(|process| Usage::of(process).cpu_s).sum::<f64>() + Usage::own().cpu_s
}
