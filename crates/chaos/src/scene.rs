//! The scene: sites, their disks, the links between them, the clients, and what was noticed of the sites' conduct.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use admin::SiteStatus;
use admin::client::{self, Address};
use anyhow::Context as _;
use history::Shift;
use launch::{Cluster, LaunchError, PortBlock, Stopped, Thread};
use rustix::process::{Pid, Signal, kill_process};
use wan::{Emulator, Link, Matrix};

use crate::clients::Stranger;
use crate::disks::Disk;
use crate::interrupt::{self, Interrupted};

/// On a busy machine a recovery takes its time.
pub(crate) const READY_PATIENCE: Duration = Duration::from_secs(60);
/// Twice a client's delivery timeout, and some.
const REST_PATIENCE: Duration = Duration::from_secs(80);
const STANDSTILL_PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// Everything that faults act on.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) cluster: Cluster,
    pub(crate) _ports: PortBlock,
    pub(crate) disks: BTreeMap<String, Disk>,
    pub(crate) strangers: Vec<Stranger>,
    pub(crate) matrix: Matrix,
    pub(crate) folder: PathBuf,
    pub(crate) runtime: tokio::runtime::Runtime,
    /// Sites that ought to run.
    pub(crate) up: BTreeSet<String>,
    /// What sites did that they must not do, whatever happens to them.
    pub(crate) misconduct: Vec<String>,
    pub(crate) began: Instant,
    /// Clocks that were set wrong; until the end of time, where they still are.
    pub(crate) shifts: Vec<Shift>,
}

impl Scene {
    /// The sites that hold data and take clients.
    pub(crate) fn sites(&self) -> Vec<String> {
        self.cluster.plan().with_data()
    }

    /// The witness as well.
    pub(crate) fn everyone(&self) -> Vec<String> {
        self.cluster.plan().sites.clone()
    }

    pub(crate) fn is_witness(&self, site: &str) -> bool {
        self.cluster.plan().witness.as_deref() == Some(site)
    }

    pub(crate) fn emulator(&self) -> anyhow::Result<&Emulator> {
        self.cluster.emulator().context("the sites of a chaos run are joined by the emulator")
    }

    /// Says and keeps what happens.
    pub(crate) fn say(&self, what: &str) {
        println!("{:7.1} s  {what}", self.began.elapsed().as_secs_f64());
    }

    pub(crate) fn accuse(&mut self, what: String) {
        self.say(&format!("!! {what}"));
        self.misconduct.push(what);
    }

    /// Sets a site's clock wrong, or right, and keeps when that was.
    pub(crate) fn shift_clock(&mut self, site: &str, ahead_ms: i64) -> anyhow::Result<()> {
        let from_ms = unix_ms();
        self.cluster.shift_clock(site, ahead_ms)?;
        let wrong = self.shifts.iter_mut().filter(|shift| shift.site == site && shift.until_ms == u64::MAX);
        wrong.for_each(|shift| shift.until_ms = unix_ms());
        if ahead_ms != 0 {
            self.shifts.push(Shift { site: site.to_owned(), from_ms, until_ms: u64::MAX, ahead_ms });
        }
        Ok(())
    }

    /// Says a word to all writers, and waits until nothing that they write is under way.
    pub(crate) fn tell_writers(&mut self, word: &str) -> Result<bool, Interrupted> {
        self.strangers.iter_mut().for_each(|stranger| stranger.say(word));
        let until = Instant::now() + REST_PATIENCE;
        while !self.strangers.iter().all(Stranger::rests) {
            if Instant::now() > until {
                return Ok(false);
            }
            interrupt::sleep(POLL)?;
        }
        Ok(true)
    }

    /// Starts a site, which ought to run from now on.
    pub(crate) fn start(&mut self, site: &str) -> anyhow::Result<()> {
        self.cluster.start(site)?;
        self.up.insert(site.to_owned());
        Ok(())
    }

    /// Ends a site at once.
    pub(crate) fn kill(&mut self, site: &str) -> anyhow::Result<()> {
        self.up.remove(site);
        Ok(self.cluster.kill(site)?)
    }

    /// Stops a site cleanly.
    pub(crate) fn stop(&mut self, site: &str) -> anyhow::Result<()> {
        self.up.remove(site);
        match self.cluster.stop(site)? {
            Stopped::InTime => {}
            Stopped::Held(until) => {
                let seconds = until.as_secs();
                self.say(&format!(
                    "{site} ended in time; the kernel let go of it {seconds} s after it was asked to stop"
                ));
            }
            Stopped::Killed(threads) => {
                let threads: Vec<String> = threads.iter().map(Thread::to_string).collect();
                self.accuse(format!(
                    "{site} did not stop within its time when it was asked to; its threads: {}",
                    threads.join(", ")
                ));
            }
        }
        Ok(())
    }

    /// Waits until a site takes clients; one that does not is accused.
    pub(crate) fn wait_ready(&mut self, site: &str) -> anyhow::Result<()> {
        if let Some(why) = self.unready(site, READY_PATIENCE)? {
            self.accuse(why);
        }
        Ok(())
    }

    /// Why a site does not take clients within so long; `None` as soon as it does.
    pub(crate) fn unready(&mut self, site: &str, patience: Duration) -> anyhow::Result<Option<String>> {
        Ok(await_ready(&mut self.cluster, site, patience)?.map(|why| why.to_string()))
    }

    /// Sites that ended by themselves are accused and started again.
    pub(crate) fn look_after(&mut self) -> anyhow::Result<()> {
        for site in self.up.clone() {
            if let Some(status) = self.cluster.ended(&site) {
                let log = self.cluster.plan().log(&site);
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                let end: Vec<&str> = text.lines().rev().take(3).collect();
                self.accuse(format!("{site} ended by itself ({status}): {}", end.join(" | ")));
                self.start(&site)?;
            }
        }
        Ok(())
    }

    /// Stops every thread of a site where it is.
    pub(crate) fn freeze(&self, site: &str) -> anyhow::Result<()> {
        let process = self.signal(site, Signal::STOP)?;
        let until = Instant::now() + STANDSTILL_PATIENCE;
        while !stands_still(process) {
            anyhow::ensure!(Instant::now() < until, "{site} does not stand still");
            interrupt::sleep(Duration::from_millis(2))?;
        }
        Ok(())
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self, site: &str) -> anyhow::Result<()> {
        self.signal(site, Signal::CONT).map(|_| ())
    }

    fn signal(&self, site: &str, signal: Signal) -> anyhow::Result<u32> {
        let process = self.cluster.process_id(site).with_context(|| format!("{site} does not run"))?;
        let pid = i32::try_from(process).ok().and_then(Pid::from_raw).context("a process id")?;
        kill_process(pid, signal).with_context(|| format!("cannot signal {site}"))?;
        Ok(process)
    }

    /// The links of a site, both ways.
    pub(crate) fn links_of(&self, site: &str) -> Vec<(String, String)> {
        let others = self.everyone().into_iter().filter(|other| other != site);
        others.flat_map(|other| [(site.to_owned(), other.clone()), (other, site.to_owned())]).collect()
    }

    /// A link as it ought to be.
    pub(crate) fn sound_link(&self, from: &str, to: &str) -> anyhow::Result<Link> {
        Ok(Link::delayed(self.matrix.one_way_ms(from, to)?))
    }

    /// What a site says of itself.
    pub(crate) fn status(&self, site: &str) -> anyhow::Result<SiteStatus> {
        let address = self.admin(site)?;
        Ok(self.runtime.block_on(client::status(&address))?)
    }

    pub(crate) fn admin(&self, site: &str) -> anyhow::Result<Address> {
        Ok(Address::parse(&self.admin_url(site)?))
    }

    pub(crate) fn admin_url(&self, site: &str) -> anyhow::Result<String> {
        let index =
            self.everyone().iter().position(|known| known == site).context("a site of the cluster")?;
        Ok(format!("http://{}", self.cluster.plan().http(index)))
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Why a site does not take clients within so long; `None` as soon as it does.
pub(crate) fn await_ready(
    cluster: &mut Cluster,
    site: &str,
    patience: Duration,
) -> Result<Option<LaunchError>, Interrupted> {
    let until = Instant::now() + patience;
    loop {
        match cluster.wait_ready(site, Duration::ZERO) {
            Ok(()) => return Ok(None),
            Err(LaunchError::NotReady { .. }) if Instant::now() < until => interrupt::sleep(POLL)?,
            Err(LaunchError::NotReady { site, said, log, .. }) => {
                return Ok(Some(LaunchError::NotReady { site, seconds: patience.as_secs(), said, log }));
            }
            Err(error) => return Ok(Some(error)),
        }
    }
}

/// Whether every thread of a process is stopped.
fn stands_still(process: u32) -> bool {
    let threads = launch::threads(process);
    // A thread that has just ended says nothing.
    !threads.is_empty() && threads.iter().all(|it| matches!(it.state, Some('T' | 't' | 'Z' | 'X') | None))
}
