//! What our account may do: asked for the controller's account where one is installed, else for whoever asks.

use futures::{StreamExt as _, stream};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
    SubjectAccessReviewSpec, SubjectAccessReviewStatus,
};
use kube::api::PostParams;
use kube::{Api, Client};
use supple_api::names;

use super::cluster::Installed;
use super::{Finding, short};

/// A right that the chart grants.
struct Right {
    group: &'static str,
    /// With its subresource: `pods/resize`.
    resources: &'static [&'static str],
    verbs: &'static [&'static str],
    /// What it is needed for.
    purpose: &'static str,
    /// Who grants it: a value of the chart; empty: the chart always does, and nothing works without.
    value: &'static str,
    /// Where, and of what.
    of: Of,
}

/// Where a right holds, and of which object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    /// In the whole cluster.
    Cluster,
    /// Of one object of the cluster: the release's name.
    Named,
    /// In the controller's own namespace.
    Own,
    /// Of one object there: this name, or the release's name and this where it begins with a hyphen.
    OwnNamed(&'static str),
}

const READ: &[&str] = &["list", "watch"];
/// Of what the chart always grants, and what the loop does without where somebody else wrote the roles.
const GRANTED: &str = "rbac.create";
const RESIZE: &str = "permissions.resize";
const RECREATE: &str = "permissions.recreate";
const WEBHOOK: &str = "webhook.enabled";

const fn right(
    group: &'static str,
    resources: &'static [&'static str],
    verbs: &'static [&'static str],
    purpose: &'static str,
    value: &'static str,
) -> Right {
    Right { group, resources, verbs, purpose, value, of: Of::Cluster }
}

impl Right {
    const fn of(mut self, of: Of) -> Self {
        self.of = of;
        self
    }
}

/// Every right that the chart grants: docs/security.md has them line by line, and a test holds this list to the chart.
const NEEDED: [Right; 25] = [
    right(
        "",
        &["pods", "nodes", "namespaces", "limitranges", "resourcequotas"],
        READ,
        "read sizes, free capacity and quotas",
        "",
    ),
    right("apps", &["deployments", "statefulsets", "daemonsets"], READ, "read rollouts", ""),
    right("batch", &["jobs", "cronjobs"], READ, "find the owners of pods", ""),
    right("autoscaling", &["horizontalpodautoscalers"], READ, "leave their metrics unchanged", ""),
    right("policy", &["poddisruptionbudgets"], READ, "know whether it may restart a pod", ""),
    right(
        "autoscaling.k8s.io",
        &["verticalpodautoscalers", "verticalpodautoscalercheckpoints"],
        READ,
        "act on them, or leave their pods to the VPA",
        "",
    ),
    right("autoscaling.k8s.io", &["verticalpodautoscalers/status"], &["patch"], "publish recommendations", ""),
    right("metrics.k8s.io", &["pods"], &["list"], "measure usage", ""),
    right("supple.dev", &["rightsizepolicies", "clusterrightsizepolicies"], READ, "follow policies", ""),
    right(
        "supple.dev",
        &["rightsizepolicies/status", "clusterrightsizepolicies/status"],
        &["patch"],
        "report errors in a policy",
        "",
    ),
    right("supple.dev", &["rightsizings"], &["list", "watch", "create", "patch"], "store the learned history", ""),
    right("supple.dev", &["rightsizings/status"], &["patch"], "store the learned history", ""),
    right("events.k8s.io", &["events"], &["create"], "report its actions", ""),
    right("", &["events"], &["list", "watch"], "learn the usage of evicted pods", GRANTED),
    right("", &["pods/resize"], &["patch"], "resize pods", RESIZE),
    right("", &["pods"], &["patch"], "record the previous sizes on a pod", RESIZE),
    right("", &["pods/eviction"], &["create"], "recreate pods", RECREATE),
    right("apps", &["deployments", "statefulsets", "daemonsets"], &["patch"], "restart workloads", RECREATE),
    right(
        "autoscaling",
        &["horizontalpodautoscalers"],
        &["get", "update"],
        "apply hpa: Adjust",
        "permissions.adjustAutoscalers",
    ),
    right("", &["nodes/proxy"], &["get"], "read throttling and pressure from nodes", "permissions.kubeletStats"),
    right(
        "admissionregistration.k8s.io",
        &["validatingwebhookconfigurations"],
        &["get", "patch"],
        "register its webhook",
        WEBHOOK,
    )
    .of(Of::Named),
    right(
        "admissionregistration.k8s.io",
        &["mutatingwebhookconfigurations"],
        &["get", "patch"],
        "register its webhook",
        WEBHOOK,
    )
    .of(Of::Named),
    right("coordination.k8s.io", &["leases"], &["create"], "elect a leader", "").of(Of::Own),
    right("coordination.k8s.io", &["leases"], &["get", "update"], "elect a leader", "").of(Of::OwnNamed(names::LEASE)),
    right("", &["secrets"], &["get", "update"], "store its webhook's certificate", WEBHOOK)
        .of(Of::OwnNamed("-webhook")),
];

/// One verb on one resource.
struct Request {
    right: &'static Right,
    resource: &'static str,
    subresource: &'static str,
    verb: &'static str,
    namespace: String,
    name: String,
}

/// What is to be asked: of a person only what the whole cluster is about, and of a controller without a webhook nothing of one.
fn requests(installed: Option<&Installed>) -> Vec<Request> {
    let asked = NEEDED.iter().filter(|it| match installed {
        Some(installed) => it.value != WEBHOOK || installed.serves_webhook(),
        None => it.of == Of::Cluster,
    });
    let (own, release) = installed.map(Installed::place).unwrap_or_default();
    asked
        .flat_map(|right| {
            let name = match right.of {
                Of::Cluster | Of::Own => String::new(),
                Of::Named => release.to_owned(),
                Of::OwnNamed(name) if name.starts_with('-') => format!("{release}{name}"),
                Of::OwnNamed(name) => name.to_owned(),
            };
            let namespace = if matches!(right.of, Of::Own | Of::OwnNamed(_)) { own } else { "" };
            right.resources.iter().flat_map(move |resource| {
                let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
                let (name, namespace) = (name.clone(), namespace.to_owned());
                right.verbs.iter().map(move |verb| Request {
                    right,
                    resource,
                    subresource,
                    verb,
                    namespace: namespace.clone(),
                    name: name.clone(),
                })
            })
        })
        .collect()
}

/// Questions that are under way at the same time.
const AT_ONCE: usize = 8;

/// Ask.
pub(super) async fn look(client: &Client, installed: Option<&Installed>) -> Vec<Finding> {
    let account = installed.map(Installed::account);
    let who = account.clone().unwrap_or_else(|| "you".to_owned());
    let mut missing: Vec<(&Request, String)> = Vec::new();
    let requests = requests(installed);
    let whose = account.as_deref();
    let answers = requests.iter().map(|it| async move { (it, may(client, it, whose).await) });
    let mut answers = stream::iter(answers).buffered(AT_ONCE);
    while let Some((request, answer)) = answers.next().await {
        match answer {
            Ok(status) if status.allowed => {}
            Ok(_) => missing.push((request, said(request))),
            Err(error) => {
                let says = format!("cannot ask what {who} may do: {}", short(&error));
                return vec![Finding::note("access", says, "use an account that may create subjectaccessreviews")];
            }
        }
    }
    let mut findings = Vec::new();
    let essential: Vec<_> = missing.iter().filter(|it| it.0.right.value.is_empty()).collect();
    for (request, what) in &essential {
        findings.push(Finding::bad(
            "access",
            format!("{who} may not {what}; this is required to {}", request.right.purpose),
            "grant it as the chart's ClusterRole does; with rbac.create=false, see docs/security.md",
        ));
    }
    let mut values: Vec<&str> = Vec::new();
    for (request, _) in missing.iter().filter(|it| !it.0.right.value.is_empty()) {
        if !values.contains(&request.right.value) {
            values.push(request.right.value);
        }
    }
    for value in values {
        let of_value: Vec<_> = missing.iter().filter(|it| it.0.right.value == value).collect();
        let what: Vec<&str> = of_value.iter().map(|it| it.1.as_str()).collect();
        let mut purpose: Vec<&str> = of_value.iter().map(|it| it.0.right.purpose).collect();
        purpose.dedup();
        findings.push(Finding::note(
            "access",
            format!("{who} may not {}, so it cannot {}", what.join(", nor "), purpose.join(", nor ")),
            format!("to allow it: helm upgrade … --reuse-values --set {value}=true"),
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::good("access", format!("{who} may do all {} operations of the loop", requests.len())));
    }
    findings
}

/// `patch pods/resize`
fn said(request: &Request) -> String {
    let Request { right, resource, subresource, verb, .. } = request;
    let group = if right.group.is_empty() { String::new() } else { format!(".{}", right.group) };
    let subresource = if subresource.is_empty() { String::new() } else { format!("/{subresource}") };
    let of = if request.namespace.is_empty() { String::new() } else { format!(" in {}", request.namespace) };
    format!("{verb} {resource}{group}{subresource}{of}")
}

async fn may(
    client: &Client,
    request: &Request,
    account: Option<&str>,
) -> Result<SubjectAccessReviewStatus, kube::Error> {
    let some = |it: &str| Some(it.to_owned()).filter(|it| !it.is_empty());
    let attributes = Some(ResourceAttributes {
        group: some(request.right.group),
        resource: some(request.resource),
        subresource: some(request.subresource),
        verb: some(request.verb),
        namespace: some(&request.namespace),
        name: some(&request.name),
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// `group resource verb of`, each alone.
    type Granted = BTreeSet<String>;

    fn listed(line: &str, field: &str) -> Option<Vec<String>> {
        let list = line.trim().trim_start_matches("- ").strip_prefix(field)?.strip_prefix(": [")?.strip_suffix(']')?;
        Some(list.split(", ").map(|it| it.trim_matches('"').to_owned()).collect())
    }

    /// What the roles of the controller grant in a file, values of the chart or not.
    fn granted(file: &str) -> Granted {
        let text = std::fs::read_to_string(format!("{}/../../{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let is_role = |it: &&str| it.contains("\nkind: ClusterRole\n") || it.contains("\nkind: Role\n");
        let roles = text.split("\n---\n").filter(is_role).filter(|it| !it.contains("Not for Supple"));
        let mut found = Granted::new();
        for role in roles {
            let (mut groups, mut resources, mut named) = (Vec::new(), Vec::new(), false);
            for line in role.lines() {
                if let Some(it) = listed(line, "apiGroups") {
                    (groups, named) = (it, false);
                } else if let Some(it) = listed(line, "resources") {
                    resources = it;
                } else if line.trim().starts_with("resourceNames") {
                    named = true;
                } else if let Some(verbs) = listed(line, "verbs") {
                    for group in &groups {
                        for resource in &resources {
                            found.extend(verbs.iter().map(|verb| format!("{group} {resource} {verb} {named}")));
                        }
                    }
                }
            }
        }
        found
    }

    fn needed(which: impl Fn(&Right) -> bool) -> Granted {
        let mut all = Granted::new();
        for it in NEEDED.iter().filter(|it| which(it)) {
            let named = matches!(it.of, Of::Named | Of::OwnNamed(_));
            for resource in it.resources {
                all.extend(it.verbs.iter().map(|verb| format!("{} {resource} {verb} {named}", it.group)));
            }
        }
        all
    }

    #[test]
    fn what_is_asked_for_is_what_the_chart_grants() {
        assert_eq!(needed(|_| true), granted("charts/supple/templates/rbac.yaml"));
        assert_eq!(
            needed(|it| it.value.is_empty() || it.value == RESIZE || it.value == GRANTED),
            granted("deploy/supple.yaml")
        );
    }
}
