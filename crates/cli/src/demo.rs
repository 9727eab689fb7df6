//! What `up --demo` puts into the cluster: pods that each have a different reason to be resized, and a policy that lets two
//! minutes show what otherwise takes days.

use std::time::Duration;

use kube::Client;
use serde_json::{Value, json};
use supple_api::names;
use supple_cluster::manifest::Manifest;
use supple_controller::act::{Order, Wish, carry_out};
use supple_controller::run::Clock;
use supple_controller::snapshot::{Row, Snapshot};
use supple_decide::note::Author;
use supple_quantity::{MilliCpu, Quantity};
use supple_resize::predict::Sizes;
use tokio::sync::watch;

use crate::values::Amount;

/// The namespace of the demonstration.
const NAMESPACE: &str = "demo";

/// One pod: its name, what it plays, requests and limits of CPU and memory.
type Part = (&'static str, &'static str, (&'static str, &'static str), (&'static str, &'static str));

/// The parts. Requests are what a person would have guessed; limits leave room for the time in which nothing is resized yet.
const PARTS: [Part; 8] = [
    ("steady", "steady", ("125m", "250m"), ("100Mi", "200Mi")),
    ("growing", "growing", ("50m", "100m"), ("64Mi", "128Mi")),
    ("bursts", "bursts", ("100m", "200m"), ("64Mi", "128Mi")),
    ("idle", "idle", ("200m", "400m"), ("256Mi", "512Mi")),
    ("over-provisioned", "steady", ("600m", "1200m"), ("1Gi", "2Gi")),
    // Looks idle until it has been shrunk, then needs what it had, all at once: the resize is taken back. With little CPU it would
    // need it bit by bit, and be given more before it is killed.
    ("fragile", "fragile", ("50m", "500m"), ("256Mi", "320Mi")),
    // Holds more than its policy would ever let it have: a decrease is due, and refused until somebody approves of it.
    ("hoarder", "hoarder", ("50m", "100m"), ("300Mi", "400Mi")),
    // A person asks for more of it than its node has left: the node puts that off until the others have been shrunk.
    (QUEUED, "idle", ("50m", "100m"), ("32Mi", "64Mi")),
];

/// The pod a person asks for more CPU for, and for how much.
const QUEUED: &str = "queued";
const ASKED: &str = "250m:500m";

/// How long whoever asked waits to see it done.
const PATIENCE: Duration = Duration::from_secs(600);

/// The manifests; `program` is this program, which plays the workloads. The node has `cpu` thousandths of a core: the last
/// two pods fill it, so that one of them has to wait for the other.
pub fn manifests(program: &str, cpu: i64) -> Vec<Manifest> {
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {(names::MODE): "in-place"}},
    });
    let parts = PARTS.map(|(name, workload, cpu, memory)| pod(program, name, workload, cpu, memory));
    let taken: i64 =
        PARTS.iter().filter_map(|it| it.2.0.parse::<Quantity>().ok()).map(|it| MilliCpu::from(&it).0).sum();
    let filler = format!("{}m", (cpu - taken - 250).max(100));
    let crowd = [
        // Asks for nearly all that is left and uses none of it, but counts as starting up for more than a minute.
        pod(program, "squatter", "idle", (&filler, &filler), ("32Mi", "64Mi")),
        // Is to have more CPU than there is while the other holds it.
        pod(program, "waiting", "idle", ("100m", "400m"), ("32Mi", "64Mi")),
    ];
    std::iter::once(namespace)
        .chain(policies())
        .chain(parts)
        .chain(crowd)
        .map(|object| Manifest { place: "the demonstration".to_owned(), object })
        .collect()
}

/// What lets two minutes show what otherwise takes days, and what each part shows: of those that stand for a refusal and for a
/// wait only the resource is sized that is refused or waited for, so that nothing else takes its place on the screen.
fn policies() -> [Value; 5] {
    let policy = |name: &str, spec: Value| {
        json!({
            "apiVersion": names::API_VERSION, "kind": "RightsizePolicy",
            "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec,
        })
    };
    [
        policy(
            "quick",
            json!({
                "updatePolicy": {"updateMode": "InPlace"},
                "startup": "15s", "learn": "20s", "minConfidence": 0, "settle": "20s",
                "coolDown": {"up": "5s", "down": "15s"},
                "steps": {"cpuUp": 10000, "cpuDown": 100, "memoryUp": 10000, "memoryDown": 100},
            }),
        ),
        policy(
            "hoarder",
            json!({
                "targetRef": {"apiVersion": "v1", "kind": "Pod", "name": "hoarder"},
                "approveMemoryDecrease": true,
                "resourcePolicy": {"containerPolicies": [{
                    "containerName": "*", "maxAllowed": {"memory": "160Mi"}, "controlledResources": ["memory"],
                }]},
            }),
        ),
        policy(
            "fragile",
            json!({
                "targetRef": {"apiVersion": "v1", "kind": "Pod", "name": "fragile"},
                "resourcePolicy": {"containerPolicies": [{"containerName": "*", "controlledResources": ["memory"]}]},
            }),
        ),
        policy(
            "squatter",
            json!({"targetRef": {"apiVersion": "v1", "kind": "Pod", "name": "squatter"}, "startup": "75s"}),
        ),
        policy(
            "waiting",
            json!({
                "targetRef": {"apiVersion": "v1", "kind": "Pod", "name": "waiting"},
                "resourcePolicy": {"containerPolicies": [{
                    "containerName": "*", "minAllowed": {"cpu": "1"}, "controlledResources": ["cpu"],
                }]},
            }),
        ),
    ]
}

/// Ask for more for the pod of that part as soon as it is seen to run, in the way of `supple resize`, as a person would: its node defers
/// it, the loop leaves it its place and shrinks what may shrink, and then it is done.
pub async fn ask(client: &Client, mut shown: watch::Receiver<Snapshot>, now: &Clock) {
    // What has been measured runs.
    let runs = |it: &Row| it.namespace == NAMESPACE && it.pod == QUEUED && it.used.is_some();
    if shown.wait_for(|it| it.rows.iter().any(runs)).await.is_err() {
        return; // the loop has ended
    }
    let Ok(Amount { request, limit }) = ASKED.parse() else { return };
    let order = Order {
        namespace: NAMESPACE.to_owned(),
        pod: QUEUED.to_owned(),
        uid: None,
        wish: Wish::One {
            container: None,
            sizes: Sizes { cpu_request: request, cpu_limit: limit, ..Sizes::default() },
        },
        by: Author::Resize,
        wait: Some(PATIENCE),
        dry_run: false,
    };
    match carry_out(client, &order, &**now, &mut |_| ()).await {
        Ok(outcome) => tracing::debug!(reason = %outcome.reason, outcome.message, "the resize a person asked for"),
        Err(error) => tracing::warn!(%error, "the demo cannot resize pod {NAMESPACE}/{QUEUED}"),
    }
}

fn pod(program: &str, name: &str, workload: &str, cpu: (&str, &str), memory: (&str, &str)) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 5,
            "containers": [{
                "name": "app",
                "image": format!("{}/demo", names::GROUP),
                "command": [program, "workload", workload],
                "resources": {
                    "requests": {"cpu": cpu.0, "memory": memory.0},
                    "limits": {"cpu": cpu.1, "memory": memory.1},
                },
            }],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a pod asks for, in thousandths of a core.
    fn request(object: &Value) -> i64 {
        let text = object.pointer("/spec/containers/0/resources/requests/cpu").and_then(Value::as_str);
        text.map_or(0, |it| MilliCpu::from(&it.parse::<Quantity>().unwrap()).0)
    }

    #[test]
    fn all_fit_and_two_have_to_wait_on_nodes_of_every_size() {
        for node in [2000, 4000, 64_000] {
            let all: Vec<Value> = manifests("/bin/supple", node).into_iter().map(|it| it.object).collect();
            let pods = all.iter().filter(|it| it["kind"] == "Pod");
            let asked: i64 = pods.clone().map(request).sum();
            assert!(asked <= node, "{asked} of {node}");
            let free = node - asked;
            assert!(free < 200, "{free}: `queued` would not have to wait");
            let squatter = pods.clone().find(|it| it["metadata"]["name"] == "squatter").map_or(0, request);
            // What is shrunk before makes the room for `queued`, which keeps what it is given, and not for `waiting`, for which
            // the squatter has to give back what it holds.
            assert!(free + 575 >= 200, "{free}: `queued` would wait as long as `waiting`");
            let (free, others) = (free - 200, asked - squatter - 100 - 50);
            assert!(free + others < 1000 + 350, "{free} {others}: `waiting` would not have to wait");
            assert!(free + squatter + 575 >= 1000, "{free} {squatter}: `waiting` would wait for ever");
        }
    }

    #[test]
    fn each_part_plays_something_that_there_is() {
        use clap::ValueEnum as _;
        let known: Vec<String> = crate::workload::Kind::value_variants()
            .iter()
            .filter_map(|it| it.to_possible_value())
            .map(|it| it.get_name().to_owned())
            .collect();
        for (name, plays, ..) in PARTS {
            assert!(known.iter().any(|it| it == plays), "{name} plays {plays}");
        }
        assert_eq!(ASKED.parse::<Amount>().map(|it| it.request.is_some()), Ok(true));
    }
}
