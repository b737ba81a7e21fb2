//! The benchmark of the worst case: what one call can cost the server in memory, whatever its model and its caller do.

#![cfg(all(feature = "simulator", target_os = "linux"))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "attacks/process.rs"]
#[expect(dead_code, reason = "not all of a process is used")]
mod process;
#[path = "attacks/raw_model.rs"]
mod raw_model;
#[expect(dead_code, reason = "not all clients are used")]
mod server;

use std::process::Stdio;

use crelay_payments::simulator::RelayClient;
use process::Process;
use raw_model::{RawModel, RawReply, event, tool_call};
use serde_json::json;

/// The number of calls at the same time.
const CALLS: usize = 10;

/// The number of calls with long conversations, which take longer.
const LONG_CALLS: usize = 3;

/// What one call may cost, in KiB.
const MAX_CALL_KIB: u64 = 8 * 1024;

const MIB: usize = 1024 * 1024;

/// Connects calls that are greeted by nobody, and lets each caller say `words`.
async fn connect_calls(process: &Process, calls: usize, words: &str) -> Vec<RelayClient> {
    let mut sockets = Vec::new();
    for number in 0..calls {
        let mut socket = process.server.connect_call(&format!("CA{number}"), &json!({})).await;
        socket.say(words).await.unwrap();
        sockets.push(socket);
    }
    sockets
}

/// Runs a case on a server of its own. Returns what one call has cost at most, in KiB.
async fn measure(
    case: &str,
    calls: usize,
    reply: impl Fn(usize, &str) -> RawReply + Send + Sync + 'static,
    play: impl AsyncFnOnce(&Process, &RawModel),
) {
    let model = RawModel::start(reply).await;
    let process = Process::start(&model.base_url, &[("RUST_LOG", "off")], Stdio::null()).await;
    let before = process.memory_kib("VmRSS");
    play(&process, &model).await;
    let each = process.memory_kib("VmHWM").saturating_sub(before) / calls as u64;
    eprintln!("{case}: {each} KiB a call, from {before} KiB");
    assert!(each < MAX_CALL_KIB, "{case}: {each} KiB a call");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_8_mib_is_not_kept() {
    let reply = |_, _: &str| RawReply {
        begin: r#"data: {"type":"response.output_text.delta","item_id":"m","delta":""#.to_owned(),
        repeated: "x".repeat(64 * 1024),
        times: 128,
        end: "\"}\n\n".to_owned(),
    };
    measure("one event of 8 MiB", CALLS, reply, async |process, model| {
        let _sockets = connect_calls(process, CALLS, "Hello.").await;
        model.wait_until(|progress| progress.ended >= CALLS).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_of_8_mib_are_not_kept() {
    let delta = json!({"type": "response.function_call_arguments.delta", "item_id": "f", "delta": "x".repeat(60_000)});
    let reply = move |_, _: &str| RawReply {
        begin: event(
            r#"{"type":"response.output_item.added","item":{"type":"function_call","id":"f","call_id":"c","name":"x"}}"#,
        ),
        repeated: event(&delta.to_string()),
        times: 8 * MIB / 60_000,
        end: String::new(),
    };
    measure("arguments of 8 MiB", CALLS, reply, async |process, model| {
        let _sockets = connect_calls(process, CALLS, "Hello.").await;
        model.wait_until(|progress| progress.ended >= CALLS).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_at_a_reader_that_takes_nothing_is_not_kept() {
    let delta = json!({"type": "response.output_text.delta", "item_id": "m", "delta": "Hello there. ".repeat(8)});
    let reply =
        move |_, _: &str| RawReply { repeated: event(&delta.to_string()), times: 1_000_000, ..RawReply::default() };
    measure("a flood at a reader that takes nothing", CALLS, reply, async |process, model| {
        let _sockets = connect_calls(process, CALLS, "Hello.").await;
        model.wait_until(|progress| progress.ended >= CALLS).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_conversation_is_bounded() {
    let arguments = |number| json!({"number": number, "words": "x".repeat(240_000)}).to_string();
    let reply = move |number, _: &str| RawReply {
        begin: tool_call(number, "look-up", &arguments(number)),
        ..RawReply::default()
    };
    measure("twelve tool calls of 240 KiB on an input of 60 KiB", LONG_CALLS, reply, async |process, model| {
        let _sockets = connect_calls(process, LONG_CALLS, &"Please look again. ".repeat(3_000)).await;
        let progress = model.wait_until(|progress| progress.ended >= LONG_CALLS * 12).await;
        eprintln!("the largest request has {} bytes", progress.largest_request);
        // Turns are left out above 2 MiB, and no sooner.
        assert!((7 * MIB / 4..3 * MIB).contains(&progress.largest_request), "{}", progress.largest_request);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_full_of_digits_are_read_in_little_memory() {
    let arguments = json!({"words": "4a".repeat(120_000)}).to_string();
    let reply =
        move |number, _: &str| RawReply { begin: tool_call(number, "look-up", &arguments), ..RawReply::default() };
    measure("tool calls of 240 KiB of digits", LONG_CALLS, reply, async |process, model| {
        let _sockets = connect_calls(process, LONG_CALLS, "Hello.").await;
        model.wait_until(|progress| progress.ended >= LONG_CALLS * 2).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reasoning_without_end_is_not_kept() {
    let item = json!({"type": "response.output_item.done", "item": {"type": "reasoning", "id": "rs_1",
        "encrypted_content": "x".repeat(900_000)}});
    let reply = move |_, _: &str| RawReply {
        begin: (0..4).map(|at| event(&item.to_string().replace("rs_1", &format!("rs_{at}")))).collect(),
        repeated: event(r#"{"type":"response.reasoning_summary_text.delta","delta":"so"}"#),
        times: 1_000_000,
        end: String::new(),
    };
    measure("reasoning without end", CALLS, reply, async |process, model| {
        let _sockets = connect_calls(process, CALLS, "Hello.").await;
        model.wait_until(|progress| progress.ended >= CALLS).await;
    })
    .await;
}
