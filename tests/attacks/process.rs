//! The real binary as a process of its own: its standard error is where the test wants it, and its memory can be read.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::server::{OPERATOR_TOKEN, REQUIRED_VARS, Server};

/// A server process, killed on drop.
pub(crate) struct Process {
    child: Child,
    pub(crate) server: Server,
    _directory: TempDir,
}

impl Process {
    /// Starts a server with the model at `openai`, these variables and this standard error, and waits until it responds.
    pub(crate) async fn start(openai: &str, vars: &[(&str, &str)], stderr: impl Into<Stdio>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_crelay-payments"));
        command.env_clear().current_dir(directory.path()).envs(REQUIRED_VARS).envs([
            ("OPENAI_BASE_URL", openai),
            ("TWILIO_API_BASE_URL", "http://127.0.0.1:9"),
            ("OPERATOR_TOKEN", OPERATOR_TOKEN),
            ("PORT", &port.to_string()),
        ]);
        let child = command.envs(vars.iter().copied()).stderr(stderr).spawn().unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        wait_until_listening(address).await;
        let server = Server::at(address);
        server.wait_for_calls(0).await;
        Self { child, server, _directory: directory }
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    }

    /// Kills the process at once, and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until the process has exited. Returns whether its exit code is 0.
    pub(crate) async fn wait_for_exit(mut self) -> bool {
        tokio::task::spawn_blocking(move || self.child.wait().unwrap().success()).await.unwrap()
    }

    /// A value of `/proc/PID/status` in KiB: `VmRSS` is the memory in use, `VmHWM` its peak.
    pub(crate) fn memory_kib(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.unwrap().trim().trim_end_matches(" kB").parse().unwrap()
    }
}

async fn wait_until_listening(address: SocketAddr) {
    let tries = async {
        while tokio::net::TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), tries).await.expect("the server listens");
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
