//! The ledger in a file of its own.

mod backup;
mod callbacks;
mod erasing;
mod exactness;
mod faults;
mod guards;
mod healing;
mod one_server;
mod orders;
mod outbox;
mod personal_data;
mod refunds;
mod settling;
mod starting;
mod steps;
mod upgrading;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use secrecy::ExposeSecret as _;
use uuid::Uuid;

use super::*;
use crate::payment::{
    Amount, Answer, Change, Create, Currency, Field, Ids, PaymentId, Settings, Status, Terms, Update,
};
use crate::redact::Private;

/// A directory that goes away with the test.
pub(crate) struct Directory(PathBuf, IsMounted);

/// Whether a file system of its own is mounted there.
type IsMounted = bool;

impl Directory {
    pub(crate) fn new() -> Self {
        Self(std::env::temp_dir().join(format!("crelay-payments-{}", Uuid::new_v4())), false)
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.join("ledger.db")
    }
}

impl Directory {
    /// A directory with so many KiB of room; none where this process may not mount a file system.
    fn with_room_for(kib: u32) -> Option<Self> {
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

    /// Leaves no room.
    fn fill(&self) {
        use std::io::Write as _;
        let mut filler = std::fs::File::create(self.0.join("filler")).unwrap();
        while filler.write(&[0; 1024]).is_ok_and(|written| written > 0) {}
    }

    fn make_room(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.1 {
            let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        }
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A ledger with one call, as the tools and the callbacks write it.
struct Desk {
    ledger: Ledger,
    call: OnCall,
    ids: Ids,
    terms: Arc<Terms>,
    directory: Directory,
}

/// What was logged, for a test that is one thread.
#[derive(Clone, Default)]
struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(line)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// With two dispatchers `tracing` asks both what is of interest, and not the one of the thread that comes first.
static OTHER: std::sync::LazyLock<tracing::Dispatch> =
    std::sync::LazyLock::new(|| tracing::Dispatch::new(tracing_subscriber::registry()));

/// Keeps what this thread logs.
fn logs() -> (Log, tracing::subscriber::DefaultGuard) {
    std::sync::LazyLock::force(&OTHER);
    let log = Log::default();
    let writer = log.clone();
    let lines = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    (log, tracing::subscriber::set_default(lines))
}

impl Desk {
    async fn new() -> Self {
        Self::at(Directory::new()).await
    }

    async fn at(directory: Directory) -> Self {
        let ledger = Ledger::open(&directory.file()).await.unwrap();
        Self {
            ledger,
            call: call("CA1"),
            ids: Ids::new(Uuid::from_u128(1)),
            terms: Settings::sample_terms(),
            directory,
        }
    }

    /// A payment that was asked for; none of it was answered.
    async fn opening(&mut self, charge: &str) -> Result<Create, Refused> {
        let id = self.ids.make();
        let charge = Amount::parse(charge, Currency::USD).unwrap();
        let create = Create { id, key: id.create_key(), charge, terms: self.terms.clone(), agreed: None };
        self.ledger.opening(&self.call, &create).await.map(|()| create)
    }

    /// A payment with a session.
    async fn opened(&mut self, charge: &str, sid: &str) -> PaymentId {
        let create = self.opening(charge).await.unwrap();
        self.ledger.created(&create, &Answer::Created(sid.parse().unwrap())).await.unwrap();
        create.id
    }

    async fn submitted(&mut self, charge: &str, sid: &str) -> PaymentId {
        let id = self.opened(charge, sid).await;
        self.does(&update(id, sid, Change::Capture(Field::CardNumber), 1), &Answer::Accepted).await.unwrap();
        self.does(&update(id, sid, Change::Complete, 1), &Answer::Accepted).await.unwrap();
        id
    }

    async fn does(&self, update: &Update, answer: &Answer) -> Result<(), Refused> {
        self.ledger.asking(&self.call, update).await?;
        Ok(self.ledger.answered(update, answer).await?)
    }

    async fn told(&self, sid: &str, fields: &[(&str, &str)]) -> Reported {
        self.ledger.reported(&status(sid, fields)).await.unwrap()
    }

    async fn state(&self, id: PaymentId) -> State {
        self.ledger.payment(id).await.unwrap().unwrap().state
    }

    async fn kinds(&self, id: PaymentId) -> Vec<String> {
        self.ledger.history(id).await.unwrap().into_iter().map(|event| event.kind).collect()
    }

    /// The ledger is kept well, as a server keeps it.
    fn maintained(&self) -> tokio_util::task::AbortOnDropHandle<()> {
        let ledger = self.ledger.clone();
        tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move { ledger.maintain().await }))
    }

    /// Another connection to the file, as another process has it.
    async fn beside(&self) -> sqlx::SqliteConnection {
        use sqlx::ConnectOptions as _;
        sqlx::sqlite::SqliteConnectOptions::new().filename(self.directory.file()).connect().await.unwrap()
    }

    /// Runs this on the connection that writes.
    async fn executes(&self, sql: &str) -> Result<(), sqlx::Error> {
        let mut writing = self.ledger.write().await.unwrap();
        sqlx::query(sql).execute(&mut *writing.transaction).await?;
        writing.commit().await.unwrap();
        Ok(())
    }

    /// Adds so many payments that are as the one that there is, each with a token of its own if that has one.
    async fn multiplies(&self, n: u32) {
        let mut beside = self.beside().await;
        let columns = "SELECT group_concat(name, ', ') FROM pragma_table_info('payments') \
                       WHERE name NOT IN ('seq', 'id', 'payment_sid', 'token')";
        let columns: String = sqlx::query_scalar(columns).fetch_one(&mut beside).await.unwrap();
        let insert = format!(
            "WITH RECURSIVE counter (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counter WHERE n < {n}) \
             INSERT INTO payments (id, token, {columns}) \
             SELECT printf('%s%012x', substr(id, 1, 24), n), token || '-' || n, {columns} FROM payments, counter"
        );
        // With the connection that leaves nothing behind when rows move.
        self.executes(&insert).await.unwrap();
    }

    /// The same file, after the server was killed.
    async fn restarted(self) -> Self {
        let Self { ledger, call, ids, terms, directory } = self;
        ledger.close().await;
        drop(ledger);
        let ledger = Ledger::open(&directory.file()).await.unwrap();
        Self { ledger, call, ids, terms, directory }
    }
}

/// A ledger with a payment whose token waits for its delivery.
pub(crate) async fn with_a_token() -> (Ledger, PaymentId, Directory) {
    let mut desk = Desk::new().await;
    let id = desk.submitted("0", "PK1").await;
    desk.told("PK1", &TOKENIZED).await;
    (desk.ledger, id, desk.directory)
}

impl Payment {
    /// A payment to store a card, of which little is known.
    pub(crate) fn sample(id: PaymentId, state: State) -> Self {
        Self {
            id,
            state,
            call: "CA1".parse().unwrap(),
            sid: None,
            caller: None,
            reference: None,
            order_reference: None,
            order_key: None,
            description: None,
            amount: None,
            refunded: 0,
            method: "credit-card".to_owned(),
            last4: None,
            confirmation: None,
            holds_token: false,
            profile: None,
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

impl OnCall {
    /// The call is about this `callReference`.
    fn is_of(&mut self, reference: &str) {
        self.reference = Some(Private::new(reference.to_owned()));
        self.order_key = Some(super::orders::order_key(reference));
    }

    /// The call is about this `orderReference`.
    fn is_of_order(&mut self, reference: &str) {
        self.order = Some(Private::new(reference.to_owned()));
        self.order_key = Some(super::orders::order_key(reference));
    }
}

fn call(sid: &str) -> OnCall {
    OnCall { sid: sid.parse().unwrap(), caller: "+15550100001".parse().ok(), ..OnCall::unknown("CA0".parse().unwrap()) }
}

fn update(id: PaymentId, sid: &str, change: Change, n: u32) -> Update {
    Update { id, sid: sid.parse().unwrap(), key: id.change_key(change, n), change, given_up: None }
}

fn status(sid: &str, fields: &[(&str, &str)]) -> Status {
    let form: Vec<_> = [("CallSid", "CA1"), ("Sid", sid)]
        .iter()
        .chain(fields)
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let mut status = Status::from_form(&form).unwrap();
    status.delivery = fields.iter().find(|(name, _)| *name == "delivery").map(|(_, token)| (*token).to_owned());
    status
}

const TOKENIZED: [(&str, &str); 3] = [("Result", "success"), ("PaymentToken", "tok_hush-hush"), ("ProfileId", "p1")];
const CHARGED: [(&str, &str); 3] =
    [("Result", "success"), ("PaymentConfirmationCode", "ch_1"), ("PaymentCardNumber", "xxxxxxxxxxxx4242")];
