//! Kills for want of memory that nobody saw: the container was killed before we began, or while no controller ran. Its status says so
//! when its pod is seen for the first time; each is learned and counted once, if not by the process before us.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use supple_decide::facts::PodFacts;
use supple_decide::key::PodKey;

use super::World;
use crate::event::Effect;
use crate::source::incident::{Incident, Mark};

/// A kill of before that says nothing about today: the recommender plans memory by the peaks of a week.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What is not dealt with yet.
#[derive(Debug, Default)]
pub(super) struct Unseen {
    /// Pods that had such a kill behind them when they were seen for the first time.
    waiting: BTreeSet<PodKey>,
    /// Kills that have been learned and are to be counted.
    uncounted: Vec<Incident>,
}

impl Unseen {
    /// What befell a pod since it was marked. Of one that was not known its status tells what came before us: that has to wait until
    /// what was remembered of its workload has been taken in.
    pub(super) fn befell(&mut self, before: Option<&Mark>, pod: &PodFacts) -> Vec<Incident> {
        let Some(before) = before.filter(|it| it.is_of(pod)) else {
            if pod.containers.iter().any(|it| it.last_end.is_some_and(|it| it.out_of_memory)) {
                self.waiting.insert(pod.key.clone());
            }
            return Vec::new();
        };
        let incidents = before.since(pod);
        if incidents.iter().any(|it| matches!(it, Incident::OutOfMemory(..))) {
            self.waiting.remove(&pod.key); // it was killed again: its status does not tell the kill before that any more
        }
        incidents
    }
}

impl World {
    /// Learn from the kills that nobody saw, of pods whose workloads are known by now.
    pub(super) fn learn_unseen_kills(&mut self, now: Timestamp) {
        for key in std::mem::take(&mut self.kept.kills.waiting) {
            let Some(pod) = self.view.scene.pods.get(&key).cloned() else { continue };
            // By a clock that is ahead: it cannot be told yet what came after it, a resize or what was saved.
            let is_ahead =
                pod.containers.iter().any(|it| it.last_end.is_some_and(|it| it.out_of_memory && it.at > now));
            if is_ahead || !self.kept.has_seen(&pod.workload) {
                self.kept.kills.waiting.insert(key);
                continue;
            }
            let policy = self.policy_of(&pod.workload);
            for (place, container) in pod.containers.iter().enumerate() {
                let Some(end) = container.last_end.filter(|it| it.out_of_memory) else { continue };
                let is_old = now.duration_since(end.at) >= REMEMBERED;
                if !is_old && !self.history.has_seen_kill(&pod.workload, &container.name, end.at) {
                    self.history.killed_unseen(&pod, container, end.at, now, &policy);
                    self.kept.kills.uncounted.push(Incident::OutOfMemory(place, end.at));
                }
            }
        }
    }

    /// Count those that have been learned since this was last called.
    pub(super) fn count_unseen_kills(&mut self) -> impl Iterator<Item = Effect> + use<> {
        std::mem::take(&mut self.kept.kills.uncounted).into_iter().map(Effect::Count)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use supple_decide::need::Wanted;
    use supple_decide::round::What;
    use supple_quantity::Bytes;

    use super::super::pressing_tests::{at, pod, told, world, world_that};
    use super::*;
    use crate::event::Event;
    use crate::history_file::Page;
    use crate::view::News;
    use kube::runtime::watcher::Event as Seen;

    const MIB: i64 = 1 << 20;

    /// The pod `a`, whose limit is 200 MiB, as it is; killed then, if at all.
    fn a(killed: Option<i64>) -> Event {
        let News::Pod(Seen::Apply(mut pod)) = pod("a", "n1") else { panic!("it is one") };
        let status = &mut pod.status.as_mut().unwrap().container_statuses.as_mut().unwrap()[0];
        status.restart_count = i32::from(killed.is_some());
        let end =
            |second: i64| json!({"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": at(second)}});
        status.last_state = killed.map(|it| serde_json::from_value(end(it)).unwrap());
        Event::News(Box::new(News::Pod(Seen::Apply(pod))))
    }

    /// The same after a resize by the loop, then, from these limits of memory.
    fn resized(event: Event, then: i64, before: &str) -> Event {
        let Event::News(news) = event else { panic!("it is some") };
        let News::Pod(Seen::Apply(mut pod)) = *news else { panic!("it is one") };
        let sizes = |limit: &str| json!({"app": {"memoryLimit": limit}});
        let note = json!({"by": "controller", "at": at(then), "generation": 1, "before": sizes(before), "after": sizes("200Mi")});
        pod.metadata.generation = Some(2);
        pod.metadata.annotations = Some([(supple_api::names::LAST_RESIZE.to_owned(), note.to_string())].into());
        let managed: Value =
            json!([{"manager": "supple", "operation": "Update", "subresource": "resize", "time": at(then)}]);
        pod.metadata.managed_fields = serde_json::from_value(managed).unwrap();
        Event::News(Box::new(News::Pod(Seen::Apply(pod))))
    }

    fn round(world: &mut World, second: i64) -> Vec<Effect> {
        world.apply(Event::Usage(Ok(Vec::new())), at(second))
    }

    fn counted(effects: &[Effect]) -> usize {
        effects.iter().filter(|it| matches!(it, Effect::Count(Incident::OutOfMemory(..)))).count()
    }

    /// What is done to the pod, and the memory it has from then on, in MiB.
    fn done(effects: &[Effect]) -> Option<(bool, i64)> {
        effects.iter().find_map(|it| {
            let Effect::Carry(order) = it else { return None };
            let change = order.action.what.change()?;
            let limit = change.containers["app"].memory_limit.as_ref()?;
            Some((matches!(order.action.what, What::RollBack(_)), Bytes::from(limit).0 / MIB))
        })
    }

    fn memory(world: &World) -> Wanted<Bytes> {
        let (_, subject) = world.scene().workloads.iter().find(|it| &*it.0.name == "a").unwrap();
        subject.needs["app"].memory.clone().unwrap()
    }

    fn needed(world: &World) -> i64 {
        memory(world).target.0 / MIB
    }

    #[test]
    fn a_kill_by_a_clock_that_is_ahead_is_learned_when_its_time_has_come() {
        let mut world = world(&[("other", "n1")]);
        world.apply(a(Some(600)), at(0));
        let counts = [1, 599, 600, 601].map(|second| counted(&round(&mut world, second)));
        assert_eq!(counts, [0, 0, 1, 0]);
    }

    #[test]
    fn a_kill_before_we_began_is_learned_and_counted_once() {
        let mut world = world(&[("other", "n1")]);
        world.apply(a(Some(-60)), at(0));
        let effects = round(&mut world, 1);
        assert_eq!(counted(&effects), 1);
        assert!(done(&effects).is_some_and(|(back, to)| !back && to > 200), "{:?}", done(&effects));
        world.apply(a(Some(-60)), at(2));
        assert_eq!(counted(&round(&mut world, 3)), 0, "it is told again, and nothing else");
        let effects = world.apply(a(Some(4)), at(5));
        assert_eq!(counted(&effects), 1, "the next one is seen as it happens");
        assert_eq!(counted(&round(&mut world, 6)), 0);
    }

    #[test]
    fn a_kill_of_long_ago_is_learned_without_haste() {
        for (killed, is_urgent) in [(-20 * 3600, false), (-60, true)] {
            let mut world = world(&[("other", "n1")]);
            world.apply(a(Some(killed)), at(0));
            assert_eq!(counted(&round(&mut world, 1)), 1);
            let memory = memory(&world);
            assert!(memory.target.0 > 200 * MIB && memory.urgent == is_urgent, "{killed}: {memory:?}");
        }
    }

    #[test]
    fn a_kill_of_weeks_ago_is_no_use_of_today() {
        let mut world = world(&[("other", "n1")]);
        world.apply(a(Some(-8 * 24 * 3600)), at(0));
        let effects = round(&mut world, 1);
        assert_eq!((counted(&effects), done(&effects)), (0, None));
    }

    #[test]
    fn of_two_kills_before_it_is_known_what_was_remembered_the_last_counts() {
        let mut world = World::new(super::super::Settings::default());
        world.apply(a(Some(-60)), at(0));
        let times = counted(&world.apply(a(Some(1)), at(1)));
        assert!(times == 1 && world.kept.kills.waiting.is_empty());
    }

    /// What a process kept that saw the pod use little, and be killed at the end, if so.
    fn kept(killed: Option<i64>) -> Vec<Page> {
        let mut world = world_that(&[("other", "n1")], |it| it.keep(Vec::new()));
        world.apply(a(None), at(0));
        for second in [100, 200, 300] {
            world.apply(told("a", 90, second), at(second));
            round(&mut world, second);
        }
        if let Some(second) = killed {
            assert_eq!(counted(&world.apply(a(Some(second)), at(second))), 1);
        }
        let effects = world.last_words(at(400));
        effects.into_iter().find_map(|it| if let Effect::Keep(pages) = it { Some(pages) } else { None }).unwrap()
    }

    /// How often a kill counts that the process after that finds.
    #[track_caller]
    fn check(kept: Vec<Page>, killed: i64, expect: usize) {
        let mut world = world_that(&[("other", "n1")], |it| it.keep(kept));
        world.apply(a(Some(killed)), at(10_000));
        let times = counted(&round(&mut world, 10_001));
        assert_eq!((times, needed(&world) > 200), (expect, true), "{killed}");
    }

    #[test]
    fn a_kill_is_learned_once_over_a_restart_and_one_while_nobody_looked_then() {
        check(kept(Some(310)), 310, 0); // seen as it happened, after the newest sample
        check(kept(Some(310)), 5000, 1);
        check(kept(None), 310, 1); // the process had just ended
        check(kept(None), 5000, 1);
    }

    #[test]
    fn a_resize_after_which_it_was_killed_while_nobody_looked_is_rolled_back() {
        let mut world = world(&[("other", "n1")]);
        world.apply(resized(a(Some(-60)), -90, "400Mi"), at(0));
        let effects = round(&mut world, 1);
        assert_eq!((counted(&effects), done(&effects)), (1, Some((true, 400))));
    }

    #[test]
    fn a_kill_before_a_resize_was_one_at_the_size_before_it() {
        let mut world = world(&[("other", "n1")]);
        world.apply(resized(a(Some(-90)), -60, "100Mi"), at(0));
        let effects = round(&mut world, 1);
        assert_eq!((counted(&effects), done(&effects)), (1, None), "it has more than that by now");
        for minute in 1..90 {
            world.apply(told("a", 90, minute * 60), at(minute * 60));
        }
        round(&mut world, 90 * 60);
        assert!((110..200).contains(&needed(&world)), "{}", needed(&world));
    }
}
