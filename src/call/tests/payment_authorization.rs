//! What the caller has to authorise before a bank account is debited or a card is stored.

use super::*;
use crate::payment::{ConsentAnswer, ConsentPurpose, ConsentRecord, text_sha256};

const DEBIT: &[(&str, &str)] = &[
    (
        "en-US",
        "On {date} {name} authorizes {business} to debit {amount} from the {account}. Call {phone}. Say yes, or press 1 or 2.",
    ),
    ("es-US", "El {date} {name} autoriza {amount} de su {account}. Diga sí, o pulse 1 o 2."),
];
const STORED: &[(&str, &str)] = &[("en-US", "{business} keeps your {account}. Say yes or no, or press 1 or 2.")];
const BY_ACCOUNT: &str = r#"{"paymentMethod":"ach-debit","avsName":"Ann Lee","amountDue":"25.00"}"#;
const ASKED: &str = "On November 27, 2026 Ann Lee authorizes Acme to debit 25 dollars from the personal checking account ending in \
                     9 2. Call +1 555 010 0002. Say yes, or press 1 or 2.";
const STORE: &str = r#"{"tokenType":"reusable","amountDue":"0"}"#;

fn with_texts(settings: CallSettings) -> CallSettings {
    let text = |texts| Some(ComplianceText::new(Vec::new(), texts));
    let authorizations =
        AuthorizationSettings { bank_debit: text(DEBIT), stored_card: text(STORED), ..settings.authorizations };
    CallSettings { authorizations, ..settings }
}

fn account_callback(field: &'static str, required: &'static str) -> [(&'static str, &'static str); 4] {
    [("Capture", field), ("PartialResult", "false"), ("Required", required), ("BankAccountNumber", "*******92")]
}

/// Enters a bank account, until the model is asked what to do next.
fn enter_account(call: &mut TestCall) {
    call.caller_says("I want to pay");
    call.model_replies("Sure.", &["start-capture"]);
    call.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    call.model_replies("", &["capture-bank-routing-number"]);
    call.twilio_answers(TwilioResponse::Accepted);
    call.model_replies("Routing number, please.", &[]);
    call.twilio_reports(
        "PK1",
        &[("Capture", "bank-routing-number"), ("PartialResult", "false"), ("Required", "bank-account-number")],
    );
    call.model_replies("", &["capture-bank-account-number"]);
    call.twilio_answers(TwilioResponse::Accepted);
    call.model_replies("Account number, please.", &[]);
    call.twilio_reports("PK1", &account_callback("bank-account-number", ""));
}

fn reach_authorization(parameters: &str) -> TestCall {
    let mut call = TestCall::start_with_parameters(with_texts(settings()), parameters);
    enter_account(&mut call);
    call.model_replies("", &["finish-capture"]);
    call
}

fn submissions(call: &TestCall) -> Vec<Option<ConsentRecord>> {
    let submitted = |action: &Action| match action {
        Action::RunTool { tool: Tool::UpdatePayment(update), .. } if update.action == UpdateAction::Complete => {
            Some(update.authorization.as_deref().cloned())
        }
        _ => None,
    };
    call.actions.iter().filter_map(submitted).collect()
}

#[test]
fn a_bank_debit_is_submitted_only_after_the_caller_has_authorised_it() {
    let mut call = reach_authorization(BY_ACCOUNT);
    assert_eq!(call.wait_for_statement(), ASKED);
    assert!(submissions(&call).is_empty() && call.pending_request.is_none());
    call.caller_says("Yes");
    for told in
        ["Not submitted yet: the server now reads", "the caller said yes to the debit. Next: call finish-capture"]
    {
        assert!(call.history().contains(told), "{told} in {}", call.history());
    }
    call.model_replies("", &["finish-capture"]);
    let [Some(authorization)] = &submissions(&call)[..] else { panic!("{:?}", submissions(&call)) };
    assert_eq!(authorization.purpose, ConsentPurpose::BankDebit(usd("25")));
    assert_eq!((&*authorization.text, &*authorization.language), (&*ASKED.replace("Ann Lee", "{name}"), "en-US"));
    assert_eq!(authorization.sha256, text_sha256(ASKED), "of the whole statement");
    assert_eq!(call.recorded_answers(), [authorization]);
}

#[test]
fn a_no_or_no_clear_answer_submits_nothing() {
    for (words, told, answer) in [
        (
            "No",
            "the caller said no to the debit, so that nothing is submitted. Next: call cancel-capture",
            ConsentAnswer::No,
        ),
        ("Which bank?", "got no clear answer about the debit", ConsentAnswer::Unclear),
    ] {
        let mut call = reach_authorization(BY_ACCOUNT);
        call.wait_for_statement();
        call.caller_says(words);
        if answer == ConsentAnswer::Unclear {
            assert_eq!(call.wait_for_statement(), ASKED, "it is asked again");
            call.caller_says(words);
        }
        assert!(call.history().contains(told), "{words}: {}", call.history());
        assert!(submissions(&call).is_empty() && call.recorded_answers().last().unwrap().answer == answer);
        call.model_replies("", &["finish-capture"]);
        assert_eq!(call.wait_for_statement(), ASKED, "no answer is kept");
    }
}

#[test]
fn another_entry_needs_another_authorisation() {
    let mut call = reach_authorization(BY_ACCOUNT);
    call.wait_for_statement();
    call.caller_says("Yes");
    call.model_replies("", &["capture-bank-account-number"]);
    call.twilio_answers(TwilioResponse::Accepted);
    call.model_replies("Account number, please.", &[]);
    let other = [("Capture", "bank-account-number"), ("PartialResult", "true"), ("BankAccountNumber", "*")];
    call.twilio_reports("PK1", &other);
    let other = [
        ("Capture", "bank-account-number"),
        ("PartialResult", "false"),
        ("Required", ""),
        ("BankAccountNumber", "****17"),
    ];
    call.twilio_reports("PK1", &other);
    call.model_replies("", &["finish-capture"]);
    assert_eq!(call.wait_for_statement(), ASKED.replace("9 2", "1 7"));
    assert!(submissions(&call).is_empty());
}

#[test]
fn the_server_submits_a_guided_debit_after_the_yes_and_cancels_it_after_a_no() {
    for (answer, change) in [("Yes", UpdateAction::Complete), ("No", UpdateAction::Cancel)] {
        let mut call = TestCall::start_with_parameters(with_texts(guided_settings()), BY_ACCOUNT);
        call.caller_says("I want to pay");
        call.model_replies("Sure.", &["start-capture"]);
        call.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
        call.twilio_answers(TwilioResponse::Accepted);
        call.twilio_reports(
            "PK1",
            &[("Capture", "bank-routing-number"), ("PartialResult", "false"), ("Required", "bank-account-number")],
        );
        call.twilio_answers(TwilioResponse::Accepted);
        call.twilio_reports("PK1", &account_callback("bank-account-number", ""));
        assert_eq!(call.wait_for_statement(), ASKED);
        assert!(submissions(&call).is_empty());
        let from = call.caller_says(answer);
        assert_eq!(super::guided_flow::twilio_changes_since(&call, from), [change], "{answer}");
        assert_eq!(submissions(&call).iter().flatten().count(), usize::from(change == UpdateAction::Complete));
    }
}

#[test]
fn the_authorisation_is_in_the_language_of_the_call() {
    let spanish = CallSettings { language: "es-MX".to_owned(), ..with_texts(settings()) };
    let mut call = TestCall::start_with_parameters(spanish, BY_ACCOUNT);
    enter_account(&mut call);
    call.model_replies("", &["finish-capture"]);
    let asked = call.wait_for_statement();
    assert_eq!(
        asked,
        "El 27 de noviembre de 2026 Ann Lee autoriza 25 dólares de su cuenta corriente personal terminada en 9 2. \
                       Diga sí, o pulse 1 o 2."
    );
}

#[test]
fn a_card_is_stored_only_after_the_caller_has_agreed() {
    let mut call = TestCall::start_with_parameters(with_texts(settings()), STORE);
    call.reach_finish("PK1");
    call.model_replies("", &["finish-capture"]);
    assert_eq!(call.wait_for_statement(), "Acme keeps your card ending in 4 2 4 2. Say yes or no, or press 1 or 2.");
    call.caller_answers_by_key("1");
    call.model_replies("", &["finish-capture"]);
    assert_eq!(submissions(&call)[0].as_ref().unwrap().purpose, ConsentPurpose::StoredCard);
}

#[test]
fn a_single_charge_of_a_card_and_a_token_for_one_charge_need_no_authorisation() {
    for parameters in [r#"{"amountDue":"25.00"}"#, r#"{"amountDue":"0","tokenType":"one-time"}"#] {
        let mut call = TestCall::start_with_parameters(with_texts(settings()), parameters);
        call.reach_finish("PK1");
        call.model_replies("", &["finish-capture"]);
        assert_eq!(submissions(&call), [None], "{parameters}");
    }
}

#[test]
fn a_switched_off_text_asks_for_nothing() {
    let mut call = TestCall::start_with_parameters(settings(), BY_ACCOUNT);
    enter_account(&mut call);
    call.model_replies("", &["finish-capture"]);
    assert_eq!(submissions(&call), [None]);
}

#[test]
fn a_text_that_cannot_be_filled_in_submits_nothing() {
    let mut settings = with_texts(settings());
    settings.authorizations.business_name = None;
    settings.authorizations.bank_debit = Some(ComplianceText::new(Vec::new(), &DEBIT[..1]));
    let mut call = TestCall::start_with_parameters(settings, BY_ACCOUNT);
    enter_account(&mut call);
    call.model_replies("", &["finish-capture"]);
    assert!(call.history().contains("an authorisation that the server cannot read out"), "{}", call.history());
    assert!(submissions(&call).is_empty() && call.statements().is_empty());
}

#[test]
fn a_bank_account_is_not_stored_for_later_debits() {
    let parameters = r#"{"paymentMethod":"ach-debit","avsName":"Ann Lee","tokenType":"reusable","amountDue":"0"}"#;
    let mut call = TestCall::start_with_parameters(with_texts(settings()), parameters);
    call.caller_says("Keep my account");
    call.model_replies("Sure.", &["start-capture"]);
    assert!(call.history().contains("A bank account cannot be stored for later debits"), "{}", call.history());
    assert!(call.running_tools.is_empty());
}

#[test]
fn a_called_person_is_debited_only_as_a_customer() {
    for (order, is_allowed) in [("{}", false), (r#"{"relationship":false}"#, false), (r#"{"relationship":true}"#, true)]
    {
        let mut call = TestCall::start_outbound(with_texts(settings()), BY_ACCOUNT, order);
        call.caller_says("I want to pay");
        call.model_replies("Sure.", &["start-capture"]);
        assert_eq!(call.running_tools.len(), usize::from(is_allowed), "{order}");
        assert_eq!(call.history().contains("it is not known that the called person is a customer"), !is_allowed);
    }
}
