//! Looks for card data in every byte that the server sent.

use super::tape::Evidence;
use super::twilio::TOKEN;

/// Finds the places where something secret stands in what the server sent. A secret is a card number, an expiry date, a
/// security code that was entered, or the token that a success left behind.
pub fn pry(evidence: &[Evidence], entered: &[String]) -> Vec<String> {
    let secrets = entered.iter().map(String::as_str).chain([TOKEN]).filter(|it| it.len() >= 3);
    let mut found = Vec::new();
    for secret in secrets {
        for Evidence { place, bytes } in evidence {
            if holds(bytes, secret) {
                found.push(format!("{place} holds what was entered ({} characters)", secret.len()));
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

/// Whether `bytes` hold the secret: as it is, or a card number with separators in it. Short digits count only where they
/// stand alone, or every SID, UUID and time stamp would be suspect.
fn holds(bytes: &str, secret: &str) -> bool {
    let digits = secret.bytes().all(|byte| byte.is_ascii_digit());
    if digits && secret.len() > 8 {
        let squeezed: String = bytes.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | ',')).collect();
        return bytes.contains(secret) || squeezed.contains(secret);
    }
    bytes.match_indices(secret).any(|(at, _)| {
        let alone = |c: Option<char>| !c.is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        !digits || (alone(bytes[..at].chars().next_back()) && alone(bytes[at + secret.len()..].chars().next()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(bytes: &str) -> Vec<Evidence> {
        vec![Evidence { place: "a frame", bytes: bytes.to_owned() }]
    }

    fn entered() -> Vec<String> {
        ["4242424242424242", "1229", "123"].map(str::to_owned).into()
    }

    #[test]
    fn card_data_is_found_wherever_it_hides() {
        for bytes in ["4242424242424242", "4242 4242 4242 4242", "{\"date\":\"1229\"}", "code 123.", TOKEN] {
            assert!(!pry(&sent(bytes), &entered()).is_empty(), "{bytes}");
        }
    }

    #[test]
    fn identifiers_amounts_and_masks_are_not_card_data() {
        for bytes in ["PK00001229aa123bb", "xxxxxxxxxxxx4242", "$12.30", "call_1230"] {
            assert!(pry(&sent(bytes), &entered()).is_empty(), "{bytes}");
        }
    }
}
