//! A cluster in memory for the tests of plans: an API server that keeps objects and refuses what is stale, a view that
//! lags behind by as much as a test wants, a kubelet that a test moves, and kills at any point.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::expect::{Awaited, Expectations};
use super::plan::{Act, Effect, Trouble};
use super::pods;
use super::row::{self, Id, ROWS};
use super::view::{Change, Key, Kind, View, Watched};

/// Everything there is.
pub(super) struct World {
    /// What is stored.
    pub truth: View,
    /// What the controllers have seen of it.
    pub seen: View,
    /// The time.
    pub now: Timestamp,
    /// `reason: text` of what was told.
    pub told: Vec<String>,
    /// Refuses the creation of pods while set, in these words.
    pub refuses_pods: Option<&'static str>,
    unseen: BTreeMap<Kind, VecDeque<Change>>,
    dirty: BTreeSet<Id>,
    timers: BTreeSet<(Timestamp, Id)>,
    troubles: BTreeMap<Id, Trouble>,
    expectations: Expectations,
    revision: u64,
}

/// How far a plan gets before the program is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is carried out.
    Whole,
    /// Killed after so many effects.
    KilledAfter(usize),
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            truth: View::default(),
            seen: View::default(),
            now: Timestamp::from_second(1_000_000).unwrap(),
            told: Vec::new(),
            refuses_pods: None,
            unseen: BTreeMap::new(),
            dirty: BTreeSet::new(),
            timers: BTreeSet::new(),
            troubles: BTreeMap::new(),
            expectations: Expectations::default(),
            revision: 0,
        }
    }

    /// Somebody writes an object; `status` of what is there stays unless it is given.
    pub(super) fn put<K: Watched>(&mut self, object: Value) -> K {
        let mut object = object;
        object["apiVersion"] = K::api_version(&()).into_owned().into();
        object["kind"] = K::kind(&()).into_owned().into();
        let typed: K = serde_json::from_value(object).unwrap();
        let key = Key::of(typed.meta());
        let mut tree = serde_json::to_value(&typed).unwrap();
        match K::shelf(&self.truth).get(&key).map(|it| serde_json::to_value(it.as_ref()).unwrap()) {
            Some(old) => {
                for field in ["uid", "creationTimestamp", "generation"] {
                    tree["metadata"][field] = old["metadata"][field].clone();
                }
                if tree.get("status").is_none() {
                    tree["status"] = old["status"].clone();
                }
                if tree["spec"] != old["spec"] {
                    let generation = tree["metadata"]["generation"].as_i64().unwrap_or(1);
                    tree["metadata"]["generation"] = (generation + 1).into();
                }
            }
            None => self.born(&mut tree),
        }
        self.store(K::KIND, tree);
        K::clone(K::shelf(&self.truth).get(&key).unwrap())
    }

    fn born(&mut self, tree: &mut Value) {
        let metadata = tree["metadata"].as_object_mut().unwrap();
        metadata.insert("uid".to_owned(), format!("uid-{:04}", self.revision + 1).into());
        metadata.insert("generation".to_owned(), 1.into());
        metadata.insert("creationTimestamp".to_owned(), self.now.to_string().into());
        if !metadata.contains_key("name") {
            let prefix = metadata["generateName"].as_str().unwrap_or_default();
            let name = format!("{prefix}{:04}", self.revision + 1);
            metadata.insert("name".to_owned(), name.into());
        }
    }

    fn store(&mut self, kind: Kind, mut tree: Value) {
        self.revision += 1;
        tree["metadata"]["resourceVersion"] = self.revision.to_string().into();
        self.truth.take(Change::of(kind, tree.clone(), true));
        self.unseen.entry(kind).or_default().push_back(Change::of(kind, tree, true));
    }

    fn drop_object(&mut self, kind: Kind, mut tree: Value) {
        self.revision += 1;
        tree["metadata"]["resourceVersion"] = self.revision.to_string().into();
        self.truth.take(Change::of(kind, tree.clone(), false));
        self.unseen.entry(kind).or_default().push_back(Change::of(kind, tree, false));
    }

    /// The controllers see one more change of some kind; `false`: there is none.
    pub(super) fn see(&mut self, choice: usize) -> bool {
        let kinds: Vec<Kind> = self.unseen.iter().filter(|(_, it)| !it.is_empty()).map(|(kind, _)| *kind).collect();
        let Some(kind) = kinds.get(choice % kinds.len().max(1)) else { return false };
        let Some(change) = self.unseen.get_mut(kind).and_then(VecDeque::pop_front) else { return false };
        for touched in self.seen.take(change) {
            self.dirty.extend(row::woken(&self.seen, &touched));
        }
        true
    }

    /// The controllers plan for somebody who waits for it; `false`: nobody does, or all still wait for what they wrote.
    pub(super) fn act(&mut self, choice: usize, fate: Fate) -> bool {
        let ready: Vec<Id> = self.dirty.iter().cloned().collect();
        let ready: Vec<Id> =
            ready.into_iter().filter(|id| self.expectations.are_met(id, &self.seen, self.now)).collect();
        let Some(id) = ready.get(choice % ready.len().max(1)).cloned() else { return false };
        self.dirty.remove(&id);
        let row = row::of(id.kind).unwrap();
        let Some(plan) = (row.plan)(&self.seen, &id.key, self.now, self.troubles.get(&id)) else { return true };
        if let Some(at) = plan.again {
            self.timers.insert((at, id.clone()));
        }
        let most = match fate {
            Fate::Whole => usize::MAX,
            Fate::KilledAfter(count) => count,
        };
        let mut awaited = Vec::new();
        let mut well = true;
        for effect in plan.effects.into_iter().take(most) {
            match self.carry_out(&id, effect) {
                Ok(it) => awaited.extend(it),
                Err(trouble) => {
                    if let Some(trouble) = trouble {
                        self.troubles.insert(id.clone(), trouble);
                    }
                    self.timers.insert((self.now, id.clone()));
                    well = false;
                    break;
                }
            }
        }
        if well && self.troubles.remove(&id).is_some() {
            self.dirty.insert(id.clone());
        }
        self.expectations.await_all(&id, awaited, &self.seen, self.now);
        if fate != Fate::Whole {
            self.restart();
        }
        true
    }

    /// The program is killed and started anew: it lists everything and remembers nothing.
    pub(super) fn restart(&mut self) {
        self.unseen.clear();
        self.timers.clear();
        self.troubles.clear();
        self.expectations = Expectations::default();
        self.seen = self.truth.clone();
        self.dirty =
            ROWS.iter().flat_map(|row| row.all(&self.seen).into_iter().map(|key| Id { kind: row.kind, key })).collect();
    }

    fn carry_out(&mut self, id: &Id, effect: Effect) -> Result<Option<Awaited>, Option<Trouble>> {
        let Effect { act, done, failed } = effect;
        let result = match act {
            Act::Tell => Ok((String::new(), None)),
            Act::Create { kind: Kind::Pod, .. } if self.refuses_pods.is_some() => {
                Err(self.refuses_pods.unwrap_or_default())
            }
            Act::Create { kind, object } => self.create(kind, object),
            Act::Update { kind, object } => self.replace(kind, object, false),
            Act::Status { kind, object } => self.replace(kind, object, true),
            Act::Patch { kind, key, body, adopts: _ } => self.patch(kind, &key, &body),
            Act::Delete { kind, key, uid, dependents_first: _ } => Ok(self.delete(kind, key, uid)),
        };
        match result {
            Ok((name, awaited)) => {
                self.told.extend(done.map(|it| format!("{}: {}", it.reason, it.text.replace("{name}", &name))));
                Ok(awaited)
            }
            Err("Conflict") => Err(None),
            Err(error) => {
                let Some(told) = failed else { return Err(None) };
                self.told.push(format!("{}: {}", told.reason, told.text.replace("{error}", error)));
                let _ = id;
                Err(Some(Trouble { reason: told.reason, message: error.to_owned() }))
            }
        }
    }

    fn tree(&self, kind: Kind, key: &Key) -> Option<Value> {
        self.truth.tree(kind, key)
    }

    fn create(&mut self, kind: Kind, mut tree: Value) -> Result<(String, Option<Awaited>), &'static str> {
        self.born(&mut tree);
        let key = key(&tree);
        if self.tree(kind, &key).is_some() {
            return Err("already exists");
        }
        if kind == Kind::Pod {
            tree["status"] = json!({"phase": "Pending"});
        } else if let Some(fields) = tree.as_object_mut() {
            fields.remove("status");
        }
        self.store(kind, tree);
        Ok((key.name, Some(Awaited::Revision { kind, revision: self.revision })))
    }

    fn replace(
        &mut self,
        kind: Kind,
        mut tree: Value,
        status: bool,
    ) -> Result<(String, Option<Awaited>), &'static str> {
        let key = key(&tree);
        let old = self.tree(kind, &key).ok_or("Conflict")?;
        if old["metadata"]["resourceVersion"] != tree["metadata"]["resourceVersion"] {
            return Err("Conflict");
        }
        if status {
            tree["spec"] = old["spec"].clone();
        } else {
            tree["status"] = old["status"].clone();
            if tree["spec"] != old["spec"] {
                tree["metadata"]["generation"] = (old["metadata"]["generation"].as_i64().unwrap_or(0) + 1).into();
            }
        }
        self.store(kind, tree);
        Ok((key.name, Some(Awaited::Revision { kind, revision: self.revision })))
    }

    fn patch(&mut self, kind: Kind, key: &Key, body: &Value) -> Result<(String, Option<Awaited>), &'static str> {
        let mut tree = self.tree(kind, key).ok_or("Conflict")?;
        if tree["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"] {
            return Err("Conflict");
        }
        for (field, value) in body["metadata"].as_object().unwrap() {
            tree["metadata"][field] = value.clone();
        }
        let held = tree["metadata"]["finalizers"].as_array().is_some_and(|it| !it.is_empty());
        if kind == Kind::Pod && tree["metadata"]["deletionTimestamp"].is_string() && !held {
            let over = matches!(tree["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
            if over {
                self.drop_object(kind, tree);
                return Ok((key.name.clone(), None));
            }
        }
        self.store(kind, tree);
        Ok((key.name.clone(), Some(Awaited::Revision { kind, revision: self.revision })))
    }

    fn delete(&mut self, kind: Kind, key: Key, uid: String) -> (String, Option<Awaited>) {
        let there = self.tree(kind, &key).filter(|it| it["metadata"]["uid"] == uid.as_str());
        if let Some(mut tree) = there {
            if kind == Kind::Pod {
                if !tree["metadata"]["deletionTimestamp"].is_string() {
                    tree["metadata"]["deletionTimestamp"] = self.now.to_string().into();
                    self.store(kind, tree);
                }
            } else {
                self.drop_object(kind, tree);
            }
        }
        (key.name.clone(), Some(Awaited::Gone { kind, key, uid }))
    }

    /// The kubelet brings a pod forward: from pending to ready, or from going to gone. `false`: nothing to do.
    pub(super) fn kubelet(&mut self, choice: usize) -> bool {
        let waits = |it: &&std::sync::Arc<Pod>| pods::phase(it) == "Pending" || pods::is_going(it);
        let waiting: Vec<Key> = self.truth.pods.iter().filter(waits).map(|it| Key::of(&it.metadata)).collect();
        let Some(key) = waiting.get(choice % waiting.len().max(1)).cloned() else { return false };
        let mut tree = self.tree(Kind::Pod, &key).unwrap();
        if tree["metadata"]["deletionTimestamp"].is_string() {
            let held = tree["metadata"]["finalizers"].as_array().is_some_and(|it| !it.is_empty());
            if held {
                let over = matches!(tree["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
                if over {
                    return false;
                }
                tree["status"]["phase"] = "Failed".into();
                tree["status"]["conditions"] = json!([]);
                self.store(Kind::Pod, tree);
            } else {
                self.drop_object(Kind::Pod, tree);
            }
            return true;
        }
        self.set_pod(&key, "Running", true);
        true
    }

    /// The pod is in this phase, and ready or not.
    pub(super) fn set_pod(&mut self, key: &Key, phase: &str, ready: bool) {
        let Some(mut tree) = self.tree(Kind::Pod, key) else { return };
        let ended = matches!(phase, "Succeeded" | "Failed");
        let containers = if ended {
            json!([{"name": "app", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                    "state": {"terminated": {"exitCode": 1, "finishedAt": self.now}}}])
        } else {
            json!([])
        };
        tree["status"] = json!({
            "phase": phase,
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }, "lastTransitionTime": self.now}],
            "containerStatuses": containers,
        });
        self.store(Kind::Pod, tree);
    }

    /// Let everything happen that can, in order, until nothing more does: no time passes but what timers wait for, up to
    /// `patience`.
    pub(super) fn settle(&mut self, patience: SignedDuration) {
        let until = self.now + patience;
        for _ in 0..20_000 {
            if self.see(0) || self.act(0, Fate::Whole) || self.kubelet(0) {
                continue;
            }
            let Some((at, id)) = self.timers.pop_first() else { return };
            if at > until {
                return;
            }
            self.now = self.now.max(at);
            self.dirty.insert(id);
        }
        panic!("it never comes to rest: {:#?}", &self.told[self.told.len().saturating_sub(20)..]);
    }

    /// As [`Self::settle`], with no time at all.
    pub(super) fn settle_now(&mut self) {
        self.settle(SignedDuration::ZERO);
    }

    /// Let time pass; timers that come due wake their owners.
    pub(super) fn pass(&mut self, time: SignedDuration) {
        self.now += time;
        while self.timers.first().is_some_and(|(at, _)| *at <= self.now) {
            let (_, id) = self.timers.pop_first().unwrap();
            self.dirty.insert(id);
        }
    }

    /// Pods that are not on their way out.
    pub(super) fn active(&self) -> usize {
        self.truth.pods.iter().filter(|it| pods::is_active(it)).count()
    }

    /// Pods that serve.
    pub(super) fn serving(&self) -> usize {
        self.truth.pods.iter().filter(|it| pods::is_active(it) && pods::is_ready(it)).count()
    }

    /// The status of an object, as JSON.
    pub(super) fn status<K: Watched>(&self, name: &str) -> Value {
        let object = K::shelf(&self.truth).get(&Key::new("n", name)).unwrap();
        serde_json::to_value(object.as_ref()).unwrap()["status"].take()
    }

    /// One step that a byte of a schedule stands for. `kills` may kill the program in the middle of a plan.
    pub(super) fn step(&mut self, choice: u8, kills: bool) {
        let which = usize::from(choice / 8);
        match choice % 8 {
            0..=2 => drop(self.see(which)),
            3 | 4 => drop(self.act(which, Fate::Whole)),
            5 | 6 => drop(self.kubelet(which)),
            _ if kills => drop(self.act(which, Fate::KilledAfter(which % 4))),
            _ => self.pass(SignedDuration::from_secs(1)),
        }
    }
}

fn key(tree: &Value) -> Key {
    let text = |field: &str| tree["metadata"][field].as_str().unwrap_or_default().to_owned();
    Key { namespace: text("namespace"), name: text("name") }
}
