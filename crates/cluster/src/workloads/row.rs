//! The table of controllers: one row a kind of owner. All that differs between them is here and in the function that
//! plans; everything else (watching, claiming, queueing, writing, telling) is the same code for all.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::ObjectMeta;
use kube::core::Selector;

use super::claim::{self, selects};
use super::plan::{Plan, Scene, Trouble};
use super::view::{Key, Kind, Touched, View, Watched, controller_of};
use super::{budget, cordon, ordinals, per_node, replicas, rollout, until_done};

/// An owner: its kind and its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id {
    /// What it is.
    pub kind: Kind,
    /// Which one.
    pub key: Key,
}

/// A kind of owner, and what is done for it.
pub(super) struct Row {
    /// The kind.
    pub kind: Kind,
    /// Who tells its events.
    pub component: &'static str,
    /// What it owns: a change of one of these wakes its controller, or who could adopt it.
    owns: &'static [Kind],
    /// What its selector is about: a change of one that matches wakes it, whoever owns that.
    selects: &'static [Kind],
    /// What concerns every owner of this kind (of the namespace, if it has one).
    follows: &'static [Kind],
    selector: fn(&View, &Key) -> Option<Selector>,
    owners: fn(&View, Option<&str>) -> Vec<Key>,
    /// Its UID.
    pub uid: fn(&View, &Key) -> Option<String>,
    /// What is to be done; `None` if the owner is gone.
    pub plan: fn(&View, &Key, Timestamp, Option<&Trouble>) -> Option<Plan>,
}

/// A kind that has a row.
trait Owner: Watched {
    fn selector(&self) -> Option<&LabelSelector>;
    fn plan(scene: &Scene<'_, Self>) -> Plan;
}

macro_rules! owner {
    ($type:ty, $plan:path, |$spec:ident| $selector:expr) => {
        impl Owner for $type {
            fn selector(&self) -> Option<&LabelSelector> {
                let $spec = self.spec.as_ref()?;
                $selector
            }
            fn plan(scene: &Scene<'_, Self>) -> Plan {
                $plan(scene)
            }
        }
    };
}

owner!(Deployment, rollout::plan, |spec| Some(&spec.selector));
owner!(ReplicaSet, replicas::plan, |spec| Some(&spec.selector));
owner!(StatefulSet, ordinals::plan, |spec| Some(&spec.selector));
owner!(DaemonSet, per_node::plan, |spec| Some(&spec.selector));
owner!(Job, until_done::plan, |spec| spec.selector.as_ref());
owner!(PodDisruptionBudget, budget::plan, |spec| spec.selector.as_ref());
owner!(Node, cordon::plan, |_spec| None);

/// Every kind of owner.
pub(super) static ROWS: &[Row] = &[
    Row { owns: &[Kind::ReplicaSet], ..row::<Deployment>("deployment-controller") },
    Row { owns: &[Kind::Pod], ..row::<ReplicaSet>("replicaset-controller") },
    Row { owns: &[Kind::Pod, Kind::Revision], ..row::<StatefulSet>("statefulset-controller") },
    Row { owns: &[Kind::Pod, Kind::Revision], follows: &[Kind::Node], ..row::<DaemonSet>("daemonset-controller") },
    Row { owns: &[Kind::Pod], ..row::<Job>("job-controller") },
    Row {
        selects: &[Kind::Pod],
        follows: &[Kind::Deployment, Kind::ReplicaSet, Kind::StatefulSet],
        ..row::<PodDisruptionBudget>("controllermanager")
    },
    row::<Node>("node-controller"),
];

/// What every row has.
const fn row<K: Owner>(component: &'static str) -> Row {
    Row {
        kind: K::KIND,
        component,
        owns: &[],
        selects: &[],
        follows: &[],
        selector: |view, key| claim::selector(K::shelf(view).get(key)?.selector()?),
        owners: |view, namespace| match namespace {
            Some(namespace) => K::shelf(view).within(namespace).map(|it| Key::of(it.meta())).collect(),
            None => K::shelf(view).iter().map(|it| Key::of(it.meta())).collect(),
        },
        uid: |view, key| K::shelf(view).get(key)?.meta().uid.clone(),
        plan: |view, key, now, trouble| {
            let owner = K::shelf(view).get(key)?;
            Some(K::plan(&Scene { owner, view, now, trouble }))
        },
    }
}

#[cfg(test)]
impl Row {
    /// Every owner of the kind.
    pub(super) fn all(&self, view: &View) -> Vec<Key> {
        (self.owners)(view, None)
    }
}

/// The row of a kind.
pub(super) fn of(kind: Kind) -> Option<&'static Row> {
    ROWS.iter().find(|it| it.kind == kind)
}

/// Who has to be looked at after a change.
pub(super) fn woken(view: &View, touched: &Touched) -> Vec<Id> {
    let Some(meta) = touched.after().or(touched.before()) else { return Vec::new() };
    let namespace = meta.namespace.as_deref();
    let states = || [touched.before(), touched.after()].into_iter().flatten();
    let mut woken = Vec::new();
    for row in ROWS {
        let mut wake = |key: Key| woken.push(Id { kind: row.kind, key });
        if row.kind == touched.kind {
            wake(Key::of(meta));
        }
        if row.owns.contains(&touched.kind) {
            for owner in states().filter_map(controller_of).filter(|it| Kind::of_reference(it) == Some(row.kind)) {
                wake(Key::new(namespace.unwrap_or_default(), &owner.name));
            }
        }
        let matching = |meta: &ObjectMeta| {
            let owners = (row.owners)(view, namespace);
            owners
                .into_iter()
                .filter(|key| (row.selector)(view, key).is_some_and(|it| !it.selects_all() && selects(&it, meta)))
                .collect::<Vec<_>>()
        };
        if row.owns.contains(&touched.kind)
            && let Some(free) = touched.after().filter(|it| controller_of(it).is_none())
        {
            matching(free).into_iter().for_each(&mut wake);
        }
        if row.selects.contains(&touched.kind) {
            states().flat_map(matching).for_each(&mut wake);
        }
        if row.follows.contains(&touched.kind) {
            (row.owners)(view, namespace).into_iter().for_each(&mut wake);
        }
    }
    woken
}
