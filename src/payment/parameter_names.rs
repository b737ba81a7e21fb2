//! The names of a call's payment parameters, and the recognition of misspelt ones.

use std::collections::BTreeMap;

/// The call parameters that the payment terms are parsed from.
pub const PAYMENT_PARAMETERS: [&str; 14] = [
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

/// Other systems' names for a parameter, normalized.
const ALIASES: [(&str, &str); 5] = [
    ("amount", "amountDue"),
    ("due", "amountDue"),
    ("dueamount", "amountDue"),
    ("amounttopay", "amountDue"),
    ("reference", "callReference"),
];

/// Finds the parameter that an unknown name is probably meant to be: an alias, another spelling or a typing error.
pub fn find_similar_parameter(name: &str) -> Option<&'static str> {
    if PAYMENT_PARAMETERS.contains(&name) {
        return None;
    }
    let name = normalize_name(name);
    let other = ALIASES.iter().find(|(other, _)| *other == name).map(|(_, known)| *known);
    let near = || {
        let distance = |known: &&str| strsim::osa_distance(&name, &normalize_name(known));
        let allowed = |known: &&str| if known.len() < 9 { 1 } else { 2 };
        PAYMENT_PARAMETERS.into_iter().filter(|known| distance(known) <= allowed(known)).min_by_key(distance)
    };
    other.or_else(near)
}

/// Finds a parameter that is given with different values in spellings that differ only in case and separators.
pub fn find_contradicted_parameter(given: &BTreeMap<String, String>) -> Option<&'static str> {
    PAYMENT_PARAMETERS.into_iter().find(|known| {
        let mut values = given.iter().filter(|(name, _)| is_spelling(name, known)).map(|(_, value)| value);
        let first = values.next();
        values.any(|value| Some(value) != first)
    })
}

/// Finds the value of a parameter. Without the exact name, any case and separators match: `CallReference`,
/// `call_reference`.
pub fn find_parameter_value<'a>(given: &'a BTreeMap<String, String>, known: &str) -> Option<&'a str> {
    let spelled = || given.iter().find(|(name, _)| is_spelling(name, known)).map(|(_, value)| value);
    given.get(known).or_else(spelled).map(String::as_str)
}

/// Whether a name is that of a parameter but for case and separators.
pub(super) fn is_spelling(name: &str, known: &str) -> bool {
    normalize_name(name) == normalize_name(known)
}

/// Whether a name is that of a parameter but for one typing error: a letter too many, too few or another one, or two that
/// changed places.
pub(super) fn is_misspelling(name: &str, known: &str) -> bool {
    strsim::osa_distance(&normalize_name(name), &normalize_name(known)) == 1
}

/// Removes a parameter in all its spellings.
pub(super) fn remove_parameter(given: &mut BTreeMap<String, String>, known: &str) {
    given.retain(|name, _| !is_spelling(name, known));
}

/// Normalizes a name: lower case, without separators, at most 64 characters.
fn normalize_name(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_similar_name_is_recognised() {
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
            assert_eq!(find_similar_parameter(name), Some(known), "{name}");
        }
    }

    #[test]
    fn a_name_of_the_business_is_similar_to_no_parameter() {
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
            assert_eq!(find_similar_parameter(name), None, "{name}");
        }
        assert!(PAYMENT_PARAMETERS.into_iter().all(|known| find_similar_parameter(known).is_none()));
    }

    #[test]
    fn two_spellings_of_one_parameter_must_have_the_same_value() {
        let given = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            find_contradicted_parameter(&pairs)
        };
        assert_eq!(given(&[("currency", "USD"), ("Currency", "EUR")]), Some("currency"));
        assert_eq!(given(&[("amount_due", "25"), ("AmountDue", "250")]), Some("amountDue"));
        assert_eq!(given(&[("currency", "USD"), ("CURRENCY", "USD"), ("note", "a"), ("Note", "b")]), None);
    }

    proptest! {
        #[test]
        fn no_name_panics(name in "\\PC{0,40}") {
            let _ = find_similar_parameter(&name);
        }
    }
}
