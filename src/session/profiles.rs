//! Which instructions and tools a key stands for.

use std::sync::Arc;

use super::Context;
use crate::llm::Profile;

/// The keys of the pair that there is.
const CONTEXT_KEYS: &[&str] = &["PaymentContext"];
const MANIFEST_KEYS: &[&str] = &["PaymentToolManifest"];

/// A key that stands for nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this {kind} is not known; known are: {}", known.join(", "))]
pub struct UnknownKey {
    /// `contextKey` or `manifestKey`.
    pub kind: &'static str,
    /// The keys that could be used.
    pub known: Vec<String>,
}

impl Context {
    /// The instructions and tools that these keys stand for; a key that is not given stands for the active one.
    pub fn profile(&self, context_key: Option<&str>, manifest_key: Option<&str>) -> Result<Arc<Profile>, UnknownKey> {
        check("contextKey", context_key, CONTEXT_KEYS)?;
        check("manifestKey", manifest_key, MANIFEST_KEYS)?;
        Ok(self.profile.clone())
    }
}

fn check(kind: &'static str, key: Option<&str>, known: &[&str]) -> Result<(), UnknownKey> {
    if key.is_none_or(|key| known.contains(&key)) {
        return Ok(());
    }
    Err(UnknownKey { kind, known: known.iter().map(|key| (*key).to_owned()).collect() })
}
