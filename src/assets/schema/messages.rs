//! `Messages` of `serverConfig.json`: what the server says in place of the model.

use std::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::assets::de::{parse_speech, speech};
use crate::call::{CallMessages, LocalizedMessage};

/// The section `Messages`.
#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct MessagesSection {
    #[serde(deserialize_with = "speech")]
    model_unavailable: String,
    #[serde(deserialize_with = "speech")]
    hand_off: String,
    #[serde(deserialize_with = "speech")]
    goodbye: String,
    #[serde(deserialize_with = "speech")]
    no_agent: String,
    too_many_calls: MessageSetting,
    call_ends_soon: MessageSetting,
    time_is_up: MessageSetting,
    machine: MessageSetting,
}

/// A sentence for all languages, or an object with sentences by language.
#[derive(Default)]
enum MessageSetting {
    /// The key is missing: the built-in sentences apply.
    #[default]
    BuiltIn,
    Everywhere(String),
    ByLanguage(Vec<(String, String)>),
}

/// Sentences by language.
type Sentences = [(&'static str, &'static str); 4];

const TOO_MANY_CALLS: Sentences = [
    ("en", "I am sorry, all lines are busy right now. Please call again later. Goodbye."),
    ("es", "Lo siento, todas las líneas están ocupadas. Por favor, llame más tarde. Adiós."),
    ("de", "Es tut mir leid, im Moment sind alle Leitungen belegt. Bitte rufen Sie später wieder an. Auf Wiederhören."),
    ("fr", "Je suis désolé, toutes les lignes sont occupées. Veuillez rappeler plus tard. Au revoir."),
];

const CALL_ENDS_SOON: Sentences = [
    ("en", "Please note that this call ends in two minutes."),
    ("es", "Tenga en cuenta que esta llamada termina en dos minutos."),
    ("de", "Bitte beachten Sie, dass dieses Gespräch in zwei Minuten endet."),
    ("fr", "Veuillez noter que cet appel se termine dans deux minutes."),
];

const TIME_IS_UP: Sentences = [
    ("en", "I am sorry, this call has reached its time limit. Please call again if you need anything else. Goodbye."),
    ("es", "Lo siento, esta llamada ha llegado a su límite de tiempo. Llame de nuevo si necesita algo más. Adiós."),
    (
        "de",
        "Es tut mir leid, die Zeit für dieses Gespräch ist um. Bitte rufen Sie wieder an, wenn Sie noch etwas brauchen. Auf \
      Wiederhören.",
    ),
    (
        "fr",
        "Je suis désolé, cet appel a atteint sa durée limite. Rappelez-nous si vous avez besoin d'autre chose. Au revoir.",
    ),
];

const MACHINE: Sentences = [
    ("en", "Hello. We tried to reach you, and will call again later. Goodbye."),
    ("es", "Hola. Hemos intentado hablar con usted y llamaremos más tarde. Adiós."),
    ("de", "Guten Tag. Wir wollten Sie erreichen und rufen später wieder an. Auf Wiederhören."),
    ("fr", "Bonjour. Nous avons essayé de vous joindre et rappellerons plus tard. Au revoir."),
];

impl MessagesSection {
    /// Converts the section into the messages of a call.
    pub(super) fn into_messages(self) -> CallMessages {
        CallMessages {
            model_unavailable: self.model_unavailable,
            hand_off: self.hand_off,
            goodbye: self.goodbye,
            no_agent: self.no_agent,
            too_many_calls: self.too_many_calls.complete(&TOO_MANY_CALLS),
            call_ends_soon: self.call_ends_soon.complete(&CALL_ENDS_SOON),
            time_is_up: self.time_is_up.complete(&TIME_IS_UP),
            machine: self.machine.complete(&MACHINE),
        }
    }
}

impl MessageSetting {
    fn complete(self, built_in: &Sentences) -> LocalizedMessage {
        match self {
            Self::BuiltIn => LocalizedMessage::new(Vec::new(), built_in),
            Self::Everywhere(text) => LocalizedMessage::same_everywhere(text),
            Self::ByLanguage(own) => LocalizedMessage::new(own, built_in),
        }
    }
}

impl<'de> Deserialize<'de> for MessageSetting {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct MessageVisitor;

        impl<'de> Visitor<'de> for MessageVisitor {
            type Value = MessageSetting;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("something to say, or texts by language, such as {\"en-US\": \"Goodbye.\"}")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<MessageSetting, E> {
                parse_speech(text).map(MessageSetting::Everywhere).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<MessageSetting, A::Error> {
                let mut sentences: Vec<(String, String)> = Vec::new();
                while let Some((code, text)) = map.next_entry::<String, String>()? {
                    if sentences.iter().any(|(known, _)| known.eq_ignore_ascii_case(&code)) {
                        return Err(A::Error::custom(format!("{code} appears twice")));
                    }
                    sentences.push((code, parse_speech(&text).map_err(A::Error::custom)?));
                }
                Ok(MessageSetting::ByLanguage(sentences))
            }
        }

        json.deserialize_any(MessageVisitor)
    }
}

impl Default for MessagesSection {
    fn default() -> Self {
        Self {
            model_unavailable: "I am sorry, something went wrong on my side. Could you say that again, please?"
                .to_owned(),
            hand_off: "I will put you through to a colleague. One moment, please.".to_owned(),
            goodbye: "Thank you for calling. Goodbye.".to_owned(),
            no_agent: "I am sorry, nobody is free to take your call right now. Please call again later. Goodbye."
                .to_owned(),
            too_many_calls: MessageSetting::default(),
            call_ends_soon: MessageSetting::default(),
            time_is_up: MessageSetting::default(),
            machine: MessageSetting::default(),
        }
    }
}
