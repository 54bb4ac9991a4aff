//! Writing: from a client's request to an entry in this site's own journal, and to its answer.

use batch::BatchInfo;
use bytes::Bytes;
use catalog::{AckAll, TimestampType, Topic};
use clock::{MintError, Now, Stamp};
use entry::{BatchBody, Body, JournalId, ProgressBody, Seq, SiteId};
use order::{LocalVerdict, ProducerKey};

use crate::action::{Action, Answer, Refusal};
use crate::desk::{Pending, Until, appended};
use crate::event::{Acknowledge, Append, Commit, Request, Ticket};
use crate::mutant::Mutant;
use crate::progress::Target;
use crate::site::{Site, Step};
use crate::unreplicated::Own;

/// The highest number a site may have: it is the first 14 bits of the producer ids that the site draws from its stamps, so that
/// the upper half of all ids is no site's.
pub const SITE_ID_MAX: u16 = (1 << 14) - 1;

/// What happened to a request that was just looked at.
pub(crate) enum Taken {
    /// It was journaled; the answer comes when this is met.
    Waits(Seq, Answer, Until),
    /// It is answered at once.
    Done(Answer),
    /// It is looked at again later.
    Deferred,
    /// It waits for others to hold more of its topic.
    HeldBack,
}

impl Site {
    /// A client asks for something.
    pub(crate) fn request(&mut self, ticket: Ticket, request: Request, step: &mut Step<'_>) {
        if self.is_witness() && matches!(request, Request::Fence { .. } | Request::GiveUp { .. }) {
            let text = "the witness decides nothing by itself: ask a site that holds data".to_owned();
            return step.out.push(Action::Reply { ticket, answer: Err(Refusal::Fence(text)) });
        }
        if let Request::Fence { site } = request {
            let answer = self.fence(site).map(|()| Answer::Fencing);
            return step.out.push(Action::Reply { ticket, answer });
        }
        if let Request::GiveUp { sites, who } = &request {
            let answer = self.give_sites_up(sites, who, step.now).map(|()| Answer::Fencing);
            return step.out.push(Action::Reply { ticket, answer });
        }
        if !self.desk.deferred.is_empty() {
            return self.defer(ticket, request, step);
        }
        self.attempt(ticket, request, step);
    }

    /// Looks again at what waited for the clock, or for the next journal.
    pub(crate) fn retry_deferred(&mut self, step: &mut Step<'_>) {
        for _ in 0..self.desk.deferred.len() {
            let Some((ticket, request)) = self.desk.deferred.pop_front() else { return };
            if !self.attempt(ticket, request, step) {
                // It went to the back; put it in front again, so that order is kept.
                if let Some(last) = self.desk.deferred.pop_back() {
                    self.desk.deferred.push_front(last);
                }
                return;
            }
        }
    }

    /// Returns whether the request was settled one way or the other (not deferred).
    fn attempt(&mut self, ticket: Ticket, request: Request, step: &mut Step<'_>) -> bool {
        match self.take_request(&request, step.now) {
            Ok(Taken::Waits(seq, answer, until)) => self.desk.wait(seq, Pending { ticket, answer, until }),
            Ok(Taken::Done(answer)) => step.out.push(Action::Reply { ticket, answer: Ok(answer) }),
            Ok(Taken::Deferred) => {
                self.defer(ticket, request, step);
                return false;
            }
            Ok(Taken::HeldBack) => {
                if let Request::Append(append) = &request {
                    self.hold_back(ticket, append, step);
                }
            }
            Err(refusal) => step.out.push(Action::Reply { ticket, answer: Err(refusal) }),
        }
        true
    }

    fn defer(&mut self, ticket: Ticket, request: Request, step: &mut Step<'_>) {
        if self.desk.deferred.len() >= self.config.limits.waiting_appends_max {
            step.out.push(Action::Reply { ticket, answer: Err(Refusal::Busy) });
        } else {
            self.desk.deferred.push_back((ticket, request));
        }
    }

    pub(crate) fn take_request(&mut self, request: &Request, now: Now) -> Result<Taken, Refusal> {
        let journal = match self.may_take() {
            Err(refusal) => {
                if let Request::Append(append) = request {
                    self.remember_refusal(append);
                }
                return Err(refusal);
            }
            Ok(_) if self.changes_journals() => return Ok(Taken::Deferred),
            Ok(journal) => journal,
        };
        match request {
            Request::Append(append) => self.append(append, journal, now),
            Request::Commit(commit) => self.commit(commit, now),
            Request::ProducerId => self.producer_id(now),
            Request::DeleteRecords { topic, partition, before } => {
                self.trim(*topic, *partition, *before, now)
            }
            Request::AddSite { site } => self.change_members(true, *site, now),
            Request::RemoveSite { site } => self.change_members(false, *site, now),
            change => self.change_topic(change, now),
        }
    }

    fn append(&mut self, append: &Append, journal: JournalId, now: Now) -> Result<Taken, Refusal> {
        let topic = self.admission.topic(append.topic).filter(|topic| !topic.deleted);
        let topic = topic
            .filter(|topic| append.partition < topic.partitions)
            .ok_or(Refusal::UnknownPartition)?
            .clone();
        let info = self.check_batch(append, &topic)?;
        let mut until = condition(append.acknowledge, &topic);
        if self.state.switch.has(Mutant::HoldersNotAwaited) {
            until.sites = 1;
        }
        until.released &= !self.state.switch.has(Mutant::ReleaseNotAwaited);
        let key = producer_key(append, &info);
        if let Some(key) = key {
            match self.desk.window.admit(key, info.base_sequence, info.records) {
                LocalVerdict::Fresh => {}
                LocalVerdict::Known { seq, stamp } => return Ok(self.known(seq, stamp, until, journal)),
                LocalVerdict::AfterRefusal => return Err(Refusal::EarlierRefused),
            }
        }
        if self.is_held_back(append, &topic.settings, now) {
            return Ok(Taken::HeldBack);
        }
        let Some(stamp) = self.mint(now)? else { return Ok(Taken::Deferred) };
        let stamp = self.restate_first(&topic, stamp, now)?;
        let Some(stamp) = stamp else { return Ok(Taken::Deferred) };
        let records = stamped(&topic, &append.records, stamp);
        let bytes = records.len() as u64;
        let body = Body::Batch(BatchBody { topic: append.topic, partition: append.partition, records });
        let seq = self
            .say(stamp, body)
            .map_err(|_| too_large(&append.records, self.config.limits.batch_bytes_max))?;
        self.took(Own { topic: append.topic, journal, seq, stamp, bytes });
        if let Some(key) = key {
            self.desk.window.appended(key, info.base_sequence, info.records, seq, stamp);
        }
        Ok(Taken::Waits(seq, appended(stamp), until))
    }

    /// A retry of what is in the journal already waits for the same thing as the first try.
    fn known(&self, seq: Seq, stamp: Stamp, until: Until, journal: JournalId) -> Taken {
        let released = until.released && seq >= self.merge.next_in_effect(journal);
        Taken::Waits(seq, appended(stamp), Until { released, ..until })
    }

    fn check_batch(&self, append: &Append, topic: &Topic) -> Result<BatchInfo, Refusal> {
        let max = topic.settings.max_message_bytes.min(self.config.limits.batch_bytes_max);
        if append.records.len() > max {
            return Err(too_large(&append.records, max));
        }
        let batches = batch::validate(&append.records, &batch::Limits { batch_bytes_max: max })
            .map_err(Refusal::BadBatch)?;
        match &batches[..] {
            [one] => Ok(*one),
            several => Err(Refusal::NotOneBatch(several.len())),
        }
    }

    /// Every incarnation restates a topic before its first record of it.
    fn restate_first(&mut self, topic: &Topic, stamp: Stamp, now: Now) -> Result<Option<Stamp>, Refusal> {
        if self.desk.restated.contains(&topic.id) {
            return Ok(Some(stamp));
        }
        self.say(stamp, Body::Topic(topic.restated())).map_err(|_| Refusal::UnknownPartition)?;
        self.desk.restated.insert(topic.id);
        self.mint(now)
    }

    fn commit(&mut self, commit: &Commit, now: Now) -> Result<Taken, Refusal> {
        let Some(stamp) = self.mint(now)? else { return Ok(Taken::Deferred) };
        let moves = commit.positions.iter().map(|(topic, partition, offset, metadata)| {
            let to =
                Target { topic: *topic, partition: *partition, offset: *offset, metadata: metadata.clone() };
            let mut moved = self.desk.intended.moved(&commit.group, &to, stamp, self.config.own);
            if self.state.switch.has(Mutant::RewindsLost) {
                let known = self.desk.intended.position(&commit.group, *topic, *partition);
                moved.progress = known.map(|known| known.progress.clone()).unwrap_or_default();
                moved.progress.commit(*offset);
            }
            moved
        });
        let delta = ProgressBody { group: commit.group.clone(), moves: moves.collect() };
        let seq = self.say(stamp, Body::Progress(delta.clone())).map_err(|_| Refusal::Busy)?;
        // The next commit of this group builds on this one; what is shown is what is durable.
        self.desk.intended.join(&delta);
        if self.state.switch.has(Mutant::CommitNotAwaited) {
            return Ok(Taken::Done(Answer::Committed));
        }
        Ok(Taken::Waits(seq, Answer::Committed, Until::DURABLE))
    }

    /// `site (14 bits) | milliseconds of a stamp (42 bits) | count within it (6 bits)`: never given out twice, since
    /// stamps only increase, across restarts, fresh lives and backups put back.
    fn producer_id(&mut self, now: Now) -> Result<Taken, Refusal> {
        let Some(stamp) = self.mint(now)? else { return Ok(Taken::Deferred) };
        let drawn = match self.state.switch.has(Mutant::ProducerIdsReused) {
            true => Stamp::from_raw(1 << 40),
            false => stamp,
        };
        let Some(number) = self.desk.producer_ids.next(drawn) else { return Ok(Taken::Deferred) };
        let id = u64::from(self.config.own.0 & SITE_ID_MAX) << 48 | number;
        Ok(Taken::Done(Answer::ProducerId(i64::try_from(id).expect("63 bits"))))
    }

    /// Draws the next stamp; `None` while the write has to wait for the clock.
    pub(crate) fn mint(&mut self, now: Now) -> Result<Option<Stamp>, Refusal> {
        let last = self.clock.last();
        match self.clock.mint(now) {
            Ok(_) if self.state.switch.has(Mutant::StampsRepeated) && last > Stamp::ZERO => Ok(Some(last)),
            Ok(stamp) => Ok(Some(stamp)),
            // The start, or a moment's lead over the wall clock: it passes by itself, and the write waits.
            Err(MintError::CeilingReached { .. } | MintError::AheadOfWall { .. }) => Ok(None),
            Err(error @ (MintError::WallJumped { .. } | MintError::OutOfRange)) => {
                Err(Refusal::Clock(error.to_string()))
            }
        }
    }

    /// What comes behind it from the same producer has to wait for it to come again.
    pub(crate) fn remember_refusal(&mut self, append: &Append) {
        let Ok(header) = batch::parse(&append.records) else { return };
        if let Some(key) = producer_key(append, &header.info()) {
            self.desk.window.refused(key, header.info().base_sequence);
        }
    }

    /// Answers all whose condition is met by now.
    pub(crate) fn answer_met(&mut self, step: &mut Step<'_>) {
        let Some(journal) = self.identity.journal() else { return };
        if self.desk.pending.is_empty() {
            return;
        }
        let durable = self.journals.durable(journal);
        let others: Vec<SiteId> = self.others().collect();
        let peers = &self.peers;
        let attempt = self.state.seals.attempt(journal);
        let own_counts = self.frozen().counted(journal, durable, attempt);
        let holders = |seq: Seq| {
            let others = others.iter().filter(|site| peers.counts(**site, journal, attempt) > seq).count();
            usize::from(own_counts > seq) + others
        };
        let met =
            |seq: Seq, until: Until| !until.released && (until.sites <= 1 || holders(seq) >= until.sites);
        for pending in self.desk.take_met(durable, met) {
            step.out.push(Action::Reply { ticket: pending.ticket, answer: Ok(pending.answer) });
        }
    }
}

/// When an append is answered, by what the client asked and the topic says.
fn condition(acknowledge: Acknowledge, topic: &Topic) -> Until {
    let (sites, released) = (topic.settings.min_insync_sites, topic.settings.ack_all == AckAll::Released);
    match acknowledge {
        Acknowledge::Local => Until::DURABLE,
        Acknowledge::All => Until { sites: usize::from(sites), released },
    }
}

fn producer_key(append: &Append, info: &BatchInfo) -> Option<ProducerKey> {
    (info.producer_id >= 0 && info.base_sequence >= 0).then_some(ProducerKey {
        id: info.producer_id,
        epoch: info.producer_epoch,
        topic: append.topic,
        partition: append.partition,
    })
}

fn stamped(topic: &Topic, records: &Bytes, stamp: Stamp) -> Bytes {
    if topic.settings.timestamp_type == TimestampType::LogAppendTime {
        batch::set_append_time(records.clone(), i64::try_from(stamp.unix_ms()).unwrap_or(i64::MAX))
    } else {
        records.clone()
    }
}

fn too_large(records: &Bytes, max: usize) -> Refusal {
    Refusal::TooLarge { bytes: records.len(), max }
}
