//! A call, event by event: orders that have gone wrong in servers like this.

#![expect(clippy::unchecked_time_subtraction, reason = "these constants are longer than a second")]

mod without_telephone;

use std::time::Duration;

use super::bench::{
    EVERY_ARGUMENT, GOODBYE, GREETING, HAND_OFF, Line, RESUME, SORRY, STALL, THRESHOLD, card, payment, settings,
};
use super::*;
use crate::payment::{Answer, Change, Entry, Field};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_prompt_is_answered_token_by_token() {
    let mut line = Line::open();
    line.caller_says("Hello");
    assert_eq!(
        line.history().lines().skip(1).collect::<Vec<_>>(),
        [format!("agent: {GREETING}").as_str(), "caller: Hello"]
    );
    let from = line.did.len();
    line.model_replies("Hi there, you.", &[]);
    assert_eq!(
        line.did[from..].iter().map(|action| format!("{action:?}")).collect::<Vec<_>>(),
        [
            "Say(Text(3 bytes, last: false))",
            "Say(Text(7 bytes, last: false))",
            "Say(Text(4 bytes, last: false))",
            "Say(Text(0 bytes, last: true))"
        ]
    );
}

#[test]
fn a_partial_prompt_never_starts_a_reply() {
    let mut line = Line::open();
    for words in ["I want", "I want to"] {
        line.frame(&format!(r#"{{"type":"prompt","voicePrompt":"{words}","last":false}}"#));
    }
    assert!(line.did.is_empty());
}

#[test]
fn a_new_prompt_stops_the_reply_under_way_and_what_was_sent_stays() {
    let mut line = Line::open();
    line.caller_says("One");
    line.model_says("First reply ");
    let from = line.caller_says("Two");
    let kinds: Vec<_> = line.did[from..].iter().map(|action| format!("{action:?}")).collect();
    assert!(
        matches!(kinds.as_slice(), [stop, close, ask] if stop == "StopModel" && close.contains("last: true") && ask.starts_with("AskModel"))
    );
    assert!(line.history().contains("agent: First reply \ncaller: Two"));
}

#[test]
fn without_an_interrupt_what_twilio_reports_as_played_counts_and_may_still_grow() {
    let mut line = Line::open();
    line.frame(r#"{"type":"info","name":"tokensPlayed","value":"Welcome!"}"#);
    line.caller_says("One");
    line.model_says("First clause. Second clause.");
    line.frame(r#"{"type":"info","name":"tokensPlayed","value":"First clause."}"#);
    line.caller_says("Two");
    assert!(line.history().contains("agent: First clause.\ncaller: Two"), "{}", line.history());
    line.frame(r#"{"type":"info","name":"tokensPlayed","value":" Second"}"#);
    line.caller_says("Three");
    assert!(line.history().contains("agent: First clause. Second\ncaller: Two"), "{}", line.history());
}

#[test]
fn after_an_interrupt_the_history_holds_what_was_heard() {
    let mut line = Line::open();
    line.caller_says("One");
    line.model_replies("This is a rather long answer.", &[]);
    line.caller_interrupts("This is a");
    line.caller_says("Stop");
    assert!(line.history().contains("agent: This is a\ncaller: Stop"), "{}", line.history());
}

#[test]
fn an_interrupt_of_the_first_of_two_utterances_takes_both() {
    let mut line = Line::open();
    line.caller_says("One");
    line.model_replies("Let me see.", &["set-silence-detection"]);
    line.model_replies("There it is.", &[]);
    line.caller_interrupts("Let me");
    line.caller_says("Stop");
    assert!(
        line.history().contains("agent: Let me\n") && !line.history().contains("There it is"),
        "{}",
        line.history()
    );
}

#[test]
fn a_tool_that_runs_when_the_caller_interrupts_is_finished_and_its_result_kept() {
    let mut line = Line::open();
    line.caller_says("I want to pay");
    line.model_replies("One moment.", &["start-capture"]);
    line.caller_interrupts("One");
    let from = line.caller_says("Hurry");
    assert_eq!(line.did.len(), from, "the model is not asked before the tool has answered");
    line.twilio_answers(Answer::Created(payment("PK1")));
    let history = line.history();
    let (output, prompt) = (history.find("output: ").unwrap(), history.find("caller: Hurry").unwrap());
    assert!(history.contains("The payment session is open") && output < prompt, "{history}");
}

#[test]
fn calls_that_were_not_begun_when_the_caller_spoke_are_answered_as_not_run() {
    let mut line = Line::open();
    line.caller_says("I want to pay");
    line.model_replies("", &["start-capture", "capture-card"]);
    line.caller_says("Wait");
    line.twilio_answers(Answer::Created(payment("PK1")));
    assert!(line.running.is_empty());
    assert!(line.history().contains("so it was not done"), "{}", line.history());
}

#[test]
fn several_calls_run_in_order_with_one_follow_up() {
    let mut line = Line::open();
    line.caller_says("I want to pay");
    line.model_replies("", &["start-capture", "set-silence-detection", "capture-card"]);
    line.twilio_answers(Answer::Created(payment("PK1")));
    // set-silence-detection without its argument is answered at once; capture-card is next.
    assert!(matches!(line.running.as_slice(), [(_, Tool::CaptureCard(update))] if update.sid == payment("PK1")));
    let from = line.twilio_answers(Answer::Accepted);
    assert_eq!(line.did[from..].iter().filter(|action| matches!(action, Action::AskModel(_))).count(), 1);
}

#[test]
fn noise_that_interrupts_does_not_leave_the_caller_in_silence() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    line.twilio_reports("PK1", &card("false", "security-code,expiration-date"));
    line.model_says("Got your ");
    line.caller_interrupts("Got");
    assert_eq!(line.asked, None);
    line.passes(4 * SECOND);
    assert!(line.asked.is_some(), "the agent takes up what it owes");
}

#[test]
fn the_values_that_the_model_sends_for_sids_are_not_used() {
    let mut line = Line::open();
    line.caller_says("I want to pay");
    line.model_calls("start-capture", r#"{"callSid":"CA666","chargeAmount":"25.00"}"#);
    line.model(ModelEvent::Done);
    line.twilio_answers(Answer::Created(payment("PK1")));
    line.model_calls("capture-card", r#"{"callSid":"CA666","paymentSid":"PK666"}"#);
    assert!(matches!(line.running.as_slice(), [(_, Tool::CaptureCard(update))] if update.sid == payment("PK1")));
}

#[test]
fn a_tool_that_does_not_fit_is_answered_and_twilio_is_not_called() {
    let mut line = Line::open();
    line.caller_says("I want to pay");
    line.model_replies("", &["finish-capture"]);
    assert!(line.running.is_empty() && line.history().contains("call start-capture first"));
    line.model_replies("", &["start-capture"]);
    line.twilio_answers(Answer::Created(payment("PK1")));
    for (name, answer) in [
        ("start-capture", "open already. Next: call capture-card"),
        ("finish-capture", "Still missing: card number, security code, expiry date"),
        ("capture-security-code", "Next: call capture-card"),
        ("capture-postal-code", "does not need the postal code"),
        ("refund", "There is no tool of that name"),
    ] {
        line.model_replies("", &[name]);
        assert!(line.running.is_empty() && line.history().contains(answer), "{name}: {}", line.history());
    }
}

#[test]
fn keys_of_a_payment_show_as_one_item_and_wake_nobody() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    let from = line.did.len();
    for mask in ["x", "xx", "xxx"] {
        line.twilio_reports(
            "PK1",
            &[("Capture", "payment-card-number"), ("PartialResult", "true"), ("PaymentCardNumber", mask)],
        );
        line.frame(r#"{"type":"dtmf","digit":"4"}"#);
    }
    assert_eq!(line.did.len(), from);
    line.caller_says("Is it working?");
    assert_eq!(line.history().matches("Payment in progress").count(), 1);
    assert!(line.history().contains("the card number is being entered on the keypad"));
}

#[test]
fn the_echo_of_our_own_request_is_not_a_captured_field() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    let echo = [
        ("Capture", "payment-card-number"),
        ("PartialResult", "false"),
        ("Required", "payment-card-number,security-code,expiration-date"),
    ];
    assert_eq!(line.twilio_reports("PK1", &echo), line.did.len());
}

#[test]
fn a_wrong_entry_leads_to_the_same_field_again() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    let wrong = [
        ("Capture", "payment-card-number"),
        ("PartialResult", "false"),
        ("ErrorType", "invalid-card-number"),
        ("Required", "payment-card-number"),
    ];
    line.twilio_reports("PK1", &wrong);
    assert!(line.history().contains("not a valid card number. Next: say so kindly and call capture-card"));
    line.model_replies("That did not work.", &["capture-card"]);
    assert!(matches!(line.running.as_slice(), [(_, Tool::CaptureCard(_))]));
}

#[test]
fn success_is_announced_only_after_the_result() {
    let mut line = Line::open();
    line.at_finish("PK1");
    assert!(line.history().contains(
        "Still needed: nothing. Next: confirm in two to four words, as a statement, and call finish-capture"
    ));
    line.model_replies("Got the date.", &["finish-capture"]);
    line.twilio_answers(Answer::Accepted);
    assert!(line.history().contains("that is not yet a success"));
    line.model_replies("It is being processed.", &[]);
    line.twilio_reports("PK1", &[("Result", "success"), ("PaymentToken", "tok_secret"), ("ExpirationDate", "1229")]);
    assert!(line.history().contains("Payment update: storing the card succeeded"));
    for secret in ["tok_secret", "1229", "4242"] {
        assert!(!line.history().contains(secret), "{secret}");
    }
    assert!(matches!(line.records().last(), Some(Entry::Ended { ending, .. }) if ending.token.is_some()));
}

#[test]
fn a_decline_offers_another_card() {
    let mut line = Line::open();
    line.at_finish("PK1");
    line.model_replies("", &["finish-capture"]);
    // The result overtakes the answer to the request.
    line.twilio_reports(
        "PK1",
        &[("Result", "payment-connector-error"), ("PayErrorCode", "64008"), ("PaymentError", "card is declined")],
    );
    line.twilio_answers(Answer::Accepted);
    assert!(line.history().contains("the card was declined and nothing was charged"));
    line.model_replies("It was declined.", &["start-capture"]);
    assert!(matches!(line.running.as_slice(), [(_, Tool::StartCapture(_))]));
}

#[test]
fn a_step_that_is_told_after_the_payment_moved_on_is_not_told() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    line.caller_says("Please cancel that");
    let late = [("Capture", "payment-card-number"), ("PartialResult", "false"), ("ErrorType", "input-timeout")];
    line.twilio_reports("PK1", &late);
    line.model_replies("Of course.", &["cancel-capture"]);
    line.twilio_answers(Answer::Accepted);
    assert!(line.history().ends_with("Next: tell the caller so.\"}\n"), "{}", line.history());
}

#[test]
fn callbacks_that_come_twice_late_or_for_a_payment_that_is_over_mean_nothing() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    let done =
        [&card("false", "security-code,expiration-date")[..], &[("DateUpdated", "2026-01-01T00:00:09.000Z")]].concat();
    let late = [&card("true", "payment-card-number")[..], &[("DateUpdated", "2026-01-01T00:00:08.000Z")]].concat();
    line.twilio_reports("PK1", &done);
    line.model_replies("Got your card.", &[]);
    for again in [&done, &late] {
        assert_eq!(line.twilio_reports("PK1", again), line.did.len());
    }
    line.twilio_reports("PK1", &[("Result", "caller-interrupted-with-star")]);
    line.model_replies("You pressed star.", &[]);
    assert_eq!(line.twilio_reports("PK1", &[("Result", "success")]), line.did.len());
}

#[test]
fn the_callback_may_come_before_the_answer_to_create() {
    let mut line = Line::open();
    line.caller_says("I want to pay");
    line.model_replies("", &["start-capture"]);
    line.twilio_reports("PK1", &[("PaymentMethod", "credit-card"), ("DateCreated", "2026-01-01T00:00:00.000Z")]);
    line.twilio_answers(Answer::Created(payment("PK1")));
    line.model_replies("", &["capture-card"]);
    assert!(matches!(line.running.as_slice(), [(_, Tool::CaptureCard(update))] if update.sid == payment("PK1")));
}

#[test]
fn a_request_without_an_answer_is_repeated_with_its_key_and_only_that_one() {
    let mut line = Line::open();
    line.caller_says("I want to pay");
    line.model_replies("", &["start-capture"]);
    let key = |tool: &Tool| match tool {
        Tool::StartCapture(create) => create.key.clone(),
        Tool::CaptureCard(update) | Tool::FinishCapture(update) => update.key.clone(),
        other => panic!("{other:?}"),
    };
    let first = key(&line.running[0].1);
    line.twilio_answers(Answer::Unknown);
    line.model_replies("", &["start-capture"]);
    assert_eq!(key(&line.running[0].1), first);
    line.twilio_answers(Answer::Created(payment("PK1")));
    line.model_replies("", &["capture-card"]);
    let card = key(&line.running[0].1);
    assert_ne!(card, first);
    line.twilio_answers(Answer::Accepted);
    line.model_replies("", &["capture-card"]);
    assert_ne!(key(&line.running[0].1), card, "an accepted request was carried out: this is a new one");
}

#[test]
fn complete_without_an_answer_is_sent_again_only_with_the_same_key() {
    let mut line = Line::open();
    line.at_finish("PK1");
    line.model_replies("", &["finish-capture"]);
    let (_, Tool::FinishCapture(first)) = line.running[0].clone() else { panic!() };
    line.twilio_answers(Answer::Unknown);
    line.model_replies("", &["finish-capture"]);
    let (_, Tool::FinishCapture(second)) = line.running[0].clone() else { panic!() };
    assert_eq!(first, second);
    line.twilio_answers(Answer::Accepted);
    line.model_replies("", &["finish-capture"]);
    assert!(line.running.is_empty() && line.history().contains("submitted already"));
}

/// Twilio took the completion, and its answer was lost.
fn with_an_unanswered_completion() -> Line {
    let mut line = Line::open();
    line.at_finish("PK1");
    line.model_replies("", &["finish-capture"]);
    line.twilio_answers(Answer::Unknown);
    line
}

#[test]
fn whatever_answers_the_repetition_of_a_completion_tells_nothing_of_the_first() {
    let refused = Answer::Refused { code: None, reason: "No." };
    for answer in [Answer::Gone, refused, Answer::Unknown] {
        let mut line = with_an_unanswered_completion();
        line.model_replies("", &["finish-capture"]);
        line.twilio_answers(answer);
        assert!(
            line.history().contains("Do not say that it worked") && !line.history().contains("nothing was submitted")
        );
        for tool in ["start-capture", "cancel-capture", "capture-card"] {
            line.model_replies("", &[tool]);
            assert!(line.running.is_empty(), "{tool}: the first may have been charged");
        }
        line.model_replies("One moment.", &[]);
        line.twilio_reports("PK1", &[("Result", "success")]);
        assert!(line.history().contains("storing the card succeeded"));
        assert!(matches!(line.records().last(), Some(Entry::Ended { .. })));
    }
}

#[test]
fn a_person_who_takes_over_is_told_of_a_result_that_is_open() {
    let mut line = Line::open();
    line.at_finish("PK1");
    line.model_replies("", &["finish-capture"]);
    line.twilio_answers(Answer::Accepted);
    line.model_replies("One moment.", &[]);
    for _ in 0..3 {
        line.passes(STALL + 10 * SECOND);
        if line.asked.is_some() {
            line.model_replies("It takes longer than usual.", &[]);
        }
    }
    let handed = line.ends();
    assert!(matches!(handed.as_slice(), [Some(data)] if data.contains("its result was not known")));
    line.twilio_reports("PK1", &[("Result", "success")]);
    assert!(matches!(line.records().last(), Some(Entry::Ended { .. })), "and in any case it is written down");
}

#[test]
fn a_result_that_comes_during_the_goodbye_is_told_before_it() {
    let mut line = with_an_unanswered_completion();
    line.caller_says("Give me a person");
    line.model_calls("live-agent-handoff", r#"{"reason":"asked"}"#);
    line.model(ModelEvent::Done);
    let (run, Tool::LiveAgentHandoff { reason, summary }) = line.running.remove(0) else { panic!() };
    line.feed(Event::ToolFinished { run, outcome: Outcome::HandOff { reason, summary } });
    line.model_replies("I connect you.", &[]);
    line.twilio_reports("PK1", &[("Result", "success")]);
    assert!(line.history().contains("storing the card succeeded"));
    line.model_replies("Your card is stored, and I connect you.", &[]);
    line.passes(20 * SECOND);
    assert!(matches!(line.ends().as_slice(), [Some(_)]));
}

#[test]
fn a_cancelling_without_an_answer_is_repeated_when_the_call_ends() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    line.caller_says("Cancel that");
    line.model_replies("", &["cancel-capture"]);
    let (_, Tool::CancelCapture(first)) = line.running[0].clone() else { panic!() };
    line.twilio_answers(Answer::Unknown);
    line.feed(Event::HungUp);
    assert!(matches!(line.running.as_slice(), [(_, Tool::CancelCapture(again))] if *again == first));
    line.twilio_answers(Answer::Unknown);
    assert!(line.records().iter().any(|entry| matches!(entry, Entry::NotCancelled { .. })));
}

#[test]
fn a_cancelled_payment_is_written_down_as_ended_and_told_once() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    line.caller_says("Cancel that");
    line.model_replies("", &["cancel-capture"]);
    line.twilio_reports("PK1", &[("Result", "transaction-cancelled")]);
    line.twilio_answers(Answer::Accepted);
    assert_eq!(line.history().matches("nothing was charged").count(), 1, "{}", line.history());
    assert!(matches!(line.records().last(), Some(Entry::Ended { .. })));
}

#[test]
fn a_session_that_was_never_confirmed_can_be_given_up_for_another_amount() {
    let mut line = Line::open();
    line.caller_says("I want to pay 25");
    line.model_calls("start-capture", r#"{"chargeAmount":"25.00"}"#);
    line.model(ModelEvent::Done);
    line.twilio_answers(Answer::Unknown);
    line.model_calls("start-capture", r#"{"chargeAmount":"30.00"}"#);
    line.model(ModelEvent::Done);
    assert!(line.running.is_empty() && line.history().contains("cancel-capture to give it up"));
    line.model_replies("", &["cancel-capture"]);
    assert!(line.history().contains("The payment is given up"));
    line.model_calls("start-capture", r#"{"chargeAmount":"30.00"}"#);
    line.model(ModelEvent::Done);
    // The first shows up after all: it is not taken for the second.
    line.twilio_reports("PK25", &[("ChargeAmount", "25.00")]);
    assert!(matches!(&line.running[1].1, Tool::CancelCapture(update) if update.sid == payment("PK25")));
    line.twilio_answers(Answer::Created(payment("PK30")));
    line.model_replies("", &["capture-card"]);
    assert!(
        line.running.iter().any(|(_, tool)| matches!(tool, Tool::CaptureCard(update) if update.sid == payment("PK30")))
    );
}

#[test]
fn noise_over_a_hand_off_does_not_leave_the_caller_alone() {
    let mut line = Line::open();
    line.caller_says("Give me a person");
    line.model_calls("live-agent-handoff", r#"{"reason":"asked"}"#);
    line.model(ModelEvent::Done);
    let (run, Tool::LiveAgentHandoff { reason, summary }) = line.running.remove(0) else { panic!() };
    line.feed(Event::ToolFinished { run, outcome: Outcome::HandOff { reason, summary } });
    line.model_replies("I connect you.", &[]);
    line.caller_interrupts("I");
    line.passes(4 * SECOND);
    assert!(line.asked.is_some() && line.history().contains("If it was only noise, take leave again"));
}

#[test]
fn a_card_that_is_refused_at_once_is_not_submitted_again_and_again() {
    let mut line = Line::open();
    line.at_finish("PK1");
    for _ in 0..3 {
        line.model_replies("", &["finish-capture"]);
        line.twilio_answers(Answer::Refused { code: Some(64008), reason: "The card was not accepted." });
        assert!(line.history().contains("Next: call cancel-capture, and offer another card"));
    }
    line.model_replies("", &["finish-capture"]);
    assert!(line.running.is_empty() && line.history().contains("refused too often"));
}

#[test]
fn a_caller_who_keeps_asking_does_not_keep_a_lost_result_from_being_noticed() {
    let mut line = Line::open();
    line.at_finish("PK1");
    line.model_replies("", &["finish-capture"]);
    line.twilio_answers(Answer::Accepted);
    line.model_replies("One moment.", &[]);
    line.passes(STALL / 2);
    line.caller_says("Did it work?");
    line.model_replies("Not yet.", &[]);
    line.passes(STALL / 2 + SECOND);
    assert!(line.history().contains("there is no answer from the payment provider yet"));
}

#[test]
fn a_correction_is_not_taken_for_entered_before_a_key_was_pressed() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    line.twilio_reports("PK1", &card("false", "security-code,expiration-date"));
    line.model_replies("Got your card.", &[]);
    line.caller_says("That was the wrong one");
    line.model_replies("", &["capture-card"]);
    line.twilio_answers(Answer::Accepted);
    line.model_replies("Once more, please.", &[]);
    let mask = [("Capture", "payment-card-number"), ("PaymentCardNumber", "xxxxxxxxxxxx4242")];
    let with = |partial: &'static str| [&mask[..], &[("PartialResult", partial)]].concat();
    assert_eq!(line.twilio_reports("PK1", &with("false")), line.did.len(), "the echo of our own request");
    line.twilio_reports("PK1", &with("true"));
    line.twilio_reports("PK1", &with("false"));
    assert!(line.asked.is_some());
}

#[test]
fn silence_is_not_watched_while_a_payment_is_open_and_again_afterwards() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    let from = line.passes(STALL - SECOND);
    assert_eq!(line.said_since(from), "");
    line.twilio_reports("PK1", &[("Result", "caller-interrupted-with-star")]);
    line.model_replies("Cancelled.", &[]);
    let from = line.passes(THRESHOLD - SECOND);
    assert_eq!(line.said_since(from), "");
    let from = line.passes(5 * SECOND);
    assert_eq!(line.said_since(from), "Still there?");
}

#[test]
fn silence_returns_to_what_it_was_whatever_the_model_forgets() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    line.caller_says("Hm");
    line.model_calls("set-silence-detection", r#"{"enabled":false}"#);
    line.model(ModelEvent::Done);
    line.tool_answers(Outcome::SilenceDetection { enabled: false });
    line.model_replies("Yes?", &[]);
    line.twilio_reports("PK1", &[("Result", "caller-interrupted-with-star")]);
    line.model_replies("Cancelled.", &[]);
    let from = line.passes(THRESHOLD + 15 * SECOND);
    assert_eq!(line.said_since(from), "Still there?");
}

#[test]
fn a_silent_caller_is_reminded_and_in_the_end_the_call_ends() {
    let mut line = Line::open();
    let from = line.passes(5 * THRESHOLD);
    assert_eq!(line.said_since(from), format!("Still there?Hello?{GOODBYE}"));
    assert_eq!(line.ends(), [None]);
}

#[test]
fn the_agents_own_speech_and_thinking_are_not_the_callers_silence() {
    let mut line = Line::open();
    line.frame(r#"{"type":"info","name":"agentSpeaking","value":"on"}"#);
    line.passes(SECOND);
    line.frame(r#"{"type":"info","name":"agentSpeaking","value":"off"}"#);
    line.caller_says("Tell me a long story");
    let from = line.passes(2 * THRESHOLD);
    line.model_replies("Once upon a time.", &[]);
    line.frame(r#"{"type":"info","name":"agentSpeaking","value":"on"}"#);
    line.passes(THRESHOLD / 2);
    assert_eq!(line.said_since(from), "Once upon a time.");
    line.frame(r#"{"type":"info","name":"agentSpeaking","value":"off"}"#);
    let from = line.passes(THRESHOLD - SECOND);
    assert_eq!(line.said_since(from), "");
}

#[test]
fn end_is_sent_after_the_goodbye_was_heard() {
    let mut line = Line::open();
    line.caller_says("That is all");
    line.model_replies("", &["end-call"]);
    line.tool_answers(Outcome::EndCall);
    line.model_replies("Have a nice day.", &[]);
    assert!(line.ends().is_empty(), "the goodbye is still being spoken");
    line.frame(r#"{"type":"info","name":"agentSpeaking","value":"on"}"#);
    line.frame(r#"{"type":"info","name":"agentSpeaking","value":"off"}"#);
    assert_eq!(line.ends(), [None]);
}

#[test]
fn a_goodbye_that_was_said_with_the_call_needs_no_second_one() {
    let mut line = Line::open();
    line.caller_says("That is all");
    line.model_replies("Goodbye then.", &["end-call"]);
    line.tool_answers(Outcome::EndCall);
    assert_eq!(line.asked, None);
    line.passes(10 * SECOND);
    assert_eq!(line.ends(), [None]);
}

#[test]
fn a_caller_who_speaks_over_the_goodbye_is_not_hung_up_on() {
    let mut line = Line::open();
    line.caller_says("That is all");
    line.model_replies("Goodbye then.", &["end-call"]);
    line.tool_answers(Outcome::EndCall);
    line.caller_interrupts("Goodbye");
    line.caller_says("No wait");
    assert!(line.history().contains("so it goes on"));
    line.model_replies("Yes?", &[]);
    line.passes(10 * SECOND);
    assert!(line.ends().is_empty());
}

#[test]
fn an_end_call_that_is_running_when_the_caller_speaks_ends_nothing() {
    let mut line = Line::open();
    line.caller_says("That is all");
    line.model_replies("Goodbye then.", &["end-call"]);
    line.caller_says("No wait");
    line.tool_answers(Outcome::EndCall);
    assert!(line.history().contains("so it goes on"));
    line.model_replies("Yes?", &[]);
    line.passes(10 * SECOND);
    assert!(line.ends().is_empty());
}

#[test]
fn a_hand_off_cancels_the_open_payment_first() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    line.caller_says("Give me a person");
    line.model_calls("live-agent-handoff", r#"{"reason":"asked","summary":"wants to pay"}"#);
    line.model(ModelEvent::Done);
    let (run, Tool::LiveAgentHandoff { reason, summary }) = line.running.remove(0) else { panic!() };
    line.feed(Event::ToolFinished { run, outcome: Outcome::HandOff { reason, summary } });
    line.model_replies("I connect you.", &[]);
    line.passes(10 * SECOND);
    assert!(line.ends().is_empty());
    assert!(matches!(line.running.as_slice(), [(_, Tool::CancelCapture(update))] if update.change == Change::Cancel));
    line.twilio_answers(Answer::Accepted);
    let ends = line.ends();
    let [Some(data)] = ends.as_slice() else { panic!("{ends:?}") };
    assert!(data.contains(r#""reasonCode":"live-agent-handoff""#) && data.contains("wants to pay"));
}

#[test]
fn a_model_that_fails_is_spoken_for_and_after_three_times_a_person_takes_over() {
    let mut line = Line::open();
    for words in [SORRY, SORRY, HAND_OFF] {
        line.caller_says("Hello?");
        let from = line.model(ModelEvent::Failed);
        assert_eq!(line.said_since(from), words);
    }
    line.passes(10 * SECOND);
    assert!(matches!(line.ends().as_slice(), [Some(data)] if data.contains("model-unavailable")));
}

#[test]
fn a_response_without_words_or_calls_is_a_failure() {
    let mut line = Line::open();
    line.caller_says("Hello?");
    let from = line.model(ModelEvent::Done);
    assert_eq!(line.said_since(from), SORRY);
}

#[test]
fn a_payment_that_stands_still_is_offered_a_retry_then_a_person() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    line.passes(STALL + SECOND);
    assert!(line.history().contains("wants to try again, and if so call capture-card"));
    line.model_replies("Shall we try again?", &[]);
    line.passes(STALL + SECOND);
    assert!(line.history().contains("offer to connect the caller with a person"));
    line.model_replies("A person?", &[]);
    line.passes(STALL + 10 * SECOND);
    line.twilio_answers(Answer::Accepted);
    assert!(matches!(line.ends().as_slice(), [Some(data)] if data.contains("payment-stalled")));
}

#[test]
fn a_hang_up_in_mid_card_cancels_the_payment_and_closes() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    line.caller_says("Hm");
    line.feed(Event::HungUp);
    assert_eq!(line.asked, None, "the model's stream is dropped");
    assert!(matches!(line.running.as_slice(), [(_, Tool::CancelCapture(_))]));
    assert!(!line.did.iter().any(|action| matches!(action, Action::Close)));
    line.twilio_answers(Answer::Gone);
    assert!(matches!(line.did.last(), Some(Action::Close)));
}

#[test]
fn a_payment_that_is_just_being_opened_when_the_caller_hangs_up_is_cancelled_too() {
    let mut line = Line::open();
    line.caller_says("I want to pay");
    line.model_replies("", &["start-capture"]);
    line.feed(Event::HungUp);
    line.twilio_answers(Answer::Created(payment("PK1")));
    assert!(matches!(line.running.as_slice(), [(_, Tool::CancelCapture(update))] if update.sid == payment("PK1")));
    line.twilio_answers(Answer::Accepted);
    assert!(matches!(line.did.last(), Some(Action::Close)));
}

#[test]
fn a_call_that_ends_while_the_result_is_open_is_recorded_as_unresolved() {
    let mut line = Line::open();
    line.at_finish("PK1");
    line.model_replies("", &["finish-capture"]);
    line.twilio_answers(Answer::Accepted);
    line.feed(Event::HungUp);
    assert!(matches!(line.records().last(), Some(Entry::Unresolved { .. })));
    assert!(matches!(line.did.last(), Some(Action::Close)));
}

#[test]
fn digits_spoken_while_a_card_is_entered_are_cut_out_and_the_rest_goes_through() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    line.caller_says("Cancel, 4242 4242 is one of my 2 cards");
    assert!(line.history().contains("caller: Cancel, [digits removed] is one of my 2 cards"));
    assert!(line.history().contains("entered on the keypad only"));
}

#[test]
fn a_call_whose_socket_broke_is_taken_up_where_it_was() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    line.caller_says("Is it working?");
    line.model_says("Yes, please ");
    let from = line.feed(Event::SocketLost);
    line.twilio_reports("PK1", &card("false", "security-code,expiration-date"));
    line.passes(RESUME - SECOND);
    assert_eq!((line.asked, line.said_since(from).as_str()), (None, ""), "nobody would hear it");
    line.feed(Event::Resumed);
    assert!(line.history().contains("the card number is in") && line.history().contains("connection was lost"));
    line.model_replies("Got your card.", &["capture-security-code"]);
    assert!(
        matches!(line.running.as_slice(), [(_, Tool::CaptureSecurityCode(update))] if update.sid == payment("PK1"))
    );
}

#[test]
fn a_call_that_was_quiet_when_its_socket_broke_stays_quiet() {
    let mut line = Line::open();
    line.caller_says("Hello");
    line.model_replies("Hi.", &[]);
    line.passes(5 * SECOND);
    line.feed(Event::SocketLost);
    let from = line.feed(Event::Resumed);
    assert_eq!(line.did.len(), from);
    line.caller_says("Are you there?");
    assert!(line.asked.is_some());
}

#[test]
fn a_call_whose_socket_does_not_come_back_ends_as_a_hang_up_does() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    line.feed(Event::SocketLost);
    line.passes(RESUME + SECOND);
    assert!(matches!(line.running.as_slice(), [(_, Tool::CancelCapture(_))]));
    line.twilio_answers(Answer::Accepted);
    assert!(matches!(line.did.last(), Some(Action::Close)));
}

fn key(line: &mut Line, keys: &str) -> usize {
    let from = line.did.len();
    for key in keys.chars() {
        line.frame(&format!(r#"{{"type":"dtmf","digit":"{key}"}}"#));
    }
    from
}

#[test]
fn keys_outside_a_payment_are_one_input_after_hash_a_length_or_a_pause() {
    let with_pause = Settings { keypad: Keypad { max_digits: 4, pause: 3 * SECOND }, ..settings() };
    let mut line = Line::open_with(with_pause);
    key(&mut line, "12#");
    assert!(line.history().ends_with("caller: [on the keypad] 12\n"));
    line.model_replies("Twelve.", &[]);
    let from = key(&mut line, "345");
    assert_eq!(line.did.len(), from);
    line.passes(4 * SECOND);
    assert!(line.history().ends_with("caller: [on the keypad] 345\n"));
    line.model_replies("Three four five.", &[]);
    key(&mut line, "6789");
    assert!(line.history().ends_with("caller: [on the keypad] 6789\n"));
    line.model_replies("Thank you.", &["start-capture"]);
    key(&mut line, "1");
    line.passes(4 * SECOND);
    line.twilio_answers(Answer::Created(payment("PK1")));
    assert!(!line.history().contains("keypad] 1\n"), "keys while a payment is open go nowhere");
}

#[test]
fn a_card_number_that_is_keyed_outside_a_payment_goes_no_further() {
    let mut line = Line::open_with(Settings { keypad: Keypad { max_digits: 20, pause: SECOND }, ..settings() });
    key(&mut line, "4242424242424242#");
    assert!(line.history().ends_with("caller: [on the keypad] [digits removed]\n"));
}

#[test]
fn tones_recordings_and_languages_go_out_after_what_was_said() {
    let mut line = Line::open();
    line.caller_says("Dial for me");
    line.model_says("One moment.");
    line.model_calls("send-dtmf", r#"{"digits":"1w2#"}"#);
    let (run, Tool::SendDtmf { digits }) = line.running.remove(0) else { panic!() };
    let from = line.feed(Event::ToolFinished { run, outcome: Outcome::Send(Outgoing::SendDigits { digits }) });
    assert!(matches!(&line.did[from..], [Action::Say(Outgoing::SendDigits { .. })]));
    line.model(ModelEvent::Done);
    assert!(line.history().contains(r#""success":true"#));
}

#[test]
fn messages_go_to_the_caller_or_to_whom_the_operator_allows() {
    for (to, recipient) in [
        ("", Some("+14155550100")),
        (r#""to":"+14155550100","#, Some("+14155550100")),
        (r#""to":"+14155550199","#, Some("+14155550199")),
        (r#""to":"+14155550111","#, None),
    ] {
        let mut line = Line::open();
        line.caller_says("Send me a receipt");
        line.model_calls("send-sms", &format!(r#"{{{to}"message":"Paid with 4242424242424242."}}"#));
        line.model(ModelEvent::Done);
        match (line.running.pop(), recipient) {
            (Some((run, Tool::SendSms { to, body })), Some(recipient)) => {
                assert_eq!((to.as_str(), body.reveal().as_str()), (recipient, "Paid with [digits removed]."));
                line.feed(Event::ToolFinished { run, outcome: Outcome::Message(Ok(())) });
                assert!(line.history().contains("Do not send it again"));
            }
            (None, None) => assert!(line.history().contains("only to the number of this call")),
            (ran, _) => panic!("{to}: {ran:?}"),
        }
    }
}

#[test]
fn no_tones_go_out_while_a_payment_is_open() {
    let mut line = Line::open();
    line.at_card_number("PK1");
    line.caller_says("Press one");
    line.model_calls("send-dtmf", r#"{"digits":"1"}"#);
    line.model(ModelEvent::Done);
    assert!(line.running.is_empty() && line.history().contains("no tones can be sent"));
}

#[test]
fn an_agent_that_only_listens_says_nothing_and_its_tools_run() {
    let mut line = Line::open_with(Settings { listen: true, ..settings() });
    line.caller_says("I want to pay");
    line.model_replies("Sure.", &["start-capture"]);
    line.twilio_answers(Answer::Created(payment("PK1")));
    line.model_replies("", &["set-listen-mode"]);
    line.model(ModelEvent::Failed);
    line.passes(3 * THRESHOLD);
    assert_eq!(line.said_since(0), "");
    line.caller_says("Hello?");
    line.model_calls("set-listen-mode", r#"{"enabled":false}"#);
    line.model(ModelEvent::Done);
    line.tool_answers(Outcome::ListenMode { enabled: false });
    line.model_replies("Here I am.", &[]);
    assert_eq!(line.said_since(0), "Here I am.");
}

#[test]
fn the_postal_code_is_asked_for_where_it_is_needed() {
    let mut with_postal_code = settings();
    with_postal_code.payment.postal_code = true;
    let mut line = Line::open_with(with_postal_code);
    line.at_finish("PK1");
    assert!(line.history().contains(
        "Still needed: postal code. Next: confirm in two to four words, as a statement, and call capture-postal-code"
    ));
    line.model_replies("", &["capture-postal-code"]);
    assert!(
        matches!(&line.running[0].1, Tool::CapturePostalCode(update) if update.change == Change::Capture(Field::PostalCode))
    );
}

#[test]
fn reasoning_travels_with_its_call_and_not_without() {
    let raw = |text: &str| serde_json::value::RawValue::from_string(text.to_owned()).unwrap();
    let mut line = Line::open();
    line.caller_says("One");
    line.model(ModelEvent::Reasoning(raw(r#"{"id":"rs_1"}"#)));
    line.model_replies("Hello.", &[]);
    line.caller_says("Two");
    assert!(!line.history().contains("rs_1"));
    line.model(ModelEvent::Reasoning(raw(r#"{"id":"rs_2"}"#)));
    line.model_replies("", &["set-silence-detection"]);
    assert!(line.history().contains("reasoning: {\"id\":\"rs_2\"}\ncall: set-silence-detection"), "{}", line.history());
}

#[test]
fn a_model_that_only_calls_tools_is_stopped_in_the_end() {
    let mut line = Line::open();
    line.caller_says("Hello");
    for _ in 0..50 {
        if line.asked.is_some() {
            line.model_replies("", &["refund"]);
        }
    }
    assert_eq!((line.asked, line.said_since(0)), (None, HAND_OFF.to_owned()));
}

#[test]
fn a_session_that_shows_up_after_it_was_given_up_is_cancelled() {
    let mut line = Line::open();
    line.twilio_reports("PK9", &[("PaymentMethod", "credit-card")]);
    assert!(matches!(line.running.as_slice(), [(_, Tool::CancelCapture(update))] if update.sid == payment("PK9")));
}
