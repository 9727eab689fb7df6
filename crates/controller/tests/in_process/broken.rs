//! A client that breaks under a seed: requests that are lost on their way there or back, refusals for a moment, watches that
//! lag behind, are told that what they resume from is gone, and then cannot be begun anew for minutes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body as Answer;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::unfold;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyDataStream;
use kube::Client;
use kube::client::Body;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// A small generator of its own (xorshift): the same seed, the same faults.
#[derive(Clone)]
pub struct Dice(Arc<Mutex<u64>>);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)))
    }

    /// A number below `sides`.
    pub fn throw(&self, sides: u64) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state % sides
    }
}

/// The client, until the world is whole again.
#[derive(Clone)]
pub struct Faulty {
    inner: Client,
    dice: Dice,
    whole: Instant,
    /// What can be neither listed nor watched before then, by path.
    dark: Arc<Mutex<BTreeMap<String, Instant>>>,
}

impl Faulty {
    pub fn new(inner: Client, dice: Dice, whole: Instant) -> Self {
        Self { inner, dice, whole, dark: Arc::default() }
    }

    fn is_dark(&self, path: &str) -> bool {
        self.dark.lock().unwrap().get(path).is_some_and(|until| Instant::now() < *until)
    }

    /// What a watch tells, each thing a while after it was told, and its end.
    fn lagging(&self, path: String, body: Body) -> Answer {
        let seconds = |it: u64| Duration::from_secs(it);
        let lag = if self.dice.throw(3) == 0 { seconds(self.dice.throw(120)) } else { Duration::ZERO };
        let ends = (self.dice.throw(2) == 0).then(|| Instant::now() + seconds(60 + self.dice.throw(600)));
        let dark = seconds(self.dice.throw(300));
        let (sender, receiver) = mpsc::unbounded_channel();
        let (whole, paths) = (self.whole, self.dark.clone());
        tokio::spawn(async move {
            let mut frames = BodyDataStream::new(body);
            let end = async {
                match ends.filter(|it| *it < whole) {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::pin!(end);
            loop {
                let frame = tokio::select! {
                    () = &mut end => {
                        paths.lock().unwrap().insert(path, (Instant::now() + dark).min(whole));
                        let gone = json!({"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1",
                            "status": "Failure", "reason": "Expired", "code": 410, "message": "gone on purpose"}});
                        let _ = sender.send((Instant::now(), Ok(Bytes::from(format!("{gone}\n")))));
                        return;
                    }
                    frame = frames.next() => frame,
                    () = sender.closed() => return,
                };
                let Some(frame) = frame else { return };
                if sender.send(((Instant::now() + lag).min(whole.max(Instant::now())), frame)).is_err() {
                    return;
                }
            }
        });
        let frames = unfold(receiver, |mut receiver| async move {
            let (due, frame) = receiver.recv().await?;
            sleep_until(due).await;
            Some((frame, receiver))
        });
        Answer::from_stream(frames)
    }
}

fn refusal(status: StatusCode, reason: &str) -> Response<Answer> {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "broken on purpose",
        "reason": reason, "code": status.as_u16(),
    });
    Response::builder().status(status).body(Answer::from(body.to_string())).unwrap()
}

impl Faulty {
    /// What becomes of the request.
    pub async fn answer(self, request: Request<Body>) -> Result<Response<Answer>, tower::BoxError> {
        let is_watch = request.uri().query().is_some_and(|it| it.contains("watch=true"));
        let is_whole = Instant::now() >= self.whole;
        let path = request.uri().path().to_owned();
        // What is watched breaks less often: each time costs a list of everything.
        let fate = if is_whole { 99 } else { self.dice.throw(if is_watch { 400 } else { 20 }) };
        match fate {
            _ if request.method() == Method::GET && self.is_dark(&path) => {
                return Ok(refusal(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"));
            }
            0 => return Err("the connection broke before the request was sent".into()),
            1 => return Ok(refusal(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests")),
            2 => return Ok(refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError")),
            3 if !is_watch => return Ok(refusal(StatusCode::CONFLICT, "Conflict")),
            _ => {}
        }
        let answer = self.inner.clone().send(request).await?;
        if fate == 4 && !is_watch {
            return Err("the answer was lost: it was done all the same".into());
        }
        if is_watch && !is_whole && answer.status().is_success() {
            let (head, body) = answer.into_parts();
            return Ok(Response::from_parts(head, self.lagging(path, body)));
        }
        Ok(answer.map(Answer::new))
    }
}

/// The dice are the same for the same seed.
#[test]
fn a_seed_says_everything() {
    let (a, b) = (Dice::new(7), Dice::new(7));
    assert!((0..1000).all(|_| a.throw(20) == b.throw(20)));
}
