//! The scripted agent: decides from the input of a request what to say and which tools to call.
//!
//! It calls the tool that a developer message or a tool's output names (`call <tool-name>`), unless that sentence
//! leaves the choice to the caller. It answers the caller, reports earlier payments in its first message, and asks
//! before it charges.

mod input_analysis;

use serde_json::{Value, json};

use super::input::ModelInputItem;
use input_analysis::{find_amount, is_question_outcome, is_update, needs_reply};

/// A response of the model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ScriptedReply {
    /// The text to say.
    pub text: String,
    /// The tools to call: name and JSON arguments.
    pub calls: Vec<(String, String)>,
}

/// Habits of the agent that the server has to handle.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a habit of its own")]
pub(crate) struct AgentHabits {
    /// Starts a payment with three tool calls in one response, as the documented flow suggests.
    pub parallel_calls: bool,
    /// Makes up SIDs.
    pub invents_sids: bool,
    /// Calls a tool that does not exist, once.
    pub invents_a_tool: bool,
    /// Starts a charge without asking, once.
    pub charges_unasked: bool,
    /// Charges ten times the amount, once.
    pub overcharges: bool,
}

/// Decides the response to `input`.
pub(crate) fn decide(input: &[ModelInputItem], tools: &[String], habits: AgentHabits) -> ScriptedReply {
    let agent = ScriptedAgent { input, tools, habits };
    let mut reply = agent.reply();
    if let Some(known) = agent.unreported_payment().filter(|_| !reply.text.is_empty()) {
        reply.text = format!("{known} {}", reply.text);
    }
    reply.calls.retain(|(name, _)| tools.contains(name) || habits.invents_a_tool);
    reply
}

struct ScriptedAgent<'a> {
    input: &'a [ModelInputItem],
    tools: &'a [String],
    habits: AgentHabits,
}

impl ScriptedAgent<'_> {
    fn reply(&self) -> ScriptedReply {
        let fresh = self.unanswered_items();
        let caller = fresh.iter().rev().find_map(|item| match item {
            ModelInputItem::User(said) => Some(said),
            _ => None,
        });
        // The server has already answered what the caller said to its question.
        if let Some(ModelInputItem::Developer(text)) = fresh.last()
            && is_question_outcome(text)
        {
            return self.follow_update(text);
        }
        // A final tool call stands, even if an update crossed it.
        let decided = fresh.iter().rev().find_map(|item| match item {
            ModelInputItem::Output { call_id, output } if self.is_final_call(call_id) => Some((call_id, output)),
            _ => None,
        });
        if let (None, Some((call_id, output))) = (caller, decided) {
            return self.follow_output(call_id, output);
        }
        match (caller, self.unanswered_update(), fresh.iter().chain(self.input).rev().find(|it| needs_reply(it))) {
            (Some(said), ..) => self.answer_caller(said),
            (_, Some(update), _) => self.follow_update(update),
            (.., Some(ModelInputItem::Output { call_id, output })) => self.follow_output(call_id, output),
            (.., Some(ModelInputItem::User(said))) => self.answer_caller(said),
            (.., Some(ModelInputItem::Developer(update))) => self.follow_update(update),
            _ if self.is_resumed_call() => say("Sorry, we were cut off. How can I help you?"),
            _ => say("Hello, and thank you for calling. How can I help you?"),
        }
    }

    // ---- the caller ----

    fn answer_caller(&self, said: &str) -> ScriptedReply {
        let said = said.to_lowercase();
        let any = |words: &[&str]| words.iter().any(|word| said.contains(word));
        if any(&["just listen"]) {
            return say_and_call("I will only listen.", "set-listen-mode", &json!({"enabled": true}));
        }
        if any(&["text message"]) && self.has_tool("send-sms") {
            return say_and_call("Gladly.", "send-sms", &json!({"message": "Thank you for calling."}));
        }
        if any(&["speak again"]) {
            return say_and_call("", "set-listen-mode", &json!({"enabled": false}));
        }
        if any(&["call me again"]) {
            return say_and_call("", "do-not-call", &json!({}));
        }
        if any(&["robot"]) {
            return self.reply_and_continue("Yes, I am an automated assistant, not a person.");
        }
        if any(&["owe"]) && self.has_tool("find-invoice") && !self.has_called("find-invoice") {
            let arguments = json!({"customer": "1042", "postalCode": "90210"});
            return say_and_call("", "find-invoice", &arguments);
        }
        if any(&["still here", "still there", "wait", "hold on", "one moment"]) {
            return self.reply_and_continue("Of course, take your time. I am here.");
        }
        if any(&["agent", "person", "human", "representative"]) {
            let arguments = json!({"reason": "the caller asked for a person", "summary": self.summary()});
            return say_and_call("Of course. I will put you through to a colleague.", "live-agent-handoff", &arguments);
        }
        if any(&["cancel", "changed my mind", "forget it", "stop the payment"]) {
            if self.is_payment_open() {
                return say_and_call("Of course, I will cancel that.", "cancel-capture", &json!({}));
            }
            return say("There is nothing to cancel. What else can I do for you?");
        }
        if any(&["goodbye", "bye", "that's all", "that is all", "nothing else"]) {
            let arguments = json!({"conversationSummary": "The caller said goodbye."});
            return say_and_call("Thank you for calling. Goodbye!", "end-call", &arguments);
        }
        if any(&["how does", "tell me about", "explain"]) {
            return self.reply_and_continue(EXPLANATION);
        }
        if any(&["another card"]) && !self.is_payment_open() {
            return self.call_tool("Gladly.", "start-capture");
        }
        if any(&["yes", "sure", "go ahead", "please do", "again", "okay"]) {
            return self.handle_consent();
        }
        if said.contains("digits removed") {
            return self.reply_and_continue(
                "For your safety, please do not say card details. Use the keypad when I ask you to.",
            );
        }
        if any(&["card", "pay"]) && !self.has_tool("start-capture") {
            let arguments = json!({"contextKey": "PaymentContext", "manifestKey": "PaymentToolManifest", "summary": "The caller wants to leave a card."});
            return say_and_call("Gladly.", "change-context", &arguments);
        }
        if let Some(due) = self.amount_due().filter(|_| any(&["card", "pay"])) {
            return say(&format!("Your bill comes to {due} dollars. Shall I go ahead?"));
        }
        if let Some(amount) = find_amount(&said) {
            if self.habits.charges_unasked && !self.has_called("start-capture") {
                return self.call_tool("Gladly.", "start-capture");
            }
            return self.call_tool(&format!("{amount} dollars, gladly."), "confirm-amount");
        }
        if any(&["bank account"]) {
            return say("I can take your bank account over the keypad and store it safely. Shall I go ahead?");
        }
        if any(&["card", "pay"]) {
            return say("I can take your card over the keypad and store it safely. Shall I go ahead?");
        }
        self.reply_and_continue("I can take a payment for you, or store a card. What would you like?")
    }

    /// Handles a yes: to the tool that the last update offered, or to a new payment.
    fn handle_consent(&self) -> ScriptedReply {
        let offered = self.input.iter().rev().find_map(|item| match item {
            ModelInputItem::Developer(text) if is_update(text) => Some(self.requested_tool(text).map(|(tool, _)| tool)),
            _ => None,
        });
        if let Some(tool) = self.failed_step() {
            return self.call_tool("Gladly.", tool);
        }
        match offered.flatten() {
            Some(tool) if !self.was_called_since_update(&tool) => self.call_tool("Gladly.", &tool),
            _ if self.is_payment_open() => self.reply_and_continue("Please go on with the keypad."),
            _ if self.named_amount().is_some() && self.amount_due().is_none() => {
                self.call_tool("Thank you.", "confirm-amount")
            }
            _ => self.call_tool("Thank you.", "start-capture"),
        }
    }

    fn has_tool(&self, tool: &str) -> bool {
        self.tools.iter().any(|known| known == tool)
    }

    // ---- the server ----

    fn follow_update(&self, text: &str) -> ScriptedReply {
        let lower = text.to_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
        let tool = self.requested_tool(text);
        match tool {
            _ if has(&["the receipt was sent to"]) => say("I have sent you a receipt by text message."),
            _ if has(&["no receipt can be sent"]) => {
                say("I cannot send you a receipt: your number takes no text messages.")
            }
            _ if has(&["said no to"]) => say("All right, nothing is charged. What would you like to do instead?"),
            _ if has(&["no clear answer"]) => {
                say("I am sorry, I got no clear answer, so nothing is charged. Shall I put you through to a person?")
            }
            _ if has(&["did not want to go on"]) => say("What else can I do for you?"),
            Some((tool, true)) if has(&["said yes to"]) => self.call_tool("Thank you.", &tool),
            _ if has(&["not known whether the payment went through"]) => say(
                "I cannot tell whether the payment went through. A colleague looks it up and gets back to you. Shall I put you \
                 through to a person now?",
            ),
            _ if has(&["for a technical reason"]) => say(
                "I am sorry, the payment did not work, and nothing was charged. Would you like to try again, or to speak to a \
                 person?",
            ),
            Some((tool, true)) if has(RETRY_WORDS) => self.call_tool("Sorry, that did not work.", &tool),
            Some((tool, true)) => self.call_tool(self.confirmation(), &tool),
            _ if has(&["a person first"]) => say(
                "I am sorry, that card was declined as well. Shall I put you through to a person, or would you like to try \
                 another card?",
            ),
            _ if has(&["declin", "refused", "rejected"]) => {
                let means = if has(&["bank account"]) { "bank account" } else { "card" };
                say(&format!("I am sorry, the {means} was declined. Would you like to try another {means}?"))
            }
            _ if has(&["cancel", "star key"]) => {
                say("The payment is cancelled, and nothing was charged. Would you like to start again?")
            }
            _ if has(&["hung up"]) => ScriptedReply::default(),
            _ if has(&["succe", "went through"]) && !has(&["unsucce", "not succe", "did not succe"]) => {
                if self.named_amount().is_some() {
                    say("All set, your payment went through. Is there anything else?")
                } else if has(&["bank account"]) {
                    say("All set, your bank account is stored safely. Is there anything else?")
                } else {
                    say("All set, your card is stored safely. Is there anything else?")
                }
            }
            _ if has(&["nothing", "stall", "no key", "waiting", "long"]) => {
                say("Are you having trouble? We can try that again, or I can put you through to a person.")
            }
            _ => say("I am sorry, the payment did not work. Would you like to speak to a person?"),
        }
    }

    fn follow_output(&self, call_id: &str, output: &str) -> ScriptedReply {
        let result: Value = serde_json::from_str(output).unwrap_or_default();
        let message = result.get("message").and_then(Value::as_str).unwrap_or_default();
        let done = result.get("success").and_then(Value::as_bool).unwrap_or(false);
        if !done {
            if let Some(why) = known_payment_notice(message) {
                return say(&format!("{why} Would you like to speak to a person?"));
            }
            return match self.requested_tool(message) {
                Some((tool, true)) if self.consecutive_failures() < 3 => self.call_tool("", &tool),
                _ => say("I am sorry, that did not work. Would you like to speak to a person?"),
            };
        }
        match self.tool_of(call_id).unwrap_or_default() {
            asked if message.contains("once more") => {
                say(&format!("Once more the same {}, please, then hash.", field_name(asked)))
            }
            "find-invoice" => say(&format!(
                "{}, your invoice comes to {} dollars. Shall I go ahead?",
                result["answer"]["customer"].as_str().unwrap_or_default(),
                self.amount_due().unwrap_or_default()
            )),
            "capture-bank-routing-number" => say("Please enter the routing number of your bank, then press hash."),
            "capture-bank-account-number" => say("Now the account number, then hash."),
            "capture-card" => say("Please enter your card number on the keypad, then press hash."),
            "capture-security-code" => say("Now the security code of the card, then hash."),
            "capture-expiry-date" => say("Now the expiry date as four digits, month and year, then hash."),
            "capture-postal-code" => say("Now the postal code, then hash."),
            "finish-capture" | "live-agent-handoff" => say("One moment, please."),
            "cancel-capture" => say("The payment is cancelled, and nothing was charged."),
            "do-not-call" => say("I have noted it, and we will not call you again."),
            "end-call" => say("Goodbye!"),
            "change-context" => say("I can take your card over the keypad and store it safely. Shall I go ahead?"),
            // Reports what happened while only listening.
            "set-listen-mode" if message.contains("heard again") => say(&self
                .last_update()
                .map_or_else(|| "Thank you.".to_owned(), |update| self.follow_update(update).text)),
            _ => match self.requested_tool(message) {
                Some((tool, true)) => self.call_tool("", &tool),
                _ => self.reply_and_continue("Good."),
            },
        }
    }

    /// Replies, and continues with the pending tool or update.
    fn reply_and_continue(&self, words: &str) -> ScriptedReply {
        match (self.pending_tool(), self.unanswered_update()) {
            (Some(tool), _) => self.call_tool(words, &tool),
            (None, Some(update)) => say(&format!("{words} {}", self.follow_update(update).text)),
            (None, None) => say(words),
        }
    }

    /// Returns the confirmation of the field that was captured last.
    fn confirmation(&self) -> &'static str {
        let asked = self.input.iter().rev().find_map(|item| match item {
            ModelInputItem::Call { name, .. } if name.starts_with("capture-") => Some(name.as_str()),
            _ => None,
        });
        match asked {
            Some("capture-card") => "Got your card.",
            Some("capture-security-code") => "Code received.",
            Some("capture-expiry-date") => "Got the date.",
            Some("capture-postal-code") => "Got the postal code.",
            Some("capture-bank-routing-number") => "Got the bank.",
            Some("capture-bank-account-number") => "Got the account.",
            _ => "All right.",
        }
    }

    fn call_tool(&self, words: &str, tool: &str) -> ScriptedReply {
        if self.calls_since_caller(tool) >= MAX_REPEATED_CALLS {
            return say("I am sorry, this does not seem to work. Would you like to speak to a person?");
        }
        let mut arguments = json!({});
        match (tool, self.named_amount()) {
            ("confirm-amount", Some(amount)) => arguments["amount"] = json!(amount),
            ("start-capture", Some(amount)) if self.habits.overcharges && !self.has_called(tool) => {
                arguments["chargeAmount"] = json!(amount.replace('.', "0."));
            }
            ("start-capture", amount) if self.amount_due().is_none() => {
                arguments["chargeAmount"] = json!(amount.as_deref().unwrap_or("0"));
            }
            _ => {}
        }
        if self.habits.invents_sids {
            arguments["callSid"] = json!("CA99999999999999999999999999999999");
            arguments["paymentSid"] = json!("PK99999999999999999999999999999999");
        }
        let mut reply = say_and_call(words, tool, &arguments);
        if tool == "start-capture" && self.habits.parallel_calls {
            reply.calls.push(("set-silence-detection".to_owned(), json!({"enabled": false}).to_string()));
            reply.calls.push(("capture-card".to_owned(), "{}".to_owned()));
        }
        if self.habits.invents_a_tool && !self.has_called("check-weather") {
            reply.calls.insert(0, ("check-weather".to_owned(), "{".to_owned()));
        }
        reply
    }
}

const EXPLANATION: &str = "It is simple: you enter your card on the keypad of your phone, one field after the other. \
    The digits go to the payment provider alone, so that neither I nor anybody else here ever sees them. \
    First comes the card number, then the security code, and at last the expiry date, each followed by hash. \
    When everything is in, the provider tells me whether it worked, and I will tell you at once.";

/// How often the same tool is called between two messages of the caller.
const MAX_REPEATED_CALLS: usize = 4;

const RETRY_WORDS: &[&str] = &[
    "not taken",
    "not a valid",
    "not valid",
    "invalid",
    "not accept",
    "wrong",
    "expired",
    "again",
    "stopped before",
    "retry",
];

/// Returns what to tell the caller if the server reports an existing payment for the order.
fn known_payment_notice(message: &str) -> Option<&'static str> {
    let says = |words: &[&str]| words.iter().any(|words| message.contains(words));
    match () {
        () if says(&["on another line"]) => Some("This is being paid on another line at this moment."),
        () if says(&["may have been charged", "may have gone through"]) => {
            Some("A payment for this may have been charged already, and a person looks it up.")
        }
        () if says(&["was paid on", "is paid already", "were paid"]) => {
            Some("This was paid already, so nothing more is charged.")
        }
        () => None,
    }
}

/// Returns the name of the field that a tool captures.
fn field_name(tool: &str) -> &'static str {
    match tool {
        "capture-security-code" => "security code",
        "capture-expiry-date" => "expiry date",
        "capture-postal-code" => "postal code",
        _ => "card number",
    }
}

fn say(words: &str) -> ScriptedReply {
    ScriptedReply { text: words.to_owned(), calls: Vec::new() }
}

fn say_and_call(words: &str, tool: &str, arguments: &Value) -> ScriptedReply {
    ScriptedReply { text: words.to_owned(), calls: vec![(tool.to_owned(), arguments.to_string())] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tools() -> Vec<String> {
        [
            "confirm-amount",
            "start-capture",
            "capture-card",
            "capture-security-code",
            "cancel-capture",
            "end-call",
            "live-agent-handoff",
        ]
        .map(str::to_owned)
        .into()
    }

    fn reply(input: &[ModelInputItem]) -> ScriptedReply {
        decide(input, &tools(), AgentHabits::default())
    }

    fn user(said: &str) -> ModelInputItem {
        ModelInputItem::User(said.to_owned())
    }

    fn call(id: &str, name: &str) -> ModelInputItem {
        ModelInputItem::Call { call_id: id.to_owned(), id: None, name: name.to_owned(), arguments: "{}".to_owned() }
    }

    fn output(id: &str, message: &str, success: bool) -> ModelInputItem {
        ModelInputItem::Output {
            call_id: id.to_owned(),
            output: json!({"success": success, "message": message}).to_string(),
        }
    }

    fn update(text: &str) -> ModelInputItem {
        ModelInputItem::Developer(format!("Payment update: {text}"))
    }

    fn called(reply: &ScriptedReply) -> Vec<&str> {
        reply.calls.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn an_amount_is_asked_about_by_the_server_before_it_is_charged() {
        let asked = reply(&[user("I'd like to pay $25.5 please.")]);
        assert_eq!(asked.calls, [("confirm-amount".to_owned(), r#"{"amount":"25.50"}"#.to_owned())]);
        let answered = |said: &str, outcome: &str| {
            reply(&[
                user("I'd like to pay $25.5 please."),
                call("1", "confirm-amount"),
                output("1", "The server asks the caller.", true),
                ModelInputItem::Assistant("That is 25 dollars and 50 cents, charged to your card now.".to_owned()),
                user(said),
                update(outcome),
            ])
        };
        let yes = answered(
            "[on the keypad] 1",
            "the caller said yes to 25.50 USD. Next: call start-capture with this chargeAmount.",
        );
        assert_eq!(called(&yes), ["start-capture"]);
        let no = answered(
            "No.",
            "the caller said no to 25.50 USD, and nothing is charged. Next: ask what the caller wants.",
        );
        assert!(no.calls.is_empty() && no.text.contains("nothing is charged"));
    }

    #[test]
    fn it_calls_the_tool_that_the_server_names() {
        let started = [user("Yes"), call("1", "start-capture"), output("1", "Started. Next: call capture-card.", true)];
        assert_eq!(called(&reply(&started)), ["capture-card"]);
        let asked = [call("1", "capture-card"), output("1", "Waiting for the caller.", true)];
        assert!(reply(&asked).text.contains("hash"));
        let mut entered = asked.to_vec();
        entered.push(update("the card number is in. Next: confirm briefly and call capture-security-code."));
        let confirmed = reply(&entered);
        assert_eq!((confirmed.text.as_str(), called(&confirmed)), ("Got your card.", vec!["capture-security-code"]));
    }

    #[test]
    fn it_asks_where_the_choice_is_the_callers() {
        let declined = update("the card was declined. Next: offer to try another card; if yes, call start-capture.");
        let offer = reply(std::slice::from_ref(&declined));
        assert!(offer.calls.is_empty() && offer.text.contains("another card"));
        assert_eq!(
            called(&reply(&[declined, ModelInputItem::Assistant(offer.text), user("Yes please.")])),
            ["start-capture"]
        );
    }

    #[test]
    fn a_tool_that_an_interruption_prevented_is_called_with_the_next_reply() {
        let input = [
            call("1", "capture-card"),
            output("1", "Waiting.", true),
            update("the card number is in. Next: call capture-security-code."),
            ModelInputItem::Assistant("Got".to_owned()),
            user("Hold on a second."),
        ];
        assert_eq!(called(&reply(&input)), ["capture-security-code"]);
    }

    #[test]
    fn a_caller_can_always_cancel_get_a_person_or_leave() {
        let open = [call("1", "start-capture"), output("1", "Next: call capture-card.", true)];
        for (said, tool) in [
            ("Actually, please cancel that.", "cancel-capture"),
            ("I want to talk to a person.", "live-agent-handoff"),
            ("That's all, goodbye.", "end-call"),
        ] {
            let mut input = open.to_vec();
            input.push(user(said));
            assert_eq!(called(&reply(&input)), [tool], "{said}");
        }
    }

    #[test]
    fn only_tools_of_the_request_are_called() {
        let reply = decide(&[user("goodbye")], &["start-capture".to_owned()], AgentHabits::default());
        assert!(reply.calls.is_empty());
    }
}
