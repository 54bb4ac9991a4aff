//! How a connection becomes a link: dialing and being dialed, checking who is there, greeting.
//!
//! TLS has checked by then that the certificate comes from the authority and, when dialing, that it carries the
//! name asked for. Here the id and name in it are compared with the configuration, and its key with those that are denied.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::{Connection, Incoming};
use rustls::pki_types::UnixTime;
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::backoff::Backoff;
use crate::frame::FrameReader;
use crate::hello::{HELLO_BYTES, Hello};
use crate::refusal::{Code, Ending, Refusal};
use crate::roster::{Newcomer, Roster, Slot, already_connected};
use crate::session::{Plumbing, outboxes, run};
use crate::{PeerAddress, SiteName};

/// The higher id leaves dialing to the lower one, but not for longer than this; and what it dialed then, too, it keeps only
/// if the lower one does not come in this time.
const KNOCK_AFTER: Duration = Duration::from_millis(500);
/// While an attempt has got no answer, the next one begins after this, and later the longer the site has been away: so the
/// end of a cut is noticed within a twentieth of its length.
const NEXT_AFTER: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
const NEXT_SHARE: u32 = 20;
/// A connection that lasted this long was a good one.
const GOOD_AFTER: Duration = Duration::from_secs(5);
/// Connections that are being set up or are up; a site has few peers, so more is a flood.
const ACCEPTED_MAX: usize = 256;

/// Keeps one peer connected for as long as this is polled.
pub(crate) async fn keep_connected(roster: Arc<Roster>, site: u16) {
    let slot = &roster.slots[&site];
    let mut backoff = Backoff::new(roster.tuning.backoff, roster.nonce ^ u64::from(site));
    loop {
        slot.until(false).await;
        let away = Instant::now();
        if roster.own.site > site && timeout(KNOCK_AFTER, slot.until(true)).await.is_ok() {
            continue;
        }
        let reached = tokio::select! {
            reached = reach(&roster, slot, away) => reached,
            () = slot.until(true) => continue,
        };
        let started = Instant::now();
        let kept = match reached {
            Ok((address, connection)) => keep(&roster, slot, address, &connection).await,
            Err(failed) => Err(failed),
        };
        match kept {
            Ok(()) => {}
            Err((address, ending)) if ending.wants_operator => {
                roster.ended_badly(Some(site), address, &ending);
            }
            Err((address, ending)) => {
                tracing::debug!(site, %address, reason = ending.reason, "no connection yet");
            }
        }
        if started.elapsed() > GOOD_AFTER {
            backoff.reset();
        }
        let _ = timeout(backoff.next(), slot.until(true)).await;
    }
}

pub(crate) type Failed = (SocketAddr, Ending);
type Reached = (SocketAddr, Connection);

/// Dials until somebody answers. Attempts overlap: whether a path is back shows with the next one, while those before may
/// go on waiting for theirs.
async fn reach(roster: &Arc<Roster>, slot: &Slot, away: Instant) -> Result<Reached, Failed> {
    let mut attempts = JoinSet::new();
    loop {
        attempts.spawn(dial(Arc::clone(roster), slot.peer.site));
        let (least, most) = NEXT_AFTER;
        let next = sleep((away.elapsed() / NEXT_SHARE).clamp(least, most));
        tokio::pin!(next);
        loop {
            tokio::select! {
                // There is one at least until the pause is over, or its answer is returned.
                Some(ended) = attempts.join_next() => match ended {
                    Ok(Ok(None)) => {}
                    Ok(Ok(Some(reached))) => return Ok(reached),
                    Ok(Err(failed)) => return Err(failed),
                    Err(failed) => std::panic::resume_unwind(failed.into_panic()),
                },
                () = &mut next => break,
            }
        }
    }
}

/// One attempt; none when nobody answers.
async fn dial(roster: Arc<Roster>, site: u16) -> Result<Option<Reached>, Failed> {
    let slot = &roster.slots[&site];
    let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
    let address = look_up(&roster, &slot.peer).await.map_err(|e| (unknown, plain(&e)))?;
    let name = site_name(&slot.peer).dns();
    let connecting = roster
        .endpoint
        .connect_with(roster.credentials().client.clone(), address, &name)
        .map_err(|e| (address, plain(&e)))?;
    match timeout(roster.tuning.handshake, connecting).await {
        Ok(Ok(connection)) => Ok(Some((address, connection))),
        Ok(Err(error)) => Err((address, Ending::of(&error))),
        Err(_) => Ok(None),
    }
}

/// Makes a connection the site's link for as long as it lasts.
async fn keep(
    roster: &Roster,
    slot: &Slot,
    address: SocketAddr,
    connection: &Connection,
) -> Result<(), Failed> {
    if roster.own.site > slot.peer.site && timeout(KNOCK_AFTER, slot.until(true)).await.is_ok() {
        already_connected().close(connection);
        return Ok(());
    }
    hold(roster, slot, address, connection).await
}

/// Dials once, though there is a link, and lets what is reached take its place for as long as it lasts.
pub(crate) async fn renew(roster: &Arc<Roster>, slot: &Slot) -> Result<(), Failed> {
    match dial(Arc::clone(roster), slot.peer.site).await? {
        Some((address, connection)) => hold(roster, slot, address, &connection).await,
        None => Ok(()),
    }
}

async fn hold(
    roster: &Roster,
    slot: &Slot,
    address: SocketAddr,
    connection: &Connection,
) -> Result<(), Failed> {
    let ending = match greet(roster, slot, connection).await {
        Ok(ending) => ending,
        Err(refusal) => refused_ending(connection, refusal),
    };
    if ending.wants_operator { Err((address, ending)) } else { Ok(()) }
}

/// What a refusal means: if the other end closed first, its words count.
fn refused_ending(connection: &Connection, refusal: Refusal) -> Ending {
    if let Some(error) = connection.close_reason() {
        return Ending::of(&error);
    }
    refusal.close(connection);
    Ending::here(refusal.reason, refusal.code.wants_operator())
}

async fn greet(roster: &Roster, slot: &Slot, connection: &Connection) -> Result<Ending, Refusal> {
    check(&slot.peer, &roster.certified(connection, UnixTime::now())?)?;
    let patience = roster.tuning.handshake;
    let (mut send, mut receive) = connection.open_bi().await.map_err(|e| slow(&e))?;
    send.write_all(&roster.hello().encode()).await.map_err(|e| slow(&e))?;
    let answer = read_hello(&mut receive);
    let hello = timeout(patience, answer).await.map_err(|_| slow(&"no greeting came back"))??;
    check_hello(&slot.peer, hello)?;
    let (outboxes, drains) = outboxes(&roster.tuning);
    let by_lower = roster.own.site < slot.peer.site;
    let newcomer = Newcomer { connection: connection.clone(), hello, by_lower, outboxes };
    let live = roster.admit(slot, newcomer).await?;
    Ok(run(roster, slot, live, Plumbing { control: (send, FrameReader::new(receive)), drains }).await)
}

/// Takes connections for as long as this is polled.
pub(crate) async fn accept(roster: Arc<Roster>) {
    let mut welcomes = JoinSet::new();
    loop {
        tokio::select! {
            incoming = roster.endpoint.accept() => match incoming {
                None => return,
                Some(incoming) if !incoming.remote_address_validated() => {
                    // Only an address that is validated already cannot be asked to retry.
                    let _ = incoming.retry();
                }
                Some(incoming) if welcomes.len() >= ACCEPTED_MAX => incoming.refuse(),
                Some(incoming) => { welcomes.spawn(welcome(Arc::clone(&roster), incoming)); }
            },
            Some(_) = welcomes.join_next() => {}
        }
    }
}

async fn welcome(roster: Arc<Roster>, incoming: Incoming) {
    let from = incoming.remote_address();
    let connecting = match incoming.accept() {
        Ok(connecting) => connecting,
        Err(error) => return tracing::debug!(%from, %error, "a connection attempt came to nothing"),
    };
    let connection = match timeout(roster.tuning.handshake, connecting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            let ending = Ending::of(&error);
            if ending.wants_operator {
                roster.ended_badly(None, from, &ending);
            }
            return;
        }
        Err(_) => return,
    };
    let mut site = None;
    if let Err(refusal) = answer(&roster, &connection, &mut site).await {
        let ending = refused_ending(&connection, refusal);
        if ending.wants_operator {
            roster.ended_badly(site, from, &ending);
        }
    }
}

async fn answer(roster: &Roster, connection: &Connection, site: &mut Option<u16>) -> Result<(), Refusal> {
    let who = roster.certified(connection, UnixTime::now())?;
    *site = Some(who.site);
    if who.site == roster.own.site {
        let reason =
            format!("{who} claims the id of {}; ids must differ: give one of them another", roster.own);
        return Err(Refusal::new(Code::Duplicate, reason));
    }
    let slot = roster.slots.get(&who.site).ok_or_else(|| {
        Refusal::new(
            Code::Identity,
            format!("{who} is not among the sites that {} is configured with", roster.own),
        )
    })?;
    check(&slot.peer, &who)?;
    let opened = timeout(roster.tuning.handshake, connection.accept_bi()).await;
    let (mut send, mut receive) = opened.map_err(|_| slow(&"no greeting came"))?.map_err(|e| slow(&e))?;
    let greeting = timeout(roster.tuning.handshake, read_hello(&mut receive)).await;
    let hello = greeting.map_err(|_| slow(&"no greeting came"))??;
    check_hello(&slot.peer, hello)?;
    let (outboxes, drains) = outboxes(&roster.tuning);
    let by_lower = slot.peer.site < roster.own.site;
    let newcomer = Newcomer { connection: connection.clone(), hello, by_lower, outboxes };
    let live = roster.admit(slot, newcomer).await?;
    if let Err(error) = send.write_all(&roster.hello().encode()).await {
        slot.clear(live.generation);
        return Err(slow(&error));
    }
    run(roster, slot, live, Plumbing { control: (send, FrameReader::new(receive)), drains }).await;
    Ok(())
}

async fn read_hello(stream: &mut quinn::RecvStream) -> Result<Hello, Refusal> {
    let mut bytes = [0; HELLO_BYTES];
    AsyncReadExt::read_exact(stream, &mut bytes).await.map_err(|e| slow(&e))?;
    Hello::decode(bytes).map_err(|reason| Refusal::new(Code::Protocol, reason))
}

fn check(expected: &PeerAddress, found: &SiteName) -> Result<(), Refusal> {
    let expected = site_name(expected);
    if *found == expected {
        return Ok(());
    }
    let reason = format!(
        "expected site {expected}, but the certificate shown is that of {found}; check address, id and name"
    );
    Err(Refusal::new(Code::Identity, reason))
}

fn check_hello(expected: &PeerAddress, hello: Hello) -> Result<(), Refusal> {
    if hello.site == expected.site {
        return Ok(());
    }
    let reason = format!("the greeting says site id {}, the certificate {}", hello.site, expected.site);
    Err(Refusal::new(Code::Identity, reason))
}

fn site_name(peer: &PeerAddress) -> SiteName {
    SiteName { site: peer.site, name: peer.name.clone() }
}

/// The peer's address now, of the family that is listened on.
async fn look_up(roster: &Roster, peer: &PeerAddress) -> io::Result<SocketAddr> {
    let own = roster.endpoint.local_addr()?;
    let mut found = timeout(roster.tuning.handshake, tokio::net::lookup_host(&peer.address)).await??;
    found.find(|address| address.is_ipv4() == own.is_ipv4()).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("{} has no address of the kind listened on", peer.address),
        )
    })
}

fn plain(reason: &dyn std::fmt::Display) -> Ending {
    Ending::here(reason.to_string(), false)
}

/// The network's doing, not the operator's.
fn slow(reason: &dyn std::fmt::Display) -> Refusal {
    Refusal::new(Code::Goodbye, reason.to_string())
}

/// Says goodbye and waits a little for the word to get out.
pub(crate) async fn say_goodbye(roster: &Roster) {
    roster.endpoint.close(quinn::VarInt::from_u32(Code::Goodbye as u32), b"the site is stopping");
    let _ = timeout(Duration::from_secs(1), roster.endpoint.wait_idle()).await;
    // The sessions' last events, should anybody still listen.
    for slot in roster.slots.values() {
        let _ = timeout(Duration::from_millis(200), slot.until(false)).await;
    }
}
