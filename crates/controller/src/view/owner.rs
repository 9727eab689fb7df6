//! Whose a pod is: its topmost controller, read off the pod and the names that Kubernetes' own controllers give.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use supple_api::resolve::Above;
use supple_decide::key::WorkloadKey;

/// The label a deployment's controller puts on the pods of each of its replica sets.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// And that of an Argo Rollout, whose replica sets are named in the same way.
const ROLLOUT_HASH: &str = "rollouts-pod-template-hash";

/// The version under which a Rollout stands in the API; its pods do not tell it.
const ROLLOUT_VERSION: &str = "argoproj.io/v1alpha1";

/// The workload of a pod. `owner_of_job` is asked for kind and name of the controller of a job.
///
/// A replica set is not looked up: a deployment's is named after it with the hash that is also a label of the pod, and
/// watching every old revision of every deployment only to learn that would cost more memory than all pods.
pub fn workload_of(pod: &Pod, owner_of_job: impl Fn(&str, &str) -> Option<(String, String)>) -> WorkloadKey {
    let namespace: Arc<str> = Arc::from(pod.metadata.namespace.as_deref().unwrap_or_default());
    let key = |kind: &str, name: &str| WorkloadKey {
        namespace: namespace.clone(),
        kind: Arc::from(kind),
        name: Arc::from(name),
    };
    let own = || key("Pod", pod.metadata.name.as_deref().unwrap_or_default());
    let Some(owner) = controller(pod.metadata.owner_references.as_deref()) else { return own() };
    match owner.kind.as_str() {
        // A static pod is "owned" by its node; nobody resizes it through the API, and it is its own workload.
        "Node" => own(),
        "ReplicaSet" => match above_replica_set(pod, owner) {
            Some((kind, name)) => key(kind, name),
            None => key("ReplicaSet", &owner.name),
        },
        "Job" if is_watched(owner) => of_job(&namespace, &owner.name, owner_of_job(&namespace, &owner.name)),
        kind => key(kind, &owner.name),
    }
}

/// Whose a replica set is, by its name and the labels of its pods: of a `Deployment` or a `Rollout`, or of nobody.
fn above_replica_set<'a>(pod: &Pod, set: &'a OwnerReference) -> Option<(&'static str, &'a str)> {
    let labels = pod.metadata.labels.as_ref()?;
    [("Deployment", TEMPLATE_HASH), ("Rollout", ROLLOUT_HASH)].into_iter().find_map(|(kind, label)| {
        let hash = labels.get(label)?;
        Some((kind, set.name.strip_suffix(hash.as_str())?.strip_suffix('-')?))
    })
}

/// Whether it is of a kind that is watched, and not another group's of the same name.
fn is_watched(owner: &OwnerReference) -> bool {
    match owner.kind.as_str() {
        "StatefulSet" | "DaemonSet" => owner.api_version.starts_with("apps/"),
        "Job" => owner.api_version.starts_with("batch/"),
        _ => false,
    }
}

/// The job that a pod is of.
pub fn job_of(pod: &Pod) -> Option<&OwnerReference> {
    controller(pod.metadata.owner_references.as_deref()).filter(|it| it.kind == "Job" && is_watched(it))
}

/// Of a workload whose object is not watched, what its pods tell of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unwatched {
    /// `apps/v1`, …
    pub api_version: Arc<str>,
    /// Its UID; empty where its pods do not tell it.
    pub uid: Arc<str>,
}

/// What a pod tells of its workload, where that is not watched; `None` where it is, or is the pod itself.
pub fn unwatched(pod: &Pod) -> Option<Unwatched> {
    let owner =
        controller(pod.metadata.owner_references.as_deref()).filter(|it| it.kind != "Node" && !is_watched(it))?;
    let (api_version, uid) = match above_replica_set(pod, owner).filter(|_| owner.kind == "ReplicaSet") {
        Some(("Deployment", _)) => return None,
        // Its pods know their replica set alone, which a release or two later is not there any more.
        Some(_) => (ROLLOUT_VERSION, ""),
        None => (&*owner.api_version, &*owner.uid),
    };
    Some(Unwatched { api_version: Arc::from(api_version), uid: Arc::from(uid) })
}

/// Whether it is the workload itself: nobody has made it, or its node has.
pub fn is_bare(pod: &Pod) -> bool {
    controller(pod.metadata.owner_references.as_deref()).is_none_or(|it| it.kind == "Node")
}

/// The workload of a job's pods: the cron job, of which each run is a new job. Any other owner (a `JobSet`, a workflow) may have jobs
/// of several templates, whose containers can bear one name: each of those is a workload of its own.
pub fn of_job(namespace: &Arc<str>, job: &str, above: Option<(String, String)>) -> WorkloadKey {
    let (kind, name) = match &above {
        Some((kind, name)) if kind == "CronJob" => ("CronJob", &**name),
        _ => ("Job", job),
    };
    WorkloadKey { namespace: namespace.clone(), kind: Arc::from(kind), name: Arc::from(name) }
}

/// What has made a workload, and makes it again as it likes: a cron job of a job, a custom resource of what its operator runs. Most
/// have none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maker {
    /// Its kind,
    pub kind: Box<str>,
    /// its name,
    pub name: Box<str>,
    /// and `monitoring.coreos.com/v1`, ….
    pub api_version: Box<str>,
}

impl Maker {
    /// Whoever is named as its controller.
    pub fn of(owners: Option<&[OwnerReference]>) -> Option<Box<Self>> {
        let owner = controller(owners)?;
        let text = |it: &str| Box::from(it);
        Some(Box::new(Self { kind: text(&owner.kind), name: text(&owner.name), api_version: text(&owner.api_version) }))
    }

    /// As policies ask about it.
    pub const fn above(&self) -> Above<'_> {
        Above { kind: &self.kind, name: &self.name, api_version: &self.api_version }
    }

    /// As [`workload_of`] asks of a job.
    pub fn kind_and_name(&self) -> (String, String) {
        (self.kind.to_string(), self.name.to_string())
    }
}

/// The owner that is the controller.
pub fn controller(owners: Option<&[OwnerReference]>) -> Option<&OwnerReference> {
    owners?.iter().find(|it| it.controller == Some(true))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(labels: Value, owner: Option<(&str, &str, &str)>) -> Pod {
        let owners = owner.map(|(version, kind, name)| {
            json!([{"apiVersion": version, "kind": kind, "name": name, "uid": "u1", "controller": true}])
        });
        serde_json::from_value(json!({
            "metadata": {"namespace": "n", "name": "p", "labels": labels, "ownerReferences": owners},
        }))
        .unwrap()
    }

    #[track_caller]
    fn check(labels: Value, owner: Option<(&str, &str, &str)>, expect: &str) {
        let cron = |_: &str, job: &str| {
            let (name, _) = job.rsplit_once("-29")?;
            let kind = if name == "report" { "CronJob" } else { "JobSet" };
            Some((kind.to_owned(), name.to_owned()))
        };
        assert_eq!(workload_of(&pod(labels, owner), cron).to_string(), expect);
    }

    #[test]
    fn workloads() {
        let set = |name| Some(("apps/v1", "ReplicaSet", name));
        let job = |name| Some(("batch/v1", "Job", name));
        check(json!({}), None, "n/pod/p");
        check(json!({"pod-template-hash": "7d4"}), set("web-7d4"), "n/deployment/web");
        check(json!({"rollouts-pod-template-hash": "7d4"}), set("web-7d4"), "n/rollout/web");
        check(json!({}), set("web-7d4"), "n/replicaset/web-7d4");
        check(json!({"pod-template-hash": "x"}), set("web-7d4"), "n/replicaset/web-7d4");
        check(json!({"rollouts-pod-template-hash": "x"}), set("web-7d4"), "n/replicaset/web-7d4");
        check(json!({}), Some(("apps/v1", "StatefulSet", "db")), "n/statefulset/db");
        check(json!({}), job("report"), "n/job/report");
        check(json!({}), job("report-29000000"), "n/cronjob/report");
        check(json!({}), job("train-29000000"), "n/job/train-29000000");
        check(json!({}), Some(("batch.volcano.sh/v1alpha1", "Job", "report-29000000")), "n/job/report-29000000");
        check(json!({}), Some(("v1", "Node", "n1")), "n/pod/p");
        check(json!({}), Some(("argoproj.io/v1alpha1", "Rollout", "canary")), "n/rollout/canary");
    }

    /// What a pod tells of the object of its workload, as `apiVersion uid`.
    #[track_caller]
    fn check_told(labels: Value, owner: Option<(&str, &str, &str)>, expect: Option<&str>) {
        let told = unwatched(&pod(labels, owner)).map(|it| format!("{} {}", it.api_version, it.uid));
        assert_eq!(told.as_deref(), expect);
    }

    #[test]
    fn what_a_pod_tells_of_an_object_that_is_not_watched() {
        check_told(json!({}), None, None);
        check_told(json!({}), Some(("v1", "Node", "n1")), None);
        check_told(json!({}), Some(("apps/v1", "StatefulSet", "db")), None);
        check_told(json!({}), Some(("apps.kruise.io/v1beta1", "StatefulSet", "db")), Some("apps.kruise.io/v1beta1 u1"));
        check_told(json!({}), Some(("batch/v1", "Job", "train")), None);
        check_told(
            json!({}),
            Some(("batch.volcano.sh/v1alpha1", "Job", "train")),
            Some("batch.volcano.sh/v1alpha1 u1"),
        );
        let set = Some(("apps/v1", "ReplicaSet", "web-7d4"));
        check_told(json!({"pod-template-hash": "7d4"}), set, None);
        check_told(json!({}), set, Some("apps/v1 u1"));
        check_told(json!({"rollouts-pod-template-hash": "7d4"}), set, Some("argoproj.io/v1alpha1 "));
        check_told(json!({}), Some(("tekton.dev/v1", "TaskRun", "build")), Some("tekton.dev/v1 u1"));
    }
}
