//! What may be done with one workload: every setting with the layer it comes from, and how layers are laid over each other.
//!
//! Layers go from the general to the particular: built in, `ClusterRightsizePolicy`, the namespace's label, `RightsizePolicy`,
//! `VerticalPodAutoscaler`, the workload's own annotations. Each setting is taken from the last layer that has it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use supple_quantity::{Bytes, MilliCpu};

use crate::guard::Guard;
use crate::words;

/// Which layer a setting comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Origin {
    /// The program's own.
    #[default]
    BuiltIn,
    /// A `ClusterRightsizePolicy` of this name.
    ClusterPolicy(Arc<str>),
    /// The label `supple.dev/mode` of the namespace.
    NamespaceLabel,
    /// A `RightsizePolicy` of this name.
    Policy(Arc<str>),
    /// A `VerticalPodAutoscaler` of this name.
    VerticalPodAutoscaler(Arc<str>),
    /// An annotation or label of the workload.
    Workload,
    /// An annotation or label of the pod itself.
    Pod,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("built in"),
            Self::ClusterPolicy(name) => write!(f, "clusterrightsizepolicy/{name}"),
            Self::NamespaceLabel => f.write_str("label or annotation of the namespace"),
            Self::Policy(name) => write!(f, "rightsizepolicy/{name}"),
            Self::VerticalPodAutoscaler(name) => write!(f, "verticalpodautoscaler/{name}"),
            Self::Workload => f.write_str("label or annotation of the workload"),
            Self::Pod => f.write_str("label or annotation of the pod"),
        }
    }
}

/// A setting and where it comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value in force.
    pub value: T,
    /// The layer that said so.
    pub origin: Origin,
}

/// How far we may go (VPA's words).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Mode {
    /// Recommend only.
    #[default]
    Off,
    /// Size pods as they are created, and never afterwards.
    Initial,
    /// Evict pods whose sizes are wrong; they come back with the right ones.
    Recreate,
    /// Resize in place; where that cannot be, recreate.
    InPlaceOrRecreate,
    /// Resize in place, and never restart anything.
    InPlace,
}

impl Mode {
    /// The words there are for it, for messages.
    pub const WORDS: &str = "recommend, in-place, Off, Initial, Recreate, InPlaceOrRecreate or InPlace";

    /// What a person writes for it: VPA's words, or `recommend` and `in-place`; `None` for anything else.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Some(match word.trim() {
            "recommend" | "Off" => Self::Off,
            "Initial" => Self::Initial,
            "Recreate" => Self::Recreate,
            "InPlaceOrRecreate" => Self::InPlaceOrRecreate,
            "in-place" | "InPlace" => Self::InPlace,
            _ => return None,
        })
    }
}

/// What becomes of limits when requests change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Limits {
    /// They stay, and cap the request.
    Keep,
    /// They keep their proportion to the request (VPA's `RequestsAndLimits`).
    #[default]
    Ratio,
    /// They equal the request.
    Equal,
    /// None is set, and the recommender's own is ignored: a limit that is there stays where it is or above the request.
    None,
}

/// What is done with a request that a horizontal autoscaler on the same resource reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum WithScaler {
    /// The request is left alone.
    #[default]
    Refuse,
    /// The autoscaler's target changes in the same round, so that it scales at the same use as before.
    Adjust,
}

/// What the sizes of a pod must do for it to be recreated for them: VPA's `evictionRequirements`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Direction {
    /// They rise; else they fall.
    pub rises: bool,
    /// CPU is enough.
    pub cpu: bool,
    /// Memory is enough.
    pub memory: bool,
}

impl Direction {
    /// Of which of the two it speaks, for people.
    #[must_use]
    pub const fn resources(&self) -> &'static str {
        match (self.cpu, self.memory) {
            (true, true) => "CPU or memory",
            (true, false) => "CPU",
            _ => "memory",
        }
    }
}

/// How a pod is recreated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecreateBy {
    /// It is evicted, within the disruption budgets, and its owner makes another.
    #[default]
    Eviction,
    /// Its workload is restarted through the template, as its rolling update says; evicted where it has no template to restart by.
    Rollout,
}

/// When something may or must not be done: a cron expression that says when it begins, for how long, in a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Whether changes are allowed in it or denied.
    pub allow: bool,
    /// When it is, already worked out for the days around now, so that this crate reads no table of zones: from, until.
    pub spans: Vec<(Timestamp, Timestamp)>,
    /// As it was written: `0 22 * * 1-5 for 8h Europe/Berlin`.
    pub text: String,
}

/// Sizes for a time of day, worked out like a [`Window`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduledSize {
    /// When it holds: from, until.
    pub spans: Vec<(Timestamp, Timestamp)>,
    /// As it was written.
    pub text: String,
    /// The least to have meanwhile, by container (`*`: all).
    pub at_least: BTreeMap<Arc<str>, CpuAndMemory>,
    /// The most to have meanwhile, by container (`*`: all).
    pub at_most: BTreeMap<Arc<str>, CpuAndMemory>,
}

/// An amount of each resource; `None`: nothing is said of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuAndMemory {
    /// CPU.
    pub cpu: Option<MilliCpu>,
    /// Memory.
    pub memory: Option<Bytes>,
}

/// What is said about one container (`*`: about all that are not named).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerPolicy {
    /// Whether it is resized at all (`mode: Off`); `None`: yes.
    pub off: Option<bool>,
    /// No request below this.
    pub at_least: CpuAndMemory,
    /// No request above this.
    pub at_most: CpuAndMemory,
    /// Which resources are ours: CPU, memory; `None`: both.
    pub controlled: Option<(bool, bool)>,
    /// What becomes of its limits; `None`: as the policy says.
    pub limits: Option<Limits>,
}

/// How much may change at once, in percent of the size in force; `None`: any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepCaps {
    /// CPU upwards.
    pub cpu_up: Option<u32>,
    /// CPU downwards.
    pub cpu_down: Option<u32>,
    /// Memory upwards.
    pub memory_up: Option<u32>,
    /// Memory downwards.
    pub memory_down: Option<u32>,
}

/// Nothing is to be done, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// It ends by itself then; `None`: only by hand.
    pub until: Option<Timestamp>,
    /// Who wanted it and why, as written.
    pub why: String,
}

impl Pause {
    /// The pause that an annotation stands for: empty or `false` is none; what begins with a time ends then; everything else is the
    /// reason of one that ends when the annotation goes, because whoever wrote it wanted peace.
    #[must_use]
    pub fn of_words(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() || text == "false" {
            return None;
        }
        let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        Some(match first.parse::<Timestamp>() {
            Ok(until) => Self { until: Some(until), why: rest.trim().to_owned() },
            Err(_) if first == "true" => Self { until: None, why: rest.trim().to_owned() },
            Err(_) => Self { until: None, why: text.to_owned() },
        })
    }

    /// Whether it has not come to its end.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| until > now)
    }
}

/// One table of settings: what a [`Layer`] may say, what a [`Policy`] holds, what is built in, how a policy object names it and
/// how its value is told.
macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty = $built_in:expr, $written:literal $words:path;)+) => {
        /// One layer: what somebody said, and nothing about the rest.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Layer {
            /// Who said it.
            pub origin: Origin,
            /// By container name, or `*`.
            pub containers: BTreeMap<Arc<str>, ContainerPolicy>,
            $($(#[doc = $doc])+ pub $name: Option<$type>,)+
        }

        /// The settings in force for one workload, each with the layer that said so.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Policy {
            /// What is said about containers, general layers first.
            pub containers: Vec<(Origin, BTreeMap<Arc<str>, ContainerPolicy>)>,
            $($(#[doc = $doc])+ pub $name: Setting<$type>,)+
        }

        impl Default for Policy {
            fn default() -> Self {
                Self {
                    containers: Vec::new(),
                    $($name: Setting { value: $built_in, origin: Origin::BuiltIn },)+
                }
            }
        }

        impl Policy {
            /// Lay one more layer over these.
            #[must_use]
            pub fn under(mut self, layer: Layer) -> Self {
                $(if let Some(value) = layer.$name {
                    self.$name = Setting { value, origin: layer.origin.clone() };
                })+
                if !layer.containers.is_empty() {
                    self.containers.push((layer.origin, layer.containers));
                }
                self
            }

            /// Every setting in plain words with its layer, in the order of the table: for `explain`.
            #[must_use]
            pub fn rows(&self) -> Vec<Row<'_>> {
                vec![$(Row {
                    name: $written,
                    meaning: concat!($($doc,)+).trim_ascii(),
                    value: $words(&self.$name.value),
                    origin: &self.$name.origin,
                },)+]
            }
        }
    };
}

settings! {
    /// What Supple may do.
    mode: Mode = Mode::Off, "updatePolicy.updateMode" words::mode;
    /// Supple makes no change.
    pause: Option<Pause> = None, "paused" words::pause;
    /// Order if room or budget is short; higher first.
    priority: i32 = 0, "priority" words::number;
    /// How often memory may be short, in the recommender's words: `1 per 30 days`.
    memory_risk: Option<Arc<str>> = None, "risk.memory" words::risk;
    /// How much of the time CPU may be short: `0.5 % of time`.
    cpu_risk: Option<Arc<str>> = None, "risk.cpu" words::risk;
    /// Added to the CPU recommendation, in percent. Default 0: the recommendation already has a margin.
    cpu_headroom_percent: u32 = 0, "headroom.cpu" words::percent;
    /// The same for memory.
    memory_headroom_percent: u32 = 0, "headroom.memory" words::percent;
    /// How limits change when requests change.
    limits: Limits = Limits::Ratio, "limits" words::limits;
    /// Maximum change at once.
    steps: StepCaps = StepCaps { cpu_up: None, cpu_down: Some(50), memory_up: None, memory_down: Some(30) }, "steps" words::steps;
    /// Changes of less than this share of the current size are not made, in percent.
    threshold_percent: u32 = 10, "threshold" words::percent;
    /// Pause after a resize before the next raise, unless it is urgent.
    cool_down_up: SignedDuration = SignedDuration::from_mins(5), "coolDown.up" words::time;
    /// Pause after a resize before the next decrease.
    cool_down_down: SignedDuration = SignedDuration::from_hours(1), "coolDown.down" words::time;
    /// When changes are allowed; none: always.
    windows: Vec<Window> = Vec::new(), "windows" words::windows;
    /// Sizes for times of day.
    schedules: Vec<ScheduledSize> = Vec::new(), "schedules" words::schedules;
    /// What to do if a horizontal autoscaler reads the same resource.
    with_scaler: WithScaler = WithScaler::Refuse, "hpa" words::with_scaler;
    /// A memory decrease needs the annotation `supple.dev/approve-memory-decrease`.
    approve_memory_decrease: bool = false, "approveMemoryDecrease" words::yes_or_no;
    /// How long a pod is watched after its resize before it counts as good and the next pod follows.
    settle: SignedDuration = SignedDuration::from_mins(5), "settle" words::time;
    /// Maximum pods of a workload being resized or watched at once, after the first one has settled.
    pods_at_once: u32 = 3, "podsAtOnce" words::pods;
    /// Maximum pods of the namespace being resized or watched at once, of any workload; none: same as for the cluster.
    namespace_pods_at_once: Option<u32> = None, "namespacePodsAtOnce" words::pods_at_most;
    /// With fewer ready replicas than this nothing is evicted or restarted.
    min_replicas: u32 = 2, "updatePolicy.minReplicas" words::pods;
    /// Pods are recreated only if their sizes meet all of these; they do not apply to in-place resizes.
    recreate_only_for: Vec<Direction> = Vec::new(), "evictionRequirements" words::directions;
    /// Pods younger than this are starting up, which does not count as normal usage.
    startup: SignedDuration = SignedDuration::from_mins(10), "startup" words::time;
    /// Nothing is lowered with less history than this.
    learn: SignedDuration = SignedDuration::from_hours(24), "learn" words::time;
    /// Nothing is lowered with less confidence than this, 0 to 1000.
    min_confidence_permille: u16 = 500, "minConfidence" words::permille;
    /// Also checked after a resize, besides the pod itself; at most ten.
    guards: Vec<Guard> = Vec::new(), "guards" words::guards;
    /// A deferred resize is given up after this.
    give_up_deferred: SignedDuration = SignedDuration::from_mins(30), "giveUpDeferredAfter" words::time;
    /// How a pod is recreated if necessary.
    recreate_by: RecreateBy = RecreateBy::Eviction, "updatePolicy.recreateBy" words::recreate_by;
}

/// A setting as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// As a policy object names it.
    pub name: &'static str,
    /// What it means, in a sentence.
    pub meaning: &'static str,
    /// Its value in plain words, with its unit.
    pub value: String,
    /// The layer that said so.
    pub origin: &'a Origin,
}

/// What is in force for one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerSettings {
    /// It is not resized.
    pub off: Setting<bool>,
    /// No request below this.
    pub at_least: CpuAndMemory,
    /// No request above this.
    pub at_most: CpuAndMemory,
    /// Whether CPU is ours, and memory.
    pub controlled: Setting<(bool, bool)>,
    /// What becomes of its limits.
    pub limits: Setting<Limits>,
}

impl Policy {
    /// The settings of one container. Within a layer its own entry wins over `*` as a whole, as VPA has it; between layers
    /// the more particular one wins field by field.
    #[must_use]
    pub fn container(&self, name: &str) -> ContainerSettings {
        let mut settings = ContainerSettings {
            off: Setting::default(),
            at_least: CpuAndMemory::default(),
            at_most: CpuAndMemory::default(),
            controlled: Setting { value: (true, true), origin: Origin::BuiltIn },
            limits: self.limits.clone(),
        };
        for (origin, containers) in &self.containers {
            let Some(said) = containers.get(name).or_else(|| containers.get("*")) else { continue };
            let set = |it: &mut Origin| *it = origin.clone();
            if let Some(off) = said.off {
                settings.off.value = off;
                set(&mut settings.off.origin);
            }
            settings.at_least = said.at_least.or(settings.at_least);
            settings.at_most = said.at_most.or(settings.at_most);
            if let Some(controlled) = said.controlled {
                settings.controlled.value = controlled;
                set(&mut settings.controlled.origin);
            }
            if let Some(limits) = said.limits {
                settings.limits.value = limits;
                set(&mut settings.limits.origin);
            }
        }
        settings
    }
}

impl CpuAndMemory {
    /// These, and where nothing is said, the others.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self { cpu: self.cpu.or(others.cpu), memory: self.memory.or(others.memory) }
    }
}
