//! `GET /console`: the live console of an operator, in a browser.
//!
#![doc = include_str!("console/README.md")]

mod alerts;
mod assets;
mod drain;
mod form;
mod live;
mod login;
mod overview;
mod page;
mod payments;
mod plot;
mod snapshot;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{get, post};
use tower_http::timeout::TimeoutLayer;

use super::auth::console_session::LOGIN;
use super::{App, WEBHOOK_TIMEOUT};
pub(super) use live::ConsoleFeed;

/// The path of the console.
const CONSOLE: &str = "/console";

/// The largest form, in bytes.
const MAX_FORM_BYTES: usize = 16 * 1024;

/// A page loads its own files and nothing else; no script or style stands in it, and no other page frames it.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Builds the routes of the console.
pub(super) fn router() -> Router<App> {
    Router::new()
        .route(CONSOLE, get(overview::get))
        .route(LOGIN, get(login::get).post(login::post))
        .route("/console/logout", post(login::log_out))
        .route("/console/payments", get(payments::list).post(payments::search))
        .route("/console/payments/{id}", get(payments::get))
        .route("/console/payments/{id}/{path}", post(payments::record))
        .route("/console/drain", get(drain::get).post(drain::post))
        .route("/console/assets/{name}", get(assets::get))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, WEBHOOK_TIMEOUT))
        .layer(DefaultBodyLimit::max(MAX_FORM_BYTES))
        // It lasts as long as somebody watches.
        .route("/console/events", get(live::get))
        .layer(map_response(set_security_headers))
}

async fn set_security_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Not `no-referrer`: with it a browser sends `Origin: null` with a form.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin"));
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
