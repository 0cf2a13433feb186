//! Where the instances of a service are, behind one trait.
//!
//! A source ([`Discovery`]) registers instances and tells lists of them. [`Fixed`] keeps them in the process, [`Etcd`] in
//! etcd, [`Consul`] in Consul; `Dns` (feature `dns`) only reads them.
//!
//! **What a list means.** A source that answers is believed, also when it says that nobody is there. A source that does not
//! answer leaves the last list in force, for ever, and the list says since when it is stale and why. An empty list right after
//! an outage is believed only when it stands for ten seconds: a registry that came back without its data is
//! filled again by the instances themselves.
//!
//! **Bounds.** At most 4,096 instances of a service are looked at. A source is asked again for ever, after pauses that grow
//! from 100 ms to 10 s and of which half is drawn.
//!
//! **Changes.** Clients that were given a source follow it while they run: a new instance gets calls at once, one that
//! vanished gets no new ones, and its connections close after the calls under way. What the balancer and the outlier detection know
//! of those that stay is kept.

mod consul;
#[cfg(feature = "dns")]
mod dns;
mod endpoints;
mod etcd;
mod fixed;
mod http;
mod instance;
mod lease;
mod pause;
mod watch;

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

pub use self::consul::Consul;
#[cfg(feature = "dns")]
pub use self::dns::Dns;
pub(crate) use self::endpoints::Kind;
pub use self::endpoints::{Discovered, Endpoints, IntoEndpoints};
pub use self::etcd::Etcd;
pub use self::fixed::Fixed;
pub use self::instance::{Instance, ToInstance};
pub use self::lease::{Keeper, Lease, LeaseState};
pub use self::pause::Pauses;
pub use self::watch::{Snapshot, Stale, Teller, Watch};

/// A source of instances.
pub trait Discovery: fmt::Debug + Send + Sync + 'static {
    /// Announces an instance and keeps it announced, for ever, whatever happens to the source meanwhile: the lease says how that
    /// goes. To be called in a tokio runtime.
    ///
    /// # Errors
    /// [`DiscoveryError::Unsupported`]: nothing can be registered in this kind of source.
    fn register(&self, service: &str, instance: Instance) -> Result<Lease, DiscoveryError>;

    /// Takes an instance out by its id, whoever registered it. One's own is ended by [`Lease::end`]: its keeper may put it
    /// back.
    fn deregister<'a>(&'a self, service: &'a str, id: &'a str) -> BoxFuture<'a, Result<(), DiscoveryError>>;

    /// Asks once.
    fn instances<'a>(&'a self, service: &'a str) -> BoxFuture<'a, Result<Vec<Instance>, DiscoveryError>>;

    /// Follows a service: a stream of full lists. To be called in a tokio runtime.
    fn watch(&self, service: &str) -> Watch;
}

impl<D: Discovery + ?Sized> Discovery for Arc<D> {
    fn register(&self, service: &str, instance: Instance) -> Result<Lease, DiscoveryError> {
        (**self).register(service, instance)
    }

    fn deregister<'a>(&'a self, service: &'a str, id: &'a str) -> BoxFuture<'a, Result<(), DiscoveryError>> {
        (**self).deregister(service, id)
    }

    fn instances<'a>(&'a self, service: &'a str) -> BoxFuture<'a, Result<Vec<Instance>, DiscoveryError>> {
        (**self).instances(service)
    }

    fn watch(&self, service: &str) -> Watch {
        (**self).watch(service)
    }
}

/// Why a source did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoveryError {
    /// The source cannot be reached, or broke off.
    #[error("{at} cannot be reached: {reason}")]
    Unreachable {
        /// Where it should be.
        at: String,
        /// What happened.
        reason: String,
    },
    /// The source answered with an error.
    #[error("{at} refuses: {reason}")]
    Refused {
        /// Where it is.
        at: String,
        /// What it said.
        reason: String,
    },
    /// The source's answer cannot be read.
    #[error("the answer of {at} cannot be read: {reason}")]
    Unreadable {
        /// Where it is.
        at: String,
        /// What is wrong with it.
        reason: String,
    },
    /// This kind of source cannot do that.
    #[error("{0}")]
    Unsupported(&'static str),
}
