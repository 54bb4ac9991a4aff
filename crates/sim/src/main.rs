//! The simulator by hand.
//!
//! - `sim --seeds 1000 --start 0 --sites 3 --steps 6000` runs seed after seed and stops at the first failure;
//!   `sim --seed 17 --trace` runs one and prints every line; `--shrink` brings a failure down to what it takes.
//! - `sim long` is the long run: seeds of every size for an hour (or `--minutes 10`, `--hours 2`), each twice.
//! - `sim mutants [NAME …]` says how many seeds each bug on purpose survives, or each of those that are named.
//! - `sim exhaust [flips|cuts|crash|all] [KIB] [N/OF]` goes through every hurt WAL (of 1024 KiB, unless it says otherwise) and
//!   every crash of a short life; through the N-th of so many shares of the hurt ones, where that would take too long.

use std::process::ExitCode;

use sim::commands::{Wanted, exhaust, long, mutants, seeds};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match words.first().map(String::as_str) {
        Some("exhaust") => exhaust::exhaust(&words[1..]),
        Some("mutants") => mutants::mutants(&words[1..]),
        _ => runs(&words),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn runs(words: &[String]) -> Result<(), String> {
    let wanted = Wanted::read(words)?;
    match wanted.minutes {
        Some(minutes) => long::long(&wanted, minutes),
        None => seeds::seeds(&wanted),
    }
}
