//! The test harness of a call: feeds events to a [`Call`](super::super::Call) and records its actions.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::*;
use crate::ids::PaymentSid;
use crate::payment::{
    self, Amount, AmountDue, BusinessDue, ConsentRecord, Currency, PaymentCallback, PaymentLogEntry, TwilioResponse,
    UpdatePayment,
};
use crate::phone_number::AllowedDestinations;
use crate::redact::{Private, RedactedJson};
use crate::relay::IncomingFrame;
use crate::usage_limits::UsageLimits;

pub(in crate::call) const GREETING: &str = "Welcome!";
pub(in crate::call) const MODEL_UNAVAILABLE: &str = "Sorry, I lost my train of thought.";
pub(in crate::call) const HAND_OFF: &str = "One moment, a colleague takes over.";
pub(in crate::call) const GOODBYE: &str = "Goodbye!";
pub(in crate::call) const CALL_ENDS_SOON: &str = "Two minutes are left.";
pub(in crate::call) const TIME_IS_UP: &str = "The time is up. Goodbye!";
pub(in crate::call) const MACHINE: &str = "We will call again. Goodbye!";
/// Arguments that are valid for every tool.
pub(in crate::call) const ALL_TOOL_ARGUMENTS: &str = r#"{"enabled":true,"amount":"1","digits":"1","ttsLanguage":"en-au","source":"https://media.example.com/a.mp3","message":"Hi","contextKey":"acme"}"#;
pub(in crate::call) const SILENCE_THRESHOLD: Duration = Duration::from_secs(20);
pub(in crate::call) const RESUME_TIMEOUT: Duration = Duration::from_secs(60);
pub(in crate::call) const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// The built-in texts, parsed once.
static TEXTS: LazyLock<LocalizedTexts> = LazyLock::new(|| LocalizedTexts::new(Vec::new()));

/// A call under test and the actions it returned.
pub(in crate::call) struct TestCall {
    pub(in crate::call) inner: Call,
    pub(in crate::call) now: Instant,
    /// All actions, in order.
    pub(in crate::call) actions: Vec<Action>,
    /// The model request in flight.
    pub(in crate::call) pending_request: Option<ModelRequestId>,
    /// The tools that have not finished.
    pub(in crate::call) running_tools: Vec<(ToolRunId, Tool)>,
    tool_call_count: u32,
    external_call_count: u64,
}

pub(in crate::call) fn usd(amount: &str) -> Amount {
    Amount::parse(amount, Currency::USD).unwrap().unwrap()
}

/// The day on which every call begins.
fn clock(now: Instant) -> WallClock {
    WallClock { now, at: "2026-11-28T03:00:00Z".parse().unwrap() }
}

pub(in crate::call) fn settings() -> CallSettings {
    CallSettings {
        has_telephone: true,
        has_agent: true,
        may_ask_again: true,
        silence: SilenceSettings {
            enabled: true,
            threshold: SILENCE_THRESHOLD,
            reminders: vec!["Still there?".to_owned(), "Hello?".to_owned()],
        },
        messages: CallMessages {
            model_unavailable: MODEL_UNAVAILABLE.to_owned(),
            hand_off: HAND_OFF.to_owned(),
            goodbye: GOODBYE.to_owned(),
            no_agent: "Nobody is free.".to_owned(),
            too_many_calls: LocalizedMessage::same_everywhere("All lines are busy.".to_owned()),
            call_ends_soon: LocalizedMessage::same_everywhere(CALL_ENDS_SOON.to_owned()),
            time_is_up: LocalizedMessage::same_everywhere(TIME_IS_UP.to_owned()),
            machine: LocalizedMessage::same_everywhere(MACHINE.to_owned()),
        },
        welcome_greeting: Some(GREETING.to_owned()),
        outbound_greeting: None,
        disclosure: None,
        sends_receipts: false,
        authorizations: AuthorizationSettings {
            bank_debit: None,
            stored_card: None,
            business_name: Some("Acme".to_owned()),
            phone: "+15550100002".parse().unwrap(),
            time_zone: jiff::tz::TimeZone::fixed(jiff::tz::offset(-5)),
        },
        recording: None,
        payment: payment::PaymentSettings::sample(),
        texts: TEXTS.clone(),
        is_guided: false,
        confirm_due: false,
        stall_timeout: STALL_TIMEOUT,
        resume_timeout: RESUME_TIMEOUT,
        listen_only: false,
        language: "en-US".to_owned(),
        detects_language: false,
        languages: vec!["en-US".to_owned(), "en-AU".to_owned()],
        sms_allowed_numbers: vec!["+14155550199".parse().unwrap()],
        play_media_hosts: vec!["media.example.com".to_owned()],
        destinations: Arc::new(AllowedDestinations::new(Vec::new(), &"+15550100002".parse().unwrap())),
        usage_limits: UsageLimits::default(),
        keypad: KeypadSettings { max_digits: 6, pause: Duration::from_secs(3_600) },
        heard_language: "en-US".to_owned(),
    }
}

/// Settings in which the server guides the caller through payments.
pub(in crate::call) fn guided_settings() -> CallSettings {
    CallSettings { is_guided: true, ..settings() }
}

impl TestCall {
    pub(in crate::call) fn start() -> Self {
        Self::start_with(settings())
    }

    pub(in crate::call) fn start_with(settings: CallSettings) -> Self {
        Self::start_with_parameters(settings, "{}")
    }

    /// Starts a call with these custom parameters.
    pub(in crate::call) fn start_with_parameters(settings: CallSettings, parameters: &str) -> Self {
        Self::start_with_order(settings, parameters, None)
    }

    /// Starts a call with these custom parameters and the operator's order.
    pub(in crate::call) fn start_with_order(settings: CallSettings, parameters: &str, request: Option<&str>) -> Self {
        Self::start_after(settings, parameters, request, &payment::PriorPayments::default())
    }

    /// Starts a call that the server places by this order.
    #[expect(clippy::disallowed_methods, reason = "the absolute time does not matter")]
    pub(in crate::call) fn start_outbound(settings: CallSettings, parameters: &str, order: &str) -> Self {
        let now = Instant::now();
        let setup = Setup { direction: "outbound-api".to_owned(), ..setup(parameters) };
        let known = payment::PriorPayments::default();
        Self::from_beginning(Call::begin(Arc::new(settings), &setup, Some(order), &known, Uuid::nil(), clock(now)), now)
    }

    /// Starts a call with these earlier payments.
    #[expect(clippy::disallowed_methods, reason = "the absolute time does not matter")]
    pub(in crate::call) fn start_after(
        settings: CallSettings,
        parameters: &str,
        request: Option<&str>,
        known: &payment::PriorPayments,
    ) -> Self {
        let now = Instant::now();
        let begun = Call::begin(Arc::new(settings), &setup(parameters), request, known, Uuid::nil(), clock(now));
        Self::from_beginning(begun, now)
    }

    /// Another server goes on with the call, which this one has left as it is. `known` is what the ledger knows.
    pub(in crate::call) fn resume_elsewhere(self, is_handed_over: bool, known: &payment::PriorPayments) -> Self {
        self.resume_elsewhere_after(is_handed_over, known, &[])
    }

    /// The same after Twilio has reported this about the open payment, while nobody had the call.
    pub(in crate::call) fn resume_elsewhere_after(
        mut self,
        is_handed_over: bool,
        known: &payment::PriorPayments,
        reports: &[PaymentCallback],
    ) -> Self {
        let mut items = Vec::new();
        for (_, item) in self.inner.take_journal_changes(&mut JournalCursor::default()) {
            items.extend(item.and_then(|item| ConversationItem::from_journal(&item.to_journal()?)));
        }
        let state = serde_json::to_string(&self.inner.state(is_handed_over)).unwrap();
        let mut open = self.inner.payments.take_open();
        // Nobody knows whether Twilio got what was being asked.
        for (capture, (_, tool)) in open.iter_mut().zip(&self.running_tools) {
            let _ = match tool {
                Tool::StartCapture(create) => capture.apply_create_response(create, TwilioResponse::Unknown),
                Tool::UpdatePayment(update) => capture.apply_update_response(update, TwilioResponse::Unknown),
                _ => continue,
            };
        }
        if let Some(capture) = &mut open {
            for report in reports {
                capture.apply_callback(report);
            }
        }
        let age = Duration::from_mins(1);
        let resumed = ResumedCall { state: serde_json::from_str(&state).unwrap(), items, payment: open, age };
        let settings = self.inner.settings.clone();
        let begun = Call::resume(settings, &setup("{}"), None, known, resumed, Uuid::from_u128(1), clock(self.now));
        Self::from_beginning(begun, self.now)
    }

    fn from_beginning((call, actions): (Call, Vec<Action>), now: Instant) -> Self {
        let mut call = Self {
            inner: call,
            now,
            actions: Vec::new(),
            pending_request: None,
            running_tools: Vec::new(),
            tool_call_count: 0,
            external_call_count: 0,
        };
        call.record_actions(actions);
        call
    }

    /// Feeds an event to the call. Returns the index in `actions` of the first resulting action.
    pub(in crate::call) fn feed(&mut self, event: CallEvent) -> usize {
        let from = self.actions.len();
        if let CallEvent::Model {
            request,
            event: ModelEvent::Completed | ModelEvent::Failed | ModelEvent::InputRefused(_),
        } = &event
            && self.pending_request == Some(*request)
        {
            self.pending_request = None;
        }
        let actions = self.inner.handle(event, self.now);
        self.record_actions(actions);
        from
    }

    fn record_actions(&mut self, actions: Vec<Action>) {
        for action in actions {
            match &action {
                Action::AskModel(request) => {
                    assert_eq!(self.pending_request, None, "one response in flight at most");
                    self.pending_request = Some(request.id);
                }
                Action::StopModel => self.pending_request = None,
                Action::RunTool { run, tool } => {
                    let is_known = matches!(tool, Tool::Business { .. }) || ToolSpec::find(tool.name()).is_some();
                    assert!(is_known, "{} is in the table of tools", tool.name());
                    self.running_tools.push((*run, tool.clone()));
                }
                _ => {}
            }
            self.actions.push(action);
        }
    }

    pub(in crate::call) fn receive_frame(&mut self, frame: &str) -> usize {
        let frame = IncomingFrame::parse(frame).unwrap();
        self.feed(CallEvent::RelayFrame(frame))
    }

    pub(in crate::call) fn caller_says(&mut self, words: &str) -> usize {
        self.receive_frame(&format!(r#"{{"type":"prompt","voicePrompt":"{words}","lang":"en-US","last":true}}"#))
    }

    pub(in crate::call) fn caller_interrupts(&mut self, heard: &str) -> usize {
        self.receive_frame(&format!(
            r#"{{"type":"interrupt","utteranceUntilInterrupt":"{heard}","durationUntilInterruptMs":"460"}}"#
        ))
    }

    pub(in crate::call) fn model_emits(&mut self, event: ModelEvent) -> usize {
        let request = self.pending_request.expect("the model was asked");
        self.feed(CallEvent::Model { request, event })
    }

    pub(in crate::call) fn model_says(&mut self, words: &str) {
        for token in words.split_inclusive(' ') {
            self.model_emits(ModelEvent::TextDelta(Private::new(token.to_owned())));
        }
    }

    pub(in crate::call) fn model_calls(&mut self, name: &str, arguments: &str) {
        self.tool_call_count += 1;
        let call_id = format!("call_{}", self.tool_call_count);
        let call = ToolCall::new(call_id, None, name.to_owned(), arguments);
        self.model_emits(ModelEvent::ToolCall(call));
    }

    /// An external client with the token of the call calls a tool.
    pub(in crate::call) fn client_calls(&mut self, name: &str, arguments: &str) -> ExternalCallId {
        self.client_calls_within(None, name, arguments)
    }

    /// An external client calls a tool within the answer to a request.
    pub(in crate::call) fn client_calls_within(
        &mut self,
        request: Option<ModelRequestId>,
        name: &str,
        arguments: &str,
    ) -> ExternalCallId {
        self.external_call_count += 1;
        let id = ExternalCallId(self.external_call_count);
        let call = ToolCall::new(String::new(), None, name.to_owned(), arguments);
        self.feed(CallEvent::ExternalToolCall { id, request, call });
        id
    }

    /// The outputs that the external client got for its tool call.
    pub(in crate::call) fn outputs_of(&self, id: ExternalCallId) -> Vec<&ExternalOutput> {
        let outputs = self.actions.iter().filter_map(|action| match action {
            Action::ReturnToolOutput { id: of, output } if *of == id => Some(output),
            _ => None,
        });
        outputs.collect()
    }

    /// The text of the only output for a tool call of the external client, and whether it is an error.
    pub(in crate::call) fn output_of(&self, id: ExternalCallId) -> (&str, bool) {
        match self.outputs_of(id).as_slice() {
            [output] => (output.json.reveal(), output.is_error),
            outputs => panic!("{} outputs", outputs.len()),
        }
    }

    /// Emits a whole response: text, tool calls and the end.
    pub(in crate::call) fn model_replies(&mut self, words: &str, calls: &[&str]) {
        self.model_says(words);
        for name in calls {
            self.model_calls(name, if *name == "start-capture" { self.start_capture_arguments() } else { "" });
        }
        self.model_emits(ModelEvent::Completed);
    }

    /// The arguments of `start-capture`: charges the amount due, or stores the card if none is due.
    fn start_capture_arguments(&self) -> &'static str {
        match self.inner.authorization.terms().map(|terms| terms.amount_due) {
            Ok(AmountDue::Unspecified) => r#"{"chargeAmount":"0"}"#,
            _ => "",
        }
    }

    /// The model calls `live-agent-handoff`.
    pub(in crate::call) fn model_hands_off(&mut self) {
        self.model_calls("live-agent-handoff", r#"{"reason":"asked","summary":"wants to pay"}"#);
        self.model_emits(ModelEvent::Completed);
    }

    /// The update request of the only running tool, if that has this name.
    pub(in crate::call) fn only_update(&self, name: &str) -> Option<&UpdatePayment> {
        match self.running_tools.as_slice() {
            [(_, tool)] => update_of(tool, name),
            _ => None,
        }
    }

    /// Finishes the oldest running tool with this outcome.
    pub(in crate::call) fn tool_answers(&mut self, outcome: ToolOutcome) -> usize {
        let (run, _) = self.running_tools.remove(0);
        self.feed(CallEvent::ToolFinished { run, outcome })
    }

    /// A tool of the business, the oldest running one, answers this JSON text.
    pub(in crate::call) fn business_answers(&mut self, json: &str) -> usize {
        self.tool_answers(business_outcome(json))
    }

    pub(in crate::call) fn twilio_answers(&mut self, answer: TwilioResponse) -> usize {
        self.tool_answers(ToolOutcome::Payment(answer))
    }

    /// Twilio posts a payment callback with these form fields in addition to the SIDs.
    pub(in crate::call) fn twilio_reports(&mut self, sid: &str, fields: &[(&str, &str)]) -> usize {
        let status = payment_status(sid, fields);
        self.feed(CallEvent::PaymentStatus(status))
    }

    /// Advances the time, with a tick at every deadline of the call.
    pub(in crate::call) fn advance(&mut self, time: Duration) -> usize {
        let (from, until) = (self.actions.len(), self.now + time);
        while let Some(deadline) = self.inner.deadline().filter(|deadline| *deadline <= until) {
            self.now = deadline.max(self.now);
            self.feed(CallEvent::Tick);
            assert!(
                self.inner.deadline().is_none_or(|next| next > self.now),
                "a tick that changes nothing is a busy loop"
            );
        }
        self.now = until;
        from
    }

    /// The text sent to the caller since action `from`, tokens joined.
    pub(in crate::call) fn said_since(&self, from: usize) -> String {
        let token = |action: &Action| match action {
            Action::SendFrame(OutgoingFrame::Text { token, .. }) => Some(token.clone()),
            _ => None,
        };
        self.actions[from..].iter().filter_map(token).collect()
    }

    /// The last model request.
    pub(in crate::call) fn last_request(&self) -> &ModelRequest {
        let request = |action: &&Action| matches!(action, Action::AskModel(_));
        match self.actions.iter().rfind(request) {
            Some(Action::AskModel(request)) => request,
            _ => panic!("the model was never asked"),
        }
    }

    /// The input of the last model request as text, one item per line.
    pub(in crate::call) fn history(&self) -> String {
        self.last_request().input.iter().map(|item| format_item(item) + "\n").collect()
    }

    pub(in crate::call) fn end_frames(&self) -> Vec<Option<String>> {
        let end = |action: &Action| match action {
            Action::SendFrame(OutgoingFrame::End { handoff_data }) => Some(handoff_data.clone()),
            _ => None,
        };
        self.actions.iter().filter_map(end).collect()
    }

    pub(in crate::call) fn ledger_entries(&self) -> Vec<&PaymentLogEntry> {
        let entry = |action: &Action| matches!(action, Action::Record(_));
        let entries = self.actions.iter().filter(|action| entry(action));
        entries.map(|action| if let Action::Record(entry) = action { &**entry } else { unreachable!() }).collect()
    }

    /// The model calls `confirm-amount`. Waits until the server has said its statement, and returns it.
    pub(in crate::call) fn request_consent(&mut self, amount: &str) -> String {
        self.model_calls("confirm-amount", &format!(r#"{{"amount":"{amount}"}}"#));
        self.model_emits(ModelEvent::Completed);
        self.wait_for_statement()
    }

    /// Advances the time until the server has said its statement, and returns it.
    pub(in crate::call) fn wait_for_statement(&mut self) -> String {
        for _ in 0..60 {
            if !self.inner.is_question_asked() {
                self.advance(Duration::from_secs(1));
            }
        }
        assert!(self.inner.is_question_asked(), "no statement was said");
        self.statements().pop().unwrap_or_default()
    }

    /// The statements that the server said to the caller.
    pub(in crate::call) fn statements(&self) -> Vec<String> {
        let statement = |action: &Action| match action {
            Action::SendFrame(OutgoingFrame::Text {
                token,
                last: true,
                interruptible: Some(false),
                preemptible: Some(false),
                ..
            }) => Some(token.clone()).filter(|text| is_question(text)),
            _ => None,
        };
        self.actions.iter().filter_map(statement).collect()
    }

    /// The recorded answers of the caller to statements.
    pub(in crate::call) fn recorded_answers(&self) -> Vec<&ConsentRecord> {
        let answer = |entry: &PaymentLogEntry| matches!(entry, PaymentLogEntry::ConsentAnswered(_));
        let answers = self.ledger_entries().into_iter().filter(|entry| answer(entry));
        answers
            .map(|entry| if let PaymentLogEntry::ConsentAnswered(answer) = entry { answer } else { unreachable!() })
            .collect()
    }

    /// The server asks the caller to confirm an amount, and the caller says yes.
    pub(in crate::call) fn caller_agrees_to(&mut self, amount: &str) {
        self.caller_says("I want to pay");
        self.request_consent(amount);
        self.caller_says("Yes");
    }

    /// The caller presses keys, one `dtmf` frame each.
    pub(in crate::call) fn caller_presses(&mut self, keys: &str) -> usize {
        let from = self.actions.len();
        for key in keys.chars() {
            self.receive_frame(&format!(r#"{{"type":"dtmf","digit":"{key}"}}"#));
        }
        from
    }

    /// The caller answers a statement with keys and waits for one second.
    pub(in crate::call) fn caller_answers_by_key(&mut self, keys: &str) -> usize {
        let from = self.caller_presses(keys);
        self.advance(Duration::from_secs(1));
        from
    }

    /// Opens a payment and requests the card number.
    pub(in crate::call) fn reach_card_number(&mut self, sid: &str) {
        self.caller_says("I want to pay");
        self.model_replies("Sure.", &["start-capture"]);
        self.twilio_answers(TwilioResponse::Created(payment_sid(sid)));
        self.model_replies("", &["capture-card"]);
        self.twilio_answers(TwilioResponse::Accepted);
        self.model_replies("Card number, then hash.", &[]);
    }

    /// Opens a payment and enters all fields, until the model is asked what to do next.
    pub(in crate::call) fn reach_finish(&mut self, sid: &str) {
        self.caller_says("I want to pay");
        self.model_replies("Sure.", &["start-capture"]);
        self.twilio_answers(TwilioResponse::Created(payment_sid(sid)));
        self.model_replies("", &["capture-card"]);
        self.enter_all_fields(sid);
    }

    /// Enters all fields, starting with the requested card number, until the model is asked what to do next.
    pub(in crate::call) fn enter_all_fields(&mut self, sid: &str) {
        self.twilio_answers(TwilioResponse::Accepted);
        self.model_replies("Card number, then hash.", &[]);
        self.twilio_reports(sid, &card_callback("false", "security-code,expiration-date"));
        self.model_replies("Got your card.", &["capture-security-code"]);
        self.twilio_answers(TwilioResponse::Accepted);
        self.model_replies("Now the code.", &[]);
        let code = [
            ("Capture", "security-code"),
            ("PartialResult", "false"),
            ("Required", "expiration-date"),
            ("SecurityCode", "xxx"),
        ];
        self.twilio_reports(sid, &code);
        self.model_replies("Code received.", &["capture-expiry-date"]);
        self.twilio_answers(TwilioResponse::Accepted);
        self.model_replies("Now the date.", &[]);
        let date =
            [("Capture", "expiration-date"), ("PartialResult", "false"), ("Required", ""), ("ExpirationDate", "1229")];
        self.twilio_reports(sid, &date);
    }
}

fn setup(parameters: &str) -> Setup {
    let frame = format!(
        r#"{{"type":"setup","callSid":"CA1","direction":"inbound","from":"+14155550100","callStatus":"RINGING",
        "customParameters":{parameters}}}"#
    );
    let Ok(IncomingFrame::Setup(setup)) = IncomingFrame::parse(&frame) else { panic!("a setup frame") };
    setup
}

/// Whether a built-in text asks for a yes: it names the keys. A result does not.
pub(in crate::call) fn is_question(text: &str) -> bool {
    text.contains('1') && text.contains('2')
}

/// The outcome of a tool of the business that answers this JSON text.
pub(in crate::call) fn business_outcome(json: &str) -> ToolOutcome {
    ToolOutcome::Business(Ok(BusinessAnswer { data: RedactedJson::new(json), due: BusinessDue::parse(json) }))
}

/// The update request of a tool, if the tool has this name.
pub(in crate::call) fn update_of<'a>(tool: &'a Tool, name: &str) -> Option<&'a UpdatePayment> {
    match tool {
        Tool::UpdatePayment(update) if tool.name() == name => Some(update),
        _ => None,
    }
}

/// The fields of a callback for the card number.
pub(in crate::call) fn card_callback(
    partial: &'static str,
    required: &'static str,
) -> [(&'static str, &'static str); 4] {
    [
        ("Capture", "payment-card-number"),
        ("PartialResult", partial),
        ("Required", required),
        ("PaymentCardNumber", "xxxxxxxxxxxx4242"),
    ]
}

pub(in crate::call) fn payment_status(sid: &str, fields: &[(&str, &str)]) -> PaymentCallback {
    let sids = [("CallSid", "CA1"), ("Sid", sid)];
    let form: Vec<_> =
        sids.iter().chain(fields).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    PaymentCallback::from_form(&form, &crate::payment::CallbackDigester::new(&"12345".into())).unwrap()
}

pub(in crate::call) fn payment_sid(sid: &str) -> PaymentSid {
    sid.parse().unwrap()
}

pub(in crate::call) fn format_item(item: &ConversationItem) -> String {
    match item {
        ConversationItem::Developer(text) => format!("developer: {text}"),
        ConversationItem::Caller(text) => format!("caller: {text}"),
        ConversationItem::Agent(message) => format!("agent: {}", message.text),
        ConversationItem::Reasoning(raw) => format!("reasoning: {raw}"),
        ConversationItem::ToolCall(call) => format!("call: {} {}", call.name, call.call_id),
        ConversationItem::ToolOutput { call_id, output } => format!("output: {call_id} {output}"),
    }
}
