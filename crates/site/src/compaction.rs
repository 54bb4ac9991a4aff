//! Compaction at work: one pass at a time, a step at a time, beside the machine.
//!
//! What a pass does was settled by its mark, at a place of the merged order ([`crate::retention`]); when it is done is this
//! site's own affair. So steps are paced, a pass that cannot go on (a file is damaged, the disk is full) is begun anew
//! later, and a restart begins it anew too.

use partition::{CompactDone, LogsError, Pass};

use crate::files::{FileAnswer, FileWork, Purpose};
use crate::mutant::Mutant;
use crate::site::{Fatal, Site, Step};

/// How much of the logs compaction reads per second.
const BYTES_PER_SECOND: u64 = 32 << 20;
/// How often it is looked whether there is something to do, in microseconds.
const LOOK_US: u64 = 500_000;
/// How long a pass that could not go on rests, in microseconds.
const REST_US: u64 = 5_000_000;

/// What is being compacted.
#[derive(Debug, Default)]
pub(crate) struct Compacting {
    pass: Option<Pass>,
    /// Whether a step is being carried out.
    working: bool,
    /// Before this nothing is begun, in monotonic microseconds.
    next_us: u64,
    /// Passes that were finished in this process's life.
    pub(crate) passes: u64,
}

impl Site {
    /// Begins the next step of compaction, if it is time.
    pub(crate) fn advance_compaction(&mut self, step: &mut Step<'_>) -> Result<(), Fatal> {
        let compacting = &mut self.state.compacting;
        if compacting.working || step.now.mono_us < compacting.next_us || self.pipeline.is_full() {
            return Ok(());
        }
        let Some(mut pass) = compacting.pass.take().or_else(|| self.logs.next_pass()) else {
            compacting.next_us = step.now.mono_us + LOOK_US;
            return Ok(());
        };
        if self.state.switch.has(Mutant::CompactionLosesAStep) {
            // What was to be written anew is not.
            let _ = self.logs.next_step(step.disk, &mut pass);
        }
        match self.logs.next_step(step.disk, &mut pass) {
            Ok(Some(work)) => {
                let bytes = Pass::bytes_of(&work);
                self.state.compacting.next_us = step.now.mono_us + bytes * 1_000_000 / BYTES_PER_SECOND;
                self.state.compacting.working = true;
                self.state.compacting.pass = Some(pass);
                self.state.tasks.order(Purpose::Compact, FileWork::Compact(work), step);
                Ok(())
            }
            Ok(None) => match self.logs.finish_pass(step.disk, &pass) {
                Ok(()) => {
                    self.state.compacting.passes += 1;
                    Ok(())
                }
                Err(error) => self.rest(error, step),
            },
            Err(error) => self.rest(error, step),
        }
    }

    /// A step was carried out.
    pub(crate) fn compacted(&mut self, answer: FileAnswer, step: &mut Step<'_>) -> Result<(), Fatal> {
        self.state.compacting.working = false;
        match answer {
            FileAnswer::Compacted(CompactDone::Unreadable(file)) => {
                self.state.compacting.pass = None;
                self.state.compacting.next_us = step.now.mono_us + REST_US;
                self.came_upon_damage(&file, step);
                Ok(())
            }
            FileAnswer::Compacted(done) => {
                if let Some(pass) = &mut self.state.compacting.pass {
                    pass.step_done(done);
                }
                Ok(())
            }
            FileAnswer::Failed(error) => self.rest(error.into(), step),
            _ => Ok(()),
        }
    }

    /// The pass is begun anew later, unless the disk has failed.
    fn rest(&mut self, error: LogsError, step: &mut Step<'_>) -> Result<(), Fatal> {
        self.state.compacting.pass = None;
        self.state.compacting.next_us = step.now.mono_us + REST_US;
        match error {
            error if error.is_full() => Ok(()),
            LogsError::Damaged { file, .. } => {
                self.came_upon_damage(&file, step);
                Ok(())
            }
            other => Err(other.into()),
        }
    }
}
