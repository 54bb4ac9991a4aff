//! A report for the terminal: aligned tables, nothing that a pipe would garble.

use std::fmt::Write as _;

use crate::report::{Report, Table};

/// The whole report.
pub(crate) fn page(report: &Report) -> String {
    let mut page = format!("{}\n{}\n\n", report.title, "=".repeat(report.title.chars().count()));
    for (name, value) in report.facts.rows() {
        say(&mut page, &format!("{name:<12} {value}"));
    }
    say(&mut page, &format!("{:<12} {}", "durability", report.durability));
    for section in &report.sections {
        say(&mut page, &format!("\n{}\n{}", section.title, "-".repeat(section.title.chars().count())));
        if !section.note.is_empty() {
            say(&mut page, &section.note);
        }
        page.push_str(&table(&section.table));
    }
    if !report.bars.is_empty() {
        say(&mut page, "\nWanted and got\n--------------");
        let mut bars = Table::new(&["", "wanted", "got", ""]);
        for bar in &report.bars {
            let met = if bar.met { "met" } else { "MISSED" };
            bars.row([&bar.name, &bar.wanted, &bar.got, met].map(Into::into).into());
        }
        page.push_str(&table(&bars));
    }
    page
}

fn say(page: &mut String, line: &str) {
    writeln!(page, "{line}").expect("a text takes any text");
}

/// Columns as wide as their widest cell: words to the left, numbers to the right.
pub(crate) fn table(table: &Table) -> String {
    let shown: Vec<Vec<String>> =
        table.rows.iter().map(|row| row.iter().map(|cell| cell.shown()).collect()).collect();
    let width = |column: usize| {
        let cells = shown.iter().map(|row| row[column].chars().count());
        cells.chain([table.columns[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..table.columns.len()).map(width).collect();
    let left = |column: usize| table.rows.iter().all(|row| row[column].is_text());
    let aligned: Vec<bool> = (0..table.columns.len()).map(left).collect();
    let mut text = String::new();
    for row in std::iter::once(&table.columns).chain(&shown) {
        let cells = row.iter().zip(&widths).zip(&aligned).map(|((cell, width), left)| {
            if *left { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        say(&mut text, cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::report::Table;

    #[test]
    fn words_go_left_and_numbers_right() {
        let mut table = Table::new(&["pair", "ms"]);
        table.row(vec!["a → b".into(), 3.5.into()]);
        table.row(vec!["eu → us".into(), 120.25.into()]);
        assert_eq!(super::table(&table), "pair        ms\na → b     3.50\neu → us  120.2\n");
    }
}
