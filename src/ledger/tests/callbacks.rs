//! Callbacks: late, twice, in any order, of sessions that nobody knows.

use proptest::prelude::*;

use super::*;

#[tokio::test]
async fn a_success_of_what_was_submitted_is_the_last_word_whenever_it_comes() {
    let mut desk = Desk::new().await;
    let declined = desk.submitted("25", "PK1").await;
    desk.told("PK1", &[("Result", "payment-connector-error"), ("PayErrorCode", "64008")]).await;
    let failed = desk.submitted("26", "PK2").await;
    desk.told("PK2", &[("Result", "validation-error")]).await;
    let unknown = desk.submitted("27", "PK3").await;
    desk.ledger.call_over(&desk.call.sid).await.unwrap();
    for (id, sid, before) in
        [(declined, "PK1", State::Declined), (failed, "PK2", State::Failed), (unknown, "PK3", State::Unknown)]
    {
        assert_eq!(desk.state(id).await, before);
        desk.told(sid, &CHARGED).await;
        desk.told(sid, &[("Result", "transaction-cancelled")]).await;
        let payment = desk.ledger.payment(id).await.unwrap().unwrap();
        assert_eq!((payment.state, payment.confirmation.as_deref()), (State::Charged, Some("ch_1")));
    }
}

#[tokio::test]
async fn a_success_that_is_contradicted_makes_a_payment_unknown_whatever_it_was() {
    let mut desk = Desk::new().await;
    let cancelled = desk.opened("25", "PK1").await;
    desk.told("PK1", &[("Result", "transaction-cancelled")]).await;
    desk.told("PK1", &CHARGED).await;
    assert_eq!(desk.state(cancelled).await, State::Unknown, "it was never submitted");
    desk.call = call("CA2");
    for (n, contradiction) in
        [("ChargeAmount", "2500.00"), ("PayConnector_payment_status", "DECLINED")].into_iter().enumerate()
    {
        desk.call = call(&format!("CA3{n}"));
        let sid = format!("PK2{n}");
        let id = desk.submitted("26", &sid).await;
        desk.told(&sid, &[&CHARGED[..], &[contradiction]].concat()).await;
        assert_eq!(desk.state(id).await, State::Unknown, "{contradiction:?}");
        // A success without a doubt settles it.
        desk.told(&sid, &[("Result", "success"), ("PaymentConfirmationCode", "ch_2")]).await;
        assert_eq!(desk.state(id).await, State::Charged);
    }
    desk.call = call("CA4");
    let stored = desk.submitted("0", "PK4").await;
    desk.told("PK4", &[("Result", "success")]).await;
    assert_eq!(desk.state(stored).await, State::Unknown, "neither token nor profile");
}

#[tokio::test]
async fn what_the_gateway_did_is_unknown_unless_it_is_said() {
    let mut desk = Desk::new().await;
    for (n, words) in [
        &[("Result", "internal-error")][..],
        &[("Result", "caller-interrupted-with-star")],
        &[("Result", "caller-hung-up")],
        &[("Result", "payment-connector-error"), ("PaymentError", "Gateway timed out"), ("PayErrorCode", "64002")],
    ]
    .into_iter()
    .enumerate()
    {
        desk.call = call(&format!("CA{n}"));
        let sid = format!("PK{n}");
        let id = desk.submitted("25", &sid).await;
        desk.told(&sid, words).await;
        let payment = desk.ledger.payment(id).await.unwrap().unwrap();
        assert_eq!((payment.state, payment.result.as_deref()), (State::Unknown, Some(words[0].1)), "{words:?}");
        assert!(matches!(desk.opening("25").await, Err(Refused::Unsettled)), "no new try for that order");
    }
}

#[tokio::test]
async fn a_card_that_was_refused_at_once_is_declined_though_the_caller_gave_up_then() {
    let mut desk = Desk::new().await;
    for (n, end) in ["transaction-cancelled", "caller-hung-up", ""].into_iter().enumerate() {
        desk.call = call(&format!("CA{n}"));
        let sid = format!("PK{n}");
        let id = desk.opened("25", &sid).await;
        desk.does(&update(id, &sid, Change::Capture(Field::CardNumber), 1), &Answer::Accepted).await.unwrap();
        let refused = Answer::Refused { code: Some(64012), reason: "no" };
        desk.does(&update(id, &sid, Change::Complete, 1), &refused).await.unwrap();
        match end {
            "" => desk.ledger.call_over(&desk.call.sid).await.unwrap(),
            word => drop(desk.told(&sid, &[("Result", word)]).await),
        }
        let payment = desk.ledger.payment(id).await.unwrap().unwrap();
        assert_eq!((payment.state, payment.result_code), (State::Declined, Some(64012)), "{end}");
    }
}

#[tokio::test]
async fn the_debit_of_an_account_is_pending_until_it_is_settled_or_comes_back() {
    let mut desk = Desk::new().await;
    let said = [("paymentMethod", "ach-debit"), ("avsName", "Ann Lee")];
    let said = said.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    desk.terms = Settings::sample().terms(&said).unwrap().into();
    let id = desk.submitted("25", "PK1").await;
    desk.told("PK1", &[("Result", "success"), ("PaymentConfirmationCode", "ch_1")]).await;
    assert_eq!(desk.state(id).await, State::Pending);
    let due = desk.ledger.due(Timestamp::now(), 9).await.unwrap();
    assert!(due[0].body.expose_secret().contains(r#""state":"pending""#));
}

#[tokio::test]
async fn a_callback_that_is_faster_than_the_answer_tells_the_session() {
    let mut desk = Desk::new().await;
    let create = desk.opening("25").await.unwrap();
    assert_eq!(desk.told("PK9", &[("ChargeAmount", "30.00")]).await, Reported::Unknown, "another amount");
    assert_eq!(desk.told("PK1", &[("ChargeAmount", "25.00")]).await, Reported::Written);
    assert_eq!(desk.told("PK1", &[("ChargeAmount", "25.00")]).await, Reported::Nothing);
    desk.ledger.created(&create, &Answer::Created("PK1".parse().unwrap())).await.unwrap();
    assert_eq!(desk.kinds(create.id).await, ["opening", "opened", "answered"]);
}

#[tokio::test]
async fn a_success_that_belongs_to_no_payment_here_is_written_down_all_the_same() {
    let mut desk = Desk::new().await;
    let waiting = desk.opening("25").await.unwrap().id;
    assert_eq!(desk.told("PK7", &[("Result", "caller-hung-up"), ("ChargeAmount", "7.00")]).await, Reported::Unknown);
    desk.told("PK7", &CHARGED).await;
    assert_eq!(desk.state(waiting).await, State::Opened);
    let filter = Filter { since: None, state: Some(State::Unknown), after: None, limit: 10 };
    let found = desk.ledger.payments(&filter).await.unwrap();
    assert_eq!((found.len(), found[0].sid.as_ref().unwrap().as_str()), (1, "PK7"));
}

#[tokio::test]
async fn key_presses_are_not_written() {
    let mut desk = Desk::new().await;
    let id = desk.opened("25", "PK1").await;
    let key = [("Capture", "payment-card-number"), ("PartialResult", "true"), ("PaymentCardNumber", "xx")];
    assert_eq!(desk.told("PK1", &key).await, Reported::Nothing);
    assert_eq!(desk.kinds(id).await, ["opening", "answered", "opened"]);
}

#[tokio::test]
async fn the_same_delivery_is_written_once_and_a_wrong_entry_each_time_it_happens() {
    let mut desk = Desk::new().await;
    let id = desk.opened("25", "PK1").await;
    let wrong = |delivery: &'static str| {
        [("Capture", "payment-card-number"), ("ErrorType", "invalid-card-number"), ("delivery", delivery)]
    };
    for delivery in ["a", "a", "b", "a"] {
        desk.told("PK1", &wrong(delivery)).await;
    }
    assert_eq!(desk.kinds(id).await.iter().filter(|kind| *kind == "wrong").count(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Everything that is reported of a payment, each thing up to three times, in any order.
    #[test]
    fn the_order_of_callbacks_does_not_matter(
        order in prop::collection::vec(0..5_usize, 12).prop_map(|more| [vec![0, 1, 2, 3, 4], more].concat()).prop_shuffle(),
        tokens in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut desk = Desk::new().await;
            let id = desk.submitted("0", "PK1").await;
            desk.ledger.call_over(&desk.call.sid).await.unwrap();
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
                desk.told("PK1", &fields).await;
            }
            let payment = desk.ledger.payment(id).await.unwrap().unwrap();
            assert!(payment.state == State::Tokenized && payment.holds_token);
            assert_eq!(payment.result.as_deref(), Some("success"));
            let mut kinds = desk.kinds(id).await;
            kinds.retain(|kind| ["wrong", "entered", "ended"].contains(&kind.as_str()));
            kinds.sort();
            assert_eq!(kinds, ["ended", "ended", "entered", "wrong"]);
        });
    }
}
