//! How a copy that is whole is put in force.
//!
//! A site refuses to take entries, writes or checkpoints meanwhile, which is a matter of moments.

use disk::{Disk, DiskError, FileName};

use super::{Phase, folder, staged};
use crate::action::{Action, Refusal};
use crate::checkpoint::Own;
use crate::event::Event;
use crate::files::{FileAnswer, FileWork, Purpose, refuse_failure};
use crate::site::{Fatal, INSTALLS, Site, Step};

/// Where whole files wait until the checkpoint that relies on them is in force.
fn waiting(file: &FileName) -> FileName {
    folder("taken").join(file.as_str())
}

/// At a start: gives files that a checkpoint took over their names. Without such a checkpoint, or without the files, the
/// copy goes on where it was.
pub(crate) fn put_in_place(disk: &mut dyn Disk, taken: &[String]) -> Result<(), DiskError> {
    let named = taken.iter().filter_map(|name| FileName::new(name).ok());
    let mut placed = 0;
    for file in named {
        if disk.len(&waiting(&file))?.is_some() {
            disk.rename(&waiting(&file), &file)?;
            placed += 1;
        }
    }
    for left in disk.list(&folder("taken"))? {
        let back = left.as_str().strip_prefix("taken/").and_then(|name| FileName::new(name).ok());
        match back.filter(|_| taken.is_empty()) {
            Some(file) => disk.rename(&left, &staged(&file))?,
            None => disk.remove(&left)?,
        }
    }
    if placed > 0 {
        disk.list(&folder("copy"))?.iter().try_for_each(|left| disk.remove(left))?;
    }
    Ok(())
}

impl Site {
    /// Everything is here: the donor's state, with this site's privacy, becomes a checkpoint of this site that stands
    /// before all that its WAL still holds.
    pub(super) fn install(&mut self, step: &mut Step<'_>) -> Result<(), Fatal> {
        if self.state.doubt.gave_up() {
            // A machine that is opened anew would not know, and without links not learn again, that it is a second one.
            return Ok(());
        }
        let Some(fetch) = self.state.copying.fetch() else { return Ok(()) };
        let Some(state) = fetch.state.take() else { return Ok(()) };
        let (names, donor): (Vec<FileName>, _) = (fetch.files.keys().cloned().collect(), fetch.donor);
        let here = self.logs.extents();
        let is_here = |file: &FileName, bytes| here.get(file) >= Some(&bytes) || names.contains(file);
        if !self.is_of_use(&state.chains) || !state.logs.files().all(|(file, bytes)| is_here(&file, bytes)) {
            self.give_up(donor, "this site has gone on meanwhile", step);
            return Ok(());
        }
        let own = Own {
            journal: self.identity.journal(),
            private: self.private(),
            restated: &self.desk.restated_durably,
            lives: &self.state.lives,
            readable: self.merge.order.position(),
        };
        let state = state.handed_to(self.config.own, own, &names);
        let work = FileWork::Install {
            sync: self.logs.checkpoint().sync,
            moves: names.iter().map(|file| (staged(file), waiting(file))).collect(),
            position: self.pipeline.wal.oldest(),
            state: state.encode(),
        };
        self.state.copying.phase = Phase::Installing { done: false, said: false };
        self.state.tasks.order(Purpose::Install, work, step);
        Ok(())
    }

    /// The copy is in force, or there was no room for it.
    pub(crate) fn install_done(&mut self, answer: FileAnswer, step: &mut Step<'_>) -> Result<(), Fatal> {
        if let FileAnswer::Failed(error) = &answer
            && error.is_full()
        {
            self.alarm(format!("a copy cannot be put in force: {error}"), step);
        } else {
            refuse_failure(answer)?;
        }
        if let Phase::Installing { done, .. } = &mut self.state.copying.phase {
            *done = true;
        }
        Ok(())
    }

    /// The machine is let go when the disk has nothing of it under way.
    pub(crate) fn finish_installing(&mut self, step: &mut Step<'_>) {
        let busy = self.pipeline.wal.is_writing() || !self.state.tasks.running.is_empty();
        if let Phase::Installing { done: true, said } = &mut self.state.copying.phase
            && !busy
            && !std::mem::replace(said, true)
        {
            step.out.push(Action::Restart);
        }
    }

    /// While a copy is put in force only the disk is listened to.
    pub(crate) fn unless_installing(&self, event: Event, step: &mut Step<'_>) -> Option<Event> {
        if !self.state.copying.is_installing() {
            return Some(event);
        }
        match event {
            Event::Request { ticket, .. } => {
                let answer = Err(Refusal::NotReady(INSTALLS.into()));
                step.out.push(Action::Reply { ticket, answer });
                None
            }
            Event::Written { .. }
            | Event::WriteRefused { .. }
            | Event::Prepared { .. }
            | Event::Checkpointed { .. }
            | Event::FilesDone { .. } => Some(event),
            _ => None,
        }
    }

    /// A checkpoint is done: a copy may have waited for that.
    pub(crate) fn resume_install(&mut self, step: &mut Step<'_>) -> Result<(), Fatal> {
        let waits = self
            .state
            .copying
            .fetch()
            .is_some_and(|fetch| fetch.state.is_some() && fetch.files.values().all(|file| file.done));
        if waits { self.install(step) } else { Ok(()) }
    }
}
