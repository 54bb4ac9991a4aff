//! Latencies as histograms: three digits from a microsecond to a minute, whatever the number of samples.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Above this, a record is as good as lost.
const MICROS_MAX: u64 = 60_000_000;

/// A histogram that several tasks fill; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Latencies(Arc<Mutex<Histogram<u64>>>);

/// The usual figures of a histogram, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) count: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    pub(crate) max_ms: f64,
}

impl Default for Latencies {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, MICROS_MAX, 3);
        Self(Arc::new(Mutex::new(histogram.expect("the bounds are constants and in order"))))
    }
}

impl Latencies {
    pub(crate) fn record(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(MICROS_MAX);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(micros.max(1));
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Adds what another has seen.
    pub(crate) fn absorb(&self, other: &Self) {
        let other = other.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut own = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        own.add(other).expect("all histograms here have the same bounds");
    }

    pub(crate) fn summary(&self) -> Summary {
        let histogram = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
        if histogram.is_empty() {
            return Summary::default();
        }
        Summary {
            count: histogram.len(),
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: histogram.max() as f64 / 1_000.0,
        }
    }

    /// Points of the distribution for a plot: how many nines, and the latency there.
    pub(crate) fn curve(&self) -> Vec<(f64, f64)> {
        let histogram = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let most = (histogram.len().max(1) as f64).log10();
        let steps = (0..=60).map(|step| f64::from(step) / 15.0);
        let at = |nines: f64| {
            let quantile = 1.0 - 10_f64.powf(-nines);
            (nines, histogram.value_at_quantile(quantile) as f64 / 1_000.0)
        };
        steps.take_while(|nines| *nines <= most).map(at).collect()
    }
}

/// The middle one of several figures; of an even number, the lower middle.
pub(crate) fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Latencies, Summary, median};

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let latencies = Latencies::default();
        (1..=1_000).for_each(|ms| latencies.record(Duration::from_millis(ms)));
        let near = |got: f64, wanted: f64| assert!((got / wanted - 1.0).abs() < 0.002, "{got}, not {wanted}");
        let summary = latencies.summary();
        assert_eq!(summary.count, 1_000);
        near(summary.p50_ms, 500.0);
        near(summary.p90_ms, 900.0);
        near(summary.p99_ms, 990.0);
        near(summary.p999_ms, 999.0);
        near(summary.max_ms, 1_000.0);
    }

    #[test]
    fn histograms_add_up_and_empty_ones_say_zero() {
        let (one, other) = (Latencies::default(), Latencies::default());
        assert_eq!(one.summary(), Summary::default());
        one.record(Duration::from_millis(1));
        other.record(Duration::from_secs(120));
        one.absorb(&other);
        assert_eq!(one.count(), 2);
        assert!(one.summary().max_ms >= 59_900.0, "what is beyond the range counts as its end");
    }

    #[test]
    fn a_curve_has_no_more_nines_than_samples_can_show() {
        let latencies = Latencies::default();
        (0..100).for_each(|_| latencies.record(Duration::from_millis(3)));
        let curve = latencies.curve();
        assert!((curve.last().unwrap().0 - 2.0).abs() < 1e-9, "{curve:?}");
        assert!((curve[0].1 - 3.0).abs() < 0.01);
    }

    #[test]
    fn the_median_is_a_figure_that_was_measured() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.0);
        assert!(median(&[]).is_nan());
    }
}
