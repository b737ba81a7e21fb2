//! What the tools write: that Twilio is about to be asked, before it is, and what it answered.

use std::sync::atomic::Ordering;

use super::orders::order_key;
use super::payment::REFUSED;
use super::payment::{Find, of_call};
use super::{Error, Event, Ledger, Payment, Record, Refused, State, Writing};
use crate::payment::{
    Answer, Change, Create, IdempotencyKey, Outcome, PaymentId, Update, parameter_in_any_spelling, reference,
};
use crate::phone_number::PhoneNumber;
use crate::redact::Private;
use crate::relay::Setup;
use crate::sid::{CallSid, PaymentSid};

/// `PaymentMethod` of a payment that was not begun here.
const METHOD: &str = "credit-card";

/// The call that a payment is on, as far as the ledger wants to know it.
#[derive(Debug, Clone)]
pub struct OnCall {
    /// Which.
    pub sid: CallSid,
    /// The caller's number, where it is one that can be called.
    pub caller: Option<PhoneNumber>,
    /// What the business calls it: the call's parameter `callReference`.
    pub reference: Option<Private<String>>,
    /// What the business calls the debt, where that is another word: the call's parameter `orderReference`.
    pub order: Option<Private<String>>,
    /// What tells one order from another: see [`order_key`].
    pub(super) order_key: Option<String>,
}

impl OnCall {
    /// What a call's first frame tells.
    pub fn new(setup: &Setup) -> Self {
        let given = setup.custom_parameters.reveal();
        let parameter = |name: &str| reference(parameter_in_any_spelling(given, name)?);
        let (reference, order) = (parameter("callReference"), parameter("orderReference"));
        // Of the whole text: two orders must not become one by what is cut.
        let whole = |name: &str| parameter_in_any_spelling(given, name).filter(|text| !text.trim().is_empty());
        let order_key = whole("orderReference").or_else(|| whole("callReference")).map(order_key);
        Self { sid: setup.call_sid.clone(), caller: setup.caller(), reference, order, order_key }
    }

    /// A call of which nothing is known.
    pub fn unknown(sid: CallSid) -> Self {
        Self { sid, caller: None, reference: None, order: None, order_key: None }
    }
}

impl Ledger {
    /// Twilio is about to be asked for a session: nothing may be asked before this has succeeded.
    ///
    /// Whatever speaks against another payment now is looked up here, in the one transaction that also writes it down.
    pub async fn opening(&self, call: &OnCall, create: &Create) -> Result<(), Refused> {
        let mut writing = self.write_decision().await?;
        self.note_refusal(open(&mut writing, call, create).await)?;
        Ok(writing.commit().await?)
    }

    /// What Twilio answered when it was asked for a session.
    pub async fn created(&self, create: &Create, answer: &Answer) -> Result<(), Error> {
        self.record(Record::Created(Box::new(create.clone()), answer.clone())).await.map(drop)
    }

    /// Twilio is about to be asked for a change. To submit, nothing may be asked before this has succeeded.
    pub async fn asking(&self, call: &OnCall, update: &Update) -> Result<(), Refused> {
        if update.change == Change::Cancel {
            let record = Record::Cancelling(call.clone(), Box::new(update.clone()));
            return Ok(self.record(record).await.map(drop)?);
        }
        let mut writing = self.write_decision().await?;
        let asked = self.note_refusal(ask(&mut writing, call, update).await);
        // That a guard speaks against it is written down too.
        if matches!(asked, Ok(()) | Err(Refused::Barred(_))) {
            writing.commit().await?;
        }
        asked
    }

    /// What Twilio answered when it was asked for a change.
    pub async fn answered(&self, update: &Update, answer: &Answer) -> Result<(), Error> {
        self.record(Record::Answered(Box::new(update.clone()), answer.clone())).await.map(drop)
    }

    /// The call is over: nobody goes on with its payments. What was submitted is unknown until its result comes.
    pub async fn call_over(&self, call: &CallSid) -> Result<(), Error> {
        let payments = of_call(&self.0.readers, call).await;
        if payments.is_ok_and(|payments| !payments.iter().any(is_going_on)) {
            return Ok(());
        }
        self.record(Record::CallOver(call.clone())).await.map(drop)
    }
}

async fn open(writing: &mut Writing, call: &OnCall, create: &Create) -> Result<(), Refused> {
    let payment = if let Some(asked_before) = writing.find(Find::Id(create.id)).await? {
        asked_before
    } else {
        let call = writing.with_known_order(call).await?;
        writing.check_order(&call, create).await?;
        writing.may_start(&call, create).await?;
        let payment = writing.insert(&call, create.id, Some(create), None).await?;
        if let Some(agreed) = &create.agreed {
            writing.append(&payment, &Event::Agreed { agreed }, None).await?;
        }
        payment
    };
    writing.append(&payment, &Event::Opening { key: &create.key }, None).await?;
    Ok(())
}

pub(super) async fn record_created(writing: &mut Writing, create: &Create, answer: &Answer) -> Result<(), Error> {
    let Some(mut payment) = writing.find(Find::Id(create.id)).await? else { return Ok(()) };
    writing.append(&payment, &Event::Answered { to: "create", answer }, None).await?;
    // Whatever answers the repetition of a request tells nothing of what became of the first.
    let first = writing.asked(&payment, &create.key).await? == 1;
    let not_done = answer.is_certainly_not_done(!first) && payment.sid.is_none();
    match answer {
        Answer::Created(sid) => drop(writing.learn(&mut payment, sid).await?),
        Answer::Refused { code, .. } if not_done => {
            writing.result(&mut payment, "not-created", *code, None).await?;
            writing.advance(&mut payment, State::Failed).await?;
        }
        Answer::Gone if not_done => {
            writing.advance(&mut payment, State::Abandoned).await?;
        }
        Answer::Refused { .. } | Answer::Gone | Answer::Accepted | Answer::Unknown => {}
    }
    Ok(())
}

async fn ask(writing: &mut Writing, call: &OnCall, update: &Update) -> Result<(), Refused> {
    let mut payment = match writing.meant(update).await? {
        Some(payment) => payment,
        // A session that nobody here asked for is cancelled.
        None if update.change == Change::Cancel => {
            let payment = writing.insert(call, update.id, None, Some(&update.sid)).await?;
            let found = Event::Found { sid: &update.sid, charge: None };
            writing.append(&payment, &found, None).await?;
            payment
        }
        None => return Err(Refused::Over),
    };
    writing.learn(&mut payment, &update.sid).await?;
    let repeats = update.change == Change::Complete && !payment.state.may_become(State::Submitted);
    if !repeats && let Err(refused) = writing.may_go_on(&payment, update.change).await {
        if let Refused::Barred(bar) = refused {
            writing.append(&payment, &Event::Barred { bar, change: update.change }, None).await?;
        }
        return Err(refused);
    }
    match update.change {
        Change::Capture(_) if payment.state == State::Opened => {
            writing.advance(&mut payment, State::Capturing).await?;
        }
        // The same request once more, and never another beside it.
        Change::Complete if payment.state == State::Submitted => {
            if writing.asked(&payment, &update.key).await? == 0 {
                return Err(Refused::Over);
            }
        }
        Change::Complete => {
            writing.check_submission(&payment).await?;
            if !writing.advance(&mut payment, State::Submitted).await? {
                return Err(Refused::Over);
            }
            writing.forget_refusal(&mut payment).await?;
        }
        Change::Capture(_) | Change::Cancel => {}
    }
    if let Some(why) = update.given_up {
        writing.give_up(&mut payment, why).await?;
    }
    let asking = Event::Asking { change: update.change, key: &update.key };
    writing.append(&payment, &asking, None).await?;
    Ok(())
}

/// Nothing but the ledger itself speaks against a cancellation.
pub(super) async fn record_cancelling(writing: &mut Writing, call: &OnCall, update: &Update) -> Result<(), Error> {
    match ask(writing, call, update).await {
        Err(Refused::Unwritten(error)) => Err(error),
        _ => Ok(()),
    }
}

pub(super) async fn record_answered(writing: &mut Writing, update: &Update, answer: &Answer) -> Result<(), Error> {
    let Some(mut payment) = writing.meant(update).await? else { return Ok(()) };
    writing.append(&payment, &Event::Answered { to: update.change.word(), answer }, None).await?;
    // Accepted is not done: the result comes by callback.
    let submitted = update.change == Change::Complete && payment.state == State::Submitted;
    if submitted && answer.is_certainly_not_done(writing.asked(&payment, &update.key).await? > 1) {
        writing.not_submitted(&mut payment, answer).await?;
    }
    Ok(())
}

pub(super) async fn record_call_over(writing: &mut Writing, call: &CallSid) -> Result<(), Error> {
    for mut payment in of_call(&mut *writing.transaction, call).await?.into_iter().filter(is_going_on) {
        writing.give_up(&mut payment, "the call ended").await?;
    }
    Ok(())
}

fn is_going_on(payment: &Payment) -> bool {
    payment.state.is_open() || payment.state == State::Submitted
}

impl Writing {
    /// What is submitted anew was not refused yet.
    async fn forget_refusal(&mut self, payment: &mut Payment) -> Result<(), Error> {
        if payment.refusal().is_some() {
            payment.result = None;
            sqlx::query("UPDATE payments SET result = NULL, result_code = NULL, result_text = NULL WHERE id = ?")
                .bind(payment.id.to_string())
                .execute(&mut *self.transaction)
                .await?;
        }
        Ok(())
    }

    /// Twilio certainly did not take the submission.
    async fn not_submitted(&mut self, payment: &mut Payment, answer: &Answer) -> Result<(), Error> {
        self.advance(payment, State::Capturing).await?;
        sqlx::query("UPDATE payments SET submitted_at = NULL WHERE id = ?")
            .bind(payment.id.to_string())
            .execute(&mut *self.transaction)
            .await?;
        payment.submitted_at = None;
        let Answer::Refused { code, .. } = answer else { return Ok(()) };
        self.result(payment, REFUSED, *code, None).await?;
        // What is missing or out of order (64018, 64019) says nothing of the card.
        let of_the_card =
            Outcome::of_refusal(*code) == Outcome::Declined || !matches!(code, None | Some(64018..=64021));
        if of_the_card { self.card_failed(payment, *code, true).await } else { Ok(()) }
    }

    /// Nobody goes on with a payment.
    pub(super) async fn give_up(&mut self, payment: &mut Payment, why: &'static str) -> Result<(), Error> {
        let next = match (payment.state, payment.refusal()) {
            (State::Submitted, _) => State::Unknown,
            (_, Some(Outcome::Declined)) => State::Declined,
            (_, Some(_)) => State::Failed,
            (_, None) => State::Abandoned,
        };
        if payment.state.may_become(next) {
            self.append(payment, &Event::GivenUp { why }, None).await?;
            self.advance(payment, next).await?;
            // Whatever its result will be: as far as is known the card did not succeed.
            if next == State::Unknown && !self.is_taken_for_failed(payment).await? {
                self.card_failed(payment, None, false).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn insert(
        &mut self,
        call: &OnCall,
        id: PaymentId,
        create: Option<&Create>,
        sid: Option<&PaymentSid>,
    ) -> Result<Payment, Error> {
        let charge = create.and_then(|create| create.charge);
        let terms = create.map(|create| &*create.terms);
        let description = terms.and_then(|terms| terms.description.as_ref());
        let minor = charge.map(|amount| i64::try_from(amount.minor()).expect("amounts are below 10^9 minor units"));
        let text = |text: Option<&Private<String>>| text.map(|text| text.reveal().clone());
        sqlx::query(
            "INSERT INTO payments (id, state, call_sid, payment_sid, caller, call_reference, order_reference, \
             order_key, description, minor, currency, exponent, method, live, opened_at) \
             VALUES (?, 'opened', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(id.to_string())
        .bind(call.sid.as_str())
        .bind(sid.map(PaymentSid::as_str))
        .bind(call.caller.as_ref().map(PhoneNumber::as_str))
        .bind(text(call.reference.as_ref()))
        .bind(text(call.order.as_ref()))
        .bind(&call.order_key)
        .bind(description.map(|text| text.reveal().to_owned()))
        .bind(minor)
        .bind(charge.map(|amount| amount.currency().code().to_owned()))
        .bind(charge.map(|amount| amount.currency().exponent()))
        .bind(terms.map_or(METHOD, |terms| terms.method.name().wire()))
        .bind(self.ledger.0.live.load(Ordering::Relaxed))
        .bind(self.now.as_millisecond())
        .execute(&mut *self.transaction)
        .await?;
        self.find(Find::Id(id)).await?.ok_or(Error::Unreadable("a row that was just written"))
    }

    /// The payment that an update is about. One that the call did not open is known by its session alone.
    async fn meant(&mut self, update: &Update) -> Result<Option<Payment>, Error> {
        match self.find(Find::Id(update.id)).await? {
            Some(payment) => Ok(Some(payment)),
            None => self.find(Find::Sid(&update.sid)).await,
        }
    }

    /// Notes the SID of a session, if it was not known.
    pub(super) async fn learn(&mut self, payment: &mut Payment, sid: &PaymentSid) -> Result<bool, Error> {
        if payment.sid.is_some() || self.find(Find::Sid(sid)).await?.is_some() {
            return Ok(false);
        }
        sqlx::query("UPDATE payments SET payment_sid = ? WHERE id = ?")
            .bind(sid.as_str())
            .bind(payment.id.to_string())
            .execute(&mut *self.transaction)
            .await?;
        payment.sid = Some(sid.clone());
        self.append(payment, &Event::Opened { sid }, None).await?;
        Ok(true)
    }

    /// How often Twilio was asked with this key.
    async fn asked(&mut self, payment: &Payment, key: &IdempotencyKey) -> Result<i64, Error> {
        let query = "SELECT count(*) FROM events WHERE payment_id = ? AND kind IN ('opening', 'asking') \
             AND json_extract(data, '$.key') = ?";
        let asked = sqlx::query_scalar(query).bind(payment.id.to_string()).bind(key.as_str());
        Ok(asked.fetch_one(&mut *self.transaction).await?)
    }

    /// Records Twilio's result: its word, the code that explains it, and the words beside it.
    pub(super) async fn result(
        &mut self,
        payment: &mut Payment,
        word: &str,
        code: Option<u32>,
        text: Option<&str>,
    ) -> Result<(), Error> {
        payment.result = Some(word.to_owned());
        payment.result_code = code;
        payment.result_text = text.map(str::to_owned);
        sqlx::query("UPDATE payments SET result = ?, result_code = ?, result_text = ? WHERE id = ?")
            .bind(word)
            .bind(code)
            .bind(text)
            .bind(payment.id.to_string())
            .execute(&mut *self.transaction)
            .await?;
        Ok(())
    }
}
