//! Scenarios in which the ledger's file fails during a payment.

use super::{ASKS_ABOUT_BILL, BILL, CODE, DATE, SAYS_GOODBYE, VISA, scenario};
use crate::simulator::caller::CallerStep::{
    Enters, Hears, LedgerFails, LedgerRecovers, Says, WaitsForRequest, WaitsForResult,
};
use crate::simulator::scenario::{Expectation, Scenario};
use crate::simulator::scenario_ledger::LedgerFault;
use crate::simulator::server_under_test::ServerOverrides;
use crate::simulator::twilio::CaptureField::{CardNumber, ExpirationDate, SecurityCode};
use crate::simulator::twilio::{PaymentResult, PaymentsRequest, Quirks, ResultReport, ScriptedSubmission};

/// The scenarios, in the order in which they are listed.
pub(super) fn all() -> Vec<Scenario> {
    vec![
        fails(
            "full-disk",
            "The disk is full between two fields and when the result comes: the payment goes on, and nothing is lost.",
            LedgerFault::DiskFull,
        ),
        fails(
            "locked-ledger",
            "Another process locks the ledger between two fields and when the result comes: nothing is lost.",
            LedgerFault::Locked,
        ),
    ]
}

fn fails(name: &'static str, about: &'static str, fault: LedgerFault) -> Scenario {
    let between_fields = [
        Enters(CardNumber, VISA),
        WaitsForRequest(PaymentsRequest::Capture(SecurityCode)),
        LedgerFails(fault),
        Enters(SecurityCode, CODE),
        Hears("sorry"),
        LedgerRecovers,
        Says("Let's try that again, please."),
        Enters(ExpirationDate, DATE),
    ];
    let at_the_result = [
        WaitsForRequest(PaymentsRequest::Complete),
        LedgerFails(fault),
        WaitsForResult,
        Hears("All set"),
        LedgerRecovers,
    ];
    // Late enough for the fault to be injected first.
    let success = ResultReport::new(PaymentResult::Success).after_seconds(20);
    scenario(name, about)
        .with_script(&[ASKS_ABOUT_BILL, &between_fields, &at_the_result, SAYS_GOODBYE])
        .with_server(ServerOverrides {
            call_parameters: Some(BILL),
            small_disk: fault == LedgerFault::DiskFull,
            ..ServerOverrides::default()
        })
        .with_quirks(Quirks { submissions: vec![ScriptedSubmission::new(true, &[success])], ..Quirks::default() })
        .with_expectations(&[
            Expectation::PaymentsCreated(&[Some("25.00")]),
            Expectation::BankCharges(&[Some("25.00")]),
            Expectation::RequestDone(PaymentsRequest::Complete, 1),
            Expectation::LedgerStates(&[&["charged"]]),
            Expectation::BusinessNotified(&["charged"]),
            Expectation::Says("your payment went through"),
        ])
}
