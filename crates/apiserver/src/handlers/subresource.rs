//! Paths below an object that are no part of it: binding, log.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode};
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use super::ownership::Author;
use super::write::Next;
use super::{Api, Call};
use crate::admission::webhook::Warnings;
use crate::body::{self, Expected};
use crate::errors::{ApiError, Subject};
use crate::kinds::TypeOf;
use crate::kubelet::LogQuery;
use crate::metadata::{self, time};
use crate::options::WriteOptions;
use crate::respond::{json as answer, success, typed, warned};
use crate::strategy::Part;

impl Api {
    /// POST of a `Binding`: puts a pod on a node, once.
    pub(super) async fn bind(&self, call: &Call, body: Body) -> Result<Response, ApiError> {
        let (target, name) = (&call.target, call.target.name.as_str());
        let (binding, options) = self.subresource_body(call, body).await?;
        let mut said = Warnings::default();
        let binding =
            self.ask_about_body(target, &options, binding, &mut said).await.map_err(|error| error.warning(&said))?;
        let node = binding.pointer("/target/name").and_then(Value::as_str).unwrap_or_default();
        let kind = binding.pointer("/target/kind").and_then(Value::as_str).unwrap_or_default();
        if node.is_empty() || !matches!(kind, "" | "Node") {
            let (field, reason, detail) = if node.is_empty() {
                ("target.name", "FieldValueRequired", "Required value".to_owned())
            } else {
                (
                    "target.kind",
                    "FieldValueNotSupported",
                    format!("Unsupported value: {kind:?}: supported values: \"Node\", \"<empty>\""),
                )
            };
            let message = format!("Binding {name:?} is invalid: {field}: {detail}");
            let cause = json!({"reason": reason, "message": detail, "field": field});
            return Err(ApiError::invalid(Subject { name, group: "", kind: "Binding" }, message, vec![cause]));
        }
        let uid = metadata::text(&binding, "uid").to_owned();
        let now = self.clock.now();
        self.modify(target, Part::Binding, &options, &Author::of(call, &options), |pod| {
            let refuse = |why: String| Err(ApiError::conflict(Subject { name, group: "", kind: "pods/binding" }, &why));
            if !uid.is_empty() && uid != metadata::text(pod, "uid") {
                return refuse(format!(
                    "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                    metadata::text(pod, "uid")
                ));
            }
            if metadata::is_deleting(pod) {
                return refuse(format!("pod {name} is being deleted, cannot be assigned to a host"));
            }
            match pod.pointer("/spec/nodeName").and_then(Value::as_str).filter(|there| !there.is_empty()) {
                Some(there) => refuse(format!("pod {name} is already assigned to node {there:?}")),
                None => Ok(Next::plain(bound(pod.clone(), node, &binding, now), Vec::new())),
            }
        })
        .await?;
        Ok(warned(answer(StatusCode::CREATED, success(None).to_string()), &said.shown()))
    }

    /// The body of a path that does not take the object itself.
    pub(super) async fn subresource_body(&self, call: &Call, body: Body) -> Result<(Value, WriteOptions), ApiError> {
        let options = WriteOptions::parse("CreateOptions", &call.query)?;
        let bytes = body::read(&call.headers, body).await?;
        let kind = call.target.subresource.and_then(|it| it.body).ok_or_else(ApiError::method_not_allowed)?;
        let api_version =
            if kind.group.is_empty() { kind.version.to_owned() } else { format!("{}/{}", kind.group, kind.version) };
        let shape = TypeOf::shape(kind.type_of);
        let expected = Expected { api_version: &api_version, kind: kind.kind, shape, resource: None };
        let decoded = body::decode(&call.headers, &bytes, expected, options.field_validation)?;
        Ok((decoded.value, options))
    }

    /// GET of a container's log, which the node has.
    pub(super) async fn log(&self, call: &Call) -> Result<Response, ApiError> {
        let pod = self.find(call)?;
        let value = pod.value();
        let container = container_of(&value, call.query.get("container"), &call.target.name)?;
        let query = self.log_query(call)?;
        let text = HeaderValue::from_static("text/plain");
        if value.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default().is_empty() {
            // Nothing has run yet, so nothing has been said.
            return Ok(typed(StatusCode::OK, Body::empty(), text));
        }
        let uid = metadata::text(&value, "uid");
        let log = self.kubelet.logs(&call.target.namespace, uid, &container, query).await;
        Ok(typed(StatusCode::OK, Body::from_stream(log.map_err(ApiError::bad_request)?), text))
    }

    fn log_query(&self, call: &Call) -> Result<LogQuery, ApiError> {
        let query = &call.query;
        let natural = |name: &str| -> Result<Option<u64>, ApiError> {
            let Some(number) = query.number(name)? else { return Ok(None) };
            u64::try_from(number).map(Some).map_err(|_| {
                let detail = format!("Invalid value: {number}: must be greater than or equal to 0");
                ApiError::invalid_option("PodLogOptions", name, "FieldValueInvalid", &detail)
            })
        };
        let since = match (natural("sinceSeconds")?, query.get("sinceTime")) {
            (Some(_), time) if !time.is_empty() => {
                let detail = "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified";
                return Err(ApiError::invalid_option("PodLogOptions", "sinceSeconds", "FieldValueForbidden", detail));
            }
            (Some(seconds), _) => {
                let seconds = i64::try_from(seconds).unwrap_or(i64::MAX).min(i64::from(u32::MAX));
                self.clock.now().checked_sub(seconds.seconds()).ok()
            }
            (None, "") => None,
            (None, time) => Some(
                time.parse::<Timestamp>()
                    .map_err(|_| ApiError::bad_request(format!("sinceTime: {time:?} is no RFC 3339 time")))?,
            ),
        };
        Ok(LogQuery {
            follow: query.flag("follow"),
            previous: query.flag("previous"),
            tail_lines: natural("tailLines")?,
            since,
            timestamps: query.flag("timestamps"),
            limit_bytes: natural("limitBytes")?,
        })
    }
}

/// A pod that has been given a node.
fn bound(mut pod: Value, node: &str, binding: &Value, now: Timestamp) -> Value {
    pod["spec"]["nodeName"] = node.into();
    // The scheduler may leave notes on the pod in the same step.
    for part in ["annotations", "labels"] {
        let given = binding.get("metadata").and_then(|metadata| metadata.get(part)).and_then(Value::as_object);
        for (key, value) in given.into_iter().flatten() {
            pod["metadata"][part][key] = value.clone();
        }
    }
    let scheduled =
        json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": time(now)});
    let status = &mut pod["status"];
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    if let Some(conditions) = status["conditions"].as_array_mut() {
        conditions.retain(|condition| condition.get("type").and_then(Value::as_str) != Some("PodScheduled"));
        conditions.push(scheduled);
    }
    pod
}

/// The container whose log is asked for: the named one, or the only one.
fn container_of(pod: &Value, asked: &str, name: &str) -> Result<String, ApiError> {
    let names = |list: &str| -> Vec<&str> {
        let containers = pod.get("spec").and_then(|spec| spec.get(list)).and_then(Value::as_array);
        containers.into_iter().flatten().filter_map(|container| container.get("name")?.as_str()).collect()
    };
    let (regular, init) = (names("containers"), names("initContainers"));
    match asked {
        "" => match regular.as_slice() {
            [only] => Ok((*only).to_owned()),
            _ => {
                let mut why = format!(
                    "a container name must be specified for pod {name}, choose one of: [{}]",
                    regular.join(" ")
                );
                if !init.is_empty() {
                    why += &format!(" or one of the init containers: [{}]", init.join(" "));
                }
                Err(ApiError::bad_request(why))
            }
        },
        asked if regular.contains(&asked) || init.contains(&asked) => Ok(asked.to_owned()),
        asked => Err(ApiError::bad_request(format!("container {asked} is not valid for pod {name}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_container_of_a_log() {
        let one = json!({"spec": {"containers": [{"name": "a"}]}});
        let two = json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]}});
        let check = |pod: &Value, asked: &str, expected: Result<&str, &str>| {
            let found = container_of(pod, asked, "p").map_err(|error| error.message);
            assert_eq!(found.as_deref().map_err(String::as_str), expected);
        };
        check(&one, "", Ok("a"));
        check(&two, "i", Ok("i"));
        check(
            &two,
            "",
            Err(
                "a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [i]",
            ),
        );
        check(&one, "x", Err("container x is not valid for pod p"));
    }
}
