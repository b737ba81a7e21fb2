//! `Compliance.outbound` of `serverConfig.json`: the rules for calls that this server places.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::compliance::TextVisitor;
use crate::call::{BUSINESS, ComplianceText};
use crate::calling_rules::CallingHours;

/// The placeholder of the greeting for the disclosure.
pub(super) const DISCLOSURE: &str = "disclosure";

/// The section `Compliance.outbound`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct OutboundRules {
    /// `requireConsent` (false): an order has to name the consent to be called.
    pub require_consent: bool,
    /// `callingHours`: when numbers may be called. `None`: always.
    #[serde(deserialize_with = "calling_hours")]
    pub calling_hours: Option<CallingHours>,
    /// `greeting`: the first words of a call that this server places, in place of `welcomeGreeting`.
    #[serde(deserialize_with = "greeting")]
    pub greeting: ComplianceText,
}

/// The first sentence says who calls, and that it is a machine.
const GREETING: &[(&str, &str)] = &[
    ("en-US", "{disclosure} Do you have a moment?"),
    ("es-US", "{disclosure} ¿Tiene un momento?"),
    ("de-DE", "{disclosure} Haben Sie einen Moment Zeit?"),
    ("fr-FR", "{disclosure} Avez-vous un moment ?"),
];

impl Default for OutboundRules {
    fn default() -> Self {
        Self { require_consent: false, calling_hours: None, greeting: ComplianceText::new(Vec::new(), GREETING) }
    }
}

fn greeting<'de, D: Deserializer<'de>>(json: D) -> Result<ComplianceText, D::Error> {
    let texts = json.deserialize_any(TextVisitor { built_in: GREETING, placeholders: &[BUSINESS, DISCLOSURE] })?;
    texts.ok_or_else(|| D::Error::custom("a call begins with who calls: leave greeting out for the built-in texts"))
}

/// Reads `{"from": 8, "until": 21}`, or `true` for these hours, or `false` for none.
fn calling_hours<'de, D: Deserializer<'de>>(json: D) -> Result<Option<CallingHours>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Hours {
        Switch(bool),
        FromUntil { from: u32, until: u32 },
    }
    let (from, until) = match Hours::deserialize(json) {
        Ok(Hours::Switch(false)) => return Ok(None),
        Ok(Hours::Switch(true)) => (8, 21),
        Ok(Hours::FromUntil { from, until }) if from < until && until <= 24 => (from, until),
        _ => return Err(D::Error::custom("expected {\"from\": 8, \"until\": 21}, hours of a day, or true or false")),
    };
    Ok(Some(CallingHours { from, until }))
}
