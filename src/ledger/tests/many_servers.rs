//! Tests of what several servers do with one ledger.

use super::postgres::{PostgresLedger, behind_a_wire, in_postgres};
use super::*;
use crate::call_claim::ClaimState;
use crate::call_stage::CallStage;
use crate::simulator::WireState;

/// A server of its own on the ledger of another one, with a claim to the call that it has not made yet.
struct OtherServer {
    ledger: Ledger,
    claim: CallClaim,
}

impl OtherServer {
    async fn beside(test: &PostgresLedger) -> Self {
        let ledger = Ledger::open(&test.url).await.unwrap();
        ledger.set_sealing_keys(SEALING_KEY.parse().unwrap());
        Self { ledger, claim: CallClaim::new(ServerId::generate()) }
    }
}

fn seen(test: &PostgresLedger, epoch: Option<i64>) -> OwnerlessCall {
    OwnerlessCall { call: test.call.call_sid.clone(), epoch }
}

impl PostgresLedger {
    /// Claims the call for a first server.
    async fn claim(&mut self) -> CallClaim {
        let claim = CallClaim::new(ServerId::generate());
        let claimed = self.ledger.claim_call(&self.call.call_sid, &claim).await.unwrap();
        assert_eq!((claimed.epoch, claimed.orphaned.len()), (1, 0));
        self.call.claim = Some(claim.clone());
        claim
    }
}

#[tokio::test]
async fn the_newest_claim_has_the_call() {
    let Some(mut test) = in_postgres().await else { return };
    let first = test.claim().await;
    let id = test.create_session("25", "PK1").await;
    let other = OtherServer::beside(&test).await;
    let claimed = other.ledger.claim_call(&test.call.call_sid, &other.claim).await.unwrap();
    assert_eq!((claimed.epoch, other.claim.state()), (2, ClaimState::Held(2)));
    assert!(claimed.orphaned.is_empty(), "the second may go on with what the first has left open");
    let left = claimed.left.unwrap().payment.unwrap();
    assert_eq!((left.payment.id, left.reported_to), (id, Some(first.server())));
    for change in [UpdateAction::Capture(Field::CardNumber), UpdateAction::Complete, UpdateAction::Cancel] {
        let refused = test.ledger.record_update_request(&test.call, &update(id, "PK1", change, 1)).await;
        assert!(matches!(refused, Err(RecordRequestError::Elsewhere)), "{refused:?}");
    }
    let refused = test.request_create("30").await.unwrap_err();
    assert!(matches!(refused, RecordRequestError::Elsewhere), "{refused:?}");
    assert_eq!(test.event_kinds(id).await, ["opening", "answered", "opened"], "nothing was asked");
    // What the first server does not ask, the second may.
    let orphaned = other.ledger.orphan_left_payments(&test.call.call_sid, &other.claim).await.unwrap();
    let cancel = orphaned[0].cancel_request("PK1".parse().unwrap());
    other.ledger.record_update_request(&orphaned[0].call, &cancel).await.unwrap();
    test.deliver_callback("PK1", &[("Result", "caller-hung-up")]).await;
    assert!(test.event_kinds(id).await.contains(&"ended".to_owned()), "what Twilio reports is written by anybody");
    first.lose();
    let refused = test.request_create("30").await.unwrap_err();
    assert!(matches!(refused, RecordRequestError::Elsewhere), "without a look at the ledger");
}

#[tokio::test]
async fn a_call_ends_only_where_it_is() {
    let Some(mut test) = in_postgres().await else { return };
    test.claim().await;
    let other = OtherServer::beside(&test).await;
    other.ledger.claim_call(&test.call.call_sid, &other.claim).await.unwrap();
    let there = CallData { claim: Some(other.claim.clone()), ..test.call.clone() };
    let here = std::mem::replace(&mut test.call, there.clone());
    let id = test.create_session("25", "PK1").await;
    test.ledger.record_call_ended(&here).await.unwrap();
    assert_eq!(test.state(id).await, PaymentState::Opened);
    test.ledger.release_call(&here.call_sid, here.claim.as_ref().unwrap()).await.unwrap();
    assert!(test.ledger.find_owner(&here.call_sid).await.unwrap().is_some());
    other.ledger.record_call_ended(&there).await.unwrap();
    assert_eq!(test.state(id).await, PaymentState::Abandoned);
    assert_eq!(test.ledger.find_owner(&here.call_sid).await.unwrap(), None, "a call that is over has no row");
}

#[tokio::test]
async fn nothing_is_asked_after_a_claim() {
    let Some(mut test) = in_postgres().await else { return };
    for n in 0..40 {
        test.call.call_sid = format!("CA{n}").parse().unwrap();
        test.call.caller = None;
        test.claim().await;
        let id = test.create_session("25", &format!("PK{n}")).await;
        let other = OtherServer { ledger: test.ledger.clone(), claim: CallClaim::new(ServerId::generate()) };
        let capture = update(id, &format!("PK{n}"), UpdateAction::Capture(Field::CardNumber), 1);
        let asking = test.ledger.record_update_request(&test.call, &capture);
        let claiming = async {
            other.ledger.claim_call(&test.call.call_sid, &other.claim).await.unwrap();
            test.event_kinds(id).await
        };
        let (asked, seen) = tokio::join!(asking, claiming);
        assert_eq!(test.event_kinds(id).await, seen, "{n}: the new owner knows all that is asked");
        assert_eq!(asked.is_ok(), seen.last().unwrap() == "asking", "{n}: {asked:?}");
    }
}

#[tokio::test]
async fn a_call_without_a_living_server_is_put_away_once() {
    let Some(mut test) = in_postgres().await else { return };
    test.claim().await;
    let (open, submitted) = (test.create_session("25", "PK1").await, test.submit_payment("30", "PK2").await);
    let (one, two) = (OtherServer::beside(&test).await, OtherServer::beside(&test).await);
    let found = test.ledger.calls_without_server().await.unwrap();
    assert_eq!(found, [seen(&test, Some(1))], "its server is not in the ledger");
    let put_away = async |server: &OtherServer| server.ledger.claim_ownerless(&found[0], &server.claim).await.unwrap();
    let (first, second) = tokio::join!(put_away(&one), put_away(&two));
    assert!(first.is_some() != second.is_some());
    let orphaned = first.or(second).unwrap().orphaned;
    assert_eq!(orphaned.len(), 0, "the second payment has ended the first");
    assert_eq!(test.state(open).await, PaymentState::Abandoned);
    assert_eq!(test.state(submitted).await, PaymentState::Unknown);
    // A socket that comes meanwhile claims it back.
    let back = OtherServer::beside(&test).await;
    assert_eq!(back.ledger.claim_call(&test.call.call_sid, &back.claim).await.unwrap().epoch, 3);
}

#[tokio::test]
async fn a_payment_whose_call_has_no_row_is_found() {
    let Some(mut test) = in_postgres().await else { return };
    let id = test.create_session("25", "PK1").await;
    let other = OtherServer::beside(&test).await;
    let found = other.ledger.calls_without_server().await.unwrap();
    assert_eq!(found, [seen(&test, None)]);
    let orphaned = other.ledger.claim_ownerless(&found[0], &other.claim).await.unwrap().unwrap().orphaned;
    assert_eq!(orphaned.len(), 1);
    other.ledger.finish_recovery(&orphaned[0]).await.unwrap();
    other.ledger.release_call(&test.call.call_sid, &other.claim).await.unwrap();
    assert_eq!(test.state(id).await, PaymentState::Abandoned);
    assert_eq!(other.ledger.calls_without_server().await.unwrap(), []);
}

#[tokio::test]
async fn the_beats_of_all_servers_are_seen() {
    let Some(test) = in_postgres().await else { return };
    let (one, two) = (ServerId::generate(), ServerId::generate());
    test.ledger.beat(one, "http://10.0.0.1:3001", false).await.unwrap();
    test.ledger.beat(two, "http://10.0.0.2:3001", false).await.unwrap();
    let mut seen = test.ledger.beat(one, "http://10.0.0.1:3001", true).await.unwrap();
    seen.sort_by_key(|server| server.beat);
    let seen: Vec<_> = seen.iter().map(|server| (server.id, &*server.address, server.beat)).collect();
    assert_eq!(seen, [(two, "http://10.0.0.2:3001", 1), (one, "http://10.0.0.1:3001", 2)]);
    assert_eq!(test.count("SELECT draining FROM servers WHERE beat = 2").await, 1);
    test.ledger.remove_server(two).await.unwrap();
    assert_eq!(test.ledger.beat(one, "http://10.0.0.1:3001", true).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_outcome_is_claimed_by_one_server_and_by_another_if_that_dies() {
    let Some(mut test) = in_postgres().await else { return };
    for n in 0..20 {
        test.call.call_sid = format!("CA{n}").parse().unwrap();
        test.call.caller = None;
        test.create_session("25", &format!("PK{n}")).await;
        test.ledger.record_call_ended(&test.call).await.unwrap();
    }
    let other = OtherServer::beside(&test).await;
    let now = Timestamp::now();
    let claim = async |ledger: &Ledger, now| {
        let claimed = ledger.claim_deliveries(now, 6, 0).await.unwrap();
        claimed.into_iter().map(|due| due.subject.payment_id().unwrap()).collect::<Vec<_>>()
    };
    let mut claimed = Vec::new();
    for _ in 0..2 {
        let (here, there) = tokio::join!(claim(&test.ledger, now), claim(&other.ledger, now));
        claimed.extend([here, there].concat());
    }
    claimed.sort();
    let all = claimed.len();
    claimed.dedup();
    assert_eq!((claimed.len(), all), (20, 20), "each is claimed once");
    assert_eq!(claim(&other.ledger, now).await, []);
    let later = now + jiff::SignedDuration::from_secs(21);
    assert_eq!(claim(&other.ledger, later).await.len(), 6, "whoever claimed them has died");
}

#[tokio::test]
async fn an_order_is_taken_once_and_is_sealed() {
    let Some(test) = in_postgres().await else { return };
    test.ledger.set_sealing_keys(SEALING_KEY.parse().unwrap());
    let other = OtherServer::beside(&test).await;
    let order =
        NewOrder { reference: "order-7", data: r#"{"name":"Ann"}"#, document: ("d-1", "<Response>Ann</Response>") };
    assert!(test.ledger.add_order(&order).await.unwrap());
    assert!(!other.ledger.add_order(&order).await.unwrap(), "it calls once");
    let [call, stranger]: [CallSid; 2] = ["CA1", "CA2"].map(|sid| sid.parse().unwrap());
    assert_eq!(other.ledger.take_document("d-2").await.unwrap(), StoredDocument::Unknown);
    let document = StoredDocument::Kept("<Response>Ann</Response>".to_owned());
    assert_eq!(other.ledger.take_document("d-1").await.unwrap(), document);
    assert_eq!(test.ledger.take_document("d-1").await.unwrap(), StoredDocument::Taken);
    assert_eq!(test.count("SELECT count(*) FROM orders WHERE data LIKE '%Ann%' OR document LIKE '%Ann%'").await, 0);
    other.ledger.record_order_placed("order-7", &call).await.unwrap();
    assert_eq!(test.ledger.claim_order("order-7", &stranger).await.unwrap(), None);
    assert_eq!(test.ledger.claim_order("order-7", &call).await.unwrap().as_deref(), Some(r#"{"name":"Ann"}"#));
    assert_eq!(other.ledger.take_order_of(&call).await.unwrap().as_deref(), Some(r#"{"name":"Ann"}"#));
    assert_eq!(test.ledger.claim_order("order-7", &call).await.unwrap(), None);
    assert!(test.ledger.add_order(&order).await.unwrap(), "the reference is free again");
}

#[tokio::test]
async fn what_is_known_of_a_call_goes_to_its_claimant_and_is_sealed() {
    let Some(test) = in_postgres().await else { return };
    test.ledger.set_sealing_keys(SEALING_KEY.parse().unwrap());
    let other = OtherServer::beside(&test).await;
    let call = &test.call.call_sid;
    test.ledger.share_call(call, "due of Ann").await.unwrap();
    assert_eq!(test.count("SELECT count(*) FROM calls WHERE about LIKE '%Ann%'").await, 0);
    let claimed = other.ledger.claim_call(call, &other.claim).await.unwrap();
    assert_eq!((claimed.epoch, claimed.about.as_deref()), (1, Some("due of Ann")));
    let row = "UPDATE calls SET call_sid = 'CA9' WHERE call_sid = 'CA1'";
    sqlx::query(row).execute(&test.ledger.0.readers).await.unwrap();
    let moved = other.ledger.claim_call(&"CA9".parse().unwrap(), &other.claim).await.unwrap();
    assert_eq!(moved.about, None, "what is sealed cannot be moved to another call");
}

#[tokio::test]
async fn a_callback_that_is_left_is_taken_once_by_the_server_that_has_its_call() {
    let Some(mut test) = in_postgres().await else { return };
    test.ledger.set_sealing_keys(SEALING_KEY.parse().unwrap());
    let claim = test.claim().await;
    let other = OtherServer::beside(&test).await;
    let call = test.call.call_sid.clone();
    other.ledger.leave_callback(&call, "first of Ann").await.unwrap();
    other.ledger.leave_callback(&call, "second").await.unwrap();
    other.ledger.leave_callback(&"CA9".parse().unwrap(), "of nobody").await.unwrap();
    assert_eq!(
        test.count("SELECT count(*) FROM missed_callbacks WHERE callback LIKE '%Ann%'").await,
        0,
        "it is sealed"
    );
    assert_eq!(other.ledger.take_missed_callbacks(other.claim.server()).await.unwrap(), []);
    let expected = [(call.clone(), "first of Ann".to_owned()), (call, "second".to_owned())];
    assert_eq!(test.ledger.take_missed_callbacks(claim.server()).await.unwrap(), expected);
    assert_eq!(test.ledger.take_missed_callbacks(claim.server()).await.unwrap(), []);
}

#[tokio::test]
async fn a_session_that_nobody_knows_is_not_cancelled_while_the_ledger_cannot_be_asked_whose_it_is() {
    let Some((mut test, wire)) = behind_a_wire().await else { return };
    test.claim().await;
    let id = test.create_session("25", "PK1").await;
    wire.set(WireState::Cut);
    let own = update(id, "PK1", UpdateAction::Cancel, 1);
    test.ledger.record_update_request(&test.call, &own).await.unwrap();
    let stranger = PaymentIdGenerator::new(Uuid::new_v4()).generate();
    let foreign = UpdatePayment { needs_claim: true, ..update(stranger, "PK2", UpdateAction::Cancel, 1) };
    let refused = test.ledger.record_update_request(&test.call, &foreign).await;
    assert!(matches!(refused, Err(RecordRequestError::Elsewhere)), "it may be that of the new owner: {refused:?}");
    wire.set(WireState::Whole);
}

#[tokio::test]
async fn a_server_learns_that_another_one_was_told_the_end_of_its_call() {
    let Some(mut test) = in_postgres().await else { return };
    let claim = test.claim().await;
    let other = OtherServer::beside(&test).await;
    let owned = |has_ended| OwnedCall { call: test.call.call_sid.clone(), epoch: 1, has_ended };
    assert_eq!(test.ledger.calls_of_server(claim.server()).await.unwrap(), [owned(false)]);
    other.ledger.record_call_stage(&test.call.call_sid, Some(CallStage::Ended)).await.unwrap();
    assert_eq!(test.ledger.calls_of_server(claim.server()).await.unwrap(), [owned(true)]);
}
