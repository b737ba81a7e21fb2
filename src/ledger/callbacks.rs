//! What Twilio reports of a payment: written down before Twilio is answered, and once, however often and in whatever order
//! it comes. Key presses are not written.

use secrecy::ExposeSecret;
use uuid::Uuid;

use super::payment::{Find, of_call};
use super::{Alert, Error, Event, Ledger, OnCall, Payment, Record, State, Writing};
use crate::payment::{Ending, Field, Ids, Last4, News, Outcome, ResultWord, Status, is_amount};

/// What became of a callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reported {
    /// It is written down.
    Written,
    /// It cannot be written now, and will be as soon as that goes.
    Held,
    /// It was written down before, or there is nothing in it to write.
    Nothing,
    /// No payment of this ledger is meant.
    Unknown,
}

impl Ledger {
    /// Writes a callback down, or holds it until it can be written.
    pub async fn reported(&self, status: &Status) -> Result<Reported, Error> {
        if matches!(status.news, News::Entering { .. }) {
            return Ok(Reported::Nothing);
        }
        self.record(Record::Callback(Box::new(status.clone()))).await
    }
}

pub(super) async fn record(writing: &mut Writing, status: &Status) -> Result<Reported, Error> {
    let Some(mut payment) = writing.reported_on(status).await? else { return Ok(Reported::Unknown) };
    let learnt = writing.learn(&mut payment, &status.sid).await?;
    let outcome = outcome_of(&payment, status);
    let (event, delivery) = (event(status, outcome), delivery(status));
    let appended = match &event {
        Some(event) => writing.append(&payment, event, delivery.as_deref()).await?,
        None => false,
    };
    if let (Some(Event::Entered { last4: Some(last4), .. }), true) = (&event, appended) {
        writing.note_last4(&payment, *last4).await?;
    }
    if let (News::Ended(ending), Some(outcome), true) = (&status.news, outcome, appended) {
        writing.end(&mut payment, ending, outcome).await?;
    }
    Ok(if learnt || appended { Reported::Written } else { Reported::Nothing })
}

impl Writing {
    /// The payment that a callback is about. A callback may be faster than the answer that names its session.
    async fn reported_on(&mut self, status: &Status) -> Result<Option<Payment>, Error> {
        if let Some(known) = self.find(Find::Sid(&status.sid)).await? {
            return Ok(Some(known));
        }
        let success = matches!(&status.news, News::Ended(ending) if ending.result == ResultWord::Success);
        if success {
            // What was not submitted cannot succeed: this is none of the payments here, and money may have moved all the same.
            return self.found(status).await.map(Some);
        }
        let of_call = of_call(&mut *self.transaction, &status.call).await?;
        Ok(of_call.into_iter().rev().find(|payment| payment.sid.is_none() && may_be_of(payment, status)))
    }

    /// Notes how the card ends before there is a result: a payment that stays unknown is matched with the processor's by it.
    async fn note_last4(&mut self, payment: &Payment, last4: Last4) -> Result<(), Error> {
        sqlx::query("UPDATE payments SET last4 = ? WHERE id = ?")
            .bind(last4.to_string())
            .bind(payment.id.to_string())
            .execute(&mut *self.transaction)
            .await?;
        Ok(())
    }

    async fn found(&mut self, status: &Status) -> Result<Payment, Error> {
        let call = OnCall::unknown(status.call.clone());
        let id = Ids::new(Uuid::new_v4()).make();
        let payment = self.insert(&call, id, None, Some(&status.sid)).await?;
        let found = Event::Found { sid: &status.sid, charge: status.charge.as_deref() };
        self.append(&payment, &found, None).await?;
        Ok(payment)
    }

    async fn end(&mut self, payment: &mut Payment, ending: &Ending, outcome: Outcome) -> Result<(), Error> {
        let intent = payment.intent();
        let before = payment.state;
        let next = before.after(outcome, &intent);
        let succeeded = outcome == Outcome::Succeeded;
        let first_success = succeeded && payment.result.as_deref() != Some(ResultWord::Success.as_str());
        let first_word = before == State::Unknown && payment.result.is_none();
        if next.is_none() && !first_success && !first_word {
            return Ok(());
        }
        // A success that was doubted is settled by a success or a person, and by no other word.
        if !outcome.is_success_in_any_way() && before == State::Unknown && self.is_doubted(payment).await? {
            return Ok(());
        }
        self.write_result(payment, ending).await?;
        if succeeded {
            self.card_recovered(payment).await?;
        } else if intent.submitted && !self.is_taken_for_failed(payment).await? {
            self.card_failed(payment, ending.code, false).await?;
        }
        match (next, outcome) {
            (Some(next), Outcome::Unknown(doubt)) if doubt.is_doubtful_success() => {
                self.alerts.push(Alert::DoubtfulSuccess { id: payment.id, call: payment.call.clone(), doubt });
                self.set_state(payment, next).await
            }
            (Some(next), _) => {
                if succeeded && before.is_final() {
                    self.alerts.push(Alert::LateSuccess { id: payment.id, call: payment.call.clone(), before });
                }
                self.set_state(payment, next).await
            }
            // An operator knew before Twilio said so: the confirmation code, or the token, is news all the same.
            (None, _) if succeeded => self.tell(payment).await,
            (None, _) => Ok(()),
        }
    }

    /// Whether a success of the payment was reported and not believed.
    async fn is_doubted(&mut self, payment: &Payment) -> Result<bool, Error> {
        let query = "SELECT EXISTS (SELECT 1 FROM events WHERE payment_id = ? AND kind = 'ended' \
             AND json_extract(data, '$.doubtful') = 1)";
        let doubted = sqlx::query_scalar(query).bind(payment.id.to_string());
        Ok(doubted.fetch_one(&mut *self.transaction).await?)
    }

    async fn write_result(&mut self, payment: &mut Payment, ending: &Ending) -> Result<(), Error> {
        // A refusal that explains how a payment ended stays.
        if payment.refusal().is_none() || ending.result == ResultWord::Success {
            self.result(payment, ending.result.as_str(), ending.code, ending.text().as_deref()).await?;
        }
        sqlx::query(
            "UPDATE payments SET last4 = coalesce(?, last4), confirmation = coalesce(?, confirmation), token = coalesce(?, token), \
             profile = coalesce(?, profile) WHERE id = ?",
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
        Ok(())
    }
}

/// What a result means for the payment. One that was refused when it was submitted, and then given up, ended with that refusal.
fn outcome_of(payment: &Payment, status: &Status) -> Option<Outcome> {
    let News::Ended(ending) = &status.news else { return None };
    let outcome = Outcome::of(ending, &payment.intent());
    let given_up = matches!(outcome, Outcome::Cancelled | Outcome::Abandoned);
    Some(payment.refusal().filter(|_| given_up).unwrap_or(outcome))
}

/// Whether a callback may be about the payment: its amount, where it has one, is the payment's.
fn may_be_of(payment: &Payment, status: &Status) -> bool {
    status.charge.as_deref().is_none_or(|charge| is_amount(charge, payment.amount))
}

fn event(status: &Status, outcome: Option<Outcome>) -> Option<Event<'_>> {
    match &status.news {
        News::Entering { .. } | News::Exists => None,
        News::Entered { field, present } => {
            let last4 = status.last4;
            status.is_entered(*field, *present).then_some(Event::Entered { field: *field, last4 })
        }
        News::Wrong { field, error } => Some(Event::Wrong { field: *field, error }),
        News::Ended(ending) => Some(Event::Ended { ending, outcome: outcome? }),
    }
}

/// What is the same on each delivery of a callback: Twilio's token, or else what it says and when. A result comes once.
fn delivery(status: &Status) -> Option<String> {
    if let Some(token) = &status.delivery {
        return Some(token.clone());
    }
    let what = match &status.news {
        News::Ended(ending) => {
            let [charge, confirmation] =
                [&ending.charge, &ending.confirmation].map(|text| text.as_deref().unwrap_or_default());
            return Some(format!("result {ending} {charge} {confirmation}"));
        }
        News::Entered { field, .. } => format!("entered {}", field.wire()),
        News::Wrong { field, .. } => format!("wrong {}", field.map_or("", Field::wire)),
        News::Entering { .. } | News::Exists => return None,
    };
    status.updated.map(|updated| format!("{what} {updated}"))
}
