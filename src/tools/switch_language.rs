//! `switch-language`: the conversation goes on in another language.

use crate::call::Outcome;
use crate::relay::{Languages, Outgoing};

/// Switches what is spoken, what is heard, or both; voice and speech model follow from the session's `<Language>`.
pub(super) async fn switch_language(languages: Languages) -> Outcome {
    Outcome::Send(Outgoing::Language(languages))
}
