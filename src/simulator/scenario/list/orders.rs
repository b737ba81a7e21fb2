//! One order is paid once, over all calls and servers.

use super::{ASKS_ABOUT_BILL, ASKS_TO_PAY, BILL, ENTERS_CARD, GETS_A_PERSON, LEAVES, SAYS_GOODBYE, scenario};
use crate::simulator::caller::Step::{self, Forks, HangsUp, Hears, OperatorOrders, Redials, Says, ServerDies};
use crate::simulator::scenario::{Expect, Scenario};
use crate::simulator::twilio::{Quirks, Request, Submission};

/// The scenarios, in the order in which they are listed.
pub fn all() -> Vec<Scenario> {
    vec![two_lines(), redial_while_unknown(), redial_after_payment(), outlives_its_server(), outlives_with_amount_due()]
}

/// Pays, unless the order is being paid on another line.
const PAYS_IF_NO_OTHER_LINE_DOES: Step = Forks {
    hears: "another line",
    then: SAYS_GOODBYE,
    otherwise: &[ENTERS_CARD[0], ENTERS_CARD[1], ENTERS_CARD[2], LEAVES[0], LEAVES[1], LEAVES[2]],
};

fn two_lines() -> Scenario {
    let call = [ASKS_ABOUT_BILL, &[PAYS_IF_NO_OTHER_LINE_DOES]];
    let about = "Two callers pay one order at the same moment: one is charged, the other hears that it is being paid.";
    let scenario = scenario("two-lines", about).plays(&call).with_business(BILL).expects(&[
        Expect::Payments(&[Some("25.00")]),
        Expect::Charges(&[Some("25.00")]),
        Expect::Ledger(&[&["charged"]]),
        Expect::TellsBusiness(&["charged"]),
        Expect::Calls("start-capture", 2),
        Expect::OneHears("your payment went through", "another line"),
        Expect::OneHears("another line", "your payment went through"),
    ]);
    Scenario { other_line: call.concat(), ..scenario }
}

const ASKS_AGAIN: Step = Says("I'd like to pay my bill now.");

fn redial_while_unknown() -> Scenario {
    let redials =
        [Hears("One moment"), HangsUp, Redials, Hears(""), ASKS_AGAIN, Hears("may have been charged already")];
    let about =
        "The caller hangs up before the result comes and calls again: a person looks it up, and nothing is paid twice.";
    scenario("redial-while-unknown", about)
        .plays(&[
            ASKS_ABOUT_BILL,
            ENTERS_CARD,
            &redials,
            &[Says("Yes, go ahead."), Hears("may have been charged already")],
            GETS_A_PERSON,
        ])
        .with_business(BILL)
        .with_twilio(Quirks { submissions: vec![Submission::reported(true, &[])], ..Quirks::default() })
        .expects(&[
            Expect::Tells("For this order already: 25.00 USD was submitted"),
            Expect::Payments(&[Some("25.00")]),
            Expect::Charges(&[Some("25.00")]),
            Expect::Does(Request::Complete, 1),
            Expect::Ledger(&[&["unknown"]]),
            Expect::TellsBusiness(&["unknown"]),
            Expect::NeverSays("All set"),
            Expect::Calls("start-capture", 2),
            Expect::HandsOff,
        ])
}

/// What holds when 25 dollars were charged, once.
const CHARGED_ONCE: &[Expect] = &[
    Expect::Payments(&[Some("25.00")]),
    Expect::Charges(&[Some("25.00")]),
    Expect::Ledger(&[&["charged"]]),
    Expect::TellsBusiness(&["charged"]),
    Expect::Says("your payment went through"),
];

fn redial_after_payment() -> Scenario {
    let redials = [Redials, Hears(""), ASKS_AGAIN, Hears("was paid already")];
    let about =
        "The caller has paid and calls again: nothing more is charged, and no operator has the caller called for it.";
    scenario("redial-after-payment", about)
        .plays(&[
            ASKS_ABOUT_BILL,
            ENTERS_CARD,
            LEAVES,
            &redials,
            &[Says("Yes, go ahead."), Hears("was paid already")],
            SAYS_GOODBYE,
            &[OperatorOrders("order-7", 409)],
        ])
        .with_business(BILL)
        .expects(CHARGED_ONCE)
        .expects(&[Expect::Tells("For this order already: 25.00 USD was paid"), Expect::Calls("start-capture", 2)])
}

fn outlives_its_server() -> Scenario {
    let about =
        "The server dies after a charge that the caller agreed to, and the call goes on: the next one knows of it.";
    scenario("outlives-its-server", about)
        .plays(&[
            ASKS_TO_PAY,
            ENTERS_CARD,
            &[Hears("All set"), ServerDies, Hears("This was paid already")],
            SAYS_GOODBYE,
        ])
        .expects(CHARGED_ONCE)
        .expects(&[Expect::Tells("On this call already: 25.00 USD was paid")])
}

fn outlives_with_amount_due() -> Scenario {
    let about = "The server dies after what was due is charged: on the same call nothing is charged again.";
    scenario("outlives-its-server-due", about)
        .plays(&[
            ASKS_ABOUT_BILL,
            ENTERS_CARD,
            &[Hears("All set"), ServerDies, Hears("This was paid already"), ASKS_AGAIN],
            &[Hears("25.00"), Says("Yes, go ahead."), Hears("was paid already")],
            SAYS_GOODBYE,
        ])
        .with_business(BILL)
        .expects(CHARGED_ONCE)
        .expects(&[Expect::Tells("On this call already: 25.00 USD was paid"), Expect::Calls("start-capture", 2)])
}
