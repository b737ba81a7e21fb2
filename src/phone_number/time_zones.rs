//! The time zones that a number may be in.
//!
//! A country is here with its westernmost and its easternmost zone: whoever is between them has a time of day between theirs.
//! Source: the IANA time zone database, `zone1970.tab`.

use super::PhoneNumber;

/// The beginnings of numbers, the longest first, with their zones.
const ZONES: &[(&str, &[&str])] = &[
    // Area codes of the North American numbering plan that are far from the others.
    ("+1684", &["Pacific/Pago_Pago"]),
    ("+1670", &["Pacific/Guam"]),
    ("+1671", &["Pacific/Guam"]),
    ("+1787", &["America/Puerto_Rico"]),
    ("+1939", &["America/Puerto_Rico"]),
    ("+1808", &["Pacific/Honolulu"]),
    ("+353", &["Europe/Dublin"]),
    ("+351", &["Atlantic/Azores", "Europe/Lisbon"]),
    ("+358", &["Europe/Helsinki"]),
    ("+420", &["Europe/Prague"]),
    ("+852", &["Asia/Hong_Kong"]),
    ("+971", &["Asia/Dubai"]),
    ("+972", &["Asia/Jerusalem"]),
    ("+27", &["Africa/Johannesburg"]),
    ("+30", &["Europe/Athens"]),
    ("+31", &["Europe/Amsterdam"]),
    ("+32", &["Europe/Brussels"]),
    ("+33", &["Europe/Paris"]),
    ("+34", &["Atlantic/Canary", "Europe/Madrid"]),
    ("+36", &["Europe/Budapest"]),
    ("+39", &["Europe/Rome"]),
    ("+40", &["Europe/Bucharest"]),
    ("+41", &["Europe/Zurich"]),
    ("+43", &["Europe/Vienna"]),
    ("+44", &["Europe/London"]),
    ("+45", &["Europe/Copenhagen"]),
    ("+46", &["Europe/Stockholm"]),
    ("+47", &["Europe/Oslo"]),
    ("+48", &["Europe/Warsaw"]),
    ("+49", &["Europe/Berlin"]),
    ("+52", &["America/Tijuana", "America/Cancun"]),
    ("+55", &["America/Rio_Branco", "America/Noronha"]),
    ("+61", &["Australia/Perth", "Australia/Sydney", "Australia/Lord_Howe"]),
    ("+64", &["Pacific/Auckland", "Pacific/Chatham"]),
    ("+65", &["Asia/Singapore"]),
    ("+81", &["Asia/Tokyo"]),
    ("+91", &["Asia/Kolkata"]),
    ("+1", &["Pacific/Honolulu", "America/St_Johns"]),
];

/// The time zones that a number may be in; none if they are not known.
pub(crate) fn find_time_zones(number: &PhoneNumber) -> &'static [&'static str] {
    let known = ZONES.iter().find(|(prefix, _)| number.as_str().starts_with(prefix));
    known.map_or(&[], |(_, zones)| zones)
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    #[test]
    fn each_zone_exists_and_no_entry_hides_another_one() {
        for (at, (prefix, zones)) in ZONES.iter().enumerate() {
            for zone in *zones {
                assert!(TimeZone::get(zone).is_ok(), "{zone}");
            }
            let earlier = &ZONES[..at];
            assert!(earlier.iter().all(|(known, _)| !prefix.starts_with(known)), "{prefix} is never found");
        }
    }
}
