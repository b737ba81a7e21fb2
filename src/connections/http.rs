//! Serves the HTTP requests of one connection.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
use hyper::body::{Bytes, Frame, Incoming, SizeHint};
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
        let (answer, state) = (router.call(request), state.clone());
        async move {
            let response = answer.await?;
            // A socket lives on; the session says when it is identified.
            let answered = (response.status() != StatusCode::SWITCHING_PROTOCOLS).then(|| Answered(state));
            Ok::<_, Infallible>(response.map(|body| Body::new(AnswerBody { body, _answered: answered })))
        }
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

/// Marks a connection as answered when it is dropped.
struct Answered(ConnectionState);

impl Drop for Answered {
    fn drop(&mut self) {
        self.0.mark_answered();
    }
}

/// The body of an answer, with what is to be done once it was sent.
struct AnswerBody {
    body: Body,
    _answered: Option<Answered>,
}

impl hyper::body::Body for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
