//! Where a host is, and who can read plain http to it.

use url::Host;

/// Who can read what is sent to a URL, credentials included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exposure {
    /// Nobody: the URL is https, or its host is this machine or an address of the own network.
    None,
    /// The network of a name that has a meaning in private networks only, such as a container's.
    PrivateNetwork,
    /// Every network on the way.
    PublicNetworks,
}

/// The ends of names that public name servers do not know.
const PRIVATE_SUFFIXES: [&str; 4] = [".internal", ".local", ".lan", ".home.arpa"];

impl Exposure {
    /// The exposure of a URL with this scheme and host.
    pub(super) fn of(is_plain_http: bool, host: &Host<&str>) -> Self {
        if !is_plain_http || is_local(host) {
            return Self::None;
        }
        match host {
            Host::Domain(name) if !name.contains('.') || PRIVATE_SUFFIXES.iter().any(|end| name.ends_with(end)) => {
                Self::PrivateNetwork
            }
            _ => Self::PublicNetworks,
        }
    }
}

/// Whether the host is this machine.
pub(crate) fn is_this_machine(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            name == "localhost" || name.ends_with(".localhost")
        }
        Host::Ipv4(ip) => ip.is_loopback() || ip.is_unspecified(),
        Host::Ipv6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => ip.is_loopback() || ip.is_unspecified(),
            None => ip.is_loopback() || ip.is_unspecified(),
        },
    }
}

/// Whether the host is this machine or in a private network.
pub(super) fn is_local(host: &Host<&str>) -> bool {
    let is_private = match host {
        Host::Domain(_) => false,
        Host::Ipv4(ip) => ip.is_private() || ip.is_link_local(),
        Host::Ipv6(ip) => ip.is_unique_local(),
    };
    is_private || is_this_machine(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_this_machine_of_a_private_network_or_public() {
        let host = |text: &str| Host::parse(text).unwrap();
        let exposure = |text: &str| {
            let host = host(text);
            let host = match &host {
                Host::Domain(name) => Host::Domain(name.as_str()),
                Host::Ipv4(ip) => Host::Ipv4(*ip),
                Host::Ipv6(ip) => Host::Ipv6(*ip),
            };
            (is_this_machine(&host), Exposure::of(true, &host), Exposure::of(false, &host))
        };
        for this in [
            "localhost",
            "localhost.",
            "a.localhost",
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "[::1]",
            "[::ffff:127.0.0.1]",
        ] {
            assert_eq!(exposure(this), (true, Exposure::None, Exposure::None), "{this}");
        }
        for near in ["10.1.2.3", "192.168.1.1", "[fdaa::3]"] {
            assert_eq!(exposure(near), (false, Exposure::None, Exposure::None), "{near}");
        }
        for named in ["flowise", "model.internal", "gpu.local"] {
            assert_eq!(exposure(named), (false, Exposure::PrivateNetwork, Exposure::None), "{named}");
        }
        for public in ["pay.example.com", "localhost.example.com", "8.8.8.8", "[2001:db8::1]"] {
            assert_eq!(exposure(public), (false, Exposure::PublicNetworks, Exposure::None), "{public}");
        }
    }
}
