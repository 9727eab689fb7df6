//! A policy's rules on one request with one parameter: which are broken, and what is to be said. Pure.

use std::collections::HashMap;

use serde_json::Value as Json;

use super::definition::{Expression, Policy, Rule};
use crate::admission::request::Facts;
use crate::cel::{Budget, EvalError, OBJECT_LIMIT, Program, Value, from_json};

/// Longest message that an expression may make, in bytes, as in the reference.
const LONGEST_MESSAGE: usize = 5 << 10;

/// What a policy is evaluated on.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The request and its objects.
    pub facts: &'a Facts,
    /// The namespace of the object; null for what is in none.
    pub namespace: &'a Json,
    /// The parameter; null for none.
    pub params: &'a Json,
}

/// A rule that is broken, or that could not be evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What to say.
    pub message: String,
    /// The reason of the refusal.
    pub reason: String,
    /// The write is refused whatever the binding says: the policy itself is at fault.
    pub whatever: bool,
}

/// The broken rules, in their order.
pub fn evaluate(policy: &Policy, input: &Input<'_>) -> Vec<Verdict> {
    let Input { facts: Facts { object, old, request }, namespace, params } = input;
    let facts = [
        ("object", object),
        ("oldObject", old),
        ("request", request),
        ("namespaceObject", *namespace),
        ("params", *params),
    ];
    match policy.conditions.hold(&facts) {
        Ok(true) => {}
        Ok(false) => return Vec::new(),
        Err(why) => return unable(policy, why).into_iter().collect(),
    }
    let mut budget = Budget::new(OBJECT_LIMIT);
    let mut variables: Vec<(&str, Value)> = facts.iter().map(|(name, value)| (*name, from_json(value))).collect();
    variables.push(("variables", Value::from(HashMap::<String, Value>::new())));
    let mut made: HashMap<String, Value> = HashMap::new();
    for (name, expression) in &policy.variables {
        // One that has no value is missed only by those that use it.
        let value = run(expression, |program| program.evaluate(&variables, &mut budget));
        if let Ok(value) = value {
            made.insert(name.clone(), value);
            if let Some(last) = variables.last_mut() {
                last.1 = Value::from(made.clone());
            }
        }
    }
    let mut verdicts = Vec::new();
    for rule in &policy.rules {
        match run(&rule.holds, |program| program.test(&variables, &mut budget)) {
            Ok(true) => {}
            Ok(false) => {
                let message = message(rule, &variables, &mut budget);
                verdicts.push(Verdict { message, reason: rule.reason.clone(), whatever: false });
            }
            Err(why) => verdicts.extend(unable(policy, why)),
        }
    }
    for (key, expression) in &policy.annotations {
        match run(expression, |program| program.evaluate(&variables, &mut budget)) {
            Ok(Value::Null) => {}
            Ok(Value::String(text)) => {
                let text = text.as_str();
                tracing::info!(target: "supple::audit", policy = policy.name, key, text, "audit annotation");
            }
            Ok(_) => {
                let why = format!("valueExpression '{}' resulted in unsupported return type", expression.source);
                verdicts.push(Verdict { message: why, reason: "Invalid".to_owned(), whatever: true });
            }
            Err(why) => verdicts.extend(unable(policy, why).map(|it| Verdict { whatever: true, ..it })),
        }
    }
    verdicts
}

/// What follows from an expression that has no outcome.
fn unable(policy: &Policy, message: String) -> Option<Verdict> {
    if policy.fails_open {
        tracing::warn!(policy = policy.name, message, "a policy cannot be evaluated and is passed over");
        return None;
    }
    Some(Verdict { message, reason: "Invalid".to_owned(), whatever: false })
}

/// Runs an expression; an error says which.
fn run<T>(expression: &Expression, run: impl FnOnce(&Program) -> Result<T, EvalError>) -> Result<T, String> {
    let Expression { source, program } = expression;
    match program {
        Ok(program) => run(program).map_err(|error| format!("expression '{source}' resulted in error: {error}")),
        Err(error) => Err(error.to_string()),
    }
}

/// What a broken rule says: in its own words, in fixed ones, or itself.
fn message(rule: &Rule, variables: &[(&str, Value)], budget: &mut Budget) -> String {
    let said = rule.says.as_ref().and_then(|says| run(says, |program| program.text(variables, budget)).ok());
    let said = said.as_deref().map(str::trim).filter(|it| it.len() <= LONGEST_MESSAGE && !it.contains('\n'));
    match (said, rule.message.as_str()) {
        (Some(said), _) if !said.is_empty() => said.to_owned(),
        (_, "") => format!("failed expression: {}", rule.holds.source),
        (_, fixed) => fixed.to_owned(),
    }
}
