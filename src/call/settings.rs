//! What a call is to do and to say: read once from the configuration, shared by all calls that began with it.

use std::time::Duration;

use super::guiding::Guide;
use crate::payment;
use crate::phone_number::PhoneNumber;

/// Everything that a call is told at its start.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct Settings {
    /// Whether there is a telephone at the other end. Without one, as in a chat, nobody is greeted or handed over, and
    /// tools that need a live call are answered that they do.
    pub telephone: bool,
    /// Watching for a silent caller.
    pub silence: Silence,
    /// What the server itself says.
    pub messages: Messages,
    /// The greeting that Twilio speaks by itself, from the TwiML.
    pub welcome_greeting: Option<String>,
    /// What every payment has in common.
    pub payment: payment::Settings,
    /// What the server says by itself around payments, by language: `Payments.texts`.
    pub texts: Guide,
    /// The server leads through payments by itself: `Payments.flow` is "guided". Otherwise the model leads.
    pub guided: bool,
    /// The server asks for a yes to amounts that are due, too: `Payments.confirm` is "always".
    pub confirm_due: bool,
    /// How long an open payment may stand still before the caller is offered a retry, then a person:
    /// `Payments.stallSeconds`.
    pub stall: Duration,
    /// How long a call whose socket broke waits for a new one before it ends as a hang-up does: `RESUME_SECONDS`.
    pub resume: Duration,
    /// The agent only listens: what the model says is not spoken, its tools run. `Server.ListenMode`.
    pub listen: bool,
    /// What the agent speaks at first, as a BCP 47 code.
    pub language: String,
    /// The languages that the session is opened with, as BCP 47 codes.
    pub languages: Vec<String>,
    /// From where recordings may be played: `PLAY_MEDIA_HOSTS`.
    pub play_media_hosts: Vec<String>,
    /// To whom text messages may be sent beside the caller: `SMS_ALLOWED_NUMBERS`.
    pub sms_allowed: Vec<PhoneNumber>,
    /// Keys that are pressed while no payment is open.
    pub keypad: Keypad,
}

/// What the environment decides for all calls, whatever serverConfig.json says.
#[derive(Debug, Clone)]
pub struct Environment {
    /// What every payment has in common.
    pub payment: payment::Settings,
    /// `RESUME_SECONDS`.
    pub resume: Duration,
    /// `PLAY_MEDIA_HOSTS`.
    pub play_media_hosts: Vec<String>,
    /// `SMS_ALLOWED_NUMBERS`.
    pub sms_allowed: Vec<PhoneNumber>,
}

/// `Keypad` of serverConfig.json: when the keys that a caller presses are a whole input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keypad {
    /// After so many keys: `maxDigits`. The hash key always ends an input.
    pub max_digits: usize,
    /// After so long without a key: `pauseSeconds`.
    pub pause: Duration,
}

/// `SilenceDetection` of serverConfig.json.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// Whether the watch is on when a call begins.
    pub enabled: bool,
    /// How long nobody says anything before the next reminder: `secondsThreshold`.
    pub threshold: Duration,
    /// The reminders, in order; after the last one the call is ended.
    pub messages: Vec<String>,
}

/// `Messages` of serverConfig.json: what the server says when the model cannot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Messages {
    /// The model failed: `modelUnavailable`.
    pub model_unavailable: String,
    /// The model failed three times in a row, or a payment is stuck: `handOff`.
    pub hand_off: String,
    /// The call ends and the model has no words for it: `goodbye`.
    pub goodbye: String,
    /// After a session that is to be handed off, when no person can be reached, spoken by TwiML: `noAgent`.
    pub no_agent: String,
}
