//! Whether new pods are sized: read off the registrations that are there, because a flag says only that somebody could be asked, and
//! not that anybody does.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use k8s_openapi::api::admissionregistration::v1::{MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use supple_api::selector::matches;

/// The webhook that sizes new pods.
pub const CREATE_HOOK: &str = "create.supple.dev";

/// The label by which a namespace is selected by its name. The API server sees to it that every one has it.
const NAME: &str = "kubernetes.io/metadata.name";

/// About which new pods our webhook is asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Registration(Vec<(LabelSelector, LabelSelector)>);

impl Registration {
    /// Of all configurations there are. One that asks only on conditions counts for none: whom they leave out is not known here.
    #[must_use]
    pub fn of<'a>(configurations: impl IntoIterator<Item = &'a MutatingWebhookConfiguration>) -> Self {
        let hooks = configurations.into_iter().flat_map(|it| it.webhooks.iter().flatten());
        let ours = hooks.filter(|it| it.name == CREATE_HOOK && reaches(it));
        let selectors = |it: &MutatingWebhook| {
            (it.namespace_selector.clone().unwrap_or_default(), it.object_selector.clone().unwrap_or_default())
        };
        Self(ours.map(selectors).collect())
    }

    /// Whether it is asked about pods with these labels in this namespace.
    #[must_use]
    pub fn asks(&self, namespace: &str, labels: &BTreeMap<String, String>, pods: &BTreeMap<String, String>) -> bool {
        let mut labels = labels.clone();
        labels.entry(NAME.to_owned()).or_insert_with(|| namespace.to_owned());
        self.0.iter().any(|(namespaces, objects)| matches(namespaces, &labels) && matches(objects, pods))
    }
}

/// It can be reached, trusted, and is asked when a pod is created.
fn reaches(hook: &MutatingWebhook) -> bool {
    let is_trusted = hook.client_config.ca_bundle.as_ref().is_some_and(|it| !it.0.is_empty());
    let creates = |it: &RuleWithOperations| {
        let has = |list: &Option<Vec<String>>, word: &str| list.iter().flatten().any(|it| it == word || it == "*");
        has(&it.operations, "CREATE") && has(&it.api_groups, "") && has(&it.resources, "pods")
    };
    is_trusted && hook.match_conditions.as_ref().is_none_or(Vec::is_empty) && hook.rules.iter().flatten().any(creates)
}

/// What was read last, exchanged as a whole between whoever looks at the registrations and the loop; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Registered(Arc<RwLock<Arc<Registration>>>);

impl Registered {
    /// It is this from now on.
    pub fn set(&self, registration: Registration) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if **known != registration {
            *known = Arc::new(registration);
        }
    }

    /// What is known now.
    #[must_use]
    pub fn get(&self) -> Arc<Registration> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(change: Value, expect: bool) {
        let mut hook = json!({"name": CREATE_HOOK, "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"url": "https://127.0.0.1:1/", "caBundle": "YQ=="},
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]});
        json_patch::merge(&mut hook, &change);
        let configuration = json!({"metadata": {"name": "supple"}, "webhooks": [hook]});
        let configuration: MutatingWebhookConfiguration = serde_json::from_value(configuration).unwrap();
        let labels = |it: (&str, &str)| BTreeMap::from([(it.0.to_owned(), it.1.to_owned())]);
        let asked = Registration::of([&configuration]).asks("shop", &labels(("team", "a")), &labels(("app", "web")));
        assert_eq!(asked, expect, "{change}");
    }

    #[test]
    fn who_is_asked_about_new_pods() {
        check(json!({}), true);
        check(json!({"name": "resize.supple.dev"}), false);
        check(json!({"clientConfig": {"caBundle": null}}), false);
        check(json!({"rules": [{"operations": ["UPDATE"], "apiGroups": [""], "resources": ["pods"]}]}), false);
        check(json!({"rules": [{"operations": ["*"], "apiGroups": ["*"], "resources": ["*"]}]}), true);
        check(json!({"matchConditions": [{"name": "x", "expression": "true"}]}), false);
        check(json!({"namespaceSelector": {"matchLabels": {"team": "a"}}}), true);
        check(json!({"namespaceSelector": {"matchLabels": {"team": "b"}}}), false);
        check(json!({"objectSelector": {"matchLabels": {"app": "db"}}}), false);
        let not_in = |names: Value| json!({"namespaceSelector": {"matchExpressions": [{"key": NAME, "operator": "NotIn", "values": names}]}});
        check(not_in(json!(["kube-system"])), true);
        check(not_in(json!(["shop"])), false);
        assert!(!Registration::default().asks("shop", &BTreeMap::new(), &BTreeMap::new()), "there is none");
    }
}
