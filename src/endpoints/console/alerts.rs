//! The alerts of the console: faults that last, and what the log has reported within the last hour.
//!
//! What an event means and what to do about it is read from the alert table of the manual.

use std::time::Duration;

use jiff::Timestamp;
use maud::{Markup, html};

use crate::alerts::{self, AlertRow};
use crate::ledger::LedgerFault;

/// How long an event of the log is shown.
const SHOWN_FOR: Duration = Duration::from_hours(1);

/// Events that record what an operator did.
const AUDIT: [&str; 3] = ["payment.settled", "payment.refund_recorded", "server.drain_requested"];

/// An alert as it is shown.
#[derive(Debug)]
pub(super) struct ShownAlert {
    row: &'static AlertRow,
    is_error: bool,
    /// What is known of this case.
    note: String,
    /// A page that helps.
    link: Option<(&'static str, &'static str)>,
}

/// Collects the alerts, those that last first, then errors, then warnings.
pub(super) fn current(fault: Option<LedgerFault>, unknown: u64, now: Timestamp) -> Vec<ShownAlert> {
    let lasting = |event, note, link| Some(ShownAlert { row: alerts::find_row(event)?, is_error: true, note, link });
    let fault = fault.and_then(|fault| {
        let event = match fault {
            LedgerFault::Unwritable(_) => "ledger.write_failed",
            LedgerFault::FileGone => "ledger.file_gone",
            LedgerFault::LeaseLost => "ledger.lease_lost",
        };
        lasting(event, format!("Now: {fault}."), None)
    });
    let unknown = (unknown > 0).then(|| {
        let note =
            if unknown == 1 { "1 payment is unknown.".to_owned() } else { format!("{unknown} payments are unknown.") };
        lasting("payment.unknown", note, Some(("Show them", "/console/payments?state=unknown")))
    });
    let mut shown: Vec<ShownAlert> = fault.into_iter().chain(unknown.flatten()).collect();
    let since = now - jiff::SignedDuration::try_from(SHOWN_FOR).unwrap_or_default();
    for logged in alerts::logged_since(since) {
        let is_known = shown.iter().any(|shown| shown.row == logged.row);
        if !is_known && !AUDIT.contains(&logged.row.event) {
            let times = if logged.count == 1 {
                String::new()
            } else {
                format!("{} times since the start, last at ", logged.count)
            };
            let note = format!("{times}{} UTC", logged.last_at.strftime("%H:%M:%S"));
            shown.push(ShownAlert { row: logged.row, is_error: logged.is_error, note, link: None });
        }
    }
    shown
}

/// Renders the alerts, or that there are none.
pub(super) fn render(shown: &[ShownAlert]) -> Markup {
    html! {
        @if shown.is_empty() {
            p .empty { "None. Nothing was logged within the last hour that needs a person." }
        } @else {
            // It scrolls, so the keyboard has to reach it.
            ul .alerts tabindex="0" aria-label="Alerts" {
                @for alert in shown {
                    li class=(if alert.is_error { "error" } else { "warning" }) {
                        p .head {
                            span class=(if alert.is_error { "badge bad" } else { "badge warn" }) { (if alert.is_error { "Error" } else { "Warning" }) }
                            " " code { (alert.row.event) } " "
                            span .muted { (alert.note) }
                        }
                        p { (inline(alert.row.meaning)) }
                        p .action {
                            strong { "What to do: " } (inline(alert.row.action))
                            @if let Some((name, href)) = alert.link { " " a href=(href) { (name) } }
                        }
                    }
                }
            }
        }
    }
}

/// Renders the inline Markdown of the alert table: code stays code, and a link becomes its text.
fn inline(text: &str) -> Markup {
    let parts = text.split('`').enumerate();
    html! { @for (at, part) in parts { @if at % 2 == 1 { code { (part) } } @else { (without_links(part)) } } }
}

fn without_links(text: &str) -> String {
    let (mut plain, mut rest) = (String::new(), text);
    while let Some((before, name, after)) = find_link(rest) {
        plain += before;
        plain += name;
        rest = after;
    }
    plain + rest
}

/// Finds the first `[name](target)`: what is before it, the name and what is after it.
fn find_link(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('[')?;
    let (name, rest) = rest.split_once("](")?;
    let (_, after) = rest.split_once(')')?;
    Some((before, name, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lasting_faults_have_the_words_of_the_manual() {
        for (fault, event) in [
            (LedgerFault::Unwritable("the disk is full"), "ledger.write_failed"),
            (LedgerFault::FileGone, "ledger.file_gone"),
            (LedgerFault::LeaseLost, "ledger.lease_lost"),
        ] {
            let shown = current(Some(fault), 2, Timestamp::UNIX_EPOCH);
            let events: Vec<_> = shown.iter().map(|alert| alert.row.event).collect();
            assert_eq!(events[..2], [event, "payment.unknown"]);
            let page = render(&shown).into_string();
            assert!(page.contains(&fault.to_string()) && page.contains("2 payments are unknown."), "{page}");
            assert!(page.contains("Look it up at the processor, and settle it: <code>payments --state unknown</code>"));
        }
        assert!(AUDIT.iter().all(|event| alerts::find_row(event).is_some()));
    }

    #[test]
    fn links_of_the_manual_become_text() {
        assert_eq!(
            inline("See [the <b>](x.md#y) and `a<b`, [no link").into_string(),
            "See the &lt;b&gt; and <code>a&lt;b</code>, [no link"
        );
    }
}
