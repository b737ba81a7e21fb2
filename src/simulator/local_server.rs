//! Serves a stand-in on a free local port.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use anyhow::Context as _;
use axum::Router;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A stand-in on a free port of 127.0.0.1. It takes no new connections once it is dropped.
#[derive(Debug)]
pub struct LocalServer {
    origin: String,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl LocalServer {
    /// Serves these routes.
    pub async fn start(router: Router) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("no free port on 127.0.0.1")?;
        let origin = format!("http://{}", listener.local_addr()?);
        // Without `TCP_NODELAY`, each small frame that has no response is delayed by 40 ms.
        let connections = Arc::<AtomicUsize>::default();
        let counter = connections.clone();
        let listener = listener.tap_io(move |stream| {
            counter.fetch_add(1, Relaxed);
            drop(stream.set_nodelay(true));
        });
        let task = tokio::spawn(async move {
            // The task is aborted on drop.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { origin, connections, task })
    }

    /// The origin of its URLs.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The number of connections so far.
    pub fn connection_count(&self) -> usize {
        self.connections.load(Relaxed)
    }
}

impl Drop for LocalServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
