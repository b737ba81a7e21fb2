//! The instances of the server and the proxy before them: one, and where a scenario rolls out, another that takes over.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::json;
use url::Url;

use super::house::{self, House};
use super::operator;
use super::tape::{Entry, Event, Tape, lock};
use super::twilio::Webhooks;

/// What stands before the server: leads everybody to the instance that takes calls. Clones lead to the same one.
#[derive(Debug, Clone)]
pub struct Proxy(Arc<Mutex<SocketAddr>>);

impl Proxy {
    /// A proxy that leads to this address.
    pub fn new(to: SocketAddr) -> Self {
        Self(Arc::new(Mutex::new(to)))
    }

    /// Where it leads now.
    pub fn leads_to(&self) -> SocketAddr {
        *lock(&self.0)
    }

    fn lead_to(&self, to: SocketAddr) {
        *lock(&self.0) = to;
    }
}

/// Every instance that runs.
#[derive(Debug)]
pub struct Deployment {
    /// Leads to the first, and once that was told to stop, to the next.
    pub proxy: Proxy,
    /// The instance that is up when the call begins.
    pub first: House,
    /// The one that takes over.
    pub next: Option<House>,
}

impl Deployment {
    /// Tells the first instance to stop, and knocks at its doors: it has to turn new calls away. Then everybody is led to the
    /// next one, if there is one.
    pub async fn roll_out(&self, webhooks: &Webhooks, tape: &Tape) {
        self.first.stop();
        let ready = self.first.asked("/ready").await;
        let voice = match webhooks.public().join("/connectConversationRelay") {
            Ok(url) => knock(webhooks, &url).await,
            Err(_) => 0,
        };
        let somebody = json!({"properties": {"phoneNumber": "+15550100003"}});
        let order = operator::order(&self.proxy, "/outboundCall", &somebody).await.map_or(0, |(status, _)| status);
        tape.write(Event::ToldToStop { ready, voice, order });
        if let Some(next) = &self.next {
            self.proxy.lead_to(next.address());
        }
    }

    /// Looks at what is written down of payments, once nothing of it is going on any more and the business knows.
    pub async fn ledger(&self, tape: &Tape) {
        let mut payments = self.first.ledger(tape).await;
        if let Some(next) = &self.next {
            payments.extend(next.ledger(tape).await);
        }
        let ended = payments.iter().filter(|(state, _)| state != "unknown").count();
        let told = |entries: &[Entry]| {
            let told = entries.iter().filter(|entry| matches!(entry.event, Event::Told { .. })).count();
            (told >= ended).then_some(())
        };
        let _ = tape.until(house::WRITES, told).await;
        tape.write(Event::Ledger { payments });
    }

    /// Stops what still runs, once no call is known any more; an error says what did not stop as it should.
    pub async fn close(self, tape: &Tape) -> Result<(), String> {
        let first = self.first.close(tape).await;
        match self.next {
            Some(next) => first.and(next.close(tape).await),
            None => first,
        }
    }
}

/// Another call comes in.
async fn knock(webhooks: &Webhooks, url: &Url) -> u16 {
    let form = [("CallSid", "CA00000000000000000000000000000002"), ("CallStatus", "ringing")];
    let form = form.map(|(name, value)| (name.to_owned(), value.to_owned()));
    webhooks.post(url, &form, "another call").await.status
}
