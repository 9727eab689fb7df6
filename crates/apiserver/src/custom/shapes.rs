//! A schema as the [shapes](crate::schema) that ownership looks at.

use std::collections::HashMap;

use super::schema::{Additional, Kind, ListType, Schema};
use crate::schema::ownership::Ownership;
use crate::schema::{self, Field, Merge, Scalar, Shape, ShapeId, Struct, interned};

/// The shape of an object of this schema, with the fields that every object has.
pub fn of(root: &Schema, name: &str) -> ShapeId {
    let Shape::Struct(mut shape) = object(root, name) else { return schema::add(Shape::Scalar(Scalar::Any)) };
    let text = schema::add(Shape::Scalar(Scalar::String));
    for name in ["apiVersion", "kind"] {
        shape.fields.insert(name.to_owned(), field(text));
    }
    if let Some(metadata) = schema::types().named("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta") {
        shape.fields.insert("metadata".to_owned(), field(metadata));
    }
    schema::add(Shape::Struct(shape))
}

fn field(shape: ShapeId) -> Field {
    Field { shape, merge: Merge::DEFAULT, ownership: Ownership::Default, required: false }
}

fn object(schema: &Schema, name: &str) -> Shape {
    let fields: HashMap<String, Field> =
        schema.properties.iter().map(|(name, inner)| (name.clone(), field_of(inner))).collect();
    let open = schema.preserve || schema.embedded;
    Shape::Struct(Struct { name: name.to_owned(), fields, open })
}

fn field_of(inner: &Schema) -> Field {
    let ownership = match &inner.list {
        ListType::Map(keys) => Ownership::Items(interned(keys)),
        ListType::Set => Ownership::Set,
        ListType::Atomic => Ownership::Default,
    };
    Field { ownership, ..field(shape(inner)) }
}

fn shape(schema: &Schema) -> ShapeId {
    // Whatever is in it, it has one owner.
    if schema.atomic_map {
        return schema::add(Shape::Scalar(Scalar::Any));
    }
    if schema.int_or_string {
        return schema::add(Shape::Scalar(Scalar::IntOrString));
    }
    schema::add(match schema.kind {
        Some(Kind::Object) => match &schema.additional {
            Additional::Schema(of) if schema.properties.is_empty() => Shape::Map(shape(of)),
            Additional::Any => Shape::Struct(Struct { name: String::new(), fields: HashMap::new(), open: true }),
            Additional::Schema(_) | Additional::None => object(schema, ""),
        },
        Some(Kind::Array) => Shape::List(match &schema.items {
            Some(of) => shape(of),
            None => schema::add(Shape::Scalar(Scalar::Any)),
        }),
        Some(Kind::String) => Shape::Scalar(Scalar::String),
        Some(Kind::Integer) => Shape::Scalar(Scalar::Int64),
        Some(Kind::Number) => Shape::Scalar(Scalar::Number),
        Some(Kind::Boolean) => Shape::Scalar(Scalar::Bool),
        None => Shape::Scalar(Scalar::Any),
    })
}
