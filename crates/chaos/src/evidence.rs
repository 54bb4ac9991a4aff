//! What the sites say of their merged logs: where every batch stands and why, and the turns of the journals; and which
//! clocks the run itself had set wrong, and when.
//!
//! The turns come from each site's status and must be the same everywhere. The places come from one site's files, through
//! `meridian dump index`, and who sent each batch from reading its logs: by then all sites have the same digests. Topics of a run keep append times, so that a batch tells
//! the time of its own stamp.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use admin::{DigestQuery, LogDigest, SiteStatus, TurnKind};
use anyhow::Context as _;
use client::{Client, FetchOptions};
use history::{Evidence, Placing, Turn};
use serde::Deserialize;

use crate::ending::at_home;
use crate::scene::Scene;

/// Where a run keeps it, beside the diaries.
pub(crate) const FILE: &str = "evidence.json";

/// A line of `meridian dump index --json`.
#[derive(Debug, Deserialize)]
struct Line {
    offset: u64,
    records: u32,
    journal: String,
    stamp: u64,
    sorted_ms: u64,
    time_ms: u64,
}

/// Asks the sites, and writes down what they say. `bound_ms` is how far their clocks may have been apart.
pub(crate) fn collect(scene: &mut Scene, topics: &[String], bound_ms: u64) -> anyhow::Result<()> {
    let statuses: Vec<SiteStatus> =
        scene.sites().iter().map(|site| scene.status(site)).collect::<Result<_, _>>()?;
    for other in statuses.iter().filter(|other| other.turns != statuses[0].turns) {
        scene.accuse(format!("{} tells other turns of journals than {}", other.site, statuses[0].site));
    }
    let first = &statuses[0];
    let names: BTreeMap<String, String> =
        statuses.iter().map(|status| (status.id.to_string(), status.site.clone())).collect();
    let address = scene.admin(&first.site)?;
    let digests = scene.runtime.block_on(admin::client::digests(&address, &DigestQuery::default()))?;
    let client = scene.runtime.block_on(at_home(scene, &first.site, &topics[0]))?;
    let mut placings = Vec::new();
    // A log that holds nothing has no file.
    for log in digests.iter().filter(|log| topics.contains(&log.topic) && log.end > 0) {
        let mut of_log = of_log(scene, &first.site, log, &names)?;
        let senders = scene.runtime.block_on(senders(&client, log))?;
        of_log.iter_mut().for_each(|placing| placing.sent_as = senders.get(&placing.offset).copied());
        placings.extend(of_log);
    }
    let turns = first.turns.iter().map(turn).collect();
    let evidence = Evidence { bound_ms, placings, turns, shifts: scene.shifts.clone() };
    Ok(std::fs::write(scene.folder.join(FILE), serde_json::to_string(&evidence)?)?)
}

/// What was written down, if it was.
pub(crate) fn read(folder: &Path) -> anyhow::Result<Option<Evidence>> {
    let file = folder.join(FILE);
    if !file.exists() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&file)?;
    Ok(Some(serde_json::from_str(&text).with_context(|| file.display().to_string())?))
}

fn turn(turn: &admin::Turn) -> Turn {
    let what = match turn.what {
        TurnKind::Parted => history::TurnKind::Parted,
        TurnKind::Opened => history::TurnKind::Opened,
        TurnKind::Sealed { cut } => history::TurnKind::Sealed { cut },
        TurnKind::Adopted { from, upto } => history::TurnKind::Adopted { from, upto },
    };
    Turn { journal: turn.journal.clone(), stamp: turn.stamp, what }
}

fn of_log(
    scene: &Scene,
    site: &str,
    log: &LogDigest,
    names: &BTreeMap<String, String>,
) -> anyhow::Result<Vec<Placing>> {
    let plan = scene.cluster.plan();
    let folder = plan.data(site).join("logs").join(&log.topic_id).join(log.partition.to_string());
    let mut dump = Command::new(&plan.meridian);
    let output = dump.args(["dump", "index", "--json"]).arg(folder.join("merged.index")).output()?;
    anyhow::ensure!(output.status.success(), "dump: {}", String::from_utf8_lossy(&output.stderr));
    let mut placings = Vec::new();
    for text in String::from_utf8(output.stdout)?.lines() {
        let line: Line = serde_json::from_str(text).with_context(|| text.to_owned())?;
        let Line { offset, records, journal, stamp, sorted_ms, time_ms } = line;
        let (number, life) = journal.split_once('.').context("a journal is a site and its life")?;
        let name = names.get(number).with_context(|| format!("no site has the number {number}"))?;
        let (place, journal) = ((log.topic.clone(), log.partition), format!("{name}.{life}"));
        let sent_as = None;
        placings.push(Placing { place, offset, records, journal, time_ms, stamp, sorted_ms, sent_as });
    }
    let end = placings.last().map_or(0, |last| last.offset + u64::from(last.records));
    anyhow::ensure!(end == log.end, "{site} tells of {end} records of {}, not {}", log.topic, log.end);
    Ok(placings)
}

/// As whom each batch of a log was sent, by its first offset.
async fn senders(client: &Client, log: &LogDigest) -> anyhow::Result<BTreeMap<u64, (i64, i16)>> {
    let (partition, end) = (i32::try_from(log.partition)?, i64::try_from(log.end)?);
    let (mut at, mut senders) = (i64::try_from(log.start)?, BTreeMap::new());
    while at < end {
        let answer = client.fetch(&log.topic, partition, at, &FetchOptions::default()).await?;
        let (mut rest, before) = (&answer.batches[..], at);
        while let Ok(header) = batch::parse_kept(rest) {
            let info = header.info();
            if let (Ok(offset), 0..) = (u64::try_from(info.base_offset), info.producer_id) {
                senders.insert(offset, (info.producer_id, info.producer_epoch));
            }
            at = info.base_offset + i64::from(info.offsets());
            rest = rest.get(info.size as usize..).unwrap_or_default();
        }
        anyhow::ensure!(at > before, "nothing at {at} of {}/{partition}, which ends at {end}", log.topic);
    }
    Ok(senders)
}
