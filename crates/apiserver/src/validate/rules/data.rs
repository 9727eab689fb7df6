//! Config maps and secrets: keys, sizes, what a type of secret needs, and what `immutable` freezes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use supple_resize::field::Path;

use super::FieldError;
use crate::tree::{at, text};

/// All values together.
const MAX_BYTES: usize = 1024 * 1024;
/// A key.
const MAX_KEY: usize = 253;

const FROZEN: &str = "field is immutable when `immutable` is set";

/// What stands in for a secret's contents in an error.
const REDACTED: &str = "<secret contents redacted>";

fn entries<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    at(object, field).as_object().into_iter().flatten()
}

pub(super) fn config_map(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut bytes = 0;
    let data = Path::root("data");
    for (name, value) in entries(object, "data") {
        let path = data.key(name);
        errors.extend(key(name).into_iter().map(|it| path.invalid(name, it)));
        if at(object, "binaryData").get(name).is_some() {
            errors.push(path.invalid(name, "duplicate of key present in binaryData"));
        }
        bytes += value.as_str().map_or(0, str::len);
    }
    let binary = Path::root("binaryData");
    for (name, value) in entries(object, "binaryData") {
        let path = binary.key(name);
        errors.extend(key(name).into_iter().map(|it| path.invalid(name, it)));
        bytes += decoded_length(value);
    }
    if bytes > MAX_BYTES {
        errors.push(Path::WHOLE.too_long(MAX_BYTES));
    }
    errors
}

/// What is wrong with an update of an object whose stored form may say `immutable`; `rules` are those of a new object.
pub(super) fn frozen(new: &Value, old: &Value, rules: fn(&Value) -> Vec<FieldError>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if at(old, "immutable") == true {
        if at(new, "immutable") != true {
            errors.push(Path::root("immutable").forbidden(FROZEN));
        }
        for field in ["data", "binaryData"] {
            if at(new, field) != at(old, field) {
                errors.push(Path::root(field).forbidden(FROZEN));
            }
        }
    }
    errors.extend(rules(new));
    errors
}

/// `stringData` goes into `data`, and a secret without a type is opaque.
pub(super) fn default_secret(object: &mut Value) {
    let Some(fields) = object.as_object_mut() else { return };
    if let Some(Value::Object(plain)) = fields.remove("stringData") {
        let data = fields.entry("data").or_insert_with(|| Value::Object(Map::new()));
        if let Some(data) = data.as_object_mut() {
            data.extend(plain.into_iter().map(|(key, value)| {
                let encoded = STANDARD.encode(value.as_str().unwrap_or_default());
                (key, Value::String(encoded))
            }));
        }
    }
    let kind = fields.entry("type").or_insert_with(|| "Opaque".into());
    if kind == "" {
        *kind = "Opaque".into();
    }
}

pub(super) fn secret(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let data = Path::root("data");
    let mut bytes = 0;
    for (name, value) in entries(object, "data") {
        errors.extend(key(name).into_iter().map(|it| data.key(name).invalid(name, it)));
        bytes += decoded_length(value);
    }
    if bytes > MAX_BYTES {
        errors.push(data.too_long(MAX_BYTES));
    }
    let has = |key: &str| at(object, "data").get(key).is_some();
    let mut need = |keys: &[&str]| {
        errors.extend(keys.iter().filter(|key| !has(key)).map(|key| data.key(key).required("")));
    };
    match text(object, "type") {
        "kubernetes.io/service-account-token" => {
            const ACCOUNT: &str = "kubernetes.io/service-account.name";
            let annotation = at(object, "metadata.annotations").get(ACCOUNT).and_then(Value::as_str);
            if annotation.unwrap_or_default().is_empty() {
                let metadata = Path::root("metadata");
                errors.push(metadata.child("annotations").key(ACCOUNT).required(""));
            }
        }
        "kubernetes.io/dockercfg" => errors.extend(registry_login(object, ".dockercfg")),
        "kubernetes.io/dockerconfigjson" => errors.extend(registry_login(object, ".dockerconfigjson")),
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => need(&["username", "password"]),
        "kubernetes.io/ssh-auth" => need(&["ssh-privatekey"]),
        "kubernetes.io/tls" => need(&["tls.crt", "tls.key"]),
        _ => {}
    }
    errors
}

pub(super) fn secret_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if text(new, "type") != text(old, "type") {
        errors.push(Path::root("type").invalid(text(new, "type"), "field is immutable"));
    }
    errors.extend(frozen(new, old, secret));
    errors
}

/// The key must be there and hold JSON.
fn registry_login(object: &Value, key: &str) -> Option<FieldError> {
    let data = Path::root("data");
    let path = data.key(key);
    let Some(encoded) = at(object, "data").get(key) else { return Some(path.required("")) };
    let bytes = STANDARD.decode(encoded.as_str().unwrap_or_default()).unwrap_or_default();
    let error = crate::fields::parse_json(&bytes).err()?;
    Some(path.invalid(REDACTED, error.to_string()))
}

fn decoded_length(value: &Value) -> usize {
    STANDARD.decode(value.as_str().unwrap_or_default()).map_or(0, |it| it.len())
}

/// What is wrong with a key.
fn key(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > MAX_KEY {
        wrong.push(format!("must be no more than {MAX_KEY} bytes"));
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if text.is_empty() || !text.bytes().all(fits) {
        wrong.push(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
             'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
                .to_owned(),
        );
    }
    match text {
        "." => wrong.push("must not be '.'".to_owned()),
        ".." => wrong.push("must not be '..'".to_owned()),
        _ if text.starts_with("..") => wrong.push("must not start with '..'".to_owned()),
        _ => {}
    }
    wrong
}
