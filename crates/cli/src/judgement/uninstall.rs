//! `supple uninstall`: pull the switch, put every pod we touched back to the sizes it had before us, in place, and say what is
//! left to be removed.
//!
//! ```text
//!   switch ─▶ look ─▶ put back what is ours ─▶ look again ─▶ … ─▶ nothing is ours any more ─▶ put the targets of horizontal
//!                                                                  autoscalers back ─▶ take our notes off the pods
//! ```
//!
//! A controller that runs beside it sees the switch at once, but may have sent a resize a moment before: therefore it is looked
//! again until a look finds nothing to do.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::time::Duration;

use clap::Args;
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use supple_api::names;
use supple_controller::act::{Order, Wish, carry_out};
use supple_controller::carry::{Answer, aim_at};
use supple_controller::reason::Reason;
use supple_decide::facts::{PodFacts, Scaler};
use supple_decide::hand::{Hand, MANAGER};
use supple_decide::key::{PodKey, WorkloadKey};
use supple_decide::note::{ANNOTATION, Author};
use supple_decide::numbers::{Numbers, pair};
use supple_decide::scaler::Target;
use supple_decide::scene::{Scene, Subject};
use supple_resize::predict::Change;
use supple_resize::qos::QosClass;

use super::acting::Acting;
use super::{LoopArgs, look, own_namespace};
use crate::args::ConnectionArgs;
use crate::connect::{chain, connect};
use crate::exit::Failure;
use crate::values;

/// Pods that are put back at the same time.
const AT_ONCE: usize = 8;

/// After this many looks whoever still resizes does not mind the switch.
const MOST_LOOKS: usize = 6;

/// How often one pod is tried, if others have made room meanwhile: fewer times than there are looks.
const MOST_TRIES: usize = 3;

/// How long what a controller had sent before it saw the switch may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(3);

#[derive(Debug, Args)]
pub struct UninstallArgs {
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// Pull the switch (supple.dev/stop), and give every pod that we resized the sizes it had before, in place. Without it
    /// nothing is done but told.
    #[arg(long)]
    pub restore: bool,
    /// The namespace the controller runs in, where the switch is [default: that of the deployment named supple, else
    /// supple-system].
    #[arg(short, long, value_name = "NAME", env = "POD_NAMESPACE")]
    pub namespace: Option<String>,
    /// Leave this pod with the sizes it has, and forget what it had before; repeatable.
    #[arg(long, value_name = "NAMESPACE/POD", requires = "restore", value_parser = values::namespaced)]
    pub leave: Vec<(String, String)>,
    /// How long to wait for each pod.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = values::duration)]
    pub timeout: Duration,
}

/// Do it.
pub async fn uninstall(args: UninstallArgs) -> Result<(), Failure> {
    let client = connect(&args.connection).await?.client;
    let namespace = match args.namespace {
        Some(namespace) => namespace,
        None => own_namespace(&Acting::find(&client).await),
    };
    if !args.restore {
        return tell(look(&client, LoopArgs { vpa: None }).await?.scene());
    }
    pull_switch(&client, &namespace).await?;
    tokio::time::sleep(ARRIVAL).await;

    let mut ended: BTreeMap<PodKey, bool> = BTreeMap::new();
    // Why the cluster did not take it, how often it was asked, and whether anything has been given back since: then a quota or a
    // node may have room that it had not.
    let mut refused: BTreeMap<PodKey, (String, usize)> = BTreeMap::new();
    let mut gave_way = false;
    let mut left_alone: BTreeSet<PodKey> = BTreeSet::new();
    let mut keeps_limit: BTreeSet<PodKey> = BTreeSet::new();
    for looks in 1.. {
        let world = look(&client, LoopArgs { vpa: None }).await?;
        let Touched { ours, theirs } = touched(world.scene());
        for (pod, other) in theirs {
            if left_alone.insert(pod.key.clone()) {
                say(&pod.key, "left alone", &other)?;
            }
        }
        // What could not be put back is tried again only after others were: it would not go better a second later.
        let again = |pod: &PodFacts| match refused.get(&pod.key) {
            Some((_, tries)) => gave_way && *tries < MOST_TRIES,
            None => ended.get(&pod.key) != Some(&false),
        };
        let due = ours.into_iter().filter(|(pod, _)| again(pod) && !is_left(&args.leave, pod));
        let mut orders: Vec<(PodKey, Order, bool)> = Vec::new();
        for (pod, mut change) in due {
            // What is put back in part stays in our hand, or nobody would put back the rest.
            let by = if keeps_limit.contains(&pod.key) { Author::RollBack } else { Author::Undo };
            if by == Author::RollBack {
                keep_memory_limits(pod, &mut change);
            }
            if !change.is_empty() {
                let lowers = lowers_memory_limit(pod, &change);
                orders.push((pod.key.clone(), order(pod, change, by, args.timeout), lowers));
            }
        }
        if orders.is_empty() {
            break;
        }
        if looks == MOST_LOOKS {
            return Err(Failure::refused(format!(
                "pods are still being resized though the switch on namespace {namespace} is pulled: does a controller run in \
                 another namespace? Name it with --namespace, or end it, and run this again"
            )));
        }
        gave_way = false;
        let mut outcomes = stream::iter(orders)
            .map(|(key, order, lowers)| {
                let client = &client;
                async move { (key, lowers, carry_out(client, &order, &jiff::Timestamp::now, &mut |_| {}).await) }
            })
            .buffer_unordered(AT_ONCE);
        while let Some((key, lowers, outcome)) = outcomes.next().await {
            let outcome = outcome
                .map_err(|error| Failure::unreachable(format!("the cluster cannot be reached: {}", chain(&error))))?;
            let is_good = outcome.reason.is_success() || outcome.reason == Reason::PodGone;
            if !is_good && lowers {
                // The rest may go back all the same.
                say(&key, "limit kept", &format!("{}: {}", outcome.reason, outcome.message))?;
                keeps_limit.insert(key);
                continue;
            }
            ended.insert(key.clone(), is_good);
            if !is_good {
                let (why, tries) = refused.entry(key).or_default();
                (*why, *tries) = (format!("{}: {}", outcome.reason, outcome.message), *tries + 1);
                continue;
            }
            gave_way = true;
            refused.remove(&key);
            let what = match outcome.reason {
                Reason::PodGone => "is gone",
                _ if keeps_limit.contains(&key) => "partly back",
                _ => "put back",
            };
            say(&key, what, &outcome.message)?;
        }
    }
    for (pod, (why, _)) in &refused {
        say(pod, "NOT put back", why)?;
    }
    let failed: BTreeSet<PodKey> = ended.iter().filter(|it| !it.1).map(|it| it.0.clone()).collect();
    let aimless = put_targets_back(&client, &failed).await?;
    let (notes, unfinished) = take_notes_off(&client, &args.leave).await?;
    let back = ended.iter().filter(|it| *it.1 && !keeps_limit.contains(it.0)).count();
    let mut out = std::io::stdout().lock();
    let left = match left_alone.len() {
        0 => String::new(),
        count => format!(", {count} left alone because somebody else has resized them since"),
    };
    writeln!(out, "\n{} put back{left}; our note taken off {}", counted(back), counted(notes))?;
    if !unfinished.is_empty() {
        let leave: Vec<String> = unfinished.iter().map(|it| format!("--leave {}/{}", it.namespace, it.name)).collect();
        writeln!(out, "To leave the others as they are:\n  supple uninstall --restore {}", leave.join(" "))?;
        return Err(Failure::refused(format!(
            "{} could not be put back, or not all of it; what is remembered of it stays, and so does the switch: mend what is \
             said above and run this again, or leave it as it is with --leave",
            counted(unfinished.len())
        )));
    }
    if aimless > 0 {
        return Err(Failure::refused(format!(
            "the targets of {aimless} horizontal autoscalers could not be put back; what is noted on them stays, and so does \
             the switch: mend what is said above and run this again"
        )));
    }
    writeln!(
        out,
        "\nThe switch stays pulled, so that nothing is resized again. To remove the rest:\n  \
         helm uninstall supple --namespace {namespace}    (or: kubectl delete -f deploy/)\n  \
         kubectl delete crd {}\n                                        (with them go policies, and all that was learned)\n\
         To go on instead:\n  kubectl annotate namespace {namespace} {}-",
        DEFINITIONS.join(" "),
        names::STOP
    )?;
    Ok(())
}

/// Whether it was asked to leave this pod as it is.
fn is_left(leave: &[(String, String)], pod: &PodFacts) -> bool {
    leave.iter().any(|(namespace, name)| **namespace == *pod.key.namespace && **name == *pod.key.name)
}

fn asked(pod: &PodFacts, container: &str) -> Numbers {
    pod.containers.iter().find(|it| *it.name == *container).map(|it| it.asked).unwrap_or_default()
}

/// Whether it lowers the memory limit of a container, which what is used may forbid.
fn lowers_memory_limit(pod: &PodFacts, change: &Change) -> bool {
    let lowers = |(name, sizes)| {
        let now = asked(pod, name);
        Numbers::of(sizes).memory_limit.is_some_and(|it| now.memory_limit.is_some_and(|now| it < now))
    };
    change.containers.iter().map(|(name, sizes)| (name.as_str(), sizes)).any(lowers)
}

/// Everything but lower memory limits. In a pod in which every request equals its limit the request stays with it.
fn keep_memory_limits(pod: &PodFacts, change: &mut Change) {
    for (name, sizes) in &mut change.containers {
        let now = asked(pod, name);
        if Numbers::of(sizes).memory_limit < now.memory_limit {
            sizes.memory_limit = None;
            if pod.qos == QosClass::Guaranteed {
                sizes.memory_request = None;
            }
        }
    }
    change.containers.retain(|_, sizes| !sizes.is_empty());
}

/// Our own kinds.
const DEFINITIONS: [&str; 3] =
    ["rightsizings.supple.dev", "rightsizepolicies.supple.dev", "clusterrightsizepolicies.supple.dev"];

/// Without `--restore`: what would be done.
fn tell(scene: &Scene) -> Result<(), Failure> {
    let Touched { ours, theirs } = touched(scene);
    for (pod, other) in &theirs {
        say(&pod.key, "would be left alone", other)?;
    }
    let due: Vec<_> = ours.into_iter().filter(|(_, change)| !change.is_empty()).collect();
    for (pod, change) in &due {
        say(&pod.key, "would be put back", &in_words(pod, change))?;
    }
    for (workload, target) in targets(scene) {
        say_of(&workload.namespace, "hpa", &target.name, "would be put back", &aims(&target))?;
    }
    writeln!(
        std::io::stdout(),
        "{} would be put back, after the switch has been pulled; do it with: supple uninstall --restore",
        counted(due.len())
    )?;
    Ok(())
}

fn say(pod: &PodKey, what: &str, why: &str) -> Result<(), Failure> {
    say_of(&pod.namespace, "pod", &pod.name, what, why)
}

fn say_of(namespace: &str, kind: &str, name: &str, what: &str, why: &str) -> Result<(), Failure> {
    let object = format!("{namespace}/{kind}/{name}");
    Ok(writeln!(std::io::stdout().lock(), "{object:<40}  {what:<12}  {why}")?)
}

/// Autoscalers whose target we changed, with the one they had before us.
fn targets(scene: &Scene) -> Vec<(&WorkloadKey, Target)> {
    let of = |it: &Scaler| {
        let (kind, name, anchor) = (it.kind.clone(), it.name.clone(), it.anchor?);
        Some(Target { kind, name, from: anchor.to, to: anchor.percent, anchor: None })
    };
    let all = scene.workloads.iter();
    all.flat_map(|(key, it)| it.facts.scalers.iter().filter_map(of).map(move |it| (key, it))).collect()
}

fn aims(target: &Target) -> String {
    format!("cpu target {} % → {} %", target.from, target.to)
}

/// Pods ask for what they asked for before us: so do the autoscalers that read it aim at what they aimed at, unless a pod of
/// theirs could not be put back. How many could not be.
async fn put_targets_back(client: &Client, failed: &BTreeSet<PodKey>) -> Result<usize, Failure> {
    let world = look(client, LoopArgs { vpa: None }).await?;
    let scene = world.scene();
    let held: BTreeSet<_> = failed.iter().filter_map(|it| Some(&scene.pods.get(it)?.workload)).collect();
    let mut aimless = 0;
    for (workload, target) in &targets(scene) {
        if held.contains(workload) {
            continue;
        }
        let (what, why) = match aim_at(client, &workload.namespace, target).await {
            Answer::Accepted { .. } => ("put back", aims(target)),
            // Somebody else aims it by now: it is no longer ours.
            Answer::Overtaken(why) => ("left alone", why),
            Answer::Refused(why) | Answer::Failed(why) => {
                aimless += 1;
                ("NOT put back", why)
            }
        };
        say_of(&workload.namespace, "hpa", &target.name, what, &why)?;
    }
    Ok(aimless)
}

fn counted(pods: usize) -> String {
    format!("{pods} pod{}", if pods == 1 { "" } else { "s" })
}

fn order(pod: &PodFacts, change: Change, by: Author, timeout: Duration) -> Order {
    Order {
        namespace: pod.key.namespace.to_string(),
        pod: pod.key.name.to_string(),
        uid: Some(pod.key.uid.to_string()),
        wish: Wish::Change(change),
        by,
        wait: Some(timeout),
        dry_run: false,
    }
}

/// Stop whatever runs. A switch that is pulled already keeps its reason.
async fn pull_switch(client: &Client, namespace: &str) -> Result<(), Failure> {
    let api = Api::<Namespace>::all(client.clone());
    let refused = |error: kube::Error| match error {
        kube::Error::Api(status) => Failure::refused(format!(
            "the switch could not be pulled, so nothing was done: namespace {namespace} cannot be annotated: {}",
            status.message
        )),
        error => Failure::unreachable(format!("the cluster cannot be reached: {}", chain(&error))),
    };
    let pulled = |it: &Namespace| it.metadata.annotations.as_ref().is_some_and(|it| it.contains_key(names::STOP));
    let found = api.get_opt(namespace).await.map_err(refused)?;
    let is_new = found.is_none();
    if !found.as_ref().is_some_and(pulled) {
        let why = format!("supple uninstall --restore, {:.0}", jiff::Timestamp::now());
        let object = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": namespace, "annotations": {(names::STOP): why}},
        });
        // Applied, because a loop in `supple up` has no namespace of its own and minds the switch all the same.
        let params = PatchParams::apply("supple-uninstall").force();
        api.patch(namespace, &params, &Patch::Apply(&object)).await.map_err(refused)?;
    }
    let (stop, made) = (names::STOP, if is_new { ", which was created for it" } else { "" });
    crate::say(&format!("the switch is pulled: {stop} on namespace {namespace}{made}"));
    Ok(())
}

/// Pods that we resized.
struct Touched<'a> {
    /// In our hand, or in a person's who gave them back what was before: with what puts them back.
    ours: Vec<(&'a PodFacts, Change)>,
    /// In another's, with whose.
    theirs: Vec<(&'a PodFacts, String)>,
}

fn touched(scene: &Scene) -> Touched<'_> {
    let mut found = Touched { ours: Vec::new(), theirs: Vec::new() };
    for pod in scene.pods.values().filter(|it| it.note.is_some() && !it.deleting) {
        let Some(subject) = scene.workloads.get(&pod.workload) else { continue };
        let change = back(pod, subject);
        match &pod.hand {
            Hand::Theirs(other) if !change.is_empty() => found.theirs.push((pod, other.to_string())),
            _ => found.ours.push((pod, change)),
        }
    }
    // Who gives back goes first, and makes room for who takes.
    found.ours.sort_by_key(|(pod, change)| takes(pod, change));
    found
}

fn takes(pod: &PodFacts, change: &Change) -> bool {
    pod.containers.iter().any(|container| {
        let mut then = container.asked;
        if let Some(sizes) = change.containers.get(&*container.name) {
            then.set_all(sizes);
        }
        then.cpu_request > container.asked.cpu_request || then.memory_request > container.asked.memory_request
    })
}

/// What gives a pod's containers their original sizes back: those of the template it was made from, and what was noted before
/// the first resize where the template says nothing. A number that was not set before us cannot be taken away again; none is
/// ever added.
fn back(pod: &PodFacts, subject: &Subject) -> Change {
    let mut change = Change::default();
    for container in &pod.containers {
        let name = &*container.name;
        let noted = subject.record.originals.get(name).copied().unwrap_or_default();
        let template = subject.facts.template.get(name).copied().unwrap_or_default();
        let asked = container.asked;
        let wanted = Numbers {
            cpu_request: template.cpu_request.or(noted.cpu_request).or(asked.cpu_request),
            cpu_limit: template.cpu_limit.or(noted.cpu_limit).or(asked.cpu_limit),
            memory_request: template.memory_request.or(noted.memory_request).or(asked.memory_request),
            memory_limit: template.memory_limit.or(noted.memory_limit).or(asked.memory_limit),
        };
        let sizes = wanted.beyond(&asked);
        if !sizes.is_empty() {
            change.containers.insert(name.to_owned(), sizes);
        }
    }
    change
}

/// `app: cpu 50m → 900m, memory 64Mi → 1Gi`
fn in_words(pod: &PodFacts, change: &Change) -> String {
    let one = |(name, sizes): (&String, _)| {
        let now = pod.containers.iter().find(|it| *it.name == **name).map(|it| it.asked).unwrap_or_default();
        let mut then = now;
        then.set_all(sizes);
        let step = |what: &str, now: Option<String>, then: Option<String>| {
            let shown = |it: Option<String>| it.unwrap_or_else(|| "none".to_owned());
            (now != then).then(|| format!("{what} {} → {}", shown(now), shown(then)))
        };
        let cpu = step("cpu", pair(now.cpu_request, now.cpu_limit), pair(then.cpu_request, then.cpu_limit));
        let memory =
            step("memory", pair(now.memory_request, now.memory_limit), pair(then.memory_request, then.memory_limit));
        let steps: Vec<String> = cpu.into_iter().chain(memory).collect();
        format!("{name}: {}", steps.join(", "))
    };
    change.containers.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// Take our note off the pods that have their original sizes, or are left as they are: whoever installs us again finds them free.
/// Of how many; and those on which it stays, because something of them is still to be put back.
async fn take_notes_off(client: &Client, leave: &[(String, String)]) -> Result<(usize, Vec<PodKey>), Failure> {
    let world = look(client, LoopArgs { vpa: None }).await?;
    let mut taken = 0;
    let mut unfinished = Vec::new();
    for (pod, change) in touched(world.scene()).ours {
        if !change.is_empty() && !is_left(leave, pod) {
            unfinished.push(pod.key.clone());
            continue;
        }
        let api = Api::<Pod>::namespaced(client.clone(), &pod.key.namespace);
        let patch = json!({"metadata": {"uid": &*pod.key.uid, "annotations": {(ANNOTATION): null}}});
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        match api.patch(&pod.key.name, &params, &Patch::Merge(&patch)).await {
            Ok(_) => taken += 1,
            // It was replaced meanwhile, and its successor has none.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
            Err(kube::Error::Api(status)) => {
                crate::say(&format!("note: {ANNOTATION} stays on {}: {}", pod.key, status.message));
            }
            Err(error) => {
                return Err(Failure::unreachable(format!("the cluster cannot be reached: {}", chain(&error))));
            }
        }
    }
    Ok((taken, unfinished))
}
