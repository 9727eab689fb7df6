//! The structural schema of a version of a custom resource, read once from its definition: what everything else here
//! walks along. Reading never fails: what is wrong with a schema is said by [`structural`](super::structural) when the
//! definition is written.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

use super::rules::Rule;

/// Deepest nesting of a schema or an object that is followed.
pub const MAX_DEPTH: usize = 64;

/// A node of a schema.
#[derive(Debug, Default)]
pub struct Schema {
    /// The JSON type; `None`: any, or an int-or-string.
    pub kind: Option<Kind>,
    /// Null is a value too.
    pub nullable: bool,
    /// A whole number or a text.
    pub int_or_string: bool,
    /// Fields that are not named here are kept.
    pub preserve: bool,
    /// An object with `apiVersion`, `kind` and `metadata`.
    pub embedded: bool,
    /// The fields of an object.
    pub properties: BTreeMap<String, Schema>,
    /// What other fields hold.
    pub additional: Additional,
    /// What a list holds.
    pub items: Option<Box<Schema>>,
    /// What stands here if nothing does.
    pub default: Option<Value>,
    /// Fields that must be there.
    pub required: Vec<String>,
    /// How a list is owned and what tells its items apart.
    pub list: ListType,
    /// An object is owned as a whole.
    pub atomic_map: bool,
    /// Limits on the value itself.
    pub limits: Limits,
    /// All of these hold.
    pub all_of: Vec<Schema>,
    /// At least one of these holds.
    pub any_of: Vec<Schema>,
    /// Exactly one of these holds.
    pub one_of: Vec<Schema>,
    /// This does not hold.
    pub not: Option<Box<Schema>>,
    /// `x-kubernetes-validations`.
    pub rules: Vec<Rule>,
    /// Whether there are rules here or anywhere below.
    pub has_rules: bool,
}

/// JSON types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `object`.
    Object,
    /// `array`.
    Array,
    /// `string`.
    String,
    /// `integer`.
    Integer,
    /// `number`.
    Number,
    /// `boolean`.
    Boolean,
}

impl Kind {
    /// The word in a schema.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }

    /// The type of this word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Object, Self::Array, Self::String, Self::Integer, Self::Number, Self::Boolean]
            .into_iter()
            .find(|it| it.as_str() == word)
    }
}

/// What fields that are not named hold.
#[derive(Debug, Default)]
pub enum Additional {
    /// There are none: they are pruned.
    #[default]
    None,
    /// Anything (`additionalProperties: true`).
    Any,
    /// Values of this schema: the object is a map.
    Schema(Box<Schema>),
}

/// `x-kubernetes-list-type`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListType {
    /// Owned as a whole. The default.
    #[default]
    Atomic,
    /// Plain values, each once.
    Set,
    /// Objects that these fields tell apart.
    Map(Vec<String>),
}

/// Limits on a value.
#[derive(Debug, Default)]
pub struct Limits {
    /// Of a text or a number: `date-time`, `int32`, ….
    pub format: String,
    /// Nothing but these.
    pub one_of: Option<Vec<Value>>,
    /// What a text matches, and the source of it.
    pub pattern: Option<(String, Regex)>,
    /// Least number, and whether the number itself is too small.
    pub minimum: Option<(f64, bool)>,
    /// Greatest number, and whether the number itself is too great.
    pub maximum: Option<(f64, bool)>,
    /// A number is a multiple of this.
    pub multiple_of: Option<f64>,
    /// Characters of a text.
    pub length: Range,
    /// Items of a list.
    pub items: Range,
    /// Fields of an object.
    pub properties: Range,
    /// No item stands twice.
    pub unique: bool,
}

/// At least, at most.
#[derive(Clone, Copy, Debug, Default)]
pub struct Range {
    /// At least so many.
    pub least: Option<usize>,
    /// At most so many.
    pub most: Option<usize>,
}

impl Schema {
    /// Reads an `openAPIV3Schema`.
    pub fn read(source: &Value) -> Self {
        Self::at(source, 0)
    }

    fn at(source: &Value, depth: usize) -> Self {
        if depth > MAX_DEPTH {
            return Self { preserve: true, ..Self::default() };
        }
        let flag = |name: &str| source.get(name).and_then(Value::as_bool).unwrap_or_default();
        let text = |name: &str| source.get(name).and_then(Value::as_str).unwrap_or_default();
        let texts = |name: &str| -> Vec<String> {
            let items = source.get(name).and_then(Value::as_array).into_iter().flatten();
            items.filter_map(|it| it.as_str().map(str::to_owned)).collect()
        };
        let below = |source: &Value| Self::at(source, depth + 1);
        let several = |name: &str| -> Vec<Self> {
            source.get(name).and_then(Value::as_array).into_iter().flatten().map(below).collect()
        };
        let one = |name: &str| source.get(name).filter(|it| it.is_object()).map(|it| Box::new(below(it)));
        let properties = source.get("properties").and_then(Value::as_object).into_iter().flatten();
        let rules: Vec<Rule> = source
            .get("x-kubernetes-validations")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|it| Rule::read(it).ok())
            .collect();
        let mut schema = Self {
            kind: Kind::parse(text("type")),
            nullable: flag("nullable"),
            int_or_string: flag("x-kubernetes-int-or-string"),
            preserve: flag("x-kubernetes-preserve-unknown-fields"),
            embedded: flag("x-kubernetes-embedded-resource"),
            properties: properties.map(|(name, source)| (name.clone(), below(source))).collect(),
            additional: match source.get("additionalProperties") {
                Some(Value::Bool(true)) => Additional::Any,
                Some(schema @ Value::Object(_)) => Additional::Schema(Box::new(below(schema))),
                _ => Additional::None,
            },
            items: one("items"),
            default: source.get("default").cloned(),
            required: texts("required"),
            list: match text("x-kubernetes-list-type") {
                "set" => ListType::Set,
                "map" => ListType::Map(texts("x-kubernetes-list-map-keys")),
                _ => ListType::Atomic,
            },
            atomic_map: text("x-kubernetes-map-type") == "atomic",
            limits: Limits::read(source),
            all_of: several("allOf"),
            any_of: several("anyOf"),
            one_of: several("oneOf"),
            not: one("not"),
            has_rules: !rules.is_empty(),
            rules,
        };
        let inner = schema.properties.values().chain(schema.items.as_deref()).chain(schema.additional.schema());
        let below = inner.into_iter().any(|it| it.has_rules);
        schema.has_rules |= below;
        schema
    }

    /// What a field of an object here holds, if the schema says.
    pub fn field(&self, name: &str) -> Option<&Self> {
        self.properties.get(name).or_else(|| self.additional.schema())
    }

    /// Whether the object is a map: its keys are data and not names.
    pub fn is_map(&self) -> bool {
        self.properties.is_empty() && !matches!(self.additional, Additional::None)
    }

    /// The type as rules and messages name it.
    pub fn type_name(&self) -> &'static str {
        match self.kind {
            Some(kind) => kind.as_str(),
            None => "",
        }
    }
}

impl Additional {
    /// The schema of values, if there is one.
    pub fn schema(&self) -> Option<&Schema> {
        match self {
            Self::Schema(schema) => Some(schema),
            Self::None | Self::Any => None,
        }
    }
}

impl Limits {
    fn read(source: &Value) -> Self {
        let number = |name: &str| source.get(name).and_then(Value::as_f64);
        let flag = |name: &str| source.get(name).and_then(Value::as_bool).unwrap_or_default();
        let count = |name: &str| source.get(name).and_then(Value::as_u64).and_then(|it| usize::try_from(it).ok());
        let range = |least: &str, most: &str| Range { least: count(least), most: count(most) };
        let pattern = source.get("pattern").and_then(Value::as_str).filter(|it| !it.is_empty());
        Self {
            format: source.get("format").and_then(Value::as_str).unwrap_or_default().to_owned(),
            one_of: source.get("enum").and_then(Value::as_array).cloned(),
            pattern: pattern.and_then(|it| Some((it.to_owned(), Regex::new(it).ok()?))),
            minimum: number("minimum").map(|it| (it, flag("exclusiveMinimum"))),
            maximum: number("maximum").map(|it| (it, flag("exclusiveMaximum"))),
            multiple_of: number("multipleOf").filter(|it| *it > 0.0),
            length: range("minLength", "maxLength"),
            items: range("minItems", "maxItems"),
            properties: range("minProperties", "maxProperties"),
            unique: flag("uniqueItems"),
        }
    }
}
