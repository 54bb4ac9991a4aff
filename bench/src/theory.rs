//! What the speed of light allows, from the matrix of round trips: nothing is processed, nothing waits for a disk.
//!
//! A record is written at `origin` at time 0 and looked for at `reader`.
//! - **Origin log**: readable when it has arrived: one way.
//! - **Merged log**: readable when two things are known at the reader. Every site has promised to say nothing older: the
//!   slowest promise given at time 0 arrives. And a quorum holds it: a site holds it once it has arrived there, and the reader
//!   knows once that site's word has arrived here. The origin's own word comes with the record; the reader's own is there
//!   as soon as the record is.
//! - **Merged log while all sites write**: the log shows a strict prefix, so a record also waits for those stamped just before
//!   it, whichever site wrote them: the reader's slowest quorum of any origin decides for all, as nearly as they follow it closely.
//! - **Acknowledged by two sites**: the nearest other site's word is back: its round trip.

use wan::{Matrix, MatrixError};

/// The bounds among these sites.
#[derive(Debug)]
pub(crate) struct Theory<'a> {
    matrix: &'a Matrix,
    sites: &'a [&'a str],
}

impl<'a> Theory<'a> {
    pub(crate) fn new(matrix: &'a Matrix, sites: &'a [&'a str]) -> Self {
        Self { matrix, sites }
    }

    /// Until a record from `origin` is in its origin log at `reader`.
    pub(crate) fn origin_ms(&self, origin: &str, reader: &str) -> Result<f64, MatrixError> {
        self.matrix.one_way_ms(origin, reader)
    }

    /// Until a record from `origin` is in the merged log at `reader`, if nobody else writes.
    pub(crate) fn merged_ms(&self, origin: &str, reader: &str) -> Result<f64, MatrixError> {
        let mut promised_ms = 0.0_f64;
        for site in self.sites {
            promised_ms = promised_ms.max(self.matrix.one_way_ms(site, reader)?);
        }
        Ok(promised_ms.max(self.quorum_ms(origin, reader)?))
    }

    /// Until any record is in the merged log at `reader`, if all sites write all the time.
    pub(crate) fn merged_busy_ms(&self, reader: &str) -> Result<f64, MatrixError> {
        let mut slowest_ms = 0.0_f64;
        for origin in self.sites {
            slowest_ms = slowest_ms.max(self.merged_ms(origin, reader)?);
        }
        Ok(slowest_ms)
    }

    /// Until it is known at `reader` that a quorum holds a record from `origin`.
    fn quorum_ms(&self, origin: &str, reader: &str) -> Result<f64, MatrixError> {
        let mut holders = Vec::new();
        for site in self.sites {
            // What the origin holds at time 0 is told by the record itself, so its term is the record's own way.
            holders.push(self.matrix.one_way_ms(origin, site)? + self.matrix.one_way_ms(site, reader)?);
        }
        holders.sort_by(f64::total_cmp);
        Ok(holders.get(self.sites.len() / 2).copied().unwrap_or(0.0))
    }

    /// Until a write at `origin` is known there to be held by two sites.
    pub(crate) fn two_sites_ms(&self, origin: &str) -> Result<f64, MatrixError> {
        let mut nearest = f64::INFINITY;
        for site in self.sites.iter().filter(|site| **site != origin) {
            nearest = nearest.min(self.matrix.rtt_ms(origin, site)?);
        }
        Ok(nearest)
    }
}

#[cfg(test)]
mod tests {
    use wan::Matrix;

    use super::Theory;

    const SITES: [&str; 3] = ["a", "b", "c"];

    fn matrix() -> Matrix {
        Matrix::parse("[rtt_ms.a]\nb = 70\nc = 180\n[rtt_ms.b]\nc = 212").unwrap()
    }

    #[test]
    fn where_it_was_written_the_farthest_promise_decides() {
        let matrix = matrix();
        let theory = Theory::new(&matrix, &SITES);
        // Promise from c: 90. Held by a at 0 and by b after one round trip: 70.
        assert_eq!(theory.merged_ms("a", "a").unwrap(), 90.0);
    }

    #[test]
    fn elsewhere_the_record_itself_brings_the_quorum() {
        let matrix = matrix();
        let theory = Theory::new(&matrix, &SITES);
        // At b: promise from c takes 106; the record takes 35 and then a and b hold it.
        assert_eq!(theory.merged_ms("a", "b").unwrap(), 106.0);
        // At c: promise from b takes 106; the record takes 90.
        assert_eq!(theory.merged_ms("a", "c").unwrap(), 106.0);
    }

    #[test]
    fn while_all_write_the_readers_own_records_hold_the_others_back() {
        let matrix = matrix();
        let theory = Theory::new(&matrix, &SITES);
        // At c, its own records need a round trip to a; those of a and b stand behind them.
        assert_eq!(theory.merged_ms("c", "c").unwrap(), 180.0);
        assert_eq!(theory.merged_busy_ms("c").unwrap(), 180.0);
        assert_eq!(theory.merged_busy_ms("a").unwrap(), 90.0);
    }

    #[test]
    fn five_sites_need_a_third_holder() {
        let sites = ["a", "b", "c", "d", "e"];
        let text = "[rtt_ms.a]\nb = 100\nc = 100\nd = 100\ne = 100\n[rtt_ms.b]\nc = 100\nd = 100\ne = 100\n\
                    [rtt_ms.c]\nd = 100\ne = 100\n[rtt_ms.d]\ne = 100";
        let matrix = Matrix::parse(text).unwrap();
        let theory = Theory::new(&matrix, &sites);
        // a, b at 50 and then the first other site: there after 50, its word here after 100.
        assert_eq!(theory.merged_ms("a", "b").unwrap(), 100.0);
        assert_eq!(theory.merged_ms("a", "a").unwrap(), 100.0);
    }

    #[test]
    fn one_way_and_the_nearest_round_trip() {
        let matrix = matrix();
        let theory = Theory::new(&matrix, &SITES);
        assert_eq!(theory.origin_ms("a", "c").unwrap(), 90.0);
        assert_eq!(theory.origin_ms("a", "a").unwrap(), 0.0);
        assert_eq!(theory.two_sites_ms("c").unwrap(), 180.0);
        assert!(theory.origin_ms("a", "x").is_err());
    }

    #[test]
    fn a_site_alone_waits_for_nobody() {
        let matrix = Matrix::uniform(&["a"], 1.0);
        assert_eq!(Theory::new(&matrix, &["a"]).merged_ms("a", "a").unwrap(), 0.0);
    }
}
