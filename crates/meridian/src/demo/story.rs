//! The story: written everywhere, read everywhere alike; one region cut off, still writing; healed, and alike again.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use client::NewTopic;
use launch::Cluster;
use tokio::task::block_in_place;
use wan::Matrix;

use crate::demo::board::{Look, look, watch, watching};
use crate::demo::logs::{read, read_one};
use crate::demo::region::Region;
use crate::demo::screen::Screen;
use crate::demo::together::together;

const TOPIC: &str = "orders";
/// The region that is cut off.
const LONELY: &str = "ap-southeast";
/// Records that each region writes in the beginning.
const FIRST: usize = 4;
/// Records that are written in the lonely region, and as many in the first, while they cannot talk.
const APART: usize = 3;
const START_PATIENCE: Duration = Duration::from_secs(30);

/// Tells it. With `keep`, the end is a table that never ends.
pub(crate) async fn tell(
    cluster: &mut Cluster,
    matrix: &Matrix,
    screen: &mut Screen,
    keep: bool,
) -> anyhow::Result<()> {
    distances(cluster, matrix, screen)?;
    let regions = start(cluster, screen).await?;
    create(&regions, screen).await?;
    let written = write_everywhere(&regions, screen).await?;
    read_everywhere(&regions, screen, written).await?;
    let apart = cut(cluster, &regions, screen, written).await?;
    heal(cluster, &regions, screen, written, written + apart).await?;
    verify(cluster, &regions, screen).await?;
    invite(&regions, screen);
    if keep {
        screen.say("The sites stay up until Ctrl-C.\n");
        watching(screen, &regions, TOPIC, |_| false).await?;
    }
    Ok(())
}

fn distances(cluster: &Cluster, matrix: &Matrix, screen: &mut Screen) -> anyhow::Result<()> {
    let sites = &cluster.plan().sites;
    let mut pairs = Vec::new();
    for (at, one) in sites.iter().enumerate() {
        for other in &sites[at + 1..] {
            pairs.push(format!("{one} – {other} {} ms", matrix.rtt_ms(one, other)?));
        }
    }
    let step = screen.begin("A WAN between them, with the round trips of a public cloud");
    for line in pairs.chunks(3) {
        screen.say(&format!("    {}", line.join(",  ")));
    }
    screen.done(step, "the link emulator runs");
    Ok(())
}

async fn start(cluster: &mut Cluster, screen: &mut Screen) -> anyhow::Result<Vec<Region>> {
    let sites = cluster.plan().sites.clone();
    let step = screen.begin(&format!("{} sites, each a process of its own: meridian serve", sites.len()));
    block_in_place(|| cluster.start_all(START_PATIENCE))?;
    let mut regions = Vec::new();
    for site in &sites {
        let region = Region::enter(cluster, site).await?;
        let process = cluster.process_id(site).unwrap_or_default();
        screen.say(&format!("    {site:<14} Kafka {}   process {process}", region.kafka));
        regions.push(region);
    }
    acquainted(&regions).await?;
    screen.done(step, "all see each other");
    Ok(regions)
}

async fn acquainted(regions: &[Region]) -> anyhow::Result<()> {
    let until = Instant::now() + START_PATIENCE;
    loop {
        let statuses = together(regions.iter().map(Region::status)).await?;
        if statuses.iter().all(|status| status.alive.len() == regions.len()) {
            return Ok(());
        }
        anyhow::ensure!(
            Instant::now() < until,
            "the sites do not see each other after {} s",
            START_PATIENCE.as_secs()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn create(regions: &[Region], screen: &mut Screen) -> anyhow::Result<()> {
    let step = screen.begin(&format!("Topic {TOPIC}, one partition, created in {}", regions[0].name));
    let topic = NewTopic { name: TOPIC.to_owned(), partitions: Some(1), ..NewTopic::default() };
    regions[0].client.create_topic(&topic).await?;
    together(regions.iter().map(known)).await?;
    screen.done(step, "known everywhere");
    Ok(())
}

/// Waits until a region's site knows the topic.
async fn known(region: &Region) -> anyhow::Result<()> {
    let until = Instant::now() + START_PATIENCE;
    while !region.client.refresh(None).await?.topics.contains_key(TOPIC) {
        anyhow::ensure!(Instant::now() < until, "{} never hears of topic {TOPIC}", region.name);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Each region writes to its own site, all at the same time. Gives how many records there are.
async fn write_everywhere(regions: &[Region], screen: &mut Screen) -> anyhow::Result<i64> {
    let step = screen.begin("Every region writes at its own site, at the same time");
    let writing = regions.iter().map(|region| write(region, "order", FIRST));
    for (region, times) in regions.iter().zip(together(writing).await?) {
        screen.say(&format!(
            "    {:<14} {FIRST} records, each acknowledged after {}",
            region.name,
            range(&times)
        ));
    }
    screen.done(step, "durable where written; nobody waited for an ocean");
    Ok(i64::try_from(FIRST * regions.len())?)
}

async fn write(region: &Region, what: &str, count: usize) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    for number in 1..=count {
        times.push(region.write(TOPIC, format!("{} {what} {number}", region.name)).await?);
    }
    Ok(times)
}

/// "1.2 to 3.4 ms".
fn range(times: &[Duration]) -> String {
    let ms = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1e3);
    format!("{:.1} to {:.1} ms", ms(times.iter().min()), ms(times.iter().max()))
}

async fn read_everywhere(regions: &[Region], screen: &mut Screen, end: i64) -> anyhow::Result<()> {
    let step = screen.begin(&format!("Every region reads {TOPIC} at its own site"));
    let all_readable = |looks: &[Look]| looks.iter().all(|look| look.end >= end);
    watch(screen, regions, TOPIC, "all records are readable everywhere", all_readable).await?;
    compare(regions, screen, 0, end).await?;
    screen.done(step, "the same record at the same offset in every region");
    Ok(())
}

/// Reads in every region and lays what was read side by side.
async fn compare(regions: &[Region], screen: &mut Screen, from: i64, end: i64) -> anyhow::Result<()> {
    let table = read(regions, TOPIC, from, end).await?;
    screen.say("");
    screen.draw(&table.to_string());
    screen.settle();
    anyhow::ensure!(table.is_identical(), "the regions do not show the same");
    Ok(())
}

/// Cuts a region off and writes on both sides of the cut. Gives how many records were written.
async fn cut(cluster: &Cluster, regions: &[Region], screen: &mut Screen, before: i64) -> anyhow::Result<i64> {
    let step = screen.begin(&format!("{LONELY} is cut off from everyone"));
    let emulator = cluster.emulator().context("the demo runs with an emulator")?;
    emulator.cut_site(LONELY)?;
    let first = &regions[0];
    let lonely = regions
        .iter()
        .find(|region| region.name == LONELY)
        .context("the lonely region is one of the demo's")?;
    for region in [lonely, first] {
        let times = write(region, "while apart", APART).await?;
        screen.say(&format!(
            "    {:<14} {APART} records, each acknowledged after {}",
            region.name,
            range(&times)
        ));
    }
    for region in [lonely, first] {
        let origin = format!("{}.{TOPIC}", region.name);
        let end = i64::try_from(FIRST + APART)?;
        let reader = if region.name == LONELY { lonely } else { &regions[1] };
        let log = read_one(reader, &origin, 0, end).await?;
        let newest = log.last().map(|(_, value)| value.as_str()).unwrap_or_default();
        screen.say(&format!(
            "    {origin} goes on: {} records readable in {}, the newest \"{newest}\"",
            log.len(),
            reader.name
        ));
    }
    screen
        .say(&format!("    {TOPIC} itself waits: what {LONELY} writes now has its place in the order too\n"));
    let held_back = |looks: &[Look]| {
        looks.iter().all(|look| look.status.blocker.as_ref().is_some_and(|by| by.for_ms >= 1_500))
    };
    let looks = watch(screen, regions, TOPIC, "the order is held back", held_back).await?;
    anyhow::ensure!(looks.iter().all(|look| look.end == before), "the order went on without {LONELY}");
    if let Some(blocker) = looks[0].status.blocker.as_ref() {
        screen.say(&format!("    {} says: {}", first.name, blocker.why));
    }
    screen.done(step, "writing never stopped, in no region");
    Ok(i64::try_from(2 * APART)?)
}

async fn heal(
    cluster: &Cluster,
    regions: &[Region],
    screen: &mut Screen,
    from: i64,
    end: i64,
) -> anyhow::Result<()> {
    let step = screen.begin(&format!("{LONELY} is back"));
    let healed = Instant::now();
    cluster.emulator().context("the demo runs with an emulator")?.heal_site(LONELY)?;
    let converged = |looks: &[Look]| looks.iter().all(|look| look.end >= end);
    watch(screen, regions, TOPIC, "the regions have caught up", converged).await?;
    let took_s = healed.elapsed().as_secs_f64();
    compare(regions, screen, from, end).await?;
    screen.done(
        step,
        &format!("{took_s:.1} s after the heal every region shows everything, at the same offsets"),
    );
    Ok(())
}

/// The command an operator would use.
async fn verify(cluster: &Cluster, regions: &[Region], screen: &mut Screen) -> anyhow::Result<()> {
    let step = screen.begin("meridian verify: digests of every log, of all sites");
    let mut command = tokio::process::Command::new(&cluster.plan().meridian);
    command.arg("verify").arg("--admin").args(regions.iter().map(|region| &region.data));
    let output = command.kill_on_drop(true).output().await.context("cannot run meridian verify")?;
    screen.draw(&String::from_utf8_lossy(&output.stdout));
    screen.settle();
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "verify found a difference or failed: {said}");
    let ends = look(regions, TOPIC).await?;
    screen.done(step, &format!("identical, {} records everywhere", ends[0].end));
    Ok(())
}

fn invite(regions: &[Region], screen: &mut Screen) {
    screen.say("With any Kafka client, in any region (the port is the client's home region):\n");
    for region in regions {
        screen
            .say(&format!("    echo hello from {0} | kcat -P -b {1} -t {TOPIC}", region.name, region.kafka));
    }
    for region in regions {
        screen.say(&format!("    kcat -C -b {} -t {TOPIC} -o beginning -e -f '%o %s\\n'", region.kafka));
    }
    screen.say("");
}
