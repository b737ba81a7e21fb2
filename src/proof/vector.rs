//! The leak vectors: the ways in which a card number can reach the server.

/// A leak vector. The variant names are the values of the JSON key `way` in the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LeakVector {
    /// Entered on the keypad in a payment that succeeds. This is the regular way.
    Entered,
    /// Spoken by the caller.
    Spoken,
    /// Spoken in two or three sentences.
    SpokenInParts,
    /// In Twilio's `interrupt` and `tokensPlayed` frames.
    SpokenOverTheAgent,
    /// Spoken while the caller is to enter the card.
    SpokenDuringACapture,
    /// Entered on the keypad while no payment is open.
    KeyedOutsideACapture,
    /// Entered on the keypad in two inputs while no payment is open.
    KeyedInParts,
    /// Entered on the keypad during a capture, with the DTMF frames sent to the server too.
    KeyedDuringACapture,
    /// In the custom parameters of the session.
    CustomParameter,
    /// In the business's response to the call look-up.
    BusinessAnswer,
    /// In an outbound call order.
    OutboundCall,
    /// In invalid operator requests.
    OperatorsMistake,
    /// In a chat message.
    Chat,
    /// In two or three chat messages.
    ChatInParts,
    /// In the model's speech, in tokens of random length.
    ModelOutput,
    /// In the model's chat reply, and in a hand-off from the chat.
    ModelOutputInAChat,
    /// In an SMS that the model sends.
    Message,
    /// In DTMF digits that the model sends.
    Tones,
    /// In the amount and the call SID of a tool call.
    Amount,
    /// In the name of a tool that does not exist.
    ToolName,
    /// In the hand-off data, from the model and from a third party.
    HandOff,
    /// In every field of Twilio's payment callbacks, unmasked, and as a SID in its webhooks.
    Callback,
    /// Spoken in one prompt, each pair of digits among other words.
    SpokenAmongWords,
    /// Spoken in eight prompts, a pair of digits in each.
    SpokenOverPrompts,
    /// Spoken in two halves, with four other prompts between them.
    SpokenInHalves,
    /// Spoken digit by digit, with words between all of them.
    SpokenDigitByDigit,
    /// Spoken in groups, with one digit misheard.
    MisheardDigit,
    /// Spoken among other words while the caller is to enter the card.
    SpokenAmongWordsDuringACapture,
    /// Spoken, as a speech recogniser may write it: in digits of another script, in look-alikes, misheard or joined words,
    /// or in words of another language.
    SpokenInOtherForms,
    /// In two properties of an outbound call order.
    OutboundCallInParts,
    /// In two halves, in two responses of the model.
    ModelOutputOverTime,
    /// In two SMS that the model sends.
    MessagesInParts,
    /// In two sequences of DTMF digits that the model sends.
    TonesInParts,
    /// In the names of two tools that do not exist.
    ToolNamesInParts,
    /// In frames that ConversationRelay never sends.
    BadFrame,
}

impl LeakVector {
    /// All vectors.
    pub(super) const ALL: &'static [Self] = &[
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
        Self::SpokenAmongWords,
        Self::SpokenOverPrompts,
        Self::SpokenInHalves,
        Self::SpokenDigitByDigit,
        Self::MisheardDigit,
        Self::SpokenAmongWordsDuringACapture,
        Self::SpokenInOtherForms,
        Self::OutboundCallInParts,
        Self::ModelOutputOverTime,
        Self::MessagesInParts,
        Self::TonesInParts,
        Self::ToolNamesInParts,
        Self::BadFrame,
    ];

    /// A description for the report.
    pub(super) fn description(self) -> &'static str {
        match self {
            Self::Entered => {
                "entered on the keypad in a payment that succeeds, with the DTMF frames sent to the socket too"
            }
            Self::Spoken => "spoken by the caller",
            Self::SpokenInParts => "spoken by the caller in two or three sentences",
            Self::SpokenOverTheAgent => "in Twilio's interrupt and tokensPlayed frames",
            Self::SpokenDuringACapture => "spoken by the caller while the card is to be entered",
            Self::KeyedOutsideACapture => "entered on the keypad while no payment is open",
            Self::KeyedInParts => "entered on the keypad in two inputs while no payment is open",
            Self::KeyedDuringACapture => {
                "entered on the keypad during a capture, with the DTMF frames sent to the socket too"
            }
            Self::CustomParameter => "in the custom parameters of a session",
            Self::BusinessAnswer => "in the business's response to the call look-up",
            Self::OutboundCall => "in an outbound call order",
            Self::OperatorsMistake => "in invalid operator requests",
            Self::Chat => "in a chat message",
            Self::ChatInParts => "in two or three chat messages",
            Self::ModelOutput => "in the model's speech, in tokens of random length",
            Self::ModelOutputInAChat => "in the model's chat reply, and in a hand-off from the chat",
            Self::Message => "in an SMS that the model sends",
            Self::Tones => "in DTMF digits that the model sends",
            Self::Amount => "in the amount and the call SID of a tool call",
            Self::ToolName => "in the name of a tool that does not exist",
            Self::HandOff => "in hand-off data, from the model and from a third party",
            Self::Callback => "in every field of Twilio's payment callbacks, unmasked, and as a SID in its webhooks",
            Self::SpokenAmongWords => "spoken in one prompt, each pair of digits among other words",
            Self::SpokenOverPrompts => "spoken in eight prompts, a pair of digits among other words in each",
            Self::SpokenInHalves => "spoken in two halves, with four other prompts between them",
            Self::SpokenDigitByDigit => "spoken digit by digit, with words between all of them",
            Self::MisheardDigit => "spoken in groups, with one digit misheard",
            Self::SpokenAmongWordsDuringACapture => "spoken among other words while the card is to be entered",
            Self::SpokenInOtherForms => {
                "spoken in digits of other scripts, look-alikes, misheard or joined words, and words of other languages"
            }
            Self::OutboundCallInParts => "in two properties of an outbound call order",
            Self::ModelOutputOverTime => "in two halves, in two responses of the model",
            Self::MessagesInParts => "in two SMS that the model sends",
            Self::TonesInParts => "in two sequences of DTMF digits that the model sends",
            Self::ToolNamesInParts => "in the names of two tools that do not exist",
            Self::BadFrame => "in frames that ConversationRelay never sends",
        }
    }

    /// Whether the card number is sent in parts, none of which is a card number on its own.
    pub(super) fn is_in_parts(self) -> bool {
        matches!(self, Self::SpokenInParts | Self::ChatInParts)
    }

    /// Whether the card number is sent as digits only, as a form or a keypad takes it.
    pub(super) fn is_typed(self) -> bool {
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
    use crate::proof::VECTOR_COUNT;

    #[test]
    fn every_vector_is_in_the_list_once() {
        let vectors: std::collections::BTreeSet<LeakVector> = LeakVector::ALL.iter().copied().collect();
        assert_eq!(vectors.len(), LeakVector::ALL.len());
        assert_eq!(LeakVector::ALL.last(), Some(&LeakVector::BadFrame), "the last variant");
        assert_eq!(LeakVector::BadFrame as usize + 1, LeakVector::ALL.len());
        assert_eq!(VECTOR_COUNT, i64::try_from(LeakVector::ALL.len()).unwrap());
    }
}
