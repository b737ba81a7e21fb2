//! The server instances behind the proxy. A scenario can roll out or kill an instance, and another one
//! takes over.

use serde_json::json;
use tokio::sync::RwLock;
use url::Url;

use super::operator;
use super::proxy::Proxy;
use super::runner::ACCOUNT_SID;
use super::scenario_ledger::{LedgerFault, ScenarioLedger};
use super::server_under_test::{self, Beside, CallTokens, ServerOverrides, ServerUnderTest};
use super::transcript::{LedgerRow, Transcript, TranscriptEntry, TranscriptEvent};
use super::twilio::WebhookSender;
use crate::config::PostgresUrl;

/// The running instances.
#[derive(Debug)]
pub(super) struct Deployment {
    /// Points to the first instance, and after that was stopped or killed, to the next.
    pub proxy: Proxy,
    /// The environment variables of every instance.
    vars: Vec<(String, String)>,
    overrides: ServerOverrides,
    /// The ledger of the first instance.
    ledger: ScenarioLedger,
    /// The tokens of the calls of the first instance.
    tokens: CallTokens,
    instances: RwLock<ServerInstances>,
}

#[derive(Debug)]
struct ServerInstances {
    /// The instance that runs when the call begins, or the one that replaced it on its ledger.
    first: ServerUnderTest,
    /// The instance that takes over in a roll-out.
    next: Option<ServerUnderTest>,
    /// The instance that shares the ledger, and gets the requests.
    peer: Option<ServerUnderTest>,
}

impl Deployment {
    /// Starts the first instance, and a standby if the scenario has one.
    pub(super) async fn start(
        proxy: Proxy,
        listener: tokio::net::TcpListener,
        vars: Vec<(String, String)>,
        tuning: ServerOverrides,
        tokens: CallTokens,
        database: Option<&PostgresUrl>,
    ) -> anyhow::Result<Self> {
        let next = if tuning.beside == Beside::Standby {
            Some(
                ServerUnderTest::start(
                    server_under_test::bind_listener().await?.0,
                    vars.clone(),
                    &tuning,
                    ScenarioLedger::new(database, false).await?,
                    CallTokens::default(),
                )
                .await?,
            )
        } else {
            None
        };
        let ledger = ScenarioLedger::new(database, tuning.small_disk).await?;
        let first = ServerUnderTest::start(listener, vars.clone(), &tuning, ledger.clone(), tokens.clone()).await?;
        let peer = if tuning.beside == Beside::Peer {
            // A server looks for others when it starts.
            first.wait_until_ready().await?;
            let (listener, address) = server_under_test::bind_listener().await?;
            let own = CallTokens::default();
            let peer = ServerUnderTest::start(listener, vars.clone(), &tuning, ledger.clone(), own).await?;
            proxy.set_request_target(address);
            Some(peer)
        } else {
            None
        };
        let instances = RwLock::new(ServerInstances { first, next, peer });
        Ok(Self { proxy, vars, overrides: tuning, ledger, tokens, instances })
    }

    /// Tells the first instance to stop, and checks that it rejects new calls. Then points the proxy to the next
    /// instance, if there is one.
    pub(super) async fn roll_out(&self, webhooks: &WebhookSender, transcript: &Transcript) {
        let instances = self.instances.read().await;
        instances.first.drain();
        let ready = instances.first.get_status("/ready").await;
        let voice = match webhooks.public_url().join("/connectConversationRelay") {
            Ok(url) => post_incoming_call(webhooks, &url).await,
            Err(_) => 0,
        };
        let somebody = json!({"properties": {"phoneNumber": "+15550100003"}});
        let order = operator::post_order(&self.proxy, "/outboundCall", &somebody).await.map_or(0, |(status, _)| status);
        transcript.record(TranscriptEvent::DrainStarted { ready, voice, order });
        if let Some(next) = &instances.next {
            self.proxy.set_target(next.address());
        }
    }

    /// Kills the first instance and starts another one on its ledger. Requests meanwhile wait in the accept queue of
    /// the new one.
    pub(super) async fn crash_and_restart(&self, transcript: &Transcript) -> anyhow::Result<()> {
        let (listener, address) = server_under_test::bind_listener().await?;
        let mut instances = self.instances.write().await;
        transcript.record(TranscriptEvent::ServerDied);
        self.proxy.set_target(address);
        instances.first.kill().await?;
        let (vars, ledger, tokens) = (self.vars.clone(), self.ledger.clone(), self.tokens.clone());
        instances.first = ServerUnderTest::start(listener, vars, &self.overrides, ledger, tokens).await?;
        Ok(())
    }

    /// Sets or clears a fault of the first instance's ledger.
    pub(super) async fn set_ledger_fault(
        &self,
        fault: Option<LedgerFault>,
        transcript: &Transcript,
    ) -> anyhow::Result<()> {
        match fault {
            Some(fault) => self.ledger.inject_fault(fault, transcript).await,
            None => self.ledger.clear_fault(transcript).await,
        }
    }

    /// Records the payments of the ledger, once they are settled and the business was notified of them, and of the ends
    /// of calls.
    pub(super) async fn record_ledger(&self, transcript: &Transcript) {
        let instances = self.instances.read().await;
        let mut payments = instances.first.payments(transcript).await;
        if let Some(next) = &instances.next {
            payments.extend(next.payments(transcript).await);
        }
        let _ = transcript
            .wait_until(server_under_test::WRITE_TIMEOUT, |entries| {
                let is_notified = payments.iter().all(|row| is_business_notified(entries, row));
                (is_notified && are_call_ends_notified(entries)).then_some(())
            })
            .await;
        transcript.record(TranscriptEvent::LedgerRead { payments });
    }

    /// Stops all instances once they have no calls. An error says which one did not stop correctly.
    pub(super) async fn shut_down(self, transcript: &Transcript) -> Result<(), String> {
        let ServerInstances { first, next, peer } = self.instances.into_inner();
        let peer = match peer {
            Some(peer) => peer.shut_down_beside(transcript).await,
            None => Ok(()),
        };
        let first = first.shut_down(transcript).await;
        let next = match next {
            Some(next) => next.shut_down(transcript).await,
            None => Ok(()),
        };
        peer.and(first).and(next)
    }
}

/// Whether the business was notified of the current state of a payment.
fn is_business_notified(entries: &[TranscriptEntry], row: &LedgerRow) -> bool {
    let tells = |event: &TranscriptEvent| matches!(event, TranscriptEvent::BusinessNotified { payment, state } if *payment == row.id && *state == row.state);
    entries.iter().any(|entry| tells(&entry.event))
}

/// Whether the business was notified of the end of each call that the server or the caller ended.
fn are_call_ends_notified(entries: &[TranscriptEntry]) -> bool {
    let is_end =
        |event: &TranscriptEvent| matches!(event, TranscriptEvent::EndFrame { .. } | TranscriptEvent::CallerHungUp);
    let ended = entries.iter().filter(|entry| is_end(&entry.event));
    ended.map(|entry| entry.call_number).all(|call| {
        let tells = |entry: &TranscriptEntry| {
            entry.call_number == call && matches!(entry.event, TranscriptEvent::CallEndNotified { .. })
        };
        entries.iter().any(tells)
    })
}

/// Posts another incoming call, and returns the status of the response.
async fn post_incoming_call(webhooks: &WebhookSender, url: &Url) -> u16 {
    let form =
        [("AccountSid", ACCOUNT_SID), ("CallSid", "CA000000000000000000000000000000ff"), ("CallStatus", "ringing")];
    let form = form.map(|(name, value)| (name.to_owned(), value.to_owned()));
    webhooks.post(url, &form, "another call").await.status
}
