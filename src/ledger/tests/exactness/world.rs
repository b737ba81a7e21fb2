//! Two lines, a server that may die, a file that may fail, and what has to hold of all that.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use sqlx::Executor as _;
use tokio::task::JoinHandle;

use super::super::*;
use super::bank::{Bank, SUCCESSES, Session, report};
use super::{Hears, Opening, Step, Submission};
use crate::ledger::orders::order_key;
use crate::payment::{Limits, OrderRules};
use crate::redact::Private;

/// How long another process holds the lock: less than a write waits.
const HOLDS: Duration = Duration::from_millis(8);

/// A call, as the server knows it until it dies.
struct OpenCall {
    on: OnCall,
    /// The session of its payment.
    session: Option<usize>,
    /// How often it was submitted under a key of its own.
    attempts: u32,
    /// The last submission was not answered: it is repeated with its key.
    is_unanswered: bool,
}

pub struct World {
    desk: Desk,
    reference: Option<&'static str>,
    lines: [OpenCall; 2],
    calls: usize,
    sessions: Vec<Session>,
    late: Vec<(Update, Answer)>,
    is_full: bool,
    locks: Vec<JoinHandle<()>>,
}

impl World {
    pub async fn new(reference: Option<&'static str>) -> Self {
        let desk = Desk::at(Directory::with_room_for(2048).unwrap_or_else(Directory::new)).await;
        let lines = [0, 1].map(|n| OpenCall::new(n, reference));
        let mut world = Self {
            desk,
            reference,
            lines,
            calls: 2,
            sessions: Vec::new(),
            late: Vec::new(),
            is_full: false,
            locks: Vec::new(),
        };
        world.limit();
        world
    }

    fn limit(&mut self) {
        let limits = Limits { orders: OrderRules::default(), ..Limits::NONE };
        self.desk.ledger = self.desk.ledger.within(limits, Currency::USD);
    }

    pub async fn happens(&mut self, step: Step) {
        match step {
            Step::Begins(line, opening) => {
                let create = self.create();
                let asked = self.desk.ledger.opening(&self.lines[line].on, &create).await;
                self.begun(line, &create, asked.is_ok(), opening).await;
            }
            Step::BothBegin => {
                let creates = [self.create(), self.create()];
                let [first, second] = &self.lines;
                let asked = tokio::join!(
                    self.desk.ledger.opening(&first.on, &creates[0]),
                    self.desk.ledger.opening(&second.on, &creates[1])
                );
                self.begun(0, &creates[0], asked.0.is_ok(), Opening::Opens).await;
                self.begun(1, &creates[1], asked.1.is_ok(), Opening::Opens).await;
            }
            Step::Submits(line, submission) => {
                let Some(update) = self.update(line) else { return };
                let asked = self.desk.ledger.asking(&self.lines[line].on, &update).await;
                self.submitted(line, update, asked.is_ok(), submission).await;
            }
            Step::BothSubmit(bank) => {
                let (Some(first), Some(second)) = (self.update(0), self.update(1)) else { return };
                let asked = tokio::join!(
                    self.desk.ledger.asking(&self.lines[0].on, &first),
                    self.desk.ledger.asking(&self.lines[1].on, &second)
                );
                let submission = Submission { does: Ok(bank), hears: Hears::AtOnce };
                self.submitted(0, first, asked.0.is_ok(), submission).await;
                self.submitted(1, second, asked.1.is_ok(), submission).await;
            }
            Step::AnswersArrive => {
                for (update, answer) in std::mem::take(&mut self.late) {
                    self.desk.ledger.answered(&update, &answer).await.unwrap();
                }
            }
            Step::Reports { session, which } => self.reports(session, which).await,
            Step::Redials(line) => self.redials(line).await,
            Step::Restarts => self.restarts().await,
            Step::IsLocked => self.is_locked().await,
            Step::DiskFills if self.desk.directory.1 && !self.is_full => {
                self.desk.directory.fill();
                self.is_full = true;
            }
            Step::DiskHasRoom => self.has_room(),
            Step::DiskFills => {}
        }
    }

    fn create(&mut self) -> Create {
        let id = self.desk.ids.make();
        let charge = Amount::parse("25", Currency::USD).unwrap();
        Create { id, key: id.create_key(), charge, terms: self.desk.terms.clone(), agreed: None }
    }

    async fn begun(&mut self, line: usize, create: &Create, is_asked: bool, opening: Opening) {
        if !is_asked {
            return;
        }
        let call = self.lines[line].on.sid.to_string();
        // Twilio has one session of a call at a time.
        let is_busy = self.sessions.iter().any(|session| session.call == call && !session.is_over);
        let sid = format!("PK{}", self.sessions.len());
        let answer = match opening {
            _ if is_busy => Answer::Refused { code: Some(64021), reason: "" },
            Opening::Refuses => Answer::Refused { code: Some(64001), reason: "" },
            Opening::Opens => Answer::Created(sid.parse().unwrap()),
            Opening::OpensUnheard => Answer::Unknown,
        };
        if !matches!(answer, Answer::Refused { .. }) {
            let (is_submitted, bank, is_over) = (false, None, false);
            self.sessions.push(Session { sid, payment: create.id, call, is_submitted, bank, is_over });
        }
        if matches!(answer, Answer::Created(_)) {
            let open = &mut self.lines[line];
            (open.session, open.attempts, open.is_unanswered) = (Some(self.sessions.len() - 1), 0, false);
        }
        self.desk.ledger.created(create, &answer).await.unwrap();
        if let Answer::Created(sid) = &answer {
            let entry = update(create.id, sid.as_str(), Change::Capture(Field::CardNumber), 1);
            // Without it nothing can be submitted.
            let asked = self.desk.ledger.asking(&self.lines[line].on, &entry).await;
            if asked.is_ok() {
                self.desk.ledger.answered(&entry, &Answer::Accepted).await.unwrap();
            }
        }
    }

    /// The request to submit the payment of a call.
    fn update(&mut self, line: usize) -> Option<Update> {
        let open = &mut self.lines[line];
        let session = &self.sessions[open.session?];
        open.attempts += u32::from(!open.is_unanswered);
        Some(update(session.payment, &session.sid, Change::Complete, open.attempts))
    }

    async fn submitted(&mut self, line: usize, update: Update, is_asked: bool, submission: Submission) {
        let open = &mut self.lines[line];
        let repeats = std::mem::take(&mut open.is_unanswered);
        if !is_asked {
            return;
        }
        let session = &mut self.sessions[open.session.unwrap()];
        session.is_submitted = true;
        let answer = match (session.bank, submission.does) {
            // The same request once more is done once, whatever it is answered.
            (Some(_), Ok(Bank::Charges)) if repeats => Answer::Accepted,
            (Some(_), _) => Answer::Refused { code: Some(64021), reason: "" },
            _ if session.is_over => Answer::Gone,
            (None, Ok(bank)) => {
                session.bank = Some(bank);
                Answer::Accepted
            }
            (None, Err(code)) => Answer::Refused { code: Some(code), reason: "" },
        };
        match submission.hears {
            Hears::AtOnce => self.desk.ledger.answered(&update, &answer).await.unwrap(),
            Hears::Late => self.late.push((update, answer)),
            Hears::Never => {
                open.is_unanswered = true;
                self.desk.ledger.answered(&update, &Answer::Unknown).await.unwrap();
            }
        }
    }

    async fn reports(&mut self, session: Index, which: Index) {
        if self.sessions.is_empty() {
            return;
        }
        let session = session.get_mut(&mut self.sessions);
        let reports = session.reports();
        let fields = which.get(&reports);
        session.is_over = true;
        let session = &*session;
        report(&self.desk.ledger, session, fields).await;
    }

    async fn redials(&mut self, line: usize) {
        let call = self.lines[line].on.sid.clone();
        self.desk.ledger.call_over(&call).await.unwrap();
        self.sessions
            .iter_mut()
            .filter(|session| session.call == call.as_str())
            .for_each(|session| session.is_over = true);
        self.lines[line] = OpenCall::new(self.calls, self.reference);
        self.calls += 1;
    }

    /// What was held in memory is lost. Calls go on, and the server knows of them what the ledger knows.
    async fn restarts(&mut self) {
        self.is_unlocked().await;
        self.has_room();
        self.late.clear();
        for open in &mut self.lines {
            open.session = None;
        }
        let file = self.desk.directory.file();
        // The old one has to be gone before the new one comes.
        self.desk.ledger = Ledger::visit(&file).await.unwrap();
        self.desk.ledger = Ledger::open(&file).await.unwrap();
        self.limit();
        for left in self.desk.ledger.take_stock().await.unwrap() {
            let of = |session: &&mut Session| session.call == left.call.sid.as_str();
            self.sessions.iter_mut().filter(of).for_each(|session| session.is_over = true);
            self.desk.ledger.put_away(&left).await.unwrap();
        }
    }

    async fn is_locked(&mut self) {
        if self.is_full {
            return;
        }
        self.is_unlocked().await;
        let mut other = self.desk.beside().await;
        if other.execute("BEGIN IMMEDIATE").await.is_err() {
            return;
        }
        self.locks.push(tokio::spawn(async move {
            tokio::time::sleep(HOLDS).await;
            other.execute("ROLLBACK").await.unwrap();
        }));
    }

    async fn is_unlocked(&mut self) {
        for lock in self.locks.drain(..) {
            lock.await.unwrap();
        }
    }

    fn has_room(&mut self) {
        if std::mem::take(&mut self.is_full) {
            self.desk.directory.make_room();
        }
    }

    /// No state is claimed that the bank does not hold.
    pub async fn claims_nothing_untrue(&self) -> Result<(), TestCaseError> {
        let charged = self.sessions.iter().filter(|session| session.is_charged()).count();
        prop_assert!(charged <= 1, "charged {charged} times: {:?}", self.sessions);
        for (id, state) in self.states().await {
            let session = self.sessions.iter().find(|session| session.payment == id);
            let is_charged = session.is_some_and(Session::is_charged);
            let is_true = match state {
                State::Submitted | State::Unknown => true,
                State::Charged => is_charged,
                State::Opened
                | State::Capturing
                | State::Declined
                | State::Failed
                | State::Cancelled
                | State::Abandoned => !is_charged,
                State::Pending | State::Tokenized | State::Returned | State::Refunded | State::Disputed => false,
            };
            prop_assert!(is_true, "the ledger says {state} of {session:?}");
        }
        Ok(())
    }

    async fn states(&self) -> HashMap<PaymentId, State> {
        let all = Filter { since: None, state: None, after: None, limit: u32::MAX };
        let payments = self.desk.ledger.payments(&all).await.unwrap();
        payments.into_iter().map(|payment| (payment.id, payment.state)).collect()
    }

    /// Every fault is over, and every result comes that was late.
    pub async fn ends(mut self) -> Result<(), TestCaseError> {
        self.is_unlocked().await;
        self.has_room();
        for session in self.sessions.iter().filter(|session| session.is_charged()) {
            report(&self.desk.ledger, session, SUCCESSES[0]).await;
        }
        self.claims_nothing_untrue().await?;
        let states = self.states().await;
        for session in self.sessions.iter().filter(|session| session.is_charged()) {
            prop_assert_eq!(states.get(&session.payment), Some(&State::Charged), "a success is the last word");
        }
        Ok(())
    }
}

impl OpenCall {
    fn new(n: usize, reference: Option<&str>) -> Self {
        let reference = reference.map(|text| Private::new(text.to_owned()));
        let order_key = reference.as_ref().map(|text| order_key(text.reveal()));
        let on = OnCall { reference, order_key, ..call(&format!("CA{n}")) };
        Self { on, session: None, attempts: 0, is_unanswered: false }
    }
}
