//! What a schema takes away from an object and puts into it: fields it does not name go, defaults come.

use serde_json::{Map, Value};

use super::schema::{Additional, MAX_DEPTH, Schema};

/// Fields that every embedded object has.
const OF_OBJECTS: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Most findings that are kept.
const MAX_FINDINGS: usize = 100;

/// Removes what the schema does not name, but for the metadata of the object itself; a finding for each
/// (`unknown field "spec.foo"`).
pub fn prune(object: &mut Value, schema: &Schema) -> Vec<String> {
    let mut walk = Walk { findings: Vec::new() };
    walk.fields(object, schema, "", true, 0);
    walk.findings
}

struct Walk {
    findings: Vec<String>,
}

impl Walk {
    fn value(&mut self, value: &mut Value, schema: &Schema, path: &str, depth: usize) {
        if depth > MAX_DEPTH {
            return;
        }
        match value {
            Value::Object(_) => self.fields(value, schema, path, schema.embedded, depth),
            Value::Array(items) => {
                let Some(of) = &schema.items else { return };
                for (index, item) in items.iter_mut().enumerate() {
                    self.value(item, of, &format!("{path}[{index}]"), depth + 1);
                }
            }
            _ => {}
        }
    }

    fn fields(&mut self, value: &mut Value, schema: &Schema, path: &str, is_object: bool, depth: usize) {
        let Value::Object(fields) = value else { return };
        let mut gone = Vec::new();
        for (name, value) in fields.iter_mut() {
            if is_object && OF_OBJECTS.contains(&name.as_str()) {
                continue;
            }
            let here = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            match (schema.properties.get(name), &schema.additional) {
                (Some(schema), _) => self.value(value, schema, &here, depth + 1),
                (None, Additional::Schema(schema)) => self.value(value, schema, &here, depth + 1),
                (None, Additional::Any) => {}
                (None, Additional::None) if schema.preserve || is_untyped(schema) => {}
                (None, Additional::None) => {
                    if self.findings.len() < MAX_FINDINGS {
                        self.findings.push(format!("unknown field \"{here}\""));
                    }
                    gone.push(name.clone());
                }
            }
        }
        for name in gone {
            fields.remove(&name);
        }
    }
}

/// What is no object by its schema is refused as a whole later; its parts are not looked at.
fn is_untyped(schema: &Schema) -> bool {
    schema.kind.is_some_and(|it| it != super::schema::Kind::Object)
}

/// Puts defaults where nothing stands, also where a null stands that cannot be.
pub fn default(value: &mut Value, schema: &Schema) {
    fill(value, schema, 0);
}

fn fill(value: &mut Value, schema: &Schema, depth: usize) {
    if depth > MAX_DEPTH {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (name, schema) in &schema.properties {
                let Some(default) = &schema.default else { continue };
                match fields.get(name) {
                    None => drop(fields.insert(name.clone(), default.clone())),
                    Some(Value::Null) if !schema.nullable => drop(fields.insert(name.clone(), default.clone())),
                    Some(_) => {}
                }
            }
            for (name, value) in fields.iter_mut() {
                if let Some(schema) = schema.field(name) {
                    if let (Value::Null, false, Some(default)) = (&*value, schema.nullable, &schema.default) {
                        *value = default.clone();
                    }
                    fill(value, schema, depth + 1);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = &schema.items {
                for item in items {
                    if let (Value::Null, false, Some(default)) = (&*item, schema.nullable, &schema.default) {
                        *item = default.clone();
                    }
                    fill(item, schema, depth + 1);
                }
            }
        }
        _ => {}
    }
}

/// Puts `metadata` in order by the type of every object's metadata; fields it does not have are found.
pub fn metadata(object: &mut Value) -> Result<Vec<String>, crate::fields::TypeError> {
    let shape = crate::schema::types().named("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
    let (Some(shape), Some(fields)) = (shape, object.as_object_mut()) else { return Ok(Vec::new()) };
    let Some(metadata) = fields.remove("metadata") else { return Ok(Vec::new()) };
    let prefixed = |text: String| text.replacen('"', "\"metadata.", 1);
    let normalised = crate::fields::normalise(metadata, shape, crate::fields::Decoder::Text)?;
    fields.insert(
        "metadata".to_owned(),
        match normalised.value {
            Value::Null => Value::Object(Map::new()),
            metadata => metadata,
        },
    );
    Ok(normalised.unknown.into_iter().map(prefixed).collect())
}
