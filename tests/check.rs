//! `crelay-payments check` with stand-ins for Twilio, OpenAI and the public address.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod check_harness;

use check_harness::{CheckHarness, number_json};
use serde_json::json;

/// Runs `check` with one problem and checks the line that reports it.
async fn check_problem(harness: CheckHarness, line: &str) {
    let output = harness.check().await;
    assert_eq!(output.code, 1, "{}", output.printed);
    output.expect_line(line);
}

#[tokio::test]
async fn a_valid_configuration_passes_and_no_secret_is_printed() {
    let output = CheckHarness::new("well").check().await;
    assert_eq!(output.code, 0, "{}", output.printed);
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
        "✓ model          127.0.0.1 has gpt-6-luna for this key",
        "0 to fix",
    ] {
        output.expect_line(line);
    }
    for secret in ["hush-token", "hush-key", "hush-secret"] {
        assert!(!output.printed.contains(secret), "{}", output.printed);
    }
}

#[tokio::test]
async fn an_invalid_configuration_is_reported_as_at_start() {
    let output = CheckHarness::new("unusable").with("FROM_NUMBER", "555").without("AUTH_TOKEN").check().await;
    assert_eq!(output.code, 2, "{}", output.printed);
    for part in ["FROM_NUMBER", "AUTH_TOKEN", "2 settings to fix"] {
        assert!(output.printed.contains(part), "{part}: {}", output.printed);
    }
}

#[tokio::test]
async fn refused_credentials_are_reported_with_their_variable() {
    check_problem(
        CheckHarness::new("token").with("AUTH_TOKEN", "wrong-token-of-the-account"),
        "✗ account        Twilio refuses AUTH_TOKEN",
    )
    .await;
    let both = |harness: CheckHarness, secret: &str| harness.with("API_KEY", "SK1").with("API_SECRET", secret);
    check_problem(both(CheckHarness::new("key"), "wrong"), "✗ API key        Twilio refuses API_KEY").await;
    let output = both(CheckHarness::new("both"), "hush-secret").check().await;
    assert_eq!(output.code, 0, "{}", output.printed);
    output.expect_line("✓ API key        Twilio accepts API_KEY and API_SECRET; AUTH_TOKEN");
}

#[tokio::test]
async fn the_businesss_own_tools_are_checked() {
    let manifest = json!([
        {"name": "confirm-amount"}, {"name": "start-capture"},
        {"name": "find-invoice", "http": {"url": "http://127.0.0.1:9/find-invoice"}},
    ]);
    let servers = json!({"ToolServers": {"crm": {"url": "http://127.0.0.1:9/mcp", "tools": ["find-customer"]}}});
    let harness = |name: &str| {
        let context = "Call `find-customer`, then `find-invoice`.";
        let harness = CheckHarness::new(name).asset("PaymentToolManifest.json", &manifest.to_string());
        harness.asset("serverConfig.json", &servers.to_string()).asset("PaymentContext.md", context)
    };
    let secret = harness("own-tools").with("PAYMENT_WEBHOOK_SECRET", "hush-webhook-secret");
    let output = secret.with("TOOL_SERVER_TOKENS", "erp=hush-token").check().await;
    assert_eq!(output.code, 1, "{}", output.printed);
    for line in [
        "✓ tools          every tool that the context names is in the manifest",
        "✗ own tools      127.0.0.1 refuses the connection: check the url in the manifest",
        "✗ own tools      crm: the business could not be reached",
        "! own tools      TOOL_SERVER_TOKENS has a token for erp",
    ] {
        output.expect_line(line);
    }
    let line = "✗ own tools      the manifest PaymentToolManifest has tools of the business (http)";
    check_problem(harness("unsigned-tools"), line).await;
}

#[tokio::test]
async fn an_unreachable_business_is_reported() {
    let harness = CheckHarness::new("business").with("PAYMENT_WEBHOOK_SECRET", "hush-webhook-secret");
    let output = harness.with("CALL_PARAMETERS_URL", "http://127.0.0.1:9/calls").check().await;
    assert_eq!(output.code, 1, "{}", output.printed);
    output.expect_line("✗ business       127.0.0.1 refuses the connection: check CALL_PARAMETERS_URL");
    output.expect_line("! business       CALL_PARAMETERS=optional: if it does not give an amount due (amountDue), or fails, a call is charged");

    let url = ("CALL_PARAMETERS_URL", "http://127.0.0.1:9/calls");
    let harness =
        CheckHarness::new("required").with("PAYMENT_WEBHOOK_SECRET", "hush-webhook-secret").with(url.0, url.1);
    harness
        .with("CALL_PARAMETERS", "required")
        .check()
        .await
        .expect_line("✓ business       CALL_PARAMETERS=required: a call takes no");
    let output = CheckHarness::new("required-unasked").with("CALL_PARAMETERS", "required").check().await;
    assert_eq!(output.code, 2, "{}", output.printed);
    output.expect_line("  CALL_PARAMETERS_URL  is not set, and CALL_PARAMETERS is required");
}

#[tokio::test]
async fn an_inactive_account_is_reported() {
    for (status, line) in [("suspended", "✗ account        is suspended"), ("closed", "✗ account        is closed")]
    {
        check_problem(CheckHarness::new(status).account(json!({ "status": status, "type": "Full" })), line).await;
    }
    let output = CheckHarness::new("trial").account(json!({ "status": "active", "type": "Trial" })).check().await;
    output.expect_line("! account        is a trial account");
    assert_eq!(output.code, 0);
}

#[tokio::test]
async fn an_unusable_number_is_reported() {
    let other = json!({ "phone_number": "+155501000021", "capabilities": { "voice": true } });
    check_problem(CheckHarness::new("no-number").number(other), "✗ number         FROM_NUMBER does not belong").await;
    let mute = json!({ "phone_number": "+15550100002", "capabilities": { "voice": false, "sms": true } });
    check_problem(CheckHarness::new("mute").number(mute), "✗ number         FROM_NUMBER cannot take calls").await;
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
        let mut number = number_json(&CheckHarness::new(name));
        number[field] = json!(value);
        let output = CheckHarness::new(name).number(number).check().await;
        assert_eq!(output.code, 0, "{}", output.printed);
        output.expect_line(&format!("! webhook        {why}"));
        assert!(output.printed.contains(mend) && !output.printed.contains("hush"), "{}", output.printed);
    }
}

#[tokio::test]
async fn a_connector_that_looks_like_a_sid_is_reported() {
    let output =
        CheckHarness::new("connector").with("PAYMENT_CONNECTOR", &format!("PC{}", "0".repeat(32))).check().await;
    output.expect_line("! connector      PAYMENT_CONNECTOR looks like a PC… SID");
    assert_eq!(output.printed.matches("PC… SID").count(), 1, "reported once: {}", output.printed);
}

#[tokio::test]
async fn an_invalid_public_address_is_reported() {
    check_problem(
        CheckHarness::new("local").with("SERVER_BASE_URL", "http://localhost:3001"),
        "✗ base URL       http://localhost:3001 is an",
    )
    .await;
    check_problem(
        CheckHarness::new("redirect").health(308, ""),
        "✗ base URL       http://pay.example.com redirects to https://www.example.com",
    )
    .await;
    check_problem(
        CheckHarness::new("tls").with("SERVER_BASE_URL", "pay.example.com"),
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
        let output = CheckHarness::new(name).health(status, body).check().await;
        assert_eq!(output.code, 0, "{}", output.printed);
        output.expect_line(line);
    }
    let output = CheckHarness::new("nobody").with("HTTP_PROXY", "http://127.0.0.1:9").check().await;
    output.expect_line("! base URL       http://pay.example.com refuses the connection");
}

#[tokio::test]
async fn each_model_failure_is_reported_separately() {
    check_problem(
        CheckHarness::new("model-key").with("OPENAI_API_KEY", "wrong"),
        "✗ model          127.0.0.1 refuses OPENAI_API_KEY",
    )
    .await;
    check_problem(
        CheckHarness::new("model-name").with("OPENAI_MODEL", "gpt-0"),
        "✗ model          127.0.0.1 has no gpt-0",
    )
    .await;
    check_problem(
        CheckHarness::new("model-past").with("OPENAI_MODEL", "gpt-4o"),
        "✗ model          127.0.0.1 has gpt-4o for this key, but was to switch it off on 2001-01-14: set OPENAI_MODEL",
    )
    .await;
    check_problem(
        CheckHarness::new("model-down").with("OPENAI_BASE_URL", "http://127.0.0.1:9/v1"),
        "✗ model          127.0.0.1 refuses the connection",
    )
    .await;
    check_problem(
        CheckHarness::new("model-slow").with("OPENAI_MODEL", "slow"),
        "✗ model          127.0.0.1 does not answer within 5 seconds",
    )
    .await;
}

#[tokio::test]
async fn the_model_is_read_with_its_shutdown_date_and_the_query_of_the_base_url() {
    let later = CheckHarness::new("model-later").with("OPENAI_MODEL", "gpt-9").check().await;
    later.expect_line("✓ model          127.0.0.1 has gpt-9 for this key, until 2999-01-14");
    let azure = CheckHarness::new("model-azure").with("OPENAI_MODEL", "azure").openai_query("?api-version=preview");
    azure.check().await.expect_line("✓ model          127.0.0.1 has azure for this key");
}

#[tokio::test]
async fn all_invalid_assets_are_reported() {
    let harness = CheckHarness::new("assets")
        .asset(
            "PaymentContext.md",
            "Call `start-capture`, then call `refund`. When done, `end-call`. Not `well-known`.",
        )
        .asset("PaymentToolManifest.json", "[{\"name\": \"end-call\"}]")
        .asset("serverConfig.json", r#"{ "ConversationRelay": { "Parameters": { "contextKey": "Gone" } } }"#)
        .asset("Unused.md", " \n")
        .asset("Unused.json", "[\n{\"name\": \"send-fax\"}]");
    let output = harness.check().await;
    assert_eq!(output.code, 1, "{}", output.printed);
    for line in [
        "✗ assets         assets/serverConfig.json: a parameter names Gone.md, which does not exist",
        "! assets         assets/Unused.json:2: there is no tool \"send-fax\"",
        "! assets         assets/Unused.md: is empty; the file is not used",
        "✗ tools          the context tells the agent to use refund,",
        "✗ tools          the context tells the agent to use start-capture,",
        "! tools          the context names well-known,",
        "✓ model",
    ] {
        output.expect_line(line);
    }
}

#[tokio::test]
async fn settings_that_conflict_with_pci_are_reported() {
    let mut config = json!({ "ConversationRelay": {
        "Configuration": {
            "intelligenceService": "GA1", "welcomeGreeting": "Call 555 0100", "ttsProvider": "Amazon",
            "transcriptionLanguage": "multi", "transcriptionProvider": "Google" },
        "Extra": { "brandNew": 1 } } });
    let output = CheckHarness::new("pci").asset("serverConfig.json", &config.to_string()).check().await;
    assert_eq!(output.code, 1, "{}", output.printed);
    output.expect_line(
        "✗ assets         assets/serverConfig.json: intelligenceService of <ConversationRelay> feeds a product",
    );

    config["Pci"] = json!({ "acceptNonCompliant": true });
    let output = CheckHarness::new("pci-accepted").asset("serverConfig.json", &config.to_string()).check().await;
    assert_eq!(output.code, 1, "{}", output.printed);
    for line in [
        "! assets         assets/serverConfig.json: ConversationRelay.Extra.brandNew is sent to Twilio as it is",
        "! assets         assets/serverConfig.json: intelligenceService of <ConversationRelay> feeds a product",
        "✗ languages      transcriptionLanguage is multi, and only Deepgram can detect languages: set",
        "! PCI            speech goes through en-US: Amazon (TTS), Google (STT):",
        "! PCI            welcomeGreeting has digits",
    ] {
        output.expect_line(line);
    }
}

#[tokio::test]
async fn health_reports_the_status_of_the_local_server() {
    assert_eq!(CheckHarness::new("well-server").run_health().await, 0);
    assert_eq!(CheckHarness::new("ill-server").health(503, "").run_health().await, 1);
}

/// The configuration of a server with a flow that the stand-in has.
fn with_flowise(name: &str) -> CheckHarness {
    let harness = CheckHarness::new(name).with("RESPONSE_SERVICE", "flowise").with("OPENAI_API_KEY", "");
    harness.with_stand_in("FLOWISE_URL").with("FLOWISE_CHATFLOW_ID", "streams")
}

#[tokio::test]
async fn flowise_is_asked_about_itself_and_its_flows_and_no_flow_runs() {
    let output = with_flowise("flowise").with("FLOWISE_ALLOWED_CHATFLOWS", "plain").check().await;
    assert_eq!(output.code, 0, "{}", output.printed);
    for line in [
        "✓ Flowise        127.0.0.1 answers",
        "✓ Flowise        has the flow streams, and it streams",
        "! Flowise        the flow plain does not stream",
        "! Flowise        in the flow's configuration, under Override Configuration, allow the variables instructions, update",
        "! PCI            Flowise and its database see what callers say",
    ] {
        output.expect_line(line);
    }
    assert!(!output.printed.contains("✓ model"), "{}", output.printed);
}

#[tokio::test]
async fn a_flow_that_does_not_exist_and_a_server_that_is_not_flowise_are_reported() {
    let missing = with_flowise("flowise-missing").with("FLOWISE_ALLOWED_CHATFLOWS", "gone");
    check_problem(missing, "✗ Flowise        has no flow gone (HTTP 404)").await;
    let elsewhere = with_flowise("flowise-elsewhere").with("FLOWISE_URL", "http://127.0.0.1:9");
    check_problem(elsewhere, "✗ Flowise        127.0.0.1 refuses the connection: check FLOWISE_URL").await;
    let no_variable = with_flowise("flowise-vars").with("FLOWISE_VARS", "callSid").check().await;
    no_variable.expect_line("! Flowise        FLOWISE_VARS lacks instructions");
}
