//! Delivers webhooks to the server: signed for the public URL, sent to the local address, answered in time.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use url::Url;

use super::Quirks;
use crate::simulator::deployment::Proxy;
use crate::simulator::tape::{Event, Tape};
use crate::twilio::Signer;

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status; 0 if there was no answer.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: String,
    /// The body.
    pub body: String,
    /// How long the server took.
    pub took: Duration,
}

/// Posts forms as Twilio does.
#[derive(Debug, Clone)]
pub struct Webhooks {
    client: reqwest::Client,
    server: Proxy,
    public: Url,
    signer: Signer,
}

impl Webhooks {
    /// Webhooks for a server that `server` leads to and that is known to the world as `public`.
    pub fn new(server: Proxy, public: Url, signer: Signer) -> anyhow::Result<Self> {
        // Twilio gives a webhook 15 s; who needs more than a tenth of that here would not survive a real line.
        let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).no_proxy().build()?;
        Ok(Self { client, server, public, signer })
    }

    /// Where the world reaches the server.
    pub fn public(&self) -> &Url {
        &self.public
    }

    /// What leads to the server.
    pub fn server(&self) -> &Proxy {
        &self.server
    }

    /// Posts a form to a URL of the server, signed.
    pub async fn post(&self, url: &Url, form: &[(String, String)], token: &str) -> Answer {
        let signature = self.signer.sign(url.as_str(), form);
        self.post_signed(url, form, token, Some(&signature)).await
    }

    /// Posts a form with the given signature, or none.
    pub async fn post_signed(
        &self,
        url: &Url,
        form: &[(String, String)],
        token: &str,
        signature: Option<&str>,
    ) -> Answer {
        let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
        let mut request = self
            .client
            .post(format!("http://{}{path}", self.server.leads_to()))
            .header("User-Agent", "TwilioProxy/1.1")
            .header("I-Twilio-Idempotency-Token", token)
            .form(form);
        if let Some(signature) = signature {
            request = request.header("X-Twilio-Signature", signature);
        }
        let began = Instant::now();
        let answer = async {
            let answer = request.send().await?;
            let content_type = answer.headers().get("content-type").and_then(|it| it.to_str().ok()).unwrap_or_default();
            let (status, content_type) = (answer.status().as_u16(), content_type.to_owned());
            anyhow::Ok((status, content_type, answer.text().await?))
        };
        let (status, content_type, body) = answer.await.unwrap_or_default();
        Answer { status, content_type, body, took: began.elapsed() }
    }
}

/// A status callback on its way.
#[derive(Debug)]
pub struct Delivery {
    /// Where to.
    pub url: Url,
    /// The form.
    pub form: Vec<(String, String)>,
    /// What it tells, for the tape.
    pub what: String,
    /// `Result`, where it is the last one.
    pub terminal: Option<String>,
    /// Told when the server has answered.
    pub done: Option<oneshot::Sender<()>>,
    /// Of the call that it is about.
    pub tape: Tape,
}

/// How long callbacks are held back to be shuffled, on the real clock.
const BURST: Duration = Duration::from_millis(15);

/// Delivers callbacks until there are no more: in order, or as the quirks have it.
pub async fn carry(mut queue: mpsc::Receiver<Delivery>, webhooks: Webhooks, quirks: Quirks) {
    let mut dice = quirks.shuffled.map(Dice);
    let mut count = 0_u64;
    while let Some(first) = queue.recv().await {
        let mut burst = vec![first];
        if let Some(dice) = &mut dice {
            let until = Instant::now() + BURST;
            while let Ok(Some(next)) = tokio::time::timeout_at(until, queue.recv()).await {
                burst.push(next);
            }
            dice.shuffle(&mut burst);
        }
        for delivery in burst {
            count += 1;
            let token = format!("callback-{count}");
            for _ in 0..if quirks.doubled { 2 } else { 1 } {
                deliver(&delivery, &token, &webhooks).await;
            }
            if let Some(done) = delivery.done {
                // Whoever waited may have given up.
                let _ = done.send(());
            }
        }
    }
}

async fn deliver(delivery: &Delivery, token: &str, webhooks: &Webhooks) {
    let tape = &delivery.tape;
    let answer = webhooks.post(&delivery.url, &delivery.form, token).await;
    tape.write(Event::Callback { terminal: delivery.terminal.clone(), took: answer.took });
    if !(200..300).contains(&answer.status) {
        tape.violation(format!("a status callback ({}) was answered {}, not 2xx", delivery.what, answer.status));
    }
}

/// A linear congruential generator: a run can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % below.max(1)
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.roll(last + 1));
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
            Dice(seed).shuffle(&mut items);
            items
        };
        assert_eq!(shuffled(3), shuffled(3));
        assert_ne!(shuffled(3), (0..8).collect::<Vec<_>>());
    }
}
