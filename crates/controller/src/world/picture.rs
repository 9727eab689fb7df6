//! What is known of workloads at this moment, for metrics.

use std::sync::Arc;

use jiff::Timestamp;
use supple_decide::facts::PodFacts;
use supple_decide::progress::Progress;
use supple_decide::scene::Subject;
use supple_quantity::{Bytes, MilliCpu};

use super::World;
use crate::metrics::{ContainerPicture, Pending, PendingPods, Picture, Resizing, Savings};

impl World {
    /// The picture of this moment.
    pub fn picture(&self, now: Timestamp) -> Picture {
        let scene = &self.view.scene;
        let (in_flight, most) = (self.in_flight.len() as u64, self.flights.most());
        let mut picture = Picture { in_flight, most_on_a_node: most, ..Picture::default() };
        for (workload, subject) in &scene.workloads {
            let pods: Vec<&PodFacts> = self.pods_of(workload).collect();
            picture.pods.insert(workload.clone(), u32::try_from(pods.len()).unwrap_or(u32::MAX));
            for (container, need) in &subject.needs {
                let (requested, used) = self.means(&pods, container);
                picture.containers.push(ContainerPicture {
                    workload: workload.clone(),
                    container: container.clone(),
                    recommended: (need.cpu.as_ref().map(|it| it.target), need.memory.as_ref().map(|it| it.target)),
                    requested,
                    used,
                });
            }
            let savings = picture.savings.entry(workload.namespace.clone()).or_default();
            for pod in &pods {
                save(savings, pod, subject);
            }
            for (state, is) in [
                (Pending::Deferred, (|it| matches!(it, Progress::Deferred(_))) as fn(&Progress) -> bool),
                (Pending::Infeasible, |it| matches!(it, Progress::Infeasible(_))),
            ] {
                let waiting = || pods.iter().filter(|it| is(&it.progress));
                let count = waiting().count() as u64;
                if count > 0 {
                    let since = waiting().filter_map(|it| it.progress_since).min().map_or(now, Timestamp::from);
                    picture.pending.push(PendingPods { workload: workload.clone(), state, pods: count, since });
                }
            }
        }
        for pod in scene.pods.values() {
            if let Some(resizing) = Resizing::of(&pod.progress) {
                picture.resizes.push((pod.key.namespace.clone(), pod.key.name.clone(), resizing));
            }
        }
        for decision in self.decisions.values() {
            *picture.decided.entry(decision.code).or_default() += 1;
        }
        picture
    }

    /// Of one container over the pods: the mean request of CPU and memory; the mean use of CPU and the largest of memory.
    #[expect(clippy::type_complexity, reason = "two pairs, named by their use in `ContainerPicture`")]
    fn means(
        &self,
        pods: &[&PodFacts],
        name: &Arc<str>,
    ) -> ((Option<MilliCpu>, Option<Bytes>), (Option<MilliCpu>, Option<Bytes>)) {
        let asked = || pods.iter().filter_map(|it| it.containers.iter().find(|it| it.name == *name)).map(|it| it.asked);
        let uses = &self.view.scene.uses;
        let used = || pods.iter().filter_map(|it| uses.get(&it.key)?.get(name));
        let requested = (
            mean(asked().filter_map(|it| it.cpu_request).map(|it| it.0)).map(MilliCpu),
            mean(asked().filter_map(|it| it.memory_request).map(|it| it.0)).map(Bytes),
        );
        let largest = used().filter_map(|it| it.memory).max();
        (requested, (mean(used().filter_map(|it| it.cpu).map(|it| it.0)).map(MilliCpu), largest))
    }
}

fn mean(values: impl Iterator<Item = i64>) -> Option<i64> {
    let (mut sum, mut count) = (0_i128, 0_i128);
    for value in values {
        sum += i128::from(value);
        count += 1;
    }
    sum.checked_div(count).and_then(|it| i64::try_from(it).ok())
}

/// What one pod asks for less than before us, and what it could ask for less.
fn save(savings: &mut Savings, pod: &PodFacts, subject: &Subject) {
    let originals = &subject.record.originals;
    for container in &pod.containers {
        let asked = container.asked;
        if let Some(original) = originals.get(&*container.name) {
            let cpu = original.cpu_request.zip(asked.cpu_request).map_or(0, |(then, now)| then.0 - now.0);
            let memory = original.memory_request.zip(asked.memory_request).map_or(0, |(then, now)| then.0 - now.0);
            savings.saved_cpu.0 = savings.saved_cpu.0.saturating_add(cpu);
            savings.saved_memory.0 = savings.saved_memory.0.saturating_add(memory);
        }
        if let Some(need) = subject.needs.get(&container.name) {
            let cpu = need.cpu.as_ref().zip(asked.cpu_request).map_or(0, |(need, now)| now.0 - need.target.0);
            let memory = need.memory.as_ref().zip(asked.memory_request).map_or(0, |(need, now)| now.0 - need.target.0);
            savings.savable_cpu.0 = savings.savable_cpu.0.saturating_add(cpu);
            savings.savable_memory.0 = savings.savable_memory.0.saturating_add(memory);
        }
    }
}
