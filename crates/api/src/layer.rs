//! A policy as a layer of settings. What cannot be read is left out or taken for the careful reading, and said.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use supple_decide::guard::{Billionths, Guard};
use supple_decide::policy::{
    ContainerPolicy, CpuAndMemory, Layer, Limits, Mode, Origin, Pause, RecreateBy, ScheduledSize, StepCaps, Window,
    WithScaler,
};
use supple_quantity::{Bytes, MilliCpu};
use supple_recommend::policy::Risk;
use supple_recommend::resource::Resource;

use crate::policy::{
    Amounts, ClusterRightsizePolicy, ContainerPolicySpec, ControlledValues, GuardSpec, HpaWord, LimitsWord,
    RecreateWord, ResourceName, RightsizePolicy, RightsizePolicySpec, ScalingMode, ScheduleSpec, UpdateMode,
    WindowSpec, WindowType,
};
use crate::problem::{Problem, Problems};
use crate::span::{self, SpanError};
use crate::word::Amount;

/// Guards of a policy that are watched; what is more is left out.
pub const MOST_GUARDS: usize = 10;

/// Why guards of a namespaced policy are left out.
const REFUSED_GUARDS: &str = "not applied: the controller asks no guards of policies in namespaces (--namespaced-guards=false; in \
                              the chart, prometheus.namespacedGuards); put them into a ClusterRightsizePolicy";

/// The layer of a namespaced policy.
#[must_use]
pub fn of_policy(policy: &RightsizePolicy, now: Timestamp) -> (Layer, Vec<Problem>) {
    let name = policy.metadata.name.as_deref().unwrap_or_default();
    of_spec(&policy.spec, Origin::Policy(name.into()), &object_of_policy(policy), now)
}

/// The same without its guards, where those are refused. What is wrong with guards that nobody asks is not told beside that.
pub(crate) fn without_guards(object: &str, (mut layer, problems): (Layer, Vec<Problem>)) -> (Layer, Vec<Problem>) {
    if layer.guards.take().is_none() {
        return (layer, problems);
    }
    let mut left = Problems::of(object);
    left.found.extend(problems.into_iter().filter(|it| !it.field.starts_with("spec.guards")));
    left.add("spec.guards", REFUSED_GUARDS);
    (layer, left.found)
}

/// The layer of a policy of the whole cluster.
#[must_use]
pub fn of_cluster_policy(policy: &ClusterRightsizePolicy, now: Timestamp) -> (Layer, Vec<Problem>) {
    let name = policy.metadata.name.as_deref().unwrap_or_default();
    of_spec(&policy.spec.policy, Origin::ClusterPolicy(name.into()), &object_of_cluster_policy(policy), now)
}

/// What a policy is called in problems and ties: `rightsizepolicy/shop/web`.
#[must_use]
pub fn object_of_policy(policy: &RightsizePolicy) -> String {
    let meta = &policy.metadata;
    let text = |it: &Option<String>| it.clone().unwrap_or_default();
    format!("rightsizepolicy/{}/{}", text(&meta.namespace), text(&meta.name))
}

/// The same for one of the cluster: `clusterrightsizepolicy/base`.
#[must_use]
pub fn object_of_cluster_policy(policy: &ClusterRightsizePolicy) -> String {
    format!("clusterrightsizepolicy/{}", policy.metadata.name.as_deref().unwrap_or_default())
}

/// The layer of what either of them says.
#[must_use]
pub fn of_spec(spec: &RightsizePolicySpec, origin: Origin, object: &str, now: Timestamp) -> (Layer, Vec<Problem>) {
    let mut to = Reader { problems: Problems::of(object), now };
    let update = spec.update_policy.as_ref();
    let containers = spec.resource_policy.iter().flat_map(|it| it.container_policies.iter().enumerate());
    let mut layer = Layer {
        origin,
        containers: BTreeMap::new(),
        mode: update.and_then(|it| it.update_mode.as_ref()).map(|it| to.mode(it)),
        pause: to.pause(spec),
        priority: spec.priority,
        memory_risk: to
            .risk(Resource::Memory, "spec.risk.memory", spec.risk.as_ref().and_then(|it| it.memory.as_ref()))
            .map(Some),
        cpu_risk: to.risk(Resource::Cpu, "spec.risk.cpu", spec.risk.as_ref().and_then(|it| it.cpu.as_ref())).map(Some),
        cpu_headroom_percent: to.count("spec.headroom.cpu", spec.headroom.as_ref().and_then(|it| it.cpu)),
        memory_headroom_percent: to.count("spec.headroom.memory", spec.headroom.as_ref().and_then(|it| it.memory)),
        limits: spec.limits.as_ref().and_then(|it| to.limits("spec.limits", it)),
        steps: None,
        recreate_by: update.and_then(|it| it.recreate_by.as_ref()).and_then(|it| to.recreate_by(it)),
        threshold_percent: to.count("spec.threshold", spec.threshold),
        cool_down_up: to.time("spec.coolDown.up", spec.cool_down.as_ref().and_then(|it| it.up.as_ref())),
        cool_down_down: to.time("spec.coolDown.down", spec.cool_down.as_ref().and_then(|it| it.down.as_ref())),
        windows: None,
        schedules: None,
        with_scaler: spec.hpa.as_ref().and_then(|it| to.hpa(it)),
        approve_memory_decrease: spec.approve_memory_decrease,
        settle: to.time("spec.settle", spec.settle.as_ref()),
        pods_at_once: to.count("spec.podsAtOnce", spec.pods_at_once).map(|it| it.max(1)),
        recreate_only_for: None,
        namespace_pods_at_once: to
            .count("spec.namespacePodsAtOnce", spec.namespace_pods_at_once)
            .map(|it| Some(it.max(1))),
        min_replicas: to.count("spec.updatePolicy.minReplicas", update.and_then(|it| it.min_replicas)),
        startup: to.time("spec.startup", spec.startup.as_ref()),
        learn: to.time("spec.learn", spec.learn.as_ref()),
        min_confidence_permille: to
            .count("spec.minConfidence", spec.min_confidence)
            .map(|percent| u16::try_from(percent.min(100) * 10).expect("at most 1000")),
        guards: None,
        give_up_deferred: to.time("spec.giveUpDeferredAfter", spec.give_up_deferred_after.as_ref()),
    };
    if let Some(steps) = &spec.steps {
        layer.steps = Some(StepCaps {
            cpu_up: to.count("spec.steps.cpuUp", steps.cpu_up),
            cpu_down: to.count("spec.steps.cpuDown", steps.cpu_down),
            memory_up: to.count("spec.steps.memoryUp", steps.memory_up),
            memory_down: to.count("spec.steps.memoryDown", steps.memory_down),
        });
    }
    for (index, said) in containers {
        let field = format!("spec.resourcePolicy.containerPolicies[{index}]");
        let policy = to.container(&field, said);
        to.once(&field, &mut layer.containers, &said.container_name, policy);
    }
    if !spec.windows.is_empty() {
        let windows = spec.windows.iter().enumerate();
        layer.windows = Some(windows.map(|(index, it)| to.window(&format!("spec.windows[{index}]"), it)).collect());
    }
    if !spec.schedules.is_empty() {
        let schedules = spec.schedules.iter().enumerate();
        layer.schedules =
            Some(schedules.filter_map(|(index, it)| to.schedule(&format!("spec.schedules[{index}]"), it)).collect());
    }
    if !spec.guards.is_empty() {
        if spec.guards.len() > MOST_GUARDS {
            let message = format!("{} guards; only the first {MOST_GUARDS} are used", spec.guards.len());
            to.problems.add("spec.guards", message);
        }
        let guards = spec.guards.iter().take(MOST_GUARDS).enumerate();
        layer.guards = Some(guards.filter_map(|(index, it)| to.guard(&format!("spec.guards[{index}]"), it)).collect());
    }
    (layer, to.problems.found)
}

/// Reads fields, and remembers which it could not read.
pub(crate) struct Reader {
    pub(crate) problems: Problems,
    pub(crate) now: Timestamp,
}

impl Reader {
    fn mode(&mut self, word: &UpdateMode) -> Mode {
        match word {
            UpdateMode::Off => Mode::Off,
            UpdateMode::Initial => Mode::Initial,
            UpdateMode::Recreate => Mode::Recreate,
            UpdateMode::InPlaceOrRecreate => Mode::InPlaceOrRecreate,
            UpdateMode::InPlace => Mode::InPlace,
            UpdateMode::Unknown(word) => {
                let words = UpdateMode::WORDS.join(", ");
                let message = format!("{word:?} is not a mode, so nothing is resized; write one of {words}");
                self.problems.add("spec.updatePolicy.updateMode", message);
                Mode::Off
            }
        }
    }

    fn recreate_by(&mut self, word: &RecreateWord) -> Option<RecreateBy> {
        Some(match word {
            RecreateWord::Eviction => RecreateBy::Eviction,
            RecreateWord::Rollout => RecreateBy::Rollout,
            RecreateWord::Unknown(word) => {
                let message = format!("{word:?} is unknown and ignored; write Eviction or Rollout");
                self.problems.add("spec.updatePolicy.recreateBy", message);
                return None;
            }
        })
    }

    fn pause(&mut self, spec: &RightsizePolicySpec) -> Option<Option<Pause>> {
        let paused = spec.paused.as_ref()?;
        let until = paused.until.as_ref().and_then(|text| {
            let read = text.trim().parse::<Timestamp>().ok();
            if read.is_none() {
                let message = format!(
                    "cannot parse the time {text:?}, so the pause has no end; write for example \
                     \"2026-12-01T06:00:00Z\""
                );
                self.problems.add("spec.paused.until", message);
            }
            read
        });
        Some(Some(Pause { until, why: paused.reason.clone() }))
    }

    fn risk(&mut self, resource: Resource, field: &str, text: Option<&String>) -> Option<Arc<str>> {
        let text = text?;
        match Risk::of(resource, text) {
            Ok(_) => Some(text.as_str().into()),
            Err(error) => {
                self.problems.add(field, error.to_string());
                None
            }
        }
    }

    /// A number that is not negative.
    pub(crate) fn count(&mut self, field: &str, value: Option<i32>) -> Option<u32> {
        let value = value?;
        let read = u32::try_from(value).ok();
        if read.is_none() {
            self.problems.add(field, format!("{value} is negative and ignored"));
        }
        read
    }

    fn time(&mut self, field: &str, text: Option<&String>) -> Option<SignedDuration> {
        let text = text?;
        let read = span::duration(text);
        if read.is_none() {
            self.problems.add(
                field,
                format!(
                    "cannot parse the duration {text:?}; write for example \"10m\" or \
                                              \"1h30m\""
                ),
            );
        }
        read
    }

    fn limits(&mut self, field: &str, word: &LimitsWord) -> Option<Limits> {
        Some(match word {
            LimitsWord::Keep => Limits::Keep,
            LimitsWord::Ratio => Limits::Ratio,
            LimitsWord::Equal => Limits::Equal,
            LimitsWord::None => Limits::None,
            LimitsWord::Unknown(word) => {
                let words = LimitsWord::WORDS.join(", ");
                self.problems.add(field, format!("{word:?} is unknown and ignored; write one of {words}"));
                return None;
            }
        })
    }

    fn hpa(&mut self, word: &HpaWord) -> Option<WithScaler> {
        Some(match word {
            HpaWord::Refuse => WithScaler::Refuse,
            HpaWord::Adjust => WithScaler::Adjust,
            HpaWord::Unknown(word) => {
                self.problems.add("spec.hpa", format!("{word:?} is unknown and ignored; write Refuse or Adjust"));
                return None;
            }
        })
    }

    fn container(&mut self, field: &str, said: &ContainerPolicySpec) -> ContainerPolicy {
        let off = match &said.mode {
            None => None,
            Some(ScalingMode::Auto) => Some(false),
            Some(ScalingMode::Off) => Some(true),
            Some(ScalingMode::Unknown(word)) => {
                let message = format!("{word:?} is not a mode, so the container is not resized; write Auto or Off");
                self.problems.add(format!("{field}.mode"), message);
                Some(true)
            }
        };
        let (at_least, at_most) = self.bounds(field, said.min_allowed.as_ref(), said.max_allowed.as_ref());
        let controlled = said.controlled_resources.as_ref().map(|list| {
            for word in list {
                if let ResourceName::Unknown(word) = word {
                    let message = format!("{word:?} cannot be resized and is ignored; write cpu, memory or both");
                    self.problems.add(format!("{field}.controlledResources"), message);
                }
            }
            (list.contains(&ResourceName::Cpu), list.contains(&ResourceName::Memory))
        });
        let values = said.controlled_values.as_ref().and_then(|word| match word {
            ControlledValues::RequestsAndLimits => Some(Limits::Ratio),
            ControlledValues::RequestsOnly => Some(Limits::Keep),
            ControlledValues::Unknown(word) => {
                let message = format!("{word:?} is unknown and ignored; write RequestsAndLimits or RequestsOnly");
                self.problems.add(format!("{field}.controlledValues"), message);
                None
            }
        });
        let limits = said.limits.as_ref().and_then(|it| self.limits(&format!("{field}.limits"), it));
        ContainerPolicy { off, at_least, at_most, controlled, limits: limits.or(values) }
    }

    fn bounds(&mut self, field: &str, least: Option<&Amounts>, most: Option<&Amounts>) -> (CpuAndMemory, CpuAndMemory) {
        let mut read = |name: &str, amounts: Option<&Amounts>| CpuAndMemory {
            cpu: self.cpu(&format!("{field}.{name}.cpu"), amounts.and_then(|it| it.cpu.as_ref())),
            memory: self.memory(&format!("{field}.{name}.memory"), amounts.and_then(|it| it.memory.as_ref())),
        };
        let (least, most) = (read("minAllowed", least), read("maxAllowed", most));
        self.ordered(field, least, most);
        (least, most)
    }

    /// Says where the least is more than the most; then the most holds, as VPA has it.
    pub(crate) fn ordered(&mut self, field: &str, least: CpuAndMemory, most: CpuAndMemory) {
        if matches!((least.cpu, most.cpu), (Some(least), Some(most)) if least > most) {
            self.problems.add(format!("{field}.minAllowed.cpu"), "it is greater than maxAllowed.cpu, which applies");
        }
        if matches!((least.memory, most.memory), (Some(least), Some(most)) if least > most) {
            self.problems.add(
                format!("{field}.minAllowed.memory"),
                "it is greater than maxAllowed.memory, which \
                                       applies",
            );
        }
    }

    pub(crate) fn cpu(&mut self, field: &str, amount: Option<&Amount>) -> Option<MilliCpu> {
        self.quantity(field, amount).map(|it| MilliCpu::from(&it))
    }

    pub(crate) fn memory(&mut self, field: &str, amount: Option<&Amount>) -> Option<Bytes> {
        self.quantity(field, amount).map(|it| Bytes::from(&it))
    }

    fn quantity(&mut self, field: &str, amount: Option<&Amount>) -> Option<supple_quantity::Quantity> {
        let amount = amount?;
        let read = amount.read();
        if read.is_none() {
            let message = format!("{:?} is not a quantity and is ignored; write for example 250m or 512Mi", amount.0);
            self.problems.add(field, message);
        }
        read
    }

    fn window(&mut self, field: &str, said: &WindowSpec) -> Window {
        let allow = match &said.type_ {
            WindowType::Allow => true,
            WindowType::Deny => false,
            WindowType::Unknown(word) => {
                let message = format!("{word:?} is unknown and treated as Deny; write Allow or Deny");
                self.problems.add(format!("{field}.type"), message);
                false
            }
        };
        let zone = said.time_zone.as_deref();
        let spans = span::spans(&said.schedule, &said.duration, zone, self.now).unwrap_or_else(|errors| {
            // What was meant is not known: nothing is done until it is, whether it was to allow or to deny.
            self.unread(field, &errors, "until this is fixed, no change is made");
            if allow { Vec::new() } else { span::always(self.now) }
        });
        Window { allow, spans, text: text(&said.schedule, &said.duration, zone) }
    }

    /// What of a schedule cannot be read, and what that comes to.
    fn unread(&mut self, field: &str, errors: &[SpanError], meanwhile: &str) {
        for error in errors {
            self.problems.add(format!("{field}.{}", error.field()), format!("{error}; {meanwhile}"));
        }
    }

    fn schedule(&mut self, field: &str, said: &ScheduleSpec) -> Option<ScheduledSize> {
        let zone = said.time_zone.as_deref();
        let spans = match span::spans(&said.schedule, &said.duration, zone, self.now) {
            Ok(spans) => spans,
            Err(errors) => {
                self.unread(field, &errors, "until this is fixed, it is ignored");
                return None;
            }
        };
        let text = text(&said.schedule, &said.duration, zone);
        let mut size = ScheduledSize { spans, text, at_least: BTreeMap::new(), at_most: BTreeMap::new() };
        for (index, container) in said.container_policies.iter().enumerate() {
            let field = format!("{field}.containerPolicies[{index}]");
            let (least, most) = self.bounds(&field, container.min_allowed.as_ref(), container.max_allowed.as_ref());
            if container.min_allowed.is_some() {
                self.once(&field, &mut size.at_least, &container.container_name, least);
            }
            if container.max_allowed.is_some() {
                self.once(&field, &mut size.at_most, &container.container_name, most);
            }
        }
        Some(size)
    }

    fn guard(&mut self, field: &str, said: &GuardSpec) -> Option<Guard> {
        let mut number = |name: &str, amount: Option<&Amount>| {
            let amount = amount?;
            let read = amount.0.trim().parse::<supple_quantity::Quantity>().ok();
            if read.is_none() {
                let message = format!("{:?} is not a number and is ignored; write for example 0.01 or 250m", amount.0);
                self.problems.add(format!("{field}.{name}"), message);
            }
            read.map(|it| Billionths::from(&it))
        };
        let above = number("above", said.above.as_ref());
        let below = number("below", said.below.as_ref());
        if above.is_none() && below.is_none() {
            self.problems.add(field, "it is not used: it has neither above nor below, the thresholds of harm");
            return None;
        }
        Some(Guard { name: said.name.clone(), query: said.query.clone(), above, below })
    }

    /// Adds what is said of a container; what is said of it a second time is left out.
    pub(crate) fn once<T>(&mut self, field: &str, all: &mut BTreeMap<Arc<str>, T>, name: &str, said: T) {
        if name.is_empty() || all.contains_key(name) {
            let what = if name.is_empty() { "no name".to_owned() } else { format!("{name:?} a second time") };
            self.problems.add(format!("{field}.containerName"), format!("{what}: the entry is ignored"));
        } else {
            all.insert(name.into(), said);
        }
    }
}

/// `0 22 * * 1-5 for 8h Europe/Berlin`
fn text(schedule: &str, duration: &str, zone: Option<&str>) -> String {
    format!("{schedule} for {duration} {}", zone.unwrap_or("UTC"))
}
