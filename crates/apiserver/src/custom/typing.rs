//! The types of what an expression reads, as far as a schema says: a field that no object can have is found when the
//! definition is written, not when the first object is.

use kube_cel::cel::IdedExpr;
use kube_cel::cel::common::ast::{EntryExpr, Expr, operators as op};
use serde_json::Value;

use super::rules::{Rule, escape};
use crate::cel::{CompileError, point};

/// What is known of a value.
#[derive(Clone, Copy)]
enum Type<'a> {
    /// It is described by this schema.
    Of(&'a Value),
    /// Nothing.
    Dynamic,
}

/// Looks for fields that the schema of the value does not have, and for an outcome that is no truth value.
///
/// # Errors
/// The text of the reference's compiler.
pub fn check(schema: &Value, source: &str, rule: &Rule) -> Result<(), String> {
    let mut walk = Walk { source, bound: Vec::new() };
    walk.bound.push(("self".to_owned(), Type::Of(schema)));
    let old = if rule.has_optional_old() { Type::Dynamic } else { Type::Of(schema) };
    walk.bound.push(("oldSelf".to_owned(), old));
    match walk.of(rule.program()).map_err(|error| format!("compilation failed: {error}"))? {
        Type::Of(schema) if schema.get("type").is_some_and(|it| it != "boolean") => {
            Err(CompileError::WrongType("bool").to_string())
        }
        Type::Of(_) | Type::Dynamic => Ok(()),
    }
}

struct Walk<'a> {
    source: &'a str,
    bound: Vec<(String, Type<'a>)>,
}

impl<'a> Walk<'a> {
    fn of(&mut self, expr: &IdedExpr) -> Result<Type<'a>, String> {
        match &expr.expr {
            Expr::Ident(name) => {
                let found = self.bound.iter().rev().find(|(bound, _)| bound == name);
                Ok(found.map_or(Type::Dynamic, |(_, it)| *it))
            }
            Expr::Select(select) => {
                let on = self.of(&select.operand)?;
                self.field(on, &select.field)
            }
            Expr::Call(call) => {
                if let Some(target) = call.target.as_deref() {
                    self.of(target)?;
                }
                // What a macro of ours binds is not followed.
                let binds = crate::cel::binds(&call.func_name, call.args.len());
                let before = self.bound.len();
                for arg in call.args.iter().take(binds) {
                    if let Expr::Ident(name) = &arg.expr {
                        self.bound.push((name.clone(), Type::Dynamic));
                    }
                }
                let mut types = Vec::with_capacity(call.args.len());
                for arg in call.args.iter().skip(binds) {
                    types.push(self.of(arg)?);
                }
                self.bound.truncate(before);
                Ok(match (call.func_name.as_str(), types.as_slice()) {
                    (op::INDEX, [on, _]) => on.inner(),
                    (op::CONDITIONAL, [_, then, _]) => *then,
                    _ => Type::Dynamic,
                })
            }
            Expr::List(list) => {
                for element in &list.elements {
                    self.of(element)?;
                }
                Ok(Type::Dynamic)
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.of(&entry.key)?;
                        self.of(&entry.value)?;
                    }
                }
                Ok(Type::Dynamic)
            }
            Expr::Comprehension(it) => {
                let over = self.of(&it.iter_range)?;
                let before = self.bound.len();
                self.bound.push((it.accu_var.clone(), Type::Dynamic));
                // A loop over a map is over its keys, which are texts.
                let item = if over.is_list() { over.inner() } else { Type::Dynamic };
                self.bound.push((it.iter_var.clone(), item));
                self.of(&it.loop_step)?;
                self.bound.truncate(before);
                // `filter` keeps items as they are; of `map` nothing is known.
                Ok(Type::Dynamic)
            }
            Expr::Literal(_) | Expr::Struct(_) | Expr::Unspecified => Ok(Type::Dynamic),
        }
    }

    fn field(&self, on: Type<'a>, name: &str) -> Result<Type<'a>, String> {
        let Type::Of(schema) = on else { return Ok(Type::Dynamic) };
        let text = |name: &str| schema.get(name).and_then(Value::as_str).unwrap_or_default();
        let flag = |name: &str| schema.get(name).and_then(Value::as_bool).unwrap_or_default();
        let properties = schema.get("properties").and_then(Value::as_object);
        if let Some((_, inner)) = properties.into_iter().flatten().find(|(field, _)| escape(field) == name) {
            return Ok(Type::Of(inner));
        }
        match schema.get("additionalProperties") {
            Some(inner @ Value::Object(_)) => return Ok(Type::Of(inner)),
            Some(_) => return Ok(Type::Dynamic),
            None => {}
        }
        let is_known_object = matches!(name, "metadata" | "apiVersion" | "kind");
        if is_known_object || flag("x-kubernetes-int-or-string") || text("type").is_empty() {
            return Ok(Type::Dynamic);
        }
        if text("type") == "object" {
            return Err(point(self.source, &format!("undefined field '{name}'"), name));
        }
        let what = format!("type '{}' does not support field selection", cel_type(text("type")));
        Err(point(self.source, &what, name))
    }
}

impl<'a> Type<'a> {
    fn inner(self) -> Self {
        let Self::Of(schema) = self else { return Self::Dynamic };
        let inner = schema.get("items").or_else(|| schema.get("additionalProperties"));
        inner.filter(|it| it.is_object()).map_or(Self::Dynamic, Self::Of)
    }

    fn is_list(self) -> bool {
        matches!(self, Self::Of(schema) if schema.get("type").is_some_and(|it| it == "array"))
    }
}

fn cel_type(word: &str) -> &str {
    match word {
        "integer" => "int",
        "number" => "double",
        "boolean" => "bool",
        "array" => "list",
        other => other,
    }
}
