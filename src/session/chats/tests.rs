//! Chats without a reachable model, in which no chat task runs before the test awaits, and a chat with a flow of Flowise.

use tokio::time::Instant;

use super::*;
use crate::ledger::TempDirectory;
use crate::redact::Private;
use crate::session::chat::IDLE_TIMEOUT;
use crate::session::tests::{context_with, context_with_model_at};
use crate::simulator::raw_server::RawResponse::{Plain, Stream};
use crate::simulator::raw_server::RawServer;
use crate::simulator::raw_server::StreamStep::{Event, Stall};

/// Creates the shared context. Opening the ledger file takes real time, so the clock is resumed for it.
async fn context() -> (Arc<SessionContext>, TempDirectory) {
    tokio::time::resume();
    let context = context_with_model_at("http://127.0.0.1:9/v1").await;
    tokio::time::pause();
    context
}

fn hello() -> ChatMessage {
    ChatMessage::User(Private::new("Hello".to_owned()))
}

#[tokio::test(start_paused = true)]
async fn the_number_of_chats_is_limited() {
    let ((context, _directory), chats) = (context().await, Chats::new(CancellationToken::new()));
    let replies: Vec<_> = (0..1_000).map(|_| chats.send(&context, None, hello()).unwrap()).collect();
    assert_eq!(chats.send(&context, None, hello()).err(), Some(SendChatMessageError::TooManyChats));
    assert_eq!(chats.send(&context, Some(replies[0].0), hello()).err(), Some(SendChatMessageError::Busy));
    assert_eq!(chats.send(&context, Some(Uuid::nil()), hello()).err(), Some(SendChatMessageError::UnknownSession));
}

#[tokio::test(start_paused = true)]
async fn a_chat_that_never_answered_is_removed() {
    let ((context, _directory), chats) = (context().await, Chats::new(CancellationToken::new()));
    let (id, reply) = chats.send(&context, None, hello()).unwrap();
    // The client goes away before the reply.
    drop(reply);
    context.tasks.close();
    context.tasks.wait().await;
    assert_eq!(chats.send(&context, Some(id), hello()).err(), Some(SendChatMessageError::UnknownSession));
    assert!(chats.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_idle_chat_ends() {
    let (context, _directory) = context().await;
    let began = Instant::now();
    let (_mailbox, asks) = mpsc::channel(1);
    Chat::new(context, Uuid::nil()).run(asks, CancellationToken::new()).await;
    assert_eq!(began.elapsed().as_secs(), IDLE_TIMEOUT.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_draining_server_accepts_no_message_and_ends_idle_chats() {
    let ((context, _directory), draining) = (context().await, CancellationToken::new());
    draining.cancel();
    assert_eq!(
        Chats::new(draining.clone()).send(&context, None, hello()).err(),
        Some(SendChatMessageError::ServerStopping)
    );
    let began = Instant::now();
    let (_mailbox, asks) = mpsc::channel(1);
    Chat::new(context, Uuid::nil()).run(asks, draining).await;
    assert_eq!(began.elapsed(), std::time::Duration::ZERO);
}

#[tokio::test]
async fn a_flow_of_flowise_answers_a_chat_and_is_aborted_when_the_client_leaves() {
    let hello = || Event(r#"{"event":"token","data":"Hello."}"#);
    let end = Event(r#"{"event":"end","data":"[DONE]"}"#);
    let abort = Plain(200, vec![], "{}");
    let (flowise, _) = RawServer::start(vec![Stream(vec![hello(), end]), Stream(vec![hello(), Stall]), abort]).await;
    let vars = [("RESPONSE_SERVICE", "flowise"), ("FLOWISE_URL", flowise.origin()), ("FLOWISE_CHATFLOW_ID", "f")];
    let (context, _directory) = context_with("http://127.0.0.1:9/v1", &vars).await;
    let chats = Chats::new(CancellationToken::new());
    let (id, mut reply) = chats.send(&context, None, ChatMessage::User(Private::new("Hi".to_owned()))).unwrap();
    let disclosed = "This is an automated AI assistant.";
    for token in [disclosed, "\nHello."] {
        assert!(matches!(reply.recv().await, Some(ReplyPart::Token(text)) if text.reveal() == token), "{token}");
    }
    let whole = format!("{disclosed}\nHello.");
    assert!(matches!(reply.recv().await, Some(ReplyPart::Done { text, .. }) if text.reveal() == &whole));

    let (_, mut reply) = chats.send(&context, Some(id), ChatMessage::User(Private::new("Well?".to_owned()))).unwrap();
    assert!(matches!(reply.recv().await, Some(ReplyPart::Token(_))));
    drop(reply);
    let is_aborted = || flowise.requests().iter().any(|it| it.path.starts_with("/api/v1/chatmessage/abort/f/chat-"));
    let waits = async {
        while !is_aborted() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(5), waits).await.expect("the flow is aborted");
    let asked: serde_json::Value = serde_json::from_str(&flowise.bodies()[1]).unwrap();
    let history = serde_json::json!([
        {"role": "apiMessage", "content": disclosed},
        {"role": "userMessage", "content": "Hi"},
        {"role": "apiMessage", "content": "Hello."},
    ]);
    assert_eq!((&asked["question"], &asked["history"]), (&serde_json::json!("Well?"), &history));
}
