//! Serves a stand-in over TLS on a free local port: with HTTP/2 as the servers of the world do, or with HTTP/1.1 where the client
//! asks for it, to open a WebSocket.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// The streams that it admits on a connection; RFC 9113 (6.5.2) recommends no fewer, and no more are to be relied on.
pub(crate) const MAX_STREAMS: u32 = 100;

/// A stand-in on a free port of 127.0.0.1, with a certificate of its own. It takes no new connections once it is dropped.
#[derive(Debug)]
pub(crate) struct TlsServer {
    origin: String,
    certificate: String,
    task: JoinHandle<()>,
}

impl TlsServer {
    /// Serves these routes.
    pub(crate) async fn start(router: Router) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no free port on 127.0.0.1")?;
        let address = listener.local_addr()?;
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed([IpAddr::from(Ipv4Addr::LOCALHOST).to_string()])?;
        let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
        let mut tls =
            ServerConfig::builder().with_no_client_auth().with_single_cert(vec![cert.der().clone()], key.into())?;
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve_connection(stream, acceptor.clone(), router.clone()));
            }
        });
        Ok(Self { origin: format!("https://{address}"), certificate: cert.pem(), task })
    }

    /// The origin of its URLs.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// Its certificate as PEM, which a client has to trust.
    pub(crate) fn certificate(&self) -> &str {
        &self.certificate
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves a connection to its end, which is what its client makes it.
async fn serve_connection(stream: TcpStream, acceptor: TlsAcceptor, router: Router) {
    // Without `TCP_NODELAY`, each small frame is delayed by 40 ms.
    let _ = stream.set_nodelay(true);
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let service = TowerToHyperService::new(router);
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let stream = TokioIo::new(stream);
    if is_http2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        let _ = builder.max_concurrent_streams(MAX_STREAMS).serve_connection(stream, service).await;
    } else {
        let _ = http1::Builder::new().serve_connection(stream, service).with_upgrades().await;
    }
}
