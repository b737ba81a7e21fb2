//! Assets in Twilio Sync that an operator edits during a call.

use std::time::Duration;
use tempfile::TempDir;

use anyhow::Context;
use axum::Router;
use serde_json::{Value, json};

use super::create_temporary_directory;
use super::runner::ACCOUNT_SID;
use super::transcript::{Transcript, TranscriptEvent};
use super::twilio::{ScriptedSync, WebhookSender};
use crate::assets::Library;

/// How long an edit may take to reach the server, on the real clock.
const EDIT_TIMEOUT: Duration = Duration::from_secs(5);

/// The greeting after the edit.
const GREETING: &str = "Hello from the desk.";

/// Assets in Sync, and the local files that they are uploaded from. The files are removed on drop.
#[derive(Debug)]
pub(super) struct SyncEdits {
    sync: ScriptedSync,
    directory: TempDir,
}

impl SyncEdits {
    /// Creates local files and an empty Sync. The context is the built-in one, extended beyond the size of one item.
    pub(super) fn new(account: &str, token: &str) -> anyhow::Result<Self> {
        let directory = create_temporary_directory()?;
        let edits = Self { sync: ScriptedSync::new(account, token), directory };
        let library = Library::built_in();
        let context = library.context("PaymentContext").context("PaymentContext is built in")?;
        let context = format!("{context}\n{}", "Be patient with every caller.\n".repeat(1000));
        std::fs::write(edits.directory.path().join("PaymentContext.md"), context)?;
        std::fs::write(
            edits.directory.path().join("serverConfig.json"),
            server_config("Hello. How can I help you today?").to_string(),
        )?;
        Ok(edits)
    }

    /// Builds the router of Sync.
    pub(super) fn router(&self) -> Router {
        self.sync.router()
    }

    /// `ASSETS_DIR` of the server.
    pub(super) fn directory(&self) -> String {
        self.directory.path().display().to_string()
    }

    /// Edits all assets once a payment is open. The running call must not be affected.
    pub(super) fn edit_during_payment(&self, transcript: Transcript) {
        let sync = self.sync.clone();
        tokio::spawn(async move {
            let open = |event: &TranscriptEvent| matches!(event, TranscriptEvent::PaymentCreated { .. });
            let found = transcript.wait_until(Duration::from_secs(60), |transcript| {
                transcript.iter().any(|it| open(&it.event)).then_some(())
            });
            if found.await.is_some() {
                sync.put_item("Context", "PaymentContext", json!({ "content": "Do not take payments today." }));
                sync.put_item("Context", "PaymentContext#2", json!({ "content": " Apologise." }));
                sync.remove_item("Context", "PaymentContext#3");
                sync.put_document("serverConfig", server_config(GREETING));
            }
        });
    }

    /// Checks that the next call uses the edited assets.
    pub(super) async fn check_edits(&self, webhooks: &WebhookSender, transcript: &Transcript) -> anyhow::Result<()> {
        let url = webhooks.public_url().join("/connectConversationRelay")?;
        let form = [("AccountSid", ACCOUNT_SID), ("CallSid", "CA00000000000000000000000000000e01")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let arrived = async { while !webhooks.post(&url, &form, "sync-edits").await.body.contains(GREETING) {} };
        if tokio::time::timeout(EDIT_TIMEOUT, arrived).await.is_err() {
            transcript.record_violation("the server did not load the edits from Twilio Sync");
        }
        for what in self.sync.violations() {
            transcript.record_violation(format!("a request to Sync: {what}"));
        }
        Ok(())
    }
}

/// The built-in configuration with this greeting, loaded from Sync.
fn server_config(greeting: &str) -> Value {
    json!({
        "ConversationRelay": { "Configuration": {
            "welcomeGreeting": greeting, "interruptible": "speech", "dtmfDetection": true, "events": "speaker-events tokens-played",
        } },
        "AssetLoader": { "assetLoaderType": "sync" },
    })
}
