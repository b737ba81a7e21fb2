//! `Recording` of `serverConfig.json`: whether calls are recorded, and what callers hear of it first.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::compliance::TextVisitor;
use crate::call::{BUSINESS, ComplianceText};

/// The section `Recording`.
#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct RecordingSection {
    enabled: bool,
    #[serde(deserialize_with = "announcement")]
    announcement: ComplianceText,
    pause_during_capture: bool,
}

/// How calls are recorded.
#[derive(Debug, Clone)]
pub struct CallRecordingConfig {
    /// `announcement`: what callers hear before the recording starts.
    pub announcement: ComplianceText,
    /// `pauseDuringCapture` (true): whether it is paused before a field is captured.
    pub pauses_for_capture: bool,
}

/// That the call is recorded.
const ANNOUNCEMENT: &[(&str, &str)] = &[
    ("en-US", "This call is being recorded."),
    ("es-US", "Esta llamada se está grabando."),
    ("de-DE", "Dieses Gespräch wird aufgezeichnet."),
    ("fr-FR", "Cet appel est enregistré."),
];

impl Default for RecordingSection {
    fn default() -> Self {
        Self { enabled: false, announcement: ComplianceText::new(Vec::new(), ANNOUNCEMENT), pause_during_capture: true }
    }
}

impl RecordingSection {
    /// How calls are recorded; `None` if they are not.
    pub(super) fn into_config(self) -> Option<CallRecordingConfig> {
        let Self { enabled, announcement, pause_during_capture } = self;
        enabled.then_some(CallRecordingConfig { announcement, pauses_for_capture: pause_during_capture })
    }
}

fn announcement<'de, D: Deserializer<'de>>(json: D) -> Result<ComplianceText, D::Error> {
    let texts = json.deserialize_any(TextVisitor { built_in: ANNOUNCEMENT, placeholders: &[BUSINESS] })?;
    texts.ok_or_else(|| {
        D::Error::custom("a recording is always announced: leave announcement out for the built-in texts")
    })
}
