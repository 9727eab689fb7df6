//! What the cluster is, what of us is installed in it, and who else is asked about a resize.

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, RuleWithOperations, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};

use supple_api::names;

use super::Finding;
use crate::connect::{chain, unreachable};
use crate::exit::Failure;
use crate::judgement::acting::{Acting, arguments};

/// A controller of ours.
pub(super) struct Installed {
    namespace: String,
    name: String,
    account: String,
    ready: i32,
    arguments: Vec<String>,
}

impl Installed {
    /// Its namespace and its name.
    pub(super) fn place(&self) -> (&str, &str) {
        (&self.namespace, &self.name)
    }

    /// Whether it serves a webhook.
    pub(super) fn serves_webhook(&self) -> bool {
        self.arguments.iter().any(|it| it.starts_with("--webhook-service"))
    }

    /// Whether the webhook's certificate is somebody else's, who has it trusted, too.
    pub(super) fn is_given_certificate(&self) -> bool {
        self.arguments.iter().any(|it| it.starts_with("--webhook-certificate"))
    }

    /// As access is asked for it.
    pub(super) fn account(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.account)
    }
}

pub(super) async fn version(client: &Client) -> Result<Finding, Failure> {
    let version = client.apiserver_version().await.map_err(|error| unreachable(&error))?;
    let minor: u32 = version.minor.trim_end_matches('+').parse().unwrap_or(0);
    let says = format!("Kubernetes {}", version.git_version);
    Ok(match minor {
        0..=32 => Finding::bad(
            "version",
            says + ": in-place resize requires 1.33",
            "upgrade the cluster; until then Supple resizes nothing in place",
        ),
        33 => Finding::note(
            "version",
            says + ": lowering a memory limit in place requires 1.34",
            "upgrade the cluster to lower memory limits",
        ),
        _ => Finding::good("version", says),
    })
}

pub(super) async fn resize(client: &Client) -> Finding {
    match client.list_core_api_resources("v1").await {
        Ok(list) if list.resources.iter().any(|it| it.name == "pods/resize") => {
            Finding::good("pods/resize", "is served")
        }
        Ok(_) => Finding::bad(
            "pods/resize",
            "is not served",
            "enable the feature gate InPlacePodVerticalScaling, or upgrade the cluster",
        ),
        Err(error) => Finding::note(
            "pods/resize",
            format!("cannot be checked: {}", chain(&error)),
            "use an account with more rights",
        ),
    }
}

/// Our controller in the cluster, if there is one.
pub(super) fn installed(acting: &Acting) -> (Option<Installed>, Finding) {
    let deployment = match acting {
        Acting::Installed(deployment) => deployment,
        Acting::InProcess { vpa, .. } => {
            let says = format!("the loop of `supple up` runs in the API server's own process (--vpa {vpa})");
            return (None, Finding::good("controller", says));
        }
        Acting::Nobody(Some(error)) => {
            let says = format!("cannot be listed: {}", chain(error));
            return (None, Finding::note("controller", says, "use an account that may list deployments"));
        }
        Acting::Nobody(None) => {
            let says = format!(
                "there is no deployment with the label {}: nothing acts, unless a controller runs elsewhere",
                names::CONTROLLER
            );
            return (
                None,
                Finding::note("controller", says, "helm install supple charts/supple, or run supple controller"),
            );
        }
    };
    let status = deployment.status.clone().unwrap_or_default();
    let spec = deployment.spec.as_ref();
    let pod = spec.and_then(|it| it.template.spec.as_ref());
    let it = Installed {
        namespace: deployment.namespace().unwrap_or_default(),
        name: deployment.name_any(),
        account: pod.and_then(|it| it.service_account_name.clone()).unwrap_or_else(|| "default".to_owned()),
        ready: status.ready_replicas.unwrap_or(0),
        arguments: arguments(deployment),
    };
    let wanted = spec.and_then(|it| it.replicas).unwrap_or(1);
    let says = format!("{}/{}: {} of {wanted} replicas ready", it.namespace, it.name, it.ready);
    let look =
        format!("kubectl describe deployment/{0} -n {1}; kubectl logs deployment/{0} -n {1}", it.name, it.namespace);
    let finding = match (it.ready, wanted) {
        (_, 0) => Finding::note(
            "controller",
            says + ": scaled to zero, so nothing acts",
            format!("kubectl scale deployment/{} -n {} --replicas=1", it.name, it.namespace),
        ),
        (0, _) => Finding::bad("controller", says, look),
        (ready, wanted) if ready < wanted => Finding::note("controller", says, look),
        _ => Finding::good("controller", says),
    };
    (Some(it), finding)
}

/// A webhook of whatever kind.
struct Hook {
    configuration: String,
    name: String,
    client: WebhookClientConfig,
    rules: Vec<RuleWithOperations>,
    fails_closed: bool,
    seconds: i32,
}

impl Hook {
    /// Of a webhook of either kind, as its configuration says; what it leaves out is Kubernetes' own.
    fn new(
        configuration: &str,
        name: String,
        client: WebhookClientConfig,
        rules: Option<Vec<RuleWithOperations>>,
        failure_policy: Option<String>,
        seconds: Option<i32>,
    ) -> Self {
        Self {
            configuration: configuration.to_owned(),
            name,
            client,
            rules: rules.unwrap_or_default(),
            fails_closed: failure_policy.is_none_or(|it| it == "Fail"),
            seconds: seconds.unwrap_or(10),
        }
    }

    /// Whether it is asked about updates of `pods/resize`.
    fn sees_resizes(&self) -> bool {
        let has =
            |list: &Option<Vec<String>>, words: &[&str]| list.iter().flatten().any(|it| words.contains(&it.as_str()));
        self.rules.iter().any(|it| {
            has(&it.operations, &["*", "UPDATE"])
                && has(&it.api_groups, &["*", ""])
                && has(&it.resources, &["*/*", "pods/*", "pods/resize", "*/resize"])
        })
    }

    fn is_ours(&self) -> bool {
        self.name.ends_with(".supple.dev")
    }
}

/// Ours, as they stand; others', where they are asked about resizes.
pub(super) async fn webhooks(client: &Client, installed: Option<&Installed>, acting: &Acting) -> Vec<Finding> {
    let hooks = match hooks(client).await {
        Ok(hooks) => hooks,
        Err(error) => {
            let says = format!("cannot be listed: {}", chain(&error));
            return vec![Finding::note("webhooks", says, "use an account that may list webhook configurations")];
        }
    };
    let (ours, others): (Vec<Hook>, Vec<Hook>) = hooks.into_iter().partition(Hook::is_ours);
    let mut findings: Vec<Finding> = {
        let serves =
            matches!(acting, Acting::InProcess { webhook: true, .. }) || installed.is_some_and(|it| it.ready > 0);
        let given = installed.is_some_and(Installed::is_given_certificate);
        ours.iter().map(|it| of_ours(it, serves, given)).collect()
    };
    if ours.is_empty() {
        findings.push(none_of_ours(acting));
    }
    let mut asked = Vec::new();
    for it in others.iter().filter(|it| it.sees_resizes()) {
        let Hook { configuration, name, seconds, fails_closed, .. } = it;
        let says = format!("the API server calls {configuration} ({name}) for each resize, for up to {seconds} s");
        asked.push(if *fails_closed {
            Finding::note(
                "webhooks",
                says + ", and refuses the resize if there is no answer",
                "if resizes are refused, see the log of that webhook",
            )
        } else {
            Finding::good("webhooks", says)
        });
    }
    findings.extend(super::first_of(asked, 5));
    findings
}

/// None of ours is registered.
fn none_of_ours(acting: &Acting) -> Finding {
    let (off, cure) = match acting {
        Acting::InProcess { .. } => (
            "`supple up` was not given --webhook",
            "supple up --webhook registers it within a minute; otherwise see its log",
        ),
        Acting::Installed(_) | Acting::Nobody(_) => {
            ("webhook.enabled is off", "register it: helm upgrade … --reuse-values --set webhook.enabled=true")
        }
    };
    if acting.serves_webhook() {
        let says = "the controller serves a webhook, but it is not registered: the API server does not call it";
        Finding::bad("webhooks", says, cure)
    } else {
        Finding::good("webhooks", format!("Supple's webhook is not registered ({off})"))
    }
}

fn of_ours(it: &Hook, serves: bool, given: bool) -> Finding {
    let Hook { configuration, name, client, fails_closed, .. } = it;
    let who = format!("{configuration} ({name})");
    let silent = !serves;
    if client.ca_bundle.as_ref().is_none_or(|it| it.0.is_empty()) {
        let effect = if *fails_closed { "resizes are refused" } else { "the API server ignores it" };
        return Finding::bad(
            "webhooks",
            format!("{who} has no CA bundle yet: the API server cannot call it, and {effect}"),
            if given {
                "set webhook.certificate.caBundle, or have it put there: cert-manager does by the annotation \
                 cert-manager.io/inject-ca-from (webhook.annotations)"
            } else {
                "the leader writes it within a minute; otherwise see its log, and check that it may patch the registration"
            },
        );
    }
    if silent && *fails_closed {
        return Finding::bad(
            "webhooks",
            format!("{who} has failurePolicy Fail, but nothing serves it: every resize is refused"),
            "start the controller, or set webhook.failurePolicy=Ignore",
        );
    }
    if silent {
        let says = format!("{who} is registered, but nothing serves it: the API server ignores it");
        return Finding::note("webhooks", says, "start the controller, or set webhook.enabled=false");
    }
    Finding::good("webhooks", format!("{who} is registered and served"))
}

async fn hooks(client: &Client) -> Result<Vec<Hook>, kube::Error> {
    let all = ListParams::default();
    let mut hooks = Vec::new();
    for it in Api::<ValidatingWebhookConfiguration>::all(client.clone()).list(&all).await? {
        let configuration = format!("validatingwebhookconfiguration/{}", it.name_any());
        hooks.extend(it.webhooks.into_iter().flatten().map(|it| {
            Hook::new(&configuration, it.name, it.client_config, it.rules, it.failure_policy, it.timeout_seconds)
        }));
    }
    for it in Api::<MutatingWebhookConfiguration>::all(client.clone()).list(&all).await? {
        let configuration = format!("mutatingwebhookconfiguration/{}", it.name_any());
        hooks.extend(it.webhooks.into_iter().flatten().map(|it| {
            Hook::new(&configuration, it.name, it.client_config, it.rules, it.failure_policy, it.timeout_seconds)
        }));
    }
    Ok(hooks)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    fn hook(resources: &[&str], fails_closed: bool, authority: &[u8]) -> Hook {
        let some = |it: &str| Some(vec![it.to_owned()]);
        Hook {
            configuration: "validatingwebhookconfiguration/x".to_owned(),
            name: "resize.supple.dev".to_owned(),
            client: WebhookClientConfig {
                ca_bundle: Some(ByteString(authority.to_vec())),
                ..WebhookClientConfig::default()
            },
            rules: vec![RuleWithOperations {
                operations: some("UPDATE"),
                api_groups: some(""),
                resources: Some(resources.iter().map(|it| (*it).to_owned()).collect()),
                ..RuleWithOperations::default()
            }],
            fails_closed,
            seconds: 10,
        }
    }

    #[test]
    fn who_is_asked_about_resizes() {
        for (resources, expect) in [
            (&["pods"][..], false),
            (&["pods/resize"], true),
            (&["pods/*"], true),
            (&["*/*"], true),
            (&["*"], false),
            (&["services/*"], false),
        ] {
            assert_eq!(hook(resources, true, b"").sees_resizes(), expect, "{resources:?}");
        }
    }

    #[test]
    fn a_webhook_that_nobody_can_reach_is_said() {
        let states = [
            of_ours(&hook(&["pods/resize"], true, b""), true, false).state,
            of_ours(&hook(&["pods/resize"], true, b"x"), false, false).state,
            of_ours(&hook(&["pods/resize"], false, b"x"), false, false).state,
            of_ours(&hook(&["pods/resize"], true, b"x"), true, false).state,
        ];
        let cure = |given| of_ours(&hook(&["pods/resize"], true, b""), true, given).cure;
        assert!(cure(true).contains("webhook.certificate.caBundle") && cure(false).contains("may patch"));
        use super::super::State::{Bad, Good, Note};
        assert_eq!(states, [Bad, Bad, Note, Good]);
    }

    #[test]
    fn a_webhook_that_is_served_and_not_registered_is_said_of_whoever_serves_it() {
        let installed = |args: &[&str]| {
            let containers = serde_json::json!([{"name": "supple", "args": args}]);
            let template = serde_json::json!({"spec": {"containers": containers}});
            let deployment = serde_json::json!({"metadata": {}, "spec": {"selector": {}, "template": template}});
            Acting::Installed(serde_json::from_value(deployment).unwrap())
        };
        let in_process = |webhook| Acting::InProcess { vpa: supple_api::autoscaler::CarryOut::All, webhook };
        use super::super::State::{Bad, Good};
        for (acting, state, part) in [
            (installed(&["controller", "--webhook-service=supple/supple-webhook"]), Bad, "helm upgrade"),
            (installed(&["controller"]), Good, "webhook.enabled is off"),
            (in_process(true), Bad, "supple up --webhook registers it"),
            (in_process(false), Good, "not given --webhook"),
            (Acting::Nobody(None), Good, "webhook.enabled is off"),
        ] {
            let it = none_of_ours(&acting);
            assert!(
                it.state == state && (it.says.contains(part) || it.cure.contains(part)),
                "{}: {}",
                it.says,
                it.cure
            );
        }
    }
}
