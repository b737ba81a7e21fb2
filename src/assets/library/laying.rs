//! Laying assets over others: which of them wins, and what stays where one is broken.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Active, Config, Context, Key, Library, Manifest, list};
use crate::assets::file::Layer;
use crate::assets::name::Name;
use crate::assets::{AssetError, Warning};

/// What came of laying assets over others.
#[derive(Debug)]
pub(in crate::assets) struct Reading {
    pub(in crate::assets) library: Library,
    /// What could not be used: the library does without, or keeps what was there before.
    pub(in crate::assets) faults: Vec<AssetError>,
    pub(in crate::assets) warnings: Vec<Warning>,
}

impl Library {
    /// Lays assets over these. Where one of them cannot be used, what was `good` before stays, if there was anything.
    pub(in crate::assets) fn under(&self, fresh: Layer, good: &Self) -> Reading {
        let mut library = self.clone();
        let mut faults = Vec::new();
        for (name, file) in fresh.files {
            match name {
                Name::ServerConfig => {
                    library.config = file.and_then(Config::read).map_or_else(
                        |fault| {
                            faults.push(fault);
                            good.config.clone()
                        },
                        Arc::new,
                    );
                }
                Name::Context(key) => {
                    let read = file.and_then(Context::read);
                    shelve(&mut library.contexts, key, read, &good.contexts, &mut faults);
                }
                Name::Manifest(key) => {
                    let read = file.and_then(Manifest::read);
                    shelve(&mut library.manifests, key, read, &good.manifests, &mut faults);
                }
            }
        }
        library.complete(good, &mut faults);
        library.server = library.config.server.clone();
        let warnings = fresh.warnings.into_iter().chain(library.config.warnings.iter().cloned()).collect();
        Reading { library, faults, warnings }
    }

    /// Sees to it that the configuration names what is there. One that names what never was gives way to the `good` one;
    /// of what was taken away from under it, the `good` one stays.
    fn complete(&mut self, good: &Self, faults: &mut Vec<AssetError>) {
        let missing = self.missing();
        let unheard_of = missing.iter().any(|name| !good.has(name));
        faults.extend(missing.iter().map(|name| self.names_nothing(name)));
        if unheard_of {
            self.config = good.config.clone();
        }
        let Active { context, manifest, .. } = &self.config.active;
        if let (None, Some(last)) = (self.contexts.get(context), good.contexts.get(context)) {
            self.contexts.insert(context.clone(), last.clone());
        }
        if let (None, Some(last)) = (self.manifests.get(manifest), good.manifests.get(manifest)) {
            self.manifests.insert(manifest.clone(), last.clone());
        }
    }

    /// What the configuration names and is not there.
    fn missing(&self) -> Vec<Name> {
        let Active { context, manifest, .. } = &self.config.active;
        let named = [Name::Context(context.clone()), Name::Manifest(manifest.clone())];
        named.into_iter().filter(|name| !self.has(name)).collect()
    }

    fn has(&self, name: &Name) -> bool {
        match name {
            Name::ServerConfig => true,
            Name::Context(key) => self.contexts.contains_key(key),
            Name::Manifest(key) => self.manifests.contains_key(key),
        }
    }

    fn names_nothing(&self, name: &Name) -> AssetError {
        let known = match name {
            Name::Manifest(_) => list(self.manifests()),
            _ => list(self.contexts()),
        };
        AssetError::Missing { file: self.config.file.label.clone(), missing: name.to_string(), known }
    }
}

fn shelve<T>(
    shelf: &mut BTreeMap<Key, Arc<T>>,
    key: Key,
    read: Result<T, AssetError>,
    good: &BTreeMap<Key, Arc<T>>,
    faults: &mut Vec<AssetError>,
) {
    let asset = match read {
        Ok(asset) => Some(Arc::new(asset)),
        Err(fault) => {
            faults.push(fault);
            good.get(&key).cloned()
        }
    };
    if let Some(asset) = asset {
        shelf.insert(key, asset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assets::file::File;

    /// These files, laid over what is built in, with this before; and what is wrong with them.
    fn under(files: &[(&str, &str)], good: &Library) -> (Library, Vec<String>) {
        let file = |(name, text): &(&str, &str)| (Name::of_file(name).unwrap().unwrap(), Ok(File::new(name, text)));
        let fresh = Layer { files: files.iter().map(file).collect(), warnings: Vec::new() };
        let Reading { library, faults, .. } = Library::built_in().under(fresh, good);
        (library, faults.iter().map(ToString::to_string).collect())
    }

    const ACME: (&str, &str) =
        ("serverConfig.json", r#"{ "AssetLoader": { "context": "acme" }, "Model": { "retries": 5 } }"#);

    #[test]
    fn what_is_laid_over_wins_and_the_rest_stays() {
        let built_in = Library::built_in();
        let (library, faults) = under(&[("acme.md", "Be kind."), ("PaymentContext.md", "Be brief.")], &built_in);
        assert!(faults.is_empty());
        assert_eq!(library.changes_since(&built_in), ["PaymentContext.md changed", "acme.md added"]);
        assert_eq!(built_in.changes_since(&library), ["PaymentContext.md changed", "acme.md removed"]);
        assert_eq!(library.context("PaymentContext"), Some("Be brief."));
    }

    #[test]
    fn of_a_broken_asset_the_last_good_one_stays_and_others_are_taken() {
        let (good, _) = under(&[ACME, ("acme.md", "Be kind."), ("Desk.json", "[]")], &Library::built_in());
        let broken =
            [("serverConfig.json", "{"), ("acme.md", " "), ("Desk.json", "{}"), ("new.md", ""), ("day.md", "Sing.")];
        let (library, faults) = under(&broken, &good);
        assert_eq!(faults.len(), 4, "{faults:?}");
        assert_eq!(library.changes_since(&good), ["day.md added"]);
        assert_eq!(library.server.model.retries, 5);
    }

    #[test]
    fn a_configuration_that_names_what_never_was_gives_way_to_the_last_good_one() {
        let built_in = Library::built_in();
        let (library, faults) = under(&[ACME], &built_in);
        assert_eq!(faults.len(), 1);
        assert!(library.changes_since(&built_in).is_empty());
        assert_eq!(library.server.model, built_in.server.model);
    }

    #[test]
    fn the_context_that_calls_begin_with_cannot_be_taken_away_from_under_them() {
        let (good, _) = under(&[ACME, ("acme.md", "Be kind.")], &Library::built_in());
        let (library, faults) = under(&[ACME], &good);
        assert_eq!(
            faults,
            [
                "serverConfig.json: AssetLoader names acme.md, which does not exist; there are PaymentContext, defaultContext"
            ]
        );
        assert!(library.changes_since(&good).is_empty());
        // Once nothing names it, it may go.
        let (library, faults) = under(&[], &library);
        assert!(faults.is_empty());
        assert_eq!(library.context("acme"), None);
    }

    #[test]
    fn a_pair_is_found_by_its_keys_and_what_is_unknown_is_told_with_what_is_known() {
        let (library, _) = under(&[("acme.md", "Be kind."), ("Desk.json", "[]")], &Library::built_in());
        let profile = library.profile(Some("acme"), Some("Desk")).unwrap();
        assert_eq!(format!("{profile:?}"), "Profile(10 + 2 bytes)");
        let told = |context, manifest| library.profile(context, manifest).unwrap_err().to_string();
        assert_eq!(
            told(Some("Acme"), None),
            "there is no context Acme; there are PaymentContext, acme, defaultContext"
        );
        assert!(told(None, Some("acme")).starts_with("there is no manifest acme; there are Desk, "));
        for private in ["4242424242424242", "my secret", "../secret"] {
            assert!(!told(Some(private), None).contains(private), "{private}");
            assert_eq!(
                format!("{:?}", library.profile_or_default(Some(private), Some("Desk"))),
                format!("{:?}", library.profile(None, Some("Desk")).unwrap())
            );
        }
    }
}
