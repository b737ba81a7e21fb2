//! What Twilio knows of each payment, and what the server's ledger has to say of it.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use reqwest::Client;
use serde::Deserialize;

use super::call::CallProbe;
use crate::payment::PaymentState;
use crate::simulator::load::PaymentResult;

/// The operator token of the program under test.
pub(super) const OPERATOR_TOKEN: &str = "bench-operator-token-0123456789";

/// The payments of a page.
const PAGE_SIZE: usize = 500;

/// What Twilio knows of a payment.
#[derive(Debug, Clone)]
pub(super) struct PaymentFacts {
    /// The id of the payment, from the idempotency key of its creation.
    pub(super) id: String,
    /// The SID of its session.
    pub(super) sid: String,
    /// How often it was submitted: `complete` was carried out.
    pub(super) submissions: usize,
    /// `complete` was answered last by an error that leaves open whether it was carried out.
    pub(super) is_submission_unclear: bool,
    /// The last result that was reported.
    pub(super) result: Option<PaymentResult>,
}

/// A payment in the ledger.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LedgerEntry {
    id: String,
    state: String,
    call_sid: String,
    payment_sid: Option<String>,
}

#[derive(Debug, Deserialize)]
struct LedgerPage {
    payments: Vec<LedgerEntry>,
    next: Option<String>,
}

/// Reads all payments from the server, page by page.
pub(super) async fn read_ledger(address: SocketAddr) -> anyhow::Result<Vec<LedgerEntry>> {
    let client = Client::builder().timeout(Duration::from_secs(10)).no_proxy().build()?;
    let (mut entries, mut after) = (Vec::new(), String::new());
    loop {
        let url = format!("http://{address}/payments?limit={PAGE_SIZE}{after}");
        let response = client.get(url).bearer_auth(OPERATOR_TOKEN).send().await?.error_for_status()?;
        let page: LedgerPage = response.json().await.context("a page of payments cannot be read")?;
        entries.extend(page.payments);
        let Some(next) = page.next else { return Ok(entries) };
        after = format!("&after={next}");
    }
}

/// Counts the payments by state.
pub(super) fn count_states(ledger: &[LedgerEntry]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for entry in ledger {
        *counts.entry(&*entry.state).or_default() += 1;
    }
    counts
}

/// Returns the wrong outcomes: payments whose state in the ledger is not what Twilio knows, and calls that paid twice.
pub(super) fn find_wrong_outcomes<'a>(
    calls: impl IntoIterator<Item = &'a CallProbe>,
    ledger: &[LedgerEntry],
) -> Vec<String> {
    let mut entries: HashMap<&str, &LedgerEntry> = ledger.iter().map(|entry| (&*entry.id, entry)).collect();
    let mut wrong = Vec::new();
    for call in calls {
        let payments = call.lock().payments.clone();
        let paid = payments.iter().filter(|payment| payment.result == Some(PaymentResult::Success)).count();
        if paid > 1 {
            wrong.push(format!("call {} paid {paid} times", call.number));
        }
        for facts in &payments {
            let entry = entries.remove(&*facts.id);
            let is_right = facts.submissions <= 1
                && entry.is_some_and(|entry| entry.call_sid == call.call_sid() && facts.agrees_with(entry));
            if !is_right {
                let (number, faults) = (call.number, &call.faults);
                wrong.push(format!("call {number}: Twilio has {facts:?}, the ledger {entry:?}, with {faults:?}"));
            }
        }
    }
    // Twilio has no session of the others, so nothing was submitted.
    wrong.extend(
        entries
            .into_values()
            .filter(|entry| entry.payment_sid.is_some() || !is_unpaid(entry.state.parse().ok()))
            .map(|entry| format!("Twilio has no session, the ledger {entry:?}")),
    );
    wrong
}

impl PaymentFacts {
    fn agrees_with(&self, entry: &LedgerEntry) -> bool {
        let state = entry.state.parse().ok();
        let is_right = match (self.result, self.submissions) {
            (Some(PaymentResult::Success), _) => state == Some(PaymentState::Charged),
            (Some(PaymentResult::Declined(_)), _) => state == Some(PaymentState::Declined),
            (_, 0) => is_unpaid(state) || self.is_submission_unclear && state == Some(PaymentState::Unknown),
            _ => state == Some(PaymentState::Unknown),
        };
        // The server has no SID if the response to the creation was lost.
        is_right && entry.payment_sid.as_ref().is_none_or(|sid| *sid == self.sid)
    }
}

/// Whether a payment ended, and was certainly never submitted.
fn is_unpaid(state: Option<PaymentState>) -> bool {
    matches!(state, Some(PaymentState::Cancelled | PaymentState::Abandoned | PaymentState::Failed))
}

#[cfg(test)]
mod tests {
    use super::super::call::Probes;
    use super::*;

    fn facts(result: Option<PaymentResult>, submissions: usize) -> PaymentFacts {
        let (id, sid) = ("id-1".to_owned(), "PK1".to_owned());
        PaymentFacts { id, sid, submissions, is_submission_unclear: false, result }
    }

    fn wrong(payments: Vec<PaymentFacts>, ledger: &[(&str, &str)]) -> usize {
        let probes = Probes::new(false, None);
        let call = probes.add();
        call.lock().payments = payments;
        let entry = |(id, state): &(&str, &str)| LedgerEntry {
            id: (*id).to_owned(),
            state: (*state).to_owned(),
            call_sid: call.call_sid(),
            payment_sid: Some("PK1".to_owned()),
        };
        let ledger: Vec<_> = ledger.iter().map(entry).collect();
        find_wrong_outcomes([&*call], &ledger).len()
    }

    #[test]
    fn the_ledger_has_to_say_what_twilio_knows() {
        let success = Some(PaymentResult::Success);
        let cancelled = Some(PaymentResult::Other("transaction-cancelled"));
        let unclear = PaymentFacts { is_submission_unclear: true, ..facts(None, 0) };
        for (known, right) in [
            (facts(success, 1), ["charged"].as_slice()),
            (facts(Some(PaymentResult::Declined(64012)), 1), &["declined"]),
            (facts(None, 1), &["unknown"]),
            (facts(cancelled, 0), &["cancelled", "abandoned", "failed"]),
            (unclear, &["cancelled", "abandoned", "failed", "unknown"]),
        ] {
            for state in PaymentState::ALL.map(PaymentState::as_str) {
                let expected = usize::from(!right.contains(&state));
                assert_eq!(wrong(vec![known.clone()], &[("id-1", state)]), expected, "{known:?} {state}");
            }
        }
    }

    #[test]
    fn doubled_missing_and_invented_payments_are_wrong() {
        let success = Some(PaymentResult::Success);
        assert_eq!(wrong(vec![facts(success, 2)], &[("id-1", "charged")]), 1);
        assert_eq!(wrong(vec![facts(success, 1)], &[]), 1);
        assert_eq!(wrong(Vec::new(), &[("id-9", "abandoned")]), 1);
        let twice = vec![facts(success, 1), PaymentFacts { id: "id-2".to_owned(), ..facts(success, 1) }];
        assert_eq!(wrong(twice, &[("id-1", "charged"), ("id-2", "charged")]), 1);
    }
}
