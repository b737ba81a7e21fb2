//! What another server needs to go on with a call: its conversation and its state, as JSON.
//!
//! The items of a history share their memory with what was written of them last. An item that changes is copied by that, so
//! that a comparison of addresses finds all changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::history::{AgentMessage, ConversationItem, MessagePhase, ToolCall};
use crate::ids::PaymentSid;
use crate::redact::RedactedJson;
use crate::relay::LanguageSwitch;

/// What is known of a call besides its conversation. What is not here begins anew on another server: silence, half-said words,
/// an amount that was agreed to, a goodbye.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "each is a state of its own")]
pub(crate) struct CallState {
    /// The language that is spoken, if it was switched.
    pub(super) spoken_language: Option<String>,
    /// The language that is transcribed, if it was switched.
    pub(super) heard_language: Option<String>,
    /// The caller asked for the language, which holds for the rest of the call.
    pub(super) is_language_requested: bool,
    /// Listen mode is on.
    pub(super) listen_only: bool,
    /// Silence detection is on.
    pub(super) detects_silence: bool,
    /// The server leads through the open payment.
    pub(super) is_server_leading: bool,
    /// The turns that were left out of the history.
    pub(super) left_out_turns: usize,
    /// Text messages, tones and recordings, which are limited.
    pub(super) messages: u32,
    pub(super) tones: u32,
    pub(super) recordings: u32,
    /// The call was handed over while nobody spoke: it goes on in silence.
    pub(super) is_handed_over: bool,
    /// The caller has heard that the agent is a machine.
    pub(super) is_disclosed: bool,
    /// The question about an amount that the caller has not answered.
    pub(super) question: Option<KeptQuestion>,
    /// The payments whose results the model knows.
    pub(super) results: BTreeSet<String>,
    /// The field that the caller is asked to enter, by its name on the wire.
    pub(super) awaited_field: Option<String>,
}

/// A question of the server about an amount, which is asked again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeptQuestion {
    /// In minor units.
    pub(super) amount: u64,
    /// An ISO 4217 code.
    pub(super) currency: String,
    /// Set if the same amount was paid so many minutes ago.
    pub(super) minutes_since_paid: Option<u32>,
}

impl CallState {
    /// Whether the call knew the result of this payment.
    pub(crate) fn knows_result_of(&self, sid: &PaymentSid) -> bool {
        self.results.contains(sid.as_str())
    }

    pub(super) fn languages(&self) -> Option<LanguageSwitch> {
        match (self.spoken_language.clone(), self.heard_language.clone()) {
            (Some(tts_language), None) => Some(LanguageSwitch::Tts { tts_language }),
            (None, Some(transcription_language)) => Some(LanguageSwitch::Transcription { transcription_language }),
            (Some(tts_language), Some(transcription_language)) => {
                Some(LanguageSwitch::Both { tts_language, transcription_language })
            }
            (None, None) => None,
        }
    }
}

/// The items of a history as they were written last, by their positions.
#[derive(Debug, Default)]
pub(crate) struct JournalCursor(Vec<(usize, Arc<ConversationItem>)>);

/// An item of a history that has changed; `None` where it was removed.
pub(crate) type ChangedItem = (usize, Option<Arc<ConversationItem>>);

impl JournalCursor {
    /// Returns what has changed since the last time.
    pub(super) fn take_changes<'a>(
        &mut self,
        items: impl Iterator<Item = (usize, &'a Arc<ConversationItem>)>,
    ) -> Vec<ChangedItem> {
        // A reasoning item is sent back only with what followed it, within one server.
        let items = items.filter(|(_, item)| !matches!(***item, ConversationItem::Reasoning(_)));
        let items: Vec<_> = items.map(|(position, item)| (position, item.clone())).collect();
        let mut changes = Vec::new();
        let mut written = std::mem::take(&mut self.0).into_iter().peekable();
        for (position, item) in &items {
            while let Some((gone, _)) = written.next_if(|(before, _)| before < position) {
                changes.push((gone, None));
            }
            let known = written.next_if(|(before, _)| before == position);
            if known.is_none_or(|(_, known)| !Arc::ptr_eq(&known, item)) {
                changes.push((*position, Some(item.clone())));
            }
        }
        changes.extend(written.map(|(gone, _)| (gone, None)));
        self.0 = items;
        changes
    }
}

/// An item of a conversation as it is kept. Its card numbers were removed when it came into the history.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum KeptItem {
    Developer(String),
    Caller(String),
    #[serde(rename_all = "camelCase")]
    Agent {
        text: String,
        phase: Option<String>,
    },
    #[serde(rename_all = "camelCase")]
    ToolCall {
        call_id: String,
        name: String,
        arguments: String,
    },
    #[serde(rename_all = "camelCase")]
    ToolOutput {
        call_id: String,
        output: String,
    },
}

impl ConversationItem {
    /// The item as JSON text; `None` for a reasoning item, which is not kept.
    pub(crate) fn to_journal(&self) -> Option<String> {
        let kept = match self.clone() {
            Self::Developer(text) => KeptItem::Developer(text),
            Self::Caller(text) => KeptItem::Caller(text),
            Self::Agent(AgentMessage { text, phase }) => {
                KeptItem::Agent { text, phase: phase.map(|phase| phase.as_str().to_owned()) }
            }
            Self::Reasoning(_) => return None,
            Self::ToolCall(ToolCall { call_id, name, arguments, .. }) => {
                KeptItem::ToolCall { call_id, name, arguments: RedactedJson::into_string(arguments) }
            }
            Self::ToolOutput { call_id, output } => KeptItem::ToolOutput { call_id, output },
        };
        Some(serde_json::to_string(&kept).expect("strings always serialise"))
    }

    /// Reads an item. What another version has written and this one cannot read is left out.
    pub(crate) fn from_journal(json: &str) -> Option<Self> {
        Some(match serde_json::from_str(json).ok()? {
            KeptItem::Developer(text) => Self::Developer(text),
            KeptItem::Caller(text) => Self::Caller(text),
            KeptItem::Agent { text, phase } => {
                Self::Agent(AgentMessage { text, phase: phase.and_then(|phase| MessagePhase::from_wire(&phase)) })
            }
            KeptItem::ToolCall { call_id, name, arguments } => {
                Self::ToolCall(ToolCall::new(call_id, None, name, &arguments))
            }
            KeptItem::ToolOutput { call_id, output } => Self::ToolOutput { call_id, output },
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::super::history::{CardSource, History};
    use super::*;
    use crate::redact::{RedactionPolicy, Redactor};

    /// What is written of a history: it gets the changes as the ledger does.
    #[derive(Default)]
    struct Written {
        cursor: JournalCursor,
        items: BTreeMap<usize, String>,
    }

    impl Written {
        fn follow(&mut self, history: &History) {
            for (position, item) in self.cursor.take_changes(history.items()) {
                match item.and_then(|item| item.to_journal()) {
                    Some(item) => drop(self.items.insert(position, item)),
                    None => drop(self.items.remove(&position)),
                }
            }
        }
    }

    /// What happens to a history.
    #[derive(Debug, Clone)]
    enum Step {
        Push(u8, String),
        /// An interruption cuts the agent's last words.
        Cut,
        /// The caller said the second half of a card number.
        Card,
        LeaveOutNewest,
        RestoreLeftOut,
        DropReasoning,
        Shrink,
        Write,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..6_u8, "[a-z]{1,20}").prop_map(|(kind, text)| Step::Push(kind, text)),
            1 => Just(Step::Cut),
            1 => Just(Step::Card),
            1 => Just(Step::LeaveOutNewest),
            1 => Just(Step::RestoreLeftOut),
            1 => Just(Step::DropReasoning),
            1 => Just(Step::Shrink),
            3 => Just(Step::Write),
        ]
    }

    fn item(kind: u8, text: String) -> ConversationItem {
        match kind {
            0 => ConversationItem::Developer(text),
            1 => ConversationItem::Caller(text),
            2 => ConversationItem::Agent(AgentMessage { text, phase: Some(MessagePhase::FinalAnswer) }),
            3 => ConversationItem::Reasoning(RawValue::from_string(format!("{{\"text\":\"{text}\"}}")).unwrap()),
            4 => ConversationItem::ToolCall(ToolCall::new(text, None, "send-sms".to_owned(), "{}")),
            _ => ConversationItem::ToolOutput { call_id: text, output: "{}".to_owned() },
        }
    }

    fn apply(history: &mut History, step: Step) {
        match step {
            Step::Push(kind, text) => drop(history.push(item(kind, text))),
            Step::Cut => {
                let agent = (0..history.next_position()).rev().find(|at| history.agent_text_mut(*at).is_some());
                if let Some(words) = agent.and_then(|at| history.agent_text_mut(at)) {
                    words.truncate(words.len() / 2);
                }
            }
            Step::Card => {
                let mut redactor = Redactor::default();
                for half in ["my card is 4242 4242", "4242 4242"] {
                    let heard = redactor.redact(half, RedactionPolicy::CardNumbers);
                    history.redact_cards(&heard.cards, CardSource::Caller);
                    history.push(ConversationItem::Caller(heard.text));
                }
            }
            Step::LeaveOutNewest => drop(history.leave_out_newest_input("Left out.", "Left out.")),
            Step::RestoreLeftOut => history.restore_left_out(),
            Step::DropReasoning => drop(history.drop_all_reasoning()),
            Step::Shrink => drop(history.drop_older_half()),
            Step::Write => {}
        }
    }

    proptest! {
        /// What is written is what the history is, whatever was changed, removed or left out of it meanwhile.
        #[test]
        fn what_was_cut_from_the_history_is_cut_from_the_journal(steps in prop::collection::vec(step(), 0..60)) {
            let (mut history, mut written) = (History::default(), Written::default());
            history.push(ConversationItem::Developer("The call began.".to_owned()));
            for step in steps {
                let is_written = matches!(step, Step::Write);
                apply(&mut history, step);
                if is_written {
                    written.follow(&history);
                    prop_assert!(written.cursor.take_changes(history.items()).is_empty(), "nothing is written twice");
                }
            }
            written.follow(&history);
            let items = history.items().filter_map(|(at, item)| Some((at, item.to_journal()?)));
            prop_assert_eq!(&written.items, &items.collect::<BTreeMap<_, _>>());
            let text = written.items.values().cloned().collect::<String>();
            prop_assert!(!text.contains("4242"), "{text}");
            let read: Vec<_> = written.items.values().filter_map(|item| ConversationItem::from_journal(item)).collect();
            prop_assert_eq!(read.len(), written.items.len(), "each item is read back");
            let restored = History::restore(read, 0);
            let open = |history: &History| {
                let count = |is: fn(&ConversationItem) -> bool| history.items().filter(|(_, item)| is(item)).count();
                (count(|item| matches!(item, ConversationItem::ToolCall(_))), count(|item| matches!(item, ConversationItem::ToolOutput { .. })))
            };
            let (calls, outputs) = open(&restored);
            prop_assert_eq!(calls, outputs, "each tool call has one output");
        }
    }

    #[test]
    fn what_another_version_has_written_is_left_out() {
        for unknown in ["", "7", r#"{"video":"x"}"#, r#"{"agent":{}}"#] {
            assert!(ConversationItem::from_journal(unknown).is_none(), "{unknown}");
        }
        let newer = r#"{"agent":{"text":"Hi","phase":"thinking-aloud","mood":"good"}}"#;
        assert!(matches!(ConversationItem::from_journal(newer), Some(ConversationItem::Agent(_))));
    }
}
