//! Evictions by nodes that were short of something, which two sources tell: the status of the pod, and an event. Each counts and
//! teaches once, whoever tells first, and also where it was told to the process before us.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use supple_decide::facts::PodFacts;
use supple_decide::policy::Policy;

use super::World;
use crate::event::Effect;
use crate::source::eviction::Eviction;
use crate::source::incident::Incident;

/// For so long it is remembered which pods were evicted. Events are kept for an hour as a rule; what is told later than this is
/// learned no more.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24);

/// So many wait for the next round at most: a cluster in which more are evicted has other worries, and status tells them too.
const WAITING: usize = 4096;

/// What is known of evictions.
#[derive(Debug, Default)]
pub(super) struct Evictions {
    /// Told by events, to be looked at when it is known which pods there are and what was remembered of them.
    waiting: Vec<Eviction>,
    /// UIDs of pods whose eviction has counted, and when it was told.
    counted: BTreeMap<Arc<str>, Timestamp>,
}

impl Evictions {
    /// An event has told it.
    pub(super) fn wait(&mut self, eviction: Eviction) {
        if self.waiting.len() < WAITING {
            self.waiting.push(eviction);
        }
    }

    /// Forget those of long ago.
    pub(super) fn forget(&mut self, now: Timestamp) {
        self.counted.retain(|_, told| now.duration_since(*told) < REMEMBERED);
    }
}

impl World {
    /// The status of a pod says that it was evicted. Returns whether that is news.
    pub(super) fn evicted_by_status(&mut self, pod: &PodFacts, policy: &Policy, now: Timestamp) -> bool {
        if self.evictions.counted.contains_key(&pod.key.uid) {
            return false;
        }
        self.evictions.counted.insert(pod.key.uid.clone(), now);
        for (name, used) in pod.evicted.iter().flat_map(|it| it.iter()) {
            if let Some(container) = pod.containers.iter().find(|it| it.name == *name) {
                self.history.evicted(pod, container, *used, now, policy);
            }
        }
        true
    }

    /// Learn from what events have told since the last round. The pod may be gone; then one stands for it that has its name, or that
    /// the same template made.
    pub(super) fn evicted_by_events(&mut self, now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        for Eviction { namespace, pod, uid, at, used } in std::mem::take(&mut self.evictions.waiting) {
            let found = self.view.pod(&namespace, &pod).or_else(|| self.view.sibling(&namespace, &pod));
            let at = at.min(now); // by the clock of a node
            let is_old = now.duration_since(at) >= REMEMBERED || self.evictions.counted.contains_key(&uid);
            let Some(pod) = found.filter(|_| !is_old).cloned() else { continue };
            let policy = self.policy_of(&pod.workload);
            let mut is_news = false;
            for (name, used) in used.iter() {
                let Some(container) = pod.containers.iter().find(|it| it.name == *name) else { continue };
                // Events are told again after a restart: what is not beyond all that is remembered was learned before it.
                if !self.history.has_seen(&pod.workload, name, *used, at) {
                    is_news |= self.history.evicted(&pod, container, *used, at, &policy);
                }
            }
            if is_news {
                self.evictions.counted.insert(uid, now);
                effects.push(Effect::Count(Incident::Evicted));
            }
        }
        effects
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use supple_quantity::Bytes;

    use super::super::pressing_tests::{at, pod, told, world, world_that};
    use super::*;
    use crate::event::Event;
    use crate::history_file::Page;
    use crate::view::News;
    use kube::runtime::watcher::Event as Seen;

    const MIB: i64 = 1 << 20;

    /// The container used 700 MiB, says an event about the pod of this name and UID.
    fn by_event(name: &str, uid: &str, second: i64) -> Event {
        Event::Evicted(Box::new(Eviction {
            namespace: "shop".into(),
            pod: name.into(),
            uid: uid.into(),
            at: at(second),
            used: [("app".into(), Bytes(700 * MIB))].into_iter().collect(),
        }))
    }

    /// The same in the status of `a`, whose UID is its name.
    fn by_status() -> Event {
        let News::Pod(Seen::Apply(mut pod)) = pod("a", "n1") else { panic!("it is one") };
        let status = pod.status.as_mut().unwrap();
        (status.phase, status.reason) = (Some("Failed".to_owned()), Some("Evicted".to_owned()));
        let message = "Container app was using 700Mi, request is 100Mi, has larger consumption of memory. ";
        status.message = Some(message.to_owned());
        Event::News(Box::new(News::Pod(Seen::Apply(pod))))
    }

    fn round(world: &mut World, second: i64) -> Vec<Effect> {
        world.apply(Event::Usage(Ok(Vec::new())), at(second))
    }

    fn counted(effects: &[Effect]) -> usize {
        effects.iter().filter(|it| matches!(it, Effect::Count(Incident::Evicted))).count()
    }

    /// A pod that uses 90 MiB, from this minute to that.
    fn uses_little(world: &mut World, minutes: std::ops::Range<i64>) {
        for minute in minutes {
            world.apply(told("a", 90, minute * 60), at(minute * 60));
        }
    }

    /// A pod that has used 90 MiB for an hour.
    fn steady() -> World {
        let mut world = world(&[("a", "n1")]);
        uses_little(&mut world, 1..60);
        round(&mut world, 3599);
        world
    }

    /// What it is to have an hour and a bit later, in MiB.
    fn needed(world: &mut World) -> i64 {
        uses_little(world, 61..130);
        let facts = world.view.pod("shop", "a").unwrap().clone();
        let asked = |_: &str| Some((facts.key.clone(), facts.containers[0].asked));
        let needs = world.history.needs(&facts.workload, at(130 * 60), asked);
        needs.get("app").and_then(|it| it.memory.as_ref()).map_or(0, |it| it.target.0 / MIB)
    }

    /// All that is learned of these words, and how often it is counted.
    #[track_caller]
    fn check(words: Vec<Event>, expect: (usize, i64)) {
        let mut world = steady();
        let mut times = 0;
        for (second, word) in (3601..).zip(words) {
            times += counted(&world.apply(word, at(second)));
            times += counted(&round(&mut world, second));
        }
        assert_eq!((times, needed(&mut world)), expect);
    }

    #[test]
    fn whoever_tells_first_an_eviction_counts_and_teaches_once() {
        let taught = {
            let mut world = steady();
            world.apply(by_status(), at(3601));
            needed(&mut world)
        };
        assert!(taught >= 700, "{taught}");
        check(vec![by_status(), by_event("a", "a", 3600)], (1, taught));
        check(vec![by_event("a", "a", 3600), by_status(), by_event("a", "a", 3600)], (1, taught));
        check(vec![by_event("a", "a", 3600), by_event("a", "a", 3600)], (1, taught));
    }

    #[test]
    fn each_of_several_evictions_of_a_workload_counts_once_whoever_tells_of_it() {
        let mut world = steady();
        let times = |world: &mut World, word: Event, second: i64| {
            world.apply(word, at(second));
            counted(&round(world, second))
        };
        for told_again in [1, 0] {
            for (uid, second) in [("one before", 3600), ("another", 3610), ("a third", 3620)] {
                assert_eq!(times(&mut world, by_event("a", uid, second), second + 60), told_again, "{uid}");
            }
        }
        // What was told when it happened, and is told again when nobody knows of it any more, is nothing new.
        let day = 24 * 3600;
        assert_eq!(times(&mut world, by_event("a", "one before", 3600), 3600 + day + 60), 0);
    }

    #[test]
    fn of_a_pod_that_is_gone_its_successor_and_its_siblings_stand_for_it() {
        let taught = |event| {
            let mut world = world(&[("a", "n1")]);
            let owner = json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "agent", "uid": "d", "controller": true}]);
            for name in ["agent-x7k2p", "agent-log-b4c5d"] {
                let News::Pod(Seen::Apply(mut pod)) = pod(name, "n1") else { panic!("it is one") };
                pod.metadata.owner_references = serde_json::from_value(owner.clone()).unwrap();
                world.apply(Event::News(Box::new(News::Pod(Seen::Apply(pod)))), at(0));
            }
            round(&mut world, 1);
            world.apply(event, at(10));
            counted(&round(&mut world, 15))
        };
        assert_eq!(taught(by_event("a", "the one before", 10)), 1);
        assert_eq!(taught(by_event("agent-zzzzz", "gone", 10)), 1);
        for unknown in ["b", "agent", "agent-1", "agent-zzzz-zzzzz", "a-zzzzz"] {
            assert_eq!(taught(by_event(unknown, "gone", 10)), 0, "{unknown}");
        }
    }

    #[test]
    fn what_was_learned_before_a_restart_is_not_learned_from_its_event_again() {
        let mut before = world(&[("a", "n1")]);
        before.keep(Vec::new());
        round(&mut before, 1);
        before.apply(by_event("a", "a", 10), at(10));
        round(&mut before, 15);
        let kept = before.last_words(at(20)).into_iter().find_map(|it| match it {
            Effect::Keep(pages) => Some(pages),
            _ => None,
        });
        let restarted = |pages: Vec<Page>| {
            let mut after = world_that_keeps(pages);
            after.apply(by_event("a", "a", 10), at(30));
            counted(&round(&mut after, 31))
        };
        let kept = kept.unwrap();
        assert_eq!(restarted(kept.clone()), 0);
        // The newest sample that was saved is of long before: nobody was there to see it.
        let fresh = Some(at(10 - 600));
        assert_eq!(restarted(kept.into_iter().map(|it| Page { fresh, ..it }).collect()), 1);
        assert_eq!(restarted(Vec::new()), 1, "while nobody looked");
    }

    /// A world that goes on from a file.
    fn world_that_keeps(pages: Vec<Page>) -> World {
        let mut world = world_that(&[("a", "n1")], |it| it.keep(pages));
        round(&mut world, 1);
        world
    }
}
