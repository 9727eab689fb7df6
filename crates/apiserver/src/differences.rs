//! Where the API server answers otherwise than the reference on purpose. `docs/differences.md` is generated from this chapter
//! too (`xtask` includes this file), and `tests/http/differences.rs` has a proof for each entry.

use supple_resize::differences::{Chapter, Difference};

/// The differences of the API server.
pub const CHAPTER: Chapter = Chapter {
    title: "The embedded API server",
    file: "crates/apiserver/src/differences.rs",
    proofs: "crates/apiserver/tests/http/differences.rs",
    entries: &[
        Difference {
            id: "contradicting-patch-is-the-clients-fault",
            reference: "Answers 500 to a strategic patch whose directives contradict themselves.",
            ours: "Answers 400 with the same sentence.",
            why: "Clients retry what a server failed at; this fails each time.",
            source: "apimachinery strategicpatch; apiserver patch.go",
        },
        Difference {
            id: "watch-from-the-future-ends-at-once",
            reference: "Waits for the revision a watch asks to begin at, however far ahead it is.",
            ours: "Says 410 at once, so that the client lists anew.",
            why: "Revisions are shown to nobody before they are durable: one that is ahead is of another store, and waiting for it \
                  would hide everything until then.",
            source: "apiserver cacher.go, watch_cache.go",
        },
        Difference {
            id: "old-autoscalers-keep-the-new-form",
            reference: "Writes metrics that autoscaling/v1 has no field for into an annotation, in a third form of their own.",
            ours: "Writes them there in the form of autoscaling/v2.",
            why: "It is there to be handed back unchanged; one form less can be wrong.",
            source: "pkg/apis/autoscaling/v1/conversion.go",
        },
        Difference {
            id: "services-have-no-address",
            reference: "Gives a new service an address of the cluster.",
            ours: "Leaves `spec.clusterIP` as it was sent.",
            why: "Nothing answers at such an address here; services are stored so that manifests with them apply.",
            source: "registry/core/service/storage/alloc.go",
        },
    ],
};
