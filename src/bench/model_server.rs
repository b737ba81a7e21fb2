//! How the stand-in for the model is reached: as OpenAI is, or as a model server on the same machine often is.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use clap::ValueEnum;

use super::delay::DelayedPath;
use crate::simulator::LocalServer;
use crate::simulator::tls_server::TlsServer;

/// Where Debian and most others keep the certificates that a program trusts.
const SYSTEM_CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The wire to the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ModelWire {
    /// HTTP/2 over TLS, as OpenAI speaks it
    Http2,
    /// HTTP/1.1 without TLS, as a model server on the same machine may
    Http1,
    /// WebSockets over TLS (OPENAI_TRANSPORT=websocket), except in a soak; HTTP/2 for the bare pipe
    Websocket,
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
    pub(super) async fn start(router: Router, wire: ModelWire, round_trip: Duration) -> anyhow::Result<Self> {
        let server = match wire {
            ModelWire::Http1 => Server::Plain(LocalServer::start(router).await?),
            ModelWire::Http2 | ModelWire::Websocket => Server::Tls(TlsServer::start(router).await?),
        };
        let origin = match &server {
            Server::Tls(server) => server.origin(),
            Server::Plain(server) => server.origin(),
        };
        if round_trip.is_zero() {
            return Ok(Self { origin: origin.to_owned(), server, _path: None });
        }
        let (scheme, address) = origin.split_once("://").context("the origin of a stand-in has a scheme")?;
        let path = DelayedPath::open(address.parse()?, round_trip).await?;
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
        f.write_str(match self {
            Self::Http2 => "HTTP/2 and TLS",
            Self::Http1 => "HTTP/1.1 without TLS",
            Self::Websocket => "WebSockets and TLS",
        })
    }
}
