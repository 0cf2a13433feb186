//! The weather as services feel it: the step in force, shared by all of them.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::weather::{Effect, Sky, Step};

/// The step of the weather in force.
#[derive(Debug)]
pub(crate) struct Climate(ArcSwap<Step>);

impl Default for Climate {
    fn default() -> Self {
        let step = Step { at: Duration::ZERO, sky: Sky::default(), says: "all is calm".to_owned() };
        Self(ArcSwap::from_pointee(step))
    }
}

impl Climate {
    /// Puts a step in force.
    pub(crate) fn set(&self, step: Step) {
        self.0.store(Arc::new(step));
    }

    /// The step in force.
    pub(crate) fn now(&self) -> Arc<Step> {
        self.0.load_full()
    }

    /// What is wrong with an instance now.
    pub(crate) fn over(&self, service: &str, instance: &str) -> Effect {
        self.0.load().sky.over(service, instance)
    }

    /// Factor on the usual traffic now.
    pub(crate) fn load(&self) -> f64 {
        self.0.load().sky.load
    }
}
