//! What a service registers to be given in place of an answer that did not come.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

/// Makes a value of one type.
type Make<T> = Box<dyn Fn() -> T + Send + Sync>;

/// The registered values, by type and name. Read without a lock.
#[derive(Default)]
pub(crate) struct Fallbacks {
    /// Each is a [`Make`] of the type.
    all: ArcSwap<HashMap<(TypeId, String), Arc<dyn Any + Send + Sync>>>,
}

impl Fallbacks {
    /// Registers a value; an earlier one of this type and name is forgotten.
    pub(crate) fn set<T: 'static>(&self, name: &str, make: impl Fn() -> T + Send + Sync + 'static) {
        let make: Make<T> = Box::new(make);
        let make: Arc<dyn Any + Send + Sync> = Arc::new(make);
        self.all.rcu(|all| {
            let mut all = HashMap::clone(all);
            all.insert((TypeId::of::<T>(), name.to_owned()), make.clone());
            all
        });
    }

    /// A value of this type and name.
    pub(crate) fn get<T: 'static>(&self, name: &str) -> Option<T> {
        let all = self.all.load();
        let make = all.get(&(TypeId::of::<T>(), name.to_owned())).and_then(|make| make.downcast_ref::<Make<T>>());
        if make.is_none() {
            tracing::warn!(name, wanted = type_name::<T>(), "the policy names a fallback that nobody registered");
        }
        make.map(|make| make())
    }
}

impl std::fmt::Debug for Fallbacks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.all.load().keys().map(|(_, name)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_type_and_name_and_made_anew() {
        let fallbacks = Fallbacks::default();
        fallbacks.set("empty", || String::from("none"));
        fallbacks.set("empty", || 0_u32);
        assert_eq!(
            (fallbacks.get::<String>("empty").as_deref(), fallbacks.get::<u32>("empty")),
            (Some("none"), Some(0))
        );
        assert_eq!((fallbacks.get::<u64>("empty"), fallbacks.get::<u32>("full")), (None, None));
        fallbacks.set("empty", || 1_u32);
        assert_eq!(fallbacks.get::<u32>("empty"), Some(1));
    }
}
