//! What is known of Twilio's frames and webhooks: names and types. A recording is compared with it.

use std::collections::BTreeMap;

use crate::observation::{Direction, Member, Observation, ObservedEvent, Shape};

/// A member, and the JSON types that it may have.
type KnownMember = (&'static str, &'static str);

/// The types of frames from Twilio, with their members in addition to `type`.
const FRAMES: &[(&str, &[KnownMember])] = &[
    (
        "setup",
        &[
            ("sessionId", "string"),
            ("callSid", "string"),
            ("parentCallSid", "string|null"),
            ("accountSid", "string"),
            ("applicationSid", "string|null"),
            ("from", "string"),
            ("to", "string"),
            ("forwardedFrom", "string|null"),
            ("callerName", "string|null"),
            ("direction", "string"),
            ("callType", "string"),
            ("callStatus", "string"),
            ("customParameters", "object|null"),
        ],
    ),
    ("prompt", &[("voicePrompt", "string"), ("lang", "string"), ("last", "boolean"), ("agentSpeaking", "string")]),
    ("dtmf", &[("digit", "string")]),
    ("interrupt", &[("utteranceUntilInterrupt", "string"), ("durationUntilInterruptMs", "number|string")]),
    ("error", &[("description", "string")]),
    ("info", &[("name", "string"), ("value", "string")]),
];

/// The fields of every webhook of a call.
const CALL_FIELDS: &[&str] = &[
    "AccountSid",
    "ApiVersion",
    "ApplicationSid",
    "CallSid",
    "CallStatus",
    "CallToken",
    "Called",
    "CalledCity",
    "CalledCountry",
    "CalledState",
    "CalledZip",
    "Caller",
    "CallerCity",
    "CallerCountry",
    "CallerName",
    "CallerState",
    "CallerZip",
    "Direction",
    "ForwardedFrom",
    "From",
    "FromCity",
    "FromCountry",
    "FromState",
    "FromZip",
    "ParentCallSid",
    "StirPassportToken",
    "StirVerstat",
    "To",
    "ToCity",
    "ToCountry",
    "ToState",
    "ToZip",
];

/// The webhooks, with their fields in addition to [`CALL_FIELDS`].
const WEBHOOKS: &[(&str, &[&str])] = &[
    ("/connectConversationRelay", &[]),
    (
        "/connectAction",
        &[
            "SessionId",
            "SessionStatus",
            "SessionDuration",
            "HandoffData",
            "ErrorCode",
            "ErrorMessage",
            "DialCallStatus",
            "DialCallSid",
            "DialCallDuration",
            "DialBridged",
            "QueueResult",
            "QueueSid",
            "QueueTime",
        ],
    ),
    (
        "/twilioStatusCallback",
        &[
            "CallDuration",
            "Duration",
            "CallbackSource",
            "SequenceNumber",
            "Timestamp",
            "SipResponseCode",
            "AnsweredBy",
            "RecordingUrl",
            "RecordingSid",
            "RecordingDuration",
            "MachineDetectionDuration",
        ],
    ),
    (
        "/payment-status-callback",
        &[
            "Sid",
            "DateCreated",
            "DateUpdated",
            "Capture",
            "PartialResult",
            "Required",
            "Result",
            "ErrorType",
            "Attempt",
            "PaymentCardNumber",
            "PaymentCardType",
            "SecurityCode",
            "ExpirationDate",
            "PaymentCardPostalCode",
            "PostalCode",
            "BankAccountNumber",
            "BankAccountType",
            "BankRoutingNumber",
            "PaymentMethod",
            "PaymentToken",
            "ProfileId",
            "PaymentConfirmationCode",
            "PaymentError",
            "PayErrorCode",
            "ConnectorError",
            "ChargeAmount",
            "Currency",
            "Connector",
            "PaymentConnector",
            "TokenType",
            "StatusCallback",
            "Uri",
            "PaymentCardNumberMatcher",
            "SecurityCodeMatcher",
            "ExpirationDateMatcher",
            "PostalCodeMatcher",
        ],
    ),
];

/// The headers of Twilio's requests.
const HEADERS: &[&str] = &[
    "x-twilio-signature",
    "i-twilio-idempotency-token",
    "x-twilio-webhooks-signature-settings",
    "user-agent",
    "content-type",
    "x-home-region",
    "x-twilio-webhookretriable",
    "x-twilio-webhookenabled",
];

/// Whether the path is one of a webhook without an id in it.
pub(super) fn is_webhook(path: &str) -> bool {
    WEBHOOKS.iter().any(|(known, _)| *known == path)
}

/// Finds what is not known, with how often it occurs.
pub(super) fn find_differences(observations: &[Observation]) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    let mut add = |what: String| *found.entry(what).or_default() += 1;
    for observation in observations.iter().filter(|observation| observation.direction == Direction::In) {
        match &observation.event {
            ObservedEvent::Frame { shape, .. } => compare_frame(shape, &mut add),
            ObservedEvent::UnreadableFrame { .. } => add("a frame that is not JSON".to_owned()),
            ObservedEvent::SocketOpened { headers, .. } => {
                compare_names("the upgrade", headers, HEADERS, &[], &mut add);
            }
            ObservedEvent::Webhook { path, headers, form, .. } => {
                compare_names(path, headers, HEADERS, &[], &mut add);
                let fields = WEBHOOKS.iter().find(|(known, _)| known == path).map_or(&[][..], |(_, fields)| fields);
                compare_names(path, form, CALL_FIELDS, fields, &mut add);
            }
            ObservedEvent::SocketClosed { .. } | ObservedEvent::Answer { .. } | ObservedEvent::End { .. } => {}
        }
    }
    found
}

fn compare_frame(shape: &Shape, add: &mut impl FnMut(String)) {
    let Shape::Object { members } = shape else { return add("a frame that is not an object".to_owned()) };
    let kind = shape.member("type").and_then(Shape::text).unwrap_or("no type");
    let Some((_, known)) = FRAMES.iter().find(|(known, _)| *known == kind) else {
        return add(format!("a frame of the type {kind}: {}", describe_members(members)));
    };
    for Member { name, shape } in members.iter().filter(|member| member.name != "type") {
        match known.iter().find(|(known, _)| known == name) {
            None => add(format!("{kind} has a member {name}: {}", describe(shape))),
            Some((_, types)) if !types.split('|').any(|known| known == shape.type_name()) => {
                add(format!("{name} of {kind} is {} and not {types}", describe(shape)));
            }
            Some(_) => {}
        }
    }
}

fn compare_names(place: &str, members: &[Member], common: &[&str], own: &[&str], add: &mut impl FnMut(String)) {
    let is_known = |name: &str| common.iter().chain(own).any(|known| known.eq_ignore_ascii_case(name));
    for member in members.iter().filter(|member| !is_known(&member.name)) {
        add(format!("{place} has {}: {}", member.name, describe(&member.shape)));
    }
}

/// Describes a shape in a few words.
fn describe(shape: &Shape) -> String {
    match shape {
        Shape::Boolean { value } => format!("boolean {value}"),
        Shape::Number { value } => format!("number {value}"),
        Shape::String { length, value: None } => format!("string of {length}"),
        Shape::String { length, value: Some(value) } => format!("string of {length}, {value:?}"),
        Shape::Sid { prefix, length } => format!("{prefix}… of {length}"),
        Shape::Array { length, .. } => format!("array of {length}"),
        Shape::Object { members } => format!("object ({})", describe_members(members)),
        Shape::Null => "null".to_owned(),
    }
}

fn describe_members(members: &[Member]) -> String {
    let names: Vec<String> =
        members.iter().map(|member| format!("{} {}", member.name, member.shape.type_name())).collect();
    names.join(", ")
}
