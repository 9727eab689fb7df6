//! Which images there are, and what the kubelet says where one is not: the pull policy's rules without a registry.

use std::collections::BTreeSet;

use super::RuntimeError;

/// Images a runtime says it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Images {
    /// Every image is taken to be present: a container is its command.
    #[default]
    Any,
    /// These alone; any other is absent and cannot be pulled, because there is no registry.
    Only(BTreeSet<String>),
}

impl Images {
    /// Whether `image` may be started under `pull_policy` (`Always`, `IfNotPresent`, `Never`; `None` is
    /// `IfNotPresent`).
    ///
    /// # Errors
    /// Reason `InvalidImageName` for a name that is none, `ErrImageNeverPull` for an absent image with policy `Never`,
    /// `ErrImagePull` for every other absent one; the texts are the kubelet's.
    pub fn check(&self, image: &str, pull_policy: Option<&str>) -> Result<(), RuntimeError> {
        let refused = |reason: &'static str, operation: &str, message: String| RuntimeError {
            reason,
            operation: operation.to_owned(),
            object: format!("image {image:?}"),
            message,
        };
        if image.is_empty() || image.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(refused(
                "InvalidImageName",
                "look for",
                format!(
                    "Failed to apply default image tag {image:?}: couldn't parse image name {image:?}: invalid reference format"
                ),
            ));
        }
        match self {
            Self::Any => Ok(()),
            Self::Only(present) if present.contains(image) => Ok(()),
            Self::Only(_) if pull_policy == Some("Never") => Err(refused(
                "ErrImageNeverPull",
                "look for",
                format!("Container image {image:?} is not present with pull policy of Never"),
            )),
            Self::Only(_) => Err(refused(
                "ErrImagePull",
                "pull",
                format!("failed to pull and unpack image {image:?}: this node has no registry to pull from"),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Images;

    #[track_caller]
    fn check(images: &Images, image: &str, policy: Option<&str>, expect: Result<(), (&str, &str)>) {
        let got = images.check(image, policy).map_err(|e| (e.reason, e.message));
        let got = got.as_ref().map(|&()| ()).map_err(|(reason, message)| (*reason, message.as_str()));
        assert_eq!(got, expect, "{image:?} under {policy:?}");
    }

    #[test]
    fn pull_policy_decides_which_reason_an_absent_image_has() {
        let one = Images::Only(std::iter::once("busybox:1.35".to_owned()).collect());
        check(&Images::Any, "anything/at-all:v1", Some("Never"), Ok(()));
        check(&one, "busybox:1.35", Some("Never"), Ok(()));
        check(&one, "busybox:1.35", None, Ok(()));
        check(
            &one,
            "nope:1",
            Some("Never"),
            Err(("ErrImageNeverPull", "Container image \"nope:1\" is not present with pull policy of Never")),
        );
        let pull = "failed to pull and unpack image \"nope:1\": this node has no registry to pull from";
        check(&one, "nope:1", Some("IfNotPresent"), Err(("ErrImagePull", pull)));
        check(&one, "nope:1", Some("Always"), Err(("ErrImagePull", pull)));
        check(&one, "nope:1", None, Err(("ErrImagePull", pull)));
        let invalid =
            "Failed to apply default image tag \"a b\": couldn't parse image name \"a b\": invalid reference format";
        check(&Images::Any, "a b", None, Err(("InvalidImageName", invalid)));
    }
}
