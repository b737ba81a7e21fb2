//! What responses of the model cost, in exact decimal arithmetic.

use std::collections::BTreeMap;
use std::fmt;
use std::iter::Sum;
use std::ops::Add;
use std::str::FromStr;

use crate::call::TokenUsage;

/// Decimal places of a price in dollars per million tokens. A price of one unit then is a [`Cost`] of one unit a token.
const PRICE_DECIMALS: usize = 6;

/// An amount of US dollars, in 10⁻¹² dollars. Sums end at the largest amount, about 18 million dollars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Cost(u64);

/// The prices of a model's tokens, in 10⁻¹² dollars per token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelPrices {
    input: u64,
    cached: u64,
    output: u64,
}

/// The prices of models by their names. Its form as text is `model=input/cached/output`, with commas between models:
/// dollars per million tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PriceTable(BTreeMap<String, ModelPrices>);

/// The text is no price table. A predicate whose subject is the variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a list of models with three prices each, or names a model twice")]
pub struct ParsePriceTableError;

impl PriceTable {
    /// The prices of a model, if the table has them.
    pub fn find(&self, model: &str) -> Option<ModelPrices> {
        self.0.get(model).copied()
    }
}

impl FromStr for PriceTable {
    type Err = ParsePriceTableError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut prices = BTreeMap::new();
        for entry in text.split(',') {
            let (model, own) = entry.split_once('=').ok_or(ParsePriceTableError)?;
            let own = ModelPrices::parse(own).ok_or(ParsePriceTableError)?;
            if model.trim().is_empty() || prices.insert(model.trim().to_owned(), own).is_some() {
                return Err(ParsePriceTableError);
            }
        }
        Ok(Self(prices))
    }
}

impl ModelPrices {
    /// The prices of one of OpenAI's models at its standard service tier, where they are built in.
    pub(crate) fn of_model(name: &str) -> Option<Self> {
        // As OpenAI has published them in November 2026.
        match name {
            "gpt-6-luna" => Some(Self { input: 100_000, cached: 10_000, output: 500_000 }),
            _ => None,
        }
    }

    /// The cost of these tokens. Cached ones are a part of the input.
    pub(crate) fn cost(&self, usage: &TokenUsage) -> Cost {
        let cached = usage.cached.min(usage.input);
        let parts = [(usage.input - cached, self.input), (cached, self.cached), (usage.output, self.output)];
        parts.into_iter().map(|(tokens, price)| Cost(tokens.saturating_mul(price))).sum()
    }

    /// Parses `input/cached/output`: dollars per million tokens, each with at most six decimal places.
    fn parse(text: &str) -> Option<Self> {
        let prices: Vec<u64> = text.split('/').map(|price| parse_price(price.trim())).collect::<Option<_>>()?;
        let [input, cached, output] = prices[..] else { return None };
        Some(Self { input, cached, output })
    }
}

fn parse_price(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) || whole.len() > 6 || fraction.len() > PRICE_DECIMALS {
        return None;
    }
    format!("{whole}{fraction:0<PRICE_DECIMALS$}").parse().ok()
}

impl Cost {
    /// The amount in 10⁻¹² dollars.
    pub(super) fn picodollars(self) -> u64 {
        self.0
    }

    /// The cost of so many 10⁻¹² dollars.
    pub(super) fn from_picodollars(amount: u64) -> Self {
        Self(amount)
    }

    /// The amount in dollars, as a metric has it: rounded.
    #[expect(clippy::cast_precision_loss, reason = "a metric is no account")]
    pub(super) fn as_dollars(self) -> f64 {
        self.0 as f64 / 1e12
    }
}

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::default(), Add::add)
    }
}

/// Shows dollars as a decimal number without trailing zeros.
impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: u64 = 1_000_000_000_000;
        let (whole, fraction) = (self.0 / UNITS, format!("{:012}", self.0 % UNITS));
        match fraction.trim_end_matches('0') {
            "" => write!(f, "{whole}"),
            fraction => write!(f, "{whole}.{fraction}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_costs_what_its_tokens_cost() {
        let prices = ModelPrices::parse("0.10/0.01/0.50").unwrap();
        assert_eq!(Some(prices), ModelPrices::of_model("gpt-6-luna"));
        let usage = TokenUsage { input: 5_000, cached: 4_000, output: 40, reasoning: 7 };
        // 1,000 × 0.10 + 4,000 × 0.01 + 40 × 0.50 dollars per million.
        assert_eq!(prices.cost(&usage).to_string(), "0.00016");
        let most_cached = TokenUsage { cached: u64::MAX, ..usage };
        assert_eq!(prices.cost(&most_cached).to_string(), "0.00007");
        let huge = TokenUsage { input: u64::MAX, ..usage };
        assert_eq!(prices.cost(&huge), Cost(u64::MAX));
    }

    #[test]
    fn prices_are_three_decimal_numbers() {
        assert_eq!(
            ModelPrices::parse("1.25 / 0 / 999999.000001"),
            Some(ModelPrices { input: 1_250_000, cached: 0, output: 999_999_000_001 })
        );
        for wrong in
            ["", "1", "1/2", "1/2/3/4", "1/2/", "1/2/x", "1/2/-3", "1/2/1e3", "1/2/.5", "1/2/0.0000001", "1/2/1000000"]
        {
            assert_eq!(ModelPrices::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_table_has_each_model_once() {
        let table: PriceTable = "gpt-x=1/0.1/2, org/model = 3/3/3".parse().unwrap();
        assert_eq!((table.find("gpt-x"), table.find("gpt-y")), (ModelPrices::parse("1/0.1/2"), None));
        assert!(table.find("org/model").is_some());
        for wrong in ["", "gpt-x", "=1/1/1", "gpt-x=1/1", "a=1/1/1,", "a=1/1/1,a=1/1/1"] {
            assert_eq!(wrong.parse::<PriceTable>(), Err(ParsePriceTableError), "{wrong}");
        }
    }

    #[test]
    fn costs_are_shown_as_dollars() {
        for (picodollars, shown) in
            [(0, "0"), (1, "0.000000000001"), (1_500_000_000_000, "1.5"), (2_000_000_000_000, "2")]
        {
            assert_eq!(Cost(picodollars).to_string(), shown);
        }
    }
}
