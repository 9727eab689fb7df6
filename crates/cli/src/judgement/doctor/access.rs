//! What our account may do: asked for the controller's account where one is installed, else for whoever asks.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
    SubjectAccessReviewSpec, SubjectAccessReviewStatus,
};
use kube::api::PostParams;
use kube::{Api, Client};
use supple_api::names;

use super::Finding;
use super::cluster::Installed;
use crate::connect::{chain, is_answer};

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
const VALIDATING: &str = "webhook.validating.enabled";
const MUTATING: &str = "webhook.mutating.enabled";

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
    fn is_of_webhook(&self) -> bool {
        [WEBHOOK, VALIDATING, MUTATING].contains(&self.value)
    }

    /// Whether it is needed only for a certificate of our own making.
    fn is_of_own_certificate(&self) -> bool {
        self.is_of_webhook() && self.verbs != ["get"]
    }

    const fn of(mut self, of: Of) -> Self {
        self.of = of;
        self
    }
}

/// Every right that the chart grants: docs/security.md has them line by line, and a test holds this list to the chart.
const NEEDED: [Right; 27] = [
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
    right(names::GROUP, &["rightsizepolicies", "clusterrightsizepolicies"], READ, "follow policies", ""),
    right(
        names::GROUP,
        &["rightsizepolicies/status", "clusterrightsizepolicies/status"],
        &["patch"],
        "report errors in a policy",
        "",
    ),
    right(names::GROUP, &["rightsizings"], &["list", "watch", "create", "patch"], "store the learned history", ""),
    right(names::GROUP, &["rightsizings/status"], &["patch"], "store the learned history", ""),
    right("events.k8s.io", &["events"], &["create"], "report its actions", ""),
    right("argoproj.io", &["rollouts"], &["get"], "delete what it stored of a Rollout with it", GRANTED),
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
        &["validatingwebhookconfigurations", "mutatingwebhookconfigurations"],
        &["get"],
        "read whether its webhook is registered",
        WEBHOOK,
    )
    .of(Of::Named),
    right(
        "admissionregistration.k8s.io",
        &["validatingwebhookconfigurations"],
        &["patch"],
        "have resizes of others checked by its webhook",
        VALIDATING,
    )
    .of(Of::Named),
    right(
        "admissionregistration.k8s.io",
        &["mutatingwebhookconfigurations"],
        &["patch"],
        "have new pods sized by its webhook",
        MUTATING,
    )
    .of(Of::Named),
    right("coordination.k8s.io", &["leases"], &["create"], "elect a leader", "").of(Of::Own),
    right("coordination.k8s.io", &["leases"], &["get", "update"], "elect a leader", "").of(Of::OwnNamed(names::LEASE)),
    right("", &["secrets"], &["get", "update"], "store its webhook's certificate", WEBHOOK)
        .of(Of::OwnNamed("-webhook")),
];

/// What to do about a right that the chart's roles have, where they are the chart's.
const AS_THE_CHART: &str = "grant it as the chart's ClusterRole does; with rbac.create=false, see docs/security.md";

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
        Some(installed) if installed.is_given_certificate() => !it.is_of_own_certificate(),
        Some(installed) => !it.is_of_webhook() || installed.serves_webhook(),
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

/// Those of the requests that are refused.
async fn refused<'a>(
    client: &Client,
    requests: &'a [Request],
    account: Option<&str>,
) -> Result<Vec<&'a Request>, kube::Error> {
    let answers = requests.iter().map(|it| async move { may(client, it, account).await.map(|status| (it, status)) });
    let answers: Vec<_> = stream::iter(answers).buffered(AT_ONCE).try_collect().await?;
    Ok(answers.into_iter().filter(|(_, status)| !status.allowed).map(|(it, _)| it).collect())
}

/// What whoever asks may not see of that without which nothing can be decided, in a sentence; `None` where all can be seen, and where that
/// may not be asked. An error is that of a cluster that answers nothing else either.
pub async fn unseen(client: &Client) -> Result<Option<String>, kube::Error> {
    // Kinds that a cluster may lack have a group with a dot in its name.
    let built_in = |it: &Request| it.right.verbs == READ && it.right.value.is_empty() && !it.right.group.contains('.');
    let requests: Vec<Request> = requests(None).into_iter().filter(built_in).collect();
    let refused = match refused(client, &requests, None).await {
        Err(error) if is_answer(&error) => return Ok(None),
        answer => answer?,
    };
    let mut resources: Vec<&str> = refused.iter().map(|it| it.resource).collect();
    resources.dedup();
    Ok((!resources.is_empty()).then(|| format!("you may not list and watch {}", resources.join(", "))))
}

/// Ask.
pub(super) async fn look(client: &Client, installed: Option<&Installed>) -> Vec<Finding> {
    let account = installed.map(Installed::account);
    let who = account.clone().unwrap_or_else(|| "you".to_owned());
    let requests = requests(installed);
    let missing = match refused(client, &requests, account.as_deref()).await {
        Ok(refused) => refused.into_iter().map(|it| (it, said(it))).collect::<Vec<_>>(),
        Err(error) => {
            let says = format!("cannot ask what {who} may do: {}", chain(&error));
            return vec![Finding::note("access", says, "use an account that may create subjectaccessreviews")];
        }
    };
    let mut findings = Vec::new();
    let essential = missing.iter().filter(|it| it.0.right.value.is_empty());
    // Whoever lacks one of the rights for a purpose mostly lacks them all: a finding a purpose, not one a verb.
    let mut purposes: Vec<(&str, Vec<&str>)> = Vec::new();
    for (request, what) in essential {
        match purposes.last_mut().filter(|it| it.0 == request.right.purpose) {
            Some((_, whats)) => whats.push(what),
            None => purposes.push((request.right.purpose, vec![what])),
        }
    }
    for (purpose, whats) in purposes {
        findings.push(Finding::bad(
            "access",
            format!("{who} may not {}, which is required to {purpose}", whats.join(", nor ")),
            AS_THE_CHART,
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
            match value {
                // Asked only of one that serves a webhook: the value is set, and the roles are not the chart's.
                WEBHOOK => AS_THE_CHART.to_owned(),
                value => format!("to allow it: helm upgrade … --reuse-values --set {value}=true"),
            },
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
    use std::convert::Infallible;

    use axum::body::{Bytes, to_bytes};
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;
    use crate::connect::reach;
    use crate::exit::Failure;
    use crate::judgement::acting::Acting;

    /// A cluster that lets whoever asks read these resources.
    fn lets_read(readable: &'static [&'static str]) -> Client {
        let service = tower::service_fn(move |request: http::Request<Body>| async move {
            let body = to_bytes(axum::body::Body::new(request.into_body()), usize::MAX).await.unwrap_or_default();
            let review: Value = serde_json::from_slice(&body).unwrap_or_default();
            let asked =
                |name: &str| review.pointer(&format!("/spec/resourceAttributes/{name}")).and_then(Value::as_str);
            let reads = asked("verb").is_some_and(|it| READ.contains(&it));
            let allowed = reads && asked("resource").is_some_and(|it| readable.contains(&it));
            let answer = json!({"spec": {}, "status": {"allowed": allowed}}).to_string();
            Ok::<_, Infallible>(http::Response::new(axum::body::Body::from(Bytes::from(answer))))
        });
        Client::new(service, "default")
    }

    #[tokio::test]
    async fn who_may_not_see_everything_is_told_what_at_once() {
        const ALL: &[&str] = &[
            "pods",
            "nodes",
            "namespaces",
            "limitranges",
            "resourcequotas",
            "deployments",
            "statefulsets",
            "daemonsets",
            "jobs",
            "cronjobs",
            "horizontalpodautoscalers",
            "poddisruptionbudgets",
        ];
        assert_eq!(unseen(&lets_read(ALL)).await.unwrap(), None);
        let two = unseen(&lets_read(&ALL[2..])).await.unwrap();
        assert_eq!(two.as_deref(), Some("you may not list and watch pods, nodes"));
        let found = look(&lets_read(&ALL[2..]), None).await;
        let says: Vec<&str> = found.iter().map(|it| it.says.as_str()).collect();
        let pods = "you may not list pods, nor watch pods, nor list nodes, nor watch nodes, which is required to read sizes, free capacity and quotas";
        assert_eq!(says[0], pods, "one finding a purpose");
        assert!(!says[1].contains("limitranges"), "{says:?}");
    }

    /// What is advised to a controller with a webhook that may not do this.
    async fn advised(verb: &'static str, resource: &'static str, more: &str) -> Vec<(String, String)> {
        let service = tower::service_fn(move |request: http::Request<Body>| async move {
            let body = to_bytes(axum::body::Body::new(request.into_body()), usize::MAX).await.unwrap_or_default();
            let review: Value = serde_json::from_slice(&body).unwrap_or_default();
            let asked = &review["spec"]["resourceAttributes"];
            let refused = asked["verb"] == verb && asked["resource"] == resource;
            let answer = json!({"spec": {}, "status": {"allowed": !refused}}).to_string();
            Ok::<_, Infallible>(http::Response::new(axum::body::Body::from(Bytes::from(answer))))
        });
        let deployment = json!({"metadata": {"namespace": "supple-system", "name": "supple"}, "spec": {
            "selector": {}, "template": {"spec": {"containers": [
                {"name": "supple", "args": ["controller", "--webhook-service=supple-system/supple-webhook", more]}]}}}});
        let acting = Acting::Installed(serde_json::from_value(deployment).unwrap());
        let (installed, _) = super::super::cluster::installed(&acting);
        let found = look(&Client::new(service, "default"), installed.as_ref()).await;
        found.into_iter().map(|it| (it.says, it.cure)).collect()
    }

    #[tokio::test]
    async fn what_is_advised_about_a_webhook_is_what_is_not_set() {
        let account = "system:serviceaccount:supple-system:default";
        for (verb, resource, cannot, cure) in [
            (
                "patch",
                "mutatingwebhookconfigurations",
                "have new pods sized by its webhook",
                "webhook.mutating.enabled",
            ),
            (
                "patch",
                "validatingwebhookconfigurations",
                "have resizes of others checked by its webhook",
                "webhook.validating.enabled",
            ),
        ] {
            let says =
                format!("{account} may not {verb} {resource}.admissionregistration.k8s.io, so it cannot {cannot}");
            let cure = format!("to allow it: helm upgrade … --reuse-values --set {cure}=true");
            assert_eq!(advised(verb, resource, "").await, [(says, cure)]);
            let given = advised(verb, resource, "--webhook-certificate=/etc/supple/webhook").await;
            assert!(given.iter().all(|it| !it.0.contains("may not")), "{given:?}");
        }
        let says = format!(
            "{account} may not get mutatingwebhookconfigurations.admissionregistration.k8s.io, so it cannot read whether \
             its webhook is registered"
        );
        assert_eq!(
            advised("get", "mutatingwebhookconfigurations", "--webhook-certificate=/etc/supple/webhook").await,
            [(says, AS_THE_CHART.to_owned())],
            "that it serves a webhook shows that webhook.enabled is set"
        );
    }

    /// A cluster that answers everything with this code.
    fn answers(code: u16) -> Client {
        let service = tower::service_fn(move |_: http::Request<Body>| async move {
            let status = json!({"kind": "Status", "status": "Failure", "message": "so it is", "code": code});
            let response = http::Response::builder().status(code);
            Ok::<_, Infallible>(response.body(axum::body::Body::from(status.to_string())).unwrap())
        });
        Client::new(service, "default")
    }

    #[tokio::test]
    async fn who_cannot_be_asked_goes_on_and_who_answers_nothing_does_not() {
        for (code, goes_on) in [(403, true), (404, true), (401, false), (500, false), (503, false)] {
            assert_eq!(unseen(&answers(code)).await.is_ok_and(|it| it.is_none()), goes_on, "{code}");
            assert_eq!(reach(&answers(code)).await.is_ok(), goes_on, "{code}");
        }
        let Err(Failure::Unreachable(said)) = reach(&answers(401)).await else { panic!("it is let in") };
        assert!(said.contains("does not accept these credentials (so it is)"), "{said}");
    }

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
