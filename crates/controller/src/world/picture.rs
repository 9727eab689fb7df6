//! What is known of workloads at this moment, for metrics.

use std::sync::Arc;

use jiff::Timestamp;
use supple_decide::facts::{Phase, PodFacts};
use supple_decide::hand::Hand;
use supple_decide::numbers::Numbers;
use supple_decide::progress::Progress;
use supple_decide::round::{Decision, Proposal};
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
            for pod in pods.iter().filter(|it| holds(it) && is_ours(it, subject)) {
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
        // Decisions are in the order of pods, too: none has to be looked for.
        let mut decided = self.decisions.values().peekable();
        for pod in scene.pods.values() {
            if let Some(resizing) = Resizing::of(&pod.progress) {
                picture.resizes.push((pod.key.namespace.clone(), pod.key.name.clone(), resizing));
            }
            while let Some(decision) = decided.next_if(|it| it.pod <= pod.key) {
                if decision.pod == pod.key && holds(pod) {
                    could_save(picture.savings.entry(pod.key.namespace.clone()).or_default(), decision);
                }
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

/// Whether it takes room for what it asks for.
fn holds(pod: &PodFacts) -> bool {
    pod.phase != Phase::Ended && !pod.deleting
}

/// Whether we have made its sizes what they are: by a resize, or when it was created. What was never resized and is of an older
/// template, in the middle of a rollout, is what its team made it.
fn is_ours(pod: &PodFacts, subject: &Subject) -> bool {
    match pod.hand {
        Hand::Ours => true,
        Hand::Free => subject.facts.sized_at_creation && !subject.facts.rolling,
        Hand::Inherited | Hand::Theirs(_) => false,
    }
}

/// What one pod asks for less than it would without us: than its template says now, and where no template is known, or it says
/// nothing, than the first pod that was resized asked for.
fn save(savings: &mut Savings, pod: &PodFacts, subject: &Subject) {
    let nothing = Numbers::default();
    for container in &pod.containers {
        let template = subject.facts.template.get(&container.name).unwrap_or(&nothing);
        let original = subject.record.originals.get(&container.name).unwrap_or(&nothing);
        // A request that a pod is created without is its limit.
        let cpu = template.cpu_request.or(template.cpu_limit).or(original.cpu_request);
        let memory = template.memory_request.or(template.memory_limit).or(original.memory_request);
        let asked = container.asked;
        let cpu = cpu.zip(asked.cpu_request).map_or(0, |(then, now)| then.0.saturating_sub(now.0));
        let memory = memory.zip(asked.memory_request).map_or(0, |(then, now)| then.0.saturating_sub(now.0));
        savings.saved_cpu.0 = savings.saved_cpu.0.saturating_add(cpu);
        savings.saved_memory.0 = savings.saved_memory.0.saturating_add(memory);
    }
}

/// What one pod could ask for less, all of it together. That another one asks for too little makes it no smaller.
fn could_save(savings: &mut Savings, decision: &Decision) {
    let (mut cpu, mut memory) = (0_i64, 0_i64);
    for Proposal { now, due, .. } in &decision.containers {
        let less = now.cpu_request.zip(due.cpu_request).map_or(0, |(now, due)| now.0.saturating_sub(due.0));
        cpu = cpu.saturating_add(less);
        let less = now.memory_request.zip(due.memory_request).map_or(0, |(now, due)| now.0.saturating_sub(due.0));
        memory = memory.saturating_add(less);
    }
    savings.savable_cpu.0 = savings.savable_cpu.0.saturating_add(cpu.max(0));
    savings.savable_memory.0 = savings.savable_memory.0.saturating_add(memory.max(0));
}

#[cfg(test)]
mod tests {
    use supple_decide::hand::Other;
    use supple_decide::key::PodKey;

    use super::super::pressing_tests::{at, world};
    use super::*;
    use crate::event::Event;

    /// A namespace whose two pods ask for so much and are due so much, in thousandths of a core.
    #[track_caller]
    fn could_be_saved(pods: [(i64, i64); 2], change: fn(&mut PodFacts), expect: i64) {
        let mut world = world(&[("a", "n1"), ("b", "n1")]);
        world.apply(Event::Usage(Ok(Vec::new())), at(60));
        let mut decisions: Vec<Decision> = world.decisions.values().cloned().collect();
        assert_eq!(decisions.len(), pods.len());
        for (decision, (now, due)) in decisions.iter_mut().zip(pods) {
            let proposal = &mut Arc::make_mut(&mut decision.verdict).containers[0];
            (proposal.now.cpu_request, proposal.due.cpu_request) = (Some(MilliCpu(now)), Some(MilliCpu(due)));
        }
        world.decisions.take(decisions);
        change(world.view.scene.pods.get_mut(&PodKey::new("shop", "a", "a")).unwrap());
        let savings = world.picture(at(60)).savings["shop"];
        assert_eq!(savings, Savings { savable_cpu: MilliCpu(expect), ..Savings::default() }, "{pods:?}");
    }

    #[test]
    fn what_could_be_saved_of_one_pod_is_not_what_another_lacks() {
        could_be_saved([(3000, 1000), (1000, 3000)], |_| (), 2000);
        could_be_saved([(3000, 1000), (500, 200)], |_| (), 2300);
        could_be_saved([(500, 500), (500, 500)], |_| (), 0);
        could_be_saved([(3000, 1000), (500, 200)], |it| it.phase = Phase::Ended, 300);
        could_be_saved([(3000, 1000), (500, 200)], |it| it.deleting = true, 300);
    }

    /// Whose a pod is that asks for 100m, what its template (request and limit) and the first resized pod asked for, and what that
    /// saves.
    #[track_caller]
    fn is_saved(hand: Hand, template: Option<(Option<i64>, Option<i64>)>, original: Option<i64>, expect: i64) {
        is_saved_of(hand, template, original, |_| (), expect);
    }

    #[track_caller]
    fn is_saved_of(
        hand: Hand,
        template: Option<(Option<i64>, Option<i64>)>,
        original: Option<i64>,
        change: fn(&mut Subject),
        expect: i64,
    ) {
        let mut world = world(&[("a", "n1")]);
        world.apply(Event::Usage(Ok(Vec::new())), at(60));
        let scene = &mut world.view.scene;
        scene.pods.get_mut(&PodKey::new("shop", "a", "a")).unwrap().hand = hand;
        let subject = scene.workloads.values_mut().next().unwrap();
        let cpu = |request: Option<i64>, limit: Option<i64>| Numbers {
            cpu_request: request.map(MilliCpu),
            cpu_limit: limit.map(MilliCpu),
            ..Numbers::default()
        };
        subject.facts.template = template.into_iter().map(|it| ("app".into(), cpu(it.0, it.1))).collect();
        let record = Arc::make_mut(&mut subject.record);
        record.originals = original.into_iter().map(|it| ("app".into(), cpu(Some(it), None))).collect();
        change(subject);
        let saved = world.picture(at(0)).savings["shop"].saved_cpu;
        assert_eq!(saved, MilliCpu(expect), "{template:?}, {original:?}");
    }

    #[test]
    fn what_is_saved_is_less_than_the_template_says_and_by_our_hand() {
        is_saved(Hand::Ours, Some((Some(1000), None)), Some(4000), 900); // its team has lowered the template since
        is_saved(Hand::Ours, Some((Some(4000), None)), Some(1000), 3900); // and raised
        is_saved(Hand::Ours, Some((Some(50), None)), Some(1000), -50);
        is_saved(Hand::Ours, Some((None, Some(1000))), Some(4000), 900);
        is_saved(Hand::Ours, Some((None, None)), Some(1000), 900); // a default of its namespace
        is_saved(Hand::Ours, None, Some(1000), 900);
        is_saved(Hand::Ours, None, None, 0);
        is_saved(Hand::Theirs(Other::Unknown), Some((Some(1000), None)), Some(1000), 0);
        is_saved(Hand::Inherited, Some((Some(1000), None)), Some(1000), 0);
        is_saved(Hand::Free, Some((Some(1000), None)), Some(1000), 0);
        let at_creation: fn(&mut Subject) = |it| it.facts.sized_at_creation = true;
        is_saved_of(Hand::Free, Some((Some(1000), None)), None, at_creation, 900);
        let of_another_template: fn(&mut Subject) = |it| (it.facts.sized_at_creation, it.facts.rolling) = (true, true);
        is_saved_of(Hand::Free, Some((Some(1000), None)), None, of_another_template, 0);
    }
}
