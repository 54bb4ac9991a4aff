//! What happened, one line per event, and a hash over all of it.
//!
//! Two runs of one seed must give the same hash; that is how a leak of real time or randomness into the machine shows.

use std::collections::VecDeque;
use std::fmt::Write as _;

use entry::SiteId;
use site::{Action, Event, Request};

/// How many lines a failure shows.
const LINES_KEPT: usize = 120;

/// The trace of a run.
#[derive(Debug, Default)]
pub struct Trace {
    lines: VecDeque<String>,
    hash: u64,
    /// Lines in all.
    pub count: u64,
    prints: bool,
}

impl Trace {
    /// An empty trace, whose lines are printed as they come if `prints` says so.
    #[must_use]
    pub fn new(prints: bool) -> Trace {
        Trace { prints, ..Trace::default() }
    }

    /// Adds a line.
    pub fn line(&mut self, true_us: u64, site: Option<SiteId>, what: &str) {
        let who = site.map_or("--".to_owned(), |site| format!("s{site}"));
        let line = format!("{:>10.3} {who} {what}", true_us as f64 / 1000.0);
        self.hash = line.bytes().fold(self.hash ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        self.count += 1;
        if self.prints {
            println!("{line}");
        }
        if self.lines.len() == LINES_KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// The hash of all lines so far.
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
        Request::ProducerId => "id",
    }
}

fn file_answer_name(answer: &site::FileAnswer) -> String {
    use site::FileAnswer;
    match answer {
        FileAnswer::Read(bytes) => format!("read:{}", bytes.len()),
        FileAnswer::Written => "written".into(),
        FileAnswer::Summed(proven) => format!("summed:{}", proven.damaged.len()),
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

fn message_name(message: &site::wire::Message) -> String {
    use site::wire::Message;
    match message {
        Message::Hello(_) => "hello".into(),
        Message::Pulse(_) => "pulse".into(),
        Message::Need(need) => format!("need:{}@{}", need.journal, need.from),
        Message::Enough(journal) => format!("enough:{journal}"),
        Message::Entries(bytes) => format!("entries:{}", bytes.len()),
        Message::OpenMe { journal, first } => format!("openme:{journal}@{first}"),
        Message::AskIncarnation(asked) => format!("ask:{}", asked.0),
        Message::Incarnation { asked, granted, .. } => format!("incarnation:{}:{granted}", asked.0),
        Message::Copy(message) => copy_name(message),
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
