//! Personal data is erased, and nothing else.

use super::erasing::stands;
use super::*;

/// A caller's payment, of an order.
async fn charged(desk: &mut Desk, n: u32) -> PaymentId {
    desk.call = call(&format!("CA{n}"));
    desk.call.is_of(&format!("hush-reference-{n}"));
    desk.call.is_of_order(&format!("hush-order-{n}"));
    let parameters = [("description".to_owned(), format!("hush-description-{n}"))].into_iter().collect();
    desk.terms = Settings::sample().terms(&parameters).unwrap().into();
    let sid = format!("PK{n}");
    let id = desk.submitted("25", &sid).await;
    let mut success = status(&sid, &CHARGED);
    success.call = desk.call.sid.clone();
    desk.ledger.reported(&success).await.unwrap();
    id
}

async fn deliver_all(desk: &Desk) {
    while let Some(due) = desk.ledger.due(Timestamp::now(), 9).await.unwrap().pop() {
        desk.ledger.delivered(&due).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_erased_of_a_caller_is_in_no_byte_of_the_files() {
    let mut desk = Desk::new().await;
    let mut ids = Vec::new();
    for n in 0..60 {
        ids.push(charged(&mut desk, n).await);
    }
    deliver_all(&desk).await;
    let caller = "+15550100001".parse().unwrap();
    assert!(stands(&desk.directory.0, "hush-reference-59") && stands(&desk.directory.0, "hush-description"));
    let erased = desk.ledger.erase_caller(&caller, |_, _| {}).await.unwrap();
    assert_eq!(erased, Erased { erased: 60, left: 0 });
    desk.ledger.rebuild().await.unwrap();
    desk.ledger.wipe_erased().await.unwrap();
    assert!(!desk.ledger.is_to_be_wiped());
    for text in ["hush", "15550100001"] {
        assert!(!stands(&desk.directory.0, text), "{text}");
    }
    let payment = desk.ledger.payment(ids[0]).await.unwrap().unwrap();
    assert_eq!((payment.state, payment.amount.map(Amount::minor)), (State::Charged, Some(2500)));
    assert_eq!(payment.last4.as_deref(), Some("4242"));
    assert_eq!(desk.kinds(ids[0]).await.last().unwrap(), "personal-data-erased");
    desk.call.is_of("hush-reference-7");
    desk.call.is_of_order("hush-order-7");
    desk.call.sid = "CA99".parse().unwrap();
    assert!(matches!(desk.opening("25").await, Err(Refused::Order(_))), "the order stays paid");
}

#[tokio::test]
async fn a_payment_that_is_not_over_or_not_told_keeps_its_caller() {
    let mut desk = Desk::new().await;
    let told = charged(&mut desk, 1).await;
    deliver_all(&desk).await;
    let untold = charged(&mut desk, 2).await;
    desk.call = call("CA3");
    desk.call.is_of("another");
    let submitted = desk.submitted("25", "PK3").await;
    let erased = desk.ledger.erase_caller(&"+15550100001".parse().unwrap(), |_, _| {}).await.unwrap();
    assert_eq!(erased, Erased { erased: 1, left: 2 });
    let later = Timestamp::now() + jiff::SignedDuration::from_hours(24);
    assert_eq!(desk.ledger.erase_personal_data(later).await.unwrap(), 0);
    for (id, has_caller) in [(told, false), (untold, true), (submitted, true)] {
        assert_eq!(desk.ledger.payment(id).await.unwrap().unwrap().caller.is_some(), has_caller);
    }
}

#[tokio::test]
async fn many_payments_are_erased_in_many_transactions() {
    let mut desk = Desk::new().await;
    charged(&mut desk, 1).await;
    deliver_all(&desk).await;
    desk.multiplies(2000).await;
    let commits = || desk.ledger.0.commits.load(Ordering::Relaxed);
    let before = commits();
    let mut steps = Vec::new();
    let caller = "+15550100001".parse().unwrap();
    let erased = desk.ledger.erase_caller(&caller, |done, all| steps.push((done, all))).await.unwrap();
    assert_eq!(erased, Erased { erased: 2001, left: 0 });
    assert_eq!(commits() - before, 21, "a hundred payments each");
    assert_eq!((steps.len(), steps[0], steps[20]), (21, (100, 2001), (2001, 2001)));
    let kept =
        "SELECT count(*) FROM payments WHERE coalesce(caller, call_reference, order_reference, description) NOT NULL";
    let kept: i64 = sqlx::query_scalar(kept).fetch_one(&mut desk.beside().await).await.unwrap();
    assert_eq!(kept, 0);
}

#[tokio::test]
async fn an_erasure_that_was_cut_short_is_finished_by_another_while_payments_are_written() {
    let mut desk = Desk::new().await;
    charged(&mut desk, 1).await;
    deliver_all(&desk).await;
    desk.multiplies(1000).await;
    let later = Timestamp::now() + jiff::SignedDuration::from_hours(24);
    let erase = desk.ledger.clone();
    // In the first transaction, or in the pause after it.
    let cut = tokio::time::timeout(std::time::Duration::from_millis(5), erase.erase_personal_data(later)).await;
    assert!(cut.is_err());
    desk.call = call("CA2");
    desk.call.caller = None;
    let (rest, _) = tokio::join!(erase.erase_personal_data(later), desk.opened("25", "PK2"));
    assert!(rest.unwrap() > 0);
    assert_eq!(erase.erase_personal_data(later).await.unwrap(), 0);
    let mut beside = desk.beside().await;
    let events = "SELECT count(*) FROM events WHERE kind = 'personal-data-erased'";
    let events: i64 = sqlx::query_scalar(events).fetch_one(&mut beside).await.unwrap();
    assert_eq!(events, 1001, "each once");
}

#[tokio::test]
async fn totals_are_by_day_currency_and_state() {
    let mut desk = Desk::new().await;
    let refunded = charged(&mut desk, 1).await;
    charged(&mut desk, 2).await;
    let part = Refund { kind: RefundKind::Refund, amount: "10".into(), reference: "re_1".into(), at: None };
    desk.ledger.record_refund(refunded, &part).await.unwrap();
    desk.ledger.set_live(false);
    desk.call = call("CA3");
    desk.submitted("0", "PK3").await;
    let totals = desk.ledger.totals(None).await.unwrap();
    let csv = TotalsCsv(&totals).to_string();
    let lines: Vec<&str> = csv.lines().skip(1).map(|line| line.split_once(',').unwrap().1).collect();
    assert_eq!(lines, [",submitted,test,1,,0,,0", "USD,charged,live,2,50.00,5000,10.00,1000"], "{csv}");
    assert!(TotalsTable(&totals).to_string().contains("charged    live        2            50.00            10.00"));
    assert!(desk.ledger.totals(Some(Timestamp::now() + jiff::SignedDuration::from_hours(1))).await.unwrap().is_empty());
}
