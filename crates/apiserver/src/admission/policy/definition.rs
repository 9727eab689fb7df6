//! Policies and bindings as they are configured, read and compiled once when one of them changes. Pure.

use k8s_openapi::api::admissionregistration::v1::{AuditAnnotation, MatchCondition, ParamKind, Validation, Variable};
use serde::Deserialize;
use serde_json::Value;

use crate::admission::condition::{Conditions, POLICY};
use crate::admission::matching::{Rules, Selection};
use crate::admission::request::Request;
use crate::cel::{CompileError, Program};
use crate::errors::ApiError;
use crate::kinds::{Resource, Rows};
use crate::metadata;
use crate::selector::SelectorError;
use crate::store::Store;

/// What the expressions of a policy may speak of.
pub const VARIABLES: &[&str] = &["object", "oldObject", "request", "namespaceObject", "params", "variables"];

/// A policy with its bindings.
#[derive(Debug)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// What it is about.
    pub constraints: Constraints,
    /// Whether a write passes when a rule cannot be evaluated (`failurePolicy: Ignore`).
    pub fails_open: bool,
    /// The kind of its parameters: `apiVersion` and `kind`.
    pub param_kind: Option<(String, String)>,
    /// What else must hold for it to be asked.
    pub conditions: Conditions,
    /// What its rules are made of, each of those before it.
    pub variables: Vec<(String, Expression)>,
    /// Its rules.
    pub rules: Vec<Rule>,
    /// What it has to say for an audit log.
    pub annotations: Vec<(String, Expression)>,
    /// Where it holds.
    pub bindings: Vec<Binding>,
}

/// An expression with its source.
#[derive(Debug)]
pub struct Expression {
    /// As it was written, without space around it.
    pub source: String,
    /// Compiled; validation refuses those that cannot be.
    pub program: Result<Program, CompileError>,
}

/// One rule of a policy.
#[derive(Debug)]
pub struct Rule {
    /// What must be true.
    pub holds: Expression,
    /// What to say otherwise.
    pub message: String,
    /// Says it better.
    pub says: Option<Expression>,
    /// The reason of the refusal.
    pub reason: String,
}

/// What becomes of a write that breaks a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is refused.
    Deny,
    /// Its author is warned.
    Warn,
    /// It is noted.
    Audit,
}

/// A binding of a policy.
#[derive(Debug)]
pub struct Binding {
    /// Its name.
    pub name: String,
    /// What becomes of a write that breaks a rule.
    pub actions: Vec<Action>,
    /// What it narrows the policy to.
    pub narrowed: Option<Constraints>,
    /// The parameters.
    pub params: Option<Params>,
}

/// The parameters of a binding (`paramRef`).
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Params {
    /// This one.
    #[serde(default)]
    pub name: String,
    /// In this namespace; empty: in that of the request.
    #[serde(default)]
    pub namespace: String,
    /// Or all of these.
    pub selector: Option<Value>,
    /// What if there is none: `Allow` or `Deny`.
    #[serde(default)]
    pub parameter_not_found_action: String,
}

/// Which requests (`MatchResources`).
#[derive(Debug)]
pub struct Constraints {
    rules: Rules,
    except: Rules,
    exact: bool,
    selection: Selection,
}

impl Constraints {
    fn of(given: &Value) -> Result<Self, String> {
        let rules = |field: &str| match given.get(field) {
            Some(rules) if !rules.is_null() => Rules::deserialize(rules).map_err(|error| error.to_string()),
            _ => Ok(Rules::default()),
        };
        let selector = |field: &str| given.get(field).cloned().unwrap_or_default();
        let selection = Selection::of(&selector("namespaceSelector"), &selector("objectSelector"));
        Ok(Self {
            rules: rules("resourceRules")?,
            except: rules("excludeResourceRules")?,
            exact: given.get("matchPolicy").and_then(Value::as_str) == Some("Exact"),
            selection: selection.map_err(|error: SelectorError| error.to_string())?,
        })
    }

    /// The version in which the request is to be seen, if it is meant. Without rules, all are.
    pub fn wants<'a>(&self, request: &Request<'a>, rows: &Rows) -> Option<&'a Resource> {
        if self.except.wants(request, rows, self.exact).is_some() {
            return None;
        }
        if self.rules.is_empty() { Some(request.target.resource) } else { self.rules.wants(request, rows, self.exact) }
    }

    /// Whether selectors let the request through.
    ///
    /// # Errors
    /// 404 for a namespace that is not there.
    pub fn covers(&self, store: &Store, request: &Request<'_>, object: Option<&Value>) -> Result<bool, ApiError> {
        self.selection.covers(store, request, object)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PolicySpec {
    #[serde(default)]
    audit_annotations: Vec<AuditAnnotation>,
    failure_policy: Option<String>,
    #[serde(default)]
    match_conditions: Vec<MatchCondition>,
    #[serde(default)]
    match_constraints: Value,
    param_kind: Option<ParamKind>,
    #[serde(default)]
    validations: Vec<Validation>,
    #[serde(default)]
    variables: Vec<Variable>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BindingSpec {
    #[serde(default)]
    policy_name: String,
    param_ref: Option<Params>,
    match_resources: Option<Value>,
    #[serde(default)]
    validation_actions: Vec<String>,
}

impl Expression {
    fn condition(source: &str) -> Self {
        Self { program: Program::condition(source, VARIABLES), source: source.trim().to_owned() }
    }

    fn text(source: &str) -> Self {
        Self { program: Program::message(source, VARIABLES), source: source.trim().to_owned() }
    }

    fn any(source: &str) -> Self {
        Self { program: Program::compile(source, VARIABLES), source: source.trim().to_owned() }
    }
}

impl Policy {
    /// The policies that are bound, in the order of their names. What cannot be read is left out and logged: it was
    /// validated when it was written.
    pub fn all<'a>(
        policies: impl Iterator<Item = &'a Value>,
        bindings: impl Iterator<Item = &'a Value> + Clone,
    ) -> Vec<Self> {
        let unreadable = |object: &Value, why: &str| {
            let name = metadata::text(object, "name");
            tracing::error!(name, why, "an admission policy or its binding cannot be read and is left out");
        };
        let mut read = Vec::new();
        for object in policies {
            let name = metadata::text(object, "name");
            let bound = bindings.clone().filter_map(|binding| match Binding::read(binding) {
                Ok((policy, binding)) => (policy == name).then_some(binding),
                Err(why) => {
                    unreadable(binding, &why);
                    None
                }
            });
            let bound: Vec<Binding> = bound.collect();
            if bound.is_empty() {
                continue;
            }
            match Self::read(object, bound) {
                Ok(policy) => read.push(policy),
                Err(why) => unreadable(object, &why),
            }
        }
        read
    }

    fn read(object: &Value, bindings: Vec<Binding>) -> Result<Self, String> {
        let spec = object.get("spec").unwrap_or(&Value::Null);
        let spec = PolicySpec::deserialize(spec).map_err(|error| error.to_string())?;
        let rules = spec.validations.into_iter().map(|it| Rule {
            holds: Expression::condition(&it.expression),
            message: it.message.unwrap_or_default().trim().to_owned(),
            says: it.message_expression.filter(|it| !it.trim().is_empty()).map(|it| Expression::text(&it)),
            reason: it.reason.unwrap_or_else(|| "Invalid".to_owned()),
        });
        Ok(Self {
            name: metadata::text(object, "name").to_owned(),
            constraints: Constraints::of(&spec.match_constraints)?,
            fails_open: spec.failure_policy.as_deref() == Some("Ignore"),
            param_kind: spec.param_kind.map(|it| (it.api_version.unwrap_or_default(), it.kind.unwrap_or_default())),
            conditions: Conditions::new(&spec.match_conditions, POLICY),
            variables: spec.variables.into_iter().map(|it| (it.name, Expression::any(&it.expression))).collect(),
            rules: rules.collect(),
            annotations: spec
                .audit_annotations
                .into_iter()
                .map(|it| (it.key, Expression::any(&it.value_expression)))
                .collect(),
            bindings,
        })
    }

    /// The version in which the policy wants to see the request, if it is meant.
    pub fn wants<'a>(&self, request: &Request<'a>, rows: &Rows) -> Option<&'a Resource> {
        self.constraints.wants(request, rows)
    }
}

impl Binding {
    /// The binding and the name of its policy.
    fn read(object: &Value) -> Result<(String, Self), String> {
        let spec = object.get("spec").unwrap_or(&Value::Null);
        let spec = BindingSpec::deserialize(spec).map_err(|error| error.to_string())?;
        let actions = spec.validation_actions.iter().filter_map(|action| match action.as_str() {
            "Deny" => Some(Action::Deny),
            "Warn" => Some(Action::Warn),
            "Audit" => Some(Action::Audit),
            _ => None,
        });
        let binding = Self {
            name: metadata::text(object, "name").to_owned(),
            actions: actions.collect(),
            narrowed: spec.match_resources.as_ref().map(Constraints::of).transpose()?,
            params: spec.param_ref,
        };
        Ok((spec.policy_name, binding))
    }
}
