//! Seeded chance, one stream per directed link, so that a run with the same traffic loses the same packets.
//!
//! SplitMix64: eight lines, passes the usual batteries, and any seed is a good seed. Not for secrets.

/// A deterministic stream of random numbers.
#[derive(Debug, Clone)]
pub(crate) struct Dice {
    state: u64,
}

impl Dice {
    /// A stream of its own for each (seed, number).
    pub(crate) fn new(seed: u64, number: u64) -> Self {
        let mut dice = Self { state: seed ^ number.wrapping_mul(0xD1B5_4A32_D192_ED03) };
        dice.roll();
        dice
    }

    /// The next 64 random bits.
    pub(crate) fn roll(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.roll() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True with the given probability. Rolls nothing at probability zero, so that switching an effect on does not
    /// change what another effect would have drawn before.
    pub(crate) fn hits(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.unit() < probability
    }
}

#[cfg(test)]
mod tests {
    use super::Dice;

    #[test]
    fn same_seed_same_rolls_and_streams_differ() {
        let rolls = |seed, number| {
            let mut dice = Dice::new(seed, number);
            (0..32).map(|_| dice.roll()).collect::<Vec<_>>()
        };
        assert_eq!(rolls(7, 1), rolls(7, 1));
        assert_ne!(rolls(7, 1), rolls(7, 2));
        assert_ne!(rolls(7, 1), rolls(8, 1));
    }

    #[test]
    fn hits_as_often_as_asked() {
        let mut dice = Dice::new(1, 0);
        let hits = (0..100_000).filter(|_| dice.hits(0.02)).count();
        assert!((1_800..2_200).contains(&hits), "2 % of 100,000 is about 2,000, not {hits}");
        assert!(!(0..1_000).any(|_| dice.hits(0.0)));
        assert!((0..1_000).all(|_| dice.hits(1.0)));
    }
}
