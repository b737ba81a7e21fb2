//! Tests that the recording of a call begins once, and that its steps survive a restart.

use super::*;
use crate::payment::{NoticeKind, SpokenStatement};
use crate::recording::RecordingStep::{Pause, Resume, Start};
use crate::recording::{RecordingAnswer, RecordingStage};

fn test_call(sid: &str) -> CallData {
    CallData::from_sid(sid.parse().unwrap())
}

fn done() -> RecordingAnswer {
    RecordingAnswer::Done(Some("RE1".parse().unwrap()))
}

#[tokio::test]
async fn a_recording_begins_once_for_each_call() {
    let mut test = TestLedger::new().await;
    for call in ["CA1", "CA2"] {
        test.call = test_call(call);
        assert!(test.ledger.record_recording_request(&test.call, Start).await.unwrap());
        let known = test.ledger.find_recording(&test.call.call_sid).await.unwrap();
        assert_eq!(known.stage, RecordingStage::Uncertain, "Twilio has not answered");
        let mut restarted = test.restart().await;
        restarted.call = test_call(call);
        assert!(!restarted.ledger.record_recording_request(&restarted.call, Start).await.unwrap());
        test = restarted;
    }
}

#[tokio::test]
async fn the_steps_of_a_recording_survive_a_restart() {
    let mut test = TestLedger::new().await;
    test.call = test_call("CA1");
    let sid = test.call.call_sid.clone();
    let heard = SpokenStatement {
        text: "This call is recorded.".to_owned(),
        recorded_text: "This call is recorded.".to_owned(),
        language: "en-US".to_owned(),
        text_version: "00000000".to_owned(),
    };
    test.ledger.record_notice(&test.call, NoticeKind::Recording, &heard).await.unwrap();
    let answers = [done(), RecordingAnswer::Refused { code: Some(21218) }, done(), RecordingAnswer::Unknown];
    for (step, answer) in [Start, Pause, Pause, Resume].into_iter().zip(&answers) {
        assert!(test.ledger.record_recording_request(&test.call, step).await.unwrap());
        test.ledger.record_recording_answer(&sid, step, answer).await.unwrap();
        let known = test.ledger.find_recording(&sid).await.unwrap();
        let stage = match (step, answer) {
            (Start, _) => RecordingStage::Running,
            (Pause, RecordingAnswer::Done(_)) => RecordingStage::Paused,
            _ => RecordingStage::Uncertain,
        };
        assert_eq!((known.stage, known.sid.as_ref().map(ToString::to_string).as_deref()), (stage, Some("RE1")));
    }
    let mut restarted = test.restart().await;
    restarted.call = test_call("CA1");
    let known = restarted.ledger.load_prior_payments(&restarted.call).await.unwrap();
    assert!(known.is_empty() && !known.is_disclosed && known.recording.is_announced);
    assert_eq!(known.recording.stage, RecordingStage::Uncertain);
    let events = restarted.ledger.statements(&sid).await.unwrap();
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!((kinds.len(), kinds[0], kinds[8]), (9, "statement", "recording"));
    let refused: serde_json::Value = serde_json::from_str(events[4].data.get()).unwrap();
    assert_eq!(refused, serde_json::json!({"step": "pause", "answer": "refused", "recordingSid": null, "code": 21218}));
}
