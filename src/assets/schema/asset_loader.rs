//! `AssetLoader` of `serverConfig.json`, and `UsedConfig`, its form before version 4.7 of the reference implementation,
//! which also held the silence detection and the listen mode.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::server_config::{ListenModeSection, SilenceDetectionSection};
use crate::assets::name::AssetKey;

/// The default context and manifest, and where assets are kept. All names that the reference has used for them are
/// read.
#[derive(Debug, Default)]
pub(super) struct AssetLoaderSection {
    pub(super) context: Option<AssetKey>,
    pub(super) manifest: Option<AssetKey>,
    pub(super) asset_loader_type: Option<String>,
    pub(super) silence_detection: Option<SilenceDetectionSection>,
    pub(super) listen_mode: Option<ListenModeSection>,
}

impl AssetLoaderSection {
    /// Adds what an older section says. The error says where the two contradict each other.
    pub(super) fn merge(mut self, older: Self) -> Result<Self, String> {
        set_key(&mut self.context, older.context, "context")?;
        set_key(&mut self.manifest, older.manifest, "manifest")?;
        self.asset_loader_type = self.asset_loader_type.or(older.asset_loader_type);
        self.silence_detection = self.silence_detection.or(older.silence_detection);
        self.listen_mode = self.listen_mode.or(older.listen_mode);
        Ok(self)
    }
}

impl<'de> Deserialize<'de> for AssetLoaderSection {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct SectionVisitor;

        impl<'de> Visitor<'de> for SectionVisitor {
            type Value = AssetLoaderSection;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object that names a context and a manifest")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<AssetLoaderSection, A::Error> {
                let mut read = AssetLoaderSection::default();
                while let Some(name) = map.next_key::<String>()? {
                    match name.as_str() {
                        "context" | "contextKey" | "contextName" | "contextFile" | "activeContext"
                        | "activeContextKey" => {
                            set_key(&mut read.context, map.next_value()?, "context").map_err(A::Error::custom)?;
                        }
                        "manifest" | "manifestKey" | "manifestName" | "manifestFile" | "activeManifest"
                        | "activeManifestKey" | "toolManifest" | "toolManifestKey" | "toolManifestName"
                        | "toolManifestFile" => {
                            set_key(&mut read.manifest, map.next_value()?, "manifest").map_err(A::Error::custom)?;
                        }
                        "assetLoaderType" => read.asset_loader_type = map.next_value()?,
                        "silenceDetection" => read.silence_detection = map.next_value()?,
                        "listenMode" => read.listen_mode = map.next_value()?,
                        // It named this file.
                        "configuration" => drop(map.next_value::<Option<String>>()?),
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(read)
            }
        }

        json.deserialize_map(SectionVisitor)
    }
}

/// Takes a key, unless another one is named already: it would be unclear which counts.
fn set_key(known: &mut Option<AssetKey>, named: Option<AssetKey>, kind: &str) -> Result<(), String> {
    match (&*known, named) {
        (Some(known), Some(named)) if *known != named => {
            Err(format!("names two {kind}s, {} and {}: remove one of them", known.as_str(), named.as_str()))
        }
        (None, named) => {
            *known = named;
            Ok(())
        }
        _ => Ok(()),
    }
}
