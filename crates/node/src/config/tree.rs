//! Values with the place each was said at, before they have types.
//!
//! A TOML library's own deserializer forgets lines once overrides are laid over a file, and reports a wrong key before
//! anyone can suggest a right one. So the parsed document is turned into this small tree first.

use std::collections::BTreeMap;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::error::{ConfigError, Place};

/// A value and where it was said.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// What was said.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Table(BTreeMap<String, Node>),
    Array(Vec<Node>),
    Text(String),
    Integer(i64),
    Bool(bool),
    /// An override's text: what it is depends on what is expected of it.
    Raw(String),
    /// A kind of TOML value that no key takes.
    Other(&'static str),
}

impl Value {
    /// How messages name the kind.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Table(_) => "a table",
            Value::Array(_) => "a list",
            Value::Text(_) | Value::Raw(_) => "a text",
            Value::Integer(_) => "a number",
            Value::Bool(_) => "true or false",
            Value::Other(kind) => kind,
        }
    }
}

/// The tree of a TOML text.
pub(super) fn parse(path: &Path, text: &str) -> Result<Node, ConfigError> {
    let lines = Lines { path, text };
    let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
        place: lines.place(error.span().map_or(0, |span| span.start)),
        reason: error.message().trim().replace('\n', ", "),
    })?;
    let place = lines.place(0);
    Ok(Node { place, value: lines.table(table.get_ref()) })
}

/// Finds lines.
struct Lines<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Lines<'_> {
    fn place(&self, offset: usize) -> Place {
        let before = self.text.as_bytes().iter().take(offset);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        Place::Line { path: self.path.to_owned(), line }
    }

    fn table(&self, table: &DeTable<'_>) -> Value {
        let entry = |(key, value): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| {
            let node = Node { place: self.place(key.span().start), ..self.node(value) };
            (key.get_ref().clone().into_owned(), node)
        };
        Value::Table(table.iter().map(entry).collect())
    }

    fn node(&self, value: &Spanned<DeValue<'_>>) -> Node {
        let place = self.place(value.span().start);
        let value = match value.get_ref() {
            DeValue::Table(table) => self.table(table),
            DeValue::Array(items) => Value::Array(items.iter().map(|item| self.node(item)).collect()),
            DeValue::String(text) => Value::Text(text.clone().into_owned()),
            DeValue::Boolean(yes) => Value::Bool(*yes),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::Integer(number),
                Err(_) => Value::Other("a number beyond 64 bits"),
            },
            DeValue::Float(_) => Value::Other("a number with a fraction"),
            DeValue::Datetime(_) => Value::Other("a date"),
        };
        Node { place, value }
    }
}
