//! Tests of what is kept of live calls.

use super::*;
use crate::call_claim::ClaimState;

const OTHER_KEY: &str = "HwECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

impl TestLedger {
    /// A ledger with a key, and a claim to its call.
    async fn with_claim() -> (Self, CallClaim) {
        let test = Self::new().await;
        test.ledger.set_sealing_keys(SEALING_KEY.parse().unwrap());
        let claim = CallClaim::new(ServerId::generate());
        assert!(test.ledger.claim_call(&test.call.call_sid, &claim).await.unwrap().left.is_none());
        (test, claim)
    }

    async fn write_items(&self, claim: &CallClaim, is_whole: bool, items: &[(i64, Option<&str>)], state: Option<&str>) {
        let items = items.iter().map(|(at, item)| (*at, item.map(str::to_owned))).collect();
        let (call, claim, state) = (self.call.call_sid.clone(), claim.clone(), state.map(str::to_owned));
        self.ledger.write_journal(&[JournalEntry { call, claim, is_whole, items, state }]).await.unwrap();
    }

    /// Another server takes the call over. Returns its claim, and what it finds.
    async fn take_over(&self) -> (CallClaim, LeftCall) {
        let claim = CallClaim::new(ServerId::generate());
        let claimed = self.ledger.claim_call(&self.call.call_sid, &claim).await.unwrap();
        (claim, claimed.left.unwrap())
    }

    /// All that is stored of live calls.
    async fn stored(&self) -> Vec<String> {
        let mut reading = self.ledger.begin_write().await.unwrap();
        let stored = "SELECT item FROM journal UNION ALL SELECT coalesce(state, '') FROM calls";
        sqlx::query_scalar(stored).fetch_all(&mut reading.transaction).await.unwrap()
    }
}

#[tokio::test]
async fn another_server_finds_what_was_written_last() {
    let (test, claim) = TestLedger::with_claim().await;
    test.write_items(&claim, true, &[(0, Some("details")), (2, Some("agent")), (1, Some("caller"))], Some("begun")).await;
    test.write_items(&claim, false, &[(2, Some("agent, cut")), (1, None), (3, Some("caller again"))], None).await;
    let (next, left) = test.take_over().await;
    assert_eq!((left.items, left.state.as_deref()), (vec!["details".into(), "agent, cut".into(), "caller again".into()], Some("begun")));
    // The old server may still believe that it has the call.
    assert_eq!(claim.state(), ClaimState::Held(1));
    test.write_items(&claim, true, &[(0, Some("forged"))], Some("forged")).await;
    test.write_items(&next, true, &[(0, Some("whole"))], None).await;
    let (_, left) = test.take_over().await;
    assert_eq!((left.items, left.state.as_deref()), (vec!["whole".to_owned()], Some("begun")));
}

#[tokio::test]
async fn what_is_kept_is_sealed_for_its_place_and_goes_with_the_call() {
    let (test, claim) = TestLedger::with_claim().await;
    test.write_items(&claim, true, &[(0, Some("hush-words")), (1, Some("hush-more"))], Some("hush-state")).await;
    let stored = test.stored().await;
    assert_eq!(stored.len(), 3);
    assert!(stored.iter().all(|text| text.starts_with("sealed:") && !text.contains("hush")), "{stored:?}");
    // Whoever can write to the database cannot move a row.
    test.execute("UPDATE journal SET position = 1 - position + 2").await.unwrap();
    assert_eq!(test.take_over().await.1.items, Vec::<String>::new());
    let test = test.restart().await;
    test.ledger.set_sealing_keys(OTHER_KEY.parse().unwrap());
    let (claim, left) = test.take_over().await;
    assert_eq!((left.items, left.state), (vec![], None), "another key opens nothing");
    test.ledger.release_call(&test.call.call_sid, &claim).await.unwrap();
    assert_eq!(test.stored().await, Vec::<String>::new());
}

#[tokio::test]
async fn the_newest_payment_in_progress_is_left_to_the_next_owner_and_older_ones_are_given_up() {
    let (mut test, claim) = TestLedger::with_claim().await;
    test.call.claim = Some(claim);
    let submitted = test.submit_payment("25", "PK1").await;
    let (_, left) = test.take_over().await;
    let payment = left.payment.unwrap();
    assert_eq!((payment.payment.id, payment.payment.state), (submitted, PaymentState::Submitted));
    assert!(!payment.steps.is_empty());
    assert_eq!(test.state(submitted).await, PaymentState::Submitted, "its result may still come");
}
