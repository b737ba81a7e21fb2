//! The agent's voice, the server's texts and the model follow the caller's language.

use super::guided_flow::report_card_number;
use super::*;
use crate::relay::LanguageSwitch;

fn multilingual(settings: CallSettings) -> CallSettings {
    let languages = ["en-US", "en-AU", "fr-FR", "es-ES"].map(str::to_owned).into();
    CallSettings { detects_language: true, languages, ..settings }
}

fn caller_says_in(call: &mut TestCall, language: &str, words: &str) -> usize {
    call.receive_frame(&format!(r#"{{"type":"prompt","voicePrompt":"{words}","lang":"{language}","last":true}}"#))
}

fn voices(call: &TestCall) -> Vec<&str> {
    let voices = call.actions.iter().filter_map(|action| match action {
        Action::SendFrame(OutgoingFrame::Language(LanguageSwitch::Tts { tts_language })) => Some(tts_language.as_str()),
        Action::SendFrame(OutgoingFrame::Language(_)) => panic!("transcription stays as it is"),
        _ => None,
    });
    voices.collect()
}

#[test]
fn the_voice_follows_the_caller_and_the_model_is_told() {
    let mut call = TestCall::start_with(multilingual(settings()));
    for language in ["en", "en", "fr", "fr", "fr", "es", "en", "es", "es"] {
        caller_says_in(&mut call, language, "Hello");
        call.model_replies("Hi.", &[]);
    }
    assert_eq!(voices(&call), ["en-AU", "fr-FR", "es-ES"]);
    assert!(call.history().contains("The caller speaks fr-FR. Answer in that language"), "{}", call.history());
}

#[test]
fn a_language_that_the_caller_asked_for_stays() {
    let mut call = TestCall::start_with(multilingual(settings()));
    caller_says_in(&mut call, "fr", "Bonjour");
    call.model_replies("Bonjour.", &[]);
    caller_says_in(&mut call, "fr", "Parlez anglais");
    call.model_calls("switch-language", r#"{"ttsLanguage":"en-AU"}"#);
    call.model_emits(ModelEvent::Completed);
    call.model_replies("Sure.", &[]);
    for _ in 0..3 {
        caller_says_in(&mut call, "fr", "Merci");
        call.model_replies("Fine.", &[]);
    }
    assert_eq!(voices(&call), ["fr-FR", "en-AU"]);
}

#[test]
fn without_detection_the_language_of_a_prompt_switches_nothing() {
    let mut call = TestCall::start_with(CallSettings { detects_language: false, ..multilingual(settings()) });
    for _ in 0..3 {
        caller_says_in(&mut call, "fr", "Bonjour");
        call.model_replies("Hi.", &[]);
    }
    call.receive_frame(r#"{"type":"prompt","voicePrompt":"No language","lang":null,"last":true}"#);
    assert_eq!(voices(&call), Vec::<&str>::new());
}

#[test]
fn the_servers_question_and_its_amount_are_in_the_language_of_the_caller_at_once() {
    let mut call = TestCall::start_with(multilingual(settings()));
    caller_says_in(&mut call, "fr", "Bonjour");
    call.model_replies("Bonjour.", &[]);
    caller_says_in(&mut call, "es", "Quiero pagar");
    let question = call.request_consent("25.50");
    assert!(question.contains("25 dollars et 50 cents"), "{question}");
    caller_says_in(&mut call, "es", "Como");
    let again = call.wait_for_statement();
    assert!(again.contains("25 dólares con 50 centavos"), "{again}");
    assert_eq!(voices(&call), ["fr-FR", "es-ES"]);
}

#[test]
fn the_prompts_of_the_guided_flow_follow_at_once() {
    let mut call = TestCall::start_with(multilingual(guided_settings()));
    caller_says_in(&mut call, "es", "Guarde mi tarjeta");
    call.model_replies("Claro.", &["start-capture"]);
    let from = call.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    assert!(call.said_since(from).starts_with("Por favor, marque"));
    call.twilio_answers(TwilioResponse::Accepted);
    for _ in 0..2 {
        caller_says_in(&mut call, "fr", "Attendez");
        call.model_replies("Bien sur.", &[]);
    }
    let from = report_card_number(&mut call, "visa");
    call.advance(5 * SECOND);
    assert!(call.said_since(from).contains("code de sécurité"), "{}", call.said_since(from));
}

#[test]
fn a_text_in_another_language_than_the_voice_names_its_language() {
    let italian = CallSettings {
        language: "it-IT".to_owned(),
        languages: ["it-IT", "en-AU"].map(str::to_owned).into(),
        ..settings()
    };
    for (settings, expected) in [(italian.clone(), Some("en-AU")), (settings(), None)] {
        let mut call = TestCall::start_with(settings);
        call.caller_says("I want to pay");
        call.request_consent("25");
        let frame = call.actions.iter().rev().find_map(|action| match action {
            Action::SendFrame(OutgoingFrame::Text { lang, interruptible: Some(false), .. }) => Some(lang.as_deref()),
            _ => None,
        });
        assert_eq!(frame, Some(expected));
    }
}

#[test]
fn a_result_that_the_server_says_is_heard_whole() {
    let mut call = super::guided_flow::reach_card_number();
    let from = call.caller_says("Cancel");
    let whole = call.actions[from..].iter().any(|action| {
        matches!(action, Action::SendFrame(OutgoingFrame::Text { token, interruptible: Some(false), preemptible: Some(false), .. })
            if token.contains("The payment is cancelled"))
    });
    assert!(whole, "{}", call.said_since(from));
}

#[test]
fn a_prompt_after_the_hang_up_starts_no_reply() {
    let mut call = TestCall::start();
    call.reach_card_number("PK1");
    call.feed(CallEvent::HungUp);
    let from = call.caller_says("And then I");
    assert!(call.actions[from..].is_empty(), "its payment is still being cancelled");
    call.twilio_answers(TwilioResponse::Accepted);
    let from = call.caller_says("And then I");
    assert!(call.actions[from..].is_empty());
}
