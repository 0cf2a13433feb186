//! Who asks, once that is known.

use std::sync::Arc;

use fuseboard_api::UnixNanos;
use fuseboard_api::ask::Refusal;
use fuseboard_api::identity::{Deed, Role, TokenInfo, Whoami};
use fuseboard_tls::Certificate;

use super::table::{least, may};
use crate::control::refusal::forbidden;

/// Everything: the scope of an agent that may speak for every service.
pub(crate) const EVERY: &str = "*";

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// Nobody was asked: whoever reaches this collector may do everything.
    Anybody,
    /// Somebody with a token.
    Known(Arc<Who>),
}

/// Somebody, and for what.
#[derive(Debug)]
pub(crate) struct Who {
    name: String,
    role: Role,
    token: String,
    expires: Option<UnixNanos>,
    services: Vec<String>,
}

impl Who {
    /// The holder of a token.
    pub(super) fn of(info: &TokenInfo) -> Self {
        Self {
            name: info.name.clone(),
            role: info.role,
            token: info.id.clone(),
            expires: info.expires,
            services: info.services.clone(),
        }
    }
}

impl Who {
    /// The holder of a certificate: an agent of the service that its SPIFFE id names, or, without one, of its DNS names.
    pub(super) fn certified(certificate: &Certificate) -> Self {
        let services = certificate.service().map_or_else(|| certificate.dns_names().to_vec(), |service| vec![service]);
        let name = certificate.name().unwrap_or("a certificate without a name").to_owned();
        Self { name, role: Role::Agent, token: String::new(), expires: None, services }
    }
}

impl Caller {
    /// Whether this caller may speak for a service: send its telemetry, open its control stream.
    pub(crate) fn speaks_for(&self, service: &str) -> bool {
        match self {
            Self::Anybody => true,
            // An admin who imports telemetry.
            Self::Known(who) if !matches!(who.role, Role::Agent) => true,
            Self::Known(who) => who.services.iter().any(|s| s == EVERY || s == service),
        }
    }

    fn role(&self) -> Option<Role> {
        match self {
            Self::Anybody => None,
            Self::Known(who) => Some(who.role),
        }
    }

    /// Whether this caller may.
    ///
    /// # Errors
    /// `forbidden`: who one is, and which role it would take.
    pub(crate) fn may(&self, deed: Deed) -> Result<(), Refusal> {
        match self {
            Self::Anybody => Ok(()),
            Self::Known(who) if may(who.role, deed) => Ok(()),
            Self::Known(who) => Err(forbidden(format!(
                "{} is {} {} and may not {}: that takes the role {} (ask an admin for a token of that role)",
                who.name,
                if matches!(who.role, Role::Viewer) { "a" } else { "an" },
                who.role,
                deed.words(),
                least(deed)
            ))),
        }
    }

    /// The name under which something is done: where one is known, nobody acts under another's.
    pub(crate) fn actor(&self, told: &str) -> String {
        match self {
            Self::Anybody => told.to_owned(),
            Self::Known(who) => who.name.clone(),
        }
    }

    /// Who this is, for the books.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Anybody => "somebody",
            Self::Known(who) => &who.name,
        }
    }

    /// What the caller is told of itself.
    pub(crate) fn whoami(&self) -> Whoami {
        let role = self.role().unwrap_or(Role::Admin);
        let told = |deed: Deed| self.may(deed).err().map(|refusal| (deed, refusal.message));
        let (may, may_not) = (
            Deed::ALL.into_iter().filter(|deed| self.may(*deed).is_ok()).collect(),
            Deed::ALL.into_iter().filter_map(told).collect(),
        );
        match self {
            Self::Anybody => Whoami { role, may, may_not, ..Whoami::default() },
            Self::Known(who) => Whoami {
                name: who.name.clone(),
                role,
                asked: true,
                token: who.token.clone(),
                expires: who.expires,
                services: who.services.clone(),
                may,
                may_not,
            },
        }
    }
}
