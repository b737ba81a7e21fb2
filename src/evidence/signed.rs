//! Signs evidence, and verifies it.
//!
//! The JSON is an object with `body`, the text that is signed, beside `timestamp` and `signature`, which are the headers
//! `X-Crelay-Timestamp` and `X-Crelay-Signature` of a request with this body. The last line of the Markdown has both, and
//! what is before that line is signed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::markdown::TITLE;
use super::report::{EVIDENCE_TYPE, PaymentEvidence};
use crate::payment::PaymentId;
use crate::signing::{SIGNATURE_HEADER, SigningSecrets, TIMESTAMP_HEADER};

/// How the last line of an unsigned Markdown begins.
const UNSIGNED: &str = "Not signed: ";

/// Evidence as JSON with its signature.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignedJson {
    /// The time of signing in seconds since 1970.
    timestamp: u64,
    /// `None`: it is not signed.
    signature: Option<String>,
    /// What is signed: the evidence as JSON.
    body: String,
}

/// What is read of the evidence in a signed JSON.
#[derive(Deserialize)]
struct EvidenceHead {
    r#type: String,
    payment: PaymentHead,
}

#[derive(Deserialize)]
struct PaymentHead {
    id: String,
}

/// Evidence whose signature is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifiedEvidence {
    /// The id of the payment.
    pub id: PaymentId,
    /// When it was signed.
    pub signed_at: Timestamp,
}

/// Why a file is not genuine evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyEvidenceError {
    /// It is not what `evidence` writes.
    #[error("this is not evidence as `crelay-payments evidence` writes it: give it the whole file, as it was written")]
    Malformed,
    /// It has no signature.
    #[error("it is not signed: it was written without PAYMENT_WEBHOOK_SECRET")]
    Unsigned,
    /// The signature is wrong.
    #[error(
        "the signature is wrong: it was changed after it was signed, or signed with another secret. Set \
         PAYMENT_WEBHOOK_SECRET or PAYMENT_WEBHOOK_PREVIOUS_SECRET to the secret of that time"
    )]
    WrongSignature,
}

impl PaymentEvidence {
    /// Returns the evidence as one line of JSON, signed if there is a secret.
    pub fn to_signed_json(&self, secrets: Option<&SigningSecrets>) -> String {
        let body = serde_json::to_string(self).expect("texts and numbers always serialise");
        let timestamp = self.timestamp();
        let signature = secrets.map(|secrets| secrets.sign(timestamp, body.as_bytes()));
        let signed = SignedJson { timestamp, signature, body };
        serde_json::to_string(&signed).expect("texts and numbers always serialise") + "\n"
    }

    /// Returns the evidence as Markdown, signed if there is a secret.
    pub fn to_signed_markdown(&self, secrets: Option<&SigningSecrets>) -> String {
        let text = self.to_markdown();
        let timestamp = self.timestamp();
        match secrets {
            Some(secrets) => {
                let signature = secrets.sign(timestamp, text.as_bytes());
                format!("{text}{TIMESTAMP_HEADER}: {timestamp} {SIGNATURE_HEADER}: {signature}\n")
            }
            None => format!("{text}{UNSIGNED}PAYMENT_WEBHOOK_SECRET is not set.\n"),
        }
    }

    fn timestamp(&self) -> u64 {
        self.written_at.as_second().unsigned_abs()
    }
}

/// Verifies what `evidence` has written: JSON or Markdown, of one payment or of several. All of it must be signed.
pub fn verify_evidence(text: &str, secrets: &SigningSecrets) -> Result<Vec<VerifiedEvidence>, VerifyEvidenceError> {
    let found = if text.starts_with(TITLE) { verify_markdown(text, secrets) } else { verify_json(text, secrets) }?;
    if found.is_empty() { Err(VerifyEvidenceError::Malformed) } else { Ok(found) }
}

fn verify_json(text: &str, secrets: &SigningSecrets) -> Result<Vec<VerifiedEvidence>, VerifyEvidenceError> {
    let documents = serde_json::Deserializer::from_str(text).into_iter::<SignedJson>();
    let verify = |document: Result<SignedJson, serde_json::Error>| {
        let SignedJson { timestamp, signature, body } = document.map_err(|_| VerifyEvidenceError::Malformed)?;
        verify_signature(timestamp, signature.as_deref().ok_or(VerifyEvidenceError::Unsigned)?, &body, secrets)?;
        let head: EvidenceHead = serde_json::from_str(&body).map_err(|_| VerifyEvidenceError::Malformed)?;
        if head.r#type != EVIDENCE_TYPE {
            return Err(VerifyEvidenceError::Malformed);
        }
        verified(&head.payment.id, timestamp)
    };
    documents.map(verify).collect()
}

fn verify_markdown(text: &str, secrets: &SigningSecrets) -> Result<Vec<VerifiedEvidence>, VerifyEvidenceError> {
    let (mut found, mut body) = (Vec::new(), String::new());
    for line in text.split_inclusive('\n') {
        if line.starts_with(UNSIGNED) {
            return Err(VerifyEvidenceError::Unsigned);
        }
        let Some((timestamp, signature)) = parse_signature_line(line) else {
            body.push_str(line);
            continue;
        };
        verify_signature(timestamp, signature, &body, secrets)?;
        let id = body.strip_prefix(TITLE).and_then(|rest| rest.lines().next());
        found.push(verified(id.ok_or(VerifyEvidenceError::Malformed)?, timestamp)?);
        body.clear();
    }
    // What comes after the last signature is not signed.
    if body.is_empty() { Ok(found) } else { Err(VerifyEvidenceError::Malformed) }
}

fn parse_signature_line(line: &str) -> Option<(u64, &str)> {
    let rest = line.strip_prefix(TIMESTAMP_HEADER)?.strip_prefix(": ")?;
    let (timestamp, rest) = rest.split_once(' ')?;
    let signature = rest.strip_prefix(SIGNATURE_HEADER)?.strip_prefix(": ")?;
    Some((timestamp.parse().ok()?, signature.trim_end()))
}

fn verify_signature(
    timestamp: u64,
    signature: &str,
    body: &str,
    secrets: &SigningSecrets,
) -> Result<(), VerifyEvidenceError> {
    let is_right = secrets.verify(timestamp, body.as_bytes(), signature);
    if is_right { Ok(()) } else { Err(VerifyEvidenceError::WrongSignature) }
}

fn verified(id: &str, timestamp: u64) -> Result<VerifiedEvidence, VerifyEvidenceError> {
    let signed_at = i64::try_from(timestamp).ok().and_then(|second| Timestamp::from_second(second).ok());
    match (id.parse(), signed_at) {
        (Ok(id), Some(signed_at)) => Ok(VerifiedEvidence { id, signed_at }),
        _ => Err(VerifyEvidenceError::Malformed),
    }
}
