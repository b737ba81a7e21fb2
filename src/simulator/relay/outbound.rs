//! Simulates an outbound call: the operator's request, the ringing, the TwiML and the status callbacks.

use std::time::Duration;

use serde_json::{Value, json};
use url::Url;

use super::twiml::{ConnectVerb, TwimlDocument};
use super::{SERVER_NUMBER, ScriptedRelay};
use crate::simulator::operator;
use crate::simulator::transcript::TranscriptEvent;
use crate::simulator::twilio::{PlacedCall, PlacedCallTwiml};

/// The steps of a call: `StatusCallbackEvent`, `SequenceNumber` and `CallStatus`.
const INITIATED: CallProgressStep = CallProgressStep { event: "initiated", sequence: 0, status: "initiated" };
const RINGING: CallProgressStep = CallProgressStep { event: "ringing", sequence: 1, status: "ringing" };
const ANSWERED: CallProgressStep = CallProgressStep { event: "answered", sequence: 2, status: "in-progress" };
const COMPLETED: CallProgressStep = CallProgressStep { event: "completed", sequence: 3, status: "completed" };

#[derive(Debug, Clone, Copy)]
struct CallProgressStep {
    event: &'static str,
    sequence: u32,
    status: &'static str,
}

impl ScriptedRelay {
    /// Requests a call as an operator, and answers it. The request is sent twice; only one call may be placed.
    pub(super) async fn place_call(&self, properties: Value) -> Result<(PlacedCall, Option<ConnectVerb>), String> {
        let mut properties = properties;
        properties["phoneNumber"] = json!(self.caller_number);
        let order = json!({"properties": properties});
        let server = self.webhooks.proxy();
        let (status, placed) = operator::post_order(server, "/outboundCall", &order).await?;
        if status != 201 || placed["callSid"] != json!(self.twilio.call_sid()) {
            return Err(format!("the order to call was answered {status} {placed}"));
        }
        let (status, _) = operator::post_order(server, "/outboundCall", &order).await?;
        if status != 409 {
            self.transcript.record_violation(format!("the same order, sent again, was answered {status}, not 409"));
        }
        let placed = self.twilio.take_placed_call().ok_or("Twilio was not asked to place a call")?;
        if (placed.to.as_str(), placed.from.as_str()) != (self.caller_number, SERVER_NUMBER) {
            self.transcript.record_violation("a call was placed to or from another number");
        }
        // The second status overtakes the first.
        self.report_progress(&placed, RINGING, 1).await;
        self.report_progress(&placed, INITIATED, 1).await;
        self.pace.sleep(Duration::from_secs(4)).await;
        if placed.ring_timeout.is_none() || placed.time_limit.is_none() {
            self.transcript.record_violation("a call was placed that may ring or last for as long as Twilio lets it");
        }
        let connect = self.answer_call(&placed).await?;
        self.report_progress(&placed, ANSWERED, 2).await;
        Ok((placed, connect))
    }

    /// Answers the call and runs its TwiML.
    async fn answer_call(&self, placed: &PlacedCall) -> Result<Option<ConnectVerb>, String> {
        let twiml = match &placed.twiml {
            PlacedCallTwiml::Inline(twiml) => {
                TwimlDocument::parse(twiml).map_err(|wrong| format!("the TwiML of a call: {wrong}"))?
            }
            PlacedCallTwiml::Url(url) => self.fetch_twiml(url, placed.machine_detection.is_some()).await?,
        };
        self.hear_or_connect(&twiml)
    }

    /// Requests the TwiML, which the server may serve once. If it was to be detected, Twilio says who answered.
    async fn fetch_twiml(&self, url: &Url, is_detected: bool) -> Result<TwimlDocument, String> {
        let answered_by = [("AnsweredBy", self.twilio.answered_by().to_owned())];
        let form = self.voice_form("in-progress", if is_detected { &answered_by } else { &[] });
        let answer = self.webhooks.post(url, &form, "twiml").await;
        let twiml = self.read_twiml("the URL of a call's TwiML", &answer)?;
        let again = self.webhooks.post(url, &form, "twiml again").await;
        if again.status != 404 {
            self.transcript.record_violation(format!("the TwiML of a call was served twice: {}", again.status));
        }
        Ok(twiml)
    }

    /// Reports the end of the call, twice.
    pub(super) async fn report_completed(&self, placed: &PlacedCall) {
        self.report_progress(placed, COMPLETED, 2).await;
    }

    /// Reports a step the given number of times with the same token, if it was subscribed.
    async fn report_progress(&self, placed: &PlacedCall, step: CallProgressStep, times: u32) {
        if !placed.events.iter().any(|event| event == step.event) {
            return;
        }
        let more = [
            ("CallbackSource", "call-progress-events".to_owned()),
            ("SequenceNumber", step.sequence.to_string()),
            ("Timestamp", "Sun, 30 Aug 2026 10:00:00 +0000".to_owned()),
        ];
        let form = self.voice_form(step.status, &more);
        for _ in 0..times {
            let answer = self.webhooks.post(&placed.status_callback, &form, &format!("step-{}", step.sequence)).await;
            self.transcript.record(TranscriptEvent::CallProgress { status: step.status });
            if answer.status != 204 {
                self.transcript
                    .record_violation(format!("the call's status {} was answered {}", step.status, answer.status));
            }
        }
    }
}
