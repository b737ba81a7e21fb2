//! The task that owns a call, and the map from call SID to that task.
//!
//! The task alone touches its [`Call`]: it turns frames, callbacks, model output, tool results and time into events, and
//! carries out the actions. Outsiders hold a mailbox.

mod calls;
mod ledger;

pub use calls::{Calls, Delivery, News};

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{FutureExt, Sink, SinkExt, Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, info, info_span, warn};
use uuid::Uuid;

use crate::call::{Action, Call, Event, ModelEvent, Outcome, RequestId, RunId, Settings, Tool};
use crate::llm::{Model, Profile};
use crate::relay::{Incoming, Setup};
use crate::sid::CallSid;
use crate::{tools, twilio};
use calls::Registration;

/// How long the first frame may take.
const SETUP_LIMIT: Duration = Duration::from_secs(10);

/// How long a write to the socket may take before the socket counts as dead.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// How long a tool may take; Twilio's client gives up before.
const TOOL_LIMIT: Duration = Duration::from_secs(15);

/// Bad frames in a row that end a session, as Twilio ends one after ten of ours.
const MAX_BAD_FRAMES: u32 = 10;

/// What came through the socket.
#[derive(Debug)]
pub enum Received {
    /// A text frame.
    Text(String),
    /// A frame that cannot be ConversationRelay's.
    Bad,
    /// The socket was closed, with this code, or broke.
    Closed(Option<u16>),
}

/// What goes out through the socket.
#[derive(Debug)]
pub enum Sent {
    /// A text frame.
    Text(String),
    /// The socket is closed with a code and a reason.
    Close(u16, &'static str),
}

/// What all sessions share.
#[derive(Debug)]
pub struct Context {
    /// The model.
    pub model: Model,
    /// Its instructions and tools.
    pub profile: Arc<Profile>,
    /// Twilio's REST API.
    pub twilio: Arc<twilio::Client>,
    /// What calls do and say.
    pub settings: Arc<Settings>,
    /// The live calls.
    pub calls: Calls,
    /// Everything that runs for a call.
    pub tasks: TaskTracker,
    /// Ends all sessions at once.
    pub hard_stop: CancellationToken,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The socket was closed with this code, or broke.
    Closed(Option<u16>),
    /// Twilio said that the call is over.
    Told,
    /// A newer socket of the same call took over, or the server stops.
    Stopped,
    /// Too many bad frames in a row.
    BadFrames,
    /// The socket took nothing any more.
    WriteFailed,
    /// Twilio did not close the socket after `end`.
    NotClosed,
}

/// Serves one ConversationRelay socket from its first frame to the end of its call.
pub async fn run<I, O>(context: Arc<Context>, mut incoming: I, mut outgoing: O)
where
    I: Stream<Item = Received> + Unpin + Send,
    O: Sink<Sent> + Unpin + Send,
{
    let setup = match timeout(SETUP_LIMIT, incoming.next()).await {
        Ok(Some(Received::Text(frame))) => Incoming::parse(&frame).ok(),
        _ => None,
    };
    let Some(Incoming::Setup(setup)) = setup else {
        warn!("a socket did not begin with a setup frame: closed");
        let close = outgoing.send(Sent::Close(1002, "the first frame must be setup"));
        let _ = timeout(WRITE_LIMIT, close).await;
        return;
    };
    let span = info_span!("call", sid = %setup.call_sid);
    talk(context, setup, incoming, outgoing).instrument(span).await;
}

/// The bracket around a session: registers, counts, logs the end once. The registration ends with the value.
async fn talk<I, O>(context: Arc<Context>, setup: Setup, incoming: I, outgoing: O)
where
    I: Stream<Item = Received> + Unpin + Send,
    O: Sink<Sent> + Unpin + Send,
{
    let began = Instant::now();
    let (registration, mailbox) = context.calls.register(&setup.call_sid, &context.hard_stop);
    info!(live = context.calls.count(), direction = %setup.direction, "call connected");

    let (call, actions) = Call::begin(context.settings.clone(), &setup, Uuid::new_v4(), began.into_std());
    let (finished_sender, finished) = mpsc::channel(16);
    let session = Session {
        context: context.clone(),
        sid: setup.call_sid,
        call,
        incoming,
        outgoing,
        registration,
        mailbox,
        response: None,
        finished_sender,
        finished,
        bad_frames: 0,
        end: None,
        closed: false,
    };
    let end = session.converse(actions).await;
    info!(live = context.calls.count(), seconds = began.elapsed().as_secs(), ?end, "call ended");
}

struct Session<I, O> {
    context: Arc<Context>,
    sid: CallSid,
    call: Call,
    incoming: I,
    outgoing: O,
    registration: Registration,
    mailbox: mpsc::Receiver<News>,
    response: Option<(RequestId, BoxStream<'static, ModelEvent>)>,
    finished_sender: mpsc::Sender<(RunId, Outcome)>,
    finished: mpsc::Receiver<(RunId, Outcome)>,
    bad_frames: u32,
    /// Set once the caller is gone: only what is running is waited for.
    end: Option<End>,
    closed: bool,
}

impl<I, O> Session<I, O>
where
    I: Stream<Item = Received> + Unpin + Send,
    O: Sink<Sent> + Unpin + Send,
{
    async fn converse(mut self, actions: Vec<Action>) -> Option<End> {
        self.carry_out(actions).await;
        while !self.closed {
            let Some(event) = self.next_event().await else { continue };
            let actions = self.call.handle(event, Instant::now().into_std());
            self.carry_out(actions).await;
        }
        self.end
    }

    /// Waits for whatever comes first. The order decides when several things have come: an end before all, then the
    /// caller, Twilio, the model, tools, time.
    async fn next_event(&mut self) -> Option<Event> {
        let live = self.end.is_none();
        tokio::select! {
            biased;
            () = self.registration.stopped(), if live => Some(self.ended(End::Stopped)),
            frame = self.incoming.next(), if live => self.received(frame.unwrap_or(Received::Closed(None))),
            Some(news) = self.mailbox.recv(), if live => Some(self.told(news)),
            (request, event) = next_of(&mut self.response) => Some(Event::Model { request, event }),
            Some((run, outcome)) = self.finished.recv() => Some(Event::ToolFinished { run, outcome }),
            () = until(self.call.deadline()) => Some(Event::Tick),
        }
    }

    fn ended(&mut self, end: End) -> Event {
        self.end.get_or_insert(end);
        Event::HungUp
    }

    fn received(&mut self, frame: Received) -> Option<Event> {
        let frame = match frame {
            Received::Text(frame) => Incoming::parse(&frame),
            Received::Closed(code) => return Some(self.ended(End::Closed(code))),
            Received::Bad => return self.bad_frame(),
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
                self.bad_frame()
            }
        }
    }

    fn bad_frame(&mut self) -> Option<Event> {
        self.bad_frames += 1;
        if self.bad_frames < MAX_BAD_FRAMES {
            return None;
        }
        Some(self.ended(End::BadFrames))
    }

    fn told(&mut self, news: News) -> Event {
        match news {
            News::PaymentStatus(status) => Event::PaymentStatus(status),
            News::Over => self.ended(End::Told),
        }
    }

    async fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Say(frame) => self.send(Sent::Text(frame.to_json())).await,
                Action::AskModel(request) => {
                    let id = request.id;
                    let response = self.context.model.respond(self.context.profile.clone(), request);
                    self.response = Some((id, response));
                }
                Action::StopModel => self.response = None,
                Action::RunTool { run, tool } => self.run_tool(run, tool),
                Action::Record(entry) => ledger::record(&entry),
                Action::Close => self.close().await,
            }
        }
    }

    async fn send(&mut self, frame: Sent) {
        if self.end.is_some() {
            return;
        }
        if !matches!(timeout(WRITE_LIMIT, self.outgoing.send(frame)).await, Ok(Ok(()))) {
            self.end = Some(End::WriteFailed);
            let actions = self.call.handle(Event::HungUp, Instant::now().into_std());
            Box::pin(self.carry_out(actions)).await;
        }
    }

    /// A tool runs beside the session, so that what it began is finished even if the call ends meanwhile.
    fn run_tool(&self, run: RunId, tool: Tool) {
        let name = tool.name();
        info!(tool = name, "tool begun");
        let (context, sid, finished) = (self.context.clone(), self.sid.clone(), self.finished_sender.clone());
        let work = async move {
            let work = std::panic::AssertUnwindSafe(tools::run(&context.twilio, &sid, tool)).catch_unwind();
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
        self.context.tasks.spawn(work.in_current_span());
    }

    async fn close(&mut self) {
        let ours = match self.end {
            None => Some(Sent::Close(1000, "the call is over")),
            Some(End::BadFrames) => Some(Sent::Close(1007, "too many bad frames")),
            Some(End::Stopped) => Some(Sent::Close(1001, "the session was taken over or the server stops")),
            Some(_) => None,
        };
        self.end.get_or_insert(End::NotClosed);
        if let Some(close) = ours {
            let _ = timeout(WRITE_LIMIT, self.outgoing.send(close)).await;
        }
        self.closed = true;
    }
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

async fn until(deadline: Option<std::time::Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
