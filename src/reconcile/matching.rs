//! Matches rows to payments: by payment id and confirmation code, else by amount, currency, last four digits and time.

use std::collections::HashMap;

use jiff::SignedDuration;

use super::{ExportRow, charged_at};
use crate::ledger::Payment;
use crate::payment::PaymentId;

/// The maximum difference between the times of a row and a payment.
const WINDOW: SignedDuration = SignedDuration::from_mins(15);

/// The payment of a row, as an index into the payments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowMatch {
    None,
    One(usize),
    /// The only payment that fits, where other rows fit only this payment too: a refund may have a separate row.
    Shared(usize),
    Ambiguous,
}

/// The matches of an export.
#[derive(Debug)]
pub(super) struct RowMatches {
    pub(super) by_row: Vec<RowMatch>,
    /// Whether any row fits the payment, matched or not.
    pub(super) has_row: Vec<bool>,
}

/// The indices of the payments, by the values that rows are compared with.
struct PaymentIndex<'a> {
    payments: &'a [Payment],
    ids: HashMap<PaymentId, usize>,
    confirmations: HashMap<&'a str, Vec<usize>>,
    /// By amount in minor units and last four digits.
    cards: HashMap<(u64, &'a str), Vec<usize>>,
}

impl RowMatches {
    pub(super) fn find(rows: &[ExportRow], payments: &[Payment]) -> Self {
        let index = PaymentIndex::new(payments);
        let candidates: Vec<Vec<usize>> = rows.iter().map(|row| index.candidates(row)).collect();
        // Counted over all candidates: a payment that fits two rows is not matched with one of them alone.
        let mut rows_of = vec![0_usize; payments.len()];
        candidates.iter().flatten().for_each(|at| rows_of[*at] += 1);
        let mut is_doubtful = vec![false; payments.len()];
        candidates.iter().filter(|all| all.len() > 1).flatten().for_each(|at| is_doubtful[*at] = true);
        let of_row = |candidates: &Vec<usize>| match candidates[..] {
            [] => RowMatch::None,
            [one] if rows_of[one] == 1 => RowMatch::One(one),
            [one] if !is_doubtful[one] => RowMatch::Shared(one),
            _ => RowMatch::Ambiguous,
        };
        Self {
            by_row: candidates.iter().map(of_row).collect(),
            has_row: rows_of.iter().map(|count| *count > 0).collect(),
        }
    }
}

impl<'a> PaymentIndex<'a> {
    fn new(payments: &'a [Payment]) -> Self {
        let mut index = Self { payments, ids: HashMap::new(), confirmations: HashMap::new(), cards: HashMap::new() };
        for (at, payment) in payments.iter().enumerate() {
            index.ids.insert(payment.id, at);
            if let Some(confirmation) = payment.confirmation_code.as_deref().filter(|code| !code.is_empty()) {
                index.confirmations.entry(confirmation).or_default().push(at);
            }
            if let (Some(amount), Some(last4)) = (payment.amount, payment.last4.as_deref()) {
                index.cards.entry((amount.minor(), last4)).or_default().push(at);
            }
        }
        index
    }

    /// The payments that a row may belong to. Payment ids and confirmation codes count together: if they name two
    /// payments, the row is ambiguous. Only a row that names none is matched by amount, card and time.
    fn candidates(&self, row: &ExportRow) -> Vec<usize> {
        let by_id = row.ids.iter().filter_map(|id| self.ids.get(id).copied());
        let by_code = row.confirmations.iter().filter_map(|code| self.confirmations.get(code.as_str())).flatten();
        let mut named: Vec<usize> = by_id.chain(by_code.copied()).collect();
        named.sort_unstable();
        named.dedup();
        if named.is_empty() { self.find_by_card(row) } else { named }
    }

    fn find_by_card(&self, row: &ExportRow) -> Vec<usize> {
        let (Some(currency), Some(last4), Some(at)) = (row.currency, row.last4.as_deref(), row.at) else {
            return Vec::new();
        };
        let Some(minor) = row.amount.minor_in(currency) else { return Vec::new() };
        // For a bank account the ledger may have only two or three digits.
        let ends = (0..=2).filter_map(|cut| last4.get(cut..));
        let fits = |place: &usize| {
            let payment = &self.payments[*place];
            payment.amount.is_some_and(|amount| amount.currency() == currency)
                && charged_at(payment).duration_since(at).abs() <= WINDOW
        };
        ends.filter_map(|end| self.cards.get(&(minor, end))).flatten().copied().filter(fits).collect()
    }
}
