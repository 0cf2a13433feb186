//! Who calls, as well as it is known.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::ConnectInfo;
use http::Extensions;
use tonic::transport::server::TcpConnectInfo;

use crate::tls::Peer;

/// Who calls: the first of these that is known. Handlers find it in the request's extensions where a server has auth or limits.
///
/// A name in a token or a certificate was checked; an address only says which machine (or which proxy) the connection comes
/// from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Caller {
    /// The subject of a token.
    Subject(Arc<str>),
    /// The name in a client certificate (see [`crate::tls::Certificate::name`]).
    Certificate(Arc<str>),
    /// An address. Of IPv6 the network (/64): one machine has all the addresses in it.
    Address(IpAddr),
    /// Nothing is known: an axum server that is served without `into_make_service_with_connect_info`.
    Unknown,
}

impl Caller {
    /// By its connection.
    pub(super) fn of(extensions: &Extensions) -> Self {
        if let Some(peer) = Peer::of(extensions) {
            let name = peer.certificate().and_then(|certificate| certificate.name());
            return name.map_or_else(|| network(peer.address().ip()), |name| Self::Certificate(name.into()));
        }
        let plain = extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
        let address = plain.or_else(|| extensions.get::<TcpConnectInfo>()?.remote_addr());
        address.map_or(Self::Unknown, |address| network(address.ip()))
    }
}

fn network(ip: IpAddr) -> Caller {
    Caller::Address(match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
        v4 => v4,
    })
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subject(name) | Self::Certificate(name) => f.write_str(name),
            Self::Address(ip) => write!(f, "{ip}"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_one_caller_whatever_its_address() {
        let of = |ip: &str| network(ip.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8::1"));
        assert_eq!(of("::ffff:10.0.0.7"), of("10.0.0.7"));
    }
}
