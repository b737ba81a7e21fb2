//! Payment ids, and the idempotency keys of requests to Twilio.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use super::UpdateAction;

/// The id of a payment, assigned before its session is requested. It identifies the payment in the ledger and begins
/// every idempotency key, so that a retry repeats the same key, also after a crash or a restart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PaymentId(Uuid);

/// The text is not a payment id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a payment id is a UUID, such as 2f1b6c1e-8f0a-5d3c-9a51-0d2f6d1c9a10")]
pub struct ParsePaymentIdError;

impl PaymentId {
    /// The id of an authorisation of the payment, which the ledger has recorded under this number.
    pub fn authorization_id(self, number: i64) -> Uuid {
        Uuid::new_v5(&self.0, &number.to_be_bytes())
    }

    /// The key of the request that creates the payment session. All attempts to send it use the same key.
    pub fn create_key(self) -> IdempotencyKey {
        IdempotencyKey(format!("{self}-create"))
    }

    /// The key of the `n`th request for this action, counted from 1. A retry after a missing response is the same
    /// request.
    pub fn update_key(self, action: UpdateAction, n: u32) -> IdempotencyKey {
        IdempotencyKey(format!("{self}-{action}-{n}"))
    }

    /// The number of the request for this action that has this key. `None` if it is a key of something else.
    pub(super) fn attempt_of_key(self, action: UpdateAction, key: &str) -> Option<u32> {
        let n = key.strip_prefix(&format!("{self}-{action}-"))?.parse().ok()?;
        (self.update_key(action, n).as_str() == key).then_some(n)
    }
}

impl FromStr for PaymentId {
    type Err = ParsePaymentIdError;

    fn from_str(text: &str) -> Result<Self, ParsePaymentIdError> {
        Uuid::try_parse(text).map(Self).map_err(|_| ParsePaymentIdError)
    }
}

impl fmt::Display for PaymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for PaymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Generates the payment ids of one call from a nonce that is unique to the call and a counter.
#[derive(Debug, Clone)]
pub struct PaymentIdGenerator {
    nonce: Uuid,
    count: u32,
}

impl PaymentIdGenerator {
    /// A generator for the call with this nonce.
    pub fn new(nonce: Uuid) -> Self {
        Self { nonce, count: 0 }
    }

    /// Generates the next id.
    pub fn generate(&mut self) -> PaymentId {
        self.count += 1;
        PaymentId(Uuid::new_v5(&self.nonce, &self.count.to_be_bytes()))
    }
}

/// Twilio's `IdempotencyKey`: one for each logical request, repeated by every retry of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// The key on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::Field;

    #[test]
    fn ids_are_unique_per_payment_and_call_and_reproducible() {
        let ids = |nonce| {
            let mut ids = PaymentIdGenerator::new(Uuid::from_u128(nonce));
            [ids.generate(), ids.generate()]
        };
        assert_eq!(ids(1), ids(1));
        let [a, b] = ids(1);
        let [c, d] = ids(2);
        assert!(a != b && a != c && b != d && c != d);
        assert_eq!(a.to_string().parse(), Ok(a));
        assert_eq!("PK1".parse::<PaymentId>(), Err(ParsePaymentIdError));
    }

    #[test]
    fn a_key_contains_the_payment_the_action_and_the_attempt() {
        let id = PaymentIdGenerator::new(Uuid::nil()).generate();
        assert_eq!(id.create_key().as_str(), format!("{id}-create"));
        assert_eq!(
            id.update_key(UpdateAction::Capture(Field::CardNumber), 2).as_str(),
            format!("{id}-payment-card-number-2")
        );
        assert_eq!(id.update_key(UpdateAction::Complete, 1).as_str(), format!("{id}-complete-1"));
    }

    #[test]
    fn the_attempt_of_a_key_is_known_for_its_own_payment_and_action_only() {
        let mut ids = PaymentIdGenerator::new(Uuid::nil());
        let (id, other) = (ids.generate(), ids.generate());
        let [card, again] = [Field::CardNumber, Field::CardNumberMatcher].map(UpdateAction::Capture);
        for (key, attempt) in
            [(id.update_key(card, 12), Some(12)), (id.update_key(again, 1), None), (other.update_key(card, 1), None)]
        {
            assert_eq!(id.attempt_of_key(card, key.as_str()), attempt);
        }
        assert_eq!(id.attempt_of_key(card, &format!("{id}-{card}-+1")), None);
    }
}
