//! What a finished sync makes true.
//!
//! Live and in recovery the same code runs over the same sequence: entries and notes in the order in which the WAL holds
//! them. That is why recovery ends where the crash began.

use batch::BatchInfo;
use disk::Disk;
use entry::{Body, Encoded, JournalId};
use order::{Effect, Release};
use partition::OriginKey;

use crate::action::{Action, Answer, Grown, Refusal};
use crate::merge::{Deed, Outcome, ProducerBatch, weight};
use crate::notes::Note;
use crate::pipeline::Staged;
use crate::site::{Fatal, Site, Step};

impl Site {
    /// A WAL write is on the disk.
    pub(crate) fn written(&mut self, id: u64, step: &mut Step<'_>) -> Result<(), Fatal> {
        let before = self.pipeline.wal.position();
        for staged in self.pipeline.written(id) {
            self.take_durable(staged, step)?;
        }
        let after = self.pipeline.wal.position();
        self.state.checkpoint.bytes_since += after.bytes_after(&before, self.config.limits.wal_segment_bytes);
        self.state.pulse.news = true;
        self.count_own();
        if self.state.alarms.remove(DISK_FULL) {
            step.out.push(Action::ViewChanged);
        }
        Ok(())
    }

    /// Tells the order what this site holds: it is one of the quorum.
    pub(crate) fn count_own(&mut self) {
        for (journal, next) in self.journals.frontier() {
            self.merge.order.counted(self.config.own, self.identity.storage, journal, next);
        }
    }

    /// One entry or note is durable.
    pub(crate) fn take_durable(&mut self, staged: Staged, step: &mut Step<'_>) -> Result<(), Fatal> {
        match staged {
            Staged::Entry(entry, info) => self.entry_durable(&entry, info, step.disk),
            Staged::Note(note) => self.note_durable(note, step),
        }
    }

    fn entry_durable(&mut self, entry: &Encoded, info: Option<BatchInfo>, disk: &mut dyn Disk) -> Result<(), Fatal> {
        self.journals.made_durable(entry);
        let body = entry.body().expect("the body was read before the entry was taken in");
        let weight = weight(&body);
        let deed = match body {
            Body::Batch(batch) => {
                let info = info.expect("a batch comes with its header");
                let journal = entry.head.journal;
                let key = OriginKey { topic: batch.topic, partition: batch.partition, journal };
                let placed = self.logs.append_origin(disk, key, &info, &batch.records, entry.head.stamp)?;
                let (topic, partition) = (batch.topic, batch.partition);
                self.state.grown.insert(Grown { topic, partition, origin: Some(journal.site) });
                let producer = ProducerBatch::of(&info);
                Deed::Batch { topic, partition, origin_offset: placed.origin_offset, producer }
            }
            Body::Progress(delta) => {
                self.positions.join(&delta);
                self.desk.intended.join(&delta);
                Deed::Nothing
            }
            Body::Catalog(changes) => Deed::Catalog(changes),
            Body::Topic(topic) => {
                if Some(entry.head.journal) == self.identity.journal() {
                    self.desk.restated.insert(topic.id);
                }
                Deed::Topic(topic)
            }
            Body::Part | Body::Open(_) => Deed::Nothing,
        };
        self.merge.hold(entry, deed, weight);
        Ok(())
    }

    fn note_durable(&mut self, note: Note, step: &mut Step<'_>) -> Result<(), Fatal> {
        match note {
            Note::Ceiling(ceiling) => self.clock.ceiling_durable(ceiling),
            Note::Released(position) => {
                for release in self.merge.take_released(position) {
                    self.take_effect(&release, step)?;
                }
            }
            Note::ProducerIds(upto) => {
                let ids = &mut self.desk.producer_ids;
                ids.reserved = ids.reserved.max(upto);
            }
            Note::Granted(site, incarnation, storage) => self.granted(site, incarnation, storage, step),
        }
        Ok(())
    }

    /// An entry has its place in the order.
    fn take_effect(&mut self, release: &Release, step: &mut Step<'_>) -> Result<(), Fatal> {
        let own = Some(release.journal) == self.identity.journal();
        let outcome = self.merge.apply(release, &mut self.logs, step.disk)?;
        let base_offset = match outcome {
            Outcome::Placed { topic, partition, base_offset } => {
                self.state.grown.insert(Grown { topic, partition, origin: None });
                Some(base_offset)
            }
            Outcome::Catalog(changes) => {
                // The admission view may hold it already; applying is idempotent.
                let _ = self.admission.apply(&changes);
                step.out.push(Action::ViewChanged);
                None
            }
            Outcome::Topic(topic) => {
                if self.admission.topic(topic.id).is_none() {
                    self.admission.restate(&topic);
                    step.out.push(Action::ViewChanged);
                }
                None
            }
            Outcome::Membership(effect) => {
                self.membership_changed(release.journal, &effect);
                None
            }
            Outcome::NoPlace | Outcome::Nothing => None,
        };
        if own {
            for pending in self.desk.released(release.seq, base_offset) {
                step.out.push(Action::Reply { ticket: pending.ticket, answer: Ok(pending.answer) });
            }
        }
        Ok(())
    }

    fn membership_changed(&mut self, journal: JournalId, effect: &Effect) {
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

    /// The disk had no room: what waited is refused, what must be written waits for room, reading goes on.
    pub(crate) fn write_refused(&mut self, id: u64, step: &mut Step<'_>) {
        let notes = self.pipeline.refused(id);
        self.journals.rewind_to_durable();
        self.peers.sources.clear();
        self.desk.intended = self.positions.clone();
        if let Some(journal) = self.identity.journal() {
            let durable = self.journals.durable(journal);
            for pending in self.desk.take_from(durable) {
                let refused = matches!(pending.answer, Answer::Appended { .. });
                debug_assert!(refused || !matches!(pending.answer, Answer::ProducerId(_)));
                step.out.push(Action::Reply { ticket: pending.ticket, answer: Err(Refusal::DiskFull) });
            }
            self.desk.window.forget_from(durable);
        }
        self.rebuild_admission();
        for note in notes {
            self.pipeline.note(note);
        }
        self.alarm(DISK_FULL.to_owned(), step);
    }

    /// The admission view: the released catalog, plus this site's own changes that wait for their place.
    pub(crate) fn rebuild_admission(&mut self) {
        self.admission = self.merge.catalog.fork(self.admission.actor());
        let Some(journal) = self.identity.journal() else { return };
        for deed in self.merge.waiting_catalog(journal) {
            match deed {
                Deed::Catalog(changes) => {
                    let _ = self.admission.apply(changes);
                }
                Deed::Topic(topic) if self.admission.topic(topic.id).is_none() => self.admission.restate(topic),
                _ => {}
            }
        }
    }
}

/// The alarm of a full disk.
pub(crate) const DISK_FULL: &str =
    "the disk is full: writes are refused until there is room; reading and sending to other sites go on";

