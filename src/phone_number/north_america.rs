//! The North American numbering plan: `+1`, an area code of three digits, and seven more digits.
//!
//! Source: NANPA, list of area codes in service, and ITU-T E.164 for the countries.

use super::special_ranges::{SpecialRange, SpecialRangeKind};

/// The countries that share `+1` with the United States, its territories and Canada, with their area codes.
const OTHER_COUNTRIES: &[(&str, &str)] = &[
    ("AG", "268"),
    ("AI", "264"),
    ("BB", "246"),
    ("BM", "441"),
    ("BS", "242"),
    ("DM", "767"),
    ("DO", "809 829 849"),
    ("GD", "473"),
    ("JM", "658 876"),
    ("KN", "869"),
    ("KY", "345"),
    ("LC", "758"),
    ("MS", "664"),
    ("SX", "721"),
    ("TC", "649"),
    ("TT", "868"),
    ("VC", "784"),
    ("VG", "284"),
];

/// Area codes of services: premium rate.
const PREMIUM_RATE: &str = "900";

/// The exchange of premium-rate services in every area code.
const PREMIUM_RATE_EXCHANGE: &str = "976";

/// Area codes that are not geographic: personal communications services, carriers' services, the government's.
const PERSONAL_NUMBERS: &str = "500 521 522 523 524 525 526 527 528 529 532 533 544 566 577 588 600 622 633 644 655 677 688 \
                                456 700 710";

/// Whether the national number has the form of the plan: ten digits, an area code from 200, and neither the area code nor
/// the exchange is a service code such as 911.
pub(super) fn is_dialable(national: &str) -> bool {
    let is_service_code = |code: &str| code.ends_with("11");
    national.len() == 10
        && !national.starts_with(['0', '1'])
        && !is_service_code(&national[..3])
        && !matches!(&national[3..6], "911")
}

/// The country of the area code: `US CA`, or one of the others.
pub(super) fn find_country(national: &str) -> &'static str {
    let area = national.get(..3).unwrap_or_default();
    let other = OTHER_COUNTRIES.iter().find(|(_, areas)| areas.split(' ').any(|known| known == area));
    other.map_or("US CA", |(country, _)| country)
}

/// Finds the special range of a national number.
pub(super) fn find_special_range(national: &str) -> Option<SpecialRange> {
    let (area, exchange) = (national.get(..3)?, national.get(3..6)?);
    let range = |kind, digits: String| Some(SpecialRange { kind, digits });
    if area == PREMIUM_RATE {
        return range(SpecialRangeKind::PremiumRate, format!("1{area}"));
    }
    if exchange == PREMIUM_RATE_EXCHANGE {
        return range(SpecialRangeKind::PremiumRate, format!("1{area}{exchange}"));
    }
    if PERSONAL_NUMBERS.split(' ').any(|known| known == area) {
        return range(SpecialRangeKind::PersonalNumber, format!("1{area}"));
    }
    if find_country(national) != "US CA" {
        return range(SpecialRangeKind::SharedCountryCode, format!("1{area}"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(national: &str) -> Option<SpecialRangeKind> {
        find_special_range(national).map(|range| range.kind)
    }

    #[test]
    fn every_area_code_of_the_tables_is_special() {
        for (country, areas) in OTHER_COUNTRIES {
            for area in areas.split(' ') {
                let number = format!("{area}5550100");
                assert_eq!(
                    (find_country(&number), kind(&number)),
                    (*country, Some(SpecialRangeKind::SharedCountryCode))
                );
            }
        }
        for area in PERSONAL_NUMBERS.split(' ') {
            assert_eq!(kind(&format!("{area}5550100")), Some(SpecialRangeKind::PersonalNumber), "{area}");
        }
        for national in ["9005550100", "2129765010", "8769765010"] {
            assert_eq!(kind(national), Some(SpecialRangeKind::PremiumRate), "{national}");
        }
        for national in ["2125550100", "5550100001", "7875550100", "4165550100", "8005550100"] {
            assert_eq!((find_country(national), kind(national)), ("US CA", None), "{national}");
        }
    }

    #[test]
    fn a_number_with_a_service_code_or_another_length_is_not_dialable() {
        for national in ["2125550100", "5550100001", "8765550100"] {
            assert!(is_dialable(national), "{national}");
        }
        for national in
            ["911", "911911", "9115550100", "4115550100", "2129115010", "1125550100", "0125550100", "212555010"]
        {
            assert!(!is_dialable(national), "{national}");
        }
    }
}
