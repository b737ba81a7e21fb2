//! Who may speak to the server: requests without a valid signature or token.

use crelay_payments::twilio::Signer;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use reqwest::{Method, Response, StatusCode};
use secrecy::SecretString;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::server::{OPERATOR_TOKEN, SOCKET_URL, Server};

const BASE_URL: &str = "https://pay.example.com";
/// A status callback.
const CALLBACK: [(&str, &str); 3] = [("AccountSid", "AC1"), ("CallSid", "CA1"), ("CallStatus", "ringing")];
const FORM: &str = "application/x-www-form-urlencoded";
const SETTINGS: &str = "X-Twilio-Webhooks-Signature-Settings";
const SHARED_KEYS: (&str, &str) =
    ("TWILIO_WEBHOOK_SHARED_KEYS", "WK0001:the-first-shared-secret, WK0002:the-second-shared-secret");

/// The paths of Twilio, also with what their parsers would refuse.
const TWILIO_PATHS: [&str; 9] = [
    "/connectConversationRelay",
    "/payment-status-callback",
    "/connectAction",
    "/connectAction?reconnects=abc",
    "/connectAction?reconnects=%ff&reconnects=1",
    "/twilioStatusCallback",
    "/outboundTwiml/%ff",
    "/outboundTwiml/00000000-0000-0000-0000-000000000000",
    "/conversation-relay",
];

fn signer(secret: &str) -> Signer {
    Signer::new(&SecretString::from(secret))
}

fn shared(secret: &str) -> Signer {
    Signer::with_shared_key(&SecretString::from(secret))
}

#[tokio::test]
async fn without_a_valid_signature_every_request_to_a_path_of_twilio_is_answered_403() {
    let server = Server::start(&[]).await;
    let large = "a=b&".repeat(20_000);
    let of_right_length = "RSOYDt4T1cUTdK1PDd93/VVr8B8=";
    for path in TWILIO_PATHS {
        for method in [Method::POST, Method::GET, Method::HEAD] {
            for signature in [None, Some("x"), Some(of_right_length)] {
                for (content_type, body) in [(FORM, "CallSid=CA1"), ("application/json", "{"), ("", ""), (FORM, &large)]
                {
                    let mut request = server.request(method.clone(), path).header("Content-Type", content_type);
                    if let Some(signature) = signature {
                        request = request.header("X-Twilio-Signature", signature);
                    }
                    let answer = request.body(body.to_owned()).send().await.unwrap();
                    let status = answer.status();
                    assert_eq!(status, StatusCode::FORBIDDEN, "{method} {path} {signature:?} {content_type}");
                }
            }
        }
    }
    for path in ["/outboundTwiml", "/outboundTwiml/a/b", "/nowhere", "/connectAction/", "//connectAction"] {
        assert_eq!(server.get(path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn a_signed_request_is_parsed_after_its_signature() {
    let server = Server::start(&[]).await;
    let post = async |path: &str| server.post_as_twilio(path, &[("CallSid", "CA1")]).await.status();
    assert_eq!(post("/connectAction").await, StatusCode::OK);
    assert_eq!(post("/outboundTwiml/%ff").await, StatusCode::BAD_REQUEST);
    assert_eq!(post("/outboundTwiml/00000000-0000-0000-0000-000000000000").await, StatusCode::NOT_FOUND);
    let signature = server.signature(&format!("{BASE_URL}/connectAction"), &[]);
    let get = server.request(Method::GET, "/connectAction").header("X-Twilio-Signature", signature);
    assert_eq!(get.send().await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
}

/// Posts a status callback with this signature and these further headers.
async fn post_signed(server: &Server, signature: &str, headers: &[(&str, &str)]) -> StatusCode {
    let request = server.request(Method::POST, "/twilioStatusCallback").header("X-Twilio-Signature", signature);
    let request = request.header("Content-Type", FORM).body("AccountSid=AC1&CallSid=CA1&CallStatus=ringing");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let answer: Response = request.send().await.unwrap();
    answer.status()
}

fn sign_callback(signer: &Signer) -> String {
    let form = CALLBACK.map(|(name, value)| (name.to_owned(), value.to_owned()));
    signer.sign(&format!("{BASE_URL}/twilioStatusCallback"), &form)
}

#[tokio::test]
async fn a_request_that_names_a_shared_key_is_verified_with_that_key_alone() {
    let server = Server::start(&[SHARED_KEYS]).await;
    let (first, second) = (shared("the-first-shared-secret"), shared("the-second-shared-secret"));
    let sha1 = server.signature(&format!("{BASE_URL}/twilioStatusCallback"), &CALLBACK);
    let ok = StatusCode::NO_CONTENT;
    let refused = StatusCode::FORBIDDEN;
    let (of_first, of_second) = ("key=WK0001,algorithm=HMAC_SHA256", "key=WK0002,algorithm=HMAC_SHA256");
    for (signature, settings, expected) in [
        (sign_callback(&first), Some(of_first), ok),
        (sign_callback(&second), Some(of_second), ok),
        (sha1.clone(), None, ok),
        (sign_callback(&first), Some(of_second), refused),
        (sign_callback(&first), None, refused),
        (sha1.clone(), Some(of_first), refused),
        // The auth token as a shared key, and the shared secret as an auth token, are downgrades as well.
        (sign_callback(&signer("the-first-shared-secret")), Some(of_first), refused),
        (sign_callback(&shared(crate::server::AUTH_TOKEN)), Some(of_first), refused),
        (sign_callback(&shared(crate::server::AUTH_TOKEN)), None, refused),
        (sha1.clone(), Some("key=WK0001,algorithm=HMAC_SHA1"), refused),
        (sha1.clone(), Some("key=,algorithm=HMAC_SHA256"), refused),
        (sha1.clone(), Some(""), refused),
        (sign_callback(&first), Some("key=WK9999,algorithm=HMAC_SHA256"), refused),
    ] {
        let headers: Vec<_> = settings.map(|settings| (SETTINGS, settings)).into_iter().collect();
        assert_eq!(post_signed(&server, &signature, &headers).await, expected, "{settings:?}");
    }
    let twice = [(SETTINGS, of_second), (SETTINGS, of_first)];
    assert_eq!(post_signed(&server, &sign_callback(&first), &twice).await, refused);
    let authorized = [(SETTINGS, of_first), ("Authorization", "Basic dHdpbGlvOng=")];
    assert_eq!(post_signed(&server, &sign_callback(&first), &authorized).await, ok, "it is ignored");
}

#[tokio::test]
async fn the_socket_opens_with_a_shared_key_as_well() {
    let server = Server::start(&[SHARED_KEYS]).await;
    let upgrade = async |signature: String, settings: &str| {
        let request = server.request(Method::GET, "/conversation-relay").header("X-Twilio-Signature", signature);
        let request = request.header(SETTINGS, settings).header("Connection", "Upgrade").header("Upgrade", "websocket");
        let request = request.header("Sec-WebSocket-Version", "13");
        request.header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==").send().await.unwrap().status()
    };
    let signature = shared("the-first-shared-secret").sign(SOCKET_URL, &[]);
    let settings = "key=WK0001,algorithm=HMAC_SHA256";
    assert_eq!(upgrade(signature.clone(), settings).await, StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(upgrade(signature, "key=WK0002,algorithm=HMAC_SHA256").await, StatusCode::FORBIDDEN);
    assert_eq!(upgrade(server.signature(SOCKET_URL, &[]), settings).await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn two_auth_tokens_verify_while_they_are_exchanged() {
    let other = "the-other-auth-token-of-the-account";
    let rotating = Server::start(&[("AUTH_TOKEN_SECONDARY", other)]).await;
    let settled = Server::start(&[]).await;
    let (old, new) = (sign_callback(&signer(crate::server::AUTH_TOKEN)), sign_callback(&signer(other)));
    assert_eq!(post_signed(&rotating, &old, &[]).await, StatusCode::NO_CONTENT);
    assert_eq!(post_signed(&rotating, &new, &[]).await, StatusCode::NO_CONTENT);
    assert_eq!(post_signed(&settled, &new, &[]).await, StatusCode::FORBIDDEN);
}

/// Lists payments with this token, from a client behind a proxy. Returns the status and `Retry-After`.
async fn list_payments(server: &Server, token: &str, forwarded: &str) -> (StatusCode, Option<u64>) {
    let request = server.request(Method::GET, "/payments").bearer_auth(token).header("X-Forwarded-For", forwarded);
    let answer = request.send().await.unwrap();
    let wait = answer.headers().get("retry-after").map(|wait| wait.to_str().unwrap().parse().unwrap());
    (answer.status(), wait)
}

#[tokio::test]
async fn who_guesses_the_operators_token_is_locked_out_and_nobody_else() {
    let server = Server::start(&[("OPERATOR_TOKEN", OPERATOR_TOKEN)]).await;
    for guess in 0..5 {
        // What the client itself writes before the proxy's element changes nothing.
        let forwarded = format!("198.51.100.{guess}, 203.0.113.7");
        assert_eq!(
            list_payments(&server, &format!("guess-{guess}"), &forwarded).await,
            (StatusCode::UNAUTHORIZED, None)
        );
    }
    for token in ["guess-6", OPERATOR_TOKEN] {
        let (status, wait) = list_payments(&server, token, "203.0.113.7").await;
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{token}");
        assert!((1..=60).contains(&wait.unwrap()), "{wait:?}");
    }
    assert_eq!(list_payments(&server, OPERATOR_TOKEN, "203.0.113.8").await.0, StatusCode::OK);
    for (guess, host) in ["1", "2", "3:4:5", "7", "8"].iter().enumerate() {
        let forwarded = format!("2001:db8:1:2::{host}");
        assert_eq!(list_payments(&server, &format!("guess-{guess}"), &forwarded).await.0, StatusCode::UNAUTHORIZED);
    }
    let of_one_customer = list_payments(&server, OPERATOR_TOKEN, "2001:db8:1:2:ffff::1").await;
    assert_eq!(of_one_customer.0, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn each_operator_has_a_token() {
    let tokens = ("OPERATOR_TOKENS", "ann:the-token-of-ann-0001, bob:the-token-of-bob-0002");
    let server = Server::start(&[("OPERATOR_TOKEN", OPERATOR_TOKEN), tokens]).await;
    for token in [OPERATOR_TOKEN, "the-token-of-ann-0001", "the-token-of-bob-0002"] {
        assert_eq!(list_payments(&server, token, "203.0.113.7").await.0, StatusCode::OK, "{token}");
    }
    assert_eq!(list_payments(&server, "ann:the-token-of-ann-0001", "").await.0, StatusCode::UNAUTHORIZED);
}

/// The binary, which serves until it is dropped.
struct Process {
    child: std::process::Child,
    lines: std::io::Lines<std::io::BufReader<std::process::ChildStderr>>,
    /// The address on which it listens.
    address: String,
    _directory: tempfile::TempDir,
}

impl Process {
    fn start(vars: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_crelay-payments"));
        command.env_clear().current_dir(directory.path()).stderr(std::process::Stdio::piped());
        command.envs(crate::server::REQUIRED_VARS).envs(vars.iter().copied()).env("PORT", "0");
        let mut child = command.spawn().unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
        let listening = lines.find_map(|line| {
            let line = line.unwrap();
            line.contains("server.listening").then(|| line.rsplit_once("address=").unwrap().1.to_owned())
        });
        let address = listening.expect("the server listens");
        Self { child, lines, address, _directory: directory }
    }

    /// Ends the server. Returns the lines that it has logged since it listened.
    fn stop(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.lines.by_ref().map_while(Result::ok).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_flood_of_refused_requests_is_one_log_line_of_each_kind() {
    let server = Process::start(&[("OPERATOR_TOKEN", OPERATOR_TOKEN)]);
    let port = server.address.rsplit(':').next().unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for round in 0..40 {
        for (path, token) in [("/connectAction", "x"), ("/payments/a/settle", "wrong"), ("/mcp", "wrong")] {
            let request = client.post(format!("http://127.0.0.1:{port}{path}")).bearer_auth(format!("{token}{round}"));
            let request = request.header("X-Twilio-Webhooks-Signature-Settings", "key=WK7,algorithm=HMAC_SHA256");
            // Half of the requests to Twilio's path have a signature of the right length.
            let signature = if round % 2 == 0 { "RSOYDt4T1cUTdK1PDd93/VVr8B8=" } else { "short" };
            assert!(request.header("X-Twilio-Signature", signature).send().await.unwrap().status().is_client_error());
        }
    }
    let lines = server.stop();
    let count = |parts: &[&str]| lines.iter().filter(|line| parts.iter().all(|part| line.contains(*part))).count();
    assert_eq!(count(&["twilio.signature_rejected"]), 1, "{lines:?}");
    assert_eq!(count(&["ERROR", "twilio.signature_key_unknown", "TWILIO_WEBHOOK_SHARED_KEYS has no key WK7"]), 1);
    assert_eq!(count(&["operator.request_refused", "WrongToken"]), 1, "{lines:?}");
    assert_eq!(count(&["operator.request_refused", "LockedOut"]), 1, "{lines:?}");
    assert_eq!(count(&["mcp.request_refused"]), 1, "{lines:?}");
}

/// Runs the binary until it refuses to start or listens. Returns what it printed.
fn start_or_refuse(directory: &std::path::Path, vars: &[(&str, &str)]) -> Result<String, String> {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_crelay-payments"));
    command.env_clear().current_dir(directory).stderr(std::process::Stdio::piped());
    let is_set = |(name, _): &(&str, &str)| !vars.iter().any(|(set, _)| set == name || *set == format!("{name}_FILE"));
    command.envs(crate::server::REQUIRED_VARS.into_iter().filter(is_set)).envs(vars.iter().copied());
    let mut child = command.env("PORT", "0").spawn().unwrap();
    let mut printed = String::new();
    for line in std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap())) {
        let line = line.unwrap();
        printed.extend([line.as_str(), "\n"]);
        if line.contains("server.listening") {
            child.kill().unwrap();
            child.wait().unwrap();
            return Ok(printed);
        }
    }
    assert_eq!(child.wait().unwrap().code(), Some(2), "{printed}");
    Err(printed)
}

#[test]
fn a_set_up_that_is_known_to_be_insecure_does_not_start_unless_it_is_allowed() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    for (name, value, allowed_by) in [
        ("AUTH_TOKEN", "x", "short-tokens"),
        ("OPERATOR_TOKEN", "fifteen-letters", "short-tokens"),
        ("VALIDATE_TWILIO_SIGNATURE", "false", "unsigned-webhooks"),
    ] {
        let printed = start_or_refuse(directory.path(), &[(name, value)]).unwrap_err();
        assert!(printed.contains(name) && printed.contains(&format!("ALLOW_INSECURE={allowed_by}")), "{printed}");
        let allowed = start_or_refuse(directory.path(), &[(name, value), ("ALLOW_INSECURE", allowed_by)]).unwrap();
        assert!(allowed.contains("WARN") && allowed.contains(&format!("ALLOW_INSECURE={allowed_by}")), "{allowed}");
    }
    let printed = start_or_refuse(directory.path(), &[("ALLOW_INSECURE", "short-token")]).unwrap_err();
    assert!(printed.contains("is short-tokens meant?"), "{printed}");

    let write = |name: &str, text: &str, mode| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    write(".env", "OPENAI_API_KEY=sk-of-a-file\n", 0o644);
    let printed = start_or_refuse(directory.path(), &[]).unwrap_err();
    assert!(printed.contains(".env") && printed.contains("ALLOW_INSECURE=readable-files"), "{printed}");
    write(".env", "OPENAI_API_KEY=sk-of-a-file\n", 0o600);
    start_or_refuse(directory.path(), &[]).unwrap();
    let open = write("token", "the-auth-token-of-a-file\n", 0o644);
    let printed = start_or_refuse(directory.path(), &[("AUTH_TOKEN_FILE", &open)]).unwrap_err();
    assert!(printed.contains("AUTH_TOKEN_FILE") && !printed.contains("the-auth-token"), "{printed}");
    let private = write("token", "the-auth-token-of-a-file\n", 0o400);
    start_or_refuse(directory.path(), &[("AUTH_TOKEN_FILE", &private)]).unwrap();
    let short = write("short", "x\n", 0o400);
    let printed = start_or_refuse(directory.path(), &[("AUTH_TOKEN_FILE", &short)]).unwrap_err();
    assert!(printed.contains("ALLOW_INSECURE=short-tokens"), "{printed}");
    let both = [("OPERATOR_TOKEN", OPERATOR_TOKEN), ("OPERATOR_TOKEN_FILE", "/nonexistent")];
    assert!(start_or_refuse(directory.path(), &both).unwrap_err().contains("OPERATOR_TOKEN_FILE"));
    let missing = start_or_refuse(directory.path(), &[("AUTH_TOKEN_FILE", "/nonexistent")]).unwrap_err();
    assert!(
        missing.contains("AUTH_TOKEN_FILE  names a file that cannot be read") && missing.contains("1 setting"),
        "{missing}"
    );
    write("data/crelay-payments.db", "", 0o644);
    let printed = start_or_refuse(directory.path(), &[]).unwrap_err();
    assert!(printed.contains("DATABASE_URL") && printed.contains("ALLOW_INSECURE=readable-files"), "{printed}");
}

/// A name to which only the hosts file gives a loopback address, or `localhost` if there is none.
fn name_of_this_machine() -> String {
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let mut names = hosts.lines().filter_map(|line| line.strip_prefix("127.0.0.1")).flat_map(str::split_whitespace);
    names.rfind(|name| !name.contains("localhost")).unwrap_or("localhost").to_owned()
}

/// Answers one request with an empty JSON object, on a thread of its own. Returns the port, and what was requested.
fn start_business() -> (u16, std::thread::JoinHandle<String>) {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answering = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        let length = socket.read(&mut request).unwrap();
        socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}").unwrap();
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    (port, answering)
}

#[tokio::test]
async fn what_is_sent_to_this_machine_does_not_go_through_a_proxy() {
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let proxy_url = format!("http://{}", proxy.local_addr().unwrap());
    let (port, answering) = start_business();
    let (model_port, model) = start_business();
    let server = Process::start(&[
        ("HTTP_PROXY", &proxy_url),
        ("http_proxy", &proxy_url),
        ("ALL_PROXY", &proxy_url),
        ("OPENAI_BASE_URL", &format!("http://{}:{model_port}/v1", name_of_this_machine())),
        ("CALL_PARAMETERS_URL", &format!("http://localhost:{port}/calls")),
        ("PAYMENT_WEBHOOK_SECRET", "a-secret-for-tests-only"),
    ]);
    let address = format!("127.0.0.1:{}", server.address.rsplit(':').next().unwrap());
    let client = Server::at(address.parse().unwrap());
    let call = [("CallSid", "CA00000000000000000000000000000001"), ("From", "+15550100001")];
    assert_eq!(client.post_as_twilio("/connectConversationRelay", &call).await.status(), StatusCode::OK);
    assert!(answering.join().unwrap().starts_with("POST /calls HTTP/1.1\r\n"));
    assert!(model.join().unwrap().contains(" /v1/"), "the model is prepared while the call rings");
    assert_eq!(proxy.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "the proxy sees nothing");
}

#[tokio::test]
async fn large_bodies_that_nobody_has_signed_are_read_a_few_at_a_time() {
    const AT_ONCE: usize = 128;
    const TOO_MANY: usize = 16;
    let server = Server::start(&[]).await;
    let signature = "A".repeat(27) + "=";
    let mut held = Vec::new();
    for _ in 0..AT_ONCE + TOO_MANY {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        let request = format!(
            "POST /payment-status-callback HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\nX-Twilio-Signature: {signature}\r\n\r\n"
        );
        // The rest of the body never comes.
        stream.write_all(&[request.as_bytes(), &[b'a'; 9_000]].concat()).await.unwrap();
        held.push(stream);
    }
    let reads = held.iter_mut().map(async |stream| {
        let mut start = [0; 12];
        stream.read_exact(&mut start).await.map(|_| start)
    });
    let mut answers: FuturesUnordered<_> = reads.collect();
    for _ in 0..TOO_MANY {
        assert_eq!(answers.next().await.unwrap().unwrap(), *b"HTTP/1.1 403");
    }
    let form = [("CallSid", "CA1"), ("Sid", "PK1"), ("AccountSid", "AC1")];
    let callback = server.post_as_twilio("/payment-status-callback", &form).await;
    assert_eq!(callback.status(), StatusCode::NO_CONTENT, "a small one is read");
}
