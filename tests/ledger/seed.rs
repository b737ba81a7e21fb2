//! Payments in a ledger that no call has made.

use crelay_payments::config::Config;
use crelay_payments::ledger::{CallData, Ledger};
use crelay_payments::payment::{
    Amount, CallbackDigester, CreatePayment, Currency, Field, PaymentCallback, PaymentId, PaymentIdGenerator,
    TwilioResponse, UpdateAction, UpdatePayment,
};
use crelay_payments::redact::Private;
use uuid::Uuid;

use crate::server;

/// The caller of every payment.
pub(crate) const CALLER: &str = "+15550100001";

/// Adds payments to a ledger.
pub(crate) struct Seed {
    pub ledger: Ledger,
    ids: PaymentIdGenerator,
}

impl Seed {
    pub(crate) fn new(ledger: Ledger) -> Self {
        Self { ledger, ids: PaymentIdGenerator::new(Uuid::new_v4()) }
    }

    /// Adds a submitted payment on its own call, which has ended without a result.
    pub(crate) async fn add_unknown(&mut self, n: u32, method: &str) -> PaymentId {
        let (config, _) = Config::from_vars(&server::REQUIRED_VARS.into_iter().collect()).unwrap();
        let parameters = [("paymentMethod", method), ("description", "hush-description")];
        let parameters = parameters.into_iter().chain((method == "ach-debit").then_some(("avsName", "Ann Lee")));
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let terms = config.payment.parse_terms(&parameters).unwrap().into();
        let mut call = CallData::from_sid(format!("CA{n}").parse().unwrap());
        call.caller = CALLER.parse().ok();
        call.call_reference = Some(Private::new(format!("hush-order-{n}")));
        let id = self.ids.generate();
        let charge = Amount::parse(&n.to_string(), Currency::USD).unwrap();
        let create = CreatePayment { id, idempotency_key: id.create_key(), charge, terms, consent: None };
        self.ledger.record_create_request(&call, &create).await.unwrap();
        let sid: crelay_payments::ids::PaymentSid = format!("PK{n}").parse().unwrap();
        self.ledger.record_create_response(&create, &TwilioResponse::Created(sid.clone())).await.unwrap();
        for change in [UpdateAction::Capture(Field::CardNumber), UpdateAction::Complete] {
            let update = UpdatePayment::new(id, sid.clone(), id.update_key(change, 1), change);
            self.ledger.record_update_request(&call, &update).await.unwrap();
        }
        self.ledger.record_call_ended(&call).await.unwrap();
        id
    }

    /// As [`add_unknown`](Self::add_unknown), with a late success callback.
    pub(crate) async fn add_succeeded(&mut self, n: u32, method: &str) -> PaymentId {
        let id = self.add_unknown(n, method).await;
        let form = [
            ("CallSid", format!("CA{n}")),
            ("Sid", format!("PK{n}")),
            ("Result", "success".to_owned()),
            ("PaymentConfirmationCode", format!("ch_{n}")),
            ("PaymentCardNumber", "xxxxxxxxxxxx4242".to_owned()),
        ];
        let form = form.map(|(name, value)| (name.to_owned(), value));
        self.ledger
            .record_callback(
                &PaymentCallback::from_form(&form, &CallbackDigester::new(&server::AUTH_TOKEN.into())).unwrap(),
            )
            .await
            .unwrap();
        id
    }
}
