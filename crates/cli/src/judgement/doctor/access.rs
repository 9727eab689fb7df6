//! What our account may do: asked for the controller's account where one is installed, else for whoever asks.

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
    SubjectAccessReviewSpec, SubjectAccessReviewStatus,
};
use kube::api::PostParams;
use kube::{Api, Client};

use super::cluster::Installed;
use super::{Finding, short};

/// A request that the loop makes.
struct Request {
    group: &'static str,
    resource: &'static str,
    subresource: &'static str,
    verb: &'static str,
    /// What it is needed for.
    purpose: &'static str,
    /// Who grants it: a value of the chart; empty: the chart always does, and nothing works without.
    value: &'static str,
}

const fn reads(group: &'static str, resource: &'static str, purpose: &'static str) -> Request {
    Request { group, resource, subresource: "", verb: "list", purpose, value: "" }
}

const fn writes(
    group: &'static str,
    resource: &'static str,
    subresource: &'static str,
    verb: &'static str,
    purpose: &'static str,
    value: &'static str,
) -> Request {
    Request { group, resource, subresource, verb, purpose, value }
}

/// Every right that the chart grants in the whole cluster: docs/security.md has them line by line.
const NEEDED: [Request; 25] = [
    reads("", "pods", "see sizes and states"),
    reads("", "nodes", "see how much room there is"),
    reads("", "namespaces", "see modes and the switch"),
    reads("", "limitranges", "foresee what would be refused"),
    reads("", "resourcequotas", "foresee what would be refused"),
    reads("apps", "deployments", "see rollouts"),
    reads("apps", "statefulsets", "see rollouts"),
    reads("apps", "daemonsets", "see rollouts"),
    reads("batch", "jobs", "know whose pods they are"),
    reads("batch", "cronjobs", "know whose pods they are"),
    reads("autoscaling", "horizontalpodautoscalers", "leave alone what they read"),
    reads("policy", "poddisruptionbudgets", "know whether a pod may be restarted"),
    reads("metrics.k8s.io", "pods", "measure"),
    reads("supple.dev", "rightsizepolicies", "follow policies"),
    reads("supple.dev", "clusterrightsizepolicies", "follow policies"),
    reads("supple.dev", "rightsizings", "remember what was learned"),
    writes("supple.dev", "rightsizings", "", "patch", "remember what was learned", ""),
    writes("supple.dev", "rightsizings", "status", "patch", "remember what was learned", ""),
    writes("events.k8s.io", "events", "", "create", "tell people what was done", ""),
    writes("", "pods", "resize", "patch", "resize pods", "permissions.resize"),
    writes("", "pods", "", "patch", "note on a pod what was before", "permissions.resize"),
    writes("", "pods", "eviction", "create", "recreate pods in the modes that do", "permissions.recreate"),
    writes("apps", "deployments", "", "patch", "restart workloads in the modes that do", "permissions.recreate"),
    writes(
        "autoscaling",
        "horizontalpodautoscalers",
        "",
        "update",
        "carry out hpa: Adjust",
        "permissions.adjustAutoscalers",
    ),
    writes("", "nodes", "proxy", "get", "see throttling and pressure on nodes", "permissions.kubeletStats"),
];

/// Ask.
pub(super) async fn look(client: &Client, installed: Option<&Installed>) -> Vec<Finding> {
    let account = installed.map(Installed::account);
    let who = account.clone().unwrap_or_else(|| "you".to_owned());
    let mut missing: Vec<(&Request, String)> = Vec::new();
    for request in &NEEDED {
        match may(client, request, account.as_deref()).await {
            Ok(status) if status.allowed => {}
            Ok(_) => missing.push((request, said(request))),
            Err(error) => {
                let says = format!("what {who} may do could not be asked: {}", short(&error));
                return vec![Finding::note("access", says, "ask with rights to create subjectaccessreviews")];
            }
        }
    }
    let mut findings = Vec::new();
    let essential: Vec<_> = missing.iter().filter(|it| it.0.value.is_empty()).collect();
    for (request, what) in &essential {
        findings.push(Finding::bad(
            "access",
            format!("{who} may not {what}, which is needed to {}", request.purpose),
            "grant it: the chart's ClusterRole does; with rbac.create=false, see docs/security.md",
        ));
    }
    let mut values: Vec<&str> = Vec::new();
    for (request, _) in missing.iter().filter(|it| !it.0.value.is_empty()) {
        if !values.contains(&request.value) {
            values.push(request.value);
        }
    }
    for value in values {
        let of_value: Vec<_> = missing.iter().filter(|it| it.0.value == value).collect();
        let what: Vec<&str> = of_value.iter().map(|it| it.1.as_str()).collect();
        let purpose: Vec<&str> = of_value.iter().map(|it| it.0.purpose).collect();
        findings.push(Finding::note(
            "access",
            format!("{who} may not {}, so that it cannot {}", what.join(", nor "), purpose.join(", nor ")),
            format!("if it shall: helm upgrade … --reuse-values --set {value}=true"),
        ));
    }
    if findings.is_empty() {
        findings
            .push(Finding::good("access", format!("{who} may do all of the {} things the loop does", NEEDED.len())));
    }
    findings
}

/// `patch pods/resize`
fn said(request: &Request) -> String {
    let Request { group, resource, subresource, verb, .. } = request;
    let group = if group.is_empty() { String::new() } else { format!(".{group}") };
    let subresource = if subresource.is_empty() { String::new() } else { format!("/{subresource}") };
    format!("{verb} {resource}{group}{subresource}")
}

async fn may(
    client: &Client,
    request: &Request,
    account: Option<&str>,
) -> Result<SubjectAccessReviewStatus, kube::Error> {
    let some = |it: &str| Some(it.to_owned()).filter(|it| !it.is_empty());
    let attributes = Some(ResourceAttributes {
        group: some(request.group),
        resource: some(request.resource),
        subresource: some(request.subresource),
        verb: some(request.verb),
        ..ResourceAttributes::default()
    });
    let params = PostParams::default();
    let status = match account {
        Some(account) => {
            let namespace = account.split(':').nth(2).unwrap_or_default();
            let groups =
                ["system:serviceaccounts", &format!("system:serviceaccounts:{namespace}"), "system:authenticated"];
            let review = SubjectAccessReview {
                spec: SubjectAccessReviewSpec {
                    resource_attributes: attributes,
                    user: Some(account.to_owned()),
                    groups: Some(groups.map(str::to_owned).to_vec()),
                    ..SubjectAccessReviewSpec::default()
                },
                ..SubjectAccessReview::default()
            };
            Api::<SubjectAccessReview>::all(client.clone()).create(&params, &review).await?.status
        }
        None => {
            let review = SelfSubjectAccessReview {
                spec: SelfSubjectAccessReviewSpec {
                    resource_attributes: attributes,
                    ..SelfSubjectAccessReviewSpec::default()
                },
                ..SelfSubjectAccessReview::default()
            };
            Api::<SelfSubjectAccessReview>::all(client.clone()).create(&params, &review).await?.status
        }
    };
    Ok(status.unwrap_or_default())
}
