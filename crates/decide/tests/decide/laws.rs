//! What must hold of what is decided for a world, whoever is in it.

use std::sync::Arc;

use proptest::prelude::*;

use supple_decide::code::Code;
use supple_decide::facts::{Noted, Phase};
use supple_decide::hand::Hand;
use supple_decide::note::{Author, LastResize};
use supple_decide::numbers::Numbers;
use supple_decide::policy::Mode;
use supple_decide::progress::Progress;
use supple_decide::record::TOO_SMALL_KEPT;
use supple_decide::round::{Action, Outcome, Round, What};
use supple_resize::admission::quota;
use supple_resize::allocate::Used;
use supple_resize::amounts::{Requirement, Resource};
use supple_resize::guard::MemoryUsage;
use supple_resize::predict::{Change, NamespaceSight, NodeObject, NodeSight, predict};
use supple_resize::qos;

use super::cases::count;
use super::stage::*;
use super::world::{World, rule};

impl World {
    /// What holds of every decision.
    pub fn look(&mut self, round: &Round) -> Result<(), TestCaseError> {
        let names: Vec<_> = round.decisions.iter().map(|it| &it.pod).collect();
        rule!(self, names == self.stage.scene.pods.keys().collect::<Vec<_>>(), "each pod is judged once");
        for decision in &round.decisions {
            rule!(
                self,
                !decision.message.is_empty() && decision.findings.is_sorted_by_key(|it| it.check),
                "{}",
                told(decision)
            );
            let acts =
                round.actions.iter().any(|it| it.pod == decision.pod && !matches!(it.what, What::SettleScaler(_)));
            let due = decision.containers.iter().any(|it| it.next != it.now || it.due != it.now);
            let obstacle = decision.findings.iter().any(|it| it.outcome != Outcome::Clamped);
            rule!(
                self,
                acts || !due || (obstacle && decision.code != Code::Fits),
                "nothing says what holds it: {}",
                told(decision)
            );
            rule!(
                self,
                decision.again.is_none_or(|it| it > self.stage.now),
                "it will be otherwise in the past: {}",
                told(decision)
            );
            for it in &decision.containers {
                for resource in [Resource::Cpu, Resource::Memory] {
                    let (request, limit) =
                        (it.next.get(resource, Requirement::Request), it.next.get(resource, Requirement::Limit));
                    let now = it.now.get(resource, Requirement::Limit);
                    rule!(
                        self,
                        request.zip(limit).is_none_or(|(request, limit)| request <= limit)
                            && limit.is_some() == now.is_some(),
                        "{}",
                        told(decision)
                    );
                }
            }
        }
        Ok(())
    }

    pub fn carry_out(&mut self, round: &Round) -> Result<(), TestCaseError> {
        let facts = &self.stage.scene.namespaces[NAMESPACE];
        let mut namespace = NamespaceSight { limit_ranges: facts.limit_ranges.clone(), quotas: facts.quotas.clone() };
        let before = Stage { scene: self.stage.scene.clone(), now: self.stage.now };
        for (key, record) in &round.records {
            self.stage.scene.workloads.get_mut(key).unwrap().record = Arc::new(record.clone());
        }
        for action in &round.actions {
            let told = match &action.what {
                What::Resize(change) | What::RollBack(change) | What::AdjustScaler { change, .. } => {
                    let changes: Vec<_> = change
                        .containers
                        .iter()
                        .map(|(name, it)| format!("{name} {}", show(&Numbers::of(it))))
                        .collect();
                    format!("{} {}: {} | {}", action.pod.name, action.code, changes.join("; "), action.why)
                }
                what => format!("{} {what:?}: {}", action.pod.name, action.why),
            };
            self.tell(told);
            self.done.push((action.pod.clone(), action.what.clone()));
            if let What::SettleScaler(_) = action.what {
                rule!(self, self.stage.scene.cluster.stopped.is_none(), "stopped, and {action:?}");
                self.stage.aim_at(action);
                continue;
            }
            self.may_act(&before, round, action)?;
            let Some(change) = action.what.change() else {
                match action.what {
                    What::Evict => self.stage.scene.pods.get_mut(&action.pod).unwrap().deleting = true,
                    _ => self.stage.scene.workloads.get_mut(&action.workload).unwrap().facts.rolling = true,
                }
                continue;
            };
            self.make(action, change, &mut namespace)?;
        }
        count(&mut self.stage);
        Ok(())
    }

    /// Whether this may be done at all, by what stood before the round.
    pub fn may_act(&self, before: &Stage, round: &Round, action: &Action) -> Result<(), TestCaseError> {
        let scene = &before.scene;
        let (pod, subject, now) = (&scene.pods[&action.pod], &scene.workloads[&action.workload], before.now);
        let policy = &subject.policy;
        let mode = pod.mode_under(policy).value;
        rule!(self, mode > Mode::Initial && scene.cluster.stopped.is_none(), "{mode:?} {action:?}");
        rule!(
            self,
            policy.pause.value.as_ref().is_none_or(|it| !it.holds(now)) && !pod.words.contains_key("supple.dev/paused"),
            "paused: {action:?}"
        );
        rule!(self, !matches!(pod.hand, Hand::Theirs(_)), "another hand: {action:?}");
        rule!(self, !pod.deleting && pod.phase == Phase::Running, "{action:?}");
        let decision = round.decisions.iter().find(|it| it.pod == action.pod).unwrap();
        let refused = decision.findings.iter().find(|it| it.container.is_none() && it.outcome == Outcome::Refused);
        rule!(self, refused.is_none(), "it is refused and done: {action:?} {refused:?}");
        let Some(change) = action.what.change() else {
            rule!(self, matches!(mode, Mode::Recreate | Mode::InPlaceOrRecreate), "{mode:?} {action:?}");
            return Ok(());
        };
        let goes_back = matches!(action.what, What::RollBack(_));
        let record = round.records.get(&action.workload).unwrap_or(&subject.record);
        let note = pod.note.as_deref().filter(|it| it.generation < pod.generation);
        for (name, sizes) in &change.containers {
            let own = pod.containers.iter().find(|it| *it.name == **name).unwrap();
            let new = Numbers::of(sizes);
            let settings = policy.container(name);
            for resource in [Resource::Cpu, Resource::Memory] {
                let get = |it: &Numbers, requirement| it.get(resource, requirement);
                let moves = |lowers: bool| {
                    [Requirement::Request, Requirement::Limit].into_iter().any(|it| {
                        get(&new, it)
                            .zip(get(&own.asked, it))
                            .is_some_and(|(new, old)| if lowers { new < old } else { new > old })
                    })
                };
                let (falls, rises) = (moves(true), moves(false));
                if goes_back || !(falls || rises) {
                    continue;
                }
                rule!(self, !settings.off.value, "off: {action:?}");
                let controlled = settings.controlled.value;
                rule!(
                    self,
                    if resource == Resource::Cpu { controlled.0 } else { controlled.1 },
                    "not ours: {action:?}"
                );
                let held = decision.findings.iter().find(|it| {
                    it.container.as_deref() == Some(name)
                        && it.resource == Some(resource)
                        && it.outcome != Outcome::Clamped
                });
                rule!(self, held.is_none(), "it is held and done: {action:?} {held:?}");
                if let Some(note) = note.filter(|_| !action.cannot_wait) {
                    let pause = if falls { policy.cool_down_down.value } else { policy.cool_down_up.value }
                        .max(policy.settle.value);
                    rule!(self, note.at + pause <= now, "too soon after {}: {action:?}", note.at);
                }
                if !falls {
                    continue;
                }
                let need = &subject.needs[&**name];
                let used = scene.uses.get(&action.pod).and_then(|it| it.get(&**name));
                rule!(
                    self,
                    i64::from(need.hours) >= policy.learn.value.as_hours()
                        && used.is_some_and(|it| it.at + minutes(10) >= now),
                    "not known well enough: {action:?}"
                );
                rule!(
                    self,
                    resource == Resource::Cpu || !policy.approve_memory_decrease.value,
                    "not approved: {action:?}"
                );
                for requirement in [Requirement::Request, Requirement::Limit] {
                    let Some((next, old)) =
                        get(&new, requirement).zip(get(&own.asked, requirement)).filter(|(new, old)| new < old)
                    else {
                        continue;
                    };
                    let harmful =
                        record.too_small.iter().filter(|it| it.container == *name && it.at + TOO_SMALL_KEPT > now);
                    let harmful = harmful.filter_map(|it| get(&it.size, requirement)).max();
                    rule!(
                        self,
                        harmful.is_none_or(|it| next > it),
                        "{old} → {next} is known to be too small, as {harmful:?} is: {action:?}"
                    );
                }
            }
        }
        Ok(())
    }

    /// Count where a request goes back on its way.
    fn turn(&mut self, action: &Action, container: &str, what: &'static str, before: Option<i64>, after: Option<i64>) {
        let Some(way) = before.zip(after).map(|(before, after)| after.cmp(&before)).filter(|it| it.is_ne()) else {
            return;
        };
        let turns = self.turns.entry((action.pod.clone(), container.to_owned(), what)).or_insert((way, 0));
        turns.1 += u32::from(turns.0 != way);
        turns.0 = way;
    }

    /// Make a resize, on a server and a node that go by the rules.
    pub fn make(
        &mut self,
        action: &Action,
        change: &Change,
        namespace: &mut NamespaceSight,
    ) -> Result<(), TestCaseError> {
        let now = self.stage.now;
        let scene = &self.stage.scene;
        let facts = scene.pods[&action.pod].clone();
        let node = &scene.nodes[facts.node.as_ref().unwrap()];
        let mut others = Used::default();
        for other in scene.pods.values().filter(|it| it.node == facts.node && it.key != facts.key) {
            // What was sent a moment before makes the room that it was to make.
            let is_sent = other.note.as_deref().is_some_and(|it| it.at == now && other.progress == Progress::Underway);
            let held = match other.progress {
                Progress::Underway if is_sent => other.desired(),
                Progress::Underway => other.held().max(other.desired()),
                _ => other.held(),
            };
            others.cpu.0 += held.cpu_request.0;
            others.memory.0 += held.memory_request.0;
            others.pods += 1;
        }
        let mut sight = NodeSight { object: NodeObject::Present(Box::new(node.object())), ..NodeSight::default() };
        sight.view.allocatable = node.allocatable;
        sight.others = Some(others);
        let none = supple_decide::need::Uses::default();
        let charged = scene.uses.get(&action.pod).unwrap_or(&none).iter();
        let charged = charged.filter_map(|(name, it)| Some((name.to_string(), it.memory_charged?)));
        let usage = MemoryUsage { pod: None, containers: charged.collect() };
        let pod = facts.to_pod();
        let forecast = predict(&pod, change, &sight, namespace, Some(&usage));
        rule!(self, forecast.obstacle.is_none(), "{action:?} {:?}", forecast.obstacle);
        rule!(
            self,
            forecast.change == *change || matches!(action.what, What::RollBack(_)),
            "{action:?} comes to {:?}",
            forecast.change
        );
        let mode = facts.mode_under(&scene.workloads[&action.workload].policy).value;
        rule!(
            self,
            mode != Mode::InPlace || forecast.restarts.is_empty() || matches!(action.what, What::RollBack(_)),
            "{action:?} restarts {:?}",
            forecast.restarts
        );
        let after = forecast.change.applied_to(&pod).unwrap();
        rule!(self, qos::compute(&after) == facts.qos, "of another class: {action:?}");
        for charge in quota::check(&after, Some(&pod), &namespace.quotas).unwrap() {
            let charged = namespace.quotas.iter_mut().find(|it| it.metadata.name.as_ref() == Some(&charge.quota));
            charged.unwrap().status.as_mut().unwrap().used = Some(charge.used);
        }
        for (name, sizes) in &forecast.change.containers {
            let own = facts.containers.iter().find(|it| *it.name == **name).unwrap();
            let next = Numbers::of(sizes);
            let in_force = own.actual.unwrap_or(own.asked).memory_limit;
            if let Some((has, next)) = in_force.zip(next.memory_limit).filter(|(has, next)| next < has) {
                let used = scene.uses.get(&action.pod).and_then(|it| it.get(&own.name));
                let used = used.and_then(|it| it.memory_charged.max(it.memory));
                rule!(self, used.is_none_or(|it| next > it), "{has} → {next} is below {used:?}: {action:?}");
            }
        }
        let by = if matches!(action.what, What::RollBack(_)) { Author::RollBack } else { Author::Controller };
        let note = LastResize {
            urgent: by == Author::Controller && action.cannot_wait,
            ..LastResize::of(&pod, &forecast.change, by, now)
        };
        let note = note.following(self.notes.get(&action.pod), &pod);
        for (container, sizes) in &forecast.change.containers {
            let own = facts.containers.iter().find(|it| *it.name == **container).unwrap();
            let (before, after) = (own.asked, Numbers::of(sizes));
            self.turn(action, container, "cpu", before.cpu_request.map(|it| it.0), after.cpu_request.map(|it| it.0));
            let (before, after) = (before.memory_request.map(|it| it.0), after.memory_request.map(|it| it.0));
            self.turn(action, container, "memory", before, after);
        }
        let own = self.stage.scene.pods.get_mut(&action.pod).unwrap();
        send(own, &forecast.change, by, now);
        own.note = Some(Box::new(Noted::of(&note)));
        own.progress_since = Some(now.into());
        self.notes.insert(action.pod.clone(), note);
        if let What::AdjustScaler { .. } = &action.what {
            self.stage.aim_at(action);
        }
        Ok(())
    }
}

/// A decision, on a few lines.
pub fn told(decision: &supple_decide::round::Decision) -> String {
    let one = |it: &supple_decide::round::Proposal| {
        format!(
            "{} {} wanted {} next {} due {}",
            it.container,
            show(&it.now),
            show(&it.wanted),
            show(&it.next),
            show(&it.due)
        )
    };
    let found = decision.findings.iter().map(|it| {
        format!("{} {:?} {} {:?} {:?}: {}", it.check, it.outcome, it.code, it.container, it.resource, it.message)
    });
    let lines: Vec<String> = decision.containers.iter().map(one).chain(found).collect();
    format!("{} {} {}\n  {}", decision.pod.name, decision.code, decision.message, lines.join("\n  "))
}
