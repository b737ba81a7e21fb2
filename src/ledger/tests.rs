//! Tests of the ledger, each with a file of its own.

mod backup;
mod charge_once;
mod checkpoints;
mod erasure;
mod fault_recovery;
mod faults;
mod group_commit;
mod many_servers;
mod migrations;
mod plans;
mod postgres;
mod single_server;
mod startup;

/// Declares the tests that run on both engines.
macro_rules! on_both_engines {
    ($($name:ident),*) => {
        #[path = "tests"]
        mod on_sqlite {
            use super::*;
            $(mod $name;)*
        }

        #[path = "tests"]
        #[expect(clippy::duplicate_mod, reason = "each test runs on both engines")]
        mod on_postgres {
            use super::*;
            type TestLedger = StoredLedger<true>;
            $(mod $name;)*
        }
    };
}

on_both_engines!(
    activity,
    call_end,
    callbacks,
    history,
    journal,
    orders,
    outbound_rules,
    outbox,
    personal_data,
    receipts,
    recorded_steps,
    recordings,
    refunds,
    requests,
    same_state,
    settlement,
    velocity
);

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use secrecy::ExposeSecret as _;
use uuid::Uuid;

use super::*;
use crate::call_claim::CallClaim;
use crate::config::DatabaseUrl;
use crate::payment::{
    Amount, CreatePayment, Currency, Field, PaymentCallback, PaymentId, PaymentIdGenerator, PaymentSettings,
    PaymentTerms, TwilioResponse, UpdateAction, UpdatePayment,
};
use crate::redact::Private;
use crate::server_id::ServerId;
use crate::simulator::LocalPostgres;

/// A temporary directory that is removed on drop.
pub(crate) struct TempDirectory(PathBuf, IsMounted);

/// Whether a file system is mounted at the directory.
type IsMounted = bool;

impl TempDirectory {
    pub(crate) fn new() -> Self {
        Self(std::env::temp_dir().join(format!("crelay-payments-{}", Uuid::new_v4())), false)
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.join("ledger.db")
    }
}

impl TempDirectory {
    /// A directory on a file system of this size. `None` if this process may not mount one.
    fn with_capacity_kib(kib: u32) -> Option<Self> {
        let mut directory = Self::new();
        std::fs::create_dir(&directory.0).unwrap();
        let size = format!("size={kib}k,mode=700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&directory.0).stderr(Stdio::null());
        directory.1 = mount.status().is_ok_and(|status| status.success());
        if !directory.1 {
            eprintln!("skipped: this process may not mount a file system");
        }
        directory.1.then_some(directory)
    }

    /// Fills the file system.
    fn fill(&self) {
        use std::io::Write as _;
        let mut filler = std::fs::File::create(self.0.join("filler")).unwrap();
        while filler.write(&[0; 1024]).is_ok_and(|written| written > 0) {}
    }

    fn make_room(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for TempDirectory {
    fn drop(&mut self) {
        if self.1 {
            let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        }
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A ledger and one call, with the writes of tools and callbacks. SQLite takes the place of PostgreSQL where that is not
/// installed.
struct StoredLedger<const POSTGRES: bool> {
    ledger: Ledger,
    call: CallData,
    ids: PaymentIdGenerator,
    terms: Arc<PaymentTerms>,
    url: DatabaseUrl,
    directory: TempDirectory,
}

type TestLedger = StoredLedger<false>;

/// The log of a test that runs on one thread.
#[derive(Clone, Default)]
struct LedgerLog(Arc<std::sync::Mutex<Vec<u8>>>);

impl LedgerLog {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for LedgerLog {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(line)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// With two dispatchers `tracing` asks both for their interest, and does not cache that of the first thread.
static SECOND_DISPATCHER: std::sync::LazyLock<tracing::Dispatch> =
    std::sync::LazyLock::new(|| tracing::Dispatch::new(tracing_subscriber::registry()));

/// Captures the log of this thread.
fn capture_log() -> (LedgerLog, tracing::subscriber::DefaultGuard) {
    std::sync::LazyLock::force(&SECOND_DISPATCHER);
    let log = LedgerLog::default();
    let writer = log.clone();
    let lines = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    (log, tracing::subscriber::set_default(lines))
}

impl Ledger {
    /// Puts away all calls that no server has, as a server does once nobody has taken them up. Returns the payments that are to
    /// be cancelled.
    async fn orphan_all_payments(&self) -> Vec<OrphanedPayment> {
        let (claim, mut orphaned) = (CallClaim::new(ServerId::generate()), Vec::new());
        for call in self.calls_without_server().await.unwrap() {
            orphaned.extend(self.claim_ownerless(&call, &claim).await.unwrap().unwrap().orphaned);
        }
        orphaned
    }
}

impl<const POSTGRES: bool> StoredLedger<POSTGRES> {
    async fn new() -> Self {
        let directory = TempDirectory::new();
        let server = if POSTGRES { LocalPostgres::get() } else { None };
        let Some(server) = server else { return Self::in_directory(directory).await };
        let url = server.create_database().await.unwrap();
        Self::open(DatabaseUrl::Postgres(url.parse().unwrap()), directory).await
    }

    async fn in_directory(directory: TempDirectory) -> Self {
        Self::open(directory.file().into(), directory).await
    }

    async fn open(url: DatabaseUrl, directory: TempDirectory) -> Self {
        let ledger = Ledger::open(&url).await.unwrap();
        Self {
            ledger,
            call: call("CA1"),
            ids: PaymentIdGenerator::new(Uuid::from_u128(1)),
            terms: PaymentSettings::sample_terms(),
            url,
            directory,
        }
    }

    /// A payment whose session was requested, without a response.
    async fn request_create(&mut self, charge: &str) -> Result<CreatePayment, RecordRequestError> {
        let id = self.ids.generate();
        let charge = Amount::parse(charge, Currency::USD).unwrap();
        let create =
            CreatePayment { id, idempotency_key: id.create_key(), charge, terms: self.terms.clone(), consent: None };
        self.ledger.record_create_request(&self.call, &create).await.map(|()| create)
    }

    /// A payment with an open session.
    async fn create_session(&mut self, charge: &str, sid: &str) -> PaymentId {
        let create = self.request_create(charge).await.unwrap();
        self.ledger.record_create_response(&create, &TwilioResponse::Created(sid.parse().unwrap())).await.unwrap();
        create.id
    }

    async fn submit_payment(&mut self, charge: &str, sid: &str) -> PaymentId {
        let id = self.create_session(charge, sid).await;
        self.update_session(&update(id, sid, UpdateAction::Capture(Field::CardNumber), 1), &TwilioResponse::Accepted)
            .await
            .unwrap();
        self.update_session(&update(id, sid, UpdateAction::Complete, 1), &TwilioResponse::Accepted).await.unwrap();
        id
    }

    async fn update_session(&self, update: &UpdatePayment, answer: &TwilioResponse) -> Result<(), RecordRequestError> {
        self.ledger.record_update_request(&self.call, update).await?;
        Ok(self.ledger.record_update_response(update, answer).await?)
    }

    async fn deliver_callback(&self, sid: &str, fields: &[(&str, &str)]) -> RecordOutcome {
        self.ledger.record_callback(&status(sid, fields)).await.unwrap()
    }

    async fn state(&self, id: PaymentId) -> PaymentState {
        self.ledger.payment(id).await.unwrap().unwrap().state
    }

    async fn event_kinds(&self, id: PaymentId) -> Vec<String> {
        self.ledger.events(id).await.unwrap().into_iter().map(|event| event.kind).collect()
    }

    /// Runs the maintenance, as a server does.
    fn spawn_maintenance(&self) -> tokio_util::task::AbortOnDropHandle<()> {
        let ledger = self.ledger.clone();
        tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move { ledger.maintain().await }))
    }

    /// Another connection to the file, as of another process.
    async fn connect_other(&self) -> sqlx::SqliteConnection {
        use sqlx::ConnectOptions as _;
        sqlx::sqlite::SqliteConnectOptions::new().filename(self.directory.file()).connect().await.unwrap()
    }

    /// Runs SQL on the connection that writes.
    async fn execute(&self, sql: &str) -> Result<(), sqlx::Error> {
        let mut writing = self.ledger.begin_write().await.unwrap();
        sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut writing.transaction).await?;
        writing.commit().await.unwrap();
        Ok(())
    }

    /// Adds `n` copies of the only payment, each with its own token if that has one.
    async fn duplicate_payments(&self, n: u32) {
        let (columns, id, numbers) = match self.url {
            DatabaseUrl::Sqlite(_) => (
                "SELECT group_concat(name, ', ') FROM pragma_table_info('payments') WHERE name",
                "printf('%s%012x', substr(id, 1, 24), n)",
                format!("WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {n})"),
            ),
            DatabaseUrl::Postgres(_) => (
                "SELECT string_agg(column_name, ', ') FROM information_schema.columns \
                 WHERE table_name = 'payments' AND column_name",
                "substr(id, 1, 24) || lpad(to_hex(n), 12, '0')",
                format!("WITH numbers AS (SELECT generate_series(1, {n}) AS n)"),
            ),
        };
        let columns = format!("{columns} NOT IN ('seq', 'id', 'payment_sid', 'token')");
        let columns = sqlx::query_scalar(sqlx::AssertSqlSafe(columns)).fetch_one(&self.ledger.0.readers);
        let columns: String = columns.await.unwrap();
        let insert = format!(
            "{numbers} INSERT INTO payments (id, token, {columns}) \
             SELECT {id}, token || '-' || n, {columns} FROM payments, numbers"
        );
        // On the connection that leaves no old data behind when rows move.
        self.execute(&insert).await.unwrap();
    }

    /// Reads a number.
    async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&self.ledger.0.readers).await.unwrap()
    }

    /// Whether the files of SQLite have this text; `None` with PostgreSQL, which keeps what was overwritten for a while.
    fn is_in_files(&self, text: &str) -> Option<bool> {
        self.url.file().map(|_| erasure::is_in_files(&self.directory.0, text))
    }

    /// Closes the ledger and opens it again.
    async fn restart(self) -> Self {
        let Self { ledger, call, ids, terms, url, directory } = self;
        ledger.close().await;
        drop(ledger);
        let ledger = Ledger::open(&url).await.unwrap();
        Self { ledger, call, ids, terms, url, directory }
    }
}

/// A ledger with a payment whose token is not delivered yet.
pub(crate) async fn ledger_with_token() -> (Ledger, PaymentId, TempDirectory) {
    let mut test = TestLedger::new().await;
    let id = test.submit_payment("0", "PK1").await;
    test.deliver_callback("PK1", &TOKENIZED).await;
    (test.ledger, id, test.directory)
}

impl Payment {
    /// A payment that stores a card, with few fields set.
    pub(crate) fn sample(id: PaymentId, state: PaymentState) -> Self {
        Self {
            id,
            state,
            call_sid: "CA1".parse().unwrap(),
            payment_sid: None,
            caller: None,
            call_reference: None,
            order_reference: None,
            order_key: None,
            description: None,
            amount: None,
            refunded: 0,
            method: "credit-card".to_owned(),
            last4: None,
            confirmation_code: None,
            holds_token: false,
            profile_id: None,
            result: None,
            result_code: None,
            result_text: None,
            live: true,
            opened_at: Timestamp::UNIX_EPOCH,
            submitted_at: None,
            ended_at: None,
        }
    }
}

impl CallData {
    /// Sets `callReference` as the reference of the order.
    fn set_call_reference(&mut self, reference: &str) {
        self.call_reference = Some(Private::new(reference.to_owned()));
        self.order_key = Some(super::orders::order_key(reference));
    }

    /// Sets `orderReference` as the reference of the order.
    fn set_order_reference(&mut self, reference: &str) {
        self.order_reference = Some(Private::new(reference.to_owned()));
        self.order_key = Some(super::orders::order_key(reference));
    }
}

fn call(sid: &str) -> CallData {
    CallData {
        call_sid: sid.parse().unwrap(),
        caller: "+15550100001".parse().ok(),
        ..CallData::from_sid("CA0".parse().unwrap())
    }
}

fn update(id: PaymentId, sid: &str, change: UpdateAction, n: u32) -> UpdatePayment {
    UpdatePayment::new(id, sid.parse().unwrap(), id.update_key(change, n), change)
}

fn status(sid: &str, fields: &[(&str, &str)]) -> PaymentCallback {
    let form: Vec<_> = [("CallSid", "CA1"), ("Sid", sid)]
        .iter()
        .chain(fields)
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    PaymentCallback::from_form(&form, &crate::payment::CallbackDigester::new(&"12345".into())).unwrap()
}

/// A key that seals tokens.
const SEALING_KEY: &str = "c2ltdWxhdGVkIGtleSBvZiAzMiBieXRlcyBpbiBhbGw=";

const TOKENIZED: [(&str, &str); 3] = [("Result", "success"), ("PaymentToken", "tok_hush-hush"), ("ProfileId", "p1")];
const CHARGED: [(&str, &str); 3] =
    [("Result", "success"), ("PaymentConfirmationCode", "ch_1"), ("PaymentCardNumber", "xxxxxxxxxxxx4242")];
