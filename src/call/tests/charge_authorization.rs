//! The authorization of charges: the amount due, or the amount that the caller agreed to.

use super::*;
use crate::payment::{Amount, ConsentAnswer, ConsentPurpose};

/// Starts a call with these custom parameters.
pub(super) fn start_call(parameters: &str) -> TestCall {
    TestCall::start_with_parameters(settings(), parameters)
}

/// Starts a call with these custom parameters on which the amount due must be confirmed too.
fn start_call_confirming_due(parameters: &str) -> TestCall {
    TestCall::start_with_parameters(CallSettings { confirm_due: true, ..settings() }, parameters)
}

pub(super) fn call_start_capture(call: &mut TestCall, arguments: &str) {
    call.model_calls("start-capture", arguments);
    call.model_emits(ModelEvent::Completed);
}

pub(super) fn call_confirm_amount(call: &mut TestCall, arguments: &str) {
    call.model_calls("confirm-amount", arguments);
    call.model_emits(ModelEvent::Completed);
}

/// The charge of the payment that is being created.
pub(super) fn requested_charge(call: &TestCall) -> Option<Amount> {
    let [(_, Tool::StartCapture(create))] = call.running_tools.as_slice() else {
        panic!("no payment is being created")
    };
    create.charge
}

/// The caller wants to pay, and the server asks to confirm 25 dollars.
pub(super) fn ask_for_25() -> TestCall {
    let mut call = TestCall::start();
    call.caller_says("I want to pay");
    assert_eq!(
        call.request_consent("25.00"),
        "That is 25 dollars, charged to your card now. Say yes or press 1; say no or press 2."
    );
    call
}

#[test]
fn only_the_amount_due_is_charged() {
    let mut call = start_call(r#"{"amountDue":"25.00","currency":"EUR","description":"Invoice 7"}"#);
    call.caller_says("I want to pay");
    assert!(call.history().contains("Due on this call: 25.00 EUR."));
    for other in [r#"{"chargeAmount":"24.99"}"#, r#"{"chargeAmount":"0"}"#] {
        call_start_capture(&mut call, other);
        assert!(call.running_tools.is_empty() && call.history().contains("no other amount can be charged"), "{other}");
    }
    call_confirm_amount(&mut call, r#"{"amount":"5"}"#);
    call_confirm_amount(&mut call, r#"{"amount":"25"}"#);
    assert!(call.history().ends_with("25.00 EUR is what is due. Next: call start-capture without chargeAmount.\"}\n"));
    call_start_capture(&mut call, "");
    assert_eq!(format!("{:?}", requested_charge(&call).unwrap()), "25.00 EUR");
    let Tool::StartCapture(create) = &call.running_tools[0].1 else { panic!() };
    assert_eq!(create.terms.description.as_ref().unwrap().reveal(), "Invoice 7");
    assert!(
        create.consent.is_none() && call.statements().is_empty(),
        "an amount due from the business needs no confirmation"
    );
}

#[test]
fn the_amount_due_is_charged_once() {
    let mut call = start_call(r#"{"amountDue":"25.00"}"#);
    call.reach_finish("PK1");
    call.model_replies("", &["finish-capture"]);
    call.twilio_answers(TwilioResponse::Accepted);
    call.model_replies("One moment.", &[]);
    call.twilio_reports("PK1", &[("Result", "payment-connector-error"), ("PayErrorCode", "64008")]);
    call.model_replies("Another card?", &[]);
    call.reach_finish("PK2");
    call.model_replies("", &["finish-capture"]);
    call.twilio_answers(TwilioResponse::Accepted);
    call.model_replies("One moment.", &[]);
    call.twilio_reports("PK2", &[("Result", "success"), ("PaymentToken", "tok")]);
    assert!(call.history().contains("the payment of 25.00 USD succeeded"));
    call.model_replies("", &["start-capture"]);
    assert!(call.running_tools.is_empty() && call.history().contains("is paid already"));
}

#[test]
fn with_confirm_due_the_amount_due_is_charged_only_after_a_yes() {
    let mut call = start_call_confirming_due(r#"{"amountDue":"25.00","currency":"EUR"}"#);
    call.caller_says("I want to pay");
    assert!(call.history().contains("call confirm-amount without an amount"));
    call_start_capture(&mut call, "");
    assert!(
        call.running_tools.is_empty()
            && call.history().contains("not said yes to 25.00 EUR. Next: call confirm-amount")
    );
    call_confirm_amount(&mut call, r#"{"amount":"24"}"#);
    assert!(call.history().contains("no other amount can be charged"));
    call_confirm_amount(&mut call, "");
    assert!(call.wait_for_statement().contains("25 euros"));
    call.caller_says("Yes");
    call_start_capture(&mut call, "");
    assert_eq!(format!("{:?}", requested_charge(&call).unwrap()), "25.00 EUR");
}

#[test]
fn an_amount_due_of_zero_stores_the_card() {
    let mut call = start_call(r#"{"amountDue":"0"}"#);
    call.caller_says("Here I am");
    call_start_capture(&mut call, r#"{"chargeAmount":"1.00"}"#);
    assert!(call.running_tools.is_empty() && call.history().contains("To store the card"));
    call_start_capture(&mut call, "");
    assert_eq!(requested_charge(&call), None);
}

#[test]
fn a_card_is_stored_only_on_request() {
    let mut call = TestCall::start();
    call.caller_says("Hello");
    call_start_capture(&mut call, "");
    assert!(call.running_tools.is_empty() && call.history().contains("send chargeAmount 0"));
    call_start_capture(&mut call, r#"{"chargeAmount":"0"}"#);
    assert_eq!(requested_charge(&call), None);
}

#[test]
fn with_invalid_terms_no_payment_starts_and_the_model_is_told_why() {
    for broken in [r#"{"amountDue":"25,00"}"#, r#"{"amountDue":""}"#, r#"{"amountDue":"1","currency":"dollars"}"#] {
        let mut call = start_call(broken);
        assert!(call.inner.terms_error().is_some(), "{broken}");
        call.caller_says("I want to pay");
        assert!(call.history().contains("No payment can be taken on this call"));
        call_start_capture(&mut call, "");
        call_start_capture(&mut call, r#"{"chargeAmount":"25.00"}"#);
        call_confirm_amount(&mut call, r#"{"amount":"25.00"}"#);
        assert!(call.running_tools.is_empty() && !call.inner.has_open_question(), "{broken}");
    }
}

#[test]
fn the_order_overrides_the_custom_parameters() {
    let order = r#"{"amountDue":"30.50","callReference":"order-7","items":[{"price":1.5}],"currency":null}"#;
    let mut call = TestCall::start_with_order(settings(), r#"{"amountDue":"25.00"}"#, Some(order));
    call.caller_says("I want to pay");
    call_start_capture(&mut call, "");
    assert_eq!(requested_charge(&call), Some(usd("30.50")));
}

#[test]
fn an_amount_is_charged_only_after_the_caller_said_yes_to_the_server() {
    let mut call = TestCall::start();
    call.caller_says("I owe you 25 dollars");
    call_start_capture(&mut call, r#"{"chargeAmount":"25.00"}"#);
    assert!(
        call.running_tools.is_empty()
            && call.history().contains("not said yes to 25.00 USD. Next: call confirm-amount")
    );
    call.model_replies("Twenty-five dollars, all right?", &[]);
    call.caller_says("Yes");
    call_start_capture(&mut call, r#"{"chargeAmount":"25.00"}"#);
    assert!(call.running_tools.is_empty(), "a yes to the model authorizes nothing");

    call.request_consent("25");
    call.caller_says("Yes");
    assert!(call.history().ends_with(
        "caller: Yes\ndeveloper: Payment update: the caller said yes to 25.00 USD. Next: call start-capture with this \
         chargeAmount.\n"
    ));
    call_start_capture(&mut call, r#"{"chargeAmount":"26.00"}"#);
    assert!(call.running_tools.is_empty() && call.history().contains("not said yes to 26.00 USD"));
    call_start_capture(&mut call, r#"{"chargeAmount":25}"#);
    assert_eq!(requested_charge(&call), Some(usd("25")));
}

#[test]
fn without_an_amount_the_confirmed_amount_is_charged() {
    let mut call = TestCall::start();
    call.caller_agrees_to("25.00");
    call_start_capture(&mut call, "");
    assert_eq!(requested_charge(&call), Some(usd("25")));
}

#[test]
fn numbers_and_a_yes_said_to_the_agent_authorize_no_charge() {
    for (agent, caller) in [
        ("Your plan will be active within the hour. Are you still there?", "yes"),
        ("Our office is at 500 Main Street.", "Yes"),
        ("Not 500 dollars, only 50. All right?", "Yes."),
        ("You owe 500 in all, the minimum is 25, shall I take the minimum?", "Yes"),
        ("From 1 to 500 dollars, on May 25.", "Yes please"),
    ] {
        let mut call = TestCall::start();
        call.caller_says("I want to pay");
        call.model_replies(agent, &[]);
        call.caller_says(caller);
        for amount in ["500", "25", "777"] {
            call_start_capture(&mut call, &format!(r#"{{"chargeAmount":"{amount}"}}"#));
        }
        call_start_capture(&mut call, "");
        assert!(call.running_tools.is_empty(), "{agent}");
    }
}

#[test]
fn an_answer_of_which_only_the_beginning_is_kept_is_no_yes() {
    let mut call = TestCall::start();
    call.caller_says("I want to pay");
    call.request_consent("25.00");
    call.caller_says(&"yes ".repeat(1100));
    assert!(call.recorded_answers().iter().all(|record| record.answer != ConsentAnswer::Yes));
}

#[test]
fn the_statement_names_the_amount_to_be_charged() {
    let mut call = TestCall::start();
    call.caller_says("I want to pay");
    assert!(call.request_consent("777").contains("777 dollars"));
    call.caller_says("yes");
    assert_eq!(call.recorded_answers()[0].purpose, ConsentPurpose::Charge(usd("777")));
}

#[test]
fn an_authorization_is_valid_for_ten_minutes() {
    let mut call = TestCall::start_with(CallSettings {
        silence: SilenceSettings { enabled: false, ..settings().silence },
        ..settings()
    });
    call.caller_agrees_to("25.00");
    call.advance(599 * SECOND);
    call_start_capture(&mut call, r#"{"chargeAmount":"25.00"}"#);
    assert_eq!(requested_charge(&call), Some(usd("25")));
    call.tool_answers(ToolOutcome::LimitExceeded("No."));
    call.advance(2 * SECOND);
    call_start_capture(&mut call, r#"{"chargeAmount":"25.00"}"#);
    call_start_capture(&mut call, "");
    assert!(call.running_tools.is_empty() && call.history().contains("not said yes to 25.00 USD"));
}

#[test]
fn a_new_statement_replaces_the_authorized_amount() {
    let mut call = TestCall::start();
    call.caller_agrees_to("25.00");
    call.request_consent("30.00");
    call.caller_says("No");
    for amount in ["25.00", "30.00"] {
        call_start_capture(&mut call, &format!(r#"{{"chargeAmount":"{amount}"}}"#));
    }
    assert!(call.running_tools.is_empty());
}

#[test]
fn an_amount_outside_the_limits_cannot_be_confirmed() {
    let mut call = TestCall::start();
    call.caller_says("I want to pay");
    for amount in ["0.49", "1000.01"] {
        call_confirm_amount(&mut call, &format!(r#"{{"amount":"{amount}"}}"#));
        assert!(!call.inner.has_open_question() && call.history().contains("only from 0.50 to 1000.00"), "{amount}");
    }
}

#[test]
fn an_authorization_covers_one_payment_and_a_retry_after_a_decline() {
    let mut call = TestCall::start();
    call.caller_agrees_to("25.00");
    call_start_capture(&mut call, r#"{"chargeAmount":"25.00"}"#);
    call.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    call_confirm_amount(&mut call, r#"{"amount":"30.00"}"#);
    assert!(call.history().contains("A payment is open, for what was agreed before"));
    call.model_replies("", &["capture-card"]);
    call.twilio_answers(TwilioResponse::Accepted);
    call.model_replies("Card, please.", &[]);
    call.twilio_reports("PK1", &[("Result", "payment-connector-error"), ("PayErrorCode", "64008")]);
    call.model_replies("Another card?", &[]);
    call.caller_says("Yes");
    call_start_capture(&mut call, r#"{"chargeAmount":"25.00"}"#);
    call.twilio_answers(TwilioResponse::Created(payment_sid("PK2")));
    call.model_replies("", &["capture-card"]);
    call.twilio_answers(TwilioResponse::Accepted);
    call.model_replies("Card, please.", &[]);

    call.caller_says("Cancel that");
    call.model_replies("", &["cancel-capture"]);
    call.twilio_answers(TwilioResponse::Accepted);
    call_start_capture(&mut call, r#"{"chargeAmount":"25.00"}"#);
    call_start_capture(&mut call, "");
    assert!(call.running_tools.is_empty() && call.history().contains("not said yes to 25.00 USD"));
}

#[test]
fn a_payment_cancelled_with_star_needs_a_new_authorization() {
    let mut call = TestCall::start();
    call.caller_agrees_to("25.00");
    call_start_capture(&mut call, "");
    call.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    call.model_replies("", &["capture-card"]);
    call.twilio_answers(TwilioResponse::Accepted);
    call.model_replies("Card, please.", &[]);
    call.twilio_reports("PK1", &[("Result", "caller-interrupted-with-star")]);
    call_start_capture(&mut call, r#"{"chargeAmount":"25.00"}"#);
    assert!(call.running_tools.is_empty() && call.history().contains("not said yes to 25.00 USD"));
}

#[test]
fn a_successful_payment_uses_up_the_authorization() {
    let mut call = TestCall::start();
    call.caller_agrees_to("25.00");
    call_start_capture(&mut call, "");
    call.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    call.model_replies("", &["capture-card"]);
    call.enter_all_fields("PK1");
    call.model_replies("", &["finish-capture"]);
    call.twilio_answers(TwilioResponse::Accepted);
    call.model_replies("One moment.", &[]);
    call.twilio_reports("PK1", &[("Result", "success"), ("PaymentToken", "tok")]);
    call_start_capture(&mut call, r#"{"chargeAmount":"25.00"}"#);
    call_start_capture(&mut call, "");
    assert!(call.running_tools.is_empty() && call.history().contains("not said yes to 25.00 USD"));
}

/// The ledger reports a payment of 25 dollars three minutes ago, and the server asks whether to charge it again.
fn ask_about_repeat_charge() -> TestCall {
    let mut call = TestCall::start();
    call.caller_agrees_to("25.00");
    call_start_capture(&mut call, "");
    call.tool_answers(ToolOutcome::RecentlyPaid { amount: usd("25"), minutes: 3 });
    assert!(!call.inner.has_open_payment());
    assert_eq!(
        call.wait_for_statement(),
        "You paid 25 dollars 3 minutes ago already. Shall I charge it again? Say yes or press 1; say no or press 2."
    );
    call
}

#[test]
fn the_same_amount_again_is_charged_after_another_yes() {
    let mut call = ask_about_repeat_charge();
    call.caller_says("Yes");
    assert!(call.history().contains("the caller said yes to 25.00 USD again. Next: call start-capture"));
    call_start_capture(&mut call, r#"{"chargeAmount":"25.00"}"#);
    let [(_, Tool::StartCapture(create))] = call.running_tools.as_slice() else { panic!() };
    assert!(create.is_repeat_charge());
}

#[test]
fn the_same_amount_again_is_not_charged_after_a_no() {
    let mut call = ask_about_repeat_charge();
    call.caller_answers_by_key("2");
    call_start_capture(&mut call, r#"{"chargeAmount":"25.00"}"#);
    call_start_capture(&mut call, "");
    assert!(call.running_tools.is_empty());
}
