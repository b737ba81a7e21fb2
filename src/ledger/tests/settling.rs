//! What the operator says of a payment, and what Twilio says after that.

use serde_json::Value;

use super::*;

fn settlement(verdict: Verdict) -> Settlement {
    Settlement { verdict, confirmation: None, note: None, corrects: false }
}

fn correction(verdict: Verdict) -> Settlement {
    Settlement { note: Some("the wrong row".to_owned()), corrects: true, ..settlement(verdict) }
}

/// A payment that is unknown, since its call ended.
async fn unknown(desk: &mut Desk, sid: &str) -> PaymentId {
    let id = desk.submitted("25", sid).await;
    desk.ledger.call_over(&desk.call.sid).await.unwrap();
    id
}

/// What the business is told, oldest first, as type and state and confirmation code.
async fn told(desk: &Desk) -> Vec<[String; 3]> {
    let mut told = Vec::new();
    loop {
        let due = desk.ledger.due(Timestamp::now(), 9).await.unwrap();
        if due.is_empty() {
            return told;
        }
        for due in due {
            let body: Value = serde_json::from_str(due.body.expose_secret()).unwrap();
            let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
            told.push(["type", "state", "confirmationCode"].map(text));
            desk.ledger.delivered(&due).await.unwrap();
        }
    }
}

#[tokio::test]
async fn only_what_is_unknown_is_settled_and_as_what_it_was_to_be() {
    let mut desk = Desk::new().await;
    let with_code = |verdict| Settlement { confirmation: Some("ch_9".to_owned()), ..settlement(verdict) };
    let id = desk.submitted("25", "PK1").await;
    let early = desk.ledger.settle(id, &with_code(Verdict::Charged)).await;
    assert!(matches!(early, Err(NotSettled::NotUnknown(State::Submitted))));
    desk.ledger.call_over(&desk.call.sid).await.unwrap();
    let wrong = desk.ledger.settle(id, &with_code(Verdict::Tokenized)).await;
    assert!(matches!(wrong, Err(NotSettled::Mismatch { charges: true })));
    let wrong = desk.ledger.settle(id, &with_code(Verdict::Returned)).await;
    assert!(matches!(wrong, Err(NotSettled::NotBankDebit)));
    let payment = desk.ledger.settle(id, &with_code(Verdict::Charged)).await.unwrap();
    assert_eq!((payment.state, payment.confirmation.as_deref()), (State::Charged, Some("ch_9")));
    let nobody = desk.ledger.settle(desk.ids.make(), &with_code(Verdict::Declined)).await;
    assert!(matches!(nobody, Err(NotSettled::NoSuchPayment)));
}

#[tokio::test]
async fn a_wrong_settlement_is_corrected_with_a_note_and_both_stand_in_the_events() {
    let mut desk = Desk::new().await;
    let id = unknown(&mut desk, "PK1").await;
    let early = desk.ledger.settle(id, &correction(Verdict::Charged)).await;
    assert!(matches!(early, Err(NotSettled::NeverSettled(State::Unknown))));
    desk.ledger.settle(id, &settlement(Verdict::Declined)).await.unwrap();
    let again = desk.ledger.settle(id, &settlement(Verdict::Charged)).await;
    assert!(matches!(again, Err(NotSettled::NotUnknown(State::Declined))));
    let silent = Settlement { note: Some("  ".to_owned()), ..correction(Verdict::Charged) };
    assert!(matches!(desk.ledger.settle(id, &silent).await, Err(NotSettled::NoNote)));
    let same = desk.ledger.settle(id, &correction(Verdict::Declined)).await;
    assert!(matches!(same, Err(NotSettled::NotFrom(State::Declined, State::Declined))));
    let found = Settlement { confirmation: Some("ch_9".to_owned()), ..correction(Verdict::Charged) };
    desk.ledger.settle(id, &found).await.unwrap();
    let back = desk.ledger.settle(id, &correction(Verdict::Cancelled)).await.unwrap();
    assert_eq!((back.state, back.confirmation), (State::Cancelled, None), "the code was the other payment's");

    let settled: Vec<Value> = desk
        .ledger
        .history(id)
        .await
        .unwrap()
        .into_iter()
        .filter(|event| event.kind == "settled")
        .map(|event| serde_json::from_str(event.data.get()).unwrap())
        .collect();
    let corrects: Vec<&str> = settled.iter().map(|data| data["corrects"].as_str().unwrap_or("-")).collect();
    assert_eq!(corrects, ["-", "declined", "charged"]);
    assert_eq!(settled[1]["note"], "the wrong row");
    let states: Vec<String> = told(&desk).await.into_iter().map(|[_, state, _]| state).collect();
    assert_eq!(states, ["unknown", "declined", "charged", "cancelled"]);
}

#[tokio::test]
async fn what_twilio_reported_as_a_success_is_not_corrected() {
    let mut desk = Desk::new().await;
    let id = unknown(&mut desk, "PK1").await;
    desk.ledger.settle(id, &settlement(Verdict::Declined)).await.unwrap();
    desk.told("PK1", &CHARGED).await;
    assert_eq!(desk.state(id).await, State::Charged);
    for verdict in [Verdict::Declined, Verdict::Cancelled] {
        assert!(matches!(desk.ledger.settle(id, &correction(verdict)).await, Err(NotSettled::Reported)));
    }
}

#[tokio::test]
async fn what_twilio_reports_after_a_settlement_is_kept_and_told() {
    let mut desk = Desk::new().await;
    let id = unknown(&mut desk, "PK1").await;
    desk.ledger.settle(id, &settlement(Verdict::Charged)).await.unwrap();
    desk.told("PK1", &CHARGED).await;
    let payment = desk.ledger.payment(id).await.unwrap().unwrap();
    assert_eq!(
        (payment.state, payment.confirmation.as_deref(), payment.last4.as_deref()),
        (State::Charged, Some("ch_1"), Some("4242"))
    );
    let text = |[kind, state, code]: [&str; 3]| [kind.to_owned(), state.to_owned(), code.to_owned()];
    let all = [
        ["payment.unknown", "unknown", ""],
        ["payment.charged", "charged", ""],
        ["payment.charged", "charged", "ch_1"],
    ];
    assert_eq!(told(&desk).await, all.map(text));
}

#[tokio::test]
async fn a_bank_debit_that_is_pending_is_settled_or_comes_back() {
    let mut desk = Desk::new().await;
    let method = [("paymentMethod", "ach-debit"), ("avsName", "Ann Lee")];
    let method = method.map(|(name, value)| (name.to_owned(), value.to_owned()));
    desk.terms = Settings::sample().terms(&method.into_iter().collect()).unwrap().into();
    for (sid, verdict, state) in
        [("PK1", Verdict::Charged, State::Charged), ("PK2", Verdict::Returned, State::Returned)]
    {
        desk.call = call(&format!("CA-{sid}"));
        desk.call.is_of(sid);
        let id = desk.submitted("25", sid).await;
        let mut accepted = status(sid, &CHARGED);
        accepted.call = desk.call.sid.clone();
        desk.ledger.reported(&accepted).await.unwrap();
        assert_eq!(desk.state(id).await, State::Pending);
        let wrong = desk.ledger.settle(id, &settlement(Verdict::Declined)).await;
        assert!(matches!(wrong, Err(NotSettled::NotFrom(State::Pending, State::Declined))));
        assert_eq!(desk.ledger.settle(id, &settlement(verdict)).await.unwrap().state, state);
        let other = if verdict == Verdict::Charged { Verdict::Returned } else { Verdict::Charged };
        desk.ledger.settle(id, &correction(other)).await.unwrap();
        assert!(matches!(desk.ledger.settle(id, &correction(Verdict::Declined)).await, Err(NotSettled::Reported)));
    }
    let states: Vec<String> = told(&desk).await.into_iter().map(|[_, state, _]| state).collect();
    assert_eq!(states.iter().filter(|state| *state == "pending").count(), 2, "told as soon as it is known");
    assert_eq!(states.iter().filter(|state| *state == "returned").count(), 2);
}

#[tokio::test]
async fn only_a_bank_debit_comes_back_after_it_was_settled_as_charged() {
    let mut desk = Desk::new().await;
    let card = unknown(&mut desk, "PK1").await;
    desk.ledger.settle(card, &settlement(Verdict::Charged)).await.unwrap();
    let wrong = desk.ledger.settle(card, &settlement(Verdict::Returned)).await;
    assert!(matches!(wrong, Err(NotSettled::NotBankDebit)));
    assert_eq!(desk.state(card).await, State::Charged);

    let method = [("paymentMethod", "ach-debit"), ("avsName", "Ann Lee")];
    let method = method.map(|(name, value)| (name.to_owned(), value.to_owned()));
    desk.terms = Settings::sample().terms(&method.into_iter().collect()).unwrap().into();
    desk.call = call("CA-PK2");
    desk.call.is_of("PK2");
    let debit = unknown(&mut desk, "PK2").await;
    desk.ledger.settle(debit, &settlement(Verdict::Charged)).await.unwrap();
    let other = desk.ledger.settle(debit, &settlement(Verdict::Declined)).await;
    assert!(matches!(other, Err(NotSettled::NotUnknown(State::Charged))));
    assert_eq!(desk.ledger.settle(debit, &settlement(Verdict::Returned)).await.unwrap().state, State::Returned);
    let back = desk.ledger.settle(debit, &settlement(Verdict::Charged)).await;
    assert!(matches!(back, Err(NotSettled::NotUnknown(State::Returned))));
    let states: Vec<String> = told(&desk).await.into_iter().map(|[_, state, _]| state).collect();
    assert!(states.ends_with(&["charged".to_owned(), "returned".to_owned()]), "{states:?}");
}

#[tokio::test]
async fn the_token_of_a_doubtful_success_is_kept_until_the_operator_believes_it() {
    let desk = Desk::new().await;
    desk.told("PK9", &TOKENIZED).await;
    let filter = Filter { since: None, state: Some(State::Unknown), after: None, limit: 9 };
    let id = desk.ledger.payments(&filter).await.unwrap().remove(0).id;
    let holds_token = async || desk.ledger.payment(id).await.unwrap().unwrap().holds_token;
    let due = desk.ledger.due(Timestamp::now(), 9).await.unwrap().remove(0);
    assert!(!due.body.expose_secret().contains("hush"), "nobody stored a card as far as is known");
    desk.ledger.delivered(&due).await.unwrap();
    assert!(holds_token().await);
    desk.ledger.settle(id, &settlement(Verdict::Tokenized)).await.unwrap();
    let due = desk.ledger.due(Timestamp::now(), 9).await.unwrap().remove(0);
    assert!(due.body.expose_secret().contains("tok_hush-hush"));
    desk.ledger.delivered(&due).await.unwrap();
    assert!(!holds_token().await);
}
