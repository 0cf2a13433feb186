//! Connections to instances: kept alive, used again, limited, and made anew.

mod body;
mod connect;
mod peer;

use std::sync::Arc;
use std::time::Duration;

use fuseboard_agent::proxy::{RequestBody, Wire, WireError};
use fuseboard_agent::tls::Connector;
use http::{Request, Response};
use hyper::body::Incoming;

pub(crate) use self::body::WireBody;
pub(crate) use self::peer::Peer;

/// A request as it goes out.
pub(crate) type Outgoing = Request<RequestBody<Incoming>>;

/// Which HTTP an upstream is spoken to in. With TLS the handshake says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Version {
    /// The same in which the request came.
    #[default]
    Same,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 by prior knowledge.
    Http2,
}

/// How connections to the instances of an upstream are made and kept.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) version: Version,
    /// Longest time that a connection may take to be made, or to be waited for when all are busy.
    pub(crate) connect: Duration,
    /// How long an unused connection is kept.
    pub(crate) idle: Duration,
    /// Most requests on one instance at a time over HTTP/1.1, which is most connections.
    pub(crate) connections: usize,
    /// Most bytes of an answer's headers.
    pub(crate) header_bytes: usize,
    /// Makes connections over TLS.
    pub(crate) tls: Connector,
}

impl Wire<Incoming> for Peer {
    type Body = WireBody;

    fn send(self: Arc<Self>, request: Outgoing) -> impl Future<Output = Result<Response<WireBody>, WireError>> + Send {
        self.pass(request)
    }
}
