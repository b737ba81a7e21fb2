//! Analyses the input of a request: new items, pending tools, agreed amounts.

use super::super::input::ModelInputItem;
use super::{ScriptedAgent, known_payment_notice};

impl ScriptedAgent<'_> {
    /// Whether a tool call ends the payment or the conversation.
    pub(super) fn is_final_call(&self, call_id: &str) -> bool {
        matches!(self.tool_of(call_id), Some("cancel-capture" | "end-call" | "live-agent-handoff"))
    }

    /// The name of the tool of a call.
    pub(super) fn tool_of(&self, call_id: &str) -> Option<&str> {
        self.input.iter().find_map(|item| match item {
            ModelInputItem::Call { call_id: id, name, .. } if id == call_id => Some(name.as_str()),
            _ => None,
        })
    }

    /// The items after the last message and the last tool calls of the model.
    pub(super) fn unanswered_items(&self) -> &[ModelInputItem] {
        let response = |call_id: &str| call_id.get(..13).unwrap_or(call_id).to_owned();
        let last = self.input.iter().rev().find_map(|item| match item {
            ModelInputItem::Call { call_id, .. } => Some(response(call_id)),
            _ => None,
        });
        let of_last =
            |it: &ModelInputItem| matches!(it, ModelInputItem::Call { call_id, .. } if Some(response(call_id)) == last);
        let called = self.input.iter().position(of_last).map_or(0, |at| at + 1);
        let said = self.input.iter().rposition(|it| matches!(it, ModelInputItem::Assistant(_))).map_or(0, |at| at + 1);
        &self.input[called.max(said)..]
    }

    /// The last payment update, if it is unanswered.
    pub(super) fn unanswered_update(&self) -> Option<&str> {
        last_update(self.unanswered_items())
    }

    /// The last payment update.
    pub(super) fn last_update(&self) -> Option<&str> {
        last_update(self.input)
    }

    /// The tool that `text` says to call, and whether to call it without asking the caller.
    pub(super) fn requested_tool(&self, text: &str) -> Option<(String, bool)> {
        let named =
            |tool: &&String| text.find(&format!("call {tool}")).or_else(|| text.find(&format!("call `{tool}`")));
        let (at, tool) = self.tools.iter().filter_map(|tool| named(&tool).map(|at| (at, tool))).min()?;
        let sentence = text[..at].rfind([':', '.']).map_or(0, |end| end + 1);
        let sentence = format!(" {}", text[sentence..at].to_lowercase());
        let asks =
            [" if ", " offer", " ask", " once ", " when ", " whether "].iter().any(|word| sentence.contains(word));
        Some((tool.clone(), !asks))
    }

    /// The tool that the last update or output asked for and that was not called, for example because of an
    /// interruption.
    pub(super) fn pending_tool(&self) -> Option<String> {
        let (at, tool) = self.input.iter().enumerate().rev().find_map(|(at, item)| match item {
            ModelInputItem::Developer(text) if is_update(text) => Some((at, self.requested_tool(text))),
            ModelInputItem::Output { call_id, output } => {
                let of = self
                    .input
                    .iter()
                    .position(|it| matches!(it, ModelInputItem::Call { call_id: id, .. } if id == call_id))?;
                Some((of, self.requested_tool(output)))
            }
            _ => None,
        })?;
        let (tool, _) = tool.filter(|(_, at_once)| *at_once)?;
        (!self.input[at..].iter().any(|it| matches!(it, ModelInputItem::Call { name, .. } if *name == tool)))
            .then_some(tool)
    }

    /// Whether a tool was called since the last payment update.
    pub(super) fn was_called_since_update(&self, tool: &str) -> bool {
        let update = self.input.iter().rposition(|it| matches!(it, ModelInputItem::Developer(text) if is_update(text)));
        self.input[update.unwrap_or(0)..]
            .iter()
            .any(|it| matches!(it, ModelInputItem::Call { name, .. } if name == tool))
    }

    /// Whether a payment was started and no update since has ended it.
    pub(super) fn is_payment_open(&self) -> bool {
        let refused = |id: &str| {
            let of = |it: &ModelInputItem| matches!(it, ModelInputItem::Output { call_id, output } if call_id == id && output.contains("\"success\":false"));
            self.input.iter().any(of)
        };
        let starts = |it: &ModelInputItem| matches!(it, ModelInputItem::Call { name, call_id, .. } if name == "start-capture" && !refused(call_id));
        let started = self.input.iter().rposition(starts);
        let over = |it: &ModelInputItem| {
            matches!(it, ModelInputItem::Developer(text) if is_update(text)
                && PAYMENT_OVER_WORDS.iter().any(|word| text.to_lowercase().contains(word)))
        };
        started.is_some_and(|at| !self.input[at..].iter().any(over))
    }

    /// The payment step that was called last, if it failed.
    pub(super) fn failed_step(&self) -> Option<&str> {
        let last = self.input.iter().rev().find_map(|it| match it {
            ModelInputItem::Output { call_id, output } => Some((call_id, output)),
            _ => None,
        });
        let (call_id, _) = last.filter(|(_, output)| output.contains("\"success\":false"))?;
        let is_step = |tool: &&str| tool.starts_with("capture-") || *tool == "finish-capture";
        self.tool_of(call_id).filter(is_step)
    }

    /// The number of tool calls that failed in a row.
    pub(super) fn consecutive_failures(&self) -> usize {
        let outputs = self.input.iter().rev().filter_map(|it| match it {
            ModelInputItem::Output { output, .. } => Some(output),
            _ => None,
        });
        outputs.take_while(|output| output.contains("\"success\":false")).count()
    }

    /// The number of calls of a tool since the caller's last message. It limits loops that the server causes.
    pub(super) fn calls_since_caller(&self, tool: &str) -> usize {
        let since = self.input.iter().rev().take_while(|it| !matches!(it, ModelInputItem::User(_)));
        since.filter(|it| matches!(it, ModelInputItem::Call { name, .. } if name == tool)).count()
    }

    /// Whether the call was in progress before this conversation.
    pub(super) fn is_resumed_call(&self) -> bool {
        matches!(self.input.first(), Some(ModelInputItem::Developer(text)) if text.contains("going on already"))
    }

    /// The text about an earlier payment from the call's details, if the caller has not heard it yet.
    pub(super) fn unreported_payment(&self) -> Option<&'static str> {
        let Some(ModelInputItem::Developer(details)) = self.input.first() else { return None };
        let known = known_payment_notice(details)?;
        let tells = |item: &ModelInputItem| matches!(item, ModelInputItem::Assistant(said) if said.contains(known));
        (!self.input.iter().any(tells)).then_some(known)
    }

    /// Summarises the call for a live agent with the caller's first message.
    pub(super) fn summary(&self) -> String {
        let first = self.input.iter().find_map(|item| match item {
            ModelInputItem::User(said) => Some(said.as_str()),
            _ => None,
        });
        format!("The caller began with: {}", first.unwrap_or("nothing"))
    }

    /// Whether a tool was called in this conversation.
    pub(super) fn has_called(&self, tool: &str) -> bool {
        self.input.iter().any(|it| matches!(it, ModelInputItem::Call { name, .. } if name == tool))
    }

    /// The amount due on this call, if the server names one.
    pub(super) fn amount_due(&self) -> Option<String> {
        self.input.iter().rev().find_map(|item| match item {
            ModelInputItem::Developer(text) | ModelInputItem::Output { output: text, .. } => {
                text.split_once("Due on this call: ")?.1.split(' ').next().map(str::to_owned)
            }
            _ => None,
        })
    }

    /// The amount that was last mentioned in the conversation.
    pub(super) fn named_amount(&self) -> Option<String> {
        self.input.iter().rev().find_map(|item| match item {
            ModelInputItem::Assistant(said) | ModelInputItem::User(said) => find_amount(&said.to_lowercase()),
            _ => None,
        })
    }
}

fn last_update(items: &[ModelInputItem]) -> Option<&str> {
    items.iter().rev().find_map(|item| match item {
        ModelInputItem::Developer(text) if is_update(text) => Some(text.as_str()),
        _ => None,
    })
}

/// The words by which an update says that a payment has ended.
const PAYMENT_OVER_WORDS: &[&str] =
    &["declin", "cancelled", "succeeded", "is over", "ended", "did not go through", "whether the payment went through"];

/// Whether a developer message is a payment update with a next step.
pub(super) fn is_update(text: &str) -> bool {
    text.starts_with("Payment update:") && text.contains("Next:")
}

/// Whether a developer message reports the answer to a question of the server.
pub(super) fn is_question_outcome(text: &str) -> bool {
    let outcomes = ["said yes to", "said no to", "no clear answer", "did not want to go on"];
    is_update(text) && outcomes.iter().any(|outcome| text.contains(outcome))
}

/// Whether an item needs a reply.
pub(super) fn needs_reply(item: &ModelInputItem) -> bool {
    match item {
        ModelInputItem::Developer(text) => is_update(text),
        ModelInputItem::User(_) | ModelInputItem::Output { .. } => true,
        _ => false,
    }
}

/// Finds an amount in dollars, and returns it as decimal text with cents.
pub(super) fn find_amount(said: &str) -> Option<String> {
    let words: Vec<&str> = said.split_whitespace().collect();
    words.iter().enumerate().find_map(|(at, word)| {
        let number = word.trim_start_matches('$').trim_end_matches([',', '.', '?', '!']);
        let dollars = word.starts_with('$') || words.get(at + 1).is_some_and(|next| next.starts_with("dollar"));
        let (whole, cents) = number.split_once('.').unwrap_or((number, "00"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|digit| digit.is_ascii_digit());
        (dollars && digits(whole) && digits(cents)).then(|| format!("{whole}.{cents:0<2}"))
    })
}
