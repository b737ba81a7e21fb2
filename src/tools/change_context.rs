//! `change-context`: switches to other instructions and tools from the next response on.

use crate::assets::Library;
use crate::call::{ContextKeys, ToolOutcome};

/// Looks up the keys. The call keeps its history, and the call's task loads the context and manifest.
pub(super) fn change_context(library: &Library, keys: ContextKeys) -> ToolOutcome {
    let found = library.profile(keys.context.as_deref(), keys.manifest.as_deref());
    ToolOutcome::Context(found.map(|_| keys).map_err(|unknown| unknown.to_string()))
}
