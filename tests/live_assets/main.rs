//! Assets that change while the real server takes calls: local files, and a Twilio Sync stand-in over real HTTP.

#![cfg(feature = "simulator")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;
#[expect(dead_code, reason = "not all clients are used")]
#[path = "../server/mod.rs"]
mod server;

use harness::{Directory, Harness};
use serde_json::{Value, json};

const SYNC: &str = r#"{ "AssetLoader": { "context": "acme", "assetLoaderType": "sync" },
    "Compliance": { "disclosure": false } }"#;

fn content(text: &str) -> Value {
    json!({ "content": text })
}

/// A context of more than twice the maximum size of a Sync item.
fn long() -> String {
    "You are Acme's agent, and \"kind\" is how you are.\n".repeat(800)
}

#[tokio::test]
async fn a_start_puts_into_sync_what_is_missing_and_nothing_else() {
    let harness = Harness::new().await;
    let dir = Directory::with(&[
        ("serverConfig.json", SYNC),
        ("acme.md", "Be kind."),
        ("long.md", &long()),
        ("Desk.json", r#"[{ "type": "function", "name": "end-call" }]"#),
    ]);
    let server = harness.serve(&dir).await;
    assert_eq!(harness.sync.keys("Context"), ["acme", "long", "long#2", "long#3"]);
    assert_eq!(harness.sync.item("Context", "acme"), Some(content("Be kind.")));
    assert_eq!(harness.sync.keys("ToolManifest"), ["Desk"]);
    assert_eq!(harness.sync.item("ToolManifest", "Desk").unwrap()["tools"][0]["name"], "end-call");
    assert_eq!(harness.sync.document("serverConfig").unwrap()["AssetLoader"]["context"], "acme");
    assert_eq!(server.call(&[]).await.ask().await.instructions, "Be kind.");
    assert_eq!(server.call(&[("contextKey", "long")]).await.ask().await.instructions, long());

    let writes = harness.sync.writes().len();
    harness.serve(&dir).await;
    assert_eq!(harness.sync.writes().len(), writes, "a second start writes nothing: {:?}", harness.sync.writes());
    assert_eq!(harness.sync.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_start_does_not_overwrite_edits_in_sync() {
    let harness = Harness::new().await;
    for name in ["Something else", "ConversationRelay", "Another", "ConversationRelay"] {
        harness.sync.add_service(name);
    }
    let dir = Directory::with(&[("serverConfig.json", SYNC), ("acme.md", "Be kind.")]);
    harness.serve(&dir).await;
    assert_eq!(harness.sync.service_count(), 4, "no service is created");
    let oldest = format!("/v1/Services/IS{:032x}/", 2);
    assert!(harness.sync.writes().iter().all(|write| write.contains(&oldest)), "{:?}", harness.sync.writes());
    assert!(!harness.sync.writes().is_empty());

    let harness = Harness::new().await;
    harness.sync.put_item("Context", "acme", content("Be brief."));
    let server = harness.serve(&dir).await;
    assert_eq!(harness.sync.item("Context", "acme"), Some(content("Be brief.")));
    assert_eq!(server.call(&[]).await.ask().await.instructions, "Be brief.");
    assert_eq!(harness.sync.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn an_edit_in_sync_is_for_the_next_call_and_not_for_the_one_in_flight() {
    let harness = Harness::new().await;
    let dir = Directory::with(&[("serverConfig.json", SYNC), ("acme.md", "Be kind.")]);
    let server = harness.serve(&dir).await;
    let mut in_flight = server.call(&[]).await;
    assert_eq!(in_flight.ask().await.instructions, "Be kind.");

    harness.sync.put_item("Context", "acme", content("Be brief."));
    harness.sync.put_item("Context", "night", content("Whisper."));
    server.wait_for_instructions(&[("contextKey", "night")], "Whisper.").await;
    assert_eq!(server.call(&[]).await.ask().await.instructions, "Be brief.");
    assert_eq!(in_flight.ask().await.instructions, "Be kind.");
}

#[tokio::test]
async fn an_invalid_edit_keeps_the_last_valid_asset_and_does_not_block_others() {
    let harness = Harness::new().await;
    let dir = Directory::with(&[("serverConfig.json", SYNC), ("acme.md", "Be kind.")]);
    let server = harness.serve(&dir).await;
    harness.sync.put_item("Context", "acme", content("Be brief."));
    server.wait_for_instructions(&[], "Be brief.").await;

    harness.sync.put_item("Context", "acme", json!({ "contents": "Be rude." }));
    harness.sync.put_item("ToolManifest", "Broken", json!({ "tools": [{ "name": "send-fax" }] }));
    harness.sync.put_item("Context", "night#2", content("Half of a whisper."));
    harness.sync.put_item("Context", "day", content("Sing."));
    server.wait_for_instructions(&[("contextKey", "day")], "Sing.").await;
    assert_eq!(server.call(&[]).await.ask().await.instructions, "Be brief.");
    // A call that names an asset that cannot be used is handed to a person.
    for parameter in [("contextKey", "night"), ("manifestKey", "Broken")] {
        assert!(server.call(&[parameter]).await.try_ask().await.is_none(), "{parameter:?}");
    }

    // Removing a Sync item makes the local file effective again.
    harness.sync.remove_item("Context", "acme");
    server.wait_for_instructions(&[], "Be kind.").await;
}

#[tokio::test]
async fn an_item_that_is_removed_and_created_again_is_detected() {
    let harness = Harness::new().await;
    let dir = Directory::with(&[("serverConfig.json", SYNC), ("acme.md", "Be kind.")]);
    let server = harness.serve(&dir).await;
    // The new item has the same revision as the seeded one.
    harness.sync.remove_item("Context", "acme");
    harness.sync.put_item("Context", "acme", content("Be brief."));
    server.wait_for_instructions(&[], "Be brief.").await;
}

#[tokio::test]
async fn while_sync_is_down_calls_use_the_local_files() {
    let harness = Harness::new().await;
    harness.sync.set_down(true);
    let dir = Directory::with(&[("serverConfig.json", SYNC), ("acme.md", "Be kind.")]);
    let server = harness.serve(&dir).await;
    assert_eq!(server.call(&[]).await.ask().await.instructions, "Be kind.");
    harness.sync.put_item("Context", "acme", content("Be brief."));
    harness.sync.set_down(false);
    server.wait_for_instructions(&[], "Be brief.").await;
    assert_eq!(harness.sync.document("serverConfig").unwrap()["AssetLoader"]["context"], "acme");
}

#[tokio::test]
async fn custom_parameters_choose_what_a_call_uses() {
    let harness = Harness::new().await;
    let dir = Directory::with(&[("night.md", "Whisper."), ("Desk.json", r#"[{ "name": "end-call" }]"#)]);
    let server = harness.serve(&dir).await;
    let usual = server.call(&[("contextKey", ""), ("callReference", "7")]).await.ask().await;
    assert!(usual.instructions.contains("Payment update:") && usual.tools.len() > 1);
    let night = server.call(&[("contextKey", "night"), ("manifestKey", "Desk")]).await.ask().await;
    assert_eq!((night.instructions.as_str(), night.tools), ("Whisper.", vec!["end-call".to_owned()]));
    let by_file_name = server.call(&[("contextFile", "night.md"), ("toolManifestFile", "Desk.json")]).await.ask().await;
    assert_eq!((by_file_name.instructions.as_str(), by_file_name.tools.len()), ("Whisper.", 1));
    let unknown = server.call(&[("contextKey", "dusk"), ("manifestKey", "Desk")]).await.try_ask().await;
    assert!(unknown.is_none(), "a person takes over, and no other agent");
}

#[tokio::test]
async fn files_are_looked_at_while_the_server_runs() {
    let harness = Harness::new().await;
    let greeting = |text: &str| {
        let configuration = json!({ "welcomeGreeting": text });
        let server =
            json!({ "ConversationRelay": { "Configuration": configuration }, "AssetLoader": { "context": "acme" } });
        server.to_string()
    };
    let dir = Directory::with(&[("serverConfig.json", &greeting("Good day.")), ("acme.md", "Be kind.")]);
    let server = harness.serve(&dir).await;
    let mut in_flight = server.call(&[]).await;
    assert!(server.twiml().await.contains(r#"welcomeGreeting="Good day.""#));

    dir.write("acme.md", "Be brief.");
    server.wait_for_instructions(&[], "Be brief.").await;
    dir.write("acme.md", " ");
    dir.write("serverConfig.json", &greeting("Good evening."));
    server.wait_for_twiml(r#"welcomeGreeting="Good evening.""#).await;
    assert_eq!(server.call(&[]).await.ask().await.instructions, "Be brief.", "an empty context is invalid");
    assert_eq!(in_flight.ask().await.instructions, "Be kind.");
    dir.remove("serverConfig.json");
    server.wait_for_twiml("Hello, and thank you for calling.").await;
}

#[tokio::test]
async fn upload_assets_replaces_only_with_force() {
    let harness = Harness::new().await;
    let dir = Directory::with(&[("acme.md", "Be kind."), ("long.md", &long())]);
    let (code, printed) = harness.upload(&dir, &["acme.md", "long.md"]).await;
    assert_eq!((code, printed.as_str()), (0, "acme.md  added\nlong.md  added\n"));
    assert_eq!(harness.sync.keys("Context"), ["acme", "long", "long#2", "long#3"]);
    let (code, printed) = harness.upload(&dir, &["acme.md", "long.md"]).await;
    assert_eq!((code, printed.as_str()), (0, "acme.md  unchanged\nlong.md  unchanged\n"));

    for part in ["long#2", "long#3"] {
        harness.sync.remove_item("Context", part);
    }
    let (code, printed) = harness.upload(&dir, &["long.md"]).await;
    assert_eq!((code, printed.as_str()), (0, "long.md  added\n"), "an interrupted upload can be repeated");
    assert_eq!(harness.sync.keys("Context"), ["acme", "long", "long#2", "long#3"]);

    dir.write("long.md", &long()[..20_000]);
    dir.write("night.md", "Whisper.");
    let writes = harness.sync.writes().len();
    let (code, printed) = harness.upload(&dir, &["night.md", "long.md"]).await;
    assert_eq!(code, 1);
    assert!(printed.contains("long.md: differs from the one in Twilio Sync; --force replaces that"), "{printed}");
    assert_eq!(harness.sync.writes().len(), writes, "nothing is sent unless all assets are valid");
    let (code, printed) = harness.upload(&dir, &["night.md", "long.md", "--force"]).await;
    assert_eq!((code, printed.as_str()), (0, "long.md  replaced\nnight.md  added\n"));
    assert_eq!(harness.sync.keys("Context"), ["acme", "long", "long#2", "night"], "the third part is removed");
    assert_eq!(harness.upload(&dir, &["long.md"]).await.1, "long.md  unchanged\n");
    assert_eq!(harness.sync.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn invalid_assets_are_not_uploaded() {
    let harness = Harness::new().await;
    let parameters: String = "x".repeat(20_000);
    let dir = Directory::with(&[
        ("good.md", "Be kind."),
        ("empty.md", ""),
        ("Fax.json", "{ \"tools\": [\n{ \"name\": \"send-fax\" }] }"),
        ("Large.json", &format!(r#"[{{ "name": "end-call", "description": "{parameters}" }}]"#)),
        ("serverConfig.json", r#"{ "AssetLoader": { "context": "nowhere" } }"#),
        ("notes.txt", ""),
        ("my notes.md", "Be kind."),
    ]);
    for (file, expected) in [
        ("empty.md", "empty.md: is empty"),
        ("Fax.json", "Fax.json:2: there is no tool \"send-fax\""),
        ("Large.json", "Large.json: is 20"),
        ("serverConfig.json", "serverConfig.json: AssetLoader names nowhere.md, which does not exist"),
        ("notes.txt", "notes.txt: is not an asset"),
        ("my notes.md", "my notes.md: expected a file name of letters, digits, - and _"),
        ("absent.md", "absent.md: does not exist"),
        ("./good.md", "would be the same asset as"),
    ] {
        let (code, output) = harness.upload(&dir, &["good.md", file]).await;
        assert_eq!(code, 1, "{output}");
        assert!(output.contains(expected), "{expected} in {output}");
    }
    assert_eq!(harness.sync.writes(), Vec::<String>::new());
    harness.sync.set_down(true);
    let (code, output) = harness.upload(&dir, &["good.md"]).await;
    assert_eq!(code, 1);
    assert!(output.contains("Twilio Sync could not be read") && output.contains("HTTP 503"), "{output}");
}
