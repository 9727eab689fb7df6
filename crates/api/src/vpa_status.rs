//! What is written into the status of a `VerticalPodAutoscaler` that is ours.

use std::sync::Arc;

use jiff::Timestamp;
use supple_decide::few::Few;
use supple_decide::need::Need;
use supple_decide::policy::Policy;
use supple_quantity::{Bytes, MilliCpu, Quantity};

use crate::condition::{self, CONTESTED, Said};
use crate::problem::Problem;
use crate::vpa::{
    RecommendedContainerResources, RecommendedPodResources, VerticalPodAutoscaler, VerticalPodAutoscalerStatus,
};
use crate::word::Amount;

/// There is a recommendation.
pub const RECOMMENDATION_PROVIDED: &str = "RecommendationProvided";
/// There is one, and it is not sure.
pub const LOW_CONFIDENCE: &str = "LowConfidence";
/// Its target has no pods.
pub const NO_PODS_MATCHED: &str = "NoPodsMatched";
/// It says something that is not carried out.
pub const CONFIG_UNSUPPORTED: &str = "ConfigUnsupported";
/// It says something that is said otherwise today.
pub const CONFIG_DEPRECATED: &str = "ConfigDeprecated";

/// What is known of the workload of an autoscaler.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// What its containers need.
    pub needs: &'a Few<Arc<str>, Need>,
    /// What holds for it.
    pub policy: &'a Policy,
    /// How many pods it has.
    pub pods: usize,
    /// What of the autoscaler is not carried out: [`crate::autoscaler::layer`].
    pub problems: &'a [Problem],
    /// Another of ours that speaks of the same workload and has the last word about it: its name.
    pub overruled_by: Option<&'a str>,
    /// Its target is another than when what it recommends was written.
    pub moved: bool,
}

/// The status, the times of its conditions kept from the one before. A recommendation that was given stays while nothing is
/// known, as VPA has it: a restart takes nothing away. But of another target it says nothing, nor of containers that are off by now.
#[must_use]
pub fn status(autoscaler: &VerticalPodAutoscaler, known: &Known<'_>, now: Timestamp) -> VerticalPodAutoscalerStatus {
    let generation = autoscaler.metadata.generation;
    let before = autoscaler.status.clone().unwrap_or_default();
    let new = recommendation(known.needs, known.policy);
    let recommendation = match known.overruled_by {
        Some(_) => None, // what it said before it was overruled is followed by nobody
        None if !new.container_recommendations.is_empty() => Some(new),
        None => before.recommendation.filter(|_| !known.moved).map(|it| still_said(it, known.policy)),
    };
    let recommendation = recommendation.filter(|it| !it.container_recommendations.is_empty());
    let provided = recommendation.is_some();
    let mut conditions = before.conditions;
    let mut say = |type_: &'static str, said: Option<(bool, &'static str, String)>| match said {
        Some((status, reason, message)) => {
            condition::set_vpa(&mut conditions, Said { type_, status: Some(status), reason, message }, generation, now);
        }
        None => conditions.retain(|it| it.type_ != type_),
    };
    let contested = known.overruled_by.map(|other| {
        format!(
            "verticalpodautoscaler/{other} has the same target and is older: Supple ignores this one; remove one \
                 of the two"
        )
    });
    let no_pods = (known.pods == 0).then(|| (true, "NoPodsMatched", "No pods match this VPA object".to_owned()));
    let given = match (provided, &no_pods, &contested) {
        (true, ..) => (true, "", String::new()),
        (false, Some((_, reason, message)), _) => (false, *reason, message.clone()),
        (false, None, Some(message)) => (false, CONTESTED, message.clone()),
        (false, None, None) if is_all_left_out(known) => {
            let message = "no container is sized: each has mode Off, or no controlled resource";
            (false, "NothingControlled", message.to_owned())
        }
        (false, None, None) => (false, "NoData", "there are no measurements yet".to_owned()),
    };
    say(RECOMMENDATION_PROVIDED, Some(given));
    say(NO_PODS_MATCHED, no_pods);
    let doubts = doubts(known).filter(|_| known.overruled_by.is_none());
    say(LOW_CONFIDENCE, doubts.map(|message| (true, "LowConfidence", message)));
    let unsupported: Vec<String> = known.problems.iter().map(|it| format!("{}: {}", it.field, it.message)).collect();
    let unsupported = (!unsupported.is_empty()).then(|| (true, "FieldsLeftOut", unsupported.join("; ")));
    say(CONFIG_UNSUPPORTED, contested.map(|message| (true, CONTESTED, message)).or(unsupported));
    let mode = autoscaler.spec.update_policy.as_ref().and_then(|it| it.update_mode.as_deref());
    let deprecated = "updateMode Auto is deprecated and means Recreate; write Recreate or InPlaceOrRecreate";
    say(CONFIG_DEPRECATED, (mode == Some("Auto")).then(|| (true, "UpdateModeAuto", deprecated.to_owned())));
    VerticalPodAutoscalerStatus { recommendation, conditions, observed_generation: generation }
}

/// Whether this stands there already, as far as what was read can say so. The definition of VPA before 1.7 has no `observedGeneration`,
/// and a server leaves out what a definition has not: compared with that, each status would be another one for ever.
#[must_use]
pub fn stands(read: &VerticalPodAutoscalerStatus, new: &VerticalPodAutoscalerStatus) -> bool {
    let mut new = new.clone();
    new.observed_generation = new.observed_generation.filter(|_| read.observed_generation.is_some());
    for (new, read) in new.conditions.iter_mut().zip(&read.conditions) {
        new.observed_generation = new.observed_generation.filter(|_| read.observed_generation.is_some());
    }
    *read == new
}

/// Which containers that are sized are known too little of, and why.
fn doubts(known: &Known<'_>) -> Option<String> {
    let least = known.policy.min_confidence_permille.value;
    let mut unsure = Vec::new();
    for (name, need) in known.needs {
        let settings = known.policy.container(name);
        let (cpu_is_ours, memory_is_ours) = settings.controlled.value;
        if settings.off.value {
            continue;
        }
        let cpu = need.cpu.as_ref().map(|it| ("cpu", it.confidence_permille, &it.doubt));
        let memory = need.memory.as_ref().map(|it| ("memory", it.confidence_permille, &it.doubt));
        let ours = cpu.filter(|_| cpu_is_ours).into_iter().chain(memory.filter(|_| memory_is_ours));
        for (resource, sure, doubt) in ours.filter(|it| it.1 < least) {
            unsure.push(format!("{name}: {resource} {}% ({doubt})", sure / 10));
        }
    }
    (!unsure.is_empty()).then(|| format!("below {}%, nothing is lowered: {}", least / 10, unsure.join(", ")))
}

/// `status.recommendation`: by container, in VPA's notation (memory in plain bytes), held within the policy's bounds, and what
/// it were without them. Containers that are not sized and resources that are not ours are left out, as VPA has it.
#[must_use]
pub fn recommendation(needs: &Few<Arc<str>, Need>, policy: &Policy) -> RecommendedPodResources {
    let mut all = RecommendedPodResources::default();
    for (name, need) in needs {
        let settings = policy.container(name);
        if settings.off.value {
            continue;
        }
        let mut one = RecommendedContainerResources { container_name: name.to_string(), ..Default::default() };
        let (cpu_is_ours, memory_is_ours) = settings.controlled.value;
        if let Some(cpu) = need.cpu.as_ref().filter(|_| cpu_is_ours) {
            let held = |it: MilliCpu| cpu_text(within(it, settings.at_least.cpu, settings.at_most.cpu));
            set(&mut one, "cpu", [held(cpu.target), held(cpu.lower), held(cpu.upper), cpu_text(cpu.target)]);
        }
        if let Some(memory) = need.memory.as_ref().filter(|_| memory_is_ours) {
            let held = |it: Bytes| memory_text(within(it, settings.at_least.memory, settings.at_most.memory));
            let amounts = [held(memory.target), held(memory.lower), held(memory.upper), memory_text(memory.target)];
            set(&mut one, "memory", amounts);
        }
        if !one.target.is_empty() {
            all.container_recommendations.push(one);
        }
    }
    all
}

/// Whether it has containers, and sizes none of them.
fn is_all_left_out(known: &Known<'_>) -> bool {
    let mut settings = known.needs.iter().map(|(name, _)| known.policy.container(name));
    !known.needs.is_empty() && settings.all(|it| it.off.value || it.controlled.value == (false, false))
}

/// What of an earlier recommendation is said by the policy of now.
fn still_said(mut all: RecommendedPodResources, policy: &Policy) -> RecommendedPodResources {
    all.container_recommendations.retain_mut(|one| {
        let settings = policy.container(&one.container_name);
        let (cpu_is_ours, memory_is_ours) = settings.controlled.value;
        let RecommendedContainerResources { container_name: _, target, lower_bound, upper_bound, uncapped_target } =
            one;
        for list in [&mut *target, lower_bound, upper_bound, uncapped_target] {
            list.retain(|resource, _| (cpu_is_ours && resource == "cpu") || (memory_is_ours && resource == "memory"));
        }
        !settings.off.value && !target.is_empty()
    });
    all
}

fn set(one: &mut RecommendedContainerResources, resource: &str, amounts: [Amount; 4]) {
    let lists = [&mut one.target, &mut one.lower_bound, &mut one.upper_bound, &mut one.uncapped_target];
    for (list, amount) in lists.into_iter().zip(amounts) {
        list.insert(resource.to_owned(), amount);
    }
}

/// The least first and the most last, so that the most wins, as VPA has it.
fn within<T: Ord>(it: T, least: Option<T>, most: Option<T>) -> T {
    let it = match least {
        Some(least) => it.max(least),
        None => it,
    };
    match most {
        Some(most) => it.min(most),
        None => it,
    }
}

fn cpu_text(cpu: MilliCpu) -> Amount {
    Amount(cpu.to_string())
}

/// In decimal, as VPA writes it: `262144k`, `500Mi` as `524288k`.
fn memory_text(memory: Bytes) -> Amount {
    Amount(Quantity::units(memory.0).to_string())
}
