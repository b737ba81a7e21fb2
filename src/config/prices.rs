//! The prices of the tokens of models.

use std::collections::BTreeMap;
use std::str::FromStr;

/// Decimal places of a price in dollars per million tokens. A price of one unit then is 10⁻¹² dollars a token.
const PRICE_DECIMALS: usize = 6;

/// The prices of a model's tokens, in 10⁻¹² dollars per token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelPrices {
    pub(crate) input: u64,
    pub(crate) cached: u64,
    pub(crate) output: u64,
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
