//! Overlaying assets: a layer overrides a library; a broken asset is replaced by its last good version.

use std::sync::Arc;

use super::{ActiveAssets, AssetKey, ContextAsset, Library, ManifestAsset, ServerConfigAsset, join_keys};
use crate::assets::file::Layer;
use crate::assets::name::AssetName;
use crate::assets::{AssetError, AssetWarning};
use crate::call::{CONTEXT_PARAMETERS, MANIFEST_PARAMETERS};

/// The result of overlaying a layer on a library.
#[derive(Debug)]
pub(in crate::assets) struct OverlayResult {
    pub(in crate::assets) library: Library,
    /// The assets in use that cannot be used. The library has their last good version, or the configuration that was
    /// used before.
    pub(in crate::assets) errors: Vec<AssetError>,
    pub(in crate::assets) warnings: Vec<AssetWarning>,
}

impl Library {
    /// Overlays a layer on this library. An asset that cannot be used is replaced by its version in `last_good`, if
    /// there is one. Without one it is not in the library, not even as the version that it overrides; it is an error if
    /// `serverConfig.json` names it, else a warning.
    pub(in crate::assets) fn overlay(&self, fresh: Layer, last_good: Option<&Self>) -> OverlayResult {
        let mut library = self.clone();
        let mut errors = Vec::new();
        let mut unusable = Vec::new();
        let fallback = last_good.unwrap_or(self);
        for (name, file) in fresh.files {
            library.unusable.remove(&name);
            let error = match &name {
                AssetName::ServerConfig => match file.and_then(ServerConfigAsset::from_file) {
                    Ok(config) => {
                        library.config = Arc::new(config);
                        continue;
                    }
                    Err(error) => {
                        library.config = fallback.config.clone();
                        error
                    }
                },
                AssetName::Context(key) => match file.and_then(ContextAsset::from_file) {
                    Ok(context) => {
                        library.contexts.insert(key.clone(), Arc::new(context));
                        continue;
                    }
                    Err(error) => error,
                },
                AssetName::Manifest(key) => match file.and_then(ManifestAsset::from_file) {
                    Ok(manifest) => {
                        library.manifests.insert(key.clone(), Arc::new(manifest));
                        continue;
                    }
                    Err(error) => error,
                },
            };
            if name == AssetName::ServerConfig || last_good.is_some_and(|last_good| library.restore(&name, last_good)) {
                errors.push(error);
            } else {
                library.remove(&name);
                unusable.push((name, error));
            }
        }
        let mut warnings = fresh.warnings;
        let in_use = library.assets_in_use();
        for (name, error) in unusable {
            if in_use.iter().any(|used| used.name == name) {
                errors.push(error);
            } else {
                warnings.push(AssetWarning::Unusable { error: error.to_string() });
            }
        }
        library.ensure_assets_in_use(fallback, &mut errors);
        if let Some(error) = library.find_non_compliance() {
            errors.push(error);
            library.config = fallback.config.clone();
            library.ensure_assets_in_use(fallback, &mut errors);
        }
        library.server = library.config.server.clone();
        warnings.extend(library.accepted_non_compliance());
        let manifests = library.manifests.values().flat_map(|manifest| &manifest.warnings);
        warnings.extend(library.config.warnings.iter().chain(manifests).cloned());
        OverlayResult { library, errors, warnings }
    }

    /// Ensures that the contexts and manifests that `serverConfig.json` names exist. If a missing one is not in
    /// `fallback` either, the configuration of `fallback` is used; otherwise it was deleted, and its version in
    /// `fallback` is kept.
    fn ensure_assets_in_use(&mut self, fallback: &Self, errors: &mut Vec<AssetError>) {
        let mut missing = self.assets_in_use();
        missing.retain(|used| !self.contains(&used.name));
        let unreported = missing.iter().filter(|used| !self.unusable.contains(&used.name));
        errors.extend(unreported.map(|used| self.missing_asset_error(used)));
        if missing.iter().any(|used| !fallback.contains(&used.name)) {
            self.config = fallback.config.clone();
        }
        for used in self.assets_in_use() {
            if !self.contains(&used.name) {
                self.restore(&used.name, fallback);
            }
        }
    }

    /// Finds attributes, or a recording, that are not PCI compliant and not accepted, if any manifest takes payments: a call
    /// may name it.
    fn find_non_compliance(&self) -> Option<AssetError> {
        let server = &self.config.server;
        let attributes = server.non_compliant_attributes().join(", ");
        if server.accept_non_compliant || attributes.is_empty() && !server.records_captures() {
            return None;
        }
        let takes_payments = |manifest: &ManifestAsset| manifest.tools.iter().any(|tool| tool.name == "start-capture");
        let (key, _) = self.manifests.iter().find(|(_, manifest)| takes_payments(manifest))?;
        let (file, manifest) = (self.config.file.label.clone(), key.as_str().to_owned());
        Some(if attributes.is_empty() {
            AssetError::UnpausedRecording { file, manifest }
        } else {
            AssetError::NotCompliant { file, attributes, manifest }
        })
    }

    /// The warnings about what is not PCI compliant and accepted.
    fn accepted_non_compliance(&self) -> impl Iterator<Item = AssetWarning> {
        let attributes = self.server.non_compliant_attributes().join(", ");
        let (file, is_accepted) = (self.config.file.label.clone(), self.server.accept_non_compliant);
        let unpaused = (self.server.records_captures() && is_accepted)
            .then(|| AssetWarning::AcceptedUnpausedRecording { file: file.clone() });
        let is_accepted = is_accepted && !attributes.is_empty();
        let attributes = is_accepted.then_some(AssetWarning::AcceptedNotCompliant { file, attributes });
        attributes.into_iter().chain(unpaused)
    }

    /// Takes an asset from another library. Returns whether that has it.
    fn restore(&mut self, name: &AssetName, from: &Self) -> bool {
        match name {
            AssetName::ServerConfig => self.config = from.config.clone(),
            AssetName::Context(key) => match from.contexts.get(key) {
                Some(context) => drop(self.contexts.insert(key.clone(), context.clone())),
                None => return false,
            },
            AssetName::Manifest(key) => match from.manifests.get(key) {
                Some(manifest) => drop(self.manifests.insert(key.clone(), manifest.clone())),
                None => return false,
            },
        }
        true
    }

    /// Removes an asset that cannot be used, so that its name never means another one.
    fn remove(&mut self, name: &AssetName) {
        match name {
            AssetName::ServerConfig => {}
            AssetName::Context(key) => drop(self.contexts.remove(key)),
            AssetName::Manifest(key) => drop(self.manifests.remove(key)),
        }
        self.unusable.insert(name.clone());
    }

    fn contains(&self, name: &AssetName) -> bool {
        match name {
            AssetName::ServerConfig => true,
            AssetName::Context(key) => self.contexts.contains_key(key),
            AssetName::Manifest(key) => self.manifests.contains_key(key),
        }
    }

    fn missing_asset_error(&self, missing: &AssetInUse) -> AssetError {
        let known = match missing.name {
            AssetName::Manifest(_) => join_keys(self.manifest_keys()),
            _ => join_keys(self.context_keys()),
        };
        let file = self.config.file.label.clone();
        AssetError::Missing { file, named_by: missing.named_by, missing: missing.name.to_string(), known }
    }

    /// The contexts and manifests that `serverConfig.json` names: the default ones, and those of incoming calls.
    fn assets_in_use(&self) -> Vec<AssetInUse> {
        let ActiveAssets { context, manifest, .. } = &self.config.active;
        let default = |name| AssetInUse { name, named_by: "AssetLoader" };
        let mut used =
            vec![default(AssetName::Context(context.clone())), default(AssetName::Manifest(manifest.clone()))];
        for (parameter, value) in &self.config.server.parameters {
            let Ok(key) = AssetKey::from_reference(value) else { continue };
            let (name, named_by) = match parameter.as_str() {
                name if CONTEXT_PARAMETERS.contains(&name) => (AssetName::Context(key), "a parameter"),
                name if MANIFEST_PARAMETERS.contains(&name) => (AssetName::Manifest(key), "a parameter"),
                _ => continue,
            };
            used.push(AssetInUse { name, named_by });
        }
        used
    }
}

/// A context or a manifest that `serverConfig.json` names.
struct AssetInUse {
    name: AssetName,
    /// Where it is named, for messages.
    named_by: &'static str,
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
        let OverlayResult { library, errors, .. } = Library::built_in().overlay(fresh, Some(last_good));
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
        assert_eq!(errors.len(), 3, "{errors:?}");
        assert_eq!(library.changes_since(&last_good), ["day.md added"]);
        assert_eq!(library.server.model.retries, 5);
    }

    #[test]
    fn a_file_that_cannot_be_used_never_turns_into_the_one_that_it_overrides() {
        let other = ("serverConfig.json", r#"{ "AssetLoader": { "context": "acme" } }"#);
        let files = [other, ("acme.md", "Be kind."), ("PaymentContext.md", " ")];
        let file = |(name, text): &(&str, &str)| {
            (AssetName::from_file_name(name).unwrap().unwrap(), Ok(AssetFile::new(name, text)))
        };
        let fresh = || Layer { files: files.iter().map(file).collect(), warnings: Vec::new() };
        let OverlayResult { library, errors, warnings } = Library::built_in().overlay(fresh(), None);
        assert!(errors.is_empty());
        let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        assert_eq!(warnings, ["PaymentContext.md: is empty; the file is not used"]);
        let unknown = "there is no usable context PaymentContext; there are acme, defaultContext";
        assert_eq!(library.profile(Some("PaymentContext"), None).unwrap_err().to_string(), unknown);
        // A running server that has a valid version keeps it.
        let OverlayResult { library, errors, .. } = Library::built_in().overlay(fresh(), Some(&Library::built_in()));
        assert_eq!(errors.len(), 1);
        assert!(library.profile(Some("PaymentContext"), None).is_ok());
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
        let by_file_name = library.profile(Some("acme.md"), Some("Desk.json")).unwrap();
        assert_eq!(format!("{by_file_name:?}"), format!("{profile:?}"));
        for private in ["4242424242424242", "my secret", "../secret"] {
            assert!(!message(Some(private), None).contains(private), "{private}");
        }
    }
}
