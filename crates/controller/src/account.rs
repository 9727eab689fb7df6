//! What a world knows and has decided about one workload, put together for people and programs: the source of `plan` and
//! `explain`, of their tables and their JSON alike.

mod amounts;
mod answer;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use supple_api::names;
use supple_decide::check::Check;
use supple_decide::code::Code;
use supple_decide::create::{self, Creation, Siblings, newborn};
use supple_decide::facts::{Phase, PodFacts};
use supple_decide::key::WorkloadKey;
use supple_decide::need::Need;
use supple_decide::numbers::Numbers;
use supple_decide::policy::{Mode, Origin, Policy, Row};
use supple_decide::record::Record;
use supple_decide::round::{Decision, Finding, Outcome};
use supple_decide::scene::Subject;
use supple_recommend::explain::Explanation;
use supple_resize::amounts::{Requirement, Resource};
use supple_resize::predict::{Change, Sizes};
use supple_resize::resources::ContainerKind;

use answer::Oracle;
pub use answer::{Answer, AnswerWord};

use crate::world::World;
use crate::world::idle::stands_in;

/// One workload.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// Its namespace.
    pub namespace: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// How far we may go with it.
    pub mode: Mode,
    /// Its pods, and of how many of them the sizes are to change.
    pub pods: u32,
    /// Pods whose sizes should change.
    pub changing: u32,
    /// The pod that stands for all of them: one that is to change, where there is one. Empty where there are none.
    pub pod: String,
    /// Its containers.
    pub containers: Vec<ContainerAccount>,
    /// What settled it.
    pub code: Code,
    /// The sentence.
    pub message: String,
    /// When it may be otherwise by itself.
    pub again: Option<Timestamp>,
    /// Every check in order, with what it had to say.
    pub checks: Vec<CheckAccount>,
    /// What the cluster would answer, if the change of this pod were asked for now; of the others, their patches say it.
    pub answer: Answer,
    /// What a pod would be given that is created now.
    pub new_pod: NewPod,
    /// What would have to change for it to act; empty where nothing stands in the way.
    pub to_act: Vec<ToAct>,
    /// Every setting with the layer it comes from.
    pub settings: Vec<SettingAccount>,
    /// What of the policies that speak of it is not in force, because it could not be read or is refused.
    pub problems: Vec<String>,
    /// What was done before.
    #[serde(serialize_with = "amounts::record")]
    pub record: Record,
    /// Where pods request less than they need at the least.
    pub risks: Vec<Risk>,
    /// The change as a `/resize` patch of each pod that should change.
    pub patches: Vec<PodPatch>,
}

/// The change of one pod.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodPatch {
    /// Which.
    pub pod: String,
    /// What settled it.
    pub code: Code,
    /// What the cluster would answer to it, if it were the only one that is asked for.
    pub answer: Answer,
    /// The body of a patch of its `/resize`.
    pub patch: serde_json::Value,
}

/// A resource of a container of which pods request less than they need at the least.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Risk {
    /// Which container.
    pub container: String,
    /// Which resource.
    pub resource: Resource,
    /// How many pods do.
    pub pods: u32,
    /// The least that one of them requests; `0` of one that requests nothing.
    pub requests: String,
    /// What it needs.
    pub needs: String,
}

/// What pods would request less together than they do; negative: more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// CPU, in thousandths.
    pub milli_cpu: i64,
    /// Memory, in bytes.
    pub memory: i64,
}

/// One container.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerAccount {
    /// Its name.
    pub name: String,
    /// What it asks for.
    #[serde(serialize_with = "amounts::numbers")]
    pub now: Numbers,
    /// What it runs with instead, of those numbers, though no resize is under way: somebody on its node sets its cgroup. Only where
    /// that is so.
    #[serde(serialize_with = "amounts::numbers", skip_serializing_if = "Numbers::is_empty")]
    pub runs: Numbers,
    /// What it should ask for, whether or not a check holds that for now; equal to `now` where nothing is to change.
    #[serde(serialize_with = "amounts::numbers")]
    pub proposed: Numbers,
    /// What held its sizes last, in the word of whoever set that: `minAllowed`, `step`, `LimitRange`, `quota`. Where nothing
    /// did, the size is the recommender's own.
    pub held_by: HeldBy,
    /// What the recommender says.
    #[serde(serialize_with = "amounts::need")]
    pub need: Option<Need>,
    /// Why it says so, in its own numbers.
    #[serde(serialize_with = "amounts::explanation")]
    pub explanation: Option<Explanation>,
    /// What it uses.
    #[serde(serialize_with = "amounts::used")]
    pub used: Option<supple_decide::need::Use>,
    /// What is in force for it alone, with the layer it comes from.
    pub settings: Vec<SettingAccount>,
    /// What the change releases in all pods together.
    #[serde(skip)]
    pub released: Released,
}

/// What held the sizes of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HeldBy {
    /// That of CPU.
    pub cpu: Option<&'static str>,
    /// That of memory.
    pub memory: Option<&'static str>,
}

/// One check.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckAccount {
    /// Which.
    pub check: Check,
    /// What it asks.
    pub question: &'static str,
    /// It was asked. There are some that are only asked where something is to change.
    pub asked: bool,
    /// What it had to say; nothing, where it was asked: it passed.
    pub findings: Vec<Finding>,
}

/// What a new pod would be given.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewPod {
    /// The webhook is registered, and asked about new pods of this workload; else each starts with its template's sizes.
    pub asked: bool,
    /// Its containers.
    pub containers: Vec<NewContainer>,
    /// What settled it.
    pub code: Code,
    /// The sentence.
    pub message: String,
    /// Everything that was found, as for a pod that runs.
    pub findings: Vec<Finding>,
}

/// A container of a new pod.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewContainer {
    /// Its name.
    pub name: String,
    /// What its template asks for.
    #[serde(serialize_with = "amounts::numbers")]
    pub template: Numbers,
    /// What it would start with.
    #[serde(serialize_with = "amounts::numbers")]
    pub sizes: Numbers,
}

/// A setting.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SettingAccount {
    /// Its name, as policies write it.
    pub name: &'static str,
    /// Its value in plain words, with its unit.
    pub value: String,
    /// Where it comes from.
    pub origin: String,
    /// What it means.
    pub meaning: &'static str,
}

impl SettingAccount {
    fn of(row: Row<'_>) -> Self {
        let Row { name, meaning, value, origin } = row;
        Self { name, value, origin: origin.to_string(), meaning }
    }
}

/// What would have to change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ToAct {
    /// What stands in the way.
    pub code: Code,
    /// What would have to change about it.
    pub change: &'static str,
    /// The setting that says so, where one does.
    pub setting: Option<String>,
    /// What a person types for it, where one line does.
    pub command: Option<String>,
}

impl Account {
    /// Whether sizes should change, also where something stands in the way of that. Where there are no pods nothing can.
    pub fn is_change(&self) -> bool {
        self.pods > 0 && self.differs()
    }

    /// Whether it asks for something else than it should.
    pub fn differs(&self) -> bool {
        self.containers.iter().any(|it| it.proposed != it.now)
    }
}

impl World {
    /// The accounts of all workloads, by name. Those that have no pod are left out unless [`World::judge_those_without_pods`] was asked
    /// for.
    pub fn accounts(&self) -> Vec<Account> {
        let oracle = Oracle::of(self.scene());
        self.scene().workloads.keys().filter_map(|it| self.account(it, &oracle)).collect()
    }

    fn account(&self, workload: &WorkloadKey, oracle: &Oracle<'_>) -> Option<Account> {
        let scene = self.scene();
        let subject = scene.workloads.get(workload)?;
        let pods = || self.pods_of(workload);
        let decisions = || pods().filter_map(|it| self.decisions().get(&it.key));
        let changes = |it: &&Decision| it.containers.iter().any(|it| it.due != it.now);
        let decision = decisions().find(changes).or_else(|| decisions().next())?;
        let pod = scene.pods.get(&decision.pod)?;
        let counted = |it: usize| u32::try_from(it).unwrap_or(u32::MAX);
        let uses = scene.uses.get(&pod.key);
        let containers = decision.containers.iter().map(|it| ContainerAccount {
            name: it.container.to_string(),
            now: it.now,
            runs: pod.drift(&it.container),
            proposed: it.due,
            held_by: HeldBy {
                cpu: decision.bound(&it.container, Resource::Cpu).and_then(|it| it.code.rule()),
                memory: decision.bound(&it.container, Resource::Memory).and_then(|it| it.code.rule()),
            },
            need: subject.needs.get(&it.container).cloned(),
            explanation: self.explanation(workload, &it.container).copied(),
            used: uses.and_then(|uses| uses.get(&it.container)).copied(),
            settings: subject
                .policy
                .container_rows(&it.container)
                .into_iter()
                .map(|it| self.said_by(workload, it))
                .collect(),
            released: released(decisions(), &it.container),
        });
        if stands_in(pod) {
            return Some(self.without_pods(workload, subject, (pod, decision), containers.collect()));
        }
        let pending = pods().all(|it| it.phase == Phase::Pending).then(|| match pods().count() {
            1 => "its pod does not run yet: it is pending".to_owned(),
            count => format!("none of its {count} pods runs yet: they are pending"),
        });
        // Nobody's word opens a protected namespace, and the policy there says so.
        let mut policy = Policy::clone(&subject.policy);
        if !scene.cluster.is_protected(&workload.namespace) {
            policy.mode = pod.mode_under(&subject.policy);
        }
        let patches: Vec<PodPatch> = decisions().filter_map(|it| self.patch(it, oracle)).collect();
        let answer = patches.iter().find(|it| *it.pod == *pod.key.name).map(|it| it.answer.clone());
        Some(Account {
            namespace: workload.namespace.to_string(),
            kind: workload.kind.to_string(),
            name: workload.name.to_string(),
            mode: policy.mode.value,
            pods: counted(pods().count()),
            changing: counted(decisions().filter(changes).count()),
            pod: pod.key.name.to_string(),
            containers: containers.collect(),
            code: pending.as_ref().map_or(decision.code, |_| Code::NotRunning),
            message: pending.unwrap_or_else(|| decision.message.clone()),
            again: decision.again,
            checks: checks(decision),
            new_pod: self.new_pod(subject, pod),
            answer: answer.unwrap_or_else(Answer::nothing),
            to_act: self.to_act(workload, pod, &decision.findings),
            settings: policy.rows().into_iter().map(|it| self.said_by(workload, it)).collect(),
            problems: self.problems_about(workload),
            record: Record::clone(&subject.record),
            risks: risks(subject, &pods().collect::<Vec<_>>()),
            patches,
        })
    }

    /// The account of a workload that has no pods: what its template asks for, and what is remembered of the pods it had.
    fn without_pods(
        &self,
        workload: &WorkloadKey,
        subject: &Subject,
        (pod, decision): (&PodFacts, &Decision),
        containers: Vec<ContainerAccount>,
    ) -> Account {
        let why = match (&*workload.kind, subject.facts.replicas) {
            ("CronJob", _) => "none of its runs is active now",
            (_, 0) => "it is scaled to zero",
            _ => "it has no pods",
        };
        let learned = subject.needs.values().filter_map(|it| it.fresh).max();
        let known = learned.map_or_else(
            || "there is no history of earlier pods".to_owned(),
            |it| format!("the sizes are from the history up to {it:.0}, compared with its template"),
        );
        // The others ask about pods that run.
        let mut checks = checks(decision);
        checks.retain(|it| matches!(it.check, Check::Permission | Check::Owner));
        Account {
            namespace: workload.namespace.to_string(),
            kind: workload.kind.to_string(),
            name: workload.name.to_string(),
            mode: subject.policy.mode.value,
            pods: 0,
            changing: 0,
            pod: String::new(),
            containers,
            code: Code::NoPods,
            message: format!("{why}: {known}"),
            again: None,
            checks,
            new_pod: self.new_pod(subject, pod),
            answer: Answer::nothing(),
            to_act: vec![ToAct { code: Code::NoPods, change: Code::NoPods.cure(), setting: None, command: None }],
            settings: subject.policy.rows().into_iter().map(|it| self.said_by(workload, it)).collect(),
            problems: self.problems_about(workload),
            record: Record::clone(&subject.record),
            risks: Vec::new(),
            patches: Vec::new(),
        }
    }

    /// What the webhook would answer about a pod of the workload's template, were it asked now.
    fn new_pod(&self, subject: &Subject, pattern: &PodFacts) -> NewPod {
        let scene = self.scene();
        let siblings = Siblings::of(scene, subject, self.pods_of(&pattern.workload), self.judged_at);
        let new = newborn(subject, create::pattern(self.pods_of(&pattern.workload), pattern));
        let Creation { sizes, verdict } = create::create(scene, subject, &siblings, &new, self.judged_at);
        let judged = new.containers.iter().filter(|it| it.kind != ContainerKind::Init);
        let containers = judged.map(|it| NewContainer {
            name: it.name.to_string(),
            template: it.asked,
            sizes: sizes.get(&it.name).copied().unwrap_or(it.asked),
        });
        NewPod {
            asked: subject.facts.sized_at_creation,
            containers: containers.collect(),
            code: verdict.code,
            message: verdict.message,
            findings: verdict.findings,
        }
    }

    /// The change that a decision is about, as a patch of its pod.
    fn patch(&self, decision: &Decision, oracle: &Oracle<'_>) -> Option<PodPatch> {
        let change = change_of(decision);
        let pod = self.scene().pods.get(&decision.pod).filter(|_| !change.is_empty())?;
        let patch = change.to_patch(&pod.to_pod()).ok()?;
        let answer = oracle.foresee(pod, &change);
        Some(PodPatch { pod: pod.key.name.to_string(), code: decision.code, answer, patch })
    }

    /// A setting, with the label or annotation by its name where one was read: of two of a name the label goes first.
    fn said_by(&self, workload: &WorkloadKey, row: Row<'_>) -> SettingAccount {
        let name = if row.name == "paused" { names::PAUSED } else { names::MODE };
        let (of, labelled) = match row.origin {
            Origin::Workload => ("workload", self.said_of(workload).labels.contains_key(name)),
            Origin::NamespaceLabel => ("namespace", self.is_labelled(&workload.namespace, name)),
            _ => return SettingAccount::of(row),
        };
        let what = if labelled { "label" } else { "annotation" };
        SettingAccount { origin: format!("{of} {what} {name}"), ..SettingAccount::of(row) }
    }

    /// What would have to change, once each, in the order of the checks.
    fn to_act(&self, workload: &WorkloadKey, pod: &PodFacts, findings: &[Finding]) -> Vec<ToAct> {
        let mut all: Vec<ToAct> = Vec::new();
        // Where nothing is ever done, nothing else would change that.
        let protected = findings.iter().any(|it| it.code == Code::ProtectedNamespace);
        let counts = |it: &&Finding| !protected || it.code == Code::ProtectedNamespace;
        let stands = |it: &&Finding| it.outcome != Outcome::Clamped && !it.code.cure().is_empty();
        for it in findings.iter().filter(stands).filter(counts) {
            if all.iter().any(|known| known.code == it.code && known.setting == it.setting) {
                continue;
            }
            let command = self.command(it.code, workload, pod);
            all.push(ToAct { code: it.code, change: it.code.cure(), setting: it.setting.clone(), command });
        }
        all
    }

    /// The one line that a person would type.
    fn command(&self, code: Code, workload: &WorkloadKey, pod: &PodFacts) -> Option<String> {
        let namespace = &workload.namespace;
        let own = format!("pod/{}", pod.key.name);
        // What is not watched says nothing of itself that is read; its pods do.
        let is_read = matches!(&*workload.kind, "Deployment" | "StatefulSet" | "DaemonSet" | "Job" | "CronJob");
        let object = format!("{}/{}", workload.kind.to_lowercase(), workload.name);
        let object = if is_read { &object } else { &own };
        Some(match code {
            Code::ModeOff => {
                let object = if pod.words.contains_key(names::MODE) { &own } else { object };
                format!("kubectl label --overwrite {object} -n {namespace} {}=in-place", names::MODE)
            }
            Code::Stopped => format!("kubectl annotate namespace {} {}-", self.own_namespace(), names::STOP),
            Code::NeedsApproval => {
                format!("kubectl annotate --overwrite {object} -n {namespace} {}=true", names::APPROVE_MEMORY_DECREASE)
            }
            Code::OtherHand => {
                let patch = json!({"metadata": {"annotations": {(names::LAST_RESIZE): null}, "managedFields": [{}]}});
                format!("kubectl patch {own} -n {namespace} --type=merge -p '{patch}'")
            }
            _ => return None,
        })
    }
}

fn change_of(decision: &Decision) -> Change {
    let mut change = Change::default();
    for proposal in decision.containers.iter().filter(|it| it.due != it.now) {
        let sizes: Sizes = proposal.due.beyond(&proposal.now);
        if !sizes.is_empty() {
            change.containers.insert(proposal.container.to_string(), sizes);
        }
    }
    change
}

/// What all changes of a container release together.
fn released<'a>(decisions: impl Iterator<Item = &'a Decision>, container: &str) -> Released {
    let mut all = Released::default();
    for it in decisions.flat_map(|it| &it.containers).filter(|it| &*it.container == container) {
        let less = |now: Option<i64>, due: Option<i64>| now.unwrap_or(0).saturating_sub(due.unwrap_or(0));
        let of =
            |resource| less(it.now.get(resource, Requirement::Request), it.due.get(resource, Requirement::Request));
        all.milli_cpu = all.milli_cpu.saturating_add(of(Resource::Cpu));
        all.memory = all.memory.saturating_add(of(Resource::Memory));
    }
    all
}

/// Where pods that live request less than they need at the least. Who requests nothing has no share of its own, unless its pod has one.
fn risks(subject: &Subject, pods: &[&PodFacts]) -> Vec<Risk> {
    let mut all = Vec::new();
    for (name, need) in subject.needs.iter() {
        let least = [
            (Resource::Cpu, need.cpu.as_ref().map(|it| it.lower.0)),
            (Resource::Memory, need.memory.as_ref().map(|it| it.lower.0)),
        ];
        for (resource, least) in least.into_iter().filter_map(|(resource, least)| Some((resource, least?))) {
            let lives = |it: &&&PodFacts| !it.deleting && it.phase != Phase::Ended;
            let asked = pods.iter().filter(lives).flat_map(|pod| {
                let of_pod = pod.pod_level.get(resource, Requirement::Request);
                let containers = pod.containers.iter().filter(|it| it.name == *name);
                // What the pod requests as a whole is there for all of its containers.
                containers.filter_map(move |it| {
                    it.asked.get(resource, Requirement::Request).or(if of_pod.is_some() { None } else { Some(0) })
                })
            });
            let short: Vec<i64> = asked.filter(|asked| *asked < least).collect();
            let Some(requests) = short.iter().min() else { continue };
            all.push(Risk {
                container: name.to_string(),
                resource,
                pods: u32::try_from(short.len()).unwrap_or(u32::MAX),
                requests: resource.quantity(*requests).to_string(),
                needs: resource.quantity(least).to_string(),
            });
        }
    }
    all
}

/// What was said, by check. What is said of a container's CPU and of its memory in the same words is said once.
fn checks(decision: &Decision) -> Vec<CheckAccount> {
    let of = |check: Check| {
        let mut of: Vec<Finding> = Vec::new();
        for it in decision.findings.iter().filter(|it| it.check == check) {
            let same =
                |said: &Finding| said.container == it.container && said.code == it.code && said.message == it.message;
            match of.iter_mut().find(|said| same(said)) {
                // Of one resource and of the other: then it is of both.
                Some(said) if said.resource != it.resource => said.resource = None,
                Some(_) => {}
                None => of.push(it.clone()),
            }
        }
        of
    };
    let all = Check::ALL.iter().copied();
    let account = |check: Check| {
        let findings = of(check);
        // Numbers are held in the name of a check before that is asked.
        let asked = decision.asked.contains(check) || !findings.is_empty();
        CheckAccount { check, question: check.question(), asked, findings }
    };
    all.map(account).collect()
}
