//! Readings of `metrics.k8s.io`: what [`crate::usage`] has read, in the common form.

use std::sync::Arc;

use super::{Reading, Source};
use crate::usage::PodUse;

/// The readings in one pod's metrics.
pub fn readings(used: &PodUse) -> impl Iterator<Item = Reading> + '_ {
    let (namespace, pod): (Arc<str>, Arc<str>) = (used.namespace.as_str().into(), used.name.as_str().into());
    used.containers.iter().map(move |(container, sample)| Reading {
        namespace: namespace.clone(),
        pod: pod.clone(),
        container: container.as_str().into(),
        source: Source::MetricsApi,
        usage: *sample,
        oom_kills: None,
    })
}

#[cfg(test)]
mod tests {
    use supple_decide::need::Use;
    use supple_quantity::{Bytes, MilliCpu};

    use super::*;

    #[test]
    fn what_the_api_does_not_tell_is_not_zero() {
        let at = "2026-01-01T00:00:00Z".parse().unwrap();
        let sample = Use { cpu: Some(MilliCpu(13)), memory: Some(Bytes(1 << 20)), ..Use::at(at) };
        let used = PodUse { namespace: "d".into(), name: "p".into(), containers: [("c".to_owned(), sample)].into() };
        let read: Vec<Reading> = readings(&used).collect();
        assert_eq!(read.len(), 1);
        let Reading { pod, container, usage, oom_kills, .. } = &read[0];
        assert_eq!((pod.as_ref(), container.as_ref()), ("p", "c"));
        assert_eq!(
            (usage.cpu, usage.memory, usage.swap, *oom_kills),
            (Some(MilliCpu(13)), Some(Bytes(1 << 20)), None, None)
        );
    }
}
