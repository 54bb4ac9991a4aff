//! What the machine could do at best, measured in the run whose figures stand beside it.
//!
//! - **Disk**: one fdatasync per MiB into a file that was filled with zeros before, so that a sync has no metadata to commit.
//! - **Loopback**: the bytes of the load through one TCP connection into a sink that checksums them, as any broker must.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;

const MIB: usize = 1 << 20;
/// Long enough that the device's own cache does not swallow the whole, short enough to be filled in a second.
const FILE_MIB: u64 = 512;
const SINK_BUFFER_BYTES: usize = 256 << 10;

/// MB/s of the disk under `folder`, measured for about this long.
pub(crate) fn disk_mb_s(folder: &Path, during: Duration) -> anyhow::Result<f64> {
    let path = folder.join("disk-limit");
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path);
    let file = file.with_context(|| format!("cannot write {}", path.display()))?;
    let measured = measure_disk(&file, during);
    drop(file);
    std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    measured
}

fn measure_disk(file: &File, during: Duration) -> anyhow::Result<f64> {
    let zeros = vec![0_u8; MIB];
    for mib in 0..FILE_MIB {
        file.write_all_at(&zeros, mib * MIB as u64)?;
    }
    file.sync_all()?;
    // Not zeros: a disk may know better than to store those.
    let payload: Vec<u8> = (0..MIB as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let began = Instant::now();
    let mut written = 0_u64;
    while began.elapsed() < during {
        file.write_all_at(&payload, written % FILE_MIB * MIB as u64)?;
        file.sync_data()?;
        written += 1;
    }
    Ok(mb_s(written * MIB as u64, began.elapsed()))
}

/// MB/s of one loopback connection that carries `unit` over and over into a sink that checksums it.
pub(crate) fn loopback_mb_s(unit: &[u8], during: Duration) -> anyhow::Result<f64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen on the loopback")?;
    let address = listener.local_addr()?;
    std::thread::scope(|scope| {
        let sink = scope.spawn(move || swallow(&listener));
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let began = Instant::now();
        let mut sent = 0_u64;
        while began.elapsed() < during {
            stream.write_all(unit)?;
            sent += unit.len() as u64;
        }
        drop(stream);
        let taken =
            sink.join().map_err(|_| anyhow::anyhow!("the sink of the loopback measurement panicked"))??;
        anyhow::ensure!(taken == sent, "the loopback lost bytes: {sent} sent, {taken} taken");
        Ok(mb_s(sent, began.elapsed()))
    })
}

fn swallow(listener: &TcpListener) -> std::io::Result<u64> {
    let (mut stream, _) = listener.accept()?;
    let mut buffer = vec![0; SINK_BUFFER_BYTES];
    let (mut taken, mut checksum) = (0, 0);
    loop {
        match stream.read(&mut buffer)? {
            0 => {
                std::hint::black_box(checksum);
                return Ok(taken);
            }
            read => {
                checksum = crc32c::crc32c_append(checksum, &buffer[..read]);
                taken += read as u64;
            }
        }
    }
}

/// Millions of bytes in a second.
pub(crate) fn mb_s(bytes: u64, took: Duration) -> f64 {
    bytes as f64 / 1e6 / took.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{disk_mb_s, loopback_mb_s, mb_s};

    #[test]
    fn limits_are_measured_and_leave_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        assert!(disk_mb_s(folder.path(), Duration::from_millis(1)).unwrap() > 0.0);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(loopback_mb_s(&[7; 10_000], Duration::from_millis(1)).unwrap() > 0.0);
    }

    #[test]
    fn a_megabyte_is_a_million_bytes() {
        assert!((mb_s(3_000_000, Duration::from_millis(1_500)) - 2.0).abs() < 1e-9);
    }
}
