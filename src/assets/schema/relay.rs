//! `ConversationRelay` of `serverConfig.json`: the attributes and children of `<ConversationRelay>`. Any scalar is
//! converted to text, the form of XML attributes.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::assets::de::check_xml_text;
use crate::relay::twiml::{Attributes, LANGUAGE_ATTRIBUTES, RELAY_ATTRIBUTES, RENAMED_ATTRIBUTES};

/// `ConversationRelay.Configuration`. Attribute names are matched in any case and stored as documented. Undocumented
/// names and empty values are omitted.
#[derive(Debug, Default)]
pub(in crate::assets) struct RelayConfiguration {
    pub(in crate::assets) attributes: Attributes,
    pub(in crate::assets) languages: Vec<LanguageElement>,
    pub(in crate::assets) parameters: ParameterElements,
}

/// The attributes of one `<Language>`.
#[derive(Debug)]
pub(in crate::assets) struct LanguageElement(pub(in crate::assets) Attributes);

/// The `<Parameter>`s: `{"name": "value"}`, or `[{"name": …, "value": …}]`.
#[derive(Debug, Default)]
pub(in crate::assets) struct ParameterElements(pub(in crate::assets) Attributes);

impl<'de> Deserialize<'de> for RelayConfiguration {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct ConfigurationVisitor;

        impl<'de> Visitor<'de> for ConfigurationVisitor {
            type Value = RelayConfiguration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with the attributes of <ConversationRelay>")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RelayConfiguration, A::Error> {
                let mut read = RelayConfiguration::default();
                while let Some(name) = map.next_key::<String>()? {
                    match name.as_str() {
                        "languages" | "Languages" => read.languages = map.next_value()?,
                        "parameters" | "Parameters" => read.parameters = map.next_value()?,
                        _ => add_attribute(&mut read.attributes, RELAY_ATTRIBUTES, &name, &mut map)?,
                    }
                }
                Ok(read)
            }
        }

        json.deserialize_map(ConfigurationVisitor)
    }
}

impl<'de> Deserialize<'de> for LanguageElement {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct LanguageVisitor;

        impl<'de> Visitor<'de> for LanguageVisitor {
            type Value = LanguageElement;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with the attributes of <Language>")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<LanguageElement, A::Error> {
                let mut attributes = Attributes::new();
                while let Some(name) = map.next_key::<String>()? {
                    add_attribute(&mut attributes, LANGUAGE_ATTRIBUTES, &name, &mut map)?;
                }
                if attributes.iter().all(|(name, _)| name != "code") {
                    return Err(A::Error::custom("a language needs a code, such as en-US"));
                }
                Ok(LanguageElement(attributes))
            }
        }

        json.deserialize_map(LanguageVisitor)
    }
}

impl<'de> Deserialize<'de> for ParameterElements {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        struct Parameter {
            name: ScalarText,
            value: ScalarText,
        }

        struct ParametersVisitor;

        impl<'de> Visitor<'de> for ParametersVisitor {
            type Value = ParameterElements;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("parameters as an object, or as an array of names and values")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<ParameterElements, A::Error> {
                let mut read = Attributes::new();
                while let Some(Parameter { name, value }) = entries.next_element()? {
                    add_parameter(&mut read, name.0, value.0)?;
                }
                Ok(ParameterElements(read))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ParameterElements, A::Error> {
                let mut read = Attributes::new();
                while let Some((ScalarText(name), ScalarText(value))) = map.next_entry()? {
                    add_parameter(&mut read, name, value)?;
                }
                Ok(ParameterElements(read))
            }
        }

        json.deserialize_any(ParametersVisitor)
    }
}

/// Adds a parameter. A repeated name is an error, since it is unclear which value counts.
fn add_parameter<E: Error>(parameters: &mut Attributes, name: String, value: String) -> Result<(), E> {
    if parameters.iter().any(|(other, _)| *other == name) {
        return Err(E::custom(format!("expected each parameter once, and {name} appears twice")));
    }
    parameters.push((name, value));
    Ok(())
}

/// Reads the value of the attribute `name` and adds it, if the attribute is documented and the value is not empty.
pub(super) fn add_attribute<'de, A: MapAccess<'de>>(
    read: &mut Attributes,
    documented: &[&'static str],
    name: &str,
    map: &mut A,
) -> Result<(), A::Error> {
    let Some(name) = documented.iter().find(|known| known.eq_ignore_ascii_case(name)) else {
        return map.next_value::<IgnoredAny>().map(|_| ());
    };
    let value = map.next_value_seed(ScalarSeed(|value: &str| {
        if read.iter().any(|(earlier, _)| earlier == name) {
            return Err(format!("{name} is set twice"));
        }
        expected_value(name, value).map_or(Ok(()), |expected| Err(format!("{name} is {expected}")))
    }))?;
    if !value.is_empty() {
        read.push(((*name).to_owned(), value));
    }
    Ok(())
}

/// The valid values of an attribute, if `value` would make Twilio end every call with error 64101. Keywords are not
/// checked, since Twilio adds new ones.
fn expected_value(name: &str, value: &str) -> Option<&'static str> {
    let within = |low: f64, high: f64| value.parse().is_ok_and(|number: f64| (low..=high).contains(&number));
    match name {
        "speechTimeout" if value != "auto" && !within(600.0, 5000.0) => Some("auto, or milliseconds from 600 to 5000"),
        "eotThreshold" if !within(0.5, 0.9) => Some("a number from 0.5 to 0.9"),
        "eagerEotThreshold" if !within(0.3, 0.9) => Some("a number from 0.3 to 0.9"),
        _ => None,
    }
}

/// Twilio's default for `eotThreshold`.
const DEFAULT_EOT_THRESHOLD: f64 = 0.8;

/// Checks what concerns several attributes together, and drops an older name if the newer one is set, too: Twilio would
/// ignore it. The error is what is expected.
pub(super) fn reconcile_attributes(attributes: &mut Attributes) -> Result<(), String> {
    let number = |name: &str| find(attributes, name).and_then(|value| value.parse::<f64>().ok());
    let eot = number("eotThreshold").unwrap_or(DEFAULT_EOT_THRESHOLD);
    if number("eagerEotThreshold").is_some_and(|eager| eager >= eot) {
        return Err(format!("eagerEotThreshold is a number below eotThreshold, which is {eot}"));
    }
    for (newer, older) in RENAMED_ATTRIBUTES {
        if find(attributes, newer).is_some() {
            attributes.retain(|(name, _)| name != older);
        }
    }
    Ok(())
}

fn find<'a>(attributes: &'a Attributes, wanted: &str) -> Option<&'a str> {
    attributes.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
}

/// Deserializes a string, number or boolean as text, and null as an empty text. The check runs while deserializing,
/// where the line is known.
struct ScalarSeed<F>(F);

impl<'de, F: FnOnce(&str) -> Result<(), String>> DeserializeSeed<'de> for ScalarSeed<F> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<String, D::Error> {
        json.deserialize_any(self)
    }
}

impl<F: FnOnce(&str) -> Result<(), String>> Visitor<'_> for ScalarSeed<F> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, true or false")
    }

    fn visit_unit<E: Error>(self) -> Result<String, E> {
        Ok(String::new())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        check_xml_text(text).map_err(E::custom)?;
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

/// The value of a parameter: any scalar.
pub(in crate::assets) struct ScalarText(pub(in crate::assets) String);

impl<'de> Deserialize<'de> for ScalarText {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        ScalarSeed(|_: &str| Ok(())).deserialize(json).map(Self)
    }
}
