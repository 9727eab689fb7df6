//! How what the container runtime said is told above, with what to do about it where that is known.

use tonic::{Code, Status};

use crate::runtime::RuntimeError;

/// A call failed.
pub fn call(reason: &'static str, operation: &str, object: String, status: &Status) -> RuntimeError {
    RuntimeError { reason, operation: operation.to_owned(), object, message: words(status) }
}

/// What it said, without the protocol's own decoration.
pub fn words(status: &Status) -> String {
    let source = std::error::Error::source(status);
    let said = match source.is_some_and(|it| it.is::<tonic::transport::Error>()) || status.code() == Code::Unavailable {
        true => format!("the container runtime cannot be reached: {}", root_cause(source, status.message())),
        false => status.message().to_owned(),
    };
    match hint(&said) {
        Some(hint) => format!("{said}; {hint}"),
        None => said,
    }
}

/// The last of what led to it: "transport error" says nothing, "Connection refused" does.
fn root_cause(mut cause: Option<&(dyn std::error::Error + 'static)>, message: &str) -> String {
    let mut said = message.to_owned();
    while let Some(it) = cause {
        said = it.to_string();
        cause = it.source();
    }
    said
}

/// What is known of messages that do not say what would have to change.
fn hint(message: &str) -> Option<&'static str> {
    let has = |part: &str| message.contains(part);
    if has("oom_score_adj") && (has("permission denied") || has("Permission denied")) {
        return Some(
            "OOM scores may not be lowered here (CAP_SYS_RESOURCE is missing): set restrict_oom_score_adj = true in the \
             CRI section of containerd's configuration",
        );
    }
    if has("failed to get sandbox image") {
        return Some(
            "there is no registry to pull it from: import the image, or set sandbox_image in the container runtime's \
             configuration to a local image",
        );
    }
    if has("cgroupsPath") && has("slice") {
        return Some(
            "the container runtime uses another cgroup driver than it reports: check SystemdCgroup in its \
             configuration",
        );
    }
    if has("cni plugin not initialized") || has("No CNI configuration") {
        return Some("it has no CNI plugins configured: use --pod-network host, or configure some");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: Status, parts: &[&str]) {
        let said = words(&status);
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    }

    #[test]
    fn what_to_do_is_said() {
        let oom = "failed to create containerd task: write /proc/self/oom_score_adj: permission denied: unknown";
        check(Status::unknown(oom), &[oom, "restrict_oom_score_adj = true"]);
        check(
            Status::unknown("failed to get sandbox image \"registry.k8s.io/pause:3.6\": dial tcp"),
            &["import the image", "sandbox_image"],
        );
        check(
            Status::unknown("expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups"),
            &["SystemdCgroup"],
        );
        check(Status::unknown("cni plugin not initialized"), &["--pod-network host"]);
        check(Status::unavailable("connection refused"), &["cannot be reached: connection refused"]);
        assert_eq!(words(&Status::unknown("plain")), "plain");
    }
}
