//! Webhooks as configurations describe them, read once when a configuration changes: which requests a webhook is for, how
//! it is called, and what happens when it cannot be. Pure.

use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::{MatchCondition, WebhookClientConfig};
use serde::Deserialize;
use serde_json::Value;

use crate::admission::condition::{Conditions, WEBHOOK};
use crate::admission::matching::{Rules, Selection};
use crate::admission::request::Request;
use crate::kinds::{Resource, Rows};
use crate::selector::SelectorError;

/// Seconds a webhook has to answer where its configuration does not say.
const DEFAULT_TIMEOUT: i32 = 10;

/// Which form of review a webhook understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReviewVersion {
    /// `admission.k8s.io/v1`.
    V1,
    /// `admission.k8s.io/v1beta1`: the same fields, and answers are checked less.
    V1Beta1,
}

impl ReviewVersion {
    /// The `apiVersion` of such a review.
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "admission.k8s.io/v1",
            Self::V1Beta1 => "admission.k8s.io/v1beta1",
        }
    }
}

/// One webhook of a configuration.
#[derive(Debug)]
pub struct Hook {
    /// Name of its configuration.
    pub configuration: String,
    /// Its own name, as errors show it.
    pub name: String,
    /// The first form of review that it and we understand; `None` where there is none.
    pub version: Option<ReviewVersion>,
    /// Where it is and what its certificate must be signed by.
    pub client: WebhookClientConfig,
    /// How long it may take.
    pub timeout: Duration,
    /// Whether a request passes when the webhook cannot be asked (`failurePolicy: Ignore`).
    pub fails_open: bool,
    /// Whether it may be asked about a write that will not be stored.
    pub dry_run_safe: bool,
    /// Whether it is asked again when others have changed the object (`reinvocationPolicy: IfNeeded`).
    pub asked_again: bool,
    /// What labels the object and its namespace must have.
    pub selection: Selection,
    /// What else must hold.
    pub conditions: Conditions,
    rules: Rules,
    /// Only the versions that the rules name (`matchPolicy: Exact`).
    exact: bool,
}

/// The fields that mutating and validating webhooks have in common.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    name: String,
    #[serde(default)]
    admission_review_versions: Vec<String>,
    client_config: WebhookClientConfig,
    failure_policy: Option<String>,
    #[serde(default)]
    match_conditions: Vec<MatchCondition>,
    match_policy: Option<String>,
    #[serde(default)]
    namespace_selector: Value,
    #[serde(default)]
    object_selector: Value,
    reinvocation_policy: Option<String>,
    #[serde(default)]
    rules: Rules,
    side_effects: Option<String>,
    timeout_seconds: Option<i32>,
}

impl Hook {
    /// The webhooks of a configuration, in its order. What cannot be read is left out and logged: it was validated when
    /// it was written, so only a store from elsewhere can hold such a thing.
    pub fn of(configuration: &Value) -> Vec<Self> {
        let name = crate::metadata::text(configuration, "name");
        let webhooks = configuration.get("webhooks").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let read = |webhook: &Value| -> Result<Self, String> {
            let spec = Spec::deserialize(webhook).map_err(|error| error.to_string())?;
            Self::compiled(name, spec).map_err(|error| error.to_string())
        };
        let compiled = webhooks.iter().filter_map(|webhook| match read(webhook) {
            Ok(hook) => Some(hook),
            Err(error) => {
                tracing::error!(configuration = name, error, "a webhook cannot be read and is not asked");
                None
            }
        });
        compiled.collect()
    }

    fn compiled(configuration: &str, spec: Spec) -> Result<Self, SelectorError> {
        let version = spec.admission_review_versions.iter().find_map(|version| match version.as_str() {
            "v1" => Some(ReviewVersion::V1),
            "v1beta1" => Some(ReviewVersion::V1Beta1),
            _ => None,
        });
        let fails_open = spec.failure_policy.as_deref() == Some("Ignore");
        Ok(Self {
            configuration: configuration.to_owned(),
            version,
            client: spec.client_config,
            timeout: Duration::from_secs(spec.timeout_seconds.unwrap_or(DEFAULT_TIMEOUT).max(1).unsigned_abs().into()),
            fails_open,
            dry_run_safe: matches!(spec.side_effects.as_deref(), Some("None" | "NoneOnDryRun")),
            asked_again: spec.reinvocation_policy.as_deref() == Some("IfNeeded"),
            selection: Selection::of(&spec.namespace_selector, &spec.object_selector)?,
            conditions: Conditions::new(&spec.match_conditions, WEBHOOK),
            rules: spec.rules,
            exact: spec.match_policy.as_deref() == Some("Exact"),
            name: spec.name,
        })
    }

    /// The version of the resource in which this webhook wants to see the request, if it wants to.
    pub fn wants<'a>(&self, request: &Request<'a>, rows: &Rows) -> Option<&'a Resource> {
        self.rules.wants(request, rows, self.exact)
    }
}
