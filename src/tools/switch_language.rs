//! `switch-language`: switches the language of the conversation.

use crate::call::ToolOutcome;
use crate::relay::{LanguageSwitch, OutgoingFrame};

/// Switches the spoken language, the transcription language, or both. Voice and speech model follow from the session's
/// `<Language>`.
pub(super) async fn switch_language(languages: LanguageSwitch) -> ToolOutcome {
    ToolOutcome::SendFrame(OutgoingFrame::Language(languages))
}
