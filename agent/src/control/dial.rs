//! How the control plane is reached: where, over what, and as whom.

use std::time::Duration;

use http::{HeaderValue, Uri};
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::tls::{Connector, Dialer};
use crate::token::Token;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(2);

/// A way to the control plane.
#[derive(Debug)]
pub(crate) struct Dial {
    uri: Uri,
    endpoint: Endpoint,
    connector: Connector,
    token: Option<Token>,
}

impl Dial {
    pub(crate) fn new(dialer: &Dialer, uri: Uri, token: Option<Token>) -> Self {
        let (endpoint, connector) = dialer.grpc(uri.clone(), CONNECT);
        let endpoint = endpoint
            .http2_keep_alive_interval(Duration::from_secs(5))
            .keep_alive_timeout(Duration::from_secs(3))
            .keep_alive_while_idle(true);
        Self { uri, endpoint, connector, token }
    }

    /// Where it is.
    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Whether a token would go over a network in the clear.
    pub(super) fn shows_token(&self) -> bool {
        let host = self.uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let here = host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        self.token.is_some() && self.uri.scheme_str() != Some("https") && !here
    }

    /// A connection, with the token as it is now.
    pub(super) async fn connect(&self) -> Result<InterceptedService<Channel, Bearer>, String> {
        let header = self.token.as_ref().map(Token::header).transpose().map_err(|e| e.to_string())?;
        let connected = self.endpoint.connect_with_connector(self.connector.clone()).await;
        let channel = connected.map_err(|e| innermost(&e))?;
        Ok(InterceptedService::new(channel, Bearer(header)))
    }
}

/// Writes the token into each request.
#[derive(Clone)]
pub(super) struct Bearer(Option<HeaderValue>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = self.0.as_ref().and_then(|v| MetadataValue::try_from(v.as_bytes()).ok()) {
            request.metadata_mut().insert("authorization", value);
        }
        Ok(request)
    }
}

/// What says most about why there is no connection.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
