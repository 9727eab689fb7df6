//! The Common Expression Language over JSON: rules of custom resources, match conditions of webhooks. A program is
//! compiled once, its variables are arguments, and every evaluation has a [`Budget`].
//!
//! ```text
//! source ─▶ Program::compile ─▶ evaluate(variables, budget) ─▶ bool · text · EvalError
//!             │ parse (cel)        │ eval     operators, fields, loops: ours, each step paid for
//!             └ check: names       └ call     every other function: the libraries of cel and kube-cel
//! ```
//!
//! The parser and the function libraries are those of `cel` and `kube-cel`. The steps between are ours: the
//! interpreter that comes with them copies the whole subtree at each `self.field` and knows no end, and what runs here
//! was written by strangers.

mod call;
mod check;
mod eval;
mod value;

use kube_cel::cel;
use serde_json::Value as Json;

use eval::{Evaluator, Scope};

pub use cel::Value;
pub(crate) use check::{binds, point};
pub use value::{bytes, duration, from_json, key, list, map, optional, timestamp};

/// Longest source that is compiled, in bytes.
pub const MAX_SOURCE: usize = 16 << 10;

/// Deepest nesting of a program that is run; what the reference's parser allows.
pub const MAX_DEPTH: usize = 250;

/// Stack for the parser, in bytes; only what is used is ever touched.
const PARSER_STACK: usize = 64 << 20;

/// What one evaluation may cost in the reference (`PerCallLimit`): about one a step, and one for each ten characters or
/// items that a function looks at.
pub const CALL_LIMIT: u64 = 1_000_000;

/// What all rules of one object may cost together in the reference (`RuntimeCELCostBudget`).
pub const OBJECT_LIMIT: u64 = 10_000_000;

/// What all match conditions of one webhook may cost together in the reference.
pub const MATCH_CONDITIONS_LIMIT: u64 = CALL_LIMIT / 4;

/// What evaluations may still cost. Steps are counted rather than time, so that the same rule on the same object always
/// ends the same way, however loaded the machine is.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    left: u64,
}

impl Budget {
    /// A budget of this many steps.
    pub const fn new(steps: u64) -> Self {
        Self { left: steps }
    }

    /// What is left.
    pub const fn left(&self) -> u64 {
        self.left
    }

    fn pay(&mut self, steps: u64) -> Result<(), EvalError> {
        match self.left.checked_sub(steps) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = 0;
                Err(EvalError::TooCostly)
            }
        }
    }
}

/// Why a source is no program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// It is longer than [`MAX_SOURCE`].
    #[error("compilation failed: expression has {0} bytes, at most {MAX_SOURCE} are compiled: split the rule")]
    TooLong(usize),
    /// It is nested deeper than [`MAX_DEPTH`].
    #[error("compilation failed: expression is nested deeper than {MAX_DEPTH} levels: split the rule")]
    TooDeep,
    /// It cannot be parsed; the text points at the place.
    #[error("compilation failed: {0}")]
    Syntax(String),
    /// It uses a variable or a function that is not there; the text points at the place.
    #[error("compilation failed: {0}")]
    Undeclared(String),
    /// It could not be looked at; the text says why.
    #[error("compilation failed: {0}")]
    Unable(String),
    /// Its outcome cannot be of the type that is asked for.
    #[error("cel expression must evaluate to a {0}")]
    WrongType(&'static str),
}

/// Why an evaluation has no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// The budget is used up.
    #[error("operation cancelled: actual cost limit exceeded")]
    TooCostly,
    /// A field or key that is not there was read without `has()` or `?`.
    #[error("no such key: {0}")]
    NoSuchKey(String),
    /// A list was read beyond its end.
    #[error("index out of bounds: {0}")]
    OutOfBounds(i64),
    /// An operator or function has no meaning for these values.
    #[error("no such overload")]
    NoSuchOverload,
    /// An integer was divided by zero.
    #[error("{0} by zero")]
    ByZero(&'static str),
    /// The outcome of a calculation does not fit its type.
    #[error("integer overflow")]
    Overflow,
    /// A variable was not given.
    #[error("no such attribute: {0}")]
    NoVariable(String),
    /// The outcome is of another type than was asked for.
    #[error("the expression evaluated to a {found}, not to a {wanted}")]
    WrongType {
        /// What was asked for.
        wanted: &'static str,
        /// What came out.
        found: String,
    },
    /// A function refused its arguments.
    #[error("{0}")]
    Function(String),
}

/// A compiled expression. It can be shared between threads and evaluated any number of times.
#[derive(Debug)]
pub struct Program {
    root: cel::IdedExpr,
    variables: Vec<String>,
}

impl Program {
    /// Compiles `source`, which may use these variables and no others.
    ///
    /// # Errors
    /// [`CompileError`], in the words of the reference.
    pub fn compile(source: &str, variables: &[&str]) -> Result<Self, CompileError> {
        if source.len() > MAX_SOURCE {
            return Err(CompileError::TooLong(source.len()));
        }
        check::nesting(source)?;
        // The parser goes a long way down for each bracket, further than the stack of a worker reaches in a debug build.
        // A program is compiled once, so a thread for it costs nothing.
        std::thread::scope(|scope| {
            let parse = || Self::parse(source, variables);
            let thread = std::thread::Builder::new().name("cel".to_owned()).stack_size(PARSER_STACK);
            let parsed = thread.spawn_scoped(scope, parse).map_err(|error| CompileError::Unable(error.to_string()))?;
            parsed.join().unwrap_or_else(|_| Err(CompileError::Unable("the parser failed on it".to_owned())))
        })
    }

    fn parse(source: &str, variables: &[&str]) -> Result<Self, CompileError> {
        let parser = cel::parser::Parser::new().enable_optional_syntax(true);
        let root = parser.parse(source).map_err(|errors| CompileError::Syntax(errors.to_string()))?;
        let used = check::names(&root, source, variables)?;
        Ok(Self { root, variables: used })
    }

    /// Compiles `source`, whose outcome must be able to be a truth value.
    ///
    /// # Errors
    /// [`CompileError`], in the words of the reference.
    pub fn condition(source: &str, variables: &[&str]) -> Result<Self, CompileError> {
        let program = Self::compile(source, variables)?;
        if check::never(&program.root, check::Outcome::Bool) {
            return Err(CompileError::WrongType("bool"));
        }
        Ok(program)
    }

    /// Compiles `source`, whose outcome must be able to be a text.
    ///
    /// # Errors
    /// [`CompileError`], in the words of the reference.
    pub fn message(source: &str, variables: &[&str]) -> Result<Self, CompileError> {
        let program = Self::compile(source, variables)?;
        if check::never(&program.root, check::Outcome::Text) {
            return Err(CompileError::WrongType("string"));
        }
        Ok(program)
    }

    /// Whether the program reads this variable.
    pub fn uses(&self, variable: &str) -> bool {
        self.variables.iter().any(|it| it == variable)
    }

    /// The expression, for checks against a schema.
    pub(crate) fn root(&self) -> &cel::IdedExpr {
        &self.root
    }

    /// Evaluates the program. Variables that are not given count as absent.
    ///
    /// # Errors
    /// [`EvalError`].
    pub fn evaluate(&self, variables: &[(&str, Value)], budget: &mut Budget) -> Result<Value, EvalError> {
        let scope = Scope::root(variables);
        Evaluator::new(budget).of(&self.root, &scope)
    }

    /// Evaluates the program to a truth value.
    ///
    /// # Errors
    /// [`EvalError`]; also for any other outcome.
    pub fn test(&self, variables: &[(&str, Value)], budget: &mut Budget) -> Result<bool, EvalError> {
        match self.evaluate(variables, budget)? {
            Value::Bool(outcome) => Ok(outcome),
            other => Err(wrong_type("bool", &other)),
        }
    }

    /// Evaluates the program to a text.
    ///
    /// # Errors
    /// [`EvalError`]; also for any other outcome.
    pub fn text(&self, variables: &[(&str, Value)], budget: &mut Budget) -> Result<String, EvalError> {
        match self.evaluate(variables, budget)? {
            Value::String(text) => Ok(text.as_str().to_owned()),
            other => Err(wrong_type("string", &other)),
        }
    }

    /// [`Program::test`] over plain JSON, without a schema: what match conditions see.
    ///
    /// # Errors
    /// [`EvalError`].
    pub fn test_json(&self, variables: &[(&str, &Json)], budget: &mut Budget) -> Result<bool, EvalError> {
        let variables: Vec<(&str, Value)> =
            variables.iter().filter(|(name, _)| self.uses(name)).map(|(name, it)| (*name, from_json(it))).collect();
        self.test(&variables, budget)
    }
}

fn wrong_type(wanted: &'static str, found: &Value) -> EvalError {
    EvalError::WrongType { wanted, found: value::type_name(found).to_owned() }
}

#[cfg(test)]
mod tests;
