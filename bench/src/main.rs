//! What Meridian takes, beside what it could not do without: the machine's own limits, the speed of light, an empty emulator.
//!
//! Every command starts real processes of the `meridian` binary, with the link emulator between them, and drives them through
//! the Kafka protocol; with `--bootstrap` the same driver is pointed at any Kafka-compatible system instead. A run prints
//! tables, and with `--results DIR` also leaves them there as text, JSON and one HTML page that needs nothing else.
//!
//! | module | what it is for |
//! | --- | --- |
//! | latency, local_ack, isolated, catch_up, death, restart, join, throughput, wan_link | one command each |
//! | target, load, fill, pace, watch, control, burn | whom to drive, and how |
//! | theory, limits | what the figures stand beside |
//! | quantiles, usage, machine | measuring |
//! | report, text, html, svg | showing |
//!
//! It asserts nothing about time: bars are printed with what was measured, and a reader judges.

mod burn;
mod catch_up;
mod control;
mod death;
mod fill;
mod html;
mod isolated;
mod join;
mod latency;
mod limits;
mod load;
mod local_ack;
mod machine;
mod options;
mod pace;
mod quantiles;
mod report;
mod restart;
mod svg;
mod target;
mod text;
mod theory;
mod throughput;
mod usage;
mod wan_link;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::options::Output;
use crate::report::Report;

/// Measures clusters, beside what the machine and the speed of light allow.
#[derive(Debug, Parser)]
#[command(name = "bench", version, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// How long until a record is acknowledged, and until it is readable at every other site
    Latency(latency::Latency),
    /// Local acknowledgement with far sites against near sites, interleaved
    LocalAck(local_ack::LocalAck),
    /// Local acknowledgement at a site that is cut off from all others, against before the cut
    Isolated(isolated::Isolated),
    /// How long a site needs after a heal until it holds what was written meanwhile
    CatchUp(catch_up::CatchUp),
    /// How long the merged log stands still when a region dies
    Death(death::Death),
    /// How long a killed site with much on its disk needs until it serves again
    Restart(restart::Restart),
    /// How fast a site without data takes over what others hold, and what that costs those who write there
    Join(join::Join),
    /// How much is written, replicated and read in a second, beside the disk's and the loopback's limits
    Throughput(throughput::Throughput),
    /// What one link carries, against distance and loss; what two make of one bottleneck; what a byte costs
    Wan(wan_link::Wan),
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { command, output } = arguments;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let report: Report = runtime.block_on(async {
        match command {
            Command::Latency(command) => Box::pin(command.run()).await,
            Command::LocalAck(command) => Box::pin(command.run()).await,
            Command::Isolated(command) => Box::pin(command.run()).await,
            Command::CatchUp(command) => Box::pin(command.run()).await,
            Command::Death(command) => Box::pin(command.run()).await,
            Command::Restart(command) => Box::pin(command.run()).await,
            Command::Join(command) => Box::pin(command.run()).await,
            Command::Throughput(command) => Box::pin(command.run()).await,
            Command::Wan(command) => Box::pin(command.run()).await,
        }
    })?;
    output.write(&report)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Arguments::command().debug_assert();
    }
}
