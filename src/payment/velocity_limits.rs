//! Velocity limits per call, per caller and per hour, and card-testing detection.
//!
//! The counts are arguments. Time windows are measured by the ledger's timestamps.

use std::fmt;
use std::time::Duration;

use super::{Amount, AmountCaps, Currency, Last4, OrderRules};

/// `Payments.Limits` of serverConfig.json.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VelocityLimits {
    /// Caps on one call.
    pub per_call: VelocityCaps,
    /// Caps on all calls of one caller within 24 hours. They do not apply to a caller without a number.
    pub per_caller: VelocityCaps,
    /// Further caps on all calls of one caller within 24 hours, if the caller's number is not verified. For a caller
    /// without a number they apply to the call.
    pub unverified_caller: VelocityCaps,
    /// Caps on all calls of this server within an hour.
    pub per_hour: VelocityCaps,
    /// When declines count as card testing; `None`: never.
    pub card_testing: Option<CardTestingLimits>,
    /// Which payments count as the same debt.
    pub orders: OrderRules,
}

/// The caps of one scope; `None`: no cap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VelocityCaps {
    /// Wrong entries. Once the cap is reached, no field can be captured.
    pub wrong_entries: Option<u32>,
    /// Cards that were submitted without success.
    pub declines: Option<u32>,
    /// Payments that were begun, whatever their outcome.
    pub payments: Option<u32>,
    /// The total that was charged or may still be charged, in each currency.
    pub amount: Option<AmountCaps>,
}

/// Which payments are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitScope {
    /// Payments of the call.
    Call,
    /// Payments of the caller, on all calls.
    Caller,
    /// Payments of a caller whose number is not verified, on all calls.
    UnverifiedCaller,
    /// Payments of all callers.
    Hour,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitKind {
    /// Wrong entries.
    WrongEntries,
    /// Cards that were submitted without success.
    Declines,
    /// Payments that were begun.
    Payments,
    /// The total amount.
    Amount,
}

/// A cap that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReachedLimit {
    /// The scope of the cap.
    pub scope: LimitScope,
    /// What is counted.
    pub kind: LimitKind,
}

/// The counts of a scope so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VelocityCounts {
    /// Wrong entries.
    pub wrong_entries: u64,
    /// Cards that were submitted without success.
    pub declines: u64,
    /// Submitted payments, which may still be declined.
    pub submitted: u64,
    /// Payments that were begun.
    pub payments: u64,
    /// Minor units that were charged or may still be charged, in the currency of the charge that is checked.
    pub minor: u64,
}

/// When declines count as testing of stolen card numbers: `Payments.Limits.cardTesting`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CardTestingLimits {
    /// The number of declines of one caller, or of cards with the same last four digits.
    pub declines: u32,
    /// The number of declined cards of one caller with different last four digits.
    pub cards: u32,
    /// The time window in which declines are counted.
    pub window: Duration,
    /// How long payments are blocked after a detection.
    pub block_duration: Duration,
}

/// The pattern by which card testing was detected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CardTestingPattern {
    /// Many declines of one caller.
    DeclinesOfCaller,
    /// Many declined cards of one caller.
    CardsOfCaller,
    /// Many declines of cards with the same last four digits, of any caller.
    LastFour(Last4),
}

/// The declines within the window of [`CardTestingLimits`], including the last one.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeclineCounts {
    /// Declines of the caller.
    pub by_caller: u64,
    /// Different last four digits among those.
    pub cards_by_caller: u64,
    /// Declines of cards with these last four digits, of any caller.
    pub by_last4: Option<(Last4, u64)>,
}

impl VelocityLimits {
    /// No limit at all.
    pub const NONE: Self = Self {
        per_call: VelocityCaps::NONE,
        per_caller: VelocityCaps::NONE,
        unverified_caller: VelocityCaps::NONE,
        per_hour: VelocityCaps::NONE,
        card_testing: None,
        orders: OrderRules { pay_again: false, same_again_minutes: 0 },
    };

    /// The caps of a scope.
    pub fn caps(&self, scope: LimitScope) -> &VelocityCaps {
        match scope {
            LimitScope::Call => &self.per_call,
            LimitScope::Caller => &self.per_caller,
            LimitScope::UnverifiedCaller => &self.unverified_caller,
            LimitScope::Hour => &self.per_hour,
        }
    }
}

/// The defaults where serverConfig.json has no value.
impl Default for VelocityLimits {
    fn default() -> Self {
        let caps = |wrong_entries, declines, payments| VelocityCaps { wrong_entries, declines, payments, amount: None };
        Self {
            per_call: caps(Some(9), Some(3), Some(5)),
            per_caller: caps(Some(20), Some(6), Some(10)),
            unverified_caller: caps(Some(6), Some(2), Some(3)),
            per_hour: caps(None, Some(60), None),
            card_testing: Some(CardTestingLimits::default()),
            orders: OrderRules::default(),
        }
    }
}

impl Default for CardTestingLimits {
    fn default() -> Self {
        let hour = Duration::from_secs(60 * 60);
        Self { declines: 5, cards: 4, window: hour, block_duration: hour }
    }
}

impl VelocityCaps {
    /// No cap at all.
    pub const NONE: Self = Self { wrong_entries: None, declines: None, payments: None, amount: None };

    /// Returns the cap that blocks a new payment, if one does. Amounts count in the currency of the charge; if amounts
    /// are capped, a currency without a cap is refused. `configured` is the server's currency (`CURRENCY`).
    pub fn check_start(
        &self,
        so_far: &VelocityCounts,
        charge: Option<Amount>,
        configured: Currency,
    ) -> Option<LimitKind> {
        let too_much = charge.zip(self.amount.as_ref()).is_some_and(|(charge, caps)| {
            let total = so_far.minor.saturating_add(charge.minor());
            let cap = caps.cap_for(charge.currency(), configured);
            !cap.is_some_and(|cap| cap.allows(total, charge.currency()))
        });
        let payments = is_reached(self.payments, so_far.payments).then_some(LimitKind::Payments);
        let declines = is_reached(self.declines, so_far.declines).then_some(LimitKind::Declines);
        let before = self.check_entry(so_far).or(declines).or(payments);
        before.or(too_much.then_some(LimitKind::Amount))
    }

    /// Returns the cap that blocks the capture of a field, if one does.
    pub fn check_entry(&self, so_far: &VelocityCounts) -> Option<LimitKind> {
        is_reached(self.wrong_entries, so_far.wrong_entries).then_some(LimitKind::WrongEntries)
    }

    /// Returns the cap that blocks the submission of a payment, if one does. Submitted payments count as declines,
    /// since each may still be declined.
    pub fn check_submission(&self, so_far: &VelocityCounts) -> Option<LimitKind> {
        is_reached(self.declines, so_far.declines.saturating_add(so_far.submitted)).then_some(LimitKind::Declines)
    }
}

fn is_reached(cap: Option<u32>, so_far: u64) -> bool {
    cap.is_some_and(|cap| so_far >= u64::from(cap))
}

impl CardTestingLimits {
    /// Returns the card-testing patterns of these declines.
    pub fn detect_patterns(&self, declined: &DeclineCounts) -> impl Iterator<Item = CardTestingPattern> {
        let many = |count: u64| count >= u64::from(self.declines);
        let of_caller = if many(declined.by_caller) {
            Some(CardTestingPattern::DeclinesOfCaller)
        } else {
            (declined.cards_by_caller >= u64::from(self.cards)).then_some(CardTestingPattern::CardsOfCaller)
        };
        let of_last4 =
            declined.by_last4.filter(|(_, count)| many(*count)).map(|(last4, _)| CardTestingPattern::LastFour(last4));
        of_caller.into_iter().chain(of_last4)
    }
}

impl LimitScope {
    /// All scopes, the narrowest first.
    pub const ALL: [Self; 4] = [Self::Call, Self::UnverifiedCaller, Self::Caller, Self::Hour];

    /// The time window of the scope; `None`: the whole call.
    pub fn window(self) -> Option<Duration> {
        let hour = Duration::from_secs(60 * 60);
        match self {
            Self::Call => None,
            Self::Caller | Self::UnverifiedCaller => Some(24 * hour),
            Self::Hour => Some(hour),
        }
    }
}

/// The name of the cap in serverConfig.json.
impl fmt::Display for ReachedLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.scope {
            LimitScope::Call => "perCall.",
            LimitScope::Caller => "perCallerIn24Hours.",
            LimitScope::UnverifiedCaller => "unverifiedCaller.",
            LimitScope::Hour => "perHour.",
        })?;
        f.write_str(self.kind.as_str())
    }
}

impl LimitKind {
    /// The name of the cap in its scope.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WrongEntries => "wrongEntries",
            Self::Declines => "declines",
            Self::Payments => "payments",
            Self::Amount => "amount",
        }
    }
}

impl CardTestingPattern {
    /// The value stored in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DeclinesOfCaller => "declines-of-one-caller",
            Self::CardsOfCaller => "cards-of-one-caller",
            Self::LastFour(_) => "one-last-four",
        }
    }
}

impl fmt::Display for CardTestingPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeclinesOfCaller => f.write_str("many declines of one caller"),
            Self::CardsOfCaller => f.write_str("many cards of one caller were declined"),
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

    fn start(caps: &VelocityCaps, so_far: VelocityCounts) -> Option<LimitKind> {
        caps.check_start(&so_far, Some(dollars("25")), Currency::USD)
    }

    #[test]
    fn each_cap_blocks_once_it_is_reached() {
        let one = VelocityCounts { wrong_entries: 1, declines: 1, submitted: 0, payments: 1, minor: 2_500 };
        let two = VelocityCounts { wrong_entries: 2, declines: 2, submitted: 0, payments: 2, minor: 2_501 };
        for (caps, counted) in [
            (VelocityCaps { wrong_entries: Some(2), ..VelocityCaps::default() }, LimitKind::WrongEntries),
            (VelocityCaps { declines: Some(2), ..VelocityCaps::default() }, LimitKind::Declines),
            (VelocityCaps { payments: Some(2), ..VelocityCaps::default() }, LimitKind::Payments),
            (
                VelocityCaps {
                    amount: Some(AmountCaps::ConfiguredCurrency("50".parse().unwrap())),
                    ..VelocityCaps::default()
                },
                LimitKind::Amount,
            ),
        ] {
            assert_eq!((start(&caps, one), start(&caps, two)), (None, Some(counted)), "{caps:?}");
        }
        assert_eq!(start(&VelocityCaps::default(), two), None);
    }

    #[test]
    fn submitted_payments_count_as_declines() {
        let caps = VelocityCaps { declines: Some(3), ..VelocityCaps::default() };
        let so_far = VelocityCounts { declines: 1, submitted: 1, ..VelocityCounts::default() };
        assert_eq!(caps.check_submission(&so_far), None);
        assert_eq!(caps.check_submission(&VelocityCounts { submitted: 2, ..so_far }), Some(LimitKind::Declines));
        assert_eq!(
            start(&caps, VelocityCounts { submitted: 2, ..so_far }),
            None,
            "the cap is checked again at submission"
        );
    }

    #[test]
    fn a_charge_in_a_currency_without_a_cap_is_refused() {
        let caps = VelocityCaps {
            amount: Some(AmountCaps::ConfiguredCurrency("9000".parse().unwrap())),
            ..VelocityCaps::default()
        };
        let euros = Amount::parse("1", "EUR".parse().unwrap()).unwrap();
        assert_eq!(caps.check_start(&VelocityCounts::default(), euros, Currency::USD), Some(LimitKind::Amount));
        assert_eq!(caps.check_start(&VelocityCounts::default(), None, Currency::USD), None, "nothing is charged");
        assert_eq!(
            VelocityCaps::default().check_start(&VelocityCounts::default(), euros, Currency::USD),
            None,
            "there is no cap"
        );
    }

    #[test]
    fn card_testing_is_detected_by_caller_by_cards_and_by_last_four_digits() {
        let last4 = Last4::from_mask("xxxx4242").unwrap();
        let seen = |of_caller, cards_of_caller, of_last4| {
            let declined = DeclineCounts {
                by_caller: of_caller,
                cards_by_caller: cards_of_caller,
                by_last4: Some((last4, of_last4)),
            };
            CardTestingLimits::default().detect_patterns(&declined).collect::<Vec<_>>()
        };
        assert_eq!(seen(4, 3, 4), []);
        assert_eq!(seen(5, 4, 1), [CardTestingPattern::DeclinesOfCaller]);
        assert_eq!(seen(4, 4, 1), [CardTestingPattern::CardsOfCaller]);
        assert_eq!(seen(1, 1, 5), [CardTestingPattern::LastFour(last4)]);
        assert_eq!(seen(5, 1, 5), [CardTestingPattern::DeclinesOfCaller, CardTestingPattern::LastFour(last4)]);
    }

    proptest! {
        #[test]
        fn totals_stay_within_the_cap_of_each_currency(
            caps in prop::collection::btree_map(prop::sample::select(&CURRENCIES[..]), 1_u64..100_000, 0..4),
            charges in prop::collection::vec((prop::sample::select(&CURRENCIES[..]), 1_u64..50_000), 0..30),
        ) {
            let currency = |code: &str| code.parse::<Currency>().unwrap();
            let major = |minor: u64, code| Amount::from_minor(minor, currency(code)).unwrap().to_string();
            let each = caps.iter().map(|(code, most)| (currency(code), major(*most, code).parse().unwrap())).collect();
            let limited = VelocityCaps { amount: Some(AmountCaps::PerCurrency(Arc::new(each))), ..VelocityCaps::default() };
            let mut charged: BTreeMap<&str, u64> = BTreeMap::new();
            for (code, minor) in charges {
                let so_far = charged.entry(code).or_default();
                let tally = VelocityCounts { minor: *so_far, ..VelocityCounts::default() };
                let barred = limited.check_start(&tally, Amount::from_minor(minor, currency(code)), Currency::USD);
                let fits = caps.get(code).is_some_and(|most| *so_far + minor <= *most);
                prop_assert_eq!(barred.is_none(), fits);
                *so_far += if fits { minor } else { 0 };
            }
        }
    }
}
