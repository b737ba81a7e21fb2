//! What is charged: what is due, or what the caller agreed to.

use super::*;
use crate::payment::Amount;

/// A call that comes with these parameters.
fn line(parameters: &str) -> Line {
    Line::open_with_parameters(settings(), parameters)
}

fn starts(line: &mut Line, arguments: &str) {
    line.model_calls("start-capture", arguments);
    line.model(ModelEvent::Done);
}

/// What the payment that is being opened is to charge.
fn charge(line: &Line) -> Option<Amount> {
    let [(_, Tool::StartCapture(create))] = line.running.as_slice() else { panic!("no payment is being opened") };
    create.charge
}

#[test]
fn what_is_due_is_charged_and_nothing_else() {
    let mut line = line(r#"{"amountDue":"25.00","currency":"EUR","description":"Invoice 7"}"#);
    line.caller_says("I want to pay");
    assert!(line.history().contains("Due on this call: 25.00 EUR."));
    for other in [r#"{"chargeAmount":"24.99"}"#, r#"{"chargeAmount":"0"}"#] {
        starts(&mut line, other);
        assert!(line.running.is_empty() && line.history().contains("no other amount can be charged"), "{other}");
    }
    line.model_calls("confirm-amount", r#"{"amount":"5"}"#);
    line.model(ModelEvent::Done);
    assert!(line.running.is_empty());
    starts(&mut line, "");
    assert_eq!(format!("{:?}", charge(&line).unwrap()), "25.00 EUR");
    let Tool::StartCapture(create) = &line.running[0].1 else { panic!() };
    assert_eq!(create.terms.description.as_ref().unwrap().reveal(), "Invoice 7");
}

#[test]
fn what_is_due_is_charged_once() {
    let mut line = line(r#"{"amountDue":"25.00"}"#);
    line.at_finish("PK1");
    line.model_replies("", &["finish-capture"]);
    line.twilio_answers(Answer::Accepted);
    line.model_replies("One moment.", &[]);
    line.twilio_reports("PK1", &[("Result", "payment-connector-error"), ("PayErrorCode", "64008")]);
    line.model_replies("Another card?", &[]);
    line.at_finish("PK2");
    line.model_replies("", &["finish-capture"]);
    line.twilio_answers(Answer::Accepted);
    line.model_replies("One moment.", &[]);
    line.twilio_reports("PK2", &[("Result", "success"), ("PaymentToken", "tok")]);
    assert!(line.history().contains("the payment of 25.00 USD succeeded"));
    line.model_replies("", &["start-capture"]);
    assert!(line.running.is_empty() && line.history().contains("is paid already"));
}

#[test]
fn nothing_due_stores_the_card() {
    let mut line = line(r#"{"amountDue":"0"}"#);
    line.caller_says("Here I am");
    starts(&mut line, r#"{"chargeAmount":"1.00"}"#);
    assert!(line.running.is_empty() && line.history().contains("To store the card"));
    starts(&mut line, "");
    assert_eq!(charge(&line), None);
}

#[test]
fn with_broken_terms_no_payment_starts_and_the_model_knows_why() {
    for broken in [r#"{"amountDue":"25,00"}"#, r#"{"amountDue":""}"#, r#"{"amountDue":"1","currency":"dollars"}"#] {
        let mut line = line(broken);
        assert!(line.call.bad_terms().is_some(), "{broken}");
        line.caller_says("I want to pay");
        assert!(line.history().contains("No payment can be taken on this call"));
        starts(&mut line, "");
        starts(&mut line, r#"{"chargeAmount":"25.00"}"#);
        assert!(line.running.is_empty(), "{broken}");
    }
}

#[test]
fn what_the_operator_wrote_goes_before_the_parameters_of_the_call() {
    let order = r#"{"amountDue":"30.50","callReference":"order-7","items":[{"price":1.5}],"currency":null}"#;
    let mut line = Line::open_with_all(settings(), r#"{"amountDue":"25.00"}"#, Some(order));
    line.caller_says("I want to pay");
    starts(&mut line, "");
    assert_eq!(charge(&line), Some(dollars("30.50")));
}

#[test]
fn an_amount_is_charged_only_after_the_caller_agreed_to_it() {
    let mut line = Line::open();
    line.caller_says("I owe you 25 dollars");
    starts(&mut line, r#"{"chargeAmount":"25.00"}"#);
    assert!(line.running.is_empty() && line.history().contains("say this amount in full and ask"));
    // Not even if the model says that it asked.
    line.model_calls("confirm-amount", r#"{"amount":"25.00"}"#);
    line.model(ModelEvent::Done);
    assert!(line.running.is_empty());
    // The question and its answer in one breath.
    line.model_says("Twenty-five dollars, all right?");
    line.model_calls("confirm-amount", r#"{"amount":"25.00"}"#);
    line.model(ModelEvent::Done);
    assert!(line.running.is_empty());
    line.model_replies("Well?", &[]);

    line.caller_says("Yes");
    line.confirms("25.00");
    starts(&mut line, r#"{"chargeAmount":"26.00"}"#);
    assert!(line.running.is_empty() && line.history().contains("not agreed to 26.00 USD"));
    starts(&mut line, r#"{"chargeAmount":25}"#);
    assert_eq!(charge(&line), Some(dollars("25")));
}

#[test]
fn an_amount_that_was_named_in_another_language_is_asked_for_once_more() {
    let mut line = Line::open();
    line.caller_says("Quiero pagar");
    line.model_replies("Son veinticinco dólares. ¿De acuerdo?", &[]);
    line.caller_says("Sí");
    line.model_calls("confirm-amount", r#"{"amount":"25.00"}"#);
    line.model(ModelEvent::Done);
    assert!(line.running.is_empty());
    line.model_replies("Veinticinco dólares, ¿sí o no?", &[]);
    line.caller_says("¡Que sí!");
    line.confirms("25.00");
}

#[test]
fn a_caller_who_speaks_while_the_amount_is_being_confirmed_may_have_said_no() {
    let mut line = Line::open();
    line.caller_says("I want to pay");
    line.model_replies("That is 25 dollars. Yes?", &[]);
    line.caller_says("Yes");
    line.model_calls("confirm-amount", r#"{"amount":"25"}"#);
    line.model(ModelEvent::Done);
    line.caller_says("No wait, 15");
    line.tool_answers(Outcome::AmountConfirmed { amount: dollars("25") });
    starts(&mut line, r#"{"chargeAmount":"25"}"#);
    assert!(line.running.is_empty());
}

#[test]
fn an_amount_is_bounded_whoever_agreed_to_it() {
    let mut line = Line::open();
    line.caller_says("I want to pay");
    for amount in ["0.49", "1000.01"] {
        line.model_says(&format!("That is {amount} dollars. Yes?"));
        line.model(ModelEvent::Done);
        line.caller_says("Yes");
        line.model_calls("confirm-amount", &format!(r#"{{"amount":"{amount}"}}"#));
        line.model(ModelEvent::Done);
        assert!(line.running.is_empty() && line.history().contains("only from 0.50 to 1000.00"), "{amount}");
    }
}

#[test]
fn an_amount_is_agreed_for_one_payment_and_for_another_try_if_the_card_is_declined() {
    let mut line = Line::open();
    line.agrees_on("25.00");
    starts(&mut line, r#"{"chargeAmount":"25.00"}"#);
    line.twilio_answers(Answer::Created(payment("PK1")));
    line.model_replies("", &["capture-card"]);
    line.twilio_answers(Answer::Accepted);
    line.model_replies("Card, please.", &[]);
    line.twilio_reports("PK1", &[("Result", "payment-connector-error"), ("PayErrorCode", "64008")]);
    line.model_replies("Another card?", &[]);
    line.caller_says("Yes");
    starts(&mut line, r#"{"chargeAmount":"25.00"}"#);
    line.twilio_answers(Answer::Created(payment("PK2")));
    line.model_replies("", &["capture-card"]);
    line.twilio_answers(Answer::Accepted);
    line.model_replies("Card, please.", &[]);

    line.caller_says("Cancel that");
    line.model_replies("", &["cancel-capture"]);
    line.twilio_answers(Answer::Accepted);
    starts(&mut line, r#"{"chargeAmount":"25.00"}"#);
    assert!(line.running.is_empty() && line.history().contains("not agreed to 25.00 USD"));
    // What was said about the first payment does not count for another.
    line.model_calls("confirm-amount", r#"{"amount":"25.00"}"#);
    line.model(ModelEvent::Done);
    assert!(line.running.is_empty());
}

#[test]
fn what_is_paid_is_agreed_anew_though_another_amount_was_talked_about_meanwhile() {
    let mut line = Line::open();
    line.agrees_on("25.00");
    starts(&mut line, r#"{"chargeAmount":"25.00"}"#);
    line.twilio_answers(Answer::Created(payment("PK1")));
    line.model_replies("And 30.00 dollars for the other one?", &[]);
    line.caller_says("Yes");
    line.confirms("30.00");
    line.model_replies("", &["capture-card"]);
    line.enters_all("PK1");
    line.model_replies("", &["finish-capture"]);
    line.twilio_answers(Answer::Accepted);
    line.model_replies("One moment.", &[]);
    line.twilio_reports("PK1", &[("Result", "success"), ("PaymentToken", "tok")]);
    line.model_calls("confirm-amount", r#"{"amount":"25.00"}"#);
    line.model(ModelEvent::Done);
    assert!(line.running.is_empty() && line.history().contains("not agreed to 25.00 USD"));
    starts(&mut line, r#"{"chargeAmount":"30.00"}"#);
    assert_eq!(charge(&line), Some(dollars("30.00")));
}
