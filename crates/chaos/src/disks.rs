//! A disk of its own for every site: an ext4 filesystem in a file, so that it can be full, cut off from power, or put back
//! from a backup.
//!
//! A *power cut* is a copy of the image while every thread of the site stands still, put in place of the image after the
//! process is killed. What the filesystem had handed to its device is in the copy; what was only in its page cache, written
//! and not synced, is gone, and ext4 replays its journal when the copy is mounted. That is how a machine loses power whose
//! disk keeps all it was given. It does not tear sectors or forget what the disk still had in a cache of its own: the
//! simulator does that.
//!
//! This needs root, `mkfs.ext4` and loop devices. Without them sites live in plain folders, and faults of disks are left out.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// Size of an image; it takes only what is written into it.
const IMAGE_BYTES: u64 = 1 << 30;
const FILLER: &str = "filler";
const FILLER_STEP_BYTES: u64 = 256 << 10;
const UNMOUNT_PATIENCE: Duration = Duration::from_secs(20);

/// One site's disk, mounted where its data directory is.
#[derive(Debug)]
pub(crate) struct Disk {
    image: PathBuf,
    mount: PathBuf,
    mounted: bool,
}

/// Runs a tool to its end.
pub(crate) fn tool(name: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(name).args(arguments).output().with_context(|| format!("cannot run {name}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{name} {}: {}", arguments.join(" "), said.trim());
    Ok(())
}

impl Disk {
    /// A fresh disk, mounted at `mount`.
    pub(crate) fn make(image: PathBuf, mount: PathBuf) -> anyhow::Result<Self> {
        File::create(&image)?.set_len(IMAGE_BYTES)?;
        tool("mkfs.ext4", &["-q", "-F", "-m", "0", text(&image)])?;
        std::fs::create_dir_all(&mount)?;
        let mut disk = Self { image, mount, mounted: false };
        disk.mount()?;
        // A data directory is empty before it is founded.
        std::fs::remove_dir(disk.mount.join("lost+found"))?;
        Ok(disk)
    }

    fn mount(&mut self) -> anyhow::Result<()> {
        tool("mount", &["-o", "loop,noatime", text(&self.image), text(&self.mount)])?;
        self.mounted = true;
        Ok(())
    }

    /// A process that was just killed may hold its files for a moment longer.
    fn unmount(&mut self) -> anyhow::Result<()> {
        let until = Instant::now() + UNMOUNT_PATIENCE;
        while self.mounted {
            match tool("umount", &[text(&self.mount)]) {
                Ok(()) => self.mounted = false,
                Err(error) if Instant::now() > until => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
        Ok(())
    }

    /// Copies the image as it is now. The caller sees to it that nobody writes.
    pub(crate) fn copy(&self, label: &str) -> anyhow::Result<PathBuf> {
        let copy = self.image.with_extension(label);
        tool("cp", &["--sparse=always", text(&self.image), text(&copy)])?;
        Ok(copy)
    }

    /// Puts a copy in place of the disk. The process that used it is gone.
    pub(crate) fn replace(&mut self, copy: &Path) -> anyhow::Result<()> {
        self.unmount()?;
        std::fs::rename(copy, &self.image)?;
        self.mount()
    }

    /// Leaves only so much free.
    pub(crate) fn fill(&self, leave_bytes: u64) -> anyhow::Result<()> {
        let stat = rustix::fs::statvfs(&self.mount)?;
        let free_bytes = stat.f_bavail * stat.f_frsize;
        let filler = File::create(self.mount.join(FILLER))?;
        let mut take_bytes = free_bytes.saturating_sub(leave_bytes);
        // The site takes space as well, and the filesystem some to keep its books.
        while take_bytes > FILLER_STEP_BYTES {
            match rustix::fs::fallocate(&filler, rustix::fs::FallocateFlags::empty(), 0, take_bytes) {
                Err(rustix::io::Errno::NOSPC) => take_bytes -= FILLER_STEP_BYTES,
                other => return Ok(other?),
            }
        }
        Ok(())
    }

    /// Gives the space back.
    pub(crate) fn clear(&self) -> anyhow::Result<()> {
        let filler = self.mount.join(FILLER);
        if filler.exists() {
            std::fs::remove_file(filler)?;
            // Otherwise the next power cut brings it back.
            File::open(&self.mount)?.sync_all()?;
        }
        Ok(())
    }

    /// Lets go of the mount, so that its folder can be removed.
    pub(crate) fn close(mut self) -> anyhow::Result<()> {
        self.unmount()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            let _ = tool("umount", &["-l", text(&self.mount)]);
        }
    }
}

/// Whether disks can be made here; otherwise why not.
pub(crate) fn available(folder: &Path) -> Result<(), String> {
    let probe = || -> anyhow::Result<()> {
        let disk = Disk::make(folder.join("probe.img"), folder.join("probe"))?;
        disk.close()?;
        std::fs::remove_file(folder.join("probe.img"))?;
        Ok(std::fs::remove_dir(folder.join("probe"))?)
    };
    probe().map_err(|error| format!("{error:#}"))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("folders of a run are named in ASCII")
}
