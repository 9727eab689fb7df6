//! Which containers are to be started now, which wait, and whether the pod has come to its end: a pure function of the
//! spec, what has run so far, and the time.
//!
//! Init containers run one after another to success; a sidecar (init container with `restartPolicy: Always`) counts as
//! done once it runs and is restarted for as long as the pod lives; then all other containers run together.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container as Spec, Pod};

use super::runs::{Container, Containers, Ended, PullFailed, Waiting};
use crate::backoff::Schedule;

/// How a pod ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Every container ended well.
    Succeeded,
    /// One did not.
    Failed,
}

/// What to do now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    /// Start these, in this order.
    pub(crate) start: Vec<String>,
    /// These would be started but must wait, and why.
    pub(crate) waiting: Vec<(String, Waiting)>,
    /// Look again then.
    pub(crate) wake: Option<Timestamp>,
    /// No container runs or will run any more (sidecars excepted: they are to be stopped).
    pub(crate) outcome: Option<Outcome>,
    /// All init containers have done their part.
    pub(crate) initialized: bool,
}

/// Whether this init container is a sidecar.
pub(crate) fn is_sidecar(container: &Spec) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// Decide for a pod that is neither being deleted nor past its deadline.
pub(crate) fn decide(pod: &Pod, containers: &Containers, now: Timestamp) -> Decision {
    let mut decision = Decision::default();
    let Some(spec) = &pod.spec else { return decision };
    let never_ran = Box::<Container>::default();
    let known = |name: &str| containers.get(name).unwrap_or(&never_ran);
    // Once a main container has run, init containers are history: they are not run again because their records are
    // gone, only sidecars are kept up.
    let under_way = spec.containers.iter().any(|c| known(&c.name).run.is_some());
    decision.initialized = true;
    for init in spec.init_containers.iter().flatten() {
        let container = known(&init.name);
        if is_sidecar(init) {
            if !container.is_running() {
                decision.try_start(pod, init, container, now);
                // Later ones wait until it runs; when the pod is under way nothing waits for it.
                if !under_way {
                    decision.initialized = false;
                    break;
                }
            }
            continue;
        }
        if under_way || container.ended().is_some_and(|ended| ended.exit.code == 0 && !container.restart_now) {
            continue;
        }
        decision.initialized = false;
        match container.ended() {
            _ if container.is_running() => {}
            Some(ended) if !restarts(pod, init, ended, true) => decision.outcome = Some(Outcome::Failed),
            _ => decision.try_start(pod, init, container, now),
        }
        break;
    }
    if !decision.initialized {
        return decision;
    }
    let mut outcome = Some(Outcome::Succeeded);
    for spec in &spec.containers {
        let container = known(&spec.name);
        match container.ended() {
            Some(ended) if !container.restart_now && !restarts(pod, spec, ended, false) => {
                if ended.exit.code != 0 && outcome.is_some() {
                    outcome = Some(Outcome::Failed);
                }
                continue;
            }
            _ if container.is_running() => {}
            _ => decision.try_start(pod, spec, container, now),
        }
        outcome = None;
    }
    decision.outcome = outcome;
    if outcome.is_some() {
        // Sidecars that happen to be down are not brought up again for the end.
        decision.start.clear();
        decision.waiting.clear();
        decision.wake = None;
    }
    decision
}

impl Decision {
    /// Start it now if nothing holds it back, else say what does and until when.
    fn try_start(&mut self, pod: &Pod, spec: &Spec, container: &Container, now: Timestamp) {
        if container.restart_now {
            self.start.push(spec.name.clone());
            return;
        }
        if let Some(not_before) = container.not_before.filter(|not_before| *not_before > now) {
            self.wake_at(not_before);
            let waiting = match &container.pull_failed {
                Some(failed) => Some(self.waits_for_image(spec, failed, now)),
                None => container.waiting.clone(),
            };
            self.waiting.extend(waiting.map(|waiting| (spec.name.clone(), waiting)));
            return;
        }
        let held = container
            .ended()
            .and_then(|ended| container.backoff.until(Schedule::CRASH_LOOP, ended.exit.finished_at))
            .filter(|(until, _)| *until > now);
        let Some((until, wait)) = held else {
            self.start.push(spec.name.clone());
            return;
        };
        self.wake_at(until);
        let meta = &pod.metadata;
        let message = format!(
            "back-off {} restarting failed container={} pod={}_{}({})",
            minutes(wait.as_secs()),
            spec.name,
            meta.name.as_deref().unwrap_or_default(),
            meta.namespace.as_deref().unwrap_or_default(),
            meta.uid.as_deref().unwrap_or_default(),
        );
        self.waiting.push((spec.name.clone(), Waiting { reason: "CrashLoopBackOff".into(), message: Some(message) }));
    }

    /// First the error itself, then that it is being waited: whoever looks now and then is to see both.
    fn waits_for_image(&mut self, spec: &Spec, failed: &PullFailed, now: Timestamp) -> Waiting {
        const SHOWN: SignedDuration = SignedDuration::from_secs(2);
        let back_off = failed.at.checked_add(SHOWN).unwrap_or(Timestamp::MAX);
        let message = &failed.message;
        if now < back_off {
            self.wake_at(back_off);
            return Waiting { reason: "ErrImagePull".into(), message: Some(message.clone()) };
        }
        let image = spec.image.as_deref().unwrap_or_default();
        let message = format!("Back-off pulling image {image:?}: ErrImagePull: {message}");
        Waiting { reason: "ImagePullBackOff".into(), message: Some(message) }
    }

    fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}

/// A wait as Go prints a duration: `10s`, `1m20s`, `5m0s`.
fn minutes(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds}s"),
        _ => format!("{}m{}s", seconds / 60, seconds % 60),
    }
}

/// Whether a container that ended so is started again: by its own rules, its own policy, or the pod's.
fn restarts(pod: &Pod, spec: &Spec, ended: &Ended, init: bool) -> bool {
    let code = ended.exit.code;
    for rule in spec.restart_policy_rules.iter().flatten() {
        let hit = rule.exit_codes.as_ref().is_some_and(|codes| {
            let listed = codes.values.iter().flatten().any(|value| *value == code);
            match codes.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                _ => false,
            }
        });
        if hit {
            return rule.action == "Restart";
        }
    }
    let pods = pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
    match spec.restart_policy.as_deref().or(pods) {
        Some("Never") => false,
        // An init container that ended well is done under every policy.
        Some("OnFailure") => code != 0,
        _ => !init || code != 0,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodSpec;

    use super::super::runs::Run;
    use super::*;
    use crate::runtime::Exit;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn spec(name: &str, policy: Option<&str>) -> Spec {
        Spec { name: name.into(), restart_policy: policy.map(Into::into), ..Spec::default() }
    }

    /// Init containers `i…` and sidecars `s…`, then containers, all under the policy.
    fn pod(policy: &str, inits: &[&str], containers: &[&str]) -> Pod {
        let inits = inits.iter().map(|name| spec(name, name.starts_with('s').then_some("Always"))).collect();
        Pod {
            spec: Some(PodSpec {
                restart_policy: Some(policy.into()),
                init_containers: Some(inits),
                containers: containers.iter().map(|name| spec(name, None)).collect(),
                ..PodSpec::default()
            }),
            ..Pod::default()
        }
    }

    fn ended(code: i32, second: i64) -> Container {
        let exit = Exit { code, signal: None, oom_killed: false, started_at: at(0), finished_at: at(second) };
        Container { run: Some(Run::Ended(Ended::of(0, exit))), ..Container::default() }
    }

    fn running() -> Container {
        Container { run: Some(Run::Running { attempt: 0, started_at: at(0) }), ..Container::default() }
    }

    #[track_caller]
    fn check(pod: &Pod, known: &[(&str, Container)], start: &[&str], outcome: Option<Outcome>) {
        let containers = known.iter().map(|(name, c)| ((*name).to_owned(), Box::new(c.clone()))).collect();
        let decision = decide(pod, &containers, at(1000));
        assert_eq!(
            (decision.start.iter().map(String::as_str).collect::<Vec<_>>(), decision.outcome),
            (start.to_vec(), outcome)
        );
    }

    #[test]
    fn init_containers_come_first_and_one_by_one() {
        let pod = pod("Always", &["i1", "s1", "i2"], &["a", "b"]);
        check(&pod, &[], &["i1"], None);
        check(&pod, &[("i1", running())], &[], None);
        check(&pod, &[("i1", ended(0, 1))], &["s1"], None);
        check(&pod, &[("i1", ended(0, 1)), ("s1", running())], &["i2"], None);
        check(&pod, &[("i1", ended(0, 1)), ("s1", ended(0, 1))], &["s1"], None);
        check(&pod, &[("i1", ended(0, 1)), ("s1", running()), ("i2", ended(0, 2))], &["a", "b"], None);
    }

    #[test]
    fn a_pod_under_way_does_not_initialize_again() {
        let pod = pod("Always", &["i1", "s1"], &["a", "b"]);
        check(&pod, &[("a", running())], &["s1", "b"], None);
    }

    #[test]
    fn policy_decides_what_an_end_means() {
        let always = pod("Always", &[], &["a"]);
        check(&always, &[("a", ended(0, 1))], &["a"], None);
        let on_failure = pod("OnFailure", &[], &["a", "b"]);
        check(&on_failure, &[("a", ended(0, 1)), ("b", ended(1, 1))], &["b"], None);
        check(&on_failure, &[("a", ended(0, 1)), ("b", ended(0, 1))], &[], Some(Outcome::Succeeded));
        let never = pod("Never", &[], &["a", "b"]);
        check(&never, &[("a", ended(0, 1)), ("b", ended(1, 1))], &[], Some(Outcome::Failed));
        check(&never, &[("a", ended(0, 1)), ("b", running())], &[], None);
    }

    #[test]
    fn a_failed_init_container_fails_a_pod_that_never_restarts() {
        check(&pod("Never", &["i1"], &["a"]), &[("i1", ended(1, 1))], &[], Some(Outcome::Failed));
        check(&pod("OnFailure", &["i1"], &["a"]), &[("i1", ended(1, 1))], &["i1"], None);
    }

    #[test]
    fn a_sidecar_that_is_down_does_not_hold_up_the_end() {
        let pod = pod("Never", &["s1"], &["a"]);
        check(&pod, &[("s1", ended(1, 1)), ("a", ended(0, 1))], &[], Some(Outcome::Succeeded));
        check(&pod, &[("s1", ended(1, 1)), ("a", running())], &["s1"], None);
    }

    #[test]
    fn crash_loops_wait_and_say_so() {
        let pod = pod("Always", &[], &["a"]);
        let mut container = ended(1, 998);
        container.backoff.failed(Schedule::CRASH_LOOP, at(990));
        let decide = |container: &Container| {
            decide(&pod, &Containers::from([("a".into(), Box::new(container.clone()))]), at(1000))
        };
        let decision = decide(&container);
        assert_eq!((decision.start.len(), decision.wake), (0, Some(at(1008))));
        assert_eq!(decision.waiting[0].1.reason, "CrashLoopBackOff");
        assert_eq!(
            decision.waiting[0].1.message.as_deref(),
            Some("back-off 10s restarting failed container=a pod=_()")
        );
        container.restart_now = true;
        assert_eq!(decide(&container).start, ["a"]);
    }
}
