//! What people and others write for the loop and for simulated pods: policies, autoscalers, labels and annotations, schedules,
//! risks, usage patterns, and the note of the last resize, which is only an annotation.

#![no_main]

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use libfuzzer_sys::fuzz_target;
use supple_api::resolve::{Asked, Given, Policies};
use supple_api::{ClusterRightsizePolicy, RightsizePolicy, VerticalPodAutoscaler, autoscaler, names, span};
use supple_decide::key::WorkloadKey;
use supple_decide::note::LastResize;
use supple_node::runtime::simulated::pattern::Pattern;
use supple_recommend::policy::Risk;

/// A moment of which time zones know rules.
const NOW: i64 = 1_800_000_000;

/// What is resolved for a workload that says `words` of itself, whoever else speaks of it.
fn resolve(given: &Given<'_>, words: &BTreeMap<String, String>, now: Timestamp) {
    let policies = Policies::new(given, now);
    let key = WorkloadKey { namespace: "shop".into(), kind: "Deployment".into(), name: "web".into() };
    let asked = Asked { key: &key, api_version: "apps/v1", labels: words, annotations: words, above: None };
    assert_eq!(policies.resolve(&asked), policies.resolve(&asked));
    let _ = policies.stale(now);
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let now = Timestamp::from_second(NOW).expect("a time in the range of timestamps");

    let words = text.lines().filter_map(|line| line.split_once('='));
    let words: BTreeMap<_, _> =
        words.map(|(key, value)| (format!("{}{key}", names::PREFIX), value.to_owned())).collect();
    resolve(&Given::default(), &words, now);
    if let Ok(policy) = serde_json::from_str::<RightsizePolicy>(text) {
        resolve(&Given { namespaced: vec![&policy], ..Given::default() }, &words, now);
    }
    if let Ok(policy) = serde_json::from_str::<ClusterRightsizePolicy>(text) {
        resolve(&Given { cluster: vec![&policy], ..Given::default() }, &words, now);
    }
    if let Ok(object) = serde_json::from_str::<VerticalPodAutoscaler>(text) {
        for carry_out in [autoscaler::CarryOut::Named, autoscaler::CarryOut::All] {
            resolve(&Given { autoscalers: vec![&object], carry_out, ..Given::default() }, &words, now);
        }
    }

    let mut lines = text.lines();
    let [schedule, lasting] = std::array::from_fn(|_| lines.next().unwrap_or_default());
    let spans = span::spans(schedule, lasting, lines.next(), now).unwrap_or_default();
    assert!(spans.iter().all(|(from, to)| from < to) && spans.is_sorted(), "{spans:?}");
    if let Ok(risk) = text.parse::<Risk>() {
        assert!(risk.per_hour() >= 0.0, "{risk:?}");
    }
    if let Ok(Some(pattern)) = Pattern::of_container(text, "app") {
        let ages = [0, 1, 3600, 86_400 * 400].map(Duration::from_secs);
        assert!(ages.iter().all(|age| pattern.memory_at(*age) <= pattern.memory.most()), "{pattern:?}");
        ages.into_iter().for_each(|age| _ = pattern.cpu_at(age, 7));
    }

    let mut pod = Pod::default();
    pod.metadata.annotations = Some([(names::LAST_RESIZE.to_owned(), text.to_owned())].into());
    if let Some(note) = LastResize::read(&pod) {
        let _ = (note.standing(&pod), LastResize::undo(&pod));
    }
});
