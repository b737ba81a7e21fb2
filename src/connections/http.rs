//! Serves the HTTP requests of one connection.

use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio_util::sync::CancellationToken;

use super::ConnectionState;
use super::limited_body::LimitedBody;
use super::stream::ConnectionStream;

/// Time limit for the head of a request, and for the time between two requests.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The most that is read ahead of a request, in bytes, and so the longest head. It has at most 100 headers.
const MAX_BUFFER_BYTES: usize = 16 * 1024;

/// Serves a connection until it ends or is closed. After `finish` it ends with the current request. A connection that
/// becomes a WebSocket lives on with its handler.
pub(super) async fn serve_connection(
    stream: ConnectionStream,
    state: ConnectionState,
    router: Router,
    finish: CancellationToken,
    close: CancellationToken,
) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(|body| Body::new(LimitedBody::new(body)));
        request.extensions_mut().insert(ConnectInfo(state.peer()));
        request.extensions_mut().insert(state.clone());
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    // The error of a connection says nothing that its peer has not caused.
    tokio::select! {
        () = close.cancelled() => return,
        _ = connection.as_mut() => return,
        () = finish.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        () = close.cancelled() => {}
        _ = connection.as_mut() => {}
    }
}
