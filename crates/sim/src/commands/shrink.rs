//! A failed seed, shrunk: the fewest faults, clients and steps with which it still breaks the same invariant.
//!
//! A fault that is left out is drawn all the same, so that those behind it stay what they were. Halves are left out first,
//! then quarters, and so on to single ones, again and again while something goes.

use std::collections::BTreeSet;

use crate::trace::Lines;
use crate::{Failure, Options, run};

/// How many runs a shrinking may take.
const RUNS_MAX: usize = 400;

/// The failure again, with the trace that a run without lines does not have.
pub(super) fn with_trace(failure: &Failure) -> String {
    if !failure.trace.is_empty() {
        return failure.to_string();
    }
    let options = Options { lines: Lines::Kept, ..failure.options.clone() };
    match run(failure.seed, &options) {
        Err(again) if again.violation == failure.violation => again.to_string(),
        Err(again) => format!("{again}\nI-53: at first it broke {}", failure.violation),
        Ok(_) => format!("{failure}\nI-53: run again, it broke nothing"),
    }
}

/// The smallest failure that could be found, with its trace.
pub(super) fn shrunk(failure: Failure) -> String {
    let mut shrinking = Shrinking { best: failure, runs: 0 };
    let (faults, clients, steps) = (shrinking.best.faults, shrinking.best.clients, shrinking.best.steps);
    shrinking.steps();
    shrinking.leave_out(faults, |options, without| options.without.extend(without));
    shrinking.leave_out(clients as u64, |options, without| {
        options.without_clients.extend(without.iter().map(|number| *number as usize));
    });
    shrinking.steps();
    let Options { without, without_clients, .. } = &shrinking.best.options;
    let kept = format!(
        "shrunk in {} runs: {} of {faults} faults, {} of {clients} clients, {} of {steps} steps",
        shrinking.runs,
        faults - without.len() as u64,
        clients - without_clients.len(),
        shrinking.best.steps
    );
    format!("{}\n{kept}", with_trace(&shrinking.best))
}

struct Shrinking {
    best: Failure,
    runs: usize,
}

impl Shrinking {
    /// Runs with these options; keeps them if the same invariant breaks.
    fn attempt(&mut self, options: &Options) -> bool {
        if self.runs >= RUNS_MAX {
            return false;
        }
        self.runs += 1;
        match run(self.best.seed, options) {
            Err(failure) if failure.violation.invariant == self.best.violation.invariant => {
                self.best = *failure;
                true
            }
            _ => false,
        }
    }

    /// Faults need not go on for longer than until it broke.
    fn steps(&mut self) {
        let steps = self.best.steps.min(self.best.options.steps);
        self.attempt(&Options { steps, ..self.best.options.clone() });
    }

    /// Leaves out as many of `0..count` as it can.
    fn leave_out(&mut self, count: u64, leave: impl Fn(&mut Options, &BTreeSet<u64>)) {
        let mut kept: Vec<u64> = (0..count).collect();
        let mut size = kept.len().max(1);
        while size > 0 && !kept.is_empty() {
            let mut at = 0;
            while at < kept.len() {
                let part: BTreeSet<u64> = kept[at..(at + size).min(kept.len())].iter().copied().collect();
                let mut options = self.best.options.clone();
                leave(&mut options, &part);
                if self.attempt(&options) {
                    kept.retain(|number| !part.contains(number));
                } else {
                    at += size;
                }
            }
            size /= 2;
        }
    }
}
