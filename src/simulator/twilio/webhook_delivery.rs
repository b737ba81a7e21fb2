//! Delivers webhooks to the server: signs for the public URL, posts to the local address, times out after 5 s, and tries
//! once more if the connection fails.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use url::Url;

use super::Quirks;
use crate::simulator::proxy::Proxy;
use crate::simulator::transcript::{Transcript, TranscriptEvent};
use crate::twilio::Signer;

/// The response to a webhook.
#[derive(Debug)]
pub(crate) struct WebhookResponse {
    /// The HTTP status; 0 without a response.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: String,
    /// The body.
    pub body: String,
    /// The time until the response was complete.
    pub elapsed: Duration,
}

/// Posts signed forms as Twilio does.
#[derive(Debug, Clone)]
pub(crate) struct WebhookSender {
    client: reqwest::Client,
    proxy: Proxy,
    public_url: Url,
    signer: Signer,
}

impl WebhookSender {
    /// Creates a sender for a server that is reached through `server` and has the public URL `public`.
    pub(crate) fn new(server: Proxy, public: Url, signer: Signer) -> anyhow::Result<Self> {
        // Twilio allows a webhook 15 s. A local server that needs 5 s would be too slow on a real network.
        let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).no_proxy().build()?;
        Ok(Self { client, proxy: server, public_url: public, signer })
    }

    /// The public URL of the server.
    pub(crate) fn public_url(&self) -> &Url {
        &self.public_url
    }

    /// The proxy in front of the server.
    pub(crate) fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// Posts a form to a URL of the server, with a valid signature.
    pub(crate) async fn post(&self, url: &Url, form: &[(String, String)], token: &str) -> WebhookResponse {
        let signature = self.signer.sign(url.as_str(), form);
        self.post_signed(url, form, token, Some(&signature)).await
    }

    /// Posts a form with the given signature, or without one. If the connection fails it is posted once more with the same
    /// token, as Twilio does by default, and a balancer may choose another server.
    pub(crate) async fn post_signed(
        &self,
        url: &Url,
        form: &[(String, String)],
        token: &str,
        signature: Option<&str>,
    ) -> WebhookResponse {
        let began = Instant::now();
        let mut answer = self.try_post(url, form, token, signature).await;
        if answer.as_ref().is_err_and(is_connection_failure) {
            answer = self.try_post(url, form, token, signature).await;
        }
        let (status, content_type, body) = answer.unwrap_or_default();
        WebhookResponse { status, content_type, body, elapsed: began.elapsed() }
    }

    /// Posts a form once. Returns the status, `Content-Type` and the body of the response.
    async fn try_post(
        &self,
        url: &Url,
        form: &[(String, String)],
        token: &str,
        signature: Option<&str>,
    ) -> reqwest::Result<(u16, String, String)> {
        let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
        let mut request = self
            .client
            .post(format!("http://{}{path}", self.proxy.request_target().await))
            .header("User-Agent", "TwilioProxy/1.1")
            .header("I-Twilio-Idempotency-Token", token)
            .form(form);
        if let Some(signature) = signature {
            request = request.header("X-Twilio-Signature", signature);
        }
        let answer = request.send().await?;
        let content_type = answer.headers().get("content-type").and_then(|it| it.to_str().ok()).unwrap_or_default();
        let (status, content_type) = (answer.status().as_u16(), content_type.to_owned());
        Ok((status, content_type, answer.text().await?))
    }
}

/// Whether there was no response since the connection could not be made, or broke.
fn is_connection_failure(error: &reqwest::Error) -> bool {
    !error.is_timeout() && (error.is_connect() || error.is_request())
}

/// A status callback to deliver.
#[derive(Debug)]
pub(super) struct CallbackDelivery {
    /// The URL.
    pub url: Url,
    /// The form.
    pub form: Vec<(String, String)>,
    /// What it reports, for the transcript.
    pub description: String,
    /// `Result`, if this is the final callback.
    pub result: Option<String>,
    /// Notified when the server has answered.
    pub answered: Option<oneshot::Sender<()>>,
    /// The transcript of its call.
    pub transcript: Transcript,
}

/// How long callbacks are collected before they are shuffled, on the real clock.
const SHUFFLE_WINDOW: Duration = Duration::from_millis(15);

/// Delivers callbacks until the queue closes, in order or as the quirks define.
pub(super) async fn deliver_callbacks(
    mut queue: mpsc::Receiver<CallbackDelivery>,
    webhooks: WebhookSender,
    quirks: Quirks,
) {
    let mut dice = quirks.shuffle_seed.map(ShuffleRng);
    let mut count = 0_u64;
    while let Some(first) = queue.recv().await {
        let mut burst = vec![first];
        if let Some(dice) = &mut dice {
            let until = Instant::now() + SHUFFLE_WINDOW;
            while let Ok(Some(next)) = tokio::time::timeout_at(until, queue.recv()).await {
                burst.push(next);
            }
            dice.shuffle(&mut burst);
        }
        for delivery in burst {
            count += 1;
            let token = format!("callback-{count}");
            for _ in 0..if quirks.duplicate_callbacks { 2 } else { 1 } {
                deliver_callback(&delivery, &token, &webhooks).await;
            }
            if let Some(done) = delivery.answered {
                // The receiver may have timed out.
                let _ = done.send(());
            }
        }
    }
}

async fn deliver_callback(delivery: &CallbackDelivery, token: &str, webhooks: &WebhookSender) {
    let transcript = &delivery.transcript;
    let answer = webhooks.post(&delivery.url, &delivery.form, token).await;
    transcript.record(TranscriptEvent::CallbackDelivered { terminal: delivery.result.clone(), took: answer.elapsed });
    if !(200..300).contains(&answer.status) {
        transcript.record_violation(format!(
            "a status callback ({}) was answered {}, not 2xx",
            delivery.description, answer.status
        ));
    }
}

/// A linear congruential generator, so that a run is reproducible.
struct ShuffleRng(u64);

impl ShuffleRng {
    fn next_below(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % below.max(1)
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.next_below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_order_again() {
        let shuffled = |seed| {
            let mut items: Vec<u8> = (0..8).collect();
            ShuffleRng(seed).shuffle(&mut items);
            items
        };
        assert_eq!(shuffled(3), shuffled(3));
        assert_ne!(shuffled(3), (0..8).collect::<Vec<_>>());
    }
}
