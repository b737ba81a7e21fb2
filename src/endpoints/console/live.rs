//! `GET /console/events`: the overview as server-sent events.
//!
//! One task takes a snapshot a second for all consoles, and only while one of them is open.

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt as _, stream};
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::super::App;
use super::super::auth::console_session::ConsoleOperator;
use super::page::PageError;
use super::snapshot::{LedgerView, Snapshot};

/// The most consoles that watch at once. Each takes one connection.
const MAX_CONSOLES: usize = 32;

/// How often a snapshot is taken.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(1);

/// How often the ledger is read for it.
const LEDGER_INTERVAL: Duration = Duration::from_secs(5);

/// Time limit for reading the ledger.
const LEDGER_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a stream lasts. The browser opens another one, if its cookie is still valid.
const MAX_STREAM: Duration = Duration::from_mins(15);

/// How long a console may take to read a snapshot. One that takes longer has its stream ended, and its place goes to another.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// What the open consoles share.
pub(in crate::endpoints) struct ConsoleFeed {
    places: Arc<Semaphore>,
    /// The last snapshot; empty before the first one.
    latest: watch::Sender<Arc<str>>,
    /// The task that takes the snapshots, while there is one.
    task: Mutex<Option<JoinHandle<()>>>,
    ledger: tokio::sync::Mutex<Option<(Instant, Option<Arc<LedgerView>>)>>,
}

impl Default for ConsoleFeed {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(MAX_CONSOLES)),
            latest: watch::Sender::new(Arc::from("")),
            task: Mutex::default(),
            ledger: tokio::sync::Mutex::default(),
        }
    }
}

/// Streams snapshots until the console is closed, the server stops or [`MAX_STREAM`] is over.
pub(super) async fn get(_: ConsoleOperator, State(app): State<App>) -> Response {
    let Ok(place) = app.console.places.clone().try_acquire_owned() else {
        let error = format!("{MAX_CONSOLES} consoles are open already: close one of them.");
        return PageError::new(StatusCode::SERVICE_UNAVAILABLE, error).into_response();
    };
    let snapshots = app.console.clone().subscribe(&app);
    let stream = events(snapshots, place, app.session.hard_stop.clone());
    Sse::new(stream).keep_alive(KeepAlive::default()).into_response()
}

/// Passes snapshots on to a stream, as long as somebody reads it. The place is kept as long.
fn events(
    mut snapshots: watch::Receiver<Arc<str>>,
    place: OwnedSemaphorePermit,
    stop: CancellationToken,
) -> impl Stream<Item = Result<Event, Infallible>> + use<> {
    let (sender, mut receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let _place = place;
        let ends_at = Instant::now() + MAX_STREAM;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep_until(ends_at) => return,
                () = sender.closed() => return,
                changed = snapshots.changed() => if changed.is_err() { return },
            }
            let snapshot = snapshots.borrow_and_update().clone();
            if !snapshot.is_empty() && sender.send_timeout(snapshot, READ_TIMEOUT).await.is_err() {
                return;
            }
        }
    });
    stream::poll_fn(move |context| receiver.poll_recv(context))
        .map(|snapshot: Arc<str>| Ok(Event::default().data(&*snapshot)))
}

impl ConsoleFeed {
    /// Returns the snapshots from now on, and begins to take them if no other console is open.
    fn subscribe(self: Arc<Self>, app: &App) -> watch::Receiver<Arc<str>> {
        let mut snapshots = self.latest.subscribe();
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.as_ref().is_none_or(JoinHandle::is_finished) {
            // What was left by the last console is old.
            self.latest.send_replace(Arc::from(""));
            snapshots.mark_unchanged();
            *task = Some(tokio::spawn(take_snapshots(app.clone())));
        } else if !snapshots.borrow().is_empty() {
            snapshots.mark_changed();
        }
        drop(task);
        snapshots
    }

    /// Takes a snapshot.
    pub(super) async fn snapshot(&self, app: &App) -> Snapshot {
        let now = Timestamp::now();
        let ledger = self.ledger_view(app, now).await;
        Snapshot::take(&app.session, app.draining.is_cancelled(), ledger.as_deref(), now)
    }

    /// What the ledger knows, read at most every [`LEDGER_INTERVAL`]. `None` if it cannot be read.
    async fn ledger_view(&self, app: &App, now: Timestamp) -> Option<Arc<LedgerView>> {
        let mut known = self.ledger.lock().await;
        if let Some((read_at, view)) = &*known
            && read_at.elapsed() < LEDGER_INTERVAL
        {
            return view.clone();
        }
        let view = match timeout(LEDGER_TIMEOUT, LedgerView::read(&app.session.ledger, now)).await {
            Ok(Ok(view)) => Some(Arc::new(view)),
            Ok(Err(error)) => {
                debug!(event = "console.ledger_unread", %error, "The ledger cannot be read for the console.");
                None
            }
            Err(_) => None,
        };
        *known = Some((Instant::now(), view.clone()));
        view
    }
}

/// Takes a snapshot a second until no console is open.
async fn take_snapshots(app: App) {
    let feed = app.console.clone();
    let mut ticks = interval(SNAPSHOT_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = app.session.hard_stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let snapshot = feed.snapshot(&app).await.to_json();
        feed.latest.send_if_modified(|latest| {
            let is_new = **latest != *snapshot;
            if is_new {
                *latest = Arc::from(snapshot);
            }
            is_new
        });
        // Under the lock, so that a console which is just opened sees either this task or none.
        let mut task = feed.task.lock().unwrap_or_else(PoisonError::into_inner);
        if feed.latest.receiver_count() == 0 {
            *task = None;
            return;
        }
    }
}

impl fmt::Debug for ConsoleFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConsoleFeed({} open)", MAX_CONSOLES - self.places.available_permits())
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    /// The places and the snapshots of consoles, of which one is open.
    fn open() -> (Arc<Semaphore>, watch::Sender<Arc<str>>, impl Stream<Item = Result<Event, Infallible>>) {
        let (places, latest) = (Arc::new(Semaphore::new(1)), watch::Sender::new(Arc::from("")));
        let place = places.clone().try_acquire_owned().unwrap();
        let stream = events(latest.subscribe(), place, CancellationToken::new());
        (places, latest, stream)
    }

    #[tokio::test(start_paused = true)]
    async fn a_console_that_does_not_read_loses_its_place() {
        let (places, latest, stream) = open();
        let mut stream = pin!(stream);
        for second in 0..40 {
            latest.send_replace(second.to_string().into());
            tokio::time::sleep(SNAPSHOT_INTERVAL).await;
        }
        assert_eq!(places.available_permits(), 1);
        assert!(stream.next().await.is_some(), "what was sent to it");
        assert!(stream.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_console_that_reads_keeps_its_place_until_it_is_closed() {
        let (places, latest, stream) = open();
        let mut stream = Box::pin(stream);
        for second in 0..40 {
            latest.send_replace(second.to_string().into());
            assert!(stream.next().await.is_some());
            tokio::time::sleep(SNAPSHOT_INTERVAL).await;
        }
        assert_eq!(places.available_permits(), 0);
        drop(stream);
        tokio::task::yield_now().await;
        assert_eq!(places.available_permits(), 1);
    }
}
