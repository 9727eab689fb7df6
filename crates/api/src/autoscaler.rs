//! A `VerticalPodAutoscaler` as a layer of settings and whose it is to carry out.
//!
//! # Whose it is
//! VPA has no field that says who carries an object out: its updater takes every object, whatever recommender it names. So
//! the rule is ours:
//!
//! | `spec.recommenders` | `--vpa=named` (default) | `--vpa=all` | `--vpa=none` |
//! |---|---|---|---|
//! | names `supple` | ours | ours | another's |
//! | none, or names `default` | another's | ours | another's |
//! | names anybody else | another's | another's | another's |
//!
//! *Ours*: its settings are a layer of the policy, and we write `status`. With `updateMode: Off` that is all that is done.
//! *Another's*: it is not touched, and if its mode acts we stand back from its workload
//! ([`WorkloadFacts::other_vertical`](supple_decide::facts::WorkloadFacts::other_vertical)). `--vpa=all` is for clusters
//! from which VPA has been removed. Where VPA's updater still runs, an object that names `supple` should have `updateMode: Off`, or both
//! would act, and the mode be set by the workload's own label: an object is laid over every policy and label of a namespace, and always
//! says a mode. Its `Off` is no silence: it is what VPA's users write to have a workload left alone, and were it nothing, a policy of a
//! whole namespace or cluster would begin to act on what they had excepted.

use jiff::Timestamp;
use supple_decide::policy::{ContainerPolicy, CpuAndMemory, Direction, Layer, Limits, Mode, Origin};

use crate::layer::Reader;
use crate::names;
use crate::problem::{Problem, Problems};
use crate::resolve::{group, same_group};
use crate::vpa::{Amounts, ContainerResourcePolicy, EvictionRequirement, VerticalPodAutoscaler};

/// Which autoscalers are ours to carry out; the flag `--vpa`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CarryOut {
    /// Those that name `supple` in `spec.recommenders`.
    #[default]
    Named,
    /// Those that name nobody else too: VPA itself is not installed.
    All,
    /// None.
    None,
}

impl std::fmt::Display for CarryOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Named => "named",
            Self::All => "all",
            Self::None => "none",
        })
    }
}

impl std::str::FromStr for CarryOut {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "named" => Ok(Self::Named),
            "all" => Ok(Self::All),
            "none" => Ok(Self::None),
            other => Err(format!("{other:?} is unknown: write named, all or none")),
        }
    }
}

/// Whose an autoscaler is to carry out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Ours: it is a layer, and we write its status.
    Ours,
    /// Another's, who acts on the pods.
    OtherActs,
    /// Another's, who recommends only.
    OtherWatches,
}

/// Whose it is.
#[must_use]
pub fn standing(autoscaler: &VerticalPodAutoscaler, carry_out: CarryOut) -> Standing {
    let named = autoscaler.spec.recommenders.first().map_or(names::VPA_RECOMMENDER, |it| it.name.as_str());
    let ours = match carry_out {
        CarryOut::None => false,
        CarryOut::Named => named == names::RECOMMENDER,
        CarryOut::All => named == names::RECOMMENDER || named == names::VPA_RECOMMENDER,
    };
    let off = update_mode(autoscaler).is_some_and(|it| it == "Off");
    match (ours, off) {
        (true, _) => Standing::Ours,
        (false, true) => Standing::OtherWatches,
        (false, false) => Standing::OtherActs,
    }
}

/// Whether a target of this kind, written with this `apiVersion`, is a workload of the same kind and name that is of that one. VPA looks a
/// kind of Kubernetes' own up by name alone, so that `extensions/v1beta1`, a slip and nothing at all work with it: were such an object
/// not seen, two would act on one pod. For a kind that another group has given the same name (a `StatefulSet` of OpenKruise) VPA does
/// nothing, and as for every other kind its group has to be meant.
#[must_use]
pub fn is_target(kind: &str, written: Option<&str>, actual: &str) -> bool {
    let own = match kind {
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" => Some("apps"),
        "Job" | "CronJob" => Some("batch"),
        "ReplicationController" => Some(""),
        _ => None,
    };
    own == Some(group(actual)) || same_group(written, actual)
}

/// What an autoscaler is called in problems and ties: `verticalpodautoscaler/shop/web`.
#[must_use]
pub fn object(autoscaler: &VerticalPodAutoscaler) -> String {
    let meta = &autoscaler.metadata;
    let text = |it: &Option<String>| it.clone().unwrap_or_default();
    format!("verticalpodautoscaler/{}/{}", text(&meta.namespace), text(&meta.name))
}

fn update_mode(autoscaler: &VerticalPodAutoscaler) -> Option<&str> {
    autoscaler.spec.update_policy.as_ref()?.update_mode.as_deref()
}

/// The layer of one that is ours. The problems name every field that is not carried out, and what happens instead.
#[must_use]
pub fn layer(autoscaler: &VerticalPodAutoscaler) -> (Layer, Vec<Problem>) {
    let spec = &autoscaler.spec;
    let name = autoscaler.metadata.name.as_deref().unwrap_or_default();
    let mut to = Reader { problems: Problems::of(&object(autoscaler)), now: Timestamp::UNIX_EPOCH };
    let mut layer = Layer { origin: Origin::VerticalPodAutoscaler(name.into()), ..Layer::default() };

    layer.mode = Some(match update_mode(autoscaler) {
        None | Some("Recreate" | "Auto") => Mode::Recreate,
        Some("Off") => Mode::Off,
        Some("Initial") => Mode::Initial,
        Some("InPlaceOrRecreate") => Mode::InPlaceOrRecreate,
        Some("InPlace") => Mode::InPlace,
        Some(other) => {
            to.problems.add("spec.updatePolicy.updateMode", format!("{other:?} is unknown, so nothing is resized"));
            Mode::Off
        }
    });
    if let Some(update) = &spec.update_policy {
        layer.min_replicas = to.count("spec.updatePolicy.minReplicas", update.min_replicas);
        if !update.eviction_requirements.is_empty() {
            layer.recreate_only_for = Some(directions(&mut to, &update.eviction_requirements));
        }
        if update.evict_after_oom_seconds.is_some() {
            let message = "not needed: Supple reacts to every OOM kill at once, however long the container ran";
            to.problems.add("spec.updatePolicy.evictAfterOOMSeconds", message);
        }
    }
    if spec.startup_boost.is_some() {
        to.problems.add("spec.startupBoost", NO_BOOST);
    }
    let containers = spec.resource_policy.iter().flat_map(|it| it.container_policies.iter().enumerate());
    for (index, said) in containers {
        let field = format!("spec.resourcePolicy.containerPolicies[{index}]");
        let name = if said.container_name.is_empty() { "*" } else { &said.container_name };
        let policy = container(&mut to, &field, said);
        to.once(&field, &mut layer.containers, name, policy);
    }
    (layer, to.problems.found)
}

const NO_BOOST: &str = "not applied: pods start with the recommended sizes, and usage during start-up does not count \
                        as normal usage";

/// As the proposal has it, they are asked of evictions, not of a resize in place, which disturbs nobody.
fn directions(to: &mut Reader, requirements: &[EvictionRequirement]) -> Vec<Direction> {
    let read = requirements.iter().enumerate().filter_map(|(index, requirement)| {
        let field = format!("spec.updatePolicy.evictionRequirements[{index}]");
        let rises = match requirement.change_requirement.as_str() {
            "TargetHigherThanRequests" => true,
            "TargetLowerThanRequests" => false,
            word => {
                let message = format!("{word:?} is unknown, so the requirement is ignored");
                to.problems.add(format!("{field}.changeRequirement"), message);
                return None;
            }
        };
        let mut direction = Direction { rises, ..Direction::default() };
        for resource in &requirement.resources {
            match resource.as_str() {
                "cpu" => direction.cpu = true,
                "memory" => direction.memory = true,
                other => {
                    let message = format!("{other:?} cannot be resized and is ignored");
                    to.problems.add(format!("{field}.resources"), message);
                }
            }
        }
        (direction.cpu || direction.memory).then_some(direction)
    });
    read.collect()
}

fn container(to: &mut Reader, field: &str, said: &ContainerResourcePolicy) -> ContainerPolicy {
    let off = said.mode.as_deref().map(|word| {
        if !matches!(word, "Auto" | "Off") {
            to.problems.add(format!("{field}.mode"), format!("{word:?} is unknown, so the container is not resized"));
        }
        word != "Auto"
    });
    let at_least = bounds(to, &format!("{field}.minAllowed"), said.min_allowed.as_ref());
    let at_most = bounds(to, &format!("{field}.maxAllowed"), said.max_allowed.as_ref());
    to.ordered(field, at_least, at_most);
    let controlled = said.controlled_resources.as_ref().map(|list| {
        for other in list.iter().filter(|it| !matches!(it.as_str(), "cpu" | "memory")) {
            let message = format!("{other:?} cannot be resized and is ignored");
            to.problems.add(format!("{field}.controlledResources"), message);
        }
        (list.iter().any(|it| it == "cpu"), list.iter().any(|it| it == "memory"))
    });
    let limits = said.controlled_values.as_deref().and_then(|word| match word {
        "RequestsAndLimits" => Some(Limits::Ratio),
        "RequestsOnly" => Some(Limits::Keep),
        other => {
            to.problems.add(format!("{field}.controlledValues"), format!("{other:?} is unknown and ignored"));
            None
        }
    });
    let learned = "not applied: the size after an OOM kill comes from the container's history";
    let history = "not applied: memory history is one week, hour by hour";
    for (set, name, message) in [
        (said.oom_bump_up_ratio.is_some(), "oomBumpUpRatio", learned),
        (said.oom_min_bump_up.is_some(), "oomMinBumpUp", learned),
        (said.memory_aggregation_interval_seconds.is_some(), "memoryAggregationIntervalSeconds", history),
        (said.memory_aggregation_interval_count.is_some(), "memoryAggregationIntervalCount", history),
        (said.startup_boost.is_some(), "startupBoost", NO_BOOST),
    ] {
        if set {
            to.problems.add(format!("{field}.{name}"), message);
        }
    }
    ContainerPolicy { off, at_least, at_most, controlled, limits }
}

fn bounds(to: &mut Reader, field: &str, amounts: Option<&Amounts>) -> CpuAndMemory {
    let Some(amounts) = amounts else { return CpuAndMemory::default() };
    for other in amounts.keys().filter(|it| !matches!(it.as_str(), "cpu" | "memory")) {
        to.problems.add(format!("{field}.{other}"), "it cannot be resized and is ignored");
    }
    CpuAndMemory {
        cpu: to.cpu(&format!("{field}.cpu"), amounts.get("cpu")),
        memory: to.memory(&format!("{field}.memory"), amounts.get("memory")),
    }
}
