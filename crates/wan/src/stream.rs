//! TCP connections of clients that are far from the site they talk to.
//!
//! A proxy cannot delay segments, only bytes: what one side writes is read at once and written to the other side when
//! it is due, in chunks, under the same link as the pair's datagrams. The handshake is paid for by holding the first
//! bytes for one more round trip. Timing is tokio's, within about 2 ms: enough for clients, not for sites.
//!
//! A cut holds the bytes until the heal, as retransmission would. A client that connects during a cut still connects,
//! since its own kernel accepts; it just hears nothing. Loss does not apply: TCP would hide it, only slower.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{Semaphore, broadcast, mpsc};
use tracing::debug;

use crate::fabric::{Turn, WireId};
use crate::forward::{SharedFabric, lock};
use crate::monotonic::{now_ns, ns_of_ms};
use crate::urgency::hurry;

/// Bytes read at a time; about eleven segments.
const CHUNK_BYTES: usize = 16 << 10;
/// Chunks under way per direction: with full chunks a window of 4 MiB.
const CHUNKS_MAX: usize = 256;
/// TCP and IP headers per segment, and what a segment carries.
const SEGMENT_OVERHEAD_BYTES: u64 = 40;
const SEGMENT_BYTES: u64 = 1_460;
/// Connections at a time over all proxies.
const CONNECTIONS_MAX: usize = 1_024;
/// Proxies waiting to be opened, and resets not yet heard by all.
const ORDERS_MAX: usize = 64;
/// How often a held stream looks whether its cut has healed.
const HEAL_POLL: Duration = Duration::from_millis(5);

/// A listener and where its connections lead.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) listener: TcpListener,
    pub(crate) target: SocketAddr,
    pub(crate) outward: WireId,
    pub(crate) homeward: WireId,
}

/// The proxies' thread.
#[derive(Debug)]
pub(crate) struct Streams {
    orders: Option<mpsc::Sender<Proxy>>,
    resets: broadcast::Sender<WireId>,
    thread: Option<JoinHandle<()>>,
}

/// What every connection of a proxy needs.
#[derive(Debug, Clone)]
struct Route {
    target: SocketAddr,
    outward: WireId,
    homeward: WireId,
    fabric: SharedFabric,
    places: Arc<Semaphore>,
}

/// A piece of a stream under way; empty is its end.
type Chunk = (u64, Vec<u8>);

impl Streams {
    /// Starts the thread, without any proxy yet.
    pub(crate) fn start(fabric: SharedFabric) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        let (resets, _) = broadcast::channel(ORDERS_MAX);
        let told = resets.clone();
        let thread = std::thread::Builder::new().name("wan-stream".to_owned()).spawn(move || {
            hurry();
            runtime.block_on(serve(inbox, fabric, told));
        })?;
        Ok(Self { orders: Some(orders), resets, thread: Some(thread) })
    }

    /// Starts accepting on a proxy's listener.
    pub(crate) fn open(&self, proxy: Proxy) -> io::Result<()> {
        proxy.listener.set_nonblocking(true)?;
        let orders = self.orders.as_ref().expect("the sender is only taken by drop");
        orders.try_send(proxy).map_err(|error| io::Error::other(error.to_string()))
    }

    /// Resets the connections whose way out is this wire.
    pub(crate) fn reset(&self, outward: WireId) {
        let _heard_by = self.resets.send(outward);
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

/// Opens proxies until the handle is dropped; the runtime then drops every connection.
async fn serve(mut inbox: mpsc::Receiver<Proxy>, fabric: SharedFabric, resets: broadcast::Sender<WireId>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Some(Proxy { listener, target, outward, homeward }) = inbox.recv().await {
        let route =
            Route { target, outward, homeward, fabric: Arc::clone(&fabric), places: Arc::clone(&places) };
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => drop(tokio::spawn(accept(listener, route, resets.clone()))),
            Err(error) => debug!(%error, "a proxy's listener is not usable"),
        }
    }
}

async fn accept(listener: tokio::net::TcpListener, route: Route, resets: broadcast::Sender<WireId>) {
    loop {
        let Ok(place) = Arc::clone(&route.places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((client, _)) => {
                let (route, resets) = (route.clone(), resets.subscribe());
                tokio::spawn(async move {
                    connection(client, route, resets).await;
                    drop(place);
                });
            }
            Err(error) => {
                debug!(%error, "accept failed");
                tokio::time::sleep(HEAL_POLL).await;
            }
        }
    }
}

/// One connection's life. Whatever ends it other than both sides finishing is passed on as a reset.
async fn connection(mut client: TcpStream, route: Route, resets: broadcast::Receiver<WireId>) {
    let (out_ns, home_ns) = {
        let fabric = lock(&route.fabric);
        let delay_ns = |wire| ns_of_ms(fabric.wire(wire).link.delay_ms);
        (delay_ns(route.outward), delay_ns(route.homeward))
    };
    let dialled_ns = now_ns();
    until(dialled_ns + out_ns).await;
    healed(&route.fabric, route.outward).await;
    let Ok(mut server) = TcpStream::connect(route.target).await else {
        let _reset = client.set_zero_linger();
        return;
    };
    let _prompt = (client.set_nodelay(true), server.set_nodelay(true));
    let ended = {
        let (client_read, client_write) = client.split();
        let (server_read, server_write) = server.split();
        let open_ns = dialled_ns + out_ns + home_ns;
        let out = pump(client_read, server_write, &route.fabric, route.outward, open_ns);
        let home = pump(server_read, client_write, &route.fabric, route.homeward, 0);
        tokio::select! {
            ended = async { tokio::try_join!(out, home) } => ended.map(drop),
            () = reset_of(resets, route.outward) => Err(io::ErrorKind::ConnectionReset.into()),
        }
    };
    if ended.is_err() {
        let _resets = (client.set_zero_linger(), server.set_zero_linger());
    }
}

async fn reset_of(mut resets: broadcast::Receiver<WireId>, outward: WireId) {
    loop {
        match resets.recv().await {
            Ok(wire) if wire != outward => {}
            // Having missed some is treated as having been meant.
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return,
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// Carries one direction: bytes entering before `open_ns` enter then.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    fabric: &SharedFabric,
    wire: WireId,
    open_ns: u64,
) -> io::Result<()> {
    let (sender, mut inbox) = mpsc::channel::<Chunk>(CHUNKS_MAX);
    let take = async move {
        loop {
            let mut chunk = vec![0; CHUNK_BYTES];
            let length = from.read(&mut chunk).await?;
            chunk.truncate(length);
            let due_ns = admit(fabric, wire, length as u64, open_ns).await;
            if sender.send((due_ns, chunk)).await.is_err() || length == 0 {
                return Ok::<(), io::Error>(());
            }
        }
    };
    let give = async move {
        while let Some((due_ns, chunk)) = inbox.recv().await {
            until(due_ns).await;
            healed(fabric, wire).await;
            lock(fabric).arrive(wire, wire_bytes(chunk.len() as u64));
            if chunk.is_empty() {
                return to.shutdown().await;
            }
            to.write_all(&chunk).await?;
        }
        Ok(())
    };
    tokio::try_join!(take, give).map(drop)
}

/// Asks the wire when a chunk arrives, waiting while its queue is full.
async fn admit(fabric: &SharedFabric, wire: WireId, length: u64, open_ns: u64) -> u64 {
    loop {
        let turn = lock(fabric).admit_stream(wire, now_ns().max(open_ns), wire_bytes(length));
        match turn {
            Turn::Due(due_ns) => return due_ns,
            Turn::Wait(at_ns) => until(at_ns).await,
        }
    }
}

/// A chunk's length as IP would carry it in full segments.
fn wire_bytes(length: u64) -> u64 {
    length + SEGMENT_OVERHEAD_BYTES * length.div_ceil(SEGMENT_BYTES).max(1)
}

async fn until(at_ns: u64) {
    let wait_ns = at_ns.saturating_sub(now_ns());
    if wait_ns > 0 {
        tokio::time::sleep(Duration::from_nanos(wait_ns)).await;
    }
}

async fn healed(fabric: &SharedFabric, wire: WireId) {
    while lock(fabric).wire(wire).cut {
        tokio::time::sleep(HEAL_POLL).await;
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn chunks_pay_for_their_headers() {
        assert_eq!(super::wire_bytes(0), 40);
        assert_eq!(super::wire_bytes(1_460), 1_500);
        assert_eq!(super::wire_bytes(1_461), 1_461 + 80);
    }
}
