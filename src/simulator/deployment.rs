//! The instances of the server and the proxy before them: one, and where a scenario rolls out or kills it, another that takes over.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::sync::RwLock;
use url::Url;

use super::house::{self, House, Tuning};
use super::ledger_file::{Fault, LedgerFile};
use super::operator;
use super::tape::{Entry, Event, Row, Tape, lock};
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
    /// Leads to the first, and once that was told to stop or died, to the next.
    pub proxy: Proxy,
    /// What every instance is configured with.
    vars: Vec<(String, String)>,
    tuning: Tuning,
    /// The ledger of the first instance.
    ledger: LedgerFile,
    houses: RwLock<Houses>,
}

#[derive(Debug)]
struct Houses {
    /// The instance that is up when the call begins, and once that died, the one that was started on its ledger.
    first: House,
    /// The one that takes over in a roll-out.
    next: Option<House>,
}

impl Deployment {
    /// Starts the first instance; and the one that is to relieve it, if the scenario wants one.
    pub async fn start(
        proxy: Proxy,
        listener: tokio::net::TcpListener,
        vars: Vec<(String, String)>,
        tuning: Tuning,
    ) -> anyhow::Result<Self> {
        let next = if tuning.relieved {
            Some(House::open(house::door().await?.0, vars.clone(), &tuning, LedgerFile::new(false)).await?)
        } else {
            None
        };
        let ledger = LedgerFile::new(tuning.small_disk);
        let first = House::open(listener, vars.clone(), &tuning, ledger.clone()).await?;
        Ok(Self { proxy, vars, tuning, ledger, houses: RwLock::new(Houses { first, next }) })
    }

    /// Tells the first instance to stop, and knocks at its doors: it has to turn new calls away. Then everybody is led to the
    /// next one, if there is one.
    pub async fn roll_out(&self, webhooks: &Webhooks, tape: &Tape) {
        let houses = self.houses.read().await;
        houses.first.stop();
        let ready = houses.first.asked("/ready").await;
        let voice = match webhooks.public().join("/connectConversationRelay") {
            Ok(url) => knock(webhooks, &url).await,
            Err(_) => 0,
        };
        let somebody = json!({"properties": {"phoneNumber": "+15550100003"}});
        let order = operator::order(&self.proxy, "/outboundCall", &somebody).await.map_or(0, |(status, _)| status);
        tape.write(Event::ToldToStop { ready, voice, order });
        if let Some(next) = &houses.next {
            self.proxy.lead_to(next.address());
        }
    }

    /// Ends the first instance at once, and starts another one on its ledger. Who asks meanwhile waits at its door.
    pub async fn replace(&self, tape: &Tape) -> anyhow::Result<()> {
        let (listener, address) = house::door().await?;
        let mut houses = self.houses.write().await;
        tape.write(Event::ServerDied);
        self.proxy.lead_to(address);
        houses.first.die().await?;
        houses.first = House::open(listener, self.vars.clone(), &self.tuning, self.ledger.clone()).await?;
        Ok(())
    }

    /// Makes the ledger of the first instance fail, or work again.
    pub async fn ledger_fails(&self, fault: Option<Fault>, tape: &Tape) -> anyhow::Result<()> {
        match fault {
            Some(fault) => self.ledger.fail(fault, tape).await,
            None => self.ledger.heal(tape).await,
        }
    }

    /// Looks at what is written down of payments, once nothing of it is going on any more and the business knows.
    pub async fn look(&self, tape: &Tape) {
        let houses = self.houses.read().await;
        let mut payments = houses.first.payments(tape).await;
        if let Some(next) = &houses.next {
            payments.extend(next.payments(tape).await);
        }
        let _ =
            tape.until(house::WRITES, |entries| payments.iter().all(|row| is_told(entries, row)).then_some(())).await;
        tape.write(Event::Ledger { payments });
    }

    /// Stops what still runs, once no call is known any more; an error says what did not stop as it should.
    pub async fn close(self, tape: &Tape) -> Result<(), String> {
        let Houses { first, next } = self.houses.into_inner();
        let first = first.close(tape).await;
        match next {
            Some(next) => first.and(next.close(tape).await),
            None => first,
        }
    }
}

/// Whether the business was told of the state that a payment is in.
fn is_told(entries: &[Entry], row: &Row) -> bool {
    let tells =
        |event: &Event| matches!(event, Event::Told { payment, state } if *payment == row.id && *state == row.state);
    entries.iter().any(|entry| tells(&entry.event))
}

/// Another call comes in.
async fn knock(webhooks: &Webhooks, url: &Url) -> u16 {
    let form = [("CallSid", "CA000000000000000000000000000000ff"), ("CallStatus", "ringing")];
    let form = form.map(|(name, value)| (name.to_owned(), value.to_owned()));
    webhooks.post(url, &form, "another call").await.status
}
