//! A `RightsizePolicy` as it is applied to a cluster, taken for a policy of a replay: what means something to recorded use is used,
//! over what is built in, and what does not is named. Pure.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;
use supple_api::layer::{of_cluster_policy, of_policy};
use supple_api::policy::{ClusterRightsizePolicy, RightsizePolicy};
use supple_decide::policy::{ContainerPolicy, Limits, Policy as Settings};
use supple_quantity::{Bytes, MilliCpu};
use supple_recommend::policy::{Policy, Risk, Terms};
use supple_recommend::resource::Resource;
use supple_replay::decide::Decide;

use super::yaml;

/// What a policy came to.
#[derive(Debug)]
pub struct Read {
    /// Its name.
    pub name: Option<String>,
    /// How it judges.
    pub policy: Policy,
    /// How it decides.
    pub decide: Decide,
    /// What of it a replay does not use.
    pub notes: Vec<String>,
}

/// The policy that a text holds, where it is an object of one of our kinds; `None`: it is something else.
pub fn read(text: &str) -> Option<Result<Read, String>> {
    let written = yaml::<Value>(text).ok()?;
    let kind = written.get("kind")?.as_str()?;
    // A pause is the only thing that knows of now, and a replay knows none.
    let now = Timestamp::UNIX_EPOCH;
    let layer = match kind {
        "RightsizePolicy" => typed::<RightsizePolicy>(&written).map(|it| {
            let said = serde_json::to_value(&it.spec).unwrap_or_default();
            (it.metadata.name.clone(), said, of_policy(&it, now))
        }),
        "ClusterRightsizePolicy" => typed::<ClusterRightsizePolicy>(&written).map(|it| {
            let said = serde_json::to_value(&it.spec).unwrap_or_default();
            (it.metadata.name.clone(), said, of_cluster_policy(&it, now))
        }),
        other => {
            return Some(Err(format!(
                "it is a {other}; expected a RightsizePolicy, a ClusterRightsizePolicy, or a replay policy"
            )));
        }
    };
    Some(layer.and_then(|(name, said, (layer, problems))| {
        if let Some(field) = missing("spec", written.get("spec").unwrap_or(&Value::Null), &said) {
            return Err(format!("{field}: unknown field"));
        }
        if let Some(problem) = problems.first() {
            return Err(format!("{}: {}", problem.field, problem.message));
        }
        let settings = Settings::default().under(layer);
        let mut notes = Vec::new();
        let (policy, decide) = build(&settings, &mut notes)?;
        if let Some(unused) = unused(&said) {
            notes.push(unused);
        }
        Ok(Read { name, policy, decide, notes })
    }))
}

/// The fields that mean something to recorded use.
const USED: [&str; 8] = ["coolDown", "headroom", "limits", "resourcePolicy", "risk", "startup", "steps", "threshold"];

/// The fields that are said and not used, in one sentence.
fn unused(said: &Value) -> Option<String> {
    let unused: Vec<&str> = said.as_object()?.keys().map(String::as_str).filter(|it| !USED.contains(it)).collect();
    (!unused.is_empty()).then(|| format!("a replay ignores {}: they apply only to a cluster", unused.join(", ")))
}

/// An object by way of its text's values, as the API server would be given it.
fn typed<T: DeserializeOwned>(written: &Value) -> Result<T, String> {
    serde_json::from_value(written.clone()).map_err(|error| error.to_string())
}

/// The first field that was not understood: reading passes over what it does not know.
fn missing(at: &str, written: &Value, said: &Value) -> Option<String> {
    written.as_object()?.iter().find_map(|(name, value)| {
        let at = format!("{at}.{name}");
        match said.get(name) {
            Some(said) => missing(&at, value, said),
            // What says nothing is left out when it is written again.
            None if value.is_null() || value.as_array().is_some_and(Vec::is_empty) => None,
            None => Some(at),
        }
    })
}

fn build(settings: &Settings, notes: &mut Vec<String>) -> Result<(Policy, Decide), String> {
    let mut policy = Policy::default();
    let container = all_containers(settings, notes);
    let risk = |resource, text: Option<&str>| {
        text.map(|it| Risk::of(resource, it)).transpose().map_err(|error| format!("spec.risk: {error}"))
    };
    policy.cpu.risk = risk(Resource::Cpu, settings.cpu_risk.value.as_deref())?;
    policy.memory.risk = risk(Resource::Memory, settings.memory_risk.value.as_deref())?;
    policy.cpu.beliefs.margin = 1.0 + f64::from(settings.cpu_headroom_percent.value) / 100.0;
    policy.memory.beliefs.margin = 1.0 + f64::from(settings.memory_headroom_percent.value) / 100.0;
    let (least, most) = (container.at_least, container.at_most);
    bounds(&mut policy.cpu, "cpu", least.cpu.map(|MilliCpu(it)| it), most.cpu.map(|MilliCpu(it)| it))?;
    bounds(&mut policy.memory, "memory", least.memory.map(|Bytes(it)| it), most.memory.map(|Bytes(it)| it))?;
    match container.limits.unwrap_or(settings.limits.value) {
        Limits::Equal => (policy.cpu.limit, policy.memory.limit) = (true, true),
        Limits::None => (policy.cpu.limit, policy.memory.limit) = (false, false),
        kept @ (Limits::Ratio | Limits::Keep) => notes.push(format!(
            "limits: {kept:?} needs the pod's limits, and a recording has none: the replay sets the memory limit to \
             the request and no CPU limit"
        )),
    }
    policy.startup = settings.startup.value.as_secs();
    let steps = &settings.steps.value;
    // The decision of a replay has one cap for both: the smaller step.
    let smaller = |cpu: Option<u32>, memory: Option<u32>| cpu.into_iter().chain(memory).min();
    if (steps.cpu_up, steps.cpu_down) != (steps.memory_up, steps.memory_down) {
        notes.push("steps: a replay has one cap up and one cap down: the smaller of CPU's and memory's".to_owned());
    }
    let decide = Decide {
        threshold: f64::from(settings.threshold_percent.value) / 100.0,
        cool_down: settings.cool_down_down.value.as_secs(),
        most_up: smaller(steps.cpu_up, steps.memory_up).map_or(f64::INFINITY, |it| 1.0 + f64::from(it) / 100.0),
        most_down: smaller(steps.cpu_down, steps.memory_down)
            .filter(|it| *it < 100)
            .map_or(f64::INFINITY, |it| 100.0 / f64::from(100 - it)),
        ..Decide::default()
    };
    Ok((policy, decide))
}

/// What is said of all containers; what is said of some is named.
fn all_containers(settings: &Settings, notes: &mut Vec<String>) -> ContainerPolicy {
    let mut all = ContainerPolicy::default();
    for (name, said) in settings.containers.iter().flat_map(|(_, it)| it) {
        if &**name == "*" {
            all = said.clone();
        } else {
            notes.push(format!(
                "a replay ignores containerPolicies of {name:?}: its policy is the same for all containers"
            ));
        }
    }
    if all.off == Some(true) || all.controlled.is_some_and(|it| it != (true, true)) {
        notes.push(
            "a replay ignores mode and controlledResources: it sizes CPU and memory of all containers".to_owned(),
        );
    }
    all
}

fn bounds(terms: &mut Terms, of: &str, least: Option<i64>, most: Option<i64>) -> Result<(), String> {
    terms.least = least.unwrap_or(terms.least).max(1);
    terms.most = most.unwrap_or(terms.most);
    if terms.least > terms.most { Err(format!("minAllowed.{of} is greater than maxAllowed.{of}")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "apiVersion: supple.dev/v1alpha1\nkind: RightsizePolicy\nmetadata: { name: web }\nspec:\n";

    fn of(spec: &str) -> Result<Read, String> {
        read(&format!("{HEAD}{spec}")).expect("it is a policy")
    }

    #[test]
    fn what_is_applied_can_be_replayed() {
        let it = of("  risk: { memory: 1 per 30 days }\n  headroom: { cpu: 20 }\n  limits: Equal\n  coolDown: { down: 2h }\n  \
                     steps: { cpuUp: 300, cpuDown: 50, memoryUp: 100, memoryDown: 50 }\n  threshold: 5\n  startup: 3m\n  \
                     resourcePolicy: { containerPolicies: [{ containerName: '*', minAllowed: { cpu: 10m }, maxAllowed: { memory: 8Gi } }] }\n")
            .unwrap();
        assert_eq!(it.name.as_deref(), Some("web"));
        assert_eq!(it.policy.memory.risk, Some(Risk::Rate { count: 1.0, seconds: 30.0 * 86_400.0 }));
        assert_eq!((it.policy.cpu.beliefs.margin, it.policy.memory.beliefs.margin), (1.2, 1.0));
        assert_eq!((it.policy.cpu.least, it.policy.memory.most, it.policy.startup), (10, 8 << 30, 180));
        assert_eq!((it.policy.cpu.limit, it.policy.memory.limit), (true, true));
        assert_eq!((it.decide.threshold, it.decide.cool_down), (0.05, 7200));
        assert_eq!((it.decide.most_up, it.decide.most_down), (2.0, 2.0));
    }

    #[test]
    fn what_is_not_said_is_what_is_built_in_and_what_is_not_used_is_named() {
        let it = of("  paused: { reason: over }\n  hpa: Adjust\n  resourcePolicy: { containerPolicies: [{ containerName: app }] }\n").unwrap();
        assert_eq!((it.decide.threshold, it.decide.cool_down), (0.1, 3600));
        let notes = it.notes.join("\n");
        for part in ["hpa, paused", "limits: Ratio", "containerPolicies of \"app\"", "the smaller of"] {
            assert!(notes.contains(part), "{part}: {notes}");
        }
    }

    #[test]
    fn others_are_refused_or_are_no_objects() {
        assert!(read("name: careful\n").is_none());
        assert!(read("[").is_none());
        assert!(read("kind: Deployment\n").unwrap().unwrap_err().contains("it is a Deployment"));
        assert!(of("  risk: { cpu: often }\n").unwrap_err().contains("risk.cpu"));
        assert!(of("  risk: { memory: 1 % of time }\n").unwrap_err().contains("as in \"1 per 30 days\""));
        assert!(of("  threshold: many\n").is_err());
        assert_eq!(of("  risk: { memroy: 1 per day }\n").unwrap_err(), "spec.risk.memroy: unknown field");
        assert_eq!(of("  windows: []\n").unwrap().name.as_deref(), Some("web"));
    }
}
