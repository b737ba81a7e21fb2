//! The members of a JSON object in their original order. A map would keep only the last of two members with one name.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// The members of a JSON object, in order.
#[derive(Debug)]
pub(crate) struct JsonMembers<V>(Vec<(String, V)>);

/// An object has two members with this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the member name appears twice")]
pub(crate) struct DuplicateMemberError(pub(crate) String);

impl<V> JsonMembers<V> {
    /// Converts into a map; fails if a name appears twice.
    pub(crate) fn into_map(self) -> Result<BTreeMap<String, V>, DuplicateMemberError> {
        let mut map = BTreeMap::new();
        for (name, value) in self.0 {
            if map.contains_key(&name) {
                return Err(DuplicateMemberError(name));
            }
            map.insert(name, value);
        }
        Ok(map)
    }

    /// All members, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The values of all members with this name.
    pub(crate) fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a V> {
        self.0.iter().filter(move |(other, _)| other == name).map(|(_, value)| value)
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for JsonMembers<V> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct MembersVisitor<V>(PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for MembersVisitor<V> {
            type Value = JsonMembers<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonMembers<V>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(JsonMembers(members))
            }
        }

        from.deserialize_map(MembersVisitor(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<BTreeMap<String, u32>, DuplicateMemberError> {
        serde_json::from_str::<JsonMembers<u32>>(json).unwrap().into_map()
    }

    #[test]
    fn a_duplicate_name_is_detected_however_it_is_escaped() {
        assert_eq!(read(r#"{"a": 1, "b": 2}"#).unwrap().len(), 2);
        for json in [r#"{"a": 1, "b": 2, "a": 1}"#, r#"{"a": 1, "\u0061": 3}"#] {
            assert_eq!(read(json), Err(DuplicateMemberError("a".to_owned())), "{json}");
        }
        assert!(serde_json::from_str::<JsonMembers<u32>>("[]").is_err());
    }
}
