//! Crash tests of receipts: the real binary is killed around the outcome of a payment, and restarted on the same file.

use std::time::Duration;

use serde_json::Value;

use super::Harness;
use super::server_process::ServerProcess;
use super::stand_ins::Checkpoint;

const VARS: [(&str, &str); 3] =
    [("RESUME_SECONDS", "1"), ("BUSINESS_NAME", "Acme"), ("BUSINESS_PHONE", "+15550100003")];

const CALLER: &str = "+15550100001";

/// A payment call that stops at a checkpoint, on a server that sends receipts.
async fn start(stop_at: Checkpoint) -> (Harness, ServerProcess) {
    let mut harness = Harness::start(Some(stop_at)).await;
    harness.call.number = Some(CALLER);
    harness.work_dir.write_server_config(r#"{"Compliance": {"receipt": true}}"#);
    let running = serve(&harness).await;
    (harness, running)
}

async fn serve(harness: &Harness) -> ServerProcess {
    harness.work_dir.serve_with_vars(&harness.call.stand_ins, &harness.call.openai, &VARS).await
}

/// Waits until the only payment has an event of a receipt in this state, and returns the events of receipts.
async fn wait_for_receipt(running: &ServerProcess, state: &str) -> Vec<String> {
    for _ in 0..1_500 {
        let all: Value = running.server.get_as_operator("/payments").await.json().await.unwrap();
        let id = all["payments"][0]["id"].as_str().unwrap().to_owned();
        let payment: Value = running.server.get_as_operator(&format!("/payments/{id}")).await.json().await.unwrap();
        let events = payment["events"].as_array().unwrap().iter();
        let of_receipt = events.filter(|event| event["kind"].as_str().unwrap().starts_with("receipt"));
        let words: Vec<String> =
            of_receipt.map(|event| event["data"]["state"].as_str().unwrap_or("asking").to_owned()).collect();
        if words.iter().any(|word| word == state) {
            return words;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no receipt is {state}:\n{}", running.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_is_sent_once_though_the_server_is_killed_before_the_outcome() {
    for checkpoint in [Checkpoint::CompleteReceived, Checkpoint::Submitted] {
        let (harness, running) = start(checkpoint).await;
        let mut answered = Vec::new();
        tokio::select! {
            () = harness.stand_ins.wait_for_stop() => {}
            played = harness.run_call(&running.server, &mut answered) => panic!("{checkpoint:?} was not reached: {played:?}"),
        }
        running.kill();
        let running = serve(&harness).await;
        // The result comes after the restart.
        assert_eq!(harness.check_recovery(&running.server, &answered).await, "unknown");
        assert_eq!(wait_for_receipt(&running, "sent").await, ["asking", "sent"], "{checkpoint:?}");
        running.kill();
        let running = serve(&harness).await;
        assert_eq!(wait_for_receipt(&running, "sent").await, ["asking", "sent"], "{checkpoint:?}");
        let messages = harness.stand_ins.received(|received| received.messages.clone());
        let [(to, text)] = &messages[..] else { panic!("{messages:?}") };
        assert!(to == CALLER && text.starts_with("Acme: we received your payment of 25.00 USD"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_is_not_repeated_that_was_under_way_when_the_server_was_killed() {
    let (harness, running) = start(Checkpoint::MessageReceived).await;
    let mut answered = Vec::new();
    harness.run_call(&running.server, &mut answered).await.unwrap();
    harness.stand_ins.wait_for_stop().await;
    running.kill();
    let running = serve(&harness).await;
    assert_eq!(wait_for_receipt(&running, "unknown").await, ["asking", "unknown"]);
    running.wait_for_log("receipt.unknown").await;
    let evidence = harness.work_dir.run(&["evidence", "CA1"]).await;
    let evidence = String::from_utf8(evidence.stdout).unwrap();
    assert!(evidence.contains("It is not known whether the receipt was sent. It is not sent again."), "{evidence}");
    assert_eq!(harness.stand_ins.received(|received| received.messages.len()), 1);
}
