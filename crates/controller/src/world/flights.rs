//! Resizes of ours on their way, node by node: counted where they are sent, answered and shown, and not from what a decision saw, so
//! that a decision which sees wrong is seen.

use std::collections::BTreeMap;
use std::sync::Arc;

use supple_decide::key::PodKey;

/// Resizes under way, from the moment in which they are sent until the node is done with them.
#[derive(Debug, Default)]
pub(super) struct Flights {
    pods: BTreeMap<PodKey, Arc<str>>,
    nodes: BTreeMap<Arc<str>, u32>,
    most: Most,
}

/// The most that were under way on one node at once, the one that was sent last included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Most {
    /// When what was sent last could have waited.
    pub can_wait: u32,
    /// When it waited for nobody: what is raised because it cannot wait, what is taken back because it does harm, and what changes
    /// together with all its siblings.
    pub cannot_wait: u32,
}

impl Flights {
    /// A resize is sent.
    pub fn begin(&mut self, pod: &PodKey, node: &Arc<str>, can_wait: bool) {
        self.end(pod); // the same pod once more is one pod
        self.pods.insert(pod.clone(), node.clone());
        let on_node = self.nodes.entry(node.clone()).or_default();
        *on_node = on_node.saturating_add(1);
        let most = if can_wait { &mut self.most.can_wait } else { &mut self.most.cannot_wait };
        *most = (*most).max(*on_node);
    }

    /// Its node is done with it, or it came to nothing.
    pub fn end(&mut self, pod: &PodKey) {
        let Some(node) = self.pods.remove(pod) else { return };
        if let Some(on_node) = self.nodes.get_mut(&node) {
            *on_node = on_node.saturating_sub(1);
            if *on_node == 0 {
                self.nodes.remove(&node);
            }
        }
    }

    /// Pods that are gone are under way no longer.
    pub fn retain(&mut self, is_there: impl Fn(&PodKey) -> bool) {
        let gone: Vec<PodKey> = self.pods.keys().filter(|it| !is_there(it)).cloned().collect();
        gone.iter().for_each(|it| self.end(it));
    }

    /// The most there ever were.
    pub const fn most(&self) -> Most {
        self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_at_once_is_kept_for_each_kind() {
        let pod = |name: &str| PodKey::new("n", name, "u");
        let (one, two): (Arc<str>, Arc<str>) = ("n1".into(), "n2".into());
        let mut flights = Flights::default();
        flights.begin(&pod("a"), &one, true);
        flights.begin(&pod("b"), &two, true);
        assert_eq!(flights.most(), Most { can_wait: 1, cannot_wait: 0 });
        flights.begin(&pod("c"), &one, false);
        flights.begin(&pod("c"), &one, false);
        assert_eq!(flights.most(), Most { can_wait: 1, cannot_wait: 2 });
        flights.end(&pod("a"));
        flights.begin(&pod("d"), &one, true);
        assert_eq!(flights.most(), Most { can_wait: 2, cannot_wait: 2 });
        flights.retain(|it| *it == pod("b"));
        flights.end(&pod("d"));
        flights.begin(&pod("e"), &one, false);
        assert_eq!(flights.most(), Most { can_wait: 2, cannot_wait: 2 });
        assert_eq!(flights.pods.len(), 2);
    }
}
