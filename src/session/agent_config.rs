//! The instructions and tools of a call's agent: a context and a manifest from the library as it was when the call
//! began.

use std::sync::Arc;

use tracing::{error, info};

use crate::assets::{Library, UnknownKeyError};
use crate::business_tools::ListedTools;
use crate::call::{CONTEXT_PARAMETERS, ContextKeys, MANIFEST_PARAMETERS};
use crate::llm::Profile;

/// The custom parameter that selects the context (instructions) of a call.
pub(crate) const CONTEXT_KEY: &str = CONTEXT_PARAMETERS[0];
/// The custom parameter that selects the tool manifest of a call.
pub(crate) const MANIFEST_KEY: &str = MANIFEST_PARAMETERS[0];

/// The instructions and tools of one call.
#[derive(Debug)]
pub(super) struct AgentConfig {
    library: Arc<Library>,
    profile: Arc<Profile>,
    /// The tools of the business's servers, as they were when the call began.
    listed: Arc<ListedTools>,
}

impl AgentConfig {
    /// Creates the configuration of a new call or chat. An unknown key is an error, never replaced by another one.
    pub(super) fn new(library: Arc<Library>, keys: &ContextKeys) -> Result<Self, UnknownKeyError> {
        let profile = library.profile(keys.context.as_deref(), keys.manifest.as_deref())?;
        Ok(Self { library, profile, listed: Arc::default() })
    }

    /// Creates the configuration of a call that has already been accepted and names an unknown key: it has neither
    /// instructions nor tools, so that no other agent can serve it.
    pub(super) fn without_agent(library: Arc<Library>) -> Self {
        let profile = Profile::new("", &[] as &[&str]).expect("an empty profile serializes");
        Self { library, profile: Arc::new(profile), listed: Arc::default() }
    }

    /// Adds the tools that the business's servers list, to whatever manifest is in use.
    pub(super) fn with_listed_tools(self, listed: Arc<ListedTools>) -> Self {
        Self { profile: listed.extend_profile(&self.profile), listed, ..self }
    }

    /// Returns the library in which keys are looked up.
    pub(super) fn library(&self) -> Arc<Library> {
        self.library.clone()
    }

    /// Returns the profile that is sent to the model with every request.
    pub(super) fn profile(&self) -> Arc<Profile> {
        self.profile.clone()
    }

    /// Switches to the context and manifest that these keys name, from `library` or else the current one. A part
    /// without a key stays. An unknown key changes nothing and is logged. Returns whether it has switched.
    pub(super) fn apply_keys(&mut self, keys: &ContextKeys, library: Option<Arc<Library>>) -> bool {
        let applied = self.try_apply_keys(keys, library);
        match &applied {
            Ok(()) => info!(event = "session.agent_reconfigured", "The call has switched its instructions or tools."),
            Err(error) => error!(
                event = "assets.unknown_key",
                %error,
                "A context or manifest key is unknown; the call keeps its instructions and tools."
            ),
        }
        applied.is_ok()
    }

    fn try_apply_keys(&mut self, keys: &ContextKeys, library: Option<Arc<Library>>) -> Result<(), UnknownKeyError> {
        let library = library.unwrap_or_else(|| self.library.clone());
        let named = library.profile(keys.context.as_deref(), keys.manifest.as_deref())?;
        // The other part is not looked up again: this library may hold a different version of it, or none.
        let instructions = if keys.context.is_some() { &named } else { &self.profile };
        let tools = if keys.manifest.is_some() { &named } else { &self.profile };
        let profile = self.listed.extend_profile(&Arc::new(instructions.with_tools_of(tools)));
        *self = Self { library, profile, listed: self.listed.clone() };
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

    /// Loads a library with these files over the built-in ones.
    fn library(files: &[(&str, &str)]) -> Arc<Library> {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        Arc::new(Library::load(directory.path()).unwrap().library)
    }

    fn profile_debug(agent_config: &AgentConfig) -> String {
        format!("{:?}", agent_config.profile())
    }

    #[test]
    fn what_a_change_does_not_name_stays_as_it_is() {
        let library = Arc::new(Library::built_in());
        let mut agent_config = AgentConfig::new(library.clone(), &keys("", "defaultToolManifest")).unwrap();
        agent_config.try_apply_keys(&keys("defaultContext", ""), None).unwrap();
        let both = AgentConfig::new(library, &keys("defaultContext", "defaultToolManifest")).unwrap();
        assert_eq!(profile_debug(&agent_config), profile_debug(&both));
    }

    #[test]
    fn an_unknown_key_changes_nothing_now_or_later() {
        let library = Arc::new(Library::built_in());
        let mut agent_config = AgentConfig::new(library, &ContextKeys::default()).unwrap();
        let default = profile_debug(&agent_config);
        assert!(agent_config.try_apply_keys(&keys("defaultContext", "gone"), None).is_err());
        assert_eq!(profile_debug(&agent_config), default);
        agent_config.try_apply_keys(&keys("", "PaymentToolManifest"), None).unwrap();
        assert_eq!(profile_debug(&agent_config), default, "the unknown context is not looked up again");
    }

    #[test]
    fn a_call_with_an_unknown_or_unusable_key_has_no_agent() {
        let library = library(&[("acme.md", " "), ("PaymentContext.md", ""), ("serverConfig.json", OTHER_DEFAULT)]);
        for key in ["gone", "acme", "PaymentContext"] {
            let error = AgentConfig::new(library.clone(), &keys(key, "")).unwrap_err();
            assert!(error.to_string().ends_with("there are defaultContext"), "{error}");
        }
        assert_eq!(profile_debug(&AgentConfig::without_agent(library)), "Profile(2 + 2 bytes)");
    }

    const OTHER_DEFAULT: &str = r#"{ "AssetLoader": { "context": "defaultContext.md" } }"#;

    #[test]
    fn a_call_keeps_its_context_after_the_file_is_edited_or_removed() {
        let before = library(&[("acme.md", "Be kind."), ("PaymentContext.md", "Be brief.")]);
        let (named, default) = (keys("acme", ""), ContextKeys::default());
        for kept in [&named, &default] {
            let mut agent_config = AgentConfig::new(before.clone(), kept).unwrap();
            agent_config.try_apply_keys(&keys("", "defaultToolManifest"), Some(Arc::new(Library::built_in()))).unwrap();
            let keys = ContextKeys { manifest: Some("defaultToolManifest".to_owned()), ..kept.clone() };
            assert_eq!(profile_debug(&agent_config), profile_debug(&AgentConfig::new(before.clone(), &keys).unwrap()));
        }
    }
}
