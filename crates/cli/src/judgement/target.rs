//! Which workloads are meant: `deployment/web`, `sts/db`, all of a namespace, or all there are.

use std::str::FromStr;

use supple_controller::account::Account;

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

/// A workload by kind and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its kind, as in manifests where it is one that is known; else as typed.
    pub kind: String,
    /// Its name; `None`: all of the kind.
    pub name: Option<String>,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, name) = text.split_once('/').map_or((text, None), |(kind, name)| (kind, Some(name)));
        if kind.is_empty() || name.is_some_and(str::is_empty) {
            return Err(format!("{text:?} names no workload; expected KIND/NAME as in deployment/web"));
        }
        let typed = kind.to_lowercase();
        let known = KINDS.iter().find(|(_, words)| words.contains(&typed.as_str()));
        let kind = known.map_or(kind, |(kind, _)| kind);
        Ok(Self { kind: kind.to_owned(), name: name.map(str::to_owned) })
    }
}

impl Target {
    /// That there is none of it.
    pub fn is_none_in(&self, namespace: Option<&str>) -> String {
        let kind = self.kind.to_lowercase();
        let what = match &self.name {
            Some(name) => format!("no {kind}/{name}"),
            None => format!("nothing of the kind {kind}"),
        };
        let of = namespace.map_or_else(String::new, |it| format!(" in namespace {it}"));
        format!("there is {what}{of}; `supple plan -A --all` lists all there are")
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
        let expect = expect.map(|(kind, name)| Target { kind: kind.to_owned(), name: name.map(str::to_owned) });
        assert_eq!(got, expect, "{text}");
    }

    #[test]
    fn targets() {
        check("deployment/web", Some(("Deployment", Some("web"))));
        check("deploy/web", Some(("Deployment", Some("web"))));
        check("sts", Some(("StatefulSet", None)));
        check("Rollout/canary", Some(("Rollout", Some("canary"))));
        check("/web", None);
        check("deployment/", None);
        check("", None);
    }
}
