//! Fences: a site whose journal the others end, by hand or because it is silent, and its return.

use std::time::{Duration, Instant};

use admin::client::{self, Address};

use super::Struck;
use crate::dice::Dice;
use crate::interrupt;
use crate::scene::Scene;

/// Longer than the fence timeout, and than the members take to agree.
const FENCE_PATIENCE: Duration = Duration::from_secs(25);
const POLL: Duration = Duration::from_millis(250);

/// An operator at another site fences this one: it stands still, or it lives and is fenced all the same.
pub(super) fn fence(scene: &Scene, dice: &mut Dice, site: String) -> anyhow::Result<Struck> {
    let ended = ended(scene, &site);
    let stands_still = !dice.once_in(3);
    if stands_still {
        scene.freeze(&site)?;
    }
    for other in scene.sites().iter().filter(|other| **other != site) {
        let address = Address::parse(&scene.cluster.plan().data(other).display().to_string());
        if scene.runtime.block_on(client::fence(&address, &site)).is_ok() {
            break;
        }
    }
    Ok(Struck::Fence { site, ended, cut: None })
}

/// Cuts a site off; the others fence it once it has been silent for long enough.
pub(super) fn cut(scene: &Scene, site: String) -> anyhow::Result<Struck> {
    let (ended, links) = (ended(scene, &site), scene.links_of(&site));
    let emulator = scene.emulator()?;
    links.iter().try_for_each(|(from, to)| emulator.cut(from, to))?;
    Ok(Struck::Fence { site, ended, cut: Some(links) })
}

/// Waits for the fence, then lets the site return. False if it was not fenced: the others were in trouble themselves.
pub(super) fn go_on(
    scene: &Scene,
    site: &str,
    before: usize,
    cut: Option<Vec<(String, String)>>,
) -> anyhow::Result<bool> {
    let until = Instant::now() + FENCE_PATIENCE;
    while ended(scene, site) <= before && Instant::now() < until {
        interrupt::sleep(POLL)?;
    }
    match cut {
        Some(links) => {
            let emulator = scene.emulator()?;
            links.iter().try_for_each(|(from, to)| emulator.heal(from, to))?;
        }
        None => scene.thaw(site)?,
    }
    Ok(ended(scene, site) > before)
}

/// How many of a site's journals have ended, by what the others say.
fn ended(scene: &Scene, site: &str) -> usize {
    let count = |other: &String| {
        let status = scene.status(other).ok()?;
        let of_it = status.journals.iter().filter(|journal| journal.site == site);
        Some(of_it.filter(|journal| journal.fenced_at.is_some()).count())
    };
    let others = scene.sites();
    others.iter().filter(|other| *other != site).filter_map(count).max().unwrap_or(0)
}
