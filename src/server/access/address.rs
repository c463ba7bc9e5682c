//! Where a call really comes from.
//!
//! The peer of the connection counts, unless it is a proxy that the configuration trusts: then the nearest address of
//! `X-Forwarded-For` that is not itself a trusted proxy. What a client writes in front of that is never believed.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;

use crate::server::config::Network;

/// The address of the client.
pub fn client(peer: Option<SocketAddr>, headers: &HeaderMap, trusted: &[Network]) -> Option<IpAddr> {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut nearest = peer?.ip().to_canonical();
    let values: Vec<_> = headers.get_all("x-forwarded-for").iter().filter_map(|v| v.to_str().ok()).collect();
    for hop in values.iter().rev().flat_map(|value| value.rsplit(',')) {
        if !is_trusted(nearest) {
            break;
        }
        // a hop that is no address ends the chain of what is known
        let Ok(address) = hop.trim().parse::<IpAddr>() else { break };
        nearest = address.to_canonical();
    }
    Some(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_are_believed() {
        for (peer, trusted, forwarded, want) in [
            ("192.0.2.1:5", &[][..], &["198.51.100.7"][..], "192.0.2.1"),
            ("192.0.2.1:5", &["192.0.2.0/24"], &["198.51.100.7"], "198.51.100.7"),
            ("192.0.2.1:5", &["192.0.2.0/24"], &[], "192.0.2.1"),
            // the client wrote the first one
            ("192.0.2.1:5", &["192.0.2.0/24"], &["10.0.0.1, 198.51.100.7"], "198.51.100.7"),
            ("192.0.2.1:5", &["192.0.2.0/24"], &["10.0.0.1", "198.51.100.7, 192.0.2.9"], "198.51.100.7"),
            ("192.0.2.1:5", &["192.0.2.0/24"], &["198.51.100.7, unknown"], "192.0.2.1"),
            ("[::ffff:192.0.2.1]:5", &["192.0.2.1"], &["2001:db8::1"], "2001:db8::1"),
        ] {
            let trusted: Vec<Network> = trusted.iter().map(|n| n.parse().unwrap()).collect();
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append("x-forwarded-for", value.parse().unwrap());
            }
            let got = client(Some(peer.parse().unwrap()), &headers, &trusted);
            assert_eq!(got, Some(want.parse().unwrap()), "{peer} {forwarded:?}");
        }
        assert_eq!(client(None, &HeaderMap::new(), &[]), None);
    }
}
