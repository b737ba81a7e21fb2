//! What the agent of a call is briefed with: a context and a manifest, out of the library as it was when the call began.

use std::sync::Arc;

use tracing::{error, info};

use crate::assets::{Library, UnknownKey};
use crate::call::ContextKeys;
use crate::llm::Profile;

/// The parameters by which a call chooses what its agent is briefed with.
pub const CONTEXT_KEY: &str = "contextKey";
/// See [`CONTEXT_KEY`].
pub const MANIFEST_KEY: &str = "manifestKey";

/// Instructions and tools of one call.
#[derive(Debug)]
pub(super) struct Briefing {
    library: Arc<Library>,
    profile: Arc<Profile>,
}

impl Briefing {
    /// For a call, which cannot be refused any more: instead of what is not known the default is taken, and the log says
    /// so.
    pub(super) fn begin(library: Arc<Library>, keys: &ContextKeys) -> Self {
        let profile = library.profile_or_default(keys.context.as_deref(), keys.manifest.as_deref());
        Self { library, profile }
    }

    /// What the keys are looked up in.
    pub(super) fn library(&self) -> Arc<Library> {
        self.library.clone()
    }

    /// What goes to the model with every request.
    pub(super) fn profile(&self) -> Arc<Profile> {
        self.profile.clone()
    }

    /// Takes what these keys name, from the same library or from this one, and keeps what they do not name. If a key leads
    /// nowhere everything stays, and the log says so.
    pub(super) fn take(&mut self, keys: &ContextKeys, library: Option<Arc<Library>>) {
        match self.change(keys, library) {
            Ok(()) => info!("other instructions and tools from now on"),
            Err(unknown) => error!(%unknown, "the call stays as it is"),
        }
    }

    fn change(&mut self, keys: &ContextKeys, library: Option<Arc<Library>>) -> Result<(), UnknownKey> {
        let library = library.unwrap_or_else(|| self.library.clone());
        let named = library.profile(keys.context.as_deref(), keys.manifest.as_deref())?;
        // The rest is kept as it is, and not looked up again: in this library it may be another, or be gone.
        let instructions = if keys.context.is_some() { &named } else { &self.profile };
        let tools = if keys.manifest.is_some() { &named } else { &self.profile };
        let profile = Arc::new(instructions.with_tools_of(tools));
        *self = Self { library, profile };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(context: &str, manifest: &str) -> ContextKeys {
        let key = |key: &str| (!key.is_empty()).then(|| key.to_owned());
        ContextKeys { context: key(context), manifest: key(manifest) }
    }

    /// These files over what is built in.
    fn library(files: &[(&str, &str)]) -> Arc<Library> {
        let dir = std::env::temp_dir().join(format!("crelay-payments-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&dir).unwrap();
        for (name, text) in files {
            std::fs::write(dir.join(name), text).unwrap();
        }
        let loaded = Library::load(&dir).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
        Arc::new(loaded.library)
    }

    fn told(briefing: &Briefing) -> String {
        format!("{:?}", briefing.profile())
    }

    #[test]
    fn what_a_change_does_not_name_stays_as_it_is() {
        let library = Arc::new(Library::built_in());
        let mut briefing = Briefing::begin(library.clone(), &keys("", "defaultToolManifest"));
        briefing.change(&keys("defaultContext", ""), None).unwrap();
        let both = Briefing::begin(library, &keys("defaultContext", "defaultToolManifest"));
        assert_eq!(told(&briefing), told(&both));
    }

    #[test]
    fn a_key_that_leads_nowhere_changes_nothing_now_or_later() {
        let library = Arc::new(Library::built_in());
        let mut briefing = Briefing::begin(library.clone(), &keys("gone", ""));
        let default = told(&Briefing::begin(library, &ContextKeys::default()));
        assert_eq!(told(&briefing), default);
        assert!(briefing.change(&keys("defaultContext", "gone"), None).is_err());
        assert_eq!(told(&briefing), default);
        briefing.change(&keys("", "PaymentToolManifest"), None).unwrap();
        assert_eq!(told(&briefing), default, "the unknown context is not asked for again");
    }

    #[test]
    fn what_a_call_began_with_stays_though_it_was_edited_or_removed_since() {
        let before = library(&[("acme.md", "Be kind."), ("PaymentContext.md", "Be brief.")]);
        let (named, default) = (keys("acme", ""), ContextKeys::default());
        for kept in [&named, &default] {
            let mut briefing = Briefing::begin(before.clone(), kept);
            briefing.change(&keys("", "defaultToolManifest"), Some(Arc::new(Library::built_in()))).unwrap();
            let keys = ContextKeys { manifest: Some("defaultToolManifest".to_owned()), ..kept.clone() };
            assert_eq!(told(&briefing), told(&Briefing::begin(before.clone(), &keys)));
        }
    }
}
