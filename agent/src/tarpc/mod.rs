//! tarpc, both sides.
//!
//! tarpc's own channel replaces the span id on its way, so the ids travel beside the message inside the process and are put
//! into (and taken out of) tarpc's context at the transport: the wire is tarpc's own, and plain tarpc peers still fit.

mod carry;
mod client;
mod server;

use tarpc::serde_transport;
use tarpc::tokio_serde::formats::Bincode;

pub use self::client::TarpcClient;
pub use self::server::TarpcServer;

/// A connection that reads `In` and writes `Out`.
type Socket<T, In, Out> = serde_transport::Transport<T, In, Out, Bincode<In, Out>>;

/// `Service.method`, as tarpc names requests, in the form of all operations: `Service/method`.
fn operation(name: &str) -> String {
    match name.rsplit_once('.') {
        Some((service, method)) => format!("{service}/{method}"),
        None => name.to_owned(),
    }
}
