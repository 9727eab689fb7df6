//! What is checked of a program before it runs: that it can be walked, that every name in it is declared, that its
//! outcome can be of the type that is asked for.

use kube_cel::cel::IdedExpr;
use kube_cel::cel::common::ast::{EntryExpr, Expr, LiteralValue, operators};

use super::{CompileError, MAX_DEPTH, call};

/// Names that are types, for comparisons with `type()`.
const TYPES: [&str; 12] =
    ["bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type", "timestamp", "duration"];

/// Functions and macros of our own.
pub(super) const OWN_FUNCTIONS: [&str; 10] =
    ["type", "dyn", "bool", "optMap", "optFlatMap", "bind", "transformList", "transformMap", "exists_one", "existsOne"];

/// Most brackets that may be open at once; a little more than the parser follows.
const MAX_OPEN: usize = 100;

/// Refuses at a glance what the parser would refuse after a long time: its effort grows with the square of the nesting.
pub(super) fn nesting(source: &str) -> Result<(), CompileError> {
    let (mut open, mut quote, mut escaped) = (0_usize, None, false);
    for byte in source.bytes() {
        match (quote, byte) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), b'\\') => escaped = true,
            (Some(it), _) if it == byte => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'(' | b'[' | b'{') => open += 1,
            (None, b')' | b']' | b'}') => open = open.saturating_sub(1),
            (None, _) => {}
        }
        if open > MAX_OPEN {
            return Err(CompileError::TooDeep);
        }
    }
    Ok(())
}

/// The variables that a program reads.
pub(super) fn names(root: &IdedExpr, source: &str, variables: &[&str]) -> Result<Vec<String>, CompileError> {
    let mut names = Names { source, variables, bound: Vec::new(), used: Vec::new() };
    names.walk(root, 0)?;
    Ok(names.used)
}

struct Names<'a> {
    source: &'a str,
    variables: &'a [&'a str],
    bound: Vec<&'a str>,
    used: Vec<String>,
}

impl<'a> Names<'a> {
    fn walk(&mut self, expr: &'a IdedExpr, depth: usize) -> Result<(), CompileError> {
        if depth > MAX_DEPTH {
            return Err(CompileError::TooDeep);
        }
        let next = depth + 1;
        match &expr.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.ident(name),
            Expr::Select(select) => self.walk(&select.operand, next),
            Expr::List(list) => list.elements.iter().try_for_each(|it| self.walk(it, next)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(it) => self.walk(&it.key, next).and_then(|()| self.walk(&it.value, next)),
                EntryExpr::StructField(it) => self.walk(&it.value, next),
            }),
            Expr::Struct(it) => Err(self.undeclared(&it.type_name)),
            Expr::Comprehension(it) => {
                self.walk(&it.iter_range, next)?;
                self.walk(&it.accu_init, next)?;
                let before = self.bound.len();
                self.bound.extend([it.iter_var.as_str(), it.accu_var.as_str()]);
                let inside =
                    [&it.loop_cond, &it.loop_step, &it.result].into_iter().try_for_each(|it| self.walk(it, next));
                self.bound.truncate(before);
                inside
            }
            Expr::Call(it) => {
                let binds = binds(&it.func_name, it.args.len());
                let namespace = it.target.as_deref().and_then(|target| match &target.expr {
                    Expr::Ident(name) if !self.is_known(name) => Some(name.as_str()),
                    _ => None,
                });
                if let (Some(target), None) = (&it.target, namespace) {
                    self.walk(target, next)?;
                }
                let is_operator = it.func_name.starts_with(['_', '!', '-', '@']);
                if !is_operator
                    && !OWN_FUNCTIONS.contains(&it.func_name.as_str())
                    && binds == 0
                    && !call::exists(&it.func_name, namespace)
                {
                    return Err(match namespace {
                        Some(namespace) => self.undeclared(namespace),
                        None => self.undeclared(&it.func_name),
                    });
                }
                let before = self.bound.len();
                for arg in it.args.iter().take(binds) {
                    let Expr::Ident(name) = &arg.expr else {
                        return Err(CompileError::Syntax(self.point("argument must be a simple name", "")));
                    };
                    self.bound.push(name);
                }
                let inside = it.args.iter().skip(binds).try_for_each(|arg| self.walk(arg, next));
                self.bound.truncate(before);
                inside
            }
        }
    }

    fn is_known(&self, name: &str) -> bool {
        self.bound.contains(&name) || self.variables.contains(&name)
    }

    fn ident(&mut self, name: &str) -> Result<(), CompileError> {
        if self.bound.contains(&name) || TYPES.contains(&name) {
            return Ok(());
        }
        if !self.variables.contains(&name) {
            return Err(self.undeclared(name));
        }
        if !self.used.iter().any(|it| it == name) {
            self.used.push(name.to_owned());
        }
        Ok(())
    }

    fn undeclared(&self, name: &str) -> CompileError {
        CompileError::Undeclared(self.point(&format!("undeclared reference to '{name}' (in container '')"), name))
    }

    fn point(&self, what: &str, name: &str) -> String {
        point(self.source, what, name)
    }
}

/// An error with the place where `name` stands first in the source, as the reference prints it.
pub(crate) fn point(source: &str, what: &str, name: &str) -> String {
    let at = word(source, name).unwrap_or(0);
    let before = &source[..at];
    let line = before.matches('\n').count();
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
    let text = source.lines().nth(line).unwrap_or_default();
    format!("ERROR: <input>:{}:{}: {what}\n | {text}\n | {}^", line + 1, column + 1, ".".repeat(column))
}

/// Where a word stands first.
fn word(source: &str, name: &str) -> Option<usize> {
    let part = |it: char| it.is_alphanumeric() || it == '_';
    source.match_indices(name).map(|(at, _)| at).find(|at| {
        let before = source[..*at].chars().next_back();
        let after = source[at + name.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

/// How many of its first arguments a macro of our own binds as names.
pub(crate) fn binds(name: &str, arguments: usize) -> usize {
    match (name, arguments) {
        ("optMap" | "optFlatMap", 2) | ("bind", 3) => 1,
        ("all" | "exists" | "exists_one" | "existsOne" | "transformList" | "transformMap", 3)
        | ("transformList" | "transformMap", 4) => 2,
        _ => 0,
    }
}

/// A type that an outcome is asked to be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A truth value.
    Bool,
    /// A text.
    Text,
    Other,
}

/// Whether an expression can never have an outcome of this type. What cannot be said before it runs is not said.
pub(super) fn never(expr: &IdedExpr, wanted: Outcome) -> bool {
    outcome(expr).is_some_and(|it| it != wanted)
}

fn outcome(expr: &IdedExpr) -> Option<Outcome> {
    use operators as op;
    match &expr.expr {
        Expr::Literal(LiteralValue::Boolean(_)) => Some(Outcome::Bool),
        Expr::Literal(LiteralValue::String(_)) => Some(Outcome::Text),
        Expr::Literal(_) | Expr::List(_) | Expr::Map(_) => Some(Outcome::Other),
        Expr::Select(it) if it.test => Some(Outcome::Bool),
        Expr::Comprehension(it) => match outcome(&it.accu_init) {
            Some(Outcome::Bool) => Some(Outcome::Bool),
            _ if matches!(it.accu_init.expr, Expr::List(_)) => Some(Outcome::Other),
            _ => Some(Outcome::Bool),
        },
        Expr::Call(it) => match it.func_name.as_str() {
            op::LOGICAL_AND
            | op::LOGICAL_OR
            | op::LOGICAL_NOT
            | op::EQUALS
            | op::NOT_EQUALS
            | op::GREATER
            | op::GREATER_EQUALS
            | op::LESS
            | op::LESS_EQUALS
            | op::IN => Some(Outcome::Bool),
            "matches" | "startsWith" | "endsWith" | "contains" | "hasValue" | "isQuantity" => Some(Outcome::Bool),
            op::SUBSTRACT | op::MULTIPLY | op::DIVIDE | op::MODULO | op::NEGATE => Some(Outcome::Other),
            "size" | "int" | "uint" | "double" | "bytes" | "timestamp" | "duration" | "quantity" => {
                Some(Outcome::Other)
            }
            "string" | "lowerAscii" | "upperAscii" | "format" | "join" | "replace" | "substring" | "trim" => {
                Some(Outcome::Text)
            }
            op::ADD => it.args.iter().find_map(outcome),
            op::CONDITIONAL => it.args.get(1).and_then(outcome),
            _ => None,
        },
        _ => None,
    }
}
