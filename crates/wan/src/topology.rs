//! What an emulator emulates: the sites, where each really listens, and how each pair is linked at the start.
//!
//! ```toml
//! seed = 7                       # of all chance; default 0
//! gates = "127.0.0.1:7500"       # first gate's address, the others count up; default: any free ports
//! matrix = "rtt.toml"            # delays of all pairs not named below, relative to this file
//! [[sites]]
//! name = "eu-west"
//! listen = "127.0.0.1:7400"
//! [[links]]                      # every field of a link is optional
//! from = "eu-west"
//! to = "us-east"
//! link = { delay_ms = 35, loss = 0.001, rate_mbit = 200 }
//! [[pipes]]                      # several links through one bottleneck
//! rate_mbit = 100
//! queue_kib = 512
//! links = [["eu-west", "us-east"], ["eu-west", "ap-southeast"]]
//! ```

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::link::Link;
use crate::matrix::{Matrix, MatrixError};

/// More sites would need more gates than one thread serves well.
pub(crate) const SITES_MAX: usize = 32;

/// Sites and links of an emulator.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    /// Seed of all chance.
    #[serde(default)]
    pub seed: u64,
    /// Address of the first gate; the others count up from its port. Any free port when absent.
    #[serde(default)]
    pub gates: Option<SocketAddr>,
    /// A round-trip matrix that gives the delay of every pair not in `links`.
    #[serde(default)]
    pub matrix: Option<PathBuf>,
    /// The sites.
    pub sites: Vec<SiteEnd>,
    /// How pairs are linked; pairs not named are perfect.
    #[serde(default)]
    pub links: Vec<LinkSpec>,
    /// Bottlenecks that several pairs share.
    #[serde(default)]
    pub pipes: Vec<PipeSpec>,
}

/// A site as the emulator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteEnd {
    /// Its name.
    pub name: String,
    /// Where its UDP socket really listens.
    pub listen: SocketAddr,
}

/// One directed pair's link.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkSpec {
    /// The sending site.
    pub from: String,
    /// The receiving site.
    pub to: String,
    /// The behaviour.
    pub link: Link,
}

/// A bottleneck that several directed pairs share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipeSpec {
    /// Its rate.
    pub rate_mbit: f64,
    /// The queue in front of it.
    pub queue_kib: u32,
    /// The directed pairs that pass it.
    pub links: Vec<(String, String)>,
}

/// Why a topology could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// The file could not be read.
    #[error("cannot read the topology {path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not a topology.
    #[error("{path} is not a topology: {source}")]
    Parse {
        /// Which file.
        path: PathBuf,
        /// What is wrong and where.
        source: Box<toml::de::Error>,
    },
    /// The matrix it names could not be used.
    #[error(transparent)]
    Matrix(#[from] MatrixError),
}

impl Topology {
    /// All pairs of `sites` with the delays of `matrix` and nothing else: half the round trip each way.
    ///
    /// # Errors
    /// If the matrix lacks a pair.
    pub fn of_matrix(matrix: &Matrix, sites: &[(&str, SocketAddr)]) -> Result<Self, MatrixError> {
        let sites = sites.iter().map(|(name, listen)| SiteEnd { name: (*name).to_owned(), listen: *listen });
        let mut topology = Self { sites: sites.collect(), ..Self::default() };
        topology.fill_from(matrix)?;
        Ok(topology)
    }

    /// Reads a topology file and the matrix that it names.
    ///
    /// # Errors
    /// If either file is missing or wrong.
    pub fn load(path: &Path) -> Result<Self, TopologyError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| TopologyError::Read { path: path.to_owned(), source })?;
        let mut topology: Self = toml::from_str(&text)
            .map_err(|source| TopologyError::Parse { path: path.to_owned(), source: Box::new(source) })?;
        if let Some(matrix) = &topology.matrix {
            let beside = path.parent().unwrap_or(Path::new(".")).join(matrix);
            topology.fill_from(&Matrix::load(&beside)?)?;
        }
        Ok(topology)
    }

    /// Gives every pair without a link the matrix's delay.
    fn fill_from(&mut self, matrix: &Matrix) -> Result<(), MatrixError> {
        let names: Vec<String> = self.sites.iter().map(|site| site.name.clone()).collect();
        for from in &names {
            for to in names.iter().filter(|to| *to != from) {
                if self.links.iter().any(|spec| spec.from == *from && spec.to == *to) {
                    continue;
                }
                let link = Link::delayed(matrix.one_way_ms(from, to)?);
                self.links.push(LinkSpec { from: from.clone(), to: to.clone(), link });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Topology;
    use crate::link::Link;
    use crate::matrix::Matrix;

    #[test]
    fn the_documented_form_parses() {
        let text = r#"
            seed = 7
            gates = "127.0.0.1:7500"
            sites = [{ name = "a", listen = "127.0.0.1:7400" }, { name = "b", listen = "127.0.0.2:7400" }]
            pipes = [{ rate_mbit = 100, queue_kib = 512, links = [["a", "b"]] }]
            [[links]]
            from = "a"
            to = "b"
            link = { delay_ms = 35, loss = 0.001, rate_mbit = 200 }
        "#;
        let topology: Topology = toml::from_str(text).unwrap();
        let wanted = Link { delay_ms: 35.0, loss: 0.001, rate_mbit: 200.0, ..Link::default() };
        assert_eq!(topology.links[0].link, wanted);
        assert!(toml::from_str::<Topology>("sites = []\nspeed = 1").is_err(), "unknown keys are refused");
    }

    #[test]
    fn a_matrix_links_every_ordered_pair_with_half_the_round_trip() {
        let matrix = Matrix::uniform(&["a", "b", "c"], 0.2);
        let listen = "127.0.0.1:1".parse().unwrap();
        let topology = Topology::of_matrix(&matrix, &[("a", listen), ("b", listen), ("c", listen)]).unwrap();
        assert_eq!(topology.links.len(), 6);
        assert!(topology.links.iter().all(|spec| (spec.link.delay_ms - 0.1).abs() < 1e-9));
        assert!(Topology::of_matrix(&matrix, &[("a", listen), ("x", listen)]).is_err());
    }
}
