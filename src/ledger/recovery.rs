//! What a server that died left open, and what it is made of when the next one starts.

use std::sync::Arc;

use super::{Error, Ledger, OnCall, Payment, Record, State, Writing, payment};
use crate::payment::{Amount, BadTerms, Change, Create, PaymentId, Settings, Update};
use crate::redact::Private;
use crate::sid::{CallSid, PaymentSid};

/// A payment whose session may still be open at Twilio. Nothing was submitted in it.
#[derive(Debug, Clone)]
pub struct Left {
    id: PaymentId,
    /// The call.
    pub call: OnCall,
    /// The session, if it is known.
    pub sid: Option<PaymentSid>,
    charge: Option<Amount>,
    method: String,
    description: Option<Private<String>>,
    /// Which request to cancel it this will be: the last one that was made, if one was.
    cancel: u32,
    /// Why nobody goes on with it.
    why: &'static str,
}

impl Left {
    /// The request for the session once more, with its key: Twilio answers with the SID, and opens no second one. What the
    /// ledger does not keep of its terms is taken from these settings; an error says that they do not fit. The description is the
    /// same as the first time, whatever the settings say today.
    pub fn create(&self, settings: &Settings) -> Result<Create, BadTerms> {
        let said = [
            ("paymentMethod", Some(&self.method)),
            ("description", self.description.as_ref().map(Private::reveal)),
            ("orderReference", self.call.order.as_ref().map(Private::reveal)),
            ("callReference", self.call.reference.as_ref().map(Private::reveal)),
        ];
        let said = said.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.clone())));
        let mut terms = settings.terms(&said.collect())?;
        if self.description.is_none() {
            terms.description = None;
        }
        let terms = Arc::new(terms);
        Ok(Create { id: self.id, key: self.id.create_key(), charge: self.charge, terms, agreed: None })
    }

    /// The request to cancel the session; one that was made before is repeated with its key.
    pub fn cancel(&self, sid: PaymentSid) -> Update {
        let key = self.id.change_key(Change::Cancel, self.cancel);
        Update { id: self.id, sid, key, change: Change::Cancel, given_up: None }
    }
}

impl Ledger {
    /// Takes stock after a start, before anything else is done: what was submitted is unknown from now on, and what may be
    /// open at Twilio is told, for it has to be cancelled. On the calls of the latter no payment begins until
    /// [`put_away`](Self::put_away).
    pub async fn take_stock(&self) -> Result<Vec<Left>, Error> {
        let mut writing = self.write().await?;
        let mut open = Vec::new();
        for state in [State::Submitted, State::Opened, State::Capturing] {
            let filter = payment::Filter { since: None, state: Some(state), after: None, limit: u32::MAX };
            open.extend(payment::list(&mut *writing.transaction, &filter).await?);
        }
        self.leave(writing, open, "the server died").await
    }

    /// As [`take_stock`](Self::take_stock), for one call whose session broke.
    pub async fn take_stock_of(&self, call: &CallSid) -> Result<Vec<Left>, Error> {
        let mut writing = self.write().await?;
        let mut open = payment::of_call(&mut *writing.transaction, call).await?;
        open.retain(|payment| matches!(payment.state, State::Submitted | State::Opened | State::Capturing));
        self.leave(writing, open, "the session broke").await
    }

    async fn leave(&self, mut writing: Writing, open: Vec<Payment>, why: &'static str) -> Result<Vec<Left>, Error> {
        let mut left = Vec::new();
        for mut payment in open {
            if payment.state == State::Submitted {
                writing.give_up(&mut payment, why).await?;
            } else {
                left.push(writing.left(payment, why).await?);
            }
        }
        writing.commit().await?;
        self.0.recovering.send_modify(|open| open.extend(left.iter().map(|left| (left.call.sid.clone(), left.id))));
        Ok(left)
    }

    /// What was left open is cancelled, or cannot be: it is given up.
    pub async fn put_away(&self, left: &Left) -> Result<(), Error> {
        let written = self.record(Record::PutAway(Box::new(left.clone()))).await.map(drop);
        self.0.recovering.send_modify(|open| {
            open.remove(&(left.call.sid.clone(), left.id));
        });
        written
    }

    /// Waits until nothing of the call is left open by a server that died.
    pub async fn recovered(&self, call: &CallSid) {
        // The sender lives as long as this ledger does.
        let _ = self.0.recovering.subscribe().wait_for(|left| left.iter().all(|(of, _)| of != call)).await;
    }

    pub(super) fn is_recovering(&self, call: &CallSid) -> bool {
        self.0.recovering.borrow().iter().any(|(of, _)| of == call)
    }
}

pub(super) async fn record_put_away(writing: &mut Writing, left: &Left) -> Result<(), Error> {
    if let Some(mut payment) = writing.find(payment::Find::Id(left.id)).await? {
        writing.give_up(&mut payment, left.why).await?;
    }
    Ok(())
}

impl Writing {
    async fn left(&mut self, payment: Payment, why: &'static str) -> Result<Left, Error> {
        let asked = "SELECT count(DISTINCT json_extract(data, '$.key')) FROM events WHERE payment_id = ? AND kind = 'asking' \
             AND json_extract(data, '$.change') = 'cancel'";
        let asked: u32 =
            sqlx::query_scalar(asked).bind(payment.id.to_string()).fetch_one(&mut *self.transaction).await?;
        let call = OnCall {
            sid: payment.call.clone(),
            caller: payment.caller.clone(),
            reference: payment.reference.clone(),
            order: payment.order_reference.clone(),
            order_key: payment.order_key.clone(),
        };
        let Payment { id, sid, amount, method, description, .. } = payment;
        Ok(Left { id, call, sid, charge: amount, method, description, cancel: asked.max(1), why })
    }
}
