//! What responses of the model cost, in exact decimal arithmetic.

use std::fmt;
use std::iter::Sum;
use std::ops::Add;

use super::turn::TokenUsage;
use crate::config::ModelPrices;

/// An amount of US dollars, in 10⁻¹² dollars. Sums end at the largest amount, about 18 million dollars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Cost(u64);

impl Cost {
    /// The cost of these tokens. Cached ones are a part of the input.
    pub(crate) fn of(prices: &ModelPrices, usage: &TokenUsage) -> Self {
        let cached = usage.cached.min(usage.input);
        let parts = [(usage.input - cached, prices.input), (cached, prices.cached), (usage.output, prices.output)];
        parts.into_iter().map(|(tokens, price)| Self(tokens.saturating_mul(price))).sum()
    }

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
        let prices = ModelPrices::of_model("gpt-6-luna").unwrap();
        let usage = TokenUsage { input: 5_000, cached: 4_000, output: 40, reasoning: 7 };
        // 1,000 × 0.10 + 4,000 × 0.01 + 40 × 0.50 dollars per million.
        assert_eq!(Cost::of(&prices, &usage).to_string(), "0.00016");
        let most_cached = TokenUsage { cached: u64::MAX, ..usage };
        assert_eq!(Cost::of(&prices, &most_cached).to_string(), "0.00007");
        let huge = TokenUsage { input: u64::MAX, ..usage };
        assert_eq!(Cost::of(&prices, &huge), Cost(u64::MAX));
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
