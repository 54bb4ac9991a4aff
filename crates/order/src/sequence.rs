//! A producer's sequence numbers: `i32` on the wire, from 0 to 2^31 − 1 and then from 0 again.

/// How many there are before they repeat.
const ROUND: u64 = 1 << 31;

/// The 64-bit number that this sequence stands for: of all that it could stand for, the one nearest to `near`.
/// `None` for a negative sequence, which is none.
pub(crate) fn unwrapped(sequence: i32, near: u64) -> Option<u64> {
    let sequence = u64::try_from(sequence).ok()?;
    let ahead = sequence.wrapping_sub(near) % ROUND;
    Some(if ahead <= ROUND / 2 {
        near + ahead
    } else {
        (near + ahead).checked_sub(ROUND).unwrap_or(near + ahead)
    })
}

/// Where counting starts: one round up, so that what comes a little late still has a number.
pub(crate) fn first(sequence: i32) -> Option<u64> {
    u64::try_from(sequence).ok().map(|sequence| sequence + ROUND)
}

/// Whether `a` comes before `b`, going round the shorter way.
pub(crate) fn is_before(a: i32, b: i32) -> bool {
    a != b && u64::from((b.wrapping_sub(a) as u32) & (u32::MAX >> 1)) < ROUND / 2
}

#[cfg(test)]
mod tests {
    use super::{ROUND, first, is_before, unwrapped};

    #[test]
    fn the_nearest_number_is_meant() {
        let start = first(i32::MAX - 1).expect("not negative");
        assert_eq!(unwrapped(i32::MAX, start), Some(start + 1));
        assert_eq!(unwrapped(0, start), Some(start + 2));
        assert_eq!(unwrapped(i32::MAX - 5, start), Some(start - 4));
        assert_eq!(unwrapped(i32::MAX, start + 2), Some(start + 1));
        assert_eq!(unwrapped(-1, start), None);
        assert_eq!(unwrapped(7, 3 * ROUND + 5), Some(3 * ROUND + 7));
    }

    #[test]
    fn before_goes_round() {
        assert!(is_before(1, 2) && !is_before(2, 1) && !is_before(2, 2));
        assert!(is_before(i32::MAX, 0) && !is_before(0, i32::MAX));
        assert!(is_before(i32::MAX - 3, 4));
    }
}
