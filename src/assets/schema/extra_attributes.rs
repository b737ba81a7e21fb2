//! `ConversationRelay.Extra` of `serverConfig.json`: attributes of `<ConversationRelay>` that this version does not know.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::relay::ScalarText;
use crate::relay::twiml::{Attributes, RELAY_ATTRIBUTES};

/// The attributes, passed on as they are. Null omits one.
#[derive(Debug, Default)]
pub(super) struct ExtraAttributes(pub(super) Attributes);

/// Attributes that the server sets itself.
const OWN_ATTRIBUTES: [&str; 2] = ["url", "action"];

impl<'de> Deserialize<'de> for ExtraAttributes {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct ExtraVisitor;

        impl<'de> Visitor<'de> for ExtraVisitor {
            type Value = ExtraAttributes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with attributes of <ConversationRelay> that are newer than this version")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ExtraAttributes, A::Error> {
                let mut read = Attributes::new();
                while let Some(name) = map.next_key::<String>()? {
                    check_name(&name, &read).map_err(A::Error::custom)?;
                    if let Some(ScalarText(value)) = map.next_value()? {
                        read.push((name, value));
                    }
                }
                Ok(ExtraAttributes(read))
            }
        }

        json.deserialize_map(ExtraVisitor)
    }
}

/// Checks that the name is an XML name without a namespace, and neither known nor repeated. The error says what is wrong.
fn check_name(name: &str, earlier: &Attributes) -> Result<(), String> {
    let is_xml_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
        && !name.to_ascii_lowercase().starts_with("xml");
    if !is_xml_name {
        return Err(format!("Extra has {name:?}, which cannot be the name of an attribute"));
    }
    if OWN_ATTRIBUTES.iter().any(|own| own.eq_ignore_ascii_case(name)) {
        return Err(format!("Extra has {name}, which the server sets itself: remove it"));
    }
    if let Some(known) = RELAY_ATTRIBUTES.iter().find(|known| known.eq_ignore_ascii_case(name)) {
        return Err(format!("Extra has {name}, which this version knows: set {known} in Configuration"));
    }
    if earlier.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
        return Err(format!("{name} is set twice"));
    }
    Ok(())
}
