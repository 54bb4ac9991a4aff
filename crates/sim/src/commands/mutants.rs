//! How many seeds each bug on purpose survives.

use std::collections::BTreeMap;

use super::threads;
use crate::exhaust::shared_out;
use crate::{Mutant, Options, run};

/// How many seeds may pass before a bug counts as not found.
pub const SEEDS_MAX: u64 = 400;
/// How often it is looked for, each time from another seed on.
const TRIALS: u64 = 5;

/// A bug, and how it was found.
#[derive(Debug, Clone)]
pub struct Found {
    /// The bug.
    pub mutant: Mutant,
    /// How many seeds each trial took; `None` where they were not enough.
    pub seeds: Vec<Option<u64>>,
    /// Which invariants were broken, and how often.
    pub by: BTreeMap<String, u64>,
}

impl Found {
    /// Half of the trials took at most this many; `None` if half found nothing.
    #[must_use]
    pub fn median(&self) -> Option<u64> {
        let mut seeds: Vec<u64> = self.seeds.iter().map(|seeds| seeds.unwrap_or(u64::MAX)).collect();
        seeds.sort_unstable();
        seeds.get(seeds.len() / 2).copied().filter(|seeds| *seeds < u64::MAX)
    }
}

/// Looks for one bug from `first` on: how many seeds that took, and what was broken. A seed that breaks something without
/// the bug too says nothing about it.
#[must_use]
pub fn look_for(mutant: Mutant, first: u64) -> Option<(u64, &'static str)> {
    let (sites, also) = (mutant.sites(), mutant.needs().to_vec());
    let sound = Options { sites, also, ..Options::default() };
    let options = Options { mutant: Some(mutant), ..sound.clone() };
    (0..SEEDS_MAX).find_map(|number| {
        let failure = run(first + number, &options).err()?;
        run(first + number, &sound).ok()?;
        Some((number + 1, failure.violation.invariant))
    })
}

/// Looks for all of them and prints a table.
///
/// # Errors
/// The names of those that were not found.
pub fn mutants() -> Result<(), String> {
    // What a bug makes a site say in its last words is in its violation.
    std::panic::set_hook(Box::new(|_| {}));
    let parts = shared_out(threads(), Mutant::ALL.len() as u64, |numbers| {
        numbers.map(|number| (number, found(Mutant::ALL[number as usize]))).collect::<Vec<_>>()
    });
    let all: BTreeMap<u64, Found> = parts.into_iter().flatten().collect();
    println!(
        "| bug | with faults | seeds until found (median of {TRIALS}) | most | broke |\n| --- | --- | ---: | ---: | --- |"
    );
    for found in all.values() {
        let most = found.seeds.iter().map(|seeds| seeds.map_or(u64::MAX, |seeds| seeds)).max().unwrap_or(0);
        let number = |seeds: Option<u64>| seeds.map_or(format!("> {SEEDS_MAX}"), |seeds| seeds.to_string());
        let by: Vec<String> =
            found.by.iter().map(|(invariant, times)| format!("{invariant} ({times})")).collect();
        println!(
            "| {} | {:?} | {} | {} | {} |",
            found.mutant,
            found.mutant.needs(),
            number(found.median()),
            number(Some(most).filter(|most| *most < u64::MAX)),
            by.join(", ")
        );
    }
    let missed = all.values().filter(|found| found.median().is_none());
    let missed: Vec<String> = missed.map(|found| found.mutant.to_string()).collect();
    if missed.is_empty() { Ok(()) } else { Err(format!("not found: {}", missed.join(", "))) }
}

fn found(mutant: Mutant) -> Found {
    let mut found = Found { mutant, seeds: Vec::new(), by: BTreeMap::new() };
    for trial in 0..TRIALS {
        let outcome = look_for(mutant, trial * 10_000);
        found.seeds.push(outcome.map(|(seeds, _)| seeds));
        if let Some((_, invariant)) = outcome {
            *found.by.entry(invariant.to_owned()).or_default() += 1;
        }
    }
    found
}
