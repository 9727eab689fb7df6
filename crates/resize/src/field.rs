//! What a refusal of one field looks like: path, kind and detail, printed as the API server prints them.

use std::fmt::{self, Write as _};

/// Where in the object: `spec.containers[0].resources.requests[cpu]`.
///
/// Building one allocates only when an error is made of it: validation of a good pod formats nothing.
#[derive(Clone, Copy, Debug)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    /// Nothing: the object as a whole, which the reference prints as `[]`.
    Whole,
    /// Nothing, printed as `<nil>`; what is below it is at the top.
    Top,
    Name(&'a str),
    Index(usize),
    Key(&'a str),
}

impl<'a> Path<'a> {
    /// The object as a whole. Printed as `[]`, the reference's text for an error without a path.
    pub const WHOLE: Path<'static> = Path { parent: None, step: Step::Whole };

    /// The object whose fields are at the top; an error about itself is printed as the reference prints the lack of a
    /// path, `<nil>`.
    pub const TOP: Path<'static> = Path { parent: None, step: Step::Top };

    /// A field at the top: `spec`.
    #[must_use]
    pub const fn root(name: &'a str) -> Self {
        Self { parent: None, step: Step::Name(name) }
    }

    /// A field of the object here: `….name`.
    #[must_use]
    pub const fn child(&'a self, name: &'a str) -> Path<'a> {
        Path { parent: Some(self), step: Step::Name(name) }
    }

    /// An entry of the list here: `…[3]`.
    #[must_use]
    pub const fn index(&'a self, index: usize) -> Path<'a> {
        Path { parent: Some(self), step: Step::Index(index) }
    }

    /// An entry of the map here: `…[cpu]`.
    #[must_use]
    pub const fn key(&'a self, key: &'a str) -> Path<'a> {
        Path { parent: Some(self), step: Step::Key(key) }
    }

    fn error(&self, kind: Kind, value: Option<String>, detail: impl Into<String>) -> FieldError {
        FieldError { field: self.to_string(), kind, value, detail: detail.into() }
    }

    /// The value is not one the rules allow.
    #[must_use]
    pub fn invalid(&self, value: impl BadValue, detail: impl Into<String>) -> FieldError {
        self.error(Kind::Invalid, Some(value.shown()), detail)
    }

    /// The field may not be set or changed.
    #[must_use]
    pub fn forbidden(&self, detail: impl Into<String>) -> FieldError {
        self.error(Kind::Forbidden, None, detail)
    }

    /// The field is missing.
    #[must_use]
    pub fn required(&self, detail: impl Into<String>) -> FieldError {
        self.error(Kind::Required, None, detail)
    }

    /// The value stands in the list twice.
    #[must_use]
    pub fn duplicate(&self, value: impl BadValue) -> FieldError {
        self.error(Kind::Duplicate, Some(value.shown()), "")
    }

    /// The value is longer than `bytes`; it is not shown.
    #[must_use]
    pub fn too_long(&self, bytes: usize) -> FieldError {
        self.error(Kind::TooLong, None, format!("may not be more than {bytes} bytes"))
    }

    /// The value is of another type than the schema says.
    #[must_use]
    pub fn type_invalid(&self, value: impl BadValue, detail: impl Into<String>) -> FieldError {
        self.error(Kind::TypeInvalid, Some(value.shown()), detail)
    }

    /// There are more than `most` items.
    #[must_use]
    pub fn too_many(&self, found: usize, most: usize) -> FieldError {
        let plural = if most == 1 { "" } else { "s" };
        self.error(Kind::TooMany, Some(found.to_string()), format!("must have at most {most} item{plural}"))
    }

    /// What the value refers to does not exist.
    #[must_use]
    pub fn not_found(&self, value: impl BadValue) -> FieldError {
        self.error(Kind::NotFound, Some(value.shown()), "")
    }

    /// The value is none of `supported` (printed in the order given).
    #[must_use]
    pub fn not_supported(&self, value: impl BadValue, supported: &[&str]) -> FieldError {
        let listed: Vec<String> = supported.iter().map(|value| quoted(value)).collect();
        self.error(Kind::NotSupported, Some(value.shown()), format!("supported values: {}", listed.join(", ")))
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let below = self.parent.filter(|parent| !matches!(parent.step, Step::Top));
        if let Some(parent) = below {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Whole => f.write_str("[]"),
            Step::Top => f.write_str("<nil>"),
            Step::Name(name) if below.is_some() => write!(f, ".{name}"),
            Step::Name(name) => f.write_str(name),
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Key(key) => write!(f, "[{key}]"),
        }
    }
}

/// A value as an error shows it: text in quotes, numbers and truth values bare.
pub trait BadValue {
    /// The text between `Invalid value: ` and the detail.
    fn shown(&self) -> String;
}

impl BadValue for &str {
    fn shown(&self) -> String {
        quoted(self)
    }
}

impl BadValue for &String {
    fn shown(&self) -> String {
        quoted(self)
    }
}

impl BadValue for i64 {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl BadValue for i32 {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl BadValue for bool {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl BadValue for &supple_quantity::Quantity {
    fn shown(&self) -> String {
        format!("\"{self}\"")
    }
}

/// Lists and objects, as JSON.
impl BadValue for &serde_json::Value {
    fn shown(&self) -> String {
        self.as_str().map_or_else(|| self.to_string(), quoted)
    }
}

/// A value that is absent: the reference prints a nil pointer as the text `null`.
#[derive(Clone, Copy, Debug)]
pub struct Absent;

impl BadValue for Absent {
    fn shown(&self) -> String {
        quoted("null")
    }
}

/// Text in quotes as the reference (Go's `%q`) writes it: control characters by two hexadecimal digits, where Rust would write
/// `\u{1}`.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            control if control.is_ascii_control() => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\x{:02x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A value the rules do not allow.
    Invalid,
    /// A field that may not be set or changed.
    Forbidden,
    /// A field that is missing.
    Required,
    /// A value that stands in a list twice.
    Duplicate,
    /// A value that refers to what does not exist.
    NotFound,
    /// A value that is too long.
    TooLong,
    /// A value that is none of the supported ones.
    NotSupported,
    /// A list or map with too many entries.
    TooMany,
    /// A value of another type than the schema says.
    TypeInvalid,
}

impl Kind {
    /// The `reason` of the cause in a `Status`: stable, for programs.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Invalid => "FieldValueInvalid",
            Self::Forbidden => "FieldValueForbidden",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::NotFound => "FieldValueNotFound",
            Self::TooLong => "FieldValueTooLong",
            Self::NotSupported => "FieldValueNotSupported",
            Self::TooMany => "FieldValueTooMany",
            Self::TypeInvalid => "FieldValueTypeInvalid",
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::Forbidden => "Forbidden",
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::NotFound => "Not found",
            Self::TooLong => "Too long",
            Self::NotSupported => "Unsupported value",
            Self::TooMany => "Too many",
        }
    }
}

/// One field that was refused. Prints as `<field>: <kind>: <detail>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The path, printed: the cause's `field`.
    pub field: String,
    /// What is wrong with it.
    pub kind: Kind,
    /// The refused value, as shown; only for kinds that show one.
    value: Option<String>,
    detail: String,
}

impl FieldError {
    /// The cause's `message`: everything but the path.
    #[must_use]
    pub fn message(&self) -> String {
        let mut text = self.kind.text().to_owned();
        if let Some(value) = &self.value {
            text += ": ";
            text += value;
        }
        if !self.detail.is_empty() {
            text += ": ";
            text += &self.detail;
        }
        text
    }

    /// The same of a field of what stands at `prefix` in a larger object.
    #[must_use]
    pub fn within(self, prefix: &str) -> Self {
        Self { field: format!("{prefix}.{}", self.field), ..self }
    }

    /// The cause's `reason`, see [`Kind::reason`].
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        self.kind.reason()
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message())
    }
}

impl std::error::Error for FieldError {}

/// Several messages as one: alone it stands as it is, more stand in brackets, each text once (the reference's aggregate).
#[must_use]
pub fn join<T: fmt::Display>(messages: &[T]) -> String {
    let mut seen: Vec<String> = Vec::with_capacity(messages.len());
    for message in messages {
        let message = message.to_string();
        if !seen.contains(&message) {
            seen.push(message);
        }
    }
    match seen.as_slice() {
        [only] => only.clone(),
        all => format!("[{}]", all.join(", ")),
    }
}

/// The message of the 422 `Status`: `Pod "a" is invalid: …`.
#[must_use]
pub fn aggregate(kind: &str, name: &str, errors: &[FieldError]) -> String {
    format!("{kind} {} is invalid: {}", quoted(name), join(errors))
}
