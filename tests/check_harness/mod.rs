//! A strict stand-in for everything that `check` contacts: one listener is Twilio, OpenAI, Flowise, and the proxy to the
//! public address.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// The configuration and the stand-in for one run of the binary.
pub(crate) struct CheckHarness {
    directory: PathBuf,
    vars: Vec<(String, String)>,
    /// The query of the base URL of the model.
    openai_query: &'static str,
    /// The variables whose value is the origin of the stand-in.
    origin_vars: Vec<String>,
    answers: StandInResponses,
}

#[derive(Clone)]
struct StandInResponses {
    account: Value,
    number: Value,
    health: (u16, String),
}

/// The exit code and the output of the binary.
pub(crate) struct CheckOutput {
    pub code: i32,
    pub printed: String,
}

impl CheckOutput {
    /// Checks that a line of the output starts with `line`.
    pub(crate) fn expect_line(&self, line: &str) {
        assert!(self.printed.lines().any(|it| it.starts_with(line)), "no line {line:?} in\n{}", self.printed);
    }
}

/// Twilio's description of the phone number.
pub(crate) fn number_json(harness: &CheckHarness) -> Value {
    harness.answers.number.clone()
}

impl CheckHarness {
    /// Creates a valid configuration in a directory named after `name`.
    pub(crate) fn new(name: &str) -> Self {
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("check-{name}"));
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).unwrap();
        let answers = StandInResponses {
            account: json!({ "status": "active", "type": "Full", "friendly_name": "Acme" }),
            number: json!({
                "phone_number": "+15550100002",
                "capabilities": { "voice": true, "sms": true, "mms": false },
                "voice_url": "http://pay.example.com/connectConversationRelay",
                "voice_method": "POST",
                "voice_application_sid": "",
                "trunk_sid": null,
            }),
            health: (200, r#"{"status":"ok","calls":2}"#.to_owned()),
        };
        Self { directory, vars: Vec::new(), openai_query: "", origin_vars: Vec::new(), answers }
    }

    pub(crate) fn with(mut self, variable: &str, value: &str) -> Self {
        self.vars.push((variable.to_owned(), value.to_owned()));
        self
    }

    /// Sets a variable to the origin of the stand-in.
    pub(crate) fn with_stand_in(mut self, variable: &str) -> Self {
        self.origin_vars.push(variable.to_owned());
        self
    }

    pub(crate) fn without(self, variable: &str) -> Self {
        self.with(variable, "")
    }

    pub(crate) fn asset(self, name: &str, text: &str) -> Self {
        let assets = self.directory.join("assets");
        std::fs::create_dir_all(&assets).unwrap();
        std::fs::write(assets.join(name), text).unwrap();
        self
    }

    pub(crate) fn openai_query(mut self, query: &'static str) -> Self {
        self.openai_query = query;
        self
    }

    pub(crate) fn account(mut self, account: Value) -> Self {
        self.answers.account = account;
        self
    }

    pub(crate) fn number(mut self, number: Value) -> Self {
        self.answers.number = number;
        self
    }

    pub(crate) fn health(mut self, status: u16, body: &str) -> Self {
        self.answers.health = (status, body.to_owned());
        self
    }

    pub(crate) async fn check(self) -> CheckOutput {
        let address = start_stand_in(self.answers.clone()).await;
        let origin = format!("http://{address}");
        let needed = [
            // The base URL must not be a local address. HTTP reaches it through the proxy; HTTPS ends at a tunnel
            // without TLS.
            ("SERVER_BASE_URL", "http://pay.example.com"),
            ("HTTP_PROXY", &origin),
            ("HTTPS_PROXY", &format!("http://{}", tunnel().await)),
            ("NO_PROXY", "127.0.0.1"),
            ("TWILIO_API_BASE_URL", &origin),
            ("OPENAI_BASE_URL", &format!("{origin}/v1/{}", self.openai_query)),
            ("OPENAI_API_KEY", "hush-key"),
            ("ACCOUNT_SID", "AC1"),
            ("AUTH_TOKEN", "hush-token-of-the-account"),
            ("ALLOW_INSECURE", "plain-http"),
            ("FROM_NUMBER", "+15550100002"),
            ("PAYMENT_CONNECTOR", "Default"),
        ];
        let mut command = self.command("check");
        command.envs(needed).envs(self.origin_vars.iter().map(|name| (name, &origin))).envs(self.vars);
        let output = run(command).await;
        let printed = [output.stdout, output.stderr].concat();
        CheckOutput { code: output.status.code().unwrap(), printed: String::from_utf8(printed).unwrap() }
    }

    /// Runs `health` with the port of the stand-in. Returns the exit code.
    pub(crate) async fn run_health(self) -> i32 {
        let address = start_stand_in(self.answers.clone()).await;
        let mut command = self.command("health");
        command.env("PORT", address.port().to_string()).env("HTTP_PROXY", "http://127.0.0.1:9");
        run(command).await.status.code().unwrap()
    }

    fn command(&self, what: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crelay-payments"));
        command.arg(what).env_clear().current_dir(&self.directory);
        command
    }
}

/// Runs the binary on a blocking thread, because the stand-in runs on this one.
async fn run(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
}

async fn start_stand_in(answers: StandInResponses) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(answer).with_state(answers);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

/// A proxy whose tunnels end at a peer that does not speak TLS.
async fn tunnel() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut asked = [0; 1024];
            let _ = socket.read(&mut asked).await;
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            // The TLS ClientHello, which is answered with plain text.
            let _ = socket.read(&mut asked).await;
            let _ = socket.write_all(b"This is no TLS at all, and never was.\r\n").await;
        }
    });
    address
}

/// Answers only documented requests.
async fn answer(State(answers): State<StandInResponses>, request: Request) -> Response {
    if request.method() != "GET" {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let authorization =
        request.headers().get(header::AUTHORIZATION).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let basic = |user: &str| format!("Basic {}", BASE64_STANDARD.encode(user));
    let with_token = authorization == basic("AC1:hush-token-of-the-account");
    let with_key = authorization == basic("SK1:hush-secret");
    let refused =
        || (StatusCode::UNAUTHORIZED, r#"{"code":20003,"message":"Authenticate","status":401}"#).into_response();
    let json = |value: Value| axum::Json(value).into_response();
    match (request.uri().path(), request.uri().query()) {
        ("/2010-04-01/Accounts/AC1.json", None) if with_token => json(answers.account),
        ("/2010-04-01/Accounts/AC1/IncomingPhoneNumbers.json", Some("PhoneNumber=%2B15550100002"))
            if with_token || with_key =>
        {
            json(json!({ "incoming_phone_numbers": [answers.number], "page": 0 }))
        }
        (path, _) if path.starts_with("/2010-04-01/Accounts/AC1") => refused(),
        (path, None) if path.starts_with("/v1/models/") && authorization != "Bearer hush-key" => refused(),
        ("/v1/models/gpt-6-luna", None) => json(json!({ "id": "gpt-6-luna", "object": "model" })),
        ("/v1/models/gpt-4o", None) => json(json!({ "id": "gpt-4o", "shutdown_date": "2001-01-14" })),
        ("/v1/models/gpt-9", None) => json(json!({ "id": "gpt-9", "shutdown_date": "2999-01-14" })),
        ("/v1/models/azure", Some("api-version=preview")) => json(json!({ "id": "azure" })),
        ("/v1/models/slow", None) => std::future::pending().await,
        ("/api/v1/ping", None) => "pong".into_response(),
        ("/api/v1/chatflows-streaming/streams", None) => json(json!({ "isStreaming": true })),
        ("/api/v1/chatflows-streaming/plain", None) => json(json!({ "isStreaming": false })),
        ("/health", None) if authorization.is_empty() => {
            let (status, body) = answers.health;
            let location = [(header::LOCATION, "https://www.example.com/health?hush-secret")];
            (StatusCode::from_u16(status).unwrap(), location, Body::from(body)).into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}
