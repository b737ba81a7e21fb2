//! The frames that this program sends.

use serde::Serialize;

/// One frame to ConversationRelay, written exactly as its documentation has it.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Outgoing {
    /// Words to speak. Tokens are joined as they are; speech starts before the last one.
    Text {
        /// The words; may be empty only to close the talk cycle.
        token: String,
        /// Closes the talk cycle.
        last: bool,
    },
    /// Ends the session, after what is queued was spoken.
    End {
        /// A JSON text for the `<Connect>` action.
        #[serde(skip_serializing_if = "Option::is_none")]
        handoff_data: Option<String>,
    },
}

impl Outgoing {
    /// A token of a reply that goes on.
    pub fn token(token: impl Into<String>) -> Self {
        Self::Text { token: token.into(), last: false }
    }

    /// The empty frame that closes a talk cycle.
    pub fn close() -> Self {
        Self::Text { token: String::new(), last: true }
    }

    /// A whole utterance in one frame.
    pub fn utterance(text: impl Into<String>) -> Self {
        Self::Text { token: text.into(), last: true }
    }

    /// The frame as it goes over the socket.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and booleans always serialise")
    }
}

/// The kind of frame and nothing of what it says.
impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text { token, last } => write!(f, "Text({} bytes, last: {last})", token.len()),
            Self::End { handoff_data } => write!(f, "End(handoff: {})", handoff_data.is_some()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_written_as_documented() {
        assert_eq!(Outgoing::token("Hi \"you\"").to_json(), r#"{"type":"text","token":"Hi \"you\"","last":false}"#);
        assert_eq!(Outgoing::close().to_json(), r#"{"type":"text","token":"","last":true}"#);
        assert_eq!(Outgoing::End { handoff_data: None }.to_json(), r#"{"type":"end"}"#);
        assert_eq!(
            Outgoing::End { handoff_data: Some(r#"{"a":1}"#.to_owned()) }.to_json(),
            r#"{"type":"end","handoffData":"{\"a\":1}"}"#
        );
    }
}
