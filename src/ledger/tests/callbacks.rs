//! Callbacks: late, twice, in any order, of sessions that nobody knows.

use proptest::prelude::*;

use super::*;

#[tokio::test]
async fn a_success_is_believed_whenever_it_comes_and_nothing_after_it() {
    let mut desk = Desk::new().await;
    let cancelled = desk.opened("25", "PK1").await;
    desk.does(&update(cancelled, "PK1", Change::Cancel, 1), &Answer::Accepted).await.unwrap();
    desk.told("PK1", &[("Result", "transaction-cancelled")]).await;
    let abandoned = desk.opened("26", "PK2").await;
    desk.ledger.call_over(&desk.call.sid).await.unwrap();
    let unknown = desk.submitted("27", "PK3").await;
    desk.ledger.call_over(&desk.call.sid).await.unwrap();
    for (id, sid, before) in
        [(cancelled, "PK1", State::Cancelled), (abandoned, "PK2", State::Abandoned), (unknown, "PK3", State::Unknown)]
    {
        assert_eq!(desk.state(id).await, before);
        desk.told(sid, &CHARGED).await;
        desk.told(sid, &[("Result", "transaction-cancelled")]).await;
        assert_eq!(desk.state(id).await, State::Charged);
    }
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
    let filter = Filter { since: None, state: Some(State::Charged), after: None, limit: 10 };
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
