//! What the tools write, and what they are not allowed.

use super::*;
use crate::redact::Private;
use crate::relay::Incoming;

#[tokio::test]
async fn a_payment_is_followed_from_the_wish_to_the_result() {
    let mut desk = Desk::new().await;
    let create = desk.opening("25").await.unwrap();
    let id = create.id;
    assert_eq!((desk.state(id).await, desk.kinds(id).await), (State::Opened, vec!["opening".to_owned()]));
    desk.ledger.created(&create, &Answer::Created("PK1".parse().unwrap())).await.unwrap();
    let card = update(id, "PK1", Change::Capture(Field::CardNumber), 1);
    desk.does(&card, &Answer::Accepted).await.unwrap();
    assert_eq!(desk.state(id).await, State::Capturing);
    let entered = [("Capture", "payment-card-number"), ("PartialResult", "false"), ("Required", "")];
    desk.told("PK1", &entered).await;
    desk.ledger.asking(&desk.call, &update(id, "PK1", Change::Complete, 1)).await.unwrap();
    assert_eq!(desk.state(id).await, State::Submitted, "written before Twilio is asked");
    desk.ledger.answered(&update(id, "PK1", Change::Complete, 1), &Answer::Accepted).await.unwrap();
    assert_eq!(desk.told("PK1", &CHARGED).await, Reported::Written);

    let payment = desk.ledger.payment(id).await.unwrap().unwrap();
    assert_eq!((payment.state, payment.sid.unwrap().as_str()), (State::Charged, "PK1"));
    assert_eq!(format!("{:?}", payment.amount.unwrap()), "25.00 USD");
    assert_eq!((payment.last4.as_deref(), payment.confirmation.as_deref()), (Some("4242"), Some("ch_1")));
    assert!(payment.submitted_at.is_some() && payment.ended_at.is_some() && !payment.holds_token);
    let kinds = ["opening", "answered", "opened", "asking", "answered", "entered", "asking", "answered", "ended"];
    assert_eq!(desk.kinds(id).await, kinds);
}

#[tokio::test]
async fn a_session_that_twilio_refuses_has_failed_unless_it_was_asked_for_before() {
    let mut desk = Desk::new().await;
    let refused = Answer::Refused { code: Some(64004), reason: "no" };
    let first = desk.opening("25").await.unwrap();
    desk.ledger.created(&first, &refused).await.unwrap();
    assert_eq!(desk.state(first.id).await, State::Failed);
    assert_eq!(desk.ledger.payment(first.id).await.unwrap().unwrap().result_code, Some(64004));

    let second = desk.opening("25").await.unwrap();
    desk.ledger.created(&second, &Answer::Unknown).await.unwrap();
    desk.ledger.opening(&desk.call, &second).await.unwrap();
    desk.ledger.created(&second, &refused).await.unwrap();
    assert_eq!(desk.state(second.id).await, State::Opened, "the first request may have been done");
}

#[tokio::test]
async fn a_completion_that_was_refused_may_be_asked_for_again_and_one_in_doubt_only_with_its_key() {
    let mut desk = Desk::new().await;
    let id = desk.opened("25", "PK1").await;
    let complete = |n| update(id, "PK1", Change::Complete, n);
    desk.does(&update(id, "PK1", Change::Capture(Field::CardNumber), 1), &Answer::Accepted).await.unwrap();
    let refused = Answer::Refused { code: Some(64019), reason: "no" };
    desk.does(&complete(1), &refused).await.unwrap();
    assert_eq!(desk.state(id).await, State::Capturing);
    desk.does(&complete(2), &Answer::Unknown).await.unwrap();
    assert!(matches!(desk.ledger.asking(&desk.call, &complete(3)).await, Err(Refused::Over)));
    desk.does(&complete(2), &refused).await.unwrap();
    assert_eq!(desk.state(id).await, State::Submitted, "the refusal may be about the second request alone");
    desk.told("PK1", &CHARGED).await;
    assert!(matches!(desk.ledger.asking(&desk.call, &complete(2)).await, Err(Refused::Over)));
    assert_eq!(desk.state(id).await, State::Charged);
}

#[tokio::test]
async fn nothing_is_begun_on_a_call_whose_payment_is_not_settled() {
    let mut desk = Desk::new().await;
    let id = desk.submitted("25", "PK1").await;
    assert!(matches!(desk.opening("25").await, Err(Refused::Unsettled)));
    desk.ledger.call_over(&desk.call.sid).await.unwrap();
    assert_eq!(desk.state(id).await, State::Unknown);
    assert!(matches!(desk.opening("25").await, Err(Refused::Unsettled)));
    desk.call = call("CA2");
    assert!(desk.opening("25").await.is_ok(), "another call is another matter");
    desk.call = call("CA1");
    desk.told("PK1", &[("Result", "payment-connector-error"), ("PayErrorCode", "64008")]).await;
    assert_eq!(desk.state(id).await, State::Declined);
    assert!(desk.opening("25").await.is_ok());
}

#[tokio::test]
async fn what_is_due_on_a_call_is_charged_once_whoever_asks_for_it_later() {
    let mut desk = Desk::new().await;
    let due = |amount: &str| [("amountDue".to_owned(), amount.to_owned())].into_iter().collect();
    desk.terms = Settings::sample().terms(&due("25")).unwrap().into();
    desk.submitted("25", "PK1").await;
    desk.told("PK1", &[("Result", "payment-connector-error"), ("PayErrorCode", "64008")]).await;
    let charged = desk.submitted("25", "PK2").await;
    desk.told("PK2", &CHARGED).await;
    let mut desk = desk.restarted().await;
    assert_eq!(desk.state(charged).await, State::Charged);
    // The call goes on with a server that knows nothing of it but what is due.
    assert!(matches!(desk.opening("25").await, Err(Refused::Paid)));
    desk.terms = Settings::sample_terms();
    assert!(desk.opening("25").await.is_ok(), "what the caller agrees to anew is another matter");
    desk.call = call("CA2");
    desk.terms = Settings::sample().terms(&due("25")).unwrap().into();
    assert!(desk.opening("25").await.is_ok(), "and so is another call");
}

#[tokio::test]
async fn what_was_given_up_is_put_away_by_the_next_and_by_the_end_of_the_call() {
    let mut desk = Desk::new().await;
    let forgotten = desk.opening("25").await.unwrap().id;
    let open = desk.opened("30", "PK2").await;
    assert_eq!((desk.state(forgotten).await, desk.state(open).await), (State::Abandoned, State::Opened));
    desk.ledger.call_over(&desk.call.sid).await.unwrap();
    assert_eq!(desk.state(open).await, State::Abandoned);
    desk.ledger.call_over(&desk.call.sid).await.unwrap();
    assert_eq!(desk.kinds(open).await.iter().filter(|kind| *kind == "given-up").count(), 1);
}

#[tokio::test]
async fn a_session_that_nobody_asked_for_is_in_the_ledger_before_it_is_cancelled() {
    let mut desk = Desk::new().await;
    let id = desk.ids.make();
    assert!(matches!(
        desk.ledger.asking(&desk.call, &update(id, "PK9", Change::Complete, 1)).await,
        Err(Refused::Over)
    ));
    desk.does(&update(id, "PK9", Change::Cancel, 1), &Answer::Accepted).await.unwrap();
    assert_eq!(desk.state(id).await, State::Opened, "accepted is not done");
    desk.told("PK9", &[("Result", "transaction-cancelled")]).await;
    assert_eq!(desk.state(id).await, State::Cancelled);
    assert_eq!(desk.kinds(id).await, ["found", "asking", "answered", "ended"]);
}

#[tokio::test]
async fn an_event_is_never_changed_and_a_payment_never_deleted() {
    let mut desk = Desk::new().await;
    desk.opened("25", "PK1").await;
    for forbidden in ["UPDATE events SET kind = 'x'", "DELETE FROM events", "DELETE FROM payments"] {
        let error = desk.executes(forbidden).await.unwrap_err();
        assert!(error.to_string().contains("never"), "{error}");
    }
}

#[tokio::test]
async fn a_reference_steers_no_terminal_that_shows_it() {
    let mut desk = Desk::new().await;
    desk.call.reference = Some(Private::new("7\u{1b}[2J\u{1b}]0;x\u{7}\n9 charged".to_owned()));
    desk.opening("25").await.unwrap();
    let all = desk.ledger.payments(&Filter { since: None, state: None, after: None, limit: 9 }).await.unwrap();
    let table = Table(&all).to_string();
    assert!(!table.contains(|c: char| c.is_control() && c != '\n'), "{table:?}");
    assert_eq!(table.lines().count(), 4, "names, the payment, nothing, the sums: {table}");
}

#[test]
fn a_card_number_in_a_reference_is_cut_wherever_the_reference_is_too_long() {
    for before in 230..256 {
        let reference = format!("{}4242424242424242", "x".repeat(before));
        let setup =
            format!(r#"{{"type":"setup","callSid":"CA1","customParameters":{{"callReference":"{reference}"}}}}"#);
        let Ok(Incoming::Setup(setup)) = Incoming::parse(&setup) else { panic!("a setup frame") };
        let kept = OnCall::new(&setup).reference.unwrap();
        assert!(!kept.reveal().contains("42") && kept.reveal().chars().count() <= 256, "{before}");
    }
}

#[tokio::test]
async fn a_payment_in_a_currency_that_is_on_no_list_any_more_is_read_as_it_was_written() {
    let mut desk = Desk::new().await;
    let id = desk.opened("25", "PK1").await;
    desk.executes("UPDATE payments SET currency = 'QQQ'").await.unwrap();
    let desk = desk.restarted().await;
    assert_eq!(desk.ledger.take_stock().await.unwrap().len(), 1);
    let all = desk.ledger.payments(&Filter { since: None, state: None, after: None, limit: 9 }).await.unwrap();
    assert_eq!(format!("{:?}", all[0].amount.unwrap()), "25.00 QQQ");
    assert!(Table(&all).to_string().contains("25.00 QQQ") && Csv(&all).to_string().contains("25.00,2500,QQQ"));

    desk.executes("UPDATE payments SET currency = 'no code'").await.unwrap();
    assert!(matches!(desk.ledger.payment(id).await, Err(Error::Unreadable("a currency"))));
}
