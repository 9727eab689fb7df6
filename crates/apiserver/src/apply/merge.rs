//! A configuration merged into an object: its values win, what it does not name stays, lists keep their items in an order
//! that is both theirs where they agree and the configuration's where they do not.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::place::{Form, Place, elements};
use super::set::Element;

/// `config` merged into `live`, both at `place`.
pub fn merge(place: Place, live: &Value, config: &Value) -> Value {
    let form = place.form(config);
    match (form, live, config) {
        (Form::Fields(_) | Form::Keys(_), Value::Object(live), Value::Object(config)) => {
            Value::Object(objects(form, live, config))
        }
        // A null that the configuration owns says nothing about the parts that others own.
        (Form::Fields(_) | Form::Keys(_) | Form::Items(..) | Form::Set, live, Value::Null) if has_parts(live) => {
            live.clone()
        }
        (Form::Items(..) | Form::Set, Value::Array(live), Value::Array(config)) => match lists(form, live, config) {
            Some(merged) => Value::Array(merged),
            None => Value::Array(config.clone()),
        },
        _ => config.clone(),
    }
}

fn has_parts(value: &Value) -> bool {
    match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    }
}

fn objects(form: Form, live: &Map<String, Value>, config: &Map<String, Value>) -> Map<String, Value> {
    let mut merged = live.clone();
    for (name, value) in config {
        let outcome = match (form.of(name), live.get(name)) {
            (Some(place), Some(live)) => merge(place, live, value),
            _ => value.clone(),
        };
        merged.insert(name.clone(), outcome);
    }
    merged
}

/// Both lists are walked at once. Items that only one of them has stay where they are relative to their neighbours;
/// items that both have come in the order of the configuration. `None`: items cannot be told apart.
fn lists(form: Form, live: &[Value], config: &[Value]) -> Option<Vec<Value>> {
    let config_elements = elements(config, form)?;
    // A live list may hold what nobody could tell apart; then it is as if it were not there.
    let live_elements = elements(live, form)?;
    let live_at: HashMap<&Element, &Value> = live_elements.iter().zip(live).collect();
    let in_config: HashSet<&Element> = config_elements.iter().collect();
    let mut shared = config_elements.iter().filter(|it| live_at.contains_key(it)).peekable();
    let mut merged = Vec::with_capacity(live.len() + config.len());
    let mut taken: HashSet<&Element> = HashSet::new();
    let (mut at_live, mut at_config) = (0, 0);
    while at_live < live.len() || at_config < config.len() {
        let theirs = live_elements.get(at_live);
        let ours = config_elements.get(at_config);
        if let (Some(theirs), Some(ours)) = (theirs, ours)
            && theirs != ours
            && in_config.contains(theirs)
            && shared.peek().is_some_and(|next| *next != theirs)
        {
            // An item of both, but another one of those comes first in the configuration.
            at_live += 1;
            continue;
        }
        if let Some(theirs) = theirs
            && ours != Some(theirs)
        {
            if !in_config.contains(theirs) {
                merged.push(live[at_live].clone());
                at_live += 1;
                continue;
            }
            if taken.contains(theirs) {
                at_live += 1;
                continue;
            }
        }
        let Some(ours) = ours else {
            // Everything of the configuration has been taken; what is left of the live list was taken with it.
            at_live += 1;
            continue;
        };
        merged.push(match (form, live_at.get(ours)) {
            (Form::Items(_, place), Some(live)) => merge(place, live, &config[at_config]),
            _ => config[at_config].clone(),
        });
        taken.insert(ours);
        at_live += usize::from(theirs == Some(ours));
        at_config += 1;
        if shared.peek() == Some(&ours) {
            shared.next();
        }
    }
    Some(merged)
}
