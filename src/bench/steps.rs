//! Steps of the pure parts of the server, each with its input prepared, for the benches in `tests/benches/`. They do what
//! they do on a call that has lasted a while, and panic if the part does something else.

use std::fmt;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use secrecy::SecretString;
use uuid::Uuid;

use super::call::{ACCOUNT_SID, AUTH_TOKEN, PUBLIC_URL};
use crate::assets::Library;
use crate::call::{Action, Call, CallEnvironment, CallEvent, ConversationItem, ModelEvent, ModelRequestId, WallClock};
use crate::config::{Config, Vars};
use crate::llm::{BenchRequest, BenchResponse};
use crate::payment::{CallbackDigester, CallbackKind, PaymentCallback, PriorPayments};
use crate::redact::{Private, StreamRedactor};
use crate::relay::{IncomingFrame, OutgoingFrame};
use crate::twilio::Signer;

/// One answer of the model: 40 tokens of ordinary text, each with its blank.
const ANSWER: &str = " Thank you for waiting. I have found your order, and the delivery is on its way to you. If you would \
    like to pay for it, I can take your card on this call, and you can use your keypad.";

/// An answer with the numbers that are usual on such a call, none of them of a card: 40 tokens.
const ANSWER_WITH_NUMBERS: &str = " Your order 4417 of June 3 has two items at 20 dollars and 25 cents each, which makes \
    40.50 in all. It was sent on June 4 at 10:30 to 221 Baker Street. Our number for questions is 555 0100.";

/// How often the caller has asked, and was answered, before the step.
const EARLIER_TURNS: usize = 10;

/// The last words of the caller.
const PROMPT: &str = r#"{"type":"prompt","voicePrompt":"Could you tell me what I still have to pay, please?","lang":"en-US","last":true}"#;

/// A step of a part. Not all can be taken again.
pub struct Step(Box<dyn FnMut()>);

impl Step {
    /// What the part returns is released within the step, what it works on is not.
    fn new<T>(mut part: impl FnMut() -> T + 'static) -> Self {
        Self(Box::new(move || drop(black_box(part()))))
    }

    /// Takes the step. Returns what it worked on, whose release is not a part of it.
    #[must_use]
    pub fn take(mut self) -> Self {
        (self.0)();
        self
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Step")
    }
}

/// Parses the frame of what the caller said.
pub fn parse_prompt() -> Step {
    Step::new(|| {
        let frame = IncomingFrame::parse(black_box(PROMPT));
        assert!(matches!(frame, Ok(IncomingFrame::Prompt(_))));
        frame
    })
}

/// Handles what the caller said, up to the request to the model.
pub fn answer_prompt() -> Step {
    let mut call = TalkingCall::new();
    let mut prompt = Some(IncomingFrame::parse(PROMPT).expect("the frame is valid"));
    Step::new(move || {
        let actions = call.handle(CallEvent::RelayFrame(prompt.take().expect("the step is taken once")));
        assert!(matches!(actions[..], [Action::AskModel(_)]));
        actions
    })
}

/// Builds the body of that request, with the built-in instructions and tools.
pub fn build_request() -> Step {
    let mut call = TalkingCall::new();
    let profile = Library::built_in().profile(None, None).expect("the built-in assets have a default");
    let request = BenchRequest::new(profile, call.hear_prompt().1);
    Step::new(move || {
        let body = request.build();
        assert!(body.ends_with('}'));
        body
    })
}

/// Reads an answer from the stream of the model, an event at a time, up to the events for the call.
pub fn read_answer() -> Step {
    let mut response = BenchResponse::new();
    response.read(MESSAGE_BEGINS.as_bytes());
    let text_before: usize = events(0).iter().map(|event| response.read(event)).sum();
    assert_eq!(text_before, ANSWER.trim_start().len());
    let events = events(1);
    Step::new(move || {
        let text: usize = events.iter().map(|event| response.read(event)).sum();
        assert_eq!(text, ANSWER.len());
    })
}

/// Removes card numbers from an answer, a token at a time.
pub fn redact_answer() -> Step {
    redact(ANSWER)
}

/// Removes card numbers from an answer that has other numbers, a token at a time.
pub fn redact_numbers() -> Step {
    redact(ANSWER_WITH_NUMBERS)
}

fn redact(text: &'static str) -> Step {
    let mut stream = StreamRedactor::default();
    for token in tokens(ANSWER).cycle().take(EARLIER_TURNS * tokens(ANSWER).count()) {
        stream.push(token);
    }
    let tokens: Vec<&str> = tokens(text).collect();
    Step::new(move || {
        let passed: usize = tokens.iter().map(|token| stream.push(token).text.len()).sum();
        assert!(passed > text.len() / 2);
    })
}

/// Speaks an answer: the call takes an event of the model for each token, and returns its frame.
pub fn speak_answer() -> Step {
    let mut call = TalkingCall::new();
    let (request, _) = call.hear_prompt();
    let mut events = tokens(ANSWER).map(|token| delta(request, token)).collect::<Vec<_>>().into_iter();
    Step::new(move || {
        let frames: usize = events.by_ref().map(|event| call.handle(event).len()).sum();
        assert!(frames >= 39);
    })
}

/// Writes the frames of an answer.
pub fn write_answer() -> Step {
    let frames: Vec<OutgoingFrame> = tokens(ANSWER).map(OutgoingFrame::token).collect();
    Step::new(move || {
        for frame in &frames {
            black_box(frame.to_json());
        }
    })
}

/// Verifies the signature of a payment callback.
pub fn verify_signature() -> Step {
    let signer = Signer::new(&SecretString::from(AUTH_TOKEN));
    let (url, form) = (format!("{PUBLIC_URL}/payment-status-callback"), callback_form());
    let signature = signer.sign(&url, &form);
    Step::new(move || assert!(signer.verify(&url, &form, &signature)))
}

/// Parses a payment callback: the caller has pressed a key.
pub fn parse_callback() -> Step {
    let digester = CallbackDigester::new(&SecretString::from(AUTH_TOKEN));
    let form = callback_form();
    Step::new(move || {
        let callback = PaymentCallback::from_form(&form, &digester).expect("the form is valid");
        assert!(matches!(callback.kind, CallbackKind::EntryInProgress { key_count: 6, .. }));
        callback
    })
}

/// The beginning of a response with a message.
const MESSAGE_BEGINS: &str = concat!(
    r#"event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":{"id":"msg_1","type":"message","#,
    r#""status":"in_progress","role":"assistant","content":[]}}

"#
);

/// The events of an answer of the model, as OpenAI sends them; `number` says how many of the same came before.
fn events(number: usize) -> Vec<Vec<u8>> {
    let first = 4 + number * tokens(ANSWER).count();
    let event = |(sequence, token): (usize, &str)| {
        let of_item = r#""item_id":"msg_1","output_index":0,"content_index":0"#;
        let data = format!(
            r#"{{"type":"response.output_text.delta","sequence_number":{sequence},{of_item},"delta":"{token}","logprobs":[]}}"#
        );
        format!("event: response.output_text.delta\ndata: {data}\n\n").into_bytes()
    };
    (first..).zip(tokens(ANSWER)).map(event).collect()
}

/// The tokens of a text, each with the blank before it.
fn tokens(text: &'static str) -> impl Iterator<Item = &'static str> + Clone {
    let starts = text.match_indices(' ').map(|(start, _)| start);
    let ends = text.match_indices(' ').map(|(end, _)| end).skip(1).chain([text.len()]);
    starts.zip(ends).map(|(start, end)| &text[start..end])
}

fn delta(request: ModelRequestId, token: &str) -> CallEvent {
    CallEvent::Model { request, event: ModelEvent::TextDelta(Private::new(token.to_owned())) }
}

fn callback_form() -> Vec<(String, String)> {
    [
        ("AccountSid", ACCOUNT_SID),
        ("CallSid", "CA00000000000000000000000000000001"),
        ("Capture", "payment-card-number"),
        ("ChargeAmount", "40.50"),
        ("DateCreated", "2026-08-10T03:55:53.408Z"),
        ("DateUpdated", "2026-08-10T03:56:20.290Z"),
        ("PartialResult", "true"),
        ("PaymentCardNumber", "xxxxxx"),
        ("PaymentCardType", "visa"),
        ("PaymentConnector", "Default"),
        ("PaymentMethod", "credit-card"),
        ("Required", "payment-card-number, expiration-date, security-code"),
        ("Sid", "PK00000000000000000000000000000001"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// A call on which the caller and the model have talked.
struct TalkingCall {
    call: Call,
    now: Instant,
}

impl TalkingCall {
    fn new() -> Self {
        let now = tokio::time::Instant::now().into_std();
        let setup = r#"{"type":"setup","callSid":"CA00000000000000000000000000000001","direction":"inbound","from":"+15550100001","to":"+15550100002"}"#;
        let Ok(IncomingFrame::Setup(setup)) = IncomingFrame::parse(setup) else { panic!("the frame is valid") };
        let settings = Arc::new(Library::built_in().server.call_settings(&environment()));
        let clock = WallClock { now, at: Timestamp::UNIX_EPOCH };
        let (call, _) = Call::begin(settings, &setup, None, &PriorPayments::default(), Uuid::nil(), clock);
        let mut talking = Self { call, now };
        for _ in 0..EARLIER_TURNS {
            let (request, _) = talking.hear_prompt();
            for token in tokens(ANSWER) {
                talking.handle(delta(request, token));
            }
            talking.handle(CallEvent::Model { request, event: ModelEvent::Completed });
            talking.now += Duration::from_secs(15);
        }
        talking
    }

    /// Applies an event that arrives 20 ms after the one before.
    fn handle(&mut self, event: CallEvent) -> Vec<Action> {
        self.now += Duration::from_millis(20);
        self.call.handle(event, self.now)
    }

    /// Lets the caller speak. Returns the request to the model, and its input.
    fn hear_prompt(&mut self) -> (ModelRequestId, Vec<Arc<ConversationItem>>) {
        let prompt = IncomingFrame::parse(PROMPT).expect("the frame is valid");
        match self.handle(CallEvent::RelayFrame(prompt)).pop() {
            Some(Action::AskModel(request)) => (request.id, request.input),
            other => panic!("the model is not asked: {other:?}"),
        }
    }
}

/// The environment of a server with the required variables.
fn environment() -> CallEnvironment {
    let vars = [
        ("SERVER_BASE_URL", PUBLIC_URL),
        ("ACCOUNT_SID", ACCOUNT_SID),
        ("AUTH_TOKEN", AUTH_TOKEN),
        ("FROM_NUMBER", "+15550100002"),
        ("PAYMENT_CONNECTOR", "Default"),
        ("OPENAI_API_KEY", "sk-bench"),
    ];
    let (config, _) = Config::from_vars(&Vars::from_iter(vars)).expect("the required variables are set");
    CallEnvironment {
        payment: config.payment,
        business_name: config.business_name,
        business_phone: config.business_phone,
        from_number: config.twilio.from_number,
        resume_timeout: config.resume_timeout,
        play_media_hosts: config.play_media_hosts,
        sms_allowed_numbers: config.sms_allowed,
        destinations: Arc::new(config.destinations),
        may_ask_again: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_can_be_taken() {
        assert_eq!([ANSWER, ANSWER_WITH_NUMBERS].map(|text| tokens(text).count()), [40, 40]);
        for prepare in [
            parse_prompt,
            answer_prompt,
            build_request,
            read_answer,
            redact_answer,
            redact_numbers,
            speak_answer,
            write_answer,
            verify_signature,
            parse_callback,
        ] {
            drop(prepare().take());
        }
    }
}
