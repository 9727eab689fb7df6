//! Selectors: what they match, and the sentences for what is none.

use proptest::prelude::*;
use serde_json::{Value, json};
use supple_apiserver::kinds;
use supple_apiserver::selector::{FieldSelector, LabelSelector};

fn labelled(labels: &[(&str, &str)]) -> Value {
    json!({"metadata": {"labels": labels.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect::<serde_json::Map<_, _>>()}})
}

#[track_caller]
fn check(selector: &str, labels: &[(&str, &str)], expected: bool) {
    let parsed = LabelSelector::parse(selector).expect("a selector");
    assert_eq!(parsed.matches(&labelled(labels)), expected, "{selector} on {labels:?}");
    let again = LabelSelector::parse(&parsed.to_string()).expect("its own text is a selector");
    assert_eq!(again, parsed, "{selector} printed as {parsed}");
}

#[test]
fn labels_match() {
    let labels = &[("app", "web"), ("tier", "1"), ("example.com/x", "")];
    for selector in [
        "",
        "app=web",
        "app==web",
        "app = web",
        "app!=db",
        "app in (web)",
        "app in (db,web)",
        "app in ( db , web )",
        "app notin (db)",
        "none notin (db)",
        "none!=x",
        "app",
        "!none",
        "app,tier",
        "app=web,tier!=2,!none",
        "tier>0",
        "tier<2",
        "example.com/x=",
        "example.com/x in ()",
        "example.com/x in (a,)",
        "example.com/x in (,a)",
        "app in (in,notin,web)",
        "app notin (in)",
        " app ",
    ] {
        check(selector, labels, true);
    }
    for selector in [
        "app=db",
        "app!=web",
        "app in (db)",
        "app notin (web,db)",
        "none",
        "!app",
        "app=web,none",
        "tier>1",
        "tier<1",
        "app>1",
        "none>1",
        "none=",
        "in=notin",
    ] {
        check(selector, labels, false);
    }
    check("a", &[], false);
    check("!a", &[], true);
}

#[track_caller]
fn check_error(selector: &str, expected: &str) {
    assert_eq!(LabelSelector::parse(selector).expect_err("no selector").to_string(), expected, "{selector}");
}

#[test]
fn bad_label_selectors_have_the_reference_text() {
    check_error("a=b=c", "found '=', expected: ',' or 'end of string'");
    check_error("a,", "found '', expected: identifier after ','");
    check_error("=a", "found '=', expected: !, identifier, or 'end of string'");
    check_error(",a", "found ',', expected: !, identifier, or 'end of string'");
    check_error("!", "unable to parse requirement: found '', expected: identifier");
    check_error("!!a", "unable to parse requirement: found '!', expected: identifier");
    check_error("!a=b", "found '=', expected: ',' or 'end of string'");
    check_error("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt");
    check_error("a in b", "unable to parse requirement: found 'b' expected: '('");
    check_error("a in (b", "unable to parse requirement: found '', expected: ',' or ')'");
    check_error("a in (b c)", "unable to parse requirement: found 'c', expected: ',' or ')'");
    check_error("a in (=)", "unable to parse requirement: found '=', expected: ',', ')' or identifier");
    check_error(
        "a>b",
        "unable to parse requirement: values[0]: Invalid value: \"b\": for 'Gt', 'Lt' operators, the value must be an integer",
    );
    check_error(
        "-a",
        "unable to parse requirement: key: Invalid value: \"-a\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
    );
    check_error(
        "a=b/c",
        "unable to parse requirement: values[0][a]: Invalid value: \"b/c\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
    );
}

#[track_caller]
fn check_field(plural: &str, selector: &str, object: &Value, expected: bool) {
    let resource = kinds::find("", "v1", plural).expect("served");
    let parsed = FieldSelector::parse(selector, resource).expect("a selector");
    assert_eq!(parsed.matches(object), expected, "{selector}");
}

#[test]
fn fields_match() {
    let pod = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {"nodeName": "a,b"}, "status": {"phase": "Running"}});
    for selector in [
        "",
        "metadata.name=p",
        "metadata.name==p,metadata.namespace=n",
        "status.phase!=Pending",
        "status.podIP=",
        "spec.hostNetwork=false",
        "spec.nodeName=a\\,b",
        ",,metadata.name=p,",
        "status.nominatedNodeName!=x",
    ] {
        check_field("pods", selector, &pod, true);
    }
    for selector in
        ["metadata.name=q", "status.phase=Pending", "spec.nodeName=", "status.podIP!=", "spec.hostNetwork=true"]
    {
        check_field("pods", selector, &pod, false);
    }
    let event = json!({"involvedObject": {"kind": "Pod", "name": "p", "uid": "u"}, "reason": "ResizeCompleted", "source": {"component": "kubelet"}});
    check_field(
        "events",
        "involvedObject.name=p,involvedObject.uid=u,reason=ResizeCompleted,source=kubelet",
        &event,
        true,
    );
    check_field("nodes", "spec.unschedulable=true", &json!({"spec": {"unschedulable": true}}), true);
    check_field("nodes", "spec.unschedulable=false", &json!({}), true);
    let pods = kinds::find("", "v1", "pods").expect("served");
    assert_eq!(FieldSelector::parse("status.phase=x,metadata.name=p", pods).expect("a selector").name(), Some("p"));
    assert_eq!(FieldSelector::parse("metadata.name!=p", pods).expect("a selector").name(), None);
    let events = kinds::find("events.k8s.io", "v1", "events").expect("served");
    assert!(FieldSelector::parse("regarding.name=p", events).expect("a selector").matches(&event));
}

#[track_caller]
fn check_field_error(plural: &str, selector: &str, expected: &str) {
    let resource = kinds::find("", "v1", plural).expect("served");
    assert_eq!(FieldSelector::parse(selector, resource).expect_err("no selector").to_string(), expected, "{selector}");
}

#[test]
fn bad_field_selectors_have_the_reference_text() {
    check_field_error("pods", "spec.image=x", "field label not supported: spec.image");
    check_field_error("nodes", "metadata.namespace=x", "field label not supported: metadata.namespace");
    check_field_error(
        "configmaps",
        "data.a=x",
        "\"data.a\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
    );
    check_field_error("pods", "metadata.name", "invalid selector: 'metadata.name'; can't understand 'metadata.name'");
    check_field_error("pods", "metadata.name=a=b", "invalid field selector: unescaped character in value: 61");
    check_field_error("pods", "metadata.name=a\\b", "invalid field selector: invalid escape sequence: \\b");
    check_field_error("pods", "metadata.name=a\\", "invalid field selector: invalid escape sequence: \\");
}

proptest! {
    #[test]
    fn no_selector_panics(text in "[ a-c=!<>(),/.\\\\üin-]{0,24}") {
        let _ = FieldSelector::parse(&text, kinds::find("", "v1", "pods").expect("served"));
        if let Ok(selector) = LabelSelector::parse(&text) {
            let again = LabelSelector::parse(&selector.to_string());
            prop_assert_eq!(again, Ok(selector));
        }
    }
}
