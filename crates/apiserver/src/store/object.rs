//! Objects as the store holds them: JSON bytes that are copied out as they are, and the few parts of them that
//! selectors ask for.
//!
//! A revision is assigned under the store's lock, but the JSON is made outside of it; a [`Draft`] therefore is the JSON
//! cut in two where `metadata.resourceVersion` goes, and sealing it is one allocation and one copy.

use std::any::Any;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use k8s_openapi::api::core::v1::Pod;
use serde::de::DeserializeOwned;
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

/// What a draft is written from.
#[derive(Clone, Copy, Debug)]
pub struct Pieces<'a> {
    /// The object, without what stands apart.
    pub object: &'a Value,
    /// Its `metadata.managedFields` as JSON.
    pub managed: Option<&'a [u8]>,
    /// Members of it as JSON, by their names.
    pub members: &'a [(&'static str, &'a [u8])],
}

/// What of an object is another in the next one, where nothing else is.
#[derive(Clone, Copy, Debug)]
pub struct Replaced<'a> {
    /// Its `metadata.generation`.
    pub generation: i64,
    /// Its `metadata.managedFields` as JSON.
    pub managed: &'a [u8],
    /// `spec` or `status`.
    pub part: &'static str,
    /// That part as JSON.
    pub json: &'a [u8],
}

/// Where parts stand in the JSON that a write may leave as they are; empty where there is no such part.
#[derive(Clone, Debug, Default)]
struct Places {
    managed: Range<usize>,
    spec: Range<usize>,
    status: Range<usize>,
}

/// What stands before the value of `managedFields`.
const MANAGED: &[u8] = b"\"managedFields\":";

/// An object about to be written: everything but its revision.
#[derive(Clone, Debug)]
pub struct Draft {
    head: Vec<u8>,
    tail: Vec<u8>,
    item_at: usize,
    metadata_at: usize,
    /// Those of `managedFields` in the head, of the others in the tail.
    places: Places,
    outline: Box<[u8]>,
    pod: Option<Box<Pod>>,
}

impl Draft {
    /// The draft of `object`, whose `metadata.resourceVersion` is ignored.
    pub fn new(resource: &str, object: &Value, indexer: Indexer) -> Self {
        Self::of(Pieces { object, managed: None, members: &[] }, &indexer(resource, object))
    }

    /// The draft of an object of which not everything is a tree; `outline` is that of the whole.
    pub fn of(pieces: Pieces<'_>, outline: &Value) -> Self {
        let empty = Map::new();
        let root = pieces.object.as_object().unwrap_or(&empty);
        let mut places = Places::default();
        let mut head = Vec::with_capacity(2048);
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
        let mut managed = pieces.managed;
        let put = |head: &mut Vec<u8>, managed: &[u8]| {
            head.extend_from_slice(MANAGED);
            let place = head.len()..head.len() + managed.len();
            head.extend_from_slice(managed);
            head.push(b',');
            place
        };
        for (name, value) in root.get("metadata").and_then(Value::as_object).unwrap_or(&empty) {
            if let Some(managed) = managed.take_if(|_| name.as_str() > "managedFields") {
                places.managed = put(&mut head, managed);
            }
            if name != "resourceVersion" {
                let from = head.len() + MANAGED.len();
                member(&mut head, name, value);
                if name == "managedFields" {
                    places.managed = from..head.len();
                }
                head.push(b',');
            }
        }
        if let Some(managed) = managed {
            places.managed = put(&mut head, managed);
        }
        head.extend_from_slice(b"\"resourceVersion\":\"");
        let mut tail = Vec::with_capacity(2048);
        tail.extend_from_slice(b"\"}");
        let own = root.iter().filter(|(name, _)| !matches!(name.as_str(), "apiVersion" | "kind" | "metadata"));
        let mut members: Vec<(&str, Result<&Value, &[u8]>)> =
            own.map(|(name, value)| (name.as_str(), Ok(value))).collect();
        members.extend(pieces.members.iter().map(|(name, json)| (*name, Err(*json))));
        members.sort_by_key(|(name, _)| *name);
        for (name, value) in members {
            tail.push(b',');
            let from = tail.len() + name.len() + 3; // two quotes and a colon: names that are looked for need no escapes
            match value {
                Ok(value) => member(&mut tail, name, value),
                Err(json) => {
                    write_name(&mut tail, name);
                    tail.extend_from_slice(json);
                }
            }
            match name {
                "spec" => places.spec = from..tail.len(),
                "status" => places.status = from..tail.len(),
                _ => {}
            }
        }
        tail.push(b'}');
        let outline = serde_json::to_vec(outline).expect("a JSON value is written to memory");
        Self { head, tail, item_at, metadata_at, places, outline: outline.into_boxed_slice(), pod: None }
    }

    /// The draft of an object that is `old` but for this, which selectors do not ask for; `None` where `old` has not all of
    /// these parts.
    pub fn again(old: &Object, replaced: Replaced<'_>) -> Option<Self> {
        let Replaced { generation, managed, part, json } = replaced;
        let Places { managed: managed_at, spec, status } = &old.places;
        let part_at = if part == "spec" { spec } else { status };
        if managed_at.is_empty() || part_at.is_empty() {
            return None;
        }
        // The revision is the last member of the metadata.
        let tail_at = old.metadata.end - 2;
        let mut digits = [0; 20];
        let head_end = tail_at - decimal(old.revision, &mut digits).len();
        let generation_at = member_at(&old.json[old.metadata.start..managed_at.start], b"generation")?;
        let generation_at = generation_at.start + old.metadata.start..generation_at.end + old.metadata.start;
        let mut head = Vec::with_capacity(head_end + managed.len() + 8);
        head.extend_from_slice(&old.json[..generation_at.start]);
        head.extend_from_slice(generation.to_string().as_bytes());
        head.extend_from_slice(&old.json[generation_at.end..managed_at.start]);
        let managed_from = head.len();
        head.extend_from_slice(managed);
        let managed_at_now = managed_from..head.len();
        head.extend_from_slice(&old.json[managed_at.end..head_end]);
        let mut tail = Vec::with_capacity(old.json.len() - tail_at + json.len());
        tail.extend_from_slice(&old.json[tail_at..part_at.start]);
        tail.extend_from_slice(json);
        tail.extend_from_slice(&old.json[part_at.end..]);
        // What stands behind the part has moved by as much as that has grown.
        let moved = |place: &Range<usize>| {
            let by = |at: usize| if at > part_at.start { at + json.len() - part_at.len() } else { at };
            if place.is_empty() { 0..0 } else { by(place.start) - tail_at..by(place.end) - tail_at }
        };
        let places = Places { managed: managed_at_now, spec: moved(spec), status: moved(status) };
        let (item_at, metadata_at) = (old.item_at, old.metadata.start);
        Some(Self { head, tail, item_at, metadata_at, places, outline: old.outline.clone(), pod: None })
    }

    /// The same, of which it is known what pod it is: what decoding it would give, so that nobody has to.
    #[must_use]
    pub fn known(self, pod: Option<Box<Pod>>) -> Self {
        Self { pod, ..self }
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
        let tail_at = self.head.len() + digits.len();
        let moved = |place: Range<usize>| match place.is_empty() {
            true => place,
            false => place.start + tail_at..place.end + tail_at,
        };
        let Places { managed, spec, status } = self.places;
        let places = Places { managed, spec: moved(spec), status: moved(status) };
        let pod = self.pod.map(|mut pod| {
            pod.metadata.managed_fields = None;
            pod.metadata.resource_version = Some(revision.to_string());
            Arc::<Pod>::from(pod) as _
        });
        Object {
            key,
            revision,
            json: Bytes::from(json),
            item_at: self.item_at,
            metadata: self.metadata_at..metadata_end,
            places,
            outline: self.outline,
            known: Known(Mutex::new(pod)),
        }
    }
}

/// Where the value of a member stands in the text of an object, which may be cut off behind it.
fn member_at(text: &[u8], name: &[u8]) -> Option<Range<usize>> {
    let (mut depth, mut at) = (0_u32, 0);
    while let Some(&byte) = text.get(at) {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            b'"' => {
                let begin = at + 1;
                at = begin;
                while *text.get(at)? != b'"' {
                    at += if text[at] == b'\\' { 2 } else { 1 };
                }
                if depth == 1 && text.get(at + 1) == Some(&b':') && &text[begin..at] == name {
                    let from = at + 2;
                    let length = text[from..].iter().position(|it| matches!(it, b',' | b'}'))?;
                    return Some(from..from + length);
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

fn write_name(out: &mut Vec<u8>, name: &str) {
    serde_json::to_writer(&mut *out, name).expect("a string is written to memory");
    out.push(b':');
}

fn member(out: &mut Vec<u8>, name: &str, value: &Value) {
    write_name(out, name);
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
    metadata: Range<usize>,
    places: Places,
    known: Known,
}

/// What was decoded, for as long as somebody may ask for it.
struct Known(Mutex<Option<Arc<dyn Any + Send + Sync>>>);

impl Known {
    fn get(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, object: Option<Arc<dyn Any + Send + Sync>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = object;
    }

    /// The object, decoded unless it is known.
    fn or_decode<T: Send + Sync + 'static>(
        &self,
        decode: impl FnOnce() -> serde_json::Result<T>,
    ) -> serde_json::Result<Arc<T>> {
        if let Some(Ok(known)) = self.get().map(Arc::downcast) {
            return Ok(known);
        }
        let decoded = Arc::new(decode()?);
        self.set(Some(Arc::clone(&decoded) as _));
        Ok(decoded)
    }
}

impl Clone for Known {
    fn clone(&self) -> Self {
        Self(Mutex::new(self.get()))
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.get().is_some() { "known" } else { "not known" })
    }
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

    /// `metadata.managedFields` as JSON.
    pub fn managed(&self) -> Option<&[u8]> {
        (!self.places.managed.is_empty()).then(|| &self.json[self.places.managed.clone()])
    }

    /// Its `spec` or `status` as JSON.
    pub fn part(&self, name: &str) -> Option<&[u8]> {
        let place = match name {
            "spec" => &self.places.spec,
            "status" => &self.places.status,
            _ => return None,
        };
        (!place.is_empty()).then(|| &self.json[place.clone()])
    }

    /// The object parsed, without `managedFields` and, of `spec` and `status`, with these parts only.
    pub fn narrowed(&self, parts: &[&str]) -> Value {
        let mut text = Vec::with_capacity(self.json.len());
        let metadata_end = self.metadata.end;
        match self.places.managed.clone() {
            managed if managed.is_empty() => text.extend_from_slice(&self.json[..metadata_end]),
            managed => {
                text.extend_from_slice(&self.json[..managed.start - MANAGED.len()]);
                text.extend_from_slice(&self.json[managed.end + 1..metadata_end]);
            }
        }
        for name in parts {
            if let Some(part) = self.part(name) {
                text.push(b',');
                write_name(&mut text, name);
                text.extend_from_slice(part);
            }
        }
        text.push(b'}');
        serde_json::from_slice(&text).expect("it is cut out of what parses, member by member")
    }

    /// The object decoded.
    ///
    /// # Errors
    /// When the stored object is not of that type.
    pub fn decode<'de, T: serde::Deserialize<'de>>(&'de self) -> serde_json::Result<T> {
        serde_json::from_slice(&self.json)
    }

    /// The pod that this object is, without its `managedFields`: decoded once, and shared by everybody in this process who
    /// follows pods.
    ///
    /// # Errors
    /// When the stored object is no pod.
    pub fn pod(&self) -> serde_json::Result<Arc<Pod>> {
        self.known.or_decode(|| {
            let mut pod: Pod = self.decode()?;
            pod.metadata.managed_fields = None;
            Ok(pod)
        })
    }

    /// The object decoded, once for all who ask for it.
    ///
    /// # Errors
    /// When the stored object is not of that type.
    pub fn typed<T: DeserializeOwned + Send + Sync + 'static>(&self) -> serde_json::Result<Arc<T>> {
        self.known.or_decode(|| self.decode())
    }

    /// Keeps only the JSON: nobody follows an object that was replaced long ago.
    pub(super) fn forget(&self) {
        self.known.set(None);
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
    fn parts_that_stay_are_taken_over_as_they_are() {
        let whole = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"annotations": {"a": "b"}, "managedFields": [{"manager": "m"}], "name": "a", "uid": "u"},
            "spec": {"containers": []}, "status": {"phase": "Running"},
        });
        let old = Draft::new("pods", &whole, labels).seal(Key::new("pods", "n", "a"), 7);
        assert_eq!(old.part("spec").unwrap(), br#"{"containers":[]}"#);
        assert_eq!(old.part("status").unwrap(), br#"{"phase":"Running"}"#);
        assert_eq!(old.managed().unwrap(), br#"[{"manager":"m"}]"#);
        let narrowed = old.narrowed(&["spec"]);
        let mut expected = whole.clone();
        expected["metadata"]["resourceVersion"] = json!("7");
        expected["metadata"].as_object_mut().unwrap().remove("managedFields");
        expected.as_object_mut().unwrap().remove("status");
        assert_eq!(narrowed, expected);
        let members = [("status", old.part("status").unwrap())];
        let pieces = Pieces { object: &narrowed, managed: old.managed(), members: &members };
        let again = Draft::of(pieces, &old.outline());
        assert!(again.is_unchanged_from(&old));
        let again = again.seal(Key::new("pods", "n", "a"), 100);
        assert_eq!((again.part("status"), again.managed()), (old.part("status"), old.managed()));
        let bare = Draft::new("pods", &json!({"metadata": {"name": "a"}}), labels).seal(Key::new("pods", "n", "a"), 1);
        assert_eq!((bare.part("spec"), bare.managed()), (None, None));
        assert_eq!(bare.narrowed(&["spec"]), json!({"metadata": {"name": "a", "resourceVersion": "1"}}));
    }

    #[test]
    fn an_object_is_another_in_one_part_only() {
        let mut whole = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "annotations": {"generation": "\"generation\":9", "x": "}{"}, "generation": 7,
                "managedFields": [{"manager": "m"}], "name": "a", "uid": "u",
            },
            "spec": {"containers": []}, "status": {"phase": "Running"}, "z": 1,
        });
        let key = || Key::new("pods", "n", "a");
        let old = Draft::new("pods", &whole, labels).seal(key(), 99);
        let parts = [("spec", r#"{"containers":[{"name":"c"}]}"#), ("status", "{}")];
        let mut last = old.clone();
        for (revision, (part, json)) in (100..).zip(parts) {
            let managed = format!(r#"[{{"manager":"{part}"}}]"#);
            let generation = i64::try_from(revision).unwrap();
            let replaced = Replaced { generation, managed: managed.as_bytes(), part, json: json.as_bytes() };
            last = Draft::again(&last, replaced).unwrap().seal(key(), revision);
            whole["metadata"]["generation"] = generation.into();
            whole["metadata"]["managedFields"] = json!([{"manager": part}]);
            whole[part] = serde_json::from_str(json).unwrap();
            let fresh = Draft::new("pods", &whole, labels);
            assert!(fresh.is_unchanged_from(&last), "{}", String::from_utf8_lossy(last.json()));
            let fresh = fresh.seal(key(), revision);
            assert_eq!((last.part("spec"), last.part("status")), (fresh.part("spec"), fresh.part("status")));
            assert_eq!((last.managed(), last.metadata()), (fresh.managed(), fresh.metadata()));
            assert_eq!((last.members(), last.outline()), (fresh.members(), fresh.outline()));
        }
        let bare = Draft::new("pods", &json!({"metadata": {"name": "a"}, "spec": {}}), labels).seal(key(), 1);
        let replaced = Replaced { generation: 1, managed: b"[]", part: "spec", json: b"{}" };
        assert!(Draft::again(&bare, replaced).is_none());
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
