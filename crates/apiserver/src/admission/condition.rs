//! Match conditions: what else must hold, in the expression language, for a webhook or a policy to be asked. Pure.

use k8s_openapi::api::admissionregistration::v1::MatchCondition;
use serde_json::Value;

use crate::cel::{Budget, CompileError, MATCH_CONDITIONS_LIMIT, Program};

/// What a webhook's condition may speak of. There is nobody to authorise here, so there is no `authorizer`.
pub const WEBHOOK: &[&str] = &["object", "oldObject", "request"];

/// What a policy's condition may speak of.
pub const POLICY: &[&str] = &["object", "oldObject", "request", "namespaceObject", "params"];

/// The conditions of a webhook or of a policy.
#[derive(Debug, Default)]
pub struct Conditions(Vec<Condition>);

#[derive(Debug)]
struct Condition {
    source: String,
    program: Result<Program, CompileError>,
}

impl Conditions {
    /// The conditions of a configuration, which may use `variables`. One that does not compile, which validation refuses,
    /// cannot be evaluated.
    pub fn new(conditions: &[MatchCondition], variables: &[&str]) -> Self {
        let compiled = conditions.iter().map(|condition| {
            let source = condition.expression.trim().to_owned();
            Condition { program: Program::condition(&source, variables), source }
        });
        Self(compiled.collect())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all hold: one that does not hold decides, whatever is wrong with others.
    ///
    /// # Errors
    /// Why those that do not fail could not all be evaluated; the failure policy decides.
    pub fn hold(&self, facts: &[(&str, &Value)]) -> Result<bool, String> {
        let mut budget = Budget::new(MATCH_CONDITIONS_LIMIT);
        let mut wrong = Vec::new();
        for Condition { source, program } in &self.0 {
            let outcome = match program {
                Ok(program) => program.test_json(facts, &mut budget).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            match outcome {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) => wrong.push(format!("expression '{source}' resulted in error: {error}")),
            }
        }
        if wrong.is_empty() { Ok(true) } else { Err(supple_resize::field::join(&wrong)) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(sources: &[&str], expected: Result<bool, &str>) {
        let conditions: Vec<MatchCondition> = sources
            .iter()
            .map(|source| MatchCondition { name: "c".to_owned(), expression: (*source).to_owned() })
            .collect();
        let object = json!({"metadata": {"name": "a", "labels": {"x": "y"}}, "spec": {"replicas": 3}});
        let request = json!({"operation": "CREATE", "userInfo": {"username": "supple"}});
        let facts = [("object", &object), ("oldObject", &Value::Null), ("request", &request)];
        let found = Conditions::new(&conditions, WEBHOOK).hold(&facts);
        match expected {
            Ok(expected) => assert_eq!(found, Ok(expected)),
            Err(part) => assert!(found.as_ref().is_err_and(|error| error.contains(part)), "{found:?}"),
        }
    }

    #[test]
    fn conditions_hold_or_do_not_or_cannot_be_told() {
        check(&[], Ok(true));
        check(&["object.spec.replicas > 2", " request.operation == 'CREATE' "], Ok(true));
        check(&["oldObject == null"], Ok(true));
        check(&["object.metadata.labels['x'] == 'z'"], Ok(false));
        check(&["object.spec.absent == 1"], Err("expression 'object.spec.absent == 1' resulted in error: no such key"));
        // One that does not hold decides, also after one that cannot be told.
        check(&["object.spec.absent == 1", "request.userInfo.username == 'other'"], Ok(false));
        check(&["authorizer.group('').check('get').allowed()"], Err("compilation failed"));
    }
}
