//! Chats with a model that is never asked: nothing runs before the test waits for something.

use tokio::time::Instant;

use super::*;
use crate::ledger::Directory;
use crate::redact::Private;
use crate::session::chat::IDLE;
use crate::session::tests::context_with_model_at;

/// What chats share. The file of the ledger takes real time.
async fn context() -> (Arc<Context>, Directory) {
    tokio::time::resume();
    let context = context_with_model_at("http://127.0.0.1:9/v1").await;
    tokio::time::pause();
    context
}

fn hello() -> Message {
    Message::User(Private::new("Hello".to_owned()))
}

#[tokio::test(start_paused = true)]
async fn there_is_an_end_to_how_many_chats_there_are() {
    let ((context, _directory), chats) = (context().await, Chats::new(CancellationToken::new()));
    let replies: Vec<_> = (0..MAX_CHATS).map(|_| chats.say(&context, None, hello()).unwrap()).collect();
    assert_eq!(chats.say(&context, None, hello()).err(), Some(NotSaid::Full));
    assert_eq!(chats.say(&context, Some(replies[0].0), hello()).err(), Some(NotSaid::Busy));
    assert_eq!(chats.say(&context, Some(Uuid::nil()), hello()).err(), Some(NotSaid::Unknown));
}

#[tokio::test(start_paused = true)]
async fn a_chat_that_never_answered_gives_its_place_up() {
    let ((context, _directory), chats) = (context().await, Chats::new(CancellationToken::new()));
    let (id, reply) = chats.say(&context, None, hello()).unwrap();
    // Nobody waits for the reply.
    drop(reply);
    context.tasks.close();
    context.tasks.wait().await;
    assert_eq!(chats.say(&context, Some(id), hello()).err(), Some(NotSaid::Unknown));
    assert!(chats.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_chat_in_which_nothing_is_said_ends() {
    let (context, _directory) = context().await;
    let began = Instant::now();
    let (_mailbox, asks) = mpsc::channel(1);
    Chat::begin(context, Uuid::nil()).live(asks, CancellationToken::new()).await;
    assert_eq!(began.elapsed().as_secs(), IDLE.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_takes_no_message_and_waits_for_no_chat() {
    let ((context, _directory), draining) = (context().await, CancellationToken::new());
    draining.cancel();
    assert_eq!(Chats::new(draining.clone()).say(&context, None, hello()).err(), Some(NotSaid::Draining));
    let began = Instant::now();
    let (_mailbox, asks) = mpsc::channel(1);
    Chat::begin(context, Uuid::nil()).live(asks, draining).await;
    assert_eq!(began.elapsed(), std::time::Duration::ZERO);
}
