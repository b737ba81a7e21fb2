//! `prove` on the real server: card numbers are sent through every leak vector, and all output is searched.
//!
//! `CRELAY_LONG=1` uses 918 card numbers; `CRELAY_SEED` sets the seed.

#![cfg(feature = "simulator")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crelay_payments::config::Vars;
use crelay_payments::proof::{self, ProofOptions, ProofOutcome, ProofReport, ProofVerdict};
use serde_json::Value;

/// One case for each leak vector.
const VECTORS: usize = 35;

/// The command in its own directory with an empty environment.
struct ProveCommand {
    directory: PathBuf,
    command: Command,
}

impl ProveCommand {
    fn new(name: &str, arguments: &[&str]) -> Self {
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_crelay-payments"));
        command.env_clear().current_dir(&directory).arg("prove").args(arguments);
        Self { directory, command }
    }

    fn with(mut self, vars: &[(&str, &str)]) -> Self {
        self.command.envs(vars.iter().copied());
        self
    }

    fn run(&mut self) -> Output {
        self.command.output().unwrap()
    }

    fn read_output(&self, file: &str) -> String {
        std::fs::read_to_string(self.directory.join(file)).unwrap()
    }

    fn report_json(&self) -> Value {
        serde_json::from_str(&self.read_output("crelay-payments-proof.json")).unwrap()
    }
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

async fn prove(vars: Vars, numbers: usize, seed: u64) -> Box<ProofReport> {
    let program = Path::new(env!("CARGO_BIN_EXE_crelay-payments")).to_owned();
    match proof::prove(ProofOptions { program, vars, numbers, seed }, |_| {}).await.unwrap() {
        ProofOutcome::Completed(report) => report,
        ProofOutcome::InvalidConfig(why) => panic!("{why}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_card_number_leaves_the_server_wherever_it_is_put() {
    let vars = Vars::from_process();
    let numbers = if vars.get("CRELAY_LONG").is_some() { 27 * VECTORS } else { VECTORS };
    let seed = vars.get("CRELAY_SEED").map_or(1, |seed| seed.parse().unwrap());
    let report = prove(Vars::default(), numbers, seed).await;
    assert_eq!(report.verdict, ProofVerdict::NothingFound, "{}", report.summary());
    assert_eq!(report.numbers, numbers);
}

/// The server is a script in front of the binary, which leaves a file.
#[test]
fn the_report_on_the_given_server_contains_neither_card_numbers_nor_secrets() {
    let numbers = VECTORS.to_string();
    let arguments = ["--numbers", &numbers, "--seed", "5", "--out", "proof", "--server", "shipped"];
    let mut command = ProveCommand::new("prove", &arguments).with(&[
        ("SERVER_BASE_URL", "https://pay.shop.example/voice"),
        ("AUTH_TOKEN", "hush-hush-hush-hush"),
        ("OPENAI_API_KEY", "sk-hush-hush"),
        ("PAYMENT_CONNECTOR", "Shop"),
        ("PAYMENT_WEBHOOK_URL", "https://hush.example/hush-hush"),
        ("PAYMENT_WEBHOOK_SECRET", "hush-hush-hush-hush"),
        ("LIVE_AGENT_NUMBER", "+15550107777"),
        ("ASSETS_DIR", "assets"),
    ]);
    std::fs::create_dir(command.directory.join("assets")).unwrap();
    let config = r#"{"Payments": {"flow": "guided"}}"#;
    std::fs::write(command.directory.join("assets/serverConfig.json"), config).unwrap();
    let (server, started) = (command.directory.join("shipped"), command.directory.join("started"));
    let binary = env!("CARGO_BIN_EXE_crelay-payments");
    std::fs::write(&server, format!("#!/bin/sh\n: >'{}'\nexec '{binary}' \"$@\"\n", started.display())).unwrap();
    std::fs::set_permissions(&server, std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = command.run();
    assert_eq!(output.status.code(), Some(0), "{}", printed(&output));
    assert!(started.exists());
    let markdown = command.read_output("proof/crelay-payments-proof.md");
    let report: Value = serde_json::from_str(&command.read_output("proof/crelay-payments-proof.json")).unwrap();
    for place in report["places"].as_array().unwrap() {
        assert!(place["bytes"].as_u64().unwrap() > 0 && place["pieces"].as_u64().unwrap() > 0, "{place}");
        assert!(place["witness"] == true && place["control"]["found"] == place["control"]["written"], "{place}");
        assert!(markdown.contains(place["place"].as_str().unwrap()), "{place}");
    }
    assert!(report["ways"].as_array().unwrap().iter().all(|way| way["times"] == 1), "{report}");
    let set_up = &report["setUp"];
    assert_eq!(set_up["configured"]["PAYMENT_CONNECTOR"], "Shop");
    assert_eq!(set_up["configured"]["LIVE_AGENT_NUMBER"], Value::Null);
    assert!(set_up["replaced"].as_array().unwrap().contains(&"PAYMENT_WEBHOOK_SECRET".into()), "{set_up}");
    assert!(set_up["filledIn"].as_array().unwrap().contains(&"FROM_NUMBER".into()), "{set_up}");
    assert!(set_up["assets"]["serverConfig.json"].is_string(), "{set_up}");
    check_data_flow(&report["dataFlow"], &markdown);
    let server = server.canonicalize().unwrap();
    assert_eq!(report["program"], server.display().to_string());
    let hash = report["programSha256"].as_str().unwrap();
    assert!(hash.len() == 64 && markdown.contains(hash), "{hash}");
    assert!(markdown.contains(&format!("--server {}", server.display())), "{markdown}");
    let all = (markdown + &report.to_string() + &printed(&output)).replace(hash, "");
    assert!(!all.contains("hush") && !all.contains("5550107777"), "{all}");
    assert!(!all.contains(&proof::first_card_number(5)), "{all}");
    assert!(all.split(|c: char| !c.is_ascii_digit()).all(|digits| digits.len() < 13), "{all}");
}

/// The report describes the configured services, not the stand-ins.
fn check_data_flow(flow: &Value, markdown: &str) {
    let diagram = flow["diagram"].as_str().unwrap();
    assert!(markdown.contains(&format!("```mermaid\n{diagram}```")), "{markdown}");
    for part in [
        "connector Shop\"]",
        "Model: api.openai.com",
        "Speech to text: Twilio's default (set transcriptionProvider)",
        "signed outcomes",
    ] {
        assert!(diagram.contains(part), "{part}: {diagram}");
    }
    assert!(!diagram.contains("127.0.0.1"), "{diagram}");
    for flow in flow["flows"].as_array().unwrap() {
        let reaches_us = [&flow["from"], &flow["to"]].into_iter().any(|end| end == "server");
        assert!(!reaches_us || flow["cardData"] != "always", "{flow}");
    }
    let providers = flow["providers"].as_array().unwrap();
    for name in ["Twilio", "Twilio's default (set ttsProvider)", "api.openai.com"] {
        assert!(providers.iter().any(|it| it["name"] == name && it["attestationDate"] == ""), "{name}: {providers:?}");
    }
    let has_blank = |line: &str| line.ends_with(r"| \_\_\_\_\_\_\_\_ |");
    assert_eq!(markdown.lines().filter(|line| has_blank(line)).count(), providers.len());
    for heading in
        ["## Flow of card data", "## Providers", "## Responsibilities (PCI DSS 4.0.1)", "## Settings that matter"]
    {
        assert!(markdown.contains(heading), "{heading}");
    }
    assert!(markdown.contains("| `PAYMENT_CONNECTOR` | Shop | names the processor"), "{markdown}");
    assert!(flow["responsibilities"].as_array().unwrap().len() > 10);
}

/// The model's name appears in every request and in the log. Here it is the card number of the first case.
#[test]
fn a_leak_is_found() {
    let card = proof::first_card_number(9);
    let numbers = VECTORS.to_string();
    let mut command =
        ProveCommand::new("prove-leak", &["--numbers", &numbers, "--seed", "9"]).with(&[("OPENAI_MODEL", &card)]);
    let output = command.run();
    assert_eq!(output.status.code(), Some(1), "{}", printed(&output));
    let report = command.report_json();
    assert_eq!(report["verdict"], "found");
    let findings = report["findings"].as_array().unwrap();
    for place in ["the log", "requests to the model"] {
        assert!(findings.iter().any(|it| it["place"] == place && it["way"] == "Entered"), "{place}: {findings:?}");
    }
    let all = command.read_output("crelay-payments-proof.md") + &report.to_string() + &printed(&output);
    assert!(!all.contains(&card) && all.contains(&card[card.len() - 4..]), "{all}");
}

#[test]
fn an_invalid_configuration_is_reported_with_all_problems() {
    let mut command = ProveCommand::new("prove-bad", &[]).with(&[("CURRENCY", "shells"), ("AUTH_TOKEN", "a b")]);
    let output = command.run();
    assert_eq!(output.status.code(), Some(2), "{}", printed(&output));
    assert!(printed(&output).contains("CURRENCY") && printed(&output).contains("AUTH_TOKEN"), "{}", printed(&output));

    let mut command = ProveCommand::new("prove-bad-assets", &[]).with(&[("ASSETS_DIR", ".")]);
    std::fs::write(command.directory.join("serverConfig.json"), "{").unwrap();
    let output = command.run();
    assert_eq!(output.status.code(), Some(2), "{}", printed(&output));
    assert!(printed(&output).contains("serverConfig.json"), "{}", printed(&output));
}

#[test]
fn a_server_that_does_not_exist_is_an_error() {
    let output = ProveCommand::new("prove-no-server", &["--server", "absent"]).run();
    assert_eq!(output.status.code(), Some(1), "{}", printed(&output));
    assert!(printed(&output).contains("cannot find the server absent"), "{}", printed(&output));
}
