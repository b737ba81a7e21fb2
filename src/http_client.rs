//! How every HTTP client of the server is built, and how the body of a response is read.
//!
//! A request to this machine never leaves it: it uses no proxy, whatever `HTTP_PROXY` says, and its host is always a
//! loopback address. This machine is also a name to which `/etc/hosts` gives such an address. Other names are resolved
//! without threads, so that a resolver that hangs costs no more than the requests that wait for it. A redirect is never
//! followed, since it could send data of a caller to another host.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, ClientBuilder, RequestBuilder, Response, redirect};
use rustls::ClientConfig;
use rustls_platform_verifier::ConfigVerifierExt as _;
use url::{Host, Url};

use crate::config::is_this_machine;
use crate::redact::has_card_number;
use crate::signing::{SIGNATURE_HEADER, SigningSecrets, TIMESTAMP_HEADER};

mod pool;

pub(crate) use pool::{ClientLease, ClientPool, StreamLease};

/// Time limit for opening a connection, its name included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The TLS settings of all clients. To read the root certificates takes milliseconds, so they are read once.
static TLS: LazyLock<Result<ClientConfig, rustls::Error>> = LazyLock::new(ClientConfig::with_platform_verifier);

/// Reads the root certificates, on a thread for work that blocks. The first client would read them otherwise.
pub(crate) async fn load_root_certificates() {
    // The first client that is built reports what fails.
    let _ = tokio::task::spawn_blocking(|| LazyLock::force(&TLS)).await;
}

/// Where the requests of a client go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// To this machine.
    ThisMachine,
    /// To another one, through the proxy of the environment if there is one.
    OtherMachine,
}

impl Target {
    /// The target of a text that is a URL.
    pub(crate) fn of_text(url: &str) -> Self {
        Url::parse(url).map_or(Self::OtherMachine, |url| Self::of(&url))
    }

    /// The target of a URL.
    pub(crate) fn of(url: &Url) -> Self {
        Self::of_host(url, &LOOPBACK_NAMES)
    }

    fn of_host(url: &Url, names: &LoopbackNames) -> Self {
        let is_local = |host: Host<&str>| is_this_machine(&host) || names.addresses(&host.to_string()).is_some();
        if url.host().is_some_and(is_local) { Self::ThisMachine } else { Self::OtherMachine }
    }
}

/// Starts a client for one target, with [`CONNECT_TIMEOUT`] and without another time limit. It cannot be built if the root
/// certificates cannot be loaded.
pub(crate) fn builder(target: Target) -> ClientBuilder {
    builder_offering(&[b"h2", b"http/1.1"], target)
}

/// Starts a client for requests that turn their connection into a WebSocket, as [`builder`] does. Such a request needs
/// HTTP/1.1.
pub(crate) fn upgrade_builder(target: Target) -> ClientBuilder {
    builder_offering(&[b"http/1.1"], target).http1_only()
}

/// Starts a client that offers these protocols in the TLS handshake.
fn builder_offering(protocols: &[&[u8]], target: Target) -> ClientBuilder {
    let builder = Client::builder()
        .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(redirect::Policy::none());
    let builder = match &*TLS {
        Ok(tls) => {
            let mut tls = tls.clone();
            tls.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            builder.tls_backend_preconfigured(tls)
        }
        // The client then loads the certificates itself, and fails with the reason.
        Err(_) => builder,
    };
    match target {
        Target::ThisMachine => builder.no_proxy().dns_resolver(Arc::new(LoopbackResolver)),
        Target::OtherMachine => builder.hickory_dns(true),
    }
}

/// Returns the server's identifier of a request, for its support, if it is safe to log: at most 64 letters, digits, `.`,
/// `_` or `-`, and no card number.
pub(crate) fn request_id(headers: &HeaderMap, name: &str) -> Option<String> {
    let id = headers.get(name)?.to_str().ok()?;
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (!id.is_empty() && id.len() <= 64 && id.bytes().all(is_word) && !has_card_number(id)).then(|| id.to_owned())
}

/// Returns how long a server asks to wait, if it says so in seconds.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

/// The names of this machine, as they are when the first client is built.
static LOOPBACK_NAMES: LazyLock<LoopbackNames> = LazyLock::new(|| {
    let mut hosts = String::new();
    // Without the file there are none.
    let read = File::open("/etc/hosts").and_then(|file| file.take(MAX_HOSTS_BYTES).read_to_string(&mut hosts));
    read.map_or_else(|_| LoopbackNames::default(), |_| LoopbackNames::parse(&hosts))
});

/// The part of `/etc/hosts` that is read, in bytes.
const MAX_HOSTS_BYTES: u64 = 1024 * 1024;

/// The names with a loopback address in `/etc/hosts`, in lower case. A proxy that got such a name would look it up
/// elsewhere.
#[derive(Debug, Default)]
struct LoopbackNames(HashMap<String, Vec<IpAddr>>);

impl LoopbackNames {
    fn parse(hosts: &str) -> Self {
        let mut names = HashMap::<_, Vec<_>>::new();
        for line in hosts.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let address = words.next().and_then(|address| address.parse::<IpAddr>().ok());
            if let Some(address) = address.filter(|address| is_here(*address)) {
                words.for_each(|name| names.entry(name.to_ascii_lowercase()).or_default().push(address));
            }
        }
        Self(names)
    }

    fn addresses(&self, name: &str) -> Option<&[IpAddr]> {
        let name = name.strip_suffix('.').unwrap_or(name);
        self.0.get(&name.to_ascii_lowercase()).map(Vec::as_slice)
    }
}

/// Whether a connection to an address stays on this machine.
fn is_here(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_loopback() || address.is_unspecified()
}

/// Resolves each name to this machine: to its addresses of `/etc/hosts`, or else to those of `localhost`.
struct LoopbackResolver;

impl Resolve for LoopbackResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let localhost = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
        let addresses = LOOPBACK_NAMES.addresses(name.as_str()).unwrap_or(&localhost).to_vec();
        let addresses = addresses.into_iter().map(|address| SocketAddr::new(address, 0));
        Box::pin(std::future::ready(Ok(Box::new(addresses) as Addrs)))
    }
}

/// A client for each target, for requests to several URLs. Connections are kept open.
#[derive(Debug)]
pub(crate) struct HttpClients {
    this_machine: Client,
    other_machine: Client,
}

impl HttpClients {
    /// Creates the clients, each with these further settings. It fails if the root certificates cannot be loaded.
    pub(crate) fn new(configure: impl Fn(ClientBuilder) -> ClientBuilder) -> Result<Self, reqwest::Error> {
        let build = |target| configure(builder(target)).build();
        Ok(Self { this_machine: build(Target::ThisMachine)?, other_machine: build(Target::OtherMachine)? })
    }

    /// The client for requests to a URL.
    pub(crate) fn for_url(&self, url: &Url) -> &Client {
        match Target::of(url) {
            Target::ThisMachine => &self.this_machine,
            Target::OtherMachine => &self.other_machine,
        }
    }
}

/// Sends JSON to the business, signed if there are secrets.
#[derive(Debug)]
pub(crate) struct SignedClient {
    clients: HttpClients,
    secrets: Option<SigningSecrets>,
}

impl SignedClient {
    /// Creates the client. It fails if the root certificates cannot be loaded.
    pub(crate) fn new(secrets: Option<SigningSecrets>) -> Result<Self, reqwest::Error> {
        Ok(Self { clients: HttpClients::new(|builder| builder)?, secrets })
    }

    /// Whether requests are signed.
    pub(crate) fn has_secrets(&self) -> bool {
        self.secrets.is_some()
    }

    /// Builds a request with a JSON body, signed now. The only time limit is that of the connection.
    pub(crate) fn post(&self, url: &Url, body: Vec<u8>) -> RequestBuilder {
        let request = self.clients.for_url(url).post(url.clone()).header(CONTENT_TYPE, "application/json");
        let request = match &self.secrets {
            Some(secrets) => {
                let timestamp = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default();
                request.header(TIMESTAMP_HEADER, timestamp).header(SIGNATURE_HEADER, secrets.sign(timestamp, &body))
            }
            None => request,
        };
        request.body(body)
    }
}

/// Why a body was not read to its end.
#[derive(Debug)]
pub(crate) enum ReadBodyError {
    /// It is larger than allowed. The part within the limit.
    TooLarge(Vec<u8>),
    /// It broke off. What came before.
    Interrupted(Vec<u8>, reqwest::Error),
}

impl ReadBodyError {
    /// The part that was read.
    pub(crate) fn into_part(self) -> Vec<u8> {
        match self {
            Self::TooLarge(part) | Self::Interrupted(part, _) => part,
        }
    }
}

/// Reads the body of a response up to `limit` bytes.
pub(crate) async fn read_body(mut response: Response, limit: usize) -> Result<Vec<u8>, ReadBodyError> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(None) => return Ok(body),
            Ok(Some(chunk)) if body.len() + chunk.len() > limit => {
                body.extend_from_slice(&chunk[..limit - body.len()]);
                return Err(ReadBodyError::TooLarge(body));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Err(error) => return Err(ReadBodyError::Interrupted(body, error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers one request with these bytes, and returns the address.
    async fn answer_once(answer: Vec<u8>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            socket.read_buf(&mut Vec::with_capacity(4096)).await.unwrap();
            socket.write_all(&answer).await.unwrap();
        });
        address
    }

    fn target(url: &str) -> Target {
        Target::of(&url.parse().unwrap())
    }

    #[test]
    fn this_machine_is_recognised_by_name_and_address() {
        for url in
            ["http://127.0.0.1:9/", "http://localhost/", "http://LOCALHOST", "http://a.localhost", "http://[::1]:1/"]
        {
            assert_eq!(target(url), Target::ThisMachine, "{url}");
        }
        for url in ["https://shop.example.com", "http://localhost.example.com", "http://10.0.0.1", "http://model:8000"]
        {
            assert_eq!(target(url), Target::OtherMachine, "{url}");
        }
    }

    #[test]
    fn a_name_with_a_loopback_address_in_the_hosts_file_is_this_machine() {
        let hosts = "127.0.0.1 localhost\n# 127.0.0.1 shop.example.com\n127.0.1.1\tPay pay.example.com # us\n::1 pay\n\
                     10.0.0.2 model\n127.0.0.1 model.example.com\n::ffff:127.0.0.1 mapped\n0.0.0.0 any\nbroken line\n";
        let names = LoopbackNames::parse(hosts);
        let target = |url: &str| Target::of_host(&url.parse().unwrap(), &names);
        for url in
            ["http://pay:3001/", "http://PAY.example.com.", "http://model.example.com", "http://mapped", "http://any"]
        {
            assert_eq!(target(url), Target::ThisMachine, "{url}");
        }
        for url in ["http://shop.example.com", "http://model", "http://us", "http://10.0.0.2"] {
            assert_eq!(target(url), Target::OtherMachine, "{url}");
        }
        assert_eq!(names.addresses("pay").unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_name_of_this_machine_is_a_loopback_address_whatever_the_resolver_says() {
        let address = answer_once(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_vec()).await;
        let client = builder(Target::ThisMachine).build().unwrap();
        let response = client.get(format!("http://no-such-name.localhost:{}/", address.port())).send().await.unwrap();
        assert_eq!(read_body(response, 2).await.unwrap(), b"hi");
    }

    /// The protocols that a client offers in the TLS handshake.
    async fn offered_protocols(client: Client) -> Vec<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let request = tokio::spawn(client.get(url).send());
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut acceptor = rustls::server::Acceptor::default();
        let hello = loop {
            let mut bytes = Vec::with_capacity(4096);
            socket.read_buf(&mut bytes).await.unwrap();
            acceptor.read_tls(&mut &bytes[..]).unwrap();
            if let Some(accepted) = acceptor.accept().unwrap_or_else(|(error, _)| panic!("{error}")) {
                break accepted;
            }
        };
        request.abort();
        let offered = hello.client_hello().alpn().into_iter().flatten();
        offered.map(|protocol| String::from_utf8_lossy(protocol).into_owned()).collect()
    }

    #[tokio::test]
    async fn http_2_is_offered_except_for_an_upgrade() {
        assert_eq!(offered_protocols(builder(Target::ThisMachine).build().unwrap()).await, ["h2", "http/1.1"]);
        assert_eq!(offered_protocols(upgrade_builder(Target::ThisMachine).build().unwrap()).await, ["http/1.1"]);
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit() {
        let get = async |head: &str, body: &[u8]| {
            let address = answer_once([head.as_bytes(), body].concat()).await;
            let client = builder(Target::ThisMachine).build().unwrap();
            client.get(format!("http://{address}/")).send().await.unwrap()
        };
        let large = get("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", &vec![b'a'; 100_000]).await;
        assert!(matches!(read_body(large, 1000).await, Err(ReadBodyError::TooLarge(part)) if part == [b'a'; 1000]));
        let broken = get("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", b"abc").await;
        assert!(matches!(read_body(broken, 1000).await, Err(ReadBodyError::Interrupted(part, _)) if part == b"abc"));
    }
}
