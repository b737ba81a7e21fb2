//! Tests that the call's view of a payment and the ledger end in the same state after the same history.

use PaymentState::{Abandoned, Cancelled, Capturing, Charged, Declined, Failed, Opened, Submitted, Tokenized, Unknown};
use UpdateAction::{Cancel, Complete};
use proptest::prelude::*;

use super::*;
use crate::payment::{CallbackEffect, CallbackKind, Capture, PaymentOutcome, PaymentRecord};

/// A step of the history of a payment.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The session is requested, first or again, with this response.
    Create(Response),
    /// The missing fields are requested and entered.
    EnterFields,
    /// An update is requested, first or again. Its response follows, or not.
    Request(UpdateAction),
    /// The response to the last update.
    Respond(Response),
    /// A callback of the session.
    Callback(&'static [(&'static str, &'static str)]),
    /// The call ends.
    EndCall,
}
use Step::{Callback, Create, EndCall, EnterFields, Request, Respond};

/// A response of Twilio to a request.
#[derive(Debug, Clone, Copy)]
enum Response {
    Done,
    Refused(u32),
    Gone,
    Lost,
}
use Response::{Done, Gone, Lost, Refused};

const EXISTS: Step = Callback(&[("ChargeAmount", "25.00")]);
const EXISTS_WITH_OTHER_AMOUNT: Step = Callback(&[("ChargeAmount", "30.00")]);
const SUCCESS: Step = Callback(&[("Result", "success"), ("PaymentConfirmationCode", "ch_1")]);
const SUCCESS_WITH_TOKEN: Step = Callback(&[("Result", "success"), ("PaymentToken", "tok_1")]);
const SUCCESS_OF_OTHER_AMOUNT: Step = Callback(&[("Result", "success"), ("ChargeAmount", "2500.00")]);
const SUCCESS_WITH_DECLINE: Step = Callback(&[("Result", "success"), ("PayConnector_payment_status", "DECLINED")]);
const DECLINE: Step = Callback(&[("Result", "payment-connector-error"), ("PayErrorCode", "64012")]);
const DECLINE_WITH_CODE: Step = Callback(&[("Result", "payment-connector-error"), ("PaymentConfirmationCode", "ch_1")]);
const TIMEOUT: Step = Callback(&[("Result", "payment-connector-error"), ("PaymentError", "gateway timeout")]);
const INVALID: Step = Callback(&[("Result", "validation-error")]);
const STAR: Step = Callback(&[("Result", "caller-interrupted-with-star")]);
const HUNG_UP: Step = Callback(&[("Result", "caller-hung-up")]);
const CANCELLED: Step = Callback(&[("Result", "transaction-cancelled")]);

/// The call's view: an open capture, or what is known of the payment after its session.
enum CallView {
    Open(Box<Capture>),
    Closed(PaymentRecord),
}

/// A payment on a call, with the ledger that records it.
struct PaymentPair {
    test: TestLedger,
    view: CallView,
    create: CreatePayment,
    /// Whether the session was requested before.
    is_requested: bool,
    update: Option<UpdatePayment>,
}

impl PaymentPair {
    async fn new(charge: &str) -> Self {
        let mut test = TestLedger::new().await;
        let charge = Amount::parse(charge, Currency::USD).unwrap();
        let (capture, create) = Capture::open(test.ids.generate(), &test.terms, charge, None);
        Self { test, view: CallView::Open(Box::new(capture)), create, is_requested: false, update: None }
    }

    fn record(&self) -> PaymentRecord {
        match &self.view {
            CallView::Open(capture) => capture.record(),
            CallView::Closed(record) => *record,
        }
    }

    /// Applies a step to both. A step that the call would not make is left out.
    async fn apply(&mut self, step: Step) {
        match step {
            Create(response) => self.create(response).await,
            EnterFields => {
                while let CallView::Open(capture) = &self.view
                    && let Some(field) = capture.missing().iter().next()
                {
                    if !self.request(UpdateAction::Capture(field)).await {
                        return;
                    }
                    self.respond(Done).await;
                    let entered = [("Capture", field.wire_name()), ("PartialResult", "false"), ("Required", "")];
                    self.deliver(&entered).await;
                }
            }
            Request(action) => drop(self.request(action).await),
            Respond(response) => self.respond(response).await,
            Callback(fields) => self.deliver(fields).await,
            EndCall => {
                self.test.ledger.record_call_ended(&self.test.call).await.unwrap();
                self.view = CallView::Closed(self.record().after_abandonment());
            }
        }
    }

    async fn create(&mut self, response: Response) {
        let CallView::Open(capture) = &mut self.view else { return };
        if self.is_requested {
            let Ok(again) = capture.retry_open(self.create.charge) else { return };
            assert_eq!(again, self.create, "the key is that of the first request");
        }
        self.is_requested = true;
        self.test.ledger.record_create_request(&self.test.call, &self.create).await.unwrap();
        let response = match response {
            Done => TwilioResponse::Created("PK1".parse().unwrap()),
            other => other.to_twilio(),
        };
        self.test.ledger.record_create_response(&self.create, &response).await.unwrap();
        // The call drops a payment without a session, whatever the reason.
        let dropped = match capture.apply_create_response(&self.create, response) {
            TwilioResponse::Refused { .. } => Failed,
            TwilioResponse::Gone if capture.sid().is_none() => Abandoned,
            _ => return,
        };
        self.view = CallView::Closed(PaymentRecord { state: dropped, ..capture.record() });
    }

    /// Requests an update, and returns whether the state of the capture allows it.
    async fn request(&mut self, action: UpdateAction) -> bool {
        let CallView::Open(capture) = &mut self.view else { return false };
        let Ok(update) = capture.request_update(action) else { return false };
        self.test.ledger.record_update_request(&self.test.call, &update).await.unwrap();
        self.update = Some(update);
        true
    }

    async fn respond(&mut self, response: Response) {
        let Some(update) = self.update.take() else { return };
        let response = response.to_twilio();
        self.test.ledger.record_update_response(&update, &response).await.unwrap();
        let CallView::Open(capture) = &mut self.view else { return };
        let response = capture.apply_update_response(&update, response);
        let is_cancelled = update.action == Cancel && response.confirms_cancellation();
        if is_cancelled || response == TwilioResponse::Gone {
            self.view = CallView::Closed(capture.record());
        }
    }

    async fn deliver(&mut self, fields: &[(&str, &str)]) {
        let callback = status("PK1", fields);
        self.test.ledger.record_callback(&callback).await.unwrap();
        if let CallView::Open(capture) = &mut self.view {
            if capture.matches_callback(&callback)
                && let CallbackEffect::Ended(_) = capture.apply_callback(&callback)
            {
                self.view = CallView::Closed(capture.record());
            } else {
                return;
            }
        }
        let CallView::Closed(known) = &mut self.view else { return };
        if let CallbackKind::Ended(ending) = &callback.kind {
            *known = known.after_outcome(PaymentOutcome::from_session_result(ending, &known.intent));
        }
    }

    async fn states(&self) -> (PaymentState, PaymentState) {
        (self.record().state, self.test.state(self.create.id).await)
    }
}

impl Response {
    fn to_twilio(self) -> TwilioResponse {
        match self {
            Done => TwilioResponse::Accepted,
            Refused(code) => TwilioResponse::Refused { code: Some(code), reason: "no" },
            Gone => TwilioResponse::Gone,
            Lost => TwilioResponse::Unknown,
        }
    }
}

/// Histories after `Create(Done)` and `EnterFields`.
const AFTER_ENTRY: &[(&[Step], PaymentState)] = &[
    (&[], Capturing),
    (&[EndCall], Abandoned),
    (&[STAR], Cancelled),
    (&[HUNG_UP], Abandoned),
    (&[INVALID], Failed),
    (&[DECLINE], Failed),
    // A payment that was never submitted cannot succeed: its success is doubted.
    (&[SUCCESS], Unknown),
    (&[STAR, SUCCESS], Unknown),
    (&[EndCall, SUCCESS], Unknown),
    (&[EndCall, SUCCESS, CANCELLED], Unknown),
    (&[DECLINE_WITH_CODE], Unknown),
    // An accepted cancellation is not a result.
    (&[Request(Cancel), Respond(Done)], Capturing),
    (&[Request(Cancel), Respond(Done), CANCELLED], Cancelled),
    (&[Request(Cancel), CANCELLED, Respond(Done)], Cancelled),
    (&[Request(Cancel), Respond(Lost), EndCall, CANCELLED], Abandoned),
    (&[Request(Cancel), Respond(Gone), EndCall], Abandoned),
    (&[Request(Cancel), Respond(Refused(64020)), EndCall], Abandoned),
    (&[Request(Cancel), Respond(Refused(64020)), Request(Complete), Respond(Done), SUCCESS], Charged),
    (&[Request(Cancel), Respond(Done), SUCCESS], Unknown),
    // Submitted: the result comes by callback, before or after the response.
    (&[Request(Complete)], Submitted),
    (&[Request(Complete), Respond(Done)], Submitted),
    (&[Request(Complete), Respond(Lost)], Submitted),
    (&[Request(Complete), Respond(Done), SUCCESS], Charged),
    (&[Request(Complete), SUCCESS, Respond(Done)], Charged),
    (&[Request(Complete), SUCCESS, Respond(Refused(64012))], Charged),
    (&[Request(Complete), SUCCESS, SUCCESS, DECLINE, SUCCESS_OF_OTHER_AMOUNT], Charged),
    (&[Request(Complete), Respond(Done), DECLINE], Declined),
    (&[Request(Complete), Respond(Done), DECLINE, SUCCESS], Charged),
    (&[Request(Complete), Respond(Done), INVALID], Failed),
    (&[Request(Complete), Respond(Done), STAR], Unknown),
    (&[Request(Complete), Respond(Done), HUNG_UP], Unknown),
    (&[Request(Complete), Respond(Done), CANCELLED], Unknown),
    (&[Request(Complete), Respond(Done), TIMEOUT], Unknown),
    (&[Request(Complete), Respond(Done), TIMEOUT, SUCCESS], Charged),
    (&[Request(Complete), Respond(Done), TIMEOUT, DECLINE], Declined),
    // A contradicted success is settled by nothing but a success.
    (&[Request(Complete), Respond(Done), SUCCESS_OF_OTHER_AMOUNT], Unknown),
    (&[Request(Complete), Respond(Done), SUCCESS_WITH_DECLINE], Unknown),
    (&[Request(Complete), Respond(Done), SUCCESS_WITH_DECLINE, DECLINE], Unknown),
    (&[Request(Complete), Respond(Done), SUCCESS_WITH_DECLINE, SUCCESS], Charged),
    (&[Request(Complete), Respond(Done), DECLINE, SUCCESS_WITH_DECLINE, INVALID], Unknown),
    (&[Request(Complete), Respond(Done), TIMEOUT, SUCCESS_WITH_DECLINE, DECLINE], Unknown),
    (&[Request(Complete), Respond(Done), DECLINE_WITH_CODE, DECLINE], Unknown),
    // The call ends while a payment is submitted.
    (&[Request(Complete), EndCall], Unknown),
    (&[Request(Complete), EndCall, Respond(Refused(64012))], Unknown),
    (&[Request(Complete), EndCall, SUCCESS], Charged),
    (&[Request(Complete), Respond(Done), EndCall, DECLINE], Declined),
    (&[Request(Complete), Respond(Done), EndCall, TIMEOUT], Unknown),
    // A refused submission was certainly not carried out, unless it repeats one without a response.
    (&[Request(Complete), Respond(Refused(64018))], Capturing),
    (&[Request(Complete), Respond(Refused(64012)), EndCall], Declined),
    (&[Request(Complete), Respond(Refused(64012)), STAR], Declined),
    (&[Request(Complete), Respond(Refused(64001)), Request(Cancel), Respond(Done), CANCELLED], Failed),
    (&[Request(Complete), Respond(Refused(64012)), Request(Complete), Respond(Refused(64018)), HUNG_UP], Failed),
    (&[Request(Complete), Respond(Refused(64012)), Request(Complete), Respond(Done), SUCCESS], Charged),
    (&[Request(Complete), Respond(Refused(64012)), Request(Complete), Respond(Done), STAR], Unknown),
    (&[Request(Complete), Respond(Refused(64012)), Request(Complete), Respond(Gone), EndCall], Abandoned),
    (&[Request(Complete), Respond(Refused(64012)), SUCCESS], Unknown),
    (&[Request(Complete), Respond(Lost), Request(Complete), Respond(Refused(64012))], Submitted),
    (&[Request(Complete), Respond(Lost), Request(Complete), Respond(Gone)], Submitted),
    (&[Request(Complete), Respond(Lost), Request(Complete), Respond(Refused(64020)), SUCCESS], Charged),
    (&[Request(Complete), Respond(Lost), Request(Complete), Respond(Gone), EndCall], Unknown),
    (&[Request(Complete), Respond(Lost), Request(Complete), Respond(Done), DECLINE], Declined),
    (&[Request(Complete), Respond(Gone)], Capturing),
    (&[Request(Complete), Respond(Gone), EndCall], Abandoned),
    (&[Request(Complete), Respond(Gone), HUNG_UP], Abandoned),
    (&[Request(Complete), Respond(Gone), SUCCESS], Unknown),
];

/// Histories from the first request.
const FROM_CREATION: &[(&[Step], PaymentState)] = &[
    (&[Create(Done)], Opened),
    (&[Create(Refused(64004))], Failed),
    (&[Create(Gone)], Abandoned),
    (&[Create(Lost)], Opened),
    (&[Create(Lost), EndCall], Abandoned),
    (&[Create(Lost), Create(Done), STAR], Cancelled),
    (&[Create(Lost), Create(Refused(64021))], Opened),
    (&[Create(Lost), Create(Gone), EndCall], Abandoned),
    // A callback confirms the session, unless it has another amount or is a success.
    (&[Create(Lost), EXISTS, STAR], Cancelled),
    (&[Create(Lost), EXISTS, EnterFields, Request(Complete), SUCCESS], Charged),
    (&[Create(Lost), EXISTS_WITH_OTHER_AMOUNT], Opened),
    (&[Create(Lost), SUCCESS], Opened),
    (&[Create(Lost), DECLINE_WITH_CODE], Opened),
    (&[Create(Lost), HUNG_UP], Abandoned),
];

#[tokio::test]
async fn the_call_and_the_ledger_end_in_the_same_state() {
    let after_entry =
        AFTER_ENTRY.iter().map(|(steps, state)| ([&[Create(Done), EnterFields], *steps].concat(), *state));
    let from_creation = FROM_CREATION.iter().map(|(steps, state)| (steps.to_vec(), *state));
    for (steps, expected) in from_creation.chain(after_entry) {
        let mut payment = PaymentPair::new("25").await;
        for step in &steps {
            payment.apply(*step).await;
        }
        assert_eq!(payment.states().await, (expected, expected), "{steps:?}");
    }
    for (ending, expected) in [(SUCCESS_WITH_TOKEN, Tokenized), (SUCCESS, Unknown), (DECLINE, Declined)] {
        let mut payment = PaymentPair::new("0").await;
        for step in [Create(Done), EnterFields, Request(Complete), Respond(Done), ending] {
            payment.apply(step).await;
        }
        assert_eq!(payment.states().await, (expected, expected), "{ending:?}");
    }
}

fn step() -> impl Strategy<Value = Step> {
    let response = || prop::sample::select(&[Done, Done, Lost, Gone, Refused(64012), Refused(64019)][..]);
    let callback = prop::sample::select(
        &[
            EXISTS,
            SUCCESS,
            SUCCESS_OF_OTHER_AMOUNT,
            SUCCESS_WITH_DECLINE,
            DECLINE,
            DECLINE_WITH_CODE,
            TIMEOUT,
            INVALID,
            STAR,
            HUNG_UP,
            CANCELLED,
        ][..],
    );
    prop_oneof![
        1 => response().prop_map(Create),
        2 => Just(EnterFields),
        4 => Just(Request(Complete)),
        1 => Just(Request(Cancel)),
        4 => response().prop_map(Respond),
        3 => callback,
        1 => Just(EndCall),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_history_makes_the_call_and_the_ledger_disagree(steps in prop::collection::vec(step(), 1..14)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let states = runtime.block_on(async {
            let mut payment = PaymentPair::new("25").await;
            for step in [Create(Done), EnterFields].into_iter().chain(steps) {
                payment.apply(step).await;
            }
            payment.states().await
        });
        prop_assert_eq!(states.0, states.1);
    }
}
