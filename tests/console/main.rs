//! The console on the real server: logging in, its pages, its forms and its events. In `browser`, in a real browser.

#![cfg(feature = "simulator")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod browser;
mod chromium;
#[expect(dead_code, reason = "not all of a process is used")]
#[path = "../attacks/process.rs"]
mod process;
#[path = "../ledger/seed.rs"]
mod seed;
#[expect(dead_code, reason = "not all clients are used")]
#[path = "../server/mod.rs"]
mod server;
#[expect(dead_code, reason = "not all stand-ins are used")]
#[path = "../ledger/stand_ins.rs"]
mod stand_ins;

use std::process::Stdio;
use std::time::Duration;

use crelay_payments::ledger::Ledger;
use process::Process;
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use seed::Seed;
use serde_json::{Value, json};
use server::{OPERATOR_TOKEN, Server};

/// The fields of a payment, in order.
const FIELDS: [&str; 3] = ["payment-card-number", "security-code", "expiration-date"];

const TIMEOUT: Duration = Duration::from_secs(10);

/// A browser without a screen: it follows no redirect, and keeps a cookie.
struct Console<'a> {
    server: &'a Server,
    http: Client,
    cookie: String,
}

impl<'a> Console<'a> {
    /// A browser that is not logged in.
    fn new(server: &'a Server) -> Self {
        let http = Client::builder().redirect(Policy::none()).build().unwrap();
        Self { server, http, cookie: String::new() }
    }

    async fn logged_in(server: &'a Server) -> Self {
        let mut console = Self::new(server);
        let answer = console.log_in(OPERATOR_TOKEN).await;
        assert_eq!((answer.status(), location(&answer)), (StatusCode::SEE_OTHER, "/console"));
        let cookie = answer.headers()["set-cookie"].to_str().unwrap();
        cookie.split(';').next().unwrap().clone_into(&mut console.cookie);
        console
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.address())
    }

    async fn log_in(&self, token: &str) -> Response {
        self.form("/console/login", &[("token", token)]).send().await.unwrap()
    }

    fn request(&self, path: &str) -> RequestBuilder {
        self.http.get(self.url(path)).header("Cookie", &self.cookie).timeout(TIMEOUT)
    }

    async fn get(&self, path: &str) -> Response {
        self.request(path).send().await.unwrap()
    }

    /// The text of a page that is there.
    async fn page(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.text().await.unwrap()
    }

    /// A form that a page of the console sends.
    fn form(&self, path: &str, fields: &[(&str, &str)]) -> RequestBuilder {
        self.form_without_origin(path, fields).header("Sec-Fetch-Site", "same-origin")
    }

    fn form_without_origin(&self, path: &str, fields: &[(&str, &str)]) -> RequestBuilder {
        self.http.post(self.url(path)).header("Cookie", &self.cookie).timeout(TIMEOUT).form(fields)
    }

    /// Opens the stream of events.
    async fn watch(&self) -> Response {
        self.http
            .get(self.url("/console/events"))
            .header("Cookie", &self.cookie)
            .header("Accept", "text/event-stream")
            .send()
            .await
            .unwrap()
    }
}

fn location(answer: &Response) -> &str {
    answer.headers()["location"].to_str().unwrap()
}

/// Reads events until one has this text. Returns its data.
async fn wait_for_event(stream: &mut Response, text: &str) -> Value {
    let read = async {
        let mut received = String::new();
        loop {
            received += &String::from_utf8_lossy(&stream.chunk().await.unwrap().expect("the stream goes on"));
            while let Some((event, rest)) = received.split_once("\n\n") {
                let data = event.strip_prefix("data: ").filter(|data| data.contains(text)).map(str::to_owned);
                received = rest.to_owned();
                if let Some(data) = data {
                    return serde_json::from_str(&data).unwrap();
                }
            }
        }
    };
    tokio::time::timeout(TIMEOUT, read).await.unwrap_or_else(|_| panic!("no event has {text}"))
}

async fn start_server() -> Server {
    Server::start(&[("OPERATOR_TOKEN", OPERATOR_TOKEN)]).await
}

/// A server whose ledger has an unknown payment of 7 dollars and a charged one of 9. Returns their ids, too.
async fn start_with_payments() -> (Server, String, String) {
    let server = start_server().await;
    assert_eq!(server.get("/ready").await.status(), StatusCode::OK);
    let ledger = Ledger::open_for_cli(&server.ledger_path()).await.unwrap();
    let mut seed = Seed::new(ledger);
    let unknown = seed.add_unknown(7, "credit-card").await.to_string();
    let charged = seed.add_succeeded(9, "credit-card").await.to_string();
    (server, unknown, charged)
}

#[tokio::test]
async fn without_an_operator_token_the_console_says_so() {
    let server = Server::start(&[]).await;
    let console = Console::new(&server);
    let page = console.get("/console").await;
    assert_eq!((page.status(), location(&page)), (StatusCode::SEE_OTHER, "/console/login"));
    for answer in [console.get("/console/login").await, console.log_in("a guess").await] {
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        assert!(answer.text().await.unwrap().contains("Set one in its environment"));
    }
}

#[tokio::test]
async fn nothing_is_shown_or_done_before_the_log_in() {
    let (server, unknown, _) = start_with_payments().await;
    let payment = format!("/console/payments/{unknown}");
    let mut console = Console::new(&server);
    for cookie in ["", "console=", "console=operator.99999999999.aaaa", "console=a; console=b"] {
        cookie.clone_into(&mut console.cookie);
        for path in ["/console", "/console/payments", &payment, "/console/drain"] {
            let answer = console.get(path).await;
            assert_eq!((answer.status(), location(&answer)), (StatusCode::SEE_OTHER, "/console/login"), "{path}");
        }
        assert_eq!(console.watch().await.status(), StatusCode::UNAUTHORIZED);
        for (path, form) in [
            (format!("{payment}/settle"), [("outcome", "charged"), ("confirmed", "yes")]),
            ("/console/drain".to_owned(), [("confirmed", "yes"), ("", "")]),
        ] {
            assert_eq!(console.form(&path, &form).send().await.unwrap().status(), StatusCode::SEE_OTHER, "{path}");
        }
    }
    assert_eq!(server.get("/ready").await.status(), StatusCode::OK);
    let payment: Value = server.get_as_operator(&format!("/payments/{unknown}")).await.json().await.unwrap();
    assert_eq!(payment["state"], "unknown");
}

#[tokio::test]
async fn guesses_lock_the_form_and_the_operator_api() {
    let server = start_server().await;
    let console = Console::new(&server);
    for _ in 0..5 {
        let answer = console.log_in("a-token-for-tests-onlx").await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        assert!(answer.headers().get("set-cookie").is_none());
    }
    let answer = console.log_in(OPERATOR_TOKEN).await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!((1..=60).contains(&answer.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap()));
    assert_eq!(server.get_as_operator("/payments").await.status(), StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn a_cookie_opens_the_console_and_nothing_else() {
    let server = start_server().await;
    let console = Console::logged_in(&server).await;
    assert!(console.page("/console").await.contains("Accepts calls"));
    assert_eq!(console.get("/payments").await.status(), StatusCode::UNAUTHORIZED);
    let out = console.form("/console/logout", &[]).send().await.unwrap();
    assert_eq!(location(&out), "/console/login");
    assert!(out.headers()["set-cookie"].to_str().unwrap().starts_with("console=; Path=/; Max-Age=0; HttpOnly"));
}

#[tokio::test]
async fn a_page_loads_its_own_files_and_nothing_stands_in_it() {
    let (server, unknown, charged) = start_with_payments().await;
    let console = Console::logged_in(&server).await;
    let details = [unknown, charged].map(|id| format!("/console/payments/{id}"));
    let pages = ["/console", "/console/login", "/console/payments", &details[0], &details[1], "/console/drain"];
    for path in pages.into_iter().chain(["/console/payments/no-id", "/console/assets/no-file"]) {
        let answer = console.get(path).await;
        let headers = answer.headers().clone();
        let policy = headers["content-security-policy"].to_str().unwrap();
        for part in ["default-src 'none'; script-src 'self'; style-src 'self'", "frame-ancestors 'none'"] {
            assert!(policy.contains(part) && !policy.contains("unsafe"), "{path}: {policy}");
        }
        assert!(headers["x-content-type-options"] == "nosniff" && headers["cache-control"] == "no-store", "{path}");
        let page = answer.text().await.unwrap();
        for inline in ["style=", "<style", "onclick", "onload", "javascript:", "http://", "https://"] {
            assert!(!page.contains(inline), "{path}: {inline}");
        }
        assert_eq!(
            page.matches("<script").count(),
            page.matches("<script defer src=\"/console/assets/").count(),
            "{path}"
        );
        for file in page.split('"').filter(|part| part.starts_with("/console/assets/")) {
            let answer = console.get(file).await;
            assert_eq!(answer.status(), StatusCode::OK, "{file}");
            assert!(answer.headers()["cache-control"].to_str().unwrap().contains("immutable"));
        }
    }
}

#[tokio::test]
async fn a_form_of_another_site_has_no_effect() {
    let (server, unknown, _) = start_with_payments().await;
    let console = Console::logged_in(&server).await;
    let settle = format!("/console/payments/{unknown}/settle");
    let forms = [
        ("/console/drain", vec![("confirmed", "yes")]),
        (&*settle, vec![("outcome", "charged"), ("confirmed", "yes")]),
        ("/console/login", vec![("token", OPERATOR_TOKEN)]),
        ("/console/logout", vec![]),
        ("/console/payments", vec![]),
    ];
    for (path, fields) in forms {
        for (name, value) in
            [("X-None", ""), ("Origin", "https://evil.example"), ("Origin", "null"), ("Sec-Fetch-Site", "same-site")]
        {
            let answer = console.form_without_origin(path, &fields).header(name, value).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{path} {name}: {value}");
        }
    }
    assert_eq!(server.get("/ready").await.status(), StatusCode::OK);
    assert!(console.page(&format!("/console/payments/{unknown}")).await.contains(">unknown<"));
    // A browser that sends no `Sec-Fetch-Site` names the page's origin.
    let origin = console.url("");
    let login = console.form_without_origin("/console/login", &[("token", OPERATOR_TOKEN)]).header("Origin", origin);
    assert_eq!(login.send().await.unwrap().status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn payments_are_found_by_what_an_operator_has() {
    let (server, unknown, charged) = start_with_payments().await;
    let console = Console::logged_in(&server).await;
    let search = async |fields: &[(&str, &str)]| {
        let answer = console.form("/console/payments", fields).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{fields:?}");
        answer.text().await.unwrap()
    };
    let found = |page: &str| [&unknown, &charged].map(|id| page.contains(&format!("/console/payments/{id}\"")));
    for (fields, expected) in [
        (&[][..], [true, true]),
        (&[("state", "unknown")], [true, false]),
        (&[("q", "CH_9")], [false, true]),
        (&[("q", "hush-order-7")], [true, false]),
        (&[("q", "+15550100001")], [true, true]),
        // Any digits may be a part of a random identifier; digits after a plus sign are not.
        (&[("q", "4242"), ("state", "charged")], [false, true]),
        (&[("q", "+1555")], [false, false]),
        (&[("q", "PK9"), ("state", "unknown")], [false, false]),
        (&[("q", "25%"), ("since", "24h")], [false, false]),
        (&[("since", "7d")], [true, true]),
    ] {
        assert_eq!(found(&search(fields).await), expected, "{fields:?}");
    }
    assert_eq!(found(&console.page("/console/payments?state=unknown").await), [true, false]);
    // Browsers and proxies keep URLs, and this may be the number of a caller.
    assert_eq!(found(&console.page("/console/payments?q=CH_9").await), [true, true], "it is not looked for");
    let page = search(&[("q", "4242424242424242")]).await;
    assert!(page.contains("No payment matches.") && !page.contains("42424242"), "a card number is not repeated");
    let page = console.page("/console/payments").await;
    assert!(page.contains("+15 ··· 01") && !page.contains("5550100001"));
    for query in ["state=paid", "since=yesterday"] {
        assert_eq!(
            console.get(&format!("/console/payments?{query}")).await.status(),
            StatusCode::BAD_REQUEST,
            "{query}"
        );
    }
}

#[tokio::test]
async fn a_payment_is_settled_and_refunded_after_a_confirmation() {
    let (server, unknown, _) = start_with_payments().await;
    let console = Console::logged_in(&server).await;
    let details = format!("/console/payments/{unknown}");
    let post = async |action: &str, fields: &[(&str, &str)]| {
        console.form(&format!("{details}/{action}"), fields).send().await.unwrap()
    };
    let outcome = [("outcome", "charged"), ("confirmationCode", "ch_7"), ("note", "seen \"there\" <b>")];
    let question = post("settle", &outcome).await.text().await.unwrap();
    assert!(question.contains("Record that this payment was <strong>charged</strong>?"), "{question}");
    assert!(question.contains("seen &quot;there&quot; &lt;b&gt;") && !question.contains("<b>"));
    assert!(console.page(&details).await.contains(">unknown<"), "nothing is recorded yet");

    let confirmed = [&outcome[..], &[("confirmed", "yes")]].concat();
    let answer = post("settle", &confirmed).await;
    assert_eq!(location(&answer), format!("{details}?done=settle"));
    let page = console.page(location(&answer)).await;
    for part in [">charged<", "The outcome is recorded.", "ch_7", "settled", "operator"] {
        assert!(page.contains(part), "{part}");
    }
    let again = post("settle", &confirmed).await;
    assert_eq!(again.status(), StatusCode::CONFLICT);
    assert!(again.text().await.unwrap().contains("role=\"alert\""));

    for (amount, status) in [("8", StatusCode::CONFLICT), ("x", StatusCode::BAD_REQUEST), ("3", StatusCode::SEE_OTHER)]
    {
        let refund = [("kind", "refund"), ("amount", amount), ("reference", "re_1"), ("confirmed", "yes")];
        assert_eq!(post("refunded", &refund).await.status(), status, "{amount}");
    }
    assert!(console.page(&details).await.contains("3.00"));
    let dispute = [("kind", "dispute"), ("amount", "1"), ("reference", "dp_1")];
    assert!(post("refunded", &dispute).await.text().await.unwrap().contains("Record a <strong>dispute</strong>"));
    let none = console.form("/console/payments/2f1b6c1e-8f0a-5d3c-9a51-0d2f6d1c9a10/settle", &confirmed);
    assert_eq!(none.send().await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn live_calls_are_shown_while_they_last() {
    let server = start_server().await;
    let console = Console::logged_in(&server).await;
    let mut stream = console.watch().await;
    let none = wait_for_event(&mut stream, "No call is live.").await;
    assert!(none["plots"]["outcomes"]["x"].as_array().unwrap().len() == 24);
    let socket = server.connect_call_from("+15550100077", "CA7", &json!({})).await;
    let one = wait_for_event(&mut stream, "CA7").await;
    assert_eq!(one["fragments"]["live-status"].as_str().unwrap().split(',').next(), Some("1 live call"));
    assert!(one["fragments"]["calls"].as_str().unwrap().contains("+15 ··· 77"));
    assert!(!one.to_string().contains("5550100077"));
    drop(socket);
    wait_for_event(&mut stream, "waits for a socket").await;
    server.post_as_twilio("/twilioStatusCallback", &[("CallSid", "CA7"), ("CallStatus", "completed")]).await;
    wait_for_event(&mut stream, "No call is live.").await;
}

/// A process of its own, since the log is one of the process.
#[tokio::test]
async fn what_the_log_reports_is_shown_with_what_to_do() {
    let process = Process::start("http://127.0.0.1:9/v1", &[("RUST_LOG", "error")], Stdio::null()).await;
    let console = Console::logged_in(&process.server).await;
    assert!(!console.page("/console").await.contains("twilio.signature_rejected"));
    let mut stream = console.watch().await;
    process.server.post_form("/connectAction", "CallSid=CA1", None).await;
    let alert = wait_for_event(&mut stream, "twilio.signature_rejected").await;
    let alerts = alert["fragments"]["alerts"].as_str().unwrap();
    assert!(alerts.contains("After a change of <code>SERVER_BASE_URL</code> or the auth token"), "{alerts}");
    assert!(alerts.contains(">Warning<"), "{alerts}");
}

#[tokio::test]
async fn thirty_two_consoles_watch_at_once() {
    let server = start_server().await;
    let console = Console::logged_in(&server).await;
    let mut streams = Vec::new();
    for number in 0..32 {
        let stream = console.watch().await;
        assert_eq!(stream.status(), StatusCode::OK, "{number}");
        streams.push(stream);
    }
    wait_for_event(streams.last_mut().unwrap(), "fragments").await;
    assert_eq!(console.watch().await.status(), StatusCode::SERVICE_UNAVAILABLE);
    drop(streams);
    let mut stream = loop {
        let stream = console.watch().await;
        if stream.status() == StatusCode::OK {
            break stream;
        }
    };
    wait_for_event(&mut stream, "fragments").await;
}

#[tokio::test]
async fn the_server_drains_after_a_confirmation_and_open_consoles_do_not_hold_it_up() {
    let server = start_server().await;
    let console = Console::logged_in(&server).await;
    let socket = server.connect_call("CA8", &json!({})).await;
    let mut stream = console.watch().await;
    assert!(console.page("/console/drain").await.contains("Live calls now: <strong>1</strong>"));
    console.form("/console/drain", &[]).send().await.unwrap();
    assert_eq!(server.get("/ready").await.status(), StatusCode::OK);
    let answer = console.form("/console/drain", &[("confirmed", "yes")]).send().await.unwrap();
    assert_eq!(location(&answer), "/console");
    assert_eq!(server.get("/ready").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    wait_for_event(&mut stream, "Draining").await;
    server.post_as_twilio("/twilioStatusCallback", &[("CallSid", "CA8"), ("CallStatus", "completed")]).await;
    drop(socket);
    let ended = async { while stream.chunk().await.is_ok_and(|chunk| chunk.is_some()) {} };
    tokio::time::timeout(TIMEOUT, ended).await.expect("the stream ends with the server");
}
