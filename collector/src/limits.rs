//! What the doors bear.

use std::time::Duration;

/// Limits of everything that is sent to the collector. Whatever they cut off is answered in the sender's own protocol,
/// where something can still be answered at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once at each address; 4,096. More wait in the system's queue until others end.
    pub connections: usize,
    /// Connections at once at each address from one neighbour (an address of IPv4, a /64 of IPv6) beyond this machine; 1,024.
    /// One more is hung up at once.
    pub neighbour: usize,
    /// How long a TLS handshake may take; 5 s.
    pub handshake: Duration,
    /// TLS handshakes at once at each address; 512. One more ends the oldest: good ones take milliseconds, so that is one
    /// that hangs.
    pub handshakes: usize,
    /// Bytes of one request after decompression; 64 MiB, as OTLP recommends. A larger one is refused for good.
    pub request: usize,
    /// Bytes of all requests that are being received, unpacked and decoded; 512 MiB, and never less than eight times
    /// [`Limits::request`]. Who comes when they are used up is told to try again; who alone would need more is refused for
    /// good.
    pub pending: usize,
    /// How long a connection may take to send a request's head, and how long it may be idle between two requests of
    /// HTTP/1.1; 30 s.
    pub head: Duration,
    /// How long a sender may be silent in the middle of a body; 10 s.
    pub silence: Duration,
    /// How long a whole body may take; 60 s.
    pub body: Duration,
    /// Origins of web pages that may send, beside those of this machine (`https://shop.example`, or `*` for all).
    pub origins: Vec<String>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            neighbour: 1024,
            handshake: Duration::from_secs(5),
            handshakes: 512,
            request: 64 * 1024 * 1024,
            pending: 512 * 1024 * 1024,
            head: Duration::from_secs(30),
            silence: Duration::from_secs(10),
            body: Duration::from_secs(60),
            origins: Vec::new(),
        }
    }
}
