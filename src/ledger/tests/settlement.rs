//! Tests of settlements by operators, and of callbacks after them.

use serde_json::Value;

use super::*;

fn settlement(verdict: SettledOutcome) -> Settlement {
    Settlement { outcome: verdict, confirmation: None, note: None, is_correction: false, operator: None }
}

fn correction(verdict: SettledOutcome) -> Settlement {
    Settlement { note: Some("the wrong row".to_owned()), is_correction: true, ..settlement(verdict) }
}

/// Creates a payment that is unknown since its call ended.
async fn create_unknown_payment(test: &mut TestLedger, sid: &str) -> PaymentId {
    let id = test.submit_payment("25", sid).await;
    test.ledger.record_call_ended(&test.call).await.unwrap();
    id
}

/// Delivers all outcomes, oldest first, and returns their type, state and confirmation code.
async fn deliver_outcomes(test: &TestLedger) -> Vec<[String; 3]> {
    let mut told = Vec::new();
    loop {
        let due = test.ledger.due_deliveries(Timestamp::now(), 9).await.unwrap();
        if due.is_empty() {
            return told;
        }
        for due in due {
            let body: Value = serde_json::from_str(due.body.as_ref().unwrap().expose_secret()).unwrap();
            let member = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
            told.push(["type", "state", "confirmationCode"].map(member));
            test.ledger.record_delivered(&due).await.unwrap();
        }
    }
}

#[tokio::test]
async fn only_unknown_payments_are_settled_and_only_to_fitting_outcomes() {
    let mut test = TestLedger::new().await;
    let with_code = |verdict| Settlement { confirmation: Some("ch_9".to_owned()), ..settlement(verdict) };
    let id = test.submit_payment("25", "PK1").await;
    let early = test.ledger.settle(id, &with_code(SettledOutcome::Charged)).await;
    assert!(matches!(early, Err(SettleError::NotSettleable(PaymentState::Submitted))));
    test.ledger.record_call_ended(&test.call).await.unwrap();
    let wrong = test.ledger.settle(id, &with_code(SettledOutcome::Tokenized)).await;
    assert!(matches!(wrong, Err(SettleError::WrongPurpose { charges: true })));
    let wrong = test.ledger.settle(id, &with_code(SettledOutcome::Returned)).await;
    assert!(matches!(wrong, Err(SettleError::NotBankDebit)));
    let payment = test.ledger.settle(id, &with_code(SettledOutcome::Charged)).await.unwrap();
    assert_eq!((payment.state, payment.confirmation_code.as_deref()), (PaymentState::Charged, Some("ch_9")));
    let missing = test.ledger.settle(test.ids.generate(), &with_code(SettledOutcome::Declined)).await;
    assert!(matches!(missing, Err(SettleError::NoSuchPayment)));
}

#[tokio::test]
async fn wrong_settlement_is_corrected_with_a_note_and_both_are_in_the_events() {
    let mut test = TestLedger::new().await;
    let id = create_unknown_payment(&mut test, "PK1").await;
    let early = test.ledger.settle(id, &correction(SettledOutcome::Charged)).await;
    assert!(matches!(early, Err(SettleError::NeverSettled(PaymentState::Unknown))));
    let by_ann = Settlement { operator: "ann".parse().ok(), ..settlement(SettledOutcome::Declined) };
    test.ledger.settle(id, &by_ann).await.unwrap();
    let again = test.ledger.settle(id, &settlement(SettledOutcome::Charged)).await;
    assert!(matches!(again, Err(SettleError::NotSettleable(PaymentState::Declined))));
    let silent = Settlement { note: Some("  ".to_owned()), ..correction(SettledOutcome::Charged) };
    assert!(matches!(test.ledger.settle(id, &silent).await, Err(SettleError::NoteMissing)));
    let same = test.ledger.settle(id, &correction(SettledOutcome::Declined)).await;
    assert!(matches!(same, Err(SettleError::InvalidTransition(PaymentState::Declined, PaymentState::Declined))));
    let found = Settlement { confirmation: Some("ch_9".to_owned()), ..correction(SettledOutcome::Charged) };
    test.ledger.settle(id, &found).await.unwrap();
    let back = test.ledger.settle(id, &correction(SettledOutcome::Cancelled)).await.unwrap();
    assert_eq!(
        (back.state, back.confirmation_code),
        (PaymentState::Cancelled, None),
        "the code belonged to the wrong settlement"
    );

    let settled: Vec<Value> = test
        .ledger
        .events(id)
        .await
        .unwrap()
        .into_iter()
        .filter(|event| event.kind == "settled")
        .map(|event| serde_json::from_str(event.data.get()).unwrap())
        .collect();
    let corrects: Vec<&str> = settled.iter().map(|data| data["corrects"].as_str().unwrap_or("-")).collect();
    assert_eq!(corrects, ["-", "declined", "charged"]);
    assert_eq!((&settled[1]["note"], &settled[1]["confirmationCode"]), (&"the wrong row".into(), &"ch_9".into()));
    assert_eq!((&settled[0]["operator"], &settled[1]["operator"]), (&"ann".into(), &Value::Null));
    let states: Vec<String> = deliver_outcomes(&test).await.into_iter().map(|[_, state, _]| state).collect();
    assert_eq!(states, ["unknown", "declined", "charged", "cancelled"]);
}

#[tokio::test]
async fn success_reported_by_twilio_is_not_corrected() {
    let mut test = TestLedger::new().await;
    let id = create_unknown_payment(&mut test, "PK1").await;
    test.ledger.settle(id, &settlement(SettledOutcome::Declined)).await.unwrap();
    test.deliver_callback("PK1", &CHARGED).await;
    assert_eq!(test.state(id).await, PaymentState::Charged);
    for verdict in [SettledOutcome::Declined, SettledOutcome::Cancelled] {
        assert!(matches!(test.ledger.settle(id, &correction(verdict)).await, Err(SettleError::SuccessReported)));
    }
}

#[tokio::test]
async fn success_after_a_settlement_is_stored_and_delivered() {
    let mut test = TestLedger::new().await;
    let id = create_unknown_payment(&mut test, "PK1").await;
    test.ledger.settle(id, &settlement(SettledOutcome::Charged)).await.unwrap();
    test.deliver_callback("PK1", &CHARGED).await;
    let payment = test.ledger.payment(id).await.unwrap().unwrap();
    assert_eq!(
        (payment.state, payment.confirmation_code.as_deref(), payment.last4.as_deref()),
        (PaymentState::Charged, Some("ch_1"), Some("4242"))
    );
    let owned = |[kind, state, code]: [&str; 3]| [kind.to_owned(), state.to_owned(), code.to_owned()];
    let all = [
        ["payment.unknown", "unknown", ""],
        ["payment.charged", "charged", ""],
        ["payment.charged", "charged", "ch_1"],
    ];
    assert_eq!(deliver_outcomes(&test).await, all.map(owned));
}

#[tokio::test]
async fn pending_bank_debit_is_settled_or_returned() {
    let mut test = TestLedger::new().await;
    let method = [("paymentMethod", "ach-debit"), ("avsName", "Ann Lee")];
    let method = method.map(|(name, value)| (name.to_owned(), value.to_owned()));
    test.terms = PaymentSettings::sample().parse_terms(&method.into_iter().collect()).unwrap().into();
    for (sid, verdict, state) in [
        ("PK1", SettledOutcome::Charged, PaymentState::Charged),
        ("PK2", SettledOutcome::Returned, PaymentState::Returned),
    ] {
        test.call = call(&format!("CA-{sid}"));
        test.call.set_call_reference(sid);
        let id = test.submit_payment("25", sid).await;
        let mut accepted = status(sid, &CHARGED);
        accepted.call_sid = test.call.call_sid.clone();
        test.ledger.record_callback(&accepted).await.unwrap();
        assert_eq!(test.state(id).await, PaymentState::Pending);
        let wrong = test.ledger.settle(id, &settlement(SettledOutcome::Declined)).await;
        assert!(matches!(wrong, Err(SettleError::InvalidTransition(PaymentState::Pending, PaymentState::Declined))));
        assert_eq!(test.ledger.settle(id, &settlement(verdict)).await.unwrap().state, state);
        let other = if verdict == SettledOutcome::Charged { SettledOutcome::Returned } else { SettledOutcome::Charged };
        test.ledger.settle(id, &correction(other)).await.unwrap();
        assert!(matches!(
            test.ledger.settle(id, &correction(SettledOutcome::Declined)).await,
            Err(SettleError::SuccessReported)
        ));
    }
    let states: Vec<String> = deliver_outcomes(&test).await.into_iter().map(|[_, state, _]| state).collect();
    assert_eq!(states.iter().filter(|state| *state == "pending").count(), 2, "delivered as soon as it is known");
    assert_eq!(states.iter().filter(|state| *state == "returned").count(), 2);
}

#[tokio::test]
async fn only_a_bank_debit_is_returned_after_it_was_settled_as_charged() {
    let mut test = TestLedger::new().await;
    let card = create_unknown_payment(&mut test, "PK1").await;
    test.ledger.settle(card, &settlement(SettledOutcome::Charged)).await.unwrap();
    let wrong = test.ledger.settle(card, &settlement(SettledOutcome::Returned)).await;
    assert!(matches!(wrong, Err(SettleError::NotBankDebit)));
    assert_eq!(test.state(card).await, PaymentState::Charged);

    let method = [("paymentMethod", "ach-debit"), ("avsName", "Ann Lee")];
    let method = method.map(|(name, value)| (name.to_owned(), value.to_owned()));
    test.terms = PaymentSettings::sample().parse_terms(&method.into_iter().collect()).unwrap().into();
    test.call = call("CA-PK2");
    test.call.set_call_reference("PK2");
    let debit = create_unknown_payment(&mut test, "PK2").await;
    test.ledger.settle(debit, &settlement(SettledOutcome::Charged)).await.unwrap();
    let other = test.ledger.settle(debit, &settlement(SettledOutcome::Declined)).await;
    assert!(matches!(other, Err(SettleError::NotSettleable(PaymentState::Charged))));
    assert_eq!(
        test.ledger.settle(debit, &settlement(SettledOutcome::Returned)).await.unwrap().state,
        PaymentState::Returned
    );
    let back = test.ledger.settle(debit, &settlement(SettledOutcome::Charged)).await;
    assert!(matches!(back, Err(SettleError::NotSettleable(PaymentState::Returned))));
    let states: Vec<String> = deliver_outcomes(&test).await.into_iter().map(|[_, state, _]| state).collect();
    assert!(states.ends_with(&["charged".to_owned(), "returned".to_owned()]), "{states:?}");
}

#[tokio::test]
async fn token_of_a_contradicted_success_is_kept_until_it_is_settled() {
    let test = TestLedger::new().await;
    test.deliver_callback("PK9", &TOKENIZED).await;
    let filter = PaymentFilter { since: None, state: Some(PaymentState::Unknown), after: None, limit: 9 };
    let id = test.ledger.payments(&filter).await.unwrap().remove(0).id;
    let holds_token = async || test.ledger.payment(id).await.unwrap().unwrap().holds_token;
    let due = test.ledger.due_deliveries(Timestamp::now(), 9).await.unwrap().remove(0);
    assert!(!due.body.as_ref().unwrap().expose_secret().contains("hush"), "it is not known whether a card was stored");
    test.ledger.record_delivered(&due).await.unwrap();
    assert!(holds_token().await);
    test.ledger.settle(id, &settlement(SettledOutcome::Tokenized)).await.unwrap();
    let due = test.ledger.due_deliveries(Timestamp::now(), 9).await.unwrap().remove(0);
    assert!(due.body.as_ref().unwrap().expose_secret().contains("tok_hush-hush"));
    test.ledger.record_delivered(&due).await.unwrap();
    assert!(!holds_token().await);
}
