//! The listening sockets of `serve`.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Context as _;
use crelay_payments::config::Config;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tracing::warn;

/// How many further ports are tried when the port is busy.
const FALLBACK_PORTS: u16 = 50;

/// How many connections the system keeps until they are accepted; it may have a lower limit of its own.
const BACKLOG: i32 = 4096;

/// Listens on the configured addresses, or on all, at `PORT` or, if that is allowed, at the next port that is free.
pub(super) fn listen(config: &Config) -> anyhow::Result<Vec<TcpListener>> {
    let port = config.port;
    let last = if config.port_fallback { port.saturating_add(FALLBACK_PORTS) } else { port };
    for candidate in port..=last {
        match bind_all(&config.bind, candidate) {
            Ok(listeners) => {
                if candidate != port {
                    warn!(
                        event = "server.port_busy",
                        port,
                        listening_on = candidate,
                        "The port is busy: point your tunnel or proxy to the port that the server listens on."
                    );
                }
                return Ok(listeners);
            }
            Err(error) if error.kind() == ErrorKind::AddrInUse && candidate < last => {}
            Err(error) if error.kind() == ErrorKind::AddrInUse => break,
            Err(error) => return Err(error).with_context(|| format!("cannot listen on port {candidate}")),
        }
    }
    anyhow::bail!("port {port} is busy: set PORT to a free one, or stop the program that listens there")
}

/// Listens on all these addresses at one port; on all addresses of the machine if none is named.
fn bind_all(addresses: &[IpAddr], port: u16) -> io::Result<Vec<TcpListener>> {
    let Some((first, others)) = addresses.split_first() else {
        return Ok(vec![bind_any(port)?]);
    };
    let first = bind((*first, port).into(), true)?;
    // With port 0 the system chose one for the first address.
    let port = first.local_addr()?.port();
    let mut listeners = vec![first];
    for address in others {
        listeners.push(bind((*address, port).into(), true)?);
    }
    Ok(listeners)
}

/// Listens on all addresses of IPv6 and IPv4, or of IPv4 where the machine has no IPv6.
fn bind_any(port: u16) -> io::Result<TcpListener> {
    match bind((Ipv6Addr::UNSPECIFIED, port).into(), false) {
        Err(error) if error.kind() != ErrorKind::AddrInUse => bind((Ipv4Addr::UNSPECIFIED, port).into(), true),
        bound => bound,
    }
}

/// Listens on an address. A socket of IPv6 that is not `only_v6` takes connections of IPv4 too.
fn bind(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    // A restarted server can listen at once, though connections of the last one linger.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use crelay_payments::config::Vars;

    use super::*;

    fn config(port: u16, more: &[(&str, &str)]) -> Config {
        let port = port.to_string();
        let vars = [
            ("SERVER_BASE_URL", "pay.example.com"),
            ("OPENAI_API_KEY", "sk-test"),
            ("ACCOUNT_SID", "AC1"),
            ("AUTH_TOKEN", "auth-token-of-tests"),
            ("FROM_NUMBER", "+15550100002"),
            ("PAYMENT_CONNECTOR", "Default"),
            ("PORT", &port),
        ];
        Config::from_vars(&more.iter().copied().chain(vars).collect::<Vars>()).unwrap().0
    }

    fn port(listeners: &[TcpListener]) -> u16 {
        listeners[0].local_addr().unwrap().port()
    }

    #[tokio::test]
    async fn a_busy_port_gives_way_to_the_next_free_one_or_is_an_error() {
        for address in ["0.0.0.0:0", "127.0.0.1:0"] {
            let busy = std::net::TcpListener::bind(address).unwrap();
            let busy_port = busy.local_addr().unwrap().port();
            assert_ne!(port(&listen(&config(busy_port, &[])).unwrap()), busy_port);
            let error = listen(&config(busy_port, &[("PORT_FALLBACK", "false")])).unwrap_err();
            assert!(error.to_string().contains("PORT"), "{error}");
        }
    }

    #[tokio::test]
    async fn all_addresses_of_ipv4_and_ipv6_are_listened_on_unless_some_are_named() {
        let port_of_all = port(&listen(&config(0, &[])).unwrap());
        let all = listen(&config(port_of_all, &[])).unwrap();
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port_of_all)).is_ok(), "{all:?}");
        if std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            assert!(TcpStream::connect((Ipv6Addr::LOCALHOST, port_of_all)).is_ok(), "{all:?}");
        }
        let named = listen(&config(0, &[("BIND", "127.0.0.2, 127.0.0.3")])).unwrap();
        assert_eq!(named.len(), 2);
        for listener in &named {
            assert!(TcpStream::connect(listener.local_addr().unwrap()).is_ok());
        }
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port(&named))).is_err());
    }
}
