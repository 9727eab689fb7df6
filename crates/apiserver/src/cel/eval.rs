//! One step after another: fields, operators, loops. Values are shared and never copied whole, every step is paid for,
//! and an error in one operand of `&&` and `||` does not matter where the other decides, as the language says.

use std::cmp::Ordering;
use std::sync::Arc;

use kube_cel::cel::IdedExpr;
use kube_cel::cel::Value;
use kube_cel::cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, SelectExpr, operators as op,
};
use kube_cel::cel::objects::{Key, KeyRef};

use super::call::{Target, library};
use super::check::binds;
use super::value::{as_optional, explain, map, optional, type_name, weight};
use super::{Budget, EvalError};

/// The variables in sight, innermost first.
pub(super) enum Scope<'a> {
    Root(&'a [(&'a str, Value)]),
    Inner { name: &'a str, value: Value, outer: &'a Scope<'a> },
}

impl<'a> Scope<'a> {
    pub(super) fn root(variables: &'a [(&'a str, Value)]) -> Self {
        Self::Root(variables)
    }

    fn with(&'a self, name: &'a str, value: Value) -> Self {
        Self::Inner { name, value, outer: self }
    }

    fn get(&self, wanted: &str) -> Option<&Value> {
        match self {
            Self::Root(variables) => variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value),
            Self::Inner { name, value, .. } if *name == wanted => Some(value),
            Self::Inner { outer, .. } => outer.get(wanted),
        }
    }
}

type Outcome = Result<Value, EvalError>;

pub(super) struct Evaluator<'b> {
    budget: &'b mut Budget,
}

impl<'b> Evaluator<'b> {
    pub(super) fn new(budget: &'b mut Budget) -> Self {
        Self { budget }
    }

    /// The value of an expression.
    pub(super) fn of(&mut self, expr: &IdedExpr, scope: &Scope<'_>) -> Outcome {
        self.budget.pay(1)?;
        match &expr.expr {
            Expr::Literal(literal) => Ok(constant(literal)),
            Expr::Ident(name) => {
                scope.get(name).cloned().or_else(|| type_value(name)).ok_or_else(|| EvalError::NoVariable(name.clone()))
            }
            Expr::Select(select) => self.select(select, scope),
            Expr::List(list) => {
                let mut items = Vec::with_capacity(list.elements.len());
                for (index, element) in list.elements.iter().enumerate() {
                    let value = self.of(element, scope)?;
                    if list.optional_indices.contains(&index) {
                        items.extend(as_optional(&value).ok_or(EvalError::NoSuchOverload)?.cloned());
                    } else {
                        items.push(value);
                    }
                }
                Ok(Value::List(Arc::new(items)))
            }
            Expr::Map(literal) => {
                let mut entries = Vec::with_capacity(literal.entries.len());
                for entry in &literal.entries {
                    let EntryExpr::MapEntry(entry) = &entry.expr else { return Err(EvalError::NoSuchOverload) };
                    let key = map_key(&self.of(&entry.key, scope)?)?;
                    let value = self.of(&entry.value, scope)?;
                    if entry.optional {
                        let value = as_optional(&value).ok_or(EvalError::NoSuchOverload)?.cloned();
                        entries.extend(value.map(|value| (key, value)));
                    } else {
                        entries.push((key, value));
                    }
                }
                Ok(map(entries.into_iter()))
            }
            Expr::Call(call) => self.call(call, scope),
            Expr::Comprehension(it) => self.comprehension(it, scope),
            Expr::Struct(_) | Expr::Unspecified => Err(EvalError::NoSuchOverload),
        }
    }

    fn condition(&mut self, expr: &IdedExpr, scope: &Scope<'_>) -> Result<bool, EvalError> {
        match self.of(expr, scope)? {
            Value::Bool(it) => Ok(it),
            _ => Err(EvalError::NoSuchOverload),
        }
    }

    fn select(&mut self, select: &SelectExpr, scope: &Scope<'_>) -> Outcome {
        let operand = self.of(&select.operand, scope)?;
        if let Some(inner) = as_optional(&operand) {
            let found = inner.and_then(|it| field(it, &select.field).ok());
            return Ok(if select.test { Value::Bool(found.is_some()) } else { optional(found) });
        }
        if select.test {
            return match &operand {
                Value::Map(_) => Ok(Value::Bool(field(&operand, &select.field).is_ok())),
                _ => Err(EvalError::NoSuchOverload),
            };
        }
        field(&operand, &select.field)
    }

    fn call(&mut self, call: &CallExpr, scope: &Scope<'_>) -> Outcome {
        match (call.func_name.as_str(), call.args.as_slice(), &call.target) {
            (op::CONDITIONAL, [condition, then, other], None) => {
                let branch = if self.condition(condition, scope)? { then } else { other };
                self.of(branch, scope)
            }
            (op::LOGICAL_OR, [left, right], None) => self.either(left, right, true, scope),
            (op::LOGICAL_AND, [left, right], None) => self.either(left, right, false, scope),
            (op::LOGICAL_NOT, [operand], None) => Ok(Value::Bool(!self.condition(operand, scope)?)),
            (op::NOT_STRICTLY_FALSE, [operand], None) => match self.condition(operand, scope) {
                Err(EvalError::TooCostly) => Err(EvalError::TooCostly),
                outcome => Ok(Value::Bool(outcome.unwrap_or(true))),
            },
            (op::NEGATE, [operand], None) => match self.of(operand, scope)? {
                Value::Int(it) => it.checked_neg().map(Value::Int).ok_or(EvalError::Overflow),
                Value::Float(it) => Ok(Value::Float(-it)),
                Value::Duration(it) => Ok(Value::Duration(-it)),
                _ => Err(EvalError::NoSuchOverload),
            },
            (operator, [left, right], None) if operator.starts_with(['_', '@']) => {
                let (left, right) = (self.of(left, scope)?, self.of(right, scope)?);
                self.operator(operator, left, &right)
            }
            (name, args, target) if binds(name, args.len()) > 0 => self.own_macro(name, args, target.as_deref(), scope),
            (name, args, target) => self.function(name, args, target.as_deref(), scope),
        }
    }

    /// `&&` and `||`: `decides` is the operand that settles it alone, in whichever place.
    fn either(&mut self, left: &IdedExpr, right: &IdedExpr, decides: bool, scope: &Scope<'_>) -> Outcome {
        let left = self.condition(left, scope);
        if left == Ok(decides) || left == Err(EvalError::TooCostly) {
            return left.map(Value::Bool);
        }
        match (self.condition(right, scope), left) {
            (Ok(it), _) if it == decides => Ok(Value::Bool(decides)),
            (Err(EvalError::TooCostly), _) => Err(EvalError::TooCostly),
            (_, Err(error)) | (Err(error), Ok(_)) => Err(error),
            (Ok(it), Ok(_)) => Ok(Value::Bool(it)),
        }
    }

    fn operator(&mut self, operator: &str, left: Value, right: &Value) -> Outcome {
        let cap = self.budget.left();
        let ordered = |wanted: &[Ordering]| match left.partial_cmp(right) {
            Some(found) => Ok(Value::Bool(wanted.contains(&found))),
            None if is_nan(&left) || is_nan(right) => Ok(Value::Bool(false)),
            None => Err(EvalError::NoSuchOverload),
        };
        match operator {
            op::EQUALS | op::NOT_EQUALS => {
                self.budget.pay(weight(&left, cap).min(weight(right, cap)))?;
                Ok(Value::Bool((left == *right) == (operator == op::EQUALS)))
            }
            op::LESS => ordered(&[Ordering::Less]),
            op::LESS_EQUALS => ordered(&[Ordering::Less, Ordering::Equal]),
            op::GREATER => ordered(&[Ordering::Greater]),
            op::GREATER_EQUALS => ordered(&[Ordering::Greater, Ordering::Equal]),
            op::IN => match right {
                Value::List(items) => {
                    self.budget.pay(weight(right, cap))?;
                    Ok(Value::Bool(items.contains(&left)))
                }
                Value::Map(_) => Ok(Value::Bool(entry(right, &left).is_ok())),
                _ => Err(EvalError::NoSuchOverload),
            },
            op::INDEX => match as_optional(&left) {
                Some(inner) => Ok(optional(inner.and_then(|it| entry(it, right).ok()))),
                None => entry(&left, right),
            },
            op::OPT_INDEX => Ok(optional(inside(&left).and_then(|it| entry(it, right).ok()))),
            op::OPT_SELECT => match right {
                Value::String(name) => Ok(optional(inside(&left).and_then(|it| field(it, name).ok()))),
                _ => Err(EvalError::NoSuchOverload),
            },
            op::ADD => {
                self.budget.pay(shallow(&left) + shallow(right))?;
                (left + right.clone()).map_err(explain)
            }
            op::SUBSTRACT => (left - right.clone()).map_err(explain),
            op::MULTIPLY => (left * right.clone()).map_err(explain),
            op::DIVIDE | op::MODULO
                if matches!((&left, right), (Value::Int(_), Value::Int(0)) | (Value::UInt(_), Value::UInt(0))) =>
            {
                Err(EvalError::ByZero(if operator == op::DIVIDE { "division" } else { "modulus" }))
            }
            op::DIVIDE => (left / right.clone()).map_err(explain),
            op::MODULO => (left % right.clone()).map_err(explain),
            _ => Err(EvalError::NoSuchOverload),
        }
    }

    fn function(&mut self, name: &str, args: &[IdedExpr], target: Option<&IdedExpr>, scope: &Scope<'_>) -> Outcome {
        let namespace = target.and_then(|target| match &target.expr {
            Expr::Ident(name) if scope.get(name).is_none() => Some(name.as_str()),
            _ => None,
        });
        let on = match (target, namespace) {
            (Some(target), None) => Some(self.of(target, scope)?),
            _ => None,
        };
        let mut values = Vec::with_capacity(args.len());
        for arg in args {
            values.push(self.of(arg, scope)?);
        }
        match (name, &on, values.as_slice()) {
            ("dyn", None, [it]) => return Ok(it.clone()),
            ("type", None, [it]) => return type_value(type_name(it)).ok_or(EvalError::NoSuchOverload),
            ("bool", None, [it]) => return truth(it),
            ("size", Some(it), []) | ("size", None, [it]) => {
                self.budget.pay(if matches!(it, Value::String(_)) { shallow(it) } else { 0 })?;
                return size(it);
            }
            ("int", None, [Value::Timestamp(it)]) => return Ok(Value::Int(it.timestamp())),
            ("contains", Some(Value::String(it)), [Value::String(part)]) => {
                self.budget.pay(1 + (it.len() / 10) as u64)?;
                return Ok(Value::Bool(it.contains(part.as_str())));
            }
            ("startsWith", Some(Value::String(it)), [Value::String(part)]) => {
                return Ok(Value::Bool(it.starts_with(part.as_str())));
            }
            ("endsWith", Some(Value::String(it)), [Value::String(part)]) => {
                return Ok(Value::Bool(it.ends_with(part.as_str())));
            }
            ("or", Some(it), [other]) if as_optional(it).is_some() => {
                return Ok(if inside_optional(it).is_some() { it.clone() } else { other.clone() });
            }
            ("orValue", Some(it), [other]) if as_optional(it).is_some() => {
                return Ok(inside_optional(it).unwrap_or(other).clone());
            }
            // A pattern is compiled at each call, which costs more than a step.
            ("matches" | "find" | "findAll", _, _) => self.budget.pay(100)?,
            _ => {}
        }
        // The library is given copies.
        let cap = self.budget.left();
        for value in on.iter().chain(&values) {
            self.budget.pay(1 + weight(value, cap))?;
        }
        let target = on.map(Target::Value).or_else(|| namespace.map(Target::Namespace));
        library(name, target, values)
    }

    /// Macros that the parser leaves to us: `optMap`, `cel.bind`, and loops with an index or a key.
    fn own_macro(&mut self, name: &str, args: &[IdedExpr], target: Option<&IdedExpr>, scope: &Scope<'_>) -> Outcome {
        match (name, args, target) {
            ("bind", [variable, value, body], Some(_)) => {
                let value = self.of(value, scope)?;
                self.of(body, &scope.with(ident(variable)?, value))
            }
            ("optMap" | "optFlatMap", [variable, body], Some(target)) => {
                let on = self.of(target, scope)?;
                let Some(inner) = as_optional(&on).ok_or(EvalError::NoSuchOverload)? else { return Ok(on) };
                let outcome = self.of(body, &scope.with(ident(variable)?, inner.clone()))?;
                Ok(if name == "optMap" { optional(Some(outcome)) } else { outcome })
            }
            (_, [first, second, rest @ ..], Some(target)) => {
                let (first, second) = (ident(first)?, ident(second)?);
                let over = self.of(target, scope)?;
                self.indexed(name, first, second, rest, &over, scope)
            }
            _ => Err(EvalError::NoSuchOverload),
        }
    }

    fn indexed(
        &mut self,
        name: &str,
        first: &str,
        second: &str,
        rest: &[IdedExpr],
        over: &Value,
        scope: &Scope<'_>,
    ) -> Outcome {
        let (filter, body) = match rest {
            [body] => (None, body),
            [filter, body] => (Some(filter), body),
            _ => return Err(EvalError::NoSuchOverload),
        };
        let (mut failed, mut matching, mut list, mut entries) = (None, 0, Vec::new(), Vec::new());
        for (at, item) in pairs(over)? {
            self.budget.pay(1)?;
            let outer = scope.with(first, at.clone());
            let inner = outer.with(second, item);
            if let Some(filter) = filter
                && !self.condition(filter, &inner)?
            {
                continue;
            }
            match name {
                "transformList" => list.push(self.of(body, &inner)?),
                "transformMap" => entries.push((map_key(&at)?, self.of(body, &inner)?)),
                _ => match (self.condition(body, &inner), name) {
                    (Err(EvalError::TooCostly), _) => return Err(EvalError::TooCostly),
                    (Ok(false), "all") => return Ok(Value::Bool(false)),
                    (Ok(true), "exists") => return Ok(Value::Bool(true)),
                    (Ok(it), _) => matching += usize::from(it),
                    (Err(error), _) => failed = Some(error),
                },
            }
        }
        match (name, failed) {
            ("transformList", _) => Ok(Value::List(Arc::new(list))),
            ("transformMap", _) => Ok(map(entries.into_iter())),
            (_, Some(error)) => Err(error),
            ("all", None) => Ok(Value::Bool(true)),
            ("exists", None) => Ok(Value::Bool(false)),
            (_, None) => Ok(Value::Bool(matching == 1)),
        }
    }

    fn comprehension(&mut self, it: &ComprehensionExpr, scope: &Scope<'_>) -> Outcome {
        let over = self.of(&it.iter_range, scope)?;
        let mut sum: Outcome = Ok(self.of(&it.accu_init, scope)?);
        let items: Vec<Value> = match &over {
            Value::List(items) => items.to_vec(),
            Value::Map(map) => {
                let mut keys: Vec<&Key> = map.map.keys().collect();
                // An order that does not change from one evaluation to the next.
                keys.sort();
                keys.into_iter().map(Value::from).collect()
            }
            _ => return Err(EvalError::NoSuchOverload),
        };
        for item in items {
            self.budget.pay(1)?;
            // `all` and `exists` go on past an error: a later item may decide without it.
            let goes_on = match (&it.loop_cond.expr, &sum) {
                (Expr::Literal(LiteralValue::Boolean(on)), _) => *on.inner(),
                (_, Err(_)) => true,
                (_, Ok(sum)) => self.condition(&it.loop_cond, &scope.with(&it.accu_var, sum.clone()))?,
            };
            if !goes_on {
                break;
            }
            let inner = scope.with(&it.iter_var, item);
            sum = match self.step(&it.loop_step, &it.accu_var, sum, &inner) {
                Err(EvalError::TooCostly) => return Err(EvalError::TooCostly),
                other => other,
            };
        }
        let sum = sum?;
        self.of(&it.result, &scope.with(&it.accu_var, sum))
    }

    /// One turn of a loop. What is collected so far is moved, not copied: a list grows by one item in one step.
    fn step(&mut self, step: &IdedExpr, sum_name: &str, sum: Outcome, scope: &Scope<'_>) -> Outcome {
        let is_sum = |expr: &IdedExpr| matches!(&expr.expr, Expr::Ident(name) if name == sum_name);
        match &step.expr {
            Expr::Ident(_) if is_sum(step) => sum,
            Expr::Call(call) => match (call.func_name.as_str(), call.args.as_slice()) {
                (op::CONDITIONAL, [condition, then, other]) => {
                    let sum = sum?;
                    let branch = if self.condition(condition, scope)? { then } else { other };
                    self.step(branch, sum_name, Ok(sum), scope)
                }
                (op::ADD, [left, right]) if is_sum(left) => {
                    let added = self.of(right, scope)?;
                    match (sum?, added) {
                        (Value::List(mut items), Value::List(more)) => {
                            Arc::make_mut(&mut items).extend(more.iter().cloned());
                            Ok(Value::List(items))
                        }
                        (Value::Int(sum), Value::Int(more)) => {
                            sum.checked_add(more).map(Value::Int).ok_or(EvalError::Overflow)
                        }
                        _ => Err(EvalError::NoSuchOverload),
                    }
                }
                (op::LOGICAL_AND | op::LOGICAL_OR, [left, right]) if is_sum(left) => {
                    let decides = call.func_name == op::LOGICAL_OR;
                    match (sum, self.condition(right, scope)) {
                        (_, Err(EvalError::TooCostly)) => Err(EvalError::TooCostly),
                        (_, Ok(it)) if it == decides => Ok(Value::Bool(decides)),
                        (Ok(Value::Bool(it)), _) if it == decides => Ok(Value::Bool(decides)),
                        (Err(error), _) | (Ok(_), Err(error)) => Err(error),
                        (Ok(_), Ok(it)) => Ok(Value::Bool(it)),
                    }
                }
                _ => Err(EvalError::NoSuchOverload),
            },
            _ => Err(EvalError::NoSuchOverload),
        }
    }
}

fn ident(expr: &IdedExpr) -> Result<&str, EvalError> {
    match &expr.expr {
        Expr::Ident(name) => Ok(name),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn constant(literal: &LiteralValue) -> Value {
    match literal {
        LiteralValue::Boolean(it) => Value::Bool(*it.inner()),
        LiteralValue::Bytes(it) => Value::Bytes(Arc::new(it.inner().to_vec())),
        LiteralValue::Double(it) => Value::Float(*it.inner()),
        LiteralValue::Int(it) => Value::Int(*it.inner()),
        LiteralValue::Null => Value::Null,
        LiteralValue::String(it) => Value::String(Arc::new(it.inner().to_owned())),
        LiteralValue::UInt(it) => Value::UInt(*it.inner()),
    }
}

/// Types are values of their own, told apart by their names.
fn type_value(name: &str) -> Option<Value> {
    let name = match name {
        "timestamp" => "google.protobuf.Timestamp",
        "duration" => "google.protobuf.Duration",
        "bool"
        | "int"
        | "uint"
        | "double"
        | "string"
        | "bytes"
        | "list"
        | "map"
        | "null_type"
        | "type"
        | "object"
        | "google.protobuf.Timestamp"
        | "google.protobuf.Duration" => name,
        _ => return None,
    };
    Some(Value::Function(Arc::new(name.to_owned()), None))
}

fn field(value: &Value, name: &str) -> Outcome {
    match value {
        Value::Map(map) => map.get(&KeyRef::String(name)).cloned().ok_or_else(|| EvalError::NoSuchKey(name.to_owned())),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn entry(value: &Value, at: &Value) -> Outcome {
    match (value, at) {
        (Value::List(items), Value::Int(at)) => {
            usize::try_from(*at).ok().and_then(|index| items.get(index)).cloned().ok_or(EvalError::OutOfBounds(*at))
        }
        (Value::Map(map), at) => {
            let key = map_key(at)?;
            map.get(&key).cloned().ok_or_else(|| EvalError::NoSuchKey(written(&key)))
        }
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn written(key: &Key) -> String {
    match key {
        Key::Int(it) => it.to_string(),
        Key::Uint(it) => it.to_string(),
        Key::Bool(it) => it.to_string(),
        Key::String(it) => it.as_str().to_owned(),
    }
}

fn map_key(value: &Value) -> Result<Key, EvalError> {
    match value {
        Value::Int(it) => Ok(Key::Int(*it)),
        Value::UInt(it) => Ok(Key::Uint(*it)),
        Value::Bool(it) => Ok(Key::Bool(*it)),
        Value::String(it) => Ok(Key::String(it.clone())),
        _ => Err(EvalError::NoSuchOverload),
    }
}

/// What an optional value holds; any other value itself.
fn inside(value: &Value) -> Option<&Value> {
    as_optional(value).unwrap_or(Some(value))
}

fn inside_optional(value: &Value) -> Option<&Value> {
    as_optional(value).flatten()
}

/// Positions or keys with what stands there, in order.
fn pairs(value: &Value) -> Result<Vec<(Value, Value)>, EvalError> {
    match value {
        Value::List(items) => Ok(items
            .iter()
            .enumerate()
            .map(|(at, it)| (Value::Int(i64::try_from(at).unwrap_or(i64::MAX)), it.clone()))
            .collect()),
        Value::Map(map) => {
            let mut entries: Vec<(&Key, &Value)> = map.map.iter().collect();
            entries.sort_by(|a, b| a.0.cmp(b.0));
            Ok(entries.into_iter().map(|(key, value)| (Value::from(key), value.clone())).collect())
        }
        _ => Err(EvalError::NoSuchOverload),
    }
}

/// Characters of a text, bytes, items, entries.
fn size(value: &Value) -> Outcome {
    let size = match value {
        Value::String(it) => it.chars().count(),
        Value::Bytes(it) => it.len(),
        Value::List(it) => it.len(),
        Value::Map(it) => it.map.len(),
        _ => return Err(EvalError::NoSuchOverload),
    };
    Ok(Value::Int(i64::try_from(size).unwrap_or(i64::MAX)))
}

fn truth(value: &Value) -> Outcome {
    match value {
        Value::Bool(it) => Ok(Value::Bool(*it)),
        Value::String(text) => match text.as_str() {
            "1" | "t" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            other => Err(EvalError::Function(format!("type conversion error from {other:?} to 'bool'"))),
        },
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn is_nan(value: &Value) -> bool {
    matches!(value, Value::Float(it) if it.is_nan())
}

/// What putting a value behind another costs.
fn shallow(value: &Value) -> u64 {
    match value {
        Value::String(it) => (it.len() / 10) as u64,
        Value::Bytes(it) => (it.len() / 10) as u64,
        Value::List(it) => it.len() as u64,
        _ => 0,
    }
}
