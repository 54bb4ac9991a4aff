//! One run from start to end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use admin::DigestQuery;
use anyhow::Context as _;
use history::{Promises, check};
use launch::{Cluster, Network, Plan, PortBlock};
use wan::Matrix;

use crate::Arguments;
use crate::clients::{Stranger, Told, gather};
use crate::dice::Dice;
use crate::disks::{self, Disk};
use crate::ending::{self, Logs};
use crate::evidence;
use crate::fault::{Kind, Means};
use crate::interrupt::{self, Interrupted};
use crate::nemesis::{Tally, rage};
use crate::scene::{READY_PATIENCE, Scene, await_ready};
use crate::shown::Outcome;
use crate::tracer;

/// In this order, the first three of which make the smaller cluster.
const SITES: [&str; 5] = ["eu-west", "us-east", "ap-southeast", "us-west", "sa-east"];
/// Acknowledged when one site holds it, and when two do.
const TOPICS: [(&str, u32, u16); 2] = [("orders", 4, 1), ("ledger", 1, 2)];
const PARTITIONS: u32 = 2;
/// The two libraries, each with its group.
const LIBRARIES: [(&str, &str); 2] =
    [("confluent.py", "readers-confluent"), ("kafka_python.py", "readers-kafka-python")];
/// Process numbers of one client over all its lives.
const PROCESSES_PER_CLIENT: u32 = 300_000;
/// Clients write a little before anything goes wrong.
const CALM: Duration = Duration::from_secs(5);
/// How far a stamp may be ahead of its site's clock, by default. Clocks are stepped by less, or by so much more that their
/// site takes no writes.
const CLOCK_BOUND_MS: u64 = 500;
/// Small segments and a small reserve: files roll and disks fill within minutes.
const SETTINGS: [&str; 5] = [
    "journal.segment_bytes=8388608",
    "journal.segments_spare=1",
    "journal.checkpoint_bytes=16777216",
    "limits.disk_free_bytes_min=33554432",
    "peers.home_after_ms=2000",
];

/// Makes a run; answers with the number of findings.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<u64> {
    interrupt::heed()?;
    let folder = folder(arguments)?;
    let outcome = run_in(arguments, &folder);
    let is_of_use = match &outcome {
        Ok(broken) => *broken > 0,
        Err(error) => !error.is::<Interrupted>(),
    };
    if is_of_use || arguments.keep {
        println!("logs and diaries are in {}", folder.display());
    } else {
        std::fs::remove_dir_all(&folder)?;
    }
    outcome
}

fn run_in(arguments: &Arguments, folder: &Path) -> anyhow::Result<u64> {
    let means = means(folder);
    let kinds = kinds(arguments, means)?;
    let mut scene = found(arguments, folder, means)?;
    let outcome = story(arguments, &mut scene, &kinds);
    if outcome.is_err() {
        scene.say("given up: ending what was started");
    }
    let misconduct = std::mem::take(&mut scene.misconduct);
    let closed = close(scene);
    let (tally, facts) = outcome?;
    closed?;
    report(arguments, folder, &tally, facts, &misconduct)
}

/// Judges the diaries of an earlier run; answers with the number of findings.
pub(crate) fn judge(arguments: &Arguments, folder: &Path) -> anyhow::Result<u64> {
    report(arguments, folder, &Tally::new(), Vec::new(), &[])
}

fn folder(arguments: &Arguments) -> anyhow::Result<PathBuf> {
    let parent = arguments.folder.clone().unwrap_or_else(std::env::temp_dir);
    let made = tempfile::Builder::new().prefix("mc-").tempdir_in(&parent);
    // Unix sockets lie in it, so its name is short; it outlives a run that found something.
    Ok(made.with_context(|| format!("cannot make a folder in {}", parent.display()))?.keep())
}

fn means(folder: &Path) -> Means {
    let disks = disks::available(folder);
    if let Err(why) = &disks {
        println!("no disks of their own for the sites ({why}): faults of disks are left out");
    }
    let tracer = tracer::available();
    if !tracer {
        println!("strace is not here: slow and failing syncs are left out");
    }
    Means { disks: disks.is_ok(), tracer }
}

fn kinds(arguments: &Arguments, means: Means) -> anyhow::Result<Vec<Kind>> {
    let wanted = if arguments.faults.is_empty() { Kind::ALL.to_vec() } else { arguments.faults.clone() };
    let kinds: Vec<Kind> = wanted.into_iter().filter(|kind| kind.is_possible(means)).collect();
    anyhow::ensure!(!kinds.is_empty(), "none of these faults is possible here");
    Ok(kinds)
}

/// The sites that hold data.
fn sites(arguments: &Arguments) -> Vec<String> {
    let count = if arguments.witness { 2 } else { usize::from(arguments.sites) };
    SITES.iter().take(count).map(|site| (*site).to_owned()).collect()
}

fn witness(arguments: &Arguments) -> Option<String> {
    arguments.witness.then(|| SITES[2].to_owned())
}

/// Disks, then the cluster on them, then the topics.
fn found(arguments: &Arguments, folder: &Path, means: Means) -> anyhow::Result<Scene> {
    let sites: Vec<String> = sites(arguments).into_iter().chain(witness(arguments)).collect();
    let mut disks = BTreeMap::new();
    for site in sites.iter().filter(|_| means.disks) {
        let image = folder.join(format!("{site}.img"));
        disks.insert(site.clone(), Disk::make(image, folder.join("data").join(site))?);
    }
    let ports = PortBlock::take(arguments.port, sites.len())?;
    let matrix = Matrix::load(&repository().join("datacenters/rtt.toml"))?;
    let plan = Plan {
        meridian: binary(arguments)?,
        folder: folder.to_owned(),
        sites: sites.clone(),
        witness: witness(arguments),
        network: Network::Emulated { matrix: matrix.clone(), seed: arguments.seed, guests: Vec::new() },
        ports: ports.ports(),
        settings: SETTINGS.iter().map(|setting| (*setting).to_owned()).collect(),
    };
    let mut cluster = Cluster::found(plan)?;
    // A process heeds its clock's file only if there was one when it started.
    sites.iter().try_for_each(|site| cluster.shift_clock(site, 0))?;
    sites.iter().try_for_each(|site| cluster.start(site))?;
    for site in &sites {
        if let Some(why) = await_ready(&mut cluster, site, READY_PATIENCE)? {
            return Err(why.into());
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let scene = Scene {
        cluster,
        _ports: ports,
        disks,
        strangers: Vec::new(),
        matrix,
        folder: folder.to_owned(),
        runtime,
        up: sites.into_iter().collect(),
        misconduct: Vec::new(),
        began: Instant::now(),
        shifts: Vec::new(),
    };
    create_topics(&scene)?;
    await_topics(&scene)?;
    Ok(scene)
}

fn create_topics(scene: &Scene) -> anyhow::Result<()> {
    let first = scene.cluster.kafka(&scene.sites()[0])?.to_string();
    scene.runtime.block_on(async {
        let client = client::Client::connect(&[first], client::Options::default()).await?;
        for (topic, _, insync) in TOPICS {
            // Append times tell by which stamp a batch was taken: evidence of why it stands where it does.
            let settings = BTreeMap::from([
                ("min.insync.sites".to_owned(), insync.to_string()),
                ("message.timestamp.type".to_owned(), "LogAppendTime".to_owned()),
            ]);
            let partitions = Some(i32::try_from(PARTITIONS)?);
            client.create_topic(&client::NewTopic { name: topic.to_owned(), partitions, settings }).await?;
        }
        Ok(())
    })
}

/// Waits until every site knows the topics: where a client asks earlier, its asking makes them, with as many partitions as
/// the site's default says.
fn await_topics(scene: &Scene) -> anyhow::Result<()> {
    let until = Instant::now() + READY_PATIENCE;
    for site in scene.sites() {
        let address = scene.admin(&site)?;
        loop {
            let logs = scene.runtime.block_on(admin::client::digests(&address, &DigestQuery::default()))?;
            if TOPICS.iter().all(|(topic, _, _)| logs.iter().any(|log| log.topic == *topic)) {
                break;
            }
            anyhow::ensure!(Instant::now() < until, "{site} does not learn of the topics");
            interrupt::sleep(Duration::from_millis(20))?;
        }
    }
    Ok(())
}

/// Clients, faults, and the end.
fn story(arguments: &Arguments, scene: &mut Scene, kinds: &[Kind]) -> anyhow::Result<(Tally, Vec<String>)> {
    scene.strangers = strangers(arguments, scene)?;
    scene.strangers.iter_mut().try_for_each(Stranger::start)?;
    interrupt::sleep(CALM)?;
    let mut dice = Dice::new(arguments.seed);
    let tally = rage(scene, &mut dice, kinds, Duration::from_secs_f64(60.0 * arguments.minutes))?;
    scene.say("all healed; writing ends");
    for site in scene.everyone() {
        scene.wait_ready(&site)?;
    }
    if !scene.tell_writers("quiet")? {
        scene.say("some writers do not come to rest");
    }
    let alike = ending::converge(scene)?;
    let mut facts = Vec::new();
    if let Some(took) = alike {
        facts.push(format!("sites were alike {:.1} s after the last fault", took.as_secs_f64()));
        scene.say(&facts[0]);
    }
    let logs =
        Logs { topics: TOPICS.iter().map(|topic| topic.0.to_owned()).collect(), partitions: PARTITIONS };
    let groups: Vec<String> = LIBRARIES.iter().map(|library| library.1.to_owned()).collect();
    if alike.is_some() {
        ending::drain_groups(scene, &groups, &logs)?;
    }
    stop_clients(scene)?;
    // Groups have committed meanwhile.
    if alike.is_some() {
        ending::converge(scene)?;
    }
    scene.say("final reads");
    let diary = scene.folder.join("final.jsonl");
    if let Err(error) = ending::read_all(scene, &logs, &diary) {
        scene.accuse(format!("final reads: {error:#}"));
    }
    ending::verify(scene)?;
    if let Err(error) = evidence::collect(scene, &logs.topics, CLOCK_BOUND_MS) {
        scene.accuse(format!("evidence: {error:#}"));
    }
    Ok((tally, facts))
}

fn strangers(arguments: &Arguments, scene: &Scene) -> anyhow::Result<Vec<Stranger>> {
    let (plan, sites) = (scene.cluster.plan(), scene.sites());
    let mut strangers = Vec::new();
    for (library, group) in LIBRARIES {
        for (home, site) in sites.iter().enumerate() {
            // Its own site first, then the others, at the port of its home.
            let mut order: Vec<usize> = (0..sites.len()).collect();
            order.sort_by_key(|index| *index != home);
            let addresses: Vec<String> =
                order.iter().map(|index| plan.kafka(*index, home).to_string()).collect();
            let number = u32::try_from(strangers.len())?;
            let told = Told {
                site: site.clone(),
                sites: sites.clone(),
                bootstrap: addresses.join(","),
                topics: TOPICS.iter().map(|topic| topic.0.to_owned()).collect(),
                weights: TOPICS.iter().map(|topic| topic.1).collect(),
                partitions: PARTITIONS,
                group: group.to_owned(),
                rate: arguments.rate,
                seed: arguments.seed.wrapping_add(u64::from(number)) % (1 << 30),
                first_process: 1 + number * PROCESSES_PER_CLIENT,
                state: scene.folder.join(format!("client-{number}.state")),
            };
            let script = repository().join("crates/chaos/clients").join(library);
            strangers.push(Stranger::new(&arguments.python, &script, told, &scene.folder));
        }
    }
    Ok(strangers)
}

fn stop_clients(scene: &mut Scene) -> Result<(), Interrupted> {
    let mut strangers = std::mem::take(&mut scene.strangers);
    strangers.iter_mut().for_each(|stranger| stranger.say("stop"));
    for stranger in &mut strangers {
        if stranger.has_ended() && !stranger.complaint().is_empty() {
            scene.say(&format!("{} said: {}", stranger.name, stranger.complaint()));
        }
        if !stranger.stop()? {
            scene.say(&format!("{} did not end and was killed", stranger.name));
        }
    }
    scene.strangers = strangers;
    Ok(())
}

/// Processes first, then their disks.
fn close(scene: Scene) -> anyhow::Result<()> {
    let Scene { cluster, disks, strangers, .. } = scene;
    drop(strangers);
    drop(cluster);
    disks.into_values().try_for_each(Disk::close)
}

fn report(
    arguments: &Arguments,
    folder: &Path,
    tally: &Tally,
    mut facts: Vec<String>,
    misconduct: &[String],
) -> anyhow::Result<u64> {
    let history = gather(folder, &sites(arguments))?;
    let kept_twice: BTreeSet<String> =
        TOPICS.iter().filter(|topic| topic.2 > 1).map(|topic| topic.0.to_owned()).collect();
    let drained = LIBRARIES.iter().map(|library| library.1.to_owned()).collect();
    let promises = Promises { kept_twice, drained, ..Promises::meridian() };
    let began = Instant::now();
    let found = check(&history, &promises);
    facts.push(format!("the checker read it all in {:.1} s", began.elapsed().as_secs_f64()));
    let Arguments { minutes, seed, sites, witness, .. } = arguments;
    let (who, how) = match witness {
        true => ("2 sites and a witness".to_owned(), "--witness".to_owned()),
        false => (format!("{sites} sites"), format!("--sites {sites}")),
    };
    let outcome = Outcome {
        title: format!("chaos: {who}, {minutes} minutes of faults, seed {seed}"),
        command: format!("cargo xtask chaos --minutes {minutes} --seed {seed} {how}"),
        facts,
        tally,
        history: &history,
        report: &found,
        promises: &promises,
        misconduct,
    };
    let text = outcome.text();
    println!("\n{text}");
    if let Some(out) = &arguments.out {
        std::fs::write(out.with_extension("txt"), &text)?;
        std::fs::write(out.with_extension("json"), format!("{:#}\n", outcome.json()))?;
    }
    Ok(outcome.broken())
}

fn binary(arguments: &Arguments) -> anyhow::Result<PathBuf> {
    if let Some(binary) = &arguments.meridian {
        return Ok(binary.clone());
    }
    let own = std::env::current_exe().context("cannot tell where this binary lies")?;
    let beside = own.parent().unwrap_or(Path::new(".")).join("meridian");
    anyhow::ensure!(
        beside.exists(),
        "{} is not there: build it, or name it with --meridian",
        beside.display()
    );
    Ok(beside)
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
