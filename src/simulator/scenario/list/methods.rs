//! What callers pay with, other than a card whose number is entered once.

use serde_json::{Value, json};

use super::{ASKS_TO_PAY, ASKS_TO_STORE, CODE, DATE, GETS_A_PERSON, LEAVES, STORED, VISA, scenario, stores_a_card};
use crate::payment::{CardType, MethodName, Options, Parameters, matching};
use crate::simulator::caller::Step::{self, Enters, Hears, Presses, RunsOutOfTime, Says};
use crate::simulator::house::Tuning;
use crate::simulator::scenario::{Begins, Expect, Scenario};
use crate::simulator::twilio::Field::{
    BankAccountNumber, BankRoutingNumber, CardNumber, CardNumberMatcher, ExpirationDate, SecurityCode,
    SecurityCodeMatcher,
};
use crate::simulator::twilio::{Mask, Quirks, Request, Submission};

const ROUTING: &str = "110000000";
const ACCOUNT: &str = "000123456789";
const DISCOVER: &str = "6011111111111117";
const MASTERCARD: &str = "5555555555554444";

const ENTERS_ACCOUNT: &[Step] = &[Enters(BankRoutingNumber, ROUTING), Enters(BankAccountNumber, ACCOUNT)];

/// The scenarios, in the order in which they are listed.
pub fn all() -> Vec<Scenario> {
    vec![
        bank_account(),
        bank_account_wrong(),
        bank_account_declined(),
        bank_account_unnamed(),
        matching_inputs(),
        other_cards(),
    ]
}

fn bank_account() -> Scenario {
    let call = scenario("bank-account", "Somebody is called and pays a bill from a savings account.")
        .plays(&[ASKS_TO_PAY, ENTERS_ACCOUNT, LEAVES])
        .expects(&[
            Expect::PaysBy("ach-debit, consumer-savings, Invoice 1042 order-9"),
            Expect::Tells("taken from a bank account"),
            Expect::Payments(&[Some("25.00")]),
            Expect::Results(&["success"]),
            Expect::Does(Request::Complete, 1),
            Expect::WrongEntries(0),
            Expect::Says("your payment went through"),
        ]);
    Scenario { begins: Begins::OperatorCalls(from_a_savings_account), ..call }
}

fn from_a_savings_account() -> Value {
    json!({
        "callReference": "order-9", "description": "Invoice 1042",
        "paymentMethod": "ach-debit", "bankAccountType": "consumer-savings", "avsName": "Ann Lee",
    })
}

fn bank_account_wrong() -> Scenario {
    let enters = [
        Enters(BankRoutingNumber, "110000001"),
        Enters(BankRoutingNumber, ROUTING),
        Enters(BankAccountNumber, "12"),
        Presses(BankAccountNumber, "0001"),
        RunsOutOfTime,
        Enters(BankAccountNumber, ACCOUNT),
    ];
    stores_an_account("bank-account-wrong", "Routing number and account number are wrong at first, or not whole.")
        .plays(&[ASKS_TO_STORE_AN_ACCOUNT, &enters, LEAVES])
        .with_twilio(Quirks { callback_first: true, pascal: true, mask: Mask::Stars, ..Quirks::default() })
        .expects(&[
            Expect::WrongEntries(3),
            Expect::Payments(&[None]),
            Expect::Results(&["success"]),
            Expect::Says("your bank account is stored"),
        ])
}

fn bank_account_declined() -> Scenario {
    let tries_again = [Hears("another bank account"), Says("Yes, let me try another one.")];
    stores_an_account("bank-account-declined", "The bank refuses the first account; another one it takes.")
        .plays(&[ASKS_TO_STORE_AN_ACCOUNT, ENTERS_ACCOUNT, &tries_again, ENTERS_ACCOUNT, LEAVES])
        .with_twilio(Quirks {
            submissions: vec![Submission::declined(64010), Submission::succeeds()],
            ..Quirks::default()
        })
        .expects(&[Expect::Results(&["payment-connector-error", "success"]), Expect::Says("bank account was declined")])
}

const ASKS_TO_STORE_AN_ACCOUNT: &[Step] = &[
    Hears(""),
    Says("Hi, I'd like to leave my bank account with you."),
    Hears("bank account over the keypad"),
    Says("Yes, please."),
];

fn stores_an_account(name: &'static str, about: &'static str) -> Scenario {
    scenario(name, about)
        .with_server(Tuning { payments: Some(by_account), ..Tuning::default() })
        .expects(&[Expect::PaysBy("ach-debit, consumer-checking")])
}

fn by_account() -> Options {
    let holder = [("AVSName".to_owned(), "Acme & Sons".to_owned())];
    Options { method: MethodName::AchDebit, parameters: Parameters::default().with(holder), ..Options::default() }
}

/// Twilio would refuse every payment of this server.
fn bank_account_unnamed() -> Scenario {
    scenario(
        "bank-account-unnamed",
        "Nobody has said who holds the account: no payment is begun, and a person takes over.",
    )
    .plays(&[ASKS_TO_STORE_AN_ACCOUNT, &[Hears("sorry")], GETS_A_PERSON])
    .with_server(Tuning { payments: Some(without_holder), ..Tuning::default() })
    .expects(&[Expect::Payments(&[]), Expect::Calls("start-capture", 1), Expect::HandsOff])
}

fn without_holder() -> Options {
    Options { method: MethodName::AchDebit, ..Options::default() }
}

fn matching_inputs() -> Scenario {
    let enters = [
        Enters(CardNumber, VISA),
        // Which of the two was mistyped nobody knows: both are entered anew.
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
    .plays(&[ASKS_TO_STORE, &enters, LEAVES])
    .with_server(Tuning { payments: Some(twice), ..Tuning::default() })
    .with_twilio(Quirks { pascal: true, doubled: true, shuffled: Some(5), ..Quirks::default() })
    .expects(&[
        Expect::WrongEntries(1),
        Expect::Says("Once more the same card number"),
        Expect::Does(Request::Capture(CardNumberMatcher), 2),
        Expect::Does(Request::Capture(SecurityCodeMatcher), 1),
    ])
}

fn twice() -> Options {
    let fields = ["payment-card-number", "security-code"].into_iter().filter_map(matching).collect();
    Options { matching: fields, ..Options::default() }
}

fn other_cards() -> Scenario {
    let enters = [
        Enters(CardNumber, MASTERCARD),
        Enters(CardNumber, DISCOVER),
        Enters(SecurityCode, CODE),
        Enters(ExpirationDate, DATE),
    ];
    scenario("other-cards", "A business takes Visa and Discover: another card is not accepted.")
        .plays(&[ASKS_TO_STORE, &enters, LEAVES])
        .with_server(Tuning { payments: Some(visa_and_discover), ..Tuning::default() })
        .expects(STORED)
        .expects(&[Expect::WrongEntries(1)])
}

fn visa_and_discover() -> Options {
    Options { valid_card_types: vec![CardType::Visa, CardType::Discover], ..Options::default() }
}
