//! The types of the API as data: which fields an object has, of which shape, and how a strategic merge treats them.
//!
//! It is made once, from the schemas that `k8s-openapi` derives for the types in the [table of resources](crate::kinds)
//! (`definitions`) and from the few facts those schemas lack ([`merge_keys`]). Three readers share it, so that they cannot disagree:
//! [`fields`](crate::fields) (decoding, unknown fields), [`patch`](crate::patch) (merging) and
//! [`openapi`](crate::openapi) (what clients are told).

mod definitions;
pub mod merge_keys;
pub mod ownership;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{LazyLock, Mutex, PoisonError, RwLock};

use serde_json::Value;
use serde_json::value::RawValue;

use merge_keys::MERGE_KEYS;
use ownership::Ownership;

/// Prefix of references between definitions.
const DEFINITIONS: &str = "#/components/schemas/";

/// Types that hold any JSON, though their schemas say `object`.
const OPAQUE: [&str; 3] = ["FieldsV1", "RawExtension", ".JSON"];

/// A shape in [`Types`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ShapeId(u32);

/// What a value may be.
#[derive(Debug)]
pub enum Shape {
    /// An object with known fields.
    Struct(Struct),
    /// An object with any keys, all values of one shape.
    Map(ShapeId),
    /// A list.
    List(ShapeId),
    /// A leaf.
    Scalar(Scalar),
}

/// A leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// Text.
    String,
    /// Bytes, base64 in JSON.
    Bytes,
    /// A whole number of 32 bits.
    Int32,
    /// A whole number of 64 bits.
    Int64,
    /// Any number.
    Number,
    /// `true` or `false`.
    Bool,
    /// RFC 3339, whole seconds.
    Time,
    /// RFC 3339, microseconds.
    MicroTime,
    /// A resource quantity: a string or a number.
    Quantity,
    /// A whole number of 32 bits or a string.
    IntOrString,
    /// Anything: the server does not look inside.
    Any,
}

/// An object with known fields.
#[derive(Debug)]
pub struct Struct {
    /// Name of the definition, such as `io.k8s.api.core.v1.PodSpec`.
    pub name: String,
    /// Its fields by name.
    pub fields: HashMap<String, Field>,
    /// Whether it may have others too, of which nothing is known.
    pub open: bool,
}

impl Struct {
    /// The last part of the name, `PodSpec`: as error texts name the type.
    pub fn short_name(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or(&self.name)
    }
}

/// A field of a [`Struct`].
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// What it holds.
    pub shape: ShapeId,
    /// How a strategic merge treats it.
    pub merge: Merge,
    /// How it is owned under server-side apply.
    pub ownership: Ownership,
    /// Whether it is written even when empty (the reference's encoder omits other empty fields).
    pub required: bool,
}

/// How a strategic merge patch treats a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Merge {
    /// How a list is merged; without meaning for other shapes.
    pub list: ListMerge,
    /// Whether a patch lists the keys that stay (`$retainKeys`).
    pub retain_keys: bool,
    /// Whether an object is replaced as a whole rather than merged.
    pub whole: bool,
}

impl Merge {
    /// Objects are merged, lists are replaced: what a field without a mark does.
    pub const DEFAULT: Self = Self { list: ListMerge::Replace, retain_keys: false, whole: false };
}

/// How a list is merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListMerge {
    /// The patch's list takes the place of the stored one.
    Replace,
    /// Items with the same value of this field are the same item.
    ByKey(&'static str),
    /// A set of plain values.
    Set,
}

/// Every type the server knows.
#[derive(Debug)]
pub struct Types {
    shapes: Vec<Shape>,
    by_name: HashMap<String, ShapeId>,
    definitions: BTreeMap<String, Box<RawValue>>,
}

impl Types {
    /// What `id` stands for.
    pub fn get(&self, id: ShapeId) -> &Shape {
        let at = id.0 as usize;
        match self.shapes.get(at) {
            Some(shape) => shape,
            None => ADDED.read().unwrap_or_else(PoisonError::into_inner)[at - self.shapes.len()],
        }
    }

    /// The definition of this name, such as `io.k8s.api.core.v1.Pod`.
    pub fn named(&self, name: &str) -> Option<ShapeId> {
        self.by_name.get(name).copied()
    }

    /// The JSON schema of this name, as `k8s-openapi` writes it.
    pub fn definition(&self, name: &str) -> Option<Value> {
        self.definitions.get(name).map(|it| read(it))
    }
}

/// Every type the server knows, made at the first call.
pub fn types() -> &'static Types {
    static TYPES: LazyLock<Types> = LazyLock::new(build);
    &TYPES
}

/// Shapes that came with definitions of custom resources. They are kept for as long as the process lives, as the rows
/// that refer to them are.
static ADDED: RwLock<Vec<&'static Shape>> = RwLock::new(Vec::new());

/// Adds a shape that no type of the server has.
pub fn add(shape: Shape) -> ShapeId {
    let first = types().shapes.len();
    let mut added = ADDED.write().unwrap_or_else(PoisonError::into_inner);
    added.push(Box::leak(Box::new(shape)));
    ShapeId(u32::try_from(first + added.len() - 1).expect("a shape takes more bytes than there are numbers for"))
}

/// A name that lives as long as the process; the same text is the same name.
pub fn name(text: &str) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    match names.get(text) {
        Some(known) => known,
        None => {
            let known: &'static str = Box::leak(text.to_owned().into_boxed_str());
            names.insert(known);
            known
        }
    }
}

/// A list of [`name`]s.
pub fn interned(texts: &[String]) -> &'static [&'static str] {
    Box::leak(texts.iter().map(|it| name(it)).collect::<Vec<_>>().into_boxed_slice())
}

fn build() -> Types {
    let definitions = definitions::all();
    let mut builder = Builder { shapes: Vec::new(), by_name: HashMap::new(), definitions: &definitions };
    for name in definitions.keys() {
        builder.named(name);
    }
    let Builder { shapes, by_name, .. } = builder;
    Types { shapes, by_name, definitions }
}

fn read(definition: &RawValue) -> Value {
    serde_json::from_str(definition.get()).expect("it was found to be JSON when the definitions were read")
}

/// Turns JSON schemas into shapes. A definition gets its place before its fields are looked at, so that types may
/// refer to themselves.
struct Builder<'a> {
    shapes: Vec<Shape>,
    by_name: HashMap<String, ShapeId>,
    definitions: &'a BTreeMap<String, Box<RawValue>>,
}

impl Builder<'_> {
    fn push(&mut self, shape: Shape) -> ShapeId {
        let id = ShapeId(u32::try_from(self.shapes.len()).expect("a few thousand shapes"));
        self.shapes.push(shape);
        id
    }

    fn named(&mut self, name: &str) -> ShapeId {
        if let Some(id) = self.by_name.get(name) {
            return *id;
        }
        let id = self.push(Shape::Scalar(Scalar::Any));
        self.by_name.insert(name.to_owned(), id);
        let Some(schema) = self.definitions.get(name).map(|it| read(it)) else { return id };
        let shape = if name.ends_with(".resource.Quantity") {
            Shape::Scalar(Scalar::Quantity)
        } else if name.ends_with(".meta.v1.MicroTime") {
            Shape::Scalar(Scalar::MicroTime)
        } else {
            self.shape(Some(name), &schema)
        };
        self.shapes[id.0 as usize] = shape;
        id
    }

    fn id(&mut self, schema: &Value) -> ShapeId {
        if let Some(name) = reference(schema) {
            return self.named(name);
        }
        let shape = self.shape(None, schema);
        self.push(shape)
    }

    fn shape(&mut self, name: Option<&str>, schema: &Value) -> Shape {
        if schema.get("x-kubernetes-int-or-string").is_some() {
            return Shape::Scalar(Scalar::IntOrString);
        }
        let format = schema.get("format").and_then(Value::as_str);
        match schema.get("type").and_then(Value::as_str) {
            Some("object") => {
                if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
                    let name = name.unwrap_or("");
                    let required = schema.get("required").and_then(Value::as_array);
                    let fields = properties
                        .iter()
                        .map(|(field, schema)| {
                            let required = required.is_some_and(|it| it.iter().any(|it| it == field));
                            let short = name.strip_prefix("io.k8s.").unwrap_or(name);
                            let ownership = ownership::of(short, field);
                            let field_of =
                                Field { shape: self.id(schema), merge: merge(name, field), ownership, required };
                            (field.clone(), field_of)
                        })
                        .collect();
                    Shape::Struct(Struct { name: name.to_owned(), fields, open: false })
                } else if let Some(values) = schema.get("additionalProperties").filter(|it| it.is_object()) {
                    Shape::Map(self.id(values))
                } else if name.is_some_and(|it| !OPAQUE.iter().any(|end| it.ends_with(end))) {
                    // A type without fields, such as `ContainerStateWaiting` would be if it had none.
                    Shape::Struct(Struct { name: name.unwrap_or("").to_owned(), fields: HashMap::new(), open: false })
                } else {
                    Shape::Scalar(Scalar::Any)
                }
            }
            Some("array") => Shape::List(self.id(schema.get("items").unwrap_or(&Value::Null))),
            Some("string") => Shape::Scalar(match format {
                Some("byte") => Scalar::Bytes,
                Some("date-time") => Scalar::Time,
                _ => Scalar::String,
            }),
            Some("integer") => Shape::Scalar(if format == Some("int32") { Scalar::Int32 } else { Scalar::Int64 }),
            Some("number") => Shape::Scalar(Scalar::Number),
            Some("boolean") => Shape::Scalar(Scalar::Bool),
            _ => Shape::Scalar(Scalar::Any),
        }
    }
}

/// The definition that a schema refers to, directly or as the only part of `allOf` (which is how a description is put
/// next to a reference).
fn reference(schema: &Value) -> Option<&str> {
    let of = |schema: &Value| schema.get("$ref").and_then(Value::as_str).map(str::len).is_some();
    let target = if of(schema) { schema } else { schema.get("allOf")?.get(0)? };
    target.get("$ref")?.as_str()?.strip_prefix(DEFINITIONS)
}

fn merge(type_name: &str, field: &str) -> Merge {
    let short = type_name.strip_prefix("io.k8s.").unwrap_or(type_name);
    MERGE_KEYS.iter().find(|it| it.type_name == short && it.field == field).map_or(Merge::DEFAULT, |it| it.merge)
}
