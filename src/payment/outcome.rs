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
    /// A result without success comes with what only a success has.
    #[error("the result is no success, and comes with a confirmation code, a token or a status of one")]
    ClaimsSuccess,
    /// An error or a decline beside a success.
    #[error("the success comes with an error or a decline")]
    ErrorBeside,
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
        let doubtful_claim = ending.result != ResultWord::Success && claims_success(ending);
        match &ending.result {
            ResultWord::Success => match contradiction(ending, intent) {
                Some(doubt) => Self::Unknown(doubt),
                None => Self::Succeeded,
            },
            _ if doubtful_claim => Self::Unknown(Doubt::ClaimsSuccess),
            ResultWord::ConnectorError | ResultWord::NotTaken(_) if intent.submitted => Self::of_submission(ending),
            ResultWord::Star | ResultWord::Cancelled if !intent.submitted => Self::Cancelled,
            ResultWord::HungUp if !intent.submitted => Self::Abandoned,
            _ if !intent.submitted => Self::Failed,
            _ => Self::Unknown(Doubt::Gateway),
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

    fn of_submission(ending: &Ending) -> Self {
        let said = said(ending);
        match (&ending.result, ending.code) {
            // The gateway may have charged before its answer went wrong.
            _ if says(&said, GATEWAY_IN_DOUBT) => Self::Unknown(Doubt::Gateway),
            (_, code) if is_decline(code) || says(&said, DECLINES) => Self::Declined,
            (ResultWord::NotTaken(_), _) | (_, Some(64001 | 64003..=64007 | 64009 | 64011 | 64013..=64024)) => {
                Self::Failed
            }
            _ => Self::Unknown(Doubt::Gateway),
        }
    }
}

/// What Twilio, the connector and the gateway say in words, in lower case.
fn said(ending: &Ending) -> String {
    let texts =
        [&ending.payment_error, &ending.connector_error].into_iter().flatten().chain(&ending.connector_messages);
    texts.flat_map(|text| [text.as_str(), "\n"]).collect::<String>().to_lowercase()
}

fn says(said: &str, words: &[&str]) -> bool {
    words.iter().any(|word| said.contains(word))
}

/// Whether something beside a result without success says that money moved: a confirmation code, or the connector's own status.
fn claims_success(ending: &Ending) -> bool {
    let says_yes = |status: &String| {
        let status = status.to_lowercase();
        says(&status, STATUSES_THAT_SAY_YES) && !says(&status, STATUSES_THAT_SAY_NO)
    };
    ending.confirmation.is_some() || ending.token.is_some() || ending.connector_statuses.iter().any(says_yes)
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
    "gateway error",
    "unknown",
    "not known",
    "unable to determine",
    "unable to confirm",
    "unable to reach",
    "unable to connect",
    "undetermined",
    "uncertain",
    "cannot determine",
    "could not determine",
    "may have",
    "might have",
    "may or may not",
    "or approved",
    "approved or",
    "connection",
    "communication",
    "check processor",
    "duplicate",
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

/// Values of a connector's status that say yes, in lower case.
const STATUSES_THAT_SAY_YES: &[&str] = &["success", "succeed", "approved", "paid", "captured", "charged", "settled"];

/// Values of a connector's status that say no, in lower case.
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
    "unsuccess",
    "incomplete",
];

/// What speaks against a success, if anything does.
fn contradiction(ending: &Ending, intent: &Intent) -> Option<Doubt> {
    let says_no = |status: &String| says(&status.to_lowercase(), STATUSES_THAT_SAY_NO);
    if ending.connector_statuses.iter().any(says_no) {
        return Some(Doubt::ConnectorStatus);
    }
    let said = said(ending);
    if ending.code.is_some_and(|code| code != 0) || says(&said, DECLINES) || says(&said, GATEWAY_IN_DOUBT) {
        return Some(Doubt::ErrorBeside);
    }
    if !intent.submitted {
        return Some(Doubt::NotSubmitted);
    }
    let other_amount = ending.charge.as_deref().is_some_and(|charged| !is_amount(charged, intent.charge));
    let other_currency = ending
        .currency
        .as_deref()
        .zip(intent.charge)
        .is_some_and(|(currency, charge)| !currency.trim().eq_ignore_ascii_case(charge.currency().code()));
    if other_amount || other_currency {
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
        *ending
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
            ("payconnector_payment_status", "unsuccessful", Doubt::ConnectorStatus),
            ("PayConnector_Status", "incomplete", Doubt::ConnectorStatus),
            ("PayConnector_gateway_message", "Declined", Doubt::ErrorBeside),
            ("PayErrorCode", "64012", Doubt::ErrorBeside),
            ("ConnectorError", "do_not_honor", Doubt::ErrorBeside),
            ("Currency", "EUR", Doubt::OtherAmount),
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
            &[
                ("Result", "payment-connector-error"),
                ("PaymentError", "Result unknown: the transaction may have been approved or declined"),
            ],
            &[
                ("Result", "payment-connector-error"),
                ("PaymentError", "Connection declined by gateway while waiting for the answer"),
            ],
            &[
                ("Result", "payment-connector-error"),
                ("PaymentError", "Unable to determine whether the charge was declined"),
            ],
            &[("Result", "validation-error"), ("PaymentError", "gateway time-out, outcome not known")],
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
    fn a_result_without_success_that_comes_with_what_only_a_success_has_is_unknown() {
        let decline = [("Result", "payment-connector-error"), ("PayErrorCode", "64012")];
        for beside in [
            ("PayConnector_payment_status", "SUCCESS"),
            ("PaymentConfirmationCode", "ch_real"),
            ("PaymentToken", "tok"),
        ] {
            let fields = [&decline[..], &[beside]].concat();
            assert_eq!(outcome(&fields), Outcome::Unknown(Doubt::ClaimsSuccess), "{beside:?}");
        }
        let fields = [&decline[..], &[("PayConnector_payment_status", "unsuccessful")]].concat();
        assert_eq!(outcome(&fields), Outcome::Declined);
        assert_eq!(outcome(&[("Result", "validation-error"), ("PaymentError", "card is declined")]), Outcome::Declined);
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
