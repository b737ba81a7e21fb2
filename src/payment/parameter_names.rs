//! The names of the parameters that say how a call pays, and names that are nearly these.

use std::collections::BTreeMap;

/// The parameters of a call that its terms are read from.
pub const PARAMETERS: [&str; 14] = [
    "amountDue",
    "currency",
    "description",
    "callReference",
    "orderReference",
    "paymentMethod",
    "tokenType",
    "paymentTimeout",
    "paymentParameters",
    "validCardTypes",
    "requireMatchingInputs",
    "minPostalCodeLength",
    "bankAccountType",
    "avsName",
];

/// What other systems call a parameter.
const OTHER_NAMES: [(&str, &str); 5] = [
    ("amount", "amountDue"),
    ("due", "amountDue"),
    ("dueamount", "amountDue"),
    ("amounttopay", "amountDue"),
    ("reference", "callReference"),
];

/// The parameter that somebody meant who wrote this name, if it is none and is near to one.
pub fn nearest_parameter(name: &str) -> Option<&'static str> {
    if PARAMETERS.contains(&name) {
        return None;
    }
    let name = plain(name);
    let other = OTHER_NAMES.iter().find(|(other, _)| *other == name).map(|(_, known)| *known);
    let near = || {
        let distance = |known: &&str| strsim::osa_distance(&name, &plain(known));
        let allowed = |known: &&str| if known.len() < 9 { 1 } else { 2 };
        PARAMETERS.into_iter().filter(|known| distance(known) <= allowed(known)).min_by_key(distance)
    };
    other.or_else(near)
}

/// The parameter that is given in two spellings, which differ in case and separators only, with two values.
pub fn contradicted_parameter(given: &BTreeMap<String, String>) -> Option<&'static str> {
    PARAMETERS.into_iter().find(|known| {
        let mut values = given.iter().filter(|(name, _)| plain(name) == plain(known)).map(|(_, value)| value);
        let first = values.next();
        values.any(|value| Some(value) != first)
    })
}

/// The value of a parameter, also where its name is written with other case or separators: `CallReference`, `call_reference`.
pub fn parameter_in_any_spelling<'a>(given: &'a BTreeMap<String, String>, known: &str) -> Option<&'a str> {
    let spelled = || given.iter().find(|(name, _)| plain(name) == plain(known)).map(|(_, value)| value);
    given.get(known).or_else(spelled).map(String::as_str)
}

/// A name without case and separators.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_that_is_nearly_a_parameter_is_known_for_it() {
        for (name, known) in [
            ("amount_due", "amountDue"),
            ("amountdue", "amountDue"),
            ("AmountDue", "amountDue"),
            ("amount-due", "amountDue"),
            ("AMOUNT DUE", "amountDue"),
            ("amuontDue", "amountDue"),
            ("amountDues", "amountDue"),
            ("amount", "amountDue"),
            ("Amount", "amountDue"),
            ("callreference", "callReference"),
            ("call_reference", "callReference"),
            ("order_reference", "orderReference"),
            ("Currency", "currency"),
            ("curency", "currency"),
            ("desciption", "description"),
            ("avs_name", "avsName"),
            ("validCardType", "validCardTypes"),
        ] {
            assert_eq!(nearest_parameter(name), Some(known), "{name}");
        }
    }

    #[test]
    fn what_a_business_calls_its_own_is_near_to_nothing() {
        for name in [
            "amountDue",
            "customer",
            "customerName",
            "name",
            "firstName",
            "invoice",
            "vip",
            "note",
            "items",
            "channel",
            "agency",
            "city",
            "date",
            "dueDate",
            "accountNumber",
            "preference",
            "",
            "_",
            "4242424242424242",
        ] {
            assert_eq!(nearest_parameter(name), None, "{name}");
        }
        assert!(PARAMETERS.into_iter().all(|known| nearest_parameter(known).is_none()));
    }

    #[test]
    fn two_spellings_of_one_parameter_have_to_say_the_same() {
        let given = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            contradicted_parameter(&pairs)
        };
        assert_eq!(given(&[("currency", "USD"), ("Currency", "EUR")]), Some("currency"));
        assert_eq!(given(&[("amount_due", "25"), ("AmountDue", "250")]), Some("amountDue"));
        assert_eq!(given(&[("currency", "USD"), ("CURRENCY", "USD"), ("note", "a"), ("Note", "b")]), None);
    }

    proptest! {
        #[test]
        fn no_name_panics(name in "\\PC{0,40}") {
            let _ = nearest_parameter(&name);
        }
    }
}
