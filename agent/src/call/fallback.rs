//! What the application is given for a call that failed or was refused.

use std::borrow::Cow;

use fuseboard_policy::codes;
use fuseboard_policy::names;
use fuseboard_policy::settings::Fallback;
use opentelemetry::KeyValue;

use super::drive::Transport;
use super::{LiveCall, Protocol, Refusal};

impl LiveCall {
    /// The edge's fallback, or else what came of the call. The span says which was given; the call itself stays what it was.
    pub(super) fn instead<T: Transport>(
        &self,
        transport: &T,
        came: impl FnOnce() -> Result<T::Answer, T::Error>,
    ) -> Result<T::Answer, T::Error> {
        match &self.in_force.settings.fallback {
            None => came(),
            Some(Fallback::Status { code }) => {
                self.tell_fallback(code);
                transport.status(self.in_words_of(code))
            }
            Some(Fallback::Value { name }) => match transport.value(&self.agent.fallbacks, name) {
                Some(value) => {
                    self.tell_fallback(name);
                    Ok(value)
                }
                None => came(),
            },
        }
    }

    fn tell_fallback(&self, given: &str) {
        self.span.write(|record| record.attribute(KeyValue::new(names::FALLBACK, given.to_owned())));
    }

    /// The fallback's status as the protocol knows it.
    fn in_words_of(&self, code: &str) -> Refusal {
        let own = match self.target.protocol {
            Protocol::Http => Cow::Owned(code.to_owned()),
            _ => Cow::Borrowed(codes::to_grpc(code)),
        };
        let cause = format!("it came to nothing, and the edge's fallback is `{code}`");
        Refusal { code: own, ..self.target.refusal("fallback", cause, String::new()) }
    }
}
