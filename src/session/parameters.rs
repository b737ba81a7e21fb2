//! The parameters of a call: those of its TwiML, with what the business answered.

use tracing::warn;

use super::requests::BusinessAnswer;
use super::{CONTEXT_KEY, MANIFEST_KEY};
use crate::payment::nearest_parameter;
use crate::redact::Private;
use crate::relay::{RECONNECT, Setup};

/// What is due on a call.
const AMOUNT_DUE: &str = "amountDue";

/// Adds what the business answered to the parameters of a call; it goes before those of the TwiML. Where the business has to
/// say what is due, nothing else says so of a call that came in: `due_required`.
pub(super) fn take_answer(setup: &mut Setup, answer: Option<BusinessAnswer>, due_required: bool) {
    let mut parameters = std::mem::take(&mut setup.custom_parameters).into_inner();
    let is_business_to_say = answer.is_some() || !setup.is_outbound();
    if due_required && is_business_to_say {
        parameters.remove(AMOUNT_DUE);
    }
    match answer {
        Some(BusinessAnswer::Parameters(answered)) => {
            let mut answered = answered.into_inner();
            // That word is the server's own.
            answered.remove(RECONNECT);
            // A currency says what the amount beside it is in, and not another.
            if answered.contains_key("currency") {
                parameters.remove(AMOUNT_DUE);
            }
            parameters.extend(answered);
        }
        // An empty text is no amount: no payment starts.
        Some(BusinessAnswer::BadDue) => drop(parameters.insert(AMOUNT_DUE.to_owned(), String::new())),
        Some(BusinessAnswer::Nothing) | None => {}
    }
    setup.custom_parameters = Private::new(parameters);
}

/// Warns of parameters that nothing reads and whose names are near to one that is read. No value is logged.
pub(super) fn warn_of_unknown_names(setup: &Setup) {
    for known in nearly_named(setup) {
        warn!(
            event = "call_parameters.unknown_name",
            known, "A parameter of the call is not read, and its name is near to this one."
        );
    }
}

/// The parameters that others are nearly named like.
fn nearly_named(setup: &Setup) -> impl Iterator<Item = &'static str> {
    let names = setup.custom_parameters.reveal().keys().map(String::as_str);
    names.filter(|name| ![CONTEXT_KEY, MANIFEST_KEY, RECONNECT].contains(name)).filter_map(nearest_parameter)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::relay::Incoming;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// What is due on a call with these parameters in its TwiML and this answer of the business.
    fn due(direction: &str, twiml: &[(&str, &str)], answer: Option<BusinessAnswer>, required: bool) -> Option<String> {
        let setup = format!(r#"{{"type":"setup","callSid":"CA1","direction":"{direction}"}}"#);
        let Incoming::Setup(mut setup) = Incoming::parse(&setup).unwrap() else { panic!() };
        setup.custom_parameters = Private::new(map(twiml));
        take_answer(&mut setup, answer, required);
        setup.custom_parameters.reveal().get(AMOUNT_DUE).cloned()
    }

    #[test]
    fn names_that_are_near_to_one_that_is_read_are_known() {
        let setup = r#"{"type":"setup","callSid":"CA1","customParameters":{"amount_due":"25","Currency":"USD","customer":"Ann",
            "amountDue":"25","contextKey":"a","manifestKey":"b","crelayReconnect":"1"}}"#;
        let Incoming::Setup(setup) = Incoming::parse(setup).unwrap() else { panic!() };
        assert_eq!(nearly_named(&setup).collect::<Vec<_>>(), ["currency", "amountDue"]);
    }

    fn says(pairs: &[(&str, &str)]) -> BusinessAnswer {
        BusinessAnswer::Parameters(Private::new(map(pairs)))
    }

    #[test]
    fn the_business_goes_before_the_twiml() {
        let twiml = [(AMOUNT_DUE, "1")];
        let of = |answer, required| due("inbound", &twiml, answer, required);
        assert_eq!(of(Some(says(&[(AMOUNT_DUE, "25")])), false).as_deref(), Some("25"));
        assert_eq!(of(Some(says(&[("customer", "Ann")])), false).as_deref(), Some("1"));
        assert_eq!(of(None, false).as_deref(), Some("1"));
        assert_eq!(of(Some(says(&[("currency", "EUR")])), false), None, "nobody said 1 euro");
        for required in [false, true] {
            assert_eq!(of(Some(BusinessAnswer::BadDue), required).as_deref(), Some(""), "which is no amount");
        }
    }

    #[test]
    fn where_the_business_has_to_say_what_is_due_nothing_else_does() {
        let twiml = [(AMOUNT_DUE, "1")];
        for answer in [None, Some(says(&[("amount_due", "25")])), Some(says(&[])), Some(BusinessAnswer::Nothing)] {
            assert_eq!(due("inbound", &twiml, answer.clone(), true), None, "{answer:?}");
        }
        assert_eq!(due("inbound", &twiml, Some(says(&[(AMOUNT_DUE, "25")])), true).as_deref(), Some("25"));
        assert_eq!(due("outbound-api", &twiml, None, true).as_deref(), Some("1"), "what was ordered");
        assert_eq!(due("outbound-api", &twiml, Some(BusinessAnswer::Nothing), true), None, "it was asked");
    }
}
