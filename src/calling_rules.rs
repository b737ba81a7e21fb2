//! The rules for calls that this server places: when a number may be called, and on whose consent.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::phone_number::{PhoneNumber, find_time_zones};
use crate::redact::Private;

/// The longest kind or reference of a consent, in bytes.
const MAX_TEXT_BYTES: usize = 128;

/// `Compliance.outbound.callingHours`: when numbers may be called, by the clock of the person who is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallingHours {
    /// The first hour of the day, 0 to 23.
    pub from: u32,
    /// The hour at which it ends, 1 to 24.
    pub until: u32,
}

/// Why a number is not called now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallingHoursError {
    /// It is too early or too late there.
    #[error(
        "it is {time} in {zone}, and Compliance.outbound.callingHours are {from}:00 to {until}:00 there: send the order again \
         then"
    )]
    Outside {
        /// The time of day there.
        time: String,
        /// The time zone.
        zone: String,
        /// The hours.
        from: u32,
        /// Their end.
        until: u32,
    },
    /// The zone of the order is none.
    #[error("properties.timeZone is no time zone of the IANA database, such as \"America/New_York\"")]
    UnknownZone,
    /// Nobody knows which time it is there.
    #[error(
        "the time zone of this phoneNumber is not known, and Compliance.outbound.callingHours are set: give it as \
         properties.timeZone, such as \"Asia/Bangkok\""
    )]
    NoZone,
}

impl CallingHours {
    /// Checks that a number may be called now: in the time zone of the order, else in every time zone that the number may be in.
    pub(crate) fn check(
        self,
        number: &PhoneNumber,
        zone: Option<&str>,
        now: Timestamp,
    ) -> Result<(), CallingHoursError> {
        let Self { from, until } = self;
        let zones = zone.map_or_else(|| find_time_zones(number).to_vec(), |zone| vec![zone]);
        if zones.is_empty() {
            return Err(CallingHoursError::NoZone);
        }
        for name in zones {
            let there = now.to_zoned(TimeZone::get(name).map_err(|_| CallingHoursError::UnknownZone)?);
            let hour = u32::try_from(there.hour()).unwrap_or_default();
            if hour < from || hour >= until {
                let (time, zone) = (there.strftime("%H:%M").to_string(), name.to_owned());
                return Err(CallingHoursError::Outside { time, zone, from, until });
            }
        }
        Ok(())
    }
}

/// The consent to be called that an order names.
#[derive(Debug, Clone)]
pub(crate) struct CallConsent {
    /// How it was given, such as `web-form`.
    pub(crate) kind: String,
    /// When.
    pub(crate) at: Timestamp,
    /// The business's name for its proof.
    pub(crate) reference: Private<String>,
}

/// Why a consent is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "properties.consent must be {{\"kind\": …, \"at\": …, \"reference\": …}}: how it was given, a timestamp in the past such as \
     \"2026-11-01T09:30:00Z\", and your name for the proof of it; each a string of 1 to {MAX_TEXT_BYTES} bytes"
)]
pub(crate) struct ParseConsentError;

impl CallConsent {
    /// Parses a consent, which was given before `now`.
    pub(crate) fn parse(value: &Value, now: Timestamp) -> Result<Self, ParseConsentError> {
        let members = value.as_object().filter(|members| members.len() == 3).ok_or(ParseConsentError)?;
        let text = |name: &str| {
            let text = members.get(name).and_then(Value::as_str);
            text.filter(|text| (1..=MAX_TEXT_BYTES).contains(&text.trim().len())).ok_or(ParseConsentError)
        };
        let at: Timestamp = text("at")?.parse().map_err(|_| ParseConsentError)?;
        if at > now {
            return Err(ParseConsentError);
        }
        Ok(Self { kind: text("kind")?.to_owned(), at, reference: Private::new(text("reference")?.to_owned()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const HOURS: CallingHours = CallingHours { from: 8, until: 21 };

    fn check(number: &str, zone: Option<&str>, now: &str) -> Result<(), CallingHoursError> {
        HOURS.check(&number.parse().unwrap(), zone, now.parse().unwrap())
    }

    fn zone_of_refusal(number: &str, now: &str) -> Option<String> {
        match check(number, None, now) {
            Err(CallingHoursError::Outside { zone, .. }) => Some(zone),
            Ok(()) => None,
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn the_zone_of_the_order_decides() {
        for (now, is_allowed) in [
            ("2026-11-28T12:59:00Z", false),
            ("2026-11-28T13:00:00Z", true),
            ("2026-11-29T01:59:00Z", true),
            ("2026-11-29T02:00:00Z", false),
        ] {
            assert_eq!(check("+15550100001", Some("America/New_York"), now).is_ok(), is_allowed, "{now}");
        }
        let summer = check("+15550100001", Some("America/New_York"), "2026-07-01T12:00:00Z");
        assert_eq!(summer, Ok(()), "an hour earlier in summer");
        assert_eq!(
            check("+15550100001", Some("Mars/Olympus"), "2026-11-28T13:00:00Z"),
            Err(CallingHoursError::UnknownZone)
        );
        let late = check("+4930123456", Some("Europe/Berlin"), "2026-11-28T20:05:00Z").unwrap_err();
        assert!(late.to_string().starts_with("it is 21:05 in Europe/Berlin, and"), "{late}");
    }

    #[test]
    fn without_a_zone_it_has_to_be_time_wherever_the_number_may_be() {
        // From Newfoundland to Hawaii.
        assert_eq!(zone_of_refusal("+12125550100", "2026-11-28T17:00:00Z").as_deref(), Some("Pacific/Honolulu"));
        assert_eq!(zone_of_refusal("+12125550100", "2026-11-28T18:30:00Z"), None);
        assert_eq!(zone_of_refusal("+12125550100", "2026-11-29T00:30:00Z").as_deref(), Some("America/St_Johns"));
        // Area codes of one zone.
        assert_eq!(zone_of_refusal("+18085550100", "2026-11-29T06:30:00Z"), None);
        assert_eq!(zone_of_refusal("+17875550100", "2026-11-28T13:00:00Z"), None);
        assert_eq!(zone_of_refusal("+4930123456", "2026-11-28T07:00:00Z"), None);
        assert_eq!(zone_of_refusal("+4930123456", "2026-11-28T06:59:00Z").as_deref(), Some("Europe/Berlin"));
        assert_eq!(check("+6621234567", None, "2026-11-28T07:00:00Z"), Err(CallingHoursError::NoZone));
        assert_eq!(check("+6621234567", Some("Asia/Bangkok"), "2026-11-28T07:00:00Z"), Ok(()));
    }

    #[test]
    fn a_consent_has_a_kind_a_time_in_the_past_and_a_reference() {
        let now = "2026-11-28T12:00:00Z".parse().unwrap();
        let given = json!({"kind": "web-form", "at": "2026-11-01T09:30:00Z", "reference": "form-17"});
        let consent = CallConsent::parse(&given, now).unwrap();
        assert_eq!((consent.kind.as_str(), consent.reference.reveal().as_str()), ("web-form", "form-17"));
        assert_eq!(consent.at.to_string(), "2026-11-01T09:30:00Z");
        for (member, value) in [
            ("kind", json!("")),
            ("kind", json!(7)),
            ("reference", json!(" ")),
            ("reference", json!("x".repeat(129))),
            ("at", json!("yesterday")),
            ("at", json!("2026-11-28T12:00:01Z")),
            ("more", json!("x")),
        ] {
            let mut wrong = given.clone();
            wrong[member] = value;
            assert!(CallConsent::parse(&wrong, now).is_err(), "{wrong}");
        }
        for wrong in [json!(true), json!({}), json!({"kind": "x", "at": "2026-11-01T09:30:00Z"})] {
            assert!(CallConsent::parse(&wrong, now).is_err(), "{wrong}");
        }
    }
}
