//! The emulator as a program of its own: `wan serve` runs a topology, `wan accuracy` says how true it is here.
//!
//! Commands to a served emulator come one per line on standard input or over a Unix socket, answers likewise:
//! `ok`, one line of text or JSON, or `error: …`.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Parser, Subcommand};
use wan::{Accuracy, AccuracyPlan, Emulator, Reply, Topology};

/// A wide-area network on one machine, without root.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Emulate the links of a topology file until told to quit, or until standard input ends.
    Serve {
        /// The topology (see the head of topology.rs for its form).
        #[arg(long)]
        topology: PathBuf,
        /// Take commands on this Unix socket instead of standard input, one conversation after the other.
        #[arg(long)]
        socket: Option<PathBuf>,
    },
    /// Measure the error of the emulated delays on this machine.
    Accuracy {
        /// Packets each second; several are measured one after the other.
        #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000])]
        rates: Vec<u32>,
        /// Seconds for each rate.
        #[arg(long, default_value_t = 5)]
        seconds: u32,
        /// Emulated one-way delay.
        #[arg(long, default_value_t = 50.0)]
        delay_ms: f64,
        /// UDP payload of each packet.
        #[arg(long, default_value_t = 1_200)]
        payload_bytes: usize,
        /// Write the JSON to this file instead of below the table.
        #[arg(long)]
        json: Option<PathBuf>,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Serve { topology, socket } => serve(&topology, socket.as_deref()),
        Command::Accuracy { rates, seconds, delay_ms, payload_bytes, json } => {
            let plan = AccuracyPlan { packets_per_s: 0, seconds, delay_ms, payload_bytes, direct: false };
            accuracy(&rates, plan, json.as_deref())
        }
    }
}

fn serve(topology: &Path, socket: Option<&Path>) -> anyhow::Result<()> {
    let emulator = Emulator::start(&Topology::load(topology)?)?;
    print_gates(&emulator)?;
    if let Some(path) = socket {
        let listener =
            UnixListener::bind(path).with_context(|| format!("cannot listen on {}", path.display()))?;
        let ended = listen(&listener, &emulator);
        std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
        return ended;
    }
    converse(std::io::stdin().lock(), std::io::stdout(), &emulator).map(drop)
}

fn print_gates(emulator: &Emulator) -> anyhow::Result<()> {
    for from in emulator.sites() {
        for to in emulator.sites().iter().filter(|to| *to != from) {
            println!("{from} reaches {to} at {}", emulator.address(from, to)?);
        }
    }
    Ok(())
}

/// Serves one conversation after the other, until one says `quit`.
fn listen(listener: &UnixListener, emulator: &Emulator) -> anyhow::Result<()> {
    for stream in listener.incoming() {
        let stream: UnixStream = stream.context("cannot accept on the command socket")?;
        let answers = stream.try_clone().context("cannot answer on the command socket")?;
        if converse(BufReader::new(stream), answers, emulator)? {
            return Ok(());
        }
    }
    Ok(())
}

/// Answers lines until they end (false) or one says `quit` (true).
fn converse(lines: impl BufRead, mut answers: impl Write, emulator: &Emulator) -> anyhow::Result<bool> {
    for line in lines.lines() {
        let answer = match wan::obey(emulator, &line?) {
            Ok(Reply::Quit) => return Ok(true),
            Ok(Reply::Done) => "ok".to_owned(),
            Ok(Reply::Text(text)) => text,
            Err(error) => format!("error: {error}"),
        };
        writeln!(answers, "{answer}")?;
    }
    Ok(false)
}

fn accuracy(rates: &[u32], plan: AccuracyPlan, json: Option<&Path>) -> anyhow::Result<()> {
    let mut results = Vec::new();
    println!(
        "{:>9} {:<9} {:>9} {:>9} {:>9} {:>9}  missing",
        "packets/s", "path", "p50 µs", "p99 µs", "p99.9 µs", "max µs"
    );
    for packets_per_s in rates {
        for direct in [true, false] {
            let result = wan::measure(AccuracyPlan { packets_per_s: *packets_per_s, direct, ..plan })?;
            print_result(&result);
            results.push(result);
        }
    }
    let text = serde_json::to_string_pretty(&results)?;
    if let Some(result) = results.last() {
        println!("scheduled: {:?}", result.urgency);
    }
    if let Some(path) = json {
        return std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()));
    }
    println!("{text}");
    Ok(())
}

fn print_result(result: &Accuracy) {
    let rate = result.plan.packets_per_s;
    let row = |path: &str, lateness: wan::Lateness, missing: u64| {
        let wan::Lateness { p50_us, p99_us, p999_us, max_us, .. } = lateness;
        println!("{rate:>9} {path:<9} {p50_us:>9.1} {p99_us:>9.1} {p999_us:>9.1} {max_us:>9.1}  {missing}");
    };
    row(if result.plan.direct { "direct" } else { "emulated" }, result.error, result.missing_packets);
    if let Some(own) = result.emulator {
        row("  of it", own, 0);
    }
}
