//! Objects as the store holds them: JSON bytes that are copied out as they are, and the few parts of them that
//! selectors ask for.
//!
//! A revision is assigned under the store's lock, but the JSON is made outside of it; a [`Draft`] therefore is the JSON
//! cut in two where `metadata.resourceVersion` goes, and sealing it is one allocation and one copy.

use bytes::Bytes;
use serde_json::{Map, Value};

/// Where an object stands: resource, namespace (empty for cluster-scoped resources) and name, in the order in which
/// lists are returned.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Box<str>);

impl Key {
    /// The key of one object. `resource` is a table-wide unique name without a slash.
    pub fn new(resource: &str, namespace: &str, name: &str) -> Self {
        Self(format!("{resource}/{namespace}/{name}").into_boxed_str())
    }

    /// A key as it stands in the file.
    pub(super) fn from_stored(text: &str) -> Self {
        Self(text.into())
    }

    /// The whole key.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The resource's part.
    pub fn resource(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }

    /// The namespace's part; empty for cluster-scoped resources.
    pub fn namespace(&self) -> &str {
        self.0.split('/').nth(1).unwrap_or_default()
    }

    /// The name's part.
    pub fn name(&self) -> &str {
        self.0.splitn(3, '/').nth(2).unwrap_or_default()
    }
}

impl std::borrow::Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Cuts an object of a resource (by the name in its [`Key`]) down to what selectors may ask for, so that a list or a
/// watch with a selector need not parse every object again.
pub type Indexer = fn(resource: &str, object: &Value) -> Value;

/// An object about to be written: everything but its revision.
#[derive(Clone, Debug)]
pub struct Draft {
    head: Vec<u8>,
    tail: Vec<u8>,
    item_at: usize,
    metadata_at: usize,
    outline: Box<[u8]>,
}

impl Draft {
    /// The draft of `object`, whose `metadata.resourceVersion` is ignored.
    pub fn new(resource: &str, object: &Value, indexer: Indexer) -> Self {
        let empty = Map::new();
        let root = object.as_object().unwrap_or(&empty);
        let mut head = Vec::with_capacity(512);
        head.push(b'{');
        for name in ["apiVersion", "kind"] {
            if let Some(value) = root.get(name) {
                member(&mut head, name, value);
                head.push(b',');
            }
        }
        let item_at = head.len();
        head.extend_from_slice(b"\"metadata\":");
        let metadata_at = head.len();
        head.push(b'{');
        for (name, value) in root.get("metadata").and_then(Value::as_object).unwrap_or(&empty) {
            if name != "resourceVersion" {
                member(&mut head, name, value);
                head.push(b',');
            }
        }
        head.extend_from_slice(b"\"resourceVersion\":\"");
        let mut tail = Vec::with_capacity(2048);
        tail.extend_from_slice(b"\"}");
        for (name, value) in root {
            if !matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
                tail.push(b',');
                member(&mut tail, name, value);
            }
        }
        tail.push(b'}');
        let outline = serde_json::to_vec(&indexer(resource, object)).expect("a JSON value is written to memory");
        Self { head, tail, item_at, metadata_at, outline: outline.into_boxed_slice() }
    }

    /// Whether `object` is what this draft would become, whatever its revision.
    pub fn is_unchanged_from(&self, object: &Object) -> bool {
        object.json.starts_with(&self.head)
            && object.json.ends_with(&self.tail)
            && object.json[self.head.len()..object.json.len() - self.tail.len()].iter().all(u8::is_ascii_digit)
    }

    /// The object at `revision`.
    pub fn seal(self, key: Key, revision: u64) -> Object {
        let mut digits = [0u8; 20];
        let digits = decimal(revision, &mut digits);
        let mut json = Vec::with_capacity(self.head.len() + digits.len() + self.tail.len());
        json.extend_from_slice(&self.head);
        json.extend_from_slice(digits);
        json.extend_from_slice(&self.tail);
        let metadata_end = self.head.len() + digits.len() + 2;
        Object {
            key,
            revision,
            json: Bytes::from(json),
            item_at: self.item_at,
            metadata: self.metadata_at..metadata_end,
            outline: self.outline,
        }
    }
}

fn member(out: &mut Vec<u8>, name: &str, value: &Value) {
    serde_json::to_writer(&mut *out, name).expect("a string is written to memory");
    out.push(b':');
    serde_json::to_writer(out, value).expect("a JSON value is written to memory");
}

/// `number` in decimal, at the end of `buffer`.
fn decimal(mut number: u64, buffer: &mut [u8; 20]) -> &[u8] {
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + u8::try_from(number % 10).expect("a remainder of ten fits");
        number /= 10;
        if number == 0 {
            return &buffer[at..];
        }
    }
}

/// An object at one revision. It never changes; a write makes another.
#[derive(Clone, Debug)]
pub struct Object {
    /// Where it stands.
    pub key: Key,
    /// Its `metadata.resourceVersion`.
    pub revision: u64,
    /// As text: parsed, it takes ten times the room, and of most objects no selector is ever asked.
    outline: Box<[u8]>,
    json: Bytes,
    item_at: usize,
    metadata: std::ops::Range<usize>,
}

impl Object {
    /// The object as JSON, with `apiVersion` and `kind`.
    pub fn json(&self) -> &Bytes {
        &self.json
    }

    /// The members after `apiVersion` and `kind`, closing brace included and opening brace not: an element of a list
    /// is `{` and this.
    pub fn members(&self) -> &[u8] {
        &self.json[self.item_at..]
    }

    /// What selectors look at: the object, cut down by the [`Indexer`].
    pub fn outline(&self) -> Value {
        serde_json::from_slice(&self.outline).expect("what a draft wrote parses")
    }

    /// `metadata` as JSON.
    pub fn metadata(&self) -> &[u8] {
        &self.json[self.metadata.clone()]
    }

    /// The object parsed.
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.json).expect("what a draft wrote, or what was checked when it was loaded, parses")
    }

    /// The object decoded.
    ///
    /// # Errors
    /// When the stored object is not of that type.
    pub fn decode<'de, T: serde::Deserialize<'de>>(&'de self) -> serde_json::Result<T> {
        serde_json::from_slice(&self.json)
    }

    /// An object read back from the file; `None` if it is no JSON object.
    pub(super) fn load(key: Key, revision: u64, json: &[u8], indexer: Indexer) -> Option<Self> {
        let value: Value = serde_json::from_slice(json).ok()?;
        value.as_object()?;
        // Sealed again rather than kept as it is, so that a file written by another version has today's layout.
        Some(Draft::new(key.resource(), &value, indexer).seal(key, revision))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn labels(_: &str, object: &Value) -> Value {
        object["metadata"]["labels"].clone()
    }

    #[test]
    fn a_sealed_draft_is_the_object_with_its_revision() {
        let object = json!({
            "kind": "Pod", "apiVersion": "v1",
            "metadata": {"name": "a \"b\"", "resourceVersion": "3", "uid": "u", "labels": {"x": "y"}},
            "spec": {"resourceVersion": "\",\"resourceVersion\":\""},
        });
        for revision in [1, 10, 1234, u64::MAX] {
            let sealed = Draft::new("pods", &object, labels).seal(Key::new("pods", "n", "a"), revision);
            let mut expected = object.clone();
            expected["metadata"]["resourceVersion"] = json!(revision.to_string());
            assert_eq!(sealed.value(), expected);
            let metadata: Value = serde_json::from_slice(sealed.metadata()).unwrap();
            assert_eq!(metadata, expected["metadata"]);
            let item: Value = serde_json::from_slice(&[b"{", sealed.members()].concat()).unwrap();
            assert_eq!(item["metadata"], expected["metadata"]);
            assert_eq!(item.get("kind"), None);
            assert_eq!(sealed.outline(), json!({"x": "y"}));
        }
    }

    #[test]
    fn keys_come_apart() {
        let key = Key::new("leases.coordination.k8s.io", "kube-node-lease", "lab");
        assert_eq!(
            (key.resource(), key.namespace(), key.name()),
            ("leases.coordination.k8s.io", "kube-node-lease", "lab")
        );
        let key = Key::new("nodes", "", "lab");
        assert_eq!((key.resource(), key.namespace(), key.name()), ("nodes", "", "lab"));
    }
}
