//! The largest of the last few rates: what the path has shown that it can carry.

/// How many rounds a rate is remembered for. More than one probing cycle, so that the last probe's result still counts.
const ROUNDS: usize = 8;

/// A maximum over the last [`ROUNDS`] entries.
#[derive(Debug, Clone, Default)]
pub(super) struct RecentMax {
    rates: [u64; ROUNDS],
    at: usize,
}

impl RecentMax {
    pub(super) fn push(&mut self, rate: u64) {
        self.at = (self.at + 1) % ROUNDS;
        self.rates[self.at] = rate;
    }

    pub(super) fn get(&self) -> u64 {
        self.rates.iter().copied().max().unwrap_or(0)
    }

    /// Forgets that the path could ever carry more than this.
    pub(super) fn cap(&mut self, most: u64) {
        for rate in &mut self.rates {
            *rate = (*rate).min(most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ROUNDS, RecentMax};

    #[test]
    fn a_rate_is_forgotten_after_its_rounds_and_capped_at_once() {
        let mut recent = RecentMax::default();
        recent.push(100);
        for _ in 1..ROUNDS {
            recent.push(10);
        }
        assert_eq!(recent.get(), 100);
        recent.push(10);
        assert_eq!(recent.get(), 10);
        recent.cap(5);
        assert_eq!(recent.get(), 5);
    }
}
