//! Disks that are lost: put back from a backup, or emptied.

use std::time::{Duration, Instant};

use crate::interrupt::{self, Interrupted};
use crate::scene::Scene;

const DRAIN_PATIENCE: Duration = Duration::from_secs(60);

/// The others must have what the site acknowledged: a lost disk takes with it what only it had, and that is no anomaly. So
/// nobody writes while the others catch up.
pub(super) fn restore(scene: &mut Scene, site: &str, copy: &std::path::Path) -> anyhow::Result<bool> {
    let is_lost =
        lose(scene, site, |scene| scene.disks.get_mut(site).map_or(Ok(()), |disk| disk.replace(copy)))?;
    if !is_lost {
        std::fs::remove_file(copy)?;
    }
    Ok(is_lost)
}

/// Empties the data directory and joins anew.
pub(super) fn wipe(scene: &mut Scene, site: &str) -> anyhow::Result<bool> {
    lose(scene, site, |scene| {
        for entry in std::fs::read_dir(scene.cluster.plan().data(site))? {
            let path = entry?.path();
            if path.is_dir() { std::fs::remove_dir_all(path)? } else { std::fs::remove_file(path)? }
        }
        Ok(scene.cluster.join(site)?)
    })
}

/// Takes a site's disk away while nobody writes, if all others come to hold what it has.
fn lose(
    scene: &mut Scene,
    site: &str,
    take: impl FnOnce(&mut Scene) -> anyhow::Result<()>,
) -> anyhow::Result<bool> {
    let is_drained = scene.tell_writers("hold")? && drained(scene, site)?;
    if is_drained {
        scene.kill(site)?;
        take(scene)?;
        scene.start(site)?;
        scene.wait_ready(site)?;
    }
    scene.strangers.iter_mut().for_each(|stranger| stranger.say("go"));
    Ok(is_drained)
}

/// Whether all others come to hold what this site holds of its own, while nothing new is written to it.
fn drained(scene: &Scene, site: &str) -> Result<bool, Interrupted> {
    let until = Instant::now() + DRAIN_PATIENCE;
    let (mut calm, mut last) = (0, None);
    while Instant::now() < until {
        interrupt::sleep(Duration::from_millis(500))?;
        let now = own_end(scene, site);
        calm = if now.is_some() && now == last { calm + 1 } else { 0 };
        last = now;
        // Twice in a row the same, and everywhere.
        if calm >= 2 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Where the site's own journals end, if all others hold them to the end.
fn own_end(scene: &Scene, site: &str) -> Option<Vec<(String, u64)>> {
    let (own, sites) = (scene.status(site).ok()?, scene.sites());
    // Where a witness let one of two go on, nobody else has what that one holds until the other is a member again.
    if own.members.len() < sites.len() {
        return None;
    }
    let ends: Vec<(String, u64)> = own
        .journals
        .into_iter()
        .filter(|journal| journal.site == site)
        .map(|journal| (journal.journal, journal.held))
        .collect();
    for other in sites.iter().filter(|other| *other != site) {
        let status = scene.status(other).ok()?;
        if status.members.len() < sites.len() {
            return None;
        }
        let holds = |(name, end): &(String, u64)| {
            status.journals.iter().any(|journal| journal.journal == *name && journal.held >= *end)
        };
        if !ends.iter().all(holds) {
            return None;
        }
    }
    Some(ends)
}
