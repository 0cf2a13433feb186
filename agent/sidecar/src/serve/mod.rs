//! Listeners, and what becomes of a request.

mod inbound;
mod listener;
mod outbound;
#[cfg(test)]
mod size;
mod upgrade;
mod watched;

pub(crate) use self::inbound::ToService;
pub(crate) use self::listener::{Door, Handler, Port, listen};
pub(crate) use self::outbound::ToUpstream;
