//! SIGINT and SIGTERM: a run that is told to end takes along what it started.
//!
//! Every longer wait of a run is [`sleep`], which fails once a signal has come. That error goes up through the whole run, and
//! on its way everything is ended by whom it belongs to: tracers, clients, sites, disks, the folder.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};

/// How long a signal may go unheeded.
const TICK: Duration = Duration::from_millis(50);

/// Which signal came.
static TOLD: Mutex<Option<Interrupted>> = Mutex::new(None);

/// Somebody told the run to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{name}: the run is given up")]
pub(crate) struct Interrupted {
    name: &'static str,
    number: u8,
}

impl Interrupted {
    /// What a shell shows of a program that a signal ended.
    pub(crate) fn exit_code(self) -> u8 {
        128 + self.number
    }
}

/// Heeds signals from now on.
pub(crate) fn heed() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let entered = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    drop(entered);
    thread::spawn(move || {
        let told = runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => Interrupted { name: "SIGINT", number: 2 },
                _ = terminate.recv() => Interrupted { name: "SIGTERM", number: 15 },
            }
        });
        *TOLD.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
        // Its runtime keeps the handlers: a second signal changes nothing.
        thread::park();
    });
    Ok(())
}

/// Lets time pass, unless the run is to end.
pub(crate) fn sleep(time: Duration) -> Result<(), Interrupted> {
    let until = Instant::now() + time;
    loop {
        if let Some(told) = *TOLD.lock().unwrap_or_else(PoisonError::into_inner) {
            return Err(told);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        thread::sleep(left.min(TICK));
    }
}
