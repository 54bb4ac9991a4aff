//! Environment variables and flags, laid over the file.
//!
//! `MERIDIAN_LISTEN__HTTP=127.0.0.1:9700` and `--set listen.http=127.0.0.1:9700` say the same. Members and homes are
//! reached by number from 0 (`members.1.peer`). A value is plain text and becomes what its key expects; a list is separated
//! by commas.

use std::collections::BTreeMap;

use super::error::{ConfigError, Place};
use super::tree::{Node, Value};

const PREFIX: &str = "MERIDIAN_";
const SEPARATOR: &str = "__";

/// Lays every `MERIDIAN_A__B=value` over the tree.
///
/// A variable with the prefix but without the separator addresses no key: those belong to the commands (`MERIDIAN_CONFIG`).
pub(super) fn environment(
    root: &mut Node,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<(), ConfigError> {
    for (variable, text) in variables {
        let Some(path) = variable.strip_prefix(PREFIX).filter(|path| path.contains(SEPARATOR)) else {
            continue;
        };
        let mut path: Vec<String> = path.split(SEPARATOR).map(str::to_ascii_lowercase).collect();
        if let [section, name] = path.as_mut_slice()
            && section == "dial"
        {
            // Names of sites have dashes, which the names of variables cannot have.
            *name = name.replace('_', "-");
        }
        let place = Place::Environment(variable);
        lay(root, &path, Node { place, value: Value::Raw(text) })?;
    }
    Ok(())
}

/// Lays every `a.b=value` over the tree.
pub(super) fn flags(root: &mut Node, flags: impl IntoIterator<Item = String>) -> Result<(), ConfigError> {
    for flag in flags {
        let Some((key, text)) = flag.split_once('=') else {
            let reason = "an override has the form section.key=value".to_owned();
            return Err(ConfigError::Override { place: Place::Flag(flag), reason });
        };
        let path: Vec<String> = key.split('.').map(str::to_owned).collect();
        let place = Place::Flag(key.to_owned());
        lay(root, &path, Node { place, value: Value::Raw(text.to_owned()) })?;
    }
    Ok(())
}

/// Puts a node at a path, making the tables on the way.
fn lay(root: &mut Node, path: &[String], node: Node) -> Result<(), ConfigError> {
    let Some((step, rest)) = path.split_first() else {
        *root = node;
        return Ok(());
    };
    let place = node.place.clone();
    match &mut root.value {
        Value::Table(entries) => {
            let empty = || Node { place, value: Value::Table(BTreeMap::new()) };
            lay(entries.entry(step.clone()).or_insert_with(empty), rest, node)
        }
        Value::Array(items) => {
            let count = items.len();
            match step.parse().ok().and_then(|at: usize| items.get_mut(at)) {
                Some(item) => lay(item, rest, node),
                None => {
                    let last = count.saturating_sub(1);
                    let reason = format!("`{step}` is none of the {count} in the file, numbered 0 to {last}");
                    Err(ConfigError::Override { place, reason })
                }
            }
        }
        _ => {
            Err(ConfigError::Override { place, reason: format!("there is nothing below that for `{step}`") })
        }
    }
}
