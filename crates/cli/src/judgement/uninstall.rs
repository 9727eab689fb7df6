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
use std::sync::Arc;
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
use supple_decide::key::PodKey;
use supple_decide::note::{ANNOTATION, Author};
use supple_decide::numbers::{Numbers, pair};
use supple_decide::scaler::Target;
use supple_decide::scene::{Scene, Subject};
use supple_resize::predict::Change;

use super::{look, own_namespace};
use crate::args::ConnectionArgs;
use crate::connect::{chain, connect};
use crate::exit::Failure;
use crate::values;

/// Pods that are put back at the same time.
const AT_ONCE: usize = 8;

/// After this many looks whoever still resizes does not mind the switch.
const MOST_LOOKS: usize = 6;

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
    /// How long to wait for each pod.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = values::duration)]
    pub timeout: Duration,
}

/// Do it.
pub async fn uninstall(args: UninstallArgs) -> Result<(), Failure> {
    let client = connect(&args.connection).await?.client;
    let namespace = match args.namespace {
        Some(namespace) => namespace,
        None => own_namespace(&client).await,
    };
    if !args.restore {
        return tell(look(&client).await?.scene());
    }
    pull_switch(&client, &namespace).await?;
    tokio::time::sleep(ARRIVAL).await;

    let mut ended: BTreeMap<PodKey, bool> = BTreeMap::new();
    let mut left_alone: BTreeSet<PodKey> = BTreeSet::new();
    for looks in 1.. {
        let world = look(&client).await?;
        let Touched { ours, theirs } = touched(world.scene());
        for (pod, other) in theirs {
            if left_alone.insert(pod.key.clone()) {
                say(&pod.key, "left alone", &other)?;
            }
        }
        // What could not be put back is not tried again: it would not go better a second later.
        let due = ours.into_iter().filter(|(pod, change)| ended.get(&pod.key) != Some(&false) && !change.is_empty());
        let orders: Vec<Order> = due.map(|(pod, change)| order(pod, change, args.timeout)).collect();
        if orders.is_empty() {
            break;
        }
        if looks == MOST_LOOKS {
            return Err(Failure::refused(format!(
                "pods are still being resized though the switch on namespace {namespace} is pulled: does a controller run in \
                 another namespace? Name it with --namespace, or end it, and run this again"
            )));
        }
        let mut outcomes = stream::iter(orders)
            .map(|order| {
                let client = &client;
                async move {
                    let uid = order.uid.clone().unwrap_or_default();
                    (uid, carry_out(client, &order, &jiff::Timestamp::now, &mut |_| {}).await)
                }
            })
            .buffer_unordered(AT_ONCE);
        while let Some((uid, outcome)) = outcomes.next().await {
            let outcome = outcome
                .map_err(|error| Failure::unreachable(format!("the cluster cannot be reached: {}", chain(&error))))?;
            let key = PodKey::new(outcome.namespace.as_str(), outcome.pod.as_str(), uid.as_str());
            let is_good = outcome.reason.is_success() || outcome.reason == Reason::PodGone;
            let what = match outcome.reason {
                Reason::PodGone => "is gone",
                reason if reason.is_success() => "put back",
                _ => "NOT put back",
            };
            let reason = if is_good { String::new() } else { format!("{}: ", outcome.reason) };
            say(&key, what, &format!("{reason}{}", outcome.message))?;
            ended.insert(key, is_good);
        }
    }
    let failed = ended.values().filter(|it| !**it).count();
    let back = ended.len() - failed;
    if failed > 0 {
        return Err(Failure::refused(format!(
            "{failed} of {} pods could not be put back; what is remembered of them stays, and so does the switch: mend what is \
             said above and run this again",
            ended.len()
        )));
    }
    put_targets_back(&client).await?;
    let notes = take_notes_off(&client).await?;
    let mut out = std::io::stdout().lock();
    let left = match left_alone.len() {
        0 => String::new(),
        count => format!(", {count} left alone because somebody else has resized them since"),
    };
    writeln!(out, "\n{} put back{left}; our note taken off {}", counted(back), counted(notes))?;
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
    for (namespace, target) in targets(scene) {
        say_of(&namespace, "hpa", &target.name, "would be put back", &aims(&target))?;
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
fn targets(scene: &Scene) -> Vec<(Arc<str>, Target)> {
    let of = |it: &Scaler| {
        let (kind, name, anchor) = (it.kind.clone(), it.name.clone(), it.anchor?);
        Some(Target { kind, name, from: anchor.to, to: anchor.percent, anchor: None })
    };
    let all = scene.workloads.iter();
    all.flat_map(|(key, it)| it.facts.scalers.iter().filter_map(of).map(|it| (key.namespace.clone(), it))).collect()
}

fn aims(target: &Target) -> String {
    format!("cpu target {} % → {} %", target.from, target.to)
}

/// Pods ask for what they asked for before us: so do the autoscalers that read it aim at what they aimed at.
async fn put_targets_back(client: &Client) -> Result<(), Failure> {
    let due = targets(look(client).await?.scene());
    let mut failed = 0;
    for (namespace, target) in &due {
        let (what, why) = match aim_at(client, namespace, target).await {
            Answer::Accepted { .. } => ("put back", aims(target)),
            // Somebody else aims it by now: it is no longer ours.
            Answer::Overtaken(why) => ("left alone", why),
            Answer::Refused(why) | Answer::Failed(why) => {
                failed += 1;
                ("NOT put back", why)
            }
        };
        say_of(namespace, "hpa", &target.name, what, &why)?;
    }
    if failed > 0 {
        return Err(Failure::refused(format!(
            "the targets of {failed} of {} horizontal autoscalers could not be put back; what is noted on them stays, and so does \
             the switch: mend what is said above and run this again",
            due.len()
        )));
    }
    Ok(())
}

fn counted(pods: usize) -> String {
    format!("{pods} pod{}", if pods == 1 { "" } else { "s" })
}

fn order(pod: &PodFacts, change: Change, timeout: Duration) -> Order {
    Order {
        namespace: pod.key.namespace.to_string(),
        pod: pod.key.name.to_string(),
        uid: Some(pod.key.uid.to_string()),
        wish: Wish::Change(change),
        by: Author::Undo,
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

/// Take our note off the pods that have their original sizes: whoever installs us again finds them free. Of how many.
async fn take_notes_off(client: &Client) -> Result<usize, Failure> {
    let world = look(client).await?;
    let mut taken = 0;
    for (pod, _) in touched(world.scene()).ours {
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
    Ok(taken)
}
