//! The greeting that makes a connection a link: 16 bytes each way on the control stream.
//!
//! `MRDN`, version `u16`, site id `u16`, nonce `u64`, all big-endian. The nonce is drawn at each process start: it tells a
//! site that dials again from a second process that claims the same id. The dialing end speaks first; the answer is the
//! other end's word that it has checked the certificate and keeps this connection.

/// Bytes of a greeting.
pub(crate) const HELLO_BYTES: usize = 16;
const MAGIC: [u8; 4] = *b"MRDN";
/// The version of everything in this room that both ends must agree on.
const VERSION: u16 = 1;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) site: u16,
    pub(crate) nonce: u64,
}

impl Hello {
    pub(crate) fn encode(self) -> [u8; HELLO_BYTES] {
        let mut bytes = [0; HELLO_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&VERSION.to_be_bytes());
        bytes[6..8].copy_from_slice(&self.site.to_be_bytes());
        bytes[8..].copy_from_slice(&self.nonce.to_be_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: [u8; HELLO_BYTES]) -> Result<Self, String> {
        let [m0, m1, m2, m3, v0, v1, s0, s1, nonce @ ..] = bytes;
        if [m0, m1, m2, m3] != MAGIC {
            return Err("the greeting is not Meridian's".to_owned());
        }
        match u16::from_be_bytes([v0, v1]) {
            VERSION => Ok(Self { site: u16::from_be_bytes([s0, s1]), nonce: u64::from_be_bytes(nonce) }),
            other => Err(format!(
                "it speaks link version {other}, this site version {VERSION}; run the same release"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Hello;

    #[test]
    fn the_bytes_are_these_for_ever() {
        let hello = Hello { site: 0x0102, nonce: 0x0304_0506_0708_090A };
        let golden = [b'M', b'R', b'D', b'N', 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
        assert_eq!(hello.encode(), golden);
        assert_eq!(Hello::decode(golden), Ok(hello));
    }

    #[test]
    fn another_magic_or_version_is_refused() {
        let good = Hello { site: 1, nonce: 2 }.encode();
        for at in 0..6 {
            let mut bad = good;
            bad[at] ^= 1;
            assert!(Hello::decode(bad).is_err());
        }
    }
}
