//! Texts for the model about refused payment requests: what is wrong, and what to do next.

/// A fixed sentence for Twilio's error code, or for the HTTP status if there is no known code.
pub(super) fn describe_refusal(status: u16, code: Option<u32>) -> &'static str {
    match (code.unwrap_or_default(), status) {
        (21220, _) => "The call is not in progress, so no payment can be taken on it now.",
        (64001 | 64004 | 64009 | 64013 | 64014 | 64015 | 64017 | 64024, _) => {
            "The payment processor is not set up correctly, and trying again will not help. Apologise, and offer to \
             connect the caller with a person."
        }
        (64002, _) => {
            "The payment processor is not available at the moment. Apologise, and offer to try again shortly."
        }
        (64003, _) => "The amount is not valid. Confirm the amount with the caller, and start the payment again.",
        (64005 | 64006, _) => {
            "The payment processor cannot store a card this way, and trying again will not help. Apologise, and offer \
             to connect the caller with a person."
        }
        (64007, _) => {
            "The payment processor cannot charge cards, and trying again will not help. Apologise, and offer to connect \
             the caller with a person."
        }
        (64008 | 64010 | 64012, _) => {
            "The card was not accepted. Tell the caller without giving a cause, and offer another card."
        }
        (64011, _) => "This currency is not supported. Apologise, and offer to connect the caller with a person.",
        (64018 | 64020, _) => "The request was not valid, and nothing was done. Ask for the current step once more.",
        (64019, _) => "Not all card details are in yet. Capture the missing ones before finishing.",
        (64021, _) => "A payment is already open on this call. Go on with it, or cancel it before starting another.",
        (64022 | 64023, _) => {
            "The payment processor is in test mode and takes test cards only. Tell the caller that the card cannot be \
             taken at the moment, and offer to connect them with a person."
        }
        (20404, _) | (_, 404) => "This payment is over or unknown. Start a new one if the caller still wants to pay.",
        (20429, _) | (_, 429) => {
            "The payment service is busy, and nothing was done. Ask for patience, and try once more."
        }
        (20003 | 20403 | 70051, _) | (_, 401 | 403) => {
            "This server may not take payments at the moment, and trying again will not help. Apologise, and offer to \
             connect the caller with a person."
        }
        _ => "The payment service refused the request, and nothing was done. Apologise, and offer to start over.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_code_has_its_own_text() {
        let unknown = describe_refusal(400, None);
        let codes = [20003, 20404, 20429, 21220].into_iter().chain((64001..=64024).filter(|code| *code != 64016));
        for code in codes {
            assert_ne!(describe_refusal(400, Some(code)), unknown, "{code}");
        }
        assert_eq!(describe_refusal(400, Some(64016)), unknown, "of <Pay> only");
    }

    #[test]
    fn without_a_code_the_status_decides() {
        assert_eq!(describe_refusal(404, None), describe_refusal(400, Some(20404)));
        assert_eq!(describe_refusal(401, None), describe_refusal(400, Some(20003)));
        assert_eq!(describe_refusal(429, None), describe_refusal(400, Some(20429)));
    }
}
