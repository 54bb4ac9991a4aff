//! `cert`: an authority and the sites' certificates, for development and small installations; and exchanging those of a site
//! that runs, wherever they come from.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use admin::CertificateStatus;
use admin::client::{self, Address};
use anyhow::Context as _;
use clap::{Args, Subcommand};
use node::config::Config;
use peer::Certificate;
use peer::cert::{Pair, authority, loopback_hosts, site_certificate};
use serde_json::json;

use super::site::Where;
use crate::output::{self, Output, span};

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
    ///
    /// To renew one of them later, make another in a folder of its own (meridian cert site --ca certs --out fresh …), put its two
    /// files in the place of the old ones, and tell the site (meridian cert reload). The README says how to exchange the
    /// authority.
    Dev(Dev),
    /// Show what certificates say: for whom, with which key, until when
    Show(Show),
    /// Have a running site read its certificates, its authorities and its denied keys anew, as SIGHUP does
    ///
    /// What cannot be used is refused, and the ones in force stay. Links go on; only those to a site that is trusted no more
    /// are cut.
    Reload(Reload),
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
    /// Folder of the authority's ca.pem and ca.key, if not the one for the files
    #[arg(long, value_name = "DIR")]
    ca: Option<PathBuf>,
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

/// Which ones.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// PEM files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// Whose.
#[derive(Debug, Args)]
pub(crate) struct Reload {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    output: Output,
}

impl Cert {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match self {
            Cert::Ca(folder) => folder.authority().map(drop),
            Cert::Site(site) => {
                let folder = site.ca.as_ref().unwrap_or(&site.folder.out);
                let ca = Pair::read(folder, CA).context("make an authority first: meridian cert ca")?;
                site.folder.site(&ca, site.id, &site.name, &site.hosts)
            }
            Cert::Dev(dev) => dev.run(),
            Cert::Show(show) => show.run(),
            Cert::Reload(reload) => reload.run().await,
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

impl Show {
    fn run(self) -> anyhow::Result<()> {
        let mut found = Vec::new();
        for file in &self.files {
            found.extend(Certificate::read_all(file)?);
        }
        let value = |it: &Certificate| json!({ "certificate": it.to_string(), "key": it.key.to_string() });
        let values: Vec<_> = found.iter().map(value).collect();
        self.output.show(&values, || found.iter().map(|it| format!("{it}\n{}\n", it.key)).collect())
    }
}

impl Reload {
    async fn run(self) -> anyhow::Result<()> {
        let now = client::renew_certificates(&Address::parse(&self.place.admin)).await?;
        self.output.show(&now, || {
            let left = |it: &CertificateStatus| span(it.until_ms.saturating_sub(now_ms()));
            let held = now.certificates.iter();
            let held = held.map(|it| format!("{}, for {} more, {}\n", it.name, left(it), it.key));
            let denied = [format!("{} keys are denied\n", now.denied_keys)];
            let cut = now.ended.iter().map(|it| format!("the link to {} was cut: {}\n", it.site, it.reason));
            held.chain(denied).chain(cut).collect()
        })
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
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
