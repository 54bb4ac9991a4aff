//! A report as one HTML page that needs nothing else: no scripts, no fonts, no network.

use std::fmt::Write as _;

use crate::report::{Bar, Report, Section, Table};
use crate::svg;

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1b1f24; --dim: #68707a; --rule: #d5d9de; --paper: #fff; --good: #1a7f37; --bad: #b3261e;
  --c0: #0b62c4; --c1: #c2410c; --c2: #15803d; --c3: #7e22ce; --c4: #b45309; --c5: #0e7490; --c6: #be185d; --c7: #4d7c0f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --dim: #9aa2ac; --rule: #3a4048; --paper: #15181c; --good: #56d364; --bad: #ff7b72;
  --c0: #6cb0ff; --c1: #ff9a5c; --c2: #5fd38a; --c3: #c792ff; --c4: #f2b84b; --c5: #5cc8e0; --c6: #ff86b8; --c7: #b3d66b; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
p.note { color: var(--dim); max-width: 48rem; } code { font-size: .9em; overflow-wrap: anywhere; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .88rem; }
th, td { padding: .22rem .7rem; border-bottom: 1px solid var(--rule); text-align: right; white-space: nowrap; }
th { color: var(--dim); font-weight: 500; } .text { text-align: left; white-space: normal; }
.met { color: var(--good); } .missed { color: var(--bad); font-weight: 600; }
svg { max-width: 100%; height: auto; margin: 1rem 0; } svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }
svg .dim { fill: var(--dim); } svg .grid { stroke: var(--rule); } svg .title { font-weight: 600; font-size: 13px; }
";

/// The whole page.
pub(crate) fn page(report: &Report) -> String {
    let mut page = String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    add(
        &mut page,
        format_args!("<title>{}</title><style>{STYLE}</style></head>\n<body>", escape(&report.title)),
    );
    add(&mut page, format_args!("<h1>{}</h1>\n", escape(&report.title)));
    page.push_str("<div class=\"wide\"><table>");
    let durability = ("durability", report.durability.clone());
    for (name, value) in report.facts.rows().into_iter().chain([durability]) {
        let value = escape(&value);
        let value = if name == "command" { format!("<code>{value}</code>") } else { value };
        add(
            &mut page,
            format_args!("<tr><th class=\"text\">{name}</th><td class=\"text\">{value}</td></tr>\n"),
        );
    }
    page.push_str("</table></div>\n");
    if !report.bars.is_empty() {
        page.push_str("<h2>Wanted and got</h2>\n");
        page.push_str(&bars(&report.bars));
    }
    report.sections.iter().for_each(|section| page.push_str(&self::section(section)));
    page.push_str("</body></html>\n");
    page
}

fn add(page: &mut String, what: std::fmt::Arguments<'_>) {
    page.write_fmt(what).expect("a text takes any text");
}

fn bars(bars: &[Bar]) -> String {
    let mut text = String::from("<div class=\"wide\"><table>");
    for bar in bars {
        let (class, word) = if bar.met { ("met", "met") } else { ("missed", "missed") };
        let (name, wanted, got) = (escape(&bar.name), escape(&bar.wanted), escape(&bar.got));
        let cells = format!("<td class=\"text\">{name}</td><td>{wanted}</td><td>{got}</td>");
        add(&mut text, format_args!("<tr>{cells}<td class=\"{class}\">{word}</td></tr>\n"));
    }
    text.push_str("</table></div>\n");
    text
}

fn section(section: &Section) -> String {
    let mut text = format!("<h2>{}</h2>\n", escape(&section.title));
    if !section.note.is_empty() {
        add(&mut text, format_args!("<p class=\"note\">{}</p>\n", escape(&section.note)));
    }
    section.plots.iter().for_each(|plot| text.push_str(&svg::picture(plot)));
    text.push_str(&table(&section.table));
    text
}

fn table(table: &Table) -> String {
    let class = |column: usize| {
        let words = !table.rows.is_empty() && table.rows.iter().all(|row| row[column].is_text());
        if words { " class=\"text\"" } else { "" }
    };
    let mut text = String::from("<div class=\"wide\"><table><tr>");
    for (column, name) in table.columns.iter().enumerate() {
        add(&mut text, format_args!("<th{}>{}</th>", class(column), escape(name)));
    }
    text.push_str("</tr>\n");
    for row in &table.rows {
        text.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            add(&mut text, format_args!("<td{}>{}</td>", class(column), escape(&cell.shown())));
        }
        text.push_str("</tr>\n");
    }
    text.push_str("</table></div>\n");
    text
}

/// Text that cannot be taken for markup.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::machine::Facts;
    use crate::report::{Bar, Report, Section, Table, Wish};

    #[test]
    fn a_page_is_whole_and_takes_nothing_for_markup() {
        let mut table = Table::new(&["pair", "ms"]);
        table.row(vec!["a<b>".into(), 1.0.into()]);
        let section = Section { title: "S & T".to_owned(), table, ..Section::default() };
        let report = Report {
            what: "x".to_owned(),
            title: "T".to_owned(),
            facts: Facts::gather(Path::new("/")),
            durability: "every byte synced".to_owned(),
            bars: vec![Bar::hold("b", Wish::AtMost(1.0), 2.0, "ms")],
            sections: vec![section],
        };
        let page = super::page(&report);
        assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
        for part in ["a&lt;b&gt;", "S &amp; T", "every byte synced", "class=\"missed\""] {
            assert!(page.contains(part), "no {part} in the page");
        }
        assert!(
            !page.contains("http://") && !page.contains("https://"),
            "a page needs nothing from elsewhere"
        );
    }
}
