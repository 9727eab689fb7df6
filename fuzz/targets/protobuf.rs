//! Objects as clients compiled from Kubernetes send them, and managed fields: whatever is read is an object of its type.

#![no_main]

use libfuzzer_sys::fuzz_target;
use supple_apiserver::apply;
use supple_apiserver::fields::Decoder;
use supple_apiserver::{kinds, protobuf};

/// Of any kind that comes with the server, with the envelope that all have before the bytes.
const KINDS: [(&str, &str); 6] = [
    ("v1", "Pod"),
    ("v1", "Node"),
    ("v1", "Event"),
    ("apps/v1", "Deployment"),
    ("batch/v1", "Job"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
];

fuzz_target!(|data: &[u8]| {
    if let Ok(fields) = serde_json::from_slice(data)
        && let Ok(set) = apply::decode(&fields)
    {
        assert_eq!(apply::decode(&apply::encode(&set)).as_ref(), Ok(&set), "written and read, it is another");
    }
    let [kind, body @ ..] = data else { return };
    let (api_version, kind) = KINDS[usize::from(*kind) % KINDS.len()];
    let resource = kinds::by_kind(api_version, kind).expect("it is served");
    let shape = resource.shape().expect("it has a type");
    let Ok(object) = protobuf::decode(&[b"k8s\0", body].concat(), shape) else { return };
    assert!(object.is_object());
    let _ = resource.normalise(object, Decoder::Text);
});
