//! What Twilio's last word on a payment means for the money. The one table of it: the call and the ledger both use it.
//!
//! In doubt the outcome is unknown, never the hopeful one.

use super::{Amount, Ending, ResultWord, State};

/// What a payment was to do, as far as its outcome depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intent {
    /// The amount to charge; `None` stores the card or the account.
    pub charge: Option<Amount>,
    /// It is taken from a bank account: a success is accepted, and settles days later.
    pub bank_debit: bool,
    /// `complete` was sent, and no refusal of it is certain: only then can money have moved.
    pub submitted: bool,
}

/// How a payment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The amount was charged, the debit accepted, or the card stored.
    Succeeded,
    /// The bank refused the card.
    Declined,
    /// Nothing was charged, for a technical reason that is certain.
    Failed,
    /// The caller or the agent gave it up before it was submitted.
    Cancelled,
    /// The call ended before it was submitted.
    Abandoned,
    /// It may have been charged.
    Unknown(Doubt),
}

/// Why an outcome is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// `ChargeAmount` of a success is another than was asked for.
    #[error("the success is of another amount than was asked for")]
    OtherAmount,
    /// `PayConnector_payment_status` beside a success says no.
    #[error("the connector's own status contradicts the success")]
    ConnectorStatus,
    /// A card was to be stored, and neither token nor profile came.
    #[error("the success has neither the token nor the profile that were asked for")]
    NoToken,
    /// A success of a payment that was never submitted.
    #[error("the success is of a payment that was never submitted")]
    NotSubmitted,
    /// What happened at the gateway is not known.
    #[error("what happened at the gateway is not known")]
    Gateway,
}

impl Doubt {
    /// Whether something was reported as a success: then it outweighs what was known before.
    pub fn is_doubtful_success(self) -> bool {
        self != Self::Gateway
    }
}

impl Outcome {
    /// What a result means for a payment that was to do this.
    pub fn of(ending: &Ending, intent: &Intent) -> Self {
        match &ending.result {
            ResultWord::Success => match contradiction(ending, intent) {
                Some(doubt) => Self::Unknown(doubt),
                None => Self::Succeeded,
            },
            ResultWord::ConnectorError => Self::of_connector_error(ending, intent.submitted),
            ResultWord::NotTaken(_) => Self::Failed,
            ResultWord::Star | ResultWord::Cancelled if !intent.submitted => Self::Cancelled,
            ResultWord::HungUp if !intent.submitted => Self::Abandoned,
            ResultWord::Other(_) if !intent.submitted => Self::Failed,
            ResultWord::Star | ResultWord::Cancelled | ResultWord::HungUp | ResultWord::Other(_) => {
                Self::Unknown(Doubt::Gateway)
            }
        }
    }

    /// Whether a success was reported, believed or not: then money may have moved.
    pub fn is_success_in_any_way(self) -> bool {
        match self {
            Self::Succeeded => true,
            Self::Unknown(doubt) => doubt.is_doubtful_success(),
            Self::Declined | Self::Failed | Self::Cancelled | Self::Abandoned => false,
        }
    }

    /// What Twilio's refusal of `complete` says of the card, by its error code: it was certainly not charged.
    pub fn of_refusal(code: Option<u32>) -> Self {
        if is_decline(code) { Self::Declined } else { Self::Failed }
    }

    fn of_connector_error(ending: &Ending, submitted: bool) -> Self {
        if !submitted {
            return Self::Failed;
        }
        let said = [&ending.payment_error, &ending.connector_error].into_iter().flatten();
        let said: String = said.flat_map(|text| [text.as_str(), "\n"]).collect::<String>().to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
        match ending.code {
            // The gateway may have charged before its answer went wrong.
            _ if says(GATEWAY_IN_DOUBT) => Self::Unknown(Doubt::Gateway),
            code if is_decline(code) => Self::Declined,
            _ if says(DECLINES) => Self::Declined,
            Some(64001 | 64003..=64007 | 64009 | 64011 | 64013..=64024) => Self::Failed,
            _ => Self::Unknown(Doubt::Gateway),
        }
    }
}

/// Whether an error code of Twilio's, of a result or of a refused `complete`, says that the bank refused the card.
pub fn is_decline(code: Option<u32>) -> bool {
    matches!(code, Some(64008 | 64010 | 64012))
}

/// Texts of `PaymentError` and `ConnectorError` that leave open what the gateway did, in lower case.
const GATEWAY_IN_DOUBT: &[&str] = &[
    "malformed",
    "timeout",
    "time-out",
    "timed out",
    "time out",
    "no response",
    "no answer",
    "unreachable",
    "unexpected response",
    "invalid response",
    "internal error",
    "internal server error",
    "unavailable",
    "connection reset",
    "connection closed",
    "gateway error",
];

/// Texts of `PaymentError` and `ConnectorError` that say that the bank refused the card, in lower case.
const DECLINES: &[&str] = &[
    "declin",
    "insufficient",
    "do not honor",
    "do not honour",
    "do_not_honor",
    "expired",
    "stolen",
    "lost card",
    "lost_card",
    "pick up",
    "pickup",
    "restricted card",
    "fraud",
    "not permitted",
    "not authorized",
    "not authorised",
    "authorization denied",
    "denied",
    "incorrect_cvc",
    "incorrect cvc",
    "security code",
    "cvv",
    "over limit",
    "exceeds",
    "limit exceeded",
    "refused by",
    "card refused",
    "rejected",
    "invalid card",
    "invalid account",
    "card not supported",
    "card is not supported",
    "no such issuer",
    "closed account",
];

/// Values of `PayConnector_payment_status` that say no, in lower case.
const STATUSES_THAT_SAY_NO: &[&str] = &[
    "declin",
    "fail",
    "refus",
    "reject",
    "error",
    "denied",
    "void",
    "cancel",
    "expired",
    "revers",
    "unpaid",
    "not approved",
    "not_approved",
    "invalid",
    "abort",
];

/// What speaks against a success, if anything does.
fn contradiction(ending: &Ending, intent: &Intent) -> Option<Doubt> {
    let says_no = |status: &String| {
        let status = status.to_lowercase();
        STATUSES_THAT_SAY_NO.iter().any(|no| status.contains(no))
    };
    if ending.connector_statuses.iter().any(says_no) {
        return Some(Doubt::ConnectorStatus);
    }
    if !intent.submitted {
        return Some(Doubt::NotSubmitted);
    }
    if ending.charge.as_deref().is_some_and(|charged| !is_amount(charged, intent.charge)) {
        return Some(Doubt::OtherAmount);
    }
    let stored = ending.token.is_some() || ending.profile.is_some();
    (intent.charge.is_none() && !stored).then_some(Doubt::NoToken)
}

/// Whether `ChargeAmount` is this amount. Where nothing is charged, zero is.
pub fn is_amount(text: &str, charge: Option<Amount>) -> bool {
    match charge {
        Some(amount) => Amount::parse(text, amount.currency()) == Ok(Some(amount)),
        None => text.bytes().all(|byte| matches!(byte, b'0' | b'.')),
    }
}

impl State {
    /// The state of a payment in this state after this outcome; `None` where it stays as it is.
    ///
    /// A success is the last word, whatever was known before. So is one that is contradicted, as far as that makes a payment unknown.
    pub fn after(self, outcome: Outcome, intent: &Intent) -> Option<Self> {
        let next = match outcome {
            Outcome::Succeeded if intent.charge.is_none() => Self::Tokenized,
            Outcome::Succeeded if intent.bank_debit => Self::Pending,
            Outcome::Succeeded => Self::Charged,
            Outcome::Declined => Self::Declined,
            Outcome::Failed => Self::Failed,
            Outcome::Cancelled => Self::Cancelled,
            Outcome::Abandoned => Self::Abandoned,
            Outcome::Unknown(doubt) if doubt.is_doubtful_success() && self.is_without_success() => {
                return (self != Self::Unknown).then_some(Self::Unknown);
            }
            Outcome::Unknown(_) => Self::Unknown,
        };
        self.may_become(next).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::{Currency, News, Status};
    use proptest::prelude::*;

    const ASKED: Intent = Intent { charge: None, bank_debit: false, submitted: true };

    fn charge() -> Intent {
        Intent { charge: Amount::parse("25", Currency::USD).unwrap(), ..ASKED }
    }

    fn ending(fields: &[(&str, &str)]) -> Ending {
        let form: Vec<_> = [("CallSid", "CA1"), ("Sid", "PK1")]
            .iter()
            .chain(fields)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let News::Ended(ending) = Status::from_form(&form).unwrap().news else { panic!("no result in {fields:?}") };
        ending
    }

    fn outcome(fields: &[(&str, &str)]) -> Outcome {
        Outcome::of(&ending(fields), &charge())
    }

    #[test]
    fn a_success_is_one_in_any_case_and_spacing_unless_something_contradicts_it() {
        for word in ["success", "SUCCESS", " Success "] {
            assert_eq!(outcome(&[("Result", word)]), Outcome::Succeeded, "{word:?}");
        }
        assert_eq!(outcome(&[("Result", "success"), ("ChargeAmount", "25.0")]), Outcome::Succeeded);
        assert_eq!(outcome(&[("Result", "success"), ("PayConnector_payment_status", "approved")]), Outcome::Succeeded);
        for (name, value, doubt) in [
            ("ChargeAmount", "2500.00", Doubt::OtherAmount),
            ("ChargeAmount", "0", Doubt::OtherAmount),
            ("ChargeAmount", "25,00", Doubt::OtherAmount),
            ("PayConnector_payment_status", "DECLINED", Doubt::ConnectorStatus),
            ("PayConnector_gateway_status", "Failed", Doubt::ConnectorStatus),
        ] {
            assert_eq!(outcome(&[("Result", "success"), (name, value)]), Outcome::Unknown(doubt), "{name}={value}");
        }
        let never = Outcome::of(&ending(&[("Result", "success")]), &Intent { submitted: false, ..charge() });
        assert_eq!(never, Outcome::Unknown(Doubt::NotSubmitted));
    }

    #[test]
    fn a_card_is_stored_only_with_a_token_or_a_profile() {
        let stored = |fields: &[(&str, &str)]| Outcome::of(&ending(fields), &ASKED);
        assert_eq!(stored(&[("Result", "success")]), Outcome::Unknown(Doubt::NoToken));
        assert_eq!(stored(&[("Result", "success"), ("PaymentToken", "tok")]), Outcome::Succeeded);
        assert_eq!(stored(&[("Result", "success"), ("ProfileId", "p"), ("ChargeAmount", "0.00")]), Outcome::Succeeded);
    }

    #[test]
    fn a_decline_is_known_by_its_code_or_by_its_words() {
        for fields in [
            &[("PayErrorCode", "64012")][..],
            &[("PayErrorCode", "64008"), ("PaymentError", "card is declined")],
            &[("PayErrorCode", ""), ("PaymentError", "card is declined"), ("ConnectorError", "card_declined")],
            &[("ConnectorError", "Insufficient Funds")],
            &[("PaymentError", "Your card has expired.")],
            &[("PayErrorCode", "64002"), ("PaymentError", "Do Not Honor")],
        ] {
            let fields = [&[("Result", "payment-connector-error")], fields].concat();
            assert_eq!(outcome(&fields), Outcome::Declined, "{fields:?}");
        }
    }

    #[test]
    fn what_the_gateway_did_is_unknown_unless_it_is_said() {
        for fields in [
            &[("Result", "payment-connector-error")][..],
            &[("Result", "payment-connector-error"), ("PayErrorCode", "64002")],
            &[("Result", "payment-connector-error"), ("PaymentError", "gateway timeout")],
            &[
                ("Result", "payment-connector-error"),
                ("PayErrorCode", "64008"),
                (
                    "PaymentError",
                    "Payment Gateway rejected charge creation. Got malformed response from Payment Provider.",
                ),
            ],
            &[("Result", "internal-error")],
            &[("Result", "caller-interrupted-with-star")],
            &[("Result", "caller-hung-up")],
            &[("Result", "transaction-cancelled")],
            &[("Result", "a-word-of-2031")],
        ] {
            assert_eq!(outcome(fields), Outcome::Unknown(Doubt::Gateway), "{fields:?}");
        }
    }

    #[test]
    fn nothing_was_charged_where_that_is_certain() {
        for fields in [
            &[("Result", "validation-error")][..],
            &[("Result", "too-many-failed-attempts")],
            &[("Result", "payment-connector-error"), ("PayErrorCode", "64001")],
            &[("Result", "payment-connector-error"), ("PayErrorCode", "64022")],
        ] {
            assert_eq!(outcome(fields), Outcome::Failed, "{fields:?}");
        }
        let before = |word| Outcome::of(&ending(&[("Result", word)]), &Intent { submitted: false, ..charge() });
        for (word, outcome) in [
            ("caller-interrupted-with-star", Outcome::Cancelled),
            ("transaction-cancelled", Outcome::Cancelled),
            ("caller-hung-up", Outcome::Abandoned),
            ("payment-connector-error", Outcome::Failed),
            ("internal-error", Outcome::Failed),
        ] {
            assert_eq!(before(word), outcome, "{word}");
        }
        assert_eq!(Outcome::of_refusal(Some(64012)), Outcome::Declined);
        assert_eq!(Outcome::of_refusal(Some(64001)), Outcome::Failed);
    }

    #[test]
    fn a_success_is_the_last_word_and_one_in_doubt_outweighs_what_was_known() {
        let doubt = Outcome::Unknown(Doubt::OtherAmount);
        for state in [State::Declined, State::Failed, State::Cancelled, State::Abandoned, State::Unknown] {
            assert_eq!(state.after(Outcome::Succeeded, &charge()), Some(State::Charged), "{state}");
            assert_eq!(state.after(doubt, &charge()), (state != State::Unknown).then_some(State::Unknown), "{state}");
            assert_eq!(state.after(Outcome::Unknown(Doubt::Gateway), &charge()), None, "{state}");
        }
        for state in [State::Charged, State::Refunded, State::Disputed] {
            assert_eq!(state.after(Outcome::Declined, &charge()), None, "{state}");
            assert_eq!(state.after(doubt, &charge()), None, "{state}");
        }
        let debit = Intent { bank_debit: true, ..charge() };
        assert_eq!(State::Submitted.after(Outcome::Succeeded, &debit), Some(State::Pending));
        assert_eq!(State::Submitted.after(Outcome::Succeeded, &ASKED), Some(State::Tokenized));
    }

    proptest! {
        #[test]
        fn nothing_but_the_word_success_succeeds(
            word in "[a-zA-Z -]{1,20}|suc+es+s?",
            code in prop::option::of(64_000_u32..64_030),
            error in "[a-z ]{0,20}",
        ) {
            prop_assume!(!word.trim().is_empty() && !word.trim().eq_ignore_ascii_case("success"));
            let code = code.map(|code| code.to_string()).unwrap_or_default();
            let outcome = outcome(&[("Result", &*word), ("PayErrorCode", &*code), ("PaymentError", &*error)]);
            prop_assert_ne!(outcome, Outcome::Succeeded);
        }
    }
}
