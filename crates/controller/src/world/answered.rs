//! What the cluster answered: what is remembered of it, and what is told.

use jiff::Timestamp;
use supple_decide::code::Code;
use supple_decide::round::What;

use super::World;
use crate::carry::{Answer, Order};
use crate::event::{Effect, Told};
use crate::snapshot::Last;

impl World {
    pub(super) fn answered(&mut self, order: &Order, answer: Answer, now: Timestamp) -> Vec<Effect> {
        let Order { action, pod, .. } = order;
        // The target of an autoscaler that is set alone is nothing that was asked of the pod it is told with.
        let is_of_pod = !matches!(action.what, What::SettleScaler(_));
        let (code, words, is_set_back) = match answer {
            Answer::Accepted { generation } => {
                if is_of_pod {
                    self.view.scene.refused.remove(&action.pod);
                }
                // An eviction and a rollout hold until the pod is gone.
                self.in_flight.insert(action.pod.clone(), generation);
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
            // Nothing is to be learned from these: what the watches tell next decides anew.
            Answer::Overtaken(ref why) | Answer::Busy(ref why) | Answer::Failed(ref why) => {
                self.release(&action.pod);
                if !matches!(answer, Answer::Failed(_)) {
                    self.not_recreated(order); // where there was no answer, it may have been begun
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
