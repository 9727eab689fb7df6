//! The types of what an expression reads, as far as a schema says, and what it costs at most: a field that no object can have
//! and a rule that takes too long are found when the definition is written, not when the first object is.

use kube_cel::cel::IdedExpr;
use kube_cel::cel::common::ast::{CallExpr, EntryExpr, Expr, LiteralValue, operators as op};
use serde_json::Value;

use super::cost::{self, Sizes};
use super::rules::{Rule, RuleError, escape};
use crate::cel::{CompileError, point};
use crate::tree::text;

/// What is known of a value.
#[derive(Clone, Copy)]
enum Type<'a> {
    /// It is described by this schema.
    Of(&'a Value),
    /// A text that the expression makes.
    Text,
    /// A list that the expression makes, whose items are texts or not known.
    List { of_texts: bool },
    /// Nothing.
    Dynamic,
}

/// What is known of an expression.
#[derive(Clone, Copy)]
struct Known<'a> {
    of: Type<'a>,
    /// Most characters or items that it has; 1 for what has none and for what nothing is known of.
    size: u64,
    /// The same of its items, where the expression makes them.
    item: u64,
    /// What coming to it costs at most.
    cost: u64,
}

/// What the expressions of a rule cost at most on one value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Costs {
    /// Of the rule itself.
    pub rule: u64,
    /// Of its `messageExpression`.
    pub message: Option<u64>,
}

/// What a rule, of which this is the source, costs on a value of this schema.
///
/// # Errors
/// It reads a field that the schema does not have, or its outcome is no truth value: the text is that of the reference's compiler.
pub fn check(schema: &Value, source: &Value, rule: &Rule, sizes: &mut Sizes) -> Result<Costs, RuleError> {
    let mut of = |field: &'static str, program: &IdedExpr| {
        let source = text(source, field);
        let this = |of| Known { of, size: 1, item: 1, cost: 1 };
        let old = if rule.has_optional_old() { Type::Dynamic } else { Type::Of(schema) };
        let bound = vec![("self".to_owned(), this(Type::Of(schema))), ("oldSelf".to_owned(), this(old))];
        let found = Walk { source, sizes, bound }.of(program);
        found.map_err(|error| RuleError { field, detail: format!("compilation failed: {error}") })
    };
    let found = of("rule", rule.program())?;
    if matches!(found.of, Type::Of(schema) if schema.get("type").is_some_and(|it| it != "boolean")) {
        return Err(RuleError { field: "rule", detail: CompileError::WrongType("bool").to_string() });
    }
    let message = rule.message_program().map(|it| of("messageExpression", it)).transpose()?;
    Ok(Costs { rule: found.cost, message: message.map(|it| it.cost) })
}

struct Walk<'a, 's> {
    source: &'s str,
    sizes: &'s mut Sizes,
    bound: Vec<(String, Known<'a>)>,
}

impl<'a> Walk<'a, '_> {
    fn of(&mut self, expr: &IdedExpr) -> Result<Known<'a>, String> {
        match &expr.expr {
            Expr::Ident(name) => {
                let found = self.bound.iter().rev().find(|(bound, _)| bound == name);
                let found = found.map_or(Known::scalar(1), |(_, it)| Known { cost: 1, ..*it });
                Ok(self.sized(found))
            }
            Expr::Select(select) => {
                let on = self.of(&select.operand)?;
                let of = self.field(on.of, &select.field)?;
                // Whether it is there: of the field itself only its name matters.
                if select.test {
                    return Ok(Known::scalar(on.cost));
                }
                let is_step = matches!(on.of, Type::Of(schema) if cost::has_fields(schema));
                let found = Known { of, ..Known::scalar(on.cost.saturating_add(u64::from(is_step))) };
                // A value of a map by its name: the reference does not look up how large it is.
                if matches!(on.of, Type::Of(schema) if schema.get("additionalProperties").is_some()) {
                    let size = if of.is_text() || of.is_list() { u64::MAX } else { 1 };
                    return Ok(Known { size, ..found });
                }
                Ok(self.sized(found))
            }
            Expr::Call(call) => self.call(call),
            Expr::List(list) => {
                let mut made = Known { of: Type::List { of_texts: false }, size: 0, item: 0, cost: cost::LIST };
                for element in &list.elements {
                    let element = self.of(element)?;
                    made.of = Type::List { of_texts: element.of.is_text() };
                    made.size += 1;
                    made.item = made.item.max(element.size);
                    made.cost = made.cost.saturating_add(element.cost);
                }
                Ok(made)
            }
            Expr::Map(map) => {
                let mut made = Known { size: map.entries.len() as u64, ..Known::scalar(cost::MAP) };
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        let parts = self.of(&entry.key)?.cost.saturating_add(self.of(&entry.value)?.cost);
                        made.cost = made.cost.saturating_add(parts);
                    }
                }
                Ok(made)
            }
            Expr::Comprehension(it) => {
                let over = self.of(&it.iter_range)?;
                let begin = self.of(&it.accu_init)?;
                let before = self.bound.len();
                self.bound.push((it.accu_var.clone(), begin));
                // A loop over a map is over its keys, which are texts; the reference counts them as empty.
                let item = match over.of {
                    of if of.is_list() => self.inner(&over),
                    Type::Of(_) => Known { of: Type::Text, size: 0, ..Known::scalar(1) },
                    _ => Known::scalar(1),
                };
                self.bound.push((it.iter_var.clone(), item));
                let condition = self.of(&it.loop_cond)?;
                let step = self.of(&it.loop_step)?;
                self.bound.pop();
                let result = self.of(&it.result)?;
                self.bound.truncate(before);
                let looped = over.size.saturating_mul(condition.cost.saturating_add(step.cost));
                let cost = [over.cost, begin.cost, looped, result.cost].into_iter().fold(0, u64::saturating_add);
                // `filter` and `map` make lists; of their items no more is known than how large they are.
                Ok(match begin.of {
                    Type::List { .. } => Known { of: step.of, size: over.size, item: step.item, cost },
                    _ => Known::scalar(cost),
                })
            }
            Expr::Literal(LiteralValue::String(text)) => {
                let size = text.inner().chars().count() as u64;
                Ok(Known { of: Type::Text, size, ..Known::scalar(0) })
            }
            Expr::Literal(_) | Expr::Struct(_) | Expr::Unspecified => Ok(Known::scalar(0)),
        }
    }

    fn call(&mut self, call: &CallExpr) -> Result<Known<'a>, String> {
        let target = call.target.as_deref().map(|it| self.of(it)).transpose()?;
        // What a macro of ours binds is not followed.
        let binds = crate::cel::binds(&call.func_name, call.args.len());
        let before = self.bound.len();
        for arg in call.args.iter().take(binds) {
            if let Expr::Ident(name) = &arg.expr {
                self.bound.push((name.clone(), Known::scalar(1)));
            }
        }
        let mut args = Vec::with_capacity(call.args.len());
        for arg in call.args.iter().skip(binds) {
            args.push(self.of(arg)?);
        }
        self.bound.truncate(before);
        let made = self.made(call.func_name.as_str(), target.as_ref(), &args);
        let beside = target.map_or(0, |it| it.cost);
        let inside = match (call.func_name.as_str(), args.as_slice()) {
            (op::CONDITIONAL, [condition, then, other]) => condition.cost.saturating_add(then.cost.max(other.cost)),
            _ => args.iter().map(|it| it.cost).fold(0, u64::saturating_add),
        };
        // A loop of ours goes through what it is called on.
        let times = if binds == 2 { target.map_or(1, |it| it.size) } else { 1 };
        let cost = made.cost.saturating_add(beside).saturating_add(inside.saturating_mul(times));
        Ok(Known { cost, ..made })
    }

    /// What a function makes, and what that costs, without what its arguments do.
    fn made(&mut self, name: &str, target: Option<&Known<'a>>, args: &[Known<'a>]) -> Known<'a> {
        let made_text = |size, cost| Known { of: Type::Text, size, item: 1, cost };
        let any_text = || args.iter().any(|it| it.of.is_text());
        match (name, target, args) {
            (op::INDEX, None, [on, _]) => Known { cost: 1, ..self.inner(on) },
            (op::CONDITIONAL, None, [_, then, other]) => {
                Known { size: then.size.max(other.size), item: then.item.max(other.item), cost: 0, ..*then }
            }
            (op::LOGICAL_AND | op::LOGICAL_OR, ..) => Known::scalar(0),
            ("dyn", None, [it]) => Known { cost: 1, ..*it },
            (op::ADD, None, [a, b]) => {
                let size = a.size.saturating_add(b.size);
                match any_text() {
                    true => made_text(size, cost::walk(size)),
                    false if a.of.is_list() => Known { of: b.of, size, item: a.item.max(b.item), cost: 1 },
                    false => Known::scalar(1),
                }
            }
            (op::EQUALS | op::NOT_EQUALS, None, [a, b]) => Known::scalar(cost::walk(a.size.min(b.size))),
            (op::LESS | op::LESS_EQUALS | op::GREATER | op::GREATER_EQUALS, None, [a, b]) if any_text() => {
                Known::scalar(cost::walk(a.size.min(b.size)))
            }
            (op::IN, None, [_, list]) if list.of.is_list() => Known::scalar(list.size),
            ("startsWith" | "endsWith", Some(_), [part]) => Known::scalar(cost::walk(part.size)),
            ("contains", Some(on), [part]) => Known::scalar(cost::walk(on.size).saturating_mul(cost::walk(part.size))),
            ("matches", Some(on), [pattern]) => Known::scalar(cost::search(on.size, pattern.size)),
            ("find", Some(on), [pattern, ..]) => made_text(on.size, cost::search(on.size, pattern.size)),
            ("findAll", Some(on), [pattern, ..]) => {
                let of = Type::List { of_texts: true };
                Known { of, size: on.size, item: u64::MAX, cost: cost::search(on.size, pattern.size) }
            }
            ("isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf", Some(on), _) => {
                let (is_list, item) = (on.of.is_list(), self.inner(on));
                let each = if item.of.is_text() { cost::walk(item.size).saturating_add(1) } else { 1 };
                Known::scalar(if is_list { on.size.saturating_mul(each) } else { cost::walk(on.size) })
            }
            ("lowerAscii" | "upperAscii" | "substring" | "trim", Some(on), _) => {
                made_text(on.size, cost::walk(on.size))
            }
            ("replace", Some(on), [from, by, ..]) => {
                // Each piece is as long as what is looked for, or it is not found.
                let pieces = on.size.div_ceil(from.size.max(1));
                made_text(on.size.max(pieces.saturating_mul(by.size)), cost::walk(on.size.saturating_mul(2)))
            }
            ("split", Some(on), _) => Known {
                of: Type::List { of_texts: true },
                size: on.size,
                item: u64::MAX,
                cost: cost::walk(on.size.saturating_mul(2)),
            },
            ("join", Some(on), _) => {
                let between = args.first().map_or(0, |it| it.size).saturating_mul(on.size.saturating_sub(1));
                let items = if matches!(on.of, Type::Of(_)) { on.size.saturating_mul(self.inner(on).size) } else { 0 };
                let size = items.saturating_add(between);
                made_text(size, cost::walk(size))
            }
            ("format", Some(on), _) => made_text(u64::MAX, cost::walk(on.size)),
            // How long it is nobody says.
            ("string", None, [it]) => made_text(if it.of.is_text() { it.size } else { u64::MAX }, 1),
            _ => Known::scalar(1),
        }
    }

    fn sized(&mut self, known: Known<'a>) -> Known<'a> {
        match known.of {
            Type::Of(schema) => Known { size: self.sizes.most(schema), ..known },
            _ => known,
        }
    }

    /// An item, or a value of a map.
    fn inner(&mut self, on: &Known<'a>) -> Known<'a> {
        match on.of {
            Type::Of(schema) => {
                let inner = schema.get("items").or_else(|| schema.get("additionalProperties"));
                let of = inner.filter(|it| it.is_object()).map_or(Type::Dynamic, Type::Of);
                self.sized(Known { of, ..Known::scalar(1) })
            }
            Type::List { of_texts } => {
                let of = if of_texts { Type::Text } else { Type::Dynamic };
                Known { of, size: on.item, ..Known::scalar(1) }
            }
            Type::Text | Type::Dynamic => Known::scalar(1),
        }
    }

    fn field(&self, on: Type<'a>, name: &str) -> Result<Type<'a>, String> {
        let Type::Of(schema) = on else { return Ok(Type::Dynamic) };
        let text = |name: &str| text(schema, name);
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
    fn is_list(self) -> bool {
        matches!(self, Self::List { .. }) || matches!(self, Self::Of(schema) if text(schema, "type") == "array")
    }

    fn is_text(self) -> bool {
        matches!(self, Self::Text) || matches!(self, Self::Of(schema) if text(schema, "type") == "string")
    }
}

impl Known<'_> {
    /// A value without characters or items, or of which nothing is known.
    fn scalar(cost: u64) -> Self {
        Self { of: Type::Dynamic, size: 1, item: 1, cost }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What the reference makes of a rule on values of this schema (`TestCostEstimation` has these numbers).
    #[track_caller]
    fn check(schema: Value, rule: &str, expect: u64) {
        let source = json!({ "rule": rule });
        let compiled = Rule::read(&source).unwrap();
        let costs = super::check(&schema, &source, &compiled, &mut Sizes::default()).unwrap();
        assert_eq!(costs, Costs { rule: expect, message: None }, "{rule} on {schema}");
    }

    fn of(kind: &str) -> Value {
        match kind {
            "int-or-string" => json!({"x-kubernetes-int-or-string": true}),
            "date" | "date-time" | "duration" => json!({"type": "string", "format": kind}),
            _ => json!({ "type": kind }),
        }
    }

    fn list(items: Value) -> Value {
        json!({"type": "array", "items": items})
    }

    fn map(values: Value) -> Value {
        json!({"type": "object", "additionalProperties": values})
    }

    fn at_most(mut schema: Value, limit: &str, most: u64) -> Value {
        schema[limit] = most.into();
        schema
    }

    fn named() -> Value {
        json!({"type": "object", "required": ["required"], "properties": {"required": of("string"), "optional": of("string")}})
    }

    #[test]
    fn loops_cost_as_often_as_there_can_be_items() {
        let all = "self.all(x, true)";
        for (kind, of_list, of_map) in [
            ("number", 4_718_591, 1_348_169),
            ("string", 3_145_727, 1_179_647),
            ("boolean", 1_887_437, 943_718),
            ("int-or-string", 4_718_591, 1_348_169),
            ("duration", 2_359_295, 1_048_577),
            ("date", 725_936, 524_288),
            ("date-time", 428_963, 349_526),
        ] {
            check(list(of(kind)), all, of_list);
            check(map(of(kind)), all, of_map);
        }
        check(list(list(of("number"))), all, 3_145_727);
        check(list(named()), all, 555_128);
        check(map(named()), all, 428_963);
        check(at_most(list(of("number")), "maxItems", 10), all, 32);
        check(at_most(map(of("string")), "maxProperties", 3), all, 11);
        let ten = || at_most(list(of("number")), "maxItems", 10);
        check(ten(), "self.all(x, self.all(y, true))", 352);
        check(ten(), "self.all(x, self.all(y, self.all(z, true)))", 3552);
        check(list(of("number")), "self.all(x, x == 0.0)", 6_291_454);
        check(list(map(of("number"))), "self.all(x, x.y == 25.2)", 6_291_452);
        check(list(map(named())), "self.all(x, x['y'].required == 'z')", 7_340_027);
        check(map(of("string")), "self.all(x, x.contains(self[x]))", 2_752_507);
    }

    #[test]
    fn steps_cost_what_they_look_at() {
        let ten = || at_most(of("string"), "maxLength", 10);
        for (rule, unbounded, bounded) in [
            ("self.contains('test')", 314_574, 5),
            ("self.startsWith('test')", 2, 2),
            ("self.matches('x')", 314_574, 6),
            ("self.matches('')", 1, 1),
            ("''.matches('(((((((((())))))))))[0-9]')", 7, 7),
            ("self.find('[0-9]+') == ''", 629_147, 11),
            ("self.lowerAscii() == 'lower!'", 314_575, 6),
            ("size(self + 'hello') > size('hello')", 314_578, 9),
            ("self == 'x'", 2, 2),
        ] {
            check(of("string"), rule, unbounded);
            check(ten(), rule, bounded);
        }
        check(at_most(of("string"), "maxLength", 0), "self == 'x'", 1);
        check(list(of("number")), "self[1] == 0.0", 2);
        check(list(of("string")), "self[1] == self[1]", 314_577);
        check(list(of("int-or-string")), "self[0] == 5", 3);
        check(list(named()), "self[0] == null", 2);
        check(list(map(of("number"))), "self[0].x > 2.0", 4);
        check(map(of("integer")), "oldSelf.size() == self.size()", 5);
        check(map(of("duration")), "self['c'] == self['d']", 8);
        check(map(of("date-time")), "self['a'] == self['b']", 8);
        check(list(of("string")), "self.join(' ') == 'aa bb'", 329_853_068_905);
        check(list(of("string")), "self.isSorted() == true", 329_854_432_052);
        check(at_most(list(ten()), "maxItems", 10), "self.isSorted() == true", 52);
        let texts = json!({"type": "object", "properties": {
            "str": of("string"), "before": at_most(of("string"), "maxLength", 2), "after": at_most(of("string"), "maxLength", 4),
        }});
        check(texts.clone(), "self.str.replace(self.before, self.after) == 'does not matter'", 629_154);
        check(texts.clone(), "self.str.split(self.before) == []", 629_160);
        check(texts, "has(self.str) == has(self.before)", 3);
        let words = json!({"type": "string", "enum": ["A", "B", "C", "LongValue"]});
        check(words.clone(), "self.contains('A')", 2);
        check(at_most(words, "maxLength", 1000), "self.contains('A')", 401);
    }
}
