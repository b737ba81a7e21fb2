//! What the terminal shows: the call line by line as it happens, and in the end what held and what did not.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use super::Outcome;
use super::pace::Pace;
use super::scenario::{Check, Scenario};
use super::tape::{Entry, Event};

/// Whether to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    /// On a terminal that has not asked for none.
    On,
    /// Plain text.
    Off,
}

#[derive(Debug, Clone, Copy)]
enum Ink {
    Plain,
    Dim,
    Bold,
    Caller,
    Agent,
    Good,
    Bad,
}

impl Colours {
    fn paint(self, ink: Ink, text: &str) -> String {
        let code = match ink {
            Ink::Plain => return text.to_owned(),
            Ink::Dim => "2",
            Ink::Bold => "1",
            Ink::Caller => "36",
            Ink::Agent => "33",
            Ink::Good => "32",
            Ink::Bad => "1;31",
        };
        if self == Self::On { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// How wide a line may be.
const WIDTH: usize = 100;
/// Where the text of a line begins.
const MARGIN: usize = 18;

/// What stands above a call.
pub fn headline(scenario: &Scenario, pace: Pace, colours: Colours) -> String {
    let name = colours.paint(Ink::Bold, scenario.name);
    let clock = colours.paint(Ink::Dim, &format!("Milliseconds are real; on the phone, time passes {pace} as fast."));
    format!("\n{name}  {}\n{clock}\n", scenario.about)
}

/// An entry of the tape as lines, if it is worth showing.
pub fn line(entry: &Entry, colours: Colours) -> Option<String> {
    let (who, ink, text) = told(&entry.event)?;
    let time = colours.paint(Ink::Dim, &format!("{:>7}", entry.at.as_millis()));
    let name_ink = if matches!(who, "Caller" | "Agent") || matches!(ink, Ink::Bad) { ink } else { Ink::Dim };
    let who = if entry.line == 1 { who.to_owned() } else { format!("{who} {}", entry.line) };
    let name = colours.paint(name_ink, &format!("{who:<8}"));
    let mut lines = String::new();
    for (at, part) in wrap(&text, WIDTH - MARGIN).iter().enumerate() {
        let text_ink = if matches!(ink, Ink::Caller | Ink::Agent) { Ink::Plain } else { ink };
        let part = colours.paint(text_ink, part);
        if at == 0 {
            let _ = write!(lines, "{time}  {name} {part}");
        } else {
            let _ = write!(lines, "\n{:MARGIN$}{part}", "");
        }
    }
    Some(lines)
}

/// Who does what.
fn told(event: &Event) -> Option<(&'static str, Ink, String)> {
    Some(match event {
        Event::Called { answer, took } => ("Twilio", Ink::Dim, format!("a call comes in → {answer}  {}", ms(*took))),
        Event::AskedBusiness { knows } => ("business", Ink::Dim, format!("is asked about the call → {knows}")),
        Event::Connected => ("Twilio", Ink::Dim, "ConversationRelay is connected".to_owned()),
        Event::CallerSaid { text, over } => ("Caller", Ink::Caller, format!("{}{text}", if *over { "— " } else { "" })),
        Event::AgentSaid { text, cut } => {
            ("Agent", Ink::Agent, format!("{}{}", text.trim(), if *cut { " —" } else { "" }))
        }
        Event::Keys { dots, what } => ("Caller", Ink::Caller, format!("{dots}   ({what}, on the keypad)")),
        Event::Placed { inline } => {
            let how = if *inline { "with its TwiML" } else { "with a URL for its TwiML" };
            ("Twilio", Ink::Dim, format!("is asked to place a call, {how}"))
        }
        Event::Progress { status } => ("Twilio", Ink::Dim, format!("reports: the call is {status}")),
        Event::ToldToStop { ready, voice, order } => {
            let answers = format!("/ready → {ready}, another call → {voice}, an order to call → {order}");
            ("server", Ink::Dim, format!("is told to stop: {answers}"))
        }
        Event::Queued { workflow, .. } => ("Twilio", Ink::Dim, format!("queues the caller for {workflow}")),
        Event::HungUp => ("Caller", Ink::Caller, "hangs up".to_owned()),
        Event::Dropped => ("Twilio", Ink::Dim, "the socket breaks".to_owned()),
        Event::EndFrame { handoff: None } => ("server", Ink::Dim, "end".to_owned()),
        Event::EndFrame { handoff: Some(data) } => ("server", Ink::Dim, format!("end, with {data}")),
        Event::Action { status, verbs, took } => {
            let verbs = if verbs.is_empty() { "nothing".to_owned() } else { verbs.join(", ") };
            ("Twilio", Ink::Dim, format!("the session is {status} → {verbs}  {}", ms(*took)))
        }
        Event::StoppedModel => ("server", Ink::Dim, "stops the model".to_owned()),
        Event::ModelFault { what } => ("model", Ink::Dim, what.clone()),
        // What else the model is told repeats what is shown already.
        Event::Update { text } => {
            ("server", Ink::Dim, first_words(text.strip_prefix("Payment update: ").map(|_| text)?))
        }
        Event::ToolCalled { name, arguments } => {
            let arguments = if arguments == "{}" { String::new() } else { format!(" {arguments}") };
            ("model", Ink::Plain, format!("calls {name}{arguments}"))
        }
        Event::ToolAnswered { name, output } => {
            ("server", Ink::Dim, first_words(&format!("{name}: {}", message(output))))
        }
        Event::Requested { request, status, note } => {
            let note = if note.is_empty() { String::new() } else { format!("  ({note})") };
            let status = if *status == 0 { "no answer".to_owned() } else { status.to_string() };
            ("Twilio", Ink::Plain, format!("{request} → {status}{note}"))
        }
        Event::Entered { field, error: None, keys } => {
            ("Twilio", Ink::Plain, format!("{} is in  ({keys} keys)", field.words()))
        }
        Event::Entered { field, error: Some(error), .. } => {
            ("Twilio", Ink::Plain, format!("{}: {error}", field.words()))
        }
        Event::ServerDied => ("server", Ink::Dim, "dies, and another one starts on its ledger".to_owned()),
        Event::Violation(what) => ("✗", Ink::Bad, what.clone()),
        Event::Booked { .. }
        | Event::Ended { .. }
        | Event::EndedAgain { .. }
        | Event::LedgerFault { .. }
        | Event::Told { .. }
        | Event::Ledger { .. } => return told_of_money(event),
        Event::Dtmf
        | Event::Created { .. }
        | Event::SessionEnded { .. }
        | Event::Speaks
        | Event::Asked
        | Event::ModelSaid { .. }
        | Event::Callback { .. } => return None,
    })
}

/// Where the money is, and who says so.
fn told_of_money(event: &Event) -> Option<(&'static str, Ink, String)> {
    Some(match event {
        Event::Booked { charge, .. } => {
            let charge = charge.as_ref().map_or("stores the card".to_owned(), |amount| format!("charges {amount}"));
            ("bank", Ink::Bold, charge)
        }
        Event::EndedAgain { result } => ("Twilio", Ink::Bold, format!("result, after the one before: {result}")),
        Event::Ended { result, code } => {
            let code = code.map(|code| format!(" {code}")).unwrap_or_default();
            ("Twilio", Ink::Bold, format!("result: {result}{code}"))
        }
        Event::LedgerFault { what } => ("ledger", Ink::Dim, (*what).to_owned()),
        Event::Told { state, .. } => ("server", Ink::Dim, format!("tells the business: {state}")),
        Event::Ledger { payments } if payments.is_empty() => return None,
        Event::Ledger { payments } => {
            let states: Vec<&str> = payments.iter().map(|row| row.state.as_str()).collect();
            ("ledger", Ink::Dim, states.join(", "))
        }
        _ => return None,
    })
}

/// What stands below a call.
pub fn summary(outcome: &Outcome, colours: Colours) -> String {
    let mut text = String::from("\n");
    for check in &outcome.checks {
        let _ = writeln!(text, "  {}", verdict(check, colours));
    }
    let held = outcome.checks.iter().filter(|check| check.broken.is_none()).count();
    let all = outcome.checks.len();
    let ink = if held == all { Ink::Good } else { Ink::Bad };
    let sum = colours.paint(ink, &format!("{held} of {all} held"));
    let _ = writeln!(text, "\n  {sum}  {}", colours.paint(Ink::Dim, &figures(outcome)));
    text
}

/// A call in one line, with details only where something did not hold.
pub fn one_line(outcome: &Outcome, colours: Colours) -> String {
    let mark = if outcome.held() { colours.paint(Ink::Good, "✓") } else { colours.paint(Ink::Bad, "✗") };
    let took = colours.paint(Ink::Dim, &format!("{:>5} ms", outcome.took.as_millis()));
    let mut text = format!("{mark} {:<22} {took}  {}", outcome.name, outcome.about);
    if !outcome.held() {
        for check in outcome.checks.iter().filter(|check| check.broken.is_some()) {
            let _ = write!(text, "\n    {}", verdict(check, colours));
        }
        for entry in &outcome.tape {
            if let Some(line) = line(entry, colours) {
                let _ = write!(text, "\n    {}", line.replace('\n', "\n    "));
            }
        }
        text.push('\n');
    }
    text
}

/// What stands below all the calls.
pub fn total(report: &super::Report, colours: Colours) -> String {
    let held = report.outcomes.iter().filter(|outcome| outcome.held()).count();
    let all = report.outcomes.len();
    let checks: usize = report.outcomes.iter().map(|outcome| outcome.checks.len()).sum();
    let ink = if held == all { Ink::Good } else { Ink::Bad };
    let sum = colours.paint(ink, &format!("{held} of {all} scenarios held"));
    format!("\n{sum}  {}", colours.paint(Ink::Dim, &format!("{checks} checks")))
}

fn verdict(check: &Check, colours: Colours) -> String {
    match &check.broken {
        None => format!("{} {}", colours.paint(Ink::Good, "✓"), check.what),
        Some(why) => format!("{} {}: {}", colours.paint(Ink::Bad, "✗"), check.what, colours.paint(Ink::Bad, why)),
    }
}

fn figures(outcome: &Outcome) -> String {
    let answered = outcome.tape.iter().filter_map(|entry| match entry.event {
        Event::Callback { took, .. } => Some(took),
        _ => None,
    });
    let asked = outcome.tape.iter().filter(|entry| matches!(entry.event, Event::Asked)).count();
    let mut figures = format!("{:.1} s, {asked} requests to the model", outcome.took.as_secs_f64());
    if let Some((count, took)) = typical(answered.collect()) {
        let _ = write!(figures, ", {count} callbacks answered in {took}");
    }
    if let Some((count, took)) = typical(words_after_entries(&outcome.tape)) {
        let _ = write!(figures, ", the next words after {count} entries in {took}");
    }
    figures
}

/// From the end of each entry to the first word that was sent after it, before the next one.
fn words_after_entries(tape: &[Entry]) -> Vec<Duration> {
    let mut entered = None;
    let mut times = Vec::new();
    for entry in tape {
        match entry.event {
            Event::Entered { .. } => entered = Some(entry.at),
            Event::Speaks => times.extend(entered.take().map(|at| entry.at.saturating_sub(at))),
            _ => {}
        }
    }
    times
}

/// How many times there are, and the median and the longest of them.
fn typical(mut times: Vec<Duration>) -> Option<(usize, String)> {
    times.sort_unstable();
    let longest = times.last()?;
    Some((times.len(), format!("{} (at most {})", ms(times[times.len() / 2]), ms(*longest))))
}

fn ms(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1000.0)
}

/// The `message` of a tool's output, or the output.
fn message(output: &str) -> String {
    let value: Value = serde_json::from_str(output).unwrap_or_default();
    value.get("message").and_then(Value::as_str).unwrap_or(output).to_owned()
}

/// As much of a text as fits into a line.
fn first_words(text: &str) -> String {
    let text = text.replace('\n', " ");
    let room = WIDTH - MARGIN - 1;
    if text.chars().count() <= room {
        return text;
    }
    let cut: String = text.chars().take(room).collect();
    format!("{}…", cut.rsplit_once(' ').map_or(cut.as_str(), |(words, _)| words))
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().map_or(0, |line| line.chars().count());
        if line > 0 && line + 1 + word.chars().count() > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_aligned_and_wrapped() {
        let text = "word ".repeat(30);
        let entry = Entry { at: Duration::from_millis(1234), line: 1, event: Event::AgentSaid { text, cut: false } };
        let shown = line(&entry, Colours::Off).unwrap();
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[0].starts_with("   1234  Agent    word"));
        assert!(lines[1].starts_with(&format!("{:MARGIN$}word", "")));
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH));
    }

    #[test]
    fn the_time_from_an_entry_to_the_next_words_is_told() {
        let entered = Event::Entered { field: crate::simulator::twilio::Field::CardNumber, error: None, keys: 16 };
        let tape = [(5, Event::Speaks), (10, entered.clone()), (12, Event::Speaks), (20, Event::Speaks), (30, entered)]
            .map(|(at, event)| Entry { at: Duration::from_millis(at), line: 1, event });
        assert_eq!(words_after_entries(&tape), [Duration::from_millis(2)]);
    }

    #[test]
    fn colours_are_only_used_where_they_are_wanted() {
        let entry = Entry { at: Duration::ZERO, line: 1, event: Event::Violation("no".to_owned()) };
        assert!(!line(&entry, Colours::Off).unwrap().contains('\x1b'));
        assert!(line(&entry, Colours::On).unwrap().contains('\x1b'));
    }
}
