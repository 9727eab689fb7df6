//! Which workloads are meant: `deployment/web`, `sts/db`, all of a namespace, or all there are.

use std::str::FromStr;

use supple_controller::account::Account;

use crate::exit::Failure;

/// Short names of kinds, as kubectl has them.
const KINDS: [(&str, &[&str]); 7] = [
    ("Deployment", &["deployment", "deployments", "deploy"]),
    ("StatefulSet", &["statefulset", "statefulsets", "sts"]),
    ("DaemonSet", &["daemonset", "daemonsets", "ds"]),
    ("ReplicaSet", &["replicaset", "replicasets", "rs"]),
    ("Job", &["job", "jobs"]),
    ("CronJob", &["cronjob", "cronjobs", "cj"]),
    ("Pod", &["pod", "pods", "po"]),
];

/// A workload by kind and name, and where it is said so by namespace, as the table of `plan -A` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its namespace, where it is named: `shop/deployment/web`.
    pub namespace: Option<String>,
    /// Its kind, as in manifests where it is one that is known; else as typed.
    pub kind: String,
    /// Its name; `None`: all of the kind.
    pub name: Option<String>,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let (namespace, kind, name) = match parts[..] {
            [kind] => (None, kind, None),
            [kind, name] => (None, kind, Some(name)),
            [namespace, kind, name] => (Some(namespace), kind, Some(name)),
            _ => (None, "", None),
        };
        if kind.is_empty() || [namespace, name].contains(&Some("")) {
            return Err(format!(
                "{text:?} is not a workload; expected [NAMESPACE/]KIND/NAME, for example deployment/web"
            ));
        }
        let typed = kind.to_lowercase();
        let known = KINDS.iter().find(|(_, words)| words.contains(&typed.as_str()));
        let kind = known.map_or(kind, |(kind, _)| kind);
        Ok(Self { namespace: namespace.map(str::to_owned), kind: kind.to_owned(), name: name.map(str::to_owned) })
    }
}

impl Target {
    /// Where it is looked for: where it says, else in the namespace that was given or is the context's.
    ///
    /// # Errors
    /// When it names another namespace than was given.
    pub fn namespace(&self, given: Option<&str>, context: String) -> Result<String, Failure> {
        match (self.namespace.as_deref(), given) {
            (Some(own), Some(given)) if own != given => Err(Failure::Usage(format!(
                "{own}/{}/{} is not in namespace {given}; give only one of the two",
                self.kind.to_lowercase(),
                self.name.as_deref().unwrap_or_default()
            ))),
            (own, given) => Ok(own.or(given).map_or(context, str::to_owned)),
        }
    }

    /// That there is none of it.
    pub fn is_none_in(&self, namespace: Option<&str>) -> String {
        let kind = self.kind.to_lowercase();
        let what = match &self.name {
            Some(name) => format!("no {kind}/{name}"),
            None => format!("nothing of kind {kind}"),
        };
        let of = namespace.map_or_else(String::new, |it| format!(" in namespace {it}"));
        format!("there is {what}{of}; `supple plan -A --all` lists all workloads")
    }

    /// Whether it means this one.
    pub fn is(&self, account: &Account) -> bool {
        account.kind.eq_ignore_ascii_case(&self.kind) && self.name.as_ref().is_none_or(|it| *it == account.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Option<(&str, Option<&str>)>) {
        let got = text.parse::<Target>().ok();
        let expect = expect.map(|(kind, name)| Target {
            namespace: text.matches('/').nth(1).and_then(|_| text.split('/').next()).map(str::to_owned),
            kind: kind.to_owned(),
            name: name.map(str::to_owned),
        });
        assert_eq!(got, expect, "{text}");
    }

    #[test]
    fn targets() {
        check("deployment/web", Some(("Deployment", Some("web"))));
        check("deploy/web", Some(("Deployment", Some("web"))));
        check("sts", Some(("StatefulSet", None)));
        check("Rollout/canary", Some(("Rollout", Some("canary"))));
        check("shop/deploy/web", Some(("Deployment", Some("web"))));
        check("shop/deploy/", None);
        check("/deploy/web", None);
        check("a/b/c/d", None);
        check("/web", None);
        check("deployment/", None);
        check("", None);
    }

    #[test]
    fn where_it_is_looked_for() {
        let of = |text: &str, given: Option<&str>| {
            text.parse::<Target>().unwrap().namespace(given, "context".to_owned()).ok()
        };
        assert_eq!(of("pod/a", None).as_deref(), Some("context"));
        assert_eq!(of("pod/a", Some("x")).as_deref(), Some("x"));
        assert_eq!(of("shop/pod/a", None).as_deref(), Some("shop"));
        assert_eq!(of("shop/pod/a", Some("shop")).as_deref(), Some("shop"));
        assert_eq!(of("shop/pod/a", Some("x")), None);
    }
}
