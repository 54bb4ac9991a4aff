//! Why a configuration is refused: always the place, the key, and what to do.

use std::fmt;
use std::path::PathBuf;

/// Where something was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A line of the file, counted from 1.
    Line {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// An environment variable.
    Environment(String),
    /// A `--set` flag.
    Flag(String),
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Line { path, line } => write!(out, "{}:{line}", path.display()),
            Place::Environment(variable) => write!(out, "environment variable {variable}"),
            Place::Flag(key) => write!(out, "--set {key}"),
        }
    }
}

/// A configuration that is refused. The operator has to change it; trying again is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The file is not TOML.
    #[error("{place}: not TOML: {reason}")]
    Syntax {
        /// Where it stops making sense.
        place: Place,
        /// What the parser said.
        reason: String,
    },
    /// A key that does not exist.
    #[error("{place}: there is no key `{key}`; {hint}")]
    UnknownKey {
        /// Where it was said.
        place: Place,
        /// Its whole path.
        key: String,
        /// What was perhaps meant, or what there is.
        hint: String,
    },
    /// A key that must be there and is not.
    #[error("{place}: `{key}` is missing")]
    Missing {
        /// Where it belongs.
        place: Place,
        /// Its whole path.
        key: String,
    },
    /// A value that cannot be.
    #[error("{place}: `{key}` {reason}")]
    Value {
        /// Where it was said.
        place: Place,
        /// Its whole path.
        key: String,
        /// What is wrong, as the rest of a sentence.
        reason: String,
    },
    /// An override that is not one.
    #[error("{place}: {reason}")]
    Override {
        /// Which.
        place: Place,
        /// What is wrong, as a sentence.
        reason: String,
    },
    /// Values that contradict each other.
    #[error("{}: {sentence}", path.display())]
    Contradiction {
        /// The file.
        path: PathBuf,
        /// What contradicts what, and what to do.
        sentence: String,
    },
}
