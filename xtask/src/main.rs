//! One door for automation, the same on a laptop and in CI: `cargo xtask <task>`.
//!
//! A task runs the tools one would run by hand and says which, so nothing here is magic. It refuses to hide output or to
//! go on after a failure. Few dependencies, so that the first task of a fresh clone starts soon.

mod fuzz;
mod python;
mod rooms;
mod run;

use std::process::ExitCode;

use anyhow::Context as _;

use crate::run::Step;

/// As much chaos as a test may take: with its quiet ends, below three minutes.
const CHAOS_IN_SHORT: [&str; 4] = ["--minutes", "1", "--seed", "7"];

const HELP: &str = "\
cargo xtask <task> [arguments]

  demo [--keep] [--regions 3|5] …   builds, then shows three regions as one queue (see `demo --help`)
  test [rust|e2e] [filter …]        all tests: the workspace's, real clients against real sites, a minute of chaos
  ci                                what must pass before a change is kept: format, lints, rooms, docs, all tests
  rooms                             checks which crate may depend on which
  bench <what> …                    benchmarks, in release (see `bench --help`)
  sim [--seeds N | --seed N] …      the simulator, at speed: so many seeds, or one again (what else: `sim --help`)
  sim long [--minutes N]            seeds of every size for an hour, or so long; each twice, and the first failure shrunk
  sim mutants | exhaust             every bug on purpose is found; every hurt WAL and every crash of a short life
  fuzz [seconds per target] [name]  libFuzzer on every decoder, on nightly; needs cargo-fuzz
  chaos [--minutes N] [--seed S] …  real sites and clients under faults, judged by their histories (see `chaos --help`)

`test` and `chaos` install what they need: the Python clients into target/venv; kcat, and strace for failing syncs, through
apt-get where they may. Faults of disks need root too (small file systems in files): what is left out is said.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut words = arguments.iter().map(String::as_str);
    let task = words.next().unwrap_or("help");
    let rest: Vec<&str> = words.collect();
    let outcome = match task {
        "demo" => demo(&rest),
        "test" => test(&rest),
        "ci" => ci(),
        "rooms" => rooms::check(),
        "bench" => run_in_release("bench", &rest),
        "sim" => sim(&rest),
        "fuzz" => fuzz::fuzz(&rest),
        "chaos" => chaos(&rest),
        "help" | "-h" | "--help" => {
            println!("{HELP}");
            Ok(())
        }
        unknown => Err(anyhow::anyhow!("there is no task {unknown}\n\n{HELP}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The dev profile is optimised enough to be honest and builds in half the time that release takes.
fn demo(arguments: &[&str]) -> anyhow::Result<()> {
    Step::cargo(&["build", "--locked", "--package", "meridian"]).run("building meridian")?;
    Step::built("meridian").with(&["demo"]).with(arguments).run("three regions, one queue")
}

fn test(arguments: &[&str]) -> anyhow::Result<()> {
    match arguments.split_first() {
        None => {
            rust_tests(&[])?;
            e2e_tests(&[])?;
            chaos(&CHAOS_IN_SHORT)
        }
        Some((&"rust", filter)) => rust_tests(filter),
        Some((&"e2e", filter)) => e2e_tests(filter),
        Some((other, _)) => {
            anyhow::bail!("there are no {other} tests: write `test`, `test rust` or `test e2e`")
        }
    }
}

fn rust_tests(filter: &[&str]) -> anyhow::Result<()> {
    Step::cargo(&["test", "--locked", "--workspace"]).with(filter).run("tests of the workspace")
}

fn e2e_tests(filter: &[&str]) -> anyhow::Result<()> {
    let python = python::prepare()?;
    // The one of the version before comes first: both are built to the same place.
    let before = ["build", "--locked", "--package", "meridian", "--features", "before"];
    Step::cargo(&before).run("building the binary of the version before")?;
    std::fs::copy(run::built("meridian"), run::built("meridian-before")).context("keeping that binary")?;
    let binaries = ["build", "--locked", "--package", "meridian", "--package", "wan", "--bins"];
    Step::cargo(&binaries).run("building the binaries under test")?;
    // Real clients have timeouts of their own: on a machine that stands still for seconds, one may give up. What fails is
    // tried once more, and the summary counts it; what fails twice has failed.
    let pytest = ["-m", "pytest", "-p", "no:cacheprovider", "--reruns", "1", "-r", "R"];
    let mut pytest = Step::program(&python).with(&pytest);
    pytest = if filter.is_empty() { pytest.with(&["tests"]) } else { pytest.with(filter) };
    pytest
        .variable("MERIDIAN_BIN", &run::built("meridian"))
        .variable("MERIDIAN_BEFORE_BIN", &run::built("meridian-before"))
        .variable("WAN_BIN", &run::built("wan"))
        .run("unmodified Kafka clients against three sites")
}

/// The dev profile, as the demo. The Python clients are those of the end-to-end tests.
fn chaos(arguments: &[&str]) -> anyhow::Result<()> {
    let python = python::prepare()?;
    let binaries = ["build", "--locked", "--package", "meridian", "--package", "chaos", "--bins"];
    Step::cargo(&binaries).run("building the sites and their tormentor")?;
    let python = python.to_string_lossy();
    let chaos = Step::built("chaos").with(&["--python", &python]).with(arguments);
    chaos.take_over("real sites and real clients under faults")
}

fn ci() -> anyhow::Result<()> {
    Step::cargo(&["fmt", "--all", "--check"]).run("format")?;
    rooms::check()?;
    let lints = ["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"];
    Step::cargo(&lints).run("lints")?;
    let strict = "build.rustdocflags=['--deny', 'warnings']";
    Step::cargo(&["doc", "--locked", "--workspace", "--no-deps", "--config", strict]).run("documentation")?;
    if Step::cargo(&["deny", "--version"]).succeeds() {
        Step::cargo(&["deny", "check"]).run("licences, sources and advisories of dependencies")?;
    } else {
        println!("\n== cargo-deny is not installed here: dependencies are not checked against deny.toml");
    }
    test(&[])
}

/// At speed, but panics unwind: a broken assertion of a site is a failed seed.
fn sim(arguments: &[&str]) -> anyhow::Result<()> {
    Step::cargo(&["run", "--locked", "--profile", "sim", "--package", "sim", "--"]).with(arguments).run("sim")
}

fn run_in_release(package: &str, arguments: &[&str]) -> anyhow::Result<()> {
    Step::cargo(&["run", "--locked", "--release", "--package", package, "--"]).with(arguments).run(package)
}
