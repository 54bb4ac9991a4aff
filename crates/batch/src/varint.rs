//! Kafka's variable-length integers: zigzag, then seven bits a byte, the lowest first.

/// Appends one.
pub(crate) fn write(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Takes one off the front; `None` if it is cut short or has more than 64 bits.
pub(crate) fn read(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        if shift == 63 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{read, write};
    use proptest::prelude::{any, prop_assert_eq, proptest};

    #[test]
    fn golden_bytes() {
        for (value, bytes) in
            [(0, &[0][..]), (-1, &[1]), (1, &[2]), (63, &[0x7e]), (-65, &[0x81, 1]), (300, &[0xd8, 4])]
        {
            let mut out = Vec::new();
            write(&mut out, value);
            assert_eq!(out, bytes);
        }
    }

    #[test]
    fn no_more_than_64_bits() {
        assert_eq!(read(&mut &[0xff; 10][..]), None);
        assert_eq!(read(&mut &[0x80, 0x80][..]), None);
        assert_eq!(read(&mut &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2][..]), None);
    }

    proptest! {
        #[test]
        fn there_and_back(value in any::<i64>()) {
            let mut out = Vec::new();
            write(&mut out, value);
            let mut bytes = &out[..];
            prop_assert_eq!(read(&mut bytes), Some(value));
            prop_assert_eq!(bytes.len(), 0);
        }
    }
}
