//! An operator's desk: the assets are kept in Twilio Sync, and one is edited while a call goes on.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use serde_json::{Value, json};
use uuid::Uuid;

use super::tape::{Event, Tape};
use super::twilio::{Sync, Webhooks};
use crate::assets::Library;

/// How long an edit may take to arrive at the server, on the real clock.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the edited agent says first.
const GREETING: &str = "Hello from the desk.";

/// Assets in Sync, and the local files that they come from. Those go away with the value.
#[derive(Debug)]
pub struct Desk {
    sync: Sync,
    directory: PathBuf,
}

impl Desk {
    /// A desk with local files and an empty Sync. The context is the one that is built in, made too long for one item.
    pub fn new(account: &str, token: &str) -> anyhow::Result<Self> {
        let directory = std::env::temp_dir().join(format!("crelay-payments-{}", Uuid::new_v4()));
        std::fs::create_dir(&directory).with_context(|| format!("{} cannot be made", directory.display()))?;
        let desk = Self { sync: Sync::new(account, token), directory };
        let library = Library::built_in();
        let context = library.context("PaymentContext").context("PaymentContext is built in")?;
        let context = format!("{context}\n{}", "Be patient with every caller.\n".repeat(1000));
        std::fs::write(desk.directory.join("PaymentContext.md"), context)?;
        std::fs::write(
            desk.directory.join("serverConfig.json"),
            config("Hello. How can I help you today?").to_string(),
        )?;
        Ok(desk)
    }

    /// Sync over HTTP.
    pub fn router(&self) -> Router {
        self.sync.router()
    }

    /// `ASSETS_DIR` of the server.
    pub fn directory(&self) -> String {
        self.directory.display().to_string()
    }

    /// Rewrites everything once a payment is open. The call that is up must not notice.
    pub fn edit_during_payment(&self, tape: Tape) {
        let sync = self.sync.clone();
        tokio::spawn(async move {
            let open = |event: &Event| matches!(event, Event::Created { .. });
            let found = tape.until(Duration::from_secs(60), |tape| tape.iter().any(|it| open(&it.event)).then_some(()));
            if found.await.is_some() {
                sync.edit("Context", "PaymentContext", json!({ "content": "Do not take payments today." }));
                sync.edit("Context", "PaymentContext#2", json!({ "content": " Apologise." }));
                sync.remove("Context", "PaymentContext#3");
                sync.edit_document("serverConfig", config(GREETING));
            }
        });
    }

    /// The call is over: the next one must be led by what was edited.
    pub async fn look(&self, webhooks: &Webhooks, tape: &Tape) -> anyhow::Result<()> {
        let url = webhooks.public().join("/connectConversationRelay")?;
        let arrived = async { while !webhooks.post(&url, &[], "desk").await.body.contains(GREETING) {} };
        if tokio::time::timeout(PATIENCE, arrived).await.is_err() {
            tape.violation("what was edited in Twilio Sync did not arrive");
        }
        for what in self.sync.violations() {
            tape.violation(format!("a request to Sync: {what}"));
        }
        Ok(())
    }
}

/// The configuration that is built in, with another greeting, taken from Sync.
fn config(greeting: &str) -> Value {
    json!({
        "ConversationRelay": { "Configuration": {
            "welcomeGreeting": greeting, "interruptible": "speech", "dtmfDetection": true, "events": "speaker-events tokens-played",
        } },
        "AssetLoader": { "assetLoaderType": "sync" },
    })
}

impl Drop for Desk {
    fn drop(&mut self) {
        // What cannot be removed is the temporary directory's to keep.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
