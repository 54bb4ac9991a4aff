//! Which names a topic may have: Kafka's rules, and no member site's prefix.

use thiserror::Error;

/// Longest name in bytes; Kafka's limit, which keeps room in file names for what follows.
pub const NAME_BYTES_MAX: usize = 249;

/// Why a name is not one a topic may have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// Nothing, or too much.
    #[error("a topic's name has 1 to {NAME_BYTES_MAX} characters, not {0}")]
    Length(usize),
    /// `.` and `..` name folders.
    #[error("a topic cannot be named {0:?}")]
    Dots(String),
    /// Something but letters, digits, dot, underscore and hyphen.
    #[error("{found:?} cannot stand in a topic's name: letters, digits, '.', '_' and '-' can")]
    Character {
        /// What was found.
        found: char,
    },
    /// It would read as a site's origin log.
    #[error(
        "names that begin with {prefix:?} are those of the site's own origin logs, which cannot be created"
    )]
    Reserved {
        /// The site's name and a dot.
        prefix: String,
    },
}

/// Checks a name. `reserved` are prefixes that no topic may have: each member site's name with a dot.
///
/// # Errors
/// [`NameError`] says what is wrong with it.
pub fn check_name(name: &str, reserved: &[String]) -> Result<(), NameError> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(NameError::Length(name.chars().count()));
    }
    if name == "." || name == ".." {
        return Err(NameError::Dots(name.to_owned()));
    }
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if let Some(found) = name.chars().find(|c| !plain(c)) {
        return Err(NameError::Character { found });
    }
    match reserved.iter().find(|prefix| name.starts_with(prefix.as_str())) {
        Some(prefix) => Err(NameError::Reserved { prefix: prefix.clone() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{NAME_BYTES_MAX, NameError, check_name};

    #[test]
    fn names_follow_kafkas_rules() {
        let longest = "a".repeat(NAME_BYTES_MAX);
        for good in ["orders", "a", "...", "A_b-c.9", "__consumer_offsets", &longest] {
            assert_eq!(check_name(good, &[]), Ok(()), "{good}");
        }
        let too_long = "a".repeat(NAME_BYTES_MAX + 1);
        for bad in ["", ".", "..", "a b", "a/b", "ä", "a\0", &too_long] {
            assert!(check_name(bad, &[]).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn a_sites_prefix_is_reserved() {
        let reserved = ["eu-west.".to_owned()];
        let refused = NameError::Reserved { prefix: "eu-west.".to_owned() };
        assert_eq!(check_name("eu-west.orders", &reserved), Err(refused));
        assert_eq!(check_name("eu-western.orders", &reserved), Ok(()));
    }
}
