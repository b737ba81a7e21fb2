//! The console in a headless Chromium, beside calls that are live. Skipped with a word where there is no browser.

use std::path::Path;

use crelay_payments::simulator::{ModelReply, QueuedOpenAi, RelayClient};
use serde_json::{Value, json};

use super::FIELDS;
use super::chromium::Chromium;
use super::server::{OPERATOR_TOKEN, Server};
use super::stand_ins::StandIns;

/// The script of axe-core, which `.ci/run` installs.
const AXE: &str = "target/tools/node_modules/axe-core/axe.min.js";

/// Widths and heights of windows: a desktop and a phone.
const WINDOWS: [(&str, u32, u32); 2] = [("desktop", 1280, 900), ("phone", 390, 844)];

/// A server with four live calls: one that talks, two that pay and one that has paid.
struct Scene {
    server: Server,
    stand_ins: StandIns,
    openai: QueuedOpenAi,
    sockets: Vec<RelayClient>,
}

impl Scene {
    async fn start() -> Self {
        let stand_ins = StandIns::start(None).await;
        let openai = QueuedOpenAi::start(&[]).await.unwrap();
        let server = Server::start(&[
            ("OPENAI_BASE_URL", openai.base_url()),
            ("TWILIO_API_BASE_URL", &stand_ins.origin),
            ("OPERATOR_TOKEN", OPERATOR_TOKEN),
        ])
        .await;
        let mut scene = Self { server, stand_ins, openai, sockets: Vec::new() };
        scene.call("+15550100041", "CA00000000000000000000000000000001", "Hello, how can I help?", 0).await;
        scene.call("+15550100042", "CA00000000000000000000000000000002", "The card number, please.", 0).await;
        scene.call("+15550100043", "CA00000000000000000000000000000003", "The card number, please.", 3).await;
        let paid = scene.call("+447700900144", "CA00000000000000000000000000000004", "The number, please.", 3).await;
        scene.openai.queue(ModelReply::text("It is paid."));
        scene
            .post(
                "CA00000000000000000000000000000004",
                &paid,
                &[("Result", "success"), ("PaymentConfirmationCode", "ch_41")],
            )
            .await;
        for number in 0..5 {
            let (call, payment) = (format!("CA9{number}"), format!("PK9{number}"));
            let result = if number < 3 { "success" } else { "payment-connector-error" };
            scene.post(&call, &payment, &[("Result", result)]).await;
        }
        scene
    }

    /// Begins a call. Unless the model only talks, it opens a payment, asks for the fields, and so many of them are entered;
    /// after all three it is submitted. Returns the SID of the payment.
    async fn call(&mut self, from: &str, call: &str, words: &'static str, entered: usize) -> String {
        let mut socket = self
            .server
            .connect_call_from(
                from,
                call,
                &json!({"amountDue": "41.50", "callReference": format!("order-{}", &from[from.len() - 2..])}),
            )
            .await;
        let is_payment = words.contains("number");
        let tools: &[&str] = if is_payment { &["start-capture", "capture-card"] } else { &[] };
        for tool in tools {
            self.openai.queue(ModelReply::tool_call(tool, "{}"));
        }
        self.openai.queue(ModelReply::text(words));
        socket.say("I would like to pay.").await.unwrap();
        socket.wait_for_speech().await.unwrap();
        self.sockets.push(socket);
        let sid = self.stand_ins.received(|received| {
            let created = received.twilio_requests.iter().rev().find(|(_, what, _)| what == "create");
            created.map(|(sid, ..)| sid.clone()).unwrap_or_default()
        });
        let next = ["capture-security-code", "capture-expiry-date", "finish-capture"];
        for at in 0..entered {
            self.openai.queue(ModelReply::tool_call(next[at], "{}"));
            self.openai.queue(ModelReply::text("Thank you."));
            let asked = self.openai.request_count();
            let required = FIELDS[at + 1..].join(",");
            let form = [
                ("Capture", FIELDS[at]),
                ("PartialResult", "false"),
                ("Required", &*required),
                ("PaymentCardNumber", "xxxxxxxxxxxx4242"),
            ];
            self.post(call, &sid, &form).await;
            self.openai.wait_for_requests(asked + 2).await.unwrap();
        }
        sid
    }

    async fn post(&self, call: &str, payment: &str, fields: &[(&str, &str)]) {
        let form = [&[("CallSid", call), ("Sid", payment)], fields].concat();
        assert!(self.server.post_as_twilio("/payment-status-callback", &form).await.status().is_success());
    }

    fn url(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.server.address().port())
    }
}

/// Runs axe in the page, which has to check it and to find nothing.
async fn run_axe(browser: &mut Chromium, axe: &str, page: &str) {
    browser.evaluate(&format!("{axe};0")).await;
    let found = "axe.run().then(it => [it.passes.length, it.violations.map(it => [it.id, it.help, \
                 ...it.nodes.map(it => it.html.slice(0, 160) + ' ' + it.failureSummary)])])";
    let found = browser.evaluate(found).await;
    assert_eq!(found[1], json!([]), "{page}");
    assert!(found[0].as_u64() > Some(10), "{page}: {found}");
}

#[tokio::test]
async fn the_console_works_in_a_browser() {
    let Some(mut browser) = Chromium::start().await else {
        println!("left out: there is no Chromium on this machine");
        return;
    };
    let axe = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(AXE)).ok();
    if axe.is_none() {
        println!("left out: axe-core is not installed: npm install --prefix target/tools axe-core");
    }
    let mut scene = Scene::start().await;
    browser.resize(1280, 900, false).await;
    browser.open(&scene.url("/console")).await;
    browser.wait_for("location.pathname === '/console/login' && document.activeElement.id === 'token'").await;
    browser
        .evaluate("document.getElementById('token').value = 'wrong-but-long-enough'; document.forms[0].requestSubmit()")
        .await;
    browser.wait_for("document.querySelector('[role=alert]')?.textContent.includes('not the token')").await;
    let login =
        format!("document.getElementById('token').value = '{OPERATOR_TOKEN}'; document.forms[0].requestSubmit()");
    browser.evaluate(&login).await;
    browser.wait_for("document.documentElement.dataset.live === 'yes'").await;
    assert_eq!(browser.evaluate("document.cookie").await, "", "no script reads the cookie");

    // What is drawn is what happens, without a reload.
    browser.wait_for("document.querySelectorAll('#calls tbody tr').length === 4").await;
    for words in ["card number", "submitted", "charged", "none"] {
        browser.wait_for(&format!("document.getElementById('calls').textContent.includes('{words}')")).await;
    }
    browser.wait_for("document.querySelectorAll('.plot canvas').length === 3").await;
    browser.wait_for("document.querySelectorAll('#calls .shares').length === 4").await;
    browser.wait_for("/First words, p95, 1 h\\d+ ms/.test(document.getElementById('stats').textContent)").await;
    browser.wait_for("document.getElementById('alerts').textContent.includes('are unknown')").await;
    scene.sockets.remove(0).close(1000, "bye").await.unwrap();
    browser.wait_for("document.querySelectorAll('#calls tbody tr').length === 3").await;

    let details: Value = browser
        .evaluate("fetch('/console/payments?state=unknown').then(it => it.text()).then(it => it.match(/href=.(.console.payments.[0-9a-f-]{36})/)[1])")
        .await;
    let details = details.as_str().unwrap().to_owned();
    let pages = [
        ("overview", "/console"),
        ("payments", "/console/payments"),
        ("payment", &details),
        ("drain", "/console/drain"),
        ("login", "/console/login"),
    ];
    for (window, width, height) in WINDOWS {
        for (scheme, is_dark) in [("light", false), ("dark", true)] {
            browser.resize(width, height, is_dark).await;
            for (name, path) in pages {
                browser.open(&scene.url(path)).await;
                if name == "overview" {
                    browser.wait_for("document.querySelectorAll('.plot canvas').length >= 2 && document.querySelector('[data-since]').textContent.includes(':')").await;
                }
                let page = format!("{name}-{window}-{scheme}");
                let overflows = "document.documentElement.scrollWidth > document.documentElement.clientWidth";
                assert_eq!(browser.evaluate(overflows).await, false, "{page} is wider than the window");
                if let Some(axe) = &axe {
                    run_axe(&mut browser, axe, &page).await;
                }
                browser.screenshot(&page).await;
            }
        }
    }

    // An operator settles a payment with the keyboard's means: forms and links only.
    browser.resize(1280, 900, false).await;
    browser.open(&scene.url(&details)).await;
    browser.evaluate("document.getElementById('outcome').value = 'charged'; document.querySelector('form[action$=settle]').requestSubmit()").await;
    browser.wait_for("document.querySelector('h1')?.textContent.startsWith('Record that')").await;
    if let Some(axe) = &axe {
        run_axe(&mut browser, axe, "confirmation").await;
    }
    browser.screenshot("confirm-desktop-light").await;
    browser.evaluate("document.querySelector('button[name=confirmed]').click()").await;
    browser.wait_for("document.querySelector('[role=status]')?.textContent === 'The outcome is recorded.'").await;
    browser.evaluate("document.querySelector('.account button').click()").await;
    browser.wait_for("location.pathname === '/console/login'").await;
    browser.open(&scene.url("/console")).await;
    browser.wait_for("location.pathname === '/console/login'").await;
}
