//! What to start, and at which addresses.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use wan::{Matrix, SiteEnd};

/// The certificates that `meridian cert dev` makes name the loopback addresses up to this one.
pub const SITES_MAX: usize = 9;

/// What lies between the sites.
#[derive(Debug, Clone)]
pub enum Network {
    /// Nothing: the loopback as it is.
    Direct,
    /// The link emulator, with half of the matrix's round trips each way.
    Emulated {
        /// Round trips between all sites.
        matrix: Matrix,
        /// Of all chance.
        seed: u64,
        /// Ends that are no sites of the cluster, such as a measurement's own sockets. Their links are perfect until set.
        guests: Vec<SiteEnd>,
    },
}

/// First ports. They are the same at every site, since each has an address of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// Kafka port of the first home; the others count up.
    pub kafka: u16,
    /// Between sites, UDP.
    pub peer: u16,
    /// Health and metrics.
    pub http: u16,
}

impl Ports {
    /// The Kafka port of home number `home`.
    pub(crate) fn kafka(self, home: usize) -> u16 {
        self.kafka + u16::try_from(home).unwrap_or(0)
    }
}

impl Default for Ports {
    /// Those of the configurations in `datacenters/`.
    fn default() -> Self {
        Self { kafka: 9092, peer: 7400, http: 9644 }
    }
}

/// A cluster to start.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The `meridian` binary.
    pub meridian: PathBuf,
    /// Configurations, certificates, data and logs go here. Keep the path short: a Unix socket lies in each data directory.
    pub folder: PathBuf,
    /// The sites' names, which are the homes' names too.
    pub sites: Vec<String>,
    /// Which of them is the witness, if one is: the last, since it is nobody's home.
    pub witness: Option<String>,
    /// What lies between them.
    pub network: Network,
    /// Where they listen.
    pub ports: Ports,
    /// `key=value`, given to every site with `--set`.
    pub settings: Vec<String>,
}

impl Plan {
    /// The sites that hold data.
    #[must_use]
    pub fn with_data(&self) -> Vec<String> {
        self.sites.iter().filter(|site| Some(*site) != self.witness.as_ref()).cloned().collect()
    }

    /// Where site number `index` lives.
    #[must_use]
    pub fn host(index: usize) -> Ipv4Addr {
        Ipv4Addr::new(127, 0, 0, u8::try_from(1 + index).unwrap_or(u8::MAX))
    }

    /// Where the other sites find it (UDP).
    #[must_use]
    pub fn peer(&self, index: usize) -> SocketAddr {
        (Self::host(index), self.ports.peer).into()
    }

    /// Its health and metrics.
    #[must_use]
    pub fn http(&self, index: usize) -> SocketAddr {
        (Self::host(index), self.ports.http).into()
    }

    /// Where it serves the clients of home number `home`.
    #[must_use]
    pub fn kafka(&self, index: usize, home: usize) -> SocketAddr {
        (Self::host(index), self.ports.kafka(home)).into()
    }

    /// Its configuration file.
    #[must_use]
    pub fn config(&self, site: &str) -> PathBuf {
        self.folder.join(format!("{site}.toml"))
    }

    /// What it has said.
    #[must_use]
    pub fn log(&self, site: &str) -> PathBuf {
        self.folder.join(format!("{site}.log"))
    }

    /// By how much its wall clock is shifted, if it is.
    #[must_use]
    pub fn clock(&self, site: &str) -> PathBuf {
        self.folder.join(format!("{site}.clock"))
    }

    /// What it keeps.
    #[must_use]
    pub fn data(&self, site: &str) -> PathBuf {
        self.folder.join("data").join(site)
    }
}
