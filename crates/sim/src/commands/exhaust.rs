//! `sim exhaust`: the large cases, counted out to the last, with their counts.

use std::time::Instant;

use super::threads;
use crate::exhaust::{crash, damage};

/// Rounds of the life in which the power goes: enough for commits, a rolled segment, a checkpoint and a grown topic.
const ROUNDS: u64 = 6;

/// What is gone through.
struct Wanted<'a> {
    /// One part (`flips`, `cuts`, `crash`) or `all`.
    part: &'a str,
    kib: usize,
    share: damage::Share,
}

impl Wanted<'_> {
    fn read(words: &[String]) -> Result<Wanted<'_>, String> {
        let word = |at: usize| words.get(at).map(String::as_str);
        let part = word(0).unwrap_or("all");
        if !["all", "flips", "cuts", "crash"].contains(&part) {
            return Err(format!("exhaust {part}? known: flips, cuts, crash, all"));
        }
        let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{text} is no number"));
        let kib = word(1).map_or(Ok(1024), number)?;
        let share =
            match word(2).map(|text| text.split_once('/').ok_or(format!("{text} is no share like 1/64"))) {
                None => damage::Share::WHOLE,
                Some(share) => {
                    let (number_of, of) = share?;
                    damage::Share { first: number(number_of)?.saturating_sub(1), of: number(of)?.max(1) }
                }
            };
        Ok(Wanted { part, kib: usize::try_from(kib).map_err(|error| error.to_string())?, share })
    }

    fn wants(&self, part: &str) -> bool {
        self.part == "all" || self.part == part
    }
}

/// Goes through everything, or one part; a WAL of so many KiB; a share of its cases.
///
/// # Errors
/// The first case that broke an invariant, or a word that is not understood.
pub fn exhaust(words: &[String]) -> Result<(), String> {
    let (wanted, threads) = (Wanted::read(words)?, threads());
    let wal = damage::Wanted {
        bytes: wanted.kib << 10,
        segment_bytes: (wanted.kib as u64) << 8,
        threads,
        share: wanted.share,
    };
    let life = crash::Wanted { rounds: ROUNDS, open_max: 12, threads };
    if wanted.wants("crash") {
        tell("every crash", || crash::everywhere(life))?;
    }
    let which = match wanted.share {
        damage::Share::WHOLE => "every".to_owned(),
        damage::Share { first, of } => format!("share {} of {of} of every", first + 1),
    };
    if wanted.wants("cuts") {
        tell(&format!("{which} cut"), || damage::cuts(wal, false))?;
        tell(&format!("{which} cut, under a checkpoint"), || damage::cuts(wal, true))?;
    }
    if wanted.wants("flips") {
        tell(&format!("{which} flipped bit"), || damage::flips(wal, false))?;
        tell(&format!("{which} flipped bit, under a checkpoint"), || damage::flips(wal, true))?;
    }
    Ok(())
}

fn tell<T: std::fmt::Display>(what: &str, run: impl FnOnce() -> Result<T, String>) -> Result<(), String> {
    let began = Instant::now();
    let counts = run()?;
    println!("{what}: {counts} ({:.0} s)", began.elapsed().as_secs_f64());
    Ok(())
}
