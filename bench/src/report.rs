//! A report as data: what all commands fill in and every form of output is made from.

use serde::Serialize;

use crate::machine::Facts;
use crate::quantiles::Summary;

/// One run of one command.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// A word for file names.
    pub(crate) what: String,
    /// A title for people.
    pub(crate) title: String,
    /// When, where and by which command.
    pub(crate) facts: Facts,
    /// What an acknowledgement meant in this run: read it beside every figure.
    pub(crate) durability: String,
    /// Figures that were wished for.
    pub(crate) bars: Vec<Bar>,
    /// The figures.
    pub(crate) sections: Vec<Section>,
}

/// A wish and what became of it.
#[derive(Debug, Serialize)]
pub(crate) struct Bar {
    pub(crate) name: String,
    pub(crate) wanted: String,
    pub(crate) got: String,
    pub(crate) met: bool,
}

/// Which way a bar goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wish {
    AtMost(f64),
    AtLeast(f64),
    Between(f64, f64),
}

impl Bar {
    /// Holds a figure against a wish; a figure that is not a number meets none.
    pub(crate) fn hold(name: impl Into<String>, wish: Wish, figure: f64, unit: &str) -> Self {
        let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
        let (wanted, met) = match wish {
            Wish::AtMost(most) => (format!("≤ {most}{unit}"), figure <= most),
            Wish::AtLeast(least) => (format!("≥ {least}{unit}"), figure >= least),
            Wish::Between(least, most) => {
                (format!("{least} to {most}{unit}"), (least..=most).contains(&figure))
            }
        };
        Self { name: name.into(), wanted, got: format!("{figure:.3}{unit}"), met }
    }
}

/// A table, pictures of it, and what to know when reading them.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Section {
    pub(crate) title: String,
    pub(crate) note: String,
    pub(crate) table: Table,
    pub(crate) plots: Vec<Plot>,
}

/// Rows of cells under columns.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Table {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<Cell>>,
}

/// One cell. Numbers keep their full value in JSON and are rounded for people.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub(crate) enum Cell {
    Text(String),
    Number(f64),
    Count(u64),
    Nothing,
}

impl Cell {
    /// As people read it.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Count(count) => count.to_string(),
            Self::Number(number) if !number.is_finite() => "–".to_owned(),
            Self::Number(number) if number.abs() >= 1_000.0 => format!("{number:.0}"),
            Self::Number(number) if number.abs() >= 10.0 => format!("{number:.1}"),
            Self::Number(number) => format!("{number:.2}"),
            Self::Nothing => "–".to_owned(),
        }
    }

    pub(crate) fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<f64> for Cell {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<u64> for Cell {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<Option<f64>> for Cell {
    fn from(number: Option<f64>) -> Self {
        number.map_or(Self::Nothing, Self::Number)
    }
}

impl Table {
    pub(crate) fn new(columns: &[&str]) -> Self {
        Self { columns: columns.iter().map(|column| (*column).to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// If it is not as wide as the table.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        assert_eq!(cells.len(), self.columns.len(), "a row has a cell for every column");
        self.rows.push(cells);
    }
}

/// The columns that [`quantile_cells`] fills.
pub(crate) const QUANTILE_COLUMNS: [&str; 6] =
    ["p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms", "samples"];

/// A summary as cells.
pub(crate) fn quantile_cells(summary: &Summary) -> Vec<Cell> {
    let figures = [summary.p50_ms, summary.p90_ms, summary.p99_ms, summary.p999_ms, summary.max_ms];
    let measured = |figure: f64| if summary.count == 0 { Cell::Nothing } else { Cell::Number(figure) };
    figures.into_iter().map(measured).chain([Cell::Count(summary.count)]).collect()
}

/// A picture.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Plot {
    /// Lines over a common axis.
    Lines { title: String, x: Axis, y: Axis, lines: Vec<Line> },
    /// A row for each thing: where its quantiles lie, and where its bound.
    Ranges { title: String, x: Axis, rows: Vec<Range> },
}

/// An axis.
#[derive(Debug, Serialize)]
pub(crate) struct Axis {
    pub(crate) label: String,
    /// Ticks are at these places with these words; none: round numbers.
    pub(crate) ticks: Vec<(f64, String)>,
}

impl Axis {
    pub(crate) fn of(label: &str) -> Self {
        Self { label: label.to_owned(), ticks: Vec::new() }
    }

    /// For [`crate::quantiles::Latencies::curve`].
    pub(crate) fn nines() -> Self {
        let words = ["0", "90 %", "99 %", "99.9 %", "99.99 %"];
        let ticks = words.iter().enumerate().map(|(nines, word)| (nines as f64, (*word).to_owned()));
        Self { label: "share of records".to_owned(), ticks: ticks.collect() }
    }
}

/// A line.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// A row of [`Plot::Ranges`].
#[derive(Debug, Serialize)]
pub(crate) struct Range {
    pub(crate) name: String,
    pub(crate) bound: Option<f64>,
    pub(crate) summary: Summary,
}

#[cfg(test)]
mod tests {
    use super::{Bar, Cell, Table, Wish, quantile_cells};
    use crate::quantiles::Summary;

    #[test]
    fn a_bar_is_met_or_it_is_not() {
        assert!(Bar::hold("x", Wish::AtMost(1.2), 1.2, "").met);
        assert!(!Bar::hold("x", Wish::AtMost(1.2), 1.21, "").met);
        assert!(!Bar::hold("x", Wish::AtLeast(0.25), f64::NAN, "").met, "no figure meets no bar");
        let bar = Bar::hold("x", Wish::Between(30.0, 70.0), 50.0, "%");
        assert_eq!((bar.wanted.as_str(), bar.got.as_str(), bar.met), ("30 to 70 %", "50.000 %", true));
    }

    #[test]
    fn cells_are_rounded_for_people_only() {
        assert_eq!(Cell::from(1_234.56).shown(), "1235");
        assert_eq!(Cell::from(12.345).shown(), "12.3");
        assert_eq!(Cell::from(0.126).shown(), "0.13");
        assert_eq!(Cell::from(f64::NAN).shown(), "–");
        assert_eq!(serde_json::to_string(&Cell::from(0.126)).unwrap(), "0.126");
        assert_eq!(serde_json::to_string(&Cell::Nothing).unwrap(), "null");
    }

    #[test]
    fn nothing_measured_is_shown_as_nothing() {
        let cells = quantile_cells(&Summary::default());
        assert_eq!(cells.iter().map(Cell::shown).collect::<Vec<_>>(), ["–", "–", "–", "–", "–", "0"]);
    }

    #[test]
    #[should_panic(expected = "a cell for every column")]
    fn a_row_is_as_wide_as_its_table() {
        Table::new(&["a", "b"]).row(vec![Cell::Nothing]);
    }
}
