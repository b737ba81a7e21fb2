//! Tests of callbacks: late, repeated, in any order, and of unknown sessions.

use proptest::prelude::*;

use super::*;

#[tokio::test]
async fn success_of_a_submitted_payment_is_final_whenever_it_arrives() {
    let mut test = TestLedger::new().await;
    let declined = test.submit_payment("25", "PK1").await;
    test.deliver_callback("PK1", &[("Result", "payment-connector-error"), ("PayErrorCode", "64008")]).await;
    let failed = test.submit_payment("26", "PK2").await;
    test.deliver_callback("PK2", &[("Result", "validation-error")]).await;
    let unknown = test.submit_payment("27", "PK3").await;
    test.ledger.record_call_ended(&test.call).await.unwrap();
    for (id, sid, before) in [
        (declined, "PK1", PaymentState::Declined),
        (failed, "PK2", PaymentState::Failed),
        (unknown, "PK3", PaymentState::Unknown),
    ] {
        assert_eq!(test.state(id).await, before);
        test.deliver_callback(sid, &CHARGED).await;
        test.deliver_callback(sid, &[("Result", "transaction-cancelled")]).await;
        let payment = test.ledger.payment(id).await.unwrap().unwrap();
        assert_eq!((payment.state, payment.confirmation_code.as_deref()), (PaymentState::Charged, Some("ch_1")));
    }
}

#[tokio::test]
async fn contradicted_success_makes_a_payment_unknown_in_any_state() {
    let mut test = TestLedger::new().await;
    let cancelled = test.create_session("25", "PK1").await;
    test.deliver_callback("PK1", &[("Result", "transaction-cancelled")]).await;
    test.deliver_callback("PK1", &CHARGED).await;
    assert_eq!(test.state(cancelled).await, PaymentState::Unknown, "it was never submitted");
    test.call = call("CA2");
    for (n, contradiction) in
        [("ChargeAmount", "2500.00"), ("PayConnector_payment_status", "DECLINED")].into_iter().enumerate()
    {
        test.call = call(&format!("CA3{n}"));
        let sid = format!("PK2{n}");
        let id = test.submit_payment("26", &sid).await;
        test.deliver_callback(&sid, &[&CHARGED[..], &[contradiction]].concat()).await;
        assert_eq!(test.state(id).await, PaymentState::Unknown, "{contradiction:?}");
        // An unambiguous success settles it.
        test.deliver_callback(&sid, &[("Result", "success"), ("PaymentConfirmationCode", "ch_2")]).await;
        assert_eq!(test.state(id).await, PaymentState::Charged);
    }
    test.call = call("CA4");
    let stored = test.submit_payment("0", "PK4").await;
    test.deliver_callback("PK4", &[("Result", "success")]).await;
    assert_eq!(test.state(stored).await, PaymentState::Unknown, "neither token nor profile");
}

#[tokio::test]
async fn payment_is_unknown_if_the_gateway_result_is_ambiguous() {
    let mut test = TestLedger::new().await;
    for (n, words) in [
        &[("Result", "internal-error")][..],
        &[("Result", "caller-interrupted-with-star")],
        &[("Result", "caller-hung-up")],
        &[("Result", "payment-connector-error"), ("PaymentError", "Gateway timed out"), ("PayErrorCode", "64002")],
    ]
    .into_iter()
    .enumerate()
    {
        test.call = call(&format!("CA{n}"));
        let sid = format!("PK{n}");
        let id = test.submit_payment("25", &sid).await;
        test.deliver_callback(&sid, words).await;
        let payment = test.ledger.payment(id).await.unwrap().unwrap();
        assert_eq!((payment.state, payment.result.as_deref()), (PaymentState::Unknown, Some(words[0].1)), "{words:?}");
        assert!(
            matches!(test.request_create("25").await, Err(RecordRequestError::EarlierUnsettled)),
            "the order cannot be paid again"
        );
    }
}

#[tokio::test]
async fn refused_card_is_declined_although_the_caller_ends_the_payment() {
    let mut test = TestLedger::new().await;
    for (n, end) in ["transaction-cancelled", "caller-hung-up", ""].into_iter().enumerate() {
        test.call = call(&format!("CA{n}"));
        let sid = format!("PK{n}");
        let id = test.create_session("25", &sid).await;
        test.update_session(&update(id, &sid, UpdateAction::Capture(Field::CardNumber), 1), &TwilioResponse::Accepted)
            .await
            .unwrap();
        let refused = TwilioResponse::Refused { code: Some(64012), reason: "no" };
        test.update_session(&update(id, &sid, UpdateAction::Complete, 1), &refused).await.unwrap();
        match end {
            "" => test.ledger.record_call_ended(&test.call).await.unwrap(),
            word => drop(test.deliver_callback(&sid, &[("Result", word)]).await),
        }
        let payment = test.ledger.payment(id).await.unwrap().unwrap();
        assert_eq!((payment.state, payment.result_code), (PaymentState::Declined, Some(64012)), "{end}");
    }
}

#[tokio::test]
async fn bank_debit_is_pending_until_it_is_settled_or_returned() {
    let mut test = TestLedger::new().await;
    let said = [("paymentMethod", "ach-debit"), ("avsName", "Ann Lee")];
    let said = said.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    test.terms = PaymentSettings::sample().parse_terms(&said).unwrap().into();
    let id = test.submit_payment("25", "PK1").await;
    test.deliver_callback("PK1", &[("Result", "success"), ("PaymentConfirmationCode", "ch_1")]).await;
    assert_eq!(test.state(id).await, PaymentState::Pending);
    let due = test.ledger.due_deliveries(Timestamp::now(), 9).await.unwrap();
    assert!(due[0].body.as_ref().unwrap().expose_secret().contains(r#""state":"pending""#));
}

#[tokio::test]
async fn callback_before_the_response_provides_the_session_sid() {
    let mut test = TestLedger::new().await;
    let create = test.request_create("25").await.unwrap();
    assert_eq!(
        test.deliver_callback("PK9", &[("ChargeAmount", "30.00")]).await,
        RecordOutcome::UnknownPayment,
        "another amount"
    );
    assert_eq!(test.deliver_callback("PK1", &[("ChargeAmount", "25.00")]).await, RecordOutcome::Written);
    assert_eq!(test.deliver_callback("PK1", &[("ChargeAmount", "25.00")]).await, RecordOutcome::Unchanged);
    test.ledger.record_create_response(&create, &TwilioResponse::Created("PK1".parse().unwrap())).await.unwrap();
    assert_eq!(test.event_kinds(create.id).await, ["opening", "opened", "answered"]);
}

#[tokio::test]
async fn success_of_an_unknown_session_is_recorded() {
    let mut test = TestLedger::new().await;
    let waiting = test.request_create("25").await.unwrap().id;
    assert_eq!(
        test.deliver_callback("PK7", &[("Result", "caller-hung-up"), ("ChargeAmount", "7.00")]).await,
        RecordOutcome::UnknownPayment
    );
    test.deliver_callback("PK7", &CHARGED).await;
    test.deliver_callback("PK8", &[("Result", "internal-error"), ("PaymentConfirmationCode", "ch_8")]).await;
    assert_eq!(test.state(waiting).await, PaymentState::Opened);
    let filter = PaymentFilter { since: None, state: Some(PaymentState::Unknown), after: None, limit: 10 };
    let found = test.ledger.payments(&filter).await.unwrap();
    let sids: Vec<_> =
        found.iter().filter_map(|payment| payment.payment_sid.as_ref()).map(crate::ids::PaymentSid::as_str).collect();
    assert_eq!(sids, ["PK7", "PK8"]);
}

#[tokio::test]
async fn key_presses_are_not_recorded() {
    let mut test = TestLedger::new().await;
    let id = test.create_session("25", "PK1").await;
    let key = [("Capture", "payment-card-number"), ("PartialResult", "true"), ("PaymentCardNumber", "xx")];
    assert_eq!(test.deliver_callback("PK1", &key).await, RecordOutcome::Unchanged);
    assert_eq!(test.event_kinds(id).await, ["opening", "answered", "opened"]);
}

#[tokio::test]
async fn repeated_delivery_is_recorded_once_and_each_wrong_entry_separately() {
    let mut test = TestLedger::new().await;
    let id = test.create_session("25", "PK1").await;
    let wrong = |delivery: &'static str| {
        [("Capture", "payment-card-number"), ("ErrorType", "invalid-card-number"), ("delivery", delivery)]
    };
    for delivery in ["a", "a", "b", "a"] {
        test.deliver_callback("PK1", &wrong(delivery)).await;
    }
    assert_eq!(test.event_kinds(id).await.iter().filter(|kind| *kind == "wrong").count(), 2);
}

#[tokio::test]
async fn a_replay_counts_once_however_its_fields_are_cut() {
    let mut test = TestLedger::new().await;
    let id = test.create_session("25", "PK1").await;
    let entry = ("Capture", "payment-card-number");
    let wrong = ("ErrorType", "invalid-card-number");
    let genuine = [entry, wrong, ("DateUpdated", "2026-08-30T10:00:00.001Z")];
    // The same signature is valid for it, and it has no `DateUpdated`.
    let cut = [entry, wrong, ("DateUpdate", "d2026-08-30T10:00:00.001Z")];
    for fields in [genuine, genuine, cut] {
        test.deliver_callback("PK1", &fields).await;
        test.update_session(&update(id, "PK1", UpdateAction::Capture(Field::CardNumber), 1), &TwilioResponse::Accepted)
            .await
            .unwrap();
    }
    test.deliver_callback("PK1", &[entry, wrong, ("DateUpdated", "2026-08-30T10:00:07.000Z")]).await;
    assert_eq!(test.event_kinds(id).await.iter().filter(|kind| *kind == "wrong").count(), 2);
}

#[tokio::test]
async fn without_a_date_an_equal_wrong_entry_counts_once_per_request() {
    let mut test = TestLedger::new().await;
    let id = test.create_session("25", "PK1").await;
    let wrong = [("Capture", "payment-card-number"), ("ErrorType", "invalid-card-number")];
    for n in 1..=2 {
        let capture = update(id, "PK1", UpdateAction::Capture(Field::CardNumber), n);
        test.update_session(&capture, &TwilioResponse::Accepted).await.unwrap();
        for _ in 0..3 {
            test.deliver_callback("PK1", &wrong).await;
        }
    }
    assert_eq!(test.event_kinds(id).await.iter().filter(|kind| *kind == "wrong").count(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// All callbacks of a payment, each up to three times, in any order.
    #[test]
    fn the_order_of_callbacks_does_not_matter(
        order in prop::collection::vec(0..5_usize, 12).prop_map(|more| [vec![0, 1, 2, 3, 4], more].concat()).prop_shuffle(),
        tokens in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut test = TestLedger::new().await;
            let id = test.submit_payment("0", "PK1").await;
            test.ledger.record_call_ended(&test.call).await.unwrap();
            let reports: [&[(&str, &str)]; 5] = [
                &[],
                &[("Capture", "payment-card-number"), ("ErrorType", "input-timeout"), ("DateUpdated", "2026-08-30T10:00:00.001Z")],
                &[("Capture", "payment-card-number"), ("PartialResult", "false"), ("Required", ""),
                    ("DateUpdated", "2026-08-30T10:00:00.002Z")],
                &TOKENIZED,
                &[("Result", "caller-hung-up")],
            ];
            for which in order {
                let token = ["a", "b", "c", "d", "e"][which];
                let delivery = [("delivery", token)];
                let fields = [reports[which], &delivery[..usize::from(tokens)]].concat();
                test.deliver_callback("PK1", &fields).await;
            }
            let payment = test.ledger.payment(id).await.unwrap().unwrap();
            assert!(payment.state == PaymentState::Tokenized && payment.holds_token);
            assert_eq!(payment.result.as_deref(), Some("success"));
            let mut kinds = test.event_kinds(id).await;
            kinds.retain(|kind| ["wrong", "entered", "ended"].contains(&kind.as_str()));
            kinds.sort();
            assert_eq!(kinds, ["ended", "ended", "entered", "wrong"]);
        });
    }
}
