//! How much is let through: caps on what a call, a caller and an hour bring, and what is taken for card testing.
//!
//! What was counted is an argument. Times are those of the ledger.

use std::fmt;
use std::time::Duration;

use super::{Amount, AmountCaps, Currency, Last4, OrderRules};

/// `Payments.Limits` of serverConfig.json.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// On one call.
    pub per_call: Caps,
    /// On all calls of one caller within 24 hours. A caller without a number has none of these.
    pub per_caller: Caps,
    /// On all calls of this server within an hour.
    pub per_hour: Caps,
    /// What is taken for card testing, if anything is.
    pub card_testing: Option<CardTesting>,
    /// Which payments are one debt.
    pub orders: OrderRules,
}

/// The most that there may be of each; `None`: any number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caps {
    /// Entries that Twilio did not take. Once there are so many, nothing more can be entered.
    pub wrong_entries: Option<u32>,
    /// Cards that the bank refused.
    pub declines: Option<u32>,
    /// Payments that were begun, whatever became of them.
    pub payments: Option<u32>,
    /// What was charged, or still may be, in all, in each currency.
    pub amount: Option<AmountCaps>,
}

/// Which payments are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those of the call.
    Call,
    /// Those of the caller, on all calls.
    Caller,
    /// Those of all callers.
    Hour,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Entries that were not taken.
    WrongEntries,
    /// Cards that were declined.
    Declines,
    /// Payments that were begun.
    Payments,
    /// What is charged.
    Amount,
}

/// A cap that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cap {
    /// Where it was counted.
    pub scope: Scope,
    /// What was.
    pub counted: Counted,
}

/// What there is in a scope so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Entries that were not taken.
    pub wrong_entries: u64,
    /// Cards that were declined.
    pub declines: u64,
    /// Payments that are submitted, and may be declined yet.
    pub submitted: u64,
    /// Payments that were begun.
    pub payments: u64,
    /// Minor units that were charged or may be yet, in the currency of the charge at hand.
    pub minor: u64,
}

/// What somebody does who tries out stolen card numbers: `Payments.Limits.cardTesting`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CardTesting {
    /// So many declines of one caller, or of cards that end alike.
    pub declines: u32,
    /// So many cards of one caller that were declined and end differently.
    pub cards: u32,
    /// Within this time.
    pub window: Duration,
    /// How long it is blocked then.
    pub block: Duration,
}

/// How card testing was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// Many declines of one caller.
    Caller,
    /// Many cards of one caller.
    Cards,
    /// Many declines of cards with the same last four digits, whoever called.
    LastFour(Last4),
}

/// What was declined within the window of [`CardTesting`], the last decline included.
#[derive(Debug, Clone, Copy, Default)]
pub struct Declined {
    /// Of the caller.
    pub of_caller: u64,
    /// Different last four digits among those.
    pub cards_of_caller: u64,
    /// With these last four digits, of anybody.
    pub of_last4: Option<(Last4, u64)>,
}

impl Limits {
    /// No limit at all.
    pub const NONE: Self = Self {
        per_call: Caps::NONE,
        per_caller: Caps::NONE,
        per_hour: Caps::NONE,
        card_testing: None,
        orders: OrderRules { pay_again: false, same_again_minutes: 0 },
    };

    /// The caps of a scope.
    pub fn caps(&self, scope: Scope) -> &Caps {
        match scope {
            Scope::Call => &self.per_call,
            Scope::Caller => &self.per_caller,
            Scope::Hour => &self.per_hour,
        }
    }
}

/// What holds where serverConfig.json says nothing.
impl Default for Limits {
    fn default() -> Self {
        let caps = |wrong_entries, declines, payments| Caps { wrong_entries, declines, payments, amount: None };
        Self {
            per_call: caps(Some(9), Some(3), Some(5)),
            per_caller: caps(Some(20), Some(6), Some(10)),
            per_hour: caps(None, Some(60), None),
            card_testing: Some(CardTesting::default()),
            orders: OrderRules::default(),
        }
    }
}

impl Default for CardTesting {
    fn default() -> Self {
        let hour = Duration::from_secs(60 * 60);
        Self { declines: 5, cards: 4, window: hour, block: hour }
    }
}

impl Caps {
    /// No cap at all.
    pub const NONE: Self = Self { wrong_entries: None, declines: None, payments: None, amount: None };

    /// Which cap speaks against a payment that is to begin. Amounts count in the currency of the charge, and one that has no
    /// cap of its own is refused where there are caps on amounts. `configured` is the currency in which the server charges.
    pub fn against_start(&self, so_far: &Tally, charge: Option<Amount>, configured: Currency) -> Option<Counted> {
        let too_much = charge.zip(self.amount.as_ref()).is_some_and(|(charge, caps)| {
            let total = so_far.minor.saturating_add(charge.minor());
            let cap = caps.of(charge.currency(), configured);
            !cap.is_some_and(|cap| cap.allows(total, charge.currency()))
        });
        let payments = reached(self.payments, so_far.payments).then_some(Counted::Payments);
        let declines = reached(self.declines, so_far.declines).then_some(Counted::Declines);
        let before = self.against_entry(so_far).or(declines).or(payments);
        before.or(too_much.then_some(Counted::Amount))
    }

    /// Which cap speaks against a field that is to be entered.
    pub fn against_entry(&self, so_far: &Tally) -> Option<Counted> {
        reached(self.wrong_entries, so_far.wrong_entries).then_some(Counted::WrongEntries)
    }

    /// Which cap speaks against a payment that is to be submitted: each of those that are may be declined, and so may it.
    pub fn against_submission(&self, so_far: &Tally) -> Option<Counted> {
        reached(self.declines, so_far.declines.saturating_add(so_far.submitted)).then_some(Counted::Declines)
    }
}

fn reached(cap: Option<u32>, so_far: u64) -> bool {
    cap.is_some_and(|cap| so_far >= u64::from(cap))
}

impl CardTesting {
    /// What these declines look like.
    pub fn patterns(&self, declined: &Declined) -> impl Iterator<Item = Pattern> {
        let many = |count: u64| count >= u64::from(self.declines);
        let of_caller = if many(declined.of_caller) {
            Some(Pattern::Caller)
        } else {
            (declined.cards_of_caller >= u64::from(self.cards)).then_some(Pattern::Cards)
        };
        let of_last4 = declined.of_last4.filter(|(_, count)| many(*count)).map(|(last4, _)| Pattern::LastFour(last4));
        of_caller.into_iter().chain(of_last4)
    }
}

impl Scope {
    /// All of them, the narrowest first.
    pub const ALL: [Self; 3] = [Self::Call, Self::Caller, Self::Hour];

    /// For how long what was counted counts.
    pub fn window(self) -> Option<Duration> {
        let hour = Duration::from_secs(60 * 60);
        match self {
            Self::Call => None,
            Self::Caller => Some(24 * hour),
            Self::Hour => Some(hour),
        }
    }
}

/// As serverConfig.json names it.
impl fmt::Display for Cap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.scope {
            Scope::Call => "perCall.",
            Scope::Caller => "perCallerIn24Hours.",
            Scope::Hour => "perHour.",
        })?;
        f.write_str(match self.counted {
            Counted::WrongEntries => "wrongEntries",
            Counted::Declines => "declines",
            Counted::Payments => "payments",
            Counted::Amount => "amount",
        })
    }
}

impl Pattern {
    /// The word in the ledger.
    pub fn word(self) -> &'static str {
        match self {
            Self::Caller => "declines-of-one-caller",
            Self::Cards => "cards-of-one-caller",
            Self::LastFour(_) => "one-last-four",
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Caller => f.write_str("many declines of one caller"),
            Self::Cards => f.write_str("many cards of one caller were declined"),
            Self::LastFour(last4) => write!(f, "many declines of cards that end in {last4}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use proptest::prelude::*;

    const CURRENCIES: [&str; 4] = ["USD", "EUR", "JPY", "KWD"];

    fn dollars(text: &str) -> Amount {
        Amount::parse(text, Currency::USD).unwrap().unwrap()
    }

    fn start(caps: &Caps, so_far: Tally) -> Option<Counted> {
        caps.against_start(&so_far, Some(dollars("25")), Currency::USD)
    }

    #[test]
    fn each_cap_lets_so_many_through_and_no_more() {
        let one = Tally { wrong_entries: 1, declines: 1, submitted: 0, payments: 1, minor: 2_500 };
        let two = Tally { wrong_entries: 2, declines: 2, submitted: 0, payments: 2, minor: 2_501 };
        for (caps, counted) in [
            (Caps { wrong_entries: Some(2), ..Caps::default() }, Counted::WrongEntries),
            (Caps { declines: Some(2), ..Caps::default() }, Counted::Declines),
            (Caps { payments: Some(2), ..Caps::default() }, Counted::Payments),
            (Caps { amount: Some(AmountCaps::Configured("50".parse().unwrap())), ..Caps::default() }, Counted::Amount),
        ] {
            assert_eq!((start(&caps, one), start(&caps, two)), (None, Some(counted)), "{caps:?}");
        }
        assert_eq!(start(&Caps::default(), two), None);
    }

    #[test]
    fn what_is_submitted_may_be_declined_yet() {
        let caps = Caps { declines: Some(3), ..Caps::default() };
        let so_far = Tally { declines: 1, submitted: 1, ..Tally::default() };
        assert_eq!(caps.against_submission(&so_far), None);
        assert_eq!(caps.against_submission(&Tally { submitted: 2, ..so_far }), Some(Counted::Declines));
        assert_eq!(start(&caps, Tally { submitted: 2, ..so_far }), None, "it is looked at again when it is submitted");
    }

    #[test]
    fn what_is_charged_in_a_currency_without_a_cap_is_refused() {
        let caps = Caps { amount: Some(AmountCaps::Configured("9000".parse().unwrap())), ..Caps::default() };
        let euros = Amount::parse("1", "EUR".parse().unwrap()).unwrap();
        assert_eq!(caps.against_start(&Tally::default(), euros, Currency::USD), Some(Counted::Amount));
        assert_eq!(caps.against_start(&Tally::default(), None, Currency::USD), None, "nothing is charged");
        assert_eq!(Caps::default().against_start(&Tally::default(), euros, Currency::USD), None, "there is no cap");
    }

    #[test]
    fn card_testing_is_seen_in_the_caller_in_the_cards_and_in_how_they_end() {
        let last4 = Last4::from_mask("xxxx4242").unwrap();
        let seen = |of_caller, cards_of_caller, of_last4| {
            let declined = Declined { of_caller, cards_of_caller, of_last4: Some((last4, of_last4)) };
            CardTesting::default().patterns(&declined).collect::<Vec<_>>()
        };
        assert_eq!(seen(4, 3, 4), []);
        assert_eq!(seen(5, 4, 1), [Pattern::Caller]);
        assert_eq!(seen(4, 4, 1), [Pattern::Cards]);
        assert_eq!(seen(1, 1, 5), [Pattern::LastFour(last4)]);
        assert_eq!(seen(5, 1, 5), [Pattern::Caller, Pattern::LastFour(last4)]);
    }

    proptest! {
        #[test]
        fn no_cap_is_passed_in_any_currency_by_what_it_lets_through(
            caps in prop::collection::btree_map(prop::sample::select(&CURRENCIES[..]), 1_u64..100_000, 0..4),
            charges in prop::collection::vec((prop::sample::select(&CURRENCIES[..]), 1_u64..50_000), 0..30),
        ) {
            let currency = |code: &str| code.parse::<Currency>().unwrap();
            let major = |minor: u64, code| Amount::from_minor(minor, currency(code)).unwrap().to_string();
            let each = caps.iter().map(|(code, most)| (currency(code), major(*most, code).parse().unwrap())).collect();
            let limited = Caps { amount: Some(AmountCaps::Each(Arc::new(each))), ..Caps::default() };
            let mut charged: BTreeMap<&str, u64> = BTreeMap::new();
            for (code, minor) in charges {
                let so_far = charged.entry(code).or_default();
                let tally = Tally { minor: *so_far, ..Tally::default() };
                let barred = limited.against_start(&tally, Amount::from_minor(minor, currency(code)), Currency::USD);
                let fits = caps.get(code).is_some_and(|most| *so_far + minor <= *most);
                prop_assert_eq!(barred.is_none(), fits);
                *so_far += if fits { minor } else { 0 };
            }
        }
    }
}
