//! What a real shell does with a machine's actions: disk work, messages, replies, ends; and the links.

use bytes::{Bytes, BytesMut};
use disk::DiskError;
use entry::SiteId;
use site::wire::Message;
use site::{Action, Answer, Event, FileTask, Lane, Refusal, Request, Ticket};

use crate::checkers::{Reads, Verdict, broken, ensure};
use crate::disk::POWER_GONE;
use crate::host::{Flight, Job};
use crate::mutant::Mutant;
use crate::net::{Sent, Stream};
use crate::notary::{SHOWN_BYTES, forged};
use crate::trace;
use crate::world::{What, World};

impl World {
    /// Carries out one action of a site.
    pub(crate) fn carry_out(&mut self, id: SiteId, action: Action) -> Verdict {
        match action {
            Action::Write(write) => self.write(id, write)?,
            Action::Prepare(op) => self.begin(id, Job::prepare(op)),
            Action::Checkpoint { id: number, sync, mut position, state } => {
                if self.options.mutant == Some(Mutant::CheckpointMisplaced) {
                    position.lsn += 1;
                }
                self.begin(id, Job::checkpoint(number, sync, position, state));
            }
            Action::Files(task) => self.begin_files(id, task),
            Action::Restart => self.kill(id, "lets go of its machine")?,
            Action::Send { to, lane, message } => self.send(id, to, lane, message)?,
            Action::Hangup { to, .. } => {
                if let Some(generation) = self.knows(id, to) {
                    self.give_up(id, to, generation);
                }
            }
            Action::GiveUpLinks { .. } => {
                return broken("I-07", format!("site {id} takes itself for a clone"));
            }
            Action::Reply { ticket, answer } => self.reply(id, ticket, answer)?,
            Action::ViewChanged => self.topics_changed(id),
            Action::Readable(_) | Action::Remark(_) => {}
            Action::Alarm(text) => self.alarm(id, &text)?,
            Action::Stopped => {
                self.kill(id, "stopped")?;
            }
            // The disk failed under the machine's own hands, not under the WAL's: a process ends of that, and starts anew.
            Action::Halt(reason) if reason.contains("EIO") || reason.contains(POWER_GONE) => {
                self.kill(id, "its disk failed")?;
                self.at(400_000, What::Restart(id));
            }
            Action::Halt(reason) if reason.contains("no space left") => {
                return broken("I-08", format!("site {id} ends for lack of room: {reason}"));
            }
            Action::Halt(reason) => {
                let misread = self.hosts.get(&id).is_some_and(|host| host.disk.misread.take());
                ensure(misread, "I-06", || format!("site {id} halts: {reason}"))?;
                self.kill(id, "halted over what it read")?;
            }
        }
        Ok(())
    }

    /// What a step made readable is there for readers before any of its actions is carried out.
    pub(crate) fn read(&mut self, id: SiteId, actions: &[Action]) -> Verdict {
        let Some(host) = self.hosts.get(&id) else { return Ok(()) };
        let Some(process) = &host.process else { return Ok(()) };
        for action in actions {
            if let Action::Readable(grown) = action {
                self.checkers.readable(host.actor(), &process.site, &host.disk, grown)?;
            }
        }
        Ok(())
    }

    /// Whatever is damaged here, nothing may look like a fork.
    fn alarm(&mut self, id: SiteId, text: &str) -> Verdict {
        if let Some(host) = self.hosts.get_mut(&id) {
            let named = host.disk.decayed.iter_mut().find(|(file, _)| text.starts_with(file.as_str()));
            named.into_iter().for_each(|(_, is_named)| *is_named = true);
        }
        if text.contains("cannot be one") {
            self.histories_differ(id)?;
        }
        let of_a_fork = text.contains("is halted:") || text.contains("nothing more is taken of");
        ensure(!of_a_fork, "I-12", || format!("site {id} cries wolf: {text}"))
    }

    fn write(&mut self, id: SiteId, write: journal::WalWrite) -> Verdict {
        let Some(host) = self.hosts.get_mut(&id) else { return Ok(()) };
        let by = host.actor();
        let flight = Flight::of(&write);
        ensure(flight.is_some(), "I-05", || format!("site {id} writes what is no frame"))?;
        let Some(flight) = flight else { return Ok(()) };
        let again = host.flight.as_ref().is_some_and(|before| before.bytes == flight.bytes);
        host.flight = Some(flight.clone());
        self.trace.line(self.now_us, Some(id), || trace::records(&flight.records));
        if !again {
            self.checkers.wrote(by, &flight.records)?;
            self.may_write(id, &flight.records)?;
        }
        if self.options.mutant == Some(Mutant::AckBeforeSync) {
            let number = write.id;
            self.begin(id, Job::write(write));
            return self.feed(id, Event::Written { id: number });
        }
        self.begin(id, Job::write(write));
        Ok(())
    }

    /// A site begins a WAL write: of the version that it runs, and of what a low disk takes.
    fn may_write(&mut self, id: SiteId, records: &[journal::Record]) -> Verdict {
        let Some(host) = self.hosts.get_mut(&id) else { return Ok(()) };
        let by = host.actor();
        if let Some(low) = &mut host.low {
            low.writes(id, records)?;
        }
        let Some(process) = &host.process else { return Ok(()) };
        let reads = Reads { own: process.protocol, members: process.site.members(), told: &process.told };
        self.checkers.wrote_for(by, &reads, records)
    }

    fn begin(&mut self, id: SiteId, job: Job) {
        let in_us = self.disk_us(id);
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let life = host.life;
        let Some(process) = &mut host.process else { return };
        let number = process.next_job;
        process.next_job += 1;
        process.jobs.insert(number, job);
        self.at(in_us, What::Disk(id, life, number));
    }

    /// Tasks on files are done one behind the other.
    fn begin_files(&mut self, id: SiteId, task: FileTask) {
        let due_us = self.now_us + self.disk_us(id);
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let life = host.life;
        let Some(process) = &mut host.process else { return };
        process.files_until_us = due_us.max(process.files_until_us + 1);
        let (number, in_us) = (process.next_job, process.files_until_us - self.now_us);
        process.next_job += 1;
        process.jobs.insert(number, Job::files(task));
        self.at(in_us, What::Disk(id, life, number));
    }

    fn disk_us(&mut self, id: SiteId) -> u64 {
        let least = self.hosts.get(&id).map_or(100, |host| host.disk_us);
        least + self.dice.shell.below(least * 2 + 1)
    }

    /// The next step of a job on a disk.
    pub(crate) fn work(&mut self, id: SiteId, life: u64, number: u64) -> Verdict {
        let synced = self.options.mutant != Some(Mutant::CheckpointUnsynced);
        let Some(host) = self.hosts.get_mut(&id).filter(|host| host.life == life) else { return Ok(()) };
        let mut worked = host.work(number, synced);
        if matches!(worked, Err(DiskError::Failed { .. })) {
            host.sync_failed = true;
            match self.options.mutant {
                Some(Mutant::SyncErrorIgnored) => worked = Ok(true),
                // What a page cache says after a failed sync: nothing is left to be done.
                Some(Mutant::SyncRetried) => worked = host.work(number, synced),
                _ => {}
            }
        }
        match worked {
            Ok(false) => {
                let in_us = self.disk_us(id);
                self.at(in_us, What::Disk(id, life, number));
                Ok(())
            }
            Ok(true) => self.done(id, number),
            Err(DiskError::Full(_)) => {
                let job = host.process.as_mut().and_then(|process| process.jobs.remove(&number));
                host.low.iter_mut().for_each(|low| low.refused = true);
                self.trace.line(self.now_us, Some(id), || "disk full".into());
                job.map_or(Ok(()), |job| self.feed(id, job.full))
            }
            Err(error) => {
                self.trace.line(self.now_us, Some(id), || format!("disk failed: {error}"));
                self.kill(id, "disk failed")
            }
        }
    }

    fn done(&mut self, id: SiteId, number: u64) -> Verdict {
        let Some(host) = self.hosts.get_mut(&id) else { return Ok(()) };
        let job = host.process.as_mut().and_then(|process| process.jobs.remove(&number));
        let Some(job) = job else { return Ok(()) };
        if let Some(flight) = &job.flight
            && host.is_durable(flight)
        {
            let by = host.actor();
            host.flight = None;
            self.checkers.durable(by, &flight.records)?;
        }
        if job.flight.is_some() && self.options.mutant == Some(Mutant::AckBeforeSync) {
            return Ok(());
        }
        self.feed(id, job.done)
    }

    fn send(&mut self, from: SiteId, to: SiteId, lane: Lane, mut message: Message) -> Verdict {
        let Some(host) = self.hosts.get(&from) else { return Ok(()) };
        let by = host.actor();
        self.mutate(from, &mut message);
        self.checkers.sent(by, &message)?;
        if matches!(message, Message::AskWitness(_)) {
            self.operator.witness_asked_us = Some(self.now_us);
        }
        if matches!(lane, Lane::Tail | Lane::CatchUp) {
            self.hand(from, to, &message)?;
        }
        self.checkers.keeps_apart(from, to, &message)?;
        self.forge(from, to, &mut message);
        let Some(generation) = self.knows(from, to) else { return Ok(()) };
        let mut bytes = message.encode();
        if self.options.mutant == Some(Mutant::EntryAltered) && matches!(message, Message::Entries(_)) {
            let mut altered = BytesMut::from(&bytes[..]);
            if let Some(last) = altered.last_mut() {
                *last ^= 1;
            }
            bytes = altered.freeze();
        }
        let stream = Stream { generation, from, to, lane };
        match self.net.send(stream, bytes.clone()) {
            Sent::Stream(in_us, stream) => self.at(in_us, What::Stream(stream)),
            Sent::Datagrams(all) => {
                all.into_iter()
                    .for_each(|in_us| self.at(in_us, What::Datagram(stream, Bytes::clone(&bytes))));
            }
            Sent::Nowhere => {}
        }
        Ok(())
    }

    /// A site gives a connection bulk: only while there is room, be the message larger or not. (A certificate goes first.) What
    /// answers a copy was set aside while it was read, and a larger message may have gone before it.
    fn hand(&mut self, from: SiteId, to: SiteId, message: &Message) -> Verdict {
        let (bytes, is_copy) = (message.encoded_bytes(), matches!(message, Message::Copy(_)));
        let Some(host) = self.hosts.get_mut(&from) else { return Ok(()) };
        let window = host.config.limits.peer_window_bytes;
        let Some(process) = &mut host.process else { return Ok(()) };
        let handed = process.handed.entry(to).or_insert(0);
        let longest = process.longest.entry(to).or_insert(0);
        let before = if is_copy { *longest } else { 0 };
        *longest = bytes.max(*longest);
        ensure(*handed < window + SHOWN_BYTES + before, "I-48", || {
            format!(
                "site {from} gives its link to site {to} {bytes} bytes, and {handed} of {window} stand there"
            )
        })?;
        *handed += bytes;
        Ok(())
    }

    /// A connection tells that bulk has left.
    pub(crate) fn left(&mut self, from: SiteId, to: SiteId, bytes: usize) {
        let process = self.hosts.get_mut(&from).and_then(|host| host.process.as_mut());
        if let Some(handed) = process.and_then(|process| process.handed.get_mut(&to)) {
            *handed = handed.saturating_sub(bytes);
        }
    }

    /// What a site passes on of others is not always what they wrote.
    fn forge(&mut self, from: SiteId, to: SiteId, message: &mut Message) {
        if !self.hosts.get(&from).is_some_and(|host| host.forges_us.contains(&self.now_us)) {
            return;
        }
        let given = message.encoded_bytes();
        let Message::Entries(vouched) = message else { return };
        if vouched.head.journal.site == from {
            return;
        }
        *vouched = forged(from, vouched, &mut self.dice.forger);
        // The link tells of all that it was given, also of what the forger took out of it.
        let bytes = given.saturating_sub(message.encoded_bytes());
        if let Some(generation) = self.knows(from, to).filter(|_| bytes > 0) {
            self.at(0, What::Room { site: from, peer: to, generation, bytes });
        }
    }

    fn mutate(&self, from: SiteId, message: &mut Message) {
        let Message::Pulse(pulse) = message else { return };
        match self.options.mutant {
            Some(Mutant::PromiseAhead) => {
                let own = pulse.promises.iter_mut().filter(|(journal, _)| journal.site == from);
                own.for_each(|(_, (w, _))| *w = clock::Stamp::from_unix_ms(w.unix_ms() + 2_000));
            }
            Some(Mutant::FrontierAhead) => {
                let own = pulse.frontiers.iter_mut().filter(|(site, _)| **site == from);
                own.for_each(|(_, (_, held))| held.values_mut().for_each(|next| *next += 1));
            }
            _ => {}
        }
    }

    /// While a request waits for the clock, say, its topic may have come to ask for less, and for more again later.
    fn topics_changed(&mut self, id: SiteId) {
        let Some(host) = self.hosts.get(&id) else { return };
        let Some(process) = &host.process else { return };
        let waiting = self.tickets.values_mut().filter(|ticketed| ticketed.at == Some((id, host.life)));
        waiting.for_each(|ticketed| ticketed.ask_for_less(&process.site));
    }

    fn reply(&mut self, id: SiteId, ticket: Ticket, answer: Result<Answer, Refusal>) -> Verdict {
        let Some(mut ticketed) = self.tickets.remove(&ticket.0) else {
            return self.operator_told(id, ticket, &answer);
        };
        let Some(host) = self.hosts.get(&id) else { return Ok(()) };
        ensure(!host.sync_failed || answer.is_err(), "I-07", || {
            format!("site {id} acknowledges after a sync that failed under it")
        })?;
        if let Some(process) = &host.process {
            ticketed.ask_for_less(&process.site);
            ticketed.asked.released &= !self.checkers.has_other_history(id);
            // What it has released in its last moment is readable once it is back.
            ticketed.asked.released &= !process.halts;
            // Behind what is damaged nothing is read before that is taken back.
            ticketed.asked.released &= !self.checkers.is_hurt(id);
        }
        if let (Ok(answer), Some(process)) = (&answer, &host.process) {
            self.checkers.replied(host.actor(), &process.site, &ticketed.asked, answer)?;
            if let (Request::DeleteTopic { .. }, Answer::Topic(id)) = (&ticketed.asked.request, answer) {
                self.checkers.submissions.doom(*id);
            }
            if let (Some(number), Answer::Appended { .. }) = (ticketed.asked.submission, answer) {
                self.checkers.submissions.acknowledge(number);
            }
        }
        let in_us = self.dice.shell.below(2_000);
        self.at(in_us, What::Answered { client: ticketed.client, ticket: ticket.0, answer });
        Ok(())
    }

    /// Tries to connect two sites, again and again.
    pub(crate) fn connect(&mut self, a: SiteId, b: SiteId) {
        self.connecting.remove(&(a.min(b), a.max(b)));
        if self.net.current(a, b).is_some() {
            return;
        }
        let run = |site| self.hosts.get(&site).is_some_and(|host| host.process.is_some());
        let generation = if run(a) && run(b) { self.net.connect(a, b) } else { None };
        let Some(generation) = generation else { return self.want_link(a, b) };
        for (at, peer) in [(a, b), (b, a)] {
            let in_us = self.net.delay_us(peer, at);
            self.at(in_us, What::Up { at, peer, generation });
        }
    }

    /// There should be a connection between two sites.
    pub(crate) fn want_link(&mut self, a: SiteId, b: SiteId) {
        if self.connecting.insert((a.min(b), a.max(b))) {
            let in_us = self.dice.shell.between(1_000, 300_000);
            self.at(in_us, What::Connect(a, b));
        }
    }

    /// A connection is up at one end.
    pub(crate) fn up(&mut self, at: SiteId, peer: SiteId, generation: u64) -> Verdict {
        if self.net.current(at, peer) != Some(generation) || self.knows(at, peer) >= Some(generation) {
            return Ok(());
        }
        let Some(process) = self.hosts.get_mut(&at).and_then(|host| host.process.as_mut()) else {
            return Ok(());
        };
        process.links.insert(peer, generation);
        self.feed(at, Event::LinkUp { site: peer })
    }

    /// One end learns that a connection is gone.
    pub(crate) fn down(&mut self, at: SiteId, peer: SiteId, generation: u64) -> Verdict {
        if self.knows(at, peer) != Some(generation) {
            return Ok(());
        }
        if let Some(process) = self.hosts.get_mut(&at).and_then(|host| host.process.as_mut()) {
            process.links.remove(&peer);
        }
        self.feed(at, Event::LinkDown { site: peer })
    }

    /// A connection dies.
    pub(crate) fn give_up(&mut self, a: SiteId, b: SiteId, generation: u64) {
        if self.net.current(a, b) != Some(generation) {
            return;
        }
        self.net.give_up(a, b);
        for (at, peer) in [(a, b), (b, a)] {
            let late_us = *self.dice.shell.pick(&[1_000, 100_000, 1_000_000]);
            let in_us = self.dice.shell.below(late_us);
            self.at(in_us, What::Down { at, peer, generation });
        }
        self.want_link(a, b);
    }
}
