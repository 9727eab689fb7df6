//! What there is to see of the loop.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use supple_decide::facts::PodFacts;
use supple_decide::key::WorkloadKey;
use supple_decide::policy::Mode;
use supple_decide::progress::Progress;
use supple_resize::resources::ContainerKind;

use super::World;
use crate::snapshot::{MOST_ROWS, Row, Snapshot, Waits};
use crate::view::Said;

impl World {
    /// What a workload says of itself.
    pub(crate) fn said_of(&self, workload: &WorkloadKey) -> Said<'_> {
        self.view.said(workload)
    }

    /// Whether a namespace has this label.
    pub(crate) fn is_labelled(&self, namespace: &str, label: &str) -> bool {
        let is_it = |it: &ObjectMeta| it.name.as_deref() == Some(namespace);
        self.view.namespaces().find(is_it).is_some_and(|it| it.labels.is_some_and(|it| it.contains_key(label)))
    }

    /// What is to be seen: one row a container of each pod that we may resize.
    pub fn snapshot(&self) -> Snapshot {
        let scene = &self.view.scene;
        let (mut rows, mut total) = (Vec::new(), 0);
        // What is being resized, or waits to be, is shown however many others there are.
        let moving = |it: &PodFacts| {
            scene.acting.contains_key(&it.key) || matches!(it.progress, Progress::Underway | Progress::Deferred(_))
        };
        let first = scene.pods.iter().filter(|it| moving(it.1));
        for (key, pod) in first.chain(scene.pods.iter().filter(|it| !moving(it.1))) {
            let Some(subject) = scene.workloads.get(&pod.workload) else { continue };
            if subject.policy.mode.value <= Mode::Initial {
                continue;
            }
            total += pod.containers.iter().filter(|it| it.kind != ContainerKind::Init).count();
            if rows.len() >= MOST_ROWS {
                continue;
            }
            let decision = self.decisions.get(key);
            let state = match decision {
                Some(it) => it.message.clone(),
                None => "not checked yet".to_owned(),
            };
            let waits = match &pod.progress {
                Progress::Deferred(why) => {
                    Some(Waits { since: pod.progress_since.map(Timestamp::from), why: why.clone() })
                }
                _ => None,
            };
            for container in pod.containers.iter().filter(|it| it.kind != ContainerKind::Init) {
                let used = scene.uses.get(key).and_then(|it| it.get(&container.name));
                let proposal = decision.and_then(|it| it.containers.iter().find(|it| it.container == container.name));
                rows.push(Row {
                    namespace: key.namespace.to_string(),
                    pod: key.name.to_string(),
                    workload: pod.workload.clone(),
                    container: container.name.to_string(),
                    asked: container.asked,
                    used: used.and_then(|it| Some((it.cpu?, it.memory?))),
                    next: proposal.map(|it| it.next).filter(|it| *it != container.asked),
                    state: state.clone(),
                    in_flight: matches!(pod.progress, Progress::Underway),
                    waits: waits.clone(),
                    last: self.last.get(key).cloned(),
                });
            }
        }
        Snapshot { rows, total, blind: self.blind.clone(), pods: scene.pods.len() }
    }
}
