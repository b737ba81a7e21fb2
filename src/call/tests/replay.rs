//! Twilio replays what it buffered while the socket was lost: up to 500 frames at once, about speech and keys of before.

use super::*;

/// A burst of 500 frames: two prompts, interrupts of earlier speech, and the digits of a card again and again.
fn burst() -> Vec<String> {
    let digit = |at: usize| format!(r#"{{"type":"dtmf","digit":"{}"}}"#, &"4242424242424242"[at % 16..=at % 16]);
    let interrupt =
        r#"{"type":"interrupt","utteranceUntilInterrupt":"Card number, then","durationUntilInterruptMs":900}"#;
    let prompt = |words: &str| format!(r#"{{"type":"prompt","voicePrompt":"{words}","lang":"en-US","last":true}}"#);
    let mut frames = vec![interrupt.to_owned(), prompt("Hold on"), interrupt.to_owned()];
    frames.extend((0..494).map(digit));
    frames.extend([prompt("Where is the security code?"), interrupt.to_owned(), digit(0)]);
    assert_eq!(frames.len(), 500);
    frames
}

/// Feeds the burst, and returns the index of its first action.
fn replay(call: &mut TestCall) -> usize {
    let from = call.actions.len();
    for frame in burst() {
        call.receive_frame(&frame);
    }
    from
}

/// `stops` is how often the model is stopped: each prompt stops the response before it, and nothing else stops one.
fn assert_one_reply_and_no_digit(call: &mut TestCall, from: usize, stops: usize) {
    assert!(call.pending_request.is_some(), "the reply to the last prompt is not interrupted by what was before");
    call.model_replies("It is on the back.", &[]);
    assert_eq!(call.said_since(from), "It is on the back.");
    let stopped = call.actions[from..].iter().filter(|action| matches!(action, Action::StopModel)).count();
    assert_eq!(stopped, stops);
    call.advance(60 * SECOND);
    call.caller_says("Thanks");
    assert!(!call.history().contains('4'), "{}", call.history());
}

#[test]
fn a_burst_on_a_new_socket_has_one_reply_and_leaves_no_digit() {
    let mut call = TestCall::start();
    call.reach_card_number("PK1");
    call.advance(SECOND);
    call.feed(CallEvent::SocketLost);
    call.feed(CallEvent::SocketResumed);
    let from = replay(&mut call);
    // The response that was owed after the loss, and that to the first prompt.
    assert_one_reply_and_no_digit(&mut call, from, 2);
}

#[test]
fn a_burst_on_the_same_socket_has_one_reply_and_leaves_no_digit() {
    let mut call = TestCall::start();
    call.reach_card_number("PK1");
    call.advance(5 * SECOND);
    call.receive_frame(r#"{"type":"setup","callSid":"CA1"}"#);
    let from = replay(&mut call);
    assert_one_reply_and_no_digit(&mut call, from, 1);
}

#[test]
fn digits_of_a_payment_that_ended_while_the_socket_was_lost_are_dropped() {
    let mut call = TestCall::start();
    call.reach_card_number("PK1");
    call.feed(CallEvent::SocketLost);
    call.twilio_reports("PK1", &[("Result", "payment-error")]);
    call.advance(20 * SECOND);
    call.feed(CallEvent::SocketResumed);
    call.model_replies("That did not work.", &[]);
    call.caller_presses("4242424242");
    call.advance(5 * SECOND);
    call.caller_presses("77#");
    assert!(!call.history().contains("42"), "{}", call.history());
    assert!(call.history().contains("77"), "later keys are an input again: {}", call.history());
}

#[test]
fn a_replayed_interrupt_cuts_nothing_that_was_said_on_the_new_socket() {
    let mut call = TestCall::start_with(guided_settings());
    call.caller_says("Store my card");
    call.model_replies("Sure.", &["start-capture"]);
    call.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    call.twilio_answers(TwilioResponse::Accepted);
    call.advance(SECOND);
    call.feed(CallEvent::SocketLost);
    let from = call.feed(CallEvent::SocketResumed);
    assert_eq!(call.said_since(from), "Please type your card number on the keypad, then press pound.");
    let from = call.caller_interrupts("Please type your card");
    call.advance(10 * SECOND);
    assert_eq!(call.said_since(from), "", "it was about the prompt on the old socket, and the new one is heard");
    let from = call.caller_interrupts("Please type your card");
    call.advance(4 * SECOND);
    assert!(call.said_since(from).starts_with("Please type"), "an interrupt of the new speech repeats the prompt");
}
