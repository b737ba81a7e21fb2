//! What the input of a request says: what is new in it, what is still to be done, what was agreed on.

use super::super::input::Item;
use super::{Mind, order_taken};

impl Mind<'_> {
    /// Whether a call ended the payment or the conversation.
    pub fn is_final(&self, call_id: &str) -> bool {
        matches!(self.name_of(call_id), Some("cancel-capture" | "end-call" | "live-agent-handoff"))
    }

    /// The tool that a call is of.
    pub fn name_of(&self, call_id: &str) -> Option<&str> {
        self.input.iter().find_map(|item| match item {
            Item::Call { call_id: id, name, .. } if id == call_id => Some(name.as_str()),
            _ => None,
        })
    }

    /// What came since the model answered last: behind its last words, and behind its last calls.
    pub fn fresh(&self) -> &[Item] {
        let response = |call_id: &str| call_id.get(..13).unwrap_or(call_id).to_owned();
        let last = self.input.iter().rev().find_map(|item| match item {
            Item::Call { call_id, .. } => Some(response(call_id)),
            _ => None,
        });
        let of_last = |it: &Item| matches!(it, Item::Call { call_id, .. } if Some(response(call_id)) == last);
        let called = self.input.iter().position(of_last).map_or(0, |at| at + 1);
        let said = self.input.iter().rposition(|it| matches!(it, Item::Assistant(_))).map_or(0, |at| at + 1);
        &self.input[called.max(said)..]
    }

    /// The last word of the server, if nothing was answered to it.
    pub fn unheeded_update(&self) -> Option<&str> {
        last_update(self.fresh())
    }

    /// The last word of the server.
    pub fn last_update(&self) -> Option<&str> {
        last_update(self.input)
    }

    /// A tool that `text` says to call, and whether it is to be called without asking the caller.
    pub fn tool_named(&self, text: &str) -> Option<(String, bool)> {
        let named =
            |tool: &&String| text.find(&format!("call {tool}")).or_else(|| text.find(&format!("call `{tool}`")));
        let (at, tool) = self.tools.iter().filter_map(|tool| named(&tool).map(|at| (at, tool))).min()?;
        let sentence = text[..at].rfind([':', '.']).map_or(0, |end| end + 1);
        let sentence = format!(" {}", text[sentence..at].to_lowercase());
        let asks =
            [" if ", " offer", " ask", " once ", " when ", " whether "].iter().any(|word| sentence.contains(word));
        Some((tool.clone(), !asks))
    }

    /// What the server's last word asked for and was not done: an interruption may have stopped it.
    pub fn outstanding(&self) -> Option<String> {
        let (at, tool) = self.input.iter().enumerate().rev().find_map(|(at, item)| match item {
            Item::Developer(text) if is_update(text) => Some((at, self.tool_named(text))),
            Item::Output { call_id, output } => {
                let of =
                    self.input.iter().position(|it| matches!(it, Item::Call { call_id: id, .. } if id == call_id))?;
                Some((of, self.tool_named(output)))
            }
            _ => None,
        })?;
        let (tool, _) = tool.filter(|(_, at_once)| *at_once)?;
        (!self.input[at..].iter().any(|it| matches!(it, Item::Call { name, .. } if *name == tool))).then_some(tool)
    }

    /// Whether a tool was called since the server's last word.
    pub fn called_since_update(&self, tool: &str) -> bool {
        let update = self.input.iter().rposition(|it| matches!(it, Item::Developer(text) if is_update(text)));
        self.input[update.unwrap_or(0)..].iter().any(|it| matches!(it, Item::Call { name, .. } if name == tool))
    }

    /// Whether a payment was started and nothing has said since that it is over.
    pub fn payment_is_open(&self) -> bool {
        let refused = |id: &str| {
            let of = |it: &Item| matches!(it, Item::Output { call_id, output } if call_id == id && output.contains("\"success\":false"));
            self.input.iter().any(of)
        };
        let starts =
            |it: &Item| matches!(it, Item::Call { name, call_id, .. } if name == "start-capture" && !refused(call_id));
        let started = self.input.iter().rposition(starts);
        let over = |it: &Item| {
            matches!(it, Item::Developer(text) if is_update(text)
                && OVER.iter().any(|word| text.to_lowercase().contains(word)))
        };
        started.is_some_and(|at| !self.input[at..].iter().any(over))
    }

    /// The step of a payment that was called last and did nothing.
    pub fn failed_step(&self) -> Option<&str> {
        let last = self.input.iter().rev().find_map(|it| match it {
            Item::Output { call_id, output } => Some((call_id, output)),
            _ => None,
        });
        let (call_id, _) = last.filter(|(_, output)| output.contains("\"success\":false"))?;
        let is_step = |tool: &&str| tool.starts_with("capture-") || *tool == "finish-capture";
        self.name_of(call_id).filter(is_step)
    }

    /// How many tools in a row did nothing.
    pub fn failures_in_a_row(&self) -> usize {
        let outputs = self.input.iter().rev().filter_map(|it| match it {
            Item::Output { output, .. } => Some(output),
            _ => None,
        });
        outputs.take_while(|output| output.contains("\"success\":false")).count()
    }

    /// How often a tool was called without a word of the caller: a server that sends the model in circles is not followed.
    pub fn calls_since_caller(&self, tool: &str) -> usize {
        let since = self.input.iter().rev().take_while(|it| !matches!(it, Item::User(_)));
        since.filter(|it| matches!(it, Item::Call { name, .. } if name == tool)).count()
    }

    /// Whether the call was going on before and nothing is known of it.
    pub fn was_cut_off(&self) -> bool {
        matches!(self.input.first(), Some(Item::Developer(text)) if text.contains("going on already"))
    }

    /// What the server knew of earlier payments when the call began, if the caller was not told yet.
    pub fn untold(&self) -> Option<&'static str> {
        let Some(Item::Developer(details)) = self.input.first() else { return None };
        let known = order_taken(details)?;
        let tells = |item: &Item| matches!(item, Item::Assistant(said) if said.contains(known));
        (!self.input.iter().any(tells)).then_some(known)
    }

    /// For a person who takes over: what the caller wanted, in the caller's own first words.
    pub fn summary(&self) -> String {
        let first = self.input.iter().find_map(|item| match item {
            Item::User(said) => Some(said.as_str()),
            _ => None,
        });
        format!("The caller began with: {}", first.unwrap_or("nothing"))
    }

    /// Whether a tool was ever called.
    pub fn has_called(&self, tool: &str) -> bool {
        self.input.iter().any(|it| matches!(it, Item::Call { name, .. } if name == tool))
    }

    /// The amount that is due on this call, where the server says so.
    pub fn due(&self) -> Option<String> {
        self.input.iter().find_map(|item| match item {
            Item::Developer(text) => text.split_once("Due on this call: ")?.1.split(' ').next().map(str::to_owned),
            _ => None,
        })
    }

    /// The amount that was last named to the caller.
    pub fn charge(&self) -> Option<String> {
        self.input.iter().rev().find_map(|item| match item {
            Item::Assistant(said) | Item::User(said) => amount(&said.to_lowercase()),
            _ => None,
        })
    }
}

fn last_update(items: &[Item]) -> Option<&str> {
    items.iter().rev().find_map(|item| match item {
        Item::Developer(text) if is_update(text) => Some(text.as_str()),
        _ => None,
    })
}

/// What the server says of a payment that is over.
const OVER: &[&str] =
    &["declin", "cancelled", "succeeded", "is over", "ended", "did not go through", "whether the payment went through"];

/// Whether the server tells what the payment did, and what is to be done.
pub fn is_update(text: &str) -> bool {
    text.starts_with("Payment update:") && text.contains("Next:")
}

/// Whether the server tells what the caller answered to a question of its own.
pub fn is_outcome_of_question(text: &str) -> bool {
    let outcomes = ["said yes to", "said no to", "no clear answer", "did not want to go on"];
    is_update(text) && outcomes.iter().any(|outcome| text.contains(outcome))
}

/// Whether an item wants an answer.
pub fn is_stimulus(item: &Item) -> bool {
    match item {
        Item::Developer(text) => is_update(text),
        Item::User(_) | Item::Output { .. } => true,
        _ => false,
    }
}

/// An amount of dollars in a sentence, as decimal text with cents.
pub fn amount(said: &str) -> Option<String> {
    let words: Vec<&str> = said.split_whitespace().collect();
    words.iter().enumerate().find_map(|(at, word)| {
        let number = word.trim_start_matches('$').trim_end_matches([',', '.', '?', '!']);
        let dollars = word.starts_with('$') || words.get(at + 1).is_some_and(|next| next.starts_with("dollar"));
        let (whole, cents) = number.split_once('.').unwrap_or((number, "00"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|digit| digit.is_ascii_digit());
        (dollars && digits(whole) && digits(cents)).then(|| format!("{whole}.{cents:0<2}"))
    })
}
