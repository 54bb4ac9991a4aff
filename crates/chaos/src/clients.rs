//! The strangers: Python Kafka clients in processes of their own, each writing its diary into a file.
//!
//! One process per library and site. It is told everything in one JSON argument, and later by words on its standard input:
//! `hold` and `go` stop and restart writing, `quiet` ends writing for good, `stop` ends all.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use history::{Event, Gather, History};
use serde::Serialize;

use crate::evidence;
use crate::interrupt::{self, Interrupted};

/// Process numbers that one life of a client may use.
const PROCESSES_PER_LIFE: u32 = 10_000;
/// A client may wait for what is under way, twice its delivery timeout.
const STOP_PATIENCE: Duration = Duration::from_secs(90);

/// What a client is told.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Told {
    /// Where it lives.
    pub(crate) site: String,
    /// All sites, for the names of origin logs.
    pub(crate) sites: Vec<String>,
    /// `host:port,…`, its own site first.
    pub(crate) bootstrap: String,
    pub(crate) topics: Vec<String>,
    /// How often each topic is written, relative to the others.
    pub(crate) weights: Vec<u32>,
    pub(crate) partitions: u32,
    pub(crate) group: String,
    /// Records each second.
    pub(crate) rate: f64,
    pub(crate) seed: u64,
    pub(crate) first_process: u32,
    /// A file in which it says whether it rests or writes.
    pub(crate) state: PathBuf,
}

/// One client process, over all its lives.
#[derive(Debug)]
pub(crate) struct Stranger {
    pub(crate) name: String,
    script: PathBuf,
    python: PathBuf,
    told: Told,
    folder: PathBuf,
    lives: u32,
    running: Option<(Child, ChildStdin)>,
}

impl Stranger {
    pub(crate) fn new(python: &Path, script: &Path, told: Told, folder: &Path) -> Self {
        let library = script.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let name = format!("{library}-{}", told.site);
        let (script, python, folder) = (script.to_owned(), python.to_owned(), folder.to_owned());
        Self { name, script, python, told, folder, lives: 0, running: None }
    }

    /// Starts it, as processes that nobody has been yet.
    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        let told = serde_json::to_string(&self.told)?;
        self.told.first_process += PROCESSES_PER_LIFE;
        self.lives += 1;
        // A file for every life: one that was killed may have left a line without its end.
        let diary = File::create(self.folder.join(format!("{}.{}.jsonl", self.name, self.lives)))?;
        let errors = OpenOptions::new().create(true).append(true).open(self.errors())?;
        let mut command = Command::new(&self.python);
        command
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .arg(&self.script)
            .arg(told)
            .stdin(Stdio::piped())
            .stdout(diary)
            .stderr(errors);
        let mut child = command.spawn().with_context(|| format!("cannot run {}", self.python.display()))?;
        let stdin = child.stdin.take().context("a piped standard input")?;
        self.running = Some((child, stdin));
        Ok(())
    }

    /// Says a word to it. One that has gone hears nothing.
    pub(crate) fn say(&mut self, word: &str) {
        if let Some((_, stdin)) = &mut self.running {
            let _ = writeln!(stdin, "{word}").and_then(|()| stdin.flush());
        }
    }

    /// Whether nothing that it writes is under way. One that has gone writes nothing.
    pub(crate) fn rests(&self) -> bool {
        let said = std::fs::read_to_string(&self.told.state).unwrap_or_default();
        self.running.is_none() || said == "resting"
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        if let Some((mut child, _)) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Whether it ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.running.as_mut().is_some_and(|(child, _)| !matches!(child.try_wait(), Ok(None)))
    }

    /// What it said on standard error last.
    pub(crate) fn complaint(&self) -> String {
        let text = std::fs::read_to_string(self.errors()).unwrap_or_default();
        text.lines().rev().take(3).collect::<Vec<_>>().join(" | ")
    }

    fn errors(&self) -> PathBuf {
        self.folder.join(format!("{}.err", self.name))
    }

    /// Asks it to end and waits. False if it had to be killed.
    pub(crate) fn stop(&mut self) -> Result<bool, Interrupted> {
        self.say("stop");
        let until = Instant::now() + STOP_PATIENCE;
        while Instant::now() < until {
            let ended = self.running.as_mut().is_none_or(|(child, _)| !matches!(child.try_wait(), Ok(None)));
            if ended {
                self.running = None;
                return Ok(true);
            }
            interrupt::sleep(Duration::from_millis(50))?;
        }
        self.kill();
        Ok(false)
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Reads all diaries of a folder, and what the sites said.
pub(crate) fn gather(folder: &Path, sites: &[String]) -> anyhow::Result<History> {
    let mut gather = Gather::new(sites);
    let mut diaries: Vec<PathBuf> =
        std::fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    diaries.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    diaries.sort();
    for path in diaries {
        let text = std::fs::read_to_string(&path)?;
        // A client that was killed while it wrote leaves a line without its end. Nothing depended on it yet.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for (number, line) in (1..).zip(whole.lines()) {
            let place = || format!("{}:{number}", path.display());
            let event: Event = serde_json::from_str(line).with_context(place)?;
            gather.add(&event).with_context(place)?;
        }
    }
    if let Some(evidence) = evidence::read(folder)? {
        gather.testify(evidence);
    }
    Ok(gather.finish()?)
}
