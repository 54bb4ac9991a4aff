//! Ports for clusters beside each other on one machine: a block of them for each, the same at every address of its sites.
//!
//! Whoever takes a block listens on its first port for as long, so that two that start at the same moment do not take the
//! same one. All blocks lie below what systems hand out to whoever does not care.

use std::net::{Ipv4Addr, TcpListener};

use crate::cluster::check_addresses;
use crate::error::LaunchError;
use crate::plan::{Ports, SITES_MAX};

/// Ports of one block: a mark, a home for every site there can be, and two more.
const BLOCK: u16 = 16;
/// Where blocks begin.
const FIRST: u16 = 20_000;
const BLOCKS: u16 = 780;

/// A block of ports, until this is dropped.
#[derive(Debug)]
pub struct PortBlock {
    ports: Ports,
    _mark: TcpListener,
}

impl PortBlock {
    /// Takes the block that begins at `first`, or any of which no port is in use at the addresses of so many sites.
    ///
    /// # Errors
    /// [`LaunchError::Taken`] if a port of that block is in use, [`LaunchError::NoPorts`] if there is no free one.
    pub fn take(first: Option<u16>, sites: usize) -> Result<PortBlock, LaunchError> {
        if let Some(first) = first {
            return PortBlock::at(first, sites);
        }
        // Who starts at another place seldom meets another.
        let begin = std::process::id() % u32::from(BLOCKS);
        let blocks = (0..u32::from(BLOCKS)).map(|at| (begin + at) % u32::from(BLOCKS));
        let firsts = blocks.filter_map(|block| u16::try_from(block).ok()).map(|block| FIRST + block * BLOCK);
        let mut free = firsts.filter_map(|first| PortBlock::at(first, sites).ok());
        free.next().ok_or(LaunchError::NoPorts { from: FIRST, to: FIRST + BLOCKS * BLOCK - 1 })
    }

    fn at(first: u16, sites: usize) -> Result<PortBlock, LaunchError> {
        let mark = (Ipv4Addr::LOCALHOST, first).into();
        let taken = |source| LaunchError::Taken { address: mark, source };
        let _mark = TcpListener::bind(mark).map_err(taken)?;
        let homes = SITES_MAX as u16;
        let ports = Ports { kafka: first + 1, peer: first + 1 + homes, http: first + 2 + homes };
        check_addresses(sites, ports)?;
        Ok(PortBlock { ports, _mark })
    }

    /// Its ports.
    #[must_use]
    pub fn ports(&self) -> Ports {
        self.ports
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::PortBlock;
    use crate::error::LaunchError;

    #[test]
    fn two_never_have_the_same_ports() {
        let (one, other) = (PortBlock::take(None, 3).unwrap(), PortBlock::take(None, 3).unwrap());
        assert_ne!(one.ports(), other.ports());
        let first = one.ports().kafka - 1;
        assert!(matches!(PortBlock::take(Some(first), 3), Err(LaunchError::Taken { .. })));
        drop(one);
        // Also where somebody else has one of them.
        let _third = TcpListener::bind(("127.0.0.3", first + 2)).unwrap();
        let refused = PortBlock::at(first, 3).unwrap_err();
        assert!(
            matches!(&refused, LaunchError::Taken { address, .. } if address.to_string() == format!("127.0.0.3:{}", first + 2)),
            "{refused}"
        );
        assert_eq!(PortBlock::at(first, 2).unwrap().ports().kafka, first + 1);
    }
}
