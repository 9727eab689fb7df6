//! Ending a cgroup of the real kernel: nothing inside gets away, on any kind of hierarchy this machine has.

#![allow(clippy::unwrap_used, reason = "in a test a value that is not there is a failure")]

mod support;

use std::process::{Child, Command};

use supple_node::cgroup::{Group, Hierarchies, Mounts, Role, V1};

/// A root of our own, gone afterwards.
struct Root(Group);

impl Drop for Root {
    fn drop(&mut self) {
        if let Err(error) = self.0.end() {
            eprintln!("the test left a cgroup behind: {error}");
        }
    }
}

impl Root {
    fn in_(hierarchies: &Hierarchies) -> Option<Self> {
        let root = Self(Group::root(hierarchies, &format!("supple-test-{}", uuid::Uuid::new_v4().simple())));
        match root.0.create() {
            Ok(()) => Some(root),
            Err(error) => {
                support::skipped(&error.to_string());
                None
            }
        }
    }

    /// `sh -c script` in the group: it waits to be let go until it is inside.
    fn run(&self, group: &Group, script: &str) -> Child {
        group.create().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", &format!("read go; {script}")]).stdin(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        for file in group.procs_files() {
            std::fs::write(file, child.id().to_string()).unwrap();
        }
        drop(child.stdin.take());
        child
    }
}

/// Every way to reach the hierarchies of this machine: as they are, and without the help of a version 2 side.
fn all() -> Vec<Hierarchies> {
    match Hierarchies::detect(&Mounts::of_this_machine()) {
        Ok(Hierarchies::V1(v1)) => {
            let legacy = Hierarchies::V1(V1 { unified: None, ..v1.clone() });
            vec![Hierarchies::V1(v1), legacy]
        }
        Ok(v2) => vec![v2],
        Err(error) => {
            support::skipped(&error.to_string());
            Vec::new()
        }
    }
}

#[test]
fn what_forks_and_exits_all_the_time_does_not_get_away() {
    for hierarchies in all() {
        let Some(root) = Root::in_(&hierarchies) else { return };
        let group = root.0.child("c", Role::Container);
        // Each process starts its successor and ends: whoever is listed is gone before it can be killed.
        let mut child = root.run(&group, "f() { f & }; f");
        child.wait().unwrap();
        assert!(!group.processes().unwrap().is_empty(), "the chain has begun");
        group.end().unwrap();
        assert!(!group.exists() && group.processes().unwrap().is_empty());
    }
}

#[test]
fn descendants_end_with_their_parent() {
    for hierarchies in all() {
        let Some(root) = Root::in_(&hierarchies) else { return };
        let pod = root.0.child("pod1", Role::Pod);
        pod.create().unwrap();
        let mut child = root.run(&pod.child("c-0", Role::Container), "exec sleep 1000");
        assert_eq!(pod.processes().unwrap().into_iter().collect::<Vec<_>>(), [child.id()]);
        assert_eq!((root.0.children().unwrap(), pod.children().unwrap()), (vec!["pod1".into()], vec!["c-0".into()]));
        pod.end().unwrap();
        pod.end().unwrap();
        assert!(!pod.exists());
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&child.wait().unwrap()), Some(9));
    }
}
