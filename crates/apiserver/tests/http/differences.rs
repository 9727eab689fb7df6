//! A proof of ours for every deliberate difference of the API server.

use serde_json::{Value, json};
use supple_apiserver::differences::CHAPTER;

use crate::harness::{Harness, STRATEGIC, Watch, small};

#[tokio::test]
async fn every_difference_has_a_proof() {
    for difference in CHAPTER.entries {
        println!("{}", difference.id);
        prove(difference.id, &Harness::new().await).await;
        let words = [difference.reference, difference.ours, difference.why, difference.source];
        assert!(words.iter().all(|it| !it.is_empty() && !it.contains("  ")), "{}", difference.id);
    }
}

async fn prove(id: &str, it: &Harness) {
    match id {
        "contradicting-patch-is-the-clients-fault" => {
            it.post("/api/v1/namespaces/n/pods", small("a")).await.expect(201);
            let patch = json!({"spec": {"containers": [{"$patch": "nonsense", "name": "c1"}]}});
            let refused = it.patch("/api/v1/namespaces/n/pods/a", STRATEGIC, patch).await;
            assert_eq!(refused.code, 400, "{}", refused.text);
        }
        "watch-from-the-future-ends-at-once" => {
            let path = "/api/v1/namespaces/n/pods?watch=true&resourceVersion=4000000000";
            let event = Watch::begin(it, path, &[]).await.next().await.expect("an event");
            assert_eq!(event["object"]["code"], 410);
        }
        "old-autoscalers-keep-the-new-form" => {
            let metric = json!({"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}});
            let new = json!({"metadata": {"name": "h"}, "spec": {"maxReplicas": 2, "metrics": [metric],
                "scaleTargetRef": {"kind": "Deployment", "name": "w"}}});
            it.post("/apis/autoscaling/v2/namespaces/n/horizontalpodautoscalers", new).await.expect(201);
            let old = it.get("/apis/autoscaling/v1/namespaces/n/horizontalpodautoscalers/h").await.expect(200);
            let noted =
                old["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/metrics"].as_str().expect("noted");
            assert_eq!(serde_json::from_str::<Value>(noted).expect("JSON"), json!([metric]));
        }
        "services-have-no-address" => {
            let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}});
            let made = it.post("/api/v1/namespaces/n/services", service).await.expect(201);
            assert_eq!(made["spec"]["clusterIP"], Value::Null);
        }
        other => panic!("no proof of {other}"),
    }
}
