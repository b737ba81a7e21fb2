//! `Payments.texts`: what the server says around payments, by language. What is left out is taken from what is built in.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::json::speech;
use crate::call::Texts;

/// The texts by BCP 47 code, in the order in which they are written: the first counts for every language without texts.
#[derive(Default)]
pub(super) struct Languages(pub(super) Vec<(String, Texts)>);

/// The texts of one language as they are written.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Written {
    card_number: Option<Speech>,
    security_code: Option<Speech>,
    security_code_amex: Option<Speech>,
    security_code_any: Option<Speech>,
    expiration_date: Option<Speech>,
    postal_code: Option<Speech>,
    bank_routing_number: Option<Speech>,
    bank_account_number: Option<Speech>,
    once_more: Option<Speech>,
    retry: Option<Speech>,
    processing: Option<Speech>,
    charged: Option<Speech>,
    pending: Option<Speech>,
    stored: Option<Speech>,
    failed: Option<Speech>,
    unknown: Option<Speech>,
    confirm_amount: Option<Speech>,
    confirm_amount_account: Option<Speech>,
    pay_again: Option<Speech>,
    go_on: Option<Speech>,
    cancelled: Option<Speech>,
    assent: Option<Speech>,
    refusal: Option<Speech>,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Speech(#[serde(deserialize_with = "speech")] String);

impl Written {
    /// All texts; the error says which one is missing, or what is missing in one.
    fn complete(self, built_in: Option<&Texts>) -> Result<Texts, String> {
        let text = |written: Option<Speech>, name: &'static str, known: fn(&Texts) -> &String| {
            let missing = || format!("has no {name}, and none is built in for that language");
            written.map(|Speech(text)| text).or_else(|| built_in.map(|texts| known(texts).clone())).ok_or_else(missing)
        };
        let template = |written, name, known, placeholders: &[&str]| {
            let text = text(written, name, known)?;
            match placeholders.iter().find(|placeholder| !text.contains(**placeholder)) {
                Some(placeholder) => Err(format!("has a {name} without {placeholder}")),
                None => Ok(text),
            }
        };
        let amount = |written, name, known| template(written, name, known, &["{amount}"]);
        Ok(Texts {
            card_number: text(self.card_number, "cardNumber", |it| &it.card_number)?,
            security_code: text(self.security_code, "securityCode", |it| &it.security_code)?,
            security_code_amex: text(self.security_code_amex, "securityCodeAmex", |it| &it.security_code_amex)?,
            security_code_any: text(self.security_code_any, "securityCodeAny", |it| &it.security_code_any)?,
            expiration_date: text(self.expiration_date, "expirationDate", |it| &it.expiration_date)?,
            postal_code: text(self.postal_code, "postalCode", |it| &it.postal_code)?,
            bank_routing_number: text(self.bank_routing_number, "bankRoutingNumber", |it| &it.bank_routing_number)?,
            bank_account_number: text(self.bank_account_number, "bankAccountNumber", |it| &it.bank_account_number)?,
            once_more: text(self.once_more, "onceMore", |it| &it.once_more)?,
            retry: text(self.retry, "retry", |it| &it.retry)?,
            processing: text(self.processing, "processing", |it| &it.processing)?,
            charged: text(self.charged, "charged", |it| &it.charged)?,
            pending: text(self.pending, "pending", |it| &it.pending)?,
            stored: text(self.stored, "stored", |it| &it.stored)?,
            failed: text(self.failed, "failed", |it| &it.failed)?,
            unknown: text(self.unknown, "unknown", |it| &it.unknown)?,
            confirm_amount: amount(self.confirm_amount, "confirmAmount", |it| &it.confirm_amount)?,
            confirm_amount_account: amount(self.confirm_amount_account, "confirmAmountAccount", |it| {
                &it.confirm_amount_account
            })?,
            pay_again: template(self.pay_again, "payAgain", |it| &it.pay_again, &["{amount}", "{minutes}"])?,
            go_on: text(self.go_on, "goOn", |it| &it.go_on)?,
            cancelled: text(self.cancelled, "cancelled", |it| &it.cancelled)?,
            assent: text(self.assent, "assent", |it| &it.assent)?,
            refusal: text(self.refusal, "refusal", |it| &it.refusal)?,
        })
    }
}

impl<'de> Deserialize<'de> for Languages {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct ByCode;

        impl<'de> Visitor<'de> for ByCode {
            type Value = Languages;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("texts by language, such as {\"en-US\": {\"cardNumber\": \"…\"}}")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Languages, A::Error> {
                let mut languages: Vec<(String, Texts)> = Vec::new();
                while let Some(code) = map.next_key::<String>()? {
                    if languages.iter().any(|(known, _)| known.eq_ignore_ascii_case(&code)) {
                        return Err(A::Error::custom(format!("{code} is there twice")));
                    }
                    let texts = map.next_value::<Written>()?.complete(Texts::built_in_for(&code).as_ref());
                    let texts = texts.map_err(|what| A::Error::custom(format!("{code} {what}")))?;
                    languages.push((code, texts));
                }
                Ok(Languages(languages))
            }
        }

        json.deserialize_map(ByCode)
    }
}
