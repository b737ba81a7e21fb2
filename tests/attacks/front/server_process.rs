//! The real binary as a process that gets signals.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::server::{OPERATOR_TOKEN, REQUIRED_VARS};

const TIMEOUT: Duration = Duration::from_secs(20);

/// A server process, killed on drop.
pub(super) struct ServerProcess {
    child: Child,
    pub(super) address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    _directory: TempDir,
}

impl ServerProcess {
    /// Starts a server with these variables and waits until it listens.
    pub(super) async fn start(vars: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_crelay-payments"));
        command.env_clear().current_dir(directory.path()).envs(REQUIRED_VARS).envs([
            ("OPENAI_BASE_URL", "http://127.0.0.1:9/v1"),
            ("TWILIO_API_BASE_URL", "http://127.0.0.1:9"),
            ("OPERATOR_TOKEN", OPERATOR_TOKEN),
            ("BIND", "127.0.0.1"),
            ("PORT", "0"),
        ]);
        let mut child = command.envs(vars.iter().copied()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = log.clone();
        let found = tokio::task::spawn_blocking(move || {
            let address = lines.find_map(|line| {
                let address = line.split_once(" address=").and_then(|(_, address)| address.trim().parse().ok());
                kept.lock().unwrap().push(line);
                address
            });
            // The pipe is read to the end, or the server would wait for its reader.
            std::thread::spawn(move || lines.for_each(|line| kept.lock().unwrap().push(line)));
            address
        });
        let address = found.await.unwrap().expect("the server listens");
        Self { child, address, log, _directory: directory }
    }

    pub(super) fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Waits until the log has a line with this part.
    pub(super) async fn wait_for_line(&self, part: &str) {
        let waits = async {
            while !self.log().contains(part) {
                tokio::task::yield_now().await;
            }
        };
        let found = tokio::time::timeout(TIMEOUT, waits).await;
        assert!(found.is_ok(), "{part} in {}", self.log());
    }

    pub(super) fn send(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Sends a signal that has no name.
    pub(super) fn send_number(&self, signal: i32) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([format!("-{signal}"), id]).status().unwrap().success());
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap()
    }

    /// Opens a connection and sends this text.
    pub(super) async fn connect(&self, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    /// Sends a GET request on a new connection. Returns the whole answer.
    pub(super) async fn get(&self, path: &str) -> std::io::Result<String> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: pay.example.com\r\nConnection: close\r\n\r\n");
        let mut answer = String::new();
        self.connect(&request).await.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    /// A file of `/proc/PID`.
    pub(super) fn read_proc(&self, name: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{name}", self.child.id())).unwrap()
    }

    /// Waits until the process has exited. Returns the exit code; `None` on timeout or if a signal has ended it.
    pub(super) async fn wait_for_exit(&mut self) -> Option<i32> {
        let waits = async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status.code();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(TIMEOUT, waits).await.ok().flatten()
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
