//! What a value can be. Each of these says in the rest of a sentence ("must be …, not …") why it is not.
//!
//! Overrides come as raw text and are read as whatever their key expects.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::config::tree::{Node, Value};

/// Longest name of a site or home: it prefixes names of topics, which end at 249.
const NAME_BYTES_MAX: usize = 32;

fn not(expected: impl Display, value: &Value) -> String {
    match value {
        Value::Text(text) | Value::Raw(text) => format!("must be {expected}, not \"{text}\""),
        Value::Integer(number) => format!("must be {expected}, not {number}"),
        Value::Bool(yes) => format!("must be {expected}, not {yes}"),
        other => format!("must be {expected}, not {}", other.kind()),
    }
}

/// Any text but the empty one.
pub(super) fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::Text(text) | Value::Raw(text) if !text.is_empty() => Ok(text.clone()),
        other => Err(not("a text", other)),
    }
}

/// `true` or `false`.
pub(super) fn flag(value: &Value) -> Result<bool, String> {
    match value {
        Value::Bool(yes) => Ok(*yes),
        Value::Raw(text) => text.parse().map_err(|_| not("true or false", value)),
        other => Err(not("true or false", other)),
    }
}

/// A whole number within a range.
pub(super) fn whole<T: TryFrom<i64>>(range: RangeInclusive<i64>) -> impl Fn(&Value) -> Result<T, String> {
    move |value| {
        let number = match value {
            Value::Integer(number) => Some(*number),
            Value::Raw(text) => text.replace('_', "").parse().ok(),
            _ => None,
        };
        let fits = number.filter(|number| range.contains(number)).and_then(|number| T::try_from(number).ok());
        fits.ok_or_else(|| not(format_args!("a number from {} to {}", range.start(), range.end()), value))
    }
}

/// One of a few words.
pub(super) fn choice<T: Copy>(words: &[(&str, T)]) -> impl Fn(&Value) -> Result<T, String> {
    let words: Vec<(String, T)> =
        words.iter().map(|(word, meaning)| ((*word).to_owned(), *meaning)).collect();
    move |value| {
        let said = match value {
            Value::Text(text) | Value::Raw(text) => words.iter().find(|(word, _)| word == text),
            _ => None,
        };
        let expected =
            || words.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ");
        said.map(|(_, meaning)| *meaning).ok_or_else(|| not(expected(), value))
    }
}

/// A text of a form that its type knows.
pub(super) fn parsed<T: FromStr>(form: &'static str) -> impl Fn(&Value) -> Result<T, String> {
    move |value| match value {
        Value::Text(text) | Value::Raw(text) => text.parse().map_err(|_| not(form, value)),
        other => Err(not(form, other)),
    }
}

/// The name of a site or of a home.
pub(super) fn site_name(value: &Value) -> Result<String, String> {
    const FORM: &str = "a name: 1 to 32 of a-z, 0-9 and '-', with a letter or digit at both ends";
    let is_plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    match value {
        Value::Text(text) | Value::Raw(text) => {
            let bytes = text.as_bytes();
            let ends = [bytes.first(), bytes.last()].into_iter().all(|end| end.is_some_and(is_plain));
            let within = bytes.len() <= NAME_BYTES_MAX && bytes.iter().all(|b| is_plain(b) || *b == b'-');
            if ends && within { Ok(text.clone()) } else { Err(not(FORM, value)) }
        }
        other => Err(not(FORM, other)),
    }
}

/// A host without a port.
pub(super) fn host(value: &Value) -> Result<String, String> {
    const FORM: &str = "a host name or IP address, without a port";
    match value {
        Value::Text(text) | Value::Raw(text) if is_host(text) => Ok(text.clone()),
        other => Err(not(FORM, other)),
    }
}

/// A host and a port; an IPv6 address stands in brackets.
pub(super) fn host_port(value: &Value) -> Result<String, String> {
    const FORM: &str = "a host and a port, such as eu-west.example.com:7400";
    match value {
        Value::Text(text) | Value::Raw(text) => {
            let parts = text.rsplit_once(':');
            let bare = |host: &str| {
                host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).map(str::to_owned)
            };
            let right = parts.is_some_and(|(host, port)| {
                let host_is_right = bare(host).map_or_else(
                    || is_host(host) && !host.contains(':'),
                    |host| host.parse::<std::net::Ipv6Addr>().is_ok(),
                );
                host_is_right && port.parse::<u16>().is_ok_and(|port| port != 0)
            });
            if right { Ok(text.clone()) } else { Err(not(FORM, value)) }
        }
        other => Err(not(FORM, other)),
    }
}

fn is_host(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    let is_name = !text.is_empty() && text.len() <= 253 && text.bytes().all(plain);
    is_name || text.parse::<std::net::IpAddr>().is_ok()
}

/// A list of texts; an override separates them by commas.
pub(super) fn list(value: &Value) -> Result<Vec<String>, String> {
    const FORM: &str = "a list of texts";
    let item = |node: &Node| match &node.value {
        Value::Text(text) => Ok(text.clone()),
        other => Err(not(FORM, other)),
    };
    match value {
        Value::Array(items) => items.iter().map(item).collect(),
        Value::Raw(text) => Ok(text.split(',').map(|item| item.trim().to_owned()).collect()),
        other => Err(not(FORM, other)),
    }
}
