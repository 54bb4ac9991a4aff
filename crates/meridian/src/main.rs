//! The `meridian` binary: commands and their output, and no rules.
//!
//! Each command is a file in `commands/`, with its arguments beside what it does. A command speaks the Kafka API where there
//! is one (`connect`), else a site's admin API. Answers for people are aligned tables (`table`); with `--json`, one JSON
//! value or one per line (`output`). What takes long shows on a terminal how far it has come (`progress`).
//!
//! | exit code | meaning |
//! | --- | --- |
//! | 0 | done |
//! | 1 | it could not be done; one sentence on stderr says why and what to do |
//! | 2 | the command line was not understood |
//! | 3 | `verify` found logs that differ |
//! | 74 | the disk failed while serving: start again, it recovers |

mod commands;
mod connect;
mod demo;
mod output;
mod progress;
mod table;

use std::process::ExitCode;

use clap::Parser;

use crate::commands::Command;

/// A queue whose every region is the leader.
///
/// `meridian serve` runs a site. All other commands look at or change a running cluster; they take --json for answers that
/// programs can read.
#[derive(Debug, Parser)]
#[command(name = "meridian", version, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(commands::run(arguments.command));
            // A read of stdin that is still under way must not hold the exit up.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(code) => code,
        Err(error) if output::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("meridian: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Arguments;

    #[test]
    fn the_command_line_is_well_formed_and_every_command_says_what_it_does() {
        let command = Arguments::command();
        command.clone().debug_assert();
        let mut waiting = vec![command];
        while let Some(command) = waiting.pop() {
            assert!(command.get_about().is_some(), "{} says nothing of itself", command.get_name());
            for argument in command.get_arguments() {
                let about = argument.get_help().is_some();
                assert!(about, "{} {} says nothing of itself", command.get_name(), argument.get_id());
            }
            waiting.extend(command.get_subcommands().cloned());
        }
    }
}
