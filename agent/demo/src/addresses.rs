//! Where the instances listen: loopback ports that the system picks, bound before anything starts, so that everybody knows
//! everybody's address from the beginning.

use std::io;
use std::net::{SocketAddr, TcpListener};

/// Addresses of all instances, in order of their numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Addresses {
    /// HTTP.
    pub(crate) gateway: Vec<SocketAddr>,
    /// gRPC.
    pub(crate) orders: Vec<SocketAddr>,
    /// tarpc.
    pub(crate) inventory: Vec<SocketAddr>,
    /// gRPC.
    pub(crate) payments: Vec<SocketAddr>,
    /// HTTP.
    pub(crate) bank: Vec<SocketAddr>,
    /// gRPC.
    pub(crate) pricing: Vec<SocketAddr>,
    /// gRPC.
    pub(crate) users: Vec<SocketAddr>,
}

impl Addresses {
    /// As URLs.
    pub(crate) fn urls(of: &[SocketAddr]) -> Vec<String> {
        of.iter().map(|address| format!("http://{address}")).collect()
    }
}

/// Sockets of one service's instances. They stay bound while the shop lives, also while an instance is replaced: connections
/// made meanwhile wait for the new one.
#[derive(Debug)]
pub(crate) struct Sockets(Vec<TcpListener>);

impl Sockets {
    /// Binds a free loopback port for each of `count` instances; their addresses go to `into`.
    pub(crate) fn bind(count: usize, into: &mut Vec<SocketAddr>) -> io::Result<Self> {
        let mut sockets = Vec::with_capacity(count);
        for _ in 0..count {
            let socket = TcpListener::bind(("127.0.0.1", 0))?;
            socket.set_nonblocking(true)?;
            into.push(socket.local_addr()?);
            sockets.push(socket);
        }
        Ok(Self(sockets))
    }

    /// A listener on the socket of an instance, counted from 0.
    pub(crate) fn listen(&self, index: usize) -> io::Result<tokio::net::TcpListener> {
        let socket =
            self.0.get(index).ok_or_else(|| io::Error::other(format!("there is no instance {}", index + 1)))?;
        tokio::net::TcpListener::from_std(socket.try_clone()?)
    }
}
