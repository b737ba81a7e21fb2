//! `ConversationRelay` of `serverConfig.json` as a whole. Before version 4.7 of the reference implementation it held the
//! attributes themselves; since then they are in its `Configuration`. Both forms are read.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::extra_attributes::ExtraAttributes;
use super::relay::{LanguageElement, ParameterElements, RelayConfiguration, add_attribute, reconcile_attributes};
use super::server_config::SilenceDetectionSection;
use crate::relay::twiml::{Attributes, RELAY_ATTRIBUTES};

/// The section `ConversationRelay`.
#[derive(Debug, Default)]
pub(super) struct RelaySection {
    pub(super) attributes: Attributes,
    /// Attributes that this version does not know: `Extra`.
    pub(super) extra: Attributes,
    pub(super) languages: Vec<LanguageElement>,
    pub(super) parameters: Attributes,
    pub(super) silence_detection: Option<SilenceDetectionSection>,
}

impl<'de> Deserialize<'de> for RelaySection {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct SectionVisitor;

        impl<'de> Visitor<'de> for SectionVisitor {
            type Value = RelaySection;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with the settings of ConversationRelay")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RelaySection, A::Error> {
                let mut read = RelaySection::default();
                let mut configuration = RelayConfiguration::default();
                let mut languages: Vec<LanguageElement> = Vec::new();
                let mut parameters = ParameterElements::default();
                while let Some(name) = map.next_key::<String>()? {
                    match name.as_str() {
                        "Configuration" => configuration = map.next_value()?,
                        "Languages" | "languages" => languages = map.next_value()?,
                        "Parameters" | "parameters" => parameters = map.next_value()?,
                        "Extra" => read.extra = map.next_value::<ExtraAttributes>()?.0,
                        "SilenceDetection" => read.silence_detection = map.next_value()?,
                        _ => add_attribute(&mut read.attributes, RELAY_ATTRIBUTES, &name, &mut map)?,
                    }
                }
                for (name, value) in configuration.attributes {
                    if read.attributes.iter().any(|(other, _)| *other == name) {
                        return Err(A::Error::custom(format!("{name} is set twice")));
                    }
                    read.attributes.push((name, value));
                }
                reconcile_attributes(&mut read.attributes).map_err(A::Error::custom)?;
                read.languages = configuration.languages.into_iter().chain(languages).collect();
                read.parameters = [configuration.parameters.0, parameters.0].concat();
                Ok(read)
            }
        }

        json.deserialize_map(SectionVisitor)
    }
}
