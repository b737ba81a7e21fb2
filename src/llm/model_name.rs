//! What the name of a model and the host of its server tell about it.

use std::num::NonZeroU16;

/// The host suffixes of OpenAI's own API, regional ones included.
const OPENAI_HOSTS: &[&str] = &["api.openai.com"];

/// The host suffixes of OpenAI's models at Azure.
const AZURE_HOSTS: &[&str] = &["openai.azure.com", "cognitiveservices.azure.com", "services.ai.azure.com"];

/// The server that answers requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServerKind {
    /// OpenAI.
    OpenAi,
    /// Azure, where a model has the name of its deployment, chosen by a person.
    Azure,
    /// Any other: a gateway, or a server of open models.
    Other,
}

impl ServerKind {
    /// The kind of server at this host.
    pub(super) fn of_host(host: &str) -> Self {
        let is_in = |hosts: &[&str]| {
            hosts
                .iter()
                .any(|known| host.strip_suffix(known).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
        };
        if is_in(OPENAI_HOSTS) {
            Self::OpenAi
        } else if is_in(AZURE_HOSTS) {
            Self::Azure
        } else {
            Self::Other
        }
    }
}

/// The name of the provider at this host in OpenTelemetry's conventions, which is that of the API for others.
pub(crate) fn provider_name(host: &str) -> &'static str {
    match ServerKind::of_host(host) {
        ServerKind::Azure => "azure.ai.openai",
        ServerKind::OpenAi | ServerKind::Other => "openai",
    }
}

/// The family of a model, as far as its name tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ModelFamily {
    /// The o series of OpenAI, which always reasons.
    OSeries,
    /// A `gpt-` model of OpenAI.
    Gpt {
        /// The generation: 5 and 6 of `gpt-5.6-luna`.
        generation: (NonZeroU16, u16),
        /// Whether it is a chat variant, which does not reason.
        is_chat: bool,
    },
    /// A model of another maker, or one whose name was chosen by a person.
    Unknown,
}

impl ModelFamily {
    /// The family of the model with this name. A prefix such as `openai/` or `ft:` is ignored.
    pub(super) fn of_name(model: &str) -> Self {
        let name = model.rsplit('/').next().unwrap_or(model);
        let name = name.strip_prefix("ft:").unwrap_or(name).split(':').next().unwrap_or_default();
        if name.strip_prefix('o').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
            return Self::OSeries;
        }
        let Some(generation) = name.strip_prefix("gpt-").and_then(parse_generation) else { return Self::Unknown };
        Self::Gpt { generation, is_chat: name.contains("chat") }
    }

    /// Whether it reasons unless it is told not to.
    pub(super) fn is_reasoning(self) -> bool {
        match self {
            Self::OSeries => true,
            Self::Gpt { is_chat, .. } => !is_chat && self.is_gpt_since(5, 0),
            Self::Unknown => false,
        }
    }

    /// Whether it is a `gpt-` model of this generation or a later one.
    pub(super) fn is_gpt_since(self, major: u16, minor: u16) -> bool {
        matches!(self, Self::Gpt { generation: (of_major, of_minor), .. } if (of_major.get(), of_minor) >= (major, minor))
    }
}

/// Parses `5.6-luna` as 5 and 6, and `4o` as 4 and 0.
fn parse_generation(text: &str) -> Option<(NonZeroU16, u16)> {
    let digits = |text: &str| text.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default().to_owned();
    let major = digits(text);
    let minor = text[major.len()..].strip_prefix('.').map(digits).unwrap_or_default();
    Some((major.parse().ok()?, minor.parse().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reasoning_model_is_recognized_by_its_name() {
        for model in [
            "o1",
            "o3-mini",
            "o4-mini-2025-04-16",
            "gpt-5",
            "gpt-5.1-mini",
            "openai/gpt-5",
            "gpt-6-luna",
            "ft:gpt-6-luna:acme",
        ] {
            assert!(ModelFamily::of_name(model).is_reasoning(), "{model}");
        }
        for model in ["gpt-4o", "gpt-4.1", "gpt-5-chat-latest", "gpt-oss-120b", "omni", "ft:gpt-4o:acme", "", "gpt-0"] {
            assert!(!ModelFamily::of_name(model).is_reasoning(), "{model}");
        }
    }

    #[test]
    fn generations_are_compared_by_number() {
        let is_since_5_6 = |model| ModelFamily::of_name(model).is_gpt_since(5, 6);
        for model in ["gpt-5.6-luna", "gpt-5.10", "gpt-6-luna", "gpt-6.1-sol", "gpt-10"] {
            assert!(is_since_5_6(model), "{model}");
        }
        for model in ["gpt-5", "gpt-5.4-mini", "gpt-4.9", "gpt-4o", "o9", "gpt-oss-120b", "luna", "gpt-99999999999"] {
            assert!(!is_since_5_6(model), "{model}");
        }
    }

    #[test]
    fn the_kind_of_a_server_is_that_of_its_host() {
        for (host, kind) in [
            ("api.openai.com", ServerKind::OpenAi),
            ("eu.api.openai.com", ServerKind::OpenAi),
            ("acme.openai.azure.com", ServerKind::Azure),
            ("acme.services.ai.azure.com", ServerKind::Azure),
            ("acme.cognitiveservices.azure.com", ServerKind::Azure),
            ("myapi.openai.com.example.com", ServerKind::Other),
            ("notapi.openai.com", ServerKind::Other),
            ("openrouter.ai", ServerKind::Other),
            ("127.0.0.1", ServerKind::Other),
        ] {
            assert_eq!(ServerKind::of_host(host), kind, "{host}");
        }
    }
}
