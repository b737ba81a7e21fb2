//! `/console/payments`: search, one payment with its events, and what an operator records of it after a confirmation.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;

use super::super::auth::console_session::ConsoleOperator;
use super::super::payments::{parse_id, refund_and_log, settle_and_log};
use super::form::{CONFIRMED, ConsoleForm};
use super::page::{Frame, PageError, Section, panel, time};
use crate::config::OperatorName;
use crate::ids::{CallSid, PaymentSid};
use crate::ledger::{
    EventRecord, Ledger, Payment, PaymentSearch, PaymentState, Refund, RefundKind, SettledOutcome, Settlement,
};
use crate::payment::PaymentId;
use crate::phone_number::PhoneNumber;
use crate::redact::{Private, has_card_number, redact_card_numbers};
use crate::since::parse_since;

/// The number of payments on a page.
const PAGE_SIZE: u32 = 50;

/// The longest text that is looked for, in characters. Identifiers have at most 64.
const MAX_TEXT_CHARS: usize = 64;

/// The periods that the form offers.
const PERIODS: [(&str, &str); 4] =
    [("", "Any time"), ("24h", "Last 24 hours"), ("7d", "Last 7 days"), ("30d", "Last 30 days")];

/// The outcomes that an operator can record.
const OUTCOMES: [SettledOutcome; 5] = [
    SettledOutcome::Charged,
    SettledOutcome::Tokenized,
    SettledOutcome::Declined,
    SettledOutcome::Cancelled,
    SettledOutcome::Returned,
];

/// What payments are looked for. The text may be the number of a caller, so it is sent in a form, never in a URL, which browsers
/// and proxies keep.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SearchQuery {
    #[serde(skip)]
    text: Private<String>,
    state: String,
    since: String,
    before: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DetailsQuery {
    done: String,
}

/// What was done, or what is wrong.
enum Notice<'a> {
    Done(&'static str),
    Error(&'a str),
}

/// Shows payments, the newest first.
pub(super) async fn list(
    ConsoleOperator(operator): ConsoleOperator,
    State(ledger): State<Ledger>,
    Query(query): Query<SearchQuery>,
) -> Result<Html<String>, PageError> {
    show_found(&operator, &ledger, &query).await
}

/// Shows the payments that a search finds, the newest first.
pub(super) async fn search(
    ConsoleOperator(operator): ConsoleOperator,
    State(ledger): State<Ledger>,
    form: ConsoleForm,
) -> Result<Html<String>, PageError> {
    let [text, state, since, before] =
        ["q", "state", "since", "before"].map(|name| form.text(name).unwrap_or_default());
    let text = Private::new(text.chars().take(MAX_TEXT_CHARS).collect());
    show_found(&operator, &ledger, &SearchQuery { text, state, since, before }).await
}

async fn show_found(operator: &OperatorName, ledger: &Ledger, query: &SearchQuery) -> Result<Html<String>, PageError> {
    let set = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let bad_request = |error| PageError::new(StatusCode::BAD_REQUEST, error);
    let search = PaymentSearch {
        text: set(query.text.reveal()),
        state: set(&query.state)
            .map(|state| state.parse().map_err(|error: crate::ledger::ParseStateError| bad_request(error.to_string())))
            .transpose()?,
        since: set(&query.since)
            .map(|since| parse_since(&since, Timestamp::now()).map_err(|error| bad_request(error.to_string())))
            .transpose()?,
        before: set(&query.before).map(|id| parse_id(&id)).transpose()?,
        limit: PAGE_SIZE + 1,
    };
    let mut payments = ledger.search(&search).await?;
    let has_more = payments.len() > PAGE_SIZE as usize;
    payments.truncate(PAGE_SIZE as usize);
    let text = search.text.as_deref().unwrap_or_default();
    let is_shown = may_be_shown(text);
    let older = payments.last().filter(|_| has_more && is_shown);
    let frame = Frame { title: "Payments", section: Section::Payments, operator: Some(operator), is_live: false };
    Ok(frame.render(&html! {
        h1 { "Payments" }
        (search_form(if is_shown { text } else { "" }, search.state, &query.since))
        @if payments.is_empty() {
            p .empty { "No payment matches." }
        } @else {
            (payments_table(&payments))
        }
        @if let Some(last) = older {
            form .actions method="post" action="/console/payments" {
                @for (name, value) in [("q", text), ("state", &query.state), ("since", &query.since), ("before", &last.id.to_string())] {
                    input type="hidden" name=(name) value=(value);
                }
                button type="submit" { "Older payments" }
            }
        }
    }))
}

/// Whether a text that was looked for is shown again. It may be a card number, with whatever between its digits: so many
/// digits are shown of an identifier or a telephone number only.
fn may_be_shown(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let is_known = || {
        text.parse::<PaymentId>().is_ok()
            || text.parse::<CallSid>().is_ok()
            || text.parse::<PaymentSid>().is_ok()
            || text.parse::<PhoneNumber>().is_ok()
    };
    !has_card_number(text) && text.chars().all(|c| c.is_ascii() || !c.is_numeric()) && (digits < 12 || is_known())
}

fn search_form(text: &str, state: Option<PaymentState>, since: &str) -> Markup {
    html! {
        form .search role="search" method="post" action="/console/payments" {
            div .grow {
                label for="q" { "Search" }
                input #q name="q" type="search" value=(text) maxlength=(MAX_TEXT_CHARS) autocomplete="off"
                    placeholder="Reference, SID, last four, caller";
            }
            div {
                label for="state" { "State" }
                select #state name="state" {
                    option value="" { "Any state" }
                    @for other in PaymentState::ALL {
                        option value=(other) selected[state == Some(other)] { (other) }
                    }
                }
            }
            div {
                label for="since" { "Opened" }
                select #since name="since" {
                    @for (value, name) in PERIODS {
                        option value=(value) selected[since == value] { (name) }
                    }
                }
            }
            button .primary type="submit" { "Search" }
        }
    }
}

fn payments_table(payments: &[Payment]) -> Markup {
    html! {
        div .panel.flush {
            table {
                caption .visually-hidden { "Payments, the newest first" }
                thead {
                    tr {
                        th scope="col" { "Opened (UTC)" }
                        th scope="col" { "State" }
                        th .num scope="col" { "Amount" }
                        th .wide scope="col" { "Card" }
                        th .wide scope="col" { "Caller" }
                        th .wide scope="col" { "Reference" }
                        th .wide scope="col" { "Confirmation" }
                    }
                }
                tbody {
                    @for payment in payments {
                        tr {
                            td { a href={ "/console/payments/" (payment.id) } { (time(payment.opened_at)) } }
                            td { (badge(payment.state)) }
                            td .num { (amount(payment)) }
                            td .wide { @if let Some(last4) = &payment.last4 { "•••• " (last4) } }
                            td .wide { (caller(payment)) }
                            td .wide { @if let Some(reference) = &payment.call_reference { (reference.reveal()) } }
                            td .wide { @if let Some(code) = &payment.confirmation_code { code { (code) } } }
                        }
                    }
                }
            }
        }
    }
}

/// Shows one payment.
pub(super) async fn get(
    ConsoleOperator(operator): ConsoleOperator,
    State(ledger): State<Ledger>,
    Path(id): Path<String>,
    Query(query): Query<DetailsQuery>,
) -> Result<Html<String>, PageError> {
    let notice = match &*query.done {
        "settle" => Some(Notice::Done("The outcome is recorded.")),
        "refunded" => Some(Notice::Done("The refund or dispute is recorded.")),
        _ => None,
    };
    details_page(&operator, &ledger, parse_id(&id)?, notice).await
}

async fn details_page(
    operator: &OperatorName,
    ledger: &Ledger,
    id: PaymentId,
    notice: Option<Notice<'_>>,
) -> Result<Html<String>, PageError> {
    let payment = ledger.payment(id).await?.ok_or_else(no_such_payment)?;
    let (events, statements) = (ledger.events(id).await?, ledger.statements(&payment.call_sid).await?);
    let is_settled = events.iter().any(|event| event.kind == "settled");
    let frame = Frame { title: "Payment", section: Section::Payments, operator: Some(operator), is_live: false };
    Ok(frame.render(&html! {
        p .crumbs { a href="/console/payments" { "Payments" } }
        h1 .with-badge { (amount(&payment)) " " (badge(payment.state)) }
        @match notice {
            Some(Notice::Done(text)) => p .notice.good role="status" { (text) },
            Some(Notice::Error(text)) => p .notice.bad role="alert" { (text) },
            None => {},
        }
        div .columns {
            (panel("Payment", "facts", &facts(&payment)))
            div .stack {
                @if !offered_outcomes(&payment, is_settled).is_empty() {
                    (panel("Record the outcome", "settle", &settle_form(&payment, is_settled)))
                }
                @if payment.state.was_charged() {
                    (panel("Record a refund or a dispute", "refund", &refund_form(&payment)))
                }
                (panel("Events (UTC)", "events", &history(&events)))
                @if !statements.is_empty() {
                    (panel("Statements of the call (UTC)", "statements", &history(&statements)))
                }
            }
        }
    }))
}

fn no_such_payment() -> PageError {
    PageError::new(StatusCode::NOT_FOUND, "No payment has this id.")
}

fn facts(payment: &Payment) -> Markup {
    let refunded = payment.amount.filter(|_| payment.refunded > 0);
    let refunded = refunded.map(|amount| amount.currency().format_minor(payment.refunded));
    let error = payment.result_code.map(|code| code.to_string());
    let rows: [(&str, Option<Markup>); 18] = [
        ("Opened (UTC)", Some(time(payment.opened_at))),
        ("Submitted", payment.submitted_at.map(time)),
        ("Ended", payment.ended_at.map(time)),
        ("Refunded", refunded.map(|refunded| html! { (refunded) })),
        ("Method", Some(html! { (payment.method) })),
        ("Card", payment.last4.as_ref().map(|last4| html! { "•••• " (last4) })),
        ("Money", Some(html! { @if payment.live { "live" } @else { "test mode" } })),
        ("Caller", payment.caller.as_ref().map(|caller| html! { (caller.masked()) })),
        ("Reference", payment.call_reference.as_ref().map(|text| html! { (text.reveal()) })),
        ("Order", payment.order_reference.as_ref().map(|text| html! { (text.reveal()) })),
        ("Description", payment.description.as_ref().map(|text| html! { (text.reveal()) })),
        ("Confirmation", payment.confirmation_code.as_ref().map(|text| html! { code { (text) } })),
        ("Result", payment.result.as_ref().map(|text| html! { (text) })),
        ("Error", error.map(|code| html! { code { (code) } " " (payment.result_text.as_deref().unwrap_or_default()) })),
        ("Token", payment.holds_token.then(|| html! { "held until it is delivered" })),
        ("Call", Some(html! { code { (payment.call_sid) } })),
        ("Session", payment.payment_sid.as_ref().map(|sid| html! { code { (sid) } })),
        ("Id", Some(html! { code { (payment.id) } })),
    ];
    html! {
        dl {
            @for (name, value) in rows {
                @if let Some(value) = value { dt { (name) } dd { (value) } }
            }
        }
    }
}

/// The outcomes that may fit: the ledger decides. After a settlement any of them may correct it.
fn offered_outcomes(payment: &Payment, is_settled: bool) -> Vec<SettledOutcome> {
    let fits = |outcome: SettledOutcome| match payment.state {
        _ if is_settled => true,
        PaymentState::Unknown => outcome != SettledOutcome::Returned || payment.is_bank_debit(),
        PaymentState::Pending => matches!(outcome, SettledOutcome::Charged | SettledOutcome::Returned),
        PaymentState::Disputed => outcome == SettledOutcome::Charged,
        PaymentState::Charged => outcome == SettledOutcome::Returned && payment.is_bank_debit(),
        _ => false,
    };
    OUTCOMES.into_iter().filter(|outcome| fits(*outcome)).collect()
}

fn settle_form(payment: &Payment, is_settled: bool) -> Markup {
    html! {
        form method="post" action={ "/console/payments/" (payment.id) "/settle" } {
            @if is_settled {
                input type="hidden" name="correct" value="yes";
                p .muted { "An operator has settled this payment. Correct it only if that was wrong, and say why in the note." }
            } @else {
                p .muted { "Look the payment up at the processor first." }
            }
            label for="outcome" { "Outcome" }
            select #outcome name="outcome" required {
                option value="" { "Choose what happened" }
                @for outcome in offered_outcomes(payment, is_settled) {
                    option value=(outcome.as_str()) { (outcome.as_str()) }
                }
            }
            label for="confirmationCode" { "Confirmation code of the processor" }
            input #confirmationCode name="confirmationCode" maxlength="256" autocomplete="off";
            label for="note" { "Note" }
            input #note name="note" maxlength="256" autocomplete="off" required[is_settled];
            button type="submit" { "Continue" }
        }
    }
}

fn refund_form(payment: &Payment) -> Markup {
    html! {
        form method="post" action={ "/console/payments/" (payment.id) "/refunded" } {
            p .muted { "This records what happened at the processor. It moves no money." }
            fieldset {
                legend { "What happened" }
                label .choice { input type="radio" name="kind" value="refund" checked; "Refund" }
                label .choice { input type="radio" name="kind" value="dispute"; "Dispute" }
            }
            label for="amount" { "Amount" @if let Some(amount) = payment.amount { " in " (amount.currency()) } }
            input #amount name="amount" inputmode="decimal" required autocomplete="off";
            label for="reference" { "Reference of the processor" }
            input #reference name="reference" maxlength="64" required autocomplete="off";
            button type="submit" { "Continue" }
        }
    }
}

/// Records what an operator says of a payment. Without the confirmation it only shows what will be recorded.
pub(super) async fn record(
    ConsoleOperator(operator): ConsoleOperator,
    State(ledger): State<Ledger>,
    Path((id, path)): Path<(String, String)>,
    form: ConsoleForm,
) -> Result<Response, PageError> {
    let id = parse_id(&id)?;
    let change = match Change::parse(&path, &form, &operator) {
        Ok(change) => change,
        Err(error) => return refuse(&operator, &ledger, id, &error).await,
    };
    if !form.is_confirmed() {
        let payment = ledger.payment(id).await?.ok_or_else(no_such_payment)?;
        return Ok(confirmation_page(&operator, &payment, &path, &change.question(), &form).into_response());
    }
    match change.write(&ledger, id).await {
        Ok(()) => Ok(Redirect::to(&format!("/console/payments/{id}?done={path}")).into_response()),
        Err(error) => refuse(&operator, &ledger, id, &error).await,
    }
}

/// What an operator records of a payment.
enum Change {
    Settlement(Settlement),
    Refund(Refund),
}

impl Change {
    /// Reads the form of this path.
    fn parse(path: &str, form: &ConsoleForm, operator: &OperatorName) -> Result<Self, PageError> {
        let operator = Some(operator.clone());
        match path {
            "settle" => {
                let outcome = form.value("outcome").unwrap_or_default().parse();
                Ok(Self::Settlement(Settlement {
                    outcome: outcome.map_err(|_| PageError::new(StatusCode::BAD_REQUEST, "Choose an outcome."))?,
                    confirmation: form.text("confirmationCode"),
                    note: form.text("note"),
                    is_correction: form.has("correct"),
                    operator,
                }))
            }
            "refunded" => Ok(Self::Refund(Refund {
                kind: match form.value("kind") {
                    Some("refund") => RefundKind::Refund,
                    Some("dispute") => RefundKind::Dispute,
                    _ => return Err(PageError::new(StatusCode::BAD_REQUEST, "Choose a refund or a dispute.")),
                },
                amount: form.text("amount").unwrap_or_default(),
                reference: form.text("reference").unwrap_or_default(),
                at: None,
                operator,
            })),
            _ => Err(PageError::new(StatusCode::NOT_FOUND, "There is no such page.")),
        }
    }

    fn question(&self) -> Markup {
        match self {
            Self::Settlement(settlement) => {
                html! { "Record that this payment was " strong { (settlement.outcome.as_str()) } "?" }
            }
            Self::Refund(refund) => {
                let kind = if refund.kind == RefundKind::Dispute { "dispute" } else { "refund" };
                html! { "Record a " strong { (kind) } " of this payment?" }
            }
        }
    }

    async fn write(&self, ledger: &Ledger, id: PaymentId) -> Result<(), PageError> {
        match self {
            Self::Settlement(settlement) => drop(settle_and_log(ledger, id, settlement).await?),
            Self::Refund(refund) => drop(refund_and_log(ledger, id, refund).await?),
        }
        Ok(())
    }
}

/// Shows the payment with what is wrong. If the payment cannot be shown that is said instead.
async fn refuse(
    operator: &OperatorName,
    ledger: &Ledger,
    id: PaymentId,
    error: &PageError,
) -> Result<Response, PageError> {
    let page = details_page(operator, ledger, id, Some(Notice::Error(error.error()))).await?;
    Ok((error.status(), page).into_response())
}

fn confirmation_page(
    operator: &OperatorName,
    payment: &Payment,
    path: &str,
    question: &Markup,
    form: &ConsoleForm,
) -> Html<String> {
    let names = [
        ("outcome", "Outcome"),
        ("confirmationCode", "Confirmation"),
        ("note", "Note"),
        ("kind", "Kind"),
        ("amount", "Amount"),
        ("reference", "Reference"),
    ];
    let details = format!("/console/payments/{}", payment.id);
    let frame = Frame { title: "Confirm", section: Section::Payments, operator: Some(operator), is_live: false };
    frame.render(&html! {
        div .narrow {
            h1 { (question) }
            dl {
                dt { "Payment" } dd { (amount(payment)) " " (badge(payment.state)) }
                dt { "Opened" } dd { (time(payment.opened_at)) }
                @for (field, name) in names {
                    @if let Some(value) = form.value(field) { dt { (name) } dd { (redact_card_numbers(value)) } }
                }
                dt { "Recorded by" } dd { (operator) }
            }
            p .muted { "It is kept among the events of the payment, and the webhook tells the business." }
            form .actions method="post" action={ (details) "/" (path) } {
                @for (name, value) in form.fields() {
                    input type="hidden" name=(name) value=(redact_card_numbers(value));
                }
                button .primary type="submit" name=(CONFIRMED) value="yes" { "Record it" }
                a .button href=(details) { "Cancel" }
            }
        }
    })
}

fn history(events: &[EventRecord]) -> Markup {
    html! {
        ol .history {
            @for event in events {
                li {
                    span .when { (time(event.at)) }
                    span .what { (event.kind) }
                    span .data { (event_data(event)) }
                }
            }
        }
    }
}

/// Renders the members of an event's data that have a value.
fn event_data(event: &EventRecord) -> Markup {
    let data: Value = serde_json::from_str(event.data.get()).unwrap_or_default();
    let members = data.as_object().into_iter().flatten().filter(|(name, value)| !value.is_null() && *name != "key");
    html! {
        @for (name, value) in members {
            span .member { (name) " " b { @if let Some(text) = value.as_str() { (text) } @else { (value) } } } " "
        }
    }
}

fn caller(payment: &Payment) -> Markup {
    html! { @if let Some(caller) = &payment.caller { (caller.masked()) } }
}

/// Renders the amount with its currency, or what the payment does instead.
fn amount(payment: &Payment) -> Markup {
    match payment.amount {
        Some(amount) => html! { (amount) " " span .muted { (amount.currency()) } },
        // Twilio does not report it for a session that this ledger did not create.
        None if payment.state.was_charged() || payment.state == PaymentState::Unknown => {
            html! { span .muted { "Amount not known" } }
        }
        None => html! { span .muted { "Card only" } },
    }
}

/// Renders a state with the colour of its kind. The word says it, too.
pub(super) fn badge(state: PaymentState) -> Markup {
    let class = match state {
        PaymentState::Charged | PaymentState::Tokenized | PaymentState::Pending => "badge good",
        PaymentState::Unknown | PaymentState::Disputed => "badge bad",
        PaymentState::Declined | PaymentState::Failed | PaymentState::Returned => "badge warn",
        PaymentState::Opened | PaymentState::Capturing | PaymentState::Submitted => "badge busy",
        PaymentState::Cancelled | PaymentState::Abandoned | PaymentState::Refunded => "badge",
    };
    html! { span class=(class) { (state) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_may_be_a_card_number_is_not_shown_again() {
        for shown in [
            "",
            "order-7",
            "INV 2026-11",
            "ch_3PqLyz",
            "+447700900144",
            "9a8f1282-65e4-5cf2-8b69-1b4cefccc055",
            "CA00000000000000000000000000000123",
            "Größe",
        ] {
            assert!(may_be_shown(shown), "{shown}");
        }
        for hidden in [
            "4242424242424242",
            "4242 4242 4242 4242",
            "42 and 42 then 42 and 42 so 42 or 42 it 42 is 42",
            "４２４２４２４２４２４２４２４２",
            "four two four two four two four two four two four two four two four two",
            "order 123456789012",
        ] {
            assert!(!may_be_shown(hidden), "{hidden}");
        }
    }
}
