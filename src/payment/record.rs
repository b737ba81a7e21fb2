//! What is known of a payment, and how a result or its abandonment changes that, for both the call and the ledger.

use super::{PaymentIntent, PaymentOutcome, PaymentState};

/// What is known of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaymentRecord {
    /// Its state.
    pub state: PaymentState,
    /// The facts that its outcome depends on.
    pub intent: PaymentIntent,
    /// Whether Twilio reported a contradicted success of it.
    pub has_doubtful_success: bool,
}

impl PaymentRecord {
    /// A session that was found and not requested.
    pub const FOUND: Self = Self {
        state: PaymentState::Opened,
        intent: PaymentIntent { charge: None, bank_debit: false, submitted: false, refusal: None },
        has_doubtful_success: false,
    };

    /// The record after an outcome, which may be late or repeated.
    ///
    /// A success overrides every state without one. A doubtful success makes such a payment unknown, and then only a
    /// success without a doubt, or an operator, settles it.
    #[must_use]
    pub fn after_outcome(self, outcome: PaymentOutcome) -> Self {
        if !self.state.is_without_success() {
            // Settlement, return, refund and dispute are no results of a session.
            return self;
        }
        let next = match outcome {
            PaymentOutcome::Succeeded if self.intent.charge.is_none() => PaymentState::Tokenized,
            PaymentOutcome::Succeeded if self.intent.bank_debit => PaymentState::Pending,
            PaymentOutcome::Succeeded => PaymentState::Charged,
            _ if outcome.doubtful_success().is_some() => {
                return Self { state: PaymentState::Unknown, has_doubtful_success: true, ..self };
            }
            _ if self.state == PaymentState::Unknown && self.has_doubtful_success => PaymentState::Unknown,
            PaymentOutcome::Declined => PaymentState::Declined,
            PaymentOutcome::Failed => PaymentState::Failed,
            PaymentOutcome::Cancelled => PaymentState::Cancelled,
            PaymentOutcome::Abandoned => PaymentState::Abandoned,
            PaymentOutcome::Unknown(_) => PaymentState::Unknown,
        };
        if self.state.may_become(next) { Self { state: next, ..self } } else { self }
    }

    /// The record after the call, or the server, gives the payment up. A submitted payment becomes unknown until its
    /// result arrives; one that has an outcome keeps it.
    #[must_use]
    pub fn after_abandonment(self) -> Self {
        match self.state {
            PaymentState::Submitted => Self { state: PaymentState::Unknown, ..self },
            state if state.is_open() => self.after_outcome(self.intent.outcome_if_given_up(PaymentOutcome::Abandoned)),
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::{Amount, Currency, SubmissionRefusal, UnknownReason};

    const STORED: PaymentIntent = PaymentIntent { charge: None, bank_debit: false, submitted: true, refusal: None };
    const DOUBT: PaymentOutcome = PaymentOutcome::Unknown(UnknownReason::AmountMismatch);

    fn charge() -> PaymentIntent {
        PaymentIntent { charge: Amount::parse("25", Currency::USD).unwrap(), ..STORED }
    }

    fn record(state: PaymentState, intent: PaymentIntent) -> PaymentRecord {
        PaymentRecord { state, intent, has_doubtful_success: false }
    }

    #[test]
    fn a_success_overrides_earlier_outcomes_and_a_doubtful_one_makes_them_unknown() {
        for state in [
            PaymentState::Declined,
            PaymentState::Failed,
            PaymentState::Cancelled,
            PaymentState::Abandoned,
            PaymentState::Unknown,
        ] {
            let known = record(state, charge());
            assert_eq!(known.after_outcome(PaymentOutcome::Succeeded).state, PaymentState::Charged, "{state}");
            let doubted = known.after_outcome(DOUBT);
            assert_eq!((doubted.state, doubted.has_doubtful_success), (PaymentState::Unknown, true), "{state}");
            for weaker in [PaymentOutcome::Declined, PaymentOutcome::Failed, PaymentOutcome::Cancelled, DOUBT] {
                assert_eq!(doubted.after_outcome(weaker), doubted, "{state}, {weaker:?}");
            }
            assert_eq!(doubted.after_outcome(PaymentOutcome::Succeeded).state, PaymentState::Charged, "{state}");
            assert_eq!(known.after_outcome(PaymentOutcome::Unknown(UnknownReason::Gateway)), known, "{state}");
        }
        for state in [PaymentState::Pending, PaymentState::Charged, PaymentState::Refunded, PaymentState::Disputed] {
            let known = record(state, charge());
            for outcome in [PaymentOutcome::Declined, PaymentOutcome::Succeeded, DOUBT] {
                assert_eq!(known.after_outcome(outcome), known, "{state}, {outcome:?}");
            }
        }
        let debit = PaymentIntent { bank_debit: true, ..charge() };
        for (intent, state) in [(debit, PaymentState::Pending), (STORED, PaymentState::Tokenized)] {
            let submitted = record(PaymentState::Submitted, intent);
            assert_eq!(submitted.after_outcome(PaymentOutcome::Succeeded).state, state);
        }
    }

    #[test]
    fn abandonment_changes_no_payment_that_has_an_outcome() {
        for state in PaymentState::ALL {
            let known = record(state, charge());
            let next = match state {
                PaymentState::Submitted => PaymentState::Unknown,
                PaymentState::Opened | PaymentState::Capturing => PaymentState::Abandoned,
                state => state,
            };
            assert_eq!(known.after_abandonment().state, next, "{state}");
        }
        for (code, state) in [(Some(64012), PaymentState::Declined), (Some(64001), PaymentState::Failed)] {
            let intent = PaymentIntent { refusal: Some(SubmissionRefusal { code }), submitted: false, ..charge() };
            assert_eq!(record(PaymentState::Capturing, intent).after_abandonment().state, state);
        }
    }
}
