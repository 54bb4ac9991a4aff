//! The figures of `bench latency` as a report: each beside its bound.

use wan::{Matrix, MatrixError};

use super::Measured;
use crate::load::Driven;
use crate::machine::Facts;
use crate::quantiles::Latencies;
use crate::report::{
    Axis, Bar, Cell, Line, Plot, QUANTILE_COLUMNS, Range, Report, Section, Table, Wish, quantile_cells,
};
use crate::theory::Theory;

/// How much later than its bound a record may be visible, at the 99th percentile.
const ORIGIN_SLACK_MS: f64 = 10.0;
const MERGED_SLACK_MS: f64 = 20.0;

const DURABILITY: &str = "acks=1 and reading: synced (fdatasync) at the site that acknowledged; origin logs elsewhere: synced there \
too; merged log: synced at a majority of the sites; acks=all with min.insync.sites=2: synced at two sites";
const DURABILITY_FOREIGN: &str = "whatever acks=1 and acks=all mean at the brokers named by --bootstrap";

/// A bound between two sites, or none where there is no matrix.
type Bound<'a> = dyn Fn(&str, &str) -> Result<f64, MatrixError> + 'a;

pub(super) fn report(
    title: &str,
    facts: Facts,
    sites: &[&str],
    matrix: Option<&Matrix>,
    measured: &Measured,
) -> Result<Report, MatrixError> {
    let theory = matrix.map(|matrix| Theory::new(matrix, sites));
    let mut sections = vec![local(sites, &measured.local)];
    let mut bars = Vec::new();
    match &theory {
        Some(theory) => {
            let one_way = |from: &str, to: &str| theory.origin_ms(from, to);
            let together = measured.together;
            let merged = |from: &str, to: &str| {
                if together { theory.merged_busy_ms(to) } else { theory.merged_ms(from, to) }
            };
            let merged_note = format!("{MERGED_NOTE}{}", if together { BUSY_NOTE } else { "" });
            let control = measured.emulator.map(|lateness| control_note(&lateness)).unwrap_or_default();
            let visible = [
                (
                    "Readable in the origin log",
                    ORIGIN_NOTE,
                    &measured.origin,
                    &one_way as &Bound<'_>,
                    Some(ORIGIN_SLACK_MS),
                ),
                (
                    "Readable in the merged log",
                    &merged_note,
                    &measured.merged,
                    &merged,
                    Some(MERGED_SLACK_MS),
                ),
                (
                    "Control: bare datagrams over the same emulator",
                    &control,
                    &measured.control,
                    &one_way,
                    None,
                ),
            ];
            for (title, note, seen, bound, slack_ms) in visible {
                let (section, worst) = pairs(title, note, sites, seen, Some(bound))?;
                sections.push(section);
                if let (Some(slack_ms), Some((over_ms, pair))) = (slack_ms, worst) {
                    let name = format!("{title}: p99 beyond its bound, worst pair ({pair})");
                    bars.push(Bar::hold(name, Wish::AtMost(slack_ms), over_ms, "ms"));
                }
            }
        }
        None => sections.push(pairs("Readable", "", sites, &measured.merged, None)?.0),
    }
    sections.push(two_sites(sites, &measured.two_sites, theory.as_ref())?);
    let lost = missing(measured);
    bars.push(Bar::hold(
        "acknowledged records that a reader did not see in time",
        Wish::AtMost(0.0),
        lost as f64,
        "",
    ));
    let durability = if theory.is_some() { DURABILITY } else { DURABILITY_FOREIGN };
    let (title, durability) = (title.to_owned(), durability.to_owned());
    Ok(Report { what: "latency".to_owned(), title, facts, durability, bars, sections })
}

const ORIGIN_NOTE: &str = "From due to fetched by a client at the reading site. Bound: one way.";
const MERGED_NOTE: &str = "From due to fetched by a client at the reading site. Bound: the later of the slowest promise's arrival and \
the time until a quorum is known there to hold the record.";

const BUSY_NOTE: &str = " Since all sites write and the log is a strict prefix, a record also waits for those stamped just before \
it: the bound is that of the slowest origin. A record that follows no such record closely can be earlier.";

fn control_note(lateness: &wan::Lateness) -> String {
    let wan::Lateness { p50_us, p99_us, p999_us, max_us, .. } = lateness;
    format!(
        "One way. The emulator itself let packets go later than due by p50 {p50_us:.0} µs, p99 {p99_us:.0} µs, p99.9 {p999_us:.0} µs, \
         at most {max_us:.0} µs, the sites' own packets included."
    )
}

fn missing(measured: &Measured) -> u64 {
    let mut missing = 0;
    for by_source in measured.merged.iter().chain(&measured.origin) {
        for (seen, driven) in by_source.iter().zip(&measured.local) {
            missing += driven.acked.count().saturating_sub(seen.count());
        }
    }
    missing
}

fn with_quantiles(first: &[&str], last: &[&str]) -> Table {
    Table::new(&[first, &QUANTILE_COLUMNS, last].concat())
}

fn curves<'a>(title: &str, lines: impl Iterator<Item = (&'a str, &'a Latencies)>) -> Plot {
    let lines = lines.map(|(name, latencies)| Line { name: name.to_owned(), points: latencies.curve() });
    Plot::Lines { title: title.to_owned(), x: Axis::nines(), y: Axis::of("ms"), lines: lines.collect() }
}

fn refusals(driven: &[Driven]) -> String {
    let refused: u64 = driven.iter().map(|driven| driven.refused).sum();
    let first = driven.iter().find_map(|driven| driven.first_refusal.as_deref()).unwrap_or_default();
    if refused == 0 {
        String::new()
    } else {
        format!(" {refused} records were refused, the first thus: {first}.")
    }
}

fn local(sites: &[&str], driven: &[Driven]) -> Section {
    let mut table = with_quantiles(&["site"], &["driver p99 ms"]);
    for (site, driven) in sites.iter().zip(driven) {
        let handed = driven.handed.summary();
        let row =
            [vec![Cell::from(*site)], quantile_cells(&driven.acked.summary()), vec![handed.p99_ms.into()]];
        table.row(row.concat());
    }
    let note = "acks=1, from due to the answer being here. Last column: how late the driver itself was.";
    let lines = sites.iter().copied().zip(driven.iter().map(|driven| &driven.acked));
    let plots = vec![curves("Local acknowledgement", lines)];
    let (title, note) = ("Local acknowledgement".to_owned(), format!("{note}{}", refusals(driven)));
    Section { title, note, table, plots }
}

fn two_sites(sites: &[&str], driven: &[Driven], theory: Option<&Theory<'_>>) -> Result<Section, MatrixError> {
    let mut table = with_quantiles(&["site", "bound ms"], &["p99 beyond"]);
    let mut rows = Vec::new();
    for (site, driven) in sites.iter().zip(driven) {
        let bound = theory.map(|theory| theory.two_sites_ms(site)).transpose()?;
        let summary = driven.acked.summary();
        let over = bound.map(|bound| summary.p99_ms - bound);
        let row = [vec![Cell::from(*site), bound.into()], quantile_cells(&summary), vec![over.into()]];
        table.row(row.concat());
        rows.push(Range { name: (*site).to_owned(), bound, summary });
    }
    let note = "acks=all on a topic with min.insync.sites=2. Bound: round trip to the nearest other site.";
    let note = if theory.is_some() { note } else { "acks=all." };
    let title = "Acknowledged by two sites".to_owned();
    let plots = vec![Plot::Ranges { title: title.clone(), x: Axis::of("ms"), rows }];
    Ok(Section { title, note: format!("{note}{}", refusals(driven)), table, plots })
}

/// A table by pair, and by how much the worst pair's p99 is beyond its bound.
fn pairs(
    title: &str,
    note: &str,
    sites: &[&str],
    seen: &[Vec<Latencies>],
    bound: Option<&Bound<'_>>,
) -> Result<(Section, Option<(f64, String)>), MatrixError> {
    let mut table = with_quantiles(&["from → at", "bound ms"], &["p99 beyond"]);
    let mut rows = Vec::new();
    let mut worst: Option<(f64, String)> = None;
    for (source, from) in sites.iter().enumerate() {
        for (reader, at) in sites.iter().enumerate() {
            let Some(latencies) = seen.get(reader).and_then(|by_source| by_source.get(source)) else {
                continue;
            };
            let summary = latencies.summary();
            if summary.count == 0 && source == reader {
                continue;
            }
            let bound = bound.map(|bound| bound(from, at)).transpose()?;
            let name = format!("{from} → {at}");
            // What nobody saw is later than any bound.
            let over =
                bound.map(|bound| if summary.count == 0 { f64::INFINITY } else { summary.p99_ms - bound });
            if let Some(over) = over
                && worst.as_ref().is_none_or(|(most, _)| over > *most)
            {
                worst = Some((over, name.clone()));
            }
            let row = [vec![name.as_str().into(), bound.into()], quantile_cells(&summary), vec![over.into()]];
            table.row(row.concat());
            rows.push(Range { name, bound, summary });
        }
    }
    let plots = vec![Plot::Ranges { title: title.to_owned(), x: Axis::of("ms"), rows }];
    Ok((Section { title: title.to_owned(), note: note.to_owned(), table, plots }, worst))
}
