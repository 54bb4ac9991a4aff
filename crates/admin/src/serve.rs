//! Both doors, open until told otherwise.

use std::future::Future;
use std::io;
use std::sync::Arc;

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;

use crate::bounded::Bounded;
use crate::metrics::Metrics;
use crate::routes::{Admin, Desk, everything, looks, starting};

/// Serves health, metrics and looks until `closing` ends.
///
/// # Errors
/// Only what the listener itself cannot go on after.
pub async fn serve_http<A: Admin>(
    listener: TcpListener,
    admin: Arc<A>,
    metrics: Arc<Metrics>,
    closing: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let router = looks(Desk { admin, metrics });
    tokio::select! {
        outcome = axum::serve(Bounded::new(listener), router) => outcome,
        () = closing => Ok(()),
    }
}

/// Says that a site is only starting, and why it takes so long, until nobody can say so any more.
///
/// # Errors
/// Only what the listener itself cannot go on after.
pub async fn serve_starting(listener: TcpListener, why: watch::Receiver<String>) -> io::Result<()> {
    let mut said = why.clone();
    tokio::select! {
        outcome = axum::serve(Bounded::new(listener), starting(why)) => outcome,
        _ = said.wait_for(|_| false) => Ok(()),
    }
}

/// Serves everything until `closing` ends. The listener comes from [`crate::bind`].
///
/// # Errors
/// Only what the listener itself cannot go on after.
pub async fn serve_socket<A: Admin>(
    listener: UnixListener,
    admin: Arc<A>,
    metrics: Arc<Metrics>,
    closing: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let router = everything(Desk { admin, metrics });
    tokio::select! {
        outcome = axum::serve(Bounded::new(listener), router) => outcome,
        () = closing => Ok(()),
    }
}
