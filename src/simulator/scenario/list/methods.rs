//! Scenarios with bank accounts, matching inputs and other card types.

use serde_json::{Value, json};

use super::{
    ASKS_TO_PAY, ASKS_TO_STORE, CODE, DATE, ENDS_CALL, ENTERS_CARD, GETS_A_PERSON, SAYS_GOODBYE, STORED, VISA,
    scenario, stores_a_card,
};
use crate::payment::{CardType, PaymentMethodName, PaymentOptions, ProcessorParameters, parse_matching_input};
use crate::simulator::caller::CallerStep::{self, Enters, Hears, Presses, Says, WaitsForEntryTimeout};
use crate::simulator::relay::CallDirection;
use crate::simulator::scenario::{Expectation, Scenario};
use crate::simulator::server_under_test::ServerOverrides;
use crate::simulator::twilio::CaptureField::{
    BankAccountNumber, BankRoutingNumber, CardNumber, CardNumberMatcher, ExpirationDate, SecurityCode,
    SecurityCodeMatcher,
};
use crate::simulator::twilio::{CardMask, PaymentsRequest, Quirks, ScriptedSubmission};

const ROUTING: &str = "122105155";
const ACCOUNT: &str = "000123456789";
const DISCOVER: &str = "6011111111111117";
const MASTERCARD: &str = "5555555555554444";

const ENTERS_ACCOUNT: &[CallerStep] = &[Enters(BankRoutingNumber, ROUTING), Enters(BankAccountNumber, ACCOUNT)];

/// The scenarios, in the order in which they are listed.
pub(super) fn all() -> Vec<Scenario> {
    vec![
        bank_account(),
        bank_debit_refused(),
        stored_card_agreed(),
        stored_card_refused(),
        bank_account_wrong(),
        bank_account_declined(),
        bank_account_unnamed(),
        matching_inputs(),
        other_cards(),
    ]
}

fn bank_account() -> Scenario {
    let call = scenario("bank-account", "A customer is called and pays a bill from a savings account.")
        .with_script(&[ASKS_TO_PAY, ENTERS_ACCOUNT, AUTHORIZES_DEBIT, ENDS_CALL])
        .with_expectations(&[
            Expectation::PaymentMethod("ach-debit, consumer-savings, Invoice 1042 order-9"),
            Expectation::DeveloperMessage("taken from a bank account"),
            Expectation::DeveloperMessage("the caller said yes to the debit"),
            Expectation::PaymentsCreated(&[Some("25.00")]),
            Expectation::Results(&["success"]),
            Expectation::RequestDone(PaymentsRequest::Complete, 1),
            Expectation::WrongEntries(0),
            Expectation::Says("your payment went through"),
        ]);
    Scenario { direction: CallDirection::Outbound(from_a_savings_account), ..call }
}

/// What the server reads before an account is debited.
const READS_AUTHORIZATION: CallerStep = Hears("authorize us to make one electronic debit of 25 dollars");
const AUTHORIZES_DEBIT: &[CallerStep] = &[READS_AUTHORIZATION, Says("Yes, I authorize that.")];

fn bank_debit_refused() -> Scenario {
    let about = "The caller enters an account, and does not authorise its debit: nothing is submitted.";
    let refuses = [READS_AUTHORIZATION, Says("No."), Hears("nothing was charged")];
    scenario("bank-debit-refused", about)
        .with_server(ServerOverrides { payments: Some(by_account), ..ServerOverrides::default() })
        .with_script(&[ASKS_TO_PAY, ENTERS_ACCOUNT, &refuses, SAYS_GOODBYE])
        .with_expectations(&[
            Expectation::PaymentsCreated(&[Some("25.00")]),
            Expectation::DeveloperMessage("the caller said no to the debit"),
            Expectation::RequestDone(PaymentsRequest::Complete, 0),
            Expectation::Results(&["transaction-cancelled"]),
            Expectation::BusinessNotified(&["cancelled"]),
            Expectation::NeverSays("All set"),
        ])
}

/// What the server reads before a card is stored.
const READS_AGREEMENT: CallerStep = Hears("You allow us to keep your card ending in 4 2 4 2");

/// A server that stores cards for later charges.
fn storing_for_later() -> ServerOverrides {
    ServerOverrides { vars: &[("TOKEN_TYPE", "reusable")], ..ServerOverrides::default() }
}

fn stored_card_agreed() -> Scenario {
    let about = "A card is stored for later charges, once the caller has agreed to what the server reads.";
    scenario("stored-card-agreed", about)
        .with_server(storing_for_later())
        .with_script(&[ASKS_TO_STORE, ENTERS_CARD, &[READS_AGREEMENT, Says("Yes.")], ENDS_CALL])
        .with_expectations(STORED)
        .with_expectations(&[Expectation::DeveloperMessage("the caller said yes to storing it")])
}

fn stored_card_refused() -> Scenario {
    let about = "The caller does not agree that the card is stored: nothing is.";
    let refuses = [READS_AGREEMENT, Says("No, thank you."), Hears("nothing was charged")];
    scenario("stored-card-refused", about)
        .with_server(storing_for_later())
        .with_script(&[ASKS_TO_STORE, ENTERS_CARD, &refuses, SAYS_GOODBYE])
        .with_expectations(&[
            Expectation::PaymentsCreated(&[None]),
            Expectation::RequestDone(PaymentsRequest::Complete, 0),
            Expectation::Results(&["transaction-cancelled"]),
            Expectation::NeverSays("All set"),
        ])
}

fn from_a_savings_account() -> Value {
    json!({
        "callReference": "order-9", "description": "Invoice 1042", "relationship": true,
        "paymentMethod": "ach-debit", "bankAccountType": "consumer-savings", "avsName": "Ann Lee",
    })
}

fn bank_account_wrong() -> Scenario {
    let enters = [
        Enters(BankRoutingNumber, "122105156"),
        Enters(BankRoutingNumber, ROUTING),
        Enters(BankAccountNumber, "12"),
        Presses(BankAccountNumber, "0001"),
        WaitsForEntryTimeout,
        Enters(BankAccountNumber, ACCOUNT),
    ];
    stores_an_account("bank-account-wrong", "Routing number and account number are wrong at first, or not whole.")
        .with_script(&[ASKS_TO_STORE_AN_ACCOUNT, &enters, ENDS_CALL])
        .with_quirks(Quirks {
            callback_first: true,
            pascal_case_required: true,
            card_mask: CardMask::Stars,
            ..Quirks::default()
        })
        .with_expectations(&[
            Expectation::WrongEntries(3),
            Expectation::PaymentsCreated(&[None]),
            Expectation::Results(&["success"]),
            Expectation::Says("your bank account is stored"),
        ])
}

fn bank_account_declined() -> Scenario {
    let tries_again = [Hears("another bank account"), Says("Yes, let me try another one.")];
    stores_an_account("bank-account-declined", "The bank refuses the first account; another one it takes.")
        .with_script(&[ASKS_TO_STORE_AN_ACCOUNT, ENTERS_ACCOUNT, &tries_again, ENTERS_ACCOUNT, ENDS_CALL])
        .with_quirks(Quirks {
            submissions: vec![ScriptedSubmission::declined(64010), ScriptedSubmission::success()],
            ..Quirks::default()
        })
        .with_expectations(&[
            Expectation::Results(&["payment-connector-error", "success"]),
            Expectation::Says("bank account was declined"),
        ])
}

const ASKS_TO_STORE_AN_ACCOUNT: &[CallerStep] = &[
    Hears(""),
    Says("Hi, I'd like to leave my bank account with you."),
    Hears("bank account over the keypad"),
    Says("Yes, please."),
];

fn stores_an_account(name: &'static str, about: &'static str) -> Scenario {
    scenario(name, about)
        .with_server(ServerOverrides { payments: Some(by_account), ..ServerOverrides::default() })
        .with_expectations(&[Expectation::PaymentMethod("ach-debit, consumer-checking")])
}

fn by_account() -> PaymentOptions {
    let holder = [("AVSName".to_owned(), "Acme & Sons".to_owned())];
    PaymentOptions {
        method: PaymentMethodName::AchDebit,
        parameters: ProcessorParameters::default().with(holder),
        ..PaymentOptions::default()
    }
}

/// Twilio refuses payments from a bank account without `AVSName`.
fn bank_account_unnamed() -> Scenario {
    scenario(
        "bank-account-unnamed",
        "The name of the account holder is missing: no payment is begun, and a person takes over.",
    )
    .with_script(&[ASKS_TO_STORE_AN_ACCOUNT, &[Hears("sorry")], GETS_A_PERSON])
    .with_server(ServerOverrides { payments: Some(without_holder), ..ServerOverrides::default() })
    .with_expectations(&[
        Expectation::PaymentsCreated(&[]),
        Expectation::ToolCalled("start-capture", 1),
        Expectation::HandOff,
    ])
}

fn without_holder() -> PaymentOptions {
    PaymentOptions { method: PaymentMethodName::AchDebit, ..PaymentOptions::default() }
}

fn matching_inputs() -> Scenario {
    let enters = [
        Enters(CardNumber, VISA),
        // Either of the two may be mistyped, so both are entered again.
        Enters(CardNumberMatcher, MASTERCARD),
        Enters(CardNumber, VISA),
        Enters(CardNumberMatcher, VISA),
        Enters(SecurityCode, CODE),
        Enters(SecurityCodeMatcher, CODE),
        Enters(ExpirationDate, DATE),
    ];
    stores_a_card(
        "matching-inputs",
        "Card number and security code are entered twice, the number differently at first.",
    )
    .with_script(&[ASKS_TO_STORE, &enters, ENDS_CALL])
    .with_server(ServerOverrides { payments: Some(twice), ..ServerOverrides::default() })
    .with_quirks(Quirks {
        pascal_case_required: true,
        duplicate_callbacks: true,
        shuffle_seed: Some(5),
        ..Quirks::default()
    })
    .with_expectations(&[
        Expectation::WrongEntries(1),
        Expectation::Says("Once more the same card number"),
        Expectation::RequestDone(PaymentsRequest::Capture(CardNumberMatcher), 2),
        Expectation::RequestDone(PaymentsRequest::Capture(SecurityCodeMatcher), 1),
    ])
}

fn twice() -> PaymentOptions {
    let fields = ["payment-card-number", "security-code"].into_iter().filter_map(parse_matching_input).collect();
    PaymentOptions { matching_inputs: fields, ..PaymentOptions::default() }
}

fn other_cards() -> Scenario {
    let enters = [
        Enters(CardNumber, MASTERCARD),
        Enters(CardNumber, DISCOVER),
        Enters(SecurityCode, CODE),
        Enters(ExpirationDate, DATE),
    ];
    scenario("other-cards", "A business takes Visa and Discover: another card is not accepted.")
        .with_script(&[ASKS_TO_STORE, &enters, ENDS_CALL])
        .with_server(ServerOverrides { payments: Some(visa_and_discover), ..ServerOverrides::default() })
        .with_expectations(STORED)
        .with_expectations(&[Expectation::WrongEntries(1)])
}

fn visa_and_discover() -> PaymentOptions {
    PaymentOptions { valid_card_types: vec![CardType::Visa, CardType::Discover], ..PaymentOptions::default() }
}
