//! What happened, one line per event, and a hash over all of it.
//!
//! Two runs of one seed must give the same hash; that is how a leak of real time or randomness into the machine shows.
//! The hash is made of marks, a few numbers per event, since writing every line of every run down would take longer than
//! the run. The lines are written when somebody asks for them: a failed seed is run again for its trace.

use std::collections::VecDeque;
use std::fmt::Write as _;

use entry::SiteId;
use site::wire::Message;
use site::{Action, Event, Request};

/// How many lines a failure shows.
const LINES_KEPT: usize = 120;

/// What is done with lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Lines {
    /// Nothing: only the hash counts.
    #[default]
    Dropped,
    /// The last ones are kept.
    Kept,
    /// All are printed as they come.
    Printed,
}

/// The trace of a run.
#[derive(Debug, Default)]
pub struct Trace {
    lines: VecDeque<String>,
    hash: u64,
    wanted: Lines,
}

impl Trace {
    /// An empty trace.
    #[must_use]
    pub fn new(wanted: Lines) -> Trace {
        Trace { wanted, ..Trace::default() }
    }

    /// Takes a number into the hash.
    pub fn mark(&mut self, number: u64) {
        self.hash = (self.hash.rotate_left(5) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    /// Whether lines are wanted at all: whoever would make one asks first.
    #[must_use]
    pub fn wants_lines(&self) -> bool {
        self.wanted != Lines::Dropped
    }

    /// Adds a line; it counts in the hash by its time and place only.
    pub fn line(&mut self, true_us: u64, site: Option<SiteId>, what: impl FnOnce() -> String) {
        self.mark(true_us);
        self.mark(site.map_or(0, |site| u64::from(site.0)));
        if !self.wants_lines() {
            return;
        }
        let who = site.map_or("--".to_owned(), |site| format!("s{site}"));
        let line = format!("{:>10.3} {who} {}", true_us as f64 / 1000.0, what());
        if self.wanted == Lines::Printed {
            println!("{line}");
        }
        if self.lines.len() == LINES_KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// The hash of everything so far.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The last lines.
    #[must_use]
    pub fn tail(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }
}

/// An event in a number.
#[must_use]
pub fn event_mark(event: &Event) -> u64 {
    match event {
        Event::Request { ticket, .. } => 1 ^ ticket.0 << 4,
        Event::Forget(ticket) => 2 ^ ticket.0 << 4,
        Event::LinkUp { site } => 3 ^ u64::from(site.0) << 4,
        Event::LinkDown { site } => 4 ^ u64::from(site.0) << 4,
        Event::Message { from, message } => 5 ^ u64::from(from.0) << 4 ^ message_mark(message) << 12,
        Event::Room { site, bytes } => 6 ^ u64::from(site.0) << 4 ^ (*bytes as u64) << 12,
        Event::Written { id } => 7 ^ id << 4,
        Event::WriteRefused { id } => 8 ^ id << 4,
        Event::Checkpointed { id, drop_before } => 9 ^ id << 4 ^ u64::from(drop_before.is_some()) << 40,
        Event::Prepared { done } => 10 ^ u64::from(*done) << 4,
        _ => 11,
    }
}

fn message_mark(message: &Message) -> u64 {
    match message {
        Message::Entries(vouched) => vouched.entries.len() as u64,
        Message::Need(need) => 1 << 32 ^ need.from,
        Message::Pulse(pulse) => {
            let promised = pulse.promises.values().map(|(w, head)| w.raw() ^ head << 7);
            let held = pulse.frontiers.values().flat_map(|(_, held)| held.values().copied());
            promised.chain(held).fold(2 << 32, |mark, number| mark.rotate_left(7) ^ number)
        }
        _ => 3 << 32,
    }
}

/// An action in a number.
#[must_use]
pub fn action_mark(action: &Action) -> u64 {
    match action {
        Action::Write(write) => 1 ^ write.id << 4 ^ (write.bytes() as u64) << 24,
        Action::Checkpoint { id, position, state, .. } => {
            2 ^ id << 4 ^ position.lsn << 16 ^ (state.len() as u64) << 32
        }
        Action::Send { to, message, .. } => 3 ^ u64::from(to.0) << 4 ^ message_mark(message) << 12,
        Action::Hangup { to, .. } => 4 ^ u64::from(to.0) << 4,
        Action::Reply { ticket, answer } => 5 ^ ticket.0 << 4 ^ u64::from(answer.is_ok()) << 60,
        Action::Readable(grown) => 6 ^ (grown.len() as u64) << 4,
        Action::Alarm(text) => 7 ^ (text.len() as u64) << 4,
        _ => 8,
    }
}

/// An event in a few characters.
#[must_use]
pub fn event(event: &Event) -> String {
    match event {
        Event::Request { ticket, request } => format!("{}#{}", request_name(request), ticket.0),
        Event::Forget(ticket) => format!("forget#{}", ticket.0),
        Event::LinkUp { site } => format!("up:{site}"),
        Event::LinkDown { site } => format!("down:{site}"),
        Event::Message { from, message } => format!("{from}>{}", message_name(message)),
        Event::Room { site, bytes } => format!("room:{site}+{bytes}"),
        Event::Written { id } => format!("written:{id}"),
        Event::WriteRefused { id } => format!("refused:{id}"),
        Event::DiskLow(low) => format!("low:{low}"),
        Event::Prepared { done } => format!("prepared:{done}"),
        Event::Checkpointed { id, drop_before } => format!("checkpointed:{id}:{}", drop_before.is_some()),
        Event::FilesDone { id, answer } => format!("files:{id}:{}", file_answer_name(answer)),
        Event::Damaged(file) => format!("damaged:{file}"),
        Event::Tick => "tick".into(),
        Event::CalledDuplicate { by, .. } => format!("duplicate:{by}"),
        Event::AcceptClock => "accept-clock".into(),
        Event::Stop => "stop".into(),
    }
}

fn request_name(request: &Request) -> &'static str {
    match request {
        Request::Append(_) => "append",
        Request::Commit(_) => "commit",
        Request::CreateTopic { .. } => "create",
        Request::DeleteTopic { .. } => "delete",
        Request::GrowTopic { .. } => "grow",
        Request::AlterTopic { .. } => "alter",
        Request::DeleteRecords { .. } => "cut",
        Request::ProducerId => "id",
        Request::AddSite { .. } => "add",
        Request::RemoveSite { .. } => "remove",
        Request::Fence { .. } => "fence",
        Request::GiveUp { .. } => "give up",
    }
}

fn file_answer_name(answer: &site::FileAnswer) -> String {
    use site::FileAnswer;
    match answer {
        FileAnswer::Read(bytes) => format!("read:{}", bytes.len()),
        FileAnswer::Written => "written".into(),
        FileAnswer::Summed(proven) => format!("summed:{}", proven.damaged.len()),
        FileAnswer::Segment(contents) => format!("segment:{}", contents.damaged.is_some()),
        FileAnswer::Compacted(_) => "compacted".into(),
        FileAnswer::Installed => "installed".into(),
        FileAnswer::Failed(error) => format!("failed:{error}"),
    }
}

fn copy_name(message: &site::wire::CopyMessage) -> String {
    use site::wire::CopyMessage;
    match message {
        CopyMessage::Dropped { journal, first } => format!("dropped:{journal}@{first}"),
        CopyMessage::WhoHas(_) => "whohas".into(),
        CopyMessage::Offer(extent) => format!("offer:{}", extent.bytes),
        CopyMessage::Want(chunk) => format!("want:{}@{}", chunk.file, chunk.offset),
        CopyMessage::Here { chunk, .. } => format!("here:{}@{}", chunk.file, chunk.offset),
        CopyMessage::Sum(extent) => format!("sum:{}", extent.file),
        CopyMessage::Summed { extent, digest } => format!("summed:{}:{}", extent.file, digest.is_some()),
    }
}

fn message_name(message: &Message) -> String {
    match message {
        Message::Hello(_) => "hello".into(),
        Message::Pulse(_) => "pulse".into(),
        Message::Need(need) => format!("need:{}@{}", need.journal, need.from),
        Message::Enough(journal) => format!("enough:{journal}"),
        Message::Entries(vouched) => {
            format!("entries:{}..{}:{}", vouched.head.journal, vouched.head.next, vouched.entries.len())
        }
        Message::Certificate(_) => "certificate".into(),
        Message::OpenMe { journal, first } => format!("openme:{journal}@{first}"),
        Message::AskIncarnation(asked, _) => format!("ask:{}", asked.0),
        Message::Incarnation { asked, granted, .. } => format!("incarnation:{}:{granted}", asked.0),
        Message::Copy(message) => copy_name(message),
        Message::Seal(journal, attempt, said) => format!("seal:{journal}#{attempt}:{}", seal_word(said)),
        Message::AskVotes(..) => "askvotes".into(),
        Message::Votes(_) => "votes".into(),
        Message::GivenUp(_) => "givenup".into(),
        Message::AskWitness(_) => "askwitness".into(),
    }
}

fn seal_word(said: &agree::Said) -> String {
    use agree::Said;
    match said {
        Said::Suspect => "suspect".into(),
        Said::Silent => "silent".into(),
        Said::Prepare { ballot } => format!("prepare{}.{}", ballot.round, ballot.by),
        Said::Promised { ballot, held, .. } => {
            format!("promised{}.{}@{}", ballot.round, ballot.by, held.next)
        }
        Said::Accept { ballot, verdict, .. } => format!("accept{}.{}:{verdict:?}", ballot.round, ballot.by),
        Said::Accepted { ballot, .. } => format!("accepted{}.{}", ballot.round, ballot.by),
        Said::Refused { ballot, .. } => format!("refused{}.{}", ballot.round, ballot.by),
        Said::Decided(verdict) => format!("decided:{verdict:?}"),
    }
}

/// Actions in a few characters each.
#[must_use]
pub fn actions(actions: &[Action]) -> String {
    let mut out = String::new();
    for action in actions {
        let _ = match action {
            Action::Write(write) => write!(out, " W{}({})", write.id, write.bytes()),
            Action::Prepare(_) => write!(out, " P"),
            Action::Checkpoint { id, position, .. } => write!(out, " C{id}@{}", position.lsn),
            Action::Send { to, message, .. } => write!(out, " {}>{to}", message_name(message)),
            Action::Files(task) => write!(out, " F{}", task.id),
            Action::Hangup { to, reason } => write!(out, " hangup:{to}:{reason}"),
            Action::GiveUpLinks { .. } => write!(out, " give-up-links"),
            Action::Reply { ticket, answer: Ok(_) } => write!(out, " ok#{}", ticket.0),
            Action::Reply { ticket, answer: Err(refusal) } => write!(out, " no#{}:{refusal}", ticket.0),
            Action::Readable(grown) => write!(out, " R{}", grown.len()),
            Action::ViewChanged => write!(out, " V"),
            Action::Alarm(text) => write!(out, " ALARM:{text}"),
            Action::Remark(text) => write!(out, " said:{text}"),
            Action::Restart => write!(out, " restart"),
            Action::Stopped => write!(out, " stopped"),
            Action::Halt(reason) => write!(out, " HALT:{reason}"),
        };
    }
    out
}

/// The records of a commit in a few characters each.
#[must_use]
pub fn records(records: &[journal::Record]) -> String {
    let mut out = "  writes".to_owned();
    for record in records {
        let _ = match record {
            journal::Record::Entry(entry) => {
                write!(out, " {}@{}{:?}", entry.head.journal, entry.head.seq, entry.head.kind)
            }
            journal::Record::Note(_) => write!(out, " note"),
        };
    }
    out
}
