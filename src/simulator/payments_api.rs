//! The words of the Payments API: the fields that a caller enters and the requests of the server.

/// A field that Twilio collects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CaptureField {
    /// The card number.
    CardNumber,
    /// The repeated card number.
    CardNumberMatcher,
    /// The expiration date, as month and year.
    ExpirationDate,
    /// The repeated expiration date.
    ExpirationDateMatcher,
    /// The security code (CVC).
    SecurityCode,
    /// The repeated security code.
    SecurityCodeMatcher,
    /// The postal code of the cardholder.
    PostalCode,
    /// The repeated postal code.
    PostalCodeMatcher,
    /// The bank's routing number.
    BankRoutingNumber,
    /// The bank account number.
    BankAccountNumber,
}

impl CaptureField {
    /// Every field that the simulator supports.
    pub const ALL: [Self; 10] = [
        Self::CardNumber,
        Self::CardNumberMatcher,
        Self::ExpirationDate,
        Self::ExpirationDateMatcher,
        Self::SecurityCode,
        Self::SecurityCodeMatcher,
        Self::PostalCode,
        Self::PostalCodeMatcher,
        Self::BankRoutingNumber,
        Self::BankAccountNumber,
    ];

    /// The field that repeats this one.
    pub fn matcher(self) -> Option<Self> {
        match self {
            Self::CardNumber => Some(Self::CardNumberMatcher),
            Self::ExpirationDate => Some(Self::ExpirationDateMatcher),
            Self::SecurityCode => Some(Self::SecurityCodeMatcher),
            Self::PostalCode => Some(Self::PostalCodeMatcher),
            _ => None,
        }
    }

    /// The field that this one repeats, if any.
    pub fn matched_field(self) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.matcher() == Some(self))
    }

    /// The value of `Capture` for this field.
    pub fn capture_name(self) -> &'static str {
        match self {
            Self::CardNumber => "payment-card-number",
            Self::CardNumberMatcher => "payment-card-number-matcher",
            Self::ExpirationDate => "expiration-date",
            Self::ExpirationDateMatcher => "expiration-date-matcher",
            Self::SecurityCode => "security-code",
            Self::SecurityCodeMatcher => "security-code-matcher",
            Self::PostalCode => "postal-code",
            Self::PostalCodeMatcher => "postal-code-matcher",
            Self::BankRoutingNumber => "bank-routing-number",
            Self::BankAccountNumber => "bank-account-number",
        }
    }

    /// The name of the form field, which is also the alternative spelling in `Required`.
    pub fn form_name(self) -> &'static str {
        match self {
            Self::CardNumber => "PaymentCardNumber",
            Self::CardNumberMatcher => "PaymentCardNumberMatcher",
            Self::ExpirationDate => "ExpirationDate",
            Self::ExpirationDateMatcher => "ExpirationDateMatcher",
            Self::SecurityCode => "SecurityCode",
            Self::SecurityCodeMatcher => "SecurityCodeMatcher",
            Self::PostalCode => "PaymentCardPostalCode",
            Self::PostalCodeMatcher => "PaymentCardPostalCodeMatcher",
            Self::BankRoutingNumber => "BankRoutingNumber",
            Self::BankAccountNumber => "BankAccountNumber",
        }
    }

    /// The name of the field as the agent says it.
    pub fn label(self) -> &'static str {
        match self {
            Self::CardNumber => "card number",
            Self::CardNumberMatcher => "same card number",
            Self::ExpirationDate => "expiry date",
            Self::ExpirationDateMatcher => "same expiry date",
            Self::SecurityCode => "security code",
            Self::SecurityCodeMatcher => "same security code",
            Self::PostalCode => "postal code",
            Self::PostalCodeMatcher => "same postal code",
            Self::BankRoutingNumber => "routing number",
            Self::BankAccountNumber => "account number",
        }
    }
}

/// A kind of request to the Payments API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PaymentsRequest {
    /// The creation of a payment session.
    Create,
    /// `Capture=…`.
    Capture(CaptureField),
    /// `Status=complete`.
    Complete,
    /// `Status=cancel`.
    Cancel,
}

impl PaymentsRequest {
    /// The value of `Capture` or `Status`; `create` for a creation, which has neither.
    pub fn parameter(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Capture(field) => field.capture_name(),
            Self::Complete => "complete",
            Self::Cancel => "cancel",
        }
    }
}

impl std::fmt::Display for PaymentsRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Create => f.write_str("create payment"),
            Self::Capture(field) => write!(f, "capture {}", field.label()),
            Self::Complete => f.write_str("complete"),
            Self::Cancel => f.write_str("cancel"),
        }
    }
}
