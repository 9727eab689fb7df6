//! The texts of the events, as recorded.

use supple_resize::allocate::{Impossible, ShortResource, Shortage};
use supple_resize::event::{self, ResizeEvent};

use crate::support::pod;

#[track_caller]
fn check(event: &ResizeEvent, type_: &str, reason: &str, message: &str) {
    assert_eq!((event.type_, event.reason, event.message.as_str()), (type_, reason, message));
}

#[test]
fn as_recorded() {
    let limited = pod("c: R{cpu=150m,mem=64Mi} L{cpu=300m,mem=128Mi}");
    let json = r#"{"containers":[{"name":"c","resources":{"limits":{"cpu":"300m","memory":"128Mi"},"requests":{"cpu":"150m","memory":"64Mi"}}}],"generation":2}"#;
    check(&event::started(&limited, 2), "Normal", "ResizeStarted", &format!("Pod resize started: {json}"));
    check(&event::completed(&limited, 2), "Normal", "ResizeCompleted", &format!("Pod resize completed: {json}"));

    let shortage = Shortage { resource: ShortResource::Cpu, requested: 1500, used: 1200, capacity: 2000 };
    check(
        &event::deferred(&pod("app: R{cpu=1500m,mem=64Mi}"), 2, &shortage),
        "Warning",
        "ResizeDeferred",
        r#"Pod resize OutOfcpu: {"containers":[{"name":"app","resources":{"requests":{"cpu":"1500m","memory":"64Mi"}}}],"generation":2,"error":"Node didn't have enough resource: cpu, requested: 1500, used: 1200, capacity: 2000"}"#,
    );
    check(
        &event::infeasible(&pod("c:"), 3, Impossible::Swap),
        "Warning",
        "ResizeInfeasible",
        r#"Pod resize Infeasible: {"containers":[{"name":"c","resources":{}}],"generation":3,"error":"In-place resize of containers with swap is not supported."}"#,
    );
    check(
        &event::error(&pod("side s: L{cpu=1}; c: R{}"), 4, "cannot write \"x\""),
        "Warning",
        "ResizeError",
        r#"Pod resize error: {"initContainers":[{"name":"s","resources":{"limits":{"cpu":"1"}}}],"containers":[{"name":"c","resources":{}}],"generation":4,"error":"cannot write \"x\""}"#,
    );
    check(&event::killing("app"), "Normal", "Killing", "Container app resize requires restart");
    // Pod-level resources are not told.
    check(
        &event::started(&pod("pod: R{cpu=1}"), 1),
        "Normal",
        "ResizeStarted",
        r#"Pod resize started: {"generation":1}"#,
    );
}
