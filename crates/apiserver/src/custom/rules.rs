//! `x-kubernetes-validations`: rules in the expression language that an object, or a change of one, must keep.

use serde_json::Value;
use supple_resize::field::{FieldError, Path};

use super::schema::{Kind, Schema};
use super::validate::counterpart;
use crate::cel::{self, Budget, CALL_LIMIT, EvalError, OBJECT_LIMIT, Program};

/// A rule, compiled.
#[derive(Debug)]
pub struct Rule {
    source: String,
    program: Program,
    message: String,
    message_expression: Option<Program>,
    reason: Reason,
    field_path: Vec<String>,
    /// `oldSelf` may be absent.
    optional_old: bool,
    is_transition: bool,
}

/// `reason` of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Invalid,
    Forbidden,
    Required,
    Duplicate,
}

/// What is wrong with the source of a rule, and in which of its fields.
#[derive(Clone, Debug)]
pub struct RuleError {
    /// `rule`, `messageExpression`, `fieldPath`, `reason`.
    pub field: &'static str,
    /// The text after the value.
    pub detail: String,
}

impl Rule {
    /// Compiles a rule.
    ///
    /// # Errors
    /// [`RuleError`] for what the reference refuses in a definition.
    pub fn read(source: &Value) -> Result<Self, RuleError> {
        let text = |name: &str| source.get(name).and_then(Value::as_str).unwrap_or_default();
        let wrong = |field, error: &dyn ToString| RuleError { field, detail: error.to_string() };
        let rule = text("rule");
        let variables = ["self", "oldSelf"];
        let program = Program::condition(rule, &variables).map_err(|error| wrong("rule", &error))?;
        let message_expression = match text("messageExpression") {
            "" => None,
            given => Some(Program::message(given, &variables).map_err(|error| wrong("messageExpression", &error))?),
        };
        let optional_old = source.get("optionalOldSelf").and_then(Value::as_bool).unwrap_or_default();
        let is_transition = program.uses("oldSelf") || message_expression.as_ref().is_some_and(|it| it.uses("oldSelf"));
        let reason = match text("reason") {
            "" | "FieldValueInvalid" => Reason::Invalid,
            "FieldValueForbidden" => Reason::Forbidden,
            "FieldValueRequired" => Reason::Required,
            "FieldValueDuplicate" => Reason::Duplicate,
            other => return Err(wrong("reason", &other)),
        };
        let field_path = match text("fieldPath") {
            "" => Vec::new(),
            given => steps(given).ok_or_else(|| wrong("fieldPath", &given))?,
        };
        Ok(Self {
            source: rule.trim().to_owned(),
            program,
            message: text("message").trim().to_owned(),
            message_expression,
            reason,
            field_path,
            optional_old,
            is_transition,
        })
    }

    /// Whether the rule is about a change rather than about a value.
    pub fn is_transition(&self) -> bool {
        self.is_transition && !self.optional_old
    }

    /// The expression.
    pub fn program(&self) -> &kube_cel::cel::IdedExpr {
        self.program.root()
    }

    /// The expression that makes its message, if there is one.
    pub fn message_program(&self) -> Option<&kube_cel::cel::IdedExpr> {
        self.message_expression.as_ref().map(Program::root)
    }

    /// Whether `oldSelf` is an optional value.
    pub fn has_optional_old(&self) -> bool {
        self.optional_old
    }

    /// The steps of `fieldPath`.
    pub fn field_path(&self) -> &[String] {
        &self.field_path
    }

    /// What stands in an error about the rule.
    fn shown(&self) -> &str {
        if self.message.is_empty() { &self.source } else { &self.message }
    }
}

/// The names in `.spec.containers['a.b']`; `None` for what is no such path.
pub fn steps(path: &str) -> Option<Vec<String>> {
    let mut rest = path;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        let step;
        if let Some(quoted) = rest.strip_prefix("['") {
            (step, rest) = quoted.split_once("']")?;
        } else {
            let named = rest.strip_prefix('.')?;
            let end = named.find(['.', '[']).unwrap_or(named.len());
            (step, rest) = named.split_at(end);
        }
        if step.is_empty() || step.contains(['*', '$', '?', '(', ']']) {
            return None;
        }
        steps.push(step.to_owned());
    }
    (!steps.is_empty()).then_some(steps)
}

/// What is wrong with an object (or with the change from `old`) by its rules. What has not changed is not looked at
/// again.
pub fn check(schema: &Schema, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    if !schema.has_rules {
        return Vec::new();
    }
    let mut walk = Walk { budget: Budget::new(OBJECT_LIMIT), errors: Vec::new(), over: false };
    walk.value(schema, new, old, &Path::TOP);
    walk.errors
}

struct Walk {
    budget: Budget,
    errors: Vec<FieldError>,
    over: bool,
}

impl Walk {
    fn value(&mut self, schema: &Schema, new: &Value, old: Option<&Value>, at: &Path<'_>) {
        if !schema.has_rules || self.over {
            return;
        }
        let unchanged = old == Some(new);
        if !schema.rules.is_empty() && !new.is_null() {
            self.rules(schema, new, old, unchanged, at);
        }
        match new {
            Value::Object(fields) => {
                for (name, value) in fields {
                    if let Some(schema) = schema.field(name) {
                        self.value(schema, value, old.and_then(|it| it.get(name)), &at.child(name));
                    }
                }
            }
            Value::Array(items) => {
                if let Some(of) = schema.items.as_deref() {
                    for (index, item) in items.iter().enumerate() {
                        let old = counterpart(&schema.list, old, item);
                        self.value(of, item, old, &at.index(index));
                    }
                }
            }
            _ => {}
        }
    }

    fn rules(&mut self, schema: &Schema, new: &Value, old: Option<&Value>, unchanged: bool, at: &Path<'_>) {
        let this = bind(schema, new);
        let before = old.map(|old| bind(schema, old));
        let type_name = schema.type_name();
        for rule in &schema.rules {
            if rule.is_transition() && old.is_none() || unchanged && !rule.is_transition {
                continue;
            }
            let mut variables = vec![("self", this.clone())];
            if rule.optional_old {
                variables.push(("oldSelf", cel::optional(before.clone())));
            } else if let Some(before) = &before {
                variables.push(("oldSelf", before.clone()));
            }
            let whole = self.budget.left();
            let mut budget = Budget::new(whole.min(CALL_LIMIT));
            let granted = budget.left();
            let outcome = rule.program.test(&variables, &mut budget);
            self.budget = Budget::new(whole - (granted - budget.left()));
            match outcome {
                Ok(true) => {}
                Ok(false) => {
                    let message = self.message(rule, &variables);
                    let error = refusal(rule, type_name, at, message);
                    self.errors.push(error);
                }
                Err(EvalError::TooCostly) => {
                    let why = if granted < CALL_LIMIT {
                        "validation failed due to running out of cost budget, no further validation rules will be run"
                            .to_owned()
                    } else {
                        format!(
                            "'{}': no further validation rules will be run due to call cost exceeds limit for rule: {}",
                            EvalError::TooCostly,
                            rule.shown()
                        )
                    };
                    self.errors.push(at.invalid(type_name, why));
                    self.over = true;
                    return;
                }
                Err(EvalError::NoSuchOverload) => {
                    let why = format!(
                        "'{}': call arguments did not match a supported operator, function or macro signature for rule: {}",
                        EvalError::NoSuchOverload,
                        rule.shown()
                    );
                    self.errors.push(at.invalid(type_name, why));
                }
                Err(error) => {
                    self.errors.push(at.invalid(type_name, format!("{error} evaluating rule: {}", rule.shown())));
                }
            }
        }
    }

    /// The message of a rule that does not hold: made for the object where the rule says how, unless that fails.
    fn message(&mut self, rule: &Rule, variables: &[(&str, cel::Value)]) -> String {
        let made = rule.message_expression.as_ref().and_then(|it| it.text(variables, &mut self.budget).ok());
        let made = made.map(|it| it.trim().to_owned()).filter(|it| !it.is_empty() && !it.contains('\n'));
        made.unwrap_or_else(|| match rule.message.as_str() {
            "" => format!("failed rule: {}", rule.source),
            given => given.to_owned(),
        })
    }
}

fn refusal(rule: &Rule, type_name: &'static str, at: &Path<'_>, message: String) -> FieldError {
    // Paths borrow their parents, so the steps are gone down one call at a time.
    fn below(rule: &Rule, type_name: &'static str, steps: &[String], at: &Path<'_>, message: String) -> FieldError {
        match steps {
            [step, rest @ ..] => below(rule, type_name, rest, &at.child(step), message),
            [] => match rule.reason {
                Reason::Invalid => at.invalid(type_name, message),
                Reason::Forbidden => at.forbidden(message),
                Reason::Required => at.required(message),
                Reason::Duplicate => at.duplicate(type_name),
            },
        }
    }
    below(rule, type_name, &rule.field_path, at, message)
}

/// A value as rules see it: texts of time are times, field names are written so that expressions can name them.
fn bind(schema: &Schema, value: &Value) -> cel::Value {
    match value {
        Value::String(text) if !schema.int_or_string => match schema.limits.format.as_str() {
            "date-time" | "datetime" => cel::timestamp(text),
            "date" => cel::timestamp(&format!("{text}T00:00:00Z")),
            "duration" => cel::duration(text),
            "byte" => cel::bytes(text),
            _ => None,
        }
        .unwrap_or_else(|| cel::from_json(value)),
        Value::Number(number) if schema.kind == Some(Kind::Number) => {
            number.as_f64().map_or_else(|| cel::from_json(value), cel::Value::Float)
        }
        Value::Array(items) => match &schema.items {
            Some(of) => cel::list(items.iter().map(|it| bind(of, it))),
            None => cel::from_json(value),
        },
        Value::Object(fields) => {
            let is_map = schema.is_map();
            let known = fields.iter().filter_map(|(name, value)| {
                let name_seen = if is_map { name.clone() } else { escape(name) };
                match schema.field(name) {
                    Some(schema) => Some((cel::key(&name_seen), bind(schema, value))),
                    // What no schema describes cannot be read by rules; but an embedded object's own fields can.
                    None if schema.preserve || !schema.properties.contains_key(name) => {
                        Some((cel::key(&name_seen), cel::from_json(value)))
                    }
                    None => None,
                }
            });
            cel::map(known)
        }
        _ => cel::from_json(value),
    }
}

/// Words that no name in an expression can be.
const RESERVED: [&str; 21] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "null",
    "package",
    "return",
    "true",
    "var",
    "void",
    "while",
];

/// A field name as expressions write it (`__dot__`, `__dash__`, `__namespace__`, …).
pub fn escape(name: &str) -> String {
    if RESERVED.contains(&name) {
        return format!("__{name}__");
    }
    name.replace("__", "__underscores__").replace('.', "__dot__").replace('-', "__dash__").replace('/', "__slash__")
}
