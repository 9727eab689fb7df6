//! Settings in plain words: what a value comes to, with its unit, for people who have not read the code.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;

use crate::guard::Guard;
use crate::policy::{
    ContainerPolicy, ContainerSettings, CpuAndMemory, Direction, Limits, Mode, Origin, Pause, Policy, RecreateBy, Row,
    ScheduledSize, StepCaps, Window, WithScaler,
};

pub(crate) fn mode(it: &Mode) -> String {
    let means = match it {
        Mode::Off => "Off: recommend only",
        Mode::Initial => "Initial: size pods only when they are created",
        Mode::Recreate => "Recreate: evict pods with wrong sizes",
        Mode::InPlaceOrRecreate => "InPlaceOrRecreate: resize in place, else recreate",
        Mode::InPlace => "InPlace: resize in place, never restart",
    };
    means.to_owned()
}

pub(crate) fn pause(it: &Option<Pause>) -> String {
    let Some(Pause { until, why }) = it else { return "no".to_owned() };
    let until = until.map_or_else(|| "until someone ends it".to_owned(), |it| format!("until {it:.0}"));
    if why.is_empty() { until } else { format!("{until}: {why}") }
}

pub(crate) fn number(it: &i32) -> String {
    it.to_string()
}

pub(crate) fn risk(it: &Option<Arc<str>>) -> String {
    match it {
        Some(said) => format!("short {said}"),
        None => "by cost: slack and shortage together cost the least".to_owned(),
    }
}

pub(crate) fn percent(it: &u32) -> String {
    format!("{it} %")
}

pub(crate) fn permille(it: &u16) -> String {
    if it.is_multiple_of(10) { format!("{} %", it / 10) } else { format!("{}.{} %", it / 10, it % 10) }
}

pub(crate) fn pods(it: &u32) -> String {
    format!("{it} pod{}", if *it == 1 { "" } else { "s" })
}

pub(crate) fn pods_at_most(it: &Option<u32>) -> String {
    it.as_ref().map_or_else(|| "same as for the cluster".to_owned(), pods)
}

pub(crate) fn directions(it: &[Direction]) -> String {
    if it.is_empty() {
        return "none".to_owned();
    }
    let one = |it: &Direction| format!("{} is to {}", it.resources(), if it.rises { "rise" } else { "fall" });
    it.iter().map(one).collect::<Vec<_>>().join(", and ")
}

pub(crate) fn yes_or_no(it: &bool) -> String {
    (if *it { "yes" } else { "no" }).to_owned()
}

/// `90s` as `1m30s`, a day as `24h`: as durations are written in policies.
pub(crate) fn time(it: &SignedDuration) -> String {
    let seconds = it.as_secs();
    let (hours, minutes, rest) = (seconds / 3600, seconds % 3600 / 60, seconds % 60);
    let parts = [(hours, "h"), (minutes, "m"), (rest, "s")];
    let text: String = parts.iter().filter(|it| it.0 != 0).map(|(count, unit)| format!("{count}{unit}")).collect();
    if text.is_empty() { "none".to_owned() } else { text }
}

pub(crate) fn limits(it: &Limits) -> String {
    let means = match it {
        Limits::Keep => "Keep: limits stay, and cap the request",
        Limits::Ratio => "Ratio: limits keep their proportion to the request",
        Limits::Equal => "Equal: limits equal the request",
        Limits::None => "None: no limit is added; existing limits stay, or rise to the request",
    };
    means.to_owned()
}

pub(crate) fn steps(it: &StepCaps) -> String {
    let one = |up: Option<u32>, down: Option<u32>| {
        let part = |it: Option<u32>| it.map_or_else(|| "as far as needed".to_owned(), |it| format!("{it} %"));
        format!("up by {}, down by {}", part(up), part(down))
    };
    let (cpu, memory) = (one(it.cpu_up, it.cpu_down), one(it.memory_up, it.memory_down));
    if cpu == memory { format!("{cpu} at once") } else { format!("cpu {cpu} at once; memory {memory}") }
}

pub(crate) fn windows(it: &[Window]) -> String {
    if it.is_empty() {
        return "at any time".to_owned();
    }
    let one = |it: &Window| format!("{} {}", if it.allow { "allow" } else { "deny" }, it.text);
    it.iter().map(one).collect::<Vec<_>>().join("; ")
}

pub(crate) fn schedules(it: &[ScheduledSize]) -> String {
    if it.is_empty() {
        return "none".to_owned();
    }
    let one = |it: &ScheduledSize| {
        let bounds = |word: &'static str, sizes: &BTreeMap<Arc<str>, CpuAndMemory>| {
            let each = sizes.iter().map(move |(name, it)| {
                let all = if &**name == "*" { String::new() } else { format!("{name} ") };
                format!("{all}{word} {}", amounts(it))
            });
            each.collect::<Vec<_>>()
        };
        let sizes = [bounds("at least", &it.at_least), bounds("at most", &it.at_most)].concat();
        format!("{}: {}", it.text, sizes.join(", "))
    };
    it.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// `250m CPU and 512Mi memory`
fn amounts(it: &CpuAndMemory) -> String {
    let cpu = it.cpu.map(|it| format!("{it} CPU"));
    let memory = it.memory.map(|it| format!("{it} memory"));
    cpu.into_iter().chain(memory).collect::<Vec<_>>().join(" and ")
}

pub(crate) fn with_scaler(it: &WithScaler) -> String {
    let means = match it {
        WithScaler::Refuse => "Refuse: a request that a horizontal autoscaler reads stays unchanged",
        WithScaler::Adjust => "Adjust: the autoscaler's target changes with the request it reads",
    };
    means.to_owned()
}

pub(crate) fn guards(it: &[Guard]) -> String {
    if it.is_empty() {
        return "none".to_owned();
    }
    let one = |it: &Guard| {
        let above = it.above.map(|it| format!("above {it}"));
        let below = it.below.map(|it| format!("below {it}"));
        format!("{}: harm {}", it.name, above.into_iter().chain(below).collect::<Vec<_>>().join(" or "))
    };
    it.iter().map(one).collect::<Vec<_>>().join("; ")
}

pub(crate) fn recreate_by(it: &RecreateBy) -> String {
    let means = match it {
        RecreateBy::Eviction => "Eviction: within disruption budgets; the owner recreates the pod",
        RecreateBy::Rollout => "Rollout: the workload is restarted through its template",
    };
    means.to_owned()
}

impl Policy {
    /// What is in force for one container, each with the layer that said so: as [`Policy::container`] has it.
    #[must_use]
    pub fn container_rows(&self, name: &str) -> Vec<Row<'_>> {
        let layers = || {
            let said = self.containers.iter().rev();
            said.filter_map(|(origin, by_name)| Some((origin, by_name.get(name).or_else(|| by_name.get("*"))?)))
        };
        let row = |name: &'static str,
                   meaning: &'static str,
                   built_in: &str,
                   value: &dyn Fn(&ContainerPolicy) -> Option<String>| {
            let said = layers().find_map(|(origin, said)| Some((value(said)?, origin)));
            let (value, origin) = said.unwrap_or_else(|| (built_in.to_owned(), &Origin::BuiltIn));
            Row { name, meaning, value, origin }
        };
        let mut rows = vec![
            row("mode", "Whether it is resized at all.", "Auto: it is resized", &|it| {
                it.off.map(|off| (if off { "Off: it is never resized" } else { "Auto: it is resized" }).to_owned())
            }),
            row("minAllowed.cpu", "No CPU request below this.", "none", &|it| it.at_least.cpu.map(|it| it.to_string())),
            row("minAllowed.memory", "No memory request below this.", "none", &|it| {
                it.at_least.memory.map(|it| it.to_string())
            }),
            row("maxAllowed.cpu", "No CPU request above this.", "none", &|it| it.at_most.cpu.map(|it| it.to_string())),
            row("maxAllowed.memory", "No memory request above this.", "none", &|it| {
                it.at_most.memory.map(|it| it.to_string())
            }),
            row("controlledResources", "Which resources are sized.", "cpu, memory", &|it| {
                it.controlled.map(|(cpu, memory)| {
                    let words = [(cpu, "cpu"), (memory, "memory")];
                    let ours: Vec<&str> = words.iter().filter(|it| it.0).map(|it| it.1).collect();
                    if ours.is_empty() { "none".to_owned() } else { ours.join(", ") }
                })
            }),
        ];
        let limits_said = layers().find_map(|(origin, said)| Some((said.limits?, origin)));
        let (value, origin) = match limits_said {
            Some((said, origin)) => (limits(&said), origin),
            None => (limits(&self.limits.value), &self.limits.origin),
        };
        rows.push(Row { name: "limits", meaning: "How its limits change.", value, origin });
        // Each may be right in its own object: only here do they meet.
        let ContainerSettings { at_least, at_most, .. } = self.container(name);
        let over = [
            ("minAllowed.cpu", contradiction(at_least.cpu, at_most.cpu)),
            ("minAllowed.memory", contradiction(at_least.memory, at_most.memory)),
        ];
        for (name, told) in over {
            if let Some((row, told)) = rows.iter_mut().find(|it| it.name == name).zip(told) {
                row.value = told;
            }
        }
        rows
    }
}

/// What is told of a floor above its ceiling.
fn contradiction<T: Ord + ToString>(least: Option<T>, most: Option<T>) -> Option<String> {
    let (least, most) = least.zip(most).filter(|(least, most)| least > most)?;
    Some(format!("{}, but maxAllowed is less ({}) and applies", least.to_string(), most.to_string()))
}

#[cfg(test)]
mod tests {
    use supple_quantity::{Bytes, MilliCpu};

    use super::*;
    use crate::guard::Billionths;
    use crate::policy::Layer;

    #[track_caller]
    fn check(policy: &Policy, name: &str, value: &str, origin: &str) {
        let row = policy.rows().into_iter().find(|it| it.name == name).unwrap();
        assert_eq!((row.value.as_str(), row.origin.to_string().as_str()), (value, origin), "{name}");
        assert!(!row.meaning.is_empty(), "{name}");
    }

    #[test]
    fn what_is_built_in_is_told_without_a_word_of_code() {
        let policy = Policy::default();
        check(&policy, "updatePolicy.updateMode", "Off: recommend only", "built in");
        check(
            &policy,
            "steps",
            "cpu up by as far as needed, down by 50 % at once; memory up by as far as needed, down by 30 %",
            "built in",
        );
        check(&policy, "coolDown.down", "1h", "built in");
        check(&policy, "minConfidence", "50 %", "built in");
        check(&policy, "windows", "at any time", "built in");
        for row in policy.rows().into_iter().chain(policy.container_rows("app")) {
            assert!(!row.value.contains(['{', '(', '[', '"']), "{}: {}", row.name, row.value);
        }
    }

    #[test]
    fn what_somebody_said_is_told_with_who_said_it() {
        let policy = Policy::default().under(Layer {
            origin: Origin::Policy("web".into()),
            startup: Some(SignedDuration::from_secs(90)),
            min_confidence_permille: Some(425),
            cpu_risk: Some(Some("0.5 % of time".into())),
            windows: Some(vec![Window { allow: true, spans: Vec::new(), text: "0 9 * * 1-4 for 7h UTC".to_owned() }]),
            guards: Some(vec![Guard {
                name: "latency".to_owned(),
                query: "x".to_owned(),
                above: Some(Billionths(300_000)),
                below: None,
            }]),
            pause: Some(Some(Pause { until: None, why: "the sale, Ann".to_owned() })),
            ..Layer::default()
        });
        check(&policy, "startup", "1m30s", "rightsizepolicy/web");
        check(&policy, "minConfidence", "42.5 %", "rightsizepolicy/web");
        check(&policy, "risk.cpu", "short 0.5 % of time", "rightsizepolicy/web");
        check(&policy, "windows", "allow 0 9 * * 1-4 for 7h UTC", "rightsizepolicy/web");
        check(&policy, "guards", "latency: harm above 0.0003", "rightsizepolicy/web");
        check(&policy, "paused", "until someone ends it: the sale, Ann", "rightsizepolicy/web");
        check(&policy, "settle", "5m", "built in");
    }

    #[test]
    fn of_a_container_each_field_has_its_own_layer() {
        let at_least = |cpu, memory| CpuAndMemory { cpu, memory };
        let layer = |origin, name: &str, said| Layer {
            origin,
            containers: BTreeMap::from([(Arc::from(name), said)]),
            ..Layer::default()
        };
        let policy = Policy::default()
            .under(layer(
                Origin::ClusterPolicy("base".into()),
                "*",
                ContainerPolicy {
                    at_least: at_least(Some(MilliCpu(50)), Some(Bytes(64 << 20))),
                    ..ContainerPolicy::default()
                },
            ))
            .under(layer(
                Origin::Policy("web".into()),
                "app",
                ContainerPolicy { at_least: at_least(Some(MilliCpu(100)), None), ..ContainerPolicy::default() },
            ));
        let of = |container: &str, name: &str| {
            let row = policy.container_rows(container).into_iter().find(|it| it.name == name).unwrap();
            (row.value, row.origin.to_string())
        };
        let expect = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
        assert_eq!(of("app", "minAllowed.cpu"), expect("100m", "rightsizepolicy/web"));
        assert_eq!(of("app", "minAllowed.memory"), expect("64Mi", "clusterrightsizepolicy/base"));
        assert_eq!(of("other", "minAllowed.cpu"), expect("50m", "clusterrightsizepolicy/base"));
        assert_eq!(of("app", "maxAllowed.cpu"), expect("none", "built in"));
        assert_eq!(of("app", "limits"), expect("Ratio: limits keep their proportion to the request", "built in"));
    }

    #[test]
    fn a_floor_above_a_ceiling_of_another_layer_is_told_where_both_are_looked_up() {
        let layer = |at_least, at_most| {
            let said = ContainerPolicy { at_least, at_most, ..ContainerPolicy::default() };
            Layer { containers: BTreeMap::from([("*".into(), said)]), ..Layer::default() }
        };
        let amounts = |cpu, gib: i64| CpuAndMemory { cpu: Some(MilliCpu(cpu)), memory: Some(Bytes(gib << 30)) };
        let policy = Policy::default().under(layer(CpuAndMemory::default(), amounts(2000, 2)));
        let policy = policy.under(layer(amounts(500, 4), CpuAndMemory::default()));
        let rows = policy.container_rows("app");
        let told = |name| rows.iter().find(|it| it.name == name).unwrap().value.as_str();
        assert_eq!(told("minAllowed.memory"), "4Gi, but maxAllowed is less (2Gi) and applies");
        assert_eq!((told("minAllowed.cpu"), told("maxAllowed.memory")), ("500m", "2Gi"));
    }
}
