//! Twilio's payment sessions and the bank's decisions.

use super::super::*;

/// What the bank does with a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BankDecision {
    Charge,
    Decline,
    /// The gateway does not ask the bank.
    NotAsked,
}

/// A payment session at Twilio with the bank's decision.
#[derive(Debug)]
pub(super) struct BankSession {
    pub sid: String,
    pub payment: PaymentId,
    pub call: String,
    /// Whether the server has requested its submission, with any response.
    pub is_submitted: bool,
    /// The bank's decision on the one submission that Twilio accepted.
    pub bank: Option<BankDecision>,
    /// Twilio accepts no more requests.
    pub is_closed: bool,
}

pub(super) type Fields = &'static [(&'static str, &'static str)];

/// Results that are ambiguous after a submission, or contradict themselves.
const DOUBTFUL: [Fields; 7] = [
    &[("Result", "caller-hung-up")],
    &[("Result", "caller-interrupted-with-star")],
    &[("Result", "internal-error")],
    &[("Result", "payment-connector-error"), ("PayErrorCode", "64002"), ("PaymentError", "gateway timeout")],
    &[("Result", "payment-connector-error"), ("PayErrorCode", "64008"), ("PaymentError", "malformed response")],
    &[("Result", "success"), ("ChargeAmount", "2500.00")],
    &[("Result", "success"), ("PayConnector_payment_status", "DECLINED")],
];
pub(super) const SUCCESSES: [Fields; 2] = [
    &[("Result", "success"), ("ChargeAmount", "25.00")],
    &[("Result", " SUCCESS"), ("PaymentConfirmationCode", "ch_1")],
];
const DECLINES: [Fields; 2] = [
    &[("Result", "payment-connector-error"), ("PayErrorCode", "64012")],
    &[("Result", "payment-connector-error"), ("PayErrorCode", ""), ("ConnectorError", "card_declined")],
];
const FAILURES: [Fields; 2] =
    [&[("Result", "payment-connector-error"), ("PayErrorCode", "64001")], &[("Result", "validation-error")]];
const ENDINGS: [Fields; 3] = [
    &[("Result", "caller-hung-up")],
    &[("Result", "caller-interrupted-with-star")],
    &[("Result", "transaction-cancelled")],
];

impl BankSession {
    /// The results that Twilio may report: true ones, and ambiguous ones.
    pub(super) fn possible_results(&self) -> Vec<Fields> {
        match self.bank {
            None if self.is_submitted => [&ENDINGS[..], &FAILURES].concat(),
            // A success of a session that was never submitted contradicts itself.
            None => [&ENDINGS[..], &FAILURES, &SUCCESSES].concat(),
            Some(BankDecision::Charge) => [&SUCCESSES[..], &DOUBTFUL].concat(),
            Some(BankDecision::Decline) => [&DECLINES[..], &DOUBTFUL].concat(),
            Some(BankDecision::NotAsked) => [&FAILURES[..], &DOUBTFUL].concat(),
        }
    }

    pub(super) fn is_charged(&self) -> bool {
        self.bank == Some(BankDecision::Charge)
    }
}

/// Delivers a callback of a session.
pub(super) async fn report_result(ledger: &Ledger, session: &BankSession, fields: Fields) {
    let form: Vec<_> = [("CallSid", session.call.as_str()), ("Sid", &session.sid)]
        .iter()
        .chain(fields)
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    ledger
        .record_callback(
            &PaymentCallback::from_form(&form, &crate::payment::CallbackDigester::new(&"12345".into())).unwrap(),
        )
        .await
        .unwrap();
}
