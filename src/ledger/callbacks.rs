//! What Twilio reports of a payment: written down before Twilio is answered, and once, however often and in whatever order
//! it comes. Key presses are not written.

use secrecy::ExposeSecret;
use uuid::Uuid;

use super::payment::{Find, of_call};
use super::{Error, Event, Ledger, OnCall, Payment, State, Writing};
use crate::payment::{Amount, Currency, Ending, Field, Ids, News, Outcome, Status};

/// What became of a callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reported {
    /// It is written down.
    Written,
    /// It was written down before, or there is nothing in it to write.
    Nothing,
    /// No payment of this ledger is meant.
    Unknown,
}

impl Ledger {
    /// Writes a callback down.
    pub async fn reported(&self, status: &Status) -> Result<Reported, Error> {
        if matches!(status.news, News::Entering { .. }) {
            return Ok(Reported::Nothing);
        }
        let mut writing = self.write().await?;
        let Some(mut payment) = writing.reported_on(status).await? else { return Ok(Reported::Unknown) };
        let learnt = writing.learn(&mut payment, &status.sid).await?;
        let (event, delivery) = (event(status), delivery(status));
        let appended = match &event {
            Some(event) => writing.append(&payment, event, delivery.as_deref()).await?,
            None => false,
        };
        if let (News::Ended(ending), true) = (&status.news, appended) {
            writing.end(&mut payment, ending).await?;
        }
        writing.commit().await?;
        Ok(if learnt || appended { Reported::Written } else { Reported::Nothing })
    }
}

impl Writing {
    /// The payment that a callback is about. A callback may be faster than the answer that names its session.
    async fn reported_on(&mut self, status: &Status) -> Result<Option<Payment>, Error> {
        if let Some(known) = self.find(Find::Sid(&status.sid)).await? {
            return Ok(Some(known));
        }
        let success = matches!(&status.news, News::Ended(ending) if ending.outcome == Outcome::Success);
        if success {
            // What was not submitted cannot succeed: this is none of the payments here, and money has moved all the same.
            return self.found(status).await.map(Some);
        }
        let of_call = of_call(&mut *self.transaction, &status.call).await?;
        Ok(of_call.into_iter().rev().find(|payment| payment.sid.is_none() && charges(payment, status)))
    }

    async fn found(&mut self, status: &Status) -> Result<Payment, Error> {
        let call = OnCall { sid: status.call.clone(), caller: None, reference: None };
        let id = Ids::new(Uuid::new_v4()).make();
        let payment = self.insert(&call, id, None, Some(&status.sid)).await?;
        let found = Event::Found { sid: &status.sid, charge: status.charge.as_deref() };
        self.append(&payment, &found, None).await?;
        Ok(payment)
    }

    async fn end(&mut self, payment: &mut Payment, ending: &Ending) -> Result<(), Error> {
        let next = State::after(ending, payment.amount.is_some());
        if !payment.state.may_become(next) {
            return Ok(());
        }
        self.result(payment, ending.outcome.word(), ending.outcome.code()).await?;
        sqlx::query(
            "UPDATE payments SET last4 = coalesce(?, last4), confirmation = ?, token = ?, profile = ? WHERE id = ?",
        )
        .bind(ending.last4.map(|last4| last4.to_string()))
        .bind(&ending.confirmation)
        .bind(ending.token.as_ref().map(ExposeSecret::expose_secret))
        .bind(&ending.profile)
        .bind(payment.id.to_string())
        .execute(&mut *self.transaction)
        .await?;
        let written = self.find(Find::Id(payment.id)).await?;
        *payment = written.ok_or(Error::Unreadable("a row that was just written"))?;
        if self.advance(payment, next).await? && ending.outcome.is_decline() {
            self.declined(payment, ending.outcome.code()).await?;
        }
        Ok(())
    }
}

/// Whether the amount of a callback, where it has one, is that of the payment.
fn charges(payment: &Payment, status: &Status) -> bool {
    let Some(text) = &status.charge else { return true };
    let currency = payment.amount.map_or(Currency::USD, Amount::currency);
    Amount::parse(text, currency) == Ok(payment.amount)
}

fn event(status: &Status) -> Option<Event<'_>> {
    match &status.news {
        News::Entering { .. } | News::Exists => None,
        // PartialResult=false alone is no success: it also answers our own request for the field.
        News::Entered { field, present } => {
            let done = status.required.map_or(*present, |required| !required.contains(*field));
            done.then_some(Event::Entered { field: *field, last4: status.last4 })
        }
        News::Wrong { field, error } => Some(Event::Wrong { field: *field, error }),
        News::Ended(ending) => Some(Event::Ended { outcome: &ending.outcome }),
    }
}

/// What is the same on each delivery of a callback: Twilio's token, or else what it says and when. A result comes once.
fn delivery(status: &Status) -> Option<String> {
    if let Some(token) = &status.delivery {
        return Some(token.clone());
    }
    let what = match &status.news {
        News::Ended(ending) => return Some(format!("result {}", ending.outcome)),
        News::Entered { field, .. } => format!("entered {}", field.wire()),
        News::Wrong { field, .. } => format!("wrong {}", field.map_or("", Field::wire)),
        News::Entering { .. } | News::Exists => return None,
    };
    status.updated.map(|updated| format!("{what} {updated}"))
}
