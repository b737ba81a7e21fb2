//! Twilio's REST API for the recording of a call: start, pause, resume, stop.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Json, Response};
use serde_json::json;
use url::form_urlencoded;

use super::rest::error_response;
use super::{ScriptedTwilio, lock};
use crate::simulator::transcript::TranscriptEvent;

/// The recording of a call.
#[derive(Debug)]
pub(super) struct ScriptedRecording {
    call: String,
    sid: String,
    /// `in-progress`, `paused` or `stopped`.
    status: &'static str,
}

/// How the request to pause a recording fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PauseFault {
    /// 400; the recording goes on.
    Refused,
    /// The recording is paused, but no response comes.
    NoResponse,
}

/// `POST …/Recordings.json`
pub(super) async fn handle_start(
    State(twilio): State<ScriptedTwilio>,
    Path((account, call)): Path<(String, String)>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let twilio = twilio.for_call(&call).unwrap_or(twilio);
    twilio.transcript.record_evidence("a request to Twilio", format!("Recordings.json\n{body}"));
    if let Some(refused) = twilio.check_request(&account, &call, &headers) {
        return refused;
    }
    if body != "RecordingChannels=dual" {
        twilio.transcript.record_violation(format!("a request to Recordings: {body}"));
    }
    let started = {
        let mut state = lock(&twilio.shared.state);
        let is_live = state.live_calls.contains(&twilio.transcript.call_number());
        if state.recordings.iter().any(|it| it.call == call) {
            twilio.transcript.record_violation("a second recording of the call was started");
        }
        let sid = format!("RE{:032x}", 0xdef0 + state.recordings.len());
        is_live.then(|| {
            state.recordings.push(ScriptedRecording { call: call.clone(), sid: sid.clone(), status: "in-progress" });
            sid
        })
    };
    twilio.record_step("start", if started.is_some() { 201 } else { 400 });
    match started {
        Some(sid) => recording_response(StatusCode::CREATED, &account, &call, &sid, "in-progress"),
        None => error_response(400, 21220),
    }
}

/// `POST …/Recordings/{recording}.json`
pub(super) async fn handle_update(
    State(twilio): State<ScriptedTwilio>,
    Path((account, call, recording)): Path<(String, String, String)>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let twilio = twilio.for_call(&call).unwrap_or(twilio);
    twilio.transcript.record_evidence("a request to Twilio", format!("Recordings/{recording}\n{body}"));
    if let Some(refused) = twilio.check_request(&account, &call, &headers) {
        return refused;
    }
    let Some((step, status)) = parse_update(&body) else {
        twilio.transcript.record_violation(format!("a request to Recordings: {body}"));
        return error_response(400, 20001);
    };
    let fault = twilio.shared.quirks.pause_fault.filter(|_| step == "pause");
    if fault == Some(PauseFault::Refused) {
        twilio.record_step(step, 400);
        return error_response(400, 21218);
    }
    let changed = {
        let mut state = lock(&twilio.shared.state);
        let wanted = recording.strip_suffix(".json").unwrap_or_default();
        let of_call = state.recordings.iter_mut().filter(|it| it.call == call && it.status != "stopped");
        let found = of_call.into_iter().find(|it| wanted == "Twilio.CURRENT" || it.sid == wanted);
        found.map(|it| {
            it.status = status;
            it.sid.clone()
        })
    };
    if fault == Some(PauseFault::NoResponse) {
        twilio.record_step(step, 0);
        return std::future::pending().await;
    }
    twilio.record_step(step, if changed.is_some() { 200 } else { 404 });
    match changed {
        Some(sid) => recording_response(StatusCode::OK, &account, &call, &sid, status),
        None => error_response(404, 20404),
    }
}

/// The step that an update asks for, and the status after it. `None` if Twilio would refuse, ignore or misread it.
fn parse_update(body: &str) -> Option<(&'static str, &'static str)> {
    let form: Vec<(String, String)> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    match form[..] {
        [("Status", "paused"), ("PauseBehavior", "skip" | "silence")] => Some(("pause", "paused")),
        [("Status", "in-progress")] => Some(("resume", "in-progress")),
        [("Status", "stopped")] => Some(("stop", "stopped")),
        _ => None,
    }
}

fn recording_response(code: StatusCode, account: &str, call: &str, sid: &str, status: &str) -> Response {
    let body = json!({
        "account_sid": account, "call_sid": call, "sid": sid, "status": status, "channels": 2,
        "source": "StartCallRecordingAPI", "uri": format!("/2010-04-01/Accounts/{account}/Calls/{call}/Recordings/{sid}.json"),
    });
    (code, Json(body)).into_response()
}

impl ScriptedTwilio {
    fn record_step(&self, step: &'static str, status: u16) {
        self.transcript.record(TranscriptEvent::RecordingRequested { step, status });
    }

    /// Whether the call is being recorded now.
    pub(super) fn is_recording(&self) -> bool {
        let call = self.call_sid();
        lock(&self.shared.state).recordings.iter().any(|it| it.call == call && it.status == "in-progress")
    }
}
