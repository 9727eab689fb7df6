//! Options of requests: what stands in the query (or, for a removal, in the body), checked as the reference checks it.

use serde_json::{Value, json};

use crate::errors::ApiError;
use crate::fields::FieldValidation;
use crate::kinds::Resource;
use crate::route::Query;
use crate::selector::{FieldSelector, LabelSelector};

/// Options of a creation, an update or a patch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Everything is checked and nothing stored.
    pub dry_run: bool,
    /// What happens with unknown and duplicate fields.
    pub field_validation: FieldValidation,
    /// The same, if the request says so.
    pub asked_validation: Option<FieldValidation>,
    /// Who writes, if the request says so.
    pub field_manager: String,
    /// Whether an apply takes fields that others own.
    pub force: Option<bool>,
}

/// Longest name of a field manager.
const LONGEST_MANAGER: usize = 128;

impl WriteOptions {
    /// Reads the query; `kind` is `CreateOptions`, `UpdateOptions` or `PatchOptions`, for the error.
    ///
    /// # Errors
    /// 422 for a value that is none of those supported.
    pub fn parse(kind: &str, query: &Query) -> Result<Self, ApiError> {
        let kind = format!("{kind}.meta.k8s.io");
        let given = query.get("fieldValidation");
        let field_validation = FieldValidation::parse(given)
            .ok_or_else(|| unsupported(&kind, "fieldValidation", given, "\"Ignore\", \"Strict\", \"Warn\""))?;
        let manager = query.get("fieldManager");
        if manager.len() > LONGEST_MANAGER {
            let detail = format!("Too long: may not be more than {LONGEST_MANAGER} bytes");
            return Err(ApiError::invalid_option(&kind, "fieldManager", "FieldValueTooLong", &detail));
        }
        if manager.chars().any(char::is_control) {
            let detail = format!("Invalid value: {manager:?}: should only contain printable characters");
            return Err(ApiError::invalid_option(&kind, "fieldManager", "FieldValueInvalid", &detail));
        }
        let force = query.all("force").next().map(|_| query.flag("force"));
        let dry_run = dry_run(&kind, query.all("dryRun"))?;
        let asked_validation = (!given.is_empty()).then_some(field_validation);
        Ok(Self { dry_run, field_validation, asked_validation, field_manager: manager.to_owned(), force })
    }

    /// What a patch must say if it is an apply, and may not if it is none.
    ///
    /// # Errors
    /// 422 for an apply of nobody, or a patch of another kind that is to be forced.
    pub fn check_patch(&self, is_apply: bool) -> Result<(), ApiError> {
        let wrong =
            |field, reason, detail| Err(ApiError::invalid_option("PatchOptions.meta.k8s.io", field, reason, detail));
        if is_apply && self.field_manager.is_empty() {
            wrong("fieldManager", "FieldValueRequired", "Required value: is required for apply patch")
        } else if !is_apply && self.force.is_some() {
            wrong("force", "FieldValueForbidden", "Forbidden: may not be specified for non-apply patch")
        } else {
            Ok(())
        }
    }
}

fn dry_run<'a>(kind: &str, values: impl Iterator<Item = &'a str>) -> Result<bool, ApiError> {
    let mut asked = false;
    for value in values {
        if value != "All" {
            return Err(unsupported(kind, "dryRun", value, "\"All\""));
        }
        asked = true;
    }
    Ok(asked)
}

fn unsupported(kind: &str, field: &str, value: &str, supported: &str) -> ApiError {
    let detail = format!("Unsupported value: {value:?}: supported values: {supported}");
    ApiError::invalid_option(kind, field, "FieldValueNotSupported", &detail)
}

/// Options of a removal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Everything is checked and nothing removed.
    pub dry_run: bool,
    /// Seconds until the object goes; absent: what the object says.
    pub grace_period: Option<i64>,
    /// The object must have this UID.
    pub uid: Option<String>,
    /// The object must be of this revision.
    pub resource_version: Option<String>,
    /// What becomes of what it owns; absent: what the object or its kind says.
    pub propagation: Option<Propagation>,
}

/// What happens to the objects that the removed one owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They are removed later.
    Background,
    /// They are removed first.
    Foreground,
    /// They stay.
    Orphan,
}

impl DeleteOptions {
    /// Reads the query, then the body, if there is one.
    ///
    /// # Errors
    /// 400 for a body that is no `DeleteOptions`; 422 for values that are not supported.
    pub fn parse(query: &Query, body: Option<&Value>) -> Result<Self, ApiError> {
        const KIND: &str = "DeleteOptions.meta.k8s.io";
        let wrong = |field: &str, expected: &str| {
            ApiError::bad_request(format!("DeleteOptions: the field {field} must be {expected}"))
        };
        let body = match body {
            None | Some(Value::Null) => &json!({}),
            Some(body) if body.is_object() => body,
            Some(_) => return Err(ApiError::bad_request("the body of a removal must be a DeleteOptions object")),
        };
        if let Some(kind) = body.get("kind").and_then(Value::as_str).filter(|kind| *kind != "DeleteOptions") {
            return Err(ApiError::bad_request(format!("{kind:?} cannot be handled as a DeleteOptions")));
        }
        let text = |value: Option<&Value>, field: &str| match value {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(wrong(field, "a string")),
        };
        let mut dry_runs: Vec<&str> = query.all("dryRun").collect();
        match body.get("dryRun") {
            None | Some(Value::Null) => {}
            Some(Value::Array(items)) => {
                for item in items {
                    dry_runs.push(item.as_str().ok_or_else(|| wrong("dryRun", "a list of strings"))?);
                }
            }
            Some(_) => return Err(wrong("dryRun", "a list of strings")),
        }
        let grace_period = match body.get("gracePeriodSeconds") {
            None | Some(Value::Null) => query.number("gracePeriodSeconds")?,
            Some(value) => Some(value.as_i64().ok_or_else(|| wrong("gracePeriodSeconds", "a whole number"))?),
        };
        let orphan = match body.get("orphanDependents") {
            None | Some(Value::Null) => query.all("orphanDependents").next().map(|_| query.flag("orphanDependents")),
            Some(value) => Some(value.as_bool().ok_or_else(|| wrong("orphanDependents", "a boolean"))?),
        };
        let policy = text(body.get("propagationPolicy"), "propagationPolicy")?
            .unwrap_or_else(|| query.get("propagationPolicy").to_owned());
        let propagation = match policy.as_str() {
            "" => orphan.map(|orphan| if orphan { Propagation::Orphan } else { Propagation::Background }),
            "Background" => Some(Propagation::Background),
            "Foreground" => Some(Propagation::Foreground),
            "Orphan" => Some(Propagation::Orphan),
            other => {
                let supported = "\"Foreground\", \"Background\", \"Orphan\", \"nil\"";
                return Err(unsupported(KIND, "propagationPolicy", other, supported));
            }
        };
        let preconditions = body.get("preconditions").filter(|value| !value.is_null());
        let precondition = |name| text(preconditions.and_then(|value| value.get(name)), name);
        Ok(Self {
            dry_run: dry_run(KIND, dry_runs.into_iter())?,
            grace_period,
            uid: precondition("uid")?,
            resource_version: precondition("resourceVersion")?,
            propagation,
        })
    }
}

/// Which revision a list or a watch is to be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The newest.
    Newest,
    /// Any that the server has; we always have the newest.
    Any,
    /// This one or a newer one.
    NotOlderThan(u64),
    /// This one.
    Exact(u64),
}

/// Options of a list, a watch or the removal of a collection.
#[derive(Clone, Debug)]
pub struct ListOptions {
    /// Which labels.
    pub labels: LabelSelector,
    /// Which fields.
    pub fields: FieldSelector,
    /// Which revision.
    pub at: At,
    /// At most this many objects; 0: all.
    pub limit: usize,
    /// Where the previous page ended.
    pub continue_token: String,
    /// The watch sends bookmarks.
    pub bookmarks: bool,
    /// The watch begins with the objects that are there.
    pub initial_events: Option<bool>,
    /// The watch ends after this many seconds.
    pub timeout_seconds: Option<u64>,
}

impl ListOptions {
    /// Reads the query.
    ///
    /// # Errors
    /// 400 for selectors and numbers that cannot be read; 422 for combinations that make no sense.
    pub fn parse(query: &Query, resource: &Resource) -> Result<Self, ApiError> {
        let selector = |error: crate::selector::SelectorError| ApiError::bad_request(error.to_string());
        let watch = query.flag("watch");
        let initial_events = match query.get("sendInitialEvents") {
            "" => None,
            _ => Some(query.flag("sendInitialEvents")),
        };
        let options = Self {
            labels: LabelSelector::parse(query.get("labelSelector")).map_err(selector)?,
            fields: FieldSelector::parse(query.get("fieldSelector"), resource).map_err(selector)?,
            at: at(query, watch, initial_events)?,
            limit: usize::try_from(query.number("limit")?.unwrap_or(0).max(0)).unwrap_or(usize::MAX),
            continue_token: query.get("continue").to_owned(),
            bookmarks: query.flag("allowWatchBookmarks"),
            initial_events,
            timeout_seconds: query
                .number("timeoutSeconds")?
                .and_then(|seconds| u64::try_from(seconds).ok())
                .filter(|s| *s > 0),
        };
        Ok(options)
    }

    /// Whether an object (or its outline) is asked for.
    pub fn matches(&self, outline: &Value) -> bool {
        self.labels.matches(outline) && self.fields.matches(outline)
    }

    /// Whether everything is asked for.
    pub fn everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }
}

fn at(query: &Query, watch: bool, initial_events: Option<bool>) -> Result<At, ApiError> {
    let forbidden = |field: &str, why: &str| {
        let detail = format!("Forbidden: {why}");
        Err(ApiError::invalid_option("ListOptions.meta.k8s.io", field, "FieldValueForbidden", &detail))
    };
    let (version, how) = (query.get("resourceVersion"), query.get("resourceVersionMatch"));
    if watch {
        match initial_events {
            Some(_) if how != "NotOlderThan" => {
                let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
                return forbidden("resourceVersionMatch", why);
            }
            None if !how.is_empty() => {
                return forbidden(
                    "resourceVersionMatch",
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                );
            }
            _ => {}
        }
    } else {
        if initial_events.is_some() {
            return forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list");
        }
        if !how.is_empty() {
            if version.is_empty() {
                return forbidden(
                    "resourceVersionMatch",
                    "resourceVersionMatch is forbidden unless resourceVersion is provided",
                );
            }
            if !query.get("continue").is_empty() {
                return forbidden(
                    "resourceVersionMatch",
                    "resourceVersionMatch is forbidden when continue is provided",
                );
            }
            if how == "Exact" && version == "0" {
                return forbidden(
                    "resourceVersionMatch",
                    "resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"",
                );
            }
        }
        if !version.is_empty() && version != "0" && !query.get("continue").is_empty() {
            return Err(ApiError::bad_request("specifying resource version is not allowed when using continue"));
        }
    }
    let number = || {
        version.parse::<u64>().map_err(|_| {
            let detail = format!("Invalid value: {version:?}: strconv.ParseUint: parsing {version:?}: invalid syntax");
            ApiError::invalid_option("", "resourceVersion", "FieldValueInvalid", &detail)
        })
    };
    match (version, how) {
        ("", _) => Ok(At::Newest),
        ("0", _) => Ok(At::Any),
        (_, "Exact") => Ok(At::Exact(number()?)),
        (_, "NotOlderThan") => Ok(At::NotOlderThan(number()?)),
        // A watch from a revision is exact in its own way; a page that begins at a revision is of that revision.
        (_, "") if watch => Ok(At::Exact(number()?)),
        (_, "") if query.number("limit")?.unwrap_or(0) > 0 => Ok(At::Exact(number()?)),
        (_, "") => Ok(At::NotOlderThan(number()?)),
        (_, other) => {
            Err(unsupported("ListOptions.meta.k8s.io", "resourceVersionMatch", other, "\"Exact\", \"NotOlderThan\""))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn deletion(query: &str, body: Value) -> Result<DeleteOptions, u16> {
        DeleteOptions::parse(&Query::parse(query).unwrap(), Some(&body)).map_err(|error| error.code.as_u16())
    }

    #[test]
    fn removal_options_come_from_query_and_body() {
        let both = deletion("dryRun=All&gracePeriodSeconds=3", json!({"preconditions": {"uid": "u"}})).unwrap();
        assert_eq!((both.dry_run, both.grace_period, both.uid.as_deref()), (true, Some(3), Some("u")));
        let body = deletion("", json!({"gracePeriodSeconds": 0, "propagationPolicy": "Foreground", "dryRun": ["All"]}))
            .unwrap();
        assert_eq!((body.dry_run, body.grace_period, body.propagation), (true, Some(0), Some(Propagation::Foreground)));
        for (query, body, code) in [
            ("dryRun=Some", json!({}), 422),
            ("propagationPolicy=Never", json!({}), 422),
            ("gracePeriodSeconds=soon", json!({}), 400),
            ("", json!([]), 400),
            ("", json!({"kind": "Pod"}), 400),
            ("", json!({"gracePeriodSeconds": "5"}), 400),
            ("", json!({"preconditions": {"uid": 5}}), 400),
        ] {
            assert_eq!(deletion(query, body.clone()), Err(code), "{query} {body}");
        }
    }

    #[track_caller]
    fn revision(query: &str) -> Result<At, u16> {
        let query = Query::parse(query).unwrap();
        let initial = (!query.get("sendInitialEvents").is_empty()).then(|| query.flag("sendInitialEvents"));
        at(&query, query.flag("watch"), initial).map_err(|error| error.code.as_u16())
    }

    #[test]
    fn revisions_are_read_as_the_reference_reads_them() {
        for (query, expected) in [
            ("", Ok(At::Newest)),
            ("resourceVersion=0", Ok(At::Any)),
            ("resourceVersion=7", Ok(At::NotOlderThan(7))),
            ("resourceVersion=7&limit=2", Ok(At::Exact(7))),
            ("resourceVersion=7&limit=2&resourceVersionMatch=NotOlderThan", Ok(At::NotOlderThan(7))),
            ("resourceVersion=7&resourceVersionMatch=Exact", Ok(At::Exact(7))),
            ("watch=1&resourceVersion=7", Ok(At::Exact(7))),
            ("watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan", Ok(At::Newest)),
            ("resourceVersion=x", Err(422)),
            ("resourceVersion=7&resourceVersionMatch=Sometimes", Err(422)),
            ("resourceVersionMatch=Exact", Err(422)),
            ("resourceVersion=0&resourceVersionMatch=Exact", Err(422)),
            ("sendInitialEvents=true", Err(422)),
            ("watch=1&sendInitialEvents=true", Err(422)),
            ("watch=1&resourceVersionMatch=Exact&resourceVersion=7", Err(422)),
            ("continue=abc&resourceVersion=7", Err(400)),
        ] {
            assert_eq!(revision(query), expected, "{query}");
        }
    }
}
