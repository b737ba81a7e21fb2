//! Scenarios with contradictory, late or unknown results.

use super::{ASKS_ABOUT_BILL, BILL, ENTERS_CARD, GETS_A_PERSON, SAYS_GOODBYE, scenario};
use crate::simulator::caller::CallerStep::{self, Hears, Says};
use crate::simulator::scenario::{Expectation, Scenario};
use crate::simulator::twilio::{PaymentResult, PaymentsRequest, Quirks, ResultReport, ScriptedSubmission};

/// The scenarios, in the order in which they are listed.
pub(super) fn all() -> Vec<Scenario> {
    let (charged, not_charged) = (true, false);
    vec![
        unknown(
            "success-of-another-amount",
            "A success comes with another amount than was asked for: the payment is unknown, and a person looks it up.",
            &ScriptedSubmission::new(charged, &[SUCCESS.with_fields(&[("ChargeAmount", "2500.00")])]),
        ),
        unknown(
            "success-that-says-declined",
            "A success comes with a connector's status that says no: the payment is unknown, and a person looks it up.",
            &ScriptedSubmission::new(not_charged, &[SUCCESS.with_fields(DECLINED_BY_CONNECTOR)]),
        ),
        unknown(
            "gateway-timeout",
            "The gateway does not answer in time, though the bank charged: a person looks it up, and no card is tried again.",
            &ScriptedSubmission::new(charged, &[TIMEOUT]),
        ),
        succeeds_after_all(
            "timeout-then-success",
            "The gateway does not answer in time, and half a minute later the success comes: the caller hears of it.",
            &[TIMEOUT, SUCCESS.after_seconds(30)],
        )
        .with_script(&[ASKS_ABOUT_BILL, ENTERS_CARD, &[Hears("looks it up"), Hears("All set")], SAYS_GOODBYE])
        .with_expectations(&[
            Expectation::Results(&["payment-connector-error", "success"]),
            Expectation::BusinessNotified(&["unknown", "charged"]),
        ]),
        succeeds_after_all(
            "decline-then-success",
            "A decline is followed by a success: that is the last word to the caller, the ledger and the business.",
            &[DECLINE, SUCCESS.after_seconds(30)],
        )
        .with_script(&[ASKS_ABOUT_BILL, ENTERS_CARD, &[Hears("declined"), Hears("All set")], SAYS_GOODBYE])
        .with_expectations(&[
            Expectation::Results(&["payment-connector-error", "success"]),
            Expectation::BusinessNotified(&["declined", "charged"]),
        ]),
        succeeds_after_all(
            "shouted-success",
            "The result `success` comes in capitals and with a space: it counts.",
            &[SUCCESS.with_fields(&[("Result", " SUCCESS")])],
        )
        .with_script(&[ASKS_ABOUT_BILL, ENTERS_CARD, &[Hears("All set")], SAYS_GOODBYE])
        .with_expectations(&[Expectation::BusinessNotified(&["charged"])]),
        no_such_word(),
    ]
}

const SUCCESS: ResultReport = ResultReport::new(PaymentResult::Success);
const DECLINE: ResultReport = ResultReport::new(PaymentResult::Declined(64012));
const DECLINED_BY_CONNECTOR: &[(&str, &str)] =
    &[("PayConnector_payment_status", "DECLINED"), ("PayConnector_gateway_status", "DECLINED")];
const TIMEOUT: ResultReport = ResultReport::new(PaymentResult::Other("payment-connector-error")).with_fields(&[
    ("PayErrorCode", "64002"),
    ("PaymentError", "Gateway timeout"),
    ("ConnectorError", "the gateway did not answer in time"),
]);

fn submits(name: &'static str, about: &'static str, submission: ScriptedSubmission) -> Scenario {
    scenario(name, about)
        .with_call_parameters(BILL)
        .with_quirks(Quirks { submissions: vec![submission], ..Quirks::default() })
        .with_expectations(&[
            Expectation::PaymentsCreated(&[Some("25.00")]),
            Expectation::RequestDone(PaymentsRequest::Complete, 1),
        ])
}

/// The caller hears that the payment is being looked up, and tries another card without success.
const TRIES_ANOTHER_CARD: &[CallerStep] =
    &[Hears("looks it up"), Says("I have another card."), Hears("may have been charged already")];

fn unknown(name: &'static str, about: &'static str, submission: &ScriptedSubmission) -> Scenario {
    submits(name, about, submission.clone())
        .with_script(&[ASKS_ABOUT_BILL, ENTERS_CARD, TRIES_ANOTHER_CARD, GETS_A_PERSON])
        .with_expectations(if submission.is_booked {
            &[Expectation::BankCharges(&[Some("25.00")])]
        } else {
            &[Expectation::BankCharges(&[])]
        })
        .with_expectations(&[
            Expectation::LedgerStates(&[&["unknown"]]),
            Expectation::BusinessNotified(&["unknown"]),
            Expectation::NeverSays("All set"),
            Expectation::ToolCalled("start-capture", 2),
            Expectation::HandOff,
        ])
}

fn succeeds_after_all(name: &'static str, about: &'static str, reports: &[ResultReport]) -> Scenario {
    submits(name, about, ScriptedSubmission::new(true, reports)).with_expectations(&[
        Expectation::BankCharges(&[Some("25.00")]),
        Expectation::LedgerStates(&[&["charged"]]),
        Expectation::Says("your payment went through"),
    ])
}

fn no_such_word() -> Scenario {
    unknown(
        "unheard-of-result",
        "A result comes that no documentation knows: the payment is unknown, and a person looks it up.",
        &ScriptedSubmission::new(false, &[ResultReport::new(PaymentResult::Other("gateway-went-home"))]),
    )
}
