//! Which loop acts on the cluster, if one does: the controller that is installed in it, or that of `supple up`, which runs in the
//! API server's own process. What it was told decides what it does, so whoever says that beforehand has to know it.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use supple_api::autoscaler::CarryOut;
use supple_api::names;

/// The label by which a deployment is found that is older than [`names::CONTROLLER`] or was written by hand; a chart's `nameOverride`
/// changes it.
const BY_NAME: &str = "app.kubernetes.io/name=supple";

/// The definition that the loop of `supple up` leaves its word on.
pub(crate) const DEFINITION: &str = "rightsizings.supple.dev";

/// Who acts.
pub(super) enum Acting {
    /// The controller of a deployment.
    Installed(Box<Deployment>),
    /// The loop of `supple up`.
    InProcess {
        /// Which VPA objects are its.
        vpa: CarryOut,
        /// It serves its webhook.
        webhook: bool,
    },
    /// Nobody that could be found; why it could not be looked for, where that is so.
    Nobody(Option<kube::Error>),
}

impl Acting {
    /// Look for it.
    pub async fn find(client: &Client) -> Self {
        let mut failed = None;
        for label in [names::CONTROLLER, BY_NAME] {
            let ours = ListParams::default().labels(label);
            match Api::<Deployment>::all(client.clone()).list(&ours).await.map(|it| it.items.into_iter().next()) {
                Ok(Some(deployment)) => return Self::Installed(Box::new(deployment)),
                Ok(None) => {}
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        let definition = Api::<CustomResourceDefinition>::all(client.clone()).get_opt(DEFINITION).await;
        let said = definition.ok().flatten().and_then(|it| word(it.annotations().get(names::LOOP)?));
        said.map_or(Self::Nobody(failed), |(vpa, webhook)| Self::InProcess { vpa, webhook })
    }

    /// The namespace of its deployment.
    pub fn namespace(&self) -> Option<String> {
        match self {
            Self::Installed(it) => it.namespace(),
            Self::InProcess { .. } | Self::Nobody(_) => None,
        }
    }

    /// Which VPA objects are its; `None`: nobody has said so.
    pub fn autoscalers(&self) -> Option<CarryOut> {
        match self {
            Self::Installed(it) => Some(carried_out(&arguments(it))),
            Self::InProcess { vpa, .. } => Some(*vpa),
            Self::Nobody(_) => None,
        }
    }

    /// Whether it asks guards of policies in namespaces.
    pub fn asks_namespaced_guards(&self) -> bool {
        !matches!(self, Self::Installed(it) if value_of(&arguments(it), "--namespaced-guards") == Some("false"))
    }

    /// Whether it was told to serve a webhook. Whether anybody asks that, the registrations say.
    pub fn serves_webhook(&self) -> bool {
        match self {
            Self::Installed(it) => value_of(&arguments(it), "--webhook-service").is_some(),
            Self::InProcess { webhook, .. } => *webhook,
            Self::Nobody(_) => false,
        }
    }
}

/// Who is about to act on a cluster.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Newcomer<'a> {
    /// The namespace it runs in, and where its lease would be.
    pub namespace: &'a str,
    /// It acts only while it holds the lease.
    pub elects: bool,
    /// The pod it is, where it is one.
    pub pod: Option<&'a str>,
}

/// Why it must not, where another loop acts already: both would resize the same pods under one name, and neither would notice.
/// What cannot be looked for is not there.
pub(crate) async fn already(client: &Client, newcomer: Newcomer<'_>) -> Option<String> {
    // A pod of the chart's. No pod is in the cluster of a `supple up` that has a loop, and its account may not look for that one.
    if newcomer.elects && newcomer.pod.is_some() {
        return None;
    }
    in_the_way(&Acting::find(client).await, newcomer)
}

fn in_the_way(acting: &Acting, newcomer: Newcomer<'_>) -> Option<String> {
    match acting {
        Acting::InProcess { .. } => Some(
            "the loop of `supple up` already acts on this cluster, and a second one would resize the same pods: use \
             that loop, or start the cluster with `supple up --no-loop`"
                .to_owned(),
        ),
        Acting::Installed(it) if !newcomer.elects && !is_at_rest(it) && !is_of(it, newcomer) => {
            let (namespace, name) = (it.namespace().unwrap_or_default(), it.name_any());
            Some(format!(
                "deployment {namespace}/{name} already acts on this cluster, and a second loop would resize the same \
                 pods: use leader election (--leader-election --namespace={namespace}), or stop the deployment first \
                 (kubectl -n {namespace} scale deployment/{name} --replicas=0)"
            ))
        }
        Acting::Installed(_) | Acting::Nobody(_) => None,
    }
}

fn is_at_rest(deployment: &Deployment) -> bool {
    deployment.spec.as_ref().and_then(|it| it.replicas) == Some(0)
}

/// Whether the newcomer is one of its pods, which bear its name before their own.
fn is_of(deployment: &Deployment, newcomer: Newcomer<'_>) -> bool {
    let rest = newcomer.pod.and_then(|it| it.strip_prefix(&*deployment.name_any()));
    deployment.namespace().as_deref() == Some(newcomer.namespace) && rest.is_some_and(|it| it.starts_with('-'))
}

/// What a loop of `supple up` leaves on its definition: `all`, `all webhook`.
fn word(said: &str) -> Option<(CarryOut, bool)> {
    let (vpa, rest) = said.split_once(' ').unwrap_or((said, ""));
    Some((vpa.parse().ok()?, rest == "webhook"))
}

/// What a deployment's program is told.
pub(super) fn arguments(deployment: &Deployment) -> Vec<String> {
    let pod = deployment.spec.as_ref().and_then(|it| it.template.spec.as_ref());
    pod.and_then(|it| it.containers.first()?.args.clone()).unwrap_or_default()
}

fn carried_out(arguments: &[String]) -> CarryOut {
    value_of(arguments, "--vpa").and_then(|it| it.parse().ok()).unwrap_or_default()
}

/// The last value of a flag, written as one argument or as two.
fn value_of<'a>(arguments: &'a [String], flag: &str) -> Option<&'a str> {
    let mut found = None;
    for (at, it) in arguments.iter().enumerate() {
        match it.strip_prefix(flag) {
            Some("") => found = arguments.get(at + 1).map(String::as_str),
            Some(rest) => found = rest.strip_prefix('=').or(found),
            None => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// A cluster with one deployment, which has this label.
    fn has(label: &'static str) -> Client {
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| async move {
            let query = request.uri().query().unwrap_or_default().replace("%2F", "/").replace("%3D", "=");
            let is_asked = request.uri().path().ends_with("/deployments") && query.contains(label);
            let deployment = serde_json::json!({"metadata": {"namespace": "infra", "name": "rightsizer"}});
            let items = if is_asked { vec![deployment] } else { Vec::new() };
            let list = serde_json::json!({"metadata": {}, "items": items}).to_string();
            Ok::<_, Infallible>(http::Response::new(axum::body::Body::from(list)))
        });
        Client::new(service, "default")
    }

    #[tokio::test]
    async fn a_controller_is_found_whatever_it_is_called() {
        for (label, expect) in [
            ("supple.dev/component=controller", Some("infra")),
            ("app.kubernetes.io/name=supple", Some("infra")),
            ("app.kubernetes.io/name=rightsizer", None),
        ] {
            assert_eq!(Acting::find(&has(label)).await.namespace().as_deref(), expect, "{label}");
        }
    }

    #[track_caller]
    fn check(line: &str, expect: CarryOut) {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        assert_eq!(carried_out(&arguments), expect, "{line}");
    }

    #[test]
    fn a_second_loop_is_refused() {
        let installed = |replicas: i32| {
            let deployment = serde_json::json!({"metadata": {"namespace": "supple-system", "name": "supple"},
                "spec": {"replicas": replicas, "selector": {}, "template": {}}});
            Acting::Installed(Box::new(serde_json::from_value(deployment).unwrap()))
        };
        let in_process = || Acting::InProcess { vpa: CarryOut::Named, webhook: false };
        let alone = Newcomer { namespace: "supple-system", elects: false, pod: None };
        let elects = Newcomer { elects: true, ..alone };
        let own = Newcomer { pod: Some("supple-5d4-x"), ..alone };
        for (acting, newcomer, expect) in [
            (Acting::Nobody(None), alone, None),
            (in_process(), alone, Some("supple up --no-loop")),
            (in_process(), elects, Some("supple up --no-loop")),
            (installed(2), alone, Some("--leader-election --namespace=supple-system")),
            (installed(2), elects, None),
            (installed(0), alone, None),
            (installed(1), own, None),
            (
                installed(1),
                Newcomer { namespace: "elsewhere", ..own },
                Some(
                    "deployment supple-system/supple already \
                                                  acts",
                ),
            ),
            (
                installed(1),
                Newcomer { pod: Some("supplement-5d4-x"), ..own },
                Some("deployment supple-system/supple already acts"),
            ),
        ] {
            let said = in_the_way(&acting, newcomer);
            let fits = match (&said, expect) {
                (Some(said), Some(part)) => said.contains(part),
                (said, expect) => said.is_none() && expect.is_none(),
            };
            assert!(fits, "{newcomer:?}: {said:?}, expected {expect:?}");
        }
    }

    #[test]
    fn the_word_of_a_loop_in_process() {
        assert_eq!(word("all"), Some((CarryOut::All, false)));
        assert_eq!(word("named webhook"), Some((CarryOut::Named, true)));
        assert_eq!(word("much"), None);
    }

    #[test]
    fn what_a_controller_is_told_of_guards() {
        for (argument, expect) in
            [("--namespaced-guards=false", false), ("--namespaced-guards=true", true), ("--interval=15s", true)]
        {
            let container = serde_json::json!({"name": "supple", "args": ["controller", argument]});
            let deployment = serde_json::json!({"metadata": {}, "spec": {
                "selector": {}, "template": {"spec": {"containers": [container]}}}});
            let acting = Acting::Installed(serde_json::from_value(deployment).unwrap());
            assert_eq!(acting.asks_namespaced_guards(), expect, "{argument}");
        }
        assert!(Acting::Nobody(None).asks_namespaced_guards());
    }

    #[test]
    fn what_a_controller_is_told_of_autoscalers() {
        check("controller --interval=15s", CarryOut::Named);
        check("controller --vpa=all", CarryOut::All);
        check("controller --vpa none --interval=15s", CarryOut::None);
        check("controller --vpa=all --vpa=none", CarryOut::None);
        check("controller --vpa=soon", CarryOut::Named);
        check("controller --vpas=all", CarryOut::Named);
    }
}
