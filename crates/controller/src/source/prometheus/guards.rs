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
            None => Err("there is no Prometheus: set --prometheus for the controller".to_owned()),
        };
        if let Err(why) = result {
            asked.unread.push(format!("guard {name:?} is ignored: {why}"));
        }
    }
    asked
}

async fn one(
    server: &Prometheus,
    workload: &WorkloadKey,
    watched: &[Watched],
    guard: &Guard,
    now: Timestamp,
    readings: &mut Vec<GuardReading>,
) -> Result<(), String> {
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
            Ok(None) => wrong = Err(format!("the answer to {query} holds no number")),
            Err(error) => wrong = Err(error.to_string()),
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
