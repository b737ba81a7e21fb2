//! The Calls resource: placing a call, and the words in which Twilio tells how one goes on.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use super::client::Client;
use super::error::{Cause, Error};
use super::rest::Repeat;
use crate::phone_number::PhoneNumber;
use crate::sid::CallSid;

/// The longest document that Twilio takes with the request itself, in characters (error 32018).
pub const MAX_INLINE_TWIML: usize = 4_000;

/// A call to be placed, from this server's own number.
#[derive(Debug)]
pub struct NewCall<'a> {
    /// Who is called.
    pub to: &'a PhoneNumber,
    /// What happens once somebody has answered.
    pub document: Document<'a>,
    /// Absolute URL to which every step of the call is reported.
    pub status_callback: &'a str,
}

/// The TwiML of a call.
pub enum Document<'a> {
    /// The document itself, at most [`MAX_INLINE_TWIML`] characters. It has no URL: every URL in it is absolute.
    Inline(&'a str),
    /// Where Twilio asks for it when the call is answered.
    At(&'a str),
}

impl Client {
    /// Places a call. Success means that it is queued: nobody's phone rings yet. Twilio takes no idempotency key here, so
    /// after [`Error::Unknown`] the phone may ring.
    pub async fn create_call(&self, call: &NewCall<'_>) -> Result<CallSid, Error> {
        let document = match call.document {
            Document::Inline(twiml) => ("Twiml", twiml),
            Document::At(url) => ("Url", url),
        };
        let form = [
            ("To", call.to.as_str()),
            ("From", self.from.as_str()),
            document,
            ("StatusCallback", call.status_callback),
            // An array is a repeated parameter; without it `completed` alone is told.
            ("StatusCallbackEvent", "initiated"),
            ("StatusCallbackEvent", "ringing"),
            ("StatusCallbackEvent", "answered"),
            ("StatusCallbackEvent", "completed"),
        ];
        let body = self.post(&["Calls.json"], &form, Repeat::IfUndone).await?;
        let created: Created = serde_json::from_slice(&body).map_err(|_| Error::Unknown(Cause::Unreadable))?;
        Ok(created.sid)
    }
}

/// What is needed of the answer to a create.
#[derive(Deserialize)]
struct Created {
    sid: CallSid,
}

impl Error {
    /// Why a call was not placed and what to do about it, for the operator who asked for it.
    pub fn call_reason(&self) -> &'static str {
        match self {
            Self::Refused { status, code, .. } => refusal(*status, *code),
            Self::Unreached(_) => "Twilio could not be reached, and nobody was called: try again",
            Self::Unknown(_) => {
                "Twilio did not confirm the call, so it may have been placed: look at the call log in Twilio's console \
                 before you try again"
            }
        }
    }

    /// Whether the number that was to be called is the reason: another request for it will be refused as well.
    pub fn is_about_the_number(&self) -> bool {
        matches!(self.code(), Some(13227 | 21211 | 21214..=21217 | 21219))
    }
}

fn refusal(status: u16, code: Option<u32>) -> &'static str {
    match (code.unwrap_or_default(), status) {
        (21211, _) => "Twilio says that phoneNumber is not a valid number",
        (21214 | 21217, _) => "Twilio cannot reach this phoneNumber",
        (21215 | 13227, _) => {
            "this Twilio account may not call that country: allow it under Voice, Geo permissions, in Twilio's console"
        }
        (21216, _) => "Twilio does not call this phoneNumber: it is blocked",
        (21219, _) => "a trial account calls verified numbers only: verify phoneNumber in Twilio's console",
        (21210 | 21212, _) => {
            "FROM_NUMBER may not place calls: it must be a number of this Twilio account, or verified in its console"
        }
        (21205, _) => "Twilio does not take this server's URL: check SERVER_BASE_URL",
        (20429, _) | (_, 429) => "Twilio has too many requests at the moment, and nobody was called: try again shortly",
        (20003 | 20403 | 70051, _) | (_, 401 | 403) => {
            "Twilio refused this server's credentials: check ACCOUNT_SID with AUTH_TOKEN, or API_KEY with API_SECRET"
        }
        _ => "Twilio refused to place the call; the server's log has its error code",
    }
}

/// `CallStatus`: how a call goes on, in Twilio's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallStatus {
    /// `queued`
    Queued,
    /// `initiated`
    Initiated,
    /// `ringing`
    Ringing,
    /// `in-progress`, or `answered`
    InProgress,
    /// `completed`
    Completed,
    /// `busy`
    Busy,
    /// `failed`
    Failed,
    /// `no-answer`
    NoAnswer,
    /// `canceled`
    Canceled,
    /// A word that is not known here, without what is not fit for a log.
    Other(String),
}

impl CallStatus {
    /// Whether the call is over. Nothing that comes later, or came earlier and arrives later, changes that.
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Completed | Self::Busy | Self::Failed | Self::NoAnswer | Self::Canceled)
    }
}

impl FromStr for CallStatus {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "queued" => Self::Queued,
            "initiated" => Self::Initiated,
            "ringing" => Self::Ringing,
            "in-progress" | "answered" => Self::InProgress,
            "completed" => Self::Completed,
            "busy" => Self::Busy,
            "failed" => Self::Failed,
            "no-answer" => Self::NoAnswer,
            "canceled" => Self::Canceled,
            other => {
                let fit = |c: &char| c.is_ascii_lowercase() || *c == '-';
                Self::Other(other.chars().filter(fit).take(32).collect())
            }
        })
    }
}

/// Which kind, and nothing of the document: it says what the call is about.
impl fmt::Debug for Document<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inline(_) => "Inline",
            Self::At(_) => "At",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twilio::stand_in::{Answer, Twilio};

    const CREATED: Answer = (201, "", r#"{"sid":"CA7","status":"queued","direction":"outbound-api","price":null}"#);

    async fn place(answers: &[Answer], document: Document<'_>) -> (Twilio, Result<CallSid, Error>) {
        let (twilio, client) = Twilio::start(answers).await;
        let to = "+15550100001".parse().unwrap();
        let call = NewCall { to: &to, document, status_callback: "https://example.com/twilioStatusCallback" };
        let placed = client.create_call(&call).await;
        (twilio, placed)
    }

    #[tokio::test]
    async fn a_call_is_placed_with_its_document_and_every_event_is_asked_for() {
        let (twilio, placed) = place(&[CREATED], Document::Inline("<Response/>")).await;
        assert_eq!(placed.unwrap().as_str(), "CA7");
        let events = "&StatusCallback=https%3A%2F%2Fexample.com%2FtwilioStatusCallback&StatusCallbackEvent=initiated\
                      &StatusCallbackEvent=ringing&StatusCallbackEvent=answered&StatusCallbackEvent=completed";
        assert_eq!(twilio.forms(), [format!("To=%2B15550100001&From=%2B15005550006&Twiml=%3CResponse%2F%3E{events}")]);
        assert_eq!(twilio.asked.lock().unwrap()[0].path, "/2010-04-01/Accounts/AC1/Calls.json");

        let (twilio, _) = place(&[CREATED], Document::At("https://example.com/x")).await;
        assert!(
            twilio.forms()[0].contains("&Url=https%3A%2F%2Fexample.com%2Fx&") && !twilio.forms()[0].contains("Twiml")
        );
    }

    #[tokio::test]
    async fn a_call_that_twilio_had_no_time_for_is_placed_again() {
        let (twilio, placed) = place(&[(429, "0", r#"{"code":20429}"#), CREATED], Document::Inline("x")).await;
        assert!(placed.is_ok());
        assert_eq!(twilio.forms().len(), 2);
    }

    #[tokio::test]
    async fn a_call_that_may_have_been_placed_is_not_placed_again() {
        // The second is a connection that closes without an answer.
        for answers in [&[(503, "", "")][..], &[], &[(201, "", "no JSON")]] {
            let (twilio, placed) = place(answers, Document::Inline("x")).await;
            assert!(matches!(placed, Err(Error::Unknown(_))), "{answers:?} {placed:?}");
            assert_eq!(twilio.forms().len(), 1, "{answers:?}");
        }
    }

    #[tokio::test]
    async fn a_refusal_says_what_to_do_and_repeats_nothing_of_twilios() {
        let refused = (400, "", r#"{"code":21211,"message":"The 'To' number +15550100001 is not valid","status":400}"#);
        let (_, placed) = place(&[refused], Document::Inline("x")).await;
        let error = placed.unwrap_err();
        assert!(error.is_about_the_number() && error.call_reason().contains("phoneNumber"));
        assert!(!format!("{error:?} {error}").contains("555"), "{error:?}");
    }

    #[test]
    fn a_call_is_over_by_five_words_only() {
        let is_terminal = |word: &str| word.parse::<CallStatus>().unwrap().is_terminal();
        for word in ["completed", "busy", "failed", "no-answer", "canceled"] {
            assert!(is_terminal(word), "{word}");
        }
        for word in ["queued", "initiated", "ringing", "in-progress", "answered", "", "COMPLETED", "paused"] {
            assert!(!is_terminal(word), "{word}");
        }
        let Ok(CallStatus::Other(word)) = "new\nstatus-4242".parse() else { panic!() };
        assert_eq!(word, "newstatus-");
    }
}
