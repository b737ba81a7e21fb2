//! `change-context`: other instructions and tools from the next words on.

use crate::assets::Library;
use crate::call::{ContextKeys, Outcome};

/// Looks the keys up. The call keeps its history, and whoever owns the call takes what the keys name.
pub(super) async fn change_context(library: &Library, keys: ContextKeys) -> Outcome {
    let found = library.profile(keys.context.as_deref(), keys.manifest.as_deref());
    Outcome::Context(found.map(|_| keys).map_err(|unknown| unknown.to_string()))
}
