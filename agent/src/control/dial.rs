//! How the control plane is reached: where, over what, and as whom.

use std::time::Duration;

use http::Uri;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

use crate::tls::{Connector, Dialer};
use crate::token::{Bearer, Token};

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

    /// A connection, with the token as it is now.
    pub(super) async fn connect(&self) -> Result<InterceptedService<Channel, Bearer>, String> {
        let bearer = Bearer::new(self.token.as_ref()).map_err(|e| e.to_string())?;
        let connected = self.endpoint.connect_with_connector(self.connector.clone()).await;
        let channel = connected.map_err(|e| innermost(&e))?;
        Ok(InterceptedService::new(channel, bearer))
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
