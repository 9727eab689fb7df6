//! Admission webhooks: people outside of the server who are asked about a write, and may change or refuse it.
//!
//! ```text
//!  handlers ──▶ Webhooks::panel(request)        which webhooks want it (hook: rules), None costs two look-ups
//!                 │
//!                 ▼
//!               Panel ─ mutate ──▶ one after the other, each with what the one before made of the object;
//!                 │                 once more where somebody changed what an earlier one has seen
//!                 └──── validate ─▶ policies, then all at once; the first refusal in their order counts
//!                         │
//!                         ▼
//!   request (the question) ─▶ service (where to) ─▶ Transport: https, or what a test puts there ─▶ review (the answer)
//! ```
//!
//! No lock is held while a webhook is asked: a write that has been overtaken meanwhile is refused by the store, and the
//! handler goes through all of this again on the newest object.

mod hook;
mod https;
mod panel;
mod review;
mod service;
mod transport;
mod warnings;

use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Value;

pub use crate::admission::request::{Operation, Options, Request};
pub use https::Https;
pub use panel::{Panel, Remake};
pub use transport::{Answer, Call, Endpoint, Transport, TransportError};
pub use warnings::Warnings;

use super::policy::Policy;
use crate::custom::registry::Registry;
use crate::kinds::Resource;
use crate::store::Store;
use hook::Hook;

/// The collections that configure who is asked: webhooks that may change an object, those that may only refuse it, and
/// policies with their bindings.
const CONFIGURATIONS: [&str; 4] = [
    "mutatingwebhookconfigurations",
    "validatingwebhookconfigurations",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
];

/// The kinds that nobody is asked about, lest a broken webhook keep everybody from removing it.
const EXEMPT_GROUP: &str = "admissionregistration.k8s.io";

/// All webhooks and policies, read from their configurations when one has changed.
pub struct Webhooks {
    store: Store,
    transport: Arc<dyn Transport>,
    registry: Arc<Registry>,
    compiled: RwLock<Arc<Compiled>>,
}

/// The configurations at one revision.
#[derive(Debug, Default)]
struct Compiled {
    revision: u64,
    mutating: Vec<Hook>,
    validating: Vec<Hook>,
    policies: Vec<Policy>,
}

impl Compiled {
    fn is_empty(&self) -> bool {
        self.mutating.is_empty() && self.validating.is_empty() && self.policies.is_empty()
    }
}

impl Webhooks {
    /// The webhooks that are configured in `store`, called over `transport`, about what `registry` serves.
    pub fn new(store: Store, transport: Arc<dyn Transport>, registry: Arc<Registry>) -> Self {
        let compiled = RwLock::new(Arc::new(compile(&store)));
        Self { store, transport, registry, compiled }
    }

    /// Whether there are any, or policies: whether anybody is asked about any write.
    pub fn any(&self) -> bool {
        !self.current().is_empty()
    }

    /// The webhooks that want to be asked about `request`; `None` where there are none.
    pub fn panel<'a>(&'a self, request: Request<'a>) -> Option<Panel<'a>> {
        let compiled = self.current();
        if compiled.is_empty() || request.target.resource.group == EXEMPT_GROUP {
            return None;
        }
        let rows = self.registry.rows();
        let wanting = |hooks: &[Hook]| -> Vec<(usize, &'a Resource)> {
            let wants = |(index, hook): (usize, &Hook)| Some((index, hook.wants(&request, &rows)?));
            hooks.iter().enumerate().filter_map(wants).collect()
        };
        let (mutating, validating) = (wanting(&compiled.mutating), wanting(&compiled.validating));
        let bound = compiled.policies.iter().enumerate();
        let policies: Vec<_> =
            bound.filter_map(|(index, policy)| Some((index, policy.wants(&request, &rows)?))).collect();
        if mutating.is_empty() && validating.is_empty() && policies.is_empty() {
            return None;
        }
        Some(Panel { webhooks: self, compiled, request, mutating, validating, policies, rows })
    }

    fn current(&self) -> Arc<Compiled> {
        let known = self.compiled.read().unwrap_or_else(PoisonError::into_inner).clone();
        if !self.store.have_changed_since(&CONFIGURATIONS, known.revision) {
            return known;
        }
        let compiled = Arc::new(compile(&self.store));
        let mut kept = self.compiled.write().unwrap_or_else(PoisonError::into_inner);
        // Whoever read later read more.
        if kept.revision < compiled.revision {
            *kept = compiled.clone();
        }
        compiled
    }
}

fn compile(store: &Store) -> Compiled {
    // What is not there yet at this revision is found changed after it.
    let revision = store.revision();
    let read = |collection: &str| -> Vec<Value> {
        // In the order of their names, as the store has them and the reference calls them.
        let listing = store.list(collection, "", "", None);
        let objects = listing.map(|listing| listing.objects).unwrap_or_default();
        objects.iter().map(|object| object.value()).collect()
    };
    let [mutating, validating, policies, bindings] = CONFIGURATIONS.map(read);
    Compiled {
        revision,
        mutating: mutating.iter().flat_map(Hook::of).collect(),
        validating: validating.iter().flat_map(Hook::of).collect(),
        policies: Policy::all(policies.iter(), bindings.iter()),
    }
}
