//! Objects as the store holds them: JSON bytes that are copied out as they are, and the few parts of them that
//! selectors ask for.
//!
//! A revision is assigned under the store's lock, but the JSON is made outside of it; a [`Draft`] therefore is the JSON
//! cut in two where `metadata.resourceVersion` goes, and sealing it is one allocation and one copy.
//!
//! An object that nobody has written or followed for a while [rests](Object::rest): its text is packed ([`super::pack`]), and
//! decoded it is only as long as somebody holds it.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use k8s_openapi::api::core::v1::Pod;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::pack::{Bases, Packed};

/// Where an object stands: resource, namespace (empty for cluster-scoped resources) and name, in the order in which
/// lists are returned.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// The key of one object. `resource` is a table-wide unique name without a slash.
    pub fn new(resource: &str, namespace: &str, name: &str) -> Self {
        Self(format!("{resource}/{namespace}/{name}").into())
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
        let text = old.text();
        let (json_of_old, outline) = text.split_at(old.length());
        let (metadata, managed_at) = (old.metadata.range(), old.managed.range());
        let part_at = if part == "spec" { old.spec.range() } else { old.status.range() };
        if managed_at.is_empty() || part_at.is_empty() {
            return None;
        }
        // The revision is the last member of the metadata.
        let tail_at = metadata.end - 2;
        let mut digits = [0; 20];
        let head_end = tail_at - decimal(old.revision, &mut digits).len();
        let generation_at = member_at(&json_of_old[metadata.start..managed_at.start], b"generation")?;
        let generation_at = generation_at.start + metadata.start..generation_at.end + metadata.start;
        let mut head = Vec::with_capacity(head_end + managed.len() + 8);
        head.extend_from_slice(&json_of_old[..generation_at.start]);
        head.extend_from_slice(generation.to_string().as_bytes());
        head.extend_from_slice(&json_of_old[generation_at.end..managed_at.start]);
        let managed_from = head.len();
        head.extend_from_slice(managed);
        let managed_at_now = managed_from..head.len();
        head.extend_from_slice(&json_of_old[managed_at.end..head_end]);
        let mut tail = Vec::with_capacity(json_of_old.len() - tail_at + json.len());
        tail.extend_from_slice(&json_of_old[tail_at..part_at.start]);
        tail.extend_from_slice(json);
        tail.extend_from_slice(&json_of_old[part_at.end..]);
        // What stands behind the part has moved by as much as that has grown.
        let moved = |place: Range<usize>| {
            let by = |at: usize| if at > part_at.start { at + json.len() - part_at.len() } else { at };
            if place.is_empty() { 0..0 } else { by(place.start) - tail_at..by(place.end) - tail_at }
        };
        let places =
            Places { managed: managed_at_now, spec: moved(old.spec.range()), status: moved(old.status.range()) };
        let (item_at, metadata_at) = (old.item_at as usize, metadata.start);
        Some(Self { head, tail, item_at, metadata_at, places, outline: outline.into(), pod: None })
    }

    /// The same, of which it is known what pod it is: what decoding it would give, so that nobody has to.
    #[must_use]
    pub fn known(self, pod: Option<Box<Pod>>) -> Self {
        Self { pod, ..self }
    }

    /// Whether `object` is what this draft would become, whatever its revision.
    pub fn is_unchanged_from(&self, object: &Object) -> bool {
        let json = object.json();
        json.starts_with(&self.head)
            && json.ends_with(&self.tail)
            && json[self.head.len()..json.len() - self.tail.len()].iter().all(u8::is_ascii_digit)
    }

    /// The object at `revision`.
    pub fn seal(self, key: Key, revision: u64) -> Object {
        let mut digits = [0u8; 20];
        let digits = decimal(revision, &mut digits);
        let length = self.head.len() + digits.len() + self.tail.len();
        let mut text = Vec::with_capacity(length + self.outline.len());
        text.extend_from_slice(&self.head);
        text.extend_from_slice(digits);
        text.extend_from_slice(&self.tail);
        text.extend_from_slice(&self.outline);
        let metadata_end = self.head.len() + digits.len() + 2;
        let tail_at = self.head.len() + digits.len();
        let moved = |place: Range<usize>| match place.is_empty() {
            true => Place::NONE,
            false => Place::of(place.start + tail_at..place.end + tail_at),
        };
        let Places { managed, spec, status } = self.places;
        let pod = self.pod.map(|mut pod| {
            pod.metadata.managed_fields = None;
            pod.metadata.resource_version = Some(revision.to_string());
            Arc::<Pod>::from(pod) as _
        });
        Object {
            key,
            revision,
            length: small(length),
            item_at: small(self.item_at),
            metadata: Place::of(self.metadata_at..metadata_end),
            managed: Place::of(managed),
            spec: moved(spec),
            status: moved(status),
            text: Mutex::new(Text::Plain(Bytes::from(text))),
            known: Mutex::new(pod.map_or(Known::Nothing, Known::Kept)),
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

/// A part of a text. An object is at most a few MiB, and there are many.
#[derive(Clone, Copy, Debug)]
struct Place {
    from: u32,
    to: u32,
}

impl Place {
    const NONE: Self = Self { from: 0, to: 0 };

    fn of(range: Range<usize>) -> Self {
        Self { from: small(range.start), to: small(range.end) }
    }

    fn range(self) -> Range<usize> {
        self.from as usize..self.to as usize
    }

    fn of_text(self, text: &Bytes) -> Option<Bytes> {
        (self.from < self.to).then(|| text.slice(self.range()))
    }
}

fn small(number: usize) -> u32 {
    u32::try_from(number).expect("no body of 4 GiB is taken in")
}

/// An object at one revision. It never changes; a write makes another.
pub struct Object {
    /// Where it stands.
    pub key: Key,
    /// Its `metadata.resourceVersion`.
    pub revision: u64,
    /// Of its JSON; behind that stands its outline. As text: parsed, it takes ten times the room, and of most objects no
    /// selector is ever asked.
    length: u32,
    item_at: u32,
    metadata: Place,
    /// Parts that a write may leave as they are.
    managed: Place,
    spec: Place,
    status: Place,
    text: Mutex<Text>,
    known: Mutex<Known>,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object").field("key", &self.key).field("revision", &self.revision).finish_non_exhaustive()
    }
}

/// The JSON and the outline.
enum Text {
    Plain(Bytes),
    Packed(Packed),
}

/// What was decoded.
type Decoded = Arc<dyn Any + Send + Sync>;

/// What is known of what was decoded.
enum Known {
    Nothing,
    /// It is kept, because somebody may ask for it soon.
    Kept(Decoded),
    /// The object rests: it is had from who holds it, if somebody did when it came to rest. (A weak reference keeps the room of
    /// what is gone, so that nobody is followed who comes later, and it goes once nobody holds it.)
    Held(Option<Weak<dyn Any + Send + Sync>>),
}

/// What was decoded last of objects that rest: whoever changes one asks several times, and others right after it.
static LATELY: Mutex<VecDeque<(Key, u64, Decoded)>> = Mutex::new(VecDeque::new());

/// How many of them.
const LATELY_MOST: usize = 128;

impl Object {
    fn known(&self) -> Option<Decoded> {
        let held = match &*self.known.lock().unwrap_or_else(PoisonError::into_inner) {
            Known::Nothing => return None,
            Known::Kept(decoded) => return Some(Arc::clone(decoded)),
            Known::Held(held) => held.as_ref().and_then(Weak::upgrade),
        };
        held.or_else(|| {
            let lately = LATELY.lock().unwrap_or_else(PoisonError::into_inner);
            // The very key, which is there for as long as it stands in the list: there may be several stores.
            let this = |it: &&(Key, u64, Decoded)| it.1 == self.revision && Arc::ptr_eq(&it.0.0, &self.key.0);
            lately.iter().rev().find(this).map(|(_, _, decoded)| Arc::clone(decoded))
        })
    }

    /// The object, decoded unless it is known.
    fn or_decode<T: Send + Sync + 'static>(
        &self,
        decode: impl FnOnce() -> serde_json::Result<T>,
    ) -> serde_json::Result<Arc<T>> {
        if let Some(Ok(known)) = self.known().map(Arc::downcast) {
            return Ok(known);
        }
        let decoded = Arc::new(decode()?);
        let any = Arc::clone(&decoded) as Decoded;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*known, Known::Held(_)) {
            *known = Known::Kept(any);
            return Ok(decoded);
        }
        drop(known);
        let mut lately = LATELY.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = (lately.len() >= LATELY_MOST).then(|| lately.pop_front());
        lately.push_back((self.key.clone(), self.revision, any));
        drop(lately);
        drop(oldest); // takes its time, and nobody is to wait for it
        Ok(decoded)
    }

    /// The JSON and behind it the outline.
    fn text(&self) -> Bytes {
        match &*self.text.lock().unwrap_or_else(PoisonError::into_inner) {
            Text::Plain(text) => text.clone(),
            Text::Packed(packed) => {
                let mut text = Vec::new();
                packed.unpack_to(&mut text);
                text.into()
            }
        }
    }

    /// Writes the text from one place to another.
    fn text_to(&self, out: &mut Vec<u8>, part: Range<usize>) {
        match &*self.text.lock().unwrap_or_else(PoisonError::into_inner) {
            Text::Plain(text) => out.extend_from_slice(&text[part]),
            Text::Packed(packed) => {
                let from = out.len();
                packed.unpack_to(out);
                out.truncate(from + part.end);
                out.drain(from..from + part.start);
            }
        }
    }

    /// How many bytes [`Object::json`] has.
    pub fn length(&self) -> usize {
        self.length as usize
    }

    /// The object as JSON, with `apiVersion` and `kind`.
    pub fn json(&self) -> Bytes {
        self.text().slice(..self.length())
    }

    /// Writes [`Object::json`].
    pub fn json_to(&self, out: &mut Vec<u8>) {
        self.text_to(out, 0..self.length());
    }

    /// How many bytes [`Object::members_to`] writes.
    pub fn members_length(&self) -> usize {
        (self.length - self.item_at) as usize
    }

    /// Writes the members after `apiVersion` and `kind`, closing brace included and opening brace not: an element of a list
    /// is `{` and this.
    pub fn members_to(&self, out: &mut Vec<u8>) {
        self.text_to(out, self.item_at as usize..self.length());
    }

    /// What selectors look at: the object, cut down by the [`Indexer`].
    pub fn outline(&self) -> Value {
        serde_json::from_slice(&self.text()[self.length()..]).expect("what a draft wrote parses")
    }

    /// `metadata` as JSON.
    pub fn metadata(&self) -> Bytes {
        self.text().slice(self.metadata.range())
    }

    /// The object parsed.
    pub fn value(&self) -> Value {
        self.decode().expect("what a draft wrote, or what was checked when it was loaded, parses")
    }

    /// `metadata.managedFields` as JSON.
    pub fn managed(&self) -> Option<Bytes> {
        self.managed.of_text(&self.text())
    }

    /// Its `spec` or `status` as JSON.
    pub fn part(&self, name: &str) -> Option<Bytes> {
        self.part_of(&self.text(), name)
    }

    fn part_of(&self, text: &Bytes, name: &str) -> Option<Bytes> {
        match name {
            "spec" => self.spec.of_text(text),
            "status" => self.status.of_text(text),
            _ => None,
        }
    }

    /// The object parsed, without `managedFields` and, of `spec` and `status`, with these parts only.
    pub fn narrowed(&self, parts: &[&str]) -> Value {
        let json = self.text();
        let mut text = Vec::with_capacity(self.length());
        let metadata_end = self.metadata.range().end;
        match self.managed.range() {
            managed if managed.is_empty() => text.extend_from_slice(&json[..metadata_end]),
            managed => {
                text.extend_from_slice(&json[..managed.start - MANAGED.len()]);
                text.extend_from_slice(&json[managed.end + 1..metadata_end]);
            }
        }
        for name in parts {
            if let Some(part) = self.part_of(&json, name) {
                text.push(b',');
                write_name(&mut text, name);
                text.extend_from_slice(&part);
            }
        }
        text.push(b'}');
        serde_json::from_slice(&text).expect("it is cut out of what parses, member by member")
    }

    /// The object decoded.
    ///
    /// # Errors
    /// When the stored object is not of that type.
    pub fn decode<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_slice(&self.json())
    }

    /// The pod that this object is, without its `managedFields`: decoded once, and shared by everybody in this process who
    /// follows pods.
    ///
    /// # Errors
    /// When the stored object is no pod.
    pub fn pod(&self) -> serde_json::Result<Arc<Pod>> {
        self.or_decode(|| serde_json::from_slice(&self.unowned()))
    }

    /// The JSON without `managedFields`: nobody who has it decoded asks for them, and they take as long as all the rest.
    fn unowned(&self) -> Vec<u8> {
        let json = self.json();
        match self.managed.range() {
            managed if managed.is_empty() => json.to_vec(),
            // Behind them comes a comma: the revision stands last.
            managed => [&json[..managed.start - MANAGED.len()], &json[managed.end + 1..]].concat(),
        }
    }

    /// The object decoded, once for all who ask for it.
    ///
    /// # Errors
    /// When the stored object is not of that type.
    pub fn typed<T: DeserializeOwned + Send + Sync + 'static>(&self) -> serde_json::Result<Arc<T>> {
        self.or_decode(|| self.decode())
    }

    /// Makes it small: nobody has written it for a while, and who followed it has seen it.
    pub(super) fn rest(&self, bases: &mut Bases) {
        let text = match &*self.text.lock().unwrap_or_else(PoisonError::into_inner) {
            Text::Plain(text) => text.clone(),
            Text::Packed(_) => return,
        };
        if let Some(packed) = bases.pack(self.key.resource(), &text) {
            *self.text.lock().unwrap_or_else(PoisonError::into_inner) = Text::Packed(packed);
        }
    }

    /// Keeps what was decoded no longer than somebody else does. Returns whether somebody does now: then it is to be asked later
    /// whether it [still is held](Object::is_held).
    pub(super) fn forget(&self) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let held = match &*known {
            Known::Kept(decoded) => (Arc::strong_count(decoded) > 1).then(|| Arc::downgrade(decoded)),
            Known::Nothing => None,
            Known::Held(_) => return false, // whoever made it so was told
        };
        let is_held = held.is_some();
        let kept = std::mem::replace(&mut *known, Known::Held(held));
        drop(known);
        drop(kept); // takes its time
        is_held
    }

    /// Whether somebody else still holds what was decoded; if not, the room it stood in is given back.
    pub(super) fn is_held(&self) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_held = matches!(&*known, Known::Held(Some(held)) if held.strong_count() > 0);
        if !is_held && matches!(*known, Known::Held(_)) {
            *known = Known::Held(None);
        }
        is_held
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
mod tests;
