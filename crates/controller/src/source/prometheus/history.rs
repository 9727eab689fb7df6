//! What a Prometheus knows of containers: their past, in pieces and with patience, and their present.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use supple_decide::need::Use;
use supple_quantity::{Bytes, MilliCpu};
use supple_recommend::sample::whole;

use super::client::{Again, Prometheus, QueryError};
use super::past::{Gather, Limits, Of, Past};
use super::range::{Range, pieces};
use super::template::{Template, TemplateError, Values};
use crate::source::backoff::{Backoff, dice};
use crate::source::{Name, Reading, Source};

/// The queries. Each answers with one series a container, labelled `namespace`, `pod` and `container`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queries {
    /// Cores in use.
    pub cpu: Template,
    /// Working set in bytes: its peak over a step.
    pub memory: Template,
    /// Share of CPU periods throttled; `None`: it is not asked for.
    pub throttled: Option<Template>,
    /// When the memory was measured, in seconds since 1970: what tells old news from new.
    pub measured: Template,
}

/// `$namespace` of a query for all of them, for which reason it stands behind `=~`.
const ANY: &str = ".+";

impl Default for Queries {
    /// cAdvisor's metrics as every installation for Kubernetes has them. `max by` and not `sum by`, because two servers that
    /// watch the same kubelet would double every sum.
    fn default() -> Self {
        let built_in = |text: &str| Template::new(text).expect("the queries that are built in are tested");
        let of = r#"{namespace=~"$namespace",container!="",container!="POD"}"#;
        let by = "max by (namespace, pod, container)";
        let share = format!(
            "{by} (increase(container_cpu_cfs_throttled_periods_total{of}[$step]) / \
             (increase(container_cpu_cfs_periods_total{of}[$step]) > 0))"
        );
        Self {
            cpu: built_in(&format!("{by} (rate(container_cpu_usage_seconds_total{of}[$step]))")),
            memory: built_in(&format!("{by} (max_over_time(container_memory_working_set_bytes{of}[$step]))")),
            throttled: Some(built_in(&share)),
            measured: built_in(&format!("{by} (timestamp(container_memory_working_set_bytes{of}))")),
        }
    }
}

impl Queries {
    /// These, with others for CPU and memory where given.
    ///
    /// # Errors
    /// [`TemplateError`] for a text that is no query.
    pub fn with(cpu: Option<&str>, memory: Option<&str>) -> Result<Self, TemplateError> {
        let own = Self::default();
        let or = |text: Option<&str>, own| text.map_or(Ok(own), Template::new);
        Ok(Self { cpu: or(cpu, own.cpu)?, memory: or(memory, own.memory)?, ..own })
    }
}

/// How the past is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    /// Between two samples, in seconds.
    pub step: u32,
    /// Most points of a series in one answer.
    pub points: u32,
    /// What is taken in altogether.
    pub limits: Limits,
    /// How often a question is asked before it is given up.
    pub tries: u32,
    /// How long is waited between.
    pub backoff: Backoff,
    /// How long a server is left alone between two questions, in any case.
    pub between: Duration,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            step: 300,
            points: 600,
            limits: Limits::default(),
            tries: 5,
            backoff: Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(60) },
            between: Duration::from_millis(200),
        }
    }
}

/// The past of containers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// By container.
    pub past: Vec<Past>,
    /// What the server said beside it. If there is anything, the answer may not be whole: it may raise a size and lower none.
    pub warnings: Vec<String>,
    /// Series that named no container.
    pub left_out: usize,
}

/// The past of a namespace's containers (`None`: of all) between two moments.
///
/// # Errors
/// [`QueryError`] of a question that is given up.
pub async fn past(
    server: &Prometheus,
    queries: &Queries,
    namespace: Option<&str>,
    (from, to): (Timestamp, Timestamp),
    manner: &Manner,
) -> Result<History, QueryError> {
    let values = Values { namespace: namespace.unwrap_or(ANY), step_seconds: manner.step, ..Values::default() };
    let mut gather = Gather::new(manner.limits);
    let mut warnings = Vec::new();
    let pieces = pieces(from.as_second(), to.as_second(), manner.step, manner.points);
    let asked = [
        (Of::Cpu, Some(&queries.cpu)),
        (Of::Memory, Some(&queries.memory)),
        (Of::Throttled, queries.throttled.as_ref()),
    ];
    let asked = asked.into_iter().filter_map(|(of, query)| Some((of, query?.fill(&values))));
    let questions: Vec<_> =
        asked.flat_map(|(of, query)| pieces.iter().map(move |it| (of, query.clone(), *it))).collect();
    for (number, (of, query, piece)) in questions.into_iter().enumerate() {
        if number > 0 {
            tokio::time::sleep(manner.between).await;
        }
        let about = patiently(server, &query, &piece, of, manner, &mut gather).await?;
        for warning in about.into_iter().filter(|it| !warnings.contains(it)).collect::<Vec<_>>() {
            warnings.push(warning);
        }
    }
    Ok(History { left_out: gather.left_out(), past: gather.finish(), warnings })
}

/// One piece, asked for until it is answered or given up. A second answer to one question does no harm: the same moments
/// are the same samples.
async fn patiently(
    server: &Prometheus,
    query: &str,
    piece: &Range,
    of: Of,
    manner: &Manner,
    gather: &mut Gather,
) -> Result<Vec<String>, QueryError> {
    let mut failures = 0;
    loop {
        let error = match server.range(query, piece, &mut |series| gather.take(of, &series)).await {
            Ok(about) => return Ok(about.warnings),
            Err(error) => error,
        };
        failures += 1;
        let asked = match error.again() {
            Again::Never => return Err(error),
            Again::Later => None,
            Again::After(pause) => Some(pause),
        };
        if failures >= manner.tries {
            return Err(error);
        }
        let pause = manner.backoff.pause(failures, asked, dice());
        tracing::debug!(%error, failures, ?pause, "Prometheus is asked again");
        tokio::time::sleep(pause).await;
    }
}

/// What containers use now, where the server knows when it was measured; for a cluster without metrics.k8s.io. It is not
/// tried again: the next round asks anew.
///
/// # Errors
/// [`QueryError`].
pub async fn present(
    server: &Prometheus,
    queries: &Queries,
    now: Timestamp,
    manner: &Manner,
) -> Result<Vec<Reading>, QueryError> {
    let values = Values { namespace: ANY, step_seconds: manner.step, ..Values::default() };
    let of = async |query: &Template, of| {
        let mut gather = Gather::new(manner.limits);
        server.instant(&query.fill(&values), now, &mut |series| gather.take(of, &series)).await?;
        Ok::<_, QueryError>(gather.finish())
    };
    let mut uses: BTreeMap<Name, Use> = BTreeMap::new();
    // The moment is as much of a number as the bytes are.
    for (name, seconds) in last(of(&queries.measured, Of::Memory).await?, |it| it.memory) {
        if let Ok(at) = Timestamp::from_second(whole(seconds.floor())) {
            uses.insert(name, Use::at(at.min(now)));
        }
    }
    let mut put = |values: Vec<(_, f64)>, set: fn(&mut Use, f64)| {
        for (name, value) in values {
            if let Some(used) = uses.get_mut(&name) {
                set(used, value);
            }
        }
    };
    put(last(of(&queries.memory, Of::Memory).await?, |it| it.memory), |it, value| {
        it.memory = Some(Bytes(whole(value)))
    });
    put(last(of(&queries.cpu, Of::Cpu).await?, |it| it.cpu), |it, value| it.cpu = Some(MilliCpu(whole(value))));
    if let Some(query) = &queries.throttled {
        put(last(of(query, Of::Throttled).await?, |it| it.throttled), |it, value| {
            it.throttled_permille = u16::try_from(whole(value * 1000.0)).ok().filter(|_| value > 0.0).or(Some(0));
        });
    }
    let reading = |((namespace, pod, container), usage)| Reading {
        namespace,
        pod,
        container,
        source: Source::Prometheus,
        usage,
        oom_kills: None,
    };
    Ok(uses.into_iter().map(reading).collect())
}

/// The newest value of each container.
fn last(past: Vec<Past>, value: fn(&supple_recommend::sample::Sample) -> Option<f64>) -> Vec<(Name, f64)> {
    let last = |it: Past| Some(((it.namespace, it.pod, it.container), value(it.samples.last()?)?));
    past.into_iter().filter_map(last).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queries_that_are_built_in_can_be_read() {
        let queries = Queries::default();
        let filled = queries.cpu.fill(&Values { namespace: "shop", step_seconds: 300, ..Values::default() });
        let expect = "max by (namespace, pod, container) (rate(container_cpu_usage_seconds_total\
                      {namespace=~\"shop\",container!=\"\",container!=\"POD\"}[300s]))";
        assert_eq!(filled, expect);
        assert!(Queries::with(Some("up"), None).unwrap().cpu != queries.cpu);
        assert!(Queries::with(None, Some("$what")).is_err());
    }
}
