//! Tests of errors in the spellings of many servers.

use proptest::prelude::*;

use super::OptionalField as Field;
use super::*;

fn fields(status: u16, body: &str) -> Vec<Field> {
    let refusal = Refusal::parse(status, body);
    Field::ALL.into_iter().filter(|field| refusal.fields.contains(*field)).collect()
}

#[test]
fn a_field_is_found_by_the_parameter_of_openai() {
    for (param, field) in [
        ("reasoning.effort", Field::ReasoningEffort),
        ("***.effort", Field::ReasoningEffort),
        ("reasoning", Field::ReasoningEffort),
        ("include", Field::Include),
        ("include[0]", Field::Include),
        ("text.verbosity", Field::Verbosity),
        ("service_tier", Field::ServiceTier),
        ("max_output_tokens", Field::MaxOutputTokens),
        ("stream_options.include_obfuscation", Field::StreamOptions),
        ("prompt_cache_key", Field::PromptCacheKey),
        ("prompt_cache_options.prewarm", Field::PromptCacheOptions),
        ("safety_identifier", Field::SafetyIdentifier),
        ("input[2].phase", Field::MessagePhase),
    ] {
        let body = format!(
            r#"{{"error":{{"message":"No.","type":"invalid_request_error","param":"{param}","code":"unknown_parameter"}}}}"#
        );
        assert_eq!(fields(400, &body), [field], "{param}");
    }
}

#[test]
fn a_field_is_found_in_the_texts_of_other_servers() {
    for (status, body, expected) in [
        // OpenAI and Azure, older API versions.
        (
            400,
            r#"{"error":{"message":"Unknown parameter: 'prompt_cache_key'.","type":"invalid_request_error","param":null,"code":"unknown_parameter"}}"#,
            &[Field::PromptCacheKey][..],
        ),
        (
            400,
            r#"{"error":{"message":"Unrecognized request argument supplied: reasoning_effort","type":"invalid_request_error","param":null,"code":null}}"#,
            &[Field::ReasoningEffort],
        ),
        // Azure, models of other makers.
        (
            400,
            r#"{"error":{"code":"unrecognized_request_argument","message":"Unrecognized request argument supplied: prompt_cache_key"}}"#,
            &[Field::PromptCacheKey],
        ),
        (
            400,
            r#"{"error":{"message":"Encrypted content is not supported with this model.","param":"include"}}"#,
            &[Field::Include],
        ),
        (400, r#"{"error":{"message":"Encrypted content is not supported with this model."}}"#, &[Field::Include]),
        // FastAPI and pydantic: vLLM, SGLang.
        (
            422,
            r#"{"detail":[{"type":"extra_forbidden","loc":["body","prompt_cache_key"],"msg":"Extra inputs are not permitted","input":"include safety_identifier"},{"type":"extra_forbidden","loc":["body","safety_identifier"],"msg":"Extra inputs are not permitted","input":"x"}]}"#,
            &[Field::PromptCacheKey, Field::SafetyIdentifier],
        ),
        (
            400,
            r#"{"error":{"message":"[{'type': 'extra_forbidden', 'loc': ('body', 'safety_identifier'), 'msg': 'Extra inputs are not permitted', 'input': 'prompt_cache_key'}]","type":"Bad Request","param":null,"code":400}}"#,
            &[Field::SafetyIdentifier],
        ),
        (
            400,
            r#"{"object":"error","message":"1 validation error for ResponsesRequest\nservice_tier\n  Extra inputs are not permitted [type=extra_forbidden, input_value={'prompt_cache_key': 'x'}, input_type=dict]","type":"BadRequestError","param":null,"code":400}"#,
            &[Field::ServiceTier],
        ),
        (
            422,
            r#"{"detail":[{"type":"literal_error","loc":["body","include",0],"msg":"Input should be 'file_search_call.results'"}]}"#,
            &[Field::Include],
        ),
        // LiteLLM.
        (
            400,
            r#"{"error":{"message":"litellm.UnsupportedParamsError: openai does not support parameters: ['reasoning_effort'], for model=o4-mini. To drop these, set `litellm.drop_params=True`","type":"None","param":null,"code":"400"}}"#,
            &[Field::ReasoningEffort],
        ),
        (
            400,
            r#"{"error":{"message":"litellm.BadRequestError: OpenAIException - {\n  \"error\": {\n    \"message\": \"Unsupported parameter: 'reasoning.effort' is not supported with this model.\",\n    \"param\": \"reasoning.effort\"}}","param":null,"code":"400"}}"#,
            &[Field::ReasoningEffort],
        ),
        // Serde: Bedrock and servers in Rust name what they would take.
        (
            422,
            "Failed to deserialize the JSON body into the target type: unknown field `stream_options`, expected one of `model`, `reasoning_effort`, `service_tier`, `text` at line 1 column 212",
            &[Field::StreamOptions],
        ),
        // Go: a decoder that allows no unknown field.
        (400, r#"{"error":"json: unknown field \"safety_identifier\""}"#, &[Field::SafetyIdentifier]),
        (
            400,
            r#"{"error":{"message":"The parameter `verbosity` is not supported by this model."}}"#,
            &[Field::Verbosity],
        ),
        // Zod: a gateway in TypeScript.
        (
            400,
            r#"{"error":{"issues":[{"code":"unrecognized_keys","keys":["phase"],"path":["input",1],"message":"Unrecognized key(s) in object: 'phase'"}],"name":"ZodError"}}"#,
            &[],
        ),
        // Nothing of a request: the words of a sentence.
        (400, r#"{"error":{"message":"Your input may include a phase of reasoning with more verbosity."}}"#, &[]),
    ] {
        assert_eq!(fields(status, body), expected, "{body}");
    }
}

#[test]
fn a_refused_effort_is_told_from_a_refused_field_with_the_supported_values() {
    use ReasoningEffort::{High, Low, Medium, Minimal, None};
    for (message, is_value, supported) in [
        ("Unsupported parameter: 'reasoning.effort' is not supported with this model.", false, &[][..]),
        ("Unrecognized request argument supplied: reasoning_effort", false, &[]),
        ("Unsupported value: 'reasoning.effort' does not support 'none' with this model.", true, &[]),
        (
            "Unsupported value: 'reasoning_effort' does not support 'none' with this model. Supported values are: 'minimal', 'low', 'medium', and 'high'.",
            true,
            &[Minimal, Low, Medium, High],
        ),
        (
            "Unsupported value: 'reasoning_effort': 'minimal' is not supported with the 'gpt-5.1' model. Supported values are: 'none', 'low', 'medium', and 'high'.",
            true,
            &[None, Low, Medium, High],
        ),
        (
            "1 validation error for ResponsesRequest\nreasoning_effort\n Input should be 'low', 'medium' or 'high' [type=enum, input_value='none', input_type=str]",
            true,
            &[Low, Medium, High],
        ),
        (
            "reasoning.effort: unknown variant `none`, expected one of `low`, `medium`, `high`",
            true,
            &[Low, Medium, High],
        ),
    ] {
        let body = serde_json::json!({"error": {"message": message}}).to_string();
        let refusal = Refusal::parse(400, &body);
        assert!(refusal.fields.contains(Field::ReasoningEffort), "{message}");
        assert_eq!((refusal.is_effort_value, &refusal.supported_efforts[..]), (is_value, supported), "{message}");
    }
}

#[test]
fn a_refused_role_is_found() {
    for (status, body, role) in [
        (
            500,
            r#"{"error":{"code":500,"message":"Unexpected message role.","type":"server_error"}}"#,
            RefusedRole::Sent,
        ),
        (
            400,
            r#"{"error":{"message":"chat template rejected the request: Unexpected message role.","param":null}}"#,
            RefusedRole::Sent,
        ),
        (
            400,
            r#"{"message":"developer is not one of ['system', 'assistant', 'user', 'tool', 'function'] - 'messages.[0].role'","type":"invalid_request_error","param":""}"#,
            RefusedRole::Sent,
        ),
        (
            400,
            r#"{"message":"Upstream request failed: [1214] Incorrect role information","code":null}"#,
            RefusedRole::Sent,
        ),
        (
            400,
            r#"{"error":{"message":"Unsupported value: 'messages[0].role' does not support 'system' with this model.","param":"messages[0].role","code":"unsupported_value"}}"#,
            RefusedRole::Sent,
        ),
        (
            400,
            r#"{"error":{"message":"jinja template rendering failed. System message must be at the beginning."}}"#,
            RefusedRole::LateSystem,
        ),
    ] {
        let refusal = Refusal::parse(status, body);
        assert_eq!((refusal.role, refusal.is_unexplained), (Some(role), false), "{body}");
    }
}

#[test]
fn an_error_about_the_conversation_is_no_refusal_of_a_field() {
    for (status, body) in [
        (400, r#"{"error":{"message":"No tool output found for function call call_1.","param":"input","code":null}}"#),
        (400, r#"{"error":{"message":"The response was filtered: 'include' 'phase'","code":"content_filter"}}"#),
        (
            400,
            r#"{"error":{"message":"Item 'rs_1' of type 'reasoning' was provided without its required following item."}}"#,
        ),
        (400, r#"{"error":{"message":"This model's maximum context length is 4096 tokens, and max_tokens=400."}}"#),
        (
            400,
            r#"{"error":{"message":"The encrypted content for item rs_1 could not be verified.","code":"invalid_encrypted_content"}}"#,
        ),
        (400, r#"{"error":{"message":"Invalid schema for function 'a'","param":"tools[0].parameters"}}"#),
        (404, r#"{"error":{"message":"The model does not exist","code":"model_not_found","param":"model"}}"#),
        (429, r#"{"error":{"message":"service_tier flex is busy"}}"#),
        (503, r#"{"error":{"message":"service_tier flex is busy"}}"#),
        (500, ""),
    ] {
        assert_eq!(Refusal::parse(status, body), Refusal::default(), "{body}");
    }
}

#[test]
fn an_error_that_names_nothing_is_unexplained() {
    for body in ["", "Bad Request", "{}", r#"{"error":{"message":"Invalid request.","param":null}}"#, "[]", "null"] {
        assert_eq!(Refusal::parse(400, body), Refusal { is_unexplained: true, ..Refusal::default() }, "{body}");
    }
}

proptest! {
    #[test]
    fn no_body_panics(status in 400_u16..600, body in "\\PC{0,80}|[\\[\\]{}\":,'a-z_. ]{0,80}") {
        let _ = Refusal::parse(status, &body);
        let _ = Refusal::parse(status, &format!("'loc': ({body}"));
    }
}
