//! Open consoles: each logs in as a browser does, and reads the events.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use reqwest::Client;
use reqwest::header::{COOKIE, ORIGIN, SET_COOKIE};
use reqwest::redirect::Policy;
use tokio::task::JoinSet;

use super::call::PUBLIC_URL;
use super::outcomes::OPERATOR_TOKEN;

/// The consoles that are open at once.
pub(super) const CONSOLES: usize = 10;

/// Consoles that read events until they are dropped.
#[derive(Debug)]
pub(super) struct OpenConsoles {
    reading: JoinSet<anyhow::Result<()>>,
}

impl OpenConsoles {
    /// Logs [`CONSOLES`] consoles in, and waits for the first event of each.
    pub(super) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let client = Client::builder().no_proxy().redirect(Policy::none()).build()?;
        let mut reading = JoinSet::new();
        for _ in 0..CONSOLES {
            let response = client
                .post(format!("http://{address}/console/login"))
                .header(ORIGIN, PUBLIC_URL)
                .form(&[("token", OPERATOR_TOKEN)])
                .send()
                .await?;
            let status = response.status();
            let cookie = response.headers().get(SET_COOKIE).and_then(|cookie| cookie.to_str().ok()?.split(';').next());
            let cookie = cookie.with_context(|| format!("the log-in of a console was answered {status}"))?;
            let mut events =
                client.get(format!("http://{address}/console/events")).header(COOKIE, cookie).send().await?;
            if events.status() != 200 {
                bail!("the events of a console were answered {}", events.status());
            }
            events.chunk().await?.context("a console gets no events")?;
            reading.spawn(async move {
                while events.chunk().await?.is_some() {}
                bail!("the events of a console ended")
            });
        }
        Ok(Self { reading })
    }

    /// Closes the consoles. An error is that of one which was closed by the server before.
    pub(super) fn close(mut self) -> anyhow::Result<()> {
        match self.reading.try_join_next() {
            Some(ended) => ended?,
            None => Ok(()),
        }
    }
}
