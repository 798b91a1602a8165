//! Which addresses a webhook may go to: the public internet and nothing else. Source: contract §5; the IANA
//! special-purpose address registries (RFC 6890).

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Whether `address` belongs to the public internet.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        [0, ..]                           // "this network"
        | [10, ..]                        // private
        | [100, 64..=127, ..]             // shared by carriers (CGNAT)
        | [127, ..]                       // loopback
        | [169, 254, ..]                  // link-local, and the clouds' metadata
        | [172, 16..=31, ..]              // private
        | [192, 0, 0 | 2, _]              // protocol assignments; documentation
        | [192, 88, 99, _]                // old 6to4 relays
        | [192, 168, ..]                  // private
        | [198, 18 | 19, ..]              // benchmarks
        | [198, 51, 100, _]               // documentation
        | [203, 0, 113, _]                // documentation
        | [224..=255, ..] // multicast, reserved, broadcast
    )
}

/// Only global unicast, 2000::/3, less the parts that carry or translate other addresses. So IPv4-mapped, loopback,
/// unspecified, link-local, unique-local and multicast ones are out without being named.
fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // NAT64: what DNS64 makes of an IPv4 host on a network that has only IPv6. The host inside decides.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => is_public_v4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low))),
        [0x2001, 0..=0x1ff, ..] => false, // protocol assignments: Teredo, benchmarks, ORCHID
        [0x2001, 0xdb8, ..] => false,     // documentation
        [0x2002, ..] => false,            // 6to4 carries any IPv4 address
        [0x3fff, 0..=0xfff, ..] => false, // documentation
        [0x2000..=0x3fff, ..] => true,
        _ => false,
    }
}

/// Looks a name up and keeps the public addresses alone. The connection is made to what this returns and the name is not
/// looked up again, so an answer that changes in between (DNS rebinding) wins nothing.
pub(super) struct PublicOnly;

/// The name exists, and only at addresses that must not be called.
#[derive(Debug, thiserror::Error)]
#[error("the name leads to private addresses only")]
pub(super) struct NoPublicAddress;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if found.is_empty() {
                return Err(io::Error::from(io::ErrorKind::NotFound).into());
            }
            let public: Vec<_> = found.into_iter().filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(NoPublicAddress.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_of_private_address_is_told_from_the_public_ones() {
        for (public, addresses) in [
            (false, "0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.255 127.0.0.1 127.255.255.255"),
            (false, "169.254.0.1 169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.1 192.0.2.1 192.88.99.1"),
            (false, "192.168.0.1 192.168.255.255 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1"),
            (false, "224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255"),
            (true, "1.1.1.1 9.255.255.255 11.0.0.1 100.63.255.255 100.128.0.1 126.0.0.1 128.0.0.1 169.253.1.1"),
            (
                true,
                "172.15.255.255 172.32.0.1 192.0.1.1 192.167.255.255 192.169.0.1 198.17.0.1 198.20.0.1 223.255.255.1",
            ),
            (false, ":: ::1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:8.8.8.8 ::ffff:0:127.0.0.1"),
            (false, "64:ff9b::127.0.0.1 64:ff9b::169.254.169.254 64:ff9b:1::1 100::1 fe80::1 febf::1 fec0::1"),
            (false, "fc00::1 fd00:ec2::254 fdff::1 ff02::1 ff0e::1 2001::1 2001:1ff::1 2001:db8::1 2002:7f00:1::1"),
            (false, "2002:808:808::1 3fff::1 3fff:fff::1 4000::1 5f00::1 1fff::1"),
            (true, "2001:200::1 2001:4860:4860::8888 2400:3200::1 2606:4700::1 3ffe::1 64:ff9b::8.8.8.8"),
        ] {
            for address in addresses.split(' ') {
                assert_eq!(is_public(address.parse().unwrap()), public, "{address}");
            }
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_to_loopback_has_no_address() {
        let Err(error) = PublicOnly.resolve("localhost".parse().unwrap()).await else { panic!("localhost was found") };
        assert!(error.is::<NoPublicAddress>(), "{error}");
    }
}
