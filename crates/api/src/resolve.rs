//! What holds for a workload: every layer that speaks of it, laid from the general to the particular.
//!
//! Layers in order: built in; `ClusterRightsizePolicy`; the namespace's label and annotation; `RightsizePolicy`;
//! `VerticalPodAutoscaler`; the workload's own labels and annotations. Within policies of one kind the more particular has the last
//! word (by name, then by selector or kind, then of all), then the higher weight, then the older, then the name that comes
//! first.
//!
//! A pause is the exception: it is a brake, so one of any layer holds, and the one that ends last counts.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use supple_decide::key::WorkloadKey;
use supple_decide::policy::{Layer, Origin, Pause, Policy, Setting};

use crate::autoscaler::{self, CarryOut, Standing};
use crate::condition::Outcome;
use crate::layer;
use crate::policy::{ClusterRightsizePolicy, RightsizePolicy, TargetRef};
use crate::problem::Problem;
use crate::selector;
use crate::span;
use crate::vpa::VerticalPodAutoscaler;
use crate::words;

/// Labels or annotations.
pub type Words = BTreeMap<String, String>;

/// Everything that speaks of workloads, in any order.
#[derive(Clone, Debug, Default)]
pub struct Given<'a> {
    /// Policies of the cluster.
    pub cluster: Vec<&'a ClusterRightsizePolicy>,
    /// Policies of namespaces.
    pub namespaced: Vec<&'a RightsizePolicy>,
    /// Autoscalers, ours or not.
    pub autoscalers: Vec<&'a VerticalPodAutoscaler>,
    /// Metadata of namespaces.
    pub namespaces: Vec<&'a ObjectMeta>,
    /// Which autoscalers are ours.
    pub carry_out: CarryOut,
    /// Guards of policies of namespaces are left out: whoever writes one has it asked with our rights, about anything.
    pub refuses_guards: bool,
}

/// What has made a workload and is scaled in its place: a custom resource, as a rule, of an operator.
#[derive(Clone, Copy, Debug)]
pub struct Above<'a> {
    /// `Prometheus`, …
    pub kind: &'a str,
    /// Its name.
    pub name: &'a str,
    /// `monitoring.coreos.com/v1`, …
    pub api_version: &'a str,
}

impl Above<'_> {
    /// Whether that is what a horizontal autoscaler targets.
    #[must_use]
    pub fn is(&self, kind: &str, name: &str, api_version: Option<&str>) -> bool {
        self.kind == kind && self.name == name && same_group(api_version, self.api_version)
    }
}

/// The workload that is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Which.
    pub key: &'a WorkloadKey,
    /// `apps/v1`; empty: not known, and any fits.
    pub api_version: &'a str,
    /// Its labels.
    pub labels: &'a Words,
    /// Its annotations.
    pub annotations: &'a Words,
    /// Whose it is: an autoscaler with that as its target acts on its pods.
    pub above: Option<Above<'a>>,
}

/// What holds for a workload.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// The settings.
    pub policy: Arc<Policy>,
    /// What spoke of it, general first: `clusterrightsizepolicy/base`, `verticalpodautoscaler/shop/web`, …
    pub layers: Vec<Arc<str>>,
    /// The autoscaler that is ours to write a status of, by name.
    pub autoscaler: Option<Arc<str>>,
    /// All autoscalers that have it as their target, whoever's they are, by name.
    pub autoscalers: Vec<Arc<str>>,
    /// Autoscalers of others that act on it, by name.
    pub other_vertical: Vec<String>,
    /// Two objects of the same weight that contradict each other about it: who has the last word, who has not.
    pub ties: Vec<(Arc<str>, Arc<str>)>,
    /// What is wrong with its own words. Problems of policies are in [`Policies::problems`].
    pub problems: Vec<Problem>,
}

/// All that speaks of workloads, read once and sorted so that asking is cheap. Cron expressions are worked out around the
/// moment it was made: make it again when an object changes, and when it is [`stale`](Self::stale).
#[derive(Debug)]
pub struct Policies {
    /// By kind of layer, then from the general to the particular, so that the order of the list is the order of laying.
    entries: Vec<Entry>,
    cluster: Index,
    namespaced: HashMap<Box<str>, Index>,
    namespaces: HashMap<Box<str>, Namespace>,
    autoscalers: HashMap<WorkloadKey, Vec<Autoscaler>>,
    problems: Vec<Problem>,
    made: Timestamp,
    /// Workloads of which the same layers speak share one policy: there are thousands of the former and few of the latter.
    laid: Mutex<HashMap<Vec<usize>, Arc<Policy>>>,
}

/// A layer, and of what it speaks.
#[derive(Debug)]
struct Entry {
    object: Arc<str>,
    layer: Layer,
    /// The settings it has a say about; a pause contests nothing.
    says: BTreeSet<&'static str>,
    target: Option<TargetRef>,
    selector: Option<LabelSelector>,
    namespaces: Option<LabelSelector>,
    rank: Rank,
}

/// How particular a policy is, and its weight: those that have both in common contest each other.
type Rank = (u8, i32);

/// Entries by what they speak of.
#[derive(Debug, Default)]
struct Index {
    by_name: HashMap<ByName, Vec<usize>>,
    others: Vec<usize>,
}

#[derive(Debug, Default)]
struct Namespace {
    labels: Words,
    entry: Option<usize>,
}

#[derive(Debug)]
struct Autoscaler {
    object: Arc<str>,
    name: Arc<str>,
    kind: Box<str>,
    api_version: Option<String>,
    /// Its layer, where it is ours.
    entry: Option<usize>,
    acts: bool,
}

/// A policy of either kind, before it has its place.
struct Candidate<'a> {
    meta: &'a ObjectMeta,
    object: String,
    read: (Layer, Vec<Problem>),
    target: Option<&'a TargetRef>,
    selector: Option<&'a LabelSelector>,
    namespaces: Option<&'a LabelSelector>,
    weight: i32,
}

impl Candidate<'_> {
    fn rank(&self) -> Rank {
        let particular = match self.target {
            Some(target) if target.name.is_some() => 2,
            Some(_) => 1,
            None if self.selector.is_some() => 1,
            None => 0,
        };
        (particular, self.weight)
    }
}

/// A policy in its place.
struct Placed {
    at: usize,
    namespace: Box<str>,
    by_name: Option<ByName>,
}

/// The kind and name a policy speaks of.
type ByName = (Box<str>, Box<str>);

/// Who comes later has the last word: the older, then the name that comes first.
fn seniority(meta: &ObjectMeta) -> (Reverse<Timestamp>, Reverse<&str>) {
    let created = meta.creation_timestamp.as_ref().map_or(Timestamp::MAX, |it| it.0);
    (Reverse(created), Reverse(meta.name.as_deref().unwrap_or_default()))
}

impl Policies {
    /// Reads everything that speaks of workloads.
    #[must_use]
    pub fn new(given: &Given<'_>, now: Timestamp) -> Self {
        let mut policies = Self {
            entries: Vec::new(),
            cluster: Index::default(),
            namespaced: HashMap::new(),
            namespaces: HashMap::new(),
            autoscalers: HashMap::new(),
            problems: Vec::new(),
            made: now,
            laid: Mutex::default(),
        };
        let cluster = given.cluster.iter().map(|it| Candidate {
            meta: &it.metadata,
            object: layer::object_of_cluster_policy(it),
            read: layer::of_cluster_policy(it, now),
            target: it.spec.policy.target_ref.as_ref(),
            selector: it.spec.policy.selector.as_ref(),
            namespaces: it.spec.namespace_selector.as_ref(),
            weight: it.spec.policy.weight.unwrap_or_default(),
        });
        for Placed { at, by_name, .. } in policies.add_policies(cluster.collect()) {
            policies.cluster.add(at, by_name);
        }
        for meta in &given.namespaces {
            policies.add_namespace(meta);
        }
        let namespaced = given.namespaced.iter().map(|it| Candidate {
            meta: &it.metadata,
            object: layer::object_of_policy(it),
            read: match layer::of_policy(it, now) {
                read if given.refuses_guards => layer::without_guards(&layer::object_of_policy(it), read),
                read => read,
            },
            target: it.spec.target_ref.as_ref(),
            selector: it.spec.selector.as_ref(),
            namespaces: None,
            weight: it.spec.weight.unwrap_or_default(),
        });
        for Placed { at, namespace, by_name } in policies.add_policies(namespaced.collect()) {
            policies.namespaced.entry(namespace).or_default().add(at, by_name);
        }
        let mut autoscalers = given.autoscalers.clone();
        autoscalers.sort_by(|a, b| seniority(&b.metadata).cmp(&seniority(&a.metadata)));
        for one in autoscalers {
            policies.add_autoscaler(one, given.carry_out);
        }
        policies.problems.sort();
        policies
    }

    /// Whether its cron expressions have to be worked out anew.
    #[must_use]
    pub fn stale(&self, now: Timestamp) -> bool {
        let age = now.duration_since(self.made);
        age < -span::BEHIND / 2 || age > span::AHEAD / 8
    }

    /// What could not be read in policies, labels of namespaces and autoscalers of ours, in order.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// What holds for a workload.
    #[must_use]
    pub fn resolve(&self, asked: &Asked<'_>) -> Resolved {
        let namespace = self.namespaces.get(&*asked.key.namespace);
        let nothing = Words::new();
        let labels = namespace.map_or(&nothing, |it| &it.labels);
        let mut laid = self.cluster.matching(&self.entries, asked);
        laid.retain(|at| self.entries[*at].namespaces.as_ref().is_none_or(|it| selector::matches(it, labels)));
        let mut ties = self.contested(&laid);
        laid.extend(namespace.and_then(|it| it.entry));
        if let Some(index) = self.namespaced.get(&*asked.key.namespace) {
            let own = index.matching(&self.entries, asked);
            ties.extend(self.contested(&own));
            laid.extend(own);
        }
        let mut ours: Option<&Autoscaler> = None;
        let (mut other_vertical, mut all) = (Vec::new(), Vec::new());
        for one in self.autoscalers_of(asked) {
            all.push(one.name.clone());
            match (one.entry, ours) {
                (Some(_), None) => ours = Some(one),
                (Some(_), Some(older)) => ties.push((older.object.clone(), one.object.clone())),
                (None, _) if one.acts => other_vertical.push(one.name.to_string()),
                (None, _) => {}
            }
        }
        laid.extend(ours.and_then(|it| it.entry));

        let mut layers: Vec<Arc<str>> = laid.iter().map(|at| self.entries[*at].object.clone()).collect();
        let (own, problems) = words::layer(
            Origin::Workload,
            &asked.key.to_string(),
            |key| asked.labels.get(key).map(String::as_str),
            |key| asked.annotations.get(key).map(String::as_str),
        );
        let mut policy = self.lay(laid);
        if own.mode.is_some() || own.pause.is_some() {
            layers.push(asked.key.to_string().into());
            let pause = braked(policy.pause.clone(), &own);
            let mut whole = Policy::clone(&policy).under(own);
            whole.pause = pause;
            policy = Arc::new(whole);
        }
        let autoscaler = ours.map(|it| it.name.clone());
        Resolved { policy, layers, autoscaler, autoscalers: all, other_vertical, ties, problems }
    }

    /// The autoscalers of a workload, and behind them those of what it is made by: who names it itself has the last word.
    fn autoscalers_of<'a>(&'a self, asked: &Asked<'a>) -> impl Iterator<Item = &'a Autoscaler> {
        let own = self.autoscalers.get(asked.key);
        let above = asked.above.filter(|_| !self.autoscalers.is_empty()).and_then(|it| {
            let namespace = asked.key.namespace.clone();
            self.autoscalers.get(&WorkloadKey { namespace, kind: it.kind.into(), name: it.name.into() })
        });
        let versions = [asked.api_version, asked.above.map_or("", |it| it.api_version)];
        [own, above].into_iter().zip(versions).flat_map(|(all, version)| {
            all.into_iter()
                .flatten()
                .filter(move |it| autoscaler::is_target(&it.kind, it.api_version.as_deref(), version))
        })
    }

    /// These layers over what is built in.
    fn lay(&self, laid: Vec<usize>) -> Arc<Policy> {
        let mut all = self.laid.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(&laid) {
            return known.clone();
        }
        let mut policy = Policy::default();
        for at in &laid {
            let layer = &self.entries[*at].layer;
            let pause = braked(policy.pause.clone(), layer);
            policy = policy.under(layer.clone());
            policy.pause = pause;
        }
        let policy = Arc::new(policy);
        all.insert(laid, policy.clone());
        policy
    }

    /// Pairs of the same rank that have a say about the same setting; `laid` is in the order of laying, so equals are
    /// neighbours.
    fn contested(&self, laid: &[usize]) -> Vec<(Arc<str>, Arc<str>)> {
        let mut ties = Vec::new();
        for equals in laid.chunk_by(|a, b| self.entries[*a].rank == self.entries[*b].rank) {
            for (at, under) in equals.iter().enumerate() {
                for over in &equals[at + 1..] {
                    let (under, over) = (&self.entries[*under], &self.entries[*over]);
                    if !under.says.is_disjoint(&over.says) {
                        ties.push((over.object.clone(), under.object.clone()));
                    }
                }
            }
        }
        ties
    }

    /// Adds policies of one kind in the order of laying; where each of them is.
    fn add_policies(&mut self, mut policies: Vec<Candidate<'_>>) -> Vec<Placed> {
        policies.sort_by(|a, b| (a.rank(), seniority(a.meta)).cmp(&(b.rank(), seniority(b.meta))));
        let mut added = Vec::new();
        for policy in policies {
            let rank = policy.rank();
            let (target, namespace) = (policy.target, policy.meta.namespace.as_deref().unwrap_or_default());
            let by_name = target.and_then(|it| Some((it.kind.as_str().into(), it.name.as_deref()?.into())));
            let at = self.add(&policy.object, policy.read);
            let entry = &mut self.entries[at];
            entry.target = target.cloned();
            entry.selector = policy.selector.cloned();
            entry.namespaces = policy.namespaces.cloned();
            entry.rank = rank;
            added.push(Placed { at, namespace: namespace.into(), by_name });
        }
        added
    }

    fn add(&mut self, object: &str, (layer, problems): (Layer, Vec<Problem>)) -> usize {
        self.problems.extend(problems);
        let alone = Policy::default().under(layer.clone());
        let rows = alone.rows();
        let mut says: BTreeSet<&'static str> =
            rows.iter().filter(|it| *it.origin == layer.origin && it.name != "paused").map(|it| it.name).collect();
        if !layer.containers.is_empty() {
            says.insert("containers");
        }
        let (target, selector, namespaces) = (None, None, None);
        self.entries.push(Entry { object: object.into(), layer, says, target, selector, namespaces, rank: (0, 0) });
        self.entries.len() - 1
    }

    fn add_namespace(&mut self, meta: &ObjectMeta) {
        let name = meta.name.as_deref().unwrap_or_default();
        let object = format!("namespace/{name}");
        let (layer, problems) = words::layer(
            Origin::NamespaceLabel,
            &object,
            |key| meta.labels.as_ref()?.get(key).map(String::as_str),
            |key| meta.annotations.as_ref()?.get(key).map(String::as_str),
        );
        let silent = layer.mode.is_none() && layer.pause.is_none();
        let entry = (!silent).then(|| self.add(&object, (layer, problems)));
        let labels = meta.labels.clone().unwrap_or_default();
        self.namespaces.insert(name.into(), Namespace { labels, entry });
    }

    fn add_autoscaler(&mut self, one: &VerticalPodAutoscaler, carry_out: CarryOut) {
        let Some(target) = &one.spec.target_ref else { return };
        let object = autoscaler::object(one);
        let standing = autoscaler::standing(one, carry_out);
        let entry = (standing == Standing::Ours).then(|| self.add(&object, autoscaler::layer(one)));
        let key = WorkloadKey {
            namespace: one.metadata.namespace.as_deref().unwrap_or_default().into(),
            kind: target.kind.as_str().into(),
            name: target.name.as_str().into(),
        };
        self.autoscalers.entry(key).or_default().push(Autoscaler {
            object: object.into(),
            name: one.metadata.name.as_deref().unwrap_or_default().into(),
            kind: target.kind.as_str().into(),
            api_version: target.api_version.clone(),
            entry,
            acts: standing == Standing::OtherActs,
        });
    }
}

impl Index {
    fn add(&mut self, at: usize, by_name: Option<ByName>) {
        match by_name {
            Some(name) => self.by_name.entry(name).or_default().push(at),
            None => self.others.push(at),
        }
    }

    /// Those that speak of the workload, in the order of laying.
    fn matching(&self, entries: &[Entry], asked: &Asked<'_>) -> Vec<usize> {
        let key = asked.key;
        let named = if self.by_name.is_empty() {
            None // the common case needs no key of its own
        } else {
            self.by_name.get(&(Box::from(&*key.kind), Box::from(&*key.name)))
        };
        let speaks = |at: &usize| {
            let Entry { target, selector, .. } = &entries[*at];
            target
                .as_ref()
                .is_none_or(|it| it.kind == *key.kind && same_group(it.api_version.as_deref(), asked.api_version))
                && selector.as_ref().is_none_or(|it| selector::matches(it, asked.labels))
        };
        // Named ones are the most particular, so they come after all others.
        self.others.iter().chain(named.into_iter().flatten()).copied().filter(speaks).collect()
    }
}

/// The pause in force once this layer is laid too: the one that ends last, and of two the more particular.
fn braked(held: Setting<Option<Pause>>, layer: &Layer) -> Setting<Option<Pause>> {
    let end = |it: &Pause| it.until.unwrap_or(Timestamp::MAX);
    match (&held.value, layer.pause.as_ref().and_then(Option::as_ref)) {
        (_, None) => held,
        (Some(before), Some(new)) if end(before) > end(new) => held,
        (_, Some(new)) => Setting { value: Some(new.clone()), origin: layer.origin.clone() },
    }
}

/// Whether both are of one group; the version does not matter, and what is not said fits everything.
pub(crate) fn same_group(wanted: Option<&str>, actual: &str) -> bool {
    wanted.is_none_or(|it| it.is_empty() || actual.is_empty() || group(it) == group(actual))
}

/// The group of `apps/v1`, which is `apps`; the core one has no name.
pub(crate) fn group(api_version: &str) -> &str {
    api_version.rsplit_once('/').map_or("", |(group, _)| group)
}

/// Counts, over all workloads of a round, what came of each policy and autoscaler.
#[derive(Debug, Default)]
pub struct Tally {
    outcomes: BTreeMap<Arc<str>, Outcome>,
}

impl Tally {
    /// Begins with what could not be read.
    #[must_use]
    pub fn new(policies: &Policies) -> Self {
        let mut tally = Self::default();
        for entry in &policies.entries {
            tally.outcomes.entry(entry.object.clone()).or_default();
        }
        for problem in policies.problems() {
            tally.outcomes.entry(problem.object.as_str().into()).or_default().problems.push(problem.clone());
        }
        tally
    }

    /// Counts one workload: its [`Resolved::layers`] and [`Resolved::ties`].
    pub fn add(&mut self, layers: &[Arc<str>], ties: &[(Arc<str>, Arc<str>)]) {
        for object in layers {
            if let Some(outcome) = self.outcomes.get_mut(object) {
                outcome.workloads += 1;
            }
        }
        for (winner, loser) in ties {
            let overruled = &mut self.outcomes.entry(loser.clone()).or_default().overruled_by;
            if let Err(at) = overruled.binary_search_by(|it| (**it).cmp(winner)) {
                overruled.insert(at, winner.to_string());
            }
        }
    }

    /// What came of an object: [`layer::object_of_policy`], [`layer::object_of_cluster_policy`], [`autoscaler::object`].
    #[must_use]
    pub fn of(&self, object: &str) -> Outcome {
        self.outcomes.get(object).cloned().unwrap_or_default()
    }
}
