//! What Twilio has added: its new attributes, languages that it detects, and frames that it replays.

use std::process::Command;
use std::time::Duration;

use crelay_payments::simulator::{ModelReply, QueuedOpenAi, RelayClient};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::server::{REQUIRED_VARS, Server};

const REPLY: &str = "Here you are, with pleasure.";

/// A directory with this `serverConfig.json`.
fn assets(config: &Value) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("serverConfig.json"), config.to_string()).unwrap();
    dir
}

async fn start(config: &Value) -> (Server, QueuedOpenAi, TempDir) {
    let (openai, dir) = (QueuedOpenAi::start_with(ModelReply::text(REPLY), |_, _| {}).await.unwrap(), assets(config));
    let vars = [("OPENAI_BASE_URL", openai.base_url()), ("ASSETS_DIR", dir.path().to_str().unwrap())];
    (Server::start(&vars).await, openai, dir)
}

/// Says something in a language, and waits until the reply is complete. Returns the voice to which the server switches.
async fn say_in(socket: &mut RelayClient, language: &str) -> Option<String> {
    socket.send(&json!({"type": "prompt", "voicePrompt": "Hello", "lang": language, "last": true})).await.unwrap();
    let mut voice = None;
    let is_reply_over = |frame: &Value| {
        if frame["type"] == "language" {
            assert_eq!(frame["transcriptionLanguage"], Value::Null, "transcription goes on detecting");
            voice = frame["ttsLanguage"].as_str().map(str::to_owned);
        }
        frame["type"] == "text" && frame["last"] == true
    };
    socket.wait_for(is_reply_over).await.unwrap();
    voice
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_voice_follows_the_caller_after_two_prompts_in_a_row() {
    let config = json!({"ConversationRelay": {
        "Configuration": {"transcriptionLanguage": "multi", "ttsLanguage": "multi"},
        "Languages": [{"code": "en-AU"}, {"code": "fr-FR"}, {"code": "es-ES"}]}});
    let (server, openai, _dir) = start(&config).await;
    let mut socket = server.connect_call("CA1", &json!({})).await;
    openai.wait_for_requests(1).await.unwrap();
    socket.wait_for(|frame| frame["last"] == true).await.unwrap();
    let mut voices = Vec::new();
    for language in ["en", "en", "fr", "fr", "fr", "es", "en", "es", "es", "de", "de"] {
        voices.extend(say_in(&mut socket, language).await);
    }
    assert_eq!(voices, ["en-AU", "fr-FR", "es-ES"]);
    assert!(openai.last_input().contains("The caller speaks es-ES"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_replayed_frames_has_one_reply_that_nothing_interrupts() {
    let (server, openai, _dir) = start(&json!({"Compliance": {"disclosure": false}})).await;
    for setup in [None, Some(json!({"type": "setup", "sessionId": "VX2", "callSid": "CA1"}))] {
        let mut socket = server.connect_call("CA1", &json!({})).await;
        socket.wait_for(|frame| frame["last"] == true).await.unwrap();
        // The first prompt may reach the model before, after or never; its reply is never the one that is awaited.
        openai.reply_when_shown("What do I owe?", ModelReply::text(REPLY));
        openai.queue(ModelReply::Stall("Let me see"));
        let prompt = |words: &str| json!({"type": "prompt", "voicePrompt": words, "lang": "en-US", "last": true});
        let interrupt =
            json!({"type": "interrupt", "utteranceUntilInterrupt": "Here you", "durationUntilInterruptMs": 460});
        let mut burst: Vec<Value> = setup.into_iter().chain([interrupt.clone(), prompt("Wait")]).collect();
        burst.resize(499, interrupt);
        burst.push(prompt("What do I owe?"));
        burst.push(json!({"type": "interrupt", "utteranceUntilInterrupt": "Here", "durationUntilInterruptMs": 3}));
        let began = Instant::now();
        for frame in &burst {
            socket.send(frame).await.unwrap();
        }
        let mut said = String::new();
        let is_whole = |frame: &Value| {
            said.push_str(frame["token"].as_str().unwrap_or_default());
            frame["last"] == true && said.contains("pleasure")
        };
        tokio::time::timeout(Duration::from_secs(2), socket.wait_for(is_whole)).await.unwrap().unwrap();
        eprintln!("the reply to {} frames was complete after {:?}", burst.len(), began.elapsed());
        assert_eq!(said.matches("pleasure").count(), 1, "{said}");
        socket.close(1000, "over").await.unwrap();
        server.wait_for_calls(0).await;
        openai.set_replies([]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_attributes_and_extra_ones_are_in_the_twiml() {
    let config = json!({"ConversationRelay": {
        "Configuration": {"partialPromptOnHangup": true, "eagerEotThreshold": 0.4, "includeInPrompt": "turn-state",
            "asrSmartFormat": false, "deepgramSmartFormat": true,
            "languages": [{"code": "fr-FR", "hints": "Paris", "ttsTextNormalization": "on"}]},
        "Extra": {"nextYear": "a \"b\" <c>"}}});
    let (server, _openai, _dir) = start(&config).await;
    let form = [("CallSid", "CA1"), ("CallStatus", "ringing"), ("From", "+15550100001")];
    let twiml = server.post_as_twilio("/connectConversationRelay", &form).await.text().await.unwrap();
    for part in [
        r#"partialPromptOnHangup="true""#,
        r#"eagerEotThreshold="0.4""#,
        r#"includeInPrompt="turn-state""#,
        r#"asrSmartFormat="false""#,
        r#"<Language code="fr-FR" hints="Paris" ttsTextNormalization="on"/>"#,
        r#"nextYear="a &quot;b&quot; &lt;c&gt;""#,
    ] {
        assert!(twiml.contains(part), "{part} is not in {twiml}");
    }
    assert!(!twiml.contains("deepgramSmartFormat"), "{twiml}");
}

/// Runs a command of the binary with these assets. Returns its exit code and its output.
fn run(arguments: &[&str], config: &Value) -> (Option<i32>, String) {
    let dir = assets(config);
    let mut command = Command::new(env!("CARGO_BIN_EXE_crelay-payments"));
    command.args(arguments).current_dir(dir.path()).env_clear().envs(REQUIRED_VARS).env("ASSETS_DIR", dir.path());
    let output = command.env("PORT", "0").output().unwrap();
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    (output.status.code(), text)
}

#[test]
fn a_server_with_an_attribute_that_is_not_compliant_does_not_start() {
    let config = json!({"ConversationRelay": {"Configuration": {"turnDetection": true, "intelligenceService": "GA1"}}});
    let (code, output) = run(&["serve"], &config);
    assert_eq!(code, Some(2), "{output}");
    assert!(
        output.contains("turnDetection, intelligenceService") && output.contains("Pci.acceptNonCompliant"),
        "{output}"
    );
}

#[test]
fn a_recording_overwrites_nothing() {
    let (code, output) = run(&["observe", "--out", "serverConfig.json"], &json!({}));
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("serverConfig.json exists"), "{output}");
    let (code, output) = run(&["simulate", "--replay", "serverConfig.json"], &json!({"a": 1}));
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("line 1 is not an observation"), "{output}");
}
