//! A simulated call is recorded, its recording contains nothing of it, and it is replayed.

use std::path::Path;

use super::*;
use crate::observation::Recorder;
use crate::simulator::scenario;
use crate::simulator::transcript::TranscriptEvent;

/// Plays a scenario with a recorder. Returns the recording and every text that was said.
async fn record(name: &str, file: &Path, tries_config: bool) -> (String, Vec<String>) {
    let mut scenario = scenario::all().into_iter().find(|scenario| scenario.name == name).unwrap();
    let recorder = Recorder::create(file, tries_config).unwrap();
    scenario.server_overrides.recorder = Some(recorder.clone());
    let result = Box::pin(ScenarioRunner::fast().run(&scenario)).await.unwrap();
    assert_eq!(recorder.close(), 0);
    assert!(tries_config || result.has_passed(), "{}", result.to_text());
    let said = result.transcript.iter().filter_map(|entry| match &entry.event {
        TranscriptEvent::AgentSaid { text, .. } | TranscriptEvent::CallerSaid { text, .. } => Some(text.clone()),
        _ => None,
    });
    (std::fs::read_to_string(file).unwrap(), said.collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recorded_call_says_nothing_and_is_read_when_it_is_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let (recording, said) = record("spoken-card-number", &dir.path().join("call.jsonl"), false).await;
    assert!(said.len() > 8);
    let values: Vec<&str> = recording.split("\"value\":\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let values = values.join("\n");
    for word in said.iter().flat_map(|text| text.split(|c: char| !c.is_alphanumeric())).filter(|word| word.len() > 3) {
        // These are in known words, such as `payment-card-number`.
        let is_protocol = ["card", "code", "date", "security", "number", "payment", "expiration"].contains(&word);
        assert!(is_protocol || !values.contains(word), "{word:?} is in the recording");
    }
    for digits in ["4242", "1229", "731", "5550100001"] {
        assert!(!values.contains(digits), "{digits} is in the recording");
    }
    let observations = parse_recording(&recording).unwrap();
    let has = |kind: &str| recording.contains(&format!("\"kind\":\"{kind}\""));
    for kind in ["socketOpened", "frame", "socketClosed", "webhook", "answer", "end"] {
        assert!(has(kind), "{kind}");
    }
    let paths = |path: &str| {
        observations
            .iter()
            .filter(|it| matches!(&it.event, ObservedEvent::Webhook { path: of, .. } if of == path))
            .count()
    };
    assert_eq!(
        (paths(VOICE_WEBHOOK), paths("/connectAction")),
        (1, 1),
        "requests without a signature are not recorded"
    );
    assert!(paths("/payment-status-callback") > 10);
    let report = replay(&recording).await.unwrap();
    assert!(report.has_passed() && report.differences.is_empty(), "{report}");
    assert!(report.frames > 10 && report.webhooks > 10, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_config_frame_is_tried_and_its_answer_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let (recording, _) = record("charge", &dir.path().join("call.jsonl"), true).await;
    let frames: Vec<Option<String>> = parse_recording(&recording)
        .unwrap()
        .into_iter()
        .filter_map(|it| match it.event {
            ObservedEvent::Frame { shape, .. } => Some(shape.member("type").and_then(Shape::text).map(str::to_owned)),
            _ => None,
        })
        .collect();
    let count = |kind: &str| frames.iter().filter(|it| it.as_deref() == Some(kind)).count();
    assert_eq!((count("config"), count("error")), (1, 1), "the simulated Twilio does not know it either");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_cannot_read_is_reported() {
    let recording = r#"
        {"atMs":0,"direction":"in","kind":"socketOpened","socket":1,"headers":[{"name":"x-twilio-new","type":"string","length":3,"value":"xxx"}]}
        {"atMs":1,"direction":"in","kind":"frame","socket":1,"shape":{"type":"object","members":[{"name":"type","type":"string","length":5,"value":"setup"},{"name":"callSid","type":"sid","prefix":"CA","length":34},{"name":"accountSid","type":"sid","prefix":"AC","length":34}]}}
        {"atMs":2,"direction":"in","kind":"frame","socket":1,"shape":{"type":"object","members":[{"name":"type","type":"string","length":6,"value":"prompt"},{"name":"voicePrompt","type":"string","length":20},{"name":"turnState","type":"object","members":[{"name":"stage","type":"string","length":5,"value":"xxxxx"}]}]}}
        {"atMs":3,"direction":"in","kind":"frame","socket":1,"shape":{"type":"object","members":[{"name":"type","type":"string","length":6,"value":"prompt"},{"name":"voicePrompt","type":"number","value":"99"}]}}
        {"atMs":4,"direction":"in","kind":"frame","socket":1,"shape":{"type":"object","members":[{"name":"type","type":"string","length":13,"value":"configUpdated"},{"name":"config","type":"null"}]}}
        {"atMs":5,"direction":"in","kind":"webhook","path":"/payment-status-callback","query":[],"headers":[],"form":[{"name":"Sid","type":"sid","prefix":"PK","length":34}]}
        {"atMs":6,"direction":"out","kind":"answer","path":"/payment-status-callback","status":204,"length":0,"elements":[]}
    "#;
    let report = replay(recording).await.unwrap();
    assert!(!report.has_passed());
    let unread: Vec<&str> = report.unread.keys().map(String::as_str).collect();
    assert_eq!(unread.len(), 3, "{report}");
    assert!(unread[0].starts_with("/payment-status-callback is answered 400, and was answered 204"), "{report}");
    assert!(unread[1].starts_with("a frame of the type configUpdated"), "{report}");
    assert!(unread[2].starts_with("a frame of the type prompt: not a ConversationRelay frame"), "{report}");
    let differences: Vec<&str> = report.differences.keys().map(String::as_str).collect();
    assert_eq!(
        differences,
        [
            "a frame of the type configUpdated: type string, config null",
            "prompt has a member turnState: object (stage string)",
            "the upgrade has x-twilio-new: string of 3, \"xxx\"",
            "voicePrompt of prompt is number 99 and not string",
        ]
    );
    assert!(replay("{}").await.is_err() && replay("").await.is_err());
}
