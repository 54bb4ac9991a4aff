//! The simulator by hand: many seeds, or one with its trace.
//!
//! `sim --seeds 1000 --start 0 --sites 3 --steps 6000` runs seed after seed and stops at the first failure;
//! `sim --seed 17 --trace` runs one and prints every line;
//! `sim exhaust [flips|cuts|crash]` goes through every hurt WAL and every crash of a short life.

use std::process::ExitCode;

use sim::{Options, run};

struct Wanted {
    first: u64,
    count: u64,
    options: Options,
    goes_on: bool,
}

fn wanted() -> Result<Wanted, String> {
    let mut wanted = Wanted { first: 0, count: 200, options: Options::default(), goes_on: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number =
            || words.next().and_then(|word| word.parse::<u64>().ok()).ok_or(format!("{word} needs a number"));
        match word.as_str() {
            "--seeds" => wanted.count = number()?,
            "--start" => wanted.first = number()?,
            "--seed" => (wanted.first, wanted.count) = (number()?, 1),
            "--sites" => {
                wanted.options.sites = u16::try_from(number()?).map_err(|error| error.to_string())?;
            }
            "--steps" => wanted.options.steps = number()?,
            "--restore" => wanted.options.also = vec![sim::swarm::Kind::Restore],
            "--trace" => wanted.options.prints = true,
            "--go-on" => wanted.goes_on = true,
            other => {
                return Err(format!(
                    "{other}? known: --seeds --start --seed --sites --steps --restore --trace --go-on"
                ));
            }
        }
    }
    Ok(wanted)
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        Some("exhaust") => said(sim::commands::exhaust::exhaust(words.get(1).map(String::as_str))),
        _ => seeds(),
    }
}

fn said(outcome: Result<(), String>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn seeds() -> ExitCode {
    let wanted = match wanted() {
        Ok(wanted) => wanted,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let (mut steps, mut true_us, mut acknowledged, mut failures) = (0, 0, 0, 0);
    for seed in wanted.first..wanted.first + wanted.count {
        match run(seed, &wanted.options) {
            Ok(report) => {
                steps += report.steps;
                true_us += report.true_us;
                acknowledged += report.batches.1;
                if wanted.count == 1 {
                    println!("{report:?}");
                }
            }
            Err(failure) if wanted.goes_on => {
                failures += 1;
                println!("seed {seed}: {}", failure.violation);
            }
            Err(failure) => {
                println!("{failure}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!(
        "{} seeds, {failures} failed: {steps} steps, {} s of their time, {acknowledged} batches acknowledged",
        wanted.count,
        true_us / 1_000_000
    );
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
