//! What a check sees: one pod, its workload, what others hold, and the moment.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use supple_resize::admission::quota;
use supple_resize::amounts::{Amounts, Resource};
use supple_resize::predict::Change;

use crate::check::Check;
use crate::check::draft::{Draft, Part};
use crate::check::restart::rollout;
use crate::create::{Creation, Siblings, create, create_with, newborn, pattern};
use crate::facts::{ContainerFacts, NodeFacts, PodFacts, Rollout};
use crate::few::Few;
use crate::ledger::Ledger;
use crate::need::{Use, Uses, Wanted};
use crate::numbers::Numbers;
use crate::policy::{ContainerSettings, Mode, Policy, Setting};
use crate::progress::Progress;
use crate::scene::{Scene, Subject};
use crate::settle::{Harm, expects_restart};

/// So long a resize that is under way holds up others: a node that answers is done within seconds, and tries one that fails for as long
/// as it takes a policy that says nothing else to give it up.
const HOLDS_A_PLACE: SignedDuration = SignedDuration::from_mins(30);

/// What a check sees.
pub struct Sight<'a> {
    /// Everything.
    pub scene: &'a Scene,
    /// The workload.
    pub subject: &'a Subject,
    /// Its pods together.
    pub team: &'a Team<'a>,
    /// The pod.
    pub pod: &'a PodFacts,
    /// What its containers use.
    pub uses: Option<&'a Uses>,
    /// What nodes, namespaces and budgets have left.
    pub ledger: &'a Ledger<'a>,
    /// Now.
    pub now: Timestamp,
    /// The pods that are there, where this one is about to be created; `None`: it is one of them.
    pub siblings: Option<&'a Siblings>,
}

/// The pods of one workload, and what is worked out once for all of them.
pub struct Team<'a> {
    /// All of them, in order.
    pub pods: Vec<&'a PodFacts>,
    /// What holds for its containers.
    pub settings: Few<&'a str, ContainerSettings>,
    /// Pods that came to harm by their last resize.
    pub harms: BTreeMap<&'a str, Harm>,
    /// Pods that are ready and stay.
    pub ready: u32,
    /// Pods on their way out, or with a container that is being restarted for its resize.
    pub disturbed: u32,
    /// Pods that are being resized, or watched after it.
    pub watched: u32,
    /// What one that is created now would ask for; worked out when somebody asks.
    born: OnceCell<(Siblings, Born)>,
}

/// A pod that is to be created in the place of one that is recreated.
#[derive(Clone)]
pub struct Born {
    /// As its template makes it.
    new: PodFacts,
    /// What it is created with, and why.
    creation: Creation,
}

impl Born {
    /// What one of its containers would ask for.
    pub fn asks(&self, name: &str) -> Option<Numbers> {
        let own = || self.new.containers.iter().find(|it| *it.name == *name).map(|it| it.asked);
        self.creation.sizes.get(name).copied().or_else(own)
    }

    /// Why.
    pub fn why(&self) -> &str {
        &self.creation.verdict.message
    }
}

/// When the pod that takes the place of one that is recreated is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Successor {
    /// While the other one is there still: quotas count both.
    Beside,
    /// Once the other one is gone, and not counted any more.
    After,
}

impl<'a> Team<'a> {
    /// Of the pods of a workload.
    pub fn of(pods: Vec<&'a PodFacts>, subject: &Subject, scene: &Scene, now: Timestamp) -> Self {
        let mut settings = Few::new();
        for name in pods.iter().flat_map(|it| &it.containers).map(|it| &*it.name) {
            settings.get_or_insert_with(name, || name, || subject.policy.container(name));
        }
        let count = |which: &dyn Fn(&PodFacts) -> bool| {
            u32::try_from(pods.iter().filter(|it| which(it)).count()).unwrap_or(u32::MAX)
        };
        let settle = subject.policy.settle.value;
        let watched = |it: &PodFacts| {
            !it.deleting
                && (scene.acting.contains_key(&it.key) || holds_a_place(it, now) || is_watched(it, settle, now))
        };
        Self {
            ready: count(&|it| it.ready.is_some() && !it.deleting),
            disturbed: count(&|it| it.deleting || restarts_now(it, scene) || is_being_recreated(it, scene)),
            watched: count(&watched),
            settings,
            harms: BTreeMap::new(),
            born: OnceCell::new(),
            pods,
        }
    }
}

/// Whether its node is at a resize of it.
pub fn is_under_way(pod: &PodFacts) -> bool {
    matches!(pod.progress, Progress::Underway | Progress::Failing(_))
}

/// Whether the resize its node is at counts for those that may be under way at once. One that is never done, because its node does not
/// answer any more or what runs is another's doing, is its own trouble: it does not hold up the others for ever.
pub fn holds_a_place(pod: &PodFacts, now: Timestamp) -> bool {
    is_under_way(pod) && pod.progress_since.is_none_or(|it| is_within(it, HOLDS_A_PLACE, now))
}

/// Whether it was resized so lately that it is still watched.
pub fn is_watched(pod: &PodFacts, settle: SignedDuration, now: Timestamp) -> bool {
    pod.note
        .as_ref()
        .is_some_and(|it| it.by.is_loop() && is_within(it.at, settle, now) && it.generation < pod.generation)
}

/// Whether less than so much time has passed since then. What lies further ahead than that was written by a clock that has been
/// set back since: nobody waits until this one has caught up with it.
pub fn is_within(at: impl Into<Timestamp>, duration: SignedDuration, now: Timestamp) -> bool {
    let at = at.into();
    now < after(at, duration) && at <= after(now, duration)
}

/// Whether a resize that restarts one of its containers is under way, or was sent.
pub fn restarts_now(pod: &PodFacts, scene: &Scene) -> bool {
    let noted = || pod.note.as_deref().is_some_and(|it| expects_restart(pod, it));
    let sent = || pod.containers.iter().any(|it| it.restarts_for_cpu || it.restarts_for_memory);
    (is_under_way(pod) && noted()) || (scene.acting.contains_key(&pod.key) && sent())
}

/// Whether its eviction was sent, or the restart of its workload for it.
pub fn is_being_recreated(pod: &PodFacts, scene: &Scene) -> bool {
    scene.acting.get(&pod.key).is_some_and(Change::is_empty)
}

/// So much later; the end of time where there is no such time.
pub fn after(at: impl Into<Timestamp>, duration: SignedDuration) -> Timestamp {
    at.into().checked_add(duration).unwrap_or(Timestamp::MAX)
}

impl Sight<'_> {
    /// What a pod that is created in the place of this one would ask for, and why: one answer for all pods of the workload, but where
    /// a quota has room for it only once this one is gone, and it is made no sooner.
    pub fn born(&self) -> Cow<'_, Born> {
        let Self { scene, subject, team, pod, now, .. } = self;
        let (siblings, born) = team.born.get_or_init(|| {
            let siblings = Siblings::of(scene, subject, team.pods.iter().copied());
            let new = newborn(subject, pattern(team.pods.iter().copied(), pod));
            let creation = create(scene, subject, &siblings, &new, *now);
            (siblings, Born { new, creation })
        });
        let short = born.creation.verdict.findings.iter().any(|it| it.check == Check::Quota);
        if !short || self.successor(&born.new) == Successor::Beside {
            return Cow::Borrowed(born);
        }
        let ledger = Ledger::without(scene, pod);
        let creation = create_with(scene, subject, siblings, &ledger, &born.new, *now);
        Cow::Owned(Born { new: born.new.clone(), creation })
    }

    /// When the one in the place of this pod is made. What numbers its pods, or has one a node, waits for the end of the old one, unless a
    /// rollout with surge makes the new one ready before; all others make the new one as soon as the old one is on its way out, which
    /// quotas count until it is gone: so long the new one is refused if it has no room beside it as its template makes it, and is made
    /// with room.
    fn successor(&self, new: &PodFacts) -> Successor {
        let waits = matches!(&*self.subject.facts.key.kind, "StatefulSet" | "DaemonSet");
        let quotas = self.scene.namespaces.get(&self.pod.key.namespace).map_or(&[][..], |it| &it.quotas);
        match rollout(self).unwrap_or(if waits { Rollout::After } else { Rollout::Replace }) {
            Rollout::Surge => Successor::Beside,
            Rollout::After => Successor::After,
            Rollout::Replace if quota::check(&new.to_pod(), None, quotas).is_err() => Successor::After,
            Rollout::Replace => Successor::Beside,
        }
    }

    /// What may be done with it.
    pub fn policy(&self) -> &Policy {
        &self.subject.policy
    }

    /// Whether nothing is ever done with it, because of where it is.
    pub fn is_protected(&self) -> bool {
        self.scene.cluster.is_protected(&self.pod.key.namespace)
    }

    /// The mode that is said for this pod: its own word wins.
    pub fn mode_said(&self) -> Setting<Mode> {
        self.pod.mode_under(self.policy())
    }

    /// The mode in force for this pod: no word of anybody's opens a protected namespace.
    pub fn mode(&self) -> Mode {
        if self.is_protected() { Mode::Off } else { self.mode_said().value }
    }

    /// What holds for a container.
    pub fn settings(&self, container: &ContainerFacts) -> Option<&ContainerSettings> {
        self.team.settings.get(&*container.name)
    }

    /// What a container uses, where it is known and of now.
    pub fn fresh_use(&self, container: &ContainerFacts) -> Option<&Use> {
        let used = self.last_use(container)?;
        (after(used.at, self.scene.cluster.stale_after) >= self.now).then_some(used)
    }

    /// What a container used when it was last measured; of one that is not there yet, the most that its siblings use.
    pub fn last_use(&self, container: &ContainerFacts) -> Option<&Use> {
        match self.siblings {
            Some(siblings) => siblings.used(&container.name),
            None => self.uses?.get(&container.name),
        }
    }

    /// Whether a container could be measured now, if everything is well: of one that is not there yet, some sibling's.
    pub fn is_measurable(&self, container: &ContainerFacts) -> bool {
        self.siblings.is_none_or(|it| it.lives(&container.name))
    }

    /// What is wanted of a resource of a container.
    pub fn wanted(&self, container: &ContainerFacts, resource: Resource) -> Option<Wanted<i64>> {
        let need = self.subject.needs.get(&container.name)?;
        match resource {
            Resource::Cpu => need.cpu.as_ref().map(|it| it.amounts(|amount| amount.0)),
            Resource::Memory => need.memory.as_ref().map(|it| it.amounts(|amount| amount.0)),
        }
    }

    /// Its node, as the API has it.
    pub fn node(&self) -> Option<&NodeFacts> {
        self.scene.nodes.get(self.pod.node.as_ref()?)
    }

    /// The minor version of its kubelet; where its node says none, that of the API server.
    pub fn kubelet(&self) -> Option<u32> {
        self.node().and_then(|it| it.kubelet).or(self.scene.cluster.minor_version)
    }

    /// The minor version that what takes both of them goes by: the older one of API server and kubelet.
    pub fn both(&self) -> Option<u32> {
        [self.scene.cluster.minor_version, self.kubelet()].into_iter().flatten().min()
    }

    /// What the pod as a whole would ask for, of the parts that pass.
    pub fn whole(&self, draft: &Draft, which: impl Fn(&Part) -> bool) -> Amounts {
        self.pod.effective(self.pod.pod_level.amounts(), |index, _| draft.next(self.pod, index, &which).amounts())
    }
}
