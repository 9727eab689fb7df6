//! JSON paths as definitions write them (`.status.conditions[?(@.type=="Ready")].status`), for printed columns.

use jsonpath_rust::parser::model::JpQuery;
use jsonpath_rust::parser::parse_json_path;
use jsonpath_rust::query::js_path_process;
use serde_json::Value;

/// Longest path that is read, in bytes.
const MAX_LENGTH: usize = 4096;

/// A path that was read.
#[derive(Debug)]
pub struct JsonPath(JpQuery);

impl JsonPath {
    /// Reads a path.
    ///
    /// # Errors
    /// A sentence on what is wrong with it.
    pub fn parse(path: &str) -> Result<Self, String> {
        let standard =
            standard(path).ok_or_else(|| format!("is an invalid jsonpath: {path:?} must begin with a dot"))?;
        // One pair of brackets in another is all that a filter needs.
        if path.len() > MAX_LENGTH || path.matches(['[', '(']).count() > 32 {
            return Err("is an invalid jsonpath: it is too long".to_owned());
        }
        parse_json_path(&standard).map(Self).map_err(|error| format!("is an invalid jsonpath: {error}"))
    }

    /// The first value that the path leads to.
    pub fn first<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        js_path_process(&self.0, value).ok()?.into_iter().next().map(jsonpath_rust::query::QueryRef::val)
    }
}

/// The path as RFC 9535 has it: from the root, with names in quotes, which may have any characters.
fn standard(path: &str) -> Option<String> {
    let mut out = "$".to_owned();
    let mut rest = path.trim();
    if let Some(inner) = rest.strip_prefix('{').and_then(|it| it.strip_suffix('}')) {
        rest = inner;
    }
    rest = rest.strip_prefix('$').unwrap_or(rest);
    if !rest.starts_with(['.', '[']) {
        return None;
    }
    while !rest.is_empty() {
        if let Some(below) = rest.strip_prefix("..") {
            out.push_str("..");
            let (name, after) = name(below);
            out.push_str(&if name.is_empty() { String::new() } else { format!("['{}']", quoted(&name)) });
            rest = after;
        } else if let Some(below) = rest.strip_prefix('.') {
            let (name, after) = name(below);
            match name.as_str() {
                "" if after.starts_with('[') => {}
                "" => return None,
                "*" => out.push_str("[*]"),
                name => out.push_str(&format!("['{}']", quoted(name))),
            }
            rest = after;
        } else {
            let end = bracket(rest)?;
            out.push_str(&rest[..end]);
            rest = &rest[end..];
            if !rest.is_empty() && !rest.starts_with(['.', '[']) {
                return None;
            }
        }
    }
    Some(out)
}

/// The name at the beginning, in which a backslash takes the meaning from what follows, and what comes after it.
fn name(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '.' | '[' => return (name, &text[at..]),
            '\\' => name.extend(characters.next().map(|(_, it)| it)),
            other => name.push(other),
        }
    }
    (name, "")
}

fn quoted(name: &str) -> String {
    name.replace('\\', "\\\\").replace('\'', "\\'")
}

/// Where the bracket that opens at the beginning closes.
fn bracket(text: &str) -> Option<usize> {
    let (mut open, mut quote) = (0_usize, None);
    for (at, character) in text.char_indices() {
        match (quote, character) {
            (Some(it), _) if it == character => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(character),
            (None, '[') => open += 1,
            (None, ']') => {
                open -= 1;
                if open == 0 {
                    return Some(at + 1);
                }
            }
            (None, _) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(path: &str, expected: Value) {
        let object = json!({
            "metadata": {"labels": {"app.kubernetes.io/name": "web"}},
            "spec": {"replicas": 3, "a-b": true, "list": [{"n": 1}, {"n": 2}]},
            "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Old", "status": "False"}]},
        });
        let path = JsonPath::parse(path).unwrap();
        assert_eq!(path.first(&object).cloned().unwrap_or_default(), expected);
    }

    #[test]
    fn paths_lead_to_values() {
        check(".spec.replicas", json!(3));
        check("{.spec.replicas}", json!(3));
        check(".spec.a-b", json!(true));
        check(".spec['a-b']", json!(true));
        check(".spec.list[1].n", json!(2));
        check(".spec.list[*].n", json!(1));
        check(".status.conditions[?(@.type==\"Ready\")].status", json!("True"));
        check(".status.conditions[?(@.type=='Old')].status", json!("False"));
        check(".metadata.labels.app\\.kubernetes\\.io/name", json!("web"));
        check(".spec.absent.deeper", json!(null));
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for path in ["spec.replicas", "", ".", " ", ".spec.", ".a[", ".a[?(", ".a['x'"] {
            assert!(JsonPath::parse(path).is_err(), "{path:?}");
        }
    }
}
