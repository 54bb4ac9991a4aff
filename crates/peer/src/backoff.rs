//! How long to wait before trying again: doubling up to a limit, with jitter, so that sites do not knock in step.

use std::time::Duration;

/// The state of one peer's retries.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
    dice: u64,
}

impl Backoff {
    pub(crate) fn new((first, most): (Duration, Duration), seed: u64) -> Self {
        Self { first, most, next: first, dice: seed }
    }

    /// The next wait: between half and all of the current step.
    pub(crate) fn next(&mut self) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(self.most);
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        step / 2 + (step / 2).mul_f64((self.dice >> 32) as f64 / f64::from(u32::MAX))
    }

    /// A connection worked: the next retry is quick again.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Backoff;

    #[test]
    fn waits_double_up_to_the_limit_and_start_over() {
        let (first, most) = (Duration::from_millis(50), Duration::from_secs(2));
        let mut backoff = Backoff::new((first, most), 3);
        let mut step = first;
        for _ in 0..20 {
            let wait = backoff.next();
            assert!(wait >= step / 2 && wait <= step, "{wait:?} of {step:?}");
            step = (step * 2).min(most);
        }
        backoff.reset();
        assert!(backoff.next() <= first);
    }
}
