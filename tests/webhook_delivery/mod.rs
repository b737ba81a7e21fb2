//! Delivery of webhook events to receivers that hang, respond slowly or respond at once.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crelay_payments::signing::SigningSecrets;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::server::{OPERATOR_TOKEN, Server};

const SECRET: &str = "a-secret-of-the-tests";
const PREVIOUS: &str = "the-secret-before-that";
/// Less than the timeout of a delivery.
const TIMEOUT: Duration = Duration::from_secs(8);

/// A request: its head and its body.
type Request = (String, String);

/// A receiver on a plain TCP socket, because HTTP servers cannot respond byte by byte.
#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<Vec<Request>>>);

impl Receiver {
    /// Starts a receiver. A call SID that ends with `hangs` gets no response, one that ends with `drips` a response
    /// byte by byte, any other a 204.
    async fn start() -> (Self, String) {
        let receiver = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/payments", listener.local_addr().unwrap());
        let serving = receiver.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let receiver = serving.clone();
                tokio::spawn(async move { receiver.receive(socket).await });
            }
        });
        (receiver, url)
    }

    async fn receive(&self, socket: TcpStream) -> Option<()> {
        let mut socket = BufReader::new(socket);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            (socket.read_line(&mut head).await.ok()? > 0).then_some(())?;
        }
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok())?;
        let mut body = vec![0; length];
        socket.read_exact(&mut body).await.ok()?;
        let body = String::from_utf8(body).ok()?;
        let call: Value = serde_json::from_str(&body).ok()?;
        let call = call["callSid"].as_str()?.to_owned();
        self.0.lock().unwrap().push((head, body));
        if call.ends_with("hangs") {
            std::future::pending::<()>().await;
        }
        if call.ends_with("drips") {
            for letter in b"HTTP/1.1 200 OK".iter().cycle() {
                socket.write_all(&[*letter]).await.ok()?;
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
        socket.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await.ok()
    }

    fn received(&self) -> Vec<(String, Value)> {
        let requests = self.0.lock().unwrap().clone();
        requests.into_iter().map(|(head, body)| (head, serde_json::from_str(&body).unwrap())).collect()
    }

    /// Waits for an event of a call. Returns the head of its request and the event.
    async fn wait_for_event(&self, call: &str) -> (String, Value) {
        let waits = async {
            loop {
                let found = self.received().into_iter().find(|(_, body)| body["callSid"] == call);
                match found {
                    Some(found) => return found,
                    None => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        tokio::time::timeout(TIMEOUT, waits).await.unwrap_or_else(|_| panic!("no event of {call} is received"))
    }
}

async fn start_server(url: &str, more: &[(&str, &str)]) -> Server {
    let vars = [
        ("PAYMENT_WEBHOOK_URL", url),
        ("PAYMENT_WEBHOOK_SECRET", SECRET),
        ("PAYMENT_WEBHOOK_PREVIOUS_SECRET", PREVIOUS),
        ("OPERATOR_TOKEN", OPERATOR_TOKEN),
    ];
    Server::start(&[&vars[..], more].concat()).await
}

/// Posts a success callback for a payment that was not submitted, which makes it unknown.
async fn report_success(server: &Server, call: &str) {
    let sid = format!("PK-{call}");
    let form = [("CallSid", call), ("Sid", &sid), ("Result", "success")];
    assert!(server.post_as_twilio("/payment-status-callback", &form).await.status().is_success());
}

/// Checks that a request has a valid signature for each of the two secrets.
fn check_signatures(head: &str, body: &str) {
    let header = |name: &str| {
        let of =
            |line: &str| Some(line.split_once(": ")?.1.to_owned()).filter(|_| line.to_lowercase().starts_with(name));
        head.lines().find_map(of).unwrap()
    };
    let (timestamp, signatures) = (header("x-crelay-timestamp").parse().unwrap(), header("x-crelay-signature"));
    assert_eq!(signatures.split(',').filter(|signature| signature.starts_with("v1=")).count(), 2, "{signatures}");
    for secret in [SECRET, PREVIOUS] {
        assert!(SigningSecrets::from(secret).verify(timestamp, body.as_bytes(), &signatures), "{secret}");
    }
}

#[tokio::test]
async fn a_hanging_or_slow_receiver_delays_no_other_event() {
    let (receiver, url) = Receiver::start().await;
    let server = start_server(&url, &[]).await;
    for n in 0..6 {
        report_success(&server, &format!("CA{n}-hangs")).await;
        report_success(&server, &format!("CA{n}-drips")).await;
    }
    report_success(&server, "CA-first").await;
    receiver.wait_for_event("CA-first").await;
    for n in 0..6 {
        receiver.wait_for_event(&format!("CA{n}-hangs")).await;
        receiver.wait_for_event(&format!("CA{n}-drips")).await;
    }
    report_success(&server, "CA-second").await;
    receiver.wait_for_event("CA-second").await;
}

#[tokio::test]
async fn an_unknown_payment_is_delivered_at_once_with_two_signatures() {
    let (receiver, url) = Receiver::start().await;
    let server = start_server(&url, &[("PAYMENT_MODE", "test")]).await;
    report_success(&server, "CA1").await;
    let (head, body) = receiver.wait_for_event("CA1").await;
    let fields = ["type", "state", "paymentSid", "method", "live"].map(|name| body[name].clone());
    assert_eq!(
        fields,
        ["payment.unknown".into(), "unknown".into(), "PK-CA1".into(), "credit-card".into(), Value::Bool(false)]
    );
    assert!(body["eventId"].as_str().unwrap().parse::<uuid::Uuid>().is_ok(), "{body}");

    check_signatures(&head, &receiver.0.lock().unwrap()[0].1);
}

#[tokio::test]
async fn a_call_look_up_has_two_signatures_too() {
    let (receiver, url) = Receiver::start().await;
    let server = start_server(&url, &[("CALL_PARAMETERS_URL", &url)]).await;
    let rings = [("CallSid", "CA1"), ("From", "+15550100001"), ("To", "+15550100002")];
    assert!(server.post_as_twilio("/connectConversationRelay", &rings).await.status().is_success());
    check_signatures(&receiver.wait_for_event("CA1").await.0, &receiver.0.lock().unwrap()[0].1);
}
