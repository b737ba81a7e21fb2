//! The network that a request comes from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};

/// The longest element of `X-Forwarded-For` that is parsed, in bytes.
const MAX_ELEMENT: usize = 64;

/// An IPv4 address, or the /64 of an IPv6 address, which one customer of a provider has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::endpoints) struct ClientNetwork(IpAddr);

impl ClientNetwork {
    /// The network of the TCP peer or, if that is a proxy on this machine or in a private network, the one that the proxy
    /// has appended to `X-Forwarded-For`. All requests without a known peer share one network.
    pub(in crate::endpoints) fn of_request(parts: &Parts) -> Self {
        let peer = peer_address(parts);
        let client = if is_private(peer) { last_forwarded(&parts.headers) } else { None };
        Self::of_address(client.unwrap_or(peer))
    }

    pub(super) fn of_address(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        })
    }
}

/// The address of the TCP peer; `0.0.0.0` if it is not known.
fn peer_address(parts: &Parts) -> IpAddr {
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(peer)| peer.ip().to_canonical())
}

/// Whether a request came from this machine over plain HTTP, and not through a tunnel or proxy on it, which passes on the
/// public name of the server or says that it forwards.
pub(super) fn is_loopback(parts: &Parts) -> bool {
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').filter(|(_, port)| !port.contains(']')).map_or(host, |(name, _)| name);
    let is_forwarded =
        ["forwarded", "x-forwarded-for", "x-forwarded-proto"].iter().any(|it| parts.headers.contains_key(*it));
    peer_address(parts).is_loopback() && ["localhost", "127.0.0.1", "[::1]"].contains(&name) && !is_forwarded
}

/// Whether an address cannot be one of the public Internet, so that its peer is on this machine or in its network.
fn is_private(address: IpAddr) -> bool {
    match address {
        // 100.64.0.0/10 is shared by the customers of a provider, and used inside of clouds.
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            let is_shared = first == 100 && (64..128).contains(&second);
            ip.is_loopback() || ip.is_private() || ip.is_link_local() || is_shared
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// The last element of `X-Forwarded-For`, if it is an address, with or without a port. Those before it were written by the
/// client.
fn last_forwarded(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    let last = last.rsplit(',').next().unwrap_or_default().trim();
    if last.len() > MAX_ELEMENT {
        return None;
    }
    let in_brackets = last.strip_prefix('[').and_then(|last| last.strip_suffix(']')).unwrap_or(last);
    in_brackets.parse().ok().or_else(|| last.parse().ok().map(|address: SocketAddr| address.ip()))
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn network(peer: &str, forwarded: &[&str]) -> String {
        let mut request = Request::builder();
        for value in forwarded {
            request = request.header("X-Forwarded-For", *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        parts.extensions.insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 4711)));
        ClientNetwork::of_request(&parts).0.to_string()
    }

    #[test]
    fn only_a_proxy_in_the_own_network_says_who_the_client_is() {
        assert_eq!(network("203.0.113.9", &["198.51.100.1"]), "203.0.113.9");
        for proxy in ["127.0.0.1", "::1", "10.1.2.3", "172.19.0.2", "fdaa::3", "::ffff:192.168.0.1", "100.64.7.7"] {
            assert_eq!(network(proxy, &["198.51.100.1"]), "198.51.100.1", "{proxy}");
        }
    }

    #[test]
    fn the_last_element_counts_since_the_client_may_write_the_others() {
        assert_eq!(network("127.0.0.1", &["1.1.1.1", "2.2.2.2, 198.51.100.1"]), "198.51.100.1");
        assert_eq!(network("127.0.0.1", &["198.51.100.1:5123"]), "198.51.100.1");
        for bad in ["", "198.51.100.1,", "unknown", "999.1.1.1", &"1".repeat(5000)] {
            assert_eq!(network("127.0.0.1", &[bad]), "127.0.0.1", "{bad}");
        }
    }

    #[test]
    fn the_addresses_of_an_ipv6_customer_are_one() {
        assert_eq!(network("2001:db8:1:2:3:4:5:6", &[]), "2001:db8:1:2::");
        assert_eq!(network("2001:db8:1:2:ffff::1", &[]), "2001:db8:1:2::");
        assert_eq!(network("2001:db8:1:3::1", &[]), "2001:db8:1:3::");
        assert_eq!(network("::1", &["[2001:db8:1:3::1]:443"]), "2001:db8:1:3::");
        assert_eq!(network("::ffff:203.0.113.9", &[]), "203.0.113.9");
    }
}
