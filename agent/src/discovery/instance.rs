//! One instance of a service, as sources of discovery know it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::address;
use crate::error::AgentError;

/// Where one instance of a service is, and what is known of it.
///
/// As JSON (so it stands in etcd) only `address` is needed:
/// `{"id":"orders-1","address":"10.0.0.7:50051","weight":1,"secure":false,"version":"2.14.0","zone":"eu-1a"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Instance {
    /// Its `service.instance.id`, unique within the service. Where a source has none, the address.
    #[serde(default)]
    pub id: String,
    /// `host:port`. Callers balance by it: two instances at one address are one to them.
    pub address: String,
    /// Its share of the calls where the balancer weighs; 1 when not given, 0 is never picked there.
    #[serde(default = "one")]
    pub weight: u32,
    /// Whether it speaks TLS.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub secure: bool,
    /// Its `service.version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its `cloud.availability_zone`, or whatever stands for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// For HTTP: what comes before the path of each request (`/api`); empty for nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// What else it says of itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

fn one() -> u32 {
    1
}

impl Instance {
    /// The instance at an address: `host:port`, `http://host:port/path` or `https://…`. A port that is not given is the
    /// scheme's own.
    ///
    /// # Errors
    /// [`AgentError::Address`]: it has no host, another scheme, or holds a password.
    pub fn at(text: impl AsRef<str>) -> Result<Self, AgentError> {
        let text = text.as_ref();
        let wrong =
            |reason: &str| AgentError::Address { text: address::shown(text).into_owned(), reason: reason.into() };
        let uri = address::uri(text)?;
        let secure = uri.scheme_str() == Some("https");
        let authority = uri.authority().ok_or_else(|| wrong("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("a user and a password belong into the header `authorization`"));
        }
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let address = format!("{}:{port}", authority.host());
        let path = uri.path().trim_end_matches('/').to_owned();
        let (id, metadata) = (address.clone(), BTreeMap::new());
        Ok(Self { id, address, weight: 1, secure, version: None, zone: None, path, metadata })
    }

    /// With its `service.instance.id`.
    #[must_use]
    pub fn named(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self
    }

    /// With a weight.
    #[must_use]
    pub fn weighing(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// Host and port; `None` where the address is not of that form. An IPv6 host comes without brackets.
    #[must_use]
    pub fn host_and_port(&self) -> Option<(&str, u16)> {
        let (host, port) = self.address.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Some((host, port.parse().ok()?)).filter(|(host, _)| !host.is_empty())
    }

    /// `http://host:port`, or `https`.
    pub(crate) fn origin(&self) -> String {
        format!("{}://{}", if self.secure { "https" } else { "http" }, self.address)
    }
}

/// What names one instance: an [`Instance`], a socket's address, or an address as text (see [`Instance::at`]).
pub trait ToInstance {
    /// The instance.
    ///
    /// # Errors
    /// It is no address.
    fn to_instance(&self) -> Result<Instance, AgentError>;
}

impl ToInstance for Instance {
    fn to_instance(&self) -> Result<Instance, AgentError> {
        Ok(self.clone())
    }
}

impl ToInstance for SocketAddr {
    fn to_instance(&self) -> Result<Instance, AgentError> {
        Instance::at(self.to_string())
    }
}

impl ToInstance for str {
    fn to_instance(&self) -> Result<Instance, AgentError> {
        Instance::at(self)
    }
}

impl ToInstance for String {
    fn to_instance(&self) -> Result<Instance, AgentError> {
        Instance::at(self)
    }
}

impl<T: ToInstance + ?Sized> ToInstance for &T {
    fn to_instance(&self) -> Result<Instance, AgentError> {
        (**self).to_instance()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses() {
        let plain = Instance::at("10.0.0.7:50051").unwrap();
        assert_eq!(
            (plain.address.as_str(), plain.id.as_str(), plain.secure),
            ("10.0.0.7:50051", "10.0.0.7:50051", false)
        );
        let deep = Instance::at("http://bank/api/").unwrap();
        assert_eq!((deep.address.as_str(), deep.path.as_str()), ("bank:80", "/api"));
        assert_eq!(Instance::at("[::1]:8080").unwrap().host_and_port(), Some(("::1", 8080)));
        assert!(Instance::at("http://ann:secret@bank").unwrap_err().to_string().contains("authorization"));
    }

    #[test]
    fn json_needs_an_address_only() {
        let short: Instance = serde_json::from_str(r#"{"address":"a:1"}"#).unwrap();
        assert_eq!((short.weight, short.secure), (1, false));
        let back = serde_json::to_string(&short.named("a-1")).unwrap();
        assert_eq!(back, r#"{"id":"a-1","address":"a:1","weight":1}"#);
    }
}
