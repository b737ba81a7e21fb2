//! Rows that are not clearly a paid payment of the ledger settle nothing.

use super::*;

/// An export of paid rows of the first payment, with more columns: their names, and a line of cells for each row.
fn export_with(columns: &str, rows: &[&str]) -> Vec<ExportRow> {
    let lines = rows.iter().map(|cells| format!("ch_1,{},25.00,usd,paid,{cells}\n", id(1)));
    read(&format!("id,description,amount,currency,status,{columns}\n{}", lines.collect::<String>()))
}

fn read(text: &str) -> Vec<ExportRow> {
    read_export(text.as_bytes(), false).unwrap()
}

fn compare(rows: &[ExportRow], payment: &Payment) -> Reconciliation {
    Reconciliation::compare(rows, std::slice::from_ref(payment))
}

fn with(mut payment: Payment, change: impl FnOnce(&mut Payment)) -> Payment {
    change(&mut payment);
    payment
}

fn debit(state: PaymentState) -> Payment {
    with(payment(1, state), |payment| payment.method = "ach-debit".to_owned())
}

fn is_settled(columns: &str, cells: &str) -> bool {
    let result = compare(&export_with(columns, &[cells]), &payment(1, PaymentState::Unknown));
    assert_eq!(result.settlements.len() + result.findings.len(), 1, "{columns}: {cells}");
    !result.settlements.is_empty()
}

fn says(rows: &[ExportRow], payment: &Payment) -> String {
    let result = compare(rows, payment);
    assert!(result.settlements.is_empty());
    let lines: Vec<String> = result.findings.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

const KINDS: [&str; 17] = [
    "refund",
    "Partial Refund",
    "payment_refund",
    "authorization",
    "auth",
    "Auth Only",
    "hold",
    "void",
    "chargeback",
    "dispute",
    "payout",
    "fee",
    "transfer",
    "adjustment",
    "credit",
    "reversal",
    "prior auth capture",
];

#[test]
fn only_a_row_that_records_a_payment_settles_one() {
    for column in ["type", "Kind", "Transaction Type", "transactionType", "reporting_category"] {
        for kind in ["charge", "Payment", "SALE", "capture", "debit", "purchase", "", "-"] {
            assert!(is_settled(column, kind), "{column}: {kind}");
        }
        for kind in KINDS {
            assert!(!is_settled(column, kind), "{column}: {kind}");
        }
    }
    assert!(!is_settled("type,type", "charge,refund") && !is_settled("type,kind", "charge,fee"));
    let charged = payment(1, PaymentState::Charged);
    assert!(
        says(&export_with("type", &["void"]), &charged).contains("the row settles nothing, the row records \"void\"")
    );
    assert!(!compare(&export_with("type", &["dispute"]), &charged).is_clean());
    assert!(compare(&export_with("type", &["dispute"]), &payment(1, PaymentState::Disputed)).is_clean());
}

#[test]
fn a_refund_that_the_ledger_does_not_have_is_a_difference() {
    let text = |amount: &str| {
        let id = id(1);
        format!("id,description,amount,type\nch_1,{id},25.00,charge\nre_1,{id},{amount},refund\n")
    };
    let mut charged = payment(1, PaymentState::Charged);
    for amount in ["10.00", "-10.00", "(10.00)"] {
        charged.refunded = 0;
        let said = says(&read(&text(amount)), &charged);
        assert_eq!(said, format!("line 3: refunded 10.00 at the processor, 0.00 in the ledger: {}", id(1)));
        charged.refunded = 1000;
        let result = compare(&read(&text(amount)), &charged);
        assert!(result.is_clean() && result.agreeing_rows == 2);
    }
    let alone = read(&format!("id,description,amount,type,status\nre_1,{},25.00,refund,succeeded\n", id(1)));
    let said = says(&alone, &payment(1, PaymentState::Charged));
    assert!(said.contains("refunded 25.00 at the processor, 0.00 in the ledger"), "{said}");
    assert!(says(&read(&text("ten")), &charged).contains("an unreadable amount"));
    for state in [PaymentState::Unknown, PaymentState::Pending] {
        assert!(!compare(&alone, &payment(1, state)).is_clean());
        let result = compare(&read(&text("10.00")), &payment(1, state));
        assert!(result.settlements.is_empty() && result.findings.len() == 2, "{state}");
    }
}

#[test]
fn a_refunded_column_is_compared_with_the_ledger() {
    for (columns, cells) in
        [("amount_refunded", "10.00"), ("Amount Refunded,refunded", "10.00,true"), ("refunded", "10")]
    {
        let said = says(&export_with(columns, &[cells]), &payment(1, PaymentState::Charged));
        assert!(said.contains("refunded 10.00 at the processor, 0.00 in the ledger"), "{said}");
        let known = with(payment(1, PaymentState::Charged), |payment| payment.refunded = 1000);
        assert!(compare(&export_with(columns, &[cells]), &known).is_clean(), "{columns}");
    }
    let known = with(payment(1, PaymentState::Charged), |payment| payment.refunded = 1000);
    let said = says(&export_with("amount refunded", &["0.00"]), &known);
    assert!(said.contains("refunded 0.00 at the processor, 10.00 in the ledger"), "{said}");
    assert!(compare(&export_with("amount refunded", &[""]), &known).is_clean(), "a row of its own may say it");
    let text = format!("id,description,amount,amount refunded,status\nch_1,{},25.00,10.00,Partially refunded\n", id(1));
    assert!(compare(&read(&text), &known).is_clean());
    assert!(says(&read(&text), &payment(1, PaymentState::Charged)).contains("refunded 10.00 at the processor"));
    let whole = with(payment(1, PaymentState::Refunded), |payment| payment.refunded = 2500);
    assert!(says(&read(&text), &whole).contains("refunded 10.00 at the processor, 25.00 in the ledger"));
}

#[test]
fn a_refunded_unknown_payment_is_not_settled() {
    for (columns, cells) in [
        ("amount refunded", "25.00"),
        ("amount refunded", "-10.00"),
        ("amount_refunded,refunded", "0,true"),
        ("amount refunded", "some"),
        ("Refunded date (UTC)", "2026-11-23 10:00"),
    ] {
        assert!(!is_settled(columns, cells), "{columns}: {cells}");
        let said = says(&export_with(columns, &[cells]), &payment(1, PaymentState::Unknown));
        assert!(said.contains("refunded, in whole or in part"), "{said}");
    }
    for (columns, cells) in [("amount refunded", "0.00"), ("amount refunded,refunded", "0,false"), ("refunded", "")] {
        assert!(is_settled(columns, cells), "{columns}: {cells}");
    }
}

#[test]
fn an_uncaptured_amount_settles_nothing() {
    for cell in ["false", "No", "0", "n", "partially"] {
        assert!(!is_settled("captured", cell), "{cell}");
    }
    for cell in ["true", "Yes", "1", ""] {
        assert!(is_settled("Captured", cell), "{cell}");
    }
    assert!(!is_settled("amount captured", "10.00") && is_settled("amount captured", "25"));
    let said = says(&export_with("captured", &["false"]), &payment(1, PaymentState::Charged));
    assert!(said.contains("the amount is not captured"), "{said}");
}

#[test]
fn live_and_test_rows_settle_only_payments_of_their_mode() {
    let test = with(payment(1, PaymentState::Unknown), |payment| payment.live = false);
    for (column, live_cell, test_cell) in [
        ("livemode", "true", "false"),
        ("Live", "yes", "no"),
        ("mode", "live", "TEST"),
        ("Test", "0", "1"),
        ("test mode", "false", "true"),
        ("environment", "production", "sandbox"),
    ] {
        assert!(is_settled(column, live_cell) && !is_settled(column, test_cell), "{column}");
        assert!(compare(&export_with(column, &[live_cell]), &test).settlements.is_empty(), "{column}");
        assert_eq!(compare(&export_with(column, &[test_cell]), &test).settlements.len(), 1, "{column}");
    }
    assert!(!is_settled("livemode,test", "true,true") && !is_settled("livemode", "perhaps"));
    assert!(is_settled("mode", "card not present"), "that is another mode");
}

#[test]
fn a_currency_in_the_amount_has_to_match_the_payment() {
    let row =
        |header: &str, cells: &str| read(&format!("id,description,status,{header}\nch_1,{},paid,{cells}\n", id(1)));
    for amount in ["€25.00", "25.00 EUR", "25.00 €", "25.00 coins", "¤25.00"] {
        let result = compare(&row("amount", amount), &payment(1, PaymentState::Unknown));
        assert!(result.settlements.is_empty(), "{amount}");
        assert_eq!(result.findings, [ReconciliationFinding::AmountMismatch { payment: id(1), line: 2 }], "{amount}");
    }
    for amount in ["$25.00", "25.00 USD", "usd 25", "$25.00 USD", "25.00"] {
        assert_eq!(
            compare(&row("amount", amount), &payment(1, PaymentState::Unknown)).settlements.len(),
            1,
            "{amount}"
        );
    }
    for cells in ["25.00,euros", "€25.00,USD"] {
        let result = compare(&row("amount,currency", cells), &payment(1, PaymentState::Unknown));
        assert_eq!(result.findings, [ReconciliationFinding::AmountMismatch { payment: id(1), line: 2 }], "{cells}");
    }
}

#[test]
fn another_card_settles_nothing_even_with_the_right_id() {
    assert!(!is_settled("last4", "4243") && is_settled("last4", "4242") && is_settled("last4", ""));
    let said = says(&export_with("last4", &["1881"]), &payment(1, PaymentState::Charged));
    assert!(said.contains("the last four digits differ from the ledger's"), "{said}");
    let account = with(debit(PaymentState::Pending), |payment| payment.last4 = Some("89".to_owned()));
    assert_eq!(compare(&export_with("last4", &["6789"]), &account).settlements.len(), 1);
}

#[test]
fn a_status_that_another_column_contradicts_settles_nothing() {
    assert!(!is_settled("payment status", "refunded") && !is_settled("payment status", "failed"));
    assert!(is_settled("state", "CA") && is_settled("payment status", "succeeded"));
    assert!(!is_settled("disputed", "true") && !is_settled("disputed amount", "25.00"));
    assert!(is_settled("disputed,disputed amount", "false,0.00"));
    let header = "id,description,created,amount,currency,last4,status,disputed";
    for status in ["failed", "returned"] {
        let text = format!("{header}\nch_1,{},{},25.00,usd,4242,{status},true\n", id(1), at(0));
        assert!(compare(&read(&text), &payment(1, PaymentState::Pending)).settlements.is_empty(), "{status}");
    }
}

#[test]
fn a_bank_debit_that_is_returned_after_settlement_is_a_difference() {
    let row = |status: &str, minutes| ("py_1", id(1).to_string(), minutes, status.to_owned());
    let came_back = |rows: &[(&str, String, i64, String)], payment: &Payment| {
        let rows: Vec<_> = rows
            .iter()
            .map(|(code, id, minutes, status)| (*code, id.as_str(), "25.00", "4242", *minutes, status.as_str()))
            .collect();
        let said = says(&export(&rows), payment);
        assert!(!said.is_empty());
        said.contains(&format!("settle {} --as returned --note", id(1)))
    };
    let (charged, card) = (debit(PaymentState::Charged), payment(1, PaymentState::Charged));
    for status in ["returned", "failed"] {
        assert!(came_back(&[row(status, 60)], &charged), "{status}");
        assert!(came_back(&[row("paid", 0), row(status, 60)], &charged), "{status}");
        assert!(!came_back(&[row(status, 60)], &card), "{status}");
    }
    assert!(!came_back(&[row("failed", -60), row("paid", 0)], &charged), "the first try");
    assert!(!came_back(&[row("paid", 0), row("returned", 60)], &debit(PaymentState::Pending)));
}

/// A column that contradicts a paid payment of the ledger, and the contradicting cell.
fn mark() -> impl Strategy<Value = (&'static str, String)> {
    let cells = |column: &'static str, cells: &'static [&'static str]| {
        prop::sample::select(cells).prop_map(move |cell| (column, cell.to_owned()))
    };
    prop_oneof![
        (prop::sample::select(&["type", "kind", "transaction type"][..]), prop::sample::select(&KINDS[..]))
            .prop_map(|(column, kind)| (column, kind.to_owned())),
        cells("captured", &["false", "no", "0"]),
        cells("livemode", &["false", "0", "no"]),
        cells("mode", &["test"]),
        cells("test", &["true", "1"]),
        cells("amount refunded", &["25.00", "10.00", "0.01", "-1", "?1"]),
        cells("refunded", &["true", "1"]),
        cells("disputed", &["true"]),
    ]
}

proptest! {
    /// Holds for every state in the ledger, for all other cells and however the row is matched.
    #[test]
    fn no_row_with_a_contradicting_column_settles(
        marks in prop::collection::vec(mark(), 1..4),
        state in prop::sample::select(&PaymentState::ALL[..]),
        is_debit: bool,
        status in prop::sample::select(&["paid", "succeeded", "failed", "returned", "refunded", "pending", ""][..]),
        named: bool,
        others in payments(),
    ) {
        let names: Vec<&str> = marks.iter().map(|(name, _)| *name).collect();
        let cells: Vec<&str> = marks.iter().map(|(_, cell)| cell.as_str()).collect();
        let named = if named { id(90).to_string() } else { String::new() };
        let text = format!(
            "id,description,created,amount,currency,last4,status,{}\nch_90,{named},{},25.00,usd,4242,{status},{}\n",
            names.join(","), at(0), cells.join(","),
        );
        let mut all = others;
        all.push(with(payment(90, state), |payment| payment.method = if is_debit { "ach-debit" } else { "credit-card" }.to_owned()));
        let result = Reconciliation::compare(&read(&text), &all);
        prop_assert!(result.settlements.is_empty(), "{text}");
    }
}
