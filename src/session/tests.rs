//! A session on channels, with a model that only listens.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use futures_util::{SinkExt as _, sink, stream};
use tokio::net::TcpListener;

use super::*;
use crate::assets::{Assets, Shelf};
use crate::config::{Config, Vars};
use crate::ledger::Directory;

/// What sessions share, with a model that is asked there; and the directory of their ledger.
pub(super) async fn context_with_model_at(base_url: &str) -> (Arc<Context>, Directory) {
    let vars = [
        ("SERVER_BASE_URL", "pay.example.com"),
        ("OPENAI_API_KEY", "sk-test"),
        ("OPENAI_BASE_URL", base_url),
        ("TWILIO_API_BASE_URL", base_url.trim_end_matches("/v1")),
        ("ACCOUNT_SID", "AC1"),
        ("AUTH_TOKEN", "12345"),
        ("FROM_NUMBER", "+15550100002"),
        ("PAYMENT_CONNECTOR", "Default"),
    ];
    let (config, _) = Config::from_vars(&Vars::from_iter(vars)).unwrap();
    let assets = Assets::built_in();
    let directory = Directory::new();
    let context = Arc::new(Context {
        ledger: Ledger::open(&directory.file()).await.unwrap(),
        model: Model::new(&config.openai, assets.library.server.model).unwrap(),
        shelf: Arc::new(Shelf::new(assets.library)),
        twilio: Arc::new(twilio::Client::new(&config.twilio, String::new()).unwrap()),
        environment: Environment {
            payment: config.payment,
            resume: config.resume,
            play_media_hosts: Vec::new(),
            sms_allowed: Vec::new(),
        },
        calls: Calls::default(),
        requests: Requests::default(),
        tasks: TaskTracker::new(),
        soft_stop: CancellationToken::new(),
        drain: config.drain,
        hard_stop: CancellationToken::new(),
    });
    (context, directory)
}

/// A model that refuses to answer, and a Twilio that cancels payments; what they were asked is passed on.
async fn model() -> (String, mpsc::Receiver<String>) {
    let (heard, asked) = mpsc::channel(8);
    let listen = async |State(heard): State<mpsc::Sender<String>>, body: String| {
        let cancels = body.contains("Status=cancel");
        heard.send(body).await.unwrap();
        if cancels { StatusCode::ACCEPTED } else { StatusCode::BAD_REQUEST }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
    let router = Router::new().fallback(listen).with_state(heard);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (base_url, asked)
}

/// A socket of Twilio's, on which it says this; what it is told is not looked at.
fn socket(context: &Arc<Context>) -> mpsc::Sender<&'static str> {
    let (line, frames) = mpsc::channel::<&str>(16);
    let received = async |mut frames: mpsc::Receiver<&'static str>| {
        let frame = frames.recv().await?;
        Some((Received::Text(frame.to_owned()), frames))
    };
    let frames = Box::pin(stream::unfold(frames, received));
    let outgoing = sink::drain().sink_map_err(|_| Broken);
    tokio::spawn(run(context.clone(), Line::new(frames, outgoing)));
    line
}

/// A call on a socket of its own, whose caller begins with this.
async fn call(context: &Arc<Context>, prompt: &'static str) -> mpsc::Sender<&'static str> {
    let line = socket(context);
    line.send(r#"{"type":"setup","callSid":"CA1"}"#).await.unwrap();
    line.send(prompt).await.unwrap();
    line
}

#[tokio::test]
async fn bad_frames_cost_a_call_its_socket_and_nothing_else() {
    let (base_url, mut asked) = model().await;
    let (context, _directory) = context_with_model_at(&base_url).await;
    let line = call(&context, r#"{"type":"prompt","voicePrompt":"Good morning","last":true}"#).await;
    asked.recv().await.unwrap();
    for _ in 0..MAX_BAD_FRAMES {
        line.send("{").await.unwrap();
    }
    // The session lets go of the socket, and with it of what would be read from it.
    line.closed().await;
    let _line = call(&context, r#"{"type":"prompt","voicePrompt":"Are you there?","last":true}"#).await;
    while let Some(request) = asked.recv().await {
        assert!(request.contains("Good morning"), "it is a new call: {request}");
        if request.contains("Are you there?") {
            break;
        }
    }
}

#[tokio::test]
async fn a_call_that_is_reconfigured_asks_with_other_instructions_and_the_same_history() {
    let (base_url, mut asked) = model().await;
    let (context, _directory) = context_with_model_at(&base_url).await;
    let line = call(&context, r#"{"type":"prompt","voicePrompt":"Good morning","last":true}"#).await;
    let before = asked.recv().await.unwrap();
    assert!(before.contains("Good morning") && !before.contains("You take no payments on this line"), "{before}");

    let library = context.shelf.library();
    let keys =
        ContextKeys { context: Some("defaultContext".to_owned()), manifest: Some("defaultToolManifest".to_owned()) };
    let news = News::Reconfigure { keys, library };
    assert_eq!(context.calls.deliver(&"CA1".parse().unwrap(), news), Delivery::Delivered);
    // The session takes it: on this one thread it runs before the test does again.
    tokio::task::yield_now().await;
    line.send(r#"{"type":"prompt","voicePrompt":"A pot, please","last":true}"#).await.unwrap();
    let after = asked.recv().await.unwrap();
    assert!(after.contains("You take no payments on this line") && !after.contains("start-capture"), "{after}");
    assert!(after.contains("Good morning") && after.contains("A pot, please"), "{after}");
}

#[tokio::test]
async fn a_session_that_breaks_leaves_no_payment_open() {
    let (base_url, mut asked) = model().await;
    let (context, _directory) = context_with_model_at(&base_url).await;
    let setup = futures_util::stream::iter([Received::Text(r#"{"type":"setup","callSid":"CA1"}"#.to_owned())]);
    let breaks = stream::once(async { panic!("a fault of this program's") });
    let outgoing = sink::drain().sink_map_err(|_| Broken);
    let call = OnCall::unknown("CA1".parse().unwrap());
    let id = payment::Ids::new(Uuid::nil()).make();
    let (key, terms) = (id.create_key(), payment::Settings::sample_terms());
    let create = payment::Create { id, key, charge: None, terms, agreed: None };
    context.ledger.opening(&call, &create).await.unwrap();
    context.ledger.created(&create, &payment::Answer::Created("PK1".parse().unwrap())).await.unwrap();

    run(context.clone(), Line::new(Box::pin(setup.chain(breaks)), outgoing)).await;
    assert!(asked.recv().await.unwrap().contains("Status=cancel"));
    context.tasks.close();
    context.tasks.wait().await;
    let state = context.ledger.payment(id).await.unwrap().unwrap().state;
    assert_eq!((state, context.calls.count()), (crate::ledger::State::Abandoned, 0));
}
