//! Who may speak to the server: requests without a valid signature or token.

use crelay_payments::twilio::Signer;
use reqwest::{Method, Response, StatusCode};
use secrecy::SecretString;

use crate::server::{SOCKET_URL, Server};

const BASE_URL: &str = "https://pay.example.com";
const FORM: &str = "application/x-www-form-urlencoded";
const SETTINGS: &str = "X-Twilio-Webhooks-Signature-Settings";
const SHARED_KEYS: (&str, &str) =
    ("TWILIO_WEBHOOK_SHARED_KEYS", "WK0001:the-first-shared-secret, WK0002:the-second-shared-secret");

/// The paths of Twilio, also with what their parsers would refuse.
const TWILIO_PATHS: [&str; 9] = [
    "/connectConversationRelay",
    "/payment-status-callback",
    "/connectAction",
    "/connectAction?reconnects=abc",
    "/connectAction?reconnects=%ff&reconnects=1",
    "/twilioStatusCallback",
    "/outboundTwiml/%ff",
    "/outboundTwiml/00000000-0000-0000-0000-000000000000",
    "/conversation-relay",
];

fn signer(secret: &str) -> Signer {
    Signer::new(&SecretString::from(secret))
}

fn shared(secret: &str) -> Signer {
    Signer::with_shared_key(&SecretString::from(secret))
}

#[tokio::test]
async fn without_a_valid_signature_every_request_to_a_path_of_twilio_is_answered_403() {
    let server = Server::start(&[]).await;
    let large = "a=b&".repeat(20_000);
    let of_right_length = "RSOYDt4T1cUTdK1PDd93/VVr8B8=";
    for path in TWILIO_PATHS {
        for method in [Method::POST, Method::GET, Method::PUT, Method::DELETE, Method::HEAD, Method::OPTIONS] {
            for signature in [None, Some(""), Some("x"), Some(of_right_length)] {
                for (content_type, body) in [(FORM, "CallSid=CA1"), ("application/json", "{"), ("", ""), (FORM, &large)]
                {
                    let mut request = server.request(method.clone(), path).header("Content-Type", content_type);
                    if let Some(signature) = signature {
                        request = request.header("X-Twilio-Signature", signature);
                    }
                    let answer = request.body(body.to_owned()).send().await.unwrap();
                    let status = answer.status();
                    assert_eq!(status, StatusCode::FORBIDDEN, "{method} {path} {signature:?} {content_type}");
                }
            }
        }
    }
    for path in ["/outboundTwiml", "/outboundTwiml/a/b", "/nowhere", "/connectAction/", "//connectAction"] {
        assert_eq!(server.get(path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn a_signed_request_is_parsed_after_its_signature() {
    let server = Server::start(&[]).await;
    let post = async |path: &str| server.post_as_twilio(path, &[("CallSid", "CA1")]).await.status();
    assert_eq!(post("/connectAction").await, StatusCode::OK);
    assert_eq!(post("/outboundTwiml/%ff").await, StatusCode::BAD_REQUEST);
    assert_eq!(post("/outboundTwiml/00000000-0000-0000-0000-000000000000").await, StatusCode::NOT_FOUND);
    let signature = server.signature(&format!("{BASE_URL}/connectAction"), &[]);
    let get = server.request(Method::GET, "/connectAction").header("X-Twilio-Signature", signature);
    assert_eq!(get.send().await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
}

/// Posts a status callback with this signature and these further headers.
async fn post_signed(server: &Server, signature: &str, headers: &[(&str, &str)]) -> StatusCode {
    let request = server.request(Method::POST, "/twilioStatusCallback").header("X-Twilio-Signature", signature);
    let request = request.header("Content-Type", FORM).body("CallSid=CA1&CallStatus=ringing");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let answer: Response = request.send().await.unwrap();
    answer.status()
}

fn sign_callback(signer: &Signer) -> String {
    let form = [("CallSid", "CA1"), ("CallStatus", "ringing")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    signer.sign(&format!("{BASE_URL}/twilioStatusCallback"), &form)
}

#[tokio::test]
async fn a_request_that_names_a_shared_key_is_verified_with_that_key_alone() {
    let server = Server::start(&[SHARED_KEYS]).await;
    let (first, second) = (shared("the-first-shared-secret"), shared("the-second-shared-secret"));
    let sha1 =
        server.signature(&format!("{BASE_URL}/twilioStatusCallback"), &[("CallSid", "CA1"), ("CallStatus", "ringing")]);
    let ok = StatusCode::NO_CONTENT;
    let refused = StatusCode::FORBIDDEN;
    let (of_first, of_second) = ("key=WK0001,algorithm=HMAC_SHA256", "key=WK0002,algorithm=HMAC_SHA256");
    for (signature, settings, expected) in [
        (sign_callback(&first), Some(of_first), ok),
        (sign_callback(&second), Some(of_second), ok),
        (sha1.clone(), None, ok),
        (sign_callback(&first), Some(of_second), refused),
        (sign_callback(&first), None, refused),
        (sha1.clone(), Some(of_first), refused),
        // The auth token as a shared key, and the shared secret as an auth token, are downgrades as well.
        (sign_callback(&signer("the-first-shared-secret")), Some(of_first), refused),
        (sign_callback(&shared(crate::server::AUTH_TOKEN)), Some(of_first), refused),
        (sign_callback(&shared(crate::server::AUTH_TOKEN)), None, refused),
        (sha1.clone(), Some("key=WK0001,algorithm=HMAC_SHA1"), refused),
        (sha1.clone(), Some("key=,algorithm=HMAC_SHA256"), refused),
        (sha1.clone(), Some(""), refused),
        (sign_callback(&first), Some("key=WK9999,algorithm=HMAC_SHA256"), refused),
    ] {
        let headers: Vec<_> = settings.map(|settings| (SETTINGS, settings)).into_iter().collect();
        assert_eq!(post_signed(&server, &signature, &headers).await, expected, "{settings:?}");
    }
    let twice = [(SETTINGS, of_second), (SETTINGS, of_first)];
    assert_eq!(post_signed(&server, &sign_callback(&first), &twice).await, refused);
    let authorized = [(SETTINGS, of_first), ("Authorization", "Basic dHdpbGlvOng=")];
    assert_eq!(post_signed(&server, &sign_callback(&first), &authorized).await, ok, "it is ignored");
}

#[tokio::test]
async fn the_socket_opens_with_a_shared_key_as_well() {
    let server = Server::start(&[SHARED_KEYS]).await;
    let upgrade = async |signature: String, settings: &str| {
        let request = server.request(Method::GET, "/conversation-relay").header("X-Twilio-Signature", signature);
        let request = request.header(SETTINGS, settings).header("Connection", "Upgrade").header("Upgrade", "websocket");
        let request = request.header("Sec-WebSocket-Version", "13");
        request.header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==").send().await.unwrap().status()
    };
    let signature = shared("the-first-shared-secret").sign(SOCKET_URL, &[]);
    let settings = "key=WK0001,algorithm=HMAC_SHA256";
    assert_eq!(upgrade(signature.clone(), settings).await, StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(upgrade(signature, "key=WK0002,algorithm=HMAC_SHA256").await, StatusCode::FORBIDDEN);
    assert_eq!(upgrade(server.signature(SOCKET_URL, &[]), settings).await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn two_auth_tokens_verify_while_they_are_exchanged() {
    let other = "the-other-auth-token-of-the-account";
    let rotating = Server::start(&[("AUTH_TOKEN_SECONDARY", other)]).await;
    let settled = Server::start(&[]).await;
    let (old, new) = (sign_callback(&signer(crate::server::AUTH_TOKEN)), sign_callback(&signer(other)));
    assert_eq!(post_signed(&rotating, &old, &[]).await, StatusCode::NO_CONTENT);
    assert_eq!(post_signed(&rotating, &new, &[]).await, StatusCode::NO_CONTENT);
    assert_eq!(post_signed(&settled, &new, &[]).await, StatusCode::FORBIDDEN);
}
