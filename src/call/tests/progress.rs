//! What operators see of a call.

use super::*;

#[test]
fn the_progress_follows_the_payment() {
    let mut call = TestCall::start();
    let payment = |call: &TestCall| call.inner.progress().payment;
    assert_eq!(payment(&call), PaymentProgress::None);
    call.caller_says("I want to pay");
    call.model_replies("Sure.", &["start-capture"]);
    assert_eq!(payment(&call), PaymentProgress::Opening);
    call.twilio_answers(TwilioResponse::Created(payment_sid("PK1")));
    assert_eq!(payment(&call), PaymentProgress::Open);
    call.model_replies("", &["capture-card"]);
    assert_eq!(payment(&call), PaymentProgress::Capturing(Field::CardNumber));
    call.enter_all_fields("PK1");
    call.model_replies("", &["finish-capture"]);
    assert_eq!(payment(&call), PaymentProgress::Submitting);
    assert!(payment(&call).is_open());
    call.twilio_answers(TwilioResponse::Accepted);
    call.twilio_reports("PK1", &[("Result", "success"), ("PaymentToken", "tok_1")]);
    assert!(matches!(payment(&call), PaymentProgress::Closed(state) if state.is_paid()), "{:?}", payment(&call));
    let progress = call.inner.progress();
    assert!(!progress.payment.is_open() && progress.line == LineStatus::Live);
    call.feed(CallEvent::SocketLost);
    assert_eq!(call.inner.progress().line, LineStatus::Parked);
    call.feed(CallEvent::HungUp);
    assert_eq!(call.inner.progress().line, LineStatus::Ending);
}
