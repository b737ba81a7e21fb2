//! Parses TwiML strictly according to its documentation. Unknown verbs, nouns and attributes are errors.

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use serde_json::{Map, Value};
use url::Url;

/// A TwiML document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TwimlDocument {
    /// The verbs of `<Response>`, in order.
    pub verbs: Vec<TwimlElement>,
}

/// An XML element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TwimlElement {
    /// Its name.
    pub name: String,
    /// Its attributes, unescaped.
    /// The attributes of `<ConversationRelay>`.
    pub attributes: Vec<(String, String)>,
    /// Its elements.
    pub children: Vec<TwimlElement>,
    /// Its text, unescaped and trimmed.
    pub text: String,
}

/// A `<Connect><ConversationRelay>` verb.
#[derive(Debug, Clone)]
pub(crate) struct ConnectVerb {
    /// Requested after the session.
    pub action: Url,
    /// The URL of the socket, exactly as written, because the signature covers it.
    pub url: String,
    /// The `<Parameter>`s.
    pub parameters: Vec<(String, String)>,
    /// The attributes of `<ConversationRelay>`.
    pub attributes: Vec<(String, String)>,
}

/// A verb that hands the caller off to a live agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HandOffVerb {
    /// `<Dial>`
    Dial {
        /// Requested after the conversation, or if the call is not answered.
        action: Url,
    },
    /// `<Enqueue workflowSid>`
    Enqueue {
        /// Requested when the caller has left the queue.
        action: Url,
        /// `WW…`.
        workflow: String,
        /// The attributes of the task: a JSON object.
        task: String,
    },
}

/// The supported elements: name, parents, whether it has text, attributes.
const ELEMENTS: &[(&str, &[&str], bool, &[&str])] = &[
    ("Response", &[""], false, &[]),
    ("Connect", &["Response"], false, &["action", "method"]),
    ("ConversationRelay", &["Connect"], false, RELAY_ATTRIBUTES),
    (
        "Language",
        &["ConversationRelay"],
        false,
        &[
            "code",
            "ttsProvider",
            "voice",
            "transcriptionProvider",
            "speechModel",
            "hints",
            "asrSmartFormat",
            "ttsTextNormalization",
            "ttsLanguageTextNormalization",
        ],
    ),
    ("Parameter", &["ConversationRelay"], false, &["name", "value"]),
    ("Say", &["Response"], true, &["voice", "language", "loop"]),
    (
        "Dial",
        &["Response"],
        true,
        &["action", "method", "timeout", "callerId", "answerOnBridge", "record", "timeLimit"],
    ),
    ("Number", &["Dial"], true, &["statusCallback", "statusCallbackEvent", "statusCallbackMethod", "url", "method"]),
    ("Enqueue", &["Response"], true, &["action", "method", "waitUrl", "waitUrlMethod", "workflowSid"]),
    ("Task", &["Enqueue"], true, &["priority", "timeout"]),
    ("Redirect", &["Response"], true, &["method"]),
    ("Pause", &["Response"], false, &["length"]),
    ("Hangup", &["Response"], false, &[]),
];

const RELAY_ATTRIBUTES: &[&str] = &[
    "url",
    "welcomeGreeting",
    "welcomeGreetingInterruptible",
    "language",
    "ttsLanguage",
    "ttsProvider",
    "voice",
    "transcriptionLanguage",
    "transcriptionProvider",
    "speechModel",
    "interruptible",
    "interruptSensitivity",
    "ignoreBackchannel",
    "dtmfDetection",
    "reportInputDuringAgentSpeech",
    "preemptible",
    "hints",
    "events",
    "debug",
    "partialPrompts",
    "speechTimeout",
    "eotThreshold",
    "deepgramSmartFormat",
    "elevenlabsTextNormalization",
    "intelligenceService",
    "profanityFilter",
    "conversationConfiguration",
    "conversationId",
    "backgroundNoiseReduction",
    "applicationReconnect",
    "echoPromptFiltering",
    "turnDetection",
    "partialPromptOnHangup",
    "eagerEotThreshold",
    "includeInPrompt",
    "asrSmartFormat",
    "ttsTextNormalization",
    "ttsLanguageTextNormalization",
    "elevenlabsLanguageTextNormalization",
    "customerName",
];

const INTERRUPTION_VALUES: &[&str] = &["none", "dtmf", "speech", "any", "true", "false"];
const BOOLEANS: &[&str] = &["true", "false"];

/// The attributes with a fixed set of values.
const ATTRIBUTE_VALUES: &[(&str, &[&str])] = &[
    ("welcomeGreetingInterruptible", INTERRUPTION_VALUES),
    ("interruptible", INTERRUPTION_VALUES),
    ("reportInputDuringAgentSpeech", INTERRUPTION_VALUES),
    ("interruptSensitivity", &["low", "medium", "high"]),
    ("elevenlabsTextNormalization", &["on", "auto", "off"]),
    ("ttsTextNormalization", &["on", "auto", "off"]),
    ("ttsLanguageTextNormalization", BOOLEANS),
    ("elevenlabsLanguageTextNormalization", BOOLEANS),
    ("includeInPrompt", &["turn-state", "prompt-segments"]),
    ("turnDetection", BOOLEANS),
    ("partialPromptOnHangup", BOOLEANS),
    ("asrSmartFormat", BOOLEANS),
    ("ignoreBackchannel", BOOLEANS),
    ("dtmfDetection", BOOLEANS),
    ("preemptible", BOOLEANS),
    ("partialPrompts", BOOLEANS),
    ("deepgramSmartFormat", BOOLEANS),
    ("profanityFilter", BOOLEANS),
    ("applicationReconnect", BOOLEANS),
    ("echoPromptFiltering", BOOLEANS),
    ("method", &["GET", "POST"]),
];

impl TwimlDocument {
    /// Parses a document. An error says why Twilio would refuse it.
    pub(crate) fn parse(document: &str) -> Result<Self, String> {
        if document.len() > 64 * 1024 {
            return Err("a document above 64 kB (11750)".to_owned());
        }
        let root = parse(document)?;
        check_element(&root, "")?;
        Ok(Self { verbs: root.children })
    }

    /// The `<Connect>` verb, if there is one.
    pub(crate) fn connect(&self) -> Option<Result<ConnectVerb, String>> {
        self.verbs.iter().find(|verb| verb.name == "Connect").map(ConnectVerb::parse)
    }

    /// The verb that hands off the caller, if there is one.
    pub(crate) fn hand_off(&self) -> Result<Option<HandOffVerb>, String> {
        let Some(verb) = self.verbs.iter().find(|verb| matches!(verb.name.as_str(), "Dial" | "Enqueue")) else {
            return Ok(None);
        };
        let action = verb.attribute("action").and_then(|action| Url::parse(action).ok());
        let action = action
            .ok_or_else(|| format!("<{}> has no action, so nothing follows if the call is not answered", verb.name))?;
        if verb.name == "Dial" {
            return Ok(Some(HandOffVerb::Dial { action }));
        }
        let workflow = verb.attribute("workflowSid").filter(|sid| sid.starts_with("WW"));
        let workflow = workflow.ok_or("<Enqueue> names no workflow (14220)")?.to_owned();
        let [task] = verb.children.as_slice() else { return Err("<Enqueue> needs one <Task>".to_owned()) };
        if serde_json::from_str::<Map<String, Value>>(&task.text).is_err() {
            return Err(format!("the attributes of a <Task> are not a JSON object (14221): {}", task.text));
        }
        Ok(Some(HandOffVerb::Enqueue { action, workflow, task: task.text.clone() }))
    }

    /// The verbs with their text, for the transcript.
    pub(crate) fn describe_verbs(&self) -> Vec<String> {
        let inner = |verb: &TwimlElement| {
            let text =
                if verb.text.is_empty() { verb.children.first().map_or("", |it| it.text.as_str()) } else { &verb.text };
            if text.is_empty() { verb.name.clone() } else { format!("{} {text}", verb.name) }
        };
        self.verbs.iter().map(inner).collect()
    }
}

impl ConnectVerb {
    fn parse(connect: &TwimlElement) -> Result<Self, String> {
        let action = connect.attribute("action").ok_or("<Connect> has no action")?;
        let action = Url::parse(action).map_err(|_| format!("<Connect action={action:?}> is not an absolute URL"))?;
        let [relay] = connect.children.as_slice() else { return Err("<Connect> needs one noun".to_owned()) };
        let url = relay.attribute("url").ok_or("<ConversationRelay> has no url (64101)")?;
        if !url.starts_with("wss://") || Url::parse(url).is_err() {
            return Err(format!("<ConversationRelay url={url:?}> is not a wss:// URL (64102)"));
        }
        let pair = |it: &TwimlElement| Some((it.attribute("name")?.to_owned(), it.attribute("value")?.to_owned()));
        let parameters = relay.children.iter().filter(|it| it.name == "Parameter");
        Ok(Self {
            action,
            url: url.to_owned(),
            parameters: parameters.map(pair).collect::<Option<_>>().ok_or("a <Parameter> needs name and value")?,
            attributes: relay.attributes.clone(),
        })
    }

    /// An attribute of `<ConversationRelay>`.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether `name` (`interruptible`, `welcomeGreetingInterruptible`) lets `input` (`speech`, `dtmf`) interrupt.
    pub(crate) fn is_interruptible_by(&self, name: &str, input: &str) -> bool {
        let allowed = self.attribute(name).unwrap_or("any");
        allowed == "any" || allowed == "true" || allowed == input
    }

    /// Whether `events` or `debug` lists this event.
    pub(crate) fn has_event(&self, event: &str) -> bool {
        let listed = |name| self.attribute(name).is_some_and(|list| list.split_whitespace().any(|word| word == event));
        listed("events") || listed("debug")
    }
}

impl TwimlElement {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

fn check_element(element: &TwimlElement, parent: &str) -> Result<(), String> {
    let name = element.name.as_str();
    let Some((_, parents, has_text, attributes)) = ELEMENTS.iter().find(|(known, ..)| *known == name) else {
        return Err(format!("<{name}> is not supported TwiML (12200)"));
    };
    if !parents.contains(&parent) {
        return Err(format!("<{name}> is not allowed in <{parent}>"));
    }
    if !has_text && !element.text.is_empty() {
        return Err(format!("<{name}> has text"));
    }
    for (attribute, value) in &element.attributes {
        if !attributes.contains(&attribute.as_str()) {
            return Err(format!("<{name} {attribute}> is not a documented attribute (12200)"));
        }
        let words = ATTRIBUTE_VALUES.iter().find(|(known, _)| known == attribute).map(|(_, words)| *words);
        if words.is_some_and(|words| !words.contains(&value.as_str())) {
            return Err(format!("<{name} {attribute}={value:?}> is none of the documented values (64101)"));
        }
        check_number(attribute, value)
            .ok_or_else(|| format!("<{name} {attribute}={value:?}> is out of range (64101)"))?;
    }
    let needs = if name == "Language" { element.attribute("code").is_some() } else { true };
    if !needs {
        return Err("a <Language> has no code".to_owned());
    }
    element.children.iter().try_for_each(|child| check_element(child, name))
}

/// Checks that a numeric attribute is in its range.
fn check_number(attribute: &str, value: &str) -> Option<()> {
    let fits = match attribute {
        "speechTimeout" => value == "auto" || value.parse().is_ok_and(|ms: u32| (600..=5000).contains(&ms)),
        "eotThreshold" => value.parse().is_ok_and(|share: f64| (0.5..=0.9).contains(&share)),
        "eagerEotThreshold" => value.parse().is_ok_and(|share: f64| (0.3..=0.9).contains(&share)),
        _ => true,
    };
    fits.then_some(())
}

fn parse(document: &str) -> Result<TwimlElement, String> {
    let mut reader = Reader::from_str(document);
    let mut open: Vec<TwimlElement> = Vec::new();
    let mut root = None;
    loop {
        let wrong = |error: &dyn std::fmt::Display| format!("malformed XML (12100): {error}");
        let event = reader.read_event().map_err(|error| wrong(&error))?;
        let closed = match event {
            Event::Decl(_) | Event::Comment(_) if root.is_none() => None,
            Event::Start(start) => {
                open.push(parse_element(&start)?);
                None
            }
            Event::Empty(start) => Some(parse_element(&start)?),
            Event::End(_) => open.pop(),
            Event::Text(text) => {
                append_text(&mut open, &text.xml10_content())?;
                None
            }
            Event::CData(text) => {
                append_text(&mut open, &text.xml10_content())?;
                None
            }
            Event::GeneralRef(entity) => {
                let raw = format!("&{};", &*entity.xml10_content());
                append_text(&mut open, &quick_xml::escape::unescape(&raw).map_err(|error| wrong(&error))?)?;
                None
            }
            Event::Eof => break,
            _ => return Err("malformed XML (12100): unsupported markup".to_owned()),
        };
        if let Some(mut closed) = closed {
            let text = closed.text.trim().to_owned();
            closed.text = text;
            match open.last_mut() {
                Some(parent) => parent.children.push(closed),
                None if root.is_none() => root = Some(closed),
                None => return Err("malformed XML (12100): two roots".to_owned()),
            }
        }
    }
    root.filter(|_| open.is_empty()).ok_or_else(|| "malformed XML (12100): it ends too early".to_owned())
}

fn append_text(open: &mut [TwimlElement], text: &str) -> Result<(), String> {
    match open.last_mut() {
        Some(element) => element.text.push_str(text),
        None if text.trim().is_empty() => {}
        None => return Err("malformed XML (12100): text outside of the document".to_owned()),
    }
    Ok(())
}

fn parse_element(start: &BytesStart<'_>) -> Result<TwimlElement, String> {
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| format!("malformed XML (12100): {error}"))?;
        let value = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|error| format!("malformed XML (12100): {error}"))?;
        attributes.push((attribute.key.as_ref().to_owned(), value.into_owned()));
    }
    let name = start.name().as_ref().to_owned();
    Ok(TwimlElement { name, attributes, children: Vec::new(), text: String::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay(attributes: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response><Connect action=\"https://e.com/a?b=1&amp;c=2\">\
             <ConversationRelay {attributes}><Language code=\"en-US\"/><Parameter name=\"a\" value=\"&lt;b&gt;\"/>\
             </ConversationRelay></Connect></Response>"
        )
    }

    #[test]
    fn a_session_is_read_with_everything_unescaped() {
        let twiml =
            TwimlDocument::parse(&relay("url=\"wss://e.com/r\" interruptible=\"speech\" events=\"speaker-events\""))
                .unwrap();
        let connect = twiml.connect().unwrap().unwrap();
        assert_eq!(connect.action.as_str(), "https://e.com/a?b=1&c=2");
        assert_eq!(connect.parameters, [("a".to_owned(), "<b>".to_owned())]);
        assert!(
            connect.is_interruptible_by("interruptible", "speech")
                && !connect.is_interruptible_by("interruptible", "dtmf")
        );
        assert!(connect.has_event("speaker-events") && !connect.has_event("tokens-played"));
    }

    #[test]
    fn verbs_are_described_with_their_text() {
        let twiml = TwimlDocument::parse(
            "<Response><Say>Bye &amp; thanks</Say><Dial><Number>+1555</Number></Dial><Hangup/></Response>",
        );
        assert_eq!(twiml.unwrap().describe_verbs(), ["Say Bye & thanks", "Dial +1555", "Hangup"]);
        assert!(TwimlDocument::parse("<Response/>").unwrap().describe_verbs().is_empty());
    }

    #[test]
    fn a_hand_off_needs_an_action_and_a_task_with_json() {
        let way = |verb: &str| TwimlDocument::parse(&format!("<Response>{verb}</Response>")).unwrap().hand_off();
        let dial = way("<Dial action=\"https://e.com/a\"><Number>+1555</Number></Dial>");
        assert!(matches!(dial, Ok(Some(HandOffVerb::Dial { .. }))), "{dial:?}");
        let queue =
            way("<Enqueue workflowSid=\"WW1\" action=\"https://e.com/a\"><Task>{&quot;a&quot;:1}</Task></Enqueue>");
        assert!(matches!(queue, Ok(Some(HandOffVerb::Enqueue { task, .. })) if task == "{\"a\":1}"));
        assert_eq!(way("<Hangup/>"), Ok(None));
        for verb in [
            "<Dial><Number>+1555</Number></Dial>",
            "<Enqueue action=\"https://e.com/a\"><Task>{}</Task></Enqueue>",
            "<Enqueue workflowSid=\"WQ1\" action=\"https://e.com/a\"><Task>{}</Task></Enqueue>",
            "<Enqueue workflowSid=\"WW1\" action=\"https://e.com/a\"/>",
            "<Enqueue workflowSid=\"WW1\" action=\"https://e.com/a\"><Task>[1]</Task></Enqueue>",
        ] {
            assert!(way(verb).is_err(), "{verb}");
        }
    }

    #[test]
    fn documents_that_twilio_ignores_or_refuses_are_errors() {
        for document in [
            String::new(),
            "OK".to_owned(),
            "x<Response/>".to_owned(),
            "<Response/><Response/>".to_owned(),
            "<Response><Connect></Response>".to_owned(),
            "<Response>Hello</Response>".to_owned(),
            "<Response><Speak>Hello</Speak></Response>".to_owned(),
            "<Response><Number>+1555</Number></Response>".to_owned(),
            "<Response><Say>&nbsp;</Say></Response>".to_owned(),
            relay("url=\"wss://e.com/r\" interruptByDtmf=\"true\""),
            relay("url=\"wss://e.com/r\" speechtimeout=\"700\""),
            relay("url=\"wss://e.com/r\" speechTimeout=\"500\""),
            relay("url=\"wss://e.com/r\" dtmfDetection=\"yes\""),
            relay("url=\"wss://e.com/r\" url=\"wss://e.com/s\""),
        ] {
            assert!(TwimlDocument::parse(&document).is_err(), "{document}");
        }
        for attributes in ["", "url=\"https://e.com/r\"", "url=\"/r\""] {
            assert!(TwimlDocument::parse(&relay(attributes)).unwrap().connect().unwrap().is_err(), "{attributes}");
        }
    }
}
