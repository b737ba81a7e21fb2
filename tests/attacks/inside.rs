//! The inside holds under load: a log that nobody reads, a model that floods, inputs and orders without measure.

use std::io::{PipeReader, Read as _, Write as _, pipe};

use std::time::Duration;

use crelay_payments::simulator::{ModelReply, QueuedOpenAi};
use futures_util::{StreamExt as _, stream};
use reqwest::Method;
use serde_json::json;
use tokio::time::Instant;

use crate::process::Process;
use crate::raw_model::{RawModel, RawReply, event};
use crate::server::Server;

/// The time within which a call answers while others are flooded. It takes a few milliseconds; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(3);

/// The number of unsigned requests, in groups of 50 at a time.
const REQUESTS: usize = 500;

/// Creates a pipe that is full, for as long as nobody reads it.
fn full_pipe() -> (PipeReader, impl Into<std::process::Stdio>) {
    let (reader, writer) = pipe().unwrap();
    let mut filler = writer.try_clone().unwrap();
    std::thread::spawn(move || while filler.write_all(b"The pipe is full.\n").is_ok() {});
    (reader, writer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_stops_neither_calls_nor_health_and_its_last_line_is_not_lost() {
    let openai = QueuedOpenAi::start_with(ModelReply::text("Yes, I am here."), |_, _| {}).await.unwrap();
    let (mut unread, stderr) = full_pipe();
    let process = Process::start(openai.base_url(), &[("RUST_LOG", "debug")], stderr).await;
    let mut socket = process.server.connect_call("CA1", &json!({})).await;
    let path = |number| format!("/connectConversationRelay?number={number}");
    stream::iter(0..REQUESTS)
        .for_each_concurrent(50, async |number| {
            let answer = process.server.request(Method::POST, &path(number)).send().await.unwrap();
            assert_eq!(answer.status(), 403);
        })
        .await;
    socket.say("Are you there?").await.unwrap();
    assert_eq!(socket.wait_for_speech().await.unwrap(), "Yes, I am here.");
    process.server.wait_for_calls(1).await;

    let log = std::thread::spawn(move || {
        // The filler ends only with this process, so the reader looks for the last line of the server.
        let (mut text, mut bytes) = (String::new(), [0; 4096]);
        while !text.contains("server.stopped") {
            let read = unread.read(&mut bytes).unwrap();
            text.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
        text
    });
    socket.close(1000, "").await.unwrap();
    process.terminate();
    assert!(process.wait_for_exit().await);
    let log = tokio::task::spawn_blocking(move || log.join().unwrap()).await.unwrap();
    assert!(log.contains("call.connected"), "what was logged meanwhile was kept");
}

/// A model that answers `Hello.` to whoever says "hello", and floods all others with this event.
async fn start_flooding_model(flood: &serde_json::Value) -> RawModel {
    let flood = RawReply { repeated: event(&flood.to_string()).repeat(100), times: 100_000, ..RawReply::default() };
    let text = json!({"type": "response.output_text.delta", "item_id": "m", "delta": "Hello."});
    let end = json!({"type": "response.completed", "response": {"status": "completed"}});
    let hello = event(&text.to_string()) + &event(&end.to_string());
    RawModel::start(move |_, body| {
        if body.contains("hello") { RawReply { begin: hello.clone(), ..RawReply::default() } } else { flood.clone() }
    })
    .await
}

/// Floods eight calls, of which none reads its socket, and shows that another call is answered meanwhile.
async fn show_that_others_are_answered(flood: &serde_json::Value) {
    let model = start_flooding_model(flood).await;
    let server = Server::start(&[("OPENAI_BASE_URL", &model.base_url)]).await;
    let mut calm = server.connect_call("CA0", &json!({})).await;
    let mut flooded = Vec::new();
    for number in 1..=8 {
        let mut socket = server.connect_call(&format!("CA{number}"), &json!({})).await;
        socket.say("Flood me.").await.unwrap();
        flooded.push(socket);
    }
    model.wait_until(|progress| progress.requests >= 8).await;
    let began = Instant::now();
    calm.say("hello").await.unwrap();
    assert_eq!(calm.wait_for_speech().await.unwrap(), "Hello.");
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    // Each flood ends by a limit: of the response, or of the socket that takes nothing.
    model.wait_until(|progress| progress.ended >= 9).await;
    server.wait_for_calls(9).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reasoning_without_end_holds_up_no_other_call() {
    show_that_others_are_answered(&json!({"type": "response.reasoning_summary_text.delta", "delta": "so"})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn words_without_end_at_readers_that_take_nothing_hold_up_no_other_call() {
    let delta = json!({"type": "response.output_text.delta", "item_id": "m", "delta": "Hello there. "});
    show_that_others_are_answered(&delta).await;
}

#[tokio::test]
async fn an_input_above_4_kib_is_cut_with_a_note_and_a_card_number_on_the_edge_is_not_let_through() {
    let openai = QueuedOpenAi::start(&[ModelReply::text("Too long.")]).await.unwrap();
    let server = Server::start(&[("OPENAI_BASE_URL", openai.base_url())]).await;
    let mut socket = server.connect_call("CA1", &json!({})).await;
    let words = format!("{} 4242 4242 4242 4242 {}", "x".repeat(4085), "and so on ".repeat(25_000));
    socket.say(&words).await.unwrap();
    let input = openai.wait_for_input("xxxx").await.unwrap();
    assert!(input.contains("longer than 4 KiB"), "the model is told so");
    assert!(!input.contains("4242") && !input.contains("and so on"));
    assert!(input.len() < 16 * 1024, "{}", input.len());
}
