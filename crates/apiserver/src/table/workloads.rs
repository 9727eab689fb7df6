//! Columns and cells of workloads, of what scales them and of what guards them, as `kubectl get` shows them in Kubernetes
//! v1.36.

use jiff::Timestamp;
use serde_json::Value;

use super::age::{UNKNOWN, human_duration, since};
use super::printers::{AGE, NAME, age, name};
use super::{Column, Printer};
use crate::selector::LabelSelector;
use crate::tree::{at, items, number, text};
use crate::validate::rules::autoscaler;

const NONE: &str = "<none>";

const READY: Column = Column::saying("Ready", "Number of the pod with ready state");
const CONTAINERS: Column = Column::saying("Containers", "Names of each container in the template.").wide();
const IMAGES: Column = Column::saying("Images", "Images referenced by each container in the template.").wide();

const fn count(name: &'static str, type_name: &'static str, field: &'static str) -> Column {
    Column::of(name, type_name, field).holding("integer")
}

const fn selector_of(type_name: &'static str) -> Column {
    Column::of("Selector", type_name, "selector").wide()
}

const DEPLOYMENT: &str = "api.apps.v1.DeploymentStatus";

/// Deployments.
pub static DEPLOYMENTS: Printer = Printer {
    columns: &[
        NAME,
        READY,
        Column::of("Up-to-date", DEPLOYMENT, "updatedReplicas"),
        Column::of("Available", DEPLOYMENT, "availableReplicas"),
        AGE,
        CONTAINERS,
        IMAGES,
        selector_of("api.apps.v1.DeploymentSpec"),
    ],
    cells: |it, now| {
        vec![
            name(it),
            ready(it),
            number(it, "status.updatedReplicas").into(),
            number(it, "status.availableReplicas").into(),
            age(it, now),
            containers(it, "spec.template.spec"),
            images(it, "spec.template.spec"),
            selector(it, "spec.selector"),
        ]
    },
    condition: None,
};

const SCALE: &str = "api.autoscaling.v1.ScaleStatus";

/// Scales.
pub static SCALES: Printer = Printer {
    columns: &[
        NAME,
        count("Desired", "api.autoscaling.v1.ScaleSpec", "replicas"),
        count("Available", SCALE, "replicas"),
        AGE,
    ],
    cells: |it, now| {
        vec![name(it), number(it, "spec.replicas").into(), number(it, "status.replicas").into(), age(it, now)]
    },
    condition: None,
};

const REPLICA_SET: &str = "api.apps.v1.ReplicaSetStatus";

/// Replica sets.
pub static REPLICA_SETS: Printer = Printer {
    columns: &[
        NAME,
        count("Desired", "api.apps.v1.ReplicaSetSpec", "replicas"),
        count("Current", REPLICA_SET, "replicas"),
        count("Ready", REPLICA_SET, "readyReplicas"),
        AGE,
        CONTAINERS,
        IMAGES,
        selector_of("api.apps.v1.ReplicaSetSpec"),
    ],
    cells: |it, now| {
        vec![
            name(it),
            number(it, "spec.replicas").into(),
            number(it, "status.replicas").into(),
            number(it, "status.readyReplicas").into(),
            age(it, now),
            containers(it, "spec.template.spec"),
            images(it, "spec.template.spec"),
            selector(it, "spec.selector"),
        ]
    },
    condition: None,
};

/// Stateful sets.
pub static STATEFUL_SETS: Printer = Printer {
    columns: &[NAME, READY, AGE, CONTAINERS, IMAGES],
    cells: |it, now| {
        let pod = "spec.template.spec";
        vec![name(it), ready(it), age(it, now), containers(it, pod), images(it, pod)]
    },
    condition: None,
};

const DAEMON_SET: &str = "api.apps.v1.DaemonSetStatus";

/// Daemon sets.
pub static DAEMON_SETS: Printer = Printer {
    columns: &[
        NAME,
        count("Desired", DAEMON_SET, "desiredNumberScheduled"),
        count("Current", DAEMON_SET, "currentNumberScheduled"),
        count("Ready", DAEMON_SET, "numberReady"),
        count("Up-to-date", DAEMON_SET, "updatedNumberScheduled"),
        count("Available", DAEMON_SET, "numberAvailable"),
        Column::of("Node Selector", "api.core.v1.PodSpec", "nodeSelector"),
        AGE,
        CONTAINERS,
        IMAGES,
        selector_of("api.apps.v1.DaemonSetSpec"),
    ],
    cells: |it, now| {
        let mut cells = vec![name(it)];
        let counts = [
            "desiredNumberScheduled",
            "currentNumberScheduled",
            "numberReady",
            "updatedNumberScheduled",
            "numberAvailable",
        ];
        cells.extend(counts.map(|field| number(at(it, "status"), field).into()));
        let node_selector = at(it, "spec.template.spec.nodeSelector").as_object();
        let labels: Vec<String> = node_selector
            .into_iter()
            .flatten()
            .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
            .collect();
        cells.extend([
            or_none(&labels.join(",")),
            age(it, now),
            containers(it, "spec.template.spec"),
            images(it, "spec.template.spec"),
            selector(it, "spec.selector"),
        ]);
        cells
    },
    condition: None,
};

/// Revisions of stateful and daemon sets.
pub static CONTROLLER_REVISIONS: Printer = Printer {
    columns: &[
        NAME,
        Column::saying("Controller", "Controller of the object"),
        Column::of("Revision", "api.apps.v1.ControllerRevision", "revision"),
        AGE,
    ],
    cells: |it, now| {
        let owner = items(it, "metadata.ownerReferences").iter().find(|it| at(it, "controller") == true);
        let controller = owner.map_or_else(
            || NONE.to_owned(),
            |owner| {
                let group = text(owner, "apiVersion").split_once('/').map_or("", |(group, _)| group);
                let dot = if group.is_empty() { "" } else { "." };
                format!("{}{dot}{group}/{}", text(owner, "kind").to_lowercase(), text(owner, "name"))
            },
        );
        vec![name(it), controller.into(), number(it, "revision").into(), age(it, now)]
    },
    condition: None,
};

/// Jobs.
pub static JOBS: Printer = Printer {
    columns: &[
        NAME,
        Column::saying("Status", "Status of the job."),
        Column::of("Completions", "api.batch.v1.JobStatus", "succeeded"),
        Column::saying("Duration", "Time required to complete the job."),
        AGE,
        CONTAINERS,
        IMAGES,
        selector_of("api.batch.v1.JobSpec"),
    ],
    cells: |it, now| {
        vec![
            name(it),
            job_status(it).into(),
            completions(it).into(),
            duration(it, now).into(),
            age(it, now),
            containers(it, "spec.template.spec"),
            images(it, "spec.template.spec"),
            selector(it, "spec.selector"),
        ]
    },
    condition: None,
};

const CRON_JOB: &str = "api.batch.v1.CronJobSpec";

/// Cron jobs.
pub static CRON_JOBS: Printer = Printer {
    columns: &[
        NAME,
        Column::of("Schedule", CRON_JOB, "schedule"),
        Column::of("Timezone", CRON_JOB, "timeZone"),
        Column::of("Suspend", CRON_JOB, "suspend").holding("boolean"),
        Column::of("Active", "api.batch.v1.CronJobStatus", "active").holding("integer"),
        Column::of("Last Schedule", "api.batch.v1.CronJobStatus", "lastScheduleTime"),
        AGE,
        CONTAINERS,
        IMAGES,
        selector_of("api.batch.v1.JobSpec"),
    ],
    cells: |it, now| {
        let last = text(it, "status.lastScheduleTime");
        let pod = "spec.jobTemplate.spec.template.spec";
        vec![
            name(it),
            text(it, "spec.schedule").into(),
            or_none(text(it, "spec.timeZone")),
            (if at(it, "spec.suspend") == true { "True" } else { "False" }).into(),
            items(it, "status.active").len().into(),
            if last.is_empty() { NONE.into() } else { since(last, now).into() },
            age(it, now),
            containers(it, pod),
            images(it, pod),
            selector(it, "spec.jobTemplate.spec.selector"),
        ]
    },
    condition: None,
};

/// Disruption budgets.
pub static DISRUPTION_BUDGETS: Printer = Printer {
    columns: &[
        NAME,
        Column::saying("Min Available", "The minimum number of pods that must be available."),
        Column::saying("Max Unavailable", "The maximum number of pods that may be unavailable."),
        Column::saying("Allowed Disruptions", "Calculated number of pods that may be disrupted at this time.")
            .holding("integer"),
        AGE,
    ],
    cells: |it, now| {
        let share = |field: &str| match at(at(it, "spec"), field) {
            Value::Null => "N/A".into(),
            Value::String(text) => Value::from(text.as_str()),
            number => number.to_string().into(),
        };
        let allowed = number(it, "status.disruptionsAllowed");
        vec![name(it), share("minAvailable"), share("maxUnavailable"), allowed.into(), age(it, now)]
    },
    condition: None,
};

const AUTOSCALER: &str = "api.autoscaling.v2.HorizontalPodAutoscalerSpec";

const AUTOSCALER_COLUMNS: &[Column] = &[
    NAME,
    Column::of("Reference", AUTOSCALER, "scaleTargetRef"),
    Column::of("Targets", AUTOSCALER, "metrics"),
    Column::of("MinPods", AUTOSCALER, "minReplicas"),
    Column::of("MaxPods", AUTOSCALER, "maxReplicas"),
    Column::of("Replicas", "api.autoscaling.v2.HorizontalPodAutoscalerStatus", "currentReplicas"),
    AGE,
];

/// Autoscalers.
pub static AUTOSCALERS: Printer = Printer { columns: AUTOSCALER_COLUMNS, cells: autoscaler_cells, condition: None };

/// Autoscalers in the form of `autoscaling/v1`: the same row.
pub static AUTOSCALERS_V1: Printer = Printer {
    columns: AUTOSCALER_COLUMNS,
    cells: |it, now| autoscaler_cells(&autoscaler::to_v2(it.clone()), now),
    condition: None,
};

fn autoscaler_cells(it: &Value, now: Timestamp) -> Vec<Value> {
    let target = at(it, "spec.scaleTargetRef");
    let least = at(it, "spec.minReplicas").as_i64();
    vec![
        name(it),
        format!("{}/{}", text(target, "kind"), text(target, "name")).into(),
        targets(it).into(),
        least.map_or_else(|| "<unset>".to_owned(), |it| it.to_string()).into(),
        number(it, "spec.maxReplicas").into(),
        number(it, "status.currentReplicas").into(),
        age(it, now),
    ]
}

/// How many metrics a cell shows before it only counts them.
const SHOWN_METRICS: usize = 2;

/// `cpu: 55%/70%` for each metric: what it is and what it is to be.
fn targets(autoscaler: &Value) -> String {
    let metrics = items(autoscaler, "spec.metrics");
    if metrics.is_empty() {
        return NONE.to_owned();
    }
    let states = items(autoscaler, "status.currentMetrics");
    let shown: Vec<String> = metrics
        .iter()
        .enumerate()
        .take(SHOWN_METRICS)
        .map(|(index, metric)| target(metric, states.get(index).unwrap_or(&Value::Null)))
        .collect();
    let more = metrics.len().saturating_sub(SHOWN_METRICS);
    if more > 0 { format!("{} + {more} more...", shown.join(", ")) } else { shown.join(", ") }
}

fn target(metric: &Value, state: &Value) -> String {
    let source = match text(metric, "type") {
        "External" => "external",
        "Pods" => "pods",
        "Object" => "object",
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        _ => return "<unknown type>".to_owned(),
    };
    let (wanted, current) = (at(at(metric, source), "target"), at(at(state, source), "current"));
    let amount = |of: &Value, field: &str, unit: &str| match at(of, field) {
        Value::Null => UNKNOWN.to_owned(),
        Value::String(text) => text.clone(),
        number => format!("{number}{unit}"),
    };
    let pair = |field: &str, unit: &str, note: &str| {
        format!("{}/{}{note}", amount(current, field, unit), amount(wanted, field, unit))
    };
    let average = !at(wanted, "averageValue").is_null();
    match source {
        "pods" => pair("averageValue", "", ""),
        "external" | "object" if average => pair("averageValue", "", " (avg)"),
        "external" | "object" => pair("value", "", ""),
        _ => {
            let place = if source == "resource" {
                text(metric, "resource.name").to_owned()
            } else {
                let own = at(metric, "containerResource");
                format!("{}/{}", text(own, "container"), text(own, "name"))
            };
            let share = if average { pair("averageValue", "", "") } else { pair("averageUtilization", "%", "") };
            format!("{place}: {share}")
        }
    }
}

fn ready(workload: &Value) -> Value {
    format!("{}/{}", number(workload, "status.readyReplicas"), number(workload, "spec.replicas")).into()
}

fn or_none(text: &str) -> Value {
    (if text.is_empty() { NONE } else { text }).into()
}

fn joined(object: &Value, pod: &str, field: &str) -> Value {
    let containers = items(at(object, pod), "containers").iter();
    containers.map(|it| text(it, field)).collect::<Vec<_>>().join(",").into()
}

fn containers(object: &Value, pod: &str) -> Value {
    joined(object, pod, "name")
}

fn images(object: &Value, pod: &str) -> Value {
    joined(object, pod, "image")
}

fn selector(object: &Value, path: &str) -> Value {
    match LabelSelector::of(at(object, path)) {
        Ok(selector) => or_none(&selector.to_string()),
        Err(_) => "<invalid>".into(),
    }
}

fn job_status(job: &Value) -> &'static str {
    let holds = |kind: &str| {
        let conditions = items(job, "status.conditions");
        conditions.iter().any(|it| text(it, "type") == kind && text(it, "status") == "True")
    };
    let words = [
        ("Complete", "Complete"),
        ("Failed", "Failed"),
        ("Suspended", "Suspended"),
        ("SuccessCriteriaMet", "SuccessCriteriaMet"),
        ("FailureTarget", "FailureTarget"),
    ];
    let found = words.into_iter().find(|(kind, _)| holds(kind)).map(|(_, word)| word);
    let going = !at(job, "metadata.deletionTimestamp").is_null();
    match found {
        Some(word @ ("Complete" | "Failed")) => word,
        _ if going => "Terminating",
        Some(word) => word,
        None => "Running",
    }
}

fn completions(job: &Value) -> String {
    let done = number(job, "status.succeeded");
    if let Some(wanted) = at(job, "spec.completions").as_i64() {
        return format!("{done}/{wanted}");
    }
    match number(job, "spec.parallelism") {
        parallel @ 2.. => format!("{done}/1 of {parallel}"),
        _ => format!("{done}/1"),
    }
}

fn duration(job: &Value, now: Timestamp) -> String {
    let moment = |field: &str| text(at(job, "status"), field).parse::<Timestamp>().ok();
    let Some(start) = moment("startTime") else { return String::new() };
    let end = moment("completionTime").or_else(|| {
        let conditions = items(job, "status.conditions");
        let failed = conditions.iter().find(|it| text(it, "type") == "Failed" && text(it, "status") == "True")?;
        text(failed, "lastTransitionTime").parse().ok()
    });
    let end = end.unwrap_or(now);
    human_duration(end.as_second().saturating_sub(start.as_second()))
}
