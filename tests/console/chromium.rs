//! A headless Chromium, driven over the DevTools protocol.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// Time limit for each command and each condition.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Where Debian and others install it.
const PROGRAMS: [&str; 3] = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/// A browser with one page. It ends on drop.
pub(crate) struct Chromium {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    session: String,
    last_id: u64,
    process: Child,
    _profile: TempDir,
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Chromium {
    /// Starts the browser; `None` if there is none on this machine.
    pub(crate) async fn start() -> Option<Self> {
        let program = PROGRAMS.into_iter().find(|program| Path::new(program).exists())?;
        let profile = tempfile::tempdir().unwrap();
        let mut process = Command::new(program)
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"])
            .args(["--no-first-run", "--disable-background-networking", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let (send_url, url) = tokio::sync::oneshot::channel();
        // It reads to the end, so that the browser can go on writing.
        std::thread::spawn(move || {
            let mut send_url = Some(send_url);
            for line in lines.map_while(Result::ok) {
                if let Some(url) = line.strip_prefix("DevTools listening on ") {
                    send_url.take().map(|send_url| send_url.send(url.to_owned()));
                }
            }
        });
        let url = tokio::time::timeout(TIMEOUT, url).await.expect("in time").expect("Chromium starts");
        let (socket, _) = connect_async(url).await.unwrap();
        let mut browser = Self { socket, session: String::new(), last_id: 0, process, _profile: profile };
        let target = browser.command("Target.createTarget", json!({"url": "about:blank"})).await;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.command("Target.attachToTarget", attach).await;
        attached["sessionId"].as_str().unwrap().clone_into(&mut browser.session);
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            browser.command(domain, json!({})).await;
        }
        Some(browser)
    }

    /// Sends a command and returns its result.
    pub(crate) async fn command(&mut self, method: &str, parameters: Value) -> Value {
        self.try_command(method, parameters).await.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// As [`command`](Self::command), with the error of the browser.
    async fn try_command(&mut self, method: &str, parameters: Value) -> Result<Value, Value> {
        self.last_id += 1;
        let mut message = json!({"id": self.last_id, "method": method, "params": parameters});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.socket.send(Message::text(message.to_string())).await.unwrap();
        let answer = async {
            loop {
                let Message::Text(text) = self.socket.next().await.unwrap().unwrap() else { continue };
                let message: Value = serde_json::from_str(&text).unwrap();
                // What the browser refuses by the policy of the page, and errors of scripts.
                let is_error = message["method"] == "Runtime.exceptionThrown"
                    || (message["method"] == "Log.entryAdded" && message["params"]["entry"]["source"] == "security");
                assert!(!is_error, "{message}");
                if message["id"] == json!(self.last_id) {
                    return message;
                }
            }
        };
        let answer = tokio::time::timeout(TIMEOUT, answer).await.unwrap_or_else(|_| panic!("no answer to {method}"));
        answer.get("error").map_or_else(|| Ok(answer["result"].clone()), |error| Err(error.clone()))
    }

    /// Sets the size of the window, in CSS pixels, and whether the system is dark.
    pub(crate) async fn resize(&mut self, width: u32, height: u32, is_dark: bool) {
        let is_phone = width < 500;
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": if is_phone { 2 } else { 1 }, "mobile": is_phone});
        self.command("Emulation.setDeviceMetricsOverride", metrics).await;
        let scheme = if is_dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.command("Emulation.setEmulatedMedia", media).await;
    }

    /// Opens a page and waits until it is loaded.
    pub(crate) async fn open(&mut self, url: &str) {
        self.command("Page.navigate", json!({"url": url})).await;
        self.wait_for(&format!(
            "location.href.startsWith({url:?}.split('?')[0].slice(0, 16)) && document.readyState === 'complete'"
        ))
        .await;
    }

    /// Evaluates an expression, and waits for it if it is a promise.
    pub(crate) async fn evaluate(&mut self, expression: &str) -> Value {
        let parameters =
            json!({"expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true});
        let result = self.command("Runtime.evaluate", parameters).await;
        assert!(result.get("exceptionDetails").is_none(), "{expression:.200}: {result}");
        result["result"]["value"].clone()
    }

    /// Waits until an expression is true, also over a navigation.
    pub(crate) async fn wait_for(&mut self, condition: &str) {
        let deadline = tokio::time::Instant::now() + TIMEOUT;
        let poll = format!(
            "new Promise(done => {{ const look = () => ({condition}) ? done(true) : setTimeout(look, 20); setTimeout(() => done(false), 1000); look(); }})"
        );
        loop {
            let parameters = json!({"expression": poll, "awaitPromise": true, "returnByValue": true});
            // A navigation ends the promise.
            let looked = self.try_command("Runtime.evaluate", parameters).await;
            if looked.is_ok_and(|looked| looked["result"]["value"] == true) {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{condition} does not become true");
        }
    }

    /// Writes a picture of the whole page into the directory of the test's files. Returns its path.
    pub(crate) async fn screenshot(&mut self, name: &str) -> PathBuf {
        use base64::Engine as _;
        let result =
            self.command("Page.captureScreenshot", json!({"captureBeyondViewport": true, "format": "png"})).await;
        let picture = base64::engine::general_purpose::STANDARD.decode(result["data"].as_str().unwrap()).unwrap();
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("console-{name}.png"));
        std::fs::write(&path, picture).unwrap();
        path
    }
}
