//! What the webhook has to know to answer. Whoever implements it answers at once, from memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use supple_decide::code::Code;
use supple_decide::need::Uses;
use supple_decide::numbers::Numbers;

/// What is known of pods.
pub trait Knowledge: Send + Sync + 'static {
    /// What the containers of a pod use, by name; empty where nothing is known.
    fn used(&self, namespace: &str, pod: &str) -> Uses;

    /// Whether a decrease of its memory needs somebody's approval. The pod's own annotation need not be looked at.
    fn approval(&self, namespace: &str, pod: &Pod) -> Approval;

    /// The sizes for a pod that is about to be created, or why it is to have its own; `None` where nothing is known of its workload,
    /// or it is never sized. The pod may have no name, and its owner is in its metadata.
    fn sizes(&self, namespace: &str, pod: &Pod, now: Timestamp) -> Option<Sizing>;
}

/// Whether a decrease of memory needs approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Approval {
    /// No.
    NotNeeded,
    /// Yes, and the workload or the namespace has it.
    Given,
    /// Yes.
    Needed {
        /// The policy that says so, for people: `rightsizepolicy/web`.
        by: String,
    },
}

/// Sizes for a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizing {
    /// By container; a number that is not given stays as it is, and so does a container that is not named.
    pub containers: BTreeMap<Arc<str>, Numbers>,
    /// Where they come from, for people: `deployment/cart`.
    pub of: String,
    /// What settled it.
    pub code: Code,
    /// The sentence for people.
    pub why: String,
}

/// Knows nothing: everything passes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nothing;

impl Knowledge for Nothing {
    fn used(&self, _: &str, _: &str) -> Uses {
        Uses::default()
    }

    fn approval(&self, _: &str, _: &Pod) -> Approval {
        Approval::NotNeeded
    }

    fn sizes(&self, _: &str, _: &Pod, _: Timestamp) -> Option<Sizing> {
        None
    }
}
