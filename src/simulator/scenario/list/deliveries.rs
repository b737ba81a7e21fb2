//! Scenarios in which Twilio's documentation is silent or its deliveries fail.

use std::time::Duration;

use super::{ASKS_TO_STORE, ENTERS_CARD, GETS_A_PERSON, NOTHING_PAID, scenario, stores_a_card};
use crate::simulator::caller::CallerStep::{HangsUp, Hears};
use crate::simulator::scenario::{Expectation, Scenario};
use crate::simulator::server_under_test::ServerOverrides;
use crate::simulator::twilio::CaptureField::CardNumber;
use crate::simulator::twilio::{
    CardMask, HttpFault, HttpFaultKind, PaymentResult, PaymentsRequest, Quirks, ResultReport, ScriptedRefusal,
    ScriptedSubmission,
};

/// The scenarios, in the order in which they are listed.
pub(super) fn all() -> Vec<Scenario> {
    vec![
        stores_a_card("callbacks-first", "Callbacks overtake the answers to the requests that they are about.")
            .with_quirks(Quirks { callback_first: true, card_mask: CardMask::Stars, ..Quirks::default() }),
        stores_a_card("callbacks-shuffled", "Callbacks arrive twice, in any order, and with the fewest members.")
            .with_quirks(Quirks {
                shuffle_seed: Some(7),
                duplicate_callbacks: true,
                minimal_callbacks: true,
                pascal_case_required: true,
                empty_error_type: true,
                card_mask: CardMask::Spaced,
                ..Quirks::default()
            }),
        stores_a_card("leaking-keys", "Keypad digits also arrive on the socket, and are dropped there.")
            .with_quirks(Quirks { leak_dtmf: true, ..Quirks::default() }),
        repeated(
            "lost-answer",
            "The answer to a request gets lost: it is repeated, and done once.",
            PaymentsRequest::Create,
            HttpFaultKind::ResponseLost,
        ),
        repeated(
            "lost-completion",
            "The answer to the completion gets lost: the card is stored once.",
            PaymentsRequest::Complete,
            HttpFaultKind::ResponseLost,
        ),
        repeated(
            "hanging-request",
            "A request is done, but its answer never comes.",
            PaymentsRequest::Complete,
            HttpFaultKind::NoResponse,
        ),
        repeated(
            "busy",
            "Twilio is too busy for a request at first.",
            PaymentsRequest::Capture(CardNumber),
            HttpFaultKind::TooManyRequests,
        ),
        scenario("twilio-down", "No payment can be created: the caller hears so, and gets a person.")
            .with_script(&[ASKS_TO_STORE, &[Hears("sorry")], GETS_A_PERSON])
            .with_quirks(trouble(PaymentsRequest::Create, HttpFaultKind::ServerError, usize::MAX))
            .with_expectations(NOTHING_PAID)
            .with_expectations(&[Expectation::PaymentsCreated(&[]), Expectation::HandOff]),
        refused("wrong-connector", "Twilio does not know the connector, and says so at once.", 64004, false),
        refused("connector-trouble", "The payment is created, and its connector fails a moment later.", 64001, true),
        no_result(),
        unknown_outcome(),
    ]
}

fn trouble(on: PaymentsRequest, how: HttpFaultKind, times: usize) -> Quirks {
    Quirks { http_fault: Some(HttpFault { request: on, kind: how, times }), ..Quirks::default() }
}

/// Creates a scenario in which a request must be retried with the same idempotency key.
fn repeated(name: &'static str, about: &'static str, on: PaymentsRequest, how: HttpFaultKind) -> Scenario {
    stores_a_card(name, about).with_quirks(trouble(on, how, 1)).with_expectations(&[Expectation::RequestRetried(on)])
}

fn refused(name: &'static str, about: &'static str, code: u32, by_callback: bool) -> Scenario {
    let refusal = ScriptedRefusal { request: PaymentsRequest::Create, code, by_callback };
    scenario(name, about)
        .with_script(&[ASKS_TO_STORE, &[Hears("sorry")], GETS_A_PERSON])
        .with_quirks(Quirks { refusal: Some(refusal), ..Quirks::default() })
        .with_expectations(NOTHING_PAID)
        .with_expectations(&[Expectation::HandOff])
}

fn unknown_outcome() -> Scenario {
    let about =
        "The caller hangs up before the result comes: the ledger says that it is unknown, until it comes after all.";
    let late = ScriptedSubmission::new(true, &[ResultReport::new(PaymentResult::Success).after_calls_end()]);
    scenario("unknown-outcome", about)
        .with_script(&[ASKS_TO_STORE, ENTERS_CARD, &[Hears("One moment"), HangsUp]])
        .with_quirks(Quirks { submissions: vec![late], ..Quirks::default() })
        .with_expectations(&[
            Expectation::RequestDone(PaymentsRequest::Complete, 1),
            Expectation::NeverSays("All set"),
            Expectation::LedgerStates(&[&["unknown"], &["tokenized"]]),
            Expectation::BusinessNotified(&["unknown", "tokenized"]),
        ])
}

fn no_result() -> Scenario {
    scenario("no-result", "Nothing ever comes after the completion: no success is claimed.")
        .with_script(&[ASKS_TO_STORE, ENTERS_CARD, &[Hears("One moment"), Hears("")], GETS_A_PERSON])
        .with_quirks(Quirks { submissions: vec![ScriptedSubmission::new(true, &[])], ..Quirks::default() })
        .with_server(ServerOverrides { stall: Some(Duration::from_millis(700)), ..ServerOverrides::default() })
        .with_expectations(&[
            Expectation::RequestDone(PaymentsRequest::Complete, 1),
            Expectation::NeverSays("All set"),
            Expectation::LedgerStates(&[&["unknown"]]),
            Expectation::HandOff,
        ])
}
