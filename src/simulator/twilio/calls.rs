//! The Calls resource: parses requests to place a call strictly.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use serde_json::json;
use url::Url;

use super::rest::error_response;
use super::{ScriptedTwilio, lock};
use crate::simulator::transcript::TranscriptEvent;

/// The maximum length of `Twiml`, in characters (error 21640).
const MAX_INLINE_TWIML: usize = 4_000;

/// A request to place a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedCall {
    /// `To`.
    pub to: String,
    /// `From`.
    pub from: String,
    /// The TwiML to run once the call is answered.
    pub twiml: PlacedCallTwiml,
    /// `StatusCallback`.
    pub status_callback: Url,
    /// `StatusCallbackEvent`: the steps that are reported.
    pub events: Vec<String>,
    /// `Timeout`: how many seconds it may ring.
    pub ring_timeout: Option<u32>,
    /// `TimeLimit`: how many seconds the call may last.
    pub time_limit: Option<u32>,
    /// `MachineDetection`: `Enable` or `DetectMessageEnd`. With it the TwiML is requested once it is known who answered.
    pub machine_detection: Option<String>,
}

/// The TwiML of a placed call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlacedCallTwiml {
    /// The TwiML itself (`Twiml`).
    Inline(String),
    /// The URL that serves it (`Url`).
    Url(Url),
}

const FORM_FIELDS: &[&str] = &[
    "To",
    "From",
    "Twiml",
    "Url",
    "Method",
    "StatusCallback",
    "StatusCallbackMethod",
    "StatusCallbackEvent",
    "Timeout",
    "TimeLimit",
    "MachineDetection",
    "MachineDetectionTimeout",
];
const STATUS_EVENTS: &[&str] = &["initiated", "ringing", "answered", "completed"];

impl PlacedCall {
    /// Parses the body of `POST …/Calls.json`. An error says what Twilio would ignore or refuse.
    pub(super) fn parse(body: &str, public: &Url) -> Result<Self, String> {
        let form: Vec<(String, String)> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
        if let Some((name, _)) = form.iter().find(|(name, _)| !FORM_FIELDS.contains(&name.as_str())) {
            return Err(format!("unknown form field {name}"));
        }
        let all = |name: &str| form.iter().filter(|(known, _)| known == name).map(|(_, value)| value.clone()).collect();
        let one = |name: &str| {
            let mut all: Vec<String> = all(name);
            if all.len() > 1 { Err(format!("{name} appears twice")) } else { Ok(all.pop()) }
        };
        let number = |name: &str| {
            let is_number = |it: &String| it.starts_with('+') && it[1..].bytes().all(|digit| digit.is_ascii_digit());
            one(name)?.filter(is_number).ok_or_else(|| format!("{name} is not a number in E.164 form"))
        };
        let ours = |text: String| {
            let url = Url::parse(&text).ok().filter(|url| url.origin() == public.origin());
            url.ok_or_else(|| format!("{text:?} is not a URL of {public}"))
        };
        let document = match (one("Twiml")?, one("Url")?) {
            (Some(twiml), None) if twiml.chars().count() <= MAX_INLINE_TWIML => PlacedCallTwiml::Inline(twiml),
            (Some(_), None) => return Err(format!("Twiml has more than {MAX_INLINE_TWIML} characters")),
            (None, Some(url)) => PlacedCallTwiml::Url(ours(url)?),
            _ => return Err("a call needs either Twiml or Url".to_owned()),
        };
        let events: Vec<String> = all("StatusCallbackEvent");
        if let Some(event) = events.iter().find(|event| !STATUS_EVENTS.contains(&event.as_str())) {
            return Err(format!("StatusCallbackEvent={event:?} is not an event"));
        }
        let status_callback = ours(one("StatusCallback")?.ok_or("StatusCallback is missing")?)?;
        let seconds = |name: &str, most: u32| {
            let Some(text) = one(name)? else { return Ok(None) };
            let seconds = text.parse().ok().filter(|seconds| (1..=most).contains(seconds));
            seconds.map(Some).ok_or_else(|| format!("{name}={text:?} is not a number of seconds up to {most}"))
        };
        let machine_detection = one("MachineDetection")?;
        if machine_detection.as_deref().is_some_and(|how| !matches!(how, "Enable" | "DetectMessageEnd")) {
            return Err(format!("MachineDetection={machine_detection:?} is not a value"));
        }
        Ok(Self {
            to: number("To")?,
            from: number("From")?,
            twiml: document,
            status_callback,
            events,
            ring_timeout: seconds("Timeout", 600)?,
            time_limit: seconds("TimeLimit", 86_400)?,
            machine_detection,
        })
    }
}

/// `POST …/Calls.json`
pub(super) async fn create_call(
    State(twilio): State<ScriptedTwilio>,
    Path(account): Path<String>,
    headers: HeaderMap,
    body: String,
) -> Response {
    twilio.transcript.record_evidence("a request to Twilio", format!("Calls.json\n{body}"));
    let call = twilio.call_sid();
    if let Some(refused) = twilio.check_request(&account, &call, &headers) {
        return refused;
    }
    let placed = match PlacedCall::parse(&body, &twilio.shared.public_url) {
        Ok(placed) => placed,
        Err(what) => {
            twilio.transcript.record_violation(format!("a request to Calls: {what}"));
            return error_response(400, 20001);
        }
    };
    twilio
        .transcript
        .record(TranscriptEvent::CallPlaced { inline: matches!(placed.twiml, PlacedCallTwiml::Inline(_)) });
    let answer = json!({
        "sid": call, "account_sid": account, "to": placed.to, "from": placed.from,
        "status": "queued", "direction": "outbound-api", "price": null,
    });
    lock(&twilio.shared.state).placed_calls.push(placed);
    (StatusCode::CREATED, Json(answer)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTIES: &str = "To=%2B15550100001&From=%2B15550100002&StatusCallback=https://pay.example.com/s";

    fn read(rest: &str) -> Result<PlacedCall, String> {
        PlacedCall::parse(&format!("{PARTIES}{rest}"), &"https://pay.example.com".parse().unwrap())
    }

    #[test]
    fn a_call_has_inline_twiml_or_a_url() {
        let placed = read("&Twiml=<Response/>&StatusCallbackEvent=ringing&StatusCallbackEvent=completed").unwrap();
        assert_eq!(placed.twiml, PlacedCallTwiml::Inline("<Response/>".to_owned()));
        assert_eq!(placed.events, ["ringing", "completed"]);
        let placed = read("&Url=https://pay.example.com/x").unwrap();
        assert_eq!(placed.twiml, PlacedCallTwiml::Url("https://pay.example.com/x".parse().unwrap()));
    }

    #[test]
    fn unknown_and_invalid_fields_are_refused() {
        for rest in [
            "",
            "&Twiml=<Response/>&Url=https://pay.example.com/x",
            "&Url=https://evil.example/x",
            "&Url=/x",
            "&Twiml=x&Twiml=y",
            "&Twiml=x&To=%2B1",
            "&Twiml=x&StatusCallbackEvent=initiated+ringing",
            "&Twiml=x&IdempotencyKey=k",
            "&Twiml=x&Timeout=601",
            "&Twiml=x&TimeLimit=soon",
            "&Twiml=x&MachineDetection=true",
        ] {
            assert!(read(rest).is_err(), "{rest}");
        }
        assert!(read(&format!("&Twiml={}", "x".repeat(4_001))).is_err());
    }
}
