//! Seed after seed, or one with its trace.

use super::{Wanted, shrink};
use crate::run;

/// Runs them.
///
/// # Errors
/// The first failure, or how many there were.
pub fn seeds(wanted: &Wanted) -> Result<(), String> {
    let (mut steps, mut true_us, mut acknowledged, mut failures, mut waiting) = (0, 0, 0, 0, 0);
    for seed in wanted.first..wanted.first + wanted.count {
        match run(seed, &wanted.options) {
            Ok(report) => {
                steps += report.steps;
                true_us += report.true_us;
                acknowledged += report.batches.1;
                waiting += u64::from(report.waits_for_operator);
                if wanted.count == 1 {
                    println!("{report:?}");
                }
            }
            Err(failure) if wanted.shrinks => return Err(shrink::shrunk(*failure)),
            Err(failure) if wanted.goes_on => {
                failures += 1;
                println!("seed {seed}: {}", failure.violation);
            }
            Err(failure) => return Err(shrink::with_trace(&failure)),
        }
    }
    println!(
        "{} seeds, {failures} failed, {waiting} ended with nobody left to write in the order (decision 0015): {steps} steps, \
         {} s of their time, {acknowledged} batches acknowledged",
        wanted.count,
        true_us / 1_000_000
    );
    if failures == 0 { Ok(()) } else { Err(format!("{failures} seeds failed")) }
}
