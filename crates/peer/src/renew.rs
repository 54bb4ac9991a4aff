//! Who is at the other end is looked at when a connection is made, so none lasts for ever: in time a second one is made while the first
//! still carries, and takes its place. One that cannot be renewed ends when its time is over.
//!
//! That time is [`Tuning::connection_age`](crate::Tuning), or what is left of the other end's certificate, if that is less.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::UnixTime;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

use crate::connect::renew;
use crate::refusal::{Code, Refusal};
use crate::roster::{Live, Roster, Slot};

/// Which part of its time a connection has behind it when it is renewed, in eighths: the lower site is first, so that
/// both do not do it at once.
const DUE_EIGHTHS: [u32; 2] = [6, 7];
/// Between attempts to renew a connection.
const PAUSE: Duration = Duration::from_secs(1);

/// Keeps the connections with a peer young for as long as this is polled.
pub(crate) async fn keep_young(roster: Arc<Roster>, site: u16) {
    let slot = &roster.slots[&site];
    let eighths = DUE_EIGHTHS[usize::from(roster.own.site > site)];
    let mut sessions = JoinSet::new();
    loop {
        slot.until(true).await;
        let Some(old) = slot.live() else { continue };
        tokio::select! {
            () = slot.until_gone(old.generation) => continue,
            () = sleep_until(old.born + old.life / 8 * eighths) => {}
            () = slot.until_asked_to_renew() => {}
        }
        sessions.spawn(take_its_place(Arc::clone(&roster), site, old.generation));
        tokio::select! {
            () = slot.until_gone(old.generation) => {}
            () = sleep_until(old.born + old.life) => end(&roster, slot, &old).await,
        }
        while sessions.try_join_next().is_some() {}
    }
}

/// Connects anew until a connection has taken the place of this one, and runs that to its end.
async fn take_its_place(roster: Arc<Roster>, site: u16, generation: u64) {
    let slot = &roster.slots[&site];
    while slot.live().is_some_and(|live| live.generation == generation) {
        if let Err((address, ending)) = renew(&roster, slot).await {
            tracing::debug!(site, %address, reason = ending.reason, "the connection is not renewed yet");
            if ending.wants_operator {
                roster.ended_badly(Some(site), address, &ending);
            }
        }
        sleep(PAUSE).await;
    }
}

/// Its time is over and nothing has taken its place.
async fn end(roster: &Roster, slot: &Slot, old: &Live) {
    let refusal = match roster.certified(&old.connection, UnixTime::now()) {
        Ok(_) => Refusal::new(Code::Reset, "the connection has reached its greatest age"),
        Err(refusal) => refusal,
    };
    tracing::warn!(
        site = slot.peer.site,
        reason = refusal.reason,
        "a connection that could not be renewed ends"
    );
    refusal.close(&old.connection);
    slot.until_gone(old.generation).await;
}
