//! A cluster in one process. Every site has a runtime of its own, so that one that stopped leaves nothing behind.
//!
//! Each cluster has addresses of its own within 127/8, so tests may run beside each other and beside real sites.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use batch::{Builder, NewRecord};
use bytes::Bytes;
use client::{Acks, Client, FetchOptions, NewTopic, Options, read_records};
use node::config::Config;
use peer::cert::{Pair, authority, site_certificate};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// Nothing here takes this long; a test that waits longer would wait for ever.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(20);

/// Sites that have been founded and can be started.
pub(crate) struct Cluster {
    pub(crate) folder: TempDir,
    names: Vec<&'static str>,
    settings: Vec<String>,
    number: u8,
    ports: Ports,
}

struct Ports {
    homes: Vec<u16>,
    peer: u16,
    http: u16,
}

/// A site that runs.
pub(crate) struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Result<(), String>>,
}

impl Cluster {
    /// Founds a cluster of these sites; `settings` are given to each.
    pub(crate) fn found(names: &[&'static str], settings: &[&str]) -> Cluster {
        static NEXT: AtomicU8 = AtomicU8::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = tempfile::tempdir().unwrap();
        let ca = authority("test").unwrap();
        ca.write(folder.path(), "ca").unwrap();
        std::fs::write(folder.path().join("former.pem"), "").unwrap();
        let mut homes = free_ports(number, names.len() + 2);
        let (peer, http) = (homes.pop().unwrap(), homes.pop().unwrap());
        let ports = Ports { homes, peer, http };
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let cluster = Cluster { folder, names: names.to_vec(), settings, number, ports };
        for (own, name) in (1..).zip(names) {
            let hosts = [host(number, own).to_string()];
            let pair = site_certificate(&ca, u16::from(own), name, &hosts).unwrap();
            pair.write(cluster.folder.path(), name).unwrap();
        }
        (0..names.len()).for_each(|own| node::bootstrap(&cluster.config(own)).unwrap());
        cluster
    }

    /// Who signed the sites' certificates.
    pub(crate) fn authority(&self) -> Pair {
        Pair::read(self.folder.path(), "ca").unwrap()
    }

    pub(crate) fn host(&self, own: usize) -> Ipv4Addr {
        host(self.number, u8::try_from(own + 1).unwrap())
    }

    pub(crate) fn http(&self, own: usize) -> SocketAddr {
        (self.host(own), self.ports.http).into()
    }

    /// Where clients find this site, as those of its own region.
    pub(crate) fn kafka(&self, own: usize) -> SocketAddr {
        (self.host(own), self.ports.homes[own]).into()
    }

    pub(crate) fn data(&self, own: usize) -> PathBuf {
        self.folder.path().join("data").join(self.names[own])
    }

    /// A site's configuration file, as an operator would write it.
    pub(crate) fn text(&self, own: usize) -> String {
        let (name, host, folder) = (self.names[own], self.host(own), self.folder.path().display());
        let (peer, http, id) = (self.ports.peer, self.ports.http, own + 1);
        let mut text = format!(
            "[site]\nname = '{name}'\nid = {id}\ndata_dir = '{folder}/data/{name}'\n\
             [cluster]\nid = '7d1f3a52-9c0e-4b6a-8f21-5be0c4d97a13'\n\
             [listen]\nkafka = '{host}'\npeer = '{host}:{peer}'\nhttp = '{host}:{http}'\n\
             [tls]\nca = '{folder}/ca.pem'\ncert = '{folder}/{name}.pem'\nkey = '{folder}/{name}.key'\n\
             former_ca = '{folder}/former.pem'\n\
             [limits]\ndisk_free_bytes_min = 0\n\
             [journal]\nsegment_bytes = 4194304\n\
             [peers]\nhome_after_ms = 1000\n"
        );
        for (at, name) in self.names.iter().enumerate() {
            let (host, id, port) = (self.host(at), at + 1, self.ports.homes[at]);
            let mut prefer = self.names.clone();
            prefer.sort_by_key(|other| other != name);
            writeln!(
                text,
                "[[members]]\nname = '{name}'\nid = {id}\npeer = '{host}:{peer}'\nkafka = '{host}'\n\
                 [[homes]]\nname = '{name}'\nport = {port}\nprefer = {prefer:?}"
            )
            .unwrap();
        }
        text
    }

    pub(crate) fn config(&self, own: usize) -> Config {
        Config::parse("test.toml".as_ref(), &self.text(own), [], self.settings.clone()).unwrap()
    }

    /// Starts a site and waits until it takes writes.
    pub(crate) async fn start(&self, own: usize) -> Running {
        let running = self.begin(own).await;
        self.ready(own).await;
        running
    }

    /// Starts all sites, and waits for all of them.
    pub(crate) async fn start_all(&self) -> Vec<Running> {
        let mut running = Vec::new();
        for own in 0..self.names.len() {
            running.push(self.begin(own).await);
        }
        for own in 0..self.names.len() {
            self.ready(own).await;
        }
        running
    }

    async fn begin(&self, own: usize) -> Running {
        // What ran here before may still be closing.
        let peer = SocketAddr::from((self.host(own), self.ports.peer));
        eventually("the ports are free", async || {
            let http = TcpListener::bind(self.http(own)).is_ok();
            (http && UdpSocket::bind(peer).is_ok()).then_some(())
        })
        .await;
        let config = self.config(own);
        let (stop, stopped) = oneshot::channel();
        let serve = move || {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
            let shutdown = async {
                let _ = stopped.await;
            };
            let outcome = runtime.block_on(Box::pin(node::serve(config, node::WallClock::Real, shutdown)));
            runtime.shutdown_timeout(PATIENCE);
            outcome.map_err(|error| error.to_string())
        };
        Running { stop, thread: std::thread::spawn(serve) }
    }

    /// Waits until a site takes writes.
    pub(crate) async fn ready(&self, own: usize) {
        eventually("the site is ready", async || self.get(own, "/readyz").await).await;
    }

    /// What a site answers over HTTP, if it is a good answer.
    pub(crate) async fn get(&self, own: usize, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.http(own)).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200 ").then(|| body.to_owned())
    }

    /// A client of this site's region.
    pub(crate) async fn client(&self, own: usize, options: Options) -> Client {
        Client::connect(&[self.kafka(own).to_string()], options).await.unwrap()
    }
}

impl Running {
    /// Stops the site as an operator does, and waits until nothing of it is left.
    pub(crate) async fn stop(self) {
        drop(self.stop);
        let outcome = tokio::task::spawn_blocking(|| self.thread.join().unwrap()).await.unwrap();
        outcome.unwrap();
    }
}

/// An address of this process, this cluster and this site.
fn host(cluster: u8, own: u8) -> Ipv4Addr {
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 1 + high % 250, low, cluster * 10 + own)
}

fn free_ports(cluster: u8, count: usize) -> Vec<u16> {
    // All are held until there are enough: one port twice would be one too few.
    let taken: Vec<_> = (0..count).map(|_| TcpListener::bind((host(cluster, 1), 0)).unwrap()).collect();
    taken.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

/// Asks again and again until there is an answer.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "still waiting: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// A topic with one partition.
pub(crate) fn topic(name: &str, settings: &[(&str, &str)]) -> NewTopic {
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    NewTopic { name: name.to_owned(), partitions: Some(1), settings: BTreeMap::from_iter(settings) }
}

/// Writes one record into `orders`, and waits until it is as safe as the topic asks.
pub(crate) async fn write(client: &Client, value: String) {
    let mut batch = Builder::new();
    batch.push(&NewRecord::value(1, value));
    client.produce("orders", 0, batch.build(), Acks::All).await.unwrap();
}

/// The first records of `orders`, as soon as there are that many.
pub(crate) async fn read(client: &Client, count: usize) -> Vec<(i64, Bytes)> {
    let mut read: Vec<(i64, Bytes)> = Vec::new();
    while read.len() < count {
        let from = read.last().map_or(0, |(offset, _)| offset + 1);
        let answer = client.fetch("orders", 0, from, &FetchOptions::default()).await.unwrap();
        let records = read_records(&answer.batches, from).unwrap();
        read.extend(records.into_iter().map(|read| (read.offset, read.record.value.unwrap())));
    }
    read
}
