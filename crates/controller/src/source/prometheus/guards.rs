//! What the guards of a policy read while a resize is watched: each query asked of the pods that are watched, by their own names.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use supple_decide::key::WorkloadKey;
use supple_decide::policy::Guard;
use supple_decide::scene::GuardReading;

use super::client::Prometheus;
use super::template::{Template, Values};

/// A pod of which a resize is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Its name.
    pub pod: Arc<str>,
    /// Its containers that were resized.
    pub containers: Vec<Arc<str>>,
}

/// What became of the guards of one workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The answers.
    pub readings: Vec<GuardReading>,
    /// Of each guard that has none: why, in a sentence. Such a guard holds nothing up, and somebody has to know.
    pub unread: Vec<String>,
}

/// Over how much time a guard may take a rate (`$step`), in seconds.
const STEP: u32 = 60;

/// Ask the guards of `workload`. A query that names no pod is asked once for all of them. `None`: there is no server to ask.
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
    let mut questions = BTreeSet::new();
    for Watched { pod, containers } in watched {
        for container in containers {
            let values =
                Values { namespace: &workload.namespace, workload: &workload.name, pod, container, step_seconds: STEP };
            questions.insert((template.names_pod().then_some(pod), template.fill(&values)));
        }
    }
    let mut wrong = Ok(());
    for (pod, query) in questions {
        let value = server.number(&query, now).await;
        match value {
            Ok(Some(value)) => {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "`as` saturates, and a guard beyond that is crossed all the same"
                )]
                let value_milli = (value * 1000.0).round() as i64;
                readings.push(GuardReading { name: guard.name.clone(), pod: pod.cloned(), at: now, value_milli });
            }
            Ok(None) => wrong = Err(format!("the answer to {query} holds no number")),
            Err(error) => wrong = Err(error.to_string()),
        }
    }
    wrong
}
