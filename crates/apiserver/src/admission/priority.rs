//! The Priority admission: a pod's priority comes from its class, and may not be written by hand. Pure.

use k8s_openapi::api::core::v1::PodSpec;
use k8s_openapi::api::scheduling::v1::PriorityClass;

/// What a class that does not say preempts.
const DEFAULT_POLICY: &str = "PreemptLowerPriority";

/// Fills in class name, priority and preemption policy of a new pod.
///
/// # Errors
/// The sentence of the refusal: a class that does not exist, or values that contradict it.
pub fn resolve(spec: &mut PodSpec, classes: &[PriorityClass]) -> Result<(), String> {
    let named = spec.priority_class_name.clone().unwrap_or_default();
    let class = if named.is_empty() {
        // Of several defaults the lowest counts, as in the reference.
        classes.iter().filter(|class| class.global_default == Some(true)).min_by_key(|class| class.value)
    } else {
        let found = classes.iter().find(|class| class.metadata.name.as_deref() == Some(&named));
        Some(found.ok_or_else(|| format!("no PriorityClass with name {named} was found"))?)
    };
    let priority = class.and_then(|class| class.value).unwrap_or(0);
    let policy = class.and_then(|class| class.preemption_policy.as_deref()).unwrap_or(DEFAULT_POLICY);
    if let Some(given) = spec.priority.filter(|given| *given != priority) {
        return Err(format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller \
             computed {priority} from the given PriorityClass name"
        ));
    }
    if let Some(given) = spec.preemption_policy.as_deref().filter(|given| *given != policy) {
        return Err(format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission \
             controller computed {policy} from the given PriorityClass name"
        ));
    }
    if let Some(name) = class.and_then(|class| class.metadata.name.clone()) {
        spec.priority_class_name = Some(name);
    }
    spec.priority = Some(priority);
    spec.preemption_policy = Some(policy.to_owned());
    Ok(())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;

    fn class(name: &str, value: i32, global_default: bool) -> PriorityClass {
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        PriorityClass { metadata, value: Some(value), global_default: Some(global_default), ..PriorityClass::default() }
    }

    #[track_caller]
    fn check(class_name: &str, given: Option<i32>, classes: &[PriorityClass], expected: Result<(i32, &str), &str>) {
        let mut spec = PodSpec {
            priority_class_name: (!class_name.is_empty()).then(|| class_name.to_owned()),
            priority: given,
            ..PodSpec::default()
        };
        let found = resolve(&mut spec, classes);
        match expected {
            Ok((priority, name)) => {
                assert_eq!(found, Ok(()));
                assert_eq!(spec.priority, Some(priority));
                assert_eq!(spec.priority_class_name.unwrap_or_default(), name);
                assert_eq!(spec.preemption_policy.as_deref(), Some(DEFAULT_POLICY));
            }
            Err(part) => assert!(found.unwrap_err().contains(part)),
        }
    }

    #[test]
    fn priorities_come_from_classes() {
        let classes = [class("high", 1000, false), class("usual", 10, true), class("other", 20, true)];
        check("", None, &[], Ok((0, "")));
        check("", None, &classes, Ok((10, "usual")));
        check("high", None, &classes, Ok((1000, "high")));
        check("high", Some(1000), &classes, Ok((1000, "high")));
        check("high", Some(5), &classes, Err("computed 1000"));
        check("", Some(5), &[], Err("priority (5)"));
        check("absent", None, &classes, Err("no PriorityClass with name absent"));
    }
}
