//! The node as its operator sees it: where it stands, in names instead of numbers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Instant;

use admin::{
    Admin, AdminError, BlockerStatus, CertificatesNow, CopyProgress, DigestQuery, GivenUp, Group,
    GroupPosition, Halt, JournalStatus, LogDigest, MembersNow, PeerStatus, SiteStatus, Turn, TurnKind,
    Unreplicated, Witness,
};
use clock::Stamp;
use entry::{JournalId, SiteId, StorageId, TopicId};
use order::{Blocker, What, Why};
use site::{Event, Reading, Request, Site, Status};
use tokio::sync::watch;

use crate::carry::Ending;
use crate::certificates::Certificates;
use crate::engine::Command;
use crate::files::Files;
use crate::front::{Front, Gone};
use crate::setup::PROTOCOL;
use crate::views::Fixed;

/// What an operator looks at.
pub(crate) struct Looks {
    pub(crate) front: Arc<Front>,
    pub(crate) links: Arc<peer::Links>,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) fixed: Fixed,
}

/// Answers an operator's questions.
pub(crate) struct Operator {
    looks: Looks,
    ended: watch::Receiver<Option<Ending>>,
    stop: watch::Sender<bool>,
    /// Who held the order back when last asked, and since when.
    blocked: Mutex<Option<(Blocker, Instant)>>,
}

impl Operator {
    pub(crate) fn new(
        looks: Looks,
        ended: watch::Receiver<Option<Ending>>,
        stop: watch::Sender<bool>,
    ) -> Operator {
        Operator { looks, ended, stop, blocked: Mutex::default() }
    }

    fn name(&self, site: SiteId) -> String {
        self.looks.fixed.name_of(site)
    }

    fn journal(&self, journal: JournalId) -> String {
        format!("{}.{}", self.name(journal.site), journal.incarnation.0)
    }

    fn put(&self, status: Status, wall_ms: u64) -> SiteStatus {
        let journals = status.journals.iter();
        let journals = journals.map(|(id, journal)| self.journal_status(*id, journal, &status, wall_ms));
        let frontiers = status.frontiers.iter().map(|(site, held)| {
            (self.name(*site), held.iter().map(|(id, next)| (self.journal(*id), *next)).collect())
        });
        SiteStatus {
            site: self.name(status.site),
            id: status.site.0,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: PROTOCOL,
            cluster: self.looks.fixed.cluster.clone(),
            storage: StorageId::to_string(&status.storage),
            journal: status.journal.map(|id| self.journal(id)),
            journals: journals.collect(),
            turns: status.turns.iter().map(|turn| self.turn(turn)).collect(),
            frontiers: frontiers.collect(),
            halt: Halt {
                halted: status.halted.clone(),
                not_writing: status.not_writing.clone(),
                unconfirmed: status.unconfirmed,
                waits_for_opening: status.waits_for_opening,
            },
            epoch: status.epoch.0,
            members: status.members.iter().map(|site| self.name(*site)).collect(),
            others_known: self.others_known(&status.members),
            witness: status
                .witness
                .map(|witness| Witness { site: self.name(witness.site), lacks: witness.lacks }),
            given_up: status
                .given_up
                .iter()
                .map(|(it, stands)| self.given_up(it, *stands, wall_ms))
                .collect(),
            alive: status.alive.iter().map(|site| self.name(*site)).collect(),
            stable_point_ms: unix_ms(status.stable_point),
            // While nothing waits nobody asks for promises, and no reader waits for one.
            stable_lag_ms: if status.unreleased == 0 { 0 } else { lag_ms(status.stable_point, wall_ms) },
            released: status.released,
            unreleased: status.unreleased as u64,
            blocker: self.blocker(status.blocker.clone(), wall_ms),
            peers: self.looks.links.stats().iter().map(|stats| self.peer(stats)).collect(),
            wal_bytes: status.wal.bytes,
            wal_bytes_max: status.wal.bytes_max,
            wal_kept_for: status.wal.kept_for.iter().map(|site| self.name(*site)).collect(),
            copy: status.copy.map(|copy| CopyProgress {
                from: copy.from.map(|site| self.name(site)),
                files: copy.files as u64,
                files_done: copy.files_done as u64,
                bytes: copy.bytes,
                bytes_done: copy.bytes_done,
            }),
            unreplicated: status
                .unreplicated
                .iter()
                .map(|(id, only)| self.unreplicated(*id, only, wall_ms))
                .collect(),
            passed_over: BTreeMap::from([
                ("duplicate".to_owned(), status.counts.duplicates),
                ("topic deleted".to_owned(), status.counts.dropped),
            ]),
            certificates: self.looks.certificates.status(),
            alarms: [status.alarms, self.looks.certificates.due()].concat(),
        }
    }

    fn unreplicated(
        &self,
        topic: TopicId,
        only: &site::UnreplicatedStatus,
        wall_ms: u64,
    ) -> (String, Unreplicated) {
        let view = self.looks.front.views.current();
        let name = view.cluster.topics_by_id.get(&topic.0).map(|topic| topic.name.clone());
        let age_ms = only.since.map_or(0, |since| wall_ms.saturating_sub(unix_ms(since)));
        let held_back = only.held_back as u64;
        (name.unwrap_or_else(|| topic.to_string()), Unreplicated { bytes: only.bytes, age_ms, held_back })
    }

    fn turn(&self, turn: &order::Turn) -> Turn {
        let what = match turn.what {
            What::Parted => TurnKind::Parted,
            What::Opened => TurnKind::Opened,
            What::Sealed { cut } => TurnKind::Sealed { cut },
            What::Adopted { from, upto } => TurnKind::Adopted { from, upto },
        };
        let (stamp, time_ms) = (turn.at.raw(), turn.at.unix_ms());
        Turn { journal: self.journal(turn.journal), stamp, time_ms, what }
    }

    fn given_up(&self, record: &site::wire::GivenUp, stands: bool, wall_ms: u64) -> GivenUp {
        let held = record.held.iter().map(|(journal, next)| (self.journal(*journal), *next));
        GivenUp {
            site: self.name(record.site),
            epoch: record.epoch.0,
            by: self.name(record.by),
            who: record.who.clone(),
            at_ms: record.at_ms,
            for_ms: wall_ms.saturating_sub(record.at_ms),
            held: held.collect(),
            stands,
        }
    }

    fn journal_status(
        &self,
        id: JournalId,
        journal: &site::JournalStatus,
        status: &Status,
        wall_ms: u64,
    ) -> JournalStatus {
        JournalStatus {
            journal: self.journal(id),
            site: self.name(id.site),
            known: journal.known,
            held: journal.held,
            released: journal.released,
            lag_bytes: journal.lag_bytes,
            promise_lag_ms: lag_ms(journal.promise, wall_ms),
            quarantined: status.quarantined.contains(&id),
            fenced_at: journal.fenced_at,
        }
    }

    fn blocker(&self, blocker: Option<Blocker>, wall_ms: u64) -> Option<BlockerStatus> {
        let mut blocked = self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(blocker) = blocker else {
            *blocked = None;
            return None;
        };
        let since = match &*blocked {
            Some((known, since)) if known.journal == blocker.journal => *since,
            _ => Instant::now(),
        };
        *blocked = Some((blocker.clone(), since));
        let for_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        Some(BlockerStatus {
            journal: self.journal(blocker.journal),
            site: self.name(blocker.journal.site),
            why: self.why(&blocker),
            since_ms: wall_ms.saturating_sub(for_ms),
            for_ms,
        })
    }

    fn why(&self, blocker: &Blocker) -> String {
        let site = self.name(blocker.journal.site);
        match &blocker.why {
            Why::NoPromise { .. } => {
                format!("{site} is silent, or its clock is behind: it has promised too little")
            }
            Why::HeadNotReached { held, head } => {
                format!("entries {held} to {head} of {site} are on their way here")
            }
            Why::NoQuorum { seq, holders, needed } => {
                let names: Vec<_> = holders.iter().map(|site| self.name(*site)).collect();
                format!(
                    "entry {seq} of {site} is held by {} and has to be by {needed} sites",
                    names.join(", ")
                )
            }
            Why::NotAdopted { from } => {
                format!(
                    "entries of {site} from {from} on came after it was fenced, and wait for a majority to hold them"
                )
            }
            Why::AdoptedNotHeld { held, upto } => {
                format!("entries {held} to {upto} of {site}, which was fenced, are on their way here")
            }
            Why::NotOpened { .. } => format!("{site} is back and waits to be let into the order again"),
            Why::BrokenPromise { seq, .. } => {
                format!(
                    "entry {seq} of {site} is stamped below what it had promised: its clock or disk went back"
                )
            }
        }
    }

    /// Sites that are known and no members.
    fn others_known(&self, members: &[SiteId]) -> Vec<String> {
        let known = self.looks.fixed.with_data().filter(|(site, _, _)| !members.contains(site));
        known.map(|(_, name, _)| name.clone()).collect()
    }

    fn site_named(&self, name: &str) -> Result<SiteId, AdminError> {
        let unknown =
            || AdminError::Unknown(format!("there is no site {name}; `meridian site list` names them"));
        self.looks.fixed.id_of(name).ok_or_else(unknown)
    }

    /// Has the machine write a change of the members, and looks at them when it has its place.
    async fn change_members(&self, request: Request) -> Result<MembersNow, AdminError> {
        if let Err(refusal) = self.looks.front.request(request).await.map_err(|_| stopping(Gone))? {
            return Err(AdminError::Refused(refusal.to_string()));
        }
        let looked = self.looks.front.look(|site, _, _| (site.epoch(), site.members().clone())).await;
        let (epoch, members) = looked.map_err(stopping)?;
        Ok(MembersNow { epoch: epoch.0, members: members.iter().map(|site| self.name(*site)).collect() })
    }

    /// What was asked for, if it came about.
    fn provided(&self, done: bool, now: MembersNow) -> Result<MembersNow, AdminError> {
        let other = || {
            AdminError::Refused(
                "another change of the members came first: look at them, and ask again".into(),
            )
        };
        if done { Ok(now) } else { Err(other()) }
    }

    fn peer(&self, stats: &peer::LinkStats) -> PeerStatus {
        PeerStatus {
            site: self.name(SiteId(stats.site)),
            up: stats.up,
            rtt_us: stats.rtt_us,
            lost_packets: stats.lost_packets,
            sent_packets: stats.sent_packets,
            window_bytes: stats.cwnd_bytes,
            sent_bytes: stats.sent_bytes,
            received_bytes: stats.received_bytes,
            queued_bytes: stats.queued_bytes.iter().map(|bytes| *bytes as u64).sum(),
        }
    }
}

impl Admin for Operator {
    fn healthy(&self) -> Result<(), String> {
        match &*self.ended.borrow() {
            Some(Ending::Halted(reason)) => Err(reason.clone()),
            Some(Ending::Stopped) | None => Ok(()),
        }
    }

    fn ready(&self) -> Result<(), String> {
        match &self.looks.front.views.current().not_ready {
            None => Ok(()),
            Some(reason) => Err(reason.clone()),
        }
    }

    async fn status(&self) -> Result<SiteStatus, AdminError> {
        let looked = self.looks.front.look(|site, _, now| (site.status(now.mono_us), now.wall_ms)).await;
        looked.map(|(status, wall_ms)| self.put(status, wall_ms)).map_err(stopping)
    }

    async fn digests(&self, query: DigestQuery) -> Result<Vec<LogDigest>, AdminError> {
        self.looks.front.look(move |site, files, _| digests(site, files, &query)).await.map_err(stopping)?
    }

    async fn groups(&self) -> Result<Vec<Group>, AdminError> {
        let mut groups = self.looks.front.look(|site, _, _| groups(site)).await.map_err(stopping)?;
        for group in &mut groups {
            let id = self.looks.front.groups.coordinator(&group.group);
            group.coordinator = id.and_then(|id| u16::try_from(id).ok()).map(|id| self.name(SiteId(id)));
        }
        Ok(groups)
    }

    async fn accept_clock(&self) -> Result<u64, AdminError> {
        let jump = self.looks.front.look(|site, _, now| site.clock_jump_ms(now)).await.map_err(stopping)?;
        let not_needed =
            || AdminError::Refused("this site's wall clock has not jumped: nothing to accept".into());
        let jump_ms = jump.ok_or_else(not_needed)?;
        let _ = self.looks.front.engine.send(Command::Event(Event::AcceptClock));
        Ok(jump_ms)
    }

    async fn add(&self, site: String) -> Result<MembersNow, AdminError> {
        let id = self.site_named(&site)?;
        let now = self.change_members(Request::AddSite { site: id }).await?;
        tracing::warn!(site, members = ?now.members, epoch = now.epoch, "an operator added a site");
        self.provided(now.members.contains(&site), now)
    }

    async fn remove(&self, site: String) -> Result<MembersNow, AdminError> {
        let id = self.site_named(&site)?;
        let now = self.change_members(Request::RemoveSite { site: id }).await?;
        tracing::warn!(site, members = ?now.members, epoch = now.epoch, "an operator removed a site");
        self.provided(!now.members.contains(&site), now)
    }

    async fn fence(&self, site: String) -> Result<(), AdminError> {
        let id = self.site_named(&site)?;
        match self.looks.front.request(Request::Fence { site: id }).await.map_err(|_| stopping(Gone))? {
            Ok(_) => Ok(()),
            Err(refusal) => Err(AdminError::Refused(refusal.to_string())),
        }
    }

    async fn give_up(&self, sites: Vec<String>, who: String) -> Result<(), AdminError> {
        let ids: Result<Vec<SiteId>, AdminError> = sites.iter().map(|site| self.site_named(site)).collect();
        let request = Request::GiveUp { sites: ids?, who: who.clone() };
        match self.looks.front.request(request).await.map_err(|_| stopping(Gone))? {
            Ok(_) => {
                tracing::warn!(?sites, who, "an operator gave sites up");
                Ok(())
            }
            Err(refusal) => Err(AdminError::Refused(refusal.to_string())),
        }
    }

    async fn renew_certificates(&self) -> Result<CertificatesNow, AdminError> {
        let certificates = Arc::clone(&self.looks.certificates);
        // Files are read, and signatures checked.
        let renewed = tokio::task::spawn_blocking(move || certificates.renew()).await;
        renewed.map_err(|_| stopping(Gone))?.map_err(AdminError::Refused)
    }

    fn stop(&self) -> Result<(), AdminError> {
        let _ = self.looks.front.engine.send(Command::Event(Event::Stop));
        self.stop.send(true).map_err(|_| stopping(Gone))
    }
}

fn stopping(_: Gone) -> AdminError {
    AdminError::Unavailable("the site is stopping".to_owned())
}

fn digests(site: &Site, files: &Files, query: &DigestQuery) -> Result<Vec<LogDigest>, AdminError> {
    let mut out = Vec::new();
    let wanted = |name: &str| query.topic.as_ref().is_none_or(|topic| topic == name);
    for topic in site.topics().filter(|topic| wanted(&topic.name)) {
        for partition in (0..topic.partitions).filter(|it| query.partition.is_none_or(|wanted| wanted == *it))
        {
            let extent = site.extent(topic.id, partition, Reading::Merged);
            let end = query.end.map_or(extent.end, |end| end.min(extent.end));
            let digest = site.digest(files, topic.id, partition, end);
            let digest = digest.map_err(|error| AdminError::Unavailable(error.to_string()))?;
            let (generation, compacted) = site.generation(topic.id, partition);
            let hex = |digest: [u8; 16]| digest.iter().map(|byte| format!("{byte:02x}")).collect();
            out.push(LogDigest {
                topic: topic.name.clone(),
                topic_id: topic.id.to_string(),
                partition,
                start: extent.start,
                end,
                digest: hex(digest),
                generation,
                compacted: hex(compacted),
            });
        }
    }
    if out.is_empty() && query.topic.is_some() {
        return Err(AdminError::Unknown("there is no such topic or partition here".to_owned()));
    }
    Ok(out)
}

fn groups(site: &Site) -> Vec<Group> {
    let name = |id: TopicId| site.topic(id).map_or_else(|| id.to_string(), |topic| topic.name.clone());
    let position = |((topic, partition), at): (&(TopicId, u32), &site::Position)| GroupPosition {
        topic: name(*topic),
        partition: *partition,
        offset: at.progress.committed(),
    };
    site.groups()
        .map(|group| Group {
            group: group.to_owned(),
            coordinator: None,
            positions: site.positions_of(group).map(position).collect(),
        })
        .collect()
}

fn unix_ms(stamp: Stamp) -> u64 {
    if stamp == Stamp::ZERO { 0 } else { stamp.unix_ms() }
}

fn lag_ms(stamp: Stamp, wall_ms: u64) -> u64 {
    wall_ms.saturating_sub(unix_ms(stamp))
}
