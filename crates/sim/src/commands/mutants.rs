//! How many seeds each bug on purpose survives.

use std::collections::BTreeMap;
use std::fmt;

use super::threads;
use crate::exhaust::shared_out;
use crate::{Mutant, Options, run};

/// How many seeds may pass before a bug counts as not found.
pub const SEEDS_MAX: u64 = 2_000;
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

/// Looks for those that are named, or for all if none is, and prints a table, each row when it is there: the whole takes long.
///
/// # Errors
/// The names of those that were not found, or a name that is none.
pub fn mutants(names: &[String]) -> Result<(), String> {
    let named = |name: &String| Mutant::named(name).ok_or(format!("no mutant is called {name}"));
    let named = names.iter().map(named).collect::<Result<Vec<Mutant>, String>>()?;
    let wanted = if named.is_empty() { Mutant::ALL.to_vec() } else { named };
    // What a bug makes a site say in its last words is in its violation.
    std::panic::set_hook(Box::new(|_| {}));
    println!(
        "| bug | with faults | seeds until found (median of {TRIALS}) | most | broke |\n| --- | --- | ---: | ---: | --- |"
    );
    let parts = shared_out(threads(), wanted.len() as u64, |numbers| {
        let missed = |number: u64| {
            let found = found(wanted[number as usize]);
            println!("{found}");
            found.median().is_none().then(|| found.mutant.to_string())
        };
        numbers.filter_map(missed).collect::<Vec<String>>()
    });
    let missed = parts.concat();
    if missed.is_empty() { Ok(()) } else { Err(format!("not found: {}", missed.join(", "))) }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = self.seeds.iter().map(|seeds| seeds.unwrap_or(u64::MAX)).max().unwrap_or(0);
        let number = |seeds: Option<u64>| seeds.map_or(format!("> {SEEDS_MAX}"), |seeds| seeds.to_string());
        let by = self.by.iter().map(|(invariant, times)| format!("{invariant} ({times})"));
        write!(
            f,
            "| {} | {:?} | {} | {} | {} |",
            self.mutant,
            self.mutant.needs(),
            number(self.median()),
            number(Some(most).filter(|most| *most < u64::MAX)),
            by.collect::<Vec<String>>().join(", ")
        )
    }
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
