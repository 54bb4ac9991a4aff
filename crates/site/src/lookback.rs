//! The WAL from before the checkpoint: a start does without it, so it is read behind the start, the latest segment first.
//!
//! Only then are its entries given to others, and its segments dropped. Who asks for an entry from there waits for a moment.
//! Whatever is damaged is found by this, by looking at all files from time to time, or by reading an entry for a peer.
//! No recovery is to need it then, so newer checkpoints are written until none that is kept does; and what stands in the
//! damaged segment or before is given to nobody any more: who lacks it takes over a copy. Nothing is cut, overwritten or
//! dropped on account of damage.

use disk::FileName;
use journal::{ReadError, WalPosition};

use crate::files::{FileAnswer, FileWork, Purpose};
use crate::mutant::Mutant;
use crate::site::{Fatal, Site, Step};

impl Site {
    /// Reads the next segment that was not read since the start, one at a time.
    pub(crate) fn look_back(&mut self, step: &mut Step<'_>) {
        if self.state.switch.has(Mutant::LookbackSkipped) {
            return;
        }
        let mut running = self.state.tasks.running.values();
        if !running.any(|purpose| matches!(purpose, Purpose::Segment(_)))
            && let Some(unread) = self.pipeline.wal.unread()
        {
            self.state.tasks.order(Purpose::Segment(unread.file.clone()), FileWork::Segment(unread), step);
        }
    }

    /// An entry does not read for a peer: the whole file is looked at, and the peer waits for that.
    pub(crate) fn misread(&mut self, error: ReadError, step: &mut Step<'_>) -> Result<(), Fatal> {
        let ReadError::Damaged { file, .. } = &error else { return Err(error.into()) };
        let Some(again) = self.pipeline.wal.again(file) else { return Err(error.into()) };
        let purpose = Purpose::Segment(file.clone());
        if !self.state.tasks.running.values().any(|running| *running == purpose) {
            self.state.tasks.order(purpose, FileWork::Segment(again), step);
        }
        Ok(())
    }

    /// A segment was read.
    pub(crate) fn segment_read(&mut self, file: &FileName, answer: FileAnswer, step: &mut Step<'_>) {
        self.state.repairing.looking = false;
        let what = match answer {
            FileAnswer::Segment(contents) => {
                let place = contents.damaged;
                match self.pipeline.wal.found(file, contents) {
                    true => return,
                    false => place
                        .map_or("holds entries twice".to_owned(), |at| format!("is damaged at byte {at}")),
                }
            }
            FileAnswer::Failed(error) => format!("does not read: {error}"),
            _ => return,
        };
        if self.pipeline.wal.lose(file, &self.journals.frontier()) {
            self.state.repairing.counts.damaged += 1;
            self.outrun_damage(WalPosition::START);
            self.alarm(
                format!(
                    "{file} {what}; newer checkpoints are written, and who lacks what stands in it or before has to copy files"
                ),
                step,
            );
        }
    }

    /// Has newer checkpoints written until a recovery from `position`, the older one's, needs nothing that is damaged.
    pub(crate) fn outrun_damage(&mut self, position: WalPosition) {
        let end = self.pipeline.wal.position().segment;
        let needed = self.pipeline.wal.lost().is_some_and(|lost| position.segment <= lost && lost < end);
        self.state.checkpoint.wanted |= needed;
    }
}
