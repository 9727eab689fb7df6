//! Something for each pod of a workload, in the order of their numbers: a list without room to spare, because most workloads have
//! only a few pods, and a map would make room for eleven.

use crate::strategy::Pod;

/// What is known of each pod.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pods<T>(Vec<(Pod, T)>);

impl<T: Default> Pods<T> {
    /// None yet.
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// What is known of a pod, which is nothing at first.
    pub(crate) fn of(&mut self, pod: Pod) -> &mut T {
        let at = self.place(pod).unwrap_or_else(|at| {
            if self.0.len() == self.0.capacity() {
                self.0.reserve_exact(1 + self.0.len() / 8);
            }
            self.0.insert(at, (pod, T::default()));
            at
        });
        &mut self.0[at].1
    }

    /// What is known of a pod, where anything is.
    pub(crate) fn get(&self, pod: Pod) -> Option<&T> {
        self.place(pod).ok().map(|at| &self.0[at].1)
    }

    /// Forgets a pod.
    pub(crate) fn forget(&mut self, pod: Pod) {
        if let Ok(at) = self.place(pod) {
            self.0.remove(at);
            self.0.shrink_to_fit();
        }
    }

    /// Where a pod stands, or would. Whoever numbers them one after another need not have them looked for.
    fn place(&self, pod: Pod) -> Result<usize, usize> {
        let guess = usize::try_from(pod).unwrap_or(usize::MAX);
        if self.0.get(guess).is_some_and(|it| it.0 == pod) {
            return Ok(guess);
        }
        self.0.binary_search_by_key(&pod, |it| it.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn like_a_map(steps in prop::collection::vec((0u32..9, any::<bool>()), 0..60), far in 0u32..4) {
            let (mut pods, mut map) = (Pods::<u32>::new(), BTreeMap::<Pod, u32>::new());
            for (pod, known) in steps {
                let pod = pod * (1 + far);
                if known {
                    *pods.of(pod) += 1;
                    *map.entry(pod).or_default() += 1;
                } else {
                    pods.forget(pod);
                    map.remove(&pod);
                }
                prop_assert_eq!(pods.0.clone(), map.iter().map(|it| (*it.0, *it.1)).collect::<Vec<_>>());
                prop_assert_eq!(pods.get(pod), map.get(&pod));
            }
        }
    }
}
