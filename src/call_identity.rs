//! What a response service gets to know about a call besides its conversation.

use crate::call_token::CallToken;
use crate::ids::CallSid;
use crate::phone_number::PhoneNumber;
use crate::redact::Private;
use crate::relay::Setup;

/// The custom parameter that selects the flow of a call.
pub(crate) const CHATFLOW_ID: &str = "chatflowId";

/// The identity of a call, which is given to the response service when the call begins.
#[derive(Debug, Clone)]
pub struct CallIdentity {
    /// The SID of the call, or of the chat.
    pub call_sid: CallSid,
    /// The phone number of the person on the line, if it is known and not withheld.
    pub caller: Option<PhoneNumber>,
    /// The token of this call, from which those of its requests are made; valid as long as the call.
    pub(crate) call_token: Option<CallToken>,
    /// The call parameter `chatflowId`; not validated.
    pub chatflow_id: Option<Private<String>>,
}

impl CallIdentity {
    /// Creates the identity of the call that `setup` begins.
    pub(crate) fn new(setup: &Setup, call_token: Option<CallToken>) -> Self {
        let chatflow_id = setup.custom_parameters.reveal().get(CHATFLOW_ID).filter(|id| !id.is_empty());
        Self {
            call_sid: setup.call_sid.clone(),
            caller: setup.caller(),
            call_token,
            chatflow_id: chatflow_id.cloned().map(Private::new),
        }
    }
}
