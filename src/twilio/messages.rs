//! The Messages resource: sends text messages.

use serde::Deserialize;

use super::client::TwilioClient;
use super::error::{TwilioError, UnknownOutcomeCause};
use super::rest::RetryPolicy;
use crate::ids::MessageSid;
use crate::phone_number::PhoneNumber;
use crate::telemetry::TwilioOperation;

impl TwilioClient {
    /// Sends a text of 1 to 1,600 characters from the server's own number. Success means that the
    /// message is queued, not that it was delivered. Twilio supports no idempotency key here, so after
    /// [`TwilioError::Unknown`] the message may arrive.
    pub async fn send_message(&self, to: &PhoneNumber, body: &str) -> Result<MessageSid, TwilioError> {
        let form = [("To", to.as_str()), ("From", self.from.as_str()), ("Body", body)];
        let response =
            self.post(TwilioOperation::SendMessage, &["Messages.json"], &form, RetryPolicy::IfNotProcessed).await?;
        let created: CreatedMessage = serde_json::from_slice(&response)
            .map_err(|_| TwilioError::Unknown(UnknownOutcomeCause::UnreadableResponse))?;
        Ok(created.sid)
    }
}

/// The used members of the response to a create request.
#[derive(Deserialize)]
struct CreatedMessage {
    sid: MessageSid,
}

impl TwilioError {
    /// Whether Twilio refused a text message because of its recipient: a landline, an invalid number, one that opted out, or a
    /// country that is not allowed.
    pub(crate) fn is_about_recipient(&self) -> bool {
        matches!(self.code(), Some(21211 | 21408 | 21610 | 21612 | 21614))
    }

    /// Whether a text message was certainly not sent, and the same request may succeed later: Twilio was not reached, is busy,
    /// or refuses the credentials.
    pub(crate) fn may_succeed_later(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Refused { status, code, .. } => {
                matches!(status, 401 | 403 | 404 | 429) || matches!(code, Some(20429 | 21611))
            }
            Self::Unknown(_) => false,
        }
    }

    /// A fixed sentence for the model: why a text message was not sent, and what to do next.
    pub fn describe_message_failure(&self) -> &'static str {
        match self {
            Self::Refused { status, code, .. } => describe_refusal(*status, *code),
            Self::Unreachable(_) => {
                "The message service could not be reached, and nothing was sent. Apologise, and try once more."
            }
            Self::Unknown(_) => {
                "The message service did not confirm the message, so it may arrive or not. Do not send it again: ask \
                 whether it has arrived."
            }
        }
    }
}

fn describe_refusal(status: u16, code: Option<u32>) -> &'static str {
    match (code.unwrap_or_default(), status) {
        (21211 | 21614, _) => {
            "This number cannot receive text messages. Tell the caller so, and offer to say it instead."
        }
        (21610, _) => {
            "The owner of this number has opted out of text messages by sending STOP. Tell the caller that sending \
             START to this number allows them again."
        }
        (21408 | 21612, _) => "Text messages cannot be sent to this number. Tell the caller so.",
        (21602 | 21617, _) => "The message must have 1 to 1600 characters, and nothing was sent. Send a shorter one.",
        (21611 | 20429, _) | (_, 429) => {
            "The message service is busy, and nothing was sent. Ask for patience, and try once more."
        }
        _ => {
            "Text messages cannot be sent at the moment, and trying again will not help. Apologise, and offer to say it \
             instead."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::raw_server::RawServer;
    use crate::twilio::stand_in::{ScriptedAnswer, start_twilio};

    const CREATED: ScriptedAnswer = (201, "", r#"{"sid":"SM1","status":"queued","num_segments":"1","price":null}"#);

    async fn send(answers: &[ScriptedAnswer]) -> (RawServer, Result<MessageSid, TwilioError>) {
        let (twilio, client) = start_twilio(answers).await;
        let sent = client.send_message(&"+15550100001".parse().unwrap(), "See you at 5 & bring it").await;
        (twilio, sent)
    }

    #[tokio::test]
    async fn a_message_is_sent_from_the_servers_number() {
        let (twilio, sent) = send(&[CREATED]).await;
        assert_eq!(sent.unwrap().as_str(), "SM1");
        assert_eq!(twilio.bodies(), ["To=%2B15550100001&From=%2B15005550006&Body=See+you+at+5+%26+bring+it"]);
        assert_eq!(twilio.requests()[0].path, "/2010-04-01/Accounts/AC1/Messages.json");
    }

    #[tokio::test]
    async fn a_message_is_retried_only_if_it_was_certainly_not_sent() {
        let (twilio, sent) = send(&[(429, "", ""), CREATED]).await;
        assert!(sent.is_ok() && twilio.bodies().len() == 2);
        for answers in [&[(500, "", "")][..], &[]] {
            let (twilio, sent) = send(answers).await;
            assert!(matches!(sent, Err(TwilioError::Unknown(_))) && twilio.bodies().len() == 1, "{answers:?}");
        }
        let (twilio, sent) = send(&[(400, "", r#"{"code":21610}"#), CREATED]).await;
        assert!(sent.unwrap_err().describe_message_failure().contains("STOP") && twilio.bodies().len() == 1);
    }

    #[test]
    fn every_documented_code_has_its_own_text() {
        let unknown = describe_refusal(400, None);
        for code in [21211, 21408, 21602, 21610, 21611, 21612, 21614, 21617, 20429] {
            assert_ne!(describe_refusal(400, Some(code)), unknown, "{code}");
        }
    }
}
