//! The Calls resource: places calls, and the statuses of a call.

use std::convert::Infallible;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use super::client::TwilioClient;
use super::error::{TwilioError, UnknownOutcomeCause};
use super::rest::RetryPolicy;
use crate::ids::CallSid;
use crate::phone_number::PhoneNumber;
use crate::telemetry::{TwilioOperation, measure_twilio_work};

/// A call to place from the server's own number.
#[derive(Debug)]
pub struct NewCall<'a> {
    /// The number to call.
    pub to: &'a PhoneNumber,
    /// The absolute URL from which Twilio requests the TwiML once it is known who answered.
    pub twiml_url: &'a str,
    /// The absolute URL that receives every status change of the call.
    pub status_callback: &'a str,
    /// How long the call may ring.
    pub ring_timeout: Duration,
    /// How long the call may last once it is answered; `None` leaves Twilio's limit of four hours.
    pub time_limit: Option<Duration>,
}

impl TwilioClient {
    /// Places a call. Success means that the call is queued; it does not ring yet. Twilio supports no idempotency key
    /// here, so after [`TwilioError::Unknown`] the call may have been placed.
    pub async fn create_call(&self, call: &NewCall<'_>) -> Result<CallSid, TwilioError> {
        let (ring_timeout, time_limit) = (seconds(call.ring_timeout), call.time_limit.map(seconds));
        let mut form = vec![
            ("To", call.to.as_str()),
            ("From", self.from.as_str()),
            ("Url", call.twiml_url),
            ("StatusCallback", call.status_callback),
            // An array is a repeated parameter. By default only `completed` is reported.
            ("StatusCallbackEvent", "initiated"),
            ("StatusCallbackEvent", "ringing"),
            ("StatusCallbackEvent", "answered"),
            ("StatusCallbackEvent", "completed"),
            ("Timeout", ring_timeout.as_str()),
            // The TwiML runs once it is known who answered: `AnsweredBy` of its request. A machine is known at the end
            // of its greeting, so that it records what is said then; a person is known as fast as with `Enable`.
            ("MachineDetection", "DetectMessageEnd"),
        ];
        form.extend(time_limit.as_deref().map(|limit| ("TimeLimit", limit)));
        let posted = self.post(TwilioOperation::PlaceCall, &["Calls.json"], &form, RetryPolicy::IfNotProcessed);
        let (body, work) = measure_twilio_work(posted).await;
        let created: CreatedCall = serde_json::from_slice(&body?)
            .map_err(|_| TwilioError::Unknown(UnknownOutcomeCause::UnreadableResponse))?;
        self.record_call_work(&created.sid, work);
        Ok(created.sid)
    }
}

fn seconds(time: Duration) -> String {
    time.as_secs().to_string()
}

/// `AnsweredBy` of Twilio's requests: who answered an outbound call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnsweredBy {
    /// `human`, `unknown`, or a word that is not known, which means no more than `unknown` does: someone who must be talked
    /// to.
    Person,
    /// `machine_…` or `fax`, and any word that begins so.
    Machine,
}

impl AnsweredBy {
    /// Whether nobody is there to talk to.
    pub fn is_machine(self) -> bool {
        self == Self::Machine
    }
}

impl FromStr for AnsweredBy {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let word = text.trim().to_ascii_lowercase();
        let is_machine = ["machine", "fax"].iter().any(|kind| word.starts_with(kind));
        Ok(if is_machine { Self::Machine } else { Self::Person })
    }
}

/// The used members of the response to a create request.
#[derive(Deserialize)]
struct CreatedCall {
    sid: CallSid,
}

impl TwilioError {
    /// A fixed sentence for the operator: why a call was not placed, and what to do.
    pub fn describe_call_failure(&self) -> &'static str {
        match self {
            Self::Refused { status, code, .. } => describe_refusal(*status, *code),
            Self::Unreachable(_) => "Twilio could not be reached, and no call was placed: try again",
            Self::Unknown(_) => {
                "Twilio did not confirm the call, so it may have been placed: look at the call log in Twilio's console \
                 before you try again"
            }
        }
    }

    /// Whether the called number is the reason, so that another request for it will be refused, too.
    pub fn is_number_refused(&self) -> bool {
        matches!(self.code(), Some(13227 | 21211 | 21214..=21217 | 21219))
    }
}

fn describe_refusal(status: u16, code: Option<u32>) -> &'static str {
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
        (20429, _) | (_, 429) => "Twilio is receiving too many requests, and no call was placed: try again shortly",
        (20003 | 20403 | 70051, _) | (_, 401 | 403) => {
            "Twilio refused this server's credentials: check ACCOUNT_SID with AUTH_TOKEN, or API_KEY with API_SECRET"
        }
        _ => "Twilio refused to place the call; the server's log has its error code",
    }
}

/// `CallStatus` of Twilio's requests.
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
    /// An unknown status, reduced to characters that are safe to log.
    Other(String),
}

impl CallStatus {
    /// Whether the call has ended. The status is final: a later one, or an earlier one that arrives late, does not
    /// change it.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::raw_server::RawServer;
    use crate::twilio::stand_in::{ScriptedAnswer, start_twilio};

    const CREATED: ScriptedAnswer =
        (201, "", r#"{"sid":"CA7","status":"queued","direction":"outbound-api","price":null}"#);

    async fn place(answers: &[ScriptedAnswer]) -> (RawServer, Result<CallSid, TwilioError>) {
        let (twilio, client) = start_twilio(answers).await;
        let to = "+15550100001".parse().unwrap();
        let call = NewCall {
            to: &to,
            twiml_url: "https://example.com/x",
            status_callback: "https://example.com/twilioStatusCallback",
            ring_timeout: Duration::from_secs(30),
            time_limit: Some(Duration::from_secs(4_200)),
        };
        let placed = client.create_call(&call).await;
        (twilio, placed)
    }

    #[tokio::test]
    async fn a_call_is_placed_with_its_twiml_and_all_status_events() {
        let (twilio, placed) = place(&[CREATED]).await;
        assert_eq!(placed.unwrap().as_str(), "CA7");
        let events = "&StatusCallback=https%3A%2F%2Fexample.com%2FtwilioStatusCallback&StatusCallbackEvent=initiated\
                      &StatusCallbackEvent=ringing&StatusCallbackEvent=answered&StatusCallbackEvent=completed\
                      &Timeout=30&MachineDetection=DetectMessageEnd&TimeLimit=4200";
        assert_eq!(
            twilio.bodies(),
            [format!("To=%2B15550100001&From=%2B15005550006&Url=https%3A%2F%2Fexample.com%2Fx{events}")]
        );
        assert_eq!(twilio.requests()[0].path, "/2010-04-01/Accounts/AC1/Calls.json");
    }

    #[tokio::test]
    async fn a_rate_limited_call_is_retried() {
        let (twilio, placed) = place(&[(429, "0", r#"{"code":20429}"#), CREATED]).await;
        assert!(placed.is_ok());
        assert_eq!(twilio.bodies().len(), 2);
    }

    #[tokio::test]
    async fn a_call_that_may_have_been_placed_is_not_retried() {
        // The second case is a connection that closes without a response.
        for answers in [&[(503, "", "")][..], &[], &[(201, "", "no JSON")]] {
            let (twilio, placed) = place(answers).await;
            assert!(matches!(placed, Err(TwilioError::Unknown(_))), "{answers:?} {placed:?}");
            assert_eq!(twilio.bodies().len(), 1, "{answers:?}");
        }
    }

    #[tokio::test]
    async fn a_refusal_says_what_to_do_and_omits_twilios_message() {
        let refused = (400, "", r#"{"code":21211,"message":"The 'To' number +15550100001 is not valid","status":400}"#);
        let (_, placed) = place(&[refused]).await;
        let error = placed.unwrap_err();
        assert!(error.is_number_refused() && error.describe_call_failure().contains("phoneNumber"));
        assert!(!format!("{error:?} {error}").contains("555"), "{error:?}");
    }

    #[test]
    fn machines_and_faxes_are_no_persons() {
        let is_machine = |word: &str| word.parse::<AnsweredBy>().unwrap().is_machine();
        for word in [
            "machine_start",
            "machine_end_beep",
            "machine_end_silence",
            "machine_end_other",
            "machine",
            "Machine_new",
            "fax",
            "fax_tone",
        ] {
            assert!(is_machine(word), "{word}");
        }
        for word in ["human", "unknown", "", "somebody"] {
            assert!(!is_machine(word), "{word}");
        }
    }

    #[test]
    fn only_five_statuses_are_terminal() {
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
