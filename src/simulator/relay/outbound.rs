//! A call that an operator has placed: the order, the ringing, the TwiML, and what Twilio reports of it all.

use std::time::Duration;

use serde_json::{Value, json};
use url::Url;

use super::twiml::{Connect, Twiml};
use super::{CALLED, Relay};
use crate::simulator::operator;
use crate::simulator::tape::Event;
use crate::simulator::twilio::{Document, Placed};

/// The steps of a call, each with the event that asks for it, its sequence number and Twilio's word for it.
const INITIATED: Step = Step { event: "initiated", sequence: 0, status: "initiated" };
const RINGING: Step = Step { event: "ringing", sequence: 1, status: "ringing" };
const ANSWERED: Step = Step { event: "answered", sequence: 2, status: "in-progress" };
const COMPLETED: Step = Step { event: "completed", sequence: 3, status: "completed" };

#[derive(Debug, Clone, Copy)]
struct Step {
    event: &'static str,
    sequence: u32,
    status: &'static str,
}

impl Relay {
    /// An operator has the caller called, who answers. The order is sent twice: only one call may come of it.
    pub(super) async fn order(&self, properties: Value) -> Result<(Placed, Connect), String> {
        let mut properties = properties;
        properties["phoneNumber"] = json!(self.person);
        let order = json!({"properties": properties});
        let server = self.webhooks.server();
        let (status, placed) = operator::order(server, "/outboundCall", &order).await?;
        if status != 201 || placed["callSid"] != json!(self.twilio.call()) {
            return Err(format!("the order to call was answered {status} {placed}"));
        }
        let (status, _) = operator::order(server, "/outboundCall", &order).await?;
        if status != 409 {
            self.tape.violation(format!("the same order, sent again, was answered {status}, not 409"));
        }
        let placed = self.twilio.placed().ok_or("Twilio was not asked to place a call")?;
        if (placed.to.as_str(), placed.from.as_str()) != (self.person, CALLED) {
            self.tape.violation("a call was placed to or from another number");
        }
        // The second overtakes the first.
        self.report(&placed, RINGING, 1).await;
        self.report(&placed, INITIATED, 1).await;
        self.pace.pass(Duration::from_secs(4)).await;
        let connect = self.answered(&placed.document).await?;
        self.report(&placed, ANSWERED, 2).await;
        Ok((placed, connect))
    }

    /// Somebody answers: now the TwiML counts.
    async fn answered(&self, document: &Document) -> Result<Connect, String> {
        let twiml = match document {
            Document::Inline(twiml) => Twiml::read(twiml).map_err(|wrong| format!("the TwiML of a call: {wrong}"))?,
            Document::At(url) => self.fetch(url).await?,
        };
        twiml.connect().ok_or("the TwiML of a call has no <Connect>")?
    }

    /// Asks for the TwiML, which can be had once.
    async fn fetch(&self, url: &Url) -> Result<Twiml, String> {
        let form = self.form("in-progress", &[]);
        let answer = self.webhooks.post(url, &form, "twiml").await;
        let twiml = self.read("the URL of a call's TwiML", &answer)?;
        let again = self.webhooks.post(url, &form, "twiml again").await;
        if again.status != 404 {
            self.tape.violation(format!("the TwiML of a call could be had twice: {}", again.status));
        }
        Ok(twiml)
    }

    /// The call is over. Twilio tells so twice.
    pub(super) async fn completed(&self, placed: &Placed) {
        self.report(placed, COMPLETED, 2).await;
    }

    /// Reports a step, if it was asked for, so many times with the same token.
    async fn report(&self, placed: &Placed, step: Step, times: u32) {
        if !placed.events.iter().any(|event| event == step.event) {
            return;
        }
        let more = [
            ("CallbackSource", "call-progress-events".to_owned()),
            ("SequenceNumber", step.sequence.to_string()),
            ("Timestamp", "Sun, 30 Aug 2026 10:00:00 +0000".to_owned()),
        ];
        let form = self.form(step.status, &more);
        for _ in 0..times {
            let answer = self.webhooks.post(&placed.status_callback, &form, &format!("step-{}", step.sequence)).await;
            self.tape.write(Event::Progress { status: step.status });
            if answer.status != 204 {
                self.tape.violation(format!("the call's status {} was answered {}", step.status, answer.status));
            }
        }
    }
}
