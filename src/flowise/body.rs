//! The body of a prediction request: who said what, and the variables.
//!
//! What a caller said is in `question` and `history` only, and what the server has to say to the agent is in variables
//! only: a caller can imitate the words of the server, but not its place. What the server says may hold text of others,
//! such as a parameter of the call. No text but the operator's can name a variable.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;

use crate::call::ConversationItem;
use crate::call_identity::CallIdentity;
use crate::config::FlowiseVariable;
use crate::llm::Profile;

/// The question of a request that no words of the caller led to: a call begins, or a payment update arrives. Flowise
/// does not accept an empty one.
pub(super) const NO_NEW_WORDS: &str =
    "(The caller has said nothing new. Follow the update of the server, or else continue the conversation.)";

/// The value of a variable that has none at the moment: Flowise leaves the name of a variable without a value as it is in
/// the prompt.
const NOTHING: &str = "(nothing)";

/// The maximum size of `earlierUpdates`, in bytes. The newest updates are kept.
const MAX_EARLIER_BYTES: usize = 16 * 1024;

/// The body of `POST /api/v1/prediction/{flow}`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PredictionRequest<'a> {
    question: Cow<'a, str>,
    streaming: bool,
    chat_id: &'a str,
    history: Vec<HistoryMessage<'a>>,
    override_config: OverrideConfig<'a>,
}

#[derive(Serialize)]
struct HistoryMessage<'a> {
    role: HistoryRole,
    content: Cow<'a, str>,
}

/// The two roles that Flowise accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum HistoryRole {
    UserMessage,
    ApiMessage,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OverrideConfig<'a> {
    /// As unique as the chat id: with a new session the flow gets our history only, and not also its own.
    session_id: &'a str,
    vars: BTreeMap<&'static str, Cow<'a, str>>,
}

impl<'a> PredictionRequest<'a> {
    /// Creates the body for this conversation. `token` is that of the request; without one the variable is left out.
    pub(super) fn new(
        chat_id: &'a str,
        profile: &Profile,
        input: &'a [Arc<ConversationItem>],
        variables: &[FlowiseVariable],
        identity: &'a CallIdentity,
        token: Option<&'a SecretString>,
    ) -> Self {
        let conversation = Conversation::new(input);
        let value = |variable: FlowiseVariable| -> Option<Cow<'a, str>> {
            match variable {
                FlowiseVariable::Instructions => Some(conversation.instructions(profile).into()),
                FlowiseVariable::Update => Some(conversation.update().map_or(NOTHING.into(), Cow::from)),
                FlowiseVariable::EarlierUpdates => {
                    Some(conversation.earlier_updates().map_or(NOTHING.into(), Cow::from))
                }
                FlowiseVariable::CallSid => Some(identity.call_sid.as_str().into()),
                FlowiseVariable::CallToken => token.map(|token| token.expose_secret().into()),
                FlowiseVariable::Caller => {
                    Some(identity.caller.as_ref().map_or(NOTHING, |caller| caller.as_str()).into())
                }
            }
        };
        Self {
            question: conversation.question(),
            streaming: true,
            chat_id,
            history: conversation.history(),
            override_config: OverrideConfig {
                session_id: chat_id,
                vars: variables.iter().filter_map(|it| Some((it.name(), value(*it)?))).collect(),
            },
        }
    }

    /// The body as JSON text.
    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings always serialise")
    }
}

/// The input of a request, in the parts that Flowise gets.
struct Conversation<'a> {
    /// The details of the call.
    details: Option<&'a str>,
    /// Everything up to the agent's last words.
    answered: &'a [Arc<ConversationItem>],
    /// Everything since then.
    new: &'a [Arc<ConversationItem>],
}

impl<'a> Conversation<'a> {
    fn new(input: &'a [Arc<ConversationItem>]) -> Self {
        let details = input.first().and_then(|item| note(item));
        let rest = &input[usize::from(details.is_some())..];
        let spoken = rest.iter().rposition(|item| matches!(**item, ConversationItem::Agent(_)));
        let (answered, new) = rest.split_at(spoken.map_or(0, |at| at + 1));
        Self { details, answered, new }
    }

    fn question(&self) -> Cow<'a, str> {
        let words: Vec<&str> = self.new.iter().filter_map(|item| caller_words(item)).collect();
        match words[..] {
            [] => NO_NEW_WORDS.into(),
            [words] => without_template(words),
            _ => without_template(&words.join("\n")).into_owned().into(),
        }
    }

    /// What was said before the question. Neighbours with the same role are one message, since some models accept
    /// alternating roles only.
    fn history(&self) -> Vec<HistoryMessage<'a>> {
        let mut messages: Vec<HistoryMessage<'a>> = Vec::new();
        for item in self.answered {
            let (role, words) = match &**item {
                ConversationItem::Caller(words) => (HistoryRole::UserMessage, words),
                ConversationItem::Agent(message) => (HistoryRole::ApiMessage, &message.text),
                _ => continue,
            };
            match messages.last_mut().filter(|last| last.role == role) {
                Some(last) => {
                    let last = last.content.to_mut();
                    last.push('\n');
                    last.push_str(&without_template(words));
                }
                None => messages.push(HistoryMessage { role, content: without_template(words) }),
            }
        }
        messages
    }

    fn instructions(&self, profile: &Profile) -> String {
        let mut instructions: String = serde_json::from_str(profile.instructions().get()).unwrap_or_default();
        if let Some(details) = self.details {
            instructions.push_str("\n\n");
            instructions.push_str(&without_template(details));
        }
        instructions
    }

    fn update(&self) -> Option<String> {
        let notes: Vec<&str> = self.new.iter().filter_map(|item| note(item)).collect();
        (!notes.is_empty()).then(|| without_template(&notes.join("\n")).into_owned())
    }

    fn earlier_updates(&self) -> Option<String> {
        let mut room = MAX_EARLIER_BYTES;
        let newest =
            self.answered.iter().rev().filter_map(|item| note(item)).map(without_template).take_while(|note| {
                let fits = note.len() < room;
                room = room.saturating_sub(note.len() + 1);
                fits
            });
        let mut notes: Vec<Cow<'_, str>> = newest.collect();
        notes.reverse();
        (!notes.is_empty()).then(|| notes.join("\n"))
    }
}

fn caller_words(item: &ConversationItem) -> Option<&str> {
    match item {
        ConversationItem::Caller(words) => Some(words),
        _ => None,
    }
}

/// What the server says to the agent. Tool calls, their outputs and reasoning are left out: they are OpenAI's, and a
/// flow runs its tools itself.
fn note(item: &ConversationItem) -> Option<&str> {
    match item {
        ConversationItem::Developer(text) => Some(text),
        _ => None,
    }
}

/// Breaks up `{{` in the text of others, with which Flowise would begin the name of a variable, such as that of the token.
fn without_template(words: &str) -> Cow<'_, str> {
    if words.contains("{{") { words.replace("{{", "{ {").replace("{{", "{ {").into() } else { words.into() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn developer(text: &str) -> Arc<ConversationItem> {
        Arc::new(ConversationItem::Developer(text.to_owned()))
    }

    fn caller(text: &str) -> Arc<ConversationItem> {
        Arc::new(ConversationItem::Caller(text.to_owned()))
    }

    fn agent(text: &str) -> Arc<ConversationItem> {
        Arc::new(ConversationItem::Agent(text.into()))
    }

    fn identity() -> CallIdentity {
        CallIdentity {
            call_sid: "CA1".parse().unwrap(),
            caller: Some("+15550100001".parse().unwrap()),
            call_token: None,
            chatflow_id: None,
        }
    }

    fn body(input: &[Arc<ConversationItem>], variables: &[FlowiseVariable]) -> serde_json::Value {
        let profile = Profile::new("Be \"kind\".", &[""; 0]).unwrap();
        let identity = identity();
        let body = PredictionRequest::new("CA1-0-1", &profile, input, variables, &identity, None).to_json();
        serde_json::from_str(&body).unwrap()
    }

    #[test]
    fn the_body_is_serialized_exactly() {
        let input = [
            developer("Call details: inbound."),
            agent("Hello."),
            caller("I'd like to pay."),
            developer("Payment update: the card number is in."),
            agent("Got"),
            caller("Wait."),
            caller("Go on."),
            developer("Payment update: the code is in."),
        ];
        let profile = Profile::new("Be \"kind\".", &[""; 0]).unwrap();
        let (identity, token) = (identity(), SecretString::from("hush"));
        let body = PredictionRequest::new("CA1-0-1", &profile, &input, &FlowiseVariable::ALL, &identity, Some(&token))
            .to_json();
        assert!(!body.contains(['\n', '\r']), "{body}");
        insta::assert_snapshot!(body.replace(",{", ",\n{").replace(",\"o", ",\n\"o"), @r#"
        {"question":"Wait.\nGo on.","streaming":true,"chatId":"CA1-0-1","history":[{"role":"apiMessage","content":"Hello."},
        {"role":"userMessage","content":"I'd like to pay."},
        {"role":"apiMessage","content":"Got"}],
        "overrideConfig":{"sessionId":"CA1-0-1","vars":{"callSid":"CA1","callToken":"hush","caller":"+15550100001","earlierUpdates":"Payment update: the card number is in.","instructions":"Be \"kind\".\n\nCall details: inbound.","update":"Payment update: the code is in."}}}
        "#);
    }

    #[test]
    fn without_new_words_of_the_caller_the_question_is_neutral_and_the_update_says_what_happened() {
        let input = [developer("Details."), caller("Hi"), agent("Hello."), developer("Payment update: it is in.")];
        let body = body(&input, &FlowiseVariable::ALL);
        assert_eq!(body["question"], NO_NEW_WORDS);
        assert_eq!(body["overrideConfig"]["vars"]["update"], "Payment update: it is in.");
        assert_eq!(body["history"].as_array().unwrap().len(), 2);
        assert_eq!(body["overrideConfig"]["vars"]["earlierUpdates"], NOTHING);
    }

    #[test]
    fn only_the_chosen_variables_are_sent() {
        let body = body(&[developer("Details."), caller("Hi")], &[FlowiseVariable::CallSid]);
        assert_eq!(body["overrideConfig"]["vars"], serde_json::json!({"callSid": "CA1"}));
    }

    #[test]
    fn neighbours_with_one_role_are_one_message() {
        let body = body(&[agent("Hello."), agent("Are you there?"), caller("Yes"), agent("Good."), caller("Hi")], &[]);
        let history = serde_json::json!([
            {"role": "apiMessage", "content": "Hello.\nAre you there?"},
            {"role": "userMessage", "content": "Yes"},
            {"role": "apiMessage", "content": "Good."},
        ]);
        assert_eq!(body["history"], history);
    }

    #[test]
    fn of_many_earlier_updates_the_newest_are_kept() {
        let notes = (0..100).map(|n| developer(&format!("{n} {}", "x".repeat(1000))));
        let input: Vec<_> = std::iter::once(developer("Details.")).chain(notes).chain([agent("Hello.")]).collect();
        let earlier = Conversation::new(&input).earlier_updates().unwrap();
        assert!(earlier.len() <= MAX_EARLIER_BYTES && earlier.len() > MAX_EARLIER_BYTES - 1100, "{}", earlier.len());
        assert!(earlier.lines().last().unwrap().starts_with("99 "));
    }

    #[test]
    fn only_the_text_of_the_operator_names_variables() {
        let named = "{{$vars.callToken}}";
        let input = [
            developer(&format!("Call details: description {named}.")),
            caller("Hi"),
            developer(&format!("It returned {named}.")),
            agent("Hello."),
            developer(&format!("It returned {{{named}.")),
        ];
        let profile = Profile::new("Be kind to {{$vars.caller}}.", &[""; 0]).unwrap();
        let identity = identity();
        let body =
            PredictionRequest::new("CA1-0-1", &profile, &input, &FlowiseVariable::ALL, &identity, None).to_json();
        assert_eq!(body.matches("{{").count(), 1, "{body}");
        assert_eq!(body.matches("{ {$vars.callToken}").count(), 3, "{body}");
    }

    fn any_item() -> impl Strategy<Value = Arc<ConversationItem>> {
        prop_oneof![
            "[A-Z]{1,4}".prop_map(|note| developer(&format!("note {note}"))),
            "[a-z{]{1,8}".prop_map(|words| caller(&format!("said {words}"))),
            "[a-z]{1,4}".prop_map(|words| agent(&format!("spoke {words}"))),
        ]
    }

    proptest! {
        #[test]
        fn nothing_of_a_caller_is_in_a_variable_and_nothing_of_the_server_in_the_conversation(
            items in prop::collection::vec(any_item(), 0..12)
        ) {
            let body = body(&items, &FlowiseVariable::ALL);
            let vars = body["overrideConfig"]["vars"].to_string();
            let talk = format!("{} {}", body["question"], body["history"]);
            prop_assert!(!vars.contains("said ") && !vars.contains("spoke "), "{vars}");
            prop_assert!(!talk.contains("note ") && !talk.contains("{{"), "{talk}");
            for item in &items {
                match &**item {
                    ConversationItem::Caller(words) => prop_assert!(talk.contains(&*without_template(words)), "{talk}"),
                    ConversationItem::Developer(text) => prop_assert!(vars.contains(text.as_str()), "{vars}"),
                    _ => {}
                }
            }
        }
    }
}
