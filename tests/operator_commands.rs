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

use crelay_payments::config::DatabaseUrl;
use crelay_payments::ledger::{CallData, Ledger, Refund, RefundKind};
use crelay_payments::payment::{Amount, ConsentAnswer, ConsentPurpose, ConsentRecord, Currency, PaymentId};
use crelay_payments::simulator::{LocalPostgres, QueuedOpenAi};
use jiff::{SignedDuration, Timestamp};
use seed::Seed;
use serde_json::{Value, json};
use server_process::{ServerProcess, WorkDir};
use stand_ins::{SECRET, StandIns};

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
        self.run_with(&[], arguments).await
    }

    async fn run_with(&self, vars: &[(&str, &str)], arguments: &[&str]) -> (i32, String) {
        let Output { status, stdout, stderr } = self.work_dir.run_with(vars, arguments).await;
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

const STATEMENT: &str = "That is 25 dollars, charged to your card now. Say yes or press 1; say no or press 2.";

impl Seed {
    /// Adds a charged payment whose caller was asked, and which is refunded in part.
    async fn add_agreed_and_refunded(&mut self) -> PaymentId {
        let statement = ConsentRecord {
            purpose: ConsentPurpose::Charge(Amount::parse("25", Currency::USD).unwrap().unwrap()),
            text: STATEMENT.to_owned(),
            sha256: crelay_payments::payment::text_sha256(STATEMENT),
            language: "en-US".to_owned(),
            text_version: "0a1b2c3d".to_owned(),
            answer: ConsentAnswer::Yes,
        };
        let call = CallData::from_sid("CA25".parse().unwrap());
        self.ledger.record_statement(&call, &statement).await.unwrap();
        let id = self.add_succeeded(25, "credit-card").await;
        let refund = Refund {
            kind: RefundKind::Refund,
            amount: "10".to_owned(),
            reference: "re_1".to_owned(),
            at: None,
            operator: "ann".parse().ok(),
        };
        self.ledger.record_refund(id, &refund).await.unwrap();
        id
    }
}

/// The signed JSON of evidence.
fn evidence_body(printed: &str) -> Value {
    let signed: Value = serde_json::from_str(printed).unwrap_or_else(|error| panic!("{error}: {printed}"));
    serde_json::from_str(signed["body"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn evidence_has_all_about_a_payment_and_shows_every_change() {
    let (harness, id) = Harness::start_with(async |seed| seed.add_agreed_and_refunded().await).await;
    let (text, signed) = (id.to_string(), [("PAYMENT_WEBHOOK_SECRET", SECRET)]);
    harness.wait_for_event(id, "payment.refunded").await;
    // The delivery is recorded shortly after the receiver has responded.
    let body = loop {
        let (code, printed) = harness.run_with(&signed, &["evidence", &text, "--json"]).await;
        assert_eq!(code, 0, "{printed}");
        let body = evidence_body(&printed);
        if body["webhookEvents"].as_array().unwrap().iter().all(|told| told["acceptedAt"].is_string()) {
            break body;
        }
    };
    assert_eq!((&body["payment"]["state"], &body["payment"]["refundedMinor"]), (&"charged".into(), &1000.into()));
    assert_eq!((&body["call"]["caller"], &body["call"]["callSid"]), (&seed::CALLER.into(), &"CA25".into()));
    let kinds: Vec<&str> =
        body["chronology"].as_array().unwrap().iter().map(|entry| entry["kind"].as_str().unwrap()).collect();
    assert!(
        kinds[..2] == ["statement", "opening"] && kinds.contains(&"refunded") && kinds.contains(&"delivered"),
        "{kinds:?}"
    );
    assert_eq!(body["chronology"][0]["sha256"], "fbf945f6fc673895d7ae8ea00fc397f99caaa4a068a963680caa2006ec08f5e6");
    assert!(body["ledger"].as_str().unwrap().ends_with("data/crelay-payments.db"), "{body}");

    let (code, printed) = harness.run_with(&signed, &["evidence", "CA25", "--out", "disputes"]).await;
    assert!(code == 0 && printed.lines().count() == 2, "{printed}");
    let path = |extension: &str| format!("disputes/evidence-{id}.{extension}");
    let markdown = std::fs::read_to_string(harness.path_of(&path("md"))).unwrap();
    for part in
        [STATEMENT, "The operator ann recorded a refund of 10.00 USD", "crelay-payments evidence CA25 --out disputes"]
    {
        assert!(markdown.contains(part), "{part}: {markdown}");
    }
    let (code, printed) = harness.run_with(&signed, &["evidence", &text, "--out", "disputes"]).await;
    assert!(code == 1 && printed.contains("is not overwritten"), "{printed}");
    for file in [path("md"), path("json")] {
        let whole = harness.path_of(&file);
        assert_eq!(std::fs::metadata(&whole).unwrap().permissions().mode() & 0o777, 0o600);
        let (code, printed) = harness.run_with(&signed, &["evidence", "--verify", &file]).await;
        assert!(code == 0 && printed.starts_with(&format!("genuine: payment {id}, signed at ")), "{printed}");
        assert_eq!(harness.run(&["evidence", "--verify", &file]).await.0, 1, "without the secret");
        let mut bytes = std::fs::read(&whole).unwrap();
        bytes[200] ^= 1;
        std::fs::write(&whole, bytes).unwrap();
        let (code, printed) = harness.run_with(&signed, &["evidence", "--verify", &file]).await;
        assert!(code == 1 && printed.contains("is not genuine") && !printed.contains("panicked"), "{printed}");
    }

    let (code, printed) = harness.run(&["evidence", &text]).await;
    assert!(code == 0 && printed.contains("Not signed: PAYMENT_WEBHOOK_SECRET is not set."), "{printed}");
    for unknown in ["2f1b6c1e-8f0a-5d3c-9a51-0d2f6d1c9a10", "CA99"] {
        let (code, printed) = harness.run(&["evidence", unknown]).await;
        assert!(code == 1 && printed.contains("`crelay-payments payments` lists"), "{printed}");
    }
}

#[tokio::test]
async fn evidence_from_postgresql_names_the_database_without_its_password() {
    let Some(server) = LocalPostgres::get() else { return };
    let url = server.create_database().await.unwrap();
    let mut seed = Seed::new(Ledger::open(DatabaseUrl::Postgres(url.parse().unwrap())).await.unwrap());
    let id = seed.add_agreed_and_refunded().await.to_string();
    seed.ledger.close().await;
    let output = WorkDir::new().run_with(&[("DATABASE_URL", &url)], &["evidence", &id, "--json"]).await;
    let printed = String::from_utf8(output.stdout).unwrap();
    let body = evidence_body(&printed);
    let ledger = body["ledger"].as_str().unwrap();
    assert!(ledger.starts_with("postgres://") && !ledger.contains('@') && !printed.contains(&url), "{printed}");
    assert_eq!((&body["payment"]["id"], &body["chronology"][0]["kind"]), (&id.into(), &"statement".into()));
}
