//! What assets are called.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

use super::json::text;

/// The name of a context or a manifest: that of its file, without `.md` or `.json`. It leads to no other directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(String);

/// Which asset.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    ServerConfig,
    Context(Key),
    Manifest(Key),
}

/// A text that cannot be a [`Key`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {EXPECTED}")]
pub(super) struct BadKey;

const EXPECTED: &str = "the name of a file without its ending: letters, digits, - and _";

const SERVER_CONFIG: &str = "serverConfig.json";

impl Key {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Name {
    /// Which asset a file is: `None` if it is none. What begins with a dot is an editor's, or hidden on purpose.
    pub(super) fn of_file(name: &str) -> Option<Result<Self, BadKey>> {
        if name == SERVER_CONFIG {
            return Some(Ok(Self::ServerConfig));
        }
        let (stem, ending) = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty() && !stem.starts_with('.'))?;
        match ending {
            "md" => Some(stem.parse().map(Self::Context)),
            "json" => Some(stem.parse().map(Self::Manifest)),
            _ => None,
        }
    }
}

/// The name of its file.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServerConfig => f.write_str(SERVER_CONFIG),
            Self::Context(key) => write!(f, "{}.md", key.0),
            Self::Manifest(key) => write!(f, "{}.json", key.0),
        }
    }
}

impl FromStr for Key {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let fits = (1..=100).contains(&text.len()) && text.chars().all(allowed) && !text.starts_with('.');
        fits.then(|| Self(text.to_owned())).ok_or(BadKey)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        text(json, EXPECTED, |text| text.parse().map_err(|bad: BadKey| bad.to_string()))
    }
}

/// Maps by key are asked by text.
impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_a_context_a_manifest_or_the_configuration() {
        for name in ["serverConfig.json", "acme.md", "acme-2.v1.json", "serverConfig.md"] {
            assert_eq!(Name::of_file(name).unwrap().unwrap().to_string(), name);
        }
        for name in ["readme.txt", "acme", "md", ".md", ".acme.md", "acme.md~", ".#acme.md", ""] {
            assert_eq!(Name::of_file(name), None, "{name}");
        }
        for name in ["my context.md", "acme#2.md", "\u{fffd}.json"] {
            assert_eq!(Name::of_file(name), Some(Err(BadKey)), "{name}");
        }
    }
}
