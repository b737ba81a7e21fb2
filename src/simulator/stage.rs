//! Sets the stage for a scenario: the stand-ins, the server between them, the phones, and the tape.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::serve::ListenerExt;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::business::{self, Business};
use super::caller::{Caller, Step};
use super::deployment::{Deployment, Proxy};
use super::desk::Desk;
use super::house;
use super::interactive;
use super::openai::{Live, OpenAi};
use super::operator::OPERATOR_TOKEN;
use super::pace::Pace;
use super::relay::{ANOTHER_CALLER, CALLER, Relay};
use super::scenario::{self, Scenario};
use super::tape::{Entry, Event, Tape};
use super::twilio::{self, Account, Twilio, Webhooks, call_sid};
use super::{Model, Outcome};
use crate::twilio::Signer;

const ACCOUNT: &str = "AC00000000000000000000000000000001";
const AUTH_TOKEN: &str = "simulated-auth-token";
const API_KEY: &str = "sk-simulated";
/// How long the server may take to put away what the call has left behind.
const AFTERMATH: Duration = Duration::from_secs(3);

/// How calls are played.
pub struct Stage {
    pace: Pace,
    model: Model,
    watcher: Arc<dyn Fn(&Entry) + Send + Sync>,
}

/// Everything that is up while a call is played.
struct Set {
    tape: Tape,
    twilio: Twilio,
    webhooks: Webhooks,
    relay: Relay,
    deployment: Deployment,
    desk: Option<Desk>,
    stand_ins: [JoinHandle<()>; 3],
}

impl Stage {
    /// As fast as it goes, unseen.
    pub fn fast() -> Self {
        Self::with_model(Model::Scripted)
    }

    /// As fast as the model goes, unseen.
    pub fn with_model(model: Model) -> Self {
        let pace = if matches!(model, Model::Scripted) { Pace::FAST } else { Pace::LIVE };
        Self { pace, model, watcher: Arc::new(|_| {}) }
    }

    /// At this pace, with somebody watching.
    pub fn shown(pace: Pace, model: Model, watcher: impl Fn(&Entry) + Send + Sync + 'static) -> Self {
        Self { pace, model, watcher: Arc::new(watcher) }
    }

    /// Plays a scenario to its end.
    pub async fn play(&self, scenario: &Scenario) -> anyhow::Result<Outcome> {
        let began = Instant::now();
        let set = self.set_up(scenario).await?;
        let first = play_line(self.caller(&set, set.relay.clone()), &scenario.script);
        if scenario.other_line.is_empty() {
            first.await;
        } else {
            let other = self.caller(&set, set.relay.another_call(ANOTHER_CALLER));
            tokio::join!(first, play_line(other, &scenario.other_line));
        }
        self.wind_up(set, scenario, &scenario.entered(), began).await
    }

    /// A person plays the caller of a scenario.
    pub async fn play_with_a_person(&self, scenario: &Scenario) -> anyhow::Result<Outcome> {
        let began = Instant::now();
        let (script, other_line, expect) = (Vec::new(), Vec::new(), Vec::new());
        let scenario = Scenario { script, other_line, expect, ..scenario.clone() };
        let set = self.set_up(&scenario).await?;
        let entered = interactive::converse(self.caller(&set, set.relay.clone())).await;
        self.wind_up(set, &scenario, &entered, began).await
    }

    /// A caller whose phone rings.
    fn caller<'a>(&self, set: &'a Set, relay: Relay) -> Caller<'a> {
        let lenient = matches!(self.model, Model::Live { .. });
        let patience = Duration::from_secs(if lenient { 60 } else { 15 });
        Caller::begin(relay, &set.deployment, patience, lenient)
    }

    async fn set_up(&self, scenario: &Scenario) -> anyhow::Result<Set> {
        let watcher = self.watcher.clone();
        let tape = Tape::new(move |entry| watcher(entry));
        let signer = Signer::new(&SecretString::from(AUTH_TOKEN));
        let (door, local) = house::door().await?;
        let proxy = Proxy::new(local);
        let webhooks = Webhooks::new(proxy.clone(), house::PUBLIC.parse()?, signer.clone())?;
        let account = Account { sid: ACCOUNT.to_owned(), token: AUTH_TOKEN.to_owned() };
        let twilio = Twilio::new(account, scenario.twilio.clone(), self.pace, webhooks.clone(), tape.clone());
        let openai = self.openai(scenario, &tape)?;
        let desk = scenario.server.sync.then(|| Desk::new(ACCOUNT, AUTH_TOKEN)).transpose()?;
        let sync = desk.as_ref().map(Desk::router).unwrap_or_default();
        let (twilio_at, twilio_serves) = stand_in(twilio::router(twilio.clone()).merge(sync)).await?;
        let (openai_at, openai_serves) = stand_in(openai.router()).await?;
        let knows = scenario.server.business;
        let business = Business::new(knows.unwrap_or_default(), tape.clone());
        let (business_at, business_serves) = stand_in(business.router()).await?;
        let mut vars = self.vars(&twilio_at, &openai_at, &business_at);
        if let Some(desk) = &desk {
            vars.push(("ASSETS_DIR".to_owned(), desk.directory()));
            desk.edit_during_payment(tape.clone());
        }
        if knows.is_some() {
            vars.push(("CALL_PARAMETERS_URL".to_owned(), format!("{business_at}{}", business::CALLS)));
        }
        let deployment = Deployment::start(proxy, door, vars, scenario.server.clone()).await?;
        probe(&webhooks, &tape).await;
        let relay = Relay {
            twilio: twilio.clone(),
            webhooks: webhooks.clone(),
            signer,
            begins: scenario.begins,
            person: CALLER,
            pace: self.pace,
            tape: tape.clone(),
        };
        let stand_ins = [twilio_serves, openai_serves, business_serves];
        Ok(Set { tape, twilio, webhooks, relay, deployment, desk, stand_ins })
    }

    /// The model: a stand-in, or one that passes everything on.
    fn openai(&self, scenario: &Scenario, tape: &Tape) -> anyhow::Result<OpenAi> {
        let (model, live) = match &self.model {
            Model::Live { api_key, model, base_url } => (model.as_str(), Some(Live::new(api_key.clone(), base_url)?)),
            Model::Scripted => {
                let chosen = scenario.server.vars.iter().find(|(name, _)| *name == "OPENAI_MODEL");
                (chosen.map_or("gpt-4o", |(_, model)| model), None)
            }
        };
        Ok(OpenAi::new(API_KEY, model, scenario.model.clone(), live, self.pace, tape.clone()))
    }

    /// The environment of the server.
    fn vars(&self, twilio: &str, openai: &str, business: &str) -> Vec<(String, String)> {
        let mut vars = vec![
            ("SERVER_BASE_URL", house::PUBLIC.to_owned()),
            ("TWILIO_API_BASE_URL", twilio.to_owned()),
            ("ACCOUNT_SID", ACCOUNT.to_owned()),
            ("AUTH_TOKEN", AUTH_TOKEN.to_owned()),
            ("FROM_NUMBER", "+15550100002".to_owned()),
            ("PAYMENT_CONNECTOR", "Default".to_owned()),
            ("OPERATOR_TOKEN", OPERATOR_TOKEN.to_owned()),
            ("OPENAI_API_KEY", API_KEY.to_owned()),
            ("PAYMENT_WEBHOOK_URL", format!("{business}{}", business::PAYMENTS)),
            ("PAYMENT_WEBHOOK_SECRET", business::SECRET.to_owned()),
            ("OPENAI_BASE_URL", format!("{openai}/v1")),
        ];
        if let Model::Live { model, .. } = &self.model {
            vars.push(("OPENAI_MODEL", model.clone()));
        }
        vars.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// The call is over: waits for what follows from it, stops everything, and looks at what happened.
    async fn wind_up(
        &self,
        set: Set,
        scenario: &Scenario,
        entered: &[String],
        began: Instant,
    ) -> anyhow::Result<Outcome> {
        let Set { tape, twilio, webhooks, deployment, desk, stand_ins, .. } = set;
        if let Err(error) = deployment.ledger_fails(None, &tape).await {
            tape.violation(format!("{error:#}"));
        }
        if twilio.has_late_results() {
            deployment.look(&tape).await;
            twilio.late_results();
        }
        let all_told = |entries: &[Entry]| {
            let count = |is: fn(&Event) -> bool| entries.iter().filter(|entry| is(&entry.event)).count();
            let ended = count(|event| matches!(event, Event::Ended { .. } | Event::EndedAgain { .. }));
            let told = count(|event| matches!(event, Event::Callback { terminal: Some(_), .. }));
            (twilio.open_sessions() == 0 && told >= ended).then_some(())
        };
        // What is missing then is told by the checks.
        let _ = tape.until(AFTERMATH, all_told).await;
        late_callback(&webhooks, &tape).await;
        if let Some(desk) = desk {
            desk.look(&webhooks, &tape).await?;
        }
        deployment.look(&tape).await;
        if let Err(what) = deployment.close(&tape).await {
            tape.violation(what);
        }
        stand_ins.iter().for_each(JoinHandle::abort);
        let entries = tape.entries();
        let own_words = matches!(self.model, Model::Live { .. });
        Ok(Outcome {
            name: scenario.name,
            about: scenario.about,
            checks: scenario::check(scenario, &entries, &tape.evidence(), entered, own_words),
            took: began.elapsed(),
            tape: entries,
        })
    }
}

/// Plays a caller to the end of the call.
async fn play_line(mut caller: Caller<'_>, script: &[Step]) {
    if let Err(what) = caller.follow(script).await {
        caller.tape.violation(format!("the caller waited in vain {what}"));
    }
    // A script that ends before the call does: the caller has nothing more to say.
    if !caller.line.over.is_finished() {
        let _ = caller.follow(&[Step::HangsUp]).await;
    }
}

/// Serves a stand-in on a free port; answers with its origin.
pub async fn stand_in(router: Router) -> anyhow::Result<(String, JoinHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port on 127.0.0.1")?;
    let origin = format!("http://{}", listener.local_addr()?);
    // Small frames that nobody answers: waiting for more of them would cost 40 ms each.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let serving = tokio::spawn(async move {
        // It ends with the call, by being aborted.
        let _ = axum::serve(listener, router).await;
    });
    Ok((origin, serving))
}

/// Strangers knock at every door that is Twilio's alone, before the call comes in.
async fn probe(webhooks: &Webhooks, tape: &Tape) {
    let form = [("CallSid".to_owned(), call_sid(1)), ("AccountSid".to_owned(), ACCOUNT.to_owned())];
    for path in ["/connectConversationRelay", "/payment-status-callback", "/connectAction", "/twilioStatusCallback"] {
        let Ok(url) = webhooks.public().join(path) else { continue };
        for signature in [None, Some("bm90IGEgc2lnbmF0dXJlIGF0IGFsbA==")] {
            let answer = webhooks.post_signed(&url, &form, "stranger", signature).await;
            if answer.status != 403 {
                let how = signature.map_or("without a signature", |_| "with a wrong signature");
                tape.violation(format!("{path} {how} was answered {}, not 403", answer.status));
            }
        }
    }
}

/// A callback comes for a call that is not known any more.
async fn late_callback(webhooks: &Webhooks, tape: &Tape) {
    let Ok(url) = webhooks.public().join("/payment-status-callback") else { return };
    let call = call_sid(1);
    let form = [("CallSid", &*call), ("Sid", "PK00000000000000000000000000000009"), ("Result", "caller-hung-up")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let answer = webhooks.post(&url, &form, "late").await;
    if answer.status != 204 {
        tape.violation(format!("a late callback was answered {}, not 204", answer.status));
    }
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stage(at {})", self.pace)
    }
}
