//! What `serverConfig.json` says for `<ConversationRelay>` and what stands in it. Any scalar becomes text, as XML has it.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::json::writable;
use crate::relay::twiml::{Attributes, LANGUAGE_ATTRIBUTES, RELAY_ATTRIBUTES};

/// `ConversationRelay.Configuration`. Names are matched in any case and kept as they are documented; those that are
/// not documented are left out, and so is what is empty.
#[derive(Debug, Default)]
pub(super) struct Configuration {
    pub(super) attributes: Attributes,
    pub(super) languages: Vec<Language>,
    pub(super) parameters: Parameters,
}

/// One `<Language>`, whole.
#[derive(Debug)]
pub(super) struct Language(pub(super) Attributes);

/// The `<Parameter>`s: `{"name": "value"}`, or `[{"name": …, "value": …}]`.
#[derive(Debug, Default)]
pub(super) struct Parameters(pub(super) Attributes);

impl<'de> Deserialize<'de> for Configuration {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Configuration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with the attributes of <ConversationRelay>")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Configuration, A::Error> {
                let mut read = Configuration::default();
                while let Some(name) = map.next_key::<String>()? {
                    match name.as_str() {
                        "languages" | "Languages" => read.languages = map.next_value()?,
                        "parameters" | "Parameters" => read.parameters = map.next_value()?,
                        _ => attribute(&mut read.attributes, RELAY_ATTRIBUTES, &name, &mut map)?,
                    }
                }
                Ok(read)
            }
        }

        json.deserialize_map(Object)
    }
}

impl<'de> Deserialize<'de> for Language {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Language;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with the attributes of <Language>")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Language, A::Error> {
                let mut attributes = Attributes::new();
                while let Some(name) = map.next_key::<String>()? {
                    attribute(&mut attributes, LANGUAGE_ATTRIBUTES, &name, &mut map)?;
                }
                if attributes.iter().all(|(name, _)| name != "code") {
                    return Err(A::Error::custom("a language needs a code, such as en-US"));
                }
                Ok(Language(attributes))
            }
        }

        json.deserialize_map(Object)
    }
}

impl<'de> Deserialize<'de> for Parameters {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        struct Parameter {
            name: Text,
            value: Text,
        }

        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Parameters;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("parameters as an object, or as an array of names and values")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Parameters, A::Error> {
                let mut read = Attributes::new();
                while let Some(Parameter { name, value }) = entries.next_element()? {
                    add(&mut read, name.0, value.0)?;
                }
                Ok(Parameters(read))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parameters, A::Error> {
                let mut read = Attributes::new();
                while let Some((Text(name), Text(value))) = map.next_entry()? {
                    add(&mut read, name, value)?;
                }
                Ok(Parameters(read))
            }
        }

        json.deserialize_any(Either)
    }
}

/// Adds a parameter whose name is not there yet: which of two counts is for nobody to guess.
fn add<E: Error>(parameters: &mut Attributes, name: String, value: String) -> Result<(), E> {
    if parameters.iter().any(|(other, _)| *other == name) {
        return Err(E::custom(format!("expected each parameter once, and {name} is there twice")));
    }
    parameters.push((name, value));
    Ok(())
}

/// Reads the value of the attribute `name` and adds it, if it is one that is documented and is not empty.
fn attribute<'de, A: MapAccess<'de>>(
    read: &mut Attributes,
    documented: &[&'static str],
    name: &str,
    map: &mut A,
) -> Result<(), A::Error> {
    let Some(name) = documented.iter().find(|known| known.eq_ignore_ascii_case(name)) else {
        return map.next_value::<IgnoredAny>().map(|_| ());
    };
    let value = map.next_value_seed(Scalar(|value: &str| {
        if read.iter().any(|(earlier, _)| earlier == name) {
            return Err(format!("{name} is set twice"));
        }
        misfit(name, value).map_or(Ok(()), |expected| Err(format!("{name} is {expected}")))
    }))?;
    if !value.is_empty() {
        read.push(((*name).to_owned(), value));
    }
    Ok(())
}

/// What a value should be, where Twilio would end every call over it (error 64101). Words are left to Twilio, which
/// adds new ones.
fn misfit(name: &str, value: &str) -> Option<&'static str> {
    let within = |low: f64, high: f64| value.parse().is_ok_and(|number: f64| (low..=high).contains(&number));
    match name {
        "speechTimeout" if value != "auto" && !within(600.0, 5000.0) => Some("auto, or milliseconds from 600 to 5000"),
        "eotThreshold" if !within(0.5, 0.9) => Some("a number from 0.5 to 0.9"),
        _ => None,
    }
}

/// A text, a number or a boolean, as text; nothing, as an empty one. It is checked on the spot: only there its line is
/// known.
struct Scalar<F>(F);

impl<'de, F: FnOnce(&str) -> Result<(), String>> DeserializeSeed<'de> for Scalar<F> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<String, D::Error> {
        json.deserialize_any(self)
    }
}

impl<F: FnOnce(&str) -> Result<(), String>> Visitor<'_> for Scalar<F> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, true or false")
    }

    fn visit_unit<E: Error>(self) -> Result<String, E> {
        Ok(String::new())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        writable(text).map_err(E::custom)?;
        if !text.is_empty() {
            (self.0)(text).map_err(E::custom)?;
        }
        Ok(text.to_owned())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<String, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<String, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<String, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<String, E> {
        self.visit_str(&number.to_string())
    }
}

/// The value of a parameter: anything that a [`Scalar`] may be.
pub(super) struct Text(pub(super) String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        Scalar(|_: &str| Ok(())).deserialize(json).map(Self)
    }
}
