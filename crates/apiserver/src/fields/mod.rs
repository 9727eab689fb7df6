//! From the bytes of a body to an object of a known type: syntax, duplicate fields, unknown fields, wrong types, and
//! the normal form that is stored. The texts are the reference's (`fieldValidation` = Ignore, Warn, Strict).

mod normalise;
mod parse;
mod path;
mod words;

pub use normalise::{Decoder, Normalised, TypeError, normalise};
pub use parse::{Parsed, SyntaxError, parse_json, parse_yaml};
pub(crate) use words::{go_kind, json_word};

use crate::kinds::Resource;

/// At most this many findings are kept of one body, as the reference does.
const MAX_FINDINGS: usize = 100;

/// What the client asked to happen with fields the server does not know or sees twice (`fieldValidation=`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// They are dropped silently.
    Ignore,
    /// They are dropped and named in `Warning` headers. The default.
    #[default]
    Warn,
    /// The request is refused.
    Strict,
}

impl FieldValidation {
    /// The value of the query parameter.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ignore => "Ignore",
            Self::Warn => "Warn",
            Self::Strict => "Strict",
        }
    }

    /// The value of the query parameter; empty is the default.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "Warn" => Some(Self::Warn),
            "Ignore" => Some(Self::Ignore),
            "Strict" => Some(Self::Strict),
            _ => None,
        }
    }
}

/// The text of `fieldValidation=Strict` for these findings, each like `unknown field "spec.foo"`.
pub fn strict_error(findings: &[String]) -> String {
    format!("strict decoding error: {}", findings.join(", "))
}

/// The text of the 400 for a body that is not an object of the kind (`why` is a [`TypeError`], or [`strict_error`]).
pub fn cannot_be_handled(resource: &Resource, why: &str) -> String {
    let Resource { kind, version, .. } = resource;
    format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {why}")
}

/// The value of a `Warning` header for a finding: code, agent and quoted text (RFC 7234 §5.5).
pub fn warning_header(finding: &str) -> String {
    let mut quoted = String::with_capacity(finding.len() + 16);
    for character in finding.chars() {
        match character {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(character);
            }
            control if control.is_control() => quoted.push(' '),
            other => quoted.push(other),
        }
    }
    format!("299 - \"{quoted}\"")
}
