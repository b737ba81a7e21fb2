//! A call as a load: its webhook, its socket, and what is known of it while the model and Twilio answer.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use anyhow::{Context as _, bail};
use secrecy::SecretString;
use serde_json::json;
use url::Url;

use super::faults::{CallFaults, CallerAct};
use super::measure::{Measurements, Span};
use super::model::count_letters;
use super::outcomes::PaymentFacts;
use super::twilio::RestReply;
use crate::simulator::PaymentsRequest;
use crate::simulator::load::{
    ApplicationFrame, ConnectVerb, HttpFaultKind, PaymentSession, TwimlDocument, WebhookSender,
};
use crate::simulator::{RelayClient, RelayMessage};
use crate::twilio::Signer;

/// The public URL of the program under test. It appears in signatures only.
pub(super) const PUBLIC_URL: &str = "https://bench.example.com";

/// The account of all calls.
pub(super) const ACCOUNT_SID: &str = "AC00000000000000000000000000000001";

/// The account's auth token.
pub(super) const AUTH_TOKEN: &str = "bench-auth-token-0123456789";

/// The path of the bare pipe's socket.
pub(super) const SOCKET_PATH: &str = "/conversation-relay";

/// Begins the word by which a request to the model is found to belong to a call. No word of a language has it.
const MARK: &str = "zqx";

/// The letters for the digits 0 to 9: digits would be taken for those of a card.
const LETTERS: &[u8; 10] = b"bcdfghjklm";

/// How long a call waits for a frame of the program.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// The calls of a workload, by number.
#[derive(Debug)]
pub(super) struct Probes {
    probes: Mutex<Vec<Arc<CallProbe>>>,
    is_floor: bool,
    fault_seed: Option<u64>,
}

impl Probes {
    /// Creates an empty list. `is_floor` says that the bare pipe is measured, whose requests are no requests of OpenAI's.
    /// With `fault_seed` things go wrong on the calls.
    pub(super) fn new(is_floor: bool, fault_seed: Option<u64>) -> Self {
        Self { probes: Mutex::default(), is_floor, fault_seed }
    }

    /// Whether things go wrong on the calls.
    pub(super) fn has_faults(&self) -> bool {
        self.fault_seed.is_some()
    }

    /// Whether the bare pipe is measured.
    pub(super) fn is_floor(&self) -> bool {
        self.is_floor
    }

    /// Adds a call.
    pub(super) fn add(&self) -> Arc<CallProbe> {
        let mut probes = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
        let number = probes.len() + 1;
        let probe = Arc::new(CallProbe {
            number,
            faults: self.fault_seed.map_or_else(CallFaults::none, |seed| CallFaults::draw(seed, number)),
            caller_acts: Notify::new(),
            requests: AtomicUsize::new(0),
            state: Mutex::default(),
        });
        probes.push(probe.clone());
        probe
    }

    /// Returns the call with this number.
    pub(super) fn find(&self, number: usize) -> Option<Arc<CallProbe>> {
        let probes = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
        probes.get(number.checked_sub(1)?).cloned()
    }

    /// Returns the call that a request to the model names last.
    pub(super) fn find_in(&self, body: &str) -> Option<Arc<CallProbe>> {
        let word = &body[body.rfind(MARK)? + MARK.len()..];
        let digits = word.bytes().map_while(|byte| LETTERS.iter().position(|letter| *letter == byte));
        self.find(digits.fold(0, |number, digit| number.saturating_mul(10).saturating_add(digit)))
    }

    /// All calls.
    pub(super) fn all(&self) -> Vec<Arc<CallProbe>> {
        self.probes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What the stand-ins know of a call.
#[derive(Debug)]
pub(super) struct CallProbe {
    /// From 1 on.
    pub(super) number: usize,
    /// What goes wrong on it.
    pub(super) faults: CallFaults,
    /// The moment has come in which the caller does what `faults` says.
    caller_acts: Notify,
    requests: AtomicUsize,
    state: Mutex<ProbeState>,
}

/// The state of a call.
#[derive(Debug, Default)]
pub(super) struct ProbeState {
    prompt_at: Option<Instant>,
    tool_at: Option<Instant>,
    /// The callback that completed a field was sent then.
    pub(super) field_at: Option<Instant>,
    /// The letters that the model has sent in this turn, and when: up to which letter each token went.
    sent: VecDeque<(usize, Instant)>,
    letters_sent: usize,
    letters_heard: usize,
    /// The latest payment session at Twilio.
    pub(super) payment: Option<PaymentSession>,
    /// What Twilio knows of each payment of this call.
    pub(super) payments: Vec<PaymentFacts>,
    /// Twilio's replies by idempotency key.
    pub(super) replies: HashMap<String, RestReply>,
    /// The caller has hung up, or the call was ended.
    pub(super) is_over: bool,
    /// The submissions of all payments.
    pub(super) submissions: usize,
    /// The callbacks that were sent.
    pub(super) callbacks: usize,
    /// The card number was mistyped.
    pub(super) has_mistyped: bool,
    failed_requests: usize,
    has_acted: bool,
}

impl CallProbe {
    /// The SID of the call.
    pub(super) fn call_sid(&self) -> String {
        format!("CA{:032x}", self.number)
    }

    /// The caller's number: each call has one of its own.
    pub(super) fn caller(&self) -> String {
        format!("+1555{:07}", self.number)
    }

    /// The word in what the caller says that names the call.
    pub(super) fn mark(&self) -> String {
        let letters = self
            .number
            .to_string()
            .bytes()
            .map(|digit| char::from(LETTERS[usize::from(digit - b'0')]))
            .collect::<String>();
        format!("{MARK}{letters}")
    }

    /// Whether the latest payment session is in such a state.
    pub(super) fn has_payment(&self, is_so: fn(&PaymentSession) -> bool) -> bool {
        self.lock().payment.as_ref().is_some_and(is_so)
    }

    /// The state.
    pub(super) fn lock(&self) -> MutexGuard<'_, ProbeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request to the model. Returns how many came before.
    pub(super) fn count_request(&self) -> usize {
        self.requests.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns how Twilio fails this request, if it does. Counts it then.
    pub(super) fn next_http_fault(&self, request: PaymentsRequest) -> Option<HttpFaultKind> {
        let fault = self.faults.quirks.http_fault.filter(|fault| fault.request == request)?;
        let mut state = self.lock();
        state.failed_requests += 1;
        (state.failed_requests <= fault.times).then_some(fault.kind)
    }

    /// Returns what the caller does now that Twilio has done this, once in a call, and lets the call know.
    pub(super) fn take_caller_act(&self, done: PaymentsRequest) -> Option<CallerAct> {
        let fault = self.faults.caller.filter(|fault| fault.after == done)?;
        if std::mem::replace(&mut self.lock().has_acted, true) {
            return None;
        }
        self.caller_acts.notify_one();
        Some(fault.act)
    }

    /// When the prompt was sent that no request has answered yet.
    pub(super) fn take_prompt_time(&self) -> Option<Instant> {
        self.lock().prompt_at.take()
    }

    /// When the answer ended that calls a tool, less the time of Twilio's since.
    pub(super) fn take_tool_time(&self) -> Option<Instant> {
        self.lock().tool_at.take()
    }

    /// The model's answer calls a tool, and ends now.
    pub(super) fn begin_tool(&self) {
        self.lock().tool_at = Some(Instant::now());
    }

    /// Leaves time that Twilio takes for a response out of the time of a tool.
    pub(super) fn excuse(&self, time: Duration) {
        let mut state = self.lock();
        state.tool_at = state.tool_at.map(|at| at + time);
    }

    /// The model sends a token now.
    pub(super) fn record_token(&self, letters: usize) {
        let mut state = self.lock();
        state.letters_sent += letters;
        let sent = state.letters_sent;
        state.sent.push_back((sent, Instant::now()));
    }

    /// A frame has arrived that says this. Times what it completes.
    fn record_frame(&self, token: &str, measured: &Measurements) {
        let now = Instant::now();
        let mut state = self.lock();
        if let Some(began) = state.field_at.take_if(|_| !token.is_empty()) {
            measured.record(Span::FieldToWords, now - began);
        }
        state.letters_heard += count_letters(token);
        while state.sent.front().is_some_and(|(upto, _)| *upto <= state.letters_heard) {
            if let Some((_, sent_at)) = state.sent.pop_front() {
                measured.record(Span::TokenToFrame, now.saturating_duration_since(sent_at));
            }
        }
    }

    /// Begins a turn. Returns how many letters of the one before the caller did not hear, or heard too many.
    fn begin_turn(&self) -> usize {
        let mut state = self.lock();
        let lost = state.letters_sent.abs_diff(state.letters_heard);
        state.sent.clear();
        (state.letters_sent, state.letters_heard) = (0, 0);
        state.prompt_at = Some(Instant::now());
        lost
    }
}

/// What all calls of a workload share.
#[derive(Debug)]
pub(super) struct Line {
    /// The calls.
    pub(super) probes: Arc<Probes>,
    /// What is measured.
    pub(super) measured: Arc<Measurements>,
    /// Whether the agent says what the model sends, and nothing else.
    pub(super) is_exact: bool,
    /// Posts the webhooks.
    pub(super) webhooks: WebhookSender,
    /// The program under test.
    pub(super) address: SocketAddr,
}

/// A live call.
pub(super) struct LoadCall {
    /// What the stand-ins know of it.
    pub(super) probe: Arc<CallProbe>,
    line: Arc<Line>,
    socket: RelayClient,
    connect: Option<ConnectVerb>,
}

/// What ends a turn of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TurnEnd {
    /// It has spoken.
    Spoken,
    /// It has ended the call.
    CallEnded,
    /// It has said nothing for the time that the caller waits.
    Silent,
    /// The caller does what the faults of the call say.
    Fault(CallerAct),
}

impl Line {
    /// Requests the TwiML of a call.
    pub(super) async fn request_twiml(&self, probe: &CallProbe) -> anyhow::Result<ConnectVerb> {
        let url: Url = PUBLIC_URL.parse::<Url>()?.join("/connectConversationRelay")?;
        let form = voice_form(probe, &[("CallStatus", "ringing")]);
        let answer = self.webhooks.post(&url, &form, "voice").await;
        if answer.status != 200 {
            bail!("the voice webhook was answered {}: {}", answer.status, answer.body);
        }
        self.measured.record(Span::WebhookToTwiml, answer.elapsed);
        if self.probes.is_floor() {
            let url = format!("wss://bench.example.com{SOCKET_PATH}");
            return Ok(ConnectVerb {
                action: PUBLIC_URL.parse()?,
                url,
                parameters: Vec::new(),
                attributes: Vec::new(),
            });
        }
        let document = TwimlDocument::parse(&answer.body).map_err(anyhow::Error::msg)?;
        document.connect().context("the voice webhook was answered without <Connect>")?.map_err(anyhow::Error::msg)
    }

    /// Opens a call: its webhook, its socket and its `setup`.
    pub(super) async fn open_call(self: &Arc<Self>) -> anyhow::Result<LoadCall> {
        let probe = self.probes.add();
        let connect = self.request_twiml(&probe).await?;
        let socket = self.open_socket(&probe, &connect).await?;
        Ok(LoadCall { probe, line: self.clone(), socket, connect: Some(connect) })
    }

    /// Opens the socket that a TwiML document asks for.
    async fn open_socket(&self, probe: &CallProbe, connect: &ConnectVerb) -> anyhow::Result<RelayClient> {
        let signature = Signer::new(&SecretString::from(AUTH_TOKEN)).sign(&connect.url, &[]);
        let mut socket = RelayClient::open(self.address, &connect.url, Some(&signature)).await?;
        let parameters: serde_json::Map<_, _> =
            connect.parameters.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let setup = json!({
            "type": "setup", "sessionId": format!("VX{:032x}", probe.number), "callSid": probe.call_sid(),
            "accountSid": ACCOUNT_SID, "from": probe.caller(), "to": "+15550100002", "forwardedFrom": "+15550100002",
            "callerName": "", "parentCallSid": "", "direction": "inbound", "callType": "PSTN", "callStatus": "RINGING",
            "customParameters": parameters,
        });
        socket.send(&setup).await?;
        Ok(socket)
    }
}

impl LoadCall {
    /// The caller says this, in one final prompt.
    pub(super) async fn say(&mut self, words: &str) -> anyhow::Result<()> {
        let lost = self.probe.begin_turn();
        if lost > 0 && self.line.is_exact {
            self.line.measured.record_violation(format!("{lost} letters of an answer were lost, or said twice"));
        }
        self.socket.send(&json!({"type": "prompt", "voicePrompt": words, "lang": "en-US", "last": true})).await
    }

    /// Hears the agent until it has spoken, as Twilio reports it. An error if it says nothing.
    pub(super) async fn hear(&mut self) -> anyhow::Result<(TurnEnd, String)> {
        match self.hear_for(PATIENCE).await? {
            (TurnEnd::Silent, _) => bail!("the agent said nothing for {} s", PATIENCE.as_secs()),
            heard => Ok(heard),
        }
    }

    /// Hears the agent until it has spoken, has said nothing for so long, or the caller does something else.
    pub(super) async fn hear_for(&mut self, patience: Duration) -> anyhow::Result<(TurnEnd, String)> {
        let mut said = String::new();
        loop {
            let message = tokio::select! {
                message = self.socket.receive() => message,
                () = self.probe.caller_acts.notified() => match self.probe.faults.caller {
                    Some(fault) => return Ok((TurnEnd::Fault(fault.act), said)),
                    None => continue,
                },
                () = tokio::time::sleep(patience) => return Ok((TurnEnd::Silent, said)),
            };
            let text = match message {
                RelayMessage::Text(text) => text,
                RelayMessage::Closed(code, why) => bail!("the socket was closed: {code} {why}"),
                RelayMessage::Lost => bail!("the socket was lost"),
            };
            match ApplicationFrame::parse(&text) {
                Ok(ApplicationFrame::Text { token, last, .. }) => {
                    self.probe.record_frame(&token, &self.line.measured);
                    if said.is_empty() && !token.is_empty() {
                        self.report("agentSpeaking", "on").await?;
                    }
                    said += &token;
                    if last {
                        self.report("tokensPlayed", &said).await?;
                        self.report("agentSpeaking", "off").await?;
                        return Ok((TurnEnd::Spoken, said));
                    }
                }
                Ok(ApplicationFrame::End { .. }) => return Ok((TurnEnd::CallEnded, said)),
                Ok(_) => {}
                Err(what) => self.line.measured.record_violation(format!("a frame: {what}")),
            }
        }
    }

    /// A turn of this call is measured whole.
    pub(super) fn count_turn(&self) {
        self.line.measured.count_turn();
    }

    async fn report(&mut self, name: &str, value: &str) -> anyhow::Result<()> {
        if self.line.probes.is_floor() {
            return Ok(());
        }
        self.socket.send(&json!({"type": "info", "name": name, "value": value})).await
    }

    /// Breaks the socket, and opens the one that the action's TwiML asks for. `None` if it asks for none: the call is over.
    pub(super) async fn reconnect(self) -> anyhow::Result<Option<Self>> {
        let Self { probe, line, socket, connect } = self;
        drop(socket);
        let connect = connect.context("the call has no <Connect>")?;
        let form = voice_form(&probe, &[("CallStatus", "in-progress"), ("SessionStatus", "failed")]);
        let answer = line.webhooks.post(&connect.action, &form, "action").await;
        if answer.status != 200 {
            bail!("the action of a broken session was answered {}", answer.status);
        }
        let document = TwimlDocument::parse(&answer.body).map_err(anyhow::Error::msg)?;
        let Some(connect) = document.connect() else { return Ok(None) };
        let connect = connect.map_err(anyhow::Error::msg)?;
        let socket = line.open_socket(&probe, &connect).await?;
        Ok(Some(Self { probe, line, socket, connect: Some(connect) }))
    }

    /// Ends the call: the socket, and the webhook after it.
    pub(super) async fn close(mut self) -> anyhow::Result<()> {
        let _ = self.socket.close(1000, "bye").await;
        self.socket.drain(Duration::from_secs(5)).await;
        let Some(connect) = self.connect.filter(|_| !self.line.probes.is_floor()) else { return Ok(()) };
        let form = voice_form(&self.probe, &[("CallStatus", "completed"), ("SessionStatus", "completed")]);
        let answer = self.line.webhooks.post(&connect.action, &form, "action").await;
        if answer.status != 200 {
            bail!("the action was answered {}: {}", answer.status, answer.body);
        }
        Ok(())
    }
}

/// The form of a voice webhook.
fn voice_form(probe: &CallProbe, more: &[(&str, &str)]) -> Vec<(String, String)> {
    let (call, from) = (probe.call_sid(), probe.caller());
    [("AccountSid", ACCOUNT_SID), ("ApiVersion", "2010-04-01"), ("CallSid", &call), ("Direction", "inbound")]
        .into_iter()
        .chain([("From", &*from), ("Caller", &from), ("To", "+15550100002"), ("Called", "+15550100002")])
        .chain([("FromCountry", "US"), ("ToCountry", "US")])
        .chain(more.iter().copied())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_found_by_the_last_call_that_it_names() {
        let probes = Probes::new(false, None);
        let calls: Vec<_> = (0..120).map(|_| probes.add()).collect();
        for call in &calls {
            let body = format!(r#"{{"input":[{{"content":"{} and then {}."}}]}}"#, calls[3].mark(), call.mark());
            assert_eq!(probes.find_in(&body).unwrap().number, call.number);
        }
        assert!(probes.find_in("nobody").is_none());
        assert!(probes.find_in("zqxmmmmm").is_none());
    }

    #[test]
    fn a_token_is_timed_when_its_last_letter_is_heard() {
        let (measured, probes) = (Measurements::default(), Probes::new(false, None));
        measured.start();
        let probe = probes.add();
        probe.begin_turn();
        probe.record_token(3);
        probe.record_token(4);
        probe.record_frame("The pa", &measured);
        assert!(measured.quantile(Span::TokenToFrame, 0.5).is_some());
        assert_eq!(probe.lock().sent.len(), 1);
        probe.record_frame("id, ", &measured);
        assert_eq!(probe.lock().sent.len(), 0);
        assert_eq!(probe.begin_turn(), 0);
        probe.record_token(3);
        assert_eq!(probe.begin_turn(), 3);
    }
}
