//! The manuals tell the truth: their commands are run or parsed, their JSON goes through the code that reads it or is
//! compared with what the server sends, and what they name exists.

#![cfg(feature = "simulator")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "manuals/markdown.rs"]
mod markdown;
#[expect(dead_code, reason = "not all payments are used")]
#[path = "ledger/seed.rs"]
mod seed;
#[expect(dead_code, reason = "not all clients are used")]
mod server;
#[path = "manuals/source.rs"]
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use crelay_payments::ledger::Ledger;
use crelay_payments::simulator::{ModelReply, QueuedOpenAi, RecordingTwilio};
use markdown::{Block, Manual, code_of, commands};
use reqwest::{Method, StatusCode};
use secrecy::ExposeSecret as _;
use seed::Seed;
use serde_json::Value;
use server::{OPERATOR_TOKEN, REQUIRED_VARS, Server, start_twilio};
use tokio::net::TcpListener;

macro_rules! manuals {
    ($($path:literal),* $(,)?) => { &[$(Manual { path: $path, text: include_str!(concat!("../", $path)) }),*] };
}

const MANUALS: &[Manual] = manuals![
    "README.md",
    "src/README.md",
    "src/assets/README.md",
    "src/bench/README.md",
    "src/call/README.md",
    "src/config/README.md",
    "src/endpoints/README.md",
    "src/endpoints/console/README.md",
    "src/fleet/README.md",
    "src/flowise/README.md",
    "src/ledger/README.md",
    "src/llm/README.md",
    "src/redact/README.md",
    "src/simulator/README.md",
    "src/telemetry/README.md",
    "tests/README.md",
];

/// The programs and languages of blocks that no test can check, with the reason.
const UNCHECKED: &[(&str, &str)] = &[
    ("ngrok", "needs an account and opens a tunnel"),
    ("fly", "needs an account, and costs money"),
    ("docker", "is not on every machine that runs the tests"),
    ("openssl", "is not on every machine that runs the tests; src/signing.rs checks the vector"),
    ("printf", "is the input of openssl"),
    ("python", "is for the receiver of the webhook; src/signing.rs checks the vector"),
    ("yaml", "is for Prometheus"),
    ("mermaid", "is compared with what `prove` writes in src/proof/data_flow.rs"),
    ("text", "shows output, a picture or the tools of a call"),
];

/// Commands of the binary that take too long: only their arguments are parsed.
const LONG: &[&[&str]] = &[&["bench"], &["simulate", "--all"], &["simulate", "--replay"], &["prove"], &["observe"]];

/// Where nobody listens.
const NOWHERE: &str = "http://127.0.0.1:9";

/// The id of the payment in the examples.
const EXAMPLE_ID: &str = "9a8f1282-65e4-5cf2-8b69-1b4cefccc055";

/// The id of the chat in the examples.
const EXAMPLE_CHAT: &str = "5f0c1a52-3c1d-4c57-9a3e-0a6b8f5f6f10";

fn blocks(language: &str) -> Vec<Block> {
    MANUALS.iter().flat_map(Manual::blocks).filter(|block| block.language == language).collect()
}

/// The block of this kind, parsed.
fn json_block(kind: &str) -> Value {
    let blocks = blocks("json");
    let block = blocks.iter().find(|block| block.kind == kind).unwrap_or_else(|| panic!("no block json {kind}"));
    serde_json::from_str(&block.text).unwrap_or_else(|error| panic!("{}: {error}", block.place))
}

/// All shell commands, with the place of their block.
fn shell_commands() -> Vec<(String, Vec<String>)> {
    let of = |block: Block| commands(&block.text).into_iter().map(move |words| (block.place.clone(), words));
    blocks("sh").into_iter().flat_map(of).collect()
}

/// The arguments of the binary in a command that starts it.
fn arguments(words: &[String]) -> Option<Vec<String>> {
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["crelay-payments", ..] => Some(words[1..].to_vec()),
        ["cargo", "run"] | ["cargo", "run", "--release"] => Some(Vec::new()),
        ["cargo", "run", "--", ..] => Some(words[3..].to_vec()),
        ["cargo", "run", "--release", "--", ..] => Some(words[4..].to_vec()),
        _ => None,
    }
}

/// Runs the binary in an empty directory with these variables only, without input.
fn run(arguments: &[&str], vars: &[(&str, &str)]) -> Output {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("manuals");
    std::fs::create_dir_all(&directory).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_crelay-payments"));
    command.args(arguments).env_clear().envs(vars.iter().copied()).current_dir(directory).stdin(Stdio::null());
    command.output().unwrap()
}

fn names(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap_or_else(|| panic!("not an object: {value}")).keys().map(String::as_str).collect()
}

#[test]
fn every_manual_is_checked_and_linked() {
    let listed: BTreeSet<&str> = MANUALS.iter().map(|manual| manual.path).collect();
    let mut found: Vec<PathBuf> =
        source::rust_files("src").into_iter().map(|file| file.with_file_name("README.md")).collect();
    found.extend(["README.md", "tests/README.md"].map(|path| source::root().join(path)));
    found.retain(|path| path.exists());
    let found: BTreeSet<&str> =
        found.iter().map(|path| path.strip_prefix(source::root()).unwrap().to_str().unwrap()).collect();
    assert_eq!(listed, found);
    let linked: BTreeSet<&str> = MANUALS[0].links().collect();
    for path in listed.iter().filter(|path| **path != "README.md") {
        assert!(linked.contains(path), "README.md does not link {path}");
    }
    for manual in MANUALS.iter().filter(|manual| manual.path.starts_with("src/")) {
        let own = manual.path.strip_prefix("src/").unwrap();
        let module = own.strip_suffix("/README.md").unwrap_or("lib");
        let text = std::fs::read_to_string(source::root().join(format!("src/{module}.rs"))).unwrap();
        // The path is relative to the directory of the module's file.
        let own = module.rsplit_once('/').map_or(own, |(parent, _)| &own[parent.len() + 1..]);
        assert!(text.contains(&format!("#![doc = include_str!(\"{own}\")]")), "src/{module}.rs does not include {own}");
    }
}

#[test]
fn every_block_is_of_a_language_that_is_checked_or_has_a_reason() {
    for block in MANUALS.iter().flat_map(Manual::blocks) {
        let is_checked = ["sh", "json", "env", "http"].contains(&&*block.language);
        assert!(is_checked || UNCHECKED.iter().any(|(language, _)| *language == block.language), "{}", block.place);
    }
}

#[test]
fn every_command_is_run_or_parsed() {
    let mut of_binary = BTreeSet::new();
    for (place, words) in shell_commands() {
        match (&*words[0], arguments(&words)) {
            (_, Some(arguments)) => drop(of_binary.insert(arguments)),
            ("cargo", None) if words[1] == "+nightly" => check_fuzz_command(&place, &words),
            ("cargo", None) if words[1] == "install" => check_install_command(&place, &words[2..]),
            ("cargo", None) if words[1] == "bench" => {}
            ("cargo", None) => assert_eq!(words, ["cargo", "test"], "{place}"),
            ("cp", None) => assert!(source::root().join(&words[1]).exists(), "{place}: {words:?}"),
            // Sent by `every_request_of_an_operator_succeeds`.
            ("curl", None) => {}
            (variable, None) if variable.starts_with("SERVER=") || variable.starts_with("TOKEN=") => {}
            (program, None) => assert!(UNCHECKED.iter().any(|(name, _)| *name == program), "{place}: {program}"),
        }
    }
    of_binary
        .extend(MANUALS.iter().flat_map(Manual::inline_code).flat_map(commands).filter_map(|words| arguments(&words)));
    assert!(of_binary.len() > 20, "{of_binary:?}");
    std::thread::scope(|scope| {
        for arguments in &of_binary {
            scope.spawn(|| check_command(&arguments.iter().map(String::as_str).collect::<Vec<_>>()));
        }
    });
}

/// A command that installs a tool. The runner of the benches must be of the version of their library.
fn check_install_command(place: &str, words: &[String]) {
    let of_library = include_str!("../Cargo.lock").split("name = \"gungraun\"\nversion = \"").nth(1).unwrap();
    let version = of_library.split('"').next().unwrap();
    let tools = [&["cargo-fuzz"][..], &["--locked", "--version", version, "gungraun-runner"]];
    assert!(tools.iter().any(|tool| words == *tool), "{place}: {words:?}");
}

/// A command that fuzzes: its directory, its target and its dictionary exist. To run it takes a nightly compiler.
fn check_fuzz_command(place: &str, words: &[String]) {
    let value = |option: &str| {
        let at = words.iter().position(|word| word == option).unwrap_or_else(|| panic!("{place}: no {option}"));
        words[at + 1].as_str()
    };
    let directory = source::root().join(value("--fuzz-dir"));
    let target = words.iter().take_while(|word| *word != "--").last().unwrap();
    assert_eq!(words[2..4], ["fuzz", "run"], "{place}");
    assert!(directory.join("fuzz_targets").join(target).with_extension("rs").exists(), "{place}: {target}");
    let dictionary = words.iter().find_map(|word| word.strip_prefix("-dict=")).unwrap();
    assert!(source::root().join(dictionary).exists(), "{place}: {dictionary}");
}

/// Runs the binary, or only parses the arguments of a long command. The arguments must be valid.
fn check_command(arguments: &[&str]) {
    let is_long = LONG.iter().any(|long| arguments.starts_with(long));
    let output = if is_long { run(&[arguments, &["--help"]].concat(), &[]) } else { run(arguments, &[]) };
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!error.contains("try '--help'"), "{arguments:?}: {error}");
    let needs_nothing = arguments.first() == Some(&"simulate") && !arguments.contains(&"live");
    assert!(!(is_long || needs_nothing) || output.status.success(), "{arguments:?}: {error}");
}

#[test]
fn every_configuration_and_manifest_is_valid() {
    for (number, block) in blocks("json").into_iter().enumerate() {
        let file = match &*block.kind {
            "serverConfig.json" => "serverConfig.json",
            "manifest" => "acme.json",
            _ => continue,
        };
        let assets = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("manuals-assets-{number}"));
        std::fs::create_dir_all(&assets).unwrap();
        std::fs::write(assets.join(file), &block.text).unwrap();
        let needed: Vec<_> = REQUIRED_VARS.iter().copied().filter(|(name, _)| *name != "SERVER_BASE_URL").collect();
        let nowhere = ["SERVER_BASE_URL", "OPENAI_BASE_URL", "TWILIO_API_BASE_URL"].map(|name| (name, NOWHERE));
        let output = run(&["check"], &[&needed[..], &nowhere, &[("ASSETS_DIR", assets.to_str().unwrap())]].concat());
        let printed = String::from_utf8(output.stdout).unwrap();
        let of_assets: Vec<&str> =
            printed.lines().filter(|line| line.split_whitespace().nth(1) == Some("assets")).collect();
        assert!(matches!(of_assets[..], [line] if line.starts_with('✓')), "{}: {printed}", block.place);
    }
}

#[test]
fn every_variable_exists_and_has_the_default_of_the_example() {
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    let example = include_str!("../.env.example").lines().map(|line| line.trim_start_matches('#'));
    let example = example.filter_map(|line| line.split_once('=')).filter(|(name, _)| is_name(name));
    let example: BTreeMap<&str, &str> = example.collect();
    let config = MANUALS.iter().find(|manual| manual.path == "src/config/README.md").unwrap();
    let rows = config.rows("variable");
    let described: BTreeSet<&str> = rows.iter().flat_map(|row| code_of(row[0])).collect();
    assert_eq!(described, example.keys().copied().collect(), "the tables of src/config/README.md, and .env.example");
    for row in rows {
        let (names, defaults) = (code_of(row[0]).collect::<Vec<_>>(), code_of(row[1]).collect::<Vec<_>>());
        if let ([name], [default], 3) = (&names[..], &defaults[..], row.len()) {
            assert!(example[name] == *default || row[1].contains(' '), "{name} is {} in .env.example", example[name]);
        }
    }
    for block in blocks("env") {
        for line in block.text.lines().map(str::trim) {
            let (name, _) = line.split_once('=').unwrap_or_else(|| panic!("{}: {line}", block.place));
            assert!(example.contains_key(name), "{}: {name}", block.place);
        }
    }
    for manual in MANUALS {
        for code in manual.inline_code() {
            let name = code.split(['=', ' ']).next().unwrap_or_default();
            let is_variable = is_name(name) && name.contains('_');
            // A secret may be in a file. The others are variables of the tests and of every HTTP client.
            let known = name.strip_suffix("_FILE").unwrap_or(name);
            let others = ["", "CRELAY_LONG", "CRELAY_POSTGRES", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];
            assert!(!is_variable || example.contains_key(known) || others.contains(&known), "{}: {name}", manual.path);
        }
    }
}

#[test]
fn every_link_leads_somewhere() {
    for manual in MANUALS {
        let directory = source::root().join(manual.path).parent().unwrap().to_owned();
        for link in manual.links().filter(|link| !link.starts_with("https://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let file = if file.is_empty() { source::root().join(manual.path) } else { directory.join(file) };
            let file = file.canonicalize().unwrap_or_else(|_| panic!("{}: {link}", manual.path));
            let target = MANUALS.iter().find(|manual| source::root().join(manual.path) == file);
            let has_anchor = || target.is_some_and(|target| target.anchors().iter().any(|known| known == anchor));
            assert!(anchor.is_empty() || has_anchor(), "{}: {link}", manual.path);
        }
    }
}

#[test]
fn every_test_scenario_and_file_exists() {
    let functions = source::functions();
    let output = run(&["simulate", "--list"], &[]);
    let list = String::from_utf8(output.stdout).unwrap();
    let scenarios: BTreeSet<&str> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let is_test = |code: &&str| {
        !code.starts_with("crelay_")
            && code.matches('_').count() > 2
            && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let is_file = |code: &&str| {
        let is_path = code.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_./".contains(&byte));
        is_path && !code.starts_with(['/', '.']) && [".rs", "/"].iter().any(|end| code.ends_with(end))
    };
    let mut seen = [0; 3];
    for manual in MANUALS {
        for name in manual.inline_code().filter(is_test) {
            seen[0] += 1;
            assert!(
                functions.range(name.to_owned()..).next().is_some_and(|it| it.starts_with(name)),
                "{}: {name}",
                manual.path
            );
        }
        let commands =
            manual.inline_code().filter_map(|code| code.strip_prefix("simulate ")).filter(|name| *name != "NAME");
        let simulated = manual.prose().flat_map(|line| line.split("imulated ").skip(1)).flat_map(|rest| {
            // A list of names, as far as there is nothing but commas between them.
            let parts: Vec<&str> = rest.split('`').collect();
            let names = parts.chunks(2).take_while(|pair| pair[0].is_empty() || pair[0] == ", ");
            names.filter_map(|pair| pair.get(1).copied()).collect::<Vec<_>>()
        });
        for name in commands.chain(simulated) {
            seen[1] += 1;
            assert!(scenarios.contains(name), "{}: simulate {name}", manual.path);
        }
        for path in manual.inline_code().filter(is_file) {
            seen[2] += 1;
            let exists = |directory: &str| source::root().join(directory).join(path).exists();
            assert!(exists("src") || exists(""), "{}: {path}", manual.path);
        }
    }
    assert!(seen.iter().all(|count| *count > 10), "{seen:?}");
}

#[test]
fn every_error_in_the_log_is_in_the_alert_table() {
    let logged = source::events();
    let operations = MANUALS.iter().find(|manual| manual.path == "src/README.md").unwrap();
    let table = operations.rows("event");
    for row in &table {
        let (event, level) = (row[0].trim_matches('`'), row[1].to_lowercase());
        let levels = logged.get(event).unwrap_or_else(|| panic!("no line of the log has the event {event}"));
        assert!(levels.contains(&*level), "{event} is not logged at {level}, but at {levels:?}");
    }
    let described: Vec<&str> = table.iter().map(|row| row[0].trim_matches('`')).collect();
    assert!(described.is_sorted(), "the alert table is not sorted");
    for (event, levels) in &logged {
        let is_alert = levels.contains("error") || levels.contains("warn");
        assert!(!is_alert || described.contains(&&**event), "{event} is not in the alert table of src/README.md");
    }
    for event in operations.rows("rate").iter().flat_map(|row| code_of(row[1])).filter(|code| code.contains('.')) {
        assert!(logged.contains_key(event), "no line of the log has the event {event}");
    }
}

#[test]
fn every_tool_is_in_the_table() {
    let manifest: Value = serde_json::from_str(include_str!("../assets/PaymentToolManifest.json")).unwrap();
    let tools: BTreeSet<&str> =
        manifest["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    let assets = MANUALS.iter().find(|manual| manual.path == "src/assets/README.md").unwrap();
    assert_eq!(assets.rows("tools").iter().flat_map(|row| code_of(row[0])).collect::<BTreeSet<_>>(), tools);
}

/// The business: answers a look-up with the example of the manual, and accepts events.
#[derive(Clone, Default)]
struct Business(Arc<Mutex<Vec<(HeaderMap, Value)>>>);

impl Business {
    async fn start() -> (Self, String) {
        let business = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/calls", post(look_up))
            .route("/payments", post(receive))
            .route("/find-invoice", post(find_invoice))
            .with_state(business.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (business, origin)
    }

    fn received(&self) -> Vec<(HeaderMap, Value)> {
        self.0.lock().unwrap().clone()
    }

    /// Waits for an event of this type.
    async fn has(&self, kind: &str) -> Value {
        let waits = async {
            loop {
                let found = self.received().into_iter().find(|(_, body)| body["type"] == kind);
                match found {
                    Some((_, event)) => return event,
                    None => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), waits).await.unwrap_or_else(|_| panic!("no event {kind}"))
    }
}

async fn look_up(State(business): State<Business>, headers: HeaderMap, body: String) -> String {
    business.0.lock().unwrap().push((headers, serde_json::from_str(&body).unwrap()));
    json_block("call-parameters").to_string()
}

async fn find_invoice(State(business): State<Business>, headers: HeaderMap, body: String) -> String {
    business.0.lock().unwrap().push((headers, serde_json::from_str(&body).unwrap()));
    json_block("tool-answer").to_string()
}

async fn receive(State(business): State<Business>, headers: HeaderMap, body: String) {
    business.0.lock().unwrap().push((headers, serde_json::from_str(&body).unwrap()));
}

/// A server with an operator and a business.
struct Harness {
    server: Server,
    _twilio: RecordingTwilio,
    openai: QueuedOpenAi,
    business: Business,
}

impl Harness {
    async fn new() -> Self {
        let (twilio, openai) = (start_twilio().await, QueuedOpenAi::start(&[]).await.unwrap());
        let (business, origin) = Business::start().await;
        let server = Server::start(&[
            ("OPERATOR_TOKEN", OPERATOR_TOKEN),
            ("TWILIO_API_BASE_URL", twilio.origin()),
            ("OPENAI_BASE_URL", openai.base_url()),
            ("CALL_PARAMETERS_URL", &format!("{origin}/calls")),
            ("PAYMENT_WEBHOOK_URL", &format!("{origin}/payments")),
            ("PAYMENT_WEBHOOK_SECRET", "a-secret-of-the-tests"),
        ])
        .await;
        Self { server, _twilio: twilio, openai, business }
    }

    /// Adds a payment whose result is unknown. Returns its id.
    async fn payment(&self) -> String {
        // The ledger is there once the server answers.
        self.server.get("/health").await;
        let mut seed = Seed::new(Ledger::open_for_cli(&self.server.ledger_path()).await.unwrap());
        let id = seed.add_unknown(25, "credit-card").await;
        seed.ledger.close().await;
        id.to_string()
    }
}

/// A request, as the arguments of curl.
#[derive(Default)]
struct Curl<'a> {
    path: &'a str,
    headers: Vec<(&'a str, &'a str)>,
    body: Option<&'a str>,
}

impl<'a> Curl<'a> {
    fn parse(words: &'a [String]) -> Self {
        let mut curl = Self::default();
        let mut words = words[1..].iter().map(String::as_str);
        while let Some(word) = words.next() {
            match word {
                "-H" => curl.headers.extend(words.next().unwrap().split_once(": ")),
                "-d" => curl.body = words.next(),
                "-N" => {}
                url => curl.path = url.strip_prefix("$SERVER").unwrap_or_else(|| panic!("{url}")),
            }
        }
        curl
    }
}

/// Every request of the manuals succeeds, and the responses have the members that the manuals show.
#[tokio::test]
async fn every_request_of_an_operator_succeeds() {
    let harness = Harness::new().await;
    let (server, openai) = (&harness.server, &harness.openai);
    let id = harness.payment().await;
    let live = "CA00000000000000000000000000000001";
    let _socket = server.connect_call(live, &serde_json::json!({})).await;
    let call_token = server.call_token(live);
    let mut chat = EXAMPLE_CHAT.to_owned();
    let mut requests = 0;
    for (place, words) in shell_commands().into_iter().filter(|(_, words)| words[0] == "curl") {
        let example = |text: &str| {
            let text = text.replace(EXAMPLE_ID, &id).replace(EXAMPLE_CHAT, &chat);
            text.replace("$TOKEN", OPERATOR_TOKEN).replace("$CALL_TOKEN", call_token.expose_secret())
        };
        let words: Vec<String> = words.iter().map(|word| example(word)).collect();
        let Curl { path, headers, body } = Curl::parse(&words);
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let request = server.request(method, path).body(body.unwrap_or_default().to_owned());
        let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        openai.queue(ModelReply::text("All the usual ones."));
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{place}: {path} {body:?}: {status} {text}");
        requests += 1;
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        match path.split('?').next().unwrap() {
            "/outboundCall" => assert_eq!(names(&answer), names(&json_block("outbound-call"))),
            "/conversation" if answer.is_object() => {
                assert_eq!(names(&answer), names(&json_block("conversation")));
                answer["sessionId"].as_str().unwrap().clone_into(&mut chat);
            }
            "/mcp" if text.contains("isError") => {
                assert_eq!(names(&answer["result"]), names(&json_block("mcp-output")["result"]));
            }
            "/conversation" => assert!(text.contains("event: token") && text.contains("event: done"), "{text}"),
            _ => {}
        }
    }
    assert!(requests > 8, "{requests}");

    let page: Value = server.get_as_operator("/payments").await.json().await.unwrap();
    let example = json_block("payments");
    assert_eq!(names(&page), names(&example));
    assert_eq!(names(&page["payments"][0]), names(&example["payments"][0]));
    let payment: Value = server.get_as_operator(&format!("/payments/{id}")).await.json().await.unwrap();
    let more: BTreeSet<&str> = names(&payment).difference(&names(&page["payments"][0])).copied().collect();
    assert_eq!(more, ["events", "statements"].into());
    assert_eq!(names(&payment["events"][0]), ["at", "kind", "data"].into());
    let wrong = serde_json::json!({"properties": {"phoneNumber": "555"}});
    let error: Value = server.post_as_operator("/outboundCall", &wrong).await.json().await.unwrap();
    assert_eq!(error, json_block("error"));

    // The curl lines have settled and refunded the payment.
    let (error, refund) =
        (harness.business.has("payment.unknown").await, harness.business.has("payment.refunded").await);
    let example = json_block("webhook-event");
    assert_eq!(names(&refund), names(&example));
    assert_eq!(names(&error["error"]), names(&json_block("webhook-event-error")));
    assert_eq!(names(&refund["refund"]), names(&json_block("webhook-event-refund")));
}

#[tokio::test]
async fn a_look_up_is_as_the_manual_shows() {
    let harness = Harness::new().await;
    let form = [("CallSid", "CA1"), ("From", "+15550100001"), ("To", "+15550100002")];
    assert_eq!(harness.server.post_as_twilio("/connectConversationRelay", &form).await.status(), StatusCode::OK);
    let (headers, body) = harness.business.received().remove(0);
    let [block] = &blocks("http")[..] else { panic!("more than one request") };
    let (head, example) = block.text.split_once("\n\n").unwrap();
    let example: Value = serde_json::from_str(example).unwrap();
    assert_eq!(names(&body), names(&example));
    for line in head.lines().skip(1) {
        assert!(headers.contains_key(line.split_once(": ").unwrap().0), "{}: {line}", block.place);
    }
    harness.openai.queue(ModelReply::text("Hello."));
    let mut socket = harness.server.connect_call("CA1", &serde_json::json!({})).await;
    socket.say("Hello?").await.unwrap();
    socket.wait_for_speech().await.unwrap();
    let shown = harness.openai.last_input();
    assert!(shown.contains("Due on this call: 25.00 USD.") && shown.contains("Ann"), "{shown}");
}

#[tokio::test]
async fn the_end_of_a_call_is_reported_as_the_manual_shows() {
    let harness = Harness::new().await;
    harness.openai.queue(ModelReply::text("Hello."));
    let mut socket = harness.server.connect_call("CA1", &serde_json::json!({})).await;
    socket.say("Hello?").await.unwrap();
    socket.wait_for_speech().await.unwrap();
    let form = [("CallSid", "CA1"), ("CallStatus", "completed"), ("Direction", "inbound")];
    assert!(harness.server.post_as_twilio("/connectAction", &form).await.status().is_success());
    let event = harness.business.has("call.ended").await;
    assert_eq!(names(&event), names(&json_block("webhook-call-ended")));
    assert_eq!((&event["callSid"], &event["reason"]), (&"CA1".into(), &"caller-hung-up".into()));
}

#[tokio::test]
async fn a_tool_of_the_business_is_called_as_the_manual_shows() {
    let (business, origin) = Business::start().await;
    let example = blocks("json").into_iter().find(|block| block.kind == "manifest" && block.text.contains("\"http\""));
    let manifest = example.unwrap().text.replace("https://shop.example.com", &origin);
    let assets = tempfile::tempdir().unwrap();
    std::fs::write(assets.path().join("PaymentToolManifest.json"), manifest).unwrap();
    let example = json_block("tool-request");
    let openai = QueuedOpenAi::start(&[]).await.unwrap();
    let arguments = example["arguments"].to_string();
    openai.queue(ModelReply::ToolCall("find-invoice".into(), arguments.into()));
    openai.queue(ModelReply::text("40 dollars and 10 cents."));
    let server = Server::start(&[
        ("ASSETS_DIR", assets.path().to_str().unwrap()),
        ("OPENAI_BASE_URL", openai.base_url()),
        ("PAYMENT_WEBHOOK_SECRET", "a-secret-of-the-tests"),
    ])
    .await;
    let mut socket = server.connect_call("CA1", &serde_json::json!({"callReference": "call-7"})).await;
    socket.say("What do I owe?").await.unwrap();
    socket.wait_for_speech().await.unwrap();
    let (_, request) = business.received().remove(0);
    assert_eq!(
        request,
        serde_json::json!({"callSid": "CA1", "callReference": example["callReference"],
        "tool": example["tool"], "arguments": example["arguments"]})
    );
    let shown = openai.last_input();
    assert!(shown.contains("Due on this call: 40.10 USD.") && shown.contains("Ann Lee"), "{shown}");
}

#[tokio::test]
async fn every_endpoint_exists() {
    let harness = Harness::new().await;
    let mut seen = 0;
    for manual in MANUALS {
        for code in manual.inline_code() {
            let (method, path) = match code.split_once(' ') {
                Some(("GET", path)) => (Method::GET, path),
                Some(("POST", path)) => (Method::POST, path),
                _ => continue,
            };
            seen += 1;
            let answer = harness.server.request(method, path).send().await.unwrap();
            let (status, text) = (answer.status(), answer.text().await.unwrap());
            let is_missing = status == StatusCode::METHOD_NOT_ALLOWED || text.contains("no such endpoint");
            assert!(!is_missing, "{}: {code}: {status}", manual.path);
        }
    }
    assert!(seen > 15, "{seen}");
}

#[tokio::test]
async fn health_is_as_the_manual_shows() {
    let harness = Harness::new().await;
    let health: Value = harness.server.get("/health").await.json().await.unwrap();
    assert_eq!(names(&health), names(&json_block("health")));
    for block in blocks("json").iter().filter(|block| block.kind == "health") {
        let shown: Value = serde_json::from_str(&block.text).unwrap();
        assert!(names(&shown).is_subset(&["status", "calls", "ledger", "refused"].into()), "{}", block.place);
    }
}

#[test]
fn every_json_block_is_of_a_kind_that_is_checked() {
    let checked = [
        "serverConfig.json",
        "manifest",
        "health",
        "error",
        "outbound-call",
        "conversation",
        "payments",
        "call-parameters",
        "mcp-output",
        "tool-request",
        "tool-answer",
        "webhook-event",
        "webhook-event-error",
        "webhook-event-refund",
        "webhook-call-ended",
    ];
    for block in blocks("json") {
        assert!(checked.contains(&&*block.kind), "{}: {}", block.place, block.kind);
    }
}
