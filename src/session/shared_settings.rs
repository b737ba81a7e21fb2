//! The settings of calls, which are the same for all calls of one library.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::assets::Library;
use crate::call::{CallEnvironment, CallSettings};

/// The settings that were built last, and of which library. A call then has a few bytes of them, not some KiB.
#[derive(Default)]
pub(crate) struct SharedSettings(Mutex<Option<(Arc<Library>, Arc<CallSettings>)>>);

impl SharedSettings {
    /// Returns the settings of calls with this library. `environment` is that of the process, always the same.
    pub(super) fn of(&self, library: &Arc<Library>, environment: &CallEnvironment) -> Arc<CallSettings> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((of, settings)) if Arc::ptr_eq(of, library) => settings.clone(),
            _ => {
                let settings = Arc::new(library.server.call_settings(environment));
                *last = Some((library.clone(), settings.clone()));
                settings
            }
        }
    }
}

impl fmt::Debug for SharedSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSettings")
    }
}
