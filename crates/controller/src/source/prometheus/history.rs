//! What a Prometheus knows of containers: their past, in pieces and with patience, and how fresh it is.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use supple_recommend::sample::whole;

use super::client::{Again, Prometheus, QueryError};
use super::past::{Extent, Gather, Limits, Of, Past};
use super::range::{Range, pieces};
use super::template::{Template, TemplateError, Values};
use crate::source::backoff::{Backoff, dice};

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

/// Why a query of one's own cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OwnQueryError {
    /// There is no such query.
    #[error("there is no query {0:?}: expected cpu, memory, throttled or measured")]
    Unknown(String),
    /// It is no query.
    #[error("the query for {0} cannot be read: {1}")]
    Template(String, TemplateError),
}

impl Queries {
    /// These, with others by name: `cpu`, `memory`, `throttled`, `measured`.
    ///
    /// # Errors
    /// [`OwnQueryError`] for a name there is not, and a text that is no query.
    pub fn with<'a>(own: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, OwnQueryError> {
        let mut queries = Self::default();
        for (name, text) in own {
            let read = || Template::new(text).map_err(|error| OwnQueryError::Template(name.to_owned(), error));
            match name {
                "cpu" => queries.cpu = read()?,
                "memory" => queries.memory = read()?,
                "throttled" => queries.throttled = Some(read()?),
                "measured" => queries.measured = read()?,
                _ => return Err(OwnQueryError::Unknown(name.to_owned())),
            }
        }
        Ok(queries)
    }

    /// Whether one namespace at a time can be asked for: a query that does not say which would answer with all each time.
    fn can_be_asked_by_namespace(&self) -> bool {
        [Some(&self.cpu), Some(&self.memory), self.throttled.as_ref()]
            .into_iter()
            .flatten()
            .all(Template::names_namespace)
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

impl History {
    /// Whether it is all that the server has.
    pub fn extent(&self) -> Extent {
        if self.warnings.is_empty() { Extent::Whole } else { Extent::Partial }
    }
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
    let left_out = gather.left_out();
    // A query may say less than it was asked: what belongs to another namespace comes when that is asked for, and counts once.
    let is_asked = |it: &Past| namespace.is_none_or(|namespace| *it.namespace == *namespace);
    Ok(History { past: gather.finish().into_iter().filter(is_asked).collect(), warnings, left_out })
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

/// The past, part by part: a namespace at a time where the queries can be asked so, because that of a large cluster is more than may
/// be asked for, and held, at once.
pub struct Pasts {
    server: Prometheus,
    queries: Queries,
    /// What is still to be asked for; `None`: all of them at once.
    parts: VecDeque<Option<Arc<str>>>,
    span: (Timestamp, Timestamp),
    manner: Manner,
    pauses: Backoff,
    /// Questions in a row that had no answer.
    failures: u32,
}

/// A part of the past is not read.
#[derive(Debug, thiserror::Error)]
#[error(
    "the history of {} is not read, and is learned again: {error}; {}",
    .namespace.as_deref().map_or_else(|| "all containers".to_owned(), |it| format!("the containers of namespace {it}")),
    cure(.error, *.by_namespace)
)]
pub struct GivenUp {
    /// Of which namespace; `None`: of all.
    pub namespace: Option<Arc<str>>,
    /// Why.
    pub error: QueryError,
    /// Each query says `$namespace`.
    by_namespace: bool,
}

fn cure(error: &QueryError, by_namespace: bool) -> &'static str {
    match (error.is_about_size(), by_namespace) {
        (true, true) => {
            "narrow the queries with --prometheus-query, for example to the pods to be resized, and restart"
        }
        (true, false) => {
            "use $namespace in each --prometheus-query, so that each query is for one namespace, and restart"
        }
        (false, _) => "it is not requested again until the next start",
    }
}

impl Pasts {
    /// What a server knows of these namespaces between two moments.
    pub fn new(
        server: Prometheus,
        queries: Queries,
        namespaces: impl IntoIterator<Item = Arc<str>>,
        span: (Timestamp, Timestamp),
        manner: Manner,
        pauses: Backoff,
    ) -> Self {
        let parts = if queries.can_be_asked_by_namespace() {
            namespaces.into_iter().map(Some).collect()
        } else {
            VecDeque::from([None])
        };
        Self { server, queries, parts, span, manner, pauses, failures: 0 }
    }

    /// The next part, asked for with longer and longer pauses: what a server that is down when we start remembers is as good when it
    /// comes back. `failed` is told each time. What no patience helps against is given up; and if it is not about that part alone, so
    /// are all others.
    pub async fn next(&mut self, mut failed: impl FnMut(&QueryError, Duration)) -> Option<Result<History, GivenUp>> {
        loop {
            let namespace = self.parts.pop_front()?;
            let asked = past(&self.server, &self.queries, namespace.as_deref(), self.span, &self.manner).await;
            let error = match asked {
                Ok(history) => {
                    self.failures = 0;
                    return Some(Ok(history));
                }
                Err(error) => error,
            };
            if error.again() == Again::Never {
                if !error.is_about_size() {
                    self.parts.clear();
                }
                let by_namespace = namespace.is_some();
                return Some(Err(GivenUp { namespace, error, by_namespace }));
            }
            // The others first: one that always takes too long must not keep them from being known.
            self.parts.push_back(namespace);
            self.failures = self.failures.saturating_add(1);
            let pause = self.pauses.pause(self.failures, None, dice());
            failed(&error, pause);
            tokio::time::sleep(pause).await;
        }
    }
}

/// Of what moment the newest measurement is that the server has of any container; `None`: it has none.
///
/// # Errors
/// [`QueryError`].
pub async fn newest(server: &Prometheus, queries: &Queries, now: Timestamp) -> Result<Option<Timestamp>, QueryError> {
    let values = Values { namespace: ANY, step_seconds: Manner::default().step, ..Values::default() };
    let second = server.number(&format!("max({})", queries.measured.fill(&values)), now).await?;
    Ok(second.and_then(|it| Timestamp::from_second(whole(it.floor())).ok()).map(|it| it.min(now)))
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
        let own = Queries::with([("cpu", "mine[$step]"), ("measured", "then")]).unwrap();
        assert_eq!((own.cpu.fill(&Values::default()), own.memory == queries.memory), ("mine[60s]".to_owned(), true));
        let said = |name, text| Queries::with([(name, text)]).unwrap_err().to_string();
        assert_eq!(said("disk", "up"), "there is no query \"disk\": expected cpu, memory, throttled or measured");
        assert!(said("memory", "$what").starts_with("the query for memory cannot be read: there is no $what"));
    }
}
