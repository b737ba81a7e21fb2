//! Tests of receipts: each is sent at most once, whoever dies.

use jiff::SignedDuration;

use super::*;
use crate::ids::MessageSid;

impl TestLedger {
    /// Submits a payment whose payer gets a receipt in Spanish.
    async fn submit_with_receipt(&mut self, charge: &str, sid: &str) -> PaymentId {
        let id = self.create_session(charge, sid).await;
        let capture = update(id, sid, UpdateAction::Capture(Field::CardNumber), 1);
        self.update_session(&capture, &TwilioResponse::Accepted).await.unwrap();
        let submission = UpdatePayment {
            receipt_language: Some("es-US".to_owned()),
            ..update(id, sid, UpdateAction::Complete, 1)
        };
        self.update_session(&submission, &TwilioResponse::Accepted).await.unwrap();
        id
    }

    /// A charged payment whose receipt is due.
    async fn charge_with_receipt(&mut self) -> PaymentId {
        let id = self.submit_with_receipt("25", "PK1").await;
        self.deliver_callback("PK1", &CHARGED).await;
        id
    }

    async fn claim_receipt(&self, id: PaymentId) -> Option<ClaimedReceipt> {
        match self.ledger.claim_receipt(id, Timestamp::now()).await.unwrap() {
            ReceiptClaim::Claimed(claimed) => Some(*claimed),
            _ => None,
        }
    }

    /// Whether nobody gets the receipt any more, also when a claim of now would be over.
    async fn is_taken(&self, id: PaymentId) -> bool {
        matches!(self.ledger.claim_receipt(id, in_minutes(5)).await.unwrap(), ReceiptClaim::NotDue)
    }

    async fn report(&self, claimed: &ClaimedReceipt, result: ReceiptResult) {
        let (payment, attempt, text_version) = (claimed.payment.id, claimed.attempt, Some("1a2b".to_owned()));
        self.ledger.record_receipt(ReceiptReport { payment, attempt, result, text_version }).await.unwrap();
    }

    /// The states that the events of receipts name, in order.
    async fn receipt_states(&self, id: PaymentId) -> Vec<String> {
        let events = self.ledger.events(id).await.unwrap();
        let state = |event: &EventRecord| {
            let data: serde_json::Value = serde_json::from_str(event.data.get()).unwrap();
            (event.kind == "receipt").then(|| data["state"].as_str().unwrap().to_owned())
        };
        events.iter().filter_map(state).collect()
    }

    async fn due(&self) -> Vec<PaymentId> {
        self.ledger.due_receipts(Timestamp::now() + SignedDuration::from_hours(1)).await.unwrap()
    }
}

fn message() -> MessageSid {
    "SM1".parse().unwrap()
}

fn in_minutes(minutes: i64) -> Timestamp {
    Timestamp::now() + SignedDuration::from_mins(minutes)
}

#[tokio::test]
async fn a_receipt_is_due_once_the_payment_has_succeeded_and_is_claimed_once() {
    let mut test = TestLedger::new().await;
    let id = test.submit_with_receipt("25", "PK1").await;
    assert!(test.due().await.is_empty() && test.claim_receipt(id).await.is_none(), "it may still be declined");
    test.deliver_callback("PK1", &CHARGED).await;
    assert_eq!(test.due().await, [id]);
    let (first, second) = tokio::join!(test.claim_receipt(id), test.claim_receipt(id));
    let claimed = first.or(second).unwrap();
    assert_eq!((claimed.attempt, claimed.language.as_str(), claimed.payment.id), (1, "es-US", id));
    assert!(test.is_taken(id).await && test.due().await.is_empty(), "somebody has it");
    test.report(&claimed, ReceiptResult::Sent(message())).await;
    test.deliver_callback("PK1", &CHARGED).await;
    let test = test.restart().await;
    assert!(test.is_taken(id).await && test.due().await.is_empty());
    assert_eq!(test.receipt_states(id).await, ["sent"]);
    let kinds = test.event_kinds(id).await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "receipt-asking").count(), 1, "{kinds:?}");
}

#[tokio::test]
async fn of_two_servers_one_gets_a_receipt() {
    let mut test = TestLedger::new().await;
    let id = test.charge_with_receipt().await;
    let is_remote = test.ledger.0.database.is_remote();
    let other = if is_remote { Ledger::open(&test.url).await.unwrap() } else { test.ledger.clone() };
    let claims = [&test.ledger, &other, &test.ledger, &other].map(|ledger| ledger.claim_receipt(id, in_minutes(1)));
    let claims = futures_util::future::join_all(claims).await;
    let claimed = claims.iter().filter(|claim| matches!(claim, Ok(ReceiptClaim::Claimed(_)))).count();
    assert_eq!(claimed, 1, "{claims:?}");
    assert_eq!(test.event_kinds(id).await.iter().filter(|kind| *kind == "receipt-asking").count(), 1);
}

#[tokio::test]
async fn a_receipt_survives_a_restart_between_the_outcome_and_the_request() {
    let mut test = TestLedger::new().await;
    let id = test.charge_with_receipt().await;
    let test = test.restart().await;
    assert_eq!(test.due().await, [id]);
    assert!(test.claim_receipt(id).await.is_some());
}

#[tokio::test]
async fn nobody_repeats_a_request_whose_answer_is_missing() {
    let mut test = TestLedger::new().await;
    let id = test.charge_with_receipt().await;
    let claimed = test.claim_receipt(id).await.unwrap();
    // The server dies with the request under way.
    let test = test.restart().await;
    assert!(test.ledger.end_receipt_claims(Timestamp::now(), false).await.unwrap().is_empty(), "it may be alive");
    assert_eq!(test.ledger.end_receipt_claims(in_minutes(2), false).await.unwrap(), [id]);
    assert!(test.ledger.end_receipt_claims(in_minutes(2), false).await.unwrap().is_empty());
    assert!(test.is_taken(id).await && test.due().await.is_empty());
    assert_eq!(test.receipt_states(id).await, ["unknown"]);
    // It was only slow.
    test.report(&claimed, ReceiptResult::Sent(message())).await;
    test.report(&claimed, ReceiptResult::Unknown).await;
    assert_eq!(test.receipt_states(id).await, ["unknown", "sent"]);
}

#[tokio::test]
async fn a_start_ends_the_claims_of_the_last_server_on_a_file() {
    let mut test = TestLedger::new().await;
    let id = test.charge_with_receipt().await;
    test.claim_receipt(id).await.unwrap();
    let test = test.restart().await;
    let ended = test.ledger.end_receipt_claims(Timestamp::now(), true).await.unwrap();
    // In PostgreSQL another server may have it.
    assert_eq!(ended.len(), usize::from(!test.ledger.0.database.is_remote()));
}

#[tokio::test]
async fn a_request_without_effect_is_repeated_a_few_times() {
    let mut test = TestLedger::new().await;
    let id = test.charge_with_receipt().await;
    let mut attempts = 0;
    for minutes in [0, 1, 3, 7, 15, 31, 63, 127] {
        let ReceiptClaim::Claimed(claimed) = test.ledger.claim_receipt(id, in_minutes(minutes)).await.unwrap() else {
            continue;
        };
        attempts += 1;
        assert_eq!(claimed.attempt, attempts);
        test.report(&claimed, ReceiptResult::NotSent(Some(20429))).await;
        assert!(test.claim_receipt(id).await.is_none(), "not at once");
    }
    assert_eq!(attempts, 6);
    assert_eq!(test.receipt_states(id).await, ["due", "due", "due", "due", "due", "dropped"]);
}

#[tokio::test]
async fn an_outcome_that_comes_late_has_a_receipt_for_a_day() {
    for (hours, is_sent) in [(23, true), (25, false)] {
        let mut test = TestLedger::new().await;
        let id = test.submit_with_receipt("25", "PK1").await;
        test.ledger.record_call_ended(&test.call).await.unwrap();
        assert!(test.due().await.is_empty(), "unknown");
        let settlement = Settlement {
            outcome: SettledOutcome::Charged,
            confirmation: None,
            note: None,
            is_correction: false,
            operator: None,
        };
        test.ledger.settle(id, &settlement).await.unwrap();
        let claim = test.ledger.claim_receipt(id, in_minutes(hours * 60)).await.unwrap();
        assert_eq!(matches!(claim, ReceiptClaim::Claimed(_)), is_sent, "{claim:?}");
        let states = if is_sent { Vec::new() } else { vec!["dropped"] };
        assert_eq!(test.receipt_states(id).await, states);
    }
}

#[tokio::test]
async fn a_payment_that_is_not_paid_any_more_has_no_receipt() {
    let mut test = TestLedger::new().await;
    let id = test.charge_with_receipt().await;
    let all = Refund { kind: RefundKind::Refund, amount: "25".into(), reference: "re_1".into(), at: None, operator: None };
    test.ledger.record_refund(id, &all).await.unwrap();
    assert!(matches!(
        test.ledger.claim_receipt(id, Timestamp::now()).await.unwrap(),
        ReceiptClaim::Closed { result: ReceiptResult::Dropped(_), .. }
    ));
}

#[tokio::test]
async fn a_withheld_number_gets_none() {
    let mut test = TestLedger::new().await;
    test.call.caller = None;
    let id = test.submit_with_receipt("0", "PK1").await;
    test.deliver_callback("PK1", &TOKENIZED).await;
    let claim = test.ledger.claim_receipt_of(&"PK1".parse().unwrap()).await.unwrap();
    let ReceiptClaim::Closed { payment, result: ReceiptResult::Impossible(None) } = claim else { panic!("{claim:?}") };
    assert_eq!(payment, id);
    assert_eq!(test.receipt_states(id).await, ["impossible"]);
    assert!(test.claim_receipt(id).await.is_none());
}

#[tokio::test]
async fn a_payment_without_success_or_without_the_setting_has_no_receipt() {
    let mut test = TestLedger::new().await;
    let declined = test.submit_with_receipt("25", "PK1").await;
    test.deliver_callback("PK1", &[("Result", "payment-connector-error"), ("PayErrorCode", "64008")]).await;
    test.call = call("CA2");
    let plain = test.submit_payment("26", "PK2").await;
    test.ledger
        .record_callback(&{
            let mut callback = status("PK2", &CHARGED);
            callback.call_sid = "CA2".parse().unwrap();
            callback
        })
        .await
        .unwrap();
    assert_eq!(test.state(plain).await, PaymentState::Charged);
    assert!(test.due().await.is_empty());
    assert!(test.claim_receipt(declined).await.is_none() && test.claim_receipt(plain).await.is_none());
}

#[tokio::test]
async fn erasure_waits_for_the_receipt() {
    let mut test = TestLedger::new().await;
    let id = test.charge_with_receipt().await;
    for due in test.ledger.due_deliveries(Timestamp::now(), 9).await.unwrap() {
        test.ledger.record_delivered(&due).await.unwrap();
    }
    let caller = "+15550100001".parse().unwrap();
    let erased = async |test: &TestLedger| test.ledger.erase_caller(&caller, |_, _| {}).await.unwrap();
    assert_eq!(erased(&test).await, ErasureResult { erased: 0, kept: 1 });
    let claimed = test.claim_receipt(id).await.unwrap();
    assert_eq!(erased(&test).await, ErasureResult { erased: 0, kept: 1 });
    test.report(&claimed, ReceiptResult::Sent(message())).await;
    assert_eq!(erased(&test).await, ErasureResult { erased: 1, kept: 0 });
    let rows = test.count("SELECT count(*) FROM receipts WHERE language || state LIKE '%555%'").await;
    assert_eq!(rows, 0, "it never had the number");
}
