//! `POST /connectAction`: the session has ended, and Twilio asks what to do with the call.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use tracing::{info, warn};

use super::signed::{Form, Signed};
use super::{Voice, twiml};
use crate::relay::twiml::Verb;
use crate::session::{Calls, News};

/// What Twilio asks about.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    /// The caller is gone: nothing that is answered matters.
    Call,
    /// The agent wants a person to take over, or the session failed with the caller still there.
    NeedsPerson,
    /// The dialled person hung up: the conversation is over.
    PersonSpoke,
    /// The dialled person could not be reached.
    PersonUnreachable,
    /// The session ended as it should.
    Session,
}

/// Answers with TwiML; asked twice, it answers the same.
pub(super) async fn post(State(voice): State<Arc<Voice>>, State(calls): State<Calls>, signed: Signed) -> Response {
    if let Some(call) = signed.form.filled("CallSid").and_then(|sid| sid.parse().ok()) {
        calls.deliver(&call, News::Over);
        info!(%call, ended = ?Ended::read(&signed.form), "session ended");
    }
    let apology = || vec![Verb::Say(voice.no_agent.clone()), Verb::Hangup];
    let verbs = match (Ended::read(&signed.form), &voice.live_agent_number) {
        (Ended::Call, _) => Vec::new(),
        (Ended::NeedsPerson, Some(number)) => {
            vec![Verb::Dial { action: voice.action.clone(), number: number.clone() }]
        }
        (Ended::NeedsPerson, None) => {
            warn!("a caller needs a person and LIVE_AGENT_NUMBER is not set");
            apology()
        }
        (Ended::PersonUnreachable, _) => apology(),
        (Ended::PersonSpoke | Ended::Session, _) => vec![Verb::Hangup],
    };
    twiml(&verbs)
}

impl Ended {
    fn read(form: &Form) -> Self {
        let call_status = form.filled("CallStatus").unwrap_or("in-progress");
        if let Some(dialled) = form.filled("DialCallStatus") {
            return match dialled {
                "completed" | "answered" => Self::PersonSpoke,
                _ => Self::PersonUnreachable,
            };
        }
        match call_status {
            "completed" | "busy" | "failed" | "no-answer" | "canceled" => Self::Call,
            _ if form.filled("HandoffData").is_some() => Self::NeedsPerson,
            _ if form.filled("SessionStatus") == Some("failed") => Self::NeedsPerson,
            _ => Self::Session,
        }
    }
}
