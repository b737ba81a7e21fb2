//! `Compliance` of `serverConfig.json`: texts that the law, or a rule of payments, requires, by language.

use std::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::assets::de::parse_speech;
use crate::call::{BUSINESS, ComplianceText, RECEIPT_PLACEHOLDERS, check_placeholders};

/// The section `Compliance`.
#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ComplianceSection {
    #[serde(deserialize_with = "disclosure")]
    pub(super) disclosure: Option<ComplianceText>,
    #[serde(deserialize_with = "receipt")]
    pub(super) receipt: Option<ComplianceText>,
}

/// That the agent is a machine. The second text of a language is that of a server without `BUSINESS_NAME`.
const DISCLOSURE: &[(&str, &str)] = &[
    ("en-US", "This is the automated AI assistant of {business}."),
    ("en-US", "This is an automated AI assistant."),
    ("es-US", "Le atiende el asistente automático de inteligencia artificial de {business}."),
    ("es-US", "Le atiende un asistente automático de inteligencia artificial."),
    ("de-DE", "Hier spricht der automatische KI-Assistent von {business}."),
    ("de-DE", "Hier spricht ein automatischer KI-Assistent."),
    ("fr-FR", "Vous êtes en relation avec l'assistant automatique d'intelligence artificielle de {business}."),
    ("fr-FR", "Vous êtes en relation avec un assistant automatique d'intelligence artificielle."),
];

/// The receipt of a payment. The second text of a language is that of a payment that stores the card and charges nothing.
const RECEIPT: &[(&str, &str)] = &[
    (
        "en-US",
        "{business}: we received your payment of {amount}, card or account ending in {last4}, on {date} at {time}. \
         Reference: {reference}. Questions? Call {phone}.",
    ),
    (
        "en-US",
        "{business}: your card or account ending in {last4} was stored on {date} at {time}. Nothing was charged. \
         Reference: {reference}. Questions? Call {phone}.",
    ),
    (
        "es-US",
        "{business}: hemos recibido su pago de {amount}, tarjeta o cuenta terminada en {last4}, el {date} a las {time}. \
         Referencia: {reference}. ¿Preguntas? Llame al {phone}.",
    ),
    (
        "es-US",
        "{business}: su tarjeta o cuenta terminada en {last4} quedó guardada el {date} a las {time}. No se ha cobrado nada. \
         Referencia: {reference}. ¿Preguntas? Llame al {phone}.",
    ),
    (
        "de-DE",
        "{business}: Wir haben Ihre Zahlung von {amount} erhalten, Karte oder Konto mit den letzten Ziffern {last4}, am {date} um \
         {time}. Referenz: {reference}. Fragen? Rufen Sie {phone} an.",
    ),
    (
        "de-DE",
        "{business}: Ihre Karte oder Ihr Konto mit den letzten Ziffern {last4} wurde am {date} um {time} gespeichert. Abgebucht \
         wurde nichts. Referenz: {reference}. Fragen? Rufen Sie {phone} an.",
    ),
    (
        "fr-FR",
        "{business} : nous avons reçu votre paiement de {amount}, carte ou compte se terminant par {last4}, le {date} à {time}. \
         Référence : {reference}. Une question ? Appelez le {phone}.",
    ),
    (
        "fr-FR",
        "{business} : votre carte ou compte se terminant par {last4} a été enregistré le {date} à {time}. Rien n'a été débité. \
         Référence : {reference}. Une question ? Appelez le {phone}.",
    ),
];

impl Default for ComplianceSection {
    fn default() -> Self {
        Self { disclosure: Some(ComplianceText::new(Vec::new(), DISCLOSURE)), receipt: None }
    }
}

fn disclosure<'de, D: Deserializer<'de>>(json: D) -> Result<Option<ComplianceText>, D::Error> {
    json.deserialize_any(TextVisitor { built_in: DISCLOSURE, placeholders: &[BUSINESS] })
}

fn receipt<'de, D: Deserializer<'de>>(json: D) -> Result<Option<ComplianceText>, D::Error> {
    json.deserialize_any(TextVisitor { built_in: RECEIPT, placeholders: RECEIPT_PLACEHOLDERS })
}

/// Reads a text by language, or `false` for none.
struct TextVisitor {
    built_in: &'static [(&'static str, &'static str)],
    placeholders: &'static [&'static str],
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
