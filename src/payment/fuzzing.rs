//! What must hold for any payment status callback, as a check for a fuzzer.

use url::form_urlencoded;

use secrecy::SecretString;

use super::{CallbackDigester, PaymentCallback};
use crate::redact::has_card_number;

/// Checks the body of a callback: it is read or refused, its log line shows no card number, and one that confirms a
/// session claims no success.
pub fn check_payment_callback(body: &[u8]) {
    let form: Vec<(String, String)> = form_urlencoded::parse(body).into_owned().collect();
    let digester = CallbackDigester::new(&SecretString::from("the auth token of tests"));
    let Ok(callback) = PaymentCallback::from_form(&form, &digester) else { return };
    let logged = format!("{callback:?}");
    assert!(!has_card_number(&logged), "{logged}");
    assert!(!(callback.may_confirm(None) && callback.claims_success()), "{logged}");
}
