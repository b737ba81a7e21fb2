//! What is charged: what is due, or what the caller said yes to.

use super::*;
use crate::payment::{Amount, Purpose};

/// A call that comes with these parameters.
pub(super) fn line(parameters: &str) -> Line {
    Line::open_with_parameters(settings(), parameters)
}

/// A call that comes with these parameters, on which the server asks about what is due, too.
fn line_that_always_asks(parameters: &str) -> Line {
    Line::open_with_parameters(Settings { confirm_due: true, ..settings() }, parameters)
}

pub(super) fn starts(line: &mut Line, arguments: &str) {
    line.model_calls("start-capture", arguments);
    line.model(ModelEvent::Done);
}

pub(super) fn confirms(line: &mut Line, arguments: &str) {
    line.model_calls("confirm-amount", arguments);
    line.model(ModelEvent::Done);
}

/// What the payment that is being opened is to charge.
pub(super) fn charge(line: &Line) -> Option<Amount> {
    let [(_, Tool::StartCapture(create))] = line.running.as_slice() else { panic!("no payment is being opened") };
    create.charge
}

/// The caller wants to pay, and the server has asked for a yes to 25 dollars.
pub(super) fn asked_for_25() -> Line {
    let mut line = Line::open();
    line.caller_says("I want to pay");
    assert_eq!(
        line.asks_for("25.00"),
        "That is 25 dollars, charged to your card now. Say yes or press 1; say no or press 2."
    );
    line
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
    confirms(&mut line, r#"{"amount":"5"}"#);
    confirms(&mut line, r#"{"amount":"25"}"#);
    assert!(line.history().ends_with("25.00 EUR is what is due. Next: call start-capture without chargeAmount.\"}\n"));
    starts(&mut line, "");
    assert_eq!(format!("{:?}", charge(&line).unwrap()), "25.00 EUR");
    let Tool::StartCapture(create) = &line.running[0].1 else { panic!() };
    assert_eq!(create.terms.description.as_ref().unwrap().reveal(), "Invoice 7");
    assert!(
        create.agreed.is_none() && line.statements().is_empty(),
        "the business says it, and nobody has to be asked"
    );
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
fn where_everything_is_to_be_confirmed_what_is_due_is_charged_after_a_yes_only() {
    let mut line = line_that_always_asks(r#"{"amountDue":"25.00","currency":"EUR"}"#);
    line.caller_says("I want to pay");
    assert!(line.history().contains("call confirm-amount without an amount"));
    starts(&mut line, "");
    assert!(line.running.is_empty() && line.history().contains("not said yes to 25.00 EUR. Next: call confirm-amount"));
    confirms(&mut line, r#"{"amount":"24"}"#);
    assert!(line.history().contains("no other amount can be charged"));
    confirms(&mut line, "");
    assert!(line.hears_statement().contains("25 euros"));
    line.caller_says("Yes");
    starts(&mut line, "");
    assert_eq!(format!("{:?}", charge(&line).unwrap()), "25.00 EUR");
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
fn a_card_is_stored_only_if_that_is_asked_for() {
    let mut line = Line::open();
    line.caller_says("Hello");
    starts(&mut line, "");
    assert!(line.running.is_empty() && line.history().contains("send chargeAmount 0"));
    starts(&mut line, r#"{"chargeAmount":"0"}"#);
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
        confirms(&mut line, r#"{"amount":"25.00"}"#);
        assert!(line.running.is_empty() && !line.call.is_stating(), "{broken}");
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
fn an_amount_is_charged_only_after_the_caller_said_yes_to_the_server() {
    let mut line = Line::open();
    line.caller_says("I owe you 25 dollars");
    starts(&mut line, r#"{"chargeAmount":"25.00"}"#);
    assert!(line.running.is_empty() && line.history().contains("not said yes to 25.00 USD. Next: call confirm-amount"));
    line.model_replies("Twenty-five dollars, all right?", &[]);
    line.caller_says("Yes");
    starts(&mut line, r#"{"chargeAmount":"25.00"}"#);
    assert!(line.running.is_empty(), "that was said to the model");

    line.asks_for("25");
    line.caller_says("Yes");
    assert!(line.history().ends_with(
        "caller: Yes\ndeveloper: Payment update: the caller said yes to 25.00 USD. Next: call start-capture with this \
         chargeAmount.\n"
    ));
    starts(&mut line, r#"{"chargeAmount":"26.00"}"#);
    assert!(line.running.is_empty() && line.history().contains("not said yes to 26.00 USD"));
    starts(&mut line, r#"{"chargeAmount":25}"#);
    assert_eq!(charge(&line), Some(dollars("25")));
}

#[test]
fn without_an_amount_what_was_just_confirmed_is_charged_and_nothing_is_stored() {
    let mut line = Line::open();
    line.agrees_on("25.00");
    starts(&mut line, "");
    assert_eq!(charge(&line), Some(dollars("25")));
}

#[test]
fn no_number_and_no_yes_that_was_said_to_the_agent_is_an_agreement() {
    for (agent, caller) in [
        ("Your plan will be active within the hour. Are you still there?", "yes"),
        ("Our office is at 500 Main Street.", "Yes"),
        ("Not 500 dollars, only 50. All right?", "Yes."),
        ("You owe 500 in all, the minimum is 25, shall I take the minimum?", "Yes"),
        ("From 1 to 500 dollars, on May 25.", "Yes please"),
    ] {
        let mut line = Line::open();
        line.caller_says("I want to pay");
        line.model_replies(agent, &[]);
        line.caller_says(caller);
        for amount in ["500", "25", "777"] {
            starts(&mut line, &format!(r#"{{"chargeAmount":"{amount}"}}"#));
        }
        starts(&mut line, "");
        assert!(line.running.is_empty(), "{agent}");
    }
}

#[test]
fn every_amount_that_is_to_be_charged_is_heard_by_the_caller() {
    let mut line = Line::open();
    line.caller_says("I want to pay");
    assert!(line.asks_for("777").contains("777 dollars"));
    line.caller_says("yes");
    assert_eq!(line.answers()[0].purpose, Purpose::Charge(dollars("777")));
}

#[test]
fn a_yes_holds_for_ten_minutes() {
    let mut line =
        Line::open_with(Settings { silence: Silence { enabled: false, ..settings().silence }, ..settings() });
    line.agrees_on("25.00");
    line.passes(599 * SECOND);
    starts(&mut line, r#"{"chargeAmount":"25.00"}"#);
    assert_eq!(charge(&line), Some(dollars("25")));
    line.tool_answers(Outcome::Barred("No."));
    line.passes(2 * SECOND);
    starts(&mut line, r#"{"chargeAmount":"25.00"}"#);
    starts(&mut line, "");
    assert!(line.running.is_empty() && line.history().contains("not said yes to 25.00 USD"));
}

#[test]
fn another_amount_takes_the_place_of_the_first() {
    let mut line = Line::open();
    line.agrees_on("25.00");
    line.asks_for("30.00");
    line.caller_says("No");
    for amount in ["25.00", "30.00"] {
        starts(&mut line, &format!(r#"{{"chargeAmount":"{amount}"}}"#));
    }
    assert!(line.running.is_empty());
}

#[test]
fn an_amount_is_bounded_whoever_agrees_to_it() {
    let mut line = Line::open();
    line.caller_says("I want to pay");
    for amount in ["0.49", "1000.01"] {
        confirms(&mut line, &format!(r#"{{"amount":"{amount}"}}"#));
        assert!(!line.call.is_stating() && line.history().contains("only from 0.50 to 1000.00"), "{amount}");
    }
}

#[test]
fn an_amount_is_agreed_for_one_payment_and_for_another_try_if_the_card_is_declined() {
    let mut line = Line::open();
    line.agrees_on("25.00");
    starts(&mut line, r#"{"chargeAmount":"25.00"}"#);
    line.twilio_answers(Answer::Created(payment("PK1")));
    confirms(&mut line, r#"{"amount":"30.00"}"#);
    assert!(line.history().contains("A payment is open, for what was agreed before"));
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
    starts(&mut line, "");
    assert!(line.running.is_empty() && line.history().contains("not said yes to 25.00 USD"));
}

#[test]
fn what_the_caller_cancels_with_the_star_key_is_agreed_anew() {
    let mut line = Line::open();
    line.agrees_on("25.00");
    starts(&mut line, "");
    line.twilio_answers(Answer::Created(payment("PK1")));
    line.model_replies("", &["capture-card"]);
    line.twilio_answers(Answer::Accepted);
    line.model_replies("Card, please.", &[]);
    line.twilio_reports("PK1", &[("Result", "caller-interrupted-with-star")]);
    starts(&mut line, r#"{"chargeAmount":"25.00"}"#);
    assert!(line.running.is_empty() && line.history().contains("not said yes to 25.00 USD"));
}

#[test]
fn what_is_paid_is_agreed_anew() {
    let mut line = Line::open();
    line.agrees_on("25.00");
    starts(&mut line, "");
    line.twilio_answers(Answer::Created(payment("PK1")));
    line.model_replies("", &["capture-card"]);
    line.enters_all("PK1");
    line.model_replies("", &["finish-capture"]);
    line.twilio_answers(Answer::Accepted);
    line.model_replies("One moment.", &[]);
    line.twilio_reports("PK1", &[("Result", "success"), ("PaymentToken", "tok")]);
    starts(&mut line, r#"{"chargeAmount":"25.00"}"#);
    starts(&mut line, "");
    assert!(line.running.is_empty() && line.history().contains("not said yes to 25.00 USD"));
}

/// The ledger says that the caller paid 25 dollars three minutes ago, and the server has asked whether that is meant.
fn paid_before() -> Line {
    let mut line = Line::open();
    line.agrees_on("25.00");
    starts(&mut line, "");
    line.tool_answers(Outcome::PaidBefore { amount: dollars("25"), minutes: 3 });
    assert!(!line.call.has_open_payment());
    assert_eq!(
        line.hears_statement(),
        "You paid 25 dollars 3 minutes ago already. Shall I charge it again? Say yes or press 1; say no or press 2."
    );
    line
}

#[test]
fn the_same_amount_again_is_charged_after_another_yes() {
    let mut line = paid_before();
    line.caller_says("Yes");
    assert!(line.history().contains("the caller said yes to 25.00 USD again. Next: call start-capture"));
    starts(&mut line, r#"{"chargeAmount":"25.00"}"#);
    let [(_, Tool::StartCapture(create))] = line.running.as_slice() else { panic!() };
    assert!(create.is_again());
}

#[test]
fn the_same_amount_again_is_not_charged_after_a_no() {
    let mut line = paid_before();
    line.answers_by_key("2");
    starts(&mut line, r#"{"chargeAmount":"25.00"}"#);
    starts(&mut line, "");
    assert!(line.running.is_empty());
}
