//! What the checker found, and what this queue promises: an anomaly that is not promised away is counted, not condemned.

use std::collections::{BTreeMap, BTreeSet};

use crate::class::{Class, Span};
use crate::gather::LogId;
use crate::lag::Lag;

/// Findings of one class that are kept in full; all are counted.
const KEPT_MAX: usize = 20;

/// A span of time in which a disk was lost: what it alone had acknowledged may be gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Excuse {
    /// From here on others may not have had it.
    pub from_us: u64,
    /// When the disk was lost.
    pub until_us: u64,
}

/// What the queue under test promises, beyond what the history itself says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Promises {
    /// Classes that are allowed: counted, but no finding.
    pub allowed: BTreeSet<Class>,
    /// Disks that were lost.
    pub excuses: Vec<Excuse>,
    /// Topics whose acknowledgements outlive any one disk: no excuse counts for them.
    pub kept_twice: BTreeSet<String>,
    /// Groups that have read to the end.
    pub drained: BTreeSet<String>,
}

impl Promises {
    /// What Meridian promises to producers and consumers without transactions.
    ///
    /// Allowed are: other producers' records between one's own; records of one producer that changes its site in the order of
    /// the sites' clocks, as far as these may differ, or as one of them was set behind by who made the run; records of one
    /// producer that came late with a fenced site's tail or a journal's opening, where the sites prove it; a retry's second
    /// copy in an origin log; what a client sent again under another identity, having given up on the first; reads that are
    /// behind, and reads of several partitions that are not of one moment (the G-single and G2 families); and writes of
    /// different sites in the order of their clocks rather than of real time. What a process has polled from a merged log, its later writes never precede, anywhere.
    #[must_use]
    pub fn meridian() -> Self {
        let behind = [Span::Data, Span::Process, Span::Realtime];
        let mut allowed: BTreeSet<Class> =
            behind.iter().flat_map(|span| [Class::GSingle(*span), Class::G2(*span)]).collect();
        allowed.remove(&Class::GSingle(Span::Data));
        allowed.extend([Class::IntSendSkip, Class::SwappedSend, Class::OriginDuplicate, Class::ExcusedLoss]);
        allowed.insert(Class::ShiftedSend);
        allowed.extend([Class::AdoptedLate, Class::OpenedLate, Class::GivenUpLate, Class::Resent]);
        allowed.extend([Class::G0(Span::Realtime), Class::G1c(Span::Realtime)]);
        Self { allowed, ..Self::default() }
    }
}

/// One anomaly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub log: Option<LogId>,
    /// The values at fault.
    pub values: Vec<u64>,
    /// The calls that show it, by number in the history.
    pub calls: Vec<u32>,
    /// One sentence.
    pub said: String,
}

/// A class with what was found of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// How often.
    pub count: u64,
    /// The first few.
    pub findings: Vec<Finding>,
}

/// Batches that came late into merged logs, by proof.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Late {
    /// Because they lay beyond their journal's end and were adopted.
    pub adopted: u64,
    /// Because their journal came in after they were written.
    pub opened: u64,
}

/// The checker's report.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// By class; classes without findings are left out.
    pub found: BTreeMap<Class, Verdict>,
    /// Calls that were looked at.
    pub calls: usize,
    /// Acknowledged sends.
    pub acked: u64,
    /// Sends of which nobody knows.
    pub unsure: u64,
    /// Sends that certainly failed.
    pub refused: u64,
    /// Records polled, repeats included.
    pub polled: u64,
    /// By group: how many acknowledged values were polled how often.
    pub consumed: BTreeMap<String, BTreeMap<u64, u64>>,
    /// What came late, by proof.
    pub late: Late,
    /// By site: how far polls were behind.
    pub lag: BTreeMap<String, Lag>,
}

impl Report {
    pub(crate) fn add(&mut self, class: Class, finding: Finding) {
        let verdict = self.found.entry(class).or_default();
        verdict.count += 1;
        if verdict.findings.len() < KEPT_MAX {
            verdict.findings.push(finding);
        }
    }

    /// How often a class was found.
    #[must_use]
    pub fn count(&self, class: Class) -> u64 {
        self.found.get(&class).map_or(0, |verdict| verdict.count)
    }

    /// Classes that were found and are not allowed.
    pub fn broken<'r>(&'r self, promises: &'r Promises) -> impl Iterator<Item = (Class, &'r Verdict)> {
        self.found.iter().filter(|(class, _)| !promises.allowed.contains(class)).map(|(class, v)| (*class, v))
    }
}
