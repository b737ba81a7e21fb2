//! What the tools write: that Twilio is about to be asked, before it is, and what it answered.

use super::payment::{Find, of_call};
use super::{Error, Event, Ledger, Payment, Refused, State, Writing};
use crate::payment::{Answer, Change, Create, Due, IdempotencyKey, PaymentId, Update, is_decline};
use crate::phone_number::PhoneNumber;
use crate::redact::{Private, without_card_numbers};
use crate::relay::Setup;
use crate::sid::{CallSid, PaymentSid};

/// `PaymentMethod` of a payment that was not begun here.
const METHOD: &str = "credit-card";

/// The longest reference that is kept, in characters.
const MAX_TEXT: usize = 256;

/// The call that a payment is on, as far as the ledger wants to know it.
#[derive(Debug, Clone)]
pub struct OnCall {
    /// Which.
    pub sid: CallSid,
    /// The caller's number, where it is one that can be called.
    pub caller: Option<PhoneNumber>,
    /// What the business calls it: the call's parameter `callReference`.
    pub reference: Option<Private<String>>,
}

impl OnCall {
    /// What a call's first frame tells.
    pub fn new(setup: &Setup) -> Self {
        let parameter = |name: &str| {
            // Cut first: of a number that is cut in two too much would stay.
            let text = without_card_numbers(setup.custom_parameters.reveal().get(name)?);
            let text: String = text.chars().take(MAX_TEXT).collect();
            (!text.is_empty()).then(|| Private::new(text))
        };
        Self { sid: setup.call_sid.clone(), caller: setup.caller(), reference: parameter("callReference") }
    }
}

impl Ledger {
    /// Twilio is about to be asked for a session: nothing may be asked before this has succeeded.
    ///
    /// Whatever speaks against another payment now is looked up here, in the one transaction that also writes it down.
    pub async fn opening(&self, call: &OnCall, create: &Create) -> Result<(), Refused> {
        let mut writing = self.write().await?;
        let payment = if let Some(asked_before) = writing.find(Find::Id(create.id)).await? {
            asked_before
        } else {
            writing.stands_alone(call, create).await?;
            writing.may_start(call, create).await?;
            writing.insert(call, create.id, Some(create), None).await?
        };
        writing.append(&payment, &Event::Opening { key: &create.key }, None).await?;
        Ok(writing.commit().await?)
    }

    /// What Twilio answered when it was asked for a session.
    pub async fn created(&self, create: &Create, answer: &Answer) -> Result<(), Error> {
        let mut writing = self.write().await?;
        let Some(mut payment) = writing.find(Find::Id(create.id)).await? else { return Ok(()) };
        writing.append(&payment, &Event::Answered { to: "create", answer }, None).await?;
        // Whatever answers the repetition of a request tells nothing of what became of the first.
        let first = writing.asked(&payment, &create.key).await? == 1;
        match answer {
            Answer::Created(sid) => drop(writing.learn(&mut payment, sid).await?),
            Answer::Refused { code, .. } if first && payment.sid.is_none() => {
                writing.result(&payment, "not-created", *code).await?;
                payment.result = Some("not-created".to_owned());
                payment.result_code = *code;
                writing.advance(&mut payment, State::Declined).await?;
            }
            Answer::Gone if first && payment.sid.is_none() => {
                writing.advance(&mut payment, State::Abandoned).await?;
            }
            Answer::Refused { .. } | Answer::Gone | Answer::Accepted | Answer::Unknown => {}
        }
        writing.commit().await
    }

    /// Twilio is about to be asked for a change. To submit, nothing may be asked before this has succeeded.
    pub async fn asking(&self, call: &OnCall, update: &Update) -> Result<(), Refused> {
        let mut writing = self.write().await?;
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
                writing.commit().await?;
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
                if !writing.advance(&mut payment, State::Submitted).await? {
                    return Err(Refused::Over);
                }
            }
            Change::Capture(_) | Change::Cancel => {}
        }
        if let Some(why) = update.given_up {
            writing.give_up(&mut payment, why).await?;
        }
        let asking = Event::Asking { change: update.change, key: &update.key };
        writing.append(&payment, &asking, None).await?;
        Ok(writing.commit().await?)
    }

    /// What Twilio answered when it was asked for a change.
    pub async fn answered(&self, update: &Update, answer: &Answer) -> Result<(), Error> {
        let mut writing = self.write().await?;
        let Some(mut payment) = writing.meant(update).await? else { return Ok(()) };
        writing.append(&payment, &Event::Answered { to: update.change.word(), answer }, None).await?;
        // Accepted is not done: what became of it comes by callback. But what is refused was certainly not done, unless it was
        // asked before and left unanswered.
        let refused = matches!(answer, Answer::Refused { .. } | Answer::Gone) && update.change == Change::Complete;
        if refused && payment.state == State::Submitted && writing.asked(&payment, &update.key).await? == 1 {
            writing.advance(&mut payment, State::Capturing).await?;
            if let Answer::Refused { code, .. } = answer
                && is_decline(*code)
            {
                writing.declined(&payment, *code).await?;
            }
        }
        writing.commit().await
    }

    /// The call is over: nobody goes on with its payments. What was submitted is unknown until its result comes.
    pub async fn call_over(&self, call: &CallSid) -> Result<(), Error> {
        let open = |payment: &Payment| payment.state.is_open() || payment.state == State::Submitted;
        if !of_call(&self.0.readers, call).await?.iter().any(open) {
            return Ok(());
        }
        let mut writing = self.write().await?;
        for mut payment in of_call(&mut *writing.transaction, call).await?.into_iter().filter(open) {
            writing.give_up(&mut payment, "the call ended").await?;
        }
        writing.commit().await
    }
}

impl Writing {
    /// Whether a new payment may begin on the call. An older one that was given up is put away.
    async fn stands_alone(&mut self, call: &OnCall, create: &Create) -> Result<(), Refused> {
        if self.ledger.is_recovering(&call.sid) {
            return Err(Refused::Recovering);
        }
        for mut older in of_call(&mut *self.transaction, &call.sid).await.map_err(Refused::Unwritten)? {
            match older.state {
                State::Submitted | State::Unknown => return Err(Refused::Unsettled),
                // The call may have outlived the server, or the socket, that charged it and knew.
                State::Charged if matches!(create.terms.due, Due::Amount(_)) => return Err(Refused::Paid),
                State::Opened | State::Capturing => self.give_up(&mut older, "another was begun").await?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Nobody goes on with a payment.
    pub(super) async fn give_up(&mut self, payment: &mut Payment, why: &'static str) -> Result<(), Error> {
        let next = if payment.state == State::Submitted { State::Unknown } else { State::Abandoned };
        if payment.state.may_become(next) {
            self.append(payment, &Event::GivenUp { why }, None).await?;
            self.advance(payment, next).await?;
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
            "INSERT INTO payments (id, state, call_sid, payment_sid, caller, call_reference, description, minor, currency, \
             exponent, method, opened_at) VALUES (?, 'opened', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(id.to_string())
        .bind(call.sid.as_str())
        .bind(sid.map(PaymentSid::as_str))
        .bind(call.caller.as_ref().map(PhoneNumber::as_str))
        .bind(text(call.reference.as_ref()))
        .bind(description.map(|text| text.reveal().to_owned()))
        .bind(minor)
        .bind(charge.map(|amount| amount.currency().code().to_owned()))
        .bind(charge.map(|amount| amount.currency().exponent()))
        .bind(terms.map_or(METHOD, |terms| terms.method.name().wire()))
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

    pub(super) async fn result(&mut self, payment: &Payment, word: &str, code: Option<u32>) -> Result<(), Error> {
        sqlx::query("UPDATE payments SET result = ?, result_code = ? WHERE id = ?")
            .bind(word)
            .bind(code)
            .bind(payment.id.to_string())
            .execute(&mut *self.transaction)
            .await?;
        Ok(())
    }
}
