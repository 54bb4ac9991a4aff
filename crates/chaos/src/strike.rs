//! Each fault: how it strikes, and how it is undone.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use wan::Link;

use crate::dice::Dice;
use crate::fault::Kind;
use crate::scene::Scene;
use crate::tracer::Tracer;

/// A failed sync must end the process; the traced process is slow.
const END_PATIENCE: Duration = Duration::from_secs(20);
const DRAIN_PATIENCE: Duration = Duration::from_secs(60);
/// A process that ends because its disk failed says so with this code.
const DISK_FAILED: i32 = 74;

/// A fault that has struck, with what it takes to undo it.
#[derive(Debug)]
pub(crate) enum Struck {
    Down(Vec<String>),
    Paused(String),
    Cut(Vec<(String, String)>),
    Flapping { site: String, cut: bool, next: Instant, dice: Dice },
    Poor(Vec<(String, String)>),
    Slow(Tracer),
    Failed { site: String, tracer: Tracer },
    Full(String),
    Backup { site: String, copy: PathBuf },
    Client(usize),
    Over,
}

/// Lets a fault strike. `victim` is the site it falls upon; kinds that strike links choose more by the dice.
pub(crate) fn strike(scene: &mut Scene, dice: &mut Dice, kind: Kind, victim: &str) -> anyhow::Result<Struck> {
    let site = victim.to_owned();
    let sites = scene.sites();
    let others: Vec<String> = sites.iter().filter(|other| **other != site).cloned().collect();
    let other = others[dice.below(others.len())].clone();
    Ok(match kind {
        Kind::Kill => down(scene, vec![site], Scene::kill)?,
        Kind::KillAll => down(scene, sites, Scene::kill)?,
        Kind::Restart => down(scene, vec![site], Scene::stop)?,
        Kind::RollingRestart => rolling_restart(scene, &sites)?,
        Kind::Pause => {
            scene.freeze(&site)?;
            Struck::Paused(site)
        }
        Kind::CutSite => cut(scene, scene.links_of(&site))?,
        Kind::CutPair => cut(scene, vec![(site.clone(), other.clone()), (other, site)])?,
        Kind::CutOneWay => cut(scene, vec![(site, other)])?,
        Kind::Flap => Struck::Flapping { site, cut: false, next: Instant::now(), dice: dice.clone() },
        Kind::Loss => poor(scene, &site, lossy(dice))?,
        Kind::Slow => poor(scene, &site, slow(dice))?,
        Kind::SlowSync => {
            let delay_ms = 20 + dice.below(400) as u64;
            Struck::Slow(Tracer::slow_syncs(
                process(scene, &site)?,
                delay_ms,
                &scene.folder.join("strace.log"),
            )?)
        }
        Kind::FailedSync => {
            let tracer = Tracer::failed_sync(process(scene, &site)?, &scene.folder.join("strace.log"))?;
            // From now on it may end by itself.
            scene.up.remove(&site);
            Struck::Failed { site, tracer }
        }
        Kind::FullDisk => {
            let leave_bytes = if dice.once_in(2) { 0 } else { (dice.below(48) as u64) << 20 };
            scene.disks[&site].fill(leave_bytes)?;
            Struck::Full(site)
        }
        Kind::PowerCut => power_cut(scene, vec![site])?,
        Kind::PowerCutAll => power_cut(scene, sites)?,
        Kind::Restore => {
            scene.freeze(&site)?;
            let copy = scene.disks[&site].copy("backup");
            scene.thaw(&site)?;
            Struck::Backup { site, copy: copy? }
        }
        Kind::KillClient => {
            let client = dice.below(scene.strangers.len());
            scene.strangers[client].kill();
            Struck::Client(client)
        }
    })
}

/// What goes on while it lasts.
pub(crate) fn tick(scene: &Scene, struck: &mut Struck) -> anyhow::Result<()> {
    if let Struck::Flapping { site, cut, next, dice } = struck
        && Instant::now() >= *next
    {
        *cut = !*cut;
        let emulator = scene.emulator()?;
        match *cut {
            true => emulator.cut_site(site)?,
            false => emulator.heal_site(site)?,
        }
        *next = Instant::now() + Duration::from_secs_f64(dice.between(0.2, 2.0));
    }
    Ok(())
}

/// Undoes it. False if it had to be given up before it struck.
pub(crate) fn undo(scene: &mut Scene, struck: Struck) -> anyhow::Result<bool> {
    match struck {
        Struck::Down(sites) => sites.iter().try_for_each(|site| scene.start(site))?,
        Struck::Paused(site) => scene.thaw(&site)?,
        Struck::Cut(links) => {
            let emulator = scene.emulator()?;
            links.iter().try_for_each(|(from, to)| emulator.heal(from, to))?;
        }
        Struck::Flapping { site, .. } => scene.emulator()?.heal_site(&site)?,
        Struck::Poor(links) => {
            for (from, to) in &links {
                scene.emulator()?.set(from, to, scene.sound_link(from, to)?)?;
            }
        }
        Struck::Slow(mut tracer) => {
            let struck = tracer.has_struck();
            tracer.detach();
            return Ok(struck);
        }
        Struck::Failed { site, tracer } => return failed_sync(scene, &site, tracer),
        Struck::Full(site) => scene.disks[&site].clear()?,
        Struck::Backup { site, copy } => return restore(scene, &site, &copy),
        Struck::Client(client) => scene.strangers[client].start()?,
        Struck::Over => {}
    }
    Ok(true)
}

fn process(scene: &Scene, site: &str) -> anyhow::Result<u32> {
    scene.cluster.process_id(site).ok_or_else(|| anyhow::anyhow!("{site} does not run"))
}

fn down(
    scene: &mut Scene,
    sites: Vec<String>,
    end: impl Fn(&mut Scene, &str) -> anyhow::Result<()>,
) -> anyhow::Result<Struck> {
    sites.iter().try_for_each(|site| end(scene, site))?;
    Ok(Struck::Down(sites))
}

fn rolling_restart(scene: &mut Scene, sites: &[String]) -> anyhow::Result<Struck> {
    for site in sites {
        scene.stop(site)?;
        scene.start(site)?;
        scene.wait_ready(site);
    }
    Ok(Struck::Over)
}

fn cut(scene: &Scene, links: Vec<(String, String)>) -> anyhow::Result<Struck> {
    let emulator = scene.emulator()?;
    links.iter().try_for_each(|(from, to)| emulator.cut(from, to))?;
    Ok(Struck::Cut(links))
}

fn poor(scene: &Scene, site: &str, spoil: impl Fn(Link) -> Link) -> anyhow::Result<Struck> {
    let links = scene.links_of(site);
    for (from, to) in &links {
        scene.emulator()?.set(from, to, spoil(scene.sound_link(from, to)?))?;
    }
    Ok(Struck::Poor(links))
}

fn lossy(dice: &mut Dice) -> impl Fn(Link) -> Link + use<> {
    let (loss, reorder) = (dice.between(0.01, 0.3), dice.between(0.0, 0.1));
    let (duplicate, corrupt) = (dice.between(0.0, 0.1), dice.between(0.0, 0.02));
    move |link| Link { loss, reorder, duplicate, corrupt, ..link }
}

fn slow(dice: &mut Dice) -> impl Fn(Link) -> Link + use<> {
    let (times, jitter_ms) = (dice.between(2.0, 6.0), dice.between(0.0, 80.0));
    move |link| Link { delay_ms: link.delay_ms * times, jitter_ms, ..link }
}

/// All stand still, then their disks are copied, then they are gone: at no moment does one go on that another has outlived.
fn power_cut(scene: &mut Scene, sites: Vec<String>) -> anyhow::Result<Struck> {
    sites.iter().try_for_each(|site| scene.freeze(site))?;
    let copies: Result<Vec<PathBuf>, _> = sites.iter().map(|site| scene.disks[site].copy("cut")).collect();
    let copies = copies?;
    for (site, copy) in sites.iter().zip(&copies) {
        scene.kill(site)?;
        if let Some(disk) = scene.disks.get_mut(site) {
            disk.replace(copy)?;
        }
    }
    Ok(Struck::Down(sites))
}

fn failed_sync(scene: &mut Scene, site: &str, mut tracer: Tracer) -> anyhow::Result<bool> {
    let until = Instant::now() + END_PATIENCE;
    let mut ended = scene.cluster.ended(site);
    while ended.is_none() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(100));
        ended = scene.cluster.ended(site);
    }
    let struck = tracer.has_struck();
    tracer.detach();
    match ended {
        None if struck => scene.accuse(format!("{site} goes on after a sync failed")),
        Some(status) if status.code() != Some(DISK_FAILED) => {
            scene
                .accuse(format!("{site} ended with {status} when a sync failed, and not with {DISK_FAILED}"));
        }
        _ => {}
    }
    scene.start(site)?;
    Ok(struck)
}

/// The others must have what the site acknowledged: a lost disk takes with it what only it had, and that is no anomaly. So
/// nobody writes while the others catch up.
fn restore(scene: &mut Scene, site: &str, copy: &std::path::Path) -> anyhow::Result<bool> {
    let is_drained = scene.tell_writers("hold") && drained(scene, site);
    if is_drained {
        scene.kill(site)?;
        if let Some(disk) = scene.disks.get_mut(site) {
            disk.replace(copy)?;
        }
        scene.start(site)?;
        scene.wait_ready(site);
    } else {
        std::fs::remove_file(copy)?;
    }
    scene.strangers.iter_mut().for_each(|stranger| stranger.say("go"));
    Ok(is_drained)
}

/// Whether all others come to hold what this site holds of its own, while nothing new is written to it.
fn drained(scene: &Scene, site: &str) -> bool {
    let until = Instant::now() + DRAIN_PATIENCE;
    let (mut calm, mut last) = (0, None);
    while Instant::now() < until {
        std::thread::sleep(Duration::from_millis(500));
        let now = own_end(scene, site);
        calm = if now.is_some() && now == last { calm + 1 } else { 0 };
        last = now;
        // Twice in a row the same, and everywhere.
        if calm >= 2 {
            return true;
        }
    }
    false
}

/// Where the site's own journals end, if all others hold them to the end.
fn own_end(scene: &Scene, site: &str) -> Option<Vec<(String, u64)>> {
    let own = scene.status(site).ok()?;
    let own: Vec<(String, u64)> = own
        .journals
        .into_iter()
        .filter(|journal| journal.site == site)
        .map(|journal| (journal.journal, journal.held))
        .collect();
    for other in scene.sites().iter().filter(|other| *other != site) {
        let status = scene.status(other).ok()?;
        let holds = |(name, end): &(String, u64)| {
            status.journals.iter().any(|journal| journal.journal == *name && journal.held >= *end)
        };
        if !own.iter().all(holds) {
            return None;
        }
    }
    Some(own)
}
