//! Aligned tables for people, and lists that are such a table or a JSON array.

use serde_json::Value;

use crate::output::Output;

/// Which way a column leans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lean {
    /// Texts.
    Left,
    /// Numbers.
    Right,
}

/// A table: a head and rows of as many cells.
#[derive(Debug)]
pub(crate) struct Table {
    head: Vec<(&'static str, Lean)>,
    rows: Vec<Vec<String>>,
}

const GAP: &str = "  ";

/// A list of things: each a JSON value and a row.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) values: Vec<Value>,
    pub(crate) table: Table,
}

impl Listing {
    /// Says of each item how it looks.
    pub(crate) fn of<T, const COLUMNS: usize>(
        head: &[(&'static str, Lean); COLUMNS],
        items: impl IntoIterator<Item = T>,
        look: impl Fn(T) -> (Value, [String; COLUMNS]),
    ) -> Listing {
        let mut listing = Listing { values: Vec::new(), table: Table::new(head) };
        for (value, row) in items.into_iter().map(look) {
            listing.values.push(value);
            listing.table.row(row);
        }
        listing
    }

    /// Prints it, one way or the other.
    pub(crate) fn show(&self, output: Output) -> anyhow::Result<()> {
        output.show(&self.values, || self.table.to_string())
    }
}

impl Table {
    pub(crate) fn new(head: &[(&'static str, Lean)]) -> Table {
        Table { head: head.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// If it has more or fewer cells than the head.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().collect();
        assert_eq!(cells.len(), self.head.len(), "a row has a cell for each column");
        self.rows.push(cells);
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().map(|row| row[column].chars().count());
        cells.chain([self.head[column].0.chars().count()]).max().unwrap_or(0)
    }

    fn line<'a>(&self, cells: impl Iterator<Item = &'a str>) -> String {
        let columns = cells.zip(&self.head).enumerate();
        let padded = columns.map(|(at, (cell, (_, lean)))| match lean {
            Lean::Left => format!("{cell:<width$}", width = self.width(at)),
            Lean::Right => format!("{cell:>width$}", width = self.width(at)),
        });
        padded.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(out, "{}", self.line(self.head.iter().map(|(name, _)| *name)))?;
        self.rows.iter().try_for_each(|row| writeln!(out, "{}", self.line(row.iter().map(String::as_str))))
    }
}

#[cfg(test)]
mod tests {
    use super::{Lean, Table};

    #[test]
    fn columns_line_up_and_lines_do_not_trail() {
        let mut table = Table::new(&[("TOPIC", Lean::Left), ("END", Lean::Right), ("NOTE", Lean::Left)]);
        table.row(["orders", "7", ""].map(str::to_owned));
        table.row(["ü", "12345", "late"].map(str::to_owned));
        assert_eq!(table.to_string(), "TOPIC     END  NOTE\norders      7\nü       12345  late\n");
    }
}
