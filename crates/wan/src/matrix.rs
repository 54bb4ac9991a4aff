//! Round-trip times between regions, as published for a real cloud.
//!
//! The file lists each unordered pair once, under either name (`[rtt_ms.eu-west]` then `us-east = 69.5`): a matrix
//! that cannot be asymmetric by a slip of the pen. One way is taken to be half.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Round-trip times between named regions.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    /// Each pair under both orders.
    rtt_ms: BTreeMap<(String, String), f64>,
}

/// Why a matrix could not be read or asked.
#[derive(Debug, thiserror::Error)]
pub enum MatrixError {
    /// The file could not be read.
    #[error("cannot read the matrix {path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is not a matrix.
    #[error("not a round-trip matrix: {0}")]
    Parse(Box<toml::de::Error>),
    /// A time that no round trip takes.
    #[error(
        "round trip {from} to {to} is {rtt_ms} ms: give a time above 0, and none from a region to itself"
    )]
    Time {
        /// One region.
        from: String,
        /// The other.
        to: String,
        /// What the file says.
        rtt_ms: f64,
    },
    /// A pair is listed twice.
    #[error("the pair {from} and {to} is listed twice: list it once, under either name")]
    Twice {
        /// One region.
        from: String,
        /// The other.
        to: String,
    },
    /// A pair is not listed.
    #[error("no round trip between {from} and {to}: add it to the matrix")]
    Missing {
        /// One region.
        from: String,
        /// The other.
        to: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rtt_ms: BTreeMap<String, BTreeMap<String, f64>>,
}

impl Matrix {
    /// Reads a matrix file.
    ///
    /// # Errors
    /// If the file is missing or not a matrix.
    pub fn load(path: &Path) -> Result<Self, MatrixError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| MatrixError::Read { path: path.to_owned(), source })?;
        Self::parse(&text)
    }

    /// Reads a matrix from TOML text.
    ///
    /// # Errors
    /// If the text is not a matrix, or lists a pair twice or with an impossible time.
    pub fn parse(text: &str) -> Result<Self, MatrixError> {
        let file: File = toml::from_str(text).map_err(|error| MatrixError::Parse(Box::new(error)))?;
        let mut rtt_ms = BTreeMap::new();
        for (from, row) in file.rtt_ms {
            for (to, ms) in row {
                if from == to || !(ms > 0.0 && ms.is_finite()) {
                    return Err(MatrixError::Time { from, to, rtt_ms: ms });
                }
                rtt_ms.insert((to.clone(), from.clone()), ms);
                if rtt_ms.insert((from.clone(), to.clone()), ms).is_some() {
                    return Err(MatrixError::Twice { from, to });
                }
            }
        }
        Ok(Self { rtt_ms })
    }

    /// The same round trip between all: a LAN to compare with.
    pub fn uniform(names: &[&str], rtt_ms: f64) -> Self {
        let pairs = names.iter().flat_map(|from| names.iter().map(move |to| (*from, *to)));
        let apart = pairs.filter(|(from, to)| from != to);
        Self { rtt_ms: apart.map(|(from, to)| ((from.to_owned(), to.to_owned()), rtt_ms)).collect() }
    }

    /// The round trip between two regions; 0 to itself.
    ///
    /// # Errors
    /// If the matrix has no such pair.
    pub fn rtt_ms(&self, from: &str, to: &str) -> Result<f64, MatrixError> {
        if from == to {
            return Ok(0.0);
        }
        let missing = || MatrixError::Missing { from: from.to_owned(), to: to.to_owned() };
        self.rtt_ms.get(&(from.to_owned(), to.to_owned())).copied().ok_or_else(missing)
    }

    /// Half the round trip.
    ///
    /// # Errors
    /// If the matrix has no such pair.
    pub fn one_way_ms(&self, from: &str, to: &str) -> Result<f64, MatrixError> {
        self.rtt_ms(from, to).map(|rtt| rtt / 2.0)
    }

    /// All regions, in alphabetical order.
    pub fn regions(&self) -> Vec<&str> {
        self.rtt_ms.keys().map(|(from, _)| from.as_str()).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Matrix, MatrixError};

    #[test]
    fn a_pair_is_found_under_both_orders() {
        let matrix = Matrix::parse("[rtt_ms.a]\nb = 70\nc = 180.5").unwrap();
        assert_eq!(matrix.rtt_ms("a", "b").unwrap(), 70.0);
        assert_eq!(matrix.rtt_ms("b", "a").unwrap(), 70.0);
        assert_eq!(matrix.one_way_ms("c", "a").unwrap(), 90.25);
        assert_eq!(matrix.rtt_ms("b", "b").unwrap(), 0.0);
        assert_eq!(matrix.regions(), ["a", "b", "c"]);
        assert!(matches!(matrix.rtt_ms("b", "c"), Err(MatrixError::Missing { .. })));
    }

    #[test]
    fn slips_of_the_pen_are_refused() {
        assert!(matches!(
            Matrix::parse("[rtt_ms.a]\nb = 1\n[rtt_ms.b]\na = 1"),
            Err(MatrixError::Twice { .. })
        ));
        assert!(matches!(Matrix::parse("[rtt_ms.a]\na = 1"), Err(MatrixError::Time { .. })));
        assert!(matches!(Matrix::parse("[rtt_ms.a]\nb = -1"), Err(MatrixError::Time { .. })));
        assert!(matches!(Matrix::parse("[rtt.a]\nb = 1"), Err(MatrixError::Parse(_))));
    }
}
