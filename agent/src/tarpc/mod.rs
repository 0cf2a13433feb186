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

/// How the words begin with which a server refuses a request that its machine cannot take. The kind of an error does not say
/// it: tarpc over bincode writes it as a signed number and reads it as an unsigned one.
const BUSY: &str = "unavailable: ";

/// A connection that reads `In` and writes `Out`.
type Socket<T, In, Out> = serde_transport::Transport<T, In, Out, Bincode<In, Out>>;

/// `Service.method`, as tarpc names requests, in the form of all operations: `Service/method`.
fn operation(name: &str) -> String {
    match name.rsplit_once('.') {
        Some((service, method)) => format!("{service}/{method}"),
        None => name.to_owned(),
    }
}
