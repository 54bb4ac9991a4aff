//! Places to start reading at.

use std::time::{SystemTime, UNIX_EPOCH};

use client::{Client, Isolation, Position};

/// `--from`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    Beginning,
    End,
    Offset(i64),
    /// Unix milliseconds.
    Time(i64),
    /// So many milliseconds back from now.
    Ago(i64),
}

impl From {
    pub(super) fn parse(text: &str) -> Result<From, String> {
        let place = match text {
            "beginning" => Some(From::Beginning),
            "end" => Some(From::End),
            _ => match (text.strip_prefix('@'), text.strip_prefix('-')) {
                (Some(time), _) => time.parse().ok().filter(|time| *time >= 0).map(From::Time),
                (_, Some(span)) => span_ms(span).map(From::Ago),
                _ => text.parse().ok().filter(|offset| *offset >= 0).map(From::Offset),
            },
        };
        place.ok_or_else(|| {
            "a place is beginning, end, an offset, @ and Unix milliseconds, or - and a span such as 30s, 10m, 2h".to_owned()
        })
    }

    /// As a position that a broker can look up; `None` for a plain offset.
    fn position(self) -> Option<Position> {
        match self {
            From::Beginning => Some(Position::Earliest),
            From::End => Some(Position::Latest),
            From::Offset(_) => None,
            From::Time(time_ms) => Some(Position::Time(time_ms)),
            From::Ago(span_ms) => Some(Position::Time(now_ms() - span_ms)),
        }
    }

    pub(super) fn for_group(self) -> anyhow::Result<Position> {
        let position = self.position();
        position
            .ok_or_else(|| anyhow::anyhow!("a group cannot start at an offset; use beginning, end or a time"))
    }

    pub(super) async fn offset(self, client: &Client, topic: &str, partition: i32) -> anyhow::Result<i64> {
        let position = match (self, self.position()) {
            (From::Offset(offset), _) => return Ok(offset),
            (_, position) => position.unwrap_or(Position::Earliest),
        };
        let found = client.list_offset(topic, partition, position, Isolation::default()).await?.offset;
        if found >= 0 {
            return Ok(found);
        }
        // Nothing is that young: what comes next will be.
        Ok(client.list_offset(topic, partition, Position::Latest, Isolation::default()).await?.offset)
    }
}

fn span_ms(text: &str) -> Option<i64> {
    let unit = text.chars().next_back()?;
    let unit_ms = match unit {
        's' => 1_000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => 86_400_000,
        _ => return None,
    };
    let count: i64 = text[..text.len() - 1].parse().ok().filter(|count| *count >= 0)?;
    count.checked_mul(unit_ms)
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::From;

    #[test]
    fn places_are_read() {
        for (text, place) in [
            ("beginning", From::Beginning),
            ("end", From::End),
            ("0", From::Offset(0)),
            ("17", From::Offset(17)),
            ("@1700000000000", From::Time(1_700_000_000_000)),
            ("-10m", From::Ago(600_000)),
            ("-2h", From::Ago(7_200_000)),
        ] {
            assert_eq!(From::parse(text), Ok(place), "{text}");
        }
        for wrong in ["", "start", "-5", "-m", "--5m", "@", "@-1", "-1ü", "99999999999999999999"] {
            assert!(From::parse(wrong).is_err(), "{wrong}");
        }
    }
}
