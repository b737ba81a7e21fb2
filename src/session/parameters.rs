//! The parameters of a call: the custom parameters of its TwiML, merged with the business look-up.

use tracing::warn;

use super::pending_calls::BusinessLookup;
use crate::call::{CONTEXT_PARAMETERS, MANIFEST_PARAMETERS};
use crate::payment::find_similar_parameter;
use crate::redact::Private;
use crate::relay::{RECONNECT, Setup};

/// The parameter with the amount due.
const AMOUNT_DUE: &str = "amountDue";

/// Merges the business look-up into the parameters of a call; its values override those of the TwiML. With
/// `due_required` the amount due of an inbound call is accepted from the business only.
pub(super) fn merge_business_lookup(setup: &mut Setup, answer: Option<BusinessLookup>, due_required: bool) {
    let mut parameters = std::mem::take(&mut setup.custom_parameters).into_inner();
    let business_decides = answer.is_some() || !setup.is_outbound();
    if due_required && business_decides {
        parameters.remove(AMOUNT_DUE);
    }
    match answer {
        Some(BusinessLookup::Parameters(from_business)) => {
            let mut from_business = from_business.into_inner();
            // This name is reserved for the server.
            from_business.remove(RECONNECT);
            // A currency applies only to the amount in the same answer.
            if from_business.contains_key("currency") {
                parameters.remove(AMOUNT_DUE);
            }
            // The key of an asset has two names; that of the business counts, whichever it uses.
            for names in [CONTEXT_PARAMETERS, MANIFEST_PARAMETERS] {
                if names.iter().any(|name| from_business.contains_key(*name)) {
                    parameters.retain(|name, _| !names.contains(&name.as_str()));
                }
            }
            parameters.extend(from_business);
        }
        // An empty string is not an amount, so no payment starts.
        Some(BusinessLookup::InvalidAmountDue) => drop(parameters.insert(AMOUNT_DUE.to_owned(), String::new())),
        Some(BusinessLookup::NoAnswer) | None => {}
    }
    setup.custom_parameters = Private::new(parameters);
}

/// Logs a warning for each unknown parameter whose name is close to a known one. No value is logged.
pub(super) fn warn_of_unknown_names(setup: &Setup) {
    for known in misspelled_parameters(setup) {
        warn!(
            event = "call_parameters.unknown_name",
            known, "A parameter of the call is ignored; its name is close to the known name in `known`."
        );
    }
}

/// Returns the known names that unknown parameters are close to.
fn misspelled_parameters(setup: &Setup) -> impl Iterator<Item = &'static str> {
    let names = setup.custom_parameters.reveal().keys().map(String::as_str);
    names.filter(|name| !is_own_name(name)).filter_map(find_similar_parameter)
}

/// Whether the server reads a parameter that is not one of the payment's.
fn is_own_name(name: &str) -> bool {
    [CONTEXT_PARAMETERS, MANIFEST_PARAMETERS].concat().contains(&name) || name == RECONNECT
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::relay::IncomingFrame;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// Returns the amount due of a call with these TwiML parameters and this business look-up.
    fn due(direction: &str, twiml: &[(&str, &str)], answer: Option<BusinessLookup>, required: bool) -> Option<String> {
        let setup = format!(r#"{{"type":"setup","callSid":"CA1","direction":"{direction}"}}"#);
        let IncomingFrame::Setup(mut setup) = IncomingFrame::parse(&setup).unwrap() else { panic!() };
        setup.custom_parameters = Private::new(map(twiml));
        merge_business_lookup(&mut setup, answer, required);
        setup.custom_parameters.reveal().get(AMOUNT_DUE).cloned()
    }

    #[test]
    fn names_that_are_close_to_a_known_name_are_found() {
        let setup = r#"{"type":"setup","callSid":"CA1","customParameters":{"amount_due":"25","Currency":"USD","customer":"Ann",
            "amountDue":"25","contextKey":"a","manifestKey":"b","crelayReconnect":"1"}}"#;
        let IncomingFrame::Setup(setup) = IncomingFrame::parse(setup).unwrap() else { panic!() };
        assert_eq!(misspelled_parameters(&setup).collect::<Vec<_>>(), ["currency", "amountDue"]);
    }

    fn answer(pairs: &[(&str, &str)]) -> BusinessLookup {
        BusinessLookup::Parameters(Private::new(map(pairs)))
    }

    #[test]
    fn the_business_overrides_the_twiml() {
        let twiml = [(AMOUNT_DUE, "1")];
        let inbound = |answer, required| due("inbound", &twiml, answer, required);
        assert_eq!(inbound(Some(answer(&[(AMOUNT_DUE, "25")])), false).as_deref(), Some("25"));
        assert_eq!(inbound(Some(answer(&[("customer", "Ann")])), false).as_deref(), Some("1"));
        assert_eq!(inbound(None, false).as_deref(), Some("1"));
        assert_eq!(inbound(Some(answer(&[("currency", "EUR")])), false), None, "the TwiML amount is not in euro");
        for required in [false, true] {
            assert_eq!(inbound(Some(BusinessLookup::InvalidAmountDue), required).as_deref(), Some(""), "not an amount");
        }
    }

    #[test]
    fn the_business_names_an_asset_under_either_name() {
        let setup =
            r#"{"type":"setup","callSid":"CA1","customParameters":{"contextKey":"a","toolManifestFile":"b.json"}}"#;
        let IncomingFrame::Setup(mut setup) = IncomingFrame::parse(setup).unwrap() else { panic!() };
        merge_business_lookup(&mut setup, Some(answer(&[("contextFile", "c.md")])), false);
        let keys = super::super::lifecycle::context_keys(&setup);
        assert_eq!((keys.context.as_deref(), keys.manifest.as_deref()), (Some("c.md"), Some("b.json")));
    }

    #[test]
    fn where_the_business_has_to_say_what_is_due_nothing_else_does() {
        let twiml = [(AMOUNT_DUE, "1")];
        for answer in [None, Some(answer(&[("amount_due", "25")])), Some(answer(&[])), Some(BusinessLookup::NoAnswer)] {
            assert_eq!(due("inbound", &twiml, answer.clone(), true), None, "{answer:?}");
        }
        assert_eq!(due("inbound", &twiml, Some(answer(&[(AMOUNT_DUE, "25")])), true).as_deref(), Some("25"));
        assert_eq!(due("outbound-api", &twiml, None, true).as_deref(), Some("1"), "the amount of the order");
        assert_eq!(due("outbound-api", &twiml, Some(BusinessLookup::NoAnswer), true), None, "the business was asked");
    }
}
