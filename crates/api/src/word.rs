//! Values of fields that survive whatever stands in an object: words of a closed list, and quantities. An object with a
//! word of a newer version must not make the whole list unreadable; it becomes a [`Problem`](crate::Problem) instead.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use supple_quantity::Quantity;

/// An enumeration whose schema lists its words, and which keeps a word it does not know. What stands after a `|` is taken for the
/// word too, and written back as the word itself.
macro_rules! words {
    ($(#[doc = $about:literal])+ $name:ident {
        $($(#[doc = $doc:literal])+ $word:ident $(= $text:literal)? $(| $also:literal)*,)+
    }) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[doc = $doc])+ $word,)+
            /// A word this version does not know.
            Unknown(String),
        }

        impl $name {
            /// The words, as they are written.
            pub const WORDS: &[&str] = &[$(crate::word::text!($word $($text)?),)+];

            /// As it is written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$word => crate::word::text!($word $($text)?),)+
                    Self::Unknown(word) => word,
                }
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                match word {
                    $(it if it == crate::word::text!($word $($text)?) => Self::$word,)+
                    $($($also => Self::$word,)*)+
                    other => Self::Unknown(other.to_owned()),
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Ok(Self::from(String::deserialize(deserializer)?.as_str()))
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let also: &[&str] = &[$($($also,)*)+];
                let words = [Self::WORDS, also].concat();
                schemars::json_schema!({"type": "string", "enum": words})
            }
        }
    };
}
pub(crate) use words;

/// How a word is written: as it is named, unless it says otherwise.
macro_rules! text {
    ($word:ident) => {
        stringify!($word)
    };
    ($word:ident $text:literal) => {
        $text
    };
}
pub(crate) use text;

/// A quantity as it was written, string or number, right or wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amount(pub String);

impl Amount {
    /// The quantity, where it is one and not negative.
    #[must_use]
    pub fn read(&self) -> Option<Quantity> {
        self.0.trim().parse::<Quantity>().ok().filter(|it| it.sign() >= 0)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Amount {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AmountVisitor)
    }
}

struct AmountVisitor;

impl Visitor<'_> for AmountVisitor {
    type Value = Amount;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a quantity such as 100m or 1Gi")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Amount, E> {
        Ok(Amount(text.to_owned()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Amount, E> {
        Ok(Amount(value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Amount, E> {
        Ok(Amount(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Amount, E> {
        Ok(Amount(value.to_string()))
    }
}

impl JsonSchema for Amount {
    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]})
    }
}

/// The schema of a time.
pub(crate) fn date_time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date-time"})
}
