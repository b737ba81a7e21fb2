//! Random lives of a payment session, and what the ledger writes of them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;

use super::{Capture, CaptureStage, InvalidTransition, RequestKind};
use crate::ids::{CallSid, PaymentSid};
use crate::payment::callback::value_name;
use crate::payment::{
    Amount, CallbackDigester, CallbackKind, CreatePayment, Currency, EntryReport, Field, Fields, PaymentCallback,
    PaymentId, PaymentMethodName, PaymentOptions, PaymentSettings, PaymentTerms, RecordedStep, TwilioResponse,
    UpdateAction, UpdatePayment,
};

/// A refusal that says that fields are missing.
const INCOMPLETE: u32 = 64019;

/// What does not change in a life.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LifeStyle {
    /// Whether the callbacks have `Required`.
    has_required: bool,
    /// Whether they have `DateUpdated`.
    has_dates: bool,
    fields: FieldSet,
}

#[derive(Debug, Clone, Copy)]
enum FieldSet {
    Card,
    CardTwice,
    BankAccount,
}

/// A step of a life. One that the session does not allow is left out.
#[derive(Debug, Clone)]
pub(crate) enum LifeStep {
    /// The session is requested again.
    Create,
    /// What a patient agent does next is requested.
    RequestNext,
    /// The next field is requested and entered.
    EnterNext,
    /// An update is requested.
    Request(UpdateAction),
    /// Twilio answers one of the requests that have no response.
    Answer(usize, Reply),
    /// Twilio reports something new.
    Report(Report),
    /// Twilio delivers an earlier callback again.
    ReportAgain(usize),
    /// The server dies, and another one takes the session up.
    TakeUp,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Reply {
    Done,
    Refused(u32),
    Gone,
    Lost,
}

#[derive(Debug, Clone)]
pub(crate) struct Report {
    kind: ReportKind,
    /// `None`: the field that is being entered.
    field: Option<Field>,
    /// The fields in `Required`. `None`: those that are missing.
    required: Option<Fields>,
    /// By how many seconds the callback is late.
    lateness: i64,
}

#[derive(Debug, Clone, Copy)]
enum ReportKind {
    Exists,
    KeyPress,
    Entered,
    /// The request to capture the field is confirmed: it has no value yet.
    Confirmed,
    Wrong(&'static str),
    WrongWithoutField,
}

/// A request that was sent, and may be without a response.
#[derive(Debug, Clone)]
enum SentRequest {
    Create(CreatePayment),
    Update(UpdatePayment),
}

/// What the server writes into the ledger.
#[derive(Debug, Clone)]
pub(crate) enum LedgerWrite {
    CreateRequest(CreatePayment),
    CreateResponse(CreatePayment, TwilioResponse),
    UpdateRequest(UpdatePayment),
    UpdateResponse(UpdatePayment, TwilioResponse),
    Callback(PaymentCallback),
}

/// A session on its server, and what the ledger knows of it.
pub(crate) struct Life {
    pub(crate) capture: Capture,
    pub(crate) create: CreatePayment,
    /// The steps that the ledger has.
    pub(crate) steps: Vec<RecordedStep>,
    /// What was written and is not taken yet.
    pub(crate) writes: Vec<LedgerWrite>,
    /// Whether the session is over for its call.
    pub(crate) has_ended: bool,
    /// Whether the ledger has to know the session: what it cannot know is left out then.
    pub(crate) is_to_be_known: bool,
    call: CallSid,
    sid: PaymentSid,
    style: LifeStyle,
    running: Vec<SentRequest>,
    callbacks: Vec<PaymentCallback>,
    /// `Required` of the last callback that the ledger has.
    recorded_required: Option<Fields>,
    deliveries: HashSet<String>,
    clock: i64,
}

impl SentRequest {
    fn key(&self) -> &str {
        match self {
            Self::Create(create) => create.idempotency_key.as_str(),
            Self::Update(update) => update.idempotency_key.as_str(),
        }
    }
}

impl LifeStyle {
    pub(crate) fn terms(self) -> Arc<PaymentTerms> {
        let mut settings = PaymentSettings { postal_code: true, ..PaymentSettings::sample() };
        let mut parameters = BTreeMap::new();
        match self.fields {
            FieldSet::Card => {}
            FieldSet::CardTwice => {
                let matching_inputs = [Field::CardNumber, Field::SecurityCode].into_iter().collect();
                settings.options = PaymentOptions { matching_inputs, ..settings.options };
            }
            FieldSet::BankAccount => {
                settings.options.method = PaymentMethodName::AchDebit;
                parameters.insert("avsName".to_owned(), "Ann".to_owned());
            }
        }
        Arc::new(settings.parse_terms(&parameters).unwrap())
    }
}

impl Life {
    /// A life that begins with the request for the session.
    pub(crate) fn begin(id: PaymentId, call: &str, sid: &str, style: LifeStyle) -> Self {
        let charge = Amount::parse("25", Currency::USD).unwrap();
        let (capture, create) = Capture::open(id, &style.terms(), charge, None);
        let mut life = Self {
            capture,
            create: create.clone(),
            steps: Vec::new(),
            writes: Vec::new(),
            has_ended: false,
            is_to_be_known: true,
            call: call.parse().unwrap(),
            sid: sid.parse().unwrap(),
            style,
            running: Vec::new(),
            callbacks: Vec::new(),
            recorded_required: None,
            deliveries: HashSet::new(),
            clock: 1_800_000_000,
        };
        life.send(SentRequest::Create(create));
        life
    }

    /// Twilio creates the session.
    pub(crate) fn create(&mut self) {
        self.answer(0, Reply::Done);
    }

    /// The same session on another server, which has what `capture` knows of it.
    pub(crate) fn taken_up(&self, capture: Capture) -> Self {
        Self {
            capture,
            create: self.create.clone(),
            steps: self.steps.clone(),
            writes: Vec::new(),
            has_ended: self.has_ended,
            is_to_be_known: self.is_to_be_known,
            call: self.call.clone(),
            sid: self.sid.clone(),
            style: self.style,
            running: Vec::new(),
            callbacks: self.callbacks.clone(),
            recorded_required: self.recorded_required,
            deliveries: self.deliveries.clone(),
            clock: self.clock,
        }
    }

    /// Restores the session from its steps.
    pub(crate) fn restore(&self) -> Result<Capture, super::RestoreCaptureError> {
        let CreatePayment { id, charge, terms, .. } = &self.create;
        Capture::from_steps(*id, terms, *charge, None, self.steps.iter().cloned())
    }

    /// Applies a step and returns what is seen of it.
    pub(crate) fn apply(&mut self, step: &LifeStep) -> String {
        if self.has_ended {
            return String::new();
        }
        match step {
            LifeStep::Create => {
                let again = self.capture.retry_open(self.create.charge);
                if let Ok(create) = &again {
                    self.send(SentRequest::Create(create.clone()));
                }
                format!("{again:?}")
            }
            LifeStep::RequestNext => {
                let next = self.capture.next_field().map_or(UpdateAction::Complete, UpdateAction::Capture);
                self.request(next)
            }
            LifeStep::EnterNext => {
                let requested = self.apply(&LifeStep::RequestNext);
                let answered = self.answer(self.running.len().saturating_sub(1), Reply::Done);
                let entered = Report { kind: ReportKind::Entered, field: None, required: None, lateness: 0 };
                format!("{requested} {answered} {}", self.report(&entered))
            }
            LifeStep::Request(action) => self.request(*action),
            LifeStep::Answer(at, reply) => self.answer(*at, *reply),
            LifeStep::Report(report) => self.report(report),
            LifeStep::ReportAgain(at) => {
                let Some(at) = at.checked_rem(self.callbacks.len()) else { return String::new() };
                self.deliver(&self.callbacks[at].clone())
            }
            LifeStep::TakeUp => {
                self.lose_running();
                self.capture = self.restore().unwrap();
                String::new()
            }
        }
    }

    /// Whether a request to capture a field is recorded.
    pub(crate) fn has_asked_for_a_field(&self) -> bool {
        self.capture_requests() > 0
    }

    /// The number of keys of recorded requests to capture a field.
    fn capture_requests(&self) -> usize {
        let requests = self.steps.iter().filter_map(|step| match step {
            RecordedStep::UpdateRequested { action: UpdateAction::Capture(_), key } => Some(key),
            _ => None,
        });
        requests.collect::<HashSet<_>>().len()
    }

    /// All responses that did not come are lost.
    pub(crate) fn lose_running(&mut self) {
        for request in std::mem::take(&mut self.running) {
            match request {
                SentRequest::Create(create) => {
                    self.capture.apply_create_response(&create, TwilioResponse::Unknown);
                }
                SentRequest::Update(update) => {
                    self.capture.apply_update_response(&update, TwilioResponse::Unknown);
                }
            }
        }
    }

    fn request(&mut self, action: UpdateAction) -> String {
        let requested: Result<UpdatePayment, InvalidTransition> = self.capture.request_update(action);
        if let Ok(update) = &requested {
            self.send(SentRequest::Update(update.clone()));
        }
        format!("{:?}", requested.map(|update| (update.action, update.idempotency_key)))
    }

    fn send(&mut self, request: SentRequest) {
        self.record(match &request {
            SentRequest::Create(create) => LedgerWrite::CreateRequest(create.clone()),
            SentRequest::Update(update) => LedgerWrite::UpdateRequest(update.clone()),
        });
        // The first response to one of several equal requests counts.
        self.running.retain(|other| other.key() != request.key());
        self.running.push(request);
    }

    fn answer(&mut self, at: usize, reply: Reply) -> String {
        let Some(at) = at.checked_rem(self.running.len()) else { return String::new() };
        let request = self.running.remove(at);
        let reply = match reply {
            // What `Required` said is known only of callbacks that are recorded.
            Reply::Refused(INCOMPLETE) if self.is_to_be_known && !self.is_required_known() => Reply::Refused(64012),
            reply => reply,
        };
        let response = match (reply, &request) {
            (Reply::Done, SentRequest::Create(_)) => TwilioResponse::Created(self.sid.clone()),
            (Reply::Done, SentRequest::Update(_)) => TwilioResponse::Accepted,
            (Reply::Refused(code), _) => {
                TwilioResponse::Refused { code: Some(code), reason: "Twilio refused the request." }
            }
            (Reply::Gone, _) => TwilioResponse::Gone,
            (Reply::Lost, _) => TwilioResponse::Unknown,
        };
        let effective = match request {
            SentRequest::Create(create) => {
                self.record(LedgerWrite::CreateResponse(create.clone(), response.clone()));
                let effective = self.capture.apply_create_response(&create, response);
                let is_dropped = matches!(effective, TwilioResponse::Refused { .. } | TwilioResponse::Gone);
                self.has_ended = is_dropped && self.capture.sid().is_none();
                effective
            }
            SentRequest::Update(update) => {
                self.record(LedgerWrite::UpdateResponse(update.clone(), response.clone()));
                let effective = self.capture.apply_update_response(&update, response);
                let is_cancelled = update.action == UpdateAction::Cancel && effective == TwilioResponse::Accepted;
                self.has_ended = is_cancelled || effective == TwilioResponse::Gone;
                effective
            }
        };
        format!("{effective:?}")
    }

    fn is_required_known(&self) -> bool {
        self.capture.required == self.recorded_required
    }

    fn report(&mut self, report: &Report) -> String {
        let current = self.capture.next_field().unwrap_or(Field::ExpirationDate);
        let field = report.field.unwrap_or(current);
        let mut required = report.required.unwrap_or_else(|| self.capture.missing());
        match report.kind {
            ReportKind::Entered if report.required.is_none() => required.remove(field),
            ReportKind::Confirmed => required.insert(field),
            _ => {}
        }
        let capture = [("Capture", field.wire_name().to_owned())];
        let about = |more: &[(&'static str, &str)]| {
            let more = more.iter().map(|(name, value)| (*name, (*value).to_owned()));
            capture.iter().cloned().chain(more).collect::<Vec<_>>()
        };
        let value = value_name(field);
        let mut form = match report.kind {
            ReportKind::Exists => vec![("PaymentMethod", "credit-card".to_owned())],
            ReportKind::KeyPress => about(&[("PartialResult", "true"), (value, "xx")]),
            ReportKind::Entered => about(&[("PartialResult", "false"), (value, "xxxx")]),
            ReportKind::Confirmed => about(&[("PartialResult", "false")]),
            ReportKind::Wrong(error) => about(&[("ErrorType", error)]),
            ReportKind::WrongWithoutField => vec![("ErrorType", "input-timeout".to_owned())],
        };
        if self.style.has_required {
            let names: Vec<_> = required.iter().map(Field::wire_name).collect();
            form.push(("Required", names.join(", ")));
        }
        self.clock += 1;
        let date = Timestamp::from_second(self.clock - report.lateness).unwrap();
        let undated = self.parse_callback(&form);
        // The dates of callbacks that are not recorded are not known.
        if self.style.has_dates && (!self.is_to_be_known || is_recorded(&undated)) {
            form.push(("DateUpdated", date.to_string()));
        }
        let callback = self.parse_callback(&form);
        self.callbacks.push(callback.clone());
        self.deliver(&callback)
    }

    fn parse_callback(&self, form: &[(&'static str, String)]) -> PaymentCallback {
        let sids = [("CallSid", self.call.as_str().to_owned()), ("Sid", self.sid.as_str().to_owned())];
        let form: Vec<_> = sids.iter().chain(form).map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        PaymentCallback::from_form(&form, &CallbackDigester::new(&"12345".into())).unwrap()
    }

    /// Whether a callback is not recorded and may still change which key the next request has, or whether an entry counts.
    fn tells_more_than_the_ledger(&self, callback: &PaymentCallback) -> bool {
        let CallbackKind::EntryInProgress { field, .. } = callback.kind else {
            // An equal callback without a date is recorded once, and may be applied twice.
            let is_entry = matches!(callback.kind, CallbackKind::EntryEnded { .. }) && callback.date_updated.is_none();
            return is_entry && self.deliveries.contains(&self.delivery(callback));
        };
        let is_confirmation = self.capture.is_unconfirmed(RequestKind::Update(UpdateAction::Capture(field)));
        let is_opening = self.capture.stage == CaptureStage::Opening;
        is_opening || is_confirmation || (self.capture.is_recapture && !self.style.has_required)
    }

    fn deliver(&mut self, callback: &PaymentCallback) -> String {
        if !self.capture.matches_callback(callback) {
            return "not of this session".to_owned();
        }
        if self.is_to_be_known && self.tells_more_than_the_ledger(callback) {
            return String::new();
        }
        self.record(LedgerWrite::Callback(callback.clone()));
        format!("{:?}", self.capture.apply_callback(callback))
    }

    /// Writes into the ledger.
    fn record(&mut self, write: LedgerWrite) {
        match &write {
            LedgerWrite::CreateRequest(_) => self.steps.push(RecordedStep::CreateRequested),
            LedgerWrite::CreateResponse(_, response) => {
                self.steps.push(RecordedStep::CreateAnswered(response.clone()));
                if let TwilioResponse::Created(_) = response {
                    self.record_sid();
                }
            }
            LedgerWrite::UpdateRequest(update) => {
                let key = update.idempotency_key.as_str().to_owned();
                self.steps.push(RecordedStep::UpdateRequested { action: update.action, key });
            }
            LedgerWrite::UpdateResponse(update, response) => {
                let key = Some(update.idempotency_key.as_str().to_owned());
                let response = response.clone();
                self.steps.push(RecordedStep::UpdateAnswered { action: update.action, key, response });
            }
            LedgerWrite::Callback(callback) => {
                self.record_callback(callback);
            }
        }
        self.writes.push(write);
    }

    fn record_sid(&mut self) {
        let created = RecordedStep::SessionCreated(self.sid.clone());
        if !self.steps.contains(&created) {
            self.steps.push(created);
        }
    }

    /// What tells a callback from all others, as the ledger does.
    fn delivery(&self, callback: &PaymentCallback) -> String {
        let digest = callback.digest.to_string();
        if callback.date_updated.is_some() {
            return digest;
        }
        format!("{digest} {}", self.capture_requests())
    }

    fn record_callback(&mut self, callback: &PaymentCallback) {
        if !matches!(callback.kind, CallbackKind::EntryInProgress { .. }) {
            self.record_sid();
        }
        let delivery = self.delivery(callback);
        if !is_recorded(callback) || !self.deliveries.insert(delivery) {
            return;
        }
        let PaymentCallback { digest, date_updated, required, last4, .. } = *callback;
        let report = EntryReport { digest, is_dated: date_updated.is_some(), date_updated, required, last4 };
        self.recorded_required = required.or(self.recorded_required);
        match &callback.kind {
            CallbackKind::EntryEnded { field, .. } => {
                self.steps.push(RecordedStep::FieldEntered { field: *field, report });
            }
            CallbackKind::WrongEntry { field, error } => {
                self.steps.push(RecordedStep::EntryRejected { field: *field, error: error.clone(), report });
            }
            _ => {}
        }
    }
}

impl Capture {
    /// What shows how the session goes on, without key presses and what only they and unrecorded callbacks tell.
    pub(crate) fn facts(&self) -> String {
        let stage = match self.stage {
            CaptureStage::Capturing { field, .. } => CaptureStage::Capturing { field, key_count: 0 },
            stage => stage,
        };
        let mut attempts: Vec<_> = self.attempts.iter().map(|(action, n)| format!("{action} {n}")).collect();
        attempts.sort();
        let refusals = (self.refusal, self.submit_refusals, self.wrong_entries, &self.unconfirmed);
        format!("{stage:?} {:?} {attempts:?} {refusals:?} {:?} {:?}", self.sid, self.captured, self.record())
    }

    /// Whether a refusal that names missing fields has the same effect on both sessions.
    pub(crate) fn has_same_required(&self, other: &Self) -> bool {
        self.required == other.required
    }
}

impl LifeStep {
    /// Whether it is a refusal that says that fields are missing.
    pub(crate) fn is_incomplete_refusal(&self) -> bool {
        matches!(self, Self::Answer(_, Reply::Refused(INCOMPLETE)))
    }
}

fn is_recorded(callback: &PaymentCallback) -> bool {
    match callback.kind {
        CallbackKind::EntryEnded { field, has_value } => callback.is_field_captured(field, has_value),
        CallbackKind::WrongEntry { .. } => true,
        _ => false,
    }
}

pub(crate) fn life_style() -> impl Strategy<Value = LifeStyle> {
    let fields = prop::sample::select(&[FieldSet::Card, FieldSet::CardTwice, FieldSet::BankAccount][..]);
    (any::<bool>(), any::<bool>(), fields).prop_map(|(has_required, has_dates, fields)| LifeStyle {
        has_required,
        has_dates,
        fields,
    })
}

fn field() -> impl Strategy<Value = Field> {
    prop::sample::select(&Field::ALL[..])
}

fn reply() -> impl Strategy<Value = Reply> {
    prop_oneof![
        6 => Just(Reply::Done),
        3 => Just(Reply::Lost),
        2 => prop::sample::select(&[64012, 64018, INCOMPLETE][..]).prop_map(Reply::Refused),
        1 => Just(Reply::Gone),
    ]
}

fn report() -> impl Strategy<Value = Report> {
    let errors = ["invalid-card-number", "input-matching-failed", "input-matching-failed", "a-word-of-2031"];
    let kind = prop_oneof![
        1 => Just(ReportKind::Exists),
        2 => Just(ReportKind::KeyPress),
        8 => Just(ReportKind::Entered),
        1 => Just(ReportKind::Confirmed),
        4 => prop::sample::select(errors.to_vec()).prop_map(ReportKind::Wrong),
        1 => Just(ReportKind::WrongWithoutField),
    ];
    let required = prop::collection::vec(field(), 0..4).prop_map(|fields| fields.into_iter().collect::<Fields>());
    let required = prop_oneof![4 => Just(None), 1 => required.prop_map(Some)];
    let field = prop_oneof![5 => Just(None), 1 => field().prop_map(Some)];
    let lateness = prop_oneof![4 => Just(0), 1 => 0..6_i64];
    (kind, field, required, lateness).prop_map(|(kind, field, required, lateness)| Report {
        kind,
        field,
        required,
        lateness,
    })
}

pub(crate) fn life_step() -> impl Strategy<Value = LifeStep> {
    prop_oneof![
        1 => Just(LifeStep::Create),
        8 => Just(LifeStep::RequestNext),
        5 => Just(LifeStep::EnterNext),
        2 => field().prop_map(|field| LifeStep::Request(UpdateAction::Capture(field))),
        1 => Just(LifeStep::Request(UpdateAction::Complete)),
        1 => Just(LifeStep::Request(UpdateAction::Cancel)),
        9 => (any::<usize>(), reply()).prop_map(|(at, reply)| LifeStep::Answer(at, reply)),
        9 => report().prop_map(LifeStep::Report),
        1 => any::<usize>().prop_map(LifeStep::ReportAgain),
        1 => Just(LifeStep::TakeUp),
    ]
}
