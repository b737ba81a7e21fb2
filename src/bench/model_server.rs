//! How the stand-in for the model is reached: as OpenAI is, or as a model server on the same machine often is.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;

use super::delay::DelayedPath;
use crate::simulator::LocalServer;
use crate::simulator::tls_server::TlsServer;

/// Where Debian and most others keep the certificates that a program trusts.
const SYSTEM_CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The wire to the model.
#[derive(Debug, Clone, Copy, Default)]
pub struct ModelWire {
    /// HTTP/1.1 without TLS, not HTTP/2 over TLS.
    pub is_plain: bool,
    /// Responses over WebSockets, which begin with HTTP/1.1, not over HTTP.
    pub is_websocket: bool,
    /// How long a byte to the model and one back take together.
    pub round_trip: Duration,
}

/// The model's server. It takes no new connections once it is dropped.
#[derive(Debug)]
pub(super) struct ModelServer {
    /// The origin of its URLs.
    pub(super) origin: String,
    server: Server,
    _path: Option<DelayedPath>,
}

#[derive(Debug)]
enum Server {
    Tls(TlsServer),
    Plain(LocalServer),
}

impl ModelServer {
    pub(super) async fn start(router: Router, wire: &ModelWire) -> anyhow::Result<Self> {
        let server = if wire.is_plain {
            Server::Plain(LocalServer::start(router).await?)
        } else {
            Server::Tls(TlsServer::start(router).await?)
        };
        let origin = match &server {
            Server::Tls(server) => server.origin(),
            Server::Plain(server) => server.origin(),
        };
        if wire.round_trip.is_zero() {
            return Ok(Self { origin: origin.to_owned(), server, _path: None });
        }
        let (scheme, address) = origin.split_once("://").context("the origin of a stand-in has a scheme")?;
        let path = DelayedPath::open(address.parse()?, wire.round_trip).await?;
        Ok(Self { origin: format!("{scheme}://{}", path.address), server, _path: Some(path) })
    }

    /// Writes the certificates that a program has to trust to reach it, if it needs any: those of the system and its own, so
    /// that reading them takes the usual time.
    pub(super) fn write_certificates(&self, directory: &Path) -> anyhow::Result<Option<PathBuf>> {
        let Server::Tls(server) = &self.server else { return Ok(None) };
        let system = fs::read_to_string(SYSTEM_CERTIFICATES).unwrap_or_default();
        let file = directory.join("certificates.pem");
        fs::write(&file, [&system, "\n", server.certificate()].concat()).context("cannot write a file")?;
        Ok(Some(file))
    }
}

impl fmt::Display for ModelWire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let http = if self.is_plain { "HTTP/1.1" } else { "HTTP/2" };
        f.write_str(if self.is_websocket { "WebSockets" } else { http })?;
        f.write_str(if self.is_plain { " without TLS" } else { " and TLS" })?;
        if !self.round_trip.is_zero() {
            write!(f, " with round trips of {} ms", self.round_trip.as_millis())?;
        }
        Ok(())
    }
}
