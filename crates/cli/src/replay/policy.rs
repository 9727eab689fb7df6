//! Policies as people write them, and everything that can be replayed under a name.
//!
//! ```yaml
//! name: careful
//! risk: { memory: 1 per 30 days, cpu: 0.5 % of time }
//! minAllowed: { cpu: 10m, memory: 32Mi }
//! maxAllowed: { memory: 8Gi }
//! ```

use std::path::Path;

use clap::ValueEnum as _;
use serde::Deserialize;
use supple_quantity::{Bytes, MilliCpu, Quantity};
use supple_recommend::baseline::{autopilot::Autopilot, fixed, newsvendor, percentile, vpa::Vpa};
use supple_recommend::policy::{Policy, Risk, Terms};
use supple_recommend::resource::Resource;
use supple_recommend::strategy::Strategy;
use supple_recommend::supple::Supple;
use supple_replay::decide::Decide;

use super::args::Baseline;
use super::{object, yaml};
use crate::exit::Failure;

/// Something to replay.
#[derive(Clone, Debug)]
pub struct Contender {
    /// Its name in every output.
    pub name: String,
    kind: Kind,
    notes: Vec<String>,
}

#[derive(Clone, Debug)]
enum Kind {
    Own(Box<(Policy, Decide)>),
    Baseline(Baseline),
}

impl Contender {
    /// The program's own judgement with its defaults.
    pub fn own() -> Self {
        Self { name: "supple".to_owned(), kind: Kind::Own(Box::default()), notes: Vec::new() }
    }

    /// Whether a name is one of those of [`Contender::baseline`].
    pub fn is_baseline(name: &str) -> bool {
        Baseline::value_variants().iter().any(|it| Self::baseline(*it).name == name)
    }

    /// What others do.
    pub fn baseline(which: Baseline) -> Self {
        let name = match which {
            Baseline::Vpa => "vpa",
            Baseline::Krr => "krr",
            Baseline::P95 => "p95",
            Baseline::Autopilot => "autopilot",
            Baseline::Newsvendor => "newsvendor",
            Baseline::Static => "static",
            Baseline::None => "none",
        };
        Self { name: name.to_owned(), kind: Kind::Baseline(which), notes: Vec::new() }
    }

    /// From a file: the fields of a replay's policy, or an object as it is applied.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::unreachable(format!("cannot read the policy {shown}: {error}")))?;
        let unread = |error| Failure::Usage(format!("cannot read the policy {shown}: {error}"));
        let stem = || path.file_stem().map_or_else(|| "policy".to_owned(), |it| it.to_string_lossy().into_owned());
        if let Some(object) = object::read(&text) {
            let object::Read { name, policy, decide, notes } = object.map_err(unread)?;
            let notes = notes.into_iter().map(|it| format!("{shown}: {it}")).collect();
            return Ok(Self { name: name.unwrap_or_else(stem), kind: Kind::Own(Box::new((policy, decide))), notes });
        }
        let written: Written = yaml(&text).map_err(unread)?;
        let name = written.name.clone().unwrap_or_else(stem);
        let (policy, decide) = written.build().map_err(|what| Failure::Usage(format!("the policy {shown}: {what}")))?;
        Ok(Self { name, kind: Kind::Own(Box::new((policy, decide))), notes: Vec::new() })
    }

    /// What of it a replay does not use.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The risk that was stated for CPU and memory, where one was.
    pub fn risk(&self) -> [Option<Risk>; 2] {
        match &self.kind {
            Kind::Own(own) => [own.0.cpu.risk, own.0.memory.risk],
            Kind::Baseline(_) => [None, None],
        }
    }
}

impl supple_recordings::Contender for Contender {
    fn name(&self) -> &str {
        &self.name
    }

    fn make(&self) -> (Box<dyn Strategy + Send>, Decide) {
        let strategy: Box<dyn Strategy + Send> = match &self.kind {
            Kind::Own(own) => return (Box::new(Supple::new(own.0)), own.1),
            Kind::Baseline(Baseline::Vpa) => Box::new(Vpa::default()),
            Kind::Baseline(Baseline::Krr) => Box::new(percentile::Percentile::new(percentile::Rule::krr())),
            Kind::Baseline(Baseline::P95) => Box::new(percentile::Percentile::new(percentile::Rule::p95())),
            Kind::Baseline(Baseline::Autopilot) => Box::new(Autopilot::default()),
            Kind::Baseline(Baseline::Newsvendor) => Box::new(newsvendor::Newsvendor::default()),
            Kind::Baseline(Baseline::Static) => Box::new(fixed::AsRecorded::default()),
            Kind::Baseline(Baseline::None) => Box::new(fixed::Nothing),
        };
        (strategy, Decide::default())
    }
}

/// A policy as written. Names that are VPA's mean what they mean there.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Written {
    name: Option<String>,
    risk: Both<String>,
    /// Price of an incident in hours of mean use.
    incident: Both<f64>,
    /// Price of a resize in hours of mean use.
    resize: Both<f64>,
    margin: Both<f64>,
    min_allowed: Both<Quantity>,
    max_allowed: Both<Quantity>,
    controlled_values: Option<ControlledValues>,
    startup: Option<String>,
    hold: Option<String>,
    every: Option<String>,
    /// Whether what cannot wait is raised at once.
    fast_path: Option<bool>,
    /// Changes of less than this share are left alone.
    threshold: Option<f64>,
    cool_down: Option<String>,
    max_step_up: Option<f64>,
    max_step_down: Option<f64>,
    /// What the pods' own resize policy says: whether a change restarts the container.
    resize_policy: Both<RestartPolicy>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Both<T> {
    #[serde(default = "nothing")]
    cpu: Option<T>,
    #[serde(default = "nothing")]
    memory: Option<T>,
}

const fn nothing<T>() -> Option<T> {
    None
}

impl<T> Default for Both<T> {
    fn default() -> Self {
        Self { cpu: None, memory: None }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum RestartPolicy {
    NotRequired,
    RestartContainer,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum ControlledValues {
    RequestsAndLimits,
    RequestsOnly,
}

impl Written {
    fn build(self) -> Result<(Policy, Decide), String> {
        let mut policy = Policy::default();
        let risk = |resource, name: &str, text: Option<String>| {
            let read = text.map(|it| Risk::of(resource, &it)).transpose();
            read.map_err(|error| format!("risk.{name}: {error}"))
        };
        let cpu_risk = risk(Resource::Cpu, "cpu", self.risk.cpu)?;
        let memory_risk = risk(Resource::Memory, "memory", self.risk.memory)?;
        terms(&mut policy.cpu, "cpu", cpu_risk, self.incident.cpu, self.resize.cpu, self.margin.cpu)?;
        terms(&mut policy.memory, "memory", memory_risk, self.incident.memory, self.resize.memory, self.margin.memory)?;
        bounds(
            &mut policy.cpu,
            "cpu",
            self.min_allowed.cpu.map(|it| MilliCpu::from(&it).0),
            self.max_allowed.cpu.map(|it| MilliCpu::from(&it).0),
        )?;
        bounds(
            &mut policy.memory,
            "memory",
            self.min_allowed.memory.map(|it| Bytes::from(&it).0),
            self.max_allowed.memory.map(|it| Bytes::from(&it).0),
        )?;
        match self.controlled_values {
            Some(ControlledValues::RequestsAndLimits) => (policy.cpu.limit, policy.memory.limit) = (true, true),
            Some(ControlledValues::RequestsOnly) => (policy.cpu.limit, policy.memory.limit) = (false, false),
            None => {}
        }
        let seconds = |text: Option<String>, default: i64| match text {
            None => Ok(default),
            Some(text) => crate::values::duration(&text).map(|it| i64::try_from(it.as_secs()).unwrap_or(i64::MAX)),
        };
        policy.startup = seconds(self.startup, policy.startup)?;
        policy.hold = seconds(self.hold, policy.hold)?;
        policy.every = seconds(self.every, policy.every)?;
        policy.reflexes = self.fast_path.unwrap_or(policy.reflexes);
        let default = Decide::default();
        let decide = Decide {
            threshold: share("threshold", self.threshold)?.unwrap_or(default.threshold),
            cool_down: seconds(self.cool_down, default.cool_down)?,
            most_up: factor("maxStepUp", self.max_step_up)?.unwrap_or(default.most_up),
            most_down: factor("maxStepDown", self.max_step_down)?.unwrap_or(default.most_down),
            restarts: [self.resize_policy.cpu, self.resize_policy.memory]
                .map(|it| it == Some(RestartPolicy::RestartContainer)),
        };
        Ok((policy, decide))
    }
}

fn terms(
    terms: &mut Terms,
    of: &str,
    risk: Option<Risk>,
    incident: Option<f64>,
    resize: Option<f64>,
    margin: Option<f64>,
) -> Result<(), String> {
    let price = |name: &str, value: Option<f64>| match value {
        Some(value) if !(value.is_finite() && value >= 0.0) => {
            Err(format!("{name}.{of} is {value}; a price is a number of hours, 0 or more"))
        }
        other => Ok(other),
    };
    terms.risk = risk;
    terms.incident = price("incident", incident)?.unwrap_or(terms.incident);
    terms.resize = price("resize", resize)?.unwrap_or(terms.resize);
    terms.beliefs.margin = factor("margin", margin)?.unwrap_or(terms.beliefs.margin);
    Ok(())
}

fn bounds(terms: &mut Terms, of: &str, least: Option<i64>, most: Option<i64>) -> Result<(), String> {
    for (name, bound) in [("minAllowed", least), ("maxAllowed", most)] {
        if bound.is_some_and(|it| it < 0) {
            return Err(format!("{name}.{of} is negative; a size is 0 or more"));
        }
    }
    terms.least = least.unwrap_or(terms.least).max(1);
    terms.most = most.unwrap_or(terms.most);
    if terms.least > terms.most {
        return Err(format!("minAllowed.{of} is greater than maxAllowed.{of}"));
    }
    Ok(())
}

fn share(name: &str, value: Option<f64>) -> Result<Option<f64>, String> {
    match value {
        Some(it) if !(0.0..1.0).contains(&it) => Err(format!("{name} is {it}; a share is at least 0 and less than 1")),
        other => Ok(other),
    }
}

fn factor(name: &str, value: Option<f64>) -> Result<Option<f64>, String> {
    match value {
        Some(it) if !(it.is_finite() && it >= 1.0) => Err(format!("{name} is {it}; a factor is at least 1")),
        other => Ok(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(text: &str) -> Result<(Policy, Decide), String> {
        serde_saphyr::from_str::<Written>(text).map_err(|it| it.to_string())?.build()
    }

    #[test]
    fn a_policy_in_full() {
        let (policy, decide) = build(
            "name: careful\nrisk: { memory: 1 per 30 days, cpu: 0.5 % of time }\nminAllowed: { cpu: 10m, memory: 32Mi }\n\
             maxAllowed: { memory: 8Gi }\nhold: 1h\nthreshold: 0.05\ncontrolledValues: RequestsOnly\nfastPath: false\n\
             resizePolicy: { memory: RestartContainer }\n",
        )
        .unwrap();
        assert_eq!(policy.memory.risk, Some(Risk::Rate { count: 1.0, seconds: 30.0 * 86_400.0 }));
        assert_eq!(policy.cpu.risk, Some(Risk::Share(0.005)));
        assert_eq!((policy.cpu.least, policy.memory.least, policy.memory.most), (10, 32 << 20, 8 << 30));
        assert_eq!((policy.hold, policy.memory.limit, decide.threshold), (3600, false, 0.05));
        assert_eq!((policy.reflexes, decide.restarts), (false, [false, true]));
        assert_eq!(build("{}").unwrap().0, Policy::default());
    }

    #[test]
    fn wrong_policies_are_refused() {
        for (text, part) in [
            ("rsik: {}", "rsik"),
            ("risk: { memory: often }", "risk.memory: cannot read the risk \"often\""),
            ("risk: { memory: 0.5 % of time }", "as in \"1 per 30 days\""),
            ("risk: { cpu: 1 per day }", "as in \"0.5 % of time\""),
            ("minAllowed: { cpu: 2 }\nmaxAllowed: { cpu: 1 }", "minAllowed.cpu is greater"),
            ("minAllowed: { cpu: -10m }", "minAllowed.cpu is negative"),
            ("minAllowed: { memory: -5Gi }", "minAllowed.memory is negative"),
            ("maxAllowed: { memory: -1 }", "maxAllowed.memory is negative"),
            ("threshold: 2", "threshold is 2"),
            ("incident: { cpu: -1 }", "incident.cpu"),
            ("margin: { cpu: 0.5 }", "at least 1"),
            ("hold: soon", "soon"),
        ] {
            let error = build(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
