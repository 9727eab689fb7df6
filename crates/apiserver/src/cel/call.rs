//! Calls of functions that the libraries bring: strings, lists, sets, regular expressions, IP addresses, quantities,
//! versions, times. They are called by name with values, never with expressions, so that what they do stays a step.

use std::panic::{AssertUnwindSafe, catch_unwind};

use kube_cel::KubeCelExt;
use kube_cel::cel::common::ast::{CallExpr, Expr};
use kube_cel::cel::{Context, ExecutionError, IdedExpr, Value};

use super::EvalError;
use super::value::explain;

/// The names arguments are bound to for a call; no source can spell them.
const ARGUMENTS: [&str; 8] = ["@0", "@1", "@2", "@3", "@4", "@5", "@6", "@7"];
const TARGET: &str = "@target";

/// What a function is called on.
pub(super) enum Target<'a> {
    /// `value.name(…)`.
    Value(Value),
    /// `namespace.name(…)`, such as `math.greatest(…)`.
    Namespace(&'a str),
}

thread_local! {
    // The library's table of functions cannot be shared between threads.
    static LIBRARY: Context<'static> = Context::default().with_all();
}

/// Calls a function of the libraries.
pub(super) fn library(name: &str, target: Option<Target<'_>>, arguments: Vec<Value>) -> Result<Value, EvalError> {
    if arguments.len() > ARGUMENTS.len() {
        return Err(EvalError::NoSuchOverload);
    }
    outcome(name, target, arguments).map_err(explain)
}

/// Whether the libraries have a function of this name. There is no list of them; one that is called without anything
/// to work on says why it cannot.
pub(super) fn exists(name: &str, namespace: Option<&str>) -> bool {
    let target = namespace.map(Target::Namespace);
    !matches!(outcome(name, target, Vec::new()), Err(ExecutionError::UndeclaredReference(_)))
}

fn outcome(name: &str, target: Option<Target<'_>>, arguments: Vec<Value>) -> Result<Value, ExecutionError> {
    // A panic in a library, on values that anybody may send, must not be more than a failed rule.
    catch_unwind(AssertUnwindSafe(|| LIBRARY.with(|library| resolve(library, name, target, arguments))))
        .unwrap_or_else(|_| Err(ExecutionError::function_error(name, format!("{name} failed on these values"))))
}

fn resolve(
    library: &Context<'static>,
    name: &str,
    target: Option<Target<'_>>,
    arguments: Vec<Value>,
) -> Result<Value, ExecutionError> {
    let mut scope = library.new_inner_scope();
    let args = ARGUMENTS.iter().zip(arguments).map(|(name, value)| {
        scope.add_variable_from_value(*name, value);
        ident(name)
    });
    let args: Vec<IdedExpr> = args.collect();
    let target = target.map(|target| {
        Box::new(match target {
            Target::Value(value) => {
                scope.add_variable_from_value(TARGET, value);
                ident(TARGET)
            }
            Target::Namespace(name) => ident(name),
        })
    });
    let call = IdedExpr { id: 0, expr: Expr::Call(CallExpr { func_name: name.to_owned(), target, args }) };
    Value::resolve(&call, &scope)
}

fn ident(name: &str) -> IdedExpr {
    IdedExpr { id: 0, expr: Expr::Ident(name.to_owned()) }
}
