//! TwiML: the verbs that this server responds with. All text and attribute values are escaped.

use std::fmt;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

/// The attributes of `<ConversationRelay>` that a configuration may set. `url` is not among them: the server sets it.
pub(crate) const RELAY_ATTRIBUTES: &[&str] = &[
    "asrSmartFormat",
    "backgroundNoiseReduction",
    "conversationConfiguration",
    "conversationId",
    "customerName",
    "debug",
    "deepgramSmartFormat",
    "dtmfDetection",
    "eagerEotThreshold",
    "echoPromptFiltering",
    "elevenlabsLanguageTextNormalization",
    "elevenlabsTextNormalization",
    "eotThreshold",
    "events",
    "hints",
    "ignoreBackchannel",
    "includeInPrompt",
    "intelligenceService",
    "interruptSensitivity",
    "interruptible",
    "language",
    "partialPromptOnHangup",
    "partialPrompts",
    "preemptible",
    "profanityFilter",
    "reportInputDuringAgentSpeech",
    "speechModel",
    "speechTimeout",
    "transcriptionLanguage",
    "transcriptionProvider",
    "ttsLanguage",
    "ttsLanguageTextNormalization",
    "ttsProvider",
    "ttsTextNormalization",
    "turnDetection",
    "voice",
    "welcomeGreeting",
    "welcomeGreetingInterruptible",
    "applicationReconnect",
];

/// The attributes of `<Language>`; `code` is required.
pub(crate) const LANGUAGE_ATTRIBUTES: &[&str] = &[
    "code",
    "ttsProvider",
    "voice",
    "transcriptionProvider",
    "speechModel",
    "hints",
    "asrSmartFormat",
    "ttsTextNormalization",
    "ttsLanguageTextNormalization",
];

/// Attributes that Twilio renamed: the newer name, which has precedence, and the older one.
pub(crate) const RENAMED_ATTRIBUTES: &[(&str, &str)] = &[
    ("asrSmartFormat", "deepgramSmartFormat"),
    ("ttsTextNormalization", "elevenlabsTextNormalization"),
    ("ttsLanguageTextNormalization", "elevenlabsLanguageTextNormalization"),
];

/// The attributes that send what is said to a product of Twilio that is not PCI compliant.
pub(crate) const NOT_COMPLIANT_ATTRIBUTES: &[&str] =
    &["turnDetection", "customerName", "intelligenceService", "conversationConfiguration", "conversationId"];

/// Attribute names and values, in document order.
pub(crate) type Attributes = Vec<(String, String)>;

/// The `<ConversationRelay>` noun.
#[derive(Clone, Default)]
pub(crate) struct ConversationRelay {
    /// The `wss://` URL of the WebSocket that Twilio opens.
    pub url: String,
    /// The attributes that the configuration sets.
    pub attributes: Attributes,
    /// The attributes of each `<Language>`.
    pub languages: Vec<Attributes>,
    /// The `<Parameter>`s. They arrive as `customParameters` in the `setup` frame and must not contain card data.
    pub parameters: Attributes,
}

/// A TwiML verb.
#[derive(Clone)]
pub(crate) enum Verb {
    /// Opens a ConversationRelay session. Since it has an action, Twilio ignores verbs after it.
    Connect {
        /// The absolute URL from which Twilio requests TwiML once the session has ended.
        action: String,
        /// The noun that describes the session.
        relay: ConversationRelay,
    },
    /// Speaks a text.
    Say {
        /// The language, as a BCP 47 code; `None` is that of the account.
        language: Option<String>,
        /// The text.
        text: String,
    },
    /// Connects the caller to a phone number.
    Dial {
        /// The absolute URL that receives the status of the dialled call.
        action: String,
        /// The phone number, in E.164.
        number: String,
    },
    /// Enqueues the caller for a TaskRouter workflow.
    Enqueue {
        /// The absolute URL that receives how the caller left the queue.
        action: String,
        /// The SID of the workflow: `WW…`.
        workflow: String,
        /// The attributes of the task, as a JSON object.
        task: String,
    },
    /// Ends the call.
    Hangup,
}

/// Returns whether XML 1.0 can represent the character. Twilio rejects a document with any other (error 12100).
pub(crate) fn is_xml_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r') || !c.is_ascii_control() && !matches!(c, '\u{fffe}' | '\u{ffff}')
}

/// Writes a `<Response>` document.
pub(crate) fn render_response(verbs: &[Verb]) -> String {
    let mut writer = Writer::new(Vec::new());
    let wrote = write_response(&mut writer, verbs);
    wrote.expect("writing to memory does not fail");
    String::from_utf8(writer.into_inner()).expect("only UTF-8 was written")
}

type XmlWriter = Writer<Vec<u8>>;

fn write_response(xml: &mut XmlWriter, verbs: &[Verb]) -> std::io::Result<()> {
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    write_element(xml, "Response", &[], |xml| verbs.iter().try_for_each(|verb| write_verb(xml, verb)))
}

fn write_verb(xml: &mut XmlWriter, verb: &Verb) -> std::io::Result<()> {
    match verb {
        Verb::Connect { action, relay } => {
            write_element(xml, "Connect", &[("action", action)], |xml| write_relay(xml, relay))
        }
        Verb::Say { language, text } => {
            let attributes: Vec<_> = language.iter().map(|language| ("language", language.as_str())).collect();
            write_element(xml, "Say", &attributes, |xml| xml.write_event(Event::Text(BytesText::new(text))))
        }
        Verb::Dial { action, number } => write_element(xml, "Dial", &[("action", action)], |xml| {
            write_element(xml, "Number", &[], |xml| xml.write_event(Event::Text(BytesText::new(number))))
        }),
        Verb::Enqueue { action, workflow, task } => {
            write_element(xml, "Enqueue", &[("workflowSid", workflow), ("action", action)], |xml| {
                write_element(xml, "Task", &[], |xml| xml.write_event(Event::Text(BytesText::new(task))))
            })
        }
        Verb::Hangup => xml.write_event(Event::Empty(BytesStart::new("Hangup"))),
    }
}

fn write_relay(xml: &mut XmlWriter, relay: &ConversationRelay) -> std::io::Result<()> {
    let mut attributes = vec![("url", relay.url.as_str())];
    attributes.extend(attribute_pairs(&relay.attributes));
    write_element(xml, "ConversationRelay", &attributes, |xml| {
        for language in &relay.languages {
            write_empty_element(xml, "Language", attribute_pairs(language))?;
        }
        for (name, value) in &relay.parameters {
            write_empty_element(xml, "Parameter", [("name", name.as_str()), ("value", value.as_str())])?;
        }
        Ok(())
    })
}

fn attribute_pairs(attributes: &Attributes) -> impl Iterator<Item = (&str, &str)> {
    attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}

fn write_empty_element<'a>(
    xml: &mut XmlWriter,
    name: &str,
    attributes: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> std::io::Result<()> {
    xml.write_event(Event::Empty(BytesStart::new(name).with_attributes(attributes)))
}

fn write_element(
    xml: &mut XmlWriter,
    name: &str,
    attributes: &[(&str, &str)],
    children: impl FnOnce(&mut XmlWriter) -> std::io::Result<()>,
) -> std::io::Result<()> {
    xml.write_event(Event::Start(BytesStart::new(name).with_attributes(attributes.iter().copied())))?;
    children(xml)?;
    xml.write_event(Event::End(BytesEnd::new(name)))
}

/// Shows the number of parameters and none of the parameters.
impl fmt::Debug for ConversationRelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConversationRelay({} parameters)", self.parameters.len())
    }
}

/// Shows the name of the verb and none of its content.
impl fmt::Debug for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect { .. } => "Connect",
            Self::Say { .. } => "Say",
            Self::Dial { .. } => "Dial",
            Self::Enqueue { .. } => "Enqueue",
            Self::Hangup => "Hangup",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The TwiML, which is a single line, with one element a line.
    fn lines(verbs: &[Verb]) -> String {
        let twiml = render_response(verbs);
        assert!(!twiml.contains('\n'), "{twiml}");
        twiml.replace("><", ">\n<")
    }

    #[test]
    fn connect_escapes_text_and_attributes() {
        let relay = ConversationRelay {
            url: "wss://example.com/conversation-relay".to_owned(),
            attributes: vec![("welcomeGreeting".to_owned(), "Hi <you> & \"them\"\nnow".to_owned())],
            languages: vec![vec![("code".to_owned(), "en-US".to_owned()), ("voice".to_owned(), "A".to_owned())]],
            parameters: vec![("callReference".to_owned(), "a&b".to_owned())],
        };
        let action = "https://example.com/connectAction?a=1&b=2".to_owned();
        insta::assert_snapshot!(
            lines(&[Verb::Connect { action, relay }]),
            @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <Response>
        <Connect action="https://example.com/connectAction?a=1&amp;b=2">
        <ConversationRelay url="wss://example.com/conversation-relay" welcomeGreeting="Hi &lt;you&gt; &amp; &quot;them&quot;&#10;now">
        <Language code="en-US" voice="A"/>
        <Parameter name="callReference" value="a&amp;b"/>
        </ConversationRelay>
        </Connect>
        </Response>
        "#
        );
    }

    #[test]
    fn say_dial_and_hangup_are_rendered() {
        let say = Verb::Say { language: Some("en-US".to_owned()), text: "One <moment>".to_owned() };
        let dial = Verb::Dial { action: "https://example.com/a".to_owned(), number: "+15550001111".to_owned() };
        insta::assert_snapshot!(
            lines(&[say, dial, Verb::Hangup]),
            @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <Response>
        <Say language="en-US">One &lt;moment&gt;</Say>
        <Dial action="https://example.com/a">
        <Number>+15550001111</Number>
        </Dial>
        <Hangup/>
        </Response>
        "#
        );
    }
}
