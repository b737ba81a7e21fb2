//! Which members of a request the model and the server take: guessed from their names at first, and learned from what
//! is refused, for as long as the process runs.

use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::model_name::{ModelFamily, ServerKind};
use super::refusal::{FieldSet, OptionalField, Refusal, RefusedRole};
use crate::config::{OpenAiConfig, ReasoningEffort, ServiceTier, Setting};

/// The maximum length of a response, in tokens, of a model that does not think: about two minutes of speech.
const DEFAULT_MAX_OUTPUT_TOKENS: NonZeroU32 = NonZeroU32::new(400).expect("not zero");

/// How often a request that was refused for no known reason is repeated without optional members, if that never helped.
const MAX_BARE_ATTEMPTS: u32 = 3;

/// The optional members of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RequestOptions {
    fields: FieldSet,
    /// The value of `reasoning.effort`.
    pub(super) effort: Option<ReasoningEffort>,
    /// The value of `service_tier`.
    pub(super) service_tier: Option<ServiceTier>,
    /// The value of `max_output_tokens`.
    pub(super) max_output_tokens: Option<NonZeroU32>,
    /// The role of the messages of this server.
    pub(super) role: ServerRole,
}

/// The role in which the model is told what this server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServerRole {
    /// `developer`, OpenAI's word.
    Developer,
    /// `system`, which servers of open models know. Ollama drops `developer` messages without a word.
    System,
    /// `user`, with a mark: chat templates such as Qwen's refuse a system message that is not the first one.
    User,
}

/// What a model and its server take.
#[derive(Debug)]
pub(super) struct Capabilities {
    family: ModelFamily,
    server: ServerKind,
    effort: Option<ReasoningEffort>,
    service_tier: Option<ServiceTier>,
    max_output_tokens: Setting<NonZeroU32>,
    learned: Mutex<LearnedCapabilities>,
}

#[derive(Debug)]
struct LearnedCapabilities {
    refused: FieldSet,
    effort: Option<ReasoningEffort>,
    refused_efforts: Vec<ReasoningEffort>,
    role: ServerRole,
    /// Whether the model sent a reasoning item.
    has_reasoned: bool,
    /// Whether a request with optional members has succeeded: one that is refused is then refused for other reasons.
    is_proven: bool,
    /// Whether only requests without optional members succeed.
    is_bare: bool,
    bare_attempts: u32,
}

impl RequestOptions {
    /// Whether the request has this member.
    pub(super) fn has(&self, field: OptionalField) -> bool {
        self.fields.contains(field)
    }

    /// Whether there is no member to leave out. A phase is sent only to a server that sent it.
    fn is_bare(&self) -> bool {
        self.fields.without(OptionalField::MessagePhase).is_empty()
    }

    fn without_fields(&self) -> Self {
        Self { fields: FieldSet::default(), effort: None, service_tier: None, max_output_tokens: None, role: self.role }
    }
}

impl Capabilities {
    /// Guesses what the configured model takes at a server of this kind.
    pub(super) fn new(server: ServerKind, config: &OpenAiConfig) -> Self {
        let family = ModelFamily::of_name(&config.model);
        let effort = match config.reasoning_effort {
            Setting::Value(effort) => Some(effort),
            Setting::NotSent => None,
            Setting::ByModel => default_effort(family, server),
        };
        // A server of open models is told in `system` messages.
        let is_openai = server != ServerKind::Other || family != ModelFamily::Unknown;
        let learned = LearnedCapabilities {
            refused: FieldSet::default(),
            effort,
            refused_efforts: Vec::new(),
            role: if is_openai { ServerRole::Developer } else { ServerRole::System },
            has_reasoned: false,
            is_proven: false,
            is_bare: false,
            bare_attempts: 0,
        };
        Self {
            family,
            server,
            effort,
            service_tier: config.service_tier,
            max_output_tokens: config.max_output_tokens,
            learned: Mutex::new(learned),
        }
    }

    /// The optional members of the next request.
    pub(super) fn options(&self) -> RequestOptions {
        self.options_of(&self.learned())
    }

    /// Learns from a refused request, which was sent with these options. Returns the options with which it may be
    /// repeated at once; `None` if the reason lies elsewhere. Each repetition has fewer members, or a value that was
    /// not refused before, so that they end.
    pub(super) fn learn_refusal(&self, refusal: &Refusal, sent: &RequestOptions) -> Option<RequestOptions> {
        let mut learned = self.learned();
        let before = self.options_of(&learned);
        if let Some(role) = refusal.role.and_then(|refused| next_role(sent.role, refused)) {
            // Another request may have learned it already.
            if learned.role == sent.role {
                learned.role = role;
            }
        }
        for field in OptionalField::ALL.into_iter().filter(|field| refusal.fields.contains(*field) && sent.has(*field))
        {
            match sent.effort.filter(|_| field == OptionalField::ReasoningEffort && refusal.is_effort_value) {
                Some(effort) => self.learn_refused_effort(&mut learned, effort, &refusal.supported_efforts),
                None => learned.refused.insert(field),
            }
        }
        let now = self.options_of(&learned);
        if now != before {
            log_adaptation(&before, &now);
        }
        if now != *sent && !refusal.is_unexplained {
            return (!refusal.fields.is_empty() || refusal.role.is_some()).then_some(now);
        }
        let may_try_bare = refusal.is_unexplained && !sent.is_bare() && !learned.is_proven;
        if may_try_bare && learned.bare_attempts < MAX_BARE_ATTEMPTS {
            learned.bare_attempts += 1;
            return Some(sent.without_fields());
        }
        None
    }

    /// Learns from a request with these options that was accepted.
    pub(super) fn learn_success(&self, sent: &RequestOptions) {
        let mut learned = self.learned();
        if !sent.is_bare() {
            learned.is_proven = true;
        } else if learned.bare_attempts > 0 && !learned.is_proven && !learned.is_bare {
            learned.is_bare = true;
            tracing::info!(
                event = "openai.request_adapted",
                "The server takes no optional members, and does not say which ones it refuses; none is sent from now on."
            );
        }
    }

    /// Learns that the model sent a reasoning item.
    pub(super) fn learn_reasoning(&self) {
        self.learned().has_reasoned = true;
    }

    /// Whether the server fills its prompt cache on request, without a response.
    pub(super) fn takes_prewarming(&self) -> bool {
        let learned = self.learned();
        self.server == ServerKind::OpenAi
            && self.family.is_gpt_since(5, 6)
            && !learned.is_bare
            && !learned.refused.contains(OptionalField::PromptCacheOptions)
    }

    /// Learns that a request to fill the prompt cache was refused.
    pub(super) fn learn_prewarming_refused(&self) {
        self.learned().refused.insert(OptionalField::PromptCacheOptions);
    }

    fn learned(&self) -> MutexGuard<'_, LearnedCapabilities> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn options_of(&self, learned: &LearnedCapabilities) -> RequestOptions {
        let mut options = RequestOptions {
            fields: FieldSet::default(),
            effort: learned.effort,
            service_tier: self.service_tier,
            max_output_tokens: self.max_output_tokens(learned),
            role: learned.role,
        };
        if learned.is_bare {
            return options.without_fields();
        }
        for field in OptionalField::ALL {
            if self.is_wanted(field, &options, learned) && !learned.refused.contains(field) {
                options.fields.insert(field);
            }
        }
        options.effort = options.effort.filter(|_| options.has(OptionalField::ReasoningEffort));
        options.service_tier = options.service_tier.filter(|_| options.has(OptionalField::ServiceTier));
        options.max_output_tokens = options.max_output_tokens.filter(|_| options.has(OptionalField::MaxOutputTokens));
        options
    }

    /// Whether the field is sent unless it is refused.
    fn is_wanted(&self, field: OptionalField, options: &RequestOptions, learned: &LearnedCapabilities) -> bool {
        let is_openai_server = self.server != ServerKind::Other;
        match field {
            OptionalField::Include => self.family.is_reasoning() || learned.has_reasoned,
            OptionalField::ReasoningEffort => options.effort.is_some(),
            OptionalField::Verbosity => self.family.is_reasoning() && self.family.is_gpt_since(5, 0),
            OptionalField::ServiceTier => options.service_tier.is_some(),
            OptionalField::MaxOutputTokens => options.max_output_tokens.is_some(),
            // A gateway passes the key on with a model of OpenAI's.
            OptionalField::PromptCacheKey => is_openai_server || self.family != ModelFamily::Unknown,
            // Neither is of use to a gateway, and the latter is data about callers, if without a name.
            OptionalField::StreamOptions | OptionalField::SafetyIdentifier => is_openai_server,
            // Sent only in requests of their own.
            OptionalField::PromptCacheOptions => false,
            // There is a phase only if the server sent one.
            OptionalField::MessagePhase => true,
        }
    }

    fn max_output_tokens(&self, learned: &LearnedCapabilities) -> Option<NonZeroU32> {
        let thinks = match learned.effort.filter(|_| !learned.refused.contains(OptionalField::ReasoningEffort)) {
            Some(effort) => effort != ReasoningEffort::None,
            None => self.family.is_reasoning(),
        };
        // Thoughts count, and would use it up.
        let is_known_not_to_think = !thinks && !learned.has_reasoned && self.is_known(learned);
        match self.max_output_tokens {
            Setting::Value(tokens) => Some(tokens),
            Setting::NotSent => None,
            Setting::ByModel => is_known_not_to_think.then_some(DEFAULT_MAX_OUTPUT_TOKENS),
        }
    }

    /// Whether the model is one of OpenAI's by its name, or at its server obeys an effort.
    fn is_known(&self, learned: &LearnedCapabilities) -> bool {
        let has_effort = learned.effort.is_some() && !learned.refused.contains(OptionalField::ReasoningEffort);
        self.family != ModelFamily::Unknown || (self.server != ServerKind::Other && has_effort)
    }

    /// Replaces a refused effort by the next one: the highest supported one that is not above the configured one, or
    /// else the lowest; without a list, the next one towards `low`. Without any, the effort is left out.
    fn learn_refused_effort(
        &self,
        learned: &mut LearnedCapabilities,
        refused: ReasoningEffort,
        supported: &[ReasoningEffort],
    ) {
        learned.refused_efforts.push(refused);
        let unlisted: Vec<ReasoningEffort> = if refused < ReasoningEffort::Low {
            [ReasoningEffort::Minimal, ReasoningEffort::Low].into_iter().filter(|effort| *effort > refused).collect()
        } else {
            ReasoningEffort::ALL.into_iter().filter(|effort| (ReasoningEffort::Low..refused).contains(effort)).collect()
        };
        let candidates = if supported.is_empty() { &unlisted } else { supported };
        let candidates = candidates.iter().copied().filter(|effort| !learned.refused_efforts.contains(effort));
        let wanted = self.effort.unwrap_or(refused);
        let next = candidates.clone().filter(|effort| *effort <= wanted).max().or_else(|| candidates.min());
        if learned.effort == Some(refused) {
            learned.effort = next;
        }
    }
}

/// The effort with which a model answers fastest, as far as it is known to take one. At OpenAI's and Azure's servers a
/// model of unknown name is asked not to think, too: not to think is worth seconds, and a refusal is learned.
fn default_effort(family: ModelFamily, server: ServerKind) -> Option<ReasoningEffort> {
    match family {
        ModelFamily::OSeries => Some(ReasoningEffort::Low),
        ModelFamily::Gpt { .. } if !family.is_reasoning() => None,
        // gpt-5 itself, unlike its successors, knows no `none`.
        ModelFamily::Gpt { .. } if !family.is_gpt_since(5, 1) => Some(ReasoningEffort::Minimal),
        ModelFamily::Gpt { .. } => Some(ReasoningEffort::None),
        ModelFamily::Unknown => (server != ServerKind::Other).then_some(ReasoningEffort::None),
    }
}

fn next_role(sent: ServerRole, refused: RefusedRole) -> Option<ServerRole> {
    match (sent, refused) {
        (ServerRole::Developer, RefusedRole::Sent) => Some(ServerRole::System),
        (ServerRole::Developer, RefusedRole::LateSystem) | (ServerRole::System, _) => Some(ServerRole::User),
        (ServerRole::User, _) => None,
    }
}

fn log_adaptation(before: &RequestOptions, now: &RequestOptions) {
    let left_out: Vec<OptionalField> =
        OptionalField::ALL.into_iter().filter(|field| before.has(*field) && !now.has(*field)).collect();
    tracing::info!(
        event = "openai.request_adapted",
        ?left_out,
        effort = now.effort.map(tracing::field::display),
        role = ?now.role,
        "The server refused a member of the request; it is not sent so again."
    );
}

#[cfg(test)]
mod tests;
