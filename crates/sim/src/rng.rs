//! Randomness out of one seed.
//!
//! Every part of a run draws from a stream of its own, split off by name, so that one more client does not move the
//! faults of a known seed. The generator is splitmix64: small, fast, and the same on every machine for ever, which is
//! all that a simulator asks of it.

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// The stream of this name under a seed.
    #[must_use]
    pub fn stream(seed: u64, name: &str) -> Rng {
        let mixed = name.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let mut rng = Rng(mixed);
        rng.draw();
        rng
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 if there is none.
    pub fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.draw() % end }
    }

    /// A number from `from` to below `to`.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to.saturating_sub(from))
    }

    /// Whether something happens that happens `permille` times in a thousand.
    pub fn chance(&mut self, permille: u64) -> bool {
        self.below(1000) < permille
    }

    /// One of these.
    ///
    /// # Panics
    /// If there is none.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        let at = self.below(of.len() as u64);
        &of[usize::try_from(at).expect("an index of a slice fits")]
    }

    /// A number of 128 bits.
    pub fn wide(&mut self) -> u128 {
        u128::from(self.draw()) << 64 | u128::from(self.draw())
    }
}

#[cfg(test)]
mod tests {
    use super::Rng;

    #[test]
    fn a_stream_is_the_same_for_ever_and_no_other() {
        let mut stream = Rng::stream(7, "net");
        let drawn = [stream.draw(), stream.draw()];
        let mut again = Rng::stream(7, "net");
        assert_eq!([again.draw(), again.draw()], drawn);
        assert_ne!(Rng::stream(7, "disk").draw(), drawn[0]);
        assert_ne!(Rng::stream(8, "net").draw(), drawn[0]);
    }
}
