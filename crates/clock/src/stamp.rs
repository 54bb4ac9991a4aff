//! A stamp: one reading of a hybrid logical clock, as a number that orders.
//!
//! Layout, the same as hlc-gen's: the upper 42 bits are milliseconds since 2024-01-01T00:00:00Z, the lower 22 bits a
//! counter within that millisecond. There is no arithmetic on stamps on purpose: adding to one would wrap silently
//! into the other half.

use std::fmt;

use serde::{Deserialize, Serialize};

/// 2024-01-01T00:00:00Z in Unix milliseconds: where stamps begin.
pub(crate) const EPOCH_UNIX_MS: u64 = 1_704_067_200_000;
/// How many bits count within a millisecond.
const COUNTER_BITS: u32 = 22;
/// The largest counter within a millisecond.
pub(crate) const COUNTER_MAX: u64 = (1 << COUNTER_BITS) - 1;
/// The last millisecond that hlc-gen can stamp (it compares *Unix* milliseconds with 42 bits): 2109-05-15.
pub(crate) const UNIX_MS_MAX: u64 = (1 << 42) - 1;

/// One reading of a hybrid logical clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp(u64);

impl Stamp {
    /// Below every stamp that is ever given.
    pub const ZERO: Stamp = Stamp(0);
    /// Above every stamp that is ever given.
    pub const MAX: Stamp = Stamp(u64::MAX);

    /// The stamp with these bits; every number is one.
    #[must_use]
    pub const fn from_raw(raw: u64) -> Stamp {
        Stamp(raw)
    }

    /// The bits, as they stand in formats (big-endian there).
    #[must_use]
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// The first stamp of a millisecond. Times before 2024 give [`Stamp::ZERO`]; times past what 42 bits hold give
    /// the first stamp of their last millisecond.
    #[must_use]
    pub const fn from_unix_ms(unix_ms: u64) -> Stamp {
        let ms = unix_ms.saturating_sub(EPOCH_UNIX_MS);
        let ms = if ms > UNIX_MS_MAX { UNIX_MS_MAX } else { ms };
        Stamp(ms << COUNTER_BITS)
    }

    /// The millisecond it lies in.
    #[must_use]
    pub const fn unix_ms(self) -> u64 {
        EPOCH_UNIX_MS + (self.0 >> COUNTER_BITS)
    }

    /// Which of its millisecond's stamps it is.
    #[must_use]
    pub const fn counter(self) -> u64 {
        self.0 & COUNTER_MAX
    }

    /// The largest stamp below this one; [`Stamp::ZERO`] has none and stays.
    #[must_use]
    pub const fn pred(self) -> Stamp {
        Stamp(self.0.saturating_sub(1))
    }
}

/// `2026-11-20T23:59:59.123Z+17`: the millisecond in UTC, then the counter.
impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unix_ms = self.unix_ms();
        let (second, ms) = (unix_ms / 1_000, unix_ms % 1_000);
        let (year, month, day) = civil_date(second / 86_400);
        let (hour, minute, second) = (second / 3_600 % 24, second / 60 % 60, second % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z+{}",
            self.counter()
        )
    }
}

/// The Gregorian date of a day counted from 1970-01-01, by counting in 400-year cycles that begin on 1 March, so that
/// the leap day is a year's last.
fn civil_date(unix_day: u64) -> (u64, u64, u64) {
    let day = unix_day + 719_468;
    let (cycle, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = cycle * 400 + year + u64::from(month <= 2);
    (year, month, day - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::{COUNTER_MAX, EPOCH_UNIX_MS, Stamp, civil_date};
    use hlc_gen::HlcTimestamp;
    use proptest::prelude::{any, proptest};

    #[test]
    fn reads_as_utc_with_the_counter() {
        let stamp = Stamp::from_raw(Stamp::from_unix_ms(1_795_219_199_123).raw() + 17);
        assert_eq!(stamp.to_string(), "2026-11-20T23:59:59.123Z+17");
        assert_eq!(Stamp::ZERO.to_string(), "2024-01-01T00:00:00.000Z+0");
        assert_eq!(Stamp::from_unix_ms(1_709_164_800_000).to_string(), "2024-02-29T00:00:00.000Z+0");
        assert_eq!(Stamp::MAX.to_string(), "2163-05-15T07:35:11.103Z+4194303");
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for unix_day in 0..80_000 {
            assert_eq!(civil_date(unix_day), (year, month, day));
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let last = match month {
                2 => 28 + u64::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > last {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
    }

    #[test]
    fn out_of_range_times_saturate() {
        assert_eq!(Stamp::from_unix_ms(0), Stamp::ZERO);
        assert_eq!(Stamp::from_unix_ms(EPOCH_UNIX_MS), Stamp::ZERO);
        assert_eq!(Stamp::from_unix_ms(u64::MAX).raw(), u64::MAX - COUNTER_MAX);
        assert_eq!(Stamp::ZERO.pred(), Stamp::ZERO);
        assert_eq!(Stamp::from_unix_ms(EPOCH_UNIX_MS + 1).pred().counter(), COUNTER_MAX);
    }

    proptest! {
        #[test]
        fn the_layout_is_that_of_hlc_gen(unix_ms in EPOCH_UNIX_MS..4_000_000_000_000u64, counter in 0..=COUNTER_MAX) {
            let theirs = HlcTimestamp::from_parts(i64::try_from(unix_ms).unwrap(), counter).unwrap();
            let ours = Stamp::from_raw(theirs.as_u64());
            assert_eq!((ours.unix_ms(), ours.counter()), (unix_ms, counter));
            assert_eq!(Stamp::from_unix_ms(unix_ms).raw() + counter, theirs.as_u64());
        }

        #[test]
        fn nothing_lies_between_a_stamp_and_its_predecessor(raw in any::<u64>()) {
            let stamp = Stamp::from_raw(raw);
            assert!(stamp == Stamp::ZERO || stamp.pred() < stamp);
            assert_eq!(Stamp::from_raw(stamp.pred().raw() + u64::from(raw > 0)), stamp);
        }
    }
}
