//! Names that are fixed because people type them or other programs look for them. Those a decision reads stand in
//! [`supple_decide::names`].

pub use supple_decide::names::{
    ADJUSTED_TARGET, APPROVE_MEMORY_DECREASE, LAST_RESIZE, MODE, PAUSED, PREFIX, SIZED_AT_CREATION,
};

/// The API group of our resources; labels and annotations are under it too.
pub const GROUP: &str = "supple.dev";

/// The version of our resources.
pub const VERSION: &str = "v1alpha1";

/// Both, as an object of ours says it.
pub const API_VERSION: &str = "supple.dev/v1alpha1";

/// The `reportingController` of our events.
pub const REPORTING_CONTROLLER: &str = "supple.dev/controller";

/// The lease that controllers contend for, in their own namespace.
pub const LEASE: &str = "supple-controller";

/// Label of the controller's deployment and of its pods, with its value: how it is found, whatever it and its chart are called.
pub const CONTROLLER: &str = "supple.dev/component=controller";

/// Annotation of the controller's own namespace: the switch that stops everything. Its value is the reason.
pub const STOP: &str = "supple.dev/stop";

/// Annotation of our definition of `rightsizings` in a cluster of `supple up`: a loop runs in the process of its API server,
/// and which `VerticalPodAutoscaler` objects are its (the word of `--vpa`); behind it ` webhook`, where it serves one. Such a
/// cluster ends with its process, and so does what this says.
pub const LOOP: &str = "supple.dev/loop-in-process";

/// Annotation we set in a workload's template to restart it: when.
pub const ROLLOUT: &str = "supple.dev/rollout";

/// The name by which a `VerticalPodAutoscaler` asks for us in `spec.recommenders`.
pub const RECOMMENDER: &str = "supple";

/// VPA's own recommender, where `spec.recommenders` names none.
pub const VPA_RECOMMENDER: &str = "default";

/// The name of a workload's `Rightsizing`: `deployment-web`. Where that is longer than a name may be, it is cut and a hash
/// of the whole makes it unique again.
#[must_use]
pub fn rightsizing(kind: &str, name: &str) -> String {
    const MOST: usize = 253;
    let whole = format!("{}-{name}", kind.to_lowercase());
    if whole.len() <= MOST {
        return whole;
    }
    let hash = whole.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3) // FNV-1a: short, and the same in every version
    });
    let mut end = MOST - 17;
    while !whole.is_char_boundary(end) {
        end -= 1;
    }
    let cut = whole[..end].trim_end_matches(['-', '.']);
    format!("{cut}-{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rightsizing_is_named_after_its_workload() {
        assert_eq!(rightsizing("Deployment", "web"), "deployment-web");
        let (one, other) = (rightsizing("Deployment", &"a".repeat(253)), rightsizing("Deployment", &"a".repeat(252)));
        assert_eq!((one.len(), other.len()), (253, 253));
        assert_ne!(one, other);
        assert!(one.starts_with("deployment-aaa"));
        assert!(rightsizing("Pod", &"é".repeat(200)).len() <= 253);
    }
}
