//! Repair: every byte of the logs is looked at from time to time, and what is damaged is taken back from another site.
//!
//! Logs are the same at every site, byte for byte, so a damaged range is overwritten with the bytes that another site has
//! there, once that site has proved its own file by looking at all of it; then this site looks at its file again and
//! compares. If no site has the whole file, the range is taken in parts, from whoever has one of them: each batch and record proves
//! itself. The index of a segment is built again from the segment. Of a checkpoint a newer one is written. Until then,
//! and if nobody has the bytes any more, readers of the range are told so (every read checks), and an alarm names the
//! offsets; everything else is served as ever.
//!
//! It refuses to touch anything but the range that is damaged: no file is removed, cut or replaced on account of damage.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use bytes::Bytes;
use disk::FileName;
use entry::SiteId;
use partition::{Kind, LogsError, Proven};

use crate::action::Action;

use crate::files::{FileAnswer, FileWork, Purpose, refuse_failure};
use crate::replicate::control;
use crate::site::{Fatal, Site, Step};
use crate::wire::{CHUNK_BYTES_MAX, Chunk, CopyMessage, Extent, Message};

/// How long after one look at all files the next begins, in microseconds.
const REST_US: u64 = 3_600_000_000;
/// A site that was asked and says nothing is passed over after this, in microseconds.
const STALLED_US: u64 = 10_000_000;
/// When nobody had the bytes, all are asked again after this, in microseconds.
const AGAIN_US: u64 = 60_000_000;
/// Chunks under way for one file.
const CHUNKS_MAX: usize = 8;

/// What is looked at, and what is being repaired.
#[derive(Debug, Default)]
pub(crate) struct Repairing {
    /// What is still to be looked at in this round.
    queue: VecDeque<(FileName, u64)>,
    pub(crate) looking: bool,
    /// Before this nothing more is looked at, in monotonic microseconds.
    next_us: u64,
    repairs: BTreeMap<FileName, Repair>,
    pub(crate) counts: RepairCounts,
}

/// What looking at files came to, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct RepairCounts {
    /// Bytes looked at.
    pub looked_bytes: u64,
    /// Files found damaged.
    pub damaged: u64,
    /// Files repaired.
    pub repaired: u64,
}

#[derive(Debug)]
struct Repair {
    bytes: u64,
    damaged: Vec<Range<u64>>,
    /// Who has not the whole file.
    tried: BTreeSet<SiteId>,
    /// Who had no more of its parts to give.
    tried_in_parts: BTreeSet<SiteId>,
    phase: Phase,
    /// Since when it waits, in monotonic microseconds.
    since_us: u64,
}

#[derive(Debug)]
enum Phase {
    /// A donor is to be found.
    Open,
    /// The donor looks at its file.
    Proving(SiteId),
    /// The damaged ranges are fetched; of a whole file its digest is known.
    Fetching {
        donor: SiteId,
        digest: Option<[u8; 32]>,
        todo: VecDeque<Chunk>,
        asked: BTreeSet<Chunk>,
        writing: usize,
    },
    /// This site looks at its file again.
    Looking { donor: SiteId, digest: Option<[u8; 32]> },
}

impl Site {
    /// Somebody came upon damage in a file.
    pub(crate) fn came_upon_damage(&mut self, file: &FileName, step: &mut Step<'_>) {
        // Many may read what is damaged before it has been looked at.
        let looks = |purpose: &Purpose| matches!(purpose, Purpose::Look(looked, _) if looked == file);
        if self.state.repairing.repairs.contains_key(file) || self.state.tasks.running.values().any(looks) {
            return;
        }
        if let Some(bytes) = self.logs.all_extents().get(file) {
            let work = FileWork::Sum { file: file.clone(), bytes: *bytes, sync: None };
            self.state.tasks.order(Purpose::Look(file.clone(), *bytes), work, step);
        }
    }

    /// Looks at the next file, if it is time, and moves repairs on.
    pub(crate) fn advance_repair(&mut self, step: &mut Step<'_>) -> Result<(), Fatal> {
        self.look_at_next(step)?;
        let files: Vec<FileName> = self.state.repairing.repairs.keys().cloned().collect();
        for file in files {
            self.move_repair(&file, step);
        }
        Ok(())
    }

    fn look_at_next(&mut self, step: &mut Step<'_>) -> Result<(), Fatal> {
        let rate = self.config.limits.look_bytes_per_second;
        let repairing = &mut self.state.repairing;
        if rate == 0 || repairing.looking || step.now.mono_us < repairing.next_us {
            return Ok(());
        }
        let Some((file, bytes)) = repairing.queue.pop_front() else {
            let checkpoints = step.disk.list(&FileName::root().join("checkpoint"))?;
            let whole = checkpoints.into_iter().filter(|file| file.last().ends_with(".checkpoint"));
            let whole: Vec<_> = whole.map(|file| (file, 0)).collect();
            repairing.next_us =
                step.now.mono_us + if repairing.counts.looked_bytes == 0 { 0 } else { REST_US };
            let wal = self.pipeline.wal.closed().map(|file| (file, 0));
            repairing.queue = self.logs.all_extents().into_iter().chain(whole).chain(wal).collect();
            // An empty site has nothing to look at, but will.
            if repairing.queue.is_empty() {
                repairing.next_us = step.now.mono_us + STALLED_US;
            }
            return Ok(());
        };
        // What went meanwhile needs no look, and of what grew the rest comes next time.
        let Some(there) = step.disk.len(&file)? else { return Ok(()) };
        let bytes = if bytes == 0 { there } else { bytes.min(there) };
        repairing.looking = true;
        repairing.next_us = step.now.mono_us + bytes.saturating_mul(1_000_000) / rate;
        repairing.counts.looked_bytes += bytes;
        let (purpose, work) = match self.pipeline.wal.again(&file) {
            Some(again) => (Purpose::Segment(file), FileWork::Segment(again)),
            None => {
                let work = FileWork::Sum { file: file.clone(), bytes, sync: None };
                (Purpose::Look(file, bytes), work)
            }
        };
        self.state.tasks.order(purpose, work, step);
        Ok(())
    }

    /// A file was looked at.
    pub(crate) fn looked(
        &mut self,
        file: &FileName,
        bytes: u64,
        answer: FileAnswer,
        step: &mut Step<'_>,
    ) -> Result<(), Fatal> {
        self.state.repairing.looking = false;
        let proven = match answer {
            FileAnswer::Summed(proven) => proven,
            // What the device does not read is damaged as well, unless the file is gone.
            FileAnswer::Failed(disk::DiskError::Failed { .. }) => {
                Proven { digest: [0; 32], damaged: std::iter::once(0..bytes).collect() }
            }
            _ => return Ok(()),
        };
        let again = self.state.repairing.repairs.get(file).map(|repair| &repair.phase);
        if let Some(Phase::Looking { donor, digest }) = again {
            let (donor, digest) = (*donor, *digest);
            self.looked_again(file, (donor, digest), proven, step);
        } else if again.is_none() && !proven.damaged.is_empty() {
            self.found_damage(file, bytes, proven.damaged, step)?;
        }
        Ok(())
    }

    fn found_damage(
        &mut self,
        file: &FileName,
        bytes: u64,
        damaged: Vec<Range<u64>>,
        step: &mut Step<'_>,
    ) -> Result<(), Fatal> {
        self.state.repairing.counts.damaged += 1;
        let which: Vec<_> = damaged.iter().map(|range| format!("{}..{}", range.start, range.end)).collect();
        let text = format!("{file} is damaged at bytes {}", which.join(", "));
        match Kind::of(file) {
            None => {
                // The state is in memory: a newer checkpoint takes its place.
                step.out.push(Action::Alarm(format!("{text}; a newer checkpoint is written")));
                self.state.checkpoint.wanted = true;
                return Ok(());
            }
            Some(Kind::Index) => {
                step.out.push(Action::Alarm(format!("{text}; it is built again from its segment")));
                match self.logs.rebuild_index(step.disk, file) {
                    Ok(()) => self.state.repairing.counts.repaired += 1,
                    // It is repaired first, and this found again.
                    Err(LogsError::Damaged { file: segment, .. }) => self.came_upon_damage(&segment, step),
                    Err(_) => {}
                }
                return Ok(());
            }
            Some(Kind::Segment | Kind::Merged) => {}
        }
        step.out.push(Action::Alarm(format!("{text}; it is taken back from another site")));
        let repair = Repair {
            bytes,
            damaged,
            tried: BTreeSet::new(),
            tried_in_parts: BTreeSet::new(),
            phase: Phase::Open,
            since_us: step.now.mono_us,
        };
        self.state.repairing.repairs.insert(file.clone(), repair);
        Ok(())
    }

    fn move_repair(&mut self, file: &FileName, step: &mut Step<'_>) {
        let now_us = step.now.mono_us;
        let Some(repair) = self.state.repairing.repairs.get_mut(file) else { return };
        let waited_us = now_us.saturating_sub(repair.since_us);
        let holds_data = |site: SiteId| self.config.witness != Some(site);
        match &mut repair.phase {
            Phase::Open => {
                let donors = self.peers.links.iter().filter(|(site, peer)| {
                    peer.greeted.is_some() && holds_data(**site) && !repair.tried_in_parts.contains(*site)
                });
                let (whole, parts): (Vec<_>, Vec<_>) =
                    donors.map(|(site, _)| *site).partition(|site| !repair.tried.contains(site));
                let own = self.config.own;
                let others = || self.merge.order.members().iter().filter(|site| **site != own);
                if let Some(site) = whole.first() {
                    (repair.phase, repair.since_us) = (Phase::Proving(*site), now_us);
                    let extent = Extent { file: file.as_str().to_owned(), bytes: repair.bytes };
                    step.out.push(control(*site, Message::Copy(CopyMessage::Sum(extent))));
                } else if others().all(|site| repair.tried.contains(site)) {
                    if let Some(site) = parts.first() {
                        let todo = chunks_of(file.as_str(), &repair.damaged);
                        let (digest, asked) = (None, BTreeSet::new());
                        repair.phase = Phase::Fetching { donor: *site, digest, todo, asked, writing: 0 };
                        repair.since_us = now_us;
                    } else if others().all(|site| repair.tried_in_parts.contains(site)) {
                        if waited_us >= AGAIN_US {
                            repair.tried.clear();
                            repair.tried_in_parts.clear();
                            repair.since_us = now_us;
                        }
                        self.say_lost(file, step);
                    }
                }
            }
            Phase::Proving(donor) | Phase::Fetching { donor, .. }
                if waited_us >= STALLED_US || !self.peers.is_greeted(*donor) =>
            {
                // Asked again later: it did not say that it has nothing.
                (repair.phase, repair.since_us) = (Phase::Open, now_us);
            }
            Phase::Fetching { donor, todo, asked, .. } => {
                while asked.len() < CHUNKS_MAX
                    && let Some(chunk) = todo.pop_front()
                {
                    asked.insert(chunk.clone());
                    step.out.push(control(*donor, Message::Copy(CopyMessage::Want(chunk))));
                }
            }
            Phase::Proving(_) | Phase::Looking { .. } => {}
        }
    }

    /// Another site has looked at its file. Returns whether that is any of repair's business.
    pub(crate) fn donor_proved(
        &mut self,
        from: SiteId,
        extent: &Extent,
        digest: Option<[u8; 32]>,
        now_us: u64,
    ) -> bool {
        let named = FileName::new(&extent.file).ok();
        let repair = named.as_ref().and_then(|file| self.state.repairing.repairs.get_mut(file));
        let Some(repair) = repair else { return false };
        match (&repair.phase, digest) {
            (Phase::Proving(donor), Some(digest)) if *donor == from && extent.bytes == repair.bytes => {
                let todo = chunks_of(&extent.file, &repair.damaged);
                let digest = Some(digest);
                repair.phase =
                    Phase::Fetching { donor: from, digest, todo, asked: BTreeSet::new(), writing: 0 };
            }
            (Phase::Fetching { donor, digest: None, .. }, None) if *donor == from => {
                repair.tried_in_parts.insert(from);
                repair.phase = Phase::Open;
            }
            (Phase::Proving(donor) | Phase::Fetching { donor, .. }, None) if *donor == from => {
                repair.tried.insert(from);
                repair.phase = Phase::Open;
            }
            _ => return true,
        }
        repair.since_us = now_us;
        true
    }

    /// A chunk came. Returns whether it was for a repair.
    pub(crate) fn chunk_for_repair(
        &mut self,
        from: SiteId,
        chunk: &Chunk,
        bytes: &Bytes,
        step: &mut Step<'_>,
    ) -> bool {
        let Ok(file) = FileName::new(&chunk.file) else { return false };
        let Some(repair) = self.state.repairing.repairs.get_mut(&file) else { return false };
        let Phase::Fetching { donor, asked, writing, .. } = &mut repair.phase else { return false };
        if *donor != from || !asked.remove(chunk) {
            return false;
        }
        *writing += 1;
        repair.since_us = step.now.mono_us;
        let work = FileWork::Write { file: file.clone(), offset: chunk.offset, bytes: bytes.clone() };
        self.state.tasks.order(Purpose::Mend(file), work, step);
        true
    }

    /// A damaged range was overwritten.
    pub(crate) fn mended(
        &mut self,
        file: &FileName,
        answer: FileAnswer,
        step: &mut Step<'_>,
    ) -> Result<(), Fatal> {
        let Some(repair) = self.state.repairing.repairs.get_mut(file) else { return refuse_failure(answer) };
        if matches!(&answer, FileAnswer::Failed(error) if error.is_full()) {
            // It stands, and is begun anew after a while, as if the donor had fallen silent.
            return Ok(());
        }
        refuse_failure(answer)?;
        let Phase::Fetching { donor, digest, todo, asked, writing } = &mut repair.phase else {
            return Ok(());
        };
        *writing = writing.saturating_sub(1);
        if todo.is_empty() && asked.is_empty() && *writing == 0 {
            repair.phase = Phase::Looking { donor: *donor, digest: *digest };
            let work = FileWork::Sum { file: file.clone(), bytes: repair.bytes, sync: Some(0) };
            self.state.tasks.order(Purpose::Look(file.clone(), repair.bytes), work, step);
        }
        Ok(())
    }

    fn looked_again(
        &mut self,
        file: &FileName,
        (donor, digest): (SiteId, Option<[u8; 32]>),
        proven: Proven,
        step: &mut Step<'_>,
    ) {
        let name = self.config.name_of(donor).to_owned();
        if proven.damaged.is_empty() && digest.is_none_or(|digest| digest == proven.digest) {
            self.state.repairing.repairs.remove(file);
            self.state.repairing.counts.repaired += 1;
            self.state.alarms.retain(|text| !(text.starts_with(LOST) && text.contains(file.as_str())));
            step.out.push(Action::Remark(format!("{file} is repaired, with the bytes of {name}")));
        } else if let Some(repair) = self.state.repairing.repairs.get_mut(file) {
            repair.tried.insert(donor);
            // What is sound and yet another file than the donor's is nothing that its parts could mend.
            if digest.is_none() || proven.damaged.is_empty() {
                repair.tried_in_parts.insert(donor);
            }
            if !proven.damaged.is_empty() {
                repair.damaged = proven.damaged;
            }
            (repair.phase, repair.since_us) = (Phase::Open, step.now.mono_us);
        }
    }

    /// Nobody has the bytes: which offsets are gone?
    fn say_lost(&mut self, file: &FileName, step: &mut Step<'_>) {
        let Some(repair) = self.state.repairing.repairs.get(file) else { return };
        let gone: Vec<String> = repair
            .damaged
            .iter()
            .map(|range| {
                self.logs.offsets_of(step.disk, file, range).unwrap_or_else(|_| "unknown offsets".into())
            })
            .collect();
        self.alarm(format!("{LOST} {file}: {}", gone.join("; ")), step);
    }

    /// What looking at files came to.
    #[must_use]
    pub fn repair_counts(&self) -> RepairCounts {
        self.state.repairing.counts
    }
}

/// How the alarm begins that says what nobody has any more.
const LOST: &str = "no other site has what is damaged in";

fn chunks_of(file: &str, damaged: &[Range<u64>]) -> VecDeque<Chunk> {
    let cut = |range: &Range<u64>| {
        let end = range.end;
        range.clone().step_by(CHUNK_BYTES_MAX as usize).map(move |offset| Chunk {
            file: file.to_owned(),
            offset,
            bytes: u32::try_from((end - offset).min(u64::from(CHUNK_BYTES_MAX))).expect("at most a chunk"),
        })
    };
    damaged.iter().flat_map(cut).collect()
}
