//! The settings of a call, read from the configuration and shared by all calls that began with it.

use std::sync::Arc;
use std::time::Duration;

use super::compliance_text::FilledText;
use super::guided_flow::LocalizedTexts;
use super::localized_message::LocalizedMessage;
use super::payment_authorization::AuthorizationSettings;
use crate::payment;
use crate::phone_number::{AllowedDestinations, PhoneNumber};
use crate::usage_limits::UsageLimits;

/// The settings of a call, fixed when it begins.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent setting")]
pub struct CallSettings {
    /// Whether there is a phone call. Without one, as in a chat, there is no greeting and no hand-off, and tools that
    /// need a live call return an error.
    pub has_telephone: bool,
    /// Whether the call has the instructions and tools that it names. Without them a person takes over at once, and the
    /// model is never asked.
    pub has_agent: bool,
    /// Whether an answer may be asked for again: not if the response service calls tools of its own within it.
    pub may_ask_again: bool,
    /// Silence detection.
    pub silence: SilenceSettings,
    /// The server's own messages to the caller.
    pub messages: CallMessages,
    /// The greeting that Twilio speaks from the TwiML.
    pub welcome_greeting: Option<String>,
    /// The same of a call that this server has placed, if it differs: `Compliance.outbound.greeting`.
    pub outbound_greeting: Option<String>,
    /// That the agent is a machine, by language: `Compliance.disclosure`. `None` if it is switched off.
    pub disclosure: Option<FilledText>,
    /// Whether the caller gets a receipt by text message: `Compliance.receipt`.
    pub sends_receipts: bool,
    /// What callers have to authorise before a payment is submitted.
    pub authorizations: AuthorizationSettings,
    /// The recording of calls: `Recording`. `None` if it is switched off.
    pub recording: Option<RecordingSettings>,
    /// The settings of every payment.
    pub payment: payment::PaymentSettings,
    /// The server's texts for payments, by language: `Payments.texts`.
    pub texts: LocalizedTexts,
    /// Whether the server leads through payments: `Payments.flow` is "guided". Otherwise the model does.
    pub is_guided: bool,
    /// Whether the server asks for a yes to due amounts, too: `Payments.confirm` is "always".
    pub confirm_due: bool,
    /// How long an open payment may go without progress before the caller is offered a retry, then a person:
    /// `Payments.stallSeconds`.
    pub stall_timeout: Duration,
    /// How long a call waits for a new WebSocket after losing one, before it ends like a hang-up: `RESUME_SECONDS`.
    pub resume_timeout: Duration,
    /// Whether listen mode is on: the model's text is not spoken, but its tools run. `Server.ListenMode`.
    pub listen_only: bool,
    /// The agent's initial language, as a BCP 47 code.
    pub language: String,
    /// Whether Twilio detects the language of each prompt: the agent then follows the caller.
    pub detects_language: bool,
    /// The languages in the session's TwiML, as BCP 47 codes; the main one is first.
    pub languages: Vec<String>,
    /// The hosts from which recordings may be played: `PLAY_MEDIA_HOSTS`.
    pub play_media_hosts: Vec<String>,
    /// The numbers, besides the caller's, to which text messages may be sent: `SMS_ALLOWED_NUMBERS`.
    pub sms_allowed_numbers: Vec<PhoneNumber>,
    /// The numbers that may be called and texted: `OUTBOUND_ALLOWED`.
    pub destinations: Arc<AllowedDestinations>,
    /// The limits on calls: `Limits`.
    pub usage_limits: UsageLimits,
    /// Keypad input outside payments.
    pub keypad: KeypadSettings,
    /// The language in which the caller is transcribed: a BCP 47 code, or `multi`.
    pub heard_language: String,
}

/// The settings that environment variables fix for all calls, independent of serverConfig.json.
#[derive(Debug, Clone)]
pub struct CallEnvironment {
    /// The settings of every payment.
    pub payment: payment::PaymentSettings,
    /// `BUSINESS_NAME`.
    pub business_name: Option<String>,
    /// `BUSINESS_PHONE`.
    pub business_phone: Option<PhoneNumber>,
    /// `FROM_NUMBER`.
    pub from_number: PhoneNumber,
    /// `RESUME_SECONDS`.
    pub resume_timeout: Duration,
    /// `PLAY_MEDIA_HOSTS`.
    pub play_media_hosts: Vec<String>,
    /// `SMS_ALLOWED_NUMBERS`.
    pub sms_allowed_numbers: Vec<PhoneNumber>,
    /// `OUTBOUND_ALLOWED`.
    pub destinations: Arc<AllowedDestinations>,
    /// Whether an answer may be asked for again: not if the response service calls tools of its own within it.
    pub may_ask_again: bool,
}

/// `Recording` of serverConfig.json.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingSettings {
    /// What the caller hears before the recording starts, by language: `announcement`.
    pub announcement: FilledText,
    /// Whether the recording is paused before a field is captured: `pauseDuringCapture`.
    pub pauses_for_capture: bool,
}

/// `Keypad` of serverConfig.json: when the pressed keys are a complete input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeypadSettings {
    /// The number of keys that completes an input: `maxDigits`. The hash key always completes it.
    pub max_digits: usize,
    /// The pause after the last key that completes an input: `pauseSeconds`.
    pub pause: Duration,
}

/// `SilenceDetection` of serverConfig.json.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SilenceSettings {
    /// Whether silence detection is on when a call begins.
    pub enabled: bool,
    /// The silence before the next reminder: `secondsThreshold`.
    pub threshold: Duration,
    /// The reminders, in order: `messages`. After the last one the call ends.
    pub reminders: Vec<String>,
}

/// `Messages` of serverConfig.json: what the server says in place of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallMessages {
    /// The model failed: `modelUnavailable`.
    pub model_unavailable: String,
    /// The model failed three times in a row, or a payment stalled: `handOff`.
    pub hand_off: String,
    /// The call ends without a goodbye of the model's: `goodbye`.
    pub goodbye: String,
    /// No person can take over a call that was handed off; spoken by TwiML after the session: `noAgent`.
    pub no_agent: String,
    /// As many calls are live as a limit allows; spoken by TwiML in place of a session: `tooManyCalls`.
    pub too_many_calls: LocalizedMessage,
    /// The call ends in two minutes: `callEndsSoon`.
    pub call_ends_soon: LocalizedMessage,
    /// The call has lasted as long as a call may: `timeIsUp`.
    pub time_is_up: LocalizedMessage,
    /// An answering machine has taken an outbound call: `machine`.
    pub machine: LocalizedMessage,
}
