//! Voice webhooks at full speed, over raw connections: what a client library costs would be more than what it measures.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use anyhow::{Context as _, bail};
use secrecy::SecretString;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use url::form_urlencoded;

use super::call::{ACCOUNT_SID, AUTH_TOKEN, PUBLIC_URL};
use crate::twilio::Signer;

/// The calls of one connection, which ring again and again. All of them together are fewer than a server admits.
const CALLS: usize = 16;

/// Posts voice webhooks over this many connections for this time. Returns how many were answered, and in what time.
pub(super) async fn post_for(
    address: SocketAddr,
    connections: usize,
    length: Duration,
) -> anyhow::Result<(usize, Duration)> {
    let began = Instant::now();
    let mut posting = JoinSet::new();
    for connection in 0..connections {
        let requests: Vec<Vec<u8>> = (0..CALLS).map(|call| request(connection * CALLS + call + 1)).collect();
        posting.spawn(post_over_one(address, requests, began + length));
    }
    let mut answered = 0;
    while let Some(ended) = posting.join_next().await {
        answered += ended??;
    }
    Ok((answered, began.elapsed()))
}

async fn post_over_one(address: SocketAddr, requests: Vec<Vec<u8>>, until: Instant) -> anyhow::Result<usize> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut buffer, mut answered) = (Vec::with_capacity(16 * 1024), 0);
    for request in requests.iter().cycle() {
        if Instant::now() >= until {
            break;
        }
        stream.write_all(request).await?;
        buffer.clear();
        while !is_complete(&buffer)? {
            if stream.read_buf(&mut buffer).await? == 0 {
                bail!("the connection was closed in the middle of a response");
            }
        }
        answered += 1;
    }
    Ok(answered)
}

/// Whether a response with status 200 and a length is complete.
fn is_complete(buffer: &[u8]) -> anyhow::Result<bool> {
    let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return Ok(false) };
    let head = std::str::from_utf8(&buffer[..end])?;
    if !head.starts_with("HTTP/1.1 200") {
        bail!("a voice webhook was answered {}", head.lines().next().unwrap_or_default());
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        value.trim().parse::<usize>().ok().filter(|_| name.eq_ignore_ascii_case("content-length"))
    });
    Ok(buffer.len() >= end + 4 + length.context("a response has no length")?)
}

/// A signed request for the TwiML of a call.
fn request(call: usize) -> Vec<u8> {
    let form: Vec<(String, String)> = [
        ("AccountSid", ACCOUNT_SID.to_owned()),
        ("CallSid", format!("CA{call:032x}")),
        ("CallStatus", "ringing".to_owned()),
        ("Direction", "inbound".to_owned()),
        ("From", format!("+1555{call:07}")),
        ("To", "+15550100002".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    let path = "/connectConversationRelay";
    let signature = Signer::new(&SecretString::from(AUTH_TOKEN)).sign(&format!("{PUBLIC_URL}{path}"), &form);
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(&form).finish();
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: bench.example.com\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         X-Twilio-Signature: {signature}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}
