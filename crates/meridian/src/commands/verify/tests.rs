//! Verdicts over sites that are pretended, asked over real sockets.

use std::collections::BTreeMap;
use std::sync::Arc;

use admin::client::Address;
use admin::{
    Admin, AdminError, CertificatesNow, DigestQuery, Group, Halt, LogDigest, MembersNow, Metrics, SiteStatus,
};

use super::{Verdict, judge, witness};

/// A site with one log, a text per offset.
struct Pretend {
    name: &'static str,
    log: Vec<&'static str>,
}

impl Admin for Pretend {
    fn healthy(&self) -> Result<(), String> {
        Ok(())
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    async fn status(&self) -> Result<SiteStatus, AdminError> {
        Ok(SiteStatus {
            site: self.name.to_owned(),
            id: 1,
            version: String::new(),
            protocol: 2,
            cluster: String::new(),
            storage: String::new(),
            journal: None,
            halt: Halt::default(),
            epoch: 1,
            members: Vec::new(),
            others_known: Vec::new(),
            witness: None,
            alive: Vec::new(),
            stable_point_ms: 0,
            stable_lag_ms: 0,
            released: 0,
            unreleased: 0,
            blocker: None,
            journals: Vec::new(),
            frontiers: BTreeMap::new(),
            peers: Vec::new(),
            wal_bytes: 0,
            wal_bytes_max: 0,
            wal_kept_for: Vec::new(),
            copy: None,
            unreplicated: BTreeMap::new(),
            passed_over: BTreeMap::new(),
            turns: Vec::new(),
            given_up: Vec::new(),
            certificates: Vec::new(),
            alarms: Vec::new(),
        })
    }

    async fn digests(&self, query: DigestQuery) -> Result<Vec<LogDigest>, AdminError> {
        let end = query.end.unwrap_or(self.log.len() as u64);
        let digest = self.log[..usize::try_from(end).unwrap()].concat();
        let (topic, topic_id) = ("orders".to_owned(), String::new());
        let compacted = String::new();
        Ok(vec![LogDigest { topic, topic_id, partition: 0, start: 0, end, digest, generation: 0, compacted }])
    }

    async fn groups(&self) -> Result<Vec<Group>, AdminError> {
        Ok(Vec::new())
    }

    async fn accept_clock(&self) -> Result<u64, AdminError> {
        Ok(9_000)
    }

    async fn renew_certificates(&self) -> Result<CertificatesNow, AdminError> {
        Err(AdminError::Unavailable("pretended".to_owned()))
    }

    async fn fence(&self, _: String) -> Result<(), AdminError> {
        Err(AdminError::Refused("nobody fences a pretence".into()))
    }

    async fn give_up(&self, _: Vec<String>, _: String) -> Result<(), AdminError> {
        Err(AdminError::Refused("nobody gives a pretence up".into()))
    }

    async fn add(&self, _: String) -> Result<MembersNow, AdminError> {
        Err(AdminError::Refused("nobody joins a pretence".into()))
    }

    async fn remove(&self, _: String) -> Result<MembersNow, AdminError> {
        Err(AdminError::Refused("nobody leaves a pretence".into()))
    }

    fn stop(&self) -> Result<(), AdminError> {
        Ok(())
    }
}

async fn verdict(logs: &[(&'static str, &[&'static str])]) -> Verdict {
    let mut witnesses = Vec::new();
    let mut folders = Vec::new();
    for (name, log) in logs {
        let folder = tempfile::tempdir().unwrap();
        let socket = admin::bind(folder.path()).unwrap();
        let site = Arc::new(Pretend { name, log: log.to_vec() });
        let metrics = Arc::new(Metrics::new(name));
        tokio::spawn(admin::serve_socket(socket, site, metrics, std::future::pending()));
        let address = Address::parse(folder.path().to_str().unwrap());
        witnesses.push(witness(address, None).await.unwrap());
        folders.push(folder);
    }
    judge(&witnesses, ("orders".to_owned(), 0)).await.unwrap()
}

#[tokio::test]
async fn equal_logs_are_identical() {
    let verdict = verdict(&[("a", &["x", "y"]), ("b", &["x", "y"])]).await;
    assert!(verdict.identical);
    assert_eq!((verdict.compared, verdict.differs_at), (2, None));
}

#[tokio::test]
async fn to_be_behind_is_no_difference() {
    let verdict = verdict(&[("a", &["x", "y", "z"]), ("b", &["x", "y"]), ("c", &["x", "y", "z"])]).await;
    assert!(verdict.identical);
    assert_eq!(verdict.compared, 2);
    assert_eq!(verdict.ends["a"], 3);
}

#[tokio::test]
async fn the_first_difference_is_found() {
    let log: Vec<&'static str> = vec!["x"; 100];
    for at in [0, 1, 49, 50, 98, 99] {
        let mut other = log.clone();
        other[at] = "y";
        let verdict = verdict(&[("a", &log), ("b", &log), ("c", &other)]).await;
        assert!(!verdict.identical);
        assert_eq!(verdict.differs_at, Some(at as u64));
    }
}

#[tokio::test]
async fn a_site_without_the_log_has_nothing_to_differ() {
    let verdict = verdict(&[("a", &["x"]), ("b", &[])]).await;
    assert!(verdict.identical);
    assert_eq!(verdict.compared, 0);
}
