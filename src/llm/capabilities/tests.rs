//! Tests of what is sent at first, and of what is learned.

use proptest::prelude::*;

use super::OptionalField as Field;
use super::*;

const OPENAI: &str = "https://api.openai.com/v1";
const AZURE: &str = "https://acme.openai.azure.com/openai/v1/?api-version=preview";
const LOCAL: &str = "http://127.0.0.1:8000/v1";

fn config(model: &str, base_url: &str) -> OpenAiConfig {
    OpenAiConfig::new("sk-1".into(), model, base_url.parse().unwrap())
}

fn capabilities(model: &str, base_url: &str) -> Capabilities {
    new(&config(model, base_url))
}

fn new(config: &OpenAiConfig) -> Capabilities {
    Capabilities::new(ServerKind::of_host(config.base_url.host()), config)
}

/// The body of a refusal with this message.
fn refused(message: &str) -> Refusal {
    Refusal::parse(400, &serde_json::json!({"error": {"message": message}}).to_string())
}

/// The efforts of the requests until the server accepts one: it takes those in `supported`, and names them or not.
fn efforts_until_accepted(config: &OpenAiConfig, supported: &[ReasoningEffort], are_named: bool) -> Vec<&'static str> {
    let capabilities = new(config);
    let mut options = capabilities.options();
    let mut sent = Vec::new();
    loop {
        sent.push(options.effort.map_or("-", ReasoningEffort::as_str));
        let Some(effort) = options.effort.filter(|effort| !supported.contains(effort)) else { return sent };
        let mut message = format!("Unsupported value: 'reasoning.effort' does not support '{effort}' with this model.");
        if are_named {
            message += " Supported values are: ";
            message += &supported.iter().map(|effort| format!("'{effort}'")).collect::<Vec<_>>().join(", ");
        }
        options = capabilities.learn_refusal(&refused(&message), &options).unwrap();
        assert_eq!(options, capabilities.options());
    }
}

#[test]
fn the_effort_at_first_is_the_least_that_the_model_is_known_to_take() {
    for (model, base_url, effort) in [
        ("gpt-6-luna", OPENAI, "none"),
        ("gpt-5.1", OPENAI, "none"),
        ("gpt-5-mini", OPENAI, "minimal"),
        ("o4-mini", OPENAI, "low"),
        ("gpt-4o", OPENAI, "-"),
        ("gpt-5-chat-latest", OPENAI, "-"),
        ("openai/gpt-6-luna", "https://openrouter.ai/api/v1", "none"),
        ("our-deployment", AZURE, "none"),
        ("Qwen/Qwen3.6-27B", LOCAL, "-"),
        ("gpt-oss-120b", LOCAL, "-"),
    ] {
        let options = capabilities(model, base_url).options();
        assert_eq!(options.effort.map_or("-", ReasoningEffort::as_str), effort, "{model}");
    }
}

#[test]
fn what_is_configured_is_sent_to_any_model_until_it_is_refused() {
    let tier = Some(ServiceTier::Fast);
    let effort = Setting::Value(ReasoningEffort::High);
    let most = NonZeroU32::new(1000).unwrap();
    let configured = OpenAiConfig {
        reasoning_effort: effort,
        service_tier: tier,
        max_output_tokens: Setting::Value(most),
        ..config("qwen3", LOCAL)
    };
    let capabilities = new(&configured);
    let options = capabilities.options();
    assert_eq!((options.effort, options.service_tier), (Some(ReasoningEffort::High), tier));
    assert_eq!(options.max_output_tokens, Some(most));
    let next = capabilities.learn_refusal(&refused("Unknown parameter: 'service_tier'."), &options).unwrap();
    assert_eq!((next.service_tier, next.effort), (None, Some(ReasoningEffort::High)));
    let nothing = OpenAiConfig {
        reasoning_effort: Setting::NotSent,
        max_output_tokens: Setting::NotSent,
        ..config("gpt-6-luna", OPENAI)
    };
    let options = new(&nothing).options();
    assert_eq!((options.effort, options.max_output_tokens), (None, None));
}

#[test]
fn a_refused_effort_is_replaced_by_the_next_one() {
    use ReasoningEffort::{High, Low, Medium, Minimal, None as NoEffort};
    let luna = config("gpt-6-luna", OPENAI);
    assert_eq!(efforts_until_accepted(&luna, &[NoEffort], true), ["none"]);
    assert_eq!(efforts_until_accepted(&luna, &[Low, Medium], true), ["none", "low"]);
    assert_eq!(efforts_until_accepted(&luna, &[Minimal, Low], false), ["none", "minimal"]);
    assert_eq!(efforts_until_accepted(&luna, &[Low, Medium], false), ["none", "minimal", "low"]);
    assert_eq!(efforts_until_accepted(&luna, &[Medium], false), ["none", "minimal", "low", "-"]);
    assert_eq!(efforts_until_accepted(&luna, &[Medium], true), ["none", "medium"]);
    let set = |effort| OpenAiConfig { reasoning_effort: Setting::Value(effort), ..luna.clone() };
    assert_eq!(efforts_until_accepted(&set(Minimal), &[NoEffort, Low], true), ["minimal", "none"]);
    assert_eq!(efforts_until_accepted(&set(ReasoningEffort::Max), &[Low, High], true), ["max", "high"]);
    assert_eq!(
        efforts_until_accepted(&set(ReasoningEffort::Max), &[Medium], false),
        ["max", "xhigh", "high", "medium"]
    );
}

#[test]
fn a_model_that_takes_no_effort_gets_none() {
    let capabilities = capabilities("our-deployment", AZURE);
    let sent = capabilities.options();
    let message = "Unsupported parameter: 'reasoning.effort' is not supported with this model.";
    let next = capabilities.learn_refusal(&refused(message), &sent).unwrap();
    assert_eq!((next.effort, next.max_output_tokens), (None, None), "it may think, and thoughts count");
}

#[test]
fn the_length_is_limited_only_where_the_model_is_known_not_to_think() {
    let default = Some(DEFAULT_MAX_OUTPUT_TOKENS);
    for (model, base_url, limit) in [
        ("gpt-6-luna", OPENAI, default),
        ("gpt-4o", OPENAI, default),
        ("gpt-4o", LOCAL, default),
        ("our-deployment", AZURE, default),
        ("gpt-5-mini", OPENAI, None),
        ("o3", OPENAI, None),
        ("Qwen/Qwen3.6-27B", LOCAL, None),
    ] {
        assert_eq!(capabilities(model, base_url).options().max_output_tokens, limit, "{model}");
    }
    let luna = capabilities("gpt-6-luna", OPENAI);
    luna.learn_reasoning();
    assert_eq!(luna.options().max_output_tokens, None, "it thinks all the same");
}

#[test]
fn a_refused_field_is_left_out_from_then_on() {
    for field in
        ["prompt_cache_key", "safety_identifier", "stream_options", "verbosity", "max_output_tokens", "include"]
    {
        let capabilities = capabilities("gpt-6-luna", OPENAI);
        let sent = capabilities.options();
        let refusal = refused(&format!("Unknown parameter: '{field}'."));
        let next = capabilities.learn_refusal(&refusal, &sent).unwrap();
        let left_out: Vec<Field> =
            Field::ALL.into_iter().filter(|field| sent.has(*field) && !next.has(*field)).collect();
        assert_eq!(left_out.len(), 1, "{field}: {left_out:?}");
        assert_eq!(capabilities.options(), next);
        assert_eq!(capabilities.learn_refusal(&refusal, &next), None, "it was not sent");
    }
}

#[test]
fn a_refusal_of_what_another_request_has_learned_is_repeated_with_that() {
    let capabilities = capabilities("gpt-6-luna", OPENAI);
    let sent = capabilities.options();
    let refusal = refused("Unsupported value: 'reasoning.effort' does not support 'none' with this model.");
    let first = capabilities.learn_refusal(&refusal, &sent).unwrap();
    assert_eq!(first.effort, Some(ReasoningEffort::Minimal));
    assert_eq!(capabilities.learn_refusal(&refusal, &sent), Some(first), "not yet another effort");
}

#[test]
fn a_refused_role_is_replaced() {
    let role = |capabilities: &Capabilities| capabilities.options().role;
    let any = refused("Unexpected message role.");
    let openai = capabilities("gpt-6-luna", OPENAI);
    assert_eq!(role(&openai), ServerRole::Developer);
    assert!(openai.learn_refusal(&any, &openai.options()).is_some());
    assert_eq!(role(&openai), ServerRole::System);

    let qwen = capabilities("Qwen/Qwen3.6-27B", LOCAL);
    assert_eq!(role(&qwen), ServerRole::System, "some servers drop messages of developers without a word");
    let late = refused("System message must be at the beginning.");
    assert!(qwen.learn_refusal(&late, &qwen.options()).is_some());
    assert_eq!(role(&qwen), ServerRole::User);
    assert_eq!(qwen.learn_refusal(&any, &qwen.options()), None);

    let gateway = capabilities("gpt-6-luna", LOCAL);
    assert!(gateway.learn_refusal(&late, &gateway.options()).is_some());
    assert_eq!(role(&gateway), ServerRole::User, "its messages became system messages");
}

#[test]
fn after_an_unexplained_refusal_nothing_optional_is_sent_if_that_helps() {
    let capabilities = capabilities("gpt-6-luna", OPENAI);
    let sent = capabilities.options();
    let bare = capabilities.learn_refusal(&refused("Invalid request."), &sent).unwrap();
    assert!(bare.is_bare() && bare.effort.is_none() && bare.max_output_tokens.is_none());
    assert_eq!(capabilities.options(), sent, "it has not helped yet");
    assert_eq!(capabilities.learn_refusal(&refused("Invalid request."), &bare), None);
    capabilities.learn_success(&bare);
    assert_eq!(capabilities.options(), bare);
}

#[test]
fn an_unexplained_refusal_is_not_due_to_what_was_accepted_before() {
    let openai = capabilities("gpt-6-luna", OPENAI);
    let sent = openai.options();
    openai.learn_success(&sent);
    assert_eq!(openai.learn_refusal(&refused("Invalid request."), &sent), None);
    let never_accepted = capabilities("gpt-6-luna", OPENAI);
    let attempts = (0..9).filter(|_| never_accepted.learn_refusal(&refused("Invalid request."), &sent).is_some());
    assert_eq!(attempts.count(), 3);
    let qwen = capabilities("qwen", LOCAL);
    assert_eq!(
        qwen.learn_refusal(&refused("Invalid request."), &qwen.options()),
        None,
        "there is nothing to leave out"
    );
}

#[test]
fn only_late_models_at_openai_fill_their_cache_on_request() {
    for (model, base_url, takes) in [
        ("gpt-6-luna", OPENAI, true),
        ("gpt-5.6-luna", OPENAI, true),
        ("gpt-5.4-mini", OPENAI, false),
        ("gpt-4o", OPENAI, false),
        ("gpt-6-luna", AZURE, false),
        ("gpt-6-luna", LOCAL, false),
    ] {
        assert_eq!(capabilities(model, base_url).takes_prewarming(), takes, "{model} {base_url}");
    }
    let luna = capabilities("gpt-6-luna", OPENAI);
    luna.learn_prewarming_refused();
    assert!(!luna.takes_prewarming());
}

proptest! {
    /// A server that refuses anything, in any order, is asked a bounded number of times.
    #[test]
    fn repetitions_end(
        model in prop::sample::select(vec!["gpt-6-luna", "gpt-4o", "o3", "qwen"]),
        server in prop::sample::select(vec![OPENAI, AZURE, LOCAL]),
        messages in prop::collection::vec(prop::sample::select(vec![
            "Unknown parameter: 'prompt_cache_key'.",
            "Unknown parameter: 'stream_options'.",
            "Unsupported value: 'reasoning.effort'. Supported values are: 'low', 'high'.",
            "Unsupported value: 'reasoning.effort'. Supported values are: 'none', 'minimal'.",
            "Unsupported value: 'reasoning.effort'.",
            "Unexpected message role.",
            "System message must be at the beginning.",
            "Invalid request.",
        ]), 40),
    ) {
        let capabilities = capabilities(model, server);
        let mut sent = capabilities.options();
        let repetitions = messages.iter().take_while(|message| {
            capabilities.learn_refusal(&refused(message), &sent).map(|next| sent = next).is_some()
        });
        prop_assert!(repetitions.count() < 20);
    }
}
