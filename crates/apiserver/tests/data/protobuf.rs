//! Bodies in the protobuf envelope: what the typed clients in Go send.

use proptest::prelude::*;
use serde_json::{Value, json};
use supple_apiserver::fields::{Decoder, normalise};
use supple_apiserver::kinds::{self, TABLE};
use supple_apiserver::protobuf::{self, ProtobufError};
use supple_apiserver::schema::{Shape, ShapeId, types};

/// A field that holds bytes: text or a message.
fn bytes(number: u8, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    let mut field = vec![number << 3 | 2];
    field.extend(varint_of(content.len() as u64));
    field.extend(content);
    field
}

/// A field that holds a number.
fn varint(number: u8, value: u64) -> Vec<u8> {
    [vec![number << 3], varint_of(value)].concat()
}

fn varint_of(mut value: u64) -> Vec<u8> {
    let mut encoded = Vec::new();
    while value >= 0x80 {
        encoded.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    encoded.push(value.to_le_bytes()[0]);
    encoded
}

fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let type_meta = [bytes(1, api_version), bytes(2, kind)].concat();
    [b"k8s\0".to_vec(), bytes(1, type_meta), bytes(2, raw), bytes(3, ""), bytes(4, "")].concat()
}

fn shape(group: &str, plural: &str) -> ShapeId {
    kinds::find(group, "v1", plural).and_then(|it| it.shape()).expect("served")
}

#[track_caller]
fn check(group: &str, plural: &str, raw: Vec<u8>, expected: Value) {
    let decoded = protobuf::decode(&envelope("v1", "X", &raw), shape(group, plural)).expect("a message");
    let mut normalised = normalise(decoded, shape(group, plural), Decoder::Text).expect("well-formed");
    assert_eq!(normalised.unknown, Vec::<String>::new());
    let fields = normalised.value.as_object_mut().expect("an object");
    assert_eq!(fields.remove("apiVersion"), Some(json!("v1")));
    assert_eq!(fields.remove("kind"), Some(json!("X")));
    assert_eq!(normalised.value, expected);
}

/// What Go writes for `metadata: {name: …}`: every plain field, also where it is empty.
fn metadata(name: &str) -> Vec<u8> {
    bytes(
        1,
        [
            bytes(1, name),
            bytes(2, ""),
            bytes(3, ""),
            bytes(4, ""),
            bytes(5, ""),
            bytes(6, ""),
            varint(7, 0),
            bytes(8, ""),
        ]
        .concat(),
    )
}

#[test]
fn what_kubectl_creates_is_read() {
    check(
        "",
        "namespaces",
        [metadata("n"), bytes(2, ""), bytes(3, bytes(1, ""))].concat(),
        json!({"metadata": {"name": "n"}, "spec": {}, "status": {}}),
    );
    let entry = |key: &str, value: Vec<u8>| bytes(2, [bytes(1, key), value].concat());
    check(
        "",
        "configmaps",
        [metadata("c"), entry("a", bytes(2, "1")), entry("b", vec![])].concat(),
        json!({"metadata": {"name": "c"}, "data": {"a": "1", "b": ""}}),
    );
    check(
        "",
        "secrets",
        [metadata("s"), entry("k", bytes(2, [0, 255])), bytes(3, "Opaque")].concat(),
        json!({"metadata": {"name": "s"}, "data": {"k": "AP8="}, "type": "Opaque"}),
    );
    let hard = bytes(1, [bytes(1, "cpu"), bytes(2, bytes(1, "1500m"))].concat());
    check(
        "",
        "resourcequotas",
        [metadata("q"), bytes(2, [hard, bytes(2, "BestEffort")].concat())].concat(),
        json!({"metadata": {"name": "q"}, "spec": {"hard": {"cpu": "1500m"}, "scopes": ["BestEffort"]}}),
    );
    check(
        "scheduling.k8s.io",
        "priorityclasses",
        [metadata("p"), varint(2, 1000), varint(3, 0), bytes(4, "")].concat(),
        json!({"metadata": {"name": "p"}, "value": 1000}),
    );
    let negative = (-5_i64).cast_unsigned();
    check(
        "scheduling.k8s.io",
        "priorityclasses",
        [metadata("p"), varint(2, negative), varint(3, 1)].concat(),
        json!({"metadata": {"name": "p"}, "value": -5, "globalDefault": true}),
    );
}

#[test]
fn pods_with_their_peculiarities_are_read() {
    // A volume's source and a probe's handler stand in their parent in JSON; zero behind a pointer is a value.
    let volume = bytes(1, [bytes(1, "v"), bytes(2, bytes(2, bytes(1, "Memory")))].concat());
    let port = bytes(2, [varint(1, 0), varint(2, 8080), bytes(3, "")].concat());
    let named_port = bytes(2, [varint(1, 1), varint(2, 0), bytes(3, "http")].concat());
    let liveness = bytes(10, [bytes(1, bytes(2, port)), varint(2, 0), varint(3, 7)].concat());
    let readiness = bytes(11, bytes(1, bytes(2, named_port)));
    let container =
        bytes(2, [bytes(1, "a"), bytes(2, "i"), bytes(3, "sh"), bytes(3, "-c"), liveness, readiness].concat());
    let spec = bytes(2, [volume, container, varint(4, 0), varint(11, 0)].concat());
    check(
        "",
        "pods",
        [metadata("p"), spec].concat(),
        json!({"metadata": {"name": "p"}, "spec": {
            "volumes": [{"name": "v", "emptyDir": {"medium": "Memory"}}],
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "a", "image": "i", "command": ["sh", "-c"],
                "livenessProbe": {"httpGet": {"port": 8080}, "timeoutSeconds": 7},
                "readinessProbe": {"httpGet": {"port": "http"}}}],
        }}),
    );
}

#[test]
fn what_else_is_known_of_a_user_is_read() {
    // Client-go sends it where a program asks for somebody else: a message of a list, in a map.
    let entry = |key: &str, values: &[&str]| {
        let items: Vec<u8> = values.iter().flat_map(|it| bytes(1, it)).collect();
        bytes(5, [bytes(1, key), bytes(2, items)].concat())
    };
    let extra = [entry("scopes", &["a", "b"]), entry("none", &[])].concat();
    let spec = bytes(2, [bytes(3, "bob"), bytes(4, "devs"), extra, bytes(6, "")].concat());
    check(
        "authorization.k8s.io",
        "subjectaccessreviews",
        [bytes(1, ""), spec, bytes(3, varint(1, 0))].concat(),
        json!({"metadata": {}, "status": {"allowed": false},
            "spec": {"user": "bob", "groups": ["devs"], "extra": {"scopes": ["a", "b"], "none": []}}}),
    );
}

#[test]
fn times_are_read() {
    let spec = bytes(
        2,
        [bytes(1, "me"), varint(2, 15), bytes(3, [varint(1, 1_700_000_000), varint(2, 123_000)].concat())].concat(),
    );
    check(
        "coordination.k8s.io",
        "leases",
        [metadata("l"), spec].concat(),
        json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "me", "leaseDurationSeconds": 15, "acquireTime": "2023-11-14T22:13:20.000123Z"}}),
    );
}

#[test]
fn unknown_numbers_are_passed_over() {
    check(
        "",
        "namespaces",
        [metadata("n"), bytes(15, "from the future"), varint(14, 7), vec![13 << 3 | 5, 0, 0, 0, 0]].concat(),
        json!({"metadata": {"name": "n"}}),
    );
}

#[test]
fn what_is_no_message_is_refused_with_its_reason() {
    let namespaces = shape("", "namespaces");
    assert_eq!(protobuf::decode(b"{}", namespaces), Err(ProtobufError::NoEnvelope));
    let damaged = envelope("v1", "Namespace", &[1 << 3 | 2, 200]);
    assert!(matches!(protobuf::decode(&damaged, namespaces), Err(ProtobufError::Damaged { .. })));
    let wrong = envelope("v1", "Namespace", &varint(1, 7));
    assert_eq!(
        protobuf::decode(&wrong, namespaces).expect_err("refused").to_string(),
        "field metadata does not hold a message"
    );
}

/// A kind that is added to the table needs its numbers too, or clients in Go lose its fields without a word.
#[test]
fn every_field_of_every_type_has_a_number() {
    fn walk(id: ShapeId, is_object: bool, seen: &mut Vec<ShapeId>) {
        if seen.contains(&id) {
            return;
        }
        seen.push(id);
        match types().get(id) {
            // Read as JSON only.
            Shape::Struct(of) if of.name.contains(".apiextensions.") => {}
            Shape::Struct(of) => {
                let known = protobuf::known_fields(&of.name);
                for (name, field) in &of.fields {
                    if !(is_object && matches!(name.as_str(), "apiVersion" | "kind")) {
                        assert!(
                            known.contains(&name.as_str()),
                            "{}.{name} has no number in protobuf/numbers.txt",
                            of.name
                        );
                    }
                    walk(field.shape, false, seen);
                }
            }
            Shape::Map(of) | Shape::List(of) => walk(*of, false, seen),
            Shape::Scalar(_) => {}
        }
    }
    let mut seen = Vec::new();
    let options = types().named("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions").expect("known");
    walk(options, true, &mut seen);
    for resource in TABLE {
        let bodies = resource.subresources.iter().filter_map(|it| it.body.and_then(|body| body.type_of.shape()));
        for shape in resource.shape().into_iter().chain(bodies) {
            walk(shape, true, &mut seen);
        }
    }
}

proptest! {
    #[test]
    fn no_body_panics(raw in prop::collection::vec(any::<u8>(), 0..300)) {
        for resource in TABLE {
            if let Some(shape) = resource.shape() {
                let _ = protobuf::decode(&raw, shape);
                let _ = protobuf::decode(&envelope("v1", "X", &raw), shape);
            }
        }
    }
}
