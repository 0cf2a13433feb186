//! TLS and mTLS, for everything that dials and everything that listens: rustls with ring, TLS 1.2 and 1.3.
//!
//! - [`ClientTls`] says how servers are trusted and what they are shown; a [`Dialer`] has it in force, and makes a [`Connector`]
//!   for hyper's and tonic's clients. Nothing falls back from TLS to plain.
//! - [`ServerTls`] says what a server shows and whom it lets in; an [`Acceptor`] has it in force. [`TlsIncoming`] accepts
//!   connections and makes their handshakes beside each other; [`Peer`] says who calls.
//! - Files are looked at every 5 s ([`ClientTls::check_every`]). What changed and can be used serves the next connection; running
//!   ones go on. What cannot be used is told, with what is wrong, and the old material stays in force.
//! - An [`Observer`] is told of that, of the end of certificates that nears, and of handshakes that failed. [`Logged`] writes it
//!   to `tracing`.
//! - Revocation lists are not read: certificates that live for days need none, and a CA that is taken out of the roots is out with
//!   the next connection.
//! - What cannot work at the start is refused at the start, by name ([`TlsError`]).

mod acceptor;
mod certificate;
mod dialer;
mod error;
mod incoming;
mod live;
mod observe;
mod peer;
mod pem;
#[cfg(feature = "pki")]
pub mod pki;
mod settings;

pub use self::acceptor::{Acceptor, Handshakes, Refused, Turn};
pub use self::certificate::Certificate;
pub use self::dialer::{Alpn, Connector, Dialer};
pub use self::error::{HandshakeError, TlsError};
pub use self::incoming::TlsIncoming;
pub use self::observe::{Level, Logged, Notice, Observer};
pub use self::peer::{Peer, TlsStream};
pub use self::pem::Pem;
pub use self::settings::{ClientTls, ServerTls};
