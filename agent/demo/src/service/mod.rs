//! The services. Each file is one service: what it answers, and whom it calls.

pub(crate) mod bank;
pub(crate) mod gateway;
pub(crate) mod inventory;
pub(crate) mod notifications;
pub(crate) mod orders;
pub(crate) mod payments;
pub(crate) mod pricing;
pub(crate) mod timeouts;
pub(crate) mod users;

use tonic::Status;

use crate::instance::Mishap;

impl From<Mishap> for Status {
    fn from(mishap: Mishap) -> Self {
        match mishap {
            Mishap::Crashed => Self::unavailable(mishap.to_string()),
            Mishap::Bug | Mishap::BadLuck => Self::internal(mishap.to_string()),
        }
    }
}
