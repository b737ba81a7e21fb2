//! The server that is proved: this very program as a process of its own, with the most talkative log there is.

use std::io::{BufRead as _, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::oneshot;

use super::catch::{Catch, Place};
use crate::config::Vars;

/// How long the server may take to listen.
const STARTS: Duration = Duration::from_secs(30);

/// A server that runs until this is dropped.
#[derive(Debug)]
pub struct Server {
    process: Child,
    readers: Vec<JoinHandle<()>>,
    /// Where it listens.
    pub address: SocketAddr,
}

/// Why there is no server.
#[derive(Debug)]
pub enum NotStarted {
    /// The set-up cannot be used; the server has said why.
    Unusable(String),
    /// Something is wrong with this machine.
    Failed(anyhow::Error),
}

impl Server {
    /// Starts `program` in the directory `home`, and waits until it listens.
    pub async fn start(program: &Path, home: &Path, vars: &Vars, catch: &Catch) -> Result<Self, NotStarted> {
        let mut command = Command::new(program);
        command.arg("serve").env_clear().envs(vars.iter()).current_dir(home);
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().context("the server cannot be started").map_err(NotStarted::Failed)?;
        let (found, port) = oneshot::channel();
        let readers = [
            process.stderr.take().map(|it| reader(it, Some(found), catch.clone())),
            process.stdout.take().map(|it| reader(it, None, catch.clone())),
        ];
        let readers = readers.into_iter().flatten().collect();
        let mut server = Self { process, readers, address: (Ipv4Addr::LOCALHOST, 0).into() };
        match tokio::time::timeout(STARTS, port).await {
            Ok(Ok(port)) => server.address.set_port(port),
            Ok(Err(_)) => return Err(server.gave_up(catch)),
            Err(_) => return Err(NotStarted::Failed(anyhow::anyhow!("the server did not listen in time"))),
        }
        Ok(server)
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// Ends it, and waits for the last line of its log.
    pub fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        self.readers.drain(..).for_each(|reader| drop(reader.join()));
    }

    /// It has closed its log before it listened.
    fn gave_up(&mut self, catch: &Catch) -> NotStarted {
        let status = self.process.wait();
        self.stop();
        let said: String = catch.take().into_iter().map(|line| line.bytes).collect();
        match status {
            Ok(status) if status.code() == Some(2) => NotStarted::Unusable(said),
            _ => NotStarted::Failed(anyhow::anyhow!("the server gave up:\n{said}")),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Keeps all that is written, and tells the port once it is named. It ends with the process.
fn reader(from: impl Read + Send + 'static, mut found: Option<oneshot::Sender<u16>>, catch: Catch) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let (mut from, mut line) = (BufReader::new(from), Vec::new());
        while from.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
            let text = String::from_utf8_lossy(&line);
            let port = text.split_once("listening on 0.0.0.0:").and_then(|(_, port)| port.trim().parse().ok());
            if let Some((found, port)) = port.and_then(|port| Some((found.take()?, port))) {
                let _ = found.send(port);
            }
            catch.keep(Place::Log, text);
            line.clear();
        }
    })
}
