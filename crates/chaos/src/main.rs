//! Real sites, real clients, real faults: runs `meridian` binaries behind the link emulator, lets unmodified Kafka clients
//! write and read through everything that can be made to go wrong on one machine, and judges what they saw.
//!
//! The way of a run (`run`): sites are founded, each on a disk of its own (`disks`); Python clients start (`clients`); the
//! nemesis (`nemesis`) lets faults (`fault`, `strike`) strike by a seeded dice; then all is healed, the sites must become
//! alike, every log is read at every site (`ending`), the sites say where each batch stands and why (`evidence`), and the
//! checker of room `history` reads it all. What clients saw
//! depends on the machine, so a seed repeats the faults and not the run; diaries of a failed run are kept and can be judged
//! again with `--judge`.
//!
//! It kills only what it has started, and asks nothing of other machines.

mod clients;
mod dice;
mod disks;
mod ending;
mod evidence;
mod fault;
mod interrupt;
mod nemesis;
mod run;
mod scene;
mod shown;
mod strike;
mod tracer;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::fault::Kind;
use crate::interrupt::Interrupted;

/// Let real sites and real clients go through faults, and judge what they saw.
///
/// Exit code 1 means that something was found, or that the run could not be made. SIGINT and SIGTERM end it with all that it
/// started, and codes 130 and 143.
#[derive(Debug, Clone, Parser)]
#[command(name = "chaos", max_term_width = 110)]
pub(crate) struct Arguments {
    /// How long faults strike
    #[arg(long, default_value_t = 3.0)]
    minutes: f64,
    /// Chooses the faults
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Sites
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(3..=5))]
    sites: u8,
    /// Two sites and a witness
    #[arg(long, conflicts_with = "sites")]
    witness: bool,
    /// Records each second, of each writing client; there are two at each site
    #[arg(long, default_value_t = 15.0)]
    rate: f64,
    /// Only these faults, such as kill,pause; all that are possible by default
    #[arg(long, value_delimiter = ',', value_parser = Kind::parse)]
    faults: Vec<Kind>,
    /// The meridian binary; by default the one beside this one
    #[arg(long, value_name = "FILE")]
    meridian: Option<PathBuf>,
    /// A Python that has confluent-kafka and kafka-python
    #[arg(long, value_name = "FILE", default_value = "target/venv/bin/python")]
    python: PathBuf,
    /// Keep the run here; by default in the system's temporary folder
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Keep diaries and logs even if nothing is found
    #[arg(long)]
    keep: bool,
    /// Write the report to FILE.txt and FILE.json as well
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The first of 16 ports for the sites; some that are free by default, so that runs go beside each other
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=65_520))]
    port: Option<u16>,
    /// Only judge the diaries of a run that was kept
    #[arg(long, value_name = "DIR")]
    judge: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match &arguments.judge {
        Some(folder) => run::judge(&arguments, folder),
        None => run::run(&arguments),
    };
    match outcome {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("chaos: {error:#}");
            let told = error.downcast_ref::<Interrupted>();
            told.map_or(ExitCode::FAILURE, |told| ExitCode::from(told.exit_code()))
        }
    }
}
