//! Maps Twilio's result of a payment session to the outcome of the payment, for both the call and the ledger.
//!
//! In doubt the outcome is unknown, never a success.

use super::{Amount, PaymentSessionResult, ResultKind, SubmissionRefusal};

/// What a payment was requested to do, as far as its outcome depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaymentIntent {
    /// The amount to charge; `None` stores the card or the account.
    pub charge: Option<Amount>,
    /// Whether the payment is a bank debit: its success means that it was accepted, and it settles days later.
    pub bank_debit: bool,
    /// Whether `complete` was sent and not certainly refused. Only then can money have moved.
    pub submitted: bool,
    /// The refusal of the last submission, if it was refused.
    pub refusal: Option<SubmissionRefusal>,
}

impl PaymentIntent {
    /// The outcome of a payment that is given up without a submission: that of the refusal if a submission was refused
    /// before, since the refusal explains how the payment ended.
    pub(super) fn outcome_if_given_up(&self, given_up: PaymentOutcome) -> PaymentOutcome {
        self.refusal.map_or(given_up, SubmissionRefusal::outcome)
    }
}

/// How a payment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaymentOutcome {
    /// The amount was charged, the debit accepted, or the card stored.
    Succeeded,
    /// The bank declined the card.
    Declined,
    /// Nothing was charged, for a technical reason that is certain.
    Failed,
    /// The caller or the agent cancelled it before it was submitted.
    Cancelled,
    /// The call ended before it was submitted.
    Abandoned,
    /// It may have been charged.
    Unknown(UnknownReason),
}

/// Why an outcome is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnknownReason {
    /// `ChargeAmount` or `Currency` of a success differs from the request.
    #[error("the success is of another amount than was asked for")]
    AmountMismatch,
    /// `PayConnector_payment_status` or a similar field contradicts a success.
    #[error("the connector's own status contradicts the success")]
    ConnectorStatus,
    /// A tokenization succeeded without a token and without a profile.
    #[error("the success has neither the token nor the profile that were asked for")]
    NoToken,
    /// A success of a payment that was never submitted.
    #[error("the success is of a payment that was never submitted")]
    NotSubmitted,
    /// A result other than success comes with data that only a success has.
    #[error("the result is no success, and comes with a confirmation code, a token or a status of one")]
    ClaimsSuccess,
    /// A success comes with an error or a decline.
    #[error("the success comes with an error or a decline")]
    SuccessWithError,
    /// What happened at the gateway is not known.
    #[error("what happened at the gateway is not known")]
    Gateway,
}

impl PaymentOutcome {
    /// The outcome of a payment with this intent, by its result.
    pub fn from_session_result(ending: &PaymentSessionResult, intent: &PaymentIntent) -> Self {
        match &ending.result {
            ResultKind::Success => match find_contradiction(ending, intent) {
                Some(doubt) => Self::Unknown(doubt),
                None => Self::Succeeded,
            },
            _ if ending.claims_success() => Self::Unknown(UnknownReason::ClaimsSuccess),
            ResultKind::ConnectorError | ResultKind::InvalidInput(_) if intent.submitted => {
                Self::from_submission(ending)
            }
            ResultKind::CallerPressedStar | ResultKind::Cancelled if !intent.submitted => {
                intent.outcome_if_given_up(Self::Cancelled)
            }
            ResultKind::CallerHungUp if !intent.submitted => intent.outcome_if_given_up(Self::Abandoned),
            _ if !intent.submitted => Self::Failed,
            _ => Self::Unknown(UnknownReason::Gateway),
        }
    }

    /// Whether a success was reported, also a doubtful one: money may have moved.
    pub fn is_reported_success(self) -> bool {
        self == Self::Succeeded || self.doubtful_success().is_some()
    }

    /// The reason to doubt the success that was reported, if one was reported and is doubtful.
    pub fn doubtful_success(self) -> Option<UnknownReason> {
        match self {
            Self::Unknown(doubt) if doubt != UnknownReason::Gateway => Some(doubt),
            Self::Unknown(_) | Self::Succeeded | Self::Declined | Self::Failed | Self::Cancelled | Self::Abandoned => {
                None
            }
        }
    }

    fn from_submission(ending: &PaymentSessionResult) -> Self {
        let said = error_texts(ending);
        match (&ending.result, ending.error_code) {
            // The gateway may have charged the card before its response failed.
            _ if contains_any(&said, GATEWAY_DOUBT_TEXTS) => Self::Unknown(UnknownReason::Gateway),
            (_, code) if is_decline_code(code) || contains_any(&said, DECLINE_TEXTS) => Self::Declined,
            (ResultKind::InvalidInput(_), _) | (_, Some(64001 | 64003..=64007 | 64009 | 64011 | 64013..=64024)) => {
                Self::Failed
            }
            _ => Self::Unknown(UnknownReason::Gateway),
        }
    }
}

/// The error texts of Twilio, the connector and the gateway, in lower case.
fn error_texts(ending: &PaymentSessionResult) -> String {
    let texts =
        [&ending.payment_error, &ending.connector_error].into_iter().flatten().chain(&ending.connector_messages);
    texts.flat_map(|text| [text.as_str(), "\n"]).collect::<String>().to_lowercase()
}

fn contains_any(said: &str, words: &[&str]) -> bool {
    words.iter().any(|word| said.contains(word))
}

impl PaymentSessionResult {
    /// Whether the result is a success, or comes with what only a success has: a confirmation code, a token or a
    /// connector status. Money may have moved then, whatever contradicts it.
    pub fn claims_success(&self) -> bool {
        let says_yes = |status: &String| {
            let status = status.to_lowercase();
            contains_any(&status, SUCCESS_STATUSES) && !contains_any(&status, FAILURE_STATUSES)
        };
        self.result == ResultKind::Success
            || self.confirmation_code.is_some()
            || self.payment_token.is_some()
            || self.connector_statuses.iter().any(says_yes)
    }
}

/// Whether a Twilio error code, of a result or of a refused `complete`, means that the bank declined the card.
pub(crate) fn is_decline_code(code: Option<u32>) -> bool {
    matches!(code, Some(64008 | 64010 | 64012))
}

/// Texts of `PaymentError` and `ConnectorError` that do not show what the gateway did, in lower case.
const GATEWAY_DOUBT_TEXTS: &[&str] = &[
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

/// Texts of `PaymentError` and `ConnectorError` that mean that the bank declined the card, in lower case.
const DECLINE_TEXTS: &[&str] = &[
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

/// Parts of connector statuses that mean success, in lower case.
const SUCCESS_STATUSES: &[&str] = &["success", "succeed", "approved", "paid", "captured", "charged", "settled"];

/// Parts of connector statuses that mean failure, in lower case.
const FAILURE_STATUSES: &[&str] = &[
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

/// Returns the reason to doubt a success, if there is one.
fn find_contradiction(ending: &PaymentSessionResult, intent: &PaymentIntent) -> Option<UnknownReason> {
    let says_no = |status: &String| contains_any(&status.to_lowercase(), FAILURE_STATUSES);
    if ending.connector_statuses.iter().any(says_no) {
        return Some(UnknownReason::ConnectorStatus);
    }
    let said = error_texts(ending);
    if ending.error_code.is_some_and(|code| code != 0)
        || contains_any(&said, DECLINE_TEXTS)
        || contains_any(&said, GATEWAY_DOUBT_TEXTS)
    {
        return Some(UnknownReason::SuccessWithError);
    }
    if !intent.submitted {
        return Some(UnknownReason::NotSubmitted);
    }
    let other_amount = ending.charge_amount.as_deref().is_some_and(|charged| !is_charge_amount(charged, intent.charge));
    let other_currency = ending
        .currency
        .as_deref()
        .zip(intent.charge)
        .is_some_and(|(currency, charge)| !currency.trim().eq_ignore_ascii_case(charge.currency().code()));
    if other_amount || other_currency {
        return Some(UnknownReason::AmountMismatch);
    }
    let stored = ending.payment_token.is_some() || ending.profile_id.is_some();
    (intent.charge.is_none() && !stored).then_some(UnknownReason::NoToken)
}

/// Whether the text of `ChargeAmount` is this amount, or zero where nothing is charged.
pub(crate) fn is_charge_amount(text: &str, charge: Option<Amount>) -> bool {
    match charge {
        Some(amount) => Amount::parse(text, amount.currency()) == Ok(Some(amount)),
        None => text.bytes().all(|byte| matches!(byte, b'0' | b'.')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payment::{CallbackKind, Currency, PaymentCallback};
    use proptest::prelude::*;

    const ASKED: PaymentIntent = PaymentIntent { charge: None, bank_debit: false, submitted: true, refusal: None };

    fn charge() -> PaymentIntent {
        PaymentIntent { charge: Amount::parse("25", Currency::USD).unwrap(), ..ASKED }
    }

    fn ending(fields: &[(&str, &str)]) -> PaymentSessionResult {
        let form: Vec<_> = [("CallSid", "CA1"), ("Sid", "PK1")]
            .iter()
            .chain(fields)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let CallbackKind::Ended(ending) =
            PaymentCallback::from_form(&form, &crate::payment::CallbackDigester::new(&"12345".into())).unwrap().kind
        else {
            panic!("no result in {fields:?}")
        };
        *ending
    }

    fn outcome(fields: &[(&str, &str)]) -> PaymentOutcome {
        PaymentOutcome::from_session_result(&ending(fields), &charge())
    }

    #[test]
    fn a_success_is_accepted_in_any_case_and_spacing_unless_contradicted() {
        for word in ["success", "SUCCESS", " Success "] {
            assert_eq!(outcome(&[("Result", word)]), PaymentOutcome::Succeeded, "{word:?}");
        }
        assert_eq!(outcome(&[("Result", "success"), ("ChargeAmount", "25.0")]), PaymentOutcome::Succeeded);
        assert_eq!(
            outcome(&[("Result", "success"), ("PayConnector_payment_status", "approved")]),
            PaymentOutcome::Succeeded
        );
        for (name, value, doubt) in [
            ("ChargeAmount", "2500.00", UnknownReason::AmountMismatch),
            ("ChargeAmount", "0", UnknownReason::AmountMismatch),
            ("ChargeAmount", "25,00", UnknownReason::AmountMismatch),
            ("PayConnector_payment_status", "DECLINED", UnknownReason::ConnectorStatus),
            ("PayConnector_gateway_status", "Failed", UnknownReason::ConnectorStatus),
            ("payconnector_payment_status", "unsuccessful", UnknownReason::ConnectorStatus),
            ("PayConnector_Status", "incomplete", UnknownReason::ConnectorStatus),
            ("PayConnector_gateway_message", "Declined", UnknownReason::SuccessWithError),
            ("PayErrorCode", "64012", UnknownReason::SuccessWithError),
            ("ConnectorError", "do_not_honor", UnknownReason::SuccessWithError),
            ("Currency", "EUR", UnknownReason::AmountMismatch),
        ] {
            assert_eq!(
                outcome(&[("Result", "success"), (name, value)]),
                PaymentOutcome::Unknown(doubt),
                "{name}={value}"
            );
        }
        let never = PaymentOutcome::from_session_result(
            &ending(&[("Result", "success")]),
            &PaymentIntent { submitted: false, ..charge() },
        );
        assert_eq!(never, PaymentOutcome::Unknown(UnknownReason::NotSubmitted));
    }

    #[test]
    fn a_card_is_stored_only_with_a_token_or_a_profile() {
        let stored = |fields: &[(&str, &str)]| PaymentOutcome::from_session_result(&ending(fields), &ASKED);
        assert_eq!(stored(&[("Result", "success")]), PaymentOutcome::Unknown(UnknownReason::NoToken));
        assert_eq!(stored(&[("Result", "success"), ("PaymentToken", "tok")]), PaymentOutcome::Succeeded);
        assert_eq!(
            stored(&[("Result", "success"), ("ProfileId", "p"), ("ChargeAmount", "0.00")]),
            PaymentOutcome::Succeeded
        );
    }

    #[test]
    fn a_decline_is_recognised_by_its_code_or_by_its_text() {
        for fields in [
            &[("PayErrorCode", "64012")][..],
            &[("PayErrorCode", "64008"), ("PaymentError", "card is declined")],
            &[("PayErrorCode", ""), ("PaymentError", "card is declined"), ("ConnectorError", "card_declined")],
            &[("ConnectorError", "Insufficient Funds")],
            &[("PaymentError", "Your card has expired.")],
            &[("PayErrorCode", "64002"), ("PaymentError", "Do Not Honor")],
        ] {
            let fields = [&[("Result", "payment-connector-error")], fields].concat();
            assert_eq!(outcome(&fields), PaymentOutcome::Declined, "{fields:?}");
        }
    }

    #[test]
    fn the_outcome_is_unknown_unless_the_gateway_states_it() {
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
            assert_eq!(outcome(fields), PaymentOutcome::Unknown(UnknownReason::Gateway), "{fields:?}");
        }
    }

    #[test]
    fn a_failure_with_evidence_of_a_success_is_unknown() {
        let decline = [("Result", "payment-connector-error"), ("PayErrorCode", "64012")];
        for beside in [
            ("PayConnector_payment_status", "SUCCESS"),
            ("PaymentConfirmationCode", "ch_real"),
            ("PaymentToken", "tok"),
        ] {
            let fields = [&decline[..], &[beside]].concat();
            assert_eq!(outcome(&fields), PaymentOutcome::Unknown(UnknownReason::ClaimsSuccess), "{beside:?}");
        }
        let fields = [&decline[..], &[("PayConnector_payment_status", "unsuccessful")]].concat();
        assert_eq!(outcome(&fields), PaymentOutcome::Declined);
        assert_eq!(
            outcome(&[("Result", "validation-error"), ("PaymentError", "card is declined")]),
            PaymentOutcome::Declined
        );
    }

    #[test]
    fn results_that_certainly_charge_nothing_are_failed_cancelled_or_abandoned() {
        for fields in [
            &[("Result", "validation-error")][..],
            &[("Result", "too-many-failed-attempts")],
            &[("Result", "payment-connector-error"), ("PayErrorCode", "64001")],
            &[("Result", "payment-connector-error"), ("PayErrorCode", "64022")],
        ] {
            assert_eq!(outcome(fields), PaymentOutcome::Failed, "{fields:?}");
        }
        let before = |word| {
            PaymentOutcome::from_session_result(
                &ending(&[("Result", word)]),
                &PaymentIntent { submitted: false, ..charge() },
            )
        };
        for (word, outcome) in [
            ("caller-interrupted-with-star", PaymentOutcome::Cancelled),
            ("transaction-cancelled", PaymentOutcome::Cancelled),
            ("caller-hung-up", PaymentOutcome::Abandoned),
            ("payment-connector-error", PaymentOutcome::Failed),
            ("internal-error", PaymentOutcome::Failed),
        ] {
            assert_eq!(before(word), outcome, "{word}");
        }
        assert_eq!(SubmissionRefusal { code: Some(64012) }.outcome(), PaymentOutcome::Declined);
        assert_eq!(SubmissionRefusal { code: Some(64001) }.outcome(), PaymentOutcome::Failed);
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
            prop_assert_ne!(outcome, PaymentOutcome::Succeeded);
        }
    }
}
