//! Names of files inside a data directory: relative, plain, and unable to leave it.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// A relative path of plain parts joined by `/`; the empty name is the data directory itself.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName(Arc<str>);

/// A path that is not a plain relative name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is not a plain relative file name")]
pub struct BadName(pub String);

impl FileName {
    /// The data directory itself.
    #[must_use]
    pub fn root() -> FileName {
        FileName("".into())
    }

    /// Checks and takes `path`.
    ///
    /// # Errors
    /// [`BadName`] if a part is empty, `.` or `..`, or holds a NUL or a backslash.
    pub fn new(path: impl AsRef<str>) -> Result<FileName, BadName> {
        let path = path.as_ref();
        let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\0', '\\']);
        if path.split('/').all(plain) { Ok(FileName(path.into())) } else { Err(BadName(path.to_owned())) }
    }

    /// The name of `part` inside this folder. `part` may itself hold several parts.
    ///
    /// # Panics
    /// If `part` is not a plain name: parts come from code and from numbers, never from outside.
    #[must_use]
    pub fn join(&self, part: impl AsRef<str>) -> FileName {
        let part = FileName::new(part).expect("parts of a name are written by code");
        if self.0.is_empty() { part } else { FileName(format!("{}/{}", self.0, part.0).into()) }
    }

    /// The path, with `/` between its parts.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last part.
    #[must_use]
    pub fn last(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// Whether this name lies below `folder`.
    #[must_use]
    pub fn is_below(&self, folder: &FileName) -> bool {
        folder.0.is_empty() || self.0.strip_prefix(&*folder.0).is_some_and(|rest| rest.starts_with('/'))
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "." } else { &self.0 })
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::FileName;

    #[test]
    fn names_cannot_leave_the_data_directory() {
        for bad in ["", "/etc", "a//b", "../a", "a/..", "a/./b", "a\\b", "a\0"] {
            assert!(FileName::new(bad).is_err(), "{bad:?} was taken");
        }
        assert_eq!(FileName::root().join("wal").join("1.wal").as_str(), "wal/1.wal");
    }

    #[test]
    fn below_compares_whole_parts() {
        let name = FileName::new("wal/1.wal").unwrap();
        assert!(name.is_below(&FileName::new("wal").unwrap()));
        assert!(name.is_below(&FileName::root()));
        assert!(!name.is_below(&FileName::new("wa").unwrap()));
        assert_eq!(name.last(), "1.wal");
    }
}
