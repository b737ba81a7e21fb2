//! One payment session as a state machine: which request fits the moment, and what a callback means.
//!
//! Callbacks arrive in any order, twice, and before the answer to the request that caused them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

use super::{
    Agreed, Amount, Change, Create, Ending, EntryError, Field, Fields, IdempotencyKey, Intent, MethodName, News,
    PaymentId, ResultWord, Status, Terms, Update, is_amount,
};
use crate::sid::PaymentSid;

/// How many deliveries are remembered to recognise one that comes twice.
const DELIVERIES: usize = 64;

/// How often `complete` may be refused in one session: each time may be a new attempt to charge.
const MAX_REFUSALS: u32 = 3;

/// A payment session that has not ended, as far as is known.
#[derive(Debug)]
pub struct Capture {
    id: PaymentId,
    terms: Arc<Terms>,
    needed: Fields,
    charge: Option<Amount>,
    sid: Option<PaymentSid>,
    stage: Stage,
    captured: Fields,
    /// Twilio's last word on what is missing.
    required: Option<Fields>,
    /// The last request, if nobody knows whether it was carried out: repeating it repeats its key.
    unconfirmed: Option<(Asked, IdempotencyKey)>,
    /// How often each change was asked for, those not counted that repeat an unconfirmed one.
    attempts: HashMap<Change, u32>,
    /// For each field, the newest callback: its date, and whether it ended an entry.
    newest: [Option<(Timestamp, bool)>; Field::ALL.len()],
    wrong: [u32; Field::ALL.len()],
    /// The field was entered before and is asked for again: without `Required` only new keys tell old from new.
    again: bool,
    /// How often `complete` was asked for and refused.
    refusals: u32,
    deliveries: VecDeque<String>,
    agreed: Option<Agreed>,
}

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Create was asked for; no SID yet.
    Opening,
    /// Nothing is being entered.
    Open,
    /// The caller is to enter a field.
    Capturing {
        /// The field.
        field: Field,
        /// Keys so far, as the masks tell.
        keys: usize,
    },
    /// Complete was asked for: the result comes by callback alone.
    Submitting,
    /// Cancel was asked for.
    Cancelling,
}

/// What Twilio's REST API answered to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The session was created.
    Created(PaymentSid),
    /// The update was accepted; not that it worked.
    Accepted,
    /// Nothing was done, for this reason.
    Refused {
        /// Twilio's error code.
        code: Option<u32>,
        /// What to tell the model.
        reason: &'static str,
    },
    /// The call or the session is over.
    Gone,
    /// It may or may not have been done.
    Unknown,
}

/// Why a request does not fit the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misfit {
    /// A session is open already.
    AlreadyOpen,
    /// Twilio has not confirmed the session.
    NotConfirmed,
    /// This payment does not ask for the field.
    NotNeeded(Field),
    /// The security code needs the card number first.
    CardFirst,
    /// Another field is being entered.
    Busy(Field),
    /// Fields are missing.
    Missing(Fields),
    /// It was submitted: only the result can come now.
    Submitted,
    /// It is being cancelled.
    Cancelling,
    /// Submitting was refused too often.
    RefusedTooOften,
}

/// What a callback means for the call.
#[derive(Debug)]
pub enum Meaning {
    /// Nothing that was not known.
    Nothing,
    /// The session is open: the callback came before the answer.
    Opened,
    /// A key was pressed.
    Progress,
    /// A field is in.
    Captured(Field),
    /// An entry was wrong.
    Wrong {
        /// The field.
        field: Field,
        /// What was wrong.
        error: EntryError,
        /// How often this field was wrong so far.
        times: u32,
    },
    /// The session is over.
    Ended(Box<Ending>),
}

impl Answer {
    /// Whether Twilio says that it did nothing.
    pub fn is_negative(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Gone)
    }

    /// Whether the request that this answers was certainly not carried out: a refusal says so, unless the same request was sent
    /// before and left unanswered; it may have been carried out then.
    pub fn is_certainly_not_done(&self, sent_before: bool) -> bool {
        self.is_negative() && !sent_before
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Create,
    Update(Change),
}

impl Capture {
    /// Opens a session on these terms; without an amount the card, or the account, is tokenized.
    pub fn open(id: PaymentId, terms: &Arc<Terms>, charge: Option<Amount>, agreed: Option<Agreed>) -> (Self, Create) {
        let capture = Self {
            id,
            terms: terms.clone(),
            needed: terms.fields(),
            charge,
            sid: None,
            stage: Stage::Opening,
            captured: Fields::default(),
            required: None,
            unconfirmed: None,
            attempts: HashMap::new(),
            newest: Default::default(),
            wrong: Default::default(),
            again: false,
            refusals: 0,
            deliveries: VecDeque::new(),
            agreed: agreed.clone(),
        };
        (capture, Create { id, key: id.create_key(), charge, terms: terms.clone(), agreed })
    }

    /// Asks for the same session once more, with the same key, after Twilio left the first request unanswered.
    pub fn open_again(&self, charge: Option<Amount>) -> Result<Create, Misfit> {
        if self.stage != Stage::Opening {
            return Err(Misfit::AlreadyOpen);
        }
        if !matches!(self.unconfirmed, Some((Asked::Create, _))) || charge != self.charge {
            return Err(Misfit::NotConfirmed);
        }
        let (terms, agreed) = (self.terms.clone(), self.agreed.clone());
        Ok(Create { id: self.id, key: self.id.create_key(), charge, terms, agreed })
    }

    /// Takes a change if it fits the moment. A field that is in is asked for once more where its matcher is missing.
    pub fn request(&mut self, change: Change) -> Result<Update, Misfit> {
        let change = match change {
            Change::Capture(field) => Change::Capture(self.missing_matcher(field).unwrap_or(field)),
            change => change,
        };
        let repeated = matches!(self.unconfirmed, Some((Asked::Update(unconfirmed), _)) if unconfirmed == change);
        self.stage = match (self.stage, change) {
            (Stage::Opening, _) => return Err(Misfit::NotConfirmed),
            (Stage::Submitting, Change::Complete) | (Stage::Cancelling, Change::Cancel) if repeated => self.stage,
            (Stage::Submitting, _) => return Err(Misfit::Submitted),
            (Stage::Cancelling, _) => return Err(Misfit::Cancelling),
            (_, Change::Capture(field)) => self.capture(field)?,
            (_, Change::Complete) if self.refusals >= MAX_REFUSALS => return Err(Misfit::RefusedTooOften),
            (_, Change::Complete) => self.complete()?,
            (_, Change::Cancel) => Stage::Cancelling,
        };
        let sid = self.sid.clone().ok_or(Misfit::NotConfirmed)?;
        Ok(Update { id: self.id, sid, key: self.key(change), change, given_up: None })
    }

    fn missing_matcher(&self, field: Field) -> Option<Field> {
        let matcher = field.matcher()?;
        (self.captured.contains(field) && self.missing().contains(matcher)).then_some(matcher)
    }

    fn capture(&mut self, field: Field) -> Result<Stage, Misfit> {
        if !self.needed.contains(field) {
            return Err(Misfit::NotNeeded(field));
        }
        if field == Field::SecurityCode && !self.captured.contains(Field::CardNumber) {
            return Err(Misfit::CardFirst);
        }
        match self.stage {
            Stage::Capturing { field: current, .. } if current != field && !self.captured.contains(field) => {
                return Err(Misfit::Busy(current));
            }
            _ => {}
        }
        // A matcher's value may stand under its field's name.
        self.again = self.captured.contains(field) || field.is_matcher();
        self.forget(field);
        Ok(Stage::Capturing { field, keys: 0 })
    }

    /// A field is not in, or no longer; nor is then what repeats it.
    fn forget(&mut self, field: Field) {
        self.captured.remove(field);
        if let Some(matcher) = field.matcher() {
            self.captured.remove(matcher);
        }
    }

    fn complete(&self) -> Result<Stage, Misfit> {
        match self.stage {
            Stage::Capturing { field, .. } => Err(Misfit::Busy(field)),
            _ if !self.missing().is_empty() => Err(Misfit::Missing(self.missing())),
            _ => Ok(Stage::Submitting),
        }
    }

    /// Takes Twilio's answer to `create` and tells what it amounts to: a refusal of a request that was sent before, and may
    /// have been carried out then, is no refusal. The SID may be known already, from a callback that was faster.
    pub fn create_answered(&mut self, create: &Create, answer: Answer) -> Answer {
        let answer = self.in_doubt(Asked::Create, answer);
        match &answer {
            Answer::Created(sid) => self.confirm_open(sid),
            Answer::Unknown if self.stage == Stage::Opening => {
                self.unconfirmed = Some((Asked::Create, create.key.clone()));
            }
            _ => {}
        }
        answer
    }

    /// Takes Twilio's answer to `update` and tells what it amounts to, as [`create_answered`](Self::create_answered) does.
    pub fn update_answered(&mut self, update: &Update, answer: Answer) -> Answer {
        let asked = Asked::Update(update.change);
        let answer = self.in_doubt(asked, answer);
        match &answer {
            Answer::Refused { code, .. } => self.refused(update.change, *code),
            // The session is gone, and what was not submitted before cannot succeed.
            Answer::Gone if self.stage == Stage::Submitting && update.change == Change::Complete => {
                self.stage = Stage::Open;
            }
            Answer::Unknown => self.unconfirmed = Some((asked, update.key.clone())),
            Answer::Accepted if matches!(self.unconfirmed, Some((unconfirmed, _)) if unconfirmed == asked) => {
                self.unconfirmed = None;
            }
            _ => {}
        }
        answer
    }

    /// Whatever answers the repetition of a request tells nothing of what became of the first.
    fn in_doubt(&self, asked: Asked, answer: Answer) -> Answer {
        let doubtful = matches!(self.unconfirmed, Some((unconfirmed, _)) if unconfirmed == asked);
        let repeatable = matches!(asked, Asked::Create | Asked::Update(Change::Complete));
        if repeatable && answer.is_negative() && !answer.is_certainly_not_done(doubtful) {
            Answer::Unknown
        } else {
            answer
        }
    }

    fn refused(&mut self, change: Change, code: Option<u32>) {
        let refused = match (self.stage, change) {
            (Stage::Capturing { field, .. }, Change::Capture(asked)) => field == asked,
            (Stage::Submitting, Change::Complete) | (Stage::Cancelling, Change::Cancel) => true,
            _ => false,
        };
        if refused {
            self.stage = Stage::Open;
            self.refusals += u32::from(change == Change::Complete && code != Some(64019));
        }
        // 64019: something is still required, and Twilio is the one who knows what.
        if let (Change::Complete, Some(64019), Some(required)) = (change, code, self.required) {
            self.captured = self.captured.without(required);
        }
    }

    /// Takes a callback of this session. One that comes twice, or is overtaken by a newer one, means nothing.
    pub fn told(&mut self, status: &Status) -> Meaning {
        if self.is_repeated(status) {
            return Meaning::Nothing;
        }
        let was_opening = self.stage == Stage::Opening;
        self.confirm_open(&status.sid);
        self.required = status.required.or(self.required);
        match &status.news {
            News::Exists if was_opening => Meaning::Opened,
            News::Ended(ending) => Meaning::Ended(ending.clone()),
            News::Entering { field, keys } if self.is_news(*field, status.updated, false) => {
                self.entering(*field, *keys)
            }
            News::Entered { field, present } if self.is_news(*field, status.updated, true) => {
                let stale = self.again && status.required.is_none();
                if !stale && status.is_entered(*field, *present) { self.entered(*field) } else { Meaning::Nothing }
            }
            News::Wrong { field, error } => self.wrong(*field, error, status.updated),
            News::Exists | News::Entering { .. } | News::Entered { .. } => Meaning::Nothing,
        }
    }

    fn entering(&mut self, field: Field, keys: usize) -> Meaning {
        self.confirm_capture(field);
        match &mut self.stage {
            Stage::Capturing { field: current, keys: so_far } if *current == field => {
                *so_far = keys;
                self.again = false;
                Meaning::Progress
            }
            _ => Meaning::Nothing,
        }
    }

    fn entered(&mut self, field: Field) -> Meaning {
        self.confirm_capture(field);
        match self.stage {
            Stage::Capturing { field: current, .. } if current == field => self.stage = Stage::Open,
            Stage::Open | Stage::Capturing { .. } if !self.captured.contains(field) => {}
            _ => return Meaning::Nothing,
        }
        self.captured.insert(field);
        Meaning::Captured(field)
    }

    fn wrong(&mut self, field: Option<Field>, error: &EntryError, updated: Option<Timestamp>) -> Meaning {
        let Stage::Capturing { field: current, .. } = self.stage else { return Meaning::Nothing };
        if field.is_some_and(|field| field != current) || !self.is_news(current, updated, true) {
            return Meaning::Nothing;
        }
        self.confirm_capture(current);
        self.stage = Stage::Open;
        if *error == EntryError::Mismatch {
            // Which of the two was mistyped nobody knows: both are entered anew.
            self.forget(current.first());
        }
        let times = &mut self.wrong[current as usize];
        *times += 1;
        Meaning::Wrong { field: current, error: error.clone(), times: *times }
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
    pub fn may_be(&self, sid: &PaymentSid) -> bool {
        self.sid.as_ref().is_none_or(|known| known == sid)
    }

    /// Whether the callback is about this session. As long as its SID is not known, one with another amount is not, and
    /// neither is a success: what was not submitted cannot succeed.
    pub fn is_meant(&self, status: &Status) -> bool {
        let success = matches!(&status.news, News::Ended(ending) if ending.result == ResultWord::Success);
        match &self.sid {
            Some(sid) => *sid == status.sid,
            None => !success && status.charge.as_ref().is_none_or(|charge| is_amount(charge, self.charge)),
        }
    }

    /// Whether this is what was asked for last and has not come about.
    pub fn awaits(&self, change: Change) -> bool {
        match self.stage {
            Stage::Capturing { field, .. } => change == Change::Capture(field),
            Stage::Submitting => change == Change::Complete,
            Stage::Cancelling => change == Change::Cancel,
            Stage::Opening | Stage::Open => false,
        }
    }

    /// Where the session stands.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// What is charged; `None` when the card, or the account, is tokenized.
    pub fn charge(&self) -> Option<Amount> {
        self.charge
    }

    /// What its outcome depends on.
    pub fn intent(&self) -> Intent {
        let bank_debit = self.terms.method.name() == MethodName::AchDebit;
        Intent { charge: self.charge, bank_debit, submitted: self.stage == Stage::Submitting }
    }

    /// What is paid with, in the words of a conversation: `card` or `bank account`.
    pub fn means(&self) -> &'static str {
        self.terms.method.means()
    }

    /// What is in.
    pub fn captured(&self) -> Fields {
        self.captured
    }

    /// What is not in.
    pub fn missing(&self) -> Fields {
        self.needed.without(self.captured)
    }

    /// The field that is to be entered now or next.
    pub fn next_field(&self) -> Option<Field> {
        match self.stage {
            Stage::Capturing { field, .. } => Some(field),
            _ => self.missing().iter().next(),
        }
    }

    fn confirm_open(&mut self, sid: &PaymentSid) {
        if self.stage == Stage::Opening {
            self.sid = Some(sid.clone());
            self.stage = Stage::Open;
            self.unconfirmed = None;
        }
    }

    /// A callback about a field shows that the request for it was carried out: asking again is a new request.
    fn confirm_capture(&mut self, field: Field) {
        if matches!(self.unconfirmed, Some((Asked::Update(Change::Capture(asked)), _)) if asked == field) {
            self.unconfirmed = None;
        }
    }

    fn key(&mut self, change: Change) -> IdempotencyKey {
        match &self.unconfirmed {
            Some((unconfirmed, key)) if *unconfirmed == Asked::Update(change) => key.clone(),
            _ => {
                self.unconfirmed = None;
                let attempts = self.attempts.entry(change).or_default();
                *attempts += 1;
                self.id.change_key(change, *attempts)
            }
        }
    }

    fn is_repeated(&mut self, status: &Status) -> bool {
        let Some(delivery) = &status.delivery else { return false };
        if self.deliveries.contains(delivery) {
            return true;
        }
        if self.deliveries.len() == DELIVERIES {
            self.deliveries.pop_front();
        }
        self.deliveries.push_back(delivery.clone());
        false
    }

    fn is_news(&mut self, field: Field, updated: Option<Timestamp>, over: bool) -> bool {
        let Some(updated) = updated else { return true };
        let newest = &mut self.newest[field as usize];
        let news = newest.is_none_or(|newest| (updated, over) > newest);
        if news {
            *newest = Some((updated, over));
        }
        news
    }
}
