//! Points in time, as an operator writes them.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// The text is not a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a date in UTC (2026-11-01), a timestamp (2026-11-01T08:30:00Z), or a duration ago (30m, 24h, 7d)")]
pub struct ParseSinceError;

/// Parses `--since`, `--at` and `?since=`: a date, a timestamp or a duration ago.
pub fn parse_since(text: &str, now: Timestamp) -> Result<Timestamp, ParseSinceError> {
    let text = text.trim();
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    if let Ok(day) = text.parse::<Date>() {
        return day.to_zoned(TimeZone::UTC).map(|day| day.timestamp()).map_err(|_| ParseSinceError);
    }
    let unit = text.chars().next_back().ok_or(ParseSinceError)?;
    let minutes = match unit {
        'm' => 1,
        'h' => 60,
        'd' => 24 * 60,
        _ => return Err(ParseSinceError),
    };
    let count: u32 = text[..text.len() - 1].parse().map_err(|_| ParseSinceError)?;
    let ago = SignedDuration::from_mins(i64::from(count) * minutes);
    now.checked_sub(ago).map_err(|_| ParseSinceError)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Option<String> {
        let now = "2026-11-22T12:00:00Z".parse().unwrap();
        parse_since(text, now).ok().map(|since| since.to_string())
    }

    #[test]
    fn dates_timestamps_and_durations_ago_are_parsed() {
        for (text, moment) in [
            ("2026-11-01", "2026-11-01T00:00:00Z"),
            ("2026-11-01T08:30:00+02:00", "2026-11-01T06:30:00Z"),
            (" 24h ", "2026-11-21T12:00:00Z"),
            ("7d", "2026-11-15T12:00:00Z"),
            ("30m", "2026-11-22T11:30:00Z"),
        ] {
            assert_eq!(read(text).as_deref(), Some(moment), "{text}");
        }
        for text in ["", "h", "-1h", "1.5h", "yesterday", "2026-13-01", "24", "24w", "4294967295d"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,12}|[0-9]{1,12}[mhdé]") {
            read(&text);
        }
    }
}
