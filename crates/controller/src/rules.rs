//! What people and other programs say should be done: our policies, `VerticalPodAutoscaler` objects, and what we ourselves
//! wrote down earlier. Watched where the cluster has the kind; a cluster without our definitions is still recommended for.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::watcher;
use supple_api::autoscaler::{self, CarryOut, Standing};
use supple_api::condition::{Since, since};
use supple_api::policy::PolicyStatus;
use supple_api::resolve::{Asked, Given, Policies, Resolved, Tally};
use supple_api::vpa::{VerticalPodAutoscalerCheckpoint, VerticalPodAutoscalerStatus};
use supple_api::{ClusterRightsizePolicy, Problem, RightsizePolicy, Rightsizing, VerticalPodAutoscaler, names};
use supple_decide::few::Few;
use supple_decide::key::WorkloadKey;
use supple_decide::policy::{Mode, Origin, Policy, Setting};
use supple_decide::record::Record;

use crate::view::View;
use crate::view::shelf::{Moved, Name, Shelf, name_of};
use crate::world::Settings;

/// What a watch of our own kinds, or of VPA's, tells.
#[derive(Debug)]
pub enum RuleNews {
    /// Which of these kinds the cluster has: what it has not is not waited for.
    Available(Available),
    /// Of policies of a namespace.
    Policy(watcher::Event<RightsizePolicy>),
    /// Of policies of the cluster.
    ClusterPolicy(watcher::Event<ClusterRightsizePolicy>),
    /// Of what we wrote down.
    Rightsizing(watcher::Event<Rightsizing>),
    /// Of VPA objects.
    Autoscaler(watcher::Event<VerticalPodAutoscaler>),
    /// Of what a VPA recommender remembered.
    Checkpoint(watcher::Event<VerticalPodAutoscalerCheckpoint>),
}

/// Which kinds the cluster has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Available {
    /// Our own three.
    pub ours: bool,
    /// VPA's two.
    pub autoscalers: bool,
}

/// The status of a VPA object, to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct VpaWritten {
    /// Its namespace and name.
    pub name: Name,
    /// What is to stand there.
    pub status: VerticalPodAutoscalerStatus,
}

/// The status of a policy, to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyWritten {
    /// Its namespace (empty: it is one of the cluster) and name.
    pub name: Name,
    /// Its UID: another policy of the name is not spoken of.
    pub uid: Option<String>,
    /// What is to stand there.
    pub status: PolicyStatus,
}

/// What was written down about a workload.
#[derive(Debug, Default)]
pub struct Saved {
    /// What was done.
    pub record: Arc<Record>,
    /// What the recommender remembered, by container.
    pub history: Few<String, Vec<u8>>,
    /// The newest measurement that rests on, by container.
    pub measured: Few<String, Timestamp>,
}

/// A `Rightsizing` as it is kept: the history only until somebody has taken it.
#[derive(Debug)]
struct WrittenDown {
    workload: WorkloadKey,
    saved: Option<Box<Saved>>,
    record: Arc<Record>,
    generation: Option<i64>,
    /// Of what it is said to be the version, where it has no owner.
    unowned: Option<Box<str>>,
    since: Since,
}

/// All of it.
#[derive(Debug)]
pub struct Rules {
    available: Option<Available>,
    own_namespace: Arc<str>,
    carry_out: CarryOut,
    built_in: Arc<Policy>,
    policies: Shelf<RightsizePolicy>,
    cluster_policies: Shelf<ClusterRightsizePolicy>,
    rightsizings: Shelf<WrittenDown>,
    autoscalers: Shelf<VerticalPodAutoscaler>,
    /// Those whose target is another than when what they recommend was written.
    moved: BTreeSet<Name>,
    checkpoints: Shelf<VerticalPodAutoscalerCheckpoint>,
    read: Option<Policies>,
    changed: bool,
    /// Something has been told of a policy, its status included.
    policies_moved: bool,
}

impl Rules {
    /// Knowing nothing.
    pub fn new(settings: &Settings) -> Self {
        Self {
            available: None,
            own_namespace: settings.own_namespace.clone(),
            carry_out: settings.autoscalers,
            built_in: Arc::new(Policy::default()),
            policies: Shelf::default(),
            cluster_policies: Shelf::default(),
            rightsizings: Shelf::default(),
            autoscalers: Shelf::default(),
            moved: BTreeSet::new(),
            checkpoints: Shelf::default(),
            read: None,
            changed: true,
            policies_moved: true,
        }
    }

    /// Take in what a watch says. Of workloads that are known by themselves what was learned is not kept a second time, and a record
    /// that stands in the cluster as it is known, only once. Returns the record that it tells of.
    pub fn see(
        &mut self,
        news: RuleNews,
        known: impl FnOnce(&WorkloadKey) -> Option<Arc<Record>>,
    ) -> Option<(WorkloadKey, Arc<Record>)> {
        match news {
            RuleNews::Available(available) => self.available = Some(available),
            RuleNews::Policy(event) => {
                self.changed |= take(&mut self.policies, event, |a, b| a.spec == b.spec);
                self.policies_moved = true;
            }
            RuleNews::ClusterPolicy(event) => {
                self.changed |= take(&mut self.cluster_policies, event, |a, b| a.spec == b.spec);
                self.policies_moved = true;
            }
            RuleNews::Rightsizing(event) => {
                let Moved::There(name) = self.rightsizings.take(event, |it| written_down(it, known)) else {
                    return None;
                };
                return self.rightsizings.get(&name).map(|it| (it.workload.clone(), it.record.clone()));
            }
            RuleNews::Autoscaler(event) => {
                self.look_at_target(&event);
                self.changed |= take(&mut self.autoscalers, event, |a, b| a.spec == b.spec);
            }
            RuleNews::Checkpoint(event) => {
                self.checkpoints.take(event, |it| it);
            }
        }
        None
    }

    /// Notes whether what a VPA object recommends was written for another target. What was changed while nobody looked cannot be told.
    fn look_at_target(&mut self, event: &watcher::Event<VerticalPodAutoscaler>) {
        let (watcher::Event::InitApply(new) | watcher::Event::Apply(new) | watcher::Event::Delete(new)) = event else {
            return;
        };
        let name = name_of(new);
        let known = self.autoscalers.get(&name).filter(|_| !matches!(event, watcher::Event::Delete(_)));
        let said = |it: &VerticalPodAutoscaler| it.status.as_ref().and_then(|it| it.recommendation.clone());
        let target =
            |it: &VerticalPodAutoscaler| it.spec.target_ref.as_ref().map(|it| (it.kind.clone(), it.name.clone()));
        if known.is_some_and(|it| target(it) != target(new)) {
            self.moved.insert(name);
        } else if known.is_none_or(|it| said(it) != said(new)) {
            self.moved.remove(&name);
        }
    }

    /// Whether the target of a VPA object is another than when what it recommends was written.
    pub fn is_moved(&self, autoscaler: &Name) -> bool {
        self.moved.contains(autoscaler)
    }

    /// Namespaces have other labels than before: policies that select by them may fit others now.
    pub fn namespaces_changed(&mut self) {
        self.changed = true;
    }

    /// What has not been read once of all that the cluster has of this.
    pub fn missing(&self) -> Vec<&'static str> {
        let Some(Available { ours, autoscalers }) = self.available else { return vec!["the kinds of the cluster"] };
        let kinds = [
            ("rightsizepolicies", ours, self.policies.is_listed()),
            ("clusterrightsizepolicies", ours, self.cluster_policies.is_listed()),
            ("rightsizings", ours, self.rightsizings.is_listed()),
            ("verticalpodautoscalers", autoscalers, self.autoscalers.is_listed()),
            ("verticalpodautoscalercheckpoints", autoscalers, self.checkpoints.is_listed()),
        ];
        kinds.into_iter().filter(|(_, there, listed)| *there && !listed).map(|(kind, ..)| kind).collect()
    }

    /// Which kinds the cluster has.
    pub fn available(&self) -> Available {
        self.available.unwrap_or_default()
    }

    /// What holds where nobody has said anything.
    pub fn built_in(&self) -> Arc<Policy> {
        self.built_in.clone()
    }

    /// Whether anything about policies is otherwise than at the last call. Has all of them read anew where it is, and where
    /// time has gone on so far that windows have to be worked out again.
    pub fn take_changed(&mut self, view: &View, now: Timestamp) -> bool {
        let stale = self.read.as_ref().is_none_or(|it| it.stale(now));
        if !self.changed && !stale {
            return false;
        }
        self.changed = false;
        let namespaces: Vec<ObjectMeta> = view.namespaces().collect();
        let given = Given {
            cluster: self.cluster_policies.iter().map(|(_, it)| it).collect(),
            namespaced: self.policies.iter().map(|(_, it)| it).collect(),
            autoscalers: self.autoscalers.iter().map(|(_, it)| it).collect(),
            namespaces: namespaces.iter().collect(),
            carry_out: self.carry_out,
        };
        self.read = Some(Policies::new(&given, now));
        true
    }

    /// Whether something about policies has not been read yet: what is said of them would be about those before.
    pub const fn is_behind(&self) -> bool {
        self.changed
    }

    /// Whether policies have been read once.
    pub const fn is_read(&self) -> bool {
        self.read.is_some()
    }

    /// Whether something has been told of a policy since the last call.
    pub const fn take_policies_moved(&mut self) -> bool {
        std::mem::replace(&mut self.policies_moved, false)
    }

    /// Policies of namespaces.
    pub fn policies(&self) -> impl Iterator<Item = &RightsizePolicy> {
        self.policies.iter().map(|(_, it)| it)
    }

    /// Policies of the cluster.
    pub fn cluster_policies(&self) -> impl Iterator<Item = &ClusterRightsizePolicy> {
        self.cluster_policies.iter().map(|(_, it)| it)
    }

    /// A count of what comes of each policy, with no workload in it yet; `None` before policies have been read.
    pub fn tally(&self) -> Option<Tally> {
        self.read.as_ref().map(Tally::new)
    }

    /// What holds for a workload. Nothing is ever done in our own namespace and in `kube-system`: whoever stops there stops
    /// everything.
    pub fn resolve(&self, workload: &WorkloadKey, api_version: &str, view: &View) -> Option<Resolved> {
        let said = view.said(workload);
        let above = view.above(workload);
        let asked = Asked { key: workload, api_version, labels: &said.labels, annotations: said.words, above };
        let mut resolved = self.read.as_ref()?.resolve(&asked);
        if workload.namespace == self.own_namespace || &*workload.namespace == "kube-system" {
            let mut policy = Policy::clone(&resolved.policy);
            policy.mode = Setting { value: Mode::Off, origin: Origin::BuiltIn };
            resolved.policy = Arc::new(policy);
        }
        Some(resolved)
    }

    /// What is wrong with what people wrote.
    pub fn problems(&self) -> &[Problem] {
        self.read.as_ref().map_or(&[], |it| it.problems())
    }

    /// What is wrong with one object.
    pub fn problems_of(&self, object: &str) -> Vec<&Problem> {
        self.problems().iter().filter(|it| it.object == object).collect()
    }

    /// What was written down about a workload, once; `None` where nothing was, or it has been taken.
    pub fn take_saved(&mut self, workload: &WorkloadKey) -> Option<Saved> {
        self.rightsizings.get_mut(&at(workload))?.saved.take().map(|it| *it)
    }

    /// The version that stands in the `Rightsizing` of the workload, for good, where that has no owner to go with.
    pub fn unowned(&self, workload: &WorkloadKey) -> Option<&str> {
        self.rightsizings.get(&at(workload))?.unowned.as_deref()
    }

    /// Whether the workload has its `Rightsizing`.
    pub fn is_written(&self, workload: &WorkloadKey) -> bool {
        self.rightsizings.get(&at(workload)).is_some()
    }

    /// The generation of its `Rightsizing`; that of a new one, where it has none yet.
    pub fn generation(&self, workload: &WorkloadKey) -> Option<i64> {
        self.rightsizings.get(&at(workload)).map_or(Some(1), |it| it.generation)
    }

    /// Since when its conditions have been as they stand in the cluster.
    pub fn since(&self, workload: &WorkloadKey) -> Since {
        self.rightsizings.get(&at(workload)).map(|it| it.since).unwrap_or_default()
    }

    /// The record of a workload as it stands in the cluster.
    pub fn record(&self, workload: &WorkloadKey) -> Option<&Record> {
        self.rightsizings.get(&at(workload)).map(|it| &*it.record)
    }

    /// The records as they were last written, by whoever led then.
    pub fn records(&self) -> impl Iterator<Item = (&WorkloadKey, &Arc<Record>)> {
        self.rightsizings.iter().map(|(_, it)| (&it.workload, &it.record))
    }

    /// The VPA objects that are ours to carry out.
    pub fn own_autoscalers(&self) -> impl Iterator<Item = (&Name, &VerticalPodAutoscaler)> {
        let (all, carry_out) = (self.autoscalers.iter(), self.carry_out);
        all.filter(move |(_, it)| autoscaler::standing(it, carry_out) == Standing::Ours)
    }

    /// A VPA object.
    pub fn autoscaler(&self, namespace: &Arc<str>, name: &Arc<str>) -> Option<&VerticalPodAutoscaler> {
        self.autoscalers.get(&(namespace.clone(), name.clone()))
    }

    /// What VPA's recommender remembered of the containers of one of its objects.
    pub fn checkpoints<'a>(
        &'a self,
        namespace: &'a Arc<str>,
        autoscaler: &'a str,
    ) -> impl Iterator<Item = &'a VerticalPodAutoscalerCheckpoint> {
        let all = self.checkpoints.of_namespace(namespace).map(|(_, it)| it);
        all.filter(move |it| it.spec.vpa_object_name == autoscaler)
    }
}

/// Take in what a watch says of objects that speak of workloads; whether what they say is otherwise than before. A status, which
/// we write ourselves, says nothing: every workload would be looked at anew for each one that is written.
fn take<K: kube::Resource>(shelf: &mut Shelf<K>, event: watcher::Event<K>, says_the_same: fn(&K, &K) -> bool) -> bool {
    let news = match &event {
        watcher::Event::InitApply(new) | watcher::Event::Apply(new) => shelf.get(&name_of(new)).is_none_or(|known| {
            !says_the_same(known, new) || known.meta().creation_timestamp != new.meta().creation_timestamp
        }),
        watcher::Event::Delete(_) => true,
        watcher::Event::Init | watcher::Event::InitDone => false,
    };
    let gone = matches!(shelf.take(event, |it| it), Moved::Listed(gone) if !gone.is_empty());
    news || gone
}

/// Where the `Rightsizing` of a workload stands.
fn at(workload: &WorkloadKey) -> Name {
    (workload.namespace.clone(), Arc::from(names::rightsizing(&workload.kind, &workload.name)))
}

/// What stands in a `Rightsizing`. What cannot be read in it is as if it were not there: it is only an object, and somebody may
/// have edited it.
fn written_down(it: Rightsizing, known: impl FnOnce(&WorkloadKey) -> Option<Arc<Record>>) -> WrittenDown {
    let (reference, generation) = (it.spec.workload_ref, it.metadata.generation);
    let is_owned = it.metadata.owner_references.is_some_and(|it| !it.is_empty());
    let unowned = (!is_owned).then(|| reference.api_version.into());
    let workload = WorkloadKey {
        namespace: Arc::from(it.metadata.namespace.unwrap_or_default()),
        kind: Arc::from(reference.kind),
        name: Arc::from(reference.name),
    };
    let status = it.status.unwrap_or_default();
    let record: Record = status.record.as_ref().map(Record::from).unwrap_or_default();
    let since = since(&status.conditions);
    if let Some(own) = known(&workload) {
        let record = if *own == record { own } else { Arc::new(record) };
        return WrittenDown { workload, generation, unowned, since, saved: None, record };
    }
    let record = Arc::new(record);
    let decode = |text: &String| base64::engine::general_purpose::STANDARD.decode(text).ok();
    let history = status.history.iter().filter_map(|(name, text)| Some((name.clone(), decode(text)?))).collect();
    let measured =
        status.recommendation.iter().filter_map(|it| Some((it.container_name.clone(), it.measured?))).collect();
    WrittenDown {
        workload,
        generation,
        unowned,
        since,
        saved: Some(Box::new(Saved { record: record.clone(), history, measured })),
        record,
    }
}
