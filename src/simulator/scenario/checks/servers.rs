//! Checks of calls that go from one server to another.

use serde_json::Value;

use super::{ScenarioCheck, TranscriptChecks, format_times};
use crate::simulator::transcript::{TranscriptEntry, TranscriptEvent};

impl TranscriptChecks<'_> {
    /// Checks that the server handed the call over once: `end` with the reason code `moved`, and an action that connected it anew.
    pub(super) fn check_moved(&self) -> ScenarioCheck {
        let is_move = |data: &str| serde_json::from_str::<Value>(data).is_ok_and(|data| data["reasonCode"] == "moved");
        let (mut ends, mut asked) = (0, false);
        let mut connected = 0;
        for event in self.events() {
            match event {
                TranscriptEvent::EndFrame { handoff } => {
                    asked = handoff.as_deref().is_some_and(is_move);
                    ends += usize::from(asked);
                }
                TranscriptEvent::ActionAnswered { verbs, .. } if std::mem::take(&mut asked) => {
                    connected += usize::from(verbs.iter().any(|verb| verb.starts_with("Connect")));
                }
                _ => {}
            }
        }
        ScenarioCheck::ensure("the call is handed over to another server once", (ends, connected) == (1, 1), || {
            format!("`end` asked for it {}, and the action connected {}", format_times(ends), format_times(connected))
        })
    }

    /// Checks that a server that has lost a call asks nothing more of Twilio: once another one has asked, it is silent.
    pub(super) fn check_lost_calls_left_alone(&self) -> ScenarioCheck {
        let mut servers: Vec<(usize, &str)> = Vec::new();
        let mut stray = None;
        for TranscriptEntry { call_number, event, .. } in self.0 {
            let TranscriptEvent::PaymentsRequested { request, server: Some(server), .. } = event else { continue };
            let asks = (*call_number, server.as_str());
            match servers.iter().rposition(|known| *known == asks) {
                None => servers.push(asks),
                Some(at) if servers[at + 1..].iter().any(|(call, _)| call == call_number) => {
                    stray = Some(format!("{server} asked for “{request}” after another one had the call"));
                }
                Some(_) => {}
            }
        }
        ScenarioCheck::new("a server that has lost a call asks nothing more of Twilio", stray)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::simulator::twilio::PaymentsRequest;

    fn transcript_of(events: Vec<TranscriptEvent>) -> Vec<TranscriptEntry> {
        events.into_iter().map(|event| TranscriptEntry { at: Duration::ZERO, call_number: 1, event }).collect()
    }

    fn asked_by(server: &str) -> TranscriptEvent {
        TranscriptEvent::PaymentsRequested {
            request: PaymentsRequest::Create,
            status: 201,
            note: String::new(),
            server: Some(server.to_owned()),
        }
    }

    #[test]
    fn a_server_that_asks_for_a_call_that_it_has_lost_is_found() {
        for (servers, holds) in [("aa", true), ("aab", true), ("aba", false), ("abcb", false)] {
            let events = servers.split("").filter(|name| !name.is_empty()).map(asked_by).collect();
            let check = TranscriptChecks(&transcript_of(events)).check_lost_calls_left_alone();
            assert_eq!(check.failure.is_none(), holds, "{servers}");
        }
    }

    #[test]
    fn a_call_is_moved_by_its_end_and_the_action_after_it() {
        let end = |handoff: Option<&str>| TranscriptEvent::EndFrame { handoff: handoff.map(str::to_owned) };
        let answers = |verb: &str| TranscriptEvent::ActionAnswered {
            status: "ended".to_owned(),
            verbs: vec![verb.to_owned()],
            took: Duration::ZERO,
        };
        let moves = || end(Some(r#"{"reasonCode":"moved"}"#));
        for (events, holds) in [
            (vec![moves(), answers("Connect"), end(None), answers("Hangup")], true),
            (vec![moves(), answers("Hangup")], false),
            (vec![answers("Connect"), end(None), answers("Hangup")], false),
            (vec![end(Some("moved")), answers("Connect")], false),
            (vec![moves(), answers("Connect"), moves(), answers("Connect")], false),
        ] {
            let transcript = transcript_of(events);
            assert_eq!(TranscriptChecks(&transcript).check_moved().failure.is_none(), holds, "{transcript:?}");
        }
    }
}
