//! The file of the ledger fails in the middle of a payment.

use super::{ASKS_ABOUT_BILL, BILL, CODE, DATE, SAYS_GOODBYE, VISA, scenario};
use crate::simulator::caller::Step::{Enters, Hears, LedgerFails, LedgerHeals, Says, Sees, SeesResult};
use crate::simulator::house::Tuning;
use crate::simulator::ledger_file::Fault;
use crate::simulator::scenario::{Expect, Scenario};
use crate::simulator::twilio::Field::{CardNumber, ExpirationDate, SecurityCode};
use crate::simulator::twilio::{Ending, Quirks, Report, Request, Submission};

/// The scenarios, in the order in which they are listed.
pub fn all() -> Vec<Scenario> {
    vec![
        fails(
            "full-disk",
            "The disk is full between two fields and when the result comes: the payment goes on, and all of it is known.",
            Fault::Full,
        ),
        fails(
            "locked-ledger",
            "Another process locks the ledger between two fields and when the result comes: all of it is known in the end.",
            Fault::Locked,
        ),
    ]
}

fn fails(name: &'static str, about: &'static str, fault: Fault) -> Scenario {
    let between_fields = [
        Enters(CardNumber, VISA),
        Sees(Request::Capture(SecurityCode)),
        LedgerFails(fault),
        Enters(SecurityCode, CODE),
        Hears("sorry"),
        LedgerHeals,
        Says("Let's try that again, please."),
        Enters(ExpirationDate, DATE),
    ];
    let at_the_result = [Sees(Request::Complete), LedgerFails(fault), SeesResult, Hears("All set"), LedgerHeals];
    // Long enough for the fault to be there first.
    let success = Report::of(Ending::Success).after(20);
    scenario(name, about)
        .plays(&[ASKS_ABOUT_BILL, &between_fields, &at_the_result, SAYS_GOODBYE])
        .with_server(Tuning { business: Some(BILL), small_disk: fault == Fault::Full, ..Tuning::default() })
        .with_twilio(Quirks { submissions: vec![Submission::reported(true, &[success])], ..Quirks::default() })
        .expects(&[
            Expect::Payments(&[Some("25.00")]),
            Expect::Charges(&[Some("25.00")]),
            Expect::Does(Request::Complete, 1),
            Expect::Ledger(&[&["charged"]]),
            Expect::TellsBusiness(&["charged"]),
            Expect::Says("your payment went through"),
        ])
}
