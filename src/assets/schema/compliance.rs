//! `Compliance` of `serverConfig.json`: texts that the law, or a rule of payments, requires, by language.

mod built_in;

use std::fmt;

use jiff::tz::TimeZone;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::outbound::OutboundRules;
use crate::assets::de::parse_speech;
use crate::call::{
    BANK_DEBIT_PLACEHOLDERS, BUSINESS, ComplianceText, RECEIPT_PLACEHOLDERS, STORED_CARD_PLACEHOLDERS,
    check_placeholders,
};
use built_in::{ACH_AUTHORIZATION, DISCLOSURE, RECEIPT, STORED_CARD};

/// The section `Compliance`.
#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ComplianceSection {
    #[serde(deserialize_with = "disclosure")]
    pub(super) disclosure: Option<ComplianceText>,
    #[serde(deserialize_with = "ach_authorization")]
    pub(super) ach_authorization: Option<ComplianceText>,
    #[serde(deserialize_with = "stored_card")]
    pub(super) stored_card: Option<ComplianceText>,
    #[serde(deserialize_with = "receipt")]
    pub(super) receipt: Option<ComplianceText>,
    #[serde(deserialize_with = "time_zone")]
    pub(super) time_zone: TimeZone,
    pub(super) outbound: Option<OutboundRules>,
}

impl Default for ComplianceSection {
    fn default() -> Self {
        let built_in = |texts| Some(ComplianceText::new(Vec::new(), texts));
        Self {
            disclosure: built_in(DISCLOSURE),
            ach_authorization: built_in(ACH_AUTHORIZATION),
            stored_card: built_in(STORED_CARD),
            receipt: None,
            time_zone: TimeZone::UTC,
            outbound: None,
        }
    }
}

fn ach_authorization<'de, D: Deserializer<'de>>(json: D) -> Result<Option<ComplianceText>, D::Error> {
    json.deserialize_any(TextVisitor { built_in: ACH_AUTHORIZATION, placeholders: BANK_DEBIT_PLACEHOLDERS })
}

fn stored_card<'de, D: Deserializer<'de>>(json: D) -> Result<Option<ComplianceText>, D::Error> {
    json.deserialize_any(TextVisitor { built_in: STORED_CARD, placeholders: STORED_CARD_PLACEHOLDERS })
}

fn receipt<'de, D: Deserializer<'de>>(json: D) -> Result<Option<ComplianceText>, D::Error> {
    json.deserialize_any(TextVisitor { built_in: RECEIPT, placeholders: RECEIPT_PLACEHOLDERS })
}

/// Reads the name of a time zone in the database of IANA.
fn time_zone<'de, D: Deserializer<'de>>(json: D) -> Result<TimeZone, D::Error> {
    let name = String::deserialize(json)?;
    TimeZone::get(&name)
        .map_err(|_| D::Error::custom(format!("{name:?} is no time zone; it has a name such as America/New_York")))
}

fn disclosure<'de, D: Deserializer<'de>>(json: D) -> Result<Option<ComplianceText>, D::Error> {
    json.deserialize_any(TextVisitor { built_in: DISCLOSURE, placeholders: &[BUSINESS] })
}

/// Reads a text by language, or `false` for none.
pub(super) struct TextVisitor {
    pub(super) built_in: &'static [(&'static str, &'static str)],
    pub(super) placeholders: &'static [&'static str],
}

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Option<ComplianceText>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("texts by language, such as {\"en-US\": \"…\"}, true or false")
    }

    fn visit_bool<E: Error>(self, is_on: bool) -> Result<Self::Value, E> {
        Ok(is_on.then(|| ComplianceText::new(Vec::new(), self.built_in)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut own: Vec<(String, String)> = Vec::new();
        while let Some((code, text)) = map.next_entry::<String, String>()? {
            if own.iter().any(|(known, _)| known.eq_ignore_ascii_case(&code)) {
                return Err(A::Error::custom(format!("{code} appears twice")));
            }
            let text = parse_speech(&text).map_err(A::Error::custom)?;
            check_placeholders(&text, self.placeholders).map_err(A::Error::custom)?;
            own.push((code, text));
        }
        Ok(Some(ComplianceText::new(own, self.built_in)))
    }
}
