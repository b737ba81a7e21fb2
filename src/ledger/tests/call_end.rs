//! Tests of the event `call.ended`.

use jiff::SignedDuration;
use serde_json::{Map, Value, json};

use super::*;
use crate::redact::Private;

const HANDOFF: &str = r#"{"reasonCode":"live-agent-handoff","reason":"asked","conversationSummary":"hush-summary"}"#;

/// The end of a call after 65 seconds.
fn call_end(test: &TestLedger) -> CallEnd {
    CallEnd {
        call: test.call.clone(),
        outbound: false,
        started_at: Timestamp::now() - SignedDuration::from_secs(65),
        reason: "hand-off",
        handoff: Some(Private::new(HANDOFF.to_owned())),
        summary: Private::new("hush-summary".to_owned()),
        arguments: Private::new(Map::from_iter([("mood".to_owned(), Value::from("hush-mood"))])),
        is_recovered: false,
    }
}

async fn due_bodies(ledger: &Ledger) -> Vec<Value> {
    let due = ledger.due_deliveries(Timestamp::now() + SignedDuration::from_secs(1), 9).await.unwrap();
    due.iter().map(|due| serde_json::from_str(due.body.as_ref().unwrap().expose_secret()).unwrap()).collect()
}

#[tokio::test]
async fn call_ended_has_what_the_agent_wrote_down_and_the_payments() {
    let mut test = TestLedger::new().await;
    test.call.set_call_reference("order-7");
    let id = test.submit_payment("25", "PK1").await;
    test.ledger.report_call_end(call_end(&test)).await.unwrap();
    let mut bodies = due_bodies(&test.ledger).await;
    let [payment, body] = &mut bodies[..] else { panic!("{bodies:?}") };
    assert_eq!(payment["type"], "payment.unknown", "the end of the call ends its payments");
    let event = body["eventId"].take();
    assert!(event.as_str().unwrap().parse::<Uuid>().is_ok());
    let times = ["at", "startedAt", "endedAt"].map(|name| body[name].take());
    assert!(times.iter().all(|time| time.as_str().unwrap().ends_with('Z')) && times[0] == times[2]);
    let expected = json!({"eventId": null, "type": "call.ended", "at": null, "callSid": "CA1", "callReference": "order-7",
        "direction": "inbound", "startedAt": null, "endedAt": null, "seconds": 65, "reason": "hand-off",
        "handoff": serde_json::from_str::<Value>(HANDOFF).unwrap(), "conversationSummary": "hush-summary",
        "arguments": {"mood": "hush-mood"}, "payments": [{"id": id.to_string(), "state": "unknown"}]});
    assert_eq!(*body, expected);
}

#[tokio::test]
async fn call_ended_is_retried_with_the_same_id_and_is_in_no_byte_of_the_files_once_delivered() {
    let mut test = TestLedger::new().await;
    test.call.set_call_reference("hush-reference");
    test.ledger.report_call_end(call_end(&test)).await.unwrap();
    let now = Timestamp::now() + SignedDuration::from_secs(1);
    let first = test.ledger.due_deliveries(now, 9).await.unwrap().remove(0);
    assert_eq!(first.subject, DeliverySubject::Call(test.call.call_sid.clone()));
    test.ledger.postpone_delivery(&first, now + SignedDuration::from_secs(60)).await.unwrap();
    assert!(test.ledger.due_deliveries(now, 9).await.unwrap().is_empty());
    let test = test.restart().await;
    assert_eq!(test.ledger.make_deliveries_due().await.unwrap().waiting, 1);
    let again = test.ledger.due_deliveries(now, 9).await.unwrap().remove(0);
    assert_eq!(
        (again.attempts, again.body.as_ref().unwrap().expose_secret()),
        (1, first.body.as_ref().unwrap().expose_secret())
    );
    assert_ne!(test.is_in_files("hush-summary"), Some(false));
    test.ledger.record_delivered(&again).await.unwrap();
    test.ledger.record_delivered(&again).await.unwrap();
    assert_eq!(test.ledger.backlog().await.unwrap().waiting, 0);
    test.ledger.wipe_erased().await.unwrap();
    assert!(!test.ledger.is_wipe_pending());
    assert_ne!(test.is_in_files("hush"), Some(true));
}

#[tokio::test]
async fn call_ended_blocks_no_event_of_a_payment_and_waits_for_none() {
    let mut test = TestLedger::new().await;
    test.submit_payment("25", "PK1").await;
    test.ledger.report_call_end(call_end(&test)).await.unwrap();
    test.deliver_callback("PK1", &CHARGED).await;
    let kinds = async || due_bodies(&test.ledger).await.iter().map(|body| body["type"].clone()).collect::<Vec<_>>();
    assert_eq!(kinds().await, ["payment.unknown", "call.ended"], "the later event of the payment waits for the first");
    let due = test.ledger.due_deliveries(Timestamp::now(), 9).await.unwrap();
    test.ledger.record_delivered(&due[0]).await.unwrap();
    assert_eq!(kinds().await, ["call.ended", "payment.charged"]);
}

#[tokio::test]
async fn erasure_takes_what_was_written_down_out_of_an_undelivered_event() {
    for by_age in [false, true] {
        let mut test = TestLedger::new().await;
        test.call.set_call_reference("hush-reference");
        test.ledger.report_call_end(call_end(&test)).await.unwrap();
        let other = CallEnd { call: CallData::from_sid("CA2".parse().unwrap()), ..call_end(&test) };
        test.ledger.report_call_end(other).await.unwrap();
        if by_age {
            test.ledger.erase_personal_data(Timestamp::now() - SignedDuration::from_secs(60)).await.unwrap();
            assert!(due_bodies(&test.ledger).await[0].to_string().contains("hush"), "it is younger");
            test.ledger.erase_personal_data(Timestamp::now() + SignedDuration::from_secs(60)).await.unwrap();
        } else {
            let caller = test.call.caller.clone().unwrap();
            test.ledger.erase_caller(&caller, |_, _| {}).await.unwrap();
        }
        let bodies = due_bodies(&test.ledger).await;
        assert_eq!(bodies.len(), 2, "each call is still reported");
        assert_eq!(bodies[1].to_string().contains("hush"), !by_age, "of another caller, or of that age");
        let erased = &bodies[0];
        assert!(!erased.to_string().contains("hush"), "{erased}");
        assert_eq!((&erased["seconds"], &erased["arguments"]), (&json!(65), &json!({})));
    }
}

#[tokio::test]
async fn the_recovered_payment_of_a_panicked_session_is_not_abandoned() {
    let mut test = TestLedger::new().await;
    let id = test.create_session("25", "PK1").await;
    let end = CallEnd { is_recovered: true, reason: "server-failed", ..call_end(&test) };
    test.ledger.report_call_end(end).await.unwrap();
    assert_eq!(test.ledger.payment(id).await.unwrap().unwrap().state, PaymentState::Opened);
    assert_eq!(due_bodies(&test.ledger).await[0]["payments"][0]["state"], "opened");
}

#[tokio::test]
async fn a_sealed_call_end_is_delivered_and_erased_by_whoever_has_its_key() {
    let mut test = TestLedger::new().await;
    test.ledger.set_sealing_keys(SEALING_KEY.parse().unwrap());
    test.call.set_call_reference("order-7");
    test.ledger.report_call_end(call_end(&test)).await.unwrap();
    assert_eq!(test.count("SELECT count(*) FROM outbox WHERE outcome LIKE '%hush%'").await, 0);
    assert_eq!(due_bodies(&test.ledger).await[0]["conversationSummary"], "hush-summary");
    let caller = "+15550100001".parse().unwrap();
    let test = test.restart().await;
    let without_key = test.ledger.erase_caller(&caller, |_, _| {}).await.unwrap();
    assert_eq!(without_key, ErasureResult { erased: 0, kept: 1 });
    test.ledger.set_sealing_keys(SEALING_KEY.parse().unwrap());
    let with_key = test.ledger.erase_caller(&caller, |_, _| {}).await.unwrap();
    assert_eq!(with_key, ErasureResult { erased: 0, kept: 0 });
    let body = &due_bodies(&test.ledger).await[0];
    assert_eq!((&body["conversationSummary"], &body["callSid"]), (&Value::Null, &json!("CA1")));
}
