//! The end of a run: everything is healed, the sites must become alike, groups must come to the end, and then every log is
//! read once more from its start at every site.

use std::io::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use admin::{DigestQuery, LogDigest, SiteStatus};
use anyhow::Context as _;
use client::{Client, FetchOptions, Isolation, Options, Position, read_records};
use history::{Event, Kind};

use crate::interrupt::{self, Interrupted};
use crate::scene::Scene;

/// How long sites may take to be alike after the last fault, and groups to read to the end.
const PATIENCE: Duration = Duration::from_secs(150);
/// How long clients may be sent elsewhere after that.
const HOME_PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(500);
/// Process numbers of the final readers, beyond those of all clients.
const FIRST_PROCESS: u32 = 4_000_000;

/// What is read in the end.
#[derive(Debug, Clone)]
pub(crate) struct Logs {
    pub(crate) topics: Vec<String>,
    pub(crate) partitions: u32,
}

/// Waits until all sites are alive, hold the same and have released it; says how long it took.
pub(crate) fn converge(scene: &mut Scene) -> Result<Option<Duration>, Interrupted> {
    let began = Instant::now();
    let mut left = "nothing was asked yet".to_owned();
    while began.elapsed() < PATIENCE {
        interrupt::sleep(POLL)?;
        match differences(scene) {
            Ok(None) => return Ok(Some(began.elapsed())),
            Ok(Some(why)) => left = why,
            Err(error) => left = format!("{error:#}"),
        }
    }
    scene.accuse(format!("the sites are not alike after {} s: {left}", PATIENCE.as_secs()));
    Ok(None)
}

/// Why the sites are not alike; `None` if they are.
fn differences(scene: &Scene) -> anyhow::Result<Option<String>> {
    let sites = scene.sites();
    let mut first: Option<Vec<(String, u32, u64, String)>> = None;
    for site in &sites {
        let status = scene.status(site)?;
        if let Some(why) = unsettled(&status, sites.len()) {
            return Ok(Some(format!("{site}: {why}")));
        }
        let digests =
            scene.runtime.block_on(admin::client::digests(&scene.admin(site)?, &DigestQuery::default()))?;
        let digests = sorted(digests);
        if first.get_or_insert_with(|| digests.clone()) != &digests {
            return Ok(Some(format!("{site} has other digests than {}", sites[0])));
        }
    }
    Ok(None)
}

fn sorted(digests: Vec<LogDigest>) -> Vec<(String, u32, u64, String)> {
    let mut digests: Vec<_> = digests.into_iter().map(|d| (d.topic, d.partition, d.end, d.digest)).collect();
    digests.sort();
    digests
}

fn unsettled(status: &SiteStatus, sites: usize) -> Option<String> {
    if let Some(halted) = &status.halt.halted {
        return Some(format!("halted: {halted}"));
    }
    if let Some(why) = &status.halt.not_writing {
        return Some(format!("takes no writes: {why}"));
    }
    if status.alive.len() < sites {
        return Some(format!("sees only {:?}", status.alive));
    }
    if let Some(blocker) = &status.blocker {
        return Some(format!("waits for {}: {}", blocker.journal, blocker.why));
    }
    if let Some(journal) = status.journals.iter().find(|journal| journal.held < journal.known) {
        return Some(format!("lacks {} entries of {}", journal.known - journal.held, journal.journal));
    }
    (status.unreleased > 0).then(|| format!("has {} entries unreleased", status.unreleased))
}

/// Waits until these groups have committed everything that is readable.
pub(crate) fn drain_groups(scene: &mut Scene, groups: &[String], logs: &Logs) -> Result<(), Interrupted> {
    let began = Instant::now();
    let mut left = String::new();
    while began.elapsed() < PATIENCE {
        match behind(scene, groups, logs) {
            Ok(None) => return Ok(()),
            Ok(Some(why)) => left = why,
            Err(error) => left = format!("{error:#}"),
        }
        interrupt::sleep(POLL)?;
    }
    scene.accuse(format!("groups do not read to the end within {} s: {left}", PATIENCE.as_secs()));
    Ok(())
}

fn behind(scene: &Scene, groups: &[String], logs: &Logs) -> anyhow::Result<Option<String>> {
    let site = scene.sites().first().context("a cluster has sites")?.clone();
    let address = scene.admin(&site)?;
    let known = scene.runtime.block_on(admin::client::groups(&address))?;
    let ends = scene.runtime.block_on(admin::client::digests(&address, &DigestQuery::default()))?;
    for group in groups {
        let positions =
            known.iter().find(|known| known.group == *group).map(|group| group.positions.as_slice());
        for log in ends.iter().filter(|log| logs.topics.contains(&log.topic) && log.end > 0) {
            let place = |p: &&admin::GroupPosition| p.topic == log.topic && p.partition == log.partition;
            let at = positions.unwrap_or_default().iter().find(place).map_or(0, |position| position.offset);
            if at < log.end {
                let (topic, partition, end) = (&log.topic, log.partition, log.end);
                return Ok(Some(format!("{group} is at {at} of {end} in {topic}/{partition}")));
            }
        }
    }
    Ok(None)
}

/// Reads every merged and origin log at every site, and writes it down.
pub(crate) fn read_all(scene: &Scene, logs: &Logs, diary: &std::path::Path) -> anyhow::Result<()> {
    let mut out = std::io::BufWriter::new(std::fs::File::create(diary)?);
    let sites = scene.sites();
    let mut names = logs.topics.clone();
    names
        .extend(sites.iter().flat_map(|site| logs.topics.iter().map(move |topic| format!("{site}.{topic}"))));
    for (process, site) in (FIRST_PROCESS..).zip(&sites) {
        let client = scene.runtime.block_on(at_home(scene, site, &logs.topics[0]))?;
        let mut call = 0;
        for name in &names {
            for partition in 0..logs.partitions {
                call += 1;
                let read = scene.runtime.block_on(read(&client, name, partition));
                let polled = read.with_context(|| format!("{name}/{partition} at {site}"))?;
                let event = final_read(process, site, call, polled);
                writeln!(out, "{}", serde_json::to_string(&event)?)?;
            }
        }
    }
    Ok(out.flush()?)
}

fn final_read(process: u32, site: &str, call: u64, polled: Vec<history::Spot>) -> Event {
    let now_us = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_micros());
    let at_us = u64::try_from(now_us).unwrap_or(u64::MAX);
    Event {
        at_us,
        process,
        site: site.to_owned(),
        call,
        kind: Kind::Ok,
        began_us: Some(at_us),
        sent: Vec::new(),
        polled,
        moved: Vec::new(),
        assigned: None,
        group: None,
        last: true,
    }
}

/// A client of this site whose records come from this very site, once clients have gone home.
pub(crate) async fn at_home(scene: &Scene, site: &str, topic: &str) -> anyhow::Result<Client> {
    let address = scene.cluster.kafka(site)?.to_string();
    let client = Client::connect(&[address], Options::default()).await?;
    let until = Instant::now() + HOME_PATIENCE;
    loop {
        let metadata = client.refresh(Some(&[topic])).await?;
        let leader = metadata.leader(topic, 0).and_then(|broker| broker.rack.clone());
        if leader.as_deref() == Some(site) {
            return Ok(client);
        }
        anyhow::ensure!(Instant::now() < until, "clients of {site} are still sent to {leader:?}");
        tokio::time::sleep(POLL).await;
    }
}

async fn read(client: &Client, topic: &str, partition: u32) -> anyhow::Result<Vec<history::Spot>> {
    let number = i32::try_from(partition)?;
    let isolation = Isolation::ReadUncommitted;
    let start = client.list_offset(topic, number, Position::Earliest, isolation).await?.offset;
    let end = client.list_offset(topic, number, Position::Latest, isolation).await?.offset;
    let (mut at, mut read) = (start, Vec::new());
    while at < end {
        let answer = client.fetch(topic, number, at, &FetchOptions::default()).await?;
        let records = read_records(&answer.batches, at)?;
        let last = records.last().map(|record| record.offset);
        for record in records {
            let value = record.record.value.as_deref().and_then(number_at_start);
            let value = value.with_context(|| format!("a strange value at {}", record.offset))?;
            read.push((topic.to_owned(), partition, Some(record.offset), value));
        }
        at = last.with_context(|| format!("nothing at {at}, and the end is {end}"))? + 1;
    }
    Ok(read)
}

/// The number at the start of a value; what follows a space only makes it long.
fn number_at_start(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value.split(|byte| *byte == b' ').next()?).ok()?;
    text.parse().ok()
}

/// `meridian verify` over all sites.
pub(crate) fn verify(scene: &mut Scene) -> anyhow::Result<()> {
    let urls: Result<Vec<String>, _> = scene.sites().iter().map(|site| scene.admin_url(site)).collect();
    let output =
        Command::new(&scene.cluster.plan().meridian).args(["verify", "--admin"]).args(urls?).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    scene.say(said.trim().lines().last().unwrap_or_default());
    if !output.status.success() {
        scene.accuse(format!("verify: {}{}", said, String::from_utf8_lossy(&output.stderr)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::number_at_start;

    #[test]
    fn a_value_is_the_number_it_starts_with() {
        assert_eq!(number_at_start(b"17"), Some(17));
        assert_eq!(number_at_start(b"17 xxxx"), Some(17));
        assert_eq!(number_at_start(b"x17"), None);
    }
}
