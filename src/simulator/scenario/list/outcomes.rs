//! Results that are not what they seem, and what is known all the same.

use super::{ASKS_ABOUT_BILL, BILL, ENTERS_CARD, GETS_A_PERSON, SAYS_GOODBYE, scenario};
use crate::simulator::caller::Step::{self, Hears, Says};
use crate::simulator::scenario::{Expect, Scenario};
use crate::simulator::twilio::{Ending, Quirks, Report, Request, Submission};

/// The scenarios, in the order in which they are listed.
pub fn all() -> Vec<Scenario> {
    let (charged, not_charged) = (true, false);
    vec![
        unknown(
            "success-of-another-amount",
            "A success comes with another amount than was asked for: it is not believed, and a person looks it up.",
            &Submission::reported(charged, &[SUCCESS.with(&[("ChargeAmount", "2500.00")])]),
        ),
        unknown(
            "success-that-says-declined",
            "A success comes with a connector's status that says no: it is not believed, and a person looks it up.",
            &Submission::reported(not_charged, &[SUCCESS.with(DECLINED_BY_CONNECTOR)]),
        ),
        unknown(
            "gateway-timeout",
            "The gateway does not answer in time, though the bank charged: a person looks it up, and no card is tried again.",
            &Submission::reported(charged, &[TIMEOUT]),
        ),
        succeeds_after_all(
            "timeout-then-success",
            "The gateway does not answer in time, and half a minute later the success comes: the caller hears of it.",
            &[TIMEOUT, SUCCESS.after(30)],
        )
        .plays(&[ASKS_ABOUT_BILL, ENTERS_CARD, &[Hears("looks it up"), Hears("All set")], SAYS_GOODBYE])
        .expects(&[
            Expect::Results(&["payment-connector-error", "success"]),
            Expect::TellsBusiness(&["unknown", "charged"]),
        ]),
        succeeds_after_all(
            "decline-then-success",
            "A decline is followed by a success: that is the last word to the caller, the ledger and the business.",
            &[DECLINE, SUCCESS.after(30)],
        )
        .plays(&[ASKS_ABOUT_BILL, ENTERS_CARD, &[Hears("declined"), Hears("All set")], SAYS_GOODBYE])
        .expects(&[
            Expect::Results(&["payment-connector-error", "success"]),
            Expect::TellsBusiness(&["declined", "charged"]),
        ]),
        succeeds_after_all(
            "shouted-success",
            "The word of a success comes in capitals and with a space: it is one.",
            &[SUCCESS.with(&[("Result", " SUCCESS")])],
        )
        .plays(&[ASKS_ABOUT_BILL, ENTERS_CARD, &[Hears("All set")], SAYS_GOODBYE])
        .expects(&[Expect::TellsBusiness(&["charged"])]),
        no_such_word(),
    ]
}

const SUCCESS: Report = Report::of(Ending::Success);
const DECLINE: Report = Report::of(Ending::Declined(64012));
const DECLINED_BY_CONNECTOR: &[(&str, &str)] =
    &[("PayConnector_payment_status", "DECLINED"), ("PayConnector_gateway_status", "DECLINED")];
const TIMEOUT: Report = Report::of(Ending::Word("payment-connector-error")).with(&[
    ("PayErrorCode", "64002"),
    ("PaymentError", "Gateway timeout"),
    ("ConnectorError", "the gateway did not answer in time"),
]);

fn submits(name: &'static str, about: &'static str, submission: Submission) -> Scenario {
    scenario(name, about)
        .with_business(BILL)
        .with_twilio(Quirks { submissions: vec![submission], ..Quirks::default() })
        .expects(&[Expect::Payments(&[Some("25.00")]), Expect::Does(Request::Complete, 1)])
}

/// The caller hears that a person looks it up, and tries another card in vain.
const TRIES_ANOTHER_CARD: &[Step] =
    &[Hears("looks it up"), Says("I have one more card."), Hears("may have been charged already")];

fn unknown(name: &'static str, about: &'static str, submission: &Submission) -> Scenario {
    submits(name, about, submission.clone())
        .plays(&[ASKS_ABOUT_BILL, ENTERS_CARD, TRIES_ANOTHER_CARD, GETS_A_PERSON])
        .expects(if submission.books { &[Expect::Charges(&[Some("25.00")])] } else { &[Expect::Charges(&[])] })
        .expects(&[
            Expect::Ledger(&[&["unknown"]]),
            Expect::TellsBusiness(&["unknown"]),
            Expect::NeverSays("All set"),
            Expect::Calls("start-capture", 2),
            Expect::HandsOff,
        ])
}

fn succeeds_after_all(name: &'static str, about: &'static str, reports: &[Report]) -> Scenario {
    submits(name, about, Submission::reported(true, reports)).expects(&[
        Expect::Charges(&[Some("25.00")]),
        Expect::Ledger(&[&["charged"]]),
        Expect::Says("your payment went through"),
    ])
}

fn no_such_word() -> Scenario {
    unknown(
        "unheard-of-result",
        "A result comes that no documentation knows: what happened is unknown, and a person looks it up.",
        &Submission::reported(false, &[Report::of(Ending::Word("gateway-went-home"))]),
    )
}
