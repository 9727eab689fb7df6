//! Kubelets, asked through the API server (`nodes/NAME/proxy/…`): a few nodes a second, each in its turn.
//!
//! `/stats/summary` says what containers use; `/metrics/cadvisor` adds what it leaves out: throttled periods and kills. Both
//! answers are bounded in size, and neither is trusted to be whole. A cluster that lets us read only one of them, or
//! neither, is told of once and works with what there is.

pub mod cadvisor;
pub mod join;
pub mod summary;
pub mod sweep;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::caught::caught;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::join::{Before, join};
use self::sweep::{Pace, Sweep};
use super::Reading;
use super::backoff::dice;
use crate::run::Clock;

/// More than a kubelet with 500 pods tells; what is longer is not read to its end.
pub const LONGEST_ANSWER: usize = 32 << 20;

/// How long a kubelet may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why a node told nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The API server refused, or could not reach the node.
    #[error("read {path} of node {node}: {message}{hint}", hint = hint(*status))]
    Refused {
        /// Which node.
        node: Arc<str>,
        /// Which of its paths.
        path: &'static str,
        /// The HTTP status.
        status: u16,
        /// What the server said.
        message: String,
    },
    /// The API server could not be reached.
    #[error("read {path} of node {node}: {source}")]
    Unreachable {
        /// Which node.
        node: Arc<str>,
        /// Which of its paths.
        path: &'static str,
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// It took too long, broke off, or was endless.
    #[error("read {path} of node {node}: {why}")]
    Broken {
        /// Which node.
        node: Arc<str>,
        /// Which of its paths.
        path: &'static str,
        /// What happened.
        why: String,
    },
}

fn hint(status: u16) -> &'static str {
    match status {
        403 => " (allow the controller `get` on `nodes/proxy`, or disable this source: --kubelet-stats=false)",
        _ => "",
    }
}

/// What came of one node's turn.
#[derive(Debug)]
pub struct Swept {
    /// Which node.
    pub node: Arc<str>,
    /// What its containers use.
    pub readings: Result<Vec<Reading>, ReadError>,
    /// What was left out, a sentence each: the readings are there, but tell less.
    pub gaps: Vec<String>,
}

/// Ask the nodes for as long as it runs, each in its turn, and send what they tell to `out`. `hurry` names nodes that are
/// asked before others, for instance because one of their pods has just been resized.
pub async fn run(
    client: Client,
    pace: Pace,
    clock: Clock,
    mut nodes: watch::Receiver<Vec<Arc<str>>>,
    mut hurry: mpsc::Receiver<Arc<str>>,
    out: mpsc::Sender<Swept>,
    stop: CancellationToken,
) {
    let began = Instant::now();
    let mut sweep = Sweep::new(pace);
    sweep.nodes(nodes.borrow_and_update().iter().cloned());
    let mut before: BTreeMap<Arc<str>, Before> = BTreeMap::new();
    let mut asked = JoinSet::new();
    loop {
        let pause = match sweep.next(began.elapsed()) {
            sweep::Next::Ask(node) => {
                let (client, clock, before) = (client.clone(), clock.clone(), before.remove(&node).unwrap_or_default());
                asked.spawn(async move {
                    let read = caught("read a kubelet", read(&client, &node, before, &clock)).await;
                    let read = read.unwrap_or_else(|why| {
                        let why = ReadError::Broken { node: node.clone(), path: "stats/summary", why };
                        (Swept { node: node.clone(), readings: Err(why), gaps: Vec::new() }, Before::default())
                    });
                    (node, read)
                });
                continue;
            }
            sweep::Next::Wait(pause) => pause,
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            Some(node) = hurry.recv() => sweep.hurry(&node),
            changed = nodes.changed() => match changed {
                Ok(()) => {
                    sweep.nodes(nodes.borrow_and_update().iter().cloned());
                    before.retain(|node, _| sweep.knows(node));
                }
                Err(_) => return, // nobody says any more which nodes there are
            },
            Some(done) = asked.join_next() => {
                let Ok((node, (swept, now))) = done else { continue };
                sweep.done(&node, swept.readings.is_ok(), began.elapsed(), dice());
                before.insert(node, now);
                if out.send(swept).await.is_err() {
                    return; // nobody listens any more
                }
            }
        }
    }
}

/// Ask one node now.
async fn read(client: &Client, node: &Arc<str>, before: Before, clock: &Clock) -> (Swept, Before) {
    let (summary, cadvisor) = tokio::join!(get(client, node, "stats/summary"), get(client, node, "metrics/cadvisor"));
    let now = clock();
    let mut gaps = Vec::new();
    let mut parsed = |text: Result<String, ReadError>, parse: &dyn Fn(&str) -> Result<join::Told, String>, path| {
        let told =
            text.and_then(|text| parse(&text).map_err(|why| ReadError::Broken { node: node.clone(), path, why }));
        told.inspect_err(|error| gaps.push(error.to_string()))
    };
    let summary = parsed(summary, &|text| summary::read(text, now), "stats/summary");
    let cadvisor = parsed(cadvisor, &|text| Ok(cadvisor::read(text, now)), "metrics/cadvisor");
    let told = match (summary, cadvisor) {
        (Err(error), Err(_)) => {
            return (Swept { node: node.clone(), readings: Err(error), gaps }, before);
        }
        (summary, cadvisor) => summary.into_iter().chain(cadvisor),
    };
    let (readings, now) = join(told, &before);
    (Swept { node: node.clone(), readings: Ok(readings), gaps }, now)
}

async fn get(client: &Client, node: &Arc<str>, path: &'static str) -> Result<String, ReadError> {
    let broken = |why: String| ReadError::Broken { node: node.clone(), path, why };
    let request = http::Request::get(format!("/api/v1/nodes/{node}/proxy/{path}"));
    let request = request.body(Body::empty()).map_err(|error| broken(error.to_string()))?;
    let answer = async {
        let response = client.send(request).await.map_err(|source| ReadError::Unreachable {
            node: node.clone(),
            path,
            source: Box::new(source),
        })?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LONGEST_ANSWER).collect().await.map_err(|error| {
            broken(if error.is::<LengthLimitError>() {
                format!("the answer is longer than {LONGEST_ANSWER} bytes")
            } else {
                format!("the answer broke off ({error})")
            })
        })?;
        let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        if status.is_success() {
            return Ok(text);
        }
        Err(ReadError::Refused { node: node.clone(), path, status: status.as_u16(), message: said(&text) })
    };
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(broken(format!("no answer in {} s", PATIENCE.as_secs()))),
    }
}

/// What an answer that is none says: the message of a Status, or the beginning of the text.
fn said(text: &str) -> String {
    let status: Option<serde_json::Value> = serde_json::from_str(text).ok();
    let message = status.as_ref().and_then(|it| it.get("message")?.as_str());
    message.unwrap_or(text).trim().chars().take(200).collect()
}

/// What one node tells now, for whoever asks once: rates that need two answers are not in it.
///
/// # Errors
/// [`ReadError`] where neither of its paths tells anything.
pub async fn once(client: &Client, node: &Arc<str>, at: Timestamp) -> Result<Vec<Reading>, ReadError> {
    let clock: Clock = Arc::new(move || at);
    read(client, node, Before::default(), &clock).await.0.readings
}
