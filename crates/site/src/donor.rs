//! Giving: what others ask of this site's files, at a bounded rate, behind everything else.
//!
//! A donor remembers nothing about who copies from it but the questions that wait for their turn: files of the logs only
//! grow, or go, and a checkpoint that is gone is asked for anew. Answers take the room that a link has left for entries,
//! so that a copy can delay nobody; a digest is told only after every byte under it was looked at.

use std::collections::{BTreeMap, VecDeque};

use disk::FileName;
use entry::{JournalId, Seq, SiteId};
use journal::checkpoint;

use crate::action::Lane;
use crate::files::{FileAnswer, FileWork, Purpose};
use crate::replicate::control;
use crate::site::{Fatal, Site, Step};
use crate::wire::{CHUNK_BYTES_MAX, Chunk, CopyMessage, Extent, Message, shared};

/// Questions of one peer that may wait; it asks again for what was not heard.
const ASKS_MAX: usize = 512;
/// Tasks under way for peers, over all of them.
const TASKS_MAX: usize = 4;
/// How long the allowance gathers while nobody asks, in microseconds.
const GATHERED_US: u64 = 250_000;

/// A question about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    Want(Chunk),
    Sum(Extent),
}

/// What is asked of this site, and how much it may give.
#[derive(Debug, Default)]
pub(crate) struct Giving {
    asks: BTreeMap<SiteId, VecDeque<Ask>>,
    /// Bytes that may be read for others now; below zero after a large one.
    allowance: i64,
    filled_us: u64,
}

impl Giving {
    fn fill(&mut self, bytes_per_second: u64, now_us: u64) {
        let passed_us = now_us.saturating_sub(self.filled_us).min(GATHERED_US);
        self.filled_us = now_us;
        let (rate, most) = (i128::from(bytes_per_second), i128::from(GATHERED_US));
        let more = rate * i128::from(passed_us) / 1_000_000;
        let full = (rate * most / 1_000_000).max(1);
        self.allowance = i64::try_from((i128::from(self.allowance) + more).min(full)).unwrap_or(i64::MAX);
    }
}

impl Site {
    /// A peer asks who has a checkpoint that reaches so far. Where only the checkpoint here does not, a newer one is
    /// written: the peer asks again.
    pub(crate) fn who_has(
        &mut self,
        from: SiteId,
        least: &BTreeMap<JournalId, Seq>,
        step: &mut Step<'_>,
    ) -> Result<(), Fatal> {
        let reaches = |held: &BTreeMap<JournalId, Seq>| {
            least
                .iter()
                .all(|(journal, least)| held.get(journal).is_some_and(|held| held >= least) || *least == 0)
        };
        if !reaches(&self.state.checkpoint.frontier) {
            self.state.checkpoint.wanted = reaches(&self.journals.frontier());
            return Ok(());
        }
        let folder = FileName::root().join("checkpoint");
        if self.state.copying.is_idle()
            && let Some((file, bytes)) = checkpoint::newest(step.disk, &folder)?
        {
            let extent = Extent { file: file.as_str().to_owned(), bytes };
            step.out.push(control(from, Message::Copy(CopyMessage::Offer(extent))));
        }
        Ok(())
    }

    /// A peer asks about a file.
    pub(crate) fn asked(&mut self, from: SiteId, ask: Ask) {
        let asks = self.state.giving.asks.entry(from).or_default();
        if asks.len() < ASKS_MAX {
            asks.push_back(ask);
        }
    }

    /// Begins on questions, as far as links have room and the allowance goes.
    pub(crate) fn give(&mut self, step: &mut Step<'_>) {
        if self.state.giving.asks.is_empty() {
            return;
        }
        self.state.giving.fill(self.config.limits.copy_bytes_per_second, step.now.mono_us);
        self.state.giving.asks.retain(|site, asks| !asks.is_empty() && self.peers.is_greeted(*site));
        let sites: Vec<SiteId> = self.state.giving.asks.keys().copied().collect();
        for site in sites {
            while self.may_give(site)
                && let Some(ask) = self.state.giving.asks.get_mut(&site).and_then(VecDeque::pop_front)
            {
                self.begin_giving(site, ask, step);
            }
        }
    }

    fn may_give(&self, site: SiteId) -> bool {
        let running = self.state.tasks.running.values();
        let running = running.filter(|purpose| matches!(purpose, Purpose::Give(..))).count();
        let room = self.peers.links.get(&site).is_some_and(|peer| peer.credit > 0);
        running < TASKS_MAX && room && self.state.giving.allowance > 0
    }

    fn begin_giving(&mut self, site: SiteId, ask: Ask, step: &mut Step<'_>) {
        let (name, bytes) = match &ask {
            Ask::Want(chunk) => (&chunk.file, u64::from(chunk.bytes)),
            Ask::Sum(extent) => (&extent.file, extent.bytes),
        };
        let Some(file) = shared(name) else { return self.not_here(site, name.clone(), bytes, step) };
        let work = match &ask {
            Ask::Want(chunk) if chunk.bytes > CHUNK_BYTES_MAX => {
                return self.not_here(site, name.clone(), bytes, step);
            }
            Ask::Want(chunk) => {
                self.state.giving.allowance -= i64::from(chunk.bytes);
                if let Some(peer) = self.peers.links.get_mut(&site) {
                    peer.credit -= i64::from(chunk.bytes);
                }
                FileWork::Read { file, offset: chunk.offset, bytes: chunk.bytes }
            }
            Ask::Sum(extent) => FileWork::Sum { file, bytes: extent.bytes, sync: None },
        };
        self.state.tasks.order(Purpose::Give(site, ask), work, step);
    }

    /// A file was read for a peer.
    pub(crate) fn given(&mut self, site: SiteId, ask: Ask, answer: FileAnswer, step: &mut Step<'_>) {
        if !self.peers.is_greeted(site) {
            return;
        }
        if let Ask::Want(chunk) = &ask {
            // Until now it was only set aside.
            self.room(site, chunk.bytes as usize);
        }
        match (ask, answer) {
            (Ask::Want(chunk), FileAnswer::Read(bytes)) => {
                self.send_bulk(site, Lane::CatchUp, Message::Copy(CopyMessage::Here { chunk, bytes }), step);
            }
            (Ask::Sum(extent), FileAnswer::Summed(proven)) => {
                // A newer checkpoint takes the place of a damaged one: nobody can begin with that.
                let is_whole = proven.damaged.is_empty();
                self.state.checkpoint.wanted |= !is_whole && extent.file.ends_with(".checkpoint");
                let digest = proven.damaged.is_empty().then_some(proven.digest);
                step.out.push(control(site, Message::Copy(CopyMessage::Summed { extent, digest })));
            }
            (Ask::Want(chunk), _) => self.not_here(site, chunk.file, 0, step),
            (Ask::Sum(extent), _) => self.not_here(site, extent.file, extent.bytes, step),
        }
    }

    fn not_here(&self, site: SiteId, file: String, bytes: u64, step: &mut Step<'_>) {
        let message = CopyMessage::Summed { extent: Extent { file, bytes }, digest: None };
        step.out.push(control(site, Message::Copy(message)));
    }
}

#[cfg(test)]
mod tests {
    use super::Giving;

    #[test]
    fn an_allowance_gathers_for_a_quarter_of_a_second_and_no_more() {
        let mut giving = Giving::default();
        giving.fill(1000, 10_000_000);
        assert_eq!(giving.allowance, 250);
        giving.allowance = -100;
        giving.fill(1000, 10_100_000);
        assert_eq!(giving.allowance, 0);
        giving.fill(u64::MAX, 99_000_000);
        assert!(giving.allowance > 0);
    }
}
