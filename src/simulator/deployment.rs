//! The server instances behind the proxy. A scenario can roll out, kill or freeze an instance, and another one takes over.

use std::path::Path;

use anyhow::Context as _;
use rustix::process::Signal;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::RwLock;
use url::Url;

use super::operator;
use super::proxy::Proxy;
use super::runner::ACCOUNT_SID;
use super::scenario_ledger::{LedgerFault, ScenarioLedger};
use super::server_under_test::{self, Beside, CallTokens, ServerOverrides, ServerUnderTest};
use super::transcript::{LedgerRow, ServerSignal, Transcript, TranscriptEntry, TranscriptEvent};
use super::twilio::WebhookSender;
use crate::config::PostgresUrl;

/// The running instances.
#[derive(Debug)]
pub(super) struct Deployment {
    /// Points to the first instance, and after that was stopped or killed, to the next. Balances two processes.
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
    /// The instance that shares the ledger.
    peer: Option<ServerUnderTest>,
}

impl Deployment {
    /// Starts the first instance, and the one beside it if the scenario has one. `program` is what runs as a process.
    pub(super) async fn start(
        proxy: Proxy,
        listener: TcpListener,
        vars: Vec<(String, String)>,
        tuning: ServerOverrides,
        tokens: CallTokens,
        database: Option<&PostgresUrl>,
        program: &Path,
    ) -> anyhow::Result<Self> {
        let ledger = ScenarioLedger::new(database, tuning.small_disk).await?;
        let start = async |listener: TcpListener, ledger: ScenarioLedger, tokens: CallTokens| {
            ServerUnderTest::start(listener, vars.clone(), &tuning, ledger, tokens).await
        };
        let instances = if tuning.beside == Beside::Process {
            start_processes(program, &vars, &tuning, &ledger, &proxy).await?
        } else {
            let first = start(listener, ledger.clone(), tokens.clone()).await?;
            let (mut next, mut peer) = (None, None);
            if tuning.beside == Beside::Standby {
                let (listener, _) = server_under_test::bind_listener().await?;
                let ledger = ScenarioLedger::new(database, false).await?;
                next = Some(start(listener, ledger, CallTokens::default()).await?);
            }
            if tuning.beside == Beside::Peer {
                // A server looks for others when it starts.
                first.wait_until_ready().await?;
                let (listener, address) = server_under_test::bind_listener().await?;
                peer = Some(start(listener, ledger.clone(), CallTokens::default()).await?);
                proxy.set_request_target(address);
            }
            ServerInstances { first, next, peer }
        };
        Ok(Self { proxy, vars, overrides: tuning, ledger, tokens, instances: RwLock::new(instances) })
    }

    /// Wakes every process that a script has left frozen.
    pub(super) async fn wake_all(&self) -> anyhow::Result<()> {
        let ServerInstances { first, peer, .. } = &mut *self.instances.write().await;
        if self.overrides.beside != Beside::Process {
            return Ok(());
        }
        // It changes nothing for a process that runs or has ended.
        std::iter::once(first).chain(peer).try_for_each(|server| server.signal(Signal::CONT))
    }

    /// Sends a signal to the process that has the newest socket, or wakes the one that is frozen.
    pub(super) async fn signal_server(&self, signal: ServerSignal, transcript: &Transcript) -> anyhow::Result<()> {
        transcript.record(TranscriptEvent::ServerSignalled(signal));
        if signal == ServerSignal::Wake {
            return self.wake_all().await;
        }
        let mut instances = self.instances.write().await;
        let ServerInstances { first, peer, .. } = &mut *instances;
        let owner = self.proxy.newest_socket_target();
        let mut servers = std::iter::once(first).chain(peer);
        let server = servers.find(|server| server.address() == owner).context("no server has the call")?;
        match signal {
            ServerSignal::Kill => server.kill().await,
            ServerSignal::Freeze => server.signal(Signal::STOP),
            _ => server.signal(Signal::TERM),
        }
    }

    /// Tells the first instance to stop, and checks that it rejects new calls. Then points the proxy to the next
    /// instance, if there is one.
    pub(super) async fn roll_out(&self, webhooks: &WebhookSender, transcript: &Transcript) {
        let mut instances = self.instances.write().await;
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
        let mut payments = instances.lister().await.payments(transcript).await;
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
            Some(mut peer) => peer.shut_down_beside(transcript).await,
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

impl ServerInstances {
    /// The instance that lists the payments: the first one, unless another one shares its ledger and the first is gone.
    async fn lister(&self) -> &ServerUnderTest {
        match &self.peer {
            Some(peer) if self.first.get_status("/ready").await == 0 => peer,
            _ => &self.first,
        }
    }
}

/// Starts two processes on one ledger, and balances them.
async fn start_processes(
    program: &Path,
    vars: &[(String, String)],
    tuning: &ServerOverrides,
    ledger: &ScenarioLedger,
    proxy: &Proxy,
) -> anyhow::Result<ServerInstances> {
    let start = async || {
        let server = ServerUnderTest::start_process(program, vars.to_vec(), tuning, ledger.clone()).await?;
        server.wait_until_ready().await?;
        anyhow::Ok(server)
    };
    // A server looks for others when it starts.
    let (first, peer) = (start().await?, start().await?);
    proxy.balance(vec![first.address(), peer.address()]);
    Ok(ServerInstances { first, next: None, peer: Some(peer) })
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
