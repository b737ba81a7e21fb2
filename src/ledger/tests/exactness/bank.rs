//! Sessions at Twilio, and the bank behind them.

use super::super::*;

/// What the bank does with a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bank {
    Charges,
    Declines,
    /// The gateway never asks it.
    IsNotAsked,
}

/// A session at Twilio, and the bank's side of it.
#[derive(Debug)]
pub struct Session {
    pub sid: String,
    pub payment: PaymentId,
    pub call: String,
    /// The server asked for its submission, whatever came of that.
    pub is_submitted: bool,
    /// What the bank did with the one submission that Twilio took.
    pub bank: Option<Bank>,
    /// Twilio takes nothing more.
    pub is_over: bool,
}

pub type Fields = &'static [(&'static str, &'static str)];

/// Results that say nothing certain once a session is submitted, or contradict themselves.
const DOUBTFUL: [Fields; 7] = [
    &[("Result", "caller-hung-up")],
    &[("Result", "caller-interrupted-with-star")],
    &[("Result", "internal-error")],
    &[("Result", "payment-connector-error"), ("PayErrorCode", "64002"), ("PaymentError", "gateway timeout")],
    &[("Result", "payment-connector-error"), ("PayErrorCode", "64008"), ("PaymentError", "malformed response")],
    &[("Result", "success"), ("ChargeAmount", "2500.00")],
    &[("Result", "success"), ("PayConnector_payment_status", "DECLINED")],
];
pub const SUCCESSES: [Fields; 2] = [
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

impl Session {
    /// What Twilio may report of it: the truth, or something that leaves it open.
    pub fn reports(&self) -> Vec<Fields> {
        match self.bank {
            None if self.is_submitted => [&ENDINGS[..], &FAILURES].concat(),
            // A success of what was never submitted is one that contradicts itself.
            None => [&ENDINGS[..], &FAILURES, &SUCCESSES].concat(),
            Some(Bank::Charges) => [&SUCCESSES[..], &DOUBTFUL].concat(),
            Some(Bank::Declines) => [&DECLINES[..], &DOUBTFUL].concat(),
            Some(Bank::IsNotAsked) => [&FAILURES[..], &DOUBTFUL].concat(),
        }
    }

    pub fn is_charged(&self) -> bool {
        self.bank == Some(Bank::Charges)
    }
}

/// Twilio reports this of a session.
pub async fn report(ledger: &Ledger, session: &Session, fields: Fields) {
    let form: Vec<_> = [("CallSid", session.call.as_str()), ("Sid", &session.sid)]
        .iter()
        .chain(fields)
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    ledger.reported(&Status::from_form(&form).unwrap()).await.unwrap();
}
