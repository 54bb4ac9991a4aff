//! What the sites themselves say of their merged logs, beside what clients saw of them.
//!
//! A merged log is sorted by stamps. Where a record stands is therefore explained by one of two things: the stamp that its
//! site drew when it took the record, or a *turn* of its journal that let it come in late, at the very stamp of that turn.
//! Evidence names both for every batch, so that the checker need not believe that something came late: it looks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::Place;

/// A batch of a merged log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placing {
    /// The log.
    pub place: Place,
    /// Its first offset.
    pub offset: u64,
    /// How many offsets it takes.
    pub records: u32,
    /// Which journal it stands in: that of the copy that counts, if there are several.
    pub journal: String,
    /// When its site took it, by the site's own stamp, in Unix milliseconds.
    pub time_ms: u64,
    /// The stamp it is sorted at.
    pub stamp: u64,
    /// The time of that stamp, in Unix milliseconds.
    pub sorted_ms: u64,
    /// As whom its client sent it: producer id and epoch, if it gave any.
    #[serde(default)]
    pub sent_as: Option<(i64, i16)>,
}

/// What happened to a journal in the merged order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "lowercase")]
pub enum TurnKind {
    /// It left.
    Parted,
    /// It came in: what it wrote before sorts here.
    Opened,
    /// It ended: nothing of it sorts by its own stamp after this.
    Sealed {
        /// The first entry beyond its end.
        cut: u64,
    },
    /// So many entries beyond its end sort here.
    Adopted {
        /// The first of them.
        from: u64,
        /// The first that is not among them.
        upto: u64,
    },
}

/// A turn of a journal, which all sites agree on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Whose.
    pub journal: String,
    /// Where in the merged order.
    pub stamp: u64,
    /// What happened.
    #[serde(flatten)]
    pub what: TurnKind,
}

/// A clock that was set wrong for a while, by whoever made the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shift {
    /// Whose.
    pub site: String,
    /// From when on, in Unix milliseconds.
    pub from_ms: u64,
    /// Until when.
    pub until_ms: u64,
    /// By how much it was ahead; below 0, it was behind.
    pub ahead_ms: i64,
}

/// All that sites say, and whoever made the run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// How far the stamps of two sites may lie apart at one moment.
    pub bound_ms: u64,
    /// Every batch of every merged log.
    pub placings: Vec<Placing>,
    /// The journals' turns.
    pub turns: Vec<Turn>,
    /// Clocks that were set wrong.
    #[serde(default)]
    pub shifts: Vec<Shift>,
}

/// Why a batch stands where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// By its own stamp.
    OwnStamp,
    /// Its journal had ended before it, and its tail came in there.
    Adopted,
    /// Its journal came in there, and it had been written before.
    Opened,
    /// By neither: it should not stand there.
    None,
}

/// Evidence, ready to be asked.
#[derive(Debug, Default)]
pub(crate) struct Witness<'e> {
    pub(crate) bound_ms: u64,
    /// By log, in the order of their offsets.
    placings: BTreeMap<&'e Place, Vec<&'e Placing>>,
    turns: BTreeMap<(&'e str, u64), Vec<TurnKind>>,
    sealed: BTreeMap<&'e str, u64>,
    shifts: &'e [Shift],
}

impl<'e> Witness<'e> {
    pub(crate) fn new(evidence: &'e Evidence) -> Self {
        let (bound_ms, shifts) = (evidence.bound_ms, evidence.shifts.as_slice());
        let mut witness = Self { bound_ms, shifts, ..Self::default() };
        for placing in &evidence.placings {
            witness.placings.entry(&placing.place).or_default().push(placing);
        }
        witness.placings.values_mut().for_each(|log| log.sort_by_key(|placing| placing.offset));
        for turn in &evidence.turns {
            witness.turns.entry((turn.journal.as_str(), turn.stamp)).or_default().push(turn.what);
            if matches!(turn.what, TurnKind::Sealed { .. }) {
                witness.sealed.insert(&turn.journal, turn.stamp);
            }
        }
        witness
    }

    /// The logs with their batches.
    pub(crate) fn logs(&self) -> impl Iterator<Item = (&'e Place, &[&'e Placing])> {
        self.placings.iter().map(|(place, placings)| (*place, placings.as_slice()))
    }

    /// The batch that holds an offset of a log.
    pub(crate) fn of(&self, place: &Place, offset: u64) -> Option<&'e Placing> {
        let log = self.placings.get(place)?;
        let after = log.partition_point(|placing| placing.offset <= offset);
        let found = log[..after].last()?;
        (offset < found.offset + u64::from(found.records)).then_some(*found)
    }

    /// Why a batch stands where it stands. Times are compared in milliseconds; that something came late must be plain.
    pub(crate) fn reason(&self, placing: &Placing) -> Reason {
        let Placing { journal, time_ms, stamp, sorted_ms, .. } = placing;
        let turns = self.turns.get(&(journal.as_str(), *stamp)).map_or(&[][..], Vec::as_slice);
        let has_ended = self.sealed.get(journal.as_str()).is_some_and(|sealed| stamp > sealed);
        if turns.iter().any(|what| matches!(what, TurnKind::Adopted { .. })) {
            return Reason::Adopted;
        }
        match sorted_ms.cmp(time_ms) {
            std::cmp::Ordering::Equal if !has_ended => Reason::OwnStamp,
            std::cmp::Ordering::Greater if turns.contains(&TurnKind::Opened) => Reason::Opened,
            _ => Reason::None,
        }
    }

    /// How far behind a batch's site was, beyond the bound, because its clock was set so: 0 unless the batch can have been taken
    /// while that stood. Its client says within which time it was taken, and a stamp lies from what the clock shows up to the
    /// bound ahead of it.
    pub(crate) fn behind_ms(&self, placing: &Placing, (began_ms, ended_ms): (u64, u64)) -> u64 {
        let stood = |shift: &&Shift| {
            let latest = placing.time_ms.saturating_add_signed(shift.ahead_ms.saturating_neg());
            let earliest = latest.saturating_sub(self.bound_ms);
            shift.from_ms.max(began_ms).max(earliest) <= shift.until_ms.min(ended_ms).min(latest)
        };
        let site = placing.journal.rsplit_once('.').map(|(site, _)| site);
        let of_site =
            self.shifts.iter().filter(|shift| Some(shift.site.as_str()) == site && shift.ahead_ms < 0);
        let behind = of_site.filter(stood).map(|shift| shift.ahead_ms.unsigned_abs());
        behind.filter(|behind_ms| *behind_ms > self.bound_ms).max().unwrap_or(0)
    }

    /// How many entries may sort at a stamp because a journal's tail was adopted there.
    pub(crate) fn adopted(&self, journal: &str, stamp: u64) -> u64 {
        let turns = self.turns.get(&(journal, stamp)).into_iter().flatten();
        let adopted = turns.map(|what| match what {
            TurnKind::Adopted { from, upto } => upto.saturating_sub(*from),
            _ => 0,
        });
        adopted.sum()
    }
}
