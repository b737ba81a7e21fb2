//! The amount due that the business names during a call, in the JSON answer of one of its tools.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::parameter_names::{is_misspelling, is_spelling, remove_parameter};
use crate::json_members::JsonMembers;
use crate::redact::Private;

/// The members of an answer that belong to the amount due, in any case and with any separators: `amount_due`. All others
/// are data for the model.
const DUE_MEMBERS: [&str; 5] = ["amountDue", "currency", "description", "callReference", "orderReference"];

/// The members without which another amount or debt would be charged. A misspelt one is not ignored.
const DECISIVE_MEMBERS: [&str; 4] = ["amountDue", "currency", "callReference", "orderReference"];

/// The amount due in an answer of the business, with its currency, its description and its references: call parameters
/// as they are written, not yet validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusinessDue(Private<BTreeMap<String, String>>);

/// Why an answer that names an amount due cannot be used. No payment may start then, since any amount would be a guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseBusinessDueError {
    /// The amount or what belongs to it is an object or a list.
    #[error("amountDue, currency, description, callReference or orderReference is an object or a list")]
    NotScalar,
    /// A member occurs twice, or in two spellings with different values.
    #[error("amountDue, currency, description, callReference or orderReference is given twice")]
    Repeated,
    /// A name has one letter too many, too few or another one, or is `currencyCode` and the like in place of `currency`.
    #[error("{0} is misspelt, so that it cannot be read: correct the name of the member")]
    Misspelt(&'static str),
}

impl BusinessDue {
    /// Reads the members at the top level of a JSON object; `None` if it has no `amountDue`, or `null` there. A number
    /// keeps its digits as written, so that no float rounds an amount.
    pub fn parse(json: &str) -> Option<Result<Self, ParseBusinessDueError>> {
        let members: JsonMembers<Box<RawValue>> = serde_json::from_str(json).ok()?;
        let is_amount = |name: &str| is_spelling(name, "amountDue") || is_misspelling(name, "amountDue");
        let is_named = members.iter().any(|(name, value)| is_amount(name) && !is_null(value));
        is_named.then(|| Self::from_members(&members))
    }

    fn from_members(members: &JsonMembers<Box<RawValue>>) -> Result<Self, ParseBusinessDueError> {
        let mut given: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in members.iter() {
            let Some(known) = DUE_MEMBERS.into_iter().find(|known| is_spelling(name, known)) else { continue };
            if members.get_all(name).nth(1).is_some() {
                return Err(ParseBusinessDueError::Repeated);
            }
            if is_null(value) {
                continue;
            }
            let text = scalar_text(value).ok_or(ParseBusinessDueError::NotScalar)?;
            if given.get(known).is_some_and(|other| *other != text) {
                return Err(ParseBusinessDueError::Repeated);
            }
            given.insert(known.to_owned(), text);
        }
        match find_misspelt(members, given.contains_key("currency")) {
            Some(known) => Err(ParseBusinessDueError::Misspelt(known)),
            None => Ok(Self(Private::new(given))),
        }
    }

    /// Replaces the amount due among the parameters of a call. A currency belongs to the amount in the same answer, and
    /// references to the debt: those of another debt do not stay, nor does its description.
    pub fn replace_in(&self, parameters: &mut BTreeMap<String, String>) {
        let given = self.0.reveal();
        let mut replaced = vec!["amountDue", "currency"];
        if given.contains_key("orderReference") || given.contains_key("callReference") {
            replaced.extend(["orderReference", "description"]);
        }
        replaced.extend(given.keys().map(String::as_str));
        for name in replaced {
            remove_parameter(parameters, name);
        }
        parameters.extend(given.clone());
    }

    /// Whether the answer names the debt.
    pub fn has_reference(&self) -> bool {
        let given = self.0.reveal();
        given.contains_key("orderReference") || given.contains_key("callReference")
    }
}

/// Finds the decisive member that another name is probably meant to be.
fn find_misspelt(members: &JsonMembers<Box<RawValue>>, has_currency: bool) -> Option<&'static str> {
    let names = || members.iter().filter(|(_, value)| !is_null(value)).map(|(name, _)| name);
    let misspelt = DECISIVE_MEMBERS.into_iter().find(|known| names().any(|name| is_misspelling(name, known)));
    let is_about_currency = |name: &str| name.to_lowercase().contains("currency");
    misspelt.or_else(|| (!has_currency && names().any(is_about_currency)).then_some("currency"))
}

fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}

/// The text of a JSON string, or the digits or the word of another scalar as they are written; `None` for `null`, an
/// object or a list.
fn scalar_text(value: &RawValue) -> Option<String> {
    match value.get().as_bytes().first()? {
        b'"' => serde_json::from_str(value.get()).ok(),
        b'{' | b'[' | b'n' => None,
        _ => Some(value.get().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::{AmountDue, PaymentSettings};
    use proptest::prelude::*;

    fn replaced(before: &[(&str, &str)], answer: &str) -> Vec<(String, String)> {
        let mut parameters =
            before.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>();
        BusinessDue::parse(answer).unwrap().unwrap().replace_in(&mut parameters);
        parameters.into_iter().collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn an_answer_without_an_amount_due_says_nothing_about_it() {
        for answer in
            ["", "null", "[]", "25", "\"amountDue\"", "{}", r#"{"amountDue": null}"#, r#"{"currency": "EUR"}"#]
        {
            assert_eq!(BusinessDue::parse(answer), None, "{answer}");
        }
        assert_eq!(BusinessDue::parse(r#"{"invoice": {"amountDue": "25.00"}}"#), None, "only at the top level");
    }

    #[test]
    fn the_amount_keeps_its_digits_and_other_members_are_data() {
        let answer =
            r#"{"amountDue": 25.10, "currency": "EUR", "items": [{"amountDue": 7}], "customer": {"name": "Ann"}}"#;
        assert_eq!(replaced(&[], answer), pairs(&[("amountDue", "25.10"), ("currency", "EUR")]));
    }

    #[test]
    fn an_amount_that_is_no_scalar_or_is_given_twice_is_an_error() {
        for (answer, error) in [
            (r#"{"amountDue": {"value": "25.00"}}"#, ParseBusinessDueError::NotScalar),
            (r#"{"amountDue": "25.00", "currency": ["USD"]}"#, ParseBusinessDueError::NotScalar),
            (r#"{"amountDue": "25.00", "amountDue": "250.00"}"#, ParseBusinessDueError::Repeated),
            (r#"{"amountDue": "25.00", "amountDue": null}"#, ParseBusinessDueError::Repeated),
            (r#"{"amountDue": "25.00", "\u0061mountDue": "2.00"}"#, ParseBusinessDueError::Repeated),
            (r#"{"amountDue": "25.00", "amount_due": "250.00"}"#, ParseBusinessDueError::Repeated),
            (r#"{"amountDue": "25.00", "currency": "USD", "Currency": "EUR"}"#, ParseBusinessDueError::Repeated),
        ] {
            assert_eq!(BusinessDue::parse(answer), Some(Err(error)), "{answer}");
        }
    }

    #[test]
    fn a_member_is_read_in_any_case_and_with_any_separators() {
        let all = pairs(&[
            ("amountDue", "25.00"),
            ("callReference", "c-1"),
            ("currency", "EUR"),
            ("description", "Invoice 1"),
            ("orderReference", "o-1"),
        ]);
        for answer in [
            r#"{"amountDue": "25.00", "Currency": "EUR", "Description": "Invoice 1", "call_reference": "c-1", "order_reference": "o-1"}"#,
            r#"{"amount_due": "25.00", "CURRENCY": "EUR", "description": "Invoice 1", "CallReference": "c-1", "order-reference": "o-1"}"#,
            r#"{"AmountDue": "25.00", "currency": "EUR", "Currency": "EUR", "description": "Invoice 1", "callreference": "c-1", "Order Reference": "o-1"}"#,
        ] {
            assert_eq!(replaced(&[], answer), all, "{answer}");
        }
        for answer in [
            r#"{"amount_due": ["25.00"]}"#,
            r#"{"amountDue": "25.00", "Currency": {"code": "EUR"}}"#,
            r#"{"amountDue": "25.00", "order_reference": []}"#,
        ] {
            assert_eq!(BusinessDue::parse(answer), Some(Err(ParseBusinessDueError::NotScalar)), "{answer}");
        }
    }

    #[test]
    fn a_misspelt_name_is_an_error_and_never_ignored() {
        for (answer, known) in [
            (r#"{"amuontDue": "25.00"}"#, "amountDue"),
            (r#"{"amount_dues": 25}"#, "amountDue"),
            (r#"{"amountDue": "25.00", "amountDu": "250.00"}"#, "amountDue"),
            (r#"{"amountDue": "25.00", "curency": "EUR"}"#, "currency"),
            (r#"{"amountDue": "25.00", "currencyCode": "EUR"}"#, "currency"),
            (r#"{"amountDue": "25.00", "order_referense": "o-1"}"#, "orderReference"),
            (r#"{"amountDue": "25.00", "callReferences": "c-1"}"#, "callReference"),
        ] {
            assert_eq!(BusinessDue::parse(answer), Some(Err(ParseBusinessDueError::Misspelt(known))), "{answer}");
        }
        for answer in [
            r#"{"amountDue": "25.00", "prescription": "Tea", "amount": 3, "reference": 7, "curency": null}"#,
            r#"{"amountDue": "25.00", "currency": "USD", "currencyCode": "840"}"#,
        ] {
            assert!(matches!(BusinessDue::parse(answer), Some(Ok(_))), "{answer}");
        }
        assert_eq!(BusinessDue::parse(r#"{"amount": "25.00", "reference": "7", "currencyCode": "EUR"}"#), None);
    }

    #[test]
    fn what_belongs_to_another_amount_does_not_stay() {
        let before = [
            ("amountDue", "9.00"),
            ("currency", "EUR"),
            ("Description", "Invoice 1"),
            ("call_reference", "c-1"),
            ("orderReference", "o-1"),
            ("paymentTimeout", "30"),
        ];
        let amount_only = pairs(&[
            ("Description", "Invoice 1"),
            ("amountDue", "25.00"),
            ("call_reference", "c-1"),
            ("orderReference", "o-1"),
            ("paymentTimeout", "30"),
        ]);
        assert_eq!(replaced(&before, r#"{"amountDue": "25.00"}"#), amount_only);
        let order = pairs(&[
            ("amountDue", "25.00"),
            ("call_reference", "c-1"),
            ("orderReference", "o-2"),
            ("paymentTimeout", "30"),
        ]);
        assert_eq!(replaced(&before, r#"{"amountDue": "25.00", "orderReference": "o-2"}"#), order);
        let call = pairs(&[("amountDue", "25.00"), ("callReference", "c-2"), ("paymentTimeout", "30")]);
        assert_eq!(replaced(&before, r#"{"amountDue": "25.00", "callReference": "c-2"}"#), call);
    }

    proptest! {
        /// An amount is exactly the decimal text in the answer, or no payment can start.
        #[test]
        fn an_amount_is_exact_or_an_error(number in "-?[0-9]{1,6}(\\.[0-9]{0,20})?(e[0-9])?", quoted: bool) {
            let value = if quoted { format!("\"{number}\"") } else { number.clone() };
            let answer = format!(r#"{{"amountDue": {value}}}"#);
            let Some(Ok(due)) = BusinessDue::parse(&answer) else {
                prop_assert!(serde_json::from_str::<serde_json::Value>(&answer).is_err(), "{}", answer);
                return Ok(());
            };
            let mut parameters = BTreeMap::new();
            due.replace_in(&mut parameters);
            if let Ok(terms) = PaymentSettings::sample().parse_terms(&parameters) {
                let trimmed = |text: &str| text.trim_end_matches('0').trim_end_matches('.').trim_start_matches('0').to_owned();
                let charged = match terms.amount_due {
                    AmountDue::Amount(amount) => amount.to_string(),
                    AmountDue::Zero => "0".to_owned(),
                    AmountDue::Unspecified => panic!("the amount is lost"),
                };
                let written = if number.contains('.') { number } else { format!("{number}.0") };
                let charged = if charged.contains('.') { charged } else { format!("{charged}.0") };
                prop_assert_eq!(trimmed(&charged), trimmed(&written));
            }
        }

        #[test]
        fn no_answer_panics(answer in "\\PC{0,60}|\\{\"amountDue\": ?(\"[^\"]{0,5}\"|[0-9.e]{1,5}|\\[\\]), \"[a-z]{0,3}\": 1\\}") {
            let _ = BusinessDue::parse(&answer);
        }
    }
}
