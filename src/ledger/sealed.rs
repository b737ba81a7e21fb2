//! Texts that are kept sealed in the ledger, if there is a key. With PostgreSQL there is one.

use std::sync::atomic::Ordering;

use secrecy::ExposeSecret as _;
use tracing::warn;

use super::Ledger;
use crate::sealing::{SealedPlace, unseal};

impl Ledger {
    /// Seals a text for the place where it is kept.
    pub(super) fn seal(&self, place: SealedPlace<'_>, text: &str) -> String {
        self.0.sealing_keys.get().map_or_else(|| text.to_owned(), |keys| keys.seal(place, text))
    }

    /// Opens a text that is kept at a place. What was sealed with another key is as good as nothing, which is logged once.
    pub(super) fn unseal(&self, place: SealedPlace<'_>, text: String) -> Option<String> {
        let opened = unseal(self.0.sealing_keys.get(), place, text);
        if opened.is_err() && !self.0.has_warned_of_key.swap(true, Ordering::Relaxed) {
            warn!(
                event = "ledger.other_sealing_key",
                "What another server has kept is sealed with a key that SEALING_KEY does not have: calls that this server takes \
                 over begin anew."
            );
        }
        Some(opened.ok()?.expose_secret().to_owned())
    }
}
