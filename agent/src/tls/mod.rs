//! TLS and mTLS, for everything that dials and everything that listens: rustls with ring, TLS 1.2 and 1.3.
//!
//! - [`ClientTls`] says how servers are trusted and what they are shown. [`crate::Builder::tls`] sets it for a whole agent,
//!   [`crate::Agent::with_tls`] for the clients made with the handle that it returns. An address that begins with `https://`
//!   is dialled with it; nothing falls back from TLS to plain.
//! - [`ServerTls`] says what a server shows and whom it lets in. `agent.grpc_tls_incoming(listener, &tls)?` is what tonic's
//!   `serve_with_incoming` takes, `agent.http_tls_listener(listener, &tls)?` what `axum::serve` takes; [`Peer`] says who calls.
//!   Handshakes run beside the server, each for 5 s at most and 512 at once: one more ends the oldest, so callers that hang
//!   crowd out each other and nobody else. They are counted (`tls.handshakes`, by outcome) and failures logged, five a
//!   second at most. A caller that speaks plain HTTP is told so.
//! - Files are looked at every 5 s ([`ClientTls::check_every`]). What changed and can be used serves the next connection; running
//!   ones go on. What cannot be used is told in a log record, with what is wrong, and the old material stays in force.
//! - `tls.certificate.expires_in` is what is left of the own certificate, in seconds. A log record warns when a fifth of its life
//!   is left, when a twentieth is, and when it has ended.
//! - Revocation lists are not read: certificates that live for days need none, and a CA that is taken out of the roots is out with
//!   the next connection.
//! - What cannot work at the start is refused at the start, by name ([`TlsError`]).

mod certificate;
mod connector;
mod error;
mod incoming;
mod live;
mod peer;
mod pem;
mod settings;

pub use self::certificate::Certificate;
pub use self::connector::Connector;
pub(crate) use self::connector::{Alpn, Dialer};
pub use self::error::{HandshakeError, TlsError};
pub use self::incoming::TlsIncoming;
pub use self::peer::{Peer, TlsStream};
pub use self::pem::Pem;
pub use self::settings::{ClientTls, ServerTls};
