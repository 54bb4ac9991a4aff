//! A connection that hears nothing: trying the path again and again, so that its return is noticed at once.
//!
//! QUIC tries a silent path ever more rarely, and pauses double; after seconds of a cut, seconds more pass before it finds
//! that the path is back. Bulk that got lost also fills its window, so that not even pulses go out. So while nothing is
//! heard, a packet beyond the window goes out every [`TRY_EVERY`]. The other end does the same: whichever is heard
//! first, the window opens there and then, half as wide as it was. The connection's idle time ends all of it.

use std::time::{Duration, Instant};

use quinn::Connection;
use tokio::time::sleep;

use crate::congestion;
use crate::roster::heard;
use crate::session::Outcome;

/// How often a connection is looked at, and how often while it is silent.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const LISTEN_EVERY: Duration = Duration::from_millis(10);
/// Silence that is longer than this and a round trip is out of the ordinary: sites send pulses every 200 ms.
const SILENT_AFTER: Duration = Duration::from_millis(300);
/// How often a silent path is tried.
const TRY_EVERY: Duration = Duration::from_millis(50);

/// Watches a connection for as long as it lives. The window is the connection's send window, in bytes.
pub(crate) async fn watch(connection: Connection, window: u64) -> Outcome {
    let mut before = heard(&connection);
    loop {
        let last = Instant::now();
        while heard(&connection) == before && last.elapsed() < SILENT_AFTER + connection.rtt() {
            sleep(LOOK_EVERY).await;
        }
        if heard(&connection) == before {
            until_heard(&connection, before, window).await;
            congestion::heard_again(&connection);
            wake(&connection, window);
        }
        before = heard(&connection);
        sleep(LOOK_EVERY).await;
    }
}

/// Tries the path until something comes through.
async fn until_heard(connection: &Connection, before: u64, window: u64) {
    let mut tried = Instant::now() - TRY_EVERY;
    while heard(connection) == before {
        if tried.elapsed() >= TRY_EVERY {
            tried = Instant::now();
            congestion::try_silent(connection);
            wake(connection, window);
        }
        sleep(LISTEN_EVERY).await;
    }
}

/// Has QUIC look again whether it may send. Setting a window anew is what does that.
fn wake(connection: &Connection, window: u64) {
    connection.set_send_window(window);
}
