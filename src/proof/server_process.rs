//! Runs the server under test as a child process, with its log at `trace`.

use std::io::{BufRead as _, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::oneshot;

use super::capture::{OutputCapture, OutputChannel};
use crate::config::Vars;

/// The time in which the server must listen.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A server process, killed on drop.
#[derive(Debug)]
pub(super) struct ServerProcess {
    process: Child,
    readers: Vec<JoinHandle<()>>,
    /// The address on which the server listens.
    pub address: SocketAddr,
}

/// The reason why the server did not start.
#[derive(Debug)]
pub(super) enum StartServerError {
    /// The configuration is invalid: the server's error output.
    InvalidConfig(String),
    /// Any other failure.
    Failed(anyhow::Error),
}

impl ServerProcess {
    /// Starts `program` in the directory `home` and waits until it listens.
    pub(super) async fn start(
        program: &Path,
        home: &Path,
        vars: &Vars,
        capture: &OutputCapture,
    ) -> Result<Self, StartServerError> {
        let mut command = Command::new(program);
        command.arg("serve").env_clear().envs(vars.iter()).current_dir(home);
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().context("cannot start the server").map_err(StartServerError::Failed)?;
        let (found, port) = oneshot::channel();
        let readers = [
            process.stderr.take().map(|it| spawn_log_reader(it, Some(found), capture.clone())),
            process.stdout.take().map(|it| spawn_log_reader(it, None, capture.clone())),
        ];
        let readers = readers.into_iter().flatten().collect();
        let mut server = Self { process, readers, address: (Ipv4Addr::LOCALHOST, 0).into() };
        match tokio::time::timeout(START_TIMEOUT, port).await {
            Ok(Ok(port)) => server.address.set_port(port),
            Ok(Err(_)) => return Err(server.start_error(capture)),
            Err(_) => return Err(StartServerError::Failed(anyhow::anyhow!("the server did not listen in time"))),
        }
        Ok(server)
    }

    /// Whether the process is running.
    pub(super) fn is_running(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// Kills the process and reads its log to the end.
    pub(super) fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        self.readers.drain(..).for_each(|reader| drop(reader.join()));
    }

    /// The error for a process that closed its log before it listened. Exit code 2 means an invalid configuration.
    fn start_error(&mut self, capture: &OutputCapture) -> StartServerError {
        let status = self.process.wait();
        self.stop();
        let said: String = capture.take().into_iter().map(|line| line.bytes).collect();
        match status {
            Ok(status) if status.code() == Some(2) => StartServerError::InvalidConfig(said),
            _ => StartServerError::Failed(anyhow::anyhow!("the server exited:\n{said}")),
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Captures a stream line by line, and sends the port once a line names it. The thread ends with the process.
fn spawn_log_reader(
    from: impl Read + Send + 'static,
    mut found: Option<oneshot::Sender<u16>>,
    capture: OutputCapture,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let (mut from, mut line) = (BufReader::new(from), Vec::new());
        while from.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
            let text = String::from_utf8_lossy(&line);
            let port = text.split_once("address=127.0.0.1:").and_then(|(_, port)| port.trim().parse().ok());
            if let Some((found, port)) = port.and_then(|port| Some((found.take()?, port))) {
                let _ = found.send(port);
            }
            capture.record(OutputChannel::Log, text);
            line.clear();
        }
    })
}
