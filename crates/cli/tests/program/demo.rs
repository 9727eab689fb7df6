//! `up --demo`, followed through its API as a person's dashboard would: every scene that is promised comes, and the one that does
//! not is named.

use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use serde_json::Value;
use supple_quantity::{Bytes, MilliCpu, Quantity};

use super::cluster::{Kubectl, Up, lacking, signal};

/// How long the scenes may take together before one counts as missing. They are there within two minutes; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(300);

/// What has been seen of the demonstration so far.
#[derive(Default)]
struct Seen {
    /// What each pod's container really had, one entry a change: CPU and memory it was promised.
    sizes: BTreeMap<String, Vec<(i64, i64)>>,
    /// How often each was restarted.
    restarts: BTreeMap<String, i64>,
    /// Pods whose resize the node has put off, and whether that is over.
    deferred: BTreeMap<String, bool>,
    /// Pods, the reasons of their events, and what these say.
    events: Vec<(String, String, String)>,
    /// What was decided of each pod, all codes there were.
    codes: BTreeMap<String, Vec<String>>,
}

/// A name, and whether it has come.
type Scene = (&'static str, fn(&Seen) -> bool);

const MI: i64 = 1 << 20;

const SCENES: [Scene; 7] = [
    ("growth followed: `growing` has more memory than it began with, without a restart", |seen| {
        seen.sizes("growing").any(|(_, memory)| memory > 64 * MI) && seen.restarts.get("growing") == Some(&0)
    }),
    ("idle shrunk: `idle` has less of both than it asked for", |seen| {
        seen.sizes("idle").any(|(cpu, memory)| cpu < 200 && memory < 256 * MI)
    }),
    ("a burst answered: `bursts` is given more CPU than it had", |seen| {
        seen.sizes("bursts").zip(seen.sizes("bursts").skip(1)).any(|(before, after)| after.0 > before.0)
    }),
    ("a bad shrink rolled back: `fragile` lost memory, and has it again", |seen| {
        let shrunk = seen.sizes("fragile").position(|(_, memory)| memory < 256 * MI);
        let back = |shrunk| seen.sizes("fragile").skip(shrunk).any(|(_, memory)| memory == 256 * MI);
        shrunk.is_some_and(back) && seen.event("fragile", "RollBack", "")
    }),
    ("a resize deferred: the node puts off what a person asks of `queued`", |seen| {
        seen.deferred.contains_key("queued")
    }),
    (
        "the deferred resize waits for room: others are shrunk, and `queued` has what was asked for, without a restart",
        |seen| {
            let asked = seen.sizes("queued").any(|(cpu, _)| cpu == 250);
            seen.deferred.get("queued") == Some(&true) && asked && seen.restarts.get("queued") == Some(&0)
        },
    ),
    ("a memory decrease refused: `hoarder` needs approval, and keeps what it has", |seen| {
        let refused = seen.codes.get("hoarder").is_some_and(|it| it.iter().any(|it| it == "NeedsApproval"));
        refused && seen.sizes("hoarder").all(|(_, memory)| memory == 300 * MI)
    }),
];

impl Seen {
    fn sizes(&self, pod: &str) -> impl Iterator<Item = (i64, i64)> {
        self.sizes.get(pod).into_iter().flatten().copied()
    }

    fn event(&self, pod: &str, reason: &str, part: &str) -> bool {
        self.events.iter().any(|it| it.0 == pod && it.1 == reason && it.2.contains(part))
    }

    fn take(&mut self, object: &Value) {
        let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        match text("/kind").as_str() {
            "Pod" => self.take_pod(text("/metadata/name"), object),
            "Event" => self.events.push((text("/involvedObject/name"), text("/reason"), text("/message"))),
            "Rightsizing" => {
                let codes = self.codes.entry(text("/spec/workloadRef/name")).or_default();
                let code = text("/status/decision/code");
                if codes.last() != Some(&code) {
                    codes.push(code);
                }
            }
            other => panic!("nobody asked for {other:?}"),
        }
    }

    fn take_pod(&mut self, name: String, pod: &Value) {
        let quantity = |path: &str| pod.pointer(path)?.as_str()?.parse::<Quantity>().ok();
        let cpu = quantity("/status/containerStatuses/0/resources/requests/cpu");
        let memory = quantity("/status/containerStatuses/0/resources/requests/memory");
        if let Some((cpu, memory)) = cpu.zip(memory) {
            let sizes = self.sizes.entry(name.clone()).or_default();
            let now = (MilliCpu::from(&cpu).0, Bytes::from(&memory).0);
            if sizes.last() != Some(&now) {
                sizes.push(now);
            }
        }
        let restarts = pod.pointer("/status/containerStatuses/0/restartCount").and_then(Value::as_i64);
        self.restarts.insert(name.clone(), restarts.unwrap_or_default());
        let conditions = pod.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
        let is_deferred = conditions
            .into_iter()
            .any(|it| it["type"] == "PodResizePending" && it["status"] == "True" && it["reason"] == "Deferred");
        if is_deferred {
            self.deferred.insert(name, false);
        } else if let Some(over) = self.deferred.get_mut(&name) {
            *over = true;
        }
    }
}

/// `kubectl get KIND --watch`, each object as it comes; ended with the test.
struct Watch(Child);

impl Watch {
    fn of(kubectl: &Kubectl, kind: &str, out: Sender<Value>) -> Self {
        let args = ["get", kind, "--namespace", "demo", "--watch", "--output", "json"];
        let mut child = kubectl.command(args).stdout(Stdio::piped()).spawn().unwrap();
        let objects = serde_json::Deserializer::from_reader(child.stdout.take().unwrap()).into_iter::<Value>();
        std::thread::spawn(move || objects.map_while(Result::ok).all(|it| out.send(it).is_ok()));
        Self(child)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            signal(i32::try_from(self.0.id()).unwrap(), "TERM");
            let _ = self.0.wait();
        }
    }
}

/// Follow it until every scene has come.
#[track_caller]
fn follow(news: &Receiver<Value>) {
    let (mut seen, mut missing) = (Seen::default(), SCENES.to_vec());
    let deadline = Instant::now() + PATIENCE;
    while !missing.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        let names: Vec<&str> = missing.iter().map(|it| it.0).collect();
        let Ok(object) = news.recv_timeout(left) else {
            panic!("these scenes did not come: {names:#?}\nsizes: {:#?}\ncodes: {:#?}", seen.sizes, seen.codes)
        };
        seen.take(&object);
        missing.retain(|(name, came)| {
            let came = came(&seen);
            if came {
                println!("{name}");
            }
            !came
        });
    }
}

#[test]
fn every_scene_of_the_demonstration_comes() {
    let dir = tempfile::tempdir().unwrap();
    let up = Up::start(&dir.path().join("data"), "auto", &["--demo"]);
    if !up.announced.iter().any(|it| it.starts_with("runtime     process")) {
        return lacking("writable cgroups");
    }
    let Some(kubectl) = Kubectl::of(&up) else { return };
    let (out, news) = channel();
    let _watches = ["pods", "events", "rightsizings"].map(|kind| Watch::of(&kubectl, kind, out.clone()));
    follow(&news);
    let (printed, code) = up.stop();
    assert_eq!(code, Some(0));
    // What is seen through the API stands on the screen too.
    let line = printed.lines().find(|it| it.contains("demo/queued") && it.contains("Deferred"));
    assert!(line.is_some_and(|it| it.contains("Deferred: ") && it.contains("cpu")), "{printed}");
}
