//! The members of a JSON object as they were written. A map would take the last of two members with one name.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// The members of a JSON object, in order.
#[derive(Debug)]
pub(crate) struct Members<V>(Vec<(String, V)>);

/// An object has two members with this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the name is there twice")]
pub(crate) struct RepeatedNameError(pub(crate) String);

impl<V> Members<V> {
    /// The members by name; an error if a name is there twice.
    pub(crate) fn into_map(self) -> Result<BTreeMap<String, V>, RepeatedNameError> {
        let mut map = BTreeMap::new();
        for (name, value) in self.0 {
            if map.contains_key(&name) {
                return Err(RepeatedNameError(name));
            }
            map.insert(name, value);
        }
        Ok(map)
    }

    /// The members with this name.
    pub(crate) fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a V> {
        self.0.iter().filter(move |(other, _)| other == name).map(|(_, value)| value)
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Members<V> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Object<V>(PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for Object<V> {
            type Value = Members<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<V>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        from.deserialize_map(Object(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<BTreeMap<String, u32>, RepeatedNameError> {
        serde_json::from_str::<Members<u32>>(json).unwrap().into_map()
    }

    #[test]
    fn a_name_that_is_there_twice_is_seen_however_it_is_escaped() {
        assert_eq!(read(r#"{"a": 1, "b": 2}"#).unwrap().len(), 2);
        for json in [r#"{"a": 1, "b": 2, "a": 1}"#, r#"{"a": 1, "\u0061": 3}"#] {
            assert_eq!(read(json), Err(RepeatedNameError("a".to_owned())), "{json}");
        }
        assert!(serde_json::from_str::<Members<u32>>("[]").is_err());
    }
}
