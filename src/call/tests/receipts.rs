//! The receipt of a payment: when it is sent, and what is said about it.

use super::*;
use crate::ids::PaymentSid;

const STORED: [(&str, &str); 2] = [("Result", "success"), ("PaymentToken", "tok_1")];
const ON_ITS_WAY: &str = "do not say that it was sent, and promise none";

fn sending() -> CallSettings {
    CallSettings { sends_receipts: true, ..settings() }
}

/// A call whose payment is submitted.
fn submitted(settings: CallSettings) -> TestCall {
    let mut call = TestCall::start_with(settings);
    call.reach_finish("PK1");
    call.model_replies("", &["finish-capture"]);
    call
}

/// A call whose payment has succeeded, while the receipt is being sent.
fn stored() -> TestCall {
    let mut call = submitted(sending());
    call.twilio_answers(TwilioResponse::Accepted);
    call.model_replies("One moment.", &[]);
    call.twilio_reports("PK1", &STORED);
    call
}

fn receipts(call: &TestCall) -> Vec<&PaymentSid> {
    let sid =
        |action| if let &Action::RunTool { tool: Tool::SendReceipt(ref sid), .. } = action { Some(sid) } else { None };
    call.actions.iter().filter_map(sid).collect()
}

#[test]
fn a_submission_names_the_language_of_the_receipt() {
    let language = |settings| {
        let call = submitted(settings);
        call.only_update("finish-capture").unwrap().receipt_language.clone()
    };
    assert_eq!(language(sending()).as_deref(), Some("en-US"));
    assert_eq!(language(settings()), None);
    let mut call = TestCall::start_with(sending());
    call.caller_says("Speak like an Australian.");
    call.model_calls("switch-language", r#"{"ttsLanguage":"en-AU"}"#);
    call.model_emits(ModelEvent::Completed);
    call.reach_finish("PK1");
    call.model_replies("", &["finish-capture"]);
    let submission = call.only_update("finish-capture").unwrap();
    assert_eq!(submission.receipt_language.as_deref().map(str::to_lowercase).as_deref(), Some("en-au"));
    let promises = |action: &&Action| matches!(action, Action::RunTool { tool: Tool::UpdatePayment(update), .. } if update.receipt_language.is_some());
    assert_eq!(call.actions.iter().filter(promises).count(), 1, "a field is none");
}

#[test]
fn the_agent_says_that_the_receipt_was_sent_after_twilio_took_it() {
    let mut call = stored();
    assert_eq!(receipts(&call), [&payment_sid("PK1")]);
    assert!(call.history().contains(ON_ITS_WAY) && !call.history().contains("the receipt was sent"));
    call.model_replies("It went through.", &[]);
    let from = call.tool_answers(ToolOutcome::Receipt(ReceiptNews::Sent));
    assert!(call.actions[from..].iter().any(|action| matches!(action, Action::AskModel(_))), "the caller is told");
    assert!(call.history().contains("the receipt was sent to the caller's number"));
    // Twilio repeats its report.
    call.twilio_reports("PK1", &STORED);
    assert_eq!(receipts(&call).len(), 1);
}

#[test]
fn a_number_without_text_messages_is_promised_nothing() {
    let mut call = stored();
    call.model_replies("It went through.", &[]);
    let from = call.tool_answers(ToolOutcome::Receipt(ReceiptNews::NoTextMessages));
    assert!(call.actions[from..].iter().any(|action| matches!(action, Action::AskModel(_))));
    assert!(call.history().contains("no receipt can be sent") && !call.history().contains("the receipt was sent"));
}

#[test]
fn a_doubtful_receipt_is_not_announced() {
    for outcome in
        [ToolOutcome::Receipt(ReceiptNews::Unknown), ToolOutcome::Receipt(ReceiptNews::NotSent), ToolOutcome::NoResult]
    {
        let mut call = stored();
        call.model_replies("It went through.", &[]);
        let from = call.tool_answers(outcome);
        assert!(!call.actions[from..].iter().any(|action| matches!(action, Action::AskModel(_))), "it needs no words");
        call.caller_says("Did you send a receipt?");
        assert!(!call.history().contains("the receipt was sent to"), "{}", call.history());
    }
}

#[test]
fn nothing_is_sent_without_a_success_or_without_the_setting() {
    for (settings, report) in [
        (settings(), &STORED[..]),
        (sending(), &[("Result", "payment-connector-error"), ("PayErrorCode", "64008")]),
        (sending(), &[("Result", "success"), ("ChargeAmount", "2500.00")]),
        (sending(), &[("Result", "caller-hung-up")]),
    ] {
        let mut call = submitted(settings);
        call.twilio_answers(TwilioResponse::Accepted);
        call.model_replies("One moment.", &[]);
        call.twilio_reports("PK1", report);
        assert!(receipts(&call).is_empty() && !call.history().contains(ON_ITS_WAY), "{report:?}");
    }
}

#[test]
fn a_caller_who_hangs_up_gets_the_receipt_that_is_being_sent() {
    let mut call = stored();
    call.feed(CallEvent::HungUp);
    assert!(!call.actions.iter().any(|action| matches!(action, Action::Close)), "the message is under way");
    call.tool_answers(ToolOutcome::Receipt(ReceiptNews::Sent));
    assert!(call.actions.iter().any(|action| matches!(action, Action::Close)));
}

#[test]
fn a_receipt_that_is_sent_later_is_announced() {
    let mut call = stored();
    call.model_replies("It went through.", &[]);
    call.tool_answers(ToolOutcome::Receipt(ReceiptNews::NotSent));
    let from = call.feed(CallEvent::ReceiptSent(ReceiptNews::Sent));
    assert!(call.actions[from..].iter().any(|action| matches!(action, Action::AskModel(_))));
    assert!(call.history().contains("the receipt was sent to the caller's number"));
}

#[test]
fn a_goodbye_is_not_said_again_for_a_receipt() {
    let mut call = stored();
    call.model_replies("It went through. Goodbye!", &["end-call"]);
    let from = call.tool_answers(ToolOutcome::Receipt(ReceiptNews::Sent));
    assert!(!call.actions[from..].iter().any(|action| matches!(action, Action::AskModel(_))));
    call.advance(Duration::from_secs(60));
    assert_eq!(call.end_frames().len(), 1);
}

#[test]
fn the_server_says_what_a_model_that_is_down_cannot() {
    for (news, text) in
        [(ReceiptNews::Sent, "I have sent you a receipt"), (ReceiptNews::NoTextMessages, "I cannot send a receipt")]
    {
        let mut call = stored();
        call.tool_answers(ToolOutcome::Receipt(news));
        let from = call.model_emits(ModelEvent::Failed);
        let said = call.said_since(from);
        assert!(said.contains("Your payment details are stored.") && said.contains(text), "{said}");
    }
    // What came during a reply is said after it.
    let mut call = stored();
    call.model_emits(ModelEvent::TextDelta(crate::redact::Private::new("It went through.".to_owned())));
    call.tool_answers(ToolOutcome::Receipt(ReceiptNews::Sent));
    call.model_emits(ModelEvent::Completed);
    let from = call.model_emits(ModelEvent::Failed);
    let said = call.said_since(from);
    assert!(said.contains("I have sent you a receipt") && !said.contains("are stored"), "{said}");
}
