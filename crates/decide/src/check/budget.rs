//! Do workload, namespace, node and cluster allow one more resize now? What cannot wait needs none, nor the part of it that
//! changes together with all siblings: only what a horizontal autoscaler reads does, and the rest of such a pod waits like any other.

use supple_resize::amounts::Requirement;

use crate::check::Check;
use crate::check::draft::{Deed, Draft, Part, Saying};
use crate::check::sight::{Sight, after, is_watched};
use crate::code::Code;
use crate::facts::{Phase, PodFacts};
use crate::progress::Progress;

pub fn ask(sight: &Sight<'_>, draft: &mut Draft) {
    if draft.deed != Deed::Resize || !draft.parts.iter().any(|it| it.changes() && !it.together) {
        return; // disruptions have budgets of their own
    }
    let pod = sight.pod;
    let say = |code, message: String| Saying::delayed(Check::Budget, code, message);
    let most = sight.scene.cluster.max_in_flight;
    if sight.ledger.under_way >= most {
        draft.ration(say(Code::ClusterBudget, format!("{most} resizes are in progress in the cluster, the maximum")));
    }
    let given = sight.ledger.team(&pod.workload).resized;
    let watched = sight.team.watched.saturating_add(given);
    if watched > 0 && !is_proven(sight, draft) {
        let message = "another pod of its workload goes first and is being watched";
        let saying = say(Code::CanarySettling, message.to_owned());
        draft.ration(saying.by("settle", &sight.policy().settle));
    } else if watched >= sight.policy().pods_at_once.value.max(1) {
        let message = format!("{watched} pods of its workload are being resized or watched, the maximum");
        let saying = say(Code::WorkloadBudget, message);
        draft.ration(saying.by("podsAtOnce", &sight.policy().pods_at_once));
    }
    let budget = &sight.policy().namespace_pods_at_once;
    let in_namespace = sight.ledger.in_namespace(&pod.key.namespace);
    if budget.value.is_some_and(|most| in_namespace >= most.max(1)) {
        let message = format!("{in_namespace} pods of its namespace are being resized or watched, the maximum");
        draft.ration(say(Code::NamespaceBudget, message).by("namespacePodsAtOnce", budget));
    }
    let busy = pod.node.as_deref().and_then(|it| sight.ledger.node(it)).is_some_and(|it| it.under_way > 0);
    if busy {
        draft.ration(say(Code::NodeBusy, "another resize is in progress on its node".to_owned()));
    }
}

/// Whether some sibling lives with such sizes already, and has for long enough to say so: nobody has to go first any more.
pub fn is_proven(sight: &Sight<'_>, draft: &Draft) -> bool {
    let rationed = || draft.parts.iter().filter(|it| it.changes() && !it.together);
    let proves = |it: &PodFacts| lives_well(sight, it) && rationed().all(|part| proves(sight, it, part));
    sight.team.pods.iter().any(|it| it.key != sight.pod.key && proves(it))
}

fn lives_well(sight: &Sight<'_>, sibling: &PodFacts) -> bool {
    let settle = sight.policy().settle.value;
    sibling.phase == Phase::Running
        && !sibling.deleting
        && sibling.progress == Progress::Settled
        && sibling.ready.is_some_and(|it| after(it, settle) <= sight.now)
        && !is_watched(sibling, settle, sight.now)
        && !sight.team.harms.contains_key(&*sibling.key.name)
}

/// Whether the sibling has as little, or as much, give or take what would not be worth a resize.
fn proves(sight: &Sight<'_>, sibling: &PodFacts, part: &Part) -> bool {
    let name = &sight.pod.containers[part.container].name;
    let Some(container) = sibling.containers.iter().find(|it| it.name == *name) else { return false };
    let slack = i128::from(sight.policy().threshold_percent.value);
    [(Requirement::Request, part.now.request, part.next.request), (Requirement::Limit, part.now.limit, part.next.limit)]
        .into_iter()
        .all(|(requirement, now, next)| {
            let Some((now, next)) = now.zip(next).filter(|(now, next)| now != next) else { return true };
            let Some(has) = container.asked.get(part.resource, requirement) else { return false };
            let (has, next) = (i128::from(has) * 100, i128::from(next));
            if next < i128::from(now) { has <= next * (100 + slack) } else { has >= next * (100 - slack) }
        })
}
