//! Where Supple differs from Kubernetes v1.36.2 on purpose: the form of an entry, and those about resizes, so that everything
//! else can be held to the reference. `docs/differences.md` is generated from this chapter and that of the API server, and
//! `tests/node/differences.rs` has a proof for each entry here.

use std::fmt::Write as _;

/// One deliberate difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Stable name, for tests and links.
    pub id: &'static str,
    /// What the reference does.
    pub reference: &'static str,
    /// What ours does.
    pub ours: &'static str,
    /// Why that is better.
    pub why: &'static str,
    /// Where the reference's behaviour is on record.
    pub source: &'static str,
}

/// All of them, in the order of a resize's way: the request's amounts and fields, queue, allocation, actuation, guard, status.
pub const DIFFERENCES: &[Difference] = &[
    Difference {
        id: "amounts-do-not-wrap",
        reference: "Amounts beyond 64 bits wrap around or become 0 in its integer views: a request of 9223372036854775807 CPUs \
                    counts as -1000 thousandths and fits every node.",
        ours: "The same views exist for messages that print them; every comparison with a node takes the largest integer \
               instead.",
        why: "What is too much for a number is too much for a node.",
        source: "recorded: conformance quantity.json, \"milli\" of 9223372036854775807",
    },
    Difference {
        id: "amounts-beyond-exa-keep-their-size",
        reference: "Prints 1000E as 1: there is no suffix for 10^21, so none is printed.",
        ours: "Lets the digits grow: 1000E.",
        why: "A text that is read back must be the same amount.",
        source: "apimachinery resource/suffix.go constructBytes",
    },
    Difference {
        id: "amounts-are-bounded",
        reference: "Accepts any decimal exponent and any number of digits, and computes with them: a few bytes of input can ask \
                    for gigabytes of digits.",
        ours: "Refuses exponents that make an amount of more than 4096 digits, and texts beyond 4096 bytes, as it refuses any malformed amount.",
        why: "No request may stop the server; no real amount comes near.",
        source: "apimachinery resource/quantity.go ParseQuantity",
    },
    Difference {
        id: "refused-update-has-no-diff",
        reference: "Ends the refusal of a plain update with a diff of its internal structures.",
        ours: "Ends it where that diff would begin.",
        why: "The diff names fields no manifest has; the first line says what may change.",
        source: "validation.go ValidatePodUpdate; conformance README",
    },
    Difference {
        id: "queue-age-survives-restart",
        reference: "Back-fills the pending conditions after a restart with the time of the restart, so that the age by which \
                    deferred resizes are ordered is lost.",
        ours: "Keeps the conditions, with full precision, in the node's checkpoint; without one, takes the times of the API's \
               status.",
        why: "First asked, first served, also across an upgrade of the node.",
        source: "status_manager.go BackfillPodResizeConditions; conformance README, defect 4",
    },
    Difference {
        id: "queue-is-a-total-order",
        reference: "The comparator answers \"before\" whenever its first operand does not ask for more, so the order among \
                    those, and among equals, depends on the order of arrival and on the sort.",
        ours: "Compares one key (asks for more, priority, Guaranteed, age, UID) for all.",
        why: "Same waiting resizes, same order: reproducible, and no resize can be overtaken by chance.",
        source: "allocation_manager.go sortPendingResizes",
    },
    Difference {
        id: "shrink-is-never-deferred",
        reference: "Checks every resource of the whole pod against the node, also those that shrink: on a node that has become \
                    too small no pod can shrink.",
        ours: "Checks a resource only where the pod's request for it grows.",
        why: "What shrinks cannot break a promise, and is what makes room.",
        source: "allocation_manager.go canAdmitPod, predicate.go",
    },
    Difference {
        id: "crashed-container-finds-room",
        reference: "Resizes the pod's cgroup only for running containers: one that was OOM-killed, crashes in a loop or has not \
                    started yet goes on dying under the old limit of its pod, while an event says the resize completed.",
        ours: "Records what the pod's own cgroup was given, and brings it to what was allocated before containers start, \
               whether any runs or not.",
        why: "To raise the memory of what is OOM-killed is the reason most people resize.",
        source: "kubernetes/kubernetes#138760, fixed by #140387 after 1.36.2; conformance README, defect 1",
    },
    Difference {
        id: "restarted-sidecar-finds-room",
        reference: "Starts a sidecar that restarts for its resize before the pod's cgroup has grown.",
        ours: "Starts containers of every kind after the last step of the plan.",
        why: "A sidecar needs its memory as much as its neighbour.",
        source: "kuberuntime_manager.go SyncPod, steps 7 and 8",
    },
    Difference {
        id: "added-pod-limit-comes-last",
        reference: "Takes a limit that a pod gets for the first time for an increase and sets it before its containers have \
                    theirs.",
        ours: "Takes \"no limit\" for more than any limit: the containers are limited first, then the pod.",
        why: "A parent is at no moment smaller than a child.",
        source: "kuberuntime_manager.go doPodResizeAction (unlimited reads as -1)",
    },
    Difference {
        id: "init-container-is-in-progress",
        reference: "Reports a resize of a running init container as completed before its cgroup was written.",
        ours: "Counts every running container.",
        why: "Completed means completed.",
        source: "kuberuntime_manager.go isResizableContainer",
    },
    Difference {
        id: "completion-is-of-what-began",
        reference: "May clear the condition of a fresh allocation from an older snapshot and report the completion of the old \
                    size (recorded in \"random schedule 5\").",
        ours: "Completes only what allocated and actuated agree on, asked under the lock of the allocation.",
        why: "Whoever waits for the event must be able to believe it.",
        source: "kubelet.go:2083 (a TODO there)",
    },
    Difference {
        id: "interrupted-write-is-found",
        reference: "Never looks at the cgroup to decide: a value written just before a crash, and not recorded, stays if the size \
                    is taken back meanwhile.",
        ours: "After a start and after a failed write believes the cgroup over the record, as far as the kernel's rounding cannot \
               explain the difference.",
        why: "An interrupted resize goes on, and a revoked one is revoked.",
        source: "kuberuntime_manager.go computePodResizeAction (compares records only)",
    },
    Difference {
        id: "guard-names-the-containers-usage",
        reference: "The error for a container's memory limit below its usage prints the pod's usage.",
        ours: "Prints the container's.",
        why: "The number tells how far one can go.",
        source: "kuberuntime_manager.go validateMemoryResizeAction; conformance README, defect 3",
    },
    Difference {
        id: "guard-comes-before-the-kill",
        reference: "Stops the containers that restart, then checks memory limits against usage, and may refuse.",
        ours: "Checks the whole plan first; what the restarting containers will give back does not count as used.",
        why: "Nothing is killed for a resize that is then refused.",
        source: "kuberuntime_manager.go SyncPod, steps 3 and 8",
    },
    Difference {
        id: "unknown-usage-refuses",
        reference: "Does not check a container that the statistics do not list.",
        ours: "Refuses to lower a memory limit while the usage below it is not known; tried again.",
        why: "A limit is never lowered to or below what is used.",
        source: "kuberuntime_manager.go validateMemoryResizeAction",
    },
    Difference {
        id: "pod-memory-request-follows",
        reference: "status.resources.requests.memory keeps the first value it had while the pod runs.",
        ours: "Follows what was actuated, like the other three numbers.",
        why: "Quota and scheduler count the greater of spec and status: an old value keeps room from others.",
        source: "kubelet_pods.go:2250; conformance README, defect 2",
    },
    Difference {
        id: "pod-status-is-not-rounded",
        reference: "Reads the pod's CPU request back from cpu.weight: 79m for 100m on cgroup v2.",
        ours: "Reports what was actuated, by the record.",
        why: "A status that differs from the spec looks like a resize that is not done.",
        source: "cgroup_v2_manager_linux.go:174",
    },
    Difference {
        id: "no-limit-is-not-a-number",
        reference: "On cgroup v1 reports the memory limit of a pod without one as 9007199254740988Ki.",
        ours: "Reports what the containers' limits add up to, as for CPU, and nothing where none has one.",
        why: "It is no limit that anybody set.",
        source: "recorded: conformance resize-node.json, \"request only, no limits\"",
    },
];

/// The differences of one part of the program.
#[derive(Clone, Copy, Debug)]
pub struct Chapter {
    /// What they are about.
    pub title: &'static str,
    /// The file they stand in.
    pub file: &'static str,
    /// The test that has a proof for each.
    pub proofs: &'static str,
    /// They themselves.
    pub entries: &'static [Difference],
}

/// The differences of a resize.
pub const CHAPTER: Chapter = Chapter {
    title: "Resizes",
    file: "crates/resize/src/differences.rs",
    proofs: "crates/resize/tests/node/differences.rs",
    entries: DIFFERENCES,
};

/// The page of all differences, `docs/differences.md`.
#[must_use]
pub fn to_markdown(chapters: &[Chapter]) -> String {
    let mut page = String::from(
        "# Deliberate differences from Kubernetes v1.36.2\n\n\
         Generated by `cargo xtask generate`; do not edit. Everything that is not listed here is meant to be as in the reference.\n",
    );
    for Chapter { title, file, proofs, entries } in chapters {
        // Writing to a String cannot fail.
        let _ = write!(page, "\n## {title}\n\nFrom `{file}`; each entry has a proof in `{proofs}`.\n");
        for Difference { id, reference, ours, why, source } in *entries {
            let _ = write!(
                page,
                "\n### {id}\n\n- **Reference:** {reference}\n- **Ours:** {ours}\n- **Why:** {why}\n- **Source:** {source}\n"
            );
        }
    }
    page
}
