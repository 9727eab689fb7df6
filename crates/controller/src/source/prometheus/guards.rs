//! What the guards of a policy read while a resize is watched: each query asked of the pods that are watched, by their own names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use supple_decide::guard::{Billionths, Guard, GuardReading, STEP_SECONDS};
use supple_decide::key::WorkloadKey;

use super::client::{Prometheus, QueryError};
use super::template::{Template, Values};

/// A pod of which a resize is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Its name.
    pub pod: Arc<str>,
    /// Its containers that were resized.
    pub containers: Vec<Arc<str>>,
    /// The moment that tells what was so before the resize; `None`: nothing of it could be taken back for a guard.
    pub since: Option<Timestamp>,
}

/// What became of the guards of one workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The answers.
    pub readings: Vec<GuardReading>,
    /// Of each guard that has none: why, in a sentence. Such a guard holds nothing up, and somebody has to know.
    pub unread: Vec<String>,
    /// What there is to be said of that beyond, for whoever runs the controller. Sentences above are read in the workload's namespace.
    pub withheld: Vec<String>,
}

/// Ask the guards of `workload`. A query that names no pod is asked once for all of them. Where the answer is harm, the same is asked
/// of the moments before the resizes: the server remembers them, whoever of us was there. `None`: there is no server to ask.
pub async fn ask(
    server: Option<&Prometheus>,
    workload: &WorkloadKey,
    watched: &[Watched],
    guards: &[Guard],
    now: Timestamp,
) -> Asked {
    let mut asked = Asked::default();
    for guard in guards {
        let name = &guard.name;
        let result = match server {
            Some(server) => one(server, workload, watched, guard, now, &mut asked.readings).await,
            None => Err("there is no Prometheus: set --prometheus for the controller".to_owned().into()),
        };
        if let Err(Why { told, withheld }) = result {
            asked.unread.push(format!("guard {name:?} is ignored: {told}"));
            asked.withheld.extend(withheld.map(|it| format!("guard {name:?} of {workload}: {it}")));
        }
    }
    asked
}

/// Why a guard has no answer.
struct Why {
    /// For whoever wrote it.
    told: String,
    /// For whoever runs the controller.
    withheld: Option<String>,
}

impl From<String> for Why {
    fn from(told: String) -> Self {
        Self { told, withheld: None }
    }
}

impl From<QueryError> for Why {
    /// Of the server's words whoever writes guards in a namespace is told those about the text of the query alone. Others name
    /// addresses, files and series that are not that person's.
    fn from(error: QueryError) -> Self {
        match &error {
            QueryError::NotOneNumber { .. } => error.to_string().into(),
            QueryError::Refused { status, message, .. } if status.as_u16() == 400 => {
                format!("Prometheus cannot read the query: {message}").into()
            }
            QueryError::Refused { status, .. } if status.as_u16() == 422 => Self {
                told: "Prometheus cannot evaluate the query; the controller's log says why".to_owned(),
                withheld: Some(error.to_string()),
            },
            _ => Self {
                told: "Prometheus does not answer the query; the controller's log says why".to_owned(),
                withheld: Some(error.to_string()),
            },
        }
    }
}

async fn one(
    server: &Prometheus,
    workload: &WorkloadKey,
    watched: &[Watched],
    guard: &Guard,
    now: Timestamp,
    readings: &mut Vec<GuardReading>,
) -> Result<(), Why> {
    let template = Template::new(&guard.query).map_err(|error| error.to_string())?;
    let mut questions: BTreeMap<_, BTreeSet<Timestamp>> = BTreeMap::new();
    for Watched { pod, containers, since } in watched {
        for container in containers {
            let values = Values {
                namespace: &workload.namespace,
                workload: &workload.name,
                pod,
                container,
                step_seconds: STEP_SECONDS,
            };
            let (pod, container) =
                (template.names_pod().then_some(pod), template.names_container().then_some(container));
            questions.entry((pod, container, template.fill(&values))).or_default().extend(since);
        }
    }
    let mut wrong = Ok(());
    for ((pod, container, query), moments) in questions {
        let asked = read(server, guard, &query, now, moments).await;
        match asked {
            Ok(Some((value, before, well))) => readings.push(GuardReading {
                name: guard.name.clone(),
                pod: pod.cloned(),
                container: container.cloned(),
                at: now,
                value,
                before,
                well,
            }),
            Ok(None) => wrong = Err(format!("the answer to {query} holds no number").into()),
            Err(error) => wrong = Err(error.into()),
        }
    }
    wrong
}

type Before = Vec<(Timestamp, Option<Billionths>)>;

/// What a query comes to now, and, where that is harm, what it came to at these moments; and now, where it is none.
async fn read(
    server: &Prometheus,
    guard: &Guard,
    query: &str,
    now: Timestamp,
    moments: BTreeSet<Timestamp>,
) -> Result<Option<(Billionths, Before, Option<Timestamp>)>, QueryError> {
    let Some(value) = server.number(query, now).await?.map(Billionths::of) else { return Ok(None) };
    let mut before = Vec::new();
    if guard.crossed(value).is_none() {
        return Ok(Some((value, before, Some(now))));
    }
    for moment in moments {
        before.push((moment, server.number(query, moment).await?.map(Billionths::of)));
    }
    Ok(Some((value, before, None)))
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[track_caller]
    fn check(error: QueryError, part: &str, withheld: bool) {
        let whole = error.to_string();
        let why = Why::from(error);
        assert!(why.told.contains(part) && !why.told.contains("prometheus.monitoring"), "{}", why.told);
        assert_eq!(why.withheld, withheld.then_some(whole));
    }

    #[test]
    fn a_namespace_is_told_what_is_wrong_with_its_query_and_nothing_of_the_server() {
        let url = || "http://prometheus.monitoring:9090".to_owned();
        let refused = |status: u16, message: &str| QueryError::Refused {
            url: url(),
            status: StatusCode::from_u16(status).unwrap(),
            message: message.to_owned(),
            retry_after: None,
        };
        check(refused(400, "1:4: parse error: unexpected end"), "cannot read the query: 1:4: parse error", false);
        check(refused(422, "duplicate series {team=\"prometheus.monitoring\"}"), "cannot evaluate the query", true);
        check(refused(401, "no such token"), "does not answer the query; the controller's log says why", true);
        check(QueryError::Unreachable { url: url(), why: "refused".to_owned() }, "does not answer the query", true);
        let many = QueryError::NotOneNumber { query: "up".to_owned(), series: 3 };
        check(many, "answers with 3 series instead of one number", false);
    }
}
