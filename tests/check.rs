//! `crelay-payments check` with stand-ins for Twilio, OpenAI and the public address.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod check_world;

use check_world::{World, json_of};
use serde_json::json;

/// Runs `check` with one problem and checks the line that reports it.
async fn told(world: World, line: &str) {
    let found = world.check().await;
    assert_eq!(found.code, 1, "{}", found.printed);
    found.has(line);
}

#[tokio::test]
async fn a_valid_configuration_passes_and_no_secret_is_printed() {
    let found = World::new("well").check().await;
    assert_eq!(found.code, 0, "{}", found.printed);
    for line in [
        "✓ configuration",
        "✓ assets         calls begin with PaymentContext and PaymentToolManifest",
        "✓ tools",
        "✓ payments       are made with a card: card number, security code, expiry date",
        "✓ amounts        are in USD; an amount due (amountDue) may be up to 10000 (MAX_DUE)",
        "✓ amounts        a call without amountDue is charged what agent and caller agree on, from 0.50 to 1000.00 USD",
        "! PCI            speech goes through en-US: ElevenLabs (TTS), Deepgram (STT); en-AU: ",
        "✓ account        is active",
        "✓ number         FROM_NUMBER belongs",
        "✓ webhook        calls of the number come to POST http://pay.example.com/connectConversationRelay",
        "! connector      Twilio's API does not show whether \"Default\" exists",
        "✓ base URL       http://pay.example.com leads to this server (2 live calls)",
        "✓ model          127.0.0.1 has gpt-4o for this key",
        "0 to fix",
    ] {
        found.has(line);
    }
    for secret in ["hush-token", "hush-key", "hush-secret"] {
        assert!(!found.printed.contains(secret), "{}", found.printed);
    }
}

#[tokio::test]
async fn an_invalid_configuration_is_reported_as_at_start() {
    let found = World::new("unusable").with("FROM_NUMBER", "555").without("AUTH_TOKEN").check().await;
    assert_eq!(found.code, 2, "{}", found.printed);
    for part in ["FROM_NUMBER", "AUTH_TOKEN", "2 settings to fix"] {
        assert!(found.printed.contains(part), "{part}: {}", found.printed);
    }
}

#[tokio::test]
async fn refused_credentials_are_reported_with_their_variable() {
    told(World::new("token").with("AUTH_TOKEN", "wrong"), "✗ account        Twilio refuses AUTH_TOKEN").await;
    let both = |world: World, secret: &str| world.with("API_KEY", "SK1").with("API_SECRET", secret);
    told(both(World::new("key"), "wrong"), "✗ API key        Twilio refuses API_KEY").await;
    let found = both(World::new("both"), "hush-secret").check().await;
    assert_eq!(found.code, 0, "{}", found.printed);
    found.has("✓ API key        Twilio accepts API_KEY and API_SECRET; AUTH_TOKEN");
}

#[tokio::test]
async fn an_unreachable_business_is_reported() {
    let world = World::new("business").with("PAYMENT_WEBHOOK_SECRET", "hush-webhook-secret");
    let found = world.with("CALL_PARAMETERS_URL", "http://127.0.0.1:9/calls").check().await;
    assert_eq!(found.code, 1, "{}", found.printed);
    found.has("✗ business       127.0.0.1 refuses the connection: check CALL_PARAMETERS_URL");
    found.has("! business       CALL_PARAMETERS=optional: if it does not give an amount due (amountDue), or fails, a call is charged");

    let url = ("CALL_PARAMETERS_URL", "http://127.0.0.1:9/calls");
    let world = World::new("required").with("PAYMENT_WEBHOOK_SECRET", "hush-webhook-secret").with(url.0, url.1);
    world
        .with("CALL_PARAMETERS", "required")
        .check()
        .await
        .has("✓ business       CALL_PARAMETERS=required: a call takes no");
    let found = World::new("required-unasked").with("CALL_PARAMETERS", "required").check().await;
    assert_eq!(found.code, 2, "{}", found.printed);
    found.has("  CALL_PARAMETERS_URL  is not set, and CALL_PARAMETERS is required");
}

#[tokio::test]
async fn an_inactive_account_is_reported() {
    for (status, line) in [("suspended", "✗ account        is suspended"), ("closed", "✗ account        is closed")]
    {
        told(World::new(status).account(json!({ "status": status, "type": "Full" })), line).await;
    }
    let found = World::new("trial").account(json!({ "status": "active", "type": "Trial" })).check().await;
    found.has("! account        is a trial account");
    assert_eq!(found.code, 0);
}

#[tokio::test]
async fn an_unusable_number_is_reported() {
    let other = json!({ "phone_number": "+155501000021", "capabilities": { "voice": true } });
    told(World::new("no-number").number(other), "✗ number         FROM_NUMBER does not belong").await;
    let mute = json!({ "phone_number": "+15550100002", "capabilities": { "voice": false, "sms": true } });
    told(World::new("mute").number(mute), "✗ number         FROM_NUMBER cannot take calls").await;
}

#[tokio::test]
async fn a_number_with_another_webhook_is_reported_with_the_setting() {
    let mend = "set \"A call comes in\" to Webhook, http://pay.example.com/connectConversationRelay, HTTP POST";
    for (name, field, value, why) in [
        ("elsewhere", "voice_url", "https://u:hush-secret@old.example.com/voice", "calls of the number go elsewhere"),
        ("by-get", "voice_method", "GET", "calls of the number do not come by POST"),
        ("trunk", "trunk_sid", "TK1", "a SIP trunk takes the calls"),
        ("app", "voice_application_sid", "AP1", "a TwiML app takes the calls"),
    ] {
        let mut number = json_of(&World::new(name));
        number[field] = json!(value);
        let found = World::new(name).number(number).check().await;
        assert_eq!(found.code, 0, "{}", found.printed);
        found.has(&format!("! webhook        {why}"));
        assert!(found.printed.contains(mend) && !found.printed.contains("hush"), "{}", found.printed);
    }
}

#[tokio::test]
async fn a_connector_that_looks_like_a_sid_is_told() {
    let found = World::new("connector").with("PAYMENT_CONNECTOR", &format!("PC{}", "0".repeat(32))).check().await;
    found.has("! connector      PAYMENT_CONNECTOR looks like a PC… SID");
    assert_eq!(found.printed.matches("PC… SID").count(), 1, "reported once: {}", found.printed);
}

#[tokio::test]
async fn an_invalid_public_address_is_reported() {
    told(
        World::new("local").with("SERVER_BASE_URL", "http://localhost:3001"),
        "✗ base URL       http://localhost:3001 is an",
    )
    .await;
    told(
        World::new("redirect").health(308, ""),
        "✗ base URL       http://pay.example.com redirects to https://www.example.com",
    )
    .await;
    told(
        World::new("tls").with("SERVER_BASE_URL", "pay.example.com"),
        "✗ base URL       https://pay.example.com has no valid TLS certificate",
    )
    .await;
}

#[tokio::test]
async fn a_public_address_without_a_server_is_a_warning() {
    for (name, status, body, line) in [
        ("gateway", 502, "", "! base URL       http://pay.example.com answers HTTP 502"),
        ("stranger", 200, "<html>", "! base URL       http://pay.example.com is answered by something else"),
    ] {
        let found = World::new(name).health(status, body).check().await;
        assert_eq!(found.code, 0, "{}", found.printed);
        found.has(line);
    }
    let found = World::new("nobody").with("HTTP_PROXY", "http://127.0.0.1:9").check().await;
    found.has("! base URL       http://pay.example.com refuses the connection");
}

#[tokio::test]
async fn each_model_failure_is_reported_separately() {
    told(World::new("model-key").with("OPENAI_API_KEY", "wrong"), "✗ model          127.0.0.1 refuses OPENAI_API_KEY")
        .await;
    told(World::new("model-name").with("OPENAI_MODEL", "gpt-0"), "✗ model          127.0.0.1 has no gpt-0").await;
    told(
        World::new("model-down").with("OPENAI_BASE_URL", "http://127.0.0.1:9/v1"),
        "✗ model          127.0.0.1 refuses the connection",
    )
    .await;
    told(
        World::new("model-slow").with("OPENAI_MODEL", "slow"),
        "✗ model          127.0.0.1 does not answer within 5 seconds",
    )
    .await;
}

#[tokio::test]
async fn all_invalid_assets_are_reported() {
    let world = World::new("assets")
        .asset(
            "PaymentContext.md",
            "Call `start-capture`, then call `refund`. When done, `end-call`. Not `well-known`.",
        )
        .asset("PaymentToolManifest.json", "[{\"name\": \"end-call\"}]")
        .asset("Unused.md", " \n")
        .asset("Unused.json", "[\n{\"name\": \"send-fax\"}]");
    let found = world.check().await;
    assert_eq!(found.code, 1, "{}", found.printed);
    for line in [
        "✗ assets         assets/Unused.json:2: there is no tool \"send-fax\"",
        "✗ assets         assets/Unused.md: is empty",
        "✗ tools          the context tells the agent to use refund,",
        "✗ tools          the context tells the agent to use start-capture,",
        "! tools          the context names well-known,",
        "✓ model",
    ] {
        found.has(line);
    }
}

#[tokio::test]
async fn settings_that_conflict_with_pci_are_reported() {
    let config = json!({ "ConversationRelay": { "Configuration": {
        "intelligenceService": "GA1", "welcomeGreeting": "Call 555 0100", "ttsProvider": "Amazon" } } });
    let found = World::new("pci").asset("serverConfig.json", &config.to_string()).check().await;
    assert_eq!(found.code, 0, "{}", found.printed);
    for line in [
        "! PCI            speech goes through en-US: Amazon (TTS), Twilio's default (STT):",
        "! PCI            intelligenceService is set",
        "! PCI            welcomeGreeting has digits",
    ] {
        found.has(line);
    }
}

#[tokio::test]
async fn health_reports_the_status_of_the_local_server() {
    assert_eq!(World::new("well-server").health_of_this_machine().await, 0);
    assert_eq!(World::new("ill-server").health(503, "").health_of_this_machine().await, 1);
}
