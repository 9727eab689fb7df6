//! What the cluster answered: what is remembered of it, and what is told.

use jiff::{SignedDuration, Timestamp};
use supple_decide::code::Code;
use supple_decide::key::PodKey;
use supple_decide::round::What;

use super::World;
use crate::carry::{Answer, Order};
use crate::event::{Effect, Told};
use crate::snapshot::Last;

/// For so long a pod that was evicted, or whose workload was restarted for it, is waited for that does not go. A rollout can be undone, or
/// come to a halt, before it reaches the pod, and nobody tells; for as long as it goes on its owner's state says so all the same.
const GONE_WITHIN: SignedDuration = SignedDuration::from_hours(1);

/// How far an action is, and until when it holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sent {
    /// It has not been answered.
    Asked,
    /// It was made: it holds until the pod is seen in this generation.
    Made(i64),
    /// It was taken at this moment, and no generation tells that it is done: it holds until the pod is gone, or has not begun to go for
    /// [`GONE_WITHIN`].
    Taken(Timestamp),
}

impl Sent {
    /// Whether a pod of this generation shows it.
    pub(super) const fn is_shown_at(self, generation: i64) -> bool {
        matches!(self, Self::Made(made) if generation >= made)
    }
}

impl World {
    /// Pods that were to be recreated and stay are judged again, and their siblings with them. One on its way out stays until it is gone: a
    /// finalizer, or a long grace, may hold it.
    pub(super) fn release_those_that_stay(&mut self, now: Timestamp) {
        let stays = |pod: &PodKey| self.view.scene.pods.get(pod).is_some_and(|it| !it.deleting);
        let is_over = |sent: &Sent| matches!(sent, Sent::Taken(at) if now.duration_since(*at).abs() >= GONE_WITHIN);
        let over = self.in_flight.iter().filter(|(pod, sent)| is_over(sent) && stays(pod)).map(|it| it.0.clone());
        for pod in over.collect::<Vec<_>>() {
            tracing::info!(%pod, "it was to be recreated an hour ago and is still there; Supple decides again");
            self.release(&pod);
        }
    }

    pub(super) fn answered(&mut self, order: &Order, answer: Answer, now: Timestamp) -> Vec<Effect> {
        let Order { action, pod, .. } = order;
        // The target of an autoscaler that is set alone is nothing that was asked of the pod it is told with.
        let is_of_pod = !matches!(action.what, What::SettleScaler(_));
        let (code, words, is_set_back) = match answer {
            Answer::Accepted { generation } => {
                if is_of_pod {
                    self.view.scene.refused.remove(&action.pod);
                }
                self.in_flight.insert(action.pod.clone(), generation.map_or(Sent::Taken(now), Sent::Made));
                if let Some(seen) = self.view.scene.pods.get(&action.pod).map(|it| it.generation) {
                    self.shows_what_was_sent(&action.pod, seen);
                }
                if !is_of_pod {
                    self.release(&action.pod); // nothing happens to the pod
                }
                let words = match action.what.change() {
                    Some(change) => format!("{} ({})", crate::carry::in_words(pod, change), action.why),
                    None => action.why.clone(),
                };
                (action.code, words, matches!(action.code, Code::RollBack | Code::GivenUp))
            }
            Answer::Refused(why) => {
                self.release(&action.pod);
                self.not_recreated(order);
                self.refused(order, &why, now);
                (Code::Refused, format!("{why} ({})", action.why), true)
            }
            Answer::Blocked(why) => {
                self.release(&action.pod);
                self.not_recreated(order);
                self.blocked(order, &why, now); // which the next round tells, once an hour
                return Vec::new();
            }
            // Little is to be learned from these: what the watches tell next decides anew.
            Answer::Overtaken(ref why) | Answer::Busy(ref why) | Answer::Failed(ref why) => {
                self.release(&action.pod);
                match answer {
                    Answer::Busy(_) => {
                        self.not_recreated(order);
                        self.busy(order, why, now);
                    }
                    Answer::Failed(_) => self.unanswered(order, why, now), // it may have been begun: that stays remembered
                    _ => self.not_recreated(order),
                }
                tracing::debug!(pod = %action.pod, why, "an action failed; Supple decides again");
                return Vec::new();
            }
        };
        let message = if is_set_back { self.paused(&action.workload, words.clone(), now) } else { words.clone() };
        let gist = Some(words).filter(|it| *it != message);
        self.last.insert(action.pod.clone(), Last { code, message: message.clone(), at: now });
        let workload = action.workload.clone();
        let of_policy = if code == Code::RollBack { self.tell_rolled_back(&workload, &action.why, now) } else { None };
        let told = self.tell(Told { at: now, code, pod: Some(action.pod.clone()), workload, message, gist });
        std::iter::once(told).chain(of_policy).collect()
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::watcher;
    use serde_json::json;
    use supple_decide::round::Action;
    use supple_resize::predict::Change;

    use super::*;
    use crate::event::Event;
    use crate::world::tests::{Stage, pod};

    /// Whether a pod is still acted on so many minutes after this was sent, and answered if it was.
    #[track_caller]
    fn check(what: What, answer: Option<Answer>, deleting: bool, minutes: i64, expect: bool) {
        let mut stage = Stage::at_work();
        stage.round();
        let key = stage.world.scene().pods.keys().next().unwrap().clone();
        let workload = stage.world.scene().pods[&key].workload.clone();
        let why = "it wants more".to_owned();
        let action =
            Action { pod: key.clone(), workload, what: what.clone(), code: Code::Evict, why, cannot_wait: false };
        let Some(Effect::Carry(order)) = stage.world.send(action) else { panic!("it is sent") };
        if let Some(answer) = answer.clone() {
            stage.tell(Event::Answered(order, answer));
        }
        if deleting {
            let mut going = pod(1, "1", json!({}));
            going.metadata.deletion_timestamp = serde_json::from_value(json!("2026-02-01T00:01:00Z")).unwrap();
            stage.tell(Event::News(Box::new(crate::view::News::Pod(watcher::Event::Apply(going)))));
        }
        stage.world.view.scene.cluster.max_in_flight = 0; // nothing new is begun once it is judged again
        stage.now += SignedDuration::from_mins(minutes - 1);
        stage.round();
        let acting = stage.world.scene().acting.contains_key(&key);
        assert_eq!(acting, expect, "{what:?} {answer:?} {deleting} {minutes}");
        assert_eq!(stage.world.in_flight.contains_key(&key), expect);
    }

    #[test]
    fn a_pod_that_was_to_be_recreated_and_stays_is_judged_again_after_an_hour() {
        let taken = || Some(Answer::Accepted { generation: None });
        for what in [What::RollOut, What::Evict] {
            check(what.clone(), taken(), false, 59, true);
            check(what.clone(), taken(), false, 60, false);
            check(what.clone(), taken(), true, 600, true); // a finalizer holds it
            check(what, None, false, 600, true); // it is still being asked
        }
        let made = Some(Answer::Accepted { generation: Some(2) });
        check(What::Resize(Change::default()), made, false, 600, true); // the watch is behind
    }
}
