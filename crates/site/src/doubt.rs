//! A second process with our id: what a site does whose peers say so.
//!
//! A peer keeps the link of the process that was there first, as long as that one answers, and refuses any other that
//! comes with the same certificate. So who is refused is the second one, most likely a clone: nothing it acknowledges
//! would ever be read elsewhere. But one refusal proves little, since for some seconds after a restart a peer may still
//! hold a link of the process before. Therefore in two steps: from the first refusal on writes wait, and clients go
//! elsewhere; when the same peer has gone on refusing for longer than the link of a dead process lives, the journal is
//! halted, and every link is given up, so that whoever is in the right is let in where this process was first.
//!
//! A peer that takes our link, or says nothing more, takes its word back.

use std::collections::BTreeMap;

use entry::SiteId;

use crate::action::Action;
use crate::site::{Site, Step};

/// A refusal counts for this long, in microseconds: a peer that still refuses is heard again sooner.
const COUNTS_FOR_US: u64 = 10_000_000;
/// Refused for this long, a site believes it, in microseconds: more than a peer takes to drop a silent link.
const BELIEVED_AFTER_US: u64 = 8_000_000;

/// Who says that another process is this site.
#[derive(Debug, Default)]
pub(crate) struct Doubt {
    by: BTreeMap<SiteId, Word>,
    /// All links were given up: this process is the second one.
    gave_up: bool,
}

#[derive(Debug)]
struct Word {
    first_us: u64,
    last_us: u64,
    reason: String,
}

impl Doubt {
    /// Why writes must wait, if they must.
    pub(crate) fn holds_writes(&self) -> Option<String> {
        let word = self.by.values().next()?;
        Some(format!("another process seems to be this site: {}", word.reason))
    }

    /// Whether this process has taken itself out.
    pub(crate) fn gave_up(&self) -> bool {
        self.gave_up
    }

    /// What has been said for so long that it is believed.
    fn believed(&self) -> Option<&str> {
        let long = |word: &&Word| word.last_us - word.first_us >= BELIEVED_AFTER_US;
        self.by.values().find(long).map(|word| &*word.reason)
    }
}

impl Site {
    /// A peer says that another process is this site.
    pub(crate) fn called_duplicate(&mut self, by: SiteId, reason: String, step: &mut Step<'_>) {
        let now_us = step.now.mono_us;
        if self.state.doubt.by.is_empty() {
            step.out.push(Action::ViewChanged);
        }
        let word = self.state.doubt.by.entry(by);
        let word = word.or_insert_with(|| Word { first_us: now_us, last_us: now_us, reason: String::new() });
        word.last_us = now_us;
        word.reason = reason;
    }

    /// A peer has taken our link.
    pub(crate) fn accepted_by(&mut self, site: SiteId, step: &mut Step<'_>) {
        if self.state.doubt.by.remove(&site).is_some() && self.state.doubt.by.is_empty() {
            step.out.push(Action::ViewChanged);
        }
    }

    /// Forgets what was not repeated; believes what was, for long enough.
    pub(crate) fn watch_doubt(&mut self, step: &mut Step<'_>) {
        if self.state.doubt.by.is_empty() {
            return;
        }
        if !self.state.doubt.gave_up
            && let Some(reason) = self.state.doubt.believed().map(str::to_owned)
        {
            let advice = "stop the process that should not be; what was written to this one stays in its data directory";
            self.halt(&format!("another process is this site: {reason}"), advice, step);
            self.state.doubt.gave_up = true;
            step.out.push(Action::GiveUpLinks { reason: "another process holds this id too".to_owned() });
        }
        let counts = |word: &Word| step.now.mono_us.saturating_sub(word.last_us) <= COUNTS_FOR_US;
        self.state.doubt.by.retain(|_, word| counts(word));
        if self.state.doubt.by.is_empty() {
            step.out.push(Action::ViewChanged);
        }
    }
}
