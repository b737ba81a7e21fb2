//! TwiML: the few verbs that this program answers with. Everything that is written into a document is escaped.

use std::fmt;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

/// The attributes of `<ConversationRelay>` that a configuration may set. `url` is not among them: it is the server's own.
pub const RELAY_ATTRIBUTES: &[&str] = &[
    "backgroundNoiseReduction",
    "conversationConfiguration",
    "conversationId",
    "debug",
    "deepgramSmartFormat",
    "dtmfDetection",
    "echoPromptFiltering",
    "elevenlabsTextNormalization",
    "eotThreshold",
    "events",
    "hints",
    "ignoreBackchannel",
    "intelligenceService",
    "interruptSensitivity",
    "interruptible",
    "language",
    "partialPrompts",
    "preemptible",
    "profanityFilter",
    "reportInputDuringAgentSpeech",
    "speechModel",
    "speechTimeout",
    "transcriptionLanguage",
    "transcriptionProvider",
    "ttsLanguage",
    "ttsProvider",
    "voice",
    "welcomeGreeting",
    "welcomeGreetingInterruptible",
    "applicationReconnect",
];

/// The attributes of `<Language>`; `code` is required.
pub const LANGUAGE_ATTRIBUTES: &[&str] = &["code", "ttsProvider", "voice", "transcriptionProvider", "speechModel"];

/// Names and values, in the order in which they are written.
pub type Attributes = Vec<(String, String)>;

/// The `<ConversationRelay>` noun.
#[derive(Clone, Default)]
pub struct ConversationRelay {
    /// The socket that Twilio opens; `wss://`.
    pub url: String,
    /// Everything that the configuration sets.
    pub attributes: Attributes,
    /// The `<Language>`s, each whole.
    pub languages: Vec<Attributes>,
    /// The `<Parameter>`s: they arrive as `customParameters` in the setup frame. No card data belongs here.
    pub parameters: Attributes,
}

/// A TwiML verb.
#[derive(Clone)]
pub enum Verb {
    /// Opens a ConversationRelay session; what follows it runs only if there is no action.
    Connect {
        /// Absolute URL that Twilio asks what to do once the session has ended.
        action: String,
        /// The session.
        relay: ConversationRelay,
    },
    /// Speaks a text.
    Say(String),
    /// Connects the caller to a phone number.
    Dial {
        /// Absolute URL that is told how the dialled call ended.
        action: String,
        /// E.164.
        number: String,
    },
    /// Puts the caller into the queue of a TaskRouter workflow.
    Enqueue {
        /// Absolute URL that is told how the caller left the queue.
        action: String,
        /// `WW…`.
        workflow: String,
        /// The attributes of the task: a JSON object.
        task: String,
    },
    /// Ends the call.
    Hangup,
}

/// Whether XML has a way to write it. With anything else in it a document is refused whole (error 12100).
pub fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r') || !c.is_ascii_control() && !matches!(c, '\u{fffe}' | '\u{ffff}')
}

/// Writes a `<Response>` document.
pub fn response(verbs: &[Verb]) -> String {
    let mut writer = Writer::new(Vec::new());
    let wrote = write(&mut writer, verbs);
    wrote.expect("writing to memory does not fail");
    String::from_utf8(writer.into_inner()).expect("only UTF-8 was written")
}

type Xml = Writer<Vec<u8>>;

fn write(xml: &mut Xml, verbs: &[Verb]) -> std::io::Result<()> {
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    element(xml, "Response", &[], |xml| verbs.iter().try_for_each(|verb| write_verb(xml, verb)))
}

fn write_verb(xml: &mut Xml, verb: &Verb) -> std::io::Result<()> {
    match verb {
        Verb::Connect { action, relay } => {
            element(xml, "Connect", &[("action", action)], |xml| write_relay(xml, relay))
        }
        Verb::Say(text) => element(xml, "Say", &[], |xml| xml.write_event(Event::Text(BytesText::new(text)))),
        Verb::Dial { action, number } => element(xml, "Dial", &[("action", action)], |xml| {
            element(xml, "Number", &[], |xml| xml.write_event(Event::Text(BytesText::new(number))))
        }),
        Verb::Enqueue { action, workflow, task } => {
            element(xml, "Enqueue", &[("workflowSid", workflow), ("action", action)], |xml| {
                element(xml, "Task", &[], |xml| xml.write_event(Event::Text(BytesText::new(task))))
            })
        }
        Verb::Hangup => xml.write_event(Event::Empty(BytesStart::new("Hangup"))),
    }
}

fn write_relay(xml: &mut Xml, relay: &ConversationRelay) -> std::io::Result<()> {
    let mut attributes = vec![("url", relay.url.as_str())];
    attributes.extend(pairs(&relay.attributes));
    element(xml, "ConversationRelay", &attributes, |xml| {
        for language in &relay.languages {
            empty(xml, "Language", pairs(language))?;
        }
        for (name, value) in &relay.parameters {
            empty(xml, "Parameter", [("name", name.as_str()), ("value", value.as_str())])?;
        }
        Ok(())
    })
}

fn pairs(attributes: &Attributes) -> impl Iterator<Item = (&str, &str)> {
    attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}

fn empty<'a>(
    xml: &mut Xml,
    name: &str,
    attributes: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> std::io::Result<()> {
    xml.write_event(Event::Empty(BytesStart::new(name).with_attributes(attributes)))
}

fn element(
    xml: &mut Xml,
    name: &str,
    attributes: &[(&str, &str)],
    children: impl FnOnce(&mut Xml) -> std::io::Result<()>,
) -> std::io::Result<()> {
    xml.write_event(Event::Start(BytesStart::new(name).with_attributes(attributes.iter().copied())))?;
    children(xml)?;
    xml.write_event(Event::End(BytesEnd::new(name)))
}

/// How many parameters, and none of them: they say what a call is about.
impl fmt::Debug for ConversationRelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConversationRelay({} parameters)", self.parameters.len())
    }
}

/// The name of the verb and nothing of what it says.
impl fmt::Debug for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect { .. } => "Connect",
            Self::Say(_) => "Say",
            Self::Dial { .. } => "Dial",
            Self::Enqueue { .. } => "Enqueue",
            Self::Hangup => "Hangup",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_is_connected_with_everything_escaped() {
        let relay = ConversationRelay {
            url: "wss://example.com/conversation-relay".to_owned(),
            attributes: vec![("welcomeGreeting".to_owned(), "Hi <you> & \"them\"\nnow".to_owned())],
            languages: vec![vec![("code".to_owned(), "en-US".to_owned()), ("voice".to_owned(), "A".to_owned())]],
            parameters: vec![("callReference".to_owned(), "a&b".to_owned())],
        };
        let action = "https://example.com/connectAction?a=1&b=2".to_owned();
        assert_eq!(
            response(&[Verb::Connect { action, relay }]),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response>\
             <Connect action=\"https://example.com/connectAction?a=1&amp;b=2\">\
             <ConversationRelay url=\"wss://example.com/conversation-relay\" \
             welcomeGreeting=\"Hi &lt;you&gt; &amp; &quot;them&quot;&#10;now\">\
             <Language code=\"en-US\" voice=\"A\"/><Parameter name=\"callReference\" value=\"a&amp;b\"/>\
             </ConversationRelay></Connect></Response>"
        );
    }

    #[test]
    fn a_hand_off_dials_and_a_goodbye_hangs_up() {
        let dial = Verb::Dial { action: "https://example.com/a".to_owned(), number: "+15550001111".to_owned() };
        assert_eq!(
            response(&[Verb::Say("One <moment>".to_owned()), dial, Verb::Hangup]),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response><Say>One &lt;moment&gt;</Say>\
             <Dial action=\"https://example.com/a\"><Number>+15550001111</Number></Dial><Hangup/></Response>"
        );
    }
}
