//! What a finished sync makes true.
//!
//! Live and in recovery the same code runs over the same sequence: entries and notes in the order in which the WAL holds
//! them. That is why recovery ends where the crash began.

use catalog::Catalog;
use entry::{Body, Encoded, JournalId};
use journal::Record;
use order::{Effect, Release};
use partition::{LogsError, OriginKey};

use crate::action::{Action, Grown, Refusal};
use crate::merge::{Deed, Outcome, ProducerBatch, weight};
use crate::mutant::Mutant;
use crate::notes::Note;
use crate::site::{Fatal, Site, Step};
use crate::unreplicated::Own;

impl Site {
    /// A WAL write is on the disk.
    pub(crate) fn written(&mut self, id: u64, step: &mut Step<'_>) -> Result<(), Fatal> {
        self.pipeline.written(id);
        self.take_due(step)
    }

    /// What waited for room in the logs takes effect, if it is time to try again.
    pub(crate) fn retry_due(&mut self, step: &mut Step<'_>) -> Result<(), Fatal> {
        if self.pipeline.is_behind() { self.take_due(step) } else { Ok(()) }
    }

    /// What is durable takes effect, as far as the logs have room for it.
    fn take_due(&mut self, step: &mut Step<'_>) -> Result<(), Fatal> {
        while let Some(record) = self.pipeline.next_due(step.now.mono_us) {
            match self.record_durable(&record, step) {
                Err(fatal) if fatal.is_full() && !self.state.switch.has(Mutant::LogsNotAwaited) => {
                    if self.pipeline.put_off(record, step.now.mono_us) {
                        self.alarm(DISK_FULL.to_owned(), step);
                        step.out.push(Action::ViewChanged);
                    }
                }
                Err(Fatal::Logs(LogsError::Damaged { file, what })) => {
                    self.pipeline.put_off(record, step.now.mono_us);
                    if self.pipeline.damaged.is_none() {
                        let text = format!(
                            "{file} is damaged ({what}): what is durable waits until it is taken back"
                        );
                        self.pipeline.damaged = Some(text.clone());
                        step.out.extend([Action::Alarm(text), Action::ViewChanged]);
                    }
                    self.came_upon_damage(&file, step);
                }
                taken => {
                    taken?;
                    self.state.checkpoint.bytes_since += record.bytes().len() as u64;
                }
            }
        }
        if self.pipeline.is_behind() {
            return Ok(());
        }
        if self.pipeline.caught_up() {
            step.out.push(Action::ViewChanged);
        }
        self.state.pulse.news = true;
        self.count_own();
        self.tell_room(step);
        Ok(())
    }

    /// Tells the order what this site holds: it is one of the quorum.
    pub(crate) fn count_own(&mut self) {
        let frozen = self.frozen();
        self.merge.order.entered(self.config.own, self.identity.storage, frozen.epoch);
        for (journal, next) in self.journals.frontier() {
            let counted = frozen.counted(journal, next, self.state.seals.attempt(journal));
            self.merge.order.counted(self.config.own, self.identity.storage, journal, counted);
        }
    }

    /// One entry or note is durable.
    ///
    /// After a full disk the same can be tried again.
    pub(crate) fn record_durable(&mut self, record: &Record, step: &mut Step<'_>) -> Result<(), Fatal> {
        match record {
            Record::Entry(entry) => self.entry_durable(entry, step),
            Record::Note(bytes) => {
                let note = Note::decode(bytes).ok_or(Fatal::Note)?;
                self.note_durable(note, step)
            }
        }
    }

    fn entry_durable(&mut self, entry: &Encoded, step: &mut Step<'_>) -> Result<(), Fatal> {
        let body = entry.body()?;
        // First of all, and nothing else of it takes room.
        let origin_offset = self.keep_batch(entry.head.journal, &body, step)?;
        let own = Some(entry.head.journal) == self.identity.journal();
        self.journals.made_durable(entry);
        self.state.lives.held(entry.head.journal);
        if own {
            self.pipeline.own_durable();
        } else {
            self.state.heads.entry_durable(entry.head.journal, entry.bytes.len() as u64);
        }
        let weight = weight(&body, entry.head.epoch);
        let deed = match body {
            Body::Batch(batch) => {
                let journal = entry.head.journal;
                let (topic, partition) = (batch.topic, batch.partition);
                if journal.site == self.config.own {
                    let (seq, stamp, bytes) = (entry.head.seq, entry.head.stamp, batch.records.len() as u64);
                    self.keeps(Own { topic, journal, seq, stamp, bytes });
                }
                let producer = self.numbering(journal, &batch.records);
                Deed::Batch { topic, partition, origin_offset, producer }
            }
            Body::Progress(delta) => {
                if self.state.switch.has(Mutant::PositionsOverwritten) {
                    self.positions.forget(&delta);
                }
                self.positions.join(&delta);
                self.desk.intended.join(&delta);
                Deed::Nothing
            }
            Body::Catalog(changes) => Deed::Catalog(changes),
            Body::Trim(trim) => {
                if self.state.switch.has(Mutant::TrimsAtOnce) {
                    self.logs.trim(step.disk, (trim.topic, trim.partition), trim.before)?;
                }
                Deed::Trim(trim)
            }
            Body::Topic(topic) => {
                if own {
                    self.desk.restated.insert(topic.id);
                    self.desk.restated_durably.insert(topic.id);
                }
                Deed::Topic(topic)
            }
            Body::Seal(seal) => {
                self.end_known(seal.journal, seal.cut, step);
                Deed::Nothing
            }
            Body::Adopt(adopt) => {
                self.check_cut(adopt.journal, adopt.upto, step);
                Deed::Nothing
            }
            Body::Begin(begin) => {
                self.state.lives.began(entry.head.journal, begin);
                Deed::Nothing
            }
            Body::Part | Body::Open(_) | Body::Members(_) | Body::Mark => Deed::Nothing,
        };
        self.merge.hold(entry, deed, weight);
        Ok(())
    }

    /// Appends a batch to its origin log; returns its place there.
    fn keep_batch(&mut self, journal: JournalId, body: &Body, step: &mut Step<'_>) -> Result<u64, Fatal> {
        let Body::Batch(batch) = body else { return Ok(0) };
        let (topic, partition) = (batch.topic, batch.partition);
        if self.merge.is_gone(topic) {
            // It will be passed over: its topic's deletion comes before it in the order.
            return Ok(0);
        }
        let key = OriginKey { topic, partition, journal };
        let placed = self.logs.append_origin(step.disk, key, &batch.records)?;
        self.state.grown.insert(Grown { topic, partition, origin: Some(journal.site) });
        Ok(placed.origin_offset)
    }

    fn numbering(&self, journal: JournalId, records: &[u8]) -> Option<ProducerBatch> {
        let ignored = self.state.switch.has(Mutant::DuplicatesKept);
        let mut batch = ProducerBatch::of(records).filter(|_| !ignored)?;
        if self.state.switch.has(Mutant::DuplicatesPerJournal) {
            batch.id ^= i64::from(journal.site.0) << 32;
        }
        Some(batch)
    }

    fn note_durable(&mut self, note: Note, step: &mut Step<'_>) -> Result<(), Fatal> {
        match note {
            Note::Ceiling(ceiling) => self.clock.ceiling_durable(ceiling),
            Note::Released(position) => {
                let released = self.merge.take_released(position);
                for (at, release) in released.iter().enumerate() {
                    if let Err(fatal) = self.take_effect(release, step) {
                        self.merge.keep_released(&released[at..]);
                        return Err(fatal);
                    }
                }
            }
            Note::Granted(site, incarnation, storage) => self.granted(site, incarnation, storage, step),
            Note::Vote(..) | Note::Renewed(..) => self.vote_durable(step),
            Note::GivenUp(record) => self.gave_up(&record, step),
            Note::Entered(epoch) => {
                self.entered(epoch);
                self.count_own();
            }
            Note::Shown(latest) => self.lives_shown(latest),
            // It took effect when it was heard, ahead of all that was noted since.
            Note::Ended(..) => {}
            Note::Certificate(certificate) => self.state.heads.learn(certificate),
            // A head that is found in the WAL behind a copy vouches for what is held in another way by now.
            Note::Vouched(head) if head.next > self.journals.durable(head.journal) => {}
            Note::Vouched(head) => {
                self.state.heads.durable(head, self.config.limits.message_bytes as u64);
            }
        }
        Ok(())
    }

    /// An entry has its place in the order.
    fn take_effect(&mut self, release: &Release, step: &mut Step<'_>) -> Result<(), Fatal> {
        let own = Some(release.journal) == self.identity.journal();
        let at = self.retains_at(release.at, step.now);
        self.merge.retain(at, &mut self.logs, step.disk)?;
        let outcome = self.merge.apply(release, &mut self.logs, step.disk)?;
        let base_offset = match outcome {
            Outcome::Placed { topic, partition, base_offset } => {
                self.state.grown.insert(Grown { topic, partition, origin: None });
                Some(base_offset)
            }
            Outcome::Catalog(applied) => {
                // The admission view may hold it already; applying is idempotent.
                for changes in &applied {
                    let _ = self.admission.apply(changes);
                }
                self.state.deleted = true;
                step.out.push(Action::ViewChanged);
                None
            }
            Outcome::Topic(topic) => {
                let partitions = |of: &Catalog| of.topic(topic.id).map(|known| known.partitions);
                let before = partitions(&self.admission);
                let _ = self.admission.restate(&topic);
                if partitions(&self.admission) != before {
                    step.out.push(Action::ViewChanged);
                }
                None
            }
            Outcome::Membership(effect) => {
                self.membership_changed(release.journal, &effect, step);
                None
            }
            Outcome::NoPlace | Outcome::Nothing => None,
        };
        if own {
            let void = release.effect == Effect::ChangeVoid;
            for pending in self.desk.released(release.seq, base_offset) {
                let answer =
                    if void { Err(Refusal::Members(OTHERS_FIRST.into())) } else { Ok(pending.answer) };
                step.out.push(Action::Reply { ticket: pending.ticket, answer });
            }
        }
        Ok(())
    }

    /// What no catalog will ever show again needs no logs. Done with the next event, so that what was released together
    /// with a deletion is still shown.
    pub(crate) fn drop_deleted(&mut self) {
        if std::mem::take(&mut self.state.deleted) {
            for topic in self.merge.catalog.ever().filter(|topic| topic.deleted) {
                self.logs.remove_topic(topic.id);
            }
        }
    }

    fn membership_changed(&mut self, journal: JournalId, effect: &Effect, step: &mut Step<'_>) {
        if let Effect::Changed { epoch } = effect {
            self.members_changed(*epoch, step);
        }
        if let Effect::Opened { journal: opened } = effect
            && Some(*opened) == self.identity.journal()
        {
            self.state.start.opened();
        }
        if matches!(effect, Effect::Parted) && Some(journal) == self.identity.journal() {
            self.state.start.parted();
        }
        self.state.pulse.news = true;
    }

    /// The disk had no room: new writes are refused, what was taken in waits for room, reading goes on.
    pub(crate) fn write_refused(&mut self, id: u64, step: &mut Step<'_>) {
        if self.pipeline.refused(id, step.now.mono_us) {
            self.alarm(DISK_FULL.to_owned(), step);
        }
    }

    /// The disk is low, or is so no longer.
    pub(crate) fn disk_low(&mut self, low: bool, step: &mut Step<'_>) {
        let unheard = !low && self.state.switch.has(Mutant::RoomUnheard);
        if unheard || !self.pipeline.set_low(low) {
            return;
        }
        match low {
            true => self.alarm(DISK_FULL.to_owned(), step),
            false => self.tell_room(step),
        }
        step.out.push(Action::ViewChanged);
    }

    fn tell_room(&mut self, step: &mut Step<'_>) {
        if !self.pipeline.is_low() && self.state.alarms.remove(DISK_FULL) {
            step.out.push(Action::ViewChanged);
        }
    }

    /// The admission view: the released catalog, plus this site's own changes that wait for their place.
    pub(crate) fn rebuild_admission(&mut self) {
        self.admission = self.merge.catalog.clone();
        for deed in self.merge.waiting(self.config.own) {
            match deed {
                Deed::Catalog(changes) => {
                    let _ = self.admission.apply(changes);
                }
                Deed::Topic(topic) => {
                    let _ = self.admission.restate(topic);
                }
                _ => {}
            }
        }
        for changes in self.merge.early() {
            let _ = self.admission.apply(changes);
        }
    }
}

/// What is said to who asked for a change of the members that came too late in the order.
const OTHERS_FIRST: &str =
    "another change of the members came first: look at `meridian site status`, and ask again";

/// The alarm of a full disk.
pub(crate) const DISK_FULL: &str =
    "the disk is full: writes are refused until there is room; reading and sending to other sites go on";
