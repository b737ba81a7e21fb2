//! The disclosure that the agent is a machine, in the greeting or said by the server.

use proptest::prelude::*;

use super::*;
use crate::payment::{NoticeKind, PriorPayments, SpokenStatement, text_version};

const TEMPLATES: &[(&str, &str)] =
    &[("en-US", "This is the assistant of {business}."), ("de-DE", "Hier spricht eine KI.")];
const DISCLOSURE: &str = "This is the assistant of Acme.";
const GREETING_WITH_IT: &str = "Welcome! This is the assistant of Acme. How can I help?";
const AGENT_SILENT: &str = r#"{"type":"info","name":"agentSpeaking","value":"off"}"#;

fn disclosing(greeting: Option<&str>) -> CallSettings {
    let disclosure = ComplianceText::new(Vec::new(), TEMPLATES).fill(&[(BUSINESS, "Acme")]);
    let languages = vec!["en-US".to_owned(), "de-DE".to_owned()];
    CallSettings {
        disclosure: Some(disclosure),
        welcome_greeting: greeting.map(str::to_owned),
        languages,
        ..settings()
    }
}

/// A call whose greeting contains the disclosure.
fn greeted() -> TestCall {
    TestCall::start_with(disclosing(Some(GREETING_WITH_IT)))
}

fn twilio_plays(call: &mut TestCall, words: &str) {
    call.receive_frame(&format!(r#"{{"type":"info","name":"tokensPlayed","value":"{words}"}}"#));
}

fn elsewhere(call: TestCall) -> TestCall {
    call.resume_elsewhere(false, &PriorPayments::default())
}

/// The disclosures that are recorded as heard.
fn recorded(call: &TestCall) -> Vec<&SpokenStatement> {
    let heard = |entry: &PaymentLogEntry| matches!(entry, PaymentLogEntry::NoticeHeard(NoticeKind::Disclosure, _));
    let entries = call.ledger_entries().into_iter().filter(|entry| heard(entry));
    entries
        .map(|entry| if let PaymentLogEntry::NoticeHeard(_, heard) = entry { heard } else { unreachable!() })
        .collect()
}

/// How often the server has said the disclosure. Each time it is whole, and nobody can interrupt it.
fn times_said(call: &TestCall) -> usize {
    let texts = call.actions.iter().filter_map(|action| match action {
        Action::SendFrame(OutgoingFrame::Text { token, last, interruptible, preemptible, .. }) => {
            token.contains("Acme").then_some((token.as_str(), *last, *interruptible, *preemptible))
        }
        _ => None,
    });
    texts.inspect(|said| assert_eq!(*said, (DISCLOSURE, true, Some(false), Some(false)))).count()
}

/// The position in the actions of the first request to the model, and of the disclosure.
fn positions(call: &TestCall) -> (Option<usize>, Option<usize>) {
    let asked = call.actions.iter().position(|action| matches!(action, Action::AskModel(_)));
    let is_disclosure =
        |action: &Action| matches!(action, Action::SendFrame(OutgoingFrame::Text { token, .. }) if token == DISCLOSURE);
    (asked, call.actions.iter().position(is_disclosure))
}

#[test]
fn a_greeting_that_was_heard_discloses() {
    let mut call = greeted();
    twilio_plays(&mut call, "Welcome!");
    twilio_plays(&mut call, " This is the assistant of");
    assert!(recorded(&call).is_empty() && !call.inner.state(false).is_disclosed);
    twilio_plays(&mut call, " Acme.");
    let [heard] = recorded(&call)[..] else { panic!("recorded once") };
    assert_eq!((heard.text.as_str(), heard.language.as_str()), (DISCLOSURE, "en-US"));
    assert_eq!(heard.text_version, text_version("This is the assistant of {business}."));
    assert!(call.inner.state(false).is_disclosed);
    call.caller_interrupts("Welcome! This is the assistant of Acme. How");
    call.caller_says("I want to pay");
    call.model_replies("Sure.", &[]);
    call.advance(60 * SECOND);
    assert_eq!((times_said(&call), recorded(&call).len()), (0, 1));
}

#[test]
fn a_greeting_that_nobody_interrupted_discloses_at_its_end() {
    let mut call = greeted();
    call.advance(10 * SECOND);
    assert_eq!((times_said(&call), recorded(&call).len()), (0, 1));
    let mut call = greeted();
    call.receive_frame(r#"{"type":"info","name":"agentSpeaking","value":"on"}"#);
    call.advance(4 * SECOND);
    call.receive_frame(AGENT_SILENT);
    assert_eq!((times_said(&call), recorded(&call).len()), (0, 1));
}

#[test]
fn a_caller_who_answers_the_greeting_without_interrupting_it_is_answered_at_once() {
    let mut call = greeted();
    call.caller_says("I want to pay");
    assert!(call.pending_request.is_some() && recorded(&call).is_empty());
    call.model_replies("Sure.", &[]);
    call.advance(20 * SECOND);
    assert_eq!((times_said(&call), recorded(&call).len()), (0, 1));
}

#[test]
fn a_greeting_that_was_cut_off_early_is_followed_by_the_disclosure() {
    for heard in ["", "Welcome!", "Welcome! This is the assistant of", "Welcome to something else"] {
        let mut call = greeted();
        let from = call.caller_interrupts(heard);
        assert!(call.actions.len() == from, "the caller is speaking: {heard}");
        call.caller_says("I want to pay");
        assert_eq!(call.said_since(from), DISCLOSURE, "{heard}");
        let (asked, disclosed) = positions(&call);
        assert!(disclosed < asked && asked.is_some(), "the model is asked after it: {heard}");
        assert!(
            call.history().ends_with(&format!("agent: {DISCLOSURE}\ncaller: I want to pay\n")),
            "{}",
            call.history()
        );
        assert!(recorded(&call).is_empty(), "not heard yet");
        twilio_plays(&mut call, DISCLOSURE);
        call.model_replies("Sure.", &[]);
        call.advance(60 * SECOND);
        assert_eq!((times_said(&call), recorded(&call).len()), (1, 1), "{heard}");
    }
}

#[test]
fn a_greeting_that_was_cut_off_after_the_disclosure_is_not_followed_by_it() {
    for heard in ["Welcome! This is the assistant of Acme.", "Welcome! This is the assistant of Acme. How can"] {
        let mut call = greeted();
        call.caller_interrupts(heard);
        call.caller_says("I want to pay");
        call.model_replies("Sure.", &[]);
        assert_eq!((times_said(&call), recorded(&call).len()), (0, 1), "{heard}");
    }
}

#[test]
fn a_caller_who_cuts_the_greeting_off_and_says_nothing_hears_the_disclosure() {
    let mut call = greeted();
    call.caller_interrupts("Welcome!");
    call.advance(2 * SECOND);
    assert_eq!(times_said(&call), 0);
    call.advance(SECOND);
    assert_eq!(times_said(&call), 1);
    assert!(call.pending_request.is_none() && recorded(&call).is_empty());
    call.advance(5 * SECOND);
    assert_eq!(recorded(&call).len(), 1);
}

#[test]
fn keys_cut_the_greeting_off_and_wait_for_the_end_of_the_disclosure() {
    let mut call = greeted();
    call.caller_presses("1");
    call.caller_interrupts("Welcome! This");
    call.advance(3 * SECOND);
    assert_eq!(times_said(&call), 1);
    call.caller_presses("2#");
    assert_eq!(call.said_since(0), DISCLOSURE, "the keys do not stop it");
    assert!(call.history().contains("[on the keypad] 12"), "{}", call.history());
    call.model_replies("Thank you.", &[]);
    call.advance(10 * SECOND);
    assert_eq!((times_said(&call), recorded(&call).len()), (1, 1));
}

#[test]
fn a_greeting_without_the_disclosure_is_followed_by_it() {
    for greeting in [Some("Welcome!"), None] {
        let mut call = TestCall::start_with(disclosing(greeting));
        assert_eq!(call.said_since(0), DISCLOSURE, "{greeting:?}");
        assert_eq!(call.pending_request.is_some(), greeting.is_none(), "without a greeting the agent speaks next");
        if greeting.is_none() {
            call.model_replies("Hello!", &[]);
        }
        call.advance(20 * SECOND);
        assert_eq!((times_said(&call), recorded(&call).len()), (1, 1), "{greeting:?}");
    }
}

#[test]
fn a_disclosure_that_was_purged_with_the_greeting_is_said_again() {
    let mut call = TestCall::start_with(disclosing(Some("Welcome to our telephone service!")));
    call.caller_interrupts("Welcome to");
    assert_eq!((times_said(&call), recorded(&call).len()), (1, 0));
    call.caller_says("I want to pay");
    assert_eq!(times_said(&call), 2);
    call.model_replies("Sure.", &[]);
    call.advance(20 * SECOND);
    assert_eq!((times_said(&call), recorded(&call).len()), (2, 1));
}

#[test]
fn an_interrupted_answer_proves_that_the_disclosure_before_it_was_heard() {
    let mut call = TestCall::start_with(disclosing(None));
    call.model_says("How can I help you today?");
    assert!(recorded(&call).is_empty());
    call.caller_interrupts("How can");
    assert_eq!((times_said(&call), recorded(&call).len()), (1, 1));
}

#[test]
fn an_interrupt_of_anything_else_does_not_repeat_the_disclosure() {
    let mut call = greeted();
    call.caller_interrupts("Welcome!");
    call.caller_says("I want to pay");
    for heard in ["Welcome!", "", "Something else"] {
        call.caller_interrupts(heard);
        call.advance(4 * SECOND);
    }
    call.model_replies("Sure.", &[]);
    call.advance(20 * SECOND);
    assert_eq!((times_said(&call), recorded(&call).len()), (1, 1));
}

#[test]
fn a_disclosure_that_a_lost_socket_cut_off_is_said_on_the_next_one() {
    let mut call = greeted();
    call.advance(SECOND);
    call.feed(CallEvent::SocketLost);
    assert!(recorded(&call).is_empty());
    call.feed(CallEvent::SocketResumed);
    assert_eq!(times_said(&call), 1);
    call.advance(20 * SECOND);
    call.feed(CallEvent::SocketLost);
    call.feed(CallEvent::SocketResumed);
    assert_eq!((times_said(&call), recorded(&call).len()), (1, 1));
}

#[test]
fn a_caller_who_hangs_up_early_has_not_heard_it() {
    for (after, times) in [(SECOND, 0), (3 * SECOND, 1)] {
        let mut call = greeted();
        call.advance(after);
        call.feed(CallEvent::HungUp);
        assert_eq!(recorded(&call).len(), times);
    }
    let mut call = greeted();
    twilio_plays(&mut call, "Welcome!");
    call.advance(3 * SECOND);
    call.feed(CallEvent::HungUp);
    assert!(recorded(&call).is_empty(), "Twilio would have reported it");
}

#[test]
fn a_server_that_takes_the_call_up_says_it_only_if_it_was_not_heard() {
    let mut heard = greeted();
    heard.caller_says("I want to pay");
    heard.advance(10 * SECOND);
    heard.model_replies("How much?", &[]);
    let heard = elsewhere(heard);
    assert_eq!((times_said(&heard), recorded(&heard).len()), (0, 0));

    let mut cut_off = greeted();
    cut_off.caller_interrupts("Welcome!");
    let mut cut_off = elsewhere(cut_off);
    let (asked, disclosed) = positions(&cut_off);
    assert!(disclosed < asked && asked.is_some());
    cut_off.model_replies("Hello?", &[]);
    cut_off.advance(20 * SECOND);
    assert_eq!((times_said(&cut_off), recorded(&cut_off).len()), (1, 1));

    let known = PriorPayments { is_disclosed: true, ..PriorPayments::default() };
    let in_ledger = greeted().resume_elsewhere(false, &known);
    assert_eq!(times_said(&in_ledger), 0, "what the ledger knows need not be in the state");
    let anew = TestCall::start_after(disclosing(None), "{}", None, &known);
    assert_eq!(times_said(&anew), 0);
}

#[test]
fn a_call_whose_caller_has_not_heard_it_is_not_quiet() {
    let mut call = greeted();
    assert!(!call.inner.is_quiet());
    call.caller_interrupts("Welcome!");
    assert!(!call.inner.is_quiet());
    call.advance(10 * SECOND);
    assert!(call.inner.is_quiet());
}

#[test]
fn it_is_said_in_the_language_of_the_caller() {
    let german = CallSettings { language: "de-DE".to_owned(), ..disclosing(Some("Guten Tag!")) };
    let call = TestCall::start_with(german);
    assert_eq!(call.said_since(0), "Hier spricht eine KI.");

    let language = "multi".to_owned();
    let detected = CallSettings { detects_language: true, language, ..disclosing(Some(GREETING_WITH_IT)) };
    let mut call = TestCall::start_with(detected);
    call.caller_interrupts("Welcome!");
    call.receive_frame(r#"{"type":"prompt","voicePrompt":"Ich möchte zahlen","lang":"de","last":true}"#);
    assert_eq!(call.said_since(0), "Hier spricht eine KI.");
    call.advance(20 * SECOND);
    assert!(recorded(&call).is_empty(), "the model's answer is awaited");
    call.model_replies("Gern.", &[]);
    call.advance(20 * SECOND);
    assert_eq!(recorded(&call)[0].language, "de-DE");

    let polish = CallSettings { language: "pl-PL".to_owned(), ..disclosing(Some("Dzień dobry!")) };
    let mut call = TestCall::start_with(polish);
    let lang = |action: &Action| matches!(action, Action::SendFrame(OutgoingFrame::Text { lang: Some(lang), .. }) if lang == "en-US");
    assert!(times_said(&call) == 1 && call.actions.iter().any(lang), "in another one that the session has");
    call.advance(20 * SECOND);
    assert_eq!(recorded(&call)[0].language, "en-US");
}

#[test]
fn nothing_is_said_if_it_is_switched_off() {
    let mut call = TestCall::start_with(CallSettings { disclosure: None, ..disclosing(Some("Welcome!")) });
    call.caller_interrupts("Wel");
    call.caller_says("I want to pay");
    call.model_replies("Sure.", &[]);
    call.advance(20 * SECOND);
    assert_eq!((times_said(&call), recorded(&call).len()), (0, 0));
    assert!(!call.inner.state(false).is_disclosed);
}

#[test]
fn other_sentences_of_the_server_come_after_it() {
    let no_agent = CallSettings { has_agent: false, ..disclosing(Some("Welcome!")) };
    let call = TestCall::start_with(no_agent);
    assert_eq!(call.said_since(0), format!("{DISCLOSURE}{HAND_OFF}"));
    let mut call = greeted();
    call.caller_interrupts("Welcome!");
    call.feed(CallEvent::MachineAnswered);
    call.advance(60 * SECOND);
    assert_eq!(call.said_since(0), MACHINE, "nobody is there who has to hear it");
}

#[test]
fn in_listen_mode_it_is_said_once_the_agent_may_speak() {
    let mut call = TestCall::start_with(CallSettings { listen_only: true, ..disclosing(Some("Welcome!")) });
    call.caller_says("Speak again");
    assert_eq!(times_said(&call), 0);
    call.model_calls("set-listen-mode", r#"{"enabled":false}"#);
    call.model_emits(ModelEvent::Completed);
    assert_eq!(times_said(&call), 1);
    let call = TestCall::start_with(CallSettings { listen_only: true, ..disclosing(Some(GREETING_WITH_IT)) });
    let mut call = call;
    call.advance(20 * SECOND);
    assert_eq!(recorded(&call).len(), 1, "Twilio speaks the greeting in listen mode, too");
}

#[test]
fn the_first_reply_of_a_chat_begins_with_it() {
    let silence = SilenceSettings { enabled: false, ..settings().silence };
    let mut call = TestCall::start_with(CallSettings { has_telephone: false, silence, ..disclosing(None) });
    assert!(call.actions.is_empty() && call.inner.is_idle());
    call.caller_says("Hello");
    call.model_replies("Hi.", &[]);
    assert_eq!(call.said_since(0), format!("{DISCLOSURE}Hi."));
    call.caller_says("And now?");
    call.model_replies("Nothing.", &[]);
    assert_eq!((times_said(&call), recorded(&call).len()), (1, 1));
}

#[test]
fn an_interrupt_that_comes_after_the_words_of_the_caller_lets_no_answer_come_first() {
    let mut call = greeted();
    call.caller_says("I want to pay");
    call.receive_frame(r#"{"type":"info","name":"clientSpeaking","value":"on"}"#);
    call.caller_interrupts("Welcome!");
    assert_eq!(times_said(&call), 0);
    call.model_replies("Sure.", &[]);
    assert_eq!(call.said_since(0), format!("{DISCLOSURE}Sure."));
}

/// What happens on a call whose greeting contains the disclosure.
#[derive(Debug, Clone)]
enum Step {
    /// The caller interrupts, and has heard so many characters of the greeting, or something else.
    Interrupt(Option<usize>),
    Says,
    StartsToSpeak,
    Presses,
    /// Twilio reports the next so many characters of the greeting as played.
    Plays(usize),
    ModelSays,
    ModelCompletes,
    Waits(u64),
    SocketBreaks,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        prop::option::of(0..GREETING_WITH_IT.len()).prop_map(Step::Interrupt),
        Just(Step::Says),
        Just(Step::StartsToSpeak),
        Just(Step::Presses),
        (1..20_usize).prop_map(Step::Plays),
        Just(Step::ModelSays),
        Just(Step::ModelCompletes),
        (1..5_u64).prop_map(Step::Waits),
        Just(Step::SocketBreaks),
    ]
}

impl Step {
    fn apply(&self, call: &mut TestCall, played: &mut usize) {
        match self {
            Self::Interrupt(heard) => {
                call.caller_interrupts(heard.map_or("Something else", |heard| &GREETING_WITH_IT[..heard]));
            }
            Self::Says => {
                call.caller_says("I want to pay");
            }
            Self::StartsToSpeak => {
                call.receive_frame(r#"{"type":"info","name":"clientSpeaking","value":"on"}"#);
            }
            Self::Presses => {
                call.caller_presses("1#");
            }
            Self::Plays(more) => {
                let until = (*played + more).min(GREETING_WITH_IT.len());
                twilio_plays(call, &GREETING_WITH_IT[*played..until]);
                *played = until;
            }
            Self::ModelSays if call.pending_request.is_some() => call.model_says("Sure. "),
            Self::ModelCompletes if call.pending_request.is_some() => {
                call.model_emits(ModelEvent::Completed);
            }
            Self::ModelSays | Self::ModelCompletes => {}
            Self::Waits(seconds) => {
                call.advance(SECOND * u32::try_from(*seconds).unwrap());
            }
            Self::SocketBreaks => {
                call.feed(CallEvent::SocketLost);
                call.feed(CallEvent::SocketResumed);
            }
        }
    }
}

proptest! {
    /// Whatever happens, nothing is said before a disclosure that the server owes, and none is said or recorded after one
    /// that was heard.
    #[test]
    fn nothing_comes_before_a_disclosure_that_is_owed(steps in prop::collection::vec(step(), 0..40)) {
        let (mut call, mut played) = (greeted(), 0);
        for step in steps {
            let (from, was_owed, was_heard) =
                (call.actions.len(), call.inner.is_notice_owed(), call.inner.state(false).is_disclosed);
            step.apply(&mut call, &mut played);
            let said = call.said_since(from);
            prop_assert!(!was_owed || said.is_empty() || said.starts_with(DISCLOSURE), "{step:?}: {said}");
            prop_assert!(!was_heard || !said.contains(DISCLOSURE), "{step:?}: {said}");
            prop_assert_eq!(usize::from(call.inner.state(false).is_disclosed), recorded(&call).len());
        }
    }
}
