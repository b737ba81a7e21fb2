//! The operator's commands on the ledger while the real server uses it.

#![cfg(feature = "simulator")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "ledger/seed.rs"]
mod seed;
#[expect(dead_code, reason = "not all clients are used")]
mod server;
#[expect(dead_code, reason = "not all of the process control is used")]
#[path = "ledger/server_process.rs"]
mod server_process;
#[expect(dead_code, reason = "not all stand-ins are used")]
#[path = "ledger/stand_ins.rs"]
mod stand_ins;

use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use crelay_payments::ledger::Ledger;
use crelay_payments::payment::PaymentId;
use crelay_payments::simulator::QueuedOpenAi;
use jiff::{SignedDuration, Timestamp};
use seed::Seed;
use serde_json::{Value, json};
use server_process::{ServerProcess, WorkDir};
use stand_ins::StandIns;

/// A ledger with payments, its server, and the business.
struct Harness {
    work_dir: WorkDir,
    stand_ins: StandIns,
    running: Option<ServerProcess>,
}

impl Seed {
    /// Postpones all pending deliveries by 46 minutes, as after an outage of the receiver.
    async fn postpone_deliveries(&self) {
        loop {
            let due = self.ledger.due_deliveries(Timestamp::now(), 99).await.unwrap();
            if due.is_empty() {
                return;
            }
            for due in due {
                self.ledger.postpone_delivery(&due, Timestamp::now() + SignedDuration::from_mins(46)).await.unwrap();
            }
        }
    }
}

impl Harness {
    /// Fills the ledger with `seed`, then starts the server and a business that accepts events.
    async fn start_with<T>(seed: impl AsyncFnOnce(&mut Seed) -> T) -> (Self, T) {
        let work_dir = WorkDir::new();
        let mut seeding = Seed::new(Ledger::open(&work_dir.ledger_path()).await.unwrap());
        let seeded = seed(&mut seeding).await;
        seeding.ledger.close().await;
        drop(seeding);
        let (stand_ins, openai) = (StandIns::start(None).await, QueuedOpenAi::start(&[]).await.unwrap());
        stand_ins.accept_events();
        let running = work_dir.serve(&stand_ins, &openai).await;
        (Self { work_dir, stand_ins, running: Some(running) }, seeded)
    }

    /// Runs a command. Returns its exit code and its output.
    async fn run(&self, arguments: &[&str]) -> (i32, String) {
        let Output { status, stdout, stderr } = self.work_dir.run(arguments).await;
        let printed = String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap();
        (status.code().unwrap(), printed)
    }

    async fn payment(&self, id: PaymentId) -> Value {
        let server = &self.running.as_ref().unwrap().server;
        server.get_as_operator(&format!("/payments/{id}")).await.json().await.unwrap()
    }

    /// Waits until an event of this type is delivered, and returns it.
    async fn wait_for_event(&self, id: PaymentId, kind: &str) -> Value {
        let is_it = |event: &&Value| event["id"] == id.to_string() && event["type"] == kind;
        self.stand_ins.wait_until(kind, |received| received.events.iter().any(|event| is_it(&event))).await;
        self.stand_ins.received(|received| received.events.iter().rfind(is_it).cloned()).unwrap()
    }

    fn path_of(&self, name: &str) -> std::path::PathBuf {
        self.work_dir.ledger_path().parent().unwrap().parent().unwrap().join(name)
    }
}

#[tokio::test]
async fn deliver_sends_pending_events_at_once() {
    let (harness, id) = Harness::start_with(async |seed| {
        let id = seed.add_unknown(25, "credit-card").await;
        seed.postpone_deliveries().await;
        id
    })
    .await;
    let (code, printed) = harness.run(&["deliver"]).await;
    assert!(code == 0 && printed.starts_with("waiting: 1, the oldest for "), "{printed}");
    let event = harness.wait_for_event(id, "payment.unknown").await;
    assert_eq!(
        (&event["state"], &event["paymentSid"], &event["live"]),
        (&"unknown".into(), &"PK25".into(), &true.into())
    );
    assert_eq!(harness.run(&["deliver"]).await, (0, "waiting: none\n".to_owned()));
}

#[tokio::test]
async fn a_settlement_can_be_corrected_and_refunds_are_recorded() {
    let (harness, id) = Harness::start_with(async |seed| seed.add_unknown(25, "credit-card").await).await;
    let text = id.to_string();
    let settle = async |more: &[&str]| harness.run(&[&["settle", &text], more].concat()).await;
    assert_eq!(settle(&["--as", "declined"]).await, (0, format!("{id} is declined\n")));
    assert_eq!(settle(&["--as", "charged"]).await.0, 1, "a second outcome needs --correct");
    assert_eq!(settle(&["--as", "charged", "--correct"]).await.0, 2, "--correct needs --note");
    let correct = ["--as", "charged", "--correct", "--note", "the wrong row", "--confirmation", "ch_9"];
    assert_eq!(settle(&correct).await, (0, format!("{id} is charged\n")));
    assert_eq!(harness.wait_for_event(id, "payment.charged").await["confirmationCode"], "ch_9");

    let refund = async |more: &[&str]| harness.run(&[&["refunded", &text], more].concat()).await;
    let (code, printed) = refund(&["--amount", "26", "--reference", "re_1"]).await;
    assert!(code == 1 && printed.contains("the rest is less"), "{printed}");
    for _ in 0..2 {
        let done = refund(&["--amount", "10", "--reference", "re_1", "--at", "1h"]).await;
        assert_eq!(done, (0, format!("{id} is charged, 10.00 USD refunded\n")));
    }
    assert_eq!(harness.wait_for_event(id, "payment.refunded").await["refundedMinor"], 1000);
    let done = refund(&["--amount", "15", "--reference", "dp_1", "--dispute"]).await;
    assert_eq!(done, (0, format!("{id} is disputed, 10.00 USD refunded\n")));
    assert_eq!(harness.wait_for_event(id, "payment.disputed").await["refund"]["reference"], "dp_1");
    let (code, totals) = harness.run(&["payments", "--totals", "--csv"]).await;
    assert!(code == 0 && totals.contains(",USD,disputed,live,1,25.00,2500,10.00,1000"), "{totals}");
}

#[tokio::test]
async fn a_backup_is_private_and_overwrites_nothing() {
    let (harness, ()) = Harness::start_with(async |seed| {
        seed.add_succeeded(25, "credit-card").await;
    })
    .await;
    let (code, printed) = harness.run(&["backup", "copy.db"]).await;
    assert_eq!(code, 0, "{printed}");
    let mode = std::fs::metadata(harness.path_of("copy.db")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    assert!(!harness.path_of("copy.db.part").exists());
    let (code, printed) = harness.run(&["backup", "copy.db"]).await;
    assert!(code == 1 && printed.contains("overwrites nothing"), "{printed}");
    let copy = Ledger::open_for_cli(&harness.path_of("copy.db")).await.unwrap();
    assert_eq!(copy.count_payments(crelay_payments::ledger::PaymentState::Charged).await.unwrap(), 1);
}

#[tokio::test]
async fn the_personal_data_of_a_caller_is_erased_after_delivery() {
    let (harness, (charged, unknown)) = Harness::start_with(async |seed| {
        (seed.add_succeeded(25, "credit-card").await, seed.add_unknown(26, "credit-card").await)
    })
    .await;
    harness.wait_for_event(charged, "payment.charged").await;
    harness.wait_for_event(unknown, "payment.unknown").await;
    // The delivery is recorded shortly after the receiver has responded.
    let printed = loop {
        let (_, printed) = harness.run(&["erase", "--caller", seed::CALLER]).await;
        if harness.payment(charged).await["caller"].is_null() {
            break printed;
        }
    };
    assert!(printed.contains("left: 1"), "{printed}");
    let erased = harness.payment(charged).await;
    assert!(
        erased["callReference"].is_null() && erased["description"].is_null() && erased["minor"] == 2500,
        "{erased}"
    );
    assert_eq!(harness.payment(unknown).await["caller"], seed::CALLER);
    assert_eq!(harness.run(&["erase", "--caller", "5550100001"]).await.0, 2, "not an E.164 number");
}

#[tokio::test]
async fn reconcile_settles_unknown_payments_and_lists_differences() {
    let (harness, [unknown, failed, charged, debit]) = Harness::start_with(async |seed| {
        [
            seed.add_unknown(25, "credit-card").await,
            seed.add_unknown(26, "credit-card").await,
            seed.add_succeeded(27, "credit-card").await,
            seed.add_succeeded(28, "ach-debit").await,
        ]
    })
    .await;
    let rows = [
        format!("ch_25,hush-order-25 {unknown},25.00,USD,Paid"),
        format!("ch_26,{failed},26.00,USD,Failed"),
        "ch_27,,27.00,USD,Failed".to_owned(),
        "ch_28,,28.00,USD,Returned".to_owned(),
        "ch_99,the web shop,9.00,USD,Paid".to_owned(),
    ];
    let text = format!("ID,Description,Amount,Currency,Status\n{}\n", rows.join("\n"));
    std::fs::write(harness.path_of("export.csv"), text).unwrap();
    let (code, printed) = harness.run(&["reconcile", "export.csv", "--dry-run"]).await;
    assert!(code == 1 && printed.contains(&format!("line 2: would be settled as charged: {unknown}")), "{printed}");
    assert_eq!(harness.payment(unknown).await["state"], "unknown");

    let (code, printed) = harness.run(&["reconcile", "export.csv"]).await;
    assert_eq!(code, 1, "{printed}");
    for line in [
        format!("line 2: is settled as charged: {unknown}"),
        format!("line 3: is settled as declined: {failed}"),
        format!("line 4: the export says failed, the ledger says charged: {charged}"),
        format!("line 5: is settled as returned: {debit}"),
        "line 6: no payment of the ledger fits".to_owned(),
        "5 rows: 0 agree, 3 settled, 2 to look at".to_owned(),
    ] {
        assert!(printed.contains(&line), "{line} in {printed}");
    }
    let event = harness.wait_for_event(unknown, "payment.charged").await;
    assert_eq!(event["confirmationCode"], "ch_25");
    harness.wait_for_event(debit, "payment.returned").await;
    let events = harness.payment(failed).await["events"].to_string();
    assert!(events.contains("reconciled with export.csv, line 3"), "{events}");

    let agreeing = "id,amount,currency,status\nch_25,25.00,USD,paid\nch_27,27.00,USD,captured\n";
    std::fs::write(harness.path_of("export.csv"), agreeing).unwrap();
    let (code, printed) = harness.run(&["reconcile", "export.csv", "--dry-run"]).await;
    assert!(
        code == 1 && printed.contains(&format!("not in the export: the ledger says returned: {debit}")),
        "{printed}"
    );
    std::fs::write(harness.path_of("export.csv"), format!("{agreeing}ch_28,28.00,USD,returned\n")).unwrap();
    assert_eq!(harness.run(&["reconcile", "export.csv"]).await.0, 0);
}

#[tokio::test]
async fn an_operator_settles_corrects_and_refunds_over_http() {
    let (harness, [unknown, charged]) = Harness::start_with(async |seed| {
        [seed.add_unknown(25, "credit-card").await, seed.add_succeeded(26, "credit-card").await]
    })
    .await;
    let server = &harness.running.as_ref().unwrap().server;
    let posts = async |id: &dyn std::fmt::Display, what: &str, body: Value| {
        let answer = server.post_as_operator(&format!("/payments/{id}/{what}"), &body).await;
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let missing = "2f1b6c1e-8f0a-5d3c-9a51-0d2f6d1c9a10";
    for (id, body, status) in [
        (&unknown as &dyn std::fmt::Display, json!({"outcome": "declined"}), 200),
        (&unknown, json!({"outcome": "charged"}), 409),
        (&unknown, json!({"outcome": "charged", "correct": true}), 400),
        (&unknown, json!({"outcome": "tokenized", "correct": true, "note": "wrong"}), 400),
        (&unknown, json!({"outcome": "charged", "correct": true, "note": "wrong"}), 200),
        (&charged, json!({"outcome": "declined", "correct": true, "note": "wrong"}), 409),
        (&missing, json!({"outcome": "declined", "correct": true, "note": "wrong"}), 404),
    ] {
        let (answered, answer) = posts(id, "settle", body.clone()).await;
        assert_eq!(answered, status, "{body}: {answer}");
    }
    for (id, body, status) in [
        (&charged as &dyn std::fmt::Display, json!({"amount": "26.01", "reference": "re_1"}), 409),
        (&charged, json!({"amount": "one", "reference": "re_1"}), 400),
        (&charged, json!({"amount": "1", "reference": ""}), 400),
        (&charged, json!({"amount": "1", "reference": "4111111111111111"}), 400),
        (&charged, json!({"amount": 1.5, "reference": "re_1"}), 400),
        (&charged, json!({"amount": "1", "reference": "re_1", "at": "2999-01-01T00:00:00Z"}), 400),
        (&charged, json!({"amount": "6", "reference": "re_1", "at": "2026-11-01T00:00:00Z"}), 200),
        (&charged, json!({"amount": "6.00", "reference": "re_1"}), 200),
        (&charged, json!({"amount": "5", "reference": "re_1"}), 409),
        (&charged, json!({"amount": "20", "reference": "re_2"}), 200),
        (&missing, json!({"amount": "1", "reference": "re_1"}), 404),
    ] {
        let (answered, answer) = posts(id, "refunded", body.clone()).await;
        assert_eq!(answered, status, "{body}: {answer}");
    }
    let payment = harness.payment(charged).await;
    assert_eq!((&payment["state"], &payment["refundedMinor"]), (&"refunded".into(), &2600.into()));
    assert_eq!(harness.wait_for_event(unknown, "payment.charged").await["state"], "charged");
    assert_eq!(harness.wait_for_event(charged, "payment.refunded").await["id"], charged.to_string());
}
