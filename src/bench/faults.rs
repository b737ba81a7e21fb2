//! What goes wrong on a call, drawn by a seeded generator: the same seed and number give the same faults.

use std::time::Duration;

use crate::simulator::card_samples::SeededRng;
use crate::simulator::load::{
    CardMask, HttpFault, HttpFaultKind, PaymentResult, Quirks, ReportTiming, ResultReport, ScriptedSubmission,
};
use crate::simulator::{CaptureField, PaymentsRequest};

/// From a submission to its result.
const RESULT_TIME: Duration = Duration::from_millis(100);

/// The decline of a card, as Twilio reports it.
const DECLINED: PaymentResult = PaymentResult::Declined(64012);

/// What goes wrong on a call.
#[derive(Debug)]
pub(super) struct CallFaults {
    /// How Twilio behaves, which of its requests fail, and what its submissions come to.
    pub(super) quirks: Quirks,
    /// What the model does instead of answering.
    pub(super) model: Option<ModelFault>,
    /// What the caller does in the middle of a payment.
    pub(super) caller: Option<CallerFault>,
    /// Whether the caller's first card number has a wrong digit.
    pub(super) mistypes: bool,
}

/// Requests to the model that fail.
#[derive(Debug, Clone, Copy)]
pub(super) struct ModelFault {
    /// How they fail.
    pub(super) kind: ModelFaultKind,
    /// The first of them, counted from 0.
    pub(super) at: usize,
    /// Their number.
    pub(super) times: usize,
}

/// How a request to the model fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ModelFaultKind {
    /// 500.
    ServerError,
    /// 429.
    TooManyRequests,
    /// Headers, and no event.
    Stall,
    /// The stream breaks in the middle.
    Cut,
}

/// What the caller does in the middle of a payment.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallerFault {
    /// What it is.
    pub(super) act: CallerAct,
    /// Once Twilio has done this; in the capture of a field after its first key.
    pub(super) after: PaymentsRequest,
}

/// An act of a caller, or of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallerAct {
    /// The caller hangs up.
    HangUp,
    /// The caller presses the star key, which cancels at Twilio.
    PressStar,
    /// The caller asks the agent to cancel.
    AskToCancel,
    /// The socket breaks, and Twilio opens another one.
    LoseSocket,
}

impl CallFaults {
    /// Nothing goes wrong.
    pub(super) fn none() -> Self {
        let quirks = Quirks { submissions: vec![submission(Some(PaymentResult::Success))], ..Quirks::default() };
        Self { quirks, model: None, caller: None, mistypes: false }
    }

    /// Draws the faults of the call with this number.
    pub(super) fn draw(seed: u64, number: usize) -> Self {
        let mut rng = SeededRng::for_case(seed, number);
        let mut draw = |of: usize| rng.below(of);
        let submissions = match draw(20) {
            0..=12 => vec![submission(Some(PaymentResult::Success))],
            13..=14 => vec![submission(Some(DECLINED))],
            15..=17 => vec![submission(Some(DECLINED)), submission(Some(PaymentResult::Success))],
            18 => vec![submission(None)],
            _ => vec![ScriptedSubmission::new(true, &[ResultReport::new(PaymentResult::Success).after_calls_end()])],
        };
        // Nobody waits on the line for a result that does not come.
        let is_silent =
            submissions.iter().any(|it| it.reports.iter().all(|it| it.timing == ReportTiming::AfterCallsEnd));
        let caller = match (is_silent, draw(4)) {
            (true, _) => Some(CallerFault { act: CallerAct::HangUp, after: PaymentsRequest::Complete }),
            (_, 0) => Some(CallerFault {
                act: [CallerAct::HangUp, CallerAct::PressStar, CallerAct::AskToCancel, CallerAct::LoseSocket][draw(4)],
                after: STEPS[draw(STEPS.len())],
            }),
            _ => None,
        };
        let http_fault = (draw(3) == 0).then(|| HttpFault {
            request: [&STEPS[..], &[PaymentsRequest::Cancel]].concat()[draw(STEPS.len() + 1)],
            kind: [
                HttpFaultKind::ServerError,
                HttpFaultKind::TooManyRequests,
                HttpFaultKind::ResponseLost,
                HttpFaultKind::NoResponse,
                HttpFaultKind::Slow(1),
            ][draw(5)],
            // The last is more than a request is repeated.
            times: [1, 1, 2, 9][draw(4)],
        });
        let model = (draw(5) == 0).then(|| ModelFault {
            kind: [
                ModelFaultKind::ServerError,
                ModelFaultKind::TooManyRequests,
                ModelFaultKind::Stall,
                ModelFaultKind::Cut,
            ][draw(4)],
            at: draw(10),
            times: [1, 1, 2, 4][draw(4)],
        });
        let quirks = Quirks {
            callback_first: draw(4) == 0,
            duplicate_callbacks: draw(4) == 0,
            shuffle_seed: (draw(4) == 0).then_some(seed),
            minimal_callbacks: draw(4) == 0,
            pascal_case_required: draw(4) == 0,
            card_mask: [CardMask::X, CardMask::Dashed, CardMask::Spaced, CardMask::Stars][draw(4)],
            empty_error_type: draw(4) == 0,
            ends_at_full_length: draw(4) == 0,
            http_fault,
            submissions,
            ..Quirks::default()
        };
        Self { quirks, model, caller, mistypes: draw(6) == 0 }
    }
}

/// The steps of a payment at which something goes wrong.
const STEPS: [PaymentsRequest; 5] = [
    PaymentsRequest::Create,
    PaymentsRequest::Capture(CaptureField::CardNumber),
    PaymentsRequest::Capture(CaptureField::SecurityCode),
    PaymentsRequest::Capture(CaptureField::ExpirationDate),
    PaymentsRequest::Complete,
];

/// A submission with this result, or with none.
fn submission(result: Option<PaymentResult>) -> ScriptedSubmission {
    let report = |result| ResultReport { timing: ReportTiming::After(RESULT_TIME), ..ResultReport::new(result) };
    let reports: Vec<ResultReport> = result.map(report).into_iter().collect();
    ScriptedSubmission::new(result == Some(PaymentResult::Success), &reports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_faults_again_and_every_kind_of_them() {
        let all = |seed: u64| (1..=2_000).map(|number| CallFaults::draw(seed, number)).collect::<Vec<_>>();
        assert_eq!(format!("{:?}", all(1)), format!("{:?}", all(1)));
        assert_ne!(format!("{:?}", all(1)), format!("{:?}", all(2)));
        let drawn = format!("{:?}", all(1));
        for kind in ["ServerError", "TooManyRequests", "ResponseLost", "NoResponse", "Slow", "Stall", "Cut"] {
            assert!(drawn.contains(kind), "{kind}");
        }
        for kind in ["HangUp", "PressStar", "AskToCancel", "LoseSocket", "AfterCallsEnd", "reports: []", "Declined"] {
            assert!(drawn.contains(kind), "{kind}");
        }
    }
}
