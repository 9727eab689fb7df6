//! Whose a pod is: its topmost controller, read off the pod and the names that Kubernetes' own controllers give.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use supple_decide::key::WorkloadKey;

/// The label a deployment's controller puts on the pods of each of its replica sets.
const TEMPLATE_HASH: &str = "pod-template-hash";

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
        "ReplicaSet" => {
            let hash = pod.metadata.labels.as_ref().and_then(|it| it.get(TEMPLATE_HASH));
            let deployment = hash.and_then(|hash| owner.name.strip_suffix(hash.as_str())?.strip_suffix('-'));
            deployment.map_or_else(|| key("ReplicaSet", &owner.name), |name| key("Deployment", name))
        }
        "Job" => of_job(&namespace, &owner.name, owner_of_job(&namespace, &owner.name)),
        kind => key(kind, &owner.name),
    }
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

/// The owner that is the controller.
pub fn controller(owners: Option<&[OwnerReference]>) -> Option<&OwnerReference> {
    owners?.iter().find(|it| it.controller == Some(true))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(labels: Value, owner: Option<(&str, &str)>, expect: &str) {
        let owners = owner.map(
            |(kind, name)| json!([{"apiVersion": "x/v1", "kind": kind, "name": name, "uid": "1", "controller": true}]),
        );
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"namespace": "n", "name": "p", "labels": labels, "ownerReferences": owners},
        }))
        .unwrap();
        let cron = |_: &str, job: &str| {
            let (name, _) = job.rsplit_once("-29")?;
            let kind = if name == "report" { "CronJob" } else { "JobSet" };
            Some((kind.to_owned(), name.to_owned()))
        };
        assert_eq!(workload_of(&pod, cron).to_string(), expect);
    }

    #[test]
    fn workloads() {
        check(json!({}), None, "n/pod/p");
        check(json!({"pod-template-hash": "7d4"}), Some(("ReplicaSet", "web-7d4")), "n/deployment/web");
        check(json!({}), Some(("ReplicaSet", "web-7d4")), "n/replicaset/web-7d4");
        check(json!({"pod-template-hash": "x"}), Some(("ReplicaSet", "web-7d4")), "n/replicaset/web-7d4");
        check(json!({}), Some(("StatefulSet", "db")), "n/statefulset/db");
        check(json!({}), Some(("Job", "report")), "n/job/report");
        check(json!({}), Some(("Job", "report-29000000")), "n/cronjob/report");
        check(json!({}), Some(("Job", "train-29000000")), "n/job/train-29000000");
        check(json!({}), Some(("Node", "n1")), "n/pod/p");
        check(json!({}), Some(("Rollout", "canary")), "n/rollout/canary");
    }
}
