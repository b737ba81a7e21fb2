//! Reads TwiML as strictly as its documentation allows: unknown verbs, nouns and attributes are mistakes.

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use serde_json::{Map, Value};
use url::Url;

/// A document: its verbs in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Twiml {
    /// The verbs of `<Response>`.
    pub verbs: Vec<Element>,
}

/// An element with everything in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// Its name.
    pub name: String,
    /// Its attributes, unescaped.
    pub attributes: Vec<(String, String)>,
    /// Its elements.
    pub children: Vec<Element>,
    /// Its text, unescaped and trimmed.
    pub text: String,
}

/// What `<Connect><ConversationRelay>` asks for.
#[derive(Debug, Clone)]
pub struct Connect {
    /// Asked when the session is over.
    pub action: Url,
    /// The socket to open, exactly as written: it is signed like that.
    pub url: String,
    /// The `<Parameter>`s.
    pub parameters: Vec<(String, String)>,
    attributes: Vec<(String, String)>,
}

/// A verb that gives the caller to a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutThrough {
    /// `<Dial>`
    Dial {
        /// Asked when the talk is over, or nobody answered.
        action: Url,
    },
    /// `<Enqueue workflowSid>`
    Enqueue {
        /// Asked when the caller has left the queue.
        action: Url,
        /// `WW…`.
        workflow: String,
        /// The attributes of the task: a JSON object.
        task: String,
    },
}

/// Every element that is known here: its parents, whether it has a text, and its attributes.
const KNOWN: &[(&str, &[&str], bool, &[&str])] = &[
    ("Response", &[""], false, &[]),
    ("Connect", &["Response"], false, &["action", "method"]),
    ("ConversationRelay", &["Connect"], false, RELAY),
    (
        "Language",
        &["ConversationRelay"],
        false,
        &["code", "ttsProvider", "voice", "transcriptionProvider", "speechModel"],
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

const RELAY: &[&str] = &[
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
];

const INPUTS: &[&str] = &["none", "dtmf", "speech", "any", "true", "false"];
const BOOLEANS: &[&str] = &["true", "false"];

/// Attributes whose words are listed.
const WORDS: &[(&str, &[&str])] = &[
    ("welcomeGreetingInterruptible", INPUTS),
    ("interruptible", INPUTS),
    ("reportInputDuringAgentSpeech", INPUTS),
    ("interruptSensitivity", &["low", "medium", "high"]),
    ("elevenlabsTextNormalization", &["on", "auto", "off"]),
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

impl Twiml {
    /// Reads a document; an error says what Twilio would complain of.
    pub fn read(document: &str) -> Result<Self, String> {
        if document.len() > 64 * 1024 {
            return Err("a document above 64 kB (11750)".to_owned());
        }
        let root = parse(document)?;
        check(&root, "")?;
        Ok(Self { verbs: root.children })
    }

    /// The session that the document opens, if it does.
    pub fn connect(&self) -> Option<Result<Connect, String>> {
        self.verbs.iter().find(|verb| verb.name == "Connect").map(Connect::read)
    }

    /// How the caller is put through to a person, if that is what the document does.
    pub fn put_through(&self) -> Result<Option<PutThrough>, String> {
        let Some(verb) = self.verbs.iter().find(|verb| matches!(verb.name.as_str(), "Dial" | "Enqueue")) else {
            return Ok(None);
        };
        let action = verb.attribute("action").and_then(|action| Url::parse(action).ok());
        let action =
            action.ok_or_else(|| format!("<{}> has no action: nothing follows if nobody answers", verb.name))?;
        if verb.name == "Dial" {
            return Ok(Some(PutThrough::Dial { action }));
        }
        let workflow = verb.attribute("workflowSid").filter(|sid| sid.starts_with("WW"));
        let workflow = workflow.ok_or("<Enqueue> names no workflow (14220)")?.to_owned();
        let [task] = verb.children.as_slice() else { return Err("<Enqueue> needs one <Task>".to_owned()) };
        if serde_json::from_str::<Map<String, Value>>(&task.text).is_err() {
            return Err(format!("the attributes of a <Task> are not a JSON object (14221): {}", task.text));
        }
        Ok(Some(PutThrough::Enqueue { action, workflow, task: task.text.clone() }))
    }

    /// The verbs as one would tell them.
    pub fn told(&self) -> Vec<String> {
        let inner = |verb: &Element| {
            let text =
                if verb.text.is_empty() { verb.children.first().map_or("", |it| it.text.as_str()) } else { &verb.text };
            if text.is_empty() { verb.name.clone() } else { format!("{} {text}", verb.name) }
        };
        self.verbs.iter().map(inner).collect()
    }
}

impl Connect {
    fn read(connect: &Element) -> Result<Self, String> {
        let action = connect.attribute("action").ok_or("<Connect> has no action")?;
        let action = Url::parse(action).map_err(|_| format!("<Connect action={action:?}> is not an absolute URL"))?;
        let [relay] = connect.children.as_slice() else { return Err("<Connect> needs one noun".to_owned()) };
        let url = relay.attribute("url").ok_or("<ConversationRelay> has no url (64101)")?;
        if !url.starts_with("wss://") || Url::parse(url).is_err() {
            return Err(format!("<ConversationRelay url={url:?}> is not a wss:// URL (64102)"));
        }
        let pair = |it: &Element| Some((it.attribute("name")?.to_owned(), it.attribute("value")?.to_owned()));
        let parameters = relay.children.iter().filter(|it| it.name == "Parameter");
        Ok(Self {
            action,
            url: url.to_owned(),
            parameters: parameters.map(pair).collect::<Option<_>>().ok_or("a <Parameter> needs name and value")?,
            attributes: relay.attributes.clone(),
        })
    }

    /// An attribute of `<ConversationRelay>`.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether `name` (`interruptible`, `welcomeGreetingInterruptible`) lets `input` (`speech`, `dtmf`) interrupt.
    pub fn lets_interrupt(&self, name: &str, input: &str) -> bool {
        let allowed = self.attribute(name).unwrap_or("any");
        allowed == "any" || allowed == "true" || allowed == input
    }

    /// Whether `events` asks for this kind of event.
    pub fn wants(&self, event: &str) -> bool {
        let listed = |name| self.attribute(name).is_some_and(|list| list.split_whitespace().any(|word| word == event));
        listed("events") || listed("debug")
    }
}

impl Element {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

fn check(element: &Element, parent: &str) -> Result<(), String> {
    let name = element.name.as_str();
    let Some((_, parents, has_text, attributes)) = KNOWN.iter().find(|(known, ..)| *known == name) else {
        return Err(format!("<{name}> is not TwiML that is known here (12200)"));
    };
    if !parents.contains(&parent) {
        return Err(format!("<{name}> does not belong into <{parent}>"));
    }
    if !has_text && !element.text.is_empty() {
        return Err(format!("<{name}> has a text"));
    }
    for (attribute, value) in &element.attributes {
        if !attributes.contains(&attribute.as_str()) {
            return Err(format!("<{name} {attribute}> is not a documented attribute (12200)"));
        }
        let words = WORDS.iter().find(|(known, _)| known == attribute).map(|(_, words)| *words);
        if words.is_some_and(|words| !words.contains(&value.as_str())) {
            return Err(format!("<{name} {attribute}={value:?}> is none of the documented values (64101)"));
        }
        number(attribute, value).ok_or_else(|| format!("<{name} {attribute}={value:?}> is out of range (64101)"))?;
    }
    let needs = if name == "Language" { element.attribute("code").is_some() } else { true };
    if !needs {
        return Err("a <Language> has no code".to_owned());
    }
    element.children.iter().try_for_each(|child| check(child, name))
}

/// Attributes that are numbers, within their bounds.
fn number(attribute: &str, value: &str) -> Option<()> {
    let fits = match attribute {
        "speechTimeout" => value == "auto" || value.parse().is_ok_and(|ms: u32| (600..=5000).contains(&ms)),
        "eotThreshold" => value.parse().is_ok_and(|share: f64| (0.5..=0.9).contains(&share)),
        _ => true,
    };
    fits.then_some(())
}

fn parse(document: &str) -> Result<Element, String> {
    let mut reader = Reader::from_str(document);
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    loop {
        let wrong = |error: &dyn std::fmt::Display| format!("malformed XML (12100): {error}");
        let event = reader.read_event().map_err(|error| wrong(&error))?;
        let closed = match event {
            Event::Decl(_) | Event::Comment(_) if root.is_none() => None,
            Event::Start(start) => {
                open.push(element(&start)?);
                None
            }
            Event::Empty(start) => Some(element(&start)?),
            Event::End(_) => open.pop(),
            Event::Text(text) => {
                put_text(&mut open, &text.xml10_content())?;
                None
            }
            Event::CData(text) => {
                put_text(&mut open, &text.xml10_content())?;
                None
            }
            Event::GeneralRef(entity) => {
                let raw = format!("&{};", &*entity.xml10_content());
                put_text(&mut open, &quick_xml::escape::unescape(&raw).map_err(|error| wrong(&error))?)?;
                None
            }
            Event::Eof => break,
            _ => return Err("malformed XML (12100): something that TwiML does not have".to_owned()),
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

fn put_text(open: &mut [Element], text: &str) -> Result<(), String> {
    match open.last_mut() {
        Some(element) => element.text.push_str(text),
        None if text.trim().is_empty() => {}
        None => return Err("malformed XML (12100): text outside of the document".to_owned()),
    }
    Ok(())
}

fn element(start: &BytesStart<'_>) -> Result<Element, String> {
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| format!("malformed XML (12100): {error}"))?;
        let value = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|error| format!("malformed XML (12100): {error}"))?;
        attributes.push((attribute.key.as_ref().to_owned(), value.into_owned()));
    }
    let name = start.name().as_ref().to_owned();
    Ok(Element { name, attributes, children: Vec::new(), text: String::new() })
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
            Twiml::read(&relay("url=\"wss://e.com/r\" interruptible=\"speech\" events=\"speaker-events\"")).unwrap();
        let connect = twiml.connect().unwrap().unwrap();
        assert_eq!(connect.action.as_str(), "https://e.com/a?b=1&c=2");
        assert_eq!(connect.parameters, [("a".to_owned(), "<b>".to_owned())]);
        assert!(connect.lets_interrupt("interruptible", "speech") && !connect.lets_interrupt("interruptible", "dtmf"));
        assert!(connect.wants("speaker-events") && !connect.wants("tokens-played"));
    }

    #[test]
    fn the_ends_of_a_call_are_told() {
        let twiml =
            Twiml::read("<Response><Say>Bye &amp; thanks</Say><Dial><Number>+1555</Number></Dial><Hangup/></Response>");
        assert_eq!(twiml.unwrap().told(), ["Say Bye & thanks", "Dial +1555", "Hangup"]);
        assert!(Twiml::read("<Response/>").unwrap().told().is_empty());
    }

    #[test]
    fn a_caller_is_put_through_with_an_action_and_a_task_that_is_json() {
        let way = |verb: &str| Twiml::read(&format!("<Response>{verb}</Response>")).unwrap().put_through();
        let dial = way("<Dial action=\"https://e.com/a\"><Number>+1555</Number></Dial>");
        assert!(matches!(dial, Ok(Some(PutThrough::Dial { .. }))), "{dial:?}");
        let queue =
            way("<Enqueue workflowSid=\"WW1\" action=\"https://e.com/a\"><Task>{&quot;a&quot;:1}</Task></Enqueue>");
        assert!(matches!(queue, Ok(Some(PutThrough::Enqueue { task, .. })) if task == "{\"a\":1}"));
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
    fn what_twilio_would_ignore_or_refuse_is_a_mistake() {
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
            assert!(Twiml::read(&document).is_err(), "{document}");
        }
        for attributes in ["", "url=\"https://e.com/r\"", "url=\"/r\""] {
            assert!(Twiml::read(&relay(attributes)).unwrap().connect().unwrap().is_err(), "{attributes}");
        }
    }
}
