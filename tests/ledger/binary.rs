//! The real binary, which is killed and started again on the same file.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use uuid::Uuid;

use super::world::{SECRET, World};
use crate::server::openai::OpenAi;
use crate::server::{OPERATOR_TOKEN, Server};

/// Where a server works; it goes away with the test.
pub struct Home(PathBuf);

/// A server that is killed with the value.
pub struct Running {
    child: Child,
    pub server: Server,
}

impl Home {
    pub fn new() -> Self {
        let home = std::env::temp_dir().join(format!("crelay-payments-{}", Uuid::new_v4()));
        std::fs::create_dir(&home).unwrap();
        Self(home)
    }

    pub fn ledger(&self) -> PathBuf {
        self.0.join("data/crelay-payments.db")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crelay-payments"));
        command.env_clear().current_dir(&self.0);
        command
    }

    /// The command line, beside the server.
    pub async fn runs(&self, arguments: &[&str]) -> Output {
        let mut command = self.command();
        command.args(arguments);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    /// Starts a server and waits until it answers.
    pub async fn serves(&self, world: &World, openai: &OpenAi) -> Running {
        let command = self.server(world, openai);
        let running = tokio::task::spawn_blocking(move || Running::start(command)).await.unwrap();
        running.server.has_calls(0).await;
        running
    }

    /// Starts a server that has to give up.
    pub async fn starts_in_vain(&self, world: &World, openai: &OpenAi) -> Output {
        let mut command = self.server(world, openai);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    fn server(&self, world: &World, openai: &OpenAi) -> Command {
        let mut command = self.command();
        command.envs([
            ("SERVER_BASE_URL", "pay.example.com"),
            ("OPENAI_API_KEY", "sk-test"),
            ("OPENAI_BASE_URL", &openai.base_url),
            ("TWILIO_API_BASE_URL", &world.origin),
            ("ACCOUNT_SID", "AC1"),
            ("AUTH_TOKEN", "12345"),
            ("FROM_NUMBER", "+15550100002"),
            ("PAYMENT_CONNECTOR", "Default"),
            ("OPERATOR_TOKEN", OPERATOR_TOKEN),
            ("PAYMENT_WEBHOOK_URL", &format!("{}/business", world.origin)),
            ("PAYMENT_WEBHOOK_SECRET", SECRET),
            ("PORT", "0"),
        ]);
        command
    }
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let port = lines.find_map(|line| line.split_once("listening on 0.0.0.0:")?.1.trim().parse::<u16>().ok());
        // A pipe that nobody reads would fill up.
        std::thread::spawn(move || lines.for_each(drop));
        let server = Server::at(SocketAddr::from(([127, 0, 0, 1], port.expect("it listens"))));
        Self { child, server }
    }

    /// Ends it as the loss of its machine would.
    pub fn dies(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
