//! A phone line for tests: the outside world of one call, in the words of the domain.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::*;
use crate::payment::{self, Agreed, Amount, Answer, Currency, Due, Entry, Status};
use crate::redact::Private;
use crate::relay::Incoming;
use crate::sid::PaymentSid;

pub(super) const GREETING: &str = "Welcome!";
pub(super) const SORRY: &str = "Sorry, I lost my train of thought.";
pub(super) const HAND_OFF: &str = "One moment, a colleague takes over.";
pub(super) const GOODBYE: &str = "Goodbye!";
/// Arguments that every tool takes.
pub(super) const EVERY_ARGUMENT: &str = r#"{"enabled":true,"amount":"1","digits":"1","ttsLanguage":"en-au","source":"https://media.example.com/a.mp3","message":"Hi","contextKey":"acme"}"#;
pub(super) const THRESHOLD: Duration = Duration::from_secs(20);
pub(super) const RESUME: Duration = Duration::from_secs(60);
pub(super) const STALL: Duration = Duration::from_secs(60);

/// What is built in, read once.
static TEXTS: LazyLock<Guide> = LazyLock::new(|| Guide::new(Vec::new()));

/// A call and everything it did.
pub(super) struct Line {
    pub(super) call: Call,
    pub(super) now: Instant,
    /// Every action, in order.
    pub(super) did: Vec<Action>,
    /// The response in flight.
    pub(super) asked: Option<RequestId>,
    /// Tools that have not answered.
    pub(super) running: Vec<(RunId, Tool)>,
    calls_made: u32,
}

pub(super) fn dollars(amount: &str) -> Amount {
    Amount::parse(amount, Currency::USD).unwrap().unwrap()
}

pub(super) fn settings() -> Settings {
    Settings {
        telephone: true,
        silence: Silence {
            enabled: true,
            threshold: THRESHOLD,
            messages: vec!["Still there?".to_owned(), "Hello?".to_owned()],
        },
        messages: Messages {
            model_unavailable: SORRY.to_owned(),
            hand_off: HAND_OFF.to_owned(),
            goodbye: GOODBYE.to_owned(),
            no_agent: "Nobody is free.".to_owned(),
        },
        welcome_greeting: Some(GREETING.to_owned()),
        payment: payment::Settings::sample(),
        texts: TEXTS.clone(),
        guided: false,
        confirm_due: false,
        stall: STALL,
        resume: RESUME,
        listen: false,
        language: "en-US".to_owned(),
        languages: vec!["en-US".to_owned(), "en-AU".to_owned()],
        sms_allowed: vec!["+14155550199".parse().unwrap()],
        play_media_hosts: vec!["media.example.com".to_owned()],
        keypad: Keypad { max_digits: 6, pause: Duration::from_secs(3_600) },
    }
}

/// The server leads through payments.
pub(super) fn guided() -> Settings {
    Settings { guided: true, ..settings() }
}

impl Line {
    pub(super) fn open() -> Self {
        Self::open_with(settings())
    }

    pub(super) fn open_with(settings: Settings) -> Self {
        Self::open_with_parameters(settings, "{}")
    }

    /// A call that comes with these custom parameters.
    pub(super) fn open_with_parameters(settings: Settings, parameters: &str) -> Self {
        Self::open_with_all(settings, parameters, None)
    }

    /// A call that comes with these custom parameters, and with what an operator wrote.
    #[expect(clippy::disallowed_methods, reason = "some instant is needed to begin with; only differences count")]
    pub(super) fn open_with_all(settings: Settings, parameters: &str, request: Option<&str>) -> Self {
        let now = Instant::now();
        let frame = format!(
            r#"{{"type":"setup","callSid":"CA1","direction":"inbound","from":"+14155550100","callStatus":"RINGING",
            "customParameters":{parameters}}}"#
        );
        let Ok(Incoming::Setup(setup)) = Incoming::parse(&frame) else { panic!("a setup frame") };
        let (call, actions) =
            Call::begin(Arc::new(settings), &setup, request, &payment::Known::default(), Uuid::nil(), now);
        let mut line = Self { call, now, did: Vec::new(), asked: None, running: Vec::new(), calls_made: 0 };
        line.take(actions);
        line
    }

    /// Feeds an event and tells what came of it, by its place in `did`.
    pub(super) fn feed(&mut self, event: Event) -> usize {
        let from = self.did.len();
        if let Event::Model { request, event: ModelEvent::Done | ModelEvent::Failed } = &event
            && self.asked == Some(*request)
        {
            self.asked = None;
        }
        let actions = self.call.handle(event, self.now);
        self.take(actions);
        from
    }

    fn take(&mut self, actions: Vec<Action>) {
        for action in actions {
            match &action {
                Action::AskModel(request) => {
                    assert_eq!(self.asked, None, "one response in flight at most");
                    self.asked = Some(request.id);
                }
                Action::StopModel => self.asked = None,
                Action::RunTool { run, tool } => self.running.push((*run, tool.clone())),
                _ => {}
            }
            self.did.push(action);
        }
    }

    pub(super) fn frame(&mut self, frame: &str) -> usize {
        let frame = Incoming::parse(frame).unwrap();
        self.feed(Event::Heard(frame))
    }

    pub(super) fn caller_says(&mut self, words: &str) -> usize {
        self.frame(&format!(r#"{{"type":"prompt","voicePrompt":"{words}","lang":"en-US","last":true}}"#))
    }

    pub(super) fn caller_interrupts(&mut self, heard: &str) -> usize {
        self.frame(&format!(
            r#"{{"type":"interrupt","utteranceUntilInterrupt":"{heard}","durationUntilInterruptMs":"460"}}"#
        ))
    }

    pub(super) fn model(&mut self, event: ModelEvent) -> usize {
        let request = self.asked.expect("the model was asked");
        self.feed(Event::Model { request, event })
    }

    pub(super) fn model_says(&mut self, words: &str) {
        for token in words.split_inclusive(' ') {
            self.model(ModelEvent::Delta(Private::new(token.to_owned())));
        }
    }

    pub(super) fn model_calls(&mut self, name: &str, arguments: &str) {
        self.calls_made += 1;
        let call_id = format!("call_{}", self.calls_made);
        let call = ToolCall::new(call_id, None, name.to_owned(), arguments);
        self.model(ModelEvent::Call(call));
    }

    /// A whole response: words, tool calls, the end.
    pub(super) fn model_replies(&mut self, words: &str, calls: &[&str]) {
        self.model_says(words);
        for name in calls {
            self.model_calls(name, if *name == "start-capture" { self.stores_or_charges() } else { "" });
        }
        self.model(ModelEvent::Done);
    }

    /// Arguments of `start-capture`: what is due is charged; where nothing is, the card is stored.
    fn stores_or_charges(&self) -> &'static str {
        match self.call.agreement.terms().map(|terms| terms.due) {
            Ok(Due::Open) => r#"{"chargeAmount":"0"}"#,
            _ => "",
        }
    }

    /// The model hands the call off, and the tool has answered.
    pub(super) fn model_hands_off(&mut self) {
        self.model_calls("live-agent-handoff", r#"{"reason":"asked","summary":"wants to pay"}"#);
        self.model(ModelEvent::Done);
        let (run, Tool::LiveAgentHandoff { reason, summary }) = self.running.remove(0) else { panic!("a hand-off") };
        self.feed(Event::ToolFinished { run, outcome: Outcome::HandOff { reason, summary } });
    }

    /// The tool that runs gets this answer.
    pub(super) fn tool_answers(&mut self, outcome: Outcome) -> usize {
        let (run, _) = self.running.remove(0);
        self.feed(Event::ToolFinished { run, outcome })
    }

    pub(super) fn twilio_answers(&mut self, answer: Answer) -> usize {
        self.tool_answers(Outcome::Payment(answer))
    }

    /// Twilio reports on payment `sid`: fields beside the SIDs, as in a form.
    pub(super) fn twilio_reports(&mut self, sid: &str, fields: &[(&str, &str)]) -> usize {
        let status = status(sid, fields);
        self.feed(Event::PaymentStatus(status))
    }

    /// Time passes, with a tick whenever the call wants one.
    pub(super) fn passes(&mut self, time: Duration) -> usize {
        let (from, until) = (self.did.len(), self.now + time);
        while let Some(deadline) = self.call.deadline().filter(|deadline| *deadline <= until) {
            self.now = deadline.max(self.now);
            self.feed(Event::Tick);
            assert!(
                self.call.deadline().is_none_or(|next| next > self.now),
                "a tick that changes nothing is a busy loop"
            );
        }
        self.now = until;
        from
    }

    /// What was said to the caller since `from`, whole utterances joined.
    pub(super) fn said_since(&self, from: usize) -> String {
        let token = |action: &Action| match action {
            Action::Say(Outgoing::Text { token, .. }) => Some(token.clone()),
            _ => None,
        };
        self.did[from..].iter().filter_map(token).collect()
    }

    /// What the model was last asked.
    pub(super) fn request(&self) -> &Request {
        let request = |action: &&Action| matches!(action, Action::AskModel(_));
        match self.did.iter().rfind(request) {
            Some(Action::AskModel(request)) => request,
            _ => panic!("the model was never asked"),
        }
    }

    /// The last request as text, an item a line.
    pub(super) fn history(&self) -> String {
        self.request().input.iter().map(|item| line(item) + "\n").collect()
    }

    pub(super) fn ends(&self) -> Vec<Option<String>> {
        let end = |action: &Action| match action {
            Action::Say(Outgoing::End { handoff_data }) => Some(handoff_data.clone()),
            _ => None,
        };
        self.did.iter().filter_map(end).collect()
    }

    pub(super) fn records(&self) -> Vec<&Entry> {
        let entry = |action: &Action| matches!(action, Action::Record(_));
        let entries = self.did.iter().filter(|action| entry(action));
        entries.map(|action| if let Action::Record(entry) = action { entry } else { unreachable!() }).collect()
    }

    /// The model has the server ask for a yes to an amount, and the caller hears that. Tells what.
    pub(super) fn asks_for(&mut self, amount: &str) -> String {
        self.model_calls("confirm-amount", &format!(r#"{{"amount":"{amount}"}}"#));
        self.model(ModelEvent::Done);
        self.hears_statement()
    }

    /// Lets time pass until the server has said its statement, and returns that.
    pub(super) fn hears_statement(&mut self) -> String {
        for _ in 0..60 {
            if !self.call.is_statement_said() {
                self.passes(Duration::from_secs(1));
            }
        }
        assert!(self.call.is_statement_said(), "nothing was asked");
        self.statements().pop().unwrap_or_default()
    }

    /// What the server asked the caller, each time that it did.
    pub(super) fn statements(&self) -> Vec<String> {
        let statement = |action: &Action| match action {
            Action::Say(Outgoing::Text { token, last: true, interruptible: Some(false), preemptible: Some(false) }) => {
                Some(token.clone())
            }
            _ => None,
        };
        self.did.iter().filter_map(statement).collect()
    }

    /// What was recorded of the caller's answers.
    pub(super) fn answers(&self) -> Vec<&Agreed> {
        let answer = |entry: &Entry| matches!(entry, Entry::Answered(_));
        let answers = self.records().into_iter().filter(|entry| answer(entry));
        answers.map(|entry| if let Entry::Answered(answer) = entry { answer } else { unreachable!() }).collect()
    }

    /// The server asks for a yes to an amount, and the caller gives it.
    pub(super) fn agrees_on(&mut self, amount: &str) {
        self.caller_says("I want to pay");
        self.asks_for(amount);
        self.caller_says("Yes");
    }

    /// The caller presses keys.
    pub(super) fn presses(&mut self, keys: &str) -> usize {
        let from = self.did.len();
        for key in keys.chars() {
            self.frame(&format!(r#"{{"type":"dtmf","digit":"{key}"}}"#));
        }
        from
    }

    /// The caller answers a statement with keys, and waits.
    pub(super) fn answers_by_key(&mut self, keys: &str) -> usize {
        let from = self.presses(keys);
        self.passes(Duration::from_secs(1));
        from
    }

    /// A payment is open and the caller is to enter the card number.
    pub(super) fn at_card_number(&mut self, sid: &str) {
        self.caller_says("I want to pay");
        self.model_replies("Sure.", &["start-capture"]);
        self.twilio_answers(Answer::Created(payment(sid)));
        self.model_replies("", &["capture-card"]);
        self.twilio_answers(Answer::Accepted);
        self.model_replies("Card number, then hash.", &[]);
    }

    /// Every field is in; the model was told and is asked.
    pub(super) fn at_finish(&mut self, sid: &str) {
        self.caller_says("I want to pay");
        self.model_replies("Sure.", &["start-capture"]);
        self.twilio_answers(Answer::Created(payment(sid)));
        self.model_replies("", &["capture-card"]);
        self.enters_all(sid);
    }

    /// The card number was asked for, and the caller enters all there is; the model was told and is asked.
    pub(super) fn enters_all(&mut self, sid: &str) {
        self.twilio_answers(Answer::Accepted);
        self.model_replies("Card number, then hash.", &[]);
        self.twilio_reports(sid, &card("false", "security-code,expiration-date"));
        self.model_replies("Got your card.", &["capture-security-code"]);
        self.twilio_answers(Answer::Accepted);
        self.model_replies("Now the code.", &[]);
        let code = [
            ("Capture", "security-code"),
            ("PartialResult", "false"),
            ("Required", "expiration-date"),
            ("SecurityCode", "xxx"),
        ];
        self.twilio_reports(sid, &code);
        self.model_replies("Code received.", &["capture-expiry-date"]);
        self.twilio_answers(Answer::Accepted);
        self.model_replies("Now the date.", &[]);
        let date =
            [("Capture", "expiration-date"), ("PartialResult", "false"), ("Required", ""), ("ExpirationDate", "1229")];
        self.twilio_reports(sid, &date);
    }
}

/// A callback about the card number.
pub(super) fn card(partial: &'static str, required: &'static str) -> [(&'static str, &'static str); 4] {
    [
        ("Capture", "payment-card-number"),
        ("PartialResult", partial),
        ("Required", required),
        ("PaymentCardNumber", "xxxxxxxxxxxx4242"),
    ]
}

pub(super) fn status(sid: &str, fields: &[(&str, &str)]) -> Status {
    let sids = [("CallSid", "CA1"), ("Sid", sid)];
    let form: Vec<_> =
        sids.iter().chain(fields).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Status::from_form(&form).unwrap()
}

pub(super) fn payment(sid: &str) -> PaymentSid {
    sid.parse().unwrap()
}

pub(super) fn line(item: &Item) -> String {
    match item {
        Item::Developer(text) => format!("developer: {text}"),
        Item::Caller(text) => format!("caller: {text}"),
        Item::Agent(text) => format!("agent: {text}"),
        Item::Reasoning(raw) => format!("reasoning: {raw}"),
        Item::ToolCall(call) => format!("call: {} {}", call.name, call.call_id),
        Item::ToolOutput { call_id, output } => format!("output: {call_id} {output}"),
    }
}
