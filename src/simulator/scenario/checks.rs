//! Reads the tape when a call is over: what held, and what did not.

mod money;

use std::collections::HashSet;

use serde_json::Value;

use super::{Expect, Scenario};
use crate::simulator::prying;
use crate::simulator::prying::Evidence;
use crate::simulator::tape::{Entry, Event};
use crate::simulator::twilio::Request;

/// One thing that had to hold.
#[derive(Debug, Clone)]
pub struct Check {
    /// What it is, as a statement.
    pub what: String,
    /// Why it did not hold.
    pub broken: Option<String>,
}

impl Check {
    fn new(what: impl Into<String>, broken: Option<String>) -> Self {
        Self { what: what.into(), broken }
    }

    fn that(what: impl Into<String>, held: bool, otherwise: impl FnOnce() -> String) -> Self {
        Self::new(what, (!held).then(otherwise))
    }
}

/// All that had to hold in a call. `own_words` is whether the agent had words of its own, so that texts prove nothing.
pub fn check(
    scenario: &Scenario,
    tape: &[Entry],
    evidence: &[Evidence],
    entered: &[String],
    own_words: bool,
) -> Vec<Check> {
    let tape = Tape(tape);
    let mut checks = vec![tape.by_the_rules(), card_data_nowhere(entered, evidence)];
    if tape.any(|event| matches!(event, Event::Created { .. })) {
        checks.push(tape.nothing_left_open());
        checks.push(tape.success_only_after_result());
        checks.push(tape.ledger_agrees_with_bank(scenario));
        checks.push(tape.no_order_is_charged_twice(scenario));
        checks.push(tape.business_knows());
    }
    let tells =
        |expect: &&Expect| !own_words || !matches!(expect, Expect::Says(_) | Expect::NeverSays(_) | Expect::Calls(..));
    checks.extend(scenario.expect.iter().filter(tells).map(|expect| tape.expect(*expect)));
    checks
}

fn card_data_nowhere(entered: &[String], evidence: &[Evidence]) -> Check {
    let found = prying::pry(evidence, entered);
    let bytes: usize = evidence.iter().map(|it| it.bytes.len()).sum();
    let what =
        format!("card data nowhere in the {} texts ({} kB) that the server sent", evidence.len(), bytes.div_ceil(1000));
    Check::new(what, found.first().cloned())
}

struct Tape<'a>(&'a [Entry]);

impl Tape<'_> {
    fn events(&self) -> impl DoubleEndedIterator<Item = &Event> {
        self.0.iter().map(|entry| &entry.event)
    }

    fn any(&self, is: impl Fn(&Event) -> bool) -> bool {
        self.events().any(is)
    }

    fn count(&self, is: impl Fn(&Event) -> bool) -> usize {
        self.events().filter(|event| is(event)).count()
    }

    fn by_the_rules(&self) -> Check {
        let first = self.events().find_map(|event| match event {
            Event::Violation(what) => Some(what.clone()),
            _ => None,
        });
        let more = self.count(|event| matches!(event, Event::Violation(_))).saturating_sub(1);
        let first = first.map(|first| if more > 0 { format!("{first} (and {more} more)") } else { first });
        Check::new("every request, frame and answer as documented", first)
    }

    fn nothing_left_open(&self) -> Check {
        let created = self.count(|event| matches!(event, Event::Created { .. }));
        let ended = self.count(|event| matches!(event, Event::Ended { .. }));
        Check::that("no payment left open", created == ended, || format!("{created} created, {ended} ended"))
    }

    fn success_only_after_result(&self) -> Check {
        let mut succeeded = HashSet::new();
        let mut early = None;
        for Entry { line, event, .. } in self.0 {
            match event {
                Event::Callback { terminal: Some(word), .. } if word == "success" => drop(succeeded.insert(line)),
                Event::AgentSaid { text, .. } if text.contains("All set") && !succeeded.contains(line) => {
                    early = Some(text.clone());
                }
                _ => {}
            }
        }
        Check::new("success announced only after Twilio's result", early.map(|text| format!("“{text}” came too early")))
    }

    fn said(&self, words: &str) -> bool {
        self.any(|event| match event {
            Event::AgentSaid { text, .. } => words.split('|').any(|words| text.contains(words)),
            _ => false,
        })
    }

    fn expect(&self, expect: Expect) -> Check {
        match expect {
            Expect::Says(words) => {
                Check::that(format!("the agent says “{words}”"), self.said(words), || "it never did".to_owned())
            }
            Expect::NeverSays(words) => {
                Check::that(format!("the agent never says “{words}”"), !self.said(words), || "it did".to_owned())
            }
            Expect::Payments(wanted) => self.payments(wanted),
            Expect::PaysBy(wanted) => {
                let how = self.events().find_map(|event| match event {
                    Event::Created { how, .. } => Some(how.as_str()),
                    _ => None,
                });
                let held = how.is_some_and(|how| how.starts_with(wanted));
                Check::that(format!("paid by {wanted}"), held, || how.unwrap_or("nothing").to_owned())
            }
            Expect::Results(words) => self.results(words),
            Expect::Does(request, times) => {
                let done = self.done(request);
                Check::that(format!("{request}: done {}", often(times)), done == times, || {
                    format!("done {}", often(done))
                })
            }
            Expect::Repeats(request) => {
                let tried = self.count(|event| matches!(event, Event::Requested { request: it, .. } if *it == request));
                Check::that(
                    format!("{request}: tried again with the same key"),
                    tried > 1 && self.done(request) == 1,
                    || format!("tried {}, done {}", often(tried), often(self.done(request))),
                )
            }
            Expect::WrongEntries(times) => {
                let wrong = self.count(|event| matches!(event, Event::Entered { error: Some(_), .. }));
                Check::that(format!("{} wrong", entries(times)), wrong == times, || format!("{} wrong", entries(wrong)))
            }
            Expect::Calls(tool, times) => {
                let calls = self.count(|event| matches!(event, Event::ToolCalled { name, .. } if name == tool));
                Check::that(format!("{tool} called {}", often(times)), calls == times, || {
                    format!("called {}", often(calls))
                })
            }
            Expect::ModelRests => self.model_rests(),
            Expect::StopsTheModel => self.stops_the_model(),
            Expect::NoReminderDuringPayment => self.no_reminder_during_payment(),
            Expect::SessionEnds(wanted) => {
                let status = self.events().rev().find_map(|event| match event {
                    Event::SessionEnded { status } => Some(*status),
                    _ => None,
                });
                let status = status.unwrap_or("never begun");
                Check::that(format!("the session is {wanted}"), status == wanted, || format!("it is {status}"))
            }
            Expect::Action(verb) => self.action(verb),
            Expect::Tells(words) => {
                let told = self.any(|event| matches!(event, Event::Update { text } if text.contains(words)));
                Check::that(format!("the model is told “{words}”"), told, || "it was not".to_owned())
            }
            Expect::PlacesCall { inline } => self.places_call(inline),
            Expect::TurnsCallsAway => self.turns_calls_away(),
            Expect::Queues(words) => self.queues(words),
            Expect::OnlyListens(tool) => self.only_listens(tool),
            Expect::HandsOff => {
                Check::that("the call is handed off", self.handoff(), || "no hand-off data came".to_owned())
            }
            Expect::NoHandOff => Check::that("the call is not handed off", !self.handoff(), || "it was".to_owned()),
            _ => self.expect_of_money(expect),
        }
    }

    fn payments(&self, wanted: &[Option<&str>]) -> Check {
        let made: Vec<Option<&str>> = self
            .events()
            .filter_map(|event| match event {
                Event::Created { charge, .. } => Some(charge.as_deref()),
                _ => None,
            })
            .collect();
        Check::that(format!("payments: {}", amounts(wanted)), made == wanted, || amounts(&made))
    }

    fn results(&self, wanted: &[&str]) -> Check {
        let results: Vec<&str> = self
            .events()
            .filter_map(|event| match event {
                Event::Ended { result, .. } | Event::EndedAgain { result } => Some(result.as_str()),
                _ => None,
            })
            .collect();
        let what = format!("results: {}", if wanted.is_empty() { "none".to_owned() } else { wanted.join(", ") });
        Check::that(what, results == wanted, || results.join(", "))
    }

    /// How often Twilio did what it was asked for: accepted, and not as a replay.
    fn done(&self, request: Request) -> usize {
        self.count(|event| match event {
            Event::Requested { request: it, status, note } => {
                *it == request
                    && (note.starts_with("done") || (matches!(status, 201 | 202) && !note.starts_with("again")))
            }
            _ => false,
        })
    }

    fn handoff(&self) -> bool {
        self.any(|event| matches!(event, Event::EndFrame { handoff: Some(_) }))
    }

    fn action(&self, verb: &str) -> Check {
        let verbs: Vec<&str> = self
            .events()
            .filter_map(|event| match event {
                Event::Action { verbs, .. } => Some(verbs.iter().map(String::as_str)),
                _ => None,
            })
            .flatten()
            .collect();
        Check::that(format!("the action answers {verb}"), verbs.iter().any(|it| it.starts_with(verb)), || {
            verbs.join(", ")
        })
    }

    fn places_call(&self, inline: bool) -> Check {
        let placed: Vec<bool> = self
            .events()
            .filter_map(|event| match event {
                Event::Placed { inline } => Some(*inline),
                _ => None,
            })
            .collect();
        let what = if inline { "one call placed, with its TwiML" } else { "one call placed, with a URL for its TwiML" };
        Check::that(what, placed == [inline], || format!("{} placed, inline: {placed:?}", placed.len()))
    }

    fn turns_calls_away(&self) -> Check {
        let answers = self.events().find_map(|event| match event {
            Event::ToldToStop { ready, voice, order } => Some((*ready, *voice, *order)),
            _ => None,
        });
        let what = "while it drains, /ready, a new call and an order to call are answered 503";
        Check::that(what, answers == Some((503, 503, 503)), || format!("answered {answers:?}"))
    }

    fn queues(&self, words: &str) -> Check {
        let task = self.events().find_map(|event| match event {
            Event::Queued { task, .. } => Some(task.as_str()),
            _ => None,
        });
        let summary = task.and_then(|task| serde_json::from_str::<Value>(task).ok());
        let carried = summary.as_ref().and_then(|task| task["conversationSummary"].as_str());
        let held = carried.is_some_and(|summary| summary.contains(words));
        let what = format!("the caller is queued, and the task's summary says “{words}”");
        Check::that(what, held, || task.unwrap_or("nobody was queued").to_owned())
    }

    fn only_listens(&self, tool: &str) -> Check {
        let (mut is_to, mut listening, mut aloud) = (false, false, None);
        let (mut words, mut called) = (false, false);
        for event in self.events() {
            match event {
                Event::ToolAnswered { name, output } if name == "set-listen-mode" => {
                    is_to = output.contains("only listen");
                    listening &= is_to;
                }
                // What was on its way when the tool was called is still heard; the caller lets it finish.
                Event::CallerSaid { .. } => listening = is_to,
                Event::AgentSaid { text, .. } if listening => aloud = Some(text.clone()),
                Event::ModelSaid { .. } => words |= listening,
                Event::ToolCalled { name, .. } => called |= listening && name == tool,
                _ => {}
            }
        }
        let broken = match aloud {
            Some(text) => Some(format!("“{text}” was heard")),
            None if !words => Some("the model said nothing that could have been heard".to_owned()),
            None if !called => Some(format!("{tool} was not called")),
            None => None,
        };
        Check::new(format!("while it only listens nothing is said, and {tool} is called"), broken)
    }

    fn stops_the_model(&self) -> Check {
        let stopped = self.any(|event| matches!(event, Event::StoppedModel));
        let what = "the model is stopped when the caller speaks over it";
        Check::that(what, stopped, || "every response ran to its end".to_owned())
    }

    fn model_rests(&self) -> Check {
        let mut open = false;
        let mut asked = 0;
        for event in self.events() {
            match event {
                Event::Created { .. } => open = true,
                Event::Ended { .. } => open = false,
                Event::Asked if open => asked += 1,
                _ => {}
            }
        }
        Check::that("the model is not needed while a payment is open", asked == 0, || format!("asked {}", often(asked)))
    }

    fn no_reminder_during_payment(&self) -> Check {
        let model: String = self
            .events()
            .filter_map(|event| match event {
                Event::ModelSaid { text } => Some(text.as_str()),
                _ => None,
            })
            .collect();
        let mut open = false;
        let mut reminder = None;
        for event in self.events() {
            match event {
                Event::Created { .. } => open = true,
                Event::Ended { .. } => open = false,
                Event::AgentSaid { text, .. } if open && !model.contains(text.trim()) => reminder = Some(text.clone()),
                _ => {}
            }
        }
        Check::new("no reminder while a payment is open", reminder.map(|text| format!("“{text}”")))
    }
}

/// What was to be charged, or was.
fn amounts(list: &[Option<&str>]) -> String {
    let words: Vec<String> =
        list.iter().map(|it| it.map_or("store a card".to_owned(), |amount| format!("charge {amount}"))).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

fn often(times: usize) -> String {
    match times {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        _ => format!("{times} times"),
    }
}

fn entries(times: usize) -> String {
    if times == 1 { "1 entry".to_owned() } else { format!("{times} entries") }
}
