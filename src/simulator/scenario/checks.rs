//! Checks the transcript after the calls.

mod ledger;
mod recordings;
mod servers;

use std::collections::HashSet;

use serde_json::Value;

use super::{Expectation, Scenario};
use crate::simulator::leak_scan::{self, CapturedOutput};
use crate::simulator::relay::CALLER_NUMBER;
use crate::simulator::transcript::{TranscriptEntry, TranscriptEvent};
use crate::simulator::twilio::{PAYMENT_TOKEN, PaymentsRequest};

/// A check and its outcome.
#[derive(Debug, Clone)]
pub struct ScenarioCheck {
    /// The checked statement.
    pub statement: String,
    /// Why the check failed; `None` if it passed.
    pub failure: Option<String>,
}

impl ScenarioCheck {
    fn new(what: impl Into<String>, broken: Option<String>) -> Self {
        Self { statement: what.into(), failure: broken }
    }

    fn ensure(what: impl Into<String>, held: bool, otherwise: impl FnOnce() -> String) -> Self {
        Self::new(what, (!held).then(otherwise))
    }
}

/// Runs all checks of a scenario. `own_words` is whether a real model chose the words; texts are then not checked.
pub(crate) fn check_scenario(
    scenario: &Scenario,
    transcript: &[TranscriptEntry],
    evidence: &[CapturedOutput],
    entered: &[String],
    own_words: bool,
) -> Vec<ScenarioCheck> {
    let transcript = TranscriptChecks(transcript);
    let mut checks = vec![transcript.check_no_violations(), check_no_card_data(entered, evidence)];
    if transcript.any(|event| matches!(event, TranscriptEvent::PaymentCreated { .. })) {
        checks.push(transcript.check_no_open_payment());
        checks.push(transcript.check_success_after_result());
        checks.push(transcript.check_ledger_matches_bank(scenario));
        checks.push(transcript.check_no_double_charge(scenario));
        checks.push(transcript.check_business_notified());
        if scenario.has_peer() {
            checks.push(transcript.check_lost_calls_left_alone());
        }
    }
    checks.extend(transcript.check_announced());
    let tells = |expect: &&Expectation| {
        !own_words || !matches!(expect, Expectation::Says(_) | Expectation::NeverSays(_) | Expectation::ToolCalled(..))
    };
    checks.extend(scenario.expectations.iter().filter(tells).map(|expect| transcript.check_expectation(*expect)));
    checks
}

fn check_no_card_data(entered: &[String], evidence: &[CapturedOutput]) -> ScenarioCheck {
    let secrets: Vec<String> = entered.iter().cloned().chain([PAYMENT_TOKEN.to_owned()]).collect();
    let found = leak_scan::find_entered_card_data(evidence, &secrets);
    let bytes: usize = evidence.iter().map(|it| it.bytes.len()).sum();
    let what =
        format!("card data nowhere in the {} texts ({} kB) that the server sent", evidence.len(), bytes.div_ceil(1000));
    ScenarioCheck::new(what, found.first().cloned())
}

struct TranscriptChecks<'a>(&'a [TranscriptEntry]);

impl TranscriptChecks<'_> {
    fn events(&self) -> impl DoubleEndedIterator<Item = &TranscriptEvent> {
        self.0.iter().map(|entry| &entry.event)
    }

    fn any(&self, is: impl Fn(&TranscriptEvent) -> bool) -> bool {
        self.events().any(is)
    }

    fn count(&self, is: impl Fn(&TranscriptEvent) -> bool) -> usize {
        self.events().filter(|event| is(event)).count()
    }

    fn check_no_violations(&self) -> ScenarioCheck {
        let first = self.events().find_map(|event| match event {
            TranscriptEvent::Violation(what) => Some(what.clone()),
            _ => None,
        });
        let more = self.count(|event| matches!(event, TranscriptEvent::Violation(_))).saturating_sub(1);
        let first = first.map(|first| if more > 0 { format!("{first} (and {more} more)") } else { first });
        ScenarioCheck::new("every request, frame and answer as documented", first)
    }

    fn check_no_open_payment(&self) -> ScenarioCheck {
        let created = self.count(|event| matches!(event, TranscriptEvent::PaymentCreated { .. }));
        let ended = self.count(|event| matches!(event, TranscriptEvent::PaymentEnded { .. }));
        ScenarioCheck::ensure("no payment left open", created == ended, || format!("{created} created, {ended} ended"))
    }

    fn check_success_after_result(&self) -> ScenarioCheck {
        let mut succeeded = HashSet::new();
        let mut early = None;
        for TranscriptEntry { call_number: line, event, .. } in self.0 {
            match event {
                TranscriptEvent::CallbackDelivered { terminal: Some(word), .. } if word == "success" => {
                    succeeded.insert(line);
                }
                TranscriptEvent::AgentSaid { text, .. } if text.contains("All set") && !succeeded.contains(line) => {
                    early = Some(text.clone());
                }
                _ => {}
            }
        }
        ScenarioCheck::new(
            "success announced only after Twilio's result",
            early.map(|text| format!("“{text}” came too early")),
        )
    }

    fn has_agent_said(&self, words: &str) -> bool {
        self.any(|event| match event {
            TranscriptEvent::AgentSaid { text, .. } => words.split('|').any(|words| text.contains(words)),
            _ => false,
        })
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each expectation")]
    fn check_expectation(&self, expect: Expectation) -> ScenarioCheck {
        match expect {
            Expectation::Says(words) => {
                ScenarioCheck::ensure(format!("the agent says “{words}”"), self.has_agent_said(words), || {
                    "it did not".to_owned()
                })
            }
            Expectation::SaysOnce(_) | Expectation::VoicesSwitched(_) | Expectation::NeverSays(_) => {
                self.check_speech_expectation(expect)
            }
            Expectation::PaymentsCreated(wanted) => self.check_payments(wanted),
            Expectation::PaymentMethod(wanted) => {
                let how = self.events().find_map(|event| match event {
                    TranscriptEvent::PaymentCreated { how, .. } => Some(how.as_str()),
                    _ => None,
                });
                let held = how.is_some_and(|how| how.starts_with(wanted));
                ScenarioCheck::ensure(format!("paid by {wanted}"), held, || how.unwrap_or("nothing").to_owned())
            }
            Expectation::Results(words) => self.check_results(words),
            Expectation::RequestDone(request, times) => {
                let done = self.done_count(request);
                ScenarioCheck::ensure(format!("{request}: done {}", format_times(times)), done == times, || {
                    format!("done {}", format_times(done))
                })
            }
            Expectation::RequestRetried(request) => {
                let tried = self.count(
                    |event| matches!(event, TranscriptEvent::PaymentsRequested { request: it, .. } if *it == request),
                );
                ScenarioCheck::ensure(
                    format!("{request}: tried again with the same key"),
                    tried > 1 && self.done_count(request) == 1,
                    || format!("tried {}, done {}", format_times(tried), format_times(self.done_count(request))),
                )
            }
            Expectation::WrongEntries(times) => {
                let wrong = self.count(|event| matches!(event, TranscriptEvent::EntryCompleted { error: Some(_), .. }));
                ScenarioCheck::ensure(format!("{} wrong", format_entries(times)), wrong == times, || {
                    format!("{} wrong", format_entries(wrong))
                })
            }
            Expectation::ToolCalled(tool, times) => {
                let calls =
                    self.count(|event| matches!(event, TranscriptEvent::ToolCalled { name, .. } if name == tool));
                ScenarioCheck::ensure(format!("{tool} called {}", format_times(times)), calls == times, || {
                    format!("called {}", format_times(calls))
                })
            }
            Expectation::ToolRefused(tool, words) => self.check_tool_refused(tool, words),
            Expectation::ModelIdleDuringPayment => self.check_model_idle(),
            Expectation::ModelStopped => self.check_model_stopped(),
            Expectation::ModelSays(_) | Expectation::ModelSockets(_) | Expectation::ModelRequestsOverHttp(_) => {
                self.check_model_expectation(expect)
            }
            Expectation::NoReminderDuringPayment => self.check_no_reminder(),
            Expectation::SessionEnds(wanted) => {
                let status = self.events().rev().find_map(|event| match event {
                    TranscriptEvent::RelaySessionEnded { status } => Some(*status),
                    _ => None,
                });
                let status = status.unwrap_or("never begun");
                ScenarioCheck::ensure(format!("the session is {wanted}"), status == wanted, || {
                    format!("it is {status}")
                })
            }
            Expectation::Action(verb) => self.check_action(verb),
            Expectation::MessagesRequested(wanted) => self.check_messages(wanted),
            Expectation::DeveloperMessage(words) => {
                let told = self
                    .any(|event| matches!(event, TranscriptEvent::DeveloperMessage { text } if text.contains(words)));
                ScenarioCheck::ensure(format!("the model gets “{words}”"), told, || "it was not".to_owned())
            }
            Expectation::CallPlaced { inline } => self.check_call_placed(inline),
            Expectation::NewCallsRejected => self.check_new_calls_rejected(),
            Expectation::CallerQueued(words) => self.check_caller_queued(words),
            Expectation::ListensOnly(tool) => self.check_listens_only(tool),
            Expectation::Moved => self.check_moved(),
            Expectation::RecordingSteps(steps) => self.check_recording_steps(steps),
            Expectation::HandOff => ScenarioCheck::ensure("the call is handed off", self.has_hand_off(), || {
                "no hand-off data came".to_owned()
            }),
            Expectation::NoHandOff => {
                ScenarioCheck::ensure("the call is not handed off", !self.has_hand_off(), || "it was".to_owned())
            }
            _ => self.check_payment_expectation(expect),
        }
    }

    /// Checks what the agent said, and in which language.
    fn check_speech_expectation(&self, expect: Expectation) -> ScenarioCheck {
        match expect {
            Expectation::SaysOnce(words) => {
                let times = self
                    .count(|event| matches!(event, TranscriptEvent::AgentSaid { text, .. } if text.contains(words)));
                ScenarioCheck::ensure(format!("the agent says “{words}” once"), times == 1, || format_times(times))
            }
            Expectation::VoicesSwitched(languages) => {
                let voices: Vec<&str> = self
                    .events()
                    .filter_map(|event| match event {
                        TranscriptEvent::VoiceSwitched { language } => Some(language.as_str()),
                        _ => None,
                    })
                    .collect();
                ScenarioCheck::ensure(
                    format!("the agent's voice becomes {}", languages.join(", ")),
                    voices == languages,
                    || format!("it became {}", voices.join(", ")),
                )
            }
            Expectation::NeverSays(words) => ScenarioCheck::ensure(
                format!("the agent never says “{words}”"),
                !self.has_agent_said(words),
                || "it did".to_owned(),
            ),
            _ => self.check_payment_expectation(expect),
        }
    }

    fn check_payments(&self, wanted: &[Option<&str>]) -> ScenarioCheck {
        let made: Vec<Option<&str>> = self
            .events()
            .filter_map(|event| match event {
                TranscriptEvent::PaymentCreated { charge, .. } => Some(charge.as_deref()),
                _ => None,
            })
            .collect();
        ScenarioCheck::ensure(format!("payments: {}", format_amounts(wanted)), made == wanted, || format_amounts(&made))
    }

    /// Checks the text messages that Twilio was asked for.
    fn check_messages(&self, wanted: &[&str]) -> ScenarioCheck {
        let asked = self.events().filter_map(|event| match event {
            TranscriptEvent::MessageRequested { to, text, .. } => Some((to.as_str(), text.as_str())),
            _ => None,
        });
        let asked: Vec<(&str, &str)> = asked.collect();
        let fits = asked.len() == wanted.len()
            && asked.iter().zip(wanted).all(|((to, text), words)| *to == CALLER_NUMBER && text.contains(words));
        ScenarioCheck::ensure(format!("text messages to the caller: {wanted:?}"), fits, || format!("{asked:?}"))
    }

    fn check_results(&self, wanted: &[&str]) -> ScenarioCheck {
        let results: Vec<&str> = self
            .events()
            .filter_map(|event| match event {
                TranscriptEvent::PaymentEnded { result, .. } | TranscriptEvent::ResultRepeated { result } => {
                    Some(result.as_str())
                }
                _ => None,
            })
            .collect();
        let what = format!("results: {}", if wanted.is_empty() { "none".to_owned() } else { wanted.join(", ") });
        ScenarioCheck::ensure(what, results == wanted, || results.join(", "))
    }

    /// The number of requests that Twilio processed, not counting repetitions.
    fn done_count(&self, request: PaymentsRequest) -> usize {
        self.count(|event| match event {
            TranscriptEvent::PaymentsRequested { request: it, status, note, .. } => {
                *it == request
                    && (note.starts_with("done") || (matches!(status, 201 | 202) && !note.starts_with("again")))
            }
            _ => false,
        })
    }

    fn has_hand_off(&self) -> bool {
        self.any(|event| matches!(event, TranscriptEvent::EndFrame { handoff: Some(_) }))
    }

    fn check_action(&self, verb: &str) -> ScenarioCheck {
        let verbs: Vec<&str> = self
            .events()
            .filter_map(|event| match event {
                TranscriptEvent::ActionAnswered { verbs, .. } => Some(verbs.iter().map(String::as_str)),
                _ => None,
            })
            .flatten()
            .collect();
        ScenarioCheck::ensure(format!("the action answers {verb}"), verbs.iter().any(|it| it.starts_with(verb)), || {
            verbs.join(", ")
        })
    }

    fn check_call_placed(&self, inline: bool) -> ScenarioCheck {
        let placed: Vec<bool> = self
            .events()
            .filter_map(|event| match event {
                TranscriptEvent::CallPlaced { inline } => Some(*inline),
                _ => None,
            })
            .collect();
        let what = if inline { "one call placed, with its TwiML" } else { "one call placed, with a URL for its TwiML" };
        ScenarioCheck::ensure(what, placed == [inline], || format!("{} placed, inline: {placed:?}", placed.len()))
    }

    fn check_new_calls_rejected(&self) -> ScenarioCheck {
        let answers = self.events().find_map(|event| match event {
            TranscriptEvent::DrainStarted { ready, voice, order } => Some((*ready, *voice, *order)),
            _ => None,
        });
        let what = "while it drains, /ready, a new call and an order to call are answered 503";
        ScenarioCheck::ensure(what, answers == Some((503, 503, 503)), || format!("answered {answers:?}"))
    }

    fn check_caller_queued(&self, words: &str) -> ScenarioCheck {
        let task = self.events().find_map(|event| match event {
            TranscriptEvent::CallerQueued { task, .. } => Some(task.as_str()),
            _ => None,
        });
        let summary = task.and_then(|task| serde_json::from_str::<Value>(task).ok());
        let carried = summary.as_ref().and_then(|task| task["conversationSummary"].as_str());
        let held = carried.is_some_and(|summary| summary.contains(words));
        let what = format!("the caller is queued, and the task's summary says “{words}”");
        ScenarioCheck::ensure(what, held, || task.unwrap_or("no caller was queued").to_owned())
    }

    fn check_listens_only(&self, tool: &str) -> ScenarioCheck {
        let (mut is_to, mut listening, mut aloud) = (false, false, None);
        let (mut words, mut called) = (false, false);
        for event in self.events() {
            match event {
                TranscriptEvent::ToolReturned { name, output } if name == "set-listen-mode" => {
                    is_to = output.contains("only listen");
                    listening &= is_to;
                }
                // Speech that was in progress when the tool was called is still heard.
                TranscriptEvent::CallerSaid { .. } => listening = is_to,
                TranscriptEvent::AgentSaid { text, .. } if listening => aloud = Some(text.clone()),
                TranscriptEvent::ModelSaid { .. } => words |= listening,
                TranscriptEvent::ToolCalled { name, .. } => called |= listening && name == tool,
                _ => {}
            }
        }
        let broken = match aloud {
            Some(text) => Some(format!("“{text}” was heard")),
            None if !words => Some("the model said nothing that could have been heard".to_owned()),
            None if !called => Some(format!("{tool} was not called")),
            None => None,
        };
        ScenarioCheck::new(format!("while it only listens nothing is said, and {tool} is called"), broken)
    }

    fn check_tool_refused(&self, tool: &str, words: &str) -> ScenarioCheck {
        let is_refusal = |output: &str| output.contains(r#""success":false"#) && output.contains(words);
        let is_refused = self.any(
            |event| matches!(event, TranscriptEvent::ToolReturned { name, output } if name == tool && is_refusal(output)),
        );
        ScenarioCheck::ensure(format!("{tool} is refused: “{words}”"), is_refused, || "it was not".to_owned())
    }

    fn check_model_stopped(&self) -> ScenarioCheck {
        let stopped = self.any(|event| matches!(event, TranscriptEvent::ModelStopped));
        let what = "the model is stopped when the caller speaks over it";
        ScenarioCheck::ensure(what, stopped, || "every response ran to its end".to_owned())
    }

    /// Checks what the model said, and over which transport.
    fn check_model_expectation(&self, expect: Expectation) -> ScenarioCheck {
        match expect {
            Expectation::ModelSays(words) => {
                let said =
                    self.any(|event| matches!(event, TranscriptEvent::ModelSaid { text } if text.contains(words)));
                ScenarioCheck::ensure(format!("the model completes “{words}”"), said, || "it did not".to_owned())
            }
            Expectation::ModelSockets(wanted) => {
                let opened = self.count(|event| matches!(event, TranscriptEvent::ModelSocketOpened));
                let what = format!("WebSockets to the model: {wanted}");
                ScenarioCheck::ensure(what, opened == wanted, || opened.to_string())
            }
            Expectation::ModelRequestsOverHttp(wanted) => {
                let is_over_http = |event: &_| matches!(event, TranscriptEvent::ModelRequested { over_socket: false });
                let requests = self.count(is_over_http);
                let what = format!("requests to the model over HTTP: {wanted}");
                ScenarioCheck::ensure(what, requests == wanted, || requests.to_string())
            }
            _ => self.check_payment_expectation(expect),
        }
    }

    fn check_model_idle(&self) -> ScenarioCheck {
        let mut open = false;
        let mut asked = 0;
        for event in self.events() {
            match event {
                TranscriptEvent::PaymentCreated { .. } => open = true,
                TranscriptEvent::PaymentEnded { .. } => open = false,
                TranscriptEvent::ModelRequested { .. } if open => asked += 1,
                _ => {}
            }
        }
        ScenarioCheck::ensure("the model is not needed while a payment is open", asked == 0, || {
            format!("asked {}", format_times(asked))
        })
    }

    fn check_no_reminder(&self) -> ScenarioCheck {
        let model: String = self
            .events()
            .filter_map(|event| match event {
                TranscriptEvent::ModelSaid { text } => Some(text.as_str()),
                _ => None,
            })
            .collect();
        let mut open = false;
        let mut reminder = None;
        for event in self.events() {
            match event {
                TranscriptEvent::PaymentCreated { .. } => open = true,
                TranscriptEvent::PaymentEnded { .. } => open = false,
                TranscriptEvent::AgentSaid { text, .. } if open && !model.contains(text.trim()) => {
                    reminder = Some(text.clone());
                }
                _ => {}
            }
        }
        ScenarioCheck::new("no reminder while a payment is open", reminder.map(|text| format!("“{text}”")))
    }
}

/// Formats a list of charges.
fn format_amounts(list: &[Option<&str>]) -> String {
    let words: Vec<String> =
        list.iter().map(|it| it.map_or("store a card".to_owned(), |amount| format!("charge {amount}"))).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

fn format_times(times: usize) -> String {
    match times {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        _ => format!("{times} times"),
    }
}

fn format_entries(times: usize) -> String {
    if times == 1 { "1 entry".to_owned() } else { format!("{times} entries") }
}
