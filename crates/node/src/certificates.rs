//! The site's certificates while it runs: read anew when an operator asks, and looked at as they age.
//!
//! What is read is taken whole or not at all: a file that cannot be used, a key of another certificate, a certificate that other
//! sites would refuse leave everything as it was. Then links, signatures and the doors for Kafka clients go by it at once.

use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use admin::{CertificateStatus, CertificatesNow, EndedLink};
use peer::{Certificate, Identity, Links, SiteName};

use crate::config::{Config, Tls};
use crate::doors::{self, Shown};
use crate::notary::NodeNotary;
use crate::views::Fixed;

/// How often an operator is told that a certificate is due.
const REMIND_EVERY: Duration = Duration::from_hours(12);

/// The files, and whose they are.
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    own: SiteName,
    tls: Tls,
}

impl CertificateFiles {
    pub(crate) fn of(config: &Config) -> CertificateFiles {
        let own = SiteName { site: config.site.id, name: config.site.name.clone() };
        CertificateFiles { own, tls: config.tls.clone() }
    }

    /// What they hold.
    pub(crate) fn read(&self) -> Result<Identity, peer::IdentityError> {
        let Tls { ca, cert, key, former_ca, denied, .. } = &self.tls;
        let mut identity = Identity::load(self.own.clone(), cert, key, ca)?;
        if let Some(former) = former_ca {
            identity = identity.with_former(former)?;
        }
        match denied {
            Some(denied) => identity.with_denied(denied),
            None => Ok(identity),
        }
    }
}

/// Who goes by the certificates, and what they were when last read.
#[derive(Debug)]
pub(crate) struct Certificates {
    files: CertificateFiles,
    users: Users,
    held: Mutex<Held>,
}

/// Who goes by them.
#[derive(Debug)]
pub(crate) struct Users {
    pub(crate) links: Arc<Links>,
    pub(crate) notary: Arc<NodeNotary>,
    pub(crate) doors: Option<Arc<Shown>>,
    pub(crate) names: Fixed,
}

/// This site's certificate, and those of the authorities.
#[derive(Debug)]
struct Held {
    all: Vec<Certificate>,
    denied: usize,
}

impl Held {
    fn of(identity: &Identity) -> Result<Held, String> {
        let all = [vec![identity.certificate()?], identity.authorities()?].concat();
        Ok(Held { all, denied: identity.denied() })
    }
}

impl Certificates {
    /// Those that the site started with.
    pub(crate) fn new(
        files: CertificateFiles,
        identity: &Identity,
        users: Users,
    ) -> Result<Certificates, String> {
        let held = Held::of(identity)?;
        say(&held, "certificates");
        if let Err(error) = identity.check() {
            tracing::warn!("{error}");
        }
        Ok(Certificates { files, users, held: Mutex::new(held) })
    }

    /// Reads the files anew and goes by them, or says why not and changes nothing.
    pub(crate) fn renew(&self) -> Result<CertificatesNow, String> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let renewed = self.exchange(&mut held);
        match &renewed {
            Ok(now) => {
                say(&held, "certificates were read anew");
                for link in &now.ended {
                    tracing::warn!(site = link.site, reason = link.reason, "a link was cut");
                }
            }
            Err(reason) => tracing::warn!(reason, "new certificates are refused; the ones in force stay"),
        }
        renewed
    }

    fn exchange(&self, held: &mut Held) -> Result<CertificatesNow, String> {
        let words = |error: &dyn Display| error.to_string();
        let Users { links, notary, doors, names } = &self.users;
        let identity = self.files.read().map_err(|e| words(&e))?;
        identity.check().map_err(|e| words(&e))?;
        let fresh = Held::of(&identity)?;
        let (certificate, key) = (&self.files.tls.cert, &self.files.tls.key);
        let shown = doors::certified_key(certificate, key).map_err(|e| words(&e))?;
        // A key that cannot sign is found out before links show its certificate.
        peer::Notary::new(&identity).map_err(|e| words(&e))?;
        let ended = links.renew(&identity).map_err(|e| words(&e))?;
        notary.renew(&identity).map_err(|e| words(&e))?;
        if let Some(doors) = doors {
            doors.show(shown);
        }
        *held = fresh;
        let named = |(site, reason)| EndedLink { site: names.name_of(entry::SiteId(site)), reason };
        Ok(CertificatesNow {
            certificates: held.all.iter().map(put).collect(),
            denied_keys: held.denied as u64,
            ended: ended.into_iter().map(named).collect(),
        })
    }

    /// How they stand.
    pub(crate) fn status(&self) -> Vec<CertificateStatus> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.all.iter().map(put).collect()
    }

    /// What an operator should see to, in words.
    pub(crate) fn due(&self) -> Vec<String> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let now = SystemTime::now();
        let due = held.all.iter().filter(|certificate| certificate.due() <= now);
        due.map(|it| {
            let stands = if it.until() <= now { "has expired" } else { "is to be renewed" };
            format!(
                "the certificate of {it}, {stands}: put another in its place, then `meridian cert reload`"
            )
        })
        .collect()
    }

    /// Tells now and then what is due, for as long as this is polled.
    pub(crate) async fn remind(&self) {
        let mut now_and_then = tokio::time::interval(REMIND_EVERY);
        loop {
            now_and_then.tick().await;
            self.due().iter().for_each(|words| tracing::warn!("{words}"));
        }
    }
}

fn say(held: &Held, what: &'static str) {
    for certificate in &held.all {
        tracing::info!(denied_keys = held.denied, key = %certificate.key, "{what}: {certificate}");
    }
}

fn put(certificate: &Certificate) -> CertificateStatus {
    let ms = |time: SystemTime| {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    };
    CertificateStatus {
        name: certificate.name.clone(),
        key: certificate.key.to_string(),
        from_ms: ms(certificate.from()),
        until_ms: ms(certificate.until()),
        due_ms: ms(certificate.due()),
    }
}
