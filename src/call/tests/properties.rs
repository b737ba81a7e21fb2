//! Property tests: the invariants of a call under random, reordered, repeated and interrupted events.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::harness::{
    GREETING, SILENCE_THRESHOLD, TestCall, business_outcome, format_item, payment_sid, payment_status, settings,
};
use super::*;
use crate::ids::PaymentSid;
use crate::payment::{
    self as money, Amount, AmountDue, ConsentAnswer, ConsentPurpose, ConsentRecord, IdempotencyKey, PaymentLogEntry,
    TwilioResponse, UpdatePayment,
};
use crate::redact::Private;

/// An event from outside the call.
#[derive(Debug, Clone, Copy)]
enum ExternalEvent {
    Prompt {
        digits: bool,
    },
    PartialPrompt,
    /// The caller says one of [`ANSWERS`].
    CallerSays(usize),
    /// The caller interrupts a talk cycle, counted back from the last, after `heard` characters.
    Interrupt {
        back: usize,
        heard: usize,
    },
    /// The caller presses one of [`KEYS`].
    Key(usize),
    AgentSpeaking(bool),
    ModelDelta,
    ToolCall(usize),
    /// An external client calls one of [`TOOL_CALLS`].
    ClientToolCall(usize),
    /// The client of a tool call, counted back from the last, no longer waits.
    ClientLeaves(usize),
    Reasoning,
    /// A message of the response begins and has this phase.
    MessagePhase(MessagePhase),
    ResponseDone,
    ResponseFailed,
    /// A delta of an abandoned response, and a tool call within it.
    StaleEvents,
    ToolFinished {
        which: usize,
        answer: usize,
    },
    /// A tool of the business takes long.
    ToolDelayed(usize),
    Callback {
        which: usize,
        kind: usize,
        at: u32,
    },
    /// The last callback is delivered again.
    RepeatedCallback,
    TimePasses(u64),
    /// The socket is lost and resumed after this many seconds.
    SocketLost(u64),
    HungUp,
}

/// The payment method of the call.
#[derive(Debug, Clone, Copy)]
enum PaymentVariant {
    Card,
    /// A card whose number is entered twice.
    CardTwice,
    BankAccount,
    /// A bank account whose debit the caller has to authorise.
    AuthorizedAccount,
}

/// What the caller authorises.
const DEBIT: &[(&str, &str)] = &[("en-US", "{amount} from your {account}: say yes, or press 1 or 2.")];

impl PaymentVariant {
    /// The custom parameters of such a call.
    fn parameters(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Card => &[],
            Self::CardTwice => &[("requireMatchingInputs", "payment-card-number")],
            Self::BankAccount | Self::AuthorizedAccount => &[("paymentMethod", "ach-debit"), ("avsName", "Lee HOLDER")],
        }
    }

    /// The tool calls of a whole payment, each with the callback that follows it, as indices.
    fn tool_path(self, start: usize) -> Vec<(usize, usize)> {
        let fields: &[(usize, usize)] = match self {
            Self::Card => &[(2, 2), (3, 4), (4, 5)],
            Self::CardTwice => &[(2, 10), (2, 11), (3, 4), (4, 5)],
            Self::BankAccount | Self::AuthorizedAccount => &[(14, 14), (15, 15)],
        };
        [&[(start, 0)], fields, &[(5, 6)]].concat()
    }
}

fn payment_variant() -> impl Strategy<Value = PaymentVariant> {
    use PaymentVariant::{AuthorizedAccount, BankAccount, Card, CardTwice};
    prop::sample::select(&[Card, CardTwice, BankAccount, AuthorizedAccount][..])
}

/// What the caller may say, and how it is to be classified as an answer to a statement.
const ANSWERS: &[(&str, ConsentAnswer)] = &[
    ("Yes, please.", ConsentAnswer::Yes),
    ("Sí, claro.", ConsentAnswer::Yes),
    ("No.", ConsentAnswer::No),
    ("Okay, thank you", ConsentAnswer::Yes),
    ("No, absolutely not", ConsentAnswer::No),
    ("Yes, but only 5 dollars", ConsentAnswer::Unclear),
    ("Stop, cancel it, I do not want to pay", ConsentAnswer::No),
    ("Don't stop", ConsentAnswer::Unclear),
    ("hello", ConsentAnswer::Unclear),
];

const KEYS: &[(&str, ConsentAnswer)] =
    &[("1", ConsentAnswer::Yes), ("2", ConsentAnswer::No), ("4", ConsentAnswer::Unclear)];

const TOOL_CALLS: &[(&str, &str)] = &[
    ("start-capture", r#"{"chargeAmount":"0"}"#),
    ("start-capture", r#"{"chargeAmount":"25.00"}"#),
    ("capture-card", ""),
    ("capture-security-code", ""),
    ("capture-expiry-date", ""),
    ("finish-capture", ""),
    ("finish-capture", ""),
    ("cancel-capture", ""),
    ("set-silence-detection", r#"{"enabled":true}"#),
    ("end-call", ""),
    ("live-agent-handoff", r#"{"reason":"asked"}"#),
    ("refund", "{"),
    ("confirm-amount", r#"{"amount":"25.00"}"#),
    ("confirm-amount", r#"{"amount":"5000.00"}"#),
    ("capture-bank-routing-number", ""),
    ("capture-bank-account-number", ""),
    ("start-capture", ""),
    ("confirm-amount", ""),
    ("find-invoice", r#"{"number":"8"}"#),
    ("find-invoice", "{}"),
];

/// The answers of the tools of the business.
const BUSINESS_ANSWERS: &[&str] = &[
    r#"{"amountDue":"40.00","orderReference":"order-8"}"#,
    r#"{"amountDue":"25.00"}"#,
    r#"{"amountDue":"0"}"#,
    r#"{"amountDue":"forty"}"#,
    r#"{"card":"4111 1111 1111 1111"}"#,
    "{}",
];

/// The `amountDue` parameters of the generated calls.
const AMOUNTS_DUE: &[Option<&str>] = &[None, None, Some("30.00"), Some("thirty")];

const CALLBACKS: &[&[(&str, &str)]] = &[
    &[("PaymentMethod", "credit-card")],
    &[("Capture", "payment-card-number"), ("PartialResult", "true"), ("PaymentCardNumber", "xxx")],
    &[
        ("Capture", "payment-card-number"),
        ("PartialResult", "false"),
        ("Required", "security-code,expiration-date"),
        ("PaymentCardNumber", "xxxxxxxxxxxx4111"),
    ],
    &[("Capture", "payment-card-number"), ("PartialResult", "false"), ("ErrorType", "invalid-card-number")],
    &[
        ("Capture", "security-code"),
        ("PartialResult", "false"),
        ("Required", "ExpirationDate"),
        ("SecurityCode", "xxx"),
    ],
    &[("Capture", "expiration-date"), ("PartialResult", "false"), ("Required", ""), ("ExpirationDate", "1299")],
    &[
        ("Result", "success"),
        ("PaymentToken", "tok_SECRET"),
        ("ExpirationDate", "1299"),
        ("PaymentCardPostalCode", "90210"),
    ],
    &[("Result", "payment-connector-error"), ("PayErrorCode", "64008")],
    &[("Result", "caller-interrupted-with-star")],
    &[("Result", "transaction-cancelled")],
    &[
        ("Capture", "payment-card-number"),
        ("PartialResult", "false"),
        ("Required", "payment-card-number-matcher,security-code,expiration-date"),
        ("PaymentCardNumber", "xxxxxxxxxxxx4111"),
    ],
    &[
        ("Capture", "payment-card-number-matcher"),
        ("PartialResult", "false"),
        ("Required", "SecurityCode, ExpirationDate"),
        ("PaymentCardNumberMatcher", "xxxxxxxxxxxx4111"),
    ],
    &[("Capture", "payment-card-number-matcher"), ("PartialResult", "false"), ("ErrorType", "input-matching-failed")],
    // Twilio does not mask the routing number.
    &[("Capture", "bank-routing-number"), ("PartialResult", "true"), ("BankRoutingNumber", "41110")],
    &[
        ("Capture", "bank-routing-number"),
        ("PartialResult", "false"),
        ("Required", "BankAccountNumber"),
        ("BankRoutingNumber", "411129971"),
    ],
    &[
        ("Capture", "bank-account-number"),
        ("PartialResult", "false"),
        ("Required", ""),
        ("BankRoutingNumber", "411129971"),
        ("BankAccountNumber", "*******92"),
    ],
];

fn external_event() -> impl Strategy<Value = ExternalEvent> {
    prop_oneof![
        3 => any::<bool>().prop_map(|digits| ExternalEvent::Prompt { digits }),
        1 => Just(ExternalEvent::PartialPrompt),
        2 => (0_usize..3, 0_usize..40).prop_map(|(back, heard)| ExternalEvent::Interrupt { back, heard }),
        4 => (0..ANSWERS.len()).prop_map(ExternalEvent::CallerSays),
        2 => (0..KEYS.len()).prop_map(ExternalEvent::Key),
        2 => any::<bool>().prop_map(ExternalEvent::AgentSpeaking),
        8 => Just(ExternalEvent::ModelDelta),
        8 => (0..TOOL_CALLS.len()).prop_map(ExternalEvent::ToolCall),
        4 => (0..TOOL_CALLS.len()).prop_map(ExternalEvent::ClientToolCall),
        1 => (0_usize..3).prop_map(ExternalEvent::ClientLeaves),
        2 => Just(ExternalEvent::Reasoning),
        2 => prop::sample::select(vec![MessagePhase::Commentary, MessagePhase::FinalAnswer])
            .prop_map(ExternalEvent::MessagePhase),
        8 => Just(ExternalEvent::ResponseDone),
        1 => Just(ExternalEvent::ResponseFailed),
        2 => Just(ExternalEvent::StaleEvents),
        10 => (0_usize..3, 0_usize..10).prop_map(|(which, answer)| ExternalEvent::ToolFinished { which, answer }),
        2 => (0_usize..3).prop_map(ExternalEvent::ToolDelayed),
        8 => (0_usize..3, 0..CALLBACKS.len(), 0_u32..50).prop_map(|(which, kind, at)| ExternalEvent::Callback { which, kind, at }),
        1 => Just(ExternalEvent::RepeatedCallback),
        4 => (1_u64..70).prop_map(ExternalEvent::TimePasses),
        1 => (0_u64..70).prop_map(ExternalEvent::SocketLost),
        1 => Just(ExternalEvent::HungUp),
    ]
}

/// A payment call with random disturbances, so that random events meet every stage. It stores the payment method, or it
/// charges an amount that the caller agreed to and then tries to charge it again.
fn payment_call() -> impl Strategy<Value = (PaymentVariant, Vec<ExternalEvent>)> {
    (payment_variant(), any::<bool>()).prop_flat_map(|(way, by_client)| (Just(way), events_of(way, by_client)))
}

/// A payment call without disturbances, in which the model speaks once between two tool calls.
/// An external client calls the tools within the answers of the model if `by_client` is set.
fn undisturbed_payment(way: PaymentVariant, by_client: bool) -> Vec<ExternalEvent> {
    let ok = ExternalEvent::ToolFinished { which: 0, answer: 0 };
    let mut steps = vec![ExternalEvent::Prompt { digits: false }];
    for (call, kind) in way.tool_path(0) {
        let status = ExternalEvent::Callback { which: 0, kind, at: 0 };
        if by_client {
            steps.extend([ExternalEvent::ClientToolCall(call), ok]);
        } else {
            steps.extend([ExternalEvent::ToolCall(call), ExternalEvent::ResponseDone, ok]);
        }
        steps.extend([ExternalEvent::ModelDelta, ExternalEvent::ResponseDone, status]);
    }
    steps
}

/// A call in which the server asks the caller to confirm 25 dollars, followed by random events until the model tries to
/// charge them.
fn consent_question() -> impl Strategy<Value = Vec<ExternalEvent>> {
    let ok = ExternalEvent::ToolFinished { which: 0, answer: 0 };
    let asks = vec![
        ExternalEvent::Prompt { digits: false },
        ExternalEvent::ToolCall(12),
        ExternalEvent::ResponseDone,
        ExternalEvent::TimePasses(5),
    ];
    let happens = prop_oneof![
        4 => (0..ANSWERS.len()).prop_map(ExternalEvent::CallerSays),
        2 => (0..KEYS.len()).prop_map(ExternalEvent::Key),
        2 => (0_usize..90).prop_map(|heard| ExternalEvent::Interrupt { back: 0, heard }),
        2 => (1_u64..40).prop_map(ExternalEvent::TimePasses),
        1 => (0_u64..70).prop_map(ExternalEvent::SocketLost),
        1 => any::<bool>().prop_map(ExternalEvent::AgentSpeaking),
        1 => Just(ExternalEvent::PartialPrompt),
        1 => Just(ExternalEvent::TimePasses(600)),
    ];
    let charges = prop::sample::select(vec![1_usize, 16]);
    (prop::collection::vec(happens, 0..6), charges).prop_map(move |(happens, charges)| {
        [
            asks.clone(),
            happens,
            vec![
                ExternalEvent::ToolCall(charges),
                ExternalEvent::ResponseDone,
                ok,
                ExternalEvent::ToolCall(charges),
                ExternalEvent::ResponseDone,
                ok,
            ],
        ]
        .concat()
    })
}

/// An external client calls the tools of the payment if `by_client` is set.
fn events_of(way: PaymentVariant, by_client: bool) -> impl Strategy<Value = Vec<ExternalEvent>> {
    let ok = ExternalEvent::ToolFinished { which: 0, answer: 0 };
    let prompt = ExternalEvent::Prompt { digits: false };
    let payment = |start: usize| -> Vec<ExternalEvent> {
        let step = |(call, kind)| {
            let calls = if by_client { ExternalEvent::ClientToolCall(call) } else { ExternalEvent::ToolCall(call) };
            [calls, ExternalEvent::ResponseDone, ok, ExternalEvent::Callback { which: 0, kind, at: 0 }]
        };
        way.tool_path(start).into_iter().flat_map(step).collect()
    };
    let stores = [vec![prompt], payment(0)].concat();
    let agrees = vec![
        prompt,
        ExternalEvent::ToolCall(12),
        ExternalEvent::ResponseDone,
        ExternalEvent::TimePasses(5),
        ExternalEvent::CallerSays(0),
    ];
    let charges = [agrees, payment(1), vec![ExternalEvent::ToolCall(1), ExternalEvent::ResponseDone, ok]].concat();
    prop::sample::select(vec![stores, charges]).prop_flat_map(|path| {
        let disturbances = prop::collection::vec((0..path.len(), external_event()), 0..12);
        (disturbances, prop::collection::vec(external_event(), 0..20)).prop_map(move |(disturbances, rest)| {
            let mut steps = path.clone();
            for (at, step) in disturbances {
                steps.insert(at, step);
            }
            steps.extend(rest);
            steps
        })
    })
}

/// The call under test and what the test knows about it, against which its actions are checked.
#[expect(clippy::struct_excessive_bools, reason = "each flag is independent")]
struct ReferenceModel {
    call: TestCall,
    checked_actions: usize,
    delta_count: usize,
    sids: Vec<PaymentSid>,
    last_status: Option<money::PaymentCallback>,
    /// The talk cycles sent since the last point at which the history is known to hold all that was said.
    talk_cycles: Vec<String>,
    talk_cycle_open: bool,
    /// What the caller heard up to that point.
    heard_text: String,
    abandoned_requests: Vec<ModelRequestId>,
    succeeded: HashSet<PaymentSid>,
    complete_keys: HashMap<PaymentSid, HashSet<IdempotencyKey>>,
    /// Idempotency keys of create and complete requests that had no response at least once.
    uncertain_keys: HashSet<IdempotencyKey>,
    closed_payments: HashSet<PaymentSid>,
    amount_due: Result<Option<Amount>, ()>,
    requested_charges: HashMap<PaymentSid, Option<Amount>>,
    ended_payments: HashSet<PaymentSid>,
    /// The statement that waits for an answer, and whether it was interrupted before its end.
    open_statement: Option<(String, bool)>,
    needs_authorization: bool,
    /// The caller's answers about debits, in order.
    authorizations: Vec<ConsentRecord>,
    /// How the caller's next answer is to be classified.
    expected_answer: Option<ConsentAnswer>,
    /// The amount that the caller agreed to and that is not charged yet, and the time of the answer.
    agreed_charge: Option<(Amount, Instant)>,
    /// The amount that the caller agreed to pay again.
    agreed_repeat: Option<Amount>,
    /// Twilio sent `agentSpeaking` events, so a yes may be too early.
    speech_events_seen: bool,
    /// The model asked to store the card.
    store_requested: bool,
    /// The caller spoke during a payment, and neither the model nor a confirmed statement has answered that.
    caller_unanswered: bool,
    /// The model has emitted text in the response in flight.
    model_replied: bool,
    /// The time of the last payment callback.
    last_report_at: Option<Instant>,
    confirm_due: bool,
    last_activity: Instant,
    agent_spoke_since_caller: bool,
    end_sent: bool,
    call_closed: bool,
    hung_up: bool,
    /// The tool calls of external clients, in order.
    client_calls: Vec<ExternalCallId>,
    /// Those of them that have no answer, and those that were withdrawn.
    unanswered: HashSet<ExternalCallId>,
    withdrawn: HashSet<ExternalCallId>,
}

fn without_whitespace(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

impl ReferenceModel {
    fn new(guided: bool, confirms_due: bool, way: PaymentVariant, amount_due: Option<&str>) -> Self {
        let mut settings = CallSettings { is_guided: guided, confirm_due: confirms_due, ..settings() };
        let needs_authorization = matches!(way, PaymentVariant::AuthorizedAccount);
        settings.authorizations.bank_debit = needs_authorization.then(|| ComplianceText::new(Vec::new(), DEBIT));
        let due = amount_due.map(|amount| ("amountDue", amount));
        let parameters: std::collections::BTreeMap<_, _> = way.parameters().iter().copied().chain(due).collect();
        let parameters = serde_json::to_string(&parameters).unwrap();
        let call = TestCall::start_with_parameters(settings, &parameters);
        let due = match call.inner.authorization.terms().map(|terms| terms.amount_due) {
            Ok(AmountDue::Amount(amount)) => Ok(Some(amount)),
            Ok(_) => Ok(None),
            Err(_) => Err(()),
        };
        let last_stir = call.now;
        Self {
            call,
            checked_actions: 0,
            delta_count: 0,
            sids: Vec::new(),
            last_status: None,
            talk_cycles: vec![GREETING.to_owned()],
            talk_cycle_open: false,
            heard_text: String::new(),
            abandoned_requests: Vec::new(),
            succeeded: HashSet::new(),
            complete_keys: HashMap::new(),
            uncertain_keys: HashSet::new(),
            closed_payments: HashSet::new(),
            amount_due: due,
            requested_charges: HashMap::new(),
            ended_payments: HashSet::new(),
            open_statement: None,
            needs_authorization,
            authorizations: Vec::new(),
            speech_events_seen: false,
            expected_answer: None,
            agreed_charge: None,
            agreed_repeat: None,
            store_requested: false,
            caller_unanswered: false,
            model_replied: false,
            last_report_at: None,
            confirm_due: confirms_due,
            last_activity: last_stir,
            agent_spoke_since_caller: true,
            end_sent: false,
            call_closed: false,
            hung_up: false,
            client_calls: Vec::new(),
            unanswered: HashSet::new(),
            withdrawn: HashSet::new(),
        }
    }

    fn apply(&mut self, step: ExternalEvent) {
        match step {
            ExternalEvent::Prompt { digits } => {
                self.caller_says(
                    if digits { "my card is 4111 1111 1111 1111" } else { "hello" },
                    ConsentAnswer::Unclear,
                );
            }
            ExternalEvent::CallerSays(which) => {
                let (words, answer) = ANSWERS[which];
                self.caller_says(words, answer);
            }
            ExternalEvent::PartialPrompt => {
                self.caller_unanswered |= self.call.inner.payments.is_open() && self.open_statement.is_none();
                self.call.receive_frame(r#"{"type":"prompt","voicePrompt":"hel","last":false}"#);
                self.note_activity();
            }
            ExternalEvent::Interrupt { back, heard } => self.interrupt(back, heard),
            ExternalEvent::Key(which) => self.caller_presses(which),
            ExternalEvent::AgentSpeaking(on) => {
                let value = if on { "on" } else { "off" };
                self.speech_events_seen = true;
                self.call.receive_frame(&format!(r#"{{"type":"info","name":"agentSpeaking","value":"{value}"}}"#));
                if !on && self.call.pending_request.is_none() {
                    self.heard_text += &self.talk_cycles.drain(..).collect::<String>();
                }
            }
            ExternalEvent::ModelDelta => self.emit_delta(),
            ExternalEvent::ToolCall(which) if self.call.pending_request.is_some() => {
                let (name, arguments) = TOOL_CALLS[which];
                self.store_requested |= which == 0;
                self.call.model_calls(name, arguments);
            }
            // The session does not pass a tool call to a call that has closed.
            ExternalEvent::ClientToolCall(which) if !self.call_closed => {
                let (name, arguments) = TOOL_CALLS[which];
                self.store_requested |= which == 0;
                let id = self.call.client_calls(name, arguments);
                self.client_calls.push(id);
                self.unanswered.insert(id);
            }
            ExternalEvent::ClientLeaves(back) => self.withdraw_client_call(back),
            ExternalEvent::Reasoning if self.call.pending_request.is_some() => {
                let raw = serde_json::value::RawValue::from_string("{}".to_owned()).unwrap();
                self.call.model_emits(ModelEvent::Reasoning(raw));
            }
            ExternalEvent::MessagePhase(phase) if self.call.pending_request.is_some() => {
                self.call.model_emits(ModelEvent::MessagePhase(phase));
            }
            ExternalEvent::ResponseDone if self.call.pending_request.is_some() => {
                self.abandoned_requests.extend(self.call.pending_request);
                self.caller_unanswered &= !self.model_replied;
                self.call.model_emits(ModelEvent::Completed);
            }
            ExternalEvent::ResponseFailed if self.call.pending_request.is_some() => {
                self.abandoned_requests.extend(self.call.pending_request);
                self.call.model_emits(ModelEvent::Failed);
            }
            ExternalEvent::StaleEvents => self.emit_stale_events(),
            ExternalEvent::ToolFinished { which, answer } => self.finish_tool(which, answer),
            ExternalEvent::ToolDelayed(which) => {
                let count = self.call.running_tools.len().max(1);
                if let Some((run, _)) = self.call.running_tools.get(which % count) {
                    self.call.feed(CallEvent::ToolDelayed { run: *run, text: "One moment.".to_owned() });
                }
            }
            ExternalEvent::Callback { which, kind, at } => self.send_callback(which, kind, at),
            ExternalEvent::RepeatedCallback => {
                if let Some(status) = self.last_status.clone() {
                    self.last_report_at = Some(self.call.now);
                    self.call.feed(CallEvent::PaymentStatus(status));
                }
            }
            ExternalEvent::TimePasses(seconds) => {
                self.call.advance(Duration::from_secs(seconds));
            }
            ExternalEvent::SocketLost(seconds) => self.lose_socket(seconds),
            ExternalEvent::HungUp => {
                self.call.feed(CallEvent::HungUp);
                self.hung_up = true;
            }
            _ => {}
        }
        self.check_invariants();
    }

    fn withdraw_client_call(&mut self, back: usize) {
        if let Some(id) = self.client_calls.iter().rev().nth(back).copied() {
            self.call.feed(CallEvent::ExternalCallWithdrawn(id));
            self.withdrawn.insert(id);
        }
    }

    fn emit_stale_events(&mut self) {
        if let Some(request) = self.abandoned_requests.last().copied() {
            let event = ModelEvent::TextDelta(Private::new("STALE".to_owned()));
            let from = self.call.feed(CallEvent::Model { request, event });
            assert!(!self.call.said_since(from).contains("STALE"), "a token of an abandoned response was said");
            let is_followed = self.call.pending_request.is_some_and(|pending| pending > request);
            if is_followed && !self.call_closed {
                let id = self.call.client_calls_within(Some(request), "end-call", "");
                self.unanswered.insert(id);
                assert!(self.call.output_of(id).1, "a tool call of an abandoned response was performed");
            }
        }
    }

    fn caller_says(&mut self, words: &str, answer: ConsentAnswer) {
        if self.call.inner.phase.is_closing() && self.open_statement.is_none() && courtesy::is_courtesy(words) {
            self.call.caller_says(words);
            // It needs no answer.
            self.agent_spoke_since_caller = true;
            return self.note_activity();
        }
        if self.open_statement.is_some() {
            self.expect_answer(answer);
        } else {
            self.caller_unanswered |= self.call.inner.payments.is_open();
        }
        self.call.caller_says(words);
        self.heard_text += &self.talk_cycles.drain(..).collect::<String>();
        self.talk_cycle_open = false;
        self.agent_spoke_since_caller = false;
        self.note_activity();
    }

    /// The next input answers the open statement. A yes to an interrupted statement is unclear.
    fn expect_answer(&mut self, answer: ConsentAnswer) {
        let was_cut = self.open_statement.as_ref().is_some_and(|(_, cut)| *cut);
        self.expected_answer =
            Some(if was_cut && answer == ConsentAnswer::Yes { ConsentAnswer::Unclear } else { answer });
    }

    fn caller_presses(&mut self, which: usize) {
        let (key, answer) = KEYS[which];
        let stage = self.call.inner.payments.open().map(money::Capture::stage);
        let late = self.last_report_at.is_some_and(|at| self.call.now < at + Duration::from_secs(3));
        let is_answer =
            self.open_statement.is_some() && !late && matches!(stage, None | Some(money::CaptureStage::Open));
        if is_answer {
            self.expect_answer(answer);
        }
        self.call.receive_frame(&format!(r#"{{"type":"dtmf","digit":"{key}"}}"#));
        if is_answer {
            self.call.receive_frame(r##"{"type":"dtmf","digit":"#"}"##);
            // The interrupt of a key press follows the key, so it may still cut the talk cycles before the key.
            self.talk_cycle_open = false;
            self.agent_spoke_since_caller = false;
            self.note_activity();
        }
    }

    fn lose_socket(&mut self, seconds: u64) {
        let from = self.call.feed(CallEvent::SocketLost);
        self.open_statement = None;
        self.heard_text += &self.talk_cycles.drain(..).collect::<String>();
        self.call.advance(Duration::from_secs(seconds));
        assert_eq!(self.call.said_since(from), "", "nothing is sent without a socket");
        self.hung_up |= seconds >= super::harness::RESUME_TIMEOUT.as_secs();
        self.talk_cycle_open = false;
        self.note_activity();
        self.call.feed(CallEvent::SocketResumed);
    }

    fn note_activity(&mut self) {
        self.last_activity = self.call.now;
    }

    fn emit_delta(&mut self) {
        let Some(request) = self.call.pending_request else { return };
        self.delta_count += 1;
        // Digits would be held back, so letters number the tokens.
        let count: String = self.delta_count.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect();
        let token = format!("word{count} ");
        let event = ModelEvent::TextDelta(Private::new(token.clone()));
        self.model_replied = true;
        let from = self.call.feed(CallEvent::Model { request, event });
        assert_eq!(self.call.said_since(from), token, "a token is sent as soon as it arrives");
    }

    fn interrupt(&mut self, back: usize, heard: usize) {
        let which = self.talk_cycles.len().checked_sub(back + 1);
        let Some(which) = which.filter(|_| !self.end_sent && !self.hung_up) else { return };
        let cycle = &self.talk_cycles[which];
        let heard: String = cycle.chars().take(heard).collect();
        // If a later talk cycle begins alike, it is ambiguous which one was interrupted.
        let alike = |from: usize| {
            without_whitespace(&self.talk_cycles[from..].concat()).starts_with(&without_whitespace(&heard))
        };
        if (which + 1..self.talk_cycles.len()).any(alike) {
            return;
        }
        // It came too early after a new socket: it is replayed, and about earlier speech.
        if !self.call.inner.speech.can_have_heard(&heard, self.call.now) {
            self.call.caller_interrupts(&heard);
            return;
        }
        self.heard_text += &self.talk_cycles[..which].concat();
        self.heard_text += &heard;
        self.talk_cycles.clear();
        self.talk_cycle_open = false;
        self.agent_spoke_since_caller = false;
        if let Some((text, cut)) = &mut self.open_statement {
            *cut |= !without_whitespace(&heard).ends_with(&without_whitespace(text));
        }
        self.call.caller_interrupts(&heard);
        self.note_activity();
    }

    fn finish_tool(&mut self, which: usize, answer: usize) {
        if self.call.running_tools.is_empty() {
            return;
        }
        let (run, tool) = self.call.running_tools.remove(which % self.call.running_tools.len());
        if matches!(tool, Tool::Business { .. }) && answer < 8 {
            return self.answer_as_business(run, BUSINESS_ANSWERS[answer % BUSINESS_ANSWERS.len()]);
        }
        let refused = TwilioResponse::Refused { code: Some(64019), reason: "something is missing" };
        let outcome = match (&tool, answer) {
            (Tool::StartCapture(create), 4) if create.charge.is_some() && self.may_be_limited(&tool) => {
                ToolOutcome::RecentlyPaid { amount: create.charge.unwrap(), minutes: 3 }
            }
            (_, 7) => ToolOutcome::Payment(TwilioResponse::Unknown),
            (_, 8) => ToolOutcome::Payment(refused),
            (_, 9) => ToolOutcome::NoResult,
            (_, 6) => ToolOutcome::Payment(TwilioResponse::Gone),
            (tool, 5) if self.may_be_limited(tool) => ToolOutcome::LimitExceeded("a guard"),
            (Tool::StartCapture(create), _) => {
                let sid = match self.sids.len() {
                    n if n > 0 && !self.closed_payments.contains(&self.sids[n - 1]) => self.sids[n - 1].clone(),
                    n => payment_sid(&format!("PK{n}")),
                };
                if !self.sids.contains(&sid) {
                    self.sids.push(sid.clone());
                }
                self.requested_charges.insert(sid.clone(), create.charge);
                ToolOutcome::Payment(TwilioResponse::Created(sid))
            }
            _ => ToolOutcome::Payment(TwilioResponse::Accepted),
        };
        match (&tool, &outcome) {
            // A refusal allows a new attempt only if the request never was without a response.
            (
                Tool::UpdatePayment(update @ UpdatePayment { action: UpdateAction::Complete, .. }),
                ToolOutcome::Payment(TwilioResponse::Refused { .. }) | ToolOutcome::LimitExceeded(_),
            ) if !self.uncertain_keys.contains(&update.idempotency_key) => {
                self.complete_keys.entry(update.payment_sid.clone()).or_default().remove(&update.idempotency_key);
            }
            (Tool::StartCapture(create), ToolOutcome::Payment(TwilioResponse::Unknown) | ToolOutcome::NoResult) => {
                self.uncertain_keys.insert(create.idempotency_key.clone());
            }
            (
                Tool::UpdatePayment(update @ UpdatePayment { action: UpdateAction::Complete, .. }),
                ToolOutcome::Payment(TwilioResponse::Unknown) | ToolOutcome::NoResult,
            ) => {
                self.uncertain_keys.insert(update.idempotency_key.clone());
            }
            (
                Tool::UpdatePayment(update @ UpdatePayment { action: UpdateAction::Complete, .. }),
                ToolOutcome::Payment(TwilioResponse::Gone),
            ) if !self.uncertain_keys.contains(&update.idempotency_key) => {
                self.closed_payments.insert(update.payment_sid.clone());
            }
            (_, ToolOutcome::Payment(TwilioResponse::Gone)) => {
                self.closed_payments.extend(self.call.inner.payments.open().and_then(|capture| capture.sid()).cloned());
            }
            (Tool::UpdatePayment(update @ UpdatePayment { action: UpdateAction::Cancel, .. }), _) => {
                self.closed_payments.insert(update.payment_sid.clone());
            }
            _ => {}
        }
        self.call.feed(CallEvent::ToolFinished { run, outcome });
        self.note_activity();
    }

    /// Whether a payment with an amount succeeded. To store a card moves no money.
    fn has_charged(&self) -> bool {
        self.succeeded.iter().any(|sid| self.requested_charges.get(sid).is_none_or(Option::is_some))
    }

    /// A tool of the business answers. An amount due in its answer is due from now on, unless money may have moved, a
    /// payment is open or the caller is being asked.
    fn answer_as_business(&mut self, run: ToolRunId, answer: &str) {
        let submitted = self.complete_keys.values().any(|keys| !keys.is_empty());
        let call = &self.call.inner;
        let is_free = !self.has_charged() && !call.payments.is_open() && !call.has_open_question();
        let before = call.authorization.terms().cloned().map_err(Clone::clone);
        self.call.feed(CallEvent::ToolFinished { run, outcome: business_outcome(answer) });
        let terms = self.call.inner.authorization.terms();
        let named = money::BusinessDue::parse(answer).filter(|_| is_free && !self.hung_up);
        match named {
            None => assert_eq!(terms, before.as_ref(), "what is due stays"),
            // A submission without a result, or a doubtful success, may have moved money.
            Some(_) if terms == before.as_ref() && (submitted || !self.ended_payments.is_empty()) => {}
            Some(_) => {
                self.amount_due = match terms.map(|terms| terms.amount_due) {
                    Ok(AmountDue::Amount(amount)) => Ok(Some(amount)),
                    Ok(_) => Ok(None),
                    Err(_) => Err(()),
                };
                let expected = match answer {
                    answer if answer.contains("40.00") => Ok(Some(super::harness::usd("40.00"))),
                    answer if answer.contains("25.00") => Ok(Some(super::harness::usd("25.00"))),
                    answer if answer.contains("forty") => Err(()),
                    _ => Ok(None),
                };
                assert_eq!(self.amount_due, expected, "exactly the amount in the answer is due");
                // An amount of 0 stores the card without being asked to.
                self.store_requested |= expected == Ok(None);
            }
        }
        self.note_activity();
    }

    /// Whether a velocity limit may refuse the tool. A repeated request is never refused, because Twilio may have
    /// processed it; nor is a create request on which Twilio has already sent a callback.
    fn may_be_limited(&self, tool: &Tool) -> bool {
        match tool {
            Tool::StartCapture(create) => {
                let unreported = self.call.inner.payments.open().is_none_or(|capture| capture.sid().is_none());
                unreported && !self.uncertain_keys.contains(&create.idempotency_key)
            }
            Tool::UpdatePayment(update @ UpdatePayment { action: UpdateAction::Complete, .. }) => {
                !self.uncertain_keys.contains(&update.idempotency_key)
            }
            Tool::UpdatePayment(UpdatePayment { action: UpdateAction::Capture(_), .. }) => true,
            _ => false,
        }
    }

    fn send_callback(&mut self, which: usize, kind: usize, at: u32) {
        let opening = self.call.running_tools.iter().any(|(_, tool)| matches!(tool, Tool::StartCapture(_)));
        if opening && self.sids.iter().all(|sid| self.closed_payments.contains(sid)) {
            self.sids.push(payment_sid(&format!("PK{}", self.sids.len())));
        }
        let Some(sid) = self.sids.iter().rev().nth(which).cloned() else { return };
        let date = format!("2026-01-01T00:00:{at:02}.000Z");
        let mut fields = CALLBACKS[kind].to_vec();
        if at > 0 {
            fields.push(("DateUpdated", &date));
        }
        let status = payment_status(sid.as_str(), &fields);
        if let money::CallbackKind::Ended(ending) = &status.kind {
            let submitted = self.complete_keys.get(&sid).is_some_and(|keys| !keys.is_empty());
            if ending.result == money::ResultKind::Success && submitted {
                // A success overrides earlier results. A second success changes nothing.
                if let (Some(Some(amount)), false) = (self.requested_charges.get(&sid), self.succeeded.contains(&sid)) {
                    self.agreed_charge.take_if(|(agreed, _)| agreed == amount);
                    self.agreed_repeat.take_if(|agreed| agreed == amount);
                }
                self.succeeded.insert(sid.clone());
            }
            self.ended_payments.insert(sid.clone());
            self.closed_payments.insert(sid);
        }
        let was_open = self.call.inner.payments.is_open();
        self.last_status = Some(status.clone());
        self.last_report_at = Some(self.call.now);
        self.call.feed(CallEvent::PaymentStatus(status));
        if was_open && !self.call.inner.payments.is_open() {
            self.note_activity();
        }
    }

    /// Checks all actions since the last check.
    #[expect(clippy::too_many_lines, reason = "there is an arm for each action")]
    fn check_invariants(&mut self) {
        for at in self.checked_actions..self.call.actions.len() {
            assert!(!self.call_closed, "no action follows the close of the call");
            match &self.call.actions[at] {
                Action::SendFrame(OutgoingFrame::Text { token, last, interruptible, .. }) => {
                    if *interruptible == Some(false) {
                        assert!(
                            *last && !self.talk_cycle_open,
                            "a statement is one frame, outside of other talk cycles"
                        );
                        if is_question(token) {
                            self.open_statement = Some((token.clone(), false));
                        }
                    }
                    assert!(!self.end_sent && !self.hung_up, "no text is sent after the end");
                    if settings().silence.reminders.contains(token) {
                        assert!(!self.call.inner.payments.is_open(), "no reminder while a payment is open");
                        assert!(
                            self.call.now >= self.last_activity + SILENCE_THRESHOLD,
                            "no reminder before the silence threshold"
                        );
                    }
                    if !token.is_empty() {
                        assert!(
                            !(*last && self.talk_cycle_open),
                            "the server does not speak inside the model's talk cycle"
                        );
                        if !self.talk_cycle_open {
                            self.talk_cycles.push(String::new());
                        }
                        self.talk_cycles.last_mut().unwrap().push_str(token);
                        self.agent_spoke_since_caller = true;
                    }
                    self.talk_cycle_open = !last;
                }
                Action::SendFrame(OutgoingFrame::End { handoff_data }) => {
                    assert!(!self.end_sent, "end is sent once");
                    let is_final = handoff_data.as_ref().is_some_and(|data| data.contains("model-unavailable"));
                    assert!(
                        is_final || self.agent_spoke_since_caller,
                        "the call does not end while the caller's last input is unanswered"
                    );
                    assert!(!self.talk_cycle_open, "end comes after the final token");
                    self.end_sent = true;
                }
                Action::AskModel(request) => {
                    self.model_replied = false;
                    self.check_request(request);
                }
                Action::Record(entry) => {
                    if let PaymentLogEntry::ConsentAnswered(answered) = (**entry).clone() {
                        self.check_answer(&answered);
                    }
                }
                Action::StopModel => {
                    self.abandoned_requests.push(ModelRequestId(self.call.inner.previous_request_number()));
                }
                Action::RunTool { tool: Tool::StartCapture(create), .. } => {
                    let create = create.clone();
                    self.check_start(&create);
                }
                Action::RunTool { tool: Tool::UpdatePayment(update), .. } => {
                    let update = update.clone();
                    self.check_authorization(&update);
                    self.check_update(update);
                }
                Action::ReturnToolOutput { id, .. } => {
                    assert!(self.unanswered.remove(id), "a client gets one output for a tool call");
                }
                Action::Close => self.call_closed = true,
                Action::RunTool { .. }
                | Action::ControlRecording(_)
                | Action::ChangeContext(_)
                | Action::ReportLimit(_)
                | Action::SendFrame(_)
                | Action::ReportModelOutage(_)
                | Action::RecordSilence => {}
            }
            let shown = format!("{:?}", self.call.actions[at]);
            for secret in ["4111", "1299", "90210", "SECRET", "HOLDER", "word"] {
                assert!(!shown.contains(secret), "{secret} in {shown}");
            }
        }
        assert!(self.call.inner.turn.awaited_run_count() <= 1, "tools run one after the other");
        self.checked_actions = self.call.actions.len();
        let said = self.call.inner.is_question_asked();
        self.open_statement.take_if(|_| !said);
        self.expected_answer = None;
    }

    /// Checks that an answer is recorded once, with its classification and the text of the last statement.
    fn check_answer(&mut self, answered: &ConsentRecord) {
        let (text, _) = self.open_statement.take().expect("an answer requires an open statement");
        assert_eq!(answered.text, text);
        let given = self.expected_answer.take().unwrap_or(ConsentAnswer::Unclear);
        let early = self.speech_events_seen && given == ConsentAnswer::Yes && answered.answer == ConsentAnswer::Unclear;
        assert!(answered.answer == given || early, "{given:?}: {answered:?}");
        let yes = answered.answer == ConsentAnswer::Yes;
        if let Some(amount) = answered.purpose.amount() {
            let said = spoken_amount::format_spoken(amount, &answered.language);
            assert!(text.contains(&said), "{said} in {text}");
        }
        match answered.purpose {
            ConsentPurpose::SubmitOpenPayment => self.caller_unanswered &= !yes,
            ConsentPurpose::ChargeAgain(amount) => self.agreed_repeat = Some(amount).filter(|_| yes),
            ConsentPurpose::Charge(amount) => self.agreed_charge = Some((amount, self.call.now)).filter(|_| yes),
            ConsentPurpose::BankDebit(_) | ConsentPurpose::StoredCard => {
                self.caller_unanswered &= !yes;
                self.authorizations.push(answered.clone());
            }
        }
    }

    /// Checks that a debit that has to be authorised is submitted only with the caller's last answer, which is a yes to its
    /// amount.
    fn check_authorization(&self, update: &UpdatePayment) {
        let charge = self.requested_charges.get(&update.payment_sid).copied().flatten();
        let is_submission = update.action == UpdateAction::Complete;
        let (Some(charge), true, true) = (charge, self.needs_authorization, is_submission) else {
            return assert_eq!(update.authorization, None);
        };
        let authorization = update.authorization.as_deref().expect("nothing is submitted without a yes");
        assert_eq!(authorization.answer, ConsentAnswer::Yes);
        assert_eq!(authorization.purpose, ConsentPurpose::BankDebit(charge));
        assert_eq!(self.authorizations.last(), Some(authorization), "a later answer counts");
    }

    /// Checks that a charge starts only for an amount that the caller agreed to after the complete statement, at most
    /// ten minutes ago, or for the amount due.
    fn check_start(&mut self, create: &money::CreatePayment) {
        let agreed = self.agreed_charge.filter(|(_, at)| self.call.now < *at + Duration::from_secs(600));
        let agreed = agreed.map(|(amount, _)| amount);
        match self.amount_due {
            Ok(Some(due)) => {
                assert_eq!(create.charge, Some(due), "only the amount due is charged");
                assert!(!self.has_charged(), "the amount due is charged once");
                assert!(!self.confirm_due || agreed == Some(due), "the caller agreed to the amount due");
            }
            Ok(None) => {
                assert!(create.charge.is_none() || create.charge == agreed, "the caller agreed to the amount");
                assert!(create.charge.is_some() || self.store_requested, "a card is stored only on request");
                let evidence = create.consent.as_ref().and_then(|agreed| agreed.purpose.amount());
                assert_eq!(evidence, create.charge, "the create request carries the recorded answer");
            }
            Err(()) => panic!("no payment starts with invalid terms"),
        }
        assert!(!create.is_repeat_charge() || self.agreed_repeat == create.charge, "the caller agreed to pay again");
        if !self.uncertain_keys.contains(&create.idempotency_key) {
            self.caller_unanswered = false;
        }
    }

    /// Checks that a payment is submitted once, after the caller's input was answered.
    fn check_update(&mut self, update: UpdatePayment) {
        match update.action {
            UpdateAction::Complete => {
                let keys = self.complete_keys.entry(update.payment_sid).or_default();
                let is_new = keys.insert(update.idempotency_key);
                let by_server = is_new && self.call.inner.is_server_leading();
                assert!(!(by_server && self.caller_unanswered), "the caller's input is answered before the submission");
                assert_eq!(keys.len(), 1, "complete is sent once per payment; a retry repeats its key");
            }
            UpdateAction::Cancel => {
                self.closed_payments.insert(update.payment_sid);
            }
            UpdateAction::Capture(_) => {}
        }
    }

    fn check_request(&self, request: &ModelRequest) {
        let mut open = HashSet::new();
        let mut orphaned = false;
        for item in &request.input {
            match &**item {
                ConversationItem::ToolCall(call) => {
                    assert!(open.insert(call.call_id.clone()), "a tool call occurs once");
                    orphaned = false;
                }
                ConversationItem::ToolOutput { call_id, .. } => {
                    assert!(open.remove(call_id), "an output follows its tool call, once");
                }
                ConversationItem::Reasoning(_) => orphaned = true,
                ConversationItem::Caller(_) | ConversationItem::Developer(_) => {
                    assert!(!orphaned, "reasoning precedes its tool call");
                }
                ConversationItem::Agent(_) => {}
            }
        }
        assert!(open.is_empty() && !orphaned, "every tool call has its output");
        let text: String = request.input.iter().map(|item| format_item(item)).collect();
        for secret in ["4111", "1299", "90210", "SECRET"] {
            assert!(!text.contains(secret), "{secret} reached the model");
        }
        let announced = text.matches("succeeded").count();
        assert!(announced <= self.succeeded.len(), "success is announced only after Result=success");
        let spoken: String = request
            .input
            .iter()
            .filter_map(
                |item| if let ConversationItem::Agent(message) = &**item { Some(message.text.as_str()) } else { None },
            )
            .collect();
        let heard = without_whitespace(&(self.heard_text.clone() + &self.talk_cycles.concat()));
        assert_eq!(without_whitespace(&spoken), heard, "the history holds what the caller heard");
    }

    /// The caller hangs up and all running tools finish.
    fn finish(mut self) {
        self.apply(ExternalEvent::HungUp);
        assert_eq!(self.call.pending_request, None, "the model request is cancelled");
        for _ in 0..10 {
            self.apply(ExternalEvent::ToolFinished { which: 0, answer: 0 });
        }
        assert!(self.call_closed && self.call.running_tools.is_empty(), "the call closes once no tool runs");
        assert!(self.unanswered.is_subset(&self.withdrawn), "every client that waits gets its output");
        for sid in &self.sids {
            let submitted = self.complete_keys.get(sid).is_some_and(|keys| !keys.is_empty());
            let was_opened = self.call.inner.payments.is_closed(sid);
            assert!(!was_opened || submitted || self.closed_payments.contains(sid), "an open payment is cancelled");
        }
        assert!(!self.call.inner.payments.is_open());
    }
}

impl Call {
    fn previous_request_number(&self) -> u64 {
        self.turn.current_request().map_or(u64::MAX, |id| id.0.saturating_sub(1))
    }
}

proptest! {
    #[test]
    fn the_invariants_hold_in_any_order_of_events(
        guided: bool,
        confirms_due: bool,
        way in payment_variant(),
        amount_due in prop::sample::select(AMOUNTS_DUE),
        steps in prop::collection::vec(external_event(), 1..80),
    ) {
        let mut world = ReferenceModel::new(guided, confirms_due, way, amount_due);
        for step in steps {
            world.apply(step);
        }
        world.finish();
    }

    #[test]
    fn the_invariants_hold_in_a_disturbed_payment_call(
        guided: bool,
        confirms_due: bool,
        amount_due in prop::sample::select(AMOUNTS_DUE),
        (way, steps) in payment_call(),
    ) {
        let mut world = ReferenceModel::new(guided, confirms_due, way, amount_due);
        for step in steps {
            world.apply(step);
        }
        world.finish();
    }

    #[test]
    fn a_charge_starts_only_after_a_yes_to_the_last_statement(guided: bool, steps in consent_question()) {
        let mut world = ReferenceModel::new(guided, false, PaymentVariant::Card, None);
        for step in steps {
            world.apply(step);
        }
        world.finish();
    }

    #[test]
    fn an_undisturbed_payment_call_pays(way in payment_variant(), by_client: bool) {
        let mut world = ReferenceModel::new(false, false, way, None);
        for step in undisturbed_payment(way, by_client) {
            world.apply(step);
        }
        prop_assert_eq!(world.succeeded.len(), 1, "{:?}", way);
        world.finish();
    }
}
