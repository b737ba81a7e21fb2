//! What a session waits for. The model wakes it for each of its tokens, everything else some times in a minute: that is
//! polled only after it has woken the task itself.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::stream::BoxStream;
use futures_util::task::AtomicWaker;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::SessionMessage;
use super::socket::{RelaySocket, SendFrameError, SocketInput};
use super::tool_runner::ToolEvent;
use crate::call::{ModelEvent, ModelRequestId};
use crate::deadline_timer::DeadlineTimer;

/// One thing that a session handles.
pub(super) enum Input {
    /// The session has to stop.
    Stop,
    /// The server begins to drain.
    Drain,
    /// The socket has received something, or was closed.
    Socket(SocketInput),
    /// Another task has sent a message.
    Message(Box<SessionMessage>),
    /// The model has responded.
    Model(ModelRequestId, ModelEvent),
    /// A tool has something to report.
    Tool(Box<ToolEvent>),
    /// The deadline has come.
    Deadline,
}

/// Where the inputs of a session come from.
pub(super) struct Inputs {
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
    /// `None` once the server drains.
    draining: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// `None` while the call waits for a new one.
    pub(super) socket: Option<RelaySocket>,
    pub(super) mailbox: mpsc::Receiver<Box<SessionMessage>>,
    pub(super) response: ModelResponse,
    pub(super) tool_events: mpsc::Receiver<Box<ToolEvent>>,
    timer: DeadlineTimer,
    gate: WakeGate,
}

impl Inputs {
    /// Creates the inputs of a call with this socket. `stopped` and `draining` complete once, or never.
    pub(super) fn new(
        socket: RelaySocket,
        stopped: WaitForCancellationFutureOwned,
        draining: WaitForCancellationFutureOwned,
        mailbox: mpsc::Receiver<Box<SessionMessage>>,
        tool_events: mpsc::Receiver<Box<ToolEvent>>,
    ) -> Self {
        Self {
            stopped: Box::pin(stopped),
            draining: Some(Box::pin(draining)),
            socket: Some(socket),
            mailbox,
            response: ModelResponse::default(),
            tool_events,
            timer: DeadlineTimer::new(),
            gate: WakeGate::new(),
        }
    }

    /// Receives from a new socket. Returns the older one, if there is one.
    pub(super) fn replace_socket(&mut self, socket: RelaySocket) -> Option<RelaySocket> {
        self.gate.open();
        self.socket.replace(socket)
    }

    /// Waits for the next input. If several are ready the order is that of [`Input`]. Once the caller is gone, there is
    /// nothing more to stop, and the socket is not read.
    pub(super) async fn next(&mut self, is_caller_gone: bool, deadline: Option<Instant>) -> Input {
        std::future::poll_fn(|context| self.poll_next(is_caller_gone, deadline, context)).await
    }

    fn poll_next(&mut self, is_caller_gone: bool, deadline: Option<Instant>, context: &mut Context<'_>) -> Poll<Input> {
        // While the peer does not read, nothing is read from the model, and everything else goes on.
        let is_stalled = match self.poll_write(is_caller_gone, context) {
            Poll::Ready(Ok(())) => false,
            Poll::Ready(Err(SendFrameError)) => return Poll::Ready(Input::Socket(SocketInput::Closed(None))),
            Poll::Pending => true,
        };
        let is_open = self.gate.poll_open(context);
        if is_open && let Some(input) = self.poll_outside(is_caller_gone) {
            return Poll::Ready(input);
        }
        if !is_stalled && let Poll::Ready((request, event)) = self.response.poll_event(context) {
            return Poll::Ready(Input::Model(request, event));
        }
        if is_open
            && let Poll::Ready(Some(event)) = self.tool_events.poll_recv(&mut Context::from_waker(&self.gate.waker))
        {
            return Poll::Ready(Input::Tool(event));
        }
        self.gate.close();
        match deadline {
            Some(deadline) => self.timer.poll(deadline, context).map(|()| Input::Deadline),
            None => Poll::Pending,
        }
    }

    /// Writes what the socket has not taken yet.
    fn poll_write(&mut self, is_caller_gone: bool, context: &mut Context<'_>) -> Poll<Result<(), SendFrameError>> {
        match &mut self.socket {
            Some(socket) if !is_caller_gone && socket.write_deadline().is_some() => socket.poll_write(context),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Polls what comes before the model's response.
    fn poll_outside(&mut self, is_caller_gone: bool) -> Option<Input> {
        let context = &mut Context::from_waker(&self.gate.waker);
        if !is_caller_gone && self.stopped.as_mut().poll(context).is_ready() {
            return Some(Input::Stop);
        }
        if let Some(draining) = &mut self.draining
            && draining.as_mut().poll(context).is_ready()
        {
            self.draining = None;
            return Some(Input::Drain);
        }
        if !is_caller_gone
            && let Some(socket) = &mut self.socket
            && let Poll::Ready(input) = socket.poll_receive(context)
        {
            return Some(Input::Socket(input.unwrap_or(SocketInput::Closed(None))));
        }
        match self.mailbox.poll_recv(context) {
            Poll::Ready(Some(message)) => Some(Input::Message(message)),
            _ => None,
        }
    }
}

/// The response of the model that is in flight, if there is one.
#[derive(Default)]
pub(super) struct ModelResponse(Option<(ModelRequestId, BoxStream<'static, ModelEvent>)>);

impl ModelResponse {
    /// The response to this request.
    pub(super) fn new(request: ModelRequestId, events: BoxStream<'static, ModelEvent>) -> Self {
        Self(Some((request, events)))
    }

    /// Waits for its next event. Without a response that never comes.
    pub(super) async fn next_event(&mut self) -> (ModelRequestId, ModelEvent) {
        std::future::poll_fn(|context| self.poll_event(context)).await
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<(ModelRequestId, ModelEvent)> {
        let Some((request, events)) = &mut self.0 else { return Poll::Pending };
        match events.as_mut().poll_next(context) {
            Poll::Ready(Some(event)) => Poll::Ready((*request, event)),
            Poll::Ready(None) => {
                self.0 = None;
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

/// A gate in front of what is polled in vain at most wakes of a task. It opens when something behind it has woken the
/// task, and stays open until all of that was polled in vain.
struct WakeGate {
    wakes: Arc<Wakes>,
    /// That of what stands behind the gate.
    waker: Waker,
    is_open: bool,
}

struct Wakes {
    /// Something was woken since the gate was last asked.
    is_new: AtomicBool,
    task: AtomicWaker,
}

impl WakeGate {
    /// An open gate: nothing behind it knows its waker yet.
    fn new() -> Self {
        let wakes = Arc::new(Wakes { is_new: AtomicBool::new(false), task: AtomicWaker::new() });
        Self { waker: wakes.clone().into(), wakes, is_open: true }
    }

    fn open(&mut self) {
        self.is_open = true;
    }

    fn close(&mut self) {
        self.is_open = false;
    }

    /// Whether what stands behind the gate has to be polled.
    fn poll_open(&mut self, task: &Context<'_>) -> bool {
        self.wakes.task.register(task.waker());
        self.is_open |= self.wakes.is_new.swap(false, Ordering::AcqRel);
        self.is_open
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_new.store(true, Ordering::Release);
        self.task.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _, sink, stream};
    use tokio_util::sync::CancellationToken;

    use super::super::socket::{SocketOutput, halves::Halves};
    use super::*;

    /// The inputs of a call, and what they come from.
    struct Sources {
        inputs: Inputs,
        stop: CancellationToken,
        drain: CancellationToken,
        frames: mpsc::Sender<SocketInput>,
        mailbox: mpsc::Sender<Box<SessionMessage>>,
        model: mpsc::Sender<ModelEvent>,
        tools: mpsc::Sender<Box<ToolEvent>>,
        /// How often the socket was polled.
        socket_polls: Arc<AtomicUsize>,
    }

    fn incoming(
        mut frames: mpsc::Receiver<SocketInput>,
        polls: Arc<AtomicUsize>,
    ) -> impl futures_util::Stream<Item = SocketInput> {
        stream::poll_fn(move |context| {
            polls.fetch_add(1, Ordering::Relaxed);
            frames.poll_recv(context)
        })
    }

    fn socket(frames: mpsc::Receiver<SocketInput>, polls: Arc<AtomicUsize>) -> RelaySocket {
        let outgoing = sink::drain().sink_map_err(|never| match never {});
        RelaySocket::new(Halves::new(incoming(frames, polls), outgoing))
    }

    fn sources() -> Sources {
        let (stop, drain, socket_polls) = (CancellationToken::new(), CancellationToken::new(), Arc::default());
        let (frames, from_socket) = mpsc::channel(16);
        let (mailbox, messages) = mpsc::channel(8);
        let (tools, tool_events) = mpsc::channel(8);
        let (model, mut from_model) = mpsc::channel(16);
        let socket = socket(from_socket, Arc::clone(&socket_polls));
        let (stopped, draining) = (stop.clone().cancelled_owned(), drain.clone().cancelled_owned());
        let mut inputs = Inputs::new(socket, stopped, draining, messages, tool_events);
        let response = stream::poll_fn(move |context| from_model.poll_recv(context));
        inputs.response = ModelResponse::new(ModelRequestId(1), response.boxed());
        Sources { inputs, stop, drain, frames, mailbox, model, tools, socket_polls }
    }

    fn token(text: &str) -> ModelEvent {
        ModelEvent::TextDelta(crate::redact::Private::new(text.to_owned()))
    }

    /// The name of the next input, if there is one now.
    fn next(inputs: &mut Inputs) -> Option<&'static str> {
        Some(match inputs.next(false, None).now_or_never()? {
            Input::Stop => "stop",
            Input::Drain => "drain",
            Input::Socket(_) => "socket",
            Input::Message(_) => "message",
            Input::Model(..) => "model",
            Input::Tool(_) => "tool",
            Input::Deadline => "deadline",
        })
    }

    #[tokio::test]
    async fn of_several_inputs_the_most_urgent_comes_first() {
        let mut of = sources();
        for _ in 0..2 {
            let event = crate::call::CallEvent::Tick;
            of.tools.try_send(Box::new(ToolEvent { event, span: None })).unwrap();
            of.model.try_send(token("word")).unwrap();
            of.mailbox.try_send(Box::new(SessionMessage::CallEnded)).unwrap();
            of.frames.try_send(SocketInput::Alive).unwrap();
            of.drain.cancel();
        }
        let order = std::iter::from_fn(|| next(&mut of.inputs)).collect::<Vec<_>>().join(" ");
        assert_eq!(order, "drain socket socket message message model model tool tool");
        of.stop.cancel();
        assert_eq!(next(&mut of.inputs), Some("stop"));
    }

    #[tokio::test]
    async fn a_token_of_the_model_polls_nothing_else() {
        let mut of = sources();
        assert_eq!(next(&mut of.inputs), None);
        let polls = of.socket_polls.load(Ordering::Relaxed);
        for _ in 0..10 {
            of.model.try_send(token("word")).unwrap();
            assert_eq!((next(&mut of.inputs), next(&mut of.inputs)), (Some("model"), None));
        }
        assert_eq!(of.socket_polls.load(Ordering::Relaxed), polls);
        // Each of the others is noticed.
        of.frames.try_send(SocketInput::Alive).unwrap();
        assert_eq!((next(&mut of.inputs), next(&mut of.inputs)), (Some("socket"), None));
        of.mailbox.try_send(Box::new(SessionMessage::CallEnded)).unwrap();
        assert_eq!((next(&mut of.inputs), next(&mut of.inputs)), (Some("message"), None));
        of.drain.cancel();
        assert_eq!((next(&mut of.inputs), next(&mut of.inputs)), (Some("drain"), None));
        of.stop.cancel();
        assert_eq!(next(&mut of.inputs), Some("stop"));
    }

    #[tokio::test]
    async fn the_task_is_woken_by_each_source() {
        let mut of = sources();
        assert_eq!(next(&mut of.inputs), None);
        let waiting = tokio::spawn(async move { matches!(of.inputs.next(false, None).await, Input::Message(_)) });
        tokio::task::yield_now().await;
        of.mailbox.try_send(Box::new(SessionMessage::CallEnded)).unwrap();
        assert!(waiting.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn while_the_socket_takes_no_frame_only_the_model_waits() {
        let mut of = sources();
        let (frames, from_socket) = mpsc::channel(16);
        // It takes one frame, and the next one when that was read.
        let (taking, mut written) = mpsc::channel(1);
        let outgoing = sink::unfold(taking, async |taking: mpsc::Sender<SocketOutput>, frame| {
            taking.send(frame).await.map_err(|_| SendFrameError)?;
            Ok(taking)
        });
        of.inputs.replace_socket(RelaySocket::new(Halves::new(incoming(from_socket, Arc::default()), outgoing)));
        let socket = of.inputs.socket.as_mut().unwrap();
        for word in ["one", "two", "three"] {
            socket.post(SocketOutput::Text(word.to_owned())).await.unwrap();
        }
        assert!(socket.write_deadline().is_some());
        of.model.try_send(token("word")).unwrap();
        assert_eq!(next(&mut of.inputs), None, "nothing is read from the model");
        frames.try_send(SocketInput::Alive).unwrap();
        of.mailbox.try_send(Box::new(SessionMessage::CallEnded)).unwrap();
        assert_eq!([next(&mut of.inputs), next(&mut of.inputs)], [Some("socket"), Some("message")]);
        // The peer reads again.
        for word in ["one", "two", "three"] {
            assert_eq!(next(&mut of.inputs).filter(|_| word != "three"), None);
            assert!(matches!(written.try_recv(), Ok(SocketOutput::Text(text)) if text == word));
        }
        assert!(of.inputs.socket.as_ref().unwrap().write_deadline().is_none());
        of.stop.cancel();
        assert_eq!(next(&mut of.inputs), Some("stop"));
    }

    #[tokio::test]
    async fn a_new_socket_is_received_from() {
        let mut of = sources();
        assert_eq!(next(&mut of.inputs), None);
        let (frames, from_socket) = mpsc::channel(16);
        assert!(of.inputs.replace_socket(socket(from_socket, Arc::default())).is_some());
        assert_eq!(next(&mut of.inputs), None);
        frames.try_send(SocketInput::Alive).unwrap();
        assert_eq!(next(&mut of.inputs), Some("socket"));
    }
}
