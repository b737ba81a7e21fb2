//! `Payments.texts`: what the server says around payments, by language. Missing texts are taken from the built-in ones.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use crate::assets::de::speech;
use crate::call::PaymentTexts;

/// The texts by BCP 47 code, in file order. The first language is used for every language without texts.
#[derive(Default)]
pub(in crate::assets) struct TextsByLanguage(pub(in crate::assets) Vec<(String, PaymentTexts)>);

/// The texts of one language, as written in the file.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct LanguageTexts {
    card_number: Option<SpokenPhrase>,
    security_code: Option<SpokenPhrase>,
    security_code_amex: Option<SpokenPhrase>,
    security_code_any: Option<SpokenPhrase>,
    expiration_date: Option<SpokenPhrase>,
    postal_code: Option<SpokenPhrase>,
    bank_routing_number: Option<SpokenPhrase>,
    bank_account_number: Option<SpokenPhrase>,
    once_more: Option<SpokenPhrase>,
    retry: Option<SpokenPhrase>,
    processing: Option<SpokenPhrase>,
    charged: Option<SpokenPhrase>,
    pending: Option<SpokenPhrase>,
    stored: Option<SpokenPhrase>,
    failed: Option<SpokenPhrase>,
    unknown: Option<SpokenPhrase>,
    receipt_sent: Option<SpokenPhrase>,
    no_receipt: Option<SpokenPhrase>,
    confirm_amount: Option<SpokenPhrase>,
    confirm_amount_account: Option<SpokenPhrase>,
    pay_again: Option<SpokenPhrase>,
    go_on: Option<SpokenPhrase>,
    cancelled: Option<SpokenPhrase>,
    assent: Option<SpokenPhrase>,
    refusal: Option<SpokenPhrase>,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct SpokenPhrase(#[serde(deserialize_with = "speech")] String);

impl LanguageTexts {
    /// Fills in missing texts from the built-in ones. The error names the missing text or placeholder.
    fn complete(self, built_in: Option<&PaymentTexts>) -> Result<PaymentTexts, String> {
        let text = |written: Option<SpokenPhrase>, name: &'static str, known: fn(&PaymentTexts) -> &String| {
            let missing = || format!("has no {name}, and none is built in for that language");
            written
                .map(|SpokenPhrase(text)| text)
                .or_else(|| built_in.map(|texts| known(texts).clone()))
                .ok_or_else(missing)
        };
        let if_any = |written: Option<SpokenPhrase>, known: fn(&PaymentTexts) -> &String| {
            let written = written.map(|SpokenPhrase(text)| text);
            written.or_else(|| built_in.map(|texts| known(texts).clone())).unwrap_or_default()
        };
        let template = |written, name, known, placeholders: &[&str]| {
            let text = text(written, name, known)?;
            match placeholders.iter().find(|placeholder| !text.contains(**placeholder)) {
                Some(placeholder) => Err(format!("has a {name} without {placeholder}")),
                None => Ok(text),
            }
        };
        let amount = |written, name, known| template(written, name, known, &["{amount}"]);
        Ok(PaymentTexts {
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
            receipt_sent: if_any(self.receipt_sent, |it| &it.receipt_sent),
            no_receipt: if_any(self.no_receipt, |it| &it.no_receipt),
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

impl<'de> Deserialize<'de> for TextsByLanguage {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct TextsVisitor;

        impl<'de> Visitor<'de> for TextsVisitor {
            type Value = TextsByLanguage;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("texts by language, such as {\"en-US\": {\"cardNumber\": \"…\"}}")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TextsByLanguage, A::Error> {
                let mut languages: Vec<(String, PaymentTexts)> = Vec::new();
                while let Some(code) = map.next_key::<String>()? {
                    if languages.iter().any(|(known, _)| known.eq_ignore_ascii_case(&code)) {
                        return Err(A::Error::custom(format!("{code} appears twice")));
                    }
                    let texts = map.next_value::<LanguageTexts>()?.complete(PaymentTexts::built_in_for(&code).as_ref());
                    let texts = texts.map_err(|what| A::Error::custom(format!("{code} {what}")))?;
                    languages.push((code, texts));
                }
                Ok(TextsByLanguage(languages))
            }
        }

        json.deserialize_map(TextsVisitor)
    }
}
