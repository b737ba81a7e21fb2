//! From when on payments are meant: a day, a moment, or so long ago.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// A text that is no such time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a time is a day in UTC (2026-11-01), a moment (2026-11-01T08:30:00Z), or how long ago (30m, 24h, 7d)")]
pub struct BadSince;

/// Reads a time as people write it.
pub fn since(text: &str, now: Timestamp) -> Result<Timestamp, BadSince> {
    let text = text.trim();
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    if let Ok(day) = text.parse::<Date>() {
        return day.to_zoned(TimeZone::UTC).map(|day| day.timestamp()).map_err(|_| BadSince);
    }
    let unit = text.chars().next_back().ok_or(BadSince)?;
    let minutes = match unit {
        'm' => 1,
        'h' => 60,
        'd' => 24 * 60,
        _ => return Err(BadSince),
    };
    let count: u32 = text[..text.len() - 1].parse().map_err(|_| BadSince)?;
    let ago = SignedDuration::from_mins(i64::from(count) * minutes);
    now.checked_sub(ago).map_err(|_| BadSince)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Option<String> {
        let now = "2026-11-22T12:00:00Z".parse().unwrap();
        since(text, now).ok().map(|since| since.to_string())
    }

    #[test]
    fn days_moments_and_so_long_ago_are_read() {
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
