//! The workloads: what the callers do, and which figures come of it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use anyhow::Context as _;
use clap::ValueEnum;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use secrecy::SecretString;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::BenchOptions;
use super::call::{ACCOUNT_SID, AUTH_TOKEN, Line, LoadCall, PUBLIC_URL, Probes, TurnEnd};
use super::consoles::OpenConsoles;
use super::measure::{Measurements, Span};
use super::model::{LoadModel, ModelPace, ModelScript};
use super::model_server::ModelServer;
use super::outcomes::{OPERATOR_TOKEN, PaymentFacts, count_states};
use super::process::{Cores, Subject};
use super::report::Goal;
use super::soak::{self, SoakCounts};
use super::twilio::LoadTwilio;
use super::webhooks;
use crate::simulator::LocalServer;
use crate::simulator::load::{PaymentResult, PaymentSession, WebhookSender};
use crate::simulator::proxy::Proxy;
use crate::twilio::Signer;

/// How many calls are opened at once.
const OPENING: usize = 64;

/// How many calls pay at once.
const PAYING: usize = 50;

/// The calls that are opened and closed.
const CHURNED_CALLS: usize = 10_000;

/// The pause between two keys of a soak, at most: its calls are many.
const SOAK_KEY_PAUSE: Duration = Duration::from_millis(5);

/// How often the program is started.
const STARTS: usize = 9;

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    /// How fast the program starts, and its memory then
    Start,
    /// Voice webhooks with a signature, over 1 and over 32 connections
    Twiml,
    /// Calls that talk: latency, CPU time and memory
    Talk,
    /// Calls whose every turn calls a tool
    Tools,
    /// Payments that the agent leads, with a callback for each key
    Payments,
    /// Payments that the server leads (`"flow": "guided"`)
    Guided,
    /// Payment callbacks at a fixed rate
    Callbacks,
    /// Calls that are opened and closed, and the memory after them
    Churn,
    /// Calls that talk, without and with ten open consoles
    Consoles,
    /// Payment calls in a row, with faults: wrong outcomes, and memory. Only if it is named
    Soak,
}

impl Workload {
    /// The name in saved results.
    fn id(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Twiml => "twiml",
            Self::Talk => "talk",
            Self::Tools => "tools",
            Self::Payments => "payments",
            Self::Guided => "guided",
            Self::Callbacks => "callbacks",
            Self::Churn => "churn",
            Self::Consoles => "consoles",
            Self::Soak => "soak",
        }
    }

    /// The workloads that are run if none is named.
    pub fn default_workloads() -> Vec<Self> {
        Self::value_variants().iter().copied().filter(|workload| *workload != Self::Soak).collect()
    }

    /// Whether the bare pipe can do it.
    pub(super) fn has_floor(self) -> bool {
        matches!(self, Self::Start | Self::Twiml | Self::Talk | Self::Churn)
    }

    fn model_script(self) -> ModelScript {
        match self {
            Self::Tools => ModelScript::ToolThenTalk,
            Self::Payments | Self::Guided | Self::Callbacks | Self::Soak => ModelScript::Payment,
            _ => ModelScript::Talk,
        }
    }

    fn server_config(self) -> Option<&'static str> {
        match self {
            Self::Guided => Some(r#"{"Payments": {"flow": "guided"}}"#),
            // All cards are the same, and many are declined. Nobody waits long for a model that stalls, or for lost keys.
            Self::Soak => Some(
                r#"{"Payments": {"stallSeconds": 5, "Limits": {"perHour": {"declines": null}, "cardTesting": null}},
                    "Model": {"firstTokenSeconds": 3}}"#,
            ),
            _ => None,
        }
    }
}

/// A figure of one program.
#[derive(Debug)]
pub(super) struct Figure {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) unit: &'static str,
    pub(super) value: Option<f64>,
    pub(super) goal: Option<Goal>,
}

/// The figures of a workload, and what the program must not have done.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) figures: Vec<Figure>,
    pub(super) violations: Vec<String>,
}

/// A program under test with its stand-ins.
struct Stage {
    workload: Workload,
    options: BenchOptions,
    line: Arc<Line>,
    twilio: LoadTwilio,
    subject: Subject,
    figures: Vec<Figure>,
    _stand_ins: (ModelServer, LocalServer),
    _home: TempDir,
}

/// Runs a workload on the server, or on the bare pipe.
pub(super) async fn run(
    workload: Workload,
    options: &BenchOptions,
    cores: &Cores,
    is_floor: bool,
    progress: &impl Fn(&str),
) -> anyhow::Result<Outcome> {
    let mut stage = Stage::start(workload, options, cores, is_floor).await?;
    match workload {
        Workload::Start => stage.start_again(cores, is_floor).await?,
        Workload::Twiml => stage.post_voice_webhooks().await?,
        Workload::Talk => stage.talk(options.calls).await?,
        Workload::Tools => stage.talk(options.calls.min(200)).await?,
        Workload::Payments | Workload::Guided => stage.pay().await?,
        Workload::Callbacks => stage.report_keys().await?,
        Workload::Churn => stage.open_and_close().await?,
        Workload::Consoles => stage.talk_beside_consoles(options.calls).await?,
        Workload::Soak => stage.soak(progress).await?,
    }
    stage.finish().await
}

impl Stage {
    async fn start(workload: Workload, options: &BenchOptions, cores: &Cores, is_floor: bool) -> anyhow::Result<Self> {
        let home = TempDir::new()?;
        let fault_seed = (workload == Workload::Soak).then_some(options.seed);
        let (probes, measured) = (Arc::new(Probes::new(is_floor, fault_seed)), Arc::new(Measurements::default()));
        let proxy = Proxy::new(SocketAddr::from(([127, 0, 0, 1], 0)));
        let signer = Signer::new(&SecretString::from(AUTH_TOKEN));
        let webhooks = WebhookSender::new(proxy.clone(), PUBLIC_URL.parse()?, signer)?;
        let pace = ModelPace { thinking: options.thinking, spacing: options.spacing, tokens: options.tokens };
        let pace = match workload.model_script() {
            ModelScript::Payment => {
                ModelPace { thinking: Duration::from_millis(20), spacing: Duration::from_millis(1), ..pace }
            }
            ModelScript::ToolThenTalk => ModelPace { thinking: Duration::from_millis(300), ..pace },
            ModelScript::Talk => pace,
        };
        let model = LoadModel::new(workload.model_script(), pace, probes.clone(), measured.clone());
        let model = ModelServer::start(model.router(), &options.wire).await?;
        let key_pause = match workload {
            Workload::Callbacks => None,
            Workload::Soak => Some(options.key_pause.min(SOAK_KEY_PAUSE)),
            _ => Some(options.key_pause),
        };
        let twilio = LoadTwilio::new(probes.clone(), measured.clone(), webhooks.clone(), key_pause)?;
        let twilio_server = LocalServer::start(twilio.clone().router()).await?;
        let (arguments, mut vars) = if is_floor {
            (["bench", "--serve-floor"].as_slice(), vec![("MODEL".to_owned(), format!("{}/v1", model.origin))])
        } else {
            (["serve"].as_slice(), environment(home.path(), &model.origin, twilio_server.origin(), workload)?)
        };
        if let Some(file) = model.write_certificates(home.path())? {
            vars.push(("SSL_CERT_FILE".to_owned(), file.display().to_string()));
        }
        // The faults of a soak are those of HTTP.
        if options.wire.is_websocket && workload != Workload::Soak {
            vars.push(("OPENAI_TRANSPORT".to_owned(), "websocket".to_owned()));
        }
        let subject = Subject::start(&options.program, arguments, &vars, home.path(), cores).await?;
        proxy.set_target(subject.address);
        // The server itself asks a caller who pays whether to go on.
        let is_exact = !is_floor && workload.model_script() != ModelScript::Payment;
        let line = Arc::new(Line { probes, measured, is_exact, webhooks, address: subject.address });
        Ok(Self {
            workload,
            options: options.clone(),
            line,
            twilio,
            subject,
            figures: Vec::new(),
            _stand_ins: (model, twilio_server),
            _home: home,
        })
    }

    fn measured(&self) -> &Measurements {
        &self.line.measured
    }

    fn add(&mut self, id: &str, title: impl Into<String>, unit: &'static str, value: Option<f64>, goal: Option<Goal>) {
        let id = format!("{}.{id}", self.workload.id());
        self.figures.push(Figure { id, title: title.into(), unit, value, goal });
    }

    fn add_latency(&mut self, span: Span, p50: Option<Goal>, p99: Option<Goal>) {
        for (name, quantile, goal) in [("p50", 0.5, p50), ("p99", 0.99, p99)] {
            let value = self.measured().quantile(span, quantile);
            self.add(&format!("{}.{name}", span.id()), format!("{}, {name}", span.title()), "ms", value, goal);
        }
    }

    /// Ends the program under test, and returns what was measured.
    async fn finish(self) -> anyhow::Result<Outcome> {
        let (count, kept) = self.measured().violations();
        let mut violations: Vec<String> =
            kept.into_iter().map(|what| format!("{}: {what}", self.workload.id())).collect();
        if count > violations.len() {
            violations.push(format!("{}: {} more", self.workload.id(), count - violations.len()));
        }
        let mut alerts = self.subject.alerts();
        if self.workload == Workload::Callbacks {
            // All callers hang up in the middle of their payments.
            alerts.retain(|line| !line.contains("payment.unsuccessful") && !line.contains("payment.ended_after_call"));
        }
        if self.line.probes.has_faults() {
            // The faults are logged as warnings, and what the server could not repair as errors.
            alerts.retain(|line| UNEXPECTED_ALERTS.iter().any(|event| line.contains(event)));
        }
        if !alerts.is_empty() && !self.line.probes.is_floor() {
            let count = alerts.len();
            alerts.truncate(3);
            violations.push(format!("{}: {count} lines of the log above INFO, such as {alerts:?}", self.workload.id()));
        }
        if self.line.probes.is_floor() {
            drop(self.subject);
        } else {
            self.subject.stop().await?;
        }
        Ok(Outcome { figures: self.figures, violations })
    }

    // ---- the workloads ----

    async fn start_again(&mut self, cores: &Cores, is_floor: bool) -> anyhow::Result<()> {
        let (mut times, mut memory) = (Vec::new(), Vec::new());
        for _ in 0..STARTS {
            let stage = Self::start(self.workload, &self.options, cores, is_floor).await?;
            times.push(stage.subject.start_time.as_secs_f64() * 1000.0);
            memory.push(stage.subject.resident_kib()? / 1024.0);
            stage.finish().await?;
        }
        self.add("first_answer", "start to first answer, median", "ms", median(&mut times), Some(Goal::AtMost(25.0)));
        self.add("resident", "memory then", "MiB", median(&mut memory), Some(Goal::AtMost(14.0)));
        Ok(())
    }

    async fn post_voice_webhooks(&mut self) -> anyhow::Result<()> {
        for connections in [1, 32] {
            let length = self.options.length / 2;
            let (answered, elapsed) = webhooks::post_for(self.subject.address, connections, length).await?;
            #[expect(clippy::cast_precision_loss, reason = "a count")]
            let rate = answered as f64 / elapsed.as_secs_f64();
            let title = format!("signed voice webhooks, {connections} connections");
            self.add(&format!("rate_{connections}"), title, "1/s", Some(rate), None);
        }
        Ok(())
    }

    /// Opens this many calls, weighs them idle, and lets all of them talk for the length of the workload.
    async fn talk(&mut self, calls: usize) -> anyhow::Result<()> {
        let empty = self.subject.resident_kib()?;
        let open = self.open_calls(calls).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let idle = self.subject.resident_kib()?;
        let talking = self.begin_to_talk(open).await?;
        let cpu = self.measure_talk().await?;
        let full = self.subject.resident_kib()?;
        self.end_talk(talking).await?;
        #[expect(clippy::cast_precision_loss, reason = "a count")]
        let calls = calls as f64;
        if self.workload == Workload::Talk {
            self.add(
                "cpu_per_1000_turns",
                "CPU time of 1,000 turns",
                "s",
                Some(cpu.of_1000_turns),
                Some(Goal::TimesFloor(1.5)),
            );
            self.add("cpu_share", "CPU time of a second", "%", Some(cpu.share), None);
            self.add_latency(Span::PromptToRequest, None, Some(Goal::FloorPlus(0.5)));
            self.add_latency(Span::TokenToFrame, None, Some(Goal::FloorPlus(0.5)));
            self.add(
                "idle_call",
                "memory of an idle call",
                "KiB",
                Some((idle - empty) / calls),
                Some(Goal::AtMost(16.0)),
            );
            self.add(
                "talking_call",
                "memory of a talking call",
                "KiB",
                Some((full - empty) / calls),
                Some(Goal::AtMost(64.0)),
            );
        } else {
            self.add_latency(Span::ToolTurn, Some(Goal::AtMost(2.0)), Some(Goal::AtMost(6.0)));
        }
        Ok(())
    }

    /// Lets calls talk, at times that are spread over a turn. Returns after the first turns of all.
    async fn begin_to_talk(&self, open: Vec<LoadCall>) -> anyhow::Result<Talking> {
        let mut talking = Talking { stop: Arc::default(), calls: JoinSet::new() };
        let cycle = self.options.thinking + self.options.spacing * u32::try_from(self.options.tokens)?;
        let calls = open.len();
        for (number, call) in open.into_iter().enumerate() {
            let (stop, line) = (talking.stop.clone(), self.line.clone());
            let delay = cycle.mul_f64(share(number, calls));
            talking.calls.spawn(async move {
                tokio::time::sleep(delay).await;
                converse(call, &line, &stop).await
            });
        }
        // The first turn of each call opens its connection to the model, and is checked in full.
        tokio::time::sleep(cycle * 2 + Duration::from_secs(1)).await;
        Ok(talking)
    }

    /// Measures talking calls for the length of the workload.
    async fn measure_talk(&self) -> anyhow::Result<TalkCpu> {
        let (began, cpu) = (Instant::now(), self.subject.cpu_seconds()?);
        self.measured().start();
        tokio::time::sleep(self.options.length).await;
        self.measured().stop();
        let (elapsed, cpu) = (began.elapsed().as_secs_f64(), self.subject.cpu_seconds()? - cpu);
        #[expect(clippy::cast_precision_loss, reason = "a count")]
        let turns = self.measured().turns() as f64;
        Ok(TalkCpu { of_1000_turns: cpu / turns * 1000.0, share: cpu / elapsed * 100.0 })
    }

    /// Ends talking calls after their turns.
    async fn end_talk(&self, mut talking: Talking) -> anyhow::Result<()> {
        talking.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = talking.calls.join_next().await {
            if let Err(error) = ended? {
                self.measured().record_violation(format!("a call failed: {error:#}"));
            }
        }
        Ok(())
    }

    /// The same calls, first without and then with open consoles.
    async fn talk_beside_consoles(&mut self, calls: usize) -> anyhow::Result<()> {
        let open = self.open_calls(calls).await?;
        let talking = self.begin_to_talk(open).await?;
        for with in [false, true] {
            let consoles = if with { Some(OpenConsoles::open(self.subject.address).await?) } else { None };
            let cpu = self.measure_talk().await?;
            if let Some(consoles) = consoles {
                consoles.close()?;
            }
            let (id, word) = if with { ("with", "ten consoles") } else { ("without", "no console") };
            let title = format!("CPU time of 1,000 turns, {word}");
            self.add(&format!("{id}.cpu_per_1000_turns"), title, "s", Some(cpu.of_1000_turns), None);
            for span in [Span::PromptToRequest, Span::TokenToFrame] {
                let value = self.measured().quantile(span, 0.99);
                let title = format!("{}, p99, {word}", span.title());
                self.add(&format!("{id}.{}.p99", span.id()), title, "ms", value, None);
            }
        }
        self.end_talk(talking).await
    }

    /// Payment calls with faults. Their outcomes in the ledger are compared with what Twilio knows, and the program is weighed
    /// after the first tenth and at the end.
    async fn soak(&mut self, progress: &impl Fn(&str)) -> anyhow::Result<()> {
        let calls = self.options.payments;
        let (counts, mut weighed, began) = (SoakCounts::default(), Vec::new(), Instant::now());
        let progress = |what: &str| progress(&format!("{what}, {} s", began.elapsed().as_secs()));
        for share in [calls / 10, calls - calls / 10] {
            soak::pay_on_lines(&self.line, &self.twilio, &counts, share, PAYING, progress).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            weighed.push(self.subject.resident_kib()? / 1024.0);
        }
        let elapsed = began.elapsed().as_secs_f64();
        progress("comparing the outcomes");
        let (ledger, wrong) = soak::compare_outcomes(&self.line, &self.twilio).await?;
        for what in &wrong {
            self.measured().record_violation(format!("a wrong outcome: {what}"));
        }
        #[expect(clippy::cast_precision_loss, reason = "counts")]
        let count = |count: usize| Some(count as f64);
        self.add("calls", format!("payment calls, seed {}", self.options.seed), "", count(calls), None);
        self.add("wrong", "wrong outcomes", "", count(wrong.len()), Some(Goal::AtMost(0.0)));
        self.add("payments", "payments in the ledger", "", count(ledger.len()), None);
        for (state, payments) in count_states(&ledger) {
            self.add(&format!("state.{state}"), format!("… {state}"), "", count(payments), None);
        }
        let given_up = counts.given_up.load(Ordering::Relaxed);
        self.add("given_up", "callers who gave up waiting", "", count(given_up), None);
        self.add("rate", "calls", "1/s", count(calls).map(|calls| calls / elapsed), None);
        let [first, last] = weighed[..] else { return Ok(()) };
        let title = "memory after all, more than after the first tenth";
        self.add("growth", title, "MiB", Some(last - first), Some(Goal::AtMost(1.0)));
        self.add("resident", "memory after all", "MiB", Some(last), None);
        Ok(())
    }

    /// Callers pay one after the other, [`PAYING`] at once.
    async fn pay(&mut self) -> anyhow::Result<()> {
        let until = Instant::now() + self.options.length + WARM_UP;
        let mut paying = JoinSet::new();
        for _ in 0..PAYING {
            let line = self.line.clone();
            paying.spawn(async move {
                let mut paid = 0_usize;
                while Instant::now() < until {
                    pay_once(&line).await?;
                    paid += 1;
                }
                anyhow::Ok(paid)
            });
        }
        tokio::time::sleep(WARM_UP).await;
        self.measured().start();
        let mut paid = 0;
        while let Some(ended) = paying.join_next().await {
            match ended? {
                Ok(count) => paid += count,
                Err(error) => self.measured().record_violation(format!("a payment failed: {error:#}")),
            }
        }
        self.measured().stop();
        let calls = self.line.probes.all();
        let has_paid = |payments: &[PaymentFacts]| matches!(payments, [payment] if payment.result == Some(PaymentResult::Success) && payment.submissions == 1);
        let wrong = calls.iter().filter(|call| !has_paid(&call.lock().payments)).count();
        if wrong > 0 {
            self.measured().record_violation(format!("{wrong} of {} calls did not end with one payment", calls.len()));
        }
        #[expect(clippy::cast_precision_loss, reason = "counts")]
        let (turns, requests, paid) = (self.measured().turns() as f64, self.measured().requests() as f64, paid as f64);
        self.add("paid", "payments", "", Some(paid), None);
        self.add(
            "requests",
            "requests to Twilio for a payment of three fields",
            "",
            Some(requests / turns),
            Some(Goal::AtMost(5.01)),
        );
        self.add_latency(Span::CallbackToAnswer, None, None);
        match self.workload {
            Workload::Guided => self.add_latency(Span::FieldToWords, None, Some(Goal::AtMost(2.0))),
            _ => self.add_latency(Span::ToolTurn, Some(Goal::AtMost(2.0)), Some(Goal::AtMost(6.0))),
        }
        Ok(())
    }

    /// Calls wait for a card number, and their keys are reported at a fixed rate.
    async fn report_keys(&mut self) -> anyhow::Result<()> {
        // Fifteen digits are no complete number: the session waits for more.
        const KEYS: usize = 15;
        let seconds = usize::try_from(self.options.length.as_secs())?.max(1);
        let calls = (self.options.callbacks_per_second * seconds).div_ceil(KEYS);
        let line = self.line.clone();
        let open: Vec<LoadCall> =
            stream::iter(0..calls).map(|_| await_first_key(&line)).buffer_unordered(OPENING).try_collect().await?;
        self.measured().start();
        let mut tick =
            tokio::time::interval(Duration::from_secs(1) / u32::try_from(self.options.callbacks_per_second)?);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
        let (cpu, began) = (self.subject.cpu_seconds()?, Instant::now());
        let mut reports = JoinSet::new();
        for _ in 0..KEYS {
            for call in &open {
                tick.tick().await;
                let (twilio, probe) = (self.twilio.clone(), call.probe.clone());
                reports.spawn(async move { twilio.press(&probe, '4').await });
                while reports.try_join_next().is_some() {}
            }
        }
        while reports.join_next().await.is_some() {}
        let (cpu, elapsed) = (self.subject.cpu_seconds()? - cpu, began.elapsed().as_secs_f64());
        self.measured().stop();
        self.add_latency(Span::CallbackToAnswer, None, Some(Goal::AtMost(2.0)));
        self.add("cpu_share", "CPU time of a second", "%", Some(cpu / elapsed * 100.0), None);
        hang_up_all(open).await
    }

    /// Opens and closes calls, and weighs the program after the first fifth and at the end.
    async fn open_and_close(&mut self) -> anyhow::Result<()> {
        let calls = if self.options.calls < 100 { self.options.calls } else { CHURNED_CALLS };
        let mut weighed = Vec::new();
        let (cpu, began) = (self.subject.cpu_seconds()?, Instant::now());
        for share in [calls / 5, calls - calls / 5] {
            let line = self.line.clone();
            stream::iter(0..share)
                .map(|_| async { line.open_call().await?.close().await })
                .buffer_unordered(OPENING)
                .try_collect::<()>()
                .await?;
            tokio::time::sleep(Duration::from_secs(1)).await;
            weighed.push(self.subject.resident_kib()?);
        }
        #[expect(clippy::cast_precision_loss, reason = "a count")]
        let rate = calls as f64 / began.elapsed().as_secs_f64();
        let [first, last] = weighed[..] else { return Ok(()) };
        self.add("rate", format!("calls opened and closed, {calls} in all"), "1/s", Some(rate), None);
        let cpu = self.subject.cpu_seconds()? - cpu;
        #[expect(clippy::cast_precision_loss, reason = "a count")]
        self.add("cpu", "CPU time of a call opened and closed", "ms", Some(cpu / calls as f64 * 1000.0), None);
        self.add(
            "growth",
            "memory after all, more than after the first fifth",
            "MiB",
            Some((last - first) / 1024.0),
            Some(Goal::AtMost(1.0)),
        );
        self.add("resident", "memory after all", "MiB", Some(last / 1024.0), None);
        Ok(())
    }

    async fn open_calls(&self, count: usize) -> anyhow::Result<Vec<LoadCall>> {
        let line = self.line.clone();
        stream::iter(0..count).map(|_| line.open_call()).buffer_unordered(OPENING).try_collect().await
    }
}

/// Events of the log that no fault of the stand-ins explains.
const UNEXPECTED_ALERTS: [&str; 3] = ["panicked", "ledger.", "webhook"];

/// Calls that talk, until they are told to stop.
struct Talking {
    stop: Arc<AtomicBool>,
    calls: JoinSet<anyhow::Result<()>>,
}

/// The CPU time that talking calls took.
struct TalkCpu {
    /// For 1,000 turns, in seconds.
    of_1000_turns: f64,
    /// The share of the time, in percent.
    share: f64,
}

/// Before the measurement of payments begins.
const WARM_UP: Duration = Duration::from_secs(3);

/// One turn after the other, until told to stop.
async fn converse(mut call: LoadCall, line: &Line, stop: &AtomicBool) -> anyhow::Result<()> {
    let words = format!("Please tell me more about {}.", call.probe.mark());
    while !stop.load(Ordering::Relaxed) {
        call.say(&words).await?;
        let (end, _) = call.hear().await?;
        line.measured.count_turn();
        if end == TurnEnd::CallEnded {
            anyhow::bail!("the agent ended the call");
        }
    }
    call.close().await
}

/// A call up to the beginning of its payment.
async fn begin_payment(line: &Arc<Line>) -> anyhow::Result<LoadCall> {
    let mut call = line.open_call().await?;
    let words = format!("My name is {}, and I'd like to pay my bill of 25 dollars.", call.probe.mark());
    call.say(&words).await?;
    loop {
        let (end, said) = call.hear().await?;
        if said.contains("charged to your card now") {
            call.say("Yes, go ahead.").await?;
        }
        // A field of it may be in before the agent has spoken again.
        if call.probe.lock().payment.is_some() {
            return Ok(call);
        }
        if end == TurnEnd::CallEnded {
            anyhow::bail!("the agent ended the call before the payment");
        }
    }
}

/// A call whose payment waits for the first key.
async fn await_first_key(line: &Arc<Line>) -> anyhow::Result<LoadCall> {
    let mut call = begin_payment(line).await?;
    while !call.probe.lock().payment.as_ref().is_some_and(PaymentSession::is_capturing) {
        if call.hear().await?.0 == TurnEnd::CallEnded {
            anyhow::bail!("the agent ended the call before the first field");
        }
    }
    Ok(call)
}

/// A whole call: the caller pays, and says goodbye.
async fn pay_once(line: &Arc<Line>) -> anyhow::Result<()> {
    let mut call = begin_payment(line).await?;
    loop {
        match call.hear().await? {
            (TurnEnd::CallEnded, _) => break,
            (TurnEnd::Spoken, said) if said.contains("All set") => {
                line.measured.count_turn();
                call.say("No, that's all, thank you. Goodbye!").await?;
            }
            (TurnEnd::Spoken | TurnEnd::Silent | TurnEnd::Fault(_), _) => {}
        }
    }
    call.close().await
}

async fn hang_up_all(calls: Vec<LoadCall>) -> anyhow::Result<()> {
    stream::iter(calls).map(LoadCall::close).buffer_unordered(OPENING).try_collect().await
}

/// The environment variables of the server.
fn environment(home: &Path, model: &str, twilio: &str, workload: Workload) -> anyhow::Result<Vec<(String, String)>> {
    let mut vars = vec![
        ("SERVER_BASE_URL", PUBLIC_URL.to_owned()),
        ("TWILIO_API_BASE_URL", twilio.to_owned()),
        ("ACCOUNT_SID", ACCOUNT_SID.to_owned()),
        ("AUTH_TOKEN", AUTH_TOKEN.to_owned()),
        ("FROM_NUMBER", "+15550100002".to_owned()),
        ("PAYMENT_CONNECTOR", "Default".to_owned()),
        ("LIVE_AGENT_NUMBER", "+15550100003".to_owned()),
        ("OPENAI_API_KEY", "sk-bench".to_owned()),
        ("OPENAI_BASE_URL", format!("{model}/v1")),
        ("DATABASE_URL", format!("sqlite://{}", home.join("ledger.db").display())),
        ("DRAIN_SECONDS", "5".to_owned()),
        ("OPERATOR_TOKEN", OPERATOR_TOKEN.to_owned()),
    ];
    if let Some(config) = workload.server_config() {
        let assets: PathBuf = home.join("assets");
        std::fs::create_dir(&assets).context("cannot create a directory")?;
        std::fs::write(assets.join("serverConfig.json"), config).context("cannot write a file")?;
        vars.push(("ASSETS_DIR", assets.display().to_string()));
    }
    Ok(vars.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// The part of the calls before this one.
#[expect(clippy::cast_precision_loss, reason = "counts")]
fn share(number: usize, of: usize) -> f64 {
    number as f64 / of.max(1) as f64
}
