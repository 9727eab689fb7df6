//! The parameters with which a binding has a policy evaluated: objects of the kind that the policy names.

use serde_json::Value;

use super::Place;
use super::definition::{Binding, Policy};
use crate::kinds::Resource;
use crate::respond::shown;
use crate::selector::LabelSelector;
use crate::store::Key;

/// The parameters for a request in `namespace`: null where the policy or the binding has none, and nothing where there is
/// none to be found and that is allowed.
///
/// # Errors
/// What is wrong with the binding; the failure policy decides.
pub fn of(policy: &Policy, binding: &Binding, place: Place<'_>, namespace: &str) -> Result<Vec<Value>, String> {
    let (Some((api_version, kind)), Some(wanted)) = (&policy.param_kind, &binding.params) else {
        return Ok(vec![Value::Null]);
    };
    let unknown = || format!("paramKind kind `{api_version}, Kind={kind}` not known");
    let Place { store, rows } = place;
    let named = |row: &&Resource| row.kind == kind && row.api_version() == *api_version;
    let resource = rows.iter().find(|row| named(row)).ok_or_else(unknown)?;
    let collection = resource.backing.collection().ok_or_else(unknown)?;
    let place = match (resource.namespaced(), wanted.namespace.as_str()) {
        (false, "") => "",
        (false, _) => return Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".to_owned()),
        (true, "") if namespace.is_empty() => {
            let why = "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources";
            return Err(why.to_owned());
        }
        (true, "") => namespace,
        (true, named) => named,
    };
    let found: Vec<Value> = match &wanted.selector {
        Some(_) if !wanted.name.is_empty() => {
            return Err("paramRef.name and paramRef.selector are mutually exclusive".to_owned());
        }
        Some(selector) => {
            let selector = LabelSelector::of(selector).map_err(|error| error.to_string())?;
            let all = store.latest_of(collection, place);
            all.iter().filter(|it| selector.matches(&it.outline())).map(|it| shown(resource, it)).collect()
        }
        None => {
            let one = store.latest(&Key::new(collection, place, &wanted.name));
            one.iter().map(|it| shown(resource, it)).collect()
        }
    };
    if found.is_empty() && wanted.parameter_not_found_action == "Deny" {
        return Err("no params found for policy binding with `Deny` parameterNotFoundAction".to_owned());
    }
    Ok(found)
}
