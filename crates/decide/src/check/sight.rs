//! What a check sees: one pod, its workload, what others hold, and the moment.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use supple_resize::amounts::{Amounts, Resource};

use crate::check::draft::{Draft, Part};
use crate::create::{Creation, Siblings, create, newborn, pattern};
use crate::facts::{ContainerFacts, NodeFacts, PodFacts};
use crate::few::Few;
use crate::ledger::Ledger;
use crate::need::{Use, Uses, Wanted};
use crate::numbers::Numbers;
use crate::policy::{ContainerSettings, Mode, Policy};
use crate::progress::Progress;
use crate::scene::{Scene, Subject};
use crate::settle::{Harm, expects_restart};

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
    born: OnceCell<(PodFacts, Creation)>,
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
            !it.deleting && (scene.acting.contains_key(&it.key) || is_under_way(it) || is_watched(it, settle, now))
        };
        Self {
            ready: count(&|it| it.ready.is_some() && !it.deleting),
            disturbed: count(&|it| it.deleting || restarts_now(it, scene)),
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
fn restarts_now(pod: &PodFacts, scene: &Scene) -> bool {
    let noted = || pod.note.as_deref().is_some_and(|it| expects_restart(pod, it));
    let sent = || pod.containers.iter().any(|it| it.restarts_for_cpu || it.restarts_for_memory);
    (is_under_way(pod) && noted()) || (scene.acting.contains_key(&pod.key) && sent())
}

/// So much later; the end of time where there is no such time.
pub fn after(at: impl Into<Timestamp>, duration: SignedDuration) -> Timestamp {
    at.into().checked_add(duration).unwrap_or(Timestamp::MAX)
}

impl Sight<'_> {
    /// What a container of a pod that is created now would ask for: one answer for all pods of the workload, and why.
    pub fn born(&self) -> (impl Fn(&str) -> Option<Numbers>, &str) {
        let Self { scene, subject, team, pod, now, .. } = self;
        let (new, creation) = team.born.get_or_init(|| {
            let siblings = Siblings::of(scene, subject, team.pods.iter().copied());
            let new = newborn(subject, pattern(team.pods.iter().copied(), pod));
            let creation = create(scene, subject, &siblings, &new, *now);
            (new, creation)
        });
        let asks = |name: &str| {
            let own = new.containers.iter().find(|it| *it.name == *name).map(|it| it.asked);
            creation.sizes.get(name).copied().or(own)
        };
        (asks, &creation.verdict.message)
    }

    /// What may be done with it.
    pub fn policy(&self) -> &Policy {
        &self.subject.policy
    }

    /// The mode in force for this pod: its own word wins.
    pub fn mode(&self) -> Mode {
        let own = self.pod.words.get("supple.dev/mode").and_then(|it| Mode::of_word(it));
        own.unwrap_or(self.policy().mode.value)
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

    /// What the pod as a whole would ask for, of the parts that pass.
    pub fn whole(&self, draft: &Draft, which: impl Fn(&Part) -> bool) -> Amounts {
        self.pod.effective(self.pod.pod_level.amounts(), |index, _| draft.next(self.pod, index, &which).amounts())
    }
}
