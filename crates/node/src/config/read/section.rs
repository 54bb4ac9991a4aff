//! One table of the file while it is read.
//!
//! A section is opened with the list of its keys and refuses others at once, so that a mistyped key is reported as such
//! and not as the absence of the right one.

use std::collections::BTreeMap;

use crate::config::error::{ConfigError, Place};
use crate::config::tree::{Node, Value};

/// A table, and how messages name it.
pub(super) struct Section<'a> {
    place: Place,
    path: String,
    entries: Option<&'a BTreeMap<String, Node>>,
}

/// Two keys this alike are taken for one mistyped (1 = equal).
const LIKENESS_MIN: f64 = 0.75;

impl<'a> Section<'a> {
    pub(super) fn root(node: &'a Node, known: &[&str]) -> Result<Section<'a>, ConfigError> {
        Section::open(node, String::new(), known)
    }

    fn open(node: &'a Node, path: String, known: &[&str]) -> Result<Section<'a>, ConfigError> {
        let section = Section::of(node, path)?;
        match section.entries.into_iter().flatten().find(|(key, _)| !known.contains(&key.as_str())) {
            None => Ok(section),
            Some((key, node)) => Err(ConfigError::UnknownKey {
                place: node.place.clone(),
                key: section.key(key),
                hint: hint(key, known),
            }),
        }
    }

    fn of(node: &'a Node, path: String) -> Result<Section<'a>, ConfigError> {
        let place = node.place.clone();
        match &node.value {
            Value::Table(entries) => Ok(Section { place, path, entries: Some(entries) }),
            other => Err(ConfigError::Value {
                place,
                key: path,
                reason: format!("must be a table, not {}", other.kind()),
            }),
        }
    }

    fn absent(&self, key: &str) -> Section<'a> {
        Section { place: self.place.clone(), path: self.key(key), entries: None }
    }

    /// The path of a key of this table.
    fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn node(&self, key: &str) -> Option<&'a Node> {
        self.entries.and_then(|entries| entries.get(key))
    }

    fn missing(&self, key: &str) -> ConfigError {
        ConfigError::Missing { place: self.place.clone(), key: self.key(key) }
    }

    /// A table that may be left out.
    pub(super) fn table(&self, key: &str, known: &[&str]) -> Result<Section<'a>, ConfigError> {
        match self.node(key) {
            Some(node) => Section::open(node, self.key(key), known),
            None => Ok(self.absent(key)),
        }
    }

    /// A table that must be there.
    pub(super) fn need_table(&self, key: &str, known: &[&str]) -> Result<Section<'a>, ConfigError> {
        self.node(key).ok_or_else(|| self.missing(key))?;
        self.table(key, known)
    }

    /// A table whose keys are names, and which may be left out.
    pub(super) fn named_table(&self, key: &str) -> Result<Section<'a>, ConfigError> {
        self.node(key).map_or_else(|| Ok(self.absent(key)), |node| Section::of(node, self.key(key)))
    }

    /// The keys of this table.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.entries.into_iter().flatten().map(|(key, _)| key.as_str())
    }

    /// A list of tables, at least one.
    pub(super) fn tables(&self, key: &str, known: &[&str]) -> Result<Vec<Section<'a>>, ConfigError> {
        let node = self.node(key).ok_or_else(|| self.missing(key))?;
        let Value::Array(items) = &node.value else {
            let reason = format!("must be a list of tables, each under [[{key}]], not {}", node.value.kind());
            return Err(ConfigError::Value { place: node.place.clone(), key: self.key(key), reason });
        };
        if items.is_empty() {
            return Err(self.missing(key));
        }
        let open = |(at, item)| Section::open(item, format!("{}[{at}]", self.key(key)), known);
        items.iter().enumerate().map(open).collect()
    }

    /// A value that may be left out.
    pub(super) fn get<T>(
        &self,
        key: &str,
        take: impl Fn(&Value) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(node) = self.node(key) else { return Ok(None) };
        let refuse = |reason| ConfigError::Value { place: node.place.clone(), key: self.key(key), reason };
        take(&node.value).map(Some).map_err(refuse)
    }

    /// A value with a default.
    pub(super) fn or<T>(
        &self,
        key: &str,
        default: T,
        take: impl Fn(&Value) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        Ok(self.get(key, take)?.unwrap_or(default))
    }

    /// A value that must be there.
    pub(super) fn need<T>(
        &self,
        key: &str,
        take: impl Fn(&Value) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        self.get(key, take)?.ok_or_else(|| self.missing(key))
    }
}

fn hint(wrong: &str, known: &[&str]) -> String {
    let likeness = |key: &&str| strsim::jaro_winkler(wrong, key);
    let best = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match best.filter(|key| likeness(key) >= LIKENESS_MIN) {
        Some(key) => format!("did you mean `{key}`?"),
        None => format!("there are {}", known.join(", ")),
    }
}
