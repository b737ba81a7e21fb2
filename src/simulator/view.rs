//! The terminal output: the transcript line by line as it grows, and the checks at the end.

use std::fmt::Write as _;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use serde_json::Value;

use super::ScenarioResult;
use super::pace::Pace;
use super::scenario::{Scenario, ScenarioCheck};
use super::transcript::{ServerSignal, TranscriptEntry, TranscriptEvent};

// `anstream` removes the styles when the output is no terminal, or `NO_COLOR` is set.
const PLAIN: Style = Style::new();
const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();
const CALLER: Style = AnsiColor::Cyan.on_default();
const AGENT: Style = AnsiColor::Yellow.on_default();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();

fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// The maximum width of a line.
const WIDTH: usize = 100;
/// The column at which the text of a line begins.
const MARGIN: usize = 18;

/// Formats the heading of a scenario.
pub(super) fn render_headline(scenario: &Scenario, pace: Pace) -> String {
    let name = paint(BOLD, scenario.name);
    let clock = paint(DIM, &format!("Milliseconds are real; on the phone, time passes {pace} as fast."));
    format!("\n{name}  {}\n{clock}\n", scenario.description)
}

/// Formats an entry of the transcript. `None` if it is not shown.
pub(super) fn render_entry(entry: &TranscriptEntry) -> Option<String> {
    let (who, style, text) = describe_event(&entry.event)?;
    let time = paint(DIM, &format!("{:>7}", entry.at.as_millis()));
    let name_style = if matches!(who, "Caller" | "Agent") || style == BAD { style } else { DIM };
    let who = if entry.call_number == 1 { who.to_owned() } else { format!("{who} {}", entry.call_number) };
    let name = paint(name_style, &format!("{who:<8}"));
    let mut lines = String::new();
    for (at, part) in wrap(&text, WIDTH - MARGIN).iter().enumerate() {
        let text_style = if [CALLER, AGENT].contains(&style) { PLAIN } else { style };
        let part = paint(text_style, part);
        if at == 0 {
            let _ = write!(lines, "{time}  {name} {part}");
        } else {
            let _ = write!(lines, "\n{:MARGIN$}{part}", "");
        }
    }
    Some(lines)
}

/// Returns the actor, the style and the text of an event.
fn describe_event(event: &TranscriptEvent) -> Option<(&'static str, Style, String)> {
    Some(match event {
        TranscriptEvent::IncomingCall { answer, took } => {
            ("Twilio", DIM, format!("a call comes in → {answer}  {}", format_ms(*took)))
        }
        TranscriptEvent::BusinessQueried { knows } => ("business", DIM, format!("is asked about the call → {knows}")),
        TranscriptEvent::RelayConnected => ("Twilio", DIM, "ConversationRelay is connected".to_owned()),
        TranscriptEvent::CallerSaid { text, over } => {
            ("Caller", CALLER, format!("{}{text}", if *over { "— " } else { "" }))
        }
        TranscriptEvent::AgentSaid { text, cut } => {
            ("Agent", AGENT, format!("{}{}", text.trim(), if *cut { " —" } else { "" }))
        }
        TranscriptEvent::KeysPressed { dots, what } => ("Caller", CALLER, format!("{dots}   ({what}, on the keypad)")),
        TranscriptEvent::CallPlaced { inline } => {
            let how = if *inline { "with its TwiML" } else { "with a URL for its TwiML" };
            ("Twilio", DIM, format!("is asked to place a call, {how}"))
        }
        TranscriptEvent::CallProgress { status } => ("Twilio", DIM, format!("reports: the call is {status}")),
        TranscriptEvent::DrainStarted { ready, voice, order } => {
            let answers = format!("/ready → {ready}, another call → {voice}, an order to call → {order}");
            ("server", DIM, format!("begins to drain: {answers}"))
        }
        TranscriptEvent::CallerQueued { workflow, .. } => ("Twilio", DIM, format!("queues the caller for {workflow}")),
        TranscriptEvent::CallerHungUp => ("Caller", CALLER, "hangs up".to_owned()),
        TranscriptEvent::VoiceSwitched { language } => ("server", DIM, format!("the agent speaks {language} now")),
        TranscriptEvent::SocketDropped => ("Twilio", DIM, "the socket breaks".to_owned()),
        TranscriptEvent::EndFrame { handoff: None } => ("server", DIM, "end".to_owned()),
        TranscriptEvent::EndFrame { handoff: Some(data) } => ("server", DIM, format!("end, with {data}")),
        TranscriptEvent::ActionAnswered { status, verbs, took } => {
            let verbs = if verbs.is_empty() { "nothing".to_owned() } else { verbs.join(", ") };
            ("Twilio", DIM, format!("the session is {status} → {verbs}  {}", format_ms(*took)))
        }
        TranscriptEvent::ModelSocketOpened => ("server", DIM, "opens a WebSocket to the model".to_owned()),
        TranscriptEvent::ModelStopped => ("server", DIM, "stops the model".to_owned()),
        TranscriptEvent::ModelFailed { what } => ("model", DIM, what.clone()),
        // Other developer messages repeat what is shown already.
        TranscriptEvent::DeveloperMessage { text } => {
            ("server", DIM, truncate(text.strip_prefix("Payment update: ").map(|_| text)?))
        }
        TranscriptEvent::ToolCalled { name, arguments } => {
            let arguments = if arguments == "{}" { String::new() } else { format!(" {arguments}") };
            ("model", PLAIN, format!("calls {name}{arguments}"))
        }
        TranscriptEvent::ToolReturned { name, output } => {
            ("server", DIM, truncate(&format!("{name}: {}", output_message(output))))
        }
        TranscriptEvent::PaymentsRequested { request, status, note, .. } => {
            let note = if note.is_empty() { String::new() } else { format!("  ({note})") };
            let status = if *status == 0 { "no answer".to_owned() } else { status.to_string() };
            ("Twilio", PLAIN, format!("{request} → {status}{note}"))
        }
        TranscriptEvent::RecordingRequested { step, status } => {
            let status = if *status == 0 { "no answer".to_owned() } else { status.to_string() };
            ("Twilio", PLAIN, format!("recording: {step} → {status}"))
        }
        TranscriptEvent::EntryCompleted { field, error: None, keys } => {
            ("Twilio", PLAIN, format!("{} is in  ({keys} keys)", field.label()))
        }
        TranscriptEvent::EntryCompleted { field, error: Some(error), .. } => {
            ("Twilio", PLAIN, format!("{}: {error}", field.label()))
        }
        TranscriptEvent::ServerDied => ("server", DIM, "dies, and another one starts on its ledger".to_owned()),
        TranscriptEvent::ServerSignalled(signal) => ("server", DIM, describe_signal(*signal).to_owned()),
        TranscriptEvent::Violation(what) => ("✗", BAD, what.clone()),
        TranscriptEvent::BankBooked { .. }
        | TranscriptEvent::PaymentEnded { .. }
        | TranscriptEvent::ResultRepeated { .. }
        | TranscriptEvent::LedgerFaultChanged { .. }
        | TranscriptEvent::BusinessNotified { .. }
        | TranscriptEvent::MessageRequested { .. }
        | TranscriptEvent::CallEndNotified { .. }
        | TranscriptEvent::LedgerRead { .. } => return describe_payment_event(event),
        TranscriptEvent::DtmfSent
        | TranscriptEvent::PaymentCreated { .. }
        | TranscriptEvent::RelaySessionEnded { .. }
        | TranscriptEvent::FirstToken
        | TranscriptEvent::ModelRequested { .. }
        | TranscriptEvent::ModelSaid { .. }
        | TranscriptEvent::CallbackDelivered { .. } => return None,
    })
}

/// Describes a signal to the process of a server.
fn describe_signal(signal: ServerSignal) -> &'static str {
    match signal {
        ServerSignal::Kill => "the one that has the call is killed (SIGKILL)",
        ServerSignal::Freeze => "the one that has the call freezes (SIGSTOP)",
        ServerSignal::Wake => "the one that was frozen wakes (SIGCONT)",
        ServerSignal::Terminate => "the one that has the call is told to stop (SIGTERM)",
    }
}

/// Returns the actor, the style and the text of an event about money.
fn describe_payment_event(event: &TranscriptEvent) -> Option<(&'static str, Style, String)> {
    Some(match event {
        TranscriptEvent::BankBooked { charge, .. } => {
            let charge = charge.as_ref().map_or("stores the card".to_owned(), |amount| format!("charges {amount}"));
            ("bank", BOLD, charge)
        }
        TranscriptEvent::ResultRepeated { result } => {
            ("Twilio", BOLD, format!("result, after the one before: {result}"))
        }
        TranscriptEvent::PaymentEnded { result, code } => {
            let code = code.map(|code| format!(" {code}")).unwrap_or_default();
            ("Twilio", BOLD, format!("result: {result}{code}"))
        }
        TranscriptEvent::LedgerFaultChanged { what } => ("ledger", DIM, (*what).to_owned()),
        TranscriptEvent::BusinessNotified { state, .. } => ("server", DIM, format!("tells the business: {state}")),
        TranscriptEvent::MessageRequested { text, code: None, .. } => ("Twilio", BOLD, format!("sends a text: {text}")),
        TranscriptEvent::MessageRequested { code: Some(code), .. } => {
            ("Twilio", BOLD, format!("sends no text message: error {code}"))
        }
        TranscriptEvent::CallEndNotified { reason, .. } => {
            ("server", DIM, format!("tells the business: call.ended ({reason})"))
        }
        TranscriptEvent::LedgerRead { payments } if payments.is_empty() => return None,
        TranscriptEvent::LedgerRead { payments } => {
            let states: Vec<&str> = payments.iter().map(|row| row.state.as_str()).collect();
            ("ledger", DIM, states.join(", "))
        }
        _ => return None,
    })
}

/// Formats the checks and timings of a scenario.
pub(super) fn render_summary(outcome: &ScenarioResult) -> String {
    let mut text = String::from("\n");
    for check in &outcome.checks {
        let _ = writeln!(text, "  {}", render_check(check));
    }
    let held = outcome.checks.iter().filter(|check| check.failure.is_none()).count();
    let all = outcome.checks.len();
    let style = if held == all { GOOD } else { BAD };
    let sum = paint(style, &format!("{held} of {all} held"));
    let _ = writeln!(text, "\n  {sum}  {}", paint(DIM, &format_timings(outcome)));
    text
}

/// Formats a scenario in one line, with failed checks and the transcript if it failed.
pub(super) fn render_result_line(outcome: &ScenarioResult) -> String {
    let mark = if outcome.has_passed() { paint(GOOD, "✓") } else { paint(BAD, "✗") };
    let took = paint(DIM, &format!("{:>5} ms", outcome.elapsed.as_millis()));
    let mut text = format!("{mark} {:<22} {took}  {}", outcome.name, outcome.description);
    if !outcome.has_passed() {
        for check in outcome.checks.iter().filter(|check| check.failure.is_some()) {
            let _ = write!(text, "\n    {}", render_check(check));
        }
        for entry in &outcome.transcript {
            if let Some(line) = render_entry(entry) {
                let _ = write!(text, "\n    {}", line.replace('\n', "\n    "));
            }
        }
        text.push('\n');
    }
    text
}

/// Formats the totals of all scenarios.
pub(super) fn render_total(report: &super::SimulationReport) -> String {
    let held = report.results.iter().filter(|outcome| outcome.has_passed()).count();
    let all = report.results.len();
    let checks: usize = report.results.iter().map(|outcome| outcome.checks.len()).sum();
    let style = if held == all { GOOD } else { BAD };
    let sum = paint(style, &format!("{held} of {all} scenarios held"));
    format!("\n{sum}  {}", paint(DIM, &format!("{checks} checks")))
}

fn render_check(check: &ScenarioCheck) -> String {
    match &check.failure {
        None => format!("{} {}", paint(GOOD, "✓"), check.statement),
        Some(why) => format!("{} {}: {}", paint(BAD, "✗"), check.statement, paint(BAD, why)),
    }
}

fn format_timings(outcome: &ScenarioResult) -> String {
    let answered = outcome.transcript.iter().filter_map(|entry| match entry.event {
        TranscriptEvent::CallbackDelivered { took, .. } => Some(took),
        _ => None,
    });
    let asked =
        outcome.transcript.iter().filter(|entry| matches!(entry.event, TranscriptEvent::ModelRequested { .. })).count();
    let mut figures = format!("{:.1} s, {asked} requests to the model", outcome.elapsed.as_secs_f64());
    if let Some((count, took)) = count_and_median(answered.collect()) {
        let _ = write!(figures, ", {count} callbacks answered in {took}");
    }
    if let Some((count, took)) = count_and_median(reply_times_after_entries(&outcome.transcript)) {
        let _ = write!(figures, ", the next words after {count} entries in {took}");
    }
    figures
}

/// Returns the times from the end of each entry to the first token after it, before the next entry.
fn reply_times_after_entries(transcript: &[TranscriptEntry]) -> Vec<Duration> {
    let mut entered = None;
    let mut times = Vec::new();
    for entry in transcript {
        match entry.event {
            TranscriptEvent::EntryCompleted { .. } => entered = Some(entry.at),
            TranscriptEvent::FirstToken => times.extend(entered.take().map(|at| entry.at.saturating_sub(at))),
            _ => {}
        }
    }
    times
}

/// Returns the number of times, and their median and maximum as text.
fn count_and_median(mut times: Vec<Duration>) -> Option<(usize, String)> {
    times.sort_unstable();
    let longest = times.last()?;
    Some((times.len(), format!("{} (at most {})", format_ms(times[times.len() / 2]), format_ms(*longest))))
}

fn format_ms(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1000.0)
}

/// Returns the `message` of a tool's output, or the whole output.
fn output_message(output: &str) -> String {
    let value: Value = serde_json::from_str(output).unwrap_or_default();
    value.get("message").and_then(Value::as_str).unwrap_or(output).to_owned()
}

/// Shortens a text to one line.
fn truncate(text: &str) -> String {
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
        let entry = TranscriptEntry {
            at: Duration::from_millis(1234),
            call_number: 1,
            event: TranscriptEvent::AgentSaid { text, cut: false },
        };
        let shown = anstream::adapter::strip_str(&render_entry(&entry).unwrap()).to_string();
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[0].starts_with("   1234  Agent    word"));
        assert!(lines[1].starts_with(&format!("{:MARGIN$}word", "")));
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH));
    }

    #[test]
    fn the_time_from_an_entry_to_the_next_token_is_measured() {
        let entered = TranscriptEvent::EntryCompleted {
            field: crate::simulator::twilio::CaptureField::CardNumber,
            error: None,
            keys: 16,
        };
        let transcript = [
            (5, TranscriptEvent::FirstToken),
            (10, entered.clone()),
            (12, TranscriptEvent::FirstToken),
            (20, TranscriptEvent::FirstToken),
            (30, entered),
        ]
        .map(|(at, event)| TranscriptEntry { at: Duration::from_millis(at), call_number: 1, event });
        assert_eq!(reply_times_after_entries(&transcript), [Duration::from_millis(2)]);
    }
}
