//! `sim exhaust`: the large cases, counted out to the last, with their counts.

use std::time::Instant;

use super::threads;
use crate::exhaust::{crash, damage};

/// Goes through everything; `only` names one part (`flips`, `cuts`, `crash`).
///
/// # Errors
/// The first case that broke an invariant.
pub fn exhaust(only: Option<&str>) -> Result<(), String> {
    let threads = threads();
    let wal = damage::Wanted { bytes: 1 << 20, segment_bytes: 256 << 10, threads };
    let life = crash::Wanted { rounds: 16, open_max: 12, threads };
    let wants = |part| only.is_none_or(|only| only == part);
    if wants("crash") {
        tell("every crash", || crash::everywhere(life))?;
    }
    if wants("cuts") {
        tell("every cut", || damage::cuts(wal, false))?;
        tell("every cut, under a checkpoint", || damage::cuts(wal, true))?;
    }
    if wants("flips") {
        tell("every flipped bit", || damage::flips(wal, false))?;
        tell("every flipped bit, under a checkpoint", || damage::flips(wal, true))?;
    }
    Ok(())
}

fn tell<T: std::fmt::Display>(what: &str, run: impl FnOnce() -> Result<T, String>) -> Result<(), String> {
    let began = Instant::now();
    let counts = run()?;
    println!("{what}: {counts} ({:.0} s)", began.elapsed().as_secs_f64());
    Ok(())
}
