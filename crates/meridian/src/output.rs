//! How answers look: for people by default, as JSON with `--json`.

use std::io::{self, Write as _};

use bytes::Bytes;
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

// The choice between the two, a part of every command that answers.
// (Not a doc comment: clap would let it replace the long help of every command that this is a part of.)
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Output {
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl Output {
    /// Prints an answer: this value, or this text.
    pub(crate) fn show(self, value: &impl Serialize, text: impl FnOnce() -> String) -> anyhow::Result<()> {
        if self.json { line(&serde_json::to_string_pretty(value)?) } else { print(&text()) }
    }
}

/// Prints a text that ends as it should.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Prints a line.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    print(&format!("{text}\n"))
}

/// Whether an error only says that nobody reads our output any more (`meridian … | head`).
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Bytes as JSON: the text they are, or else their hexadecimal form under a name that says so.
pub(crate) fn bytes_json(bytes: Option<&Bytes>) -> Value {
    match bytes.map(|bytes| (std::str::from_utf8(bytes), bytes)) {
        None => Value::Null,
        Some((Ok(text), _)) => json!(text),
        Some((Err(_), bytes)) => json!({ "hex": hex(bytes) }),
    }
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A number of things as people say it.
pub(crate) fn count(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

/// A number of bytes as people say it.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut amount = bytes as f64;
    while amount >= 1024.0 && unit + 1 < UNITS.len() {
        (amount, unit) = (amount / 1024.0, unit + 1);
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{amount:.1} {}", UNITS[unit]) }
}

/// A time span as people say it.
pub(crate) fn span(milliseconds: u64) -> String {
    match milliseconds {
        0..1_000 => format!("{milliseconds} ms"),
        1_000..60_000 => format!("{:.1} s", milliseconds as f64 / 1e3),
        60_000..3_600_000 => format!("{} min {} s", milliseconds / 60_000, milliseconds / 1_000 % 60),
        _ => format!("{} h {} min", milliseconds / 3_600_000, milliseconds / 60_000 % 60),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{bytes_json, count, size, span};

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 1023, 1536, 64 << 20].map(size), ["0 B", "1023 B", "1.5 KiB", "64.0 MiB"]);
        assert_eq!([0, 1, 2].map(|n| count(n, "log")), ["0 logs", "1 log", "2 logs"]);
        assert_eq!([12, 1_500, 61_000, 7_260_000].map(span), ["12 ms", "1.5 s", "1 min 1 s", "2 h 1 min"]);
    }

    #[test]
    fn bytes_are_text_or_say_that_they_are_not() {
        assert_eq!(bytes_json(None).to_string(), "null");
        assert_eq!(bytes_json(Some(&Bytes::from_static(b"a\"b"))).to_string(), r#""a\"b""#);
        assert_eq!(bytes_json(Some(&Bytes::from_static(b"\xff\x00"))).to_string(), r#"{"hex":"ff00"}"#);
    }
}
