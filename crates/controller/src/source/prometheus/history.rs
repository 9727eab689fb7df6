//! What a Prometheus knows of containers: their past, in parts and pieces and with patience, and how fresh it is.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use supple_recommend::sample::whole;

use super::client::{Again, Prometheus, QueryError};
use super::part::{By, Part, PodName, parts};
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

/// `$namespace` and `$pod` of a query for all of them, for which reason they stand behind `=~`.
const ANY: &str = ".+";

impl Default for Queries {
    /// cAdvisor's metrics as every installation for Kubernetes has them. `max by` and not `sum by`, because two servers that
    /// watch the same kubelet would double every sum.
    fn default() -> Self {
        let built_in = |text: &str| Template::new(text).expect("the queries that are built in are tested");
        let of = r#"{namespace=~"$namespace",pod=~"$pod",container!="",container!="POD"}"#;
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

    /// How little can be asked for at once: a query that does not say of what would answer with everything each time.
    fn by(&self) -> By {
        let all = |names: fn(&Template) -> bool| {
            [Some(&self.cpu), Some(&self.memory), self.throttled.as_ref()].into_iter().flatten().all(names)
        };
        match (all(Template::names_namespace), all(Template::names_pod)) {
            (true, true) => By::Pods,
            (true, false) => By::Namespace,
            (false, _) => By::Nothing,
        }
    }
}

/// How the past is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    /// Between two samples, in seconds.
    pub step: u32,
    /// Most points of a series in one answer.
    pub points: u32,
    /// How many points one answer should have: so many containers are asked for at once where the queries can name pods, and for so short a
    /// time where they cannot.
    pub answer: u32,
    /// What is taken in at once.
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
            // A week at once, and as text some 6 MB of 100 containers: a few questions a part, and parts that are small beside all else.
            points: 2500,
            answer: 200_000,
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

/// However many containers there are, no answer is asked for of less than this.
const FEWEST_POINTS: u32 = 100;

/// How many containers should be asked for at once, and how many points of each.
fn measure(containers: usize, (from, to): (Timestamp, Timestamp), manner: &Manner) -> (usize, u32) {
    let span = u32::try_from(to.as_second().saturating_sub(from.as_second())).unwrap_or_default();
    let whole = (span / manner.step.max(1)).saturating_add(1).min(manner.points.max(1));
    let each = manner.answer / u32::try_from(containers.max(1)).unwrap_or(u32::MAX);
    let most = usize::try_from(manner.answer / whole).unwrap_or(usize::MAX).max(1);
    (most, each.max(FEWEST_POINTS).min(manner.points))
}

/// The past of a part's containers between two moments.
///
/// # Errors
/// [`QueryError`] of a question that is given up.
pub async fn past(
    server: &Prometheus,
    queries: &Queries,
    part: &Part,
    (from, to): (Timestamp, Timestamp),
    manner: &Manner,
) -> Result<History, QueryError> {
    let pods = part.regex();
    let values = Values {
        namespace: part.namespace.as_deref().unwrap_or(ANY),
        pod: pods.as_deref().unwrap_or(ANY),
        step_seconds: manner.step,
        ..Values::default()
    };
    // A query may say less than it was asked: what belongs to another part comes when that is asked for, and counts once.
    let mut gather = Gather::new(&part.pods, manner.limits);
    let mut warnings = Vec::new();
    let (_, points) = measure(part.containers, (from, to), manner);
    let pieces = pieces(from.as_second(), to.as_second(), manner.step, points);
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
    Ok(History { past: gather.finish(), warnings, left_out })
}

/// One piece, asked for until it is answered or given up. A second answer to one question does no harm: the same moments
/// are the same samples.
async fn patiently(
    server: &Prometheus,
    query: &str,
    piece: &Range,
    of: Of,
    manner: &Manner,
    gather: &mut Gather<'_>,
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

/// The past, part by part: some pods at a time where the queries can be asked so, because that of a large namespace is more than may
/// be asked for, and held, at once.
pub struct Pasts {
    server: Prometheus,
    queries: Queries,
    by: By,
    /// What is still to be asked for.
    parts: VecDeque<Part>,
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
    .part.whose(),
    cure(.error, *.by)
)]
pub struct GivenUp {
    /// Whose.
    pub part: Part,
    /// Why.
    pub error: QueryError,
    /// How little could be asked for.
    by: By,
}

fn cure(error: &QueryError, by: By) -> &'static str {
    match (error.is_about_size(), by) {
        (true, By::Pods) => {
            "narrow the queries with --prometheus-query, for example to the pods to be resized, and restart"
        }
        (true, By::Namespace | By::Nothing) => {
            "use $namespace and $pod (with =~) in each --prometheus-query, so that each query is for a few pods, and restart"
        }
        (false, _) => "it is not requested again until the next start",
    }
}

impl Pasts {
    /// What a server knows of these pods, each with how many containers it has, between two moments.
    pub fn new(
        server: Prometheus,
        queries: Queries,
        pods: impl IntoIterator<Item = (PodName, usize)>,
        span: (Timestamp, Timestamp),
        manner: Manner,
        pauses: Backoff,
    ) -> Self {
        let by = queries.by();
        let (most, _) = measure(1, span, &manner);
        Self { server, queries, by, parts: parts(pods, by, most), span, manner, pauses, failures: 0 }
    }

    /// The next part, asked for with longer and longer pauses: what a server that is down when we start remembers is as good when it
    /// comes back. `failed` is told each time. What no patience helps against is given up; and if it is not about that part alone, so
    /// are all others.
    pub async fn next(&mut self, mut failed: impl FnMut(&QueryError, Duration)) -> Option<Result<History, GivenUp>> {
        loop {
            let part = self.parts.pop_front()?;
            let asked = past(&self.server, &self.queries, &part, self.span, &self.manner).await;
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
                return Some(Err(GivenUp { part, error, by: self.by }));
            }
            // The others first: one that always takes too long must not keep them from being known.
            self.parts.push_back(part);
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
    let values = Values { namespace: ANY, pod: ANY, step_seconds: Manner::default().step, ..Values::default() };
    let second = server.number(&format!("max({})", queries.measured.fill(&values)), now).await?;
    Ok(second.and_then(|it| Timestamp::from_second(whole(it.floor())).ok()).map(|it| it.min(now)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_week_of_a_thousand_containers_is_a_few_questions_each_of_which_is_small() {
        let week = (Timestamp::UNIX_EPOCH, Timestamp::from_second(7 * 86_400).unwrap());
        let manner = Manner::default();
        assert_eq!(Queries::default().by(), By::Pods);
        let (most, _) = measure(1, week, &manner);
        let pods = |it: usize| ((Arc::from("shop"), Arc::from(format!("web-{}-7d9f8b6c5d-abcde", it))), 1);
        let parts = parts((0..1000).map(pods), By::Pods, most);
        let questions = |part: &Part| {
            let (_, points) = measure(part.containers, week, &manner);
            pieces(0, 7 * 86_400, manner.step, points).len() * 3
        };
        let (all, largest) = (parts.iter().map(questions).sum::<usize>(), parts.iter().map(|it| it.containers).max());
        assert!(all <= 100 && largest <= Some(99), "{all} questions, {largest:?} containers");
        // Where only all of them can be asked for: shorter, and never so short that nobody would wait for the end.
        assert_eq!([1, 500, 100_000].map(|it| measure(it, week, &manner).1), [2500, 400, FEWEST_POINTS]);
    }

    #[test]
    fn the_queries_that_are_built_in_can_be_read() {
        let queries = Queries::default();
        let values = Values { namespace: "shop", pod: "web-(0|1)", step_seconds: 300, ..Values::default() };
        let filled = queries.cpu.fill(&values);
        let expect = "max by (namespace, pod, container) (rate(container_cpu_usage_seconds_total\
                      {namespace=~\"shop\",pod=~\"web-(0|1)\",container!=\"\",container!=\"POD\"}[300s]))";
        assert_eq!(filled, expect);
        let own = Queries::with([("cpu", "mine[$step]"), ("measured", "then")]).unwrap();
        assert_eq!((own.cpu.fill(&Values::default()), own.memory == queries.memory), ("mine[60s]".to_owned(), true));
        let said = |name, text| Queries::with([(name, text)]).unwrap_err().to_string();
        assert_eq!(said("disk", "up"), "there is no query \"disk\": expected cpu, memory, throttled or measured");
        assert!(said("memory", "$what").starts_with("the query for memory cannot be read: there is no $what"));
    }
}
