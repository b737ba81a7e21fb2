//! `crelay-payments check` as an operator meets it: the real binary, with Twilio, OpenAI and the public address played.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod check_world;

use check_world::{World, json_of};
use serde_json::json;

/// The binary over a world where all is well but for one thing, and the line that has to tell of it.
async fn told(world: World, line: &str) {
    let found = world.check().await;
    assert_eq!(found.code, 1, "{}", found.printed);
    found.has(line);
}

#[tokio::test]
async fn where_all_is_well_it_says_so_and_prints_no_secret() {
    let found = World::new("well").check().await;
    assert_eq!(found.code, 0, "{}", found.printed);
    for line in [
        "✓ configuration",
        "✓ assets         calls begin with PaymentContext and PaymentToolManifest",
        "✓ tools",
        "✓ payments       are made with a card: card number, security code, expiry date",
        "✓ amounts        are in USD; what is due (amountDue) is up to 10000 (MAX_DUE)",
        "✓ amounts        a call without amountDue is charged what agent and caller agree on, from 0.50 to 1000.00 USD",
        "! PCI            speech goes through en-US: ElevenLabs (TTS), Deepgram (STT); en-AU: ",
        "✓ account        is active",
        "✓ number         FROM_NUMBER belongs",
        "✓ webhook        calls of the number come to POST http://pay.example.com/connectConversationRelay",
        "! connector      Twilio tells no program whether \"Default\" exists",
        "✓ base URL       http://pay.example.com leads to this server (2 live calls)",
        "✓ model          127.0.0.1 has gpt-4o for this key",
        "0 to mend",
    ] {
        found.has(line);
    }
    for secret in ["hush-token", "hush-key", "hush-secret"] {
        assert!(!found.printed.contains(secret), "{}", found.printed);
    }
}

#[tokio::test]
async fn a_configuration_that_cannot_be_used_is_told_as_at_start() {
    let found = World::new("unusable").with("FROM_NUMBER", "555").without("AUTH_TOKEN").check().await;
    assert_eq!(found.code, 2, "{}", found.printed);
    for part in ["FROM_NUMBER", "AUTH_TOKEN", "2 settings to mend"] {
        assert!(found.printed.contains(part), "{part}: {}", found.printed);
    }
}

#[tokio::test]
async fn credentials_that_twilio_refuses_are_told_by_their_variable() {
    told(World::new("token").with("AUTH_TOKEN", "wrong"), "✗ account        Twilio refuses AUTH_TOKEN").await;
    let both = |world: World, secret: &str| world.with("API_KEY", "SK1").with("API_SECRET", secret);
    told(both(World::new("key"), "wrong"), "✗ API key        Twilio refuses API_KEY").await;
    let found = both(World::new("both"), "hush-secret").check().await;
    assert_eq!(found.code, 0, "{}", found.printed);
    found.has("✓ API key        Twilio takes API_KEY and API_SECRET; AUTH_TOKEN");
}

#[tokio::test]
async fn a_business_that_cannot_be_asked_is_told() {
    let world = World::new("business").with("PAYMENT_WEBHOOK_SECRET", "hush-webhook-secret");
    let found = world.with("CALL_PARAMETERS_URL", "http://127.0.0.1:9/calls").check().await;
    assert_eq!(found.code, 1, "{}", found.printed);
    found.has("✗ business       127.0.0.1 takes no connection: look at CALL_PARAMETERS_URL");
    found.has("! business       CALL_PARAMETERS=optional: where it does not say what is due (amountDue), or fails, a call is charged");

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
async fn an_account_that_is_not_active_is_told() {
    for (status, line) in [("suspended", "✗ account        is suspended"), ("closed", "✗ account        is closed")]
    {
        told(World::new(status).account(json!({ "status": status, "type": "Full" })), line).await;
    }
    let found = World::new("trial").account(json!({ "status": "active", "type": "Trial" })).check().await;
    found.has("! account        is a trial account");
    assert_eq!(found.code, 0);
}

#[tokio::test]
async fn a_number_that_cannot_be_used_is_told() {
    let other = json!({ "phone_number": "+155501000021", "capabilities": { "voice": true } });
    told(World::new("no-number").number(other), "✗ number         FROM_NUMBER does not belong").await;
    let mute = json!({ "phone_number": "+15550100002", "capabilities": { "voice": false, "sms": true } });
    told(World::new("mute").number(mute), "✗ number         FROM_NUMBER cannot take calls").await;
}

#[tokio::test]
async fn a_number_that_leads_elsewhere_is_told_with_what_to_set() {
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
    assert_eq!(found.printed.matches("PC… SID").count(), 1, "told once: {}", found.printed);
}

#[tokio::test]
async fn a_public_address_that_does_not_do_is_told() {
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
        "✗ base URL       https://pay.example.com cannot be encrypted to",
    )
    .await;
}

#[tokio::test]
async fn a_public_address_where_nothing_runs_yet_is_no_error() {
    for (name, status, body, line) in [
        ("gateway", 502, "", "! base URL       http://pay.example.com answers HTTP 502"),
        ("stranger", 200, "<html>", "! base URL       http://pay.example.com is answered by something else"),
    ] {
        let found = World::new(name).health(status, body).check().await;
        assert_eq!(found.code, 0, "{}", found.printed);
        found.has(line);
    }
    let found = World::new("nobody").with("HTTP_PROXY", "http://127.0.0.1:9").check().await;
    found.has("! base URL       http://pay.example.com takes no connection");
}

#[tokio::test]
async fn a_model_that_is_not_there_is_told_apart() {
    told(World::new("model-key").with("OPENAI_API_KEY", "wrong"), "✗ model          127.0.0.1 refuses OPENAI_API_KEY")
        .await;
    told(World::new("model-name").with("OPENAI_MODEL", "gpt-0"), "✗ model          127.0.0.1 has no gpt-0").await;
    told(
        World::new("model-down").with("OPENAI_BASE_URL", "http://127.0.0.1:9/v1"),
        "✗ model          127.0.0.1 takes no connection",
    )
    .await;
    told(
        World::new("model-slow").with("OPENAI_MODEL", "slow"),
        "✗ model          127.0.0.1 does not answer within 5 seconds",
    )
    .await;
}

#[tokio::test]
async fn assets_that_cannot_be_used_or_do_not_agree_are_told_all() {
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
async fn what_is_not_for_card_data_is_told() {
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
async fn a_server_on_this_machine_is_well_if_it_says_so() {
    assert_eq!(World::new("well-server").health_of_this_machine().await, 0);
    assert_eq!(World::new("ill-server").health(503, "").health_of_this_machine().await, 1);
}
