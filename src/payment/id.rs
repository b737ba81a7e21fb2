//! Which payment is meant, and the keys under which Twilio does once what it is asked for.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use super::Change;

/// One payment of this server, from the wish to open a session on. Its row in the ledger has it, and every idempotency key
/// begins with it, so that a retry, a crash and a restart repeat the same key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PaymentId(Uuid);

/// A text that is not the id of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id of a payment is a UUID, such as 2f1b6c1e-8f0a-5d3c-9a51-0d2f6d1c9a10")]
pub struct BadPaymentId;

impl PaymentId {
    /// The key of the request that opens the payment's session. There is one such request, however often it is sent.
    pub fn create_key(self) -> IdempotencyKey {
        IdempotencyKey(format!("{self}-create"))
    }

    /// The key of the `n`th request for this change, counted from 1; one that is repeated for want of an answer is the same
    /// request.
    pub fn change_key(self, change: Change, n: u32) -> IdempotencyKey {
        IdempotencyKey(format!("{self}-{change}-{n}"))
    }
}

impl FromStr for PaymentId {
    type Err = BadPaymentId;

    fn from_str(text: &str) -> Result<Self, BadPaymentId> {
        Uuid::try_parse(text).map(Self).map_err(|_| BadPaymentId)
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

/// Makes the ids of one call's payments: from a nonce that no other call has, and a count.
#[derive(Debug, Clone)]
pub struct Ids {
    nonce: Uuid,
    made: u32,
}

impl Ids {
    /// Ids that come from `nonce`.
    pub fn new(nonce: Uuid) -> Self {
        Self { nonce, made: 0 }
    }

    /// An id that was not made before.
    pub fn make(&mut self) -> PaymentId {
        self.made += 1;
        PaymentId(Uuid::new_v5(&self.nonce, &self.made.to_be_bytes()))
    }
}

/// Twilio's `IdempotencyKey`: one for each logical request, repeated by every retry of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// The key as it goes over the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::Field;

    #[test]
    fn ids_differ_between_payments_and_calls_and_are_the_same_again_for_the_same() {
        let ids = |nonce| {
            let mut ids = Ids::new(Uuid::from_u128(nonce));
            [ids.make(), ids.make()]
        };
        assert_eq!(ids(1), ids(1));
        let [a, b] = ids(1);
        let [c, d] = ids(2);
        assert!(a != b && a != c && b != d && c != d);
        assert_eq!(a.to_string().parse(), Ok(a));
        assert_eq!("PK1".parse::<PaymentId>(), Err(BadPaymentId));
    }

    #[test]
    fn a_key_names_the_payment_the_step_and_the_attempt() {
        let id = Ids::new(Uuid::nil()).make();
        assert_eq!(id.create_key().as_str(), format!("{id}-create"));
        assert_eq!(
            id.change_key(Change::Capture(Field::CardNumber), 2).as_str(),
            format!("{id}-payment-card-number-2")
        );
        assert_eq!(id.change_key(Change::Complete, 1).as_str(), format!("{id}-complete-1"));
    }
}
