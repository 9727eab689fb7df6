//! The loop's memory by itself, where the order of what is told matters: no cluster tells things in an order of one's choosing.

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use supple_api::Rightsizing;
use supple_decide::need::Use;
use supple_decide::note::{Author, LastResize};
use supple_quantity::{Bytes, MilliCpu};

use super::*;
use crate::carry::Answer;
use crate::rules::{Available, RuleNews};
use crate::source::prometheus::client::{self, Prometheus};
use crate::source::prometheus::guards::{self, Asked};
use crate::view::News;

/// A world and its clock.
pub(super) struct Stage {
    pub(super) world: World,
    pub(super) now: Timestamp,
}

fn of<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

pub(super) fn pod(generation: i64, cpu: &str, status: Value) -> Pod {
    let mut status = status;
    status["phase"] = "Running".into();
    status["conditions"] = json!([{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    status["startTime"] = "2026-01-01T00:00:00Z".into();
    let sizes = json!({"requests": {"cpu": cpu, "memory": "1Gi"}});
    let mut container = json!({"name": "app", "image": "", "imageID": "", "ready": true, "restartCount": 0,
        "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}, "resources": sizes,
        "allocatedResources": sizes["requests"]});
    if let Some(more) = status["container"].take().as_object() {
        container.as_object_mut().unwrap().extend(more.clone());
    }
    status["containerStatuses"] = json!([container]);
    status.as_object_mut().unwrap().remove("container");
    of(json!({
        "metadata": {"namespace": "shop", "name": "web", "uid": "u", "generation": generation,
            "labels": {"supple.dev/mode": "in-place"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "app", "image": "i", "resources": sizes}]},
        "status": status,
    }))
}

fn web() -> WorkloadKey {
    WorkloadKey { namespace: "shop".into(), kind: "Pod".into(), name: "web".into() }
}

impl Stage {
    /// Everything has been read once: one pod that asks for a whole core, on a node of four, and a policy that learns in no time.
    pub(super) fn new(settings: Settings) -> Self {
        let mut stage = Self { world: World::new(settings), now: "2026-02-01T00:00:00Z".parse().unwrap() };
        stage.tell(Event::Version(Some(36)));
        macro_rules! listed {
            ($($kind:ident: $($object:expr)?),+ $(,)?) => {$(
                for event in [watcher::Event::Init, $(watcher::Event::InitApply(of($object)),)? watcher::Event::InitDone] {
                    stage.tell(Event::News(Box::new(News::$kind(event))));
                }
            )+};
        }
        listed! {
            Node: json!({"metadata": {"name": "n1", "labels": {"kubernetes.io/os": "linux"}}, "status": {
                "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "10"}, "conditions": [{"type": "Ready", "status": "True"}]}}),
            Namespace: json!({"metadata": {"name": "shop"}}),
            LimitRange:, ResourceQuota:, Deployment:, StatefulSet:, DaemonSet:, Job:, CronJob:, Scaler:, Budget:,
        }
        let available = Available { ours: true, autoscalers: false };
        stage.rule(RuleNews::Available(available));
        let policy = json!({"metadata": {"namespace": "shop", "name": "quick"}, "spec": {
            "learn": "0s", "minConfidence": 0, "startup": "0s", "steps": {"cpuDown": 100, "memoryDown": 100}}});
        for event in [watcher::Event::Init, watcher::Event::InitApply(of(policy)), watcher::Event::InitDone] {
            stage.rule(RuleNews::Policy(event));
        }
        stage.rule(RuleNews::ClusterPolicy(watcher::Event::Init));
        stage.rule(RuleNews::ClusterPolicy(watcher::Event::InitDone));
        stage.rule(RuleNews::Rightsizing(watcher::Event::Init));
        stage.rule(RuleNews::Rightsizing(watcher::Event::InitDone));
        stage
    }

    /// With its pod, leading.
    pub(super) fn at_work() -> Self {
        let mut stage = Self::new(Settings::default());
        stage.pods(pod(1, "1", json!({})));
        stage.tell(Event::Leading(true));
        stage
    }

    pub(super) fn tell(&mut self, event: Event) -> Vec<Effect> {
        self.world.apply(event, self.now)
    }

    fn rule(&mut self, news: RuleNews) {
        assert!(self.tell(Event::Rules(Box::new(news))).is_empty());
    }

    /// The pods as a list tells them.
    fn pods(&mut self, pod: Pod) -> Vec<Effect> {
        let events = [watcher::Event::Init, watcher::Event::InitApply(pod), watcher::Event::InitDone];
        events.into_iter().flat_map(|it| self.tell(Event::News(Box::new(News::Pod(it))))).collect()
    }

    pub(super) fn watched(&mut self, pod: Pod) -> Vec<Effect> {
        self.tell(Event::News(Box::new(News::Pod(watcher::Event::Apply(pod)))))
    }

    /// A round, a minute later, in which the pod is seen to use a tenth of what it asks for.
    pub(super) fn round(&mut self) -> Vec<Effect> {
        self.round_in("shop")
    }

    fn round_in(&mut self, namespace: &str) -> Vec<Effect> {
        self.now += SignedDuration::from_mins(1);
        let used = Use { cpu: Some(MilliCpu(100)), memory: Some(Bytes(100 << 20)), ..Use::at(self.now) };
        let containers = [("app".into(), used)].into();
        let usage = PodUse { namespace: namespace.to_owned(), name: "web".to_owned(), containers };
        self.tell(Event::Usage(Ok(vec![usage])))
    }

    /// Rounds until something is to be done that passes.
    #[track_caller]
    fn until(&mut self, wanted: impl Fn(&Effect) -> bool) -> Effect {
        let found = (0..600).find_map(|_| self.round().into_iter().find(|it| wanted(it)));
        found.unwrap_or_else(|| panic!("never came: {:?}", self.world.decisions().values().next()))
    }

    /// What was to be written stands in the cluster, as the watch tells.
    fn is_written(&mut self, written: &crate::event::Written) {
        let mut object = written.object.clone();
        object.status = Some(written.status.clone());
        self.rule(RuleNews::Rightsizing(watcher::Event::Apply(object)));
        self.tell(Event::Wrote(written.workload.clone(), Ok(())));
    }

    /// The first resize, on its way.
    fn resizing(&mut self) -> Box<Order> {
        let Effect::Write(written) = self.until(|it| {
            matches!(it, Effect::Write(it) if it.status.record.as_ref()
            .is_some_and(|it| it.originals.contains_key("app")))
        }) else {
            unreachable!()
        };
        self.is_written(&written);
        match self.until(|it| matches!(it, Effect::Carry(_))) {
            Effect::Carry(order) => order,
            _ => unreachable!(),
        }
    }
}

fn carries(effects: &[Effect]) -> bool {
    effects.iter().any(|it| matches!(it, Effect::Carry(_)))
}

#[test]
fn nothing_is_done_before_everything_has_been_read() {
    let mut stage = Stage::new(Settings::default());
    stage.world.keep(Vec::new());
    stage.tell(Event::Leading(true));
    assert_eq!(stage.world.missing(), ["pods"]);
    for _ in 0..100 {
        assert!(stage.round().is_empty());
    }
    assert!(stage.world.last_words(stage.now).is_empty(), "nor is what was kept replaced by nothing");
}

#[test]
fn nothing_is_done_in_our_own_namespace_and_in_kube_system_whatever_a_pod_says() {
    for (namespace, own, expect) in [
        ("shop", "supple-system", Code::Resize),
        ("shop", "shop", Code::ProtectedNamespace),
        ("kube-system", "supple-system", Code::ProtectedNamespace),
    ] {
        let mut stage = Stage::new(Settings { own_namespace: own.into(), ..Settings::default() });
        let known = of(json!({"metadata": {"name": namespace}}));
        stage.tell(Event::News(Box::new(News::Namespace(watcher::Event::Apply(known)))));
        let mut labelled = pod(1, "1", json!({}));
        labelled.metadata.namespace = Some(namespace.to_owned());
        stage.pods(labelled);
        let learns =
            json!({"metadata": {"name": "quick"}, "spec": {"learn": "0s", "minConfidence": 0, "startup": "0s"}});
        stage.rule(RuleNews::ClusterPolicy(watcher::Event::Apply(of(learns))));
        stage.tell(Event::Leading(true));
        let codes: BTreeSet<Code> = (0..600)
            .flat_map(|_| {
                stage.round_in(namespace);
                stage.world.decisions().values().map(|it| it.code).collect::<Vec<_>>()
            })
            .collect();
        let forbidden = if expect == Code::Resize { Code::ProtectedNamespace } else { Code::Resize };
        assert!(codes.contains(&expect) && !codes.contains(&forbidden), "{namespace} of {own}: {codes:?}");
        assert!(!codes.contains(&Code::ModeOff), "its own word is in-place, and what forbids it is said");
    }
}

#[test]
fn who_does_not_lead_decides_and_does_nothing() {
    let mut stage = Stage::at_work();
    stage.tell(Event::Leading(false));
    for _ in 0..600 {
        assert!(!stage.round().iter().any(Effect::is_a_write));
    }
    assert_eq!(stage.world.decisions().values().len(), 1);
}

#[test]
fn what_was_before_us_stands_in_the_cluster_before_a_first_resize() {
    let mut stage = Stage::at_work();
    let Effect::Write(written) = stage.until(|it| {
        matches!(it, Effect::Write(it) if it.status.record.as_ref()
        .is_some_and(|it| it.originals.contains_key("app")))
    }) else {
        unreachable!()
    };
    assert!(!carries(&stage.round()), "it has been sent and not been answered");
    stage.tell(Event::Wrote(written.workload.clone(), Ok(())));
    assert!(!carries(&stage.round()), "it has been answered and not been seen");
    stage.is_written(&written);
    assert!(carries(&stage.round()));
}

#[test]
fn a_resize_holds_its_pod_until_the_pod_shows_it() {
    let mut stage = Stage::at_work();
    let order = stage.resizing();
    stage.tell(Event::Answered(order, Answer::Accepted { generation: Some(2) }));
    assert!(!carries(&stage.round()));
    // A late word of how the pod was before, and a list that is as old.
    stage.watched(pod(1, "1", json!({})));
    stage.pods(pod(1, "1", json!({})));
    assert!(!carries(&stage.round()));
    assert_eq!(stage.world.decisions().values().next().unwrap().code, Code::InProgress);
    stage.watched(pod(2, "900m", json!({})));
    stage.round();
    assert_ne!(stage.world.decisions().values().next().unwrap().code, Code::InProgress);
}

#[test]
fn an_answer_that_was_lost_is_decided_anew_and_a_refusal_is_remembered() {
    let mut stage = Stage::at_work();
    let order = stage.resizing();
    stage.tell(Event::Answered(order.clone(), Answer::Failed("no answer".to_owned())));
    assert!(carries(&stage.round()));
    let told = stage.tell(Event::Answered(order, Answer::Refused("no".to_owned())));
    let [Effect::Tell(told, _)] = &told[..] else { panic!("one thing is told, not {told:?}") };
    let pause = "resizes caused harm or were refused: changes that can wait are not tried before 2026-02-01T";
    assert!(told.code == Code::Refused && told.message.contains(pause), "{told:?}");
    assert!(!carries(&stage.round()));
    assert_eq!(stage.world.decisions().values().next().unwrap().code, Code::BackOff);
}

/// As an API server says that limits how many requests it works on, and who lasts longer than a second is rare.
#[test]
fn a_server_that_has_too_much_to_do_is_left_alone_for_ten_seconds_and_that_is_said() {
    let mut stage = Stage::at_work();
    let order = stage.resizing();
    let pod = order.action.pod.clone();
    let busy = Answer::Busy("Too many requests, please try again later.\n".to_owned());
    assert!(stage.tell(Event::Answered(order, busy)).is_empty());
    let message = stage.world.scene().refused[&pod].message.clone();
    let (before, after) = message.split_at(message.find(" at ").unwrap());
    assert_eq!(before, "the API server had too much to do");
    assert!(after.ends_with("Z: Too many requests, please try again later."), "{message}");
    stage.now += SignedDuration::from_secs(9) - SignedDuration::from_mins(1);
    assert!(!carries(&stage.round()));
    let decision = stage.world.decisions().values().next().unwrap();
    assert!(decision.code == Code::NoAnswer && decision.message.starts_with(&*message), "{decision:?}");
    stage.now += SignedDuration::from_secs(1) - SignedDuration::from_mins(1);
    assert!(carries(&stage.round()), "the same, for nothing was set back");
}

/// The cure of a quota that keeps a replica from being made: the other one is lowered, and gives room back.
#[test]
fn a_workload_of_which_a_quota_keeps_a_pod_from_being_made_is_lowered() {
    let cured = |owner: Value, news: News, labels: Value| {
        let mut stage = Stage::new(Settings::default());
        let quota = json!({"metadata": {"namespace": "shop", "name": "quota"}, "spec": {"hard": {"requests.cpu": "1500m"}},
            "status": {"hard": {"requests.cpu": "1500m"}, "used": {"requests.cpu": "1"}}});
        stage.tell(Event::News(Box::new(News::ResourceQuota(watcher::Event::Apply(of(quota))))));
        stage.tell(Event::News(Box::new(news)));
        let mut pod = pod(1, "1", json!({}));
        pod.metadata.owner_references = Some(vec![of(owner)]);
        pod.metadata.labels.get_or_insert_default().extend(of::<BTreeMap<String, String>>(labels));
        stage.pods(pod);
        stage.tell(Event::Leading(true));
        let order = stage.resizing();
        assert_eq!(order.action.code, Code::Resize);
        order.action.workload.to_string()
    };
    let owner = |kind: &str, name: &str| json!({"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": "o", "controller": true});
    let object = |strategy: &str, status: Value| {
        let mut status = status;
        status["observedGeneration"] = 3.into();
        let sizes = json!({"requests": {"cpu": "1", "memory": "1Gi"}});
        let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app", "resources": sizes}]}});
        json!({"metadata": {"namespace": "shop", "name": "web", "uid": "w", "generation": 3}, "status": status,
            "spec": {"replicas": 2, "selector": {}, "template": template, strategy: {"type": "RollingUpdate"}}})
    };
    let deployment =
        object("strategy", json!({"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "unavailableReplicas": 1}));
    let deployment = News::Deployment(watcher::Event::Apply(of(deployment)));
    let hash = json!({"pod-template-hash": "5d"});
    assert_eq!(cured(owner("ReplicaSet", "web-5d"), deployment, hash), "shop/deployment/web");
    let daemons = json!({"desiredNumberScheduled": 2, "currentNumberScheduled": 1, "updatedNumberScheduled": 1,
        "numberMisscheduled": 0, "numberReady": 1});
    let daemons = News::DaemonSet(watcher::Event::Apply(of(object("updateStrategy", daemons))));
    assert_eq!(cured(owner("DaemonSet", "web"), daemons, json!({})), "shop/daemonset/web");
}

/// What is told for the audit file alone.
fn audited(effects: &[Effect]) -> Vec<Code> {
    let of = |it: &Effect| if let Effect::Audit(told) = it { Some(told.code) } else { None };
    effects.iter().filter_map(of).collect()
}

#[test]
fn what_is_made_of_a_workload_is_told_for_the_audit_file_when_it_changes_and_once() {
    let begun = |audits| {
        let mut stage = Stage::new(Settings { audits, ..Settings::default() });
        let mut pod = pod(1, "1", json!({}));
        pod.metadata.labels = None;
        stage.pods(pod);
        let led = stage.tell(Event::Leading(true));
        let first = stage.round();
        (stage, [led, first].concat())
    };
    let (mut stage, first) = begun(true);
    assert_eq!(audited(&first), [Code::ModeOff], "nothing is done, and why not is to be found here too");
    assert_eq!(audited(&stage.round()), [], "nothing new");
    stage.pods(pod(1, "1", json!({})));
    let next = (0..600).map(|_| audited(&stage.round())).find(|it| !it.is_empty());
    assert!(next.is_none_or(|it| it != [Code::ModeOff]), "it is in another mode");
    assert_eq!(audited(&begun(false).1), [], "there is no such file");
}

#[test]
fn whoever_leads_later_tells_its_audit_file_once_of_what_goes_on() {
    let mut stage = Stage::new(Settings { audits: true, ..Settings::default() });
    let mut pod = pod(1, "1", json!({}));
    pod.metadata.labels = None;
    stage.pods(pod);
    assert_eq!(audited(&[stage.round(), stage.round()].concat()), [], "another leads, and tells its own file");
    for _ in 0..2 {
        assert_eq!(audited(&[stage.tell(Event::Leading(true)), stage.round()].concat()), [Code::ModeOff]);
        let renewed = stage.tell(Event::Leading(true));
        assert_eq!(audited(&[renewed, stage.round()].concat()), [], "told, and the lease renewed");
        stage.tell(Event::Leading(false));
        assert_eq!(audited(&stage.round()), []);
    }
}

#[test]
fn whoever_wrote_the_policy_is_told_of_a_roll_back_once() {
    let mut stage = Stage::at_work();
    let mut order = stage.resizing();
    let round::What::Resize(change) = order.action.what.clone() else { panic!("{:?}", order.action) };
    order.action = Action { what: round::What::RollBack(change), code: Code::RollBack, ..order.action };
    let accepted = || Answer::Accepted { generation: Some(2) };
    let policies = |effects: Vec<Effect>| {
        let told =
            |it| if let Effect::TellPolicy(told) = it { Some((told.name.1.to_string(), told.reason)) } else { None };
        effects.into_iter().filter_map(told).collect::<Vec<_>>()
    };
    let told = policies(stage.tell(Event::Answered(order.clone(), accepted())));
    assert_eq!(told, [("quick".to_owned(), "RollBack")]);
    assert_eq!(policies(stage.tell(Event::Answered(order, accepted()))), []);
}

/// A Prometheus that knows one query: that of the pod by its own name, which has come to 7 from this moment on, and to 1 before.
async fn prometheus(since: Timestamp) -> Prometheus {
    type Asked = axum::extract::Query<BTreeMap<String, String>>;
    let answer = move |axum::extract::Query(asked): Asked| async move {
        let known = asked["query"] == r#"errors{pod="web",container="app"}"#;
        let value = if asked["time"].parse::<i64>().unwrap() < since.as_second() { "1" } else { "7" };
        let result = if known { json!([{"metric": {}, "value": [0, value]}]) } else { json!([]) };
        axum::Json(json!({"status": "success", "data": {"resultType": "vector", "result": result}}))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = axum::Router::new().route("/api/v1/query", axum::routing::get(answer));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Prometheus::new(client::Options::new(&format!("http://{address}"))).unwrap()
}

/// The first resize has been made, and shows; guards watch it.
fn guarded() -> Stage {
    let mut stage = Stage::at_work();
    let order = stage.resizing();
    let guard = |name: &str, query: &str| json!({"name": name, "query": query, "above": "5"});
    let policy = json!({"metadata": {"namespace": "shop", "name": "quick"}, "spec": {
        "learn": "0s", "minConfidence": 0, "startup": "0s", "settle": "10m", "steps": {"cpuDown": 100, "memoryDown": 100},
        "guards": [guard("errors", r#"errors{pod="$pod",container="$container"}"#), guard("typo", "erors")]}});
    stage.rule(RuleNews::Policy(watcher::Event::Apply(of(policy))));
    let round::What::Resize(change) = &order.action.what else { panic!("{:?}", order.action) };
    let note = LastResize::of(&order.pod, change, Author::Controller, stage.now);
    let mut resized = change.applied_to(&pod(1, "1", json!({}))).unwrap();
    let sizes = resized.spec.as_ref().unwrap().containers[0].resources.clone();
    resized.metadata.generation = Some(2);
    let text = serde_json::to_string(&note).unwrap();
    resized.metadata.annotations = Some([(supple_api::names::LAST_RESIZE.to_owned(), text)].into());
    let status = &mut resized.status.as_mut().unwrap().container_statuses.as_mut().unwrap()[0];
    status.allocated_resources = sizes.as_ref().and_then(|it| it.requests.clone());
    status.resources = sizes;
    stage.tell(Event::Answered(order, Answer::Accepted { generation: Some(2) }));
    stage.watched(resized);
    stage
}

impl Stage {
    /// The guards are asked in the next round, of this Prometheus, and what they said; and what comes of it.
    async fn ask_guards(&mut self, prometheus: &Prometheus) -> (Asked, Vec<Effect>) {
        let Effect::AskGuards(workload, watched, guards) = self.until(|it| matches!(it, Effect::AskGuards(..))) else {
            unreachable!()
        };
        assert!(!self.round().iter().any(|it| matches!(it, Effect::AskGuards(..))), "they have not answered yet");
        let asked = guards::ask(Some(prometheus), &workload, &watched, &guards, self.now).await;
        (asked.clone(), self.tell(Event::Guards(workload, asked)))
    }
}

fn takes_back(effects: &[Effect]) -> bool {
    let is_roll_back =
        |it: &Effect| matches!(it, Effect::Carry(order) if matches!(order.action.what, round::What::RollBack(_)));
    effects.iter().any(is_roll_back)
}

#[tokio::test]
async fn a_guard_is_asked_of_the_pod_that_was_resized_and_takes_it_back() {
    let mut stage = guarded();
    let prometheus = prometheus(stage.now + SignedDuration::from_secs(1)).await;
    let (asked, effects) = stage.ask_guards(&prometheus).await;
    assert_eq!(asked.unread, [r#"guard "typo" is ignored: the answer to erors holds no number"#]);
    let told = |it: &Effect| matches!(it, Effect::Tell(told, _) if told.code == Code::GuardUnread);
    assert_eq!(effects.iter().filter(|it| told(it)).count(), 1);
    assert!(takes_back(&effects), "{effects:?}");
    assert!(!stage.tell(Event::Guards(web(), asked.clone())).iter().any(told), "it is told once an hour");
    let watched = [guards::Watched { pod: "web".into(), containers: vec!["app".into()], since: None }];
    let guards = stage.world.scene().workloads[&web()].policy.guards.value.clone();
    let nobody = guards::ask(None, &web(), &watched, &guards, stage.now).await;
    assert_eq!((nobody.readings.len(), nobody.unread.len()), (0, 2));
    // With its last pod goes what guards said of it, and what they say after that is not kept.
    let gone = watcher::Event::Delete(pod(2, "1", json!({})));
    stage.tell(Event::News(Box::new(News::Pod(gone))));
    stage.round();
    assert!(stage.world.scene().guards.is_empty());
    stage.tell(Event::Guards(web(), Asked { readings: asked.readings, unread: Vec::new() }));
    assert!(stage.world.scene().guards.is_empty());
}

#[tokio::test]
async fn what_a_guard_read_before_a_resize_counts_only_once_it_has_been_seen_gone() {
    let mut stage = guarded();
    let ill = prometheus(Timestamp::UNIX_EPOCH).await;
    let well = prometheus(Timestamp::MAX).await;
    assert!(!takes_back(&stage.ask_guards(&ill).await.1), "it was so before");
    assert!(!takes_back(&stage.ask_guards(&well).await.1), "and is not any more");
    let (asked, effects) = stage.ask_guards(&ill).await;
    assert_eq!(asked.readings[0].well, None, "what was seen before is not in the answer");
    assert!(takes_back(&effects), "{effects:?}");
}

#[test]
fn what_stands_in_the_way_is_no_end_of_a_resize() {
    let mut stage = Stage::at_work();
    stage.round();
    let done = |at| supple_decide::record::Done {
        at,
        pod: "web".to_owned(),
        containers: supple_decide::few::Few::default(),
        code: Code::Infeasible,
        message: String::new(),
    };
    let asked = stage.now;
    let mut record = Record::default();
    record.remember(done(asked));
    let effects = stage.world.remember(&web(), record);
    let Effect::Tell(told, _) = &effects[0] else { panic!("{effects:?}") };
    assert!(stage.world.is_end(told));
    assert!(!stage.world.is_end(&Told { at: asked + SignedDuration::from_hours(1), ..told.clone() }));
}

#[test]
fn what_is_the_case_can_be_waited_for() {
    let mut stage = Stage::at_work();
    let is_status = |it: &Effect| matches!(it, Effect::Write(it) if !it.status.conditions.is_empty());
    let Effect::Write(written) = stage.until(is_status) else { unreachable!() };
    let of = |written: &crate::event::Written, kind: &str| {
        let found = written.status.conditions.iter().find(|it| it.type_ == kind).unwrap();
        (found.status.clone(), found.reason.clone(), found.last_transition_time.0)
    };
    assert_eq!(written.status.observed_generation, Some(1));
    let (status, reason, since) = of(&written, "Permitted");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "Allowed"));
    assert_eq!(of(&written, "Fitting").0, "False");
    stage.is_written(&written);
    stage.tell(Event::Wrote(web(), Ok(())));
    // A pause is written at once, whatever else is decided; since when the others have been so stays.
    let paused = json!({"metadata": {"namespace": "shop", "name": "quick"}, "spec": {
        "learn": "0s", "minConfidence": 0, "startup": "0s", "steps": {"cpuDown": 100, "memoryDown": 100},
        "paused": {"reason": "peace"}}});
    stage.rule(RuleNews::Policy(watcher::Event::Apply(self::of(paused))));
    stage.round();
    let effects = stage.tell(Event::Tick);
    let written = effects.iter().find_map(|it| if let Effect::Write(it) = it { Some(it) } else { None }).unwrap();
    let (status, reason, then) = of(written, "Permitted");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Paused"));
    assert!(then > since);
    assert_eq!(of(written, "Recommended").2, since);
}

#[test]
fn what_we_wrote_ourselves_is_not_learned_a_second_time() {
    let mut stage = Stage::at_work();
    let hours = |stage: &Stage| stage.world.scene().workloads[&web()].needs["app"].hours;
    for _ in 0..180 {
        stage.round();
    }
    let mut saved = stage.world.history.save(&web());
    let state = saved.remove("app").unwrap();
    let mut object = Rightsizing::of_workload(&stage.world.scene().workloads[&web()].facts);
    let engine = base64::engine::general_purpose::STANDARD;
    let history = [("app".to_owned(), base64::Engine::encode(&engine, &state))].into();
    object.status = Some(supple_api::rightsizing::RightsizingStatus { history, ..Default::default() });
    let before = hours(&stage);
    stage.rule(RuleNews::Rightsizing(watcher::Event::Apply(object)));
    stage.watched(pod(1, "1", json!({})));
    stage.world.refresh(stage.now, None);
    assert_eq!(stage.world.history.save(&web())["app"], state);
    assert_eq!(hours(&stage), before);
}

#[test]
fn the_highest_use_of_the_day_survives_a_death() {
    let high = |stage: &mut Stage| {
        stage.now += SignedDuration::from_mins(1);
        let used = Use { cpu: Some(MilliCpu(100)), memory: Some(Bytes(900 << 20)), ..Use::at(stage.now) };
        let containers = [("app".into(), used)].into();
        let usage = PodUse { namespace: "shop".to_owned(), name: "web".to_owned(), containers };
        stage.tell(Event::Usage(Ok(vec![usage])));
    };
    let peak = |stage: &Stage| stage.world.scene().uses.values().next().unwrap()["app"].memory_peak;
    let mut stage = Stage::at_work();
    high(&mut stage);
    stage.round();
    let mut heir = stage;
    for _ in 0..2 {
        let state = heir.world.history.save(&web()).remove("app").unwrap();
        let mut next = Stage::at_work();
        next.now = heir.now;
        let policy = next.world.rules.built_in();
        next.world.history.restore(&web(), "app", &state, None, &policy).unwrap();
        next.round();
        assert_eq!(peak(&next), Some(Bytes(900 << 20)));
        heir = next;
    }
    heir.now += SignedDuration::from_hours(25);
    heir.round();
    assert_eq!(peak(&heir), Some(Bytes(100 << 20)), "a day later it is forgotten");
}

#[test]
fn a_kill_is_seen_also_where_a_list_tells_of_it() {
    let mut stage = Stage::at_work();
    stage.round();
    let end = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-02-01T00:00:30Z"}});
    let killed = pod(1, "1", json!({"container": {"restartCount": 1, "lastState": end}}));
    let counted = |effects: Vec<Effect>| {
        let all =
            effects.into_iter().filter_map(|it| if let Effect::Count(it) = it { Some(it.counted()) } else { None });
        all.collect::<Vec<_>>()
    };
    assert_eq!(counted(stage.pods(killed.clone())), [("out-of-memory", 1), ("restarted", 1)]);
    assert_eq!(counted(stage.watched(killed)), []);
}

#[test]
fn what_a_file_kept_of_others_stays_in_it() {
    let mut stage = Stage::new(Settings::default());
    let page = |name: &str, hours: i64| crate::history_file::Page {
        workload: WorkloadKey { kind: "CronJob".into(), name: name.into(), ..web() },
        container: "app".into(),
        fresh: Some(stage.now - SignedDuration::from_hours(hours)),
        state: vec![1],
    };
    let (recent, old) = (page("nightly", 30), page("forgotten", 24 * 9));
    stage.world.keep(vec![recent.clone(), old]);
    stage.pods(pod(1, "1", json!({})));
    let Effect::Keep(pages) = stage.until(|it| matches!(it, Effect::Keep(_))) else { unreachable!() };
    let names: Vec<&str> = pages.iter().map(|it| &*it.workload.name).collect();
    assert_eq!(names, ["web", "nightly"]);
    assert!(pages.contains(&recent));
}
