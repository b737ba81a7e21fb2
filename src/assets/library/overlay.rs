//! Overlaying assets: a layer overrides a library; a broken asset is replaced by its last good version.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{ActiveAssets, AssetKey, ContextAsset, Library, ManifestAsset, ServerConfigAsset, join_keys};
use crate::assets::file::Layer;
use crate::assets::name::AssetName;
use crate::assets::{AssetError, AssetWarning};

/// The result of overlaying a layer on a library.
#[derive(Debug)]
pub(in crate::assets) struct OverlayResult {
    pub(in crate::assets) library: Library,
    /// The assets that cannot be used. The library omits them, or keeps the last good version.
    pub(in crate::assets) errors: Vec<AssetError>,
    pub(in crate::assets) warnings: Vec<AssetWarning>,
}

impl Library {
    /// Overlays a layer on this library. An asset that cannot be used is replaced by its version in `last_good`, if
    /// that has one.
    pub(in crate::assets) fn overlay(&self, fresh: Layer, last_good: &Self) -> OverlayResult {
        let mut library = self.clone();
        let mut errors = Vec::new();
        for (name, file) in fresh.files {
            match name {
                AssetName::ServerConfig => {
                    library.config = file.and_then(ServerConfigAsset::from_file).map_or_else(
                        |error| {
                            errors.push(error);
                            last_good.config.clone()
                        },
                        Arc::new,
                    );
                }
                AssetName::Context(key) => {
                    let read = file.and_then(ContextAsset::from_file);
                    insert_or_keep(&mut library.contexts, key, read, &last_good.contexts, &mut errors);
                }
                AssetName::Manifest(key) => {
                    let read = file.and_then(ManifestAsset::from_file);
                    insert_or_keep(&mut library.manifests, key, read, &last_good.manifests, &mut errors);
                }
            }
        }
        library.ensure_active_assets(last_good, &mut errors);
        library.server = library.config.server.clone();
        let manifests = library.manifests.values().flat_map(|manifest| &manifest.warnings);
        let own = library.config.warnings.iter().chain(manifests).cloned();
        let warnings = fresh.warnings.into_iter().chain(own).collect();
        OverlayResult { library, errors, warnings }
    }

    /// Ensures that the context and the manifest named in `serverConfig.json` exist. If a missing one is not in
    /// `last_good` either, the configuration of `last_good` is kept; otherwise it was deleted, and its version in
    /// `last_good` is kept.
    fn ensure_active_assets(&mut self, last_good: &Self, errors: &mut Vec<AssetError>) {
        let missing = self.missing_assets();
        let is_unknown = missing.iter().any(|name| !last_good.contains(name));
        errors.extend(missing.iter().map(|name| self.missing_asset_error(name)));
        if is_unknown {
            self.config = last_good.config.clone();
        }
        let ActiveAssets { context, manifest, .. } = &self.config.active;
        if let (None, Some(last)) = (self.contexts.get(context), last_good.contexts.get(context)) {
            self.contexts.insert(context.clone(), last.clone());
        }
        if let (None, Some(last)) = (self.manifests.get(manifest), last_good.manifests.get(manifest)) {
            self.manifests.insert(manifest.clone(), last.clone());
        }
    }

    /// The assets that `serverConfig.json` names and that do not exist.
    fn missing_assets(&self) -> Vec<AssetName> {
        let ActiveAssets { context, manifest, .. } = &self.config.active;
        let named = [AssetName::Context(context.clone()), AssetName::Manifest(manifest.clone())];
        named.into_iter().filter(|name| !self.contains(name)).collect()
    }

    fn contains(&self, name: &AssetName) -> bool {
        match name {
            AssetName::ServerConfig => true,
            AssetName::Context(key) => self.contexts.contains_key(key),
            AssetName::Manifest(key) => self.manifests.contains_key(key),
        }
    }

    fn missing_asset_error(&self, name: &AssetName) -> AssetError {
        let known = match name {
            AssetName::Manifest(_) => join_keys(self.manifest_keys()),
            _ => join_keys(self.context_keys()),
        };
        AssetError::Missing { file: self.config.file.label.clone(), missing: name.to_string(), known }
    }
}

fn insert_or_keep<T>(
    assets: &mut BTreeMap<AssetKey, Arc<T>>,
    key: AssetKey,
    read: Result<T, AssetError>,
    last_good: &BTreeMap<AssetKey, Arc<T>>,
    errors: &mut Vec<AssetError>,
) {
    let asset = match read {
        Ok(asset) => Some(Arc::new(asset)),
        Err(error) => {
            errors.push(error);
            last_good.get(&key).cloned()
        }
    };
    if let Some(asset) = asset {
        assets.insert(key, asset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assets::file::AssetFile;

    /// Overlays these files on the built-in assets, with `last_good` as the last good library. Returns the library and the
    /// errors.
    fn overlay_files(files: &[(&str, &str)], last_good: &Library) -> (Library, Vec<String>) {
        let file = |(name, text): &(&str, &str)| {
            (AssetName::from_file_name(name).unwrap().unwrap(), Ok(AssetFile::new(name, text)))
        };
        let fresh = Layer { files: files.iter().map(file).collect(), warnings: Vec::new() };
        let OverlayResult { library, errors, .. } = Library::built_in().overlay(fresh, last_good);
        (library, errors.iter().map(ToString::to_string).collect())
    }

    const ACME: (&str, &str) =
        ("serverConfig.json", r#"{ "AssetLoader": { "context": "acme" }, "Model": { "retries": 5 } }"#);

    #[test]
    fn a_layer_overrides_assets_of_the_same_name_only() {
        let built_in = Library::built_in();
        let (library, errors) =
            overlay_files(&[("acme.md", "Be kind."), ("PaymentContext.md", "Be brief.")], &built_in);
        assert!(errors.is_empty());
        assert_eq!(library.changes_since(&built_in), ["PaymentContext.md changed", "acme.md added"]);
        assert_eq!(built_in.changes_since(&library), ["PaymentContext.md changed", "acme.md removed"]);
        assert_eq!(library.context("PaymentContext"), Some("Be brief."));
    }

    #[test]
    fn a_broken_asset_keeps_its_last_good_version_and_others_are_used() {
        let (last_good, _) = overlay_files(&[ACME, ("acme.md", "Be kind."), ("Desk.json", "[]")], &Library::built_in());
        let broken =
            [("serverConfig.json", "{"), ("acme.md", " "), ("Desk.json", "{}"), ("new.md", ""), ("day.md", "Sing.")];
        let (library, errors) = overlay_files(&broken, &last_good);
        assert_eq!(errors.len(), 4, "{errors:?}");
        assert_eq!(library.changes_since(&last_good), ["day.md added"]);
        assert_eq!(library.server.model.retries, 5);
    }

    #[test]
    fn a_configuration_that_names_an_unknown_asset_is_replaced_by_the_last_good_one() {
        let built_in = Library::built_in();
        let (library, errors) = overlay_files(&[ACME], &built_in);
        assert_eq!(errors.len(), 1);
        assert!(library.changes_since(&built_in).is_empty());
        assert_eq!(library.server.model, built_in.server.model);
    }

    #[test]
    fn the_active_context_is_kept_when_it_is_deleted() {
        let (last_good, _) = overlay_files(&[ACME, ("acme.md", "Be kind.")], &Library::built_in());
        let (library, errors) = overlay_files(&[ACME], &last_good);
        assert_eq!(
            errors,
            [
                "serverConfig.json: AssetLoader names acme.md, which does not exist; there are PaymentContext, defaultContext"
            ]
        );
        assert!(library.changes_since(&last_good).is_empty());
        // Once the configuration does not name it any more, it is removed.
        let (library, errors) = overlay_files(&[], &library);
        assert!(errors.is_empty());
        assert_eq!(library.context("acme"), None);
    }

    #[test]
    fn a_profile_is_found_by_its_keys_and_an_unknown_key_is_reported_with_the_known_ones() {
        let (library, _) = overlay_files(&[("acme.md", "Be kind."), ("Desk.json", "[]")], &Library::built_in());
        let profile = library.profile(Some("acme"), Some("Desk")).unwrap();
        assert_eq!(format!("{profile:?}"), "Profile(10 + 2 bytes)");
        let message = |context, manifest| library.profile(context, manifest).unwrap_err().to_string();
        assert_eq!(
            message(Some("Acme"), None),
            "there is no context Acme; there are PaymentContext, acme, defaultContext"
        );
        assert!(message(None, Some("acme")).starts_with("there is no manifest acme; there are Desk, "));
        for private in ["4242424242424242", "my secret", "../secret"] {
            assert!(!message(Some(private), None).contains(private), "{private}");
            assert_eq!(
                format!("{:?}", library.profile_or_default(Some(private), Some("Desk"))),
                format!("{:?}", library.profile(None, Some("Desk")).unwrap())
            );
        }
    }
}
