//! Which faults struck while which invariants were looked at: a table of counts.

use std::collections::BTreeMap;
use std::fmt;

use crate::Report;
use crate::checkers::INVARIANTS;
use crate::swarm::Kind;

/// Counts of many runs.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: BTreeMap<Kind, Row>,
    all: Row,
}

#[derive(Debug, Clone)]
struct Row {
    struck: u64,
    checked: [u64; INVARIANTS],
}

impl Default for Row {
    fn default() -> Row {
        Row { struck: 0, checked: [0; INVARIANTS] }
    }
}

impl Row {
    fn add(&mut self, struck: u64, checked: &[u64; INVARIANTS]) {
        self.struck += struck;
        self.checked.iter_mut().zip(checked).for_each(|(sum, more)| *sum += more);
    }
}

impl Table {
    /// A run went well.
    pub(super) fn add(&mut self, report: &Report) {
        self.all.add(report.struck.values().sum(), &report.checked);
        for (kind, struck) in &report.struck {
            self.rows.entry(*kind).or_default().add(*struck, &report.checked);
        }
    }

    /// What other threads counted.
    pub(super) fn join(&mut self, other: &Table) {
        self.all.add(other.all.struck, &other.all.checked);
        for (kind, row) in &other.rows {
            self.rows.entry(*kind).or_default().add(row.struck, &row.checked);
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<usize> = (0..INVARIANTS).filter(|number| self.all.checked[*number] > 0).collect();
        write!(f, "| fault | struck |")?;
        numbers.iter().try_for_each(|number| write!(f, " I-{number:02} |"))?;
        write!(f, "\n| --- | ---: |{}", " ---: |".repeat(numbers.len()))?;
        let rows = self.rows.iter().map(|(kind, row)| (format!("{kind:?}"), row));
        for (name, row) in rows.chain([("all runs".to_owned(), &self.all)]) {
            write!(f, "\n| {name} | {} |", row.struck)?;
            numbers.iter().try_for_each(|number| write!(f, " {} |", short(row.checked[*number])))?;
        }
        Ok(())
    }
}

/// A number in four characters or so.
fn short(number: u64) -> String {
    match number {
        0..10_000 => number.to_string(),
        10_000..10_000_000 => format!("{}k", number / 1_000),
        _ => format!("{}M", number / 1_000_000),
    }
}
