//! Which addresses the functions of an installation may have: none at which a machine finds credentials or
//! settings of its own. Names are checked when they are resolved, so a name cannot lead there, either.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::net::lookup_host;

/// Metadata services outside the link-local range: Alibaba Cloud, Azure's virtual public address, Oracle Cloud.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];

/// The prefix of the addresses at which EC2 has its metadata and other services over IPv6.
const EC2_V6: [u16; 2] = [0xfd00, 0x0ec2];

/// The prefix of IPv4 addresses that are reached through NAT64.
const NAT64: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];

/// Whether an address is link-local or that of a metadata service.
pub fn is_forbidden(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_forbidden_v4(address),
        IpAddr::V6(address) => {
            let segments = address.segments();
            address.is_unicast_link_local()
                || segments.starts_with(&EC2_V6)
                || embedded_v4(address).is_some_and(is_forbidden_v4)
        }
    }
}

fn is_forbidden_v4(address: Ipv4Addr) -> bool {
    address.is_link_local() || METADATA_V4.contains(&address)
}

/// The IPv4 address that an IPv6 address stands for.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [.., a, b, c, d] = address.octets();
    let is_nat64 = address.segments().starts_with(&NAT64);
    let embedded = || Ipv4Addr::new(a, b, c, d);
    is_nat64.then(embedded).or_else(|| address.to_ipv4())
}

/// Resolves names, but not to forbidden addresses.
#[derive(Debug)]
pub struct Guarded;

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found
                .filter(|address| !is_forbidden(address.ip()))
                .collect();
            if allowed.is_empty() {
                return Err("the name leads to no address that is allowed".into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_and_metadata_addresses_are_forbidden_in_every_form() {
        for address in [
            "169.254.169.254",
            "169.254.170.2",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "fe80::1",
            "febf::1",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
        ] {
            assert!(is_forbidden(address.parse().unwrap()), "{address}");
        }
        for address in [
            "127.0.0.1",
            "10.0.0.1",
            "203.0.113.7",
            "::1",
            "2001:db8::1",
            "fd00::1",
        ] {
            assert!(!is_forbidden(address.parse().unwrap()), "{address}");
        }
    }

    #[tokio::test]
    async fn a_name_does_not_lead_to_a_forbidden_address() {
        let resolved = |name: &str| Guarded.resolve(name.parse().unwrap());
        assert!(resolved("169.254.169.254").await.is_err());
        assert!(resolved("localhost").await.is_ok());
    }
}
