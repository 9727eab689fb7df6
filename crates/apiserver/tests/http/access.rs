//! What is asked about access is answered by one who allows everything, in the form of the reference, and nothing is kept.

use serde_json::{Value, json};

use crate::harness::Harness;

const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
const RULES: &str = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";

fn question(spec: Value) -> Value {
    json!({"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "spec": spec})
}

#[tokio::test]
async fn everything_is_allowed_to_the_one_there_is() {
    let it = Harness::new().await;
    let resize =
        json!({"resourceAttributes": {"namespace": "n", "verb": "patch", "resource": "pods", "subresource": "resize"}});
    let said = it.post(REVIEWS, question(resize.clone())).await.expect(201);
    assert_eq!(said["kind"], "SelfSubjectAccessReview");
    assert_eq!((&said["spec"], &said["status"]), (&resize, &json!({"allowed": true})));
    let owned = &said["metadata"]["managedFields"][0];
    assert_eq!(owned["operation"], "Update");
    assert!(owned["fieldsV1"]["f:spec"]["f:resourceAttributes"]["f:verb"].is_object(), "{owned}");
    for field in ["creationTimestamp", "uid", "resourceVersion"] {
        assert_eq!(said["metadata"].get(field), None, "it is no object: {said}");
    }

    let path = json!({"nonResourceAttributes": {"path": "/healthz", "verb": "get"}});
    let said = it.post(REVIEWS, question(path)).await.expect(201);
    assert_eq!(said["status"], json!({"allowed": true}));
}

#[tokio::test]
async fn and_to_whoever_is_named() {
    let it = Harness::new().await;
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let may = json!({"resourceAttributes": {"verb": "patch", "resource": "pods"}, "user": "system:serviceaccount:a:b"});
    let said = it.post(path, json!({"spec": may})).await.expect(201);
    assert_eq!((&said["kind"], &said["status"]), (&json!("SubjectAccessReview"), &json!({"allowed": true})));
    let nobody = it.post(path, json!({"spec": {"resourceAttributes": {"verb": "get"}}})).await;
    let why = "spec.user: Invalid value: \"\": at least one of user or group must be specified";
    assert!(nobody.code == 422 && nobody.message().ends_with(why), "{}", nobody.text);
}

#[tokio::test]
async fn what_may_be_done_is_everything() {
    let it = Harness::new().await;
    let asked =
        json!({"kind": "SelfSubjectRulesReview", "apiVersion": "authorization.k8s.io/v1", "spec": {"namespace": "n"}});
    let said = it.post(RULES, asked).await.expect(201);
    let expected = json!({
        "kind": "SelfSubjectRulesReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {}, "spec": {},
        "status": {
            "incomplete": false,
            "nonResourceRules": [{"nonResourceURLs": ["*"], "verbs": ["*"]}],
            "resourceRules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}],
        },
    });
    assert_eq!(said, expected);
    let refused = it.post(RULES, json!({"spec": {}})).await;
    assert_eq!((refused.code, refused.message()), (400, "no namespace on request"));
}

#[tokio::test]
async fn a_question_that_makes_no_sense_is_refused() {
    let it = Harness::new().await;
    let none = it.post(REVIEWS, question(json!({}))).await;
    let detail =
        "Invalid value: \"null\": exactly one of nonResourceAttributes or resourceAttributes must be specified";
    assert_eq!(
        (none.code, none.message()),
        (422, format!(".authorization.k8s.io \"\" is invalid: spec.resourceAttributes: {detail}").as_str())
    );
    let expected = json!({
        "group": "authorization.k8s.io",
        "causes": [{"reason": "FieldValueInvalid", "message": detail, "field": "spec.resourceAttributes"}],
    });
    assert_eq!(none.body["details"], expected);

    let both = json!({"resourceAttributes": {"verb": "get"}, "nonResourceAttributes": {"path": "/", "verb": "get"}});
    let both = it.post(REVIEWS, question(both)).await;
    assert!(both.code == 422 && both.message().contains("cannot be specified in combination"), "{}", both.text);

    let mut named = question(json!({"resourceAttributes": {"verb": "get", "resource": "pods"}}));
    named["metadata"] = json!({"name": "a"});
    let named = it.post(REVIEWS, named).await;
    assert!(named.code == 422 && named.message().ends_with("must be empty"), "{}", named.text);
}

#[tokio::test]
async fn it_can_be_asked_and_that_is_all() {
    let it = Harness::new().await;
    assert_eq!(it.get(REVIEWS).await.code, 405);
    assert_eq!(it.get(&format!("{REVIEWS}/a")).await.code, 405);
    assert_eq!(it.delete(REVIEWS).await.code, 405);
    let found = it.get("/apis/authorization.k8s.io/v1").await.expect(200);
    let names: Vec<&str> = found["resources"].as_array().unwrap().iter().filter_map(|it| it["name"].as_str()).collect();
    assert_eq!(names, ["selfsubjectaccessreviews", "selfsubjectrulesreviews", "subjectaccessreviews"]);
}
