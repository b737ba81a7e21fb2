//! The workloads: what the callers do, and which figures come of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use clap::ValueEnum;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::BenchOptions;
use super::call::{Line, LoadCall, TurnEnd};
use super::caller::{Caller, CallerEnd};
use super::consoles::OpenConsoles;
use super::measure::Span;
use super::model::ModelScript;
use super::outcomes::{PaymentFacts, count_states};
use super::process::Cores;
use super::report::Goal;
use super::soak::{self, SoakCounts};
use super::stage::{Outcome, Stage};
use super::webhooks;
use crate::simulator::load::PaymentResult;

/// How many calls are opened at once.
const OPENING: usize = 64;

/// How many calls pay at once, at most.
const PAYING: usize = 50;

/// The calls that are opened and closed.
const CHURNED_CALLS: usize = 10_000;

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
    pub(super) fn id(self) -> &'static str {
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

    pub(super) fn model_script(self) -> ModelScript {
        match self {
            Self::Tools => ModelScript::ToolThenTalk,
            Self::Payments | Self::Guided | Self::Callbacks | Self::Soak => ModelScript::Payment,
            _ => ModelScript::Talk,
        }
    }

    /// The server's configuration: the built-in one with changes. A file with the changes alone would leave out the rest of it,
    /// such as the greeting, without which the agent speaks first.
    pub(super) fn server_config(self) -> Option<Value> {
        let built_in = include_str!("../../assets/serverConfig.json");
        let mut config: Value = serde_json::from_str(built_in).expect("the built-in configuration is JSON");
        match self {
            Self::Guided => config["Payments"]["flow"] = json!("guided"),
            // More calls than a server admits by default show how many it can serve.
            Self::Talk | Self::Consoles => config["Limits"] = json!({"calls": 100_000}),
            // All cards are the same, and many are declined. Nobody waits long for a model that stalls, or for lost keys.
            Self::Soak => {
                config["Payments"]["stallSeconds"] = json!(5);
                config["Payments"]["Limits"]["perHour"]["declines"] = Value::Null;
                config["Payments"]["Limits"]["cardTesting"] = Value::Null;
                config["Model"]["firstTokenSeconds"] = json!(3);
            }
            _ => return None,
        }
        Some(config)
    }
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

    /// Callers pay one after the other, some at once.
    async fn pay(&mut self) -> anyhow::Result<()> {
        let until = Instant::now() + self.options.length + WARM_UP;
        let mut paying = JoinSet::new();
        let callers = u32::try_from(PAYING.min(self.options.calls))?;
        for caller in 0..callers {
            let line = self.line.clone();
            paying.spawn(async move {
                // Callers do not all begin at once, nor press their keys at the same time.
                tokio::time::sleep(WARM_UP * caller / callers).await;
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
            stream::iter(0..calls).map(|_| wait_for_first_key(&line)).buffer_unordered(OPENING).try_collect().await?;
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

/// A whole call, whose caller pays.
async fn pay_once(line: &Arc<Line>) -> anyhow::Result<()> {
    match Caller::PATIENT.pay(line.open_call().await?).await? {
        CallerEnd::Over(call) => call.close().await,
        CallerEnd::Lost | CallerEnd::GivenUp(_) => anyhow::bail!("the agent said nothing more"),
    }
}

/// A call whose payment waits for the first key.
async fn wait_for_first_key(line: &Arc<Line>) -> anyhow::Result<LoadCall> {
    Caller::INSISTENT.wait_for_first_key(line.open_call().await?).await
}

async fn hang_up_all(calls: Vec<LoadCall>) -> anyhow::Result<()> {
    stream::iter(calls).map(LoadCall::close).buffer_unordered(OPENING).try_collect().await
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_workload_has_a_server_that_speaks_first() {
        for config in Workload::value_variants().iter().filter_map(|workload| workload.server_config()) {
            assert!(config["ConversationRelay"]["Configuration"]["welcomeGreeting"].is_string(), "{config}");
        }
    }
}
