//! The Calls resource: orders to place a call, read strictly.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use serde_json::json;
use url::Url;

use super::rest::refuse;
use super::{Twilio, lock};
use crate::simulator::tape::Event;

/// The longest document that may come along, in characters (error 21640 and its like).
const MAX_INLINE: usize = 4_000;

/// An order to place a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Who is called.
    pub to: String,
    /// Who calls.
    pub from: String,
    /// What happens once somebody has answered.
    pub document: Document,
    /// Where the call's progress is reported.
    pub status_callback: Url,
    /// Which steps are reported.
    pub events: Vec<String>,
}

/// The TwiML of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// It came along.
    Inline(String),
    /// It is to be asked for.
    At(Url),
}

const KNOWN: &[&str] = &[
    "To",
    "From",
    "Twiml",
    "Url",
    "Method",
    "StatusCallback",
    "StatusCallbackMethod",
    "StatusCallbackEvent",
    "Timeout",
];
const EVENTS: &[&str] = &["initiated", "ringing", "answered", "completed"];

impl Placed {
    /// Reads the body of `POST …/Calls.json`; an error says what Twilio would ignore or refuse.
    fn read(body: &str, public: &Url) -> Result<Self, String> {
        let form: Vec<(String, String)> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
        if let Some((name, _)) = form.iter().find(|(name, _)| !KNOWN.contains(&name.as_str())) {
            return Err(format!("unknown form field {name}"));
        }
        let all = |name: &str| form.iter().filter(|(known, _)| known == name).map(|(_, value)| value.clone()).collect();
        let one = |name: &str| {
            let mut all: Vec<String> = all(name);
            if all.len() > 1 { Err(format!("{name} is there twice")) } else { Ok(all.pop()) }
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
            (Some(twiml), None) if twiml.chars().count() <= MAX_INLINE => Document::Inline(twiml),
            (Some(_), None) => return Err(format!("Twiml has more than {MAX_INLINE} characters")),
            (None, Some(url)) => Document::At(ours(url)?),
            _ => return Err("a call needs either Twiml or Url".to_owned()),
        };
        let events: Vec<String> = all("StatusCallbackEvent");
        if let Some(event) = events.iter().find(|event| !EVENTS.contains(&event.as_str())) {
            return Err(format!("StatusCallbackEvent={event:?} is not an event"));
        }
        let status_callback = ours(one("StatusCallback")?.ok_or("nobody would be told how the call goes on")?)?;
        Ok(Self { to: number("To")?, from: number("From")?, document, status_callback, events })
    }
}

/// `POST …/Calls.json`
pub async fn create(
    State(twilio): State<Twilio>,
    Path(account): Path<String>,
    headers: HeaderMap,
    body: String,
) -> Response {
    twilio.tape.keep("a request to Twilio", format!("Calls.json\n{body}"));
    let call = twilio.call();
    if let Some(refused) = twilio.refuse_stranger(&account, &call, &headers) {
        return refused;
    }
    let placed = match Placed::read(&body, &twilio.shared.public) {
        Ok(placed) => placed,
        Err(what) => {
            twilio.tape.violation(format!("a request to Calls: {what}"));
            return refuse(400, 20001);
        }
    };
    twilio.tape.write(Event::Placed { inline: matches!(placed.document, Document::Inline(_)) });
    let answer = json!({
        "sid": call, "account_sid": account, "to": placed.to, "from": placed.from,
        "status": "queued", "direction": "outbound-api", "price": null,
    });
    lock(&twilio.shared.state).placed.push(placed);
    (StatusCode::CREATED, Json(answer)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTIES: &str = "To=%2B15550100001&From=%2B15550100002&StatusCallback=https://pay.example.com/s";

    fn read(rest: &str) -> Result<Placed, String> {
        Placed::read(&format!("{PARTIES}{rest}"), &"https://pay.example.com".parse().unwrap())
    }

    #[test]
    fn an_order_brings_its_document_or_says_where_it_is() {
        let placed = read("&Twiml=<Response/>&StatusCallbackEvent=ringing&StatusCallbackEvent=completed").unwrap();
        assert_eq!(placed.document, Document::Inline("<Response/>".to_owned()));
        assert_eq!(placed.events, ["ringing", "completed"]);
        let placed = read("&Url=https://pay.example.com/x").unwrap();
        assert_eq!(placed.document, Document::At("https://pay.example.com/x".parse().unwrap()));
    }

    #[test]
    fn what_twilio_would_ignore_or_refuse_is_found() {
        for rest in [
            "",
            "&Twiml=<Response/>&Url=https://pay.example.com/x",
            "&Url=https://evil.example/x",
            "&Url=/x",
            "&Twiml=x&Twiml=y",
            "&Twiml=x&To=%2B1",
            "&Twiml=x&StatusCallbackEvent=initiated+ringing",
            "&Twiml=x&IdempotencyKey=k",
        ] {
            assert!(read(rest).is_err(), "{rest}");
        }
        assert!(read(&format!("&Twiml={}", "x".repeat(4_001))).is_err());
    }
}
