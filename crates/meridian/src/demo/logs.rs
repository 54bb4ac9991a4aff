//! Reads a log in every region and lays what was read side by side.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use client::FetchOptions;

use crate::demo::region::{PARTITION, Region};
use crate::demo::together::together;

/// What each region shows at each offset.
pub(crate) struct SideBySide {
    regions: Vec<String>,
    rows: BTreeMap<i64, Vec<Option<String>>>,
}

/// Reads a topic from an offset up to another, in all regions at a time.
pub(crate) async fn read(regions: &[Region], topic: &str, from: i64, end: i64) -> anyhow::Result<SideBySide> {
    let logs = together(regions.iter().map(|region| read_one(region, topic, from, end))).await?;
    let mut rows: BTreeMap<i64, Vec<Option<String>>> = BTreeMap::new();
    for (column, log) in logs.into_iter().enumerate() {
        for (offset, value) in log {
            rows.entry(offset).or_insert_with(|| vec![None; regions.len()])[column] = Some(value);
        }
    }
    Ok(SideBySide { regions: regions.iter().map(|region| region.name.clone()).collect(), rows })
}

/// Reads a log in one region.
pub(crate) async fn read_one(
    region: &Region,
    topic: &str,
    from: i64,
    end: i64,
) -> anyhow::Result<Vec<(i64, String)>> {
    let options = FetchOptions { max_wait: Duration::from_millis(200), ..FetchOptions::default() };
    let mut log = Vec::new();
    let mut next = from;
    while next < end {
        let answer = region.client.fetch(topic, PARTITION, next, &options).await;
        let answer = answer.with_context(|| format!("cannot read {topic} in {}", region.name))?;
        for read in client::read_records(&answer.batches, next)? {
            let value = read.record.value.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
            next = read.offset + 1;
            log.push((read.offset, value.into_owned()));
        }
    }
    Ok(log)
}

impl SideBySide {
    /// Whether every region shows the same at every offset.
    pub(crate) fn is_identical(&self) -> bool {
        self.rows.values().all(|row| row.iter().all(|cell| cell.is_some() && cell == &row[0]))
    }
}

impl std::fmt::Display for SideBySide {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let values = self.rows.values().flatten().flatten();
        let width = self.regions.iter().chain(values).map(|cell| cell.chars().count()).max().unwrap_or(0);
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            cells.map(|cell| format!("  {cell:<width$}")).collect::<String>().trim_end().to_owned()
        };
        write!(out, "offset{}", line(&mut self.regions.iter().map(String::as_str)))?;
        for (offset, row) in &self.rows {
            let mut cells = row.iter().map(|cell| cell.as_deref().unwrap_or("-"));
            write!(out, "\n{offset:>6}{}", line(&mut cells))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::SideBySide;

    fn table(rows: &[(i64, [Option<&str>; 2])]) -> SideBySide {
        let rows =
            rows.iter().map(|(offset, cells)| (*offset, cells.map(|cell| cell.map(str::to_owned)).to_vec()));
        SideBySide { regions: vec!["a".to_owned(), "b".to_owned()], rows: rows.collect::<BTreeMap<_, _>>() }
    }

    #[test]
    fn what_is_missing_or_different_is_not_identical() {
        assert!(table(&[(0, [Some("x"), Some("x")]), (1, [Some("y"), Some("y")])]).is_identical());
        assert!(!table(&[(0, [Some("x"), Some("y")])]).is_identical());
        let missing = table(&[(7, [Some("long"), None])]);
        assert!(!missing.is_identical());
        assert_eq!(missing.to_string(), "offset  a     b\n     7  long  -");
    }
}
