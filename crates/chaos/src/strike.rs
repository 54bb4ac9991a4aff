//! Each fault: how it strikes, and how it is undone. Disks that are lost and sites that are fenced have files of their own.

mod fences;
mod losses;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use wan::Link;

use crate::dice::Dice;
use crate::fault::Kind;
use crate::interrupt;
use crate::scene::Scene;
use crate::tracer::Tracer;

/// How long one site may hold up the restart of the next, while other faults last.
const ROLL_PATIENCE: Duration = Duration::from_secs(15);
/// A failed sync must end the process; the traced process is slow.
const END_PATIENCE: Duration = Duration::from_secs(20);
/// Two clocks may be stepped in opposite directions, and must still agree within the bound.
const CLOCK_STEP_MS: (f64, f64) = (20.0, 200.0);
/// Plainly beyond the bound.
const CLOCK_JUMP_MS: (f64, f64) = (2_000.0, 20_000.0);
/// A process that ends because its disk failed says so with this code.
const DISK_FAILED: i32 = 74;

/// A fault that has struck, with what it takes to undo it.
#[derive(Debug)]
pub(crate) enum Struck {
    Down(Vec<String>),
    Rolling(Vec<String>),
    Paused(String),
    Cut(Vec<(String, String)>),
    Flapping { site: String, cut: bool, next: Instant, dice: Dice },
    Poor(Vec<(String, String)>),
    Slow(Tracer),
    Failed { site: String, tracer: Tracer },
    Full(String),
    Backup { site: String, copy: PathBuf },
    Wipe(String),
    Clock(String),
    Fence { site: String, ended: usize, cut: Option<Vec<(String, String)>> },
    Client(usize),
    Over,
}

/// Lets a fault strike. `victim` is the site it falls upon; kinds that strike links choose more by the dice.
pub(crate) fn strike(scene: &mut Scene, dice: &mut Dice, kind: Kind, victim: &str) -> anyhow::Result<Struck> {
    let site = victim.to_owned();
    let sites = scene.everyone();
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
        Kind::Wipe => Struck::Wipe(site),
        Kind::ClockStep => step_clock(scene, dice, site, CLOCK_STEP_MS)?,
        Kind::ClockJump => step_clock(scene, dice, site, CLOCK_JUMP_MS)?,
        Kind::Fence => fences::fence(scene, dice, site)?,
        Kind::CutUntilFenced => fences::cut(scene, site)?,
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
        Struck::Rolling(sites) => roll_on(scene, &sites)?,
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
        Struck::Backup { site, copy } => return losses::restore(scene, &site, &copy),
        Struck::Wipe(site) => return losses::wipe(scene, &site),
        Struck::Clock(site) => scene.shift_clock(&site, 0)?,
        Struck::Fence { site, ended, cut } => return fences::go_on(scene, &site, ended, cut),
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

/// A site may wait for what only a link gives that another fault has cut: then it is gone on with when all are whole again.
fn rolling_restart(scene: &mut Scene, sites: &[String]) -> anyhow::Result<Struck> {
    for (at, site) in sites.iter().enumerate() {
        scene.stop(site)?;
        scene.start(site)?;
        if scene.unready(site, ROLL_PATIENCE)?.is_some() {
            return Ok(Struck::Rolling(sites[at..].to_vec()));
        }
    }
    Ok(Struck::Over)
}

/// The first of these was restarted and is waited for.
fn roll_on(scene: &mut Scene, sites: &[String]) -> anyhow::Result<()> {
    for (at, site) in sites.iter().enumerate() {
        if at > 0 {
            scene.stop(site)?;
            scene.start(site)?;
        }
        scene.wait_ready(site)?;
    }
    Ok(())
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
        interrupt::sleep(Duration::from_millis(100))?;
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

/// Forward or back, by so many milliseconds.
fn step_clock(
    scene: &mut Scene,
    dice: &mut Dice,
    site: String,
    (least, most): (f64, f64),
) -> anyhow::Result<Struck> {
    let by_ms = dice.between(least, most);
    let ahead_ms = if dice.once_in(2) { by_ms } else { -by_ms };
    scene.say(&format!("the clock of {site} is {ahead_ms:.0} ms ahead"));
    scene.shift_clock(&site, ahead_ms as i64)?;
    Ok(Struck::Clock(site))
}
