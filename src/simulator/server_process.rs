//! A server as a process of its own, which can be killed and frozen.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tracing::Level;

use super::create_temporary_directory;
use super::server_under_test::{DRAIN_TIMEOUT, HARD_STOP_TIMEOUT, wait_for_no_calls};
use super::transcript::lock;

/// How long the process may take until it listens.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Kills the process once the standard input ends, which it does with the simulator, however that ends.
const WATCH: &str = r#"read -r _; kill -KILL "$1""#;

/// What precedes the port in the log.
const LISTENS: &str = "address=127.0.0.1:";

/// A running server, killed on drop.
#[derive(Debug)]
pub(super) struct ServerProcess {
    child: Child,
    watch: Child,
    log: Arc<Mutex<String>>,
    is_draining: bool,
    /// Its working directory, in which there is no `.env`.
    _home: TempDir,
}

impl ServerProcess {
    /// Starts a server with these environment variables alone, and waits until it listens. Of a variable that is there twice
    /// the first value applies.
    pub(super) async fn start(program: &Path, vars: Vec<(String, String)>) -> anyhow::Result<(Self, SocketAddr)> {
        let home = create_temporary_directory()?;
        let mut command = Command::new(program);
        command.arg("serve").env_clear().envs(vars.into_iter().rev()).env("BIND", "127.0.0.1").env("PORT", "0");
        if tracing::enabled!(Level::DEBUG) {
            command.env("RUST_LOG", "crelay_payments=debug,info");
        }
        command.current_dir(home.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let watch = Command::new("sh").args(["-c", WATCH, "sh", &child.id().to_string()]).stdin(Stdio::piped()).spawn();
        let output = child.stderr.take().context("its log cannot be read")?;
        let log = Arc::<Mutex<String>>::default();
        let process =
            Self { child, watch: watch.context("the server cannot be watched")?, log, is_draining: false, _home: home };
        let (found, port) = oneshot::channel();
        let log = process.log.clone();
        std::thread::spawn(move || read_log(BufReader::new(output), &log, found));
        let port = tokio::time::timeout(START_TIMEOUT, port).await;
        let port =
            port.ok().and_then(Result::ok).with_context(|| format!("the server does not start:\n{}", process.log()))?;
        Ok((process, SocketAddr::from(([127, 0, 0, 1], port))))
    }

    /// Sends a signal, unless it has ended.
    pub(super) fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        self.is_draining |= signal == Signal::TERM;
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("the process has no id")?;
        kill_process(id, signal).context("the process cannot be signalled")
    }

    /// Stops it once it has no calls. One that drains must stop without a further signal, and one that was killed has. An
    /// error says that it did not stop correctly.
    pub(super) async fn stop(&mut self, address: SocketAddr) -> Result<(), String> {
        let has_ended = matches!(self.child.try_wait(), Ok(Some(_)));
        let (forgotten, limit) = if has_ended || self.is_draining {
            (Ok(()), DRAIN_TIMEOUT)
        } else {
            let forgotten = wait_for_no_calls(address).await;
            // The second one ends its calls.
            let signalled = self.signal(Signal::TERM).and_then(|()| self.signal(Signal::TERM));
            signalled.map_err(|error| format!("{error:#}"))?;
            (forgotten, HARD_STOP_TIMEOUT)
        };
        match self.wait_for_exit(limit).await {
            Some(status) if status.success() || status.signal() == Some(Signal::KILL.as_raw()) => forgotten,
            Some(status) => Err(format!("the server ended with {status}:\n{}", self.log())),
            None => Err(format!("the server did not stop within {} s:\n{}", limit.as_secs(), self.log())),
        }
    }

    /// Waits until it has ended. `None` if it has not in this time.
    pub(super) async fn wait_for_exit(&mut self, limit: Duration) -> Option<ExitStatus> {
        let ended = async {
            loop {
                if let Ok(Some(status)) = self.child.try_wait() {
                    // Another process may get the id.
                    let _ = self.watch.kill();
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(limit, ended).await.ok()
    }

    /// The log so far.
    pub(super) fn log(&self) -> String {
        lock(&self.log).clone()
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // The one that watches goes first, since another process may get the id.
        for child in [&mut self.watch, &mut self.child] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Reads the log to its end, or the server would block when the pipe is full. It is printed if that of a server in this
/// process would be.
fn read_log(lines: impl BufRead, log: &Mutex<String>, found: oneshot::Sender<u16>) {
    let mut found = Some(found);
    for line in lines.lines().map_while(Result::ok) {
        let port = line.split_once(LISTENS).and_then(|(_, rest)| rest.trim().parse().ok());
        if tracing::enabled!(Level::INFO) {
            eprintln!("{line}");
        }
        let mut log = lock(log);
        log.push_str(&line);
        log.push('\n');
        drop(log);
        if let Some((port, found)) = port.and_then(|port| Some((port, found.take()?))) {
            // The one that waits may have given up.
            let _ = found.send(port);
        }
    }
}
