//! What happens to a world.

use std::collections::BTreeMap;
use std::sync::Arc;

use supple_decide::facts::LastEnd;
use supple_decide::guard::{Billionths, GuardReading, baseline};
use supple_decide::hand::{Hand, Other};
use supple_decide::key::{PodKey, WorkloadKey};
use supple_decide::policy::{Limits, Mode, Pause};
use supple_decide::record::Record;
use supple_quantity::{Bytes, MilliCpu};

use super::stage::*;
use super::wild::{Draws, NAMES, quota_of, range};
use super::world::{Mood, World};

impl World {
    /// Nothing strange goes on any more: what is left is left to itself.
    pub fn calm(&mut self) {
        self.moods.clear();
        self.is_measured = true;
        self.stage.scene.cluster.stopped = None;
        self.stage.scene.guards.clear();
        for subject in self.stage.scene.workloads.values_mut() {
            // Who goes by hundredths needs weeks.
            let steps = &mut Arc::make_mut(&mut subject.policy).steps.value;
            for it in [&mut steps.cpu_up, &mut steps.cpu_down, &mut steps.memory_up, &mut steps.memory_down] {
                *it = it.map(|it| if it == 0 { 0 } else { it.max(30) });
            }
        }
        for index in 0..3 {
            let name = format!("n{index}");
            self.node(&name, 100, &[("Ready", "True")]);
        }
        self.tell("it is calm".to_owned());
    }

    /// Every node has room for all that anybody may want.
    pub fn make_room(&mut self) {
        for index in 0..3 {
            self.stage.node(&format!("n{index}"), "4k", "4Ti");
        }
    }

    /// A container needs twice the memory that it has, and has used nearly all of it up.
    pub fn runs_short(&mut self, key: &PodKey, container: &str) -> bool {
        let Some(own) = self.stage.scene.pods[key].containers.iter().find(|it| *it.name == *container) else {
            return false;
        };
        let Some(request) = own.asked.memory_request else { return false };
        let most = own.asked.memory_limit.unwrap_or(request).0;
        let life = self.lives.entry((key.clone(), container.into())).or_default();
        life.memory = most * 98 / 100;
        let subject = self.stage.scene.workloads.get_mut(&self.stage.scene.pods[key].workload).unwrap();
        let Some(need) = subject.needs.get_mut(container).and_then(|it| it.memory.as_mut()) else { return false };
        (need.target, need.lower) = (Bytes(most * 2), Bytes(most * 2));
        true
    }

    pub fn node(&mut self, name: &str, percent: i64, conditions: &[(&str, &str)]) {
        let room = self.stage.scene.nodes[name].allocatable;
        let conditions: Vec<_> =
            conditions.iter().map(|it| serde_json::json!({"type": it.0, "status": it.1})).collect();
        let node = serde_json::from_value(serde_json::json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/os": "linux"}},
            "status": {"allocatable": {"cpu": format!("{}m", room.cpu.0 * percent / 100), "memory": (room.memory.0 * percent / 100).to_string(), "pods": "110"},
                "conditions": conditions},
        }));
        self.stage.scene.nodes.insert(name.into(), supple_decide::facts::NodeFacts::of(&node.unwrap()));
    }

    /// Something happens.
    pub fn happens(&mut self, drawn: &[u16]) {
        let mut it = Draws::of(drawn);
        let kind = it.within(0, 22);
        let names: Vec<WorkloadKey> = self.stage.scene.workloads.keys().cloned().collect();
        let of = it.pick(&names);
        let keys: Vec<PodKey> =
            self.stage.scene.pods.values().filter(|it| it.workload == of).map(|it| it.key.clone()).collect();
        if keys.is_empty() {
            return;
        }
        let key = it.pick(&keys);
        let container: Arc<str> = it.pick(&["app", "side"]).into();
        let percent = it.within(40, 260);
        let node = it.pick(&["n0", "n1", "n2"]);
        let now = self.stage.now;
        let told = match kind {
            0 => return,
            1..4 => {
                let needs = &mut self.stage.scene.workloads.get_mut(&of).unwrap().needs;
                let Some(need) = needs.get_mut(&*container) else { return };
                let of = |it: i64| (it * percent / 100).max(1);
                if let Some(cpu) = &mut need.cpu {
                    (cpu.target, cpu.lower) = (MilliCpu(of(cpu.target.0)), MilliCpu(of(cpu.lower.0)));
                }
                if let Some(memory) = &mut need.memory {
                    (memory.target, memory.lower) = (Bytes(of(memory.target.0)), Bytes(of(memory.lower.0)));
                }
                format!(
                    "{}/{container} needs {percent} %: {:?} {:?}",
                    of_name(&key),
                    need.cpu.as_ref().map(|it| it.target),
                    need.memory.as_ref().map(|it| it.target)
                )
            }
            4..7 => {
                let life = self.lives.entry((key.clone(), container.clone())).or_default();
                life.memory = life.memory * percent / 100;
                format!("{}/{container} uses {}", key.name, life.memory)
            }
            7 => {
                let life = self.lives.entry((key.clone(), container.clone())).or_default();
                life.cpu = life.cpu * percent / 100 + 1;
                format!("{}/{container} uses {}m", key.name, life.cpu)
            }
            8 => {
                let life = self.lives.entry((key.clone(), container.clone())).or_default();
                (life.reads, life.swap) = (percent % 2 == 0, if percent % 3 == 0 { MIB } else { 0 });
                format!("{}/{container} reads {} swaps {}", key.name, life.reads, life.swap)
            }
            9 => {
                self.node(node, percent.min(110), &[("Ready", "True")]);
                format!("{node} has {} %", percent.min(110))
            }
            10 => {
                let conditions = [
                    ("Ready", if percent % 2 == 0 { "True" } else { "False" }),
                    ("MemoryPressure", if percent % 3 == 0 { "True" } else { "False" }),
                ];
                self.node(node, 100, &conditions);
                format!("{node} {conditions:?}")
            }
            11 | 12 => {
                let mood = it.pick(&[Mood::Well, Mood::Defers, Mood::Never, Mood::Fails, Mood::Silent]);
                self.moods.insert(key.clone(), mood);
                format!("the node of {} is {mood:?} with it", key.name)
            }
            13 => {
                let pod = self.stage.scene.pods.get_mut(&key).unwrap();
                pod.hand = Hand::Theirs(Other::Unknown);
                pod.generation += 1;
                format!("{} is in another hand", key.name)
            }
            14 => {
                let pod = self.stage.scene.pods.get_mut(&key).unwrap();
                pod.deleting = true;
                format!("{} goes", key.name)
            }
            15 => {
                let noted = self.stage.scene.pods[&key].note.as_ref().map_or(now, |it| it.at);
                let reading = GuardReading {
                    name: "errors".into(),
                    pod: (percent % 2 == 0).then(|| key.name.clone()),
                    container: None,
                    at: now,
                    value: Billionths(20),
                    before: vec![(baseline(noted), None)],
                    well: None,
                };
                self.stage.scene.guards.insert(of, vec![reading]);
                format!("errors of {}", key.name)
            }
            16 => {
                let pod = self.stage.scene.pods.get_mut(&key).unwrap();
                let Some(it) = pod.containers.iter_mut().find(|it| it.name == container && it.running_since.is_some())
                else {
                    return;
                };
                it.last_end = Some(LastEnd { at: now, out_of_memory: false, exit_code: 1 });
                it.running_since = Some(now.into());
                format!("{}/{container} ends with 1", key.name)
            }
            17 => {
                let value = it.pick(&[Limits::Ratio, Limits::Keep, Limits::Equal, Limits::None]);
                let mode = it.pick(&[Mode::InPlace, Mode::InPlaceOrRecreate, Mode::Recreate, Mode::Off]);
                let policy = &mut self.stage.scene.workloads.get_mut(&of).unwrap().policy;
                let policy = Arc::make_mut(policy);
                (policy.limits.value, policy.mode.value) = (value, mode);
                format!("{}: {value:?} {mode:?}", of.name)
            }
            18 => {
                let range = range(&mut Draws::of(&drawn[2..]));
                let told = format!("limit range {range}");
                self.stage.scene.namespaces.get_mut(NAMESPACE).unwrap().limit_ranges.clear();
                if percent % 3 != 0 {
                    self.stage.limit_range(range);
                }
                told
            }
            19 => {
                quota_of(&mut Draws::of(&drawn[2..]), &mut self.stage);
                "another quota".to_owned()
            }
            20 => {
                self.is_measured = !self.is_measured;
                format!("measured: {}", self.is_measured)
            }
            _ => {
                if percent % 4 == 0 {
                    self.stage.scene.cluster.stopped = self.stage.scene.cluster.stopped.is_none().then(String::new);
                    format!("stopped {:?}", self.stage.scene.cluster.stopped)
                } else if percent % 4 == 1 {
                    let policy = &mut self.stage.scene.workloads.get_mut(&of).unwrap().policy;
                    Arc::make_mut(policy).pause.value =
                        Some(Pause { until: Some(now + minutes(percent)), why: "calm".into() });
                    format!("{} pauses", of.name)
                } else {
                    self.stage.scene.workloads.get_mut(&of).unwrap().record = Arc::new(Record::default());
                    format!("what is remembered of {} is lost", of.name)
                }
            }
        };
        self.tell(told);
    }

    /// Wants and use move by so many thousandths.
    pub fn wobble(&mut self, permille: &BTreeMap<String, i64>, before: &Stage) {
        for (key, subject) in &mut self.stage.scene.workloads {
            let by = 1000 + permille.get(&*key.name).copied().unwrap_or_default();
            let was = &before.scene.workloads[key].needs;
            for (name, need) in subject.needs.iter_mut() {
                let was = &was[&**name];
                let of = |it: i64| i64::try_from(i128::from(it) * i128::from(by) / 1000).unwrap();
                if let Some((cpu, was)) = need.cpu.as_mut().zip(was.cpu.as_ref()) {
                    (cpu.target, cpu.lower) = (MilliCpu(of(was.target.0)), MilliCpu(of(was.lower.0)));
                }
                if let Some((memory, was)) = need.memory.as_mut().zip(was.memory.as_ref()) {
                    (memory.target, memory.lower) = (Bytes(of(was.target.0)), Bytes(of(was.lower.0)));
                }
            }
        }
    }
}

fn of_name(key: &PodKey) -> &str {
    NAMES.iter().find(|it| key.name.starts_with(**it)).unwrap_or(&"")
}
