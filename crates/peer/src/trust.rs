//! Whom this site believes: certificates of the authority that are in force, and of those not the keys that were denied.

use std::collections::BTreeSet;
use std::fmt::Display;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use crate::{Fingerprint, SiteName};

/// What is trusted by links.
#[derive(Debug, Clone)]
pub(crate) struct Trust {
    pub(crate) authority: Vec<CertificateDer<'static>>,
    pub(crate) denied: BTreeSet<Fingerprint>,
}

impl Trust {
    /// The site that a chain speaks for at this time; `Err` says why there is none.
    pub(crate) fn site_of(&self, chain: &[CertificateDer<'_>], at: UnixTime) -> Result<SiteName, String> {
        let first = chain.first().ok_or("no certificate was shown")?;
        let site = SiteName::of_certificate(first)?;
        stands_behind(&self.authority, chain, at)
            .map_err(|cause| format!("the certificate of {site} is not accepted: {cause}"))?;
        let key = Fingerprint::of(first)?;
        match self.denied.contains(&key) {
            true => Err(format!("the key of {site}, {key}, is denied; give the site another")),
            false => Ok(site),
        }
    }
}

/// Whether one of the authorities stood behind a chain at this time.
pub(crate) fn stands_behind(
    authority: &[CertificateDer<'_>],
    chain: &[CertificateDer<'_>],
    at: UnixTime,
) -> Result<(), String> {
    let words = |e: &dyn Display| e.to_string();
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
    let anchors = authority.iter().map(anchor_from_trusted_cert).collect::<Result<Vec<_>, _>>();
    let anchors = anchors.map_err(|e| words(&e))?;
    let (first, between) = chain.split_first().ok_or("there is no certificate")?;
    let site = EndEntityCert::try_from(first).map_err(|e| words(&e))?;
    let usage = KeyUsage::client_auth();
    let path = site.verify_for_usage(algorithms.all, &anchors, between, at, usage, None, None);
    path.map(|_| ()).map_err(|e| format!("the authority does not stand behind it at that time: {e}"))
}
