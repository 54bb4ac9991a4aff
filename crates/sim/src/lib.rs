//! N sites in one process, under injected faults, with checkers.
//!
//! The sites are the very machines that ship (`site::Site`); everything around them is made here: disks that lose what
//! was not synced, links that die half-way, clocks that are wrong, processes that end between two actions. One seed is
//! one run, and the same run every time. After the faults everything is repaired, and then all sites must agree within a stated time.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `world` | the queue of what is due, and its steps |
//! | `shell`, `host` | what a real shell does: disk work, sends, replies, links |
//! | `disk`, `net`, `clock`, `rng` | the hostile parts |
//! | `notary` | signatures that only pretend, and the forger |
//! | `swarm`, `faults`, `machines` | what goes wrong in a run, carrying it out, and who starts again |
//! | `operator`, `force` | who changes the members, and who goes on without those that are lost |
//! | `witness` | a witness, and what happens to it and to halves |
//! | `upkeep` | records that are deleted, low disks, floods, new versions |
//! | `client`, `traffic`, `submission` | clients and what they want |
//! | `checkers/` | the invariants, by number |
//! | `exhaust/` | what is gone through to the last case instead of by chance |
//! | `mutant` | bugs on purpose, which the checkers must find |
//! | `trace` | one line per event, and a hash over them |
//!
//! What it cannot tell: anything about kernels, file systems, TLS, threads. The disk model is our belief.

mod at_rest;
pub mod checkers;
pub mod client;
pub mod clock;
pub mod commands;
pub mod disk;
pub mod exhaust;
mod faults;
mod force;
pub mod host;
mod machines;
mod mutant;
pub mod net;
pub mod notary;
mod operator;
#[cfg(test)]
mod planted;
pub mod rng;
mod shell;
pub mod submission;
pub mod swarm;
pub mod trace;
mod traffic;
mod upkeep;
mod witness;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use checkers::{Checked, Verdict, Violation, broken};
use entry::SiteId;
pub use mutant::Mutant;
use swarm::Kind;
use trace::Lines;
use world::World;

/// How long the sites may take to agree once faults have ended, in microseconds of their time.
const AGREE_WITHIN_US: u64 = 60_000_000;
/// The same while something still comes over from another: over the slowest links with the smallest windows that takes minutes.
const ALL_OVER_WITHIN_US: u64 = 600_000_000;
/// How long it may take to go on without sites that are lost, and to have them back one by one, in microseconds.
const FORCED_WITHIN_US: u64 = 240_000_000;

/// What kind of run.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many sites.
    pub sites: u16,
    /// How many steps before the faults end.
    pub steps: u64,
    /// What is done with the lines of the trace.
    pub lines: Lines,
    /// A bug to put in.
    pub mutant: Option<Mutant>,
    /// Faults that happen whatever the seed says.
    pub also: Vec<Kind>,
    /// Only the faults of old: what seeds that once found a bug mean by themselves.
    pub plain: bool,
    /// Whether in the end only a majority is healed, and the rest stay dead.
    pub core_only: bool,
    /// Faults that are left out, by their number in the run.
    pub without: BTreeSet<u64>,
    /// Clients that are left out.
    pub without_clients: BTreeSet<usize>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            sites: 3,
            steps: 6_000,
            lines: Lines::default(),
            mutant: None,
            also: Vec::new(),
            plain: false,
            core_only: false,
            without: BTreeSet::new(),
            without_clients: BTreeSet::new(),
        }
    }
}

impl Options {
    /// The witness, where there is one: the last of the sites.
    #[must_use]
    pub fn witness(&self) -> Option<SiteId> {
        self.also.contains(&Kind::Witness).then_some(SiteId(self.sites))
    }

    /// The sites that found the cluster: all but the witness.
    #[must_use]
    pub fn founders(&self) -> Vec<SiteId> {
        let witness = self.witness();
        (1..=self.sites).map(SiteId).filter(|site| Some(*site) != witness).collect()
    }
}

/// What a run was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The hash of its trace.
    pub hash: u64,
    /// Steps taken.
    pub steps: u64,
    /// Simulated time, in microseconds.
    pub true_us: u64,
    /// Entries in all journals.
    pub entries: usize,
    /// Batches sent, and acknowledged.
    pub batches: (usize, usize),
    /// How often each kind of fault struck.
    pub struck: BTreeMap<Kind, u64>,
    /// How many faults there were.
    pub faults: u64,
    /// How often each invariant was held against something.
    pub checked: Checked,
    /// Whether the sites did not agree in the end, since nobody was left to write in the order (decision 0015).
    pub waits_for_operator: bool,
}

/// A run that broke an invariant.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// How many sites there were, and steps before the faults ended.
    pub options: Options,
    /// What was broken.
    pub violation: Violation,
    /// The last lines of the trace, if they were kept.
    pub trace: Vec<String>,
    /// Steps taken, and faults there were.
    pub steps: u64,
    /// How many faults there were.
    pub faults: u64,
    /// How many clients there were.
    pub clients: usize,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "seed {} broke {}", self.seed, self.violation)?;
        write!(f, "again: cargo xtask sim --seed {} {} --trace", self.seed, self.options)
    }
}

impl std::error::Error for Failure {}

impl fmt::Display for Options {
    /// The words that ask for them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--sites {} --steps {}", self.sites, self.steps)?;
        for (word, wanted) in [("--plain", self.plain), ("--core", self.core_only)] {
            if wanted {
                write!(f, " {word}")?;
            }
        }
        if !self.also.is_empty() {
            let kinds: Vec<String> = self.also.iter().map(|kind| format!("{kind:?}")).collect();
            write!(f, " --also {}", kinds.join(","))?;
        }
        if let Some(mutant) = self.mutant {
            write!(f, " --mutant {mutant}")?;
        }
        for (word, numbers) in [
            ("--without", self.without.iter().copied().collect::<Vec<u64>>()),
            ("--without-clients", self.without_clients.iter().map(|number| *number as u64).collect()),
        ] {
            if !numbers.is_empty() {
                let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
                write!(f, " {word} {}", numbers.join(","))?;
            }
        }
        Ok(())
    }
}

/// Runs one seed.
///
/// # Errors
/// [`Failure`] if an invariant did not hold, or the machine panicked.
pub fn run(seed: u64, options: &Options) -> Result<Report, Box<Failure>> {
    checkers::begin_count();
    let mut world = World::new(seed, options.clone());
    let verdict = catch_unwind(AssertUnwindSafe(|| whole(&mut world)));
    let verdict = verdict.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        broken("assertion", text.unwrap_or_default())
    });
    match verdict {
        Ok(()) => Ok(Report {
            hash: world.trace.hash(),
            steps: world.steps,
            true_us: world.now_us,
            entries: world.checkers.truth.entries(),
            batches: (world.checkers.submissions.len(), world.checkers.submissions.acknowledged()),
            struck: world.struck,
            faults: world.faults,
            checked: checkers::counted(),
            waits_for_operator: world.waits_for_operator,
        }),
        Err(violation) => {
            let (options, trace) = (options.clone(), world.trace.tail());
            let (steps, faults, clients) = (world.steps, world.faults, world.clients.len());
            Err(Box::new(Failure { seed, options, violation, trace, steps, faults, clients }))
        }
    }
}

fn whole(world: &mut World) -> Verdict {
    world.run_steps(world.options.steps)?;
    world.calm_down()?;
    let until_us = world.now_us + FORCED_WITHIN_US;
    while world.forces() {
        world.run_steps(10)?;
        checkers::ensure(world.now_us <= until_us, "I-16", || {
            let force = &world.operator.force;
            format!("what was decided by force is not carried out: {force:?}")
        })?;
    }
    let until_us = world.now_us + AGREE_WITHIN_US;
    while world.options.core_only && !world.bury()? {
        world.run_steps(10)?;
        if world.now_us > until_us {
            return world.unless_nobody_writes(checkers::broken("I-47", "no majority came back"));
        }
    }
    let (mut until_us, latest_us) = (world.now_us + AGREE_WITHIN_US, world.now_us + ALL_OVER_WITHIN_US);
    let mut come_over = world.come_over();
    loop {
        world.run_steps(100)?;
        world.see_what_is_mended();
        let verdict = world.agree();
        if verdict.is_ok() {
            alone(world, verdict)?;
            return world.read_all_again();
        }
        let before = std::mem::replace(&mut come_over, world.come_over());
        if come_over > before {
            until_us = latest_us.min(world.now_us + AGREE_WITHIN_US);
        }
        if world.now_us > until_us {
            let verdict = alone(world, verdict);
            return world.unless_nobody_writes(verdict);
        }
    }
}

/// What a majority alone has come to in time is held against I-47: if it does not agree, it is that number.
fn alone(world: &World, verdict: Verdict) -> Verdict {
    match verdict {
        Err(found) if found.invariant != "I-16" => Err(found),
        verdict if world.options.core_only => checkers::ensure(verdict.is_ok(), "I-47", || {
            verdict.map_or_else(|found| found.seen, |()| String::new())
        }),
        verdict => verdict,
    }
}
