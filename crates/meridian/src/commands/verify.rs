//! `verify`: do the sites hold the same logs?
//!
//! Each site is asked for a digest of every merged log. Where one site has more than another, both are asked again about
//! what both have: being behind is not a difference. Where digests still differ, the place is found by halving.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use admin::client::{self, Address};
use admin::{DigestQuery, LogDigest};
use clap::Args;
use serde::Serialize;
use serde_json::json;

use crate::output::{Output, count};
use crate::progress::Progress;
use crate::table::{Lean, Table};

/// Exit code for logs that differ.
const DIFFERENT: u8 = 3;

/// Compare the logs of two or more sites.
///
/// Logs are compared up to what all the named sites have. Exit code 3 means that some differ.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// A site's admin API: its data directory, the admin.sock in it, or http://HOST:PORT of its listen.http; two or more
    #[arg(long = "admin", value_name = "PATH|URL", num_args = 1.., required = true)]
    sites: Vec<String>,
    /// Compare this topic only
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    #[command(flatten)]
    output: Output,
}

/// A merged log: topic and partition.
type Log = (String, u32);

/// How one log came out.
#[derive(Debug, Serialize)]
struct Verdict {
    topic: String,
    partition: u32,
    /// Compared below this offset.
    compared: u64,
    /// What each site has.
    ends: BTreeMap<String, u64>,
    identical: bool,
    /// The first offset at which they differ, as far as batches tell.
    differs_at: Option<u64>,
}

/// A site and what it said.
struct Witness {
    name: String,
    address: Address,
    logs: BTreeMap<Log, LogDigest>,
}

impl Verify {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        if self.sites.len() < 2 {
            anyhow::bail!("name at least two sites, such as --admin data/eu-west data/us-east");
        }
        let mut witnesses = Vec::new();
        for site in &self.sites {
            witnesses.push(witness(Address::parse(site), self.topic.clone()).await?);
        }
        let logs: BTreeSet<Log> = witnesses.iter().flat_map(|witness| witness.logs.keys().cloned()).collect();
        let mut verdicts = Vec::new();
        let progress = Progress::of_work(logs.len() as u64, "logs compared");
        for log in logs {
            verdicts.push(judge(&witnesses, log).await?);
            progress.add(1);
        }
        drop(progress);
        let identical = verdicts.iter().all(|verdict| verdict.identical);
        self.output.show(&json!({ "identical": identical, "logs": verdicts }), || text(&verdicts))?;
        Ok(if identical { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
    }
}

async fn witness(address: Address, topic: Option<String>) -> anyhow::Result<Witness> {
    let name = client::status(&address).await?.site;
    let query = DigestQuery { topic, ..DigestQuery::default() };
    let said = client::digests(&address, &query).await?;
    let logs = said.into_iter().map(|digest| ((digest.topic.clone(), digest.partition), digest)).collect();
    Ok(Witness { name, address, logs })
}

async fn judge(witnesses: &[Witness], log: Log) -> anyhow::Result<Verdict> {
    let end_of = |witness: &Witness| witness.logs.get(&log).map_or(0, |digest| digest.end);
    let ends: BTreeMap<String, u64> = witnesses.iter().map(|w| (w.name.clone(), end_of(w))).collect();
    let compared = ends.values().copied().min().unwrap_or(0);
    let identical = compared == 0 || agree(witnesses, &log, compared).await?;
    let compacted_alike = compacted_alike(witnesses, &log);
    if identical && !compacted_alike {
        let (topic, partition) = log;
        let differs_at = None;
        return Ok(Verdict { topic, partition, compared, ends, identical: false, differs_at });
    }
    let differs_at = if identical { None } else { Some(first_difference(witnesses, &log, compared).await?) };
    let (topic, partition) = log;
    Ok(Verdict { topic, partition, compared, ends, identical, differs_at })
}

/// Whether sites that have compacted the log as often have made the same of it.
fn compacted_alike(witnesses: &[Witness], log: &Log) -> bool {
    let mut by_generation = BTreeMap::new();
    let known = witnesses.iter().filter_map(|witness| witness.logs.get(log));
    known
        .into_iter()
        .all(|known| *by_generation.entry(known.generation).or_insert(&known.compacted) == &known.compacted)
}

/// Whether all say the same of what lies below `end`.
async fn agree(witnesses: &[Witness], log: &Log, end: u64) -> anyhow::Result<bool> {
    let mut first: Option<String> = None;
    for witness in witnesses {
        let digest = match witness.logs.get(log) {
            Some(known) if known.end == end => known.digest.clone(),
            _ => ask(witness, log, end).await?,
        };
        if first.get_or_insert_with(|| digest.clone()) != &digest {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn ask(witness: &Witness, (topic, partition): &Log, end: u64) -> anyhow::Result<String> {
    let query = DigestQuery { topic: Some(topic.clone()), partition: Some(*partition), end: Some(end) };
    let said = client::digests(&witness.address, &query).await?.pop();
    said.map(|said| said.digest).ok_or_else(|| {
        anyhow::anyhow!(
            "{} says nothing of {topic}/{partition} any more; was the topic deleted meanwhile?",
            witness.name
        )
    })
}

/// They agree below this offset, and no longer below the next.
async fn first_difference(witnesses: &[Witness], log: &Log, compared: u64) -> anyhow::Result<u64> {
    let (mut alike, mut different) = (0, compared);
    while different - alike > 1 {
        let middle = alike + (different - alike) / 2;
        if agree(witnesses, log, middle).await? {
            alike = middle;
        } else {
            different = middle;
        }
    }
    Ok(different - 1)
}

fn text(verdicts: &[Verdict]) -> String {
    let head = [
        ("TOPIC", Lean::Left),
        ("PARTITION", Lean::Right),
        ("COMPARED", Lean::Right),
        ("VERDICT", Lean::Left),
        ("ENDS", Lean::Left),
    ];
    let mut table = Table::new(&head);
    for verdict in verdicts {
        let said = match verdict.differs_at {
            None if verdict.identical => "identical".to_owned(),
            None => "DIFFERENT after compaction".to_owned(),
            Some(offset) => format!("DIFFERENT, first in the batch with offset {offset}"),
        };
        let ends: Vec<String> = verdict.ends.iter().map(|(site, end)| format!("{site} {end}")).collect();
        let numbers = [verdict.partition.to_string(), verdict.compared.to_string()];
        table.row([verdict.topic.clone()].into_iter().chain(numbers).chain([said, ends.join(", ")]));
    }
    let records: u64 = verdicts.iter().map(|verdict| verdict.compared).sum();
    let different = verdicts.iter().filter(|verdict| !verdict.identical).count();
    let sum = match different {
        0 => {
            format!(
                "identical: {}, {} compared",
                count(verdicts.len() as u64, "log"),
                count(records, "offset")
            )
        }
        n => format!("{n} of {} logs DIFFER", verdicts.len()),
    };
    format!("{table}\n{sum}\n")
}
