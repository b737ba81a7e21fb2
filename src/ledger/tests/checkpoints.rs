//! Tests of the write-ahead log, which must not grow for as long as a server is busy.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;
use crate::call_stage::CallStage;

/// What a busy server may leave in the log, in bytes. A transaction of the test writes some pages of 4 KiB.
const MAX_LOG_BYTES: u64 = 4 * 1024 * 1024;

/// Writes to a ledger again and again.
struct Writers {
    is_over: Arc<AtomicBool>,
    written: Arc<AtomicUsize>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Writers {
    fn start(ledger: &Ledger, count: usize) -> Self {
        let (is_over, written) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let tasks = (0..count).map(|writer| {
            let (ledger, is_over, written) = (ledger.clone(), is_over.clone(), written.clone());
            tokio::spawn(async move {
                for n in 0.. {
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    let call = format!("CA{writer}x{n}").parse().unwrap();
                    ledger.record_call_stage(&call, Some(CallStage::Connected(0))).await.unwrap();
                    written.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        let tasks = tasks.collect();
        Self { is_over, written, tasks }
    }

    /// Waits until so many more writes are done.
    async fn write(&self, count: usize) {
        let until = self.written.load(Ordering::Relaxed) + count;
        while self.written.load(Ordering::Relaxed) < until {
            tokio::task::yield_now().await;
        }
    }

    async fn stop(self) {
        self.is_over.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_of_a_server_that_always_writes_begins_anew() {
    let test = TestLedger::new().await;
    let file = test.ledger.0.database.file().unwrap();
    let writers = Writers::start(&test.ledger, 4);
    for _ in 0..40 {
        writers.write(50).await;
        let (is_copied, _) = test.ledger.copy_wal(file).await.unwrap();
        assert!(is_copied, "all of it was copied");
    }
    let log = test.directory.0.join("ledger.db-wal");
    let bytes = std::fs::metadata(&log).unwrap().len();
    assert!(bytes < MAX_LOG_BYTES, "{bytes} bytes");
    assert!(test.ledger.empty_wal(file).await.unwrap(), "what was erased is wiped, however busy the server is");
    writers.stop().await;
}
