//! Names of assets.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

use super::de::text;

/// The key of a context or a manifest: its file name without `.md` or `.json`. It cannot contain a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AssetKey(String);

/// The name of an asset.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AssetName {
    ServerConfig,
    Context(AssetKey),
    Manifest(AssetKey),
}

/// A text is not a valid [`AssetKey`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {EXPECTED}")]
pub(super) struct ParseAssetKeyError;

const EXPECTED: &str = "a file name of letters, digits, - and _";

const SERVER_CONFIG: &str = "serverConfig.json";

impl AssetKey {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Parses the name of an asset as people write it: its key, or its file name.
    pub(super) fn from_reference(text: &str) -> Result<Self, ParseAssetKeyError> {
        let text = text.trim();
        text.strip_suffix(".md").or_else(|| text.strip_suffix(".json")).unwrap_or(text).parse()
    }
}

impl AssetName {
    /// Parses a file name; `None` if the file is not an asset. Names that start with a dot are hidden or temporary
    /// files.
    pub(super) fn from_file_name(name: &str) -> Option<Result<Self, ParseAssetKeyError>> {
        if name == SERVER_CONFIG {
            return Some(Ok(Self::ServerConfig));
        }
        let (stem, extension) = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty() && !stem.starts_with('.'))?;
        match extension {
            "md" => Some(stem.parse().map(Self::Context)),
            "json" => Some(stem.parse().map(Self::Manifest)),
            _ => None,
        }
    }
}

/// Writes the file name of the asset.
impl fmt::Display for AssetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServerConfig => f.write_str(SERVER_CONFIG),
            Self::Context(key) => write!(f, "{}.md", key.0),
            Self::Manifest(key) => write!(f, "{}.json", key.0),
        }
    }
}

impl FromStr for AssetKey {
    type Err = ParseAssetKeyError;

    fn from_str(text: &str) -> Result<Self, ParseAssetKeyError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let fits = (1..=100).contains(&text.len()) && text.chars().all(allowed) && !text.starts_with('.');
        fits.then(|| Self(text.to_owned())).ok_or(ParseAssetKeyError)
    }
}

impl<'de> Deserialize<'de> for AssetKey {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        text(json, EXPECTED, |text| Self::from_reference(text).map_err(|error| error.to_string()))
    }
}

/// Allows the lookup of text in maps by key.
impl Borrow<str> for AssetKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_is_that_of_a_context_a_manifest_or_the_configuration() {
        for name in ["serverConfig.json", "acme.md", "acme-2.v1.json", "serverConfig.md"] {
            assert_eq!(AssetName::from_file_name(name).unwrap().unwrap().to_string(), name);
        }
        for name in ["readme.txt", "acme", "md", ".md", ".acme.md", "acme.md~", ".#acme.md", ""] {
            assert_eq!(AssetName::from_file_name(name), None, "{name}");
        }
        for name in ["my context.md", "acme#2.md", "\u{fffd}.json"] {
            assert_eq!(AssetName::from_file_name(name), Some(Err(ParseAssetKeyError)), "{name}");
        }
    }
}
