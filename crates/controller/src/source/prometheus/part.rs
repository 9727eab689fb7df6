//! Whose past is asked for at once: so few pods that what is told of them fits, however many there are. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Namespace and name of a pod.
pub type PodName = (Arc<str>, Arc<str>);

/// How little can be asked for at once: what all the queries say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Some pods of a namespace.
    Pods,
    /// A namespace.
    Namespace,
    /// All there is.
    Nothing,
}

/// Pods that are asked for at once. Of others, nothing that a server tells is taken in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Their namespace; `None`: of several.
    pub namespace: Option<Arc<str>>,
    /// Whether these pods alone are asked for, and not all that are there beside them.
    pub names_pods: bool,
    /// Which.
    pub pods: BTreeSet<PodName>,
    /// How many containers they have together.
    pub containers: usize,
}

/// A query with the names of so many characters can be sent in an address, also where they stand in it twice.
const LONGEST_NAMES: usize = 1000;

/// The pods, with how many containers each has, in parts of at most so many containers where they can be asked for so.
pub fn parts(pods: impl IntoIterator<Item = (PodName, usize)>, by: By, most: usize) -> VecDeque<Part> {
    let pods: BTreeMap<PodName, usize> = pods.into_iter().collect();
    let mut parts: VecDeque<Part> = VecDeque::new();
    let (mut letters, mut before) = (0, None);
    for (pod, containers) in pods {
        let (stem, end) = split(&pod.1);
        let longer = end.len() + 1 + if before.as_deref() == Some(stem) { 0 } else { stem.len() + 2 };
        before = Some(stem.to_owned());
        let goes_on = parts.back().is_some_and(|part| match by {
            By::Pods => {
                part.namespace.as_ref() == Some(&pod.0)
                    && part.containers + containers <= most
                    && letters + longer <= LONGEST_NAMES
            }
            By::Namespace => part.namespace.as_ref() == Some(&pod.0),
            By::Nothing => true,
        });
        if !goes_on {
            let namespace = (by != By::Nothing).then(|| pod.0.clone());
            parts.push_back(Part { namespace, names_pods: by == By::Pods, ..Part::default() });
            letters = stem.len() + 2;
        }
        letters += longer;
        let Some(part) = parts.back_mut() else { continue };
        part.containers += containers;
        part.pods.insert(pod);
    }
    parts
}

impl Part {
    /// A regular expression for the names of the pods; it may match others too. What pods of one set have in common stands in it once.
    pub fn regex(&self) -> Option<String> {
        let mut stems: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (_, pod) in self.pods.iter().filter(|_| self.names_pods) {
            let (stem, end) = split(pod);
            stems.entry(stem).or_default().push(end);
        }
        let all: Vec<String> = stems
            .into_iter()
            .map(|(stem, ends)| match ends.as_slice() {
                [end] => format!("{stem}{end}"),
                ends => format!("{stem}({})", ends.join("|")),
            })
            .collect();
        (!all.is_empty()).then(|| all.join("|"))
    }

    /// In words: whose past it is.
    pub fn whose(&self) -> String {
        let count = self.pods.len();
        match (&self.namespace, self.pods.first(), self.pods.last()) {
            (Some(namespace), Some((_, first)), Some((_, last))) if self.names_pods && count > 1 => {
                format!("{count} pods of namespace {namespace} ({first} to {last})")
            }
            (Some(namespace), Some((_, pod)), _) if self.names_pods => format!("pod {pod} of namespace {namespace}"),
            (Some(namespace), ..) => format!("the containers of namespace {namespace}"),
            (None, ..) => "all containers".to_owned(),
        }
    }
}

/// What the name of a pod begins with, which its siblings share as a rule, and the rest.
fn split(pod: &str) -> (&str, &str) {
    pod.split_at(pod.rfind('-').map_or(0, |it| it + 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pod(namespace: &str, name: &str) -> PodName {
        (Arc::from(namespace), Arc::from(name))
    }

    #[track_caller]
    fn check(by: By, most: usize, expect: &[(Option<&str>, &[&str], Option<&str>)]) {
        let pods = [("a", "web-1-x"), ("a", "web-1-y"), ("a", "db-0"), ("a", "solo"), ("b", "web-1-x")];
        let found = parts(pods.map(|(namespace, name)| (pod(namespace, name), 2)), by, most);
        let told: Vec<_> = found
            .iter()
            .map(|it| (it.namespace.as_deref(), it.pods.iter().map(|it| &*it.1).collect::<Vec<_>>(), it.regex()))
            .collect();
        let expect: Vec<_> = expect
            .iter()
            .map(|(namespace, pods, regex)| (*namespace, pods.to_vec(), regex.map(str::to_owned)))
            .collect();
        assert_eq!(told, expect);
    }

    #[test]
    fn pods_are_asked_for_by_name_where_the_queries_have_room_for_one() {
        let all = ["db-0", "solo", "web-1-x", "web-1-y"];
        check(
            By::Pods,
            8,
            &[(Some("a"), &all, Some("solo|db-0|web-1-(x|y)")), (Some("b"), &["web-1-x"], Some("web-1-x"))],
        );
        check(
            By::Pods,
            4,
            &[
                (Some("a"), &["db-0", "solo"], Some("solo|db-0")),
                (Some("a"), &["web-1-x", "web-1-y"], Some("web-1-(x|y)")),
                (Some("b"), &["web-1-x"], Some("web-1-x")),
            ],
        );
        check(By::Namespace, 1, &[(Some("a"), &all, None), (Some("b"), &["web-1-x"], None)]);
        check(By::Nothing, 1, &[(None, &["db-0", "solo", "web-1-x", "web-1-y", "web-1-x"], None)]);
    }

    #[test]
    fn whose_past_it_is_is_said() {
        let whose = |by| parts(["p-0", "p-1"].map(|it| (pod("a", it), 1)), by, 9).pop_front().unwrap().whose();
        assert_eq!(whose(By::Pods), "2 pods of namespace a (p-0 to p-1)");
        assert_eq!(whose(By::Namespace), "the containers of namespace a");
        assert_eq!(whose(By::Nothing), "all containers");
    }

    proptest! {
        /// Each pod is in one part, and no part is larger than it may be, but for one of a single pod.
        #[test]
        fn parts_are_the_whole_and_in_bounds(
            pods in prop::collection::btree_map(("[ab]", "[a-c]{1,3}(-[a-z]{0,250}){0,2}"), 0_usize..9, 0..60),
            most in 0_usize..40,
        ) {
            let pods: BTreeMap<PodName, usize> = pods.iter().map(|((of, it), count)| (pod(of, it), *count)).collect();
            let found = parts(pods.clone(), By::Pods, most);
            let told: Vec<&PodName> = found.iter().flat_map(|it| &it.pods).collect();
            prop_assert_eq!(told, pods.keys().collect::<Vec<_>>());
            for part in found {
                let in_bounds = part.containers <= most && part.regex().unwrap_or_default().len() <= LONGEST_NAMES;
                prop_assert!(in_bounds || part.pods.len() == 1, "{:?}", part);
            }
        }
    }
}
