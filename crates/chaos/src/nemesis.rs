//! What goes wrong when: rounds of one to three faults that overlap, then quiet.
//!
//! A round never lets two faults fall upon one site's process, and faults of all sites come without faults of one: what
//! overlaps is a broken process with broken links, or two sites in trouble at once. After each round everything is undone,
//! and once in four times there is a longer quiet, in which what limps would have to recover.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::dice::Dice;
use crate::fault::{Kind, Reach};
use crate::interrupt;
use crate::scene::Scene;
use crate::strike::{Struck, strike, tick, undo};

/// Faults of one round.
const TOGETHER_MAX: usize = 3;
const TICK: Duration = Duration::from_millis(100);

/// How often each kind struck, and for how long.
pub(crate) type Tally = BTreeMap<Kind, Toll>;

/// One kind's figures.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Toll {
    pub(crate) struck: u32,
    pub(crate) given_up: u32,
    pub(crate) seconds: f64,
}

/// Rounds until the time is over. Every fault has been undone when it returns.
pub(crate) fn rage(
    scene: &mut Scene,
    dice: &mut Dice,
    kinds: &[Kind],
    during: Duration,
) -> anyhow::Result<Tally> {
    let until = Instant::now() + during;
    let mut tally = Tally::new();
    // Every kind has its turn before one comes again: a short run shows as many as it can.
    let mut waiting: Vec<Kind> = Vec::new();
    while Instant::now() < until {
        if waiting.len() < TOGETHER_MAX {
            let mut more = kinds.to_vec();
            dice.shuffle(&mut more);
            waiting.extend(more);
        }
        round(scene, dice, &mut waiting, &mut tally)?;
        let quiet_s = if dice.once_in(4) { dice.between(6.0, 12.0) } else { dice.between(1.0, 4.0) };
        last(scene, &mut [], Duration::from_secs_f64(quiet_s))?;
    }
    Ok(tally)
}

fn round(
    scene: &mut Scene,
    dice: &mut Dice,
    waiting: &mut Vec<Kind>,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let kinds = choose(dice, waiting);
    let mut victims = scene.everyone();
    dice.shuffle(&mut victims);
    let mut struck = Vec::new();
    for kind in kinds {
        // Whoever is struck now is the last in turn. What cannot strike the witness passes it by.
        let fits = |victim: &String| kind.strikes_a_witness() || !scene.is_witness(victim);
        let Some(at) = victims.iter().position(fits) else { continue };
        let victim = victims.remove(at);
        scene.say(&format!("{} at {victim}", kind.name()));
        struck.push((kind, Instant::now(), strike(scene, dice, kind, &victim)?));
        victims.push(victim);
        last(scene, &mut struck, Duration::from_secs_f64(dice.between(0.0, 1.5)))?;
    }
    last(scene, &mut struck, Duration::from_secs_f64(dice.between(2.0, 10.0)))?;
    dice.shuffle(&mut struck);
    struck.sort_by_key(|(kind, ..)| kind.turn());
    for (kind, since, fault) in struck {
        let toll = tally.entry(kind).or_default();
        let done = undo(scene, fault)?;
        toll.seconds += since.elapsed().as_secs_f64();
        let times = if done { &mut toll.struck } else { &mut toll.given_up };
        *times += 1;
        let word = if done { "over" } else { "given up" };
        scene.say(&format!("{} {word}", kind.name()));
    }
    Ok(())
}

/// The next kinds that can go together.
fn choose(dice: &mut Dice, waiting: &mut Vec<Kind>) -> Vec<Kind> {
    let mut chosen: Vec<Kind> = Vec::new();
    let count = 1 + dice.below(TOGETHER_MAX);
    let mut at = 0;
    while chosen.len() < count && at < waiting.len() {
        if chosen.iter().all(|one| goes_with(*one, waiting[at])) {
            chosen.push(waiting.remove(at));
        } else {
            at += 1;
        }
    }
    chosen
}

fn goes_with(one: Kind, other: Kind) -> bool {
    let processes = |reach| matches!(reach, Reach::Site | Reach::Cluster);
    let (a, b) = (one.reach(), other.reach());
    let whole = a == Reach::Cluster && processes(b) || b == Reach::Cluster && processes(a);
    // Both change the same links; the one undone first would undo the other.
    let links = a == Reach::Links && b == Reach::Links;
    let disks = one.loses_a_disk() && other.loses_a_disk();
    // Who is to be fenced must leave a majority that can agree on it.
    let fenced = |kind, reach| kind == Kind::CutUntilFenced && reach == Reach::Cluster;
    !whole && !links && !disks && !fenced(one, b) && !fenced(other, a)
}

/// Lets time pass, with an eye on the sites.
fn last(scene: &mut Scene, struck: &mut [(Kind, Instant, Struck)], time: Duration) -> anyhow::Result<()> {
    let until = Instant::now() + time;
    while Instant::now() < until {
        interrupt::sleep(TICK)?;
        struck.iter_mut().try_for_each(|(_, _, fault)| tick(scene, fault))?;
        scene.look_after()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{TOGETHER_MAX, choose, goes_with};
    use crate::dice::Dice;
    use crate::fault::{Kind, Reach};

    #[test]
    fn every_kind_has_its_turn_and_none_gets_into_anothers_way() {
        let mut dice = Dice::new(1);
        let mut waiting = Kind::ALL.to_vec();
        let mut seen = Vec::new();
        while !waiting.is_empty() {
            let round = choose(&mut dice, &mut waiting);
            assert!((1..=TOGETHER_MAX).contains(&round.len()));
            let whole = round.iter().filter(|kind| kind.reach() == Reach::Cluster).count();
            let single = round.iter().filter(|kind| kind.reach() == Reach::Site).count();
            assert!(whole == 0 || whole + single == 1, "{round:?}");
            seen.extend(round);
        }
        seen.sort();
        assert_eq!(seen, Kind::ALL);
        assert!(goes_with(Kind::Kill, Kind::Loss) && !goes_with(Kind::Flap, Kind::Loss));
        assert!(!goes_with(Kind::Wipe, Kind::Restore));
        assert!(
            !goes_with(Kind::CutUntilFenced, Kind::PowerCutAll)
                && goes_with(Kind::CutUntilFenced, Kind::Pause)
        );
    }
}
