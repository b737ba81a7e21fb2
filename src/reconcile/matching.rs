//! Which row is which payment: by the ledger's id, else by the confirmation code, else by amount, currency, last four and time.

use std::collections::HashMap;

use jiff::SignedDuration;

use super::{Row, charged_at};
use crate::ledger::Payment;
use crate::payment::PaymentId;

/// How far the times of a row and a payment may be apart.
const WINDOW: SignedDuration = SignedDuration::from_mins(15);

/// The payment of a row, by its place among the payments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    None,
    One(usize),
    /// No other payment fits, but other rows fit it, and none of those fits another payment: a refund has a row of its own.
    Shared(usize),
    Ambiguous,
}

/// The matches of an export.
#[derive(Debug)]
pub(super) struct Matches {
    pub(super) of_rows: Vec<Match>,
    /// Whether a row may be the payment, matched or not.
    pub(super) has_row: Vec<bool>,
}

/// The places of what a row is compared by.
struct Index<'a> {
    payments: &'a [Payment],
    ids: HashMap<PaymentId, usize>,
    confirmations: HashMap<&'a str, Vec<usize>>,
    /// By amount in minor units and last four digits.
    cards: HashMap<(u64, &'a str), Vec<usize>>,
}

impl Matches {
    pub(super) fn of(rows: &[Row], payments: &[Payment]) -> Self {
        let index = Index::of(payments);
        let candidates: Vec<Vec<usize>> = rows.iter().map(|row| index.candidates(row)).collect();
        // Counted before anything is left out: what fits two rows is neither of them.
        let mut rows_of = vec![0_usize; payments.len()];
        candidates.iter().flatten().for_each(|at| rows_of[*at] += 1);
        let mut is_doubtful = vec![false; payments.len()];
        candidates.iter().filter(|all| all.len() > 1).flatten().for_each(|at| is_doubtful[*at] = true);
        let of_row = |candidates: &Vec<usize>| match candidates[..] {
            [] => Match::None,
            [one] if rows_of[one] == 1 => Match::One(one),
            [one] if !is_doubtful[one] => Match::Shared(one),
            _ => Match::Ambiguous,
        };
        Self {
            of_rows: candidates.iter().map(of_row).collect(),
            has_row: rows_of.iter().map(|count| *count > 0).collect(),
        }
    }
}

impl<'a> Index<'a> {
    fn of(payments: &'a [Payment]) -> Self {
        let mut index = Self { payments, ids: HashMap::new(), confirmations: HashMap::new(), cards: HashMap::new() };
        for (at, payment) in payments.iter().enumerate() {
            index.ids.insert(payment.id, at);
            if let Some(confirmation) = payment.confirmation.as_deref().filter(|code| !code.is_empty()) {
                index.confirmations.entry(confirmation).or_default().push(at);
            }
            if let (Some(amount), Some(last4)) = (payment.amount, payment.last4.as_deref()) {
                index.cards.entry((amount.minor(), last4)).or_default().push(at);
            }
        }
        index
    }

    /// The payments that a row may be. What its id and its confirmation code say is taken together: if they name two
    /// payments, it is neither. Only a row that names none is looked for by what was charged to which card.
    fn candidates(&self, row: &Row) -> Vec<usize> {
        let by_id = row.ids.iter().filter_map(|id| self.ids.get(id).copied());
        let by_code = row.confirmations.iter().filter_map(|code| self.confirmations.get(code.as_str())).flatten();
        let mut named: Vec<usize> = by_id.chain(by_code.copied()).collect();
        named.sort_unstable();
        named.dedup();
        if named.is_empty() { self.by_card(row) } else { named }
    }

    fn by_card(&self, row: &Row) -> Vec<usize> {
        let (Some(currency), Some(last4), Some(at)) = (row.currency, row.last4.as_deref(), row.at) else {
            return Vec::new();
        };
        let Some(minor) = row.amount.minor_in(currency) else { return Vec::new() };
        // Of a bank account the ledger may know two or three digits only.
        let ends = (0..=2).filter_map(|cut| last4.get(cut..));
        let fits = |place: &usize| {
            let payment = &self.payments[*place];
            payment.amount.is_some_and(|amount| amount.currency() == currency)
                && charged_at(payment).duration_since(at).abs() <= WINDOW
        };
        ends.filter_map(|end| self.cards.get(&(minor, end))).flatten().copied().filter(fits).collect()
    }
}
