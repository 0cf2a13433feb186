//! What a client is told about where its callee is: some addresses, or a source that knows.

use std::fmt;
use std::sync::Arc;

use super::{Discovery, Instance, ToInstance};
use crate::error::AgentError;

/// Where the instances of a callee are; made from what [`IntoEndpoints`] takes.
#[derive(Clone)]
pub struct Endpoints(pub(crate) Kind);

#[derive(Clone)]
pub(crate) enum Kind {
    /// These, for ever.
    Fixed(Vec<Instance>),
    /// Those that a source names.
    Found(Arc<dyn Discovery>),
    /// Those that the agent's own source names.
    Discovered,
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Fixed(list) => f.debug_list().entries(list.iter().map(|instance| &instance.address)).finish(),
            Kind::Found(source) => source.fmt(f),
            Kind::Discovered => f.write_str("Discovered"),
        }
    }
}

/// The instances that the agent's own source names, given with [`crate::Builder::discovery`]:
/// `agent.grpc_client("payments", Discovered)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Discovered;

/// Where a client finds its callee:
/// - an address (`"http://bank:8080"`, see [`Instance::at`]), a `SocketAddr` or an [`Instance`]; also several of them, as a slice,
///   an array or a `Vec`;
/// - a source of discovery: `Arc<dyn Discovery>` or an `Arc` of any source;
/// - the agent's own source: [`Discovered`].
pub trait IntoEndpoints {
    /// The endpoints.
    ///
    /// # Errors
    /// [`AgentError::Address`]: one of the addresses is none.
    fn into_endpoints(self) -> Result<Endpoints, AgentError>;
}

fn fixed<T: ToInstance>(list: impl IntoIterator<Item = T>) -> Result<Endpoints, AgentError> {
    let list = list.into_iter().map(|one| one.to_instance()).collect::<Result<_, _>>()?;
    Ok(Endpoints(Kind::Fixed(list)))
}

impl IntoEndpoints for Endpoints {
    fn into_endpoints(self) -> Result<Endpoints, AgentError> {
        Ok(self)
    }
}

impl IntoEndpoints for Discovered {
    fn into_endpoints(self) -> Result<Endpoints, AgentError> {
        Ok(Endpoints(Kind::Discovered))
    }
}

impl<D: Discovery + ?Sized> IntoEndpoints for Arc<D> {
    fn into_endpoints(self) -> Result<Endpoints, AgentError> {
        Ok(Endpoints(Kind::Found(Arc::new(self))))
    }
}

/// One address is a list of one.
macro_rules! one {
    ($($one:ty),*) => {$(
        impl IntoEndpoints for $one {
            fn into_endpoints(self) -> Result<Endpoints, AgentError> {
                fixed([self])
            }
        }
    )*};
}

one!(&str, &String, String, std::net::SocketAddr, Instance, &Instance);

impl<T: ToInstance> IntoEndpoints for &[T] {
    fn into_endpoints(self) -> Result<Endpoints, AgentError> {
        fixed(self)
    }
}

impl<T: ToInstance, const N: usize> IntoEndpoints for &[T; N] {
    fn into_endpoints(self) -> Result<Endpoints, AgentError> {
        fixed(self)
    }
}

impl<T: ToInstance, const N: usize> IntoEndpoints for [T; N] {
    fn into_endpoints(self) -> Result<Endpoints, AgentError> {
        fixed(self)
    }
}

impl<T: ToInstance> IntoEndpoints for Vec<T> {
    fn into_endpoints(self) -> Result<Endpoints, AgentError> {
        fixed(self)
    }
}

impl<T: ToInstance> IntoEndpoints for &Vec<T> {
    fn into_endpoints(self) -> Result<Endpoints, AgentError> {
        fixed(self)
    }
}
