//! Texts that are kept sealed in the ledger, if there is a key. With PostgreSQL there is one.

use secrecy::ExposeSecret as _;

use super::Ledger;
use crate::sealing::{SealedPlace, unseal};

impl Ledger {
    /// Seals a text for the place where it is kept.
    pub(super) fn seal(&self, place: SealedPlace<'_>, text: &str) -> String {
        self.0.sealing_keys.get().map_or_else(|| text.to_owned(), |keys| keys.seal(place, text))
    }

    /// Opens a text that is kept at a place. What was sealed with another key is as good as nothing.
    pub(super) fn unseal(&self, place: SealedPlace<'_>, text: String) -> Option<String> {
        let opened = unseal(self.0.sealing_keys.get(), place, text).ok()?;
        Some(opened.expose_secret().to_owned())
    }
}
