//! The words that a recording keeps as they are. Everything else is masked.

/// Values of Twilio's and of this server's protocol. A value is kept only if it is one of them as a whole.
const WORDS: &[&str] = &[
    // Frames, and the names and values of `info`.
    "setup",
    "prompt",
    "dtmf",
    "interrupt",
    "error",
    "info",
    "text",
    "play",
    "sendDigits",
    "language",
    "end",
    "config",
    "configUpdated",
    "hints",
    "agentSpeaking",
    "clientSpeaking",
    "tokensPlayed",
    "roundTripDelayMs",
    "on",
    "off",
    // Calls.
    "inbound",
    "outbound-api",
    "outbound-dial",
    "PSTN",
    "SIP",
    "CLIENT",
    "RINGING",
    "IN_PROGRESS",
    "queued",
    "initiated",
    "ringing",
    "in-progress",
    "answered",
    "completed",
    "busy",
    "failed",
    "no-answer",
    "canceled",
    "ended",
    "call-progress-events",
    "API",
    "2010-04-01",
    "TwilioProxy/1.1",
    "application/x-www-form-urlencoded",
    "human",
    "unknown",
    "machine_start",
    "fax",
    "true",
    "false",
    // Payments.
    "payment-card-number",
    "security-code",
    "expiration-date",
    "postal-code",
    "bank-routing-number",
    "bank-account-number",
    "credit-card",
    "ach-debit",
    "visa",
    "mastercard",
    "amex",
    "maestro",
    "discover",
    "optima",
    "jcb",
    "diners-club",
    "enroute",
    "success",
    "payment-connector-error",
    "caller-interrupted-with-star",
    "caller-hung-up",
    "transaction-cancelled",
    "too-many-failed-attempts",
    "input-timeout",
    "invalid-card-number",
    "invalid-card-type",
    "invalid-date",
    "invalid-security-code",
    "invalid-postal-code",
    "invalid-bank-account-number",
    "invalid-bank-routing-number",
    "input-matching-failed",
    "card-declined",
    "one-time",
    "reusable",
    "payment-method",
    // Values of attributes.
    "none",
    "any",
    "speech",
    "low",
    "medium",
    "high",
    "auto",
    "speaker-events",
    "tokens-played",
    "Google",
    "Amazon",
    "ElevenLabs",
    "Deepgram",
    "telephony",
    "nova-2-general",
    "nova-3-general",
    "flux",
    "multi",
    "turn-state",
    "prompt-segments",
];

/// Members of which only the length is kept: what was said, and texts that may quote it.
const SPOKEN: &[&str] = &[
    "voicePrompt",
    "utteranceUntilInterrupt",
    "token",
    "description",
    "callerName",
    "handoffData",
    "welcomeGreeting",
    "hints",
    "HandoffData",
    "CallerName",
    "ErrorMessage",
    "PaymentError",
    "customerName",
    "x-twilio-signature",
];

/// Members with the code of a language.
const LANGUAGES: &[&str] = &["lang", "language", "ttsLanguage", "transcriptionLanguage", "code"];

/// Members with a list of known words.
const LISTS: &[&str] = &["Required", "events", "debug", "includeInPrompt"];

/// The longest name of a member that is kept.
const MAX_NAME: usize = 60;

/// Whether only the length of a member is kept.
pub(super) fn is_spoken(name: &str) -> bool {
    SPOKEN.contains(&name)
}

/// Whether the value of a member is kept as it is: a known word, a list of known words, or the code of a language.
pub(crate) fn is_known(name: &str, value: &str) -> bool {
    let is_list = LISTS.contains(&name) && !value.is_empty();
    let are_words = is_list && value.split([',', ' ']).all(|word| WORDS.contains(&word));
    are_words || WORDS.contains(&value) || LANGUAGES.contains(&name) && is_language_code(value)
}

/// Whether the text is a language tag of at most two subtags, such as `fr` or `es-419`.
fn is_language_code(text: &str) -> bool {
    let (language, region) = text.split_once('-').map_or((text, None), |(language, region)| (language, Some(region)));
    let is_lower = |text: &str| text.bytes().all(|c| c.is_ascii_lowercase());
    let is_region = |text: &str| {
        text.len() == 2 && text.bytes().all(|c| c.is_ascii_uppercase())
            || text.len() == 3 && text.bytes().all(|c| c.is_ascii_digit())
    };
    matches!(language.len(), 2 | 3) && is_lower(language) && region.is_none_or(is_region)
}

/// Whether the name of a member can be kept: a word as in a protocol, without a run of digits.
pub(super) fn is_protocol_name(name: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let digits = name.chars().filter(char::is_ascii_digit).count();
    name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(is_letter)
        && digits < 4
}
