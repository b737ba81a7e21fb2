//! The kinds of the events of a payment, as they are stored.

/// Defines the kinds, each with its name in the database.
macro_rules! event_kinds {
    ($($(#[$doc:meta])* $kind:ident => $name:literal,)*) => {
        /// The kind of an event of a payment. The names are stored in the database and do not change.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum EventKind {
            $($(#[$doc])* $kind,)*
        }

        impl EventKind {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// The name in the database.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }
        }
    };
}

event_kinds! {
    /// What the caller's network attests about the caller's number.
    CallerAttested => "caller-attested",
    /// A session is requested.
    CreateRequested => "opening",
    /// The SID of the session is known.
    SessionCreated => "opened",
    /// A session was found that this ledger did not request.
    SessionFound => "found",
    /// An update of the session is requested.
    UpdateRequested => "asking",
    /// Twilio's response to a request.
    ResponseReceived => "answered",
    /// A field was entered.
    FieldEntered => "entered",
    /// Twilio rejected an entry.
    EntryRejected => "wrong",
    /// The caller agreed to a statement.
    StatementAgreed => "agreed",
    /// The caller authorised the submission.
    Authorized => "authorized",
    /// Twilio's result.
    SessionEnded => "ended",
    /// A card was submitted without success.
    CardFailed => "card-failed",
    /// A card that counted as failed succeeded after all.
    CardRecovered => "card-recovered",
    /// A failed card completes a card-testing pattern.
    CardTesting => "card-testing",
    /// A velocity limit blocked an update.
    LimitExceeded => "barred",
    /// The payment is abandoned.
    Abandoned => "given-up",
    /// An operator settled the payment.
    Settled => "settled",
    /// An operator recorded a refund.
    Refunded => "refunded",
    /// An operator recorded a dispute.
    Disputed => "disputed",
    /// A receipt is requested.
    ReceiptRequested => "receipt-asking",
    /// How the request of a receipt ended.
    Receipt => "receipt",
    /// The personal data was erased.
    PersonalDataErased => "personal-data-erased",
    /// The webhook accepted an event.
    Delivered => "delivered",
    /// The undelivered token will be erased.
    TokenExpiring => "token-expires",
    /// The token was erased.
    TokenErased => "token-erased",
}

impl EventKind {
    /// The kind with this name. `None` if a newer version wrote it.
    pub fn from_stored(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_name() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::from_stored(kind.as_str()), Some(*kind));
        }
        assert_eq!(EventKind::from_stored("statement"), None);
    }
}
