//! The task that owns a call, and the map from call SID to that task.
//!
//! The task alone touches its [`Call`]: it turns frames, callbacks, model output, tool results and time into events, and
//! carries out the actions. Outsiders hold a mailbox.

mod briefing;
mod calls;
mod chat;
mod chats;
mod line;
mod parameters;
pub mod payment_log;
mod requests;
#[cfg(test)]
mod tests;

pub use briefing::{CONTEXT_KEY, MANIFEST_KEY};
pub use calls::{Calls, Delivery, News};
pub use chat::{Message, NoReply, Reply};
pub use chats::{Chats, NotSaid};
pub use line::{Broken, Line, Received, Sent};
pub use requests::{BusinessAnswer, NotKept, Parameters, RequestData, Requests};

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, error, info, info_span, warn};
use uuid::Uuid;

use crate::assets::{Library, Shelf};
use crate::call::{Action, Call, ContextKeys, Environment, Event, ModelEvent, Outcome, RequestId, RunId, Tool};
use crate::ledger::{Ledger, OnCall};
use crate::llm::Model;
use crate::payment::{Agreed, Entry};
use crate::relay::{Incoming, Setup};
use crate::sid::CallSid;
use crate::tools::{self, Desk};
use crate::{payment, recovery, twilio};
use briefing::Briefing;
use calls::Registration;

/// How long the first frame may take.
const SETUP_LIMIT: Duration = Duration::from_secs(10);

/// How long a tool may take; Twilio's client gives up before.
const TOOL_LIMIT: Duration = Duration::from_secs(15);

/// How long a call that is to be cut may go on once its payment has ended: the caller has to hear what became of it.
const TELL_LIMIT: Duration = Duration::from_secs(30);

/// How long the ledger may take to say what it knows of a call that begins.
const KNOWN_LIMIT: Duration = Duration::from_secs(1);

/// How long it is tried to find out what a session that broke leaves open, while the ledger cannot be written.
const STOCK_LIMIT: Duration = Duration::from_secs(300);

/// Bad frames in a row that close a socket, as Twilio closes one after ten of ours.
const MAX_BAD_FRAMES: u32 = 10;

/// The parameter by which a call that was placed finds what it is about.
pub const CALL_REFERENCE: &str = "callReference";

/// What all sessions share.
#[derive(Debug)]
pub struct Context {
    /// The model.
    pub model: Model,
    /// What a call is led by: taken once, when it begins.
    pub shelf: Arc<Shelf>,
    /// What the environment decides for all calls.
    pub environment: Environment,
    /// Twilio's REST API.
    pub twilio: Arc<twilio::Client>,
    /// Where payments are written down.
    pub ledger: Ledger,
    /// The live calls.
    pub calls: Calls,
    /// What operators wrote who had calls placed.
    pub requests: Requests,
    /// Everything that runs for a call.
    pub tasks: TaskTracker,
    /// The server is to stop: calls may go on for a while.
    pub soft_stop: CancellationToken,
    /// How long: those without an open payment for half of it, the others for all of it.
    pub drain: Duration,
    /// Ends all sessions at once.
    pub hard_stop: CancellationToken,
}

impl Context {
    /// What the tools of a call work with.
    fn desk(&self, setup: &Setup, library: &Library) -> Arc<Desk> {
        let ledger = self.ledger.within(library.server.limits.clone(), self.environment.payment.currency);
        Arc::new(Desk { twilio: self.twilio.clone(), ledger, call: OnCall::new(setup) })
    }
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The socket was closed with this code, or broke.
    Closed(Option<u16>),
    /// Twilio said that the call is over.
    Told,
    /// The server stops.
    Stopped,
    /// The socket broke and no new one came.
    NotResumed,
    /// Twilio did not close the socket after `end`.
    NotClosed,
    /// The session panicked.
    Broke,
}

/// Serves one ConversationRelay socket: a new call's from its first frame to the end of the call; one of a call that is
/// live is given to the task that owns the call.
pub async fn run(context: Arc<Context>, mut line: Line) {
    let setup = match timeout(SETUP_LIMIT, line.incoming.next()).await {
        Ok(Some(Received::Text(frame))) => Incoming::parse(&frame).ok(),
        _ => None,
    };
    let Some(Incoming::Setup(setup)) = setup else {
        warn!("a socket did not begin with a setup frame: closed");
        let _ = line.send(Sent::Close(1002, "the first frame must be setup")).await;
        return;
    };
    let span = info_span!("call", sid = %setup.call_sid);
    match context.calls.hand_over(&setup.call_sid, line) {
        Ok(()) => {}
        Err(line) => talk(context, setup, line).instrument(span).await,
    }
}

/// The bracket around a session: registers, counts, logs the end once. The registration ends with the value.
async fn talk(context: Arc<Context>, mut setup: Setup, line: Line) {
    let began = Instant::now();
    let (registration, mailbox) = context.calls.register(&setup.call_sid, &context.hard_stop);
    info!(live = context.calls.count(), outbound = setup.is_outbound(), "call connected");

    let sid = setup.call_sid.clone();
    let due_required = context.environment.payment.due_required;
    parameters::take_answer(&mut setup, context.requests.answer(&sid), due_required);
    parameters::warn_of_unknown_names(&setup);
    let reference = parameter(&setup, CALL_REFERENCE);
    let request = reference.and_then(|reference| context.requests.connected(reference, &sid));
    let request = request.as_ref().map(|data| &**data.reveal());
    let library = context.shelf.library();
    let settings = Arc::new(library.server.settings(&context.environment));
    let payment = settings.payment.clone();
    let desk = context.desk(&setup, &library);
    let known = known(&desk).await;
    let (call, actions) = Call::begin(settings, &setup, request, &known, Uuid::new_v4(), began.into_std());
    if let Some(why) = call.bad_terms() {
        error!(event = "call_parameters.no_payment", %why, "no payment can be taken on this call");
    }
    let (finished_sender, finished) = mpsc::channel(16);
    let session = Session {
        context: context.clone(),
        desk,
        model: context.model.within(library.server.model),
        briefing: Briefing::begin(library, &keys(&setup)),
        call,
        line: Some(line),
        registration,
        mailbox,
        response: None,
        finished_sender,
        finished,
        bad_frames: 0,
        line_broke: false,
        drain_until: None,
        payment_ended: None,
        end: None,
        closed: false,
    };
    let end = AssertUnwindSafe(session.converse(actions)).catch_unwind().await.unwrap_or_else(|_| {
        context.tasks.spawn(put_away(context.clone(), sid.clone(), payment).in_current_span());
        Some(End::Broke)
    });
    // A newer socket may have taken the call over.
    if !context.calls.knows(&sid) {
        context.requests.ended(&sid);
        // What a session that broke leaves open is cancelled first.
        let over = if end == Some(End::Broke) { Ok(()) } else { context.ledger.call_over(&sid).await };
        if let Err(error) = over {
            error!(
                event = "ledger.call_over_lost",
                %error,
                "What the call leaves open could be neither written nor held: the next start of the server sees to it."
            );
        }
    }
    info!(live = context.calls.count(), seconds = began.elapsed().as_secs(), ?end, "call ended");
}

/// What the ledger knows of a call before it begins. Without it the call begins all the same: what is known stands in the way of a second
/// payment when that is to be recorded.
async fn known(desk: &Desk) -> payment::Known {
    match timeout(KNOWN_LIMIT, desk.ledger.known(&desk.call)).await {
        Ok(Ok(known)) => known,
        Ok(Err(error)) => {
            error!(event = "ledger.read_failed", %error, "What the ledger knows of the call cannot be read.");
            payment::Known::default()
        }
        Err(_) => {
            error!(event = "ledger.read_failed", "What the ledger knows of the call was not read in time.");
            payment::Known::default()
        }
    }
}

/// A session that broke cancels nothing any more: its open payment is put away as that of a server that died is.
async fn put_away(context: Arc<Context>, call: CallSid, payment: payment::Settings) {
    error!("the session broke: its open payment, if there is one, is cancelled");
    let until = Instant::now() + STOCK_LIMIT;
    loop {
        match context.ledger.take_stock_of(&call).await {
            Ok(left) => {
                return recovery::put_away(context.ledger.clone(), context.twilio.clone(), payment, left).await;
            }
            Err(_) if Instant::now() < until && !context.hard_stop.is_cancelled() => {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(error) => {
                return error!(
                    event = "ledger.stock_unknown",
                    %error,
                    "What the broken session leaves open is not known: the next start of the server sees to it."
                );
            }
        }
    }
}

fn keys(setup: &Setup) -> ContextKeys {
    let key = |name| parameter(setup, name).map(str::to_owned);
    ContextKeys { context: key(CONTEXT_KEY), manifest: key(MANIFEST_KEY) }
}

/// A `<Parameter>` of the TwiML; one that is empty says nothing.
fn parameter<'a>(setup: &'a Setup, name: &str) -> Option<&'a str> {
    setup.custom_parameters.reveal().get(name).map(String::as_str).filter(|value| !value.is_empty())
}

struct Session {
    context: Arc<Context>,
    model: Model,
    /// What its tools work with.
    desk: Arc<Desk>,
    /// What the model is told and may call, from the next request on.
    briefing: Briefing,
    call: Call,
    /// The socket; none while the call waits for a new one.
    line: Option<Line>,
    registration: Registration,
    mailbox: mpsc::Receiver<News>,
    response: Option<(RequestId, BoxStream<'static, ModelEvent>)>,
    finished_sender: mpsc::Sender<(RunId, Outcome)>,
    finished: mpsc::Receiver<(RunId, Outcome)>,
    bad_frames: u32,
    /// A write failed: the call is yet to be told.
    line_broke: bool,
    /// Set once the server is to stop: when the call is cut without an open payment, and when at all events.
    drain_until: Option<(Instant, Instant)>,
    /// When the last payment ended.
    payment_ended: Option<Instant>,
    /// Set once the caller is gone: only what is running is waited for.
    end: Option<End>,
    closed: bool,
}

impl Session {
    async fn converse(mut self, actions: Vec<Action>) -> Option<End> {
        self.carry_out(actions).await;
        while !self.closed {
            let Some(event) = self.next_event().await else { continue };
            let paying = self.call.has_open_payment();
            let actions = self.call.handle(event, Instant::now().into_std());
            if paying && !self.call.has_open_payment() {
                self.payment_ended = Some(Instant::now());
            }
            self.carry_out(actions).await;
        }
        // What was taken and not read: the results at least are written down.
        self.mailbox.close();
        while let Ok(news) = self.mailbox.try_recv() {
            if let News::PaymentStatus(status) = news {
                payment_log::late(&status);
            }
        }
        self.end
    }

    /// Waits for whatever comes first. The order decides when several things have come: an end before all, then the
    /// caller, Twilio, the model, tools, time.
    async fn next_event(&mut self) -> Option<Event> {
        if std::mem::take(&mut self.line_broke) {
            return Some(self.line_closed(None));
        }
        let live = self.end.is_none();
        let drained = self.cut_at();
        tokio::select! {
            biased;
            () = self.registration.stopped(), if live => Some(self.ended(End::Stopped)),
            () = until(drained), if live => Some(self.ended(End::Stopped)),
            () = self.context.soft_stop.cancelled(), if self.drain_until.is_none() => self.drain(),
            frame = next_frame(&mut self.line), if live => self.received(frame).await,
            Some(news) = self.mailbox.recv() => self.told(news).await,
            (request, event) = next_of(&mut self.response) => Some(Event::Model { request, event }),
            Some((run, outcome)) = self.finished.recv() => Some(Event::ToolFinished { run, outcome }),
            () = until(self.call.deadline().map(Instant::from)) => Some(Event::Tick),
        }
    }

    /// When the call is cut since the server is to stop, if it is.
    fn cut_at(&self) -> Option<Instant> {
        let (quiet, any) = self.drain_until?;
        let told = self.payment_ended.map_or(quiet, |ended| ended + TELL_LIMIT);
        Some(if self.call.has_open_payment() { any } else { told.clamp(quiet, any) })
    }

    fn drain(&mut self) -> Option<Event> {
        let now = Instant::now();
        self.drain_until = Some((now + self.context.drain / 2, now + self.context.drain));
        None
    }

    fn ended(&mut self, end: End) -> Event {
        self.end.get_or_insert(end);
        Event::HungUp
    }

    async fn received(&mut self, frame: Received) -> Option<Event> {
        let frame = match frame {
            Received::Text(frame) => Incoming::parse(&frame),
            Received::Closed(code) => return Some(self.line_closed(code)),
            Received::Bad => return self.bad_frame().await,
        };
        match frame {
            Ok(Incoming::Error { .. }) => {
                warn!("Twilio refused a frame, or could not speak it");
                None
            }
            Ok(frame) => {
                self.bad_frames = 0;
                Some(Event::Heard(frame))
            }
            Err(error) => {
                debug!(%error, "a frame was ignored");
                if error.is_of_a_known_form() { None } else { self.bad_frame().await }
            }
        }
    }

    /// Twilio closes with 1000 when the session is over; anything else is an accident, and the caller may still be there.
    fn line_closed(&mut self, code: Option<u16>) -> Event {
        self.line = None;
        if code == Some(1000) {
            return self.ended(End::Closed(code));
        }
        warn!(?code, "the socket broke: the call waits for a new one");
        Event::SocketLost
    }

    /// A socket that brings nothing else is closed; the call, and a payment in it, waits for a better one.
    async fn bad_frame(&mut self) -> Option<Event> {
        self.bad_frames += 1;
        if self.bad_frames < MAX_BAD_FRAMES {
            return None;
        }
        if let Some(mut line) = self.line.take() {
            let _ = line.send(Sent::Close(1007, "too many bad frames")).await;
        }
        warn!("too many bad frames in a row: the socket is closed, and the call waits for a new one");
        Some(Event::SocketLost)
    }

    async fn told(&mut self, news: News) -> Option<Event> {
        match news {
            News::PaymentStatus(status) => Some(Event::PaymentStatus(*status)),
            News::Line(_) if self.end.is_some() => None,
            News::Line(line) => self.take_over(line).await,
            News::CallStatus(status) if status.is_terminal() => Some(self.ended(End::Told)),
            News::CallStatus(status) => {
                info!(?status, "call progress");
                None
            }
            News::Reconfigure { keys, library } => {
                self.briefing.take(&keys, Some(library));
                None
            }
            News::Over => Some(self.ended(End::Told)),
        }
    }

    /// A new socket of the call: the old one, if it is still there, has nothing to say any more.
    async fn take_over(&mut self, line: Line) -> Option<Event> {
        info!("a new socket takes the call up");
        self.bad_frames = 0;
        if let Some(mut older) = self.line.replace(line) {
            let _ = older.send(Sent::Close(1001, "a newer socket has taken the call")).await;
            let actions = self.call.handle(Event::SocketLost, Instant::now().into_std());
            self.carry_out(actions).await;
        }
        Some(Event::Resumed)
    }

    async fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Say(frame) => self.send(Sent::Text(frame.to_json())).await,
                Action::AskModel(request) => {
                    let id = request.id;
                    let response = self.model.respond(self.briefing.profile(), request);
                    self.response = Some((id, response));
                }
                Action::StopModel => self.response = None,
                Action::RunTool { run, tool } => {
                    begin_tool(&self.context, &self.desk, self.briefing.library(), &self.finished_sender, run, tool);
                }
                Action::ChangeContext(keys) => self.briefing.take(&keys, None),
                Action::Record(entry) => {
                    payment_log::record(&entry);
                    if let Entry::Answered(agreed) = entry {
                        record_statement(&self.context, &self.desk, agreed);
                    }
                }
                Action::Close => self.close().await,
            }
        }
    }

    /// A socket that takes nothing any more is no socket.
    async fn send(&mut self, frame: Sent) {
        let Some(line) = self.line.as_mut().filter(|_| self.end.is_none()) else { return };
        if line.send(frame).await.is_err() {
            self.line = None;
            self.line_broke = true;
        }
    }

    async fn close(&mut self) {
        let ours = match self.end {
            None => Some(Sent::Close(1000, "the call is over")),
            Some(End::Stopped) => Some(Sent::Close(1012, "the server stops")),
            Some(_) => None,
        };
        self.end.get_or_insert(if self.line.is_some() { End::NotClosed } else { End::NotResumed });
        if let (Some(close), Some(line)) = (ours, &mut self.line) {
            let _ = line.send(close).await;
        }
        self.closed = true;
    }
}

/// Records a statement and its answer beside the session: the caller does not wait for the ledger.
fn record_statement(context: &Context, desk: &Arc<Desk>, agreed: Agreed) {
    let desk = desk.clone();
    let work = async move {
        if let Err(error) = desk.ledger.record_statement(&desk.call, &agreed).await {
            error!(event = "ledger.write_failed", %error, "A caller's answer to a statement cannot be recorded.");
        }
    };
    context.tasks.spawn(work.in_current_span());
}

/// A tool runs beside the session, so that what it began is finished even if the call ends meanwhile.
fn begin_tool(
    context: &Arc<Context>,
    desk: &Arc<Desk>,
    library: Arc<Library>,
    finished: &mpsc::Sender<(RunId, Outcome)>,
    run: RunId,
    tool: Tool,
) {
    let name = tool.name();
    info!(tool = name, "tool begun");
    let (desk, finished) = (desk.clone(), finished.clone());
    let work = async move {
        let work = AssertUnwindSafe(tools::run(&desk, &library, tool)).catch_unwind();
        let outcome = match timeout(TOOL_LIMIT, work).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Outcome::Lost,
            Err(_) => {
                warn!(tool = name, "tool took too long");
                Outcome::Lost
            }
        };
        // Nobody waits for it only if the session's task is gone.
        let _ = finished.send((run, outcome)).await;
    };
    context.tasks.spawn(work.in_current_span());
}

/// The next event of the response in flight; without one, nothing for ever.
async fn next_of(response: &mut Option<(RequestId, BoxStream<'static, ModelEvent>)>) -> (RequestId, ModelEvent) {
    if let Some((id, stream)) = response {
        let id = *id;
        if let Some(event) = stream.next().await {
            return (id, event);
        }
        *response = None;
    }
    std::future::pending().await
}

/// The next frame; without a socket, nothing for ever.
async fn next_frame(line: &mut Option<Line>) -> Received {
    match line {
        Some(line) => line.incoming.next().await.unwrap_or(Received::Closed(None)),
        None => std::future::pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
