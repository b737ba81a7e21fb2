//! Runs the real binary as a child process that can be killed and restarted on the same ledger.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use uuid::Uuid;

use super::stand_ins::{SECRET, StandIns};
use crate::server::{OPERATOR_TOKEN, REQUIRED_VARS, Server};
use crelay_payments::simulator::QueuedOpenAi;

/// The working directory of a server, removed on drop.
pub(crate) struct WorkDir {
    directory: PathBuf,
    /// Whether a small file system is mounted as the data directory.
    is_small: bool,
}

/// A server process, killed on drop.
pub(crate) struct ServerProcess {
    child: Child,
    pub server: Server,
    pub port: u16,
    log: Arc<Mutex<Vec<String>>>,
}

impl WorkDir {
    pub(crate) fn new() -> Self {
        let work_dir = std::env::temp_dir().join(format!("crelay-payments-{}", Uuid::new_v4()));
        std::fs::create_dir(&work_dir).unwrap();
        Self { directory: work_dir, is_small: false }
    }

    /// Creates a working directory whose data directory has this size. Returns `None` if this process may not mount a
    /// file system.
    pub(crate) fn with_size(kib: u32) -> Option<Self> {
        let mut work_dir = Self::new();
        std::fs::create_dir(work_dir.data_dir()).unwrap();
        let size = format!("size={kib}k,mode=700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(work_dir.data_dir()).stderr(Stdio::null());
        work_dir.is_small = mount.status().is_ok_and(|status| status.success());
        if !work_dir.is_small {
            eprintln!("skipped: this process may not mount a file system");
        }
        work_dir.is_small.then_some(work_dir)
    }

    /// Fills the data directory.
    pub(crate) fn fill(&self) {
        let mut filler = std::fs::File::create(self.data_dir().join("filler")).unwrap();
        while filler.write(&[0; 1024]).is_ok_and(|written| written > 0) {}
    }

    pub(crate) fn free_space(&self) {
        std::fs::remove_file(self.data_dir().join("filler")).unwrap();
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Writes `serverConfig.json` for the servers that start from now on.
    pub(crate) fn write_server_config(&self, text: &str) {
        std::fs::create_dir_all(self.directory.join("assets")).unwrap();
        std::fs::write(self.directory.join("assets/serverConfig.json"), text).unwrap();
    }

    pub(crate) fn ledger_path(&self) -> PathBuf {
        self.data_dir().join("crelay-payments.db")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crelay-payments"));
        command.env_clear().current_dir(&self.directory);
        command
    }

    /// Runs a command of the binary next to the server.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(&[], arguments).await
    }

    pub(crate) async fn run_with(&self, vars: &[(&str, &str)], arguments: &[&str]) -> Output {
        let mut command = self.command();
        command.args(arguments).envs(vars.iter().copied());
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    /// Starts a server and waits until it responds.
    pub(crate) async fn serve(&self, stand_ins: &StandIns, openai: &QueuedOpenAi) -> ServerProcess {
        self.serve_with(stand_ins, openai, &[]).await
    }

    pub(crate) async fn serve_with(
        &self,
        stand_ins: &StandIns,
        openai: &QueuedOpenAi,
        arguments: &[&str],
    ) -> ServerProcess {
        let mut command = self.server(stand_ins, openai);
        command.args(arguments);
        let running = tokio::task::spawn_blocking(move || ServerProcess::start(command)).await.unwrap();
        running.server.wait_for_calls(0).await;
        running
    }

    /// Starts a server with further variables.
    pub(crate) async fn serve_with_vars(
        &self,
        stand_ins: &StandIns,
        openai: &QueuedOpenAi,
        vars: &[(&str, &str)],
    ) -> ServerProcess {
        let mut command = self.server(stand_ins, openai);
        command.envs(vars.iter().copied());
        let running = tokio::task::spawn_blocking(move || ServerProcess::start(command)).await.unwrap();
        running.server.wait_for_calls(0).await;
        running
    }

    /// Starts a server that must exit, and returns its output.
    pub(crate) async fn start_expecting_exit(&self, stand_ins: &StandIns, openai: &QueuedOpenAi) -> Output {
        self.start_expecting_exit_with(stand_ins, openai, &[]).await
    }

    pub(crate) async fn start_expecting_exit_with(
        &self,
        stand_ins: &StandIns,
        openai: &QueuedOpenAi,
        vars: &[(&str, &str)],
    ) -> Output {
        let mut command = self.server(stand_ins, openai);
        command.envs(vars.iter().copied()).stderr(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        if !has_ended(&mut child).await {
            child.kill().unwrap();
        }
        tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap()
    }

    fn server(&self, stand_ins: &StandIns, openai: &QueuedOpenAi) -> Command {
        let mut command = self.command();
        command.envs(REQUIRED_VARS).envs([
            ("OPENAI_BASE_URL", openai.base_url()),
            ("TWILIO_API_BASE_URL", &stand_ins.origin),
            ("OPERATOR_TOKEN", OPERATOR_TOKEN),
            ("PAYMENT_WEBHOOK_URL", &format!("{}/business", stand_ins.origin)),
            ("PAYMENT_WEBHOOK_SECRET", SECRET),
            ("BIND", "127.0.0.1"),
            ("PORT", "0"),
        ]);
        command
    }
}

impl ServerProcess {
    fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let log = Arc::new(Mutex::new(Vec::new()));
        let port = lines.find_map(|line| {
            let port = line.split_once("address=127.0.0.1:").and_then(|(_, port)| port.trim().parse::<u16>().ok());
            log.lock().unwrap().push(line);
            port
        });
        // The pipe must be read to the end, or the server blocks when it is full.
        let kept = log.clone();
        std::thread::spawn(move || lines.for_each(|line| kept.lock().unwrap().push(line)));
        let port = port.expect("the server listens");
        let server = Server::at(SocketAddr::from(([127, 0, 0, 1], port)));
        Self { child, server, port, log }
    }

    /// The log so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Waits until the log names this event.
    pub(crate) async fn wait_for_log(&self, event: &str) {
        for _ in 0..3_000 {
            if self.log().contains(event) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("no {event} in the log:\n{}", self.log());
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    /// Waits until the process has exited. Returns whether its exit code is 0.
    pub(crate) async fn wait_for_exit(&mut self) -> bool {
        has_ended(&mut self.child).await && self.child.wait().unwrap().success()
    }

    /// Kills the process with SIGKILL.
    pub(crate) fn kill(mut self) {
        self.kill_now();
    }

    /// Kills the process with SIGKILL, and keeps its log.
    pub(crate) fn kill_now(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Waits until a process has exited. Returns false on timeout.
async fn has_ended(child: &mut Child) -> bool {
    for _ in 0..2_000 {
        if child.try_wait().unwrap().is_some() {
            return true;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    false
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        if self.is_small {
            let _ = Command::new("umount").arg("-l").arg(self.data_dir()).status();
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
