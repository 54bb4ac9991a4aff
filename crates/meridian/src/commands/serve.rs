//! `serve`, `bootstrap` and `join`: what one does with a site's own machine.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use node::WallClock;
use node::config::{Config, LogFormat};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::output;

// Which configuration.
// (Not a doc comment: clap would let it replace the long help of every command that this is a part of.)
#[derive(Debug, Args)]
struct Configured {
    /// The site's configuration file; datacenters/eu-west.toml documents every key
    #[arg(long, env = "MERIDIAN_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// Override a key, such as listen.http=127.0.0.1:9700; may be repeated
    ///
    /// It beats the environment (MERIDIAN_LISTEN__HTTP=…), which beats the file.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Configured {
    fn load(&self) -> anyhow::Result<Config> {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Ok(Config::load(&self.config, environment, self.set.clone())?)
    }
}

/// Run a site until it is told to stop.
///
/// SIGTERM and Ctrl-C stop it cleanly: it takes leave of the others, so that nobody waits for it. Started without a data
/// directory, it says how to make one.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    configured: Configured,
    /// Only check the configuration and say what it amounts to
    #[arg(long)]
    check: bool,
    /// For tests: shift this site's wall clock by the milliseconds that a file says, now and whenever it changes
    #[arg(long, hide = true, value_name = "FILE")]
    test_clock_offset_file: Option<PathBuf>,
}

impl Serve {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.configured.load()?;
        if self.check {
            let (members, homes) = (config.shared.members.len(), config.shared.homes.len());
            let (file, name) = (config.path.display(), &config.site.name);
            output::line(&format!(
                "{file}: site {name}, one of {members} members, with {homes} homes: right"
            ))?;
            return Ok(ExitCode::SUCCESS);
        }
        start_log(&config)?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = async move {
            tokio::select! {
                _ = terminate.recv() => tracing::info!("told to stop"),
                _ = interrupt.recv() => tracing::info!("interrupted; stopping"),
            }
        };
        let wall_clock = self.test_clock_offset_file.map_or(WallClock::Real, WallClock::Offset);
        match Box::pin(node::serve(config, wall_clock, shutdown)).await {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(error @ node::ServeError::Halted(_)) => {
                eprintln!("meridian: {error}");
                Ok(ExitCode::from(u8::try_from(node::EXIT_DISK).unwrap_or(1)))
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn start_log(config: &Config) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.log.level).map_err(|error| {
        anyhow::anyhow!(
            "log.level \"{}\" is no filter: {error}; use info, or info,site=debug",
            config.log.level
        )
    })?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match config.log.format {
        LogFormat::Pretty => log.with_target(false).init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

/// Which site's data directory.
#[derive(Debug, Args)]
pub(crate) struct Prepare {
    #[command(flatten)]
    configured: Configured,
}

impl Prepare {
    pub(crate) fn bootstrap(self) -> anyhow::Result<()> {
        let config = self.configured.load()?;
        node::bootstrap(&config)?;
        done(&config, "founded")
    }

    pub(crate) fn join(self) -> anyhow::Result<()> {
        let config = self.configured.load()?;
        node::join(&config)?;
        done(&config, "prepared; it takes writes once a quorum of the other sites has admitted it")
    }
}

fn done(config: &Config, what: &str) -> anyhow::Result<()> {
    let (folder, file) = (config.site.data_dir.display(), config.path.display());
    output::line(&format!("{folder}: {what}. Now run: meridian serve --config {file}"))
}
