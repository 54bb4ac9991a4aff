//! What this site takes of others' journals: only what their owners have signed.
//!
//! A message of entries is looked at as a whole, before anything of it touches the clock, the journals or the disk: its
//! entries hang together, the last one is the signed one, the signature is the owner's. Then all of it is taken in, and
//! becomes durable together with the head that proves it, or nothing is. It makes no difference who sent it: what comes
//! over the owner's own link is checked alike, because this site will have to prove it to others.
//!
//! What a newer version wrote is held off: nothing of it is taken in, its journal loses nothing by that, and it is asked for
//! again and again until this site is upgraded.
//!
//! Who sends what was never signed is not asked for that journal again for a while. Only what is signed can cost a journal
//! its good name: two histories of one journal are its owner's doing.

use bytes::Bytes;
use clock::Stamp;
use entry::{Body, Encoded, EntryError, JournalId, SiteId};
use journal::{Chain, ChainError};

use crate::action::Action;
use crate::checkpoint::Checkpoint;
use crate::mutant::Mutant;
use crate::notary::NotBelieved;
use crate::notes::Note;
use crate::replicate::control;
use crate::site::{Site, Step};
use crate::wire::{Message, SignedHead, Vouched};

/// Who sent what its owner had not signed, or what is too new to read, is not asked for that journal again for this long, in
/// microseconds.
const DISTRUST_US: u64 = 5_000_000;

impl Site {
    /// Entries came.
    pub(crate) fn entries(&mut self, from: SiteId, message: &Vouched, step: &mut Step<'_>) {
        let (head, journal) = (&message.head, message.head.journal);
        let next = self.journals.next(journal);
        if self.journals.is_quarantined(journal)
            || self.pipeline.is_full()
            || head.next <= next
            || self.is_distrusted(from, journal, step.now.mono_us)
        {
            return;
        }
        let unread = self.state.switch.has(Mutant::NewerTakenIn);
        let entries = match split(message, if unread { u16::MAX } else { self.config.protocol }) {
            Ok(entries) => entries,
            Err(Unread::Newer) => return self.hold_off(from, journal, step),
            Err(Unread::Nonsense) => {
                let reason = format!("{} sent entries that do not read", self.config.name_of(from));
                step.out.push(Action::Hangup { to: from, reason: reason.clone() });
                return self.alarm(reason, step);
            }
        };
        match entries.iter().position(|entry| entry.head.seq == next) {
            None => self.ask_again(journal, step),
            Some(first) => self.prove(from, head, &entries[first..], step),
        }
    }

    /// Takes entries in, the first of which is the next one here, if their owner has signed the last.
    fn prove(&mut self, from: SiteId, head: &SignedHead, fresh: &[Encoded], step: &mut Step<'_>) {
        let tip = self.journals.tip(head.journal);
        let continued = follow(tip, fresh);
        // What does not continue the chain here may still be what its owner has signed: then it has two histories.
        let apart = || {
            let head = &fresh.first()?.head;
            follow(Chain { next: head.seq, hash: head.previous, stamp: Stamp::ZERO }, fresh).ok()
        };
        let end = match &continued {
            Ok(chains) => chains.last().copied(),
            Err(_) => apart().and_then(|chains| chains.last().copied()),
        };
        let stands = end.is_some_and(|end| (end.hash, end.stamp) == (head.hash, head.stamp));
        let certificate = match self.believe(from, head).and_then(|certificate| match stands {
            true => Ok(certificate),
            false => Err(NotBelieved::Other),
        }) {
            Ok(certificate) => certificate,
            Err(why) => return self.distrust(from, head.journal, &why, step),
        };
        self.trust(from, head.journal);
        match continued {
            Err(error) => self.quarantine(head.journal, &error.to_string(), step),
            Ok(chains) => self.take_in(from, (head, certificate), (fresh, &chains), step),
        }
    }

    /// The certificate of a head, if that head is its owner's word.
    fn believe(&self, from: SiteId, head: &SignedHead) -> Result<Bytes, NotBelieved> {
        let shown = self.peers.links.get(&from).map(|peer| &peer.certificates);
        let known = self.state.heads.certificate(head.certificate);
        let certificate = known.or_else(|| shown?.get(&head.certificate)).ok_or(NotBelieved::NotShown)?;
        if !self.state.switch.has(Mutant::SignatureUnchecked) {
            head.check(&*self.notary, self.config.cluster, certificate)?;
        }
        Ok(certificate.clone())
    }

    /// Takes in what is proved, all of it or nothing.
    fn take_in(
        &mut self,
        from: SiteId,
        (head, certificate): (&SignedHead, Bytes),
        (fresh, chains): (&[Encoded], &[Chain]),
        step: &mut Step<'_>,
    ) {
        let journal = head.journal;
        if self.is_own_and_closed(journal) {
            return self.more_elsewhere(from, step);
        }
        let observed = self.clock.observe(head.stamp, step.now);
        if let Err(error) = observed
            && !self.state.switch.has(Mutant::DriftUnchecked)
        {
            self.alarm(format!("entries of {} are held back: {error}", self.journal_name(journal)), step);
            return self.ask_again(journal, step);
        }
        let refuses = self.pipeline.is_low() && !self.state.switch.has(Mutant::LowTakesReplicas);
        if refuses && fresh.iter().any(|entry| matches!(entry.body(), Ok(Body::Batch(_)))) {
            // Asked for again when there is room.
            return;
        }
        if !fresh.iter().all(reads) {
            return self.quarantine(journal, "an entry of it does not read", step);
        }
        let order = &self.merge.order;
        let kept = fresh.iter().try_for_each(|it| order.check(journal, it.head.seq, it.head.stamp));
        if let Err(broken) = kept {
            return self.quarantine(journal, &broken.to_string(), step);
        }
        self.journals.take_checked(journal, chains);
        let fresh_certificate = self.state.heads.certificate(head.certificate).is_none();
        let note = fresh_certificate.then(|| Note::Certificate(certificate.clone()));
        self.pipeline.vouched(fresh, note.into_iter().chain([Note::Vouched(head.clone())]));
        self.state.heads.learn(certificate);
        self.state.heads.taken(head);
    }

    /// Whether this site's word on a journal is not listened to.
    pub(crate) fn is_distrusted(&self, site: SiteId, journal: JournalId, mono_us: u64) -> bool {
        self.peers.distrusted.get(&(site, journal)).is_some_and(|until_us| mono_us < *until_us)
    }

    /// A site that was asked for a journal sent what its owner has not signed.
    fn distrust(&mut self, from: SiteId, journal: JournalId, why: &NotBelieved, step: &mut Step<'_>) {
        if self.asks_elsewhere(from, journal, step) {
            self.alarm(format!("{}: {why}", self.not_signed(from, journal)), step);
        }
    }

    /// A site that was asked for a journal sent what only a newer version reads: it waits there.
    fn hold_off(&mut self, from: SiteId, journal: JournalId, step: &mut Step<'_>) {
        if self.state.switch.has(Mutant::NewerQuarantined) {
            return self.quarantine(journal, "an entry of it does not read", step);
        }
        if self.asks_elsewhere(from, journal, step) {
            self.alarm(self.too_new(from, journal), step);
        }
    }

    /// A site is not asked for a journal for a while. Returns whether it was the one that is asked.
    fn asks_elsewhere(&mut self, from: SiteId, journal: JournalId, step: &mut Step<'_>) -> bool {
        if self.peers.sources.get(&journal).is_none_or(|source| source.site != from) {
            return false;
        }
        self.peers.sources.remove(&journal);
        self.peers.distrusted.insert((from, journal), step.now.mono_us + DISTRUST_US);
        step.out.push(control(from, Message::Enough(journal)));
        true
    }

    fn trust(&mut self, from: SiteId, journal: JournalId) {
        if self.peers.distrusted.remove(&(from, journal)).is_some() {
            let (alarm, too_new) = (self.not_signed(from, journal), self.too_new(from, journal));
            self.state.alarms.retain(|text| !text.starts_with(&alarm) && *text != too_new);
        }
    }

    fn too_new(&self, from: SiteId, journal: JournalId) -> String {
        let (name, journal) = (self.config.name_of(from), self.journal_name(journal));
        format!(
            "{name} sent entries of {journal} that a newer version wrote: upgrade this site, which waits with them until then"
        )
    }

    /// How the alarm begins that says whom nothing of a journal is taken from.
    fn not_signed(&self, from: SiteId, journal: JournalId) -> String {
        let (name, journal) = (self.config.name_of(from), self.journal_name(journal));
        format!("{name} sent entries of {journal} that are not proved to be its owner's")
    }

    /// Whether another's state is of use here, and proved.
    pub(crate) fn is_worth_taking(&self, state: &Checkpoint) -> Result<(), String> {
        if !self.is_of_use(&state.chains) {
            return Err("it has not come far enough itself".to_owned());
        }
        let proved = self.vouched_for(state);
        proved.map_err(|why| format!("its journals are not proved to be their owners': {why}"))
    }

    /// Whether the owners of all journals in another's state vouch for as much as it holds of them.
    pub(crate) fn vouched_for(&self, state: &Checkpoint) -> Result<(), NotBelieved> {
        let chains = state.chains.iter().filter(|(_, chain)| chain.next > 0);
        for (journal, chain) in chains {
            let (head, certificate) = state.heads.proof(*journal, chain).ok_or(NotBelieved::NotShown)?;
            head.check(&*self.notary, self.config.cluster, certificate)?;
        }
        Ok(())
    }
}

/// Why a message of entries is not looked at any further.
enum Unread {
    /// A newer version wrote some of them.
    Newer,
    /// They are no entries of one journal, without gaps, up to the signed one.
    Nonsense,
}

/// The entries of a message.
fn split(message: &Vouched, protocol: u16) -> Result<Vec<Encoded>, Unread> {
    let (mut bytes, mut entries) = (message.entries.clone(), Vec::<Encoded>::new());
    while !bytes.is_empty() {
        let unread = |error: EntryError| if error.is_newer() { Unread::Newer } else { Unread::Nonsense };
        let entry = Encoded::split_from(&mut bytes).map_err(unread)?;
        let follows = entries.last().is_none_or(|last| last.head.seq + 1 == entry.head.seq);
        if entry.head.journal != message.head.journal || !follows {
            return Err(Unread::Nonsense);
        }
        if entry.head.kind.since() > protocol {
            return Err(Unread::Newer);
        }
        entries.push(entry);
    }
    let ends = entries.last().is_some_and(|last| last.head.seq + 1 == message.head.next);
    if ends { Ok(entries) } else { Err(Unread::Nonsense) }
}

/// Where a chain stands behind each of these entries, if they continue it.
fn follow(mut chain: Chain, entries: &[Encoded]) -> Result<Vec<Chain>, ChainError> {
    let step = |entry: &Encoded| {
        chain.check(entry)?;
        chain.accept(entry);
        Ok(chain)
    };
    entries.iter().map(step).collect()
}

/// Whether an entry's body reads, down to the header of its batch.
fn reads(entry: &Encoded) -> bool {
    match entry.body() {
        Ok(Body::Batch(batch)) => batch::parse(&batch.records).is_ok(),
        Ok(_) => true,
        Err(_) => false,
    }
}
