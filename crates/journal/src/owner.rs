//! The note in a data directory that says which process owns it.
//!
//! The lock itself is the operating system's and `node` takes it. Some file systems forget locks; so the owner also
//! leaves a nonce, reads it again from time to time, and stops when it finds another's. Text, for people to read.

use thiserror::Error;

/// Name of the file.
pub const FILE: &str = "owner";

const TITLE: &str = "meridian owner 1";

/// Who owns a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Drawn at random by the process when it started.
    pub nonce: u128,
    /// Its process id.
    pub process: u32,
    /// When it took the directory, in Unix milliseconds.
    pub since_ms: u64,
}

/// The file is not an owner's note.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("not an owner's note: remove the file if no process uses this directory")]
pub struct BadOwner;

impl Owner {
    /// The file's content.
    #[must_use]
    pub fn encode(&self) -> String {
        let Owner { nonce, process, since_ms } = self;
        format!("{TITLE}\nnonce {nonce:032x}\nprocess {process}\nsince_ms {since_ms}\n")
    }

    /// Reads the file's content.
    ///
    /// # Errors
    /// [`BadOwner`] if it is anything else.
    pub fn decode(text: &str) -> Result<Owner, BadOwner> {
        let mut lines = text.lines();
        if lines.next() != Some(TITLE) {
            return Err(BadOwner);
        }
        let mut value = |key: &str| {
            lines.next().and_then(|line| line.strip_prefix(key)?.strip_prefix(' ')).ok_or(BadOwner)
        };
        let nonce = u128::from_str_radix(value("nonce")?, 16).map_err(|_| BadOwner)?;
        let process = value("process")?.parse().map_err(|_| BadOwner)?;
        let since_ms = value("since_ms")?.parse().map_err(|_| BadOwner)?;
        Ok(Owner { nonce, process, since_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::{BadOwner, Owner};

    #[test]
    fn golden_text_and_back() {
        let owner = Owner { nonce: 0xab, process: 17, since_ms: 1_800_000_000_000 };
        let text =
            format!("meridian owner 1\nnonce {}ab\nprocess 17\nsince_ms 1800000000000\n", "0".repeat(30));
        assert_eq!(owner.encode(), text);
        assert_eq!(Owner::decode(&text), Ok(owner));
        for bad in ["", "meridian owner 2\n", &text[..40]] {
            assert_eq!(Owner::decode(bad), Err(BadOwner));
        }
    }
}
