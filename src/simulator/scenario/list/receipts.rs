//! Scenarios of receipts: the text message after a payment that succeeded.

use super::{ASKS_ABOUT_BILL, BILL, CODE, DATE, ENTERS_CARD, SAYS_GOODBYE, VISA, scenario};
use crate::simulator::caller::CallerStep::{
    Enters, HangsUp, Hears, LateResultsCome, ServerDies, WaitsForMessage, WaitsForRequest,
};
use crate::simulator::scenario::{Expectation, Scenario};
use crate::simulator::server_under_test::ServerOverrides;
use crate::simulator::twilio::CaptureField::{CardNumber, ExpirationDate, SecurityCode};
use crate::simulator::twilio::{PaymentResult, PaymentsRequest, Quirks, ResultReport, ScriptedSubmission};

/// The scenarios, in the order in which they are listed.
pub(super) fn all() -> Vec<Scenario> {
    vec![
        pays("receipt", "The server sends a receipt by text message, and the agent says so once Twilio has taken it.")
            .with_script(&[ASKS_ABOUT_BILL, ENTERS_CARD, &[Hears("All set"), Hears(SENT)], SAYS_GOODBYE])
            .with_expectations(&[
                Expectation::MessagesRequested(&["Acme: we received your payment of 25.00 USD"]),
                Expectation::SaysOnce(SENT),
            ]),
        pays(
            "receipt-landline",
            "Twilio refuses the receipt, since the caller calls from a landline: the agent promises none.",
        )
        .with_script(&[ASKS_ABOUT_BILL, ENTERS_CARD, &[Hears("All set"), Hears(NONE)], SAYS_GOODBYE])
        .with_quirks(Quirks { message_refusal: Some(21614), ..Quirks::default() })
        .with_expectations(&[
            Expectation::MessagesRequested(&["25.00 USD"]),
            Expectation::SaysOnce(NONE),
            Expectation::NeverSays(SENT),
        ]),
        restart(),
    ]
}

const SENT: &str = "I have sent you a receipt";
const NONE: &str = "I cannot send you a receipt";

/// A payment of a bill whose payer gets a receipt.
fn pays(name: &'static str, about: &'static str) -> Scenario {
    scenario(name, about)
        .with_server(ServerOverrides {
            call_parameters: Some(BILL),
            vars: &[("BUSINESS_NAME", "Acme"), ("BUSINESS_PHONE", "+15550100003")],
            config: r#"{
                "ConversationRelay": { "Configuration": { "welcomeGreeting": "Hello.", "events": "speaker-events tokens-played" } },
                "Compliance": { "disclosure": false, "receipt": true }
            }"#,
            ..ServerOverrides::default()
        })
        .with_expectations(&[
            Expectation::PaymentsCreated(&[Some("25.00")]),
            Expectation::BankCharges(&[Some("25.00")]),
            Expectation::RequestDone(PaymentsRequest::Complete, 1),
        ])
}

fn restart() -> Scenario {
    let hangs_up = [
        Enters(CardNumber, VISA),
        Enters(SecurityCode, CODE),
        Enters(ExpirationDate, DATE),
        WaitsForRequest(PaymentsRequest::Complete),
        HangsUp,
        LateResultsCome,
        ServerDies,
        WaitsForMessage,
    ];
    let success = ResultReport::new(PaymentResult::Success).after_calls_end();
    let about = "The caller hangs up, the result comes, and the server is killed before the receipt is sent: the next one sends it once.";
    pays("receipt-after-restart", about)
        .with_script(&[ASKS_ABOUT_BILL, &hangs_up])
        .with_quirks(Quirks { submissions: vec![ScriptedSubmission::new(true, &[success])], ..Quirks::default() })
        .with_expectations(&[Expectation::MessagesRequested(&["25.00 USD"])])
}
