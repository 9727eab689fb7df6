//! The cluster as the watches tell of it, kept as a [`Scene`]: what is told goes in, what a decision needs stands ready.
//!
//! ```text
//!   watches ─▶ News ─▶ shelves (objects cut down) ─▶ dirty workloads ─▶ refresh ─▶ Scene
//!                 pods ─▶ facts, at once ────────────────────────────────────────────┘
//! ```
//!
//! No IO and no clock: the same news in any order between two refreshes gives the same scene.

pub mod beside;
pub mod labels;
pub mod owner;
pub mod shelf;
pub mod workload;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{LimitRange, Namespace, Node, Pod, ResourceQuota};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::watcher;
use supple_api::names;
use supple_api::resolve::Above;
use supple_decide::facts::{self, NamespaceFacts, NodeFacts, Phase, PodFacts, WorkloadFacts};
use supple_decide::key::{PodKey, WorkloadKey};
use supple_decide::need::Uses;
use supple_decide::scene::{Scene, Subject};

use beside::{Budget, Scales};
use labels::{Labels, Map};
use owner::Unwatched;
use shelf::{Moved, Name, Shelf};
use workload::Workload;

use crate::webhook::registration::Registration;

/// A pod, what its containers use, and its workload.
#[derive(Debug)]
pub struct Place<'a> {
    /// The pod.
    pub pod: &'a PodFacts,
    /// What its containers use, by name.
    pub uses: &'a mut Uses,
    /// Its workload, once that has been judged.
    pub subject: Option<&'a Subject>,
}

/// What a watch of the cluster's own kinds tells. It is passed on in a box.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "every use of it is boxed as a whole")]
pub enum News {
    /// Of pods.
    Pod(watcher::Event<Pod>),
    /// Of nodes.
    Node(watcher::Event<Node>),
    /// Of namespaces.
    Namespace(watcher::Event<Namespace>),
    /// Of limit ranges.
    LimitRange(watcher::Event<LimitRange>),
    /// Of quotas.
    ResourceQuota(watcher::Event<ResourceQuota>),
    /// Of deployments.
    Deployment(watcher::Event<Deployment>),
    /// Of stateful sets.
    StatefulSet(watcher::Event<StatefulSet>),
    /// Of daemon sets.
    DaemonSet(watcher::Event<DaemonSet>),
    /// Of jobs.
    Job(watcher::Event<Job>),
    /// Of cron jobs.
    CronJob(watcher::Event<CronJob>),
    /// Of horizontal autoscalers.
    Scaler(watcher::Event<HorizontalPodAutoscaler>),
    /// Of disruption budgets.
    Budget(watcher::Event<PodDisruptionBudget>),
}

/// What is known of a namespace beside its facts.
#[derive(Clone, Debug, Default)]
struct NamespaceKnown {
    labels: BTreeMap<String, String>,
    words: BTreeMap<String, String>,
    deleting: bool,
}

/// The labels and annotations that speak to us of one workload: its own, or its pods' where its object is not watched.
#[derive(Clone, Debug)]
pub struct Said<'a> {
    /// Its labels.
    pub labels: Cow<'a, Map>,
    /// Its annotations under `supple.dev/`.
    pub words: &'a Map,
}

/// How far the list of pods has come. The pods themselves are in the scene, once.
#[derive(Debug, Default)]
struct Listing {
    /// Those that a new list has named so far.
    named: Option<BTreeSet<PodKey>>,
    /// A first list has been read to its end.
    listed: bool,
}

/// The cluster as it is known.
#[derive(Debug, Default)]
pub struct View {
    /// What decisions are made on. Needs, records and policies are put into it by others.
    pub scene: Scene,
    pods: Listing,
    /// Of the pods of workloads that are not watched.
    labels: BTreeMap<PodKey, Labels>,
    members: BTreeMap<WorkloadKey, BTreeSet<PodKey>>,
    /// What pods tell of the objects of those.
    unwatched: BTreeMap<WorkloadKey, Unwatched>,
    /// The job of each pod of one: whose that is may be known later, and may change.
    of_jobs: BTreeMap<PodKey, Arc<str>>,
    nodes: Shelf<()>,
    namespaces: Shelf<NamespaceKnown>,
    limit_ranges: Shelf<LimitRange>,
    quotas: Shelf<ResourceQuota>,
    deployments: Shelf<Workload>,
    stateful_sets: Shelf<Workload>,
    daemon_sets: Shelf<Workload>,
    jobs: Shelf<Workload>,
    cron_jobs: Shelf<Workload>,
    scalers: Shelf<Scales>,
    budgets: Shelf<Budget>,
    dirty: BTreeSet<WorkloadKey>,
}

impl View {
    /// Take in what a watch says.
    pub fn see(&mut self, news: News) {
        match news {
            News::Pod(event) => self.see_pod(event),
            News::Node(event) => self.see_node(event),
            News::Namespace(event) => {
                let moved = self.namespaces.take(event, |it| NamespaceKnown {
                    labels: it.metadata.labels.unwrap_or_default(),
                    words: workload::words(it.metadata.annotations),
                    deleting: it.metadata.deletion_timestamp.is_some(),
                });
                self.namespace_moved(moved, |(_, name)| name.clone());
            }
            News::LimitRange(event) => {
                let moved = self.limit_ranges.take(event, slim);
                self.namespace_moved(moved, |(namespace, _)| namespace.clone());
            }
            News::ResourceQuota(event) => {
                let moved = self.quotas.take(event, slim);
                self.namespace_moved(moved, |(namespace, _)| namespace.clone());
            }
            News::Deployment(event) => {
                let moved = self.deployments.take(event, Workload::from);
                self.workload_moved("Deployment", moved);
            }
            News::StatefulSet(event) => {
                let moved = self.stateful_sets.take(event, Workload::from);
                self.workload_moved("StatefulSet", moved);
            }
            News::DaemonSet(event) => {
                let moved = self.daemon_sets.take(event, Workload::from);
                self.workload_moved("DaemonSet", moved);
            }
            News::Job(event) => {
                let moved = self.jobs.take(event, Workload::from);
                // One that is gone was whose it was: its pods end after it.
                if let Moved::There((namespace, name)) = &moved {
                    self.owner_again(namespace, name);
                }
                self.workload_moved("Job", moved);
            }
            News::CronJob(event) => {
                let moved = self.cron_jobs.take(event, Workload::from);
                self.workload_moved("CronJob", moved);
            }
            News::Scaler(event) => {
                let moved = self.scalers.take(event, Scales::from);
                self.neighbours_moved(moved);
            }
            News::Budget(event) => {
                let moved = self.budgets.take(event, Budget::from);
                self.neighbours_moved(moved);
            }
        }
    }

    /// What has not been read once of all that a decision rests on: before that, what is absent may only be late.
    pub fn missing(&self) -> Vec<&'static str> {
        let kinds = [
            ("pods", self.pods.listed),
            ("nodes", self.nodes.is_listed()),
            ("namespaces", self.namespaces.is_listed()),
            ("limitranges", self.limit_ranges.is_listed()),
            ("resourcequotas", self.quotas.is_listed()),
            ("deployments", self.deployments.is_listed()),
            ("statefulsets", self.stateful_sets.is_listed()),
            ("daemonsets", self.daemon_sets.is_listed()),
            ("jobs", self.jobs.is_listed()),
            ("cronjobs", self.cron_jobs.is_listed()),
            ("horizontalpodautoscalers", self.scalers.is_listed()),
            ("poddisruptionbudgets", self.budgets.is_listed()),
        ];
        kinds.into_iter().filter(|(_, listed)| !listed).map(|(kind, _)| kind).collect()
    }

    /// The pods of a workload.
    pub fn members(&self, workload: &WorkloadKey) -> impl Iterator<Item = &PodKey> {
        self.members.get(workload).into_iter().flatten()
    }

    /// The workloads whose object is there and none of whose pods is. Jobs are left out: those that have ended are not to be sized.
    pub fn without_pods(&self) -> Vec<WorkloadKey> {
        let kinds = [
            ("Deployment", &self.deployments),
            ("StatefulSet", &self.stateful_sets),
            ("DaemonSet", &self.daemon_sets),
            ("CronJob", &self.cron_jobs),
        ];
        let all = kinds.into_iter().flat_map(|(kind, shelf)| {
            shelf.iter().map(move |((namespace, name), _)| WorkloadKey {
                namespace: namespace.clone(),
                kind: Arc::from(kind),
                name: name.clone(),
            })
        });
        all.filter(|it| !self.members.contains_key(it)).collect()
    }

    /// Whether its object is there, so that it may have pods again. A job that has ended has not.
    pub fn comes_back(&self, workload: &WorkloadKey) -> bool {
        &*workload.kind != "Job" && self.object(workload).is_some()
    }

    /// The pod of that name.
    pub fn pod(&self, namespace: &str, name: &str) -> Option<&PodFacts> {
        self.scene.pods.get(self.named(namespace, name)?).map(|it| &**it)
    }

    /// The key of the pod of that name. There is never a second one: of two, the one that was told of later is there.
    fn named(&self, namespace: &str, name: &str) -> Option<&PodKey> {
        let first = PodKey::new(namespace, name, "");
        let (found, _) = self.scene.pods.range(first..).next()?;
        (*found.namespace == *namespace && *found.name == *name).then_some(found)
    }

    /// A pod that the same template made as one of that name, which is gone: they differ in the letters at the end.
    pub fn sibling(&self, namespace: &str, name: &str) -> Option<&PodFacts> {
        const LETTERS: usize = 5;
        let stem = &name[..name.rfind('-')? + 1];
        let is_sibling = |it: &str| it.len() == stem.len() + LETTERS && it.rfind('-') == Some(stem.len() - 1);
        if !is_sibling(name) {
            return None;
        }
        let all = self.scene.pods.range(PodKey::new(namespace, stem, "")..);
        let mut alike = all.take_while(|(key, _)| *key.namespace == *namespace && key.name.starts_with(stem));
        let (_, found) = alike.find(|(key, pod)| is_sibling(&key.name) && &*pod.workload.kind != "Pod")?;
        Some(found)
    }

    /// The pod of that name with what its containers use, to be added to, and its workload.
    pub fn place(&mut self, namespace: &str, name: &str) -> Option<Place<'_>> {
        let key = self.named(namespace, name)?.clone();
        let Scene { pods, uses, workloads, .. } = &mut self.scene;
        let pod = pods.get(&key)?;
        Some(Place { pod, uses: uses.entry(key).or_default(), subject: workloads.get(&pod.workload).map(|it| &**it) })
    }

    /// Name, labels and our annotations of every namespace.
    pub fn namespaces(&self) -> impl Iterator<Item = ObjectMeta> {
        self.namespaces.iter().map(|((_, name), it)| ObjectMeta {
            name: Some(name.to_string()),
            labels: Some(it.labels.clone()),
            annotations: Some(it.words.clone()),
            ..ObjectMeta::default()
        })
    }

    /// Annotations of a namespace that speak to us.
    pub fn namespace_words(&self, namespace: &Arc<str>) -> Option<&BTreeMap<String, String>> {
        self.namespaces.get(&(Arc::from(""), namespace.clone())).map(|it| &it.words)
    }

    /// What a workload says of itself: its object's labels and annotations, or where that is not watched what its pods have in common
    /// and the annotations of the first.
    pub fn said(&self, key: &WorkloadKey) -> Said<'_> {
        static NOTHING: Map = Map::new();
        if let Some(it) = self.object(key) {
            return Said { labels: Cow::Borrowed(&it.labels), words: &it.words };
        }
        let pod = self.members(key).next().and_then(|it| self.scene.pods.get(it));
        Said { labels: Cow::Owned(labels::common(self.labels_of(key))), words: pod.map_or(&NOTHING, |it| &it.words) }
    }

    /// Whether its object is known, not only its pods.
    pub fn is_watched(&self, key: &WorkloadKey) -> bool {
        self.object(key).is_some()
    }

    /// What a workload that is watched is made by.
    pub fn above(&self, key: &WorkloadKey) -> Option<Above<'_>> {
        self.object(key)?.maker.as_ref().map(|it| it.above())
    }

    /// What its template says to us of its pods.
    pub fn pod_words(&self, key: &WorkloadKey) -> &Map {
        static NOTHING: Map = Map::new();
        self.object(key).map_or(&NOTHING, |it| &it.pod_words)
    }

    /// The labels of the pods of a workload that is not watched.
    fn labels_of(&self, key: &WorkloadKey) -> impl Iterator<Item = &Labels> {
        self.members(key).filter_map(|it| self.labels.get(it))
    }

    /// The workloads that have to be looked at anew since this was last called.
    pub fn take_dirty(&mut self) -> BTreeSet<WorkloadKey> {
        std::mem::take(&mut self.dirty)
    }

    /// Mark every workload: a policy has changed, say.
    pub fn all_dirty(&mut self) {
        self.dirty.extend(self.members.keys().cloned());
    }

    fn see_pod(&mut self, event: watcher::Event<Pod>) {
        match event {
            watcher::Event::Init => self.pods.named = Some(BTreeSet::new()),
            watcher::Event::InitApply(pod) => {
                let key = self.take_pod(&pod);
                if let Some(named) = &mut self.pods.named {
                    named.insert(key);
                }
            }
            watcher::Event::Apply(pod) => drop(self.take_pod(&pod)),
            // A late word of a deleted pod whose successor is known already says nothing about the successor.
            watcher::Event::Delete(pod) => self.forget(&PodKey::of(&pod)),
            watcher::Event::InitDone => {
                self.pods.listed = true;
                let named = self.pods.named.take().unwrap_or_default();
                let gone: Vec<PodKey> = self.scene.pods.keys().filter(|it| !named.contains(it)).cloned().collect();
                for key in gone {
                    self.forget(&key);
                }
            }
        }
    }

    /// A pod is there, or otherwise than it was.
    fn take_pod(&mut self, pod: &Pod) -> PodKey {
        let told = owner::unwatched(pod);
        // Of workloads that are watched their own labels count, and those of their templates.
        let speaks = told.is_some() || owner::is_bare(pod);
        let labels = speaks.then(|| Labels::of(pod.metadata.labels.as_ref().unwrap_or(&Map::new())));
        let (facts, labels) = self.facts_of_pod(pod, labels);
        let key = facts.key.clone();
        match owner::job_of(pod) {
            Some(job) => drop(self.of_jobs.insert(key.clone(), Arc::from(&*job.name))),
            None => drop(self.of_jobs.remove(&key)),
        }
        // A pod of the same name and another UID is another pod: whatever was known of the first goes.
        if let Some(other) = self.named(&key.namespace, &key.name).filter(|it| **it != key).cloned() {
            self.forget(&other);
        }
        let workload = facts.workload.clone();
        self.remember(facts, labels);
        if let Some(told) = told.filter(|it| self.unwatched.get(&workload) != Some(it)) {
            self.unwatched.insert(workload, told);
        }
        key
    }

    fn facts_of_pod(&self, pod: &Pod, mut labels: Option<Labels>) -> (PodFacts, Option<Labels>) {
        let key = PodKey::of(pod);
        let workload = owner::workload_of(pod, |namespace, name| {
            let Some(job) = self.jobs.get(&(Arc::from(namespace), Arc::from(name))) else {
                // It is gone, and its pods are not yet: they stay whose they were.
                let known = &self.scene.pods.get(&key)?.workload;
                let is_of_it = self.of_jobs.get(&key).is_some_and(|it| **it == *name);
                return is_of_it.then(|| (known.kind.to_string(), known.name.to_string()));
            };
            job.maker.as_ref().map(|it| it.kind_and_name())
        });
        let workload = match self.members.get_key_value(&workload) {
            Some((known, _)) => known.clone(),
            None => WorkloadKey { namespace: self.of_one_copy(&workload.namespace), ..workload },
        };
        let mut facts = PodFacts::of(pod, workload);
        self.share(&mut facts, &mut labels);
        (facts, labels)
    }

    /// What is known already is kept once, not with every pod: what it was itself, what the first pod of its workload is, and
    /// the one before it, because pods are made and resized in the order of their names.
    fn share(&self, facts: &mut PodFacts, labels: &mut Option<Labels>) {
        let pods = &self.scene.pods;
        if let Some((key, before)) = pods.get_key_value(&facts.key) {
            facts.key = key.clone();
            facts.share(before);
        }
        let members = self.members.get(&facts.workload);
        let first = members.and_then(BTreeSet::first);
        let before = members.and_then(|it| it.range(..&facts.key).next_back());
        for key in [first, before].into_iter().flatten() {
            if let Some(sibling) = pods.get(key) {
                facts.share(sibling);
            }
            if let Some((own, sibling)) = labels.as_mut().zip(self.labels.get(key)) {
                own.share(sibling);
            }
        }
        if let Some((node, _)) = facts.node.as_ref().and_then(|it| self.scene.nodes.get_key_value(it)) {
            facts.node = Some(node.clone());
        }
    }

    fn remember(&mut self, facts: PodFacts, labels: Option<Labels>) {
        let key = facts.key.clone();
        if let Some(before) = self.scene.pods.get(&key).filter(|it| it.workload != facts.workload) {
            let old = before.workload.clone();
            self.leave(&old, &key);
        }
        self.members.entry(facts.workload.clone()).or_default().insert(key.clone());
        self.dirty.insert(facts.workload.clone());
        match labels {
            Some(labels) => drop(self.labels.insert(key.clone(), labels)),
            None => drop(self.labels.remove(&key)),
        }
        self.scene.pods.insert(key, Box::new(facts));
    }

    /// A job has come, or is another's than it was: its pods, which may have come before it, go with it.
    fn owner_again(&mut self, namespace: &Arc<str>, job: &Arc<str>) {
        let above = self.jobs.get(&(namespace.clone(), job.clone())).and_then(|it| it.maker.as_ref());
        let above = above.map(|it| it.kind_and_name());
        let workload = owner::of_job(namespace, job, above);
        let first = PodKey::new(namespace.clone(), "", "");
        let in_namespace = self.of_jobs.range(first..).take_while(|(it, _)| it.namespace == *namespace);
        let pods: Vec<PodKey> = in_namespace.filter(|(_, its)| *its == job).map(|(it, _)| it.clone()).collect();
        for key in pods {
            let Some(facts) = self.scene.pods.get_mut(&key).filter(|it| it.workload != workload) else { continue };
            let before = std::mem::replace(&mut facts.workload, workload.clone());
            self.leave(&before, &key);
            self.members.entry(workload.clone()).or_default().insert(key);
            self.dirty.insert(workload.clone());
        }
    }

    /// Whether it is not known yet whose it is: a pod came before its job.
    pub fn is_of_unknown_job(&self, key: &WorkloadKey) -> bool {
        &*key.kind == "Job" && self.object(key).is_none() && !self.unwatched.contains_key(key)
    }

    fn forget(&mut self, key: &PodKey) {
        self.labels.remove(key);
        self.of_jobs.remove(key);
        self.scene.uses.remove(key);
        if let Some(facts) = self.scene.pods.remove(key) {
            self.leave(&facts.workload, key);
        }
    }

    fn leave(&mut self, workload: &WorkloadKey, pod: &PodKey) {
        self.dirty.insert(workload.clone());
        if let Some(members) = self.members.get_mut(workload) {
            members.remove(pod);
            if members.is_empty() {
                self.members.remove(workload);
                self.unwatched.remove(workload);
            }
        }
    }

    fn see_node(&mut self, event: watcher::Event<Node>) {
        if let watcher::Event::InitApply(node) | watcher::Event::Apply(node) = &event {
            let name: Arc<str> = Arc::from(node.metadata.name.as_deref().unwrap_or_default());
            self.scene.nodes.insert(name, NodeFacts::of(node));
        }
        match self.nodes.take(event, |_| ()) {
            Moved::Gone((_, name)) => {
                self.scene.nodes.remove(&name);
            }
            Moved::Listed(gone) => {
                for (_, name) in gone {
                    self.scene.nodes.remove(&name);
                }
            }
            Moved::There(_) | Moved::Nothing => {}
        }
    }

    fn namespace_moved(&mut self, moved: Moved, namespace: impl Fn(&Name) -> Arc<str>) {
        for name in moved.names() {
            let namespace = namespace(&name);
            let known = self.namespaces.get(&(Arc::from(""), namespace.clone()));
            let Some(known) = known else {
                self.scene.namespaces.remove(&namespace);
                continue;
            };
            let facts = NamespaceFacts {
                mode: known.labels.get(names::MODE).cloned(),
                deleting: known.deleting,
                limit_ranges: self.limit_ranges.of_namespace(&namespace).map(|(_, it)| it.clone()).collect(),
                quotas: self.quotas.of_namespace(&namespace).map(|(_, it)| it.clone()).collect(),
            };
            self.scene.namespaces.insert(namespace.clone(), facts);
            self.namespace_dirty(&namespace);
        }
    }

    fn workload_moved(&mut self, kind: &'static str, moved: Moved) {
        for (namespace, name) in moved.names() {
            self.dirty.insert(WorkloadKey { namespace, kind: Arc::from(kind), name });
        }
    }

    fn neighbours_moved(&mut self, moved: Moved) {
        for (namespace, _) in moved.names() {
            self.namespace_dirty(&namespace);
        }
    }

    fn namespace_dirty(&mut self, namespace: &Arc<str>) {
        let workloads: Vec<WorkloadKey> = self.with_pods_in(namespace).cloned().collect();
        self.dirty.extend(workloads);
    }

    /// The workloads of a namespace that have pods.
    pub fn with_pods_in<'a>(&'a self, namespace: &'a Arc<str>) -> impl Iterator<Item = &'a WorkloadKey> {
        let first = WorkloadKey { namespace: namespace.clone(), kind: Arc::from(""), name: Arc::from("") };
        self.members.range(first..).map(|(it, _)| it).take_while(move |it| it.namespace == *namespace)
    }

    /// The name of a namespace, in the copy that the keys of its workloads have: keys with the same copy are compared by their names alone.
    fn of_one_copy(&self, namespace: &Arc<str>) -> Arc<str> {
        let first = WorkloadKey { namespace: namespace.clone(), kind: Arc::from(""), name: Arc::from("") };
        let known = self.members.range(first..).next().map(|(it, _)| &it.namespace);
        known.filter(|it| **it == *namespace).unwrap_or(namespace).clone()
    }

    fn object(&self, key: &WorkloadKey) -> Option<&Workload> {
        let shelf = match &*key.kind {
            "Deployment" => &self.deployments,
            "StatefulSet" => &self.stateful_sets,
            "DaemonSet" => &self.daemon_sets,
            "Job" => &self.jobs,
            "CronJob" => &self.cron_jobs,
            _ => return None,
        };
        shelf.get(&(key.namespace.clone(), key.name.clone()))
    }

    /// The facts of a workload, put together from its object and what stands beside it. Of a kind that is not watched
    /// (a bare pod, a custom controller's) its pods tell what they can.
    pub fn facts_of(&self, key: &WorkloadKey) -> WorkloadFacts {
        // Of a release that is over pods may be left for long that have ended.
        let living = |it: &PodKey| self.scene.pods.get(it).filter(|it| it.phase != Phase::Ended);
        let pods = || self.members(key).filter_map(living);
        let counted = |it: usize| u32::try_from(it).unwrap_or(u32::MAX);
        let object = self.object(key);
        let told = self.unwatched.get(key).filter(|_| object.is_none());
        let revisions: BTreeSet<&Arc<str>> = pods().filter_map(|it| it.revision.as_ref()).collect();
        let above = self.above(key);
        let scalers = self.scalers.of_namespace(&key.namespace).filter_map(|(_, it)| it.over(key, above));
        WorkloadFacts {
            key: key.clone(),
            uid: object.map(|it| &it.uid).or(told.map(|it| &it.uid)).map_or_else(|| self.uid_of_bare(key), Arc::clone),
            api_version: match (object, told) {
                (Some(it), _) => Arc::from(it.api_version),
                (None, Some(it)) => it.api_version.clone(),
                (None, None) => Arc::from("v1"),
            },
            replicas: object.map_or_else(|| counted(pods().count()), |it| it.replicas),
            ready: object.map_or_else(|| counted(pods().filter(|it| it.ready.is_some()).count()), |it| it.ready),
            rolling: object.map_or(revisions.len() > 1, |it| it.rolling),
            template: object.map(|it| it.template.clone()).unwrap_or_default(),
            budgets: self.budgets_over(key),
            rollout: object.and_then(|it| it.rollout),
            rollout_takes: object.map_or(0, |it| it.rollout_takes),
            sized_at_creation: false,
            scalers: scalers.collect(),
            other_vertical: Vec::new(),
            words: self.said(key).words.clone(),
        }
    }

    /// The disruption budgets over its pods.
    fn budgets_over(&self, key: &WorkloadKey) -> Vec<facts::Budget> {
        let budgets: Vec<&Budget> = self.budgets.of_namespace(&key.namespace).map(|(_, it)| it).collect();
        if budgets.is_empty() {
            return Vec::new();
        }
        let labels = match self.object(key) {
            Some(it) => vec![Cow::Borrowed(&*it.pod_labels)],
            None => labels::each(self.labels_of(key)),
        };
        beside::over(&budgets, &labels)
    }

    /// Whether our webhook is asked about its new pods.
    pub fn is_asked_about(&self, key: &WorkloadKey, registration: &Registration) -> bool {
        let nothing = Map::new();
        let namespace = self.namespaces.get(&(Arc::from(""), key.namespace.clone())).map(|it| &it.labels);
        let labels = match self.object(key) {
            Some(it) => Cow::Borrowed(&*it.pod_labels),
            None => Cow::Owned(labels::common(self.labels_of(key))),
        };
        registration.asks(&key.namespace, namespace.unwrap_or(&nothing), &labels)
    }

    fn uid_of_bare(&self, key: &WorkloadKey) -> Arc<str> {
        let bare = (&*key.kind == "Pod").then(|| self.members(key).next()).flatten();
        bare.map_or_else(|| Arc::from(""), |it| it.uid.clone())
    }
}

/// Without what is never read.
fn slim<K: kube::Resource>(mut object: K) -> K {
    object.meta_mut().managed_fields = None;
    object.meta_mut().annotations = None;
    object
}

#[cfg(test)]
mod tests;
