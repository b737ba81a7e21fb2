//! One payment session as a state machine: which requests are valid in which stage, and what each callback changes.
//!
//! Callbacks arrive in any order, more than once, and before the response to the request that caused them.

mod from_steps;
#[cfg(test)]
pub(crate) mod lives;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

use super::{
    Amount, CallbackDigest, CallbackKind, ConsentRecord, CreatePayment, EntryError, Field, Fields, IdempotencyKey,
    Last4, PaymentCallback, PaymentId, PaymentIntent, PaymentMethodName, PaymentRecord, PaymentSessionResult,
    PaymentState, PaymentTerms, SubmissionRefusal, TwilioResponse, UpdateAction, UpdatePayment,
};
use crate::ids::PaymentSid;
#[cfg(test)]
pub(crate) use from_steps::RestoreCaptureError;

/// The number of callbacks that are kept to recognise repeated ones. Those about single keys are not among them.
const MAX_SEEN_CALLBACKS: usize = 64;

/// The maximum number of refused `complete` requests in one session. Each may be a new attempt to charge.
const MAX_SUBMIT_REFUSALS: u32 = 3;

/// A payment session that is not known to have ended.
#[derive(Debug)]
pub struct Capture {
    id: PaymentId,
    terms: Arc<PaymentTerms>,
    needed: Fields,
    charge: Option<Amount>,
    sid: Option<PaymentSid>,
    stage: CaptureStage,
    captured: Fields,
    /// The last `Required` that Twilio reported.
    required: Option<Fields>,
    /// The last request and its key, if it is unknown whether Twilio carried it out. A retry repeats the key.
    unconfirmed: Option<(RequestKind, IdempotencyKey)>,
    /// The number of requests for each action, without retries of an unconfirmed one.
    attempts: HashMap<UpdateAction, u32>,
    /// The newest callback for each field: its `DateUpdated`, and whether it ended an entry.
    newest_callbacks: [Option<(Timestamp, bool)>; Field::ALL.len()],
    wrong_entries: [u32; Field::ALL.len()],
    /// Whether the current field was captured before. Without `Required`, only new key presses show a new entry.
    is_recapture: bool,
    /// The number of refused `complete` requests.
    submit_refusals: u32,
    /// The last refusal of a `complete` request.
    refusal: Option<SubmissionRefusal>,
    seen_callbacks: VecDeque<SeenCallback>,
    consent: Option<ConsentRecord>,
    /// The last digits of the card or account, once Twilio has reported them.
    last4: Option<Last4>,
    /// The caller's authorisation to submit what is entered now. A new entry needs a new one.
    authorization: Option<ConsentRecord>,
}

/// A callback that was applied.
#[derive(Debug, Clone, Copy)]
struct SeenCallback {
    digest: CallbackDigest,
    /// The number of capture requests before it, if it has no `DateUpdated` that tells it from an equal one.
    capture_requests: Option<u32>,
}

/// The stage of a payment session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaptureStage {
    /// Creation was requested; the SID is not known yet.
    Opening,
    /// The session is open, and no field is being entered.
    Open,
    /// The caller is asked to enter a field.
    Capturing {
        /// The field.
        field: Field,
        /// Keys pressed so far, counted from the mask.
        key_count: usize,
    },
    /// `complete` was requested; the result comes only by callback.
    Submitting,
    /// `cancel` was requested.
    Cancelling,
}

/// Why a request is not valid in the current stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidTransition {
    /// A session is open already.
    AlreadyOpen,
    /// Twilio has not confirmed the session.
    NotConfirmed,
    /// The payment does not use the field.
    NotNeeded(Field),
    /// The security code needs the card number first.
    CardNumberFirst,
    /// Another field is being entered.
    FieldInProgress(Field),
    /// Fields are missing.
    MissingFields(Fields),
    /// The payment is submitted; only its result can follow.
    AlreadySubmitted,
    /// The payment is being cancelled.
    AlreadyCancelling,
    /// Submitting was refused too often.
    TooManyRefusals,
}

/// The effect of a callback on the call.
#[derive(Debug)]
pub enum CallbackEffect {
    /// The callback reports nothing new.
    NoChange,
    /// The session is open; the callback arrived before the response.
    Opened,
    /// A key was pressed.
    Progress,
    /// A field was captured.
    Captured(Field),
    /// An entry was wrong.
    WrongEntry {
        /// The field.
        field: Field,
        /// What was wrong.
        error: EntryError,
        /// The number of wrong entries of this field so far.
        wrong_entries: u32,
    },
    /// The session ended.
    Ended(Box<PaymentSessionResult>),
}

/// What a request of a session asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// The session.
    Create,
    /// A change of it.
    Update(UpdateAction),
}

impl Capture {
    /// Opens a session on these terms; without an amount the card, or the account, is tokenized.
    pub fn open(
        id: PaymentId,
        terms: &Arc<PaymentTerms>,
        charge: Option<Amount>,
        consent: Option<ConsentRecord>,
    ) -> (Self, CreatePayment) {
        let capture = Self {
            id,
            terms: terms.clone(),
            needed: terms.fields(),
            charge,
            sid: None,
            stage: CaptureStage::Opening,
            captured: Fields::default(),
            required: None,
            unconfirmed: None,
            attempts: HashMap::new(),
            newest_callbacks: Default::default(),
            wrong_entries: Default::default(),
            is_recapture: false,
            submit_refusals: 0,
            refusal: None,
            seen_callbacks: VecDeque::new(),
            consent: consent.clone(),
            last4: None,
            authorization: None,
        };
        (capture, CreatePayment { id, idempotency_key: id.create_key(), charge, terms: terms.clone(), consent })
    }

    /// Repeats the create request with the same key, after the first one got no response.
    pub fn retry_open(&self, charge: Option<Amount>) -> Result<CreatePayment, InvalidTransition> {
        if self.stage != CaptureStage::Opening {
            return Err(InvalidTransition::AlreadyOpen);
        }
        if !self.is_unconfirmed(RequestKind::Create) || charge != self.charge {
            return Err(InvalidTransition::NotConfirmed);
        }
        let (terms, consent) = (self.terms.clone(), self.consent.clone());
        Ok(CreatePayment { id: self.id, idempotency_key: self.id.create_key(), charge, terms, consent })
    }

    /// Makes an update request if the action is valid in the current stage. For a captured field whose matcher is
    /// missing, it requests the matcher.
    pub fn request_update(&mut self, action: UpdateAction) -> Result<UpdatePayment, InvalidTransition> {
        let action = match action {
            UpdateAction::Capture(field) => UpdateAction::Capture(self.missing_matcher(field).unwrap_or(field)),
            action => action,
        };
        self.request_exactly(action)
    }

    /// Makes an update request for this field and not for its matcher.
    fn request_exactly(&mut self, action: UpdateAction) -> Result<UpdatePayment, InvalidTransition> {
        let repeated = self.is_unconfirmed(RequestKind::Update(action));
        self.stage = match (self.stage, action) {
            (CaptureStage::Opening, _) => return Err(InvalidTransition::NotConfirmed),
            (CaptureStage::Submitting, UpdateAction::Complete) | (CaptureStage::Cancelling, UpdateAction::Cancel)
                if repeated =>
            {
                self.stage
            }
            (CaptureStage::Submitting, _) => return Err(InvalidTransition::AlreadySubmitted),
            (CaptureStage::Cancelling, _) => return Err(InvalidTransition::AlreadyCancelling),
            (_, UpdateAction::Capture(field)) => self.start_field(field)?,
            (_, UpdateAction::Complete) if self.submit_refusals >= MAX_SUBMIT_REFUSALS => {
                return Err(InvalidTransition::TooManyRefusals);
            }
            (_, UpdateAction::Complete) => self.start_submission()?,
            (_, UpdateAction::Cancel) => CaptureStage::Cancelling,
        };
        let sid = self.sid.clone().ok_or(InvalidTransition::NotConfirmed)?;
        let update = UpdatePayment::new(self.id, sid, self.next_idempotency_key(action), action);
        let authorization = self.authorization.as_ref().filter(|_| action == UpdateAction::Complete);
        Ok(UpdatePayment { authorization: authorization.cloned().map(Box::new), ..update })
    }

    fn missing_matcher(&self, field: Field) -> Option<Field> {
        let matcher = field.matcher()?;
        (self.captured.contains(field) && self.missing().contains(matcher)).then_some(matcher)
    }

    fn start_field(&mut self, field: Field) -> Result<CaptureStage, InvalidTransition> {
        if !self.needed.contains(field) {
            return Err(InvalidTransition::NotNeeded(field));
        }
        if field == Field::SecurityCode && !self.captured.contains(Field::CardNumber) {
            return Err(InvalidTransition::CardNumberFirst);
        }
        match self.stage {
            CaptureStage::Capturing { field: current, .. } if current != field && !self.captured.contains(field) => {
                return Err(InvalidTransition::FieldInProgress(current));
            }
            _ => {}
        }
        // Twilio may report a matcher's value under the name of its base field.
        self.is_recapture = self.captured.contains(field) || field.is_matcher();
        self.clear_field(field);
        Ok(CaptureStage::Capturing { field, key_count: 0 })
    }

    /// Removes a field and its matcher from the captured fields.
    fn clear_field(&mut self, field: Field) {
        self.captured.remove(field);
        if let Some(matcher) = field.matcher() {
            self.captured.remove(matcher);
        }
    }

    fn start_submission(&self) -> Result<CaptureStage, InvalidTransition> {
        match self.stage {
            CaptureStage::Capturing { field, .. } => Err(InvalidTransition::FieldInProgress(field)),
            _ if !self.missing().is_empty() => Err(InvalidTransition::MissingFields(self.missing())),
            _ => Ok(CaptureStage::Submitting),
        }
    }

    /// Applies Twilio's response to `create` and returns the effective response: a rejection counts as unknown if the
    /// request was sent before, and a session that a callback has confirmed is open whatever the response says.
    pub fn apply_create_response(&mut self, create: &CreatePayment, response: TwilioResponse) -> TwilioResponse {
        let response = response.resolve(self.is_unconfirmed(RequestKind::Create));
        match (&response, self.sid.clone()) {
            (TwilioResponse::Created(sid), _) => self.confirm_open(sid),
            (TwilioResponse::Refused { .. } | TwilioResponse::Unknown, Some(sid)) => {
                return TwilioResponse::Created(sid);
            }
            (TwilioResponse::Unknown, None) => {
                self.unconfirmed = Some((RequestKind::Create, create.idempotency_key.clone()));
            }
            _ => {}
        }
        response
    }

    /// Applies Twilio's response to `update` and returns the effective response, as
    /// [`apply_create_response`](Self::apply_create_response) does.
    pub fn apply_update_response(&mut self, update: &UpdatePayment, response: TwilioResponse) -> TwilioResponse {
        let kind = RequestKind::Update(update.action);
        // Only a submission can have had an effect that a rejection of its repetition hides.
        let sent_before = update.action == UpdateAction::Complete && self.is_unconfirmed(kind);
        let response = response.resolve(sent_before);
        match &response {
            TwilioResponse::Refused { code, .. } => {
                self.apply_refusal(update.action, SubmissionRefusal { code: *code });
            }
            // The session has ended, and a payment that was not submitted before cannot succeed.
            TwilioResponse::Gone
                if self.stage == CaptureStage::Submitting && update.action == UpdateAction::Complete =>
            {
                self.stage = CaptureStage::Open;
                self.refusal = None;
            }
            // A callback may have reported the effect of the request already, or another request may have followed it.
            TwilioResponse::Unknown if self.is_last_request(update) => {
                self.unconfirmed = Some((kind, update.idempotency_key.clone()));
            }
            TwilioResponse::Accepted if self.is_unconfirmed(kind) => self.unconfirmed = None,
            _ => {}
        }
        response
    }

    /// Withdraws an update that was not sent, unless it repeats one that was.
    pub fn withdraw_update(&mut self, update: &UpdatePayment) {
        if self.is_awaiting(update.action) && !self.is_unconfirmed(RequestKind::Update(update.action)) {
            self.stage = CaptureStage::Open;
        }
    }

    /// Whether the update is the last one that was requested, and its effect is not reported yet.
    fn is_last_request(&self, update: &UpdatePayment) -> bool {
        let attempts = self.attempts.get(&update.action).copied().unwrap_or_default();
        self.is_awaiting(update.action) && update.idempotency_key == self.id.update_key(update.action, attempts)
    }

    /// The last request, if it is unknown whether Twilio carried it out.
    pub fn unconfirmed_request(&self) -> Option<RequestKind> {
        self.unconfirmed.as_ref().map(|(kind, _)| *kind)
    }

    /// Whether it is unknown if Twilio carried out the last request, and that was of this kind.
    fn is_unconfirmed(&self, kind: RequestKind) -> bool {
        matches!(self.unconfirmed, Some((unconfirmed, _)) if unconfirmed == kind)
    }

    fn apply_refusal(&mut self, action: UpdateAction, refusal: SubmissionRefusal) {
        if self.is_awaiting(action) {
            self.stage = CaptureStage::Open;
            if action == UpdateAction::Complete {
                // Without a code the ledger refused it, and Twilio was not asked.
                self.submit_refusals += u32::from(refusal.code.is_some() && !refusal.is_incomplete());
                self.refusal = Some(refusal);
            }
        }
        if let (UpdateAction::Complete, true, Some(required)) = (action, refusal.is_incomplete(), self.required) {
            self.captured = self.captured.without(required);
        }
    }

    /// Applies a callback of this session. A repeated callback, or one older than the newest, has no effect.
    pub fn apply_callback(&mut self, callback: &PaymentCallback) -> CallbackEffect {
        if self.is_repeated(callback) {
            return CallbackEffect::NoChange;
        }
        let was_opening = self.stage == CaptureStage::Opening;
        self.confirm_open(&callback.payment_sid);
        self.required = callback.required.or(self.required);
        match &callback.kind {
            CallbackKind::SessionExists if was_opening => CallbackEffect::Opened,
            CallbackKind::Ended(ending) => CallbackEffect::Ended(ending.clone()),
            CallbackKind::EntryInProgress { field, key_count: keys }
                if self.record_newest(*field, callback.date_updated, false) =>
            {
                self.apply_key_presses(*field, *keys)
            }
            CallbackKind::EntryEnded { field, has_value: present } => {
                let is_captured = callback.is_field_captured(*field, *present);
                if is_captured {
                    self.last4 = callback.last4.or(self.last4);
                }
                self.apply_entry_end(*field, callback.date_updated, is_captured, callback.required)
            }
            CallbackKind::WrongEntry { field, error } => self.apply_wrong_entry(*field, error, callback.date_updated),
            CallbackKind::SessionExists | CallbackKind::EntryInProgress { .. } => CallbackEffect::NoChange,
        }
    }

    fn apply_entry_end(
        &mut self,
        field: Field,
        updated: Option<Timestamp>,
        is_captured: bool,
        required: Option<Fields>,
    ) -> CallbackEffect {
        let is_newest = self.record_newest(field, updated, true);
        let is_stale = self.is_recapture && required.is_none();
        if is_newest && is_captured && !is_stale { self.apply_entry(field) } else { CallbackEffect::NoChange }
    }

    fn apply_key_presses(&mut self, field: Field, keys: usize) -> CallbackEffect {
        self.confirm_capture(field);
        match &mut self.stage {
            CaptureStage::Capturing { field: current, key_count: so_far } if *current == field => {
                *so_far = keys;
                self.is_recapture = false;
                CallbackEffect::Progress
            }
            _ => CallbackEffect::NoChange,
        }
    }

    fn apply_entry(&mut self, field: Field) -> CallbackEffect {
        self.confirm_capture(field);
        match self.stage {
            CaptureStage::Capturing { field: current, .. } if current == field => self.stage = CaptureStage::Open,
            CaptureStage::Open | CaptureStage::Capturing { .. } if !self.captured.contains(field) => {}
            _ => return CallbackEffect::NoChange,
        }
        self.captured.insert(field);
        self.authorization = None;
        CallbackEffect::Captured(field)
    }

    fn apply_wrong_entry(
        &mut self,
        field: Option<Field>,
        error: &EntryError,
        updated: Option<Timestamp>,
    ) -> CallbackEffect {
        let CaptureStage::Capturing { field: current, .. } = self.stage else { return CallbackEffect::NoChange };
        if field.is_some_and(|field| field != current) || !self.record_newest(current, updated, true) {
            return CallbackEffect::NoChange;
        }
        self.confirm_capture(current);
        self.stage = CaptureStage::Open;
        if *error == EntryError::Mismatch {
            // Either entry may be the mistyped one, so both are captured again.
            self.clear_field(current.base_field());
        }
        let times = &mut self.wrong_entries[current as usize];
        *times += 1;
        CallbackEffect::WrongEntry { field: current, error: error.clone(), wrong_entries: *times }
    }

    /// The payment.
    pub fn id(&self) -> PaymentId {
        self.id
    }

    /// The session's SID, once it is known.
    pub fn sid(&self) -> Option<&PaymentSid> {
        self.sid.as_ref()
    }

    /// Whether the session may have this SID.
    pub fn may_have_sid(&self, sid: &PaymentSid) -> bool {
        self.sid.as_ref().is_none_or(|known| known == sid)
    }

    /// Whether the callback is about this session.
    pub fn matches_callback(&self, callback: &PaymentCallback) -> bool {
        match &self.sid {
            Some(sid) => *sid == callback.payment_sid,
            None => callback.may_confirm(self.charge),
        }
    }

    /// Whether this action was requested last and its effect is not reported yet.
    pub fn is_awaiting(&self, action: UpdateAction) -> bool {
        match self.stage {
            CaptureStage::Capturing { field, .. } => action == UpdateAction::Capture(field),
            CaptureStage::Submitting => action == UpdateAction::Complete,
            CaptureStage::Cancelling => action == UpdateAction::Cancel,
            CaptureStage::Opening | CaptureStage::Open => false,
        }
    }

    /// The stage of the session.
    pub fn stage(&self) -> CaptureStage {
        self.stage
    }

    /// The amount to charge; `None` when the card or account is tokenized.
    pub fn charge(&self) -> Option<Amount> {
        self.charge
    }

    /// What is known of the payment.
    pub fn record(&self) -> PaymentRecord {
        let submitted = self.stage == CaptureStage::Submitting;
        let state = match self.stage {
            CaptureStage::Submitting => PaymentState::Submitted,
            _ if self.attempts.keys().any(|action| matches!(action, UpdateAction::Capture(_))) => {
                PaymentState::Capturing
            }
            _ => PaymentState::Opened,
        };
        let bank_debit = self.terms.method.name() == PaymentMethodName::AchDebit;
        let refusal = self.refusal.filter(|_| !submitted);
        let intent = PaymentIntent { charge: self.charge, bank_debit, submitted, refusal };
        PaymentRecord { state, intent, has_doubtful_success: false }
    }

    /// The field that the caller is asked to enter.
    pub fn awaited_field(&self) -> Option<Field> {
        if let CaptureStage::Capturing { field, .. } = self.stage { Some(field) } else { None }
    }

    /// The terms of the payment.
    pub fn terms(&self) -> &PaymentTerms {
        &self.terms
    }

    /// The last digits of the card or account, if Twilio has reported them.
    pub fn last4(&self) -> Option<Last4> {
        self.last4
    }

    /// Whether the caller has authorised what is entered now.
    pub fn is_authorized(&self) -> bool {
        self.authorization.is_some()
    }

    /// Records that the caller has authorised the submission of what is entered now.
    pub fn authorize(&mut self, authorization: ConsentRecord) {
        self.authorization = Some(authorization);
    }

    /// The payment method in conversation: `card` or `bank account`.
    pub fn spoken_method(&self) -> &'static str {
        self.terms.method.spoken_name()
    }

    /// The captured fields.
    pub fn captured(&self) -> Fields {
        self.captured
    }

    /// The fields that are still missing.
    pub fn missing(&self) -> Fields {
        self.needed.without(self.captured)
    }

    /// The field that is being entered, or else the next missing one.
    pub fn next_field(&self) -> Option<Field> {
        match self.stage {
            CaptureStage::Capturing { field, .. } => Some(field),
            _ => self.missing().iter().next(),
        }
    }

    fn confirm_open(&mut self, sid: &PaymentSid) {
        if self.stage == CaptureStage::Opening {
            self.sid = Some(sid.clone());
            self.stage = CaptureStage::Open;
            self.unconfirmed = None;
        }
    }

    /// Marks the capture request of a field as carried out, since a callback reports the field. A later request for the
    /// field gets a new key.
    fn confirm_capture(&mut self, field: Field) {
        if self.is_unconfirmed(RequestKind::Update(UpdateAction::Capture(field))) {
            self.unconfirmed = None;
        }
    }

    fn next_idempotency_key(&mut self, action: UpdateAction) -> IdempotencyKey {
        match &self.unconfirmed {
            Some((unconfirmed, key)) if *unconfirmed == RequestKind::Update(action) => key.clone(),
            _ => {
                self.unconfirmed = None;
                let attempts = self.attempts.entry(action).or_default();
                *attempts += 1;
                self.id.update_key(action, *attempts)
            }
        }
    }

    /// Returns whether a callback was applied before, and remembers it. Two callbacks without `DateUpdated` may be equal
    /// and both be new: the second one follows a further capture request.
    fn is_repeated(&mut self, callback: &PaymentCallback) -> bool {
        if matches!(callback.kind, CallbackKind::EntryInProgress { .. }) {
            return false;
        }
        let capture_requests = callback.date_updated.is_none().then(|| self.capture_requests());
        let is_same = |seen: &SeenCallback| {
            seen.digest == callback.digest
                && (seen.capture_requests.is_none() || seen.capture_requests == capture_requests)
        };
        if self.seen_callbacks.iter().any(is_same) {
            return true;
        }
        // Twilio may confirm a capture request and end its entry with equal callbacks; key presses lie between.
        if capture_requests.is_some() && matches!(callback.kind, CallbackKind::EntryEnded { .. }) {
            return false;
        }
        self.remember(SeenCallback { digest: callback.digest, capture_requests });
        false
    }

    fn remember(&mut self, callback: SeenCallback) {
        if self.seen_callbacks.len() == MAX_SEEN_CALLBACKS {
            self.seen_callbacks.pop_front();
        }
        self.seen_callbacks.push_back(callback);
    }

    /// The number of requests to capture a field, without retries of an unconfirmed one.
    fn capture_requests(&self) -> u32 {
        let captures = self.attempts.iter().filter(|(action, _)| matches!(action, UpdateAction::Capture(_)));
        captures.map(|(_, count)| count).sum()
    }

    /// Records the time of a callback about a field; returns whether none was newer.
    fn record_newest(&mut self, field: Field, updated: Option<Timestamp>, ended_entry: bool) -> bool {
        let Some(updated) = updated else { return true };
        let newest = &mut self.newest_callbacks[field as usize];
        let is_newer = newest.is_none_or(|newest| (updated, ended_entry) > newest);
        if is_newer {
            *newest = Some((updated, ended_entry));
        }
        is_newer
    }
}
