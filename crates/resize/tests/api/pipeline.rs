//! One request, step by step, as the server takes them (reference §1.4).

use k8s_openapi::api::core::v1::{LimitRange, Node, Pod, ResourceQuota};
use serde_json::Value;
use supple_resize::admission::{Denial, limit_range, node, quota};
use supple_resize::field::{FieldError, aggregate};
use supple_resize::{defaults, resources, strategy, validate};

/// What stands in the namespace and on the node.
#[derive(Default)]
pub struct World {
    pub limit_ranges: Vec<LimitRange>,
    pub quotas: Vec<ResourceQuota>,
    pub nodes: Vec<Node>,
}

/// Why a request was refused.
#[derive(Debug)]
pub enum Refusal {
    /// The body is no pod.
    Undecodable(String),
    Invalid {
        name: String,
        errors: Vec<FieldError>,
    },
    Forbidden {
        name: String,
        denial: Denial,
    },
}

impl Refusal {
    pub fn code(&self) -> u16 {
        match self {
            Self::Undecodable(_) | Self::Invalid { .. } => 422,
            Self::Forbidden { .. } => 403,
        }
    }

    pub fn message(&self) -> String {
        match self {
            Self::Undecodable(text) => text.clone(),
            Self::Invalid { name, errors } => aggregate("Pod", name, errors),
            Self::Forbidden { name, denial } => format!("pods {name:?} is forbidden: {denial}"),
        }
    }
}

/// Which door the request came through.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Main,
    Resize,
    Status,
}

/// A body as a typed pod: unknown fields dropped, quantities read and made canonical.
pub fn decode(mut body: Value) -> Result<Pod, Refusal> {
    let undecodable = |text: String| Refusal::Undecodable(text);
    scalars_to_text(&mut body);
    let mut pod: Pod = serde_json::from_value(body).map_err(|error| undecodable(error.to_string()))?;
    resources::canonicalise(&mut pod).map_err(|error| undecodable(error.to_string()))?;
    Ok(pod)
}

/// Numbers and truth values in resource lists as text, as the reference's decoder of quantities takes them.
fn scalars_to_text(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::Object(list) if key == "requests" || key == "limits" => {
                        list.retain(|_, it| !it.is_null());
                        for it in list.values_mut().filter(|it| !it.is_string()) {
                            *it = Value::String(it.to_string());
                        }
                    }
                    other => scalars_to_text(other),
                }
            }
        }
        Value::Array(entries) => entries.iter_mut().for_each(scalars_to_text),
        _ => {}
    }
}

fn name(pod: &Pod) -> String {
    pod.metadata.name.clone().unwrap_or_default()
}

fn valid(pod: &Pod, errors: Vec<FieldError>) -> Result<(), Refusal> {
    if errors.is_empty() { Ok(()) } else { Err(Refusal::Invalid { name: name(pod), errors }) }
}

fn allowed<T>(pod: &Pod, verdict: Result<T, Denial>) -> Result<T, Refusal> {
    verdict.map_err(|denial| Refusal::Forbidden { name: name(pod), denial })
}

/// A new pod as it is stored.
pub fn create(world: &World, body: Value) -> Result<Pod, Refusal> {
    let mut pod = decode(body)?;
    defaults::apply(&mut pod);
    limit_range::default_pod(&mut pod, &world.limit_ranges);
    strategy::prepare_for_create(&mut pod);
    valid(&pod, validate::create(&pod))?;
    allowed(&pod, limit_range::validate_pod(&pod, &world.limit_ranges))?;
    allowed(&pod, quota::check(&pod, None, &world.quotas))?;
    Ok(pod)
}

/// The stored pod after an update with a whole pod as the body.
pub fn update(world: &World, old: &Pod, body: Value, door: Door) -> Result<Pod, Refusal> {
    let mut new = decode(body)?;
    defaults::apply(&mut new);
    match door {
        Door::Main => {
            strategy::prepare_for_update(&mut new, old);
            valid(&new, validate::update(&new, old))?;
        }
        Door::Status => {
            strategy::prepare_for_status(&mut new, old);
            valid(&new, validate::status_update(&new, old))?;
        }
        Door::Resize => {
            let deleting = old.metadata.deletion_timestamp.is_some();
            let ranges: &[LimitRange] = if deleting { &[] } else { &world.limit_ranges };
            limit_range::default_pod(&mut new, ranges);
            strategy::prepare_for_resize(&mut new, old);
            valid(&new, validate::resize(&new, old))?;
            allowed(&new, limit_range::validate_pod(&new, ranges))?;
            let bound = new.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
            let node = world.nodes.iter().find(|node| node.metadata.name.as_ref() == bound);
            allowed(&new, node::check(&new, old, node))?;
            allowed(&new, quota::check(&new, Some(old), &world.quotas))?;
        }
    }
    Ok(new)
}
