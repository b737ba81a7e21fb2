//! The style sheets, scripts and the icon of the console. They are built into the binary.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};

use super::page::PageError;

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// Each file: its name, its type and its content.
const FILES: [(&str, &str, &str); 5] = [
    ("console.css", CSS, include_str!("../../../assets/console/console.css")),
    ("console.js", JS, include_str!("../../../assets/console/console.js")),
    ("icon.svg", "image/svg+xml", include_str!("../../../assets/console/icon.svg")),
    ("uplot.css", CSS, include_str!("../../../assets/console/uplot.css")),
    ("uplot.js", JS, include_str!("../../../assets/console/uplot.js")),
];

/// Changes with the files, so that a browser may keep them.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let digest = FILES.iter().fold(Sha256::new(), |digest, (_, _, content)| digest.chain_update(content)).finalize();
    hex::encode(&digest[..6])
});

/// Returns the URL of a file.
pub(super) fn url(name: &str) -> String {
    format!("/console/assets/{name}?{}", *VERSION)
}

/// Responds with a file. It is the same for everybody, and nothing in it is secret.
pub(super) async fn get(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|(own, _, _)| *own == name) {
        Some((_, kind, content)) => {
            let headers =
                [(header::CONTENT_TYPE, *kind), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
            (headers, *content).into_response()
        }
        None => PageError::new(StatusCode::NOT_FOUND, "There is no such file.").into_response(),
    }
}
