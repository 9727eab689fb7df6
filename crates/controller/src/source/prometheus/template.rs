//! Queries with placeholders: `$namespace`, `$workload`, `$pod`, `$container`, `$step`, also as `${namespace}`; `$$` is a `$`.

use std::fmt::Write as _;

/// A query with placeholders, checked when it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Value(Placeholder),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Placeholder {
    Namespace,
    Workload,
    Pod,
    Container,
    Step,
}

const PLACEHOLDERS: [(&str, Placeholder); 5] = [
    ("namespace", Placeholder::Namespace),
    ("workload", Placeholder::Workload),
    ("pod", Placeholder::Pod),
    ("container", Placeholder::Container),
    ("step", Placeholder::Step),
];

/// What is put in their place. What is not given is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Values<'a> {
    /// `$namespace`
    pub namespace: &'a str,
    /// `$workload`: its name.
    pub workload: &'a str,
    /// `$pod`
    pub pod: &'a str,
    /// `$container`
    pub container: &'a str,
    /// `$step`: seconds between two points of a range, at least a minute: what a rate is taken over.
    pub step_seconds: u32,
}

/// Why a text is no query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// There is no such placeholder.
    #[error(
        "there is no ${0}: a query may say $namespace, $workload, $pod, $container and $step, and $$ for a $ (in {1:?})"
    )]
    Unknown(String, String),
    /// It is too long, or empty.
    #[error("a query has 1 to {longest} characters, not {length}", longest = LONGEST)]
    Length {
        /// So many.
        length: usize,
    },
}

/// The longest query.
const LONGEST: usize = 10_000;

impl Template {
    /// Read a query.
    ///
    /// # Errors
    /// [`TemplateError`] says what is wrong with it.
    pub fn new(text: &str) -> Result<Self, TemplateError> {
        if text.trim().is_empty() || text.len() > LONGEST {
            return Err(TemplateError::Length { length: text.trim().len() });
        }
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            plain.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                plain.push('$');
                rest = after;
                continue;
            }
            let (name, after) = name(after);
            if name.is_empty() {
                plain.push('$'); // the end of a regular expression, for instance
                rest = after;
                continue;
            }
            let known = PLACEHOLDERS.iter().find(|(it, _)| *it == name);
            let Some((_, placeholder)) = known else {
                return Err(TemplateError::Unknown(name.to_owned(), text.chars().take(200).collect()));
            };
            parts.push(Part::Text(std::mem::take(&mut plain)));
            parts.push(Part::Value(*placeholder));
            rest = after;
        }
        plain.push_str(rest);
        parts.push(Part::Text(plain));
        Ok(Self { parts })
    }

    /// Whether it says `$namespace`: then it can be asked of one at a time.
    #[must_use]
    pub fn names_namespace(&self) -> bool {
        self.parts.contains(&Part::Value(Placeholder::Namespace))
    }

    /// Whether it says `$pod`: then it comes to something of its own for each pod.
    #[must_use]
    pub fn names_pod(&self) -> bool {
        self.parts.contains(&Part::Value(Placeholder::Pod))
    }

    /// Whether it says `$container`: then it comes to something of its own for each container.
    #[must_use]
    pub fn names_container(&self) -> bool {
        self.parts.contains(&Part::Value(Placeholder::Container))
    }

    /// The query with these values. They are escaped: a value cannot end the text it stands in.
    #[must_use]
    pub fn fill(&self, values: &Values<'_>) -> String {
        let mut out = String::new();
        for part in &self.parts {
            let value = match part {
                Part::Text(text) => {
                    out.push_str(text);
                    continue;
                }
                Part::Value(Placeholder::Step) => {
                    // Writing to a string does not fail.
                    let _ = write!(out, "{}s", values.step_seconds.max(60));
                    continue;
                }
                Part::Value(Placeholder::Namespace) => values.namespace,
                Part::Value(Placeholder::Workload) => values.workload,
                Part::Value(Placeholder::Pod) => values.pod,
                Part::Value(Placeholder::Container) => values.container,
            };
            for character in value.chars() {
                match character {
                    '\n' => out.push_str("\\n"),
                    '"' | '\'' | '\\' => out.extend(['\\', character]),
                    '`' => {} // nothing can be escaped between backquotes
                    other => out.push(other),
                }
            }
        }
        out
    }
}

/// The name of a placeholder at the beginning of a text, and what comes after it.
fn name(text: &str) -> (&str, &str) {
    if let Some((name, after)) = text.strip_prefix('{').and_then(|it| it.split_once('}')) {
        return (name, after);
    }
    text.split_at(text.find(|it: char| !it.is_ascii_alphanumeric() && it != '_').unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VALUES: Values<'_> =
        Values { namespace: "shop", workload: "cart", pod: "cart-0", container: "c", step_seconds: 300 };

    #[track_caller]
    fn check(text: &str, expect: &str) {
        assert_eq!(Template::new(text).unwrap().fill(&VALUES), expect);
    }

    #[test]
    fn placeholders_are_filled_in() {
        check("up", "up");
        check(r#"a{namespace="$namespace",pod=~"$workload-.*"}[$step]"#, r#"a{namespace="shop",pod=~"cart-.*"}[300s]"#);
        check("${pod}x$container", "cart-0xc");
        check(r#"a{b=~"x$"} / $$ "#, r#"a{b=~"x$"} / $ "#);
    }

    #[test]
    fn a_value_stays_inside_its_quotes() {
        let text = Template::new(r#"a{b="$pod"}"#).unwrap();
        let filled = text.fill(&Values { pod: "x\"} or up{y=\"\\`\n", ..VALUES });
        assert_eq!(filled, r#"a{b="x\"} or up{y=\"\\\n"}"#);
        assert_eq!(Template::new("[$step]").unwrap().fill(&Values::default()), "[60s]");
    }

    #[test]
    fn what_is_no_query_is_said() {
        let error = Template::new("a{b=\"$node\"}").unwrap_err().to_string();
        assert!(error.starts_with("there is no $node: a query may say $namespace"), "{error}");
        assert_eq!(Template::new(" ").unwrap_err(), TemplateError::Length { length: 0 });
        assert_eq!(Template::new(&"x".repeat(LONGEST + 1)).unwrap_err(), TemplateError::Length { length: LONGEST + 1 });
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in r#"[$a-z{}"é ]{0,60}"#) {
            let _ = Template::new(&text).map(|it| it.fill(&VALUES));
        }
    }
}
