//! Two lines, a server that may be killed, a file that may fail, and the invariants.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use sqlx::Executor as _;
use tokio::task::JoinHandle;

use super::super::*;
use super::bank::{BankDecision, BankSession, SUCCESSES, report_result};
use super::{ChargeOnceStep, CreateReply, ResponseTiming, Submission};
use crate::ledger::orders::order_key;
use crate::payment::{OrderRules, VelocityLimits};
use crate::redact::Private;

/// How long another process holds the lock: less than a write waits.
const LOCK_DURATION: Duration = Duration::from_millis(8);

/// A call, as the server knows it until it is killed.
struct ModelCall {
    call: CallData,
    /// The index of the session of its payment.
    session: Option<usize>,
    /// Number of submissions with different keys.
    submissions: u32,
    /// Whether the last submission is unanswered: it is repeated with its key.
    is_unanswered: bool,
}

pub(super) struct LedgerModel {
    test: TestLedger,
    reference: Option<&'static str>,
    open_calls: [ModelCall; 2],
    call_count: usize,
    sessions: Vec<BankSession>,
    late_responses: Vec<(UpdatePayment, TwilioResponse)>,
    is_full: bool,
    locks: Vec<JoinHandle<()>>,
}

impl LedgerModel {
    pub(super) async fn new(reference: Option<&'static str>) -> Self {
        let test =
            TestLedger::in_directory(TempDirectory::with_capacity_kib(2048).unwrap_or_else(TempDirectory::new)).await;
        let lines = [0, 1].map(|n| ModelCall::new(n, reference));
        let mut world = Self {
            test,
            reference,
            open_calls: lines,
            call_count: 2,
            sessions: Vec::new(),
            late_responses: Vec::new(),
            is_full: false,
            locks: Vec::new(),
        };
        world.apply_limits();
        world
    }

    fn apply_limits(&mut self) {
        let limits = VelocityLimits { orders: OrderRules::default(), ..VelocityLimits::NONE };
        self.test.ledger = self.test.ledger.with_limits(limits, Currency::USD);
    }

    pub(super) async fn apply(&mut self, step: ChargeOnceStep) {
        match step {
            ChargeOnceStep::BeginPayment(line, opening) => {
                let create = self.new_create();
                let asked = self.test.ledger.record_create_request(&self.open_calls[line].call, &create).await;
                self.finish_create(line, &create, asked.is_ok(), opening).await;
            }
            ChargeOnceStep::BeginBoth => {
                let creates = [self.new_create(), self.new_create()];
                let [first, second] = &self.open_calls;
                let asked = tokio::join!(
                    self.test.ledger.record_create_request(&first.call, &creates[0]),
                    self.test.ledger.record_create_request(&second.call, &creates[1])
                );
                self.finish_create(0, &creates[0], asked.0.is_ok(), CreateReply::Created).await;
                self.finish_create(1, &creates[1], asked.1.is_ok(), CreateReply::Created).await;
            }
            ChargeOnceStep::Submit(line, submission) => {
                let Some(update) = self.completion_request(line) else { return };
                let asked = self.test.ledger.record_update_request(&self.open_calls[line].call, &update).await;
                self.finish_submission(line, update, asked.is_ok(), submission).await;
            }
            ChargeOnceStep::SubmitBoth(bank) => {
                let (Some(first), Some(second)) = (self.completion_request(0), self.completion_request(1)) else {
                    return;
                };
                let asked = tokio::join!(
                    self.test.ledger.record_update_request(&self.open_calls[0].call, &first),
                    self.test.ledger.record_update_request(&self.open_calls[1].call, &second)
                );
                let submission = Submission { decision: Ok(bank), timing: ResponseTiming::Immediate };
                self.finish_submission(0, first, asked.0.is_ok(), submission).await;
                self.finish_submission(1, second, asked.1.is_ok(), submission).await;
            }
            ChargeOnceStep::DeliverLateResponses => {
                for (update, answer) in std::mem::take(&mut self.late_responses) {
                    self.test.ledger.record_update_response(&update, &answer).await.unwrap();
                }
            }
            ChargeOnceStep::ReportResult { session, which } => self.report_result(session, which).await,
            ChargeOnceStep::Redial(line) => self.redial(line).await,
            ChargeOnceStep::RestartServer => self.restart_server().await,
            ChargeOnceStep::LockDatabase => self.lock_database().await,
            ChargeOnceStep::FillDisk if self.test.directory.1 && !self.is_full => {
                self.test.directory.fill();
                self.is_full = true;
            }
            ChargeOnceStep::FreeDisk => self.free_disk(),
            ChargeOnceStep::FillDisk => {}
        }
    }

    fn new_create(&mut self) -> CreatePayment {
        let id = self.test.ids.generate();
        let charge = Amount::parse("25", Currency::USD).unwrap();
        CreatePayment { id, idempotency_key: id.create_key(), charge, terms: self.test.terms.clone(), consent: None }
    }

    async fn finish_create(&mut self, line: usize, create: &CreatePayment, is_asked: bool, opening: CreateReply) {
        if !is_asked {
            return;
        }
        let call = self.open_calls[line].call.call_sid.to_string();
        // Twilio allows one session at a time on a call.
        let is_busy = self.sessions.iter().any(|session| session.call == call && !session.is_closed);
        let sid = format!("PK{}", self.sessions.len());
        let answer = match opening {
            _ if is_busy => TwilioResponse::Refused { code: Some(64021), reason: "" },
            CreateReply::Refused => TwilioResponse::Refused { code: Some(64001), reason: "" },
            CreateReply::Created => TwilioResponse::Created(sid.parse().unwrap()),
            CreateReply::CreatedResponseLost => TwilioResponse::Unknown,
        };
        if !matches!(answer, TwilioResponse::Refused { .. }) {
            let (is_submitted, bank, is_over) = (false, None, false);
            self.sessions.push(BankSession { sid, payment: create.id, call, is_submitted, bank, is_closed: is_over });
        }
        if matches!(answer, TwilioResponse::Created(_)) {
            let open = &mut self.open_calls[line];
            (open.session, open.submissions, open.is_unanswered) = (Some(self.sessions.len() - 1), 0, false);
        }
        self.test.ledger.record_create_response(create, &answer).await.unwrap();
        if let TwilioResponse::Created(sid) = &answer {
            let entry = update(create.id, sid.as_str(), UpdateAction::Capture(Field::CardNumber), 1);
            // A payment cannot be submitted without it.
            let asked = self.test.ledger.record_update_request(&self.open_calls[line].call, &entry).await;
            if asked.is_ok() {
                self.test.ledger.record_update_response(&entry, &TwilioResponse::Accepted).await.unwrap();
            }
        }
    }

    /// Builds the request to submit the payment of a call.
    fn completion_request(&mut self, line: usize) -> Option<UpdatePayment> {
        let open = &mut self.open_calls[line];
        let session = &self.sessions[open.session?];
        open.submissions += u32::from(!open.is_unanswered);
        Some(update(session.payment, &session.sid, UpdateAction::Complete, open.submissions))
    }

    async fn finish_submission(&mut self, line: usize, update: UpdatePayment, is_asked: bool, submission: Submission) {
        let open = &mut self.open_calls[line];
        let repeats = std::mem::take(&mut open.is_unanswered);
        if !is_asked {
            return;
        }
        let session = &mut self.sessions[open.session.unwrap()];
        session.is_submitted = true;
        let answer = match (session.bank, submission.decision) {
            // A repeated request is executed once, whatever the response to it.
            (Some(_), Ok(BankDecision::Charge)) if repeats => TwilioResponse::Accepted,
            (Some(_), _) => TwilioResponse::Refused { code: Some(64021), reason: "" },
            _ if session.is_closed => TwilioResponse::Gone,
            (None, Ok(bank)) => {
                session.bank = Some(bank);
                TwilioResponse::Accepted
            }
            (None, Err(code)) => TwilioResponse::Refused { code: Some(code), reason: "" },
        };
        match submission.timing {
            ResponseTiming::Immediate => self.test.ledger.record_update_response(&update, &answer).await.unwrap(),
            ResponseTiming::Late => self.late_responses.push((update, answer)),
            ResponseTiming::Lost => {
                open.is_unanswered = true;
                self.test.ledger.record_update_response(&update, &TwilioResponse::Unknown).await.unwrap();
            }
        }
    }

    async fn report_result(&mut self, session: Index, which: Index) {
        if self.sessions.is_empty() {
            return;
        }
        let session = session.get_mut(&mut self.sessions);
        let reports = session.possible_results();
        let fields = which.get(&reports);
        session.is_closed = true;
        let session = &*session;
        report_result(&self.test.ledger, session, fields).await;
    }

    async fn redial(&mut self, line: usize) {
        let call = self.open_calls[line].call.call_sid.clone();
        self.test.ledger.record_call_ended(&CallData::from_sid(call.clone())).await.unwrap();
        self.sessions
            .iter_mut()
            .filter(|session| session.call == call.as_str())
            .for_each(|session| session.is_closed = true);
        self.open_calls[line] = ModelCall::new(self.call_count, self.reference);
        self.call_count += 1;
    }

    /// Buffered records are lost. Calls continue, and the server knows only what is in the ledger.
    async fn restart_server(&mut self) {
        self.wait_for_locks().await;
        self.free_disk();
        self.late_responses.clear();
        for open in &mut self.open_calls {
            open.session = None;
        }
        let file = self.test.directory.file();
        // The old ledger has to be dropped before the new one is opened.
        self.test.ledger = Ledger::open_for_cli(&file).await.unwrap();
        self.test.ledger = Ledger::open(&file).await.unwrap();
        self.apply_limits();
        for left in self.test.ledger.orphan_all_payments().await {
            let of = |session: &&mut BankSession| session.call == left.call.call_sid.as_str();
            self.sessions.iter_mut().filter(of).for_each(|session| session.is_closed = true);
            self.test.ledger.finish_recovery(&left).await.unwrap();
        }
    }

    async fn lock_database(&mut self) {
        if self.is_full {
            return;
        }
        self.wait_for_locks().await;
        let mut other = self.test.connect_other().await;
        if other.execute("BEGIN IMMEDIATE").await.is_err() {
            return;
        }
        self.locks.push(tokio::spawn(async move {
            tokio::time::sleep(LOCK_DURATION).await;
            other.execute("ROLLBACK").await.unwrap();
        }));
    }

    async fn wait_for_locks(&mut self) {
        for lock in self.locks.drain(..) {
            lock.await.unwrap();
        }
    }

    fn free_disk(&mut self) {
        if std::mem::take(&mut self.is_full) {
            self.test.directory.make_room();
        }
    }

    /// Checks that no state contradicts the bank.
    pub(super) async fn check_states(&self) -> Result<(), TestCaseError> {
        let charged = self.sessions.iter().filter(|session| session.is_charged()).count();
        prop_assert!(charged <= 1, "charged {charged} times: {:?}", self.sessions);
        for (id, state) in self.states().await {
            let session = self.sessions.iter().find(|session| session.payment == id);
            let is_charged = session.is_some_and(BankSession::is_charged);
            let is_true = match state {
                PaymentState::Submitted | PaymentState::Unknown => true,
                PaymentState::Charged => is_charged,
                PaymentState::Opened
                | PaymentState::Capturing
                | PaymentState::Declined
                | PaymentState::Failed
                | PaymentState::Cancelled
                | PaymentState::Abandoned => !is_charged,
                PaymentState::Pending
                | PaymentState::Tokenized
                | PaymentState::Returned
                | PaymentState::Refunded
                | PaymentState::Disputed => false,
            };
            prop_assert!(is_true, "the ledger has {state} for {session:?}");
        }
        Ok(())
    }

    async fn states(&self) -> HashMap<PaymentId, PaymentState> {
        let all = PaymentFilter { since: None, state: None, after: None, limit: u32::MAX };
        let payments = self.test.ledger.payments(&all).await.unwrap();
        payments.into_iter().map(|payment| (payment.id, payment.state)).collect()
    }

    /// Ends all faults and delivers all late results.
    pub(super) async fn finish(mut self) -> Result<(), TestCaseError> {
        self.wait_for_locks().await;
        self.free_disk();
        for session in self.sessions.iter().filter(|session| session.is_charged()) {
            report_result(&self.test.ledger, session, SUCCESSES[0]).await;
        }
        self.check_states().await?;
        let states = self.states().await;
        for session in self.sessions.iter().filter(|session| session.is_charged()) {
            prop_assert_eq!(states.get(&session.payment), Some(&PaymentState::Charged), "a success is final");
        }
        Ok(())
    }
}

impl ModelCall {
    fn new(n: usize, reference: Option<&str>) -> Self {
        let reference = reference.map(|text| Private::new(text.to_owned()));
        let order_key = reference.as_ref().map(|text| order_key(text.reveal()));
        let on = CallData { call_reference: reference, order_key, ..call(&format!("CA{n}")) };
        Self { call: on, session: None, submissions: 0, is_unanswered: false }
    }
}
