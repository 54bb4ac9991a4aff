//! `cert`: an authority and the sites' certificates, for development and small installations.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use node::config::Config;
use peer::cert::{Pair, authority, loopback_hosts, site_certificate};

use crate::output;

/// Name of the authority's files.
const CA: &str = "ca";

/// What to make.
#[derive(Debug, Subcommand)]
pub(crate) enum Cert {
    /// Make an authority: ca.pem for every site, and ca.key to keep safe
    Ca(Folder),
    /// Make one site's certificate and key
    Site(OneSite),
    /// Make an authority and the certificates of all members of a configuration, for loopback addresses
    Dev(Dev),
}

/// Where files go.
#[derive(Debug, Args)]
pub(crate) struct Folder {
    /// Folder for the files; nothing in it is overwritten
    #[arg(long, default_value = "certs", value_name = "DIR")]
    out: PathBuf,
}

/// For whom.
#[derive(Debug, Args)]
pub(crate) struct OneSite {
    #[command(flatten)]
    folder: Folder,
    /// The site's name
    #[arg(long)]
    name: String,
    /// The site's number
    #[arg(long)]
    id: u16,
    /// A name or address under which Kafka clients reach it; may be repeated
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
}

/// For which cluster.
#[derive(Debug, Args)]
pub(crate) struct Dev {
    #[command(flatten)]
    folder: Folder,
    /// Configuration of any of the sites
    #[arg(long, default_value = "datacenters/eu-west.toml", value_name = "FILE")]
    config: PathBuf,
}

impl Cert {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self {
            Cert::Ca(folder) => folder.authority().map(drop),
            Cert::Site(site) => {
                let ca =
                    Pair::read(&site.folder.out, CA).context("make an authority first: meridian cert ca")?;
                site.folder.site(&ca, site.id, &site.name, &site.hosts)
            }
            Cert::Dev(dev) => dev.run(),
        }
    }
}

impl Folder {
    fn make(&self) -> anyhow::Result<&Path> {
        std::fs::create_dir_all(&self.out).with_context(|| format!("cannot make {}", self.out.display()))?;
        Ok(&self.out)
    }

    fn authority(&self) -> anyhow::Result<Pair> {
        let ca = authority("Meridian sites")?;
        ca.write(self.make()?, CA)?;
        self.say(CA)?;
        Ok(ca)
    }

    fn site(&self, ca: &Pair, id: u16, name: &str, hosts: &[String]) -> anyhow::Result<()> {
        site_certificate(ca, id, name, hosts)?.write(self.make()?, name)?;
        self.say(name)
    }

    fn say(&self, stem: &str) -> anyhow::Result<()> {
        let out = self.out.display();
        output::line(&format!("wrote {out}/{stem}.pem and {out}/{stem}.key"))
    }
}

impl Dev {
    fn run(self) -> anyhow::Result<()> {
        let config = Config::load(&self.config, [], [])?;
        let ca = self.folder.authority()?;
        for member in &config.shared.members {
            let mut hosts = loopback_hosts();
            if !hosts.contains(&member.kafka) {
                hosts.push(member.kafka.clone());
            }
            self.folder.site(&ca, member.id, &member.name, &hosts)?;
        }
        Ok(())
    }
}
