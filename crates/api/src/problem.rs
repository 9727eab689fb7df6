//! What is wrong with an object, as a value: it goes into a condition and `supple doctor`, and never stops a round.

use std::fmt;

/// Something in an object that could not be read, or is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Which object: `rightsizepolicy/shop/web`.
    pub object: String,
    /// Which field of it: `spec.windows[0].schedule`, `metadata.annotations[supple.dev/mode]`.
    pub field: String,
    /// What is wrong, what is done instead, and what to write.
    pub message: String,
}

impl Problem {
    /// Whether the field was understood, and only is not carried out: nothing has to be corrected.
    #[must_use]
    pub fn is_left_out(&self) -> bool {
        self.message.starts_with("not applied") || self.message.starts_with("not needed")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.object, self.field, self.message)
    }
}

/// Problems of one object while it is read.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    object: String,
    pub(crate) found: Vec<Problem>,
}

impl Problems {
    pub(crate) fn of(object: &str) -> Self {
        Self { object: object.to_owned(), found: Vec::new() }
    }

    pub(crate) fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.found.push(Problem { object: self.object.clone(), field: field.into(), message: message.into() });
    }
}
