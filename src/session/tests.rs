//! Sessions on in-memory sockets, with a stand-in for OpenAI and Twilio that records requests.

use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode};
use futures_util::{SinkExt as _, StreamExt as _, sink, stream};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::socket::halves::Halves;
use super::*;
use crate::assets::{Assets, CurrentAssets};
use crate::business_tools::BusinessToolClient;
use crate::call::{CallEnvironment, ContextKeys, ToolCall};
use crate::config::{Config, Vars};
use crate::ledger::{CallData, Ledger, TempDirectory};
use crate::response_service::ResponseService;
use crate::server_id::ServerId;
use crate::socket_token::{SOCKET_TOKEN, SocketTokens};
use crate::usage_limits::Usage;
use crate::{payment, twilio};

/// Creates the shared context with the model at `base_url`; returns it with the directory of its ledger.
pub(super) async fn context_with_model_at(base_url: &str) -> (Arc<SessionContext>, TempDirectory) {
    context_with(base_url, &[]).await
}

/// As [`context_with_model_at`], with further variables.
pub(super) async fn context_with(base_url: &str, more: &[(&str, &str)]) -> (Arc<SessionContext>, TempDirectory) {
    let vars = [
        ("SERVER_BASE_URL", "pay.example.com"),
        ("OPENAI_API_KEY", "sk-test"),
        ("OPENAI_BASE_URL", base_url),
        ("TWILIO_API_BASE_URL", base_url.trim_end_matches("/v1")),
        ("ACCOUNT_SID", "AC1"),
        ("AUTH_TOKEN", "auth-token-of-tests"),
        ("FROM_NUMBER", "+15550100002"),
        ("PAYMENT_CONNECTOR", "Default"),
    ];
    let (config, _) = Config::from_vars(&more.iter().copied().chain(vars).collect::<Vars>()).unwrap();
    let (assets, tasks) = (Assets::built_in(), TaskTracker::new());
    let directory = TempDirectory::new();
    let context = Arc::new(SessionContext {
        server: ServerId::generate(),
        fleet: None,
        ending_calls: EndingCalls::default(),
        journal: None,
        telemetry: Arc::default(),
        ledger: Ledger::open(&directory.file()).await.unwrap(),
        response_service: ResponseService::new(
            &config.response_service,
            &config.twilio.auth_token,
            assets.library.server.model,
            &tasks,
        )
        .unwrap(),
        assets: Arc::new(CurrentAssets::new(assets.library)),
        twilio: Arc::new(twilio::TwilioClient::new(&config.twilio, String::new()).unwrap()),
        business_tools: Arc::new(BusinessToolClient::new(None, std::collections::BTreeMap::new()).unwrap()),
        settings: SharedSettings::default(),
        environment: Arc::new(CallEnvironment {
            from_number: "+15550100002".parse().unwrap(),
            may_ask_again: true,
            payment: config.payment,
            business_name: None,
            business_phone: None,
            resume_timeout: config.resume_timeout,
            play_media_hosts: Vec::new(),
            sms_allowed_numbers: Vec::new(),
            destinations: Arc::new(config.destinations),
        }),
        calls: CallRegistry::default(),
        admission: SocketAdmission::new(
            "AC1".to_owned(),
            SocketTokens::new(&config.twilio.auth_token, []),
            Arc::default(),
        ),
        log_limiter: Arc::default(),
        callback_digester: payment::CallbackDigester::new(&config.twilio.auth_token),
        pending_calls: PendingCalls::default(),
        usage: Arc::new(Usage::new(config.outbound_per_minute, Arc::default())),
        reports_call_ends: false,
        tasks,
        soft_stop: CancellationToken::new(),
        drain_timeout: config.drain_timeout,
        hand_overs: HandOvers::default(),
        hard_stop: CancellationToken::new(),
    });
    (context, directory)
}

/// Starts a model that rejects every request and a Twilio that accepts cancellations; returns the bodies they receive.
async fn model() -> (String, mpsc::Receiver<String>) {
    let (heard, requests) = mpsc::channel(8);
    let listen = async |State(heard): State<mpsc::Sender<String>>, method: Method, body: String| {
        // Only opens a connection in advance.
        if method == Method::HEAD {
            return StatusCode::METHOD_NOT_ALLOWED;
        }
        let cancels = body.contains("Status=cancel");
        heard.send(body).await.unwrap();
        if cancels { StatusCode::ACCEPTED } else { StatusCode::FORBIDDEN }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
    let router = Router::new().fallback(listen).with_state(heard);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (base_url, requests)
}

/// Opens a socket on which Twilio sends the frames given to the returned sender. Frames to Twilio are discarded.
fn socket(context: &Arc<SessionContext>) -> mpsc::Sender<&'static str> {
    let (line, frames) = mpsc::channel::<&str>(16);
    let received = async |mut frames: mpsc::Receiver<&'static str>| {
        let frame = frames.recv().await?;
        Some((SocketInput::Text(frame.to_owned()), frames))
    };
    let frames = Box::pin(stream::unfold(frames, received));
    let outgoing = sink::drain().sink_map_err(|_| SendFrameError);
    tokio::spawn(serve_socket(context.clone(), RelaySocket::new(Halves::new(frames, outgoing))));
    line
}

/// The `setup` frame of the call `CA1`, with the token of its TwiML.
fn setup_frame(context: &SessionContext) -> String {
    let token = context.admission.tokens().for_call(&"CA1".parse().unwrap(), 0);
    serde_json::json!({"type": "setup", "callSid": "CA1", "accountSid": "AC1", "customParameters": {SOCKET_TOKEN: token}}).to_string()
}

/// Opens a socket for the call `CA1` and sends `setup` and this prompt.
async fn call(context: &Arc<SessionContext>, prompt: &'static str) -> mpsc::Sender<&'static str> {
    let line = socket(context);
    line.send(setup_frame(context).leak()).await.unwrap();
    line.send(prompt).await.unwrap();
    line
}

#[tokio::test]
async fn bad_frames_close_the_socket_and_not_the_call() {
    let (base_url, mut requests) = model().await;
    let (context, _directory) = context_with_model_at(&base_url).await;
    let line = call(&context, r#"{"type":"prompt","voicePrompt":"Good morning","last":true}"#).await;
    requests.recv().await.unwrap();
    for _ in 0..MAX_BAD_FRAMES {
        line.send("{").await.unwrap();
    }
    // The session drops the socket, and with it the receiver of these frames.
    line.closed().await;
    let _line = call(&context, r#"{"type":"prompt","voicePrompt":"Are you there?","last":true}"#).await;
    while let Some(request) = requests.recv().await {
        assert!(request.contains("Good morning"), "it is a new call: {request}");
        if request.contains("Are you there?") {
            break;
        }
    }
}

#[tokio::test]
async fn a_peer_that_answers_pings_keeps_its_socket_and_one_that_answers_none_loses_it() {
    let (base_url, mut requests) = model().await;
    let (mut context, _directory) = context_with_model_at(&base_url).await;
    let no_reminders = r#"{"ConversationRelay": {"SilenceDetection": {"enabled": false}}}"#;
    let assets = Assets::from_server_config(no_reminders).unwrap();
    Arc::get_mut(&mut context).unwrap().assets = Arc::new(CurrentAssets::new(assets.library));
    let (input, inputs) = mpsc::channel(16);
    let (pinged, mut pings) = mpsc::channel(16);
    let inputs =
        stream::unfold(inputs, async |mut inputs: mpsc::Receiver<SocketInput>| Some((inputs.recv().await?, inputs)));
    let outgoing = sink::unfold(pinged, async |pinged: mpsc::Sender<Instant>, frame| {
        if matches!(frame, SocketOutput::Ping) {
            pinged.send(Instant::now()).await.unwrap();
        }
        Ok::<_, SendFrameError>(pinged)
    });
    tokio::spawn(serve_socket(context.clone(), RelaySocket::new(Halves::new(inputs, outgoing))));
    let prompt = r#"{"type":"prompt","voicePrompt":"Good morning","last":true}"#.to_owned();
    for frame in [setup_frame(&context), prompt] {
        input.send(SocketInput::Text(frame)).await.unwrap();
    }
    requests.recv().await.unwrap();

    tokio::time::pause();
    let mut last = Instant::now();
    for _ in 0..3 {
        last = pings.recv().await.unwrap();
        input.send(SocketInput::Alive).await.unwrap();
    }
    for _ in 0..2 {
        let ping = pings.recv().await.unwrap();
        assert_eq!((ping - last).as_secs(), 20);
        last = ping;
    }
    // The session drops the socket, and the call waits for another one.
    input.closed().await;
    assert_eq!(last.elapsed().as_secs(), 20);
    assert!(pings.recv().await.is_none());
    assert!(context.calls.is_live(&"CA1".parse().unwrap()));
}

#[tokio::test]
async fn a_reconfigured_call_sends_other_instructions_and_the_same_history() {
    let (base_url, mut requests) = model().await;
    let (context, _directory) = context_with_model_at(&base_url).await;
    let line = call(&context, r#"{"type":"prompt","voicePrompt":"Good morning","last":true}"#).await;
    let before = requests.recv().await.unwrap();
    assert!(before.contains("Good morning") && !before.contains("You take no payments on this line"), "{before}");

    let library = context.assets.library();
    let keys =
        ContextKeys { context: Some("defaultContext".to_owned()), manifest: Some("defaultToolManifest".to_owned()) };
    let message = SessionMessage::Reconfigure { keys, library };
    assert_eq!(context.calls.deliver(&"CA1".parse().unwrap(), message), DeliveryOutcome::Delivered);
    // The test runtime has one thread, so the session handles the message before the test continues.
    tokio::task::yield_now().await;
    line.send(r#"{"type":"prompt","voicePrompt":"A pot, please","last":true}"#).await.unwrap();
    let after = requests.recv().await.unwrap();
    assert!(after.contains("You take no payments on this line") && !after.contains("start-capture"), "{after}");
    assert!(after.contains("Good morning") && after.contains("A pot, please"), "{after}");
}

#[tokio::test]
async fn a_tool_call_whose_client_has_left_does_not_start() {
    let (base_url, mut requests) = model().await;
    let (context, _directory) = context_with_model_at(&base_url).await;
    let line = call(&context, r#"{"type":"prompt","voicePrompt":"Good morning","last":true}"#).await;
    requests.recv().await.unwrap();
    let (kept, _waits) = tokio::sync::oneshot::channel();
    let (left, _) = tokio::sync::oneshot::channel();
    for (name, answer) in [("set-silence-detection", left), ("set-listen-mode", kept)] {
        let call = ToolCall::new(String::new(), None, name.to_owned(), r#"{"enabled":false}"#);
        let message = SessionMessage::ExternalToolCall(ExternalToolCall::new(call, None, answer));
        assert_eq!(context.calls.deliver(&"CA1".parse().unwrap(), message), DeliveryOutcome::Delivered);
    }
    // The test runtime has one thread, so the session handles the messages before the test continues.
    tokio::task::yield_now().await;
    line.send(r#"{"type":"prompt","voicePrompt":"A pot, please","last":true}"#).await.unwrap();
    let request = requests.recv().await.unwrap();
    assert!(request.contains("has called the tool set-listen-mode"), "{request}");
    assert!(!request.contains("has called the tool set-silence-detection"), "{request}");
}

#[tokio::test]
async fn a_panicked_session_leaves_no_payment_open() {
    let (base_url, mut requests) = model().await;
    let (context, _directory) = context_with_model_at(&base_url).await;
    let setup = futures_util::stream::iter([SocketInput::Text(setup_frame(&context))]);
    let breaks = stream::once(async { panic!("a fault of this program's") });
    let outgoing = sink::drain().sink_map_err(|_| SendFrameError);
    let call = CallData::from_sid("CA1".parse().unwrap());
    let id = payment::PaymentIdGenerator::new(Uuid::nil()).generate();
    let (key, terms) = (id.create_key(), payment::PaymentSettings::sample_terms());
    let create = payment::CreatePayment { id, idempotency_key: key, charge: None, terms, consent: None };
    context.ledger.record_create_request(&call, &create).await.unwrap();
    context
        .ledger
        .record_create_response(&create, &payment::TwilioResponse::Created("PK1".parse().unwrap()))
        .await
        .unwrap();

    serve_socket(context.clone(), RelaySocket::new(Halves::new(setup.chain(breaks), outgoing))).await;
    assert!(requests.recv().await.unwrap().contains("Status=cancel"));
    context.tasks.close();
    context.tasks.wait().await;
    let state = context.ledger.payment(id).await.unwrap().unwrap().state;
    assert_eq!((state, context.calls.count()), (crate::ledger::PaymentState::Abandoned, 0));
}

#[tokio::test]
async fn a_call_whose_end_is_being_written_is_not_put_away() {
    let (context, _directory) = context_with_model_at("http://127.0.0.1:9/v1").await;
    let sid: crate::ids::CallSid = "CA1".parse().unwrap();
    context.ledger.claim_call(&sid, &crate::call_claim::CallClaim::new(context.server)).await.unwrap();
    let epoch = async || context.ledger.find_owner(&sid).await.unwrap().map(|owner| owner.epoch);
    context.ending_calls.insert(&sid);
    context.put_away_ended(&sid).await;
    assert_eq!(epoch().await, Some(1));
    context.ending_calls.remove(&sid);
    context.put_away_ended(&sid).await;
    assert_ne!(epoch().await, Some(1), "nobody has it any more");
}
