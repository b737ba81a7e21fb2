//! What the overview shows at one moment, rendered once for all consoles that watch.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use maud::{Markup, html};
use serde::Serialize;

use super::alerts;
use super::page::time;
use super::payments::badge;
use super::plot::{Plot, PlotKind, Series};
use crate::call::{LineStatus, PaymentProgress};
use crate::ledger::{Activity, Funnel, Ledger, LedgerError, PaymentState};
use crate::session::{LiveCall, SessionContext, TurnShares};
use crate::telemetry::MinuteLatency;

/// The number of live calls that are listed: those with an open payment first, then the newest.
const MAX_LISTED_CALLS: usize = 50;

/// The hours that the plots of payments show.
const HOURS: i64 = 24;

/// What the ledger knows of the last day. It is read less often than the rest.
#[derive(Debug, Default)]
pub(super) struct LedgerView {
    activity: Activity,
    unknown: u64,
}

impl LedgerView {
    /// Reads the ledger.
    pub(super) async fn read(ledger: &Ledger, now: Timestamp) -> Result<Self, LedgerError> {
        let activity = ledger.activity_since(first_hour(now)).await?;
        Ok(Self { activity, unknown: ledger.count_payments(PaymentState::Unknown).await? })
    }
}

/// The beginning of the first hour that the plots show.
fn first_hour(now: Timestamp) -> Timestamp {
    let hour = now.as_second().div_euclid(3600) - HOURS + 1;
    Timestamp::from_second(hour * 3600).unwrap_or(Timestamp::MIN)
}

/// The parts of the overview that change.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) status: Markup,
    pub(super) state: Markup,
    pub(super) stats: Markup,
    pub(super) alerts: Markup,
    pub(super) calls: Markup,
    pub(super) funnel: Markup,
    pub(super) plots: Vec<Plot>,
}

impl Snapshot {
    /// Takes a snapshot of the live calls; `ledger` is what was read of the ledger, `None` if it cannot be read.
    pub(super) fn take(
        context: &SessionContext,
        is_draining: bool,
        ledger: Option<&LedgerView>,
        now: Timestamp,
    ) -> Self {
        let mut calls: Vec<Row> = context.calls.live_calls().iter().filter_map(|call| Row::of(call)).collect();
        let (live, paying) = (calls.len(), calls.iter().filter(|call| call.payment.is_open()).count());
        calls.sort_by_key(|call| std::cmp::Reverse((call.payment.is_open(), call.started_at)));
        let fault = context.ledger.fault();
        let unreadable = LedgerView::default();
        let view = ledger.unwrap_or(&unreadable);
        let shown = alerts::current(fault, view.unknown, now);
        let state = match (is_draining, fault) {
            (true, _) => html! { span .badge.warn { "Draining" } },
            (false, Some(_)) => html! { span .badge.bad { "Takes no payments" } },
            (false, None) => html! { span .badge.good { "Accepts calls" } },
        };
        let status = format!(
            "{live} live {}, {paying} in a payment, {} {}",
            plural(live, "call", "calls"),
            shown.len(),
            plural(shown.len(), "alert", "alerts")
        );
        let (latencies, hour) = context.telemetry.last_hour().read(now);
        let funnel = view.activity.funnel;
        Self {
            status: html! { (status) },
            state,
            stats: html! {
                (stat("Live calls", live, None))
                (stat("In a payment", paying, None))
                (stat("Paid, 24 h", funnel.succeeded, None))
                (stat("Unknown payments", view.unknown, (view.unknown > 0).then_some("bad")))
                (stat("First words, p95, 1 h", hour.first_frame_p95.map_or("–".to_owned(), wait), None))
            },
            alerts: html! {
                @if ledger.is_none() { p .notice.bad { "The ledger cannot be read: the log says why." } }
                (alerts::render(&shown))
            },
            calls: calls_table(&calls),
            funnel: funnel_bars(funnel),
            plots: vec![latency(&latencies), outcomes(&view.activity, now), guards(&view.activity, now)],
        }
    }

    /// Returns the snapshot as the data of one event: the content of each element by its id, and the plots by theirs.
    pub(super) fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Data<'a> {
            fragments: BTreeMap<String, String>,
            plots: BTreeMap<&'a str, &'a Plot>,
        }
        let parts = [
            ("live-status", &self.status),
            ("server-state", &self.state),
            ("stats", &self.stats),
            ("alerts", &self.alerts),
            ("calls", &self.calls),
            ("funnel", &self.funnel),
        ];
        let mut fragments: BTreeMap<String, String> =
            parts.into_iter().map(|(id, part)| (id.to_owned(), part.0.clone())).collect();
        fragments
            .extend(self.plots.iter().map(|plot| (format!("numbers-{}", plot.name), plot.numbers().into_string())));
        let plots = self.plots.iter().map(|plot| (plot.name, plot)).collect();
        serde_json::to_string(&Data { fragments, plots }).expect("strings and numbers always serialise")
    }
}

/// A live call in the table.
#[derive(Debug)]
struct Row {
    sid: String,
    caller: Option<String>,
    outbound: bool,
    started_at: Timestamp,
    line: LineStatus,
    payment: PaymentProgress,
    last_turn: Option<TurnShares>,
}

impl Row {
    fn of(call: &LiveCall) -> Option<Self> {
        let (details, progress) = (call.details()?, call.progress());
        Some(Self {
            sid: call.sid().to_string(),
            caller: details.caller.as_ref().map(crate::phone_number::PhoneNumber::masked),
            outbound: details.outbound,
            started_at: details.started_at,
            line: progress.line,
            payment: progress.payment,
            last_turn: call.last_turn(),
        })
    }
}

fn calls_table(calls: &[Row]) -> Markup {
    html! {
        @if calls.is_empty() {
            p .empty { "No call is live." }
        } @else {
            table {
                caption .visually-hidden { "Live calls, those in a payment first" }
                thead {
                    tr {
                        th scope="col" { "Caller" }
                        th scope="col" { "Payment" }
                        th .num scope="col" { "Time" }
                        th .wide scope="col" { "Last turn" }
                        th .wide scope="col" { "Call" }
                    }
                }
                tbody {
                    @for call in calls.iter().take(MAX_LISTED_CALLS) {
                        tr {
                            td .plain {
                                @if let Some(caller) = &call.caller { (caller) } @else { span .muted { "withheld" } }
                                @if call.outbound { " " span .muted { "outbound" } }
                                " " (line(call.line))
                            }
                            td { (payment_progress(call.payment)) }
                            td .num { span data-since=(call.started_at.as_millisecond()) { (time(call.started_at)) } }
                            td .wide { @if let Some(turn) = &call.last_turn { (turn_shares(turn)) } }
                            td .wide { code { (call.sid) } }
                        }
                    }
                }
            }
            @if calls.len() > MAX_LISTED_CALLS {
                p .muted.more { "And " (calls.len() - MAX_LISTED_CALLS) " more." }
            }
        }
    }
}

/// Renders what the caller waited for in a turn: the time to the first words, and its shares as a bar and in words.
fn turn_shares(turn: &TurnShares) -> Markup {
    let Some(first_words) = turn.first_words else { return html! { span .muted { (turn.number) ": without words" } } };
    let known = turn.model + turn.tools + turn.twilio;
    let shares = [
        ("model", "accent", turn.model),
        ("tools", "warn", turn.tools),
        ("Twilio", "good", turn.twilio),
        ("other", "calm", first_words.saturating_sub(known)),
    ];
    let all = known.max(first_words).as_millis().max(1);
    let percent = |share: Duration| share.as_millis() * 100 / all;
    let shown: Vec<_> = shares.into_iter().filter(|(_, _, share)| percent(*share) > 0).collect();
    let ends = shown.iter().scan(0, |end, (_, _, share)| Some(std::mem::replace(end, *end + percent(*share))));
    html! {
        span .shares {
            span .plain { span .muted { (turn.number) ": " } (wait(milliseconds(first_words))) }
            svg .bar viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" {
                @for ((_, colour, share), from) in shown.iter().zip(ends) {
                    rect class=(colour) x=(from) width=(percent(*share)) height="8" {}
                }
            }
            span .muted {
                @for (at, (name, _, share)) in shown.iter().enumerate() {
                    @if at > 0 { ", " }
                    (name) " " (wait(milliseconds(*share)))
                }
            }
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

/// Writes a wait: milliseconds below a second, and seconds with two decimals above.
fn wait(milliseconds: u64) -> String {
    if milliseconds < 1000 {
        format!("{milliseconds} ms")
    } else {
        format!("{}.{:02} s", milliseconds / 1000, milliseconds % 1000 / 10)
    }
}

/// Says if the caller and the agent do not talk.
fn line(line: LineStatus) -> Markup {
    match line {
        LineStatus::Live => html! {},
        LineStatus::Parked => html! { span .badge.warn { "waits for a socket" } },
        LineStatus::Ending => html! { span .muted { "ending" } },
    }
}

fn payment_progress(progress: PaymentProgress) -> Markup {
    let busy = |text: &str| html! { span .badge.busy { (text) } };
    match progress {
        PaymentProgress::None => html! { span .muted { "none" } },
        PaymentProgress::Opening => busy("starting"),
        PaymentProgress::Open => busy("open"),
        PaymentProgress::Capturing(field) => {
            let name = field.base_field().wire_name().trim_start_matches("payment-").replace('-', " ");
            busy(&if field.is_matcher() { format!("{name} again") } else { name })
        }
        PaymentProgress::Submitting => busy("submitted"),
        PaymentProgress::Cancelling => busy("cancelling"),
        PaymentProgress::Closed(state) => badge(state),
    }
}

fn stat(name: &str, value: impl std::fmt::Display, class: Option<&str>) -> Markup {
    html! { div class={ "stat " (class.unwrap_or_default()) } { dt { (name) } dd { (value.to_string()) } } }
}

fn plural<'a>(count: usize, one: &'a str, many: &'a str) -> &'a str {
    if count == 1 { one } else { many }
}

/// Renders the funnel: each step with its number, its share of the first one and a bar.
fn funnel_bars(funnel: Funnel) -> Markup {
    let steps = [
        ("Started", funnel.started),
        ("Entered a field", funnel.entered),
        ("Submitted", funnel.submitted),
        ("Succeeded", funnel.succeeded),
    ];
    let percent = |count: u64| count.saturating_mul(100).checked_div(funnel.started).unwrap_or(0);
    html! {
        ol .funnel {
            @for (name, count) in steps {
                li {
                    span .name { (name) }
                    svg .bar viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" {
                        rect .track width="100" height="8" rx="1" {}
                        rect .value width=(percent(count)) height="8" rx="1" {}
                    }
                    span .num { strong { (count) } " " span .muted { (percent(count)) " %" } }
                }
            }
        }
    }
}

/// Builds the plot of the waits of the last hour.
fn latency(minutes: &[(i64, MinuteLatency)]) -> Plot {
    let series = |label, colour, of: fn(&MinuteLatency) -> Option<u64>| Series {
        label,
        colour,
        values: minutes.iter().map(|(_, latency)| of(latency)).collect(),
    };
    Plot {
        name: "latency",
        kind: PlotKind::Lines,
        unit: "ms",
        x: minutes.iter().map(|(second, _)| *second).collect(),
        series: vec![
            series("First words, p95", "warn", |it| it.first_frame_p95),
            series("First words, median", "accent", |it| it.first_frame_median),
            series("Model's first token, median", "calm", |it| it.first_token_median),
        ],
    }
}

fn outcomes(activity: &Activity, now: Timestamp) -> Plot {
    use PaymentState::{
        Abandoned, Cancelled, Charged, Declined, Disputed, Failed, Pending, Refunded, Returned, Tokenized, Unknown,
    };
    let groups: [(&str, &str, &[PaymentState]); 4] = [
        ("Paid", "good", &[Charged, Tokenized, Pending, Refunded]),
        ("Declined", "warn", &[Declined, Failed, Returned, Disputed]),
        ("Not finished", "calm", &[Cancelled, Abandoned]),
        ("Unknown", "bad", &[Unknown]),
    ];
    by_hour(
        "outcomes",
        now,
        groups.map(|(label, colour, states)| {
            let of_hour = move |hour: i64| {
                let counts = activity.states.get(&hour)?;
                Some(states.iter().filter_map(|state| counts.get(state.as_str())).sum())
            };
            (label, colour, of_hour)
        }),
    )
}

fn guards(activity: &Activity, now: Timestamp) -> Plot {
    let guards = [
        ("Wrong entries", "calm", "wrong"),
        ("Failed cards", "warn", "card-failed"),
        ("Velocity limits", "accent", "barred"),
        ("Card testing", "bad", "card-testing"),
    ];
    by_hour(
        "guards",
        now,
        guards.map(|(label, colour, kind)| {
            (label, colour, move |hour: i64| activity.guards.get(&hour)?.get(kind).copied())
        }),
    )
}

/// Builds a plot of the last day, with these series.
fn by_hour<F: Fn(i64) -> Option<u64>>(
    name: &'static str,
    now: Timestamp,
    series: [(&'static str, &'static str, F); 4],
) -> Plot {
    let first = first_hour(now).as_second() / 3600;
    let hours = first..first + HOURS;
    let series = series.into_iter().map(|(label, colour, of_hour)| {
        let values = hours.clone().map(|hour| Some(of_hour(hour).unwrap_or(0))).collect();
        Series { label, colour, values }
    });
    let series = series.collect();
    Plot { name, kind: PlotKind::Bars, unit: "", x: hours.map(|hour| hour * 3600).collect(), series }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(first_words: Option<u64>, [model, tools, twilio]: [u64; 3]) -> String {
        let turn = TurnShares {
            number: 3,
            first_words: first_words.map(Duration::from_millis),
            model: Duration::from_millis(model),
            tools: Duration::from_millis(tools),
            twilio: Duration::from_millis(twilio),
        };
        turn_shares(&turn).into_string()
    }

    #[test]
    fn the_shares_of_a_turn_add_up_to_what_the_caller_waited() {
        let shown = shares(Some(1200), [600, 0, 300]);
        for part in [
            "1.20 s",
            "model 600 ms, Twilio 300 ms, other 300 ms",
            r#"<rect class="accent" x="0" width="50" height="8">"#,
            r#"<rect class="good" x="50" width="25" height="8">"#,
            r#"<rect class="calm" x="75" width="25" height="8">"#,
        ] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        assert!(!shares(Some(5), [9, 0, 0]).contains("other"), "a tool or a response may end after the first words");
        assert!(shares(Some(0), [0, 0, 0]).contains("0 ms") && shares(None, [9, 0, 0]).contains("without words"));
    }

    #[test]
    fn the_plots_have_a_value_for_each_period() {
        let now = Timestamp::from_second(1_790_000_000).unwrap();
        let hour = now.as_second() / 3600;
        let mut activity = Activity::default();
        activity.states.entry(hour).or_default().insert("charged", 2);
        activity.states.entry(hour).or_default().insert("refunded", 1);
        activity.states.entry(hour - 23).or_default().insert("declined", 4);
        activity.states.entry(hour - 24).or_default().insert("declined", 8);
        let plot = outcomes(&activity, now);
        assert_eq!((plot.x.len(), plot.x[0], plot.x[23]), (24, (hour - 23) * 3600, hour * 3600));
        assert_eq!((plot.series[0].values[23], plot.series[1].values[0]), (Some(3), Some(4)));
        assert!(plot.series.iter().all(|series| series.values.len() == 24));
        let numbers = plot.numbers().into_string();
        assert_eq!(numbers.matches("<th scope=\"row\">").count(), 2, "{numbers}");
        assert_eq!(guards(&activity, now).numbers().into_string(), "<p class=\"empty\">Nothing yet.</p>");
        // Every state is in one of the groups, unless it is still in progress.
        let groups: Vec<u64> = PaymentState::ALL
            .into_iter()
            .map(|state| {
                let mut activity = Activity::default();
                activity.states.entry(hour).or_default().insert(state.as_str(), 1);
                outcomes(&activity, now).series.iter().filter_map(|series| series.values[23]).sum()
            })
            .collect();
        let expected: Vec<u64> = PaymentState::ALL.map(|state| u64::from(state.is_reported())).to_vec();
        assert_eq!(groups, expected);
    }
}
