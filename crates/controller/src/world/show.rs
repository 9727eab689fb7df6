//! What there is to see of the loop.

use supple_decide::policy::Mode;
use supple_decide::progress::Progress;
use supple_resize::resources::ContainerKind;

use super::World;
use crate::snapshot::{MOST_ROWS, Row, Snapshot};

impl World {
    /// What is to be seen: one row a container of each pod that we may resize. With `all`, of every pod.
    pub fn snapshot(&self, all: bool) -> Snapshot {
        let scene = &self.view.scene;
        let (mut rows, mut total) = (Vec::new(), 0);
        for (key, pod) in &scene.pods {
            let Some(subject) = scene.workloads.get(&pod.workload) else { continue };
            if !all && subject.policy.mode.value <= Mode::Initial {
                continue;
            }
            total += pod.containers.iter().filter(|it| it.kind != ContainerKind::Init).count();
            if rows.len() >= MOST_ROWS {
                continue;
            }
            let decision = self.decisions.get(key);
            let state = match decision {
                Some(it) => it.message.clone(),
                None => "not looked at yet".to_owned(),
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
                    last: self.last.get(key).cloned(),
                });
            }
        }
        Snapshot { rows, total, blind: self.blind.clone(), pods: scene.pods.len() }
    }
}
