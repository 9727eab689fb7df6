//! Where in a body we are, as a list of borrowed steps: nothing is allocated unless a finding is made.

use std::fmt;

/// A place in a body.
pub(super) enum Path<'a> {
    /// The body itself.
    Root,
    /// A field, or a key of a map.
    Field(&'a Path<'a>, &'a str),
    /// An item of a list.
    Index(&'a Path<'a>, usize),
}

impl Path<'_> {
    /// The fields alone, joined by dots and without indices: as Go's decoder names a place.
    pub(super) fn fields(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Field(Self::Root, name) => (*name).to_owned(),
            Self::Field(parent, name) => format!("{}.{name}", parent.fields()),
            Self::Index(parent, _) => parent.fields(),
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}
