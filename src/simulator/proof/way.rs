//! The ways in which card numbers get where they do not belong, or where they do.

/// A way to misplace a card number; the first one is to enter it as one should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// Entered on the keypad of a payment call that goes well.
    Entered,
    /// Read out.
    Spoken,
    /// Read out in two sentences or three.
    SpokenInParts,
    /// In what Twilio reports of an interruption.
    SpokenOverTheAgent,
    /// Read out while a card is to be entered.
    SpokenDuringACapture,
    /// Keyed while no payment is open.
    KeyedOutsideACapture,
    /// The same, in two inputs.
    KeyedInParts,
    /// Keyed while a card is entered, and passed on to the server key by key.
    KeyedDuringACapture,
    /// In the parameters of the session.
    CustomParameter,
    /// In what the business says of the call.
    BusinessAnswer,
    /// In an order to place a call.
    OutboundCall,
    /// In requests that an operator got wrong.
    OperatorsMistake,
    /// Written in a chat.
    Chat,
    /// The same, in two messages or three.
    ChatInParts,
    /// Said by the model, in tokens of any length.
    ModelOutput,
    /// The same in a chat, and in a hand-off from it.
    ModelOutputInAChat,
    /// In a text message that the model sends.
    Message,
    /// In tones that the model sends.
    Tones,
    /// In the amount and the call SID that the model gives a tool.
    Amount,
    /// In the name of a tool that the model made up.
    ToolName,
    /// In the hand-off data.
    HandOff,
    /// In every field of Twilio's reports, unmasked.
    Callback,
    /// In frames that no ConversationRelay sends.
    BadFrame,
}

impl Way {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Entered,
        Self::Spoken,
        Self::SpokenInParts,
        Self::SpokenOverTheAgent,
        Self::SpokenDuringACapture,
        Self::KeyedOutsideACapture,
        Self::KeyedInParts,
        Self::KeyedDuringACapture,
        Self::CustomParameter,
        Self::BusinessAnswer,
        Self::OutboundCall,
        Self::OperatorsMistake,
        Self::Chat,
        Self::ChatInParts,
        Self::ModelOutput,
        Self::ModelOutputInAChat,
        Self::Message,
        Self::Tones,
        Self::Amount,
        Self::ToolName,
        Self::HandOff,
        Self::Callback,
        Self::BadFrame,
    ];

    /// What happens, for the report.
    pub fn about(self) -> &'static str {
        match self {
            Self::Entered => "entered on the keypad in a payment that succeeds; the keys reach the socket too",
            Self::Spoken => "read out by the caller",
            Self::SpokenInParts => "read out in two sentences or three",
            Self::SpokenOverTheAgent => "in what Twilio reports of an interruption",
            Self::SpokenDuringACapture => "read out while a card is to be entered",
            Self::KeyedOutsideACapture => "keyed while no payment is open",
            Self::KeyedInParts => "keyed while no payment is open, in two inputs",
            Self::KeyedDuringACapture => "keyed while a card is to be entered, and passed on to the socket",
            Self::CustomParameter => "in the parameters of a session",
            Self::BusinessAnswer => "in what the business says of a call",
            Self::OutboundCall => "in an order to place a call",
            Self::OperatorsMistake => "in requests that an operator got wrong",
            Self::Chat => "written in a chat",
            Self::ChatInParts => "written in a chat, in two messages or three",
            Self::ModelOutput => "said by the model, in tokens of any length",
            Self::ModelOutputInAChat => "said by the model in a chat, and in a hand-off from it",
            Self::Message => "in a text message that the model sends",
            Self::Tones => "in tones that the model sends",
            Self::Amount => "in an amount and a call SID that the model makes up",
            Self::ToolName => "in the name of a tool that the model makes up",
            Self::HandOff => "in hand-off data, the model's and a stranger's",
            Self::Callback => "in every field of Twilio's payment reports, unmasked",
            Self::BadFrame => "in frames that no ConversationRelay sends",
        }
    }

    /// Whether the number comes in parts, none of which is one by itself.
    pub fn is_in_parts(self) -> bool {
        matches!(self, Self::SpokenInParts | Self::ChatInParts)
    }

    /// Whether the number comes in numerals alone, as a form or a keypad takes it.
    pub fn is_typed(self) -> bool {
        matches!(
            self,
            Self::Entered
                | Self::KeyedOutsideACapture
                | Self::KeyedInParts
                | Self::KeyedDuringACapture
                | Self::Tones
                | Self::Amount
                | Self::ToolName
                | Self::Callback
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::proof::WAYS;

    #[test]
    fn every_way_is_in_the_list_once() {
        let ways: std::collections::BTreeSet<Way> = Way::ALL.iter().copied().collect();
        assert_eq!(ways.len(), Way::ALL.len());
        assert_eq!(Way::ALL.last(), Some(&Way::BadFrame), "the last one that there is");
        assert_eq!(Way::BadFrame as usize + 1, Way::ALL.len());
        assert_eq!(WAYS, i64::try_from(Way::ALL.len()).unwrap());
    }
}
