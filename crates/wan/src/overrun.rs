//! Packets that the kernel dropped at a full socket buffer before the emulator could see them.
//!
//! They are nobody's intended loss: a measurement with a count above zero here measured the machine, not the link.

use std::net::SocketAddr;

/// Sum of the kernel's drop counters over the UDP sockets bound to these addresses; `None` where it cannot be read.
pub(crate) fn overrun_packets(addresses: &[SocketAddr]) -> Option<u64> {
    let table = std::fs::read_to_string("/proc/net/udp").ok()?;
    let ports: Vec<u16> = addresses.iter().map(SocketAddr::port).collect();
    Some(
        table
            .lines()
            .skip(1)
            .filter_map(row)
            .filter(|(port, _)| ports.contains(port))
            .map(|(_, drops)| drops)
            .sum(),
    )
}

/// A row's local port and drop counter: `sl local_address … drops`, addresses as `hex ip:hex port`.
fn row(line: &str) -> Option<(u16, u64)> {
    let mut words = line.split_whitespace();
    let (_, port) = words.nth(1)?.split_once(':')?;
    Some((u16::from_str_radix(port, 16).ok()?, words.next_back()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    #[test]
    fn reads_port_and_drops_of_a_row() {
        let line = "  123: 0100007F:1CE8 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4242 2 0000000000000000 17";
        assert_eq!(super::row(line), Some((7_400, 17)));
        assert_eq!(super::row("nonsense"), None);
    }
}
