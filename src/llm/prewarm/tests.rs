//! Tests of the preparation of a call against a local server.

use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use super::*;
use crate::call::{ModelRequest, ModelRequestId};
use crate::config::OpenAiConfig;
use crate::llm::ModelLimits;
use crate::llm::model_name::ServerKind;
use crate::simulator::raw_server::RawResponse::{self, Plain};
use crate::simulator::raw_server::RawServer;

const LIMITS: ModelLimits =
    ModelLimits { first_token: Duration::from_secs(5), response: Duration::from_secs(5), retries: 0 };
const JSON: (&str, &str) = ("content-type", "application/json");

fn profile(instructions: &str) -> Arc<Profile> {
    Arc::new(Profile::new(instructions, &[] as &[()]).unwrap())
}

/// A model at a local server that counts as one of this kind.
async fn model_at(kind: ServerKind, name: &str, answers: Vec<RawResponse>) -> (Model, RawServer, mpsc::Receiver<()>) {
    let (server, answered) = RawServer::start(answers).await;
    let base_url = format!("{}/v1", server.origin()).parse().unwrap();
    let config = OpenAiConfig::new("sk-1".into(), name, base_url);
    (Model::new_at(kind, &config, &"secret".into(), LIMITS).unwrap(), server, answered)
}

async fn wait_for_requests(model: &Model, server: &RawServer, count: usize) {
    while server.requests().len() < count || model.inner.prewarming.requests.available_permits() < MAX_REQUESTS {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_connection_is_opened_once_while_calls_ring() {
    let (model, server, _answered) = model_at(ServerKind::Other, "gpt-6-luna", vec![Plain(405, vec![], "")]).await;
    for _ in 0..3 {
        model.prewarm(&profile("Be kind."));
    }
    wait_for_requests(&model, &server, 1).await;
    let requests = server.requests();
    let [request] = &requests[..] else { panic!("{} requests", requests.len()) };
    assert_eq!((request.path.as_str(), request.body.as_str()), ("/v1/models", ""));
    assert_eq!(request.headers["authorization"], "Bearer sk-1");
}

#[tokio::test]
async fn the_first_response_uses_the_connection_that_was_opened_while_the_call_rang() {
    let answers = vec![Plain(405, vec![], ""), Plain(200, vec![JSON], r#"{"output":[]}"#)];
    let (model, server, _answered) = model_at(ServerKind::Other, "gpt-6-luna", answers).await;
    let profile = profile("Be kind.");
    model.prewarm(&profile);
    wait_for_requests(&model, &server, 1).await;
    assert_eq!(server.connection_count(), 1);
    let request = ModelRequest { id: ModelRequestId(1), input: Vec::new(), waited: Duration::ZERO };
    assert_eq!(model.respond(profile, request).count().await, 2, "the report, and the end");
    assert_eq!((server.requests().len(), server.connection_count()), (2, 1));
}

#[tokio::test]
async fn the_cache_is_filled_once_for_each_profile() {
    let done = || Plain(200, vec![JSON], r#"{"object":"response","output":[]}"#);
    let (model, server, _answered) = model_at(ServerKind::OpenAi, "gpt-6-luna", vec![done(), done()]).await;
    for instructions in ["Be kind.", "Be kind.", "Be brief."] {
        model.prewarm(&profile(instructions));
    }
    wait_for_requests(&model, &server, 2).await;
    let bodies = server.bodies();
    assert_eq!(bodies.len(), 2);
    assert!(bodies.iter().all(|body| body.contains(r#""prompt_cache_options":{"prewarm":true}"#)), "{bodies:?}");
}

#[tokio::test]
async fn a_cache_that_could_not_be_filled_is_filled_for_the_next_call() {
    let answers = vec![Plain(503, vec![], ""), Plain(200, vec![JSON], "{}")];
    let (model, server, _answered) = model_at(ServerKind::OpenAi, "gpt-6-luna", answers).await;
    for count in [1, 2, 2] {
        model.prewarm(&profile("Be kind."));
        wait_for_requests(&model, &server, count).await;
    }
    let bodies = server.bodies();
    assert!(bodies.len() == 2 && bodies.iter().all(|body| body.contains("prewarm")), "{bodies:?}");
}

#[tokio::test]
async fn a_cache_that_was_not_filled_for_too_many_calls_at_a_time_is_filled_for_the_next_one() {
    let done = || Plain(200, vec![JSON], "{}");
    let (model, server, _answered) = model_at(ServerKind::OpenAi, "gpt-6-luna", vec![done(), done(), done()]).await;
    for instructions in ["Be kind.", "Be brief.", "Be calm."] {
        model.prewarm(&profile(instructions));
    }
    wait_for_requests(&model, &server, MAX_REQUESTS).await;
    assert_eq!(server.requests().len(), MAX_REQUESTS);
    model.prewarm(&profile("Be calm."));
    wait_for_requests(&model, &server, 3).await;
    assert!(server.bodies()[2].contains("Be calm."));
}

#[tokio::test]
async fn a_server_that_refuses_to_fill_its_cache_is_not_asked_again() {
    let refused = r#"{"error":{"message":"Unknown parameter: 'prompt_cache_options.prewarm'."}}"#;
    let (model, server, _answered) =
        model_at(ServerKind::OpenAi, "gpt-6-luna", vec![Plain(400, vec![JSON], refused)]).await;
    model.prewarm(&profile("Be kind."));
    wait_for_requests(&model, &server, 1).await;
    assert!(!model.inner.capabilities.takes_prewarming());
    model.prewarm(&profile("Be brief."));
    wait_for_requests(&model, &server, 1).await;
    assert_eq!(server.requests().len(), 1, "there is a connection already");
}

#[tokio::test]
async fn what_is_refused_while_the_call_rings_is_learned_before_the_caller_speaks() {
    let refused = r#"{"error":{"message":"Unsupported value: 'reasoning.effort' does not support 'none' with this model. Supported values are: 'low'."}}"#;
    let (model, server, _answered) =
        model_at(ServerKind::OpenAi, "gpt-6-astra", vec![Plain(400, vec![JSON], refused)]).await;
    model.prewarm(&profile("Be kind."));
    wait_for_requests(&model, &server, 1).await;
    let effort = model.inner.capabilities.options().effort;
    assert_eq!(effort, Some(crate::config::ReasoningEffort::Low));
    assert!(model.inner.capabilities.takes_prewarming());
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_opened_again_after_a_minute_and_the_cache_is_filled_after_twenty() {
    let state = PrewarmState::default();
    let profile = profile("Be kind.");
    let due = || {
        let now = Instant::now();
        (state.is_connect_due(now), state.is_fill_due(&profile, now))
    };
    assert_eq!((due(), due()), ((true, true), (false, false)));
    tokio::time::advance(CONNECT_INTERVAL).await;
    assert_eq!(due(), (true, false));
    tokio::time::advance(FILL_INTERVAL).await;
    assert_eq!(due(), (true, true));
}
