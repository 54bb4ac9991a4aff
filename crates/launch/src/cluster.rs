//! The cluster: founded once, then its sites come and go.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use wan::{Emulator, Link, SiteEnd, Topology};

use crate::config::of_site;
use crate::error::LaunchError;
use crate::plan::{Network, Plan, Ports, SITES_MAX};
use crate::process::{Process, Stopped, log_end, run};
use crate::ready;

/// How long a site may take to stop before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// A cluster of processes on this machine.
#[derive(Debug)]
pub struct Cluster {
    plan: Plan,
    processes: BTreeMap<String, Process>,
    emulator: Option<Emulator>,
}

impl Cluster {
    /// Prepares everything up to the sites' first start: addresses, emulator, configurations, certificates, data directories.
    ///
    /// # Errors
    /// If an address is taken, the binary does not run or the folder cannot be written. Nothing is left running.
    pub fn found(plan: Plan) -> Result<Self, LaunchError> {
        if !(1..=SITES_MAX).contains(&plan.sites.len()) {
            return Err(LaunchError::Sites(plan.sites.len()));
        }
        check_addresses(plan.sites.len(), plan.ports)?;
        let cluster = Self { emulator: emulate(&plan)?, plan, processes: BTreeMap::new() };
        cluster.write_configs()?;
        let plan = &cluster.plan;
        let certs = plan.folder.join("certs");
        let first = plan.config(&plan.sites[0]);
        run(
            &plan.meridian,
            &["cert".as_ref(), "dev".as_ref(), "--out".as_ref(), &certs, "--config".as_ref(), &first],
        )?;
        for site in &plan.with_data() {
            run(&plan.meridian, &["bootstrap".as_ref(), "--config".as_ref(), &plan.config(site)])?;
        }
        // A witness founds nothing.
        plan.witness.iter().try_for_each(|witness| cluster.join(witness))?;
        Ok(cluster)
    }

    /// The plan it was made from.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The links between the sites; `None` where nothing lies between them.
    #[must_use]
    pub fn emulator(&self) -> Option<&Emulator> {
        self.emulator.as_ref()
    }

    /// Where a client of this site's region finds it.
    ///
    /// # Errors
    /// If there is no such site.
    pub fn kafka(&self, site: &str) -> Result<SocketAddr, LaunchError> {
        self.index(site).map(|index| self.plan.kafka(index, index))
    }

    /// Its process, while it runs.
    #[must_use]
    pub fn process_id(&self, site: &str) -> Option<u32> {
        self.processes.get(site).map(Process::id)
    }

    /// How its process ended, if it was started and ended by itself.
    pub fn ended(&mut self, site: &str) -> Option<ExitStatus> {
        self.processes.get_mut(site).and_then(Process::ended)
    }

    /// Starts a site, unless it runs.
    ///
    /// # Errors
    /// If there is no such site or the binary does not run.
    pub fn start(&mut self, site: &str) -> Result<(), LaunchError> {
        self.index(site)?;
        let running = self.processes.get_mut(site).is_some_and(|process| process.ended().is_none());
        if !running {
            self.processes.insert(site.to_owned(), Process::start(&self.plan, site)?);
        }
        Ok(())
    }

    /// Starts all sites and waits until each is ready.
    ///
    /// # Errors
    /// If one does not start or is not ready in time.
    pub fn start_all(&mut self, patience: Duration) -> Result<(), LaunchError> {
        let sites = self.plan.sites.clone();
        sites.iter().try_for_each(|site| self.start(site))?;
        sites.iter().try_for_each(|site| self.wait_ready(site, patience))
    }

    /// Waits until a site says that it takes clients.
    ///
    /// # Errors
    /// If it ends or does not say so in time; with the end of its log.
    pub fn wait_ready(&mut self, site: &str, patience: Duration) -> Result<(), LaunchError> {
        let http = self.plan.http(self.index(site)?);
        let until = Instant::now() + patience;
        loop {
            let ended = self.processes.get_mut(site).and_then(Process::ended);
            if let Some(status) = ended {
                let (site, log) = (site.to_owned(), log_end(&self.plan.log(site)));
                return Err(LaunchError::Ended { site, status: status.to_string(), log });
            }
            match ready::ask(http) {
                Ok(()) => return Ok(()),
                Err(said) if Instant::now() >= until => {
                    let (site, log) = (site.to_owned(), log_end(&self.plan.log(site)));
                    return Err(LaunchError::NotReady { site, seconds: patience.as_secs(), said, log });
                }
                Err(_) => std::thread::sleep(POLL),
            }
        }
    }

    /// Stops a site cleanly. One that does not end by itself in time is killed.
    ///
    /// # Errors
    /// If there is no such site, or the signal cannot be sent.
    pub fn stop(&mut self, site: &str) -> Result<Stopped, LaunchError> {
        self.index(site)?;
        self.processes.remove(site).map_or(Ok(Stopped::InTime), |mut it| it.stop(site, STOP_PATIENCE))
    }

    /// Prepares an empty data directory for a site that lost what it had: the others admit it when it starts.
    ///
    /// # Errors
    /// If there is no such site, or the command says no.
    pub fn join(&self, site: &str) -> Result<(), LaunchError> {
        self.index(site)?;
        run(&self.plan.meridian, &["join".as_ref(), "--config".as_ref(), &self.plan.config(site)])
    }

    /// Sets a site's wall clock so far ahead of the machine's, or behind; for now and for later starts. A process heeds it
    /// only if the clock was set once, be it to 0, before it started.
    ///
    /// # Errors
    /// If there is no such site, or the folder cannot be written.
    pub fn shift_clock(&self, site: &str, ahead_ms: i64) -> Result<(), LaunchError> {
        self.index(site)?;
        let (path, fresh) = (self.plan.clock(site), self.plan.clock(&format!("{site}.fresh")));
        let written = std::fs::write(&fresh, format!("{ahead_ms}\n"));
        // Never half a number.
        let written = written.and_then(|()| std::fs::rename(&fresh, &path));
        written.map_err(|source| LaunchError::File { path, source })
    }

    /// Ends a site at once, as a power cut would end its process.
    ///
    /// # Errors
    /// If there is no such site.
    pub fn kill(&mut self, site: &str) -> Result<(), LaunchError> {
        self.index(site)?;
        drop(self.processes.remove(site));
        Ok(())
    }

    /// Ends a site at once and takes its disk: its data directory is empty, and prepared to ask the others to be let in.
    ///
    /// # Errors
    /// If there is no such site, the folder cannot be removed, or the binary does not run.
    pub fn wipe(&mut self, site: &str) -> Result<(), LaunchError> {
        self.kill(site)?;
        let path = self.plan.data(site);
        std::fs::remove_dir_all(&path).map_err(|source| LaunchError::File { path, source })?;
        run(&self.plan.meridian, &["join".as_ref(), "--config".as_ref(), &self.plan.config(site)])
    }

    fn index(&self, site: &str) -> Result<usize, LaunchError> {
        let found = self.plan.sites.iter().position(|known| known == site);
        found.ok_or_else(|| LaunchError::Unknown(site.to_owned()))
    }

    fn write_configs(&self) -> Result<(), LaunchError> {
        let plan = &self.plan;
        let made = std::fs::create_dir_all(plan.folder.join("data"));
        made.map_err(|source| LaunchError::File { path: plan.folder.clone(), source })?;
        for (own, site) in plan.sites.iter().enumerate() {
            let mut dial = BTreeMap::new();
            if let Some(emulator) = &self.emulator {
                for other in plan.sites.iter().filter(|other| *other != site) {
                    dial.insert(other.clone(), emulator.address(site, other)?);
                }
            }
            let path = plan.config(site);
            let written = std::fs::write(&path, of_site(plan, own, &dial));
            written.map_err(|source| LaunchError::File { path, source })?;
        }
        Ok(())
    }
}

/// Says who is in the way before anything is started: a site that fails to listen says so only in its log.
pub(crate) fn check_addresses(sites: usize, ports: Ports) -> Result<(), LaunchError> {
    let taken = |address| move |source| LaunchError::Taken { address, source };
    for host in (0..sites).map(Plan::host) {
        for port in (0..sites).map(|home| ports.kafka(home)).chain([ports.http]) {
            let address = (host, port).into();
            TcpListener::bind(address).map_err(taken(address))?;
        }
        let peer = (host, ports.peer).into();
        UdpSocket::bind(peer).map_err(taken(peer))?;
    }
    Ok(())
}

fn emulate(plan: &Plan) -> Result<Option<Emulator>, LaunchError> {
    let Network::Emulated { matrix, seed, guests } = &plan.network else { return Ok(None) };
    if plan.sites.len() + guests.len() < 2 {
        return Ok(None);
    }
    let sites = plan.sites.iter().enumerate();
    let mut ends: Vec<SiteEnd> =
        sites.map(|(index, name)| SiteEnd { name: name.clone(), listen: plan.peer(index) }).collect();
    ends.extend(guests.iter().cloned());
    let emulator = Emulator::start(&Topology { seed: *seed, sites: ends, ..Topology::default() })?;
    for from in &plan.sites {
        for to in plan.sites.iter().filter(|to| *to != from) {
            emulator.set(from, to, Link::delayed(matrix.one_way_ms(from, to)?))?;
        }
    }
    Ok(Some(emulator))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::Cluster;
    use crate::error::LaunchError;
    use crate::plan::{Network, Plan, Ports};

    fn plan(folder: &std::path::Path, kafka: u16) -> Plan {
        Plan {
            meridian: "/nonexistent/meridian".into(),
            folder: folder.to_owned(),
            sites: vec!["a".to_owned()],
            network: Network::Direct,
            ports: Ports { kafka, peer: 0, http: 0 },
            witness: None,
            settings: Vec::new(),
        }
    }

    #[test]
    fn a_taken_port_is_named_before_anything_is_started() {
        let folder = tempfile::tempdir().unwrap();
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = other.local_addr().unwrap().port();
        let refused = Cluster::found(plan(folder.path(), port)).unwrap_err();
        assert!(
            matches!(&refused, LaunchError::Taken { address, .. } if address.port() == port),
            "{refused}"
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_binary_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let refused = Cluster::found(plan(folder.path(), 0)).unwrap_err();
        assert!(refused.to_string().contains("cannot run /nonexistent/meridian"), "{refused}");
        let none = Plan { sites: Vec::new(), ..plan(folder.path(), 0) };
        assert!(matches!(Cluster::found(none), Err(LaunchError::Sites(0))));
    }
}
