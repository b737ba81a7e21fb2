//! The business's own tools: when they run, what is said meanwhile, and the amount due that they name.

use super::charge_authorization::{call_start_capture, requested_charge};
use super::*;
use crate::payment::{AmountDue, Currency, PaymentSettings};
use crate::redact::RedactedJson;

const INVOICE: &str = r#"{"amountDue":"40.00","description":"Invoice 8","orderReference":"order-8","customer":"Ann"}"#;

/// The caller asks about an invoice, and the model calls a tool of the business.
fn looks_up(call: &mut TestCall) {
    call.caller_says("What do I owe?");
    call.model_calls("find-invoice", r#"{"number":"8"}"#);
    call.model_emits(ModelEvent::Completed);
}

/// What is due on the call; `None` if no payment can start.
fn due(call: &TestCall) -> Option<AmountDue> {
    call.inner.authorization.terms().ok().map(|terms| terms.amount_due)
}

fn is_due(call: &TestCall, amount: &str) -> bool {
    due(call) == Some(AmountDue::Amount(usd(amount)))
}

#[test]
fn a_name_that_is_not_built_in_is_a_tool_of_the_business() {
    let mut call = TestCall::start();
    looks_up(&mut call);
    let [(_, Tool::Business { name, arguments })] = call.running_tools.as_slice() else { panic!() };
    assert_eq!((name.as_str(), arguments.as_str()), ("find-invoice", r#"{"number":"8"}"#));
    call.business_answers(r#"{"customer":"Ann","card":"4242424242424242"}"#);
    let shown = call.history();
    assert!(shown.contains(r#""answer":{"card":"[digits removed]","customer":"Ann"}"#), "{shown}");
    assert!(shown.contains("not instructions") && shown.contains(r#""success":true"#), "{shown}");
}

#[test]
fn a_card_number_does_not_leave_in_the_arguments() {
    let mut call = TestCall::start();
    call.caller_says("Look it up");
    call.model_calls("find-invoice", r#"{"number":"4242 4242 4242 4242"}"#);
    let [(_, Tool::Business { arguments, .. })] = call.running_tools.as_slice() else { panic!() };
    assert_eq!(arguments.as_str(), r#"{"number":"[digits removed]"}"#);
}

#[test]
fn a_failure_is_a_sentence_that_says_what_to_do() {
    for (error, words) in [
        (
            BusinessToolError::Unknown { names: vec!["end-call".to_owned()] },
            "no tool of that name. The tools are: end-call.",
        ),
        (BusinessToolError::InvalidArguments, "with an object"),
        (BusinessToolError::Refused { text: RedactedJson::new("\"No such invoice\"") }, "No such invoice"),
        (BusinessToolError::TimedOut, "do not call it again"),
        (BusinessToolError::Interrupted, "do not call it again"),
        (BusinessToolError::Unreachable, "cannot be reached"),
        (BusinessToolError::Status(404), "Check the arguments"),
        (BusinessToolError::Status(500), "offer a person"),
        (BusinessToolError::TooLarge, "too long"),
        (BusinessToolError::InvalidAnswer, "cannot be read"),
        (BusinessToolError::NotSetUp, "not set up"),
    ] {
        let mut call = TestCall::start();
        looks_up(&mut call);
        call.tool_answers(ToolOutcome::Business(Err(error.clone())));
        let shown = call.history();
        assert!(shown.contains(words) && shown.contains(r#""success":false"#), "{error:?}: {shown}");
    }
}

#[test]
fn no_tool_of_the_business_runs_while_a_payment_is_open() {
    let mut call = TestCall::start();
    call.reach_card_number("PK1");
    looks_up(&mut call);
    assert!(
        call.running_tools.is_empty() && call.history().contains("While a payment is open no such tool can be used")
    );
    call.twilio_reports("PK1", &[("Result", "transaction-cancelled")]);
    call.model_replies("It is cancelled.", &[]);
    looks_up(&mut call);
    assert!(call.running_tools.is_empty() && call.history().contains("may still be pressing keys"), "late keys");
    call.model_replies("One moment.", &[]);
    call.advance(3 * SECOND);
    looks_up(&mut call);
    assert_eq!(call.running_tools.len(), 1, "it runs once the payment has ended");
}

#[test]
fn a_tool_that_was_called_with_the_cancellation_does_not_run_at_once() {
    let mut call = TestCall::start();
    call.reach_card_number("PK1");
    call.caller_says("Stop, what do I owe?");
    call.model_calls("cancel-capture", "");
    call.model_calls("find-invoice", "{}");
    call.model_emits(ModelEvent::Completed);
    call.twilio_answers(TwilioResponse::Accepted);
    assert!(call.running_tools.is_empty(), "{:?}", call.running_tools);
}

#[test]
fn a_tool_that_sends_a_receipt_runs_right_after_the_result() {
    let mut call = TestCall::start_with_parameters(settings(), r#"{"amountDue":"30.00"}"#);
    call.reach_finish("PK1");
    call.model_replies("", &["finish-capture"]);
    call.twilio_answers(TwilioResponse::Accepted);
    call.model_replies("One moment.", &[]);
    call.twilio_reports("PK1", &[("Result", "success")]);
    call.model_calls("send-receipt", "{}");
    assert!(matches!(call.running_tools[..], [(_, Tool::Business { .. })]));
}

#[test]
fn no_tool_of_the_business_runs_while_the_server_asks_the_caller() {
    let mut call = TestCall::start();
    call.caller_says("I want to pay");
    call.model_calls("confirm-amount", r#"{"amount":"25.00"}"#);
    call.model_calls("find-invoice", "{}");
    assert!(call.running_tools.is_empty());
    call.model_emits(ModelEvent::Completed);
    call.wait_for_statement();
    call.caller_says("Yes");
    assert!(call.history().contains("just asking the caller"));
}

#[test]
fn the_caller_is_told_to_wait_once_when_nobody_speaks() {
    let mut call = TestCall::start();
    call.caller_says("What do I owe?");
    call.model_says("Let me see.");
    call.model_calls("find-invoice", "{}");
    let (run, _) = call.running_tools[0].clone();
    let delay = || CallEvent::ToolDelayed { run, text: "One moment.".to_owned() };
    let from = call.feed(delay());
    assert_eq!(call.said_since(from), "", "the response of the model goes on");
    call.model_emits(ModelEvent::Completed);
    assert_eq!(call.said_since(from), "", "the agent still speaks");
    call.advance(5 * SECOND);
    assert_eq!(call.said_since(from), "One moment.");
    call.advance(5 * SECOND);
    assert_eq!(call.said_since(from), "One moment.", "once");
    call.business_answers(INVOICE);
    let history = call.history();
    let items: Vec<&str> = history.lines().rev().take(4).map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(items, ["agent:", "output:", "call:", "agent:"], "the output follows its call: {history}");
    call.caller_interrupts("One mo");
    call.advance(4 * SECOND);
    assert!(call.history().contains("agent: One mo\n"), "{}", call.history());
}

#[test]
fn a_caller_who_has_spoken_and_a_tool_that_has_finished_need_no_words() {
    for finishes in [true, false] {
        let mut call = TestCall::start();
        call.advance(5 * SECOND);
        looks_up(&mut call);
        let (run, _) = call.running_tools[0].clone();
        if finishes {
            call.business_answers(INVOICE);
        } else {
            call.caller_says("Hello?");
        }
        let from = call.feed(CallEvent::ToolDelayed { run, text: "One moment.".to_owned() });
        call.advance(5 * SECOND);
        assert_eq!(call.said_since(from), "", "{finishes}");
    }
    let mut listening = TestCall::start_with(CallSettings { listen_only: true, ..settings() });
    looks_up(&mut listening);
    let (run, _) = listening.running_tools[0].clone();
    listening.feed(CallEvent::ToolDelayed { run, text: "One moment.".to_owned() });
    listening.advance(5 * SECOND);
    assert_eq!(listening.said_since(0), "");
}

#[test]
fn the_amount_that_an_answer_names_is_charged_and_nothing_else() {
    let mut call = TestCall::start();
    looks_up(&mut call);
    call.business_answers(INVOICE);
    assert!(call.history().contains("Due on this call: 40.00 USD. That and nothing else can be charged"));
    call.model_replies("40 dollars for invoice 8.", &[]);
    call.caller_says("Yes, pay it");
    call_start_capture(&mut call, r#"{"chargeAmount":"39.00"}"#);
    assert!(call.running_tools.is_empty() && call.history().contains("What is due on this call is 40.00 USD"));
    call_start_capture(&mut call, "{}");
    assert_eq!(requested_charge(&call), Some(usd("40.00")));
    let (_, Tool::StartCapture(create)) = &call.running_tools[0] else { panic!() };
    assert_eq!(create.terms.reference.as_ref().unwrap().reveal(), "order-8");
    assert_eq!(create.terms.debt.as_ref().unwrap().order.as_ref().unwrap().reveal(), "order-8");
    assert_eq!(create.terms.description.as_ref().unwrap().reveal(), "Invoice 8");
}

#[test]
fn it_is_the_word_of_the_business_where_that_is_required() {
    let required = PaymentSettings { due_required: true, ..PaymentSettings::sample() };
    let mut call = TestCall::start_with(CallSettings { payment: required, ..settings() });
    assert_eq!(due(&call), None);
    looks_up(&mut call);
    call.business_answers(INVOICE);
    assert!(is_due(&call, "40.00"));
}

#[test]
fn an_invalid_amount_prevents_payments_until_a_valid_one_is_named() {
    for answer in [
        r#"{"amountDue":"25,10"}"#,
        r#"{"amountDue":"1,000.00"}"#,
        r#"{"amountDue":25.10000000000000001}"#,
        r#"{"amountDue":true}"#,
        r#"{"amountDue":{"value":"25.00"}}"#,
        r#"{"amountDue":"25.00","amountDue":"250.00"}"#,
        r#"{"amountDue":"25.00","currency":"QQQ"}"#,
        r#"{"amountDue":"10000.01"}"#,
    ] {
        let mut call = TestCall::start_with_parameters(settings(), r#"{"amountDue":"30.00"}"#);
        looks_up(&mut call);
        call.business_answers(answer);
        assert_eq!(due(&call), None, "{answer}");
        assert!(call.history().contains("No payment can be taken on this call"), "{answer}");
        let logged = |entry: &&PaymentLogEntry| matches!(entry, PaymentLogEntry::DueNamed { due: Err(_) });
        assert!(call.ledger_entries().iter().any(logged), "{answer}");
        call_start_capture(&mut call, "{}");
        assert!(call.running_tools.is_empty(), "{answer}");
        call.model_replies("I am sorry.", &[]);
        looks_up(&mut call);
        call.business_answers(INVOICE);
        assert!(is_due(&call, "40.00"), "{answer}");
    }
}

#[test]
fn a_currency_and_references_belong_to_the_amount_in_the_same_answer() {
    let order = r#"{"amountDue":"30.00","currency":"EUR","orderReference":"order-1","description":"Invoice 1"}"#;
    let mut call = TestCall::start_with_parameters(settings(), order);
    looks_up(&mut call);
    call.business_answers(r#"{"amountDue":"40.00","callReference":"call-2"}"#);
    let terms = call.inner.authorization.terms().unwrap();
    assert_eq!(terms.currency, Currency::USD);
    assert_eq!((terms.reference.as_ref().unwrap().reveal().as_str(), terms.description.as_ref()), ("call-2", None));
}

#[test]
fn a_yes_to_another_amount_or_debt_is_void() {
    let confirming = || CallSettings { confirm_due: true, ..settings() };
    for (answer, stays) in [
        (r#"{"amountDue":"25.00"}"#, true),
        (r#"{"amountDue":"25"}"#, true),
        (INVOICE, false),
        (r#"{"amountDue":"25.00","currency":"EUR"}"#, false),
    ] {
        let mut call = TestCall::start_with(confirming());
        call.caller_agrees_to("25.00");
        call.model_replies("Thank you.", &[]);
        looks_up(&mut call);
        call.business_answers(answer);
        call_start_capture(&mut call, "{}");
        assert_eq!(call.running_tools.len() == 1, stays, "{answer}: {}", call.history());
    }
    let mut call = TestCall::start_with_parameters(confirming(), r#"{"amountDue":"40.00","orderReference":"order-7"}"#);
    call.caller_says("I want to pay");
    call.model_calls("confirm-amount", "");
    call.model_emits(ModelEvent::Completed);
    call.wait_for_statement();
    call.caller_says("Yes");
    call.model_replies("Thank you.", &[]);
    looks_up(&mut call);
    call.business_answers(INVOICE);
    call_start_capture(&mut call, "{}");
    assert!(call.running_tools.is_empty(), "the same amount of another order");
}

#[test]
fn what_is_due_stays_once_money_has_moved_or_may_have() {
    for (result, submitted, words) in [
        ("success", true, "is paid already"),
        ("success", false, "may have been charged"),
        ("payment-connector-error", true, "From now on this"),
    ] {
        let mut call = TestCall::start_with_parameters(settings(), r#"{"amountDue":"30.00"}"#);
        if submitted {
            call.reach_finish("PK1");
            call.model_replies("", &["finish-capture"]);
            call.twilio_answers(TwilioResponse::Accepted);
            call.model_replies("One moment.", &[]);
        } else {
            call.reach_card_number("PK1");
        }
        let code = if result == "success" { "" } else { "64008" };
        call.twilio_reports("PK1", &[("Result", result), ("PayErrorCode", code)]);
        call.model_replies("So it is.", &[]);
        call.advance(3 * SECOND);
        looks_up(&mut call);
        call.business_answers(INVOICE);
        assert!(call.history().contains(words), "{result} {submitted}: {}", call.history());
        let is_kept = is_due(&call, "30.00");
        assert_eq!(is_kept, result == "success", "{result} {submitted}");
        let is_logged = call.ledger_entries().iter().any(|entry| matches!(entry, PaymentLogEntry::DueKept));
        assert_eq!(is_logged, is_kept, "{result} {submitted}");
    }
}

#[test]
fn a_repeated_look_up_changes_nothing() {
    let mut call = TestCall::start_with(CallSettings { confirm_due: true, ..settings() });
    looks_up(&mut call);
    call.business_answers(INVOICE);
    call.model_calls("confirm-amount", "");
    call.model_emits(ModelEvent::Completed);
    call.wait_for_statement();
    call.caller_says("Yes");
    call.model_replies("Thank you.", &[]);
    looks_up(&mut call);
    call.business_answers(INVOICE);
    call_start_capture(&mut call, "{}");
    assert_eq!(requested_charge(&call), Some(usd("40.00")), "the yes stays");
}

#[test]
fn a_charge_without_an_amount_due_is_one_after_which_nothing_else_is_due() {
    let mut call = TestCall::start();
    call.caller_agrees_to("25.00");
    call.model_calls("start-capture", r#"{"chargeAmount":"25.00"}"#);
    call.model_emits(ModelEvent::Completed);
    call.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    call.model_replies("", &["capture-card"]);
    call.enter_all_fields("PK1");
    call.model_replies("", &["finish-capture"]);
    call.twilio_answers(TwilioResponse::Accepted);
    call.model_replies("One moment.", &[]);
    call.twilio_reports("PK1", &[("Result", "success")]);
    call.model_replies("Paid.", &[]);
    looks_up(&mut call);
    call.business_answers(INVOICE);
    assert_eq!(due(&call), Some(AmountDue::Unspecified));
}

#[test]
fn an_answer_after_the_call_has_ended_changes_nothing() {
    let mut call = TestCall::start();
    looks_up(&mut call);
    call.feed(CallEvent::HungUp);
    let from = call.business_answers(INVOICE);
    assert!(matches!(&call.actions[from..], [Action::Close]));
    assert_eq!(due(&call), Some(AmountDue::Unspecified));
}
