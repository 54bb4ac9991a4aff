//! The machine's notary: the keys of `peer`, by the names of this cluster's sites.

use std::collections::BTreeMap;
use std::sync::Arc;

use entry::SiteId;
use peer::{Identity, LinkConfig, NotSigned, Said, SiteName, StartError};
use site::{Claim, NotBelieved, Notary, Signed};

/// Signs with the site's key, and knows how the other sites are called.
#[derive(Debug)]
pub(crate) struct NodeNotary {
    keys: Arc<peer::Notary>,
    names: BTreeMap<SiteId, SiteName>,
}

impl NodeNotary {
    /// The notary of a site that has these links.
    pub(crate) fn new(links: &LinkConfig) -> Result<NodeNotary, StartError> {
        let peers = links.peers.iter().map(|peer| SiteName { site: peer.site, name: peer.name.clone() });
        let all = peers.chain([links.identity.own().clone()]);
        let names = all.map(|name| (SiteId(name.site), name)).collect();
        Ok(NodeNotary { keys: Arc::new(peer::Notary::new(&links.identity)?), names })
    }

    /// Signs with another key from here on, and believes other authorities.
    pub(crate) fn renew(&self, identity: &Identity) -> Result<(), StartError> {
        self.keys.renew(identity)
    }
}

impl Notary for NodeNotary {
    fn sign(&self, statement: &[u8]) -> Signed {
        let (certificate, signature) = self.keys.sign(statement);
        Signed { certificate, signature }
    }

    fn check(&self, claim: Claim<'_>) -> Result<(), NotBelieved> {
        let Claim { by, at_ms, statement, certificate, signature } = claim;
        let stranger = || NotBelieved::Certificate("no such site is configured".to_owned());
        let by = self.names.get(&by).ok_or_else(stranger)?;
        self.keys.check(&Said { by, at_ms, statement, certificate, signature }).map_err(|why| match why {
            NotSigned::Signature => NotBelieved::Signature,
            other => NotBelieved::Certificate(other.to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::path::Path;
    use std::time::{SystemTime, UNIX_EPOCH};

    use entry::SiteId;
    use peer::cert::{self, Pair};
    use peer::{Identity, LinkConfig, PeerAddress, SiteName, Tuning};
    use site::{Claim, NotBelieved, Notary as _, Signed};

    use super::NodeNotary;

    const NAMES: [(u16, &str); 2] = [(1, "eu-west"), (2, "us-east")];

    /// The notary of one of two sites whose certificates come from this authority.
    fn notary(folder: &Path, authority: &Pair, own: (u16, &str)) -> NodeNotary {
        let folder = folder.join(own.1);
        std::fs::create_dir(&folder).unwrap();
        cert::site_certificate(authority, own.0, own.1, &[]).unwrap().write(&folder, "site").unwrap();
        authority.write(&folder, "ca").unwrap();
        let file = |name: &str| folder.join(name);
        let name = SiteName { site: own.0, name: own.1.to_owned() };
        let identity = Identity::load(name, &file("site.pem"), &file("site.key"), &file("ca.pem")).unwrap();
        let peer = |(site, name): (u16, &str)| PeerAddress {
            site,
            name: name.to_owned(),
            address: "127.0.0.1:1".to_owned(),
        };
        let peers = NAMES.into_iter().filter(|other| *other != own).map(peer).collect();
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        NodeNotary::new(&LinkConfig { identity, listen, peers, tuning: Tuning::default() }).unwrap()
    }

    #[test]
    fn a_site_is_believed_by_its_number_and_no_other_is() {
        let folder = tempfile::tempdir().unwrap();
        let authority = cert::authority("ours").unwrap();
        let [eu, us] = NAMES.map(|own| notary(folder.path(), &authority, own));
        let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        let statement = b"the journal stands here";
        let Signed { certificate, signature } = eu.sign(statement);
        let judged = |by: u16| {
            let (certificate, signature) = (&certificate, &signature);
            us.check(Claim { by: SiteId(by), at_ms, statement, certificate, signature })
        };
        assert_eq!(judged(1), Ok(()));
        assert!(matches!(judged(2), Err(NotBelieved::Certificate(why)) if why.contains("eu-west")));
        assert!(matches!(judged(3), Err(NotBelieved::Certificate(why)) if why.contains("no such site")));
        let claim = Claim {
            by: SiteId(1),
            at_ms,
            statement: b"the journal stands elsewhere",
            certificate: &certificate,
            signature: &signature,
        };
        assert_eq!(us.check(claim), Err(NotBelieved::Signature));
    }
}
