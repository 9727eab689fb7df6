//! Names: of cgroups as the reference lays them out, for both cgroup drivers, and of labels as the kubelet sets them. Pure.
//!
//! ```text
//!   cgroupfs   <root>/kubepods/burstable/pod<uid>
//!   systemd    <root>.slice/<root>-kubepods.slice/<root>-kubepods-burstable.slice/<root>-kubepods-burstable-pod<uid>.slice
//! ```
//!
//! A slice's name says where it is, with dashes between the levels, so a dash inside a level is written `_`.

use std::collections::BTreeMap;

use supple_resize::qos::QosClass;

use crate::cgroup::Group;
use crate::runtime::PodRef;

/// Who makes cgroups: what container runtime and node must agree about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// Whoever needs one makes a directory.
    Cgroupfs,
    /// systemd, of slices and scopes.
    Systemd,
}

impl Driver {
    /// The word for it in every configuration file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cgroupfs => "cgroupfs",
            Self::Systemd => "systemd",
        }
    }
}

/// The levels from the top of the hierarchies to a pod's cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Whose rules names follow.
    pub driver: Driver,
    /// The level that is ours alone.
    pub root: String,
}

/// The level that holds all pods.
const PODS: &str = "kubepods";

/// What a pod's level begins with.
const POD: &str = "pod";

impl Layout {
    /// The path of directories to our root.
    pub fn root(&self) -> Vec<String> {
        self.path(&[])
    }

    /// To the level of all pods.
    pub fn pods(&self) -> Vec<String> {
        self.path(&[PODS])
    }

    /// To the level of a class; Guaranteed pods have none of their own.
    pub fn class(&self, qos: QosClass) -> Vec<String> {
        match class(qos) {
            Some(class) => self.path(&[PODS, class]),
            None => self.pods(),
        }
    }

    /// To a pod's own.
    pub fn pod(&self, qos: QosClass, uid: &str) -> Vec<String> {
        let pod = format!("{POD}{uid}");
        match class(qos) {
            Some(class) => self.path(&[PODS, class, &pod]),
            None => self.path(&[PODS, &pod]),
        }
    }

    /// The last level of a pod's path if this is one: a directory that holds a pod and not a class of them.
    pub fn is_pod(&self, name: &str) -> bool {
        let own = match self.driver {
            Driver::Cgroupfs => name,
            Driver::Systemd => name.rsplit('-').next().unwrap_or_default(),
        };
        own.starts_with(POD)
    }

    fn path(&self, below: &[&str]) -> Vec<String> {
        let levels = std::iter::once(self.root.as_str()).chain(below.iter().copied());
        match self.driver {
            Driver::Cgroupfs => levels.map(str::to_owned).collect(),
            Driver::Systemd => {
                let mut name = String::new();
                levels
                    .map(|level| {
                        if !name.is_empty() {
                            name.push('-');
                        }
                        name.push_str(&level.replace('-', "_"));
                        format!("{name}.slice")
                    })
                    .collect()
            }
        }
    }
}

/// A path of directories as the CRI takes it: from the top of the hierarchies, in the syntax of a file system also for
/// systemd.
pub fn cgroup_parent(path: &[String]) -> String {
    path.iter().flat_map(|level| ["/", level]).collect()
}

fn class(qos: QosClass) -> Option<&'static str> {
    match qos {
        QosClass::Guaranteed => None,
        QosClass::Burstable => Some("burstable"),
        QosClass::BestEffort => Some("besteffort"),
    }
}

/// The class that a word stands for; whatever is none is Burstable, where a pod without a word is least wrong.
pub fn qos(word: &str) -> QosClass {
    [QosClass::Guaranteed, QosClass::BestEffort]
        .into_iter()
        .find(|it| it.as_str() == word)
        .unwrap_or(QosClass::Burstable)
}

/// Whose node a sandbox or container belongs to: the name of our root.
pub const NODE: &str = "supple.dev/node-root";
/// Annotation of a sandbox: the pod's class, which says where its cgroup is.
pub const QOS: &str = "supple.dev/qos-class";
/// As the kubelet sets it: whatever lists containers reads these.
pub const POD_NAME: &str = "io.kubernetes.pod.name";
/// See [`POD_NAME`].
pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
/// See [`POD_NAME`].
pub const POD_UID: &str = "io.kubernetes.pod.uid";
/// See [`POD_NAME`].
pub const CONTAINER: &str = "io.kubernetes.container.name";
/// Annotation of a container: which run it is.
pub const RESTARTS: &str = "io.kubernetes.container.restartCount";

/// The labels that say which pod of which node something belongs to.
pub fn labels(root: &str, pod: &PodRef) -> BTreeMap<String, String> {
    let PodRef { uid, namespace, name } = pod;
    [(NODE, root), (POD_UID, uid), (POD_NAMESPACE, namespace), (POD_NAME, name)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// The pod that labels name; `None` where one is missing, or its UID could not be a directory: whoever may speak to the
/// container runtime may write labels.
pub fn pod(labels: &BTreeMap<String, String>) -> Option<PodRef> {
    let get = |key| labels.get(key).cloned();
    let uid = get(POD_UID).filter(|uid| Group::is_name(uid))?;
    Some(PodRef { uid, namespace: get(POD_NAMESPACE)?, name: get(POD_NAME)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(driver: Driver, qos: QosClass, expect: &str) {
        let layout = Layout { driver, root: "supple-7f".into() };
        let path = layout.pod(qos, "1b9d-44-aa");
        assert_eq!(cgroup_parent(&path), expect);
        assert!(layout.is_pod(path.last().unwrap()), "{path:?} is a pod's");
        let above = [layout.root(), layout.pods(), layout.class(qos)];
        assert!(above.iter().all(|it| path.starts_with(it)), "{path:?} is below {above:?}");
        assert!(!above.iter().any(|it| layout.is_pod(it.last().unwrap())), "none of {above:?} is a pod's");
    }

    #[test]
    fn pods_are_where_the_reference_has_them() {
        use Driver::{Cgroupfs, Systemd};
        check(Cgroupfs, QosClass::Guaranteed, "/supple-7f/kubepods/pod1b9d-44-aa");
        check(Cgroupfs, QosClass::Burstable, "/supple-7f/kubepods/burstable/pod1b9d-44-aa");
        check(Cgroupfs, QosClass::BestEffort, "/supple-7f/kubepods/besteffort/pod1b9d-44-aa");
        check(
            Systemd,
            QosClass::Guaranteed,
            "/supple_7f.slice/supple_7f-kubepods.slice/supple_7f-kubepods-pod1b9d_44_aa.slice",
        );
        check(
            Systemd,
            QosClass::Burstable,
            "/supple_7f.slice/supple_7f-kubepods.slice/supple_7f-kubepods-burstable.slice/\
             supple_7f-kubepods-burstable-pod1b9d_44_aa.slice",
        );
        check(
            Systemd,
            QosClass::BestEffort,
            "/supple_7f.slice/supple_7f-kubepods.slice/supple_7f-kubepods-besteffort.slice/\
             supple_7f-kubepods-besteffort-pod1b9d_44_aa.slice",
        );
    }

    #[test]
    fn what_labels_say_is_read_back() {
        let id = PodRef { uid: "u".into(), namespace: "ns".into(), name: "p".into() };
        let mut labels = labels("supple-7f", &id);
        assert_eq!(labels.get(NODE).map(String::as_str), Some("supple-7f"));
        assert_eq!(pod(&labels), Some(id));
        for uid in ["", "..", "../../x", "a/b"] {
            labels.insert(POD_UID.to_owned(), uid.to_owned());
            assert_eq!(pod(&labels), None, "{uid:?} leads out of our own directories");
        }
        labels.remove(POD_UID);
        assert_eq!(pod(&labels), None);
        for class in [QosClass::Guaranteed, QosClass::Burstable, QosClass::BestEffort] {
            assert_eq!(qos(class.as_str()), class);
        }
    }
}
