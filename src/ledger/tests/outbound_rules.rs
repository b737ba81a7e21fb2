//! Tests of the list of numbers that are not called any more, and of the consent on which a call was placed.

use super::*;
use crate::calling_rules::CallConsent;
use crate::redact::Private;

fn number(text: &str) -> crate::phone_number::PhoneNumber {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_number_stays_on_the_list_over_a_restart_and_is_recorded_once() {
    let mut test = TestLedger::new().await;
    let (listed, other) = (number("+15550100001"), number("+15550100002"));
    assert_eq!(test.ledger.find_do_not_call(&listed).await.unwrap(), None);
    for call in ["CA1", "CA2"] {
        test.call = CallData::from_sid(call.parse().unwrap());
        test.ledger.add_do_not_call(&test.call, &listed).await.unwrap();
    }
    let restarted = test.restart().await;
    assert!(restarted.ledger.find_do_not_call(&listed).await.unwrap().is_some());
    assert_eq!(restarted.ledger.find_do_not_call(&other).await.unwrap(), None);
    for (call, events) in [("CA1", 1), ("CA2", 0)] {
        let found = restarted.ledger.statements(&call.parse().unwrap()).await.unwrap();
        assert_eq!(found.iter().filter(|event| event.kind == "do-not-call").count(), events, "{call}");
    }
}

#[tokio::test]
async fn the_consent_to_a_call_is_an_event_of_it() {
    let test = TestLedger::new().await;
    let call: crate::ids::CallSid = "CA1".parse().unwrap();
    let consent = CallConsent {
        kind: "web-form".to_owned(),
        at: "2026-11-01T09:30:00Z".parse().unwrap(),
        reference: Private::new("form-17".to_owned()),
    };
    test.ledger.record_call_consent(&call, &consent).await.unwrap();
    let events = test.ledger.statements(&call).await.unwrap();
    let [event] = &events[..] else { panic!("{} events", events.len()) };
    let data: serde_json::Value = serde_json::from_str(event.data.get()).unwrap();
    let wanted = serde_json::json!({"kind": "web-form", "at": "2026-11-01T09:30:00Z", "reference": "form-17"});
    assert_eq!((event.kind.as_str(), data), ("consent", wanted));
    let known = test.ledger.load_prior_payments(&CallData::from_sid(call)).await.unwrap();
    assert!(known.is_empty() && !known.is_disclosed, "it is no statement");
}
