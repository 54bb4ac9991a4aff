//! A node from a configuration: what the commands `serve`, `bootstrap` and `join` do.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use admin::{serve_http, serve_socket, serve_starting};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::config::Config;
use crate::operator::{Looks, Operator};
use crate::run::{self, ServeError, Setup};
use crate::timepiece::WallClock;

/// Founds this site's data directory: the first life of a founding member.
///
/// # Errors
/// [`ServeError`] if the directory already is somebody, is in use, or the disk fails.
pub fn bootstrap(config: &Config) -> Result<(), ServeError> {
    run::found(&Setup::of(config)?)
}

/// Prepares an empty data directory of a known site.
///
/// # Errors
/// [`ServeError`] if the directory already is somebody, is in use, or the disk fails.
pub fn join(config: &Config) -> Result<(), ServeError> {
    run::join(&Setup::of(config)?)
}

/// Runs a node until `shutdown` ends, an operator stops it, or it cannot go on. SIGHUP has it read its certificates anew.
///
/// # Errors
/// [`ServeError`], which says what to do.
pub async fn serve(
    config: Config,
    wall_clock: WallClock,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let setup = Setup { wall_clock, ..Setup::of(&config)? };
    let (fixed, http) = (setup.clients.clone(), setup.http);
    let listeners = listen(http).await.map_err(|cause| ServeError::Http { address: http, cause });
    let (early, listener) = listeners?;
    let (waits, why) = watch::channel("it is starting".to_owned());
    let starting = tokio::spawn(serve_starting(early, why));
    let mut shutdown = pin!(shutdown);
    let (running, socket) = tokio::select! {
        started = run::start(setup, &waits) => started?,
        () = &mut shutdown => return Ok(()),
    };
    drop(waits);
    let _ = starting.await;
    let (stop, mut stopped) = watch::channel(false);
    let certificates = Arc::clone(&running.certificates);
    let looks = Looks {
        front: Arc::clone(&running.front),
        links: Arc::clone(&running.links),
        certificates: Arc::clone(&certificates),
        fixed,
    };
    let operator = Operator::new(looks, running.ended(), stop);
    let (operator, metrics) = (Arc::new(operator), Arc::clone(&running.metrics));
    let mut hangups = signal(SignalKind::hangup())
        .map_err(|cause| ServeError::System { what: "listening for SIGHUP", cause })?;
    // These end with the process: an operator may look until the very end.
    tokio::spawn(serve_http(listener, Arc::clone(&operator), Arc::clone(&metrics), std::future::pending()));
    tokio::spawn(serve_socket(socket, operator, metrics, std::future::pending()));
    let reminding = Arc::clone(&certificates);
    tokio::spawn(async move { reminding.remind().await });
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            // Files are read, and signatures checked. What came of it is in the log.
            let certificates = Arc::clone(&certificates);
            let _ = tokio::task::spawn_blocking(move || certificates.renew()).await;
        }
    });
    let homes: Vec<_> =
        config.shared.homes.iter().map(|home| format!("{} on {}", home.name, home.port)).collect();
    tracing::info!(site = config.site.name, homes = homes.join(", "), "serving");
    let told = async move {
        tokio::select! {
            () = shutdown => {}
            _ = stopped.wait_for(|stop| *stop) => {}
        }
    };
    running.until(told).await
}

/// The door of health and metrics, once for a site that starts and once for one that runs.
async fn listen(address: SocketAddr) -> std::io::Result<(TcpListener, TcpListener)> {
    let listener = TcpListener::bind(address).await?.into_std()?;
    Ok((TcpListener::from_std(listener.try_clone()?)?, TcpListener::from_std(listener)?))
}
