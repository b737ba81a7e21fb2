//! Stops a prediction whose answer is not wanted any more.
//!
//! Closing the connection does not stop it: the flow runs to its end, calls its tools, and stores its words.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};
use tracing::{Instrument as _, Span, debug, warn};

use super::FlowiseClient;

/// The time limit for stopping a prediction.
const ABORT_TIMEOUT: Duration = Duration::from_secs(1);

/// After how long a prediction of which nothing was heard yet is stopped once more. Flowise registers a prediction some
/// milliseconds after the request, and a request to stop it that comes earlier does nothing.
const REPEAT_DELAY: Duration = Duration::from_millis(500);

/// Stops a prediction when it is dropped, if it may still run then. Nobody waits for it, but the shutdown of the server
/// does.
pub(super) struct AbortOnDrop {
    client: Arc<FlowiseClient>,
    url: String,
    may_run: bool,
    has_answered: bool,
}

impl AbortOnDrop {
    /// Creates the guard of a prediction that was not requested yet.
    pub(super) fn new(client: Arc<FlowiseClient>, chatflow_id: &str, chat_id: &str) -> Self {
        let url = client.url(&format!("chatmessage/abort/{chatflow_id}/{chat_id}"));
        Self { client, url, may_run: false, has_answered: false }
    }

    /// Records whether the prediction may be running.
    pub(super) fn set_may_run(&mut self, may_run: bool) {
        self.may_run = may_run;
    }

    /// Records that an event of the prediction arrived, so that Flowise knows it.
    pub(super) fn mark_answered(&mut self) {
        self.has_answered = true;
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        // Without a runtime the process ends.
        let Some(runtime) = Handle::try_current().ok().filter(|_| self.may_run) else { return };
        let (client, url, repeats) = (self.client.clone(), std::mem::take(&mut self.url), !self.has_answered);
        let work = async move {
            let aborted = timeout(ABORT_TIMEOUT, abort(&client, &url, repeats)).await;
            if aborted.unwrap_or(false) {
                debug!(event = "flowise.aborted", "An answer that is not wanted any more was stopped.");
            } else {
                warn!(
                    event = "flowise.abort_failed",
                    "Flowise did not confirm within a second that an answer was stopped; its flow may still call tools."
                );
            }
        };
        self.client.tasks.spawn_on(work.instrument(Span::current()), &runtime);
    }
}

/// Sends the request once, or twice; returns whether the last one was accepted.
async fn abort(client: &FlowiseClient, url: &str, repeats: bool) -> bool {
    let send = async || client.http.put(url).send().await.is_ok_and(|response| response.status().is_success());
    let aborted = send().await;
    if !repeats {
        return aborted;
    }
    sleep(REPEAT_DELAY).await;
    send().await
}
