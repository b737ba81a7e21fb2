//! What must always hold, under random, shuffled, doubled and interrupted events.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::bench::{GREETING, Line, THRESHOLD, line, payment, settings, status};
use super::*;
use crate::payment::{self as money, Agreed, Amount, Answer, Consent, Due, Entry, IdempotencyKey, Purpose};
use crate::redact::Private;
use crate::sid::PaymentSid;

/// Something that the outside world does.
#[derive(Debug, Clone, Copy)]
enum Step {
    Prompt {
        digits: bool,
    },
    PartialPrompt,
    /// The caller says one of [`ANSWERS`].
    Says(usize),
    /// The caller speaks over this talk cycle, counted from the last, after so much of it.
    Interrupt {
        back: usize,
        heard: usize,
    },
    /// The caller presses one of [`KEYS`].
    Key(usize),
    Speaking(bool),
    Delta,
    Call(usize),
    Reasoning,
    Done,
    Failed,
    /// An event of a response that was abandoned.
    Stale,
    ToolFinished {
        which: usize,
        answer: usize,
    },
    Status {
        which: usize,
        kind: usize,
        at: u32,
    },
    /// The last callback comes once more.
    Again,
    Passes(u64),
    /// The socket breaks and comes back after so many seconds.
    SocketLost(u64),
    HungUp,
}

/// What the call pays with, and how.
#[derive(Debug, Clone, Copy)]
enum Way {
    Card,
    /// Its number is entered twice.
    CardTwice,
    Account,
}

impl Way {
    /// The parameters of such a call.
    fn parameters(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Card => &[],
            Self::CardTwice => &[("requireMatchingInputs", "payment-card-number")],
            Self::Account => &[("paymentMethod", "ach-debit"), ("avsName", "Lee HOLDER")],
        }
    }

    /// The tools that lead to the end of a payment, and what Twilio reports of each.
    fn path(self, start: usize) -> Vec<(usize, usize)> {
        let fields: &[(usize, usize)] = match self {
            Self::Card => &[(2, 2), (3, 4), (4, 5)],
            Self::CardTwice => &[(2, 10), (2, 11), (3, 4), (4, 5)],
            Self::Account => &[(14, 14), (15, 15)],
        };
        [&[(start, 0)], fields, &[(5, 6)]].concat()
    }
}

fn way() -> impl Strategy<Value = Way> {
    prop::sample::select(&[Way::Card, Way::CardTwice, Way::Account][..])
}

/// What the caller says to whatever was asked, and what that is an answer to a statement.
const ANSWERS: &[(&str, Consent)] = &[
    ("Yes, please.", Consent::Yes),
    ("Sí, claro.", Consent::Yes),
    ("No.", Consent::No),
    ("No, absolutely not", Consent::No),
    ("Yes, but only 5 dollars", Consent::Unclear),
    ("Stop, cancel it, I do not want to pay", Consent::No),
    ("Don't stop", Consent::Unclear),
    ("hello", Consent::Unclear),
];

const KEYS: &[(&str, Consent)] = &[("1", Consent::Yes), ("2", Consent::No), ("4", Consent::Unclear)];

const CALLS: &[(&str, &str)] = &[
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
];

/// What may be due on a call.
const AMOUNTS_DUE: &[Option<&str>] = &[None, None, Some("30.00"), Some("thirty")];

const STATUSES: &[&[(&str, &str)]] = &[
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
    // In full, as Twilio sends it.
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

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => any::<bool>().prop_map(|digits| Step::Prompt { digits }),
        1 => Just(Step::PartialPrompt),
        2 => (0_usize..3, 0_usize..40).prop_map(|(back, heard)| Step::Interrupt { back, heard }),
        4 => (0..ANSWERS.len()).prop_map(Step::Says),
        2 => (0..KEYS.len()).prop_map(Step::Key),
        2 => any::<bool>().prop_map(Step::Speaking),
        8 => Just(Step::Delta),
        8 => (0..CALLS.len()).prop_map(Step::Call),
        2 => Just(Step::Reasoning),
        8 => Just(Step::Done),
        1 => Just(Step::Failed),
        1 => Just(Step::Stale),
        10 => (0_usize..3, 0_usize..10).prop_map(|(which, answer)| Step::ToolFinished { which, answer }),
        8 => (0_usize..3, 0..STATUSES.len(), 0_u32..50).prop_map(|(which, kind, at)| Step::Status { which, kind, at }),
        1 => Just(Step::Again),
        4 => (1_u64..70).prop_map(Step::Passes),
        1 => (0_u64..70).prop_map(Step::SocketLost),
        1 => Just(Step::HungUp),
    ]
}

/// A payment call that gets as far as its events let it, so that random steps meet every stage: one that stores what is paid with,
/// or one that charges an amount, after the caller's yes to it, and tries to charge it once more.
fn payment_call() -> impl Strategy<Value = (Way, Vec<Step>)> {
    way().prop_flat_map(|way| (Just(way), steps_of(way)))
}

/// The same without a disturbance: the model speaks once between two calls.
fn paid(way: Way) -> Vec<Step> {
    let ok = Step::ToolFinished { which: 0, answer: 0 };
    let mut steps = vec![Step::Prompt { digits: false }];
    for (call, kind) in way.path(0) {
        let status = Step::Status { which: 0, kind, at: 0 };
        steps.extend([Step::Call(call), Step::Done, ok, Step::Delta, Step::Done, status]);
    }
    steps
}

/// A call on which the server asks for a yes to 25 dollars, and whatever happens until the model tries to charge them.
fn question() -> impl Strategy<Value = Vec<Step>> {
    let ok = Step::ToolFinished { which: 0, answer: 0 };
    let asks = vec![Step::Prompt { digits: false }, Step::Call(12), Step::Done, Step::Passes(5)];
    let happens = prop_oneof![
        4 => (0..ANSWERS.len()).prop_map(Step::Says),
        2 => (0..KEYS.len()).prop_map(Step::Key),
        2 => (0_usize..90).prop_map(|heard| Step::Interrupt { back: 0, heard }),
        2 => (1_u64..40).prop_map(Step::Passes),
        1 => (0_u64..70).prop_map(Step::SocketLost),
        1 => any::<bool>().prop_map(Step::Speaking),
        1 => Just(Step::PartialPrompt),
        1 => Just(Step::Passes(600)),
    ];
    let charges = prop::sample::select(vec![1_usize, 16]);
    (prop::collection::vec(happens, 0..6), charges).prop_map(move |(happens, charges)| {
        [asks.clone(), happens, vec![Step::Call(charges), Step::Done, ok, Step::Call(charges), Step::Done, ok]].concat()
    })
}

fn steps_of(way: Way) -> impl Strategy<Value = Vec<Step>> {
    let ok = Step::ToolFinished { which: 0, answer: 0 };
    let prompt = Step::Prompt { digits: false };
    let payment = |start: usize| -> Vec<Step> {
        let step = |(call, kind)| [Step::Call(call), Step::Done, ok, Step::Status { which: 0, kind, at: 0 }];
        way.path(start).into_iter().flat_map(step).collect()
    };
    let stores = [vec![prompt], payment(0)].concat();
    let agrees = vec![prompt, Step::Call(12), Step::Done, Step::Passes(5), Step::Says(0)];
    let charges = [agrees, payment(1), vec![Step::Call(1), Step::Done, ok]].concat();
    prop::sample::select(vec![stores, charges]).prop_flat_map(|path| {
        let disturbances = prop::collection::vec((0..path.len(), step()), 0..12);
        (disturbances, prop::collection::vec(step(), 0..20)).prop_map(move |(disturbances, rest)| {
            let mut steps = path.clone();
            for (at, step) in disturbances {
                steps.insert(at, step);
            }
            steps.extend(rest);
            steps
        })
    })
}

/// The outside world, and what it knows to be true.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct World {
    line: Line,
    seen: usize,
    words: usize,
    sids: Vec<PaymentSid>,
    last_status: Option<money::Status>,
    /// Talk cycles that were sent since the last point at which all that was said is known to be in the history.
    cycles: Vec<String>,
    cycle_open: bool,
    /// What the caller heard, up to that point.
    heard: String,
    abandoned: Vec<RequestId>,
    successes: HashSet<PaymentSid>,
    completes: HashMap<PaymentSid, HashSet<IdempotencyKey>>,
    /// Keys of creations and completions that were left unanswered once.
    doubtful: HashSet<IdempotencyKey>,
    settled: HashSet<PaymentSid>,
    due: Result<Option<Amount>, ()>,
    charges: HashMap<PaymentSid, Option<Amount>>,
    ended_payments: HashSet<PaymentSid>,
    /// The statement that was said and not answered, and whether it was cut off before its end.
    asked: Option<(String, bool)>,
    /// What the caller's next answer has to be taken for.
    answers: Option<Consent>,
    /// The amount that the caller said yes to, and when; it was not charged.
    agreed: Option<(Amount, Instant)>,
    /// The amount that the caller said yes to paying again.
    again: Option<Amount>,
    /// Twilio told when the agent speaks: a yes may come too early.
    tells_speech: bool,
    /// The model asked for the card to be stored.
    stores: bool,
    /// The caller said something during a payment that neither the model nor a yes has answered.
    unanswered: bool,
    /// The model has spoken in the response that is in flight.
    replies: bool,
    /// When the last report on a payment came, or a payment was over.
    reported: Option<Instant>,
    confirms_due: bool,
    last_stir: Instant,
    spoken_since_caller: bool,
    ended: bool,
    closed: bool,
    gone: bool,
}

fn solid(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

impl World {
    fn new(guided: bool, confirms_due: bool, way: Way, amount_due: Option<&str>) -> Self {
        let settings = Settings { guided, confirm_due: confirms_due, ..settings() };
        let due = amount_due.map(|amount| ("amountDue", amount));
        let parameters: std::collections::BTreeMap<_, _> = way.parameters().iter().copied().chain(due).collect();
        let parameters = serde_json::to_string(&parameters).unwrap();
        let line = Line::open_with_parameters(settings, &parameters);
        let due = match line.call.agreement.terms().map(|terms| terms.due) {
            Ok(Due::Amount(amount)) => Ok(Some(amount)),
            Ok(_) => Ok(None),
            Err(_) => Err(()),
        };
        let last_stir = line.now;
        Self {
            line,
            seen: 0,
            words: 0,
            sids: Vec::new(),
            last_status: None,
            cycles: vec![GREETING.to_owned()],
            cycle_open: false,
            heard: String::new(),
            abandoned: Vec::new(),
            successes: HashSet::new(),
            completes: HashMap::new(),
            doubtful: HashSet::new(),
            settled: HashSet::new(),
            due,
            charges: HashMap::new(),
            ended_payments: HashSet::new(),
            asked: None,
            tells_speech: false,
            answers: None,
            agreed: None,
            again: None,
            stores: false,
            unanswered: false,
            replies: false,
            reported: None,
            confirms_due,
            last_stir,
            spoken_since_caller: true,
            ended: false,
            closed: false,
            gone: false,
        }
    }

    fn live(&mut self, step: Step) {
        match step {
            Step::Prompt { digits } => {
                self.says(if digits { "my card is 4111 1111 1111 1111" } else { "hello" }, Consent::Unclear);
            }
            Step::Says(which) => {
                let (words, answer) = ANSWERS[which];
                self.says(words, answer);
            }
            Step::PartialPrompt => {
                self.unanswered |= self.line.call.payments.is_open() && self.asked.is_none();
                self.line.frame(r#"{"type":"prompt","voicePrompt":"hel","last":false}"#);
                self.stir();
            }
            Step::Interrupt { back, heard } => self.interrupt(back, heard),
            Step::Key(which) => self.presses(which),
            Step::Speaking(on) => {
                let value = if on { "on" } else { "off" };
                self.tells_speech = true;
                self.line.frame(&format!(r#"{{"type":"info","name":"agentSpeaking","value":"{value}"}}"#));
                if !on && self.line.asked.is_none() {
                    self.heard += &self.cycles.drain(..).collect::<String>();
                }
            }
            Step::Delta => self.delta(),
            Step::Call(which) if self.line.asked.is_some() => {
                let (name, arguments) = CALLS[which];
                self.stores |= which == 0;
                self.line.model_calls(name, arguments);
            }
            Step::Reasoning if self.line.asked.is_some() => {
                let raw = serde_json::value::RawValue::from_string("{}".to_owned()).unwrap();
                self.line.model(ModelEvent::Reasoning(raw));
            }
            Step::Done if self.line.asked.is_some() => {
                self.abandoned.extend(self.line.asked);
                self.unanswered &= !self.replies;
                self.line.model(ModelEvent::Done);
            }
            Step::Failed if self.line.asked.is_some() => {
                self.abandoned.extend(self.line.asked);
                self.line.model(ModelEvent::Failed);
            }
            Step::Stale => {
                if let Some(request) = self.abandoned.last().copied() {
                    let event = ModelEvent::Delta(Private::new("STALE".to_owned()));
                    let from = self.line.feed(Event::Model { request, event });
                    assert!(!self.line.said_since(from).contains("STALE"), "a token of an abandoned response was said");
                }
            }
            Step::ToolFinished { which, answer } => self.tool_finished(which, answer),
            Step::Status { which, kind, at } => self.status(which, kind, at),
            Step::Again => {
                if let Some(status) = self.last_status.clone() {
                    self.reported = Some(self.line.now);
                    self.line.feed(Event::PaymentStatus(status));
                }
            }
            Step::Passes(seconds) => {
                self.line.passes(Duration::from_secs(seconds));
            }
            Step::SocketLost(seconds) => self.socket_lost(seconds),
            Step::HungUp => {
                self.line.feed(Event::HungUp);
                self.gone = true;
            }
            _ => {}
        }
        self.check();
    }

    fn says(&mut self, words: &str, answer: Consent) {
        if self.asked.is_some() {
            self.answers(answer);
        } else {
            self.unanswered |= self.line.call.payments.is_open();
        }
        self.line.caller_says(words);
        self.heard += &self.cycles.drain(..).collect::<String>();
        self.cycle_open = false;
        self.spoken_since_caller = false;
        self.stir();
    }

    /// What comes next answers the statement that was said. A yes to what was cut off is none.
    fn answers(&mut self, answer: Consent) {
        let was_cut = self.asked.as_ref().is_some_and(|(_, cut)| *cut);
        self.answers = Some(if was_cut && answer == Consent::Yes { Consent::Unclear } else { answer });
    }

    fn presses(&mut self, which: usize) {
        let (key, answer) = KEYS[which];
        let stage = self.line.call.payments.open().map(money::Capture::stage);
        let late = self.reported.is_some_and(|at| self.line.now < at + Duration::from_secs(3));
        let is_answer = self.asked.is_some() && !late && matches!(stage, None | Some(money::Stage::Open));
        if is_answer {
            self.answers(answer);
        }
        self.line.frame(&format!(r#"{{"type":"dtmf","digit":"{key}"}}"#));
        if is_answer {
            self.line.frame(r##"{"type":"dtmf","digit":"#"}"##);
            self.heard += &self.cycles.drain(..).collect::<String>();
            self.cycle_open = false;
            self.spoken_since_caller = false;
            self.stir();
        }
    }

    fn socket_lost(&mut self, seconds: u64) {
        let from = self.line.feed(Event::SocketLost);
        self.asked = None;
        self.heard += &self.cycles.drain(..).collect::<String>();
        self.line.passes(Duration::from_secs(seconds));
        assert_eq!(self.line.said_since(from), "", "nobody would hear it");
        self.gone |= seconds >= super::bench::RESUME.as_secs();
        self.cycle_open = false;
        self.stir();
        self.line.feed(Event::Resumed);
    }

    fn stir(&mut self) {
        self.last_stir = self.line.now;
    }

    fn delta(&mut self) {
        let Some(request) = self.line.asked else { return };
        self.words += 1;
        // Without digits, which would be held back.
        let count: String = self.words.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect();
        let token = format!("word{count} ");
        let event = ModelEvent::Delta(Private::new(token.clone()));
        self.replies = true;
        let from = self.line.feed(Event::Model { request, event });
        assert_eq!(self.line.said_since(from), token, "a token leaves the moment it arrives");
    }

    fn interrupt(&mut self, back: usize, heard: usize) {
        let which = self.cycles.len().checked_sub(back + 1);
        let Some(which) = which.filter(|_| !self.ended && !self.gone) else { return };
        let cycle = &self.cycles[which];
        let heard: String = cycle.chars().take(heard).collect();
        // Of two that begin alike, nobody can tell which one was cut.
        let alike = |from: usize| solid(&self.cycles[from..].concat()).starts_with(&solid(&heard));
        if (which + 1..self.cycles.len()).any(alike) {
            return;
        }
        self.heard += &self.cycles[..which].concat();
        self.heard += &heard;
        self.cycles.clear();
        self.cycle_open = false;
        self.spoken_since_caller = false;
        if let Some((text, cut)) = &mut self.asked {
            *cut |= !solid(&heard).ends_with(&solid(text));
        }
        self.line.caller_interrupts(&heard);
        self.stir();
    }

    fn tool_finished(&mut self, which: usize, answer: usize) {
        if self.line.running.is_empty() {
            return;
        }
        let (run, tool) = self.line.running.remove(which % self.line.running.len());
        let refused = Answer::Refused { code: Some(64019), reason: "something is missing" };
        let outcome = match (&tool, answer) {
            (Tool::SetSilenceDetection { enabled }, _) => Outcome::SilenceDetection { enabled: *enabled },
            (Tool::EndCall, _) => Outcome::EndCall,
            (Tool::StartCapture(create), 4) if create.charge.is_some() && self.may_be_barred(&tool) => {
                Outcome::PaidBefore { amount: create.charge.unwrap(), minutes: 3 }
            }
            (Tool::LiveAgentHandoff { reason, summary }, _) => {
                Outcome::HandOff { reason: reason.clone(), summary: summary.clone() }
            }
            (_, 7) => Outcome::Payment(Answer::Unknown),
            (_, 8) => Outcome::Payment(refused),
            (_, 9) => Outcome::Lost,
            (_, 6) => Outcome::Payment(Answer::Gone),
            (tool, 5) if self.may_be_barred(tool) => Outcome::Barred("a guard"),
            (Tool::StartCapture(create), _) => {
                let sid = match self.sids.len() {
                    n if n > 0 && !self.settled.contains(&self.sids[n - 1]) => self.sids[n - 1].clone(),
                    n => payment(&format!("PK{n}")),
                };
                if !self.sids.contains(&sid) {
                    self.sids.push(sid.clone());
                }
                self.charges.insert(sid.clone(), create.charge);
                Outcome::Payment(Answer::Created(sid))
            }
            _ => Outcome::Payment(Answer::Accepted),
        };
        match (&tool, &outcome) {
            // Only a refusal of what was never in doubt makes room for a new attempt.
            (Tool::FinishCapture(update), Outcome::Payment(Answer::Refused { .. }) | Outcome::Barred(_))
                if !self.doubtful.contains(&update.key) =>
            {
                self.completes.entry(update.sid.clone()).or_default().remove(&update.key);
            }
            (Tool::StartCapture(create), Outcome::Payment(Answer::Unknown) | Outcome::Lost) => {
                self.doubtful.insert(create.key.clone());
            }
            (Tool::FinishCapture(update), Outcome::Payment(Answer::Unknown) | Outcome::Lost) => {
                self.doubtful.insert(update.key.clone());
            }
            (Tool::FinishCapture(update), Outcome::Payment(Answer::Gone)) if !self.doubtful.contains(&update.key) => {
                self.settled.insert(update.sid.clone());
            }
            (_, Outcome::Payment(Answer::Gone)) => {
                self.settled.extend(self.line.call.payments.open().and_then(|capture| capture.sid()).cloned());
            }
            (Tool::CancelCapture(update), _) => {
                self.settled.insert(update.sid.clone());
            }
            _ => {}
        }
        self.line.feed(Event::ToolFinished { run, outcome });
        self.stir();
    }

    /// No guard bars what is repeated: it may have been done before. Of what Twilio was not asked for, it reports nothing.
    fn may_be_barred(&self, tool: &Tool) -> bool {
        match tool {
            Tool::StartCapture(create) => {
                let unreported = self.line.call.payments.open().is_none_or(|capture| capture.sid().is_none());
                unreported && !self.doubtful.contains(&create.key)
            }
            Tool::FinishCapture(update) => !self.doubtful.contains(&update.key),
            Tool::CaptureCard(_)
            | Tool::CaptureSecurityCode(_)
            | Tool::CaptureExpiryDate(_)
            | Tool::CapturePostalCode(_) => true,
            _ => false,
        }
    }

    fn status(&mut self, which: usize, kind: usize, at: u32) {
        let opening = self.line.running.iter().any(|(_, tool)| matches!(tool, Tool::StartCapture(_)));
        if opening && self.sids.iter().all(|sid| self.settled.contains(sid)) {
            self.sids.push(payment(&format!("PK{}", self.sids.len())));
        }
        let Some(sid) = self.sids.iter().rev().nth(which).cloned() else { return };
        let date = format!("2026-01-01T00:00:{at:02}.000Z");
        let mut fields = STATUSES[kind].to_vec();
        if at > 0 {
            fields.push(("DateUpdated", &date));
        }
        let status = status(sid.as_str(), &fields);
        if let money::News::Ended(ending) = &status.news {
            let submitted = self.completes.get(&sid).is_some_and(|keys| !keys.is_empty());
            if ending.result == money::ResultWord::Success && submitted {
                // A success is the last word, whatever came before; the second one says nothing.
                if let (Some(Some(amount)), false) = (self.charges.get(&sid), self.successes.contains(&sid)) {
                    self.agreed.take_if(|(agreed, _)| agreed == amount);
                    self.again.take_if(|agreed| agreed == amount);
                }
                self.successes.insert(sid.clone());
            }
            self.ended_payments.insert(sid.clone());
            self.settled.insert(sid);
        }
        let was_open = self.line.call.payments.is_open();
        self.last_status = Some(status.clone());
        self.reported = Some(self.line.now);
        self.line.feed(Event::PaymentStatus(status));
        if was_open && !self.line.call.payments.is_open() {
            self.stir();
        }
    }

    /// Looks at everything that was done since the last look.
    fn check(&mut self) {
        let reminders = settings().silence.messages;
        for at in self.seen..self.line.did.len() {
            assert!(!self.closed, "nothing is done after the call was closed");
            match &self.line.did[at] {
                Action::Say(Outgoing::Text { token, last, interruptible, .. }) => {
                    if *interruptible == Some(false) {
                        assert!(*last && !self.cycle_open, "a statement is said whole, and between two replies");
                        self.asked = Some((token.clone(), false));
                    }
                    assert!(!self.ended && !self.gone, "nothing is said after the end");
                    if reminders.contains(token) {
                        assert!(!self.line.call.payments.is_open(), "no reminder while a payment is open");
                        assert!(self.line.now >= self.last_stir + THRESHOLD, "a reminder comes after the threshold");
                    }
                    if !token.is_empty() {
                        assert!(!(*last && self.cycle_open), "the server speaks no word into the model's sentence");
                        if !self.cycle_open {
                            self.cycles.push(String::new());
                        }
                        self.cycles.last_mut().unwrap().push_str(token);
                        self.spoken_since_caller = true;
                    }
                    self.cycle_open = !last;
                }
                Action::Say(Outgoing::End { .. }) => {
                    assert!(!self.ended, "end is said once");
                    assert!(self.spoken_since_caller, "a caller who spoke over the goodbye is not hung up on");
                    assert!(!self.cycle_open, "end comes after the final token");
                    self.ended = true;
                }
                Action::AskModel(request) => {
                    self.replies = false;
                    self.check_request(request);
                }
                Action::Record(Entry::Answered(answered)) => {
                    let answered = answered.clone();
                    self.check_answer(&answered);
                }
                Action::StopModel => self.abandoned.push(RequestId(self.line.call.turn_requests())),
                Action::RunTool { tool: Tool::StartCapture(create), .. } => {
                    let create = create.clone();
                    self.check_start(&create);
                }
                Action::RunTool { tool: Tool::FinishCapture(update), .. } => {
                    let keys = self.completes.entry(update.sid.clone()).or_default();
                    let is_new = keys.insert(update.key.clone());
                    let by_server = is_new && self.line.call.leads();
                    assert!(!(by_server && self.unanswered), "what the caller said is answered before the submission");
                    assert_eq!(keys.len(), 1, "complete is sent once for a payment; a retry repeats its key");
                }
                Action::RunTool { tool: Tool::CancelCapture(update), .. } => {
                    self.settled.insert(update.sid.clone());
                }
                Action::Close => self.closed = true,
                Action::RunTool { .. } | Action::ChangeContext(_) | Action::Record(_) | Action::Say(_) => {}
            }
            let shown = format!("{:?}", self.line.did[at]);
            for secret in ["4111", "1299", "90210", "SECRET", "HOLDER", "word"] {
                assert!(!shown.contains(secret), "{secret} in {shown}");
            }
        }
        self.seen = self.line.did.len();
        let said = self.line.call.is_statement_said();
        self.asked.take_if(|_| !said);
        self.answers = None;
    }

    /// An answer is recorded as what it was, once, to the statement that was said last.
    fn check_answer(&mut self, answered: &Agreed) {
        let (text, _) = self.asked.take().expect("what was not said is not answered");
        assert_eq!(answered.text, text);
        let given = self.answers.take().unwrap_or(Consent::Unclear);
        let early = self.tells_speech && given == Consent::Yes && answered.consent == Consent::Unclear;
        assert!(answered.consent == given || early, "{given:?}: {answered:?}");
        let yes = answered.consent == Consent::Yes;
        if let Some(amount) = answered.purpose.amount() {
            let said = spoken_amount::say(amount, &answered.language);
            assert!(text.contains(&said), "{said} in {text}");
        }
        match answered.purpose {
            Purpose::GoOn => self.unanswered &= !yes,
            Purpose::ChargeAgain(amount) => self.again = Some(amount).filter(|_| yes),
            Purpose::Charge(amount) => self.agreed = Some((amount, self.line.now)).filter(|_| yes),
        }
    }

    /// A charge starts only for what a statement named that was said whole and answered with yes, and within ten minutes.
    fn check_start(&mut self, create: &money::Create) {
        let agreed = self.agreed.filter(|(_, at)| self.line.now < *at + Duration::from_secs(600));
        let agreed = agreed.map(|(amount, _)| amount);
        match self.due {
            Ok(Some(due)) => {
                assert_eq!(create.charge, Some(due), "what is due is charged and nothing else");
                assert!(self.successes.is_empty(), "what is due is charged once");
                assert!(!self.confirms_due || agreed == Some(due), "what is due was agreed to");
            }
            Ok(None) => {
                assert!(create.charge.is_none() || create.charge == agreed, "an amount was agreed to");
                assert!(create.charge.is_some() || self.stores, "a card is stored only if that was asked for");
                let evidence = create.agreed.as_ref().and_then(|agreed| agreed.purpose.amount());
                assert_eq!(evidence, create.charge, "there is evidence of the yes");
            }
            Err(()) => panic!("no payment starts on broken terms"),
        }
        assert!(!create.is_again() || self.again == create.charge, "the caller agreed to pay again");
        if !self.doubtful.contains(&create.key) {
            self.unanswered = false;
        }
    }

    fn check_request(&self, request: &Request) {
        let mut open = HashSet::new();
        let mut orphaned = false;
        for item in &request.input {
            match item {
                Item::ToolCall(call) => {
                    assert!(open.insert(call.call_id.clone()), "a call stands once");
                    orphaned = false;
                }
                Item::ToolOutput { call_id, .. } => assert!(open.remove(call_id), "an output has its call, once"),
                Item::Reasoning(_) => orphaned = true,
                Item::Caller(_) | Item::Developer(_) => assert!(!orphaned, "reasoning travels with its call"),
                Item::Agent(_) => {}
            }
        }
        assert!(open.is_empty() && !orphaned, "every call has its output");
        let text: String = request.input.iter().map(line).collect();
        for secret in ["4111", "1299", "90210", "SECRET"] {
            assert!(!text.contains(secret), "{secret} reached the model");
        }
        let announced = text.matches("succeeded").count();
        assert!(announced <= self.successes.len(), "success is announced only after Result=success");
        let spoken: String = request
            .input
            .iter()
            .filter_map(|item| if let Item::Agent(words) = item { Some(words.as_str()) } else { None })
            .collect();
        let heard = solid(&(self.heard.clone() + &self.cycles.concat()));
        assert_eq!(solid(&spoken), heard, "the history holds what the caller heard");
    }

    /// The caller hangs up and everything that runs is answered.
    fn end(mut self) {
        self.live(Step::HungUp);
        assert_eq!(self.line.asked, None, "the model's stream is dropped");
        for _ in 0..10 {
            self.live(Step::ToolFinished { which: 0, answer: 0 });
        }
        assert!(self.closed && self.line.running.is_empty(), "the call is closed once nothing runs");
        for sid in &self.sids {
            let submitted = self.completes.get(sid).is_some_and(|keys| !keys.is_empty());
            let was_opened = self.line.call.payments.is_over(sid);
            assert!(!was_opened || submitted || self.settled.contains(sid), "an open payment is cancelled");
        }
        assert!(!self.line.call.payments.is_open());
    }
}

impl Call {
    fn turn_requests(&self) -> u64 {
        match self.turn.response.as_ref() {
            Some(response) => response.id.0.saturating_sub(1),
            None => u64::MAX,
        }
    }
}

proptest! {
    #[test]
    fn the_invariants_hold_in_any_order_of_events(
        guided: bool,
        confirms_due: bool,
        way in way(),
        amount_due in prop::sample::select(AMOUNTS_DUE),
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut world = World::new(guided, confirms_due, way, amount_due);
        for step in steps {
            world.live(step);
        }
        world.end();
    }

    #[test]
    fn the_invariants_hold_in_a_disturbed_payment_call(
        guided: bool,
        confirms_due: bool,
        amount_due in prop::sample::select(AMOUNTS_DUE),
        (way, steps) in payment_call(),
    ) {
        let mut world = World::new(guided, confirms_due, way, amount_due);
        for step in steps {
            world.live(step);
        }
        world.end();
    }

    #[test]
    fn a_charge_starts_after_a_yes_to_what_was_said_last_and_after_nothing_else(guided: bool, steps in question()) {
        let mut world = World::new(guided, false, Way::Card, None);
        for step in steps {
            world.live(step);
        }
        world.end();
    }

    #[test]
    fn an_undisturbed_payment_call_pays(way in way()) {
        let mut world = World::new(false, false, way, None);
        for step in paid(way) {
            world.live(step);
        }
        prop_assert_eq!(world.successes.len(), 1, "{:?}", way);
        world.end();
    }
}
