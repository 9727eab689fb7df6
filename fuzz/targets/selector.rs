//! Selectors: of labels as they are written in a query and as objects hold them, and of fields. What is printed is read
//! again as the same.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use supple_apiserver::kinds;
use supple_apiserver::selector::{FieldSelector, LabelSelector};

static OBJECT: LazyLock<Value> = LazyLock::new(|| {
    json!({"metadata": {"name": "p", "namespace": "default", "labels": {"a": "b", "n": "7"}},
        "spec": {"nodeName": "n"}, "status": {"phase": "Running"}})
});

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    if let Ok(selector) = LabelSelector::parse(&text) {
        let again = LabelSelector::parse(&selector.to_string()).expect("what it prints it reads");
        assert_eq!(again.matches(&OBJECT), selector.matches(&OBJECT), "{selector}");
        assert_eq!(again.to_string(), selector.to_string());
    }
    for resource in [("", "v1", "pods"), ("", "v1", "nodes"), ("apps", "v1", "deployments")] {
        let resource = kinds::find(resource.0, resource.1, resource.2).expect("it is served");
        if let Ok(selector) = FieldSelector::parse(&text, resource) {
            let _ = (selector.matches(&OBJECT), selector.name(), selector.is_empty());
        }
    }
    if let Ok(value) = serde_json::from_slice::<Value>(data)
        && let Ok(selector) = LabelSelector::of(&value)
    {
        let _ = (selector.matches(&OBJECT), selector.to_string());
    }
});
