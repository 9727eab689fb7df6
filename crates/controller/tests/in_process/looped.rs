//! The loop over hours: what it follows, what it leaves alone, what it takes back, and that it never does two things at once.

use kube::api::{Patch, PatchParams};
use serde_json::json;
use supple_controller::event::Event;
use supple_controller::once;
use supple_controller::snapshot::Snapshot;
use supple_controller::source::{Reading, Source};
use supple_controller::usage::PodUse;
use supple_controller::world::{Settings, World};
use supple_decide::code::Code;
use supple_decide::need::Use;
use supple_quantity::{Bytes, MilliCpu};

use super::lab::{Lab, generation, requests};

/// Whether the last thing that came of the pod was this.
pub fn is(pod: &str, code: Code) -> impl Fn(&Snapshot) -> bool {
    let pod = pod.to_owned();
    move |snapshot| {
        let mut rows = snapshot.rows.iter().filter(|it| it.pod == pod);
        rows.any(|it| it.last.as_ref().is_some_and(|it| it.code == code))
    }
}

#[tokio::test(start_paused = true)]
async fn an_oversized_pod_is_shrunk_and_left_alone_when_it_fits() {
    let lab = Lab::new().await;
    lab.policy("quick", json!({})).await;
    lab.pod("big", "2/4Gi", "4/8Gi", "cpu=200m memory=300Mi").await;
    let mut work = lab.begin();
    work.until("the pod is resized", is("big", Code::Resized)).await;
    let told = lab.told("big").await;
    assert!(told.contains(&"Resize".to_owned()) && told.contains(&"Resized".to_owned()), "{told:?}");
    tokio::time::sleep(std::time::Duration::from_secs(6 * 3600)).await;
    let pod = lab.pods().get("big").await.unwrap();
    let status = pod.status.clone().unwrap().container_statuses.unwrap().remove(0);
    let asked = pod.spec.clone().unwrap().containers[0].resources.clone().unwrap().requests.unwrap();
    let cpu: supple_quantity::Quantity = asked["cpu"].0.parse().unwrap();
    let memory: supple_quantity::Quantity = asked["memory"].0.parse().unwrap();
    assert!((200..=300).contains(&supple_quantity::MilliCpu::from(&cpu).0), "{cpu}");
    assert!((300 << 20..=450 << 20).contains(&supple_quantity::Bytes::from(&memory).0), "{memory}");
    assert_eq!(
        (status.restart_count, status.allocated_resources.unwrap()["cpu"].0.clone()),
        (0, asked["cpu"].0.clone())
    );
    let settled = generation(&pod);
    tokio::time::sleep(std::time::Duration::from_secs(3 * 3600)).await;
    assert_eq!(generation(&lab.pods().get("big").await.unwrap()), settled, "it fits, for hours");
    work.end().await;
    let written = lab.rightsizing("pod-big").await;
    let is: Vec<_> = written.conditions.iter().map(|it| (it.type_.as_str(), it.status.as_str())).collect();
    assert_eq!(is, [("Recommended", "True"), ("Permitted", "True"), ("Fitting", "True")]);
    assert_eq!(written.recommendation.len(), 1);
    assert!(written.history.contains_key("app"));
    let record = written.record.unwrap();
    assert_eq!(record.originals["app"].cpu_request.as_deref(), Some("2"));
    assert!(!record.last_resizes.is_empty());
    lab.cluster.stop().await;
}

/// Two hours of it, with six pods on one node that all ask for too much: the account is kept where resizes are sent and shown, so that
/// it tells whatever decided.
#[tokio::test(start_paused = true)]
async fn what_can_wait_waits_until_its_node_is_at_nothing_else() {
    let lab = Lab::new().await;
    lab.policy("quick", json!({})).await;
    let names = ["a", "b", "c", "d", "e", "f"];
    for name in names {
        lab.pod(name, "500m/1Gi", "1/2Gi", "cpu=50m memory=100Mi").await;
    }
    let mut work = lab.begin();
    for name in names {
        work.until("every pod is resized", is(name, Code::Resized)).await;
    }
    let text = work.metrics.render((lab.clock)());
    let most = |haste: &str| {
        let series = format!("supple_node_most_in_flight_pods{{haste=\"{haste}\"}} ");
        text.lines().find_map(|it| it.strip_prefix(&series)).map(str::to_owned)
    };
    assert_eq!((most("can-wait").as_deref(), most("cannot-wait").as_deref()), (Some("1"), Some("0")));
    work.end().await;
    lab.cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn who_only_asked_for_recommendations_is_only_recommended_to() {
    let lab = Lab::new().await;
    lab.policy("quick", json!({})).await;
    let pod = json!({
        "metadata": {"name": "big", "annotations": {"supple.dev/usage-pattern": "cpu=200m memory=300Mi"}},
        "spec": {"containers": [{"name": "app", "image": "i", "resources": {"requests": {"cpu": "2", "memory": "4Gi"}}}]},
    });
    lab.create(pod).await;
    let work = lab.begin();
    tokio::time::sleep(std::time::Duration::from_secs(2 * 3600)).await;
    assert_eq!(lab.requests("big").await, "2/4Gi");
    assert!(lab.told("big").await.is_empty());
    let written = lab.rightsizing("pod-big").await;
    let is: Vec<_> = written.conditions.iter().map(|it| (it.type_.as_str(), it.reason.as_str())).collect();
    assert_eq!(is, [("Recommended", "Provided"), ("Permitted", "ModeOff"), ("Fitting", "ModeOff")]);
    assert_eq!(written.decision.unwrap().code, "ModeOff");
    assert!(written.recommendation[0].cpu.is_some(), "it is recommended all the same");
    work.end().await;
    lab.cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_resize_that_nobody_can_answer_is_counted_and_tried_again() {
    let lab = Lab::new().await;
    lab.policy("quick", json!({})).await;
    lab.pod("big", "2/4Gi", "4/8Gi", "cpu=200m memory=300Mi").await;
    lab.silent_webhook("Fail").await;
    let mut work = lab.begin();
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    let before = series(&work.metrics.render((lab.clock)()));
    tokio::time::sleep(std::time::Duration::from_secs(3 * 3600)).await;
    let counted = |metrics: &supple_controller::metrics::Metrics| -> u64 {
        let text = metrics.render((lab.clock)());
        let line =
            text.lines().find_map(|it| it.strip_prefix(r#"supple_resizes_total{result="failed",reason="NoAnswer"} "#));
        line.map_or(0, |it| it.parse().unwrap())
    };
    assert!(counted(&work.metrics) > 1);
    assert_eq!(lab.requests("big").await, "2/4Gi");
    lab.no_webhook().await;
    work.until("the pod is resized", is("big", Code::Resized)).await;
    assert_eq!(series(&work.metrics.render((lab.clock)())), before, "what happens for the first time is no new series");
    work.end().await;
    lab.cluster.stop().await;
}

/// The series of counted resizes, without their values.
fn series(text: &str) -> Vec<String> {
    let resizes = text.lines().filter_map(|it| it.strip_prefix("supple_resizes_total")?.split_once(' '));
    let mut all: Vec<String> = resizes.map(|it| it.0.to_owned()).collect();
    all.sort();
    all
}

#[tokio::test(start_paused = true)]
async fn growth_is_followed() {
    let lab = Lab::new().await;
    lab.policy("quick", json!({})).await;
    lab.pod("grows", "100m/128Mi", "200m/1Gi", "cpu=50m memory=ramp(100Mi,900Mi,2h)").await;
    let mut work = lab.begin();
    work.until("the pod asks for what it has grown to", |it| {
        it.rows.iter().any(|it| it.asked.memory_request.is_some_and(|it| it.0 > 900 << 20))
    })
    .await;
    let status = lab.pods().get("grows").await.unwrap().status.unwrap().container_statuses.unwrap().remove(0);
    assert_eq!(status.restart_count, 0, "raised before it was killed");
    work.end().await;
    lab.cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_the_namespace_forbids_is_not_sent_and_told_once() {
    let lab = Lab::new().await;
    lab.policy("quick", json!({})).await;
    let limits =
        json!({"metadata": {"name": "l"}, "spec": {"limits": [{"type": "Container", "min": {"memory": "3Gi"}}]}});
    let ranges = kube::Api::<k8s_openapi::api::core::v1::LimitRange>::default_namespaced(lab.client.clone());
    ranges.create(&Default::default(), &serde_json::from_value(limits).unwrap()).await.unwrap();
    lab.pod("big", "100m/4Gi", "200m/8Gi", "cpu=90m memory=300Mi").await;
    let work = lab.begin();
    tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
    let pod = lab.pods().get("big").await.unwrap();
    let memory = requests(&pod);
    assert!(memory.ends_with("/4Gi") || memory.ends_with("/3Gi"), "nothing below what is allowed: {memory}");
    ranges.delete("l", &Default::default()).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
    let memory = lab.requests("big").await;
    assert!(memory.ends_with("Mi"), "what forbade it is gone: {memory}");
    work.end().await;
    lab.cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn another_controller_goes_on_where_the_first_ended() {
    let lab = Lab::new().await;
    lab.policy("quick", json!({})).await;
    lab.pod("big", "2/4Gi", "4/8Gi", "cpu=ramp(200m,1500m,3h) memory=300Mi").await;
    let mut work = lab.begin();
    work.until("the first has resized it", is("big", Code::Resized)).await;
    work.end().await;
    let before = lab.pods().get("big").await.unwrap();
    let remembered = lab.rightsizing("pod-big").await.record.unwrap();
    // It finds the first one's note and numbers on the pod and takes them for its own; and what the first wrote down.
    let mut work = lab.begin();
    work.until("the second has resized it", is("big", Code::Resized)).await;
    assert!(generation(&lab.pods().get("big").await.unwrap()) > generation(&before));
    let told = lab.told("big").await;
    assert!(!told.contains(&"OtherHand".to_owned()), "{told:?}");
    work.end().await;
    let record = lab.rightsizing("pod-big").await.record.unwrap();
    assert_eq!(record.originals, remembered.originals);
    lab.cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn somebody_else_is_noticed_in_the_middle_of_it() {
    let lab = Lab::new().await;
    lab.policy("quick", json!({})).await;
    lab.pod("big", "2/4Gi", "4/8Gi", "cpu=200m memory=300Mi").await;
    let mut work = lab.begin();
    work.until("the pod is resized", is("big", Code::Resized)).await;
    let patch = json!({"spec": {"containers": [{"name": "app", "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}}]}});
    let other = PatchParams { field_manager: Some("vpa-updater".to_owned()), ..PatchParams::default() };
    lab.pods().patch_resize("big", &other, &Patch::Strategic(&patch)).await.unwrap();
    work.until("it stands back", is("big", Code::OtherHand)).await;
    tokio::time::sleep(std::time::Duration::from_secs(1800)).await;
    assert!(lab.requests("big").await.starts_with("1/"));
    let told = lab.told("big").await;
    assert_eq!(told.iter().filter(|it| *it == "OtherHand").count(), 1, "said once, not every round: {told:?}");
    // It is handed back with what `explain` says.
    let patience = std::time::Duration::from_secs(60);
    let look = once::look(&lab.client, Settings::default(), &*lab.clock, patience).await.unwrap();
    let account = look.accounts().remove(0);
    let command = account.to_act.into_iter().find(|it| it.code == Code::OtherHand).unwrap().command.unwrap();
    let patch = command.strip_prefix("kubectl patch pod/big -n default --type=merge -p '").unwrap();
    let patch: serde_json::Value = serde_json::from_str(patch.strip_suffix('\'').unwrap()).unwrap();
    lab.pods().patch("big", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    work.until("it is resized again", is("big", Code::Resized)).await;
    work.end().await;
    lab.cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_switch_stops_everything() {
    let lab = Lab::new().await;
    lab.policy("quick", json!({})).await;
    let namespaces = kube::Api::<k8s_openapi::api::core::v1::Namespace>::all(lab.client.clone());
    let own = json!({"metadata": {"name": "supple-system", "annotations": {"supple.dev/stop": "incident 7"}}});
    namespaces.create(&Default::default(), &serde_json::from_value(own).unwrap()).await.unwrap();
    lab.pod("big", "2/4Gi", "4/8Gi", "cpu=200m memory=300Mi").await;
    let mut work = lab.begin();
    tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
    assert_eq!(lab.requests("big").await, "2/4Gi");
    let open = json!({"metadata": {"annotations": {"supple.dev/stop": null}}});
    namespaces.patch("supple-system", &PatchParams::default(), &Patch::Merge(&open)).await.unwrap();
    work.until("the pod is resized", is("big", Code::Resized)).await;
    work.end().await;
    lab.cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn throttling_is_heard_once_however_often_another_source_tells_of_use() {
    let lab = Lab::new().await;
    lab.pod("small", "100m/64Mi", "200m/128Mi", "cpu=10m memory=30Mi").await;
    let patience = std::time::Duration::from_secs(60);
    let mut world = once::look(&lab.client, Settings::default(), &*lab.clock, patience).await.unwrap();
    let began = (lab.clock)();
    let after = |seconds| began + jiff::SignedDuration::from_secs(seconds);
    let used = |seconds, throttled_permille| Use {
        cpu: Some(MilliCpu(10)),
        memory: Some(Bytes(30 << 20)),
        throttled_permille,
        details_at: throttled_permille.map(|_| after(seconds)),
        ..Use::at(after(seconds))
    };
    let urgent = |world: &World| {
        let needs = world.scene().workloads.values().flat_map(|it| it.needs.values());
        needs.filter_map(|it| it.cpu.as_ref()).any(|it| it.urgent)
    };
    world.apply(
        Event::Detailed(vec![Reading {
            namespace: "default".into(),
            pod: "small".into(),
            container: "app".into(),
            source: Source::Kubelet,
            usage: used(1, Some(600)),
            oom_kills: None,
            met_limit: false,
        }]),
        after(1),
    );
    world.apply(Event::Usage(Ok(Vec::new())), after(1));
    assert!(urgent(&world), "it is throttled in most of its periods: {:?}", world.scene().workloads);
    for seconds in [6, 11, 16] {
        let containers = [("app".into(), used(seconds, None))].into_iter().collect();
        let of_pod = PodUse { namespace: "default".to_owned(), name: "small".to_owned(), containers };
        world.apply(Event::Usage(Ok(vec![of_pod])), after(seconds));
        assert!(!urgent(&world), "after {seconds} s");
    }
    let known = world.scene().uses.values().flat_map(|it| it.values()).next().unwrap().throttled_permille;
    assert_eq!(known, Some(600), "what was told is still known to whoever asks whether a resize did harm");
    lab.cluster.stop().await;
}
